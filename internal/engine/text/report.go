package text

import (
	"cmp"
	"math"
	"slices"
)

// Evaluation is what a classifier got right on examples that it was not trained on.
type Evaluation struct {
	Trained   int         `json:"trained,omitempty"` // examples that the measured model was trained on
	Samples   int         `json:"samples"`           // examples held out
	Labels    int         `json:"labels"`
	Accuracy  float64     `json:"accuracy"`
	MacroF1   float64     `json:"macro_f1"`
	Top3      float64     `json:"top3"`
	PerLabel  []LabelF1   `json:"per_label,omitempty"`  // the worst 50
	Confusion []Confusion `json:"confusions,omitempty"` // the 20 commonest
	Note      string      `json:"note,omitempty"`
}

// LabelF1 is how well one label is found.
type LabelF1 struct {
	Label     string  `json:"label"`
	Samples   int     `json:"samples"`
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	F1        float64 `json:"f1"`
}

// Confusion is how often one label was taken for another.
type Confusion struct {
	Label string `json:"label"`
	Taken string `json:"taken_for"`
	Times int    `json:"times"`
}

// Measure evaluates the classifier on examples that it has not seen.
func (c *Classifier) Measure(examples []Example) *Evaluation {
	docs := make([]map[feature]float32, len(examples))
	for i, e := range examples {
		docs[i] = features(e.Text)
	}
	return c.evaluate(docs, examples)
}

func (c *Classifier) evaluate(docs []map[feature]float32, examples []Example) *Evaluation {
	t := newTally(c.labels)
	for i, d := range docs {
		t.add(examples[i].Label, c.predict(d, 3))
	}
	return t.report()
}

// tally counts what was wanted and what was given.
type tally struct {
	labels               []string
	n, right, among      int
	wanted, given, found map[string]int
	confused             map[[2]string]int
}

func newTally(labels []string) *tally {
	return &tally{labels: labels, wanted: map[string]int{}, given: map[string]int{}, found: map[string]int{}, confused: map[[2]string]int{}}
}

// add counts one answer, the likeliest label first.
func (t *tally) add(want string, got []Score) {
	t.n++
	t.wanted[want]++
	t.given[got[0].Label]++
	if got[0].Label == want {
		t.right++
		t.found[want]++
	} else {
		t.confused[[2]string{want, got[0].Label}]++
	}
	for _, g := range got[:min(3, len(got))] {
		if g.Label == want {
			t.among++
		}
	}
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// round4 is what reports tell a number with.
func round4(x float64) float64 { return math.Round(x*1e4) / 1e4 }

func (t *tally) report() *Evaluation {
	r := &Evaluation{Samples: t.n, Labels: len(t.labels), Accuracy: ratio(t.right, t.n), Top3: ratio(t.among, t.n)}
	counted := 0
	for _, l := range t.labels {
		if t.wanted[l] == 0 {
			continue
		}
		f := LabelF1{Label: l, Samples: t.wanted[l], Precision: ratio(t.found[l], t.given[l]), Recall: ratio(t.found[l], t.wanted[l])}
		if f.Precision+f.Recall > 0 {
			f.F1 = 2 * f.Precision * f.Recall / (f.Precision + f.Recall)
		}
		counted++
		r.MacroF1 += f.F1
		r.PerLabel = append(r.PerLabel, f)
	}
	r.MacroF1 /= float64(max(counted, 1))
	slices.SortStableFunc(r.PerLabel, func(a, b LabelF1) int { return cmp.Compare(a.F1, b.F1) })
	r.Accuracy, r.MacroF1, r.Top3 = round4(r.Accuracy), round4(r.MacroF1), round4(r.Top3)
	for i := range r.PerLabel {
		f := &r.PerLabel[i]
		f.Precision, f.Recall, f.F1 = round4(f.Precision), round4(f.Recall), round4(f.F1)
	}
	r.PerLabel = r.PerLabel[:min(50, len(r.PerLabel))]
	for pair, n := range t.confused {
		r.Confusion = append(r.Confusion, Confusion{pair[0], pair[1], n})
	}
	slices.SortFunc(r.Confusion, func(a, b Confusion) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Label, b.Label), cmp.Compare(a.Taken, b.Taken))
	})
	r.Confusion = r.Confusion[:min(20, len(r.Confusion))]
	return r
}
