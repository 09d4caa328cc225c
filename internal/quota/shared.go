package quota

import (
	"context"
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/kv"
)

const (
	sharedTimeout = 250 * time.Millisecond // for the store to answer
	sharedPause   = time.Second            // without the store after it failed
	sharedDelay   = 20 * time.Millisecond  // how long corrections gather
	maxCorrected  = 10_000                 // limits whose corrections may wait
)

// shared is the part of a Limiter that several nodes have in common. Requests and tokens are taken
// from the store after the node's own limits agreed, so that what the node alone exceeds costs no
// round trip, and the node's own state is at hand when the store fails. Corrections of estimates
// go to the store behind the requests, gathered by one goroutine.
type shared struct {
	store kv.Store
	log   *slog.Logger
	last  atomic.Int64 // nanoseconds since the epoch of the last call, for the goroutine
	down  atomic.Int64 // nanoseconds since the epoch until which the store is left alone; 0: it works

	mu      sync.Mutex
	pending map[string]kv.Limit
	closed  bool
	armed   chan struct{}
	stop    chan struct{}
	done    chan struct{}
}

// estimate is what the store took of one token limit.
type estimate struct {
	limit   kv.Limit
	backlog time.Duration // how long the limit was from empty then
	at      time.Time
}

// NewShared returns a Limiter whose request and token limits hold over all nodes that use the store.
// Slots are counted by each node for itself. When the store fails, the node goes on with what it
// knows itself, says so in the log, and tries the store again a second later. Close it.
func NewShared(store kv.Store, log *slog.Logger) *Limiter {
	l := NewLimiter()
	l.shared = &shared{store: store, log: log, pending: map[string]kv.Limit{},
		armed: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go l.shared.run()
	return l
}

// Close sends the corrections that wait and ends the Limiter's goroutine, if it has one. The store
// stays open.
func (l *Limiter) Close() {
	s := l.shared
	if s == nil {
		return
	}
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if !closed {
		close(s.stop)
	}
	<-s.done
}

// admit takes from the store what the ticket has taken here, or tells why not.
func (s *shared) admit(t *Ticket, limits *[MaxSubjects]*Subject, now time.Time) error {
	if s.down.Load() > now.UnixNano() {
		return nil
	}
	asked := make([]kv.Limit, 0, 2*MaxSubjects)
	of := make([]int, 0, 2*MaxSubjects) // which subject each one is of
	for i := range t.n {
		if r := limits[i].Limits.Requests; !r.None() {
			asked, of = append(asked, kvLimit(limits[i], "r", r, 1)), append(of, i)
		}
		if r := limits[i].Limits.Tokens; !r.None() && t.estimate > 0 {
			asked, of = append(asked, kvLimit(limits[i], "t", r, t.estimate)), append(of, i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sharedTimeout)
	defer cancel()
	grants, ok, err := s.store.Take(ctx, asked)
	if s.failed(err, now) {
		return nil
	}
	return t.granted(limits, asked, of, grants, ok, now)
}

// granted makes the store's figures those of the ticket.
func (t *Ticket) granted(limits *[MaxSubjects]*Subject, asked []kv.Limit, of []int, grants []kv.Grant, ok bool, now time.Time) error {
	var worst refusal
	for j, g := range grants {
		i := of[j]
		l, d := &limits[i].Limits, Decision{OK: g.OK, Remaining: g.Remaining, Reset: g.Reset, Wait: g.RetryAfter}
		kind, rate, figure := "requests", l.Requests, &t.Requests
		if isTokens(asked[j].Key) {
			kind, rate, figure = "tokens", l.Tokens, &t.Tokens
			if ok {
				t.held[i].shared = &estimate{asked[j], g.Reset, now}
			}
		}
		figure.stricter(rate, d)
		if !g.OK && d.Wait >= worst.wait {
			worst = refusal{wait: max(d.Wait, time.Microsecond), scope: limits[i].Scope, kind: kind, limit: rate.Limit, rate: rate}
		}
	}
	if ok {
		return nil
	}
	return worst.problem()
}

// kvLimit is a limit in the store's words. The keys of one request share a hash tag, as Redis
// Cluster asks of what one script touches.
func kvLimit(s *Subject, kind string, r Rate, cost int64) kv.Limit {
	limit, _, burst := r.scaled()
	key := make([]byte, 0, 64)
	key = append(key, "{quota}:"...)
	key = append(key, s.Scope.String()...)
	key = append(key, ':')
	key = hex.AppendEncode(key, s.ID[:])
	key = append(append(key, ':'), kind...)
	return kv.Limit{Key: string(key), Rate: limit, Per: r.Period, Burst: burst, Cost: min(cost, burst)}
}

func isTokens(key string) bool { return key[len(key)-1] == 't' }

// correct has the estimate replaced by the actual. As with Bucket.Refund, what has drained since
// is not given back.
func (s *shared) correct(e *estimate, actual int64, now time.Time) {
	l := e.limit
	s.last.Store(now.UnixNano())
	over := max(actual, 0) - l.Cost
	if over < 0 {
		left := max(e.backlog-now.Sub(e.at), 0)
		over = -min(-over, mulDiv(int64(left/time.Microsecond), l.Rate, int64(l.Per/time.Microsecond)))
	}
	if over == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, found := s.pending[l.Key]
	if s.closed || !found && len(s.pending) >= maxCorrected {
		return // the estimate stays: stricter, not wrong
	}
	l.Cost = p.Cost + over
	s.pending[l.Key] = l
	select {
	case s.armed <- struct{}{}:
	default:
	}
}

// run sends corrections soon after they came, many at a time.
func (s *shared) run() {
	defer close(s.done)
	timer := time.NewTimer(sharedDelay)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-s.armed:
		case <-s.stop:
			s.send()
			return
		}
		timer.Reset(sharedDelay)
		select {
		case <-timer.C:
		case <-s.stop:
		}
		s.send()
	}
}

// batch is how many corrections one call to the store carries.
const batch = 100

func (s *shared) send() {
	s.mu.Lock()
	pending := s.pending
	s.pending = map[string]kv.Limit{}
	s.mu.Unlock()
	limits := make([]kv.Limit, 0, min(len(pending), batch))
	for _, l := range pending {
		l.Force = true
		if limits = append(limits, l); len(limits) == batch {
			s.take(limits)
			limits = limits[:0]
		}
	}
	s.take(limits)
}

// take applies corrections. Those that fail are lost: the estimates stay, until they have drained.
func (s *shared) take(limits []kv.Limit) {
	if len(limits) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sharedTimeout)
	defer cancel()
	_, _, err := s.store.Take(ctx, limits)
	s.failed(err, time.Unix(0, s.last.Load()))
}

// failed notes how the store did, and tells the log when that changes.
func (s *shared) failed(err error, now time.Time) bool {
	if err != nil {
		if s.down.Swap(now.Add(sharedPause).UnixNano()) == 0 {
			s.log.Warn("limits are kept by each node for itself: the shared store failed", "error", err)
		}
		return true
	}
	if s.down.Load() != 0 && s.down.Swap(0) != 0 {
		s.log.Info("limits are shared again")
	}
	return false
}
