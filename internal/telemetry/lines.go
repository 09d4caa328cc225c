package telemetry

import (
	"encoding/hex"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	linesBuffer = 256 << 10             // bytes of lines waiting, per buffer of the two
	linesDelay  = 50 * time.Millisecond // how long a line may wait for company
	maxField    = 512                   // bytes kept of a string that a client or an upstream chose
)

// Lines writes one JSON line per request to w, behind the request. Lines are encoded by the caller
// into a buffer of bounded size which one goroutine writes out; when the writer is slower than the
// requests the buffer fills and further lines are dropped and counted, so that a stuck log never
// stops a call. Safe for concurrent use; a nil *Lines drops everything.
type Lines struct {
	w       io.Writer
	mu      sync.Mutex
	buf     []byte
	dropped atomic.Int64

	armed  chan struct{} // a line waits in an empty buffer
	full   chan struct{} // half full, or a flush is wanted: write now
	stop   chan struct{}
	done   chan struct{}
	closed bool
}

// NewLines starts the writer. Close it to write what is left.
func NewLines(w io.Writer) *Lines {
	l := &Lines{
		w: w, buf: make([]byte, 0, linesBuffer),
		armed: make(chan struct{}, 1), full: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go l.run()
	return l
}

// Dropped returns how many lines were lost, because the buffer was full or a write failed.
func (l *Lines) Dropped() int64 {
	if l == nil {
		return 0
	}
	return l.dropped.Load()
}

// Emit writes e as one line. It returns at once.
func (l *Lines) Emit(e *Event) {
	if l == nil {
		return
	}
	l.mu.Lock()
	if l.closed || len(l.buf)+lineBound(e) > cap(l.buf) {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	was := len(l.buf)
	l.buf = AppendLine(l.buf, e)
	is := len(l.buf)
	l.mu.Unlock()
	if was == 0 {
		poke(l.armed)
	}
	if was < linesBuffer/2 && is >= linesBuffer/2 {
		poke(l.full)
	}
}

// Close writes the lines that wait and ends the writer. Emit drops from then on.
func (l *Lines) Close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	<-l.done
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run sleeps until a line arrives, lets others gather, and writes them in one go: some twenty
// wake-ups a second under any load, none when idle.
func (l *Lines) run() {
	defer close(l.done)
	spare := make([]byte, 0, linesBuffer)
	timer := time.NewTimer(linesDelay)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-l.armed:
		case <-l.stop:
			l.flush(spare)
			return
		}
		timer.Reset(linesDelay)
		select {
		case <-timer.C:
		case <-l.full:
		case <-l.stop:
		}
		spare = l.flush(spare)
	}
}

// flush swaps the buffers, writes the filled one outside the lock and returns it emptied.
func (l *Lines) flush(spare []byte) []byte {
	l.mu.Lock()
	out := l.buf
	l.buf = spare[:0]
	l.mu.Unlock()
	if len(out) > 0 {
		if n, err := l.w.Write(out); err != nil {
			l.dropped.Add(countLines(out[min(n, len(out)):]))
		}
	}
	return out[:0]
}

func countLines(b []byte) (n int64) {
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}

// lineBound is an upper bound of the line's length: fixed parts, and six bytes for each byte of a
// string at the most (\u00XX).
func lineBound(e *Event) int {
	s := min(len(e.ID), maxField) + min(len(e.Method), maxField) + min(len(e.Path), maxField) + min(len(e.Org), maxField) +
		min(len(e.Key), maxField) + min(len(e.Product), maxField) + min(len(e.Model), maxField) + min(len(e.Upstream), maxField) +
		min(len(e.Target), maxField) + min(len(e.Currency), maxField) + min(len(e.Meter), maxField)
	n := 1024 + 6*s
	if e.Err != nil {
		n += 12 * maxField
	}
	return n
}

// AppendLine appends e as one JSON object and a newline. Absent values are left out. Field names
// are those of the manual: durations in milliseconds, the charge as a decimal string.
func AppendLine(b []byte, e *Event) []byte {
	b = append(b, `{"time":"`...)
	b = appendTime(b, e.Time)
	b = append(b, `","level":"`...)
	b = append(b, levelOf(e.Outcome)...)
	b = append(b, `","msg":"request"`...)
	b = appendString(b, `,"id":"`, e.ID)
	if e.Trace.Valid() {
		b = append(b, `,"trace_id":"`...)
		b = hex.AppendEncode(b, e.Trace.TraceID[:])
		b = append(b, '"')
	}
	b = appendString(b, `,"method":"`, e.Method)
	b = appendString(b, `,"path":"`, e.Path)
	b = appendInt(b, `,"status":`, int64(e.Status))
	b = append(b, `,"outcome":"`...)
	b = append(b, e.Outcome.String()...)
	b = append(b, `","dialect":"`...)
	b = append(b, e.Dialect.String()...)
	b = append(b, '"')
	if e.Stream {
		b = append(b, `,"stream":true`...)
	}
	b = appendString(b, `,"organisation":"`, e.Org)
	b = appendString(b, `,"key":"`, e.Key)
	b = appendString(b, `,"product":"`, e.Product)
	b = appendString(b, `,"model":"`, e.Model)
	b = appendString(b, `,"upstream":"`, e.Upstream)
	b = appendString(b, `,"target":"`, e.Target)
	if e.Attempts != 0 {
		b = appendInt(b, `,"attempts":`, int64(e.Attempts))
	}
	b = appendTokens(b, e)
	if e.Meter != "" {
		b = appendString(b, `,"meter":"`, e.Meter)
		b = appendInt(b, `,"units_thousandths":`, e.Units)
	}
	if e.Currency != "" {
		b = append(b, `,"charge":"`...)
		b = appendNano(b, e.ChargeNano)
		b = appendString(append(b, '"'), `,"currency":"`, e.Currency)
	}
	if e.TTFB != 0 {
		b = appendMillis(b, `,"ttfb_ms":`, e.TTFB)
	}
	b = appendMillis(b, `,"duration_ms":`, e.Duration)
	b = appendInt(b, `,"bytes_in":`, e.BytesIn)
	b = appendInt(b, `,"bytes_out":`, e.BytesOut)
	if e.RemoteIP.IsValid() {
		b = append(b, `,"remote_ip":"`...)
		b = e.RemoteIP.WithZone("").AppendTo(b)
		b = append(b, '"')
	}
	if e.Err != nil {
		b = appendString(b, `,"error_id":"`, problem.As(e.Err).ID)
		b = appendString(b, `,"error":"`, e.Err.Error())
	}
	return append(b, '}', '\n')
}

func levelOf(o Outcome) string {
	switch o {
	case Failed:
		return "ERROR"
	case Upstream, Timeout, Unavailable:
		return "WARN"
	}
	return "INFO"
}

func appendTokens(b []byte, e *Event) []byte {
	sep := `,"tokens":{"`
	for c, n := range e.Tokens {
		if n == 0 {
			continue
		}
		b = append(b, sep...)
		b = append(b, classNames[c]...)
		b = append(b, '"', ':')
		b = strconv.AppendInt(b, n, 10)
		sep = `,"`
	}
	if sep == `,"` {
		b = append(b, '}')
		if e.Estimated {
			b = append(b, `,"estimated":true`...)
		}
	}
	return b
}

func appendInt(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), n, 10)
}

// appendMillis writes d in milliseconds with three decimals.
func appendMillis(b []byte, name string, d time.Duration) []byte {
	us := max(int64(d/time.Microsecond), 0)
	b = strconv.AppendInt(append(b, name...), us/1000, 10)
	f := us % 1000
	return append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
}

// appendNano writes an amount in nano-units as a decimal without trailing zeros.
func appendNano(b []byte, n int64) []byte {
	u := uint64(n)
	if n < 0 {
		b, u = append(b, '-'), -u
	}
	b = strconv.AppendUint(b, u/1e9, 10)
	f := u % 1e9
	if f == 0 {
		return b
	}
	b = append(b, '.')
	for div := uint64(1e8); f > 0; div /= 10 {
		b = append(b, byte('0'+f/div))
		f %= div
	}
	return b
}

// appendTime writes t in UTC with microseconds, RFC 3339; a good deal faster than AppendFormat.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	y, mo, d := t.Date()
	h, mi, s := t.Clock()
	us := t.Nanosecond() / 1000
	b = append2(append2(b, y/100%100), y%100)
	b = append2(append(b, '-'), int(mo))
	b = append2(append(b, '-'), d)
	b = append2(append(b, 'T'), h)
	b = append2(append(b, ':'), mi)
	b = append2(append(b, ':'), s)
	b = append2(append(b, '.'), us/10000)
	return append(append2(append2(b, us/100%100), us%100), 'Z')
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

const hexDigits = "0123456789abcdef"

// appendString writes name (which opens the quote) and s escaped as JSON, or nothing for an empty
// s. Long strings are cut; invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(b, name...)
	if len(s) > maxField {
		s = s[:maxField]
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, n := utf8.DecodeRuneInString(s[i:]); (r != utf8.RuneError || n > 1) && r != '\u2028' && r != '\u2029' && r > 0x9f {
				i += n
				continue
			} else if r != utf8.RuneError {
				b = append(b, s[start:i]...)
				b = append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
				i += n
				start = i
				continue
			}
			b = append(append(b, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
