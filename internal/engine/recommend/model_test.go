package recommend

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
)

func TestTrending(t *testing.T) {
	r := small(t)
	r.fill(`{"trend_hours":12}`)
	// tea-9 is always popular; bike-11 has just begun to be.
	var events []Event
	for i := range 300 {
		at := noon.Add(-time.Duration(i) * 6 * time.Hour)
		events = append(events, Event{User: fmt.Sprintf("x%d", i), Item: "tea-9", Type: "view", Time: &at})
	}
	for i := range 25 {
		at := noon.Add(-time.Duration(i) * 10 * time.Minute)
		events = append(events, Event{User: fmt.Sprintf("x%d", i), Item: "bike-11", Type: "view", Time: &at})
	}
	r.must(nil, "events.put", map[string]any{"events": events}, "shop")
	if a := r.ask("trending", map[string]any{"limit": 3, "explain": true}); a.Items[0].ID != "bike-11" || a.Model != "trending" || a.Items[0].Reason.Code != "trending" {
		t.Errorf("%v", ids(a))
	}
	// Long after, nothing has changed in the order of what is popular, and nothing overflows.
	before := ids(r.ask("popular", map[string]any{"limit": 5}))
	r.clock.Advance(100 * 24 * time.Hour)
	r.must(nil, "users.put", map[string]any{"users": []User{{ID: "later"}}}, "shop")
	if after := ids(r.ask("popular", map[string]any{"limit": 5})); !slices.Equal(before, after) {
		t.Errorf("%v, before %v", after, before)
	}
}

func TestWhoIsNewGetsWhatHisLikeLike(t *testing.T) {
	r := small(t)
	r.fill(`{"segment_by":["country"]}`)
	var users []User
	for u := range 20 {
		users = append(users, User{fmt.Sprintf("t%d", u), map[string]string{"country": "CN"}}, User{fmt.Sprintf("b%d", u), map[string]string{"country": "DE"}})
	}
	users = append(users, User{"new", map[string]string{"country": "CN"}})
	r.must(nil, "users.put", map[string]any{"users": users}, "shop")
	r.trained()
	first := func(q map[string]any) Item {
		q["algorithm"], q["explain"] = "segment", true
		return r.ask("for_you", q).Items[0]
	}
	if it := first(map[string]any{"user": "new"}); it.Category != "tea" || it.Reason.Code != "segment" {
		t.Errorf("%+v", it)
	}
	if it := first(map[string]any{"context": map[string]string{"country": "DE"}}); it.Category != "bike" {
		t.Errorf("%+v", it)
	}
}

func TestDislikes(t *testing.T) {
	r := small(t)
	r.fill(`{"exclude":["nothing"]}`)
	record := func(events ...Event) { r.must(nil, "events.put", map[string]any{"events": events}, "shop") }
	shown := func() bool {
		return slices.Contains(ids(r.ask("for_you", map[string]any{"user": "z", "limit": 100})), "tea-1")
	}
	record(Event{User: "z", Item: "tea-1", Type: "like"})
	if !shown() {
		t.Error("liked and not shown")
	}
	record(Event{User: "z", Item: "tea-1", Type: "dislike"})
	if shown() {
		t.Error("disliked and shown")
	}
	record(Event{User: "z", Item: "tea-1", Type: "rating", Value: 5})
	if !shown() {
		t.Error("rated well and not shown")
	}
	record(Event{User: "z", Item: "tea-1", Type: "rating", Value: 1})
	if shown() {
		t.Error("rated badly and shown")
	}
}

func TestExplains(t *testing.T) {
	r := small(t)
	r.fill(`{"rules":[{"type":"pin","position":2,"match":{"ids":["bike-11"]}}]}`)
	r.trained()
	for algorithm, want := range map[string][]string{"item_cf": {"viewed", "because you viewed “Green tea"}, "user_cf": {"similar_users", "similar interests"},
		"factors": {"taste", "such as “Green tea"}, "content": {"content", "about the same as “Green tea"}, "popular": {"popular", "popular in"}} {
		a := r.ask("for_you", map[string]any{"user": "t1", "explain": true, "algorithm": algorithm, "limit": 3})
		if x := a.Items[0].Reason; x.Code != want[0] || !strings.Contains(x.Text, want[1]) {
			t.Errorf("%s: %+v", algorithm, x)
		}
		if x := a.Items[1]; x.ID != "bike-11" || !x.Pinned || x.Reason.Code != "pinned" {
			t.Errorf("%s: %+v", algorithm, x)
		}
	}
	for code, both := range sentences {
		if strings.Count(both[0], "%s") != strings.Count(both[1], "%s") {
			t.Errorf("%s: the languages have different verbs", code)
		}
		if strings.Count(both[0], "%s") == 0 && reason(code, "zh-CN", "").Text != both[1] {
			t.Errorf("%s: not in Chinese", code)
		}
	}
}

func TestLikelihood(t *testing.T) {
	// Dunning's ratio of the table 10, 90, 90, 810: independent; and of 50, 50, 50, 850, by hand 139.9.
	if l := likelihood(10, 100, 100, 1000); l > 1e-9 {
		t.Error(l)
	}
	k := []float64{50, 50, 50, 850}
	rows, cols := []float64{100, 900}, []float64{100, 900}
	want := 0.0
	for i, x := range k {
		want += 2 * x * math.Log(x*1000/(rows[i/2]*cols[i%2]))
	}
	if l := likelihood(50, 100, 100, 1000); math.Abs(l-want) > 1e-6 {
		t.Errorf("%v, want %v", l, want)
	}
	r := small(t)
	r.fill(`{"similarity":"llr"}`)
	if a := r.ask("similar", map[string]any{"item": "bike-1", "algorithm": "item_cf", "limit": 3}); len(a.Items) != 3 || a.Items[0].Category != "bike" {
		t.Errorf("%v", ids(a))
	}
}

// TestFactorsSolve: the steps of conjugate gradients come to what the equations say.
func TestFactorsSolve(t *testing.T) {
	m, now := func() (*model, uint32) {
		r := small(t)
		r.fill(`{}`)
		s, err := r.e.open(t.Context(), r.owner, "shop")
		if err != nil {
			t.Fatal(err)
		}
		return s.m, r.e.now()
	}()
	f, err := train(t.Context(), m.matrix(now), len(m.items), nil, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := train(t.Context(), m.matrix(now), len(m.items), nil, 1, 1)
	if err != nil || !slices.Equal(f.items, again.items) {
		t.Errorf("%v: training does not repeat", err)
	}
	x := f.fold([]scored{{0, 3}, {2, 1}})
	b, ax := make([]float32, rank), make([]float32, rank)
	var s solver
	s.times(f.gram, x, ax)
	for _, h := range []scored{{0, 3}, {2, 1}} {
		y, c := f.of(h.item), alpha*float32(math.Log1p(float64(h.score)))
		add(ax, y, c*dot(x, y))
		add(b, y, 1+c)
	}
	for i := range b {
		if math.Abs(float64(ax[i]-b[i])) > 2e-2*math.Sqrt(float64(dot(b, b))) {
			t.Fatalf("%v\n%v", ax, b)
		}
	}
	if f.fold([]scored{{int32(len(m.items)), 1}}) != nil {
		t.Error("a vector of nothing")
	}
}

func TestOldEventsAreRemoved(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		r := newRig(t, d, c)
		r.must(nil, "spaces.put", `{"keep_events":1000}`, "shop")
		var events []Event
		for i := range 3000 {
			events = append(events, Event{User: fmt.Sprintf("u%d", i%50), Item: fmt.Sprintf("i%d", i%70), Type: "view"})
		}
		r.must(nil, "events.put", map[string]any{"events": events}, "shop")
		r.ask("popular", nil)
		r.trained()
		var st status
		if r.must(&st, "spaces.get", nil, "shop"); st.Events != 1000 {
			t.Errorf("%d events", st.Events)
		}
	})
}

// TestANodeThatWasAwayLoadsAnew: word of a deleted user may have been removed meanwhile.
func TestANodeThatWasAwayLoadsAnew(t *testing.T) {
	both(t, func(t *testing.T, d *db.DB, c *clock.Manual) {
		a, b := newRig(t, d, c), newRig(t, d, c)
		a.fill(`{}`)
		b.ask("for_you", map[string]any{"user": "t1"})
		a.must(nil, "users.delete", nil, "shop", "t1")
		c.Advance(3 * time.Hour)
		a.e.idle, b.e.idle = 24*time.Hour, 24*time.Hour
		a.ask("popular", nil)
		a.trained() // removes old word
		if err := b.e.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if x := b.ask("for_you", map[string]any{"user": "t1"}); !x.Cold {
			t.Error("a deleted user lives on")
		}
	})
}

// TestTheBackgroundWorks: the poller brings a node up to date and trains it, without being asked.
func TestTheBackgroundWorks(t *testing.T) {
	a := small(t)
	e, err := New(Options{DB: a.e.db, Clock: a.clock, Poll: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b := &rig{t, e, a.clock, a.owner}
	a.must(nil, "spaces.put", `{}`, "shop")
	b.ask("popular", nil)
	a.fill(`{}`)
	deadline := time.After(10 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		var st status
		if b.must(&st, "spaces.get", nil, "shop"); st.Model != nil && st.Model.Events == 240 && st.Model.Trained == 240 {
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%+v", st.Model)
		}
	}
	for range 2 {
		if err := e.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	b.fails("recommend.closed", "for_you", map[string]any{"user": "x"}, "shop")
}

// TestManyAtOnce: questions, events, deletions, training and another configuration at the same time.
func TestManyAtOnce(t *testing.T) {
	r := small(t)
	r.fill(`{"segment_by":["c"]}`)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 40 {
				user := fmt.Sprintf("t%d", i%20)
				var err error
				switch w {
				case 0:
					_, err = r.e.Record(t.Context(), r.owner, "shop", Event{User: user, Item: fmt.Sprintf("bike-%d", i%12), Type: "like"})
				case 1:
					if i%10 == 0 {
						err = r.e.Forget(t.Context(), r.owner, "shop", fmt.Sprintf("b%d", i/10))
					} else if s := r.e.loaded(t.Context(), r.owner, "shop"); s != nil {
						err = r.e.fit(s)
					}
				case 2:
					_, err = r.e.Similar(t.Context(), r.owner, "shop", "tea-1", user, 5)
				default:
					_, err = r.e.ForYou(t.Context(), r.owner, "shop", user, 5)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 5 {
			r.must(nil, "spaces.put", fmt.Sprintf(`{"diversity":0.%d}`, i), "shop")
			if err := r.e.poll(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func TestLocalCalls(t *testing.T) {
	r := small(t)
	ctx := t.Context()
	for range 2 {
		if err := r.e.Ensure(ctx, "platform", "catalogue", "shop"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.e.Upsert(ctx, "platform", "catalogue", Item{ID: "p1", Title: "Translation 翻译"}, Item{ID: "p2", Title: "Speech translation 语音翻译"}, Item{ID: "p3", Title: "Weather"}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.e.Record(ctx, "platform", "catalogue", Event{ID: "s1", User: "org_x", Item: "p1", Type: "purchase"}); err != nil || got.Accepted != 1 {
		t.Fatal(got, err)
	}
	for name, ask := range map[string]func() ([]Item, error){
		"similar": func() ([]Item, error) { return r.e.Similar(ctx, "platform", "catalogue", "p1", "", 1) },
		"for you": func() ([]Item, error) { return r.e.ForYou(ctx, "platform", "catalogue", "org_x", 1) },
	} {
		if list, err := ask(); err != nil || len(list) != 1 || list[0].ID != "p2" {
			t.Errorf("%s: %v %v", name, list, err)
		}
	}
	if list, err := r.e.Popular(ctx, "platform", "catalogue", 3); err != nil || len(list) != 3 || list[0].ID != "p1" {
		t.Errorf("%v %v", list, err)
	}
	if n, err := r.e.Remove(ctx, "platform", "catalogue", "p3", "p4"); n != 1 || err != nil {
		t.Error(n, err)
	}
}

func TestEvaluate(t *testing.T) {
	reports, err := Evaluate(t.Context(), EvalOptions{Users: 500, Items: 400, Events: 12_000, Probes: 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(reports) != 8 || reports[0].Model != Hybrid || len(reports[0].Figures) != 4 {
		t.Errorf("%+v", reports)
	}
	for _, r := range reports {
		for _, low := range r.Below() {
			if !strings.Contains(low, "100 ms") { // a busy machine
				t.Errorf("%s: %s", r.Task, low)
			}
		}
	}
}

func TestSizeIsCounted(t *testing.T) {
	m := newModel(&Config{InterestDays: 1, PopularDays: 1, TrendHours: 1}, 0)
	m.setItem(5, item{id: "x", listed: true, terms: termsOf("a title of words", "", "", nil, nil)})
	if n := m.size(); n < 1000 || n > 10_000 {
		t.Error(n)
	}
}

func TestTooManyQuestions(t *testing.T) {
	r := small(t)
	r.fill(`{}`)
	for range cap(r.e.asks) {
		leave, err := r.e.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.e.ForYou(ctx, r.owner, "shop", "t1", 1); err == nil {
		t.Error("got in")
	}
	r.e.queue.Store(maxQueue)
	r.fails("recommend.busy", "popular", map[string]any{}, "shop")
}
