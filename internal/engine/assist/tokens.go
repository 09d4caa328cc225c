package assist

import (
	"strings"
	"unicode"
)

// wide reports a script that is written without spaces between words.
func wide(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
}

func wordly(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// maxWord bounds a term, in runes: what is longer is no word that anybody looks up.
const maxWord = 40

// terms are the search terms of a text: words in lower case without English endings, and pairs of
// neighbouring wide characters (one alone stands for itself). Stop words are left out. Two texts that ask the
// same in other inflections have the same terms.
func terms(text string) []string {
	var out []string
	var word []rune
	var before rune // the wide character before, 0 for none
	single := false // it stands alone so far
	endWord := func() {
		if len(word) > 0 {
			if w := strings.ToLower(string(word)); !stopWords[w] {
				out = append(out, stem(w))
			}
			word = word[:0]
		}
	}
	endWide := func() {
		if s := string(before); single && !stopWords[s] {
			out = append(out, s)
		}
		before, single = 0, false
	}
	for _, r := range text {
		switch {
		case wide(r):
			endWord()
			single = before == 0
			if before != 0 {
				if pair := string([]rune{before, r}); !stopWords[pair] {
					out = append(out, pair)
				}
			}
			before = r
		case wordly(r):
			endWide()
			if len(word) < maxWord {
				word = append(word, r)
			}
		case (r == '\'' || r == '’') && len(word) > 0: // don't, it's
		default:
			endWord()
			endWide()
		}
	}
	endWord()
	endWide()
	return out
}

// stem takes the commonest English endings off.
func stem(w string) string {
	n := len(w)
	switch {
	case n > 4 && strings.HasSuffix(w, "ies"):
		return w[:n-3] + "y"
	case n > 5 && strings.HasSuffix(w, "ing"):
		w = undouble(w[:n-3])
	case n > 4 && strings.HasSuffix(w, "ed"):
		w = undouble(w[:n-2])
	case n > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		w = w[:n-1]
	}
	if n = len(w); n > 3 && w[n-1] == 'e' { // charge, charged, charging
		w = w[:n-1]
	}
	return w
}

// undouble makes "cancell" of cancelled the same as cancel.
func undouble(w string) string {
	if n := len(w); n > 3 && w[n-1] == w[n-2] && !strings.ContainsRune("aeious", rune(w[n-1])) {
		return w[:n-1]
	}
	return w
}

var stopWords = set(`a about again all am an and any are as at be been but by can could did do does dont for from get had has have
	hi how i id if im in into is it its just like me mean my need no not of on or our please s should so some t tell than that the
	their them then there these they this those to us want was we were what when where which who why will with would you your
	什么 怎么 如何 为什 么是 是什 请问 可以 哪些 一个 我的 我要 怎样 为何 能否 有什 有哪 怎么 么办 我想 想要 你们 们的 我们 么才 才能 能不 不能 吗 呢 的 是 我 了 在 有 和`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// script guesses a language from the characters of a text alone: "zh", "ja", "ko", "ru", "ar", "th", "el", "he", "hi",
// or "" where Latin letters leave it open.
func script(text string) string {
	count := map[string]int{}
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			count["ja"] += 3 // a Japanese text has more kanji than kana
		case unicode.Is(unicode.Han, r):
			count["zh"] += 2
		case unicode.Is(unicode.Hangul, r):
			count["ko"]++
		case unicode.Is(unicode.Cyrillic, r):
			count["ru"]++
		case unicode.Is(unicode.Arabic, r):
			count["ar"]++
		case unicode.Is(unicode.Thai, r):
			count["th"]++
		case unicode.Is(unicode.Greek, r):
			count["el"]++
		case unicode.Is(unicode.Hebrew, r):
			count["he"]++
		case unicode.Is(unicode.Devanagari, r):
			count["hi"]++
		case unicode.Is(unicode.Latin, r):
			count[""]++
		}
	}
	best, most := "", count[""]
	for _, lang := range []string{"zh", "ja", "ko", "ru", "ar", "th", "el", "he", "hi"} {
		if count[lang]*2 > most {
			best, most = lang, count[lang]*2
		}
	}
	return best
}

// primary is the language of a tag: "zh" of "zh-Hans-CN".
func primary(tag string) string {
	tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
	tag, _, _ = strings.Cut(tag, "_")
	return tag
}
