// Package auth turns a credential into a [Principal] and says what a principal may do.
//
// Keys ("sk-tg-inf-…" to call products, "sk-tg-mgt-…" to manage) are random; only their SHA-256 is
// stored. [Store] keeps them; [Directory] holds every live key in memory for the hot path, where a
// lookup takes no lock and allocates nothing. A change holds in the process that made it when the
// method returns, and in every other within two seconds.
//
// Invariants: a key keeps its id through rotation, so that limits, budgets and usage stay with it;
// the role of a management key never exceeds that of the member responsible for it; a management
// key cannot call products and an inference key cannot manage.
//
// The package enforces neither rates nor budgets: it carries their numbers to the quota and settle
// rooms.
package auth

import (
	"embed"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room. They need those of the rooms org and audit.
var Migrations = db.Migrations{Room: "auth", FS: migrations}

// Kind is what a key is for.
type Kind string

// The kinds, as they stand in the key itself.
const (
	Inference  Kind = "inf" // calls products
	Management Kind = "mgt" // uses the management API
)

// Principal is who a request acts for. It does not change: an edit of the key makes a new one, while
// the state of its organisation is shared and current.
type Principal struct {
	KeyID   string
	OrgID   string
	OrgName string
	UserID  string // the member responsible for the key; "" for none
	KeyUUID db.UUID
	OrgUUID db.UUID
	Kind    Kind
	Role    org.Role // of a management key
	Limits  *Limits  // nil: none
	Budgets []string // ids of the key's own budgets, which the room settle keeps

	org     *orgState
	revoked bool
	rev     int64
	used    atomic.Int64 // Unix seconds of the last use noted
}

// Parts returns the parts that the principal's organisation plays now.
func (p *Principal) Parts() org.Parts {
	if p.org == nil {
		return 0
	}
	return org.Parts(p.org.parts.Load())
}

// orgState is what the principals of one organisation share.
type orgState struct {
	id, name  string
	uuid      db.UUID
	parts     atomic.Uint32
	suspended atomic.Bool
	rev       int64 // under Directory.mu
}

// Limits restrict a key. Empty lists and zeros do not restrict.
type Limits struct {
	Products    []string       `json:"products"`  // product ids
	Models      []string       `json:"models"`    // model names; a trailing * stands for any ending
	Networks    []netip.Prefix `json:"networks"`  // where requests may come from
	Referrers   []string       `json:"referrers"` // hosts, or *.host, of the page that calls; only browsers are held by it
	Requests    int64          `json:"requests_per_minute"`
	Tokens      int64          `json:"tokens_per_minute"`
	Concurrency int64          `json:"concurrency"`
}

func (l *Limits) empty() bool {
	return len(l.Products)+len(l.Models)+len(l.Networks)+len(l.Referrers) == 0 && l.Requests == 0 && l.Tokens == 0 && l.Concurrency == 0
}

const maxList = 200 // entries of one list of limits

// check validates limits and brings them into their normal form.
func (l *Limits) check() error {
	bad := func(field, format string, args ...any) error {
		return problem.New(problem.Unprocessable, "auth.limits", "the key's limits are not valid").WithField(field, format, args...)
	}
	if max(len(l.Products), len(l.Models), len(l.Networks), len(l.Referrers)) > maxList {
		return bad("limits", "a list has more than %d entries", maxList)
	}
	if min(l.Requests, l.Tokens, l.Concurrency) < 0 {
		return bad("limits", "rates and concurrency cannot be negative; 0 means no limit")
	}
	for _, p := range l.Products {
		if _, err := db.ParseID(p, "prd"); err != nil {
			return bad("limits.products", "%.60q is not a product id", p)
		}
	}
	for _, m := range l.Models {
		if i := strings.IndexByte(m, '*'); m == "" || len(m) > 256 || i >= 0 && i != len(m)-1 {
			return bad("limits.models", "%.60q: a model name, or the beginning of one followed by *", m)
		}
	}
	for i, n := range l.Networks {
		if !n.IsValid() {
			return bad("limits.networks", "entry %d is not an address range", i+1)
		}
		if n.Addr().Is4In6() {
			if n.Bits() < 96 {
				return bad("limits.networks", "%s mixes address families", n)
			}
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		l.Networks[i] = n.Masked()
	}
	for i, r := range l.Referrers {
		host := strings.TrimPrefix(r, "*.")
		if host == "" || len(host) > 253 || strings.ContainsAny(host, "*/:@ ?#") {
			return bad("limits.referrers", "%.60q: a host like app.example.com, or *.example.com", r)
		}
		l.Referrers[i] = strings.ToLower(r)
	}
	return nil
}

// Allowed checks where a request comes from: its address, and the Origin or Referer that it carries.
func (p *Principal) Allowed(remote netip.Addr, referrer string) error {
	l := p.Limits
	if l == nil {
		return nil
	}
	if len(l.Networks) > 0 && !inside(l.Networks, remote.Unmap().WithZone("")) {
		return problem.New(problem.Forbidden, "auth.address", "this key may not be used from the address %s", remote)
	}
	if len(l.Referrers) > 0 && !refers(l.Referrers, referrer) {
		return problem.New(problem.Forbidden, "auth.referrer", "this key may only be used from the web pages that it is restricted to")
	}
	return nil
}

func inside(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// refers reports whether the referrer's host is one of the hosts.
func refers(hosts []string, referrer string) bool {
	_, rest, ok := strings.Cut(referrer, "://")
	if !ok {
		return false
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		rest = rest[:i]
	}
	for _, h := range hosts {
		if strings.EqualFold(h, rest) {
			return true
		}
		if h[0] == '*' && len(rest) > len(h)-1 && strings.EqualFold(rest[len(rest)-len(h)+1:], h[1:]) {
			return true
		}
	}
	return false
}

// AllowsModel reports whether the key may call the model, by the name that the caller used or the
// exact id. It does not allocate.
func (p *Principal) AllowsModel(model []byte) bool {
	if p.Limits == nil || len(p.Limits.Models) == 0 {
		return true
	}
	for _, m := range p.Limits.Models {
		if n := len(m) - 1; m[n] == '*' && len(model) >= n && string(model[:n]) == m[:n] || m == string(model) {
			return true
		}
	}
	return false
}

// AllowsProduct reports whether the key may use the product with the id.
func (p *Principal) AllowsProduct(id string) bool {
	if p.Limits == nil || len(p.Limits.Products) == 0 {
		return true
	}
	for _, allowed := range p.Limits.Products {
		if allowed == id {
			return true
		}
	}
	return false
}

// Require fails unless the principal's key is of the kind.
func (p *Principal) Require(k Kind) error {
	switch {
	case p.Kind == k:
		return nil
	case k == Inference:
		return problem.New(problem.Forbidden, "auth.not_inference", "a management key cannot call products: use an inference key (sk-tg-inf-…)")
	}
	return problem.New(problem.Forbidden, "auth.not_management", "an inference key cannot manage: use a management key (sk-tg-mgt-…)")
}
