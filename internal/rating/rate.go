package rating

import (
	"time"

	"github.com/tollgate-io/tollgate/internal/money"
)

// Usage is a quantity of one meter, measured at a time.
type Usage struct {
	Meter    string
	Dims     Dims
	Quantity money.Decimal // at most nine decimals; tokens and requests are whole
	Unit     money.Decimal // the unit price that a dynamic line asks for, at most nine decimals
	Time     time.Time     // needed where a line asks for hours or days
}

// Call is the usage of one call: of a language model its tokens by class, of a capability a quantity of its Meter; and
// Requests.
type Call struct {
	Tokens Tokens
	// Meter is neither tokens nor requests; "" for none. Thousandths is its quantity.
	Meter       string
	Thousandths int64
	Dims        Dims // Class is not used
	Time        time.Time
}

// State is what the lines of a card have metered in the period, by index; a short or nil State is
// continued with zeros. Treat it as a value: Rate does not change it, Apply does.
type State []LineState

func (s State) at(i int) LineState {
	if i < len(s) {
		return s[i]
	}
	return LineState{}
}

// Apply puts into s what the charge's lines have metered, so that the next usage is rated after it.
func (s *State) Apply(ch *Charge) {
	for i := range ch.Lines {
		l := &ch.Lines[i]
		if l.Line == OverageLine {
			continue
		}
		for len(*s) <= l.Line {
			*s = append(*s, LineState{})
		}
		(*s)[l.Line] = l.After
	}
}

// OverageLine is the LineCharge.Line of what the overage of the card's commitment adds.
const OverageLine = -1

// LineCharge is what one line charges for a usage.
type LineCharge struct {
	Line     int           // index into Compiled.Lines, or OverageLine
	Quantity money.Decimal // that was rated
	Nano     int64         // may be negative
	After    LineState     // of the line
}

// Charge is what an event costs: the sum of its lines.
type Charge struct {
	Nano  int64
	Lines []LineCharge
}

// Rate charges a usage that comes after before. It is pure and safe for concurrent use. A usage
// without a price, an unfit quantity or an overflow is a *problem.Error, and charges nothing.
func Rate(c *Compiled, before State, u Usage) (Charge, error) {
	var ch Charge
	err := c.checkTime(u.Time)
	if err == nil {
		err = c.add(&ch, before, &u)
	}
	if err == nil {
		err = c.addOverage(&ch, before)
	}
	if err != nil {
		return Charge{}, err
	}
	return ch, nil
}

// RateCall charges a call: each token class in the order of the classes, then the request where the
// card prices requests. Classes of one line are rated one after the other.
func (c *Compiled) RateCall(before State, call *Call) (Charge, error) {
	if err := c.checkTime(call.Time); err != nil {
		return Charge{}, err
	}
	ch := Charge{Lines: make([]LineCharge, 0, Classes)}
	for class, n := range call.Tokens {
		if n == 0 || class == Requests && len(c.tokens[Requests].lines) == 0 {
			continue
		}
		q, err := money.DecimalInt(n)
		if err != nil {
			return Charge{}, invalidQuantity(classNames[class], "negative or too large")
		}
		i := c.tokenLine(class, &call.Dims, call.Time)
		if i < 0 {
			if class == Requests {
				continue // lines for some requests only
			}
			return Charge{}, noPrice(MeterTokens, classNames[class])
		}
		if err := c.charge(&ch, before, i, q, money.Decimal{}); err != nil {
			return Charge{}, err
		}
	}
	if call.Meter != "" && call.Thousandths != 0 {
		q, err := Thousandths(call.Thousandths)
		if err != nil {
			return Charge{}, err
		}
		if err := c.add(&ch, before, &Usage{Meter: call.Meter, Dims: call.Dims, Quantity: q, Time: call.Time}); err != nil {
			return Charge{}, err
		}
	}
	if err := c.addOverage(&ch, before); err != nil {
		return Charge{}, err
	}
	return ch, nil
}

func (c *Compiled) checkTime(at time.Time) error {
	if c.timed && at.IsZero() {
		return invalidUsage("the rate card asks for the time")
	}
	return nil
}

// tokenLine finds the line that prices a token class, or −1.
func (c *Compiled) tokenLine(class int, d *Dims, at time.Time) int {
	for _, i := range c.tokens[class].lines {
		if c.lines[i].when.matches(d, at) {
			return i
		}
	}
	return -1
}

// meterLine finds the line that prices a usage of another meter than tokens, or −1.
func (c *Compiled) meterLine(u *Usage) int {
	for i := range c.lines {
		if l := &c.lines[i]; l.meter == u.Meter && l.when.matches(&u.Dims, u.Time) {
			return i
		}
	}
	return -1
}

// add appends the charge of one usage to ch.
func (c *Compiled) add(ch *Charge, before State, u *Usage) error {
	i := -1
	if u.Meter == MeterTokens {
		class := classIndex(u.Dims.Class)
		if class < 0 {
			return invalidUsage("tokens need a class: " + joinClasses())
		}
		i = c.tokenLine(class, &u.Dims, u.Time)
	} else {
		i = c.meterLine(u)
	}
	if i < 0 || u.Meter == "" {
		return noPrice(u.Meter, u.Dims.Class)
	}
	l := &c.lines[i]
	if most := l.decimals(); u.Quantity.Decimals() > most {
		return invalidQuantity(u.Meter, "finer than the meter counts")
	}
	if u.Unit.Decimals() > 9 {
		return invalidUsage("a unit price has at most nine decimals")
	}
	return c.charge(ch, before, i, u.Quantity, u.Unit)
}

// decimals is how many decimals a quantity of the line's meter may have.
func (l *line) decimals() int {
	return grain(l.meter)
}

// charge appends what line i charges for q.
func (c *Compiled) charge(ch *Charge, before State, i int, q, unit money.Decimal) error {
	l, was := &c.lines[i], before.after(ch, i)
	now, err := l.advance(was, q, unit)
	if err != nil {
		return err
	}
	n, err := l.step(was, now, q)
	if err != nil {
		return err
	}
	if ch.Nano, err = money.AddNano(ch.Nano, n); err != nil {
		return errOverflow()
	}
	ch.Lines = append(ch.Lines, LineCharge{i, q, n, now})
	return nil
}

// after is the state of line i once ch was charged.
func (s State) after(ch *Charge, i int) LineState {
	for j := len(ch.Lines) - 1; j >= 0; j-- {
		if ch.Lines[j].Line == i {
			return ch.Lines[j].After
		}
	}
	return s.at(i)
}

// advance is the line's state after q more.
func (l *line) advance(was LineState, q, unit money.Decimal) (now LineState, err error) {
	if now.Quantity, err = was.Quantity.Add(q); err != nil {
		return now, errOverflow()
	}
	if l.pricing != Dynamic {
		return now, nil
	}
	x0, err := l.billable(was.Quantity)
	if err != nil {
		return now, errOverflow()
	}
	x1, err := l.billable(now.Quantity)
	if err != nil {
		return now, errOverflow()
	}
	value, err := less(x1, x0).Mul(unit) // exact: nine decimals each
	if err != nil {
		return now, errOverflow()
	}
	if now.Value, err = was.Value.Add(value); err != nil {
		return now, errOverflow()
	}
	return now, nil
}

// step is round(F(now)) − round(F(was)), for a usage of q.
func (l *line) step(was, now LineState, q money.Decimal) (int64, error) {
	if l.linear && l.whole() {
		if n, err := timesUnit(q, l.unit); err == nil {
			return n, nil
		}
		return 0, errOverflow()
	}
	a, err := l.cost(was)
	if err != nil {
		return 0, errOverflow()
	}
	b, err := l.cost(now)
	if err != nil {
		return 0, errOverflow()
	}
	return b - a, nil // both are from 0 to the largest int64
}

// timesUnit is q × unit for a whole q.
func timesUnit(q money.Decimal, unit int64) (int64, error) {
	w := scaled(q)
	w.div(e18)
	w.mul(uint64(unit))
	return w.int64()
}

// addOverage appends what the overage of the card's commitment adds to, or takes from, the charge.
func (c *Compiled) addOverage(ch *Charge, before State) error {
	if c.overage == overFull || len(ch.Lines) == 0 {
		return nil
	}
	was, err := c.spent(before, &Charge{})
	if err != nil {
		return err
	}
	now, err := c.spent(before, ch)
	if err != nil {
		return err
	}
	a, err := c.extra(was)
	if err != nil {
		return err
	}
	b, err := c.extra(now)
	if err != nil {
		return err
	}
	n, err := money.SubNano(b, a)
	if err != nil {
		return errOverflow()
	}
	if n == 0 {
		return nil
	}
	if ch.Nano, err = money.AddNano(ch.Nano, n); err != nil {
		return errOverflow()
	}
	ch.Lines = append(ch.Lines, LineCharge{Line: OverageLine, Nano: n})
	return nil
}

// spent is what all lines have charged in the period once ch was.
func (c *Compiled) spent(s State, ch *Charge) (int64, error) {
	var sum int64
	for i := range c.lines {
		n, err := c.lines[i].cost(s.after(ch, i))
		if err == nil {
			sum, err = money.AddNano(sum, n)
		}
		if err != nil {
			return 0, errOverflow()
		}
	}
	return sum, nil
}

// extra is how much dearer than by their lines a spending of n nano-units is by the card's overage.
func (c *Compiled) extra(n int64) (int64, error) {
	if n <= int64(c.commitment) {
		return 0, nil
	}
	x, err := money.MulDivRound(n-int64(c.commitment), int64(c.overage)-overFull, overFull)
	if err != nil {
		return 0, errOverflow()
	}
	return x, nil
}
