package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/danielgtaylor/huma/v2"
	"go.yaml.in/yaml/v3"
)

// formats are the forms in which bodies are read and written. YAML is read and written as the JSON that
// it says, so that both have the same fields.
func formats() map[string]huma.Format {
	return map[string]huma.Format{
		"application/json": huma.DefaultJSONFormat,
		"json":             huma.DefaultJSONFormat,
		"application/yaml": {Marshal: writeYAML, Unmarshal: readYAML},
	}
}

const mediaYAML = "application/yaml"

// readYAML decodes the single document in data. A key given twice is refused, with its line.
func readYAML(data []byte, v any) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var tree any
	if err := dec.Decode(&tree); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("yaml: more than one document")
	}
	text, err := json.Marshal(jsonable(tree))
	if err != nil {
		return fmt.Errorf("yaml: %w", err)
	}
	return json.Unmarshal(text, v)
}

// jsonable replaces maps that JSON cannot have: those with keys that are not strings.
func jsonable(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[fmt.Sprint(k)] = jsonable(x)
		}
		return out
	case map[string]any:
		for k, x := range v {
			v[k] = jsonable(x)
		}
	case []any:
		for i, x := range v {
			v[i] = jsonable(x)
		}
	}
	return v
}

// writeYAML encodes v as YAML with the fields and their order as in JSON.
func writeYAML(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil { // JSON as Go writes it is YAML
		return err
	}
	block(&tree)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&tree); err != nil {
		return err
	}
	return enc.Close()
}

// block has a tree written in YAML's block style, with quotes only where they are needed.
func block(n *yaml.Node) {
	n.Style = 0
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		n.SetString(n.Value)
	}
	for _, child := range n.Content {
		block(child)
	}
}
