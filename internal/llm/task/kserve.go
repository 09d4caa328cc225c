package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
)

// tensor is a tensor of the open inference protocol v2 in its JSON form.
type tensor struct {
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Datatype string `json:"datatype"`
	Data     any    `json:"data"`
}

// inference is a request of that protocol.
type inference struct {
	Parameters map[string]any `json:"parameters"`
	Inputs     []tensor       `json:"inputs"`
}

// column is an input of one BYTES element for each item.
func column(name string, items []string) []tensor {
	return []tensor{{name, []int{len(items), 1}, "BYTES", items}}
}

// inferPath is where a model is asked. The name is one path segment, whatever is in it.
func inferPath(model string) string { return "/v2/models/" + url.PathEscape(model) + "/infer" }

// outputs are the tensors of an answer.
type outputs struct {
	list       []output
	parameters map[string]any // of the answer
}

type output struct {
	Name       string          `json:"name"`
	Shape      []int           `json:"shape"`
	Datatype   string          `json:"datatype"`
	Data       json.RawMessage `json:"data"`
	Parameters map[string]any  `json:"parameters"`
}

func readOutputs(answer []byte) (*outputs, error) {
	var a struct {
		Parameters map[string]any  `json:"parameters"`
		Outputs    []output        `json:"outputs"`
		Error      json.RawMessage `json:"error"`
	}
	switch err := json.Unmarshal(answer, &a); {
	case err != nil:
		return nil, unusable("not an inference response: " + err.Error())
	case len(a.Error) > 0 && string(a.Error) != "null" && string(a.Error) != `""`:
		return nil, unusable("an error with status 200")
	case len(a.Outputs) == 0:
		return nil, unusable("no outputs")
	}
	return &outputs{a.Outputs, a.Parameters}, nil
}

// named is the output of that name, in any case.
func (o *outputs) named(name string) (*output, bool) {
	for i := range o.list {
		if strings.EqualFold(o.list[i].Name, name) {
			return &o.list[i], true
		}
	}
	return nil, false
}

// texts are the n elements of the first of the named outputs that is there, else of the first output.
func (o *outputs) texts(n int, names ...string) ([]string, error) {
	out := &o.list[0]
	for _, name := range names {
		if found, ok := o.named(name); ok {
			out = found
			break
		}
	}
	list, err := out.strings()
	if err != nil {
		return nil, err
	}
	if n >= 0 && len(list) != n {
		return nil, fmt.Errorf("output %q has %d elements for %d items", out.Name, len(list), n)
	}
	return list, nil
}

// numbers are the n elements of an output; nil where it is missing.
func (o *outputs) numbers(name string, n int) ([]float64, error) {
	out, ok := o.named(name)
	if !ok {
		return nil, nil
	}
	var list []float64
	err := flatten(out.Data, 0, func(raw json.RawMessage) error {
		var v float64
		if err := json.Unmarshal(raw, &v); err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("output %q has an element that is no number", out.Name)
		}
		list = append(list, v)
		return nil
	})
	if err == nil && len(list) != n {
		err = fmt.Errorf("output %q has %d elements instead of %d", name, len(list), n)
	}
	return list, err
}

// labels are the names of scores: the output "labels", or the parameter "labels" of the answer or of the output
// "scores", a JSON list in a string.
func (o *outputs) labels() []string {
	if out, ok := o.named("labels"); ok {
		if list, err := out.strings(); err == nil {
			return list
		}
	}
	from := []map[string]any{o.parameters}
	if out, ok := o.named("scores"); ok {
		from = append(from, out.Parameters)
	}
	for _, p := range from {
		var list []string
		if s, ok := p["labels"].(string); ok && json.Unmarshal([]byte(s), &list) == nil {
			return list
		}
	}
	return nil
}

// strings are the elements of a BYTES output.
func (o *output) strings() (list []string, err error) {
	err = flatten(o.Data, 0, func(raw json.RawMessage) error {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return fmt.Errorf("output %q has an element that is no string", o.Name)
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// maxNesting is how deep the data of a tensor may be nested: the protocol allows a flat list, or lists in lists.
const maxNesting = 8

// flatten calls each for the elements in row-major order.
func flatten(raw json.RawMessage, depth int, each func(json.RawMessage) error) error {
	var list []json.RawMessage
	if len(raw) == 0 || raw[0] != '[' {
		if depth == 0 {
			return errors.New("an output has no data; answers must be JSON without binary tensors")
		}
		return each(raw)
	}
	if depth >= maxNesting {
		return errors.New("an output is nested too deeply")
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return err
	}
	for _, e := range list {
		if err := flatten(e, depth+1, each); err != nil {
			return err
		}
	}
	return nil
}
