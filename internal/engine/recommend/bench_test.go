package recommend

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scaleVar is how many events BenchmarkScale writes: 1000000 with a tenth as many items is the goal.
const scaleVar = "TOLLGATE_RECOMMEND_SCALE"

func scale(b *testing.B) int {
	v := os.Getenv(scaleVar)
	if v == "" {
		return 50_000
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkScale reports what a space of that size takes; see world.scale.
func BenchmarkScale(b *testing.B) {
	n := scale(b)
	o := EvalOptions{Seed: 1, Events: n, Items: n / 10, Users: n / 20, Probes: 200}
	w := generate(o, uint32(time.Now().Unix()))
	for b.Loop() {
		figures, err := w.measured(b.Context(), b.TempDir(), o)
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range figures {
			b.ReportMetric(f.Value, strings.NewReplacer(" ", "-", ",", "").Replace(f.Name)+"-"+f.Unit)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// benchModel is a trained model of 2,000 items and 50,000 events.
func benchModel(b *testing.B) (*model, uint32) {
	b.Helper()
	cfg, err := parseConfig([]byte(`{}`))
	if err != nil {
		b.Fatal(err)
	}
	now := uint32(noon.Unix())
	m := generate(EvalOptions{Seed: 1, Users: 2000, Items: 2000, Events: 50_000}, now).model(cfg)
	if m.fit, err = train(b.Context(), m.matrix(now), len(m.items), nil, 1, 1); err != nil {
		b.Fatal(err)
	}
	return m, now
}

func BenchmarkForYou(b *testing.B) {
	m, now := benchModel(b)
	for _, lambda := range []float32{0, 0.3} {
		b.Run(fmt.Sprintf("diversity=%v", lambda), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.rank(&query{user: int32(i % 2000), w: forYouWeights, limit: 20, skip: 255, now: now, lambda: lambda})
			}
		})
	}
}

func BenchmarkSimilar(b *testing.B) {
	m, now := benchModel(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.rank(&query{user: none, items: []int32{int32(i % 2000)}, w: similarWeights, limit: 20, now: now})
	}
}

func BenchmarkApply(b *testing.B) {
	m, now := benchModel(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.apply(event{usr: int32(i % 2000), item: int32(i * 7 % 2000), kind: click, at: now})
	}
}

func BenchmarkTrain(b *testing.B) {
	m, now := benchModel(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := train(b.Context(), m.matrix(now), len(m.items), nil, 1, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTerms(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		termsOf("Longjing green tea 龙井绿茶", "Spring harvest from the hills around Hangzhou, hand-fired in small batches. 春季采摘，小批量手工炒制。",
			"tea", []string{"green", "spring"}, []attr{{"origin", "Hangzhou"}})
	}
}
