// Package job runs what happens behind the requests: loops that look for work at intervals, on
// every node or on the one that leads.
//
// Work is found by state, never by a timer's having fired: a loop asks the database what is due and
// does it, so that nothing is missed by a process that was down, and doing it twice is prevented by
// the same transaction that records it as done. The timers only say when to look.
//
// The leader is whoever holds a lease in the database (lease.go). The lease's epoch fences: a
// leader that lost its lease without noticing fails at [Lease.Check] in the transaction in which it writes.
package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
)

// Loop is work that is looked for again and again.
type Loop struct {
	Name  string
	Every time.Duration // between the end of one look and the next

	// Leader restricts the loop to the node that leads. Its context ends when leadership does.
	Leader bool

	// Run looks for work and does some of it. It returns true if there is more, to be called again
	// at once. An error is logged, and the next look delayed (doubling, up to maxDelay). For a leader's loop
	// the lease is the leader's, for Check; otherwise it is zero.
	Run func(ctx context.Context, l Lease) (more bool, err error)
}

const (
	leaderLease = "leader"
	leaseTime   = 15 * time.Second // a leader that vanishes is replaced after this time
	renewEvery  = leaseTime / 3
	maxDelay    = time.Minute
)

// Runner runs loops. Add them, then Start; Stop waits for them.
type Runner struct {
	db     *db.DB
	clock  clock.Clock
	log    *slog.Logger
	holder string
	loops  []Loop
	wakes  []chan struct{}

	start  sync.Once
	stop   sync.Once
	cancel context.CancelFunc
	ctx    context.Context
	work   sync.WaitGroup // the loops
	leads  sync.WaitGroup // the goroutine that holds the lease

	mu      sync.Mutex
	lease   Lease // of the leader, while held is set
	held    context.Context
	abandon context.CancelFunc // ends held
	failing map[string]Failing // by the loop's name
}

// Failing is a loop whose last look failed.
type Failing struct {
	Loop  string
	Times int // in a row
	Err   error
}

// New returns a runner without loops.
func New(d *db.DB, c clock.Clock, log *slog.Logger) *Runner {
	ctx, cancel := context.WithCancel(context.Background())
	return &Runner{db: d, clock: c, log: log, holder: db.NewID("node", c.Now()), ctx: ctx, cancel: cancel, failing: map[string]Failing{}}
}

// Add adds a loop. It must not be called after Start.
func (r *Runner) Add(l Loop) {
	r.loops = append(r.loops, l)
	r.wakes = append(r.wakes, make(chan struct{}, 1))
}

// Start begins to run the loops, each at once. Later calls do nothing.
func (r *Runner) Start() {
	r.start.Do(func() {
		leader := false
		for i, l := range r.loops {
			leader = leader || l.Leader
			r.work.Go(func() { r.loop(l, r.wakes[i]) })
		}
		if leader {
			r.leads.Go(r.lead)
		}
	})
}

// Stop ends the contexts of the loops, waits until all have returned and gives leadership up. Every
// call returns once all has stopped.
func (r *Runner) Stop() {
	r.stop.Do(func() {
		r.start.Do(func() {}) // a Start that comes too late must not start anything
		r.cancel()
	})
	r.work.Wait()
	r.leads.Wait()
}

// Wake has the loop called name look now, because there is work. It never blocks.
func (r *Runner) Wake(name string) {
	for i, l := range r.loops {
		if l.Name == name {
			wake(r.wakes[i])
		}
	}
}

// Leader returns the lease that this node leads by, and whether it leads.
func (r *Runner) Leader() (Lease, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lease, r.held != nil
}

// Failing lists the loops whose last look failed, by name.
func (r *Runner) Failing() []Failing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.SortedFunc(maps.Values(r.failing), func(a, b Failing) int { return strings.Compare(a.Loop, b.Loop) })
}

// note keeps how a loop's last look went, and returns how often it has failed in a row.
func (r *Runner) note(loop string, err error) (failures int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failing, loop)
		return 0
	}
	failures = r.failing[loop].Times + 1
	r.failing[loop] = Failing{loop, failures, err}
	return failures
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// loop looks at once, then at intervals.
func (r *Runner) loop(l Loop, wake <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		case <-wake:
		}
		if r.ctx.Err() != nil {
			return
		}
		ctx, lease, ok := r.ctx, Lease{}, true
		if l.Leader {
			ctx, lease, ok = r.leading()
		}
		delay := l.Every
		if ok {
			more, err := call(ctx, l, lease)
			switch {
			case err != nil && ctx.Err() != nil: // told to stop
			case err != nil:
				failures := r.note(l.Name, err)
				delay = min(max(l.Every, maxDelay), max(l.Every, 100*time.Millisecond)<<min(failures-1, 16))
				r.log.Error("loop failed", "loop", l.Name, "failures", failures, "next", delay, "error", err)
			default:
				r.note(l.Name, nil)
				if more {
					delay = 0
				}
			}
		}
		timer.Reset(delay)
	}
}

// call runs a loop once. A panic becomes an error: one loop's fault must not end the process that
// serves requests.
func call(ctx context.Context, l Loop, lease Lease) (more bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return l.Run(ctx, lease)
}

// leading returns the context and the lease of this node's leadership, if it leads.
func (r *Runner) leading() (context.Context, Lease, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held, r.lease, r.held != nil
}

// lead acquires and prolongs leadership until the runner stops.
func (r *Runner) lead() {
	defer r.resign()
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		}
		lease, ok, err := r.acquire()
		switch {
		case r.ctx.Err() != nil:
			return
		case err == nil && ok:
			r.hold(lease)
		case err == nil:
			r.lose()
		default:
			// Before another node may take over by its clock, this one stops by its own.
			if l, held := r.Leader(); held && !r.clock.Now().Add(renewEvery).Before(l.Until) {
				r.lose()
			}
			if failures == 0 {
				r.log.Error("leadership cannot be determined", "error", err)
			}
			failures++
		}
		if err == nil {
			failures = 0
		}
		timer.Reset(renewEvery)
	}
}

func (r *Runner) acquire() (l Lease, ok bool, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, renewEvery)
	defer cancel()
	err = r.db.Update(ctx, func(tx *db.Tx) error {
		l, ok, err = Acquire(tx, leaderLease, r.holder, leaseTime)
		return err
	})
	return l, ok, err
}

// hold records leadership. A new epoch is a new leadership: the loops of the old one end.
func (r *Runner) hold(l Lease) {
	r.mu.Lock()
	fresh := r.held == nil || r.lease.Epoch != l.Epoch
	if fresh {
		if r.abandon != nil {
			r.abandon()
		}
		r.held, r.abandon = context.WithCancel(r.ctx)
	}
	r.lease = l
	r.mu.Unlock()
	if !fresh {
		return
	}
	r.log.Info("leading", "holder", l.Holder, "epoch", l.Epoch)
	for i, loop := range r.loops {
		if loop.Leader {
			wake(r.wakes[i])
		}
	}
}

// lose ends leadership, if there was any.
func (r *Runner) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		return
	}
	r.abandon()
	r.log.Info("no longer leading", "holder", r.lease.Holder, "epoch", r.lease.Epoch)
	r.held, r.abandon, r.lease = nil, nil, Lease{}
}

// resign gives leadership up once the loops have returned, so that another node need not wait.
func (r *Runner) resign() {
	r.work.Wait()
	l, held := r.Leader()
	if !held {
		return
	}
	r.lose()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), renewEvery)
	defer cancel()
	err := r.db.Update(ctx, func(tx *db.Tx) error { return l.Release(tx) })
	if err != nil && !errors.Is(err, context.Canceled) {
		r.log.Error("leadership was not given up", "error", err)
	}
}
