package text

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestContract: the document lists exactly the routes, by name, and refers to nothing that it lacks.
func TestContract(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			ID   string `json:"operationId"`
			Body *struct {
				Content map[string]struct {
					Example json.RawMessage `json:"example"`
				} `json:"content"`
			} `json:"requestBody"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]struct {
				Enum []string `json:"enum"`
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(Contract(), &doc); err != nil {
		t.Fatal(err)
	}
	var want, have []string
	for _, r := range Routes() {
		want = append(want, r.Method+" "+r.Pattern+" "+r.Name)
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			have = append(have, strings.ToUpper(method)+" "+path+" "+op.ID)
		}
	}
	slices.Sort(want)
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("contract and routes differ:\n%s\n\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	for _, m := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllSubmatch(Contract(), -1) {
		if _, ok := doc.Components.Schemas[string(m[1])]; !ok {
			t.Errorf("no schema %s", m[1])
		}
	}
	if !slices.Equal(doc.Components.Schemas["EntityType"].Enum, entityTypes) {
		t.Errorf("types of entities differ: %v", doc.Components.Schemas["EntityType"].Enum)
	}
}
