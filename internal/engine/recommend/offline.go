package recommend

import (
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Scores are what a ranker reached on held-out events.
type Scores struct {
	Algorithm string  `json:"algorithm"`
	HitRate   float64 `json:"hr"`       // part of the users whose held-out item is among the first k
	NDCG      float64 `json:"ndcg"`     // the same, discounted by its place
	Coverage  float64 `json:"coverage"` // part of the items that were recommended to anyone
}

// heldOut is a user's last item, taken out of the model.
type heldOut struct{ user, item int32 }

// hold takes the last item of up to most users, chosen by seed, out of a model that nobody else has: of those who have at
// least three that they did not dislike. What follows from the pairs is counted anew.
func (m *model) hold(most int, seed uint64, now uint32) []heldOut {
	m.dirty = make([]int32, len(m.items))
	m.long, m.short, m.sumLong, m.sumShort, m.pairs = make([]float64, len(m.items)), make([]float64, len(m.items)), 0, 0, 0
	clear(m.posts)
	for n := range m.items {
		m.items[n].users = nil
		m.repost(int32(n), nil, m.items[n].terms)
	}
	m.setNorms()
	var held []heldOut
	for _, i := range rand.New(rand.NewPCG(seed, 2)).Perm(len(m.users)) {
		u := &m.users[i]
		if u.id == "" {
			continue
		}
		if len(held) < most {
			if k := m.lastOf(u); k >= 0 {
				held = append(held, heldOut{int32(i), u.pairs[k].item})
				u.pairs = slices.Delete(u.pairs, k, k+1)
			}
		}
		for _, p := range u.pairs {
			m.join(p.item, int32(i))
			m.count(p.item, float64(p.w), p.at)
		}
	}
	m.segTop = m.segmentTops(now)
	return held
}

// lastOf is the place of a user's last pair that counts, if he has at least three.
func (m *model) lastOf(u *user) int {
	last, n := none, 0
	for k := range u.pairs {
		if p := &u.pairs[k]; !p.disliked() && p.w > 0 && m.items[p.item].listed && m.items[p.item].available {
			last = k
			n++
		}
	}
	if n < 3 {
		return none
	}
	return last
}

// measured are the rankers that an evaluation compares, the blend first.
func (m *model) measured() (names []string, all []weights) {
	blend := forYouWeights
	if own, err := m.cfg.Weights.parse("weights"); err == nil && own != nil {
		blend = *own
	}
	names, all = []string{Hybrid}, []weights{blend}
	for r := byItemCF; r <= byTrending; r++ {
		var w weights
		w[r] = 1
		names, all = append(names, rankerNames[r]), append(all, w)
	}
	return names, all
}

// score ranks for each held-out user and looks where his item comes.
func (m *model) score(ctx context.Context, held []heldOut, k int, now uint32) ([]Scores, error) {
	names, all := m.measured()
	out := make([]Scores, len(all))
	for i, w := range all {
		s := &out[i]
		s.Algorithm = names[i]
		shown := map[int32]bool{}
		for _, h := range held {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			q := &query{user: h.user, w: w, limit: k, skip: 255, now: now}
			for place, r := range m.rank(q) {
				shown[r.item] = true
				if r.item == h.item {
					s.HitRate++
					s.NDCG += 1 / math.Log2(float64(place+2))
				}
			}
		}
		n := float64(max(1, len(held)))
		s.HitRate, s.NDCG, s.Coverage = round(s.HitRate/n), round(s.NDCG/n), round(float64(len(shown))/float64(max(1, m.listed)))
	}
	return out, nil
}

// Of an offline evaluation.
const (
	evalUsers     = 500
	evalMostUsers = 2000
	evalLeast     = 20 // held-out users below which figures would say nothing
)

// serveEvaluate is the offline evaluation of a space: leave-last-out on its own events.
func (e *Engine) serveEvaluate(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in := struct {
		Users int    `json:"users"`
		K     int    `json:"k"`
		Seed  uint64 `json:"seed"`
	}{evalUsers, 10, 1}
	if err := decode(r.Body, &in); err != nil {
		return err
	}
	if in.Users < evalLeast || in.Users > evalMostUsers {
		return engine.Invalid("users", "must be from 20 to 2000")
	}
	if in.K < 1 || in.K > maxLimit {
		return engine.Invalid("k", "must be from 1 to 100")
	}
	s, err := e.open(ctx, r.Owner, r.Params["space"])
	if err != nil {
		return err
	}
	select {
	case e.heavy <- struct{}{}:
		defer func() { <-e.heavy }()
	case <-ctx.Done():
		return ctx.Err()
	default:
		return problem.New(problem.Unavailable, "recommend.evaluating", "another evaluation is running; try again in a minute").After(minute)
	}
	now := e.now()
	m := s.snapshot()
	held := m.hold(in.Users, in.Seed, now)
	if len(held) < evalLeast {
		return problem.New(problem.Unprocessable, "recommend.too_little",
			"only %d users have three items or more; at least %d are needed to evaluate", len(held), evalLeast)
	}
	if m.fit, err = train(ctx, m.matrix(now), len(m.items), nil, e.procs, in.Seed); err != nil {
		return err
	}
	list, err := m.score(ctx, held, in.K, now)
	if err != nil {
		return err
	}
	best := list[0].HitRate
	over := 0.0
	for _, x := range list {
		if x.Algorithm == rankerNames[byPopular] && x.HitRate > 0 {
			over = best / x.HitRate
		}
	}
	return engine.WriteJSON(w, http.StatusOK, map[string]any{
		"engine": Name, "model": Hybrid, "space": s.key.name, "task": "leave-last-out ranking", "users": len(held), "k": in.K,
		"algorithms": list, "hybrid_over_popular": over,
	})
}
