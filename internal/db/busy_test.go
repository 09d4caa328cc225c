package db_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// wait is how long a transaction waits for its turn where a test wants it to give up: long enough for
// a machine that is busy itself.
const wait = 300 * time.Millisecond

// hold runs a transaction that has written a row and stays open until release is called, which
// returns its error.
func hold(t *testing.T, d *db.DB) (release func() error) {
	t.Helper()
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- d.Update(ctx, func(tx *db.Tx) error {
			_, err := db.Bump(tx, "held")
			close(inside)
			<-leave
			return err
		})
	}()
	<-inside
	release = sync.OnceValue(func() error { close(leave); return <-done })
	t.Cleanup(func() { _ = release() }) // Close waits for it
	return release
}

func bump(d *db.DB) error {
	return d.Update(ctx, func(tx *db.Tx) error { _, err := db.Bump(tx, "held"); return err })
}

// TestBusy: a write that finds what it needs taken waits for the time allowed, and says so.
// Settlement waits on.
func TestBusy(t *testing.T) {
	dbtest.EachWith(t, db.Options{MaxWait: wait}, sets, func(t *testing.T, d *db.DB) {
		release := hold(t, d)
		err := bump(d)
		if p := problem.As(err); p.ID != "db.busy" || p.Kind != problem.Unavailable || p.RetryAfter == 0 {
			t.Errorf("got %v", err)
		}
		settled := make(chan error, 1)
		go func() {
			settled <- d.Settle(ctx, func(tx *db.Tx) error { _, err := db.Bump(tx, "held"); return err })
		}()
		if err := bump(d); !problem.Is(err, problem.Unavailable) {
			t.Errorf("got %v", err)
		}
		if err := release(); err != nil {
			t.Error(err)
		}
		if err := <-settled; err != nil {
			t.Errorf("settlement: %v", err)
		}
		if err := bump(d); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestReadersDoNotWait: a writer keeps nobody from reading; readers that take all connections keep
// others waiting only for the time allowed.
func TestReadersDoNotWait(t *testing.T) {
	dbtest.EachWith(t, db.Options{MaxWait: wait, MaxConns: 3}, sets, func(t *testing.T, d *db.DB) {
		release := hold(t, d)
		count(t, d)
		if err := release(); err != nil {
			t.Fatal(err)
		}
		var inside, done sync.WaitGroup
		leave := make(chan struct{})
		for range 3 {
			inside.Add(1)
			done.Go(func() {
				if err := d.View(ctx, func(*db.Tx) error { inside.Done(); <-leave; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		inside.Wait()
		if err := d.View(ctx, func(*db.Tx) error { return nil }); !problem.Is(err, problem.Unavailable) {
			t.Errorf("got %v", err)
		}
		close(leave)
		done.Wait()
		count(t, d)
	})
}

// TestSecondProcess: on SQLite another process may hold the lock of the file.
func TestSecondProcess(t *testing.T) {
	dsn := dbtest.SQLiteDSN(t)
	o := db.Options{MaxWait: wait}
	first, second := dbtest.Open(t, dsn, o, sets), dbtest.Open(t, dsn, o, sets)
	release := hold(t, first)
	if err := bump(second); !problem.Is(err, problem.Unavailable) {
		t.Errorf("got %v", err)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}
	if err := bump(second); err != nil {
		t.Error(err)
	}
}

// TestFullDisk: a write that finds no space fails as a whole, says so, and leaves the database fit to go on.
func TestFullDisk(t *testing.T) {
	d := dbtest.SQLite(t, sets)
	limit := func(pages int) {
		t.Helper()
		err := d.Update(ctx, func(tx *db.Tx) error {
			return tx.QueryRow(fmt.Sprintf("PRAGMA max_page_count=%d", pages)).Scan(&pages)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(20)
	err := d.Update(ctx, func(tx *db.Tx) error {
		for i := range 100 {
			if _, err := tx.Exec(`INSERT INTO thing (id, name, data) VALUES ($1, $1, $2)`, fmt.Sprint(i), make([]byte, 4000)); err != nil {
				return err
			}
		}
		return nil
	})
	if p := problem.As(err); p.ID != "db.full" || p.Kind != problem.Unavailable {
		t.Errorf("got %v", err)
	}
	if n := count(t, d); n != 0 {
		t.Errorf("%d rows", n)
	}
	limit(1000)
	if err := d.Update(ctx, func(tx *db.Tx) error { return put(tx, "a", 1) }); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestConcurrentWriters: no update is lost, revisions are in the order of the commits.
func TestConcurrentWriters(t *testing.T) {
	dbtest.EachWith(t, db.Options{MaxWait: time.Minute}, sets, func(t *testing.T, d *db.DB) {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 20 {
					err := d.Update(ctx, func(tx *db.Tx) error {
						rev, err := db.Bump(tx, "held")
						if err != nil {
							return err
						}
						return put(tx, fmt.Sprintf("%d-%d", w, i), rev)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		// A reader that has seen revision n never misses a row up to n.
		for seen := int64(0); seen < 160; {
			err := d.View(ctx, func(tx *db.Tx) error {
				var rows int64
				if err := tx.QueryRow(`SELECT COUNT(*), COALESCE(MAX(n), 0) FROM thing`).Scan(&rows, &seen); err != nil {
					return err
				}
				if rows != seen {
					return fmt.Errorf("revision %d, %d rows", seen, rows)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
	})
}

func TestClosed(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		release := hold(t, d)
		closed := make(chan error, 1)
		go func() { closed <- d.Close() }()
		if err := release(); err != nil {
			t.Errorf("a transaction that was running when Close came: %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for _, run := range []func() error{
			func() error { return d.View(ctx, func(*db.Tx) error { return errors.New("ran") }) },
			func() error { return bump(d) },
			d.Close,
		} {
			if err := run(); err != nil && err.Error() == "ran" {
				t.Error("a transaction ran after Close")
			}
		}
	})
}

func TestReadOnly(t *testing.T) {
	dsn := dbtest.SQLiteDSN(t)
	if _, err := db.Open(ctx, dsn, db.Options{ReadOnly: true}); err == nil {
		t.Fatal("opened a file that does not exist")
	}
	w := dbtest.Open(t, dsn, db.Options{}, sets)
	d, err := db.Open(ctx, dsn, db.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := bump(d); err == nil {
		t.Error("wrote")
	}
	if err := bump(w); err != nil {
		t.Error(err)
	}
	count(t, d)
}
