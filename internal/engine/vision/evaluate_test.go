package vision

import (
	"encoding/json"
	"os"
	"testing"
)

// TestEvaluate holds the floors; where there is no engines directory, of what works with Go alone. With TOLLGATE_REPORT set it
// writes the reports to that file.
func TestEvaluate(t *testing.T) {
	start, least := neural, 10
	if os.Getenv("TOLLGATE_ENGINES") == "" && os.Getenv("TOLLGATE_TEST_REQUIRE") != "1" {
		start, least = newEngine, 3
	}
	o := EvaluateOptions{Engine: start(t, Options{}), Date: "2026-11-23", Runs: -1}
	if os.Getenv("TOLLGATE_REPORT") != "" {
		o.Runs = 10
	}
	reports, err := Evaluate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		for _, f := range r.Figures {
			t.Logf("%s, %s: %s %g %s", r.Task, r.Engine, f.Name, f.Value, f.Unit)
		}
		for _, b := range r.Below() {
			t.Errorf("%s, %s: %s", r.Task, r.Engine, b)
		}
	}
	if len(reports) < least {
		t.Errorf("%d reports", len(reports))
	}
	if path := os.Getenv("TOLLGATE_REPORT"); path != "" {
		data, err := json.MarshalIndent(reports, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
