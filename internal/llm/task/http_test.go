package task_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
	"github.com/tollgate-io/tollgate/internal/llm/task"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// round makes a call of a contract through an upstream at base.
func round(t *testing.T, base string, p task.Protocol, c *task.Call) (string, map[string]int64, error) {
	t.Helper()
	path, body, err := task.Encode(p, c)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(base+path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s %v", resp.StatusCode, answer, err)
	}
	got, usage, err := task.Decode(p, c, answer)
	return string(got), usage, err
}

func sample(t *testing.T) string {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 100, 50))); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// TestOverHTTP serves contracts from servers of each protocol.
func TestOverHTTP(t *testing.T) {
	fake := &fakeupstream.Server{}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	fake.Script(
		fakeupstream.Rule{Contains: []string{"translator", "into the language de", ">\nGood night\n</"}, Answer: "```json\n{\"translations\":[{\"n\":1,\"text\":\"Gute Nacht\"}]}\n```"},
		fakeupstream.Rule{Contains: []string{"You classify", `["urgent","later"]`, "The house is on fire"}, Answer: `{"items":[{"n":1,"labels":[{"label":"urgent","confidence":0.98}]}]}`},
		fakeupstream.Rule{Contains: []string{"read the text in a picture", "data:image/png;base64,"}, Answer: `{"lines":["EXIT"]}`},
		fakeupstream.Rule{Contains: []string{"Tell me a joke"}, Answer: "Knock, knock."},
	)
	for _, c := range []struct {
		name, op, body string
		protocol       task.Protocol
		base           string
		has            []string
	}{
		{"translate, chat", "translate.text", `{"text":"Good night","source":"en","target":"de"}`, task.Chat, "/v1", []string{`"text":"Gute Nacht"`, `"engine":"upstream"`, `"quality":"model"`}},
		{"translate, inference", "translate.text", `{"texts":["Good night","Bye"],"source":"en","target":"de"}`, task.KServe, "", []string{`"text":"[de] Good night"`, `"text":"[de] Bye"`}},
		{"translate, flask", "translate.text", `{"text":"Good night","source":"en","target":"de"}`, task.Flask, "", []string{`"text":"[de] Good night"`}},
		{"plain, flask", "translate.plain", `{"text":"Good night","sourceLanguage":"en","targetLanguage":"de"}`, task.Flask, "", []string{`{"translation":"[de] Good night"`}},
		{"plain, chat", "translate.plain", `{"text":"Good night","sourceLanguage":"en","targetLanguage":"de"}`, task.Chat, "/v1", []string{`{"translation":"Gute Nacht"`}},
		{"classify, chat", "text.classify", `{"text":"The house is on fire","labels":["urgent","later"]}`, task.Chat, "/v1", []string{`"label":"urgent"`, `0.98`}},
		{"classify, inference", "text.classify", `{"text":"The house is on fire","labels":["urgent","later"]}`, task.KServe, "", []string{`"label":"urgent"`, `0.9`}},
		{"sentiment, inference", "text.sentiment", `{"text":"Lovely"}`, task.KServe, "", []string{`"sentiment":"positive"`}},
		{"language, inference", "text.language", `{"text":"Hello"}`, task.KServe, "", []string{`"en"`}},
		{"generate, chat", "text.generate", `{"prompt":"Tell me a joke"}`, task.Chat, "/v1", []string{"Knock, knock."}},
		{"generate, inference", "text.generate", `{"prompt":"Tell me a joke"}`, task.KServe, "", []string{"Tell me a joke"}},
		{"ocr, chat", "vision.ocr", `{"image":"IMAGE"}`, task.Chat, "/v1", []string{`"text":"EXIT"`}},
		{"detect, inference", "vision.detect", `{"image":"IMAGE"}`, task.KServe, "", []string{`"label":"cat"`, `"x":10,"y":10,"width":50,"height":30`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := &task.Call{Operation: c.op, Body: []byte(strings.ReplaceAll(c.body, "IMAGE", sample(t))), Model: "large"}
			got, usage, err := round(t, srv.URL+c.base, c.protocol, call)
			if err != nil || !json.Valid([]byte(got)) {
				t.Fatal(got, err)
			}
			for _, has := range c.has {
				if !strings.Contains(got, has) {
					t.Errorf("no %s in %s", has, got)
				}
			}
			if c.protocol == task.Chat && usage["prompt_tokens"] != 10 {
				t.Errorf("usage %v", usage)
			}
		})
	}
	// A model that answers what it was not asked for is a failure of the upstream.
	call := &task.Call{Operation: "translate.text", Body: []byte(`{"text":"Something else","target":"de"}`), Model: "large"}
	if got, _, err := round(t, srv.URL+"/v1", task.Chat, call); !problem.Is(err, problem.Upstream) {
		t.Error(got, err)
	}
}
