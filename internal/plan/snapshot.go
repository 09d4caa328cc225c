package plan

import (
	"cmp"
	"slices"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
)

// Snapshot is the catalogue with what it is sold under, for the hot path. Subscriptions are not in
// it: [Book] keeps them, because there are many and they change one by one. Immutable.
type Snapshot struct {
	Catalog *catalog.Snapshot

	rev       int64 // change counter of plans
	orgRev    int64 // of organisations
	plans     map[db.UUID]*Plan
	versions  map[db.UUID]*Version
	sales     map[db.UUID]*sale // by product
	providers map[db.UUID]org.State
	byName    map[string]db.UUID // providers
}

// sale is under which plans a product is sold.
type sale struct {
	public []*Plan // published and public, by name
	auto   *Plan   // the one of them that the first call subscribes to
	shown  bool    // some public plan has been published, even if it is suspended or retired by now
}

// index fills in what is derived from the plans and providers.
func (s *Snapshot) index() {
	s.sales = map[db.UUID]*sale{}
	for _, p := range s.plans {
		if !p.Public || p.Current == nil {
			continue
		}
		of := s.sales[p.ProductUUID]
		if of == nil {
			of = &sale{}
			s.sales[p.ProductUUID] = of
		}
		of.shown = true
		if p.State != catalog.Published {
			continue
		}
		of.public = append(of.public, p)
		if p.AutoSubscribe {
			of.auto = p
		}
	}
	for _, of := range s.sales {
		slices.SortFunc(of.public, func(a, b *Plan) int { return cmp.Compare(a.Name, b.Name) })
	}
	s.byName = make(map[string]db.UUID, len(s.providers))
	for id, p := range s.providers {
		s.byName[p.Name] = id
	}
}

// onSale reports whether anyone may subscribe to the product now.
func (s *Snapshot) onSale(p *catalog.Product) bool {
	of := s.sales[p.UUID]
	return p.State == catalog.Published && of != nil && len(of.public) > 0 && !s.closed(p)
}

// shown reports whether the product may be known to someone who is not subscribed to it.
func (s *Snapshot) shown(p *catalog.Product) bool {
	of := s.sales[p.UUID]
	return of != nil && of.shown
}

// closed reports whether the product's provider is suspended, or no provider any more.
func (s *Snapshot) closed(p *catalog.Product) bool {
	st, ok := s.providers[p.OrgUUID]
	return !ok || st.Suspended
}

// full is the model name that means the product to everyone.
func (s *Snapshot) full(p *catalog.Product) string {
	return s.providers[p.OrgUUID].Name + "/" + p.Model
}

// byProvider finds a product by its provider's name and its model id. It does not allocate.
func (s *Snapshot) byProvider(provider, model []byte) *catalog.Product {
	id, ok := s.byName[string(provider)]
	if !ok {
		return nil
	}
	return s.Catalog.ByOwner(id, model)
}
