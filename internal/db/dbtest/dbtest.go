// Package dbtest opens fresh databases for tests: one suite, both engines.
package dbtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tollgate-io/tollgate/internal/db"
)

// The environment that scripts/engines sets.
const (
	postgresVar = "TOLLGATE_TEST_POSTGRES"
	requireVar  = "TOLLGATE_TEST_REQUIRE"
)

// Each runs fn as the subtests "sqlite" and "postgres", each on a fresh, migrated database. Without
// TOLLGATE_TEST_POSTGRES the second is skipped, or fails when TOLLGATE_TEST_REQUIRE=1.
func Each(t *testing.T, sets []db.Migrations, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	EachWith(t, db.Options{}, sets, fn)
}

// EachWith is [Each] with options, a clock say.
func EachWith(t *testing.T, o db.Options, sets []db.Migrations, fn func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, Open(t, SQLiteDSN(t), o, sets)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Open(t, PostgresDSN(t), o, sets)) })
}

// SQLite opens a fresh, migrated SQLite database.
func SQLite(t testing.TB, sets []db.Migrations) *db.DB {
	t.Helper()
	return Open(t, SQLiteDSN(t), db.Options{}, sets)
}

// Open opens and migrates the database; the end of the test closes it. SQLite is opened without
// syncing, which a test of crashes of the machine would need and no other.
func Open(t testing.TB, dsn string, o db.Options, sets []db.Migrations) *db.DB {
	t.Helper()
	o.NoSync = true
	d, err := db.Open(context.Background(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := d.Migrate(context.Background(), sets...); err != nil {
		t.Fatal(err)
	}
	return d
}

// SQLiteDSN names a database in the test's own folder.
func SQLiteDSN(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") }

// PostgresDSN names a fresh schema of the test server, dropped when the test ends.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	dsn := os.Getenv(postgresVar)
	if dsn == "" {
		if os.Getenv(requireVar) == "1" {
			t.Fatal(postgresVar + " is not set: run make test, or eval $(scripts/engines env)")
		}
		t.Skip(postgresVar + " is not set")
	}
	schema := fmt.Sprintf("test_%016x", rand.Uint64())
	admin(t, dsn, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { admin(t, dsn, "DROP SCHEMA "+schema+" CASCADE") })
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func admin(t testing.TB, dsn, text string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, text); err != nil {
		t.Fatal(err)
	}
}
