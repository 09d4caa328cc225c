package sherpa

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

func TestWords(t *testing.T) {
	t.Parallel()
	half := float32(math.Log(0.5))
	for name, c := range map[string]struct {
		text string
		a    wire.Answer
		want string // word@start-end:confidence
	}{
		"pieces":         {"Hello world.", wire.Answer{Tokens: []string{"▁He", "llo", "▁world", "."}, Starts: []float32{0.2, 0.4, 1, 1.5}, LogProbs: []float32{0, half, half, half}}, "Hello@0.2-0.8:0.71 world.@1-1.9:0.5"},
		"spaces":         {"hello world", wire.Answer{Tokens: []string{" hello", " world"}, Starts: []float32{0.2, 0.5}}, "hello@0.2-0.5:0 world@0.5-0.9:0"},
		"durations":      {"a b", wire.Answer{Tokens: []string{"▁a", "▁b"}, Starts: []float32{0, 1}, Durations: []float32{0.1, 0.3}}, "a@0-0.1:0 b@1-1.3:0"},
		"joined by @@":   {"speech", wire.Answer{Tokens: []string{"spee@@", "ch"}, Starts: []float32{0.5, 0.7}}, "speech@0.5-1.1:0"},
		"Chinese":        {"你好，world。", wire.Answer{Tokens: []string{"你", "好", "，", "▁world", "。"}, Starts: []float32{0, 0.3, 0.5, 0.9, 1.2}}, "你@0-0.3:0 好，@0.3-0.9:0 world。@0.9-1.6:0"},
		"bytes":          {"你好", wire.Answer{Tokens: []string{"<0xE4>", "<0xBD>", "<0xA0>", "<0xE5>", "<0xA5>", "<0xBD>"}, Starts: []float32{0, 0.04, 0.08, 0.5, 0.54, 0.58}}, "你@0-0.48:0 好@0.5-0.98:0"},
		"rewritten":      {"It is 10", wire.Answer{Tokens: []string{"▁it", "▁is", "▁ten"}, Starts: []float32{0, 0.5, 1}}, "It@0-0.4:0 is@0.5-0.9:0 10@1-1.4:0"},
		"letters":        {"ab c", wire.Answer{Tokens: []string{"a", "b", " ", "c"}, Starts: []float32{0, 0.1, 0.2, 0.3}}, "ab@0-0.2:0 c@0.3-0.7:0"},
		"beyond the end": {"a b", wire.Answer{Tokens: []string{"▁a", "▁b"}, Starts: []float32{1, 99}}, "a@1-1.4:0 b@2-2:0"},
		"no times":       {"a b", wire.Answer{Tokens: []string{"▁a", "▁b"}}, ""},
		"no text":        {"", wire.Answer{Tokens: []string{"▁"}, Starts: []float32{0}}, ""},
	} {
		var got []string
		for _, w := range words(c.text, &c.a, 2) {
			got = append(got, w.Text+"@"+number(w.Start)+"-"+number(w.End)+":"+number(w.Confidence))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s, want %s", name, s, c.want)
		}
	}
}

func number(v float64) string {
	s := strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 2, 64), "0"), ".")
	if s == "" {
		return "0"
	}
	return s
}

// TestWordsLaws: whatever a model says, the words are those of the text, in order, within the sound.
func TestWordsLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := &wire.Answer{Tokens: rapid.SliceOfN(rapid.String(), 0, 20).Draw(t, "tokens")}
		n := len(a.Tokens)
		a.Starts = rapid.SliceOfN(rapid.Float32Range(-1, 100), n, n).Draw(t, "starts")
		if rapid.Bool().Draw(t, "probable") {
			a.LogProbs = rapid.SliceOfN(rapid.Float32Range(-20, 0.1), n, n).Draw(t, "log probs")
		}
		text := strings.TrimSpace(rapid.String().Draw(t, "text"))
		all := words(text, a, 3)
		var joined strings.Builder
		before := 0.0
		for _, w := range all {
			joined.WriteString(w.Text)
			if w.Start < before || w.End < w.Start || w.End > 3 || len(a.LogProbs) > 0 && w.Confidence < least || w.Confidence > 1 {
				t.Fatalf("%+v after %g", w, before)
			}
			before = w.Start
		}
		if len(all) > 0 && joined.String() != strings.Join(strings.Fields(text), "") {
			t.Fatalf("%q of %q", joined.String(), text)
		}
	})
}
