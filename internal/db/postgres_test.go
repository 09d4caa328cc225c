package db_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// proxy stands between the pool and the server, and breaks connections as a test wants.
type proxy struct {
	net.Listener
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	trap  []byte // when the client sends this ...
	after bool   // ... the connection is cut: after the server has got and answered it, or before
}

// throughProxy opens the test database by way of a proxy.
func throughProxy(t *testing.T, o db.Options) (*db.DB, *proxy) {
	t.Helper()
	u, err := url.Parse(dbtest.PostgresDSN(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, target: u.Host, conns: map[net.Conn]bool{}}
	t.Cleanup(func() {
		p.cut(true)
		l.Close()
		p.wg.Wait()
	})
	p.wg.Go(p.serve)
	u.Host = l.Addr().String()
	return dbtest.Open(t, u.String(), o, sets), p
}

func (p *proxy) serve() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		p.mu.Lock()
		if p.down || err != nil {
			p.mu.Unlock()
			client.Close()
			continue
		}
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.forward(client, server) })
		p.wg.Go(func() { _, _ = io.Copy(client, server); client.Close() })
	}
}

// forward passes on what the client sends, and looks for the trap.
func (p *proxy) forward(client, server net.Conn) {
	defer server.Close()
	defer client.Close()
	buf := make([]byte, 1<<16)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		sprung := p.trap != nil && bytes.Contains(buf[:n], p.trap)
		after := p.after
		if sprung {
			p.trap = nil
		}
		p.mu.Unlock()
		if sprung && after {
			client.Close() // no answer will reach it
		}
		if sprung && !after {
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
		if sprung {
			return
		}
	}
}

// cut breaks all connections, as a restart of the server does; down refuses new ones.
func (p *proxy) cut(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
	p.down = down
}

func (p *proxy) setTrap(text string, after bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap, p.after = []byte(text), after
}

// TestServerRestart: pooled connections that died with the server cost nobody a failure; while it is
// away callers are told so.
func TestServerRestart(t *testing.T) {
	d, p := throughProxy(t, db.Options{MaxConns: 5})
	fill := func() { // all five connections are open and idle
		var wg, inside sync.WaitGroup
		leave := make(chan struct{})
		inside.Add(5)
		for range 5 {
			wg.Go(func() {
				if err := d.View(ctx, func(*db.Tx) error { inside.Done(); <-leave; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		inside.Wait()
		close(leave)
		wg.Wait()
	}
	fill()
	p.cut(false)
	if err := bump(d); err != nil {
		t.Errorf("write after a restart: %v", err)
	}
	fill()
	p.cut(false)
	if n := count(t, d); n != 0 {
		t.Errorf("%d rows", n)
	}
	fill()
	p.cut(true)
	for _, err := range []error{bump(d), d.View(ctx, func(*db.Tx) error { return nil }), d.Settle(ctx, func(*db.Tx) error { return nil })} {
		if pr := problem.As(err); pr.ID != "db.unreachable" || pr.Kind != problem.Unavailable {
			t.Errorf("while the server is away: %v", err)
		}
	}
	p.cut(false)
	if err := bump(d); err != nil {
		t.Errorf("once it is back: %v", err)
	}
}

// TestLostInTheMiddle: a connection lost before the commit was sent: nothing written, not run again.
func TestLostInTheMiddle(t *testing.T) {
	d, p := throughProxy(t, db.Options{})
	runs := 0
	err := d.Update(ctx, func(tx *db.Tx) error {
		runs++
		if err := put(tx, "a", 1); err != nil {
			return err
		}
		p.cut(false)
		return put(tx, "b", 1)
	})
	if !problem.Is(err, problem.Unavailable) || errors.Is(err, db.ErrInDoubt) || runs != 1 {
		t.Errorf("%d runs: %v", runs, err)
	}
	if n := count(t, d); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// TestCommitInDoubt breaks the connection at the commit: once so that it did not happen, once so
// that it did and the answer was lost. Either way the caller is told that it cannot know.
func TestCommitInDoubt(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		d, p := throughProxy(t, db.Options{})
		never := func() { t.Error("AfterCommit ran") }
		p.setTrap("COMMIT\x00", persisted)
		err := d.Update(ctx, func(tx *db.Tx) error { tx.AfterCommit(never); return put(tx, "a", 1) })
		if !errors.Is(err, db.ErrInDoubt) || !problem.Is(err, problem.Unavailable) {
			t.Errorf("persisted %v: %v", persisted, err)
		}
		want := 0
		if persisted {
			want = 1
		}
		for end := time.Now().Add(10 * time.Second); count(t, d) != want; { // the server may still be at it
			if time.Now().After(end) {
				t.Fatalf("persisted %v: %d rows", persisted, count(t, d))
			}
		}
	}
}

// TestDeadlockRunsAgain: two transactions lock two rows in opposite orders; both succeed.
func TestDeadlockRunsAgain(t *testing.T) {
	d := dbtest.Open(t, dbtest.PostgresDSN(t), db.Options{MaxWait: time.Minute}, sets)
	runs := make(chan int, 100)
	var both, wg sync.WaitGroup
	both.Add(2)
	for i, names := range [][2]string{{"x", "y"}, {"y", "x"}} {
		wg.Go(func() {
			meet := sync.OnceFunc(func() { both.Done(); both.Wait() })
			err := d.Update(ctx, func(tx *db.Tx) error {
				runs <- i
				if _, err := db.Bump(tx, names[0]); err != nil {
					return err
				}
				meet()
				_, err := db.Bump(tx, names[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(runs) < 3 {
		t.Errorf("%d runs: there was no deadlock", len(runs))
	}
	err := d.View(ctx, func(tx *db.Tx) error {
		for _, name := range []string{"x", "y"} {
			if rev, err := db.Revision(tx, name); err != nil || rev != 2 {
				t.Errorf("%s: %d %v", name, rev, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
