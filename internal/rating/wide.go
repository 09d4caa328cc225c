package rating

import (
	"math/bits"

	"github.com/tollgate-io/tollgate/internal/money"
)

// wide is an unsigned 256-bit integer with a sticky overflow flag: once a step of a calculation did
// not fit, its result is refused by nano. The limits that compile enforces (quantities below 10¹⁸,
// prices below 10¹⁰, factors below 10⁶ and 10⁵) keep the largest cost at 10⁷⁵, below 2²⁵⁶; the flag
// is the proof that costs nothing.
type wide struct {
	w        [4]uint64 // little endian
	overflow bool
}

// product is a × b, with both values at their scale of 10¹⁸.
func product(a, b money.Decimal) wide {
	ah, al := a.Bits()
	bh, bl := b.Bits()
	w := wide{w: [4]uint64{al, ah}}.times(bl)
	x := wide{w: [4]uint64{0, al, ah}}.times(bh)
	return w.plus(x)
}

func scaled(d money.Decimal) wide {
	hi, lo := d.Bits()
	return wide{w: [4]uint64{lo, hi}}
}

func (a wide) plus(b wide) wide {
	var c uint64
	for i := range a.w {
		a.w[i], c = bits.Add64(a.w[i], b.w[i], c)
	}
	a.overflow = a.overflow || b.overflow || c != 0
	return a
}

// minus is a − b, or 0 when b is larger.
func (a wide) minus(b wide) wide {
	var c uint64
	for i := range a.w {
		a.w[i], c = bits.Sub64(a.w[i], b.w[i], c)
	}
	a.overflow = a.overflow || b.overflow
	if c != 0 {
		a.w = [4]uint64{}
	}
	return a
}

func (a wide) times(n uint64) wide {
	var carry uint64
	for i := range a.w {
		hi, lo := bits.Mul64(a.w[i], n)
		var c uint64
		a.w[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	a.overflow = a.overflow || carry != 0
	return a
}

// over is the whole part of a ÷ n, and the remainder.
func (a wide) over(n uint64) (wide, uint64) {
	var r uint64
	for i := 3; i >= 0; i-- {
		a.w[i], r = bits.Div64(r, a.w[i], n)
	}
	return a, r
}

func (a wide) less(b wide) bool {
	var c uint64
	for i := range a.w {
		_, c = bits.Sub64(a.w[i], b.w[i], c)
	}
	return c != 0
}

// decimal is a as a Decimal at its scale of 10¹⁸.
func (a wide) decimal() (money.Decimal, error) {
	if a.overflow || a.w[2]|a.w[3] != 0 {
		return money.Decimal{}, money.ErrRange
	}
	return money.DecimalBits(a.w[1], a.w[0])
}

// int64 is a, or ErrRange.
func (a wide) int64() (int64, error) {
	if a.overflow || a.w[1]|a.w[2]|a.w[3] != 0 || int64(a.w[0]) < 0 {
		return 0, money.ErrRange
	}
	return int64(a.w[0]), nil
}
