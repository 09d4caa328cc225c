package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ExecMany runs one statement once for each list of arguments, in order, and returns how many rows each
// run changed. On PostgreSQL all of them travel together: one round trip instead of many.
func (t *Tx) ExecMany(query string, args [][]any) ([]int64, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	lists := make([][]any, len(args))
	for i := range args {
		var err error
		if lists[i], err = t.args(args[i]); err != nil {
			return nil, t.fail(err)
		}
	}
	changed := make([]int64, len(args))
	var err error
	if t.db.engine == PostgreSQL {
		err = t.conn.Raw(func(dc any) error { return pipeline(t.stmtCtx(), dc.(*stdlib.Conn).Conn(), query, lists, changed) })
	} else {
		err = t.each(query, lists, changed)
	}
	if err != nil {
		return nil, t.fail(err)
	}
	return changed, nil
}

func (t *Tx) each(query string, lists [][]any, changed []int64) error {
	for i, list := range lists {
		res, err := t.conn.exec(t.stmtCtx(), query, list)
		if err != nil {
			return err
		}
		if changed[i], err = res.RowsAffected(); err != nil {
			return err
		}
	}
	return nil
}

func pipeline(ctx context.Context, c *pgx.Conn, query string, lists [][]any, changed []int64) (err error) {
	if len(lists) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	for _, list := range lists {
		batch.Queue(query, list...)
	}
	results := c.SendBatch(ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	for i := range lists {
		tag, err := results.Exec()
		if err != nil {
			return err
		}
		changed[i] = tag.RowsAffected()
	}
	return nil
}

// IsRefused reports whether the engine refused the values of a statement: a constraint, a text that
// is none, a number out of range. The same values will be refused again.
func IsRefused(err error) bool {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return len(pe.Code) == 5 && (pe.Code[:2] == "22" || pe.Code[:2] == "23")
	}
	switch sqliteCode(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return true
	}
	return false
}

// IsEngine reports whether err comes from the engine or from the connection to it, as opposed to the
// function that ran in the transaction. Such a failure may pass, unless IsRefused.
func IsEngine(err error) bool {
	var pe *pgconn.PgError
	var se *sqlite.Error
	return errors.As(err, &pe) || errors.As(err, &se) || errors.Is(err, ErrInDoubt) || isUnreachable(err) || pgconn.SafeToRetry(err) ||
		errors.Is(err, errBusy) || errors.Is(err, errClosed) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, driver.ErrBadConn)
}
