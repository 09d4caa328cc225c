package translate

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// DeepL's contract, as its official clients speak it: https://developers.deepl.com/api-reference. Bodies are forms or
// JSON.

// deepLFields reads the fields of a body, each with all its values.
func deepLFields(r *engine.Request) (url.Values, error) {
	switch {
	case engine.IsMultipart(r.Type):
		f, err := engine.ParseForm(r.Type, r.Body)
		if err != nil {
			return nil, err
		}
		return url.Values(f.Values), nil
	case isForm(r.Type):
		v, err := url.ParseQuery(string(r.Body))
		if err != nil {
			return nil, engine.Invalid("body", "is not a valid form")
		}
		return v, nil
	}
	var raw map[string]json.RawMessage
	if err := engine.Decode(r.Body, &raw); err != nil {
		return nil, err
	}
	v := url.Values{}
	for name, value := range raw {
		var list []rawString
		if len(value) > 0 && value[0] == '[' && json.Unmarshal(value, &list) == nil {
			for _, s := range list {
				v.Add(name, string(s))
			}
			continue
		}
		var s rawString
		if string(value) != "null" && json.Unmarshal(value, &s) == nil {
			v.Set(name, string(s))
		}
	}
	return v, nil
}

// deepLJob reads what text and document translation have in common.
func deepLJob(owner string, v url.Values) (*job, error) {
	j := &job{owner: owner, format: formatText, memory: true}
	if err := j.languages("source_lang", v.Get("source_lang"), "target_lang", v.Get("target_lang")); err != nil {
		return nil, problem.New(problem.Invalid, "translate.deepl_language", "Value for 'target_lang' or 'source_lang' not supported.").Because(err)
	}
	switch f := v.Get("formality"); f {
	case "", "default":
	case "more", "prefer_more":
		j.hints.formality = "more"
	case "less", "prefer_less":
		j.hints.formality = "less"
	default:
		return nil, engine.Invalid("formality", "must be default, more, less, prefer_more or prefer_less")
	}
	j.hints.context = v.Get("context")
	if len(j.hints.context) > maxContext {
		j.hints.context = strings.ToValidUTF8(j.hints.context[:maxContext], "")
	}
	for id := range strings.SplitSeq(v.Get("glossary_id")+","+strings.Join(v["glossary_ids"], ","), ",") {
		if id = strings.TrimSpace(id); id != "" && !slices.Contains(j.glossary, id) {
			j.glossary = append(j.glossary, id)
		}
	}
	if len(j.glossary) > 0 && j.source == auto {
		return nil, engine.Invalid("source_lang", "is required with a glossary")
	}
	if t := v.Get("translation_memory_threshold"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 0 || n > 100 {
			return nil, engine.Invalid("translation_memory_threshold", "must be from 0 to 100")
		}
		j.fuzzy = max(0.5, float64(n)/100)
	}
	return j, nil
}

func readDeepL(r *engine.Request) (*job, error) {
	v, err := deepLFields(r)
	if err != nil {
		return nil, err
	}
	j, err := deepLJob(r.Owner, v)
	if err != nil {
		return nil, err
	}
	if len(v["text"]) == 0 {
		return nil, problem.New(problem.Invalid, "translate.deepl_text", "Parameter 'text' not specified.").WithField("text", "is missing")
	}
	switch v.Get("tag_handling") {
	case "":
	case "html":
		j.format = formatHTML
	case "xml":
		if len(v["text"]) > maxTexts {
			return nil, j.addTexts(v["text"])
		}
		ignore := strings.FieldsFunc(strings.Join(v["ignore_tags"], ","), func(r rune) bool { return r == ',' || r == ' ' })
		for _, t := range v["text"] {
			if len(t) > documentBytes(formatHTML) { // the body has the same bound
				return nil, engine.Invalid("text", "is too long")
			}
			j.docs = append(j.docs, takeXML(t, ignore))
		}
		return j, j.check()
	default:
		return nil, engine.Invalid("tag_handling", "must be xml or html")
	}
	return j, j.addTexts(v["text"])
}

// deepLTranslation is a translation in DeepL's answer; engine and quality are ours.
type deepLTranslation struct {
	Detected string   `json:"detected_source_language"`
	Text     string   `json:"text"`
	Billed   int      `json:"billed_characters"`
	Model    string   `json:"model_type_used,omitempty"`
	Engine   string   `json:"engine"`
	Quality  string   `json:"quality"`
	Ignored  []string `json:"ignored,omitempty"`
}

func (e *Engine) serveDeepL(ctx context.Context, r *engine.Request, w engine.Writer) error {
	j, err := readDeepL(r)
	if err != nil {
		return err
	}
	all, err := e.runForeign(ctx, j, w)
	if err != nil {
		return err
	}
	out := make([]deepLTranslation, len(all))
	for i, t := range all {
		out[i] = deepLTranslation{deepLCode(t.Source), t.Text, j.docs[i].characters(), t.Model, t.Engine, t.Quality, t.Ignored}
	}
	return engine.WriteJSON(w, 200, map[string]any{"translations": out})
}

// deepLCode writes a source language as DeepL does: without region, in capitals.
func deepLCode(l string) string {
	base, _, _ := strings.Cut(l, "-")
	return strings.ToUpper(base)
}

type deepLLanguage struct {
	Language  string `json:"language"`
	Name      string `json:"name"`
	Formality *bool  `json:"supports_formality,omitempty"`
}

// serveDeepLLanguages lists source languages or, with type=target, target languages. English and Portuguese are listed as
// targets with regions, since DeepL's clients ask for them so.
func (e *Engine) serveDeepLLanguages(_ context.Context, r *engine.Request, w engine.Writer) error {
	target := false
	switch r.Query.Get("type") {
	case "", "source":
	case "target":
		target = true
	default:
		return engine.Invalid("type", "must be source or target")
	}
	found := map[string]bool{} // language → honours formality
	for _, rt := range e.routes.reachable() {
		if target {
			p := rt[len(rt)-1]
			found[p.to] = found[p.to] || p.m.honours(p, "formality")
		} else if base, _, _ := strings.Cut(rt[0].from, "-"); base != "" {
			found[base] = false
		}
	}
	list := []deepLLanguage{}
	add := func(code, name string, formal bool) {
		l := deepLLanguage{Language: code, Name: name}
		if target {
			l.Formality = &formal
		}
		list = append(list, l)
	}
	for l, formal := range found {
		switch {
		case target && l == "en":
			add("EN-GB", "English (British)", formal)
			add("EN-US", "English (American)", formal)
		case target && l == "en-US":
		case target && l == "pt":
			add("PT-PT", "Portuguese (European)", formal)
		case target && l == "zh":
			add("ZH", "Chinese (simplified)", formal)
			add("ZH-HANS", "Chinese (simplified)", formal)
		default:
			add(strings.ToUpper(l), languageName(l), formal)
		}
	}
	slices.SortFunc(list, func(a, b deepLLanguage) int { return strings.Compare(a.Language, b.Language) })
	return engine.WriteJSON(w, 200, list)
}

func (e *Engine) serveDeepLUsage(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if e.o.Usage == nil {
		return problem.New(problem.NotFound, "translate.no_usage", "usage is not told here; see it in the portal")
	}
	n, limit, err := e.o.Usage(ctx, r.Owner)
	if err != nil {
		return err
	}
	return engine.WriteJSON(w, 200, map[string]int64{"character_count": n, "character_limit": limit})
}
