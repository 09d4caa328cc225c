package settle

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
)

func (p *purse) account() ledger.Account {
	return ledger.Account{Owner: p.org, Purpose: ledger.Wallet, Currency: p.currency}
}

// borrow extends the scope's lease by need at least and want at most, and returns what it is granted
// in all. Called with the purse's lending slot held and mu free. An answer that was lost does no harm:
// the next one tells the whole amount.
func (b *Bank) borrow(ctx context.Context, s *scope, need, want int64) (granted int64, err error) {
	err = b.db.Update(ctx, func(tx *db.Tx) error {
		take, err := b.reserve(tx, s, need, max(want, need))
		if err != nil {
			return err
		}
		kind := "wallet"
		if s.budget != "" {
			kind = "budget"
		}
		return tx.QueryRow(`INSERT INTO credit_lease (id, spool, epoch, kind, org, currency, budget, start, granted, state, created)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', $10)
			ON CONFLICT (id) DO UPDATE SET granted = credit_lease.granted + excluded.granted RETURNING granted`,
			s.lease.ID("lse"), b.o.Spool, int64(b.o.Epoch), kind, s.purse.org, s.purse.currency, s.budget, s.start, take, db.Micros(tx.Now())).Scan(&granted)
	})
	return granted, err
}

// reserve takes from the wallet or the budget. Never more than half of what is free, unless the call
// in hand needs it: other nodes want some too.
func (b *Bank) reserve(tx *db.Tx, s *scope, need, want int64) (int64, error) {
	if s.budget != "" {
		return reserveBudget(tx, s.budget, s.start, need, want)
	}
	acc, err := ledger.Balance(tx, s.purse.account())
	if err != nil {
		return 0, err
	}
	return ledger.ReserveFunds(tx, s.purse.account(), need, share(acc.Balance-acc.Reserved, need, want))
}

func share(free, need, want int64) int64 { return max(need, min(want, free/2)) }

// giveBack returns what idle leases (all, when the node stops) have left.
func (b *Bank) giveBack(ctx context.Context, p *purse, all bool) error {
	select {
	case p.lending <- struct{}{}:
		defer func() { <-p.lending }()
	case <-ctx.Done():
		return ctx.Err()
	}
	type part struct {
		s *scope
		n int64
	}
	var parts []part
	now := b.tick.Load()
	p.mu.Lock()
	p.past = slices.DeleteFunc(p.past, func(s *scope) bool { return s.open == 0 && s.granted == s.used })
	for _, s := range p.scopes() {
		if n := s.granted - s.used; n > 0 && (all || s.idle(now, b.o)) {
			s.granted -= n // no call may take it while it is on its way
			s.low = 0
			parts = append(parts, part{s, n})
		}
	}
	p.mu.Unlock()
	if len(parts) == 0 {
		return nil
	}
	err := b.db.Update(ctx, func(tx *db.Tx) error {
		for _, x := range parts {
			n, err := tx.Exec(`UPDATE credit_lease SET granted = granted - $1 WHERE id = $2 AND state = 'open' AND granted - $3 >= spent`, x.n, x.s.lease.ID("lse"), x.n)
			if err != nil {
				return err
			}
			if n != 1 {
				return fmt.Errorf("settle: lease %s has less left than %d", x.s.lease.ID("lse"), x.n)
			}
			if err := unreserve(tx, p.account(), x.s.budget, x.s.start, x.n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, db.ErrInDoubt) {
		p.mu.Lock()
		for _, x := range parts {
			x.s.granted += x.n // it did not happen
		}
		p.mu.Unlock()
	}
	return err
}

func unreserve(tx *db.Tx, wallet ledger.Account, budget string, start, n int64) error {
	if budget == "" {
		return ledger.Unreserve(tx, wallet, n)
	}
	return unreserveBudget(tx, budget, start, n)
}

// closeLeases returns what leases of dead epochs of the spool have left. Only after everything those
// epochs wrote was settled.
func closeLeases(tx *db.Tx, spoolID string, epoch uint64) (n int, err error) {
	rows, err := tx.Query(`SELECT id, org, currency, budget, start, granted - spent FROM credit_lease
		WHERE spool = $1 AND epoch < $2 AND state = 'open' ORDER BY id`+tx.Dialect().ForUpdate(), spoolID, int64(epoch))
	if err != nil {
		return 0, err
	}
	type lease struct {
		id, budget  string
		wallet      ledger.Account
		start, left int64
	}
	var list []lease
	for rows.Next() {
		l := lease{wallet: ledger.Account{Purpose: ledger.Wallet}}
		if err := rows.Scan(&l.id, &l.wallet.Owner, &l.wallet.Currency, &l.budget, &l.start, &l.left); err != nil {
			rows.Close()
			return 0, err
		}
		list = append(list, l)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	for i := range list {
		l := &list[i]
		if _, err := tx.Exec(`UPDATE credit_lease SET state = 'closed', granted = spent WHERE id = $1`, l.id); err != nil {
			return 0, err
		}
		if l.left > 0 {
			if err := unreserve(tx, l.wallet, l.budget, l.start, l.left); err != nil {
				return 0, err
			}
		}
	}
	return len(list), nil
}
