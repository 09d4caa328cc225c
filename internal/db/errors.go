package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// ErrNoRows is what [Row.Scan] returns when there is no row.
var ErrNoRows = sql.ErrNoRows

// ErrInDoubt: the connection broke while a commit was under way; it may or may not have happened.
// Only PostgreSQL gives it. Writers of money find out by reading what they wrote (an id, a cursor).
var ErrInDoubt = errors.New("db: the outcome of the commit is unknown")

var (
	errBusy   = errors.New("db: no turn within the time allowed")
	errClosed = errors.New("db: closed")
)

type inDoubt struct{ cause error }

func (e *inDoubt) Error() string   { return ErrInDoubt.Error() + ": " + e.cause.Error() }
func (e *inDoubt) Unwrap() []error { return []error{ErrInDoubt, e.cause} }

// IsUnique reports whether err is the violation of a primary key or of a UNIQUE constraint.
func IsUnique(err error) bool {
	return violates(err, "23505", sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID)
}

// IsCheck reports whether err is the violation of a CHECK constraint.
func IsCheck(err error) bool {
	return violates(err, "23514", sqlite3.SQLITE_CONSTRAINT_CHECK)
}

// IsForeignKey reports whether err is the violation of a foreign key.
func IsForeignKey(err error) bool {
	return violates(err, "23503", sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY)
}

func violates(err error, state string, codes ...int) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code == state
	}
	var se *sqlite.Error
	if errors.As(err, &se) {
		for _, c := range codes {
			if se.Code() == c {
				return true
			}
		}
	}
	return false
}

// explain turns the failures that a caller can act on into problems. Everything else, the end of the
// caller's own context included, stays as it is, and is internal to whoever renders it.
func explain(ctx context.Context, err error) error {
	var p *problem.Error
	if err == nil || ctx.Err() != nil || errors.As(err, &p) {
		return err
	}
	switch {
	case errors.Is(err, errBusy) || isLocked(err):
		return problem.New(problem.Unavailable, "db.busy",
			"the database is busy with other writes; try again shortly").After(time.Second).Because(err)
	case isFull(err):
		return problem.New(problem.Unavailable, "db.full",
			"the database has no space left on its disk; nothing was written").Because(err)
	case isUnreachable(err):
		return problem.New(problem.Unavailable, "db.unreachable",
			"the database cannot be reached; try again shortly").After(time.Second).Because(err)
	}
	return err
}

func isLocked(err error) bool {
	return violates(err, "55P03") || sqliteCode(err) == sqlite3.SQLITE_BUSY
}

func isFull(err error) bool {
	return violates(err, "53100") || sqliteCode(err) == sqlite3.SQLITE_FULL
}

func isUnreachable(err error) bool {
	var pe *pgconn.PgError
	var ce *pgconn.ConnectError
	if errors.As(err, &pe) {
		return lost(err) || pe.Code == "53300" // too many connections
	}
	return errors.As(err, &ce) || errors.Is(err, driver.ErrBadConn) || isNetwork(err)
}

// sqliteCode is the primary result code, or 0.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// isNetwork says that a connection was cut or could not be made.
func isNetwork(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// pause waits a little longer each time, at random so that two losers do not meet again. It
// returns false if the context ended.
func pause(ctx context.Context, n int) bool {
	most := time.Millisecond << min(n, 7)
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(most))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
