package settle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	s     *Settler
	tx    *db.Tx
	terms map[db.UUID]Terms
	next  spool.Position // where the cursor goes
	txn   string

	events   []meter.Event
	oldest   int64
	postings []ledger.Posting
	spent    map[db.UUID]int64 // by lease
	learned  map[db.UUID]leaseInfo
	surplus  []surplus
	charged  bool // some posting is not zero

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
	if d := b.s.doubt; d != nil && slices.Contains(ids, d.events[0].ID) {
		b.decided, b.proved = true, known[d.events[0].ID]
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

// clean makes a name fit for both engines: PostgreSQL takes no NUL and no broken UTF-8, which a name that was cut
// may end in.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// spendLeases books the charges on the leases and budgets, in the order of ids; see borrow for the order of locks. It
// returns which leases were open: only those have something reserved.
func (b *batch) spendLeases() (released map[db.UUID]bool, err error) {
	ids := slices.SortedFunc(maps.Keys(b.spent), func(a, c db.UUID) int { return bytes.Compare(a[:], c[:]) })
	args := make([][]any, len(ids))
	for i, id := range ids {
		args[i] = []any{b.spent[id], id.ID("lse")}
	}
	open, err := b.tx.ExecMany(`UPDATE credit_lease SET spent = spent + $1 WHERE id = $2 AND state = 'open'`, args)
	if err != nil {
		return nil, err
	}
	released = map[db.UUID]bool{}
	budgets := map[budgetKey][2]int64{} // spent, and of that reserved
	for i, id := range ids {
		released[id] = open[i] == 1
		l, err := b.lease(id)
		if err != nil {
			return nil, err
		}
		if l.kind != "budget" {
			continue
		}
		k := budgetKey{l.budget, l.start}
		n := budgets[k]
		n[0] += b.spent[id]
		n[1] += b.spent[id] * open[i]
		budgets[k] = n
	}
	args = nil
	for _, k := range slices.SortedFunc(maps.Keys(budgets), compareBudgets) {
		args = append(args, []any{budgets[k][0], budgets[k][1], k.id, k.start})
	}
	_, err = b.tx.ExecMany(`UPDATE budget_period SET spent = spent + $1, reserved = reserved - $2 WHERE budget = $3 AND start = $4`, args)
	return released, err
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
		err = fmt.Errorf("%w: %s", errPosted, b.events[0].ID)
	}
	return err
}

var errPosted = errors.New("settle: the event was posted before")

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
		if err := s.reconcile(ctx, nil, err); err != nil || s.pos == next {
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
