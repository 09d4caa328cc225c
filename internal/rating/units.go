package rating

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/tollgate-io/tollgate/internal/money"
)

// Meters of capability APIs that count whole things: a fraction of one is refused.
const (
	MeterCharacters   = "characters"
	MeterImages       = "images"
	MeterMessages     = "messages"
	MeterAudioSeconds = "audio_seconds" // counted in thousandths
)

// grain is how many decimals a quantity of the meter has.
func grain(meter string) int {
	switch meter {
	case MeterTokens, MeterRequests, MeterCharacters, MeterImages, MeterMessages:
		return 0
	case MeterAudioSeconds:
		return 3
	}
	return 9
}

// Thousandths is a quantity given in thousandths of a unit.
func Thousandths(n int64) (money.Decimal, error) {
	if n < 0 {
		return money.Decimal{}, invalidQuantity("quantity", "negative")
	}
	return money.ParseDecimal(fmt.Sprintf("%d.%03d", n/1000, n%1000))
}

// UnitCharge prices a quantity of a meter other than tokens, in thousandths of its unit, on the hot path. It is exactly
// what Rate would charge. It declines (ok is false) when the charge depends on dimensions, time or the total of the
// period, when there is no price, and on overflow: use RateCall then.
func (c *Compiled) UnitCharge(meter string, thousandths int64) (nano int64, ok bool) {
	if c.overage != overFull || thousandths < 0 {
		return 0, false
	}
	for i := range c.lines {
		l := &c.lines[i]
		if l.meter != meter {
			continue
		}
		if !l.when.plain() || !l.linear || !l.independent() {
			return 0, false
		}
		hi, lo := bits.Mul64(uint64(thousandths), uint64(l.unit))
		if hi != 0 || lo%1000 != 0 || lo/1000 > math.MaxInt64 {
			return 0, false
		}
		return int64(lo / 1000), true
	}
	return 0, false
}

// UnitBound returns the most that a quantity of a meter other than tokens can cost, in thousandths of its unit: at the
// dearest tier, hour and place, and whatever the period metered before.
func (c *Compiled) UnitBound(meter string, thousandths int64) (nano int64, err error) {
	if thousandths < 0 {
		return 0, invalidQuantity(meter, "negative or too large")
	}
	if thousandths == 0 {
		return 0, nil
	}
	b, ok := c.units[meter]
	switch {
	case !ok:
		return 0, noPrice(meter, "")
	case b.open:
		return 0, errOverflow()
	}
	u := uint64(thousandths-1)/1000 + 1
	var most uint64
	for i := range b.alternatives {
		most = max(most, b.alternatives[i].cost(u))
	}
	return c.dearest(most)
}

// dearest is the sum after the overage of the card's commitment.
func (c *Compiled) dearest(sum uint64) (int64, error) {
	if sum > math.MaxInt64 {
		return 0, errOverflow()
	}
	if c.overage > overFull {
		hi, lo := bits.Mul64(sum, c.overage)
		lo, carry := bits.Add64(lo, overFull-1, 0)
		if hi += carry; hi >= overFull {
			return 0, errOverflow()
		}
		if sum, _ = bits.Div64(hi, lo, overFull); sum > math.MaxInt64 {
			return 0, errOverflow()
		}
	}
	return int64(sum), nil
}

// boundUnits prepares UnitBound.
func (c *Compiled) boundUnits() {
	c.units = map[string]bound{}
	for i := range c.lines {
		m := c.lines[i].meter
		if _, done := c.units[m]; done || m == "" || m == MeterTokens {
			continue
		}
		var lines []int
		for j := range c.lines {
			if c.lines[j].meter != m {
				continue
			}
			lines = append(lines, j)
			if c.lines[j].when.plain() {
				break
			}
		}
		if slices.ContainsFunc(lines, func(j int) bool { return c.lines[j].pricing == Percentage }) {
			c.units[m] = bound{open: true}
			continue
		}
		b := c.boundGroups([][]int{lines})
		if grain(m) > 0 { // a fraction of a unit may round up by itself
			for k := range b.alternatives {
				b.alternatives[k].step += boolTo(b.alternatives[k].size == 0)
			}
		}
		c.units[m] = b
	}
}

func boolTo(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// ValidateForUnits checks the card of a capability's plan: each of the meters must be priced for every quantity, whatever
// the other dimensions are, and the price of a call bounded.
func (c *Card) ValidateForUnits(meters ...string) error {
	compiled, err := Compile(c)
	if err != nil {
		return err
	}
	var k checker
	for _, m := range meters {
		priced := slices.ContainsFunc(compiled.lines, func(l line) bool { return l.meter == m && l.when.plain() })
		switch b := compiled.units[m]; {
		case !priced:
			k.addf("lines", "no line prices every unit of %s: add one with meter: %s and a price or free: true", m, m)
		case b.open:
			k.addf("lines", "a single call could cost more than can be represented: %s needs a price that is known before the call", m)
		}
	}
	return k.err()
}
