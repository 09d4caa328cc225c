package db_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// room makes a set of the texts, numbered from 1.
func room(name string, texts ...string) db.Migrations {
	files := fstest.MapFS{}
	for i, text := range texts {
		files[fmt.Sprintf("migrations/%04d_step.sql", i+1)] = &fstest.MapFile{Data: []byte(text)}
	}
	return db.Migrations{Room: name, FS: files}
}

const (
	one   = `CREATE TABLE one (id {{serial}}); INSERT INTO one (id) VALUES (1);`
	two   = `ALTER TABLE one ADD COLUMN n BIGINT NOT NULL DEFAULT 0; -- a comment; with a semicolon`
	three = `CREATE TABLE three (id TEXT PRIMARY KEY) {{without_rowid}}`
)

func TestMigrateStepByStep(t *testing.T) {
	dbtest.Each(t, nil, func(t *testing.T, d *db.DB) {
		for _, sets := range [][]db.Migrations{
			{room("a", one)},
			{room("a", one)}, // nothing to do
			{room("a", one, two), room("b", three)},
		} {
			if err := d.Migrate(ctx, sets...); err != nil {
				t.Fatal(err)
			}
		}
		var n int
		err := d.View(ctx, func(tx *db.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM one JOIN migration ON n = 0`).Scan(&n)
		})
		if err != nil || n != 3 {
			t.Errorf("%d %v", n, err)
		}
	})
}

func TestMigrateRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		sets []db.Migrations
		id   string
	}{
		{"newer", []db.Migrations{room("a", one), room("b", three)}, "db.newer"},
		{"unknown room", []db.Migrations{room("a", one, two)}, "db.newer"},
		{"changed", []db.Migrations{room("a", one, two+" "), room("b", three)}, "db.migration_changed"},
		{"twice", []db.Migrations{room("a", one, two), room("a", three)}, ""},
		{"word", []db.Migrations{room("a", one, two), room("b", three, "{{nonsense}}")}, ""},
		{"gap", []db.Migrations{{Room: "a", FS: fstest.MapFS{"0002_x.sql": {}}}}, ""},
		{"file name", []db.Migrations{{Room: "a", FS: fstest.MapFS{"0001-x.sql": {}}}}, ""},
		{"syntax", []db.Migrations{room("a", one, two), room("b", three, `CREATE TABLE four (id TEXT)`, `CREATE TABL`)}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dbtest.Each(t, []db.Migrations{room("a", one, two), room("b", three)}, func(t *testing.T, d *db.DB) {
				before, err := d.Schema(ctx)
				if err != nil {
					t.Fatal(err)
				}
				err = d.Migrate(ctx, c.sets...)
				if err == nil {
					t.Fatal("no error")
				}
				if p := problem.As(err); c.id != "" && (p.ID != c.id || p.Text("zh") == p.Text("en")) {
					t.Errorf("got %v, want %s", err, c.id)
				}
				if after, err := d.Schema(ctx); err != nil || after != before {
					t.Errorf("the schema has changed: %v\n%s", err, after)
				}
			})
		})
	}
}

// TestMigrateTogether starts several processes' worth of handles on one empty database.
func TestMigrateTogether(t *testing.T) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN} {
		t.Run(name, func(t *testing.T) {
			where := dsn(t)
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					d, err := db.Open(ctx, where, db.Options{})
					if err != nil {
						t.Error(err)
						return
					}
					if err := d.Migrate(ctx, room("a", one, two), room("b", three)); err != nil {
						t.Error(err)
					}
					if err := d.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestSchema(t *testing.T) {
	want := map[string][]string{
		"sqlite": {"CREATE TABLE thing (", "CREATE INDEX thing_n ON thing (n);", "CREATE TABLE revision ("},
		"postgres": {"thing.id text NOT NULL\nthing.name text NOT NULL\nthing.n bigint\nthing.data bytea\n",
			"thing CONSTRAINT thing_n_check CHECK ((n >= 0))\n", "CREATE INDEX thing_n ON thing USING btree (n)\n", "entry.seq bigint NOT NULL IDENTITY\n",
			"entry CONSTRAINT entry_thing_fkey FOREIGN KEY (thing) REFERENCES thing(id)\n"},
	}
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		got, err := d.Schema(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want[d.Engine().String()] {
			if !strings.Contains(got, w) {
				t.Errorf("no %q in:\n%s", w, got)
			}
		}
	})
}
