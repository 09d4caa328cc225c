package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/settle"
)

func nano(n int64) string { return money.FormatNano(n) }

// amountIn reads an amount of money that is not negative.
func amountIn(text, currency string) (int64, error) {
	bad := problem.New(problem.Unprocessable, "api.amount", "the amount of money is not valid")
	if _, ok := money.Currency(currency); !ok {
		return 0, bad.WithField("currency", "must be an ISO 4217 code like USD")
	}
	n, err := money.ParseNano(text)
	if err != nil || n < 0 {
		return 0, bad.WithField("amount", "must be a decimal like \"10.00\", not negative, with at most nine decimals")
	}
	return n, nil
}

// WalletView is a wallet as it is shown.
type WalletView struct {
	Available string `json:"available,omitempty" example:"9.50" doc:"What can be spent: the balance without what is held"`
	Held      string `json:"held,omitempty" example:"0.50" doc:"Reserved for calls under way"`
	Currency  string `json:"currency,omitempty" example:"USD"`
}

type walletOutput struct {
	Body struct {
		WalletView
		Items []WalletView `json:"items" doc:"One wallet for each currency; with exactly one its figures stand above, too"`
	} `nameHint:"Wallets"`
}

type creditInput struct {
	Amount   string `json:"amount" maxLength:"30" example:"10.00"`
	Currency string `json:"currency" maxLength:"3" example:"USD"`
	Reason   string `json:"reason,omitempty" maxLength:"500"`
}

type creditView struct {
	ID          string    `json:"id"`
	Amount      string    `json:"amount"`
	Currency    string    `json:"currency"`
	Reason      string    `json:"reason,omitempty"`
	Actor       string    `json:"actor" doc:"Id of the key that granted it"`
	Transaction string    `json:"transaction" doc:"Id of the ledger's transaction"`
	Created     time.Time `json:"created"`
}

func showCredit(g billing.Grant) creditView {
	return creditView{ID: g.ID, Amount: nano(g.Amount), Currency: g.Currency, Reason: g.Reason, Actor: g.Actor, Transaction: g.Txn, Created: g.Created}
}

func (s *server) money() {
	read(s, route("get-wallet", "GET /organisations/{org}/wallet", "Get an organisation's wallets"),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			Currency string `query:"currency" maxLength:"3" doc:"Only this one"`
		}) (*walletOutput, error) {
			o, err := s.at(ctx, c, in.Org, "wallet.read")
			if err != nil {
				return nil, err
			}
			return s.wallet(ctx, o.ID, in.Currency)
		})
	change(s, route("grant-credit", "POST /organisations/{org}/credits", "Grant credit", tagged("credits"), created,
		about("Moves money from the platform's promotion account to the wallet. Send an Idempotency-Key.")),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Body creditInput
		}) (*object[creditView], error) {
			o, err := organisation(tx, c, in.Org, "credit.grant")
			if err != nil {
				return nil, err
			}
			amount, err := amountIn(in.Body.Amount, in.Body.Currency)
			if err != nil {
				return nil, err
			}
			g, err := billing.GrantCredit(tx, c.actor, billing.GrantInput{Org: o.ID, Amount: amount, Currency: in.Body.Currency, Reason: in.Body.Reason})
			return &object[creditView]{Body: showCredit(g)}, err
		})
	view(s, route("list-credits", "GET /organisations/{org}/credits", "List credit granted, newest first"),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Page
		}) (*listOutput[creditView], error) {
			o, err := organisation(tx, c, in.Org, "wallet.read")
			if err != nil {
				return nil, err
			}
			items, more, err := billing.Grants(tx, o.ID, in.After, in.Limit)
			return page(items, more, func(g billing.Grant) string { return g.ID }, showCredit), err
		})
	s.ledger()
}

// wallet reads the wallet in a currency, or all.
func (s *server) wallet(ctx context.Context, orgID, currency string) (*walletOutput, error) {
	out := &walletOutput{}
	out.Body.Items = []WalletView{}
	add := func(v ledger.AccountView) {
		out.Body.Items = append(out.Body.Items, WalletView{nano(v.Balance - v.Reserved), nano(v.Reserved), v.Currency})
	}
	if currency == "" {
		wallets, err := s.wallets(ctx, orgID)
		if err != nil {
			return nil, err
		}
		for _, v := range wallets {
			add(v)
		}
		if len(wallets) == 0 {
			currency = defaultCurrency
		}
	}
	if currency != "" {
		if _, ok := money.Currency(currency); !ok {
			return nil, problem.New(problem.Unprocessable, "api.currency", "%q is no currency", clip(currency)).WithField("currency", "must be an ISO 4217 code like USD")
		}
		v, err := s.Ledger.Balance(ctx, ledger.Account{Owner: orgID, Purpose: ledger.Wallet, Currency: currency})
		if err != nil {
			return nil, err
		}
		add(v)
	}
	if len(out.Body.Items) == 1 {
		out.Body.WalletView = out.Body.Items[0]
	}
	return out, nil
}

// defaultCurrency is that of sums of nothing.
const defaultCurrency = "USD"

// wallets returns an organisation's wallets by currency.
func (s *server) wallets(ctx context.Context, orgID string) (out []ledger.AccountView, err error) {
	for after, more := "", true; more; {
		var list []ledger.AccountView
		if list, more, err = s.Ledger.Accounts(ctx, orgID, after, 500); err != nil {
			return nil, err
		}
		for _, v := range list {
			if after = v.ID; v.Purpose == ledger.Wallet {
				out = append(out, v)
			}
		}
	}
	slices.SortFunc(out, func(a, b ledger.AccountView) int { return strings.Compare(a.Currency, b.Currency) })
	return out, nil
}

type accountView struct {
	ID       string `json:"id"`
	Owner    string `json:"owner" doc:"Id of the organisation"`
	Purpose  string `json:"purpose" example:"wallet"`
	Currency string `json:"currency"`
	Balance  string `json:"balance"`
	Reserved string `json:"reserved"`
}

func showAccount(v ledger.AccountView) accountView {
	return accountView{v.ID, v.Owner, string(v.Purpose), v.Currency, nano(v.Balance), nano(v.Reserved)}
}

type transactionView struct {
	ID     string        `json:"id"`
	Kind   string        `json:"kind" example:"grant"`
	Cause  string        `json:"cause" doc:"Id of what caused it"`
	Memo   string        `json:"memo,omitempty"`
	Actor  string        `json:"actor,omitempty"`
	Second string        `json:"second,omitempty" doc:"The second person of an adjustment"`
	At     time.Time     `json:"at"`
	Seq    int64         `json:"seq" doc:"Place in the hash chain; 0 until sealed"`
	Lines  []postingView `json:"lines" doc:"Postings on the organisation's accounts"`
}

type postingView struct {
	Account  string `json:"account"`
	Owner    string `json:"owner"`
	Purpose  string `json:"purpose"`
	Currency string `json:"currency"`
	Amount   string `json:"amount" doc:"Positive credits the account"`
}

func showTransaction(e ledger.Entry) transactionView {
	v := transactionView{ID: e.ID, Kind: e.Kind, Cause: e.Cause, Memo: e.Memo, Actor: e.Actor, Second: e.Second, At: e.At, Seq: e.Seq, Lines: []postingView{}}
	for _, l := range e.Lines {
		v.Lines = append(v.Lines, postingView{l.AccountID, l.Owner, string(l.Purpose), l.Currency, nano(l.Amount)})
	}
	return v
}

type suspendedView struct {
	Event          string    `json:"event"`
	OrganisationID string    `json:"organisation_id"`
	Reason         string    `json:"reason"`
	At             time.Time `json:"at"`
}

// owner is whose accounts an organisation's ledger shows: its own, or the platform's where it operates that.
func owner(o org.Org) string {
	if o.Parts.Has(org.Operator) {
		return ledger.Platform
	}
	return o.ID
}

func (s *server) ledger() {
	read(s, route("list-accounts", "GET /organisations/{org}/ledger/accounts", "List an organisation's ledger accounts", tagged("ledger")),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			Page
		}) (*listOutput[accountView], error) {
			o, err := s.at(ctx, c, in.Org, "ledger.read")
			if err != nil {
				return nil, err
			}
			items, more, err := s.Ledger.Accounts(ctx, owner(o), in.After, in.Limit)
			return page(items, more, func(v ledger.AccountView) string { return v.ID }, showAccount), err
		})
	read(s, route("list-transactions", "GET /organisations/{org}/ledger/transactions", "List ledger transactions that touch an organisation, newest first", tagged("ledger")),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			Page
		}) (*listOutput[transactionView], error) {
			o, err := s.at(ctx, c, in.Org, "ledger.read")
			if err != nil {
				return nil, err
			}
			items, more, err := s.Ledger.Transactions(ctx, owner(o), in.After, in.Limit)
			return page(items, more, func(e ledger.Entry) string { return e.ID }, showTransaction), err
		})
	read(s, route("verify-ledger", "GET /ledger/verify", "Prove the book", tagged("ledger"),
		about("Zero sums, projection = replay, hash chain, usage = ledger, leases. It reads everything.")),
		func(ctx context.Context, c *call, _ *struct{}) (*struct{ Body settle.Report }, error) {
			if err := auth.Permit(c.principal, "ledger.read", ""); err != nil {
				return nil, err
			}
			r, err := settle.Verify(ctx, s.DB)
			if err != nil {
				return nil, err
			}
			return &struct{ Body settle.Report }{*r}, nil
		})
	read(s, route("list-suspense", "GET /ledger/suspense", "List calls that could not be settled, oldest first", tagged("ledger")),
		func(ctx context.Context, c *call, in *struct {
			Limit int `query:"limit" minimum:"1" maximum:"500" default:"50"`
		}) (*listOutput[suspendedView], error) {
			if err := auth.Permit(c.principal, "ledger.read", ""); err != nil {
				return nil, err
			}
			items, err := settle.Suspense(ctx, s.DB, in.Limit)
			return page(items, false, func(x settle.Suspended) string { return x.Event },
				func(x settle.Suspended) suspendedView { return suspendedView{x.Event, x.Org, x.Reason, x.At} }), err
		})
}
