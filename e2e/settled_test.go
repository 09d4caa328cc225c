package e2e

import (
	"encoding/json"
	"math/big"
	"net/http"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdSettled holds the last http answer against what was settled for it:
//
//	settled METER PRICE [PER]   its headers, its event and price × units ÷ PER are the same to the last digit
//	settled free                it tells no cost, and nothing was charged for it
//	settled as CHARGE           the call in a stream, which has no such headers, was charged so much: for the sum
//	settled sum                 the sum of the usage is that of all calls held against so far
//
// The script must have said `as consumer`.
func cmdSettled(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if w.sum == nil {
		w.sum = new(big.Rat)
	}
	if len(args) == 1 && args[0] == "sum" {
		var v struct{ Charge string }
		ts.Check(ts.Exec("tollgate", "usage", "sum", "-json"))
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
		if ratOf(ts, v.Charge).Cmp(w.sum) != 0 {
			ts.Fatalf("the usage sums up to %s, the answers told %s", v.Charge, w.sum.FloatString(9))
		}
		return
	}
	if len(args) == 2 && args[0] == "as" {
		w.sum.Add(w.sum, ratOf(ts, args[1]))
		return
	}
	head := ts.ReadFile("stdout")
	id, cost, units := line(head, "X-Request-Id"), line(head, "X-Tollgate-Cost"), line(head, "X-Tollgate-Units")
	if len(args) == 1 && args[0] == "free" {
		if cost != "" || units != "" || id == "" {
			ts.Fatalf("a call that failed tells a cost: %q, %q, call %q", cost, units, id)
		}
		return
	}
	if len(args) < 2 {
		ts.Fatalf("usage: settled METER PRICE [PER]")
	}
	per := "1"
	if len(args) > 2 {
		per = args[2]
	}
	var e struct {
		Outcome, Charge string
		Tokens          map[string]json.Number
		Units           []struct{ Meter, Quantity string }
	}
	event(ts, id, &e)
	quantity := ""
	for _, u := range e.Units {
		if u.Meter == args[0] {
			quantity = u.Quantity
		}
	}
	if args[0] == "tokens" { // of the input: an embedding has no other
		quantity, units = e.Tokens["input"].String(), e.Tokens["input"].String()+" tokens"
	}
	want := new(big.Rat).Mul(ratOf(ts, quantity), ratOf(ts, args[1]))
	want.Quo(want, ratOf(ts, per))
	if units != quantity+" "+args[0] || cost != e.Charge+" USD" || ratOf(ts, e.Charge).Cmp(want) != 0 || e.Outcome != "completed" || want.Sign() == 0 {
		ts.Fatalf("headers %q and %q; settled %s %s, %s USD, %s; want a charge of %s", units, cost, quantity, args[0], e.Charge, e.Outcome, want.FloatString(9))
	}
	w.sum.Add(w.sum, want)
}

// event reads the settled event of a call, which is there once the settler has come so far.
func event(ts *testscript.TestScript, id string, v any) {
	tick, limit := time.NewTicker(10*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for {
		a := parseHTTP(ts, []string{"GET", "/api/v1/organisations/demo-consumer/usage/events/" + id}).send(ts)
		if a.status == http.StatusOK {
			ts.Check(json.Unmarshal(a.body, v))
			return
		}
		select {
		case <-limit.C:
			ts.Fatalf("call %s: %s", id, a)
		case <-tick.C:
		}
	}
}

// line is the value of a header in an answer as the http command prints it.
func line(head, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `: (.*)$`).FindStringSubmatch(head)
	if m == nil {
		return ""
	}
	return m[1]
}

func ratOf(ts *testscript.TestScript, s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		ts.Fatalf("%q is no number", s)
	}
	return r
}
