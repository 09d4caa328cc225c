package sherpa_test

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child/childtest"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa/sherpatest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// enginesDir is an engines directory with the installed library, a child built from this tree, and no models.
func enginesDir(t testing.TB) engine.Dir {
	t.Helper()
	return enginetest.Child(t, "sherpa-onnx", "tollgate-sherpa", "lib/libsherpa-onnx-c-api.so", "lib/libonnxruntime.so")
}

func models(dir engine.Dir) string { return filepath.Join(string(dir), "speech", "models") }

// model is one of a runtime's, by name.
func model(t testing.TB, r *sherpa.Runtime, name string) *sherpa.Model {
	t.Helper()
	for _, m := range r.Models() {
		if m.Name == name {
			return &m
		}
	}
	t.Fatalf("no model %s", name)
	return nil
}

// tones are silence and tones: milliseconds and Hz in turn, 0 Hz for silence.
func tones(pairs ...int) (pcm []int16) {
	for i := 0; i < len(pairs); i += 2 {
		for n := range pairs[i] * sherpa.Rate / 1000 {
			pcm = append(pcm, int16(9000*math.Sin(2*math.Pi*float64(pairs[i+1])*float64(n)/sherpa.Rate)))
		}
	}
	return pcm
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.15 }

// TestDecode recognises tones with models of both kinds on the real library.
func TestDecode(t *testing.T) {
	t.Parallel()
	dir := enginesDir(t)
	sherpatest.Offline(t, models(dir), "zipformer-ctc-en")
	sherpatest.Offline(t, models(dir), "zipformer-ctc-zh", "低", "高")
	sherpatest.Streaming(t, models(dir), "streaming-zipformer-ctc")
	r := enginetest.Closed(t, sherpa.New(sherpa.Options{Dir: dir}))
	sound := tones(500, 0, 400, 300, 400, 0, 400, 3000, 400, 0, 400, 300, 300, 0)
	for name, want := range map[string]struct {
		text  string
		words []string
	}{
		"zipformer-ctc-en":        {"low high low", []string{"low", "high", "low"}},
		"zipformer-ctc-zh":        {"低高低", []string{"低", "高", "低"}},
		"streaming-zipformer-ctc": {"low high low", []string{"low", "high", "low"}},
	} {
		h, err := r.Decode(t.Context(), sherpa.Call{Model: model(t, r, name), PCM: sound})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if h.Text != want.text || len(h.Words) != 3 {
			t.Errorf("%s: %+v", name, h)
			continue
		}
		for i, at := range []float64{0.5, 1.3, 2.1} {
			if w := h.Words[i]; w.Text != want.words[i] || !near(w.Start, at) || w.End <= w.Start || w.End > 2.9 {
				t.Errorf("%s: word %d %+v, want it at %g", name, i, w, at)
			}
		}
		h, err = r.Decode(t.Context(), sherpa.Call{Model: model(t, r, name), PCM: make([]int16, sherpa.Rate)})
		if err != nil || h.Text != "" || len(h.Words) != 0 {
			t.Errorf("%s: silence: %+v %v", name, h, err)
		}
		for _, n := range []int{1, 100, 400} { // less than a frame
			if h, err = r.Decode(t.Context(), sherpa.Call{Model: model(t, r, name), PCM: make([]int16, n)}); err != nil || h.Text != "" {
				t.Errorf("%s: %d samples: %+v %v", name, n, h, err)
			}
		}
	}
}

// TestMany uses more models than are kept, from many callers.
func TestMany(t *testing.T) {
	t.Parallel()
	dir := enginesDir(t)
	for _, name := range []string{"zipformer-a", "zipformer-b", "zipformer-c", "zipformer-d", "zipformer-e"} {
		sherpatest.Offline(t, models(dir), name)
	}
	r := enginetest.Closed(t, sherpa.New(sherpa.Options{Dir: dir, Workers: 2}))
	var all sync.WaitGroup
	for range 3 {
		for _, m := range r.Models() {
			all.Go(func() {
				h, err := r.Decode(t.Context(), sherpa.Call{Model: &m, PCM: tones(300, 0, 500, 3000, 300, 0)})
				if err != nil || h.Text != "high" {
					t.Errorf("%s: %+v %v", m.Name, h, err)
				}
			})
		}
	}
	all.Wait()
}

// TestBadModels: a model that sherpa-onnx does not like is refused with an error that names it, and does not harm the others.
func TestBadModels(t *testing.T) {
	t.Parallel()
	dir := enginesDir(t)
	root := models(dir)
	truncated := sherpatest.Offline(t, root, "truncated-zipformer-ctc")
	file := filepath.Join(truncated, "model.onnx")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, data[:len(data)/2])
	write(t, filepath.Join(sherpatest.Offline(t, root, "junk-zipformer-ctc"), "model.onnx"), []byte("this is no model"))
	write(t, filepath.Join(sherpatest.Offline(t, root, "no-blank-zipformer-ctc"), "tokens.txt"), []byte("a 0\nb 1\nc 2\n"))
	sherpatest.Offline(t, root, "wrong-type-sense-voice")
	sherpatest.Offline(t, root, "good-zipformer-ctc")
	var log enginetest.Log
	now := clock.NewManual(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
	r := enginetest.Closed(t, sherpa.New(sherpa.Options{Dir: dir, Clock: now, Log: slog.New(slog.NewTextHandler(&log, nil))}))
	good := func() {
		t.Helper()
		h, err := r.Decode(t.Context(), sherpa.Call{Model: model(t, r, "good-zipformer-ctc"), PCM: tones(300, 0, 400, 300, 300, 0)})
		if err != nil || h.Text != "low" {
			t.Fatalf("%+v %v", h, err)
		}
	}
	for _, name := range []string{"truncated-zipformer-ctc", "junk-zipformer-ctc", "no-blank-zipformer-ctc", "wrong-type-sense-voice"} {
		for range 3 { // again and again, as callers do
			_, err := r.Decode(t.Context(), sherpa.Call{Model: model(t, r, name), PCM: tones(500, 300)})
			if p := problem.As(err); !problem.Is(err, problem.Unavailable) || p.ID != "speech.model_failed" || !strings.Contains(p.Text("en"), name) {
				t.Errorf("%s: %v", name, err)
			}
			good()
		}
		if m := model(t, r, name); !strings.Contains(m.Need, "the log says why") {
			t.Errorf("%s is described as %+v", name, m)
		}
	}
	if said := log.String(); !strings.Contains(said, "junk-zipformer-ctc") || !strings.Contains(said, "rotobuf") || !strings.Contains(said, "<blk>") {
		t.Errorf("the log does not tell the causes: %s", said)
	}
	// Mended, it is used after its rest.
	sherpatest.Offline(t, root, "truncated-zipformer-ctc")
	now.Advance(time.Minute)
	if h, err := r.Decode(t.Context(), sherpa.Call{Model: model(t, r, "truncated-zipformer-ctc"), PCM: tones(300, 0, 400, 300, 300, 0)}); err != nil || h.Text != "low" {
		t.Errorf("mended: %+v %v", h, err)
	}
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	for _, dir := range []engine.Dir{"", engine.Dir(t.TempDir()), "/does/not/exist"} {
		r := enginetest.Closed(t, sherpa.New(sherpa.Options{Dir: dir}))
		if r.Ready() || len(r.Models()) > 0 {
			t.Errorf("%q: ready", dir)
		}
		if _, err := r.Decode(t.Context(), sherpa.Call{Model: &sherpa.Model{}, PCM: []int16{1}}); problem.As(err).ID != "engine.missing" {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

// TestEnds: a call that its caller ends, and a runtime that is closed.
func TestEnds(t *testing.T) {
	t.Parallel()
	dir := enginesDir(t)
	sherpatest.Offline(t, models(dir), "zipformer")
	r := enginetest.Closed(t, sherpa.New(sherpa.Options{Dir: dir}))
	m := model(t, r, "zipformer")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Decode(ctx, sherpa.Call{Model: m, PCM: tones(500, 300)}); !problem.Is(err, problem.ClientGone) {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Decode(t.Context(), sherpa.Call{Model: m, PCM: tones(500, 300)}); !problem.Is(err, problem.Unavailable) {
		t.Error(err)
	}
	if need := model(t, r, "zipformer").Need; need != "" {
		t.Errorf("a model is blamed for it: %s", need)
	}
}

func TestChildRefuses(t *testing.T) {
	t.Parallel()
	childtest.Refuses(t, enginesDir(t), "tollgate-sherpa", "libsherpa-onnx-c-api.so", "sherpa-onnx", "sherpa-onnx "+sherpa.Version+" with ONNX Runtime 1.")
}

func BenchmarkDecode(b *testing.B) {
	dir := enginesDir(b)
	sherpatest.Offline(b, models(dir), "zipformer")
	r := enginetest.Closed(b, sherpa.New(sherpa.Options{Dir: dir}))
	m, sound := model(b, r, "zipformer"), tones(4000, 300, 1000, 0)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Decode(b.Context(), sherpa.Call{Model: m, PCM: sound}); err != nil {
			b.Fatal(err)
		}
	}
}
