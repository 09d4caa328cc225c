package sealed

import (
	"fmt"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func tables() db.Migrations {
	return db.Migrations{Room: "notes", FS: fstest.MapFS{"migrations/0001_notes.sql": {Data: []byte(`
CREATE TABLE note (id TEXT NOT NULL, page BIGINT NOT NULL, head {{blob}} NOT NULL, body {{blob}} NOT NULL, sealed_by TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (id, page));
CREATE TABLE blot (id TEXT NOT NULL PRIMARY KEY, ink {{blob}} NOT NULL, sealed_by TEXT NOT NULL);`)}}}
}

func notes() []Table {
	return []Table{
		{Name: "note", ID: "id", N: "page", Values: []string{"head", "body"}, Set: "version = version + 1",
			Context: func(id string, n int64, column string) string { return fmt.Sprint(id, n, column) }},
		{Name: "blot", ID: "id", Values: []string{"ink"}, Context: func(id string, _ int64, _ string) string { return id }},
	}
}

// TestRotation seals rows of two tables, more than fit in a turn, rotates the key twice and drops the old ones.
func TestRotation(t *testing.T) {
	dbtest.Each(t, []db.Migrations{tables()}, func(t *testing.T, d *db.DB) {
		path := filepath.Join(t.TempDir(), "key")
		s, _, err := secret.LoadOrCreate(path)
		if err != nil {
			t.Fatal(err)
		}
		const pages = 2*perTurn + 3
		must(t, d.Update(t.Context(), func(tx *db.Tx) error {
			for i := range int64(pages) {
				head, body := s.SealBytes([]byte("h"), fmt.Sprint("a", i, "head")), s.SealBytes([]byte("b"), fmt.Sprint("a", i, "body"))
				if _, err := tx.Exec(`INSERT INTO note (id, page, head, body, sealed_by, version) VALUES ($1, $2, $3, $4, $5, 1)`, "a", i, head, body, secret.KeyID(head)); err != nil {
					return err
				}
			}
			ink := s.SealBytes([]byte("i"), "x")
			_, err := tx.Exec(`INSERT INTO blot (id, ink, sealed_by) VALUES ($1, $2, $3)`, "x", ink, secret.KeyID(ink))
			if err == nil {
				_, err = tx.Exec(`INSERT INTO blot (id, ink, sealed_by) VALUES ($1, $2, $3)`, "erased", []byte{}, "")
			}
			return err
		}))
		for range 2 {
			next, err := secret.Rotate(path)
			must(t, err)
			s.Replace(next)
			for _, want := range []int{pages + 1, 0} {
				if n, err := Reseal(t.Context(), d, s, notes()...); n != want || err != nil {
					t.Fatalf("%d rows sealed anew, want %d: %v", n, want, err)
				}
			}
		}
		next, err := secret.Drop(path)
		must(t, err)
		s.Replace(next)
		must(t, d.View(t.Context(), func(tx *db.Tx) error {
			counts, err := CountTx(tx, notes()...)
			if err != nil {
				return err
			}
			if len(counts) != 1 || counts[s.KeyIDs()[0]] != pages+1 {
				t.Errorf("sealed by %v", counts)
			}
			var body, ink []byte
			var version int64
			if err := tx.QueryRow(`SELECT body, version FROM note WHERE id = $1 AND page = $2`, "a", int64(7)).Scan(&body, &version); err != nil {
				return err
			}
			if plain, err := s.OpenBytes(body, "a7body"); string(plain) != "b" || version != 3 || err != nil {
				t.Errorf("%q of version %d: %v", plain, version, err)
			}
			if err := tx.QueryRow(`SELECT ink FROM blot WHERE id = $1`, "x").Scan(&ink); err != nil {
				return err
			}
			plain, err := s.OpenBytes(ink, "x")
			if string(plain) != "i" {
				t.Errorf("%q", plain)
			}
			return err
		}))
	})
}

// TestMovedValue finds a value that was moved to a row it was not sealed for.
func TestMovedValue(t *testing.T) {
	d := dbtest.SQLite(t, []db.Migrations{tables()})
	path := filepath.Join(t.TempDir(), "key")
	s, _, err := secret.LoadOrCreate(path)
	must(t, err)
	must(t, d.Update(t.Context(), func(tx *db.Tx) error {
		_, err := tx.Exec(`INSERT INTO blot (id, ink, sealed_by) VALUES ($1, $2, $3)`, "y", s.SealBytes([]byte("i"), "x"), s.KeyIDs()[0])
		return err
	}))
	next, err := secret.Rotate(path)
	must(t, err)
	s.Replace(next)
	if n, err := Reseal(t.Context(), d, s, notes()...); n != 0 || problem.As(err).ID != "secret.reseal" {
		t.Errorf("%d rows, %v", n, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
