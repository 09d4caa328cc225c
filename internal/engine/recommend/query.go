package recommend

import (
	"context"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxLimit is how many items an answer has at most, defaultLimit how many if none is asked for.
const (
	maxLimit     = 100
	defaultLimit = 10
	maxAnchors   = 20
)

// Query is the body of for-you, similar, trending and popular.
type Query struct {
	User    string            `json:"user"`
	Items   []string          `json:"items"` // similar: to these
	Item    string            `json:"item"`  // similar: to this one
	Limit   int               `json:"limit"`
	Filter  *Filter           `json:"filter"`
	Exclude []string          `json:"exclude"` // seen, purchased, nothing
	Explain bool              `json:"explain"`
	Context map[string]string `json:"context"` // attributes of a user who is not known
	Strategy
}

// Answer is what they return.
type Answer struct {
	RequestID  string     `json:"request_id"`
	Engine     string     `json:"engine"`
	Model      string     `json:"model"`
	Space      string     `json:"space"`
	User       string     `json:"user,omitempty"`
	Cold       bool       `json:"cold,omitempty"` // nothing is known of the user
	Experiment *AnswerArm `json:"experiment,omitempty"`
	Items      []Item     `json:"items"`
}

// AnswerArm tells which arm of which experiment an answer is.
type AnswerArm struct {
	Name string `json:"name"`
	Arm  string `json:"arm"`
}

// The kinds of question.
const (
	forYou   = "for-you"
	similar  = "similar"
	trending = "trending"
	popular  = "popular"
)

func (q *Query) check(surface string) error {
	switch {
	case q.User != "" && !idOK(q.User):
		return engine.Invalid("user", badID)
	case q.User == "" && surface == forYou && len(q.Context) == 0:
		return engine.Invalid("user", "is required; for who is not known give context instead")
	case q.Limit < 0 || q.Limit > maxLimit:
		return engine.Invalid("limit", "must be from 1 to 100")
	case len(q.Context) > maxAttributes || !attributesOK(q.Context):
		return engine.Invalid("context", badAttributes)
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	if q.Item != "" {
		q.Items = append(q.Items, q.Item)
	}
	if surface != similar {
		q.Items = nil
	} else if len(q.Items) == 0 || len(q.Items) > maxAnchors {
		return engine.Invalid("items", "from 1 to 20 ids are needed")
	}
	if q.Filter != nil {
		f := q.Filter
		if len(f.ExcludeIDs) > maxNames || len(f.AllTags) > maxTags || len(f.ExcludeTags) > maxTags {
			return engine.Invalid("filter", "at most 1000 excluded ids and 32 tags")
		}
		f.ids, f.not = setOf(f.IDs), setOf(f.ExcludeIDs)
		return f.Match.check("filter")
	}
	return nil
}

// ask answers a question from the space's model.
func (e *Engine) ask(ctx context.Context, owner, name, surface, model, lang string, q *Query) (*Answer, error) {
	if err := q.check(surface); err != nil {
		return nil, err
	}
	s, err := e.open(ctx, owner, name)
	if err != nil {
		return nil, err
	}
	leave, err := e.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	now := e.clock.Now()
	a := &Answer{RequestID: db.NewID("rec", now), Engine: Name, Space: name, User: q.User}
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := s.m
	r := &query{user: none, limit: q.Limit, filter: q.Filter, rules: m.cfg.Rules, lambda: float32(m.cfg.Diversity),
		perCat: m.cfg.MaxPerCategory, context: q.Context, now: uint32(now.Unix())}
	if q.User != "" {
		if n, ok := m.byID.users[q.User]; ok {
			r.user = n
		}
	}
	if err := m.anchors(q, r); err != nil {
		return nil, err
	}
	if r.skip, err = m.skips(surface, q); err != nil {
		return nil, err
	}
	x, arm := s.arm(surface, q)
	if a.Model, err = m.choose(surface, model, q, r, arm); err != nil {
		return nil, err
	}
	if arm != nil {
		a.Experiment = &AnswerArm{x.Name, arm.Name}
		e.shown.put(exposure{s.key, a.RequestID, x.Name, arm.Name, q.User, now.Unix()})
	}
	a.Cold = surface == forYou && len(m.history(r.user, r.now)) == 0
	a.Items = []Item{}
	list := m.rank(r)
	a.Model = r.answered(a.Model, list)
	for _, x := range list {
		it := m.show(&x)
		if q.Explain {
			it.Reason = m.explain(r, &x, lang)
		}
		a.Items = append(a.Items, it)
	}
	return a, nil
}

// maxQueue is how many questions may wait for their turn.
const maxQueue = 1000

// enter waits for a turn to compute an answer.
func (e *Engine) enter(ctx context.Context) (leave func(), err error) {
	if e.queue.Add(1) > maxQueue {
		e.queue.Add(-1)
		return nil, problem.New(problem.Unavailable, "recommend.busy", "too many recommendations are being computed; try again shortly").After(time.Second)
	}
	defer e.queue.Add(-1)
	select {
	case e.asks <- struct{}{}:
		return func() { <-e.asks }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// anchors resolves the items that others shall be like.
func (m *model) anchors(q *Query, r *query) error {
	for _, id := range q.Items {
		n, ok := m.byID.items[id]
		if !ok || !m.items[n].listed {
			return noItem(id)
		}
		if !slices.Contains(r.items, n) {
			r.items = append(r.items, n)
		}
	}
	return nil
}

// skips are the pairs of the user that keep items out: what the request says, or else what the space says for for-you.
func (m *model) skips(surface string, q *Query) (uint8, error) {
	if q.Exclude != nil || surface != forYou {
		return skipOf(q.Exclude)
	}
	return skipOf(m.cfg.Exclude)
}

// arm is the arm of the running experiment that the question falls under, or nil.
func (s *space) arm(surface string, q *Query) (*experiment, *Arm) {
	if surface != forYou || q.User == "" || q.Algorithm != "" || len(q.Weights) > 0 || len(s.tests) == 0 {
		return nil, nil
	}
	return &s.tests[0], s.tests[0].arm(s.id, q.User)
}

// choose sets the weights and the diversity: by the request, else the experiment's arm, else the product's model, else the
// space, and tells what it chose.
func (m *model) choose(surface, model string, q *Query, r *query, arm *Arm) (string, error) {
	if _, _, err := q.Strategy.resolve(weights{}); err != nil {
		return "", err
	}
	if q.Diversity != nil {
		r.lambda = float32(*q.Diversity)
	} else if arm != nil && arm.Strategy.Diversity != nil {
		r.lambda = float32(*arm.Strategy.Diversity)
	}
	switch surface {
	case trending:
		r.w = weights{byTrending: 1}
		return rankerNames[byTrending], nil
	case popular:
		r.w = weights{byPopular: 1}
		return rankerNames[byPopular], nil
	}
	steps := []Strategy{q.Strategy}
	if arm != nil {
		steps = append(steps, arm.Strategy)
	}
	if surface == forYou {
		steps = append(steps, Strategy{Algorithm: model}, Strategy{Weights: m.cfg.Weights})
	}
	for _, s := range steps {
		// A model that names none of our rankers is the product's own name for the blend.
		if w, set, err := s.resolve(weights{}); err == nil && set {
			r.w = w
			return named(&s), nil
		}
	}
	if r.w = forYouWeights; surface == similar {
		r.w = similarWeights
	}
	return Hybrid, nil
}

func named(s *Strategy) string {
	if s.Algorithm != "" {
		return s.Algorithm
	}
	return Hybrid
}

// answered is the model that an answer is of: the one chosen, or popularity where that had nothing to say, of this user or before
// its first training, and the popular filled all up.
func (r *query) answered(chosen string, list []ranked) string {
	filled := false
	for i := range list {
		for n, x := range list[i].s {
			if x > 0 && r.w[n] > 0 {
				return chosen
			}
		}
		filled = filled || list[i].s[byPopular] > 0
	}
	if filled {
		return rankerNames[byPopular]
	}
	return chosen
}

// show is an item as an answer tells it.
func (m *model) show(x *ranked) Item {
	in := &m.items[x.item]
	it := Item{ID: in.id, Title: in.title, Category: in.category, Tags: in.tags, Currency: in.currency,
		Score: rounded(float64(x.score)), Pinned: x.pinned}
	if in.priced {
		p := Price(in.price)
		it.Price = &p
	}
	if len(in.attrs) > 0 {
		it.Attributes = make(map[string]string, len(in.attrs))
		for _, a := range in.attrs {
			it.Attributes[a.key] = a.value
		}
	}
	return it
}
