package translate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine"
)

func TestContractListsRoutes(t *testing.T) {
	var doc struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			ID        string         `json:"operationId"`
			Responses map[string]any `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(Contract(), &doc); err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for path, ops := range doc.Paths {
		for method, op := range ops {
			have = append(have, strings.ToUpper(method)+" "+path+" "+op.ID)
			if op.Responses["default"] == nil {
				t.Errorf("%s %s describes no error", method, path)
			}
		}
	}
	names := map[string]bool{}
	for _, r := range Routes() {
		want = append(want, r.Method+" "+r.Pattern+" "+r.Name)
		if names[r.Name] {
			t.Errorf("two routes are named %s", r.Name)
		}
		names[r.Name] = true
		if (r.Meter != "") != (r.Measure != nil) || r.Capability != engine.Translate {
			t.Errorf("%s: meter %q without a measure, or the reverse", r.Name, r.Meter)
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("the contract differs from the routes (-routes +contract):\n%s", d)
	}
	for _, m := range strings.Split(string(Contract()), `"#/components/schemas/`)[1:] {
		if name, _, _ := strings.Cut(m, `"`); doc.Components.Schemas[name] == nil {
			t.Errorf("schema %s is missing", name)
		}
	}
}
