package kv_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/kv"
	"github.com/tollgate-io/tollgate/internal/kv/kvtest"
)

var ctx = context.Background()

func TestValues(t *testing.T) {
	kvtest.Each(t, func(t *testing.T, s kv.Store, advance func(time.Duration)) {
		want := func(key, value string, found bool) {
			t.Helper()
			got, ok, err := s.Get(ctx, key)
			if err != nil || ok != found || string(got) != value {
				t.Errorf("%s: %q %v %v, want %q %v", key, got, ok, err, value, found)
			}
		}
		want("a", "", false)
		value := []byte("one\x00")
		must(t, s.Set(ctx, "a", value, time.Minute))
		value[0] = 'X' // the store has its own copy
		want("a", "one\x00", true)
		advance(40 * time.Second)
		must(t, s.Set(ctx, "a", []byte("two"), time.Minute)) // a new life
		must(t, s.Set(ctx, "empty", nil, time.Minute))
		want("empty", "", true)
		advance(59 * time.Second)
		want("a", "two", true)
		advance(time.Second)
		want("a", "", false)

		must(t, s.Set(ctx, "b", []byte("b"), time.Minute))
		must(t, s.Del(ctx, "b", "never"))
		must(t, s.Del(ctx))
		want("b", "", false)
		if s.Set(ctx, "c", nil, 0) == nil {
			t.Error("a value without a life was accepted")
		}
		must(t, s.Ping(ctx))
	})
}

func TestCounters(t *testing.T) {
	kvtest.Each(t, func(t *testing.T, s kv.Store, advance func(time.Duration)) {
		for i, by := range []int64{1, 41, -2} {
			got, err := s.Incr(ctx, "n", by, time.Minute)
			if want := []int64{1, 42, 40}[i]; err != nil || got != want {
				t.Errorf("got %d %v, want %d", got, err, want)
			}
			advance(20 * time.Second) // adding does not prolong
		}
		if got, err := s.Incr(ctx, "n", 5, time.Minute); err != nil || got != 5 {
			t.Errorf("after expiry: %d %v", got, err)
		}
		if v, ok, err := s.Get(ctx, "n"); string(v) != "5" || !ok || err != nil {
			t.Errorf("as a value: %q %v %v", v, ok, err)
		}
		if _, err := s.Incr(ctx, "big", 1<<62, time.Minute); err != nil {
			t.Error(err)
		}
		if _, err := s.Incr(ctx, "big", 1<<62, time.Minute); err == nil {
			t.Error("no overflow")
		}
		must(t, s.Set(ctx, "word", []byte("word"), time.Minute))
		if _, err := s.Incr(ctx, "word", 1, time.Minute); err == nil {
			t.Error("a word was counted up")
		}
	})
}

func TestLeases(t *testing.T) {
	kvtest.Each(t, func(t *testing.T, s kv.Store, advance func(time.Duration)) {
		acquire := func(token string, want bool) {
			t.Helper()
			if ok, err := s.Acquire(ctx, "lease", token, time.Minute); ok != want || err != nil {
				t.Errorf("%s acquires: %v %v, want %v", token, ok, err, want)
			}
		}
		release := func(token string, want bool) {
			t.Helper()
			if ok, err := s.Release(ctx, "lease", token); ok != want || err != nil {
				t.Errorf("%s releases: %v %v, want %v", token, ok, err, want)
			}
		}
		release("a", false)
		acquire("a", true)
		acquire("b", false)
		release("b", false)
		advance(40 * time.Second)
		acquire("a", true) // prolonged
		advance(40 * time.Second)
		acquire("b", false)
		advance(20 * time.Second)
		acquire("b", true) // expired
		release("a", false)
		release("b", true)
		acquire("a", true)
	})
}

func TestTake(t *testing.T) {
	minute := func(key string, cost int64) kv.Limit {
		return kv.Limit{Key: key, Rate: 60, Per: time.Minute, Burst: 10, Cost: cost}
	}
	kvtest.Each(t, func(t *testing.T, s kv.Store, advance func(time.Duration)) {
		take := func(want []kv.Grant, limits ...kv.Limit) {
			t.Helper()
			got, ok, err := s.Take(ctx, limits)
			if err != nil {
				t.Fatal(err)
			}
			all := true
			for _, g := range want {
				all = all && g.OK
			}
			if diff := cmp.Diff(want, got); diff != "" || ok != all {
				t.Errorf("ok %v, want %v: %s", ok, all, diff)
			}
		}
		take([]kv.Grant{})
		take([]kv.Grant{{true, 3, 7 * time.Second, 0}}, minute("r", 7))
		take([]kv.Grant{{false, 3, 7 * time.Second, time.Second}}, minute("r", 4))
		take([]kv.Grant{{true, 0, 10 * time.Second, 0}}, minute("r", 3))
		advance(500 * time.Millisecond)
		take([]kv.Grant{{false, 0, 9500 * time.Millisecond, 500 * time.Millisecond}}, minute("r", 1))
		advance(500 * time.Millisecond)
		take([]kv.Grant{{true, 0, 10 * time.Second, 0}}, minute("r", 1))
		take([]kv.Grant{{true, 2, 8 * time.Second, 0}}, minute("r", -2))
		// What has been spent already is charged beyond the limit.
		forced := minute("r", 20)
		forced.Force = true
		take([]kv.Grant{{true, 0, 28 * time.Second, 0}}, forced)
		advance(28 * time.Second)
		take([]kv.Grant{{true, 10, 0, 0}}, minute("r", 0))
		// More than a burst passes as a burst.
		take([]kv.Grant{{true, 0, 10 * time.Second, 0}}, minute("r", 11))
		// All or none: r is exhausted, so s is not charged either.
		take([]kv.Grant{{true, 10, 0, 0}, {false, 0, 10 * time.Second, time.Second}}, minute("s", 4), minute("r", 1))
		advance(time.Second)
		take([]kv.Grant{{true, 6, 4 * time.Second, 0}, {true, 0, 10 * time.Second, 0}}, minute("s", 4), minute("r", 1))
		take([]kv.Grant{{true, 10, 0, 0}}, minute("s", -100)) // gives back no more than was taken

		for _, bad := range []kv.Limit{{}, {Key: "x", Rate: 1, Per: 1}, {Key: "x", Per: 1, Burst: 1}, {Key: "x", Rate: 1, Burst: 1}} {
			if _, _, err := s.Take(ctx, []kv.Limit{bad}); err == nil {
				t.Errorf("accepted: %+v", bad)
			}
		}
		must(t, s.Set(ctx, "word", []byte("word"), time.Minute))
		if _, _, err := s.Take(ctx, []kv.Limit{minute("word", 1)}); err == nil {
			t.Error("a word was taken for a limit")
		}
	})
}

// TestTakeKeepsItsRate takes odd costs from a limit of a billion units a minute: over ten minutes
// of greedy taking the sum is what the rate allows, to a millionth.
func TestTakeKeepsItsRate(t *testing.T) {
	kvtest.Each(t, func(t *testing.T, s kv.Store, advance func(time.Duration)) {
		l := kv.Limit{Key: "big", Rate: 1e9, Per: time.Minute, Burst: 1e6, Cost: 777_777}
		var sum int64
		const steps, step = 1000, 600 * time.Millisecond / 10
		for range steps {
			for {
				g, ok, err := s.Take(ctx, []kv.Limit{l})
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					rest := l
					rest.Cost = g[0].Remaining
					if _, ok, err := s.Take(ctx, []kv.Limit{rest}); !ok || err != nil {
						t.Fatal("what remains was refused", err)
					}
					sum += rest.Cost
					break
				}
				sum += l.Cost
			}
			advance(step)
		}
		want := int64(1e6) + int64(steps-1)*1e6
		if diff := sum - want; diff < -1000*steps/10 || diff > 1000*steps/10 {
			t.Errorf("took %d in one minute, want %d", sum, want)
		}
	})
}

func TestTakeIsAtomic(t *testing.T) {
	kvtest.Each(t, func(t *testing.T, s kv.Store, _ func(time.Duration)) {
		var granted atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 25 {
					_, ok, err := s.Take(ctx, []kv.Limit{
						{Key: "x", Rate: 1, Per: time.Hour, Burst: 50, Cost: 1}, {Key: "y", Rate: 1, Per: time.Hour, Burst: 100, Cost: 1}})
					if err != nil {
						t.Error(err)
					}
					if ok {
						granted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if n := granted.Load(); n != 50 {
			t.Errorf("%d granted of 50", n)
		}
		g, _, err := s.Take(ctx, []kv.Limit{{Key: "y", Rate: 1, Per: time.Hour, Burst: 100}})
		if err != nil || g[0].Remaining != 50 {
			t.Errorf("%v %v: the refused ones were charged", g, err)
		}
	})
}

func TestMemoryForgetsTheExpired(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	m := kv.NewMemory(c)
	for i := range 100_000 {
		must(t, m.Set(ctx, fmt.Sprint(i), []byte("v"), time.Minute))
		c.Advance(time.Second)
	}
	if n := m.Len(); n > 2100 {
		t.Errorf("%d entries are kept, 60 are alive", n)
	}
}

// TestServerTime takes limits at the time of the Redis server, as in production.
func TestServerTime(t *testing.T) {
	s, err := kv.OpenRedis(ctx, kvtest.RedisURL(t), kv.RedisOptions{Prefix: kvtest.Prefix()})
	must(t, err)
	defer s.Close()
	l := []kv.Limit{{Key: "r", Rate: 10, Per: time.Hour, Burst: 10, Cost: 10}}
	if _, ok, err := s.Take(ctx, l); !ok || err != nil {
		t.Fatal("refused", err)
	}
	g, ok, err := s.Take(ctx, l)
	if ok || err != nil || g[0].Reset > time.Hour || g[0].Reset < 59*time.Minute {
		t.Errorf("%v %v %v", g, ok, err)
	}
	must(t, s.Del(ctx, "r"))
}

func TestOpen(t *testing.T) {
	for url, fine := range map[string]bool{"": true, "memory:": true, "redis://127.0.0.1:1": false, "http://x": false, "redis://:bad:url": false} {
		s, err := kv.Open(ctx, url, clock.System{})
		if (err == nil) != fine {
			t.Errorf("%q: %v", url, err)
		}
		if err == nil {
			must(t, s.Close())
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
