package assist

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
)

// Score is a label with how sure a classifier is of it, 0 to 1.
type Score struct {
	Label      string  `json:"name"`
	Confidence float64 `json:"confidence"`
}

// Classify ranks the labels that it was trained with for a text, best first. It is safe for concurrent use.
type Classify func(text string) []Score

// How many examples a label needs, on average, before a trained classifier ranks better than the nearest examples do: by their words,
// and by their vectors. Measured on banking77 with 2 to 100 examples a label; see reports/assist.json for some of it.
const (
	trainFrom   = 5
	vectorsUpTo = 40
	// trainLeast is how many examples in all a classifier needs: with fewer, as queues have them, words rank better.
	trainLeast = 60
)

// understanding tells the intent of a text, or the queue it belongs to. It is immutable and safe for concurrent use.
//
// The nearest examples say how sure it is: a text that is unlike every example is none of the labels, which a classifier
// that always prefers one cannot tell. With more examples a trained classifier ranks the labels instead: with a few where a
// text has no vector, with many in any case.
type understanding struct {
	labels   []string
	examples []example
	posting  map[string][]posting
	weight   map[string]float64
	classify Classify // may be nil
	embedded bool     // every example has a vector
}

type example struct {
	label  int
	norm   float64
	vector []int8 // nil: none
}

// teacher is what examples are learned with; both functions may be nil.
type teacher struct {
	train func(ctx context.Context, texts, labels []string) (Classify, error)
	embed func(ctx context.Context, texts []string) ([][]float32, error)
}

// maxEmbedded is how many examples get vectors; with more of them words say enough.
const maxEmbedded = 2000

// learn makes an understanding of examples by label. Where the teacher fails the nearest examples by their words remain.
func learn(ctx context.Context, labels []string, examples [][]string, by teacher) *understanding {
	u := &understanding{labels: labels, posting: map[string][]posting{}, weight: map[string]float64{}}
	var texts, names []string
	for l, list := range examples {
		for _, text := range list {
			at := int32(len(u.examples))
			for t, n := range features(text) {
				u.posting[t] = append(u.posting[t], posting{passage: at, count: n})
			}
			u.examples = append(u.examples, example{label: l})
			texts, names = append(texts, text), append(names, labels[l])
		}
	}
	for t, list := range u.posting {
		u.weight[t] = math.Log(1 + float64(len(u.examples))/float64(len(list)))
		for _, p := range list {
			w := u.weight[t] * damp(p.count)
			u.examples[p.passage].norm += w * w
		}
	}
	for i := range u.examples {
		u.examples[i].norm = math.Sqrt(u.examples[i].norm)
	}
	if by.train != nil && len(labels) > 1 && len(texts) >= max(trainLeast, trainFrom*len(labels)) {
		if c, err := by.train(ctx, texts, names); err == nil {
			u.classify = c
		}
	}
	if by.embed == nil || !few(len(texts), len(labels)) {
		return u
	}
	if with := u.embed(ctx, texts, by.embed, func() bool { return true }); with != nil {
		return with
	}
	return u
}

// embed is the same understanding with vectors of its examples, whose texts are given in their order; nil where these cannot be had, or
// wanted says before one of the batches that they are not needed any more.
func (u *understanding) embed(ctx context.Context, texts []string, embed func(context.Context, []string) ([][]float32, error), wanted func() bool) *understanding {
	with := *u
	with.examples, with.embedded = slices.Clone(u.examples), true
	for from := 0; from < len(texts); from += embedBatch {
		if !wanted() {
			return nil
		}
		batch := texts[from:min(from+embedBatch, len(texts))]
		vectors, err := embed(ctx, batch)
		if err != nil || len(vectors) != len(batch) {
			return nil
		}
		for i, v := range vectors {
			with.examples[from+i].vector = quantise(v)
		}
	}
	return &with
}

// few reports so few examples that their vectors tell more than a trained classifier.
func few(examples, labels int) bool {
	return examples < vectorsUpTo*labels && examples <= maxEmbedded
}

func damp(n uint16) float64 { return 1 + math.Log(float64(n)) }

// features are the terms of a text, pairs of them, and for words their first letters, which carry what inflection leaves.
func features(text string) map[string]uint16 {
	out := map[string]uint16{}
	all := terms(text)
	for i, t := range all {
		out[t]++
		if i > 0 {
			out[all[i-1]+" "+t]++
		}
		if r := []rune(t); len(r) > 5 {
			out["^"+string(r[:5])]++
		}
	}
	if len(all) == 0 { // nothing but stop words: they are all there is
		for _, w := range strings.Fields(strings.ToLower(text)) {
			out["="+strings.Trim(w, ".,!?")]++
		}
	}
	return out
}

// nearestK is how many nearest examples have a say.
const nearestK = 5

// rank gives the labels by confidence, best first, five at most. vector is the text's, or nil.
func (u *understanding) rank(text string, vector []float32) []Score {
	if u == nil || len(u.examples) == 0 {
		return nil
	}
	near := u.nearest(text, vector)
	if u.classify == nil || len(near) == 0 || u.embedded && len(vector) > 0 {
		return near
	}
	trained := u.classify(text)
	if len(trained) > 5 {
		trained = trained[:5]
	}
	best := near[0].Confidence
	out := make([]Score, 0, len(trained))
	for _, s := range trained {
		// The text is as much one of the labels as it is like an example, and this label as the classifier says.
		out = append(out, Score{s.Label, math.Sqrt(max(0, s.Confidence) * min(1, best+0.25))})
	}
	return out
}

// nearest lets the nearest examples vote.
func (u *understanding) nearest(text string, vector []float32) []Score {
	list := u.likeness(text, vector)
	slices.SortFunc(list, func(a, b neighbour) int { return cmp.Or(cmp.Compare(b.cos, a.cos), cmp.Compare(a.at, b.at)) })
	votes, top := map[int]float64{}, map[int]float64{}
	for _, n := range list[:min(nearestK, len(list))] {
		l := u.examples[n.at].label
		votes[l] += n.cos * n.cos
		top[l] = max(top[l], n.cos)
	}
	out := make([]Score, 0, len(votes))
	for l := range votes {
		out = append(out, Score{u.labels[l], top[l]})
	}
	at := func(name string) int { return slices.Index(u.labels, name) }
	slices.SortFunc(out, func(a, b Score) int {
		return cmp.Or(cmp.Compare(votes[at(b.Label)], votes[at(a.Label)]), cmp.Compare(a.Label, b.Label))
	})
	for i := range out {
		out[i].Confidence = min(1, out[i].Confidence)
	}
	return out
}

// neighbour is an example with how like a text it is, 0 to 1.
type neighbour struct {
	at  int32
	cos float64
}

// likeness compares a text with the examples: by words, and by meaning where there are vectors.
func (u *understanding) likeness(text string, vector []float32) []neighbour {
	list := u.byWords(text)
	if len(vector) == 0 {
		return list
	}
	words := map[int32]float64{}
	for _, n := range list {
		words[n.at] = n.cos
	}
	list = list[:0]
	v := quantise(vector)
	for i, ex := range u.examples {
		at := int32(i)
		w := words[at]
		if len(ex.vector) != len(v) {
			if w > 0 {
				list = append(list, neighbour{at, w})
			}
			continue
		}
		sum := int64(0)
		for j, x := range ex.vector {
			sum += int64(x) * int64(v[j])
		}
		// Sentences that have nothing to do with each other are about 0.35 alike.
		meaning := max(0, min(1, (float64(sum)/(vectorScale*vectorScale)-0.35)/0.55))
		if c := max(w, 0.4*w+0.6*meaning); c > 0 {
			list = append(list, neighbour{at, c})
		}
	}
	return list
}

func (u *understanding) byWords(text string) []neighbour {
	dot := map[int32]float64{}
	norm := 0.0
	fs := features(text)
	keys := make([]string, 0, len(fs))
	for t := range fs {
		keys = append(keys, t)
	}
	slices.Sort(keys)
	unknown := math.Log(1 + float64(len(u.examples)))
	for _, t := range keys {
		w, ok := u.weight[t]
		if !ok {
			if !strings.ContainsAny(t, " ^") { // a pair is unknown because its words are, or are in another order
				norm += unknown * unknown * damp(fs[t]) * damp(fs[t])
			}
			continue
		}
		w *= damp(fs[t])
		norm += w * w
		for _, p := range u.posting[t] {
			dot[p.passage] += w * u.weight[t] * damp(p.count)
		}
	}
	list := make([]neighbour, 0, len(dot))
	for at, d := range dot {
		list = append(list, neighbour{at, d / (math.Sqrt(norm)*u.examples[at].norm + 1e-9)})
	}
	return list
}
