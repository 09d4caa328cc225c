package recommend

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"pgregory.net/rapid"
)

// TestCompare checks against figures computed with the normal distribution of Python's statistics module.
func TestCompare(t *testing.T) {
	tests := []struct {
		k0, n0, k, n            int64
		z, p, low, high, uplift float64
		significant, enough     bool
	}{
		{100, 1000, 150, 1000, 3.380617, 0.000723, 0.021095, 0.078905, 0.5, true, true},
		{50, 500, 55, 500, 0.515779, 0.606009, -0.027996, 0.047996, 0.1, false, true},
		{1, 20, 3, 20, 1.054093, 0.291841, -0.083338, 0.283338, 2, false, false},
	}
	for _, tt := range tests {
		c := compare(tt.k0, tt.n0, tt.k, tt.n)
		for _, x := range [][2]float64{{c.Z, tt.z}, {c.P, tt.p}, {c.Low, tt.low}, {c.High, tt.high}, {*c.Uplift, tt.uplift}} {
			if math.Abs(x[0]-x[1]) > 2e-6 {
				t.Errorf("%+v: %+v", tt, c)
				break
			}
		}
		if c.Significant != tt.significant || c.Enough != tt.enough {
			t.Errorf("%+v: %+v", tt, c)
		}
	}
	if c := compare(0, 10, 5, 10); c.Uplift != nil || c.P >= 0.05 {
		t.Errorf("no clicks before: %+v", c)
	}
	if c := compare(0, 0, 0, 0); c.P != 1 || c.Significant {
		t.Errorf("nobody: %+v", c)
	}
}

// TestCompareLaws: swapping the sides changes the sign and nothing else, and P is a probability.
func TestCompareLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n0, n := rapid.Int64Range(1, 5000).Draw(t, "n0"), rapid.Int64Range(1, 5000).Draw(t, "n")
		k0, k := rapid.Int64Range(0, n0).Draw(t, "k0"), rapid.Int64Range(0, n).Draw(t, "k")
		a, b := compare(k0, n0, k, n), compare(k, n, k0, n0)
		if math.Abs(a.Z+b.Z) > 1e-9 || math.Abs(a.P-b.P) > 1e-9 || a.Significant != b.Significant || a.P < 0 || a.P > 1 ||
			a.Low > a.Difference || a.High < a.Difference || math.IsNaN(a.Z) {
			t.Fatalf("%+v\n%+v", a, b)
		}
	})
}

func TestSplitIsStableAndFair(t *testing.T) {
	x := experiment{Name: "x", Arms: []Arm{{Name: "a", Share: 20}, {Name: "b", Share: 50}, {Name: "c", Share: 30}}}
	y := experiment{Name: "y", Arms: x.Arms}
	count, both := map[string]int{}, map[string]int{}
	const n = 20_000
	for i := range n {
		user := fmt.Sprintf("user-%d", i)
		a := x.arm(1, user).Name
		if a != x.arm(1, user).Name {
			t.Fatal("not stable")
		}
		count[a]++
		both[a+y.arm(1, user).Name]++
	}
	for _, a := range x.Arms {
		if got, want := float64(count[a.Name]), n*float64(a.Share)/100; math.Abs(got-want) > 4*math.Sqrt(want) {
			t.Errorf("%s: %v, want %v", a.Name, got, want)
		}
		for _, b := range x.Arms {
			if got, want := float64(both[a.Name+b.Name]), n*float64(a.Share*b.Share)/10_000; math.Abs(got-want) > 4*math.Sqrt(want) {
				t.Errorf("%s and %s: %v, want %v: the experiments are not independent", a.Name, b.Name, got, want)
			}
		}
	}
}

func TestExperiment(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		r.fill(`{}`)
		arms := `"arms":[{"name":"old","share":50,"strategy":{"algorithm":"popular"}},{"name":"new","share":50,"strategy":{"weights":{"item_cf":1,"content":0.5},"diversity":0.1}}]`
		if status := r.must(nil, "experiments.put", `{`+arms+`}`, "shop", "first"); status != 201 {
			t.Error(status)
		}
		r.fails("recommend.experiment_runs", "experiments.put", `{`+arms+`}`, "shop", "second")
		r.fails("recommend.experiment_fixed", "experiments.put", `{"arms":[{"name":"old","share":40},{"name":"new","share":60}]}`, "shop", "first")
		r.fails("recommend.no_experiment", "experiments.get", nil, "shop", "third")

		type tally struct{ users, clicked, converted int64 }
		want := map[string]*tally{"old": {}, "new": {}}
		var events []Event
		for i := range 200 {
			user := fmt.Sprintf("v%d", i)
			a := r.ask("for_you", map[string]any{"user": user})
			if a.Experiment == nil || a.Experiment.Name != "first" || a.Experiment.Arm == "old" && a.Model != "popular" {
				t.Fatalf("%+v", a)
			}
			w := want[a.Experiment.Arm]
			w.users++
			item := a.Items[0].ID
			if a.Experiment.Arm == "new" && i%2 == 0 || i%10 == 0 {
				w.clicked++
				events = append(events, Event{User: user, Item: item, Type: "click", Request: a.RequestID}, Event{User: user, Item: item, Type: "click", Request: a.RequestID})
			}
			if i%5 == 0 {
				w.converted++
				events = append(events, Event{User: user, Item: item, Type: "purchase", Request: a.RequestID})
			}
		}
		// A purchase before the first answer, and somebody else's click with a borrowed request, do not count.
		before := noon.Add(-time.Hour)
		events = append(events, Event{User: "v1", Item: "tea-1", Type: "purchase", Time: &before}, Event{User: "t1", Item: "tea-1", Type: "click", Request: events[0].Request})
		r.must(nil, "events.put", map[string]any{"events": events}, "shop")
		if a := r.ask("for_you", map[string]any{"user": "v1", "algorithm": "content"}); a.Experiment != nil {
			t.Error("what the caller chose is no experiment")
		}
		var got struct{ Results []ArmResult }
		r.must(&got, "experiments.get", nil, "shop", "first")
		for _, g := range got.Results {
			w := want[g.Arm]
			if g.Users != w.users || g.Recommendations != w.users || g.UsersClicked != w.clicked || g.Clicked != w.clicked || g.UsersConverted != w.converted || g.Attributed != w.converted {
				t.Errorf("%+v, want %+v", g, w)
			}
			if g.ClickRate != float64(w.clicked)/float64(w.users) {
				t.Errorf("%+v", g)
			}
		}
		if c := got.Results[1].Click; c == nil || !c.Significant || *c.Uplift <= 0 || got.Results[0].Click != nil {
			t.Errorf("%+v", got.Results[1].Click)
		}

		// A deleted user takes his exposures with him, also those not yet written.
		arm := r.ask("for_you", map[string]any{"user": "v3"}).Experiment.Arm
		r.must(nil, "users.delete", nil, "shop", "v3")
		var after struct{ Results []ArmResult }
		r.must(&after, "experiments.get", nil, "shop", "first")
		for i, g := range after.Results {
			if less := got.Results[i].Users - g.Users; g.Arm == arm && less != 1 || g.Arm != arm && less != 0 {
				t.Errorf("%s: %d users less", g.Arm, less)
			}
		}
		var x Export
		if r.must(&x, "users.export", nil, "shop", "v5"); len(x.Shown) != 1 || x.Shown[0].Experiment != "first" || len(x.Events) != 1 || x.Events[0].Request == "" {
			t.Errorf("%+v", x)
		}

		r.must(nil, "experiments.put", `{`+arms+`,"running":false}`, "shop", "first")
		if a := r.ask("for_you", map[string]any{"user": "v1"}); a.Experiment != nil {
			t.Error("still running")
		}
		r.must(nil, "experiments.put", `{`+arms+`}`, "shop", "second")
		r.must(nil, "experiments.delete", nil, "shop", "first")
		var list struct{ Experiments []experiment }
		if r.must(&list, "experiments.list", nil, "shop"); len(list.Experiments) != 1 || list.Experiments[0].Name != "second" {
			t.Errorf("%+v", list)
		}
	})
}
