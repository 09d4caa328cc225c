package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of what is asked about texts and pictures.
const (
	maxLabels   = 500
	maxLabel    = 200 // code points of a label
	maxExamples = 200
	maxRanked   = 10_000 // labels in an answer, of a model with labels of its own
)

// scored is a label with how sure the model says it is, from 0 to 1.
type scored struct {
	Label      string  `json:"label"`
	Confidence float64 `json:"confidence"`
}

// ranking is what a model says of one item: labels, the surest first, at least one.
type ranking []scored

// labelled reads n rankings out of {"items": [{"n", "labels": [{"label", "confidence"}]}]} and the forms that models
// make of it. Every label must be among allowed, unless that is nil; it is given as written there.
func labelled(text string, n int, allowed []string) (all []ranking, err error) {
	err = findJSON(text, func(value []byte) error {
		items, err := itemsOf(value, n)
		if err != nil {
			return err
		}
		all = make([]ranking, n)
		for i, raw := range items {
			if all[i], err = readRanking(raw, allowed); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// itemsOf takes the list of n answers out of an answer: a list, an object with a list "items", or for one item the object itself.
// Where the answers carry their numbers, these put them in order.
func itemsOf(value []byte, n int) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if value[0] == '[' {
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, err
		}
	} else {
		var a map[string]json.RawMessage
		if err := json.Unmarshal(value, &a); err != nil {
			return nil, err
		}
		items, ok := a["items"]
		switch {
		case ok:
			if err := json.Unmarshal(items, &list); err != nil {
				return nil, err
			}
		case n == 1:
			list = []json.RawMessage{value}
		default:
			return nil, errors.New("no items in the answer")
		}
	}
	if len(list) != n {
		return nil, fmt.Errorf("%d answers to %d items", len(list), n)
	}
	return inOrder(list)
}

// inOrder puts answers in the order of their numbers, if they have any.
func inOrder(list []json.RawMessage) ([]json.RawMessage, error) {
	sorted := make([]json.RawMessage, len(list))
	for i, raw := range list {
		var item struct {
			N *int `json:"n"`
		}
		at := i
		if json.Unmarshal(raw, &item) == nil && item.N != nil {
			at = *item.N - 1
		}
		if at < 0 || at >= len(list) || sorted[at] != nil {
			return nil, errors.New("the answers are not numbered as asked")
		}
		sorted[at] = raw
	}
	return sorted, nil
}

// readRanking reads "label", {"label", "confidence"} or {"labels": [...]}.
func readRanking(raw json.RawMessage, allowed []string) (ranking, error) {
	var a struct {
		Label      string            `json:"label"`
		Confidence *float64          `json:"confidence"`
		Labels     []json.RawMessage `json:"labels"`
	}
	if json.Unmarshal(raw, &a.Label) != nil {
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, err
		}
	}
	var r ranking
	for _, l := range a.Labels {
		var one struct {
			Label      string   `json:"label"`
			Confidence *float64 `json:"confidence"`
		}
		if json.Unmarshal(l, &one.Label) != nil {
			if err := json.Unmarshal(l, &one); err != nil {
				return nil, err
			}
		}
		r = append(r, scored{one.Label, orElse(one.Confidence, 0)})
	}
	if len(r) == 0 && a.Label != "" {
		r = ranking{{a.Label, orElse(a.Confidence, 1)}}
	}
	return r.checked(allowed)
}

func orElse(v *float64, other float64) float64 {
	if v == nil {
		return other
	}
	return *v
}

// checked puts a ranking in order and finds what is wrong with it.
func (r ranking) checked(allowed []string) (ranking, error) {
	if len(r) == 0 || len(r) > maxRanked {
		return nil, errors.New("no label, or too many")
	}
	seen := map[string]bool{}
	for i := range r {
		l, ok := match(r[i].Label, allowed)
		switch c := r[i].Confidence; {
		case !ok || seen[l]:
			return nil, fmt.Errorf("%q is not among the labels asked for, or is there twice", r[i].Label)
		case !(c >= 0 && c <= 1):
			return nil, fmt.Errorf("a confidence of %v", c)
		}
		r[i].Label = l
		seen[l] = true
	}
	slices.SortStableFunc(r, func(a, b scored) int {
		switch {
		case a.Confidence > b.Confidence:
			return -1
		case a.Confidence < b.Confidence:
			return 1
		}
		return 0
	})
	return r, nil
}

// match finds a label as it was asked for, whatever the case and the space around it. allowed nil: any of a fit length.
func match(label string, allowed []string) (string, bool) {
	label = strings.TrimSpace(label)
	if allowed == nil {
		return label, label != "" && runes(label) <= maxLabel
	}
	if slices.Contains(allowed, label) {
		return label, true
	}
	for _, a := range allowed {
		if strings.EqualFold(strings.TrimSpace(a), label) {
			return a, true
		}
	}
	return "", false
}

// scores reads n rankings out of tensors: "label" with "confidence", or "scores" with labels asked for or given.
func (o *outputs) scores(n int, allowed []string) ([]ranking, error) {
	if _, ok := o.named("scores"); ok {
		return o.matrix(n, allowed)
	}
	labels, err := o.texts(n, "label")
	if err != nil {
		return nil, err
	}
	sure, err := o.numbers("confidence", n)
	if err != nil {
		return nil, err
	}
	all := make([]ranking, n)
	for i, l := range labels {
		c := 1.0
		if sure != nil {
			c = sure[i]
		}
		if all[i], err = (ranking{{l, round(c)}}).checked(allowed); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// matrix reads n × k scores. Logits are not taken for probabilities.
func (o *outputs) matrix(n int, allowed []string) ([]ranking, error) {
	names := o.labels()
	if names == nil {
		names = allowed
	}
	if len(names) == 0 || len(names) > maxRanked {
		return nil, errors.New("scores without labels")
	}
	values, err := o.numbers("scores", n*len(names))
	if err != nil {
		return nil, err
	}
	all := make([]ranking, n)
	for i := range all {
		for j, name := range names {
			l, ok := match(name, allowed)
			if !ok {
				continue // a label that was not asked for
			}
			all[i] = append(all[i], scored{l, round(values[i*len(names)+j])})
		}
		if all[i], err = all[i].checked(allowed); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// round takes away the noise of 32-bit floats.
func round(f float64) float64 { return math.Round(f*1e6) / 1e6 }

// checkLabels refuses a list of labels that cannot be asked for.
func checkLabels(labels []string, least int) error {
	if len(labels) < least || len(labels) > maxLabels {
		return problem.New(problem.Invalid, "llm.task_labels", "give from %d to %d labels", least, maxLabels)
	}
	seen := map[string]bool{}
	for _, l := range labels {
		key := strings.ToLower(strings.TrimSpace(l))
		if key == "" || runes(l) > maxLabel || seen[key] {
			return invalid("labels", "must be different, not empty, and short")
		}
		seen[key] = true
	}
	return nil
}
