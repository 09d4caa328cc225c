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

// token is a word in lower case, or a run of wide characters.
type token struct {
	text string
	wide bool
}

// tokens takes a text apart. Apostrophes join ("don't" is "dont"), everything else that is no letter or digit parts.
func tokens(text string) []token {
	var out []token
	var run []rune
	isWide := false
	end := func() {
		switch {
		case len(run) == 0:
		case isWide:
			out = append(out, token{string(run), true})
		default:
			out = append(out, token{strings.ToLower(string(run)), false})
		}
		run = run[:0]
	}
	for _, r := range text {
		switch {
		case wide(r):
			if !isWide {
				end()
				isWide = true
			}
			run = append(run, r)
		case wordly(r):
			if isWide {
				end()
				isWide = false
			}
			if len(run) < maxWord {
				run = append(run, r)
			}
		case (r == '\'' || r == '’') && len(run) > 0 && !isWide: // don't, it's
		default:
			end()
		}
	}
	end()
	return out
}

// terms are the search terms of a text: words in lower case without English endings, and pairs of
// neighbouring wide characters (one alone stands for itself). Stop words are left out. Two texts that ask the
// same in other inflections have the same terms.
func terms(text string) []string {
	var out []string
	for _, t := range tokens(text) {
		if !t.wide {
			if !stopWords[t.text] {
				out = append(out, stem(t.text))
			}
			continue
		}
		run := []rune(t.text)
		if len(run) == 1 && !stopWords[t.text] {
			out = append(out, t.text)
		}
		for i := 1; i < len(run); i++ {
			if pair := string(run[i-1 : i+1]); !stopWords[pair] {
				out = append(out, pair)
			}
		}
	}
	return out
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
