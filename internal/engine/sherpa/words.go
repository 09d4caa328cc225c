package sherpa

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

const (
	// longest is how long a token lasts at most whose duration the model does not tell, in seconds.
	longest = 0.4
	// shortest is how long a word lasts at least.
	shortest = 0.02
)

// words divides a text into words and gives each the times and probabilities of its tokens. The text counts: tokens are
// parts of words with a space, "▁" or "@@" at their seams, single bytes, or letters, and what a model writes may differ from
// them by capitals or digits. So a token's place is by its share of the bytes. No times, no words.
func words(text string, a *wire.Answer, seconds float64) []Word {
	if len(a.Starts) == 0 || text == "" {
		return nil
	}
	ends := make([]int, len(a.Tokens)) // bytes of all tokens up to each
	sum := 0
	for i, t := range a.Tokens {
		sum += len(surface(t))
		ends[i] = sum
	}
	parts := split(text)
	all := 0
	for _, p := range parts {
		all += len(p)
	}
	if sum == 0 || all == 0 {
		return nil
	}
	// token is the one that has the byte at a place of the text.
	token := func(place int) int {
		at := place * sum / all
		i := 0
		for i < len(ends)-1 && ends[i] <= at {
			i++
		}
		return i
	}
	out := make([]Word, 0, len(parts))
	place, before := 0, 0.0
	for _, p := range parts {
		first, last := token(place), token(place+len(p)-1)
		place += len(p)
		w := Word{Text: p, Start: max(before, min(float64(a.Starts[first]), seconds))}
		w.End = min(max(end(a, last), w.Start+shortest), seconds)
		w.Start = min(w.Start, w.End)
		before = w.Start
		if len(a.LogProbs) > 0 {
			logs := 0.0
			for i := first; i <= last; i++ {
				logs += float64(a.LogProbs[i])
			}
			w.Confidence = mean(logs, last-first+1)
		}
		out = append(out, w)
	}
	return out
}

// end is when a token ends: as the model tells, or before the next one begins.
func end(a *wire.Answer, i int) float64 {
	start := float64(a.Starts[i])
	if len(a.Durations) > 0 && a.Durations[i] > 0 {
		return start + float64(a.Durations[i])
	}
	if i+1 < len(a.Starts) {
		return min(float64(a.Starts[i+1]), start+longest)
	}
	return start + longest
}

// surface is what a token adds to a text, without spaces.
func surface(token string) string {
	if hex, ok := strings.CutPrefix(token, "<0x"); ok && len(token) == 6 && token[5] == '>' {
		if v, err := strconv.ParseUint(hex[:2], 16, 8); err == nil {
			return string([]byte{byte(v)})
		}
	}
	return strings.TrimSuffix(strings.ReplaceAll(strings.TrimSpace(token), "▁", ""), "@@")
}

// split divides a text at its spaces, and where no spaces are written at each character. Punctuation stays with what
// it follows.
func split(text string) (parts []string) {
	for _, field := range strings.Fields(text) {
		start := 0
		for i, r := range field {
			if i == start || unicode.IsPunct(r) {
				continue
			}
			before, _ := utf8.DecodeLastRuneInString(strings.TrimRightFunc(field[start:i], unicode.IsPunct))
			if Unspaced(r) || Unspaced(before) {
				parts = append(parts, field[start:i])
				start = i
			}
		}
		parts = append(parts, field[start:])
	}
	return parts
}

// Unspaced reports whether a character is one of Chinese or Japanese, which are written without spaces.
func Unspaced(r rune) bool {
	const cjkMarks, wideMarks = 0x3000, 0xff00
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r >= cjkMarks && r < cjkMarks+0x40 || r >= wideMarks && r <= wideMarks+0x60
}
