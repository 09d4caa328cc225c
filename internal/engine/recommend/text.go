package recommend

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
)

// term is a word of an item by its hash, with how often it occurs, damped. Two words of one hash count as one: at 32 bits
// this is rare enough not to show.
type term struct {
	hash uint32
	tf   float32
}

// How much more a word counts by where it stands, and how many words of an item are kept.
const (
	titleWeight = 2
	tagWeight   = 3
	maxTerms    = 64
)

// hash is FNV-1a over a mark and a text. The mark keeps tags and attributes apart from words.
func hash(mark byte, s string) uint32 {
	h := uint32(2166136261)
	h = (h ^ uint32(mark)) * 16777619
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// termsOf are the terms of an item, sorted by hash.
func termsOf(title, text, category string, tags []string, attrs []attr) []term {
	count := map[uint32]float32{}
	words(title, func(w string) { count[hash('w', w)] += titleWeight })
	words(text, func(w string) { count[hash('w', w)]++ })
	for _, t := range tags {
		count[hash('#', strings.ToLower(t))] += tagWeight
		words(t, func(w string) { count[hash('w', w)]++ })
	}
	if category != "" {
		count[hash('@', strings.ToLower(category))] += tagWeight
	}
	for _, a := range attrs {
		count[hash('=', a.key+"="+a.value)]++
	}
	out := make([]term, 0, len(count))
	for h, n := range count {
		out = append(out, term{h, damp(n)})
	}
	if len(out) > maxTerms {
		slices.SortFunc(out, func(a, b term) int { return cmp.Or(cmp.Compare(b.tf, a.tf), cmp.Compare(a.hash, b.hash)) })
		out = slices.Clone(out[:maxTerms])
	}
	slices.SortFunc(out, func(a, b term) int { return cmp.Compare(a.hash, b.hash) })
	return out
}

// words gives the words of a text: in lower case without stop words and plural endings; scripts written without spaces as
// pairs of neighbouring characters (a lone one alone).
func words(text string, yield func(string)) {
	var word []rune
	var before rune
	alone := false
	endWord := func() {
		if len(word) > 1 || len(word) == 1 && unicode.IsDigit(word[0]) {
			if w := stem(string(word)); !stops[w] {
				yield(w)
			}
		}
		word = word[:0]
	}
	endWide := func() {
		if alone {
			yield(string(before))
		}
		before, alone = 0, false
	}
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			endWord()
			if alone = before == 0; !alone {
				yield(string([]rune{before, r}))
			}
			before = r
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			endWide()
			word = append(word, unicode.ToLower(r))
		default:
			endWord()
			endWide()
		}
	}
	endWord()
	endWide()
}

// stem takes the English plural off.
func stem(w string) string {
	switch {
	case len(w) > 4 && strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case len(w) > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss") && !strings.HasSuffix(w, "us"):
		return w[:len(w)-1]
	}
	return w
}

var stops = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`an and are as at be been but by can could did do for from had has have he her his how
		if in into is it its just more most no not of on or our out she so some such than that the their them then there
		these they this those to up was we were what when where which who will with would you your`) {
		m[stem(w)] = true
	}
	return m
}()
