package rating

import (
	"fmt"
	"math/big"
	"slices"
	"time"
)

// oracle rates by the book and slowly: big.Rat throughout, straight from the card as written, with
// the whole period's bill computed from its totals. It shares no code with the engine.
type oracle struct {
	card     *Card
	quantity []*big.Rat
	value    []*big.Rat // of dynamic lines: billable quantity × unit price
}

func newOracle(c *Card) *oracle {
	o := &oracle{card: c}
	for range c.Lines {
		o.quantity, o.value = append(o.quantity, new(big.Rat)), append(o.value, new(big.Rat))
	}
	return o
}

func rat(n Number) *big.Rat {
	if n == "" {
		return new(big.Rat)
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic(n)
	}
	return r
}

// shareLeft is 1 − percent/100.
func shareLeft(percent Number) *big.Rat {
	return new(big.Rat).Sub(big.NewRat(1, 1), new(big.Rat).Quo(rat(percent), big.NewRat(100, 1)))
}

func positive(r *big.Rat) *big.Rat {
	if r.Sign() < 0 {
		return new(big.Rat)
	}
	return r
}

func floor(r *big.Rat) *big.Int { return new(big.Int).Div(r.Num(), r.Denom()) }

// use records a usage and returns its charge in nano-units, or the reason for none.
func (o *oracle) use(u *Usage) (charge *big.Int, line int, err error) {
	line = o.find(u)
	if line < 0 {
		return nil, line, fmt.Errorf("no price for %s", u.Meter)
	}
	before, billed := o.spent(), o.billable(line, o.quantity[line])
	o.quantity[line] = new(big.Rat).Add(o.quantity[line], rat(Number(u.Quantity.String())))
	more := new(big.Rat).Sub(o.billable(line, o.quantity[line]), billed)
	o.value[line] = new(big.Rat).Add(o.value[line], more.Mul(more, rat(Number(u.Unit.String()))))
	return new(big.Int).Sub(o.spent(), before), line, nil
}

func (o *oracle) find(u *Usage) int {
	classes := []string{u.Dims.Class}
	if up := map[string]string{"cached_input": "input", "cache_write": "input", "audio_input": "input", "reasoning": "output", "audio_output": "output"}[u.Dims.Class]; up != "" {
		classes = append(classes, up)
	}
	for _, class := range classes {
		for i, l := range o.card.Lines {
			if l.Meter == u.Meter && l.Pricing != Flat && selected(l.When, u, class) {
				return i
			}
		}
	}
	return -1
}

func selected(w *When, u *Usage, class string) bool {
	if w == nil {
		return true
	}
	for _, c := range []struct {
		want OneOf
		is   string
	}{{w.Model, u.Dims.Model}, {w.Region, u.Dims.Region}, {w.Resolution, u.Dims.Resolution}, {w.Class, class}} {
		if c.want != nil && !slices.Contains(c.want, c.is) {
			return false
		}
	}
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		panic(err)
	}
	local := u.Time.In(zone)
	if w.Days != nil && !slices.Contains(w.Days, map[string]string{"Monday": "mon", "Tuesday": "tue", "Wednesday": "wed",
		"Thursday": "thu", "Friday": "fri", "Saturday": "sat", "Sunday": "sun"}[local.Weekday().String()]) {
		return false
	}
	if w.Hours == "" {
		return true
	}
	from, to, now := w.Hours[:5], w.Hours[6:], local.Format("15:04") // such texts sort as times do
	if from < to {
		return from <= now && now < to
	}
	return now >= from || now < to
}

func (o *oracle) billable(i int, q *big.Rat) *big.Rat {
	l := o.card.Lines[i]
	x := new(big.Rat).Set(q)
	if d := l.Discount; d != nil {
		x.Mul(x, shareLeft(d.UsagePercent))
		x = positive(x.Sub(x, rat(d.Usage)))
	}
	return positive(x.Sub(x, rat(l.Allowance)))
}

// lineCost is F of line i so far, rounded to nano-units.
func (o *oracle) lineCost(i int) *big.Int {
	l, x := o.card.Lines[i], o.billable(i, o.quantity[i])
	per := big.NewRat(max(l.Per, 1), 1)
	cost := new(big.Rat)
	switch l.Pricing {
	case Flat:
		cost = rat(l.Price)
	case Percentage:
		cost.Quo(cost.Mul(x, rat(l.Percent)), big.NewRat(100, 1))
	case Dynamic:
		cost.Quo(o.value[i], per)
	case Package:
		up := floor(new(big.Rat).Neg(new(big.Rat).Quo(x, per)))
		cost.Mul(new(big.Rat).SetInt(up.Neg(up)), rat(l.Price))
	case Graduated, Volume:
		cost = tiered(&l, x)
	default:
		cost.Quo(cost.Mul(x, rat(l.Price)), per)
	}
	if d := l.Discount; d != nil {
		cost = positive(cost.Sub(cost, rat(d.Amount)))
		cost.Mul(cost, shareLeft(d.Percent))
	}
	if c := l.Commitment; c != nil {
		cost = withOverage(cost, c)
	}
	return nearest(cost)
}

// tiered walks the tiers from the top down, taking off what each one covers.
func tiered(l *Line, x *big.Rat) *big.Rat {
	cost, left := new(big.Rat), new(big.Rat).Set(x)
	for i := len(l.Tiers) - 1; i >= 0; i-- {
		bottom := new(big.Rat)
		if i > 0 {
			bottom = rat(l.Tiers[i-1].UpTo)
		}
		if left.Cmp(bottom) <= 0 && i > 0 {
			continue
		}
		units := new(big.Rat).Sub(left, bottom)
		if l.Pricing == Volume {
			units = x
		}
		units = new(big.Rat).Quo(units, big.NewRat(max(l.Per, 1), 1))
		cost.Add(cost, units.Mul(units, rat(l.Tiers[i].Price)))
		cost.Add(cost, rat(l.Tiers[i].Flat))
		if l.Pricing == Volume {
			return cost
		}
		left = bottom
	}
	return cost
}

func withOverage(cost *big.Rat, c *Commitment) *big.Rat {
	over := new(big.Rat).Sub(cost, rat(c.Amount))
	if over.Sign() <= 0 || c.OveragePercent == "" {
		return cost
	}
	over.Mul(over, new(big.Rat).Quo(rat(c.OveragePercent), big.NewRat(100, 1)))
	return over.Add(over, rat(c.Amount))
}

// nearest is a sum of money in nano-units, half away from zero.
func nearest(r *big.Rat) *big.Int {
	x := new(big.Rat).Mul(r, big.NewRat(2_000_000_000, 1))
	if r.Sign() < 0 {
		n := nearest(new(big.Rat).Neg(r))
		return n.Neg(n)
	}
	n := floor(x)
	return n.Rsh(n.Add(n, big.NewInt(1)), 1)
}

// spent is what the period has cost so far, before what only its end can tell.
func (o *oracle) spent() *big.Int {
	sum := new(big.Int)
	for i := range o.card.Lines {
		sum.Add(sum, o.lineCost(i))
	}
	if c := o.card.Commitment; c != nil {
		r := withOverage(new(big.Rat).SetFrac(sum, big.NewInt(1_000_000_000)), c)
		over := r.Sub(r, new(big.Rat).SetFrac(sum, big.NewInt(1_000_000_000)))
		return new(big.Int).Add(sum, nearest(over))
	}
	return sum
}

// lines is what the lines cost, each within its own limits.
func (o *oracle) lines() *big.Int {
	sum := new(big.Int)
	for i := range o.card.Lines {
		l := &o.card.Lines[i]
		sum.Add(sum, within(o.lineCost(i), l.Commitment, l.Minimum, l.Maximum))
	}
	return sum
}

// bill is what the whole period costs.
func (o *oracle) bill() *big.Int {
	sum := o.lines().Add(o.lines(), o.spent())
	for i := range o.card.Lines {
		sum.Sub(sum, o.lineCost(i)) // leaves of spent the overage of the card
	}
	return within(sum, o.card.Commitment, o.card.Minimum, o.card.Maximum)
}

func within(n *big.Int, c *Commitment, minimum, maximum Number) *big.Int {
	floors := []Number{minimum}
	if c != nil && !c.NoTrueUp {
		floors = append(floors, c.Amount)
	}
	for _, f := range floors {
		if least := nearest(rat(f)); n.Cmp(least) < 0 {
			n = least
		}
	}
	if most := nearest(rat(maximum)); maximum != "" && n.Cmp(most) > 0 {
		n = most
	}
	return n
}
