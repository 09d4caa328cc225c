package text

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// TestEncoder compares pieces and vectors with what the model's own program (@energetic-ai/embeddings) computes.
func TestEncoder(t *testing.T) {
	e, err := loadEncoder(enginesDir(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text  string
		ids   []int32
		first []float64
	}{
		{"hello", []int32{2002, 102}, []float64{0.041678, -0.022363, -0.047608, -0.049279, 0.045071, -0.048594}},
		{"I am still waiting on my card?", []int32{16, 275, 214, 2634, 25, 69, 1305, 54},
			[]float64{-0.024663, -0.040478, 0.041106, -0.060856, -0.030280, -0.030638}},
		{"The quick brown fox jumps over the lazy dog.", []int32{34, 2280, 3744, 1394, 152, 2009, 7, 132, 9, 6266, 959, 6},
			[]float64{-0.013534, -0.042564, 0.036843, -0.005918, -0.008158, 0.064800}},
		{"Ünïcode ﬁsh № 5 — 你好!", []int32{30, 0, 85, 0, 6451, 1743, 262, 301, 405, 30, 0, 78},
			[]float64{0.018546, -0.050190, 0.060405, -0.012881, -0.057182, -0.021248}},
	} {
		ids, _ := e.pieces.encode(c.text)
		if !slices.Equal(ids, c.ids) {
			t.Errorf("%q: pieces %v, want %v", c.text, ids, c.ids)
			continue
		}
		v := e.encode(ids)
		for i, want := range c.first {
			if math.Abs(float64(v[i])-want) > 2e-5 {
				t.Errorf("%q: vector %v, want %v", c.text, v[:len(c.first)], c.first)
				break
			}
		}
	}
}

// TestDots: the machine's own instructions compute what Go does, whatever the length, and write nowhere else.
func TestDots(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 7, 8, 16, 24, 56, 63, 64, 256, 512, 1536} {
		x := make([]float32, 6*n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		a, b, w := x[:n], x[n:2*n], x[2*n:]
		got, want := [10]float32{8: 17, 9: 18}, [8]float32{}
		dots((*[8]float32)(got[:8]), a, b, w)
		dotsGo(&want, a, b, w)
		for i := range want {
			if math.Abs(float64(got[i]-want[i])) > 1e-4*math.Sqrt(float64(n)) {
				t.Errorf("%d numbers: %v, want %v", n, got[:8], want)
				break
			}
		}
		if got[8] != 17 || got[9] != 18 {
			t.Errorf("%d numbers: written beyond the sums", n)
		}
	}
}

// TestVectors holds with and without the encoder: unit length, near for what is alike, one language apart from another.
func TestVectors(t *testing.T) {
	for _, dir := range []engine.Dir{"", enginesDir(t)} {
		v := NewVectors(dir)
		x, err := v.Embed(context.Background(), []string{"Where is my parcel?", "Where is my package? It is late.", "The cat sleeps.", "我的包裹在哪里", "我的包裹还没到", "今天下雨", ""})
		if err != nil {
			t.Fatal(err)
		}
		for i := range x {
			if n := Similarity(x[i], x[i]); len(x[i]) != Dimensions || math.Abs(n-1) > 1e-5 {
				t.Errorf("vector %d has %d numbers and length² %v", i, len(x[i]), n)
			}
		}
		if a, b := Similarity(x[0], x[1]), Similarity(x[0], x[2]); a < b+0.2 {
			t.Errorf("dir %q: parcel~package %.3f, parcel~cat %.3f", dir, a, b)
		}
		if a, b := Similarity(x[3], x[4]), Similarity(x[3], x[5]); a < b+0.2 {
			t.Errorf("dir %q: Chinese alike %.3f, unlike %.3f", dir, a, b)
		}
		if a := Similarity(x[0], x[3]); math.Abs(a) > 0.2 {
			t.Errorf("dir %q: English~Chinese %.3f", dir, a)
		}
	}
}

func BenchmarkEmbed(b *testing.B) {
	for _, dir := range []engine.Dir{"", enginesDir(b)} {
		v := NewVectors(dir)
		name, _ := v.Engine()
		e := v.load()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if e != nil {
					e.text("I am still waiting on my card?")
				} else {
					hashed("I am still waiting on my card?")
				}
			}
		})
		if e != nil {
			b.Run(name+"/passage", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					e.text(benchText)
				}
			})
		}
	}
}
