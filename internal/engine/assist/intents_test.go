package assist

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// TestLearned: many examples get their vectors behind the turn, few at once; what fails or panics there leaves words and the classifier.
func TestLearned(t *testing.T) {
	ctx := context.Background()
	sealer, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	d := dbtest.Open(t, dbtest.SQLiteDSN(t), db.Options{}, []db.Migrations{Migrations})
	examples := func(n int) [][]string {
		out := make([][]string, 2)
		for l := range out {
			for i := range n {
				out[l] = append(out[l], fmt.Sprintf("label %d example %d", l, i))
			}
		}
		return out
	}
	vectors := func(_ context.Context, texts []string) ([][]float32, error) {
		out := make([][]float32, len(texts))
		for i := range out {
			out[i] = []float32{1, float32(len(texts[i]))}
		}
		return out, nil
	}
	broken := func(context.Context, []string) ([][]float32, error) { panic("ouch") }
	trained := func(context.Context, []string, []string) (Classify, error) {
		return func(string) []Score { return []Score{{"a", 1}} }, nil
	}
	for _, c := range []struct {
		name                  string
		each                  int
		embed                 func(context.Context, []string) ([][]float32, error)
		first, after, trained bool
	}{
		{"few", 3, vectors, true, true, false},
		{"some", 30, vectors, true, true, true},
		{"more", 38 * 3 / 2, vectors, false, false, true},
		{"none", 30, nil, false, false, true},
	} {
		e, err := New(Options{DB: d, Sealer: sealer, Embed: c.embed, Train: trained})
		if err != nil {
			t.Fatal(err)
		}
		u, err := e.learned(ctx, c.name, 1, []string{"a", "b"}, examples(c.each))
		if err != nil || u.embedded != c.first || (u.classify != nil) != c.trained {
			t.Errorf("%s: %v %v %v", c.name, u.embedded, u.classify != nil, err)
		}
		e.work.Wait()
		if u := e.minds.get(c.name, 1); u.embedded != c.after {
			t.Errorf("%s: afterwards %v", c.name, u.embedded)
		}
	}
	labels, many := []string{"a", "b", "c", "d"}, append(examples(30), examples(30)...)
	for _, c := range []struct {
		embed func(context.Context, []string) ([][]float32, error)
		after bool
	}{{vectors, true}, {broken, false}} {
		e, err := New(Options{DB: d, Sealer: sealer, Embed: c.embed, Train: trained})
		if err != nil {
			t.Fatal(err)
		}
		u, err := e.learned(ctx, "many", 1, labels, many)
		if err != nil || u.embedded || u.classify == nil {
			t.Errorf("many: %v %v", u, err)
		}
		e.work.Wait()
		if u := e.minds.get("many", 1); u == nil || u.embedded != c.after || len(u.rank("label 1 example 2", nil)) == 0 {
			t.Errorf("many, afterwards: %v", u)
		}
	}
}

// TestDeepen: one worker makes vectors, with the classifier there is; what is superseded or evicted is given up, and nothing old displaces what is newer.
func TestDeepen(t *testing.T) {
	sealer, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	d := dbtest.Open(t, dbtest.SQLiteDSN(t), db.Options{}, []db.Migrations{Migrations})
	labels, examples := []string{"a", "b", "c", "d"}, make([][]string, 4)
	for l := range examples {
		for i := range 30 {
			examples[l] = append(examples[l], fmt.Sprintf("label %d example %d", l, i))
		}
	}
	var trainings, running, batches atomic.Int32
	began, goOn := make(chan struct{}, 100), make(chan struct{})
	e, err := New(Options{DB: d, Sealer: sealer,
		Train: func(context.Context, []string, []string) (Classify, error) {
			trainings.Add(1)
			return func(string) []Score { return []Score{{"a", 1}} }, nil
		},
		Embed: func(_ context.Context, texts []string) ([][]float32, error) {
			if running.Add(1) > 1 {
				t.Error("two at the same time")
			}
			defer running.Add(-1)
			batches.Add(1)
			began <- struct{}{}
			<-goOn
			out := make([][]float32, len(texts))
			for i := range out {
				out[i] = []float32{1, float32(i)}
			}
			return out, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	turn := func(of string, version int64) {
		t.Helper()
		if _, err := e.learned(t.Context(), of, version, labels, examples); err != nil {
			t.Fatal(err)
		}
	}
	turn("bot", 1)
	<-began
	for v := int64(2); v <= 9; v++ {
		turn("bot", v)
	}
	turn("bot", 3) // a turn that began before the last edits
	turn("other", 1)
	for n := range maxMinds - 1 {
		turn(fmt.Sprint("crowd ", n), 1)
	}
	turn("bot", 9) // evicted; learned again
	e.minds.mu.Lock()
	for i := range e.minds.kept {
		if of := e.minds.kept[i].of; of != "bot" && of != "other" {
			e.minds.kept[i].later = nil
		}
	}
	e.minds.mu.Unlock()
	learnings := trainings.Load()
	close(goOn)
	e.work.Wait()
	each := int32((120 + embedBatch - 1) / embedBatch)
	if got := batches.Load(); got != 1+each {
		t.Errorf("%d batches", got)
	}
	if u := e.minds.get("bot", 9); u == nil || !u.embedded || u.classify == nil || trainings.Load() != learnings {
		t.Errorf("%+v, %d trainings instead of %d", u != nil, trainings.Load(), learnings)
	}
	e.minds.put(mind{of: "bot", version: 8, what: &understanding{}})
	if e.minds.get("bot", 9) == nil || e.minds.get("bot", 8) != nil {
		t.Error("an old version displaced a newer one")
	}
}
