package assist

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// docx is a small Word file with the paragraphs' XML.
func docx(t testing.TB, body string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	f, err := z.Create("word/document.xml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(`<?xml version="1.0"?><w:document xmlns:w="x"><w:body>` + body + `</w:body></w:document>`)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gb(t testing.TB, s string) []byte {
	t.Helper()
	b, err := simplifiedchinese.GB18030.NewEncoder().Bytes([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestExtract(t *testing.T) {
	word := docx(t, `<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Title</w:t></w:r></w:p><w:p><w:r><w:t>One </w:t></w:r><w:del><w:r><w:t>gone</w:t></w:r></w:del><w:r><w:t>two.</w:t></w:r></w:p>`)
	for name, c := range map[string]struct {
		file, kind string
		data       []byte
		title      string
		text       []string
		not        string
		faqs       int
		id         string
	}{
		"txt":          {file: "a.txt", data: []byte("plain\r\ntext"), text: []string{"plain\ntext"}},
		"markdown":     {file: "a.md", data: []byte("# T\n\nbody"), title: "T", text: []string{"body"}},
		"gb18030":      {file: "a.txt", data: gb(t, "退货需要在三十天之内办理。"), text: []string{"三十天"}},
		"utf16":        {file: "a.txt", data: []byte{0xff, 0xfe, 'h', 0, 'i', 0}, text: []string{"hi"}},
		"html":         {file: "a.html", data: []byte(`<title>Tit</title><nav>menu</nav><script>var x</script><h2>Head</h2><p>One <b>two</b></p><ul><li>three</ul>`), title: "Tit", text: []string{"## Head", "One two", "- three"}, not: "menu"},
		"html by type": {file: "page", kind: "text/html; charset=utf-8", data: []byte(`<p>x`), text: []string{"x"}},
		"docx":         {file: "a.docx", data: word, title: "Title", text: []string{"# Title", "One two."}, not: "gone"},
		"csv":          {file: "a.csv", data: []byte("language,question,answer\nen,Q1?,A1\nzh,问？,答\n,,\n"), faqs: 2},
		"csv plain":    {file: "a.csv", data: []byte("Q1?;A1\nQ2?;\"A2; more\"\n"), faqs: 2},
		"csv gbk":      {file: "a.csv", data: gb(t, "问题,答案\n怎么退货？,三十天内。\n"), faqs: 1},
		"empty":        {file: "a.txt", data: []byte(" \n"), id: "assist.no_text"},
		"program":      {file: "a.exe", data: []byte("MZ"), id: "assist.file_type"},
		"no word":      {file: "a.docx", data: []byte("PK no"), id: "assist.unreadable"},
		"bomb":         {file: "a.docx", data: docx(t, `<w:p><w:r><w:t>`+strings.Repeat("A", 40<<20)+`</w:t></w:r></w:p>`), id: "assist.document_too_large"},
		"deep":         {file: "a.docx", data: docx(t, strings.Repeat("<w:a>", 2000)), id: "assist.unreadable"},
		"large":        {file: "a.txt", data: bytes.Repeat([]byte("x"), maxFile+1), id: "assist.file_too_large"},
		"long":         {file: "a.txt", data: bytes.Repeat([]byte("x "), maxText), id: "assist.document_too_large"},
		"no questions": {file: "a.csv", data: []byte("a\nb\n"), id: "assist.no_faq"},
	} {
		t.Run(name, func(t *testing.T) {
			x, err := extract(c.file, c.kind, c.data)
			if c.id != "" {
				if problem.As(err).ID != c.id {
					t.Errorf("%v, want %s", err, c.id)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if x.title != c.title || len(x.faq) != c.faqs || c.not != "" && strings.Contains(x.text, c.not) {
				t.Errorf("got %+v", x)
			}
			for _, want := range c.text {
				if !strings.Contains(x.text, want) {
					t.Errorf("no %q in %q", want, x.text)
				}
			}
		})
	}
}

func checkPassages(t *testing.T, text string) {
	t.Helper()
	last := 0
	for _, p := range split(text) {
		if p.Start < last || p.End <= p.Start || p.End > len(text) {
			t.Fatalf("passage %+v after %d of %d", p, last, len(text))
		}
		if s := text[p.Start:p.End]; utf8.ValidString(text) && (!utf8.ValidString(s) || longer(s, passageRunes)) {
			t.Fatalf("passage of %d runes", utf8.RuneCountInString(s))
		}
		last = p.End
	}
}

func TestPassages(t *testing.T) {
	long := strings.Repeat("This is a sentence of some length. ", 200) + "\n\n" + strings.Repeat("这是一个句子。", 400) + strings.Repeat("x", 3000)
	checkPassages(t, "# A\n\n"+long+"\n## B\n\n"+long)
	p := split("# A\n\nintro\n\n## B\n\nbody\n\n```\n# no heading\n```\n\n# C\nend")
	var got []string
	for _, x := range p {
		got = append(got, x.Heading)
	}
	if strings.Join(got, "|") != "A|A › B|C" {
		t.Errorf("headings %q", got)
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("a.html", []byte("<h1>x</h1><p>y<table><tr><td>z"))
	f.Add("a.csv", []byte("question,answer\n\"a\nb\",c"))
	f.Add("a.docx", docx(f, "<w:p><w:t>x</w:t></w:p>"))
	f.Add("a.md", []byte("# a\n\n```\n# b\n"))
	f.Add("a.txt", []byte{0xff, 0xfe, 0x00})
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		x, err := extract(name, "", data)
		if err != nil {
			if problem.As(err).Kind == problem.Internal {
				t.Fatal(err)
			}
			return
		}
		for _, in := range x.inputs("file", name, "") {
			if strings.ContainsRune(in.text, 0) || !utf8.ValidString(in.text) {
				t.Fatalf("text %q", in.text)
			}
			checkPassages(t, in.text)
			ix := build(1, []indexed{{text: in.text, passages: split(in.text)}})
			for _, h := range ix.search(asQuery(in.text), 3) {
				found := found{ix: ix, hits: []hit{h}}
				_ = found.quote(name)
				_ = found.citations(1)
			}
		}
	})
}

func FuzzLiveMessage(f *testing.F) {
	f.Add([]byte(`{"type":"start","session":"ses_1","secret":"x"}`))
	f.Add([]byte(`{"type":`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseLive(data)
		if err != nil && problem.As(err).Kind == problem.Internal {
			t.Fatal(err)
		}
		if err == nil && m.Type == "" {
			t.Fatal("no type")
		}
	})
}
