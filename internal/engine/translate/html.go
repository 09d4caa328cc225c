package translate

import (
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// Elements of HTML by what they mean for a translation. What is in none of the lists ends a sentence.
const (
	inlineElements = " a abbr acronym b bdi bdo big cite del dfn em font i ins label mark q s small span strike strong sub sup tt u "
	voidInline     = " br img wbr input "
	voidElements   = " area base br col embed hr img input link meta param source track wbr "
	keptElements   = " script style code kbd samp var svg math template textarea object iframe noembed noframes xmp plaintext noscript "
)

func among(list, name string) bool { return strings.Contains(list, " "+name+" ") }

// attribute finds attributes that people read.
var attribute = regexp.MustCompile(`(?i)(\s(?:alt|title|placeholder|aria-label)\s*=\s*)("[^"]*"|'[^']*')`)

// htmlReader takes an HTML text apart. It works on the tokens, not on a tree, so that what is not
// translated stays byte for byte, mended or not.
type htmlReader struct {
	p      pieces
	attrs  []segment // texts of attributes; translated after the rest
	seg    segment
	text   strings.Builder
	open   []openTag // inline tags of the present segment
	pre    int
	escape func(string) string
	xml    bool   // every element is inline, and only those of ignore are kept
	ignore string // names of elements, with spaces around
}

type openTag struct {
	name  string
	token int
}

// takeHTML reads HTML. Text of script, style and code, and of elements with translate="no" or the class
// notranslate, is kept.
func takeHTML(src string) *document {
	r := &htmlReader{escape: escapeHTML, ignore: keptElements}
	return r.take(src)
}

// takeXML reads a piece of XML, as DeepL's tag_handling does: every tag is inline, and elements named in ignore are kept.
func takeXML(src string, ignore []string) *document {
	r := &htmlReader{escape: escapeXML, xml: true, ignore: " " + strings.ToLower(strings.Join(ignore, " ")) + " "}
	return r.take(src)
}

func (r *htmlReader) take(src string) *document {
	z := html.NewTokenizer(strings.NewReader(strings.ReplaceAll(src, "\x00", "\ufffd")))
	for {
		if len(r.seg.tokens) >= maxMarks {
			r.flush()
		}
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			r.flush()
			return r.document()
		case html.TextToken:
			r.words(html.UnescapeString(string(z.Raw())))
		case html.StartTagToken, html.SelfClosingTagToken:
			raw := string(z.Raw())
			t := z.Token()
			if among(r.ignore, t.Data) || notTranslated(t.Attr) {
				raw = keepElement(z, t.Data, raw, kind == html.SelfClosingTagToken || !r.xml && among(voidElements, t.Data))
				r.kept(raw, r.inline(t.Data) || among(r.ignore, t.Data) && t.Data != "script" && t.Data != "style")
				continue
			}
			if r.xml && kind == html.SelfClosingTagToken {
				r.seg.add(&r.text, token{kind: atom, raw: raw})
				continue
			}
			r.start(t.Data, r.attributes(raw))
		case html.EndTagToken:
			raw := string(z.Raw())
			name, _ := z.TagName()
			r.end(string(name), raw)
		default: // comments, doctype
			raw := string(z.Raw())
			if r.text.Len() > 0 {
				r.seg.add(&r.text, token{kind: atom, raw: raw})
			} else {
				r.p.write(raw)
			}
		}
	}
}

func notTranslated(attrs []html.Attribute) bool {
	for _, a := range attrs {
		if a.Key == "translate" && strings.EqualFold(a.Val, "no") || a.Key == "class" && among(" "+strings.Join(strings.Fields(a.Val), " ")+" ", "notranslate") {
			return true
		}
	}
	return false
}

// keepElement reads up to the end of the element that raw begins, and gives all its bytes.
func keepElement(z *html.Tokenizer, name, raw string, closed bool) string {
	if closed {
		return raw
	}
	var b strings.Builder
	b.WriteString(raw)
	for depth := 1; depth > 0; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		b.Write(z.Raw())
		if kind != html.StartTagToken && kind != html.EndTagToken {
			continue
		}
		if n, _ := z.TagName(); string(n) == name {
			if kind == html.StartTagToken {
				depth++
			} else {
				depth--
			}
		}
	}
	return b.String()
}

func (r *htmlReader) words(text string) {
	if r.pre == 0 {
		text = collapse(text)
	}
	if r.text.Len() == 0 && strings.TrimSpace(text) == "" {
		r.p.write(r.escape(text))
		return
	}
	r.seg.protect(&r.text, text, r.escape)
}

// collapse makes every run of white space one space, or one line break at either end of the text, as HTML does not
// tell them apart.
func collapse(s string) string {
	var b strings.Builder
	space := false
	for _, c := range s {
		if c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f' {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(c)
	}
	if space {
		b.WriteByte(' ')
	}
	return b.String()
}

// kept takes an element that is not translated. Inline it stands for a word.
func (r *htmlReader) kept(raw string, inline bool) {
	if !inline {
		r.flush()
		r.p.write(raw)
		return
	}
	r.seg.add(&r.text, token{kind: word, raw: raw})
}

func (r *htmlReader) start(name, raw string) {
	switch {
	case !r.xml && among(voidInline, name):
		if r.text.Len() == 0 {
			r.p.write(raw)
			return
		}
		r.seg.add(&r.text, token{kind: atom, raw: raw})
	case r.inline(name) && len(r.open) < 64:
		i := r.seg.add(&r.text, token{kind: opening, raw: raw, mate: -1})
		r.open = append(r.open, openTag{name, i})
	default:
		r.flush()
		r.p.write(raw)
		if name == "pre" {
			r.pre++
		}
	}
}

func (r *htmlReader) inline(name string) bool { return r.xml || among(inlineElements, name) }

func (r *htmlReader) end(name, raw string) {
	if r.inline(name) {
		kind, mate := atom, -1
		if n := len(r.open); n > 0 && r.open[n-1].name == name {
			kind, mate = closing, r.open[n-1].token
			r.open = r.open[:n-1]
		}
		i := r.seg.add(&r.text, token{kind: kind, raw: raw, mate: mate})
		if mate >= 0 {
			r.seg.tokens[mate].mate = i
		}
		return
	}
	r.flush()
	r.p.write(raw)
	if name == "pre" && r.pre > 0 {
		r.pre--
	}
}

// attributes replaces the values that people read by references, to be filled in when they are translated.
func (r *htmlReader) attributes(raw string) string {
	if r.xml || !strings.Contains(raw, "=") {
		return raw
	}
	return attribute.ReplaceAllStringFunc(raw, func(m string) string {
		g := attribute.FindStringSubmatch(m)
		text := html.UnescapeString(g[2][1 : len(g[2])-1])
		if !hasWords(text) {
			return m
		}
		var s segment
		var b strings.Builder
		s.protect(&b, collapse(text), escapeAttribute)
		s.text = b.String()
		r.attrs = append(r.attrs, s)
		return g[1] + "\x00" + strconv.Itoa(len(r.attrs)-1) + "\x00"
	})
}

// flush ends the present segment.
func (r *htmlReader) flush() {
	for _, o := range r.open {
		r.seg.tokens[o.token].kind = atom // not closed within the block
	}
	r.open = r.open[:0]
	r.seg.text = r.text.String()
	if hasWords(r.seg.plain(r.seg.text)) {
		r.p.segment(r.seg)
	} else if r.seg.text != "" {
		r.p.write(r.seg.restore(r.seg.text, r.escape))
	}
	r.seg = segment{}
	r.text.Reset()
}

var reference = regexp.MustCompile("\x00[0-9]+\x00")

func (r *htmlReader) document() *document {
	d := r.p.document(r.escape)
	n := len(d.segs)
	d.segs = append(d.segs, r.attrs...)
	keep, body := r.p.keep, d.segs[:n]
	d.build = func(out []string) ([]byte, error) {
		var b strings.Builder
		for i := range body {
			b.WriteString(keep[i])
			b.WriteString(d.restore(i, out[i]))
		}
		b.WriteString(keep[n])
		return []byte(reference.ReplaceAllStringFunc(b.String(), func(m string) string {
			i, err := strconv.Atoi(m[1 : len(m)-1])
			if err != nil || i >= len(r.attrs) {
				return ""
			}
			return `"` + d.segs[n+i].restore(out[n+i], escapeAttribute) + `"`
		})), nil
	}
	return d
}

var (
	htmlEscaper      = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\u00a0", "&nbsp;")
	attributeEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\x00", "")
)

func escapeHTML(s string) string      { return htmlEscaper.Replace(s) }
func escapeAttribute(s string) string { return attributeEscaper.Replace(s) }
