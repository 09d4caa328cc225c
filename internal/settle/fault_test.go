package settle

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// eachFault runs do on a node whose connection breaks before each statement of its transactions in turn, the COMMITs
// included, and then at the COMMIT with the answer lost, once when the server commits at once and once when it does
// while the next try is under way; after that the connection is whole again. do must bring the node through.
func eachFault(t *testing.T, prepare func(w *world, n *node) sale, do, check func(w *world, n *node, s sale)) {
	w := openWorld(t, dbtest.PostgresDSN(t))
	d, p := openProxied(w)
	run := func(t *testing.T, at int, a action) (met bool) {
		outer := w.t
		w.t = t
		defer func() { w.t = outer }()
		n := w.open(nodeOptions{db: d})
		s := prepare(w, n)
		done := p.once(at, a)
		do(w, n, s)
		met = done()
		check(w, n, s)
		w.verified()
		return met
	}
	for at := 1; ; at++ {
		met := true
		t.Run(fmt.Sprintf("statement %d", at), func(t *testing.T) { met = run(t, at, cut) })
		if !met || t.Failed() {
			break
		}
	}
	for name, a := range map[string]action{"answer lost": hide, "answer lost, and late": late} {
		t.Run(name, func(t *testing.T) {
			if !run(t, 0, a) {
				t.Error("there was no COMMIT")
			}
		})
	}
}

// retry tries until it works, twice more at most.
func retry(w *world, f func() error) {
	w.t.Helper()
	var err error
	for range 3 {
		if err = f(); err == nil {
			return
		}
		if !transient(ctx, err) && !errors.Is(err, errNoLease) {
			break
		}
	}
	w.t.Fatal(err)
}

// TestFaultsOfSettlement: whatever message of a settlement is lost, the calls settle once, and the bank knows what
// was spent. More calls end between the failure and the next try, so that the next batch is another one.
func TestFaultsOfSettlement(t *testing.T) {
	eachFault(t, func(w *world, n *node) sale {
		s := w.sale(w.plan(volumeCard, 150_000))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		w.ok(n.settler.Recover(ctx))
		for range 3 {
			w.ok(n.call(s, 1_000_000, 400, 0))
		}
		return s
	}, func(w *world, n *node, s sale) {
		if err := n.trySettle(); err != nil && !transient(ctx, err) {
			w.t.Error(err)
		}
		w.ok(n.call(s, 1_000_000, 400, 0))
		retry(w, n.trySettle)
	}, func(w *world, n *node, s sale) {
		n.check()
		const spent = 400_000 + 400_000 + 40_000 // what the third call gives back is no lease's
		if got := n.bank.purses[purseKey{s.org, "USD"}].wallet.used; got != spent {
			w.t.Errorf("the bank counts %d as used, %d was spent", got, spent)
		}
		if v := w.balance(wallet(s.org)); v.Balance != 1e9-160_000 {
			w.t.Errorf("wallet %+v", v)
		}
		n.stop()
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			w.t.Errorf("%d is held after Stop", v.Reserved)
		}
		if got := len(w.events(s.org)); got != 4 {
			w.t.Errorf("%d events", got)
		}
	})
}

// TestFaultsOfLending: whatever message of a grant is lost, the lease is what the database says at the next one.
func TestFaultsOfLending(t *testing.T) {
	eachFault(t, func(w *world, n *node) sale {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		w.ok(n.settler.Recover(ctx))
		return s
	}, func(w *world, n *node, s sale) {
		retry(w, func() error { return n.call(s, 10_000_000, 100, 0) })
	}, func(w *world, n *node, s sale) {
		n.check()
		for k, p := range n.bank.purses {
			var granted int64
			w.ok(w.db.View(ctx, func(tx *db.Tx) error {
				return tx.QueryRow(`SELECT granted FROM credit_lease WHERE id = $1`, p.wallet.lease.ID("lse")).Scan(&granted)
			}))
			if granted != p.wallet.granted {
				w.t.Errorf("%v: the bank counts %d as granted, the database %d", k, p.wallet.granted, granted)
			}
		}
		n.stop()
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			w.t.Errorf("%d is held after Stop", v.Reserved)
		}
		if b := w.readBudget(s.budgets[0]); b.Held != 0 {
			w.t.Errorf("%d of the budget is held after Stop", b.Held)
		}
	})
}

// TestFaultsOfLendingUnused: a grant whose answer was lost is returned though the bank never saw it.
func TestFaultsOfLendingUnused(t *testing.T) {
	eachFault(t, func(w *world, n *node) sale {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 1e9)
		w.ok(n.settler.Recover(ctx))
		return s
	}, func(w *world, n *node, s sale) {
		_ = n.call(s, 10_000_000, 100, 0) // refused, where the connection broke
		retry(w, func() error { return giveBack(n) })
	}, func(w *world, n *node, s sale) {
		n.stop()
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			w.t.Errorf("%d is held after Stop", v.Reserved)
		}
	})
}

// giveBack returns what all leases of the node have left.
func giveBack(n *node) error {
	for _, p := range n.bank.all() {
		if err := n.bank.giveBack(ctx, p, true); err != nil {
			return err
		}
	}
	return nil
}

// TestFaultsOfReturning: whatever message is lost when a lease is returned, it is returned once.
func TestFaultsOfReturning(t *testing.T) {
	eachFault(t, func(w *world, n *node) sale {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		w.ok(n.settler.Recover(ctx))
		w.ok(n.call(s, 10_000_000, 100, 0))
		return s
	}, func(w *world, n *node, s sale) {
		_ = giveBack(n)
		retry(w, func() error { return n.call(s, 10_000_000, 100, 0) }) // needs a lease again, or still has it
		n.check()
		retry(w, func() error { return giveBack(n) })
	}, func(w *world, n *node, s sale) {
		n.check()
		if v := w.balance(wallet(s.org)); v.Reserved != 200_000 { // not settled yet
			w.t.Errorf("%d is held", v.Reserved)
		}
		n.stop()
		if v := w.balance(wallet(s.org)); v.Reserved != 0 || v.Balance != 1e9-200_000 {
			w.t.Errorf("after Stop: %+v", v)
		}
	})
}

// TestFaultsOfRecovery: whatever message is lost while a dead run is settled and its leases are closed, the next try
// brings it to the end.
func TestFaultsOfRecovery(t *testing.T) {
	eachFault(t, func(w *world, n *node) sale {
		s := w.sale(w.plan(graduatedCard, 150_000))
		s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
		w.topUp(s.org, 1e9)
		n.crash()
		old := w.start(nodeOptions{dir: n.dir}) // by a connection of its own
		w.ok(old.call(s, 10_000_000, 100, 0))
		old.settle()
		w.ok(old.call(s, 10_000_000, 100, 0))
		_, err := old.begin(s, 10_000_000)
		w.ok(err)
		old.crash()
		*n = *w.open(nodeOptions{dir: n.dir, db: n.settler.db})
		return s
	}, func(w *world, n *node, s sale) {
		retry(w, func() error { return n.settler.Recover(ctx) })
	}, func(w *world, n *node, s sale) {
		events := w.events(s.org)
		if len(events) != 3 || events[2].Outcome != "interrupted" || events[2].Charge != 0 {
			w.t.Errorf("events %+v", events)
		}
		if v := w.balance(wallet(s.org)); v.Balance != 1e9-200_000 || v.Reserved != 0 {
			w.t.Errorf("wallet %+v", v)
		}
		if b := w.readBudget(s.budgets[0]); b.Spent != 200_000 || b.Held != 0 {
			w.t.Errorf("budget %+v", b)
		}
		w.ok(n.call(s, 10_000_000, 100, 0))
		n.stop()
	})
}

// TestFaultsOfSuspense: an event that cannot be settled is in suspense once, and its neighbours settle.
func TestFaultsOfSuspense(t *testing.T) {
	w := openWorld(t, dbtest.PostgresDSN(t))
	d, p := openProxied(w)
	run := func(t *testing.T, skip int, a action) bool {
		outer := w.t
		w.t = t
		defer func() { w.t = outer }()
		n := w.start(nodeOptions{db: d})
		s := w.sale(w.plan(finalCard, 0))
		bad := s
		bad.plan = w.plan(finalCard, 0)
		w.topUp(s.org, 1e9)
		for _, s := range []sale{s, bad, s, s} {
			w.ok(n.call(s, 1_000_000, 100, 0))
		}
		w.fails[bad.plan] = problem.New(problem.NotFound, "plan.unknown", "gone")
		// The transactions are: the first half's good call, the bad one's suspense, the second half.
		commits, met := 0, false
		p.set(func(kind byte, text []byte) action {
			if kind == 'Q' && string(text[:6]) == "COMMIT" && !met {
				if commits++; commits == skip {
					met = true
					return a
				}
			}
			return pass
		})
		_ = n.trySettle()
		w.ok(n.call(s, 1_000_000, 100, 0))
		retry(w, n.trySettle)
		list, err := Suspense(ctx, w.db, 10)
		w.ok(err)
		if len(list) != 1 || list[0].Org != s.org.ID("org") || len(w.events(s.org)) != 4 {
			t.Errorf("%d in suspense, %d events", len(list), len(w.events(s.org)))
		}
		w.ok(w.db.Update(ctx, func(tx *db.Tx) error {
			_, err := tx.Exec(`UPDATE settle_suspense SET resolved = 1`)
			return err
		}))
		if v := w.balance(wallet(s.org)); v.Balance != 1e9-400_000 {
			t.Errorf("wallet %+v", v)
		}
		return met
	}
	for _, a := range []action{cut, hide} {
		for skip := 1; ; skip++ {
			met := false
			t.Run(fmt.Sprintf("action %d, commit %d", a, skip), func(t *testing.T) { met = run(t, skip, a) })
			if !met || t.Failed() {
				break
			}
		}
	}
}

// TestFaultsOfSealing: whatever message is lost, each transaction is sealed once.
func TestFaultsOfSealing(t *testing.T) {
	eachFault(t, func(w *world, n *node) sale {
		s := w.sale(w.plan(finalCard, 0))
		for range 3 {
			w.topUp(s.org, 1e9)
		}
		return s
	}, func(w *world, n *node, s sale) {
		l := ledger.New(n.settler.db, w.clock)
		for range 2 { // the second finds nothing
			retry(w, func() error {
				_, err := l.Seal(ctx)
				return err
			})
		}
	}, func(w *world, n *node, s sale) {
		if r := w.verified(); r.Sealed != r.Transactions || r.Sealed < 3 {
			w.t.Errorf("%d of %d sealed", r.Sealed, r.Transactions)
		}
	})
}

// TestServerAway: with the database gone for a while the loops try again by themselves, and settle all.
func TestServerAway(t *testing.T) {
	w := openWorld(t, dbtest.PostgresDSN(t))
	d, p := openProxied(w)
	n := w.start(nodeOptions{db: d})
	s := w.sale(w.plan(finalCard, 0))
	w.topUp(s.org, 1e9)
	w.ok(n.call(s, 1_000_000, 100, 0))
	tries := make(chan struct{}, 1000)
	p.set(func(byte, []byte) action {
		select {
		case tries <- struct{}{}:
		default:
		}
		return cut
	})
	n.bank.Start()
	n.settler.Start()
	for range 5 {
		<-tries
		w.ok(n.call(s, 1_000_000, 100, 0)) // from the lease
	}
	p.set(nil)
	w.ok(n.settler.Flush(ctx))
	n.stop()
	w.verified()
	if got := len(w.events(s.org)); got != 6 {
		t.Errorf("%d events", got)
	}
}

// TestSQLiteHeldByAnother: while another process holds the database, nothing is settled and nothing is lost.
func TestSQLiteHeldByAnother(t *testing.T) {
	w := openWorld(t, dbtest.SQLiteDSN(t))
	d, err := db.Open(ctx, w.dsn, db.Options{Clock: clock.NewManual(noon), NoSync: true, MaxWait: time.Millisecond})
	w.ok(err)
	t.Cleanup(func() { d.Close() })
	n := w.start(nodeOptions{db: d})
	s := w.sale(w.plan(finalCard, 0))
	w.topUp(s.org, 1e9)
	w.ok(n.call(s, 1_000_000, 100, 0))
	w.ok(w.db.Update(ctx, func(*db.Tx) error {
		if err := n.trySettle(); !problem.Is(err, problem.Unavailable) {
			t.Errorf("settled meanwhile: %v", err)
		}
		if err := n.call(s, 1e9, 100, 0); !problem.Is(err, problem.Unavailable) {
			t.Errorf("lent meanwhile: %v", err)
		}
		return n.call(s, 1_000_000, 100, 0) // from the lease
	}))
	n.settle()
	n.stop()
	w.verified()
	if got := len(w.events(s.org)); got != 2 {
		t.Errorf("%d events", got)
	}
}
