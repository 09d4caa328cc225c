package crash

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// callAll lets n callers call until each was refused, and returns how many answers there were. A refusal for want of
// money is 402; anything else is a fault.
func callAll(t *testing.T, l *load, n int, addrs ...string) int64 {
	t.Helper()
	var got atomic.Int64
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for {
				a := l.call("http://"+addrs[i%len(addrs)], &l.kinds[0])
				l.keep(a)
				switch a.status {
				case http.StatusOK:
					got.Add(1)
				case http.StatusPaymentRequired:
					return
				default:
					t.Errorf("neither answered nor 402: %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	wg.Wait()
	return got.Load()
}

// priced makes the model "fake" cost so much that a call of the kind is charged exactly what it held, or half of it.
func priced(t *testing.T, w *world, half bool) (k kind, cost, hold int64) {
	t.Helper()
	const out = 100
	k = kind{name: "json", weight: 1, path: chatPath, body: chat("fake", out, "")}
	in := int64(len(k.body)) // a byte is at most a token
	hold = 150*in + 600*out
	if half {
		in /= 2
	}
	wrote := out
	if half {
		wrote /= 2
	}
	if err := w.up.Set("fake", fmt.Sprintf("in=%d&out=%d", in, wrote)); err != nil {
		t.Fatal(err)
	}
	return k, 150*in + 600*int64(wrote), hold
}

// TestBudget sets 64 callers on a key whose budget is worth exactly so many calls.
func TestBudget(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		const worthCalls = 500
		w := newWorld(t, engine)
		d := w.open()
		s := newStores(d)
		var notes []note
		n := w.node(config{})

		t.Run("a call costs what it holds", func(t *testing.T) {
			k, cost, hold := priced(t, w, false)
			if cost != hold {
				t.Fatalf("cost %d, hold %d", cost, hold)
			}
			_, key, budget := s.budgetKey(t, worthCalls*cost)
			n.start()
			n.up()
			l := newLoad(key, []kind{k})
			if got := callAll(t, l, 64, n.addr); got != worthCalls {
				t.Errorf("%d calls succeeded on a budget for %d", got, worthCalls)
			}
			if a := l.call("http://"+n.addr, &k); a.status != 402 || !strings.Contains(a.body, "settle.budget_exhausted") {
				t.Errorf("on an empty budget: %d %s", a.status, a.body)
			}
			returned(t, d)
			if spent, held := s.spent(t, budget); spent != worthCalls*cost || held != 0 {
				t.Errorf("spent %d, held %d, want %d and nothing", spent, held, worthCalls*cost)
			}
			notes = append(notes, l.all()...)
			n.kill() // a budget survives
			n.start()
			n.up()
			if a := l.call("http://"+n.addr, &k); a.status != 402 {
				t.Errorf("on an empty budget, after a crash: %d %s", a.status, a.body)
			}
		})

		t.Run("a call holds more than it costs", func(t *testing.T) {
			k, cost, hold := priced(t, w, true)
			if cost >= hold {
				t.Fatalf("cost %d, hold %d", cost, hold)
			}
			amount := worthCalls * cost
			_, key, budget := s.budgetKey(t, amount)
			l := newLoad(key, []kind{k})
			eventually(t, 10*time.Second, func() (bool, string) { // the node learns of the key within seconds
				a := l.call("http://"+n.addr, &k)
				l.keep(a)
				return a.status == 200, fmt.Sprintf("%d %s", a.status, a.body)
			})
			got := callAll(t, l, 64, n.addr) + 1
			// Callers were refused while others held what was left. As those ended, it could be held again.
			for a := (note{status: 200}); a.status == 200; {
				a = l.call("http://"+n.addr, &k)
				l.keep(a)
				if a.status == 200 {
					got++
				}
			}
			if left := amount - got*cost; left < 0 || left >= hold {
				t.Errorf("%d calls of %d succeeded on a budget of %d: %d are left, and a call holds %d", got, cost, amount, left, hold)
			}
			returned(t, d)
			if spent, held := s.spent(t, budget); spent != got*cost || held != 0 {
				t.Errorf("spent %d, held %d, want %d and nothing", spent, held, got*cost)
			}
			notes = append(notes, l.all()...)
		})
		n.stop()
		w.audit(notes, d)
	})
}

// TestNodes runs two nodes on one database: what money and rights there are, there are once.
func TestNodes(t *testing.T) {
	t.Parallel()
	const worthCalls = 300
	w := newWorld(t, "postgres")
	d := w.open()
	s := newStores(d)
	k, cost, _ := priced(t, w, false)
	_, key, budget := s.budgetKey(t, worthCalls*cost)
	doomed, doomedKey, _ := s.budgetKey(t, 100e9)
	second := w.dir + "/second"
	a, b := w.node(config{}), w.node(config{data: second})
	a.start()
	b.start()
	a.up()
	b.up()

	l := newLoad(key, []kind{k})
	got := callAll(t, l, 64, a.addr, b.addr)
	if got > worthCalls {
		t.Errorf("two nodes spent a budget for %d on %d calls", worthCalls, got)
	}
	// What one node had leased and did not need goes back, for the other to use.
	eventually(t, 30*time.Second, func() (bool, string) {
		if x := l.call("http://"+a.addr, &k); x.status == 200 {
			got++
			l.keep(x)
		} else {
			l.keep(x)
		}
		return got == worthCalls, fmt.Sprintf("%d of %d calls succeeded", got, worthCalls)
	})
	for _, n := range []*node{a, b} {
		x := l.call("http://"+n.addr, &k)
		l.keep(x)
		if x.status != 402 {
			t.Errorf("on a budget that is spent: %d %s", x.status, x.body)
		}
	}
	if spent, _ := s.spent(t, budget); spent > worthCalls*cost {
		t.Errorf("spent %d of %d", spent, worthCalls*cost)
	}

	notes := l.all()
	notes = append(notes, revoked(t, "a revoked key", 401, doomedKey, k, []*node{a, b}, func() {
		if _, err := s.keys.Revoke(context.Background(), actor, doomed.ID, "test", doomed.Version); err != nil {
			t.Error(err)
		}
	})...)
	notes = append(notes, revoked(t, "a suspended organisation", 403, w.key, k, []*node{a, b}, func() {
		o, err := s.orgs.ByName(context.Background(), consumer)
		if err == nil {
			_, err = s.orgs.Suspend(context.Background(), actor, o.ID, "test", o.Version)
		}
		if err != nil {
			t.Error(err)
		}
	})...)
	returned(t, d)
	a.stop()
	b.stop()
	w.audit(notes, d, w.data, second)
}

// revoked lets callers call both nodes, does what must end that, and checks that no call begun two seconds later is
// answered.
func revoked(t *testing.T, what string, status int, key string, k kind, nodes []*node, end func()) (notes []note) {
	t.Helper()
	var loads []*load
	for _, n := range nodes {
		l := newLoad(key, []kind{k})
		l.to(n.addr)
		l.start(4)
		defer l.end()
		loads = append(loads, l)
		eventually(t, 10*time.Second, func() (bool, string) {
			for _, x := range l.all() {
				if x.status == 200 {
					return true, ""
				}
			}
			return false, "no call succeeds"
		})
	}
	end()
	since := time.Now()
	pause(context.Background(), 3*time.Second)
	for i, l := range loads {
		l.end()
		ended := false
		for _, x := range l.all() {
			late := x.began.Sub(since)
			switch {
			case x.status == 200 && late > 2*time.Second:
				t.Errorf("%s: node %d answered a call %v later", what, i, late)
			case x.status == status:
				ended = true
			case x.status != 200:
				t.Errorf("%s: node %d: %d %s", what, i, x.status, x.body)
			}
		}
		if !ended {
			t.Errorf("%s: node %d never said %d", what, i, status)
		}
		notes = append(notes, l.all()...)
	}
	return notes
}
