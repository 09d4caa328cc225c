package rating

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func (a wide) big() *big.Int {
	n := new(big.Int)
	for i := 3; i >= 0; i-- {
		n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(a.w[i]))
	}
	return n
}

var wides = rapid.Custom(func(t *rapid.T) (a wide) {
	words := rapid.IntRange(0, 4).Draw(t, "words")
	for i := range words {
		a.w[i] = rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{math.MaxUint64, 1 << 63, 1, 0})).Draw(t, "word")
	}
	return a
})

// TestWideAgainstBig: each operation is exact, or sets the flag.
func TestWideAgainstBig(t *testing.T) {
	limit := new(big.Int).Lsh(big.NewInt(1), 256)
	rapid.Check(t, func(t *rapid.T) {
		a, b := wides.Draw(t, "a"), wides.Draw(t, "b")
		n := rapid.OneOf(rapid.Uint64Min(1), rapid.SampledFrom([]uint64{1, 2, e18, e9 * keepAll * overFull, math.MaxUint64})).Draw(t, "n")
		bigN := new(big.Int).SetUint64(n)
		check := func(op string, got wide, want *big.Int) {
			if got.overflow != (want.Cmp(limit) >= 0) {
				t.Fatalf("%s: overflow %v, want %s", op, got.overflow, want)
			}
			if !got.overflow && got.big().Cmp(want) != 0 {
				t.Fatalf("%s = %s, want %s", op, got.big(), want)
			}
		}
		x := a
		x.add(&b)
		check("add", x, new(big.Int).Add(a.big(), b.big()))
		x = a
		x.mul(n)
		check("mul", x, new(big.Int).Mul(a.big(), bigN))
		x = a
		x.sub(&b)
		want := new(big.Int).Sub(a.big(), b.big())
		if want.Sign() < 0 {
			want.SetInt64(0)
		}
		check("sub", x, want)
		x = a
		rest := x.div(n)
		q, r := new(big.Int).QuoRem(a.big(), bigN, new(big.Int))
		check("div", x, q)
		if r.Cmp(new(big.Int).SetUint64(rest)) != 0 {
			t.Fatalf("rest %d, want %s", rest, r)
		}
		if v, err := a.int64(); (err == nil) != a.big().IsInt64() || err == nil && v != a.big().Int64() {
			t.Fatalf("int64 = %d, %v", v, err)
		}
	})
}

func TestOverflowSticks(t *testing.T) {
	a := wide{w: [4]uint64{0, 0, 0, 1 << 63}}
	a.mul(2)
	a.div(math.MaxUint64)
	a.add(&wide{})
	if _, err := a.int64(); err == nil {
		t.Error("an overflow was forgotten")
	}
	if _, err := a.decimal(); err == nil {
		t.Error("an overflow was forgotten")
	}
	var b wide
	b.add(&a)
	c := wide{}
	c.sub(&a)
	if !b.overflow || !c.overflow {
		t.Error("an overflow was not inherited")
	}
}

func TestProductAgainstMul(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := mustDecimal(string(number(t, "x", 999_999_999_999_999_999, 18)))
		y := mustDecimal(string(number(t, "y", 9_000_000_000, 18)))
		p := product(x, y)
		want := new(big.Int).Mul(scaled(x).big(), scaled(y).big())
		if p.overflow || p.big().Cmp(want) != 0 {
			t.Fatalf("%s × %s = %s, want %s", x, y, p.big(), want)
		}
	})
}

// TestStateIsStored: the state of a period survives being written down.
func TestStateIsStored(t *testing.T) {
	state := State{{Quantity: mustDecimal("12.5")}, {}, {Quantity: mustDecimal("3"), Value: mustDecimal("0.000000000000000001")}}
	out, err := json.Marshal(state)
	if want := `[{"quantity":"12.5"},{"quantity":"0"},{"quantity":"3","value":"0.000000000000000001"}]`; string(out) != want || err != nil {
		t.Fatalf("%s, %v", out, err)
	}
	var again State
	if err := json.Unmarshal(out, &again); err != nil || again[2] != state[2] || len(again) != 3 {
		t.Fatalf("%v, %v", again, err)
	}
}

// TestRateIsPure: neither rating nor applying a charge to a copy changes the state before.
func TestRateIsPure(t *testing.T) {
	c := compiled(t, &Card{Currency: "USD", Lines: []Line{{Meter: "a", Price: "1", Allowance: "5"}}})
	before := State{{Quantity: mustDecimal("4")}}
	u := Usage{Meter: "a", Quantity: mustDecimal("2")}
	first, err1 := Rate(c, before, u)
	second, err2 := Rate(c, before, u)
	if err1 != nil || err2 != nil || first.Nano != 1e9 || second.Nano != 1e9 {
		t.Errorf("%v %v, %v %v", first, err1, second, err2)
	}
	after := append(State(nil), before...)
	after.Apply(&first)
	if before[0].Quantity != mustDecimal("4") || after[0].Quantity != mustDecimal("6") {
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestNeedsState(t *testing.T) {
	for _, tt := range []struct {
		name string
		card Card
		want bool
	}{
		{"linear", Card{}, false},
		{"minimum", Card{Minimum: "1"}, true},
		{"maximum", Card{Maximum: "1"}, true},
		{"true-up", Card{Commitment: &Commitment{Amount: "1"}}, true},
		{"commitment of no consequence", Card{Commitment: &Commitment{Amount: "1", NoTrueUp: true}}, false},
		{"overage", Card{Commitment: &Commitment{Amount: "1", OveragePercent: "50", NoTrueUp: true}}, true},
		{"maximum of a line", Card{Lines: []Line{{Meter: "b", Price: "1", Maximum: "0"}}}, true},
		{"allowance", Card{Lines: []Line{{Meter: "b", Price: "1", Allowance: "3"}}}, true},
		{"a fraction of a nano-unit", Card{Lines: []Line{{Meter: "b", Price: "1", Per: 3}}}, true},
		{"a meter with decimals at a fine price", Card{Lines: []Line{{Meter: "b", Price: "0.5"}}}, true},
		{"free", Card{Lines: []Line{{Meter: "b", Free: true, Allowance: "3"}}}, false},
		{"flat", Card{Lines: []Line{{Pricing: Flat, Price: "5"}}}, false},
	} {
		tt.card.Currency = "USD"
		tt.card.Lines = append(tt.card.Lines, Line{Meter: MeterRequests, Price: "0.000000001"})
		if got := compiled(t, &tt.card).NeedsState(); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestOverflowIsAnError(t *testing.T) {
	c := compiled(t, &Card{Currency: "USD", Lines: []Line{
		{Meter: "a", Price: "9000000000"},
		{Meter: "b", Price: "9000000000"},
		{Meter: MeterTokens, Price: "1"},
	}})
	one, two := mustDecimal("1"), mustDecimal("2")
	if ch, err := Rate(c, nil, Usage{Meter: "a", Quantity: two}); err == nil {
		t.Errorf("a charge beyond the range: %v", ch)
	}
	if ch, err := Rate(c, State{{Quantity: one}}, Usage{Meter: "a", Quantity: one}); err == nil {
		t.Errorf("a total beyond the range: %v", ch)
	}
	if _, err := c.Closing(State{{Quantity: one}, {Quantity: one}}); err == nil {
		t.Error("a sum of lines beyond the range")
	}
	if ch, err := Rate(c, State{{Quantity: maxDecimal}}, Usage{Meter: "a", Quantity: one}); err == nil {
		t.Errorf("a quantity beyond the range: %v", ch)
	}
	if ch, err := c.RateCall(nil, &Call{Tokens: Tokens{Input: 5_000_000_000, Output: 5_000_000_000}}); err == nil {
		t.Errorf("a call beyond the range: %v", ch)
	}
	if ch, err := c.RateCall(nil, &Call{Tokens: Tokens{Input: math.MaxInt64}}); err == nil {
		t.Errorf("tokens beyond the range: %v", ch)
	}
}
