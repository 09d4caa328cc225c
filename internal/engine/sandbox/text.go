package sandbox

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	english = "en"
	chinese = "zh"
)

// language is Chinese for a text that has a Chinese character.
func language(s string) string {
	for _, r := range s {
		if unicode.Is(unicode.Han, r) {
			return chinese
		}
	}
	return english
}

// wide reports a script that is written without spaces between words.
func wide(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

func wordly(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)
}

// pieceBytes is how long a piece of a word can be.
const pieceBytes = 8

// Pieces splits a text into the sandbox's tokens, which are also what it streams: a word or number
// is one for each eight bytes begun, a Chinese, Japanese or Korean character one, and any other
// visible character one. White space belongs to the token behind it, or to the last. Joined, the
// pieces are the text. A text never has more tokens than bytes.
func Pieces(text string) []string {
	var out []string
	start, word := 0, -1 // word: where the word at hand starts, -1 outside one
	cut := func(end int) {
		if end > start {
			out = append(out, text[start:end])
			start = end
		}
	}
	for i, r := range text {
		n := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, n = utf8.DecodeRuneInString(text[i:])
		}
		switch {
		case wordly(r) && !wide(r):
			if word >= 0 && i+n-word > pieceBytes {
				cut(i)
				word = i
			}
			if word < 0 {
				word = i
			}
		case unicode.IsSpace(r):
			if word >= 0 {
				cut(i)
			}
			word = -1
		default:
			if word >= 0 {
				cut(i)
			}
			word = -1
			cut(i + n)
		}
	}
	if word < 0 && len(out) > 0 { // white space at the end
		last := len(out) - 1
		out[last] = text[start-len(out[last]):]
		return out
	}
	cut(len(text))
	return out
}

// terms are the search terms of a text: words in lower case, without endings and stop words, and
// pairs of neighbouring wide characters.
func terms(text string) []string {
	var out []string
	var word []rune
	var before rune // the wide character before, 0 for none
	single := false // it stands alone so far
	endWord := func() {
		if len(word) > 0 {
			if w := stem(strings.ToLower(string(word))); !stopWords[w] {
				out = append(out, w)
			}
			word = word[:0]
		}
	}
	endWide := func() {
		if single {
			out = append(out, string(before))
		}
		before, single = 0, false
	}
	for _, r := range text {
		switch {
		case wide(r):
			endWord()
			if before != 0 {
				if pair := string([]rune{before, r}); !stopWords[pair] {
					out = append(out, pair)
				}
				single = false
			} else {
				single = true
			}
			before = r
		case wordly(r):
			endWide()
			word = append(word, r)
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
		w = w[:n-3]
	case n > 4 && strings.HasSuffix(w, "ed"):
		w = w[:n-2]
	case n > 3 && strings.HasSuffix(w, "s") && !strings.HasSuffix(w, "ss"):
		w = w[:n-1]
	}
	if n = len(w); n > 3 && w[n-1] == 'e' { // charge, charged, charging
		w = w[:n-1]
	}
	return w
}

var stopWords = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`a about again all am an and any are as at be been but by can could did do does for from
		get had has have how i if in into is it its just me mean my no not of on or our please should so some tell
		than that the their them then there these they this those to was we were what when where which who why will with would you your
		什么 怎么 如何 为什 么是 是什 请问 可以 哪些 一个 我的 我要 怎样 为何 能否 吗 呢 的 是 我 有什 有哪`) {
		m[stem(w)], m[w] = true, true
	}
	return m
}()
