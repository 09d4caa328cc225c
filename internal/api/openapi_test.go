package api

import (
	"encoding/json"
	"flag"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// document reads the OpenAPI document as a client does.
func document(t *testing.T) map[string]any {
	t.Helper()
	b := newBench(t, dbtest.SQLite(t, tables))
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/api/openapi.json", nil))
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/openapi+json" {
		t.Fatal(w.Code, w.Header())
	}
	var doc map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocument(t *testing.T) {
	doc := document(t)
	if v, _ := doc["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi: %q", v)
	}
	var ids []string
	for path, item := range fieldsOf(t, doc["paths"]) {
		for method, v := range fieldsOf(t, item) {
			op := fieldsOf(t, v)
			id, _ := op["operationId"].(string)
			ids = append(ids, id+"  "+strings.ToUpper(method)+" "+path)
			if summary, _ := op["summary"].(string); id == "" || summary == "" {
				t.Errorf("%s %s has no operationId or no summary", method, path)
			}
			ok, failures := 0, 0
			for status := range fieldsOf(t, op["responses"]) {
				if status[0] == '2' {
					ok++
				} else {
					failures++
				}
			}
			if ok != 1 || failures < 3 {
				t.Errorf("%s: %d good responses, %d errors", id, ok, failures)
			}
			declared := map[string]bool{}
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				m := fieldsOf(t, p)
				if m["in"] == "path" {
					name, _ := m["name"].(string)
					declared[name] = true
				}
			}
			for part := range strings.SplitSeq(path, "/") {
				if name, isParam := strings.CutPrefix(part, "{"); isParam && !declared[strings.TrimSuffix(name, "}")] {
					t.Errorf("%s: the path parameter %s is not declared", id, part)
				}
			}
		}
	}
	slices.Sort(ids)
	for i := 1; i < len(ids); i++ {
		if a, _, _ := strings.Cut(ids[i-1], " "); strings.HasPrefix(ids[i], a+" ") {
			t.Errorf("operationId %s appears twice", a)
		}
	}
	got := strings.Join(ids, "\n") + "\n"
	const golden = "testdata/operations.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("operations changed (go test -update to accept):\n%s", diff)
	}
}

// TestReferences resolves every $ref, and looks for what no client should meet.
func TestReferences(t *testing.T) {
	doc := document(t)
	schemas := fieldsOf(t, fieldsOf(t, doc["components"])["schemas"])
	for name := range schemas {
		if name == "ErrorModel" || strings.ContainsAny(name, "[]./ ") {
			t.Errorf("a schema is named %q", name)
		}
	}
	used := map[string]bool{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				used[ref] = true
				if resolve(doc, ref) == nil {
					t.Errorf("%s: %s leads nowhere", at, ref)
				}
			}
			if kinds, ok := v["type"].([]any); ok && slices.Contains(kinds, any("array")) {
				t.Errorf("%s: an array that may be null", at)
			}
			for k, x := range v {
				walk(at+"/"+k, x)
			}
		case []any:
			for _, x := range v {
				walk(at, x)
			}
		}
	}
	walk("", doc)
	for name := range schemas {
		if !used["#/components/schemas/"+name] {
			t.Errorf("the schema %s is not used", name)
		}
	}
}

func resolve(doc any, ref string) any {
	at := doc
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[part]
	}
	return at
}

func fieldsOf(t *testing.T, v any) map[string]any {
	t.Helper()
	m, ok := v.(map[string]any)
	if !ok {
		t.Fatalf("not an object: %v", v)
	}
	return m
}
