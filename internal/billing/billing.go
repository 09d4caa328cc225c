// Package billing decides why money moves between an organisation and the platform outside of usage.
// It grants credit: the platform's promotion account pays into the wallet.
//
// It posts through the ledger, never beside it, and knows no HTTP. Invariant: a grant, its ledger
// transaction (kind [KindGrant], the grant's id as cause) and its audit entry are one transaction.
package billing

import (
	"embed"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room. They need those of org, ledger and audit.
var Migrations = db.Migrations{Room: "billing", FS: migrations}

// KindGrant is the kind of the ledger transactions that grant credit.
const KindGrant = "grant"

// MaxGrant is the largest single grant, in nano-units: a slip of the keyboard is not worth more.
const MaxGrant = 10_000_000 * money.Nano

// Grant is credit given to an organisation.
type Grant struct {
	ID       string // crg_…
	Org      string
	Amount   int64 // nano-units, above zero
	Currency string
	Reason   string
	Actor    string // key, else user, else part of the platform
	Txn      string // the ledger's transaction
	Created  time.Time
}

// GrantInput says what is granted to whom.
type GrantInput struct {
	Org      string // id
	Amount   int64  // nano-units
	Currency string // ISO 4217 code
	Reason   string // at most 500 characters
}

// check says what is wrong with the input.
func (in GrantInput) check() error {
	bad := problem.New(problem.Unprocessable, "billing.grant_invalid", "the credit is not valid")
	_, known := money.Currency(in.Currency)
	switch {
	case in.Amount <= 0:
		return bad.WithField("amount", "must be above zero")
	case in.Amount > MaxGrant:
		return bad.WithField("amount", "must be at most %s", money.FormatNano(MaxGrant))
	case !known:
		return bad.WithField("currency", "must be an ISO 4217 code like USD")
	case utf8.RuneCountInString(in.Reason) > 500 || !utf8.ValidString(in.Reason) || strings.ContainsFunc(in.Reason, func(r rune) bool { return r < ' ' }):
		return bad.WithField("reason", "must be at most 500 characters on one line")
	}
	return nil
}

// GrantCredit moves credit from the platform's promotion account to the organisation's wallet, within
// tx.
func GrantCredit(tx *db.Tx, by audit.Actor, in GrantInput) (Grant, error) {
	if err := in.check(); err != nil {
		return Grant{}, err
	}
	if _, err := org.GetTx(tx, in.Org); err != nil {
		return Grant{}, err
	}
	g := Grant{ID: db.NewID("crg", tx.Now()), Org: in.Org, Amount: in.Amount, Currency: in.Currency, Reason: in.Reason,
		Actor: actor(by), Created: tx.Now()}
	var err error
	g.Txn, _, err = ledger.Post(tx, ledger.Transaction{Kind: KindGrant, Cause: g.ID, Memo: g.Reason, Actor: g.Actor, Postings: []ledger.Posting{
		{Account: ledger.Account{Owner: ledger.Platform, Purpose: ledger.Promotion, Currency: g.Currency}, Amount: -g.Amount},
		{Account: ledger.Account{Owner: g.Org, Purpose: ledger.Wallet, Currency: g.Currency}, Amount: g.Amount},
	}})
	if db.IsCheck(err) {
		return Grant{}, problem.New(problem.Unprocessable, "billing.wallet_full", "the wallet cannot hold that much").Because(err)
	}
	if err != nil {
		return Grant{}, err
	}
	_, err = tx.Exec(`INSERT INTO credit_grant (id, org_id, amount, currency, reason, actor, txn, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		g.ID, g.Org, g.Amount, g.Currency, g.Reason, g.Actor, g.Txn, db.Micros(g.Created))
	if err != nil {
		return Grant{}, err
	}
	return g, audit.Record(tx, audit.Entry{Actor: by, Org: g.Org, Action: "credit.grant", Object: g.ID, Reason: g.Reason, After: map[string]string{
		"amount": money.FormatNano(g.Amount), "currency": g.Currency, "transaction": g.Txn}})
}

// actor names who did it: the key, else the user, else the part of the platform.
func actor(by audit.Actor) string {
	if by.Key != "" {
		return by.Key
	}
	if by.User != "" {
		return by.User
	}
	return by.System
}

// Grants lists what an organisation was granted, the newest first; before is the id of the last one seen.
func Grants(tx *db.Tx, orgID, before string, limit int) (list []Grant, more bool, err error) {
	rows, err := tx.Query(`SELECT id, org_id, amount, currency, reason, actor, txn, created_at FROM credit_grant
		WHERE org_id = $1 AND ($2 = '' OR id < $3) ORDER BY id DESC LIMIT $4`, orgID, before, before, limit+1)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var g Grant
		var created int64
		if err := rows.Scan(&g.ID, &g.Org, &g.Amount, &g.Currency, &g.Reason, &g.Actor, &g.Txn, &created); err != nil {
			return nil, false, err
		}
		g.Created = db.Time(created)
		list = append(list, g)
	}
	if len(list) > limit {
		return list[:limit], true, rows.Err()
	}
	return list, false, rows.Err()
}
