package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestKill kills the process under load, again and again, at moments that nobody chose: among them while it
// starts and recovers.
func TestKill(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		kills, callers := 12, 16
		if nightly() {
			kills, callers = 60, 32
		}
		w := newWorld(t, engine)
		d := w.open()
		s := newStores(d)
		_, budgeted, budget := s.budgetKey(t, 50e9)
		kinds := append([]kind{{name: "json of a key with a budget", weight: 15, path: chatPath, body: chat("fake", 64, ""), key: budgeted},
			{name: "stream of a key with a budget", weight: 10, path: chatPath, body: chat("fake-long", 64, withUsage), key: budgeted}}, mixed...)

		l := newLoad(w.key, kinds)
		l.start(callers)
		defer l.end()
		nodes := []*node{w.node(config{}), w.node(config{durability: "strict"})}
		for i := range kills {
			n := nodes[i%2]
			n.start()
			if i%3 == 2 { // early: as a rule before it serves
				pause(context.Background(), time.Duration(rand.IntN(400))*time.Millisecond)
			} else {
				n.up()
				l.to(n.addr)
				pause(context.Background(), time.Duration(50+rand.IntN(1200))*time.Millisecond)
			}
			n.kill()
			l.hold()
		}
		n := nodes[kills%2]
		n.start()
		n.up()
		before := l.answered.Load()
		l.to(n.addr)
		eventually(t, time.Minute, func() (bool, string) {
			got := l.answered.Load() - before
			return got > 100, fmt.Sprintf("%d calls after the last kill", got)
		})
		l.end()
		returned(t, d)
		n.stop()

		notes := l.all()
		w.audit(notes, d)
		var told int64
		for i := range notes {
			if notes[i].kind.key == budgeted && notes[i].whole {
				told += max(notes[i].told, 0)
			}
		}
		if spent, _ := s.spent(t, budget); spent < told {
			t.Errorf("the budget has spent %d, its callers were told of %d", spent, told)
		}
	})
}
