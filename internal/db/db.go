// Package db opens the system of record, SQLite or PostgreSQL, and gives every room transactions,
// migrations, ids and bulk inserts that behave alike on both.
//
// It knows nothing of the rooms' tables: each room brings its migrations and its own SQL. It is no
// query builder and no mapper.
//
// What holds on both engines:
//
//   - One text of SQL, with $n placeholders used in ascending order; true differences are methods
//     of [Dialect].
//   - [DB.View] is read-only and sees one snapshot; [DB.Update] and [DB.Settle] write and are atomic.
//     The function may run more than once (see Update): it must touch nothing but the
//     transaction and variables that it sets anew on every run. Other effects go to [Tx.AfterCommit].
//   - After a statement has failed, the transaction is lost: later statements fail, and it is rolled
//     back even if the function returns nil. Use ON CONFLICT where a conflict is expected.
//   - One result set is open at a time: close or exhaust [Rows] before the next statement.
//   - Arguments are integers, strings, byte slices, nil, pointers to these, and lists
//     ([]string, []int64) for [Dialect.In]. Time is [Micros], a boolean is [Bool]; time.Time, bool and
//     floats are refused, because the engines store them differently.
//
// A function does no I/O of its own and begins no other transaction: on SQLite it holds the only turn
// to write, on PostgreSQL one of few connections.
package db

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Engine is the kind of database behind a [DB].
type Engine int

// The engines.
const (
	SQLite Engine = iota
	PostgreSQL
)

// String gives "sqlite" or "postgres".
func (e Engine) String() string {
	if e == PostgreSQL {
		return "postgres"
	}
	return "sqlite"
}

// Options tune [Open]. The zero value is what a user should run.
type Options struct {
	MaxConns int           // connections (PostgreSQL) or readers (SQLite); 0: chosen by the number of processors
	Clock    clock.Clock   // what [Tx.Now] reads; nil: the machine's clock
	MaxWait  time.Duration // how long View and Update wait for their turn; 0: 5 s
	ReadOnly bool          // refuse Update, Settle and Migrate; SQLite: the file must exist
	NoSync   bool          // SQLite, for tests only: leave flushing to the operating system; a power loss corrupts
}

// DB is an open database. All methods are safe for concurrent use.
type DB struct {
	engine  Engine
	clock   clock.Clock
	maxWait time.Duration
	ro      bool
	back    backend
}

// class says how a transaction competes for its turn.
type class int

const (
	read   class = iota // many at once
	write               // API writes: first in, first out, bounded wait
	settle              // settlement: at most every second turn, unbounded wait
)

// backend is what differs between the engines below a transaction.
type backend interface {
	// begin waits for a turn and begins a transaction on t.conn. On an error nothing is held.
	begin(ctx context.Context, t *Tx, c class) error
	// end commits or rolls back and gives the connection and the turn back.
	end(t *Tx, commit bool) error
	// retry says whether a transaction that ended with err may be run again at once.
	retry(err error) bool
	close() error
}

// Open opens the database that dsn names: "sqlite:PATH" (created with mode 0600 if it does not
// exist; its folder must exist) or "postgres://…" as libpq understands it. For PostgreSQL a first
// connection is made, so that a wrong address or password shows here.
func Open(ctx context.Context, dsn string, o Options) (*DB, error) {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Second
	}
	if o.MaxConns == 0 {
		o.MaxConns = max(8, 4*runtime.GOMAXPROCS(0))
	}
	d := &DB{clock: o.Clock, maxWait: o.MaxWait, ro: o.ReadOnly}
	var err error
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		d.engine = SQLite
		d.back, err = openSQLite(ctx, path, o)
	} else if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		d.engine = PostgreSQL
		d.back, err = openPostgres(ctx, dsn, o)
	} else {
		return nil, problem.New(problem.Invalid, "db.dsn",
			"the database must be given as sqlite:PATH or postgres://user@host/name")
	}
	if err != nil {
		return nil, explain(ctx, err)
	}
	return d, nil
}

// Close waits for running transactions and closes all connections.
func (d *DB) Close() error { return d.back.close() }

// Engine tells which engine is open.
func (d *DB) Engine() Engine { return d.engine }

// View runs fn in a read-only transaction that sees one snapshot. Many run at once.
func (d *DB) View(ctx context.Context, fn func(*Tx) error) error { return d.run(ctx, read, fn) }

// Update runs fn in a transaction and commits it if fn returns nil.
//
// On SQLite writers take turns, first come, first served. A caller that has no turn or no
// connection within five seconds (Options.MaxWait) gets problem.Unavailable "db.busy".
//
// On PostgreSQL the isolation is READ COMMITTED. fn runs again when the server asks for it
// (serialisation failure, deadlock). A lost connection is retried only while nothing of the
// transaction was sent; afterwards the caller gets problem.Unavailable and nothing was written,
// with one exception: if the connection broke while the commit was under way the outcome is
// unknown, and errors.Is(err, [ErrInDoubt]) holds.
func (d *DB) Update(ctx context.Context, fn func(*Tx) error) error { return d.run(ctx, write, fn) }

// Settle is Update for settlement: on SQLite it takes at most every second turn while other writers
// wait, and on both engines it waits for as long as ctx allows.
func (d *DB) Settle(ctx context.Context, fn func(*Tx) error) error { return d.run(ctx, settle, fn) }

// maxRuns bounds how often a transaction is run anew. Deadlocks among settlers that lock in sorted
// order do not occur; ten is far beyond what honest contention needs.
const maxRuns = 10

func (d *DB) run(ctx context.Context, c class, fn func(*Tx) error) error {
	if d.ro && c != read {
		return errReadOnly
	}
	for n := 1; ; n++ {
		t := &Tx{db: d, ctx: ctx, class: c}
		err := d.once(t, fn)
		if err == nil {
			for _, f := range t.after {
				f()
			}
			return nil
		}
		if n == maxRuns || !d.back.retry(err) || !pause(ctx, n) {
			return explain(ctx, err)
		}
	}
}

// once begins, runs fn and ends. A panic or runtime.Goexit in fn rolls back and goes on.
func (d *DB) once(t *Tx, fn func(*Tx) error) error {
	if err := d.back.begin(t.ctx, t, t.class); err != nil {
		return err
	}
	t.now = d.clock.Now().UTC().Truncate(time.Microsecond)
	returned := false
	defer func() {
		if !returned {
			t.finish()
			_ = d.back.end(t, false) // the panic is what the caller needs to see
		}
	}()
	err := fn(t)
	returned = true
	t.finish()
	if err == nil {
		err = t.failed
	}
	if err == nil {
		err = t.ctx.Err()
	}
	if err != nil {
		if rollback := d.back.end(t, false); rollback != nil && !errors.Is(err, rollback) {
			return fmt.Errorf("%w (and the rollback failed: %v)", err, rollback)
		}
		return err
	}
	return d.back.end(t, true)
}
