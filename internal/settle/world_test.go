package settle

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/spool"
)

var (
	ctx  = context.Background()
	sets = []db.Migrations{ledger.Migrations, meter.Migrations, Migrations}
	noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
)

// Cards of the tests. A token costs 1000 nano-units unless the card says otherwise.
const (
	finalCard = `
currency: USD
lines:
  - {meter: tokens, when: {class: input}, price: "1", per: 1000000}
  - {meter: tokens, when: {class: output}, price: "2", per: 1000000}`
	graduatedCard = `
currency: USD
lines:
  - {meter: tokens, when: {class: input}, pricing: graduated, tiers: [{up_to: "1000", price: "0.000001"}, {price: "0.0000005"}]}
  - {meter: tokens, when: {class: output}, price: "2", per: 1000000}`
	volumeCard = `
currency: USD
lines:
  - {meter: tokens, when: {class: input}, pricing: volume, tiers: [{up_to: "1000", price: "0.000001"}, {price: "0.0000001"}]}
  - {meter: tokens, when: {class: output}, price: "2", per: 1000000}`
	allowanceCard = `
currency: USD
lines:
  - {meter: tokens, when: {class: input}, price: "1", per: 1000000, allowance: "500"}
  - {meter: tokens, when: {class: output}, price: "2", per: 1000000}`
	minimumCard = `
currency: USD
minimum: "5"
lines:
  - {meter: tokens, when: {class: input}, price: "1", per: 1000000}
  - {meter: tokens, when: {class: output}, price: "2", per: 1000000}`
)

// world is a database with what settlement needs around it: plans, and nodes that serve calls.
type world struct {
	t        testing.TB
	db       *db.DB
	dsn      string
	clock    *clock.Manual
	platform string

	mu    sync.Mutex
	terms map[db.UUID]Terms
	cards map[db.UUID]string
	fails map[db.UUID]error // what Terms answers for a plan version
}

func newWorld(t testing.TB, dsn string, d *db.DB, c *clock.Manual) *world {
	return &world{t: t, db: d, dsn: dsn, clock: c, platform: db.NewID("org", noon), terms: map[db.UUID]Terms{}, cards: map[db.UUID]string{}, fails: map[db.UUID]error{}}
}

// eachWorld runs fn on both engines.
func eachWorld(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	for name, dsn := range engines {
		t.Run(name, func(t *testing.T) { fn(t, openWorld(t, dsn(t))) })
	}
}

var engines = map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN}

func openWorld(t testing.TB, dsn string) *world {
	c := clock.NewManual(noon)
	return newWorld(t, dsn, dbtest.Open(t, dsn, db.Options{Clock: c}, sets), c)
}

// plan makes a plan version of the card.
func (w *world) plan(card string, commissionPPM int64) db.UUID {
	w.t.Helper()
	parsed, err := rating.ParseCard([]byte(card))
	w.ok(err)
	compiled, err := rating.Compile(parsed)
	w.ok(err)
	id := db.NewUUID(noon)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cards[id] = card
	w.terms[id] = Terms{Card: compiled, Currency: compiled.Currency(), CommissionPPM: commissionPPM,
		Start: func(_ string, at time.Time) (time.Time, error) {
			return time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC), nil
		}}
	return id
}

func (w *world) findTerms(_ context.Context, id db.UUID) (Terms, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.fails[id]; err != nil {
		return Terms{}, err
	}
	t, ok := w.terms[id]
	if !ok {
		return Terms{}, problem.New(problem.NotFound, "plan.unknown", "no such plan version")
	}
	return t, nil
}

func (w *world) ok(err error) {
	if err != nil {
		w.t.Helper()
		w.t.Fatal(err)
	}
}

// topUp credits the organisation's wallet.
func (w *world) topUp(org db.UUID, amount int64) {
	w.t.Helper()
	w.ok(w.db.Update(ctx, func(tx *db.Tx) error {
		_, _, err := ledger.Post(tx, ledger.Transaction{Kind: "grant", Cause: db.NewID("grt", tx.Now()), Postings: []ledger.Posting{
			{Account: wallet(org), Amount: amount},
			{Account: ledger.Account{Owner: w.platform, Purpose: ledger.Promotion, Currency: "USD"}, Amount: -amount}}})
		return err
	}))
}

func wallet(org db.UUID) ledger.Account {
	return ledger.Account{Owner: org.ID("org"), Purpose: ledger.Wallet, Currency: "USD"}
}

func (w *world) balance(a ledger.Account) ledger.AccountView {
	w.t.Helper()
	var v ledger.AccountView
	w.ok(w.db.View(ctx, func(tx *db.Tx) (err error) {
		v, err = ledger.Balance(tx, a)
		return err
	}))
	return v
}

func (w *world) budget(org db.UUID, amount int64, span, zone string) string {
	w.t.Helper()
	b := Budget{Org: org.ID("org"), Name: "test", Currency: "USD", Amount: amount, Span: span, Zone: zone}
	w.ok(w.db.Update(ctx, func(tx *db.Tx) error { return CreateBudget(tx, &b) }))
	return b.ID
}

func (w *world) readBudget(id string) (b Budget) {
	w.t.Helper()
	w.ok(w.db.View(ctx, func(tx *db.Tx) (err error) {
		b, err = GetBudget(tx, id)
		return err
	}))
	return b
}

// verified fails the test unless the book is proved.
func (w *world) verified() *Report {
	w.t.Helper()
	r, err := Verify(ctx, w.db)
	w.ok(err)
	if !r.OK {
		w.t.Fatalf("the book is not right: %q", r.Faults)
	}
	return r
}

// events lists all events of an organisation, oldest first.
func (w *world) events(org db.UUID) []meter.Event {
	w.t.Helper()
	list, _, err := meter.New(w.db).List(ctx, meter.Filter{Org: org.ID("org")}, "", 100_000)
	w.ok(err)
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

// node is one process: a spool, a bank, a settler.
type node struct {
	w       *world
	dir     string
	spool   *spool.Spool
	bank    *Bank
	settler *Settler
}

type nodeOptions struct {
	dir   string // empty for a new spool
	batch int
	bank  BankOptions
	db    *db.DB // empty for the world's
	seg   int64  // bytes of a segment
}

// start opens a node and recovers; its loops are not running.
func (w *world) start(o nodeOptions) *node {
	w.t.Helper()
	n := w.open(o)
	w.ok(n.settler.Recover(ctx))
	return n
}

// open is start without recovery.
func (w *world) open(o nodeOptions) *node {
	w.t.Helper()
	if o.dir == "" {
		o.dir = w.t.TempDir()
	}
	if o.db == nil {
		o.db = w.db
	}
	s, err := spool.Open(spool.Options{Dir: o.dir, SegmentSize: max(o.seg, 256<<10), Slots: 256})
	w.ok(err)
	o.bank.Spool, o.bank.Epoch, o.bank.Clock = s.ID(), s.Epoch(), w.clock
	n := &node{w: w, dir: o.dir, spool: s, bank: NewBank(o.db, o.bank)}
	n.settler = New(o.db, s, n.bank, Options{Platform: w.platform, Terms: w.findTerms, Clock: w.clock, Batch: o.batch,
		Every: time.Millisecond, Warn: func(msg string, args ...any) { w.t.Log(append([]any{msg}, args...)...) }})
	w.t.Cleanup(func() { n.spool.Close() })
	return n
}

// crash closes the files and nothing else, as the end of a process does.
func (n *node) crash() {
	n.w.t.Helper()
	n.w.ok(n.spool.Close())
}

// stop ends the node in order.
func (n *node) stop() {
	n.w.t.Helper()
	n.w.ok(n.settler.Stop(ctx))
	n.w.ok(n.bank.Stop(ctx))
	n.w.ok(n.spool.Close())
}

// settle settles all that is written.
func (n *node) settle() {
	n.w.t.Helper()
	n.w.ok(n.trySettle())
}

func (n *node) trySettle() error {
	for n.settler.pos.Before(n.spool.Written()) {
		if _, err := n.settler.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sale says who calls what.
type sale struct {
	org, provider, subscription, plan db.UUID
	budgets                           []string
}

// call is one request under way.
type call struct {
	n    *node
	sale sale
	hold Hold
	rec  spool.Record
}

// begin takes a hold and writes the OPEN.
func (n *node) begin(s sale, hold int64) (*call, error) {
	c := &call{n: n, sale: s}
	if err := n.bank.Take(ctx, &c.hold, s.org, "USD", s.budgets, hold); err != nil {
		return nil, err
	}
	n.w.clock.Advance(time.Microsecond) // events sort by time
	now := n.w.clock.Now()
	c.rec = spool.Record{Time: db.Micros(now), Event: db.NewUUID(now), Org: s.org, Key: s.org, Provider: s.provider, Product: s.plan, Version: s.plan,
		Subscription: s.subscription, PlanVersion: s.plan, Upstream: s.provider, Hold: c.hold.Amount(), Model: "model", Attempts: 1}
	c.hold.Leases(&c.rec)
	if err := n.spool.AppendOpen(&c.rec); err != nil {
		n.bank.Finish(&c.hold, 0)
		return nil, err
	}
	return c, nil
}

// end does what the gateway does: rate, CLOSE, finish.
func (c *call) end(input, output int64) {
	c.n.w.t.Helper()
	t, err := c.n.w.findTerms(ctx, c.sale.plan)
	if t.Card == nil {
		c.n.w.ok(err)
	}
	q := rating.Tokens{rating.Input: input, rating.Output: output, rating.Requests: 1}
	nano, ok := t.Card.TokenCharge(&q)
	if !ok {
		ch, err := t.Card.RateCall(nil, &rating.Call{Tokens: q})
		c.n.w.ok(err)
		nano = ch.Nano
		c.rec.Flags |= spool.Provisional
	}
	c.rec.Charge = min(nano, c.rec.Hold)
	if c.rec.Excess = nano - c.rec.Charge; c.rec.Excess > 0 {
		c.rec.Flags |= spool.Uncharged
	}
	c.rec.Outcome, c.rec.Status, c.rec.Usage[0], c.rec.Usage[3] = spool.Completed, 200, input, output
	c.close()
}

// fail ends the call without an answer and without a charge.
func (c *call) fail() {
	c.n.w.t.Helper()
	c.rec.Outcome, c.rec.Status = spool.Failed, 502
	c.close()
}

func (c *call) close() {
	c.n.w.t.Helper()
	_, err := c.n.spool.AppendClose(&c.rec)
	c.n.w.ok(err)
	kept := c.rec.Charge
	if c.rec.Flags&spool.Provisional != 0 {
		kept = c.hold.Amount()
	}
	c.n.bank.Finish(&c.hold, kept)
}

// call is begin and end.
func (n *node) call(s sale, hold, input, output int64) error {
	n.w.t.Helper()
	c, err := n.begin(s, hold)
	if err == nil {
		c.end(input, output)
	}
	return err
}

func (w *world) sale(plan db.UUID, budgets ...string) sale {
	return sale{org: db.NewUUID(noon), provider: db.NewUUID(noon), subscription: db.NewUUID(noon), plan: plan, budgets: budgets}
}
