package plan

import (
	"encoding/json"
	"fmt"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/rating"
)

func onePlan(tx *db.Tx, id, where string, args ...any) (*Plan, error) {
	ps, err := readPlans(tx, where, args...)
	if err != nil {
		return nil, err
	}
	if len(ps) == 0 {
		return nil, notFound("plan", id)
	}
	return ps[0], nil
}

// readPlans reads plans with their cards and newest versions.
func readPlans(tx *db.Tx, where string, args ...any) ([]*Plan, error) {
	plans, cards, err := readBarePlans(tx, where, args...)
	if err != nil || len(plans) == 0 {
		return plans, err
	}
	byID, ids := map[string]*Plan{}, make([]string, len(plans))
	for i, p := range plans {
		p.Card = &rating.Card{}
		if err := json.Unmarshal([]byte(cards[i]), p.Card); err != nil {
			return nil, fmt.Errorf("plan: stored card of %s: %w", p.ID, err)
		}
		byID[p.ID], ids[i] = p, p.ID
	}
	versions, err := readVersions(tx, "WHERE plan_id"+tx.Dialect().In("$1")+` AND NOT EXISTS (SELECT 1 FROM plan_version n
		WHERE n.plan_id = plan_version.plan_id AND n.number > plan_version.number)`, ids)
	for _, v := range versions {
		byID[v.PlanID].Current = v
	}
	return plans, err
}

// readBarePlans reads plans without versions, and their cards as stored.
func readBarePlans(tx *db.Tx, where string, args ...any) (plans []*Plan, cards []string, err error) {
	rows, err := tx.Query(`SELECT id, product_id, provider_id, name, title_en, title_zh, description_en, description_zh, public,
		auto_subscribe, card, commission_ppm, rpm, tpm, concurrency, max_output, terms, pin, state, reason, edits, created_at, updated_at
		FROM plan `+where, args...)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p := &Plan{}
		var card string
		var public, auto, created, updated int64
		err := rows.Scan(&p.ID, &p.ProductID, &p.ProviderID, &p.Name, &p.Title.En, &p.Title.Zh, &p.Description.En, &p.Description.Zh,
			&public, &auto, &card, &p.CommissionPPM, &p.Limits.RPM, &p.Limits.TPM, &p.Limits.Concurrency, &p.Hold.MaxOutput, &p.Terms, &p.Pin,
			&p.State, &p.Reason, &p.Revision, &created, &updated)
		if err != nil {
			return nil, nil, err
		}
		p.Public, p.AutoSubscribe, p.Created, p.Updated = public == 1, auto == 1, db.Time(created), db.Time(updated)
		if p.UUID, err = uuid(p.ID, PrefixPlan); err != nil {
			return nil, nil, err
		}
		if p.ProductUUID, err = uuid(p.ProductID, catalog.PrefixProduct); err != nil {
			return nil, nil, err
		}
		plans, cards = append(plans, p), append(cards, card)
	}
	return plans, cards, rows.Err()
}

// readVersions reads plan versions with their compiled cards.
func readVersions(tx *db.Tx, where string, args ...any) ([]*Version, error) {
	rows, err := tx.Query(`SELECT id, plan_id, number, card, currency, commission_ppm, rpm, tpm, concurrency, max_output, terms, pin,
		published_at FROM plan_version `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Version
	for rows.Next() {
		v := &Version{Card: &rating.Card{}}
		var card string
		var published int64
		err := rows.Scan(&v.ID, &v.PlanID, &v.Number, &card, &v.Currency, &v.CommissionPPM, &v.Limits.RPM, &v.Limits.TPM,
			&v.Limits.Concurrency, &v.Hold.MaxOutput, &v.Terms, &v.Pin, &published)
		if err != nil {
			return nil, err
		}
		v.Published = db.Time(published)
		if v.UUID, err = uuid(v.ID, PrefixVersion); err != nil {
			return nil, err
		}
		if v.PlanUUID, err = uuid(v.PlanID, PrefixPlan); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(card), v.Card); err != nil {
			return nil, fmt.Errorf("plan: stored card of %s: %w", v.ID, err)
		}
		if v.Compiled, err = rating.Compile(v.Card); err != nil {
			return nil, fmt.Errorf("plan: stored card of %s: %w", v.ID, err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// load reads what has changed since old and returns the new snapshot, or old if nothing has.
func load(tx *db.Tx, c *catalog.Store, old *Snapshot) (*Snapshot, error) {
	next := &Snapshot{}
	if old != nil {
		*next = *old
	}
	var err error
	if next.Catalog, err = c.Snapshot(tx, next.Catalog); err != nil {
		return nil, err
	}
	if err := next.loadProviders(tx); err != nil {
		return nil, err
	}
	if err := next.loadPlans(tx); err != nil {
		return nil, err
	}
	if old != nil && next.Catalog == old.Catalog && next.rev == old.rev && next.orgRev == old.orgRev {
		return old, nil
	}
	next.index()
	return next, nil
}

// loadProviders takes over changed organisations. Those that sell are kept.
func (s *Snapshot) loadProviders(tx *db.Tx) error {
	const batch = 10_000
	copied := false
	for {
		states, err := org.StatesSince(tx, s.orgRev, batch)
		if err != nil {
			return err
		}
		for _, st := range states {
			id, err := uuid(st.ID, "org")
			if err != nil {
				return err
			}
			s.orgRev = st.Rev
			_, had := s.providers[id]
			sells := st.Parts&(org.Provider|org.Operator) != 0
			if !had && !sells {
				continue
			}
			if !copied {
				s.providers, copied = cloned(s.providers), true
			}
			if sells {
				s.providers[id] = st
			} else {
				delete(s.providers, id)
			}
		}
		if len(states) < batch {
			return nil
		}
	}
}

// loadPlans takes over changed plans and new versions.
func (s *Snapshot) loadPlans(tx *db.Tx) error {
	rev, err := db.Revision(tx, Counter)
	if err != nil || s.plans != nil && rev == s.rev {
		return err
	}
	fresh, err := readVersions(tx, "WHERE rev > $1", s.rev)
	if err != nil {
		return err
	}
	s.versions = cloned(s.versions)
	for _, v := range fresh {
		s.versions[v.UUID] = v
	}
	plans, _, err := readBarePlans(tx, "WHERE latest > 0")
	if err != nil {
		return err
	}
	s.rev, s.plans = rev, make(map[db.UUID]*Plan, len(plans))
	for _, p := range plans {
		s.plans[p.UUID] = p
	}
	for _, v := range s.versions {
		if p := s.plans[v.PlanUUID]; p != nil && (p.Current == nil || p.Current.Number < v.Number) {
			p.Current = v
		}
	}
	return nil
}

// cloned copies a map; a nil one becomes an empty one.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m)+8)
	for k, v := range m {
		out[k] = v
	}
	return out
}
