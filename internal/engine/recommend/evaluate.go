package recommend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
)

const minute = time.Minute

// EvalOptions size the evaluation on generated data. Zero fields take the sizes of the stored report.
type EvalOptions struct {
	Seed   uint64 // 0: 1
	Users  int    // 0: 3000
	Items  int    // 0: 1500
	Events int    // 0: 90,000
	Probes int    // events whose effect on the next answer is timed; 0: 200
	Scale  int    // events of a space ten times as large as its items, of which speed and memory are measured; 0: no such report
	Date   string // of the reports; "": today
}

// world is generated data with a structure to be found: each item has a cluster, latent factors around the cluster's,
// and words of the cluster; each user is drawn to two clusters and has factors of his own. Popularity is
// skewed as in shops (Zipf), and a choice depends on both.
type world struct {
	items  []Item
	events []event
	now    uint32
}

const (
	latent   = 12
	clusters = 25
)

// generate makes a world. The same options give the same.
func generate(o EvalOptions, now uint32) *world {
	rng := rand.New(rand.NewPCG(o.Seed, 7))
	w := &world{now: now}
	normal := func(around []float64, spread float64) []float64 {
		v := make([]float64, latent)
		for i := range v {
			v[i] = rng.NormFloat64() * spread
			if around != nil {
				v[i] += around[i]
			}
		}
		return v
	}
	centre := make([][]float64, clusters)
	for c := range centre {
		centre[c] = normal(nil, 1)
	}
	factors, pop, of := make([][]float64, o.Items), make([]float64, o.Items), make([]int, o.Items)
	rank := rng.Perm(o.Items)
	byCluster := make([][]int32, clusters)
	for i := range o.Items {
		c := rng.IntN(clusters)
		of[i], factors[i] = c, normal(centre[c], 0.6)
		pop[i] = -0.7 * math.Log(float64(rank[i]+3))
		byCluster[c] = append(byCluster[c], int32(i))
		title := ""
		for range 4 {
			title += fmt.Sprintf("word%dx%d ", c, rng.IntN(12))
		}
		title += fmt.Sprintf("common%d common%d", rng.IntN(40), rng.IntN(40))
		w.items = append(w.items, Item{ID: fmt.Sprintf("item-%d", i), Title: title, Category: fmt.Sprintf("category-%d", c/3),
			Tags: []string{fmt.Sprintf("tag-%d", c), fmt.Sprintf("mood-%d", rng.IntN(9))}})
	}
	for u := range o.Users {
		w.user(rng, u, o, normal, centre, factors, pop, byCluster)
	}
	slices.SortStableFunc(w.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return w
}

// user draws the events of one user: items of the whole shop by the softmax of taste and popularity, each once or twice.
func (w *world) user(rng *rand.Rand, u int, o EvalOptions, normal func([]float64, float64) []float64, centre, factors [][]float64,
	pop []float64, byCluster [][]int32) {
	a, b := rng.IntN(clusters), rng.IntN(clusters)
	mid := make([]float64, latent)
	for i := range mid {
		mid[i] = 0.6*centre[a][i] + 0.4*centre[b][i]
	}
	taste := normal(mid, 0.5)
	// A sample of the shop that the user gets to see: half by cluster, half by chance, as large as keeps generation fast.
	seen := map[int32]bool{}
	var menu []int32
	see := func(n int32) {
		if !seen[n] {
			seen[n] = true
			menu = append(menu, n)
		}
	}
	for range min(400, o.Items/2) {
		c := a
		if rng.IntN(5) < 2 {
			c = b
		}
		if list := byCluster[c]; len(list) > 0 {
			see(list[rng.IntN(len(list))])
		}
		see(int32(rng.IntN(o.Items)))
	}
	type draw struct {
		item int32
		key  float64
	}
	draws := make([]draw, len(menu))
	for i, n := range menu {
		fit := 0.0
		for k := range latent {
			fit += taste[k] * factors[n][k]
		}
		// Gumbel's trick: the largest keys are a sample without replacement by the softmax.
		draws[i] = draw{n, 0.45*fit + pop[n] - math.Log(-math.Log(rng.Float64()+1e-12)+1e-12)}
	}
	slices.SortFunc(draws, func(x, y draw) int { return cmp.Compare(y.key, x.key) })
	mean := float64(o.Events) / float64(o.Users) / 1.4
	n := min(len(draws), max(3, int(mean*(0.4+1.2*rng.Float64()))))
	picked := draws[:n]
	rng.Shuffle(n, func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })
	at := w.now - uint32(60*day) + uint32(rng.IntN(30*day))
	for _, d := range picked {
		at += uint32(rng.IntN(max(1, 30*day/n)))
		w.events = append(w.events, event{usr: int32(u), item: d.item, kind: view, at: at})
		switch rng.IntN(5) {
		case 0:
			w.events = append(w.events, event{usr: int32(u), item: d.item, kind: purchase, at: at + 60})
		case 1:
			w.events = append(w.events, event{usr: int32(u), item: d.item, kind: click, at: at + 30})
		}
	}
}

// model is the world in memory, without a database.
func (w *world) model(cfg *Config) *model {
	m := newModel(cfg, w.now)
	for i := range w.items {
		x := &w.items[i]
		m.setItem(int32(i), item{id: x.ID, title: x.Title, category: x.Category, tags: slices.Clone(x.Tags), available: true, listed: true,
			terms: termsOf(x.Title, x.Text, x.Category, x.Tags, nil)})
	}
	for _, e := range w.events {
		if int(e.usr) >= len(m.users) || m.users[e.usr].id == "" {
			m.setUser(e.usr, fmt.Sprintf("user-%d", e.usr), nil)
		}
		m.apply(e)
	}
	m.setNorms()
	return m
}

func (o *EvalOptions) complete(now time.Time) {
	o.Seed = max(o.Seed, 1)
	if o.Users == 0 {
		o.Users = 3000
	}
	if o.Items == 0 {
		o.Items = 1500
	}
	if o.Events == 0 {
		o.Events = 90_000
	}
	if o.Probes == 0 {
		o.Probes = 200
	}
	if o.Date == "" {
		o.Date = now.UTC().Format(time.DateOnly)
	}
}

// Evaluate measures the engine on generated data with known structure: how well each ranker finds the last item of
// each user (leave-last-out), and how soon an event changes the next answer, through the database.
func Evaluate(ctx context.Context, o EvalOptions) ([]engine.Report, error) {
	o.complete(time.Now())
	now := uint32(time.Now().Unix())
	w := generate(o, now)
	data := fmt.Sprintf("generated: %d users, %d items, %d events, %d latent factors, %d clusters, Zipf popularity, seed %d",
		o.Users, o.Items, len(w.events), latent, clusters, o.Seed)
	quality, err := w.quality(ctx, o, data)
	if err != nil {
		return nil, err
	}
	speed, err := w.realTime(ctx, o, data)
	if err != nil {
		return nil, err
	}
	out := append(quality, *speed)
	if o.Scale == 0 {
		return out, nil
	}
	o.Events, o.Items, o.Users = o.Scale, o.Scale/10, o.Scale/20
	w = generate(o, now)
	dir, err := os.MkdirTemp("", "recommend-scale-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	figures, err := w.measured(ctx, dir, o)
	return append(out, engine.Report{Family: "recommend", Engine: Name, Model: Hybrid, Version: Version, Task: "scale: speed and memory",
		Data:    fmt.Sprintf("generated: %d users, %d items, %d events, seed %d", o.Users, o.Items, len(w.events), o.Seed),
		Samples: scaleAsks, Date: o.Date, Figures: figures,
		Note: fmt.Sprintf("%d processors, training on one thread; events written in batches of %d to SQLite, synced", runtime.GOMAXPROCS(0), maxEvents)}), err
}

// measured is scale on an engine and a database in dir.
func (w *world) measured(ctx context.Context, dir string, o EvalOptions) (out []engine.Figure, err error) {
	err = onDatabase(ctx, dir, func(e *Engine) (err error) { out, err = w.scale(ctx, e, o); return err })
	return out, err
}

// onDatabase runs fn with an engine on a new database in dir.
func onDatabase(ctx context.Context, dir string, fn func(*Engine) error) error {
	d, err := db.Open(ctx, "sqlite:"+filepath.Join(dir, "evaluate.db"), db.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Migrate(ctx, Migrations); err != nil {
		return err
	}
	e, err := New(Options{DB: d})
	if err != nil {
		return err
	}
	return errors.Join(fn(e), e.Close(context.WithoutCancel(ctx)))
}

func (w *world) quality(ctx context.Context, o EvalOptions, data string) ([]engine.Report, error) {
	cfg, err := parseConfig([]byte(`{}`))
	if err != nil {
		return nil, err
	}
	m := w.model(cfg)
	held := m.hold(evalMostUsers, o.Seed, w.now)
	if m.fit, err = train(ctx, m.matrix(w.now), len(m.items), nil, 2, o.Seed); err != nil {
		return nil, err
	}
	list, err := m.score(ctx, held, 10, w.now)
	if err != nil {
		return nil, err
	}
	base := 0.0
	for _, s := range list {
		if s.Algorithm == rankerNames[byPopular] {
			base = s.HitRate
		}
	}
	var out []engine.Report
	for _, s := range list {
		r := engine.Report{Family: "recommend", Engine: Name, Model: s.Algorithm, Version: Version, Task: "leave-last-out ranking, " + s.Algorithm,
			Data: data, Samples: len(held), Date: o.Date,
			Figures: []engine.Figure{{Name: "HR@10", Value: round(s.HitRate)}, {Name: "NDCG@10", Value: round(s.NDCG)}, {Name: "coverage", Value: round(s.Coverage)}}}
		if s.Algorithm == Hybrid && base > 0 {
			r.Figures = append(r.Figures, engine.Figure{Name: "HR@10 over popularity", Value: round(s.HitRate / base), Floor: 1.5})
		}
		out = append(out, r)
	}
	return out, nil
}

func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// realTime writes events of users one by one to an engine on a database of its own, and times until the next answer
// differs because of each.
func (w *world) realTime(ctx context.Context, o EvalOptions, data string) (*engine.Report, error) {
	dir, err := os.MkdirTemp("", "recommend-evaluate-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var took []time.Duration
	err = onDatabase(ctx, dir, func(e *Engine) (err error) {
		if err = w.write(ctx, e, "evaluate", "world"); err == nil {
			took, err = w.probe(ctx, e, "world", o)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &engine.Report{Family: "recommend", Engine: Name, Model: Hybrid, Version: Version, Task: "real time: from an event to a changed answer",
		Data: data, Samples: len(took), Date: o.Date, Figures: changed(took),
		Note: "event written and synced to SQLite, then for-you asked until its items or their order differ"}, nil
}

// changed sums up how soon events changed answers.
func changed(took []time.Duration) []engine.Figure {
	slices.Sort(took)
	within := 0
	for _, t := range took {
		if t <= 100*time.Millisecond {
			within++
		}
	}
	return []engine.Figure{
		{Name: "changed within 100 ms", Value: round(100 * float64(within) / float64(max(1, len(took)))), Floor: 95, Unit: "%"},
		{Name: "event to changed answer, median", Value: quantile(took, 0.5), Unit: "ms"},
		{Name: "event to changed answer, 99th percentile", Value: quantile(took, 0.99), Unit: "ms"},
	}
}

// write stores the world as a space.
func (w *world) write(ctx context.Context, e *Engine, owner, space string) error {
	if err := e.Ensure(ctx, owner, space, "shop"); err != nil {
		return err
	}
	for list := range slices.Chunk(w.items, maxItems) {
		if err := e.Upsert(ctx, owner, space, list...); err != nil {
			return err
		}
	}
	for list := range slices.Chunk(w.events, maxEvents) {
		batch := make([]Event, len(list))
		for i, x := range list {
			at := time.Unix(int64(x.at), 0).UTC()
			batch[i] = Event{User: fmt.Sprintf("user-%d", x.usr), Item: w.items[x.item].ID, Type: kindNames[x.kind], Value: float64(x.value) / 1000, Time: &at}
		}
		if _, err := e.Record(ctx, owner, space, batch...); err != nil {
			return err
		}
	}
	return nil
}

// probe times until a user's answer differs because of a purchase, for some users.
func (w *world) probe(ctx context.Context, e *Engine, space string, o EvalOptions) ([]time.Duration, error) {
	rng := rand.New(rand.NewPCG(o.Seed, 11))
	ask := func(user string) (string, error) {
		list, err := e.ForYou(ctx, "evaluate", space, user, 20)
		if err != nil {
			return "", err
		}
		return text(each(list, func(it *Item) string { return it.ID })), nil
	}
	var took []time.Duration
	for range o.Probes {
		user := fmt.Sprintf("user-%d", rng.IntN(o.Users))
		before, err := ask(user)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if _, err := e.Record(ctx, "evaluate", space, Event{User: user, Item: w.items[rng.IntN(o.Items)].ID, Type: "purchase"}); err != nil {
			return nil, err
		}
		for {
			after, err := ask(user)
			if err != nil {
				return nil, err
			}
			if after != before || time.Since(began) > time.Second {
				break
			}
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}
