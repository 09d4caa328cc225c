package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// echo answers with what it got; "?chunked" flushes after every 1000 bytes.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	w.Header().Set("X-Seen", r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Request-Id")+" "+r.Header.Get("A"))
	if r.URL.RawQuery != "chunked" {
		_, _ = w.Write(body)
		return
	}
	for len(body) > 0 {
		n := min(len(body), 1000)
		_, _ = w.Write(body[:n])
		w.(http.Flusher).Flush()
		body = body[n:]
	}
})

func TestExchange(t *testing.T) {
	each(t, echo, func(t *testing.T, e *Endpoint) {
		var resp Response
		for _, size := range []int{0, 1, 500, 5_000, 16_000, 16_384, 70_000, 3_000_000} {
			for _, query := range []string{"", "?chunked"} {
				body := repeat("0123456789", size/10+1)[:size]
				head, ok := AppendHeader(nil, "A", "b")
				r := &Request{Method: "POST", Path: "/x" + query, Head: head, RequestID: []byte("id1"),
					Parts: [4][]byte{[]byte(body[:size/3]), nil, []byte(body[size/3 : size/2]), []byte(body[size/2:])}}
				if !ok || e.Do(r, &resp) != nil {
					t.Fatal(size)
				}
				if got := string(resp.Header("x-seen")); got != "POST /base/x id1 b" {
					t.Errorf("server saw %q", got)
				}
				got, err := readAll(&resp)
				if err != nil || resp.Status != 200 || got != body {
					t.Fatalf("%d%s: status %d, %d bytes, %v", size, query, resp.Status, len(got), err)
				}
			}
		}
		if open, _ := e.Conns(); open != 1 {
			t.Errorf("%d connections", open)
		}
	})
}

func TestCancelWakes(t *testing.T) {
	for _, phase := range []string{"head", "body"} {
		t.Run(phase, func(t *testing.T) {
			asked := make(chan bool, 1)
			s := raw(t, func(_ int, p *peer) {
				p.request()
				if phase == "body" {
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
				}
				asked <- true
				p.gone()
				asked <- true
			})
			e := endpoint(t, local(t), s.url(), EndpointOptions{})
			var cancel Cancel
			r := get("/")
			r.Cancel = &cancel
			result := make(chan error, 1)
			go func() { _, _, err := fetch(e, r); result <- err }()
			receive(t, asked)
			cancel.Cancel()
			if err := receive(t, result); !errors.Is(err, ErrCanceled) || !problem.Is(err, problem.ClientGone) {
				t.Fatal(err)
			}
			receive(t, asked) // the upstream saw the connection end
			if _, _, err := fetch(e, r); !errors.Is(err, ErrCanceled) {
				t.Fatal("a canceled Cancel must refuse", err)
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name string
		say  string
		set  Timeouts
		want error
	}{
		{"nothing", "", Timeouts{FirstByte: 20 * time.Millisecond}, ErrTimeoutFirstByte},
		{"half a head", "HTTP/1.1 200 OK\r\n", Timeouts{Idle: 20 * time.Millisecond}, ErrTimeoutIdle},
		{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Timeouts{Idle: 20 * time.Millisecond}, ErrTimeoutIdle},
		{"total", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Timeouts{Total: 20 * time.Millisecond}, ErrTimeoutTotal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := raw(t, func(_ int, p *peer) { p.request(); p.say(tt.say); p.gone() })
			e := endpoint(t, local(t), s.url(), EndpointOptions{Timeouts: tt.set})
			begin := time.Now()
			_, _, err := fetch(e, get("/"))
			if !errors.Is(err, tt.want) || !problem.Is(err, problem.Timeout) {
				t.Fatal(err)
			}
			if d := time.Since(begin); d < 20*time.Millisecond {
				t.Errorf("fired after %v", d)
			}
			if open, _ := e.Conns(); open != 0 {
				t.Error("connection left open")
			}
		})
	}
}

func TestStaleConnection(t *testing.T) {
	t.Run("closed while idle", func(t *testing.T) {
		s := raw(t, func(n int, p *peer) {
			p.request()
			p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n))
		})
		e := endpoint(t, local(t), s.url(), EndpointOptions{})
		for i := 1; i <= 3; i++ {
			if _, body, err := fetch(e, post("x")); err != nil || body != fmt.Sprint(i) {
				t.Fatal(i, body, err)
			}
		}
		eventually(t, "the watcher frees it", func() bool { open, _ := e.Conns(); return open == 0 })
	})
	t.Run("closed as we send", func(t *testing.T) {
		s := raw(t, func(n int, p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if n == 1 {
				p.request() // and close
				return
			}
			p.gone()
		})
		e := endpoint(t, local(t), s.url(), EndpointOptions{})
		for range 2 {
			if _, _, err := fetch(e, post("x")); err != nil {
				t.Fatal(err)
			}
		}
		if s.conns.Load() != 2 {
			t.Error("not sent again on a new connection")
		}
	})
}

// TestTotalDespiteProgress: a stream that never stops is ended all the same.
func TestTotalDespiteProgress(t *testing.T) {
	s := raw(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for {
			if _, err := io.WriteString(p, "1\r\nx\r\n"); err != nil {
				return
			}
		}
	})
	e := endpoint(t, local(t), s.url(), EndpointOptions{Timeouts: Timeouts{Total: 30 * time.Millisecond}})
	if _, _, err := fetch(e, get("/")); !errors.Is(err, ErrTimeoutTotal) {
		t.Fatal(err)
	}
}

// TestSlowReader: the idle time-out is the upstream's; time that the caller takes does not count.
func TestSlowReader(t *testing.T) {
	s := raw(t, func(_ int, p *peer) {
		p.request()
		p.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
		p.say("world")
		p.gone()
	})
	c := local(t)
	e := endpoint(t, c, s.url(), EndpointOptions{Timeouts: Timeouts{FirstByte: 20 * time.Millisecond, Idle: 20 * time.Millisecond}})
	var resp Response
	if err := e.Do(get("/"), &resp); err != nil {
		t.Fatal(err)
	}
	until := c.elapsed() + 100*time.Millisecond
	eventually(t, "time passes", func() bool { return c.elapsed() > until })
	if body, err := readAll(&resp); body != "helloworld" || err != nil {
		t.Fatal(body, err)
	}
}

// A context of a Cancel ends with it, whatever requests come and go meanwhile.
func TestCancelContext(t *testing.T) {
	var c Cancel
	ctx, stop := c.Context(context.Background())
	if ctx.Err() != nil {
		t.Fatal(ctx.Err())
	}
	if !c.hold(nil, func() {}) {
		t.Fatal("canceled before it was")
	}
	c.Cancel()
	if ctx.Err() == nil {
		t.Error("the context outlives its Cancel")
	}
	stop()
	later, stop := c.Context(context.Background())
	if later.Err() == nil {
		t.Error("a context of what was canceled before")
	}
	stop()
}
