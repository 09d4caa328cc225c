package openai

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/llm"
)

// TestStreams reads streams in the shapes of the servers of this dialect. hidden are the parts that a
// client which did not ask for usage does not get; costs is how many usage objects get the cost else.
func TestStreams(t *testing.T) {
	tests := []struct {
		name      string
		usage     llm.Usage
		text      string
		reasoning int64
		chunks    int64
		done      bool
		failed    bool
		hidden    string // the last event but [DONE], if it starts so
		costs     int
	}{
		{name: "openai", text: `The "usage" is {"usage":{"prompt_tokens":1}} 你好` + "\n", chunks: 4, done: true, costs: 1, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 512, CachedInput: 512, Output: 8, Reasoning: 4, Found: true}},
		{name: "openai-tools", text: `get_weather{"city":"Paris"}`, chunks: 4, done: true, costs: 1, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 80, Output: 15, Found: true}},
		{name: "openai-audio", text: "Hi there", chunks: 2, done: true, costs: 1, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 20, AudioInput: 100, Output: 10, AudioOutput: 60, Found: true}},
		{name: "vllm-continuous", text: "One two", chunks: 2, done: true, costs: 5, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 17, Output: 3, Found: true}},
		{name: "vllm-reasoning", text: "Hm, soYes", reasoning: 6, chunks: 3, done: true},
		{name: "ollama", text: "Why not", chunks: 2, done: true, costs: 1, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 26, Output: 3, Found: true}},
		{name: "deepseek", text: "想一想好的", reasoning: 9, chunks: 3, done: true, costs: 1,
			usage: llm.Usage{Input: 36, CachedInput: 64, Output: 10, Reasoning: 30, Found: true}},
		{name: "azure", text: "Hello", chunks: 1, done: true, costs: 1, hidden: `"usage":{`,
			usage: llm.Usage{Input: 8, Output: 2, Found: true}},
		{name: "groq-crlf", text: "Fast", chunks: 1, done: true, costs: 1, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 36, Output: 2, Found: true}},
		{name: "xai", text: "42", chunks: 1, done: true, costs: 1, hidden: `"choices":[],"usage":{`,
			usage: llm.Usage{Input: 9992, CachedInput: 128, Output: 1499, Reasoning: 2809, Found: true}},
		{name: "gemini", text: "The answer is fifteen percent of two hundred and forty, which is thirty-six.", chunks: 2, done: true, costs: 2,
			usage: llm.Usage{Input: 20, Output: 18, Reasoning: 405, Found: true}},
		{name: "openrouter-error", text: "Well", chunks: 1, failed: true},
		{name: "mistral", text: "Hm.So be it", reasoning: 3, chunks: 3, done: true, costs: 1,
			usage: llm.Usage{Input: 11, Output: 20, Found: true}},
		{name: "lines", text: "a", chunks: 1, done: true, costs: 1, hidden: `data:"usage"`,
			usage: llm.Usage{Input: 3, Output: 1, Found: true}},
		{name: "truncated", text: "cut", chunks: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stream := readStream(t, tt.name)
			want := result{Usage: tt.usage, Text: tt.text, Bytes: int64(len(tt.text)), Reasoning: tt.reasoning,
				Chunks: tt.chunks, Done: tt.done, Failed: tt.failed}
			got := run(t, testTap(), false, stream)
			out := got.Out
			got.Out = ""
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if hides := tt.hidden != "" && strings.Contains(stream, tt.hidden); hides != (tt.hidden != "") || hides && strings.Contains(out, tt.hidden) {
				t.Errorf("not hidden: %s", out)
			}
			// Not asked: what is left is the stream without one event.
			if tt.hidden == "" && tt.done && out != stream {
				t.Errorf("changed:\n%s", cmp.Diff(stream, out))
			}
			got = run(t, testTap(), true, stream)
			out = got.Out
			got.Out = ""
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if n := strings.Count(out, `"currency":"USD"`); n != tt.costs {
				t.Errorf("%d costs: %s", n, out)
			}
			checkSplits(t, stream)
		})
	}
}

func readStream(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "streams", name+".sse"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// checkSplits cuts the stream everywhere once, into single bytes, and at random.
func checkSplits(t *testing.T, stream string) {
	t.Helper()
	for _, asked := range []bool{false, true} {
		tap := testTap()
		want := run(t, tap, asked, stream)
		check := func(cuts ...int) {
			t.Helper()
			if d := cmp.Diff(want, run(t, tap, asked, stream, cuts...)); d != "" {
				t.Fatalf("asked %v, cut at %v:\n%s", asked, cuts, d)
			}
		}
		var every []int
		for i := range stream {
			check(i)
			every = append(every, i)
		}
		check(every...)
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			var cuts []int
			for at := r.IntN(200); at < len(stream); at += 1 + r.IntN(200) {
				cuts = append(cuts, at)
			}
			check(cuts...)
		}
	}
}

// FuzzSSE holds that the way a stream is cut into reads changes neither what is forwarded nor what is
// counted, and that nothing is forwarded that was not read.
func FuzzSSE(f *testing.F) {
	names, err := filepath.Glob("testdata/streams/*.sse")
	if err != nil || len(names) == 0 {
		f.Fatal(err, names)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte{3, 70, 1, 0, 255}, true)
		f.Add(data, []byte{200, 90, 17}, false)
	}
	f.Fuzz(func(t *testing.T, stream, steps []byte, asked bool) {
		tap := testTap()
		want := run(t, tap, asked, string(stream))
		var cuts []int
		for at, i := 0, 0; len(steps) > 0 && i < 1000; i++ {
			if at += int(steps[i%len(steps)]); at > len(stream) {
				break
			}
			cuts = append(cuts, at)
		}
		if d := cmp.Diff(want, run(t, tap, asked, string(stream), cuts...)); d != "" {
			t.Fatalf("cut at %v:\n%s", cuts, d)
		}
		if !asked && len(want.Out) > len(stream)+2 {
			t.Fatalf("forwarded more than was read: %q", want.Out)
		}
		if want.Bytes < int64(len(want.Text)) || want.Reasoning > want.Bytes || want.Usage.InputTotal() < 0 || want.Usage.OutputTotal() < 0 {
			t.Fatalf("%+v", want)
		}
	})
}
