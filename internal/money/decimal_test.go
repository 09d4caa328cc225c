package money

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseDecimal(t *testing.T) {
	for _, tt := range []struct {
		in, want string
		err      error
	}{
		{"0", "0", nil},
		{"0.150", "0.15", nil},
		{"1000000", "1000000", nil},
		{"999999999999999999.999999999999999999", "999999999999999999.999999999999999999", nil},
		{"0.000000000000000001", "0.000000000000000001", nil},
		{"1000000000000000000", "", ErrRange},
		{"0.0000000000000000001", "", ErrPrecision},
		{"-1", "", ErrNegative},
		{"-0", "", ErrNegative},
		{"-x", "", ErrSyntax},
		{"", "", ErrSyntax},
		{"1e6", "", ErrSyntax},
		{"1_000", "", ErrSyntax},
		{"00", "", ErrSyntax},
		{"NaN", "", ErrSyntax},
		{strings.Repeat("9", 1000), "", ErrRange},
	} {
		got, err := ParseDecimal(tt.in)
		if !errors.Is(err, tt.err) {
			t.Errorf("ParseDecimal(%.20q): %v, want %v", tt.in, err, tt.err)
		}
		if err == nil && got.String() != tt.want {
			t.Errorf("ParseDecimal(%q) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestDecimalJSON(t *testing.T) {
	var v struct{ Q Decimal }
	if err := json.Unmarshal([]byte(`{"Q":"1.50"}`), &v); err != nil {
		t.Fatal(err)
	}
	if out, err := json.Marshal(v); string(out) != `{"Q":"1.5"}` || err != nil {
		t.Errorf("%s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"Q":1.5}`), &v); err == nil {
		t.Error("a JSON number was accepted: it may have been a float")
	}
}

// decimals draws values of every size and number of decimals.
var decimals = rapid.Custom(func(t *rapid.T) Decimal {
	whole := rapid.Uint64Max(e18-1).Draw(t, "whole") >> rapid.IntRange(0, 60).Draw(t, "shift")
	frac := rapid.Uint64Max(e18-1).Draw(t, "frac")
	for range rapid.IntRange(0, 18).Draw(t, "zeros") {
		frac -= frac % 10
		frac /= 10
	}
	return fromParts(whole, frac)
})

func ratOf(t *rapid.T, d Decimal) *big.Rat {
	r, ok := new(big.Rat).SetString(d.String())
	if !ok {
		t.Fatalf("%s is not a number", d)
	}
	return r
}

func TestDecimalAgainstBig(t *testing.T) {
	limit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil))
	check := func(t *rapid.T, op string, got Decimal, err error, want *big.Rat) {
		scaled := new(big.Rat).Mul(want, limit)
		var wantErr error
		switch {
		case want.Sign() < 0:
			wantErr = ErrNegative
		case !scaled.IsInt():
			wantErr = ErrPrecision
		case want.Cmp(limit) >= 0:
			wantErr = ErrRange
		}
		if !errors.Is(err, wantErr) {
			t.Fatalf("%s: %v, want %v", op, err, wantErr)
		}
		if err == nil && ratOf(t, got).Cmp(want) != 0 {
			t.Fatalf("%s = %s, want %s", op, got, want.RatString())
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d, e := decimals.Draw(t, "d"), decimals.Draw(t, "e")
		a, b := ratOf(t, d), ratOf(t, e)
		sum, err := d.Add(e)
		check(t, "Add", sum, err, new(big.Rat).Add(a, b))
		diff, err := d.Sub(e)
		check(t, "Sub", diff, err, new(big.Rat).Sub(a, b))
		product, err := d.Mul(e)
		check(t, "Mul", product, err, new(big.Rat).Mul(a, b))
		if d.Cmp(e) != a.Cmp(b) || (d.Cmp(e) == 0) != (d == e) {
			t.Fatalf("Cmp(%s, %s) = %d", d, e, d.Cmp(e))
		}
		if back, err := ParseDecimal(d.String()); back != d || err != nil {
			t.Fatalf("%s read back as %s, %v", d, back, err)
		}
		if _, frac, _ := strings.Cut(d.String(), "."); len(frac) != d.Decimals() {
			t.Fatalf("%s: Decimals = %d", d, d.Decimals())
		}
		if back, err := DecimalBits(d.Bits()); back != d || err != nil {
			t.Fatalf("bits of %s give %s, %v", d, back, err)
		}
	})
}

func TestDecimalNano(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		err  error
	}{
		{"0", 0, nil},
		{"1.000000001", 1_000_000_001, nil},
		{"9223372036.854775807", 1<<63 - 1, nil},
		{"9223372036.854775808", 0, ErrRange},
		{"9223372037", 0, ErrRange},
		{"0.0000000001", 0, ErrPrecision},
	} {
		d, err := ParseDecimal(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Nano(); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s.Nano() = %d, %v", tt.in, got, err)
		}
	}
}

func TestDecimalInt(t *testing.T) {
	if d, err := DecimalInt(42); d.String() != "42" || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	if _, err := DecimalInt(-1); !errors.Is(err, ErrNegative) {
		t.Error(err)
	}
	if _, err := DecimalInt(e18); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
	if _, err := DecimalBits(1<<63, 0); !errors.Is(err, ErrRange) {
		t.Error(err)
	}
}
