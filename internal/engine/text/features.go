package text

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of what one text gives to a classifier.
const (
	maxExampleRunes = 2000 // of a text that are read
	minGram         = 2
	maxGram         = 5
)

// feature is a hashed n-gram.
type feature = uint64

// Words and characters hash into separate ranges by these first letters.
const (
	unigram = 'w'
	bigram  = 'b'
	gram    = 'c'
)

// fnv64 goes on hashing s by FNV-1a: the same on every machine, as models are stored.
func fnv64(h uint64, s string) uint64 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func fnvKind(kind byte) uint64 { return (14695981039346656037 ^ uint64(kind)) * 1099511628211 }

// tokens splits into lower-case words; a character of a script without spaces is a word.
func tokens(s string) []string {
	var out []string
	start := -1
	s = strings.ToLower(s)
	flush := func(end int) {
		if start >= 0 {
			out = append(out, s[start:end])
			start = -1
		}
	}
	for i, r := range s {
		switch {
		case spaceless(r):
			flush(i)
			out = append(out, s[i:i+utf8.RuneLen(r)])
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.M, r) || r == '\'' && start >= 0 && start < i:
			if start < 0 {
				start = i
			}
		default:
			flush(i)
			if unicode.IsSymbol(r) || r == '?' || r == '!' {
				out = append(out, s[i:i+utf8.RuneLen(r)])
			}
		}
	}
	flush(len(s))
	return out
}

// spaceless reports whether r is of a script that puts no spaces between words.
func spaceless(r rune) bool {
	return r >= 0x0E00 && (unicode.Is(unicode.Han, r) || unicode.Is(unicode.Hiragana, r) || unicode.Is(unicode.Katakana, r) ||
		unicode.Is(unicode.Thai, r) || unicode.Is(unicode.Lao, r) || unicode.Is(unicode.Khmer, r) || unicode.Is(unicode.Myanmar, r))
}

// features counts a text's words, pairs of words and runs of characters within words.
func features(s string) map[feature]float32 {
	words := tokens(cut(s, maxExampleRunes))
	f := make(map[feature]float32, 16*len(words))
	for i, w := range words {
		f[fnv64(fnvKind(unigram), w)]++
		if i > 0 {
			f[fnv64(fnv64(fnv64(fnvKind(bigram), words[i-1]), " "), w)]++
		}
		if r, _ := utf8.DecodeRuneInString(w); spaceless(r) {
			if i > 1 { // three characters of Chinese are about a word and a half
				f[fnv64(fnv64(fnv64(fnvKind(gram), words[i-2]), words[i-1]), w)]++
			}
			continue
		}
		grams(" "+w+" ", func(g string) { f[fnv64(fnvKind(gram), g)]++ })
	}
	return f
}

// grams calls fn for the runs of minGram to maxGram characters of w.
func grams(w string, fn func(string)) {
	for i := range w {
		j := i
		for n := 1; n <= maxGram && j < len(w); n++ {
			_, size := utf8.DecodeRuneInString(w[j:])
			j += size
			if n >= minGram {
				fn(w[i:j])
			}
		}
	}
}

// entry is one coordinate of a sparse vector.
type entry struct {
	row int32
	x   float32
}

// vocabulary gives features rows and weights.
type vocabulary struct {
	rows map[feature]int32
	keys []feature
	idf  []float32
}

// newVocabulary keeps the features that at least two of the texts have, the commonest first, at most limit.
func newVocabulary(docs []map[feature]float32, limit int) *vocabulary {
	df := map[feature]int{}
	for _, d := range docs {
		for f := range d {
			df[f]++
		}
	}
	least := 2
	if len(docs) < 200 {
		least = 1
	}
	v := &vocabulary{}
	for f, n := range df {
		if n >= least {
			v.keys = append(v.keys, f)
		}
	}
	slices.SortFunc(v.keys, func(a, b feature) int {
		if df[a] != df[b] {
			return df[b] - df[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
	v.keys = v.keys[:min(len(v.keys), limit)]
	v.idf = make([]float32, len(v.keys))
	for i, f := range v.keys {
		v.idf[i] = float32(math.Log(float64(1+len(docs))/float64(1+df[f])) + 1)
	}
	v.index()
	return v
}

func (v *vocabulary) index() {
	v.rows = make(map[feature]int32, len(v.keys))
	for i, f := range v.keys {
		v.rows[f] = int32(i)
	}
}

// vector is the text's TF-IDF vector of length one (sublinear counts), by row.
func (v *vocabulary) vector(f map[feature]float32) []entry {
	out := make([]entry, 0, len(f))
	sum := 0.0
	for k, n := range f {
		row, ok := v.rows[k]
		if !ok {
			continue
		}
		x := v.idf[row] * float32(1+math.Log(float64(n)))
		out = append(out, entry{row, x})
	}
	slices.SortFunc(out, func(a, b entry) int { return int(a.row) - int(b.row) }) // sums must not depend on the map's order
	for _, e := range out {
		sum += float64(e.x) * float64(e.x)
	}
	if sum > 0 {
		scale := float32(1 / math.Sqrt(sum))
		for i := range out {
			out[i].x *= scale
		}
	}
	return out
}
