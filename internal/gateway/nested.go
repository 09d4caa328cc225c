package gateway

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

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
