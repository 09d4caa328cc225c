package settle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// Terms are what a plan version says about money.
type Terms struct {
	Card          *rating.Compiled
	Currency      string
	CommissionPPM int64 // the platform's part of each charge, in millionths
	// Start gives the beginning of the billing period of the subscription that contains the time. Like Terms it is
	// called before a transaction begins.
	Start func(subscription string, at time.Time) (time.Time, error)
}

// Options configure a Settler.
type Options struct {
	Platform string // the organisation that earns commission
	// Terms finds a plan version. An error that is not db's or problem.Unavailable puts the event in suspense.
	Terms   func(ctx context.Context, planVersion db.UUID) (Terms, error)
	Clock   clock.Clock
	Metrics *telemetry.Metrics
	// Warn is told of events put in suspense and of failures that are retried.
	Warn  func(msg string, args ...any)
	Batch int           // calls in a transaction, twice as many in a burst; default 1000
	Every time.Duration // how long a batch may wait to fill; default 50 ms
}

// Settler turns what the spool holds into postings, exactly once. One goroutine runs it.
type Settler struct {
	o     Options
	db    *db.DB
	spool *spool.Spool
	bank  *Bank

	pos    spool.Position // the cursor: all before it is settled
	recs   []spool.Record
	events []meter.Event         // space for those of a batch
	leases map[db.UUID]leaseInfo // immutable facts of leases, of this run
	doubt  *batch                // the last one whose commit may or may not have happened

	ctx     context.Context // of the loop's transactions
	cancel  context.CancelFunc
	stop    chan struct{}
	settled chan struct{} // receives after progress; capacity 1
	once    sync.Once
	wg      sync.WaitGroup
}

// leaseInfo says what a lease was drawn on.
type leaseInfo struct {
	kind, org, currency, budget string
	start                       int64
}

// New returns a Settler for the spool.
func New(d *db.DB, s *spool.Spool, b *Bank, o Options) *Settler {
	if o.Batch == 0 {
		o.Batch = 1000
	}
	if o.Every == 0 {
		o.Every = 50 * time.Millisecond
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Warn == nil {
		o.Warn = func(string, ...any) {}
	}
	n := &Settler{o: o, db: d, spool: s, bank: b, recs: make([]spool.Record, 2*o.Batch), leases: map[db.UUID]leaseInfo{},
		stop: make(chan struct{}), settled: make(chan struct{}, 1)}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// cursor is a place in the spool as the database has it.
type cursor struct {
	epoch uint64
	pos   spool.Position
}

func (s *Settler) readCursor(ctx context.Context) (c cursor, found bool, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		var epoch, seg int64
		err := tx.QueryRow(`SELECT epoch, segment, pos FROM spool_cursor WHERE spool = $1`, s.spool.ID()).Scan(&epoch, &seg, &c.pos.Offset)
		if errors.Is(err, db.ErrNoRows) {
			return nil
		}
		found, c.epoch, c.pos.Segment = err == nil, uint64(epoch), uint32(seg)
		return err
	})
	return c, found, err
}

var errCursor = errors.New("settle: the cursor has moved: another process settles this spool, or the commit before had happened")

// moveCursor is the compare-and-set that makes each record settle once.
func (s *Settler) moveCursor(tx *db.Tx, epoch uint64, from, to spool.Position) error {
	n, err := tx.Exec(`UPDATE spool_cursor SET epoch = $1, segment = $2, pos = $3, updated = $4 WHERE spool = $5 AND segment = $6 AND pos = $7 AND epoch <= $8`,
		int64(epoch), int64(to.Segment), to.Offset, db.Micros(tx.Now()), s.spool.ID(), int64(from.Segment), from.Offset, int64(epoch))
	if err == nil && n != 1 {
		err = errCursor
	}
	return err
}

// Recover settles what earlier runs of this spool left behind, requests that never ended included, and
// then returns the leases of those runs. Call it before Start, and again after an error.
func (s *Settler) Recover(ctx context.Context) error {
	c, found, err := s.readCursor(ctx)
	if err != nil {
		return err
	}
	first := s.spool.First()
	if !found {
		c.pos = spool.Position{}
		err := s.db.Update(ctx, func(tx *db.Tx) error {
			_, err := tx.Exec(`INSERT INTO spool_cursor (spool, epoch, segment, pos, updated) VALUES ($1, 0, 0, 0, $2) ON CONFLICT DO NOTHING`, s.spool.ID(), db.Micros(tx.Now()))
			return err
		})
		if err != nil {
			return err
		}
	}
	s.pos, s.doubt = c.pos, nil
	dead, err := s.spool.Dead()
	if err != nil {
		return err
	}
	for {
		n, pos, err := dead.Next(s.recs)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if pos.Before(s.pos) || pos == s.pos {
			continue // settled before; the reader needed them to know which requests ended
		}
		if pos == dead.End() {
			pos = s.pos // requests that never ended have no place of their own
		}
		if err := s.settle(ctx, s.recs[:n], pos, true); err != nil {
			return err
		}
	}
	err = s.db.Settle(ctx, func(tx *db.Tx) error {
		if err := closeLeases(tx, s.spool.ID(), s.spool.Epoch()); err != nil {
			return err
		}
		return s.moveCursor(tx, s.spool.Epoch(), s.pos, first)
	})
	if err != nil {
		return err
	}
	s.pos = first
	return s.spool.DropDead()
}

// Start runs the settler until Stop.
func (s *Settler) Start() {
	s.wg.Add(1)
	go s.run()
}

// Stop settles what is written and ends the loop; ctx bounds how long it may take. What is left then is settled
// at the next start. Twice is fine.
func (s *Settler) Stop(ctx context.Context) error {
	var err error
	s.once.Do(func() {
		close(s.stop)
		defer s.cancel()
		hurry := context.AfterFunc(ctx, s.cancel)
		s.wg.Wait()
		hurry()
		for s.pos.Before(s.spool.Written()) {
			if _, err = s.step(ctx); err != nil {
				return
			}
		}
	})
	return err
}

// Flush returns when all that is written now is settled.
func (s *Settler) Flush(ctx context.Context) error {
	target := s.spool.Written()
	for {
		c, _, err := s.readCursor(ctx)
		if err != nil {
			return err
		}
		if !c.pos.Before(target) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.settled:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Settler) run() {
	defer s.wg.Done()
	for pause := time.Duration(0); s.wait(pause); {
		err := s.drain()
		if err == nil {
			pause = 0
			continue
		}
		s.count(0, 0, 0, err)
		pause = min(max(2*pause, 50*time.Millisecond), 2*time.Second)
		if !s.stopping() {
			s.o.Warn("settlement is retried", "error", err, "in", pause)
		}
	}
}

// wait returns when there is something to settle and it had time to fill a batch, or after the pause that follows a
// failure; false when stopped.
func (s *Settler) wait(pause time.Duration) bool {
	if pause == 0 && !s.pos.Before(s.spool.Written()) {
		select {
		case <-s.stop:
			return false
		case <-s.spool.Wake():
		}
	}
	t := time.NewTimer(max(pause, s.o.Every))
	defer t.Stop()
	select {
	case <-s.stop:
		return false
	case <-t.C:
		return true
	}
}

// drain settles until less than a full batch is left.
func (s *Settler) drain() error {
	for s.pos.Before(s.spool.Written()) && !s.stopping() {
		ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
		full, err := s.step(ctx)
		cancel()
		if err != nil || !full {
			return err
		}
	}
	return nil
}

func (s *Settler) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// step settles the next batch; full says that it was as large as may be.
func (s *Settler) step(ctx context.Context) (full bool, err error) {
	n, next, err := s.spool.Read(s.pos, s.recs)
	if err != nil {
		return false, err
	}
	if next == s.pos {
		return false, fmt.Errorf("settle: the spool's record at %d/%d cannot be read", s.pos.Segment, s.pos.Offset)
	}
	closes := s.recs[:0]
	for i := range s.recs[:n] {
		if s.recs[i].Kind == spool.KindClose {
			closes = append(closes, s.recs[i])
		}
	}
	if err := s.settle(ctx, closes, next, false); err != nil {
		return false, err
	}
	select {
	case s.settled <- struct{}{}:
	default:
	}
	return n == len(s.recs), s.spool.Settled(s.pos)
}

// settle writes the batch and moves the cursor to next, in one transaction. check looks for events that were
// settled before. A batch that fails for a reason of its own, not the database's, is taken apart, and the event
// that fails is put in suspense.
func (s *Settler) settle(ctx context.Context, recs []spool.Record, next spool.Position, check bool) error {
	began := time.Now()
	b, err := s.attempt(ctx, recs, next, check)
	switch {
	case err == nil:
		s.done(b, began)
		return nil
	case errors.Is(err, errCursor) || errors.Is(err, db.ErrInDoubt):
		if err := s.reconcile(ctx, b, err); err != nil || !s.pos.Before(next) {
			return err
		}
		return s.settle(ctx, recs, next, true) // an earlier commit had moved the cursor, not this one
	case transient(ctx, err):
		return err
	case !check && (db.IsUnique(err) || errors.Is(err, errPosted)):
		return s.settle(ctx, recs, next, true)
	case len(recs) > 1:
		half := len(recs) / 2
		if err := s.settle(ctx, recs[:half], s.pos, true); err != nil {
			return err
		}
		return s.settle(ctx, recs[half:], next, true)
	case len(recs) == 0:
		return err
	}
	return s.suspend(ctx, &recs[0], next, err)
}

// reconcile finds out where the cursor is after a commit whose answer was lost, or when it is not where it was
// expected: then such a commit had happened after all. It returns cause when the batch is to be tried again.
func (s *Settler) reconcile(ctx context.Context, b *batch, cause error) error {
	if errors.Is(cause, db.ErrInDoubt) && b != nil && len(b.events) > 0 {
		s.decide(b)
		s.doubt = b
	}
	c, found, err := s.readCursor(ctx)
	switch {
	case err != nil:
		return err
	case found && c.pos == s.pos:
		return cause // it had not: the batch is tried again; events that were in it are recognised
	case found && s.doubt != nil && c.pos == s.doubt.next:
		b := s.doubt
		s.doubt = nil
		s.done(b, time.Now())
		return nil
	case found && c.epoch == s.spool.Epoch() && s.pos.Before(c.pos):
		s.pos = c.pos // no one but this settler has the epoch
		return nil
	}
	return fmt.Errorf("%w: it is at %d/%d, expected %d/%d", cause, c.pos.Segment, c.pos.Offset, s.pos.Segment, s.pos.Offset)
}

func (s *Settler) attempt(ctx context.Context, recs []spool.Record, next spool.Position, check bool) (*batch, error) {
	if len(recs) == 0 && next == s.pos {
		return &batch{next: next}, nil
	}
	terms, starts, err := s.terms(ctx, recs)
	if err != nil {
		return nil, err
	}
	var b *batch
	err = s.db.Settle(ctx, func(tx *db.Tx) error {
		b = &batch{s: s, tx: tx, terms: terms, starts: starts, next: next, txn: db.NewID("txn", tx.Now())}
		if next != s.pos {
			if err := s.moveCursor(tx, s.spool.Epoch(), s.pos, next); err != nil {
				return err
			}
		}
		if len(recs) == 0 {
			return nil
		}
		return b.write(recs, check || s.doubt != nil)
	})
	return b, err
}

// terms loads the terms of the plan versions in the batch, and where a card needs it the period of each event, before
// the transaction begins.
func (s *Settler) terms(ctx context.Context, recs []spool.Record) (map[db.UUID]Terms, map[db.UUID]int64, error) {
	m, starts := map[db.UUID]Terms{}, map[db.UUID]int64{}
	for i := range recs {
		r := &recs[i]
		t, ok := m[r.PlanVersion]
		if !ok {
			var err error
			if t, err = s.o.Terms(ctx, r.PlanVersion); err != nil {
				return nil, nil, err
			}
			m[r.PlanVersion] = t
		}
		if counts(r, t) {
			start, err := t.Start(r.Subscription.ID("sub"), db.Time(r.Time))
			if err != nil {
				return nil, nil, err
			}
			starts[r.Event] = db.Micros(start)
		}
	}
	return m, starts, nil
}

// done follows the commit of b.
func (s *Settler) done(b *batch, began time.Time) {
	s.pos = b.next
	for id, l := range b.learned {
		s.leases[id] = l
	}
	if len(s.leases) > 100_000 {
		clear(s.leases)
	}
	if b.events != nil {
		s.events = b.events[:0]
	}
	s.decide(b)
	s.free(b)
	s.count(len(b.events), b.oldest, time.Since(began), nil)
}

// decide closes the matter of the batch in doubt if b found out about it.
func (s *Settler) decide(b *batch) {
	if !b.decided || s.doubt == nil {
		return
	}
	if b.proved {
		s.free(s.doubt)
	}
	s.doubt = nil
}

// free gives the bank what the batch did not spend of its holds.
func (s *Settler) free(b *batch) {
	for _, c := range b.surplus {
		s.bank.correct(c.org, c.currency, c.leases, c.amount)
	}
}
