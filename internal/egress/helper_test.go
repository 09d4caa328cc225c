package egress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const patience = 10 * time.Second // for what must happen; never waited out in a passing test

// local returns a Client that may dial loopback, with a fast janitor.
func local(t testing.TB) *Client {
	t.Helper()
	c := newClient(Options{Guard: Guard{Allow: Loopback()}}, 5*time.Millisecond)
	t.Cleanup(c.Close)
	return c
}

func endpoint(t testing.TB, c *Client, url string, o EndpointOptions) *Endpoint {
	t.Helper()
	if o.Timeouts.Total == 0 {
		o.Timeouts.Total = 2 * patience // a test that hangs says where
	}
	e, err := c.Endpoint(url, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rawServer accepts connections and runs serve on each, with its number from 1.
type rawServer struct {
	net.Listener
	conns atomic.Int64
}

func raw(t testing.TB, serve func(n int, c *peer)) *rawServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawServer{Listener: l}
	quit := make(chan struct{})
	t.Cleanup(func() { close(quit); l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(s.conns.Add(1))
			go func() {
				defer c.Close()
				go func() { <-quit; c.Close() }()
				serve(n, &peer{t, c, bufio.NewReader(c)})
			}()
		}
	}()
	return s
}

func (s *rawServer) url() string { return "http://" + s.Addr().String() }

// peer is the server's side of one connection.
type peer struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

// request reads one request with its body; ok is false at the end of the connection.
func (p *peer) request() (r *http.Request, body string, ok bool) {
	r, err := http.ReadRequest(p.r)
	if err != nil {
		return nil, "", false
	}
	b, err := io.ReadAll(r.Body)
	return r, string(b), err == nil
}

func (p *peer) say(s string) { _, _ = io.WriteString(p, s) }

// gone blocks until the client has closed the connection.
func (p *peer) gone() { _, _ = io.Copy(io.Discard, p.r) }

func get(path string) *Request { return &Request{Method: "GET", Path: path} }

func post(body string) *Request {
	return &Request{Method: "POST", Path: "/p", Parts: [4][]byte{[]byte(body)}}
}

// readAll drains resp and releases it.
func readAll(resp *Response) (string, error) {
	defer resp.Release()
	var b bytes.Buffer
	for {
		p, err := resp.Next()
		b.Write(p)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// fetch does a request and returns status and body.
func fetch(e *Endpoint, r *Request) (int, string, error) {
	var resp Response
	if err := e.Do(r, &resp); err != nil {
		return 0, "", err
	}
	body, err := readAll(&resp)
	return resp.Status, body, err
}

// eventually polls cond.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatal("never happened: " + what)
		}
	}
}

func receive[T any](t testing.TB, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

// each runs fn against net/http's server, plain and with TLS.
func each(t *testing.T, h http.Handler, fn func(t *testing.T, e *Endpoint)) {
	t.Run("plain", func(t *testing.T) {
		s := httptest.NewServer(h)
		defer s.Close()
		fn(t, endpoint(t, local(t), s.URL+"/base/", EndpointOptions{}))
	})
	t.Run("tls", func(t *testing.T) {
		s := httptest.NewTLSServer(h)
		defer s.Close()
		fn(t, endpoint(t, local(t), s.URL+"/base/", EndpointOptions{TLS: s.Client().Transport.(*http.Transport).TLSClientConfig}))
	})
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }
