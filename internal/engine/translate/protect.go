package translate

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// protected matches what a translation keeps letter by letter: addresses, placeholders of the usual template languages
// ({name}, {{x}}, ${x}, %s, %(name)s, %1$d, :name:), and code points that marks are made of.
var protected = regexp.MustCompile(`https?://[^\s<>"'，。）]*[^\s<>"'，。）.,;:!?)\]]` +
	`|[\w.+-]+@[\w-]+(?:\.[\w-]+)+` +
	`|\$?\{\{[^{}]{0,80}\}\}|[$#]?\{[\w.,:# -]{0,80}\}` +
	`|%\([\w.]+\)[sdifr]|%\d*\$?[-+0]?\d*(?:\.\d+)?[sdifxXqv@](?:\b|$)|%%` +
	`|\{%[^%{}]{0,200}%\}|<%[^%<>]{0,200}%>` +
	`|[\x{F0000}-\x{FFFFD}]`)

// protect takes what must not change out of plain text that has no marks yet, and appends the rest with marks to b.
// escape writes a text as the document spells it.
func (s *segment) protect(b *strings.Builder, text string, escape func(string) string) {
	for text != "" && len(s.tokens) < maxMarks {
		at := protected.FindStringIndex(text)
		if at == nil {
			break
		}
		b.WriteString(text[:at[0]])
		found := text[at[0]:at[1]]
		s.add(b, token{kind: word, raw: escape(found), text: found})
		text = text[at[1]:]
	}
	b.WriteString(strings.Map(func(r rune) rune {
		if isMark(r) { // only where there are more than maxMarks
			return utf8.RuneError
		}
		return r
	}, text))
}

// plainSegment makes a segment of text without markup.
func plainSegment(text string) segment {
	var s segment
	var b strings.Builder
	s.protect(&b, text, same)
	s.text = b.String()
	return s
}

// Term is an entry of a glossary.
type Term struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// glossaryIndex finds terms in text, the longest first.
type glossaryIndex struct {
	first map[string][]Term // by the first word, in lower case, or the first character of a script without spaces
}

func newGlossary(terms []Term) *glossaryIndex {
	g := &glossaryIndex{map[string][]Term{}}
	for _, t := range terms {
		if t.Source = strings.TrimSpace(t.Source); t.Source != "" {
			k := firstWord(strings.ToLower(t.Source))
			g.first[k] = append(g.first[k], t)
		}
	}
	return g
}

// spaceless reports whether words of the rune's script stand without spaces.
func spaceless(r rune) bool {
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

func wordRune(r rune) bool { return unicode.In(r, unicode.L, unicode.M, unicode.N) && !spaceless(r) }

// firstWord is the run of word runes at the start of s, or else its first rune.
func firstWord(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return !wordRune(r) })
	switch {
	case end < 0:
		return s
	case end == 0:
		_, n := utf8.DecodeRuneInString(s)
		return s[:n]
	}
	return s[:end]
}

// apply replaces the terms in text by marks and returns it.
func (g *glossaryIndex) apply(s *segment, text string, escape func(string) string) string {
	if g == nil || len(g.first) == 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		w := firstWord(text)
		r, _ := utf8.DecodeRuneInString(text)
		if t, n := g.longest(text, w); n > 0 && len(s.tokens) < maxMarks {
			target := t.Target
			if unicode.IsUpper(r) && unicode.IsLower(firstRune(t.Source)) {
				target = upperFirst(target)
			}
			s.add(&b, token{kind: term, raw: escape(target), text: text[:n]})
			text = text[n:]
			continue
		}
		b.WriteString(w)
		text = text[len(w):]
	}
	return b.String()
}

func (g *glossaryIndex) longest(text, w string) (best Term, n int) {
	for _, t := range g.first[strings.ToLower(w)] {
		if m := foldPrefix(text, t.Source); m > n {
			if next, _ := utf8.DecodeRuneInString(text[m:]); m < len(text) && wordRune(next) && wordRune(lastRune(t.Source)) {
				continue // within a word
			}
			best, n = t, m
		}
	}
	return best, n
}

// foldPrefix is the length of the start of text that equals prefix but for case; 0: none.
func foldPrefix(text, prefix string) int {
	i := 0
	for _, p := range prefix {
		r, n := utf8.DecodeRuneInString(text[i:])
		if n == 0 || unicode.ToLower(r) != unicode.ToLower(p) {
			return 0
		}
		i += n
	}
	return i
}

func firstRune(s string) rune { r, _ := utf8.DecodeRuneInString(s); return r }
func lastRune(s string) rune  { r, _ := utf8.DecodeLastRuneInString(s); return r }

func upperFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToLower(r)) + s[n:]
}
