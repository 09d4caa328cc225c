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
//   - any split of the same usage into events, in any order within a line, sums to the same total;
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

import (
	"encoding/json"
	"errors"
	"slices"
)

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
	Currency   string      `json:"currency"`
	Lines      []Line      `json:"lines"`
	Commitment *Commitment `json:"commitment,omitempty"`
	Minimum    Number      `json:"minimum,omitempty"`
	Maximum    Number      `json:"maximum,omitempty"`
}

// Line prices one meter, or the part of it that When selects. The first line that matches a usage
// prices it.
type Line struct {
	Name       string      `json:"name,omitempty"` // unique in the card; default meter, or meter.class
	Meter      string      `json:"meter,omitempty"`
	When       *When       `json:"when,omitempty"`
	Pricing    Pricing     `json:"pricing,omitempty"`
	Price      Number      `json:"price,omitempty"`      // in the card's currency, up to 18 decimals
	Per        int64       `json:"per,omitempty"`        // how many units Price is for; default 1
	Percent    Number      `json:"percent,omitempty"`    // of Percentage
	Free       bool        `json:"free,omitempty"`       // the only way to say that a price is zero
	Tiers      []Tier      `json:"tiers,omitempty"`      // of Graduated and Volume
	Allowance  Number      `json:"allowance,omitempty"`  // units of each period that are not charged
	InAdvance  bool        `json:"in_advance,omitempty"` // of Flat: due when the period opens
	Discount   *Discount   `json:"discount,omitempty"`
	Commitment *Commitment `json:"commitment,omitempty"`
	Minimum    Number      `json:"minimum,omitempty"`
	Maximum    Number      `json:"maximum,omitempty"`
}

// Tier is a step of a Graduated or Volume line. UpTo is inclusive and missing in the last tier.
type Tier struct {
	UpTo  Number `json:"up_to,omitempty"`
	Price Number `json:"price,omitempty"`
	Flat  Number `json:"flat,omitempty"` // due once the tier is entered; tier 1 is entered at zero
}

// Discount reduces a line. Usage and UsagePercent come before the price, Amount and then Percent
// after it.
type Discount struct {
	Usage        Number `json:"usage,omitempty"`         // units taken off, once a period
	UsagePercent Number `json:"usage_percent,omitempty"` // of the units
	Amount       Number `json:"amount,omitempty"`        // money taken off, once a period, never below zero
	Percent      Number `json:"percent,omitempty"`       // of the money
}

// Commitment is a sum that the consumer undertakes to spend in the period.
type Commitment struct {
	Amount         Number `json:"amount"`
	OveragePercent Number `json:"overage_percent,omitempty"` // of the price, for what is beyond; default 100
	NoTrueUp       bool   `json:"no_true_up,omitempty"`      // do not charge what was committed but not used
}

// When selects usage. Each field that is given must match; a list matches any of its members.
type When struct {
	Model      OneOf  `json:"model,omitempty"`
	Class      OneOf  `json:"class,omitempty"` // of MeterTokens
	Resolution OneOf  `json:"resolution,omitempty"`
	Region     OneOf  `json:"region,omitempty"`
	Hours      string `json:"hours,omitempty"` // "HH:MM-HH:MM", end excluded, may pass midnight
	Days       OneOf  `json:"days,omitempty"`  // mon tue wed thu fri sat sun
	Zone       string `json:"zone,omitempty"`  // of Hours and Days, IANA name; default UTC
}

// Number is a decimal as written. In JSON it is a string, or an integer; never a number with a
// point, which some reader may already have made a float.
type Number string

// UnmarshalJSON accepts a string or an integer literal.
func (n *Number) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, (*string)(n))
	}
	if !integerLiteral(string(data)) {
		return errors.New(`a decimal must be a string: "0.15"`)
	}
	*n = Number(data)
	return nil
}

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

// OneOf is a list of names, any of which matches. In JSON a single name may stand for its list.
type OneOf []string

// UnmarshalJSON accepts a string or a list of strings.
func (o *OneOf) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*o = OneOf{""}
		return json.Unmarshal(data, &(*o)[0])
	}
	return json.Unmarshal(data, (*[]string)(o))
}

// MarshalJSON writes a single name as a string.
func (o OneOf) MarshalJSON() ([]byte, error) {
	if len(o) == 1 {
		return json.Marshal(o[0])
	}
	return json.Marshal([]string(o))
}

// matches reports whether an empty list or one of the names is v.
func (o OneOf) matches(v string) bool { return len(o) == 0 || slices.Contains(o, v) }
