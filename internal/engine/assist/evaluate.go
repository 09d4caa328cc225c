package assist

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// EvaluateOptions say what is evaluated. The functions are those of [Options]; nil ones are left out of it.
type EvaluateOptions struct {
	Data  string // folder with banking77-train.csv; "": generated data alone
	Now   time.Time
	Embed func(ctx context.Context, texts []string) ([][]float32, error)
	// EmbedModel and Trainer name what makes the vectors and the classifier, for the reports. Left out they are named by what
	// they are.
	EmbedModel, Trainer string
	Train               func(ctx context.Context, texts, labels []string) (Classify, error)
}

// Evaluate measures retrieval and routing on generated data with known structure, by words alone and with vectors, and intents on
// banking77 where it is there, with all examples and with ten of each. It works on databases of its own.
func Evaluate(ctx context.Context, o EvaluateOptions) ([]engine.Report, error) {
	if o.EmbedModel == "" {
		o.EmbedModel = "sentence vectors"
	} else {
		o.EmbedModel = "vectors of " + o.EmbedModel
	}
	if o.Trainer == "" {
		o.Trainer = "trained classifier"
	}
	words := o
	words.Embed = nil
	reports, err := words.run(ctx, (*evaluation).retrieval, (*evaluation).routing, (*evaluation).intents, (*evaluation).fewShot)
	if err != nil || o.Embed == nil {
		return reports, err
	}
	more, err := o.run(ctx, (*evaluation).retrieval, (*evaluation).routing, (*evaluation).fewShot)
	return append(reports, more...), err
}

func (o EvaluateOptions) run(ctx context.Context, parts ...func(*evaluation, context.Context) ([]engine.Report, error)) ([]engine.Report, error) {
	dir, err := os.MkdirTemp("", "tollgate-assist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	d, err := db.Open(ctx, "sqlite:"+filepath.Join(dir, "assist.db"), db.Options{NoSync: true})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := d.Migrate(ctx, Migrations); err != nil {
		return nil, err
	}
	sealer, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		return nil, err
	}
	e, err := New(Options{DB: d, Sealer: sealer, Embed: o.Embed, EmbedModel: o.EmbedModel, Train: o.Train})
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close(ctx) }() // nothing runs behind it
	v := &evaluation{e: e, o: o, r: rand.New(rand.NewPCG(1, 2))}
	var reports []engine.Report
	for _, part := range parts {
		more, err := part(v, ctx)
		if err != nil {
			return reports, err
		}
		reports = append(reports, more...)
	}
	return reports, nil
}

type evaluation struct {
	e *Engine
	o EvaluateOptions
	r *rand.Rand
}

const evaluator = "evaluate"

func (v *evaluation) report(task, data, model string, samples int, figures ...engine.Figure) engine.Report {
	return engine.Report{Family: "assist", Engine: engineName, Model: model, Version: Version, Task: task, Data: data, Samples: samples,
		Date: v.o.Now.Format(time.DateOnly), Figures: figures}
}

// retrieval measures whether the passage that answers is found, and whether questions without an answer are left alone.
func (v *evaluation) retrieval(ctx context.Context) ([]engine.Report, error) {
	const products = 60
	docs, facts := generateKnowledge(v.r, products)
	k := &Knowledge{Name: "generated"}
	if err := v.e.o.DB.Update(ctx, func(tx *db.Tx) error { return insertKnowledge(tx, evaluator, k) }); err != nil {
		return nil, err
	}
	for _, in := range docs {
		if _, err := v.e.put(ctx, evaluator, k.ID, in); err != nil {
			return nil, err
		}
	}
	ix, err := v.e.index(ctx, evaluator, k.ID)
	if err != nil {
		return nil, err
	}
	type sums struct {
		n, top1, top5, answered, strange, declined, near, passed int
		time                                                     time.Duration
	}
	by := map[string]*sums{"en": {}, "zh": {}}
	for _, f := range facts {
		s := by[f.lang]
		began := time.Now()
		got, err := v.e.ask(ctx, ix, f.question, f.lang, "", 5)
		if err != nil {
			return nil, err
		}
		s.time += time.Since(began)
		sure := len(got.hits) > 0 && got.confidence >= defaultThreshold
		if f.heading == "" {
			s.strange++
			if !sure {
				s.declined++
			}
			continue
		}
		if f.heading == nearMiss {
			s.near++
			if !sure {
				s.passed++
			}
			continue
		}
		s.n++
		if sure {
			s.answered++
		}
		for i, h := range got.hits {
			if _, p, _ := ix.passage(h); p.Heading == f.heading {
				s.top5++
				if i == 0 {
					s.top1++
				}
			}
		}
	}
	model := "BM25"
	if v.o.Embed != nil {
		model = "BM25 and " + v.o.EmbedModel
	}
	var out []engine.Report
	for _, lang := range []string{"en", "zh"} {
		s := by[lang]
		part := func(a, b int) float64 { return round(float64(a) / float64(max(b, 1))) }
		out = append(out, v.report("retrieval, "+languageNames[lang],
			fmt.Sprintf("generated: %d products with %d passages each, of which one answers; questions in other words than the passages, %d without an answer, and %d that ask of a known product what no passage says", products, len(topicsEN), s.strange, s.near),
			model, s.n+s.strange+s.near,
			engine.Figure{Name: "recall@5", Value: part(s.top5, s.n), Floor: 0.9},
			engine.Figure{Name: "recall@1", Value: part(s.top1, s.n), Floor: 0.75},
			engine.Figure{Name: "answered of what has an answer", Value: part(s.answered, s.n), Floor: 0.8},
			engine.Figure{Name: "declined of what has none", Value: part(s.declined, s.strange), Floor: 0.9},
			engine.Figure{Name: "declined of near misses", Value: part(s.passed, s.near)},
			engine.Figure{Name: "time", Value: round(float64(s.time.Microseconds()) / 1000 / float64(s.n+s.strange+s.near)), Unit: "ms"}))
	}
	return out, nil
}

// routing plays sessions: questions that the knowledge answers, and troubles that belong to one of three queues.
func (v *evaluation) routing(ctx context.Context) ([]engine.Report, error) {
	b, queues, err := v.routingBot(ctx)
	if err != nil {
		return nil, err
	}
	_, facts := generateKnowledge(rand.New(rand.NewPCG(1, 2)), 60)
	facts = slices.DeleteFunc(facts, func(f fact) bool { return f.heading == "" || f.heading == nearMiss || f.lang != "en" })
	right, routed, contained, answerable := 0, 0, 0, 0
	began := time.Now()
	for _, f := range facts[:100] {
		state, _, err := v.play(ctx, b, f.question)
		if err != nil {
			return nil, err
		}
		answerable++
		if state == withBot {
			contained++
		}
	}
	names := make([]string, 0, len(trouble))
	for name := range trouble {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, form := range trouble[name][troubleExamples:] {
			for range 10 {
				state, queue, err := v.play(ctx, b, fmt.Sprintf(form, 100+v.r.IntN(900)), "I want to talk to a person")
				if err != nil {
					return nil, err
				}
				if state != waiting {
					return nil, errors.New("assist: a session that asked for a person does not wait for one")
				}
				routed++
				if queue == queues[name] {
					right++
				}
			}
		}
	}
	turns, floor := float64(answerable+2*routed), 0.5
	if v.o.Embed != nil {
		floor = 0.75
	}
	return []engine.Report{v.report("routing and containment", "generated: questions that the knowledge answers, and troubles of three queues in sentences that are not among the queues' examples",
		v.dialogue(), answerable+routed,
		engine.Figure{Name: "routing accuracy", Value: round(float64(right) / float64(routed)), Floor: floor},
		engine.Figure{Name: "containment of what can be answered", Value: round(float64(contained) / float64(answerable)), Floor: 0.95},
		engine.Figure{Name: "time of a turn", Value: round(float64(time.Since(began).Microseconds()) / 1000 / turns), Unit: "ms"})}, nil
}

func (v *evaluation) dialogue() string {
	if v.o.Embed != nil {
		return "dialogue, " + v.o.EmbedModel
	}
	return "dialogue"
}

func (v *evaluation) routingBot(ctx context.Context) (b *Bot, queues map[string]string, err error) {
	queues = map[string]string{}
	err = v.e.o.DB.Update(ctx, func(tx *db.Tx) error {
		known, err := listKnowledge(tx, evaluator)
		if err != nil {
			return err
		}
		b = &Bot{Name: "routing", Knowledge: []string{known[0].ID}}
		for _, name := range []string{"Billing", "Complaints", "Technical"} {
			q := &Queue{Name: name, Languages: []string{}, Skills: []string{}}
			for _, form := range trouble[name][:troubleExamples] {
				q.Examples = append(q.Examples, strings.ReplaceAll(form, "%d", ""))
			}
			if err := writeQueue(tx, evaluator, q); err != nil {
				return err
			}
			queues[name] = q.ID
			b.Queues = append(b.Queues, q.ID)
		}
		if err := b.check(); err != nil {
			return err
		}
		return writeBot(tx, evaluator, b)
	})
	return b, queues, err
}

// play is a session of some messages; it returns where it ends.
func (v *evaluation) play(ctx context.Context, b *Bot, texts ...string) (state, queue string, err error) {
	view, _, err := v.e.begin(ctx, evaluator, b.ID, createSession{Language: "en", Channel: "text"})
	if err != nil {
		return "", "", err
	}
	c := &call{ctx: ctx, Request: &engine.Request{Owner: evaluator, Params: map[string]string{"session": view.ID}}}
	for _, text := range texts {
		got, err := v.e.converse(ctx, c, view.Secret, text, nil)
		if err != nil {
			return "", "", err
		}
		state = got.State
	}
	err = v.e.o.DB.View(ctx, func(tx *db.Tx) error {
		s, err := v.e.readSession(tx, evaluator, view.ID, "")
		if err == nil {
			queue = s.queue
		}
		return err
	})
	return state, queue, err
}

// banking reads banking77: examples by label, and every fifth question of a label, which is held out. There are none where the
// data is missing.
func (v *evaluation) banking() (labels []string, examples [][]string, held []fact, err error) {
	if v.o.Data == "" {
		return nil, nil, nil, nil
	}
	f, err := os.Open(filepath.Join(v.o.Data, "banking77-train.csv"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil, nil
	}
	if err != nil {
		return nil, nil, nil, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) < 2 {
		return nil, nil, nil, errors.Join(errors.New("assist: banking77-train.csv cannot be read"), err)
	}
	at, count := map[string]int{}, map[string]int{}
	for _, row := range rows[1:] {
		label := row[1]
		if _, ok := at[label]; !ok {
			at[label] = len(labels)
			labels, examples = append(labels, label), append(examples, nil)
		}
		if count[label]++; count[label]%5 == 0 {
			held = append(held, fact{row[0], label, "en"})
			continue
		}
		examples[at[label]] = append(examples[at[label]], row[0])
	}
	return labels, examples, held, nil
}

// intents measures a bot's intents on banking77 with all examples.
func (v *evaluation) intents(ctx context.Context) ([]engine.Report, error) {
	labels, examples, held, err := v.banking()
	if err != nil || labels == nil {
		return nil, err
	}
	const task, data = "intent recognition", "banking77 (77 intents), 80 % examples, 20 % held out"
	out := []engine.Report{v.accuracy(ctx, task, data, "nearest examples", learn(ctx, labels, examples, teacher{}), held, 0.75)}
	if v.o.Train == nil {
		return out, nil
	}
	return append(out, v.accuracy(ctx, task, data, v.o.Trainer, learn(ctx, labels, examples, teacher{train: v.o.Train}), held, 0.86)), nil
}

// fewShot measures the same with ten examples for each intent, as customers begin: by words and trained, or by vectors.
func (v *evaluation) fewShot(ctx context.Context) ([]engine.Report, error) {
	const shots, asked = 10, 5 // for each label
	labels, examples, all, err := v.banking()
	if err != nil || labels == nil {
		return nil, err
	}
	for i := range examples {
		examples[i] = examples[i][:min(shots, len(examples[i]))]
	}
	var held []fact
	count := map[string]int{}
	for _, f := range all {
		if count[f.heading]++; count[f.heading] <= asked {
			held = append(held, f)
		}
	}
	task, data := fmt.Sprintf("intent recognition, %d examples each", shots), fmt.Sprintf("banking77 (77 intents), %d examples an intent, %d questions held out", shots, len(held))
	if v.o.Embed != nil {
		return []engine.Report{v.accuracy(ctx, task, data, "nearest examples, "+v.o.EmbedModel, learn(ctx, labels, examples, teacher{embed: v.o.Embed}), held, 0.6)}, nil
	}
	out := []engine.Report{v.accuracy(ctx, task, data, "nearest examples", learn(ctx, labels, examples, teacher{}), held, 0.45)}
	if v.o.Train != nil {
		out = append(out, v.accuracy(ctx, task, data, v.o.Trainer, learn(ctx, labels, examples, teacher{train: v.o.Train}), held, 0.5))
	}
	return out, nil
}

func (v *evaluation) accuracy(ctx context.Context, task, data, model string, u *understanding, held []fact, floor float64) engine.Report {
	right, sure, sureRight := 0, 0, 0
	began := time.Now()
	for _, f := range held {
		var vector []float32
		if u.embedded {
			vector = v.e.vector(ctx, f.question, "en")
		}
		ranked := u.rank(f.question, vector)
		if len(ranked) == 0 {
			continue
		}
		ok := ranked[0].Label == f.heading
		if ok {
			right++
		}
		if ranked[0].Confidence >= defaultIntent {
			sure++
			if ok {
				sureRight++
			}
		}
	}
	n := float64(len(held))
	return v.report(task, data, model, len(held),
		engine.Figure{Name: "accuracy", Value: round(float64(right) / n), Floor: floor},
		engine.Figure{Name: "acted on (confidence at least the bot's threshold)", Value: round(float64(sure) / n)},
		engine.Figure{Name: "accuracy of what is acted on", Value: round(float64(sureRight) / float64(max(sure, 1)))},
		engine.Figure{Name: "time", Value: round(float64(time.Since(began).Microseconds()) / 1000 / n), Unit: "ms"})
}
