// Package sse frames event streams (text/event-stream, WHATWG HTML §9.2.6) on bytes as they arrive.
//
// It finds where events end and what data they carry. It does not interpret the data, reconnect or
// keep last-event ids. Lines may end with LF, CRLF or CR, in any mixture; an event may be split
// anywhere over any number of reads, and the events given out do not depend on how.
package sse

import (
	"bytes"
	"errors"
)

// MaxEvent bounds one event. A larger one is an error of the upstream.
const MaxEvent = 16 << 20

// ErrTooLarge means that an event grew beyond [MaxEvent].
var ErrTooLarge = errors.New("sse: event too large")

// Framer splits a stream into events. The zero value is ready. Bytes of a complete event are never
// copied unless it was split over reads. Not for concurrent use.
type Framer struct {
	carry []byte // an event whose end has not been seen
	spare []byte // the other buffer: the last carried event given out, or nothing
	line  int    // where in carry the line at hand starts
	seen  int    // how far carry has been searched for the end of that line
}

// Reset makes f ready for another stream. Large buffers are let go.
func (f *Framer) Reset() {
	f.carry, f.spare = keep(f.carry), keep(f.spare)
	f.line, f.seen = 0, 0
}

func keep(b []byte) []byte {
	if cap(b) > 64<<10 {
		return nil
	}
	return b[:0]
}

// Pending is the part of an event that was read and whose end was not.
func (f *Framer) Pending() []byte { return f.carry }

// Next takes the next event from b, the unread rest of a read. It returns the event with the empty
// line that ends it, and how many bytes of b it took. carried tells that the event began in an
// earlier read; it is then in a buffer of f and holds until the read after this one. A nil event
// means that b is used up. An empty line alone is an event too.
func (f *Framer) Next(b []byte) (event []byte, n int, carried bool, err error) {
	if len(f.carry) == 0 {
		end, line, seen := boundary(b, 0, 0)
		if end >= 0 {
			return b[:end], end, false, nil
		}
		if len(b) > 0 {
			f.carry = append(f.carry, b...)
			f.line, f.seen = line, seen
			err = f.check()
		}
		return nil, len(b), false, err
	}
	// The end is usually near the start of b: append little at a time, so that a long read behind a
	// split event is not copied as a whole.
	for step := 512; n < len(b); step *= 4 {
		had := len(f.carry)
		more := b[n:min(n+step, len(b))]
		f.carry = append(f.carry, more...)
		end, line, seen := boundary(f.carry, f.line, f.seen)
		if end >= 0 {
			event = f.carry[:end]
			f.carry, f.spare = f.spare[:0], f.carry
			f.line, f.seen = 0, 0
			return event, n + end - had, true, nil
		}
		f.line, f.seen = line, seen
		n += len(more)
	}
	return nil, n, false, f.check()
}

func (f *Framer) check() error {
	if len(f.carry) > MaxEvent {
		return ErrTooLarge
	}
	return nil
}

// boundary finds the end of the event that b starts with: the index after its empty line, or -1
// with the state of the search. A CR at the very end of b is left for later, since an LF may follow.
func boundary(b []byte, line, i int) (end, atLine, seen int) {
	for {
		j := bytes.IndexByte(b[i:], '\n')
		stop := len(b)
		if j >= 0 {
			stop = i + j
		}
		if k := bytes.IndexByte(b[i:stop], '\r'); k >= 0 {
			k += i
			if k+1 == len(b) {
				return -1, line, k
			}
			if b[k+1] != '\n' || k == line {
				next := k + 1
				if b[next] == '\n' {
					next++
				}
				if k == line {
					return next, 0, 0
				}
				line, i = next, next
				continue
			}
			stop = k + 1 // CRLF at the end of a line that is not empty
		} else if j < 0 {
			return -1, line, len(b)
		}
		if stop == line {
			return stop + 1, 0, 0
		}
		line, i = stop+1, stop+1
	}
}

var bom = []byte("\xef\xbb\xbf")

// Data returns the data of an event as the specification joins it, and the event's name, "" if it
// has none. The usual single data line is not copied; several are joined in scratch, which is
// returned grown for reuse.
func Data(event, scratch []byte) (data []byte, name []byte, grown []byte) {
	event = bytes.TrimPrefix(event, bom)
	lines := 0
	for len(event) > 0 {
		end, next := lineEnd(event)
		line := event[:end]
		event = event[next:]
		if value, ok := field(line, "data"); ok {
			switch lines++; lines {
			case 1:
				data = value
			case 2:
				scratch = append(scratch[:0], data...)
				fallthrough
			default:
				scratch = append(append(scratch, '\n'), value...)
				data = scratch
			}
		} else if value, ok := field(line, "event"); ok {
			name = value
		}
	}
	return data, name, scratch
}

func lineEnd(b []byte) (end, next int) {
	end = bytes.IndexByte(b, '\n')
	if end < 0 {
		end = len(b)
	}
	if k := bytes.IndexByte(b[:end], '\r'); k >= 0 {
		end = k
	}
	next = min(end+1, len(b))
	if end+1 < len(b) && b[end] == '\r' && b[end+1] == '\n' {
		next++
	}
	return end, next
}

func field(line []byte, name string) ([]byte, bool) {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return nil, false
	}
	rest := line[len(name):]
	if len(rest) == 0 {
		return rest, true
	}
	if rest[0] != ':' {
		return nil, false
	}
	rest = rest[1:]
	if len(rest) > 0 && rest[0] == ' ' {
		rest = rest[1:]
	}
	return rest, true
}

// AppendHead appends the lines of an event that are not data (its name, id, comments), each with its
// line end, for an event that is written again with other data.
func AppendHead(dst, event []byte) []byte {
	event = bytes.TrimPrefix(event, bom)
	for len(event) > 0 {
		end, next := lineEnd(event)
		if _, ok := field(event[:end], "data"); !ok && end > 0 {
			dst = append(append(dst, event[:end]...), '\n')
		}
		event = event[next:]
	}
	return dst
}

// AppendEvent appends an event that carries data, which must not contain line ends.
func AppendEvent(dst, data []byte) []byte {
	dst = append(dst, "data: "...)
	dst = append(dst, data...)
	return append(dst, "\n\n"...)
}
