package plan

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// The model of the property test: plain lists, and the rules of Resolve written down as naively as
// possible.
type (
	simProvider struct {
		name      string
		id        db.UUID
		suspended bool
	}
	simProduct struct {
		id       db.UUID
		provider *simProvider
		model    string
		state    State
		serves   bool
		plans    []*simPlan
	}
	simPlan struct {
		id           db.UUID
		state        State
		public, auto bool
	}
	simSub struct {
		id      db.UUID
		product *simProduct
		plan    *simPlan
		state   State
		started int64
	}
	sim struct {
		providers []*simProvider
		products  []*simProduct
		subs      []*simSub // of the one consumer
		consumer  db.UUID
	}
)

var (
	simNames  = []string{"acme", "lab", "x"}
	simModels = []string{"m", "n", "acme/m", "lab/x/m", "x", "lab"}
)

func drawSim(t *rapid.T) *sim {
	now := start
	next := func() db.UUID { now = now.Add(time.Millisecond); return db.NewUUID(now) }
	s := &sim{consumer: next()}
	for _, name := range simNames {
		s.providers = append(s.providers, &simProvider{name, next(), rapid.IntRange(0, 5).Draw(t, "suspended") == 0})
	}
	for _, p := range s.providers {
		for _, m := range simModels {
			if rapid.Bool().Draw(t, "sells") {
				continue
			}
			prod := &simProduct{id: next(), provider: p, model: m, serves: rapid.IntRange(0, 5).Draw(t, "serves") > 0,
				state: rapid.SampledFrom([]State{catalog.Published, catalog.Published, catalog.Published, Suspended, catalog.Retired}).Draw(t, "product")}
			for range rapid.IntRange(0, 2).Draw(t, "plans") {
				pl := &simPlan{id: next(), public: rapid.Bool().Draw(t, "public"),
					state: rapid.SampledFrom([]State{catalog.Published, catalog.Published, Suspended, catalog.Retired}).Draw(t, "plan")}
				pl.auto = pl.public && rapid.Bool().Draw(t, "auto") && !slices.ContainsFunc(prod.plans, func(o *simPlan) bool { return o.auto })
				prod.plans = append(prod.plans, pl)
			}
			if len(prod.plans) > 0 {
				ended := rapid.IntRange(0, 4).Draw(t, "ended") == 0
				if ended {
					s.subs = append(s.subs, &simSub{next(), prod, prod.plans[0], Ended, now.UnixMicro()})
				}
				if rapid.IntRange(0, 2).Draw(t, "subscribed") == 0 {
					s.subs = append(s.subs, &simSub{next(), prod, prod.plans[len(prod.plans)-1],
						rapid.SampledFrom([]State{Active, Active, Suspended}).Draw(t, "subscription"), int64(rapid.IntRange(0, 3).Draw(t, "started"))})
				}
			}
			s.products = append(s.products, prod)
		}
	}
	return s
}

// resolve says what a name means: "ok <subscription>", "needs <plan>" or the id of the error.
func (s *sim) resolve(model string) string {
	var mine *simSub
	for _, sub := range s.subs {
		if sub.product.model == model && sub.state != Ended &&
			(mine == nil || sub.started < mine.started || sub.started == mine.started && bytes.Compare(sub.id[:], mine.id[:]) < 0) {
			mine = sub
		}
	}
	if mine != nil {
		return mine.outcome()
	}
	if provider, rest, ok := strings.Cut(model, "/"); ok {
		for _, p := range s.products {
			if p.provider.name != provider || p.model != rest {
				continue
			}
			for _, sub := range s.subs {
				if sub.product == p && sub.state != Ended {
					return sub.outcome()
				}
			}
			if p.shown() {
				return s.stranger(p)
			}
		}
	}
	var now, once []*simProduct
	for _, p := range s.products {
		if p.model != model {
			continue
		}
		if p.onSale() {
			now = append(now, p)
		} else if p.shown() {
			once = append(once, p)
		}
	}
	switch {
	case len(now) > 1:
		return "plan.model_ambiguous"
	case len(now) == 1:
		return s.stranger(now[0])
	case len(once) > 0:
		return s.stranger(once[len(once)-1])
	}
	return "plan.model_unknown"
}

func (p *simProduct) shown() bool {
	return slices.ContainsFunc(p.plans, func(pl *simPlan) bool { return pl.public })
}

func (p *simProduct) onSale() bool {
	return p.state == catalog.Published && !p.provider.suspended &&
		slices.ContainsFunc(p.plans, func(pl *simPlan) bool { return pl.public && pl.state == catalog.Published })
}

func (p *simProduct) refusal() string {
	switch {
	case p.state == catalog.Retired:
		return "plan.model_retired"
	case p.state == Suspended:
		return "plan.product_suspended"
	case p.provider.suspended:
		return "plan.provider_suspended"
	}
	return ""
}

func (sub *simSub) outcome() string {
	switch r := sub.product.refusal(); {
	case r != "":
		return r
	case sub.state == Suspended:
		return "plan.subscription_suspended"
	case sub.plan.state == Suspended:
		return "plan.plan_suspended"
	case !sub.product.serves:
		return "plan.no_target"
	}
	return "ok " + sub.id.String()
}

func (s *sim) stranger(p *simProduct) string {
	if r := p.refusal(); r != "" {
		return r
	}
	for _, sub := range s.subs {
		if sub.product == p {
			return "plan.not_subscribed" // it has ended, or stranger would not be asked
		}
	}
	for _, pl := range p.plans {
		if pl.auto && pl.state == catalog.Published {
			return "needs " + pl.id.String()
		}
	}
	return "plan.not_subscribed"
}

// book makes a Book of the model without a database.
func (s *sim) book() *Book {
	b := &Book{zones: map[string]*time.Location{}}
	b.auto.Store(true)
	for i := range b.shards {
		b.shards[i].accounts, b.shards[i].subs = map[db.UUID]*account{}, map[db.UUID]*sub{}
	}
	snap := &Snapshot{providers: map[db.UUID]org.State{}, plans: map[db.UUID]*Plan{}, versions: map[db.UUID]*Version{}}
	for _, p := range s.providers {
		snap.providers[p.id] = org.State{Name: p.name, Parts: org.Provider, Suspended: p.suspended}
	}
	var goods []*catalog.Product
	for _, p := range s.products {
		cp := &catalog.Product{UUID: p.id, ID: p.id.ID("prd"), OrgUUID: p.provider.id, OrgID: p.provider.id.ID("org"), Model: p.model, State: p.state, MaxOutput: 9}
		if p.serves {
			cp.Versions = []*catalog.Version{{Name: "v1", Share: 100, Targets: []*catalog.Target{{UpstreamID: "up"}}}}
		}
		goods = append(goods, cp)
		for _, pl := range p.plans {
			v := &Version{UUID: pl.id, ID: pl.id.ID("plv"), Number: 1}
			snap.versions[pl.id] = v
			snap.plans[pl.id] = &Plan{UUID: pl.id, ID: pl.id.ID("pln"), ProductUUID: p.id, State: pl.state, Public: pl.public, AutoSubscribe: pl.auto, Current: v}
		}
	}
	snap.Catalog = catalog.NewSnapshot(1, []*catalog.Upstream{{ID: "up", State: Active}}, goods)
	snap.index()
	b.snap.Store(snap)
	var rows []subRow
	for _, sub := range s.subs {
		rows = append(rows, subRow{id: sub.id.ID(PrefixSubscription), org: s.consumer.ID("org"), product: sub.product.id.ID(catalog.PrefixProduct),
			plan: sub.plan.id.ID(PrefixPlan), version: sub.plan.id.ID(PrefixVersion), zone: "UTC", state: sub.state, started: sub.started})
	}
	check(b.take(rows))
	return b
}

// outcome puts an answer of Resolve into the words of the model.
func outcome(o *Offer, err error) string {
	var needs *NeedsSubscription
	switch {
	case err == nil:
		return "ok " + o.Subscription.String()
	case errors.As(err, &needs):
		return "needs " + must(db.ParseID(needs.PlanID, PrefixPlan)).String()
	}
	return problem.As(err).ID
}

func TestResolveAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSim(t)
		b := s.book()
		names := slices.Clone(simModels)
		for _, p := range simNames {
			for _, m := range simModels {
				names = append(names, p+"/"+m)
			}
		}
		for _, name := range append(names, "", "/", "/m", "m/", "none", "none/m") {
			want := s.resolve(name)
			for range 2 { // the second answer comes from what the first left
				if got := outcome(b.Resolve(s.consumer, []byte(name))); got != want {
					t.Fatalf("%q: got %s, want %s", name, got, want)
				}
			}
		}
		for _, m := range b.Models(s.consumer) {
			if got := outcome(b.Resolve(s.consumer, []byte(m.ID))); !strings.HasPrefix(got, "ok ") && !strings.HasPrefix(got, "needs ") {
				t.Fatalf("listed model %q: %s", m.ID, got)
			}
		}
	})
}

// TestNewSellerChangesNothing: what a caller's name means stays, whoever begins to sell what.
func TestNewSellerChangesNothing(t *testing.T) {
	each(t, func(w *world) {
		lab, rival, shop := w.org("lab", org.Provider), w.org("rival", org.Provider), w.org("shop", org.Consumer)
		b := w.book(BookOptions{})
		w.sold(lab, "small", "small-1", true)
		check(b.AutoSubscribe(w.ctx, shop, w.needs(b, shop, "small-1")))
		w.sold(rival, "small", "small-1", true)
		w.sold(rival, "trap", "lab/small-1", true)
		for _, name := range []string{"small-1", "lab/small-1"} {
			if o := must(b.Resolve(orgUUID(shop), []byte(name))); o.ProviderName != "lab" {
				w.Fatalf("%s means %s's now", name, o.ProviderName)
			}
		}
		// A stranger has to say which.
		_, err := b.Resolve(orgUUID(w.org("new", org.Consumer)), []byte("small-1"))
		if e := refused(w, err, problem.Invalid, "plan.model_ambiguous"); !strings.Contains(e.Detail, "lab/small-1, rival/small-1") {
			w.Fatal(e.Detail)
		}
		// Subscribing to the rival too, by its full name, leaves the bare name where it was.
		w.time.Advance(time.Hour)
		check(b.AutoSubscribe(w.ctx, shop, w.needs(b, shop, "rival/small-1")))
		if o := must(b.Resolve(orgUUID(shop), []byte("small-1"))); o.ProviderName != "lab" {
			w.Fatal("the later subscription took the name")
		}
		if o := must(b.Resolve(orgUUID(shop), []byte("rival/small-1"))); o.ProviderName != "rival" {
			w.Fatal("the full name means another's")
		}
		var ids []string
		for _, m := range b.Models(orgUUID(shop)) {
			ids = append(ids, fmt.Sprint(m.ID, " ", m.Provider, " ", m.Subscribed))
		}
		if got := strings.Join(ids, ", "); got != "rival/lab/small-1 rival false, rival/small-1 rival true, small-1 lab true" {
			w.Fatal(got)
		}
	})
}

// needs returns the plan that a first call for the model would subscribe to.
func (w *world) needs(b *Book, orgID, model string) string {
	w.Helper()
	_, err := b.Resolve(orgUUID(orgID), []byte(model))
	var needs *NeedsSubscription
	if !errors.As(err, &needs) {
		w.Fatalf("%s: got %v", model, err)
	}
	return needs.PlanID
}

func TestPrivateProductIsNotShown(t *testing.T) {
	each(t, func(w *world) {
		lab, shop := w.org("lab", org.Provider), w.org("shop", org.Consumer)
		b := w.book(BookOptions{})
		p := w.product(lab, "secret", "secret-1")
		pl := must(w.CreatePlan(w.ctx, w.who, p.ID, Input{Name: "deal", Card: card("1")}))
		must(w.PublishPlan(w.ctx, w.who, pl.ID, catalog.Any, 0))
		must(w.PublishProduct(w.ctx, w.who, p.ID, catalog.Any))
		for _, name := range []string{"secret-1", "lab/secret-1"} {
			_, err := b.Resolve(orgUUID(shop), []byte(name))
			refused(w, err, problem.NotFound, "plan.model_unknown")
		}
		_, err := w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: pl.ID})
		refused(w, err, problem.NotFound, "plan.not_found")
		must(w.Subscribe(w.ctx, w.who, shop, SubscribeInput{PlanID: pl.ID, Given: true}))
		must(b.Resolve(orgUUID(shop), []byte("secret-1")))
		if len(b.OnSale()) != 0 || len(b.Models(orgUUID(shop))) != 1 || len(b.Models(orgUUID(lab))) != 0 {
			w.Fatal("shown to others, or not to the subscriber")
		}
	})
}

func TestResolveDoesNotAllocate(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t, sets), clock.NewManual(start))
	b, shop, name := manySold(w, 20)
	if n := testing.AllocsPerRun(100, func() { must(b.Resolve(shop, name)) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkResolve(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			w := newWorld(b, dbtest.SQLite(b, sets), clock.NewManual(start))
			book, shop, name := manySold(w, n)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := book.Resolve(shop, name); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// manySold subscribes an organisation to n products and returns the last one's model.
func manySold(w *world, n int) (b *Book, shop db.UUID, model []byte) {
	lab, buyer := w.org("lab", org.Provider), w.org("shop", org.Consumer)
	for i := range n {
		model = fmt.Appendf(nil, "vendor/model-%d", i)
		_, plan := w.sold(lab, fmt.Sprintf("p%d", i), string(model), false)
		must(w.Subscribe(w.ctx, w.who, buyer, SubscribeInput{PlanID: plan.ID}))
	}
	return w.book(BookOptions{}), orgUUID(buyer), model
}
