package text

import (
	"context"
	"math"
	"slices"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of classification by examples or labels in the request.
const (
	MaxFewShot    = 1000 // examples of a [FewShot]
	vectorWeight  = 1.6  // of the sentence vector beside the n-grams, whose vector has length one
	fewShotEpochs = 25
)

// FewShot classifies by a handful of examples a label: a linear model on the sentence vector and the n-grams together.
// Safe for concurrent use.
type FewShot struct {
	vectors *Vectors
	labels  []string
	vocab   *vocabulary
	linear  linear
	parts   []float64 // of the examples that the encoder knows: the least and the most
}

// NewFewShot learns from at most [MaxFewShot] examples, a second's work or so.
func NewFewShot(ctx context.Context, v *Vectors, examples []Example, seed uint64) (*FewShot, error) {
	labels, err := checkExamples(examples)
	if err != nil {
		return nil, err
	}
	if len(examples) > MaxFewShot {
		return nil, problem.New(problem.TooLarge, "text.too_many_shots", "a request can carry at most %d examples; train a classifier for more", MaxFewShot)
	}
	texts, docs := make([]string, len(examples)), make([]map[feature]float32, len(examples))
	for i, e := range examples {
		texts[i], docs[i] = e.Text, features(e.Text)
	}
	dense, parts, err := v.embed(ctx, texts)
	if err != nil {
		return nil, err
	}
	f := &FewShot{vectors: v, labels: labels, vocab: newVocabulary(docs, 1<<15), parts: []float64{slices.Min(parts), slices.Max(parts)}}
	rows := make([][]entry, len(docs))
	for i, d := range docs {
		rows[i] = f.join(d, dense[i])
	}
	m, err := descend(ctx, rows, classes(examples, labels), len(f.vocab.keys)+Dimensions, len(labels), TrainOptions{Seed: seed, Epochs: fewShotEpochs})
	if err != nil {
		return nil, err
	}
	f.linear = *m
	return f, nil
}

// join puts the sentence vector behind the n-grams.
func (f *FewShot) join(doc map[feature]float32, v []float32) []entry {
	out := f.vocab.vector(doc)
	n := int32(len(f.vocab.keys))
	for i, x := range v {
		out = append(out, entry{n + int32(i), vectorWeight * x})
	}
	return out
}

// Labels are the labels, sorted. The caller does not change them.
func (f *FewShot) Labels() []string { return f.labels }

// Predict gives each text's likeliest labels, at most top (0: all).
func (f *FewShot) Predict(ctx context.Context, texts []string, top int) ([][]Score, error) {
	out, _, err := f.predict(ctx, texts, top)
	return out, err
}

// predict is Predict, and tells what made the vectors of the texts and of the examples.
func (f *FewShot) predict(ctx context.Context, texts []string, top int) ([][]Score, made, error) {
	dense, parts, err := f.vectors.embed(ctx, texts)
	if err != nil {
		return nil, made{}, err
	}
	out := make([][]Score, len(texts))
	for i, s := range texts {
		out[i] = topScores(f.labels, f.linear.probabilities(f.join(features(s), dense[i])), top)
	}
	return out, madeBy(append(parts, f.parts...)), nil
}

// Label is a label of the caller's own, with what it means.
type Label struct {
	Name        string
	Description string
}

// ZeroShot scores labels by how near in meaning their names and descriptions are to the texts. Nothing is learned, so that the
// confidences order the labels but promise no rate of being right. What the vectors do not know the meaning of is refused: spelling
// tells nothing of a label.
func ZeroShot(ctx context.Context, v *Vectors, texts []string, labels []Label, top int) ([][]Score, error) {
	const heat = 0.06 // cosines of related sentences differ by about a tenth
	names, about := make([]string, len(labels)), make([]string, len(labels))
	for i, l := range labels {
		names[i] = l.Name
		about[i] = readableName(l.Name)
		if l.Description != "" {
			about[i] += ": " + l.Description
		}
	}
	near, meaning, err := v.compared(ctx, append(about, texts...))
	if err != nil {
		return nil, err
	}
	if !meaning {
		return nil, v.noMeaning()
	}
	out := make([][]Score, len(texts))
	for i := range texts {
		p := make([]float64, len(labels))
		for j := range labels {
			p[j] = Similarity(near[len(labels)+i], near[j]) / heat
		}
		softmax(p)
		for j := range p {
			p[j] = math.Min(p[j], 0.99)
		}
		out[i] = topScores(names, p, top)
	}
	return out, nil
}

// noMeaning is why texts cannot be compared by their meaning, and what helps.
func (v *Vectors) noMeaning() error {
	if v.load() == nil {
		return problem.New(problem.Unavailable, "text.no_encoder", "what tells labels apart by their names is not installed on this server (use-lite); "+
			"send a few examples of each label, train a classifier, or ask the product's provider to add an upstream").After(problem.Never)
	}
	return problem.New(problem.Unavailable, "text.not_english", "labels are told apart by their names in English alone here (use-lite); "+
		"for other languages send a few examples of each label, train a classifier, or ask the product's provider to add an upstream").After(problem.Never)
}

// readableName writes lost_or_stolen-card as words.
func readableName(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c == '_' || c == '-' {
			b[i] = ' '
		}
	}
	return string(b)
}
