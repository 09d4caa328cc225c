package recommend

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
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

func heapBytes() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// quantile of durations, in milliseconds.
func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[int(q*float64(len(d)-1))].Microseconds()) / 1000
}

// BenchmarkScale fills a space through the database, synced to disk, and reports what each step takes: writing in
// batches of 5000, loading, training, memory, and for-you and similar with cold and warm neighbours.
func BenchmarkScale(b *testing.B) {
	n := scale(b)
	o := EvalOptions{Seed: 1, Events: n, Items: n / 10, Users: n / 20}
	w := generate(o, uint32(time.Now().Unix()))
	for b.Loop() {
		ctx := b.Context()
		d, err := db.Open(ctx, dbtest.SQLiteDSN(b), db.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Migrate(ctx, sets...); err != nil {
			b.Fatal(err)
		}
		e, err := New(Options{DB: d, Poll: time.Hour})
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		if err := w.write(ctx, e, "o", "world"); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(w.events))/time.Since(began).Seconds(), "writes/s")
		before := heapBytes()
		began = time.Now()
		s, err := e.open(ctx, "o", "world")
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "load-s")
		began = time.Now()
		e.fit(s)
		b.ReportMetric(time.Since(began).Seconds(), "train-s")
		b.ReportMetric((heapBytes()-before)/(1<<20), "model-MB")
		b.ReportMetric(float64(s.m.size())/(1<<20), "estimate-MB")
		rng := rand.New(rand.NewPCG(1, 1))
		for _, name := range []string{"cold", "warm"} {
			var you, like, event []time.Duration
			for range 500 {
				user := fmt.Sprintf("user-%d", rng.IntN(o.Users)/50)
				item := w.items[rng.IntN(o.Items)].ID
				t := time.Now()
				if _, err := e.ForYou(ctx, "o", "world", user, 20); err != nil {
					b.Fatal(err)
				}
				you = append(you, time.Since(t))
				t = time.Now()
				if _, err := e.Similar(ctx, "o", "world", item, "", 20); err != nil {
					b.Fatal(err)
				}
				like = append(like, time.Since(t))
				if name == "warm" {
					t = time.Now()
					if _, err := e.Record(ctx, "o", "world", Event{User: user, Item: item, Type: "view"}); err != nil {
						b.Fatal(err)
					}
					event = append(event, time.Since(t))
				}
			}
			b.ReportMetric(quantile(you, 0.5), name+"-for-you-p50-ms")
			b.ReportMetric(quantile(you, 0.99), name+"-for-you-p99-ms")
			b.ReportMetric(quantile(like, 0.5), name+"-similar-p50-ms")
			b.ReportMetric(quantile(like, 0.99), name+"-similar-p99-ms")
			if name == "warm" {
				b.ReportMetric(quantile(event, 0.5), "event-p50-ms")
				b.ReportMetric(quantile(event, 0.99), "event-p99-ms")
			}
		}
		if err := e.Close(ctx); err != nil {
			b.Fatal(err)
		}
		if err := d.Close(); err != nil {
			b.Fatal(err)
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
