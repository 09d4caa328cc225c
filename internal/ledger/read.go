package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

// AccountView is an account with its balance.
type AccountView struct {
	ID string
	Account
	Balance  int64 // nano-units, all postings counted
	Reserved int64 // nano-units set aside for leases
}

const selectAccount = `SELECT a.id, a.owner, a.purpose, a.currency, a.balance, a.reserved,
	CASE WHEN a.folded = 1 THEN COALESCE((SELECT CAST(SUM(p.amount) AS BIGINT) FROM ledger_transaction t JOIN ledger_posting p ON p.txn = t.id
		WHERE t.seq IS NULL AND p.account = a.id), 0) ELSE 0 END FROM ledger_account a `

func scanAccount(scan func(...any) error) (v AccountView, err error) {
	var purpose string
	var unfolded int64
	err = scan(&v.ID, &v.Owner, &purpose, &v.Currency, &v.Balance, &v.Reserved, &unfolded)
	v.Purpose = Purpose(purpose)
	v.Balance += unfolded
	return v, err
}

// Balance reads one account; an account that was never used has balance zero.
func Balance(tx *db.Tx, a Account) (AccountView, error) {
	v, err := scanAccount(tx.QueryRow(selectAccount+`WHERE a.id = $1`, a.ID()).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return AccountView{ID: a.ID(), Account: a}, nil
	}
	return v, err
}

// Balance reads one account; see the function of the same name.
func (s *Store) Balance(ctx context.Context, a Account) (v AccountView, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		v, err = Balance(tx, a)
		return err
	})
	return v, err
}

// Accounts lists accounts by id, of one owner unless owner is empty.
func (s *Store) Accounts(ctx context.Context, owner, after string, limit int) (list []AccountView, more bool, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		list = nil
		rows, err := tx.Query(selectAccount+`WHERE ($1 = '' OR a.owner = $2) AND a.id > $3 ORDER BY a.id LIMIT $4`, owner, owner, after, int64(limit+1))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scanAccount(rows.Scan)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return rows.Err()
	})
	if len(list) > limit {
		return list[:limit], true, err
	}
	return list, false, err
}

// Entry is a transaction as it stands in the book.
type Entry struct {
	ID, Kind, Cause, Memo, Actor, Second string
	At                                   time.Time
	Seq                                  int64 // place in the chain; 0 until sealed
	Lines                                []EntryLine
}

// EntryLine is one posting of an Entry.
type EntryLine struct {
	AccountID string
	Account
	Amount int64
}

// lastID comes after every id of a transaction, in any collation.
const lastID = "txn_zzzzzzzzzzzzzzzzzzzzzzzzzzz"

// Transactions lists transactions, newest first, that touch accounts of owner (all when empty). before is the id
// of the last one seen.
func (s *Store) Transactions(ctx context.Context, owner, before string, limit int) (list []Entry, more bool, err error) {
	if before == "" {
		before = lastID
	}
	err = s.db.View(ctx, func(tx *db.Tx) error {
		list = nil
		query, args := `WHERE id < $1 ORDER BY id DESC LIMIT $2`, []any{before, int64(limit + 1)}
		if owner != "" {
			ids, err := recent(tx, owner, before, limit+1)
			if err != nil {
				return err
			}
			query, args = `WHERE id`+tx.Dialect().In("$1")+` ORDER BY id DESC`, []any{ids}
		}
		rows, err := tx.Query(`SELECT id, kind, cause, memo, actor, second, at, COALESCE(seq, 0) FROM ledger_transaction `+query, args...)
		if err != nil {
			return err
		}
		for rows.Next() {
			var e Entry
			var at int64
			if err := rows.Scan(&e.ID, &e.Kind, &e.Cause, &e.Memo, &e.Actor, &e.Second, &at, &e.Seq); err != nil {
				return err
			}
			e.At = db.Time(at)
			list = append(list, e)
		}
		if err := rows.Close(); err != nil {
			return err
		}
		if more = len(list) > limit; more {
			list = list[:limit]
		}
		for i := range list {
			if list[i].Lines, err = lines(tx, list[i].ID, owner); err != nil {
				return err
			}
		}
		return nil
	})
	return list, more, err
}

// recent gives the ids of the newest transactions of the owner's accounts, account by account: an owner has few, each
// with an index by transaction.
func recent(tx *db.Tx, owner, before string, limit int) ([]string, error) {
	accounts, err := column(tx, `SELECT id FROM ledger_account WHERE owner = $1`, owner)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, a := range accounts {
		more, err := column(tx, `SELECT txn FROM ledger_posting WHERE account = $1 AND txn < $2 ORDER BY txn DESC LIMIT $3`, a, before, int64(limit))
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[max(0, len(ids)-limit):], nil
}

func column(tx *db.Tx, query string, args ...any) (list []string, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// lines reads the postings of a transaction; of owner's accounts alone unless owner is empty.
func lines(tx *db.Tx, txn, owner string) ([]EntryLine, error) {
	rows, err := tx.Query(`SELECT a.id, a.owner, a.purpose, a.currency, p.amount FROM ledger_posting p JOIN ledger_account a ON a.id = p.account
		WHERE p.txn = $1 AND ($2 = '' OR a.owner = $3) ORDER BY p.line`, txn, owner, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []EntryLine
	for rows.Next() {
		var l EntryLine
		var purpose string
		if err := rows.Scan(&l.AccountID, &l.Owner, &purpose, &l.Currency, &l.Amount); err != nil {
			return nil, err
		}
		l.Purpose = Purpose(purpose)
		list = append(list, l)
	}
	return list, rows.Err()
}
