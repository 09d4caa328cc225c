package db_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

// eventSets is a table as settlement fills it: twelve columns, six of them text.
var eventSets = []db.Migrations{{Room: "bench", FS: fstest.MapFS{"0001_event.sql": {Data: []byte(`
CREATE TABLE event (
	id TEXT NOT NULL PRIMARY KEY,
	org TEXT NOT NULL, product TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL, currency TEXT NOT NULL,
	at BIGINT NOT NULL, input BIGINT NOT NULL, output BIGINT NOT NULL, charge BIGINT NOT NULL, duration BIGINT NOT NULL,
	digest {{blob}}
) {{without_rowid}}`)}}}}

// BenchmarkInsertRows inserts batches of 1000 rows, one transaction each, synced to disk.
func BenchmarkInsertRows(b *testing.B) {
	cols := strings.Split("id org product model outcome currency at input output charge duration digest", " ")
	const rows = 1000
	var ids, org, product, model, outcome, currency = make([]string, rows), make([]string, rows), make([]string, rows), make([]string, rows), make([]string, rows), make([]string, rows)
	var at, input, output, charge, duration = make([]int64, rows), make([]int64, rows), make([]int64, rows), make([]int64, rows), make([]int64, rows)
	digest := make([][]byte, rows)
	for i := range rows {
		org[i], product[i], model[i] = db.NewID("org", time.Now()), db.NewID("prd", time.Now()), "vendor/model-large"
		outcome[i], currency[i] = "ok", "USD"
		at[i], input[i], output[i], charge[i], duration[i] = int64(i)*1e9, 1234, int64(i), 123456789, 987654
		digest[i] = make([]byte, 32)
	}
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN} {
		for _, suffix := range []string{"", "ON CONFLICT DO NOTHING RETURNING id"} {
			b.Run(name+"/"+strings.ReplaceAll(fmt.Sprintf("%.6s", suffix), " ", ""), func(b *testing.B) {
				d, err := db.Open(ctx, dsn(b), db.Options{})
				if err != nil {
					b.Fatal(err)
				}
				defer d.Close()
				if err := d.Migrate(ctx, eventSets...); err != nil {
					b.Fatal(err)
				}
				n := 0
				for b.Loop() {
					for i := range ids {
						ids[i] = db.NewID("evt", time.Now())
					}
					err := d.Settle(ctx, func(tx *db.Tx) error {
						_, _, err := tx.InsertRows("event", cols, []any{ids, org, product, model, outcome, currency, at, input, output, charge, duration, digest}, suffix)
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
					n += rows
				}
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// BenchmarkTransaction is the cost of a transaction around one small statement.
func BenchmarkTransaction(b *testing.B) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN} {
		d, err := db.Open(ctx, dsn(b), db.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { d.Close() })
		if err := d.Migrate(ctx, sets...); err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/view", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				err := d.View(ctx, func(tx *db.Tx) error { _, err := db.Revision(tx, "migration"); return err })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/update", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := bump(d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
