package settle

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

// What a proxy does with a message of the client.
type action int

const (
	pass action = iota
	cut         // the connection breaks before the server has the message
	hide        // the server carries it out, but its answer is lost with the connection
	late        // the same, but the server has it only when the next try's first statement has run, or waits for what it locks
)

// proxy stands between a DB and PostgreSQL and breaks connections where it is told to.
type proxy struct {
	t      testing.TB
	ln     net.Listener
	server string

	mu     sync.Mutex
	decide func(kind byte, text []byte) action // guarded by mu; nil passes everything
	conns  map[net.Conn]bool                   // guarded by mu
	busy   chan struct{}                       // guarded by mu; closed when a message that is late may go
	late   sync.WaitGroup                      // messages that are late
	wg     sync.WaitGroup
}

// openProxied opens the database of dsn through a proxy.
func openProxied(w *world) (*db.DB, *proxy) {
	w.t.Helper()
	u, err := url.Parse(w.dsn)
	w.ok(err)
	p := &proxy{t: w.t, server: u.Host, conns: map[net.Conn]bool{}}
	p.ln, err = net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	u.Host = p.ln.Addr().String()
	p.wg.Go(p.accept)
	d, err := db.Open(ctx, u.String(), db.Options{Clock: w.clock})
	w.ok(err)
	w.t.Cleanup(func() {
		d.Close()
		p.ln.Close()
		p.mu.Lock()
		for c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return d, p
}

func (p *proxy) set(decide func(kind byte, text []byte) action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// lateBy is time enough for a statement that waits for no lock.
const lateBy = 50 * time.Millisecond

// once lets a statement of the next transaction that writes meet the action: the n-th, or, with n zero, its COMMIT.
// met tells whether it came to that; a message that is late has been carried out then.
func (p *proxy) once(n int, a action) (met func() bool) {
	inside, seen, done, again := false, 0, false, false
	busy := make(chan struct{})
	p.mu.Lock()
	p.busy = busy
	p.mu.Unlock()
	release := sync.OnceFunc(func() { close(busy) })
	p.t.Cleanup(release) // should the client never come back
	p.set(func(kind byte, text []byte) action {
		if done {
			again = again || kind == 'Q' && bytes.HasPrefix(text, []byte("BEGIN ISOLATION LEVEL READ COMMITTED"))
			if again && kind == 'E' {
				time.AfterFunc(lateBy, release)
			}
			return pass
		}
		if kind == 'Q' && bytes.HasPrefix(text, []byte("BEGIN ISOLATION LEVEL READ COMMITTED")) {
			inside = true
		}
		if !inside || kind != 'Q' && kind != 'E' && kind != 'd' { // query, execute, data of a COPY
			return pass
		}
		seen++
		if done = n > 0 && seen == n || n == 0 && kind == 'Q' && bytes.HasPrefix(text, []byte("COMMIT")); done {
			return a
		}
		return pass
	})
	return func() bool {
		release()
		p.late.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		return done
	}
}

func (p *proxy) ask(kind byte, text []byte) action {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.decide == nil {
		return pass
	}
	return p.decide(kind, text)
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		hidden := make(chan struct{}) // closed when the answer to a message is to be lost
		answered := make(chan struct{})
		p.wg.Go(func() { p.upward(client, server, hidden, answered) })
		p.wg.Go(func() { downward(client, server, hidden, answered) })
	}
}

// upward copies the client's messages to the server.
func (p *proxy) upward(client, server net.Conn, hidden, answered chan struct{}) {
	defer client.Close()
	defer server.Close()
	if _, err := message(client, server, 0); err != nil { // the startup message has no kind
		return
	}
	for {
		kind := make([]byte, 1)
		if _, err := io.ReadFull(client, kind); err != nil {
			return
		}
		text, err := message(client, nil, kind[0])
		if err != nil {
			return
		}
		switch p.ask(kind[0], text[min(5, len(text)):]) {
		case cut:
			return
		case hide:
			close(hidden)
			if _, err := server.Write(text); err != nil {
				return
			}
			<-answered
			return
		case late:
			p.late.Add(1)
			defer p.late.Done()
			client.Close()
			p.mu.Lock()
			busy := p.busy
			p.mu.Unlock()
			<-busy
			if _, err := server.Write(text); err != nil {
				return
			}
			<-answered
			return
		}
		if _, err := server.Write(text); err != nil {
			return
		}
	}
}

// message reads a message whose kind was read, and writes it to w unless that is nil.
func message(r io.Reader, w io.Writer, kind byte) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	all := make([]byte, binary.BigEndian.Uint32(head)-4)
	if _, err := io.ReadFull(r, all); err != nil {
		return nil, err
	}
	all = append(head, all...)
	if kind != 0 {
		all = append([]byte{kind}, all...)
	}
	if w != nil {
		_, err := w.Write(all)
		return all, err
	}
	return all, nil
}

// downward copies the server's messages to the client, until they are to be lost.
func downward(client, server net.Conn, hidden, answered chan struct{}) {
	defer close(answered)
	defer client.Close()
	for {
		kind := make([]byte, 1)
		if _, err := io.ReadFull(server, kind); err != nil {
			return
		}
		text, err := message(server, nil, kind[0])
		if err != nil {
			return
		}
		select {
		case <-hidden:
			if kind[0] == 'Z' { // it is done
				return
			}
			continue
		default:
		}
		if _, err := client.Write(text); err != nil {
			return
		}
	}
}
