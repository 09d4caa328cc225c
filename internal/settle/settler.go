package settle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// Terms are what a plan version says about money.
type Terms struct {
	Card          *rating.Compiled
	Currency      string
	CommissionPPM int64 // the platform's part of each charge, in millionths
	// Start gives the beginning of the billing period of the subscription that contains the time.
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
	Batch int           // events in a transaction at most; default 1000
	Every time.Duration // how long a batch may wait to fill; default 50 ms
}

// Settler turns what the spool holds into postings, exactly once. One goroutine runs it.
type Settler struct {
	o     Options
	db    *db.DB
	spool *spool.Spool
	bank  *Bank

	pos    spool.Position
	recs   []spool.Record
	leases map[db.UUID]leaseInfo // immutable facts of leases, of this run

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
	return &Settler{o: o, db: d, spool: s, bank: b, recs: make([]spool.Record, 2*o.Batch), leases: map[db.UUID]leaseInfo{},
		stop: make(chan struct{}), settled: make(chan struct{}, 1)}
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
	s.pos = c.pos
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
		if _, err := closeLeases(tx, s.spool.ID(), s.spool.Epoch()); err != nil {
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
		s.wg.Wait()
		for s.pos.Before(s.spool.Written()) {
			if err = s.step(ctx); err != nil {
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
	pause := time.Duration(0)
	for {
		select {
		case <-s.stop:
			return
		case <-s.spool.Wake():
		case <-s.after(pause):
		}
		if pause == 0 && !s.gather() {
			return
		}
		for s.pos.Before(s.spool.Written()) {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			err := s.step(ctx)
			cancel()
			if err != nil {
				s.count(0, 0, 0, err)
				pause = min(max(2*pause, 50*time.Millisecond), 2*time.Second)
				s.o.Warn("settlement is retried", "error", err, "in", pause)
				break
			}
			pause = 0
			if s.stopping() {
				return
			}
		}
	}
}

// after is a channel that fires after the pause; nil, which never does, when there is none.
func (s *Settler) after(pause time.Duration) <-chan time.Time {
	if pause == 0 {
		return nil
	}
	return time.After(pause)
}

func (s *Settler) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// gather waits a little for a batch to fill; false when stopped.
func (s *Settler) gather() bool {
	t := time.NewTimer(s.o.Every)
	defer t.Stop()
	select {
	case <-s.stop:
		return false
	case <-t.C:
		return true
	}
}

// step settles the next batch.
func (s *Settler) step(ctx context.Context) error {
	n, next, err := s.spool.Read(s.pos, s.recs)
	if err != nil {
		return err
	}
	if next == s.pos {
		return nil
	}
	closes := s.recs[:0]
	for i := range s.recs[:n] {
		if s.recs[i].Kind == spool.KindClose {
			closes = append(closes, s.recs[i])
		}
	}
	if err := s.settle(ctx, closes, next, false); err != nil {
		return err
	}
	select {
	case s.settled <- struct{}{}:
	default:
	}
	return s.spool.Settled(s.pos)
}

// settle writes the batch and moves the cursor to next, in one transaction. A batch that fails for
// a reason of its own, not the database's, is taken apart, and the event that fails is put in suspense.
func (s *Settler) settle(ctx context.Context, recs []spool.Record, next spool.Position, check bool) error {
	began := time.Now()
	b, err := s.attempt(ctx, recs, next, check)
	if errors.Is(err, errCursor) || errors.Is(err, db.ErrInDoubt) {
		return s.reconcile(ctx, next, err)
	}
	if err == nil {
		s.done(b, next, began)
		return nil
	}
	if transient(ctx, err) {
		return err
	}
	if db.IsUnique(err) && !check {
		return s.settle(ctx, recs, next, true)
	}
	if len(recs) > 1 {
		half := len(recs) / 2
		if err := s.settle(ctx, recs[:half], s.pos, true); err != nil {
			return err
		}
		return s.settle(ctx, recs[half:], next, true)
	}
	return s.suspend(ctx, &recs[0], next, err)
}

// reconcile finds out whether a commit whose answer was lost had happened.
func (s *Settler) reconcile(ctx context.Context, next spool.Position, cause error) error {
	c, found, err := s.readCursor(ctx)
	if err != nil {
		return err
	}
	if found && c.pos == next && next != s.pos {
		s.pos = next
		return nil
	}
	if found && c.pos == s.pos {
		return cause // it had not: the batch is tried again; events that were in it are recognised
	}
	return fmt.Errorf("%w: it is at %d/%d, expected %d/%d", cause, c.pos.Segment, c.pos.Offset, s.pos.Segment, s.pos.Offset)
}

func (s *Settler) attempt(ctx context.Context, recs []spool.Record, next spool.Position, check bool) (*batch, error) {
	if len(recs) == 0 && next == s.pos {
		return &batch{}, nil
	}
	terms, err := s.terms(ctx, recs)
	if err != nil {
		return nil, err
	}
	var b *batch
	err = s.db.Settle(ctx, func(tx *db.Tx) error {
		b = &batch{s: s, tx: tx, terms: terms, txn: db.NewID("txn", tx.Now())}
		if next != s.pos {
			if err := s.moveCursor(tx, s.spool.Epoch(), s.pos, next); err != nil {
				return err
			}
		}
		if len(recs) == 0 {
			return nil
		}
		return b.write(recs, check)
	})
	return b, err
}

// terms loads the terms of the plan versions in the batch before the transaction begins.
func (s *Settler) terms(ctx context.Context, recs []spool.Record) (map[db.UUID]Terms, error) {
	m := map[db.UUID]Terms{}
	for i := range recs {
		id := recs[i].PlanVersion
		if _, ok := m[id]; ok {
			continue
		}
		t, err := s.o.Terms(ctx, id)
		if err != nil {
			return nil, err
		}
		m[id] = t
	}
	return m, nil
}

func (s *Settler) done(b *batch, next spool.Position, began time.Time) {
	s.pos = next
	for id, l := range b.learned {
		s.leases[id] = l
	}
	if len(s.leases) > 100_000 {
		clear(s.leases)
	}
	for _, c := range b.surplus {
		s.bank.correct(c.org, c.currency, c.leases, c.amount)
	}
	s.count(len(b.events), b.oldest, time.Since(began), nil)
}
