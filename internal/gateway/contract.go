package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// Contract serves a route of a capability contract. The front has filled in what it read of the request.
func (c *Call) Contract(in *engine.Request) {
	defer c.finish()
	c.ev.BytesIn = int64(len(c.Body))
	err := c.prepareRoute(in)
	if err == nil {
		err = c.forward()
	}
	if err != nil {
		_ = c.fail(err)
	}
}

// prepareRoute does everything up to the OPEN. A route without a meter costs nothing and has none.
func (c *Call) prepareRoute(in *engine.Request) error {
	rt := c.Route
	in.Route, in.Path, in.Language, in.Body = rt, c.Path, c.Language, c.Body
	c.in = in
	c.op = operation{name: rt.Name, path: rt.Pattern, capability: catalog.Capability(rt.Capability)}
	c.ev.Dialect = telemetry.Service
	if c.who == nil {
		c.Authorization = field(in, rt.KeyField)
		c.keyIn = c.Authorization != ""
		if err := c.identify(); err != nil {
			return err
		}
	}
	c.scan = openai.Scan{MaxTokens: -1}
	if name := field(in, "model"); name != "" {
		c.scan.Name = []byte(name)
	}
	if err := c.resolve(); err != nil {
		return err
	}
	if err := c.admit(); err != nil {
		return err
	}
	in.ID, in.Owner, in.Caller = c.ids, c.who.OrgID, &nested{c}
	if c.free {
		in.Owner = nobody
	}
	if rt.Meter == "" {
		c.rec.Slot = -1
		return nil
	}
	return c.reserveUnits(in)
}

// nobody owns what callers without a key make and see: what the organisation that pays for them has is not theirs.
const nobody = "nobody"

// reserveUnits holds what the request can cost at most.
func (c *Call) reserveUnits(in *engine.Request) error {
	q := engine.Units(1)
	if c.Route.Measure != nil {
		var err error
		if q, err = c.Route.Measure(in); err != nil {
			return err
		}
	}
	c.units = max(int64(q), 0)
	c.rec.Meter = c.Route.Meter
	bound, err := c.offer.Card.TokenBound(&rating.Tokens{rating.Requests: 1})
	if err != nil {
		return err
	}
	if m := c.Route.Meter; m != rating.MeterRequests {
		units, err := c.offer.Card.UnitBound(m, c.units)
		if err != nil {
			return err
		}
		if bound += units; bound < units {
			return problem.New(problem.Unprocessable, "gateway.too_dear", "the request could cost more than can be represented; send less at once")
		}
	}
	c.most = c.units
	return c.open(bound)
}

// field reads a member of a JSON body, a field of a form, or a parameter of the query.
func field(in *engine.Request, name string) string {
	if name == "" {
		return ""
	}
	if v := in.Query.Get(name); v != "" {
		return v
	}
	if i := scan.Space(in.Body, 0); i < len(in.Body) && in.Body[i] == '{' { // whatever it is called: curl says it is a form
		if start, end, ok := scan.Member(in.Body, i, name); ok {
			var s string
			if json.Unmarshal(in.Body[start:end], &s) == nil {
				return s
			}
		}
		return ""
	}
	kind, _, _ := strings.Cut(in.Type, ";")
	switch kind = strings.TrimSpace(strings.ToLower(kind)); {
	case kind == "multipart/form-data":
		if f, err := engine.ParseForm(in.Type, in.Body); err == nil {
			return f.Value(name)
		}
	case kind == "application/x-www-form-urlencoded":
		if v, err := url.ParseQuery(string(in.Body)); err == nil {
			return v.Get(name)
		}
	}
	return ""
}

// serveRoute sends the call to one target.
func (c *Call) serveRoute(x *target) (route.Outcome, time.Duration, error) {
	c.units = c.most // unless the engine, or the upstream, reports less
	if x.up.engine != nil {
		v, err := c.runEngine(x, x.up.engine, nil)
		return v, 0, err
	}
	if x.up.endpoint == nil {
		return route.Gone, 0, errWrongUpstream
	}
	return c.remoteRoute(x)
}

// runEngine has an engine of this process answer. upstream is the larger model that it may ask.
func (c *Call) runEngine(x *target, e engine.Engine, upstream func(context.Context, string, []byte) ([]byte, error)) (route.Outcome, error) {
	ctx, stop := c.Cancel.Context(context.Background())
	defer stop()
	in := *c.in
	in.Model, in.Upstream = x.UpstreamModel, upstream
	w := &engineWriter{c: c, body: c.answer[:0]}
	c.answer = nil // for what the upstream says meanwhile
	err := e.Serve(ctx, &in, w)
	c.answer = w.body
	if err == nil && w.err != nil {
		err = w.err
	}
	if err != nil {
		return c.engineFailed(err)
	}
	if w.stream {
		return c.endRouteStream(w)
	}
	if w.status == 0 {
		return route.Failure, errUpstream.Because(errors.New("the engine gave no answer"))
	}
	return c.answerRoute(w.status, w.kind, w.heads, w.body)
}

// engineFailed tells what an engine's error means for the call and for other targets.
func (c *Call) engineFailed(err error) (route.Outcome, error) {
	e := problem.As(err)
	switch {
	case c.Cancel.Cancelled() || e.Kind == problem.ClientGone:
		if c.started && !c.closed {
			return route.Gone, c.cancelled()
		}
		return route.Gone, errClientGone.Because(err)
	case c.started:
		if !c.closed {
			c.breakOff(errBroken.Because(err), spool.UpstreamLost)
		}
		return verdict(err), err
	}
	switch e.Kind {
	case problem.Unavailable, problem.Upstream, problem.Timeout: // another target may do better; an engine that lacks a part is not ill
		return route.Gone, err
	case problem.Internal:
		return route.Failure, errUpstream.Because(err)
	}
	return route.Success, &finalError{err}
}

// answerRoute sends a whole answer: priced, closed, then written.
func (c *Call) answerRoute(status int, kind string, heads [][2]string, body []byte) (route.Outcome, error) {
	switch {
	case status >= 500:
		return route.Failure, errUpstream.Because(errors.New(string(body[:min(len(body), 500)])))
	case status >= 400:
		return route.Success, c.refuseAs(status, body)
	}
	c.digest.Write(body)
	c.ev.Status, c.rec.Status = status, uint16(status)
	if c.opened {
		c.price()
		if err := c.conclude(spool.Completed); err != nil {
			return route.Gone, &finalError{err}
		}
		c.Out.SetHeader("X-Tollgate-Cost", c.costHeader())
		c.Out.SetHeader("X-Tollgate-Units", meter.Quantity(c.units)+" "+c.rec.Meter)
	}
	c.ev.Outcome = telemetry.OK
	c.headers(safeType(kind))
	for _, h := range heads {
		c.Out.SetHeader(h[0], h[1])
	}
	c.keepPiece(body)
	c.send(status, body)
	return route.Success, nil
}

// safeType keeps an answer from being a page of this origin, whatever its upstream calls it.
func safeType(kind string) string {
	base, _, _ := strings.Cut(strings.ToLower(kind), ";")
	switch base = strings.TrimSpace(base); {
	case base == "":
		return "application/octet-stream"
	case base == "application/json", base == "text/plain", base == "text/csv", base == "text/tab-separated-values", base == "text/markdown", base == "text/vtt",
		base == "application/x-subrip", base == "text/event-stream", base == "application/pdf", base == "application/zip", base == "application/octet-stream",
		strings.HasPrefix(base, "application/vnd.openxmlformats-officedocument."),
		strings.HasPrefix(base, "audio/"), strings.HasPrefix(base, "image/") && base != "image/svg+xml":
		return kind
	}
	return "text/plain; charset=utf-8"
}

// endRouteStream closes the call, then ends its stream.
func (c *Call) endRouteStream(w *engineWriter) (route.Outcome, error) {
	if c.opened {
		c.price()
		w.buf = c.appendCostEvent(w.buf)
	}
	c.digest.Write(w.buf)
	if c.opened {
		if err := c.conclude(spool.Completed); err != nil {
			if c.started {
				c.breakOff(problem.As(err), spool.Completed)
			}
			return route.Gone, err
		}
	}
	if !c.started {
		c.startStream()
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if len(w.buf) > 0 {
		c.keepPiece(w.buf)
		if err := c.Out.Write(w.buf); err != nil {
			return route.Gone, c.goneBecause(err)
		}
		c.ev.BytesOut += int64(len(w.buf))
	}
	if err := c.Out.Flush(); err != nil {
		return route.Gone, c.goneBecause(err)
	}
	return route.Success, nil
}

// appendCostEvent tells what a stream has cost, for which a header is too late, after what else it has to tell. The streams
// of vendors' own shapes have no place for it: their clients know their events alone.
func (c *Call) appendCostEvent(dst []byte) []byte {
	if c.Route.Style != engine.Problem {
		return dst
	}
	dst = append(append(dst, `data: {"type":"usage","cost":`...), c.costNumber()...)
	dst = append(append(dst, `,"currency":"`...), c.offer.Currency...)
	dst = append(append(dst, `","units":`...), meter.Quantity(c.units)...)
	return append(append(append(dst, `,"meter":"`...), c.rec.Meter...), "\"}\n\n"...)
}

// engineWriter takes an engine's answer. A whole one is kept until the call is closed; of a stream what was flushed is
// sent on at once, the rest once the call is closed.
type engineWriter struct {
	c      *Call
	status int
	kind   string
	heads  [][2]string
	stream bool
	told   bool   // Used was called
	body   []byte // a whole answer
	buf    []byte // of a stream, not yet flushed
	err    error
}

func (w *engineWriter) SetHeader(name, value string) {
	switch name {
	case "Content-Disposition", "Content-Language", "Cache-Control", "Last-Modified", "Etag", "Location", "Retry-After", "Deprecation", "Sunset",
		"X-Engine", "X-Model", "X-Quality", "X-Voice",
		"X-Translate-Characters", "X-Translate-Source", "X-Translate-Via", "X-Translate-Ignored": // what made an answer that has no place for it
		w.heads = append(w.heads, [2]string{name, strings.Map(printable, value)})
	}
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}

func (w *engineWriter) Start(status int, kind string) {
	w.status, w.kind = status, kind
	w.stream = status < 300 && strings.HasPrefix(kind, "text/event-stream")
	if w.stream {
		w.c.ev.Stream = true
		w.c.rec.Flags |= spool.Stream
		if !w.told {
			w.c.units = 0 // what the engine reports from now on
		}
	}
}

func (w *engineWriter) Write(b []byte) error {
	switch {
	case w.c.Cancel.Cancelled():
		return errClientGone
	case w.stream:
		w.buf = append(w.buf, b...)
		if len(w.buf) > maxUnflushed {
			return w.Flush()
		}
	case int64(len(w.body)+len(b)) > w.c.g.o.MaxAnswer:
		w.err = errTooLong
		return errTooLong
	default:
		w.body = append(w.body, b...)
	}
	return nil
}

// maxUnflushed bounds what is kept of a stream.
const maxUnflushed = 256 << 10

func (w *engineWriter) Flush() error {
	if !w.stream || len(w.buf) == 0 {
		return nil
	}
	err := w.c.write([][]byte{w.buf})
	w.buf = w.buf[:0]
	if err != nil {
		w.err = err
	}
	return err
}

func (w *engineWriter) Used(q engine.Quantity) {
	w.told = true
	if w.stream {
		w.c.used(q)
		return
	}
	w.c.units = max(int64(q), 0) // if the process dies now nothing was delivered
}

// used notes what a running call has used, for recovery to charge if the process dies.
func (c *Call) used(q engine.Quantity) {
	c.units = max(int64(q), 0)
	if c.opened {
		charge, _, _ := c.rate(&llm.Usage{})
		c.g.o.Spool.Progress(&c.rec, &spool.Progress{Charge: charge, Units: c.units, BytesOut: c.ev.BytesOut})
	}
}
