package task_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
	"github.com/tollgate-io/tollgate/internal/engine/text"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/engine/vision"
	"github.com/tollgate-io/tollgate/internal/llm/task"
)

// document is as much of an OpenAPI document as the test reads.
type document struct {
	Paths map[string]map[string]struct {
		ID        string `json:"operationId"`
		Responses map[string]struct {
			Content map[string]struct{ Schema schema }
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Required   []string
	Properties map[string]schema
	Items      *schema
	AllOf      []schema
	Enum       []any
	Minimum    *float64
	Maximum    *float64
}

// TestAnswersKeepTheContract: the answers of larger models are what the engines' own OpenAPI documents promise.
func TestAnswersKeepTheContract(t *testing.T) {
	docs := map[string]*document{}
	for family, raw := range map[string][]byte{"translate": translate.Contract(), "text": text.Contract(), "vision": vision.Contract()} {
		docs[family] = &document{}
		if err := json.Unmarshal(raw, docs[family]); err != nil {
			t.Fatal(family, err)
		}
	}
	// What a model that answers in text cannot tell.
	allowed := []string{`box is missing`, `polygon is missing`, `quality: "model" is not one of`, `source: "model" is not one of`, `ignored[0]: "memory" is not one of`}
	fake := &fakeupstream.Server{}
	srv := httptest.NewServer(fake)
	defer srv.Close()
	for _, c := range []struct{ op, body, answer string }{
		{"translate.text", `{"text":"a","target":"de","memory":{"use":true}}`, `{"translations":[{"n":1,"source":"en","text":"b"}]}`},
		{"translate.plain", `{"text":"a","sourceLanguage":"en","targetLanguage":"de"}`, `["b"]`},
		{"translate.libre.translate", `{"q":["a"],"source":"auto","target":"de"}`, `["b"]`},
		{"translate.deepl.translate", `{"text":["a"],"target_lang":"DE"}`, `["b"]`},
		{"text.classify", `{"text":"a","labels":["x","y"]}`, `{"label":"x","confidence":0.5}`},
		{"text.sentiment", `{"text":"a","find_aspects":true}`, `{"sentiment":"mixed","score":-0.5,"confidence":1,"aspects":[{"aspect":"a","sentiment":"negative","score":-1,"confidence":1,"mentions":["a"]}]}`},
		{"text.summarise", `{"text":"a"}`, `{"summary":"b"}`},
		{"text.keywords", `{"text":"a"}`, `{"keywords":[{"keyword":"a","score":0.5}]}`},
		{"text.entities", `{"text":"Ann"}`, `{"entities":[{"text":"Ann","type":"person","confidence":1}]}`},
		{"text.language", `{"text":"a"}`, `{"label":"und","confidence":0.1}`},
		{"text.generate", `{"prompt":"a"}`, `b`},
		{"text.dialogue", `{"messages":[{"role":"user","text":"a"}]}`, `b`},
		{"vision.classify", `{"image":"IMAGE"}`, `{"label":"cat","confidence":0.5}`},
		{"vision.detect", `{"image":"IMAGE"}`, `{"objects":[{"label":"cat","confidence":0.5,"box":{"x":0,"y":0,"width":1,"height":1}}]}`},
		{"vision.ocr", `{"image":"IMAGE"}`, `{"lines":[{"text":"a","confidence":1}]}`},
	} {
		t.Run(c.op, func(t *testing.T) {
			fake.Script(fakeupstream.Rule{Answer: c.answer})
			call := &task.Call{Operation: c.op, Body: []byte(strings.ReplaceAll(c.body, "IMAGE", sample(t))), Model: "large"}
			got, _, err := round(t, srv.URL+"/v1", task.Chat, call)
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal([]byte(got), &v); err != nil {
				t.Fatal(err)
			}
			family, _, _ := strings.Cut(c.op, ".")
			d := docs[family]
			s, ok := d.answer(c.op)
			if !ok {
				t.Fatalf("the contract has no operation %s with a JSON answer", c.op)
			}
			for _, fault := range d.check(s, v, "") {
				if !slices.ContainsFunc(allowed, func(a string) bool { return strings.Contains(fault, a) }) {
					t.Errorf("%s in %s", fault, got)
				}
			}
		})
	}
}

// answer is the schema of an operation's JSON answer.
func (d *document) answer(id string) (schema, bool) {
	for _, methods := range d.Paths {
		for _, op := range methods {
			if c, ok := op.Responses["200"].Content["application/json"]; ok && op.ID == id {
				return c.Schema, true
			}
		}
	}
	return schema{}, false
}

// check lists where a value is not what a schema says.
func (d *document) check(s schema, v any, at string) (faults []string) {
	if s.Ref != "" {
		return d.check(d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")], v, at)
	}
	for _, part := range s.AllOf {
		faults = append(faults, d.check(part, v, at)...)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		faults = append(faults, fmt.Sprintf("%s: %q is not one of %v", at, v, s.Enum))
	}
	kind := "null"
	switch v := v.(type) {
	case map[string]any:
		kind = "object"
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				faults = append(faults, at+"."+name+" is missing")
			}
		}
		for name, value := range v {
			if p, ok := s.Properties[name]; ok {
				faults = append(faults, d.check(p, value, at+"."+name)...)
			}
		}
	case []any:
		kind = "array"
		for i, value := range v {
			if s.Items != nil {
				faults = append(faults, d.check(*s.Items, value, fmt.Sprintf("%s[%d]", at, i))...)
			}
		}
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		kind = "number"
		if s.Type == "integer" && v == float64(int(v)) {
			kind = "integer"
		}
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			faults = append(faults, fmt.Sprintf("%s: %v is out of range", at, v))
		}
	}
	if want, ok := s.Type.(string); ok && want != kind {
		faults = append(faults, fmt.Sprintf("%s is a JSON %s, not %s", at, kind, want))
	}
	return faults
}
