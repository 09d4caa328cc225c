package crash

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestStop stops the process with SIGTERM under load: calls under way come to their end, new ones are refused or not
// taken, and nothing is lost.
func TestStop(t *testing.T) {
	engines(t, func(t *testing.T, engine string) {
		w := newWorld(t, engine)
		d := w.open()
		n := w.node(config{drain: 20 * time.Second})
		n.start()
		n.up()

		second := w.node(config{})
		second.start()
		if said := second.fails(exitInUse, 30*time.Second); !strings.Contains(said, fmt.Sprintf("in use by another tollgate (process %d)", n.cmd.Process.Pid)) {
			t.Errorf("a second process on the same directory says:\n%s", said)
		}

		if err := w.up.Set("fake-long", "chunks=60&delay=40ms"); err != nil { // 2.4 s
			t.Fatal(err)
		}
		slow := newLoad(w.key, []kind{{name: "slow stream", weight: 1, path: chatPath, body: chat("fake-long", 64, withUsage)}})
		var began atomic.Int64
		slow.begun = func() { began.Add(1) }
		l := newLoad(w.key, mixed)
		l.to(n.addr)
		l.start(8)
		defer l.end()
		eventually(t, time.Minute, func() (bool, string) { return l.answered.Load() > 50, "no calls" })
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() { slow.keep(slow.call("http://"+n.addr, &slow.kinds[0])) })
		}
		eventually(t, 20*time.Second, func() (bool, string) { return began.Load() == 16, "the slow streams do not begin" })
		n.term()
		wg.Wait()
		for _, a := range slow.all() {
			if !a.whole || a.status != 200 {
				t.Errorf("a stream under way at the stop: %d, whole %v: %s %s", a.status, a.whole, a.body, a.fault)
			}
		}
		n.wait(30 * time.Second)
		l.hold()
		l.end()
		for _, a := range l.all() {
			if a.status == 200 && !a.whole && a.kind.chunks == 0 && a.kind.leave == 0 && !a.kind.breaks {
				t.Errorf("%s had begun, and was broken off: %s", a.kind.name, a.body)
			}
		}
		w.audit(append(slow.all(), l.all()...), d)
	})
}

// TestStopCuts stops the process while streams are under way that would not end within the drain time, on a quick
// upstream and on one that has fallen silent: they are broken off and charged for what was delivered.
func TestStopCuts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "sqlite")
	d := w.open()
	for model, spec := range map[string]string{"fake-long": "chunks=2000&delay=10ms", "fake-slow": "first=1h"} {
		if err := w.up.Set(model, spec); err != nil {
			t.Fatal(err)
		}
	}
	n := w.node(config{drain: time.Second})
	n.start()
	n.up()
	l := newLoad(w.key, []kind{
		{name: "endless stream", path: chatPath, body: chat("fake-long", 4000, withUsage)},
		{name: "silent stream", path: chatPath, body: chat("fake-stall", 64, withUsage)},
		{name: "no answer", path: chatPath, body: chat("fake-slow", 64, "")},
	})
	var wg sync.WaitGroup
	for i := range 9 {
		wg.Go(func() { l.keep(l.call("http://"+n.addr, &l.kinds[i%3])) })
	}
	eventually(t, 10*time.Second, func() (bool, string) { return w.up.Stats().Active == 9, "the calls do not begin" })
	began := time.Now()
	n.term()
	n.wait(15 * time.Second)
	t.Logf("stopped %v after the signal", time.Since(began))
	wg.Wait()
	for _, a := range l.all() {
		if stream := a.kind.name != "no answer"; stream && (a.whole || a.status != 200) || !stream && (!a.whole || a.status != 503) {
			t.Errorf("%s: %d, whole %v: %s", a.kind.name, a.status, a.whole, a.body)
		}
	}
	w.audit(l.all(), d)
	charged := map[string]int{}
	for _, e := range allEvents(t, d) {
		if e.Charge > 0 {
			charged[e.Model]++
		}
		if e.Outcome == "completed" || e.Outcome == "client_gone" {
			t.Errorf("%s of %s is %s", e.ID, e.Model, e.Outcome)
		}
	}
	if charged["fake-long"] != 3 || charged["fake-stall"] != 3 || charged["fake-slow"] != 0 {
		t.Errorf("charged: %v; want the streams that had begun to deliver, and nothing else", charged)
	}
}
