package vision

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

// TestContract checks that the document lists the routes, all of them and no others, each with an example.
func TestContract(t *testing.T) {
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID          string `json:"operationId"`
			Summary     string `json:"summary"`
			Description string `json:"description"`
			Parameters  []struct {
				Name string `json:"name"`
				In   string `json:"in"`
			} `json:"parameters"`
			Body *struct {
				Content map[string]struct {
					Example json.RawMessage `json:"example"`
				} `json:"content"`
			} `json:"requestBody"`
			Responses map[string]json.RawMessage `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas   map[string]json.RawMessage `json:"schemas"`
			Responses map[string]json.RawMessage `json:"responses"`
		} `json:"components"`
	}
	if err := json.Unmarshal(Contract(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	var have, want []string
	for path, methods := range doc.Paths {
		for method, op := range methods {
			have = append(have, strings.ToUpper(method)+" "+path+" "+op.ID)
			if op.Summary == "" || op.Description == "" || len(op.Responses) == 0 {
				t.Errorf("%s lacks summary, description or responses", op.ID)
			}
			for _, p := range op.Parameters {
				if p.In == "path" && !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s: no %s in the path", op.ID, p.Name)
				}
			}
			if op.Body != nil && len(op.Body.Content["application/json"].Example) == 0 {
				t.Errorf("%s has no example", op.ID)
			}
			if (method == "post") != (op.Body != nil) {
				t.Errorf("%s: body", op.ID)
			}
		}
	}
	for _, r := range Routes() {
		want = append(want, r.Method+" "+r.Pattern+" "+r.Name)
	}
	slices.Sort(have)
	slices.Sort(want)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("routes (-routes +contract):\n%s", diff)
	}
	for _, part := range strings.Split(string(Contract()), `"$ref": "#/components/`)[1:] {
		kind, rest, _ := strings.Cut(part, "/")
		name, _, _ := strings.Cut(rest, `"`)
		if m := map[string]map[string]json.RawMessage{"schemas": doc.Components.Schemas, "responses": doc.Components.Responses}[kind]; m[name] == nil {
			t.Errorf("no %s %s", kind, name)
		}
	}
}

func TestRoutes(t *testing.T) {
	e := newEngine(t, Options{})
	for _, r := range Routes() {
		if e.handler(r.Name) == nil {
			t.Errorf("%s has no handler", r.Name)
		}
		if r.Meter != "" && r.Meter != engine.Images {
			t.Errorf("%s: meter %s", r.Name, r.Meter)
		}
	}
	if e.handler("vision.galleries.other") != nil || e.handler("other") != nil {
		t.Error("a handler for what is no route")
	}
}

func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		route, body string
		want        engine.Quantity
		err         bool
	}{
		{"vision.faces.verify", `{}`, 2000, false},
		{"vision.galleries.persons.create", `{"images":["a","b","c"]}`, 3000, false},
		{"vision.galleries.persons.create", `{"images":["a"],"image":"b"}`, 2000, false},
		{"vision.galleries.persons.create", `{}`, 1000, false},
		{"vision.galleries.persons.create", `{"images":7}`, 1000, false},
		{"vision.galleries.persons.create", `nonsense`, 0, true},
		{"images.generations", `{"prompt":"a"}`, 1000, false},
		{"images.generations", `{"prompt":"a","n":4}`, 4000, false},
		{"images.generations", `{"prompt":"a","n":11}`, 0, true},
		{"images.generations", `{"prompt":"a","n":-1}`, 0, true},
		{"images.generations", `{"prompt":""}`, 0, true},
	} {
		r := enginetest.Route(t, Routes(), c.route)
		got, err := r.Measure(&engine.Request{Route: r, Type: "application/json", Body: []byte(c.body)})
		if got != c.want || (err != nil) != c.err {
			t.Errorf("%s %s: %d, %v", c.route, c.body, got, err)
		}
	}
}
