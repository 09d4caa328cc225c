package recommend

import (
	"cmp"
	"math"
	"slices"
)

// posting is an item that has a term.
type posting struct {
	item int32
	tf   float32
}

// damp is the weight of a word that occurs n times.
func damp(n float32) float32 { return 1 + float32(math.Log(float64(n))) }

// idf is how much a term tells, by how few items have it.
func (m *model) idf(h uint32) float32 { return idf(len(m.items), len(m.posts[h])) }

func idf(items, having int) float32 { return float32(math.Log(1 + float64(items)/float64(1+having))) }

// repost changes the postings of an item from one set of terms to another. Lists are sorted by item, and items
// come in rising numbers, so that it nearly always appends.
func (m *model) repost(n int32, before, after []term) {
	for _, t := range before {
		if _, kept := find(after, t.hash); kept {
			continue
		}
		list := m.posts[t.hash]
		if i, ok := slices.BinarySearchFunc(list, n, byItem); ok {
			if list = slices.Delete(list, i, i+1); len(list) == 0 {
				delete(m.posts, t.hash)
			} else {
				m.posts[t.hash] = list
			}
		}
	}
	for _, t := range after {
		list := m.posts[t.hash]
		if len(list) == 0 || list[len(list)-1].item < n {
			m.posts[t.hash] = append(list, posting{n, t.tf})
			continue
		}
		i, ok := slices.BinarySearchFunc(list, n, byItem)
		if !ok {
			list = slices.Insert(list, i, posting{item: n})
		}
		list[i].tf = t.tf
		m.posts[t.hash] = list
	}
}

func byItem(p posting, n int32) int { return cmp.Compare(p.item, n) }

func find(list []term, h uint32) (int, bool) {
	return slices.BinarySearchFunc(list, h, func(t term, h uint32) int { return cmp.Compare(t.hash, h) })
}

// setNorm computes the length of an item's vector by the present idf.
func (m *model) setNorm(it *item) {
	sum := float32(0)
	for _, t := range it.terms {
		w := t.tf * m.idf(t.hash)
		sum += w * w
	}
	it.norm = float32(math.Sqrt(float64(sum)))
}

// setNorms does so for all items; the idf has moved since they came.
func (m *model) setNorms() {
	for i := range m.items {
		if len(m.items[i].terms) > 0 {
			m.setNorm(&m.items[i])
		}
	}
}

// taste is a vector of terms that stands for what a user, or a list of items, is about.
type taste struct {
	hash uint32
	w    float32 // with the idf
}

// What a query reads of the postings: this many terms, with so many postings in all. The strongest terms come first.
const (
	tasteTerms = 32
	tasteReads = 60_000
)

// tasteOf sums the vectors of the items, each with its weight.
func (m *model) tasteOf(from []scored) []taste {
	sum := map[uint32]float32{}
	for _, f := range from {
		it := &m.items[f.item]
		if it.norm == 0 {
			continue
		}
		for _, t := range it.terms {
			sum[t.hash] += f.score * t.tf * m.idf(t.hash) / it.norm
		}
	}
	out := make([]taste, 0, len(sum))
	for h, w := range sum {
		out = append(out, taste{h, w})
	}
	slices.SortFunc(out, func(a, b taste) int { return cmp.Or(cmp.Compare(b.w, a.w), cmp.Compare(a.hash, b.hash)) })
	return out[:min(len(out), tasteTerms)]
}

// alike adds to acc, by item, the cosine to the taste, up to a factor; touched lists the items.
func (m *model) alike(t []taste, acc []float32, touched []int32) []int32 {
	reads := 0
	for _, x := range t {
		list := m.posts[x.hash]
		if reads += len(list); reads > tasteReads && reads > len(list) {
			break
		}
		w := x.w * m.idf(x.hash)
		for _, p := range list {
			if acc[p.item] == 0 {
				touched = append(touched, p.item)
			}
			acc[p.item] += w * p.tf
		}
	}
	for _, n := range touched {
		if norm := m.items[n].norm; norm > 0 {
			acc[n] /= norm
		}
	}
	return touched
}

// vector is an item's terms with idf, of length one.
func (m *model) vector(n int32) []term {
	it := &m.items[n]
	out := make([]term, len(it.terms))
	for i, t := range it.terms {
		out[i] = term{t.hash, t.tf * m.idf(t.hash) / max(it.norm, 1e-6)}
	}
	return out
}

// cosine of two vectors of length one.
func cosine(a, b []term) (sum float32) {
	for i, j := 0, 0; i < len(a) && j < len(b); {
		switch {
		case a[i].hash < b[j].hash:
			i++
		case a[i].hash > b[j].hash:
			j++
		default:
			sum += a[i].tf * b[j].tf
			i++
			j++
		}
	}
	return sum
}
