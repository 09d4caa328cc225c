package quota

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/kv"
	"github.com/tollgate-io/tollgate/internal/kv/kvtest"
)

// Two nodes share what is allowed, estimates and their corrections included, in memory and in Redis.
func TestSharedBetweenNodes(t *testing.T) {
	kvtest.Each(t, func(t *testing.T, store kv.Store, advance func(time.Duration)) {
		now := t0
		quiet := slog.New(slog.DiscardHandler)
		nodes := []*Limiter{NewShared(store, quiet), NewShared(store, quiet)}
		s := []Subject{subject(Key, 1, Limits{Requests: PerMinute(10), Tokens: PerMinute(1000)}),
			subject(Organisation, 1, Limits{Requests: PerMinute(600), Concurrency: 50})}
		tickets := make([]Ticket, 10)
		for i := range tickets {
			if err := nodes[i%2].Admit(&tickets[i], s, 80, now); err != nil {
				t.Fatal(i, err)
			}
			if got := tickets[i].Requests; got.Limit != 10 || got.Remaining != int64(9-i) {
				t.Fatalf("%d: %+v", i, got)
			}
			if got := tickets[i].Tokens; got.Remaining != 1000-80*int64(i+1) {
				t.Fatalf("%d: %+v", i, got)
			}
		}
		var x Ticket
		for _, l := range nodes { // each alone has seen five, and the refusal leaves nothing behind
			refused(t, l.Admit(&x, s, 1, now), "quota.requests")
			key, org := l.entry(&s[0], 0), l.entry(&s[1], 0)
			if org.inFlight != 5 || key.requests.Level != 5*60_000_000 || key.tokens.Level != 400*60_000_000 {
				t.Fatalf("%d in flight, levels %d, %d", org.inFlight, key.requests.Level, key.tokens.Level)
			}
		}
		for i := range tickets {
			nodes[i%2].Settle(&tickets[i], 30, now) // 300 used of 800 taken
		}
		for _, l := range nodes {
			l.Close() // which sends the corrections
			l.Close()
		}
		advance(6 * time.Second) // one request and a hundred tokens come free
		now = now.Add(6 * time.Second)
		last := NewShared(store, quiet)
		defer last.Close()
		if err := last.Admit(&x, s, 800, now); err != nil {
			t.Fatal(err)
		}
		if x.Tokens.Remaining != 0 {
			t.Errorf("%+v", x.Tokens)
		}
	})
}

// flaky is a store that fails while told to.
type flaky struct {
	kv.Store
	fail  atomic.Bool
	calls atomic.Int64
}

func (f *flaky) Take(ctx context.Context, limits []kv.Limit) ([]kv.Grant, bool, error) {
	f.calls.Add(1)
	if f.fail.Load() {
		return nil, false, errors.New("connection refused")
	}
	return f.Store.Take(ctx, limits)
}

// Without the store a node goes on with its own limits, asks again only after a pause, and tells the
// log once when it begins and once when it ends.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(t0)
		f := &flaky{Store: kv.NewMemory(c)}
		var log bytes.Buffer
		l := NewShared(f, slog.New(slog.NewTextHandler(&log, nil)))
		defer l.Close()
		s := []Subject{subject(Key, 1, Limits{Requests: PerMinute(100), Tokens: PerMinute(100)})}
		admit := func(want bool) {
			t.Helper()
			var x Ticket
			if err := l.Admit(&x, s, 30, c.Now()); (err == nil) != want {
				t.Fatal(err)
			}
			l.Settle(&x, 30, c.Now())
		}
		f.fail.Store(true)
		admit(true)
		admit(true)
		admit(true)
		admit(false) // by the node's own count
		if n := f.calls.Load(); n != 1 {
			t.Errorf("%d calls to a store that is down", n)
		}
		c.Advance(sharedPause)
		admit(false)
		f.fail.Store(false)
		c.Advance(time.Minute)
		admit(true)
		var x Ticket
		if err := l.Admit(&x, s, 30, c.Now()); err != nil {
			t.Fatal(err)
		}
		f.fail.Store(true)
		l.Settle(&x, 10, c.Now())
		time.Sleep(time.Second) // synthetic: the correction goes out, and fails
		synctest.Wait()
		if got := strings.Count(log.String(), "failed"); got != 2 {
			t.Errorf("%d warnings:\n%s", got, &log)
		}
		if got := strings.Count(log.String(), "shared again"); got != 1 {
			t.Errorf("%d recoveries:\n%s", got, &log)
		}
	})
}

// What was taken and has drained since is not given back.
func TestCorrectionsGiveNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(t0)
		l := NewShared(kv.NewMemory(c), slog.New(slog.DiscardHandler))
		defer l.Close()
		s := []Subject{subject(Key, 1, Limits{Tokens: PerMinute(100)})}
		var long, next, x Ticket
		if err := l.Admit(&long, s, 100, c.Now()); err != nil {
			t.Fatal(err)
		}
		c.Advance(time.Minute)
		if err := l.Admit(&next, s, 100, c.Now()); err != nil {
			t.Fatal(err)
		}
		l.Settle(&long, 0, c.Now())
		time.Sleep(time.Second)
		synctest.Wait()
		refused(t, l.Admit(&x, s, 1, c.Now()), "quota.tokens")
	})
}
