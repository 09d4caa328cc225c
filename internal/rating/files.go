package rating

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Nano is an amount in nano-units that JSON shows as a decimal string.
type Nano int64

// MarshalText writes the amount as a decimal.
func (n Nano) MarshalText() ([]byte, error) { return money.AppendNano(nil, int64(n)), nil }

// Report is a usage file rated on a card: one billing period from its beginning to its end.
// Every amount is in Currency.
type Report struct {
	Currency string             `json:"currency"`
	Opening  []ReportAdjustment `json:"opening"` // due when the period opens
	Events   []ReportEvent      `json:"events"`
	Lines    []ReportLine       `json:"lines"`   // totals by line
	Usage    Nano               `json:"usage"`   // the sum of the events' charges
	Closing  []ReportAdjustment `json:"closing"` // due when the period closes
	Total    Nano               `json:"total"`   // opening, usage and closing
}

// ReportEvent is one event and what it was charged.
type ReportEvent struct {
	Event  string         `json:"event"` // its id, else its number in the file, from 1
	Time   *time.Time     `json:"time,omitempty"`
	Lines  []ReportCharge `json:"lines"`
	Charge Nano           `json:"charge"`
}

// ReportCharge is what one line charged for an event.
type ReportCharge struct {
	Line     string `json:"line"`
	Quantity string `json:"quantity,omitempty"`
	Charge   Nano   `json:"charge"`
}

// ReportLine is a line's total over all events.
type ReportLine struct {
	Line     string `json:"line"`
	Meter    string `json:"meter,omitempty"`
	Quantity string `json:"quantity,omitempty"`
	Charge   Nano   `json:"charge"`
}

// ReportAdjustment is an Adjustment with the name of its line, "card" for the whole card.
type ReportAdjustment struct {
	Line   string         `json:"line"`
	Kind   AdjustmentKind `json:"kind"`
	Charge Nano           `json:"charge"`
}

// fileEvent is an event of a usage file: a quantity of a meter, or the tokens of a call.
type fileEvent struct {
	id    string
	usage Usage
	call  *Call
}

// RunFiles rates a usage file on a card file, both YAML or JSON, as one billing period. The events
// are rated in the order of the file. Nothing is rated when anything is wrong.
func RunFiles(card, usage []byte) (Report, error) {
	parsed, err := ParseCard(card)
	if err != nil {
		return Report{}, err
	}
	c, err := Compile(parsed)
	if err != nil {
		return Report{}, err
	}
	events, err := parseUsage(usage)
	if err != nil {
		return Report{}, err
	}
	return c.report(events)
}

func (c *Compiled) report(events []fileEvent) (Report, error) {
	r := Report{Currency: c.currency, Events: make([]ReportEvent, 0, len(events))}
	opening, err := c.Opening()
	if err != nil {
		return r, err
	}
	r.Opening = c.named(opening)
	var state State
	var sum total
	byLine := make([]total, len(c.lines))
	var overage total
	for i := range events {
		e := &events[i]
		ch, err := e.rate(c, state)
		if err != nil {
			p := problem.As(err)
			return r, p.Within(fmt.Sprintf("events[%d]", i), p)
		}
		state.Apply(&ch)
		sum.add(ch.Nano)
		for _, l := range ch.Lines {
			if l.Line == OverageLine {
				overage.add(l.Nano)
			} else {
				byLine[l.Line].add(l.Nano)
			}
		}
		r.Events = append(r.Events, c.reportEvent(e, i, &ch))
	}
	for i := range c.lines {
		l := ReportLine{Line: c.lines[i].name, Meter: c.lines[i].meter, Charge: Nano(byLine[i].n)}
		if l.Meter != "" {
			l.Quantity = state.at(i).Quantity.String()
		}
		r.Lines = append(r.Lines, l)
	}
	if overage.n != 0 {
		r.Lines = append(r.Lines, ReportLine{Line: overageName, Charge: Nano(overage.n)})
	}
	closing, err := c.Closing(state)
	if err != nil {
		return r, err
	}
	r.Closing = c.named(closing)
	r.Usage = Nano(sum.n)
	for _, a := range append(opening, closing...) {
		sum.add(a.Nano)
	}
	r.Total = Nano(sum.n)
	if sum.overflow || overage.overflow {
		return r, errOverflow()
	}
	return r, nil
}

func (c *Compiled) reportEvent(e *fileEvent, i int, ch *Charge) ReportEvent {
	out := ReportEvent{Event: e.id, Lines: make([]ReportCharge, len(ch.Lines)), Charge: Nano(ch.Nano)}
	if out.Event == "" {
		out.Event = strconv.Itoa(i + 1)
	}
	if at := e.at(); !at.IsZero() {
		out.Time = &at
	}
	for j, l := range ch.Lines {
		if l.Line == OverageLine {
			out.Lines[j] = ReportCharge{Line: overageName, Charge: Nano(l.Nano)}
			continue
		}
		out.Lines[j] = ReportCharge{c.lines[l.Line].name, l.Quantity.String(), Nano(l.Nano)}
	}
	return out
}

// Names of what is no line, in a report.
const (
	overageName = "overage"
	cardName    = "card"
)

func (c *Compiled) named(list []Adjustment) []ReportAdjustment {
	out := make([]ReportAdjustment, len(list))
	for i, a := range list {
		out[i] = ReportAdjustment{cardName, a.Kind, Nano(a.Nano)}
		if a.Line != CardLine {
			out[i].Line = c.lines[a.Line].name
		}
	}
	return out
}

// total is a sum that remembers that it overflowed.
type total struct {
	n        int64
	overflow bool
}

func (t *total) add(n int64) {
	sum, err := money.AddNano(t.n, n)
	t.n, t.overflow = sum, t.overflow || err != nil
}

func (e *fileEvent) at() time.Time {
	if e.call != nil {
		return e.call.Time
	}
	return e.usage.Time
}

func (e *fileEvent) rate(c *Compiled, before State) (Charge, error) {
	if e.call != nil {
		return c.RateCall(before, e.call)
	}
	return Rate(c, before, e.usage)
}

func parseUsage(data []byte) ([]fileEvent, error) {
	if len(data) > MaxUsageBytes {
		return nil, problem.New(problem.TooLarge, "rating.usage_too_large", "the usage file is larger than %d bytes", MaxUsageBytes)
	}
	n, err := parseTree(data)
	if err != nil {
		return nil, problem.New(problem.Invalid, "rating.usage_unreadable", "the usage file is not valid YAML or JSON: %s", clipTo(400, err.Error()))
	}
	var k checker
	var events []fileEvent
	k.object("", n, fields{"events": list(&k, &events, k.decodeEvent)})
	if k.err() == nil && events == nil {
		k.addf("events", "is missing")
	}
	if len(k.fields) > 0 {
		err := problem.New(problem.Invalid, "rating.usage_file_invalid", "the usage file is not valid")
		err.Fields = k.fields
		return nil, err
	}
	return events, nil
}

func (k *checker) decodeEvent(e *fileEvent) reader {
	return func(path string, n node) {
		var quantity, unit Number
		var dims Dims
		var at time.Time
		var call Call
		k.object(path, n, fields{
			"id":       k.text(&e.id),
			"time":     k.time(&at),
			"dims":     k.decodeDims(&dims),
			"meter":    k.text(&e.usage.Meter),
			"quantity": k.number(&quantity),
			"unit":     k.number(&unit),
			"tokens": func(path string, n node) {
				e.call = &call
				k.decodeTokens(path, n, &call)
			},
		})
		if e.call != nil {
			if e.usage.Meter != "" || quantity != "" || unit != "" {
				k.addf(path+".tokens", "an event has tokens, or a meter and a quantity, not both")
			}
			call.Dims, call.Time = dims, at
			return
		}
		if e.usage.Meter == "" {
			k.addf(path+".meter", "is missing: an event has a meter and a quantity, or tokens")
		}
		if quantity == "" {
			k.addf(path+".quantity", "is missing")
		}
		e.usage.Dims, e.usage.Time = dims, at
		e.usage.Quantity = k.decimal(path+".quantity", quantity, 9)
		e.usage.Unit = k.decimal(path+".unit", unit, 9)
	}
}

func (k *checker) decodeDims(d *Dims) reader {
	return func(path string, n node) {
		k.object(path, n, fields{
			"model":      k.text(&d.Model),
			"class":      k.text(&d.Class),
			"resolution": k.text(&d.Resolution),
			"region":     k.text(&d.Region),
		})
	}
}

// decodeTokens reads the classes of a call, which is one request.
func (k *checker) decodeTokens(path string, n node, call *Call) {
	call.Tokens[Requests] = 1
	f := fields{}
	for i, class := range classNames[:Requests] {
		f[class] = func(path string, n node) {
			v, err := strconv.ParseInt(n.text, 10, 64)
			if n.kind != numberNode || err != nil || v < 0 || v == math.MaxInt64 || !integerLiteral(n.text) {
				k.addf(path, "must be a whole number of tokens")
				return
			}
			call.Tokens[i] = v
		}
	}
	k.object(path, n, f)
}
