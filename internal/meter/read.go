package meter

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func (a rollupKey) compare(b rollupKey) int {
	return cmp.Or(cmp.Compare(a.org, b.org), cmp.Compare(a.hour, b.hour), cmp.Compare(a.key, b.key), cmp.Compare(a.provider, b.provider),
		cmp.Compare(a.product, b.product), cmp.Compare(a.model, b.model), cmp.Compare(a.currency, b.currency))
}

// Store answers questions about usage.
type Store struct{ db *db.DB }

// New returns a Store on d.
func New(d *db.DB) *Store { return &Store{d} }

// Filter selects events or rollups. Empty fields do not restrict. From is inclusive, To exclusive; rollups
// are cut at full hours.
type Filter struct {
	Org, Key, Provider, Product, Model string
	From, To                           time.Time
}

// where renders the filter with placeholders from $1.
func (f Filter) where(timeCol string) (string, []any) {
	cond := []string{"1 = 1"}
	var args []any
	add := func(text string, v any) {
		args = append(args, v)
		cond = append(cond, text+" $"+strconv.Itoa(len(args)))
	}
	for _, c := range [...]struct{ col, v string }{{"org", f.Org}, {"api_key", f.Key}, {"provider", f.Provider}, {"product", f.Product}, {"model", f.Model}} {
		if c.v != "" {
			add(c.col+" =", c.v)
		}
	}
	if !f.From.IsZero() {
		add(timeCol+" >=", db.Micros(f.From))
	}
	if !f.To.IsZero() {
		add(timeCol+" <", db.Micros(f.To))
	}
	return strings.Join(cond, " AND "), args
}

// Sum is usage added up.
type Sum struct {
	Group      string // value of the grouping, empty when there is none
	Currency   string
	Events     int64
	Failures   int64
	Charge     int64 // nano-units
	Commission int64 // nano-units
	Usage      [Classes]int64
	Units      []Units // by meter; of calls that are measured in units
	Duration   int64   // microseconds, added up
}

// Units is an amount of a meter.
type Units struct {
	Meter       string
	Thousandths int64
}

// groupings maps the words that callers use to expressions over a rollup.
var groupings = map[string]string{"": "''", "org": "org", "key": "api_key", "provider": "provider", "product": "product", "model": "model",
	"hour": "CAST(hour AS TEXT)", "day": "CAST(hour - hour % 86400000000 AS TEXT)"}

// Sum adds up usage from the rollups, per currency and group. Group is empty, org, key, provider, product,
// model, hour or day (the start in UTC microseconds).
func (s *Store) Sum(ctx context.Context, f Filter, group string) (list []Sum, err error) {
	expr, ok := groupings[group]
	if !ok {
		return nil, problem.New(problem.Invalid, "meter.group", "usage cannot be grouped by %q; use org, key, provider, product, model, hour or day", group)
	}
	where, args := f.where("hour")
	cols := make([]string, 0, 12)
	for _, c := range rollupCols[7:] {
		cols = append(cols, "CAST(SUM("+c+") AS BIGINT)")
	}
	err = s.db.View(ctx, func(tx *db.Tx) error {
		list = nil
		rows, err := tx.Query(`SELECT `+expr+`, currency, `+strings.Join(cols, ", ")+` FROM usage_rollup WHERE `+where+` GROUP BY 1, 2 ORDER BY 1, 2`, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var v Sum
			dest := []any{&v.Group, &v.Currency, &v.Events, &v.Failures, &v.Charge, &v.Commission}
			for i := range v.Usage {
				dest = append(dest, &v.Usage[i])
			}
			if err := rows.Scan(append(dest, &v.Duration)...); err != nil {
				return err
			}
			list = append(list, v)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		return sumUnits(tx, list, expr, where, args)
	})
	return list, err
}

// sumUnits adds to the sums what was used by meter.
func sumUnits(tx *db.Tx, list []Sum, expr, where string, args []any) error {
	rows, err := tx.Query(`SELECT `+expr+`, currency, meter, CAST(SUM(units) AS BIGINT) FROM usage_unit WHERE `+where+` GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	at := make(map[[2]string]int, len(list))
	for i := range list {
		at[[2]string{list[i].Group, list[i].Currency}] = i
	}
	for rows.Next() {
		var key [2]string
		var u Units
		if err := rows.Scan(&key[0], &key[1], &u.Meter, &u.Thousandths); err != nil {
			return err
		}
		if i, ok := at[key]; ok {
			list[i].Units = append(list[i].Units, u)
		}
	}
	return rows.Err()
}

// List gives events, newest first; before is the id of the last one seen.
func (s *Store) List(ctx context.Context, f Filter, before string, limit int) (list []Event, more bool, err error) {
	where, args := f.where("at")
	if before != "" {
		args = append(args, before)
		where += " AND id < $" + strconv.Itoa(len(args))
	}
	args = append(args, int64(limit+1))
	err = s.db.View(ctx, func(tx *db.Tx) error {
		list = nil
		rows, err := tx.Query(`SELECT `+strings.Join(eventCols, ", ")+` FROM usage_event WHERE `+where+` ORDER BY id DESC LIMIT $`+strconv.Itoa(len(args)), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Event
			if err := rows.Scan(e.dest()...); err != nil {
				return err
			}
			list = append(list, e)
		}
		return rows.Err()
	})
	if len(list) > limit {
		return list[:limit], true, err
	}
	return list, false, err
}

func (e *Event) dest() []any {
	d := []any{&e.ID, &e.At, &e.Org, &e.Key, &e.Provider, &e.Product, &e.Version, &e.Upstream, &e.Subscription, &e.PlanVersion,
		&e.Model, &e.Outcome, &e.Status, &e.Flags, &e.Attempts, &e.Currency, &e.Charge, &e.Commission, &e.Hold, &e.Excess}
	for i := range e.Usage {
		d = append(d, &e.Usage[i])
	}
	return append(d, &e.BytesIn, &e.BytesOut, &e.Duration, &e.FirstByte, &e.RequestDigest, &e.ResponseDigest, &e.Txn, &e.Meter, &e.Units)
}

// Get reads one event; problem.NotFound when it is not there (yet).
func (s *Store) Get(ctx context.Context, id string) (e Event, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		err := tx.QueryRow(`SELECT `+strings.Join(eventCols, ", ")+` FROM usage_event WHERE id = $1`, id).Scan(e.dest()...)
		if errors.Is(err, db.ErrNoRows) {
			return problem.New(problem.NotFound, "meter.event_unknown", "there is no call with the id %q", id)
		}
		return err
	})
	return e, err
}

// Totals adds up all events by currency, from the events themselves: for the proof that they
// equal what the ledger moved.
func Totals(tx *db.Tx) (charge, commission, events map[string]int64, err error) {
	return totals(tx, `SELECT currency, CAST(SUM(charge) AS BIGINT), CAST(SUM(commission) AS BIGINT), COUNT(*) FROM usage_event GROUP BY currency`)
}

// RollupTotals is Totals from the rollups.
func RollupTotals(tx *db.Tx) (charge, commission, events map[string]int64, err error) {
	return totals(tx, `SELECT currency, CAST(SUM(charge) AS BIGINT), CAST(SUM(commission) AS BIGINT), CAST(SUM(events) AS BIGINT) FROM usage_rollup GROUP BY currency`)
}

func totals(tx *db.Tx, query string) (charge, commission, events map[string]int64, err error) {
	charge, commission, events = map[string]int64{}, map[string]int64{}, map[string]int64{}
	rows, err := tx.Query(query)
	if err != nil {
		return nil, nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var cur string
		var a, b, n int64
		if err := rows.Scan(&cur, &a, &b, &n); err != nil {
			return nil, nil, nil, err
		}
		charge[cur], commission[cur], events[cur] = a, b, n
	}
	return charge, commission, events, rows.Err()
}
