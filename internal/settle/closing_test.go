package settle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
)

const feeCard = `
currency: USD
minimum: "5"
lines:
  - {name: seat, pricing: flat, price: "2", in_advance: true}
  - {name: support, pricing: flat, price: "1"}
  - {meter: tokens, when: {class: input}, price: "1", per: 1000000}
  - {meter: tokens, when: {class: output}, price: "2", per: 1000000}`

// months are periods that begin on the first, in UTC.
func months(at time.Time) (start, end time.Time) {
	start = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return start, start.AddDate(0, 1, 0)
}

func (w *world) closer(list ...Contract) *Closer {
	slices.SortFunc(list, func(a, b Contract) int { return strings.Compare(a.Subscription, b.Subscription) })
	return NewCloser(w.db, CloserOptions{Platform: w.platform, Terms: w.findTerms, Clock: w.clock,
		Contracts: func(_ context.Context, after string, _ int) ([]Contract, bool, error) {
			for i, k := range list {
				if k.Subscription > after {
					return list[i : i+1], i+1 < len(list), nil // a page of one, to see that pages are followed
				}
			}
			return nil, false, nil
		}})
}

func (w *world) contract(plan db.UUID, org, provider db.UUID) Contract {
	return Contract{Subscription: db.NewID("sub", w.clock.Now()), Org: org.ID("org"), Provider: provider.ID("org"), PlanVersion: plan, Started: noon, Period: months}
}

func (w *world) owes(org db.UUID) int64 {
	return w.balance(ledger.Account{Owner: org.ID("org"), Purpose: ledger.Receivable, Currency: "USD"}).Balance
}

func TestClosing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		org, provider := db.NewUUID(noon), db.NewUUID(noon)
		w.topUp(org, 20e9)
		k := w.contract(w.plan(feeCard, 100_000), org, provider)
		c := w.closer(k, w.contract(w.plan(finalCard, 0), org, provider))
		run := func(want int) {
			t.Helper()
			n, err := c.Run(ctx)
			w.ok(err)
			if n != want {
				t.Fatalf("%d periods were touched, want %d", n, want)
			}
		}
		run(1) // the seat, in advance
		run(0)
		if got := w.balance(wallet(org)).Balance; got != 18e9 {
			t.Fatal(got)
		}
		w.clock.Set(time.Date(2026, 4, 1, 0, 30, 0, 0, time.UTC))
		run(1) // April opens; March is not closed before the grace is over
		w.clock.Set(time.Date(2026, 4, 1, 1, 0, 0, 0, time.UTC))
		run(1) // March: support 1, and 2 more to the minimum of 5
		if got := w.balance(wallet(org)).Balance; got != 13e9 {
			t.Fatal(got)
		}
		if got := w.balance(ledger.Account{Owner: provider.ID("org"), Purpose: ledger.Payable, Currency: "USD"}).Balance; got != 63e8 {
			t.Fatal(got)
		}
		// Nobody looked for months: everything is caught up, and what the wallet does not cover is owed.
		w.clock.Set(time.Date(2026, 9, 15, 0, 0, 0, 0, time.UTC))
		run(5 + 5)
		if wallet, owed := w.balance(wallet(org)).Balance, w.owes(org); wallet != 0 || owed != -12e9 {
			t.Fatal(wallet, owed)
		}
		run(0)
		w.verified()
	})
}

func TestClosingOfWhatWasUsedAndEnded(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		org, provider := db.NewUUID(noon), db.NewUUID(noon)
		w.topUp(org, 20e9)
		plan := w.plan(minimumCard, 0)
		k := w.contract(plan, org, provider)
		k.Ended = noon.Add(time.Hour)
		w.clock.Advance(3 * time.Hour)
		c := w.closer(k)
		touched, err := c.Run(ctx)
		w.ok(err)
		if touched != 1 || w.balance(wallet(org)).Balance != 15e9 {
			t.Fatal(touched, w.balance(wallet(org)).Balance)
		}
		w.clock.Advance(90 * 24 * time.Hour)
		if touched, err = c.Run(ctx); err != nil || touched != 0 {
			t.Fatal("an ended subscription goes on costing", touched, err)
		}
	})
}

func TestClosingGoesOnAfterAFault(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		org, provider := db.NewUUID(noon), db.NewUUID(noon)
		w.topUp(org, 20e9)
		bad := w.contract(db.NewUUID(noon), org, provider) // there is no such plan version
		good := w.contract(w.plan(feeCard, 0), org, provider)
		n, err := w.closer(bad, good).Run(ctx)
		if n != 1 || err == nil || errors.Is(err, ledger.ErrFunds) {
			t.Fatal(n, err)
		}
	})
}
