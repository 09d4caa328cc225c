package settle

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/spool"
)

// BankOptions configure a Bank. The zero value of a field means its default.
type BankOptions struct {
	Spool string // id of the spool whose requests the leases serve
	Epoch uint64
	Clock clock.Clock
	// MinLease is the least that is asked for at once, in nano-units; default 1 unit of the currency.
	MinLease int64
	// Cover is how long a lease should last at the present rate of spending; default 60 s. It is how
	// long the database may be away without a call failing.
	Cover time.Duration
	// IdleReturn is how long an unused lease is kept; default 3 s, so that it is back within 5 s.
	IdleReturn time.Duration
	// Wait bounds how long a call waits for a lease; default 3 s.
	Wait time.Duration
}

// Bank holds this node's leases: credit of wallets and budgets that the database granted to it, from
// which calls reserve in memory. Its methods may be called concurrently.
//
// The lock of a purse covers a wallet and all budgets of that organisation and currency, so that one
// hold takes from all of them or from none. For each scope
//
//	granted (what the database gave) >= used (charges of ended calls + holds of running ones)
//
// at all times, so that what is settled can never exceed what was granted.
type Bank struct {
	o     BankOptions
	db    *db.DB
	clock clock.Clock

	mu     sync.RWMutex
	purses map[purseKey]*purse // guarded by mu

	tick   atomic.Int64 // clock in microseconds, moved by the loop: for lastUse
	refill chan *scope
	idle   chan struct{} // some purse has credit to return; capacity 1
	stop   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

type purseKey struct {
	org      db.UUID
	currency string
}

// purse is an organisation's wallet in one currency and the budgets over it.
type purse struct {
	org      string
	currency string

	mu      sync.Mutex
	wallet  *scope            // guarded by mu
	budgets map[string]*scope // guarded by mu; by budget id, the present period's
	past    []*scope          // guarded by mu; budgets' past periods of the last hour

	// lending serialises database work for the purse, so that granted is always what the last one said.
	lending chan struct{}
}

// scope is one lease. Its fields from granted on are guarded by purse.mu.
type scope struct {
	purse  *purse
	lease  db.UUID
	budget string // empty for the wallet
	start  int64  // of the budget's period, UTC microseconds
	until  int64  // end of it; 0 for never

	granted int64
	used    int64
	unsure  bool  // the database may have granted more: an answer was lost
	open    int   // holds of running calls
	lastUse int64 // Bank.tick
	asked   bool  // a refill is queued
	low     int64 // ask for more below this
	spent   int64 // charges since the last look of the loop
	rate    int64 // charges per second, smoothed
	denied  int64 // the database lacked this much ...

	deniedUntil int64 // ... and need not be asked again before this time
	askAfter    int64 // no refill ahead of need before this time
}

// NewBank returns a Bank that borrows from d for the spool's epoch.
func NewBank(d *db.DB, o BankOptions) *Bank {
	if o.MinLease == 0 {
		o.MinLease = 1e9
	}
	if o.Cover == 0 {
		o.Cover = time.Minute
	}
	if o.IdleReturn == 0 {
		o.IdleReturn = 3 * time.Second
	}
	if o.Wait == 0 {
		o.Wait = 3 * time.Second
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	b := &Bank{o: o, db: d, clock: o.Clock, purses: map[purseKey]*purse{},
		refill: make(chan *scope, 1024), idle: make(chan struct{}, 1), stop: make(chan struct{})}
	b.tick.Store(db.Micros(b.clock.Now()))
	return b
}

// Start runs the loops that refill leases ahead of need and return idle ones.
func (b *Bank) Start() {
	b.wg.Add(3)
	go b.refiller()
	go b.returner()
	go b.housekeeper()
}

// Stop ends the loops and returns what the leases have left. Calls in flight must have ended, and the settler
// been stopped: it frees what calls that it rates held too much. Twice is fine.
func (b *Bank) Stop(ctx context.Context) error {
	var err error
	b.once.Do(func() {
		close(b.stop)
		b.wg.Wait()
		for _, p := range b.all() {
			err = errors.Join(err, b.giveBack(ctx, p, true))
		}
	})
	return err
}

// Hold is a reservation: amount nano-units of the wallet and of each budget. The zero value is ready;
// a finished Hold can be used again.
type Hold struct {
	purse  *purse
	scopes [spool.MaxLeases]*scope
	n      int
	amount int64
}

// Amount is what is held, in nano-units.
func (h *Hold) Amount() int64 { return h.amount }

// Leases writes the leases that the hold takes from into r.
func (h *Hold) Leases(r *spool.Record) {
	r.NLease = uint8(h.n)
	for i, s := range h.scopes[:h.n] {
		r.Leases[i] = s.lease
	}
}

var (
	errWallet  = problem.New(problem.Funds, "settle.wallet_exhausted", "the wallet does not cover this call; top it up, ask for less (a lower max_tokens, a shorter text), or wait for running calls to end")
	errBudget  = problem.New(problem.Funds, "settle.budget_exhausted", "the budget of this key does not cover this call; raise it, ask for less (a lower max_tokens, a shorter text), or wait for running calls to end")
	errNoLease = problem.New(problem.Unavailable, "settle.no_lease", "the platform cannot reserve credit now; try again in a moment").After(2 * time.Second)
	errMany    = problem.New(problem.Forbidden, "settle.too_many_budgets", "too many budgets apply to this key; remove some")
	errCross   = problem.New(problem.Forbidden, "settle.budget_currency", "a budget of this key is in another currency than the product is sold in; use a key without it")
)

// Take reserves amount of the organisation's wallet in currency and of each of the budgets, all or
// nothing. On the usual path it touches memory only; when a lease runs short it asks the database, at
// most BankOptions.Wait long. Errors: problem.Funds when the money is not there, problem.Unavailable when
// that cannot be found out.
func (b *Bank) Take(ctx context.Context, h *Hold, org db.UUID, currency string, budgets []string, amount int64) error {
	if len(budgets) >= spool.MaxLeases {
		return errMany
	}
	h.purse, h.n, h.amount = nil, 0, 0
	if amount <= 0 {
		return nil // nothing to reserve: no lease is needed
	}
	key := purseKey{org, currency}
	b.mu.RLock()
	p := b.purses[key]
	b.mu.RUnlock()
	if p == nil {
		p = b.addPurse(key)
	}
	now := b.tick.Load()
	p.mu.Lock()
	if p.collect(h, budgets, now) && h.covers(amount) {
		b.take(h, amount, now)
		p.mu.Unlock()
		return nil
	}
	p.mu.Unlock()
	err := b.takeSlow(ctx, p, h, budgets, amount)
	if err != nil {
		h.purse, h.n = nil, 0
	}
	return err
}

func (b *Bank) addPurse(key purseKey) *purse {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.purses[key]; p != nil {
		return p
	}
	p := &purse{org: key.org.ID("org"), currency: key.currency, budgets: map[string]*scope{}, lending: make(chan struct{}, 1)}
	p.wallet = &scope{purse: p, lease: db.NewUUID(b.clock.Now())}
	b.purses[key] = p
	return p
}

// collect puts the scopes into h, each once; false when one is not known here or its period is over. Called
// with mu held.
func (p *purse) collect(h *Hold, budgets []string, now int64) bool {
	h.purse, h.n = p, 1
	h.scopes[0] = p.wallet
	for _, id := range budgets {
		s := p.budgets[id]
		if s == nil || s.over(now) {
			return false
		}
		if slices.Contains(h.scopes[:h.n], s) {
			continue
		}
		h.scopes[h.n] = s
		h.n++
	}
	return true
}

// over reports whether the scope's period has ended.
func (s *scope) over(now int64) bool { return s.until != 0 && now >= s.until }

// covers reports whether each scope has amount left. Called with mu held.
func (h *Hold) covers(amount int64) bool {
	for _, s := range h.scopes[:h.n] {
		if s.granted-s.used < amount {
			return false
		}
	}
	return true
}

// take reserves. Called with mu held, after covers.
func (b *Bank) take(h *Hold, amount, now int64) {
	h.amount = amount
	for _, s := range h.scopes[:h.n] {
		s.used += amount
		s.open++
		s.lastUse = now
		if s.granted-s.used < s.low {
			b.askMore(s)
		}
	}
}

// askMore queues a refill ahead of need. Called with mu held.
func (b *Bank) askMore(s *scope) {
	if s.asked || s.granted-s.used >= s.low {
		return
	}
	select {
	case b.refill <- s:
		s.asked = true
	default: // the queue is full: a later call asks
	}
}

// takeSlow gets what is lacking from the database, then takes.
func (b *Bank) takeSlow(ctx context.Context, p *purse, h *Hold, budgets []string, amount int64) error {
	ctx, cancel := context.WithTimeout(ctx, b.o.Wait)
	defer cancel()
	select {
	case p.lending <- struct{}{}:
		defer func() { <-p.lending }()
	case <-ctx.Done():
		return errNoLease.Because(ctx.Err())
	}
	now := db.Micros(b.clock.Now())
	if err := b.loadBudgets(ctx, p, budgets, now); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Calls on the fast path may take from one scope while another is being filled; after a few
	// rounds the purse is too contended to wait for.
	for range 32 {
		if !p.collect(h, budgets, now) {
			return errNoLease
		}
		if h.covers(amount) {
			b.take(h, amount, now)
			return nil
		}
		for _, s := range h.scopes[:h.n] {
			if err := b.fill(ctx, s, amount, now); err != nil {
				return err
			}
		}
	}
	return errNoLease
}

// fill borrows what the scope lacks of amount. Called with mu held, which it gives up meanwhile, and
// with the lending slot held.
func (b *Bank) fill(ctx context.Context, s *scope, amount, now int64) error {
	lack := amount - (s.granted - s.used)
	if lack <= 0 {
		return nil
	}
	if lack >= s.denied && now < s.deniedUntil {
		return s.exhausted()
	}
	want := max(lack, s.target(b.o)-(s.granted-s.used))
	s.purse.mu.Unlock()
	granted, err := b.borrow(ctx, s, lack, want)
	s.purse.mu.Lock()
	switch {
	case err == nil:
		s.lent(granted)
		return nil
	case s.granted-s.used >= amount:
		return nil // calls that ended meanwhile gave enough back
	case !errors.Is(err, ledger.ErrFunds):
		s.unsure = s.unsure || errors.Is(err, db.ErrInDoubt)
		return errNoLease.Because(err)
	}
	s.denied, s.deniedUntil = lack, now+denialMicros
	return s.exhausted()
}

// lent notes what the database has granted in all. Called with mu held.
func (s *scope) lent(granted int64) {
	s.granted, s.unsure, s.deniedUntil = granted, false, 0
	s.low = (granted - s.used) / 2
}

// denialMicros is how long "not enough" is believed before the database is asked again: a top-up works
// after this time at the latest.
const denialMicros = 100_000

func (s *scope) exhausted() error {
	if s.budget != "" {
		return errBudget
	}
	return errWallet
}

// target is how much the scope should have left after a refill. Called with mu held.
func (s *scope) target(o BankOptions) int64 {
	perSecond := s.rate
	cover := int64(o.Cover / time.Second)
	if perSecond > (1<<62)/max(cover, 1) {
		return 1 << 62
	}
	return max(o.MinLease, perSecond*cover)
}

// Finish ends the hold: charge nano-units of it were spent, the rest is free again at once. charge must be what the
// CLOSE says, and the whole amount where that is not yet known: when the CLOSE is flagged Provisional (the settler
// frees what its own charge leaves), and when it could not be written (recovery charges).
func (b *Bank) Finish(h *Hold, charge int64) {
	p := h.purse
	if p == nil {
		return
	}
	kept := min(max(charge, 0), h.amount) // a negative charge credits the wallet when it is settled
	p.mu.Lock()
	for _, s := range h.scopes[:h.n] {
		s.used -= h.amount - kept
		s.spent += kept
		s.open--
	}
	p.mu.Unlock()
	h.purse, h.n, h.amount = nil, 0, 0
}

// correct frees what the settler found not to be spent: the call was finished with its whole hold
// because only the settler could rate it.
func (b *Bank) correct(org db.UUID, currency string, leases []db.UUID, surplus int64) {
	b.mu.RLock()
	p := b.purses[purseKey{org, currency}]
	b.mu.RUnlock()
	if p == nil || surplus == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.scopes() {
		if slices.Contains(leases, s.lease) {
			s.used -= surplus
		}
	}
}

func (b *Bank) all() []*purse {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := make([]*purse, 0, len(b.purses))
	for _, p := range b.purses {
		list = append(list, p)
	}
	return list
}

// refiller borrows ahead of need, so that calls do not wait.
func (b *Bank) refiller() {
	defer b.wg.Done()
	for {
		select {
		case <-b.stop:
			return
		case s := <-b.refill:
			ctx, cancel := context.WithTimeout(context.Background(), b.o.Wait)
			b.refillAhead(ctx, s)
			cancel()
		}
	}
}

func (b *Bank) refillAhead(ctx context.Context, s *scope) {
	p := s.purse
	select {
	case p.lending <- struct{}{}:
		defer func() { <-p.lending }()
	case <-ctx.Done():
	}
	p.mu.Lock()
	want := s.target(b.o) - (s.granted - s.used)
	p.mu.Unlock()
	var granted int64
	err := ctx.Err()
	if err == nil && want > 0 {
		granted, err = b.borrow(ctx, s, 1, want)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.asked = false
	switch {
	case err == nil && want > 0:
		s.lent(granted)
	case err == nil:
		s.low = min(s.low, s.target(b.o)/2) // there is plenty: it was asked too early
	case errors.Is(err, ledger.ErrFunds):
		// Nothing more to get ahead of need; the slow path asks when a call lacks.
		s.low, s.askAfter = 0, b.tick.Load()+1e6
	case errors.Is(err, db.ErrInDoubt):
		s.unsure = true
	}
	// Any other failure: the next call below low asks again.
}

// housekeeper moves the tick, follows the rate of spending and finds idle leases.
func (b *Bank) housekeeper() {
	defer b.wg.Done()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-b.stop:
			return
		case <-t.C:
		}
		b.tick.Store(db.Micros(b.clock.Now()))
		if n%10 == 0 {
			b.follow()
		}
	}
}

// follow updates the rates of all purses; if some have idle credit it wakes the returner.
func (b *Bank) follow() {
	now, idle := b.tick.Load(), false
	for _, p := range b.all() {
		p.mu.Lock()
		idle = b.followPurse(p, now) || idle
		p.mu.Unlock()
	}
	if idle {
		select {
		case b.idle <- struct{}{}:
		default: // it is at work
		}
	}
}

// followPurse is called with mu held, a second after the last time.
func (b *Bank) followPurse(p *purse, now int64) (idle bool) {
	// A call of a past period may still be corrected by the settler: its scope is kept for a while.
	p.past = slices.DeleteFunc(p.past, func(s *scope) bool {
		return s.open == 0 && s.granted == s.used && !s.unsure && now-s.lastUse > 3600e6
	})
	for _, s := range p.scopes() {
		s.rate = max(s.spent, (s.rate*7+s.spent)/8)
		s.spent = 0
		if now-s.lastUse < 2e6 && now >= s.askAfter && !s.over(now) {
			s.low = max(s.low, s.target(b.o)/2)
			b.askMore(s)
		}
		idle = idle || s.unsure || s.idle(now, b.o)
	}
	return idle
}

// returner gives idle leases back. With the database away it gives up until the next second: nothing
// waits for it, and recovery returns leases in any case.
func (b *Bank) returner() {
	defer b.wg.Done()
	for {
		select {
		case <-b.stop:
			return
		case <-b.idle:
		}
		for _, p := range b.all() {
			ctx, cancel := context.WithTimeout(context.Background(), b.o.Wait)
			err := b.giveBack(ctx, p, false)
			cancel()
			if err != nil {
				break
			}
		}
	}
}

func (p *purse) scopes() []*scope {
	list := []*scope{p.wallet}
	for _, s := range p.budgets {
		list = append(list, s)
	}
	return append(list, p.past...)
}

// idle reports whether the scope has credit that no call needed for a while, or can need again.
func (s *scope) idle(now int64, o BankOptions) bool {
	return s.granted > s.used && (now-s.lastUse >= o.IdleReturn.Microseconds() || s.over(now))
}
