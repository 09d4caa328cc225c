package server

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

var update = flag.Bool("update", false, "write the golden schemas anew")

// TestSchema holds the tables that all migrations make together against the reviewed ones, per engine.
func TestSchema(t *testing.T) {
	dbtest.Each(t, migrations(), func(t *testing.T, d *db.DB) {
		got, err := d.Schema(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "schema."+d.Engine().String()+".golden")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
			t.Errorf("the schema has changed; if it should have, run go test ./internal/server -run TestSchema -update (-want +got):\n%s", diff)
		}
	})
}

// TestNewerDataIsRefused starts the real binary on data that a newer version has written.
func TestNewerDataIsRefused(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "tollgate")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/tollgate-io/tollgate/cmd/tollgate").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	future := func(t *testing.T, d *db.DB) {
		t.Helper()
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			_, err := tx.Exec(`INSERT INTO migration (room, number, name, checksum, applied) VALUES ('settle', 9999, '9999_future.sql', 'x', 0)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		dsn        func(testing.TB) string // of the database; nil: the data directory's
		age        func(t *testing.T, data, dsn string)
	}{
		{"sqlite", "settle/9999", dbtest.SQLiteDSN, func(t *testing.T, _, dsn string) {
			future(t, dbtest.Open(t, dsn, db.Options{}, migrations()))
		}},
		{"postgres", "settle/9999", dbtest.PostgresDSN, func(t *testing.T, _, dsn string) {
			future(t, dbtest.Open(t, dsn, db.Options{}, migrations()))
		}},
		{"spool", "format 2", dbtest.SQLiteDSN, func(t *testing.T, data, _ string) {
			dir := filepath.Join(data, "spool")
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			id, err := json.Marshal(map[string]any{"format": 2, "id": "spl_x", "epoch": 7, "first": 3})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "spool"), id, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := t.TempDir()
			dsn := c.dsn(t)
			c.age(t, data, dsn)
			before := files(t, data)
			cmd := exec.CommandContext(t.Context(), bin, "serve", "-listen", "127.0.0.1:0", "-data", data, "-database", dsn)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 5 {
				t.Fatalf("%v, %s", err, stderr.String())
			}
			got := stderr.String()
			if !strings.Contains(got, "newer") || !strings.Contains(got, c.want) || strings.Contains(got, "goroutine") {
				t.Errorf("it says: %s", got)
			}
			if diff := cmp.Diff(before["spool/spool"], files(t, data)["spool/spool"]); c.name == "spool" && diff != "" {
				t.Error("the spool's identity was changed:", diff)
			}
		})
	}
}

// files reads the small files below dir by their relative path.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() > 1<<20 {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		all[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
