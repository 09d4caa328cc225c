package front

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/egress"
)

func TestClientThatDoesNotRead(t *testing.T) {
	e := egress.New(egress.Options{})
	defer e.Close()
	f := New(Options{Egress: e, WriteTime: time.Second})
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		for piece := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(piece)
		}
		ended <- err
	})}
	go srv.Serve(f.Listen(l))
	defer srv.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the answer is still being written")
	}
}

func TestClientIP(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.1/32")}
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "203.0.113.7:4711", nil, "203.0.113.7"},
		{"a stranger's header is not believed", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		{"one proxy", "10.1.1.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"what the client wrote itself is not believed", "10.1.1.1:80", []string{"192.0.2.66, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.1.1.1:80", []string{"198.51.100.1, 10.2.2.2"}, "198.51.100.1"},
		{"two headers", "10.1.1.1:80", []string{"192.0.2.66", "198.51.100.1"}, "198.51.100.1"},
		{"all trusted", "127.0.0.1:80", []string{"10.9.9.9"}, "10.9.9.9"},
		{"nonsense", "10.1.1.1:80", []string{"unknown"}, "10.1.1.1"},
		{"mapped", "[::ffff:203.0.113.7]:80", nil, "203.0.113.7"},
		{"IPv6", "[2001:db8::1]:80", nil, "2001:db8::1"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		if got := ClientIP(r, trusted); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestBearer(t *testing.T) {
	for in, want := range map[string]string{"Bearer abc": "abc", "bearer  abc ": "abc", "Basic abc": "", "Bearer": "", "": ""} {
		if got := bearer(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
