package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteBackend holds one connection that writes, guarded by a turnstile, and a set of connections
// that read. WAL lets readers go on while the writer writes.
type sqliteBackend struct {
	pool    *sql.DB
	writer  *conn
	turns   turnstile
	readers chan *conn // the free ones of n
	n       int
	all     []*conn
	closed  chan struct{}
	once    sync.Once
	maxWait time.Duration
	log     string // the path of the write-ahead log
	step    int64  // walLarge
	large   int64  // the size of the log at which to insist on a checkpoint; guarded by the turn
}

// walLarge is how far the write-ahead log may grow before a writer insists on a checkpoint.
const walLarge = 64 << 20

// Pragmas of every connection, in this order, after busy_timeout.
var sqlitePragmas = []string{
	"journal_mode(WAL)",
	"synchronous(FULL)",
	"foreign_keys(1)",
	"temp_store(MEMORY)",
	"wal_autocheckpoint(4000)",     // pages of 4 KiB: fewer, larger checkpoints
	"journal_size_limit(33554432)", // a log that has grown shrinks again
}

func openSQLite(ctx context.Context, path string, o Options) (_ *sqliteBackend, err error) {
	if path == "" || path == ":memory:" {
		return nil, errors.New("db: sqlite: needs the path of a file")
	}
	flags := os.O_RDWR | os.O_CREATE
	if o.ReadOnly {
		flags = os.O_RDONLY
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	connector, err := sqlite.NewConnector(sqliteDSN(path, o))
	if err != nil {
		return nil, fmt.Errorf("db: %w", err)
	}
	b := &sqliteBackend{pool: sql.OpenDB(connector), readers: make(chan *conn, o.MaxConns), closed: make(chan struct{}), maxWait: o.MaxWait, log: path + "-wal", step: walLarge, large: walLarge}
	defer func() {
		if err != nil {
			_ = b.close() // the first failure is the one to tell
		}
	}()
	if !o.ReadOnly {
		if b.writer, err = b.connect(ctx, "PRAGMA cache_size=-8192"); err != nil {
			return nil, err
		}
	}
	for range o.MaxConns {
		c, err := b.connect(ctx, "PRAGMA query_only=1")
		if err != nil {
			return nil, err
		}
		b.readers <- c
		b.n++
	}
	return b, nil
}

func sqliteDSN(path string, o Options) string {
	// busy_timeout is for other processes (a backup, the sqlite3 shell): within this one the
	// turnstile keeps writers apart.
	pragmas := append([]string{fmt.Sprintf("busy_timeout(%d)", o.MaxWait.Milliseconds())}, sqlitePragmas...)
	if o.NoSync {
		pragmas = append(pragmas, "synchronous(OFF)")
	}
	q := url.Values{"_pragma": pragmas, "_dqs": {"0"}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

// connect opens a connection. Processes that start at the same time can find the file locked while
// one of them turns it to WAL; SQLite does not wait by itself there.
func (b *sqliteBackend) connect(ctx context.Context, pragma string) (*conn, error) {
	late := time.Now().Add(b.maxWait)
	for n := 1; ; n++ {
		sc, err := b.pool.Conn(ctx)
		if err == nil {
			c := &conn{sc, map[string]*sql.Stmt{}}
			b.all = append(b.all, c)
			_, err = c.ExecContext(ctx, pragma)
			if err == nil {
				return c, nil
			}
		}
		if sqliteCode(err) != sqlite3.SQLITE_BUSY || time.Now().After(late) || !pause(ctx, n) {
			return nil, fmt.Errorf("db: sqlite: %w", err)
		}
	}
}

func (b *sqliteBackend) begin(ctx context.Context, t *Tx, c class) error {
	if c == read {
		var err error
		if t.conn, err = b.reader(ctx); err != nil {
			return err
		}
		if _, err := t.conn.exec(context.Background(), "BEGIN", nil); err != nil {
			b.readers <- t.conn
			return err
		}
		return nil
	}
	limit := b.maxWait
	if c == settle {
		limit = 0
	}
	if err := b.turns.take(ctx, c, limit); err != nil {
		return err
	}
	t.conn = b.writer
	if _, err := t.conn.exec(context.Background(), "BEGIN IMMEDIATE", nil); err != nil {
		b.turns.give()
		return err
	}
	return nil
}

// reader waits for a free reading connection.
func (b *sqliteBackend) reader(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c := <-b.readers:
		return c, nil
	default:
	}
	timer := time.NewTimer(b.maxWait)
	defer timer.Stop()
	select {
	case c := <-b.readers:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.closed:
		return nil, errClosed
	case <-timer.C:
		return nil, errBusy
	}
}

func (b *sqliteBackend) end(t *Tx, commit bool) error {
	defer func() {
		if t.class == read {
			b.readers <- t.conn
		} else {
			b.turns.give()
		}
	}()
	if commit {
		_, err := t.conn.exec(context.Background(), "COMMIT", nil)
		if err == nil {
			if t.class != read {
				b.checkpoint()
			}
			return nil
		}
		return errors.Join(err, b.rollback(t))
	}
	return b.rollback(t)
}

// checkpoint keeps the log from growing without end. SQLite's own checkpoints begin the log anew
// only at a moment without readers, which does not come while readers overlap. With the turn
// to write held, new readers need no log once all of it is in the file, so that waiting for
// those that read now is enough. If they take long, the next try comes when the log has grown by as much again.
func (b *sqliteBackend) checkpoint() {
	st, err := os.Stat(b.log)
	if err != nil || st.Size() < b.large {
		return
	}
	b.large = b.step
	var timeout, busy, pages, done int
	ctx := context.Background()
	err = errors.Join(
		b.writer.QueryRowContext(ctx, "PRAGMA busy_timeout=200").Scan(&timeout),
		b.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &pages, &done),
		b.writer.QueryRowContext(ctx, fmt.Sprintf("PRAGMA busy_timeout=%d", b.maxWait.Milliseconds())).Scan(&timeout))
	if err != nil || busy != 0 {
		b.large = st.Size() + b.step // not the transaction's failure: it has been committed
	}
}

// rollback ends the transaction if there is one left: SQLite has ended it by itself after some
// failures (full disk, I/O error).
func (b *sqliteBackend) rollback(t *Tx) error {
	_, err := t.conn.exec(context.Background(), "ROLLBACK", nil)
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_ERROR {
		return nil // "no transaction is active"
	}
	return err
}

func (b *sqliteBackend) retry(error) bool { return false }

// close waits for whoever is in a transaction.
func (b *sqliteBackend) close() (err error) {
	b.once.Do(func() {
		b.turns.close()
		close(b.closed)
		for range b.n {
			<-b.readers
		}
		for _, c := range b.all {
			for _, s := range c.stmts {
				err = errors.Join(err, s.Close())
			}
			err = errors.Join(err, c.Close())
		}
		err = errors.Join(err, b.pool.Close())
	})
	return err
}
