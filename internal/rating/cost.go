package rating

import (
	"github.com/tollgate-io/tollgate/internal/money"
)

const (
	e9  = 1_000_000_000
	e18 = 1_000_000_000_000_000_000

	keepAll  = 1_000_000 // the scale of a discount: what is kept, in millionths
	overFull = 10_000    // the scale of an overage: 10,000 is the normal price
)

// LineState is what a line remembers of the period: the quantity metered, and for a dynamic line
// the value of what was billable. The zero value is the start of the period.
type LineState struct {
	Quantity money.Decimal `json:"quantity"`
	Value    money.Decimal `json:"value,omitzero"`
}

// line is a compiled Line. Its cost is kept as an integer N in units of nano/(per·10²⁷) until the
// very end, then divided and rounded once.
type line struct {
	name       string
	meter      string
	pricing    Pricing
	when       when
	per        uint64
	tiers      []tier // one for a model without tiers
	usageOff   money.Decimal
	usageKeep  uint64 // of keepAll
	allowance  money.Decimal
	amountOff  uint64 // nano
	keep       uint64 // of keepAll
	commitment uint64 // nano; meaningful when overage or trueUp is
	overage    uint64 // of overFull
	trueUp     bool
	minimum    int64 // nano
	maximum    int64 // nano; -1 is none
	inAdvance  bool
	linear     bool  // each unit costs unit, whatever came before
	unit       int64 // nano
}

// tier has the lower bound excluded and the upper included.
type tier struct {
	from, upTo money.Decimal // upTo of the last tier is the largest Decimal
	price      money.Decimal
	flat       uint64 // nano
}

// billable is the quantity that is priced, of a metered quantity with at most nine decimals: usage
// discounts, then the allowance, taken off.
func (l *line) billable(q money.Decimal) (money.Decimal, error) {
	if l.usageKeep != keepAll {
		w := scaled(q)
		w.mul(l.usageKeep)
		w.div(keepAll) // exact: nine decimals and six fit 18
		var err error
		if q, err = w.decimal(); err != nil {
			return q, err
		}
	}
	return less(less(q, l.usageOff), l.allowance), nil
}

// less is a − b, but not below zero.
func less(a, b money.Decimal) money.Decimal {
	d, err := a.Sub(b)
	if err != nil {
		return money.Decimal{}
	}
	return d
}

// cost is round(F(s)): what the line has charged in nano-units once it has metered s.
func (l *line) cost(s LineState) (int64, error) {
	x, err := l.billable(s.Quantity)
	if err != nil {
		return 0, err
	}
	n := l.priced(x, s.Value)
	scale := uint64(e9) // of n and of what is compared with it, beside per·10¹⁸
	if l.amountOff > 0 {
		off := l.nano(l.amountOff)
		n.sub(&off)
	}
	if l.keep != keepAll {
		n.mul(l.keep)
		scale *= keepAll
	}
	if l.overage != overFull {
		l.exceed(&n, scale/e9)
		scale *= overFull
	}
	// Half up is floor((floor(2N/D) + 1) / 2) with D = 10¹⁸·scale·per.
	n.mul(2)
	n.div(e18)
	n.div(scale)
	n.div(l.per)
	n.add(&wide{w: [4]uint64{1}})
	n.div(2)
	return n.int64()
}

// exceed prices what n has beyond the commitment at the overage. It multiplies n by overFull; scale
// is what n was multiplied by before.
func (l *line) exceed(n *wide, scale uint64) {
	committed := l.nano(l.commitment)
	committed.mul(scale)
	beyond := *n
	beyond.sub(&committed)
	n.sub(&beyond) // what is within
	n.mul(overFull)
	beyond.mul(l.overage)
	n.add(&beyond)
}

// nano is an amount of money at the scale of N.
func (l *line) nano(n uint64) wide {
	w := wide{w: [4]uint64{n}}
	w.mul(l.per)
	w.mul(e18)
	w.mul(e9)
	return w
}

// priced is the price of x billable units, value being theirs on a dynamic line, before discounts.
func (l *line) priced(x, value money.Decimal) (n wide) {
	switch l.pricing {
	case Flat:
		return l.nano(l.tiers[0].flat)
	case Dynamic:
		n = scaled(value)
		n.mul(e18)
	case Package:
		n = scaled(l.tiers[0].price)
		n.mul(packages(x, l.per))
		n.mul(l.per)
		n.mul(e18)
	case Volume:
		n.addTier(l, l.tierOf(x), x)
	default:
		for i := range l.tiers {
			t := &l.tiers[i]
			if i > 0 && x.Cmp(t.from) <= 0 {
				break
			}
			n.addTier(l, t, less(lower(x, t.upTo), t.from))
		}
	}
	return n
}

// addTier adds the price of x units in the tier, and its flat fee.
func (n *wide) addTier(l *line, t *tier, x money.Decimal) {
	p := product(x, t.price)
	n.add(&p)
	if t.flat > 0 {
		p = l.nano(t.flat)
		n.add(&p)
	}
}

// packages is ⌈x/size⌉.
func packages(x money.Decimal, size uint64) uint64 {
	w := scaled(x)
	rest := w.div(e18)
	rest |= w.div(size)
	if rest != 0 {
		return w.w[0] + 1 // x is below 10¹⁸
	}
	return w.w[0]
}

// tierOf returns the tier that a total of x reaches.
func (l *line) tierOf(x money.Decimal) *tier {
	i := 0
	for x.Cmp(l.tiers[i].upTo) > 0 {
		i++
	}
	return &l.tiers[i]
}

func lower(a, b money.Decimal) money.Decimal {
	if a.Cmp(b) <= 0 {
		return a
	}
	return b
}
