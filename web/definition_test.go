package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/catalog"
)

const sampleDefinition = `
openapi: 3.1.0
info: {title: Weather, version: 2, description: Tells it.}
servers: [{url: /svc/acme/weather/}]
paths:
  /places/{id}:
    parameters:
      - {name: id, in: path, required: true, schema: {type: string, maxLength: 20}}
    get:
      summary: A place
      parameters:
        - $ref: '#/components/parameters/unit'
      responses:
        200:
          description: Found
          content:
            application/json: {schema: {$ref: '#/components/schemas/Place'}}
        404: {description: Not there}
    delete: {deprecated: true, responses: {}}
  /places:
    post:
      requestBody:
        content:
          text/plain: {schema: {type: string}}
          application/json:
            schema:
              allOf:
                - $ref: '#/components/schemas/Place'
                - {type: object, required: [kind], properties: {kind: {enum: [town, river]}, size: {oneOf: [{type: integer, minimum: 1}, {type: string, format: byte}, {$ref: '#/nowhere'}]}}}
components:
  parameters:
    unit: {name: unit, in: query, description: Of the figures., schema: {type: [string, "null"], default: metric}}
  schemas:
    Place:
      type: object
      required: [name]
      properties:
        name: {type: string, description: As it is called., examples: [Ulm]}
        near: {type: array, items: {$ref: '#/components/schemas/Place'}}
`

func TestReadDocument(t *testing.T) {
	d, err := readDocument(sampleDefinition)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	fields := func(fs []field) {
		for _, f := range fs {
			line := fmt.Sprintf("  %s %s %s", f.In, f.Name, f.Type)
			if f.Required {
				line += " required"
			}
			for _, r := range f.Rules {
				line += fmt.Sprintf(" %s=%s", r.Key, r.Value)
			}
			got = append(got, strings.TrimRight(line+" "+f.About, " "))
		}
	}
	for _, o := range d.Operations {
		got = append(got, fmt.Sprintf("%s %s %s %s %v", o.Method, o.Path, o.Summary, o.Body, o.Deprecated))
		fields(o.Fields)
		for _, a := range o.Answers {
			got = append(got, fmt.Sprintf(" %s %s %s %s %d", a.Class(), a.Status, a.About, a.Types, len(a.Fields)))
		}
	}
	want := []string{
		"POST /svc/acme/weather/places  application/json, text/plain false",
		`   name string required examples="Ulm" As it is called.`,
		"   near object[]",
		"   near[].name string required examples=\"Ulm\" As it is called.",
		"   near[].near object[]",
		"   near[].near[].name string required examples=\"Ulm\" As it is called.",
		"   near[].near[].near object[]",
		"   near[].near[].near[].name string required examples=\"Ulm\" As it is called.",
		"   near[].near[].near[].near object[]",
		`   kind any required enum="town", "river"`,
		"   size integer | string (byte) | any",
		"GET /svc/acme/weather/places/{id} A place  false",
		"  path id string required maxLength=20",
		`  query unit string | null default="metric" Of the figures.`,
		" c2 200 Found application/json 10",
		" c4 404 Not there  0",
		"DELETE /svc/acme/weather/places/{id}   true",
		"  path id string required maxLength=20",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Title != "Weather" || d.Version != "2" || d.Description != "Tells it." || d.Cut {
		t.Errorf("%+v", d)
	}
}

// TestHugeDocuments: what a provider can state must not hold up the page.
func TestHugeDocuments(t *testing.T) {
	schema := func(s string) string {
		return `{"openapi":"3.1.0","info":{"title":"x"},"paths":{"/x":{"post":{"requestBody":{"content":{"application/json":{"schema":` + s + `}}}}}},"components":{"schemas":{"S":` + s + `}}}`
	}
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"f%d":{"$ref":"#/components/schemas/S"},`, i)
		}
		return `{"type":"object","properties":{` + strings.TrimSuffix(b.String(), ",") + `}}`
	}
	many := func(item string, n int) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	for name, text := range map[string]string{
		"one that contains itself": schema(wide(50)),
		"very wide":                schema(wide(20_000)),
		"all of itself":            schema(`{"allOf":[` + many(`{"$ref":"#/components/schemas/S"}`, 1000) + `]}`),
		"any of itself":            schema(`{"anyOf":[` + many(`{"$ref":"#/components/schemas/S"}`, 1000) + `]}`),
		"a circle of references":   `{"paths":{"/x":{"$ref":"#/paths/~1x"}}}`,
		"many paths": `{"paths":{` + strings.TrimSuffix(func() (s string) {
			var b strings.Builder
			for i := range 5000 {
				fmt.Fprintf(&b, `"/%d":{"get":{}},`, i)
			}
			return b.String()
		}(), ",") + `}}`,
		"deep": `{"paths":` + strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000) + `}`,
	} {
		begun := time.Now()
		d, err := readDocument(text)
		if took := time.Since(begun); took > 30*time.Second { // a fraction of a second, if the machine has nothing else to do
			t.Errorf("%s took %s", name, took)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		n := 0
		for _, o := range d.Operations {
			n += len(o.Fields)
		}
		if len(d.Operations) > maxOperations || n > maxFields {
			t.Errorf("%s: %d operations, %d fields", name, len(d.Operations), n)
		}
	}
	for _, text := range []string{"a: [&x [*x]]", "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e]\n"} {
		// Whether it is read or refused, it ends.
		if d, err := readDocument(text); err == nil && len(d.Operations) > 0 {
			t.Errorf("operations in %s", text)
		}
	}
}

func TestDefinitionFollowsTheProduct(t *testing.T) {
	w := newWorld(t)
	acme := w.provider("acme")
	in := catalog.ProductInput{Name: "p", Model: "p", Definition: sampleDefinition}
	p := w.sell(acme, in, plainCard, remote)
	for range 2 {
		w.holds(w.page("/products/acme/p"), "/svc/acme/weather/places")
	}
	in.Definition = strings.ReplaceAll(sampleDefinition, "weather", "climate")
	must(w.goods.UpdateProduct(w.ctx, w.who, p.ID, catalog.Any, in))
	w.holds(w.page("/products/acme/p"), "/svc/acme/climate/places")
	rec := w.get("/products/acme/p/definition")
	if rec.Header().Get("Content-Type") != "text/plain; charset=utf-8" || rec.Body.String() != in.Definition {
		t.Errorf("YAML: %v", rec.Header())
	}
}

func FuzzReadDocument(f *testing.F) {
	f.Add(sampleDefinition)
	f.Add(`{"paths":{"/x":{"get":{"parameters":[1,{"schema":{"type":[1]}}],"responses":{"":[]}}}}}`)
	f.Add("paths: {/x: &a {get: {requestBody: *a}}}")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := readDocument(text)
		if err != nil {
			return
		}
		for _, o := range d.Operations {
			for _, a := range o.Answers {
				a.Class()
			}
		}
	})
}

func TestHighlight(t *testing.T) {
	for _, set := range append(samples(publicURL, "m", catalog.Capabilities...), samples(publicURL, `a"b'c\d`, catalog.Capabilities...)...) {
		for _, s := range set.Samples {
			var whole strings.Builder
			for _, p := range highlight(s.Code) {
				whole.WriteString(p.Text)
			}
			if whole.String() != s.Code {
				t.Errorf("%s in %s: highlighting changes the code", set.Of, s.Name)
			}
		}
	}
}

func TestSamplesQuote(t *testing.T) {
	for _, set := range samples(publicURL, `it's "so"`, catalog.Chat, catalog.Vision) {
		code := set.Samples
		if set.Of == catalog.Vision {
			if !strings.Contains(code[0].Code, `--form-string 'model=it'\''s "so"'`) {
				t.Error(code[0].Code)
			}
			continue
		}
		if !strings.Contains(code[0].Code, `"model": "it'\''s \"so\""`) || !strings.Contains(code[1].Code, `model="it's \"so\""`) {
			t.Errorf("%s\n%s", code[0].Code, code[1].Code)
		}
	}
}
