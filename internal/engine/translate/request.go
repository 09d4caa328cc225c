package translate

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxTexts bounds a batch.
const maxTexts = 256

// body is the JSON of POST /v1/translate; a form has the same fields.
type body struct {
	Text      *string         `json:"text"`
	Texts     []string        `json:"texts"`
	Document  string          `json:"document"` // base64, of a DOCX file
	Source    string          `json:"source"`
	Target    string          `json:"target"`
	Format    string          `json:"format"`
	Glossary  json.RawMessage `json:"glossary"` // id, list of terms, or object
	Context   json.RawMessage `json:"context"`  // text, or list of sentences
	Formality string          `json:"formality"`
	Stream    bool            `json:"stream"`
	Engine    string          `json:"engine"`
	Memory    *struct {
		Use   *bool   `json:"use"`
		Fuzzy float64 `json:"fuzzy"`
	} `json:"memory"`
}

// readTranslate reads POST /v1/translate. It depends on the request alone.
func readTranslate(r *engine.Request) (*job, error) {
	if engine.IsMultipart(r.Type) {
		return readFile(r)
	}
	var b body
	if err := engine.Decode(r.Body, &b); err != nil {
		return nil, err
	}
	j, err := b.job(r.Owner)
	if err != nil {
		return nil, err
	}
	var texts []string
	switch {
	case b.Document != "" && (b.Text != nil || b.Texts != nil), b.Text != nil && b.Texts != nil:
		return nil, engine.Invalid("text", "give text, texts or document, and only one of them")
	case b.Document != "" || j.format == formatDOCX:
		if j.format != formatDOCX {
			return nil, engine.Invalid("format", `must be "docx" with a document`)
		}
		data, err := base64.StdEncoding.DecodeString(b.Document)
		if err != nil || len(data) == 0 {
			return nil, engine.Invalid("document", "must be the DOCX file in base64")
		}
		return j, j.add(data)
	case b.Text != nil:
		texts = []string{*b.Text}
	case len(b.Texts) > 0:
		texts = b.Texts
	default:
		return nil, engine.Invalid("text", "is missing: the text to translate, or texts for several")
	}
	if err := notBlank(texts...); err != nil {
		return nil, err
	}
	return j, j.addTexts(texts)
}

func (j *job) addTexts(texts []string) error {
	if len(texts) > maxTexts {
		return problem.New(problem.TooLarge, "translate.too_many_texts", "at most %d texts are translated in one call", maxTexts)
	}
	for _, t := range texts {
		if err := j.add([]byte(t)); err != nil {
			return err
		}
	}
	return j.check()
}

// documentBytes bounds a document: what is text alone needs no more than its characters do.
func documentBytes(format string) int {
	switch format {
	case formatText:
		return 4 * maxCharacters
	case formatDOCX:
		return fileBody
	}
	return textBody
}

// add takes one document apart.
func (j *job) add(data []byte) error {
	if limit := documentBytes(j.format); len(data) > limit {
		return problem.New(problem.TooLarge, "translate.too_big", "the text has %d bytes; at most %d are translated in one call, so split it", len(data), limit)
	}
	d, err := takeApart(j.format, data)
	if err != nil {
		return err
	}
	j.docs = append(j.docs, d)
	return j.check()
}

// job reads all but the texts.
func (b *body) job(owner string) (*job, error) {
	j := &job{owner: owner, format: strings.ToLower(b.Format), engine: b.Engine, stream: b.Stream, memory: true}
	if j.format == "" {
		j.format = formatText
	}
	if j.format == "plain" || j.format == "txt" {
		j.format = formatText
	}
	if mediaTypes[j.format] == "" {
		return nil, engine.Invalid("format", "must be text, html, markdown, json, srt, vtt or docx")
	}
	if err := j.languages("source", b.Source, "target", b.Target); err != nil {
		return nil, err
	}
	switch b.Formality {
	case "", "default":
	case "more", "prefer_more", "formal":
		j.hints.formality = "more"
	case "less", "prefer_less", "informal":
		j.hints.formality = "less"
	default:
		return nil, engine.Invalid("formality", "must be default, more or less")
	}
	if b.Memory != nil {
		j.memory = b.Memory.Use == nil || *b.Memory.Use
		if j.fuzzy = b.Memory.Fuzzy; j.fuzzy != 0 && (j.fuzzy < 0.5 || j.fuzzy > 1) {
			return nil, engine.Invalid("memory.fuzzy", "must be from 0.5 to 1")
		}
	}
	if err := j.readContext(b.Context); err != nil {
		return nil, err
	}
	return j, j.readGlossary(b.Glossary)
}

// languages reads source and target; the names are the fields' as the contract calls them.
func (j *job) languages(sourceField, source, targetField, target string) error {
	var ok bool
	j.fields = [2]string{sourceField, targetField}
	if j.source, ok = normal(source); !ok {
		return engine.Invalid(sourceField, `must be a language code such as "en", "zh" or "pt-BR", or be left out to have it identified`)
	}
	if j.target, ok = normal(target); !ok || j.target == auto {
		return engine.Invalid(targetField, `must be the language to translate into, such as "en", "zh" or "pt-BR"`)
	}
	return nil
}

// concrete is a language that is not auto.
func concrete(field, tag string) (string, error) {
	l, ok := normal(tag)
	if !ok || l == auto {
		return "", engine.Invalid(field, `must be a language code such as "en" or "zh"`)
	}
	return l, nil
}

// maxContext bounds what is read of the context, in bytes.
const maxContext = 16 << 10

func (j *job) readContext(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var text string
	var list []string
	if json.Unmarshal(raw, &text) != nil {
		if json.Unmarshal(raw, &list) != nil {
			return engine.Invalid("context", "must be a text, or a list of sentences")
		}
		text = strings.Join(list, "\n")
	}
	if len(text) > maxContext {
		return engine.Invalid("context", "must be at most "+strconv.Itoa(maxContext)+" bytes")
	}
	j.hints.context = text
	return nil
}

// readGlossary reads the id of a stored glossary, a list of terms, or an object of source and target terms.
func (j *job) readGlossary(raw json.RawMessage) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var byName map[string]string
	switch raw[0] {
	case '"':
		j.glossary = make([]string, 1)
		return json.Unmarshal(raw, &j.glossary[0])
	case '[':
		if json.Unmarshal(raw, &j.terms) != nil {
			return engine.Invalid("glossary", `must be an id, a list of {"source", "target"}, or an object of terms`)
		}
	default:
		if json.Unmarshal(raw, &byName) != nil {
			return engine.Invalid("glossary", `must be an id, a list of {"source", "target"}, or an object of terms`)
		}
		for s, t := range byName {
			j.terms = append(j.terms, Term{s, t})
		}
	}
	return checkTerms(j.terms)
}

func checkTerms(terms []Term) error {
	d := Dictionary{Source: "en", Target: "zh", Terms: terms}
	return checkDictionary(&d)
}

// readFile reads a multipart form with a file: the answer is the translated file.
func readFile(r *engine.Request) (*job, error) {
	f, err := engine.ParseForm(r.Type, r.Body)
	if err != nil {
		return nil, err
	}
	files := f.Files["file"]
	if len(files) != 1 {
		return nil, engine.Invalid("file", "send one file")
	}
	b := body{Source: f.Value("source"), Target: f.Value("target"), Format: f.Value("format"), Formality: f.Value("formality"), Engine: f.Value("engine")}
	if b.Format == "" {
		b.Format = formatOf(files[0].Name)
	}
	if g := f.Value("glossary"); g != "" {
		if b.Glossary = json.RawMessage(g); g[0] != '[' && g[0] != '{' {
			b.Glossary = quoted(g)
		}
	}
	if c := f.Value("context"); c != "" {
		b.Context = quoted(c)
	}
	j, err := b.job(r.Owner)
	if err != nil {
		return nil, err
	}
	if err := notBlank(string(files[0].Data)); err != nil {
		return nil, err
	}
	j.file, j.name = true, files[0].Name
	return j, j.addFile(files[0].Name, files[0].Data)
}

// otherFiles are names of files that hold something else than text, or hold it in a way that is not read here.
const otherFiles = " .exe .dll .so .bin .class .jar .apk .zip .gz .7z .rar .tar .pdf .doc .xls .xlsx .ppt .pptx .odt .ods .odp .rtf .epub .png .jpg .jpeg .gif .webp .bmp .tif .tiff .mp3 .wav .ogg .mp4 .mov "

// addFile takes an uploaded document apart, if it is one.
func (j *job) addFile(name string, data []byte) error {
	if ext := strings.ToLower(path.Ext(name)); j.format == formatText && among(otherFiles, ext) || j.format != formatDOCX && bytes.ContainsFunc(data[:min(len(data), textBody)], control) {
		return problem.New(problem.Unprocessable, "translate.not_text", "the file is no text; send text, HTML, Markdown, JSON, SRT, VTT or DOCX")
	}
	return j.add(data)
}

// control reports whether no text has the character.
func control(r rune) bool { return r < ' ' && !strings.ContainsRune("\t\n\v\f\r\x1b", r) }

func quoted(s string) json.RawMessage {
	q, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return nil
	}
	return q
}

// formatOf tells a file's format by its name.
func formatOf(name string) string {
	switch ext := strings.ToLower(path.Ext(name)); ext {
	case ".html", ".htm", ".xhtml":
		return formatHTML
	case ".md", ".markdown":
		return formatMarkdown
	case ".json", ".srt", ".vtt", ".docx":
		return ext[1:]
	}
	return formatText
}

// measured makes a Measure of a reader of requests.
func measured(read func(*engine.Request) (*job, error)) func(*engine.Request) (engine.Quantity, error) {
	return func(r *engine.Request) (engine.Quantity, error) {
		j, err := read(r)
		if err != nil {
			return 0, err
		}
		return engine.Units(j.characters()), nil
	}
}
