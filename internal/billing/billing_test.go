package billing

import (
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var tables = []db.Migrations{audit.Migrations, org.Migrations, ledger.Migrations, Migrations}

var by = audit.Actor{Org: "org_x", User: "usr_x", Key: "key_x"}

func grant(d *db.DB, t *testing.T, in GrantInput) (g Grant, err error) {
	t.Helper()
	err = d.Update(t.Context(), func(tx *db.Tx) error { g, err = GrantCredit(tx, by, in); return err })
	return g, err
}

func TestGrantCredit(t *testing.T) {
	dbtest.Each(t, tables, func(t *testing.T, d *db.DB) {
		orgs := org.New(d)
		demo, err := orgs.Create(t.Context(), by, org.Draft{Name: "demo", Parts: org.Consumer})
		if err != nil {
			t.Fatal(err)
		}
		in := GrantInput{Org: demo.ID, Amount: 10 * money.Nano, Currency: "USD", Reason: "welcome"}
		g, err := grant(d, t, in)
		if err != nil || g.ID == "" || g.Txn == "" || g.Actor != "key_x" {
			t.Fatal(g, err)
		}
		second, err := grant(d, t, in)
		if err != nil || second.Txn == g.Txn {
			t.Fatal("a second grant is another one:", second, err)
		}
		book := ledger.New(d, clock.System{})
		for _, want := range []struct {
			owner   string
			purpose ledger.Purpose
			balance int64
		}{{demo.ID, ledger.Wallet, 20 * money.Nano}, {ledger.Platform, ledger.Promotion, -20 * money.Nano}} {
			v, err := book.Balance(t.Context(), ledger.Account{Owner: want.owner, Purpose: want.purpose, Currency: "USD"})
			if err != nil || v.Balance != want.balance {
				t.Errorf("%s: %d, %v", want.purpose, v.Balance, err)
			}
		}
		items, _, err := audit.New(d, nil).List(t.Context(), audit.Filter{Action: "credit.grant"}, "", 10)
		if err != nil || len(items) != 2 || items[1].Object != g.ID || items[1].Org != demo.ID || items[1].Reason != "welcome" {
			t.Errorf("%+v %v", items, err)
		}
		err = d.View(t.Context(), func(tx *db.Tx) error {
			page, more, err := Grants(tx, demo.ID, "", 1)
			if err != nil || !more || len(page) != 1 || page[0] != second {
				t.Error(page, more, err)
			}
			page, more, err = Grants(tx, demo.ID, second.ID, 1)
			if err != nil || more || len(page) != 1 || page[0] != g {
				t.Error(page, more, err)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestGrantRefused(t *testing.T) {
	d := dbtest.SQLite(t, tables)
	orgs := org.New(d)
	demo, err := orgs.Create(t.Context(), by, org.Draft{Name: "demo", Parts: org.Consumer})
	if err != nil {
		t.Fatal(err)
	}
	good := GrantInput{Org: demo.ID, Amount: 1, Currency: "USD"}
	for name, change := range map[string]func(*GrantInput){
		"amount zero":      func(in *GrantInput) { in.Amount = 0 },
		"amount negative":  func(in *GrantInput) { in.Amount = -1 },
		"amount too large": func(in *GrantInput) { in.Amount = MaxGrant + 1 },
		"currency unknown": func(in *GrantInput) { in.Currency = "ZZZ" },
		"currency small":   func(in *GrantInput) { in.Currency = "usd" },
		"currency missing": func(in *GrantInput) { in.Currency = "" },
		"reason long":      func(in *GrantInput) { in.Reason = strings.Repeat("x", 501) },
		"reason two lines": func(in *GrantInput) { in.Reason = "a\nb" },
	} {
		in := good
		change(&in)
		_, err := grant(d, t, in)
		e := problem.As(err)
		field, _, _ := strings.Cut(name, " ")
		if e.ID != "billing.grant_invalid" || len(e.Fields) != 1 || e.Fields[0].Path != field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := grant(d, t, GrantInput{Org: "org_none", Amount: 1, Currency: "USD"}); !problem.Is(err, problem.NotFound) {
		t.Error(err)
	}
	// What the book cannot hold is refused whole.
	for range 500 {
		in := good
		in.Amount = MaxGrant
		if _, err = grant(d, t, in); err != nil {
			break
		}
	}
	if problem.As(err).ID != "billing.wallet_full" {
		t.Error(err)
	}
}
