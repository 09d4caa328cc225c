package settle

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/spool"
)

func (w *world) suspended() []Suspended {
	w.t.Helper()
	list, err := Suspense(ctx, w.db, 100)
	w.ok(err)
	return list
}

// TestSuspense: calls that cannot be settled are put aside with the reason; the others settle, the books say so, and
// a restart changes nothing.
func TestSuspense(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 100_000))
		bad := s
		bad.plan = w.plan(finalCard, 100_000)
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		for i := range 20 {
			if i%7 == 3 {
				w.ok(n.call(bad, 1_000_000, 100, 0))
			} else {
				w.ok(n.call(s, 1_000_000, 100, 0))
			}
		}
		greedy, err := n.begin(s, 100_000)
		w.ok(err)
		greedy.rec.Charge, greedy.rec.Outcome = 100_001, spool.Completed // no gateway does this
		greedy.close()
		w.fails[bad.plan] = problem.New(problem.NotFound, "plan.unknown", "the plan is gone")
		n.settle()
		list := w.suspended()
		if len(list) != 4 || len(w.events(s.org)) != 17 {
			t.Fatalf("%d in suspense, %d events", len(list), len(w.events(s.org)))
		}
		if !strings.Contains(list[0].Reason, "the plan is gone") || list[0].Org != s.org.ID("org") || list[0].At.IsZero() {
			t.Errorf("%+v", list[0])
		}
		if v := w.balance(wallet(s.org)); v.Balance != 1e9-17*100_000 {
			t.Errorf("wallet %+v", v)
		}
		r, err := Verify(ctx, w.db)
		if err != nil || r.OK || r.Suspended != 4 || len(r.Faults) != 1 {
			t.Errorf("%+v %v", r, err)
		}
		// The reason has gone, and the records are read again: what is in suspense stays there.
		delete(w.fails, bad.plan)
		n.crash()
		w.ok(w.db.Update(ctx, func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE spool_cursor SET segment = 0, pos = 0`)
			return err
		}))
		n = w.start(nodeOptions{dir: n.dir})
		if len(w.suspended()) != 4 || len(w.events(s.org)) != 17 {
			t.Errorf("after a restart: %d in suspense, %d events", len(w.suspended()), len(w.events(s.org)))
		}
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			t.Errorf("%d is held after a restart", v.Reserved)
		}
		w.ok(n.call(s, 1_000_000, 100, 0))
		n.stop()
		if len(w.events(s.org)) != 18 {
			t.Error("the node does not go on")
		}
	})
}

// TestHalfABatch: the process dies when the first half of a batch that was taken apart is settled; the rest settles at the
// next start, once.
func TestHalfABatch(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(allowanceCard, 100_000))
		bad := s
		bad.plan = w.plan(allowanceCard, 100_000)
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		for _, s := range []sale{s, s, s, bad} {
			w.ok(n.call(s, 1_000_000, 600, 0))
		}
		calls := 0
		gone, cancel := context.WithCancel(ctx)
		n.settler.o.Terms = func(c context.Context, id db.UUID) (Terms, error) {
			if id == bad.plan {
				if calls++; calls == 2 { // the second half
					cancel()
				}
				return Terms{}, errors.New("no such plan")
			}
			return w.findTerms(c, id)
		}
		if _, err := n.settler.step(gone); err == nil {
			t.Fatal("the step was not interrupted")
		}
		if got := len(w.events(s.org)); got != 2 {
			t.Fatalf("%d events of the first half", got)
		}
		n.crash()
		n = w.start(nodeOptions{dir: n.dir})
		var got []int64
		for _, e := range w.events(s.org) {
			got = append(got, e.Charge)
		}
		if diff := cmp.Diff([]int64{100_000, 600_000, 600_000, 100_000}, got); diff != "" {
			t.Error(diff)
		}
		n.stop()
		w.verified()
	})
}

// TestRecovery: a crash at its worst moments, twice in a row, loses nothing and charges nothing twice.
func TestRecovery(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{batch: 2})
		for range 5 {
			w.ok(n.call(s, 1_000_000, 100, 0))
		}
		if _, err := n.settler.step(ctx); err != nil { // not all of them
			t.Fatal(err)
		}
		streaming, err := n.begin(s, 1_000_000)
		w.ok(err)
		n.spool.Progress(&streaming.rec, &spool.Progress{Charge: 70_000, Usage: [spool.Classes]int64{70}, BytesOut: 5})
		beyond, err := n.begin(s, 50_000)
		w.ok(err)
		n.spool.Progress(&beyond.rec, &spool.Progress{Charge: 60_000, Usage: [spool.Classes]int64{60}})
		n.crash()
		n = w.open(nodeOptions{dir: n.dir}) // dies before it recovers, with a call of its own
		w.ok(n.call(s, 1_000_000, 100, 0))
		_, err = n.begin(s, 1_000_000)
		w.ok(err)
		n.crash()
		damaged, err := filepath.Glob(filepath.Join(n.dir, "*.seg"))
		w.ok(err)
		f, err := os.OpenFile(damaged[len(damaged)-1], os.O_RDWR, 0)
		w.ok(err)
		st, err := f.Stat()
		w.ok(err)
		_, err = f.WriteAt([]byte("torn"), st.Size()-64)
		w.ok(errors.Join(err, f.Close()))
		n = w.start(nodeOptions{dir: n.dir})
		w.ok(n.settler.Recover(ctx)) // again, as after an error at its end
		byOutcome, charged := map[string]int{}, int64(0)
		for _, e := range w.events(s.org) {
			byOutcome[e.Outcome]++
			charged += e.Charge
		}
		if byOutcome["completed"] != 6 || byOutcome["interrupted"] != 3 || charged != 6*100_000+70_000+50_000 {
			t.Errorf("%v, %d charged", byOutcome, charged)
		}
		if v := w.balance(wallet(s.org)); v.Balance != 1e9-charged || v.Reserved != 0 {
			t.Errorf("wallet %+v", v)
		}
		if b := w.readBudget(s.budgets[0]); b.Spent != charged || b.Held != 0 {
			t.Errorf("budget %+v", b)
		}
		w.ok(n.call(s, 1_000_000, 100, 0))
		n.stop()
		w.verified()
	})
}

// TestLoops: with its loops running a node settles what it is given, Flush tells when, and Stop leaves nothing.
func TestLoops(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(volumeCard, 100_000))
		w.topUp(s.org, 100e9)
		n := w.start(nodeOptions{batch: 10})
		n.bank.Start()
		n.settler.Start()
		w.ok(n.settler.Flush(ctx)) // nothing is written
		together(8, func(int) {
			for range 25 {
				if err := n.call(s, 1_000_000, 10, 0); err != nil {
					t.Error(err)
				}
			}
		})
		w.ok(n.settler.Flush(ctx))
		if got := len(w.events(s.org)); got != 200 {
			t.Errorf("%d events after Flush", got)
		}
		w.ok(n.call(s, 1_000_000, 10, 0))
		w.ok(n.call(s, 1_000_000, 10, 0))
		n.stop()
		w.ok(n.settler.Stop(ctx))
		w.ok(n.bank.Stop(ctx))
		if got := len(w.events(s.org)); got != 202 {
			t.Errorf("%d events after Stop", got)
		}
		if v := w.balance(wallet(s.org)); v.Reserved != 0 || v.Balance != 100e9-202*1000 {
			t.Errorf("wallet %+v", v)
		}
		w.verified()
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		m := w.start(nodeOptions{})
		w.ok(m.call(s, 1_000_000, 10, 0))
		if err := m.settler.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Flush without a loop: %v", err)
		}
	})
}

// TestVerifyCatches plants what must never be, and expects to be told.
func TestVerifyCatches(t *testing.T) {
	cases := []struct{ name, sql, want string }{
		{"charge of an event", `UPDATE usage_event SET charge = charge + 1 WHERE id = (SELECT MIN(id) FROM usage_event)`, "wallets were debited"},
		{"commission of an event", `UPDATE usage_event SET commission = commission + 1 WHERE id = (SELECT MIN(id) FROM usage_event)`, "was posted"},
		{"currency of an event", `UPDATE usage_event SET currency = 'EUR' WHERE id = (SELECT MIN(id) FROM usage_event)`, "EUR"},
		{"removed event", `DELETE FROM usage_event WHERE id = (SELECT MIN(id) FROM usage_event)`, "wallets were debited"},
		{"all events removed", `DELETE FROM usage_event`, "there is no event"},
		{"rollup", `UPDATE usage_rollup SET events = events + 1`, "the events themselves"},
		{"currency of a rollup", `UPDATE usage_rollup SET currency = 'EUR'`, "rollups know EUR"},
		{"postings of a batch removed", `DELETE FROM ledger_posting WHERE txn = (SELECT MAX(txn) FROM usage_event)`, "wallets were debited"},
		{"spent of a lease", `UPDATE credit_lease SET spent = spent - 1 WHERE kind = 'wallet'`, "its open leases have"},
		{"closed lease", `UPDATE credit_lease SET state = 'closed' WHERE kind = 'budget'`, "its open leases have"},
		{"reservation", `UPDATE ledger_account SET reserved = 0 WHERE purpose = 'wallet'`, "its open leases have"},
		{"budget", `UPDATE budget_period SET spent = spent - 1`, "its leases"},
		{"suspense", `INSERT INTO settle_suspense (event, org, record, reason, at) VALUES ('evt_x', 'org_x', '{}', 'test', 1)`, "in suspense"},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 100_000))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		for range 3 {
			w.ok(n.call(s, 1_000_000, 100, 0))
		}
		n.settle()
		for _, c := range cases {
			w.verified()
			undo := errors.New("undo")
			err := w.db.Update(ctx, func(tx *db.Tx) error {
				if _, err := tx.Exec(c.sql); err != nil {
					return err
				}
				r, err := verify(tx)
				if err != nil || r.OK || !strings.Contains(strings.Join(r.Faults, "\n"), c.want) {
					t.Errorf("%s: want %q in %+v, %v", c.name, c.want, r, err)
				}
				return undo
			})
			if err != undo {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

// TestLeaseTakenBack: calls on a lease that was closed before its spool was settled are charged all the same, as far as
// the wallet goes, and the books are right.
func TestLeaseTakenBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		w.ok(n.call(s, 1_000_000, 100, 0))
		w.ok(w.db.Update(ctx, func(tx *db.Tx) error { return closeLeases(tx, n.spool.ID(), n.spool.Epoch()+1) }))
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			t.Fatalf("%d is held", v.Reserved)
		}
		n.settle()
		if v := w.balance(wallet(s.org)); v.Balance != 1e9-100_000 || v.Reserved != 0 {
			t.Errorf("wallet %+v", v)
		}
		if b := w.readBudget(s.budgets[0]); b.Spent != 100_000 || b.Held != 0 {
			t.Errorf("budget %+v", b)
		}
		w.verified()
	})
}
