// Package egress is how Tollgate calls out: an HTTP/1.1 client of its own for the hot path, a
// net/http client for everything else, and one guard that both dial through.
//
// The hot-path client does its I/O on the caller's goroutine. In steady state a request costs no
// goroutine, no timer and no allocation: connections are pooled per [Endpoint], one janitor keeps
// every deadline by looking at all connections ten times a second, and one epoll watcher notices
// peers that hang up. A connection that waits for its upstream holds no read buffer.
//
// # Ownership of a connection
//
// A connection's life is one atomic word: a generation (which use), a sequence (progress within the
// use) and a state. The goroutine that uses the connection moves the word only by compare-and-swap
// from the value it wrote last. Everybody else — a caller that cancels, the janitor, the watcher,
// Close — may do one thing: swap a word that it has read for the same word in state cut, with the
// reason in it, and only whoever succeeds closes the socket. Cut is final. So
//
//   - a deadline never hits progress that was made, nor a later request on the same connection: the
//     word has moved and the swap fails;
//   - cutting and giving back to the pool exclude each other: whichever swap comes second fails;
//   - a closed connection is never pooled, and no deadline on the socket is ever set or reset.
//
// [Cancel] adds a mutex, held while it cuts, so that once its request has let go of it no cancel is
// under way.
//
// # What it does not do
//
// No HTTP/2, no proxies, no redirects, no decompression, no cookies on the hot path. It does not
// retry a request that an upstream may have seen, with the one exception that [Endpoint.Do] states.
// It does not log.
package egress

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	defaultTick    = 100 * time.Millisecond // janitor's period; a deadline fires at most two of these late
	defaultConnect = 10 * time.Second
	defaultFirst   = 10 * time.Minute
	defaultIdle    = 5 * time.Minute
	defaultTotal   = time.Hour
	defaultKeep    = 90 * time.Second // an unused pooled connection
	defaultConns   = 16384            // per endpoint
	defaultSpare   = 256              // unused connections kept per endpoint
)

// Options configure a [Client]. The zero value works and allows public addresses only.
type Options struct {
	Guard     Guard         // which addresses may be dialled
	Keep      time.Duration // how long an unused connection is kept; 0 means 90 s
	UserAgent string        // sent by HTTP(); the hot path sends what Request.Head says
}

// Client owns connections, the janitor and the watcher. Its methods are safe for concurrent use.
type Client struct {
	guard Guard
	keep  time.Duration
	tick  time.Duration
	stale time.Duration
	start time.Time // the janitor's zero
	http  *http.Client
	watch *watcher
	ctx   context.Context // ends with Close; bounds dials
	stop  context.CancelFunc
	done  chan struct{} // closed when the janitor has ended
	wake  chan struct{} // tells a sleeping janitor that there is a connection again
	bufs  buffers

	mu        sync.Mutex
	endpoints map[*Endpoint]struct{}
}

// New returns a Client with its janitor running. Call Close to end it.
func New(o Options) *Client { return newClient(o, defaultTick) }

func newClient(o Options, tick time.Duration) *Client {
	c := &Client{
		guard:     o.Guard,
		keep:      orDefault(o.Keep, defaultKeep),
		tick:      tick,
		stale:     defaultStale,
		start:     time.Now(),
		watch:     newWatcher(),
		done:      make(chan struct{}),
		wake:      make(chan struct{}, 1),
		endpoints: map[*Endpoint]struct{}{},
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.http = c.newHTTP(o.UserAgent)
	go c.janitor()
	return c
}

// Close ends the janitor and the watcher and closes every connection; requests under way fail.
func (c *Client) Close() {
	c.stop()
	<-c.done
	c.mu.Lock()
	open := c.endpoints
	c.endpoints = nil
	c.mu.Unlock()
	for e := range open {
		e.shut(true)
	}
	c.watch.close()
	c.http.CloseIdleConnections()
}

// Watch calls fn once when conn's peer has hung up or half-closed, until stop is called. It serves
// the gateway, which stops paying an upstream whose client has left. fn runs on the watcher's
// goroutine: it must be quick and must not call stop. Once stop has returned, fn is neither running
// nor going to. A connection has one watch at a time; a second one replaces the first.
// On systems other than Linux the watch never fires.
func (c *Client) Watch(conn *net.TCPConn, fn func()) (stop func()) {
	return c.watch.add(conn, fn)
}

// elapsed is the janitor's clock.
func (c *Client) elapsed() time.Duration { return time.Since(c.start) }

// HTTP returns the net/http client for what is not hot. Every connection, including those that
// redirects lead to, is dialled through the guard; proxies from the environment are not used. Callers
// bound each call by a context and the size of what they read.
func (c *Client) HTTP() *http.Client { return c.http }

func (c *Client) newHTTP(agent string) *http.Client {
	t := &http.Transport{
		DialContext:           c.guard.Dial,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   defaultConnect,
		ResponseHeaderTimeout: 2 * time.Minute,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       defaultKeep,
	}
	if agent == "" {
		return &http.Client{Transport: t}
	}
	return &http.Client{Transport: &agentTransport{t, agent}}
}

// agentTransport names us to the other side.
type agentTransport struct {
	*http.Transport
	agent string
}

// RoundTrip sets the User-Agent header unless the request has one.
func (t *agentTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("User-Agent") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("User-Agent", t.agent)
	}
	return t.Transport.RoundTrip(r)
}

// orDefault returns d, or def for zero; a negative duration means no limit and becomes the longest.
func orDefault(d, def time.Duration) time.Duration {
	switch {
	case d == 0:
		return def
	case d < 0:
		return 1<<63 - 1
	}
	return d
}
