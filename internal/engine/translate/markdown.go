package translate

import (
	"regexp"
	"strings"
	"sync"
)

var (
	fence      = regexp.MustCompile("^ {0,3}(?:[-*+>] +)?(```+|~~~+)")
	mdPrefix   = regexp.MustCompile(`^(?:[ \t]{0,12}(?:>[ \t]?|(?:[-*+]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?|#{1,6}[ \t]+))+|^[ \t]+`)
	definition = regexp.MustCompile(`^ {0,3}\[[^\]]+\]:\s*\S`)
	tableRule  = regexp.MustCompile(`^\s*\|?(?:\s*:?-+:?\s*\|)+\s*:?-*:?\s*\|?\s*$`)
	ruleLine   = regexp.MustCompile(`^\s*(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,}|=+|-+)\s*$`)
	htmlTag    = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^(?:</?[A-Za-z][A-Za-z0-9-]*(?:\s[^<>]{0,400})?/?>|<!--.{0,400}?-->)`)
	})
	autolink = regexp.MustCompile(`^<(?:https?|mailto|ftp):[^<>\s]+>`)
	linkEnd  = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\](?:\((?:[^()\n]|\([^()\n]*\))*\)|\[[^\[\]\n]{0,200}\])`)
	})
)

// takeMarkdown reads Markdown (CommonMark, with the tables and front matter that are usual): code, addresses, link
// definitions, HTML tags and front matter stay. A paragraph is one segment; its soft line breaks become spaces.
func takeMarkdown(src string) *document {
	var p pieces
	lines := strings.SplitAfter(src, "\n")
	i := frontMatter(&p, lines)
	var para []string
	flush := func() {
		if len(para) > 0 {
			takeParagraph(&p, para)
			para = nil
		}
	}
	for ; i < len(lines); i++ {
		l := lines[i]
		bare := strings.TrimRight(l, "\r\n")
		switch {
		case fence.MatchString(bare):
			flush()
			i = keepFence(&p, lines, i)
		case strings.TrimSpace(bare) == "", definition.MatchString(bare), ruleLine.MatchString(bare), tableRule.MatchString(bare):
			flush()
			p.write(l)
		case len(para) == 0 && (strings.HasPrefix(l, "    ") || strings.HasPrefix(l, "\t")) && !afterList(lines, i):
			p.write(l) // indented code
		case isTableRow(bare):
			flush()
			takeRow(&p, l)
		default:
			if prefix := mdPrefix.FindString(bare); strings.TrimSpace(prefix) != "" {
				flush()
			}
			para = append(para, l)
			if strings.HasPrefix(strings.TrimLeft(bare, " >"), "#") || strings.HasSuffix(bare, "  ") || strings.HasSuffix(bare, `\`) {
				flush()
			}
		}
	}
	flush()
	return p.document(same)
}

func frontMatter(p *pieces, lines []string) int {
	mark := strings.TrimSpace(lines[0])
	if mark != "---" && mark != "+++" {
		return 0
	}
	for i := 1; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == mark {
			p.write(strings.Join(lines[:i+1], ""))
			return i + 1
		}
	}
	return 0
}

func keepFence(p *pieces, lines []string, i int) int {
	mark := fence.FindStringSubmatch(lines[i])[1]
	p.write(lines[i])
	for i++; i < len(lines); i++ {
		p.write(lines[i])
		if t := strings.TrimSpace(lines[i]); strings.HasPrefix(t, mark) && strings.Trim(t, mark[:1]) == "" {
			break
		}
	}
	return i
}

// afterList reports whether an indented line continues an item of a list.
func afterList(lines []string, i int) bool {
	for i--; i >= 0; i-- {
		l := strings.TrimRight(lines[i], "\r\n")
		if strings.TrimSpace(l) == "" || strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t") {
			if m := mdPrefix.FindString(l); strings.TrimSpace(m) == "" {
				continue
			}
		}
		m := strings.TrimSpace(mdPrefix.FindString(l))
		return m != "" && m[0] != '#' && m[0] != '>'
	}
	return false
}

func isTableRow(l string) bool {
	t := strings.TrimSpace(l)
	return len(t) > 2 && t[0] == '|' && strings.Count(t, "|") > 1
}

// takeRow makes each cell of a table's row a segment.
func takeRow(p *pieces, l string) {
	start := 0
	inCode := false
	for i := 0; i <= len(l); i++ {
		if i < len(l) && l[i] == '`' {
			inCode = !inCode
		}
		if i < len(l) && (l[i] != '|' || inCode || i > 0 && l[i-1] == '\\') {
			continue
		}
		cell := l[start:i]
		body := strings.TrimSpace(cell)
		at := strings.Index(cell, body)
		p.write(cell[:at])
		writeInline(p, body)
		p.write(cell[at+len(body):])
		if i < len(l) {
			p.write("|")
		}
		start = i + 1
	}
}

func takeParagraph(p *pieces, lines []string) {
	prefix := mdPrefix.FindString(lines[0])
	p.write(prefix)
	lines[0] = lines[0][len(prefix):]
	for i := range lines {
		if i > 0 {
			lines[i] = strings.TrimLeft(lines[i], " \t")
		}
	}
	text := strings.Join(lines, "")
	body := strings.TrimRight(text, "\r\n \t\\")
	end := text[len(body):]
	body = strings.NewReplacer("\r\n", " ", "\n", " ").Replace(body)
	writeInline(p, body)
	p.write(end)
}

func writeInline(p *pieces, body string) {
	s := inline(body)
	if hasWords(s.plain(s.text)) {
		p.segment(s)
	} else {
		p.write(body)
	}
}

// inline reads the inline markup of Markdown.
func inline(src string) segment {
	m := &mdInline{}
	for src != "" && len(m.s.tokens) < maxMarks {
		n := m.take(src)
		src = src[n:]
	}
	m.words()
	m.pending.WriteString(src)
	m.words()
	for _, o := range m.open {
		m.s.tokens[o.token].kind = atom
	}
	m.s.text = m.b.String()
	return m.s
}

type mdInline struct {
	s       segment
	b       strings.Builder
	pending strings.Builder // text that was not protected yet
	open    []openTag
}

// near is where the end of markup is looked for, so that no text takes quadratic time.
func near(s string) string { return s[:min(len(s), 4000)] }

func (m *mdInline) words() {
	m.s.protect(&m.b, m.pending.String(), same)
	m.pending.Reset()
}

// take reads one piece of markup or one character, and gives its length.
func (m *mdInline) take(src string) int {
	switch c := src[0]; c {
	case '\\':
		if len(src) > 1 && strings.IndexByte("\\`*_{}[]()#+-.!|<>~", src[1]) >= 0 {
			m.words()
			m.s.add(&m.b, token{kind: atom, raw: src[:2]})
			return 2
		}
	case '`':
		n := len(src) - len(strings.TrimLeft(src, "`"))
		if end := strings.Index(near(src[n:]), src[:n]); end >= 0 {
			return m.word(src[:n+end+n])
		}
	case '<':
		if l := autolink.FindString(src); l != "" {
			return m.word(l)
		}
		if t := htmlTag().FindString(src); t != "" {
			m.words()
			if strings.HasPrefix(t, "<!--") {
				m.s.add(&m.b, token{kind: atom, raw: t})
			} else {
				addTag(&m.s, &m.b, &m.open, t)
			}
			return len(t)
		}
	case '!':
		if strings.HasPrefix(src, "![") && closes(src[2:]) {
			return m.begin("[", "![")
		}
	case '[':
		if strings.HasPrefix(src, "[^") {
			if end := strings.IndexByte(src, ']'); end > 0 {
				return m.word(src[:end+1])
			}
		}
		if closes(src[1:]) {
			return m.begin("[", "[")
		}
	case ']':
		if n := len(m.open); n > 0 && m.open[n-1].name == "[" {
			if l := linkEnd().FindString(src); l != "" {
				return m.finish(l)
			}
		}
	case '*', '_', '~':
		return m.emphasis(src)
	}
	n := 1
	for n < len(src) && src[n] >= 0x80 && src[n] < 0xC0 {
		n++
	}
	m.pending.WriteString(src[:n])
	return n
}

// closes reports whether a link's text that begins with src ends with an address or a label.
func closes(src string) bool {
	depth := 0
	for i := 0; i < len(src) && i < 2000; i++ {
		switch src[i] {
		case '[':
			depth++
		case ']':
			if depth == 0 {
				return linkEnd().MatchString(src[i:])
			}
			depth--
		}
	}
	return false
}

func (m *mdInline) word(raw string) int {
	m.words()
	m.s.add(&m.b, token{kind: word, raw: raw})
	return len(raw)
}

func (m *mdInline) begin(name, raw string) int {
	m.words()
	m.open = append(m.open, openTag{name, m.s.add(&m.b, token{kind: opening, raw: raw, mate: -1})})
	return len(raw)
}

func (m *mdInline) finish(raw string) int {
	m.words()
	mate := m.open[len(m.open)-1].token
	m.open = m.open[:len(m.open)-1]
	m.s.tokens[mate].mate = m.s.add(&m.b, token{kind: closing, raw: raw, mate: mate})
	return len(raw)
}

// emphasis reads *, _ and ~ that begin or end emphasis; others are text.
func (m *mdInline) emphasis(src string) int {
	n := 1
	for n < len(src) && n < 3 && src[n] == src[0] {
		n++
	}
	raw := src[:n]
	before := lastRune(m.pending.String())
	spaceBefore := m.pending.Len() == 0 || !wordRune(before) && !spaceless(before)
	if k := len(m.open); k > 0 && m.open[k-1].name == raw && !strings.HasSuffix(m.pending.String(), " ") && m.pending.Len() > 0 {
		return m.finish(raw)
	}
	next := n < len(src) && src[n] != ' ' && strings.Contains(near(src[n:]), raw)
	if raw[0] == '_' && !spaceBefore || raw == "~" || !next || len(m.open) >= 64 {
		m.pending.WriteString(raw)
		return n
	}
	return m.begin(raw, raw)
}
