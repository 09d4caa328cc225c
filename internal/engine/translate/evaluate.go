package translate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// EvaluateOptions say what is evaluated.
type EvaluateOptions struct {
	Engine *Engine
	Data   string // folder with tatoeba-XX-YY*.tsv: lines of a sentence, TAB, its translation; "": generated data alone
	Date   string // 2006-01-02
}

var corpusName = regexp.MustCompile(`^tatoeba-([a-z]{2,3})-([a-z]{2,3})\b.*\.tsv$`)

// Evaluate measures BLEU and latency of every corpus in the folder, in both directions where there is an engine, and
// that the structure of generated documents survives.
func Evaluate(ctx context.Context, o EvaluateOptions) ([]engine.Report, error) {
	if o.Engine == nil {
		return nil, errors.New("translate: no engine to evaluate")
	}
	var reports []engine.Report
	if o.Data != "" {
		files, err := os.ReadDir(o.Data)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			m := corpusName.FindStringSubmatch(f.Name())
			if m == nil {
				continue
			}
			left, right, err := readCorpus(filepath.Join(o.Data, f.Name()))
			if err != nil {
				return nil, err
			}
			for _, d := range []struct {
				from, to string
				src, ref []string
			}{{m[1], m[2], left, right}, {m[2], m[1], right, left}} {
				if o.Engine.routes.find(d.from, d.to, "") == nil {
					continue
				}
				r, err := o.Engine.evaluateCorpus(ctx, d.from, d.to, d.src, d.ref)
				if err != nil {
					return nil, err
				}
				r.Data = fmt.Sprintf("%s, %d sentences", strings.TrimSuffix(f.Name(), ".tsv"), len(d.src))
				reports = append(reports, *r)
			}
		}
	}
	speed, err := o.Engine.evaluateSpeed(ctx)
	if err != nil {
		return nil, err
	}
	reports = append(reports, speed...)
	s, err := o.Engine.evaluateStructure(ctx)
	if err != nil {
		return nil, err
	}
	reports = append(reports, s...)
	for i := range reports {
		reports[i].Family, reports[i].Date = "translate", o.Date
	}
	return reports, nil
}

func readCorpus(path string) (left, right []string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	for line := range strings.Lines(string(data)) {
		if l, r, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t"); ok {
			left, right = append(left, l), append(right, r)
		}
	}
	return left, right, nil
}

func (e *Engine) evaluateCorpus(ctx context.Context, from, to string, src, ref []string) (*engine.Report, error) {
	if _, err := e.dict.lex.get(); err != nil { // its loading is no part of a sentence's time
		return nil, err
	}
	r := e.routes.find(from, to, "")
	hyps, refs := make([][]string, len(src)), make([][]string, len(src))
	times := make([]time.Duration, len(src))
	for i := range src {
		started := time.Now()
		t, err := e.run(ctx, &job{source: from, target: to, format: formatText, docs: []*document{takeText(src[i])}}, nil)
		if err != nil {
			return nil, err
		}
		times[i] = time.Since(started)
		hyps[i], refs[i] = bleuTokens(e.alike(to, t[0].Text)), bleuTokens(e.alike(to, ref[i]))
	}
	slices.Sort(times)
	note := "BLEU as sacreBLEU counts it (zh, 13a, exponential smoothing), against one reference a sentence"
	if to == "zh" {
		note += ", traditional characters taken as simplified"
	}
	if r.quality() == qualityDictionary {
		note = "words are looked up one by one: expect the gist of a text, not its style. " + note
	}
	return &engine.Report{
		Engine: r.engine(), Model: r.model(), Version: e.version(r), Task: "translation " + from + " → " + to, Samples: len(src), Note: note,
		Figures: []engine.Figure{{Name: "BLEU", Value: round(bleu(hyps, refs))}, latency("median latency", times, 2), latency("95th percentile latency", times, 20)},
	}, nil
}

// speedSentences are what Apertium's latency is measured on, again and again.
var speedSentences = []string{
	"The house is big.", "I do not know where my brother lives now.", "We had lunch at a little coffee shop near the station.",
	"Please send me the invoice for last month before Friday.", "She reads three books every week, and she writes about them.",
	"The new version of the program is faster than the old one.", "Can you help me with this problem?", "They are talking about music.",
}

// evaluateSpeed measures Apertium, for whose pairs there is no corpus here: a direct pair, and one through a third
// language.
func (e *Engine) evaluateSpeed(ctx context.Context) ([]engine.Report, error) {
	var reports []engine.Report
	for _, to := range []string{"es", "fr"} {
		r := e.routes.find("en", to, e.apt.name())
		if r == nil {
			continue
		}
		var times []time.Duration
		for i := range 25 * len(speedSentences) {
			started := time.Now()
			if _, err := e.run(ctx, &job{source: "en", target: to, engine: e.apt.name(), format: formatText, docs: []*document{takeText(speedSentences[i%len(speedSentences)])}}, nil); err != nil {
				return nil, err
			}
			if i >= len(speedSentences) { // the first round starts the processes
				times = append(times, time.Since(started))
			}
		}
		slices.Sort(times)
		reports = append(reports, engine.Report{Engine: r.engine(), Model: r.model(), Version: e.version(r), Task: "speed of translation en → " + to, Data: "eight everyday sentences, again and again",
			Samples: len(times), Note: "speed alone, after the first round; quality is not measured, as there are no reference translations of this pair",
			Figures: []engine.Figure{latency("median latency", times, 2), latency("95th percentile latency", times, 20)}})
	}
	return reports, nil
}

func latency(name string, sorted []time.Duration, part int) engine.Figure {
	i := len(sorted) / 2
	if part == 20 {
		i = len(sorted) * 19 / 20
	}
	v := 0.0
	if len(sorted) > 0 {
		v = float64(sorted[i].Microseconds()) / 1000
	}
	return engine.Figure{Name: name, Value: round(v), Unit: "ms"}
}

func round(f float64) float64 { return float64(int(f*100+0.5)) / 100 }

func (e *Engine) version(r route) string {
	if r[0].m == machine(e.dict) {
		return "CC-CEDICT " + cedictVersion
	}
	return "3.8"
}

// alike spells Chinese with simplified characters.
func (e *Engine) alike(lang, text string) string {
	if x, err := e.dict.lex.get(); err == nil && lang == "zh" {
		return x.simplified(text)
	}
	return text
}
