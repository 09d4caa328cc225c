package task

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// document is a text taken apart into what a reader sees, so that its structure never passes through a model.
type document struct {
	fixed []string // len(parts)+1 pieces that stay as they are, around the parts
	parts []string
	spell func(string) string // writes a part as the document's format spells it; nil: as it is
}

// join puts the translated parts in the places of the parts.
func (d *document) join(translated []string) string {
	var b strings.Builder
	for i, t := range translated {
		b.WriteString(d.fixed[i])
		if d.spell != nil {
			t = d.spell(t)
		}
		b.WriteString(t)
	}
	b.WriteString(d.fixed[len(d.parts)])
	return b.String()
}

// take appends what stays, and a part after it.
func (d *document) take(fixed, part string) {
	d.fixed = append(d.fixed, fixed)
	d.parts = append(d.parts, part)
}

// cut takes a text of the format apart.
func cut(format, text string) (*document, error) {
	d := &document{}
	switch format {
	case "json":
		if !json.Valid([]byte(text)) {
			return nil, problem.New(problem.Invalid, "llm.task_document", "the text is not a valid document of the format %q", format)
		}
		d.cutJSON(text)
	case "srt", "vtt":
		d.cutSubtitles(text)
		if len(d.parts) == 0 {
			return nil, problem.New(problem.Invalid, "llm.task_document", "the text is not a valid document of the format %q", format)
		}
	default:
		d.take("", text)
		d.fixed = append(d.fixed, "")
	}
	return d, nil
}

// cutJSON takes the string values that have letters out of valid JSON; keys stay.
func (d *document) cutJSON(text string) {
	d.spell = func(s string) string { return string(marshal(s)) }
	last := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		start := i
		for i++; text[i] != '"'; i++ {
			if text[i] == '\\' {
				i++
			}
		}
		if keyFollows(text[i+1:]) {
			continue
		}
		var value string
		_ = json.Unmarshal([]byte(text[start:i+1]), &value) // the document is valid
		if isProse(value) {
			d.take(text[last:start], value)
			last = i + 1
		}
	}
	d.fixed = append(d.fixed, text[last:])
}

// keyFollows reports whether a colon is the first thing in the rest that is no space: the string before was a key.
func keyFollows(rest string) bool {
	for i := range len(rest) {
		switch rest[i] {
		case ' ', '\t', '\r', '\n':
		default:
			return rest[i] == ':'
		}
	}
	return false
}

// cutSubtitles takes the lines between a cue's time line and the empty line after it out of SubRip or WebVTT.
func (d *document) cutSubtitles(text string) {
	d.spell = func(s string) string { return strings.Join(nonEmptyLines(s), "\n") } // an empty line ends a cue
	var fixed, cue strings.Builder
	inCue := false
	flush := func() {
		if c := cue.String(); hasLetters(c) {
			body := strings.TrimRight(c, "\r\n")
			d.take(fixed.String(), body)
			fixed.Reset()
			fixed.WriteString(c[len(body):])
		} else {
			fixed.WriteString(c)
		}
		cue.Reset()
		inCue = false
	}
	for line := range strings.Lines(text) {
		switch {
		case inCue && strings.TrimSpace(line) == "":
			flush()
			fixed.WriteString(line)
		case inCue:
			cue.WriteString(line)
		default:
			fixed.WriteString(line)
			inCue = strings.Contains(line, "-->")
		}
	}
	flush()
	d.fixed = append(d.fixed, fixed.String())
}

// isProse tells text for people from identifiers, addresses and dates, which stay.
func isProse(s string) bool {
	t := strings.TrimSpace(s)
	if !hasLetters(t) || strings.ContainsAny(t, " \t\n\u3000") || strings.ContainsFunc(t, func(r rune) bool { return r > unicode.MaxASCII }) {
		return hasLetters(t)
	}
	return !strings.ContainsAny(strings.TrimRight(t, ".:!?,;"), "0123456789_/.:#@\\=<>")
}

func hasLetters(s string) bool { return strings.ContainsFunc(s, unicode.IsLetter) }

var (
	tagPattern  = regexp.MustCompile(`<(/?[A-Za-z][A-Za-z0-9:-]*)(?:\s[^<>]*)?/?>`)
	linkPattern = regexp.MustCompile(`\]\(\s*<?([^\s<>()]+)`)
)

// marks are the parts of a text that its translation must have too, sorted: the tags of HTML and subtitles, the addresses of
// Markdown's links and its code fences.
func marks(format, text string) (list []string) {
	switch format {
	case "html", "srt", "vtt":
		for _, m := range tagPattern.FindAllStringSubmatch(text, -1) {
			list = append(list, strings.ToLower(m[1]))
		}
	case "markdown":
		for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		for range strings.Count(text, "```") {
			list = append(list, "```")
		}
	}
	slices.Sort(list)
	return list
}

// inPlace gives a translation the white space around its source.
func inPlace(source, translation string) string {
	body := strings.TrimSpace(source)
	if body == "" {
		return source
	}
	at := strings.Index(source, body)
	return source[:at] + strings.TrimSpace(translation) + source[at+len(body):]
}
