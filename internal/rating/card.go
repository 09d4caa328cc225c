// Package rating turns usage into charges: price models, rate cards, and the one rule by which
// every event is charged. It is pure: no clock, database or network; the same card, state and
// usage give the same charge for ever. It keeps no state and moves no money: credits, tax, wallets
// and invoices are elsewhere.
//
// A [Card] is what a person writes (docs/cards.md is its manual). [Compile] checks it and makes it
// fast. With F the cumulative cost function of a line in the billing period, an event is charged
//
//	round(F(before + used)) − round(F(before))
//
// to a billionth of the currency unit (10⁻⁹, half away from zero). Hence
//   - any split of the same usage into events, in any order, sums to the same total (but which units
//     of a dynamic line an allowance takes, and so their prices, depends on the order);
//   - no remainder is lost or gained, however small the events are;
//   - a charge may be negative, where a volume tier makes earlier usage cheaper;
//   - F(0), such as a flat fee, is no event's charge: [Compiled.Closing] posts it.
//
// What only the whole period can tell (minimum, maximum, commitment) is posted by
// [Compiled.Closing] too. Within a line the order is: usage discounts, allowance, price, amount
// discount, percentage discount, overage of a commitment; then, at closing, true-up, minimum,
// maximum.
//
// Every arithmetic operation is on integers wide enough not to overflow, or reports that it did.
package rating

import "slices"

// Meters with a meaning of their own: a call of a language model is usage of both.
const (
	MeterTokens   = "tokens"   // counted apart by token class
	MeterRequests = "requests" // one per call
)

// Pricing names a price model.
type Pricing string

// The price models.
const (
	PerUnit    Pricing = "per_unit"   // price for each `per` units; the default
	Flat       Pricing = "flat"       // price once a period, whatever the usage
	Graduated  Pricing = "graduated"  // each tier's price for the units inside that tier
	Volume     Pricing = "volume"     // all units at the price of the tier that the total reaches
	Package    Pricing = "package"    // price for each started package of `per` units
	Percentage Pricing = "percentage" // percent of the metered amount of money
	Dynamic    Pricing = "dynamic"    // quantity × the unit price that the event brings
)

var pricings = []Pricing{PerUnit, Flat, Graduated, Volume, Package, Percentage, Dynamic}

// Card is a rate card as a person writes it. The zero value of a field means that it is not given.
// A card is checked by Validate or Compile; decoding it from JSON checks its shape strictly.
type Card struct {
	Currency   string      `json:"currency" yaml:"currency"`
	Lines      []Line      `json:"lines" yaml:"lines"`
	Commitment *Commitment `json:"commitment,omitempty" yaml:"commitment,omitempty"`
	Minimum    Number      `json:"minimum,omitempty" yaml:"minimum,omitempty"`
	Maximum    Number      `json:"maximum,omitempty" yaml:"maximum,omitempty"`
}

// Line prices one meter, or the part of it that When selects. The first line that matches a usage
// prices it.
type Line struct {
	Name       string      `json:"name,omitempty" yaml:"name,omitempty"` // unique in the card; default meter, or meter.class
	Meter      string      `json:"meter,omitempty" yaml:"meter,omitempty"`
	When       *When       `json:"when,omitempty" yaml:"when,omitempty"`
	Pricing    Pricing     `json:"pricing,omitempty" yaml:"pricing,omitempty"`
	Price      Number      `json:"price,omitempty" yaml:"price,omitempty"`           // in the card's currency, up to 18 decimals
	Per        int64       `json:"per,omitempty" yaml:"per,omitempty"`               // how many units Price is for; default 1
	Percent    Number      `json:"percent,omitempty" yaml:"percent,omitempty"`       // of Percentage
	Free       bool        `json:"free,omitempty" yaml:"free,omitempty"`             // the only way to say that a price is zero
	Tiers      []Tier      `json:"tiers,omitempty" yaml:"tiers,omitempty"`           // of Graduated and Volume
	Allowance  Number      `json:"allowance,omitempty" yaml:"allowance,omitempty"`   // units of each period that are not charged
	InAdvance  bool        `json:"in_advance,omitempty" yaml:"in_advance,omitempty"` // of Flat: due when the period opens
	Discount   *Discount   `json:"discount,omitempty" yaml:"discount,omitempty"`
	Commitment *Commitment `json:"commitment,omitempty" yaml:"commitment,omitempty"`
	Minimum    Number      `json:"minimum,omitempty" yaml:"minimum,omitempty"`
	Maximum    Number      `json:"maximum,omitempty" yaml:"maximum,omitempty"`
}

// Tier is a step of a Graduated or Volume line. UpTo is inclusive and missing in the last tier.
type Tier struct {
	UpTo  Number `json:"up_to,omitempty" yaml:"up_to,omitempty"`
	Price Number `json:"price,omitempty" yaml:"price,omitempty"`
	Flat  Number `json:"flat,omitempty" yaml:"flat,omitempty"` // due once the tier is entered; tier 1 is entered at zero
}

// Discount reduces a line. Usage and UsagePercent come before the price, Amount and then Percent
// after it.
type Discount struct {
	Usage        Number `json:"usage,omitempty" yaml:"usage,omitempty"`                 // units taken off, once a period
	UsagePercent Number `json:"usage_percent,omitempty" yaml:"usage_percent,omitempty"` // of the units
	Amount       Number `json:"amount,omitempty" yaml:"amount,omitempty"`               // money taken off, once a period, never below zero
	Percent      Number `json:"percent,omitempty" yaml:"percent,omitempty"`             // of the money
}

// Commitment is a sum that the consumer undertakes to spend in the period.
type Commitment struct {
	Amount         Number `json:"amount" yaml:"amount"`
	OveragePercent Number `json:"overage_percent,omitempty" yaml:"overage_percent,omitempty"` // of the price, for what is beyond; default 100
	NoTrueUp       bool   `json:"no_true_up,omitempty" yaml:"no_true_up,omitempty"`           // do not charge what was committed but not used
}

// When selects usage. Each field that is given must match; a list matches any of its members.
type When struct {
	Model      OneOf  `json:"model,omitempty" yaml:"model,omitempty"`
	Class      OneOf  `json:"class,omitempty" yaml:"class,omitempty"` // of MeterTokens
	Resolution OneOf  `json:"resolution,omitempty" yaml:"resolution,omitempty"`
	Region     OneOf  `json:"region,omitempty" yaml:"region,omitempty"`
	Hours      string `json:"hours,omitempty" yaml:"hours,omitempty"` // "HH:MM-HH:MM", end excluded, may pass midnight
	Days       OneOf  `json:"days,omitempty" yaml:"days,omitempty"`   // mon tue wed thu fri sat sun
	Zone       string `json:"zone,omitempty" yaml:"zone,omitempty"`   // of Hours and Days, IANA name; default UTC
}

// Number is a decimal as written. A card gives it as a string, or as an integer; never as a number
// with a point, which some reader may already have made a float. It is always written as a string.
type Number string

func integerLiteral(s string) bool {
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return s != "" && (s[0] != '0' || len(s) == 1)
}

// OneOf is a list of names, any of which matches. A card may give a single name for its list; it is
// always written as a list.
type OneOf []string

// matches reports whether an empty list or one of the names is v.
func (o OneOf) matches(v string) bool { return len(o) == 0 || slices.Contains(o, v) }
