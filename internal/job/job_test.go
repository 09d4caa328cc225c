package job_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/job"
)

var (
	ctx  = context.Background()
	sets = []db.Migrations{job.Migrations}
)

func TestLease(t *testing.T) {
	now := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	dbtest.EachWith(t, db.Options{Clock: now}, sets, func(t *testing.T, d *db.DB) {
		acquire := func(holder string, epoch int64) (l job.Lease) {
			t.Helper()
			err := d.Update(ctx, func(tx *db.Tx) error {
				var ok bool
				var err error
				l, ok, err = job.Acquire(tx, "x", holder, time.Minute)
				if ok != (epoch > 0) || l.Epoch != epoch {
					t.Errorf("%s: %v %+v, want epoch %d", holder, ok, l, epoch)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		check := func(l job.Lease, want error) {
			t.Helper()
			if err := d.Update(ctx, l.Check); !errors.Is(err, want) {
				t.Errorf("%+v: %v, want %v", l, err, want)
			}
		}
		a := acquire("a", 1)
		acquire("b", 0)
		now.Advance(40 * time.Second)
		acquire("a", 1) // prolonged
		now.Advance(59 * time.Second)
		acquire("b", 0)
		check(a, nil)
		now.Advance(time.Second)
		check(a, nil) // lapsed, but nobody has taken over
		b := acquire("b", 2)
		check(a, job.ErrLost)
		check(b, nil)
		if err := d.Update(ctx, a.Release); err != nil { // not a's any more: does nothing
			t.Fatal(err)
		}
		acquire("a", 0)
		now.Advance(time.Hour)
		acquire("b", 3) // lapsed in between: a new epoch
		check(b, job.ErrLost)
		b.Epoch = 3
		if err := d.Update(ctx, b.Release); err != nil {
			t.Fatal(err)
		}
		acquire("a", 4)
	})
}

// bubble runs fn on both engines with simulated time.
func bubble(t *testing.T, fn func(t *testing.T, open func() *db.DB)) {
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": dbtest.SQLiteDSN, "postgres": dbtest.PostgresDSN} {
		t.Run(name, func(t *testing.T) {
			where := dsn(t)
			synctest.Test(t, func(t *testing.T) {
				fn(t, func() *db.DB { return dbtest.Open(t, where, db.Options{}, sets) })
			})
		})
	}
}

func newRunner(d *db.DB) *job.Runner {
	return job.New(d, clock.System{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
}

// eventually lets simulated time pass until the condition holds.
func eventually(t *testing.T, what string, within time.Duration, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestOneLeads(t *testing.T) {
	bubble(t, func(t *testing.T, open func() *db.DB) {
		var runs [2]atomic.Int64
		var epoch atomic.Int64
		d := open()
		var nodes [2]*job.Runner
		for i := range nodes {
			nodes[i] = newRunner(d)
			nodes[i].Add(job.Loop{Name: "work", Every: time.Second, Leader: true, Run: func(ctx context.Context, l job.Lease) (bool, error) {
				runs[i].Add(1)
				epoch.Store(l.Epoch)
				return false, d.Update(ctx, l.Check)
			}})
		}
		nodes[0].Start()
		defer nodes[0].Stop()
		eventually(t, "the first leads", time.Second, func() bool { return runs[0].Load() > 0 })
		nodes[1].Start()
		defer nodes[1].Stop()
		eventually(t, "work goes on over many renewals", 2*time.Minute, func() bool { return runs[0].Load() > 60 })
		if n := runs[1].Load(); n > 0 || epoch.Load() != 1 {
			t.Errorf("the second worked %d times, epoch %d", n, epoch.Load())
		}
		nodes[0].Stop()
		before := runs[0].Load()
		eventually(t, "the second takes over from one that resigned", 6*time.Second, func() bool { return runs[1].Load() > 0 })
		if runs[0].Load() != before {
			t.Error("the first works after Stop")
		}
		if epoch.Load() != 2 {
			t.Errorf("epoch %d", epoch.Load())
		}
		if _, leads := nodes[0].Leader(); leads {
			t.Error("the first says that it leads")
		}
	})
}

// TestVanishedLeader: a leader whose database is gone stops leading before another may start.
func TestVanishedLeader(t *testing.T) {
	bubble(t, func(t *testing.T, open func() *db.DB) {
		gone, stays := open(), open()
		first, second := newRunner(gone), newRunner(stays)
		var ended atomic.Int64
		first.Add(job.Loop{Name: "long", Every: time.Second, Leader: true, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
			<-ctx.Done()
			ended.Store(time.Now().UnixNano())
			return false, nil
		}})
		var began atomic.Int64
		second.Add(job.Loop{Name: "long", Every: time.Second, Leader: true, Run: func(context.Context, job.Lease) (bool, error) {
			began.CompareAndSwap(0, time.Now().UnixNano())
			return false, nil
		}})
		first.Start()
		defer first.Stop()
		eventually(t, "the first leads", time.Second, func() bool { _, leads := first.Leader(); return leads })
		second.Start()
		defer second.Stop()
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the second leads", 25*time.Second, func() bool { return began.Load() > 0 })
		if e, b := ended.Load(), began.Load(); e == 0 || e > b {
			t.Errorf("the first ended at %d, the second began at %d", e, b)
		}
	})
}

func TestLoops(t *testing.T) {
	bubble(t, func(t *testing.T, open func() *db.DB) {
		r := newRunner(open())
		start := time.Now()
		var looks, items, faults, panics []time.Duration
		r.Add(job.Loop{Name: "looks", Every: time.Minute, Run: func(context.Context, job.Lease) (bool, error) {
			looks = append(looks, time.Since(start))
			return false, nil
		}})
		r.Add(job.Loop{Name: "backlog", Every: time.Hour, Run: func(context.Context, job.Lease) (bool, error) {
			items = append(items, time.Since(start))
			return len(items) < 5, nil
		}})
		r.Add(job.Loop{Name: "fails", Every: 10 * time.Second, Run: func(context.Context, job.Lease) (bool, error) {
			faults = append(faults, time.Since(start))
			return true, errors.New("fault")
		}})
		r.Add(job.Loop{Name: "panics", Every: time.Second, Run: func(context.Context, job.Lease) (bool, error) {
			panics = append(panics, time.Since(start))
			panic("fault")
		}})
		r.Start()
		r.Start() // does nothing
		<-time.After(90 * time.Second)
		r.Wake("looks")
		r.Wake("nobody")
		<-time.After(2*time.Minute + time.Second)
		if list := r.Failing(); len(list) != 2 || list[0].Loop != "fails" || list[0].Times != 6 || list[0].Err.Error() != "fault" || list[1].Loop != "panics" {
			t.Errorf("failing: %+v", list)
		}
		r.Stop()
		r.Stop()
		s := time.Second
		equal(t, "looks", looks, 0, 60*s, 90*s, 150*s, 210*s)
		equal(t, "backlog", items, 0, 0, 0, 0, 0)
		equal(t, "fails", faults, 0, 10*s, 30*s, 70*s, 130*s, 190*s)
		equal(t, "panics", panics, 0, 1*s, 3*s, 7*s, 15*s, 31*s, 63*s, 123*s, 183*s)
	})
}

func equal(t *testing.T, name string, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", name, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %v, want %v", name, got, want)
			return
		}
	}
}

// TestStopWaits: Stop returns only when the loops have, from every caller, and before Start too.
func TestStopWaits(t *testing.T) {
	bubble(t, func(t *testing.T, open func() *db.DB) {
		r := newRunner(open())
		release := make(chan struct{})
		r.Add(job.Loop{Name: "slow", Every: time.Second, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
			<-ctx.Done()
			<-release
			return false, ctx.Err()
		}})
		r.Start()
		synctest.Wait()
		var stopped atomic.Int64
		for range 2 {
			go func() { r.Stop(); stopped.Add(1) }()
		}
		synctest.Wait()
		if stopped.Load() != 0 {
			t.Error("Stop returned before the loop")
		}
		close(release)
		synctest.Wait()
		if stopped.Load() != 2 {
			t.Error("Stop did not return")
		}

		never := newRunner(open())
		never.Add(job.Loop{Name: "never", Every: time.Second, Run: func(context.Context, job.Lease) (bool, error) {
			t.Error("ran after Stop")
			return false, nil
		}})
		never.Stop()
		never.Start()
		<-time.After(time.Minute)
	})
}
