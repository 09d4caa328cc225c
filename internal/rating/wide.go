package rating

import (
	"math/bits"

	"github.com/tollgate-io/tollgate/internal/money"
)

// wide is an unsigned 256-bit integer with a sticky overflow flag: once a step of a calculation did
// not fit, its result is refused by nano. The limits that compile enforces (quantities below 10¹⁸,
// prices below 10¹⁰, factors of at most 10⁶ and 10⁵) keep the largest cost at 2·10⁷⁵, below 2²⁵⁶; the
// flag guards that reasoning.
type wide struct {
	w        [4]uint64 // little endian
	overflow bool
}

// product is a × b, with both values at their scale of 10¹⁸.
func product(a, b money.Decimal) wide {
	ah, al := a.Bits()
	bh, bl := b.Bits()
	w := wide{w: [4]uint64{al, ah}}
	w.mul(bl)
	if bh != 0 {
		x := wide{w: [4]uint64{0, al, ah}}
		x.mul(bh)
		w.add(&x)
	}
	return w
}

// scaled is d at its scale of 10¹⁸.
func scaled(d money.Decimal) wide {
	hi, lo := d.Bits()
	return wide{w: [4]uint64{lo, hi}}
}

// add makes a the sum a + b.
func (a *wide) add(b *wide) {
	var c uint64
	a.w[0], c = bits.Add64(a.w[0], b.w[0], 0)
	a.w[1], c = bits.Add64(a.w[1], b.w[1], c)
	a.w[2], c = bits.Add64(a.w[2], b.w[2], c)
	a.w[3], c = bits.Add64(a.w[3], b.w[3], c)
	a.overflow = a.overflow || b.overflow || c != 0
}

// sub makes a the difference a − b, or 0 when b is larger.
func (a *wide) sub(b *wide) {
	var c uint64
	a.w[0], c = bits.Sub64(a.w[0], b.w[0], 0)
	a.w[1], c = bits.Sub64(a.w[1], b.w[1], c)
	a.w[2], c = bits.Sub64(a.w[2], b.w[2], c)
	a.w[3], c = bits.Sub64(a.w[3], b.w[3], c)
	a.overflow = a.overflow || b.overflow
	if c != 0 {
		a.w = [4]uint64{}
	}
}

// mul makes a the product a × n.
func (a *wide) mul(n uint64) {
	var carry uint64
	for i := range a.w {
		hi, lo := bits.Mul64(a.w[i], n)
		var c uint64
		a.w[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	a.overflow = a.overflow || carry != 0
}

// div makes a the whole part of a ÷ n, and returns the remainder. n is not zero.
func (a *wide) div(n uint64) (rest uint64) {
	if n == 1 {
		return 0
	}
	for i := 3; i >= 0; i-- {
		if rest|a.w[i] != 0 {
			a.w[i], rest = bits.Div64(rest, a.w[i], n)
		}
	}
	return rest
}

// decimal is a as a Decimal at its scale of 10¹⁸.
func (a *wide) decimal() (money.Decimal, error) {
	if a.overflow || a.w[2]|a.w[3] != 0 {
		return money.Decimal{}, money.ErrRange
	}
	return money.DecimalBits(a.w[1], a.w[0])
}

// int64 is a, or ErrRange.
func (a *wide) int64() (int64, error) {
	if a.overflow || a.w[1]|a.w[2]|a.w[3] != 0 || int64(a.w[0]) < 0 {
		return 0, money.ErrRange
	}
	return int64(a.w[0]), nil
}
