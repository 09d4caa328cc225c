package text

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of training.
const (
	MaxExamples = 50_000
	MaxLabels   = 1_000
	maxRows     = 1 << 17 // features of a model
	maxCells    = 6 << 20 // features × labels
)

// Example is a text and its label.
type Example struct {
	Text  string `json:"text"`
	Label string `json:"label"`
}

// Score is a label with the probability that the classifier gives it.
type Score struct {
	Label      string  `json:"label"`
	Confidence float64 `json:"confidence"`
}

// Classifier is a multinomial logistic regression on TF-IDF of words, pairs of words and character n-grams: linear, as
// fastText's classifiers are, but with a weight for each feature and label. It is immutable and safe for concurrent use.
type Classifier struct {
	labels []string
	vocab  *vocabulary
	linear linear
}

// TrainOptions tune [Train]. The zero value is good.
type TrainOptions struct {
	Seed   uint64
	Epochs int // 0: chosen by the number of examples
	// Held is the share of each label's examples that the report is measured on before the final model is trained on
	// all; 0: 0.2; negative: no report.
	Held float64
}

// Labels are the labels, sorted. The caller does not change them.
func (c *Classifier) Labels() []string { return c.labels }

// Train makes a classifier of examples. The same examples in the same order with the same seed give the same model. The
// report is measured on a part that was held out; where there is too little to hold out, it says so and is empty.
func Train(ctx context.Context, examples []Example, o TrainOptions) (*Classifier, *Evaluation, error) {
	labels, err := checkExamples(examples)
	if err != nil {
		return nil, nil, err
	}
	if o.Held == 0 {
		o.Held = 0.2
	}
	docs := make([]map[feature]float32, len(examples))
	for i, e := range examples {
		docs[i] = features(e.Text)
	}
	report, heat := &Evaluation{Labels: len(labels), Note: "too few examples to hold some out: at least five of a label are needed"}, 1.0
	if train, held := split(examples, o.Held, o.Seed); len(held) > 0 {
		c, err := fit(ctx, pick(docs, train), pick(examples, train), labels, o)
		if err != nil {
			return nil, nil, err
		}
		vectors := make([][]entry, len(held))
		for i, n := range held {
			vectors[i] = c.vocab.vector(docs[n])
		}
		heat = c.linear.calibrate(vectors, classes(pick(examples, held), labels))
		c.linear.heat = heat
		report = c.evaluate(pick(docs, held), pick(examples, held))
		report.Trained = len(train)
	}
	c, err := fit(ctx, docs, examples, labels, o)
	if err != nil {
		return nil, nil, err
	}
	c.linear.heat = heat
	return c, report, nil
}

func pick[T any](all []T, which []int) []T {
	out := make([]T, len(which))
	for i, n := range which {
		out[i] = all[n]
	}
	return out
}

// checkExamples refuses what cannot be trained on; it returns the labels, sorted.
func checkExamples(examples []Example) ([]string, error) {
	if len(examples) > MaxExamples {
		return nil, problem.New(problem.TooLarge, "text.too_many_examples", "at most %d examples can be trained on at once", MaxExamples)
	}
	seen := map[string]bool{}
	for i, e := range examples {
		if e.Text == "" || e.Label == "" || len(e.Label) > maxLabel {
			return nil, problem.New(problem.Unprocessable, "text.bad_example", "example %d has no text, no label, or a label of more than %d bytes", i+1, maxLabel)
		}
		seen[e.Label] = true
	}
	if len(seen) < 2 {
		return nil, problem.New(problem.Unprocessable, "text.too_few_labels", "a classifier needs examples of at least two labels")
	}
	if len(seen) > MaxLabels {
		return nil, problem.New(problem.Unprocessable, "text.too_many_labels", "a classifier can have at most %d labels", MaxLabels)
	}
	labels := make([]string, 0, len(seen))
	for l := range seen {
		labels = append(labels, l)
	}
	slices.Sort(labels)
	return labels, nil
}

const maxLabel = 200 // bytes

// split holds out a share of each label's examples, of labels that have at least five. Equal texts stay on one side.
func split(examples []Example, share float64, seed uint64) (train, held []int) {
	if share < 0 {
		return nil, nil
	}
	r := rand.New(rand.NewPCG(seed, 1))
	byLabel := map[string][]int{}
	var order []string
	for i, e := range examples {
		if byLabel[e.Label] == nil {
			order = append(order, e.Label)
		}
		byLabel[e.Label] = append(byLabel[e.Label], i)
	}
	side := map[string]bool{}
	for _, l := range order {
		all := byLabel[l]
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		n := int(math.Round(share * float64(len(all))))
		if len(all) < 5 {
			n = 0
		}
		for k, i := range all {
			hold, known := side[examples[i].Text]
			if !known {
				hold = k < n
				side[examples[i].Text] = hold
			}
			if hold {
				held = append(held, i)
			} else {
				train = append(train, i)
			}
		}
	}
	slices.Sort(train)
	slices.Sort(held)
	return train, held
}

// Training: stochastic gradient descent with AdaGrad's step for each weight; the early end is the regularisation.
const (
	rate      = 0.8
	smallest  = 1e-4 // a probability below it changes nothing
	maxBudget = 1.2e10
	maxEpochs = 25
	enough    = 20_000 // examples seen, beyond which twelve rounds are as good as more
)

// fit trains on docs.
func fit(ctx context.Context, docs []map[feature]float32, examples []Example, labels []string, o TrainOptions) (*Classifier, error) {
	c := &Classifier{labels: labels, vocab: newVocabulary(docs, min(maxRows, maxCells/len(labels)))}
	vectors := make([][]entry, len(docs))
	for i, d := range docs {
		vectors[i] = c.vocab.vector(d)
	}
	m, err := descend(ctx, vectors, classes(examples, labels), len(c.vocab.keys), len(labels), o)
	if err != nil {
		return nil, err
	}
	c.linear = *m
	return c, nil
}

// classes are the labels' numbers of the examples.
func classes(examples []Example, labels []string) []int {
	index := make(map[string]int, len(labels))
	for i, l := range labels {
		index[l] = i
	}
	out := make([]int, len(examples))
	for i, e := range examples {
		out[i] = index[e.Label]
	}
	return out
}

// linear scores sparse vectors for classes.
type linear struct {
	classes int
	weights []float32 // row by row, one a class
	bias    []float32
	heat    float64 // divides the scores: 1 as trained, else as a held-out part calibrated it
}

// descend trains weights of rows × classes.
func descend(ctx context.Context, vectors [][]entry, want []int, rows, classes int, o TrainOptions) (*linear, error) {
	m := &linear{classes: classes, heat: 1, bias: make([]float32, classes), weights: make([]float32, rows*classes)}
	cells := 0
	for _, v := range vectors {
		cells += len(v) * classes
	}
	epochs := o.Epochs
	if epochs == 0 {
		epochs = max(3, min(maxEpochs, enough/(len(vectors)+1)+12, int(maxBudget/float64(cells+1))))
	}
	t := &trainer{m: m, scores: make([]float64, classes), sums: make([]float32, classes), square: make([]float32, len(m.weights))}
	r := rand.New(rand.NewPCG(o.Seed, 2))
	order := make([]int, len(vectors))
	for i := range order {
		order[i] = i
	}
	for range epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for n, i := range order {
			if n%256 == 0 && ctx.Err() != nil {
				return nil, ctx.Err()
			}
			t.step(vectors[i], want[i])
		}
	}
	return m, nil
}

type trainer struct {
	m      *linear
	scores []float64
	sums   []float32
	square []float32 // sums of squared gradients
	which  []int
}

func (t *trainer) step(v []entry, want int) {
	m, k := t.m, t.m.classes
	m.score(v, t.sums, t.scores)
	softmax(t.scores)
	t.which = t.which[:0]
	for j := range t.scores {
		if j == want {
			t.scores[j]--
		}
		if math.Abs(t.scores[j]) > smallest {
			t.which = append(t.which, j)
		}
	}
	for _, e := range v {
		row := m.weights[int(e.row)*k : int(e.row+1)*k]
		square := t.square[int(e.row)*k : int(e.row+1)*k]
		for _, j := range t.which {
			g := float32(t.scores[j]) * e.x
			square[j] += g * g
			row[j] -= rate * g / float32(math.Sqrt(float64(square[j])+1e-8))
		}
	}
	for _, j := range t.which {
		m.bias[j] -= 0.05 * float32(t.scores[j])
	}
}

// score fills out with the classes' scores; sums is room of the same length.
func (m *linear) score(v []entry, sums []float32, out []float64) {
	k := m.classes
	copy(sums, m.bias)
	for _, e := range v {
		row := m.weights[int(e.row)*k : int(e.row+1)*k]
		for j, w := range row {
			sums[j] += e.x * w
		}
	}
	for j, s := range sums {
		out[j] = float64(s) / m.heat
	}
}

// probabilities are those of the classes.
func (m *linear) probabilities(v []entry) []float64 {
	p := make([]float64, m.classes)
	m.score(v, make([]float32, m.classes), p)
	softmax(p)
	return p
}

// Predict returns the likeliest labels, at most top (0: all), with probabilities that sum to at most one.
func (c *Classifier) Predict(s string, top int) []Score { return c.predict(features(s), top) }

func (c *Classifier) predict(f map[feature]float32, top int) []Score {
	return topScores(c.labels, c.linear.probabilities(c.vocab.vector(f)), top)
}

func topScores(labels []string, p []float64, top int) []Score {
	out := make([]Score, len(labels))
	for i, l := range labels {
		out[i] = Score{l, p[i]}
	}
	slices.SortStableFunc(out, func(a, b Score) int { return cmp.Compare(b.Confidence, a.Confidence) })
	if top > 0 && top < len(out) {
		out = out[:top]
	}
	return out
}

// calibrate finds the heat at which held-out classes are likeliest, by golden-section search (Guo et al., 2017).
func (m *linear) calibrate(vectors [][]entry, want []int) float64 {
	scores, sums := make([][]float64, len(vectors)), make([]float32, m.classes)
	for i, v := range vectors {
		scores[i] = make([]float64, m.classes)
		m.score(v, sums, scores[i])
	}
	p := make([]float64, m.classes)
	loss := func(heat float64) (sum float64) {
		for i, s := range scores {
			for j, x := range s {
				p[j] = x / heat
			}
			softmax(p)
			sum -= math.Log(max(p[want[i]], 1e-12))
		}
		return sum
	}
	lo, hi := 0.1, 10.0
	for range 24 {
		a, b := lo+(hi-lo)*0.382, lo+(hi-lo)*0.618
		if loss(a) < loss(b) {
			hi = b
		} else {
			lo = a
		}
	}
	return (lo + hi) / 2
}
