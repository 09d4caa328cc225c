package settle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Budget limits what may be spent of a wallet, in all or within each day or month. Keys and
// organisations refer to it by id.
type Budget struct {
	ID       string
	Org      string
	Name     string
	Currency string
	Amount   int64  // nano-units
	Span     string // total, day or month
	Zone     string // IANA name; days and months begin at its midnight
	Version  int64
	Created  time.Time
	Spent    int64 // of the present period, settled
	Held     int64 // of the present period, leased and not spent
}

// ValidateBudget checks the fields that a person gives, and fills in the defaults.
func ValidateBudget(b *Budget) error {
	bad := problem.New(problem.Unprocessable, "settle.budget_invalid", "the budget is not valid")
	e := bad
	if b.Amount < 0 {
		e = e.WithField("amount", "must not be negative")
	}
	if b.Currency == "" {
		e = e.WithField("currency", "is missing")
	}
	if b.Span == "" {
		b.Span = "total"
	}
	if b.Span != "total" && b.Span != "day" && b.Span != "month" {
		e = e.WithField("span", "must be total, day or month")
	}
	if b.Zone == "" {
		b.Zone = "UTC"
	}
	if _, err := time.LoadLocation(b.Zone); err != nil {
		e = e.WithField("zone", "is no IANA time zone")
	}
	if e != bad {
		return e
	}
	return nil
}

// CreateBudget writes the budget and assigns its id.
func CreateBudget(tx *db.Tx, b *Budget) error {
	if err := ValidateBudget(b); err != nil {
		return err
	}
	b.ID, b.Version, b.Created = db.NewID("bud", tx.Now()), 1, tx.Now()
	_, err := tx.Exec(`INSERT INTO budget (id, org, name, currency, amount, span, zone, state, version, created) VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', 1, $8)`,
		b.ID, b.Org, b.Name, b.Currency, b.Amount, b.Span, b.Zone, db.Micros(b.Created))
	return err
}

// UpdateBudget changes name and amount of the budget when its version is still b.Version. A lower amount
// works as leases are renewed: what nodes hold already may still be spent.
func UpdateBudget(tx *db.Tx, b *Budget) error {
	if err := ValidateBudget(b); err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE budget SET name = $1, amount = $2, version = version + 1 WHERE id = $3 AND version = $4`, b.Name, b.Amount, b.ID, b.Version)
	if err == nil && n != 1 {
		err = problem.New(problem.Precondition, "settle.budget_stale", "the budget was changed meanwhile; read it again, then repeat the change")
	}
	b.Version++
	return err
}

const selectBudget = `SELECT id, org, name, currency, amount, span, zone, version, created FROM budget `

func scanBudget(scan func(...any) error) (b Budget, err error) {
	var created int64
	err = scan(&b.ID, &b.Org, &b.Name, &b.Currency, &b.Amount, &b.Span, &b.Zone, &b.Version, &created)
	b.Created = db.Time(created)
	return b, err
}

// GetBudget reads a budget with what is spent and held of its present period.
func GetBudget(tx *db.Tx, id string) (Budget, error) {
	b, err := scanBudget(tx.QueryRow(selectBudget+`WHERE id = $1`, id).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return b, problem.New(problem.NotFound, "settle.budget_unknown", "there is no budget with the id %q", id)
	}
	if err != nil {
		return b, err
	}
	return b, b.readPeriod(tx)
}

func (b *Budget) readPeriod(tx *db.Tx) error {
	start, _, err := period(b.Span, b.Zone, tx.Now())
	if err != nil {
		return err
	}
	err = tx.QueryRow(`SELECT spent, reserved FROM budget_period WHERE budget = $1 AND start = $2`, b.ID, start).Scan(&b.Spent, &b.Held)
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	return err
}

// ListBudgets lists the budgets of an organisation by id.
func ListBudgets(tx *db.Tx, org, after string, limit int) (list []Budget, more bool, err error) {
	rows, err := tx.Query(selectBudget+`WHERE org = $1 AND id > $2 ORDER BY id LIMIT $3`, org, after, int64(limit+1))
	if err != nil {
		return nil, false, err
	}
	for rows.Next() {
		b, err := scanBudget(rows.Scan)
		if err != nil {
			rows.Close()
			return nil, false, err
		}
		list = append(list, b)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, false, err
	}
	if more = len(list) > limit; more {
		list = list[:limit]
	}
	for i := range list {
		if err := list[i].readPeriod(tx); err != nil {
			return nil, false, err
		}
	}
	return list, more, nil
}

// period gives the bounds of the period that contains now, in UTC microseconds; end is 0 for never.
func period(span, zone string, now time.Time) (start, end int64, err error) {
	if span == "total" {
		return 0, 0, nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return 0, 0, err
	}
	y, m, d := now.In(loc).Date()
	switch span {
	case "day":
		return midnight(y, m, d, loc), midnight(y, m, d+1, loc), nil
	case "month":
		return midnight(y, m, 1, loc), midnight(y, m+1, 1, loc), nil
	}
	return 0, 0, fmt.Errorf("settle: no such span: %q", span)
}

// midnight is when the day begins. Where the clocks go forward at midnight there is no 00:00, and time.Date may
// answer with an hour of the day before: the day begins with the change then.
func midnight(y int, m time.Month, d int, loc *time.Location) int64 {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	ty, tm, td := t.Date()
	if time.Date(ty, tm, td, 0, 0, 0, 0, time.UTC).Before(time.Date(y, m, d, 0, 0, 0, 0, time.UTC)) {
		_, t = t.ZoneBounds()
	}
	return db.Micros(t)
}

// reserveBudget is ledger.ReserveFunds for the period of a budget.
func reserveBudget(tx *db.Tx, id string, start, need, want int64) (int64, error) {
	var amount int64
	if err := tx.QueryRow(`SELECT amount FROM budget WHERE id = $1`, id).Scan(&amount); err != nil {
		return 0, err
	}
	if _, err := tx.Exec(`INSERT INTO budget_period (budget, start) VALUES ($1, $2) ON CONFLICT DO NOTHING`, id, start); err != nil {
		return 0, err
	}
	var spent, reserved int64
	if err := tx.QueryRow(`SELECT spent, reserved FROM budget_period WHERE budget = $1 AND start = $2`+tx.Dialect().ForUpdate(), id, start).Scan(&spent, &reserved); err != nil {
		return 0, err
	}
	free := amount - spent - reserved
	if free < need || free <= 0 {
		return 0, ledger.ErrFunds
	}
	take := share(free, need, want)
	_, err := tx.Exec(`UPDATE budget_period SET reserved = reserved + $1 WHERE budget = $2 AND start = $3`, take, id, start)
	return take, err
}

func unreserveBudget(tx *db.Tx, id string, start, amount int64) error {
	n, err := tx.Exec(`UPDATE budget_period SET reserved = reserved - $1 WHERE budget = $2 AND start = $3 AND reserved >= $4`, amount, id, start, amount)
	if err == nil && n != 1 {
		err = fmt.Errorf("settle: %d more than is reserved on budget %s", amount, id)
	}
	return err
}

// loadBudgets makes scopes for the budgets that the purse does not know, or whose period is over. Called with the
// lending slot held.
func (b *Bank) loadBudgets(ctx context.Context, p *purse, ids []string, now int64) error {
	var missing []string
	p.mu.Lock()
	for _, id := range ids {
		if s := p.budgets[id]; s == nil || s.over(now) {
			missing = append(missing, id)
		}
	}
	p.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	var fresh []*scope
	err := b.db.View(ctx, func(tx *db.Tx) error {
		fresh = fresh[:0]
		for _, id := range missing {
			def, err := GetBudget(tx, id)
			if err != nil {
				return err
			}
			if def.Currency != p.currency {
				return errCross
			}
			start, end, err := period(def.Span, def.Zone, db.Time(now))
			if err != nil {
				return err
			}
			fresh = append(fresh, &scope{purse: p, lease: db.NewUUID(b.clock.Now()), budget: id, start: start, until: end})
		}
		return nil
	})
	if err != nil {
		if problem.Is(err, problem.Forbidden) {
			return err
		}
		return errNoLease.Because(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range fresh {
		if old := p.budgets[s.budget]; old != nil {
			// Calls of the old period still hold of it; recovery or Stop returns what it has left.
			p.past = append(p.past, old)
		}
		p.budgets[s.budget] = s
	}
	return nil
}
