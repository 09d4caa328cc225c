package server

import (
	"testing"

	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/settle"
)

// TestFlatFee sells a card with a monthly fee in advance: it is posted once, without any call's doing.
func TestFlatFee(t *testing.T) {
	x := startApp(t, nil)
	card, err := rating.ParseCard([]byte(`{"currency":"USD","lines":[{"name":"base","pricing":"flat","price":"9.5","in_advance":true},
		{"meter":"tokens","when":{"class":"input"},"price":"1","per":1000000},{"meter":"tokens","when":{"class":"output"},"price":"1","per":1000000}]}`))
	if err != nil {
		t.Fatal(err)
	}
	key := x.sell("monthly", card)
	if a := x.post("/v1/chat/completions", key, `{"model":"`+demoProvider+`/monthly","messages":[]}`); a.status != 200 {
		t.Fatal(a.status, string(a.body))
	}
	closer := settle.NewCloser(x.DB, settle.CloserOptions{Platform: ledger.Platform, Terms: x.terms, Contracts: x.contracts})
	if n, err := closer.Run(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := closer.Run(t.Context()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	list, _, err := x.Ledger.Transactions(t.Context(), "", "", 5)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Kind == settle.KindOpening {
			for _, l := range e.Lines {
				if l.Purpose == ledger.Wallet && l.Amount != -95e8 {
					t.Errorf("%+v", l)
				}
			}
			return
		}
	}
	t.Error("no opening in the ledger")
}
