package rating

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A document is read into nodes before it becomes a card, so that the text of every number is kept
// as written, every fault has its path, and a key given twice is seen in YAML and JSON alike.

type nodeKind uint8

const (
	nullNode nodeKind = iota
	textNode          // a quoted or plain string
	numberNode
	boolNode
	listNode
	mapNode
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "a text", "a number", "true or false", "a list", "a set of fields"}[k]
}

type node struct {
	kind nodeKind
	text string   // of a scalar, as written
	keys []string // of a map, in the document's order
	list []node   // of a list; the values of a map
}

const maxDepth = 20

var errDepth = fmt.Errorf("nested deeper than %d levels", maxDepth)

// parseTree reads one document: JSON when it begins with a brace or a bracket, else YAML.
func parseTree(data []byte) (node, error) {
	if !utf8.Valid(data) {
		return node{}, errors.New("is not UTF-8")
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		return parseJSON(trimmed)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if err == io.EOF {
			return node{}, errors.New("is empty")
		}
		return node{}, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(new(yaml.Node)); err != io.EOF {
		return node{}, errors.New("has more than one YAML document")
	}
	return fromYAML(doc.Content[0], 0)
}

func fromYAML(y *yaml.Node, depth int) (n node, err error) {
	if depth > maxDepth {
		return n, errDepth
	}
	if y.Kind == yaml.AliasNode || y.Anchor != "" {
		return n, fmt.Errorf("line %d: anchors and aliases are not allowed", y.Line)
	}
	if y.Style&yaml.TaggedStyle != 0 {
		return n, fmt.Errorf("line %d: tags are not allowed", y.Line)
	}
	switch y.Kind {
	case yaml.ScalarNode:
		n.text = y.Value
		n.kind = map[string]nodeKind{"!!null": nullNode, "!!bool": boolNode, "!!int": numberNode, "!!float": numberNode}[y.ShortTag()]
		if n.kind == nullNode && y.ShortTag() != "!!null" {
			n.kind = textNode // strings, and what YAML takes for a timestamp
		}
	case yaml.SequenceNode:
		n.kind = listNode
		n.list = make([]node, len(y.Content))
		for i, c := range y.Content {
			if n.list[i], err = fromYAML(c, depth+1); err != nil {
				return n, err
			}
		}
	case yaml.MappingNode:
		n.kind = mapNode
		for i := 0; i+1 < len(y.Content); i += 2 {
			key := y.Content[i]
			if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" || key.Anchor != "" {
				return n, fmt.Errorf("line %d: a field's name must be a plain word", key.Line)
			}
			value, err := fromYAML(y.Content[i+1], depth+1)
			if err != nil {
				return n, err
			}
			n.keys, n.list = append(n.keys, key.Value), append(n.list, value)
		}
	default:
		return n, fmt.Errorf("line %d: is not understood", y.Line)
	}
	return n, nil
}

func parseJSON(data []byte) (node, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	n, err := fromJSON(dec, 0)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("has text after its end")
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("ends in the middle")
	}
	if err != nil {
		return node{}, err
	}
	return n, nil
}

func fromJSON(dec *json.Decoder, depth int) (n node, err error) {
	if depth > maxDepth {
		return n, errDepth
	}
	token, err := dec.Token()
	if err != nil {
		return n, err
	}
	switch v := token.(type) {
	case nil:
	case string:
		n.kind, n.text = textNode, v
	case json.Number:
		n.kind, n.text = numberNode, v.String()
	case bool:
		n.kind, n.text = boolNode, fmt.Sprint(v)
	case json.Delim:
		n.kind = map[json.Delim]nodeKind{'{': mapNode, '[': listNode}[v]
		for dec.More() {
			if v == '{' {
				key, err := dec.Token()
				if err != nil {
					return n, err
				}
				n.keys = append(n.keys, key.(string)) // Token admits nothing else before a colon
			}
			value, err := fromJSON(dec, depth+1)
			if err != nil {
				return n, err
			}
			n.list = append(n.list, value)
		}
		_, err = dec.Token()
	}
	return n, err
}
