package settle

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
)

func (p *purse) account() ledger.Account {
	return ledger.Account{Owner: p.org, Purpose: ledger.Wallet, Currency: p.currency}
}

// In a transaction leases are locked first, then budgets, then accounts, each in the order of their ids; the settler
// does the same, so that they cannot deadlock.

// borrow extends the scope's lease by need at least and want at most, and returns what it is granted
// in all. Called with the purse's lending slot held and mu free. An answer that was lost does no harm:
// the next one tells the whole amount.
func (b *Bank) borrow(ctx context.Context, s *scope, need, want int64) (granted int64, err error) {
	err = b.db.Update(ctx, func(tx *db.Tx) error {
		_, err := b.lock(tx, s)
		if err != nil {
			return err
		}
		var take int64
		if s.budget != "" {
			take, err = reserveBudget(tx, s.budget, s.start, need, want)
		} else {
			take, err = reserveWallet(tx, s.purse.account(), need, want)
		}
		if err != nil {
			return err
		}
		return tx.QueryRow(`UPDATE credit_lease SET granted = granted + $1 WHERE id = $2 AND state = 'open' RETURNING granted`, take, s.lease.ID("lse")).Scan(&granted)
	})
	return granted, err
}

// lock locks the scope's lease, if need be one of nothing, and returns what is granted. One that another transaction is
// writing it waits for: a grant whose answer was lost may be committed only now, and no SELECT would see it.
func (b *Bank) lock(tx *db.Tx, s *scope) (granted int64, err error) {
	kind := "wallet"
	if s.budget != "" {
		kind = "budget"
	}
	err = tx.QueryRow(`INSERT INTO credit_lease (id, spool, epoch, kind, org, currency, budget, start, granted, state, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 'open', $9) ON CONFLICT (id) DO UPDATE SET state = credit_lease.state RETURNING granted`,
		s.lease.ID("lse"), b.o.Spool, int64(b.o.Epoch), kind, s.purse.org, s.purse.currency, s.budget, s.start, db.Micros(tx.Now())).Scan(&granted)
	return granted, err
}

// share is what a lease gets of what is free: no more than half, unless the call in hand needs it, since other
// nodes want some too.
func share(free, need, want int64) int64 { return max(need, min(want, free/2)) }

func reserveWallet(tx *db.Tx, a ledger.Account, need, want int64) (int64, error) {
	v, err := ledger.Balance(tx, a)
	if err != nil {
		return 0, err
	}
	return ledger.ReserveFunds(tx, a, need, share(v.Balance-v.Reserved, need, want))
}

// giveBack returns what idle leases (all, when the node stops) have left. It tells the database what to keep, not
// what to subtract, so that it is right whatever became of transactions whose answer was lost.
func (b *Bank) giveBack(ctx context.Context, p *purse, all bool) error {
	select {
	case p.lending <- struct{}{}:
		defer func() { <-p.lending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	parts := p.idle(b.tick.Load(), b.o, all)
	for i := range parts {
		x := &parts[i]
		x.s.granted, x.s.low = x.keep, 0 // no call may take it while it is on its way
		x.s.denied += x.back             // what the database lacked then, it has more of now
	}
	p.mu.Unlock()
	if len(parts) == 0 {
		return nil
	}
	err := b.db.Update(ctx, func(tx *db.Tx) error { return b.returnLeases(tx, p.account(), parts) })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range parts {
		switch {
		case err == nil:
			x.s.unsure = false
		case errors.Is(err, db.ErrInDoubt):
			x.s.unsure = true
		default:
			x.s.granted += x.back // it did not happen
		}
	}
	return err
}

// part is what a lease keeps and what it gives back, in nano-units.
type part struct {
	s          *scope
	keep, back int64
}

// idle lists what can be returned, in the order of lease ids. Called with mu held.
func (p *purse) idle(now int64, o BankOptions, all bool) []part {
	var parts []part
	for _, s := range p.scopes() {
		if all && s.granted > s.used || s.unsure || s.idle(now, o) {
			parts = append(parts, part{s, s.used, s.granted - s.used})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return bytes.Compare(a.s.lease[:], b.s.lease[:]) })
	return parts
}

func (b *Bank) returnLeases(tx *db.Tx, wallet ledger.Account, parts []part) error {
	var back refund
	for _, x := range parts {
		granted, err := b.lock(tx, x.s)
		if err != nil {
			return err
		}
		id := x.s.lease.ID("lse")
		n, err := tx.Exec(`UPDATE credit_lease SET granted = $1 WHERE id = $2 AND state = 'open' AND spent <= $3 AND granted >= $4`, x.keep, id, x.keep, x.keep)
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("settle: lease %s of %d nano-units cannot be cut to %d", id, granted, x.keep)
		}
		back.add(wallet, x.s.budget, x.s.start, granted-x.keep)
	}
	return back.pay(tx)
}

// refund gathers what goes back to budgets and wallets.
type refund struct {
	budgets map[budgetKey]int64
	wallets map[ledger.Account]int64
}

type budgetKey struct {
	id    string
	start int64
}

func (r *refund) add(wallet ledger.Account, budget string, start, n int64) {
	if r.wallets == nil {
		r.budgets, r.wallets = map[budgetKey]int64{}, map[ledger.Account]int64{}
	}
	switch {
	case n == 0:
	case budget != "":
		r.budgets[budgetKey{budget, start}] += n
	default:
		r.wallets[wallet] += n
	}
}

func (r *refund) pay(tx *db.Tx) error {
	for _, k := range slices.SortedFunc(maps.Keys(r.budgets), compareBudgets) {
		if err := unreserveBudget(tx, k.id, k.start, r.budgets[k]); err != nil {
			return err
		}
	}
	for _, a := range slices.SortedFunc(maps.Keys(r.wallets), func(a, b ledger.Account) int { return cmp.Compare(a.ID(), b.ID()) }) {
		if err := ledger.Unreserve(tx, a, r.wallets[a]); err != nil {
			return err
		}
	}
	return nil
}

func compareBudgets(a, b budgetKey) int {
	return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.start, b.start))
}

// closeLeases returns what leases of dead epochs of the spool have left. Only after everything those
// epochs wrote was settled.
func closeLeases(tx *db.Tx, spoolID string, epoch uint64) error {
	rows, err := tx.Query(`SELECT org, currency, budget, start, granted - spent FROM credit_lease
		WHERE spool = $1 AND epoch < $2 AND state = 'open' ORDER BY id`+tx.Dialect().ForUpdate(), spoolID, int64(epoch))
	if err != nil {
		return err
	}
	defer rows.Close()
	var back refund
	for rows.Next() {
		wallet := ledger.Account{Purpose: ledger.Wallet}
		var budget string
		var start, left int64
		if err := rows.Scan(&wallet.Owner, &wallet.Currency, &budget, &start, &left); err != nil {
			return err
		}
		back.add(wallet, budget, start, left)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE credit_lease SET state = 'closed', granted = spent WHERE spool = $1 AND epoch < $2 AND state = 'open'`, spoolID, int64(epoch))
	if err != nil {
		return err
	}
	return back.pay(tx)
}
