package plan

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
)

// Model is a model that an organisation can call.
type Model struct {
	ID         string // the name to call it by: the bare model id where it means this product to the caller, else provider/model
	Provider   string // the provider's name
	Product    *catalog.Product
	Subscribed bool // else the first call subscribes
}

// Models returns what the organisation can call now, by id.
func (b *Book) Models(org db.UUID) []Model {
	snap := b.snap.Load()
	acct := b.account(org)
	var out []Model
	for _, p := range snap.Catalog.Products() {
		s := acct.of(p.UUID)
		if s != nil {
			if _, err := s.under(snap); err != nil {
				continue
			}
		} else if err := b.unsubscribed(snap, acct, p); !needs(err) || len(p.Live) == 0 {
			continue
		}
		if id := snap.callable(acct, p); id != "" {
			out = append(out, Model{ID: id, Provider: snap.providers[p.OrgUUID].Name, Product: p, Subscribed: s != nil})
		}
	}
	slices.SortFunc(out, func(a, b Model) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func needs(err error) bool {
	_, ok := err.(*NeedsSubscription)
	return ok
}

// callable returns the shortest name that means the product to the account, or "".
func (s *Snapshot) callable(acct *account, p *catalog.Product) string {
	for _, name := range []string{p.Model, s.full(p)} {
		own, found, err := find(s, acct, []byte(name))
		if err == nil && (found == p || own != nil && own.product == p.UUID) {
			return name
		}
	}
	return ""
}

// Sale is a product with the public plans it is sold under.
type Sale struct {
	Product  *catalog.Product
	Provider string  // the provider's name
	Plans    []*Plan // published and public, by name, with Current; without Card
}

// OnSale returns what anyone can subscribe to now, by product id.
func (b *Book) OnSale() []Sale {
	snap := b.snap.Load()
	var out []Sale
	for _, p := range snap.Catalog.Products() {
		if snap.onSale(p) {
			out = append(out, Sale{p, snap.providers[p.OrgUUID].Name, snap.sales[p.UUID].public})
		}
	}
	return out
}

// Version returns a plan version by its id, from memory or else from the database. An unknown one is
// problem.NotFound; any other error means that the database could not tell.
func (b *Book) Version(ctx context.Context, id db.UUID) (*Version, error) {
	if v := b.snap.Load().versions[id]; v != nil {
		return v, nil
	}
	return view(ctx, b.store, func(tx *db.Tx) (*Version, error) { return b.store.VersionTx(tx, id.ID(PrefixVersion)) })
}

// PeriodStart returns when the subscription's billing period that contains at began. The
// subscription may have ended. An unknown one is problem.NotFound; any other error means that the
// database could not tell.
func (b *Book) PeriodStart(ctx context.Context, subscription string, at time.Time) (time.Time, error) {
	id, err := db.ParseID(subscription, PrefixSubscription)
	if err != nil {
		return time.Time{}, notFound("subscription", subscription)
	}
	if s := b.sub(id); s != nil {
		start, _ := Period(db.Time(s.anchor), s.zone, later(at, db.Time(s.anchor)))
		return start, nil
	}
	s, err := b.store.Subscription(ctx, subscription)
	if err != nil {
		return time.Time{}, err
	}
	zone, err := loadZone(s.Zone)
	if err != nil {
		return time.Time{}, err
	}
	start, _ := Period(s.Anchor, zone, later(at, s.Anchor))
	return start, nil
}

// later is at, or the anchor where that comes after it: by the clock of another node the first calls may
// have come a moment before the subscription. They belong to its first period.
func later(at, anchor time.Time) time.Time {
	if at.Before(anchor) {
		return anchor
	}
	return at
}
