package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// classify is text.classify: the labels are the caller's, with examples if they like.
type classify struct {
	texts
	Labels     []string  `json:"labels"`
	Examples   []example `json:"examples"`
	Classifier string    `json:"classifier"`
	Top        int       `json:"top"`
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
	for _, e := range o.Examples {
		if !slices.Contains(o.Labels, e.Label) {
			o.Labels = append(o.Labels, e.Label)
		}
	}
	if len(o.Examples) > maxExamples {
		return nil, invalid("examples", fmt.Sprintf("has more than %d", maxExamples))
	}
	if err := checkLabels(o.Labels, 2); err != nil {
		return nil, err
	}
	return o, o.settle()
}

const confidenceRule = "Say with each label how sure you are, as a number from 0 to 1; the numbers of one item add up to 1 at most."

const labelsShape = `{"items":[{"n":1,"labels":[{"label":"one of the labels","confidence":0.9}]}]}`

func (o *classify) ask(p *prompt) {
	p.say("You classify texts, in whatever language they are. The input named labels is a JSON list of the labels that exist; give each text the one that fits best, " +
		"and after it at most four others that may fit, the likeliest first. Write labels exactly as they are in the list, untranslated. " + confidenceRule)
	p.list("labels", o.Labels)
	if len(o.Examples) > 0 {
		p.say("The input named examples is a JSON list of texts that were classified by people. Follow them.")
		p.data("examples", string(marshal(o.Examples)))
	}
	o.texts.ask(p)
	p.shape = labelsShape
	p.size = len(o.all) * 5 * longest(o.Labels)
}

func longest(list []string) (n int) {
	for _, s := range list {
		n = max(n, runes(s))
	}
	return n
}

func (o *classify) hear(text string) (any, error) {
	all, err := labelled(text, len(o.all), o.Labels)
	if err != nil {
		return nil, err
	}
	return o.result(all), nil
}

func (o *classify) infer() ([]tensor, map[string]any) {
	params := map[string]any{"labels": string(marshal(o.Labels))}
	if len(o.Examples) > 0 {
		params["examples"] = string(marshal(o.Examples))
	}
	return column("text", o.all), params
}

func (o *classify) inferred(out *outputs) (any, error) {
	all, err := out.scores(len(o.all), o.Labels)
	if err != nil {
		return nil, err
	}
	return o.result(all), nil
}

// language is text.language.
type language struct{ texts }

func readLanguage(c *Call) (operation, error) {
	o := &language{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	return o, o.settle()
}

func (o *language) ask(p *prompt) {
	p.say("You identify the language of texts. Use ISO 639-1 codes, or ISO 639-3 where there is no shorter one; " +
		"zh for Chinese in any script. Give the likeliest code, and after it at most two others that are possible. " + confidenceRule)
	o.texts.ask(p)
	p.shape = `{"items":[{"n":1,"labels":[{"label":"en","confidence":0.9}]}]}`
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
	return column("text", o.all), map[string]any{}
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
