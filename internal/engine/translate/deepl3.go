package translate

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// deepLDict is a dictionary of DeepL's v3 glossaries.
type deepLDict struct {
	Source  string `json:"source_lang"`
	Target  string `json:"target_lang"`
	Count   int64  `json:"entry_count"`
	Entries string `json:"entries,omitempty"`
	Format  string `json:"entries_format,omitempty"`
}

// deepLGlossary3 is a glossary of several pairs, DeepL's v3.
type deepLGlossary3 struct {
	ID           string      `json:"glossary_id"`
	Name         string      `json:"name"`
	Created      time.Time   `json:"creation_time"`
	Dictionaries []deepLDict `json:"dictionaries"`
}

func glossary3(g *Glossary) deepLGlossary3 {
	out := deepLGlossary3{g.ID, g.Name, g.Created, []deepLDict{}}
	for _, d := range g.Dictionaries {
		out.Dictionaries = append(out.Dictionaries, deepLDict{Source: strings.ToLower(d.Source), Target: strings.ToLower(d.Target), Count: d.Count})
	}
	return out
}

// readDeepL3 reads name and dictionaries, of a form (dictionaries[0].source_lang …) or of JSON.
func readDeepL3(r *engine.Request) (*glossaryBody, error) {
	b := &glossaryBody{}
	if !isForm(r.Type) && !engine.IsMultipart(r.Type) {
		var j struct {
			Name         string      `json:"name"`
			Dictionaries []deepLDict `json:"dictionaries"`
		}
		if err := engine.Decode(r.Body, &j); err != nil {
			return nil, err
		}
		b.Name = j.Name
		for _, d := range j.Dictionaries {
			terms, err := readTerms(d.Entries, d.Format)
			if err != nil {
				return nil, err
			}
			b.Dictionaries = append(b.Dictionaries, Dictionary{Source: d.Source, Target: d.Target, Terms: terms})
		}
		return b, b.check()
	}
	v, err := deepLFields(r)
	if err != nil {
		return nil, err
	}
	b.Name = v.Get("name")
	for i := 0; i < 50; i++ {
		prefix := "dictionaries[" + strconv.Itoa(i) + "]."
		if !v.Has(prefix + "source_lang") {
			break
		}
		d, err := deepLDictionary(v, prefix)
		if err != nil {
			return nil, err
		}
		b.Dictionaries = append(b.Dictionaries, d)
	}
	return b, b.check()
}

func (e *Engine) listDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	all, err := e.store.glossaries(ctx, r.Owner)
	if err != nil {
		return err
	}
	list := []deepLGlossary3{}
	for i := range all {
		list = append(list, glossary3(&all[i]))
	}
	return engine.WriteJSON(w, 200, map[string]any{"glossaries": list})
}

func (e *Engine) createDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readDeepL3(r)
	if err != nil {
		return err
	}
	if b.Name == "" || len(b.Dictionaries) == 0 {
		return engine.Invalid("dictionaries", "a glossary needs a name and dictionaries")
	}
	g, err := e.store.createGlossary(ctx, r.Owner, b.Name, b.Dictionaries)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 201, glossary3(g))
}

func (e *Engine) getDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	g, err := e.store.glossary(ctx, r.Owner, r.Params["glossary"])
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, glossary3(g))
}

// updateDeepL3 renames a glossary and adds the entries to its dictionaries.
func (e *Engine) updateDeepL3(ctx context.Context, r *engine.Request, w engine.Writer) error {
	b, err := readDeepL3(r)
	if err != nil {
		return err
	}
	g, err := e.store.changeGlossary(ctx, r.Owner, r.Params["glossary"], b.Name, b.Dictionaries, true)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, glossary3(g))
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
	d, err := deepLDictionary(v, "")
	if err != nil {
		return err
	}
	if _, err = e.store.changeGlossary(ctx, r.Owner, r.Params["glossary"], "", []Dictionary{d}, false); err != nil {
		return err
	}
	terms, err := e.store.terms(ctx, r.Owner, r.Params["glossary"], d.Source, d.Target)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, deepLDict{Source: strings.ToLower(d.Source), Target: strings.ToLower(d.Target), Count: int64(len(terms))})
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

// decodeKey reads document_key of a form or of JSON.
func decodeKey(r *engine.Request) (string, error) {
	if isForm(r.Type) || engine.IsMultipart(r.Type) {
		v, err := deepLFields(r)
		if err != nil {
			return "", err
		}
		return v.Get("document_key"), nil
	}
	var b struct {
		Key string `json:"document_key"`
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return "", engine.Invalid("document_key", "is missing")
	}
	return b.Key, nil
}
