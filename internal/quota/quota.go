// Package quota limits rates: requests and tokens per period, and calls at the same time, for the
// subjects that a request belongs to (its key, organisation, subscription and product).
//
// [Limiter.Admit] asks all limits of all subjects at once and takes from all or none. Tokens are
// taken as an estimate, and [Limiter.Settle] corrects them to the actual and gives the call's slots
// back, exactly once. The figures of the strictest limit are kept for the response's headers.
//
// It does not limit money (that is settle's), and it forgets on restart: a limit is a guard of the
// upstreams' capacity, not a promise that needs a disk. Invariants: admitting and settling start no
// goroutine or timer and do not allocate unless they refuse or meet a new subject; memory is bounded
// by the subjects that were active within their limits' periods.
package quota

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Scope says what kind of thing a subject is.
type Scope uint8

// The scopes.
const (
	Key Scope = iota
	Organisation
	Subscription
	Product
	Address // a client's network address
)

var scopeNames = [...]string{"key", "organisation", "subscription", "product", "address"}

// String returns the word for s.
func (s Scope) String() string {
	if int(s) < len(scopeNames) {
		return scopeNames[s]
	}
	return "subject"
}

// Limits are the limits of one subject. Zero values do not limit.
type Limits struct {
	Requests    Rate
	Tokens      Rate
	Concurrency int64 // calls at the same time
}

func (l *Limits) none() bool { return l.Requests.None() && l.Tokens.None() && l.Concurrency <= 0 }

// Subject is one thing that is limited. The state belongs to (Scope, ID); the limits may change from
// call to call and hold from then on.
type Subject struct {
	Scope  Scope
	ID     [16]byte
	Limits Limits
}

// MaxSubjects is how many subjects one request can have.
const MaxSubjects = 6

// Figure is what the strictest limit of a kind allows, for headers. Limit is zero where nothing limits.
type Figure struct {
	Limit     int64
	Period    time.Duration
	Remaining int64
	Reset     time.Duration // until the whole limit is free again
}

// stricter replaces f by the figure of a limit that leaves less.
func (f *Figure) stricter(r Rate, d Decision) {
	if f.Limit == 0 || d.Remaining < f.Remaining || d.Remaining == f.Remaining && d.Reset > f.Reset {
		*f = Figure{Limit: r.Limit, Period: r.Period, Remaining: d.Remaining, Reset: d.Reset}
	}
}

// Ticket is what a request holds of its limits between Admit and Settle. The zero value is ready, and
// can be used again once settled. It must not be copied.
type Ticket struct {
	Requests, Tokens Figure // as of Admit, also when it refused

	state    atomic.Uint32 // idle or admitted
	n        int
	estimate int64
	held     [MaxSubjects]held
}

const (
	idle uint32 = iota
	admitted
)

// held is one subject's part of a ticket.
type held struct {
	e      *entry
	tokens Rate
	taken  Bucket    // of tokens, as Take returned it
	shared *estimate // what the shared store took for tokens, or nil
}

// Limiter keeps the state of all subjects in memory, and in a store that nodes share if it was made by
// [NewShared]. Safe for concurrent use.
type Limiter struct {
	shards [nShards]shard
	seq    atomic.Uint64
	shared *shared // nil: this node's memory alone
}

// NewLimiter returns a Limiter of this process alone.
func NewLimiter() *Limiter {
	l := new(Limiter)
	for i := range l.shards {
		l.shards[i].entries = map[subjectKey]*entry{}
		l.shards[i].next = minSweep
	}
	return l
}

const (
	nShards  = 64
	minSweep = 256 // entries of a shard below which sweeping is not worth it
)

type subjectKey struct {
	id    [16]byte
	scope Scope
}

type shard struct {
	mu      sync.RWMutex
	entries map[subjectKey]*entry
	next    int // sweep before growing beyond this
	_       [24]byte
}

// entry is the state of one subject. Locks of several entries are taken in the order of seq.
type entry struct {
	seq      uint64
	mu       sync.Mutex
	dead     bool  // swept: look it up again
	inFlight int64 // tickets that hold a slot here and will settle
	clear    int64 // microseconds since the epoch from which both buckets are empty
	requests Bucket
	tokens   Bucket
}

// Admit takes one request, the estimated tokens and one slot from every limit of every subject, or
// nothing at all. It refuses with TooMany, with the time after which it is worth trying again. After
// a nil error Settle must follow. Subjects must be distinct.
func (l *Limiter) Admit(t *Ticket, subjects []Subject, tokens int64, now time.Time) error {
	if t.state.Load() != idle || len(subjects) > MaxSubjects {
		panic("quota: ticket in use, or too many subjects")
	}
	t.Requests, t.Tokens, t.n, t.estimate = Figure{}, Figure{}, 0, max(tokens, 0)
	us := now.UnixMicro()
	var limits [MaxSubjects]*Subject
	for !l.lock(t, subjects, &limits, us) {
	}
	r := t.decide(&limits, us)
	for i := range t.n {
		t.held[i].e.mu.Unlock()
	}
	if r.wait > 0 {
		t.n = 0
		return r.problem()
	}
	if l.shared != nil {
		if err := l.shared.admit(t, &limits, now); err != nil {
			l.undo(t, &limits, us)
			return err
		}
	}
	t.state.Store(admitted)
	return nil
}

// undo gives back what decide has just taken.
func (l *Limiter) undo(t *Ticket, limits *[MaxSubjects]*Subject, now int64) {
	for i := range t.n {
		h, e, s := &t.held[i], t.held[i].e, limits[i]
		e.mu.Lock()
		e.inFlight--
		if !s.Limits.Requests.None() {
			e.requests = e.requests.Refund(s.Limits.Requests, 1, e.requests, now)
		}
		if !s.Limits.Tokens.None() {
			e.tokens = e.tokens.Refund(s.Limits.Tokens, t.estimate, h.taken, now)
		}
		e.mu.Unlock()
	}
	t.n = 0
}

// lock finds the entries of the subjects that have limits and locks them in order. It reports false,
// holding nothing, when one was swept meanwhile.
func (l *Limiter) lock(t *Ticket, subjects []Subject, limits *[MaxSubjects]*Subject, now int64) bool {
	t.n = 0
	for i := range subjects {
		s := &subjects[i]
		if s.Limits.none() {
			continue
		}
		e, j := l.entry(s, now), t.n
		for ; j > 0 && t.held[j-1].e.seq > e.seq; j-- {
			t.held[j], limits[j] = t.held[j-1], limits[j-1]
		}
		if j > 0 && t.held[j-1].e == e {
			panic("quota: the same subject twice")
		}
		t.held[j], limits[j] = held{e: e}, s
		t.n++
	}
	for i := range t.n {
		e := t.held[i].e
		e.mu.Lock()
		if e.dead {
			for ; i >= 0; i-- {
				t.held[i].e.mu.Unlock()
			}
			return false
		}
	}
	return true
}

// refusal is the limit that refused and keeps the caller waiting longest.
type refusal struct {
	wait  time.Duration
	scope Scope
	kind  string
	limit int64
	rate  Rate
}

// slotWait is what a caller is told to wait for a slot, whose end nobody knows.
const slotWait = time.Second

// decide asks every limit, and if all agree takes from all. The entries are locked.
func (t *Ticket) decide(limits *[MaxSubjects]*Subject, now int64) (r refusal) {
	var requests, tokens [MaxSubjects]Bucket
	for i := range t.n {
		e, s := t.held[i].e, limits[i]
		if c := s.Limits.Concurrency; c > 0 && e.inFlight >= c && slotWait > r.wait {
			r = refusal{wait: slotWait, scope: s.Scope, kind: "concurrency", limit: c}
		}
		if rate := s.Limits.Requests; !rate.None() {
			var d Decision
			requests[i], d = e.requests.Take(rate, 1, now)
			t.Requests.stricter(rate, d)
			if !d.OK && d.Wait > r.wait {
				r = refusal{wait: d.Wait, scope: s.Scope, kind: "requests", limit: rate.Limit, rate: rate}
			}
		}
		if rate := s.Limits.Tokens; !rate.None() {
			var d Decision
			tokens[i], d = e.tokens.Take(rate, t.estimate, now)
			t.Tokens.stricter(rate, d)
			if !d.OK && d.Wait > r.wait {
				r = refusal{wait: d.Wait, scope: s.Scope, kind: "tokens", limit: rate.Limit, rate: rate}
			}
		}
	}
	if r.wait > 0 {
		return r
	}
	for i := range t.n {
		h, e, s := &t.held[i], t.held[i].e, limits[i]
		e.inFlight++
		if !s.Limits.Requests.None() {
			e.requests = requests[i]
			e.clear = max(e.clear, e.requests.clear(s.Limits.Requests))
		}
		if !s.Limits.Tokens.None() {
			h.tokens, h.taken = s.Limits.Tokens, tokens[i]
			e.tokens = tokens[i]
			e.clear = max(e.clear, e.tokens.clear(s.Limits.Tokens))
		}
	}
	return r
}

func (r *refusal) problem() error {
	switch r.kind {
	case "requests":
		return problem.New(problem.TooMany, "quota.requests", "limit of %d requests in %d s reached for this %s; try again in %d s",
			r.limit, seconds(r.rate.Period), r.scope.String(), seconds(r.wait)).After(r.wait)
	case "tokens":
		return problem.New(problem.TooMany, "quota.tokens", "limit of %d tokens in %d s reached for this %s; try again in %d s",
			r.limit, seconds(r.rate.Period), r.scope.String(), seconds(r.wait)).After(r.wait)
	}
	return problem.New(problem.TooMany, "quota.concurrency", "limit of %d calls at the same time reached for this %s",
		r.limit, r.scope.String()).After(r.wait)
}

// Settle ends what t holds: its slots come free, and the tokens taken as an estimate become the
// actual ones, by a refund or a debt. The request itself stays counted. Settling again, or a ticket
// that was refused, does nothing; of several concurrent calls one settles. Use the ticket again only
// when all have returned.
func (l *Limiter) Settle(t *Ticket, actual int64, now time.Time) {
	if !t.state.CompareAndSwap(admitted, idle) {
		return
	}
	us := now.UnixMicro()
	for i := range t.n {
		h := &t.held[i]
		e := h.e
		e.mu.Lock()
		e.inFlight--
		if !h.tokens.None() {
			_, _, burst := h.tokens.scaled()
			if over := max(actual, 0) - min(t.estimate, burst); over > 0 {
				e.tokens = e.tokens.Add(h.tokens, over, us)
				e.clear = max(e.clear, e.tokens.clear(h.tokens))
			} else if over < 0 {
				e.tokens = e.tokens.Refund(h.tokens, -over, h.taken, us)
			}
		}
		e.mu.Unlock()
		if h.shared != nil {
			l.shared.correct(h.shared, actual, now)
		}
		*h = held{}
	}
}

// shard spreads by the last byte of the id, which is random in UUIDs of any version.
func (l *Limiter) shard(s *Subject) *shard {
	return &l.shards[(s.ID[15]^byte(s.Scope)*37)%nShards]
}

// entry returns the state of s, making it if it is new.
func (l *Limiter) entry(s *Subject, now int64) *entry {
	k := subjectKey{s.ID, s.Scope}
	sh := l.shard(s)
	sh.mu.RLock()
	e := sh.entries[k]
	sh.mu.RUnlock()
	if e != nil {
		return e
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.entries[k]; e != nil {
		return e
	}
	if len(sh.entries) >= sh.next {
		sh.sweep(now)
	}
	e = &entry{seq: l.seq.Add(1)}
	sh.entries[k] = e
	return e
}

// sweep forgets the subjects that hold nothing and whose buckets are empty: they would be made anew
// just so. It runs when a shard has doubled since the last time, so its cost is spread thin.
func (s *shard) sweep(now int64) {
	live := make(map[subjectKey]*entry, len(s.entries)/2)
	for k, e := range s.entries {
		e.mu.Lock()
		e.dead = e.inFlight == 0 && e.clear <= now
		if !e.dead {
			live[k] = e
		}
		e.mu.Unlock()
	}
	s.entries = live
	s.next = max(2*len(live), minSweep)
}

// Subjects returns how many subjects are remembered.
func (l *Limiter) Subjects() int {
	n := 0
	for i := range l.shards {
		l.shards[i].mu.RLock()
		n += len(l.shards[i].entries)
		l.shards[i].mu.RUnlock()
	}
	return n
}
