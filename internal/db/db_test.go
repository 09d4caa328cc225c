package db_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var ctx = context.Background()

// sets holds one room with the shapes that the tests need.
var sets = []db.Migrations{{Room: "sample", FS: fstest.MapFS{
	"0001_thing.sql": {Data: []byte(`
CREATE TABLE thing (
	id TEXT NOT NULL PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	n BIGINT CHECK (n >= 0),
	data {{blob}}
) {{without_rowid}};
CREATE INDEX thing_n ON thing (n);
CREATE TABLE entry (
	seq {{serial}},
	thing TEXT REFERENCES thing (id)
);
`)},
}}}

func put(tx *db.Tx, id string, n int64) error {
	_, err := tx.Exec(`INSERT INTO thing (id, name, n) VALUES ($1, $2, $3)`, id, "name of "+id, n)
	return err
}

func count(t *testing.T, d *db.DB) (n int) {
	t.Helper()
	err := d.View(ctx, func(tx *db.Tx) error { return tx.QueryRow(`SELECT COUNT(*) FROM thing`).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestUpdateAndView(t *testing.T) {
	type state string
	now := time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)
	o := db.Options{Clock: clock.NewManual(now)}
	dbtest.EachWith(t, o, sets, func(t *testing.T, d *db.DB) {
		var none *string
		ran := 0
		err := d.Update(ctx, func(tx *db.Tx) error {
			if got, want := tx.Now(), now.Truncate(time.Microsecond); !got.Equal(want) {
				t.Errorf("Now: %v, want %v", got, want)
			}
			tx.AfterCommit(func() { ran++ })
			for i := range 5 {
				if err := put(tx, fmt.Sprint("t", i), int64(i)); err != nil {
					return err
				}
			}
			n, err := tx.Exec(`UPDATE thing SET n = $1, data = $2, name = $3 WHERE id = $4 AND name <> $3`, nil, []byte{0, 255}, state("s"), "t0")
			if n != 1 {
				t.Errorf("rows affected: %d", n)
			}
			if err != nil {
				return err
			}
			_, err = tx.Exec(`INSERT INTO entry (thing) VALUES ($1)`, none)
			return err
		})
		if err != nil || ran != 1 {
			t.Fatal(err, ran)
		}
		err = d.View(ctx, func(tx *db.Tx) error {
			var name string
			var n *int64
			var data []byte
			var yes bool
			row := tx.QueryRow(`SELECT name, n, data, EXISTS (SELECT 1 FROM thing) FROM thing WHERE id = $1`, "t0")
			if err := row.Scan(&name, &n, &data, &yes); err != nil {
				return err
			}
			if name != "s" || n != nil || !cmp.Equal(data, []byte{0, 255}) || !yes {
				t.Errorf("got %q %v %v %v", name, n, data, yes)
			}
			if err := tx.QueryRow(`SELECT n FROM thing WHERE id = $1`, "t9").Scan(&n); !errors.Is(err, db.ErrNoRows) {
				t.Errorf("got %v, want ErrNoRows", err)
			}
			rows, err := tx.Query(`SELECT id FROM thing WHERE id`+tx.Dialect().In("$1")+` OR n`+tx.Dialect().In("$2")+` ORDER BY id`,
				[]string{"t1", "t2", "x"}, []int64{4})
			if err != nil {
				return err
			}
			defer rows.Close()
			var ids []string
			for rows.Next() {
				var id string
				if err := rows.Scan(&id); err != nil {
					return err
				}
				ids = append(ids, id)
			}
			if diff := cmp.Diff([]string{"t1", "t2", "t4"}, ids); diff != "" {
				t.Error(diff)
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestViewIsReadOnly(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		if err := d.View(ctx, func(tx *db.Tx) error { return put(tx, "a", 1) }); err == nil {
			t.Fatal("a View wrote")
		}
		if n := count(t, d); n != 0 {
			t.Fatalf("%d rows", n)
		}
	})
}

func TestViewSeesOneSnapshot(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		err := d.View(ctx, func(tx *db.Tx) error {
			for range 2 {
				var n int
				if err := tx.QueryRow(`SELECT COUNT(*) FROM thing`).Scan(&n); err != nil || n != 0 {
					return fmt.Errorf("count %d: %w", n, err)
				}
				if err := d.Update(ctx, func(tx *db.Tx) error { return put(tx, fmt.Sprint(time.Now().UnixNano()), 1) }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestConstraintsAreTold(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		if err := d.Update(ctx, func(tx *db.Tx) error { return put(tx, "a", 1) }); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, text        string
			unique, check, fk bool
		}{
			{"primary key", `INSERT INTO thing (id, name) VALUES ('a', 'b')`, true, false, false},
			{"unique", `INSERT INTO thing (id, name) VALUES ('b', 'name of a')`, true, false, false},
			{"serial", `INSERT INTO entry (seq) VALUES (1), (1)`, true, false, false},
			{"check", `UPDATE thing SET n = -1`, false, true, false},
			{"foreign key", `INSERT INTO entry (thing) VALUES ('nobody')`, false, false, true},
			{"not null", `INSERT INTO thing (id) VALUES ('z')`, false, false, false},
			{"syntax", `INSERT INTO`, false, false, false},
		} {
			err := d.Update(ctx, func(tx *db.Tx) error {
				_, err := tx.Exec(c.text)
				return fmt.Errorf("wrapped: %w", err)
			})
			if err == nil {
				t.Errorf("%s: no error", c.name)
			}
			if db.IsUnique(err) != c.unique || db.IsCheck(err) != c.check || db.IsForeignKey(err) != c.fk {
				t.Errorf("%s: unique %v check %v foreign key %v: %v", c.name, db.IsUnique(err), db.IsCheck(err), db.IsForeignKey(err), err)
			}
		}
	})
}

func TestRollback(t *testing.T) {
	boom := errors.New("boom")
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		never := func() { t.Error("AfterCommit ran without a commit") }
		err := d.Update(ctx, func(tx *db.Tx) error {
			tx.AfterCommit(never)
			if err := put(tx, "a", 1); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("error: %v", err)
		}
		// A failure that the function hides still rolls back.
		err = d.Update(ctx, func(tx *db.Tx) error {
			tx.AfterCommit(never)
			if err := put(tx, "b", 1); err != nil {
				return err
			}
			_ = put(tx, "b", 1)
			if err := put(tx, "c", 1); err == nil {
				t.Error("a failed transaction went on")
			}
			return nil
		})
		if !db.IsUnique(err) {
			t.Errorf("hidden failure: %v", err)
		}
		func() {
			defer func() {
				if recover() != "ouch" {
					t.Error("the panic was lost")
				}
			}()
			_ = d.Update(ctx, func(tx *db.Tx) error {
				tx.AfterCommit(never)
				if err := put(tx, "d", 1); err != nil {
					return err
				}
				panic("ouch")
			})
		}()
		if n := count(t, d); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		if err := d.Update(ctx, func(tx *db.Tx) error { return put(tx, "a", 1) }); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestMisuseIsRefused(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		for name, fn := range map[string]func(tx *db.Tx) error{
			"time":  func(tx *db.Tx) error { _, err := tx.Exec(`UPDATE thing SET n = $1`, time.Now()); return err },
			"bool":  func(tx *db.Tx) error { _, err := tx.Exec(`UPDATE thing SET n = $1`, true); return err },
			"float": func(tx *db.Tx) error { _, err := tx.Exec(`UPDATE thing SET n = $1`, 1.5); return err },
			"open rows": func(tx *db.Tx) error {
				if _, err := tx.Query(`SELECT id FROM thing`); err != nil {
					return nil
				}
				_, err := tx.Exec(`DELETE FROM thing`)
				return err
			},
		} {
			if err := d.Update(ctx, fn); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		var kept *db.Tx
		if err := d.View(ctx, func(tx *db.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Exec(`DELETE FROM thing`); err == nil {
			t.Error("a transaction works after its end")
		}
	})
}

func TestCancelledContext(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		cctx, cancel := context.WithCancel(ctx)
		err := d.Update(cctx, func(tx *db.Tx) error {
			if err := put(tx, "a", 1); err != nil {
				return err
			}
			cancel()
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if err := d.View(cctx, func(*db.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if n := count(t, d); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}

func TestInsertRows(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		const rows = 37
		ids, names, ns, data := make([]string, rows), make([]string, rows), make([]*int64, rows), make([][]byte, rows)
		for i := range rows {
			ids[i], names[i] = fmt.Sprintf("r%02d", i), fmt.Sprint("name ", i)
			if n := int64(i); i%2 == 0 {
				ns[i] = &n
			}
			if i%3 == 0 {
				data[i] = []byte{byte(i)}
			}
		}
		cols, columns := []string{"id", "name", "n", "data"}, []any{ids, names, ns, data}
		err := d.Settle(ctx, func(tx *db.Tx) error {
			if err := put(tx, "r05", 1); err != nil {
				return err
			}
			n, returned, err := tx.InsertRows("thing", cols, columns, "ON CONFLICT DO NOTHING RETURNING id")
			if err != nil {
				return err
			}
			if n != rows-1 || len(returned) != rows-1 {
				t.Errorf("inserted %d, returned %d", n, len(returned))
			}
			n, returned, err = tx.InsertRows("thing", cols, columns, "ON CONFLICT DO NOTHING")
			if n != 0 || returned != nil {
				t.Errorf("again: inserted %d, returned %v", n, returned)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.View(ctx, func(tx *db.Tx) error {
			var n, sum, blobs int64
			err := tx.QueryRow(`SELECT COUNT(n), SUM(n), COUNT(data) FROM thing WHERE id <> 'r05'`).Scan(&n, &sum, &blobs)
			if n != 19 || sum != 342 || blobs != 13 {
				t.Errorf("%d numbers, sum %d, %d blobs", n, sum, blobs)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for name, bad := range map[string][]any{
			"lengths": {ids, names[1:], ns, data},
			"type":    {ids, names, make([]float64, rows), data},
			"columns": {ids, names},
		} {
			err := d.Update(ctx, func(tx *db.Tx) error { _, _, err := tx.InsertRows("thing", cols, bad, ""); return err })
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
}

func TestBump(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		err := d.Update(ctx, func(tx *db.Tx) error {
			for want := range int64(3) {
				if rev, err := db.Revision(tx, "keys"); err != nil || rev != want {
					return fmt.Errorf("revision %d, want %d: %w", rev, want, err)
				}
				if rev, err := db.Bump(tx, "keys"); err != nil || rev != want+1 {
					return fmt.Errorf("bumped to %d, want %d: %w", rev, want+1, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOpenFailures(t *testing.T) {
	for _, dsn := range []string{"", "mysql://x", "sqlite:", "sqlite:/no/such/folder/x.db", "postgres://127.0.0.1:1/x"} {
		d, err := db.Open(ctx, dsn, db.Options{})
		if err == nil {
			t.Errorf("%q opened", dsn)
			_ = d.Close()
		}
	}
	if _, err := db.Open(ctx, "postgres://127.0.0.1:1/x", db.Options{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("unreachable server: %v", err)
	}
}
