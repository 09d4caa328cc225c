package assist_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine/assist"
)

// TestContract holds the document against the routes, and its references against its schemas.
func TestContract(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			ID         string `json:"operationId"`
			Parameters []struct{ Name, In string }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(assist.Contract(), &doc); err != nil {
		t.Fatal(err)
	}
	var documented, served []string
	for path, ops := range doc.Paths {
		for method, op := range ops {
			documented = append(documented, strings.ToUpper(method)+" "+path+" "+op.ID)
			for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				if !slices.ContainsFunc(op.Parameters, func(p struct{ Name, In string }) bool { return p.Name == m[1] && p.In == "path" }) {
					t.Errorf("%s: no parameter %s", op.ID, m[1])
				}
			}
		}
	}
	for _, r := range assist.Routes() {
		served = append(served, r.Method+" "+r.Pattern+" "+r.Name)
		if strings.HasPrefix(r.Name, "assist.desk.") && r.Public {
			t.Errorf("%s is public", r.Name)
		}
		if strings.HasPrefix(r.Name, "assist.sessions.") != (r.Public && !r.Socket) {
			t.Errorf("%s: public is %v", r.Name, r.Public)
		}
	}
	slices.Sort(documented)
	slices.Sort(served)
	if diff := cmp.Diff(served, documented); diff != "" {
		t.Error(diff)
	}
	for _, m := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(string(assist.Contract()), -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("no schema %s", m[1])
		}
	}
}
