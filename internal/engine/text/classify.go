package text

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// classifyInput is the body of text.classify: by a trained classifier, by examples, or by labels alone.
type classifyInput struct {
	batch
	Classifier string       `json:"classifier"`
	Version    int64        `json:"version"`
	Labels     []labelInput `json:"labels"`
	Examples   []Example    `json:"examples"`
	Top        int          `json:"top"`
}

// labelInput is a label's name, or an object with its description and examples.
type labelInput struct {
	Label       string   `json:"label"`
	Description string   `json:"description"`
	Examples    []string `json:"examples"`

	object bool
}

// UnmarshalJSON takes a string or an object.
func (l *labelInput) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte(`"`)) {
		return json.Unmarshal(b, &l.Label)
	}
	type plain labelInput
	l.object = true
	return json.Unmarshal(b, (*plain)(l))
}

// Limits of classification by a request's own labels.
const (
	maxOwnLabels = 100
	maxShots     = 200 // examples in a request
	maxShotText  = 2000
)

func (in *classifyInput) chars() int {
	n := in.batch.chars()
	for _, l := range in.Labels {
		n += count(l.Label, l.Description) + count(l.Examples...)
	}
	for _, x := range in.Examples {
		n += count(x.Text)
	}
	return n
}

func (in *classifyInput) check() error {
	own := len(in.Labels) > 0 || len(in.Examples) > 0
	switch {
	case in.Classifier == "" && !own:
		return engine.Invalid("labels", "is missing; send labels, examples, or the name of a classifier of yours")
	case in.Classifier != "" && own:
		return engine.Invalid("classifier", "cannot be sent beside labels or examples")
	case in.Version < 0 || in.Version > 0 && in.Classifier == "":
		return engine.Invalid("version", "is the number of a version of a classifier")
	case in.Top < 0 || in.Top > 100:
		return engine.Invalid("top", "must be from 1 to 100")
	case len(in.Labels) > maxOwnLabels:
		return engine.Invalid("labels", fmt.Sprintf("has more than %d labels; train a classifier for more", maxOwnLabels))
	}
	if in.Top == 0 {
		in.Top = 5
	}
	if err := in.batch.check(); err != nil {
		return err
	}
	return in.checkOwn()
}

func (in *classifyInput) checkOwn() error {
	names := map[string]bool{}
	for i, l := range in.Labels {
		field := fmt.Sprintf("labels[%d]", i)
		switch {
		case l.object && strings.TrimSpace(l.Label) == "":
			return engine.Invalid(field+".label", "is missing")
		case strings.TrimSpace(l.Label) == "" || len(l.Label) > maxLabel:
			return engine.Invalid(field, fmt.Sprintf("must have 1 to %d bytes", maxLabel))
		case names[l.Label]:
			return engine.Invalid(field, "is there twice")
		case len(l.Description) > maxShotText:
			return engine.Invalid(field+".description", "is too long")
		}
		names[l.Label] = true
	}
	if len(in.Labels) == 1 && len(in.Examples) == 0 {
		return engine.Invalid("labels", "must have at least two labels")
	}
	given := in.shots()
	if len(given) > maxShots {
		return problem.New(problem.TooLarge, "text.too_many_shots", "a request can carry at most %d examples; train a classifier for more", maxShots)
	}
	for _, x := range given {
		if strings.TrimSpace(x.Text) == "" || len(x.Text) > 4*maxShotText || x.Label == "" || len(x.Label) > maxLabel {
			return engine.Invalid("examples", "each needs a text of at most 2000 characters and a label")
		}
		if len(names) > 0 && len(in.Labels) > 0 && !names[x.Label] {
			return engine.Invalid("examples", fmt.Sprintf("the label %q is not among labels", x.Label))
		}
	}
	return nil
}

// shots are all examples. Of a label without any, its description or name is one, if others have some.
func (in *classifyInput) shots() []Example {
	out := append([]Example(nil), in.Examples...)
	has := map[string]bool{}
	for _, x := range out {
		has[x.Label] = true
	}
	for _, l := range in.Labels {
		for _, s := range l.Examples {
			out = append(out, Example{s, l.Label})
			has[l.Label] = true
		}
	}
	if len(out) == 0 {
		return nil
	}
	for _, l := range in.Labels {
		if l.Description != "" {
			out = append(out, Example{l.Description, l.Label})
		} else if !has[l.Label] {
			out = append(out, Example{readableName(l.Label), l.Label})
		}
	}
	return out
}

type classifyResult struct {
	Label      string  `json:"label"`
	Confidence float64 `json:"confidence"`
	Scores     []Score `json:"scores"`
}

type classifyAnswer struct {
	Results    []classifyResult `json:"results"`
	Method     string           `json:"method"` // trained, few-shot or zero-shot
	Classifier string           `json:"classifier,omitempty"`
	Version    int64            `json:"version,omitempty"`
	Note       string           `json:"note,omitempty"`
	made
}

func (in *classifyInput) do(ctx context.Context, e *Engine, r *engine.Request) (any, error) {
	switch shots := in.shots(); {
	case in.Classifier != "":
		return in.trained(ctx, e, r.Owner)
	case len(shots) > 0:
		return in.fewShot(ctx, e, shots)
	}
	return in.zeroShot(ctx, e)
}

func (in *classifyInput) trained(ctx context.Context, e *Engine, owner string) (any, error) {
	c, version, err := e.store.open(ctx, owner, in.Classifier, in.Version)
	if err != nil {
		return nil, err
	}
	out := classifyAnswer{Method: "trained", Classifier: in.Classifier, Version: version, made: made{"linear", fmt.Sprintf("%s@%d", in.Classifier, version)}}
	for _, s := range in.all() {
		out.add(c.Predict(s, in.Top))
	}
	return out, ctx.Err()
}

func (in *classifyInput) fewShot(ctx context.Context, e *Engine, shots []Example) (any, error) {
	f, err := e.fewShot(ctx, shots)
	if err != nil {
		return nil, err
	}
	scores, by, err := f.predict(ctx, in.all(), in.Top)
	if err != nil {
		return nil, err
	}
	out := classifyAnswer{Method: "few-shot", made: made{"linear", "n-grams with " + by.Engine + " vectors"},
		Note: "confidences are not calibrated: a few examples cannot tell how often they are right"}
	if by == bySpelling {
		out.made.Model = by.Model
	}
	for _, s := range scores {
		out.add(s)
	}
	return out, nil
}

func (in *classifyInput) zeroShot(ctx context.Context, e *Engine) (any, error) {
	labels := make([]Label, len(in.Labels))
	for i, l := range in.Labels {
		labels[i] = Label{l.Label, l.Description}
	}
	scores, err := ZeroShot(ctx, e.vectors, in.all(), labels, in.Top)
	if err != nil {
		return nil, err
	}
	out := classifyAnswer{Method: "zero-shot", Note: "labels are compared with the text by their names and descriptions, as English; confidences are not calibrated. Examples make it much better.", made: byMeaning}
	for _, s := range scores {
		out.add(s)
	}
	return out, nil
}

func (a *classifyAnswer) add(scores []Score) {
	for i := range scores {
		scores[i].Confidence = round3(scores[i].Confidence)
	}
	a.Results = append(a.Results, classifyResult{scores[0].Label, scores[0].Confidence, scores})
}

// shot is a few-shot classifier that may be asked again.
type shot struct {
	key [sha256.Size]byte
	f   *FewShot
}

// fewShot learns from the examples, or finds that it has: the result depends on them alone.
func (e *Engine) fewShot(ctx context.Context, examples []Example) (*FewShot, error) {
	h := sha256.New()
	var n [8]byte
	for _, x := range examples {
		for _, s := range []string{x.Text, x.Label} {
			binary.LittleEndian.PutUint64(n[:], uint64(len(s)))
			h.Write(n[:]) // a hash's Write never fails
			h.Write([]byte(s))
		}
	}
	var key [sha256.Size]byte
	h.Sum(key[:0])
	find := func() *list.Element {
		for el := e.shots.Front(); el != nil; el = el.Next() {
			if el.Value.(*shot).key == key {
				return el
			}
		}
		return nil
	}
	e.mu.Lock()
	if el := find(); el != nil {
		e.shots.MoveToFront(el)
		e.mu.Unlock()
		return el.Value.(*shot).f, nil
	}
	e.mu.Unlock()
	f, err := NewFewShot(ctx, e.vectors, examples, 1)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if find() == nil {
		e.shots.PushFront(&shot{key, f})
	}
	for e.shots.Len() > keepShots {
		e.shots.Remove(e.shots.Back())
	}
	return f, nil
}
