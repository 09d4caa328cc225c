package translate

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// The source document's example calls POST /translate with these three fields and reads translation.
func TestPlain(t *testing.T) {
	e := newEngine(t)
	a := post(t, e, "/translate", map[string]any{"text": "Hello", "sourceLanguage": "en", "targetLanguage": "zh"})
	if a["translation"] != "你好" || a["quality"] != qualityDictionary {
		t.Errorf("answer %v", a)
	}
	for name, c := range map[string]struct{ body, id string }{
		"empty":        {"", "engine.empty_body"},
		"no text":      {`{"sourceLanguage":"en","targetLanguage":"zh"}`, "engine.invalid"},
		"empty text":   {`{"text":"","sourceLanguage":"en","targetLanguage":"zh"}`, "translate.empty"},
		"white space":  {`{"text":" \n\t","sourceLanguage":"en","targetLanguage":"zh"}`, "translate.empty"},
		"identified":   {`{"text":"你好，世界","targetLanguage":"th"}`, "translate.no_pair_identified"},
		"no source":    {`{"text":"こんにちは、元気ですか","targetLanguage":"th"}`, "translate.no_source"},
		"no target":    {`{"text":"a","sourceLanguage":"en"}`, "engine.invalid"},
		"bad language": {`{"text":"a","sourceLanguage":"en","targetLanguage":"klingonish!"}`, "engine.invalid"},
		"no pair":      {`{"text":"a","sourceLanguage":"en","targetLanguage":"th"}`, "translate.no_pair"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, e, "POST", "/translate", "application/json", []byte(c.body), c.id)
		})
	}
}

func TestPlainRoute(t *testing.T) {
	for _, r := range Routes() {
		if r.Name == "translate.plain" && (r.Style != engine.Plain || !r.Anonymous || !r.Public || r.Pattern != "/translate") {
			t.Errorf("%+v", r)
		}
	}
}

func first(t testing.TB, a map[string]any) map[string]any {
	t.Helper()
	return a["translations"].([]any)[0].(map[string]any)
}

func TestTranslate(t *testing.T) {
	e := newEngine(t)
	a := post(t, e, "/v1/translate", map[string]any{"texts": []string{"我是老师。", "Good morning!", "12:30"}, "target": "en"})
	list := a["translations"].([]any)
	if got := first(t, a); got["source"] != "zh" || got["detected"] != true || got["quality"] != qualityDictionary || !strings.Contains(got["text"].(string), "teacher") {
		t.Errorf("first %v", got)
	}
	if got := list[1].(map[string]any); got["text"] != "Good morning!" || got["quality"] != qualityNone {
		t.Errorf("text in the target's language: %v", got)
	}
	if a["characters"] != float64(5+13+5) {
		t.Errorf("%v characters", a["characters"])
	}
	if got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "Where do you live?", "source": "en", "target": "zh", "formality": "more"})); !strings.Contains(got["text"].(string), "您") || got["ignored"] != nil {
		t.Errorf("polite: %v", got)
	}
	if got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "你住在哪里？", "source": "zh", "target": "en", "formality": "less", "context": "a"})); len(got["ignored"].([]any)) != 1 {
		t.Errorf("formality into English: %v", got)
	}
	if got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "这是汉语", "source": "zh", "target": "zh-TW"})); got["text"] != "這是漢語" || got["quality"] != qualityConversion {
		t.Errorf("traditional: %v", got)
	}
}

// The context decides between the senses of a word.
func TestContext(t *testing.T) {
	e := newEngine(t)
	say := func(context string) string {
		return first(t, post(t, e, "/v1/translate", map[string]any{"text": "The bank is old.", "source": "en", "target": "zh", "context": context}))["text"].(string)
	}
	if money, river := say("I need money from my account."), say("We sat at the beach of the river, close to the shore."); !strings.Contains(money, "银行") || !strings.Contains(river, "岸") {
		t.Errorf("money: %s, river: %s", money, river)
	}
}

func TestGlossaryInline(t *testing.T) {
	e := newEngine(t)
	for name, g := range map[string]any{"object": map[string]string{"gateway": "网关", "API gateway": "接口网关"}, "list": []Term{{"gateway", "网关"}, {"API gateway", "接口网关"}}} {
		got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "The API gateway is near the gateway, not the gateways.", "source": "en", "target": "zh", "glossary": g}))["text"].(string)
		if strings.Count(got, "接口网关") != 1 || strings.Count(got, "网关") != 2 {
			t.Errorf("%s: %s", name, got)
		}
	}
	for text, want := range map[string]string{"gateway": "网关", "Gateway!": "网关", "https://x.example gateway": "网关"} { // nothing else to translate
		m := first(t, post(t, e, "/v1/translate", map[string]any{"text": text, "source": "en", "target": "zh", "glossary": map[string]string{"gateway": "网关"}}))
		if got := m["text"].(string); !strings.Contains(got, want) || m["quality"] != qualityGlossary || m["engine"] != "glossary" {
			t.Errorf("%s: %v", text, m)
		}
	}
	got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "<p>我们的<b>网关</b>很好</p>", "format": "html", "source": "zh", "target": "en", "glossary": map[string]string{"网关": "Gate & Way"}}))["text"].(string)
	if !strings.Contains(got, "<b>Gate &amp; Way</b>") {
		t.Error(got)
	}
}

func TestInvalidRequests(t *testing.T) {
	e := newEngine(t)
	long, err := json.Marshal(map[string]string{"text": strings.Repeat("a b ", 80_000), "target": "zh"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ body, id string }{
		"nothing":      {`{"target":"zh"}`, "engine.invalid"},
		"both":         {`{"text":"a","texts":["b"],"target":"zh"}`, "engine.invalid"},
		"empty":        {`{"text":"","target":"zh"}`, "translate.empty"},
		"all empty":    {`{"texts":[""," "],"target":"zh"}`, "translate.empty"},
		"format":       {`{"text":"a","target":"zh","format":"pdf"}`, "engine.invalid"},
		"formality":    {`{"text":"a","target":"zh","formality":"rude"}`, "engine.invalid"},
		"engine":       {`{"text":"a","source":"en","target":"zh","engine":"nope"}`, "engine.invalid"},
		"fuzzy":        {`{"text":"a","target":"zh","memory":{"fuzzy":2}}`, "engine.invalid"},
		"glossary":     {`{"text":"a","source":"en","target":"zh","glossary":"gls_none"}`, "translate.no_glossary"},
		"bad glossary": {`{"text":"a","target":"zh","glossary":7}`, "engine.invalid"},
		"bad term":     {`{"text":"a","target":"zh","glossary":{"a":""}}`, "translate.bad_term"},
		"no engine":    {`{"text":"ก ข","source":"th","target":"ja"}`, "engine.needs_upstream"},
		"not base64":   {`{"document":"%%%","format":"docx","target":"zh"}`, "engine.invalid"},
		"no docx":      {`{"document":"aGVsbG8=","format":"docx","target":"zh"}`, "translate.bad_docx"},
		"too long":     {string(long), "translate.too_long"},
		"too many":     {`{"texts":[` + strings.Repeat(`"a",`, maxTexts) + `"a"],"target":"zh"}`, "translate.too_many_texts"},
		"deep":         {`{"text":` + strings.Repeat("[", 100) + `}`, "engine.too_deep"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, e, "POST", "/v1/translate", "application/json", []byte(c.body), c.id)
		})
	}
}

func TestStream(t *testing.T) {
	e := newEngine(t)
	w, err := do(e, "org_a", "POST", "/v1/translate", "application/json", []byte(`{"text":"Hello. I like dogs.\nThank you.","source":"en","target":"zh","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if w.Type != "text/event-stream" || w.Flushes != 4 {
		t.Errorf("%s, %d flushes", w.Type, w.Flushes)
	}
	var text strings.Builder
	var done result
	for event := range strings.SplitSeq(strings.TrimSpace(w.Body.String()), "\n\n") {
		var ev segmentEvent
		data := []byte(strings.TrimPrefix(event, "data: "))
		if err := json.Unmarshal(data, &ev); err != nil {
			t.Fatal(err)
		}
		if ev.Type == "segment" {
			text.WriteString(ev.Text)
		} else if err := json.Unmarshal(data, &done); err != nil {
			t.Fatal(err)
		}
	}
	if done.Type != "done" || text.String() != done.Translations[0].Text {
		t.Errorf("pieces %q, whole %+v", text.String(), done)
	}
	for i := 1; i < len(w.Reports); i++ {
		if w.Reports[i] < w.Reports[i-1] {
			t.Errorf("reports of use fall: %v", w.Reports)
		}
	}
	if w.Total() != engine.Units(30) {
		t.Errorf("used %d", w.Total())
	}
}

func TestFiles(t *testing.T) {
	e := newEngine(t)
	kind, body := upload(t, "report.docx", docxOf(`<w:p><w:r><w:t>Good morning</w:t></w:r></w:p>`), "target", "zh", "source", "en")
	w, err := do(e, "org_a", "POST", "/v1/translate", kind, body)
	if err != nil {
		t.Fatal(err)
	}
	if w.Type != mediaTypes[formatDOCX] || w.Header["X-Quality"] != qualityDictionary || !strings.Contains(w.Header["Content-Disposition"], "report.zh.docx") || w.Total() != engine.Units(12) {
		t.Errorf("%s %v used %d", w.Type, w.Header, w.Total())
	}
	if got := partOf(t, w.Body.Bytes(), "word/document.xml"); !strings.Contains(got, "早上好") {
		t.Error(got)
	}
	a := post(t, e, "/v1/translate", map[string]any{"document": docxOf(`<w:p><w:r><w:t>Thanks</w:t></w:r></w:p>`), "format": "docx", "source": "en", "target": "zh"})
	data, err := base64.StdEncoding.DecodeString(a["document"].(string))
	if err != nil || !strings.Contains(partOf(t, data, "word/document.xml"), "谢谢") {
		t.Errorf("%v", err)
	}
}

func TestSpeech(t *testing.T) {
	wav := append([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data\x00\x7d\x00\x00"), make([]byte, 32000)...)
	kind, body := upload(t, "a.wav", wav, "source", "en", "target", "zh", "answer", "both")
	if _, err := do(newEngine(t), "org_a", "POST", "/v1/translate/speech", kind, body); problem.As(err).ID != "engine.missing" {
		t.Errorf("without engines: %v", err)
	}
	e := newEngine(t, func(o *Options) {
		o.Hear = func(_ context.Context, audio []byte, language string) (Heard, error) {
			if len(audio) != len(wav) || language != "en" {
				return Heard{}, errors.New("wrong sound")
			}
			return Heard{Text: "Good morning", Seconds: 1, Engine: "test", Quality: "demo"}, nil
		}
		o.Speak = func(_ context.Context, text, language string) ([]byte, error) {
			return []byte(language + ":" + text), nil
		}
	})
	w, err := do(e, "org_a", "POST", "/v1/translate/speech", kind, body)
	if err != nil {
		t.Fatal(err)
	}
	var a map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if a["text"] != "早上好" || a["transcript"] != "Good morning" || a["audio"] != base64.StdEncoding.EncodeToString([]byte("zh:早上好")) || w.Total() != 1000 ||
		a["recognition"].(map[string]any)["quality"] != "demo" {
		t.Errorf("%v used %d", a, w.Total())
	}
	kind, body = upload(t, "a.wav", wav[:50], "target", "zh", "answer", "audio")
	if _, err := do(e, "org_a", "POST", "/v1/translate/speech", kind, body); err == nil {
		t.Error("a truncated sound was heard")
	}
}

func TestLibre(t *testing.T) {
	e := newEngine(t)
	if a := post(t, e, "/libre/translate", map[string]any{"q": "你好", "source": "auto", "target": "en", "api_key": "x"}); !strings.HasPrefix(a["translatedText"].(string), "Hello") || a["detectedLanguage"].(map[string]any)["language"] != "zh" {
		t.Errorf("%v", a)
	}
	if a := answer(t, e, "POST", "/libre/translate", "application/x-www-form-urlencoded", []byte("q=Hello&source=en&target=zh&format=text")); a["translatedText"] != "你好" {
		t.Errorf("%v", a)
	}
	if a := post(t, e, "/libre/translate", map[string]any{"q": []string{"Hello", "Thank you"}, "source": "en", "target": "zh"}); len(a["translatedText"].([]any)) != 2 {
		t.Errorf("%v", a)
	}
	w, err := do(e, "org_a", "POST", "/libre/detect", "application/json", []byte(`{"q":"The dog is in the house"}`))
	if err != nil || !strings.Contains(w.Body.String(), `"language":"en"`) {
		t.Errorf("%v %s", err, w.Body.String())
	}
	if w, err = do(e, "org_a", "GET", "/libre/languages", "", nil); err != nil || !strings.Contains(w.Body.String(), `"code":"zh"`) {
		t.Errorf("%v %s", err, w.Body.String())
	}
	refused(t, e, "POST", "/libre/translate", "application/json", []byte(`{"source":"en","target":"zh"}`), "translate.libre_missing")
	refused(t, e, "POST", "/libre/translate", "application/json", []byte(`{"q":"","source":"en","target":"zh"}`), "translate.libre_missing")
	refused(t, e, "POST", "/libre/translate", "application/json", []byte(`{"q":"a"}`), "translate.libre_missing")
}

func TestBusy(t *testing.T) {
	e := newEngine(t)
	for range cap(e.turns) {
		e.turns <- struct{}{}
	}
	e.queued.Store(maxQueued)
	if _, err := e.turn(t.Context()); problem.As(err).ID != "translate.busy" || problem.As(err).RetryAfter == 0 {
		t.Errorf("%v", err)
	}
	e.queued.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.turn(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestNoPair tells what was identified and which pairs there are.
func TestNoPair(t *testing.T) {
	e := newEngine(t)
	_, err := do(e, "org_a", "POST", "/translate", "application/json", []byte(`{"text":"你好，世界","targetLanguage":"th"}`))
	p := problem.As(err)
	if !strings.Contains(p.Detail, `identified as "zh"`) || !strings.Contains(p.Detail, " en,") || !strings.Contains(p.Text("zh"), `文本被识别为 "zh"`) {
		t.Error(p.Detail, p.Text("zh"))
	}
	_, err = do(e, "org_a", "POST", "/v1/translate", "application/json", []byte(`{"text":"你好，世界","source":"zh","target":"th"}`))
	if p = problem.As(err); p.ID != "engine.needs_upstream" || len(p.Fields) != 1 || !strings.Contains(p.Fields[0].Detail, `from "zh" there are: `) {
		t.Errorf("%+v", p)
	}
}

func TestSilence(t *testing.T) {
	e := newEngine(t, func(o *Options) {
		o.Hear = func(context.Context, []byte, string) (Heard, error) { return Heard{Seconds: 2}, nil }
		o.Speak = func(context.Context, string, string) ([]byte, error) { return nil, errors.New("nothing to speak") }
	})
	kind, body := upload(t, "a.wav", make([]byte, 4000), "source", "en", "target", "zh", "answer", "audio")
	refused(t, e, "POST", "/v1/translate/speech", kind, body, "translate.no_speech")
	kind, body = upload(t, "a.wav", make([]byte, 4000), "source", "en", "target", "zh")
	if a := answer(t, e, "POST", "/v1/translate/speech", kind, body); a["transcript"] != "" || a["quality"] != qualityNone {
		t.Errorf("%v", a)
	}
}
