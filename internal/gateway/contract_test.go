package gateway

import (
	"context"
	"io"
	"net/netip"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/quota"
)

// TestUsedBeforeAStream: an engine that knows what a stream will use may say so before it begins it.
func TestUsedBeforeAStream(t *testing.T) {
	for _, first := range []bool{true, false} {
		c := &Call{}
		c.units = 9000 // measured
		w := &engineWriter{c: c}
		if first {
			w.Used(engine.Units(5))
		}
		w.Start(200, "text/event-stream")
		if want := map[bool]int64{true: 5000, false: 0}[first]; c.units != want {
			t.Errorf("reported first: %v, %d units", first, c.units)
		}
	}
}

// broken is an engine with a fault.
type broken struct{ engine.Engine }

func (broken) Talk(context.Context, *engine.Request, engine.Conn) error { panic("fault") }

// line is a connection of which only the end is of interest.
type line struct {
	Socket
	code int
	end  chan struct{}
}

func (l *line) Read(context.Context) (bool, []byte, error) {
	<-l.end
	return false, nil, io.EOF
}

func (l *line) Close(code int, reason string) error {
	l.code = code
	close(l.end)
	return nil
}

// TestPanicEndsTheSession: no one else would close a connection that the server has given away.
func TestPanicEndsTheSession(t *testing.T) {
	c := &Call{Cancel: new(egress.Cancel), Out: &captured{}}
	c.in = &engine.Request{}
	l := &line{end: make(chan struct{})}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed: the call would look like a success")
			}
		}()
		_ = c.talk(broken{}, &target{Target: &catalog.Target{}}, func() (Socket, error) { return l, nil })
	}()
	if l.code != 1011 {
		t.Errorf("closed with %d", l.code)
	}
}

// TestLimitsOfNestedCalls: a call in a call is under the limits of what it calls, and not twice under its caller's.
func TestLimitsOfNestedCalls(t *testing.T) {
	limiter := quota.NewLimiter()
	defer limiter.Close()
	g := &Gateway{o: Options{Limiter: limiter}}
	sub, other := db.UUID{1}, db.UUID{2}
	call := func(under db.UUID) error {
		c := newCall(g)
		c.who = &auth.Principal{Limits: &auth.Limits{Requests: 1}}
		c.offer = &plan.Offer{Subscription: sub, Limits: plan.Limits{RPM: 1}}
		c.nested, c.under, c.ev.Time = true, under, time.Now()
		return c.admit()
	}
	for i, want := range []bool{true, false} { // the subscription's one call, and one too many
		if err := call(other); (err == nil) != want || err != nil && !problem.Is(err, problem.TooMany) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := call(sub); err != nil { // the outer call has counted
		t.Error(err)
	}
}

func TestNetwork(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		if same := network(netip.MustParseAddr(c.a)) == network(netip.MustParseAddr(c.b)); same != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, same)
		}
	}
	network(netip.Addr{}) // unknown
}

func TestRenamedQuery(t *testing.T) {
	in := url.Values{"a": {"b"}, "model": {"ours", "again"}}
	if got := renamedQuery(in, "theirs"); got != "?a=b&model=theirs" || in.Get("model") != "ours" {
		t.Errorf("%q %v", got, in)
	}
	if got := renamedQuery(url.Values{"a": {"b"}}, "theirs") + renamedQuery(nil, "theirs"); got != "?a=b" {
		t.Errorf("%q", got)
	}
}

// stuck is a connection whose client takes a message after some time.
type stuck struct {
	Socket
	takes time.Duration
}

func (s stuck) Write(ctx context.Context, _ bool, _ []byte) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(s.takes):
		return nil
	}
}

// TestLastMessage ends a session while a message is being written: it may be finished, but not for ever.
func TestLastMessage(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		err   error
	}{{lastWrite / 2, nil}, {2 * lastWrite, context.Canceled}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := &session{s: stuck{takes: c.takes}}
			time.AfterFunc(time.Millisecond, cancel)
			if err := s.Write(ctx, true, nil); err != c.err {
				t.Errorf("a message of %s: %v", c.takes, err)
			}
			if err := s.Write(ctx, true, nil); err != context.Canceled {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}
