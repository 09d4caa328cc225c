// Package front is the net/http face of the gateway: it reads requests, bounded in every way, and writes
// what the gateway says. It holds no rules.
//
// The exposed parser is the standard library's. A client's leaving is seen by one watch for each
// HTTP/1 connection; on HTTP/2 by the request's context.
package front

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/gateway"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Options configure a Front. The zero value works but for the required fields.
type Options struct {
	Gateway *gateway.Gateway // required
	Egress  *egress.Client   // required: watches client connections
	// Routes are those of the capability contracts.
	Routes []engine.Route
	// Trusted are the proxies whose X-Forwarded-For is believed; none by default.
	Trusted []netip.Prefix
	// BodyTime is how long a request body may take; default 60 s.
	BodyTime time.Duration
	// WriteTime is how long a client may take to accept a piece of an answer; default 60 s. Without it one that does
	// not read would keep its call, its hold and the gateway's keep-alive waiting.
	WriteTime time.Duration
}

// Front is an http.Handler for the data plane. It also looks after client connections: hook Listen and
// ConnContext into the http.Server.
type Front struct {
	o   Options
	mux *http.ServeMux
	// patterns are the routes by the mux's patterns.
	patterns map[string]*engine.Route

	mu    sync.Mutex
	conns map[*conn]struct{} // guarded by mu
	calls atomic.Int64       // under way
	now   atomic.Int64       // Unix seconds, moved by the janitor
	stop  chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
}

// New returns a Front; its janitor runs until Close.
func New(o Options) *Front {
	if o.BodyTime == 0 {
		o.BodyTime = time.Minute
	}
	if o.WriteTime == 0 {
		o.WriteTime = time.Minute
	}
	f := &Front{o: o, mux: http.NewServeMux(), patterns: map[string]*engine.Route{}, conns: map[*conn]struct{}{}, stop: make(chan struct{})}
	f.mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { f.call(w, r, (*gateway.Call).Chat) })
	f.mux.HandleFunc("POST /v1/embeddings", func(w http.ResponseWriter, r *http.Request) { f.call(w, r, (*gateway.Call).Embeddings) })
	f.mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) { f.call(w, r, (*gateway.Call).Models) })
	f.mux.HandleFunc("GET /v1/models/{model...}", func(w http.ResponseWriter, r *http.Request) {
		f.call(w, r, func(c *gateway.Call) { c.Model(r.PathValue("model")) })
	})
	f.mux.HandleFunc("GET /v1/generations/{id}", func(w http.ResponseWriter, r *http.Request) {
		f.call(w, r, func(c *gateway.Call) { c.Generation(r.Context(), r.PathValue("id")) })
	})
	for i := range o.Routes {
		f.route(&o.Routes[i])
		f.patterns[o.Routes[i].Method+" "+o.Routes[i].Pattern] = &o.Routes[i]
	}
	f.mux.HandleFunc("/", f.unknown)
	f.now.Store(time.Now().Unix())
	f.wg.Add(1)
	go f.janitor()
	return f
}

// Close ends the janitor. Twice is fine.
func (f *Front) Close() {
	f.once.Do(func() { close(f.stop) })
	f.wg.Wait()
}

// Break cancels the calls under way, whose clients are told that the gateway stops, and returns when none is left or
// ctx ends. Connections over HTTP/2 must be closed for their calls to end.
func (f *Front) Break(ctx context.Context) error {
	f.o.Gateway.Break()
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for f.calls.Load() > 0 {
		f.mu.Lock()
		for c := range f.conns {
			c.cut()
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// Idle returns nil when no call is under way, sessions included, or the error of ctx when that ends first.
func (f *Front) Idle(ctx context.Context) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for f.calls.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	return nil
}

// ServeHTTP serves /v1/ and the paths of the routes outside it.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header["Origin"] != nil && shared(w, r) {
		return
	}
	f.mux.ServeHTTP(w, r)
}

// conn is a client connection.
type conn struct {
	net.Conn
	front *Front
	unset func()

	mu      sync.Mutex
	cancel  *egress.Cancel // guarded by mu: of the call under way
	gone    bool           // guarded by mu
	reading atomic.Int64   // Unix seconds since a body is being read, or 0
	writing atomic.Int64   // Unix seconds since a piece is being written, or 0
	once    sync.Once
}

// Listen wraps the listener below TLS, so that the front can watch its connections.
func (f *Front) Listen(l net.Listener) net.Listener { return &listener{l, f} }

type listener struct {
	net.Listener
	front *Front
}

func (l *listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, front: l.front, unset: func() {}}
	if tcp, ok := nc.(*net.TCPConn); ok {
		c.unset = l.front.o.Egress.Watch(tcp, c.left)
	}
	l.front.mu.Lock()
	l.front.conns[c] = struct{}{}
	l.front.mu.Unlock()
	return c, nil
}

// left runs when the client hung up. The lock keeps it from cancelling the call after the one it was for.
func (c *conn) left() {
	c.mu.Lock()
	c.gone = true
	c.mu.Unlock()
	c.cut()
}

// cut cancels the call under way.
func (c *conn) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel.Cancel()
	}
}

// pieceSize is how many bytes a client is to take within WriteTime.
const pieceSize = 256 << 10

// Write writes in pieces, so that the janitor sees a client that does not read, and leaves a slow one alone.
func (c *conn) Write(b []byte) (n int, err error) {
	defer c.writing.Store(0)
	for {
		c.writing.Store(c.front.now.Load())
		m, err := c.Conn.Write(b[n:min(n+pieceSize, len(b))])
		if n += m; err != nil || n == len(b) {
			return n, err
		}
	}
}

// Close ends the watch before the descriptor can be another's.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.unset()
		c.front.mu.Lock()
		delete(c.front.conns, c)
		c.front.mu.Unlock()
	})
	return c.Conn.Close()
}

type connKey struct{}

// ConnContext puts the connection into its requests' context; see http.Server.ConnContext.
func (f *Front) ConnContext(ctx context.Context, nc net.Conn) context.Context {
	if t, ok := nc.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		nc = t.NetConn()
	}
	if c, ok := nc.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// janitor ends connections whose request body does not come, or whose client does not read.
func (f *Front) janitor() {
	defer f.wg.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-t.C:
			f.now.Store(now.Unix())
			f.mu.Lock()
			for c := range f.conns {
				if since := c.writing.Load(); since != 0 && now.Unix()-since > int64(f.o.WriteTime/time.Second) {
					// As below. The write that waits fails, and with it the call: what was delivered is charged.
					_ = c.SetWriteDeadline(time.Unix(1, 0))
				}
				if since := c.reading.Load(); since != 0 && now.Unix()-since > int64(f.o.BodyTime/time.Second) {
					// An error here means that the connection is closed already.
					_ = c.SetReadDeadline(time.Unix(1, 0))
				}
			}
			f.mu.Unlock()
		}
	}
}

// exchange is one request's writer; pooled.
type exchange struct {
	w      http.ResponseWriter
	h      http.Header
	abort  bool
	cancel egress.Cancel
	vals   [24]string
	n      int
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (x *exchange) SetHeader(name, value string) {
	if x.n == len(x.vals) {
		x.h[name] = []string{value}
		return
	}
	x.vals[x.n] = value
	x.h[name] = x.vals[x.n : x.n+1 : x.n+1] // no slice of its own for each header
	x.n++
}

func (x *exchange) Start(status int, length int64) {
	if length >= 0 {
		x.SetHeader("Content-Length", strconv.FormatInt(length, 10))
	}
	x.w.WriteHeader(status)
}

func (x *exchange) Write(b []byte) error {
	_, err := x.w.Write(b)
	if errors.Is(err, http.ErrBodyNotAllowed) { // HEAD: the client has all that it asked for
		return nil
	}
	return err
}

func (x *exchange) Flush() error {
	if f, ok := x.w.(interface{ FlushError() error }); ok {
		return f.FlushError()
	}
	return http.NewResponseController(x.w).Flush()
}

func (x *exchange) Abort() { x.abort = true }

// call runs one request of the model endpoints through the gateway.
func (f *Front) call(w http.ResponseWriter, r *http.Request, serve func(*gateway.Call)) {
	f.run(w, r, nil, serve)
}

// run runs one request through the gateway; rt is nil for the model endpoints.
func (f *Front) run(w http.ResponseWriter, r *http.Request, rt *engine.Route, serve func(*gateway.Call)) {
	f.calls.Add(1)
	defer f.calls.Add(-1)
	x := exchanges.Get().(*exchange)
	x.w, x.h, x.n, x.abort = w, w.Header(), 0, false
	c := f.o.Gateway.Call()
	c.Method, c.Path, c.Route, c.Out, c.Cancel = r.Method, r.URL.Path, rt, x, &x.cancel
	f.describe(c, r)
	detach := f.attach(r, x)
	if c.Begin() != nil {
		hurry(w, r)
	} else if err := f.readBody(c, r); err != nil {
		hurry(w, r)
		c.Refuse(err)
	} else {
		serve(c)
	}
	reusable := detach()
	c.End()
	c.Free()
	abort := x.abort
	if reusable {
		x.w, x.h = nil, nil
		clear(x.vals[:x.n])
		x.cancel.Reset()
		exchanges.Put(x)
	}
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// restTime is how long the rest of a refused request's body may take.
const restTime = 5 * time.Second

// hurry bounds the reading of what is left of a refused body. The server reads it before it answers, so as to use the
// connection again, and by itself would wait for ever: for callers without any key, too.
func hurry(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// Every connection that the server makes knows deadlines; a test's recorder has no body to wait for.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(restTime))
	}
}

// describe fills in what the gateway needs of the head.
func (f *Front) describe(c *gateway.Call, r *http.Request) {
	h := r.Header
	if a := h["Authorization"]; len(a) == 1 {
		c.Authorization = bearer(a[0])
		if c.Authorization == "" && c.Route != nil {
			c.Authorization = deepKey(a[0])
		}
	} else if a := h["X-Api-Key"]; len(a) == 1 {
		c.Authorization = a[0]
	}
	if v := h["Traceparent"]; len(v) == 1 {
		c.Traceparent = v[0]
	}
	if v := h["Referer"]; len(v) == 1 {
		c.Referrer = v[0]
	} else if v := h["Origin"]; len(v) == 1 {
		c.Referrer = v[0]
	}
	c.Language = "en"
	if v := h["Accept-Language"]; len(v) > 0 && strings.HasPrefix(v[0], "zh") {
		c.Language = "zh"
	}
	c.RemoteIP = ClientIP(r, f.o.Trusted)
}

func bearer(v string) string {
	if len(v) > 7 && strings.EqualFold(v[:7], "bearer ") {
		return strings.TrimSpace(v[7:])
	}
	return ""
}

// ClientIP is the address of the client: the peer's, or, where the peer is a trusted proxy, the last one in
// X-Forwarded-For that is not. What a client itself wrote there is never believed.
func ClientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := ap.Addr().Unmap()
	if !contains(trusted, addr) {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return addr
		}
		if addr = hop.Unmap(); !contains(trusted, addr) {
			break
		}
	}
	return addr
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// attach makes the client's leaving cancel the call, until the returned function is called. That
// reports false if a cancel may still be under way: then the exchange is not to be used again.
func (f *Front) attach(r *http.Request, x *exchange) (detach func() bool) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	if c == nil || r.ProtoMajor != 1 {
		return context.AfterFunc(r.Context(), x.cancel.Cancel)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = &x.cancel
	if c.gone {
		x.cancel.Cancel()
	}
	return c.detach
}

func (c *conn) detach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = nil
	return true
}

var (
	errTooLarge  = problem.New(problem.TooLarge, "gateway.body_too_large", "the request body is larger than this gateway accepts; send less at once")
	errTruncated = problem.New(problem.Invalid, "gateway.body_truncated", "the request body ended before its stated length; send it again")
	errEncoding  = problem.New(problem.Unprocessable, "gateway.content_encoding", "compressed request bodies are not accepted; send it without Content-Encoding")
)

// readBody reads the whole body into c.Body, bounded in size and time.
func (f *Front) readBody(c *gateway.Call, r *http.Request) error {
	c.Body = c.Body[:0]
	if r.ContentLength == 0 {
		return nil
	}
	if e := r.Header["Content-Encoding"]; len(e) > 0 && e[0] != "identity" {
		return errEncoding
	}
	most := f.o.Gateway.MaxBody()
	if rt := c.Route; rt != nil {
		most = min(most, cmp.Or(rt.MaxBody, int64(routeBody)))
	}
	if k, _ := r.Context().Value(connKey{}).(*conn); k != nil {
		k.reading.Store(time.Now().Unix())
		defer k.reading.Store(0)
	}
	if r.ContentLength > most {
		drain(r, most)
		return errTooLarge
	}
	if n := int(r.ContentLength); n > 0 {
		if cap(c.Body) < n {
			// Grown as it comes: a stated length alone makes nobody allocate.
			if n > 1<<20 {
				return f.readGrowing(c, r, most)
			}
			c.Body = make([]byte, 0, n+n/4)
		}
		c.Body = c.Body[:n]
		if _, err := io.ReadFull(r.Body, c.Body); err != nil {
			c.Body = c.Body[:0]
			return errTruncated.Because(err)
		}
		return nil
	}
	return f.readGrowing(c, r, most)
}

// maxRest is how much of a body that is too large is read at least.
const maxRest = 32 << 20

// drain reads on for up to twice the limit, or maxRest: a client that is still sending when the connection is closed would
// see a reset, and not the answer. One that asked beforehand, by Expect, is not made to send.
func drain(r *http.Request, most int64) {
	if r.Header["Expect"] == nil {
		_, _ = io.CopyN(io.Discard, r.Body, max(2*most, maxRest)) // the answer is the same if it fails
	}
}

func (f *Front) readGrowing(c *gateway.Call, r *http.Request, most int64) error {
	for {
		if len(c.Body) == cap(c.Body) {
			c.Body = append(c.Body, 0)[:len(c.Body)]
		}
		n, err := r.Body.Read(c.Body[len(c.Body):cap(c.Body)])
		c.Body = c.Body[:len(c.Body)+n]
		switch {
		case int64(len(c.Body)) > most:
			drain(r, most)
			return errTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errTruncated.Because(err)
		}
	}
}
