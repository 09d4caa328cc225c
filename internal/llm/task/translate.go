package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of a translation by an upstream.
const (
	maxParts   = 500  // texts, or pieces of documents, of one call: a model loses count of more
	maxTerms   = 1000 // of a glossary
	maxTerm    = 1000 // code points of one
	maxContext = 16 << 10
	maxRunes   = 200_000 // code points of all texts of a call
	maxWritten = 30_000  // code points of what a chat model has to write anew: more does not fit into [tokensMost]
)

// languageCode is a BCP 47 tag as far as it matters: a language, with a script or a region.
var languageCode = regexp.MustCompile(`^[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$`)

// translateRequest is the request of POST /v1/translate, as far as a larger model can heed it.
type translateRequest struct {
	Text      *string         `json:"text"`
	Texts     []string        `json:"texts"`
	Document  string          `json:"document"`
	Source    string          `json:"source"`
	Target    string          `json:"target"`
	Format    string          `json:"format"`
	Glossary  json.RawMessage `json:"glossary"` // id of a stored one, list of terms, or object
	Context   json.RawMessage `json:"context"`  // text, or list of sentences
	Formality string          `json:"formality"`
	Stream    bool            `json:"stream"`
	Engine    string          `json:"engine"`
	Memory    json.RawMessage `json:"memory"`
}

// glossaryTerm is how a word must be translated.
type glossaryTerm struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// translate is a translation, in whichever contract it was asked for.
type translate struct {
	texts          []string
	source, target string    // tidied codes; source "" is to be identified
	asked          [2]string // the codes as the caller wrote them
	format         string    // of formats
	formality      string    // "", more, less
	context        string
	terms          []glossaryTerm
	ignored        []string // options without effect, for the answer

	docs  []*document
	parts []string // of all documents

	render func(t *translate, all []translation) any // makes the contract's answer
	model  string
	units  int64 // measured by the gateway
}

func readTranslate(c *Call) (operation, error) {
	var r translateRequest
	if err := c.body(&r); err != nil {
		return nil, err
	}
	t := &translate{texts: r.Texts, format: strings.ToLower(r.Format), render: (*translate).own}
	switch {
	case c.multipart() || r.Document != "" || t.format == "docx":
		return nil, problem.New(problem.Unprocessable, "llm.task_format", "files cannot be sent to the model behind this product; send their text, or choose another model")
	case r.Stream:
		return nil, notHere("stream", "is not possible with the model behind this product; leave it out")
	case r.Engine != "":
		return nil, notHere("engine", "is not one that the model behind this product has; leave it out")
	case (r.Text != nil) == (r.Texts != nil):
		return nil, invalid("text", "give either text or texts")
	case r.Text != nil:
		t.texts = []string{*r.Text}
	}
	switch r.Formality {
	case "", "default":
	case "more", "prefer_more", "formal":
		t.formality = "more"
	case "less", "prefer_less", "informal":
		t.formality = "less"
	default:
		return nil, invalid("formality", "must be default, more or less")
	}
	if len(r.Memory) > 0 && string(r.Memory) != "null" {
		t.ignored = append(t.ignored, "memory")
	}
	if err := t.readContext(r.Context); err != nil {
		return nil, err
	}
	if err := t.readGlossary(r.Glossary); err != nil {
		return nil, err
	}
	return t, t.begin(c, "source", r.Source, "target", r.Target)
}

// begin checks languages, format and sizes and takes the texts apart.
func (t *translate) begin(c *Call, sourceField, source, targetField, target string) error {
	t.model, t.units, t.asked = c.Model, c.Units, [2]string{source, target}
	var ok bool
	if t.source, ok = tidy(source); !ok {
		return invalid(sourceField, "must be a language code such as en, or auto")
	}
	if t.target, ok = tidy(target); !ok || t.target == "" {
		return invalid(targetField, "must be a language code such as fr or zh")
	}
	switch t.format {
	case "", "plain", "txt":
		t.format = "text"
	case "text", "html", "markdown", "json", "srt", "vtt":
	default:
		return invalid("format", "must be text, html, markdown, json, srt or vtt")
	}
	if len(t.texts) == 0 {
		return invalid("text", "is missing")
	}
	for _, text := range t.texts {
		d, err := cut(t.format, text)
		if err != nil {
			return err
		}
		t.docs = append(t.docs, d)
		t.parts = append(t.parts, d.parts...)
	}
	if len(t.parts) == 0 {
		return invalid("text", "has nothing to translate")
	}
	if len(t.parts) > maxParts || runes(t.texts...) > maxRunes {
		return tooLong(maxRunes)
	}
	return nil
}

// tidy writes a language tag the usual way: zh, zh-Hant, pt-BR. "" and "auto" give "".
func tidy(tag string) (string, bool) {
	tag = strings.TrimSpace(tag)
	if l := strings.ToLower(tag); l == "" || l == "auto" || l == "detect" {
		return "", true
	}
	if !languageCode.MatchString(tag) {
		return "", false
	}
	parts := strings.FieldsFunc(tag, func(r rune) bool { return r == '-' || r == '_' })
	parts[0] = strings.ToLower(parts[0])
	for i, p := range parts[1:] {
		switch len(p) {
		case 2:
			p = strings.ToUpper(p)
		case 4:
			p = strings.ToUpper(p[:1]) + strings.ToLower(p[1:])
		}
		parts[i+1] = p
	}
	if parts[0] == "zh" && len(parts) > 1 {
		switch parts[1] {
		case "Hant", "TW", "HK", "MO":
			return "zh-Hant", true
		case "Hans", "CN", "SG":
			return "zh", true
		}
	}
	return strings.Join(parts, "-"), true
}

func (t *translate) readContext(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &t.context) != nil {
		if json.Unmarshal(raw, &list) != nil {
			return invalid("context", "must be a text, or a list of sentences")
		}
		t.context = strings.Join(list, "\n")
	}
	if len(t.context) > maxContext {
		return invalid("context", "must be at most "+strconv.Itoa(maxContext)+" bytes")
	}
	return nil
}

func (t *translate) readGlossary(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` {
		return nil
	}
	var pairs map[string]string
	switch {
	case raw[0] == '"':
		return storedGlossary()
	case json.Unmarshal(raw, &pairs) == nil:
		for _, s := range slices.Sorted(maps.Keys(pairs)) {
			t.terms = append(t.terms, glossaryTerm{s, pairs[s]})
		}
	case json.Unmarshal(raw, &t.terms) != nil:
		return invalid("glossary", "must be a list of terms with source and target, or an object of terms")
	}
	if len(t.terms) > maxTerms {
		return invalid("glossary", "must have at most "+strconv.Itoa(maxTerms)+" terms")
	}
	for _, g := range t.terms {
		if strings.TrimSpace(g.Source) == "" || runes(g.Source, g.Target) > maxTerm {
			return invalid("glossary", "has a term that is empty or too long")
		}
	}
	return nil
}

// storedGlossary is the refusal of a glossary that the engine of this platform keeps.
func storedGlossary() error {
	return problem.New(problem.Unprocessable, "llm.task_glossary", "a stored glossary cannot be sent to the model behind this product; send its terms in the request")
}

// formatRules say what stays as it is in a text of a format.
var formatRules = map[string]string{
	"html":     "The texts are HTML. Keep every tag with its attributes, and every entity, exactly as it is and around the same words; translate only what a reader sees.",
	"markdown": "The texts are Markdown. Keep all markup, code and link addresses exactly as they are; translate only what a reader sees.",
	"json":     "The texts are values of one JSON document, such as the labels of an application: keep each as short as it is.",
	"srt":      "The texts are subtitles that follow each other. Keep line breaks and tags; a translation must not be much longer than its source.",
	"vtt":      "The texts are subtitles that follow each other. Keep line breaks and tags; a translation must not be much longer than its source.",
}

// stands reports whether a character stands for something else, as in the texts of an engine that has taken a document
// apart. Whether it has come back is for that engine to see, which can do without.
func stands(r rune) bool { return r >= 0xE000 && r <= 0xF8FF || r >= 0xF0000 }

func (t *translate) ask(p *prompt) {
	from := "Find out in which language each text is"
	if t.source != "" {
		from = "The texts are in the language " + t.source
	}
	p.say("You are a professional translator. " + from + ", and translate each into the language " + t.target + " (BCP 47 codes). " +
		"Translate everything, add nothing and explain nothing. Keep numbers, addresses, code, line breaks and placeholders such as {name} or %s as they are. " +
		"A text that is in the language " + t.target + " already stays as it is.")
	if rule := formatRules[t.format]; rule != "" {
		p.say(rule)
	}
	if slices.ContainsFunc(t.parts, func(s string) bool { return strings.ContainsFunc(s, stands) }) {
		p.say("Characters of Unicode's private use area stand for markup and for terms that are translated already. Keep each of them once, where it belongs in the translation.")
	}
	switch t.formality {
	case "more":
		p.say("Address the reader formally.")
	case "less":
		p.say("Address the reader informally.")
	}
	if t.context != "" {
		p.say("The input named context tells what the texts are about. Use it to choose the right words; do not translate it.")
		p.data("context", t.context)
	}
	if len(t.terms) > 0 {
		p.say("The input named glossary says how terms must be translated, inflected as the sentence needs.")
		p.data("glossary", string(marshal(t.terms)))
	}
	p.texts(t.parts)
	p.say(count(len(t.parts), "translation"))
	p.shape = `{"translations":[{"n":1,"text":"translation of text 1"}]}`
	if t.source == "" {
		p.shape = `{"translations":[{"n":1,"source":"code of the language of text 1","text":"translation of text 1"}]}`
	}
	p.items, p.size = len(t.parts), runes(t.parts...)
	p.least = p.size
}

func (t *translate) hear(text string) (any, error) {
	var out any
	err := findJSON(text, func(value []byte) error {
		list, err := translations(value)
		if err == nil {
			out, err = t.answer(list)
		}
		return err
	})
	return out, err
}

// rendered is a translation as a model gives it.
type rendered struct {
	Text        *string `json:"text"`
	Translation *string `json:"translation"` // instead of text
	Source      string  `json:"source"`
}

// UnmarshalJSON reads an object, or the text alone.
func (r *rendered) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		r.Text = &s
		return nil
	}
	type plain rendered
	if err := json.Unmarshal(raw, (*plain)(r)); err != nil {
		return err
	}
	if r.Text == nil {
		r.Text = r.Translation
	}
	if r.Text == nil {
		return errors.New("a translation without text")
	}
	return nil
}

// translations reads {"translations": [{"n", "text"} or text]}, and the forms that models make of it, in their order.
func translations(value []byte) ([]rendered, error) {
	var a struct {
		Translations []json.RawMessage `json:"translations"`
		Source       string            `json:"source"`
	}
	switch {
	case value[0] == '[':
		if err := json.Unmarshal(value, &a.Translations); err != nil {
			return nil, err
		}
	default:
		if err := json.Unmarshal(value, &a); err != nil {
			return nil, err
		}
		if a.Translations == nil {
			a.Translations = []json.RawMessage{value}
		}
	}
	sorted, err := inOrder(a.Translations)
	if err != nil {
		return nil, err
	}
	list := make([]rendered, len(sorted))
	for i, raw := range sorted {
		if err := json.Unmarshal(raw, &list[i]); err != nil {
			return nil, err
		}
		if list[i].Source == "" {
			list[i].Source = a.Source
		}
	}
	return list, nil
}

// answer checks the translations of the parts and puts the documents together. The language of a document is that of
// its first part.
func (t *translate) answer(list []rendered) (any, error) {
	if len(list) != len(t.parts) {
		return nil, fmt.Errorf("%d translations of %d texts", len(list), len(t.parts))
	}
	texts := make([]string, len(list))
	for i, part := range t.parts {
		if err := t.fits(part, *list[i].Text); err != nil {
			return nil, err
		}
		if texts[i] = part; hasLetters(part) {
			texts[i] = inPlace(part, *list[i].Text)
		}
	}
	whole, sources := make([]string, len(t.docs)), make([]string, len(t.docs))
	for i, d := range t.docs {
		n := len(d.parts)
		if n > 0 {
			sources[i] = list[0].Source
		}
		whole[i] = d.join(texts[:n])
		texts, list = texts[n:], list[n:]
	}
	return t.result(whole, sources), nil
}

// fits reports what is wrong with a translation of a part.
func (t *translate) fits(part, translation string) error {
	switch {
	case hasLetters(part) && strings.TrimSpace(translation) == "":
		return errors.New("an empty translation")
	case runes(translation) > 1000+20*runes(part):
		return errors.New("a translation far longer than its source")
	case !slices.Equal(marks(t.format, part), marks(t.format, translation)):
		return fmt.Errorf("a translation has lost or invented markup of %s", t.format)
	}
	return nil
}

func (t *translate) infer() ([]tensor, map[string]any) {
	params := map[string]any{"target": t.target, "format": t.format}
	if t.source != "" {
		params["source"] = t.source
	}
	if t.formality != "" {
		params["formality"] = t.formality
	}
	if t.context != "" {
		params["context"] = t.context
	}
	if len(t.terms) > 0 {
		params["glossary"] = string(marshal(t.terms))
	}
	return column("text", t.parts), params
}

func (t *translate) inferred(o *outputs) (any, error) {
	list, err := o.texts(len(t.parts), "translation")
	if err != nil {
		return nil, err
	}
	all := make([]rendered, len(list))
	for i := range list {
		all[i].Text = &list[i]
	}
	if _, ok := o.named("source"); ok {
		codes, err := o.texts(len(list), "source")
		if err != nil {
			return nil, err
		}
		for i := range codes {
			all[i].Source = codes[i]
		}
	}
	return t.answer(all)
}

// askFlask makes the request of the small translation app: one text, two languages. Several texts without line ends go
// as lines of one: what comes back must have as many.
func askFlask(op operation) ([]byte, error) {
	t := op.(*translate) // Supports lets nothing else pass
	lines := len(t.parts) > 1 && slices.ContainsFunc(t.parts, func(s string) bool { return strings.ContainsAny(s, "\r\n") || strings.TrimSpace(s) == "" })
	if lines || len(t.terms) > 0 {
		return nil, problem.New(problem.Unprocessable, "llm.task_flask",
			"the model behind this product translates one text in a call, or several of one line each, and knows no glossary; send texts one by one, or choose another model")
	}
	source := t.asked[0]
	if t.source == "" {
		source = "auto"
	}
	return marshal(map[string]string{"text": strings.Join(t.parts, "\n"), "sourceLanguage": source, "targetLanguage": t.asked[1]}), nil
}

func hearFlask(op operation, answer []byte) (any, error) {
	var a struct {
		Translation *string `json:"translation"`
		Error       string  `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Translation == nil {
		return nil, unusable("no translation: " + a.Error)
	}
	t := op.(*translate)
	for name, given := range map[string]bool{"context": t.context != "", "formality": t.formality != ""} {
		if given {
			t.ignored = append(t.ignored, name)
		}
	}
	if len(t.parts) == 1 {
		return t.answer([]rendered{{Text: a.Translation}})
	}
	var all []rendered
	for line := range strings.SplitSeq(strings.TrimRight(*a.Translation, "\r\n"), "\n") {
		all = append(all, rendered{Text: &line})
	}
	return t.answer(all)
}
