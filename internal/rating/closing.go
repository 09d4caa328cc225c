package rating

import "github.com/tollgate-io/tollgate/internal/money"

// AdjustmentKind says why an adjustment is posted.
type AdjustmentKind string

// The kinds of adjustment.
const (
	AdjustFlat       AdjustmentKind = "flat"       // what is due at no usage: a flat price, the first tier's fee
	AdjustCommitment AdjustmentKind = "commitment" // true-up to what was committed
	AdjustMinimum    AdjustmentKind = "minimum"
	AdjustMaximum    AdjustmentKind = "maximum" // negative
	AdjustOverage    AdjustmentKind = "overage" // of what is due at no usage
)

// Adjustment is money that no event is charged for.
type Adjustment struct {
	Line int // index into Compiled.Lines, or CardLine
	Kind AdjustmentKind
	Nano int64
}

// CardLine is the Line of an adjustment of the whole card.
const CardLine = -1

// Opening returns what is due when the period opens: the flat lines in advance.
func (c *Compiled) Opening() ([]Adjustment, error) {
	var out []Adjustment
	for i := range c.lines {
		if !c.lines[i].inAdvance {
			continue
		}
		n, err := c.lines[i].cost(LineState{})
		if err != nil {
			return nil, errOverflow()
		}
		if n != 0 {
			out = append(out, Adjustment{i, AdjustFlat, n})
		}
	}
	return out, nil
}

// Closing returns what is due when the period closes, so that the charges of its events, Opening
// and Closing together are what the card demands for the period.
func (c *Compiled) Closing(s State) ([]Adjustment, error) {
	cl := closing{out: []Adjustment{}}
	var atZero, spent, total int64
	for i := range c.lines {
		l := &c.lines[i]
		base, n := cl.cost(l, LineState{}), cl.cost(l, s.at(i))
		if !l.inAdvance {
			cl.post(i, AdjustFlat, base)
		}
		atZero, spent = cl.sum(atZero, base), cl.sum(spent, n)
		total = cl.sum(total, cl.settle(i, n, l.commitment, l.trueUp, l.minimum, l.maximum))
	}
	if c.overage != overFull && cl.err == nil {
		base, err := c.extra(atZero)
		if err != nil {
			return nil, err
		}
		extra, err := c.extra(spent)
		if err != nil {
			return nil, err
		}
		cl.post(CardLine, AdjustOverage, base)
		total = cl.sum(total, extra)
	}
	cl.settle(CardLine, total, c.commitment, c.trueUp, c.minimum, c.maximum)
	return cl.out, cl.err
}

// closing gathers adjustments until the first error.
type closing struct {
	out []Adjustment
	err error
}

func (cl *closing) post(line int, kind AdjustmentKind, n int64) {
	if n != 0 && cl.err == nil {
		cl.out = append(cl.out, Adjustment{line, kind, n})
	}
}

func (cl *closing) cost(l *line, s LineState) int64 {
	n, err := l.cost(s)
	if err != nil {
		cl.err = errOverflow()
	}
	return n
}

func (cl *closing) sum(a, b int64) int64 {
	n, err := money.AddNano(a, b)
	if err != nil {
		cl.err = errOverflow()
	}
	return n
}

// settle posts what lifts n to the commitment and the minimum and caps it at the maximum, and
// returns the result.
func (cl *closing) settle(line int, n int64, commitment uint64, trueUp bool, minimum, maximum int64) int64 {
	if trueUp && n < int64(commitment) {
		cl.post(line, AdjustCommitment, int64(commitment)-n)
		n = int64(commitment)
	}
	if n < minimum {
		cl.post(line, AdjustMinimum, minimum-n)
		n = minimum
	}
	if maximum >= 0 && n > maximum {
		cl.post(line, AdjustMaximum, maximum-n)
		n = maximum
	}
	return n
}
