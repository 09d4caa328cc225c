package settle

import (
	"testing"

	"github.com/tollgate-io/tollgate/internal/ledger"
)

// TestEndToEnd: calls go through spool and settlement; every account has what it should.
func TestEndToEnd(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 150_000)) // 15 % commission
		budget := w.budget(s.org, 1e9, "total", "UTC")
		s.budgets = []string{budget}
		w.topUp(s.org, 5e9)
		n := w.start(nodeOptions{})
		for range 10 {
			w.ok(n.call(s, 1_000_000, 100, 50)) // charges 100×1000 + 50×2000 = 200,000
		}
		c, err := n.begin(s, 1_000_000)
		w.ok(err)
		c.fail()
		w.ok(n.call(s, 150_000, 100, 50)) // worth more than its hold
		n.settle()
		const charged = 10*200_000 + 150_000
		if r := w.verified(); r.Events != 12 || r.Leases != 2 {
			t.Errorf("report: %+v", r)
		}
		if v := w.balance(wallet(s.org)); v.Balance != 5e9-charged || v.Reserved == 0 {
			t.Errorf("wallet %+v", v)
		}
		if v := w.balance(ledger.Account{Owner: s.provider.ID("org"), Purpose: ledger.Payable, Currency: "USD"}); v.Balance != charged*85/100 {
			t.Errorf("provider %+v", v)
		}
		if v := w.balance(ledger.Account{Owner: w.platform, Purpose: ledger.Commission, Currency: "USD"}); v.Balance != charged*15/100 {
			t.Errorf("commission %+v", v)
		}
		if b := w.readBudget(budget); b.Spent != charged || b.Held == 0 {
			t.Errorf("budget %+v", b)
		}
		events := w.events(s.org)
		if e := events[10]; e.Outcome != "failed" || e.Charge != 0 || e.Status != 502 || !e.Failed() {
			t.Errorf("failed call: %+v", e)
		}
		if e := events[11]; e.Charge != 150_000 || e.Excess != 50_000 || e.Flags&8 == 0 {
			t.Errorf("call above its hold: %+v", e)
		}
		n.stop()
		if v := w.balance(wallet(s.org)); v.Reserved != 0 {
			t.Errorf("after Stop %d is held", v.Reserved)
		}
		if b := w.readBudget(budget); b.Held != 0 {
			t.Errorf("after Stop %d is held of the budget", b.Held)
		}
		w.verified()
	})
}
