package plan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// Input is what a provider states of a plan.
type Input struct {
	Name          string       `json:"name"`
	Title         catalog.Text `json:"title,omitzero"`
	Description   catalog.Text `json:"description,omitzero"`
	Public        bool         `json:"public,omitempty"`
	AutoSubscribe bool         `json:"auto_subscribe,omitempty"` // needs Public
	Card          *rating.Card `json:"card"`
	CommissionPPM *int64       `json:"commission_ppm,omitempty"` // only the operator may set it: the caller sees to that
	Limits        Limits       `json:"limits,omitzero"`
	Hold          Hold         `json:"hold,omitzero"`
	Terms         string       `json:"terms,omitempty"`
	Pin           string       `json:"pin,omitempty"` // name of the product's version that calls go to, whatever its share
}

// maxLimit bounds limits and token counts; nobody needs more, and sums stay far from overflow.
const maxLimit = 1_000_000_000_000

// check returns what is wrong with the input of a plan for the product.
func (in *Input) check(product *catalog.Product) error {
	var c catalog.Check
	c.Name("name", in.Name)
	c.Text("title", in.Title)
	c.Text("description", in.Description)
	c.Text("terms", catalog.Text{En: in.Terms})
	c.That(in.Pin == "" || slices.ContainsFunc(product.Versions, func(v *catalog.Version) bool { return v.Name == in.Pin }), "pin",
		"the product has no version of that name")
	c.That(!in.AutoSubscribe || in.Public, "auto_subscribe", "needs public: a private plan is given, not taken")
	c.Range("limits.rpm", in.Limits.RPM, 0, maxLimit)
	c.Range("limits.tpm", in.Limits.TPM, 0, maxLimit)
	c.Range("limits.concurrency", in.Limits.Concurrency, 0, maxLimit)
	c.Range("hold.max_output", in.Hold.MaxOutput, 0, maxLimit)
	if in.CommissionPPM != nil {
		c.Range("commission_ppm", *in.CommissionPPM, 0, 1_000_000)
	}
	if in.Card == nil {
		c.That(false, "card", "is required")
	} else if err := validCard(in.Card, product); err != nil {
		p := problem.As(err)
		if p.Kind == problem.Internal {
			return err
		}
		for _, f := range p.Fields {
			c.That(false, "card."+f.Path, "%s", f.Detail)
		}
		c.That(len(p.Fields) > 0, "card", "%s", p.Detail)
	}
	return c.Err(problem.New(problem.Unprocessable, "plan.invalid", "the plan is not valid"))
}

// CreatePlan adds a plan to a product, as a draft.
func (s *Store) CreatePlan(ctx context.Context, a audit.Actor, productID string, in Input) (*Plan, error) {
	return write(ctx, s, func(tx *db.Tx) (*Plan, error) { return s.CreatePlanTx(tx, a, productID, in) })
}

// CreatePlanTx is [Store.CreatePlan] within tx.
func (s *Store) CreatePlanTx(tx *db.Tx, a audit.Actor, productID string, in Input) (*Plan, error) {
	product, err := s.catalog.ProductTx(tx, productID)
	if err != nil {
		return nil, err
	}
	if err := in.check(product); err != nil {
		return nil, err
	}
	if product.State == catalog.Retired {
		return nil, problem.New(problem.Conflict, "plan.product_retired", "the product %q is retired", product.Name)
	}
	card, err := json.Marshal(in.Card)
	if err != nil {
		return nil, fmt.Errorf("plan: card does not encode: %w", err)
	}
	id, now := db.NewID(PrefixPlan, tx.Now()), db.Micros(tx.Now())
	n, err := tx.Exec(`INSERT INTO plan (id, product_id, provider_id, name, title_en, title_zh, description_en, description_zh, public,
		auto_subscribe, card, commission_ppm, rpm, tpm, concurrency, max_output, terms, pin, state, reason, latest, edits, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, '', 0, 1, $20, $21) ON CONFLICT DO NOTHING`,
		id, product.ID, product.OrgID, in.Name, in.Title.En, in.Title.Zh, in.Description.En, in.Description.Zh, db.Bool(in.Public),
		db.Bool(in.AutoSubscribe), string(card), in.CommissionPPM, in.Limits.RPM, in.Limits.TPM, in.Limits.Concurrency, in.Hold.MaxOutput,
		in.Terms, in.Pin, catalog.Draft, now, now)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, planTaken(tx, product.ID, in.Name)
	}
	return s.savedPlan(tx, a, "plan.create", "", nil, id)
}

// planTaken tells whether the name or another plan that subscribes by itself is in the way.
func planTaken(tx *db.Tx, productID, name string) error {
	var id string
	err := tx.QueryRow(`SELECT id FROM plan WHERE product_id = $1 AND name = $2`, productID, name).Scan(&id)
	if errors.Is(err, db.ErrNoRows) {
		return autoTaken()
	}
	if err != nil {
		return err
	}
	return problem.New(problem.Conflict, "plan.taken", "the product already has a plan %q", name).WithField("name", "is taken")
}

func autoTaken() error {
	return problem.New(problem.Conflict, "plan.auto_taken", "another plan of the product already subscribes by the first call").
		WithField("auto_subscribe", "at most one plan of a product may have it")
}

// UpdatePlan replaces what the provider states of a plan. Card, commission, limits, hold and terms
// take effect with the next [Store.PublishPlan], for new subscribers; texts, Public and AutoSubscribe
// at once. based is the revision that the edit is based on, or catalog.Any.
func (s *Store) UpdatePlan(ctx context.Context, a audit.Actor, id string, based int64, in Input) (*Plan, error) {
	return write(ctx, s, func(tx *db.Tx) (*Plan, error) { return s.UpdatePlanTx(tx, a, id, based, in) })
}

// UpdatePlanTx is [Store.UpdatePlan] within tx.
func (s *Store) UpdatePlanTx(tx *db.Tx, a audit.Actor, id string, based int64, in Input) (*Plan, error) {
	p, err := s.lockPlan(tx, id, based)
	if err != nil {
		return nil, err
	}
	if in.Name == "" {
		in.Name = p.Name
	}
	product, err := s.catalog.ProductTx(tx, p.ProductID)
	if err != nil {
		return nil, err
	}
	if err := in.check(product); err != nil {
		return nil, err
	}
	if in.Name != p.Name {
		return nil, problem.New(problem.Unprocessable, "plan.rename", "the name %q cannot be changed", p.Name).WithField("name", "cannot be changed")
	}
	if p.State == catalog.Retired {
		return nil, problem.New(problem.Conflict, "plan.retired", "the plan %q is retired", p.Name)
	}
	card, err := json.Marshal(in.Card)
	if err != nil {
		return nil, fmt.Errorf("plan: card does not encode: %w", err)
	}
	if reflect.DeepEqual(p.input(), in) {
		return p, nil
	}
	_, err = tx.Exec(`UPDATE plan SET `+edited+`, title_en = $2, title_zh = $3, description_en = $4, description_zh = $5, public = $6,
		auto_subscribe = $7, card = $8, commission_ppm = $9, rpm = $10, tpm = $11, concurrency = $12, max_output = $13, terms = $14, pin = $15
		WHERE id = $16`, db.Micros(tx.Now()), in.Title.En, in.Title.Zh, in.Description.En, in.Description.Zh, db.Bool(in.Public),
		db.Bool(in.AutoSubscribe), string(card), in.CommissionPPM, in.Limits.RPM, in.Limits.TPM, in.Limits.Concurrency, in.Hold.MaxOutput,
		in.Terms, in.Pin, id)
	if db.IsUnique(err) {
		return nil, autoTaken()
	}
	if err != nil {
		return nil, err
	}
	return s.savedPlan(tx, a, "plan.update", "", p, id)
}

// input is what the plan states now.
func (p *Plan) input() Input {
	return Input{Name: p.Name, Title: p.Title, Description: p.Description, Public: p.Public, AutoSubscribe: p.AutoSubscribe,
		Card: p.Card, CommissionPPM: p.CommissionPPM, Limits: p.Limits, Hold: p.Hold, Terms: p.Terms, Pin: p.Pin}
}

// PublishPlan makes what the plan states its next version, which is what new subscribers get; those
// who are subscribed stay on theirs. If nothing that a version fixes has changed there is no new
// version. defaultCommissionPPM is the operator's, for a plan that states none.
func (s *Store) PublishPlan(ctx context.Context, a audit.Actor, id string, based, defaultCommissionPPM int64) (*Plan, error) {
	return write(ctx, s, func(tx *db.Tx) (*Plan, error) { return s.PublishPlanTx(tx, a, id, based, defaultCommissionPPM) })
}

// PublishPlanTx is [Store.PublishPlan] within tx.
func (s *Store) PublishPlanTx(tx *db.Tx, a audit.Actor, id string, based, defaultCommissionPPM int64) (*Plan, error) {
	p, err := s.lockPlan(tx, id, based)
	if err != nil {
		return nil, err
	}
	if p.State != catalog.Draft && p.State != catalog.Published {
		return nil, wrongState("plan", p.State, catalog.Published)
	}
	in := p.input()
	product, err := s.catalog.ProductTx(tx, p.ProductID)
	if err != nil {
		return nil, err
	}
	if err := in.check(product); err != nil {
		return nil, err
	}
	next := Version{Number: 1, Card: p.Card, Currency: p.Card.Currency, CommissionPPM: defaultCommissionPPM, Limits: p.Limits, Hold: p.Hold, Terms: p.Terms, Pin: p.Pin}
	if p.CommissionPPM != nil {
		next.CommissionPPM = *p.CommissionPPM
	}
	if next.CommissionPPM < 0 || next.CommissionPPM > 1_000_000 {
		return nil, fmt.Errorf("plan: default commission of %d ppm", next.CommissionPPM)
	}
	if c := p.Current; c != nil {
		if p.State == catalog.Published && c.same(&next) {
			return p, nil
		}
		next.Number = c.Number + 1
	}
	rev, err := s.touch(tx, Counter)
	if err != nil {
		return nil, err
	}
	if err := insertVersion(tx, p.ID, &next, rev); err != nil {
		return nil, err
	}
	_, err = tx.Exec(`UPDATE plan SET `+edited+`, state = $2, latest = $3 WHERE id = $4`, db.Micros(tx.Now()), catalog.Published, next.Number, id)
	if err != nil {
		return nil, err
	}
	return s.savedPlan(tx, a, "plan.publish", "", p, id)
}

// same reports whether two versions say the same.
func (v *Version) same(w *Version) bool {
	return reflect.DeepEqual(v.Card, w.Card) && v.Currency == w.Currency && v.CommissionPPM == w.CommissionPPM &&
		v.Limits == w.Limits && v.Hold == w.Hold && v.Terms == w.Terms && v.Pin == w.Pin
}

func insertVersion(tx *db.Tx, planID string, v *Version, rev int64) error {
	card, err := json.Marshal(v.Card)
	if err != nil {
		return fmt.Errorf("plan: card does not encode: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO plan_version (id, plan_id, number, card, currency, commission_ppm, rpm, tpm, concurrency, max_output,
		terms, pin, published_at, rev) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		db.NewID(PrefixVersion, tx.Now()), planID, v.Number, string(card), v.Currency, v.CommissionPPM, v.Limits.RPM, v.Limits.TPM,
		v.Limits.Concurrency, v.Hold.MaxOutput, v.Terms, v.Pin, db.Micros(tx.Now()), rev)
	return err
}

// SetPlanState suspends a published plan (the kill switch: its subscribers' calls are refused),
// resumes a suspended one (Published), or retires it: nobody can subscribe any more, and who is
// subscribed stays. Suspending and retiring need a reason.
func (s *Store) SetPlanState(ctx context.Context, a audit.Actor, id string, based int64, to State, reason string) (*Plan, error) {
	return write(ctx, s, func(tx *db.Tx) (*Plan, error) { return s.SetPlanStateTx(tx, a, id, based, to, reason) })
}

// SetPlanStateTx is [Store.SetPlanState] within tx.
func (s *Store) SetPlanStateTx(tx *db.Tx, a audit.Actor, id string, based int64, to State, reason string) (*Plan, error) {
	p, err := s.lockPlan(tx, id, based)
	if err != nil {
		return nil, err
	}
	var action string
	switch {
	case to == Suspended && (p.State == catalog.Published || p.State == Suspended):
		action = "plan.suspend"
	case to == catalog.Published && p.State == Suspended:
		action, reason = "plan.resume", ""
	case to == catalog.Retired && p.State != catalog.Retired:
		action = "plan.retire"
	case to == p.State:
		return p, nil
	default:
		return nil, wrongState("plan", p.State, to)
	}
	if to != catalog.Published {
		if err := reasonOf(reason); err != nil {
			return nil, err
		}
	}
	if p.State == to && p.Reason == reason {
		return p, nil
	}
	_, err = tx.Exec(`UPDATE plan SET `+edited+`, state = $2, reason = $3 WHERE id = $4`, db.Micros(tx.Now()), to, reason, id)
	if err != nil {
		return nil, err
	}
	return s.savedPlan(tx, a, action, reason, p, id)
}

// Plan returns a plan by its id.
func (s *Store) Plan(ctx context.Context, id string) (*Plan, error) {
	return view(ctx, s, func(tx *db.Tx) (*Plan, error) { return s.PlanTx(tx, id) })
}

// PlanTx is [Store.Plan] within tx.
func (s *Store) PlanTx(tx *db.Tx, id string) (*Plan, error) {
	return onePlan(tx, id, "WHERE id = $1", id)
}

// PlanNamedTx returns a product's plan by its name or id.
func (s *Store) PlanNamedTx(tx *db.Tx, productID, name string) (*Plan, error) {
	return onePlan(tx, name, "WHERE product_id = $1 AND (name = $2 OR id = $3)", productID, name, name)
}

// Filter selects plans; empty fields select all.
type Filter struct {
	ProductID  string
	ProviderID string
	State      State
	Name       string
}

// Plans returns plans by id, those behind the id after.
func (s *Store) Plans(ctx context.Context, f Filter, after string, limit int) (items []*Plan, more bool, err error) {
	sql, args := where(after, limit, condition{"product_id", f.ProductID}, condition{"provider_id", f.ProviderID},
		condition{"state", string(f.State)}, condition{"name", f.Name})
	items, err = view(ctx, s, func(tx *db.Tx) ([]*Plan, error) { return readPlans(tx, sql, args...) })
	items, more = page(items, limit)
	return items, more, err
}

// Versions returns a plan's published versions, the newest first: its price history.
func (s *Store) Versions(ctx context.Context, planID string) ([]*Version, error) {
	return view(ctx, s, func(tx *db.Tx) ([]*Version, error) {
		if _, err := s.PlanTx(tx, planID); err != nil {
			return nil, err
		}
		return readVersions(tx, "WHERE plan_id = $1 ORDER BY number DESC", planID)
	})
}

// VersionTx returns a plan version by its id.
func (s *Store) VersionTx(tx *db.Tx, id string) (*Version, error) {
	vs, err := readVersions(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(vs) == 0 {
		return nil, notFound("plan version", id)
	}
	return vs[0], nil
}

// lockPlan reads the plan for an edit based on a revision; on PostgreSQL it holds its row.
func (s *Store) lockPlan(tx *db.Tx, id string, based int64) (*Plan, error) {
	p, err := onePlan(tx, id, "WHERE id = $1"+tx.Dialect().ForUpdate(), id)
	if err != nil {
		return nil, err
	}
	return p, basedOn(based, p.Revision)
}

// savedPlan ends a write: it reads what became of the plan and records the difference.
func (s *Store) savedPlan(tx *db.Tx, a audit.Actor, action, reason string, before *Plan, id string) (*Plan, error) {
	p, err := s.PlanTx(tx, id)
	if err != nil {
		return nil, err
	}
	var was any
	if before != nil {
		was = before
	}
	if err := record(tx, a, p.ProviderID, action, id, reason, was, p); err != nil {
		return nil, err
	}
	_, err = s.touch(tx, Counter)
	return p, err
}
