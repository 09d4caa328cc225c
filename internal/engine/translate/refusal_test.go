package translate

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// A refusal names the field as the contract that was called does.
func TestFieldsOfTheContract(t *testing.T) {
	e := newEngine(t)
	const form, object = "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct{ method, path, kind, body, field string }{
		{"POST", "/v1/translate", object, `{"text":"hi","source":"en","target":"xx"}`, "target"},
		{"POST", "/translate", object, `{"text":"hi","sourceLanguage":"en","targetLanguage":"xx"}`, "targetLanguage"},
		{"POST", "/translate", object, `{"text":"hi","sourceLanguage":"xx","targetLanguage":"en"}`, "sourceLanguage"},
		{"POST", "/libre/translate", object, `{"q":"hi","source":"en","target":"xx"}`, "target"},
		{"POST", "/v2/translate", form, `text=hi&source_lang=EN&target_lang=XX`, "target_lang"},
		{"POST", "/v2/glossaries", object, `{"name":"n","source_lang":"EN","target_lang":"1","entries":"a\tb","entries_format":"tsv"}`, "target_lang"},
		{"POST", "/v1/translate", object, `{"text":"hi","source":"zh","target":"zh-Hant","engine":"apertium"}`, "engine"},
		{"POST", "/v1/translate/glossaries", object, `{"name":"n","source":"en","target":"zh","entries":{"a":"b"}}`, "entries"},
		{"POST", "/v1/translate/glossaries", object, `{"name":"n","source":"en","target":"zh"}`, "terms"},
		{"POST", "/v1/translate/glossaries", object, `{"name":"n"}`, "terms"},
		{"PATCH", "/v1/translate/glossaries/gls_1", object, `{}`, "name"},
		{"POST", "/v1/translate/memory", object, `{"source":"en","target":"de","units":[{"source":"hello","target":"hallo"}]}`, "units[0].source_text"},
		{"POST", "/v1/translate/memory", object, `{"source":"en","target":"de","units":[{"source_text":"hello","translation":"hallo"}]}`, "translation"},
	} {
		_, err := do(e, "org_a", c.method, c.path, c.kind, []byte(c.body))
		if p := problem.As(err); err == nil || p.Kind != problem.Invalid || len(p.Fields) == 0 || p.Fields[0].Path != c.field {
			t.Errorf("%s %s %s: %v, want %s", c.method, c.path, c.body, err, c.field)
		}
	}
}

// What is no text is not taken for one.
func TestOtherFiles(t *testing.T) {
	e := newEngine(t)
	for name, data := range map[string]string{"setup.exe": "MZ hello", "a.txt": "MZ\x00\x00 hello", "a.pdf": "%PDF-1.7 hello", "a.html": "<p>\x01hello</p>"} {
		kind, body := upload(t, name, []byte(data), "target", "zh", "source", "en")
		refused(t, e, "POST", "/v1/translate", kind, body, "translate.not_text")
		kind, body = upload(t, name, []byte(data), "target_lang", "zh", "source_lang", "en")
		refused(t, e, "POST", "/v2/document", kind, body, "translate.not_text")
	}
	for _, name := range []string{"README", "notes.rst", "a.TXT"} {
		kind, body := upload(t, name, []byte("Hello"), "target", "zh", "source", "en")
		if _, err := do(e, "org_a", "POST", "/v1/translate", kind, body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing that has words becomes nothing, and a greeting is taken for a likely language.
func TestShortTexts(t *testing.T) {
	e := newEngine(t)
	for in, want := range map[string]string{"hi": "你好", "the": "the", "Hi. Do.": "你好。Do."} {
		if got := post(t, e, "/translate", map[string]any{"text": in, "targetLanguage": "zh"}); got["translation"] != want || got["sourceLanguage"] != "en" {
			t.Errorf("%s: %v, want %s", in, got, want)
		}
	}
}

// What is heard is translated by the larger model, also between languages that no engine here knows.
func TestSpeechByALargerModel(t *testing.T) {
	e := newEngine(t, func(o *Options) {
		o.Hear = func(context.Context, []byte, string) (Heard, error) {
			return Heard{Text: "good morning", Seconds: 1, Engine: "ear"}, nil
		}
	})
	kind, body := upload(t, "a.wav", make([]byte, 2000), "source", "en", "target", "de")
	ops := engine.Handlers(operations())
	r := &engine.Request{Type: kind, Body: body, Owner: "org_a", Header: http.Header{}.Get}
	for _, o := range Routes() {
		if o.Name == "translate.speech" {
			r.Route = &o
		}
	}
	if err := ops["translate.speech"](e, t.Context(), r, &enginetest.Answer{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without a larger model: %v", err)
	}
	r.Upstream = func(context.Context, string, []byte) ([]byte, error) {
		return []byte(`{"translations":[{"text":"guten Morgen"}]}`), nil
	}
	w := &enginetest.Answer{}
	if err := e.Serve(t.Context(), r, w); err != nil {
		t.Fatal(err)
	}
	var a struct{ Text, Transcript, Engine, Quality string }
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.Text != "guten Morgen" || a.Transcript != "good morning" || a.Quality != qualityModel {
		t.Errorf("%+v %v", a, err)
	}
}
