package web

import (
	"math/big"
	"strings"

	"github.com/tollgate-io/tollgate/internal/rating"
)

// priceList is a rate card for people to read: nothing on it is left out or rounded.
type priceList struct {
	Currency string
	Rows     []priceRow
	Notes    []string // of the whole card
	// Simple: every row is a plain price of 1,000,000 tokens, or free.
	Simple bool
}

// priceRow is a line of the card.
type priceRow struct {
	Label string
	Cond  string // when it applies, beyond the label
	Price string // empty with Tiers
	Unit  string
	Free  bool
	Money bool // prices are amounts of the card's currency, not words or shares
	Tiers []tierRow
	Notes []string
}

type tierRow struct{ Range, Price, Flat string }

// onCard is how many lines of a price list a card of the catalogue shows.
const onCard = 5

// Short is the list cut to what a card of the catalogue shows.
func (l *priceList) Short() *priceList {
	if l.Left() == 0 {
		return l
	}
	return &priceList{Currency: l.Currency, Rows: l.Rows[:onCard]}
}

// Left is how many lines Short leaves out, the notes of the whole card counted as one.
func (l *priceList) Left() int {
	left := len(l.Rows) - onCard
	if left > 0 && len(l.Notes) > 0 {
		left++
	}
	return max(left, 0)
}

// million is how many tokens, or characters, prices are shown for.
const million = 1_000_000

// minute is how many seconds of sound a price is shown for where the card states it so.
const minute = 60

// priced writes a card's lines in a language.
type priced struct{ lang, currency string }

// prices shows a card.
func prices(c *rating.Card, lang string) *priceList {
	w := priced{lang, c.Currency}
	l := &priceList{Currency: c.Currency, Simple: true}
	tokens := 0
	for i := range c.Lines {
		line := &c.Lines[i]
		row := w.row(line, tokens > 0)
		if line.Meter == rating.MeterTokens {
			tokens++
		}
		plain := line.Meter == rating.MeterTokens && row.Cond == "" && len(row.Tiers)+len(row.Notes) == 0 && (row.Free || row.Unit == w.per(line.Meter, million))
		l.Simple = l.Simple && plain
		l.Rows = append(l.Rows, row)
	}
	l.Notes = w.bounds(c.Commitment, c.Minimum, c.Maximum)
	l.Simple = l.Simple && len(l.Notes) == 0 && len(l.Rows) <= 6
	return l
}

func (w priced) t(id string, args ...any) string { return text(w.lang, "price."+id, args...) }

// row shows a line. Where token lines stand before it, a line for all tokens is one for the others.
func (w priced) row(l *rating.Line, others bool) priceRow {
	row := priceRow{Label: w.label(l, others), Cond: w.condition(l.When), Free: l.Free}
	per := max(l.Per, 1)
	shown := w.shown(l, per)
	row.Unit = w.per(l.Meter, shown)
	row.Money = !l.Free && l.Pricing != rating.Percentage && l.Pricing != rating.Dynamic
	switch l.Pricing {
	case rating.Flat:
		row.Price, row.Unit = decimal(string(l.Price), 1, 1), w.t("per.period")
		if l.InAdvance {
			row.Notes = append(row.Notes, w.t("advance"))
		}
	case rating.Package:
		row.Price, row.Unit = decimal(string(l.Price), 1, 1), w.t("per.package", w.amount(l.Meter, grouped(per)))
	case rating.Percentage:
		row.Price, row.Unit = string(l.Percent)+" %", w.t("per.amount")
	case rating.Dynamic:
		row.Price = w.t("dynamic")
	case rating.Graduated, rating.Volume:
		row.Tiers = w.tiers(l, shown, per)
		row.Notes = append(row.Notes, w.t(string(l.Pricing)))
	default:
		row.Price = decimal(string(l.Price), shown, per)
	}
	if l.Free {
		row.Price, row.Unit = w.t("free"), ""
	}
	row.Notes = append(row.Notes, w.reductions(l)...)
	row.Notes = append(row.Notes, w.bounds(l.Commitment, l.Minimum, l.Maximum)...)
	return row
}

// shown is how many units of its meter a line's price is shown for: what people reckon with, where the price is a finite
// decimal for that, else what the card states.
func (w priced) shown(l *rating.Line, per int64) int64 {
	n := per
	switch {
	case l.Pricing == rating.Package:
	case l.Meter == rating.MeterTokens, l.Meter == rating.MeterCharacters:
		n = million
	case l.Meter == rating.MeterAudioSeconds && per != minute:
		n = 1
	}
	if !exact(l, n, per) {
		return per
	}
	return n
}

// exact reports whether all prices of the line for per units are finite decimals for n.
func exact(l *rating.Line, n, per int64) bool {
	all := []rating.Number{l.Price}
	for _, t := range l.Tiers {
		all = append(all, t.Price)
	}
	for _, price := range all {
		if r, ok := scaled(string(price), n, per); ok {
			if _, finite := r.FloatPrec(); !finite {
				return false
			}
		}
	}
	return true
}

func (w priced) label(l *rating.Line, others bool) string {
	switch {
	case l.Pricing == rating.Flat:
		return or(l.Name, w.t("flat"))
	case l.Meter != rating.MeterTokens:
		if _, known := units[l.Meter]; known {
			return w.t("meter." + l.Meter)
		}
		return l.Meter
	case l.When != nil && len(l.When.Class) > 0:
		var names []string
		for _, c := range l.When.Class {
			names = append(names, w.t("class."+c))
		}
		return strings.Join(names, w.t("comma"))
	case others:
		return w.t("class.others")
	}
	return w.t("class.all")
}

// condition tells when a line applies; the token class is in its label.
func (w priced) condition(c *rating.When) string {
	if c == nil {
		return ""
	}
	var parts []string
	list := func(id string, names rating.OneOf) {
		if len(names) > 0 {
			parts = append(parts, w.t(id, strings.Join(names, w.t("comma"))))
		}
	}
	list("when.model", c.Model)
	list("when.resolution", c.Resolution)
	list("when.region", c.Region)
	var when []string
	for _, d := range c.Days {
		when = append(when, w.t("day."+d))
	}
	clock := strings.Join(when, w.t("comma"))
	if c.Hours != "" {
		clock = strings.TrimSpace(clock + " " + strings.ReplaceAll(c.Hours, "-", "–"))
	}
	if clock != "" {
		parts = append(parts, clock+" ("+or(c.Zone, "UTC")+")")
	}
	return strings.Join(parts, " · ")
}

func (w priced) tiers(l *rating.Line, shown, per int64) (rows []tierRow) {
	from := ""
	for _, t := range l.Tiers {
		row := tierRow{Price: decimal(string(t.Price), shown, per)}
		to := ""
		if t.UpTo != "" {
			to = w.amount(l.Meter, groupDigits(string(t.UpTo)))
		}
		switch {
		case from == "" && to == "":
			row.Range = w.t("tier.any")
		case from == "":
			row.Range = w.t("tier.first", to)
		case to == "":
			row.Range = w.t("tier.last", from)
		default:
			row.Range = w.t("tier.middle", from, to)
		}
		if t.Flat != "" {
			row.Flat = w.t("tier.flat", decimal(string(t.Flat), 1, 1))
		}
		from = to
		rows = append(rows, row)
	}
	return rows
}

// reductions are the allowance and the discounts of a line, in the order in which they apply.
func (w priced) reductions(l *rating.Line) (notes []string) {
	add := func(id string, n rating.Number) {
		if n != "" {
			notes = append(notes, w.t(id, groupDigits(string(n))))
		}
	}
	units := func(id string, n rating.Number) { // of the meter
		if l.Meter == rating.MeterAudioSeconds {
			id += ".seconds" // its price may be told by the minute
		}
		add(id, n)
	}
	if d := l.Discount; d != nil {
		add("discount.usage_percent", d.UsagePercent)
		units("discount.usage", d.Usage)
	}
	units("allowance", l.Allowance)
	if d := l.Discount; d != nil {
		add("discount.amount", d.Amount)
		add("discount.percent", d.Percent)
	}
	return notes
}

// bounds are what the whole period costs at least, at most, or by commitment.
func (w priced) bounds(c *rating.Commitment, least, most rating.Number) (notes []string) {
	add := func(id string, n rating.Number) {
		if n != "" {
			notes = append(notes, w.t(id, groupDigits(decimal(string(n), 1, 1)), w.currency))
		}
	}
	if c != nil {
		add("commitment", c.Amount)
		if c.OveragePercent != "" {
			notes = append(notes, w.t("overage", string(c.OveragePercent)))
		}
		if c.NoTrueUp {
			notes = append(notes, w.t("no_true_up"))
		}
	}
	add("minimum", least)
	add("maximum", most)
	return notes
}

// units are the ids of the texts for one unit of a meter and for several.
var units = map[string][2]string{
	rating.MeterTokens:       {"per.tokens", "per.tokens"},
	rating.MeterRequests:     {"per.request", "per.requests"},
	rating.MeterCharacters:   {"per.character", "per.characters"},
	rating.MeterAudioSeconds: {"per.second", "per.seconds"},
	rating.MeterImages:       {"per.image", "per.images"},
	rating.MeterMessages:     {"per.message", "per.messages"},
}

// per tells how many units a price is for.
func (w priced) per(meter string, n int64) string {
	ids, known := units[meter]
	if !known {
		ids = [2]string{"per.one", "per.many"}
	}
	switch {
	case meter == rating.MeterAudioSeconds && n == minute:
		return w.t("per.minute")
	case n == 1 && meter != rating.MeterTokens:
		return w.t(ids[0])
	}
	return w.t(ids[1], grouped(n))
}

// amount is a number of units of a meter. Seconds are named, since a price may stand beside them that is for a minute.
func (w priced) amount(meter, n string) string {
	if meter == rating.MeterAudioSeconds {
		return w.t("seconds", n)
	}
	return n
}

// scaled returns what n of `per` units is for `shown` units.
func scaled(n string, shown, per int64) (*big.Rat, bool) {
	r, ok := new(big.Rat).SetString(n)
	if !ok {
		return nil, false
	}
	return r.Mul(r, big.NewRat(shown, per)), true
}

// decimal writes a price of `per` units for `shown` units: exact, with two decimals at least. The result
// must be a finite decimal.
func decimal(price string, shown, per int64) string {
	if price == "" {
		price = "0" // of a tier that has only a flat fee
	}
	r, ok := scaled(price, shown, per)
	if !ok {
		return price
	}
	n, _ := r.FloatPrec()
	return r.FloatString(max(n, 2))
}

func or(s, instead string) string {
	if s != "" {
		return s
	}
	return instead
}

// lines writes the list as text, a line each: for programs.
func (l *priceList) lines(lang string) (out []string) {
	for _, row := range l.Rows {
		line := row.Label
		if row.Cond != "" {
			line += " [" + row.Cond + "]"
		}
		line += ": "
		if row.Price != "" {
			line += row.amount(row.Price, l.Currency)
		}
		for i, t := range row.Tiers {
			if i > 0 {
				line += "; "
			}
			line += t.Range + " " + row.amount(t.Price, l.Currency)
			if t.Flat != "" {
				line += " " + t.Flat
			}
		}
		out = append(out, strings.Join(append([]string{line}, row.Notes...), "; "))
	}
	for _, n := range l.Notes {
		out = append(out, text(lang, "price.card")+": "+n)
	}
	return out
}

func (r *priceRow) amount(price, currency string) string {
	if r.Money {
		price += " " + currency
	}
	return strings.TrimSpace(price + " " + r.Unit)
}
