package translate

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// DeepL's glossaries: one pair of languages each in v2, several in v3. They are our own glossaries in other clothes.

// deepLPairs lists the pairs for which there can be glossaries: all.
func (e *Engine) deepLPairs(_ context.Context, _ *engine.Request, w engine.Writer) error {
	type pairCodes struct {
		Source string `json:"source_lang"`
		Target string `json:"target_lang"`
	}
	list := []pairCodes{}
	for _, r := range e.routes.reachable() {
		list = append(list, pairCodes{strings.ToLower(r[0].from), strings.ToLower(r[len(r)-1].to)})
	}
	return engine.WriteJSON(w, 200, map[string]any{"supported_languages": list})
}

// deepLDict is a dictionary of a glossary.
type deepLDict struct {
	Source  string `json:"source_lang"`
	Target  string `json:"target_lang"`
	Count   int64  `json:"entry_count"`
	Entries string `json:"entries,omitempty"`
	Format  string `json:"entries_format,omitempty"`
}

func newDeepLDict(d *Dictionary) deepLDict {
	return deepLDict{Source: strings.ToLower(d.Source), Target: strings.ToLower(d.Target), Count: d.Count}
}

func (d *deepLDict) read() (out Dictionary, err error) {
	out = Dictionary{Source: d.Source, Target: d.Target}
	for field, lang := range map[string]string{"source_lang": d.Source, "target_lang": d.Target} {
		if _, err := concrete(field, lang); err != nil {
			return out, err
		}
	}
	if out.Terms, err = readTerms(d.Entries, d.Format); err != nil {
		return out, err
	}
	return out, checkDictionary(&out)
}

// deepLGlossary is a glossary as a version of the contract shows it. false: it has none of this.
type deepLGlossary func(g *Glossary) (shown any, ok bool)

// glossary2 shows a glossary of one pair.
func glossary2(g *Glossary) (any, bool) {
	d := Dictionary{}
	if len(g.Dictionaries) > 0 {
		d = g.Dictionaries[0]
	}
	return struct {
		ID    string `json:"glossary_id"`
		Ready bool   `json:"ready"`
		Name  string `json:"name"`
		deepLDict
		Created time.Time `json:"creation_time"`
	}{g.ID, true, g.Name, newDeepLDict(&d), g.Created}, len(g.Dictionaries) == 1
}

// glossary3 shows a glossary of several pairs.
func glossary3(g *Glossary) (any, bool) {
	list := []deepLDict{}
	for i := range g.Dictionaries {
		list = append(list, newDeepLDict(&g.Dictionaries[i]))
	}
	return struct {
		ID           string      `json:"glossary_id"`
		Name         string      `json:"name"`
		Created      time.Time   `json:"creation_time"`
		Dictionaries []deepLDict `json:"dictionaries"`
	}{g.ID, g.Name, g.Created, list}, true
}

// readDeepLGlossary reads a name and the dictionaries: one among the fields (v2), or a list (v3), whose fields are named
// dictionaries[0].source_lang and so on in a form.
func readDeepLGlossary(r *engine.Request) (*glossaryBody, error) {
	var in struct {
		Name string `json:"name"`
		deepLDict
		Dictionaries []deepLDict `json:"dictionaries"`
	}
	if isForm(r.Type) || engine.IsMultipart(r.Type) {
		v, err := deepLFields(r)
		if err != nil {
			return nil, err
		}
		in.Name, in.deepLDict = v.Get("name"), dictFields(v, "")
		for i := 0; i < 51 && v.Has(listed(i)+"source_lang"); i++ {
			in.Dictionaries = append(in.Dictionaries, dictFields(v, listed(i)))
		}
	} else if err := engine.Decode(r.Body, &in); err != nil {
		return nil, err
	}
	if in.deepLDict != (deepLDict{}) {
		in.Dictionaries = append(in.Dictionaries, in.deepLDict)
	}
	b := &glossaryBody{Name: in.Name}
	for i := range in.Dictionaries {
		d, err := in.Dictionaries[i].read()
		if err != nil {
			return nil, err
		}
		b.Dictionaries = append(b.Dictionaries, d)
	}
	return b, b.check()
}

func listed(i int) string { return "dictionaries[" + strconv.Itoa(i) + "]." }

func dictFields(v url.Values, prefix string) deepLDict {
	return deepLDict{Source: v.Get(prefix + "source_lang"), Target: v.Get(prefix + "target_lang"), Entries: v.Get(prefix + "entries"), Format: v.Get(prefix + "entries_format")}
}

func (show deepLGlossary) list(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
	all, err := e.store.glossaries(ctx, r.Owner)
	if err != nil {
		return err
	}
	list := []any{}
	for i := range all {
		if g, ok := show(&all[i]); ok {
			list = append(list, g)
		}
	}
	return engine.WriteJSON(w, 200, map[string]any{"glossaries": list})
}

func (show deepLGlossary) create(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readDeepLGlossary(r)
	if err != nil {
		return err
	}
	if b.Name == "" || len(b.Dictionaries) == 0 {
		return engine.Invalid("name", "a glossary needs a name and entries")
	}
	for i := range b.Dictionaries {
		if len(b.Dictionaries[i].Terms) == 0 {
			return engine.Invalid("entries", "a glossary needs a name and entries")
		}
	}
	g, err := e.store.createGlossary(ctx, r.Owner, b.Name, b.Dictionaries)
	if err != nil {
		return err
	}
	return show.answer(w, 201, g)
}

func (show deepLGlossary) get(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
	g, err := e.store.glossary(ctx, r.Owner, r.Params["glossary"])
	if err != nil {
		return err
	}
	return show.answer(w, 200, g)
}

// update renames a glossary and adds the entries to its dictionaries.
func (show deepLGlossary) update(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readDeepLGlossary(r)
	if err != nil {
		return err
	}
	g, err := e.store.changeGlossary(ctx, r.Owner, r.Params["glossary"], b.Name, b.Dictionaries, true)
	if err != nil {
		return err
	}
	return show.answer(w, 200, g)
}

func (show deepLGlossary) answer(w engine.Writer, status int, g *Glossary) error {
	shown, _ := show(g)
	return engine.WriteJSON(w, status, shown)
}

func (e *Engine) entriesDeepL2(ctx context.Context, r *engine.Request, w engine.Writer) error {
	g, err := e.store.glossary(ctx, r.Owner, r.Params["glossary"])
	if err != nil {
		return err
	}
	var terms []Term
	if len(g.Dictionaries) > 0 {
		if terms, err = e.store.terms(ctx, r.Owner, g.ID, g.Dictionaries[0].Source, g.Dictionaries[0].Target); err != nil {
			return err
		}
	}
	w.Start(200, "text/tab-separated-values")
	return w.Write([]byte(writeTerms(terms)))
}

func (e *Engine) deleteDeepL(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if err := e.store.deleteGlossary(ctx, r.Owner, r.Params["glossary"]); err != nil {
		return err
	}
	w.Start(204, "")
	return nil
}

func pairOf(v url.Values) (source, target string, err error) {
	if source, err = concrete("source_lang", v.Get("source_lang")); err != nil {
		return "", "", err
	}
	target, err = concrete("target_lang", v.Get("target_lang"))
	return source, target, err
}

func (e *Engine) entriesDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	source, target, err := pairOf(r.Query)
	if err != nil {
		return err
	}
	terms, err := e.store.terms(ctx, r.Owner, r.Params["glossary"], source, target)
	if err != nil {
		return err
	}
	if len(terms) == 0 {
		return noGlossary(r.Params["glossary"])
	}
	return engine.WriteJSON(w, 200, map[string]any{"dictionaries": []deepLDict{{strings.ToLower(source), strings.ToLower(target), int64(len(terms)), writeTerms(terms), "tsv"}}})
}

func (e *Engine) replaceDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	v, err := deepLFields(r)
	if err != nil {
		return err
	}
	fields := dictFields(v, "")
	d, err := fields.read()
	if err != nil {
		return err
	}
	g, err := e.store.changeGlossary(ctx, r.Owner, r.Params["glossary"], "", []Dictionary{d}, false)
	if err != nil {
		return err
	}
	for _, stored := range g.Dictionaries {
		if stored.Source == d.Source && stored.Target == d.Target {
			d.Count = stored.Count
		}
	}
	return engine.WriteJSON(w, 200, newDeepLDict(&d))
}

func (e *Engine) removeDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	source, target, err := pairOf(r.Query)
	if err != nil {
		return err
	}
	if err := e.store.deleteDictionary(ctx, r.Owner, r.Params["glossary"], source, target); err != nil {
		return err
	}
	w.Start(204, "")
	return nil
}
