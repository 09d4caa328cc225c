// Package gateway is the data plane: it takes a call from its front, finds who calls and what was
// agreed, reserves, calls the upstream, hands the answer on as it comes, and records what was used.
//
// It imports no HTTP server: a front (gateway/front on net/http) reads requests and writes bytes. It
// holds no rules of its own: prices are rating's, limits quota's, credit settle's, order route's.
//
// Invariants:
//   - nothing is spent before the spool has the OPEN; after it the CLOSE is written in every case, a
//     panic included, before the last byte of the answer leaves;
//   - a call never costs more than it held; what was delivered of a broken answer is charged;
//   - after the first byte to the client nothing is tried again: an error event, then an abort;
//   - the usual path does no SQL, starts no goroutine and no timer.
package gateway

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm/tokens"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/quota"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/secret"
	"github.com/tollgate-io/tollgate/internal/settle"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// Builtin is an engine in this process, mounted as an upstream builtin://name.
type Builtin interface {
	// Serve answers the operation ("chat/completions", "embeddings") in the OpenAI dialect. It returns when the answer is complete. An
	// error before the answer began is told to the caller; one after it means that the answer broke off.
	Serve(ctx context.Context, operation string, body []byte, w BuiltinWriter) error
}

// BuiltinWriter takes a builtin engine's answer.
type BuiltinWriter interface {
	Header(status int, contentType string)
	Write(b []byte) error
}

// Options are what a Gateway works with. All but those marked optional are required.
type Options struct {
	Keys     *auth.Directory
	Book     *plan.Book
	Limiter  *quota.Limiter
	Bank     *settle.Bank
	Spool    *spool.Spool
	Egress   *egress.Client
	Meter    *meter.Store
	Metrics  *telemetry.Metrics
	Lines    *telemetry.Lines
	Tracer   *telemetry.Tracer // optional
	Log      *slog.Logger
	Builtins map[string]Builtin // optional; by the name after builtin://

	MaxBody   int64         // bytes of a request body; default 32 MiB
	MaxAnswer int64         // bytes of an answer that is not streamed; default 64 MiB
	KeepAlive time.Duration // a quiet stream gets a comment after this; default 15 s
	// Engines answer the routes of capability contracts; optional, by the name after builtin://.
	Engines map[string]engine.Engine
	// Routes are those of the contracts, for calls that engines make.
	Routes []engine.Route
	// Free is who pays for calls without a key, where a route allows them.
	Free Free
	// Recorder keeps prompts and answers of organisations that switched it on; nil keeps none.
	Recorder Recorder
}

// Free is the free tier.
type Free struct {
	Key       secret.Text // an inference key of an organisation of the operator; zero: there is no free tier
	PerMinute int64       // calls of one address; 0: no limit of its own
}

// Recorder keeps what was said, where the organisation asked for it.
type Recorder interface {
	// Wants reports whether calls of the organisation are recorded. It must be fast.
	Wants(org string) bool
	// Record takes a finished call. The byte slices are the caller's again once it returns.
	Record(event, org string, request, answer []byte)
}

// Gateway serves calls. Its methods may be called concurrently.
type Gateway struct {
	o        Options
	router   *route.Router
	counter  tokens.Counter
	pool     sync.Pool
	draining atomic.Bool
	breaking atomic.Bool

	mu        sync.Mutex
	upstreams map[string]*upstream // guarded by mu; by upstream id

	live    []atomic.Pointer[Call] // by progress slot: streams that may need a keep-alive comment
	highest atomic.Int32           // slots of live below this have been used
	stop    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

// liveSlots bounds the streams that get keep-alive comments; those beyond do without.
const liveSlots = 32768

// New returns a Gateway that follows the book's snapshots. Call Start before use.
func New(o Options) *Gateway {
	if o.MaxBody == 0 {
		o.MaxBody = 32 << 20
	}
	if o.MaxAnswer == 0 {
		o.MaxAnswer = 64 << 20
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	g := &Gateway{o: o, router: route.New(route.Options{}), upstreams: map[string]*upstream{},
		live: make([]atomic.Pointer[Call], liveSlots), stop: make(chan struct{})}
	g.pool.New = func() any { return newCall(g) }
	return g
}

// Start takes the present snapshot and begins to follow changes.
func (g *Gateway) Start() {
	g.o.Book.OnChange(g.follow)
	if s := g.o.Book.Snapshot(); s != nil {
		g.follow(s.Catalog)
	}
	g.wg.Add(1)
	go g.keepAlive()
}

// SetFree says who pays for calls without a key. Call it before the first call.
func (g *Gateway) SetFree(f Free) { g.o.Free = f }

// Drain makes new calls be refused with 503, so that load balancers turn away.
func (g *Gateway) Drain() { g.draining.Store(true) }

// Break makes calls that are cancelled from now on be broken off as the gateway's doing, not their clients': a client
// is told that this gateway stops, and charged for what it was given. The front cancels the calls.
func (g *Gateway) Break() {
	g.draining.Store(true)
	g.breaking.Store(true)
}

// Stop ends the gateway's goroutine. Calls in flight must have ended. Twice is fine.
func (g *Gateway) Stop() {
	g.once.Do(func() {
		close(g.stop)
		g.wg.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, u := range g.upstreams {
			u.close()
		}
	})
}

// MaxBody is the largest request body that is read.
func (g *Gateway) MaxBody() int64 { return g.o.MaxBody }

// States tells the health of targets, for doctor and the console.
func (g *Gateway) States() []route.State { return g.router.States(time.Now()) }

// Cooling tells which credentials of upstreams rest now.
func (g *Gateway) Cooling() []route.Cooling { return g.router.Cooling(time.Now()) }

// keepAlive writes a comment into streams that have been quiet for a while, so that proxies between
// here and the client do not take them for dead.
func (g *Gateway) keepAlive() {
	defer g.wg.Done()
	t := time.NewTicker(g.o.KeepAlive / 3)
	defer t.Stop()
	for {
		select {
		case <-g.stop:
			return
		case now := <-t.C:
			for i := range g.highest.Load() {
				if c := g.live[i].Load(); c != nil {
					c.comment(now, g.o.KeepAlive)
				}
			}
		}
	}
}

// Call is one request on its way. A front takes one with [Gateway.Call], fills in what it read of the head, calls
// Begin, reads the body, calls Serve, and gives it back with Free.
type Call struct {
	// Set by the front before Begin.
	Method, Path  string
	Route         *engine.Route // of a capability contract; nil for the model endpoints
	Authorization string        // the credential alone, without "Bearer "
	RemoteIP      netip.Addr
	Referrer      string
	Language      string // "en" or "zh"
	Traceparent   string
	Out           Writer
	// Cancel is cancelled by the front when the client leaves.
	Cancel *egress.Cancel
	// Body is read by the front between Begin and Serve; its array is reused.
	Body []byte

	state
}

// Writer is the front's side of an answer. Its methods are called by one goroutine at a time.
type Writer interface {
	// SetHeader sets a header, whose name is in canonical form, before Start.
	SetHeader(name, value string)
	// Start sends status and headers; length is -1 for a stream.
	Start(status int, length int64)
	Write(b []byte) error
	// Flush sends what was written on its way.
	Flush() error
	// Abort ends the connection so that the client sees that the answer is not complete.
	Abort()
}

var errDraining = problem.New(problem.Unavailable, "gateway.draining", "this gateway is stopping; try again, another one will answer").After(time.Second)
