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
	Quantity money.Decimal
	Value    money.Decimal
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
		w, _ := scaled(q).times(l.usageKeep).over(keepAll) // exact: nine decimals and six fit 18
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
	n := l.priced(x, s.Value).minus(l.nano(l.amountOff)).times(l.keep) // scale: × keepAll
	committed := l.nano(l.commitment).times(keepAll)
	if l.overage == overFull || n.less(committed) {
		n = n.times(overFull)
	} else {
		n = committed.times(overFull).plus(n.minus(committed).times(l.overage))
	}
	// Half up is floor((floor(2N/D) + 1) / 2) with D = per·10²⁷·keepAll·overFull.
	n, _ = n.times(2).over(e18)
	n, _ = n.over(e9 * keepAll * overFull)
	n, _ = n.over(l.per)
	n, _ = n.plus(wide{w: [4]uint64{1}}).over(2)
	return n.int64()
}

// nano is an amount of money at the scale of N.
func (l *line) nano(n uint64) wide {
	return wide{w: [4]uint64{n}}.times(l.per).times(e18).times(e9)
}

// priced is the price of x billable units, value being theirs on a dynamic line, before discounts.
func (l *line) priced(x, value money.Decimal) wide {
	switch l.pricing {
	case Flat:
		return l.nano(l.tiers[0].flat)
	case Dynamic:
		return scaled(value).times(e18)
	case Package:
		packages, rest := scaled(x).over(e18)
		whole, odd := packages.over(l.per)
		if rest != 0 || odd != 0 {
			whole = whole.plus(wide{w: [4]uint64{1}})
		}
		hi, lo := l.tiers[0].price.Bits()
		return wide{w: [4]uint64{lo, hi}}.times(e18).times(l.per).times(whole.w[0])
	case Volume:
		t := l.tierOf(x)
		return product(x, t.price).plus(l.nano(t.flat))
	}
	var n wide
	for i := range l.tiers {
		t := &l.tiers[i]
		if i > 0 && x.Cmp(t.from) <= 0 {
			break
		}
		n = n.plus(product(less(lower(x, t.upTo), t.from), t.price)).plus(l.nano(t.flat))
	}
	return n
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
