package text

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// segmenter is shared by the tests: reading its dictionary takes seconds.
var segmenter = sync.OnceValue(NewSegmenter)

// caller calls an engine as the gateway does: measured first, and never used more.
type caller struct {
	t     testing.TB
	e     *Engine
	owner string
}

func newCaller(t testing.TB, d *db.DB, dir engine.Dir, owner string) *caller {
	t.Helper()
	e, err := New(Options{DB: d, Dir: dir, Segmenter: segmenter()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &caller{t, e, owner}
}

// call sends a body (a string as it is, anything else as JSON) to "METHOD /path" and returns the answer, or a problem.
func (c *caller) call(at string, body any) (*enginetest.Answer, *problem.Error) {
	c.t.Helper()
	return c.send(at, "application/json", body)
}

func (c *caller) send(at, kind string, body any) (*enginetest.Answer, *problem.Error) {
	c.t.Helper()
	method, path, _ := strings.Cut(at, " ")
	u, err := url.Parse(path)
	if err != nil {
		c.t.Fatal(err)
	}
	var route *engine.Route
	mux := http.NewServeMux()
	for _, r := range Routes() {
		mux.HandleFunc(r.Method+" "+r.Pattern, func(_ http.ResponseWriter, _ *http.Request) { route = &r })
	}
	hr, err := http.NewRequest(method, path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	mux.ServeHTTP(nil, hr)
	r := &engine.Request{Route: route, Path: u.Path, Query: u.Query(), Type: kind, Owner: c.owner, Language: "en", Params: map[string]string{
		"classifier": hr.PathValue("classifier"), "version": hr.PathValue("version")}, Header: func(string) string { return "" }}
	switch b := body.(type) {
	case nil:
	case string:
		r.Body = []byte(b)
	default:
		if r.Body, err = json.Marshal(b); err != nil {
			c.t.Fatal(err)
		}
	}
	var most engine.Quantity
	if route.Measure != nil {
		if most, err = route.Measure(r); err != nil {
			return nil, c.problem(err)
		}
		if most < 1000 {
			c.t.Errorf("%s: measured %d", at, most)
		}
	}
	a := &enginetest.Answer{}
	if err := c.e.Serve(context.Background(), r, a); err != nil {
		return nil, c.problem(err)
	}
	if a.Total() > most {
		c.t.Errorf("%s: used %d, measured %d", at, a.Total(), most)
	}
	return a, nil
}

func (c *caller) problem(err error) *problem.Error {
	c.t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) {
		c.t.Fatalf("not a problem: %v", err)
	}
	return p
}

// ok calls and decodes the answer into a map.
func (c *caller) ok(at string, body any) map[string]any {
	c.t.Helper()
	a, p := c.call(at, body)
	if p != nil {
		c.t.Fatalf("%s: %v", at, p)
	}
	return c.decode(a)
}

func (c *caller) decode(a *enginetest.Answer) map[string]any {
	c.t.Helper()
	if a.Status == http.StatusNoContent {
		return nil
	}
	var m map[string]any
	if err := json.Unmarshal(a.Body.Bytes(), &m); err != nil {
		c.t.Fatalf("%s: %v", a.Body.String(), err)
	}
	return m
}

// result is a field of the first result.
func result(m map[string]any, field string) any {
	return m["results"].([]any)[0].(map[string]any)[field]
}

type object = map[string]any

// TestOperations calls each operation with Go alone.
func TestOperations(t *testing.T) {
	t.Parallel()
	c := newCaller(t, dbtest.SQLite(t, []db.Migrations{Migrations}), "", "org_1")
	for _, x := range []struct{ text, want string }{
		{"The screen is great and the staff were lovely.", "positive"},
		{"I don't like it, not good at all.", "negative"},
		{"The screen is great but the battery is terrible.", "mixed"},
		{"It arrived on Tuesday.", "neutral"},
		{"物流太慢了，等了半个月，不推荐购买", "negative"},
		{"质量不错，价格实惠，下次还会来", "positive"},
		{"😍", "positive"},
	} {
		m := c.ok("POST /v1/text/sentiment", object{"text": x.text})
		if got := result(m, "sentiment"); got != x.want || m["engine"] != "lexicon" {
			t.Errorf("%s: %v, want %s", x.text, got, x.want)
		}
	}
	m := c.ok("POST /v1/text/sentiment", object{"text": "屏幕很清晰，但是电池不耐用。", "aspects": []string{"屏幕", "电池", "价格"}})
	if got := fmt.Sprint(aspectsOf(m)); got != "[屏幕 positive 电池 negative 价格 absent]" {
		t.Errorf("aspects: %s", got)
	}
	m = c.ok("POST /v1/text/sentiment", object{"text": "The hotel was clean, but the food tasted awful.", "find_aspects": true})
	if got := fmt.Sprint(aspectsOf(m)); got != "[hotel positive food negative]" {
		t.Errorf("aspects found: %s", got)
	}
	m = c.ok("POST /v1/text/language", object{"texts": []string{"Where is my parcel?", "我的包裹在哪里", "12"}})
	if got := fmt.Sprintln(result(m, "language"), m["results"].([]any)[1].(object)["language"], m["results"].([]any)[2].(object)["language"]); got != "en zh und\n" {
		t.Errorf("languages: %s", got)
	}
	m = c.ok("POST /v1/text/summarise", object{"text": "Solar power is growing quickly around the world. Many countries install more solar panels each year than any other power source. My cat sleeps. The price of solar panels has fallen by ninety percent.", "sentences": 2})
	if s := m["summary"].(string); strings.Contains(s, "cat") || len(m["sentences"].([]any)) != 2 {
		t.Errorf("summary: %s", s)
	}
	m = c.ok("POST /v1/text/keywords", object{"text": "人工智能正在改变医疗行业。医院使用人工智能分析医学影像，帮助医生发现癌症。", "top": 3})
	if got := result(m, "keywords").([]any)[0].(object)["keyword"]; got != "人工智能" {
		t.Errorf("keyword: %v", got)
	}
	m = c.ok("POST /v1/text/entities", object{"text": "王小明给 li.na@example.com 付了3000元。", "types": []string{"person", "email", "money"}})
	if got := len(result(m, "entities").([]any)); got != 3 {
		t.Errorf("entities: %v", m)
	}
	m = c.ok("POST /v1/text/similarity", object{"text": "Where is my parcel?", "others": []string{"The cat sleeps.", "Where is my package?"}})
	if result(m, "index") != 1.0 || m["engine"] != "hashed-ngrams" || m["method"] != "spelling" || m["note"] == "" {
		t.Errorf("similarity: %v", m)
	}
	m = c.ok("POST /v1/text/classify", object{"text": "I want my money back", "labels": []any{
		object{"label": "refund", "examples": []string{"give me my money back", "I want a refund", "return the money"}},
		object{"label": "delivery", "examples": []string{"where is my parcel", "when will it arrive", "the package is late"}}}})
	if result(m, "label") != "refund" || m["method"] != "few-shot" {
		t.Errorf("few-shot: %v", m)
	}
}

func aspectsOf(m map[string]any) (out []any) {
	for _, a := range result(m, "aspects").([]any) {
		out = append(out, a.(object)["aspect"], a.(object)["sentiment"])
	}
	return out
}

// TestMeaning: what compares by meaning says so, and what does not know the language does not pretend.
func TestMeaning(t *testing.T) {
	t.Parallel()
	c := newCaller(t, dbtest.SQLite(t, []db.Migrations{Migrations}), enginesDir(t), "org_1")
	m := c.ok("POST /v1/text/classify", object{"text": "I love football and goals", "labels": []string{"sport", "politics"}})
	if result(m, "label") != "sport" || m["method"] != "zero-shot" || m["engine"] != "use-lite" {
		t.Errorf("zero-shot: %v", m)
	}
	if _, p := c.call("POST /v1/text/classify", object{"text": "我的包裹还没有到", "labels": []string{"退款", "物流", "投诉"}}); p == nil || p.ID != "text.not_english" {
		t.Errorf("zero-shot in Chinese: %v", p)
	}
	shots := []any{object{"label": "退款", "examples": []string{"我要退款", "请把钱退给我"}}, object{"label": "物流", "examples": []string{"包裹到哪里了", "什么时候发货"}}}
	if m = c.ok("POST /v1/text/classify", object{"text": "我的包裹还没有到", "labels": shots}); result(m, "label") != "物流" || strings.Contains(m["model"].(string), "use-lite") {
		t.Errorf("few-shot in Chinese: %v", m)
	}
	for text, want := range map[string]string{"Where is my parcel?": "meaning use-lite", "包裹": "spelling hashed-ngrams"} {
		m = c.ok("POST /v1/text/similarity", object{"text": text, "others": []string{"Where is my package?", "The cat sleeps."}})
		if got := m["method"].(string) + " " + m["engine"].(string); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	m = c.ok("POST /v1/text/similarity", object{"text": "where is my package", "others": []string{"如何给账户加钱", "where is my package"}})
	if r := m["results"].([]any); m["engine"] != "hashed-ngrams" || r[0].(object)["index"] != 1.0 || r[0].(object)["similarity"] != 1.0 {
		t.Errorf("one list is one space: %v", m)
	}
}

// TestRefusals: what is wrong is told with the field, and nothing panics.
func TestRefusals(t *testing.T) {
	t.Parallel()
	c := newCaller(t, dbtest.SQLite(t, []db.Migrations{Migrations}), "", "org_1")
	long := strings.Repeat("很", MaxText+1)
	for _, x := range []struct {
		at   string
		body any
		id   string
	}{
		{"POST /v1/text/sentiment", "", "engine.empty_body"},
		{"POST /v1/text/sentiment", "[1", "engine.not_json"},
		{"POST /v1/text/sentiment", "\xff", "engine.not_utf8"},
		{"POST /v1/text/sentiment", object{}, "engine.invalid"},
		{"POST /v1/text/sentiment", object{"text": " \n"}, "engine.invalid"},
		{"POST /v1/text/sentiment", object{"text": 5}, "engine.bad_field"},
		{"POST /v1/text/sentiment", object{"text": "a", "texts": []string{"b"}}, "engine.invalid"},
		{"POST /v1/text/sentiment", object{"text": long}, "text.field_too_long"},
		{"POST /v1/text/sentiment", object{"texts": []string{long[3:], long[3:], long[3:]}}, "text.too_long"},
		{"POST /v1/text/sentiment", object{"text": "C'est une belle journée et il fait très beau dehors."}, "engine.missing"},
		{"POST /v1/text/sentiment", object{"text": "最高です", "language": "ja"}, "engine.needs_upstream"},
		{"POST /v1/text/sentiment", object{"text": "x", "language": "zz"}, "engine.invalid"},
		{"POST /v1/text/sentiment", object{"text": "x", "language": "../../etc"}, "engine.invalid"},
		{"POST /v1/text/summarise", object{"text": "a b.", "method": "abstractive"}, "engine.needs_upstream"},
		{"POST /v1/text/summarise", object{"text": "a b.", "ratio": 2}, "engine.invalid"},
		{"POST /v1/text/summarise", object{"text": strings.Repeat("One more. ", maxSentences+1)}, "text.too_many_sentences"},
		{"POST /v1/text/generate", object{"prompt": "a poem"}, "engine.needs_upstream"},
		{"POST /v1/text/generate", object{}, "engine.invalid"},
		{"POST /v1/text/dialogue", object{"messages": []object{{"role": "user", "text": "hi"}}}, "engine.needs_upstream"},
		{"POST /v1/text/dialogue", object{"messages": []object{{"role": "boss", "text": "hi"}}}, "engine.invalid"},
		{"POST /v1/text/similarity", object{"text": "x"}, "engine.invalid"},
		{"POST /v1/text/entities", object{"text": "x", "types": []string{"soul"}}, "engine.invalid"},
		{"POST /v1/text/classify", object{"text": "x"}, "engine.invalid"},
		{"POST /v1/text/classify", object{"text": "x", "labels": []string{"a"}}, "engine.invalid"},
		{"POST /v1/text/classify", object{"text": "x", "labels": []string{"a", "a"}}, "engine.invalid"},
		{"POST /v1/text/classify", object{"text": "x", "labels": []any{object{"name": "a"}, "b"}}, "engine.invalid"},
		{"POST /v1/text/classify", object{"text": "I love football and goals", "labels": []string{"sport", "politics"}}, "text.no_encoder"},
		{"POST /v1/text/classify", object{"text": "x", "examples": []Example{{"one", "a"}}}, "text.too_few_labels"},
		{"POST /v1/text/classify", object{"text": "x", "classifier": "none"}, "text.no_classifier"},
		{"POST /v1/text/classifiers", object{"name": "A b"}, "text.bad_name"},
		{"POST /v1/text/classifiers/none/versions", object{"examples": []Example{{"one", "a"}, {"two", "b"}}}, "text.no_classifier"},
		{"POST /v1/text/classifiers/none/versions", object{"examples": []Example{{"one", "a"}, {"", "b"}}}, "text.bad_example"},
		{"GET /v1/text/classifiers/none", nil, "text.no_classifier"},
		{"GET /v1/text/classifiers/none/versions/x", nil, "engine.invalid"},
	} {
		_, p := c.call(x.at, x.body)
		if p == nil || p.ID != x.id {
			t.Errorf("%s %.60v: %v, want %s", x.at, x.body, p, x.id)
		}
	}
}
