package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
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
		return c.engineFailed(w, err)
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
func (c *Call) engineFailed(w *engineWriter, err error) (route.Outcome, error) {
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
		return route.Failure, err
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
		c.Out.SetHeader("X-Tollgate-Units", quantity(c.units)+" "+c.rec.Meter)
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
	c.digest.Write(w.buf)
	if c.opened {
		c.price()
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
	case "Content-Disposition", "Content-Language", "Cache-Control", "Last-Modified", "Etag", "Location", "Retry-After", "Deprecation", "Sunset":
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

// nested makes calls in the name of the call that an engine answers.
type nested struct{ c *Call }

// Call implements engine.Caller. The call is one of its own: it has its own hold, event and charge.
func (n *nested) Call(ctx context.Context, name string, body []byte, piece func([]byte) error) ([]byte, error) {
	g, by := n.c.g, n.c
	c := g.Call()
	defer c.Free()
	out := &captured{piece: piece}
	cancel := new(egress.Cancel)
	stop := context.AfterFunc(ctx, cancel.Cancel)
	defer stop()
	c.Method, c.Path, c.RemoteIP, c.Language, c.Out, c.Cancel = "POST", "/v1/"+name, by.RemoteIP, by.Language, out, cancel
	c.Body = append(c.Body[:0], body...)
	c.nested, c.under, c.who = true, by.offer.Subscription, by.who
	now := time.Now()
	c.id = db.NewUUID(now)
	c.ids = c.id.ID("evt")
	c.ev.Time, c.ev.ID, c.ev.Method, c.ev.Path, c.ev.Dialect, c.ev.RemoteIP = now, c.ids, c.Method, c.Path, telemetry.OpenAI, by.RemoteIP
	c.ev.Org, c.ev.Key = by.who.OrgID, by.who.KeyID
	c.span = g.o.Tracer.Start(&c.ev, by.ev.Trace)
	switch name {
	case "chat.completions":
		c.Path = "/v1/chat/completions"
		c.Chat()
	case "embeddings":
		c.Embeddings()
	default:
		if c.Route = g.routeNamed(name); c.Route == nil {
			return nil, problem.New(problem.NotFound, "gateway.path_unknown", "there is no %s %s; see the manual for the paths of this API", c.Method, name)
		}
		c.Path = c.Route.Pattern
		c.Contract(&engine.Request{Type: "application/json", Query: url.Values{}, Header: func(string) string { return "" }})
	}
	err := c.ev.Err
	c.End()
	switch {
	case out.err != nil:
		return nil, out.err
	case err != nil:
		return nil, problem.As(err)
	case out.status >= 400:
		return nil, problem.New(problem.Upstream, "gateway.nested", "the model that answers here refused with status %d", out.status)
	}
	return out.body, nil
}

func (g *Gateway) routeNamed(name string) *engine.Route {
	for i := range g.o.Routes {
		if g.o.Routes[i].Name == name {
			return &g.o.Routes[i]
		}
	}
	return nil
}

// captured is the Writer of a nested call.
type captured struct {
	status int
	body   []byte
	piece  func([]byte) error
	err    error
}

func (w *captured) SetHeader(name, value string)   {}
func (w *captured) Start(status int, length int64) { w.status = status }
func (w *captured) Flush() error                   { return w.err }
func (w *captured) Abort()                         { w.err = cmp.Or(w.err, error(errBroken)) }

func (w *captured) Write(b []byte) error {
	if w.err == nil && w.piece != nil && w.status < 300 {
		w.err = w.piece(b)
		return w.err
	}
	w.body = append(w.body, b...)
	return w.err
}

// Socket is an upgraded connection, by the front.
type Socket interface {
	Read(ctx context.Context) (text bool, message []byte, err error) // io.EOF: the client has closed
	Write(ctx context.Context, text bool, message []byte) error
	Close(code int, reason string) error
}

// Session serves a route that is a WebSocket session. upgrade is called once the call is admitted and its hold stands.
func (c *Call) Session(in *engine.Request, upgrade func() (Socket, error)) {
	defer c.finish()
	err := c.prepareRoute(in)
	if err == nil {
		err = c.session(upgrade)
	}
	if err != nil {
		_ = c.fail(err)
	}
}

var errNoSession = problem.New(problem.Unavailable, "gateway.no_session", "no engine of this product holds live sessions; choose another model")

func (c *Call) session(upgrade func() (Socket, error)) error {
	table := c.table()
	c.tried.Begin(route.Hash(c.id), route.Hash(c.id))
	for {
		t, ok := table.Pick(&c.tried, time.Now())
		if !ok {
			return errNoSession
		}
		x := t.Data.(*target)
		talker, ok := x.up.engine.(engine.Talker)
		if !ok {
			c.tried.Report(route.Gone, 0, 0, time.Now())
			continue
		}
		c.ev.Upstream, c.ev.Target, c.ev.Attempts = x.up.Name, x.ID, 1
		c.rec.Upstream, c.rec.Version, c.rec.Attempts = x.up.UUID, x.version.UUID, 1
		err := c.talk(talker, x, upgrade)
		c.tried.Report(route.Success, time.Since(c.ev.Time), 0, time.Now())
		return err
	}
}

func (c *Call) talk(e engine.Talker, x *target, upgrade func() (Socket, error)) error {
	s, err := upgrade()
	if err != nil {
		c.started = true // the upgrade has answered
		c.ev.Status, c.ev.Outcome = 400, telemetry.Refused
		c.rec.Status = 400
		return c.conclude(spool.Failed)
	}
	conn := &session{c: c, s: s, in: make(chan received), over: make(chan struct{})}
	conn.wg.Go(conn.pump)
	defer func() {
		p := recover()
		if p != nil { // nobody else closes a connection that was taken over
			_ = s.Close(1011, "internal error, call "+c.ids)
		}
		conn.wg.Wait() // the connection is closed
		if p != nil {
			panic(p)
		}
	}()
	defer close(conn.over)
	c.started = true
	c.units = 0
	c.ev.Status, c.rec.Status = 101, 101
	c.ev.TTFB = time.Since(c.ev.Time)
	ctx, stop := c.Cancel.Context(context.Background())
	defer stop()
	in := *c.in
	in.Model = x.UpstreamModel
	err = e.Talk(ctx, &in, conn)
	outcome, code, reason := spool.Completed, 1000, ""
	switch {
	case err == nil || errors.Is(err, io.EOF):
		err = nil
		c.ev.Outcome = telemetry.OK
	case c.Cancel.Cancelled() && c.g.breaking.Load():
		outcome, code, reason = spool.Interrupted, 1012, errDraining.Text(c.Language)
		err = errDraining.Because(err)
	case c.Cancel.Cancelled() || problem.Is(err, problem.ClientGone):
		outcome = spool.ClientGone
		err = errClientGone.Because(err)
	case problem.Is(err, problem.Funds):
		outcome, code, reason = spool.Cut, 1008, problem.As(err).Text(c.Language)
	case problem.As(err).Kind == problem.Internal:
		outcome, code, reason = spool.UpstreamLost, 1011, "internal error, call "+c.ids
	default:
		code, reason = 1008, problem.As(err).Text(c.Language)
	}
	if err != nil {
		c.ev.Err, c.ev.Outcome = err, telemetry.OutcomeOf(err)
	}
	if err != nil && c.units == 0 && outcome != spool.ClientGone {
		outcome = spool.Failed // not begun: an engine that is not installed, a parameter that is wrong
	}
	if c.opened {
		c.price()
		if err := c.conclude(outcome); err != nil {
			code, reason = 1011, problem.As(err).Text(c.Language)
		}
	}
	if len(reason) > 120 {
		reason = strings.ToValidUTF8(reason[:120], "")
	}
	_ = s.Close(code, reason) // the client may have left: the call is closed all the same
	return nil
}

// session is an engine's side of a socket. What comes is read by a goroutine of its own, as a read that is given up takes
// the connection with it: its client could not be told why the session ends.
type session struct {
	c    *Call
	s    Socket
	in   chan received
	over chan struct{} // closed when the engine has returned
	wg   sync.WaitGroup
}

// received is a message, or the end.
type received struct {
	text    bool
	message []byte
	err     error
}

// pump reads until the connection ends.
func (s *session) pump() {
	for {
		var m received
		m.text, m.message, m.err = s.s.Read(context.Background())
		select {
		case s.in <- m:
		case <-s.over:
		}
		if m.err != nil {
			close(s.in)
			return
		}
	}
}

func (s *session) Read(ctx context.Context) (bool, []byte, error) {
	select {
	case m, ok := <-s.in:
		if !ok {
			return false, nil, io.EOF
		}
		return m.text, m.message, m.err
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
}

func (s *session) Write(ctx context.Context, text bool, message []byte) error {
	return s.s.Write(ctx, text, message)
}

var errSessionCut = problem.New(problem.Funds, "gateway.session_cut", "the session has used up what was reserved for it; open another")

func (s *session) Used(q engine.Quantity) error {
	c := s.c
	c.used(min(q, engine.Quantity(c.most)))
	if int64(q) >= c.most && c.opened {
		return errSessionCut
	}
	return nil
}
