package settle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// batch is one settlement transaction under way.
type batch struct {
	s     *Settler
	tx    *db.Tx
	terms map[db.UUID]Terms
	txn   string

	events   []meter.Event
	oldest   int64
	postings []ledger.Posting
	spent    map[db.UUID]int64 // by lease
	learned  map[db.UUID]leaseInfo
	surplus  []surplus
	charged  bool // some posting is not zero
}

// surplus is what the bank may use again after the commit.
type surplus struct {
	org      db.UUID
	currency string
	leases   []db.UUID
	amount   int64
}

func (b *batch) write(recs []spool.Record, check bool) error {
	recs, err := b.fresh(recs, check)
	if err != nil || len(recs) == 0 {
		return err
	}
	if err := b.learnLeases(recs); err != nil {
		return err
	}
	charges, err := b.rate(recs)
	if err != nil {
		return err
	}
	b.spent = map[db.UUID]int64{}
	for i := range recs {
		if err := b.add(&recs[i], charges[i]); err != nil {
			return err
		}
	}
	released, err := b.spendLeases()
	if err != nil {
		return err
	}
	if b.charged {
		if err := b.post(recs, charges, released); err != nil {
			return err
		}
	}
	return meter.Insert(b.tx, b.events)
}

// fresh drops the records whose event is in the table already.
func (b *batch) fresh(recs []spool.Record, check bool) ([]spool.Record, error) {
	if !check {
		return recs, nil
	}
	ids := make([]string, len(recs))
	for i := range recs {
		ids[i] = recs[i].Event.ID("evt")
	}
	known, err := meter.Known(b.tx, ids)
	if err != nil || len(known) == 0 {
		return recs, err
	}
	var list []spool.Record
	for i := range recs {
		if !known[ids[i]] {
			list = append(list, recs[i])
		}
	}
	return list, nil
}

// learnLeases reads what the leases of the records were drawn on, those not known yet.
func (b *batch) learnLeases(recs []spool.Record) error {
	b.learned = map[db.UUID]leaseInfo{}
	var ids []string
	asked := map[db.UUID]bool{}
	for i := range recs {
		for _, id := range recs[i].Leases[:recs[i].NLease] {
			if _, ok := b.s.leases[id]; !ok && !asked[id] {
				asked[id] = true
				ids = append(ids, id.ID("lse"))
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := b.tx.Query(`SELECT id, kind, org, currency, budget, start FROM credit_lease WHERE id`+b.tx.Dialect().In("$1"), ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var l leaseInfo
		if err := rows.Scan(&id, &l.kind, &l.org, &l.currency, &l.budget, &l.start); err != nil {
			return err
		}
		u, err := db.ParseID(id, "lse")
		if err != nil {
			return err
		}
		b.learned[u] = l
	}
	return rows.Err()
}

func (b *batch) lease(id db.UUID) (leaseInfo, error) {
	if l, ok := b.s.leases[id]; ok {
		return l, nil
	}
	if l, ok := b.learned[id]; ok {
		return l, nil
	}
	return leaseInfo{}, fmt.Errorf("settle: there is no lease %s", id.ID("lse"))
}

// add makes the event of a record and notes what it spends of its leases.
func (b *batch) add(r *spool.Record, charge int64) error {
	t := b.terms[r.PlanVersion]
	commission := commissionOf(charge, t.CommissionPPM)
	e := meter.Event{
		ID: r.Event.ID("evt"), At: r.Time, Org: r.Org.ID("org"), Key: r.Key.ID("key"), Provider: r.Provider.ID("org"),
		Product: r.Product.ID("prd"), Version: r.Version.ID("ver"), Upstream: r.Upstream.ID("ups"),
		Subscription: r.Subscription.ID("sub"), PlanVersion: r.PlanVersion.ID("plv"), Model: r.Model, Outcome: r.Outcome.String(),
		Status: int64(r.Status), Flags: int64(r.Flags), Attempts: int64(r.Attempts), Currency: t.Currency,
		Charge: charge, Commission: commission, Hold: r.Hold, Excess: r.Excess, Usage: r.Usage,
		BytesIn: r.BytesIn, BytesOut: r.BytesOut, Duration: r.Duration, FirstByte: r.FirstByte,
		RequestDigest: r.RequestDigest[:], ResponseDigest: r.ResponseDigest[:], Txn: b.txn,
	}
	b.events = append(b.events, e)
	if b.oldest == 0 || r.Time < b.oldest {
		b.oldest = r.Time
	}
	for _, id := range r.Leases[:r.NLease] {
		if _, err := b.lease(id); err != nil {
			return err
		}
		b.spent[id] += max(charge, 0)
	}
	if r.Flags&spool.Provisional != 0 {
		b.surplus = append(b.surplus, surplus{r.Org, t.Currency, slices.Clone(r.Leases[:r.NLease]), r.Hold - max(charge, 0)})
	}
	b.charged = b.charged || charge != 0
	return nil
}

// commissionOf is the platform's part: rounded half away from zero; the provider has the rest, so that
// the two always add up.
func commissionOf(charge, ppm int64) int64 {
	n, err := money.MulDivRound(charge, ppm, 1e6)
	if err != nil { // ppm is at most a million, so that it cannot overflow
		panic("settle: commission of " + strconv.FormatInt(ppm, 10) + " ppm: " + err.Error())
	}
	return n
}

// spendLeases books the charges on the leases and budgets, in the order of ids. It returns, for wallet leases, which
// ones were open: only those have something reserved on the account.
func (b *batch) spendLeases() (released map[db.UUID]bool, err error) {
	ids := make([]db.UUID, 0, len(b.spent))
	for id := range b.spent {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, c db.UUID) int { return slices.Compare(a[:], c[:]) })
	released = map[db.UUID]bool{}
	for _, id := range ids {
		n := b.spent[id]
		l, err := b.lease(id)
		if err != nil {
			return nil, err
		}
		rows, err := b.tx.Exec(`UPDATE credit_lease SET spent = spent + $1 WHERE id = $2 AND state = 'open'`, n, id.ID("lse"))
		if err != nil {
			return nil, err
		}
		released[id] = rows == 1
		if l.kind != "budget" {
			continue
		}
		reserved := n
		if !released[id] {
			reserved = 0
		}
		if _, err := b.tx.Exec(`UPDATE budget_period SET spent = spent + $1, reserved = reserved - $2 WHERE budget = $3 AND start = $4`, n, reserved, l.budget, l.start); err != nil {
			return nil, err
		}
	}
	return released, nil
}

// post moves the money: consumer's wallet to provider and platform.
func (b *batch) post(recs []spool.Record, charges []int64, released map[db.UUID]bool) error {
	for i := range recs {
		r, charge := &recs[i], charges[i]
		if charge == 0 {
			continue
		}
		t := b.terms[r.PlanVersion]
		commission := b.events[i].Commission
		release := int64(0)
		if r.NLease > 0 && released[r.Leases[0]] {
			release = max(charge, 0)
		}
		b.postings = append(b.postings,
			ledger.Posting{Account: ledger.Account{Owner: b.events[i].Org, Purpose: ledger.Wallet, Currency: t.Currency}, Amount: -charge, Release: release},
			ledger.Posting{Account: ledger.Account{Owner: b.events[i].Provider, Purpose: ledger.Payable, Currency: t.Currency}, Amount: charge - commission},
			ledger.Posting{Account: ledger.Account{Owner: b.s.o.Platform, Purpose: ledger.Commission, Currency: t.Currency}, Amount: commission})
	}
	// The cause is the first new event: an event is posted once, so a cause is, too.
	_, posted, err := ledger.Post(b.tx, ledger.Transaction{ID: b.txn, Kind: KindUsage, Cause: b.events[0].ID, Actor: "settle", Postings: b.postings})
	if err == nil && !posted {
		err = fmt.Errorf("settle: event %s was posted before, but is not in the table", b.events[0].ID)
	}
	return err
}

// KindUsage is the kind of the ledger transactions that settle usage.
const KindUsage = "usage"

// rate gives the charge of each record: what its CLOSE says, or, where that was provisional, what the card
// says of the period's usage so far.
func (b *batch) rate(recs []spool.Record) ([]int64, error) {
	charges := make([]int64, len(recs))
	var periods map[periodKey]*periodUsage
	for i := range recs {
		r := &recs[i]
		charges[i] = r.Charge
		t := b.terms[r.PlanVersion]
		if r.Flags&spool.Provisional == 0 && !t.Card.NeedsState() {
			continue
		}
		if periods == nil {
			periods = map[periodKey]*periodUsage{}
		}
		p, err := b.period(periods, r, t)
		if err != nil {
			return nil, err
		}
		c, err := t.Card.RateCall(p.state, callOf(r))
		if err != nil {
			return nil, err
		}
		p.state.Apply(&c)
		charges[i] = min(c.Nano, r.Hold)
		r.Excess = c.Nano - charges[i]
		if r.Excess > 0 {
			r.Flags |= spool.Uncharged
		}
	}
	return charges, b.savePeriods(periods)
}

// callOf is a record's usage as the card rates it, at the time of the OPEN.
func callOf(r *spool.Record) *rating.Call {
	c := &rating.Call{Dims: rating.Dims{Model: r.Model}, Time: db.Time(r.Time)}
	copy(c.Tokens[:], r.Usage[:])
	if r.Outcome != spool.Failed {
		c.Tokens[rating.Requests] = 1
	}
	return c
}

type periodKey struct {
	subscription string
	start        int64
	planVersion  string
}

// periodUsage is how far a subscription has come in its period.
type periodUsage struct {
	state rating.State
	found bool
}

func (b *batch) period(all map[periodKey]*periodUsage, r *spool.Record, t Terms) (*periodUsage, error) {
	sub := r.Subscription.ID("sub")
	start, err := t.Start(sub, db.Time(r.Time))
	if err != nil {
		return nil, err
	}
	k := periodKey{sub, db.Micros(start), r.PlanVersion.ID("plv")}
	if p := all[k]; p != nil {
		return p, nil
	}
	p := &periodUsage{}
	all[k] = p
	var text string
	err = b.tx.QueryRow(`SELECT state FROM period_usage WHERE subscription = $1 AND start = $2 AND plan_version = $3`+b.tx.Dialect().ForUpdate(), k.subscription, k.start, k.planVersion).Scan(&text)
	if errors.Is(err, db.ErrNoRows) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.found = true
	return p, json.Unmarshal([]byte(text), &p.state)
}

// savePeriods writes the states back. Two nodes that begin a period at once: the second fails on the
// primary key and is tried again, then finding the row.
func (b *batch) savePeriods(all map[periodKey]*periodUsage) error {
	for k, p := range all {
		text, err := json.Marshal(p.state)
		if err != nil {
			return err
		}
		if p.found {
			_, err = b.tx.Exec(`UPDATE period_usage SET state = $1 WHERE subscription = $2 AND start = $3 AND plan_version = $4`, string(text), k.subscription, k.start, k.planVersion)
		} else {
			_, err = b.tx.Exec(`INSERT INTO period_usage (subscription, start, plan_version, state) VALUES ($1, $2, $3, $4)`, k.subscription, k.start, k.planVersion, string(text))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// transient reports whether err is the database's and passes by itself.
func transient(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, db.ErrInDoubt) || problem.Is(err, problem.Unavailable) || problem.Is(err, problem.Timeout)
}

// suspend puts an event that cannot be settled aside, with the reason, and moves on. The operator sees
// it in doctor, in the metrics and in verify, which fails until it is resolved.
func (s *Settler) suspend(ctx context.Context, r *spool.Record, next spool.Position, cause error) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = s.db.Settle(ctx, func(tx *db.Tx) error {
		if next != s.pos {
			if err := s.moveCursor(tx, s.spool.Epoch(), s.pos, next); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`INSERT INTO settle_suspense (event, org, record, reason, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			r.Event.ID("evt"), r.Org.ID("org"), string(text), cause.Error(), db.Micros(tx.Now()))
		return err
	})
	if errors.Is(err, errCursor) || errors.Is(err, db.ErrInDoubt) {
		return s.reconcile(ctx, next, err)
	}
	if err != nil {
		return err
	}
	s.o.Warn("a call could not be settled and is in suspense", "event", r.Event.ID("evt"), "reason", cause)
	s.pos = next
	return nil
}
