package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// CreateProduct adds a product to a provider, as a draft without versions.
func (s *Store) CreateProduct(ctx context.Context, a audit.Actor, orgID string, in ProductInput) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.CreateProductTx(tx, a, orgID, in) })
}

// CreateProductTx is [Store.CreateProduct] within tx.
func (s *Store) CreateProductTx(tx *db.Tx, a audit.Actor, orgID string, in ProductInput) (*Product, error) {
	in, err := in.normal()
	if err != nil {
		return nil, err
	}
	if _, err := ownerUUID(orgID); err != nil {
		return nil, err
	}
	id, now := db.NewID(PrefixProduct, tx.Now()), db.Micros(tx.Now())
	n, err := tx.Exec(`INSERT INTO product (id, org_id, name, kind, title_en, title_zh, description_en, description_zh, model,
		capabilities, input_modalities, output_modalities, context, max_output, definition, state, reason, edits, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', 1, $17, $18) ON CONFLICT DO NOTHING`,
		id, orgID, in.Name, in.Kind, in.Title.En, in.Title.Zh, in.Description.En, in.Description.Zh, in.Model,
		list(in.Capabilities), list(in.Input), list(in.Output), in.Context, in.MaxOutput, in.Definition, Draft, now, now)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, productTaken(tx, orgID, in)
	}
	return s.savedProduct(tx, a, "product.create", "", nil, id)
}

// productTaken tells whether the name or the model is in the way.
func productTaken(tx *db.Tx, orgID string, in ProductInput) error {
	var id string
	err := tx.QueryRow(`SELECT id FROM product WHERE org_id = $1 AND name = $2`, orgID, in.Name).Scan(&id)
	if errors.Is(err, db.ErrNoRows) {
		return taken("model", in.Model)
	}
	if err != nil {
		return err
	}
	return taken("name", in.Name)
}

// UpdateProduct replaces what the provider states of a product; versions and state stay. based is
// the revision that the edit is based on, or [Any]. An empty model keeps the present one.
func (s *Store) UpdateProduct(ctx context.Context, a audit.Actor, id string, based int64, in ProductInput) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.UpdateProductTx(tx, a, id, based, in) })
}

// UpdateProductTx is [Store.UpdateProduct] within tx.
func (s *Store) UpdateProductTx(tx *db.Tx, a audit.Actor, id string, based int64, in ProductInput) (*Product, error) {
	p, err := s.lockProduct(tx, id, based)
	if err != nil {
		return nil, err
	}
	if in.Name == "" {
		in.Name = p.Name
	}
	if in.Model == "" {
		in.Model = p.Model
	}
	if in, err = in.normal(); err != nil {
		return nil, err
	}
	if err := sameName(in.Name, p.Name); err != nil {
		return nil, err
	}
	if p.State == Retired {
		return nil, wrongState("product", p.State, "changed")
	}
	if in.Model != p.Model && !p.Published.IsZero() {
		return nil, problem.New(problem.Conflict, "catalog.model_fixed", "the model id %q cannot change: callers use it", p.Model).
			WithField("model", "cannot change once the product has been published")
	}
	if p.states(in) {
		return p, nil
	}
	_, err = tx.Exec(`UPDATE product SET `+edited+`, title_en = $2, title_zh = $3, description_en = $4, description_zh = $5, model = $6,
		capabilities = $7, input_modalities = $8, output_modalities = $9, context = $10, max_output = $11, definition = $12
		WHERE id = $13`, db.Micros(tx.Now()), in.Title.En, in.Title.Zh, in.Description.En, in.Description.Zh, in.Model,
		list(in.Capabilities), list(in.Input), list(in.Output), in.Context, in.MaxOutput, in.Definition, id)
	if db.IsUnique(err) {
		return nil, taken("model", in.Model)
	}
	if err != nil {
		return nil, err
	}
	return s.savedProduct(tx, a, "product.update", "", p, id)
}

// states reports whether the product already is what the input states.
func (p *Product) states(in ProductInput) bool {
	return p.Kind == in.Kind && p.Title == in.Title && p.Description == in.Description && p.Model == in.Model &&
		slices.Equal(p.Capabilities, in.Capabilities) && slices.Equal(p.Input, in.Input) && slices.Equal(p.Output, in.Output) &&
		p.Context == in.Context && p.MaxOutput == in.MaxOutput && p.definition == in.Definition
}

// PublishProductTx puts a draft on sale. priced is asked, in the same transaction, whether the
// product has a price; the plan room answers, and is the only one to call this: use its Publish.
func (s *Store) PublishProductTx(tx *db.Tx, a audit.Actor, id string, based int64, priced func(*db.Tx, *Product) error) (*Product, error) {
	p, err := s.lockProduct(tx, id, based)
	if err != nil {
		return nil, err
	}
	switch p.State {
	case Published:
		return p, nil
	case Draft:
	default:
		return nil, wrongState("product", p.State, "published")
	}
	live := false
	for _, v := range p.Versions {
		live = live || v.Share > 0 && len(v.Targets) > 0
	}
	if !live {
		return nil, problem.New(problem.Conflict, "catalog.no_target",
			"the product %q cannot be published: none of its versions has both a share of the traffic and a target", p.Name)
	}
	if err := priced(tx, p); err != nil {
		return nil, err
	}
	now := db.Micros(tx.Now())
	_, err = tx.Exec(`UPDATE product SET `+edited+`, state = $2, published_at = $3 WHERE id = $4`, now, Published, now, id)
	if err != nil {
		return nil, err
	}
	return s.savedProduct(tx, a, "product.publish", "", p, id)
}

// SuspendProduct is the kill switch: calls of the product are refused until it is resumed.
func (s *Store) SuspendProduct(ctx context.Context, a audit.Actor, id string, based int64, reason string) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.SuspendProductTx(tx, a, id, based, reason) })
}

// SuspendProductTx is [Store.SuspendProduct] within tx.
func (s *Store) SuspendProductTx(tx *db.Tx, a audit.Actor, id string, based int64, reason string) (*Product, error) {
	return s.moveProduct(tx, a, id, based, move{"suspend", Suspended, reason, []State{Published}})
}

// ResumeProduct lifts a suspension.
func (s *Store) ResumeProduct(ctx context.Context, a audit.Actor, id string, based int64) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.ResumeProductTx(tx, a, id, based) })
}

// ResumeProductTx is [Store.ResumeProduct] within tx.
func (s *Store) ResumeProductTx(tx *db.Tx, a audit.Actor, id string, based int64) (*Product, error) {
	return s.moveProduct(tx, a, id, based, move{"resume", Published, "", []State{Suspended}})
}

// RetireProduct ends a product for good: its calls are answered with 410.
func (s *Store) RetireProduct(ctx context.Context, a audit.Actor, id string, based int64, reason string) (*Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*Product, error) { return s.RetireProductTx(tx, a, id, based, reason) })
}

// RetireProductTx is [Store.RetireProduct] within tx.
func (s *Store) RetireProductTx(tx *db.Tx, a audit.Actor, id string, based int64, reason string) (*Product, error) {
	return s.moveProduct(tx, a, id, based, move{"retire", Retired, reason, []State{Draft, Published, Suspended}})
}

// move is a change of a product's state.
type move struct {
	action string
	to     State
	reason string
	from   []State
}

func (s *Store) moveProduct(tx *db.Tx, a audit.Actor, id string, based int64, m move) (*Product, error) {
	p, err := s.lockProduct(tx, id, based)
	if err != nil {
		return nil, err
	}
	if m.to != Published {
		if err := reasonOf(m.reason); err != nil {
			return nil, err
		}
	}
	if p.State == m.to && p.Reason == m.reason {
		return p, nil
	}
	if !slices.Contains(m.from, p.State) && !(p.State == m.to && m.to == Suspended) {
		return nil, wrongState("product", p.State, string(m.to))
	}
	_, err = tx.Exec(`UPDATE product SET `+edited+`, state = $2, reason = $3 WHERE id = $4`, db.Micros(tx.Now()), m.to, m.reason, id)
	if err != nil {
		return nil, err
	}
	return s.savedProduct(tx, a, "product."+m.action, m.reason, p, id)
}

// Product returns a product with its versions and their targets, by its id.
func (s *Store) Product(ctx context.Context, id string) (*Product, error) {
	return view(ctx, s, func(tx *db.Tx) (*Product, error) { return s.ProductTx(tx, id) })
}

// ProductTx is [Store.Product] within tx.
func (s *Store) ProductTx(tx *db.Tx, id string) (*Product, error) {
	return oneProduct(tx, id, "WHERE id = $1", id)
}

// ProductNamedTx returns a provider's product by its name or id.
func (s *Store) ProductNamedTx(tx *db.Tx, orgID, name string) (*Product, error) {
	return oneProduct(tx, name, "WHERE org_id = $1 AND (name = $2 OR id = $3)", orgID, name, name)
}

// Products returns products with their versions by id, those behind the id after.
func (s *Store) Products(ctx context.Context, f Filter, after string, limit int) (items []*Product, more bool, err error) {
	where, args := f.where(after, limit)
	items, err = view(ctx, s, func(tx *db.Tx) ([]*Product, error) { return readProducts(tx, where, args...) })
	items, more = page(items, limit)
	return items, more, err
}

// Definition returns the product's OpenAPI document: the one that the provider stated, else one made
// from the rest of what it states.
func (s *Store) Definition(ctx context.Context, id string) (text string, stated bool, err error) {
	p, err := s.Product(ctx, id)
	if err != nil {
		return "", false, err
	}
	if p.definition != "" {
		return p.definition, true, nil
	}
	return p.DefaultDefinition(), false, nil
}

// lockProduct reads the product for an edit based on a revision; on PostgreSQL it holds its row.
func (s *Store) lockProduct(tx *db.Tx, id string, based int64) (*Product, error) {
	p, err := oneProduct(tx, id, "WHERE id = $1"+tx.Dialect().ForUpdate(), id)
	if err != nil {
		return nil, err
	}
	return p, basedOn(based, p.Revision)
}

// savedProduct ends a write: it reads what became of the product and records the difference.
func (s *Store) savedProduct(tx *db.Tx, a audit.Actor, action, reason string, before *Product, id string) (*Product, error) {
	p, err := s.ProductTx(tx, id)
	if err != nil {
		return nil, err
	}
	var was any
	if before != nil {
		was = described{before, before.definition}
	}
	if err := record(tx, a, p.OrgID, action, id, reason, was, described{p, p.definition}); err != nil {
		return nil, err
	}
	return p, s.touch(tx)
}

// described is a product with its definition, for the record.
type described struct {
	*Product
	Definition string `json:"definition"`
}

// oneProduct reads a single product, its definition included.
func oneProduct(tx *db.Tx, id, where string, args ...any) (*Product, error) {
	ps, err := readProducts(tx, where, args...)
	if err != nil {
		return nil, err
	}
	if len(ps) == 0 {
		return nil, notFound("product", id)
	}
	p := ps[0]
	return p, tx.QueryRow(`SELECT definition FROM product WHERE id = $1`, p.ID).Scan(&p.definition)
}

// readProducts reads products with versions and targets.
func readProducts(tx *db.Tx, where string, args ...any) ([]*Product, error) {
	products, err := readBareProducts(tx, where, args...)
	if err != nil || len(products) == 0 {
		return products, err
	}
	ids := make([]string, len(products))
	for i, p := range products {
		ids[i] = p.ID
	}
	versions, vids, err := readVersions(tx, "WHERE product_id"+tx.Dialect().In("$1"), ids)
	if err != nil || len(vids) == 0 {
		return products, err
	}
	targets, err := readTargets(tx, "WHERE version_id"+tx.Dialect().In("$1"), vids)
	attach(products, versions, targets)
	return products, err
}

// attach gives products their versions, by product id, and these their targets, by version id.
func attach(products []*Product, versions map[string][]*Version, targets map[string][]*Target) {
	for _, p := range products {
		p.Versions = versions[p.ID]
		for _, v := range p.Versions {
			v.Targets = append(v.Targets, targets[v.ID]...)
		}
	}
}

func readBareProducts(tx *db.Tx, where string, args ...any) ([]*Product, error) {
	rows, err := tx.Query(`SELECT id, org_id, name, kind, title_en, title_zh, description_en, description_zh, model, capabilities,
		input_modalities, output_modalities, context, max_output, state, reason, edits, created_at, updated_at, published_at
		FROM product `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Product
	for rows.Next() {
		p, err := scanProduct(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

func scanProduct(rows *db.Rows) (*Product, error) {
	p := &Product{}
	var caps, in, out string
	var created, updated int64
	var published *int64
	err := rows.Scan(&p.ID, &p.OrgID, &p.Name, &p.Kind, &p.Title.En, &p.Title.Zh, &p.Description.En, &p.Description.Zh, &p.Model,
		&caps, &in, &out, &p.Context, &p.MaxOutput, &p.State, &p.Reason, &p.Revision, &created, &updated, &published)
	if err != nil {
		return nil, err
	}
	p.Created, p.Updated = db.Time(created), db.Time(updated)
	if published != nil {
		p.Published = db.Time(*published)
	}
	var errs [5]error
	p.Capabilities, errs[0] = words[Capability](caps)
	p.Input, errs[1] = words[Modality](in)
	p.Output, errs[2] = words[Modality](out)
	p.UUID, errs[3] = uuid(p.ID, PrefixProduct)
	p.OrgUUID, errs[4] = uuid(p.OrgID, "org")
	return p, errors.Join(errs[:]...)
}
