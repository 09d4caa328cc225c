// Package api is the management API: organisations, keys, the catalogue, plans, subscriptions, money,
// usage and the audit record over HTTP, described by an OpenAPI 3.1 document at /api/openapi.json.
//
// It holds no rules and no SQL: a handler reads its input, asks the room auth whether the key may do it,
// calls the domain room within one transaction, and shows the result. What holds for every operation:
//
//   - a management key as bearer credential, but for the few operations that are public;
//   - problems as RFC 9457, in English or Chinese by Accept-Language, with the request id;
//   - unknown fields are refused; a body has at most 1 MiB;
//   - single objects carry an ETag; PATCH and PUT need If-Match, other edits honour it;
//   - lists are pages: after, limit → items, has_more, next;
//   - a POST with an Idempotency-Key happens once (room idem);
//   - every write names its key and request in the audit record.
//
// Organisations, upstreams, products and plans are named in paths by name or id.
package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/idem"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/record"
)

// Options are what the API is made of. All stores are required.
type Options struct {
	DB        *db.DB
	Orgs      *org.Store
	Keys      *auth.Store
	Directory *auth.Directory // authenticates
	Catalog   *catalog.Store
	Plans     *plan.Store
	Book      *plan.Book
	Ledger    *ledger.Store
	Meter     *meter.Store
	Audit     *audit.Log
	Idem      *idem.Store
	Recording *record.Store

	HTTP      *http.Client                                     // guarded (egress); asks upstreams for their models
	Doctor    func(ctx context.Context, lang string) []Finding // finds out how the process is
	Sealing   func(context.Context) (Sealing, error)           // what is sealed with which key
	Reseal    func(context.Context) (int, error)               // seals everything with the first key of the key file
	Remote    func(*http.Request) netip.Addr                   // who is calling, behind trusted proxies; nil: the connection's address
	Clock     clock.Clock                                      // nil: the machine's
	Log       *slog.Logger                                     // nil: nowhere
	PublicURL string                                           // how users reach the platform, for the document
	Version   string                                           // of the binary
}

// maxBody is the largest request body, in bytes.
const maxBody = 1 << 20

type server struct {
	Options
	mux  *http.ServeMux
	huma huma.API
}

// call is what is known of a request beside its input.
type call struct {
	id        string // request id
	lang      string // "en" or "zh"
	path      string
	accept    string
	remote    netip.Addr
	principal *auth.Principal // nil for a public operation
	actor     audit.Actor
	idem      *idem.Request // nil without an Idempotency-Key
	header    http.Header   // of the response
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		panic("api: a handler was called outside of the API")
	}
	return c
}

// New returns the handler of everything below /api/.
func New(o Options) http.Handler {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Remote == nil {
		o.Remote = connectionAddr
	}
	s := &server{Options: o, mux: http.NewServeMux()}
	s.huma = humago.New(s.mux, s.config())
	s.huma.UseMiddleware(s.authenticate, s.readBody)
	s.register()
	doc := s.finishDocument()
	document := sync.OnceValue(func() []byte { return encodeDocument(doc) }) // two megabytes that few servers are ever asked for
	s.mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(document())
	})
	s.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, callOf(r.Context()), problem.New(problem.NotFound, "api.no_path", "there is no %s %s: see /api/openapi.json", r.Method, r.URL.Path))
	})
	return s
}

// register adds all operations.
func (s *server) register() {
	s.organisations()
	s.members()
	s.keys()
	s.budgets()
	s.money()
	s.usage()
	s.recording()
	s.upstreams()
	s.products()
	s.plans()
	s.subscriptions()
	s.catalogue()
	s.settings()
	s.joining()
	s.audits()
	s.doctor()
	s.sealer()
	s.nodes()
	s.documents()
}

// ServeHTTP implements http.Handler.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.Clock.Now()
	rec := &recorder{ResponseWriter: w}
	c := &call{id: db.NewID("req", start), lang: language(r.Header.Get("Accept-Language")), path: r.URL.Path, accept: r.Header.Get("Accept"), remote: s.Remote(r), header: w.Header()}
	h := w.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Authorization, Accept-Language")
	defer func() {
		if v := recover(); v != nil {
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) || rec.gone {
				panic(http.ErrAbortHandler) // huma panics where it cannot write
			}
			s.Log.Error("api: panic", "request", c.id, "path", c.path, "panic", v, "stack", string(debug.Stack()))
			if rec.status == 0 {
				s.write(rec, c, problem.As(errors.New("panic")))
			}
		}
		s.line(c, r, rec.status, s.Clock.Now().Sub(start))
	}()
	s.mux.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), callKey{}, c)))
}

// line logs the request.
func (s *server) line(c *call, r *http.Request, status int, took time.Duration) {
	attrs := []any{"request", c.id, "method", r.Method, "path", c.path, "status", status, "duration_ms", took.Milliseconds(), "remote", c.remote.String()}
	if c.principal != nil {
		attrs = append(attrs, "organisation", c.principal.OrgID, "key", c.principal.KeyID)
	}
	s.Log.Info("api", attrs...)
}

// recorder remembers what became of the response.
type recorder struct {
	http.ResponseWriter
	status int
	gone   bool // the client cannot be written to
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.gone = r.gone || err != nil
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func connectionAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// authenticate finds out who calls an operation that is not public.
func (s *server) authenticate(ctx huma.Context, next func(huma.Context)) {
	c := callOf(ctx.Context())
	c.actor = audit.Actor{System: "api", Request: c.id, Remote: c.remote}
	if isPublic(ctx.Operation()) {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	p, err := s.principal(r, c)
	if err != nil {
		s.write(w, c, err)
		return
	}
	c.principal = p
	c.actor = audit.Actor{Org: p.OrgID, User: p.UserID, Key: p.KeyID, Request: c.id, Remote: c.remote}
	next(ctx)
}

func (s *server) principal(r *http.Request, c *call) (*auth.Principal, error) {
	credential := r.Header.Get("Authorization")
	if scheme, rest, ok := strings.Cut(credential, " "); ok && strings.EqualFold(scheme, "bearer") {
		credential = strings.TrimSpace(rest)
	}
	p, err := s.Directory.Lookup([]byte(credential))
	if err != nil {
		return nil, err
	}
	if err := p.Require(auth.Management); err != nil {
		return nil, err
	}
	referrer := r.Header.Get("Origin")
	if referrer == "" {
		referrer = r.Header.Get("Referer")
	}
	return p, p.Allowed(c.remote, referrer)
}

// bodyTime is how long a request's body may take to arrive.
const bodyTime = 10 * time.Second

// readBody reads the body before the operation does, and takes up the Idempotency-Key of a POST, which is
// bound to it.
func (s *server) readBody(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	c := callOf(ctx.Context())
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		next(ctx)
		return
	}
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(bodyTime)) // not every connection has one
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	// The server goes on reading, to see the client leave: past the deadline it would take it for gone.
	_ = connection.SetReadDeadline(time.Time{})
	switch key := r.Header.Get("Idempotency-Key"); {
	case err != nil:
		err = problem.New(problem.Invalid, "api.body_unread", "the request body did not arrive completely, or in time").Because(err)
	case len(body) > maxBody:
		err = problem.New(problem.TooLarge, "api.body_too_large", "the request body must not be larger than %d bytes", maxBody)
	case key != "" && r.Method == http.MethodPost && c.principal != nil:
		c.idem, err = idem.New(c.principal.KeyID, key, r.Method, r.URL.RequestURI(), body)
	}
	if err != nil {
		s.write(w, c, err)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	next(ctx)
}
