package settle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// Contract is a subscription as the closing of its periods needs it.
type Contract struct {
	Subscription, Org, Provider string
	PlanVersion                 db.UUID
	Started                     time.Time
	Ended                       time.Time                                 // zero: it goes on
	Period                      func(at time.Time) (start, end time.Time) // that contains at; periods leave no gap
}

// CloserOptions configure a Closer.
type CloserOptions struct {
	Platform string // owner of the platform accounts
	Terms    func(ctx context.Context, planVersion db.UUID) (Terms, error)
	// Contracts pages through all subscriptions, ended ones included, by id.
	Contracts func(ctx context.Context, after string, limit int) (list []Contract, more bool, err error)
	Clock     clock.Clock
	Grace     time.Duration // how long after a period's end its usage may still arrive; default 1 h
}

// Closer posts what no single call is charged for: flat fees, and what only the whole period can tell (minimum,
// maximum, true-up of a commitment). It finds what is due by state: each period of each subscription is opened and
// closed once, however long nobody looked. A consumer whose wallet does not cover it owes the rest (receivable).
//
// Usage that arrives after the grace counts for its period's tiers, but no longer for its minimum or commitment.
type Closer struct {
	o  CloserOptions
	db *db.DB
}

// NewCloser returns a Closer.
func NewCloser(d *db.DB, o CloserOptions) *Closer {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Grace == 0 {
		o.Grace = time.Hour
	}
	return &Closer{o, d}
}

// The kinds of ledger transactions that open and close periods; the cause is subscription/start.
const (
	KindOpening = "opening"
	KindClosing = "closing"
)

// Run opens and closes all that is due, and returns how many periods it touched.
func (c *Closer) Run(ctx context.Context) (n int, err error) {
	var failed []error
	for after, more := "", true; more; {
		var list []Contract
		if list, more, err = c.o.Contracts(ctx, after, 500); err != nil {
			return n, err
		}
		for i := range list {
			after = list[i].Subscription
			k, err := c.contract(ctx, &list[i])
			n += k
			if err != nil { // one subscription's fault does not keep the others from being billed
				failed = append(failed, fmt.Errorf("subscription %s: %w", after, err))
			}
		}
	}
	return n, errors.Join(failed...)
}

// contract does what is due for one subscription.
func (c *Closer) contract(ctx context.Context, k *Contract) (n int, err error) {
	t, err := c.o.Terms(ctx, k.PlanVersion)
	if err != nil {
		return 0, err
	}
	opening, err := t.Card.Opening()
	if err != nil {
		return 0, err
	}
	atZero, err := t.Card.Closing(nil)
	if err != nil {
		return 0, err
	}
	if len(opening) == 0 && len(atZero) == 0 && !t.Card.NeedsState() {
		return 0, nil // nothing but calls is ever charged
	}
	done, err := c.done(ctx, k.Subscription)
	if err != nil {
		return 0, err
	}
	now := c.o.Clock.Now()
	for at := k.Started; ; {
		start, end := k.Period(at)
		if start.After(now) || !k.Ended.IsZero() && !start.Before(k.Ended) && at != k.Started {
			return n, nil
		}
		if len(opening) > 0 && !done[mark{db.Micros(start), KindOpening}] {
			if err := c.post(ctx, k, t, start, KindOpening, func(*db.Tx) ([]rating.Adjustment, error) { return opening, nil }); err != nil {
				return n, err
			}
			n++
		}
		over := end
		if !k.Ended.IsZero() && k.Ended.Before(end) {
			over = k.Ended
		}
		if !over.Add(c.o.Grace).After(now) && !done[mark{db.Micros(start), KindClosing}] {
			err := c.post(ctx, k, t, start, KindClosing, func(tx *db.Tx) ([]rating.Adjustment, error) {
				s, err := periodOf(tx, k, start)
				if err != nil {
					return nil, err
				}
				return t.Card.Closing(s)
			})
			if err != nil {
				return n, err
			}
			n++
		}
		at = end
	}
}

// mark is an opening or closing that has been posted.
type mark struct {
	start int64
	kind  string
}

func (c *Closer) done(ctx context.Context, subscription string) (done map[mark]bool, err error) {
	err = c.db.View(ctx, func(tx *db.Tx) error {
		done = map[mark]bool{}
		rows, err := tx.Query(`SELECT start, kind FROM period_closing WHERE subscription = $1`, subscription)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var m mark
			if err := rows.Scan(&m.start, &m.kind); err != nil {
				return err
			}
			done[m] = true
		}
		return rows.Err()
	})
	return done, err
}

// periodOf is what the subscription has used in the period, as the settler keeps it.
func periodOf(tx *db.Tx, k *Contract, start time.Time) (rating.State, error) {
	var text string
	err := tx.QueryRow(`SELECT state FROM period_usage WHERE subscription = $1 AND start = $2 AND plan_version = $3`+tx.Dialect().ForUpdate(),
		k.Subscription, db.Micros(start), k.PlanVersion.ID("plv")).Scan(&text)
	if errors.Is(err, db.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s rating.State
	return s, json.Unmarshal([]byte(text), &s)
}

// post moves the money of an opening or closing and marks it, in one transaction.
func (c *Closer) post(ctx context.Context, k *Contract, t Terms, start time.Time, kind string, adjust func(*db.Tx) ([]rating.Adjustment, error)) error {
	return c.db.Update(ctx, func(tx *db.Tx) error {
		list, err := adjust(tx)
		if err != nil {
			return err
		}
		amount, kinds := int64(0), make([]string, len(list))
		for i, a := range list {
			if amount, err = money.AddNano(amount, a.Nano); err != nil {
				return err
			}
			kinds[i] = string(a.Kind)
		}
		memo := strings.Join(kinds, ", ")
		cause := fmt.Sprintf("%s/%d", k.Subscription, db.Micros(start))
		txn := ""
		if amount != 0 {
			postings, err := c.postings(tx, k, t, amount)
			if err != nil {
				return err
			}
			if txn, _, err = ledger.Post(tx, ledger.Transaction{Kind: kind, Cause: cause, Memo: memo, Actor: "settle", Postings: postings}); err != nil {
				return err
			}
		}
		_, err = tx.Exec(`INSERT INTO period_closing (subscription, start, kind, currency, amount, txn, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			k.Subscription, db.Micros(start), kind, t.Currency, amount, txn, db.Micros(tx.Now()))
		return err
	})
}

// postings splits the amount between provider and platform, and takes it from the wallet as far as that is free.
func (c *Closer) postings(tx *db.Tx, k *Contract, t Terms, amount int64) ([]ledger.Posting, error) {
	account := func(owner string, p ledger.Purpose) ledger.Account {
		return ledger.Account{Owner: owner, Purpose: p, Currency: t.Currency}
	}
	wallet := account(k.Org, ledger.Wallet)
	paid := amount // a negative amount goes back to the wallet
	if amount > 0 {
		var err error
		if paid, err = ledger.ReserveFunds(tx, wallet, 1, amount); err != nil && !errors.Is(err, ledger.ErrFunds) {
			return nil, err
		}
	}
	commission, err := money.MulDivRound(amount, t.CommissionPPM, 1e6)
	if err != nil {
		return nil, err
	}
	list := []ledger.Posting{{Account: wallet, Amount: -paid, Release: max(paid, 0)}}
	if owed := amount - paid; owed > 0 {
		list = append(list, ledger.Posting{Account: account(k.Org, ledger.Receivable), Amount: -owed})
	}
	return append(list,
		ledger.Posting{Account: account(k.Provider, ledger.Payable), Amount: amount - commission},
		ledger.Posting{Account: account(c.o.Platform, ledger.Commission), Amount: commission}), nil
}
