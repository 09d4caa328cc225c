package db

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestLogIsBounded writes while readers overlap, so that there is no moment without one: the
// write-ahead log must not grow with what is written.
func TestLogIsBounded(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "x.db")
	d, err := Open(ctx, "sqlite:"+path, Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	b := d.back.(*sqliteBackend)
	b.step, b.large = 1<<20, 1<<20
	update := func(text string, args ...any) {
		t.Helper()
		if err := d.Update(ctx, func(tx *Tx) error { _, err := tx.Exec(text, args...); return err }); err != nil {
			t.Fatal(err)
		}
	}
	update(`PRAGMA journal_size_limit=0`)
	update(`CREATE TABLE big (data BLOB)`)

	// Each reader holds its snapshot until the next one has begun.
	var wg sync.WaitGroup
	stop := make(chan struct{})
	begun := make(chan chan struct{}, 1)
	read := func() {
		end := make(chan struct{})
		wg.Go(func() {
			err := d.View(ctx, func(tx *Tx) error {
				var n int
				err := tx.QueryRow(`SELECT COUNT(*) FROM sqlite_schema`).Scan(&n)
				begun <- end
				<-end
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	read()
	wg.Go(func() {
		for {
			previous := <-begun
			select {
			case <-stop:
				close(previous)
				return
			default:
				read()
				next := <-begun
				close(previous)
				begun <- next
			}
		}
	})
	const writes, size = 300, 100_000
	for range writes {
		update(`INSERT INTO big (data) VALUES (zeroblob($1))`, size)
	}
	close(stop)
	wg.Wait()
	defer d.Close() // not before: a failure above leaves readers behind, which Close would wait for
	st, err := os.Stat(b.log)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > 8<<20 {
		t.Errorf("the log has %d bytes after %d bytes were written", st.Size(), writes*size)
	}
}
