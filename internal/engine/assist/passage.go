package assist

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// passage is a piece of a document that is found and quoted as one. Start and End are byte offsets in the
// document's text.
type passage struct {
	Heading string `json:"h,omitempty"`
	Start   int    `json:"s"`
	End     int    `json:"e"`
}

// Sizes of passages, in runes. A section that fits is one passage; a longer one is cut at paragraphs, else at sentences.
const (
	passageRunes = 900
	passageLeast = 120 // a shorter paragraph joins the one before
)

// section is a heading and the span of the text below it.
type section struct {
	heading    string
	start, end int
}

// split cuts a text into passages. Lines that begin with "#" are headings; a heading's path ("Money › Refunds") goes
// with each of its passages.
func split(text string) []passage {
	var out []passage
	for _, s := range sections(text) {
		for _, span := range spans(text, s.start, s.end) {
			out = append(out, passage{s.heading, span[0], span[1]})
		}
	}
	return out
}

func sections(text string) []section {
	var out []section
	path := make([]string, 7)
	cur := section{}
	fence := false
	for at := 0; at < len(text); {
		end := len(text)
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := strings.TrimRight(text[at:end], " \t\r\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fence = !fence
		}
		if level, title := heading(line); level > 0 && !fence {
			cur.end = at
			out = append(out, cur)
			path[level] = title
			clear(path[level+1:])
			cur = section{heading: joinPath(path), start: end}
		}
		at = end
	}
	cur.end = len(text)
	return append(out, cur)
}

// samples are the spans of a text that are samples of code: what Markdown fences, and what it indents by four where that goes on
// no list. A text without headings is no Markdown: what is indented there is text.
func samples(text string) [][2]int {
	var out [][2]int
	add := func(from, to int) {
		if n := len(out); n > 0 && out[n-1][1] == from {
			out[n-1][1] = to
			return
		}
		out = append(out, [2]int{from, to})
	}
	fence, list, marked := false, false, false
	blank := true // the line before, or code
	for at := 0; at < len(text); {
		end := len(text)
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		line := strings.TrimRight(text[at:end], " \t\r\n")
		own := strings.TrimLeft(line, " ")
		indented := strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t")
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fence = !fence
			add(at, end)
		case fence:
			add(at, end)
		case line == "":
			blank = true
		case indented && blank && !list:
			add(at, end)
		default:
			level, _ := heading(line)
			marked = marked || level > 0
			list = strings.HasPrefix(own, "- ") || strings.HasPrefix(own, "* ") || strings.HasPrefix(own, "+ ") || ordered(own) || list && line[0] == ' '
			blank = level > 0
		}
		at = end
	}
	if !marked {
		return nil
	}
	return out
}

// without is text[from:to] without the spans that are cut out of it, and these.
func without(text string, cuts [][2]int, from, to int) (rest, out string) {
	var r, o strings.Builder
	at := from
	for _, c := range cuts {
		if c[1] <= from || c[0] >= to {
			continue
		}
		a, b := max(c[0], from), min(c[1], to)
		r.WriteString(text[at:a])
		o.WriteString(text[a:b])
		at = b
	}
	if at == from {
		return text[from:to], ""
	}
	r.WriteString(text[at:to])
	return r.String(), o.String()
}

func heading(line string) (level int, title string) {
	for level < len(line) && line[level] == '#' {
		level++
	}
	if level == 0 || level > 6 || level == len(line) || line[level] != ' ' {
		return 0, ""
	}
	title = strings.Trim(line[level:], " #")
	return level, cutRunes(title, 200)
}

// longer reports whether s has more than n runes, without counting all of a long one.
func longer(s string, n int) bool {
	if len(s) <= n {
		return false
	}
	for range s {
		if n--; n < 0 {
			return true
		}
	}
	return false
}

// cutRunes is at most the first n runes of s.
func cutRunes(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func joinPath(path []string) string {
	var parts []string
	for _, p := range path {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, " › ")
}

// spans cuts text[start:end] into spans of at most passageRunes, at blank lines where it can.
func spans(text string, start, end int) [][2]int {
	var out [][2]int
	add := func(from, to int) {
		from, to = trim(text, from, to)
		if from < to {
			out = append(out, [2]int{from, to})
		}
	}
	open := start // of the passage that is being filled
	for at := start; at < end; {
		next := paragraph(text, at, end)
		if longer(text[open:next], passageRunes) && longer(text[open:at], passageLeast) {
			add(open, at)
			open = at
		}
		for longer(text[open:next], passageRunes) {
			cut := sentence(text, open, next)
			add(open, cut)
			open = cut
		}
		at = next
	}
	add(open, end)
	return out
}

func trim(text string, from, to int) (int, int) {
	for from < to {
		r, n := utf8.DecodeRuneInString(text[from:to])
		if !unicode.IsSpace(r) {
			break
		}
		from += n
	}
	for from < to {
		r, n := utf8.DecodeLastRuneInString(text[from:to])
		if !unicode.IsSpace(r) {
			break
		}
		to -= n
	}
	return from, to
}

// paragraph is the end of the paragraph that begins at from.
func paragraph(text string, from, end int) int {
	if i := strings.Index(text[from:end], "\n\n"); i >= 0 {
		return from + i + 2
	}
	return end
}

// sentence is where a passage that begins at from is best cut: behind the last end of a sentence within its size.
func sentence(text string, from, end int) int {
	runes, hard, cut := 0, from, 0
	for i, r := range text[from:end] {
		if runes++; runes > passageRunes {
			break
		}
		hard = from + i + utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, n := utf8.DecodeRuneInString(text[from+i:])
			hard = from + i + n
		}
		if runes > passageRunes/3 && (strings.ContainsRune("。！？；\n", r) || strings.ContainsRune(".!?;", r) && (hard == end || text[hard] == ' ')) {
			cut = hard
		}
	}
	if cut > 0 {
		return cut
	}
	if i := strings.LastIndexByte(text[from:hard], ' '); i > 0 && hard < end {
		return from + i + 1
	}
	return hard
}
