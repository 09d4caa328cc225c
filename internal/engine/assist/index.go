package assist

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// BM25 (Robertson and Zaragoza, 2009) with the usual parameters. Words of a heading count three times.
const (
	bm25K         = 1.2
	bm25B         = 0.75
	headingWeight = 3
	// rrfK is the constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).
	rrfK = 60
	// vectorShare is what a rank by vectors counts beside a rank by words: a long passage's vector says less than its words.
	vectorShare = 0.4
	// titleBoost is how much more a passage counts whose own heading is in the question.
	titleBoost = 0.6
	// depth is how many of each ranking enter the fusion.
	depth = 50
)

// posting says how often a term is in a passage; sample, that it is in its samples of code alone.
type posting struct {
	passage int32
	count   uint16
	sample  bool
}

// sampleWeight is what a word counts that is in samples alone, however often: they are made up, and their passage is of something else.
const sampleWeight = 0.3

// weight is what the posting counts of a term's occurrences.
func (p posting) weight() float64 {
	if p.sample {
		return sampleWeight
	}
	return float64(p.count)
}

// place is where a passage is: its document and its number there.
type place struct{ doc, passage int32 }

// indexed is a document of an index. Immutable.
type indexed struct {
	id, title, source, kind, language string
	text                              string
	passages                          []passage
	samples                           [][2]int // spans of text
	vectors                           []int8   // of all passages, one after the other; nil: none
	dim                               int
}

// index is the search structure of one knowledge base, for one of its revisions. It is immutable once built, and safe for
// concurrent use.
type index struct {
	revision int64
	docs     []indexed
	places   []place
	lengths  []int32
	average  float64
	terms    map[string][]posting
	chars    map[rune]int32 // in how many passages a wide character is
	langs    map[string]int // passages by language
	bytes    int64          // about what it takes in memory
}

// build makes an index of documents.
func build(revision int64, docs []indexed) *index {
	ix := &index{revision: revision, docs: docs, terms: map[string][]posting{}, chars: map[rune]int32{}, langs: map[string]int{}}
	total := 0
	count := map[string]int{}
	for d := range docs {
		doc := &docs[d]
		doc.samples = samples(doc.text)
		ix.bytes += int64(len(doc.text) + len(doc.vectors) + 64*len(doc.passages))
		for p, ps := range doc.passages {
			clear(count)
			n := 0
			note := func(text string, weight int) {
				for _, t := range terms(text) {
					count[t] += weight
					n++
				}
			}
			prose, sample := without(doc.text, doc.samples, ps.Start, ps.End)
			note(prose, 1)
			note(ps.Heading, headingWeight)
			if ps.Heading == "" {
				note(doc.title, 1)
			}
			at := int32(len(ix.places))
			for _, t := range terms(sample) {
				if n++; count[t] == 0 {
					count[t] = -1
				}
			}
			ix.places = append(ix.places, place{int32(d), int32(p)})
			ix.lengths = append(ix.lengths, int32(n))
			total += n
			ix.langs[doc.language]++
			for r := range characters(ps.Heading + doc.text[ps.Start:ps.End]) {
				ix.chars[r]++
			}
			for t, c := range count {
				ix.terms[t] = append(ix.terms[t], posting{at, uint16(min(max(c, 1), math.MaxUint16)), c < 0})
			}
		}
	}
	ix.average = float64(max(total, 1)) / float64(max(len(ix.places), 1))
	for t, list := range ix.terms {
		ix.bytes += int64(48 + len(t) + 8*cap(list))
	}
	return ix
}

// language is the language of most passages, or "".
func (ix *index) language() string {
	best := ""
	for lang, n := range ix.langs {
		if n > ix.langs[best] || n == ix.langs[best] && lang < best {
			best = lang
		}
	}
	return best
}

func (ix *index) weight(term string) float64 { return ix.rarity(len(ix.terms[term]), "") }

// fewPassages is as which a smaller knowledge base counts: in three passages a word that one of them has is no commoner than one
// that none has.
const fewPassages = 50

// rarity is the weight of what is in n passages, of those of a language ("": of all).
func (ix *index) rarity(n int, lang string) float64 {
	all := len(ix.places)
	if lang != "" {
		all = max(n, ix.langs[lang])
	}
	all = max(all, fewPassages)
	return math.Log(1 + (float64(all-n)+0.5)/(float64(n)+0.5))
}

// characters are the wide characters of a text.
func characters(text string) map[rune]bool {
	out := map[rune]bool{}
	for _, r := range text {
		if wide(r) {
			out[r] = true
		}
	}
	return out
}

// hit is a passage that was found. Cover is the part of the question's weight that it has, Near the cosine of its
// vector (0 without), Title the part of its heading's weight that the question has, Score the fused rank.
type hit struct {
	at          int32
	score       float64
	cover, near float64
	title       float64
	found       int // concepts of the question that it has, pairs aside
	bm25        float64
	strength    float64 // bm25 as a part of the most that the question can have
}

// search ranks passages by BM25 and by vectors, and fuses both rankings.
func (ix *index) search(q query, most int) []hit {
	lexical := ix.lexical(q)
	near := ix.nearest(q)
	if len(near) == 0 {
		for i := range lexical {
			lexical[i].score = 1 / float64(rrfK+i+1)
		}
		return lexical[:min(most, len(lexical))]
	}
	fused := map[int32]*hit{}
	for i, h := range lexical[:min(depth, len(lexical))] {
		h.score = 1 / float64(rrfK+i+1)
		if ix.docs[ix.places[h.at].doc].dim != len(q.vector) {
			h.score *= 1 + vectorShare // it has no vector, or not yet: its words speak for both rankings
		}
		fused[h.at] = &h
	}
	for i, h := range near[:min(depth, len(near))] {
		f := fused[h.at]
		if f == nil {
			f = &hit{at: h.at}
			fused[h.at] = f
		}
		f.near = h.near
		f.score += vectorShare / float64(rrfK+i+1)
	}
	out := make([]hit, 0, len(fused))
	for _, h := range fused {
		out = append(out, *h)
	}
	slices.SortFunc(out, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.bm25, a.bm25), cmp.Compare(a.at, b.at))
	})
	return out[:min(most, len(out))]
}

// counts says how often a concept is in each passage of a language that has it, its words' weights considered.
func (ix *index) counts(c concept, lang string) map[int32]float64 {
	out := ix.said(c.said, lang)
	if len(out) == 0 && len(c.parts) > 0 {
		return ix.said(c.parts, lang)
	}
	return out
}

func (ix *index) said(ways []way, lang string) map[int32]float64 {
	out := map[int32]float64{}
	add := func(at int32, n float64) {
		switch {
		case lang != "" && ix.docs[ix.places[at].doc].language != lang:
		case n <= sampleWeight: // in as many ways as it may be said
			out[at] = max(out[at], n)
		default:
			out[at] += n
		}
	}
	for _, w := range ways {
		if len(w.terms) == 1 {
			for _, p := range ix.terms[w.terms[0]] {
				add(p.passage, w.weight*p.weight())
			}
			continue
		}
		for at, n := range ix.together(w.terms) {
			add(at, w.weight*n)
		}
	}
	return out
}

// together says how often all of the terms are in each passage that has them all.
func (ix *index) together(terms []string) map[int32]float64 {
	out := map[int32]float64{}
	for i, t := range terms {
		next := make(map[int32]float64, len(ix.terms[t]))
		for _, p := range ix.terms[t] {
			switch n, ok := out[p.passage]; {
			case i == 0:
				next[p.passage] = p.weight()
			case ok:
				next[p.passage] = min(n, p.weight())
			}
		}
		out = next
	}
	return out
}

// coverMost is the most that one word counts in a cover: a rare one, or one that is nowhere, may be the point of the question or
// just a word.
const coverMost = 3

// lexical ranks passages by BM25.
func (ix *index) lexical(q query) []hit {
	found := map[int32]*hit{}
	all, most := 0.0, 0.0
	for _, c := range q.concepts {
		counts := ix.counts(c, q.lang)
		w := ix.rarity(len(counts), q.lang) * c.weight
		share := min(w, coverMost*c.weight)
		most += w * (bm25K + 1)
		if !c.pair {
			all += share
		}
		for at, n := range counts {
			h := found[at]
			if h == nil {
				h = &hit{at: at}
				found[at] = h
			}
			if !c.pair {
				h.cover += share * min(1, n)
			}
			if c.weight >= fillerWeight*2 && !c.pair && n > sampleWeight {
				h.found++
			}
			h.bm25 += w * n * (bm25K + 1) / (n + bm25K*(1-bm25B+bm25B*float64(ix.lengths[at])/ix.average))
		}
	}
	out := make([]hit, 0, len(found))
	for _, h := range found {
		out = append(out, *h)
	}
	rank := func(a, b hit) int { return cmp.Or(cmp.Compare(b.bm25, a.bm25), cmp.Compare(a.at, b.at)) }
	slices.SortFunc(out, rank)
	asked := q.weights()
	out = out[:min(4*depth, len(out))]
	for i := range out {
		h := &out[i]
		_, p, _ := ix.passage(*h)
		h.title = ix.titled(p, asked)
		h.bm25 *= 1 + titleBoost*h.title
		h.strength = min(1, h.bm25/max(most, 1e-9))
	}
	slices.SortFunc(out, rank)
	out = out[:min(depth, len(out))]
	ix.cover(q, all, out)
	return out
}

// functionChars are Chinese characters that mostly bind others together and say little.
const functionChars = "的了是在有和与或不没无非能会要可以就都也还再又太很更最才总把被给让向从到对为着过得地之其这那哪谁么个些种次下上里后前中时则而且因如若但虽只仅已将用做说想看来去出起成样多少大小"

// wordRunes is how many characters of a script without spaces a word has, about: what is longer, as a name, is one word all the same.
const wordRunes = 2

// cover finishes the covers of hits, which have the weights of words so far, of all of them in all. Of a script without spaces the
// longest pieces count that the passage has, each as a word; a single character counts half, for it may be of another word.
func (ix *index) cover(q query, all float64, hits []hit) {
	for i := range hits {
		h := &hits[i]
		asked := all
		if len(q.runs) > 0 {
			doc, p, _ := ix.passage(*h)
			text, _ := without(doc.text, doc.samples, p.Start, p.End)
			text = p.Heading + "\n" + text
			for _, r := range q.runs {
				got, missed, words := ix.pieces(r.text, text)
				h.cover += r.weight * got
				asked += r.weight * (got + missed)
				if r.weight >= fillerWeight*2 {
					h.found += words
				}
			}
		}
		h.cover /= max(asked, 1e-9)
	}
}

// pieces weighs what a text has of a run, and what it lacks, and counts the pieces of more than one character that it has.
func (ix *index) pieces(run []rune, text string) (got, missed float64, words int) {
	weigh := func(part []rune) (w float64) {
		for _, r := range part {
			x := min(coverMost, ix.rarity(int(ix.chars[r]), ""))
			if strings.ContainsRune(functionChars, r) {
				x *= fillerWeight
			}
			w += x
		}
		return w
	}
	for at := 0; at < len(run); {
		n := 0
		for n < len(run)-at && strings.Contains(text, string(run[at:at+n+1])) {
			n++
		}
		switch part := run[at : at+max(n, 1)]; n {
		case 0:
			missed += weigh(part)
		case 1:
			got, missed = got+weigh(part)/2, missed+weigh(part)/2
		default:
			got += min(weigh(part), wordRunes*coverMost)
			if weigh(part) > coverMost/2 {
				words++
			}
		}
		at += max(n, 1)
	}
	return got, missed, words
}

// titled is how much of a passage's own heading the question has.
func (ix *index) titled(p passage, asked map[string]float64) float64 {
	heading := p.Heading
	if i := strings.LastIndex(heading, " › "); i >= 0 {
		heading = heading[i+len(" › "):]
	}
	got, all := 0.0, 0.0
	for _, t := range terms(heading) {
		w := ix.weight(t)
		all += w
		got += w * min(1, asked[t])
	}
	return got / max(all, 1e-9)
}

// nearest ranks the passages that have vectors by cosine.
func (ix *index) nearest(q query) []hit {
	if len(q.vector) == 0 {
		return nil
	}
	v := quantise(q.vector)
	var out []hit
	for at, pl := range ix.places {
		doc := &ix.docs[pl.doc]
		if doc.dim != len(v) || q.lang != "" && doc.language != q.lang {
			continue
		}
		sum := int64(0)
		for i, x := range doc.vectors[int(pl.passage)*doc.dim:][:doc.dim] {
			sum += int64(x) * int64(v[i])
		}
		out = append(out, hit{at: int32(at), near: float64(sum) / (vectorScale * vectorScale)})
	}
	slices.SortFunc(out, func(a, b hit) int { return cmp.Or(cmp.Compare(b.near, a.near), cmp.Compare(a.at, b.at)) })
	return out
}

// vectorScale is what a component 1 of a unit vector becomes. Components of sentence vectors are small, so that eight
// bits lose nothing that matters to a ranking; larger ones are cut off.
const vectorScale = 400

// quantise scales a vector to length one and rounds it to eight bits a component.
func quantise(v []float32) []int8 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	out := make([]int8, len(v))
	if sum == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return out
	}
	scale := vectorScale / math.Sqrt(sum)
	for i, x := range v {
		out[i] = int8(max(-127, min(127, math.Round(float64(x)*scale))))
	}
	return out
}

// passage is a hit's passage, with its document.
func (ix *index) passage(h hit) (*indexed, passage, string) {
	pl := ix.places[h.at]
	doc := &ix.docs[pl.doc]
	ps := doc.passages[pl.passage]
	return doc, ps, doc.text[ps.Start:ps.End]
}
