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
// copied as they are packed. A paragraph is one segment, with a mark where something stands in its text, a tab say, and a pair of marks
// around text that looks different from the text beside it: in the translation that look goes where its words go.
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
		t := &docxText{src: src, looks: map[[2]int]string{}, plain: map[[2]int]string{}}
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

// slot is a w:t element.
type slot struct {
	tag, text, end int64 // where the start tag, the text and the end tag begin in src
	look           string
	inRun          bool // it stands in a run, as it should
	seg            int  // the segment; −1: none
	part           int  // which of its parts between two marks that stand alone
	same           bool // the slot before it looks the same: that one takes the text of both
}

// docxText is one part with text.
type docxText struct {
	src   []byte
	slots []slot
	looks map[[2]int]string // by segment and opening mark
	plain map[[2]int]string // by segment and part: what needs no marks
}

// docxPara is a paragraph that is being read.
type docxPara struct {
	texts []docxRun
	gap   bool // something that shows stands after the last slot
}

// docxRun is the text of a slot.
type docxRun struct {
	slot int
	text string
	gap  bool // something that shows stands before it
}

// read finds the paragraphs and their slots. A paragraph inside another, of a text box say, is one of its own.
func (t *docxText) read(d *document) error {
	x := xml.NewDecoder(bytes.NewReader(t.src))
	x.Strict = true
	var paras []*docxPara
	var look string
	var cur *slot
	var text strings.Builder
	props, propsDepth, runDepth := int64(-1), 0, 0
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
				look, runDepth = "", depth
			case name == "w:rPr" && props < 0: // one inside tells of an earlier look
				props, propsDepth = at, depth
			case name == "w:t" && len(paras) > 0:
				cur = &slot{tag: at, text: x.InputOffset(), inRun: depth == runDepth+1, look: look, seg: -1}
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
				if props >= 0 && depth < propsDepth {
					look, props = string(t.src[props:x.InputOffset()]), -1
				}
			case "w:t":
				if cur != nil && len(paras) > 0 {
					cur.end = at
					t.slot(paras[len(paras)-1], *cur, text.String())
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
				runDepth = 0
			default: // the end of a hyperlink, say
				if len(paras) > 0 && props < 0 && cur == nil && e.Name.Local != "proofErr" && e.Name.Local != "lastRenderedPageBreak" && !strings.HasPrefix(e.Name.Local, "bookmark") {
					paras[len(paras)-1].gap = true
				}
			}
		}
	}
}

// slot adds a w:t element to its paragraph.
func (t *docxText) slot(p *docxPara, s slot, text string) {
	if s.text >= s.end && text == "" && s.end-s.tag < 4 {
		return
	}
	t.slots = append(t.slots, s)
	p.texts = append(p.texts, docxRun{len(t.slots) - 1, text, p.gap})
	p.gap = false
}

// paragraph makes a segment of a paragraph.
func (t *docxText) paragraph(d *document, p *docxPara) {
	seg := segment{ordered: true}
	var text strings.Builder
	part := 0
	for start := 0; start < len(p.texts); {
		end := start + 1
		for end < len(p.texts) && (!p.texts[end].gap || len(seg.tokens) >= maxMarks) {
			end++
		}
		if start > 0 {
			seg.add(&text, token{kind: atom})
			part++
		}
		t.part(len(d.segs), &seg, &text, p.texts[start:end], part)
		start = end
	}
	if seg.text = text.String(); !hasWords(seg.plain(seg.text)) {
		return
	}
	for _, r := range p.texts {
		t.slots[r.slot].seg = len(d.segs)
	}
	d.segs = append(d.segs, seg)
}

// part adds texts with nothing between them to segment n. Most of it has the look that needs no marks.
func (t *docxText) part(n int, seg *segment, to *strings.Builder, texts []docxRun, part int) {
	size := map[string]int{}
	plain := t.slots[texts[0].slot].look
	for _, r := range texts {
		look := t.slots[r.slot].look
		if size[look] += len(r.text); size[look] > size[plain] {
			plain = look
		}
	}
	t.plain[[2]int{n, part}] = plain
	for i := 0; i < len(texts); {
		first := &t.slots[texts[i].slot]
		first.part = part
		text := texts[i].text
		for i++; i < len(texts) && t.slots[texts[i].slot].look == first.look; i++ {
			t.slots[texts[i].slot].part, t.slots[texts[i].slot].same = part, true
			text += texts[i].text
		}
		in := trimmed(text)
		if first.look == plain || in.text == "" || len(seg.tokens)+2 > maxMarks {
			seg.protect(to, text, escapeXML)
			continue
		}
		to.WriteString(in.before)
		open := seg.add(to, token{kind: opening})
		t.looks[[2]int{n, open}] = first.look
		seg.protect(to, in.text, escapeXML)
		seg.tokens[open].mate = seg.add(to, token{kind: closing, mate: open})
		to.WriteString(in.after)
	}
}

// docxPiece is translated text of one look.
type docxPiece struct{ look, text string }

// filled is what stands in a slot of a translated part, with what has to stand beside it for want of a slot of its look.
type filled struct {
	text          string
	before, after []docxPiece
}

// write gives the part with the translated texts in its slots.
func (t *docxText) write(d *document, out []string) []byte {
	var b bytes.Buffer
	at := int64(0)
	translated := map[int][][]docxPiece{} // by segment and part
	for i := 0; i < len(t.slots); {
		s, end := t.slots[i], i+1
		for end < len(t.slots) && t.slots[end].seg == s.seg && t.slots[end].part == s.part {
			end++
		}
		if s.seg >= 0 {
			if translated[s.seg] == nil {
				translated[s.seg] = t.pieces(d, s.seg, out[s.seg])
			}
			all := translated[s.seg]
			var here []docxPiece
			if s.part < len(all) { // a text box may stand in the midst of a part
				here, all[s.part] = all[s.part], nil
			}
			for k, f := range fill(t.slots[i:end], here) {
				at = t.writeSlot(&b, at, &t.slots[i+k], f)
			}
		}
		i = end
	}
	b.Write(t.src[at:])
	return b.Bytes()
}

// writeSlot writes the part from at to the end of a slot's text.
func (t *docxText) writeSlot(b *bytes.Buffer, at int64, s *slot, f filled) int64 {
	b.Write(t.src[at:s.tag])
	if len(f.before) > 0 {
		b.WriteString("</w:r>")
		writeRuns(b, f.before)
		b.WriteString("<w:r>" + s.look)
	}
	b.WriteString(`<w:t xml:space="preserve">` + f.text)
	if len(f.after) == 0 {
		if s.end <= s.text || t.src[s.text-2] == '/' { // <w:t/>
			b.WriteString("</w:t>")
		}
		return s.end
	}
	b.WriteString("</w:t></w:r>")
	writeRuns(b, f.after)
	end := s.end
	if s.end > s.text && t.src[s.text-2] != '/' {
		end += int64(bytes.IndexByte(t.src[s.end:], '>')) + 1
	}
	const closed = "</w:r>"
	if bytes.HasPrefix(t.src[end:], []byte(closed)) { // nothing is left of the run
		return end + int64(len(closed))
	}
	b.WriteString("<w:r>" + s.look)
	return end
}

func writeRuns(b *bytes.Buffer, all []docxPiece) {
	for _, p := range all {
		b.WriteString("<w:r>" + p.look + `<w:t xml:space="preserve">` + p.text + "</w:t></w:r>")
	}
}

// pieces takes the parts of a translated paragraph apart by how their text is to look.
func (t *docxText) pieces(d *document, seg int, out string) [][]docxPiece {
	var text strings.Builder
	all := make([][]docxPiece, 1)
	look := t.plain[[2]int{seg, 0}]
	flush := func() {
		if at := len(all) - 1; text.Len() > 0 {
			all[at] = append(all[at], docxPiece{look, text.String()})
			text.Reset()
		}
	}
	for _, p := range parts(out) {
		if p.mark < 0 {
			text.WriteString(d.escape(p.text))
			continue
		}
		if p.mark >= len(d.segs[seg].tokens) {
			continue
		}
		switch tk := d.segs[seg].tokens[p.mark]; tk.kind {
		case word, term:
			text.WriteString(tk.raw)
			continue
		case opening:
			flush()
			look = t.looks[[2]int{seg, p.mark}]
			continue
		case closing:
			flush()
		case atom:
			flush()
			all = append(all, nil)
		}
		look = t.plain[[2]int{seg, len(all) - 1}]
	}
	flush()
	return all
}

// fill puts pieces into the slots of one part in their order, each into one of its look if there still is one.
func fill(slots []slot, all []docxPiece) []filled {
	out := make([]filled, len(slots))
	at := 0
	for _, p := range all {
		to := at
		for to < len(slots) && (slots[to].same || slots[to].look != p.look) {
			to++
		}
		last := len(slots) - 1
		switch {
		case to < len(slots):
			out[to].text, at = p.text, to+1
		case at < len(slots) && slots[at].inRun:
			out[at].before = append(out[at].before, p)
		case slots[last].inRun:
			out[last].after = append(out[last].after, p)
		default: // no run that could be divided
			out[last].text += p.text
		}
	}
	return out
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
