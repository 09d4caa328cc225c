package text

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// embedded takes an answer of ServeEmbeddings.
type embedded struct {
	status int
	bytes.Buffer
}

func (e *embedded) Header(status int, _ string) { e.status = status }
func (e *embedded) Write(p []byte) error        { _, err := e.Buffer.Write(p); return err }

func (e *embedded) decode(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(e.Bytes(), v); err != nil {
		t.Fatal(err)
	}
}

func TestServeEmbeddings(t *testing.T) {
	t.Parallel()
	for _, dir := range []engine.Dir{"", enginesDir(t)} {
		e, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		serve := func(body string) *embedded {
			w := &embedded{}
			if err := e.ServeEmbeddings(context.Background(), []byte(body), w); err != nil {
				t.Fatal(err)
			}
			return w
		}
		var a struct {
			Object, Model, Engine string
			Data                  []struct {
				Index     int
				Embedding []float64
			}
			Usage struct{ Prompt, Total int }
		}
		w := serve(`{"model":"vectors","input":["hello world","goodbye"],"dimensions":512}`)
		w.decode(t, &a)
		if w.status != 200 || len(a.Data) != 2 || len(a.Data[1].Embedding) != Dimensions || a.Model != "vectors" || a.Engine == "" {
			t.Errorf("%d %.200s", w.status, w.String())
		}
		if dir != "" {
			for body, want := range map[string]string{`"hello"`: "use-lite: ", `["怎么充值"]`: "hashed-ngrams: ", `["hello","怎么充值"]`: "use-lite+hashed-ngrams: "} {
				if serve(`{"model":"vectors","input":`+body+`}`).decode(t, &a); !strings.HasPrefix(a.Engine, want) {
					t.Errorf("%s: engine %q", body, a.Engine)
				}
			}
		}
		var p struct {
			Data []struct{ Embedding string }
		}
		serve(`{"model":"vectors","input":"hello","encoding_format":"base64"}`).decode(t, &p)
		if raw, err := base64.StdEncoding.DecodeString(p.Data[0].Embedding); err != nil || len(raw) != 4*Dimensions {
			t.Errorf("base64: %d bytes, %v", len(raw), err)
		}
		for body, want := range map[string]string{
			`{"model":"vectors","input":[1,2]}`:                                         "llm.token_ids",
			`{"model":"vectors","input":"x","dimensions":100}`:                          "text.dimensions",
			`{"model":"vectors","input":"x","encoding_format":"hex"}`:                   "llm.encoding_format",
			`{"model":"vectors","input":""}`:                                            "llm.empty_input",
			`{"model":"vectors","input":["x"," "]}`:                                     "llm.empty_input",
			`{"model":"vectors"}`:                                                       "",
			`{"model":"vectors","input":["` + strings.Repeat(`x","`, MaxInputs) + `"]}`: "llm.too_many_inputs",
		} {
			w := &embedded{}
			if err := e.ServeEmbeddings(context.Background(), []byte(body), w); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), want) || w.status != 0 {
				t.Errorf("%.60s: %v %s", body, err, w.String())
			}
		}
	}
}
