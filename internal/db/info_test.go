package db_test

import (
	"context"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestInfo(t *testing.T) {
	dbtest.Each(t, []db.Migrations{room("a", one)}, func(t *testing.T, d *db.DB) {
		in, err := d.Info(ctx)
		if err != nil || in.Version == "" || in.Size <= 0 || in.Latency <= 0 || in.Ahead.Abs() > time.Minute {
			t.Errorf("%+v, %v", in, err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := d.Info(gone); err == nil {
			t.Error("no error of a database that cannot be asked")
		}
	})
}

func TestCompare(t *testing.T) {
	dbtest.Each(t, []db.Migrations{room("a", one)}, func(t *testing.T, d *db.DB) {
		for _, c := range []struct {
			name          string
			sets          []db.Migrations
			have, pending int
			id            string
		}{
			{"same", []db.Migrations{room("a", one)}, 1, 0, ""},
			{"pending", []db.Migrations{room("a", one, two), room("b", three)}, 1, 2, ""},
			{"newer", []db.Migrations{room("b", three)}, 1, 0, "db.newer"},
			{"changed", []db.Migrations{room("a", three)}, 1, 0, "db.migration_changed"},
		} {
			have, pending, err := d.Compare(ctx, c.sets...)
			id := ""
			if err != nil {
				id = problem.As(err).ID
			}
			if have != c.have || pending != c.pending || id != c.id {
				t.Errorf("%s: %d %d %v", c.name, have, pending, err)
			}
		}
	})
}
