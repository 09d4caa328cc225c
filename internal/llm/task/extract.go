package task

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// summarise is text.summarise.
type summarise struct {
	texts
	Sentences int    `json:"sentences"`
	Max       int    `json:"max_characters"`
	Language  string `json:"language"`
}

func readSummarise(c *Call) (operation, error) {
	o := &summarise{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	switch {
	case o.Sentences < 0 || o.Sentences > 100:
		return nil, invalid("sentences", "must be from 1 to 100")
	case o.Max < 0 || o.Max > maxRunes:
		return nil, invalid("max_characters", fmt.Sprintf("must be from 1 to %d", maxRunes))
	case o.Language != "" && !languageCode.MatchString(o.Language):
		return nil, invalid("language", "must be a language code such as fr or zh-CN")
	}
	if o.Sentences == 0 && o.Max == 0 {
		o.Sentences = 3
	}
	return o, o.settle()
}

func (o *summarise) ask(p *prompt) {
	length := fmt.Sprintf("at most %d sentences", o.Sentences)
	if o.Sentences == 0 {
		length = fmt.Sprintf("at most %d characters", o.Max)
	} else if o.Max > 0 {
		length += fmt.Sprintf(" and %d characters", o.Max)
	}
	in := "the language of the text itself"
	if o.Language != "" {
		in = "the language " + o.Language + " (BCP 47)"
	}
	p.say("You summarise texts: the main points of each in your own words, in " + length + ", in " + in + ". Say nothing that the text does not say.")
	o.texts.ask(p)
	p.shape = `{"items":[{"n":1,"summary":"…"}]}`
	p.size = len(o.all) * o.Sentences * 200
	if o.Max > 0 {
		p.size = len(o.all) * o.Max
	}
	p.size = min(p.size, runes(o.all...))
}

func (o *summarise) hear(text string) (any, error) {
	type item struct {
		Summary string `json:"summary"`
	}
	all, err := items(text, len(o.all), func(i int, v *item) error { return o.fits(i, v.Summary) })
	if err != nil {
		return nil, err
	}
	list := make([]string, len(all))
	for i, v := range all {
		list[i] = strings.TrimSpace(v.Summary)
	}
	return o.result(list), nil
}

// fits reports what is wrong with a summary: that there is none, or that it is no shorter than a text that is long.
func (o *summarise) fits(i int, summary string) error {
	n := runes(summary)
	if strings.TrimSpace(summary) == "" {
		return errEmpty
	}
	if source := runes(o.all[i]); n > 400 && n > source || o.Max > 0 && n > 2*o.Max+200 {
		return fmt.Errorf("a summary of %d characters of a text of %d", n, source)
	}
	return nil
}

func (o *summarise) infer() ([]tensor, map[string]any) {
	params := map[string]any{}
	for name, n := range map[string]int{"sentences": o.Sentences, "max_characters": o.Max} {
		if n > 0 {
			params[name] = n
		}
	}
	if o.Language != "" {
		params["language"] = o.Language
	}
	return column("text", o.all), params
}

func (o *summarise) inferred(out *outputs) (any, error) {
	list, err := out.texts(len(o.all), "summary")
	if err != nil {
		return nil, err
	}
	for i, s := range list {
		if err := o.fits(i, s); err != nil {
			return nil, err
		}
	}
	return o.result(list), nil
}

// maxFound bounds the keywords or entities of a text.
const maxFound = 2000

// keyword is a word or a phrase of a text.
type keyword struct {
	Text  string  `json:"keyword"`
	Score float64 `json:"score"` // the first has 1
	Count int     `json:"count"`
}

// keywords is text.keywords.
type keywords struct {
	texts
	Top int `json:"top"`
}

func readKeywords(c *Call) (operation, error) {
	o := &keywords{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if o.Top == 0 {
		o.Top = 10
	}
	if o.Top < 1 || o.Top > 100 {
		return nil, invalid("top", "must be from 1 to 100")
	}
	return o, o.settle()
}

func (o *keywords) ask(p *prompt) {
	p.say(fmt.Sprintf("You find the keywords of texts: at most %d words or short phrases of each that tell best what it is about, exactly as they stand in the text, "+
		"the most important first, each with its importance from 0 to 1.", o.Top))
	o.texts.ask(p)
	p.shape = `{"items":[{"n":1,"keywords":[{"keyword":"…","score":0.9}]}]}`
	p.size = len(o.all) * o.Top * 20
}

func (o *keywords) hear(text string) (any, error) {
	type item struct {
		Keywords []keyword `json:"keywords"`
	}
	all, err := items(text, len(o.all), func(i int, v *item) (err error) {
		v.Keywords, err = o.fits(i, v.Keywords)
		return err
	})
	if err != nil {
		return nil, err
	}
	lists := make([][]keyword, len(all))
	for i, v := range all {
		lists[i] = v.Keywords
	}
	return o.result(lists), nil
}

// fits puts keywords in order and leaves out what does not stand in the text: keywords that a model made up are worse
// than fewer.
func (o *keywords) fits(i int, list []keyword) ([]keyword, error) {
	if len(list) > maxFound {
		return nil, fmt.Errorf("%d keywords", len(list))
	}
	text := strings.ToLower(o.all[i])
	kept := []keyword{}
	for _, k := range list {
		k.Text = strings.TrimSpace(k.Text)
		if !(k.Score >= 0 && k.Score <= 1) {
			return nil, fmt.Errorf("a score of %v", k.Score)
		}
		if k.Text != "" {
			k.Count = strings.Count(text, strings.ToLower(k.Text))
		}
		if k.Count > 0 && len(kept) < o.Top {
			kept = append(kept, k)
		}
	}
	if len(kept) == 0 && len(list) > 0 {
		return nil, fmt.Errorf("none of %d keywords is in the text", len(list))
	}
	slices.SortStableFunc(kept, func(a, b keyword) int { return cmp.Compare(b.Score, a.Score) })
	for j := len(kept) - 1; j >= 0 && kept[0].Score > 0; j-- {
		kept[j].Score = round(kept[j].Score / kept[0].Score)
	}
	return kept, nil
}

func (o *keywords) infer() ([]tensor, map[string]any) {
	return column("text", o.all), map[string]any{"top": o.Top}
}

func (o *keywords) inferred(out *outputs) (any, error) {
	lists, err := itemsOfTensor(out, "json", len(o.all), func(i int, v *[]keyword) (err error) {
		*v, err = o.fits(i, *v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o.result(lists), nil
}

// entity is a name in a text.
type entity struct {
	Type       string  `json:"type"`
	Text       string  `json:"text"`
	Start      int     `json:"start"` // code points before it
	End        int     `json:"end"`
	Confidence float64 `json:"confidence"`
	Source     string  `json:"source"` // how it was found
}

// entities is text.entities.
type entities struct {
	texts
	Types []string `json:"types"`
}

// entityTypes are looked for where the caller names none.
func entityTypes() []string {
	return []string{"person", "organisation", "location", "name", "date", "time", "money", "percent", "quantity", "email", "url", "phone", "ip_address", "card_number", "handle"}
}

func readEntities(c *Call) (operation, error) {
	o := &entities{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if len(o.Types) > 0 {
		if err := checkLabels(o.Types, 1); err != nil {
			return nil, err
		}
	}
	return o, o.settle()
}

func (o *entities) types() []string {
	if len(o.Types) > 0 {
		return o.Types
	}
	return entityTypes()
}

func (o *entities) ask(p *prompt) {
	p.say("You find named entities in texts. The input named types is a JSON list of the types to look for; there are no others. " +
		"Give each entity exactly as it stands in the text, in the order of the text, as often as it occurs, with its type and how sure you are of it, from 0 to 1.")
	p.list("types", o.types())
	o.texts.ask(p)
	p.shape = `{"items":[{"n":1,"entities":[{"text":"…","type":"one of the types","confidence":0.9}]}]}`
	p.size = 4 * runes(o.all...)
}

func (o *entities) hear(text string) (any, error) {
	type item struct {
		Entities []entity `json:"entities"`
	}
	all, err := items(text, len(o.all), func(i int, v *item) (err error) {
		v.Entities, err = o.locate(i, v.Entities)
		return err
	})
	if err != nil {
		return nil, err
	}
	lists := make([][]entity, len(all))
	for i, v := range all {
		lists[i] = v.Entities
	}
	return o.result(lists), nil
}

// locate finds where the entities stand, each after the one before it if it can; what does not stand in the text
// is left out. An unknown type is an error.
func (o *entities) locate(i int, list []entity) ([]entity, error) {
	text := o.all[i]
	if len(list) > maxFound {
		return nil, fmt.Errorf("%d entities", len(list))
	}
	kept := []entity{}
	from := 0
	for _, e := range list {
		kind, ok := match(e.Type, o.types())
		if !ok || !(e.Confidence >= 0 && e.Confidence <= 1) {
			return nil, fmt.Errorf("an entity of the type %q with confidence %v", e.Type, e.Confidence)
		}
		at := -1
		if e.Text != "" {
			if at = strings.Index(text[from:], e.Text); at >= 0 {
				at += from
			} else {
				at = strings.Index(text, e.Text)
			}
		}
		if at < 0 {
			continue
		}
		from = max(from, at+len(e.Text))
		start := runes(text[:at])
		kept = append(kept, entity{kind, e.Text, start, start + runes(e.Text), e.Confidence, "model"})
	}
	if len(kept) == 0 && len(list) > 0 {
		return nil, fmt.Errorf("none of %d entities is in the text", len(list))
	}
	return kept, nil
}

func (o *entities) infer() ([]tensor, map[string]any) {
	return column("text", o.all), map[string]any{"types": string(marshal(o.types()))}
}

func (o *entities) inferred(out *outputs) (any, error) {
	lists, err := itemsOfTensor(out, "json", len(o.all), func(i int, v *[]entity) (err error) {
		*v, err = o.locate(i, *v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o.result(lists), nil
}
