package translate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// document is a text of some format, taken apart: what is translated, and how the result is put together.
type document struct {
	segs   []segment
	escape func(string) string // writes text as the document spells it
	// build makes the translated document. out[i] is the translation of segs[i], with its marks.
	build func(out []string) ([]byte, error)
}

// The formats.
const (
	formatText     = "text"
	formatHTML     = "html"
	formatMarkdown = "markdown"
	formatJSON     = "json"
	formatSRT      = "srt"
	formatVTT      = "vtt"
	formatDOCX     = "docx"
)

// mediaTypes are the formats and what they are sent as.
var mediaTypes = map[string]string{
	formatText:     "text/plain; charset=utf-8",
	formatHTML:     "text/html; charset=utf-8",
	formatMarkdown: "text/markdown; charset=utf-8",
	formatJSON:     "application/json",
	formatSRT:      "application/x-subrip",
	formatVTT:      "text/vtt; charset=utf-8",
	formatDOCX:     "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}

// maxSegments bounds the pieces of one document.
const maxSegments = 50000

// takeApart reads a document of the format.
func takeApart(format string, data []byte) (*document, error) {
	if format != formatDOCX && !utf8.Valid(data) {
		return nil, problem.New(problem.Unprocessable, "translate.not_utf8", "the text is not UTF-8; convert it first")
	}
	var d *document
	var err error
	switch format {
	case formatText:
		d = takeText(string(data))
	case formatHTML:
		d = takeHTML(string(data))
	case formatMarkdown:
		d = takeMarkdown(string(data))
	case formatJSON:
		d, err = takeJSON(data)
	case formatSRT, formatVTT:
		d, err = takeSubtitles(format, string(data))
	case formatDOCX:
		d, err = takeDOCX(data)
	default:
		return nil, fmt.Errorf("translate: format %q", format)
	}
	if err == nil && len(d.segs) > maxSegments {
		return nil, problem.New(problem.TooLarge, "translate.too_many_segments", "the document has more than %d pieces of text; split it", maxSegments)
	}
	return d, err
}

func (d *document) characters() (n int) {
	for i := range d.segs {
		n += d.segs[i].characters()
	}
	return n
}

func (d *document) restore(i int, out string) string { return d.segs[i].restore(out, d.escape) }

// takeText: the whole text is one segment, whose sentences and lines the engine tells apart.
func takeText(text string) *document {
	d := &document{segs: []segment{plainSegment(text)}, escape: same}
	d.build = func(out []string) ([]byte, error) { return []byte(d.restore(0, out[0])), nil }
	return d
}

// pieces are a document in the making: bytes that are kept, and segments.
type pieces struct {
	doc  document
	keep []string // keep[i] stands before segment i; the last one at the end
	raw  strings.Builder
}

func (p *pieces) write(s string) { p.raw.WriteString(s) }

func (p *pieces) segment(s segment) {
	p.keep = append(p.keep, p.raw.String())
	p.raw.Reset()
	p.doc.segs = append(p.doc.segs, s)
}

// document finishes: the kept bytes and the restored segments in turn, seen through finish.
func (p *pieces) document(escape func(string) string) *document {
	p.keep = append(p.keep, p.raw.String())
	d := &p.doc
	d.escape = escape
	d.build = func(out []string) ([]byte, error) {
		var b bytes.Buffer
		for i := range d.segs {
			b.WriteString(p.keep[i])
			b.WriteString(d.restore(i, out[i]))
		}
		b.WriteString(p.keep[len(p.keep)-1])
		return b.Bytes(), nil
	}
	return d
}

// takeJSON keeps every byte of a JSON text but its string values; keys, numbers and white space stay.
func takeJSON(data []byte) (*document, error) {
	if !json.Valid(data) {
		return nil, problem.New(problem.Unprocessable, "translate.bad_json", "the text is not valid JSON")
	}
	var p pieces
	start := 0
	for i := 0; i < len(data); i++ {
		if data[i] != '"' {
			continue
		}
		end := i + 1
		for data[end] != '"' {
			if data[end] == '\\' {
				end++
			}
			end++
		}
		end++
		literal := data[i:end]
		key := false
		for j := end; j < len(data); j++ {
			if c := data[j]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
				key = c == ':'
				break
			}
		}
		var text string
		if !key && json.Unmarshal(literal, &text) == nil && isProse(text) {
			p.write(string(data[start : i+1]))
			var s segment
			var b strings.Builder
			s.protect(&b, text, jsonText)
			s.text = b.String()
			p.segment(s)
			start = end - 1
		}
		i = end - 1
	}
	p.write(string(data[start:]))
	return p.document(jsonText), nil
}

// jsonText escapes a text for the inside of a JSON string.
func jsonText(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil { // a string always encodes
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// isProse tells text for people from identifiers, addresses, dates and ICU plural forms, which are kept.
func isProse(s string) bool {
	if !hasWords(s) || strings.Contains(s, ", plural,") || strings.Contains(s, ", select,") {
		return false
	}
	t := strings.TrimSpace(s)
	if strings.ContainsAny(t, " \t\n\u3000") {
		return true
	}
	for _, r := range t {
		if r > 0x7f {
			return true
		}
	}
	return !strings.ContainsAny(strings.TrimRight(t, ".:!?,;"), "0123456789_/.:#@\\=<>")
}
