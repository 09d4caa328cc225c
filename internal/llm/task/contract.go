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

// each gives the caller one answer for one text, and a list for a list.
func (t *texts) each(n int, answer func(i int) any) any {
	if !t.batch() && n == 1 {
		return answer(0)
	}
	list := make([]any, n)
	for i := range list {
		list[i] = answer(i)
	}
	return struct {
		Results []any `json:"results"`
	}{list}
}

func (o *classify) result(all []ranking) any {
	return o.each(len(all), func(i int) any {
		return struct {
			scored
			Labels ranking `json:"labels"`
		}{all[i][0], all[i]}
	})
}

func (o *language) result(all []ranking) any {
	type candidate struct {
		Language   string  `json:"language"`
		Confidence float64 `json:"confidence"`
	}
	return o.each(len(all), func(i int) any {
		list := []candidate{}
		for _, l := range all[i] {
			list = append(list, candidate{l.Label, l.Confidence})
		}
		return struct {
			candidate
			Candidates []candidate `json:"candidates"`
		}{list[0], list}
	})
}

func (o *sentiment) result(all []judged) any {
	return o.each(len(all), func(i int) any {
		if !o.Aspects.wanted {
			return all[i].mood
		}
		return all[i]
	})
}

func (o *summarise) result(list []string) any {
	return o.each(len(list), func(i int) any {
		return struct {
			Summary string `json:"summary"`
		}{list[i]}
	})
}

func (o *keywords) result(lists [][]keyword) any {
	return o.each(len(lists), func(i int) any {
		return struct {
			Keywords []keyword `json:"keywords"`
		}{lists[i]}
	})
}

func (o *entities) result(lists [][]entity) any {
	return o.each(len(lists), func(i int) any {
		return struct {
			Entities []entity `json:"entities"`
		}{lists[i]}
	})
}

func (o *generate) result(text string) any {
	return struct {
		Text string `json:"text"`
	}{text}
}

func (o *dialogue) result(text string) any {
	return struct {
		Message message `json:"message"`
	}{message{"assistant", text}}
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

func (p *picture) size() size { return size{p.width, p.height, strings.TrimPrefix(p.mime, "image/")} }

func (o *imageClassify) result(r ranking) any {
	return struct {
		Labels     string  `json:"labels"`
		Confidence float64 `json:"confidence"`
		Classes    ranking `json:"classes"`
		Image      size    `json:"image"`
	}{labelSet(o.Labels), r[0].Confidence, r[:min(len(r), o.Top)], o.picture.size()}
}

func (o *detect) result(list []object) any {
	return struct {
		Labels  string   `json:"labels"`
		Objects []object `json:"objects"`
		Image   size     `json:"image"`
	}{labelSet(o.Labels), list, o.picture.size()}
}

// result has lines without their places, which no model here tells.
func (o *ocr) result(lines []string) any {
	type line struct {
		Text string `json:"text"`
	}
	list := []line{}
	for _, l := range lines {
		list = append(list, line{l})
	}
	return struct {
		Text  string `json:"text"`
		Lines []line `json:"lines"`
		Image size   `json:"image"`
	}{strings.Join(lines, "\n"), list, o.picture.size()}
}

// mayBeCut reports whether an answer that reached its limit of tokens is still an answer.
func mayBeCut(op operation) bool {
	switch op.(type) {
	case *generate, *dialogue:
		return true
	}
	return false
}
