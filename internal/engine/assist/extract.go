package assist

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of one document.
const (
	maxFile  = 8 << 20 // bytes of a file or page
	maxText  = 4 << 20 // bytes of the text in it
	maxXML   = 32 << 20
	maxFAQ   = 5000 // entries of one table
	maxDepth = 512  // of elements
)

// faq is a question with its answer.
type faq struct {
	Question string `json:"question"`
	Answer   string `json:"answer"`
	Language string `json:"language,omitempty"`
}

// extracted is what was read out of a file: a text with "#" headings, or questions with answers.
type extracted struct {
	title string
	text  string
	faq   []faq
}

func unreadable(kind string) *problem.Error {
	return problem.New(problem.Unprocessable, "assist.unreadable", "the file cannot be read as %s; check that it is complete", kind)
}

func tooLong() *problem.Error {
	return problem.New(problem.TooLarge, "assist.document_too_large", "the text of a document is limited to %d bytes; divide it", maxText)
}

func tooBig() *problem.Error {
	return problem.New(problem.TooLarge, "assist.file_too_large", "a file is limited to %d bytes; divide it", maxFile)
}

// extract reads a file, except a PDF, by its name's ending, else by its media type.
func extract(name, mediaType string, data []byte) (extracted, error) {
	if len(data) > maxFile {
		return extracted{}, tooBig()
	}
	mediaType, _, _ = strings.Cut(strings.ToLower(mediaType), ";")
	mediaType = strings.TrimSpace(mediaType)
	var e extracted
	var err error
	switch ext := strings.ToLower(path.Ext(name)); {
	case ext == ".docx" || ext == "" && strings.HasSuffix(mediaType, "wordprocessingml.document"):
		e, err = readDOCX(data)
	case ext == ".html" || ext == ".htm" || ext == ".xhtml" || mediaType == "text/html" || mediaType == "application/xhtml+xml":
		e, err = readHTML(decodeText(data))
	case ext == ".csv" || ext == ".tsv" || mediaType == "text/csv" || mediaType == "text/tab-separated-values":
		e, err = readCSV(decodeText(data))
	case ext == ".md" || ext == ".markdown" || ext == ".txt" || ext == ".text" || strings.HasPrefix(mediaType, "text/"):
		e.text = normalise(decodeText(data))
	default:
		return e, problem.New(problem.Unprocessable, "assist.file_type", "files of this type are not read; send .pdf, .docx, .md, .html, .txt or a .csv with questions and answers")
	}
	if err != nil {
		return e, err
	}
	if len(e.text) > maxText {
		return e, tooLong()
	}
	if strings.TrimSpace(e.text) == "" && len(e.faq) == 0 {
		return e, problem.New(problem.Unprocessable, "assist.no_text", "there is no text in the document")
	}
	if e.title == "" {
		e.title = firstHeading(e.text)
	}
	return e, nil
}

func firstHeading(text string) string {
	head := cutRunes(text, 2000)
	for line := range strings.Lines(head) {
		if level, title := heading(strings.TrimRight(line, " \r\n")); level == 1 {
			return title
		}
	}
	return ""
}

// decodeText makes UTF-8 of UTF-8, UTF-16 with a byte order mark, or else GB 18030, which Chinese offices still write;
// what is none of these loses its unreadable bytes.
func decodeText(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte{0xef, 0xbb, 0xbf}):
		b = b[3:]
	case bytes.HasPrefix(b, []byte{0xff, 0xfe}), bytes.HasPrefix(b, []byte{0xfe, 0xff}):
		return fromUTF16(b[2:], b[0] == 0xfe)
	}
	if utf8.Valid(b) {
		return string(b)
	}
	if s, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b); err == nil && !bytes.ContainsRune(s, utf8.RuneError) {
		return string(s)
	}
	return strings.ToValidUTF8(string(b), "�")
}

func fromUTF16(b []byte, big bool) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		lo, hi := b[2*i], b[2*i+1]
		if big {
			lo, hi = hi, lo
		}
		units[i] = uint16(hi)<<8 | uint16(lo)
	}
	return string(utf16.Decode(units))
}

// normalise brings line ends to LF and takes out characters that are not text; PostgreSQL refuses NUL.
func normalise(s string) string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r == '\n' || r == '\t':
			return r
		case unicode.Is(unicode.Cc, r) || r == '\ufeff':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
}

// readHTML takes the text of a page, its headings as "#" lines. Scripts, styles, navigation and forms are left out.
func readHTML(src string) (extracted, error) {
	var e extracted
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(src))
	z.SetMaxBuf(1 << 20)
	skip, title, pre := 0, false, 0
	for {
		switch z.Next() {
		case html.ErrorToken:
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return e, unreadable("HTML").Because(err)
			}
			e.title = oneLine(e.title, 200)
			e.text = tidy(b.String())
			return e, nil
		case html.TextToken:
			text := string(z.Text())
			switch {
			case title:
				e.title += text
			case skip > 0:
			case pre > 0:
				b.WriteString(text)
			default:
				b.WriteString(collapse(text))
			}
			if b.Len() > maxText {
				return e, tooLong()
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			a := atom.Lookup(name)
			switch {
			case skipped(a):
				skip++
			case a == atom.Title:
				title = true
			case a == atom.Pre:
				pre++
				b.WriteString("\n\n")
			default:
				b.WriteString(opening(a))
			}
		case html.SelfClosingTagToken:
			name, _ := z.TagName()
			b.WriteString(opening(atom.Lookup(name)))
		case html.EndTagToken:
			name, _ := z.TagName()
			a := atom.Lookup(name)
			switch {
			case skipped(a):
				skip = max(0, skip-1)
			case a == atom.Title:
				title = false
			case a == atom.Pre:
				pre = max(0, pre-1)
				b.WriteString("\n\n")
			case block(a):
				b.WriteString("\n\n")
			case a == atom.Td || a == atom.Th:
				b.WriteString(" | ")
			}
		}
	}
}

func skipped(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Nav, atom.Svg, atom.Iframe, atom.Form, atom.Select, atom.Button, atom.Footer:
		return true
	}
	return false
}

func block(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.Section, atom.Article, atom.Ul, atom.Ol, atom.Table, atom.Blockquote, atom.Dl, atom.Main, atom.Header,
		atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Figure:
		return true
	}
	return false
}

func opening(a atom.Atom) string {
	switch a {
	case atom.H1:
		return "\n\n# "
	case atom.H2:
		return "\n\n## "
	case atom.H3:
		return "\n\n### "
	case atom.H4, atom.H5, atom.H6:
		return "\n\n#### "
	case atom.Li:
		return "\n- "
	case atom.Br, atom.Tr, atom.Dt, atom.Dd:
		return "\n"
	}
	if block(a) {
		return "\n\n"
	}
	return ""
}

// collapse makes one space of each run of white space.
func collapse(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	if space {
		b.WriteByte(' ')
	}
	return b.String()
}

func oneLine(s string, most int) string {
	return cutRunes(strings.TrimSpace(collapse(normalise(s))), most)
}

// tidy takes white space off the ends of lines and more than one empty line away.
func tidy(s string) string {
	var b strings.Builder
	empty := 2
	for line := range strings.SplitSeq(normalise(s), "\n") {
		line = strings.TrimRight(line, " \t|")
		if strings.TrimSpace(line) == "" {
			if empty++; empty < 2 {
				b.WriteByte('\n')
			}
			continue
		}
		if strings.TrimLeft(line, "# ") == "" {
			continue // a heading without words
		}
		empty = 0
		b.WriteString(strings.TrimPrefix(line, " "))
		b.WriteByte('\n')
	}
	return b.String()
}

// readCSV reads questions and answers. The first row may name its columns: question, answer, language (or 问题, 答案, 语言);
// otherwise the first two columns are question and answer. Commas, semicolons and tabs are taken as separators.
func readCSV(src string) (extracted, error) {
	var e extracted
	src = normalise(src)
	first, _, _ := strings.Cut(src, "\n")
	r := csv.NewReader(strings.NewReader(src))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	for _, sep := range "\t;" {
		if strings.ContainsRune(first, sep) && strings.Count(first, string(sep)) > strings.Count(first, ",") {
			r.Comma = sep
		}
	}
	cols := [3]int{0, 1, -1}
	for n := 0; ; n++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return e, unreadable("CSV").Because(err)
		}
		if n == 0 {
			if c, ok := columns(row); ok {
				cols = c
				continue
			}
		}
		cell := func(i int) string {
			if i < 0 || i >= len(row) {
				return ""
			}
			return strings.TrimSpace(row[i])
		}
		f := faq{cell(cols[0]), cell(cols[1]), primary(cell(cols[2]))}
		if f.Question == "" || f.Answer == "" {
			continue
		}
		if e.faq = append(e.faq, f); len(e.faq) > maxFAQ {
			return e, problem.New(problem.TooLarge, "assist.too_many_faq", "a table may have %d questions at most; divide it", maxFAQ)
		}
	}
	if len(e.faq) == 0 {
		return e, problem.New(problem.Unprocessable, "assist.no_faq", "the table has no rows with a question and an answer; name its columns question and answer")
	}
	return e, nil
}

func columns(row []string) (c [3]int, ok bool) {
	c = [3]int{-1, -1, -1}
	for i, name := range row {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "question", "q", "问题", "問題", "标准问题":
			c[0] = i
		case "answer", "a", "答案", "回答", "答复":
			c[1] = i
		case "language", "lang", "语言", "語言":
			c[2] = i
		}
	}
	return c, c[0] >= 0 && c[1] >= 0
}

// readDOCX takes the text of word/document.xml (ECMA-376): paragraphs, headings by their style, tables row by row.
func readDOCX(data []byte) (extracted, error) {
	var e extracted
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return e, unreadable("DOCX").Because(err)
	}
	f, err := z.Open("word/document.xml")
	if err != nil {
		return e, unreadable("DOCX").Because(err)
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: maxXML}
	e.text, err = wordText(xml.NewDecoder(limited))
	if limited.N <= 0 || errors.Is(err, errLong) {
		return e, tooLong()
	}
	if err != nil {
		return e, unreadable("DOCX").Because(err)
	}
	e.text = tidy(e.text)
	return e, nil
}

var errLong = errors.New("too long")

func wordText(d *xml.Decoder) (string, error) {
	var b, par strings.Builder
	level, depth, text, deleted := 0, 0, false, 0
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return "", errors.New("nested too deeply")
			}
			switch t.Name.Local {
			case "p":
				par.Reset()
				level = 0
			case "pStyle":
				level = styleLevel(t)
			case "t":
				text = true
			case "tab":
				par.WriteByte(' ')
			case "br", "cr":
				par.WriteByte('\n')
			case "del", "instrText", "Fallback":
				deleted++
			}
		case xml.EndElement:
			depth--
			switch t.Name.Local {
			case "p":
				if s := strings.TrimSpace(par.String()); s != "" {
					if level > 0 {
						s = strings.Repeat("#", level) + " " + strings.ReplaceAll(s, "\n", " ")
					}
					b.WriteString(s + "\n\n")
				}
				par.Reset()
			case "t":
				text = false
			case "del", "instrText", "Fallback":
				deleted--
			}
		case xml.CharData:
			if text && deleted == 0 {
				par.Write(t)
			}
		}
		if b.Len()+par.Len() > maxText {
			return "", errLong
		}
	}
}

// styleLevel is 1 to 6 for Word's heading styles ("Heading1", "Title", Chinese Word's "1" to "6"), else 0.
func styleLevel(t xml.StartElement) int {
	for _, a := range t.Attr {
		if a.Name.Local != "val" {
			continue
		}
		v := strings.ToLower(strings.ReplaceAll(a.Value, " ", ""))
		if v == "title" {
			return 1
		}
		v = strings.TrimPrefix(strings.TrimPrefix(v, "heading"), "标题")
		if len(v) == 1 && v[0] >= '1' && v[0] <= '6' {
			return int(v[0] - '0')
		}
	}
	return 0
}
