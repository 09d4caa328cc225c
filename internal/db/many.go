package db

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// UpdateRows writes new values into many rows, found by the columns named in keys, and returns how many were found. data
// holds one slice for each key and then for each of cols, as InsertRows takes them; no two rows have the same
// key. PostgreSQL changes the rows in no particular order: whoever shares them with other writers locks them before, with
// ORDER BY and [Dialect.ForUpdate], so that writers cannot deadlock.
func (t *Tx) UpdateRows(table string, keys, cols []string, data []any) (n int64, err error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	all := slices.Concat(keys, cols)
	rows, err := height(all, data)
	if err != nil {
		return 0, t.fail(err)
	}
	if rows == 0 {
		return 0, nil
	}
	if t.db.engine == PostgreSQL {
		set, where := make([]string, len(cols)), make([]string, len(keys))
		for i, c := range cols {
			set[i] = c + " = v." + c
		}
		for i, k := range keys {
			where[i] = table + "." + k + " = v." + k
		}
		n, _, err = t.bulk("UPDATE "+table+" SET "+strings.Join(set, ", ")+" FROM ("+unnest(data)+") AS v ("+strings.Join(all, ", ")+
			") WHERE "+strings.Join(where, " AND "), data, false)
		return n, err
	}
	text := "UPDATE " + table + " SET " + strings.Join(cols, " = ?, ") + " = ? WHERE " + strings.Join(keys, " = ? AND ") + " = ?"
	order := slices.Concat(data[len(keys):], data[:len(keys)])
	for r := range rows {
		k, _, err := t.bulk(text, cells(order, r, r+1), false)
		if err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
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
