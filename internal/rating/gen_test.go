package rating

import (
	"fmt"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/money"
)

// Generators of cards and usage. Small vocabularies make lines, tiers and conditions meet.

var (
	models  = []string{"small", "acme/large"}
	regions = []string{"eu", "cn"}
	zones   = []string{"", "UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"}
	hours   = []string{"00:30-08:30", "22:00-06:00", "00:00-12:00", "18:00-24:00", "09:00-09:01"}
)

// sizes sets how large the drawn numbers get.
type sizes struct {
	price    uint64 // whole part
	tokens   int64
	quantity uint64
	flat     uint64
}

var (
	usual   = sizes{price: 30, tokens: 3_000_000, quantity: 100_000, flat: 50}
	extreme = sizes{price: 9_000_000_000, tokens: 1 << 62, quantity: 900_000_000_000_000_000, flat: 9_000_000_000}
)

// number draws a decimal whose whole part is at most n, with at most `decimals` decimals.
func number(t *rapid.T, label string, n uint64, decimals int) Number {
	whole := rapid.Uint64Max(n).Draw(t, label)
	digits := min(decimals, rapid.SampledFrom([]int{0, 1, 2, 3, 6, 9, 12, 18}).Draw(t, label+" decimals"))
	if digits == 0 {
		return Number(fmt.Sprint(whole))
	}
	frac := rapid.StringOfN(rapid.RuneFrom([]rune("0123456789")), digits, digits, -1).Draw(t, label+" fraction")
	return Number(fmt.Sprintf("%d.%s", whole, frac))
}

// maybe is true one time in four; rapid prefers small numbers, hence the sample.
func maybe(t *rapid.T, label string) bool {
	return rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, label+"?")
}

// cards draws a valid card. Token lines come with one for input and one for output that match always.
func cards(size sizes, kinds ...Pricing) *rapid.Generator[*Card] {
	return rapid.Custom(func(t *rapid.T) *Card {
		c := &Card{Currency: "USD"}
		for i := range rapid.IntRange(0, 3).Draw(t, "conditional lines") {
			c.Lines = append(c.Lines, tokenLine(t, size, fmt.Sprintf("when-%d", i), anyWhen(t), kinds))
		}
		for _, class := range []string{"input", "output"} {
			c.Lines = append(c.Lines, tokenLine(t, size, class, &When{Class: OneOf{class}}, kinds))
		}
		if maybe(t, "requests") {
			l := tokenLine(t, size, "requests", nil, kinds)
			l.Meter = MeterRequests
			c.Lines = append(c.Lines, l)
		}
		if len(kinds) == 0 {
			c.Lines = append(c.Lines, otherLines(t, size)...)
		}
		if maybe(t, "card commitment") {
			c.Commitment = commitment(t, size)
		}
		c.Minimum, c.Maximum = limits(t, size)
		return c
	}).Filter(func(c *Card) bool { return c.Validate() == nil })
}

func anyWhen(t *rapid.T) *When {
	w := &When{}
	if maybe(t, "model") {
		w.Model = rapid.SliceOfNDistinct(rapid.SampledFrom(models), 1, 2, rapid.ID).Draw(t, "models")
	}
	if maybe(t, "region") {
		w.Region = OneOf{rapid.SampledFrom(regions).Draw(t, "region")}
	}
	if !maybe(t, "all classes") {
		w.Class = rapid.SliceOfNDistinct(rapid.SampledFrom(classNames[:Requests]), 1, 3, rapid.ID).Draw(t, "classes")
	}
	if maybe(t, "hours") {
		w.Hours, w.Zone = rapid.SampledFrom(hours).Draw(t, "hours"), rapid.SampledFrom(zones).Draw(t, "zone")
	}
	if maybe(t, "days") {
		w.Days = rapid.SliceOfNDistinct(rapid.SampledFrom(weekdays), 1, 6, rapid.ID).Draw(t, "days")
	}
	return w
}

func tokenLine(t *rapid.T, size sizes, name string, w *When, kinds []Pricing) Line {
	if len(kinds) == 0 {
		kinds = []Pricing{PerUnit, Graduated, Volume, Package}
	}
	l := Line{Name: name, Meter: MeterTokens, When: w, Pricing: rapid.SampledFrom(kinds).Draw(t, "pricing")}
	l.Per = rapid.SampledFrom([]int64{1, 3, 1000, 1_000_000}).Draw(t, "per")
	priced(t, size, &l, 18)
	reduced(t, size, &l)
	return l
}

// priced gives the line the prices that its model wants.
func priced(t *rapid.T, size sizes, l *Line, decimals int) {
	if l.Pricing != Graduated && l.Pricing != Volume {
		l.Price = number(t, "price", size.price, decimals)
		if strings.Trim(string(l.Price), "0.") == "" {
			l.Price, l.Free = "", true
		}
		return
	}
	var bound uint64
	for range rapid.IntRange(1, 4).Draw(t, "tiers") {
		bound += rapid.Uint64Range(1, 1+uint64(size.tokens)/8).Draw(t, "tier size")
		tier := Tier{UpTo: Number(fmt.Sprint(min(bound, 1e18-1))), Price: number(t, "price", size.price, decimals)}
		if maybe(t, "flat") {
			tier.Flat = number(t, "flat", size.flat, 9)
		}
		l.Tiers = append(l.Tiers, tier)
	}
	l.Tiers[len(l.Tiers)-1].UpTo = ""
}

// reduced gives the line discounts, limits and a commitment, or none.
func reduced(t *rapid.T, size sizes, l *Line) {
	if maybe(t, "allowance") && l.Pricing != Flat {
		l.Allowance = number(t, "allowance", uint64(size.tokens)/4%1e17, 9)
	}
	if maybe(t, "discount") {
		d := Discount{Amount: number(t, "amount off", size.flat, 9), Percent: number(t, "percent off", 98, 4)}
		if l.Pricing != Flat {
			d.Usage = number(t, "usage off", uint64(size.tokens)/4%1e17, 9)
		}
		if l.Pricing != Flat && l.Pricing != Dynamic {
			d.UsagePercent = number(t, "usage percent off", 98, 4)
		}
		l.Discount = &d
	}
	if maybe(t, "commitment") {
		l.Commitment = commitment(t, size)
	}
	l.Minimum, l.Maximum = limits(t, size)
}

func commitment(t *rapid.T, size sizes) *Commitment {
	return &Commitment{
		Amount:         "1" + number(t, "commitment", size.flat%100, 9),
		OveragePercent: number(t, "overage", 200, 2),
		NoTrueUp:       rapid.Bool().Draw(t, "no true-up"),
	}
}

func limits(t *rapid.T, size sizes) (minimum, maximum Number) {
	if maybe(t, "minimum") {
		minimum = number(t, "minimum", size.flat/4, 9)
	}
	if maybe(t, "maximum") {
		maximum = Number(fmt.Sprint(size.flat/4+1)) + "." + "5"
	}
	return minimum, maximum
}

// otherLines are one line of each price model that is not for tokens, on meters counted finely.
func otherLines(t *rapid.T, size sizes) []Line {
	lines := []Line{
		{Name: "fee", Pricing: Flat, Price: "1" + number(t, "fee", size.flat%1e9, 9), InAdvance: rapid.Bool().Draw(t, "in advance")},
		{Name: "sales", Meter: "sales", Pricing: Percentage, Percent: "1" + number(t, "percent", 9, 9)},
		{Name: "compute", Meter: "compute", Pricing: Dynamic, Per: rapid.SampledFrom([]int64{1, 60, 7}).Draw(t, "per")},
		{Name: "storage", Meter: "storage", Pricing: rapid.SampledFrom([]Pricing{PerUnit, Graduated, Volume, Package}).Draw(t, "pricing")},
	}
	priced(t, size, &lines[3], 18)
	for i := range lines {
		reduced(t, size, &lines[i])
	}
	return lines
}

// calls draws the usage of one call.
func calls(size sizes) *rapid.Generator[Call] {
	return rapid.Custom(func(t *rapid.T) Call {
		c := Call{Dims: anyDims(t), Time: anyTime(t)}
		for class := range Requests {
			if rapid.Bool().Draw(t, classNames[class]+"?") {
				c.Tokens[class] = rapid.Int64Range(0, size.tokens).Draw(t, classNames[class])
			}
		}
		c.Tokens[Requests] = 1
		return c
	})
}

func anyDims(t *rapid.T) Dims {
	return Dims{
		Model:  rapid.SampledFrom(models).Draw(t, "model"),
		Region: rapid.SampledFrom(append(regions, "")).Draw(t, "region"),
	}
}

func anyTime(t *rapid.T) time.Time {
	return time.Unix(1_767_225_600+rapid.Int64Range(0, 366*86400).Draw(t, "second"), 0).UTC()
}

// usages draws a usage of any meter.
func usages(size sizes, meters ...string) *rapid.Generator[Usage] {
	return rapid.Custom(func(t *rapid.T) Usage {
		u := Usage{Meter: rapid.SampledFrom(meters).Draw(t, "meter"), Dims: anyDims(t), Time: anyTime(t)}
		switch u.Meter {
		case MeterTokens:
			u.Dims.Class = rapid.SampledFrom(classNames[:Requests]).Draw(t, "class")
			u.Quantity = must(money.DecimalInt(rapid.Int64Range(0, min(size.tokens, 1e18-1)).Draw(t, "tokens")))
		case MeterRequests:
			u.Quantity = must(money.DecimalInt(1))
		default:
			u.Quantity = mustDecimal(string(number(t, "quantity", size.quantity, 9)))
			u.Unit = mustDecimal(string(number(t, "unit", size.price, 9)))
		}
		return u
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
