package translate

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// cueTag matches markup in cues: <i>, <c.red>, <00:00:01.000>, {\an8}.
var cueTag = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`</?[A-Za-z0-9][^<>\n]{0,80}>|\{\\[^{}\n]{0,80}\}`) })

// takeSubtitles reads SubRip or WebVTT (W3C): numbers, timing, settings, notes and styles stay; a cue's text is one
// segment, broken into as many lines as it had.
func takeSubtitles(format, src string) (*document, error) {
	var p pieces
	lines := strings.SplitAfter(src, "\n")
	cues, rows := 0, map[int]int{} // lines of a segment
	for i := 0; i < len(lines); i++ {
		p.write(lines[i])
		if !strings.Contains(lines[i], "-->") {
			continue
		}
		cues++
		first := i + 1
		for i+1 < len(lines) && strings.TrimSpace(lines[i+1]) != "" && !strings.Contains(lines[i+1], "-->") {
			i++
		}
		if i >= first {
			takeCue(&p, lines[first:i+1], rows)
		}
	}
	if cues == 0 {
		return nil, problem.New(problem.Unprocessable, "translate.no_cues", "the text has no cues with times (-->); is it really %s?", format)
	}
	d := p.document(same)
	build := d.build
	d.build = func(out []string) ([]byte, error) {
		broken := make([]string, len(out))
		for i := range out {
			broken[i] = breakLines(out[i], rows[i])
		}
		return build(broken)
	}
	return d, nil
}

func takeCue(p *pieces, lines []string, rows map[int]int) {
	var run []string
	flush := func() {
		if len(run) == 0 {
			return
		}
		body := strings.Join(run, "")
		text := strings.TrimRight(body, "\r\n")
		end := body[len(text):]
		if s := cue(text); hasWords(s.plain(s.text)) {
			rows[len(p.doc.segs)] = len(run)
			p.segment(s)
		} else {
			p.write(text)
		}
		p.write(end)
		run = nil
	}
	for _, l := range lines {
		if dash := strings.TrimLeft(l, " "); strings.HasPrefix(dash, "-") { // each speaker has a line
			flush()
			rest := strings.TrimLeft(dash, "- ")
			p.write(l[:len(l)-len(rest)])
			l = rest
		}
		run = append(run, l)
	}
	flush()
}

func cue(text string) segment {
	var s segment
	var b strings.Builder
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", " ")
	var open []openTag
	for text != "" && len(s.tokens) < maxMarks {
		at := cueTag().FindStringIndex(text)
		if at == nil {
			break
		}
		s.protect(&b, text[:at[0]], same)
		addTag(&s, &b, &open, text[at[0]:at[1]])
		text = text[at[1]:]
	}
	s.protect(&b, text, same)
	for _, o := range open {
		s.tokens[o.token].kind = atom
	}
	s.text = b.String()
	return s
}

// addTag adds the mark of an SGML-like tag, paired with its opening one if that is the innermost.
func addTag(s *segment, b *strings.Builder, open *[]openTag, tag string) {
	name := strings.ToLower(strings.TrimLeft(tag, "</"))
	if end := strings.IndexAny(name, " .>/\t\n"); end >= 0 {
		name = name[:end]
	}
	switch {
	case strings.HasPrefix(tag, "</"):
		if n := len(*open); n > 0 && (*open)[n-1].name == name {
			mate := (*open)[n-1].token
			*open = (*open)[:n-1]
			s.tokens[mate].mate = s.add(b, token{kind: closing, raw: tag, mate: mate})
			return
		}
		s.add(b, token{kind: atom, raw: tag})
	case strings.HasPrefix(tag, "<") && !strings.HasSuffix(tag, "/>") && name != "" && (name[0] < '0' || name[0] > '9') && !among(voidElements, name) && len(*open) < 64:
		*open = append(*open, openTag{name, s.add(b, token{kind: opening, raw: tag, mate: -1})})
	default:
		s.add(b, token{kind: atom, raw: tag})
	}
}

// breakLines breaks text into n lines of about the same length, at spaces where it has them.
func breakLines(text string, n int) string {
	for n = min(n, 20); n > 1; n-- {
		want := utf8.RuneCountInString(text) / n
		best, at := -1, 0
		for i, r := range text {
			if r == ' ' || spaceless(r) && i > 0 && !strings.ContainsRune("，。！？、；：", r) {
				if best < 0 || abs(at-want) < best {
					best = abs(at - want)
				}
			}
			at++
		}
		if best < 0 {
			return text
		}
		at = 0
		for i, r := range text {
			if (r == ' ' || spaceless(r) && i > 0) && !strings.ContainsRune("，。！？、；：", r) && abs(at-want) == best {
				rest := breakLines(strings.TrimLeft(text[i:], " "), n-1)
				return text[:i] + "\n" + rest
			}
			at++
		}
	}
	return text
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}
