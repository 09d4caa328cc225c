package openai

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/llm"
)

func TestUsageFromJSON(t *testing.T) {
	tests := []struct {
		name, usage string
		want        llm.Usage
	}{
		{"plain", `{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}`, llm.Usage{Input: 9, Output: 12}},
		{"all classes", `{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":30,"audio_tokens":20,"cache_write_tokens":10},"completion_tokens_details":{"reasoning_tokens":25,"audio_tokens":5}}`,
			llm.Usage{Input: 40, CachedInput: 30, CacheWrite: 10, AudioInput: 20, Output: 20, Reasoning: 25, AudioOutput: 5}},
		{"embeddings", `{"prompt_tokens":8,"total_tokens":8}`, llm.Usage{Input: 8}},
		{"responses", `{"input_tokens":36,"input_tokens_details":{"cached_tokens":6},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":80},"total_tokens":123}`,
			llm.Usage{Input: 30, CachedInput: 6, Output: 7, Reasoning: 80}},
		{"DeepSeek", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}`,
			llm.Usage{Input: 36, CachedInput: 64, Output: 5}},
		{"LiteLLM", `{"prompt_tokens":100,"completion_tokens":5,"total_tokens":105,"cache_read_input_tokens":50,"cache_creation_input_tokens":20,"prompt_tokens_details":{"cached_tokens":50}}`,
			llm.Usage{Input: 30, CachedInput: 50, CacheWrite: 20, Output: 5}},
		{"reasoning beside, total says so", `{"prompt_tokens":12,"completion_tokens":1,"total_tokens":399,"completion_tokens_details":{"reasoning_tokens":386}}`,
			llm.Usage{Input: 12, Output: 1, Reasoning: 386}},
		{"reasoning beside, no total", `{"prompt_tokens":12,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":386}}`,
			llm.Usage{Input: 12, Output: 1, Reasoning: 386}},
		{"thinking in the total only", `{"prompt_tokens":20,"completion_tokens":198,"total_tokens":623}`, llm.Usage{Input: 20, Output: 198, Reasoning: 405}},
		{"details beyond the whole", `{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":99},"completion_tokens_details":{"reasoning_tokens":99}}`,
			llm.Usage{CachedInput: 10, Reasoning: 10}},
		{"nulls", `{"prompt_tokens":5,"completion_tokens":5,"total_tokens":null,"prompt_tokens_details":null,"completion_tokens_details":{"reasoning_tokens":null}}`, llm.Usage{Input: 5, Output: 5}},
		{"total below the sum", `{"prompt_tokens":5,"completion_tokens":5,"total_tokens":3}`, llm.Usage{Input: 5, Output: 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := []byte(`{"id":"x","choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":1}"},"usage":{"prompt_tokens":7}}],"usage" : ` + tt.usage + `,"z":1}`)
			if tt.name == "embeddings" {
				body = []byte(`{"object":"list","data":[{"embedding":[0.5]}],"usage":` + tt.usage + `}`)
			}
			var got llm.Usage
			span, err := UsageFromJSON(body, &got)
			tt.want.Found = true
			if d := cmp.Diff(tt.want, got); d != "" || err != nil {
				t.Errorf("%v %s", err, d)
			}
			if string(span.Of(body)) != tt.usage {
				t.Errorf("span %q", span.Of(body))
			}
			if sum := got.InputTotal() + got.OutputTotal(); sum == 0 {
				t.Error("nothing")
			}
		})
	}
}

func TestNoUsage(t *testing.T) {
	for _, body := range []string{
		``, `x`, `[]`, `{}`, `{"usage":null}`, `{"usage":{}}`, `{"usage":5}`, `{"usage":[]}`,
		`{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`,
		`{"usage":{"prompt_tokens":-5,"completion_tokens":1}}`,
		`{"usage":{"prompt_tokens":5,"completion_tokens":1.5}}`,
		`{"usage":{"prompt_tokens":5,"completion_tokens":"7"}}`,
		`{"usage":{"prompt_tokens":5,"completion_tokens":99999999999}}`,
		`{"usage":{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":-1}}}`,
		`{"usage":{"total_tokens":5}}`,
		`{"usage":{"prompt_tokens":5,"completion_tokens":0},"choices":[{"message":{"content":"Hello"}}]}`,
		`{"usage":{"prompt_tokens":5`,
	} {
		u := llm.Usage{Input: 1, Found: true}
		if _, err := UsageFromJSON([]byte(body), &u); !errors.Is(err, ErrNoUsage) || u != (llm.Usage{}) {
			t.Errorf("%s: %v %+v", body, err, u)
		}
	}
}

func TestErrorInJSON(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":{"code":429}}`:                       `{"code":429}`,
		`{"choices":[],"error":"x"}`:                   `"x"`,
		`{"choices":[{"error":{}}],"error":null}`:      ``,
		`{"choices":[{"message":{}}],"error":{"a":1}}`: ``,
		`{"data":[{}],"usage":{}}`:                     ``,
		`no JSON`:                                      ``,
	} {
		if got := string(ErrorInJSON([]byte(body))); got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
}

func TestAppendCost(t *testing.T) {
	tests := []struct{ body, want string }{
		{`{"usage":{"prompt_tokens":1}}`, `{"usage":{"cost":0.000123,"currency":"USD","prompt_tokens":1}}`},
		{`{"a":1,"usage":{ }}`, `{"a":1,"usage":{"cost":0.000123,"currency":"USD" }}`},
		{`{"usage":null,"a":1}`, `{"usage":{"cost":0.000123,"currency":"USD"},"a":1}`},
		{` {"a":1}`, ` {"usage":{"cost":0.000123,"currency":"USD"},"a":1}`},
		{`{}`, `{"usage":{"cost":0.000123,"currency":"USD"}}`},
		{`[1]`, `[1]`}, {``, ``}, {`text`, `text`},
	}
	for _, tt := range tests {
		var u llm.Usage
		span, _ := UsageFromJSON([]byte(tt.body), &u)
		got := string(AppendCost([]byte("+"), []byte(tt.body), span, []byte("0.000123"), "USD"))
		if got != "+"+tt.want {
			t.Errorf("%s: %s", tt.body, got)
		}
	}
}

func TestMeasureAnswer(t *testing.T) {
	var d llm.Delivered
	MeasureAnswer(&d, []byte(`{"id":"1","choices":[{"index":0,"message":{"role":"assistant","content":"Hi \u4f60\n","refusal":null,"reasoning_content":"Hm"}},
		{"index":1,"message":{"content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}],"function_call":{"name":"g","arguments":""}}},
		{"text":"old"}]}`))
	want := llm.Delivered{Text: []byte("Hi 你\nHmf{\"a\":1}gold"), Bytes: 21, Reasoning: 2, Chunks: 3, Choices: 3}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
	d = llm.Delivered{}
	MeasureAnswer(&d, []byte(`{"choices":[{"message":{"content":"`+strings.Repeat(`\u00e9`, 20_000)+`"}}]}`))
	if len(d.Text) != llm.TextKept || d.Bytes != 40_000 {
		t.Errorf("kept %d of %d", len(d.Text), d.Bytes)
	}
	MeasureAnswer(&d, []byte(`{"choices":null}`))
	MeasureAnswer(&d, []byte(`no JSON`))
}

func FuzzUsageFromJSON(f *testing.F) {
	f.Add([]byte(`{"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":1}},"choices":[{"message":{"content":"a"}}]}`))
	f.Add([]byte(`{"a":[{"usage":null}],"usage":{"output_tokens":3}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var u llm.Usage
		span, err := UsageFromJSON(body, &u)
		for _, n := range u.Classes() {
			if n < 0 || n > 2*llm.MaxCount {
				t.Fatalf("%q: %+v", body, u)
			}
		}
		if (err == nil) != u.Found {
			t.Fatalf("%q: %v %+v", body, err, u)
		}
		if out := AppendCost(nil, body, span, []byte("0.5"), "USD"); json.Valid(body) && !json.Valid(out) {
			t.Fatalf("%q -> %q", body, out)
		}
		var d llm.Delivered
		MeasureAnswer(&d, body)
		if d.Bytes < int64(len(d.Text)) {
			t.Fatalf("%+v", d)
		}
	})
}

func BenchmarkUsageFromJSON(b *testing.B) {
	body := []byte(`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat(`Lorem ipsum dolor sit amet.\n`, 40) + `"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":50,"total_tokens":59,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}`)
	dst := make([]byte, 0, 4096)
	cost := []byte("0.000123")
	b.ReportAllocs()
	var u llm.Usage
	for b.Loop() {
		span, err := UsageFromJSON(body, &u)
		if err != nil {
			b.Fatal(err)
		}
		dst = AppendCost(dst[:0], body, span, cost, "USD")
	}
}
