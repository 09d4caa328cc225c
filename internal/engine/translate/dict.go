package translate

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
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
	of    int  // glosses the entry has
	bare  bool // the gloss needed no brackets removed
	verb  bool // "to …"
}

// lexicon is the dictionary in memory: about 60 MB, made in half a second when it is first needed.
type lexicon struct {
	entries []entry
	zh      map[string][]int       // by simplified and by traditional spelling
	en      map[string][]candidate // by gloss in lower case without articles and brackets
	total   float64                // of all frequencies
	longest int                    // runes of a word
	t2s     map[rune]rune          // traditional characters
	weight  map[rune]int           // of the word that t2s has a character from
	most    int                    // words of an English key
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
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	x := &lexicon{zh: make(map[string][]int, 1<<18), en: make(map[string][]candidate, 1<<18), t2s: map[rune]rune{}, weight: map[rune]int{}}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 7)
		if len(f) != 7 {
			continue
		}
		e := entry{simp: f[0], trad: f[1], pos: f[3], measure: f[4], reading: f[5], glosses: strings.Split(f[6], "/")}
		e.freq, _ = strconv.Atoi(f[2])
		if e.trad == "" {
			e.trad = e.simp
		}
		x.add(e)
	}
	return x, nil
}

func (x *lexicon) add(e entry) {
	i := len(x.entries)
	x.entries = append(x.entries, e)
	x.zh[e.simp] = append(x.zh[e.simp], i)
	x.longest = max(x.longest, utf8.RuneCountInString(e.simp))
	if len(x.zh[e.simp]) == 1 {
		x.total += float64(e.freq)
	}
	if e.trad != e.simp {
		x.zh[e.trad] = append(x.zh[e.trad], i)
		s, t := []rune(e.simp), []rune(e.trad)
		for j := range t {
			if len(s) == len(t) && t[j] != s[j] {
				if w := e.freq + 1; w > x.weight[t[j]] { // the likeliest word decides
					x.t2s[t[j]], x.weight[t[j]] = s[j], w
				}
			}
		}
	}
	for rank, g := range e.glosses {
		key, bare, verb := glossKey(g)
		if key == "" {
			continue
		}
		x.most = max(x.most, strings.Count(key, " ")+1)
		x.en[key] = append(x.en[key], candidate{i, rank, len(e.glosses), bare, verb})
	}
}

var brackets = regexp.MustCompile(`\s*\([^()]*\)\s*`)

// glossKey is what an English text is looked up by.
func glossKey(gloss string) (key string, bare, verb bool) {
	g := strings.TrimSpace(brackets.ReplaceAllString(gloss, " "))
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
	for _, i := range x.zh[w] {
		e := &x.entries[i]
		if best == nil || isName(best) && !isName(e) || isName(best) == isName(e) && len(e.glosses) > len(best.glosses) {
			best = e
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
			idx := x.zh[string(runes[i:j])]
			if len(idx) == 0 {
				continue
			}
			f := 1.0
			for _, k := range idx {
				f = max(f, float64(x.entries[k].freq))
			}
			if s := math.Log(f) - log + score[j]; s > score[i] {
				score[i], next[i] = s, j
			}
		}
	}
	var words []string
	for i := 0; i < n; i = next[i] {
		w := string(runes[i:next[i]])
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
