package settle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// batch is one settlement transaction under way.
type batch struct {
	s      *Settler
	tx     *db.Tx
	terms  map[db.UUID]Terms
	starts map[db.UUID]int64 // of the period that an event counts for, by event
	next   spool.Position    // where the cursor goes
	txn    string

	events  []meter.Event // their space is used again by the next batch
	first   string        // id of the first
	oldest  int64
	spent   map[db.UUID]int64 // by lease
	learned map[db.UUID]leaseInfo
	surplus []surplus
	charged bool // some posting is not zero

	decided bool // with this batch it is known what became of the one in doubt,
	proved  bool // and that is, that it was committed
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
	b.events, b.first = b.s.events[:0], recs[0].Event.ID("evt")
	for i := range recs {
		if err := b.add(&recs[i], charges[i]); err != nil {
			return err
		}
	}
	open, err := b.spendLeases()
	if err != nil {
		return err
	}
	if b.charged {
		if err := b.post(recs, charges, open); err != nil {
			return err
		}
	}
	return meter.Insert(b.tx, b.events)
}

// fresh drops the records whose event is in the table, or in suspense, already.
func (b *batch) fresh(recs []spool.Record, check bool) ([]spool.Record, error) {
	if !check {
		return recs, nil
	}
	ids := make([]string, len(recs))
	for i := range recs {
		ids[i] = recs[i].Event.ID("evt")
	}
	known, err := meter.Known(b.tx, ids)
	if err != nil {
		return nil, err
	}
	if d := b.s.doubt; d != nil && slices.Contains(ids, d.first) {
		b.decided, b.proved = true, known[d.first]
	}
	if err := suspended(b.tx, ids, known); err != nil || len(known) == 0 {
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

// suspended adds to known which of the event ids are in suspense.
func suspended(tx *db.Tx, ids []string, known map[string]bool) error {
	rows, err := tx.Query(`SELECT event FROM settle_suspense WHERE event`+tx.Dialect().In("$1"), ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		known[id] = true
	}
	return rows.Err()
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
	commission, err := money.MulDivRound(charge, t.CommissionPPM, 1e6) // the provider has the rest: they always add up
	if err != nil {
		return fmt.Errorf("settle: commission of %d ppm: %w", t.CommissionPPM, err)
	}
	e := meter.Event{
		ID: r.Event.ID("evt"), At: r.Time, Org: r.Org.ID("org"), Key: r.Key.ID("key"), Provider: r.Provider.ID("org"),
		Product: r.Product.ID("prd"), Version: r.Version.ID("ver"), Upstream: r.Upstream.ID("ups"),
		Subscription: r.Subscription.ID("sub"), PlanVersion: r.PlanVersion.ID("plv"), Model: clean(r.Model), Outcome: r.Outcome.String(),
		Status: int64(r.Status), Flags: int64(r.Flags), Attempts: int64(r.Attempts), Currency: t.Currency,
		Charge: charge, Commission: commission, Hold: r.Hold, Excess: r.Excess, Usage: r.Usage, Meter: clean(r.Meter), Units: r.Units,
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

// clean makes a name fit for both engines: PostgreSQL takes no NUL and no broken UTF-8, which a name that was cut
// may end in.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// spendLeases books the charges on the leases and budgets; see borrow for the order of locks. It returns which
// leases were open: only those have something reserved.
func (b *batch) spendLeases() (open map[db.UUID]bool, err error) {
	leases := make([]string, 0, len(b.spent))
	budgets := map[budgetKey][2]int64{} // spent, and of that reserved
	for id := range b.spent {
		leases = append(leases, id.ID("lse"))
	}
	now, err := b.lockLeases(leases)
	if err != nil {
		return nil, err
	}
	open = make(map[db.UUID]bool, len(now))
	leases = leases[:0]
	var granted, spent []int64
	for id, n := range b.spent {
		l, err := b.lease(id)
		if err != nil {
			return nil, err
		}
		text := id.ID("lse")
		was := now[text]
		open[id] = was.open
		leases, spent = append(leases, text), append(spent, was.spent+n)
		if !was.open { // taken back before all was settled: it grants what was spent nevertheless
			was.granted += n
		}
		granted = append(granted, was.granted)
		if l.kind == "budget" {
			k := budgetKey{l.budget, l.start}
			sum := budgets[k]
			sum[0] += n
			if was.open {
				sum[1] += n
			}
			budgets[k] = sum
		}
	}
	if _, err := b.tx.UpdateRows("credit_lease", []string{"id"}, []string{"granted", "spent"}, []any{leases, granted, spent}); err != nil {
		return nil, err
	}
	return open, b.spendBudgets(budgets)
}

type leaseState struct {
	granted, spent int64
	open           bool
}

// lockLeases reads the leases and locks them until the end of the transaction.
func (b *batch) lockLeases(ids []string) (map[string]leaseState, error) {
	rows, err := b.tx.Query(`SELECT id, granted, spent, state FROM credit_lease WHERE id`+b.tx.Dialect().In("$1")+` ORDER BY id`+b.tx.Dialect().ForUpdate(), ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	now := make(map[string]leaseState, len(ids))
	for rows.Next() {
		var id, state string
		var l leaseState
		if err := rows.Scan(&id, &l.granted, &l.spent, &state); err != nil {
			return nil, err
		}
		l.open = state == "open"
		now[id] = l
	}
	return now, rows.Err()
}

// spendBudgets adds to each budget's period what was spent, and of that reserved.
func (b *batch) spendBudgets(more map[budgetKey][2]int64) error {
	if len(more) == 0 {
		return nil
	}
	var ids []string
	first := int64(math.MaxInt64)
	for k := range more {
		ids, first = append(ids, k.id), min(first, k.start)
	}
	rows, err := b.tx.Query(`SELECT budget, start, spent, reserved FROM budget_period WHERE budget`+b.tx.Dialect().In("$1")+` AND start >= $2 ORDER BY budget, start`+b.tx.Dialect().ForUpdate(), ids, first)
	if err != nil {
		return err
	}
	defer rows.Close()
	ids = ids[:0]
	var starts, spent, reserved []int64
	for rows.Next() {
		var k budgetKey
		var s, r int64
		if err := rows.Scan(&k.id, &k.start, &s, &r); err != nil {
			return err
		}
		if n, ok := more[k]; ok {
			ids, starts, spent, reserved = append(ids, k.id), append(starts, k.start), append(spent, s+n[0]), append(reserved, r-n[1])
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	n, err := b.tx.UpdateRows("budget_period", []string{"budget", "start"}, []string{"spent", "reserved"}, []any{ids, starts, spent, reserved})
	if err == nil && n != int64(len(more)) {
		err = errors.New("settle: a budget's period is missing")
	}
	return err
}

// post moves the money: consumers' wallets to providers and platform.
func (b *batch) post(recs []spool.Record, charges []int64, open map[db.UUID]bool) error {
	n := netting{at: map[party]int{}}
	for i := range recs {
		r, e, charge := &recs[i], &b.events[i], charges[i]
		if charge == 0 {
			continue
		}
		release := int64(0)
		if r.NLease > 0 && open[r.Leases[0]] {
			release = max(charge, 0)
		}
		err := errors.Join(
			n.add(party{r.Org, ledger.Wallet, e.Currency}, e.Org, -charge, release),
			n.add(party{r.Provider, ledger.Payable, e.Currency}, e.Provider, charge-e.Commission, 0),
			n.add(party{db.UUID{}, ledger.Commission, e.Currency}, b.s.o.Platform, e.Commission, 0))
		if err != nil {
			return err
		}
	}
	// The cause is the first new event: an event is posted once, so a cause is, too.
	_, posted, err := ledger.Post(b.tx, ledger.Transaction{ID: b.txn, Kind: KindUsage, Cause: b.first, Actor: "settle", Postings: n.postings})
	if err == nil && !posted {
		err = fmt.Errorf("%w: %s", errPosted, b.first)
	}
	return err
}

var errPosted = errors.New("settle: the event was posted before")

// netting adds up postings by account: a batch has many for a few.
type netting struct {
	at       map[party]int
	postings []ledger.Posting
}

// party is an account, cheaper to look up.
type party struct {
	owner    db.UUID
	purpose  ledger.Purpose
	currency string
}

func (n *netting) add(k party, owner string, amount, release int64) error {
	i, ok := n.at[k]
	if !ok {
		i = len(n.postings)
		n.at[k] = i
		n.postings = append(n.postings, ledger.Posting{Account: ledger.Account{Owner: owner, Purpose: k.purpose, Currency: k.currency}})
	}
	p := &n.postings[i]
	var err, err2 error
	p.Amount, err = money.AddNano(p.Amount, amount)
	p.Release, err2 = money.AddNano(p.Release, release)
	return errors.Join(err, err2)
}

// KindUsage is the kind of the ledger transactions that settle usage.
const KindUsage = "usage"

// transient reports whether err is the database's and may pass by itself.
func transient(ctx context.Context, err error) bool {
	return ctx.Err() != nil || problem.Is(err, problem.Unavailable) || problem.Is(err, problem.Timeout) || db.IsEngine(err) && !db.IsRefused(err)
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
		if err := s.reconcile(ctx, nil, err); err != nil || !s.pos.Before(next) {
			return err
		}
		return s.settle(ctx, []spool.Record{*r}, next, true)
	}
	if err != nil {
		return err
	}
	s.o.Warn("a call could not be settled and is in suspense", "event", r.Event.ID("evt"), "reason", cause)
	s.pos = next
	return nil
}
