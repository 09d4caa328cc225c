package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

var (
	eventStream = []byte("text/event-stream")

	errBroken = problem.New(problem.Upstream, "gateway.stream_broken", "the model's upstream broke off its answer; what was delivered is charged")
	errCut    = problem.New(problem.Funds, "gateway.cut", "the answer reached the limit that was reserved for it and was cut; raise max_tokens or the plan's limit")
)

// receive hands the answer of an upstream on. A stream that nobody asked for, or none where one was, is a failure: the
// client could not read it, and would pay for nothing.
func (c *Call) receive() (route.Outcome, time.Duration, error) {
	kind := c.resp.Header("content-type")
	stream := len(kind) >= len(eventStream) && bytes.EqualFold(kind[:len(eventStream)], eventStream)
	if stream != (c.scan.Stream && c.op.capability == catalog.Chat) {
		return route.Failure, 0, errUpstream.Because(fmt.Errorf("upstream answered with %q, a stream was asked for: %t", kind, c.scan.Stream))
	}
	if !stream {
		body, err := c.whole()
		if err != nil {
			if problem.Is(err, problem.ClientGone) {
				return route.Gone, 0, err
			}
			return route.Failure, 0, failure(err)
		}
		v, err := c.answerJSON(body)
		return v, 0, err
	}
	c.beginStream()
	for {
		b, err := c.resp.Next()
		switch {
		case err == nil:
			if err = c.piece(b); err == nil {
				if c.resp.Ended() {
					return c.endOfStream()
				}
				continue
			}
			return verdict(err), 0, err
		case err == io.EOF:
			return c.endOfStream()
		case c.closed:
			return route.Success, 0, nil // the client has its whole answer already, and may have left with it
		case problem.Is(err, problem.ClientGone):
			return route.Gone, 0, c.cancelled()
		case c.started:
			c.breakOff(errBroken.Because(err), spool.UpstreamLost)
			return route.Failure, 0, err
		default:
			return route.Failure, 0, failure(err)
		}
	}
}

// verdict is what an error of piece says about the target.
func verdict(err error) route.Outcome {
	switch problem.As(err).Kind {
	case problem.ClientGone, problem.Funds, problem.Unavailable:
		return route.Gone
	}
	return route.Failure
}

// answerJSON sends an answer that is not a stream: priced, closed, then written. What is no answer at all,
// though its status says so, is the upstream's failure: another target may do better.
func (c *Call) answerJSON(body []byte) (route.Outcome, error) {
	span, err := openai.UsageFromJSON(body, &c.usage)
	if err != nil {
		if bad := openai.ErrorInJSON(body); bad != nil || len(body) == 0 || body[0] != '{' {
			return route.Failure, errUpstream.Because(fmt.Errorf("upstream answered 200 with no answer: %.200s", body))
		}
		c.estimateAnswer(body)
	}
	c.price()
	c.out = openai.AppendCost(c.out[:0], body, span, c.costNumber(), c.offer.Currency)
	out := c.out
	c.digest.Write(out)
	c.ev.Status, c.rec.Status = 200, 200
	if err := c.conclude(spool.Completed); err != nil {
		return route.Gone, &finalError{err}
	}
	c.headers("application/json")
	c.Out.SetHeader("X-Tollgate-Cost", c.costHeader())
	c.keepPiece(out)
	c.send(200, out)
	return route.Success, nil
}

// send writes a whole answer. That the client has left by now changes nothing: it is charged.
func (c *Call) send(status int, body []byte) {
	c.started = true
	c.Out.Start(status, int64(len(body)))
	c.ev.TTFB = time.Since(c.ev.Time)
	if err := c.Out.Write(body); err != nil {
		c.ev.Err, c.ev.Outcome, c.ev.Status = errClientGone.Because(err), telemetry.ClientGone, 499
		return
	}
	c.ev.BytesOut += int64(len(body))
}

// beginStream makes ready for pieces; nothing is sent before the first one.
func (c *Call) beginStream() {
	c.tap.Reset(c.scan.IncludeUsage, c.offer.Currency)
	c.rec.Flags |= spool.Stream
	c.ev.Stream = true
	c.digest.Reset()
}

// startStream sends the headers, before the first piece.
func (c *Call) startStream() {
	c.started = true
	c.ev.Status, c.rec.Status = 200, 200
	c.headers("text/event-stream")
	c.Out.SetHeader("Cache-Control", "no-cache")
	c.Out.SetHeader("X-Accel-Buffering", "no")
	c.Out.Start(200, -1)
	c.ev.TTFB = time.Since(c.ev.Time)
	c.wmu.Lock()
	c.streaming, c.lastWrite = true, time.Now()
	c.wmu.Unlock()
	if i := c.rec.Slot; i >= 0 && int(i) < liveSlots {
		c.g.live[i].Store(c)
		for h := c.g.highest.Load(); h <= i && !c.g.highest.CompareAndSwap(h, i+1); h = c.g.highest.Load() {
		}
	}
}

// endStream makes sure that the keep-alive does not write any more.
func (c *Call) endStream() {
	if !c.ev.Stream || !c.started {
		return
	}
	c.wmu.Lock()
	c.streaming = false
	c.wmu.Unlock()
	if i := c.rec.Slot; i >= 0 && int(i) < liveSlots {
		c.g.live[i].CompareAndSwap(c, nil)
	}
}

// comment writes a keep-alive comment if the stream has been quiet.
func (c *Call) comment(now time.Time, quiet time.Duration) {
	if !c.wmu.TryLock() {
		return // it is being written to
	}
	defer c.wmu.Unlock()
	if !c.streaming || now.Sub(c.lastWrite) < quiet {
		return
	}
	c.lastWrite = now
	// A failure shows at the next write of the call itself, or by the client's hang-up.
	if c.Out.Write([]byte(": keep-alive\n\n")) == nil {
		_ = c.Out.Flush()
	}
}

// piece hands on what was read of a stream. With the last event the CLOSE is written first. An
// error means that the stream has ended; if anything had been sent the client knows.
func (c *Call) piece(b []byte) error {
	if c.closed {
		return nil // after [DONE] nothing matters
	}
	pieces, err := c.tap.Feed(b)
	if err != nil {
		return c.broken(err)
	}
	if c.tap.Failed() {
		if err := c.write(pieces); err != nil {
			return err
		}
		return c.broken(&upstreamFailure{string(c.tap.Failure())})
	}
	if c.tap.Done() {
		return c.writeLast(pieces)
	}
	if err := c.write(pieces); err != nil {
		return err
	}
	c.progress()
	if c.outLimit > 0 && c.tap.Over(c.outLimit) {
		c.breakOff(errCut, spool.Cut)
		return errCut
	}
	return nil
}

// upstreamFailure is an error event in an upstream's stream.
type upstreamFailure struct{ data string }

func (e *upstreamFailure) Error() string { return "upstream sent an error event: " + e.data }

// broken ends a stream that its upstream broke. If nothing was sent yet another target may be tried.
func (c *Call) broken(cause error) error {
	err := errBroken.Because(cause)
	if c.started {
		c.breakOff(err, spool.UpstreamLost)
	}
	return err
}

func (c *Call) write(pieces [][]byte) error {
	if len(pieces) == 0 {
		return nil
	}
	if !c.started {
		c.startStream()
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for _, p := range pieces {
		c.digest.Write(p)
		c.keepPiece(p)
		if err := c.Out.Write(p); err != nil {
			return c.goneBecause(err)
		}
		c.ev.BytesOut += int64(len(p))
	}
	if err := c.Out.Flush(); err != nil {
		return c.goneBecause(err)
	}
	c.lastWrite = time.Now()
	return nil
}

// maxKept bounds what is kept of an answer for the Recorder, in bytes.
const maxKept = 1 << 20

// keepPiece keeps a piece of the answer where the organisation asked for that.
func (c *Call) keepPiece(p []byte) {
	if c.record {
		c.keep = append(c.keep, p[:min(len(p), maxKept-len(c.keep))]...)
	}
}

// writeLast closes the call, then writes its last pieces.
func (c *Call) writeLast(pieces [][]byte) error {
	c.usage = *c.tap.Usage()
	if !c.usage.Found {
		c.estimateStream()
	}
	c.price()
	for _, p := range pieces {
		c.digest.Write(p)
	}
	c.rec.Status = 200
	if err := c.conclude(spool.Completed); err != nil {
		if c.started {
			c.breakOff(problem.As(err), spool.Completed)
		}
		return err
	}
	if !c.started {
		c.startStream()
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	for _, p := range pieces {
		c.keepPiece(p)
		if err := c.Out.Write(p); err != nil {
			return c.goneBecause(err)
		}
		c.ev.BytesOut += int64(len(p))
	}
	if err := c.Out.Flush(); err != nil {
		return c.goneBecause(err)
	}
	return nil
}

// endOfStream takes the clean end of an upstream's stream. One that ends its HTTP answer properly
// without [DONE] has ended all the same.
func (c *Call) endOfStream() (route.Outcome, time.Duration, error) {
	if c.closed {
		return route.Success, 0, nil
	}
	pieces := c.tap.End()
	if c.tap.Failed() || !c.started && len(pieces) == 0 {
		err := c.broken(io.ErrUnexpectedEOF)
		return route.Failure, 0, err
	}
	err := c.writeLast(pieces)
	if err != nil {
		return verdict(err), 0, err
	}
	return route.Success, 0, nil
}

// goneBecause ends the call of a client that left. Called with wmu held.
func (c *Call) goneBecause(err error) error {
	if !c.closed {
		_ = c.gone()
	}
	c.ev.Err, c.ev.Outcome, c.ev.Status = errClientGone.Because(err), telemetry.ClientGone, 499
	return errClientGone.Because(err)
}

// cancelled ends a call that the front cancelled: its client left, or this gateway stops. In the second case, with
// nothing sent, the client gets a proper refusal from forward.
func (c *Call) cancelled() error {
	if !c.g.breaking.Load() {
		return c.gone()
	}
	if c.started && !c.closed {
		c.breakOff(errDraining, spool.Interrupted)
	}
	return errDraining
}

// gone charges what was delivered to a client that left. One that only shut its own side still reads: it must not see
// a clean end.
func (c *Call) gone() error {
	c.ev.Err, c.ev.Outcome, c.ev.Status, c.rec.Status = errClientGone, telemetry.ClientGone, 499, 499
	c.usageOfDelivered()
	_ = c.conclude(spool.ClientGone) // nobody is left to be told; the spool's failure shows in Err and metrics
	if c.started {
		c.Out.Abort()
	}
	return errClientGone
}

// breakOff charges what was delivered, tells the client why in an error event, and aborts.
func (c *Call) breakOff(e *problem.Error, outcome spool.Outcome) {
	c.ev.Err, c.ev.Outcome = e, telemetry.OutcomeOf(e)
	if outcome == spool.Cut {
		c.ev.Outcome = telemetry.Cut
	}
	c.usageOfDelivered()
	if !c.closed {
		if err := c.conclude(outcome); err != nil {
			e = problem.As(err)
		}
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.streaming = false
	c.out = c.appendErrorEvent(c.out[:0], e)
	if c.Out.Write(c.out) == nil {
		_ = c.Out.Flush() // a client that left meanwhile is no news
	}
	c.Out.Abort()
}

// builtin calls an engine in this process.
func (c *Call) builtin(x *target) (route.Outcome, error) {
	w := &builtinWriter{c: c}
	var parts [4][]byte
	c.scan.Splice(&parts, c.Body, x.UpstreamModel, c.op.capability == catalog.Chat)
	body := c.Body
	if len(parts[1]) > 0 {
		body = bytes.Join(parts[:], nil)
	}
	err := x.up.builtin.Serve(context.Background(), c.op.name, body, w)
	switch {
	case err != nil:
		return c.engineFailed(err)
	case w.stream:
		v, _, err := c.endOfStream()
		return v, err
	case w.status >= 500:
		return route.Failure, errUpstream.Because(errors.New(string(c.answer)))
	case w.status >= 400:
		return route.Success, c.refuseAs(w.status, c.answer)
	}
	return c.answerJSON(c.answer)
}

// builtinWriter hands an engine's answer on.
type builtinWriter struct {
	c      *Call
	status int
	stream bool
}

func (w *builtinWriter) Header(status int, contentType string) {
	w.status, w.stream = status, contentType == "text/event-stream" && status < 300
	w.c.answer = w.c.answer[:0]
	if w.stream {
		w.c.beginStream()
	}
}

func (w *builtinWriter) Write(b []byte) error {
	if w.c.Cancel.Cancelled() {
		if !w.c.closed {
			return w.c.cancelled()
		}
		return errClientGone
	}
	if w.stream {
		return w.c.piece(b)
	}
	w.c.answer = append(w.c.answer, b...)
	return nil
}
