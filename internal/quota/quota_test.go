package quota

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/problem"
)

var t0 = time.Unix(1_800_000_000, 0)

func subject(scope Scope, id byte, l Limits) Subject {
	return Subject{Scope: scope, ID: [16]byte{0: 1, 15: id}, Limits: l}
}

// refused checks that err is a 429 of the id and returns how long it says to wait.
func refused(t *testing.T, err error, id string) time.Duration {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Kind != problem.TooMany || p.ID != id || p.RetryAfter <= 0 {
		t.Fatalf("%v, want %s", err, id)
	}
	return p.RetryAfter
}

func TestStrictestWinsAllOrNothing(t *testing.T) {
	l := NewLimiter()
	org := subject(Organisation, 1, Limits{Requests: PerMinute(100), Tokens: PerMinute(1000)})
	key := subject(Key, 1, Limits{Requests: PerMinute(2), Tokens: PerMinute(5000), Concurrency: 9})
	var a, b, c Ticket
	for i, ticket := range []*Ticket{&a, &b} {
		if err := l.Admit(ticket, []Subject{org, key}, 100, t0); err != nil {
			t.Fatal(err)
		}
		want := Figure{Limit: 2, Period: time.Minute, Remaining: 1 - int64(i), Reset: time.Duration(i+1) * 30 * time.Second}
		if ticket.Requests != want || ticket.Tokens.Limit != 1000 || ticket.Tokens.Remaining != 900-100*int64(i) {
			t.Errorf("%+v %+v", ticket.Requests, ticket.Tokens)
		}
	}
	if wait := refused(t, l.Admit(&c, []Subject{key, org}, 100, t0), "quota.requests"); wait != 30*time.Second {
		t.Errorf("wait %v", wait)
	}
	if c.Requests.Remaining != 0 || c.Tokens.Remaining != 700 {
		t.Errorf("a refusal shows figures: %+v %+v", c.Requests, c.Tokens)
	}
	l.Settle(&c, 1e9, t0) // a refused ticket holds nothing
	var d Ticket
	if err := l.Admit(&d, []Subject{org}, 800, t0); err != nil {
		t.Fatal("the refused call took tokens of the organisation:", err)
	}
	refused(t, l.Admit(&c, []Subject{org}, 1, t0), "quota.tokens")
	l.Settle(&d, 300, t0) // refund of 500
	if err := l.Admit(&c, []Subject{org}, 500, t0); err != nil {
		t.Fatal(err)
	}
	l.Settle(&c, 1500, t0) // a debt of 1000: full for a minute, empty after two
	if wait := refused(t, l.Admit(&c, []Subject{org}, 1, t0.Add(time.Minute)), "quota.tokens"); wait != 60*time.Millisecond {
		t.Errorf("wait %v", wait)
	}
}

func TestEstimateBeyondTheLimit(t *testing.T) {
	l := NewLimiter()
	s := []Subject{subject(Key, 1, Limits{Tokens: PerMinute(1000)})}
	var a, b Ticket
	if err := l.Admit(&a, s, 50_000, t0); err != nil {
		t.Fatal("an estimate above the limit takes the whole limit:", err)
	}
	refused(t, l.Admit(&b, s, 1, t0), "quota.tokens")
	l.Settle(&a, 400, t0)
	if err := l.Admit(&b, s, 600, t0); err != nil || b.Tokens.Remaining != 0 {
		t.Fatal(err, b.Tokens)
	}
}

func TestConcurrency(t *testing.T) {
	l := NewLimiter()
	s := []Subject{subject(Key, 1, Limits{Concurrency: 2})}
	var a, b, c Ticket
	for _, x := range []*Ticket{&a, &b} {
		if err := l.Admit(x, s, 0, t0); err != nil {
			t.Fatal(err)
		}
	}
	if wait := refused(t, l.Admit(&c, s, 0, t0), "quota.concurrency"); wait != time.Second {
		t.Error(wait)
	}
	l.Settle(&a, 0, t0)
	l.Settle(&a, 0, t0)
	if err := l.Admit(&c, s, 0, t0); err != nil {
		t.Fatal(err)
	}
	refused(t, l.Admit(&a, s, 0, t0), "quota.concurrency")
}

// Under contention, with subjects given in any order: exactly what the limit allows gets in, slots
// are never exceeded, and everything comes free again though every ticket is settled twice at once.
func TestConcurrentCallers(t *testing.T) {
	l := NewLimiter()
	const callers, rounds, slots, allowed = 16, 200, 5, 1000
	subjects := []Subject{
		subject(Key, 1, Limits{Concurrency: slots}),
		subject(Organisation, 2, Limits{Requests: PerMinute(allowed), Tokens: PerMinute(1 << 30)}),
		subject(Product, 3, Limits{Tokens: PerMinute(1 << 30)}),
	}
	var admitted, inside atomic.Int64
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			var ticket Ticket
			mine := []Subject{subjects[g%3], subjects[(g+1)%3], subjects[(g+2)%3]}
			for range rounds {
				if err := l.Admit(&ticket, mine, 10, t0); err != nil {
					continue
				}
				admitted.Add(1)
				if n := inside.Add(1); n > slots {
					t.Errorf("%d calls inside", n)
				}
				inside.Add(-1)
				var twice sync.WaitGroup
				twice.Go(func() { l.Settle(&ticket, 1, t0) })
				l.Settle(&ticket, 1, t0)
				twice.Wait()
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n > allowed {
		t.Fatalf("%d admitted", n)
	}
	var ticket Ticket
	for admitted.Load() < allowed {
		if err := l.Admit(&ticket, subjects, 0, t0); err != nil {
			t.Fatalf("after %d: %v", admitted.Load(), err)
		}
		l.Settle(&ticket, 0, t0)
		admitted.Add(1)
	}
	refused(t, l.Admit(&ticket, subjects, 0, t0), "quota.requests")
	if e := l.entry(&subjects[2], 0); e.inFlight != 0 || e.tokens.Level > int64(callers*rounds)*60_000_000 {
		t.Fatalf("slots or estimates were kept: %+v", e)
	}
}

// Subjects that have been idle for long are forgotten; those in use are not, and nothing else changes.
func TestSweep(t *testing.T) {
	l := NewLimiter()
	var kept, x Ticket
	busy := []Subject{subject(Key, 7, Limits{Concurrency: 1})}
	if err := l.Admit(&kept, busy, 0, t0); err != nil {
		t.Fatal(err)
	}
	const n = 200_000
	for i := range n {
		s := subject(Key, byte(i), Limits{Requests: PerMinute(60)})
		s.ID[3], s.ID[4], s.ID[5] = byte(i>>16), byte(i>>8), 1
		if err := l.Admit(&x, []Subject{s}, 0, t0.Add(time.Duration(i)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		l.Settle(&x, 0, t0)
	}
	if got := l.Subjects(); got > 3*nShards*minSweep {
		t.Errorf("%d subjects are remembered", got)
	}
	refused(t, l.Admit(&x, busy, 0, t0.Add(time.Hour)), "quota.concurrency")
}

// A caller that has looked a subject up and finds it swept by the time it has the lock looks again:
// what it takes must not be lost on state that nobody else sees.
func TestSweepWhileAdmitting(t *testing.T) {
	l := NewLimiter()
	s := []Subject{subject(Key, 1, Limits{Concurrency: 1})}
	sh := l.shard(&s[0])
	for range 100 {
		old := l.entry(&s[0], 0)
		old.mu.Lock() // as the sweeper does, with the caller waiting
		var ticket Ticket
		var err error
		var caller sync.WaitGroup
		caller.Go(func() { err = l.Admit(&ticket, s, 0, t0) })
		for range 100 {
			runtime.Gosched()
		}
		sh.mu.Lock()
		old.dead = true
		delete(sh.entries, subjectKey{s[0].ID, s[0].Scope})
		sh.mu.Unlock()
		old.mu.Unlock()
		caller.Wait()
		if err != nil || l.entry(&s[0], 0).inFlight != 1 {
			t.Fatal("the slot was taken nowhere", err)
		}
		l.Settle(&ticket, 0, t0)
	}
}

// model is a Limiter for one goroutine, made of oracles.
type model struct {
	requests, tokens map[subjectKey]*oracle
	inFlight         map[subjectKey]int64
}

func (m *model) of(all map[subjectKey]*oracle, s Subject) *oracle {
	k := subjectKey{s.ID, s.Scope}
	if all[k] == nil {
		all[k] = newOracle()
	}
	return all[k]
}

func (m *model) admit(subjects []Subject, tokens, now int64) bool {
	for _, commit := range []bool{false, true} {
		for _, s := range subjects {
			k := subjectKey{s.ID, s.Scope}
			ok := s.Limits.Concurrency == 0 || m.inFlight[k] < s.Limits.Concurrency || commit
			ok = ok && (s.Limits.Requests.None() || m.of(m.requests, s).take(s.Limits.Requests, 1, now, commit).OK)
			ok = ok && (s.Limits.Tokens.None() || m.of(m.tokens, s).take(s.Limits.Tokens, tokens, now, commit).OK)
			if !ok {
				return false
			}
			if commit {
				m.inFlight[k]++
			}
		}
	}
	return true
}

// Random calls on few subjects, sweeping whenever a subject is met: the same decisions as the model.
func TestLimiterAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := NewLimiter()
		m := &model{map[subjectKey]*oracle{}, map[subjectKey]*oracle{}, map[subjectKey]int64{}}
		limits := rapid.SampledFrom([]Limits{{}, {Requests: PerMinute(3)}, {Tokens: PerMinute(100)}, {Concurrency: 2},
			{Requests: PerMinute(7), Tokens: PerMinute(50), Concurrency: 3}})
		all := make([]Subject, 5)
		for i := range all {
			all[i] = subject(Scope(i%3), byte(i/3), limits.Draw(t, "limits"))
		}
		type open struct {
			ticket   *Ticket
			subjects []Subject
		}
		var opens []open
		now := t0
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 3000, 61_000}).Draw(t, "ms")) * time.Millisecond)
			for i := range l.shards {
				l.shards[i].sweep(now.UnixMicro())
			}
			if len(opens) > 0 && rapid.Bool().Draw(t, "settle") {
				o := opens[0]
				opens = opens[1:]
				// The actual equals the estimate: refunds and debts have their own oracle.
				l.Settle(o.ticket, o.ticket.estimate, now)
				for _, s := range o.subjects {
					m.inFlight[subjectKey{s.ID, s.Scope}]--
				}
				continue
			}
			picked := rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 0, 4, rapid.ID[int]).Draw(t, "subjects")
			var subjects []Subject
			for _, i := range picked {
				subjects = append(subjects, all[i])
			}
			tokens := rapid.Int64Range(0, 50).Draw(t, "tokens")
			ticket := new(Ticket)
			err := l.Admit(ticket, subjects, tokens, now)
			if want := m.admit(subjects, tokens, now.UnixMicro()); (err == nil) != want {
				t.Fatalf("%v, want %v", err, want)
			}
			if err == nil {
				opens = append(opens, open{ticket, subjects})
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	ticket := Ticket{Requests: Figure{Limit: 500, Period: time.Minute, Remaining: 499, Reset: 120 * time.Millisecond},
		Tokens: Figure{Limit: 9000, Period: time.Minute, Remaining: 8000, Reset: 6667 * time.Millisecond}}
	b, hs := ticket.AppendHeaders(nil, nil)
	got := map[string]string{}
	for _, h := range hs {
		got[h.Name] = string(b[h.Start:h.End])
	}
	for name, want := range map[string]string{
		"X-Ratelimit-Limit-Requests": "500", "X-Ratelimit-Remaining-Requests": "499", "X-Ratelimit-Reset-Requests": "120ms",
		"X-Ratelimit-Limit-Tokens": "9000", "X-Ratelimit-Remaining-Tokens": "8000", "X-Ratelimit-Reset-Tokens": "6.667s",
		"Ratelimit-Policy": `"requests";q=500;w=60, "tokens";q=9000;w=60;qu="tokens"`,
		"Ratelimit":        `"requests";r=499;t=1, "tokens";r=8000;t=7`,
	} {
		if got[name] != want {
			t.Errorf("%s: %s, want %s", name, got[name], want)
		}
	}
	if len(hs) != MaxHeaders {
		t.Error(len(hs))
	}
	if b, hs = new(Ticket).AppendHeaders(nil, nil); len(b)+len(hs) != 0 {
		t.Error("no limit, no header")
	}
}

func TestAppendDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{0: "0s", -time.Second: "0s", 1: "1ms", 12 * time.Millisecond: "12ms", time.Second: "1s",
		7660 * time.Millisecond: "7.66s", 6 * time.Minute: "6m0s", 86*time.Second + 4*time.Millisecond: "1m26.004s", 61 * time.Minute: "1h1m0s"} {
		if got := string(AppendDuration(nil, in)); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

var benchSubjects = []Subject{
	subject(Key, 1, Limits{Requests: PerMinute(1e9), Tokens: PerMinute(1e10), Concurrency: 1e6}),
	subject(Organisation, 2, Limits{Requests: PerMinute(1e9)}),
	subject(Subscription, 3, Limits{Requests: PerMinute(1e9), Tokens: PerMinute(1e10), Concurrency: 1e6}),
	subject(Product, 4, Limits{}),
}

func BenchmarkAdmitSettle(b *testing.B) {
	l := NewLimiter()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var ticket Ticket
		for pb.Next() {
			if err := l.Admit(&ticket, benchSubjects, 100, t0); err != nil {
				b.Error(err)
				return
			}
			l.Settle(&ticket, 10, t0)
		}
	})
}

func TestAdmitDoesNotAllocate(t *testing.T) {
	l := NewLimiter()
	var ticket Ticket
	buf, hs := make([]byte, 0, 512), make([]Header, 0, MaxHeaders)
	if n := testing.AllocsPerRun(100, func() {
		if err := l.Admit(&ticket, benchSubjects, 100, t0); err != nil {
			t.Fatal(err)
		}
		ticket.AppendHeaders(buf, hs)
		l.Settle(&ticket, 10, t0)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
