package plan

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/tollgate-io/tollgate/internal/secret"
)

var sets = []db.Migrations{audit.Migrations, org.Migrations, catalog.Migrations, Migrations}

var start = time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)

// world is the stores on a fresh database, whose clock stands unless it is moved.
type world struct {
	testing.TB
	*Store
	d     *db.DB
	ctx   context.Context
	who   audit.Actor
	orgs  *org.Store
	goods *catalog.Store
	time  *clock.Manual
}

func each(t *testing.T, fn func(w *world)) {
	c := clock.NewManual(start)
	dbtest.EachWith(t, db.Options{Clock: c}, sets, func(t *testing.T, d *db.DB) { fn(newWorld(t, d, c)) })
}

func newWorld(t testing.TB, d *db.DB, c *clock.Manual) *world {
	c.Set(start)
	goods := catalog.New(d, must(secret.Parse(secret.Generate().Reveal())))
	return &world{TB: t, Store: New(d, goods), d: d, ctx: context.Background(), who: audit.System("test"), orgs: org.New(d), goods: goods, time: c}
}

// must returns v; an error is a panic, which ends the test with its stack.
func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// refused checks that err is of the kind and id.
func refused(t testing.TB, err error, kind problem.Kind, id string) *problem.Error {
	t.Helper()
	if !problem.Is(err, kind) || problem.As(err).ID != id {
		t.Fatalf("got %v, want %s", err, id)
	}
	return problem.As(err)
}

func (w *world) book(o BookOptions) *Book {
	return must(NewBook(w.ctx, w.d, w.Store, w.orgs, o))
}

func (w *world) org(name string, parts org.Parts) string {
	return must(w.orgs.Create(w.ctx, w.who, org.Draft{Name: name, Parts: parts})).ID
}

func card(price string) *rating.Card {
	return must(rating.ParseCard(fmt.Appendf(nil, `
currency: USD
lines:
  - {meter: tokens, when: {class: input}, price: "%s", per: 1000000}
  - {meter: tokens, when: {class: output}, price: "0.60", per: 1000000}
`, price)))
}

// product makes a product with an upstream and one version, as a draft.
func (w *world) product(provider, name, model string) *catalog.Product {
	_, err := w.goods.CreateUpstream(w.ctx, w.who, provider, catalog.UpstreamInput{Name: "main", URL: "http://192.0.2.1/v1"})
	if err != nil && !problem.Is(err, problem.Conflict) {
		panic(err)
	}
	p := must(w.goods.CreateProduct(w.ctx, w.who, provider, catalog.ProductInput{Name: name, Model: model}))
	return must(w.goods.CreateVersion(w.ctx, w.who, p.ID, p.Revision, catalog.VersionInput{Name: "v1", Targets: []catalog.TargetInput{{Upstream: "main"}}}))
}

// sold makes a product with a public plan, both published.
func (w *world) sold(provider, name, model string, auto bool) (*catalog.Product, *Plan) {
	p := w.product(provider, name, model)
	plan := must(w.CreatePlan(w.ctx, w.who, p.ID, Input{Name: "payg", Public: true, AutoSubscribe: auto, Card: card("0.15")}))
	plan = must(w.PublishPlan(w.ctx, w.who, plan.ID, catalog.Any, 50_000))
	return must(w.PublishProduct(w.ctx, w.who, p.ID, catalog.Any)), plan
}

func orgUUID(id string) db.UUID { return must(db.ParseID(id, "org")) }

func TestFirstCallSubscribes(t *testing.T) {
	each(t, func(w *world) {
		lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
		b := w.book(BookOptions{})
		p, plan := w.sold(lab, "small", "small-1", true)

		_, err := b.Resolve(orgUUID(shop), []byte("small-1"))
		var needs *NeedsSubscription
		if !errors.As(err, &needs) || needs.PlanID != plan.ID {
			w.Fatalf("got %v", err)
		}
		refused(w, err, problem.Forbidden, "plan.not_subscribed")
		check(b.AutoSubscribe(w.ctx, shop, needs.PlanID))
		check(b.AutoSubscribe(w.ctx, shop, needs.PlanID))
		for _, name := range []string{"small-1", "lab/small-1"} {
			o := must(b.Resolve(orgUUID(shop), []byte(name)))
			if o.ProductID != p.ID || o.PlanVersionID != plan.Current.ID || o.ProviderID != lab || o.ProviderName != "lab" || o.ConsumerID != shop ||
				o.Currency != "USD" || o.CommissionPPM != 50_000 || o.MaxOutput != 4096 || o.Card == nil || o.Version.Name != "v1" {
				w.Fatalf("%+v", o)
			}
			from, to := o.Period(start)
			if !from.Equal(start) || !to.Equal(time.Date(2026, 2, 28, 10, 0, 0, 0, time.UTC)) {
				w.Fatalf("period %v – %v", from, to)
			}
		}
		_, err = b.Resolve(orgUUID(shop), []byte("other"))
		refused(w, err, problem.NotFound, "plan.model_unknown")

		other := w.org("other", org.Consumer)
		must(w.orgs.PutSetting(w.ctx, w.who, org.SettingAutoSubscribe, []byte("false"), 0))
		refused(w, b.AutoSubscribe(w.ctx, other, needs.PlanID), problem.Forbidden, "plan.not_subscribed") // before the book has heard
		check(b.Refresh(w.ctx))
		_, err = b.Resolve(orgUUID(other), []byte("small-1"))
		if refused(w, err, problem.Forbidden, "plan.not_subscribed"); errors.As(err, &needs) {
			w.Fatal("the operator does not allow it")
		}
	})
}

func TestKillSwitches(t *testing.T) {
	each(t, func(w *world) {
		lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
		p, plan := w.sold(lab, "small", "small-1", true)
		sub := must(w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: plan.ID}))
		b := w.book(BookOptions{})
		up, _, err := w.goods.Upstreams(w.ctx, catalog.Filter{OrgID: lab}, "", 10)
		check(err)
		call := func() error {
			_, err := b.Resolve(orgUUID(shop), []byte("small-1"))
			return err
		}
		check(call())
		for _, s := range []struct {
			id      string
			kind    problem.Kind
			off, on func() error
		}{
			{"plan.product_suspended", problem.Forbidden, func() error {
				_, err := w.goods.SuspendProduct(w.ctx, w.who, p.ID, catalog.Any, "kill")
				return err
			}, func() error { _, err := w.goods.ResumeProduct(w.ctx, w.who, p.ID, catalog.Any); return err }},
			{"plan.plan_suspended", problem.Forbidden, func() error {
				_, err := w.SetPlanState(w.ctx, w.who, plan.ID, catalog.Any, Suspended, "kill")
				return err
			}, func() error {
				_, err := w.SetPlanState(w.ctx, w.who, plan.ID, catalog.Any, catalog.Published, "")
				return err
			}},
			{"plan.no_target", problem.Unavailable, func() error {
				_, err := w.goods.SetUpstreamState(w.ctx, w.who, up[0].ID, catalog.Any, Suspended, "kill")
				return err
			}, func() error {
				_, err := w.goods.SetUpstreamState(w.ctx, w.who, up[0].ID, catalog.Any, Active, "")
				return err
			}},
			{"plan.subscription_suspended", problem.Forbidden, func() error {
				_, err := w.SetSubscriptionState(w.ctx, w.who, sub.ID, catalog.Any, Suspended, "kill", true)
				return err
			}, func() error {
				_, err := w.SetSubscriptionState(w.ctx, w.who, sub.ID, catalog.Any, Active, "", true)
				return err
			}},
		} {
			check(s.off())
			refused(w, call(), s.kind, s.id)
			check(s.on())
			if err := call(); err != nil {
				w.Fatalf("after %s: %v", s.id, err)
			}
		}
		// A retired plan keeps its subscribers, a retired product does not.
		must(w.SetPlanState(w.ctx, w.who, plan.ID, catalog.Any, catalog.Retired, "old"))
		check(call())
		must(w.goods.RetireProduct(w.ctx, w.who, p.ID, catalog.Any, "old"))
		refused(w, call(), problem.Gone, "plan.model_retired")
	})
}
