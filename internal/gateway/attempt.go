package gateway

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// maxAttempts bounds how many targets one call tries.
const maxAttempts = 5

var (
	errClientGone    = problem.New(problem.ClientGone, "gateway.client_gone", "the client left")
	errUpstream      = problem.New(problem.Upstream, "gateway.upstream", "the model's upstream gave no usable answer; try again")
	errBusy          = problem.New(problem.Unavailable, "gateway.upstream_busy", "the model's upstream takes no more requests now; try again later")
	errTooSlow       = problem.New(problem.Timeout, "gateway.upstream_timeout", "the model's upstream took too long; try again")
	errTooLong       = problem.New(problem.Upstream, "gateway.answer_too_large", "the upstream's answer is larger than this gateway passes on")
	errWrongUpstream = problem.New(problem.Unavailable, "gateway.wrong_upstream", "the upstream of this product cannot answer this operation; its provider has to connect another")
	errNoBuiltin     = errors.New("this build has no such engine")
)

// forward tries targets in the order that route gives, until one has answered or a byte has gone to
// the client. A nil error means that the client has its answer, complete or broken off.
func (c *Call) forward() error {
	table := c.table()
	c.tried.Begin(route.Hash(c.id), route.Hash(c.id))
	var last error
	for c.tried.Attempts() < maxAttempts {
		now := time.Now()
		t, ok := table.Pick(&c.tried, now)
		if !ok {
			if last == nil {
				last = table.NoTarget(now)
			}
			break
		}
		x := t.Data.(*target)
		err := c.attempt(x, now)
		if err == nil || c.started {
			return nil
		}
		if problem.Is(err, problem.ClientGone) || c.Cancel.Cancelled() {
			if c.g.breaking.Load() {
				return errDraining
			}
			return errClientGone
		}
		var final *finalError
		if errors.As(err, &final) {
			return final.err
		}
		last = err
		if !c.opened && !c.unmetered() {
			break // its CLOSE could not be written: another answer would go unrecorded
		}
	}
	return last
}

// table is where the call may go: the product's releases, or the version that the plan pins.
func (c *Call) table() *route.Table {
	if c.offer.Pinned {
		return c.g.router.Table(pinTable(c.offer.ProductID, c.offer.Version))
	}
	return c.g.router.Table(c.offer.ProductID)
}

// finalError is a failure after which no other target is tried.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// attempt sends the call to one target. An error means that nothing went to the client, unless
// c.started says otherwise.
func (c *Call) attempt(x *target, began time.Time) error {
	c.ev.Upstream, c.ev.Target = x.up.Name, x.ID
	c.ev.Attempts++
	c.rec.Attempts = uint8(min(c.ev.Attempts, 255))
	c.rec.Upstream, c.rec.Version = x.up.UUID, x.version.UUID
	var verdict route.Outcome
	var retryAfter time.Duration
	var err error
	switch {
	case c.Route != nil:
		verdict, retryAfter, err = c.serveRoute(x)
	case x.up.builtin != nil:
		verdict, err = c.builtin(x)
	case x.up.endpoint == nil || x.up.Dialect != catalog.OpenAI:
		verdict, err = route.Gone, errWrongUpstream
	default:
		verdict, retryAfter, err = c.remote(x)
	}
	now := time.Now()
	took := now.Sub(began)
	if c.tried.Report(verdict, took, retryAfter, now) != route.NoChange {
		c.g.o.Log.Warn("an upstream's state changed", "upstream", x.up.Name, "target", x.ID, "verdict", int(verdict), "error", err)
	}
	out := telemetry.OutcomeOf(err)
	x.up.metrics.Attempt(out, took)
	c.span.Attempt(x.up.Name, x.ID, out, began, now)
	return err
}

// remote calls an upstream over HTTP.
func (c *Call) remote(x *target) (route.Outcome, time.Duration, error) {
	cred := max(c.tried.Credential(), 0)
	q := &c.req
	q.Method, q.Path, q.Cancel = "POST", c.op.path, c.Cancel
	q.Head = x.up.heads[cred]
	if c.ev.Trace.Valid() {
		c.out = append(append(c.out[:0], q.Head...), "Traceparent: "...)
		c.out = append(telemetry.AppendTraceparent(c.out, c.ev.Trace), '\r', '\n')
		q.Head = c.out
	}
	q.RequestID = stringBytes(c.ids)
	c.scan.Splice(&q.Parts, c.Body, x.UpstreamModel, c.op.capability == catalog.Chat)
	if err := x.up.endpoint.Do(q, &c.resp); err != nil {
		if problem.Is(err, problem.ClientGone) {
			return route.Gone, 0, err
		}
		return route.Failure, 0, failure(err)
	}
	defer c.resp.Release()
	switch s := c.resp.Status; {
	case s >= 200 && s < 300:
		return c.receive()
	case s == 401 || s == 402 || s == 403 || s == 407: // between the provider and its upstream: a 402 is the provider's empty account
		return route.Denied, 0, errBusy.Because(c.upstreamSaid())
	case s == 429:
		after := retryAfter(c.resp.Header("retry-after"))
		return route.Throttled, after, errBusy.After(max(after, time.Second)).Because(c.upstreamSaid())
	case callersFault(s):
		return route.Success, 0, c.passError()
	}
	return route.Failure, retryAfter(c.resp.Header("retry-after")), errUpstream.Because(c.upstreamSaid())
}

// callersFault reports whether a status says that the request itself is wrong. Any other refusal is about the
// upstream: that it does not know the path or the model, or wants to be asked elsewhere.
func callersFault(status int) bool {
	switch status {
	case 400, 413, 414, 415, 422, 451:
		return true
	}
	return false
}

// failure is what the client is told of an error of the egress room.
func failure(err error) error {
	switch {
	case problem.Is(err, problem.Timeout):
		return errTooSlow.Because(err)
	case problem.Is(err, problem.Unavailable):
		return errBusy.After(time.Second).Because(err)
	}
	return errUpstream.Because(err)
}

// upstreamSaid is the status and the beginning of an upstream's refusal, for the operator's log.
func (c *Call) upstreamSaid() error {
	b, _ := c.resp.Next() // what there is; a failure to read it is of no interest
	if len(b) > 500 {
		b = b[:500]
	}
	return errors.New("upstream answered " + strconv.Itoa(c.resp.Status) + ": " + string(b))
}

// retryAfter reads a Retry-After in seconds; a date, which no model provider sends, is not given.
func retryAfter(v []byte) time.Duration {
	n, err := strconv.Atoi(string(v))
	if err != nil || n < 0 || n > 86400 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// passError hands on an upstream's 4xx that is the caller's own fault, as it is.
func (c *Call) passError() error {
	status := c.resp.Status
	body, err := c.whole()
	if err != nil {
		return err
	}
	if len(body) == 0 || body[0] != '{' {
		return &finalError{problem.New(problem.Invalid, "gateway.upstream_refused", "the model's upstream refused the request with status %d", status).Because(errors.New(string(body[:min(len(body), 500)])))}
	}
	return c.refuseAs(status, body)
}

// refuseAs closes the call at no charge and hands on an upstream's own refusal.
func (c *Call) refuseAs(status int, body []byte) error {
	c.ev.Status, c.ev.Outcome = status, telemetry.Refused
	c.rec.Status = uint16(status)
	if err := c.conclude(spool.Failed); err != nil {
		return &finalError{err}
	}
	c.headers("application/json") // whatever the upstream called it: a page is not served from this origin
	c.send(status, body)
	return nil
}

// whole reads the rest of the answer, which is bounded. A body that came in one piece is not copied.
func (c *Call) whole() ([]byte, error) {
	c.answer = c.answer[:0]
	for {
		b, err := c.resp.Next()
		if err == io.EOF {
			return c.answer, nil
		}
		if err != nil {
			return nil, err
		}
		if len(c.answer) == 0 && c.resp.Ended() {
			return b, nil
		}
		if int64(len(c.answer)+len(b)) > c.g.o.MaxAnswer {
			return nil, errTooLong
		}
		c.answer = append(c.answer, b...)
	}
}
