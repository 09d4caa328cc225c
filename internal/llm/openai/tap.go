package openai

import (
	"bytes"

	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
	"github.com/tollgate-io/tollgate/internal/llm/sse"
)

// Tap watches a chat completion stream on its way from the upstream to the caller. It finds the
// usage, measures what is delivered, and says which bytes to forward: nearly always the very bytes
// that were read. Only whole events are forwarded, so that whoever forwards may put a comment or an
// error event between two calls of Feed at any time.
//
// What it changes, and nothing else:
//   - an event that has usage and no choices is withheld if the client did not ask for usage;
//   - if it did ask, the call's cost is put into each usage object;
//   - an error event is withheld, with all that follows it, and kept for [Tap.Failure].
//
// The zero value is ready after Reset. A Tap is for one stream at a time and not for concurrent use.
type Tap struct {
	// Cost appends the cost of u as a JSON number. It is set once, when the Tap is made; nil adds none.
	Cost func(dst []byte, u *llm.Usage) []byte
	// Missing appends whole events to be sent before [DONE], when the client asked for usage and the
	// upstream sent none. It may call [Tap.Delivered]. Set once; nil adds nothing.
	Missing func(dst []byte) []byte
	// Count counts delivered text with a tokenizer. Set once; nil leaves [Tap.Over] with the cheap figures.
	Count func(d *llm.Delivered) int64

	asked    bool
	currency string

	usage     llm.Usage
	delivered llm.Delivered
	recount   int64 // bytes delivered before which Over does not count again
	done      bool
	failed    bool
	failure   []byte

	framer  sse.Framer
	out     [][]byte
	written []byte // rewritten events of this Feed
	instead []byte // the last of them
	joined  []byte // data of an event that has several data lines
	number  []byte
}

// maxFailure bounds how much of an upstream's error event is kept.
const maxFailure = 4 << 10

// Reset makes t ready for a stream whose client asked for usage or not, priced in currency.
func (t *Tap) Reset(asked bool, currency string) {
	t.asked, t.currency = asked, currency
	t.usage = llm.Usage{}
	t.delivered = llm.Delivered{Text: t.delivered.Text[:0]}
	t.recount = 0
	t.done, t.failed, t.failure = false, false, t.failure[:0]
	t.framer.Reset()
	clear(t.out)
	t.out = t.out[:0]
	if cap(t.written) > 64<<10 {
		t.written = nil
	}
	if cap(t.joined) > 64<<10 {
		t.joined = nil
	}
}

// Usage is what the upstream has reported so far; the last report counts. It is Found only while it
// covers what was delivered: text that comes after a report, or a report of no output where there was
// some, makes it useless, and the call is to be counted.
func (t *Tap) Usage() *llm.Usage { return &t.usage }

// Delivered measures the output in the events given out so far. Its text aliases t until Reset.
func (t *Tap) Delivered() llm.Delivered { return t.delivered }

// Output is the running number of output tokens: the upstream's where it reports along the way, else
// [llm.Delivered.Estimate]. It is what a crashed stream is charged for.
func (t *Tap) Output() int64 {
	if t.usage.Found {
		return t.usage.OutputTotal()
	}
	return t.delivered.Estimate()
}

// Over reports that the output delivered is beyond limit tokens, so that the stream is to be cut. It
// errs on the side of letting an answer finish: where the upstream reports nothing it is sure only when
// [llm.Delivered.Floor] is beyond the limit, or three fifths of what Count counts. Count runs only once
// the cheap estimate is beyond the limit, and again after each further quarter of text.
func (t *Tap) Over(limit int64) bool {
	if t.usage.Found {
		return t.usage.OutputTotal() > limit
	}
	d := &t.delivered
	switch {
	case d.Bytes <= limit: // no text has more tokens than bytes
		return false
	case d.Floor() > limit:
		return true
	case t.Count == nil || d.Bytes < t.recount || d.Estimate() <= limit:
		return false
	}
	t.recount = d.Bytes + d.Bytes/4
	return t.Count(d)*3/5 > limit
}

// Done reports that [DONE] was seen. A stream that ends without it was cut short upstream.
func (t *Tap) Done() bool { return t.done }

// Failed reports that the upstream sent an error event. Nothing after it is given out.
func (t *Tap) Failed() bool { return t.failed }

// Failure is the data of that event, shortened to 4 KiB. It is for the operator: it may name the
// upstream's account.
func (t *Tap) Failure() []byte { return t.failure }

// What is to be done with an event.
const (
	pass    = iota // forward it as it is
	drop           // do not forward it
	replace        // forward t.instead in its place
)

// Feed takes what was read and returns what to forward, in order. The pieces alias b and buffers of
// t and hold until the next call. An error means that the upstream does not speak the protocol.
func (t *Tap) Feed(b []byte) ([][]byte, error) {
	t.begin()
	run, pos := 0, 0 // b[run:pos] is to be forwarded as it is
	for pos < len(b) && !t.failed {
		start := pos
		event, n, carried, err := t.framer.Next(b[pos:])
		if err != nil {
			return nil, err
		}
		pos += n
		if event == nil {
			t.forward(b[run:start])
			return t.out, nil
		}
		action := t.event(event)
		if action == pass && !carried {
			continue
		}
		t.forward(b[run:start])
		run = pos
		switch action {
		case pass:
			t.forward(event)
		case replace:
			t.forward(t.instead)
		}
	}
	if t.failed {
		pos = run
	}
	t.forward(b[run:pos])
	return t.out, nil
}

// End takes the clean end of the stream. What came after the last empty line is an event too if it is
// whole, as some upstreams leave out the last line end; it gets one. Half an event is dropped. After a
// broken connection End is not to be called.
func (t *Tap) End() [][]byte {
	t.begin()
	event := t.framer.Pending()
	if len(event) == 0 || t.failed || !t.complete(event) {
		return t.out
	}
	switch t.event(event) {
	case pass:
		t.forward(event)
		t.forward(lineEnds)
	case replace:
		t.forward(t.instead)
	}
	return t.out
}

var lineEnds = []byte("\n\n")

// complete reports whether an event without its empty line has whole data: [DONE] or a JSON value.
func (t *Tap) complete(event []byte) bool {
	var data []byte
	data, _, t.joined = sse.Data(event, t.joined)
	data = bytes.TrimSpace(data)
	if string(data) == "[DONE]" {
		return true
	}
	end, fault := scan.Value(data, 0, 0)
	return fault == scan.OK && end == len(data)
}

// begin drops what the last Feed gave out.
func (t *Tap) begin() {
	t.out = t.out[:0]
	t.written = t.written[:0]
}

func (t *Tap) forward(b []byte) {
	if len(b) > 0 {
		t.out = append(t.out, b)
	}
}

// event reads one event.
func (t *Tap) event(event []byte) int {
	data, single := simple(event)
	if !single {
		var name []byte
		data, name, t.joined = sse.Data(event, t.joined)
		if string(name) == "error" {
			return t.fail(data)
		}
	}
	if len(data) < 16 && string(bytes.TrimSpace(data)) == "[DONE]" {
		return t.finish()
	}
	before := t.delivered
	special := measureData(&t.delivered, data)
	if t.delivered.Bytes > before.Bytes {
		t.usage.Found = false
	}
	if !special {
		return pass
	}
	action := t.special(event, data)
	if t.failed {
		t.delivered = before
	}
	return action
}

// simple is the usual case of [sse.Data]: one line of data, without name, and LF.
func simple(event []byte) ([]byte, bool) {
	n := len(event)
	if n < 9 || string(event[:6]) != "data: " || event[n-1] != '\n' || event[n-2] != '\n' {
		return nil, false
	}
	data := event[6 : n-2]
	if data[len(data)-1] == '\r' || bytes.IndexByte(data, '\n') >= 0 {
		return nil, false
	}
	return data, true
}

func (t *Tap) finish() int {
	t.done = true
	if !t.asked || t.usage.Found || t.Missing == nil {
		return pass
	}
	at := len(t.written)
	t.written = t.Missing(t.written)
	t.written = append(t.written, "data: [DONE]\n\n"...)
	t.instead = t.written[at:]
	return replace
}

func (t *Tap) fail(data []byte) int {
	t.failed = true
	t.failure = append(t.failure[:0], data[:min(len(data), maxFailure)]...)
	return drop
}

// special reads an event that seems to have usage or an error, which only its top level can tell.
func (t *Tap) special(event, data []byte) int {
	var usage, choices, failure Span
	for o := scan.Open(data, scan.Space(data, 0)); o.Next(); {
		switch c := data[o.Start]; string(o.Key) {
		case "usage":
			if c == '{' {
				usage = Span{o.Start, o.End}
			}
		case "choices":
			choices = Span{o.Start, o.End}
		case "error":
			if c != 'n' {
				failure = Span{o.Start, o.End}
			}
		case "object":
			if string(data[o.Start:o.End]) == `"error"` {
				failure = Span{0, len(data)}
			}
		}
	}
	if !failure.Empty() {
		return t.fail(data)
	}
	if usage.Empty() {
		return pass
	}
	readUsage(usage.Of(data), &t.usage)
	if t.usage.OutputTotal() == 0 && t.delivered.Bytes > 0 {
		t.usage.Found = false
	}
	if !t.asked {
		if emptyArray(data, choices) {
			return drop
		}
		return pass
	}
	if t.Cost == nil || !t.usage.Found {
		return pass
	}
	t.rewrite(event, data, usage)
	return replace
}

// emptyArray reports whether the span has no elements; an absent array has none.
func emptyArray(b []byte, s Span) bool {
	return s.Empty() || b[s.Start] == 'n' || b[s.Start] == '[' && scan.Space(b, s.Start+1) == s.End-1
}

// rewrite writes the event again with the cost in its usage object. Lines other than data are kept.
// Several lines of data become one: a line end in JSON is white space.
func (t *Tap) rewrite(event, data []byte, usage Span) {
	t.number = t.Cost(t.number[:0], &t.usage)
	at := len(t.written)
	w := sse.AppendHead(t.written, event)
	w = append(w, "data: "...)
	from := len(w)
	w = append(w, data[:usage.Start+1]...)
	w = appendCostMembers(w, data, usage, t.number, t.currency)
	w = append(w, data[usage.Start+1:]...)
	for i := range w[from:] {
		if w[from+i] == '\n' {
			w[from+i] = ' '
		}
	}
	t.written = append(w, "\n\n"...)
	t.instead = t.written[at:]
}
