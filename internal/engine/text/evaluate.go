package text

import (
	"cmp"
	"context"
	"embed"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed evaluation/*.tsv
var evaluationFiles embed.FS

// EvalOptions are those of [Evaluate].
type EvalOptions struct {
	Data string     // folder with banking77-train.csv; "" measures on generated examples instead
	Dir  engine.Dir // engines; "" measures what Go alone can do
	Seed uint64
	Date string // of the reports, 2006-01-02; "" is today
}

// The floors: the least that a build may reach. Those of classification hold for banking77.
const (
	floorIntents  = 0.86
	floorShots    = 0.60 // 10 a label, with sentence vectors
	floorLanguage = 0.95 // with the model
	floorAlone    = 0.85 // without it
	floorFeeling  = 0.80
)

// shotTests bounds the questions that few-shot classification is measured on.
const shotTests = 1000

// Evaluate measures the engines of the family on data whose answers are known.
func Evaluate(ctx context.Context, o EvalOptions) ([]engine.Report, error) {
	var out []engine.Report
	for _, measure := range []func(context.Context, EvalOptions) ([]engine.Report, error){evaluateIntents, evaluateLanguages, evaluateSentiment} {
		reports, err := measure(ctx, o)
		if err != nil {
			return nil, err
		}
		out = append(out, reports...)
	}
	if o.Date == "" {
		o.Date = time.Now().UTC().Format(time.DateOnly)
	}
	for i := range out {
		out[i].Date = o.Date
	}
	return out, nil
}

func figure(name string, value, floor float64) engine.Figure {
	return engine.Figure{Name: name, Value: round4(value), Floor: floor}
}

func milliseconds(name string, since time.Time, n int) engine.Figure {
	return engine.Figure{Name: name, Value: round3(float64(time.Since(since).Microseconds()) / 1000 / float64(max(n, 1))), Unit: "ms"}
}

// intents are the examples to measure classification with.
func intents(o EvalOptions) (examples []Example, name string, err error) {
	if o.Data == "" {
		return generated(20, 60, o.Seed), "generated: 20 labels, each told by 3 of 8 words", nil
	}
	data, err := os.ReadFile(filepath.Join(o.Data, "banking77-train.csv"))
	if err != nil {
		return nil, "", problem.New(problem.Invalid, "text.no_data", "the data folder has no banking77-train.csv").Because(err)
	}
	examples, err = readCSV(data)
	return examples, "banking77 (training part, CC BY 4.0)", err
}

// generated are examples whose label is told by a few words among words that say nothing.
func generated(labels, each int, seed uint64) []Example {
	r := rand.New(rand.NewPCG(seed, 3))
	var out []Example
	for l := range labels {
		for range each {
			words := make([]string, 0, 8)
			for range 3 {
				words = append(words, fmt.Sprintf("topic%c%d", 'a'+rune(l%26), 12*l+r.IntN(12)))
			}
			for range 5 {
				words = append(words, fmt.Sprintf("filler%d", r.IntN(300)))
			}
			r.Shuffle(len(words), func(i, j int) { words[i], words[j] = words[j], words[i] })
			out = append(out, Example{strings.Join(words, " "), fmt.Sprintf("label-%02d", l)})
		}
	}
	return out
}

// evaluateIntents measures full training on a held-out fifth, and ten examples a label.
func evaluateIntents(ctx context.Context, o EvalOptions) ([]engine.Report, error) {
	examples, name, err := intents(o)
	if err != nil {
		return nil, err
	}
	train, held := split(examples, 0.2, o.Seed)
	begin := time.Now()
	c, _, err := Train(ctx, pick(examples, train), TrainOptions{Seed: o.Seed, Held: -1})
	if err != nil {
		return nil, err
	}
	seconds := engine.Figure{Name: "training", Value: round3(time.Since(begin).Seconds()), Unit: "s"}
	stored, err := c.MarshalBinary()
	if err != nil {
		return nil, err
	}
	if c, err = ReadClassifier(stored); err != nil { // what is stored is what answers
		return nil, err
	}
	begin = time.Now()
	e := c.Measure(pick(examples, held))
	speed := milliseconds("a text", begin, e.Samples)
	full := engine.Report{Family: "text", Engine: "linear", Model: "n-grams, trained", Version: EngineVersion, Task: "intent classification",
		Data: name + ", four fifths to train, a fifth held out", Samples: e.Samples,
		Figures: []engine.Figure{figure("accuracy", e.Accuracy, floorIntents), figure("macro-F1", e.MacroF1, 0), figure("top-3", e.Top3, 0), seconds, speed,
			{Name: "size", Value: round3(float64(len(stored)) / 1e6), Unit: "MB"}}}
	shots, err := evaluateShots(ctx, o, examples, name)
	return append([]engine.Report{full}, shots...), err
}

func evaluateShots(ctx context.Context, o EvalOptions, examples []Example, name string) ([]engine.Report, error) {
	r := rand.New(rand.NewPCG(o.Seed, 4))
	order := r.Perm(len(examples))
	had := map[string]int{}
	var shots, tests []Example
	for _, i := range order {
		x := examples[i]
		if had[x.Label] < 10 {
			had[x.Label]++
			shots = append(shots, x)
		} else if len(tests) < shotTests {
			tests = append(tests, x)
		}
	}
	v := NewVectors(o.Dir)
	f, err := NewFewShot(ctx, v, shots, o.Seed)
	if err != nil {
		return nil, err
	}
	t := newTally(f.Labels())
	begin := time.Now()
	for _, x := range tests {
		p, err := f.Predict(ctx, []string{x.Text}, 3)
		if err != nil {
			return nil, err
		}
		t.add(x.Label, p[0])
	}
	e := t.report()
	speed := milliseconds("a text", begin, e.Samples)
	made, _ := v.Engine()
	floor := floorShots
	if made == "hashed-ngrams" {
		floor = 0.5
	}
	return []engine.Report{{Family: "text", Engine: "linear", Model: "n-grams with " + made + " vectors", Version: EngineVersion, Task: "intent classification, 10 examples a label",
		Data: name + fmt.Sprintf(", %d labels, others to test", len(f.Labels())), Samples: e.Samples,
		Figures: []engine.Figure{figure("accuracy", e.Accuracy, floor), figure("macro-F1", e.MacroF1, 0), figure("top-3", e.Top3, 0), speed}}}, nil
}

// labelled reads an evaluation list: a label, a tab and a text a line.
func labelled(file string) ([]Example, error) {
	data, err := evaluationFiles.ReadFile("evaluation/" + file)
	if err != nil {
		return nil, err
	}
	var out []Example
	for line := range strings.Lines(string(data)) {
		if label, text, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t"); ok {
			out = append(out, Example{text, label})
		}
	}
	return out, nil
}

// languageLists are the sentences to identify: our own, and the pairs of the data folder.
func languageLists(o EvalOptions) (lists map[string][]Example, names []string, err error) {
	own, err := labelled("languages.tsv")
	if err != nil {
		return nil, nil, err
	}
	langs := map[string]bool{}
	for _, x := range own {
		langs[x.Label] = true
	}
	names = []string{fmt.Sprintf("own list of %d sentences in %d languages", len(own), len(langs))}
	lists = map[string][]Example{names[0]: own}
	data, err := os.ReadFile(filepath.Join(o.Data, "tatoeba-en-zh-dev.tsv"))
	if o.Data == "" || err != nil {
		return lists, names, nil
	}
	name := "Tatoeba, English and Chinese (CC BY 2.0 FR)"
	for line := range strings.Lines(string(data)) {
		if en, zh, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t"); ok {
			lists[name] = append(lists[name], Example{en, "en"}, Example{zh, "zh"})
		}
	}
	return lists, append(names, name), nil
}

// evaluateLanguages measures identification with the model, where it is installed, and without.
func evaluateLanguages(ctx context.Context, o EvalOptions) ([]engine.Report, error) {
	lists, names, err := languageLists(o)
	if err != nil {
		return nil, err
	}
	dirs := []engine.Dir{o.Dir, ""}
	if o.Dir.Path(lidFile...) == "" {
		dirs = dirs[1:]
	}
	var out []engine.Report
	for _, dir := range dirs {
		d := NewIdentifier(dir)
		for _, name := range names {
			out = append(out, identified(d, name, lists[name]))
		}
	}
	return out, ctx.Err()
}

func identified(d *Identifier, data string, list []Example) engine.Report {
	name, model := d.Engine()
	right, wrong := 0, map[string]int{}
	begin := time.Now()
	for _, x := range list {
		if got, _ := d.Identify(x.Text); got == x.Label {
			right++
		} else {
			wrong[x.Label+" taken for "+got]++
		}
	}
	speed := milliseconds("a text", begin, len(list))
	floor := floorLanguage
	if name == "profiles" {
		floor = floorAlone
	}
	r := engine.Report{Family: "text", Engine: name, Model: model, Version: EngineVersion, Task: "language identification of short texts", Data: data,
		Samples: len(list), Figures: []engine.Figure{figure("accuracy", ratio(right, len(list)), floor), speed}}
	r.Note = mistaken(len(list)-right, wrong)
	return r
}

// mistaken tells which languages are taken for which, the commonest five.
func mistaken(n int, wrong map[string]int) string {
	pairs := slices.SortedFunc(maps.Keys(wrong), func(a, b string) int { return cmp.Or(cmp.Compare(wrong[b], wrong[a]), cmp.Compare(a, b)) })
	for i, p := range pairs[:min(5, len(pairs))] {
		pairs[i] = fmt.Sprintf("%s (%d)", p, wrong[p])
	}
	switch {
	case n == 0:
		return ""
	case len(pairs) <= 5:
		return fmt.Sprintf("%d mistaken: %s", n, strings.Join(pairs, ", "))
	}
	return fmt.Sprintf("%d mistaken; the commonest: %s", n, strings.Join(pairs[:5], ", "))
}

// evaluateSentiment measures the lexicons; "mixed" counts as wrong.
func evaluateSentiment(ctx context.Context, o EvalOptions) ([]engine.Report, error) {
	list, err := labelled("sentiment.tsv")
	if err != nil {
		return nil, err
	}
	e, err := New(Options{Dir: o.Dir})
	if err != nil {
		return nil, err
	}
	e.seg.Words("预热") // the dictionary is read once
	t := newTally([]string{"positive", "negative", "neutral"})
	begin := time.Now()
	for _, x := range list {
		a, err := e.analyst("", x.Text)
		if err != nil {
			return nil, err
		}
		s, _, _ := a.document(x.Text)
		t.add(x.Label, []Score{{s.Label, s.Confidence}})
	}
	r := t.report()
	speed := milliseconds("a text", begin, r.Samples)
	return []engine.Report{{Family: "text", Engine: "lexicon", Model: "English and Chinese", Version: EngineVersion, Task: "sentiment",
		Data: fmt.Sprintf("own list of %d English and Chinese sentences", len(list)), Samples: r.Samples,
		Figures: []engine.Figure{figure("accuracy", r.Accuracy, floorFeeling), figure("macro-F1", r.MacroF1, 0), speed},
		Note:    "plain opinions, written for this measurement; expect less of irony and of long reviews"}}, ctx.Err()
}
