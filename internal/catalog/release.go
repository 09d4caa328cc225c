package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxVersions bounds a product's versions, retired ones included.
const maxVersions = 200

// CreateVersion adds a release version with its targets to a product. The first one becomes stable
// with all the traffic, others a canary with none: [Store.SetRelease] moves the traffic.
func (s *Store) CreateVersion(ctx context.Context, a audit.Actor, productID string, based int64, in VersionInput) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.CreateVersionTx(tx, a, productID, based, in) })
}

// CreateVersionTx is [Store.CreateVersion] within tx.
func (s *Store) CreateVersionTx(tx *db.Tx, a audit.Actor, productID string, based int64, in VersionInput) (*Product, error) {
	p, in, err := s.lockForVersion(tx, productID, based, in)
	if err != nil {
		return nil, err
	}
	if len(p.Versions) >= maxVersions {
		return nil, problem.New(problem.Conflict, "catalog.version_many", "a product has at most %d versions", maxVersions)
	}
	part, share := Stable, int64(100)
	for _, v := range p.Versions {
		if v.Name == in.Name {
			return nil, taken("name", in.Name)
		}
		if v.Release != Withdrawn {
			part, share = Canary, 0
		}
	}
	id, now := db.NewID(PrefixVersion, tx.Now()), db.Micros(tx.Now())
	_, err = tx.Exec(`INSERT INTO product_version (id, product_id, name, part, share, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, id, p.ID, in.Name, part, share, now, now)
	if err != nil {
		return nil, err
	}
	if err := s.setTargets(tx, p, &Version{ID: id}, in.Targets); err != nil {
		return nil, err
	}
	return s.savedVersions(tx, a, "product.version_create", p)
}

// SetTargets makes a version's targets what the input says. A target that stays, by upstream and
// upstream model, keeps its id. version is a name or an id.
func (s *Store) SetTargets(ctx context.Context, a audit.Actor, productID string, based int64, version string, targets []TargetInput) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) {
		return s.SetTargetsTx(tx, a, productID, based, version, targets)
	})
}

// SetTargetsTx is [Store.SetTargets] within tx.
func (s *Store) SetTargetsTx(tx *db.Tx, a audit.Actor, productID string, based int64, version string, targets []TargetInput) (*Product, error) {
	p, in, err := s.lockForVersion(tx, productID, based, VersionInput{Name: "any", Targets: targets})
	if err != nil {
		return nil, err
	}
	v := p.version(version)
	if v == nil {
		return nil, notFound("version", version)
	}
	if v.Release == Withdrawn {
		return nil, wrongState("version", State(v.Release), "changed")
	}
	if p.State == Published && v.Share > 0 && len(in.Targets) == 0 {
		return nil, problem.New(problem.Conflict, "catalog.version_live", "the version %q takes traffic: it needs a target", v.Name)
	}
	before := slices.Clone(v.Targets)
	if err := s.setTargets(tx, p, v, in.Targets); err != nil {
		return nil, err
	}
	now, err := s.ProductTx(tx, p.ID)
	if err != nil {
		return nil, err
	}
	if sameTargets(before, now.version(v.ID).Targets) {
		return p, nil
	}
	return s.savedVersions(tx, a, "product.targets", p)
}

func sameTargets(a, b []*Target) bool {
	return slices.EqualFunc(a, b, func(x, y *Target) bool { return *x == *y })
}

// SetRelease says which part each named version plays; the others stay as they are. After it the
// shares of the live versions must sum to 100. Retired is final.
func (s *Store) SetRelease(ctx context.Context, a audit.Actor, productID string, based int64, in []ReleaseInput) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.SetReleaseTx(tx, a, productID, based, in) })
}

// SetReleaseTx is [Store.SetRelease] within tx.
func (s *Store) SetReleaseTx(tx *db.Tx, a audit.Actor, productID string, based int64, in []ReleaseInput) (*Product, error) {
	p, err := s.lockProduct(tx, productID, based)
	if err != nil {
		return nil, err
	}
	if p.State == Retired {
		return nil, wrongState("product", p.State, "released")
	}
	changed, err := p.planRelease(in)
	if err != nil || len(changed) == 0 {
		return p, err
	}
	for _, v := range changed {
		_, err := tx.Exec(`UPDATE product_version SET part = $1, share = $2, updated_at = $3 WHERE id = $4`,
			v.Release, v.Share, db.Micros(tx.Now()), v.ID)
		if err != nil {
			return nil, err
		}
	}
	return s.savedVersions(tx, a, "product.release", p)
}

// planRelease checks a release and returns copies of the versions that it changes.
func (p *Product) planRelease(in []ReleaseInput) (changed []Version, err error) {
	var c Check
	next := map[string]Version{}
	for i, r := range in {
		at := fmt.Sprintf("release[%d].", i)
		v := p.version(r.Version)
		if v == nil {
			c.That(false, at+"version", "is no version of the product")
			continue
		}
		_, twice := next[v.ID]
		c.That(!twice, at+"version", "appears twice")
		c.That(slices.Contains([]Release{Stable, Canary, Blue, Green, Withdrawn}, r.Release), at+"release", "must be stable, canary, blue, green or retired")
		c.Range(at+"share", r.Share, 0, 100)
		c.That(r.Release != Withdrawn || r.Share == 0, at+"share", "must be 0: a retired version takes no traffic")
		c.That(v.Release != Withdrawn || r.Release == Withdrawn, at+"release", "the version is retired, which is final")
		c.That(p.State != Published || r.Share == 0 || len(v.Targets) > 0, at+"share", "must be 0: the version has no target")
		w := *v
		w.Release, w.Share = r.Release, r.Share
		next[v.ID] = w
	}
	sum, live := int64(0), false
	for _, v := range p.Versions {
		w, ok := next[v.ID]
		if !ok {
			w = *v
		} else if w.Release != v.Release || w.Share != v.Share {
			changed = append(changed, w)
		}
		sum += w.Share
		live = live || w.Release != Withdrawn
	}
	c.That(sum == 100 || !live && p.State == Draft, "release", "the shares of the live versions sum to %d, must be 100", sum)
	return changed, c.Err(problem.New(problem.Unprocessable, "catalog.release_invalid", "the release is not valid"))
}

// version returns a version by its name or id, or nil.
func (p *Product) version(name string) *Version {
	for _, v := range p.Versions {
		if v.Name == name || v.ID == name {
			return v
		}
	}
	return nil
}

// lockForVersion reads the product for an edit of its versions and checks the input.
func (s *Store) lockForVersion(tx *db.Tx, productID string, based int64, in VersionInput) (*Product, VersionInput, error) {
	p, err := s.lockProduct(tx, productID, based)
	if err != nil {
		return nil, in, err
	}
	if p.State == Retired {
		return nil, in, wrongState("product", p.State, "changed")
	}
	in, err = in.normal(p.Model)
	return p, in, err
}

// setTargets brings the version's rows in line with the input, which has its defaults filled in.
func (s *Store) setTargets(tx *db.Tx, p *Product, v *Version, in []TargetInput) error {
	type key struct{ upstream, model string }
	kept := map[key]*Target{}
	for _, t := range v.Targets {
		kept[key{t.UpstreamID, t.UpstreamModel}] = t
	}
	var c Check
	seen := map[key]bool{}
	for i, t := range in {
		at := fmt.Sprintf("targets[%d]", i)
		u, err := s.UpstreamNamedTx(tx, p.OrgID, t.Upstream)
		if problem.Is(err, problem.NotFound) {
			c.That(false, at+".upstream", "is no upstream of the product's provider")
			continue
		}
		if err != nil {
			return err
		}
		k := key{u.ID, t.UpstreamModel}
		c.That(!seen[k], at, "appears twice")
		c.That(u.State != Retired, at+".upstream", "is retired")
		if had := kept[k]; had == nil && !seen[k] {
			_, err = tx.Exec(`INSERT INTO product_target (id, version_id, upstream_id, upstream_model, priority, weight)
				VALUES ($1, $2, $3, $4, $5, $6)`, db.NewID(PrefixTarget, tx.Now()), v.ID, u.ID, t.UpstreamModel, t.Priority, t.Weight)
		} else if had != nil && (had.Priority != t.Priority || had.Weight != t.Weight) {
			_, err = tx.Exec(`UPDATE product_target SET priority = $1, weight = $2 WHERE id = $3`, t.Priority, t.Weight, had.ID)
		}
		if err != nil {
			return err
		}
		seen[k] = true
	}
	for k, t := range kept {
		if seen[k] {
			continue
		}
		if _, err := tx.Exec(`DELETE FROM product_target WHERE id = $1`, t.ID); err != nil {
			return err
		}
	}
	return c.Err(problem.New(problem.Unprocessable, "catalog.version_invalid", "the version is not valid"))
}

func (s *Store) savedVersions(tx *db.Tx, a audit.Actor, action string, before *Product) (*Product, error) {
	if _, err := tx.Exec(`UPDATE product SET `+edited+` WHERE id = $2`, db.Micros(tx.Now()), before.ID); err != nil {
		return nil, err
	}
	return s.savedProduct(tx, a, action, "", before, before.ID)
}

// readVersions returns versions by product id, each product's by name, and all their ids.
func readVersions(tx *db.Tx, where string, args ...any) (map[string][]*Version, []string, error) {
	rows, err := tx.Query(`SELECT id, product_id, name, part, share, created_at, updated_at FROM product_version `+where+
		` ORDER BY product_id, name`, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	out := map[string][]*Version{}
	var ids []string
	for rows.Next() {
		v := &Version{Targets: []*Target{}}
		var of string
		var created, updated int64
		if err := rows.Scan(&v.ID, &of, &v.Name, &v.Release, &v.Share, &created, &updated); err != nil {
			return nil, nil, err
		}
		v.Created, v.Updated = db.Time(created), db.Time(updated)
		if v.UUID, err = uuid(v.ID, PrefixVersion); err != nil {
			return nil, nil, err
		}
		out[of], ids = append(out[of], v), append(ids, v.ID)
	}
	return out, ids, rows.Err()
}

// readTargets returns targets by version id, each version's by priority, then id.
func readTargets(tx *db.Tx, where string, args ...any) (map[string][]*Target, error) {
	rows, err := tx.Query(`SELECT id, version_id, upstream_id, upstream_model, priority, weight FROM product_target `+where+
		` ORDER BY version_id, priority, id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string][]*Target{}
	for rows.Next() {
		t := &Target{}
		var of string
		if err := rows.Scan(&t.ID, &of, &t.UpstreamID, &t.UpstreamModel, &t.Priority, &t.Weight); err != nil {
			return nil, err
		}
		if t.UUID, err = uuid(t.ID, PrefixTarget); err != nil {
			return nil, err
		}
		out[of] = append(out[of], t)
	}
	return out, rows.Err()
}
