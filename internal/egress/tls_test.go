package egress

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"testing"
)

// rawTLS is raw with TLS; serve sees the plaintext side, and the wire below it.
func rawTLS(t *testing.T, cfg *tls.Config, serve func(n int, p *peer, w *wire)) (s *rawServer, roots *x509.CertPool) {
	h := httptest.NewTLSServer(echo)
	t.Cleanup(h.Close)
	cfg.Certificates = h.TLS.Certificates
	roots = x509.NewCertPool()
	roots.AddCert(h.Certificate())
	s = raw(t, func(n int, p *peer) {
		w := &wire{Conn: p.Conn}
		w.tls = tls.Server(w, cfg)
		if w.tls.Handshake() == nil {
			serve(n, &peer{p.t, w.tls, bufio.NewReader(w.tls)}, w)
		}
	})
	return s, roots
}

func (s *rawServer) https() string { return "https://" + s.Addr().String() }

func TestTLSVerifies(t *testing.T) {
	h := httptest.NewUnstartedServer(echo)
	h.Config.ErrorLog = log.New(io.Discard, "", 0)
	h.StartTLS()
	defer h.Close()
	roots := x509.NewCertPool()
	roots.AddCert(h.Certificate())
	tests := []struct {
		name string
		cfg  *tls.Config
		ok   bool
	}{
		{"system roots", nil, false},
		{"own roots", &tls.Config{RootCAs: roots}, true},
		{"wrong name", &tls.Config{RootCAs: roots, ServerName: "other.test"}, false},
		{"told not to", &tls.Config{InsecureSkipVerify: true}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := fetch(endpoint(t, local(t), h.URL, EndpointOptions{TLS: tt.cfg}), post("x"))
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrNotSent) {
				t.Error(err)
			}
		})
	}
}

func TestTLSProtocol(t *testing.T) {
	s, roots := rawTLS(t, &tls.Config{NextProtos: []string{"mqtt"}}, func(_ int, p *peer, _ *wire) { p.gone() })
	_, _, err := fetch(endpoint(t, local(t), s.https(), EndpointOptions{TLS: &tls.Config{RootCAs: roots}}), post("x"))
	if !errors.Is(err, ErrNotSent) {
		t.Error("a server of another protocol:", err)
	}
}

func TestTLSResumes(t *testing.T) {
	resumed := make(chan bool, 2)
	s, roots := rawTLS(t, &tls.Config{}, func(_ int, p *peer, w *wire) {
		p.request()
		resumed <- w.tls.ConnectionState().DidResume
		p.say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
	})
	e := endpoint(t, local(t), s.https(), EndpointOptions{TLS: &tls.Config{RootCAs: roots}})
	for i := range 2 {
		if _, body, err := fetch(e, post("x")); body != "hi" || err != nil {
			t.Fatal(body, err)
		}
		if got := receive(t, resumed); got != (i == 1) {
			t.Errorf("connection %d resumed: %v", i+1, got)
		}
	}
}

// TestTLSUnsolicited: a record on an idle connection, whether it came with the answer or later.
func TestTLSUnsolicited(t *testing.T) {
	for _, when := range []string{"with the answer", "later"} {
		t.Run(when, func(t *testing.T) {
			read, extra := make(chan bool), make(chan bool)
			s, roots := rawTLS(t, &tls.Config{}, func(n int, p *peer, w *wire) {
				for {
					if _, _, ok := p.request(); !ok {
						return
					}
					w.cork = when == "with the answer"
					p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n))
					if n > 1 {
						w.flush()
						continue
					}
					if when == "later" {
						<-read
					}
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
					w.flush()
					if when == "later" {
						extra <- true
					}
				}
			})
			e := endpoint(t, local(t), s.https(), EndpointOptions{TLS: &tls.Config{RootCAs: roots}})
			if _, body, err := fetch(e, post("x")); body != "1" || err != nil {
				t.Fatal(body, err)
			}
			if when == "later" {
				read <- true
				<-extra
			}
			if _, body, err := fetch(e, post("x")); body != "2" || err != nil {
				t.Fatal(body, err)
			}
		})
	}
}

// TestTLSTrickle: records that arrive byte by byte.
func TestTLSTrickle(t *testing.T) {
	s, roots := rawTLS(t, &tls.Config{}, func(_ int, p *peer, w *wire) {
		w.trickle = true
		for {
			if _, _, ok := p.request(); !ok {
				return
			}
			p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 20 {
				p.say("5\r\nhello\r\n")
			}
			p.say("0\r\n\r\n")
		}
	})
	e := endpoint(t, local(t), s.https(), EndpointOptions{TLS: &tls.Config{RootCAs: roots}})
	for range 2 {
		if _, body, err := fetch(e, post("x")); body != repeat("hello", 20) || err != nil {
			t.Fatal(body, err)
		}
	}
}

// wire writes one byte at a time, or, corked, nothing until flush.
type wire struct {
	net.Conn
	tls           *tls.Conn
	trickle, cork bool
	held          []byte
}

func (w *wire) Write(p []byte) (int, error) {
	if w.cork {
		w.held = append(w.held, p...)
		return len(p), nil
	}
	if !w.trickle {
		return w.Conn.Write(p)
	}
	for i := range p {
		if _, err := w.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func (w *wire) flush() {
	if len(w.held) > 0 {
		_, _ = w.Conn.Write(w.held)
	}
	w.cork, w.held = false, nil
}
