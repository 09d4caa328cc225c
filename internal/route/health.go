package route

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is what became of an attempt, as far as the target's health is concerned.
type Outcome uint8

// The outcomes.
const (
	Success   Outcome = iota // answered, a 4xx that was the caller's fault included
	Failure                  // no connection, 5xx, too slow, broken off: counts against the target
	Throttled                // 429: the credential cools down
	Denied                   // 401 or 403: the credential cools down, for longer
	Gone                     // the client left, or we stopped for reasons of ours: no penalty
)

// Change is what a report changed, for the operator's log. Most change nothing.
type Change uint8

// The changes.
const (
	NoChange Change = iota
	Opened          // the circuit opened, or stays open after a failed probe
	Closed          // a probe succeeded
	Cooled          // a credential cools down
)

// String returns the word for c.
func (c Change) String() string { return [...]string{"none", "opened", "closed", "cooled"}[c] }

// How long a credential rests: at first and when the upstream says nothing, doubled each time until
// one succeeds, and at the most. A Retry-After is honoured up to its own bound. Denied begins short,
// because some upstreams answer 403 to what one prompt contains.
const (
	throttledFirst = time.Second
	throttledMost  = time.Minute
	deniedFirst    = 10 * time.Second
	deniedMost     = 10 * time.Minute
	retryAfterMost = time.Hour
)

// cooldown is the state of one credential, or of a target that has none.
type cooldown struct {
	until   atomic.Int64 // nanoseconds since the epoch
	strikes atomic.Int32
}

func (c *cooldown) cool(first, most, asked time.Duration, now int64) {
	strikes := c.strikes.Load()
	var d time.Duration
	if c.until.Load() <= now { // else an answer to what was under way with the first: no further strike
		c.strikes.CompareAndSwap(strikes, min(strikes+1, 16))
		d = min(first<<strikes, most)
	}
	if asked > 0 {
		d = min(asked, retryAfterMost)
	}
	until := now + int64(d)
	for {
		old := c.until.Load()
		if until <= old || c.until.CompareAndSwap(old, until) {
			return
		}
	}
}

// health is the circuit of one target. until is read without the lock; only Report moves it.
type health struct {
	cooldown cooldown
	o        *Options     // of the Router; set before the health is shared
	until    atomic.Int64 // 0: closed; else open, and from then on a probe may pass
	probe    atomic.Int64 // when the probe under way began, or 0

	mu          sync.Mutex
	consecutive int
	opens       int // times in a row that it opened, for the back-off
	window      int64
	now, before counts
	latency     time.Duration // moving average of successes
}

type counts struct{ all, failed int }

// admits reports whether an attempt may pass at now.
func (h *health) admits(now int64) bool {
	until := h.until.Load()
	return until == 0 || until <= now && !h.probing(h.probe.Load(), now)
}

func (h *health) probing(began, now int64) bool {
	return began != 0 && now-began < int64(h.o.ProbeTimeout)
}

// enter lets an attempt pass: freely when closed (probe zero), as the one probe when open.
func (h *health) enter(now int64) (probe int64, ok bool) {
	until := h.until.Load()
	if until == 0 {
		return 0, true
	}
	began := h.probe.Load()
	if until > now || h.probing(began, now) || !h.probe.CompareAndSwap(began, now) {
		return 0, false
	}
	switch h.until.Load() {
	case until:
		return now, true
	case 0: // another's probe has just closed it
		h.release(now)
		return 0, true
	}
	h.release(now)
	return 0, false
}

// Report ends the attempt under way. latency is its time to the first byte (or to its failure),
// retryAfter what the upstream asked for with a 429 or 503, zero if it did not. After a Failure none
// of the target's credentials is tried again by this request. Without an attempt under way it does
// nothing.
func (tr *Tried) Report(o Outcome, latency, retryAfter time.Duration, now time.Time) Change {
	x := tr.current
	if x == nil {
		return NoChange
	}
	ns := now.UnixNano()
	c, probe := x.creds[tr.credential], tr.probe
	tr.current, tr.probe = nil, 0
	switch o {
	case Success:
		if c.strikes.Load() != 0 {
			c.strikes.Store(0)
		}
		return x.health.success(probe, latency, ns)
	case Failure:
		for i := range x.creds {
			tr.add(x.first + i)
		}
		return x.health.failure(probe, retryAfter, ns)
	case Throttled:
		c.cool(throttledFirst, throttledMost, retryAfter, ns)
	case Denied:
		c.cool(deniedFirst, deniedMost, retryAfter, ns)
	default:
		x.health.release(probe)
		return NoChange
	}
	x.health.release(probe) // the endpoint lives, but the probe has not shown that it serves
	return Cooled
}

// release ends a probe that showed nothing; the next request probes.
func (h *health) release(probe int64) {
	if probe != 0 {
		h.probe.CompareAndSwap(probe, 0)
	}
}

func (h *health) success(probe int64, latency time.Duration, now int64) Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count(false, now)
	h.consecutive = 0
	if h.latency == 0 {
		h.latency = latency
	}
	h.latency += (latency - h.latency) / 8
	if probe == 0 || h.probe.Load() != probe {
		return NoChange // an answer to what was sent before the circuit opened closes nothing
	}
	h.opens, h.now, h.before = 0, counts{}, counts{}
	h.until.Store(0)
	h.release(probe)
	return Closed
}

func (h *health) failure(probe int64, retryAfter time.Duration, now int64) Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count(true, now)
	h.consecutive++
	probing := probe != 0 && h.probe.Load() == probe
	if h.until.Load() != 0 && !probing {
		return NoChange // open already; stragglers do not prolong it
	}
	o := h.o
	all, failed := h.now.all+h.before.all, h.now.failed+h.before.failed
	if !probing && h.consecutive < o.Failures && (all < o.RatioMin || float64(failed) < o.Ratio*float64(all)) {
		return NoChange
	}
	d := min(o.Backoff<<min(h.opens, 16), o.MaxBackoff)
	h.opens++
	h.until.Store(now + int64(max(d, min(retryAfter, o.MaxBackoff))))
	h.release(probe) // after until, so that nobody slips in between
	return Opened
}

// count adds an attempt to the window at now, and forgets those of two windows ago.
func (h *health) count(failed bool, now int64) {
	if w := now / int64(h.o.Window); w != h.window {
		if h.before = h.now; w != h.window+1 {
			h.before = counts{}
		}
		h.window, h.now = w, counts{}
	}
	h.now.all++
	if failed {
		h.now.failed++
	}
}

// State is the health of a target, for status pages and doctor.
type State struct {
	Target  string
	Circuit string        // closed, open, or half-open when a probe may pass or is under way
	Until   time.Time     // for open: when a probe may pass
	Latency time.Duration // moving average of the time to the first byte
}

// Cooling is a credential that rests, because its upstream refused or throttled it.
type Cooling struct {
	Credential string
	Until      time.Time
}

// Cooling returns the credentials that rest now, by id.
func (r *Router) Cooling(now time.Time) []Cooling {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Cooling
	for id, c := range r.creds {
		if until := c.until.Load(); until > now.UnixNano() {
			all = append(all, Cooling{id, time.Unix(0, until).UTC()})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Credential < all[j].Credential })
	return all
}

// States returns the health of all targets, by id.
func (r *Router) States(now time.Time) []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]State, 0, len(r.targets))
	for id, h := range r.targets {
		s := State{Target: id, Circuit: "closed"}
		if until := h.until.Load(); until > now.UnixNano() {
			s.Circuit, s.Until = "open", time.Unix(0, until).UTC()
		} else if until != 0 {
			s.Circuit = "half-open"
		}
		h.mu.Lock()
		s.Latency = h.latency
		h.mu.Unlock()
		all = append(all, s)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Target < all[j].Target })
	return all
}
