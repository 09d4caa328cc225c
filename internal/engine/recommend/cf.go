package recommend

import (
	"cmp"
	"math"
	"slices"
)

// neighbours are the items most like one, by who touched both.
type neighbours struct {
	list []scored
}

// Bounds of collaborative filtering. Of an item's users the newest count; what is left out is made up for by scale.
const (
	nbrUsers   = 500    // of an item
	nbrPairs   = 50     // newest items of each such user
	nbrKeep    = 64     // neighbours kept of an item
	nbrCache   = 20_000 // items whose neighbours are kept
	shrink     = 3      // pairs seen fewer times than this weigh half or less
	peers      = 40     // most similar users
	peerUsers  = 200    // of each of the user's items
	fadedHalf  = 0.5    // weight of a co-occurrence however old
	fullWeight = 8      // a pair of this weight counts fully
)

// strength of a pair in co-occurrence, from 0.5 to 1: a purchase tells more than a view.
func (p *pair) strength() float32 {
	if p.disliked() || p.w <= 0 {
		return 0
	}
	return 0.5 + 0.5*min(1, p.w/fullWeight)
}

// near gives the neighbours of an item, computed from the histories of its users unless those have hardly changed
// since: after each event while there are few, after a twentieth of them else. The list is shared: read only.
func (m *model) near(n int32, now uint32, s *scratch) []scored {
	it := &m.items[n]
	m.nbrMu.Lock()
	got := m.nbrs[n]
	fresh := got != nil && int(m.dirty[n]) <= len(it.users)/20
	m.nbrMu.Unlock()
	if fresh {
		return got.list
	}
	list := m.cooccur(n, now, s)
	m.nbrMu.Lock()
	defer m.nbrMu.Unlock()
	if len(m.nbrs) >= nbrCache {
		for k := range m.nbrs { // any will do: it is computed again when needed
			delete(m.nbrs, k)
			break
		}
	}
	m.nbrs[n] = &neighbours{list}
	m.dirty[n] = 0
	return list
}

// cooccur computes the neighbours of an item: cosine of the users' sets, or Dunning's log-likelihood ratio, with time
// decay, users of long histories weighing less, and rare pairs shrunk.
func (m *model) cooccur(n int32, now uint32, s *scratch) []scored {
	it := &m.items[n]
	users := it.users[max(0, len(it.users)-nbrUsers):]
	s.sizeItems(len(m.items))
	touched := s.touched[:0]
	for _, v := range users {
		u := &m.users[v]
		pairs := u.pairs[max(0, len(u.pairs)-nbrPairs):]
		mine := pairOf(u.pairs, n)
		if mine == nil || mine.strength() == 0 {
			continue
		}
		base := mine.strength() * (fadedHalf + (1-fadedHalf)*m.decay(mine.at, now)) / float32(math.Sqrt(float64(len(pairs))))
		for i := range pairs {
			p := &pairs[i]
			w := p.strength()
			if p.item == n || w == 0 {
				continue
			}
			if s.hits[p.item] == 0 {
				touched = append(touched, p.item)
			}
			s.hits[p.item]++
			s.acc[p.item] += base * w
		}
	}
	scale := float64(len(it.users)) / float64(max(1, len(users)))
	out := make([]scored, 0, len(touched))
	for _, j := range touched {
		k, sum := float64(s.hits[j]), float64(s.acc[j])
		s.hits[j], s.acc[j] = 0, 0
		if !m.items[j].listed {
			continue
		}
		nj := float64(len(m.items[j].users))
		var sim float64
		if m.cfg.Similarity == "llr" {
			l := likelihood(k*scale, float64(len(it.users)), nj, float64(len(m.users)))
			sim = (1 - 1/(1+l)) * (0.5 + 0.5*sum/k)
		} else {
			sim = sum * scale / math.Sqrt(float64(len(it.users))*nj) * k / (k + shrink)
		}
		out = append(out, scored{j, float32(sim)})
	}
	s.touched = touched[:0]
	return top(out, nbrKeep)
}

// pairOf finds the pair of an item.
func pairOf(pairs []pair, n int32) *pair {
	for i := len(pairs) - 1; i >= 0; i-- {
		if pairs[i].item == n {
			return &pairs[i]
		}
	}
	return nil
}

// likelihood is the log-likelihood ratio (Dunning 1993) that both occur k times in all, the one a times, the other
// b times, with n users. Pairs that meet less often than by chance have none.
func likelihood(k, a, b, n float64) float64 {
	n = max(n, a+b-k)
	if k*n <= a*b {
		return 0
	}
	xlogx := func(x float64) float64 {
		if x <= 0 {
			return 0
		}
		return x * math.Log(x)
	}
	k12, k21, k22 := a-k, b-k, n-a-b+k
	rows := xlogx(n) - xlogx(a) - xlogx(n-a)
	cols := xlogx(n) - xlogx(b) - xlogx(n-b)
	cells := xlogx(n) - xlogx(k) - xlogx(k12) - xlogx(k21) - xlogx(k22)
	return max(0, 2*(rows+cols-cells))
}

// top sorts by falling score and keeps n. Equal scores are in the order of numbers, so that answers repeat.
func top(list []scored, n int) []scored {
	if len(list) > 4*n {
		list = quick(list, n)
	}
	slices.SortFunc(list, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.item, b.item))
	})
	if len(list) > n {
		list = slices.Clone(list[:n])
	}
	return list
}

// quick gives the n largest, unsorted, by a heap whose root is the smallest.
func quick(list []scored, n int) []scored {
	h := heap{cap: n}
	for _, x := range list {
		if h.wants(x.score) {
			h.push(x)
		}
	}
	return h.list
}

// heap keeps the cap largest of what is pushed.
type heap struct {
	list []scored
	cap  int
}

func (h *heap) wants(score float32) bool { return len(h.list) < h.cap || score > h.list[0].score }

func (h *heap) push(x scored) {
	l := h.list
	if len(l) < h.cap {
		l = append(l, x)
		for i := len(l) - 1; i > 0; {
			p := (i - 1) / 2
			if l[p].score <= l[i].score {
				break
			}
			l[p], l[i] = l[i], l[p]
			i = p
		}
		h.list = l
		return
	}
	l[0] = x
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(l) {
			return
		}
		if c+1 < len(l) && l[c+1].score < l[c].score {
			c++
		}
		if l[i].score <= l[c].score {
			return
		}
		l[i], l[c] = l[c], l[i]
		i = c
	}
}

// likeMinded are the users whose histories are most like the given one.
func (m *model) likeMinded(self int32, from []scored, s *scratch) []scored {
	s.sizeUsers(len(m.users))
	seen := s.seenUsers[:0]
	for _, f := range from {
		list := m.items[f.item].users
		idf := f.score / float32(math.Log(2+float64(len(list))))
		for _, v := range list[max(0, len(list)-peerUsers):] {
			if v == self {
				continue
			}
			if s.users[v] == 0 {
				seen = append(seen, v)
			}
			s.users[v] += idf
		}
	}
	h := heap{cap: peers}
	for _, v := range seen {
		w := s.users[v] / float32(math.Sqrt(float64(len(m.users[v].pairs))))
		s.users[v] = 0
		if h.wants(w) {
			h.push(scored{v, w})
		}
	}
	s.seenUsers = seen[:0]
	return h.list
}
