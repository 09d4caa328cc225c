package catalog

import (
	"cmp"
	"slices"

	"github.com/tollgate-io/tollgate/internal/db"
)

// Snapshot is the catalogue as of one change counter, for the hot path: drafts are left out, targets
// and versions out of service are left out, credentials are open. It is immutable, everything
// reachable from it included.
type Snapshot struct {
	// Rev is the change counter that the snapshot shows.
	Rev int64
	// Faults are credentials that could not be opened (a lost sealer key); they count as disabled.
	Faults []Fault

	products  []*Product // by id
	upstreams []*Upstream
	byUUID    map[db.UUID]*Product
	byModel   map[string][]*Product
	byOwner   map[db.UUID]map[string]*Product
}

// Fault is something that the snapshot had to leave out.
type Fault struct {
	Object string // id
	Err    error
}

// NewSnapshot makes a snapshot of upstreams, whose credentials are open, and of products with their
// versions and targets, in any order. It takes them over. A target whose upstream is not there is
// out of service.
func NewSnapshot(rev int64, upstreams []*Upstream, products []*Product) *Snapshot {
	s := &Snapshot{
		Rev:       rev,
		upstreams: upstreams,
		byUUID:    make(map[db.UUID]*Product, len(products)),
		byModel:   make(map[string][]*Product, len(products)),
		byOwner:   map[db.UUID]map[string]*Product{},
	}
	serving := make(map[string]*Upstream, len(upstreams))
	for _, u := range upstreams {
		if u.InService() {
			serving[u.ID] = u
		}
		u.Credentials = slices.DeleteFunc(u.Credentials, func(c *Credential) bool { return c.State != Active })
	}
	slices.SortFunc(upstreams, func(a, b *Upstream) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(products, func(a, b *Product) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range products {
		if p.State == Draft {
			continue
		}
		p.Live = nil
		for _, v := range p.Versions {
			v.Targets = inService(v.Targets, serving)
			if v.Share > 0 && len(v.Targets) > 0 {
				p.Live = append(p.Live, v)
			}
		}
		s.add(p)
	}
	return s
}

// inService returns the targets whose upstream is serving, tied to it, by priority.
func inService(targets []*Target, serving map[string]*Upstream) []*Target {
	kept := make([]*Target, 0, len(targets))
	for _, t := range targets {
		if u := serving[t.UpstreamID]; u != nil {
			t.Upstream = u
			kept = append(kept, t)
		}
	}
	slices.SortFunc(kept, func(a, b *Target) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
	})
	return kept
}

func (s *Snapshot) add(p *Product) {
	s.products = append(s.products, p)
	s.byUUID[p.UUID] = p
	s.byModel[p.Model] = append(s.byModel[p.Model], p)
	own := s.byOwner[p.OrgUUID]
	if own == nil {
		own = map[string]*Product{}
		s.byOwner[p.OrgUUID] = own
	}
	own[p.Model] = p
}

// Products returns all products but drafts, by id. Do not change the slice.
func (s *Snapshot) Products() []*Product { return s.products }

// Upstreams returns all upstreams, by id. Do not change the slice.
func (s *Snapshot) Upstreams() []*Upstream { return s.upstreams }

// Upstream returns an upstream by its id, or nil.
func (s *Snapshot) Upstream(id string) *Upstream {
	i, ok := slices.BinarySearchFunc(s.upstreams, id, func(u *Upstream, id string) int { return cmp.Compare(u.ID, id) })
	if !ok {
		return nil
	}
	return s.upstreams[i]
}

// Product returns a product by its id, or nil.
func (s *Snapshot) Product(id db.UUID) *Product { return s.byUUID[id] }

// ByModel returns the products of all providers under a public model id, by id. It does not
// allocate. Do not change the slice.
func (s *Snapshot) ByModel(model []byte) []*Product { return s.byModel[string(model)] }

// ByOwner returns a provider's product by its public model id, or nil. It does not allocate.
func (s *Snapshot) ByOwner(org db.UUID, model []byte) *Product { return s.byOwner[org][string(model)] }

// Snapshot reads the catalogue within tx. It returns prev itself if nothing has changed since.
func (s *Store) Snapshot(tx *db.Tx, prev *Snapshot) (*Snapshot, error) {
	rev, err := db.Revision(tx, Counter)
	if err != nil || prev != nil && prev.Rev == rev {
		return prev, err
	}
	upstreams, err := readUpstreams(tx, "")
	if err != nil {
		return nil, err
	}
	products, err := readBareProducts(tx, "WHERE state <> 'draft'")
	if err != nil {
		return nil, err
	}
	versions, _, err := readVersions(tx, "WHERE part <> 'retired'") // those without a share, too: a plan may pin them
	if err != nil {
		return nil, err
	}
	targets, err := readTargets(tx, "")
	if err != nil {
		return nil, err
	}
	attach(products, versions, targets)
	sealed, err := readSealed(tx)
	if err != nil {
		return nil, err
	}
	faults := s.open(upstreams, sealed)
	snap := NewSnapshot(rev, upstreams, products)
	snap.Faults = faults
	return snap, nil
}

// open fills in the credentials' secrets. One that does not open is disabled and reported.
func (s *Store) open(upstreams []*Upstream, sealed map[string][]byte) (faults []Fault) {
	for _, u := range upstreams {
		for _, c := range u.Credentials {
			if c.State != Active {
				continue
			}
			var err error
			if c.Secret, err = s.sealer.Open(sealed[c.ID], sealContext(c.ID)); err != nil {
				c.State = Disabled
				faults = append(faults, Fault{c.ID, err})
			}
		}
	}
	return faults
}
