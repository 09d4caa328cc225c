package text

import (
	"context"
	"os"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// TestEvaluate: what Go alone can do reaches its floors on data that the tree carries. TOLLGATE_TEST_DATA names a folder with
// banking77 and Tatoeba, and is measured, too.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	o := EvalOptions{Seed: 1, Data: os.Getenv("TOLLGATE_TEST_DATA")}
	if o.Data != "" {
		o.Dir = enginesDir(t)
	}
	reports, err := Evaluate(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string]bool{}
	for _, r := range reports {
		tasks[r.Task] = true
		if below := r.Below(); below != nil {
			t.Errorf("%s by %s: %v; %s", r.Task, r.Engine, below, r.Note)
		}
		if r.Samples == 0 || len(r.Figures) == 0 || r.Family != "text" {
			t.Errorf("an empty report: %+v", r)
		}
	}
	if len(tasks) != 4 {
		t.Errorf("tasks: %v", tasks)
	}
	if _, err := Evaluate(context.Background(), EvalOptions{Data: t.TempDir()}); err == nil {
		t.Error("a folder without data is no error")
	}
}

// TestLanguagesWithModel: the model reaches its floor, too.
func TestLanguagesWithModel(t *testing.T) {
	t.Parallel()
	reports, err := evaluateLanguages(context.Background(), EvalOptions{Dir: enginesDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	if reports[0].Engine != "fasttext" || reports[0].Below() != nil {
		t.Errorf("%+v", reports[0])
	}
}

// TestStoredReport: the figures that the catalogue shows are above their floors.
func TestStoredReport(t *testing.T) {
	t.Parallel()
	all, err := engine.Reports()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		if r.Family != "text" {
			continue
		}
		n++
		if below := r.Below(); below != nil || r.Date == "" {
			t.Errorf("%s: %v, date %q", r.Task, below, r.Date)
		}
	}
	if n == 0 {
		t.Error("no report is stored")
	}
}
