package speech

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestContract compares the document with the routes.
func TestContract(t *testing.T) {
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct{ OperationID, Summary, Description string }
	}
	if err := json.Unmarshal(Contract(), &doc); err != nil {
		t.Fatal(err)
	}
	var said, real []string
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.Summary == "" || op.Description == "" {
				t.Errorf("%s %s is not described", method, path)
			}
			said = append(said, strings.ToUpper(method)+" "+path+" "+op.OperationID)
		}
	}
	for _, r := range Routes() {
		real = append(real, r.Method+" "+r.Pattern+" "+r.Name)
		if (r.Meter == "") != (r.Measure == nil) {
			t.Errorf("%s: a meter without a measure, or the other way round", r.Name)
		}
	}
	slices.Sort(said)
	slices.Sort(real)
	if d := cmp.Diff(real, said); d != "" || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Error(d)
	}
	for _, ref := range refs(string(Contract())) {
		if !strings.Contains(string(Contract()), `"`+ref+`": {`) {
			t.Errorf("no schema %s", ref)
		}
	}
}

func refs(doc string) (names []string) {
	for _, part := range strings.Split(doc, `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		names = append(names, name)
	}
	return names
}
