package settle

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// rate gives the charge of each record: what its CLOSE says, or, where that was provisional, what the card
// says of the period's usage so far. Either way the usage counts for the period.
func (b *batch) rate(recs []spool.Record) ([]int64, error) {
	charges := make([]int64, len(recs))
	stateful := false
	for i := range recs {
		charges[i] = recs[i].Charge
		_, ok := b.starts[recs[i].Event]
		stateful = stateful || ok
	}
	periods := &periods{of: make([]*periodState, len(recs))}
	if stateful {
		if err := b.loadPeriods(recs, periods); err != nil {
			return nil, err
		}
	}
	for i := range recs {
		r := &recs[i]
		card, p := b.terms[r.PlanVersion].Card, periods.of[i]
		provisional := delivered(r) && (r.Flags&spool.Provisional != 0 || r.Outcome == spool.Interrupted && !card.Final())
		if p == nil && !provisional {
			continue
		}
		var before rating.State
		if p != nil {
			before = p.state
		}
		c, err := card.RateCall(before, callOf(r))
		if err != nil {
			return nil, err
		}
		if p != nil {
			p.state.Apply(&c)
		}
		if provisional { // else what the caller was told stands
			charges[i] = min(c.Nano, r.Hold)
			r.Excess = c.Nano - charges[i]
			r.Flags &^= spool.Uncharged
			if r.Excess > 0 {
				r.Flags |= spool.Uncharged
			}
		}
	}
	if !stateful {
		return charges, nil
	}
	return charges, b.savePeriods(periods)
}

// counts reports whether the record's usage counts for its period: not on a card without memory, and not
// when nothing was delivered.
func counts(r *spool.Record, t Terms) bool { return t.Card.NeedsState() && delivered(r) }

func delivered(r *spool.Record) bool {
	return r.Outcome != spool.Failed && (r.Flags&spool.Provisional != 0 || r.Charge != 0 || r.Usage != [spool.Classes]int64{} || r.Units != 0)
}

// callOf is a record's usage as the card rates it, at the time of the OPEN.
func callOf(r *spool.Record) *rating.Call {
	c := &rating.Call{Dims: rating.Dims{Model: r.Model}, Time: db.Time(r.Time)}
	if r.Meter != rating.MeterRequests { // the request counts below
		c.Meter, c.Thousandths = r.Meter, r.Units
	}
	copy(c.Tokens[:], r.Usage[:])
	c.Tokens[rating.Requests] = 1
	return c
}

// periodKey names what a card's state belongs to.
type periodKey struct {
	subscription string
	start        int64
	planVersion  string
}

func (k periodKey) compare(l periodKey) int {
	return cmp.Or(cmp.Compare(k.subscription, l.subscription), cmp.Compare(k.start, l.start), cmp.Compare(k.planVersion, l.planVersion))
}

// periodState is how far a subscription has come in its period.
type periodState struct{ state rating.State }

// periods are those of a batch: by name, sorted, and by record.
type periods struct {
	all  map[periodKey]*periodState
	keys []periodKey
	of   []*periodState // nil for a record whose usage does not count
}

// loadPeriods reads the periods of the records and locks them until the end of the transaction; those that
// begin are made.
func (b *batch) loadPeriods(recs []spool.Record, p *periods) error {
	p.all = map[periodKey]*periodState{}
	for i := range recs {
		r := &recs[i]
		start, ok := b.starts[r.Event]
		if !ok {
			continue
		}
		k := periodKey{r.Subscription.ID("sub"), start, r.PlanVersion.ID("plv")}
		if p.all[k] == nil {
			p.all[k] = &periodState{}
			p.keys = append(p.keys, k)
		}
		p.of[i] = p.all[k]
	}
	slices.SortFunc(p.keys, periodKey.compare) // one order for all settlers, so that they cannot deadlock
	if err := b.upsertPeriods(p, "period_usage.state"); err != nil {
		return err
	}
	return b.readPeriods(p)
}

func (b *batch) readPeriods(p *periods) error {
	var subs []string
	first := p.keys[0].start
	for _, k := range p.keys {
		subs = append(subs, k.subscription)
		first = min(first, k.start)
	}
	rows, err := b.tx.Query(`SELECT subscription, start, plan_version, state FROM period_usage WHERE subscription`+b.tx.Dialect().In("$1")+` AND start >= $2`,
		slices.Compact(subs), first)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k periodKey
		var text string
		if err := rows.Scan(&k.subscription, &k.start, &k.planVersion, &text); err != nil {
			return err
		}
		if q := p.all[k]; q != nil {
			if err := json.Unmarshal([]byte(text), &q.state); err != nil {
				return fmt.Errorf("settle: period of %s: %w", k.subscription, err)
			}
		}
	}
	return rows.Err()
}

// upsertPeriods makes the periods that are missing; those that are there get the given state.
func (b *batch) upsertPeriods(p *periods, state string) error {
	var subs, versions, states []string
	var starts []int64
	for _, k := range p.keys {
		text, err := json.Marshal(p.all[k].state)
		if err != nil {
			return err
		}
		subs, versions, starts, states = append(subs, k.subscription), append(versions, k.planVersion), append(starts, k.start), append(states, string(text))
	}
	_, _, err := b.tx.InsertRows("period_usage", []string{"subscription", "start", "plan_version", "state"}, []any{subs, starts, versions, states},
		"ON CONFLICT (subscription, start, plan_version) DO UPDATE SET state = "+state)
	return err
}

func (b *batch) savePeriods(p *periods) error { return b.upsertPeriods(p, "excluded.state") }
