// Package money holds amounts of money and exact decimal numbers, and the one rounding rule.
//
// An amount is an int64 count of nano-units: 10⁻⁹ of the currency's major unit, so ±9.2 billion
// units. A price or a quantity is a [Decimal]: exact, never negative, up to 18 decimals. Nothing
// here is ever a float, nothing wraps around: an operation whose result does not fit returns
// [ErrRange]. The rounding rule, everywhere, is half away from zero.
//
// The package knows no prices, rates or accounts, and converts no currency into another. Its errors
// are plain sentinels; the room that read the input says which field was wrong.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// Nano is one major unit of a currency in nano-units.
const Nano = 1_000_000_000

// The failures of this package. They are wrapped with the offending text where there is one.
var (
	ErrSyntax    = errors.New("not a decimal number")
	ErrRange     = errors.New("out of range")
	ErrPrecision = errors.New("too many decimals")
	ErrNegative  = errors.New("negative")
	ErrCurrency  = errors.New("different currencies")
)

// Amount is a sum of money: nano-units of one currency (ISO 4217 code).
type Amount struct {
	Nano     int64
	Currency string
}

// Add returns a + b.
func (a Amount) Add(b Amount) (Amount, error) {
	if a.Currency != b.Currency {
		return Amount{}, fmt.Errorf("%w: %s and %s", ErrCurrency, a.Currency, b.Currency)
	}
	n, err := AddNano(a.Nano, b.Nano)
	return Amount{n, a.Currency}, err
}

// Sub returns a − b.
func (a Amount) Sub(b Amount) (Amount, error) {
	if a.Currency != b.Currency {
		return Amount{}, fmt.Errorf("%w: %s and %s", ErrCurrency, a.Currency, b.Currency)
	}
	n, err := SubNano(a.Nano, b.Nano)
	return Amount{n, a.Currency}, err
}

// Round splits a into the nearest whole number of the currency's minor units and the residue, so
// that rounded + residue = a. An unknown currency is an error.
func (a Amount) Round() (rounded, residue Amount, err error) {
	exp, ok := Currency(a.Currency)
	if !ok {
		return Amount{}, Amount{}, fmt.Errorf("%w: %q is not a currency", ErrCurrency, a.Currency)
	}
	unit := int64(Nano)
	for range exp {
		unit /= 10
	}
	n, err := MulDivRound(a.Nano, 1, unit)
	if err != nil {
		return Amount{}, Amount{}, err
	}
	if n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return Amount{}, Amount{}, ErrRange
	}
	n *= unit
	return Amount{n, a.Currency}, Amount{a.Nano - n, a.Currency}, nil
}

// String gives "0.000123 USD".
func (a Amount) String() string {
	return string(append(append(AppendNano(make([]byte, 0, 32), a.Nano), ' '), a.Currency...))
}

// AddNano returns a + b, or ErrRange.
func AddNano(a, b int64) (int64, error) {
	s := a + b
	if (a^s)&(b^s) < 0 {
		return 0, ErrRange
	}
	return s, nil
}

// SubNano returns a − b, or ErrRange.
func SubNano(a, b int64) (int64, error) {
	s := a - b
	if (a^b)&(a^s) < 0 {
		return 0, ErrRange
	}
	return s, nil
}

// MulDivRound returns a × b ÷ c rounded half away from zero, with a 128-bit intermediate. It fails
// with ErrRange when the result does not fit or c is zero.
func MulDivRound(a, b, c int64) (int64, error) {
	neg := (a < 0) != (b < 0) != (c < 0)
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	d := magnitude(c)
	if hi >= d {
		return 0, ErrRange // also c == 0
	}
	q, r := bits.Div64(hi, lo, d)
	if q > 1<<63 {
		return 0, ErrRange // before rounding up, which might wrap
	}
	if r >= d-r {
		q++
	}
	switch {
	case neg && q <= 1<<63:
		return -int64(q), nil
	case !neg && q <= math.MaxInt64:
		return int64(q), nil
	}
	return 0, ErrRange
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
