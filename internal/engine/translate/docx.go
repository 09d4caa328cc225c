package translate

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of a DOCX file, so that a small one cannot fill the memory.
const (
	maxPartBytes = 24 << 20 // of one part that is read, unpacked
	maxReadBytes = 48 << 20 // of all of them
	maxZipParts  = 4000
)

// docxPart matches the parts whose text is translated.
var docxPart = regexp.MustCompile(`^word/(document|header\d*|footer\d*|footnotes|endnotes)\.xml$`)

func badDOCX(cause error) error {
	return problem.New(problem.Unprocessable, "translate.bad_docx", "the file is not a DOCX document, or is damaged").Because(cause)
}

// takeDOCX reads a DOCX file (ECMA-376). Only the text inside w:t elements changes, and parts without text are
// copied as they are packed. A paragraph is one segment, with a mark where its text passes from one run to another.
func takeDOCX(data []byte) (*document, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, badDOCX(err)
	}
	if len(z.File) > maxZipParts {
		return nil, badDOCX(errors.New("too many parts"))
	}
	d := &document{escape: escapeXML}
	texts := map[int]*docxText{}
	total, found := int64(0), false
	for i, f := range z.File {
		if !docxPart.MatchString(f.Name) {
			continue
		}
		src, err := readPart(f)
		if err != nil {
			return nil, err
		}
		if total += int64(len(src)); total > maxReadBytes {
			return nil, bomb()
		}
		t := &docxText{src: src, first: len(d.segs)}
		if err := t.read(d); err != nil {
			return nil, badDOCX(err)
		}
		texts[i], found = t, found || f.Name == "word/document.xml"
	}
	if !found {
		return nil, badDOCX(errors.New("no word/document.xml"))
	}
	d.build = func(out []string) ([]byte, error) { return writeDOCX(z, texts, d, out) }
	return d, nil
}

func bomb() error {
	return problem.New(problem.TooLarge, "translate.docx_too_large", "the document unpacks to more than %d MiB of text", maxReadBytes>>20)
}

func readPart(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, badDOCX(err)
	}
	src, err := io.ReadAll(io.LimitReader(r, maxPartBytes+1))
	if err != nil {
		return nil, badDOCX(err)
	}
	if len(src) > maxPartBytes {
		return nil, bomb()
	}
	return src, nil
}

func writeDOCX(z *zip.Reader, texts map[int]*docxText, d *document, out []string) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i, f := range z.File {
		t := texts[i]
		if t == nil {
			if err := w.Copy(f); err != nil {
				return nil, badDOCX(err)
			}
			continue
		}
		h := &zip.FileHeader{Name: f.Name, Method: zip.Deflate, Modified: f.Modified}
		p, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := p.Write(t.write(d, out)); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// slot is the content of a w:t element.
type slot struct {
	tag, text, end int64 // where the start tag, the text and the end tag begin in src
	seg, mark      int   // the segment, and the mark before the slot; −1: it comes first
	same           bool  // the slot before it looks the same: that one takes the text of both
}

// docxText is one part with text.
type docxText struct {
	src   []byte
	first int
	slots []slot
}

type docxPara struct {
	seg   segment
	text  strings.Builder
	slots []int
	gap   bool   // something that shows stands after the last slot
	look  string // of the last slot's run
}

// read finds the paragraphs and their slots. A paragraph inside another, of a text box say, is one of its own.
func (t *docxText) read(d *document) error {
	x := xml.NewDecoder(bytes.NewReader(t.src))
	x.Strict = true
	var paras []*docxPara
	var look string
	var cur *slot
	var text strings.Builder
	props := int64(-1)
	for depth := 0; ; {
		at := x.InputOffset()
		tok, err := x.RawToken()
		if errors.Is(err, io.EOF) {
			if depth != 0 || len(paras) > 0 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err != nil {
			return err
		}
		switch e := tok.(type) {
		case xml.StartElement:
			if depth++; depth > 500 {
				return errors.New("nested too deeply")
			}
			switch name := e.Name.Space + ":" + e.Name.Local; {
			case name == "w:p":
				paras = append(paras, &docxPara{})
			case name == "w:r":
				look = ""
			case name == "w:rPr":
				props = at
			case name == "w:t" && len(paras) > 0:
				cur = &slot{tag: at, text: x.InputOffset()}
				text.Reset()
			case len(paras) > 0 && props < 0 && cur == nil && name != "w:proofErr" && name != "w:lastRenderedPageBreak" && !strings.HasPrefix(name, "w:bookmark"):
				paras[len(paras)-1].gap = true
			}
		case xml.CharData:
			if cur != nil {
				text.Write(e)
			}
		case xml.EndElement:
			depth--
			switch e.Name.Space + ":" + e.Name.Local {
			case "w:rPr":
				if props >= 0 {
					look = string(t.src[props:at])
				}
				props = -1
			case "w:t":
				if cur != nil && len(paras) > 0 {
					cur.end = at
					t.slot(paras[len(paras)-1], *cur, text.String(), look)
				}
				cur = nil
			case "w:p":
				if len(paras) == 0 {
					return errors.New("a paragraph ends that did not begin")
				}
				t.paragraph(d, paras[len(paras)-1])
				if paras = paras[:len(paras)-1]; len(paras) > 0 {
					paras[len(paras)-1].gap = true
				}
			case "w:r":
			default: // the end of a hyperlink, say
				if len(paras) > 0 && props < 0 && cur == nil && e.Name.Local != "proofErr" && e.Name.Local != "lastRenderedPageBreak" && !strings.HasPrefix(e.Name.Local, "bookmark") {
					paras[len(paras)-1].gap = true
				}
			}
		}
	}
}

// slot adds a w:t element to its paragraph.
func (t *docxText) slot(p *docxPara, s slot, text, look string) {
	if s.text >= s.end && text == "" && s.end-s.tag < 4 {
		return
	}
	s.mark, s.seg = -1, -1
	if n := len(p.slots); n > 0 {
		s.same = !p.gap && look == p.look || len(p.seg.tokens) >= maxMarks
		if !s.same {
			s.mark = p.seg.add(&p.text, token{kind: atom})
		}
	}
	p.seg.protect(&p.text, text, escapeXML)
	p.look, p.gap = look, false
	t.slots = append(t.slots, s)
	p.slots = append(p.slots, len(t.slots)-1)
}

func (t *docxText) paragraph(d *document, p *docxPara) {
	p.seg.text = p.text.String()
	if !hasWords(p.seg.plain(p.seg.text)) {
		return
	}
	p.seg.ordered = true
	for _, i := range p.slots {
		t.slots[i].seg = len(d.segs)
	}
	d.segs = append(d.segs, p.seg)
}

// write gives the part with the translated texts in its slots.
func (t *docxText) write(d *document, out []string) []byte {
	texts := map[[2]int]*strings.Builder{} // by segment and mark
	seen := map[int]bool{}
	for _, s := range t.slots {
		if s.seg < 0 {
			continue
		}
		if !seen[s.seg] {
			seen[s.seg] = true
			d.fill(texts, s.seg, out[s.seg])
		}
	}
	var b bytes.Buffer
	at := int64(0)
	for _, s := range t.slots {
		if s.seg < 0 {
			continue
		}
		text := ""
		if w := texts[[2]int{s.seg, s.mark}]; w != nil && !s.same {
			text = w.String()
		}
		b.Write(t.src[at:s.tag])
		b.WriteString(`<w:t xml:space="preserve">`)
		b.WriteString(text)
		if s.end <= s.text || t.src[s.text-2] == '/' { // <w:t/>
			b.WriteString("</w:t>")
		}
		at = s.end
	}
	b.Write(t.src[at:])
	return b.Bytes()
}

// fill sorts the text of a translated paragraph by the marks of its slots.
func (d *document) fill(texts map[[2]int]*strings.Builder, seg int, out string) {
	w := &strings.Builder{}
	texts[[2]int{seg, -1}] = w
	for _, p := range parts(out) {
		switch {
		case p.mark < 0:
			w.WriteString(d.escape(p.text))
		case p.mark >= len(d.segs[seg].tokens):
		case d.segs[seg].tokens[p.mark].kind == atom:
			w = &strings.Builder{}
			texts[[2]int{seg, p.mark}] = w
		default:
			w.WriteString(d.segs[seg].tokens[p.mark].raw)
		}
	}
}

// escapeXML escapes text and drops what XML cannot hold.
func escapeXML(s string) string {
	return xmlEscaper.Replace(strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\t' && r != '\n' || r == 0xFFFE || r == 0xFFFF {
			return -1
		}
		return r
	}, s))
}

var xmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
