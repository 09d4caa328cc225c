package task

import (
	"encoding/json"
	"net/url"
	"strings"
)

// Translation in the contracts of others, whose clients work here too.

// readPlain reads POST /translate {text, sourceLanguage, targetLanguage}.
func readPlain(c *Call) (operation, error) {
	var r struct {
		Text   *string `json:"text"`
		Source string  `json:"sourceLanguage"`
		Target string  `json:"targetLanguage"`
	}
	if err := c.body(&r); err != nil {
		return nil, err
	}
	if r.Text == nil {
		return nil, invalid("text", "is missing")
	}
	t := &translate{texts: []string{*r.Text}, render: (*translate).plain}
	return t, t.begin(c, "sourceLanguage", r.Source, "targetLanguage", r.Target)
}

func (t *translate) plain(all []translation) any {
	return struct {
		Translation string `json:"translation"`
		Source      string `json:"sourceLanguage"`
		Target      string `json:"targetLanguage"`
		Quality     string `json:"quality"`
	}{all[0].Text, all[0].Source, t.target, qualityModel}
}

// textOrList is a text, or a list of them.
type textOrList struct {
	list []string
	many bool
}

// UnmarshalJSON reads either.
func (t *textOrList) UnmarshalJSON(raw []byte) error {
	var one string
	if string(raw) != "null" && json.Unmarshal(raw, &one) == nil {
		t.list = []string{one}
		return nil
	}
	t.many = true
	return json.Unmarshal(raw, &t.list)
}

// form is the call's body as a URL-encoded form; ok is false for other types.
func (c *Call) form() (v url.Values, ok bool) {
	if !strings.HasPrefix(strings.ToLower(c.Type), "application/x-www-form-urlencoded") {
		return nil, false
	}
	v, err := url.ParseQuery(string(c.Body))
	return v, err == nil
}

// readLibre reads LibreTranslate's POST /translate (https://docs.libretranslate.com/api).
func readLibre(c *Call) (operation, error) {
	var r struct {
		Q      textOrList `json:"q"`
		Source string     `json:"source"`
		Target string     `json:"target"`
		Format string     `json:"format"`
	}
	if v, ok := c.form(); ok {
		r.Q = textOrList{v["q"], len(v["q"]) > 1}
		r.Source, r.Target, r.Format = v.Get("source"), v.Get("target"), v.Get("format")
	} else if err := c.body(&r); err != nil {
		return nil, err
	}
	if r.Format != "" && r.Format != "text" && r.Format != "html" {
		return nil, invalid("format", "must be text or html")
	}
	t := &translate{texts: r.Q.list, format: r.Format}
	t.render = func(t *translate, all []translation) any { return t.libre(all, r.Q.many) }
	return t, t.begin(c, "source", r.Source, "target", r.Target)
}

func (t *translate) libre(all []translation, many bool) any {
	type detection struct {
		Confidence float64 `json:"confidence"` // in per cent; a model tells none
		Language   string  `json:"language"`
	}
	texts, detected := make([]string, len(all)), make([]detection, len(all))
	for i, a := range all {
		texts[i], detected[i] = a.Text, detection{0, a.Source}
	}
	answer := map[string]any{"translatedText": texts, "quality": qualityModel}
	if t.source == "" {
		answer["detectedLanguage"] = detected
	}
	if !many {
		answer["translatedText"] = texts[0]
		if t.source == "" {
			answer["detectedLanguage"] = detected[0]
		}
	}
	return answer
}

// readDeepL reads DeepL's POST /v2/translate (https://developers.deepl.com/docs/api-reference/translate).
func readDeepL(c *Call) (operation, error) {
	var r struct {
		Text      textOrList `json:"text"`
		Source    string     `json:"source_lang"`
		Target    string     `json:"target_lang"`
		Context   string     `json:"context"`
		Formality string     `json:"formality"`
		Glossary  string     `json:"glossary_id"`
		More      textOrList `json:"glossary_ids"`
		Tags      string     `json:"tag_handling"`
	}
	if v, ok := c.form(); ok {
		r.Text = textOrList{v["text"], true}
		r.Source, r.Target, r.Context = v.Get("source_lang"), v.Get("target_lang"), v.Get("context")
		r.Formality, r.Glossary, r.Tags = v.Get("formality"), v.Get("glossary_id")+v.Get("glossary_ids"), v.Get("tag_handling")
	} else if err := c.body(&r); err != nil {
		return nil, err
	}
	if r.Glossary != "" || len(r.More.list) > 0 {
		return nil, storedGlossary()
	}
	t := &translate{texts: r.Text.list, context: r.Context, render: (*translate).deepl}
	switch r.Tags {
	case "":
	case "html", "xml":
		t.format = "html"
	default:
		return nil, invalid("tag_handling", "must be html or xml")
	}
	switch r.Formality {
	case "more", "prefer_more":
		t.formality = "more"
	case "less", "prefer_less":
		t.formality = "less"
	case "", "default":
	default:
		return nil, invalid("formality", "must be default, more, less, prefer_more or prefer_less")
	}
	if len(t.context) > maxContext {
		return nil, invalid("context", "is too long")
	}
	return t, t.begin(c, "source_lang", r.Source, "target_lang", r.Target)
}

func (t *translate) deepl(all []translation) any {
	type item struct {
		Source  string   `json:"detected_source_language"`
		Text    string   `json:"text"`
		Billed  int      `json:"billed_characters"`
		Model   string   `json:"model_type_used,omitempty"`
		Engine  string   `json:"engine"`
		Quality string   `json:"quality"`
		Ignored []string `json:"ignored,omitempty"`
	}
	list := make([]item, len(all))
	for i, a := range all {
		base, _, _ := strings.Cut(a.Source, "-")
		list[i] = item{strings.ToUpper(base), a.Text, runes(t.docs[i].parts...), a.Model, a.Engine, a.Quality, a.Ignored}
	}
	return struct {
		Translations []item `json:"translations"`
	}{list}
}
