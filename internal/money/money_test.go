package money

import (
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestParseNano(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		err  error
	}{
		{"0", 0, nil},
		{"-0", 0, nil},
		{"1", 1e9, nil},
		{"0.15", 150_000_000, nil},
		{"-0.000000001", -1, nil},
		{"9223372036.854775807", math.MaxInt64, nil},
		{"-9223372036.854775808", math.MinInt64, nil},
		{"9223372036.854775808", 0, ErrRange},
		{"-9223372036.854775809", 0, ErrRange},
		{"99999999999999999999999999", 0, ErrRange},
		{"18446744073.709551616", 0, ErrRange},
		{"0.0000000001", 0, ErrPrecision},
		{"0.0000000000", 0, ErrPrecision},
		{"", 0, ErrSyntax},
		{"-", 0, ErrSyntax},
		{"+1", 0, ErrSyntax},
		{"1.", 0, ErrSyntax},
		{".5", 0, ErrSyntax},
		{"01", 0, ErrSyntax},
		{"1e3", 0, ErrSyntax},
		{" 1", 0, ErrSyntax},
		{"1,5", 0, ErrSyntax},
		{"--1", 0, ErrSyntax},
		{"١", 0, ErrSyntax},
	} {
		got, err := ParseNano(tt.in)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ParseNano(%q) = %d, %v; want %d, %v", tt.in, got, err, tt.want, tt.err)
		}
	}
}

func TestNanoRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		s := FormatNano(n)
		if want := trimmed(new(big.Rat).SetFrac64(n, Nano).FloatString(9)); s != want {
			t.Fatalf("FormatNano(%d) = %s, want %s", n, s, want)
		}
		if back, err := ParseNano(s); back != n || err != nil {
			t.Fatalf("ParseNano(%s) = %d, %v", s, back, err)
		}
	})
}

func TestAmount(t *testing.T) {
	usd := func(n int64) Amount { return Amount{n, "USD"} }
	if got := usd(123_000).String(); got != "0.000123 USD" {
		t.Errorf("String = %q", got)
	}
	if _, err := usd(1).Add(Amount{1, "EUR"}); !errors.Is(err, ErrCurrency) {
		t.Errorf("mixed Add: %v", err)
	}
	if _, err := usd(1).Sub(Amount{1, "EUR"}); !errors.Is(err, ErrCurrency) {
		t.Errorf("mixed Sub: %v", err)
	}
	if _, err := usd(math.MaxInt64).Add(usd(1)); !errors.Is(err, ErrRange) {
		t.Errorf("overflowing Add: %v", err)
	}
	if _, err := usd(0).Sub(usd(math.MinInt64)); !errors.Is(err, ErrRange) {
		t.Errorf("overflowing Sub: %v", err)
	}
	if got, err := usd(5).Sub(usd(7)); got != usd(-2) || err != nil {
		t.Errorf("Sub = %v, %v", got, err)
	}
}

func TestRoundToMinorUnit(t *testing.T) {
	for _, tt := range []struct {
		in       string
		currency string
		want     string
	}{
		{"1.005", "USD", "1.01"},
		{"-1.005", "USD", "-1.01"},
		{"1.004999999", "USD", "1"},
		{"0.5", "JPY", "1"},
		{"0.0005", "KWD", "0.001"},
		{"0.004", "CNY", "0"},
	} {
		n, _ := ParseNano(tt.in)
		got, rest, err := Amount{n, tt.currency}.Round()
		if err != nil || FormatNano(got.Nano) != tt.want || got.Nano+rest.Nano != n {
			t.Errorf("%s %s rounds to %v + %v (%v), want %s", tt.in, tt.currency, got, rest, err, tt.want)
		}
	}
	if _, _, err := (Amount{1, "XXX"}).Round(); !errors.Is(err, ErrCurrency) {
		t.Errorf("unknown currency: %v", err)
	}
	if _, _, err := (Amount{math.MaxInt64, "JPY"}).Round(); !errors.Is(err, ErrRange) {
		t.Errorf("rounding up beyond the range: %v", err)
	}
}

// extreme draws integers near the edges of the range as often as inside it.
var extreme = rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{
	0, 1, -1, 2, -2, 3, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64, math.MinInt64 + 1, 1 << 62, -1 << 62, 1<<62 + 1,
}))

func TestMulDivRoundAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := extreme.Draw(t, "a"), extreme.Draw(t, "b"), extreme.Draw(t, "c")
		got, err := MulDivRound(a, b, c)
		if c == 0 {
			if !errors.Is(err, ErrRange) {
				t.Fatalf("division by zero: %v", err)
			}
			return
		}
		r := new(big.Rat).Mul(new(big.Rat).SetInt64(a), new(big.Rat).SetInt64(b))
		want := halfAway(r.Quo(r, new(big.Rat).SetInt64(c)))
		if !want.IsInt64() {
			if !errors.Is(err, ErrRange) {
				t.Fatalf("want ErrRange, got %d, %v", got, err)
			}
			return
		}
		if err != nil || got != want.Int64() {
			t.Fatalf("got %d, %v; want %s", got, err, want)
		}
	})
}

func TestAddSubNanoAgainstBig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := extreme.Draw(t, "a"), extreme.Draw(t, "b")
		sum := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		if got, err := AddNano(a, b); (err == nil) != sum.IsInt64() || (err == nil && got != sum.Int64()) {
			t.Fatalf("AddNano = %d, %v; want %s", got, err, sum)
		}
		diff := new(big.Int).Sub(big.NewInt(a), big.NewInt(b))
		if got, err := SubNano(a, b); (err == nil) != diff.IsInt64() || (err == nil && got != diff.Int64()) {
			t.Fatalf("SubNano = %d, %v; want %s", got, err, diff)
		}
	})
}

func TestCurrency(t *testing.T) {
	for code, want := range map[string]int{"USD": 2, "CNY": 2, "JPY": 0, "KWD": 3, "ZWG": 2, "AED": 2} {
		if got, ok := Currency(code); got != want || !ok {
			t.Errorf("Currency(%s) = %d, %v", code, got, ok)
		}
	}
	for _, code := range []string{"", "usd", "XYZ", "US", "USDX", "D E", " US", "AED AFN"} {
		if _, ok := Currency(code); ok {
			t.Errorf("Currency(%q) accepted", code)
		}
	}
}

// halfAway rounds r half away from zero, by floor(|r| + 1/2) with the sign put back.
func halfAway(r *big.Rat) *big.Int {
	x := new(big.Rat).Abs(r)
	x.Add(x, big.NewRat(1, 2))
	n := new(big.Int).Quo(x.Num(), x.Denom())
	if r.Sign() < 0 {
		n.Neg(n)
	}
	return n
}

func trimmed(s string) string {
	for s[len(s)-1] == '0' {
		s = s[:len(s)-1]
	}
	if s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	if s == "-0" {
		return "0"
	}
	return s
}
