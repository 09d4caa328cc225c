package rating

import (
	"math"
	"math/bits"
	"slices"
)

// The token classes, in the order of [Tokens], and last the number of requests. The classes are
// disjoint: a cached input token is not also counted as input.
const (
	Input = iota
	CachedInput
	CacheWrite
	Output
	Reasoning
	AudioInput
	AudioOutput
	Requests
	Classes // how many there are
)

// Tokens is the usage of one call of a language model.
type Tokens = [Classes]int64

var classNames = [Classes]string{"input", "cached_input", "cache_write", "output", "reasoning", "audio_input", "audio_output", "requests"}

// ClassName returns the name of a class as cards write it; "requests" for the last.
func ClassName(i int) string { return classNames[i] }

// classIndex returns the token class of that name, or −1.
func classIndex(name string) int { return slices.Index(classNames[:Requests], name) }

// fallback is the class whose line prices a class that has none, or −1.
var fallback = [Classes]int{-1, Input, Input, -1, Output, Input, Output, -1}

// route tells how the usage of a class finds its line.
type route struct {
	lines []int // that may price it, in order, those of the fallback class last
	unit  int64 // nano per token, when the class is direct
	state directness
}

type directness uint8

const (
	needsRate directness = iota // depends on dimensions, time or the period's total
	direct                      // unit nano for each token
	unpriced                    // no line ever matches
)

// routes finds the lines of each class and whether the hot path may price it.
func (c *Compiled) routes() {
	for class := range Classes {
		r := &c.tokens[class]
		for k := class; k >= 0; k = fallback[k] {
			var closed bool
			if r.lines, closed = c.candidates(r.lines, k); closed {
				break
			}
		}
		switch {
		case len(r.lines) == 0:
			r.state = unpriced
			if class == Requests {
				r.state = direct // a call need not be charged for itself
			}
		default:
			if l := &c.lines[r.lines[0]]; l.when.plain() && l.linear && c.overage == overFull {
				r.state, r.unit = direct, l.unit
			}
		}
	}
}

// candidates appends the lines that may price class k under its own name, up to the first that
// always does.
func (c *Compiled) candidates(lines []int, k int) (all []int, closed bool) {
	meter, name := MeterTokens, classNames[k]
	if k == Requests {
		meter, name = MeterRequests, ""
	}
	for i := range c.lines {
		l := &c.lines[i]
		if l.meter != meter || !l.when.class.matches(name) || slices.Contains(lines, i) {
			continue
		}
		lines = append(lines, i)
		if l.when.plain() {
			return lines, true
		}
	}
	return lines, false
}

// TokenCharge prices one call on the hot path, without allocating. It is exactly the sum of what
// Rate would charge. It declines (ok is false) when the charge depends on dimensions, time or the
// total of the period, when a used class has no price, and on overflow or a negative count: use
// RateCall then.
func (c *Compiled) TokenCharge(q *Tokens) (nano int64, ok bool) {
	var sum uint64
	for i, n := range q {
		if n == 0 {
			continue
		}
		r := &c.tokens[i]
		if r.state != direct || n < 0 {
			return 0, false
		}
		hi, lo := bits.Mul64(uint64(n), uint64(r.unit))
		if sum += lo; hi != 0 || lo > math.MaxInt64 || sum > math.MaxInt64 {
			return 0, false
		}
	}
	return int64(sum), true
}
