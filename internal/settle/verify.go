package settle

import (
	"context"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
)

// Report is the proof of the whole book: what ledger.Verify proves, and that usage, ledger, leases and budgets agree.
type Report struct {
	OK bool `json:"ok"`
	ledger.Report
	Events    int64 `json:"events"`
	Leases    int64 `json:"leases"`    // open
	Suspended int64 `json:"suspended"` // calls that could not be settled and wait for a person
}

// Verify proves, in one consistent view:
//   - everything ledger.Verify does;
//   - Σ event charges = Σ debits of wallets caused by usage, and Σ commissions likewise, by currency;
//   - rollups = events;
//   - each account's and budget's reservation = what its open leases have left, and each budget's spending = theirs.
func Verify(ctx context.Context, d *db.DB) (r *Report, err error) {
	err = d.View(ctx, func(tx *db.Tx) error {
		r, err = verify(tx)
		return err
	})
	return r, err
}

func verify(tx *db.Tx) (*Report, error) {
	l, err := ledger.Verify(tx)
	if err != nil {
		return nil, err
	}
	r := &Report{Report: *l}
	for _, check := range []func(*db.Tx, *Report) error{verifyUsage, verifyAccountLeases, verifyBudgetLeases, verifySuspense} {
		if err := check(tx, r); err != nil {
			return nil, err
		}
	}
	r.OK = len(r.Faults) == 0
	return r, nil
}

func verifyUsage(tx *db.Tx, r *Report) error {
	charge, commission, events, err := meter.Totals(tx)
	if err != nil {
		return err
	}
	if err := verifyRollups(tx, r, charge, commission, events); err != nil {
		return err
	}
	for _, n := range events {
		r.Events += n
	}
	rows, err := tx.Query(`SELECT a.currency, a.purpose, CAST(SUM(p.amount) AS BIGINT) FROM ledger_transaction t JOIN ledger_posting p ON p.txn = t.id
		JOIN ledger_account a ON a.id = p.account WHERE t.kind = $1 GROUP BY a.currency, a.purpose`, KindUsage)
	if err != nil {
		return err
	}
	defer rows.Close()
	moved := map[[2]string]int64{}
	for rows.Next() {
		var cur, purpose string
		var sum int64
		if err := rows.Scan(&cur, &purpose, &sum); err != nil {
			return err
		}
		moved[[2]string{cur, purpose}] = sum
		if _, ok := charge[cur]; !ok && sum != 0 {
			r.Faultf("the ledger moved %d %s for usage, but there is no event", sum, cur)
		}
	}
	for cur, sum := range charge {
		debits := -(moved[[2]string{cur, string(ledger.Wallet)}] + moved[[2]string{cur, string(ledger.Credits)}] + moved[[2]string{cur, string(ledger.Receivable)}])
		if sum != debits {
			r.Faultf("events charge %d %s, wallets were debited %d", sum, cur, debits)
		}
		if got := moved[[2]string{cur, string(ledger.Commission)}]; commission[cur] != got {
			r.Faultf("events give %d %s commission, %d was posted", commission[cur], cur, got)
		}
		if got := moved[[2]string{cur, string(ledger.Payable)}]; sum-commission[cur] != got {
			r.Faultf("events give providers %d %s, %d was posted", sum-commission[cur], cur, got)
		}
	}
	return rows.Err()
}

func verifyRollups(tx *db.Tx, r *Report, charge, commission, events map[string]int64) error {
	charge2, commission2, events2, err := meter.RollupTotals(tx)
	if err != nil {
		return err
	}
	for cur := range events2 {
		if _, ok := events[cur]; !ok {
			r.Faultf("rollups know %s, events do not", cur)
		}
	}
	for cur := range events {
		if charge[cur] != charge2[cur] || commission[cur] != commission2[cur] || events[cur] != events2[cur] {
			r.Faultf("rollups in %s: %d events charge %d; the events themselves: %d charge %d", cur, events2[cur], charge2[cur], events[cur], charge[cur])
		}
	}
	return nil
}

func verifyAccountLeases(tx *db.Tx, r *Report) error {
	if err := tx.QueryRow(`SELECT COUNT(*) FROM credit_lease WHERE state = 'open'`).Scan(&r.Leases); err != nil {
		return err
	}
	rows, err := tx.Query(`SELECT a.id, a.owner, a.reserved, CAST(COALESCE(l.remaining, 0) AS BIGINT) FROM ledger_account a LEFT JOIN
		(SELECT org, currency, SUM(granted - spent) AS remaining FROM credit_lease WHERE state = 'open' AND kind = 'wallet' GROUP BY org, currency) l
		ON l.org = a.owner AND l.currency = a.currency AND a.purpose = 'wallet' WHERE a.reserved <> COALESCE(l.remaining, 0)`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, owner string
		var reserved, left int64
		if err := rows.Scan(&id, &owner, &reserved, &left); err != nil {
			return err
		}
		r.Faultf("account %s of %s has %d reserved, its open leases have %d left", id, owner, reserved, left)
	}
	return rows.Err()
}

func verifyBudgetLeases(tx *db.Tx, r *Report) error {
	rows, err := tx.Query(`SELECT b.budget, b.start, b.spent, b.reserved, CAST(COALESCE(l.remaining, 0) AS BIGINT), CAST(COALESCE(l.spent, 0) AS BIGINT) FROM budget_period b LEFT JOIN
		(SELECT budget, start, SUM(CASE WHEN state = 'open' THEN granted - spent ELSE 0 END) AS remaining, SUM(spent) AS spent FROM credit_lease WHERE kind = 'budget' GROUP BY budget, start) l
		ON l.budget = b.budget AND l.start = b.start`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var start, spent, reserved, left, leased int64
		if err := rows.Scan(&id, &start, &spent, &reserved, &left, &leased); err != nil {
			return err
		}
		if reserved != left {
			r.Faultf("budget %s has %d reserved, its open leases have %d left", id, reserved, left)
		}
		if leased != spent {
			r.Faultf("budget %s has %d spent, its leases spent %d", id, spent, leased)
		}
	}
	return rows.Err()
}

func verifySuspense(tx *db.Tx, r *Report) error {
	if err := tx.QueryRow(`SELECT COUNT(*) FROM settle_suspense WHERE resolved IS NULL`).Scan(&r.Suspended); err != nil {
		return err
	}
	if r.Suspended > 0 {
		r.Faultf("%d calls are in suspense: they could not be settled; see doctor", r.Suspended)
	}
	return nil
}

// SuspendedTx counts the calls in suspense.
func SuspendedTx(tx *db.Tx) (n int, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM settle_suspense WHERE resolved IS NULL`).Scan(&n)
	return n, err
}

// Suspended is a call that could not be settled.
type Suspended struct {
	Event, Org, Reason string
	At                 time.Time
}

// Suspense lists the calls in suspense, oldest first.
func Suspense(ctx context.Context, d *db.DB, limit int) (list []Suspended, err error) {
	err = d.View(ctx, func(tx *db.Tx) error {
		list = nil
		rows, err := tx.Query(`SELECT event, org, reason, at FROM settle_suspense WHERE resolved IS NULL ORDER BY event LIMIT $1`, int64(limit))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s Suspended
			var at int64
			if err := rows.Scan(&s.Event, &s.Org, &s.Reason, &at); err != nil {
				return err
			}
			s.At = db.Time(at)
			list = append(list, s)
		}
		return rows.Err()
	})
	return list, err
}
