package recommend

import (
	"cmp"
	"slices"
)

// eligible says whether an item may be in the answer at all.
func (m *model) eligible(q *query, n int32) bool {
	it := &m.items[n]
	if !it.listed || !it.available || it.published > q.now {
		return false
	}
	for i := range q.rules {
		if q.rules[i].Type == ruleExclude && q.rules[i].Match.fits(it) {
			return false
		}
	}
	return q.filter == nil || q.filter.fits(it)
}

// fits says whether an item meets all that a match names. A match that names nothing fits everything.
func (f *Match) fits(it *item) bool {
	if len(f.IDs) > 0 && !among(it.id, f.IDs, f.ids) {
		return false
	}
	if len(f.Categories) > 0 && !slices.Contains(f.Categories, it.category) {
		return false
	}
	if len(f.Tags) > 0 && !slices.ContainsFunc(f.Tags, func(t string) bool { return slices.Contains(it.tags, t) }) {
		return false
	}
	for k, v := range f.Attributes {
		if it.attribute(k) != v {
			return false
		}
	}
	return true
}

// attribute is the value of an attribute, or "".
func (it *item) attribute(key string) string {
	i, ok := slices.BinarySearchFunc(it.attrs, key, func(a attr, k string) int { return cmp.Compare(a.key, k) })
	if !ok {
		return ""
	}
	return it.attrs[i].value
}

func (f *Filter) fits(it *item) bool {
	if !f.Match.fits(it) || among(it.id, f.ExcludeIDs, f.not) {
		return false
	}
	for _, t := range f.AllTags {
		if !slices.Contains(it.tags, t) {
			return false
		}
	}
	for _, t := range f.ExcludeTags {
		if slices.Contains(it.tags, t) {
			return false
		}
	}
	if (f.MinPrice != nil || f.MaxPrice != nil) && !it.priced {
		return false
	}
	return (f.MinPrice == nil || it.price >= int64(*f.MinPrice)) && (f.MaxPrice == nil || it.price <= int64(*f.MaxPrice))
}

// boostOf is the product of the boosts that fit an item.
func boostOf(rules []Rule, it *item) float32 {
	f := float32(1)
	for i := range rules {
		if rules[i].Type == ruleBoost && rules[i].Match.fits(it) {
			f *= float32(rules[i].Factor)
		}
	}
	return f
}

// arrange turns the sorted candidates into an answer: diversity, then buried items to the end, then pins to their places,
// then the limits of categories, which pins use up first.
func (m *model) arrange(q *query, s *scratch) []ranked {
	order := s.cands
	if q.lambda > 0 {
		order = m.diversify(q, order)
	}
	var front, back []ranked
	for _, c := range order {
		if buried(q.rules, &m.items[c.item]) {
			back = append(back, ranked{cand: c})
		} else {
			front = append(front, ranked{cand: c})
		}
	}
	left := m.limits(q)
	pins := m.pins(q, s, left)
	out := make([]ranked, 0, q.limit)
	for _, r := range slices.Concat(front, back) {
		for len(pins) > 0 && pins[0].at <= len(out) && len(out) < q.limit {
			out = append(out, pins[0].ranked)
			pins = pins[1:]
		}
		if len(out) >= q.limit {
			break
		}
		if s.slot[r.item] == pinnedSlot || !left.take(&m.items[r.item]) {
			continue
		}
		out = append(out, r)
	}
	for _, p := range pins {
		if len(out) < q.limit {
			out = append(out, p.ranked)
		}
	}
	return out
}

func buried(rules []Rule, it *item) bool {
	for i := range rules {
		if rules[i].Type == ruleBury && rules[i].Match.fits(it) {
			return true
		}
	}
	return false
}

// pinnedSlot marks an item that has its place by a pin.
const pinnedSlot = -2

type pin struct {
	ranked
	at int
}

// pins are the items with a fixed place, by place. An item that must not be in the answer is not pinned either.
func (m *model) pins(q *query, s *scratch, left *quota) []pin {
	var out []pin
	for i := range q.rules {
		r := &q.rules[i]
		if r.Type != rulePin || r.Position > q.limit {
			continue
		}
		for _, id := range r.Match.IDs {
			n, ok := m.byID.items[id]
			if !ok || s.slot[n] == banned || s.slot[n] == pinnedSlot || !m.eligible(q, n) || slices.Contains(q.items, n) {
				continue
			}
			if !left.take(&m.items[n]) {
				continue
			}
			p := pin{ranked{cand{item: n, from: none}, true}, r.Position - 1}
			if k := s.slot[n]; k == 0 {
				s.used = append(s.used, n)
			} else if c := slices.IndexFunc(s.cands, func(c cand) bool { return c.item == n }); c >= 0 {
				p.cand = s.cands[c]
			}
			s.slot[n] = pinnedSlot
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b pin) int { return cmp.Compare(a.at, b.at) })
	return out
}

// quota counts the items of a category that an answer may still take.
type quota struct {
	all    int // 0: any number
	limits []*Rule
	taken  map[string]int
}

func (m *model) limits(q *query) *quota {
	l := &quota{all: q.perCat, taken: map[string]int{}}
	for i := range q.rules {
		if q.rules[i].Type == ruleMax {
			l.limits = append(l.limits, &q.rules[i])
		}
	}
	return l
}

// take counts an item, unless its category is full.
func (l *quota) take(it *item) bool {
	most := l.all
	for _, r := range l.limits {
		if r.Match.fits(it) && (most == 0 || r.Max < most) {
			most = r.Max
		}
	}
	if most > 0 && l.taken[it.category] >= most {
		return false
	}
	l.taken[it.category]++
	return true
}

// diversify orders the best candidates by maximal marginal relevance (Carbonell, Goldstein 1998): each next one has the
// best balance of its own score and how little it is like those before. The others follow in their order.
func (m *model) diversify(q *query, in []cand) []cand {
	n := min(len(in), max(50, 3*q.limit), 200)
	if n == 0 {
		return in
	}
	vectors, like := make([][]term, n), make([]float32, n)
	for i := range n {
		vectors[i] = m.vector(in[i].item)
	}
	most := max(in[0].score, 1e-9)
	out := make([]cand, 0, len(in))
	done := make([]bool, n)
	for range n {
		best, bestV := none, float32(0)
		for i := range n {
			if done[i] {
				continue
			}
			if v := (1-q.lambda)*in[i].score/most - q.lambda*like[i]; best == none || v > bestV {
				best, bestV = i, v
			}
		}
		done[best] = true
		out = append(out, in[best])
		for i := range n {
			if !done[i] {
				l := cosine(vectors[i], vectors[best])
				if c := m.items[in[best].item].category; c != "" && c == m.items[in[i].item].category {
					l = 0.5*l + 0.5
				}
				like[i] = max(like[i], l)
			}
		}
	}
	return append(out, in[n:]...)
}
