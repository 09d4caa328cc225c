package text

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// chineseWords is gse's simplified dictionary (Apache-2.0, docs/engines.md) as chinese/make.go packs it.
//
//go:embed chinese/words.gz
var chineseWords []byte

// Segmenter splits Chinese into words by gse's dictionary of 350,000 words (simplified script): the likeliest way by word
// frequency. The dictionary is unpacked at first use, which takes a fifth of a second, and is 7 MB in memory; share one.
// Safe for concurrent use.
type Segmenter struct {
	once  sync.Once
	words wordTable
	err   error
}

// Word is a piece of a text.
type Word struct {
	Text       string
	POS        string // of Chinese words that are in the dictionary; "" else
	Start, End int    // bytes
	LogP       float64
}

// NewSegmenter returns a Segmenter that has read nothing yet.
func NewSegmenter() *Segmenter { return &Segmenter{} }

func (g *Segmenter) load() error {
	g.once.Do(func() { g.err = g.words.read(chineseWords) })
	return g.err
}

// wordTable is a dictionary: its words in the order of their bytes.
type wordTable struct {
	text string   // of all words, one behind the other
	at   []uint32 // where each begins, and the end
	logp []float32
	pos  []uint8  // index of tags
	tags []string // parts of speech: "n", "nr", "v" …
	rare float32  // of what is not in the dictionary
}

func (t *wordTable) read(packed []byte) error {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	var text strings.Builder
	total, tag := 0.0, map[string]uint8{}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		w, rest, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			if total, err = strconv.ParseFloat(w, 64); err != nil {
				return err
			}
			continue
		}
		n, pos, _ := strings.Cut(rest, "\t")
		freq, err := strconv.ParseFloat(n, 64)
		if err != nil {
			return err
		}
		i, ok := tag[pos]
		if !ok {
			i = uint8(len(t.tags)) // there are some fifty
			tag[pos] = i
			t.tags = append(t.tags, strings.Clone(pos))
		}
		t.at = append(t.at, uint32(text.Len()))
		text.WriteString(w)
		t.logp = append(t.logp, float32(math.Log(freq/total)))
		t.pos = append(t.pos, i)
	}
	t.at = slices.Clip(append(t.at, uint32(text.Len())))
	t.text, t.logp, t.pos = strings.Clone(text.String()), slices.Clip(t.logp), slices.Clip(t.pos)
	t.rare = float32(math.Log(0.5 / total))
	return lines.Err()
}

func (t *wordTable) word(i int) string { return t.text[t.at[i]:t.at[i+1]] }

// stretch is a range of words that begin alike.
type stretch struct{ from, to int }

// narrow keeps of the stretch the words that begin with prefix, and tells which of them is prefix itself, -1 for none.
func (t *wordTable) narrow(s stretch, prefix string) (stretch, int) {
	n := len(prefix)
	s.from += sort.Search(s.to-s.from, func(i int) bool { return t.word(s.from+i) >= prefix })
	s.to = s.from + sort.Search(s.to-s.from, func(i int) bool {
		w := t.word(s.from + i)
		return w[:min(n, len(w))] > prefix
	})
	if s.from < s.to && t.word(s.from) == prefix { // a prefix is before what it begins
		return s, s.from
	}
	return s, -1
}

// Words splits s: Chinese by the dictionary, everything else at spaces and punctuation. A run of characters that it does
// not know comes as single characters. If the dictionary cannot be read, so does all Chinese.
func (g *Segmenter) Words(s string) []Word {
	var out []Word
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		j := i + n
		switch {
		case unicode.Is(unicode.Han, r):
			j = runEnd(s, j, func(r rune) bool { return unicode.Is(unicode.Han, r) })
			out = g.chinese(out, s, i, j)
		case spaceless(r):
			out = append(out, Word{Text: s[i:j], Start: i, End: j})
		case wordRune(r):
			j = runEnd(s, j, func(r rune) bool { return wordRune(r) && !spaceless(r) || r == '\'' || r == '’' || r == '-' })
			for j > i+1 && strings.HasSuffix(s[i:j], "-") || strings.HasSuffix(s[i:j], "'") {
				j--
			}
			out = append(out, Word{Text: s[i:j], Start: i, End: j})
		}
		i = j
	}
	return out
}

// Cut is the texts of Words.
func (g *Segmenter) Cut(s string) []string {
	words := g.Words(s)
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.Text
	}
	return out
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.M, r)
}

func runEnd(s string, i int, in func(rune) bool) int {
	for i < len(s) {
		r, n := utf8.DecodeRuneInString(s[i:])
		if !in(r) {
			break
		}
		i += n
	}
	return i
}

// maxRun bounds the characters that are weighed at once.
const maxRun = 512

// chinese appends the words of the run s[from:to].
func (g *Segmenter) chinese(out []Word, s string, from, to int) []Word {
	known := g.load() == nil
	for from < to {
		at := []int{from} // where each character begins
		for i := range s[from:to] {
			if i > 0 {
				at = append(at, from+i)
			}
			if len(at) > maxRun {
				break
			}
		}
		if len(at) <= maxRun {
			at = append(at, to)
		}
		n := len(at) - 1
		best, size, entry := make([]float32, n+1), make([]int, n+1), make([]int, n+1)
		for i := n - 1; i >= 0; i-- {
			best[i], size[i], entry[i] = best[i+1]+g.words.rare, 1, -1
			like, hit := stretch{0, len(g.words.logp)}, -1
			for k := 1; known && i+k <= n; k++ {
				if like, hit = g.words.narrow(like, s[at[i]:at[i+k]]); like.from == like.to {
					break
				}
				if hit >= 0 && (best[i+k]+g.words.logp[hit] > best[i] || k == 1) {
					best[i], size[i], entry[i] = best[i+k]+g.words.logp[hit], k, hit
				}
			}
		}
		for i := 0; i < n; i += size[i] {
			w := Word{Text: s[at[i]:at[i+size[i]]], Start: at[i], End: at[i+size[i]], LogP: float64(g.words.rare)}
			if e := entry[i]; e >= 0 {
				w.POS, w.LogP = g.words.tags[g.words.pos[e]], float64(g.words.logp[e])
			}
			out = append(out, w)
		}
		from = at[n]
	}
	return out
}
