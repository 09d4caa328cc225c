package money

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// e18 is the scale of a Decimal.
const e18 = 1_000_000_000_000_000_000

// Decimal is an exact decimal number that is not negative: at most 18 digits before the point and
// 18 after it. Its zero value is 0. Equal numbers are == equal, so that it may key a map.
type Decimal struct{ hi, lo uint64 } // value × 10¹⁸, below 10³⁶

// ParseDecimal reads "0.15", "1000000" or "12.5": the grammar of a JSON number without sign and
// exponent. A minus sign is ErrNegative, a 19th decimal ErrPrecision, 10¹⁸ and more ErrRange.
func ParseDecimal(s string) (Decimal, error) {
	text, neg := s, false
	if len(s) > 0 && s[0] == '-' {
		text, neg = s[1:], true
	}
	whole, frac, err := parseParts(text, 18)
	if err == nil && neg {
		err = ErrNegative
	}
	if err != nil {
		return Decimal{}, fmt.Errorf("%q: %w", clip(s), err)
	}
	return fromParts(whole, frac), nil
}

func fromParts(whole, frac uint64) Decimal {
	hi, lo := bits.Mul64(whole, e18)
	lo, carry := bits.Add64(lo, frac, 0)
	return Decimal{hi + carry, lo}
}

// DecimalInt returns n as a Decimal: ErrNegative below zero, ErrRange from 10¹⁸.
func DecimalInt(n int64) (Decimal, error) {
	if n < 0 {
		return Decimal{}, ErrNegative
	}
	if n >= e18 {
		return Decimal{}, ErrRange
	}
	return fromParts(uint64(n), 0), nil
}

// DecimalBits returns the Decimal whose value is (hi·2⁶⁴ + lo) · 10⁻¹⁸, or ErrRange.
func DecimalBits(hi, lo uint64) (Decimal, error) {
	d := Decimal{hi, lo}
	if !d.inRange() {
		return Decimal{}, ErrRange
	}
	return d, nil
}

// Bits returns the value times 10¹⁸ as a 128-bit integer below 10³⁶, for exact arithmetic elsewhere.
func (d Decimal) Bits() (hi, lo uint64) { return d.hi, d.lo }

func (d Decimal) inRange() bool {
	hi, lo := bits.Mul64(e18, e18)
	return d.hi < hi || (d.hi == hi && d.lo < lo)
}

// String gives the shortest text that ParseDecimal reads back.
func (d Decimal) String() string { return string(d.Append(make([]byte, 0, 40))) }

// Append appends String to dst.
func (d Decimal) Append(dst []byte) []byte {
	whole, frac := bits.Div64(d.hi, d.lo, e18) // d < 10³⁶, so hi < 10¹⁸ and the quotient fits
	dst = strconv.AppendUint(dst, whole, 10)
	return appendFraction(dst, frac, e18/10)
}

// MarshalText and UnmarshalText make a Decimal a string in JSON.
func (d Decimal) MarshalText() ([]byte, error) { return d.Append(nil), nil }

// UnmarshalText is ParseDecimal.
func (d *Decimal) UnmarshalText(text []byte) error {
	v, err := ParseDecimal(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// IsZero reports whether d is 0.
func (d Decimal) IsZero() bool { return d == Decimal{} }

// Cmp returns −1, 0 or +1 as d is below, equal to or above e.
func (d Decimal) Cmp(e Decimal) int {
	switch {
	case d == e:
		return 0
	case d.hi < e.hi || (d.hi == e.hi && d.lo < e.lo):
		return -1
	}
	return 1
}

// Add returns d + e, or ErrRange.
func (d Decimal) Add(e Decimal) (Decimal, error) {
	lo, carry := bits.Add64(d.lo, e.lo, 0)
	s := Decimal{d.hi + e.hi + carry, lo} // two values below 10³⁶ fit 128 bits
	if !s.inRange() {
		return Decimal{}, ErrRange
	}
	return s, nil
}

// Sub returns d − e, or ErrNegative when e is larger.
func (d Decimal) Sub(e Decimal) (Decimal, error) {
	if d.Cmp(e) < 0 {
		return Decimal{}, ErrNegative
	}
	lo, borrow := bits.Sub64(d.lo, e.lo, 0)
	return Decimal{d.hi - e.hi - borrow, lo}, nil
}

// Mul returns d × e: exact, else ErrPrecision when 18 decimals do not hold it, or ErrRange.
func (d Decimal) Mul(e Decimal) (Decimal, error) {
	// d·e has the scale 10³⁶; with d = a·10¹⁸ + b and e = c·10¹⁸ + f the product at scale 10¹⁸ is
	// ac·10¹⁸ + af + bc + bf/10¹⁸.
	a, b := bits.Div64(d.hi, d.lo, e18)
	c, f := bits.Div64(e.hi, e.lo, e18)
	bfHi, bfLo := bits.Mul64(b, f)
	bf, rest := bits.Div64(bfHi, bfLo, e18)
	if rest != 0 {
		return Decimal{}, ErrPrecision
	}
	acHi, ac := bits.Mul64(a, c)
	if acHi != 0 || ac >= e18 {
		return Decimal{}, ErrRange
	}
	sum := fromParts(ac, bf)
	for _, p := range [2][2]uint64{{a, f}, {b, c}} {
		hi, lo := bits.Mul64(p[0], p[1]) // below 10³⁶
		var err error
		if sum, err = sum.Add(Decimal{hi, lo}); err != nil {
			return Decimal{}, err
		}
	}
	return sum, nil
}

// Decimals returns how many decimals d needs: 0 for a whole number, at most 18.
func (d Decimal) Decimals() int {
	_, frac := bits.Div64(d.hi, d.lo, e18)
	n := 0
	for unit := uint64(e18 / 10); frac > 0; unit /= 10 {
		frac %= unit
		n++
	}
	return n
}

// Nano returns d as an amount in nano-units: ErrPrecision when it needs more than nine decimals,
// ErrRange when it does not fit.
func (d Decimal) Nano() (int64, error) {
	whole, frac := bits.Div64(d.hi, d.lo, e18)
	if frac%Nano != 0 {
		return 0, ErrPrecision
	}
	if whole > math.MaxInt64/Nano {
		return 0, ErrRange
	}
	n := whole*Nano + frac/Nano
	if n > math.MaxInt64 {
		return 0, ErrRange
	}
	return int64(n), nil
}
