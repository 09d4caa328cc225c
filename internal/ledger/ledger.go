// Package ledger is the double-entry book: accounts, transactions, postings. Nothing else moves
// money. It does not know why money moves: a transaction names its cause, and the rooms that own
// causes (settle, billing, payout) decide the amounts.
//
// Amounts are nano-units of the account's currency; a positive amount credits the account. A
// balance is what the platform owes the owner (wallet, payable, …), so accounts of what the
// platform has (processor, receivable) or spends (promotion, processor_fee) stand below zero.
//
//	purpose         owner      balance  below zero  folded  meaning
//	wallet          consumer   >= 0     no          no      prepaid money of a consumer
//	credits         consumer   >= 0     no          no      granted credit that burns before the wallet
//	receivable      consumer   <= 0     yes         no      what a consumer owes after use
//	deferred        platform   >= 0     yes         yes     paid for, not yet delivered
//	payable         provider   any      yes         yes     what a provider has earned and not been paid
//	reserve         provider   >= 0     no          no      held back from payouts
//	commission      platform   any      yes         yes     the platform's share of sales
//	tax             platform   any      yes         yes     collected for the authorities
//	processor       platform   <= 0     yes         yes     money that lies at a payment processor
//	processor_fee   platform   <= 0     yes         yes     what processors took
//	payout_transit  platform   any      yes         no      payouts sent, not yet confirmed
//	rounding        platform   any      yes         yes     residue of invoice rounding
//	suspense        platform   any      yes         no      money whose cause is in doubt
//	promotion       platform   <= 0     yes         yes     credit that the platform gave away
//
// Invariants, checked by [Verify]: the postings of a transaction sum to zero in each currency; a
// balance is the sum of the account's postings; nothing is changed or removed once written; the
// transactions form a hash chain. (kind, cause) is unique, so that a cause posts once.
//
// Folded accounts are hot: every batch credits them. Their postings are only appended; [Seal], run
// by the leader, adds them to the balance when it gives the transaction its place in the chain.
// [Balance] counts both parts.
package ledger

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "ledger", FS: files}

// Purpose is what an account is for; the package comment tells each one's sign and owner.
type Purpose string

// The purposes.
const (
	Wallet        Purpose = "wallet"
	Credits       Purpose = "credits"
	Receivable    Purpose = "receivable"
	Deferred      Purpose = "deferred"
	Payable       Purpose = "payable"
	Reserve       Purpose = "reserve"
	Commission    Purpose = "commission"
	Tax           Purpose = "tax"
	Processor     Purpose = "processor"
	ProcessorFee  Purpose = "processor_fee"
	PayoutTransit Purpose = "payout_transit"
	Rounding      Purpose = "rounding"
	Suspense      Purpose = "suspense"
	Promotion     Purpose = "promotion"
)

type rule struct{ mayNegative, folded bool }

var rules = map[Purpose]rule{
	Wallet: {}, Credits: {}, Reserve: {},
	Receivable: {mayNegative: true}, PayoutTransit: {mayNegative: true}, Suspense: {mayNegative: true},
	Deferred: {true, true}, Payable: {true, true}, Commission: {true, true}, Tax: {true, true},
	Processor: {true, true}, ProcessorFee: {true, true}, Rounding: {true, true}, Promotion: {true, true},
}

// Platform owns the platform's accounts. It is no organisation: who operates may change, the book goes on.
const Platform = "platform"

// Account names an account.
type Account struct {
	Owner    string
	Purpose  Purpose
	Currency string
}

// ID is the account's id, derived from its name: knowing the name is knowing the id.
func (a Account) ID() string {
	sum := sha256.Sum256([]byte(a.Owner + "\x00" + string(a.Purpose) + "\x00" + a.Currency))
	return db.UUID(sum[:16]).ID("acc")
}

// Posting is one line of a transaction.
type Posting struct {
	Account Account
	Amount  int64 // nano-units; positive credits
	// Release is how much of the account's reservation this line uses up.
	Release int64
}

// Transaction is a movement of money. (Kind, Cause) names why, and posts at most once.
type Transaction struct {
	ID       string // txn_…; assigned by Post when empty
	Kind     string // usage, grant, topup, payout, refund, adjustment, …
	Cause    string // id of the cause within the kind
	Memo     string
	Actor    string // who did it: a user, a key, or a room
	Second   string // the second person of an adjustment
	Postings []Posting
}

// ErrFunds is returned by Post and Reserve when an account that may not go below zero would.
var ErrFunds = problem.New(problem.Funds, "ledger.insufficient_funds", "insufficient funds; top up the wallet, then try again")

// Post writes the transaction within tx. posted is false, with the earlier transaction's id, when the
// same cause was posted before: nothing is written then. Lines of the same account are netted, and
// accounts are locked in the order of their ids, so that concurrent posts cannot deadlock. After an error, ErrFunds
// included, tx must not be committed.
func Post(tx *db.Tx, t Transaction) (id string, posted bool, err error) {
	lines, err := net(t.Postings)
	if err != nil {
		return "", false, fmt.Errorf("ledger: transaction %s/%s: %w", t.Kind, t.Cause, err)
	}
	if t.ID == "" {
		t.ID = db.NewID("txn", tx.Now())
	}
	n, err := tx.Exec(`INSERT INTO ledger_transaction (id, kind, cause, memo, actor, second, at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (kind, cause) DO NOTHING`,
		t.ID, t.Kind, t.Cause, t.Memo, t.Actor, t.Second, db.Micros(tx.Now()))
	if err != nil {
		return "", false, err
	}
	if n == 0 {
		err := tx.QueryRow(`SELECT id FROM ledger_transaction WHERE kind = $1 AND cause = $2`, t.Kind, t.Cause).Scan(&id)
		return id, false, err
	}
	if err := apply(tx, lines); err != nil {
		return "", false, err
	}
	return t.ID, true, insertPostings(tx, t.ID, lines)
}

func insertPostings(tx *db.Tx, txn string, lines []line) error {
	var txns, accounts []string
	var numbers, amounts []int64
	for i, l := range lines {
		if l.Amount == 0 {
			continue // a reservation given back, no money moved
		}
		txns, numbers = append(txns, txn), append(numbers, int64(i))
		accounts, amounts = append(accounts, l.id), append(amounts, l.Amount)
	}
	_, _, err := tx.InsertRows("ledger_posting", []string{"txn", "line", "account", "amount"}, []any{txns, numbers, accounts, amounts}, "")
	return err
}

type line struct {
	Posting
	id string
}

// net adds up the lines by account, sorts them by id and checks that they balance.
func net(in []Posting) ([]line, error) {
	by := make(map[Account]int, len(in))
	lines := make([]line, 0, len(in))
	sums := map[string]int64{}
	for _, p := range in {
		if _, ok := rules[p.Account.Purpose]; !ok || p.Account.Owner == "" || p.Account.Currency == "" {
			return nil, fmt.Errorf("no such account: %+v", p.Account)
		}
		var ok bool
		if sums[p.Account.Currency], ok = add(sums[p.Account.Currency], p.Amount); !ok {
			return nil, errOverflow
		}
		i, seen := by[p.Account]
		if !seen {
			by[p.Account] = len(lines)
			lines = append(lines, line{p, p.Account.ID()})
			continue
		}
		l := &lines[i]
		var ok2 bool
		l.Amount, ok = add(l.Amount, p.Amount)
		l.Release, ok2 = add(l.Release, p.Release)
		if !ok || !ok2 {
			return nil, errOverflow
		}
	}
	for cur, sum := range sums {
		if sum != 0 {
			return nil, fmt.Errorf("postings in %s sum to %d, not zero", cur, sum)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.id, b.id) })
	return lines, nil
}

var errOverflow = errors.New("amount overflows")

func add(a, b int64) (int64, bool) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, false
	}
	return a + b, true
}

// apply makes the accounts that are missing and changes the projection of those that are not folded. The lines are
// in the order of ids, and so are the locks.
func apply(tx *db.Tx, lines []line) error {
	var folded, rest []line
	for _, l := range lines {
		if rules[l.Account.Purpose].folded {
			folded = append(folded, l)
		} else {
			rest = append(rest, l)
		}
	}
	if err := create(tx, folded); err != nil || len(rest) == 0 {
		return err
	}
	now, err := lock(tx, rest)
	if err == nil && len(now) < len(rest) {
		if err = create(tx, rest); err == nil {
			now, err = lock(tx, rest)
		}
	}
	if err != nil {
		return err
	}
	return change(tx, rest, now)
}

// change writes the new balances and reservations of accounts that are locked.
func change(tx *db.Tx, lines []line, now map[string]standing) error {
	var ids []string
	var balances, reserves []int64
	for _, l := range lines {
		balance, ok := add(now[l.id].balance, l.Amount)
		reserved, ok2 := add(now[l.id].reserved, -l.Release)
		if !ok || !ok2 {
			return errOverflow
		}
		if reserved < 0 || !rules[l.Account.Purpose].mayNegative && balance < reserved {
			return ErrFunds
		}
		ids, balances, reserves = append(ids, l.id), append(balances, balance), append(reserves, reserved)
	}
	n, err := tx.UpdateRows("ledger_account", []string{"id"}, []string{"balance", "reserved"}, []any{ids, balances, reserves})
	if err == nil && n != int64(len(lines)) {
		err = errors.New("ledger: an account is missing")
	}
	return err
}

type standing struct{ balance, reserved int64 }

// lock reads the accounts and keeps others from changing them until the end of the transaction.
func lock(tx *db.Tx, lines []line) (map[string]standing, error) {
	ids := make([]string, len(lines))
	for i, l := range lines {
		ids[i] = l.id
	}
	rows, err := tx.Query(`SELECT id, balance, reserved FROM ledger_account WHERE id`+tx.Dialect().In("$1")+` ORDER BY id`+tx.Dialect().ForUpdate(), ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	now := make(map[string]standing, len(ids))
	for rows.Next() {
		var id string
		var s standing
		if err := rows.Scan(&id, &s.balance, &s.reserved); err != nil {
			return nil, err
		}
		now[id] = s
	}
	return now, rows.Err()
}

func create(tx *db.Tx, lines []line) error {
	var ids, owners, purposes, currencies []string
	var negative, folded, created []int64
	for _, l := range lines {
		r := rules[l.Account.Purpose]
		ids, owners = append(ids, l.id), append(owners, l.Account.Owner)
		purposes, currencies = append(purposes, string(l.Account.Purpose)), append(currencies, l.Account.Currency)
		negative, folded = append(negative, db.Bool(r.mayNegative)), append(folded, db.Bool(r.folded))
		created = append(created, db.Micros(tx.Now()))
	}
	_, _, err := tx.InsertRows("ledger_account", []string{"id", "owner", "purpose", "currency", "may_negative", "folded", "created"},
		[]any{ids, owners, purposes, currencies, negative, folded, created}, "ON CONFLICT DO NOTHING")
	return err
}

// ReserveFunds sets aside between need and want of the account's free balance and returns how much; zero
// with ErrFunds when less than need is free. A reservation is used by a Posting's Release, or given back by
// Unreserve.
func ReserveFunds(tx *db.Tx, a Account, need, want int64) (int64, error) {
	id := a.ID()
	var free int64
	err := tx.QueryRow(`SELECT balance - reserved FROM ledger_account WHERE id = $1`+tx.Dialect().ForUpdate(), id).Scan(&free)
	if errors.Is(err, db.ErrNoRows) || err == nil && (free < need || free <= 0) {
		return 0, ErrFunds
	}
	if err != nil {
		return 0, err
	}
	take := min(max(need, want), free)
	_, err = tx.Exec(`UPDATE ledger_account SET reserved = reserved + $1 WHERE id = $2`, take, id)
	return take, err
}

// Unreserve gives back a reservation.
func Unreserve(tx *db.Tx, a Account, amount int64) error {
	n, err := tx.Exec(`UPDATE ledger_account SET reserved = reserved - $1 WHERE id = $2 AND reserved >= $3`, amount, a.ID(), amount)
	if err == nil && n != 1 {
		err = fmt.Errorf("ledger: %d more than is reserved on %s", amount, a.ID())
	}
	return err
}

// Store answers questions about the book and seals it.
type Store struct {
	db    *db.DB
	clock clock.Clock
}

// New returns a Store on d.
func New(d *db.DB, c clock.Clock) *Store { return &Store{d, c} }
