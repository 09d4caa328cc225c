package recommend

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// scaleAsks is how many questions of each kind are timed.
const scaleAsks = 500

// scale writes the world through the database in batches of 5000, synced to disk, loads and trains it, and times
// questions with cold and warm neighbours, single events with what they change in the model, and how soon an event changes
// the next answer.
func (w *world) scale(ctx context.Context, e *Engine, o EvalOptions) ([]engine.Figure, error) {
	const owner, name = "evaluate", "scale"
	var out []engine.Figure
	put := func(name string, value float64, unit string) {
		out = append(out, engine.Figure{Name: name, Value: round(value), Unit: unit})
	}
	began := time.Now()
	if err := w.write(ctx, e, owner, name); err != nil {
		return nil, err
	}
	put("events written", float64(len(w.events))/time.Since(began).Seconds(), "/s")
	before := heapBytes()
	began = time.Now()
	s, err := e.open(ctx, owner, name)
	if err != nil {
		return nil, err
	}
	put("load", time.Since(began).Seconds(), "s")
	began = time.Now()
	if err := e.fit(s); err != nil {
		return nil, err
	}
	put("training", time.Since(began).Seconds(), "s")
	put("model", (heapBytes()-before)/(1<<20), "MB")
	rng := rand.New(rand.NewPCG(1, 1))
	for _, state := range []string{"cold", "warm"} {
		var you, like, event []time.Duration
		for range scaleAsks {
			user, item := fmt.Sprintf("user-%d", rng.IntN(max(1, o.Users/50))), w.items[rng.IntN(len(w.items))].ID
			t := time.Now()
			if _, err := e.ForYou(ctx, owner, name, user, 20); err != nil {
				return nil, err
			}
			you = append(you, time.Since(t))
			t = time.Now()
			if _, err := e.Similar(ctx, owner, name, item, "", 20); err != nil {
				return nil, err
			}
			like = append(like, time.Since(t))
			t = time.Now()
			if _, err := e.Record(ctx, owner, name, Event{User: user, Item: item, Type: "view"}); err != nil {
				return nil, err
			}
			event = append(event, time.Since(t))
		}
		put("for-you, "+state+", median", quantile(you, 0.5), "ms")
		put("for-you, "+state+", 99th percentile", quantile(you, 0.99), "ms")
		put("similar, "+state+", median", quantile(like, 0.5), "ms")
		put("similar, "+state+", 99th percentile", quantile(like, 0.99), "ms")
		if state == "warm" {
			put("one event, median", quantile(event, 0.5), "ms")
			put("one event, 99th percentile", quantile(event, 0.99), "ms")
		}
	}
	took, err := w.probe(ctx, e, name, o)
	return append(out, changed(took)...), err
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
