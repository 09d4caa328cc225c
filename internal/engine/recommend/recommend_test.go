package recommend

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var sets = []db.Migrations{Migrations}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// both runs fn on both engines, each with a clock that stands at noon.
func both(t *testing.T, fn func(*testing.T, *db.DB, *clock.Manual)) {
	t.Helper()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			dsn := dbtest.SQLiteDSN
			if name == "postgres" {
				dsn = dbtest.PostgresDSN
			}
			c := clock.NewManual(noon)
			fn(t, dbtest.Open(t, dsn(t), db.Options{Clock: c}, sets), c)
		})
	}
}

// small is a rig on SQLite.
func small(t testing.TB) *rig {
	t.Helper()
	c := clock.NewManual(noon)
	return newRig(t, dbtest.Open(t, dbtest.SQLiteDSN(t), db.Options{Clock: c}, sets), c)
}

// rig is an engine on a fresh database, with a clock that stands. Its background reads nothing by itself: tests poll.
type rig struct {
	t     testing.TB
	e     *Engine
	clock *clock.Manual
	owner string
}

func newRig(t testing.TB, d *db.DB, c *clock.Manual) *rig {
	t.Helper()
	e, err := New(Options{DB: d, Clock: c, Poll: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return &rig{t, e, c, "org_a"}
}

// call serves a route by its name; parts are the values of its wildcards, in order.
func (r *rig) call(name string, body any, parts ...string) (*enginetest.Answer, error) {
	r.t.Helper()
	for _, route := range Routes() {
		if route.Name != "recommend."+name {
			continue
		}
		req := &engine.Request{ID: "evt_1", Route: &route, Params: map[string]string{}, Query: url.Values{}, Owner: r.owner, Language: "en"}
		for _, p := range strings.Split(route.Pattern, "/") {
			if strings.HasPrefix(p, "{") {
				req.Params[strings.Trim(p, "{}")], parts = parts[0], parts[1:]
			}
		}
		for _, p := range parts { // the rest: queries
			k, v, _ := strings.Cut(p, "=")
			req.Query.Set(k, v)
		}
		switch b := body.(type) {
		case nil:
		case string:
			req.Body = []byte(b)
		default:
			req.Body = []byte(text(b))
		}
		var s enginetest.Answer
		return &s, r.e.Serve(r.t.Context(), req, &s)
	}
	r.t.Fatalf("no route %s", name)
	return nil, nil
}

// must is call that must succeed; out gets the answer.
func (r *rig) must(out any, name string, body any, parts ...string) int {
	r.t.Helper()
	s, err := r.call(name, body, parts...)
	if err != nil {
		r.t.Fatalf("%s: %v", name, err)
	}
	if out != nil {
		if err := json.Unmarshal(s.Body.Bytes(), out); err != nil {
			r.t.Fatalf("%s: %v: %s", name, err, s.Body.Bytes())
		}
	}
	return s.Status
}

// fails is call that must be refused with the id.
func (r *rig) fails(id, name string, body any, parts ...string) {
	r.t.Helper()
	s, err := r.call(name, body, parts...)
	if err == nil || problem.As(err).ID != id {
		r.t.Errorf("%s %v: %v, want %s; %s", name, body, err, id, s.Body.Bytes())
	}
}

func (r *rig) ask(surface string, q map[string]any) *Answer {
	r.t.Helper()
	var a Answer
	r.must(&a, surface, q, "shop")
	return &a
}

func ids(a *Answer) []string { return each(a.Items, func(it *Item) string { return it.ID }) }

// fill makes a shop of two worlds: tea and bikes. Users t0… like tea, b0… bikes.
func (r *rig) fill(config string) {
	r.t.Helper()
	r.must(nil, "spaces.put", config, "shop")
	var items []Item
	for i := range 12 {
		price := Price(int64(i+1) * 1e6)
		items = append(items,
			Item{ID: fmt.Sprintf("tea-%d", i), Title: fmt.Sprintf("Green tea %d 绿茶", i), Category: "tea", Tags: []string{"drink", fmt.Sprintf("grade-%d", i%3)}, Price: &price, Currency: "EUR"},
			Item{ID: fmt.Sprintf("bike-%d", i), Title: fmt.Sprintf("City bike %d 自行车", i), Category: "bike", Tags: []string{"sport"}, Attributes: map[string]string{"colour": []string{"red", "blue"}[i%2]}})
	}
	r.must(nil, "items.put", map[string]any{"items": items}, "shop")
	var events []Event
	for u := range 20 {
		for k := range 6 {
			at := noon.Add(-time.Duration(24*(6-k)) * time.Hour)
			events = append(events,
				Event{ID: fmt.Sprintf("t%d-%d", u, k), User: fmt.Sprintf("t%d", u), Item: fmt.Sprintf("tea-%d", (u+k*k)%10), Type: "view", Time: &at},
				Event{ID: fmt.Sprintf("b%d-%d", u, k), User: fmt.Sprintf("b%d", u), Item: fmt.Sprintf("bike-%d", (u*3+k)%10), Type: "purchase", Time: &at})
		}
	}
	r.must(nil, "events.put", map[string]any{"events": events}, "shop")
}

// trained trains the space now.
func (r *rig) trained() {
	r.t.Helper()
	s, err := r.e.open(r.t.Context(), r.owner, "shop")
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.e.fit(s); err != nil {
		r.t.Fatal(err)
	}
}

// TestPanics: what panics behind calls ends no process: a training that fails is told, and what was learnt before serves on.
func TestPanics(t *testing.T) {
	r := newRig(t, dbtest.Open(t, dbtest.SQLiteDSN(t), db.Options{Clock: clock.NewManual(noon)}, sets), clock.NewManual(noon))
	r.e.running = true // nothing trains by itself: due tells what the fitter would be given
	due := func() bool {
		select {
		case s := <-r.e.fits:
			s.fitting.Store(false)
			return true
		default:
			return false
		}
	}
	r.fill(`{"title":"Shop"}`)
	r.trained()
	s, err := r.e.open(t.Context(), r.owner, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if !due() {
		t.Error("what was loaded and never trained is not in line")
	}
	good := s.m.users
	bad := slices.Clone(good)
	bad[0].pairs = append(slices.Clone(bad[0].pairs), pair{item: -1, w: 1})
	s.m.users = bad
	r.e.tryFit(s)
	s.m.users = good
	if !s.failed.Load() || s.rest.Load() <= time.Now().UnixNano() {
		t.Error("a training that panicked is not told")
	}
	if list, err := r.e.ForYou(t.Context(), r.owner, "shop", "t1", 3); err != nil || len(list) == 0 {
		t.Error(list, err)
	}
	// Without further events the poller asks for it again, when its rest is over.
	waiting := func() bool {
		if err := r.e.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		return due()
	}
	if waiting() {
		t.Error("it is tried again at once")
	}
	s.rest.Store(0)
	if !waiting() {
		t.Error("it is not tried again")
	}
	r.e.tryFit(s)
	if s.failed.Load() {
		t.Error("a training that succeeded is told to have failed")
	}
	if err := solveAll(t.Context(), &csr{start: []int32{0, 5}}, nil, nil, nil, 2); err == nil {
		t.Error("a panic of a thread of training is no error")
	}
}

// TestDroppedInLine: a space that is dropped while it waits for training leaves the line for good.
func TestDroppedInLine(t *testing.T) {
	r := small(t)
	r.e.running = true // nothing trains by itself
	r.fill(`{"title":"Shop"}`)
	s, err := r.e.open(t.Context(), r.owner, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.e.fits) != 1 {
		t.Fatal("what was loaded and never trained is not in line")
	}
	<-r.e.fits
	s.fitting.Store(false)
	r.e.drop(r.owner, "shop")
	if r.e.wantFit(s); len(r.e.fits) > 0 {
		t.Error("it is in line again, and would be whenever its turn comes")
	}
}

// TestRounded: scores carry no noise of 32 bits.
func TestRounded(t *testing.T) {
	for in, want := range map[float64]float64{float64(float32(0.3)): 0.3, 0: 0, math.NaN(): 0, 1234567.8: 1234570, float64(float32(-0.0001)): -0.0001, 1e-320: 0} {
		if got := rounded(in); got != want {
			t.Errorf("%v: %v, want %v", in, got, want)
		}
	}
}

func TestAnswers(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		r.fill(`{"title":"Shop"}`)
		factors := map[string]any{"user": "t1", "algorithm": "factors", "limit": 4}
		if a := r.ask("for_you", factors); a.Model != "popular" || len(a.Items) != 4 {
			t.Errorf("before training: %+v", a)
		}
		r.trained()
		if a := r.ask("for_you", factors); a.Model != "factors" || a.Items[0].Category != "tea" {
			t.Errorf("after training: %+v", a)
		}
		for user, want := range map[string]string{"t1": "tea", "b1": "bike"} {
			a := r.ask("for_you", map[string]any{"user": user, "limit": 4, "explain": true})
			if len(a.Items) != 4 || a.Engine != "recommend" || a.Model != "hybrid" || a.Cold || !strings.HasPrefix(a.RequestID, "rec_") {
				t.Fatalf("%+v", a)
			}
			for _, it := range a.Items[:3] {
				if it.Category != want || it.Reason == nil || it.Reason.Text == "" {
					t.Errorf("%s: %+v %+v", user, it, it.Reason)
				}
			}
		}
		a := r.ask("similar", map[string]any{"item": "bike-2", "limit": 5})
		for _, it := range a.Items[:4] {
			if it.Category != "bike" || it.ID == "bike-2" {
				t.Errorf("similar: %+v", it)
			}
		}
		// A new item is found by its content.
		if got := ids(r.ask("similar", map[string]any{"item": "tea-11", "limit": 3})); !strings.HasPrefix(strings.Join(got, ""), "tea") {
			t.Errorf("new item: %v", got)
		}
		if a := r.ask("for_you", map[string]any{"user": "nobody", "limit": 5}); !a.Cold || len(a.Items) != 5 || a.Model != "hybrid" {
			t.Errorf("cold: %+v", a)
		}
		if a := r.ask("for_you", map[string]any{"user": "nobody", "algorithm": "item_cf"}); !a.Cold || a.Model != "popular" {
			t.Errorf("cold: %+v", a)
		}
		if a := r.ask("popular", map[string]any{"limit": 100}); len(a.Items) != 24 {
			t.Errorf("popular: %d", len(a.Items))
		}
		var p Profile
		r.must(&p, "users.get", nil, "shop", "t1")
		if len(p.Categories) != 1 || p.Categories[0].Name != "tea" || len(p.Recent) == 0 || p.Recent[0].Types[0] != "view" {
			t.Errorf("%+v", p)
		}
		var st status
		r.must(&st, "spaces.get", nil, "shop")
		if st.Items != 24 || st.Users != 40 || st.Events != 240 || st.Model == nil || st.Model.Trained != 240 {
			t.Errorf("%+v", st)
		}
	})
}

func TestAnEventChangesTheNextAnswer(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		r.fill(`{}`)
		r.trained()
		bikes := func(a *Answer) (n int) {
			for _, it := range a.Items {
				if it.Category == "bike" {
					n++
				}
			}
			return n
		}
		fastest := time.Hour // of five: the machine may be busy
		for u := range 5 {
			user := map[string]any{"user": fmt.Sprintf("t%d", u), "limit": 5}
			first := r.ask("for_you", user)
			began := time.Now()
			r.must(nil, "events.put", map[string]any{"events": []Event{{User: fmt.Sprintf("t%d", u), Item: fmt.Sprintf("bike-%d", u), Type: "purchase"}}}, "shop")
			next := r.ask("for_you", user)
			fastest = min(fastest, time.Since(began))
			if slices.Equal(ids(first), ids(next)) || bikes(first) >= bikes(next) {
				t.Errorf("before %v, after %v", ids(first), ids(next))
			}
		}
		if fastest > 100*time.Millisecond {
			t.Errorf("an event and the next answer took %v", fastest)
		}
	})
}

func TestEventsCountOnce(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		r.must(nil, "spaces.put", `{}`, "shop")
		batch := map[string]any{"events": []Event{
			{ID: "e1", User: "u", Item: "i", Type: "view"}, {ID: "e1", User: "u", Item: "i", Type: "view"}, {User: "u", Item: "i", Type: "like"}}}
		for n, want := range []Recorded{{2, 1}, {1, 2}} {
			var got Recorded
			if r.must(&got, "events.put", batch, "shop"); got != want {
				t.Errorf("time %d: %+v", n, got)
			}
		}
		// The item was not given yet: known, but not recommended.
		if a := r.ask("for_you", map[string]any{"user": "x"}); len(a.Items) != 0 {
			t.Errorf("%+v", a)
		}
		r.must(nil, "items.put", map[string]any{"items": []Item{{ID: "i", Title: "I"}}}, "shop")
		if a := r.ask("for_you", map[string]any{"user": "x"}); len(a.Items) != 1 {
			t.Errorf("%+v", a)
		}
		if a := r.ask("for_you", map[string]any{"user": "u"}); len(a.Items) != 0 {
			t.Errorf("seen: %+v", a)
		}
	})
}

func TestOwnersDoNotMeet(t *testing.T) {
	r := small(t)
	r.fill(`{}`)
	r.owner = "org_b"
	r.fails("recommend.no_space", "for_you", map[string]any{"user": "t1"}, "shop")
	r.fails("recommend.no_space", "users.get", nil, "shop", "t1")
	r.fails("recommend.no_space", "users.delete", nil, "shop", "t1")
	r.fails("recommend.no_space", "events.put", map[string]any{"events": []Event{{User: "u", Item: "i", Type: "view"}}}, "shop")
	var out struct{ Spaces []any }
	if r.must(&out, "spaces.list", nil); len(out.Spaces) != 0 {
		t.Error(out)
	}
	r.must(nil, "spaces.put", `{}`, "shop")
	if a := r.ask("for_you", map[string]any{"user": "t1"}); len(a.Items) != 0 {
		t.Errorf("another owner's items: %v", ids(a))
	}
}

func TestADeletedUserIsGone(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		r.fill(`{}`)
		other := newRig(t, d, c) // another node
		for _, n := range []*rig{r, other} {
			n.trained()
			if a := n.ask("for_you", map[string]any{"user": "t1"}); a.Cold {
				t.Fatal("unknown")
			}
		}
		r.must(nil, "users.delete", nil, "shop", "t1")
		if err := other.e.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, n := range []*rig{r, other} {
			if a := n.ask("for_you", map[string]any{"user": "t1"}); !a.Cold {
				t.Error("still known")
			}
			n.fails("recommend.no_user", "users.get", nil, "shop", "t1")
			n.fails("recommend.no_user", "users.export", nil, "shop", "t1")
			n.fails("recommend.no_user", "users.delete", nil, "shop", "t1")
		}
		var n int64
		err := d.View(t.Context(), func(tx *db.Tx) error {
			return tx.QueryRow(`SELECT (SELECT COUNT(*) FROM recommend_event) + (SELECT COUNT(*) FROM recommend_user)`).Scan(&n)
		})
		if err != nil || n != 240-6+39 {
			t.Errorf("%v: %d rows", err, n)
		}
	})
}

func TestAnotherNodeFollows(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		a, b := newRig(t, d, c), newRig(t, d, c)
		a.fill(`{}`)
		b.ask("for_you", map[string]any{"user": "x"}) // loads
		a.must(nil, "items.put", map[string]any{"items": []Item{{ID: "new", Title: "New"}}}, "shop")
		a.must(nil, "items.delete", map[string]any{"items": []string{"tea-1"}}, "shop")
		a.must(nil, "events.put", map[string]any{"events": []Event{{User: "x", Item: "tea-2", Type: "purchase"}}}, "shop")
		a.must(nil, "spaces.put", `{"rules":[{"type":"exclude","match":{"ids":["tea-3"]}}]}`, "shop")
		if err := b.e.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := ids(b.ask("for_you", map[string]any{"user": "x", "limit": 100}))
		if !slices.Contains(got, "new") || slices.Contains(got, "tea-1") || slices.Contains(got, "tea-2") || slices.Contains(got, "tea-3") {
			t.Errorf("%v", got)
		}
		a.must(nil, "spaces.delete", nil, "shop")
		if err := b.e.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.fails("recommend.no_space", "for_you", map[string]any{"user": "x"}, "shop")
	})
}

func TestBothWaysToAModelAgree(t *testing.T) {
	r := small(t)
	r.must(nil, "spaces.put", `{}`, "shop")
	r.ask("popular", nil) // loaded: what follows comes by changes
	r.fill(`{}`)
	live, err := r.e.open(t.Context(), r.owner, "shop")
	if err != nil {
		t.Fatal(err)
	}
	r.e.drop(r.owner, "shop")
	fresh, err := r.e.open(t.Context(), r.owner, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if live == fresh || live.m.pairs != fresh.m.pairs || live.m.events != fresh.m.events || live.m.seq != fresh.m.seq {
		t.Errorf("%d pairs, %d events, seq %d; loaded %d, %d, %d", live.m.pairs, live.m.events, live.m.seq, fresh.m.pairs, fresh.m.events, fresh.m.seq)
	}
	for i := range fresh.m.users {
		if !slices.Equal(live.m.users[i].pairs, fresh.m.users[i].pairs) {
			t.Errorf("user %d: %v, loaded %v", i, live.m.users[i].pairs, fresh.m.users[i].pairs)
		}
	}
}

func TestUnusedModelsAreDropped(t *testing.T) {
	r := small(t)
	r.fill(`{}`)
	r.ask("popular", nil)
	if n := len(r.e.all()); n != 1 {
		t.Fatal(n)
	}
	r.clock.Advance(31 * time.Minute)
	if err := r.e.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(r.e.all()); n != 0 {
		t.Errorf("%d models", n)
	}
	r.must(nil, "spaces.put", `{}`, "other")
	r.e.memory = 1
	r.ask("popular", nil)
	r.clock.Advance(time.Second)
	r.must(nil, "popular", map[string]any{}, "other")
	if all := r.e.all(); len(all) != 1 || all[0].key.name != "other" {
		t.Errorf("%d models", len(all))
	}
}

func TestContract(t *testing.T) {
	enginetest.Contract(t, Contract(), Routes())
	for _, r := range Routes() {
		if r.Public && r.Method != http.MethodPost {
			t.Errorf("%s is public", r.Name)
		}
	}
}
