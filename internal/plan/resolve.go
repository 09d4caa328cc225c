package plan

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// NeedsSubscription is the error of [Book.Resolve] where the caller is not subscribed yet and the
// first call may do it: call [Book.AutoSubscribe] with the plan, then resolve again. To whom does
// not know it, it is the 403 that it wraps.
type NeedsSubscription struct {
	PlanID  string
	Product *catalog.Product // check what the key may call before subscribing
	cause   *problem.Error
}

// Error implements error.
func (e *NeedsSubscription) Error() string { return e.cause.Error() }

// Unwrap returns the refusal for callers that cannot subscribe.
func (e *NeedsSubscription) Unwrap() error { return e.cause }

// account is an organisation's subscriptions. Immutable.
type account struct {
	live  []*sub               // not ended, the oldest first
	index map[db.UUID]*sub     // live by product, where they are many
	past  map[db.UUID]struct{} // products of ended subscriptions
}

// fewSubs is up to how many subscriptions looking through them is faster than a map.
const fewSubs = 8

// of returns the live subscription to the product, or nil.
func (a *account) of(product db.UUID) *sub {
	if a == nil {
		return nil
	}
	if a.index != nil {
		return a.index[product]
	}
	for _, s := range a.live {
		if s.product == product {
			return s
		}
	}
	return nil
}

// sub is a subscription as the hot path needs it. Immutable but for the offer, which is made on the
// first use under each snapshot.
type sub struct {
	id, org, product, plan, version db.UUID
	state                           State
	started                         int64 // µs
	anchor                          int64 // µs
	zone                            *time.Location
	offer                           atomic.Pointer[bound]
}

// bound is what a subscription means under a snapshot.
type bound struct {
	under *Snapshot
	offer *Offer
	err   error
}

// Resolve finds what a call of an organisation for a model name is made under. The name is
//
//  1. the model id of a product that the organisation is subscribed to; of several, the one that it
//     subscribed to first;
//  2. else provider/model, split at the first slash;
//  3. else a model id that exactly one provider sells to the public.
//
// Errors: [*NeedsSubscription]; problem.NotFound plan.model_unknown, also for products that are not
// public; problem.Forbidden plan.not_subscribed and plan.*_suspended; problem.Invalid
// plan.model_ambiguous, which names the choices; problem.Gone plan.model_retired;
// problem.Unavailable plan.no_target if no upstream is in service. It does not allocate when the
// call is allowed.
func (b *Book) Resolve(org db.UUID, model []byte) (*Offer, error) {
	snap := b.snap.Load()
	acct := b.account(org)
	s, p, err := find(snap, acct, model)
	switch {
	case err != nil:
		return nil, err
	case s != nil:
		return s.under(snap)
	}
	return nil, b.unsubscribed(snap, acct, p)
}

// ResolveFor is Resolve for a call that names no model: any product with the capability will do that the caller allows
// itself. It is the one that the organisation subscribed to first and that can be called now, else the only one on sale,
// else the only one of those that is answered by an engine of the platform itself.
func (b *Book) ResolveFor(org db.UUID, c catalog.Capability, allows func(*catalog.Product) bool) (*Offer, error) {
	snap := b.snap.Load()
	acct := b.account(org)
	var refused error
	if acct != nil {
		for _, s := range acct.live {
			if p := snap.Catalog.Product(s.product); p != nil && p.Can(c) && allows(p) {
				o, err := s.under(snap)
				if err == nil {
					return o, nil
				}
				if refused == nil {
					refused = err
				}
			}
		}
	}
	if refused != nil {
		return nil, refused
	}
	var all, own []*catalog.Product
	for _, p := range snap.Catalog.Products() {
		if !p.Can(c) || !snap.onSale(p) || !allows(p) {
			continue
		}
		if all = append(all, p); len(p.Live) > 0 && p.Live[0].Targets[0].Upstream.Dialect == catalog.Builtin {
			own = append(own, p)
		}
	}
	if len(all) > 1 && len(own) > 0 {
		all = own
	}
	switch len(all) {
	case 0:
		return nil, problem.New(problem.NotFound, "plan.nothing_answers", "no product on sale here answers %s", string(c))
	case 1:
		return nil, b.unsubscribed(snap, acct, all[0])
	}
	var choices []string
	for _, p := range all {
		choices = append(choices, snap.full(p))
	}
	return nil, problem.New(problem.Invalid, "plan.model_needed", "several products answer %s: name one of %s as \"model\"", string(c), listed(choices))
}

// find finds the subscription or else the product that a model name means.
func find(snap *Snapshot, acct *account, model []byte) (*sub, *catalog.Product, error) {
	named := snap.Catalog.ByModel(model)
	if s := oldest(acct, named); s != nil {
		return s, nil, nil
	}
	if i := bytes.IndexByte(model, '/'); i > 0 {
		if p := snap.byProvider(model[:i], model[i+1:]); p != nil {
			if s := acct.of(p.UUID); s != nil {
				return s, nil, nil
			}
			if snap.shown(p) {
				return nil, p, nil
			}
		}
	}
	p, err := seller(snap, named, model)
	return nil, p, err
}

// oldest returns the oldest live subscription to one of the products.
func oldest(acct *account, products []*catalog.Product) (first *sub) {
	if acct == nil {
		return nil
	}
	if acct.index == nil {
		for _, s := range acct.live {
			for _, p := range products {
				if s.product == p.UUID {
					return s
				}
			}
		}
		return nil
	}
	for _, p := range products {
		if s := acct.index[p.UUID]; s != nil && (first == nil || s.order(first) < 0) {
			first = s
		}
	}
	return first
}

// order sorts an account's subscriptions by age.
func (s *sub) order(t *sub) int {
	return cmp.Or(cmp.Compare(s.started, t.started), bytes.Compare(s.id[:], t.id[:]))
}

// seller returns the product that a bare model name means to a stranger: the only one on sale, else
// any that was, so that the error can tell.
func seller(snap *Snapshot, named []*catalog.Product, model []byte) (*catalog.Product, error) {
	var found, former *catalog.Product
	var choices []string
	for _, p := range named {
		switch {
		case snap.onSale(p):
			found, choices = p, append(choices, snap.full(p))
		case snap.shown(p):
			former = p
		}
	}
	switch {
	case len(choices) > 1:
		return nil, problem.New(problem.Invalid, "plan.model_ambiguous", "several providers sell %q: name one of %s", clip(model), listed(choices))
	case found != nil:
		return found, nil
	case former != nil:
		return former, nil
	}
	return nil, unknown(model)
}

// listed shows the first few choices.
func listed(choices []string) string {
	const most = 20
	slices.Sort(choices)
	if len(choices) > most {
		return strings.Join(choices[:most], ", ") + ", …"
	}
	return strings.Join(choices, ", ")
}

// errLoading is for what is seen half-way in.
func errLoading() error {
	return problem.New(problem.Unavailable, "plan.loading", "the subscription is being set up; try again shortly").After(time.Second)
}

func unknown(model []byte) error {
	return problem.New(problem.NotFound, "plan.model_unknown", "there is no model %q: GET /v1/models lists those you can call", clip(model))
}

// clip shortens what a caller sent for an error.
func clip(b []byte) string {
	if len(b) > 200 {
		return strings.ToValidUTF8(string(b[:200]), "") + "…"
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// unsubscribed is the error for a product that the caller may know of but is not subscribed to.
func (b *Book) unsubscribed(snap *Snapshot, acct *account, p *catalog.Product) error {
	if err := refusal(snap, p); err != nil {
		return err
	}
	refused := problem.New(problem.Forbidden, "plan.not_subscribed", "your organisation is not subscribed to %q", snap.full(p))
	of := snap.sales[p.UUID]
	if !b.auto.Load() || of == nil || of.auto == nil {
		return refused
	}
	if acct != nil {
		if _, was := acct.past[p.UUID]; was { // it subscribed once; ending that was its will, or its provider's
			return refused
		}
	}
	return &NeedsSubscription{PlanID: of.auto.ID, Product: p, cause: refused}
}

// refusal is why nobody may call the product now.
func refusal(snap *Snapshot, p *catalog.Product) error {
	switch {
	case p.State == catalog.Retired:
		return problem.New(problem.Gone, "plan.model_retired", "the model %q has been retired", p.Model)
	case p.State == catalog.Suspended:
		return problem.New(problem.Forbidden, "plan.product_suspended", "the model %q is suspended", p.Model)
	case snap.closed(p):
		return problem.New(problem.Forbidden, "plan.provider_suspended", "the provider of the model %q is suspended", p.Model)
	}
	return nil
}

// under returns what the subscription means under the snapshot.
func (s *sub) under(snap *Snapshot) (*Offer, error) {
	b := s.offer.Load()
	if b == nil || b.under != snap {
		b = &bound{under: snap}
		b.offer, b.err = s.bind(snap)
		s.offer.Store(b)
	}
	return b.offer, b.err
}

func (s *sub) bind(snap *Snapshot) (*Offer, error) {
	p := snap.Catalog.Product(s.product)
	plan, version := snap.plans[s.plan], snap.versions[s.version]
	if p == nil || plan == nil || version == nil {
		return nil, errLoading()
	}
	if err := refusal(snap, p); err != nil {
		return nil, err
	}
	switch {
	case s.state == Suspended:
		return nil, problem.New(problem.Forbidden, "plan.subscription_suspended", "your subscription to %q is suspended", p.Model)
	case plan.State == Suspended:
		return nil, problem.New(problem.Forbidden, "plan.plan_suspended", "the plan %q of the model %q is suspended", plan.Name, p.Model)
	case len(p.Live) == 0 && version.Pin == "", version.Pin != "" && pinned(p, version.Pin) == nil:
		return nil, problem.New(problem.Unavailable, "plan.no_target", "no upstream of the model %q is in service; try again later", p.Model).
			After(5 * time.Second)
	}
	o := &Offer{
		SubscriptionID: s.id.ID(PrefixSubscription), PlanID: plan.ID, PlanVersionID: version.ID,
		ProductID: p.ID, ProviderID: p.OrgID, ConsumerID: s.org.ID("org"),
		Subscription: s.id, Plan: s.plan, PlanVersion: s.version, ProductUUID: s.product, Provider: p.OrgUUID, Consumer: s.org,
		ProviderName: snap.providers[p.OrgUUID].Name,
		Product:      p,
		Card:         version.Compiled, Currency: version.Currency, CommissionPPM: version.CommissionPPM,
		Limits: version.Limits, MaxOutput: version.Hold.MaxOutput,
		Anchor: db.Time(s.anchor), Zone: s.zone,
	}
	if version.Pin != "" {
		o.Version, o.Pinned = pinned(p, version.Pin), true
	} else {
		o.Version = p.Live[0]
		for _, v := range p.Live[1:] {
			if v.Share > o.Version.Share {
				o.Version = v
			}
		}
	}
	if o.MaxOutput == 0 {
		o.MaxOutput = p.MaxOutput
	}
	return o, nil
}

// pinned is the version of that name, if it has a target in service.
func pinned(p *catalog.Product, name string) *catalog.Version {
	for _, v := range p.Versions {
		if v.Name == name && len(v.Targets) > 0 {
			return v
		}
	}
	return nil
}
