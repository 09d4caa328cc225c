package plan

import (
	"context"
	"fmt"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// SubscribeInput is what a subscription is to be.
type SubscribeInput struct {
	PlanID string `json:"plan"`
	// Zone is the IANA time zone that billing periods follow; default UTC.
	Zone string `json:"zone,omitempty"`
	// Anchor fixes where billing periods begin; default: when the subscription starts.
	Anchor time.Time `json:"anchor,omitzero"`
	// Given: the plan's provider or the operator gives the plan, so that it need not be public. The
	// caller sees to that.
	Given bool `json:"-"`
}

// Subscribe puts an organisation on the newest version of a plan. An organisation that already has a
// subscription to the product which has not ended gets problem.Conflict.
func (s *Store) Subscribe(ctx context.Context, a audit.Actor, orgID string, in SubscribeInput) (*Subscription, error) {
	return write(ctx, s, func(tx *db.Tx) (*Subscription, error) { return s.SubscribeTx(tx, a, orgID, in) })
}

// SubscribeTx is [Store.Subscribe] within tx.
func (s *Store) SubscribeTx(tx *db.Tx, a audit.Actor, orgID string, in SubscribeInput) (*Subscription, error) {
	sub, err := s.subscribe(tx, a, orgID, in, false)
	if err == nil && sub == nil {
		return nil, problem.New(problem.Conflict, "plan.subscribed", "the organisation is already subscribed to the product: end that subscription first")
	}
	return sub, err
}

// subscribe returns nil if there is a subscription to the product already.
func (s *Store) subscribe(tx *db.Tx, a audit.Actor, orgID string, in SubscribeInput, auto bool) (*Subscription, error) {
	if in.Zone == "" {
		in.Zone = "UTC"
	}
	if _, err := loadZone(in.Zone); err != nil {
		return nil, problem.New(problem.Unprocessable, "plan.zone", "there is no time zone %q", clip([]byte(in.Zone))).WithField("zone", "must be an IANA name")
	}
	// From here on, writers of subscriptions take turns: what is read below stays true.
	rev, err := s.touch(tx, SubscriptionCounter)
	if err != nil {
		return nil, err
	}
	p, err := s.subscribable(tx, orgID, in)
	if err != nil {
		return nil, err
	}
	now := tx.Now()
	if in.Anchor.IsZero() {
		in.Anchor = now
	}
	id := db.NewID(PrefixSubscription, now)
	n, err := tx.Exec(`INSERT INTO subscription (id, org_id, product_id, plan_id, plan_version_id, currency, state, reason, auto,
		anchor_at, zone, started_at, edits, updated_at, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9, $10, $11, 1, $12, $13) ON CONFLICT DO NOTHING`,
		id, orgID, p.ProductID, p.ID, p.Current.ID, p.Current.Currency, Active, db.Bool(auto), db.Micros(in.Anchor), in.Zone,
		db.Micros(now), db.Micros(now), rev)
	if err != nil || n == 0 {
		return nil, err
	}
	return s.savedSubscription(tx, a, "subscription.start", "", nil, id)
}

// subscribable returns the plan if the organisation may be put on it.
func (s *Store) subscribable(tx *db.Tx, orgID string, in SubscribeInput) (*Plan, error) {
	o, err := org.GetTx(tx, orgID)
	if err != nil {
		return nil, err
	}
	if o.State != org.Active {
		return nil, problem.New(problem.Forbidden, "plan.org_suspended", "the organisation %q is suspended", o.Name)
	}
	p, err := s.PlanTx(tx, in.PlanID)
	if err != nil {
		return nil, err
	}
	if !p.Public && !in.Given {
		return nil, notFound("plan", in.PlanID)
	}
	if p.State != catalog.Published || p.Current == nil {
		return nil, problem.New(problem.Conflict, "plan.not_on_sale", "the plan %q is %s: nobody can subscribe to it now", p.Name, string(p.State))
	}
	product, err := s.catalog.ProductTx(tx, p.ProductID)
	if err != nil {
		return nil, err
	}
	if product.State != catalog.Published {
		return nil, problem.New(problem.Conflict, "plan.product_not_on_sale", "the product %q is %s: nobody can subscribe to it now", product.Name, string(product.State))
	}
	return p, nil
}

// loadZone loads a time zone by its IANA name; "Local" is none.
func loadZone(name string) (*time.Location, error) {
	if name == "Local" || len(name) > 100 {
		return nil, fmt.Errorf("plan: no time zone %q", name)
	}
	return time.LoadLocation(name)
}

// SetSubscriptionState suspends a subscription, resumes it (Active), or ends it for good. Suspending
// and ending need a reason. A suspended subscription is ended only by its provider or the operator
// (given): a consumer would end it and subscribe anew.
func (s *Store) SetSubscriptionState(ctx context.Context, a audit.Actor, id string, based int64, to State, reason string, given bool) (*Subscription, error) {
	return write(ctx, s, func(tx *db.Tx) (*Subscription, error) {
		return s.SetSubscriptionStateTx(tx, a, id, based, to, reason, given)
	})
}

// SetSubscriptionStateTx is [Store.SetSubscriptionState] within tx.
func (s *Store) SetSubscriptionStateTx(tx *db.Tx, a audit.Actor, id string, based int64, to State, reason string, given bool) (*Subscription, error) {
	rev, err := s.touch(tx, SubscriptionCounter) // takes the writers' turn
	if err != nil {
		return nil, err
	}
	sub, err := s.SubscriptionTx(tx, id)
	if err != nil {
		return nil, err
	}
	if err := basedOn(based, sub.Revision); err != nil {
		return nil, err
	}
	action := map[State]string{Active: "resume", Suspended: "suspend", Ended: "end"}[to]
	switch {
	case to == sub.State && (to != Suspended || reason == sub.Reason):
		return sub, nil
	case action == "" || sub.State == Ended:
		return nil, wrongState("subscription", sub.State, to)
	case to == Ended && sub.State == Suspended && !given:
		return nil, problem.New(problem.Forbidden, "plan.end_suspended", "a suspended subscription can be ended by its provider only")
	case to == Active:
		reason = ""
	default:
		if err := reasonOf(reason); err != nil {
			return nil, err
		}
	}
	now := db.Micros(tx.Now())
	var ended *int64
	if to == Ended {
		ended = &now
	}
	_, err = tx.Exec(`UPDATE subscription SET `+edited+`, state = $2, reason = $3, ended_at = $4, rev = $5 WHERE id = $6`,
		now, to, reason, ended, rev, id)
	if err != nil {
		return nil, err
	}
	return s.savedSubscription(tx, a, "subscription."+action, reason, sub, id)
}

// Subscription returns a subscription by its id.
func (s *Store) Subscription(ctx context.Context, id string) (*Subscription, error) {
	return view(ctx, s, func(tx *db.Tx) (*Subscription, error) { return s.SubscriptionTx(tx, id) })
}

// SubscriptionTx is [Store.Subscription] within tx.
func (s *Store) SubscriptionTx(tx *db.Tx, id string) (*Subscription, error) {
	subs, err := readSubscriptions(tx, "WHERE id = $1", id)
	if err != nil {
		return nil, err
	}
	if len(subs) == 0 {
		return nil, notFound("subscription", id)
	}
	return subs[0], nil
}

// CurrentTx returns the organisation's subscription to the product that has not ended.
func (s *Store) CurrentTx(tx *db.Tx, orgID, productID string) (*Subscription, error) {
	subs, err := readSubscriptions(tx, "WHERE org_id = $1 AND product_id = $2 AND state <> 'ended'", orgID, productID)
	if err != nil {
		return nil, err
	}
	if len(subs) == 0 {
		return nil, notFound("subscription", productID)
	}
	return subs[0], nil
}

// SubscriptionFilter selects subscriptions; empty fields select all.
type SubscriptionFilter struct {
	OrgID     string
	ProductID string
	PlanID    string
	State     State
}

// Subscriptions returns subscriptions by id, those behind the id after.
func (s *Store) Subscriptions(ctx context.Context, f SubscriptionFilter, after string, limit int) (items []*Subscription, more bool, err error) {
	sql, args := where(after, limit, condition{"org_id", f.OrgID}, condition{"product_id", f.ProductID},
		condition{"plan_id", f.PlanID}, condition{"state", string(f.State)})
	items, err = view(ctx, s, func(tx *db.Tx) ([]*Subscription, error) { return readSubscriptions(tx, sql, args...) })
	items, more = page(items, limit)
	return items, more, err
}

// History returns the changes of a subscription's state, the oldest first.
func (s *Store) History(ctx context.Context, id string) ([]Change, error) {
	return view(ctx, s, func(tx *db.Tx) ([]Change, error) {
		if _, err := s.SubscriptionTx(tx, id); err != nil {
			return nil, err
		}
		rows, err := tx.Query(`SELECT at, from_state, to_state, reason, actor, actor_org FROM subscription_change
			WHERE subscription_id = $1 ORDER BY id`, id)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var out []Change
		for rows.Next() {
			var c Change
			var at int64
			if err := rows.Scan(&at, &c.From, &c.To, &c.Reason, &c.Actor, &c.ActorOrg); err != nil {
				return nil, err
			}
			c.At = db.Time(at)
			out = append(out, c)
		}
		return out, rows.Err()
	})
}

// savedSubscription ends a write: it reads what became of the subscription and records the difference.
func (s *Store) savedSubscription(tx *db.Tx, a audit.Actor, action, reason string, before *Subscription, id string) (*Subscription, error) {
	sub, err := s.SubscriptionTx(tx, id)
	if err != nil {
		return nil, err
	}
	var was any
	from := State("")
	if before != nil {
		was, from = before, before.State
	}
	actor := a.Key
	if actor == "" {
		actor = a.User
	}
	if actor == "" {
		actor = a.System
	}
	_, err = tx.Exec(`INSERT INTO subscription_change (id, subscription_id, at, from_state, to_state, reason, actor, actor_org)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, db.NewID("chg", tx.Now()), id, db.Micros(tx.Now()), from, sub.State, reason, actor, a.Org)
	if err != nil {
		return nil, err
	}
	return sub, record(tx, a, sub.OrgID, action, id, reason, was, sub)
}

func readSubscriptions(tx *db.Tx, where string, args ...any) ([]*Subscription, error) {
	rows, err := tx.Query(`SELECT id, org_id, product_id, plan_id, plan_version_id, currency, state, reason, auto, anchor_at, zone,
		started_at, ended_at, edits, updated_at FROM subscription `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Subscription
	for rows.Next() {
		s := &Subscription{}
		var auto, anchor, started, updated int64
		var ended *int64
		err := rows.Scan(&s.ID, &s.OrgID, &s.ProductID, &s.PlanID, &s.PlanVersionID, &s.Currency, &s.State, &s.Reason, &auto, &anchor,
			&s.Zone, &started, &ended, &s.Revision, &updated)
		if err != nil {
			return nil, err
		}
		s.Auto, s.Anchor, s.Started, s.Updated = auto == 1, db.Time(anchor), db.Time(started), db.Time(updated)
		if ended != nil {
			s.Ended = db.Time(*ended)
		}
		if s.UUID, err = uuid(s.ID, PrefixSubscription); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// subRow is a changed subscription as [Book] reads it.
type subRow struct {
	id, org, product, plan, version, zone string
	state                                 State
	anchor, started, rev                  int64
}

// readSubRows reads the subscriptions that changed after a change counter.
func readSubRows(tx *db.Tx, rev int64) ([]subRow, error) {
	rows, err := tx.Query(`SELECT id, org_id, product_id, plan_id, plan_version_id, zone, state, anchor_at, started_at, rev
		FROM subscription WHERE rev > $1`, rev)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []subRow
	for rows.Next() {
		var r subRow
		if err := rows.Scan(&r.id, &r.org, &r.product, &r.plan, &r.version, &r.zone, &r.state, &r.anchor, &r.started, &r.rev); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// sub makes the hot path's form of a row; zones holds the time zones met so far.
func (r *subRow) sub(zones map[string]*time.Location) (*sub, error) {
	s := &sub{state: r.state, started: r.started, anchor: r.anchor}
	for _, f := range []struct {
		to         *db.UUID
		id, prefix string
	}{
		{&s.id, r.id, PrefixSubscription}, {&s.org, r.org, "org"}, {&s.product, r.product, catalog.PrefixProduct},
		{&s.plan, r.plan, PrefixPlan}, {&s.version, r.version, PrefixVersion},
	} {
		u, err := uuid(f.id, f.prefix)
		if err != nil {
			return nil, err
		}
		*f.to = u
	}
	if s.zone = zones[r.zone]; s.zone == nil {
		z, err := loadZone(r.zone)
		if err != nil {
			return nil, fmt.Errorf("plan: zone of %s: %w", r.id, err)
		}
		zones[r.zone], s.zone = z, z
	}
	return s, nil
}
