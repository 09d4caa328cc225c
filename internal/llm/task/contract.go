package task

import (
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// The answers of the contracts, as the engines of this platform give them.

// notHere is the refusal of an option that the contract has and a larger model has not.
func notHere(field, why string) error {
	return problem.New(problem.Unprocessable, "llm.task_option", "%q %s", field, why).WithField(field, "%s", why)
}

// qualityModel is what a translation by an upstream is labelled with.
const qualityModel = "model"

// engineName is what answers name as their engine.
const engineName = "upstream"

// translation is the translation of one text.
type translation struct {
	Text     string   `json:"text"`
	Source   string   `json:"source"`
	Detected bool     `json:"detected,omitempty"`
	Engine   string   `json:"engine"`
	Model    string   `json:"model,omitempty"`
	Quality  string   `json:"quality"`
	Ignored  []string `json:"ignored,omitempty"`
}

// result makes the answer of the contract in which the translation was asked for.
func (t *translate) result(whole, sources []string) any {
	list := make([]translation, len(whole))
	for i, text := range whole {
		list[i] = translation{Text: text, Source: t.source, Engine: engineName, Model: t.model, Quality: qualityModel, Ignored: t.ignored}
		if code, ok := tidy(sources[i]); t.source == "" {
			list[i].Detected = true
			if ok {
				list[i].Source = code
			}
		}
	}
	return t.render(t, list)
}

// own is the answer of POST /v1/translate.
func (t *translate) own(all []translation) any {
	units := t.units
	if units == 0 {
		units = int64(runes(t.parts...))
	}
	return struct {
		Translations []translation `json:"translations"`
		Target       string        `json:"target"`
		Format       string        `json:"format"`
		Quality      string        `json:"quality"`
		Ignored      []string      `json:"ignored,omitempty"`
		Characters   int64         `json:"characters"`
	}{all, t.target, t.format, qualityModel, t.ignored, units}
}

// results are the answers to the texts of a call, in their order.
type results[T any] struct {
	Results []T `json:"results"`
}

// selfSaid is told with confidences that a chat model or an unknown model gives.
const selfSaid = "confidences are what the model says of itself; they are not calibrated"

// cut is the ranking without what the caller does not want.
func (r ranking) cut(top int) ranking { return r[:min(len(r), top)] }

func (o *classify) result(all []ranking) any {
	type item struct {
		scored
		Scores ranking `json:"scores"`
	}
	list := make([]item, len(all))
	for i, r := range all {
		list[i] = item{r[0], r.cut(o.Top)}
	}
	method := "zero-shot"
	if len(o.Examples) > 0 {
		method = "few-shot"
	}
	return struct {
		results[item]
		Method string `json:"method"`
		Note   string `json:"note"`
	}{results[item]{list}, method, selfSaid}
}

func (o *language) result(all []ranking) any {
	type candidate struct {
		Language   string  `json:"language"`
		Confidence float64 `json:"confidence"`
	}
	type item struct {
		candidate
		Candidates []candidate `json:"candidates"`
	}
	list := make([]item, len(all))
	for i, r := range all {
		for _, l := range r.cut(o.Top) {
			list[i].Candidates = append(list[i].Candidates, candidate{l.Label, l.Confidence})
		}
		list[i].candidate = list[i].Candidates[0]
	}
	return results[item]{list}
}

// written is a text that a model has written.
type written struct {
	Text string `json:"text"`
}

// labelSet names where labels come from: a list that was asked for, or whatever the model says.
func labelSet(asked []string) string {
	if len(asked) > 0 {
		return "asked"
	}
	return "open"
}

// size tells an answer's picture: the places in the answer are in its pixels.
type size struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Format string `json:"format"`
}

func (p *picture) size() size { return size{p.width, p.height, p.format} }

func (o *imageClassify) result(r ranking) any {
	return struct {
		Labels     string  `json:"labels"`
		Confidence float64 `json:"confidence"`
		Classes    ranking `json:"classes"`
		Image      size    `json:"image"`
	}{labelSet(o.Labels), r[0].Confidence, r.cut(o.Top), o.picture.size()}
}

func (o *detect) result(list []object) any {
	return struct {
		Labels  string   `json:"labels"`
		Objects []object `json:"objects"`
		Image   size     `json:"image"`
	}{labelSet(o.Labels), list, o.picture.size()}
}

func (o *ocr) result(lines []textLine) any {
	texts, sure := make([]string, len(lines)), 0.0
	for i, l := range lines {
		texts[i] = l.Text
		sure += l.Confidence / float64(len(lines))
	}
	return struct {
		Text       string     `json:"text"`
		Confidence float64    `json:"confidence"`
		Lines      []textLine `json:"lines"`
		Image      size       `json:"image"`
	}{strings.Join(texts, "\n"), round(sure), lines, o.picture.size()}
}

// mayBeCut reports whether an answer that reached its limit of tokens is still an answer.
func mayBeCut(op operation) bool {
	switch op.(type) {
	case *generate, *dialogue:
		return true
	}
	return false
}
