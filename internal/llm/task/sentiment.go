package task

import (
	"errors"
	"fmt"
	"strings"
)

// moods are the labels of a sentiment.
func moods() []string { return []string{"positive", "neutral", "negative", "mixed"} }

// mood is the polarity of a text or an aspect. A figure that the model has not given is left out.
type mood struct {
	Label      string   `json:"sentiment"`
	Score      *float64 `json:"score,omitempty"` // -1 to 1
	Confidence *float64 `json:"confidence,omitempty"`
}

// check finds what is wrong with a mood that a model gave.
func (m *mood) check() error {
	label, ok := match(m.Label, moods())
	within := func(f *float64, least float64) bool { return f == nil || *f >= least && *f <= 1 }
	if !ok || !within(m.Score, -1) || !within(m.Confidence, 0) {
		return fmt.Errorf("sentiment %.40q, or its score or confidence", m.Label)
	}
	m.Label = label
	return nil
}

// sentiment is text.sentiment, of a text as a whole and of aspects of it.
type sentiment struct {
	texts
	Aspects []string `json:"aspects"`
	Find    bool     `json:"find_aspects"` // whatever aspects there are
}

// wanted reports whether aspects are asked for at all.
func (o *sentiment) wanted() bool { return o.Find || len(o.Aspects) > 0 }

func readSentiment(c *Call) (operation, error) {
	o := &sentiment{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if len(o.Aspects) > 0 {
		if err := checkLabels(o.Aspects, 1); err != nil {
			return nil, err
		}
	}
	return o, o.settle()
}

func (o *sentiment) ask(p *prompt) {
	p.say("You judge the sentiment of texts, in whatever language they are: positive, neutral, negative, or mixed where a text is plainly both. " +
		"Give each a score from -1 (most negative) to 1 (most positive), and how sure you are of your judgement as confidence from 0 to 1.")
	p.shape = `{"items":[{"n":1,"sentiment":"positive","score":0.8,"confidence":0.9}]}`
	p.size = 40 * len(o.all)
	if o.wanted() {
		p.say("Judge also what each text says of single aspects, such as price or service, and quote as mentions the words of the text that say so. " +
			"An aspect that a text does not speak of is left out. Name aspects in the language of the text.")
		p.shape = `{"items":[{"n":1,"sentiment":"positive","score":0.8,"confidence":0.9,"aspects":[{"aspect":"price","sentiment":"negative","score":-0.6,"confidence":0.8,"mentions":["a bit dear"]}]}]}`
		p.size += 2 * runes(o.all...)
	}
	if len(o.Aspects) > 0 {
		p.say("The input named aspects is a JSON list of the aspects to judge; there are no others. Write them exactly as they are in the list.")
		p.list("aspects", o.Aspects)
		p.size += 4 * len(o.all) * runes(o.Aspects...)
	}
	o.askLanguage(p)
	o.texts.ask(p)
}

// judged is what is said of one text.
type judged struct {
	mood
	Language  string       `json:"language"`
	Sentences []struct{}   `json:"sentences"` // none: a model is asked about the whole text
	Aspects   []aspectMood `json:"aspects,omitempty"`
}

// aspectMood is the sentiment of one aspect.
type aspectMood struct {
	Aspect string `json:"aspect"`
	mood
	Mentions []string `json:"mentions"`
}

func (o *sentiment) hear(text string) (any, error) {
	all, err := items(text, len(o.all), func(i int, v *judged) (err error) {
		v.Language, v.Sentences = o.languageOf(v.Language), []struct{}{}
		if err = v.check(); err == nil {
			v.Aspects, err = o.fits(i, v.Aspects)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return results[judged]{all}, nil
}

// fits checks the aspects of a text. Mentions that are not in the text are left out, as is an aspect that is there twice.
func (o *sentiment) fits(i int, list []aspectMood) ([]aspectMood, error) {
	if !o.wanted() {
		return nil, nil
	}
	if len(list) > maxLabels {
		return nil, fmt.Errorf("%d aspects", len(list))
	}
	kept, seen := []aspectMood{}, map[string]bool{}
	for _, a := range list {
		name, ok := match(a.Aspect, o.Aspects)
		if err := a.check(); err != nil || !ok {
			return nil, fmt.Errorf("aspect %q: %w", a.Aspect, err)
		}
		mentions := []string{}
		for _, m := range a.Mentions {
			if m != "" && strings.Contains(o.all[i], m) {
				mentions = append(mentions, m)
			}
		}
		if !seen[name] {
			kept = append(kept, aspectMood{name, a.mood, mentions})
		}
		seen[name] = true
	}
	return kept, nil
}

func (o *sentiment) infer() ([]tensor, map[string]any) {
	params := o.parameters()
	params["labels"] = string(marshal(moods()[:3]))
	switch {
	case len(o.Aspects) > 0:
		params["aspects"] = string(marshal(o.Aspects))
	case o.wanted():
		params["aspects"] = true
	}
	return column("text", o.all), params
}

// inferred reads labels or scores; the score of a text is what speaks for positive less what speaks for negative.
func (o *sentiment) inferred(out *outputs) (any, error) {
	rankings, err := out.scores(len(o.all), moods()[:3])
	if err != nil {
		return nil, err
	}
	codes, err := o.languagesOf(out)
	if err != nil {
		return nil, err
	}
	all := make([]judged, len(rankings))
	for i, r := range rankings {
		all[i].Language, all[i].Sentences = o.languageOf(codes[i]), []struct{}{}
		score := 0.0
		for _, l := range r {
			switch l.Label {
			case "positive":
				score += l.Confidence
			case "negative":
				score -= l.Confidence
			}
		}
		score = round(min(max(score, -1), 1))
		all[i].mood = mood{r[0].Label, &score, &r[0].Confidence}
	}
	if !o.wanted() {
		return results[judged]{all}, nil
	}
	if _, ok := out.named("aspects"); !ok {
		return nil, errors.New("no output aspects")
	}
	_, err = itemsOfTensor(out, "aspects", len(o.all), func(i int, v *[]aspectMood) (err error) {
		all[i].Aspects, err = o.fits(i, *v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results[judged]{all}, nil
}
