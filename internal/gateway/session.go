package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

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
	c.Out.SetHeader("X-Request-Id", c.ids)
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

// lastWrite is how long a message that is being written when the session is ended may still take.
const lastWrite = time.Second

// Write does not stop in the middle of a message at once when ctx ends: that would take the connection with it.
func (s *session) Write(ctx context.Context, text bool, message []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWrite, cancel) })()
	return s.s.Write(whole, text, message)
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
