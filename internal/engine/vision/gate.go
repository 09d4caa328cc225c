package vision

import (
	"context"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// gate bounds what all calls hold together: the memory of their pictures, and how many compute. Calls enter
// in the order in which they came, so that a large picture is not passed by small ones for ever.
type gate struct {
	mu      sync.Mutex
	memory  int64 // free bytes
	slots   int   // free
	limit   int64
	maxWait int
	waiting []*entrant
}

type entrant struct {
	memory int64
	in     chan struct{} // closed when it has entered
}

func newGate(memory int64, slots, queue int) *gate {
	return &gate{memory: memory, slots: slots, limit: memory, maxWait: queue}
}

// enter waits until there are memory bytes and a slot, and returns what gives them back.
func (g *gate) enter(ctx context.Context, memory int64) (leave func(), err error) {
	if memory > g.limit {
		return nil, problem.New(problem.TooLarge, "vision.too_much_memory",
			"this operation on an image of this size takes more memory than the server allows; send a smaller image")
	}
	e := &entrant{memory, make(chan struct{})}
	g.mu.Lock()
	if len(g.waiting) >= g.maxWait {
		g.mu.Unlock()
		return nil, problem.New(problem.Unavailable, "vision.busy", "too many images are being worked on; try again later").After(2 * time.Second)
	}
	g.waiting = append(g.waiting, e)
	g.admit()
	g.mu.Unlock()
	select {
	case <-e.in:
	case <-ctx.Done():
		if g.withdraw(e) {
			return nil, ctx.Err()
		}
	}
	return sync.OnceFunc(func() { g.give(e) }), nil
}

// admit lets in whom there is room for. The lock is held.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.slots > 0 && g.waiting[0].memory <= g.memory {
		e := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.slots--
		g.memory -= e.memory
		close(e.in)
	}
}

// withdraw takes e out of the queue; false: it had entered.
func (g *gate) withdraw(e *entrant) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, x := range g.waiting {
		if x == e {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			g.admit()
			return true
		}
	}
	return false
}

func (g *gate) give(e *entrant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.slots++
	g.memory += e.memory
	g.admit()
}
