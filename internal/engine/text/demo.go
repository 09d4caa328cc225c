package text

import (
	"context"
	_ "embed"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// DemoClassifier is the name of the classifier that [Engine.SeedDemo] trains.
const DemoClassifier = "support-intents"

//go:embed demo.tsv
var demoExamples string

// demo are the demo's examples: a label and a text a line, English and Chinese.
func demo() []Example {
	var out []Example
	for line := range strings.Lines(demoExamples) {
		if label, text, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			out = append(out, Example{text, label})
		}
	}
	return out
}

// SeedDemo trains a small classifier of a shop's questions for owner, if it has none of that name.
func (e *Engine) SeedDemo(ctx context.Context, owner string) error {
	c, err := e.store.get(ctx, owner, DemoClassifier)
	switch {
	case err == nil && c.Live > 0:
		return nil
	case problem.Is(err, problem.NotFound):
		if _, err = e.store.create(ctx, owner, DemoClassifier, "What a customer of a shop wants, in English or Chinese"); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	examples := demo()
	m, report, err := Train(ctx, examples, TrainOptions{Seed: 1})
	if err != nil {
		return err
	}
	_, err = e.store.add(ctx, owner, DemoClassifier, m, report, len(examples), 1, true)
	return err
}
