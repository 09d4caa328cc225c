package openai

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestEmbeddings(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Embeddings{
		`{"model":"m","input":"a"}`: {Model: "m", Inputs: []string{"a"}},
		`{"model":"m","input":["a","b"],"dimensions":8,"encoding_format":"base64","user":"u"}`: {Model: "m", Inputs: []string{"a", "b"}, Dimensions: 8, Base64: true},
	} {
		e, err := ParseEmbeddings([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if e.Model != want.Model || strings.Join(e.Inputs, "|") != strings.Join(want.Inputs, "|") || e.Dimensions != want.Dimensions || e.Base64 != want.Base64 {
			t.Errorf("%s: %+v", body, e)
		}
		data, err := e.Answer("some", [][]float32{{0.1, -1}, {0, 3}}[:len(e.Inputs)], 0)
		if err != nil {
			t.Fatal(err)
		}
		var a struct {
			Engine string
			Data   []struct {
				Index     int
				Embedding json.RawMessage
			}
			Usage struct {
				Prompt int `json:"prompt_tokens"`
			}
		}
		if err := json.Unmarshal(data, &a); err != nil || len(a.Data) != len(e.Inputs) || a.Engine != "some" || a.Usage.Prompt != 1 {
			t.Fatalf("%s: %v", data, err)
		}
		if !e.Base64 {
			if string(a.Data[0].Embedding) != "[0.1,-1]" {
				t.Errorf("%s", a.Data[0].Embedding)
			}
			continue
		}
		var packed string
		if err := json.Unmarshal(a.Data[1].Embedding, &packed); err != nil {
			t.Fatal(err)
		}
		if raw, err := base64.StdEncoding.DecodeString(packed); err != nil || len(raw) != 8 || raw[7] != 0x40 {
			t.Errorf("%x %v", raw, err)
		}
	}
}

func TestEmbeddingsRefused(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"model":"m"}`:                                                        "llm.field_missing",
		`{"model":"m","input":[]}`:                                             "llm.type_input",
		`{"model":"m","input":""}`:                                             "llm.empty_input",
		`{"model":"m","input":["a"," \n"]}`:                                    "llm.empty_input",
		`{"model":"m","input":[1]}`:                                            "llm.token_ids",
		`{"model":"m","input":"a","dimensions":0}`:                             "llm.field_range",
		`{"model":"m","input":"a","dimensions":"8"}`:                           "llm.type_field",
		`{"model":"m","input":"a","encoding_format":"int8"}`:                   "llm.encoding_format",
		`{"model":"m","input":["a"` + strings.Repeat(`,"a"`, MaxInputs) + `]}`: "llm.too_many_inputs",
	} {
		if _, err := ParseEmbeddings([]byte(body)); problem.As(err).ID != want {
			t.Errorf("%.60s: %v, want %s", body, err, want)
		}
	}
}
