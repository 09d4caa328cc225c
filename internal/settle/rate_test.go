package settle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// TestStatefulCards: the settler rates what depends on the period's total, whatever the batches, and the bank gets
// back what the calls held too much.
func TestStatefulCards(t *testing.T) {
	for name, c := range map[string]struct {
		card string
		want []int64 // charges of calls with 400 input tokens each
	}{
		"final":     {finalCard, []int64{400_000, 400_000, 400_000, 400_000}},
		"graduated": {graduatedCard, []int64{400_000, 400_000, 200_000 + 100_000, 200_000}},
		// The third call makes all units cheaper: 1200 at 100 instead of 800 at 1000.
		"volume":    {volumeCard, []int64{400_000, 400_000, 120_000 - 800_000, 40_000}},
		"allowance": {allowanceCard, []int64{0, 300_000, 400_000, 400_000}},
		"minimum":   {minimumCard, []int64{400_000, 400_000, 400_000, 400_000}},
	} {
		t.Run(name, func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				s := w.sale(w.plan(c.card, 100_000))
				s.budgets = []string{w.budget(s.org, 1e9, "total", "UTC")}
				w.topUp(s.org, 1e9)
				n := w.start(nodeOptions{})
				total := int64(0)
				for i, want := range c.want {
					w.ok(n.call(s, 1_000_000, 400, 0))
					if i != 1 { // the second and the third settle together
						n.settle()
					}
					total += want
				}
				var got []int64
				for _, e := range w.events(s.org) {
					got = append(got, e.Charge)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				if v := w.balance(wallet(s.org)); v.Balance != 1e9-total {
					t.Errorf("wallet %+v, want %d", v, int64(1e9)-total)
				}
				used := n.bank.purses[purseKey{s.org, "USD"}].wallet.used
				spent := int64(0)
				for _, charge := range c.want {
					spent += max(charge, 0)
				}
				if used != spent {
					t.Errorf("the bank counts %d as used, %d was spent", used, spent)
				}
				n.stop()
				if v := w.balance(wallet(s.org)); v.Reserved != 0 {
					t.Errorf("after Stop %d is held", v.Reserved)
				}
				w.verified()
			})
		})
	}
}

// TestPeriods: usage counts for the period of its OPEN, and a new period begins at nothing.
func TestPeriods(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(allowanceCard, 0))
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		w.clock.Set(time.Date(2026, 3, 31, 23, 59, 59, 0, time.UTC))
		late, err := n.begin(s, 1_000_000)
		w.ok(err)
		w.clock.Set(time.Date(2026, 4, 1, 0, 0, 1, 0, time.UTC))
		w.ok(n.call(s, 1_000_000, 500, 0)) // all within April's allowance
		late.end(500, 0)                   // all within March's
		w.ok(n.call(s, 1_000_000, 10, 0))
		n.settle()
		var got []int64
		for _, e := range w.events(s.org) {
			got = append(got, e.Charge)
		}
		if diff := cmp.Diff([]int64{0, 0, 10_000}, got); diff != "" {
			t.Error(diff)
		}
		w.clock.Set(noon)
	})
}

// TestTwoNodesOnePeriod: two settlers of one subscription share its allowance, also when both begin the period.
func TestTwoNodesOnePeriod(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(allowanceCard, 0))
		w.topUp(s.org, 100e9)
		nodes := []*node{w.start(nodeOptions{}), w.start(nodeOptions{})}
		for range 5 {
			done := make(chan error)
			for _, n := range nodes {
				for range 10 {
					w.ok(n.call(s, 1_000_000, 100, 0))
				}
				go func() { done <- n.trySettle() }()
			}
			for range nodes {
				w.ok(<-done)
			}
		}
		if v := w.balance(wallet(s.org)); v.Balance != 100e9-(100*100-500)*1000 {
			t.Errorf("wallet %+v", v)
		}
		w.verified()
	})
}

// TestUnratedCalls: what delivered nothing is neither charged nor counted, whatever the card.
func TestUnratedCalls(t *testing.T) {
	const card = allowanceCard + `
  - {meter: requests, price: "0.001"}`
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(card, 0))
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		c, err := n.begin(s, 2_000_000)
		w.ok(err)
		c.fail()
		c, err = n.begin(s, 2_000_000)
		w.ok(err)
		c.rec.Outcome, c.rec.Status = spool.ClientGone, 499 // before anything was delivered
		c.close()
		c, err = n.begin(s, 2_000_000)
		w.ok(err)
		c.end(600, 0) // 100 tokens above the allowance, and a request
		n.settle()
		var got []int64
		for _, e := range w.events(s.org) {
			got = append(got, e.Charge)
		}
		if diff := cmp.Diff([]int64{0, 0, 100_000 + 1_000_000}, got); diff != "" {
			t.Error(diff)
		}
		w.verified()
	})
}

// TestNamesThatDoNotFit: a model's name with bytes that PostgreSQL refuses is settled nevertheless.
func TestNamesThatDoNotFit(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := w.sale(w.plan(finalCard, 0))
		w.topUp(s.org, 1e9)
		n := w.start(nodeOptions{})
		for _, name := range []string{"a\x00b", "caf\xc3", "模型"} {
			c, err := n.begin(s, 1_000_000)
			w.ok(err)
			c.rec.Model = name
			c.end(100, 0)
		}
		n.settle()
		var got []string
		for _, e := range w.events(s.org) {
			got = append(got, e.Model)
		}
		if diff := cmp.Diff([]string{"a\uFFFDb", "caf\uFFFD", "模型"}, got); diff != "" {
			t.Error(diff)
		}
		w.verified()
	})
}

func TestBudgetPeriods(t *testing.T) {
	at := func(s string) time.Time {
		got, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, c := range []struct{ span, zone, now, start, end string }{
		{"day", "UTC", "2026-03-10T12:00:00Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"},
		{"day", "UTC", "2026-03-10T00:00:00Z", "2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z"},
		{"day", "Asia/Shanghai", "2026-03-10T17:00:00Z", "2026-03-10T16:00:00Z", "2026-03-11T16:00:00Z"},
		{"month", "UTC", "2024-02-29T23:59:59Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"month", "America/New_York", "2026-01-01T04:59:59Z", "2025-12-01T05:00:00Z", "2026-01-01T05:00:00Z"},
		// Days of 23 and 25 hours.
		{"day", "Europe/Berlin", "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"day", "Europe/Berlin", "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"month", "Europe/Berlin", "2026-03-31T21:59:59Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"},
		// The clocks go forward at midnight: the day begins at 01:00, and the one before ends there.
		{"day", "America/Santiago", "2024-09-08T03:30:00Z", "2024-09-07T04:00:00Z", "2024-09-08T04:00:00Z"},
		{"day", "America/Santiago", "2024-09-08T04:00:00Z", "2024-09-08T04:00:00Z", "2024-09-09T03:00:00Z"},
		{"day", "Africa/Cairo", "2024-04-25T21:30:00Z", "2024-04-24T22:00:00Z", "2024-04-25T22:00:00Z"},
		{"day", "Africa/Cairo", "2024-04-25T22:30:00Z", "2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"},
		// They go back at midnight: the last hour comes twice.
		{"day", "America/Santiago", "2024-04-07T03:30:00Z", "2024-04-06T03:00:00Z", "2024-04-07T04:00:00Z"},
		{"day", "America/Havana", "2024-11-03T05:30:00Z", "2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"},
	} {
		start, end, err := period(c.span, c.zone, at(c.now))
		if err != nil || !db.Time(start).Equal(at(c.start)) || !db.Time(end).Equal(at(c.end)) {
			t.Errorf("%+v: %v to %v, %v", c, db.Time(start), db.Time(end), err)
		}
	}
	if start, end, err := period("total", "", noon); start != 0 || end != 0 || err != nil {
		t.Error(start, end, err)
	}
	// Wherever the clocks change, every moment lies in its period, and periods follow one another.
	for zone, from := range map[string]string{"America/Santiago": "2024-04-01", "Africa/Cairo": "2024-04-20", "America/Havana": "2024-03-01", "Asia/Beirut": "2024-03-20",
		"Atlantic/Azores": "2024-03-20", "Australia/Lord_Howe": "2024-03-20", "Pacific/Apia": "2011-12-20"} { // where a day was skipped
		last := int64(0)
		for now, i := at(from+"T00:00:00Z"), 0; i < 10_000; now, i = now.Add(37*time.Minute), i+1 {
			start, end, err := period("day", zone, now)
			if err != nil || start > db.Micros(now) || end <= db.Micros(now) || last != 0 && start > last {
				t.Fatalf("%s at %v: %v to %v, the one before ended %v, %v", zone, now, db.Time(start), db.Time(end), db.Time(last), err)
			}
			last = end
		}
	}
}
