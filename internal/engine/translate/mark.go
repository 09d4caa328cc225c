package translate

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text goes to a machine with what must not change taken out: inline tags, placeholders, addresses,
// glossary terms. In the place of each stands one mark, a code point of Unicode's Supplementary Private
// Use Area A, so that a machine may treat it as a word that it must pass on once.
const (
	firstMark = 0xF0000
	lastMark  = 0xFFFFD
	maxMarks  = 20000 // of one segment
)

// kind is what a mark stands for.
type kind uint8

const (
	atom    kind = iota // stands alone, between words: an image, a line break
	word                // stands for a word: a placeholder, an address
	term                // a term of the glossary: raw is its translation
	opening             // begins inline markup; token.mate ends it
	closing
)

// token is what a mark stands for.
type token struct {
	kind kind
	raw  string // as it stands in the document, escaped if the document needs that
	text string // of a word or term: as the reader sees it
	mate int    // of an opening or closing one
}

// segment is text with marks, and what they stand for: mark i stands for tokens[i].
type segment struct {
	text    string
	tokens  []token
	ordered bool // the atoms must stay in their order
}

func isMark(r rune) bool { return r >= firstMark && r <= lastMark }

func mark(i int) rune { return rune(firstMark + i) }

// add appends a token and writes its mark to b.
func (s *segment) add(b *strings.Builder, t token) int {
	s.tokens = append(s.tokens, t)
	b.WriteRune(mark(len(s.tokens) - 1))
	return len(s.tokens) - 1
}

// plain is the text as a reader sees it in the source: without markup, words in their places.
func (s *segment) plain(text string) string {
	if strings.IndexFunc(text, isMark) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if !isMark(r) {
			b.WriteRune(r)
		} else if i := int(r - firstMark); i < len(s.tokens) {
			b.WriteString(s.tokens[i].text)
		}
	}
	return b.String()
}

// characters counts what is translated: the code points of the text without markup.
func (s *segment) characters() (n int) {
	for _, r := range s.text {
		if !isMark(r) {
			n++
		} else if i := int(r - firstMark); i < len(s.tokens) {
			n += utf8.RuneCountInString(s.tokens[i].text)
		}
	}
	return n
}

// hasWords reports whether there is anything to translate.
func hasWords(s string) bool {
	return strings.IndexFunc(s, unicode.IsLetter) >= 0
}

// hasMarkup reports whether text has marks of tags.
func (s *segment) hasMarkup(text string) bool {
	for _, r := range text {
		if isMark(r) && s.tokens[r-firstMark].kind != word && s.tokens[r-firstMark].kind != term {
			return true
		}
	}
	return false
}

// sound reports whether the marks of out are those of in, each once, and tags nest as they do there.
func (s *segment) sound(in, out string) bool {
	want := map[rune]bool{}
	for _, r := range in {
		if isMark(r) {
			want[r] = true
		}
	}
	parents := s.parents(in)
	var stack []int
	last := rune(0)
	for _, r := range out {
		if !isMark(r) {
			continue
		}
		if !want[r] {
			return false
		}
		delete(want, r)
		i := int(r - firstMark)
		if s.ordered && s.tokens[i].kind == atom {
			if r < last {
				return false
			}
			last = r
		}
		switch t := s.tokens[i]; t.kind {
		case opening:
			top := -1
			if len(stack) > 0 {
				top = stack[len(stack)-1]
			}
			if parents[i] != top {
				return false
			}
			stack = append(stack, i)
		case closing:
			if len(stack) == 0 {
				if parents[i] != -2 { // its opening tag stands before this sentence
					return false
				}
			} else if stack[len(stack)-1] != t.mate {
				return false
			} else {
				stack = stack[:len(stack)-1]
			}
		}
	}
	return len(want) == 0
}

// parents gives for each opening tag of text the tag around it, or −1, and −2 for a closing tag whose
// opening one is not in text.
func (s *segment) parents(text string) map[int]int {
	p := map[int]int{}
	stack := []int{}
	for _, r := range text {
		if !isMark(r) {
			continue
		}
		i := int(r - firstMark)
		switch s.tokens[i].kind {
		case opening:
			p[i] = -1
			if len(stack) > 0 {
				p[i] = stack[len(stack)-1]
			}
			stack = append(stack, i)
		case closing:
			if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			} else {
				p[i] = -2
			}
		}
	}
	return p
}

// part is a piece of a translated segment: text, or the token of a mark.
type part struct {
	text string
	mark int // index of the token; −1: text
}

// parts takes a translated text apart at its marks.
func parts(text string) (all []part) {
	start := 0
	for i, r := range text {
		if !isMark(r) {
			continue
		}
		if i > start {
			all = append(all, part{text[start:i], -1})
		}
		all = append(all, part{"", int(r - firstMark)})
		start = i + utf8.RuneLen(r)
	}
	if start < len(text) {
		all = append(all, part{text[start:], -1})
	}
	return all
}

// restore puts the tokens back; the text between them is escaped.
func (s *segment) restore(text string, escape func(string) string) string {
	var b strings.Builder
	for _, p := range parts(text) {
		switch {
		case p.mark >= 0 && p.mark < len(s.tokens):
			b.WriteString(s.tokens[p.mark].raw)
		case p.mark < 0:
			b.WriteString(escape(p.text))
		}
	}
	return b.String()
}

func same(s string) string { return s }
