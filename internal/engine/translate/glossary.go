package translate

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// glossaryBody is the JSON of a glossary to store: the terms of one pair of languages, or several dictionaries.
type glossaryBody struct {
	Name         string       `json:"name"`
	Source       string       `json:"source"`
	Target       string       `json:"target"`
	Terms        []Term       `json:"terms"`
	TSV          string       `json:"tsv"` // terms as lines of source TAB target
	Dictionaries []Dictionary `json:"dictionaries"`
	Model        string       `json:"model"` // the product, which the gateway has read
}

func readGlossaryBody(raw []byte) (*glossaryBody, error) {
	var b glossaryBody
	if err := engine.DecodeStrict(raw, &b); err != nil {
		return nil, err
	}
	if b.Source != "" || b.Target != "" || b.Terms != nil || b.TSV != "" {
		terms := b.Terms
		if b.TSV != "" {
			more, err := readTerms(b.TSV, "tsv")
			if err != nil {
				return nil, err
			}
			terms = append(terms, more...)
		}
		b.Dictionaries = append(b.Dictionaries, Dictionary{Source: b.Source, Target: b.Target, Terms: terms})
	}
	return &b, b.check()
}

func (b *glossaryBody) check() error {
	if utf8.RuneCountInString(b.Name) > 200 || strings.ContainsRune(b.Name, 0) {
		return engine.Invalid("name", "must be at most 200 characters")
	}
	if len(b.Dictionaries) > 50 {
		return engine.Invalid("dictionaries", "must be at most 50")
	}
	for i := range b.Dictionaries {
		if err := checkDictionary(&b.Dictionaries[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) listGlossaries(ctx context.Context, r *engine.Request, w engine.Writer) error {
	all, err := e.store.glossaries(ctx, r.Owner)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]any{"glossaries": all})
}

func (e *Engine) createGlossary(ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readGlossaryBody(r.Body)
	if err != nil {
		return err
	}
	if strings.TrimSpace(b.Name) == "" {
		return engine.Invalid("name", "is missing")
	}
	if !slices.ContainsFunc(b.Dictionaries, func(d Dictionary) bool { return len(d.Terms) > 0 }) {
		return engine.Invalid("terms", "is missing: a list of source and target terms")
	}
	g, err := e.store.createGlossary(ctx, r.Owner, b.Name, b.Dictionaries)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 201, g)
}

func (e *Engine) getGlossary(ctx context.Context, r *engine.Request, w engine.Writer) error {
	g, err := e.store.glossary(ctx, r.Owner, r.Params["glossary"])
	if err != nil {
		return err
	}
	for i := range g.Dictionaries {
		d := &g.Dictionaries[i]
		if d.Terms, err = e.store.terms(ctx, r.Owner, g.ID, d.Source, d.Target); err != nil {
			return err
		}
	}
	return engine.WriteJSON(w, 200, g)
}

func (e *Engine) updateGlossary(ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readGlossaryBody(r.Body)
	if err != nil {
		return err
	}
	if b.Name == "" && len(b.Dictionaries) == 0 {
		return engine.Invalid("name", "is missing; give a name, or source, target and terms")
	}
	g, err := e.store.changeGlossary(ctx, r.Owner, r.Params["glossary"], b.Name, b.Dictionaries, false)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, g)
}

func (e *Engine) deleteGlossary(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if err := e.store.deleteGlossary(ctx, r.Owner, r.Params["glossary"]); err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]bool{"deleted": true})
}

// memoryBody is the JSON of units to store.
type memoryBody struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Units  []struct {
		SourceText string `json:"source_text"`
		TargetText string `json:"target_text"`
		Source     string `json:"source"`
		Target     string `json:"target"`
	} `json:"units"`
	Model string `json:"model"` // the product, which the gateway has read
}

// addMemory stores units of JSON, of a TMX file or of a TSV file (the format by content type, or by the file's name).
func (e *Engine) addMemory(ctx context.Context, r *engine.Request, w engine.Writer) error {
	units, err := readUnitsOf(r)
	if err != nil {
		return err
	}
	if units, err = checkUnits(units); err != nil {
		return err
	}
	if err := e.store.addUnits(ctx, r.Owner, units); err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]int{"units": len(units)})
}

func readUnitsOf(r *engine.Request) ([]Unit, error) {
	kind, data, source, target := strings.ToLower(r.Type), r.Body, r.Query.Get("source"), r.Query.Get("target")
	if engine.IsMultipart(r.Type) {
		f, err := engine.ParseForm(r.Type, r.Body)
		if err != nil {
			return nil, err
		}
		if len(f.Files["file"]) != 1 {
			return nil, engine.Invalid("file", "send one TMX or TSV file")
		}
		data = f.Files["file"][0].Data
		if source, target = f.Value("source"), f.Value("target"); strings.HasSuffix(strings.ToLower(f.Files["file"][0].Name), ".tmx") {
			kind = "tmx"
		} else {
			kind = "tab-separated"
		}
	}
	switch {
	case strings.Contains(kind, "tmx"), strings.Contains(kind, "xml"):
		return readTMX(data)
	case strings.Contains(kind, "tab-separated"), strings.Contains(kind, "tsv"):
		return readTSV(data, source, target)
	}
	var b memoryBody
	if err := engine.DecodeStrict(data, &b); err != nil {
		return nil, err
	}
	var units []Unit
	for i, u := range b.Units {
		for _, text := range [][2]string{{"source_text", u.SourceText}, {"target_text", u.TargetText}} {
			if text[1] == "" {
				return nil, engine.Invalid("units["+strconv.Itoa(i)+"]."+text[0], "is missing: the text; source and target are its languages")
			}
		}
		units = append(units, Unit{u.SourceText, u.TargetText, cmp.Or(u.Source, b.Source), cmp.Or(u.Target, b.Target)})
	}
	if len(units) == 0 {
		return nil, engine.Invalid("units", "is missing: a list of source_text and target_text")
	}
	return units, nil
}

func memoryQuery(r *engine.Request) (source, target string, err error) {
	for field, into := range map[string]*string{"source": &source, "target": &target} {
		if v := r.Query.Get(field); v != "" {
			if *into, err = concrete(field, v); err != nil {
				return "", "", err
			}
		}
	}
	return source, target, nil
}

// memoryPage is how many units GET /v1/translate/memory gives at once.
const memoryPage = 100

func (e *Engine) listMemory(ctx context.Context, r *engine.Request, w engine.Writer) error {
	source, target, err := memoryQuery(r)
	if err != nil {
		return err
	}
	units, next, err := e.store.units(ctx, r.Owner, source, target, r.Query.Get("after"), memoryPage)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, struct {
		Units   []Unit `json:"units"`
		HasMore bool   `json:"has_more"`
		After   string `json:"after,omitempty"`
	}{units, next != "", next})
}

// deleteMemory deletes one unit (text), those of a pair (source, target), or, with all=true, every unit.
func (e *Engine) deleteMemory(ctx context.Context, r *engine.Request, w engine.Writer) error {
	source, target, err := memoryQuery(r)
	if err != nil {
		return err
	}
	text := r.Query.Get("text")
	if source == "" && target == "" && text == "" && r.Query.Get("all") != "true" {
		return engine.Invalid("all", "say what to delete: text, source and target, or all=true")
	}
	n, err := e.store.deleteUnits(ctx, r.Owner, source, target, text)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]int64{"deleted": n})
}

// exportMemory writes the memory as TMX 1.4, or as TSV with format=tsv, a page of units at a time.
func (e *Engine) exportMemory(ctx context.Context, r *engine.Request, w engine.Writer) error {
	source, target, err := memoryQuery(r)
	if err != nil {
		return err
	}
	f := tmxWriter
	switch format := r.Query.Get("format"); format {
	case "", "tmx":
	case "tsv":
		f = tsvWriter
	default:
		return engine.Invalid("format", "must be tmx or tsv")
	}
	units, next, err := e.store.units(ctx, r.Owner, source, target, "", 1000)
	if err != nil {
		return err
	}
	w.SetHeader("Content-Disposition", `attachment; filename="memory.`+f.extension+`"`)
	w.Start(200, f.media)
	if err := w.Write([]byte(f.head)); err != nil {
		return err
	}
	for {
		var b strings.Builder
		for _, u := range units {
			f.unit(&b, u)
		}
		if err := w.Write([]byte(b.String())); err != nil {
			return err
		}
		if next == "" {
			return w.Write([]byte(f.tail))
		}
		if units, next, err = e.store.units(ctx, r.Owner, source, target, next, 1000); err != nil {
			return err
		}
	}
}

// rawString is a JSON value that may be a string, a number or a boolean, as text.
type rawString string

// UnmarshalJSON implements json.Unmarshaler.
func (s *rawString) UnmarshalJSON(b []byte) error {
	var t string
	if json.Unmarshal(b, &t) == nil {
		*s = rawString(t)
		return nil
	}
	*s = rawString(strings.Trim(string(b), `"`))
	return nil
}
