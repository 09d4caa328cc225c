package gateway

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unsafe"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/quota"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// rate is what usage costs, at most the hold; excess is what it is worth beyond. provisional says that only
// the settler, who knows the period, can tell the charge.
func (c *Call) rate(u *llm.Usage) (charge, excess int64, provisional bool) {
	q := rating.Tokens(u.Classes())
	nano, ok := c.offer.Card.TokenCharge(&q)
	call := rating.Call{Tokens: q, Dims: rating.Dims{Model: c.offer.Product.Model}, Time: db.Time(c.rec.Time)}
	if m := c.rec.Meter; ok && m != "" && m != rating.MeterRequests {
		call.Meter, call.Thousandths = m, c.units
		var units int64
		if units, ok = c.offer.Card.UnitCharge(m, c.units); ok {
			nano, ok = nano+units, nano <= math.MaxInt64-units
		}
	}
	if !ok {
		ch, err := c.offer.Card.RateCall(nil, &call)
		nano, provisional = ch.Nano, true
		if err != nil {
			nano = c.rec.Hold // the settler will find the same and put it in suspense
		}
	}
	if nano > c.rec.Hold {
		return c.rec.Hold, nano - c.rec.Hold, provisional
	}
	return nano, 0, provisional
}

// price sets the charge of c.usage.
func (c *Call) price() {
	var provisional bool
	c.charge, c.rec.Excess, provisional = c.rate(&c.usage)
	if provisional {
		c.rec.Flags |= spool.Provisional
	}
	if c.rec.Excess > 0 {
		c.rec.Flags |= spool.Uncharged
	}
	if c.usage.Estimated {
		c.rec.Flags |= spool.Estimated
	}
}

// conclude writes the CLOSE and ends the hold. c.usage and c.charge say what was used; both are zero for
// an outcome of Failed. It runs once for each OPEN.
func (c *Call) conclude(outcome spool.Outcome) error {
	if !c.opened {
		return nil
	}
	c.opened = false
	r := &c.rec
	if outcome == spool.Failed {
		c.usage, c.charge, c.units = llm.Usage{}, 0, 0
		r.Flags &^= spool.Provisional | spool.Uncharged | spool.Estimated
		r.Excess = 0
		if r.Status == 0 {
			r.Status = uint16(c.ev.Status)
		}
	}
	u := &c.usage
	r.Outcome, r.Charge, r.Units = outcome, c.charge, c.units
	r.Usage = [spool.Classes]int64{u.Input, u.CachedInput, u.CacheWrite, u.Output, u.Reasoning, u.AudioInput, u.AudioOutput}
	r.BytesOut = c.ev.BytesOut
	r.Duration = time.Since(c.ev.Time).Microseconds()
	r.FirstByte = c.ev.TTFB.Microseconds()
	c.digest.Sum(r.ResponseDigest[:0])
	pos, err := c.g.o.Spool.AppendClose(r)
	if err == nil {
		err = c.g.o.Spool.WaitDurable(pos)
	}
	if err != nil {
		// What this call holds stays taken: recovery decides what it is charged.
		c.g.o.Bank.Finish(&c.hold, c.hold.Amount())
		c.g.o.Metrics.SpoolErrors.Add(1)
		return err
	}
	c.closed = true
	c.g.o.Metrics.SpoolRecords.Add(1)
	if r.Excess > 0 {
		c.g.o.Metrics.Uncharged.Add(1)
	}
	kept := c.charge
	if r.Flags&spool.Provisional != 0 {
		kept = c.hold.Amount() // the settler gives back what its charge leaves
	}
	c.g.o.Bank.Finish(&c.hold, kept)
	return nil
}

// estimateAnswer counts the tokens of an answer whose upstream reported no usage.
func (c *Call) estimateAnswer(body []byte) {
	c.usage = llm.Usage{Estimated: true}
	u := &c.usage
	if c.op.capability == catalog.Embeddings {
		u.Input = c.g.counter.Embeddings(c.scan.Input.Of(c.Body))
		return
	}
	u.Input, u.AudioInput = c.g.counter.Chat(c.scan.Messages.Of(c.Body), c.scan.Tools.Of(c.Body))
	var d llm.Delivered
	openai.MeasureAnswer(&d, body)
	u.Output, u.Reasoning = c.g.counter.Output(&d)
}

// estimateStream counts the tokens of what a stream delivered.
func (c *Call) estimateStream() {
	if c.usage.Estimated {
		return // counted before, for the client's usage event
	}
	d := c.tap.Delivered()
	c.usage = llm.Usage{Estimated: true}
	u := &c.usage
	u.Input, u.AudioInput = c.g.counter.Chat(c.scan.Messages.Of(c.Body), c.scan.Tools.Of(c.Body))
	u.Output, u.Reasoning = c.g.counter.Output(&d)
}

// usageOfDelivered is for a stream that broke off: the upstream's figures as far as they came, else
// what was delivered, counted; nothing if nothing was.
func (c *Call) usageOfDelivered() {
	if c.closed || !c.opened {
		return
	}
	if !c.started { // and the tap may still be that of the call before
		c.usage, c.charge, c.units = llm.Usage{}, 0, 0
		return
	}
	if c.Route != nil { // what the engine has reported
		c.price()
		return
	}
	d := c.tap.Delivered()
	switch {
	case c.tap.Usage().Found:
		c.usage = *c.tap.Usage()
	case d.Bytes == 0 && d.Choices == 0:
		c.usage = llm.Usage{}
		c.charge = 0
		return
	default:
		c.usage.Estimated = false
		c.estimateStream()
	}
	c.price()
}

// progress stores what the stream is worth so far, for recovery to charge if the process dies.
func (c *Call) progress() {
	u := c.tap.Usage()
	var est llm.Usage
	if u.Found {
		est = *u
	} else {
		est.Input, est.Output = u.InputTotal(), c.tap.Output() // a report made stale by later text still tells the input
		if est.Input == 0 {
			est.Input = int64(len(c.Body)+3) / 4
		}
	}
	charge, _, _ := c.rate(&est)
	c.g.o.Spool.Progress(&c.rec, &spool.Progress{Charge: charge, BytesOut: c.ev.BytesOut,
		Usage: [spool.Classes]int64{est.Input, est.CachedInput, est.CacheWrite, est.Output, est.Reasoning, est.AudioInput, est.AudioOutput}})
}

// streamCost appends the cost of the usage in a stream's usage event.
func (c *Call) streamCost(dst []byte, u *llm.Usage) []byte {
	charge, _, _ := c.rate(u)
	return money.AppendNano(dst, charge)
}

// missingUsage makes the usage event that the client asked for and the upstream did not send.
func (c *Call) missingUsage(dst []byte) []byte {
	c.estimateStream()
	u := &c.usage
	in, out := u.InputTotal(), u.OutputTotal()
	dst = append(dst, `data: {"id":"`...)
	dst = append(dst, c.ids...)
	dst = append(dst, `","object":"chat.completion.chunk","created":`...)
	dst = strconv.AppendInt(dst, c.ev.Time.Unix(), 10)
	dst = append(dst, `,"model":`...)
	name, _ := json.Marshal(c.offer.Product.Model)
	dst = append(dst, name...)
	dst = append(dst, `,"choices":[],"usage":{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, in, 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, out, 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, in+out, 10)
	dst = append(dst, `,"estimated":true,"cost":`...)
	dst = c.streamCost(dst, u)
	dst = append(dst, `,"currency":"`...)
	dst = append(dst, c.offer.Currency...)
	return append(dst, "\"}}\n\n"...)
}

// costNumber is the charge as a JSON number.
func (c *Call) costNumber() []byte {
	var b [32]byte
	return money.AppendNano(b[:0], c.charge)
}

// costHeader is the charge as in "0.000123 USD".
func (c *Call) costHeader() string {
	var b [48]byte
	s := append(money.AppendNano(b[:0], c.charge), ' ')
	s = append(s, c.offer.Currency...)
	if c.rec.Flags&spool.Provisional != 0 {
		s = append(s, "; provisional"...)
	}
	return string(s)
}

// headers sets what every answer has.
func (c *Call) headers(contentType string) {
	c.Out.SetHeader("Content-Type", contentType)
	c.Out.SetHeader("X-Request-Id", c.ids)
	if c.limits {
		var buf [512]byte
		var hs [quota.MaxHeaders]quota.Header
		b, list := c.ticket.AppendHeaders(buf[:0], hs[:0])
		text := string(b)
		for _, h := range list {
			c.Out.SetHeader(h.Name, text[h.Start:h.End])
		}
	}
}

// fail answers with an error in the caller's dialect, unless the answer has begun. An open call is closed
// first, at no charge. It returns err.
func (c *Call) fail(err error) error {
	e := problem.As(err)
	c.ev.Err, c.ev.Outcome, c.ev.Status = err, telemetry.OutcomeOf(err), c.status(e)
	if c.opened {
		c.rec.Status = uint16(c.status(e))
		outcome := spool.Failed
		if e.Kind == problem.ClientGone {
			outcome = spool.ClientGone
			c.usage, c.charge, c.units = llm.Usage{}, 0, 0
		}
		if err := c.conclude(outcome); err != nil {
			e = problem.As(err)
		}
	}
	switch {
	case c.started:
	case e.Kind == problem.ClientGone:
		c.Out.Abort() // one that only shut its own side must not take silence for an empty answer
	default:
		c.render(e)
	}
	return err
}

func (c *Call) render(e *problem.Error) {
	c.headers(c.errorType())
	wait := e.RetryAfter
	if wait == 0 && (e.Kind == problem.Unavailable || e.Kind == problem.TooMany) {
		wait = time.Second // a refusal that passes says when to come back
	}
	if wait > 0 {
		c.Out.SetHeader("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	c.out = c.appendError(c.out[:0], e)
	c.started = true
	c.Out.Start(c.status(e), int64(len(c.out)))
	if c.Out.Write(c.out) == nil {
		c.ev.BytesOut += int64(len(c.out))
	}
}

// mentionsAudio reports whether the request could move audio: then audio tokens are held for. It goes from quotation
// mark to quotation mark, and from backslash to backslash, which are rare in a long prompt; bytes.Index, seeing the many at
// the head of the JSON, would fall back to comparing at every byte.
// No encoder escapes ASCII letters or the underscore: a body with such an escape may spell the word with it.
func mentionsAudio(body []byte) bool {
	for b := body; ; {
		i := bytes.IndexByte(b, '"')
		if i < 0 {
			break
		}
		b = b[i+1:]
		if bytes.HasPrefix(b, []byte(`audio"`)) || bytes.HasPrefix(b, []byte(`input_audio"`)) {
			return true
		}
	}
	for b := body; ; {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+6 > len(b) {
			return false
		}
		if e := b[i+1 : i+6]; e[0] == 'u' && e[1] == '0' && e[2] == '0' {
			switch hi, lo := e[3], e[4]; {
			case hi == '6', hi == '7' && lo|0x20 != 'f', hi == '5' && lo|0x20 == 'f':
				return true
			}
		}
		b = b[i+2:]
	}
}

// stringBytes gives the bytes of s without a copy; they must not be changed or kept.
func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// byteString is the reverse; the string is good while b is.
func byteString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
