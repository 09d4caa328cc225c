package settle

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// together runs fn in n goroutines that start at once.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			fn(i)
		})
	}
	close(begin)
	wg.Wait()
}

// check proves granted >= used >= 0 for every scope.
func (n *node) check() {
	n.w.t.Helper()
	for _, p := range n.bank.all() {
		p.mu.Lock()
		for _, s := range p.scopes() {
			if s.granted < s.used || s.used < 0 || s.open < 0 {
				n.w.t.Errorf("lease %s: granted %d, used %d, %d open", s.lease.ID("lse"), s.granted, s.used, s.open)
			}
		}
		p.mu.Unlock()
	}
}

// TestExactlyK: 64 callers on a wallet, and on a budget, worth K calls: exactly K succeed when a call costs what it
// holds, and the rest are told that the money is gone.
func TestExactlyK(t *testing.T) {
	const callers, each, K = 64, 4, 100
	for _, where := range []string{"wallet", "budget"} {
		t.Run(where, func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				s := w.sale(w.plan(finalCard, 0))
				if where == "budget" {
					s.budgets = []string{w.budget(s.org, K*100_000, "total", "UTC"), w.budget(s.org, 1e12, "month", "UTC")}
					w.topUp(s.org, 1e12)
				} else {
					w.topUp(s.org, K*100_000)
				}
				n := w.start(nodeOptions{})
				n.bank.Start()
				n.settler.Start()
				var done, refused atomic.Int64
				together(callers, func(int) {
					for range each {
						switch err := n.call(s, 100_000, 100, 0); {
						case err == nil:
							done.Add(1)
						case problem.Is(err, problem.Funds):
							refused.Add(1)
						default:
							t.Error(err)
						}
					}
				})
				if done.Load() != K || refused.Load() != callers*each-K {
					t.Errorf("%d calls succeeded, %d were refused", done.Load(), refused.Load())
				}
				n.check()
				n.stop()
				w.verified()
				if len(w.events(s.org)) != K {
					t.Errorf("%d events", len(w.events(s.org)))
				}
			})
		})
	}
}

// TestHoldAboveCost: calls that hold ten times what they cost go on until less than one hold is left, and never
// spend more than there is.
func TestHoldAboveCost(t *testing.T) {
	const callers, hold, cost, money = 64, 1_000_000, 100_000, 20_000_000
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, money, "total", "UTC")}
		w.topUp(s.org, 10*money)
		n := w.start(nodeOptions{})
		n.bank.Start()
		n.settler.Start()
		var running, spent atomic.Int64
		together(callers, func(int) {
			for {
				c, err := n.begin(s, hold)
				if problem.Is(err, problem.Funds) {
					// Refused while others hold money: try again when they have ended.
					if running.Load() > 0 || spent.Load() <= money-hold {
						continue
					}
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				running.Add(1)
				spent.Add(cost)
				c.end(100, 0)
				running.Add(-1)
			}
		})
		if left := money - spent.Load(); left < 0 || left >= hold {
			t.Errorf("%d left of %d", left, money)
		}
		n.check()
		n.stop()
		if b := w.readBudget(s.budgets[0]); b.Spent != spent.Load() || b.Held != 0 {
			t.Errorf("%+v, spent %d", b, spent.Load())
		}
		w.verified()
	})
}

// TestDenial: "not enough" is not asked of the database for every call, and a top-up works soon.
func TestDenial(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 100)
		n := w.start(nodeOptions{})
		take := func(amount int64) error {
			var h Hold
			err := n.bank.Take(ctx, &h, s.org, "USD", nil, amount)
			n.bank.Finish(&h, 0)
			return err
		}
		if err := take(101); !errors.Is(err, errWallet) {
			t.Fatal(err)
		}
		if err := take(100); err != nil {
			t.Errorf("less than what was refused: %v", err)
		}
		if err := take(101); !errors.Is(err, errWallet) {
			t.Error(err)
		}
		w.topUp(s.org, 1)
		if err := take(101); !errors.Is(err, errWallet) {
			t.Errorf("the database was asked again at once: %v", err)
		}
		w.clock.Advance(100 * time.Millisecond)
		if err := take(101); err != nil {
			t.Errorf("after a top-up: %v", err)
		}
	})
}

// TestTakeRefuses what cannot be held, leaving nothing behind.
func TestTakeRefuses(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 1e9)
		small := w.budget(s.org, 10, "total", "UTC")
		euro := Budget{Org: s.org.ID("org"), Currency: "EUR", Amount: 1e9}
		w.ok(w.db.Update(ctx, func(tx *db.Tx) error { return CreateBudget(tx, &euro) }))
		n := w.start(nodeOptions{})
		var h Hold
		for name, c := range map[string]struct {
			budgets []string
			amount  int64
			want    error
		}{
			"no money":               {nil, 1e9 + 1, errWallet},
			"budget":                 {[]string{small}, 11, errBudget},
			"currency":               {[]string{euro.ID}, 1, errCross},
			"too many":               {make([]string, spool.MaxLeases), 1, errMany},
			"no such budget":         {[]string{"bud_unknown"}, 1, errNoLease},
			"second of two fails":    {[]string{w.budget(s.org, 1e9, "day", "UTC"), small}, 11, errBudget},
			"more than all there is": {nil, 1 << 62, errWallet},
		} {
			err := n.bank.Take(ctx, &h, s.org, "USD", c.budgets, c.amount)
			if problem.As(err).ID != problem.As(c.want).ID {
				t.Errorf("%s: %v", name, err)
			}
			n.bank.Finish(&h, 0)
		}
		// The same budget twice counts once.
		w.ok(n.bank.Take(ctx, &h, s.org, "USD", []string{small, small}, 10))
		var r spool.Record
		if h.Leases(&r); r.NLease != 2 {
			t.Errorf("%d leases", r.NLease)
		}
		n.check()
		n.bank.Finish(&h, 10_000) // more than was held
		n.check()
		// Nothing to hold needs no lease, and no money.
		w.ok(n.bank.Take(ctx, &h, db.NewUUID(noon), "USD", nil, 0))
		if h.Leases(&r); r.NLease != 0 || h.Amount() != 0 {
			t.Errorf("%d leases, %d held", r.NLease, h.Amount())
		}
		n.bank.Finish(&h, 5)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if err := n.bank.Take(gone, &h, db.NewUUID(noon), "USD", nil, 1); err == nil {
			t.Error("a caller that has gone was served")
		}
		n.stop()
		w.verified()
	})
}

// TestIdleLeases are returned within five seconds, also beside a long call; what that call holds stays.
func TestIdleLeases(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 10e9, "total", "UTC")}
		w.topUp(s.org, 10e9)
		n := w.start(nodeOptions{})
		long, err := n.begin(s, 5_000_000)
		w.ok(err)
		w.ok(n.call(s, 1_000_000, 100, 0))
		pass := func(d time.Duration) {
			w.clock.Advance(d)
			n.bank.tick.Store(db.Micros(w.clock.Now()))
			n.bank.follow()
			select {
			case <-n.bank.idle:
				for _, p := range n.bank.all() {
					w.ok(n.bank.giveBack(ctx, p, false))
				}
			default:
			}
		}
		pass(3 * time.Second)
		if v := w.balance(wallet(s.org)); v.Reserved < 5_100_000 {
			t.Errorf("%d is held after three seconds", v.Reserved)
		}
		pass(2 * time.Second)
		if v := w.balance(wallet(s.org)); v.Reserved != 5_100_000 { // the running call, and one not yet settled
			t.Errorf("%d is held after five seconds", v.Reserved)
		}
		if b := w.readBudget(s.budgets[0]); b.Held != 5_100_000 {
			t.Errorf("%d of the budget is held after five seconds", b.Held)
		}
		w.verified()
		long.end(100, 0)
		n.settle()
		w.verified()
		pass(5 * time.Second)
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			t.Errorf("%d is held with no call running", v.Reserved)
		}
		w.verified()
		w.ok(n.call(s, 1_000_000, 100, 0))
		n.stop()
		w.verified()
	})
}

// TestBudgetPeriodsEnd: with the day a budget's money is new; calls of the old day are charged to it, and what its
// lease has left is returned.
func TestBudgetPeriodsEnd(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 300_000, "day", "Europe/Berlin"), w.budget(s.org, 500_000, "month", "Europe/Berlin")}
		w.topUp(s.org, 10e9)
		n := w.start(nodeOptions{})
		at := func(text string) {
			when, err := time.Parse(time.RFC3339, text)
			w.ok(err)
			w.clock.Set(when)
			n.bank.tick.Store(db.Micros(when))
		}
		defer w.clock.Set(noon)
		at("2026-03-29T21:59:59Z") // a second before midnight of the day on which summer time began
		late, err := n.begin(s, 100_000)
		w.ok(err)
		w.ok(n.call(s, 100_000, 100, 0))
		w.ok(n.call(s, 100_000, 100, 0))
		if err := n.call(s, 100_000, 100, 0); !errors.Is(err, errBudget) {
			t.Errorf("a fourth call on the first day: %v", err)
		}
		at("2026-03-29T22:00:00Z")
		w.ok(n.call(s, 100_000, 100, 0))
		w.ok(n.call(s, 100_000, 100, 0))
		late.end(50, 0)
		if err := n.call(s, 100_000, 100, 0); !errors.Is(err, errBudget) {
			t.Errorf("a sixth call in the month: %v", err)
		}
		w.ok(n.call(s, 50_000, 50, 0))
		n.settle()
		w.verified()
		if b := w.readBudget(s.budgets[0]); b.Spent != 250_000 {
			t.Errorf("second day: %+v", b)
		}
		at("2026-03-29T21:59:59Z")
		if b := w.readBudget(s.budgets[0]); b.Spent != 250_000 {
			t.Errorf("first day: %+v", b)
		}
		at("2026-04-01T00:00:00+02:00")
		w.ok(n.call(s, 300_000, 300, 0))
		if b := w.readBudget(s.budgets[1]); b.Spent != 0 {
			t.Errorf("April: %+v", b)
		}
		n.stop()
		w.verified()
		held := int64(0)
		w.ok(w.db.View(ctx, func(tx *db.Tx) error {
			return tx.QueryRow(`SELECT CAST(SUM(reserved) AS BIGINT) FROM budget_period`).Scan(&held)
		}))
		if held != 0 {
			t.Errorf("%d is held of budgets after Stop", held)
		}
	})
}

// TestLoweredBudget: an amount below what was spent refuses; a higher one serves again.
func TestLoweredBudget(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 1_000_000, "total", "UTC")}
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		w.ok(n.call(s, 400_000, 400, 0))
		n.settle()
		for _, p := range n.bank.all() {
			w.ok(n.bank.giveBack(ctx, p, true))
		}
		change := func(amount int64) {
			b := w.readBudget(s.budgets[0])
			b.Amount = amount
			w.ok(w.db.Update(ctx, func(tx *db.Tx) error { return UpdateBudget(tx, &b) }))
			w.clock.Advance(time.Second)
		}
		change(300_000)
		if err := n.call(s, 1, 0, 0); !errors.Is(err, errBudget) {
			t.Error(err)
		}
		change(500_000)
		w.ok(n.call(s, 100_000, 100, 0))
		if err := n.call(s, 1, 0, 0); !errors.Is(err, errBudget) {
			t.Error(err)
		}
		n.stop()
		w.verified()
		stale := w.readBudget(s.budgets[0])
		stale.Version--
		err := w.db.Update(ctx, func(tx *db.Tx) error { return UpdateBudget(tx, &stale) })
		if !problem.Is(err, problem.Precondition) {
			t.Errorf("a stale edit: %v", err)
		}
	})
}

// TestSeveralNodes: banks of several nodes on one wallet and one budget never grant more than there is, and find all
// of it once the others have given back.
func TestSeveralNodes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		s.budgets = []string{w.budget(s.org, 30_000_000, "total", "UTC")}
		w.topUp(s.org, 40_000_000)
		nodes := []*node{w.start(nodeOptions{}), w.start(nodeOptions{}), w.start(nodeOptions{})}
		var done atomic.Int64
		together(12, func(i int) {
			n := nodes[i%len(nodes)]
			for range 60 {
				switch err := n.call(s, 100_000, 100, 0); {
				case err == nil:
					done.Add(1)
				case !problem.Is(err, problem.Funds):
					t.Error(err)
				}
			}
		})
		for _, n := range nodes {
			n.check()
		}
		for _, n := range nodes[1:] {
			n.stop()
		}
		w.clock.Advance(time.Second)
		for nodes[0].call(s, 100_000, 100, 0) == nil {
			done.Add(1)
		}
		nodes[0].stop()
		if done.Load() != 300 {
			t.Errorf("%d calls of 300", done.Load())
		}
		w.verified()
		if v := w.balance(wallet(s.org)); v.Balance != 10_000_000 || v.Reserved != 0 {
			t.Errorf("wallet %+v", v)
		}
	})
}

// TestRefillAhead: under load the lease grows before it runs out, and with the database away calls go on.
func TestRefillAhead(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 1e12)
		away, err := db.Open(ctx, w.dsn, db.Options{Clock: w.clock, NoSync: true})
		w.ok(err)
		n := w.start(nodeOptions{db: away})
		scope := func() *scope { return n.bank.purses[purseKey{s.org, "USD"}].wallet }
		second := func() {
			w.clock.Advance(time.Second)
			n.bank.tick.Store(db.Micros(w.clock.Now()))
			n.bank.follow()
			for len(n.bank.refill) > 0 {
				n.bank.refillAhead(ctx, <-n.bank.refill)
			}
		}
		for range 10 {
			for range 100 { // 0.1 a second: a minute's worth is 6
				w.ok(n.call(s, 1_000_000, 1000, 0))
			}
			second()
		}
		if left := scope().granted - scope().used; left < 3e9 || left > 13e9 {
			t.Errorf("%d left in the lease", left)
		}
		w.ok(n.settler.Stop(ctx))
		w.ok(away.Close())
		for range 30 { // half a minute without the database
			for range 100 {
				w.ok(n.call(s, 1_000_000, 1000, 0))
			}
			second()
		}
		n.check()
		spent := int64(40 * 100 * 1_000_000)
		for {
			if err = n.call(s, 1_000_000_000, 1_000_000, 0); err != nil {
				break
			}
			spent += 1_000_000_000
		}
		if !problem.Is(err, problem.Unavailable) {
			t.Errorf("with the lease used up: %v", err)
		}
		n.crash()
		back := w.start(nodeOptions{dir: n.dir})
		back.stop()
		if v := w.balance(wallet(s.org)); v.Balance != 1e12-spent || v.Reserved != 0 {
			t.Errorf("wallet %+v", v)
		}
		w.verified()
	})
}

// TestRefund: what closes returns in one order, and never more than is there.
func TestRefund(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		err := w.db.Update(ctx, func(tx *db.Tx) error {
			var r refund
			r.add(ledger.Account{Owner: "org_nobody", Purpose: ledger.Wallet, Currency: "USD"}, "", 0, 5)
			return r.pay(tx)
		})
		if err == nil {
			t.Error("a reservation was returned that is not there")
		}
		err = w.db.Update(ctx, func(tx *db.Tx) error {
			var r refund
			r.add(ledger.Account{}, "bud_unknown", 0, 5)
			return r.pay(tx)
		})
		if err == nil {
			t.Error("a budget's reservation was returned that is not there")
		}
	})
}
