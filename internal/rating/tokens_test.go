package rating

import (
	"math"
	"testing"
)

// demoCard is the card that a newcomer meets: three prices for tokens.
func demoCard() *Card {
	tokens := func(class, price string) Line {
		return Line{Meter: MeterTokens, When: &When{Class: OneOf{class}}, Price: Number(price), Per: 1_000_000}
	}
	return &Card{Currency: "USD", Lines: []Line{tokens("input", "0.15"), tokens("cached_input", "0.075"), tokens("output", "0.60")}}
}

func compiled(t testing.TB, c *Card) *Compiled {
	t.Helper()
	out, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTokenCharge(t *testing.T) {
	c := compiled(t, demoCard())
	if err := demoCard().ValidateForModel(); err != nil {
		t.Fatal(err)
	}
	if !c.Final() || c.NeedsState() {
		t.Error("a linear card is final")
	}
	for _, tt := range []struct {
		name string
		q    Tokens
		want int64
		ok   bool
	}{
		{"nothing", Tokens{}, 0, true},
		{"a call", Tokens{Input: 1000, CachedInput: 200, Output: 500, Requests: 1}, 150_000 + 15_000 + 300_000, true},
		{"classes without a line", Tokens{CacheWrite: 1, AudioInput: 1, Reasoning: 1, AudioOutput: 1}, 150 + 150 + 600 + 600, true},
		{"negative", Tokens{Input: -1}, 0, false},
		{"overflow", Tokens{Input: math.MaxInt64}, 0, false},
		{"overflow of the sum", Tokens{Input: math.MaxInt64 / 151, Output: math.MaxInt64 / 601}, 0, false},
	} {
		if got, ok := c.TokenCharge(&tt.q); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %d, %v; want %d, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestTokenBoundOfLinearCardIsTight(t *testing.T) {
	c := compiled(t, demoCard())
	got, err := c.TokenBound(&Tokens{Input: 1000, Output: 500, Requests: 1})
	if want := int64(150_000 + 300_000); got != want || err != nil {
		t.Errorf("%d, %v; want %d", got, err, want)
	}
	if _, err := c.TokenBound(&Tokens{Input: math.MaxInt64}); err == nil {
		t.Error("overflow was not refused")
	}
	if _, err := c.TokenBound(&Tokens{Input: math.MaxInt64, CachedInput: math.MaxInt64, CacheWrite: math.MaxInt64}); err == nil {
		t.Error("overflow of the pool was not refused")
	}
	if _, err := c.TokenBound(&Tokens{Output: -1}); err == nil {
		t.Error("a negative count was not refused")
	}
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	c := compiled(t, demoCard())
	q := Tokens{Input: 1000, CachedInput: 200, Output: 500, Requests: 1}
	if n := testing.AllocsPerRun(100, func() {
		_, _ = c.TokenCharge(&q)
		_, _ = c.TokenBound(&q)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTokenCharge(b *testing.B) {
	c, q := compiled(b, demoCard()), Tokens{Input: 1000, CachedInput: 200, Output: 500, Requests: 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := c.TokenCharge(&q); !ok {
			b.Fatal("not final")
		}
	}
}

func BenchmarkTokenBound(b *testing.B) {
	c, q := compiled(b, demoCard()), Tokens{Input: 1000, Output: 500, Requests: 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.TokenBound(&q); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRateCall(b *testing.B) {
	c := compiled(b, demoCard())
	call := Call{Tokens: Tokens{Input: 1000, CachedInput: 200, Output: 500, Requests: 1}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.RateCall(nil, &call); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRateGraduated(b *testing.B) {
	c := compiled(b, &Card{Currency: "USD", Lines: []Line{{
		Meter: MeterTokens, When: &When{Class: OneOf{"input"}}, Pricing: Graduated, Per: 1_000_000, Allowance: "1000",
		Tiers: []Tier{{UpTo: "1000000", Price: "0.1375"}, {UpTo: "100000000", Price: "0.1"}, {Price: "0.05", Flat: "1"}},
	}}})
	call, state := Call{Tokens: Tokens{Input: 1000, Requests: 1}}, State{{Quantity: mustDecimal("150000000")}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.RateCall(state, &call); err != nil {
			b.Fatal(err)
		}
	}
}
