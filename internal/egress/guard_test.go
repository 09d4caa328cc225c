package egress

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestGuard(t *testing.T) {
	allow, err := ParsePrefixes([]string{"10.1.0.0/16", "::ffff:10.2.0.0/112", "fd00::5"})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		addr string
		ok   bool
	}{
		{"1.1.1.1", true}, {"172.15.255.255", true}, {"172.32.0.1", true}, {"100.63.0.1", true}, {"100.128.0.1", true},
		{"2606:4700::1111", true}, {"::ffff:8.8.8.8", true}, {"64:ff9b::8.8.8.8", true}, {"2002:808:808::1", true},
		{"10.1.2.3", true}, {"::ffff:10.1.2.3", true}, {"10.2.9.9", true}, {"fd00::5", true},

		{"10.0.0.1", false}, {"10.3.0.1", false}, {"127.0.0.1", false}, {"127.9.9.9", false}, {"0.0.0.0", false}, {"0.1.2.3", false},
		{"172.16.0.1", false}, {"172.31.255.255", false}, {"192.168.1.1", false}, {"100.64.0.1", false}, {"100.100.100.200", false},
		{"169.254.169.254", false}, {"168.63.129.16", false}, {"192.0.0.192", false}, {"198.18.0.1", false},
		{"224.0.0.1", false}, {"239.1.1.1", false}, {"240.0.0.1", false}, {"255.255.255.255", false},
		{"192.0.2.1", false}, {"198.51.100.1", false}, {"203.0.113.1", false}, {"192.88.99.1", false},
		{"::", false}, {"::1", false}, {"::127.0.0.1", false}, {"::ffff:127.0.0.1", false}, {"::ffff:169.254.169.254", false},
		{"fe80::1", false}, {"fe80::1%eth0", false}, {"fec0::1", false}, {"fc00::1", false}, {"fd00:ec2::254", false}, {"ff02::1", false},
		{"64:ff9b::127.0.0.1", false}, {"64:ff9b::a9fe:a9fe", false}, {"64:ff9b:1::1", false},
		{"2002:7f00:1::1", false}, {"2002:a9fe:a9fe::", false}, {"2001::1", false}, {"2001:db8::1", false}, {"3fff::1", false}, {"100::1", false},
		{"2606:4700::5efe:10.0.0.1", false}, {"2606:4700::200:5efe:192.168.0.1", false},
	}
	g := Guard{Allow: allow}
	for _, tt := range tests {
		err := g.Check(netip.MustParseAddr(tt.addr))
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRefusedAddress) {
			t.Errorf("%s: %v", tt.addr, err)
		}
	}
	if g.Check(netip.Addr{}) == nil {
		t.Error("no address is allowed")
	}
	for _, bad := range []string{"", "10.0.0.0/33", "host", "1.2.3"} {
		if _, err := ParsePrefixes([]string{bad}); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestGuardDials(t *testing.T) {
	s := httptest.NewServer(echo)
	defer s.Close()
	for _, addr := range []string{s.Listener.Addr().String(), "localhost:80", "0.0.0.0:80", "[::1]:80", "[::ffff:127.0.0.1]:80"} {
		if _, err := (Guard{}).Dial(context.Background(), "tcp", addr); !errors.Is(err, ErrRefusedAddress) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	if _, err := (Guard{Allow: Loopback()}).Dial(context.Background(), "unix", "/run/x"); !errors.Is(err, ErrRefusedAddress) {
		t.Error("unix socket:", err)
	}
	c := New(Options{})
	defer c.Close()
	_, _, err := fetch(endpoint(t, c, s.URL, EndpointOptions{}), post("x"))
	if !errors.Is(err, ErrRefusedAddress) || !errors.Is(err, ErrNotSent) || !problem.Is(err, problem.Upstream) {
		t.Error(err)
	}
}

func TestHTTPIsGuarded(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	var agent string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent = r.Header.Get("User-Agent")
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		}
	}))
	defer s.Close()
	c := New(Options{Guard: Guard{Allow: Loopback()}, UserAgent: "Tollgate/1"})
	defer c.Close()
	resp, err := c.HTTP().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if agent != "Tollgate/1" {
		t.Errorf("User-Agent %q", agent)
	}
	if _, err := c.HTTP().Get(s.URL + "/away"); !errors.Is(err, ErrRefusedAddress) {
		t.Error("redirect:", err)
	}
}
