package text

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// PickedSentence is one that a summary took.
type PickedSentence struct {
	Text  string  `json:"text"`
	Index int     `json:"index"` // of the sentence in the text, from 0
	Score float64 `json:"score"` // its centrality; the mean of all is 1
}

// Limits of summaries.
const (
	maxSentences = 1500
	damping      = 0.85
	rounds       = 30
	leastLink    = 0.05 // a smaller likeness is no link
	sameness     = 0.75 // weight of what was taken already
)

// summarise picks n sentences by LexRank (Erkan and Radev, 2004): the most central by PageRank on the likeness of TF-IDF
// vectors, skipping what repeats a sentence taken before (maximal marginal relevance). A query, if any, draws the
// ranking to sentences like it. They come in the text's order.
func summarise(ctx context.Context, s, lang, query string, seg *Segmenter, n int) ([]PickedSentence, error) {
	spans := sentences(s)
	if len(spans) > maxSentences {
		return nil, problem.New(problem.TooLarge, "text.too_many_sentences", "a text of more than %d sentences cannot be summarised at once", maxSentences)
	}
	vectors := sentenceVectors(s, spans, lang, query, seg)
	var asked map[string]float64
	if query != "" {
		asked = vectors[len(spans)]
		vectors = vectors[:len(spans)]
	}
	likes, err := likeness(ctx, vectors)
	if err != nil {
		return nil, err
	}
	start := make([]float64, len(spans))
	for i, sp := range spans {
		start[i] = 1 + 0.5/float64(1+i) // a text says early what it is about
		if asked != nil {
			start[i] = 0.1 + 5*cosine(vectors[i], asked)
		}
		if len(seg.Words(s[sp.start:sp.end])) < 4 {
			start[i] *= 0.3 // headings and exclamations
		}
	}
	scores := pageRank(likes, start)
	if asked != nil { // what the query names must not be outvoted
		for i := range scores {
			scores[i] *= 0.2 + start[i]
		}
	}
	return choose(s, spans, scores, likes, n), nil
}

// sentenceVectors are TF-IDF vectors of length one; the query's, if any, is the last.
func sentenceVectors(s string, spans []span, lang, query string, seg *Segmenter) []map[string]float64 {
	texts := make([]string, 0, len(spans)+1)
	for _, sp := range spans {
		texts = append(texts, s[sp.start:sp.end])
	}
	if query != "" {
		texts = append(texts, query)
	}
	out, df := make([]map[string]float64, len(texts)), map[string]int{}
	for i, t := range texts {
		out[i] = map[string]float64{}
		for _, w := range seg.Words(t) {
			if k := stem(strings.ToLower(w.Text), lang); !stopWords[lang][strings.ToLower(w.Text)] {
				if out[i][k]++; out[i][k] == 1 {
					df[k]++
				}
			}
		}
	}
	for _, v := range out {
		keys := make([]string, 0, len(v))
		for w := range v {
			keys = append(keys, w)
		}
		slices.Sort(keys) // the order of sums must not change
		sum := 0.0
		for _, w := range keys {
			v[w] *= math.Log(1 + float64(len(texts))/float64(df[w]))
			sum += v[w] * v[w]
		}
		for _, w := range keys {
			v[w] /= math.Sqrt(sum)
		}
	}
	return out
}

// stem takes English plural and verb endings off.
func stem(w, lang string) string {
	if lang != "en" || len(w) < 5 {
		return w
	}
	for _, e := range []string{"ing", "ies", "ed", "es", "s", "ly"} {
		if t, ok := strings.CutSuffix(w, e); ok && len(t) >= 3 && !strings.HasSuffix(w, "ss") {
			if e == "ies" {
				t += "y"
			}
			return strings.TrimSuffix(t, "e")
		}
	}
	return strings.TrimSuffix(w, "e")
}

func cosine(a, b map[string]float64) float64 {
	if len(a) > len(b) {
		a, b = b, a
	}
	keys := make([]string, 0, len(a))
	for w := range a {
		if _, ok := b[w]; ok {
			keys = append(keys, w)
		}
	}
	slices.Sort(keys)
	sum := 0.0
	for _, w := range keys {
		sum += a[w] * b[w]
	}
	return sum
}

type link struct {
	to int
	x  float64
}

// likeness links sentences that share words.
func likeness(ctx context.Context, v []map[string]float64) ([][]link, error) {
	posts := map[string][]link{}
	out := make([][]link, len(v))
	row := make([]float64, len(v))
	for i, a := range v {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		keys := make([]string, 0, len(a))
		for w := range a {
			keys = append(keys, w)
		}
		slices.Sort(keys)
		clear(row)
		for _, w := range keys {
			for _, p := range posts[w] {
				row[p.to] += a[w] * p.x
			}
			posts[w] = append(posts[w], link{i, a[w]})
		}
		for j, x := range row[:i] {
			if x >= leastLink {
				out[i] = append(out[i], link{j, x})
				out[j] = append(out[j], link{i, x})
			}
		}
	}
	return out, nil
}

// pageRank gives each node its rank; the mean is one. start says where a random jump lands.
func pageRank(links [][]link, start []float64) []float64 {
	n := len(links)
	sum := 0.0
	for _, x := range start {
		sum += x
	}
	out := make([]float64, n)
	rank, next := make([]float64, n), make([]float64, n)
	for i, ls := range links {
		rank[i] = 1
		for _, l := range ls {
			out[i] += l.x
		}
	}
	for range rounds {
		lost := 0.0
		for i := range next {
			next[i] = 0
			if out[i] == 0 {
				lost += rank[i]
			}
		}
		for i, ls := range links {
			for _, l := range ls {
				next[l.to] += damping * rank[i] * l.x / out[i]
			}
		}
		for i := range next {
			next[i] += ((1-damping)*float64(n) + damping*lost) * start[i] / sum
		}
		rank, next = next, rank
	}
	return rank
}

func choose(s string, spans []span, scores []float64, likes [][]link, n int) []PickedSentence {
	penalty := make([]float64, len(spans))
	taken := make([]bool, len(spans))
	out := []PickedSentence{}
	for len(out) < min(n, len(spans)) {
		best := -1
		for i := range spans {
			if !taken[i] && (best < 0 || scores[i]*(1-penalty[i]) > scores[best]*(1-penalty[best])) {
				best = i
			}
		}
		taken[best] = true
		for _, l := range likes[best] {
			penalty[l.to] = max(penalty[l.to], min(1, sameness*l.x*1.3))
		}
		sp := spans[best]
		out = append(out, PickedSentence{s[sp.start:sp.end], best, round3(scores[best])})
	}
	slices.SortFunc(out, func(a, b PickedSentence) int { return cmp.Compare(a.Index, b.Index) })
	return out
}

// joined writes sentences one after the other, as their script does.
func joined(all []PickedSentence) string {
	var b strings.Builder
	for i, p := range all {
		if i > 0 && !spaceless(last(strings.TrimRight(b.String(), "。！？；…”』」"))) {
			b.WriteByte(' ')
		}
		b.WriteString(p.Text)
	}
	return b.String()
}
