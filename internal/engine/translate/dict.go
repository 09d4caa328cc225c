package translate

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// cedictData is CC-CEDICT (CC BY-SA 4.0, docs/engines.md) as cedict/make.go packs it.
//
//go:embed cedict/cedict.gz
var cedictData []byte

// cedictVersion is the date of the dictionary.
const cedictVersion = "2019-05-27"

// entry is a word of the dictionary.
type entry struct {
	simp, trad string
	freq       int    // occurrences in the corpus behind gse's dictionary; 0: unknown
	pos        string // of the Peking University tag set: n, v, a, d, r, m, q, …
	measure    string // classifier
	reading    string // of single characters and names
	glosses    []string
}

// candidate is a Chinese word for an English one.
type candidate struct {
	entry int
	rank  int  // of the gloss among the entry's
	bare  bool // the gloss needed no brackets removed
	verb  bool // "to …"
}

// A candidate is kept in 32 bits: the entry, the rank, and the two marks.
const (
	rankBits   = 10
	maxRank    = 1<<rankBits - 1
	maxEntries = 1 << (32 - rankBits - 2)
)

func (c candidate) pack() uint32 {
	v := uint32(c.entry)<<(rankBits+2) | uint32(min(c.rank, maxRank))<<2
	if c.bare {
		v |= 2
	}
	if c.verb {
		v |= 1
	}
	return v
}

func unpack(v uint32) candidate {
	return candidate{int(v >> (rankBits + 2)), int(v >> 2 & maxRank), v&2 != 0, v&1 != 0}
}

// lexicon is the dictionary in memory: about 20 MB, made in half a second when it is first needed, and not changed any more. It keeps
// the text as it is; an entry is read when it is looked up.
type lexicon struct {
	text    string
	starts  []uint32      // of the entries' lines in text
	freqs   []uint32      // of the entries
	zh      wordMap       // entries by simplified and by traditional spelling
	en      wordMap       // packed candidates by gloss in lower case without articles and brackets
	total   float64       // of all frequencies
	longest int           // runes of a word
	t2s     map[rune]rune // traditional characters
}

// lazyLexicon makes the lexicon once.
type lazyLexicon struct {
	once sync.Once
	lex  *lexicon
	err  error
}

func (l *lazyLexicon) get() (*lexicon, error) {
	l.once.Do(func() { l.lex, l.err = readLexicon(cedictData) })
	return l.lex, l.err
}

func readLexicon(packed []byte) (*lexicon, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	text.Grow(3 * len(packed)) // it is 2.3 times as long
	if _, err := io.Copy(&text, z); err != nil {
		return nil, err
	}
	return newLexicon(text.String())
}

func newLexicon(text string) (*lexicon, error) {
	n := strings.Count(text, "\n")
	if n > maxEntries {
		return nil, errors.New("the dictionary has too many entries")
	}
	x := &lexicon{text: text, starts: make([]uint32, 0, n), freqs: make([]uint32, 0, n), t2s: map[rune]rune{}}
	zh, en := make([]wordValue, 0, 2*n), make([]wordValue, 0, 3*n)
	weight := map[rune]int{} // of the word that t2s has a character from
	at := 0
	for line := range strings.Lines(text) {
		i := len(x.starts)
		x.starts = append(x.starts, uint32(at))
		at += len(line)
		e := parseEntry(line)
		x.freqs = append(x.freqs, uint32(e.freq))
		x.longest = max(x.longest, utf8.RuneCountInString(e.simp))
		zh = append(zh, valueOf(e.simp, uint32(i)))
		if e.trad != e.simp {
			zh = append(zh, valueOf(e.trad, uint32(i)))
			x.learn(e, weight)
		}
		for rank, g := range e.glosses {
			if key, bare, verb := glossKey(g); key != "" {
				en = append(en, valueOf(key, candidate{i, rank, bare, verb}.pack()))
			}
		}
	}
	x.zh, x.en = newWordMap(zh), newWordMap(en)
	for i, f := range x.freqs {
		if x.zh.get(x.entry(i).simp)[0] == uint32(i) { // a word with several entries counts once
			x.total += float64(f)
		}
	}
	return x, nil
}

// learn takes from a word which characters are simplified how; the likeliest word decides.
func (x *lexicon) learn(e entry, weight map[rune]int) {
	s, t := []rune(e.simp), []rune(e.trad)
	for j := range t {
		if len(s) == len(t) && t[j] != s[j] {
			if w := e.freq + 1; w > weight[t[j]] {
				x.t2s[t[j]], weight[t[j]] = s[j], w
			}
		}
	}
}

func (x *lexicon) entry(i int) entry {
	line := x.text[x.starts[i]:]
	if i+1 < len(x.starts) {
		line = line[:x.starts[i+1]-x.starts[i]]
	}
	return parseEntry(line)
}

// parseEntry reads a line as cedict/make.go writes it.
func parseEntry(line string) (e entry) {
	rest := strings.TrimSuffix(line, "\n")
	field := func() (f string) {
		f, rest, _ = strings.Cut(rest, "\t")
		return f
	}
	e.simp, e.trad = field(), field()
	e.freq, _ = strconv.Atoi(field())
	e.pos, e.measure, e.reading = field(), field(), field()
	e.glosses = strings.Split(rest, "/")
	if e.trad == "" {
		e.trad = e.simp
	}
	return e
}

var brackets = regexp.MustCompile(`\s*\([^()]*\)\s*`)

func unbracketed(gloss string) string {
	if !strings.Contains(gloss, "(") { // most, and the expression is slow
		return gloss
	}
	return brackets.ReplaceAllString(gloss, " ")
}

// glossKey is what an English text is looked up by.
func glossKey(gloss string) (key string, bare, verb bool) {
	g := strings.TrimSpace(unbracketed(gloss))
	bare = g == gloss
	for _, p := range []string{"surname ", "classifier ", "suffix ", "prefix ", "interjection ", "particle ", "abbr. "} {
		if strings.HasPrefix(g, p) {
			return "", false, false
		}
	}
	g = strings.Trim(strings.ToLower(g), " .!?,")
	for _, p := range []string{"lit. ", "fig. ", "to ", "a ", "an ", "the ", "be "} {
		if rest, ok := strings.CutPrefix(g, p); ok && rest != "" {
			g, verb = rest, verb || p == "to "
		}
	}
	if len(g) > 60 || g == "" {
		return "", false, false
	}
	return g, bare, verb
}

// simplified gives the simplified spelling of every character.
func (x *lexicon) simplified(s string) string {
	return strings.Map(func(r rune) rune {
		if t, ok := x.t2s[r]; ok {
			return t
		}
		return r
	}, s)
}

// best is the likeliest entry of a word: a proper name only if there is nothing else.
func (x *lexicon) best(w string) *entry {
	var best *entry
	for _, i := range x.zh.get(w) {
		e := x.entry(int(i))
		if best == nil || isName(best) && !isName(&e) || isName(best) == isName(&e) && len(e.glosses) > len(best.glosses) {
			best = &e
		}
	}
	return best
}

func isName(e *entry) bool { return e.reading != "" && unicode.IsUpper(firstRune(e.reading)) }

// segment cuts Chinese text into words, so that the product of their frequencies is the greatest (the
// algorithm of gse and jieba, on this dictionary's words).
func (x *lexicon) segment(text string) []string {
	runes := []rune(text)
	n := len(runes)
	text = string(runes) // valid UTF-8
	at := make([]int, 0, n+1)
	for i := range text {
		at = append(at, i)
	}
	at = append(at, len(text))
	score := make([]float64, n+1)
	next := make([]int, n+1)
	log := math.Log(x.total)
	for i := n - 1; i >= 0; i-- {
		score[i], next[i] = score[i+1]-log-2, i+1
		if !spaceless(runes[i]) {
			score[i] = score[i+1] - 1
			continue
		}
		for j := i + 1; j <= n && j-i <= min(x.longest, 12); j++ {
			idx := x.zh.get(text[at[i]:at[j]])
			if len(idx) == 0 {
				continue
			}
			f := 1.0
			for _, k := range idx {
				f = max(f, float64(x.freqs[k]))
			}
			if s := math.Log(f) - log + score[j]; s > score[i] {
				score[i], next[i] = s, j
			}
		}
	}
	var words []string
	for i := 0; i < n; i = next[i] {
		w := text[at[i]:at[next[i]]]
		if k := len(words); k > 0 && !spaceless(runes[i]) && !unicode.IsSpace(runes[i]) && joins(lastRune(words[k-1]), runes[i]) {
			words[k-1] += w // letters and digits of one word
			continue
		}
		words = append(words, w)
	}
	return words
}

func joins(a, b rune) bool {
	return wordRune(a) && wordRune(b) || unicode.IsDigit(a) && (b == '.' || b == ',' || b == ':') || unicode.IsDigit(b) && (a == '.' || a == ',')
}

// dictionary translates between Chinese and English word by word.
type dictionary struct {
	lex   lazyLexicon
	words sync.Once
	zhFix map[string]bound
	enFix map[string]gloss
	bend  *english
}

func (d *dictionary) prepare() {
	d.words.Do(func() { d.zhFix, d.enFix, d.bend = zhWords(), enWords(), newEnglish() })
}

func (d *dictionary) zhFixed() map[string]bound { d.prepare(); return d.zhFix }
func (d *dictionary) enFixed() map[string]gloss { d.prepare(); return d.enFix }
func (d *dictionary) eng() *english             { d.prepare(); return d.bend }

func (*dictionary) name() string { return "cc-cedict" }

func (d *dictionary) pairs() []pair {
	return []pair{
		{"zh", "en", "zh-en", qualityDictionary, d}, {"en", "zh", "en-zh", qualityDictionary, d},
		{"zh-Hant", "en", "zh-en", qualityDictionary, d}, {"en", "zh-Hant", "en-zh", qualityDictionary, d},
		{"zh", "zh-Hant", "zh-Hant", qualityConversion, d}, {"zh-Hant", "zh", "zh-Hans", qualityConversion, d},
	}
}

func (*dictionary) honours(p pair, hint string) bool {
	switch hint {
	case "context":
		return p.quality == qualityDictionary
	case "formality": // 您 and 你
		return p.from == "en"
	}
	return false
}

// translate implements machine.
func (d *dictionary) translate(ctx context.Context, p pair, in []input, h hints) ([]string, error) {
	x, err := d.lex.get()
	if err != nil {
		return nil, err
	}
	out := make([]string, len(in))
	for i, s := range in {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch {
		case p.to == "en":
			out[i] = d.toEnglish(x, s.seg, s.text, h)
		case p.from == "en":
			text, words := d.toChinese(x, s.text, h)
			if out[i] = text; p.to == "zh-Hant" {
				out[i] = x.traditional(words)
			}
		case p.to == "zh":
			out[i] = x.simplified(s.text)
		default:
			var words []gloss
			for _, w := range x.segment(s.text) {
				words = append(words, gloss{zh: w})
			}
			out[i] = x.traditional(words)
		}
	}
	return out, nil
}

// traditional writes words with traditional characters.
func (x *lexicon) traditional(words []gloss) string {
	all := make([]gloss, len(words))
	for i, w := range words {
		all[i] = w
		if e := x.best(w.zh); e != nil {
			all[i].zh = e.trad
			continue
		}
		var b strings.Builder
		for _, part := range x.segment(w.zh) {
			if e := x.best(part); e != nil && e.simp == part {
				part = e.trad
			}
			b.WriteString(part)
		}
		all[i].zh = b.String()
	}
	return joinChinese(all)
}
