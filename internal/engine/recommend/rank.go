package recommend

import (
	"cmp"
	"math"
	"slices"
)

// The rankers, in the order of [Weights].
const (
	byItemCF = iota
	byUserCF
	byFactors
	byContent
	byPopular
	byTrending
	bySegment
	rankers
)

// Hybrid is the name of the blend of all rankers.
const Hybrid = "hybrid"

var rankerNames = [rankers]string{"item_cf", "user_cf", "factors", "content", "popular", "trending", "segment"}

// weights of the blend. Each ranker's scores are divided by its best among the candidates, so that a weight is the most
// that a ranker can give.
type weights [rankers]float32

// The blends that apply where the space gives none; found by search on generated data, see [Evaluate].
var (
	forYouWeights  = weights{byItemCF: 0.20, byUserCF: 0.20, byFactors: 0.40, byContent: 0.20, byPopular: 0.10, bySegment: 0.05}
	similarWeights = weights{byItemCF: 0.50, byFactors: 0.20, byContent: 0.30}
)

// cand is an item on its way into an answer.
type cand struct {
	item  int32
	s     [rankers]float32
	from  int32   // the item of the history that item-item filtering found it by
	fromW float32 // how much that gave
	score float32
}

// scratch is what a query computes in; it is large and used again.
type scratch struct {
	acc       []float32 // by item; zero between uses
	hits      []uint16  // by item; zero between uses
	touched   []int32
	users     []float32 // by user; zero between uses
	seenUsers []int32

	slot  []int32 // by item: index of its candidate plus one, banned, pinnedSlot, or 0
	used  []int32 // items whose slot is set
	cands []cand
	cut   bool // some ranker had more than it was let give
}

const banned = -1

func (s *scratch) sizeItems(n int) {
	if len(s.acc) < n {
		s.acc, s.hits = make([]float32, n+n/8), make([]uint16, n+n/8)
	}
}

func (s *scratch) sizeUsers(n int) {
	if len(s.users) < n {
		s.users = make([]float32, n+n/8)
	}
}

func (s *scratch) begin(n int) {
	if len(s.slot) < n {
		s.slot = make([]int32, n+n/8)
	}
	for _, i := range s.used {
		s.slot[i] = 0
	}
	s.used, s.cands, s.cut = s.used[:0], s.cands[:0], false
}

// query is one question to a model, with names resolved to numbers.
type query struct {
	user    int32   // none: unknown
	items   []int32 // for similar
	w       weights
	limit   int
	filter  *Filter
	rules   []Rule
	lambda  float32 // diversity
	perCat  int     // most items of a category; 0: any number
	skip    uint8   // flags of pairs that keep an item out
	context map[string]string
	now     uint32
}

// ranked is an item of an answer.
type ranked struct {
	cand
	pinned bool
}

// history are the newest items that a user has liked or touched, with their present weight, the newest first.
func (m *model) history(n int32, now uint32) []scored {
	const most = 50
	if n < 0 || int(n) >= len(m.users) {
		return nil
	}
	var out []scored
	pairs := m.users[n].pairs
	for i := len(pairs) - 1; i >= 0 && len(out) < most; i-- {
		p := &pairs[i]
		if p.disliked() || p.w <= 0 {
			continue
		}
		out = append(out, scored{p.item, p.w * (0.25 + 0.75*m.decay(p.at, now))})
	}
	return out
}

// rank answers a query. With max per category or filters a first look may not find enough: then all items
// are looked at.
func (m *model) rank(q *query) []ranked {
	s, _ := m.scratch.Get().(*scratch)
	defer m.scratch.Put(s)
	depth := max(200, 4*q.limit)
	for {
		m.gather(q, s, depth)
		out := m.arrange(q, s)
		if len(out) >= q.limit || depth >= len(m.items) || !s.cut {
			return out
		}
		depth = len(m.items)
	}
}

// add makes an item a candidate, or returns nil where it must not be one.
func (m *model) add(q *query, s *scratch, n int32) *cand {
	switch k := s.slot[n]; {
	case k > 0:
		return &s.cands[k-1]
	case k == banned:
		return nil
	}
	s.used = append(s.used, n)
	if !m.eligible(q, n) {
		s.slot[n] = banned
		return nil
	}
	s.cands = append(s.cands, cand{item: n, from: none})
	s.slot[n] = int32(len(s.cands))
	return &s.cands[len(s.cands)-1]
}

func (m *model) ban(s *scratch, n int32) {
	if s.slot[n] == 0 {
		s.used = append(s.used, n)
	}
	s.slot[n] = banned
}

// gather fills s.cands with candidates, scored by each ranker that the query weighs, depth of each at most.
func (m *model) gather(q *query, s *scratch, depth int) {
	s.begin(len(m.items))
	s.sizeItems(len(m.items))
	if q.user >= 0 && int(q.user) < len(m.users) {
		for i := range m.users[q.user].pairs {
			if p := &m.users[q.user].pairs[i]; p.flags&q.skip != 0 || p.disliked() {
				m.ban(s, p.item)
			}
		}
	}
	from := m.history(q.user, q.now)
	if len(q.items) > 0 {
		from = from[:0]
		for _, n := range q.items {
			m.ban(s, n)
			from = append(from, scored{n, 1})
		}
	}
	if q.w[byItemCF] > 0 {
		m.gatherItemCF(q, s, from)
	}
	if q.w[byUserCF] > 0 {
		m.gatherUserCF(q, s, from)
	}
	if q.w[bySegment] > 0 {
		m.gatherSegments(q, s, m.segmentsOf(q))
	}
	// What follows can score any item: first each finds its best, then all candidates are scored by all.
	var score [rankers]func(int32) float32
	if q.w[byTrending] > 0 {
		score[byTrending] = m.gatherBest(q, s, depth, m.trend(q.now), 1e-9)
	}
	// The popular fill up what the others leave open, and are all that there is for who is new.
	if len(q.items) == 0 && (q.w[byTrending] == 0 || q.w[byPopular] > 0) {
		score[byPopular] = m.gatherPopular(q, s, depth)
	}
	if q.w[byFactors] > 0 {
		score[byFactors] = m.gatherFactors(q, s, from, depth)
	}
	if q.w[byContent] > 0 {
		score[byContent] = m.gatherContent(q, s, from, depth)
	}
	for r, f := range score {
		if f == nil {
			continue
		}
		for i := range s.cands {
			s.cands[i].s[r] = f(s.cands[i].item)
		}
	}
	for _, n := range s.touched { // what gatherContent left
		s.acc[n] = 0
	}
	s.touched = s.touched[:0]
	m.blend(q, s)
}

// full notes whether a ranker may have had more.
func (s *scratch) full(h *heap) { s.cut = s.cut || len(h.list) >= h.cap }

func (m *model) gatherItemCF(q *query, s *scratch, from []scored) {
	for _, f := range from {
		for _, nb := range m.near(f.item, q.now, s) {
			c := m.add(q, s, nb.item)
			if c == nil {
				continue
			}
			w := nb.score * float32(math.Sqrt(float64(f.score)))
			c.s[byItemCF] += w
			if w > c.fromW {
				c.from, c.fromW = f.item, w
			}
		}
	}
}

func (m *model) gatherUserCF(q *query, s *scratch, from []scored) {
	for _, peer := range m.likeMinded(q.user, from[:min(len(from), 30)], s) {
		pairs := m.users[peer.item].pairs
		for i := max(0, len(pairs)-nbrPairs); i < len(pairs); i++ {
			w := pairs[i].strength()
			if w == 0 {
				continue
			}
			if c := m.add(q, s, pairs[i].item); c != nil {
				c.s[byUserCF] += peer.score * w
			}
		}
	}
}

// gatherContent leaves the scores in s.acc, for what it returns.
func (m *model) gatherContent(q *query, s *scratch, from []scored, depth int) func(int32) float32 {
	s.touched = m.alike(m.tasteOf(from[:min(len(from), 20)]), s.acc, s.touched[:0])
	h := heap{cap: depth}
	for _, n := range s.touched {
		if h.wants(s.acc[n]) && m.add(q, s, n) != nil {
			h.push(scored{n, s.acc[n]})
		}
	}
	s.full(&h)
	return func(n int32) float32 { return s.acc[n] }
}

func (m *model) gatherFactors(q *query, s *scratch, from []scored, depth int) func(int32) float32 {
	if m.fit == nil {
		return nil
	}
	similar := len(q.items) > 0
	v := m.fit.fold(from)
	if similar {
		v = m.fit.middle(q.items)
	}
	if v == nil {
		return nil
	}
	score := func(n int32) float32 {
		y := m.fit.of(n)
		if y == nil {
			return 0
		}
		w := dot(v, y)
		if similar { // the direction alone: else the popular are like everything
			w *= m.fit.turn[n]
		}
		return max(0, w)
	}
	h := heap{cap: depth}
	least := float32(0)
	for n, turn := range m.fit.turn {
		w := dot(v, m.fit.items[n*rank:n*rank+rank])
		if similar {
			w *= turn
		}
		if w > least && h.wants(w) && m.add(q, s, int32(n)) != nil {
			h.push(scored{int32(n), w})
			if len(h.list) == depth {
				least = h.list[0].score
			}
		}
	}
	s.full(&h)
	return score
}

// middle is the mean direction of items, or nil.
func (f *factors) middle(items []int32) []float32 {
	sum := make([]float32, rank)
	any := false
	for _, n := range items {
		if y := f.of(n); y != nil {
			add(sum, y, f.turn[n])
			any = true
		}
	}
	if !any {
		return nil
	}
	return sum
}

// segmentsOf are the groups of the user, or of the context of who is unknown.
func (m *model) segmentsOf(q *query) []int32 {
	var out []int32
	for _, key := range m.cfg.SegmentBy {
		if v, ok := q.context[key]; ok {
			if n, ok := m.segments[key+"="+v]; ok {
				out = append(out, n)
			}
		}
	}
	if len(out) == 0 && q.user >= 0 && int(q.user) < len(m.users) {
		return m.users[q.user].segs
	}
	return out
}

func (m *model) gatherSegments(q *query, s *scratch, segs []int32) {
	for _, g := range segs {
		if int(g) >= len(m.segTop) {
			continue
		}
		for _, x := range m.segTop[g] {
			if c := m.add(q, s, x.item); c != nil {
				c.s[bySegment] += x.score
			}
		}
	}
}

// gatherBest adds the depth best items by a score that exists for all and is above least.
func (m *model) gatherBest(q *query, s *scratch, depth int, score func(int32) float32, least float32) func(int32) float32 {
	h := heap{cap: depth}
	for n := range int32(len(m.items)) {
		if w := score(n); w > least && h.wants(w) && m.add(q, s, n) != nil {
			h.push(scored{n, w})
		}
	}
	s.full(&h)
	return score
}

// gatherPopular does so for popularity, which it compares by plain counts.
func (m *model) gatherPopular(q *query, s *scratch, depth int) func(int32) float32 {
	h := heap{cap: depth}
	most := 1e-30
	for _, x := range m.long {
		most = max(most, x)
	}
	for n, x := range m.long {
		w := float32(x/most) + m.newness[n]
		if h.wants(w) && m.add(q, s, int32(n)) != nil {
			h.push(scored{int32(n), w})
		}
	}
	s.full(&h)
	return func(n int32) float32 { return float32(math.Sqrt(max(0, m.long[n])/most)) + m.newness[n] }
}

// trend scores by how far the recent rate of an item is above its usual one, in standard deviations. The young
// space's rates are made up for by how long it has run.
func (m *model) trend(now uint32) func(int32) float32 {
	age := float64(int64(now) - int64(m.landmark))
	hs, hl := m.cfg.TrendHours*3600, m.cfg.PopularDays*day
	run := max(3600, float64(int64(now)-int64(m.firstSeen)))
	// A count that decays with half-life H settles at rate·H/ln 2; after a run it has got to 1−2^(−run/H) of that.
	short := math.Exp2(-age/hs) / (1 - math.Exp2(-run/hs))
	long := math.Exp2(-age/hl) / (1 - math.Exp2(-run/hl)) * hs / hl
	return func(n int32) float32 {
		s, l := m.short[n]*short, m.long[n]*long
		if s <= 0 {
			return 0
		}
		return float32(max(0, (s-l)/math.Sqrt(l+1)) + 1e-3*s/(s+1))
	}
}

// blend makes one score of the rankers', and sorts.
func (m *model) blend(q *query, s *scratch) {
	var best [rankers]float32
	for i := range s.cands {
		for r, x := range s.cands[i].s {
			best[r] = max(best[r], x)
		}
	}
	var f [rankers]float32
	for r := range f {
		w := q.w[r]
		if r == byPopular && w == 0 {
			w = 1e-4 // fills up only
		}
		if best[r] > 0 {
			f[r] = w / best[r]
		}
	}
	for i := range s.cands {
		c := &s.cands[i]
		c.score = 0
		for r, x := range c.s {
			c.score += f[r] * x
			c.s[r] = f[r] * x // from here on: what the ranker gave
		}
		it := &m.items[c.item]
		if h := m.cfg.FreshnessHours; h > 0 {
			c.score *= 0.3 + 0.7*float32(math.Exp2(-float64(max(0, int64(q.now)-int64(it.published)))/(h*3600)))
		}
		c.score *= boostOf(q.rules, it)
	}
	slices.SortFunc(s.cands, func(a, b cand) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.item, b.item))
	})
}
