package vision

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(100, 2, 3)
		enter := func(ctx context.Context, memory int64) (func(), error) { return g.enter(ctx, memory) }
		_, err := enter(t.Context(), 101)
		refused(t, err, problem.TooLarge, "vision.too_much_memory")
		leaveA, err := enter(t.Context(), 60)
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		var mu sync.Mutex
		for _, w := range []struct {
			name   string
			memory int64
		}{{"large", 60}, {"small", 10}} {
			go func() {
				leave, err := enter(t.Context(), w.memory)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, w.name)
				mu.Unlock()
				leave()
			}()
			synctest.Wait()
		}
		if len(order) != 0 {
			t.Errorf("%v have passed", order)
		}
		// One who gives up lets those behind go on.
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := enter(ctx, 1)
			failed <- err
		}()
		synctest.Wait()
		if _, err := enter(t.Context(), 1); !problem.Is(err, problem.Unavailable) || problem.As(err).RetryAfter == 0 {
			t.Errorf("a full queue: %v", err)
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		leaveA()
		leaveA() // twice does nothing
		synctest.Wait()
		if len(order) != 2 || g.memory != 100 || g.slots != 2 || len(g.waiting) != 0 {
			t.Errorf("%v, %d bytes and %d slots free", order, g.memory, g.slots)
		}
	})
}

// TestGateHolds checks that the limits hold whatever comes.
func TestGateHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit, slots = 50, 3
		g := newGate(limit, slots, 1000)
		var memory, inside atomic.Int64
		var all sync.WaitGroup
		for _, m := range rapid.SliceOfN(rapid.Int64Range(0, limit), 1, 30).Draw(t, "calls") {
			all.Go(func() {
				leave, err := g.enter(context.Background(), m)
				if err != nil {
					t.Errorf("%v", err)
					return
				}
				if memory.Add(m) > limit || inside.Add(1) > slots {
					t.Errorf("too much inside")
				}
				memory.Add(-m)
				inside.Add(-1)
				leave()
			})
		}
		all.Wait()
		if g.memory != limit || g.slots != slots {
			t.Fatalf("%d bytes and %d slots free at the end", g.memory, g.slots)
		}
	})
}
