package translate

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// shout translates a document by a machine that cannot fail: letters become capitals.
func shout(t testing.TB, format string, data []byte) []byte {
	t.Helper()
	d, err := takeApart(format, data)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(d.segs))
	for i := range d.segs {
		out[i] = strings.ToUpper(d.segs[i].text)
	}
	got, err := d.build(out)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestDocuments(t *testing.T) {
	for name, c := range map[string]struct{ format, in, want string }{
		"text":        {formatText, "Hello {name}, see https://x.org/a?b. Bye", "HELLO {name}, SEE https://x.org/a?b. BYE"},
		"placeholder": {formatText, "%s of {{x}} at %(n)s: ${y} 100% sure", "%s OF {{x}} AT %(n)s: ${y} 100% SURE"},
		"html":        {formatHTML, `<p class=a>one <b>two</b> &amp; three</p><script>no</script>`, `<p class=a>ONE <b>TWO</b> &amp; THREE</p><script>no</script>`},
		"html kept":   {formatHTML, `a <code>b</code> <span translate="no">c <i>d</i></span><i class="x notranslate">e</i><style>f</style>`, `A <code>b</code> <span translate="no">c <i>d</i></span><i class="x notranslate">e</i><style>f</style>`},
		"html attr":   {formatHTML, `<img alt="a dog" src="a dog"><a title='x "y"'>b</a>`, `<img alt="A DOG" src="a dog"><a title="X &quot;Y&quot;">B</a>`},
		"html broken": {formatHTML, `<b>one<p>two</i> three`, `<b>ONE<p>TWO</i> THREE`},
		"markdown": {formatMarkdown, "---\na: b\n---\n# Title\n\ntext *with* `code` and [link](u \"t\")\nsoft\n\n    indented\n\n- [ ] item\n\n| a | `b` |\n|---|---|\n\n```\nfence\n```\n[1]: http://x\n",
			"---\na: b\n---\n# TITLE\n\nTEXT *WITH* `code` AND [LINK](u \"t\") SOFT\n\n    indented\n\n- [ ] ITEM\n\n| A | `b` |\n|---|---|\n\n```\nfence\n```\n[1]: http://x\n"},
		"json": {formatJSON, `{"key": "a text", "n": 1.50, "id": "a_b", "u": "https://x.org", "l": ["b \"c\" {d}", null], "one":"word"}`,
			`{"key": "A TEXT", "n": 1.50, "id": "a_b", "u": "https://x.org", "l": ["B \"C\" {d}", null], "one":"WORD"}`},
		"srt": {formatSRT, "1\r\n00:00:01,000 --> 00:00:02,000\r\none\r\n<i>two</i>\r\n\r\n2\n00:00:03,000 --> 00:00:04,000\n- a b\n- c\n", "1\r\n00:00:01,000 --> 00:00:02,000\r\nONE\n<i>TWO</i>\r\n\r\n2\n00:00:03,000 --> 00:00:04,000\n- A B\n- C\n"},
		"vtt": {formatVTT, "WEBVTT\n\nNOTE no\n\nid\n00:01.000 --> 00:02.000 align:start\n<v Bob>hello {\\an8}\n", "WEBVTT\n\nNOTE no\n\nid\n00:01.000 --> 00:02.000 align:start\n<v Bob>HELLO {\\an8}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, string(shout(t, c.format, []byte(c.in)))); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func TestGeneratedStructureSurvives(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, f := range []string{formatHTML, formatMarkdown, formatJSON, formatSRT, formatVTT, formatDOCX} {
		for range 20 {
			doc := generate(f, rng)
			if d := cmp.Diff(skeleton(f, doc), skeleton(f, shout(t, f, doc))); d != "" {
				t.Fatalf("%s (-before +after):\n%s\n%s", f, d, doc)
			}
		}
	}
}

func TestXMLKeepsTags(t *testing.T) {
	d := takeXML(`a <x id="1">b <y/></x> <keep>c</keep>`, []string{"keep"})
	if len(d.segs) != 1 {
		t.Fatalf("%d segments", len(d.segs))
	}
	got, err := d.build([]string{strings.ToUpper(d.segs[0].text)})
	if want := `A <x id="1">B <y/></x> <keep>c</keep>`; err != nil || string(got) != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
}

func docxOf(body string) []byte {
	return zipped(map[string]string{"word/document.xml": `<w:document xmlns:w="x"><w:body>` + body + `</w:body></w:document>`})
}

func partOf(t testing.TB, data []byte, name string) string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// A sentence that Word has cut into runs of one look is one text; a hyperlink and a tab end a run.
func TestDOCXRuns(t *testing.T) {
	in := docxOf(`<w:p><w:r><w:t>one </w:t></w:r><w:proofErr/><w:r><w:t>two</w:t></w:r><w:hyperlink><w:r><w:t>three</w:t></w:r></w:hyperlink><w:r><w:t> four &lt;</w:t></w:r></w:p>`)
	d, err := takeApart(formatDOCX, in)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.segs) != 1 || stripMarks(d.segs[0].text) != "one twothree four <" {
		t.Fatalf("%+v", d.segs)
	}
	got := partOf(t, shout(t, formatDOCX, in), "word/document.xml")
	for _, want := range []string{`>ONE TWO</w:t>`, `<w:t xml:space="preserve"></w:t>`, `>THREE</w:t>`, `> FOUR &lt;</w:t>`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in %s", want, got)
		}
	}
}

// A look goes where its words go, also where the paragraph has no run of that look at the place.
func TestDOCXLooks(t *testing.T) {
	const bold = `<w:rPr><w:b/></w:rPr>`
	run := func(look, text string) string {
		return `<w:r>` + look + `<w:t xml:space="preserve">` + text + `</w:t></w:r>`
	}
	moved := func(text string) string { // "big ⟨red⟩ house" → "house ⟨red⟩ big"
		var words []string
		for _, w := range strings.Fields(text) {
			words = append([]string{w}, words...)
		}
		return strings.Join(words, " ")
	}
	for in, want := range map[string]string{
		run("", "big ") + run(bold, "red") + run("", " house"):            run("", "house ") + run(bold, "red") + run("", " big"),
		run(bold, "red") + run("", " house of stone"):                     run(bold, "") + run("", "stone of house ") + run(bold, "red"),
		run("", "the big house is ") + run(bold, "red"):                   run("", "") + run(bold, "red") + run("", " is house big the"),
		run(bold, "red") + `<w:r><w:tab/><w:t>a big house</w:t></w:r>`:    run(bold, "red") + `<w:r><w:tab/><w:t xml:space="preserve">a big house</w:t></w:r>`,
		run("", "the house ") + run(bold, " ") + run("", "of the family"): run("", "family the of house the") + run(bold, "") + run("", ""),
	} {
		d, err := takeApart(formatDOCX, docxOf(`<w:p>`+in+`</w:p>`))
		if err != nil || len(d.segs) != 1 {
			t.Fatal(err, len(d.segs))
		}
		out := d.segs[0].text
		if !strings.Contains(in, "tab") {
			out = moved(out)
		}
		data, err := d.build([]string{out})
		if err != nil {
			t.Fatal(err)
		}
		if got := partOf(t, data, "word/document.xml"); !strings.Contains(got, "<w:p>"+want+"</w:p>") {
			t.Errorf("%s\nbecame %s\nwant   %s", in, got, want)
		}
	}
}

func TestBadDocuments(t *testing.T) {
	var bomb bytes.Buffer
	z := zip.NewWriter(&bomb)
	f, err := z.Create("word/document.xml")
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range maxPartBytes>>20 + 1 {
		if _, err := f.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		format string
		data   []byte
		id     string
	}{
		"latin-1":         {formatText, []byte("caf\xe9"), "translate.not_utf8"},
		"json":            {formatJSON, []byte(`{"a":`), "translate.bad_json"},
		"srt":             {formatSRT, []byte("hello"), "translate.no_cues"},
		"docx":            {formatDOCX, []byte("PK\x03\x04 not really"), "translate.bad_docx"},
		"docx without":    {formatDOCX, zipped(map[string]string{"a.txt": "a"}), "translate.bad_docx"},
		"docx cut":        {formatDOCX, docxOf(`<w:p><w:r>`)[:100], "translate.bad_docx"},
		"docx unbalanced": {formatDOCX, docxOf(`<w:p><w:r>`), "translate.bad_docx"},
		"docx bomb":       {formatDOCX, bomb.Bytes(), "translate.docx_too_large"},
		"too many cells":  {formatJSON, []byte("[" + strings.Repeat(`"a b",`, maxSegments) + `"a b"]`), "translate.too_many_segments"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := takeApart(c.format, c.data); err == nil || problem.As(err).ID != c.id {
				t.Errorf("error %v, want %s", err, c.id)
			}
		})
	}
}

func TestSentences(t *testing.T) {
	for in, want := range map[string][]string{
		"One. Two! Three":                {"One.", "Two!", "Three"},
		"Mr. Smith paid $1.50. Fine.":    {"Mr. Smith paid $1.50.", "Fine."},
		"你好。你好吗？好":                       {"你好。", "你好吗？", "好"},
		"a line\nanother":                {"a line", "another"},
		`He said "No." Then he left.`:    {`He said "No."`, "Then he left."},
		strings.Repeat("word ", 400):     {strings.TrimSpace(strings.Repeat("word ", 240)), strings.TrimSpace(strings.Repeat("word ", 160))},
		"e.g. this is one sentence only": {"e.g. this is one sentence only"},
	} {
		s := plainSegment(in)
		var got []string
		whole := ""
		for _, sn := range s.sentences(s.text) {
			got = append(got, sn.text)
			whole += sn.before + sn.text + sn.after
		}
		if !slices.Equal(got, want) || whole != s.text {
			t.Errorf("%q gives %q", in, got)
		}
	}
}

func FuzzHTML(f *testing.F) {
	f.Add(`<p class=a>one <b>two</b> &amp; <img alt="x y"></p><script>a</script><pre> b </pre>`)
	f.Add("<a title='a b\x00c'><b></a></b><textarea><p>")
	f.Fuzz(func(t *testing.T, src string) {
		if !strings.Contains(src, "\x00") {
			d := takeHTML(src)
			out := make([]string, len(d.segs))
			for i := range d.segs {
				out[i] = d.segs[i].text
			}
			got, err := d.build(out)
			if err != nil {
				t.Fatal(err)
			}
			if before, after := tagsOf(src), tagsOf(string(got)); !slices.Equal(before, after) {
				t.Fatalf("%q\n%q\n%q", before, after, got)
			}
			return
		}
		if _, err := takeHTML(src).build(make([]string, len(takeHTML(src).segs))); err != nil {
			t.Fatal(err)
		}
	})
}

func tagsOf(src string) (tags []string) {
	z := html.NewTokenizer(strings.NewReader(src))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return tags
		case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			tags = append(tags, string(name))
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	f.Add(string(generate(formatMarkdown, rng)))
	f.Add("[a](b **c* `d\n\n> - 1. # e\n|f|g\\|h|\n***\n")
	f.Fuzz(func(t *testing.T, src string) {
		identity(t, formatMarkdown, []byte(src), func(before, after string) bool {
			return strings.Join(strings.Fields(before), "") == strings.Join(strings.Fields(after), "")
		})
	})
}

func FuzzSubtitles(f *testing.F) {
	f.Add("1\n00:00:01,000 --> 00:00:02,000\none\n<i>two</i>\n\n")
	f.Fuzz(func(t *testing.T, src string) {
		identity(t, formatSRT, []byte(src), func(before, after string) bool {
			return strings.Join(strings.Fields(before), "") == strings.Join(strings.Fields(after), "")
		})
	})
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"a":"b c","d":[1,"e {f}\u00e9"]}`)
	f.Fuzz(func(t *testing.T, src string) {
		identity(t, formatJSON, []byte(src), func(before, after string) bool {
			var a, b any
			return json.Unmarshal([]byte(before), &a) == nil && json.Unmarshal([]byte(after), &b) == nil && fmt.Sprint(a) == fmt.Sprint(b)
		})
	})
}

func FuzzDOCX(f *testing.F) {
	f.Add(`<w:p><w:r><w:rPr><w:b/></w:rPr><w:t>one</w:t></w:r><w:r><w:t/></w:r></w:p>`, []byte("PK"))
	f.Fuzz(func(t *testing.T, body string, raw []byte) {
		if d, err := takeApart(formatDOCX, raw); err == nil {
			_, _ = d.build(make([]string, len(d.segs)))
		}
		data := docxOf(body)
		d, err := takeApart(formatDOCX, data)
		if err != nil {
			return
		}
		out := make([]string, len(d.segs))
		for i := range d.segs {
			out[i] = d.segs[i].text
		}
		got, err := d.build(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := takeApart(formatDOCX, got); err != nil {
			t.Fatalf("%v: %s", err, partOf(t, got, "word/document.xml"))
		}
	})
}

// identity checks that a document whose translation is itself stays as it was.
func identity(t *testing.T, format string, data []byte, alike func(before, after string) bool) {
	d, err := takeApart(format, data)
	if err != nil {
		return
	}
	out := make([]string, len(d.segs))
	for i := range d.segs {
		out[i] = d.segs[i].text
	}
	got, err := d.build(out)
	if err != nil {
		t.Fatal(err)
	}
	if !alike(string(data), string(got)) && !strings.ContainsFunc(string(data), isMark) {
		t.Fatalf("%q became %q", data, got)
	}
}

// More tags than there are marks: the text is cut, and none is lost.
func TestManyTags(t *testing.T) {
	src := "<p><b>" + strings.Repeat("a<br>", 70_000) + "</b></p>"
	if got := string(shout(t, formatHTML, []byte(src))); !strings.EqualFold(got, src) {
		t.Errorf("%d bytes became %d", len(src), len(got))
	}
	runs := docxOf("<w:p>" + strings.Repeat(`<w:r><w:t>a</w:t></w:r><w:r><w:tab/></w:r>`, 25_000) + "</w:p>")
	if got := partOf(t, shout(t, formatDOCX, runs), "word/document.xml"); strings.Count(got, "A") != 25_000 {
		t.Errorf("%d letters", strings.Count(got, "A"))
	}
}
