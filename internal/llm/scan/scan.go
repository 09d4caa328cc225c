// Package scan walks over JSON bytes without decoding them into values and without allocating.
//
// There are two walkers. [Value] is strict: it accepts exactly the grammar of RFC 8259 (with a
// bounded depth) and is meant for what callers send. [Skip] and [Object] are lenient: they find
// their way through JSON that an upstream has already produced and may accept what is not quite
// JSON, but never read out of bounds. Neither checks UTF-8.
package scan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// MaxDepth is how deep arrays and objects may nest for [Value].
const MaxDepth = 128

// Fault tells why bytes are not JSON. The zero value is no fault.
type Fault uint8

// The faults.
const (
	OK      Fault = iota
	End           // the value does not end
	Syntax        // a character that cannot be there
	Control       // a control character in a string
	Escape        // an invalid escape in a string
	Number        // an invalid number
	Literal       // an invalid literal
	Depth         // nested too deep
)

// Space returns the index of the first byte at or after i that is not JSON white space.
func Space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// String checks the string whose opening quote is at i and returns the index of its closing quote.
// escaped tells that it contains a backslash. On a fault end is where it is.
func String(b []byte, i int) (end int, escaped bool, f Fault) {
	i++
	for {
		for i+8 <= len(b) {
			// A byte's high bit is set in m where it is below 0x20, a quote or a backslash. Only the
			// lowest set bit is exact, and only that one is used.
			x := binary.LittleEndian.Uint64(b[i:])
			m := ((x - ones*0x20) | ((x ^ ones*'"') - ones) | ((x ^ ones*'\\') - ones)) & ^x & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		for i < len(b) && b[i] >= 0x20 && b[i] != '"' && b[i] != '\\' {
			i++
		}
		if i >= len(b) {
			return len(b), escaped, End
		}
		switch b[i] {
		case '"':
			return i, escaped, OK
		case '\\':
			escaped = true
			if i, f = escape(b, i); f != OK {
				return i, true, f
			}
		default:
			return i, escaped, Control
		}
	}
}

// escape checks the escape whose backslash is at i and returns the index after it.
func escape(b []byte, i int) (int, Fault) {
	if i+1 >= len(b) {
		return len(b), End
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, OK
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(b) {
				return len(b), End
			}
			if hex(b[j]) < 0 {
				return j, Escape
			}
		}
		return i + 6, OK
	}
	return i + 1, Escape
}

func hex(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

func number(b []byte, i int) (int, Fault) {
	digits := func() bool {
		s := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		return i > s
	}
	if b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case !digits():
		return i, Number
	}
	if i < len(b) && b[i] == '.' {
		i++
		if !digits() {
			return i, Number
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return i, Number
		}
	}
	return i, OK
}

func literal(b []byte, i int, word string) (int, Fault) {
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word), OK
	}
	return i, Literal
}

func scalar(b []byte, i int) (int, Fault) {
	switch c := b[i]; {
	case c == '"':
		e, _, f := String(b, i)
		if f != OK {
			return e, f
		}
		return e + 1, OK
	case c == '-' || c-'0' <= 9:
		return number(b, i)
	case c == 't':
		return literal(b, i, "true")
	case c == 'f':
		return literal(b, i, "false")
	case c == 'n':
		return literal(b, i, "null")
	}
	return i, Syntax
}

// Value checks the JSON value that starts at i (no leading space), nested inside depth levels
// already, and returns the index after it. On a fault the index is where the fault is.
func Value(b []byte, i, depth int) (int, Fault) {
	var object [MaxDepth + 1]bool // by level above the given depth: an object, else an array
	level := 0
	for {
		// A value is expected at i.
		if i >= len(b) {
			return i, End
		}
		switch b[i] {
		case '{', '[':
			level++
			if depth+level > MaxDepth {
				return i, Depth
			}
			object[level] = b[i] == '{'
			closing := b[i] + 2
			i = Space(b, i+1)
			if i < len(b) && b[i] == closing {
				level--
				i++
				break
			}
			if object[level] {
				var f Fault
				if i, f = key(b, i); f != OK {
					return i, f
				}
			}
			continue
		default:
			var f Fault
			if i, f = scalar(b, i); f != OK {
				return i, f
			}
		}
		// A value ended at i: go on behind it, closing as many levels as end here.
		for {
			if level == 0 {
				return i, OK
			}
			i = Space(b, i)
			if i >= len(b) {
				return i, End
			}
			if b[i] == ',' {
				i = Space(b, i+1)
				if object[level] {
					var f Fault
					if i, f = key(b, i); f != OK {
						return i, f
					}
				}
				break
			}
			if object[level] && b[i] != '}' || !object[level] && b[i] != ']' {
				return i, Syntax
			}
			level--
			i++
		}
	}
}

// key checks a member's name and colon and returns the index of its value.
func key(b []byte, i int) (int, Fault) {
	if i >= len(b) {
		return i, End
	}
	if b[i] != '"' {
		return i, Syntax
	}
	e, _, f := String(b, i)
	if f != OK {
		return e, f
	}
	i = Space(b, e+1)
	if i >= len(b) {
		return i, End
	}
	if b[i] != ':' {
		return i, Syntax
	}
	return Space(b, i+1), OK
}

// quote returns the index of the quote that closes the string opened at i, or -1. It trusts escapes.
func quote(b []byte, i int) int {
	for i++; ; {
		j := bytes.IndexByte(b[i:], '"')
		if j < 0 {
			return -1
		}
		j += i
		k := j
		for k > i && b[k-1] == '\\' {
			k--
		}
		if (j-k)&1 == 0 {
			return j
		}
		i = j + 1
	}
}

// Skip returns the index after the value at i, leniently, or -1 when it does not end within b.
func Skip(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		if i = quote(b, i); i < 0 {
			return -1
		}
		return i + 1
	case '{', '[':
		depth := 0
		for ; i < len(b); i++ {
			switch b[i] {
			case '"':
				if i = quote(b, i); i < 0 {
					return -1
				}
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return -1
	}
	s := i
	for i < len(b) && b[i] > ' ' && b[i] != ',' && b[i] != '}' && b[i] != ']' {
		i++
	}
	if i == s {
		return -1
	}
	return i
}

// Object walks over the members of an object, or the elements of an array, leniently:
//
//	for o := scan.Open(b, i); o.Next(); { use o.Key, b[o.Start:o.End] }
type Object struct {
	Key        []byte // raw, without quotes; nil in an array
	Start, End int    // the value in the bytes given to Open

	b     []byte
	i     int
	array bool
}

// Open starts a walk over the object or array at i. Anything else has no members.
func Open(b []byte, i int) Object {
	if i < 0 || i >= len(b) || b[i] != '{' && b[i] != '[' {
		return Object{i: -1}
	}
	return Object{b: b, i: i + 1, array: b[i] == '['}
}

// Next advances to the next member and reports whether there is one.
func (o *Object) Next() bool {
	if o.i < 0 {
		return false
	}
	b := o.b
	i := Space(b, o.i)
	if i < len(b) && b[i] == ',' {
		i = Space(b, i+1)
	}
	o.i = -1
	if i >= len(b) {
		return false
	}
	if !o.array {
		if b[i] != '"' {
			return false
		}
		e := quote(b, i)
		if e < 0 {
			return false
		}
		o.Key = b[i+1 : e]
		i = Space(b, e+1)
		if i >= len(b) || b[i] != ':' {
			return false
		}
		i = Space(b, i+1)
	}
	end := Skip(b, i)
	if end < 0 {
		return false
	}
	o.Start, o.End, o.i = i, end, end
	return true
}

// Member returns the span of the value of the first member called name of the object at i.
func Member(b []byte, i int, name string) (start, end int, ok bool) {
	for o := Open(b, i); o.Next(); {
		if string(o.Key) == name {
			return o.Start, o.End, true
		}
	}
	return 0, 0, false
}
