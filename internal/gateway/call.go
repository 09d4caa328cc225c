package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/quota"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/settle"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// state is what a Call gathers on its way. It is cleared before reuse; buffers are kept.
type state struct {
	g    *Gateway
	ev   telemetry.Event
	span telemetry.Span
	id   db.UUID
	ids  string // "evt_…"

	op     operation
	who    *auth.Principal
	offer  *plan.Offer
	scan   openai.Scan
	subj   [3]quota.Subject
	ticket quota.Ticket
	limits bool // ticket is admitted
	hold   settle.Hold
	rec    spool.Record
	opened bool // the OPEN is written, the CLOSE is not
	closed bool // the CLOSE is written

	outLimit int64 // output tokens that the hold covers
	tried    route.Tried
	req      egress.Request
	resp     egress.Response

	started bool // status and headers are sent
	usage   llm.Usage
	units   int64           // thousandths of the route's meter
	most    int64           // of them that the hold covers
	in      *engine.Request // of a route
	free    bool            // nobody's key: the free tier pays
	keyIn   bool            // the body carries the key
	nested  bool            // made by an engine in the name of the call that it answers
	under   db.UUID         // that call's subscription
	charge  int64           // what the answer says it costs: nano-units
	tap     openai.Tap
	digest  hash.Hash
	answer  []byte // an answer that is not streamed, when it comes in pieces
	out     []byte // a rewritten answer, errors, header values
	heads   []quota.Header
	keep    []byte // answer kept for the Recorder
	record  bool

	wmu       sync.Mutex // one writer at a time: the call, or the keep-alive
	streaming bool       // guarded by wmu
	lastWrite time.Time  // guarded by wmu
}

// operation is an endpoint of the data plane.
type operation struct {
	name       string // also the path below the upstream's base
	path       string
	capability catalog.Capability
	scan       func([]byte, *openai.Scan) error
}

var (
	opChat       = operation{"chat/completions", "/chat/completions", catalog.Chat, openai.ScanChat}
	opEmbeddings = operation{"embeddings", "/embeddings", catalog.Embeddings, openai.ScanEmbeddings}
)

func newCall(g *Gateway) *Call {
	c := &Call{Body: make([]byte, 0, 4096)}
	c.g = g
	c.digest = sha256.New()
	c.tap.Cost = c.streamCost
	c.tap.Missing = c.missingUsage
	c.tap.Count = func(d *llm.Delivered) int64 {
		out, reasoning := g.counter.Output(d)
		return out + reasoning
	}
	return c
}

// Call takes a Call for one request.
func (g *Gateway) Call() *Call {
	c := g.pool.Get().(*Call)
	return c
}

// Free gives the Call back. It must not be used after.
func (c *Call) Free() {
	c.Method, c.Path, c.Authorization, c.Referrer, c.Language, c.Traceparent = "", "", "", "", "", ""
	c.Out, c.Cancel = nil, nil
	c.Body, c.answer, c.out, c.keep = trim(c.Body), trim(c.answer), trim(c.out), trim(c.keep)
	c.ev, c.span = telemetry.Event{}, telemetry.Span{}
	c.who, c.offer, c.ids, c.op = nil, nil, "", operation{}
	c.limits, c.opened, c.closed, c.started, c.record = false, false, false, false, false
	c.rec = spool.Record{}
	c.req = egress.Request{}
	c.usage, c.charge, c.outLimit, c.units, c.most = llm.Usage{}, 0, 0, 0, 0
	c.in, c.free, c.nested, c.under, c.Route = nil, false, false, db.UUID{}, nil
	c.subj = [3]quota.Subject{}
	c.g.pool.Put(c)
}

// kept is how large a buffer may be that stays with a pooled Call.
const kept = 256 << 10

func trim(b []byte) []byte {
	if cap(b) > kept {
		return nil
	}
	return b[:0]
}

// Begin opens the call's Event and finds out who calls, before the body is read. On an error the
// answer is given already: call End, then Free.
func (c *Call) Begin() error {
	now := time.Now()
	c.id = db.NewUUID(now)
	c.ids = c.id.ID("evt")
	c.ev.Time, c.ev.ID, c.ev.Method, c.ev.Path = now, c.ids, c.Method, c.Path
	c.ev.Dialect, c.ev.RemoteIP = telemetry.OpenAI, c.RemoteIP
	var parent telemetry.TraceContext
	if c.Traceparent != "" {
		parent, _ = telemetry.ParseTraceparent(c.Traceparent)
	}
	c.span = c.g.o.Tracer.Start(&c.ev, parent)
	if c.Route != nil && c.Route.KeyField != "" && c.Authorization == "" {
		return nil // the body will tell: see Contract
	}
	if err := c.identify(); err != nil {
		return c.fail(err)
	}
	return nil
}

func (c *Call) identify() error {
	if c.g.draining.Load() {
		return errDraining
	}
	if c.Authorization == "" && c.Route != nil && c.Route.Anonymous && !c.g.o.Free.Key.IsZero() {
		c.Authorization, c.free = c.g.o.Free.Key.Reveal(), true
	}
	who, err := c.g.o.Keys.Lookup(stringBytes(c.Authorization))
	if err != nil {
		return err
	}
	c.who = who
	c.ev.Org, c.ev.Key = who.OrgID, who.KeyID
	if err := who.Require(auth.Inference); err != nil {
		return err
	}
	if c.Route != nil && !c.Route.Public && who.Limits != nil && len(who.Limits.Referrers) > 0 {
		return problem.New(problem.Forbidden, "gateway.not_for_pages", "this key is for web pages, and %s %s is not: call it from a server with another key", c.Method, c.Path)
	}
	return who.Allowed(c.RemoteIP, c.Referrer)
}

// Chat serves POST /v1/chat/completions. The body has been read.
func (c *Call) Chat() { c.serve(opChat) }

// Embeddings serves POST /v1/embeddings.
func (c *Call) Embeddings() { c.serve(opEmbeddings) }

// Refuse answers with an error that the front found: a body too large, say.
func (c *Call) Refuse(err error) { _ = c.fail(err) }

// serve is the pipeline. Whatever happens in it, finish runs.
func (c *Call) serve(op operation) {
	defer c.finish()
	c.op = op
	c.ev.BytesIn = int64(len(c.Body))
	err := c.prepare()
	if err == nil {
		err = c.forward()
	}
	if err != nil {
		_ = c.fail(err)
	}
}

// prepare does everything up to the OPEN: after it the call may spend.
func (c *Call) prepare() error {
	if err := c.op.scan(c.Body, &c.scan); err != nil {
		return err
	}
	if err := c.resolve(); err != nil {
		return err
	}
	if err := c.admit(); err != nil {
		return err
	}
	return c.reserve()
}

// resolve finds the subscription, the terms and the product.
func (c *Call) resolve() error {
	c.ev.Stream = c.scan.Stream
	c.ev.Model = byteString(c.scan.Name)
	offer, err := c.lookup()
	var needs *plan.NeedsSubscription
	if errors.As(err, &needs) {
		// Nothing is subscribed to by a call that would be refused all the same.
		if err := c.suits(needs.Product); err != nil {
			c.ev.Model = needs.Product.Model
			return err
		}
		if c.free && len(c.scan.Name) > 0 { // or any provider could have the free tier pay what it asks
			return errNotFree
		}
		offer, err = c.subscribe(needs.PlanID)
	}
	if err != nil {
		c.ev.Model = string(c.scan.Name) // a trace keeps it for longer than the body lives
		return err
	}
	c.offer = offer
	c.ev.Product, c.ev.Model, c.ev.Currency = offer.ProductID, offer.Product.Model, offer.Currency
	return c.suits(offer.Product)
}

var errNotFree = problem.New(problem.Forbidden, "gateway.not_free", "this model is not part of the free tier; call it with a key")

// allows reports whether the key may call the product.
func (c *Call) allows(p *catalog.Product) bool {
	return c.nested || c.who.AllowsProduct(p.ID) && c.who.AllowsModel(stringBytes(p.Model))
}

// suits checks that the key may call the product and that the product answers the operation.
func (c *Call) suits(p *catalog.Product) error {
	if !c.allows(p) {
		return problem.New(problem.Forbidden, "gateway.key_not_for_model", "this key may not call %q; use another key, or change its products and models", p.Model)
	}
	if !p.Can(c.op.capability) {
		return problem.New(problem.Invalid, "gateway.wrong_operation", "the model %q does not answer %s; GET /v1/models lists what does", p.Model, c.op.name)
	}
	return nil
}

// subscribe takes the public plan on the organisation's first call: once, off the usual path.
func (c *Call) subscribe(planID string) (*plan.Offer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.g.o.Book.AutoSubscribe(ctx, c.who.OrgID, planID); err != nil {
		return nil, err
	}
	return c.lookup()
}

// lookup finds what the call is made under, by the model's name or, without one, by what the route asks for.
func (c *Call) lookup() (*plan.Offer, error) {
	if len(c.scan.Name) == 0 && c.Route != nil {
		return c.g.o.Book.ResolveFor(c.who.OrgUUID, c.op.capability, c.allows)
	}
	return c.g.o.Book.Resolve(c.who.OrgUUID, c.scan.Name)
}

// admit takes the call's place in the rate limits of its key and its subscription.
func (c *Call) admit() error {
	n := 0
	if rate := c.g.o.Free.PerMinute; c.free && rate > 0 {
		c.subj[n] = quota.Subject{Scope: quota.Address, ID: network(c.RemoteIP), Limits: quota.Limits{Requests: quota.PerMinute(rate)}}
		n++
	}
	// The call that a nested one serves was admitted by the key, and by its own subscription.
	if l := c.who.Limits; !c.nested && l != nil && (l.Requests > 0 || l.Tokens > 0 || l.Concurrency > 0) {
		c.subj[n] = quota.Subject{Scope: quota.Key, ID: c.who.KeyUUID,
			Limits: quota.Limits{Requests: quota.PerMinute(l.Requests), Tokens: quota.PerMinute(l.Tokens), Concurrency: l.Concurrency}}
		n++
	}
	if l := &c.offer.Limits; (l.RPM > 0 || l.TPM > 0 || l.Concurrency > 0) && !(c.nested && c.offer.Subscription == c.under) {
		c.subj[n] = quota.Subject{Scope: quota.Subscription, ID: c.offer.Subscription,
			Limits: quota.Limits{Requests: quota.PerMinute(l.RPM), Tokens: quota.PerMinute(l.TPM), Concurrency: l.Concurrency}}
		n++
	}
	if n == 0 {
		return nil
	}
	// About four bytes make a token of text; what the request allows to be written counts in full.
	estimate := int64(len(c.Body))/4 + max(c.scan.MaxTokens, 0)
	if c.Route != nil {
		estimate = 0 // it uses no tokens
	}
	if err := c.g.o.Limiter.Admit(&c.ticket, c.subj[:n], estimate, c.ev.Time); err != nil {
		c.limits = true // for the headers; Settle of a refused ticket does nothing
		return err
	}
	c.limits = true
	return nil
}

// network is what one caller without a key has at most: an IPv4 address, or the /64 that a household gets of IPv6.
func network(a netip.Addr) [16]byte {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return a.As16()
}

// unmetered reports whether the call is of a route that costs nothing, and so has no OPEN.
func (c *Call) unmetered() bool { return c.Route != nil && c.Route.Meter == "" }

// reserve takes the upper bound of the cost and writes the OPEN.
func (c *Call) reserve() error {
	o := c.offer
	var q rating.Tokens
	q[rating.Input] = llm.InputBound(len(c.Body))
	q[rating.Requests] = 1
	if c.op.capability == catalog.Chat {
		c.outLimit = o.MaxOutput
		if c.scan.MaxTokens >= 0 {
			c.outLimit = c.scan.MaxTokens
		}
		c.outLimit *= max(c.scan.N, 1)
		q[rating.Output] = c.outLimit
		if mentionsAudio(c.Body) {
			q[rating.AudioInput], q[rating.AudioOutput] = q[rating.Input], c.outLimit
		}
	}
	bound, err := o.Card.TokenBound(&q)
	if err != nil {
		return err
	}
	return c.open(bound)
}

// open holds the bound and writes the OPEN.
func (c *Call) open(bound int64) error {
	o := c.offer
	if err := c.g.o.Bank.Take(context.Background(), &c.hold, c.who.OrgUUID, o.Currency, c.who.Budgets, bound); err != nil {
		if problem.Is(err, problem.Funds) {
			c.g.o.Metrics.HoldsRefused.Add(1)
		}
		return err
	}
	r := &c.rec
	r.Time = db.Micros(time.Now()) // not of the arrival: the subscription may be younger
	r.Event, r.Org, r.Key, r.Provider = c.id, c.who.OrgUUID, c.who.KeyUUID, o.Provider
	r.Product, r.Version, r.Subscription, r.PlanVersion = o.ProductUUID, o.Version.UUID, o.Subscription, o.PlanVersion
	r.Hold, r.Model = c.hold.Amount(), o.Product.Model
	r.BytesIn = int64(len(c.Body))
	r.RequestDigest = sha256.Sum256(c.Body)
	c.hold.Leases(r)
	if c.scan.Stream {
		r.Flags |= spool.Stream
	}
	if err := c.g.o.Spool.AppendOpen(r); err != nil {
		c.g.o.Bank.Finish(&c.hold, 0)
		c.g.o.Metrics.SpoolErrors.Add(1)
		return err
	}
	c.g.o.Metrics.SpoolRecords.Add(1)
	c.opened = true
	c.digest.Reset()
	c.record = !c.keyIn && c.g.o.Recorder != nil && c.g.o.Recorder.Wants(c.who.OrgID)
	return nil
}

// finish is the only way out of a call: it closes what was opened and tells the world, once.
func (c *Call) finish() {
	var panicked any
	if panicked = recover(); panicked != nil {
		err := fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
		c.ev.Err = err
		c.ev.Outcome, c.ev.Status = telemetry.Failed, 500
		c.g.o.Log.Error("a call panicked", "id", c.ids, "error", err)
	}
	if c.opened && c.started { // a panic in the middle of a stream: what was delivered is charged
		c.countDelivered()
		_ = c.conclude(spool.UpstreamLost)
	}
	if c.opened { // nothing was delivered
		_ = c.conclude(spool.Failed)
	}
	if panicked != nil {
		if c.started {
			c.Out.Abort()
		} else {
			c.render(problem.As(c.ev.Err))
		}
	}
	c.endStream()
	c.resp.Release()
	if c.limits {
		c.g.o.Limiter.Settle(&c.ticket, c.usage.InputTotal()+c.usage.OutputTotal(), time.Now())
	}
	if c.record && c.closed {
		c.g.o.Recorder.Record(c.ids, c.who.OrgID, c.Body, c.keep)
	}
}

// countDelivered is usageOfDelivered after a panic, which may have come from the very counting: then the running estimate
// has to do, so that the CLOSE is written all the same.
func (c *Call) countDelivered() {
	defer func() {
		if p := recover(); p != nil {
			c.g.o.Log.Error("what a call delivered cannot be counted", "id", c.ids, "error", p)
			c.usage = llm.Usage{Input: int64(len(c.Body)+3) / 4, Output: c.tap.Output(), Estimated: true}
			c.price()
		}
	}()
	c.usageOfDelivered()
}

// End closes the Event: it is logged and counted exactly once. Call it after the answer is complete.
func (c *Call) End() {
	c.ev.Duration = time.Since(c.ev.Time)
	u := &c.usage
	c.ev.Tokens = [telemetry.NClasses]int64{u.Input, u.CachedInput, u.CacheWrite, u.Output, u.Reasoning, u.AudioInput, u.AudioOutput}
	c.ev.Estimated, c.ev.ChargeNano = u.Estimated, c.charge
	c.ev.Meter, c.ev.Units = c.rec.Meter, c.units
	c.g.o.Metrics.Observe(&c.ev)
	c.g.o.Lines.Emit(&c.ev)
	c.span.End(&c.ev)
}
