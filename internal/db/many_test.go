package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

func TestUpdateRows(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		err := d.Update(ctx, func(tx *db.Tx) error {
			for i := range 3 {
				if err := put(tx, fmt.Sprint("t", i), int64(i)); err != nil {
					return err
				}
			}
			n, err := tx.UpdateRows("thing", []string{"id"}, []string{"n", "data"}, []any{[]string{"t0", "nobody", "t2"}, []int64{10, 1, 12}, [][]byte{{1}, {2}, {3}}})
			if n != 2 || err != nil {
				t.Errorf("%d rows %v", n, err)
			}
			n, err = tx.UpdateRows("thing", []string{"id", "n"}, []string{"name"}, []any{[]string{"t0", "t2"}, []int64{10, 10}, []string{"ten", "never"}})
			if n != 1 || err != nil {
				t.Errorf("two keys: %d rows %v", n, err)
			}
			if n, err := tx.UpdateRows("thing", []string{"id"}, []string{"n"}, []any{[]string{}, []int64{}}); n != 0 || err != nil {
				t.Errorf("without rows: %v %v", n, err)
			}
			var name string
			var data []byte
			if err := tx.QueryRow(`SELECT name, data FROM thing WHERE id = $1 AND n = 10`, "t0").Scan(&name, &data); err != nil || name != "ten" || !cmp.Equal(data, []byte{1}) {
				t.Errorf("%q %v %v", name, data, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := sum(t, d); n != 23 {
			t.Errorf("sum %d", n)
		}
		err = d.Update(ctx, func(tx *db.Tx) error {
			_, err := tx.UpdateRows("thing", []string{"id"}, []string{"n"}, []any{[]string{"t0", "t2", "t1"}, []int64{1, -1, 1}})
			return err
		})
		if !db.IsCheck(err) || !db.IsRefused(err) || !db.IsEngine(err) {
			t.Errorf("a refused row among others: %v", err)
		}
		if n := sum(t, d); n != 23 {
			t.Errorf("sum %d: the rows before the refused one were kept", n)
		}
	})
}

func sum(t *testing.T, d *db.DB) (n int64) {
	t.Helper()
	err := d.View(ctx, func(tx *db.Tx) error { return tx.QueryRow(`SELECT COALESCE(SUM(n), 0) FROM thing`).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestInsertRowsPlain is InsertRows without a suffix, for which PostgreSQL takes another way.
func TestInsertRowsPlain(t *testing.T) {
	text := func(s string) *string { return &s }
	number := func(n int64) *int64 { return &n }
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		insert := func(ids []string, ns []*int64) error {
			return d.Update(ctx, func(tx *db.Tx) error {
				names, data := make([]*string, len(ids)), make([][]byte, len(ids))
				for i, id := range ids {
					names[i] = text("Ü " + id)
				}
				data[0] = []byte{0, '\\', 255}
				n, _, err := tx.InsertRows("thing", []string{"id", "name", "n", "data"}, []any{ids, names, ns, data}, "")
				if err == nil && n != int64(len(ids)) {
					t.Errorf("%d rows of %d", n, len(ids))
				}
				return err
			})
		}
		if err := insert([]string{"a", "", "c\n\t"}, []*int64{number(1 << 62), nil, number(0)}); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"unique": insert([]string{"x", "a"}, []*int64{nil, nil}),
			"check":  insert([]string{"y", "z"}, []*int64{nil, number(-1)}),
		} {
			if !db.IsRefused(err) || db.IsUnique(err) != (name == "unique") || db.IsCheck(err) != (name == "check") {
				t.Errorf("%s: %v", name, err)
			}
		}
		err := d.View(ctx, func(tx *db.Tx) error {
			var got string
			var n *int64
			var data []byte
			if err := tx.QueryRow(`SELECT name, n, data FROM thing WHERE id = $1`, "a").Scan(&got, &n, &data); err != nil {
				return err
			}
			if got != "Ü a" || *n != 1<<62 || !cmp.Equal(data, []byte{0, '\\', 255}) {
				t.Errorf("%q %d %v", got, *n, data)
			}
			return tx.QueryRow(`SELECT name, n, data FROM thing WHERE id = $1`, "").Scan(&got, &n, &data)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := count(t, d); n != 3 {
			t.Errorf("%d rows", n)
		}
	})
}

// TestWhoseFailure tells failures of the engine from those of the function.
func TestWhoseFailure(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		own := d.Update(ctx, func(*db.Tx) error { return errors.New("own") })
		syntax := d.Update(ctx, func(tx *db.Tx) error { _, err := tx.Exec(`SELEC`); return err })
		if db.IsEngine(own) || db.IsRefused(own) {
			t.Error("the function's own failure is taken for the engine's")
		}
		if !db.IsEngine(syntax) || db.IsRefused(syntax) {
			t.Errorf("%v: engine %v, refused %v", syntax, db.IsEngine(syntax), db.IsRefused(syntax))
		}
	})
}

// TestInsertRowsMany: more than fits into one message of a COPY arrives whole.
func TestInsertRowsMany(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		const rows = 4000
		ids, names, ns, data := make([]string, rows), make([]string, rows), make([]int64, rows), make([][]byte, rows)
		for i := range ids {
			ids[i], names[i], ns[i], data[i] = fmt.Sprint("r", i), fmt.Sprintf("%04d", i)+strings.Repeat("x", i%100), int64(i), make([]byte, i%70)
		}
		err := d.Settle(ctx, func(tx *db.Tx) error {
			_, _, err := tx.InsertRows("thing", []string{"id", "name", "n", "data"}, []any{ids, names, ns, data}, "")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.View(ctx, func(tx *db.Tx) error {
			var count, sum, text, bytes int64
			err := tx.QueryRow(`SELECT COUNT(*), CAST(SUM(n) AS BIGINT), CAST(SUM(LENGTH(name)) AS BIGINT), CAST(SUM(LENGTH(data)) AS BIGINT) FROM thing`).Scan(&count, &sum, &text, &bytes)
			wantText, wantBytes := int64(0), int64(0)
			for i := range rows {
				wantText, wantBytes = wantText+4+int64(i%100), wantBytes+int64(i%70)
			}
			if count != rows || sum != rows*(rows-1)/2 || text != wantText || bytes != wantBytes {
				t.Errorf("%d rows, sum %d, %d of text, %d bytes", count, sum, text, bytes)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
