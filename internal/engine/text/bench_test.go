package text

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
)

const benchText = `Solar power is growing quickly around the world. Many countries install more solar panels each year than any other power source. The price
of solar panels has fallen by ninety percent in ten years. Cheaper panels mean that solar power competes with coal and gas without subsidies. Storage remains a
challenge, because the sun does not shine at night. Batteries are getting cheaper as well, so storage of solar power becomes practical. `

const benchChinese = `人工智能正在改变医疗行业。医院使用人工智能分析医学影像，帮助医生更早发现癌症。研究人员表示，人工智能诊断的准确率已经接近专家水平。不过，数据隐私仍然是主要问题。`

// BenchmarkOperations is the time and memory of each operation on a paragraph, models loaded.
func BenchmarkOperations(b *testing.B) {
	ctx := context.Background()
	seg := NewSegmenter()
	seg.Words("预热")
	lex := &lexicons{}
	c, _, err := Train(ctx, generated(20, 50, 1), TrainOptions{Held: -1})
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, f func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			f()
			for b.Loop() {
				f()
			}
		})
	}
	alone, model := NewIdentifier(""), NewIdentifier(enginesDir(b))
	run("language/profiles", func() { alone.Identify(benchText[:60]) })
	run("language/fasttext", func() { model.Identify(benchText[:60]) })
	run("segment/zh", func() { seg.Words(benchChinese) })
	run("sentiment/en", func() { (&analyst{lex: lex.of("en"), lang: "en", seg: seg}).document(benchText) })
	run("sentiment/zh", func() { (&analyst{lex: lex.of("zh"), lang: "zh", seg: seg}).document(benchChinese) })
	run("keywords/en", func() { keywords(benchText, "en", seg, 10) })
	run("keywords/zh", func() { keywords(benchChinese, "zh", seg, 10) })
	run("entities", func() { entities(benchText, "en", seg) })
	run("classify", func() { c.Predict(benchText[:60], 5) })
	long := strings.Repeat(benchText, 16)
	for _, x := range []struct{ name, text string }{{"summarise/6", benchText}, {"summarise/96", long}} {
		run(x.name, func() {
			if _, err := summarise(ctx, x.text, "en", "", seg, 3); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkTrain trains on 1000 examples of 20 labels.
func BenchmarkTrain(b *testing.B) {
	examples := generated(20, 50, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Train(context.Background(), examples, TrainOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is how long each model takes to load, and the heap that it keeps.
func BenchmarkLoad(b *testing.B) {
	dir := enginesDir(b)
	for _, x := range []struct {
		name string
		load func() any
	}{
		{"lid.176", func() any { d := NewIdentifier(dir); d.load(); return d }},
		{"use-lite", func() any { v := NewVectors(dir); v.load(); return v }},
		{"gse", func() any { g := NewSegmenter(); g.Words("预热"); return g }},
		{"lexicon", func() any { l := &lexicons{dir: dir}; l.of("en"); return l }},
		{"engine", func() any { e, _ := New(Options{Dir: engine.Dir("")}); return e }},
	} {
		b.Run(x.name, func(b *testing.B) {
			var kept any
			before := heap()
			for b.Loop() {
				kept = x.load()
			}
			b.ReportMetric(float64(heap()-before)/1e6, "MB-kept")
			runtime.KeepAlive(kept)
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
