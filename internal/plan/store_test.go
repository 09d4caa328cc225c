package plan

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
)

func TestPlanVersions(t *testing.T) {
	each(t, func(w *world) {
		lab, early, late := w.org("lab", org.Provider), w.org("early", org.Consumer), w.org("late", org.Consumer)
		b := w.book(BookOptions{})
		p, plan := w.sold(lab, "small", "small-1", false)
		in := plan.input()
		must(w.Subscribe(w.ctx, w.who, early, SubscribeInput{PlanID: plan.ID}))

		// Publishing what has not changed makes nothing new.
		if same := must(w.PublishPlan(w.ctx, w.who, plan.ID, plan.Revision, 50_000)); same.Revision != plan.Revision || same.Current.Number != 1 {
			w.Fatalf("%+v", same)
		}
		in.Card = card("0.30")
		in.Limits = Limits{RPM: 10}
		plan = must(w.UpdatePlan(w.ctx, w.who, plan.ID, plan.Revision, in))
		if plan.Current.Number != 1 || plan.Current.Card.Lines[0].Price != "0.15" {
			w.Fatal("an edit changed what is published")
		}
		plan = must(w.PublishPlan(w.ctx, w.who, plan.ID, plan.Revision, 70_000))
		must(w.Subscribe(w.ctx, w.who, late, SubscribeInput{PlanID: plan.ID}))
		price := func(orgID string) (int64, *Offer) {
			o := must(b.Resolve(orgUUID(orgID), []byte("small-1")))
			q := rating.Tokens{}
			q[rating.Input] = 1_000_000
			nano, ok := o.Card.TokenCharge(&q)
			if !ok {
				w.Fatal("the card is not final")
			}
			return nano, o
		}
		if nano, o := price(early); nano != 150_000_000 || o.CommissionPPM != 50_000 || o.Limits.RPM != 0 {
			w.Fatalf("a running subscription's terms changed: %d, %+v", nano, o)
		}
		if nano, o := price(late); nano != 300_000_000 || o.CommissionPPM != 70_000 || o.Limits.RPM != 10 {
			w.Fatalf("a new subscription is not on the new terms: %d, %+v", nano, o)
		}
		history := must(w.Versions(w.ctx, plan.ID))
		if len(history) != 2 || history[0].Number != 2 || history[1].Card.Lines[0].Price != "0.15" {
			w.Fatalf("%+v", history)
		}
		for _, v := range history {
			if got := must(b.Version(w.ctx, v.UUID)); got.Currency != "USD" || got.Compiled == nil || got.CommissionPPM != v.CommissionPPM {
				w.Fatalf("%+v", got)
			}
		}
		_, err := b.Version(w.ctx, db.NewUUID(start))
		refused(w, err, problem.NotFound, "plan.not_found")
		if sale := b.OnSale(); len(sale) != 1 || sale[0].Product.ID != p.ID || sale[0].Provider != "lab" || sale[0].Plans[0].Current.Number != 2 {
			w.Fatalf("%+v", sale)
		}
		// A commission agreed for the plan goes before the operator's.
		own := int64(0)
		in.CommissionPPM = &own
		plan = must(w.UpdatePlan(w.ctx, w.who, plan.ID, catalog.Any, in))
		if plan = must(w.PublishPlan(w.ctx, w.who, plan.ID, catalog.Any, 70_000)); plan.Current.CommissionPPM != 0 || plan.Current.Number != 3 {
			w.Fatalf("%+v", plan.Current)
		}
	})
}

func TestPlanRules(t *testing.T) {
	each(t, func(w *world) {
		lab := w.org("lab", org.Provider)
		p := w.product(lab, "small", "small-1")
		create := func(in Input) error { _, err := w.CreatePlan(w.ctx, w.who, p.ID, in); return err }
		half := &rating.Card{Currency: "USD", Lines: []rating.Line{{Meter: "tokens", When: &rating.When{Class: rating.OneOf{"input"}}, Price: "1", Per: 1000}}}
		negative := &rating.Card{Currency: "USD", Lines: []rating.Line{{Meter: "tokens", Price: "-1", Per: 1000}}}
		ppm := int64(1_000_001)
		for _, c := range []struct {
			in     Input
			fields string
		}{
			{Input{Name: "a"}, "card"},
			{Input{Name: "a", Card: half}, "card.lines"},
			{Input{Name: "a", Card: negative}, "card.lines[0].price"},
			{Input{Name: "A", Card: card("1"), AutoSubscribe: true, Limits: Limits{RPM: -1}, CommissionPPM: &ppm}, "name auto_subscribe limits.rpm commission_ppm"},
		} {
			var got []string
			for _, f := range refused(w, create(c.in), problem.Unprocessable, "plan.invalid").Fields {
				got = append(got, f.Path)
			}
			if strings.Join(got, " ") != c.fields {
				w.Errorf("fields %v, want %s", got, c.fields)
			}
		}
		// Without a price nothing is sold.
		_, err := w.PublishProduct(w.ctx, w.who, p.ID, catalog.Any)
		refused(w, err, problem.Conflict, "plan.no_price")
		check(create(Input{Name: "a", Card: card("1"), Public: true, AutoSubscribe: true}))
		_, err = w.PublishProduct(w.ctx, w.who, p.ID, catalog.Any)
		refused(w, err, problem.Conflict, "plan.no_price")
		if e := refused(w, create(Input{Name: "a", Card: card("1")}), problem.Conflict, "plan.taken"); e.Fields[0].Path != "name" {
			w.Fatal(e.Fields)
		}
		refused(w, create(Input{Name: "b", Card: card("1"), Public: true, AutoSubscribe: true}), problem.Conflict, "plan.auto_taken")
		check(create(Input{Name: "b", Card: card("1")}))
		plans, more, err := w.Plans(w.ctx, Filter{ProductID: p.ID}, "", 10)
		if err != nil || more || len(plans) != 2 {
			w.Fatalf("%v %v %v", plans, more, err)
		}
		a, second := plans[0], plans[1]
		if a.Name != "a" {
			a, second = second, a
		}
		_, err = w.UpdatePlan(w.ctx, w.who, second.ID, second.Revision, Input{Card: card("1"), Public: true, AutoSubscribe: true})
		refused(w, err, problem.Conflict, "plan.auto_taken")
		_, err = w.UpdatePlan(w.ctx, w.who, second.ID, 9, Input{Card: card("1")})
		refused(w, err, problem.Precondition, "plan.stale")
		if same := must(w.UpdatePlan(w.ctx, w.who, second.ID, 1, Input{Card: card("1")})); same.Revision != 1 {
			w.Fatal("an edit without a change changed")
		}
		_, err = w.UpdatePlan(w.ctx, w.who, second.ID, 1, Input{Name: "c", Card: card("1")})
		refused(w, err, problem.Unprocessable, "plan.rename")
		_, err = w.SetPlanState(w.ctx, w.who, a.ID, catalog.Any, Suspended, "why")
		refused(w, err, problem.Conflict, "plan.state")
		must(w.SetPlanState(w.ctx, w.who, a.ID, catalog.Any, catalog.Retired, "why"))
		_, err = w.PublishPlan(w.ctx, w.who, a.ID, catalog.Any, 0)
		refused(w, err, problem.Conflict, "plan.state")
		_, err = w.UpdatePlan(w.ctx, w.who, a.ID, catalog.Any, Input{Card: card("2")})
		refused(w, err, problem.Conflict, "plan.retired")
		// The retired one no longer is in the way.
		must(w.UpdatePlan(w.ctx, w.who, second.ID, catalog.Any, Input{Card: card("1"), Public: true, AutoSubscribe: true}))
		_, err = w.CreatePlan(w.ctx, w.who, "prd_none", Input{Name: "a", Card: card("1")})
		refused(w, err, problem.NotFound, "catalog.not_found")
	})
}

func TestSubscriptionLife(t *testing.T) {
	each(t, func(w *world) {
		lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
		p, plan := w.sold(lab, "small", "small-1", true)
		b := w.book(BookOptions{})
		_, err := w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: plan.ID, Zone: "Mars/Olympus"})
		refused(w, err, problem.Unprocessable, "plan.zone")
		_, err = w.Subscribe(w.ctx, w.who, "org_none", SubscribeInput{PlanID: plan.ID})
		refused(w, err, problem.NotFound, "org.unknown")
		sub := must(w.Subscribe(w.ctx, audit.Actor{Org: shop, User: "usr_1", Key: "key_1"}, shop, SubscribeInput{PlanID: plan.ID, Zone: "Asia/Shanghai"}))
		if sub.State != Active || sub.Currency != "USD" || sub.PlanVersionID != plan.Current.ID || !sub.Anchor.Equal(start) || sub.Auto {
			w.Fatalf("%+v", sub)
		}
		_, err = w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: plan.ID})
		refused(w, err, problem.Conflict, "plan.subscribed")
		set := func(to State, reason string, given bool) error {
			w.time.Advance(time.Minute)
			next, err := w.SetSubscriptionState(w.ctx, w.who, sub.ID, sub.Revision, to, reason, given)
			if err == nil {
				sub = next
			}
			return err
		}
		refused(w, set(Suspended, "", true), problem.Unprocessable, "plan.reason")
		check(set(Suspended, "unpaid", true))
		// Ending and subscribing again is no way round a suspension.
		refused(w, set(Ended, "bye", false), problem.Forbidden, "plan.end_suspended")
		_, err = w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: plan.ID})
		refused(w, err, problem.Conflict, "plan.subscribed")
		check(b.AutoSubscribe(w.ctx, shop, plan.ID)) // there is one
		_, err = b.Resolve(orgUUID(shop), []byte("small-1"))
		refused(w, err, problem.Forbidden, "plan.subscription_suspended")

		check(set(Active, "", true))
		check(set(Ended, "bye", false))
		refused(w, set(Active, "", true), problem.Conflict, "plan.state")
		// A first call does not begin again what was ended.
		_, err = b.Resolve(orgUUID(shop), []byte("small-1"))
		refused(w, err, problem.Forbidden, "plan.not_subscribed")
		refused(w, b.AutoSubscribe(w.ctx, shop, plan.ID), problem.Forbidden, "plan.not_subscribed")
		if all, _, err := w.Subscriptions(w.ctx, SubscriptionFilter{OrgID: shop, ProductID: p.ID}, "", 10); err != nil || len(all) != 1 || all[0].Ended.IsZero() {
			w.Fatalf("%v %v", all, err)
		}
		// Its periods are known still.
		if from := must(b.PeriodStart(w.ctx, sub.ID, start.AddDate(0, 0, 40))); !from.Equal(time.Date(2026, 2, 28, 10, 0, 0, 0, time.UTC)) {
			w.Fatal(from)
		}
		must(w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: plan.ID}))
		must(b.Resolve(orgUUID(shop), []byte("small-1")))

		var steps []string
		for _, c := range must(w.History(w.ctx, sub.ID)) {
			steps = append(steps, string(c.From)+">"+string(c.To)+" "+c.Reason+" "+c.Actor)
		}
		if got := strings.Join(steps, ", "); got != ">active  key_1, active>suspended unpaid test, suspended>active  test, active>ended bye test" {
			w.Fatal(got)
		}
	})
}

func TestSuspendedOrganisations(t *testing.T) {
	each(t, func(w *world) {
		lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
		_, plan := w.sold(lab, "small", "small-1", true)
		b := w.book(BookOptions{})
		check(b.AutoSubscribe(w.ctx, shop, plan.ID))
		must(w.orgs.Suspend(w.ctx, w.who, lab, "fraud", 0))
		_, err := b.Resolve(orgUUID(shop), []byte("small-1"))
		refused(w, err, problem.Forbidden, "plan.provider_suspended")
		if len(b.OnSale()) != 0 || len(b.Models(orgUUID(shop))) != 0 {
			w.Fatal("still shown")
		}
		other := w.org("other", org.Consumer)
		must(w.orgs.Suspend(w.ctx, w.who, other, "fraud", 0))
		refused(w, b.AutoSubscribe(w.ctx, other, plan.ID), problem.Forbidden, "plan.org_suspended")
	})
}

// TestOneTransaction puts a whole catalogue in place at once, and nothing of it if one part fails.
func TestOneTransaction(t *testing.T) {
	each(t, func(w *world) {
		lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
		b := w.book(BookOptions{})
		apply := func(currency string) error {
			return w.d.Update(w.ctx, func(tx *db.Tx) error {
				if _, err := w.goods.CreateUpstreamTx(tx, w.who, lab, catalog.UpstreamInput{Name: "main", URL: "http://192.0.2.1/v1"}); err != nil {
					return err
				}
				p, err := w.goods.CreateProductTx(tx, w.who, lab, catalog.ProductInput{Name: "small"})
				if err != nil {
					return err
				}
				if _, err := w.goods.CreateVersionTx(tx, w.who, p.ID, catalog.Any, catalog.VersionInput{Name: "v1", Targets: []catalog.TargetInput{{Upstream: "main"}}}); err != nil {
					return err
				}
				c := card("1")
				c.Currency = currency
				plan, err := w.CreatePlanTx(tx, w.who, p.ID, Input{Name: "payg", Card: c})
				if err != nil {
					return err
				}
				if _, err := w.PublishPlanTx(tx, w.who, plan.ID, catalog.Any, 0); err != nil {
					return err
				}
				if _, err := w.PublishProductTx(tx, w.who, p.ID, catalog.Any); err != nil {
					return err
				}
				_, err = w.SubscribeTx(tx, w.who, shop, SubscribeInput{PlanID: plan.ID, Given: true})
				return err
			})
		}
		refused(w, apply("XYZ"), problem.Unprocessable, "plan.invalid")
		if us, _, err := w.goods.Upstreams(w.ctx, catalog.Filter{}, "", 10); err != nil || len(us) != 0 {
			w.Fatalf("half a catalogue: %v %v", us, err)
		}
		check(apply("USD"))
		must(b.Resolve(orgUUID(shop), []byte("lab/small")))
	})
}

// TestAutoSubscribeOnce lets many callers of two processes make the first call at once.
func TestAutoSubscribeOnce(t *testing.T) {
	for engine, dsn := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN} {
		t.Run(engine, func(t *testing.T) {
			at, c := dsn(t), clock.NewManual(start)
			w := newWorld(t, dbtest.Open(t, at, db.Options{Clock: c}, sets), c)
			w2 := newWorld(t, dbtest.Open(t, at, db.Options{Clock: c}, sets), c)
			lab := w.org("lab", org.Provider)
			p, plan := w.sold(lab, "small", "small-1", true)
			books := []*Book{w.book(BookOptions{}), w2.book(BookOptions{})}
			for _, name := range []string{"a", "b", "c"} {
				shop := w.org(name, org.Consumer)
				var wg sync.WaitGroup
				errs := make([]error, 64)
				for i := range errs {
					wg.Go(func() {
						b := books[i%2]
						if errs[i] = b.AutoSubscribe(w.ctx, shop, plan.ID); errs[i] == nil {
							_, errs[i] = b.Resolve(orgUUID(shop), []byte("small-1"))
						}
					})
				}
				wg.Wait()
				if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
					t.Fatal(errs[i])
				}
				subs, _, err := w.Subscriptions(w.ctx, SubscriptionFilter{OrgID: shop, ProductID: p.ID}, "", 10)
				if len(must(subs, err)) != 1 || !subs[0].Auto || len(must(w.History(w.ctx, subs[0].ID))) != 1 {
					t.Fatalf("%d subscriptions", len(subs))
				}
			}
		})
	}
}

// TestOtherProcess sees changes of one process in the Book of another.
func TestOtherProcess(t *testing.T) {
	for engine, dsn := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN} {
		t.Run(engine, func(t *testing.T) {
			at, c := dsn(t), clock.NewManual(start)
			w := newWorld(t, dbtest.Open(t, at, db.Options{Clock: c}, sets), c)
			w2 := newWorld(t, dbtest.Open(t, at, db.Options{Clock: c}, sets), c)
			w2.goods = w.goods // one sealer
			b := w2.book(BookOptions{Every: time.Millisecond})
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { b.Run(ctx) })
			defer wg.Wait()
			defer stop()
			lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
			p, plan := w.sold(lab, "small", "small-1", true)
			must(w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: plan.ID}))
			// seen waits until the other process answers with the id of an error, or "" for none.
			seen := func(id string) {
				for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
					_, err := b.Resolve(orgUUID(shop), []byte("small-1"))
					if err == nil && id == "" || err != nil && problem.As(err).ID == id {
						return
					}
				}
			}
			seen("")
			must(w.goods.SuspendProduct(w.ctx, w.who, p.ID, catalog.Any, "kill"))
			seen("plan.product_suspended")
			must(w.goods.ResumeProduct(w.ctx, w.who, p.ID, catalog.Any))
			seen("")
			must(w.SetPlanState(w.ctx, w.who, plan.ID, catalog.Any, Suspended, "kill"))
			seen("plan.plan_suspended")
		})
	}
}

// TestBookOutlivesDatabase: what is in memory answers while the database is away.
func TestBookOutlivesDatabase(t *testing.T) {
	c := clock.NewManual(start)
	d := must(db.Open(t.Context(), dbtest.SQLiteDSN(t), db.Options{Clock: c, NoSync: true}))
	check(d.Migrate(t.Context(), sets...))
	w := newWorld(t, d, c)
	b := w.book(BookOptions{Clock: c})
	var told []int64
	b.OnChange(func(s *catalog.Snapshot) { told = append(told, s.Rev) })
	_, plan := w.sold(w.org("lab", org.Provider), "small", "small-1", true)
	shop := w.org("shop", org.Consumer)
	check(b.AutoSubscribe(w.ctx, shop, plan.ID))
	if len(told) < 3 || !slices.IsSorted(told) {
		t.Fatalf("told of %v", told)
	}
	check(d.Close())
	c.Advance(time.Hour)
	if b.Refresh(t.Context()) == nil {
		t.Fatal("the database is closed")
	}
	must(b.Resolve(orgUUID(shop), []byte("small-1")))
	must(b.Version(t.Context(), plan.Current.UUID))
	if at, err := b.Health(); err == nil || !at.Equal(start) {
		t.Fatalf("current as of %v, %v", at, err)
	}
}
