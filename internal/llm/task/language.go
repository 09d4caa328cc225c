package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// classify is text.classify: the labels are the caller's, with what they mean and examples if they like.
type classify struct {
	texts
	Labels     []label   `json:"labels"`
	Examples   []example `json:"examples"`
	Classifier string    `json:"classifier"`
	Top        int       `json:"top"`

	names []string // of all labels
}

// label is a label's name, or an object with what it means.
type label struct {
	Label       string   `json:"label"`
	Description string   `json:"description,omitempty"`
	Examples    []string `json:"examples,omitempty"`
}

// UnmarshalJSON reads a string or an object.
func (l *label) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &l.Label) == nil {
		return nil
	}
	type plain label
	return json.Unmarshal(raw, (*plain)(l))
}

// example is a text with its label.
type example struct {
	Text  string `json:"text"`
	Label string `json:"label"`
}

func readClassify(c *Call) (operation, error) {
	o := &classify{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if o.Classifier != "" {
		return nil, notHere("classifier", "is trained and kept by an engine of this platform, and cannot be sent to the model behind this product")
	}
	for i, l := range o.Labels {
		o.names = append(o.names, l.Label)
		for _, text := range l.Examples {
			o.Examples = append(o.Examples, example{text, l.Label})
		}
		o.Labels[i].Examples = nil
	}
	for _, e := range o.Examples {
		if !slices.Contains(o.names, e.Label) && len(o.Labels) > 0 {
			return nil, invalid("examples", "have a label that is not among labels")
		}
	}
	if len(o.Labels) == 0 {
		for _, e := range o.Examples {
			if !slices.Contains(o.names, e.Label) {
				o.names = append(o.names, e.Label)
				o.Labels = append(o.Labels, label{Label: e.Label})
			}
		}
	}
	if o.Top == 0 {
		o.Top = 5
	}
	switch {
	case len(o.Examples) > maxExamples:
		return nil, invalid("examples", "has more than "+itoa(maxExamples))
	case o.Top < 1 || o.Top > 100:
		return nil, invalid("top", "must be from 1 to 100")
	}
	if err := checkLabels(o.names, 2); err != nil {
		return nil, err
	}
	return o, o.settle()
}

const confidenceRule = "Say with each label how sure you are, as a number from 0 to 1; the numbers of one item add up to 1 at most."

const labelsShape = `{"items":[{"n":1,"labels":[{"label":"one of the labels","confidence":0.9}]}]}`

func (o *classify) ask(p *prompt) {
	others := min(o.Top, len(o.names)) - 1
	rule := "You classify texts, in whatever language they are. The input named labels is a JSON list of the labels that exist; give each text the one that fits best"
	if others > 0 {
		rule += ", and after it at most " + itoa(others) + " others that may fit, the likeliest first"
	}
	p.say(rule + ". Write labels exactly as they are in the list, untranslated. " + confidenceRule)
	if slices.ContainsFunc(o.Labels, func(l label) bool { return l.Description != "" }) {
		p.data("labels", string(marshal(o.Labels)))
	} else {
		p.list("labels", o.names)
	}
	if len(o.Examples) > 0 {
		p.say("The input named examples is a JSON list of texts that were classified by people. Follow them.")
		p.data("examples", string(marshal(o.Examples)))
	}
	o.texts.ask(p)
	p.shape = labelsShape
	p.size = len(o.all) * (others + 1) * longest(o.names)
}

func longest(list []string) (n int) {
	for _, s := range list {
		n = max(n, runes(s))
	}
	return n
}

func (o *classify) hear(text string) (any, error) {
	all, err := labelled(text, len(o.all), o.names)
	if err != nil {
		return nil, err
	}
	return o.result(all), nil
}

func (o *classify) infer() ([]tensor, map[string]any) {
	params := o.parameters()
	params["labels"] = string(marshal(o.names))
	if len(o.Examples) > 0 {
		params["examples"] = string(marshal(o.Examples))
	}
	return column("text", o.all), params
}

func (o *classify) inferred(out *outputs) (any, error) {
	all, err := out.scores(len(o.all), o.names)
	if err != nil {
		return nil, err
	}
	return o.result(all), nil
}

// language is text.language.
type language struct {
	texts
	Top int `json:"top"`
}

func readLanguage(c *Call) (operation, error) {
	o := &language{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if o.Top == 0 {
		o.Top = 3
	}
	if o.Top < 1 || o.Top > 50 {
		return nil, invalid("top", "must be from 1 to 50")
	}
	return o, o.settle()
}

func (o *language) ask(p *prompt) {
	p.say("You identify the language of texts. Use ISO 639-1 codes, or ISO 639-3 where there is no shorter one; " +
		"zh for Chinese in any script, und where it cannot be told. Give the likeliest code first, and after it others that are possible, at most " + itoa(o.Top) + " in all. " + confidenceRule)
	o.texts.ask(p)
	p.shape = `{"items":[{"n":1,"labels":[{"label":"en","confidence":0.9}]}]}`
	p.size = 5 * o.Top * len(o.all)
}

func (o *language) hear(text string) (any, error) {
	all, err := labelled(text, len(o.all), nil)
	if err != nil {
		return nil, err
	}
	return o.codes(all)
}

// codes checks that all labels are language codes.
func (o *language) codes(all []ranking) (any, error) {
	for _, r := range all {
		for i := range r {
			if !languageCode.MatchString(r[i].Label) {
				return nil, fmt.Errorf("%q is no language code", r[i].Label)
			}
			r[i].Label = strings.ToLower(r[i].Label)
		}
	}
	return o.result(all), nil
}

func (o *language) infer() ([]tensor, map[string]any) {
	return column("text", o.all), map[string]any{"top": o.Top}
}

func (o *language) inferred(out *outputs) (any, error) {
	all, err := out.scores(len(o.all), nil)
	if err != nil {
		return nil, err
	}
	return o.codes(all)
}

// items reads n values of one kind out of an answer, each checked.
func items[T any](text string, n int, check func(i int, v *T) error) (all []T, err error) {
	err = findJSON(text, func(value []byte) error {
		raws, err := itemsOf(value, n)
		if err != nil {
			return err
		}
		all = make([]T, n)
		for i, raw := range raws {
			if err := json.Unmarshal(raw, &all[i]); err != nil {
				return err
			}
			if err := check(i, &all[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// itemsOfTensor does the same with an output of JSON texts.
func itemsOfTensor[T any](o *outputs, name string, n int, check func(i int, v *T) error) ([]T, error) {
	list, err := o.texts(n, name)
	if err != nil {
		return nil, err
	}
	all := make([]T, n)
	for i, s := range list {
		if err := json.Unmarshal([]byte(s), &all[i]); err != nil {
			return nil, err
		}
		if err := check(i, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

var errEmpty = errors.New("an empty answer")
