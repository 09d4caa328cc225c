package rating

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// pools lists the token classes that a caller of TokenBound cannot tell apart before the call.
var pools = [][]int{{Input, CachedInput, CacheWrite}, {Output, Reasoning}, {AudioInput}, {AudioOutput}, {Requests}}

// bound is the most that the usage of a pool can cost: the largest of its alternatives.
type bound struct {
	alternatives []ramp
	open         bool // some line has no bound, or none that fits int64
}

// ramp bounds the charge of u > 0 units, whatever the period metered before, by
// u·whole + ⌈u·part/10⁹⌉ + step, or for a package by ⌈u/size⌉·step.
type ramp struct {
	whole uint64
	part  uint64
	step  uint64
	size  uint64
}

// TokenBound returns the most that a call can cost, at the dearest tier, hour and place, and
// whatever the period metered before. q bounds the call's tokens: Input, CachedInput and CacheWrite
// together bound those three in any mixture, as do Output and Reasoning; the audio classes and
// Requests each bound themselves. It does not allocate unless it fails.
func (c *Compiled) TokenBound(q *Tokens) (nano int64, err error) {
	var sum uint64
	for i, pool := range pools {
		var u uint64
		for _, class := range pool {
			if u += uint64(q[class]); q[class] < 0 || u > math.MaxInt64 {
				return 0, invalidQuantity(classNames[class], "negative or too large")
			}
		}
		if u == 0 {
			continue
		}
		b := &c.bounds[i]
		if b.open {
			return 0, errOverflow()
		}
		if len(b.alternatives) == 0 && pool[0] != Requests {
			return 0, noPrice(MeterTokens, classNames[pool[0]])
		}
		var most uint64
		for j := range b.alternatives {
			most = max(most, b.alternatives[j].cost(u))
		}
		if sum += most; most > math.MaxInt64 || sum > math.MaxInt64 {
			return 0, errOverflow()
		}
	}
	return c.dearest(sum)
}

// cost evaluates the bound; math.MaxUint64 stands for anything too large.
func (s *ramp) cost(u uint64) uint64 {
	if s.size > 0 {
		hi, lo := bits.Mul64((u-1)/s.size+1, s.step)
		if hi != 0 {
			return math.MaxUint64
		}
		return lo
	}
	hi, n := bits.Mul64(u, s.whole)
	partHi, partLo := bits.Mul64(u, s.part) // part < 10⁹, so that the quotient below fits
	partLo, carry := bits.Add64(partLo, e9-1, 0)
	part, _ := bits.Div64(partHi+carry, partLo, e9)
	n, c1 := bits.Add64(n, part, 0)
	n, c2 := bits.Add64(n, s.step, 0)
	if hi != 0 || c1 != 0 || c2 != 0 {
		return math.MaxUint64
	}
	return n
}

// boundPools prepares TokenBound.
func (c *Compiled) boundPools() {
	c.bounds = make([]bound, len(pools))
	for i, pool := range pools {
		var groups [][]int // the distinct ways in which the classes of the pool find their lines
		for _, class := range pool {
			lines := c.tokens[class].lines
			known := slices.ContainsFunc(groups, func(g []int) bool { return slices.Equal(g, lines) })
			if len(lines) > 0 && !known {
				groups = append(groups, lines)
			}
		}
		c.bounds[i] = c.boundGroups(groups)
	}
}

// boundGroups bounds usage spread over the groups. Within a group it all goes to one line, since
// the dimensions and the time of a call are the same for all its tokens; over several groups the
// dearest slope holds, each group may make its own step, and each rounds up for itself.
func (c *Compiled) boundGroups(groups [][]int) (b bound) {
	steepest, steps := new(big.Rat), new(big.Rat)
	for _, lines := range groups {
		step := new(big.Rat)
		for _, i := range lines {
			l := &c.lines[i]
			if l.pricing == Dynamic {
				return bound{open: true}
			}
			s, k := l.steepest()
			if len(groups) > 1 && l.pricing == Package {
				s = new(big.Rat).Quo(k, nanoRat(l.per))
			}
			if s.Cmp(steepest) > 0 {
				steepest = s
			}
			if k.Cmp(step) > 0 {
				step = k
			}
			if len(groups) == 1 {
				alt, ok := newRamp(s, k)
				if l.pricing == Package {
					alt.size = l.per
				}
				b.open = b.open || !ok
				b.alternatives = append(b.alternatives, alt)
			}
		}
		steps.Add(steps, new(big.Rat).SetInt(ceil(step)))
	}
	if len(groups) > 1 {
		if !steepest.IsInt() {
			steps.Add(steps, big.NewRat(int64(len(groups)-1), 1))
		}
		alt, ok := newRamp(steepest, steps)
		b = bound{[]ramp{alt}, !ok}
	}
	return b
}

// newRamp rounds the slope up to 10⁻⁹ nano-units and the step to a whole one.
func newRamp(s, step *big.Rat) (ramp, bool) {
	fine, k := ceil(new(big.Rat).Mul(s, big.NewRat(e9, 1))), ceil(step)
	whole, part := new(big.Int).QuoRem(fine, big.NewInt(e9), new(big.Int))
	if !whole.IsInt64() || !k.IsInt64() {
		return ramp{}, false
	}
	return ramp{whole: whole.Uint64(), part: part.Uint64(), step: k.Uint64()}, true
}

// steepest bounds what u more units can add to the line, as u·s + k nano-units. For a package s is
// zero and k the price of one.
//
// From tier i to a later tier j a graduated line adds at most u·max(price) and the flat fees above the
// first. A volume line adds u·pⱼ + b·(pⱼ−pᵢ) + fⱼ−fᵢ, where the total before, b, is at most tier i's
// upper bound. An allowance, a usage or an amount discount never add.
func (l *line) steepest() (s, k *big.Rat) {
	k = new(big.Rat)
	dearest := tier{} // of those above the one at hand, price and fee each for itself
	for i := len(l.tiers) - 1; i >= 0; i-- {
		t := &l.tiers[i]
		switch {
		case l.pricing == Graduated && i > 0:
			k.Add(k, l.kept(t.flat))
		case l.pricing == Volume && i < len(l.tiers)-1:
			if jump := l.jump(t, &dearest); jump.Cmp(k) > 0 {
				k = jump
			}
		}
		if t.price.Cmp(dearest.price) > 0 {
			dearest.price = t.price
		}
		dearest.flat = max(dearest.flat, t.flat)
	}
	s = l.slope(&dearest)
	if l.pricing == Package {
		s, k = new(big.Rat), s.Mul(s, nanoRat(l.per))
		k.Quo(k, new(big.Rat).SetFrac64(int64(l.usageKeep), keepAll))
	}
	if l.overage > overFull {
		f := new(big.Rat).SetFrac64(int64(l.overage), overFull)
		s.Mul(s, f)
		k.Mul(k, f)
	}
	return s, k
}

// jump is how much dearer a volume line gets, at most, by leaving tier i for tier j.
func (l *line) jump(i, j *tier) *big.Rat {
	rise := new(big.Rat)
	if j.price.Cmp(i.price) > 0 {
		rise.Sub(l.slope(j), l.slope(i))
		rise.Mul(rise, ratOf(i.upTo))
		rise.Quo(rise, new(big.Rat).SetFrac64(int64(l.usageKeep), keepAll)) // upTo counts billable units
	}
	if j.flat > i.flat {
		rise.Add(rise, l.kept(j.flat-i.flat))
	}
	return rise
}

// kept is a fee after the percentage discount.
func (l *line) kept(nano uint64) *big.Rat {
	return new(big.Rat).Mul(nanoRat(nano), new(big.Rat).SetFrac64(int64(l.keep), keepAll))
}

// slope is the cost in nano-units of one more unit in the tier, discounts taken off.
func (l *line) slope(t *tier) *big.Rat {
	r := ratOf(t.price)
	r.Mul(r, big.NewRat(e9, 1))
	r.Quo(r, nanoRat(l.per))
	r.Mul(r, new(big.Rat).SetFrac64(int64(l.usageKeep), keepAll))
	return r.Mul(r, new(big.Rat).SetFrac64(int64(l.keep), keepAll))
}

func ratOf(d money.Decimal) *big.Rat {
	hi, lo := d.Bits()
	n := new(big.Int).SetUint64(hi)
	n.Lsh(n, 64).Or(n, new(big.Int).SetUint64(lo))
	return new(big.Rat).SetFrac(n, big.NewInt(e18))
}

func nanoRat(n uint64) *big.Rat { return new(big.Rat).SetInt(new(big.Int).SetUint64(n)) }

// ceil is r ≥ 0 rounded up.
func ceil(r *big.Rat) *big.Int {
	n, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		n.Add(n, big.NewInt(1))
	}
	return n
}

func errOverflow() error {
	return problem.New(problem.Unprocessable, "rating.overflow", "the amount is too large to be represented")
}

func noPrice(meter, class string) error {
	return problem.New(problem.Unprocessable, "rating.no_price", "the rate card has no price for %s %s", meter, class)
}

func invalidQuantity(what, why string) error {
	return problem.New(problem.Invalid, "rating.quantity_invalid", "%s: the quantity is %s", what, why)
}

func invalidUsage(why string) error {
	return problem.New(problem.Invalid, "rating.usage_invalid", "the usage is not valid: %s", why)
}

func joinClasses() string { return strings.Join(classNames[:Requests], ", ") }
