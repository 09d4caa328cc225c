package route

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// open makes the circuit of a target open by consecutive failures at now.
func open(t *testing.T, table *Table, id string, now time.Time) {
	t.Helper()
	for n, failures := 0, 0; failures < 5; n++ {
		tr := begin(n)
		x, ok := table.Pick(tr, now)
		if !ok {
			t.Fatal("no target")
		}
		if x.ID != id {
			tr.Report(Gone, 0, 0, now)
			continue
		}
		failures++
		if c := tr.Report(Failure, 0, 0, now); (c == Opened) != (failures == 5) {
			t.Fatalf("failure %d: %v", failures, c)
		}
	}
}

func TestCircuitOpensProbesAndCloses(t *testing.T) {
	r, table := build(t, one(tgt("a", 0, 1), tgt("b", 1, 1)))
	open(t, table, "a", t0)
	mustPick(t, table, begin(1), t0.Add(time.Second-1), "b")

	probe, other := begin(2), begin(3)
	now := t0.Add(time.Second)
	mustPick(t, table, probe, now, "a")
	mustPick(t, table, other, now, "b") // one probe at a time
	if c := probe.Report(Failure, 0, 0, now); c != Opened {
		t.Fatal(c)
	}
	mustPick(t, table, probe, now, "b") // the probing request itself goes on
	mustPick(t, table, begin(4), now.Add(2*time.Second-1), "b")

	now = now.Add(2 * time.Second) // the back-off has doubled
	if s := r.States(now); s[0].Circuit != "half-open" {
		t.Errorf("%+v", s[0])
	}
	mustPick(t, table, probe, now, "") // it has tried both
	probe = begin(5)
	mustPick(t, table, probe, now, "a")
	if c := probe.Report(Success, 80*time.Millisecond, 0, now); c != Closed {
		t.Fatal(c)
	}
	if c := probe.Report(Failure, 0, 0, now); c != NoChange {
		t.Fatal("an attempt is reported once")
	}
	for n := range 4 {
		tr := begin(n)
		mustPick(t, table, tr, now, "a")
		if c := tr.Report(Failure, 0, 0, now); c != NoChange {
			t.Fatal("closing begins the count anew")
		}
	}
	tr := begin(4)
	mustPick(t, table, tr, now, "a")
	tr.Report(Failure, 0, 0, now)
	mustPick(t, table, begin(5), now.Add(time.Second-1), "b")
	mustPick(t, table, begin(6), now.Add(time.Second), "a") // so does the back-off
	if s := r.States(now); s[0].Circuit != "open" || s[0].Latency != 80*time.Millisecond {
		t.Errorf("%+v", s[0])
	}
}

func TestBackoffIsBounded(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1)))
	open(t, table, "a", t0)
	now := t0
	for i := range 70 {
		wait := table.RetryAfter(now)
		if want := min(time.Second<<min(i, 16), time.Minute); wait != want {
			t.Fatalf("back-off %d is %v, want %v", i, wait, want)
		}
		now = now.Add(wait)
		tr := begin(i)
		mustPick(t, table, tr, now, "a")
		tr.Report(Failure, 0, 0, now)
	}
}

// A client that leaves while probing neither closes nor prolongs: the next request probes at once.
func TestGoneReleasesTheProbe(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1, "k")))
	open(t, table, "a", t0)
	now := t0.Add(time.Second)
	for n := range 3 {
		tr := begin(n)
		mustPick(t, table, tr, now, "a")
		mustPick(t, table, begin(9), now, "")
		tr.Report(Gone, 0, 0, now)
	}
	tr := begin(4)
	mustPick(t, table, tr, now, "a")
	mustPick(t, table, tr, now, "") // picking on without a report counts as gone
	mustPick(t, table, begin(5), now, "a")
}

// A probe that never reports is given up in the end, and its late report changes nothing.
func TestLostProbe(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1)))
	open(t, table, "a", t0)
	now := t0.Add(time.Second)
	lost := begin(1)
	mustPick(t, table, lost, now, "a")
	mustPick(t, table, begin(2), now.Add(5*time.Minute-1), "")
	next := begin(3)
	now = now.Add(5 * time.Minute)
	mustPick(t, table, next, now, "a")
	if c := lost.Report(Success, 0, 0, now); c != NoChange {
		t.Fatal(c)
	}
	mustPick(t, table, begin(4), now, "")
	if c := next.Report(Success, 0, 0, now); c != Closed {
		t.Fatal(c)
	}
}

func TestClientGoneIsNoPenalty(t *testing.T) {
	r, table := build(t, one(tgt("a", 0, 1)))
	for n := range 100 {
		tr := begin(n)
		mustPick(t, table, tr, t0, "a")
		if c := tr.Report(Gone, 0, 0, t0); c != NoChange {
			t.Fatal(c)
		}
	}
	if s := r.States(t0); s[0].Circuit != "closed" {
		t.Fatal(s)
	}
}

// Stragglers sent before the circuit opened neither close it nor prolong it.
func TestStragglers(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1)))
	late := make([]*Tried, 3)
	for i := range late {
		late[i] = begin(i)
		mustPick(t, table, late[i], t0, "a")
	}
	open(t, table, "a", t0)
	for i, o := range []Outcome{Success, Failure, Gone} {
		if c := late[i].Report(o, 0, 0, t0.Add(500*time.Millisecond)); c != NoChange {
			t.Fatal(o, c)
		}
	}
	if got := table.RetryAfter(t0); got != time.Second {
		t.Fatal(got)
	}
}

// Half of the attempts failing opens a circuit although successes keep breaking the row; failures
// that are long past do not count.
func TestRatio(t *testing.T) {
	for _, c := range []struct {
		name  string
		every int // one failure in so many
		step  time.Duration
		opens bool
	}{
		{"half", 2, time.Millisecond, true},
		{"a third", 3, time.Millisecond, false},
		{"half, but seldom", 2, 5 * time.Second, false},
	} {
		_, table := build(t, one(tgt("a", 0, 1)))
		opened := false
		now := t0
		for n := range 200 {
			tr := begin(n)
			if _, ok := table.Pick(tr, now); !ok {
				break
			}
			o := Success
			if n%c.every == 0 {
				o = Failure
			}
			opened = tr.Report(o, 0, 0, now) == Opened || opened
			now = now.Add(c.step)
		}
		if opened != c.opens {
			t.Errorf("%s: opened %v", c.name, opened)
		}
	}
}

func TestRetryAfterProlongsAnOpenCircuit(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1)))
	for n := range 5 {
		tr := begin(n)
		mustPick(t, table, tr, t0, "a")
		tr.Report(Failure, 0, 7*time.Second, t0)
	}
	if got := table.RetryAfter(t0); got != 7*time.Second {
		t.Fatal(got)
	}
}

// Of many callers that meet a half-open circuit at once, one probes.
func TestOneProbeAmongMany(t *testing.T) {
	_, table := build(t, one(tgt("a", 0, 1)))
	open(t, table, "a", t0)
	now := t0.Add(time.Second)
	for round := range 20 {
		var probing atomic.Int64
		var wg sync.WaitGroup
		trs := make([]*Tried, 16)
		for g := range trs {
			wg.Go(func() {
				trs[g] = begin(round*100 + g)
				if _, ok := table.Pick(trs[g], now); ok {
					probing.Add(1)
				}
			})
		}
		wg.Wait()
		if n := probing.Load(); n != 1 {
			t.Fatalf("%d probes", n)
		}
		for _, tr := range trs {
			tr.Report(Gone, 0, 0, now)
		}
	}
}
