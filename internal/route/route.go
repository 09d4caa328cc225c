// Package route decides which target serves a request, and in which order the others are tried.
//
// A product's releases (stable, canary, blue, green) share its requests by weight; within a release
// targets are ordered by priority, and among those of equal priority chosen by weight. A target whose
// circuit is open, whose credentials all cool down, or that this request has tried is not a
// candidate. What became of an attempt comes back by [Tried.Report], exactly once.
//
// The package knows neither the catalogue nor HTTP: it is given plain releases, and told outcomes.
// Invariants: Pick and Report do not allocate, block or start anything; the choice is a function of
// the request's hash and the health, so that it can be repeated; an open circuit lets one probe
// through at a time; health belongs to a target's id and survives a rebuild of the tables.
package route

import (
	"encoding/binary"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Release is a line of a product's traffic.
type Release struct {
	Name    string // version id or name, for the reader
	Share   int    // weight among the releases; zero receives nothing, not even as a fallback
	Targets []Target
}

// Target is one choice: an endpoint that serves the product.
type Target struct {
	ID          string
	Priority    int      // lower is tried first
	Weight      int      // among targets of equal priority; zero receives nothing
	Credentials []string // ids, each cooled down on its own; may be empty
	Data        any      // the caller's own, handed back by Pick
}

// Options tune the circuits; zero values mean the defaults given.
type Options struct {
	Failures     int           // consecutive failures that open a circuit: 5
	Ratio        float64       // or this share of failures: 0.5
	RatioMin     int           // of at least so many attempts: 20
	Window       time.Duration // within this time, to twice as much: 10 s
	Backoff      time.Duration // how long a circuit stays open, doubled at each failed probe: 1 s
	MaxBackoff   time.Duration // at the most: 1 min
	ProbeTimeout time.Duration // after which a probe that never reported is given up: 5 min
}

func (o Options) withDefaults() Options {
	or := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	if o.Failures <= 0 {
		o.Failures = 5
	}
	if o.Ratio <= 0 {
		o.Ratio = 0.5
	}
	if o.RatioMin <= 0 {
		o.RatioMin = 20
	}
	or(&o.Window, 10*time.Second)
	or(&o.Backoff, time.Second)
	or(&o.MaxBackoff, time.Minute)
	or(&o.ProbeTimeout, 5*time.Minute)
	return o
}

// Router holds the tables of all products and the health of all targets. Safe for concurrent use.
type Router struct {
	o      Options
	tables atomic.Pointer[map[string]*Table]

	mu      sync.Mutex // over Rebuild and States
	targets map[string]*health
	creds   map[string]*cooldown
}

// New returns a Router without tables.
func New(o Options) *Router {
	r := &Router{o: o.withDefaults(), targets: map[string]*health{}, creds: map[string]*cooldown{}}
	r.tables.Store(&map[string]*Table{})
	return r
}

// Table returns the table of the product, or nil.
func (r *Router) Table(product string) *Table { return (*r.tables.Load())[product] }

// Rebuild replaces all tables. Targets and credentials keep their health by id; those that are no
// longer named are forgotten. On an error nothing changes.
func (r *Router) Rebuild(products map[string][]Release) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := builder{o: &r.o, oldTargets: r.targets, oldCreds: r.creds, targets: map[string]*health{}, creds: map[string]*cooldown{}}
	tables := make(map[string]*Table, len(products))
	for product, releases := range products {
		t, err := b.table(releases)
		if err != nil {
			return fmt.Errorf("route: product %s: %w", product, err)
		}
		tables[product] = t
	}
	r.targets, r.creds = b.targets, b.creds
	r.tables.Store(&tables)
	return nil
}

// MaxChoices is how many pairs of target and credential a table can have.
const MaxChoices = 256

// Table is the routes of one product. Immutable but for the health it points to.
type Table struct {
	releases []release
	total    uint64 // sum of shares
}

type release struct {
	upTo    uint64 // shares up to and including this release
	targets []target
}

// target is a Target in its place: sorted by priority, with its health.
type target struct {
	Target
	first  int // index of its first choice among the table's
	health *health
	creds  []*cooldown // at least one; a target without credentials has one of its own
}

type builder struct {
	o                   *Options
	oldTargets, targets map[string]*health
	oldCreds, creds     map[string]*cooldown
}

func (b *builder) table(releases []Release) (*Table, error) {
	t := &Table{}
	choices := 0
	for _, in := range releases {
		if in.Share <= 0 {
			continue
		}
		t.total += uint64(in.Share)
		out := release{upTo: t.total}
		for _, x := range in.Targets {
			if x.Weight <= 0 {
				continue
			}
			x := target{Target: x, first: choices, health: keep(b.oldTargets, b.targets, x.ID)}
			if x.health.o == nil {
				x.health.o = b.o
			}
			for _, c := range x.Credentials {
				x.creds = append(x.creds, keep(b.oldCreds, b.creds, c))
			}
			if len(x.creds) == 0 {
				x.creds = []*cooldown{&x.health.cooldown}
			}
			choices += len(x.creds)
			out.targets = append(out.targets, x)
		}
		sort.SliceStable(out.targets, func(i, j int) bool { return out.targets[i].Priority < out.targets[j].Priority })
		t.releases = append(t.releases, out)
	}
	if choices > MaxChoices {
		return nil, fmt.Errorf("%d pairs of target and credential, at most %d are possible", choices, MaxChoices)
	}
	return t, nil
}

// keep carries the state of id from one generation to the next, or begins it.
func keep[T any](old, next map[string]*T, id string) *T {
	v := next[id]
	if v == nil {
		if v = old[id]; v == nil {
			v = new(T)
		}
		next[id] = v
	}
	return v
}

// Tried is a request's way through a table: what it has tried, and the attempt under way. The zero
// value must be begun before use. It is not safe for concurrent use.
type Tried struct {
	request, split uint64
	attempts       uint64
	bits           [MaxChoices / 64]uint64

	current    *target // the attempt under way, or nil
	credential int
	probe      int64 // when not zero, the attempt is a probe that began then
}

// Hash makes a well-mixed number of an id.
func Hash(id [16]byte) uint64 {
	return mix(binary.LittleEndian.Uint64(id[:8]) ^ mix(binary.LittleEndian.Uint64(id[8:])))
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Begin starts the way of a request. split decides the release: the request's own hash splits by
// request, the consumer's keeps each consumer on one release.
func (tr *Tried) Begin(request, split uint64) { *tr = Tried{request: request, split: split} }

// Attempts returns how many targets have been picked since Begin.
func (tr *Tried) Attempts() int { return int(tr.attempts) }

// Target returns the target of the attempt under way, or nil.
func (tr *Tried) Target() *Target {
	if tr.current == nil {
		return nil
	}
	return &tr.current.Target
}

// Credential returns the index into Target.Credentials of the credential to use, or -1 when the
// target has none.
func (tr *Tried) Credential() int {
	if tr.current == nil || len(tr.current.Credentials) == 0 {
		return -1
	}
	return tr.credential
}

func (tr *Tried) has(i int) bool { return tr.bits[i/64]&(1<<(i%64)) != 0 }
func (tr *Tried) add(i int)      { tr.bits[i/64] |= 1 << (i % 64) }

// Pick chooses the next target for the request at now, or reports that none is left: first those of
// the release that the split gives, then those of the others. An attempt that was not reported is
// taken for one whose client left.
func (t *Table) Pick(tr *Tried, now time.Time) (*Target, bool) {
	if tr.current != nil {
		tr.Report(Gone, 0, 0, now)
	}
	if t == nil || t.total == 0 {
		return nil, false
	}
	ns := now.UnixNano()
	at := mix(tr.split) % t.total
	first := 0
	for t.releases[first].upTo <= at {
		first++
	}
	if tr.pick(&t.releases[first], ns) {
		return &tr.current.Target, true
	}
	for i := range t.releases {
		if i != first && tr.pick(&t.releases[i], ns) {
			return &tr.current.Target, true
		}
	}
	return nil, false
}

// pick tries the groups of equal priority of one release in turn.
func (tr *Tried) pick(r *release, now int64) bool {
	for lo := 0; lo < len(r.targets); {
		hi := lo + 1
		for hi < len(r.targets) && r.targets[hi].Priority == r.targets[lo].Priority {
			hi++
		}
		if tr.pickOf(r.targets[lo:hi], now) {
			return true
		}
		lo = hi
	}
	return false
}

// pickOf chooses by weight among the candidates of a group. Where another request has just become the
// probe of the chosen one, the choice is made again without it.
func (tr *Tried) pickOf(group []target, now int64) bool {
	for {
		var total uint64
		for i := range group {
			if group[i].candidate(tr, now) {
				total += uint64(group[i].Weight)
			}
		}
		if total == 0 {
			return false
		}
		at := mix(tr.request^(tr.attempts+1)*0xd1342543de82ef95) % total
		for i := range group {
			x := &group[i]
			if !x.candidate(tr, now) {
				continue
			}
			if w := uint64(x.Weight); at >= w {
				at -= w
				continue
			}
			if tr.claim(x, now) {
				return true
			}
			break
		}
	}
}

// candidate reports whether x has a credential that may be tried, and a circuit that lets it.
func (x *target) candidate(tr *Tried, now int64) bool {
	return x.health.admits(now) && x.choice(tr, now) >= 0
}

// choice returns the credential to use: requests spread over them, skipping those that were tried or
// cool down; -1 if none is left.
func (x *target) choice(tr *Tried, now int64) int {
	n := len(x.creds)
	start := 0
	if n > 1 {
		start = int(mix(tr.request+1) % uint64(n))
	}
	for i := range n {
		c := (start + i) % n
		if !tr.has(x.first+c) && x.creds[c].until.Load() <= now {
			return c
		}
	}
	return -1
}

// claim makes x the attempt under way, and its probe if the circuit is open.
func (tr *Tried) claim(x *target, now int64) bool {
	c := x.choice(tr, now)
	if c < 0 {
		return false
	}
	probe, ok := x.health.enter(now)
	if !ok {
		return false
	}
	tr.add(x.first + c)
	tr.current, tr.credential, tr.probe = x, c, probe
	tr.attempts++
	return true
}

// RetryAfter returns when a target of t may be tried again at the earliest: zero if one is free now
// or there is none at all.
func (t *Table) RetryAfter(now time.Time) time.Duration {
	ns, least := now.UnixNano(), int64(-1)
	if t == nil {
		return 0
	}
	for i := range t.releases {
		for j := range t.releases[i].targets {
			x := &t.releases[i].targets[j]
			free := x.creds[0].until.Load()
			for _, c := range x.creds[1:] {
				free = min(free, c.until.Load())
			}
			wait := max(free, x.health.until.Load(), ns) - ns
			if least < 0 || wait < least {
				least = wait
			}
		}
	}
	return time.Duration(max(least, 0))
}

// NoTarget is the error for a request that found no target to try at all.
func (t *Table) NoTarget(now time.Time) *problem.Error {
	wait := max(t.RetryAfter(now), time.Second)
	return problem.New(problem.Unavailable, "route.no_target", "no upstream can take this request now; try again later").After(wait)
}
