package egress

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

const ok0 = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

// TestUnsolicited: what an upstream sends unasked on an idle connection must not answer the next caller.
func TestUnsolicited(t *testing.T) {
	read, extra := make(chan bool), make(chan bool)
	s := raw(t, func(n int, p *peer) {
		for {
			if _, _, ok := p.request(); !ok {
				return
			}
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n))
			if n == 1 {
				<-read
				p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
				extra <- true
			}
		}
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	for i := 1; i <= 2; i++ {
		if _, body, err := fetch(e, post("x")); err != nil || body != fmt.Sprint(i) {
			t.Fatal(i, body, err)
		}
		if i == 1 {
			read <- true
			<-extra
		}
	}
}

func TestNotReused(t *testing.T) {
	for name, answer := range map[string]string{
		"close":          "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
		"1.0":            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"more than said": ok0 + "x",
		"body of a 204":  "HTTP/1.1 204 No\r\nContent-Length: 1\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			s := raw(t, func(_ int, p *peer) { p.request(); p.say(answer); p.gone() })
			e := endpoint(t, local(t), s.url(), EndpointOptions{})
			if _, _, err := fetch(e, post("x")); err != nil {
				t.Fatal(err)
			}
			if open, _ := e.Conns(); open != 0 {
				t.Error("kept")
			}
		})
	}
	t.Run("not read to the end", func(t *testing.T) {
		s := raw(t, func(_ int, p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
			p.gone()
		})
		e := endpoint(t, local(t), s.url(), EndpointOptions{})
		var resp Response
		if err := e.Do(post("x"), &resp); err != nil {
			t.Fatal(err)
		}
		resp.Release()
		resp.Release()
		if open, _ := e.Conns(); open != 0 {
			t.Error("kept")
		}
	})
}

// TestSentOnce: a request that the upstream may have worked on is not sent again.
func TestSentOnce(t *testing.T) {
	answers := map[string]string{"fresh connection": "", "after a byte": "H", "after a while": ""}
	for name, partial := range answers {
		t.Run(name, func(t *testing.T) {
			first := name == "fresh connection"
			closing := make(chan bool)
			s := raw(t, func(_ int, p *peer) {
				p.request()
				if !first {
					p.say(ok0)
					p.request()
				}
				<-closing
				p.say(partial)
			})
			c := local(t)
			c.stale = 20 * time.Millisecond
			e := endpoint(t, c, s.url(), EndpointOptions{})
			if !first {
				if _, _, err := fetch(e, post("x")); err != nil {
					t.Fatal(err)
				}
			}
			result := make(chan error, 1)
			go func() { _, _, err := fetch(e, post("x")); result <- err }()
			if name == "after a while" {
				eventually(t, "the janitor sees it wait", func() bool {
					e.mu.Lock()
					defer e.mu.Unlock()
					return len(e.all) == 1 && e.all[0].seen>>genShift == 2 && c.elapsed()-e.all[0].genAt > c.stale
				})
			}
			close(closing)
			err := receive(t, result)
			if !problem.Is(err, problem.Upstream) || errors.Is(err, ErrNotSent) {
				t.Error(err)
			}
			if n := s.conns.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestLostAndGone: when the second try cannot connect, the first may still have been seen.
func TestLostAndGone(t *testing.T) {
	var s *rawServer
	s = raw(t, func(_ int, p *peer) {
		p.request()
		p.say(ok0)
		p.request()
		s.Close()
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	if _, _, err := fetch(e, post("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetch(e, post("x")); err == nil || errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
	if _, _, err := fetch(e, post("x")); !errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
}

// TestEarlyAnswer: an upstream refuses a large body without reading it.
func TestEarlyAnswer(t *testing.T) {
	s := raw(t, func(_ int, p *peer) {
		if _, err := p.r.ReadString('\n'); err != nil {
			t.Error(err)
		}
		p.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		p.gone()
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	status, body, err := fetch(e, post(repeat("x", 20<<20)))
	if status != 413 || body != "big" || err != nil {
		t.Fatal(status, body, err)
	}
}

func TestLimits(t *testing.T) {
	hold := make(chan bool)
	s := raw(t, func(_ int, p *peer) {
		for {
			if _, _, ok := p.request(); !ok {
				return
			}
			<-hold
			p.say(ok0)
		}
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{MaxConns: 3, MaxIdle: 2})
	results := make(chan error, 3)
	for range 3 {
		go func() { _, _, err := fetch(e, post("x")); results <- err }()
	}
	eventually(t, "three are open", func() bool { open, _ := e.Conns(); return open == 3 && s.conns.Load() == 3 })
	if _, _, err := fetch(e, post("x")); !problem.Is(err, problem.Unavailable) || !errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
	close(hold)
	for range 3 {
		if err := receive(t, results); err != nil {
			t.Fatal(err)
		}
	}
	if open, idle := e.Conns(); idle != 2 || open != 2 {
		t.Errorf("%d idle of %d", idle, open)
	}
}

func TestIdleExpiry(t *testing.T) {
	ended := make(chan bool, 1)
	s := raw(t, func(_ int, p *peer) { p.request(); p.say(ok0); p.gone(); ended <- true })
	c := newClient(Options{Guard: Guard{Allow: Loopback()}, Keep: 10 * time.Millisecond}, time.Millisecond)
	defer c.Close()
	e := endpoint(t, c, s.url(), EndpointOptions{})
	for range 2 { // the janitor sleeps in between, and must wake
		if _, _, err := fetch(e, post("x")); err != nil {
			t.Fatal(err)
		}
		receive(t, ended)
		eventually(t, "none is left", func() bool { open, _ := e.Conns(); return open == 0 })
	}
}

func TestConnectFails(t *testing.T) {
	s := raw(t, func(int, *peer) {})
	s.Close()
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	if _, _, err := fetch(e, post("x")); !errors.Is(err, ErrNotSent) || !problem.Is(err, problem.Upstream) {
		t.Error(err)
	}

	// A server that accepts and never shakes hands.
	mute := raw(t, func(_ int, p *peer) { p.gone() })
	e = endpoint(t, local(t), "https://"+mute.Addr().String(), EndpointOptions{Timeouts: Timeouts{Connect: 20 * time.Millisecond}})
	if _, _, err := fetch(e, post("x")); !errors.Is(err, ErrTimeoutConnect) || !errors.Is(err, ErrNotSent) || !problem.Is(err, problem.Timeout) {
		t.Error(err)
	}
	e = endpoint(t, local(t), "https://"+mute.Addr().String(), EndpointOptions{})
	var cancel Cancel
	result := make(chan error, 1)
	r := post("x")
	r.Cancel = &cancel
	go func() { _, _, err := fetch(e, r); result <- err }()
	eventually(t, "the dial", func() bool { return mute.conns.Load() == 2 })
	cancel.Cancel()
	if err := receive(t, result); !errors.Is(err, ErrCanceled) {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	asked := make(chan bool, 2)
	s := raw(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		asked <- true
		p.gone()
	})
	c := local(t)
	e := endpoint(t, c, s.url(), EndpointOptions{Timeouts: Timeouts{Idle: 50 * time.Millisecond}})
	result := make(chan error, 2)
	one := func() { _, _, err := fetch(e, post("x")); result <- err }
	go one()
	receive(t, asked)
	e.Close()
	if err := receive(t, result); !errors.Is(err, ErrTimeoutIdle) {
		t.Error("the deadlines of a closed endpoint's requests must hold:", err)
	}
	eventually(t, "the client forgets it", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.endpoints) == 0 })
	if _, _, err := fetch(e, post("x")); !errors.Is(err, ErrNotSent) {
		t.Error(err)
	}
	e = endpoint(t, c, s.url(), EndpointOptions{})
	go one()
	receive(t, asked)
	c.Close()
	if err := receive(t, result); !problem.Is(err, problem.Upstream) {
		t.Error(err)
	}
	if _, err := c.Endpoint(s.url(), EndpointOptions{}); err == nil {
		t.Error("a closed client gives endpoints")
	}
}

func TestEndpointURL(t *testing.T) {
	c := local(t)
	for _, bad := range []string{"", "x", "ftp://a/", "http://", "http:a", "http://u:p@a/", "http://a/?q", "http://a/?", "http://a/#f", "http://a b/", "http://a/\x00", "unix:///x"} {
		if _, err := c.Endpoint(bad, EndpointOptions{}); !problem.Is(err, problem.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for url, addr := range map[string]string{"http://a": "a:80", "https://a/v1": "a:443", "http://[::1]": "[::1]:80", "http://[::1]:8/": "[::1]:8"} {
		if e := endpoint(t, c, url, EndpointOptions{}); e.addr != addr {
			t.Errorf("%s dials %s", url, e.addr)
		}
	}
}

func TestRequestIsChecked(t *testing.T) {
	e := endpoint(t, local(t), "http://127.0.0.1:1", EndpointOptions{})
	for _, r := range []*Request{
		{Path: "/"}, {Method: "GET x", Path: "/"}, {Method: "GET", Path: "/ HTTP/1.1\r\nA: b"}, {Method: "GET", Path: "/\x80"},
		{Method: "GET", Path: "/", Head: []byte("A: b")}, {Method: "GET", Path: "/", Head: []byte("A: b\n")},
		{Method: "GET", Path: "/", Head: []byte("A: b\r\n\r\n")}, {Method: "GET", Path: "/", Head: []byte("A: b\rC: d\r\n")},
		{Method: "GET", Path: "/", RequestID: []byte("a\r\nb: c")},
	} {
		if err := e.Do(r, new(Response)); !problem.Is(err, problem.Invalid) || !errors.Is(err, ErrNotSent) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, h := range [][2]string{{"", "x"}, {"A b", "x"}, {"A:", "x"}, {"A", "x\r\nB: y"}, {"A", "x\x00"}} {
		if got, ok := AppendHeader([]byte("k"), h[0], h[1]); ok || string(got) != "k" {
			t.Errorf("%q accepted", h)
		}
	}
}

// TestCancelRace cancels at random while connections are reused: a request fails only if it was
// itself canceled, and nobody gets another's answer.
func TestCancelRace(t *testing.T) {
	s := raw(t, func(_ int, p *peer) {
		for {
			_, body, ok := p.request()
			if !ok {
				return
			}
			p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n" + body[:2] + "\r\n")
			runtime.Gosched()
			p.say(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body)-2, body[2:]))
		}
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 1))
			var cancel Cancel
			var resp Response
			for i := range 300 {
				body := fmt.Sprintf("caller %d request %d", w, i)
				r := post(body)
				r.Cancel = &cancel
				done := make(chan bool)
				canceling := rnd.IntN(2) == 0
				if canceling {
					pause := rnd.IntN(30)
					go func() {
						for range pause {
							runtime.Gosched()
						}
						cancel.Cancel()
						close(done)
					}()
				}
				err := e.Do(r, &resp)
				var got string
				if err == nil {
					got, err = readAll(&resp)
				}
				switch {
				case err == nil && got != body:
					t.Errorf("got %q, want %q", got, body)
				case err != nil && !(canceling && errors.Is(err, ErrCanceled)):
					t.Errorf("canceled %v: %v", canceling, err)
				}
				if canceling {
					<-done
					cancel.Reset()
				}
			}
		})
	}
	wg.Wait()
	if open, idle := e.Conns(); idle != open {
		t.Errorf("%d of %d connections idle", idle, open)
	}
}

// TestRenewal closes connections from the server's side at random; callers must not notice.
func TestRenewal(t *testing.T) {
	s := raw(t, func(n int, p *peer) {
		for i := 0; ; i++ {
			_, body, ok := p.request()
			if !ok {
				return
			}
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
			if i == n%5 {
				return
			}
		}
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				body := fmt.Sprintf("caller %d request %d", w, i)
				if _, got, err := fetch(e, post(body)); err != nil || got != body {
					t.Errorf("%q %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "all are idle or gone", func() bool { open, idle := e.Conns(); return idle == open })
}

// TestSteadyState: no allocation per request, and none per piece of a stream.
func TestSteadyState(t *testing.T) {
	s := raw(t, func(_ int, p *peer) {
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		last := []byte("5\r\nworld\r\n0\r\n\r\n")
		in := make([]byte, 4096)
		for {
			if _, err := p.Read(in); err != nil {
				return
			}
			_, _ = p.Write(answer)
			runtime.Gosched()
			_, _ = p.Write(last)
		}
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	var resp Response
	var cancel Cancel
	r := post("x")
	r.Cancel = &cancel
	allocs := testing.AllocsPerRun(500, func() {
		err := e.Do(r, &resp)
		for err == nil {
			_, err = resp.Next()
		}
		if !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		resp.Release()
	})
	if allocs >= 1 && !raceEnabled {
		t.Errorf("%v allocations per request", allocs)
	}
}

// TestWaitingIsSmall: a stream that waits holds no read buffer.
func TestWaitingIsSmall(t *testing.T) {
	const n = 300
	release := make(chan bool)
	s := raw(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		<-release
		p.say("0\r\n\r\n")
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, body, err := fetch(e, post("x")); body != "hello" || err != nil {
				t.Error(body, err)
			}
		})
	}
	eventually(t, "all wait", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		waiting := 0
		for _, c := range e.all {
			if c.word.Load()&stateMask == stateWaiting {
				waiting++
			}
		}
		return waiting == n
	})
	// Two collections empty the pools: what is left is held by the streams and by the test's server,
	// whose bufio.Reader (4 KB) and http.Request count as ours here.
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if per := m.HeapAlloc / n; per > 12<<10 && !raceEnabled {
		t.Errorf("%d bytes of heap per stream", per)
	} else {
		t.Logf("%d bytes of heap per stream, server's side included", per)
	}
	close(release)
	wg.Wait()
}
