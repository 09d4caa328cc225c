package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Tx is a running transaction. It belongs to one goroutine and ends with the function it was given to.
type Tx struct {
	db     *DB
	ctx    context.Context
	class  class
	now    time.Time
	conn   *conn
	open   *Rows // the result set that has not been closed
	failed error // the first failure of a statement
	done   bool
	after  []func()
}

var (
	errDone     = errors.New("db: the transaction has ended")
	errOpenRows = errors.New("db: a result set of this transaction is still open")
	errReadOnly = errors.New("db: opened read-only")
)

// Context returns the context that the transaction was begun with.
func (t *Tx) Context() context.Context { return t.ctx }

// Engine tells which engine runs the transaction.
func (t *Tx) Engine() Engine { return t.db.engine }

// Dialect gives the words that differ between the engines.
func (t *Tx) Dialect() Dialect { return Dialect{t.db.engine} }

// Now is when the transaction began, in UTC with microseconds: the same at every call.
func (t *Tx) Now() time.Time { return t.now }

// AfterCommit has f run, after those registered before it, once the transaction has been committed
// and its turn given up. It does not run if the transaction fails.
func (t *Tx) AfterCommit(f func()) { t.after = append(t.after, f) }

// Exec runs a statement and returns how many rows it changed.
func (t *Tx) Exec(query string, args ...any) (int64, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	args, err := t.args(args)
	if err != nil {
		return 0, t.fail(err)
	}
	res, err := t.conn.exec(t.stmtCtx(), query, args)
	if err != nil {
		return 0, t.fail(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, t.fail(err)
	}
	return n, nil
}

// Query runs a statement that returns rows. The caller closes them, or reads them to the end.
func (t *Tx) Query(query string, args ...any) (*Rows, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	args, err := t.args(args)
	if err != nil {
		return nil, t.fail(err)
	}
	rows, err := t.conn.query(t.stmtCtx(), query, args)
	if err != nil {
		return nil, t.fail(err)
	}
	t.open = &Rows{rows: rows, tx: t}
	return t.open, nil
}

// QueryRow runs a statement of which the first row is wanted. The error shows in [Row.Scan].
func (t *Tx) QueryRow(query string, args ...any) *Row {
	rows, err := t.Query(query, args...)
	return &Row{rows: rows, err: err}
}

// ready reports why no statement can run now.
func (t *Tx) ready() error {
	switch {
	case t.done:
		return errDone
	case t.failed != nil:
		return fmt.Errorf("db: the transaction has failed before: %w", t.failed)
	case t.open != nil:
		return t.fail(errOpenRows)
	}
	if err := t.ctx.Err(); err != nil {
		return t.fail(err)
	}
	return nil
}

// stmtCtx is the context that a statement runs under. SQLite's writes are not interrupted halfway
// (an interrupted INSERT ends the whole transaction there): they are short, and the context is
// looked at between them. It also saves a goroutine per statement.
func (t *Tx) stmtCtx() context.Context {
	if t.db.engine == SQLite && t.class != read {
		return context.WithoutCancel(t.ctx)
	}
	return t.ctx
}

func (t *Tx) fail(err error) error {
	if t.failed == nil {
		t.failed = err
	}
	return err
}

// finish makes the transaction unusable. It closes a result set that was left open.
func (t *Tx) finish() {
	if t.open != nil {
		_ = t.open.Close() // a failure shows as the transaction's own
	}
	t.done = true
}

// args checks the arguments and brings them into the forms that both drivers take.
func (t *Tx) args(args []any) ([]any, error) {
	var out []any // a copy, once something differs
	for i, a := range args {
		v, err := t.arg(a)
		if err != nil {
			return nil, fmt.Errorf("db: argument $%d: %w", i+1, err)
		}
		if out == nil {
			if plain(a) {
				continue
			}
			out = slices.Clone(args)
		}
		out[i] = v
	}
	if out == nil {
		return args, nil
	}
	return out, nil
}

// plain says that an argument goes to the drivers as it is.
func plain(a any) bool {
	switch a.(type) {
	case nil, int64, int, string, []byte:
		return true
	}
	return false
}

// arg converts one argument. Lists become what [Dialect.In] compares with.
func (t *Tx) arg(a any) (any, error) {
	switch a := a.(type) {
	case nil, int64, int, string, []byte, driver.Valuer:
		return a, nil
	case []string, []int64:
		if t.db.engine == SQLite {
			return jsonList(a)
		}
		return a, nil
	}
	v := reflect.ValueOf(a)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int(), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int64(v.Uint()), nil
	}
	return nil, fmt.Errorf("is a %T: pass an integer, a string, bytes, Micros(time) or Bool(b)", a)
}

// Rows is the result of a query.
type Rows struct {
	rows *sql.Rows
	tx   *Tx
}

// Next prepares the next row for Scan. It returns false at the end, or on a failure that [Rows.Err] tells.
func (r *Rows) Next() bool {
	if r.rows.Next() {
		return true
	}
	_ = r.Close() // shows in Err
	return false
}

// Scan copies the row's columns into dest, as database/sql does.
func (r *Rows) Scan(dest ...any) error { return r.rows.Scan(dest...) }

// Err is the failure that ended the iteration, if any.
func (r *Rows) Err() error {
	if err := r.rows.Err(); err != nil {
		return r.tx.fail(err)
	}
	return nil
}

// Close ends the iteration. Closing twice is fine.
func (r *Rows) Close() error {
	if r.tx.open == r {
		r.tx.open = nil
	}
	if err := r.rows.Close(); err != nil {
		return r.tx.fail(err)
	}
	if err := r.rows.Err(); err != nil {
		return r.tx.fail(err)
	}
	return nil
}

// Row is the result of [Tx.QueryRow].
type Row struct {
	rows *Rows
	err  error
}

// Scan copies the row's columns into dest and closes the result. Without a row it returns
// [ErrNoRows], which does not harm the transaction.
func (r *Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Close()
}
