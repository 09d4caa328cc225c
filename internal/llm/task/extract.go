package task

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// summarise is text.summarise. A model writes a summary of its own (abstractive).
type summarise struct {
	texts
	Sentences int     `json:"sentences"`
	Ratio     float64 `json:"ratio"`
	Query     string  `json:"query"`
	Method    string  `json:"method"`
}

func readSummarise(c *Call) (operation, error) {
	o := &summarise{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	switch {
	case o.Sentences < 0 || o.Sentences > 200:
		return nil, invalid("sentences", "must be from 1 to 200")
	case !(o.Ratio >= 0 && o.Ratio <= 1):
		return nil, invalid("ratio", "must be above 0 and at most 1")
	case o.Sentences > 0 && o.Ratio > 0:
		return nil, invalid("ratio", "cannot be sent beside sentences")
	case len(o.Query) > 2000:
		return nil, invalid("query", "has more than 2000 bytes")
	case o.Texts != nil:
		return nil, invalid("text", "must be one text")
	case o.Method == "extractive":
		return nil, notHere("method", "must be abstractive with the model behind this product")
	case !oneOf(o.Method, "abstractive"):
		return nil, invalid("method", "must be extractive or abstractive")
	}
	if o.Sentences == 0 && o.Ratio == 0 {
		o.Ratio = 0.25
	}
	return o, o.settle()
}

func (o *summarise) ask(p *prompt) {
	length := "about " + itoa(int(100*o.Ratio+0.5)) + " % of its length"
	p.size = runes(o.all...)
	if o.Sentences > 0 {
		length = "at most " + itoa(o.Sentences) + " sentences"
		p.size = min(p.size, 200*o.Sentences)
	}
	p.say("You summarise a text: its main points in your own words, in " + length + ", in the language of the text. Say nothing that the text does not say.")
	if o.Query != "" {
		p.say("The input named query is what the reader wants to know; prefer what answers it.")
		p.data("query", o.Query)
	}
	p.shape = `{"items":[{"n":1,"summary":"…"}]}`
	o.askLanguage(p)
	o.texts.ask(p)
}

// summary is the summary of a text.
type summary struct {
	Summary  string `json:"summary"`
	Method   string `json:"method"`
	Language string `json:"language"`
}

func (o *summarise) hear(text string) (any, error) {
	all, err := items(text, 1, func(_ int, v *summary) error { return o.fits(v) })
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// fits finishes a summary, or says what is wrong with it: that there is none, or that it is no shorter than a text that
// is long.
func (o *summarise) fits(s *summary) error {
	s.Summary, s.Method, s.Language = strings.TrimSpace(s.Summary), "abstractive", o.languageOf(s.Language)
	n, source := runes(s.Summary), runes(o.all...)
	if n == 0 {
		return errEmpty
	}
	if n > 400 && n > source {
		return fmt.Errorf("a summary of %d characters of a text of %d", n, source)
	}
	return nil
}

func (o *summarise) infer() ([]tensor, map[string]any) {
	params := o.parameters()
	if o.Sentences > 0 {
		params["sentences"] = o.Sentences
	} else {
		params["ratio"] = o.Ratio
	}
	if o.Query != "" {
		params["query"] = o.Query
	}
	return column("text", o.all), params
}

func (o *summarise) inferred(out *outputs) (any, error) {
	list, err := out.texts(1, "summary")
	if err != nil {
		return nil, err
	}
	codes, err := o.languagesOf(out)
	if err != nil {
		return nil, err
	}
	s := summary{Summary: list[0], Language: codes[0]}
	if err := o.fits(&s); err != nil {
		return nil, err
	}
	return s, nil
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
	p.shape = `{"items":[{"n":1,"keywords":[{"keyword":"…","score":0.9}]}]}`
	p.size = len(o.all) * o.Top * 20
	o.askLanguage(p)
	o.texts.ask(p)
}

// keywordsOf are the keywords of a text.
type keywordsOf struct {
	Language string    `json:"language"`
	Keywords []keyword `json:"keywords"`
}

func (o *keywords) hear(text string) (any, error) {
	all, err := items(text, len(o.all), func(i int, v *keywordsOf) (err error) {
		v.Language = o.languageOf(v.Language)
		v.Keywords, err = o.fits(i, v.Keywords)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results[keywordsOf]{all}, nil
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
	params := o.parameters()
	params["top"] = o.Top
	return column("text", o.all), params
}

func (o *keywords) inferred(out *outputs) (any, error) {
	codes, err := o.languagesOf(out)
	if err != nil {
		return nil, err
	}
	all := make([]keywordsOf, len(o.all))
	_, err = itemsOfTensor(out, "json", len(o.all), func(i int, v *[]keyword) (err error) {
		all[i].Language = o.languageOf(codes[i])
		all[i].Keywords, err = o.fits(i, *v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results[keywordsOf]{all}, nil
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
	p.shape = `{"items":[{"n":1,"entities":[{"text":"…","type":"one of the types","confidence":0.9}]}]}`
	p.size = 4 * runes(o.all...)
	o.askLanguage(p)
	o.texts.ask(p)
}

// entitiesOf are the entities of a text.
type entitiesOf struct {
	Language string   `json:"language"`
	Entities []entity `json:"entities"`
}

func (o *entities) hear(text string) (any, error) {
	all, err := items(text, len(o.all), func(i int, v *entitiesOf) (err error) {
		v.Language = o.languageOf(v.Language)
		v.Entities, err = o.locate(i, v.Entities)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results[entitiesOf]{all}, nil
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
	params := o.parameters()
	params["types"] = string(marshal(o.types()))
	return column("text", o.all), params
}

func (o *entities) inferred(out *outputs) (any, error) {
	codes, err := o.languagesOf(out)
	if err != nil {
		return nil, err
	}
	all := make([]entitiesOf, len(o.all))
	_, err = itemsOfTensor(out, "json", len(o.all), func(i int, v *[]entity) (err error) {
		all[i].Language = o.languageOf(codes[i])
		all[i].Entities, err = o.locate(i, *v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results[entitiesOf]{all}, nil
}
