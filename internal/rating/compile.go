package rating

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of a card.
const (
	MaxLines = 500
	MaxTiers = 100 // of a line
	MaxNames = 100 // of one dimension of a condition
	maxPer   = 1_000_000_000_000
)

// Compiled is a checked card, ready to rate. It is immutable and safe for concurrent use.
type Compiled struct {
	currency   string
	lines      []line
	commitment uint64 // nano; with overage and trueUp as in line
	overage    uint64
	trueUp     bool
	minimum    int64
	maximum    int64 // −1 is none

	tokens [Classes]route
	bounds []bound
	units  map[string]bound // by meter, of those that are not tokens
	final  bool
	timed  bool // some line asks for hours or days
}

// Currency returns the currency of the card's prices.
func (c *Compiled) Currency() string { return c.currency }

// Lines returns the names of the lines, in the order of State and LineCharge.Line.
func (c *Compiled) Lines() []string {
	names := make([]string, len(c.lines))
	for i := range c.lines {
		names[i] = c.lines[i].name
	}
	return names
}

// Final reports whether every charge is independent of what the period metered before: each line is
// linear with a whole number of nano-units for the smallest quantity that its meter counts: one token, one character, a
// thousandth of an audio second, 10⁻⁹ of a unit that the platform does not know.
func (c *Compiled) Final() bool { return c.final }

// NeedsState reports whether the State of a period must be kept: because charges depend on it, or
// because Closing does (a minimum, a maximum, a commitment).
func (c *Compiled) NeedsState() bool {
	limited := func(minimum, maximum int64, trueUp bool) bool { return minimum > 0 || maximum >= 0 || trueUp }
	return !c.final || limited(c.minimum, c.maximum, c.trueUp) ||
		slices.ContainsFunc(c.lines, func(l line) bool { return limited(l.minimum, l.maximum, l.trueUp) })
}

// Validate reports every fault of the card as one *problem.Error with the path of each field.
func (c *Card) Validate() error {
	_, err := Compile(c)
	return err
}

// ValidateForModel is Validate for the card of a language model's plan: it must price every input
// and every output token, whatever the other dimensions are, and bound the price of a call.
func (c *Card) ValidateForModel() error {
	compiled, err := Compile(c)
	if err != nil {
		return err
	}
	var k checker
	for _, class := range []int{Input, Output} {
		if r := &compiled.tokens[class]; len(r.lines) == 0 || !compiled.lines[r.lines[len(r.lines)-1]].when.plain() {
			k.addf("lines", "no line prices every %s token: add one with meter: tokens, when: {class: %s}, and a price or free: true",
				classNames[class], classNames[class])
		}
	}
	for i := range compiled.lines {
		if l := &compiled.lines[i]; (l.meter == MeterTokens || l.meter == MeterRequests) && (l.pricing == Dynamic || l.pricing == Percentage) {
			k.addf(fmt.Sprintf("lines[%d].pricing", i), "%s cannot price %s, whose cost must be bounded before the call", l.pricing, l.meter)
		}
	}
	if len(k.fields) == 0 && slices.ContainsFunc(compiled.bounds, func(b bound) bool { return b.open }) {
		k.addf("lines", "a single call could cost more than can be represented")
	}
	return k.err()
}

// Compile checks the card and prepares it.
func Compile(c *Card) (*Compiled, error) {
	var k checker
	out := &Compiled{currency: c.Currency, lines: make([]line, len(c.Lines))}
	if _, ok := money.Currency(c.Currency); !ok {
		k.addf("currency", "%q is not an ISO 4217 currency code", c.Currency)
	}
	if len(c.Lines) == 0 || len(c.Lines) > MaxLines {
		k.addf("lines", "a card has 1 to %d lines, not %d", MaxLines, len(c.Lines))
		return nil, k.err()
	}
	out.commitment, out.overage, out.trueUp = k.commitment("commitment", c.Commitment)
	out.minimum, out.maximum = k.limits("", c.Minimum, c.Maximum)
	seen := map[string]int{}
	for i := range c.Lines {
		path := fmt.Sprintf("lines[%d]", i)
		l := k.line(path, &c.Lines[i])
		if first, dup := seen[l.name]; dup {
			k.addf(path+".name", "%q is already the name of lines[%d]: give each its own", l.name, first)
		}
		seen[l.name] = i
		out.lines[i] = l
	}
	if err := k.err(); err != nil {
		return nil, err
	}
	out.final = out.overage == overFull
	for i := range out.lines {
		out.lines[i].linearise()
		out.final = out.final && out.lines[i].independent()
		out.timed = out.timed || out.lines[i].when.timed
	}
	out.routes()
	out.boundPools()
	out.boundUnits()
	return out, nil
}

// checker gathers the faults of a card.
type checker struct{ fields []problem.Field }

// maxFaults is how many faults are reported; a hostile card has no more to say.
const maxFaults = 50

func (k *checker) addf(path, format string, args ...any) {
	if len(k.fields) < maxFaults {
		k.fields = append(k.fields, problem.Field{Path: path, Detail: clipTo(400, fmt.Sprintf(format, args...))})
	}
}

func (k *checker) err() error {
	if len(k.fields) == 0 {
		return nil
	}
	err := problem.New(problem.Invalid, "rating.card_invalid", "the rate card is not valid")
	err.Fields = k.fields
	return err
}

var (
	meterName = regexp.MustCompile(`^[a-z][a-z0-9_.]{0,63}$`)
	lineName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{0,63}$`)
)

func (k *checker) line(path string, c *Line) line {
	l := line{name: c.Name, meter: c.Meter, pricing: c.Pricing, usageKeep: keepAll, keep: keepAll, per: 1}
	if l.pricing == "" {
		l.pricing = PerUnit
	}
	if l.name == "" {
		l.name = defaultName(c)
	}
	if c.Name != "" && !lineName.MatchString(l.name) {
		k.addf(path+".name", "%q is not a name: use a-z, 0-9, _ . and -", l.name)
	}
	switch {
	case l.pricing == Flat && (c.Meter != "" || c.When != nil):
		k.addf(path+".meter", "a flat line has no meter and no conditions: its price does not depend on usage")
	case l.pricing != Flat && !meterName.MatchString(c.Meter):
		k.addf(path+".meter", "%q is not a meter: use a-z, 0-9, _ and .", c.Meter)
	}
	if !slices.Contains(pricings, l.pricing) {
		k.addf(path+".pricing", "%q is not one of %s", l.pricing, join(pricings))
		return l
	}
	l.when = k.when(path+".when", c.Meter, c.When)
	k.prices(path, c, &l)
	k.reductions(path, c, &l)
	l.commitment, l.overage, l.trueUp = k.commitment(path+".commitment", c.Commitment)
	l.minimum, l.maximum = k.limits(path+".", c.Minimum, c.Maximum)
	if l.inAdvance = c.InAdvance; c.InAdvance && l.pricing != Flat {
		k.addf(path+".in_advance", "only a flat line is due in advance")
	}
	return l
}

// defaultName is the name of a line that gives none: its meter, and its class where it has one.
func defaultName(c *Line) string {
	switch {
	case c.Meter == "":
		return string(c.Pricing)
	case c.When != nil && len(c.When.Class) == 1:
		return c.Meter + "." + c.When.Class[0]
	}
	return c.Meter
}

// prices reads price, per, percent, free and tiers, of which each price model wants its own.
func (k *checker) prices(path string, c *Line, l *line) {
	tiered := l.pricing == Graduated || l.pricing == Volume
	k.only(path+".tiers", len(c.Tiers) > 0, tiered, l.pricing)
	k.only(path+".percent", c.Percent != "", l.pricing == Percentage, l.pricing)
	k.only(path+".price", c.Price != "", !tiered && l.pricing != Percentage && l.pricing != Dynamic, l.pricing)
	k.only(path+".per", c.Per != 0, l.pricing != Flat && l.pricing != Percentage, l.pricing)
	k.only(path+".free", c.Free, !tiered && l.pricing != Dynamic, l.pricing)
	if c.Per < 0 || c.Per > maxPer {
		k.addf(path+".per", "%d is not from 1 to %d", c.Per, int64(maxPer))
	} else if c.Per > 0 {
		l.per = uint64(c.Per)
	}
	t := tier{upTo: maxDecimal}
	switch {
	case tiered:
		l.tiers = k.tiers(path, c.Tiers)
		return
	case l.pricing == Dynamic:
	case l.pricing == Percentage:
		t.price = k.price(path+".percent", c.Percent, c.Free)
		l.per = 100
	case l.pricing == Flat:
		if k.price(path+".price", c.Price, c.Free); !k.faulty(path + ".price") {
			t.flat = uint64(k.nano(path+".price", c.Price))
		}
	default:
		t.price = k.price(path+".price", c.Price, c.Free)
	}
	l.tiers = []tier{t}
}

func (k *checker) only(path string, given, wanted bool, p Pricing) {
	if given && !wanted {
		k.addf(path, "%s pricing has none", p)
	}
}

// price reads a price that is above zero, or absent and free.
func (k *checker) price(path string, n Number, free bool) money.Decimal {
	switch {
	case free && n != "":
		k.addf(path, "a free line has no price")
	case free:
	case n == "":
		k.addf(path, "is missing: give it, or say free: true")
	default:
		d := k.decimal(path, n, 18)
		if d.IsZero() && !k.faulty(path) {
			k.addf(path, "is zero: say free: true instead")
		}
		return d
	}
	return money.Decimal{}
}

func (k *checker) tiers(path string, tiers []Tier) []tier {
	if len(tiers) == 0 || len(tiers) > MaxTiers {
		k.addf(path+".tiers", "a tiered line has 1 to %d tiers, not %d", MaxTiers, len(tiers))
		return nil
	}
	out := make([]tier, len(tiers))
	var from money.Decimal
	zero := true
	for i, c := range tiers {
		at := fmt.Sprintf("%s.tiers[%d]", path, i)
		t := &out[i]
		t.from, t.upTo = from, maxDecimal
		switch last := i == len(tiers)-1; {
		case last && c.UpTo != "":
			k.addf(at+".up_to", "the last tier has no upper bound")
		case !last && c.UpTo == "":
			k.addf(at+".up_to", "is missing: only the last tier has no upper bound")
		case !last:
			if t.upTo = k.decimal(at+".up_to", c.UpTo, 9); !k.faulty(at+".up_to") && t.upTo.Cmp(from) <= 0 {
				k.addf(at+".up_to", "must be above %s, where the tier begins", from)
			}
			from = t.upTo
		}
		if c.Price == "" && c.Flat == "" {
			k.addf(at+".price", "is missing: a tier has a price, a flat fee or both")
		}
		if c.Price != "" {
			t.price = k.decimal(at+".price", c.Price, 18)
		}
		t.flat = uint64(k.nano(at+".flat", c.Flat))
		zero = zero && t.price.IsZero() && t.flat == 0
	}
	if zero && len(k.fields) == 0 {
		k.addf(path+".tiers", "every price is zero: use per_unit with free: true instead")
	}
	return out
}

// reductions reads the allowance and the discount.
func (k *checker) reductions(path string, c *Line, l *line) {
	l.allowance = k.decimal(path+".allowance", c.Allowance, 9)
	k.only(path+".allowance", c.Allowance != "", l.pricing != Flat, l.pricing)
	d := c.Discount
	if d == nil {
		return
	}
	l.usageOff = k.decimal(path+".discount.usage", d.Usage, 9)
	l.usageKeep = keepAll - k.fraction(path+".discount.usage_percent", d.UsagePercent, 4, keepAll, "99.9999")
	l.amountOff = uint64(k.nano(path+".discount.amount", d.Amount))
	l.keep = keepAll - k.fraction(path+".discount.percent", d.Percent, 4, keepAll, "99.9999")
	k.only(path+".discount.usage", d.Usage != "", l.pricing != Flat, l.pricing)
	k.only(path+".discount.usage_percent", d.UsagePercent != "", l.pricing != Flat && l.pricing != Dynamic, l.pricing)
	if *d == (Discount{}) {
		k.addf(path+".discount", "is empty")
	}
}

// commitment reads a commitment; without one the overage is neutral.
func (k *checker) commitment(path string, c *Commitment) (nano, overage uint64, trueUp bool) {
	if c == nil {
		return 0, overFull, false
	}
	overage = overFull
	if nano = uint64(k.nano(path+".amount", c.Amount)); nano == 0 && !k.faulty(path+".amount") {
		k.addf(path+".amount", "must be above zero")
	}
	if c.OveragePercent != "" {
		overage = k.fraction(path+".overage_percent", c.OveragePercent, 2, overFull, "1000")
	}
	return nano, overage, !c.NoTrueUp
}

func (k *checker) limits(path string, minimum, maximum Number) (lo, hi int64) {
	lo, hi = k.nano(path+"minimum", minimum), -1
	if maximum != "" {
		if hi = k.nano(path+"maximum", maximum); hi < lo && !k.faulty(path+"maximum") {
			k.addf(path+"maximum", "is below the minimum")
		}
	}
	return lo, hi
}

// maxDecimal is the largest Decimal, maxPrice the largest price.
var (
	maxDecimal = mustDecimal("999999999999999999.999999999999999999")
	maxPrice   = mustDecimal("9223372036.854775807")
)

func mustDecimal(s string) money.Decimal {
	d, err := money.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

// decimal reads a number with at most `decimals` decimals; those with more than nine are prices. An
// absent number is zero.
func (k *checker) decimal(path string, n Number, decimals int) money.Decimal {
	if n == "" {
		return money.Decimal{}
	}
	d, err := money.ParseDecimal(string(n))
	switch {
	case errors.Is(err, money.ErrNegative):
		k.addf(path, "%s must not be negative", clip(n))
	case errors.Is(err, money.ErrRange), err == nil && decimals > 9 && d.Cmp(maxPrice) > 0:
		k.addf(path, "%s is too large", clip(n))
	case errors.Is(err, money.ErrPrecision), err == nil && d.Decimals() > decimals:
		k.addf(path, "%s has more than %d decimals", clip(n), decimals)
	case err != nil:
		k.addf(path, "%q is not a decimal number like \"0.15\"", clip(n))
	default:
		return d
	}
	return money.Decimal{}
}

// nano reads an amount of money.
func (k *checker) nano(path string, n Number) int64 {
	d := k.decimal(path, n, 9)
	amount, err := d.Nano()
	if err != nil {
		k.addf(path, "%s is too large", clip(n))
	}
	return amount
}

// fraction reads a percentage from 0 to limit with at most `decimals` decimals, in units of which
// one hundred per cent has `whole`.
func (k *checker) fraction(path string, n Number, decimals int, whole uint64, limit string) uint64 {
	d := k.decimal(path, n, decimals)
	if d.Cmp(mustDecimal(limit)) > 0 {
		k.addf(path, "%s is more than %s", clip(n), limit)
		return 0
	}
	w := scaled(d)
	w.mul(whole / 100)
	w.div(e18)
	return w.w[0]
}

// faulty reports whether the path already has a fault, so that none is told twice.
func (k *checker) faulty(path string) bool {
	return slices.ContainsFunc(k.fields, func(f problem.Field) bool { return f.Path == path })
}

// clip shortens what the author wrote for a message about it.
func clip(n Number) string { return clipTo(40, string(n)) }

func clipTo(most int, s string) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most-3], "") + "..."
	}
	return s
}

func join(list []Pricing) string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

// whole reports whether the line's meter counts whole things only.
func (l *line) whole() bool { return grain(l.meter) == 0 }

// linearise sets linear and unit, where the charge for a whole unit is the same whole number of
// nano-units whatever came before.
func (l *line) linearise() {
	if l.pricing == Flat || l.pricing == Package || l.pricing == Dynamic || len(l.tiers) != 1 || l.overage != overFull {
		return
	}
	free := l.tiers[0].price.IsZero()
	if !free && (!l.allowance.IsZero() || !l.usageOff.IsZero() || l.amountOff != 0) {
		return
	}
	if r := l.slope(&l.tiers[0]); r.IsInt() && r.Num().IsInt64() {
		l.linear, l.unit = true, r.Num().Int64()
	}
}

// independent reports whether the line's charge for any usage is the same whatever came before.
func (l *line) independent() bool {
	if l.pricing == Flat || !l.linear {
		return l.pricing == Flat
	}
	least := int64(1) // how many of a meter's smallest quantities make a unit
	for range grain(l.meter) {
		least *= 10
	}
	return l.unit%least == 0
}
