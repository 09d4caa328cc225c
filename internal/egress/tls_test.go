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

// rawTLS is raw with TLS, of which every byte travels alone; serve sees the plaintext side.
func rawTLS(t *testing.T, cfg *tls.Config, serve func(n int, p *peer, c *tls.Conn)) (s *rawServer, roots *x509.CertPool) {
	h := httptest.NewTLSServer(echo)
	t.Cleanup(h.Close)
	cfg.Certificates = h.TLS.Certificates
	roots = x509.NewCertPool()
	roots.AddCert(h.Certificate())
	s = raw(t, func(n int, p *peer) {
		c := tls.Server(trickle{p.Conn}, cfg)
		if c.Handshake() == nil {
			serve(n, &peer{p.t, c, bufio.NewReader(c)}, c)
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
	s, roots := rawTLS(t, &tls.Config{NextProtos: []string{"mqtt"}}, func(_ int, p *peer, _ *tls.Conn) { p.gone() })
	_, _, err := fetch(endpoint(t, local(t), s.https(), EndpointOptions{TLS: &tls.Config{RootCAs: roots}}), post("x"))
	if !errors.Is(err, ErrNotSent) {
		t.Error("a server of another protocol:", err)
	}
}

func TestTLSResumes(t *testing.T) {
	resumed := make(chan bool, 2)
	s, roots := rawTLS(t, &tls.Config{}, func(_ int, p *peer, c *tls.Conn) {
		p.request()
		resumed <- c.ConnectionState().DidResume
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
			s, roots := rawTLS(t, &tls.Config{}, func(n int, p *peer, _ *tls.Conn) {
				for {
					if _, _, ok := p.request(); !ok {
						return
					}
					p.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n))
					if n > 1 {
						continue
					}
					if when == "later" {
						<-read
					}
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
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
			if _, body, err := fetch(e, post("x")); body == "secret" || err != nil {
				t.Fatal(body, err)
			}
		})
	}
}

// TestTLSTrickle: records that arrive byte by byte.
func TestTLSTrickle(t *testing.T) {
	s, roots := rawTLS(t, &tls.Config{}, func(_ int, p *peer, _ *tls.Conn) {
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

// trickle writes one byte at a time.
type trickle struct{ net.Conn }

func (t trickle) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := t.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}
