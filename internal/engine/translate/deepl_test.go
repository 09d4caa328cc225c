package translate

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

const formType = "application/x-www-form-urlencoded"

func TestDeepL(t *testing.T) {
	e := newEngine(t, func(o *Options) {
		o.Usage = func(context.Context, string) (int64, int64, error) { return 5, 1000, nil }
	})
	form := url.Values{"text": {"Hello", "Thank you"}, "target_lang": {"ZH-HANS"}, "source_lang": {"en"}, "show_billed_characters": {"1"}}
	a := answer(t, e, "POST", "/v2/translate", formType, []byte(form.Encode()))
	got := a["translations"].([]any)
	if m := got[0].(map[string]any); len(got) != 2 || m["text"] != "你好" || m["detected_source_language"] != "EN" || m["billed_characters"] != float64(5) {
		t.Errorf("%v", a)
	}
	a = answer(t, e, "POST", "/v2/translate", "application/json", []byte(`{"text":["你好"],"target_lang":"EN-GB"}`))
	if m := first(t, a); m["detected_source_language"] != "ZH" || !strings.HasPrefix(m["text"].(string), "Hello") {
		t.Errorf("%v", a)
	}
	a = answer(t, e, "POST", "/v2/translate", "application/json", []byte(`{"text":["<x>Hello</x> <k>Hello</k>"],"source_lang":"EN","target_lang":"ZH","tag_handling":"xml","ignore_tags":["k"]}`))
	if m := first(t, a); m["text"] != "<x>你好</x><k>Hello</k>" {
		t.Errorf("%v", a)
	}
	for name, c := range map[string]struct{ body, id string }{
		"no text":       {"target_lang=ZH", "translate.deepl_text"},
		"bad target":    {"text=a&target_lang=!!", "translate.deepl_language"},
		"no pair":       {"text=hello&source_lang=EN&target_lang=JA", "translate.no_pair"},
		"glossary auto": {"text=a&target_lang=ZH&glossary_id=x", "engine.invalid"},
		"tag handling":  {"text=a&target_lang=ZH&tag_handling=rtf", "engine.invalid"},
		"formality":     {"text=a&target_lang=ZH&formality=rude", "engine.invalid"},
		"bad form":      {"text=%zz", "engine.invalid"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, e, "POST", "/v2/translate", formType, []byte(c.body), c.id) })
	}
	if a := answer(t, e, "GET", "/v2/usage", "", nil); a["character_count"] != float64(5) || a["character_limit"] != float64(1000) {
		t.Errorf("%v", a)
	}
	w, err := do(e, "org_a", "GET", "/v2/languages?type=target", "", nil)
	if err != nil || !strings.Contains(w.Body.String(), `{"language":"ZH-HANS","name":"Chinese (simplified)","supports_formality":true}`) || !strings.Contains(w.Body.String(), `"EN-GB"`) {
		t.Errorf("%v %s", err, w.Body.String())
	}
	for _, r := range Routes() {
		if strings.HasPrefix(r.Name, "translate.deepl.") != (r.Style == engine.DeepLike) {
			t.Errorf("%s has style %d", r.Name, r.Style)
		}
	}
}

func TestDeepLGlossaries(t *testing.T) {
	each(t, func(t *testing.T, e *Engine) {
		f := url.Values{"name": {"n"}, "source_lang": {"en"}, "target_lang": {"zh"}, "entries_format": {"csv"}, "entries": {"gateway,网关\n\"a, b\",甲\n"}}
		g := answer(t, e, "POST", "/v2/glossaries", formType, []byte(f.Encode()))
		id := g["glossary_id"].(string)
		if g["entry_count"] != float64(2) || g["ready"] != true {
			t.Errorf("%v", g)
		}
		w, err := do(e, "org_a", "GET", "/v2/glossaries/"+id+"/entries", "", nil)
		if err != nil || w.Body.String() != "a, b\t甲\ngateway\t网关\n" {
			t.Errorf("%v %q", err, w.Body.String())
		}
		tr := url.Values{"text": {"The gateway"}, "source_lang": {"en"}, "target_lang": {"zh"}, "glossary_id": {id}}
		if got := first(t, answer(t, e, "POST", "/v2/translate", formType, []byte(tr.Encode()))); got["text"] != "网关" {
			t.Errorf("%v", got)
		}
		p := url.Values{"dictionaries[0].source_lang": {"zh"}, "dictionaries[0].target_lang": {"en"}, "dictionaries[0].entries": {"网关\tgateway"}, "dictionaries[0].entries_format": {"tsv"}}
		if g := answer(t, e, "PATCH", "/v3/glossaries/"+id, formType, []byte(p.Encode())); len(g["dictionaries"].([]any)) != 2 {
			t.Errorf("%v", g)
		}
		r := url.Values{"source_lang": {"en"}, "target_lang": {"zh"}, "entries": {"x\ty"}, "entries_format": {"tsv"}}
		if d := answer(t, e, "PUT", "/v3/glossaries/"+id+"/dictionaries", formType, []byte(r.Encode())); d["entry_count"] != float64(1) {
			t.Errorf("%v", d)
		}
		if a := answer(t, e, "GET", "/v3/glossaries/"+id+"/entries?source_lang=en&target_lang=zh", "", nil); a["dictionaries"].([]any)[0].(map[string]any)["entries"] != "x\ty\n" {
			t.Errorf("%v", a)
		}
		if w, err := do(e, "org_a", "DELETE", "/v3/glossaries/"+id+"/dictionaries?source_lang=zh&target_lang=en", "", nil); err != nil || w.Status != 204 {
			t.Errorf("%v", err)
		}
		if a := answer(t, e, "GET", "/v3/glossaries", "", nil); len(a["glossaries"].([]any)) != 1 {
			t.Errorf("%v", a)
		}
		if w, err := do(e, "org_a", "DELETE", "/v2/glossaries/"+id, "", nil); err != nil || w.Status != 204 {
			t.Errorf("%v", err)
		}
		refused(t, e, "GET", "/v2/glossaries/"+id, "", nil, "translate.no_glossary")
	})
}

func TestDeepLDocuments(t *testing.T) {
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		seal := sealer(t)
		e := engineOn(t, d, func(o *Options) { o.Sealer = seal })
		kind, body := upload(t, "a.html", []byte("<p>Hello</p>"), "source_lang", "en", "target_lang", "zh")
		a := answer(t, e, "POST", "/v2/document", kind, body)
		id, key := a["document_id"].(string), a["document_key"].(string)
		form := []byte(url.Values{"document_key": {key}}.Encode())
		if s := answer(t, e, "POST", "/v2/document/"+id, formType, form); s["status"] != "done" || s["billed_characters"] != float64(5) {
			t.Errorf("%v", s)
		}
		refused(t, e, "POST", "/v2/document/"+id, formType, []byte("document_key=wrong"), "translate.no_document")
		if _, err := do(e, "org_b", "POST", "/v2/document/"+id+"/result", formType, form); problem.As(err).ID != "translate.no_document" {
			t.Errorf("by another: %v", err)
		}
		w, err := do(e, "org_a", "POST", "/v2/document/"+id+"/result", formType, form)
		if err != nil || w.Body.String() != "<p>你好</p>" {
			t.Errorf("%v %s", err, w.Body.String())
		}
		refused(t, e, "POST", "/v2/document/"+id+"/result", formType, form, "translate.no_document")
	})
	refused(t, newEngine(t), "POST", "/v2/document", "text/plain", nil, "engine.not_multipart")
}

func FuzzDeepLForm(f *testing.F) {
	f.Add(formType, []byte("text=a&text=b&target_lang=ZH&tag_handling=xml&ignore_tags=x,y"))
	f.Add("application/json", []byte(`{"text":["a"],"target_lang":"ZH","context":1,"split_sentences":true}`))
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\na\r\n--x--"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := &engine.Request{Type: kind, Body: body}
		j, err := readDeepL(r)
		if err != nil {
			if problem.As(err).Kind == problem.Internal {
				t.Fatal(err)
			}
			return
		}
		for _, d := range j.docs {
			out := make([]string, len(d.segs))
			for i := range d.segs {
				out[i] = d.segs[i].text
			}
			if _, err := d.build(out); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = readDeepLGlossary(r)
	})
}
