package fakeupstream

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// post calls the server and returns status and body; cut tells that the answer broke off.
func post(t *testing.T, url, body string) (status int, answer string, cut bool) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err != nil
}

func TestBehaviours(t *testing.T) {
	s := &Server{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	for _, c := range []struct {
		name, body string
		status     int
		has, not   string
		cut        bool
	}{
		{"whole", `{"model":"fake"}`, 200, `"prompt_tokens":10,"completion_tokens":20`, "", false},
		{"stream", `{"model":"fake","stream":true}`, 200, "data: [DONE]", `"usage"`, false},
		{"stream with usage", `{"model":"fake","stream":true,"stream_options":{"include_usage":true}}`, 200, `"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":20`, "", false},
		{"limit", `{"max_tokens":3,"model":"fake"}`, 200, `"The quick brown"`, `"stop"`, false},
		{"limit ignored", `{"max_tokens":3,"model":"x?ignorelimit"}`, 200, `"completion_tokens":20`, "", false},
		{"several", `{"n":2,"model":"fake"}`, 200, `"completion_tokens":40`, "", false},
		{"classes", `{"model":"fake-classes"}`, 200, `"cached_tokens":400`, "", false},
		{"no usage", `{"model":"fake-no-usage"}`, 200, "", `"usage"`, false},
		{"by name", `{"model":"x?chunks=2"}`, 200, `"The quick"`, "", false},
		{"unknown option", `{"model":"x?chunk=2"}`, 404, "is not an option", "", false},
		{"refused", `{"model":"fake-529"}`, 529, "overloaded_error", "", false},
		{"no model", `{"stream":true}`, 400, "you must provide", "", false},
		{"no JSON", `hello`, 400, "you must provide", "", false},
		{"page", `{"model":"fake-html"}`, 200, "<!doctype html>", "", false},
		{"truncated", `{"model":"fake-truncated"}`, 200, "chat.completion", "", true},
		{"broken", `{"model":"fake-broken","stream":true}`, 200, "jumps", "over", true},
		{"error event", `{"model":"fake-error-event","stream":true}`, 200, `data: {"error"`, "[DONE]", false},
		{"no done", `{"model":"fake-no-done","stream":true}`, 200, `"finish_reason":"stop"`, "[DONE]", false},
		{"tool", `{"model":"fake-tools","tools":[{"function":{"name":"weather"}}]}`, 200, `"name":"weather"`, "quick", false},
		{"tool, streamed", `{"model":"fake-tools","stream":true,"tools":[{"function":{"name":"weather"}}]}`, 200, `"finish_reason":"tool_calls"`, "quick", false},
		{"tool's result", `{"model":"fake-tools","tools":[{"function":{"name":"weather"}}],"messages":[{"role":"tool"}]}`, 200, "quick", "tool_calls", false},
		{"echo", `{"model":"fake-echo","strange":[1,2]}`, 200, `\"strange\":[1,2]`, "", false},
		{"every", `{"model":"x?usage=every","stream":true}`, 200, `"finish_reason":null}],"usage":{"prompt`, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer, cut := post(t, srv.URL+"/v1/chat/completions", c.body)
			if status != c.status || cut != c.cut || !strings.Contains(answer, c.has) || c.not != "" && strings.Contains(answer, c.not) {
				t.Errorf("status %d, cut %v:\n%s", status, cut, answer)
			}
		})
	}
	status, answer, _ := post(t, srv.URL+"/v1/embeddings", `{"model":"fake","input":["a","b"],"encoding_format":"base64"}`)
	if status != 200 || !strings.Contains(answer, `"index":1,"embedding":"`) || !strings.Contains(answer, `"prompt_tokens":20`) {
		t.Errorf("embeddings: %d %s", status, answer)
	}
	if got := s.Last().Path; got != "/v1/chat/completions" {
		t.Errorf("last call was %q", got)
	}
}

func TestFailsThenWorks(t *testing.T) {
	srv := httptest.NewServer(&Server{})
	defer srv.Close()
	var got []int
	for range 4 {
		status, _, _ := post(t, srv.URL+"/chat/completions", `{"model":"x?fail=2&status=503"}`)
		got = append(got, status)
	}
	if diff := cmp.Diff([]int{503, 503, 200, 200}, got); diff != "" {
		t.Error(diff)
	}
	req, err := http.NewRequest("PUT", srv.URL+"/control/models/fake", strings.NewReader("status=429"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 204 {
		t.Fatal(err, resp)
	}
	if status, _, _ := post(t, srv.URL+"/chat/completions", `{"model":"fake"}`); status != 429 {
		t.Errorf("status %d after it was set to 429", status)
	}
}

func TestKeysAndModels(t *testing.T) {
	srv := httptest.NewServer(&Server{Keys: []string{"right"}})
	defer srv.Close()
	for key, want := range map[string]int{"right": 200, "wrong": 401} {
		req, err := http.NewRequest("GET", srv.URL+"/v1/models", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", key, resp.StatusCode, want)
		}
	}
	for _, p := range Presets {
		if _, err := ParseSpec(p.Spec); err != nil {
			t.Errorf("preset %s: %v", p.Model, err)
		}
	}
}

func TestStallEndsWithTheCaller(t *testing.T) {
	s := &Server{}
	srv := httptest.NewServer(s)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", srv.URL+"/v1/chat/completions", strings.NewReader(`{"model":"fake-stall","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 500)); err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	srv.Close() // waits for the handler
	if got := s.Stats(); got != (Stats{Requests: 1, Cancelled: 1}) {
		t.Errorf("%+v", got)
	}
}

func FuzzScan(f *testing.F) {
	for _, seed := range []string{`{"model":"a","stream":true}`, ` { "x" : {"model":"\\\"b"} , "model" : "c\u0041" }`, `{"messages":[{"content":"\"model\":\"x\"}"}],"model":"d"}`, `{}`, `{"a":1.5e3,"model":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := scan(b)
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil || want == nil {
			return // no validation is promised
		}
		var model string
		if json.Unmarshal(want["model"], &model) != nil || strings.Count(string(b), `model`) != 1 {
			return // absent, of another type, or perhaps given twice
		}
		if !ok || got.model != model {
			t.Errorf("%q: model %q, %v; want %q", b, got.model, ok, model)
		}
	})
}

func BenchmarkWhole(b *testing.B) {
	s := &Server{}
	body := `{"model":"fake","messages":[{"role":"user","content":"` + strings.Repeat("word ", 80) + `"}]}`
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest("POST", "/v1/chat/completions", strings.NewReader(body))
		s.ServeHTTP(httptest.NewRecorder(), r)
	}
}
