package meter_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var (
	ctx   = context.Background()
	sets  = []db.Migrations{meter.Migrations}
	start = time.Date(2026, 3, 10, 22, 0, 0, 0, time.UTC)
)

// events makes n events over some three hours of several organisations, keys, providers, products and currencies.
func events(n int, seed uint64) []meter.Event {
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(prefix string, n int) string { return fmt.Sprint(prefix, r.IntN(n)) }
	list := make([]meter.Event, n)
	for i := range list {
		at := start.Add(time.Duration(i) * 3 * time.Hour / time.Duration(n))
		e := meter.Event{
			ID: db.NewID("evt", at), At: db.Micros(at), Org: pick("org_", 3), Key: pick("key_", 2), Provider: pick("org_p", 2), Product: pick("prd_", 3), Version: "ver_1",
			Upstream: "ups_1", Subscription: "sub_1", PlanVersion: "plv_1", Model: pick("model", 2), Outcome: "completed", Status: 200, Flags: int64(r.IntN(16)),
			Attempts: 1, Currency: []string{"USD", "CNY"}[r.IntN(2)], Charge: r.Int64N(2000) - 100, Commission: r.Int64N(100), Hold: 2000, Excess: r.Int64N(3),
			BytesIn: r.Int64N(9999), BytesOut: r.Int64N(9999), Duration: r.Int64N(1e6), FirstByte: r.Int64N(1e5),
			RequestDigest: []byte{byte(i), 0}, ResponseDigest: []byte{0, byte(i)}, Txn: "txn_1",
		}
		for c := range e.Usage {
			e.Usage[c] = r.Int64N(1000)
		}
		if r.IntN(3) == 0 {
			e.Meter, e.Units = []string{"characters", "images"}[r.IntN(2)], r.Int64N(9000)
		}
		if r.IntN(5) == 0 {
			e.Outcome, e.Status = "failed", 502
		}
		list[i] = e
	}
	return list
}

func insert(t *testing.T, d *db.DB, list []meter.Event) {
	t.Helper()
	if err := d.Settle(ctx, func(tx *db.Tx) error { return meter.Insert(tx, list) }); err != nil {
		t.Fatal(err)
	}
}

// TestInsert: what was written is read, once.
func TestInsert(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		list := events(150, 1)
		insert(t, d, list)
		insert(t, d, nil)
		s := meter.New(d)
		for _, e := range list[:3] {
			got, err := s.Get(ctx, e.ID)
			if diff := gocmp.Diff(e, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		}
		if _, err := s.Get(ctx, "evt_unknown"); !problem.Is(err, problem.NotFound) {
			t.Errorf("an unknown event: %v", err)
		}
		err := d.Settle(ctx, func(tx *db.Tx) error { return meter.Insert(tx, []meter.Event{events(1, 2)[0], list[7]}) })
		if !db.IsUnique(err) {
			t.Errorf("an event twice: %v", err)
		}
		above := events(1, 3)
		above[0].Charge = above[0].Hold + 1
		if err := d.Settle(ctx, func(tx *db.Tx) error { return meter.Insert(tx, above) }); !db.IsCheck(err) {
			t.Errorf("a charge above its hold: %v", err)
		}
		err = d.View(ctx, func(tx *db.Tx) error {
			known, err := meter.Known(tx, []string{list[0].ID, "evt_unknown", list[149].ID})
			if diff := gocmp.Diff(map[string]bool{list[0].ID: true, list[149].ID: true}, known); diff != "" {
				t.Error(diff)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		if got, _, _ := s.List(ctx, meter.Filter{}, "", 1000); len(got) != 150 {
			t.Errorf("%d events: a refused batch left some", len(got))
		}
	})
}

// sum is what Sum should say, from the events themselves.
func sum(list []meter.Event, f meter.Filter, group func(*meter.Event) string) []meter.Sum {
	by := map[[2]string]*meter.Sum{}
	for i := range list {
		e := &list[i]
		hour := db.Time(e.At).Truncate(time.Hour)
		in := (f.Org == "" || f.Org == e.Org) && (f.Key == "" || f.Key == e.Key) && (f.Provider == "" || f.Provider == e.Provider) &&
			(f.Product == "" || f.Product == e.Product) && (f.Model == "" || f.Model == e.Model) &&
			(f.From.IsZero() || !hour.Before(f.From)) && (f.To.IsZero() || hour.Before(f.To))
		if !in {
			continue
		}
		k := [2]string{group(e), e.Currency}
		s := by[k]
		if s == nil {
			s = &meter.Sum{Group: k[0], Currency: k[1]}
			by[k] = s
		}
		s.Events++
		if e.Failed() {
			s.Failures++
		}
		s.Charge += e.Charge
		s.Commission += e.Commission
		s.Duration += e.Duration
		for c, n := range e.Usage {
			s.Usage[c] += n
		}
		if e.Meter != "" {
			at := slices.IndexFunc(s.Units, func(u meter.Units) bool { return u.Meter == e.Meter })
			if at < 0 {
				at = len(s.Units)
				s.Units = append(s.Units, meter.Units{Meter: e.Meter})
				slices.SortFunc(s.Units, func(a, b meter.Units) int { return cmp.Compare(a.Meter, b.Meter) })
				at = slices.IndexFunc(s.Units, func(u meter.Units) bool { return u.Meter == e.Meter })
			}
			s.Units[at].Thousandths += e.Units
		}
	}
	var out []meter.Sum
	for _, s := range by {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b meter.Sum) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Currency, b.Currency))
	})
	return out
}

// TestSum: sums from the rollups equal those of the events, for every grouping and filter.
func TestSum(t *testing.T) {
	groups := map[string]func(*meter.Event) string{
		"":         func(*meter.Event) string { return "" },
		"org":      func(e *meter.Event) string { return e.Org },
		"key":      func(e *meter.Event) string { return e.Key },
		"provider": func(e *meter.Event) string { return e.Provider },
		"product":  func(e *meter.Event) string { return e.Product },
		"model":    func(e *meter.Event) string { return e.Model },
		"hour":     func(e *meter.Event) string { return fmt.Sprint(db.Micros(db.Time(e.At).Truncate(time.Hour))) },
		"day":      func(e *meter.Event) string { return fmt.Sprint(db.Micros(db.Time(e.At).Truncate(24 * time.Hour))) },
	}
	filters := []meter.Filter{{}, {Org: "org_1"}, {Org: "org_1", Key: "key_0", Provider: "org_p1", Product: "prd_2", Model: "model1"},
		{From: start.Add(time.Hour)}, {To: start.Add(2 * time.Hour)}, {Provider: "org_p0", From: start.Add(time.Hour), To: start.Add(2 * time.Hour)}, {Org: "org_none"}}
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		list := events(600, 4)
		for part := range slices.Chunk(list, 70) {
			insert(t, d, part)
		}
		s := meter.New(d)
		for name, group := range groups {
			for _, f := range filters {
				got, err := s.Sum(ctx, f, name)
				if diff := gocmp.Diff(sum(list, f, group), got); diff != "" || err != nil {
					t.Errorf("by %q, %+v: %v %s", name, f, err, diff)
				}
			}
		}
		if _, err := s.Sum(ctx, meter.Filter{}, "txn; DROP TABLE usage_event"); !problem.Is(err, problem.Invalid) {
			t.Errorf("an unknown grouping: %v", err)
		}
		err := d.View(ctx, func(tx *db.Tx) error {
			a1, b1, n1, err := meter.Totals(tx)
			if err != nil {
				return err
			}
			a2, b2, n2, err := meter.RollupTotals(tx)
			for _, diff := range []string{gocmp.Diff(a1, a2), gocmp.Diff(b1, b2), gocmp.Diff(n1, n2)} {
				if diff != "" {
					t.Error(diff)
				}
			}
			if n1["USD"]+n1["CNY"] != 600 {
				t.Errorf("events: %v", n1)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// TestList pages through all events, newest first, within each filter.
func TestList(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		list := events(100, 5)
		insert(t, d, list)
		s := meter.New(d)
		for _, f := range []meter.Filter{{}, {Org: "org_2"}, {Provider: "org_p1"}, {Key: "key_1", Product: "prd_0", Model: "model0"},
			{From: db.Time(list[20].At), To: db.Time(list[60].At)}} {
			var want, got []string
			for i := len(list) - 1; i >= 0; i-- {
				e := &list[i]
				if (f.Org == "" || f.Org == e.Org) && (f.Provider == "" || f.Provider == e.Provider) && (f.Key == "" || f.Key == e.Key && f.Product == e.Product && f.Model == e.Model) &&
					(f.From.IsZero() || i >= 20 && i < 60) {
					want = append(want, e.ID)
				}
			}
			for before, more := "", true; more; {
				var page []meter.Event
				var err error
				if page, more, err = s.List(ctx, f, before, 7); err != nil {
					t.Fatal(err)
				}
				if len(page) > 7 || more && len(page) != 7 {
					t.Fatalf("a page of %d", len(page))
				}
				for i := range page {
					got = append(got, page[i].ID)
					before = page[i].ID
				}
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("%+v: %s", f, diff)
			}
		}
	})
}

// TestConcurrentRollups: nodes that add to the same rollups in every order neither deadlock nor lose anything.
func TestConcurrentRollups(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for i := range 5 {
					if err := d.Settle(ctx, func(tx *db.Tx) error { return meter.Insert(tx, events(40, uint64(10*g+i))) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		got, err := meter.New(d).Sum(ctx, meter.Filter{}, "")
		if err != nil || got[0].Events+got[1].Events != 1200 {
			t.Errorf("%+v %v", got, err)
		}
	})
}
