package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Change is what happened to one field. From is null for a field that was not there, To for one that
// is no longer. Lists are compared as a whole; fields of nested objects have dotted names.
type Change struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
}

// maxValue is the longest value kept in an entry, in bytes of JSON. A longer one (an OpenAPI
// document, say) is recorded by its size and SHA-256.
const maxValue = 4 << 10

var (
	null     = json.RawMessage("null")
	redacted = json.RawMessage(`"[redacted]"`)
)

// difference returns the changes between two states as JSON, ordered by field.
func difference(before, after any) ([]byte, error) {
	changes, err := Changes(before, after)
	if err != nil {
		return nil, err
	}
	return json.Marshal(changes)
}

// Changes returns what differs between two states, ordered by field, as [Record] would record it.
func Changes(before, after any) ([]Change, error) {
	from, err := fields(before)
	if err != nil {
		return nil, err
	}
	to, err := fields(after)
	if err != nil {
		return nil, err
	}
	changes := []Change{}
	for name, was := range from {
		if is := to[name]; !bytes.Equal(was, is) {
			changes = append(changes, Change{name, show(name, was), show(name, is)})
		}
	}
	for name, is := range to {
		if _, ok := from[name]; !ok {
			changes = append(changes, Change{name, null, show(name, is)})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Field, b.Field) })
	return changes, nil
}

// fields flattens a state into its fields' JSON. Null and "" count as not there.
func fields(state any) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	if state == nil {
		return out, nil
	}
	data, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("audit: state does not encode: %w", err)
	}
	return out, flatten("", data, out)
}

func flatten(name string, data json.RawMessage, out map[string]json.RawMessage) error {
	switch data[0] {
	case '{':
		var m map[string]json.RawMessage
		if err := json.Unmarshal(data, &m); err != nil {
			return fmt.Errorf("audit: state: %w", err)
		}
		for key, value := range m {
			if name != "" {
				key = name + "." + key
			}
			if err := flatten(key, value, out); err != nil {
				return err
			}
		}
	case 'n':
	default:
		if string(data) != `""` && string(data) != `[]` {
			out[name] = data
		}
	}
	return nil
}

// show makes a value fit for the record.
func show(name string, value json.RawMessage) json.RawMessage {
	switch {
	case value == nil:
		return null
	case secretName(name) || bytes.Contains(value, []byte("sk-tg-")):
		return redacted
	case len(value) > maxValue:
		return json.RawMessage(fmt.Sprintf(`{"bytes":%d,"sha256":"%x"}`, len(value), sha256.Sum256(value)))
	}
	return value
}

// secretName reports whether a field is named like a secret. A change of it is recorded, its values
// are not.
func secretName(path string) bool {
	name := strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])
	for _, word := range []string{"secret", "password", "credential", "sealed", "hash", "token", "api_key", "private_key"} {
		if name == word || strings.HasSuffix(name, "_"+word) {
			return true
		}
	}
	return false
}
