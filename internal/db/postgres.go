package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// pgBackend is a pool of connections to a PostgreSQL-compatible server. It uses no LISTEN and no
// advisory locks, so that compatible servers do as well.
type pgBackend struct {
	pool    *sql.DB
	max     int
	maxWait time.Duration
	lock    string // milliseconds that a write waits for a row lock
}

// How long the ends of a transaction may take when the caller's own context is over already.
const (
	commitTime   = 30 * time.Second
	rollbackTime = 5 * time.Second
)

func openPostgres(ctx context.Context, dsn string, o Options) (*pgBackend, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("db: %w", err) // pgx redacts the password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	if _, set := cfg.RuntimeParams["application_name"]; !set {
		cfg.RuntimeParams["application_name"] = "tollgate"
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(o.MaxConns)
	pool.SetMaxIdleConns(o.MaxConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	if err := pool.PingContext(ctx); err != nil {
		_ = pool.Close() // the first failure is the one to tell
		return nil, fmt.Errorf("db: %w", err)
	}
	return &pgBackend{pool: pool, max: o.MaxConns, maxWait: o.MaxWait, lock: fmt.Sprint(o.MaxWait.Milliseconds())}, nil
}

func (b *pgBackend) begin(ctx context.Context, t *Tx, c class) error {
	var text string
	switch c {
	case read:
		text = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	case write:
		text = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = " + b.lock
	case settle:
		text = "BEGIN ISOLATION LEVEL READ COMMITTED"
	}
	// After a restart of the server every pooled connection is dead; each failure discards one.
	// Nothing of the transaction has been sent, so trying again is safe.
	for n := 0; ; n++ {
		sc, err := b.acquire(ctx, c)
		if err != nil {
			return err
		}
		_, err = sc.ExecContext(ctx, text)
		if err == nil {
			t.conn = &conn{Conn: sc}
			return nil
		}
		discard(sc)
		if !lost(err) || n >= b.max || ctx.Err() != nil {
			return err
		}
	}
}

// acquire waits for a connection of the pool, or dials one.
func (b *pgBackend) acquire(ctx context.Context, c class) (*sql.Conn, error) {
	if c == settle {
		return b.pool.Conn(ctx)
	}
	waitCtx, cancel := context.WithTimeoutCause(ctx, b.maxWait, errBusy)
	defer cancel()
	sc, err := b.pool.Conn(waitCtx)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(waitCtx), errBusy) {
		return nil, errBusy
	}
	return sc, err
}

func (b *pgBackend) end(t *Tx, commit bool) error {
	if !commit {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), rollbackTime)
		defer cancel()
		if _, err := t.conn.ExecContext(ctx, "ROLLBACK"); err != nil {
			discard(t.conn.Conn) // the server rolls back what loses its connection
			return nil
		}
		return t.conn.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), commitTime)
	defer cancel()
	if closed(t.conn.Conn) {
		discard(t.conn.Conn)
		return driver.ErrBadConn // the commit was not sent
	}
	_, err := t.conn.ExecContext(ctx, "COMMIT")
	if err == nil {
		_ = t.conn.Close() // gives it back to the pool; the commit stands
		return nil
	}
	discard(t.conn.Conn)
	if t.class == read {
		return nil // all has been read
	}
	// Only the server's own word says that the commit did not happen. (pgx 5.12 calls some errors
	// safe to retry though the text was sent: a connection that breaks while it waits for the answer.)
	var e *pgconn.PgError
	if !errors.As(err, &e) || lost(err) {
		return &inDoubt{err}
	}
	return err
}

// closed says that the driver knows the connection to be gone.
func closed(sc *sql.Conn) (gone bool) {
	err := sc.Raw(func(c any) error {
		if c, ok := c.(*stdlib.Conn); ok {
			gone = c.Conn().IsClosed()
		}
		return nil
	})
	return gone || err != nil
}

// discard closes the connection instead of giving it back to the pool.
func discard(sc *sql.Conn) {
	_ = sc.Raw(func(any) error { return driver.ErrBadConn }) // this is how database/sql is told
	_ = sc.Close()
}

// lost says that the connection is gone or the server going down, as opposed to a refused statement.
func lost(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code[:2] {
		case "08", "57": // connection exceptions; admin shutdown, crash shutdown, cannot connect now
			return e.Code != "57014" // query cancelled
		}
		return false
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.Is(err, driver.ErrBadConn) || isNetwork(err)
}

func (b *pgBackend) retry(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40001" || e.Code == "40P01")
}

func (b *pgBackend) close() error { return b.pool.Close() }
