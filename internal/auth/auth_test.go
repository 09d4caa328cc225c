package auth

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func ptr[T any](v T) *T { return &v }

// wantID fails unless err is the problem of the id.
func wantID(t *testing.T, err error, id string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.ID != id {
		t.Fatalf("got %v, want %s", err, id)
	}
}

func TestAllowed(t *testing.T) {
	nets := &Limits{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}}
	refs := &Limits{Referrers: []string{"app.example.com", "*.example.org"}}
	for _, tc := range []struct {
		name           string
		limits         *Limits
		addr, referrer string
		want           string
	}{
		{"no limits", nil, "198.51.100.1", "", ""},
		{"inside", nets, "192.0.2.9", "", ""},
		{"inside, mapped", nets, "::ffff:192.0.2.9", "", ""},
		{"inside, v6", nets, "2001:db8::1", "", ""},
		{"outside", nets, "198.51.100.1", "", "auth.address"},
		{"no address", nets, "", "", "auth.address"},
		{"host", refs, "192.0.2.1", "https://app.example.com/page?x#y", ""},
		{"host in capitals, port", refs, "192.0.2.1", "https://APP.Example.com:8443", ""},
		{"subdomain", refs, "192.0.2.1", "http://a.b.example.org/", ""},
		{"bare domain of a wildcard", refs, "192.0.2.1", "http://example.org/", "auth.referrer"},
		{"ends alike", refs, "192.0.2.1", "http://evilexample.org/", "auth.referrer"},
		{"in the path", refs, "192.0.2.1", "http://evil.test/app.example.com", "auth.referrer"},
		{"in the user", refs, "192.0.2.1", "http://app.example.com@evil.test/", "auth.referrer"},
		{"none", refs, "192.0.2.1", "", "auth.referrer"},
		{"no scheme", refs, "192.0.2.1", "app.example.com", "auth.referrer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var a netip.Addr
			if tc.addr != "" {
				a = netip.MustParseAddr(tc.addr)
			}
			err := (&Principal{Limits: tc.limits}).Allowed(a, tc.referrer)
			if tc.want != "" {
				wantID(t, err, tc.want)
			} else if err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAllowsModelAndProduct(t *testing.T) {
	p := &Principal{Limits: &Limits{Models: []string{"gpt-4o", "qwen/*"}, Products: []string{"prd_a"}}}
	for model, want := range map[string]bool{"gpt-4o": true, "gpt-4o-mini": false, "qwen/7b": true, "qwen/": true, "qwen": false, "": false} {
		if p.AllowsModel([]byte(model)) != want {
			t.Error(model)
		}
	}
	if !p.AllowsProduct("prd_a") || p.AllowsProduct("prd_b") || !(&Principal{}).AllowsModel([]byte("x")) || !(&Principal{}).AllowsProduct("x") {
		t.Error("products, or no limits")
	}
}

func TestLimitsAreChecked(t *testing.T) {
	many := make([]string, maxList+1)
	for i := range many {
		many[i] = "m"
	}
	for name, l := range map[string]Limits{
		"negative":        {Requests: -1},
		"negative tokens": {Tokens: -1},
		"many":            {Models: many},
		"product":         {Products: []string{"x"}},
		"star inside":     {Models: []string{"a*b"}},
		"empty model":     {Models: []string{""}},
		"no network":      {Networks: []netip.Prefix{{}}},
		"mixed families":  {Networks: []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr("::ffff:1.2.3.4"), 8)}},
		"referrer url":    {Referrers: []string{"https://a.example"}},
		"referrer star":   {Referrers: []string{"*."}},
		"long referrer":   {Referrers: []string{strings.Repeat("a", 300)}},
	} {
		if err := l.check(); !problem.Is(err, problem.Unprocessable) || len(problem.As(err).Fields) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := Limits{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("::ffff:10.0.0.1/104")}, Referrers: []string{"A.Example"}}
	if err := l.check(); err != nil || l.Networks[0].String() != "192.0.2.0/24" || l.Networks[1].String() != "10.0.0.0/8" || l.Referrers[0] != "a.example" {
		t.Errorf("%+v %v", l, err)
	}
}
