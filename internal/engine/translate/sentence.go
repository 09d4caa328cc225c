package translate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSentence is the length in runes at which a sentence is cut, at a space or a comma where there is one.
const maxSentence = 1200

// sentence is a piece of a segment's text with the white space around it.
type sentence struct {
	before, text, after string
}

// abbreviations end with a full stop and no sentence.
const abbreviations = " mr mrs ms dr prof sr sra st vs etc e.g i.e fig vol pp al jr inc ltd co cf approx dept est u.s u.k "

// sentences splits a text with marks. Together the pieces are the text. A sentence is never cut inside paired tags.
func (s *segment) sentences(text string) (all []sentence) {
	depth, start, count := 0, 0, 0
	runes := []rune(text)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		count++
		if isMark(r) {
			switch s.tokens[r-firstMark].kind {
			case opening:
				depth++
			case closing:
				depth--
			}
			continue
		}
		end := r == '\n' || endsSentence(runes, start, i) || count >= maxSentence && (unicode.IsSpace(r) || unicode.IsPunct(r)) || count >= 2*maxSentence
		if !end || depth > 0 && count < 4*maxSentence {
			continue
		}
		for i+1 < len(runes) && (closesQuote(runes[i+1]) || sentenceEnd(runes[i+1])) {
			i++
		}
		for i+1 < len(runes) && unicode.IsSpace(runes[i+1]) {
			i++
		}
		all = append(all, trimmed(string(runes[start:i+1])))
		start, count = i+1, 0
	}
	if start < len(runes) {
		all = append(all, trimmed(string(runes[start:])))
	}
	return all
}

func trimmed(t string) sentence {
	body := strings.TrimLeftFunc(t, unicode.IsSpace)
	before := t[:len(t)-len(body)]
	text := strings.TrimRightFunc(body, unicode.IsSpace)
	return sentence{before, text, body[len(text):]}
}

func sentenceEnd(r rune) bool { return strings.ContainsRune(".!?。！？…؟।", r) }

func closesQuote(r rune) bool { return strings.ContainsRune(`"'”’»)]」』）】`, r) }

// endsSentence reports whether a sentence ends with the rune at i.
func endsSentence(runes []rune, start, i int) bool {
	switch runes[i] {
	case '。', '！', '？', '；':
		return true
	case '.', '!', '?', '…':
	default:
		return false
	}
	j := i + 1
	for j < len(runes) && (closesQuote(runes[j]) || sentenceEnd(runes[j])) {
		j++
	}
	if j < len(runes) && !unicode.IsSpace(runes[j]) {
		return false
	}
	for j < len(runes) && unicode.IsSpace(runes[j]) {
		j++
	}
	if j < len(runes) && unicode.IsLower(runes[j]) {
		return false
	}
	if runes[i] != '.' {
		return true
	}
	b := i
	for b > start && !unicode.IsSpace(runes[b-1]) {
		b--
	}
	w := strings.ToLower(strings.TrimLeft(string(runes[b:i]), `("'«“`))
	if w == "no" { // number
		return j >= len(runes) || !unicode.IsDigit(runes[j])
	}
	return utf8.RuneCountInString(w) > 1 && !strings.Contains(abbreviations, " "+w+" ") || w != "" && unicode.IsDigit(firstRune(w)) && b > start
}
