package route

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/problem"
)

var t0 = time.Unix(1_800_000_000, 0)

func build(t testing.TB, releases ...Release) (*Router, *Table) {
	t.Helper()
	r := New(Options{})
	if err := r.Rebuild(map[string][]Release{"p": releases}); err != nil {
		t.Fatal(err)
	}
	return r, r.Table("p")
}

func one(targets ...Target) Release { return Release{Name: "stable", Share: 100, Targets: targets} }

func tgt(id string, priority, weight int, credentials ...string) Target {
	return Target{ID: id, Priority: priority, Weight: weight, Credentials: credentials}
}

// begin makes the way of the n-th request.
func begin(n int) *Tried {
	tr := new(Tried)
	h := hash(n)
	tr.Begin(h, h)
	return tr
}

func hash(n int) uint64 {
	var id [16]byte
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return Hash(id)
}

func mustPick(t testing.TB, table *Table, tr *Tried, now time.Time, want string) {
	t.Helper()
	got, ok := table.Pick(tr, now)
	switch {
	case want == "" && ok:
		t.Fatalf("picked %s, want none", got.ID)
	case want != "" && !ok:
		t.Fatalf("picked none, want %s", want)
	case ok && (got.ID != want || tr.Target() != got):
		t.Fatalf("picked %s, want %s", got.ID, want)
	}
}

func TestOrder(t *testing.T) {
	_, table := build(t, one(tgt("c", 2, 1), tgt("a", 1, 1), tgt("off", 0, 0), tgt("b", 1, 1)),
		Release{Name: "green", Share: 0, Targets: []Target{tgt("never", 0, 1)}})
	for n := range 50 {
		tr := begin(n)
		seen := map[string]int{}
		for i := 1; ; i++ {
			x, ok := table.Pick(tr, t0)
			if !ok {
				break
			}
			seen[x.ID] = i
			tr.Report(Gone, 0, 0, t0) // which tries no choice twice either
		}
		if len(seen) != 3 || seen["c"] != 3 {
			t.Fatal(seen)
		}
	}
}

func TestRepeatable(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1), tgt("b", 0, 1)))
	for n := range 50 {
		a, b := begin(n), begin(n)
		x, _ := table.Pick(a, t0)
		y, _ := table.Pick(b, t0)
		if x != y {
			t.Fatal("the same request, another target")
		}
	}
}

// chi is the chi-square statistic of counts against the weights.
func chi(counts map[string]int, weights map[string]int) float64 {
	n, total := 0, 0
	for id, w := range weights {
		n, total = n+counts[id], total+w
	}
	sum := 0.0
	for id, w := range weights {
		e := float64(n) * float64(w) / float64(total)
		sum += math.Pow(float64(counts[id])-e, 2) / e
	}
	return sum
}

// Shares and weights hold over many requests, and independently of each other: the statistic stays
// below the bound that one fair split in ten thousand would pass (the ids are fixed, so no luck).
func TestSharesAndWeights(t *testing.T) {
	_, table := build(t,
		Release{Name: "stable", Share: 90, Targets: []Target{tgt("s1", 0, 3), tgt("s2", 0, 1), tgt("s3", 0, 6)}},
		Release{Name: "canary", Share: 10, Targets: []Target{tgt("c1", 0, 1), tgt("c2", 0, 1)}})
	counts := map[string]int{}
	for n := range 200_000 {
		tr := begin(n)
		x, _ := table.Pick(tr, t0)
		counts[x.ID]++
		tr.Report(Success, time.Millisecond, 0, t0)
	}
	weights := map[string]int{"s1": 270, "s2": 90, "s3": 540, "c1": 50, "c2": 50}
	if got := chi(counts, weights); got > 23.5 { // 4 degrees of freedom
		t.Errorf("chi-square %.1f: %v", got, counts)
	}
	// The second choice of those that failed on s3 follows the weights of the others.
	counts = map[string]int{}
	for n := range 100_000 {
		tr := begin(n)
		if x, _ := table.Pick(tr, t0); x.ID != "s3" {
			continue
		}
		tr.add(tr.current.first) // as after a failure, without opening the circuit
		tr.current = nil
		x, _ := table.Pick(tr, t0)
		counts[x.ID]++
	}
	if got := chi(counts, map[string]int{"s1": 3, "s2": 1}); got > 15.1 || counts["s1"]+counts["s2"] == 0 { // 1 degree
		t.Errorf("chi-square %.1f: %v", got, counts)
	}
}

func TestConsumerSticksToRelease(t *testing.T) {
	_, table := build(t, Release{Share: 50, Targets: []Target{tgt("s", 0, 1)}}, Release{Share: 50, Targets: []Target{tgt("c", 0, 1)}})
	for consumer := range 20 {
		seen := map[string]bool{}
		for n := range 50 {
			var tr Tried
			tr.Begin(hash(n), hash(consumer))
			x, _ := table.Pick(&tr, t0)
			seen[x.ID] = true
		}
		if len(seen) != 1 {
			t.Fatal("a consumer on two releases")
		}
	}
}

// A broken canary falls back to the stable release within the request.
func TestFallsBackToOtherRelease(t *testing.T) {
	_, table := build(t, Release{Share: 1, Targets: []Target{tgt("s", 0, 1)}}, Release{Share: 99, Targets: []Target{tgt("c", 0, 1)}})
	tr := begin(1)
	mustPick(t, table, tr, t0, "c")
	tr.Report(Failure, 0, 0, t0)
	mustPick(t, table, tr, t0, "s")
	tr.Report(Failure, 0, 0, t0)
	mustPick(t, table, tr, t0, "")
	if tr.Attempts() != 2 {
		t.Error(tr.Attempts())
	}
}

func TestCredentials(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1, "k1", "k2"), tgt("b", 1, 1)))
	tr := begin(1)
	mustPick(t, table, tr, t0, "a")
	first := tr.Credential()
	if c := tr.Report(Denied, 0, 0, t0); c != Cooled {
		t.Fatal(c)
	}
	mustPick(t, table, tr, t0, "a")
	second := tr.Credential()
	if first == second || first < 0 || second < 0 {
		t.Fatalf("credential %d after %d", second, first)
	}
	tr.Report(Throttled, 0, 30*time.Second, t0)
	mustPick(t, table, tr, t0, "b")
	if tr.Credential() != -1 {
		t.Error("b has none")
	}
	tr.Report(Throttled, 0, 20*time.Second, t0) // a target without credentials cools down itself
	mustPick(t, table, tr, t0, "")

	tr = begin(2)
	mustPick(t, table, tr, t0.Add(time.Second), "")
	if got := table.RetryAfter(t0); got != deniedFirst {
		t.Errorf("retry after %v", got)
	}
	mustPick(t, table, tr, t0.Add(deniedFirst), "a")
	if tr.Credential() != first {
		t.Error("the throttled credential is not yet due")
	}
	tr.Report(Success, 0, 0, t0.Add(deniedFirst))
	seen := map[int]int{}
	for n := range 100 {
		tr := begin(n)
		mustPick(t, table, tr, t0.Add(time.Hour), "a")
		seen[tr.Credential()]++
		tr.Report(Success, 0, 0, t0.Add(time.Hour))
	}
	if seen[0] < 30 || seen[1] < 30 {
		t.Errorf("requests do not spread over credentials: %v", seen)
	}
}

// An endpoint that fails is not tried with another credential.
func TestFailureIsTheTargets(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1, "k1", "k2"), tgt("b", 1, 1, "k1")))
	tr := begin(1)
	mustPick(t, table, tr, t0, "a")
	tr.Report(Failure, 0, 0, t0)
	mustPick(t, table, tr, t0, "b")
}

// A credential that goes on being refused rests longer each time, and one success forgives all;
// answers to requests that were under way together are one strike.
func TestCooldownBacksOff(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1, "k")))
	now := t0
	for i := range 12 {
		trs := []*Tried{begin(1), begin(2), begin(3)}
		for _, tr := range trs {
			mustPick(t, table, tr, now, "a")
		}
		for _, tr := range trs {
			tr.Report(Throttled, 0, 0, now)
		}
		want := min(throttledFirst<<i, throttledMost)
		if got := table.RetryAfter(now); got != want {
			t.Fatalf("strike %d: %v, want %v", i, got, want)
		}
		now = now.Add(want)
	}
	tr := begin(1)
	mustPick(t, table, tr, now, "a")
	tr.Report(Success, 0, 0, now)
	mustPick(t, table, tr, now, "")
	tr = begin(1)
	mustPick(t, table, tr, now, "a")
	tr.Report(Throttled, 0, 0, now)
	if got := table.RetryAfter(now); got != throttledFirst {
		t.Fatal(got)
	}
}

func TestNoTarget(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1)))
	tr := begin(1)
	mustPick(t, table, tr, t0, "a")
	tr.Report(Throttled, 0, 42*time.Second, t0)
	var p *problem.Error
	if err := error(table.NoTarget(t0)); !errors.As(err, &p) || p.Kind != problem.Unavailable || p.RetryAfter != 42*time.Second {
		t.Error(err)
	}
	var none *Table
	mustPick(t, none, begin(1), t0, "")
	if none.NoTarget(t0).RetryAfter != time.Second {
		t.Error("a wait of at least a second")
	}
	if _, empty := build(t); empty == nil {
		t.Error("a product without releases has an empty table")
	} else {
		mustPick(t, empty, begin(1), t0, "")
	}
}

func TestRebuild(t *testing.T) {
	r, table := build(t, one(tgt("a", 0, 1, "k"), tgt("b", 0, 1)))
	open(t, table, "a", t0)
	all := map[string][]Release{"p": {one(tgt("a", 0, 1, "k"))}, "q": {one(tgt("a", 0, 1, "k"), tgt("c", 1, 1))}}
	if err := r.Rebuild(all); err != nil {
		t.Fatal(err)
	}
	mustPick(t, r.Table("p"), begin(1), t0, "") // open still, also for another product
	mustPick(t, r.Table("q"), begin(1), t0, "c")
	if s := r.States(t0); len(s) != 2 || s[0].Target != "a" || s[0].Circuit != "open" || s[1].Circuit != "closed" {
		t.Errorf("%+v", s)
	}
	var many []Target
	for i := range MaxChoices + 1 {
		many = append(many, tgt(fmt.Sprint(i), 0, 1))
	}
	if err := r.Rebuild(map[string][]Release{"p": {one(many...)}}); err == nil {
		t.Fatal("too many choices")
	}
	if r.Table("q") == nil {
		t.Fatal("a failed rebuild changes nothing")
	}
	if err := r.Rebuild(map[string][]Release{"p": {one(many[1:]...)}}); err != nil {
		t.Fatal(err)
	}
	tr := begin(1)
	seen := map[string]bool{}
	for {
		x, ok := r.Table("p").Pick(tr, t0)
		if !ok {
			break
		}
		seen[x.ID] = true
		tr.Report(Failure, 0, 0, t0)
	}
	if len(seen) != MaxChoices {
		t.Errorf("%d of %d tried", len(seen), MaxChoices)
	}
	if err := r.Rebuild(nil); err != nil || r.Table("p") != nil || len(r.States(t0)) != 0 {
		t.Error("forgotten with the last table that named them")
	}
}

// Whatever the health: no request tries a choice twice, none that cools down or is open, and every
// request ends after as many attempts as there are choices.
func TestPickNeverRepeats(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var releases []Release
		id := 0
		for range rapid.IntRange(1, 3).Draw(t, "releases") {
			r := Release{Share: rapid.IntRange(0, 3).Draw(t, "share")}
			for range rapid.IntRange(0, 4).Draw(t, "targets") {
				x := tgt(fmt.Sprint("t", id), rapid.IntRange(0, 2).Draw(t, "priority"), rapid.IntRange(0, 3).Draw(t, "weight"))
				for c := range rapid.IntRange(0, 3).Draw(t, "credentials") {
					x.Credentials = append(x.Credentials, fmt.Sprint(x.ID, "/", c))
				}
				id++
				r.Targets = append(r.Targets, x)
			}
			releases = append(releases, r)
		}
		r := New(Options{Failures: 2})
		if err := r.Rebuild(map[string][]Release{"p": releases}); err != nil {
			t.Fatal(err)
		}
		now := t0
		for n := range rapid.IntRange(1, 30).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 100, 2000, 100_000}).Draw(t, "ms")) * time.Millisecond)
			tr := begin(n)
			seen := map[string]bool{}
			for {
				x, ok := r.Table("p").Pick(tr, now)
				if !ok {
					break
				}
				choice := fmt.Sprint(x.ID, tr.Credential())
				if seen[choice] {
					t.Fatalf("%s twice", choice)
				}
				seen[choice] = true
				h := tr.current.health
				if until := h.until.Load(); until > now.UnixNano() || tr.current.creds[tr.credential].until.Load() > now.UnixNano() {
					t.Fatalf("%s is open or cools down", choice)
				}
				o := rapid.SampledFrom([]Outcome{Success, Failure, Throttled, Denied, Gone}).Draw(t, "outcome")
				tr.Report(o, time.Millisecond, 0, now)
				if h.probe.Load() != 0 {
					t.Fatal("a probe outlived its report")
				}
				if o == Success || o == Gone {
					break
				}
			}
		}
	})
}

func BenchmarkPickReport(b *testing.B) {
	_, table := build(b, Release{Name: "stable", Share: 95, Targets: []Target{tgt("a", 0, 3, "k1", "k2"), tgt("b", 0, 1, "k3"), tgt("c", 1, 1)}},
		Release{Name: "canary", Share: 5, Targets: []Target{tgt("d", 0, 1)}})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var tr Tried
		for n := 0; pb.Next(); n++ {
			h := hash(n)
			tr.Begin(h, h)
			table.Pick(&tr, t0)
			tr.Report(Success, time.Millisecond, 0, t0)
		}
	})
}

func TestPickDoesNotAllocate(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 3, "k1", "k2"), tgt("b", 0, 1)))
	var tr Tried
	if n := testing.AllocsPerRun(100, func() {
		tr.Begin(1, 1)
		table.Pick(&tr, t0)
		tr.Report(Gone, 0, 0, t0)
		table.Pick(&tr, t0)
		tr.Report(Success, 0, 0, t0)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
