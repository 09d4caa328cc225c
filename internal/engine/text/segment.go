package text

import (
	"math"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/go-ego/gse"
)

// Segmenter splits Chinese into words by gse's dictionary of 350,000 words (simplified script): the likeliest way by word
// frequency. The dictionary is read at first use, which takes some two seconds, and is kept as a compact table of
// about 20 MB, where gse itself would hold 135 MB; share one Segmenter. Safe for concurrent use.
type Segmenter struct {
	once  sync.Once
	words map[string]wordInfo
	most  int // characters of the longest word
	rare  float32
	err   error
}

type wordInfo struct {
	logp float32
	pos  [2]byte // part of speech: "n", "nr", "v" …
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

const longestWord = 8 // characters; longer entries are sentences and titles

func (g *Segmenter) load() error {
	g.once.Do(func() {
		var s gse.Segmenter
		s.SkipLog = true
		if g.err = s.LoadDictEmbed("zh_s"); g.err != nil {
			return
		}
		g.words = make(map[string]wordInfo, len(s.Dict.Tokens))
		total := 0.0
		var all strings.Builder // one allocation for all keys
		for i := range s.Dict.Tokens {
			total += s.Dict.Tokens[i].Freq()
			all.WriteString(s.Dict.Tokens[i].Text())
		}
		keys := all.String()
		for i := range s.Dict.Tokens {
			t := &s.Dict.Tokens[i]
			n := len(t.Text())
			w := keys[:n]
			keys = keys[n:]
			size := utf8.RuneCountInString(w)
			if size > longestWord || size == 0 {
				continue
			}
			info := wordInfo{logp: float32(math.Log(max(t.Freq(), 1) / total))}
			copy(info.pos[:], t.Pos())
			g.words[w] = info
			g.most = max(g.most, size)
		}
		g.rare = float32(math.Log(0.5 / total))
	})
	return g.err
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
		best, size := make([]float32, n+1), make([]int, n+1)
		for i := n - 1; i >= 0; i-- {
			best[i], size[i] = best[i+1]+g.rare, 1
			for k := 1; known && k <= g.most && i+k <= n; k++ {
				if w, ok := g.words[s[at[i]:at[i+k]]]; ok && (best[i+k]+w.logp > best[i] || k == 1) {
					best[i], size[i] = best[i+k]+w.logp, k
				}
			}
		}
		for i := 0; i < n; i += size[i] {
			w := Word{Text: s[at[i]:at[i+size[i]]], Start: at[i], End: at[i+size[i]], LogP: float64(g.rare)}
			if info, ok := g.words[w.Text]; ok && known {
				w.POS, w.LogP = strings.TrimRight(string(info.pos[:]), "\x00"), float64(info.logp)
			}
			out = append(out, w)
		}
		from = at[n]
	}
	return out
}
