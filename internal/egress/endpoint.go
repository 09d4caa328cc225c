package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Timeouts of an endpoint. Zero means the default, negative none. They fire at most 250 ms late,
// never early.
type Timeouts struct {
	Connect   time.Duration // name resolution, TCP and TLS; default 10 s
	FirstByte time.Duration // from sending until the first byte of the response; default 10 min
	Idle      time.Duration // without a byte, while we wait for more of the response; default 5 min
	Total     time.Duration // from sending until the response is released; default 1 h
}

// EndpointOptions configure an [Endpoint]. The zero value works.
type EndpointOptions struct {
	TLS      *tls.Config // roots, client certificates, InsecureSkipVerify; ALPN, server name and session cache are ours
	Timeouts Timeouts
	MaxConns int // open connections at most, default 16384; beyond it Do fails with kind Unavailable
	MaxIdle  int // unused connections kept, default 256
}

// Endpoint is one upstream: an origin with a base path. It is immutable and safe for concurrent use.
type Endpoint struct {
	client   *Client
	url      string
	addr     string
	prefix   string // path before each request's path
	host     string // " HTTP/1.1\r\nHost: …\r\n"
	tls      *tls.Config
	limits   Timeouts
	maxConns int
	maxIdle  int

	mu     sync.Mutex
	idle   []*conn // most recently used last
	all    []*conn
	total  int // all and those being dialled
	closed bool
}

// Endpoint returns an endpoint for baseURL, an http or https URL without query, fragment or
// credentials. Nothing is dialled yet. Close it when the upstream is no longer used.
func (c *Client) Endpoint(baseURL string, o EndpointOptions) (*Endpoint, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, badURL(baseURL, "it does not parse").Because(err)
	}
	if why := checkURL(u); why != "" {
		return nil, badURL(u.Redacted(), why)
	}
	e := &Endpoint{
		client: c,
		url:    baseURL,
		addr:   u.Host,
		prefix: strings.TrimSuffix(u.EscapedPath(), "/"),
		host:   " HTTP/1.1\r\nHost: " + u.Host + "\r\n",
		limits: Timeouts{
			Connect:   orDefault(o.Timeouts.Connect, defaultConnect),
			FirstByte: orDefault(o.Timeouts.FirstByte, defaultFirst),
			Idle:      orDefault(o.Timeouts.Idle, defaultIdle),
			Total:     orDefault(o.Timeouts.Total, defaultTotal),
		},
		maxConns: o.MaxConns,
		maxIdle:  o.MaxIdle,
	}
	if e.maxConns <= 0 {
		e.maxConns = defaultConns
	}
	if e.maxIdle <= 0 {
		e.maxIdle = defaultSpare
	}
	if u.Port() == "" {
		e.addr = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if u.Scheme == "https" {
		e.tls = tlsConfig(o.TLS, u.Hostname())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endpoints == nil {
		return nil, failBroken(errClosed)
	}
	c.endpoints[e] = struct{}{}
	return e, nil
}

// URL returns the base URL as given.
func (e *Endpoint) URL() string { return e.url }

func badURL(u, why string) *problem.Error {
	return problem.New(problem.Invalid, "egress.url", "%q is not a usable upstream address: %s", u, why)
}

// checkURL says what is wrong with a base URL.
func checkURL(u *url.URL) string {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return "it must begin with http:// or https://"
	case u.Hostname() == "" || u.Opaque != "":
		return "it names no host"
	case u.User != nil:
		return "credentials do not belong into it"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "it may have no query and no fragment"
	case !plain(u.Host) || !plain(u.EscapedPath()):
		return "it contains characters that an address cannot have"
	}
	return ""
}

// tlsConfig makes an endpoint's configuration of the operator's. A session cache saves the full
// handshake; record sizes are not tuned for browsers, which would cost a write per 1.2 KB.
func tlsConfig(o *tls.Config, name string) *tls.Config {
	cfg := &tls.Config{}
	if o != nil {
		cfg = o.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = name
	}
	if cfg.MinVersion < tls.VersionTLS12 {
		cfg.MinVersion = tls.VersionTLS12
	}
	cfg.NextProtos = []string{"http/1.1"}
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(32)
	cfg.DynamicRecordSizingDisabled = true
	return cfg
}

// Close closes the unused connections; those in use end with their responses, within their
// deadlines. Requests that come later fail.
func (e *Endpoint) Close() {
	e.shut(false)
	e.client.rouse()
}

func (e *Endpoint) shut(busy bool) {
	e.mu.Lock()
	e.closed = true
	idle := e.idle
	e.idle = nil
	var inUse []*conn
	if busy {
		inUse = slices.Clone(e.all)
	}
	e.mu.Unlock()
	for _, c := range idle {
		c.discard()
	}
	for _, c := range inUse {
		c.cut(cutClosed) // none is given back any more
	}
}

// Conns returns how many connections are open, or being opened, and how many of them are unused.
func (e *Endpoint) Conns() (open, idle int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.total, len(e.idle)
}

// take returns the most recently used idle connection, or nil.
func (e *Endpoint) take() *conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(e.idle)
	if n == 0 {
		return nil
	}
	c := e.idle[n-1]
	e.idle[n-1] = nil
	e.idle = e.idle[:n-1]
	c.begin(true)
	return c
}

// give puts a connection that is clean back into the pool, or closes it.
func (e *Endpoint) give(c *conn) {
	c.drop()
	e.mu.Lock()
	pooled := !e.closed && len(e.idle) < e.maxIdle && !c.hup.Load() && c.shift(stateIdle)
	if pooled {
		e.idle = append(e.idle, c)
	}
	e.mu.Unlock()
	if !pooled {
		c.discard()
	} else if c.hup.Load() {
		e.reap(c)
	}
}

// reap closes c if it is in the pool.
func (e *Endpoint) reap(c *conn) {
	e.mu.Lock()
	found := false
	for i := len(e.idle) - 1; i >= 0; i-- {
		if e.idle[i] == c {
			e.idle = append(e.idle[:i], e.idle[i+1:]...)
			found = true
			break
		}
	}
	e.mu.Unlock()
	if found {
		c.discard()
	}
}

// forget takes a closed connection off the books.
func (e *Endpoint) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.all) - 1
	if c.index > last || e.all[c.index] != c {
		return
	}
	e.all[c.index] = e.all[last]
	e.all[c.index].index = c.index
	e.all[last] = nil
	e.all = e.all[:last]
	e.total--
}

// reserve counts a connection that is about to be dialled.
func (e *Endpoint) reserve() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return failConnect(errClosed)
	}
	if e.total >= e.maxConns {
		return failBusy()
	}
	e.total++
	return nil
}

// dial opens a connection, which is the caller's.
func (e *Endpoint) dial(cancel *Cancel) (*conn, error) {
	if err := e.reserve(); err != nil {
		return nil, err
	}
	c, err := e.connect(cancel)
	if err != nil {
		e.mu.Lock()
		e.total--
		e.mu.Unlock()
		return nil, err
	}
	c.begin(false)
	e.mu.Lock()
	c.index = len(e.all)
	e.all = append(e.all, c)
	closed := e.closed
	e.mu.Unlock()
	c.unw = e.client.watch.add(c.tcp, c.hungUp)
	if closed {
		c.discard()
		return nil, failConnect(errClosed)
	}
	e.client.rouse()
	return c, nil
}

// connect dials and shakes hands within the connect time-out.
func (e *Endpoint) connect(cancel *Cancel) (*conn, error) {
	ctx, stop := context.WithTimeout(e.client.ctx, e.limits.Connect)
	defer stop()
	if !cancel.hold(nil, stop) {
		return nil, failCanceled()
	}
	defer cancel.drop()
	c, err := e.open(ctx)
	if err == nil {
		return c, nil
	}
	var ne net.Error
	switch {
	case cancel != nil && cancel.Cancelled():
		return nil, failCanceled()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		err = fmt.Errorf("%w: %w", ErrTimeoutConnect, err)
	}
	return nil, failConnect(err)
}

func (e *Endpoint) open(ctx context.Context) (*conn, error) {
	nc, err := e.client.guard.Dial(ctx, "tcp", e.addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a %T is no TCP connection", nc), nc.Close())
	}
	c := &conn{ep: e, tcp: tcp}
	c.stepFn = c.step
	if c.raw, err = tcp.SyscallConn(); err == nil && e.tls != nil {
		err = c.handshake(ctx)
	}
	if err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) handshake(ctx context.Context) error {
	c.sock = newSocket(c.tcp)
	c.tls = tls.Client(c.sock, c.ep.tls)
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return err
	}
	if p := c.tls.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
		return fmt.Errorf("the server insists on the protocol %q", p)
	}
	return nil
}
