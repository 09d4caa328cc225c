package translate

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// drawSegment makes text with marks of all kinds whose tags nest.
func drawSegment(t *rapid.T) *segment {
	s := &segment{}
	var b strings.Builder
	var open []int
	for range rapid.IntRange(0, 12).Draw(t, "pieces") {
		switch rapid.IntRange(0, 5).Draw(t, "piece") {
		case 0:
			s.add(&b, token{kind: atom})
		case 1:
			s.add(&b, token{kind: word, text: "{x}"})
		case 2:
			open = append(open, s.add(&b, token{kind: opening, mate: -1}))
		case 3:
			if n := len(open); n > 0 {
				o := open[n-1]
				open = open[:n-1]
				s.tokens[o].mate = s.add(&b, token{kind: closing, mate: o})
			}
		default:
			b.WriteString(rapid.SampledFrom([]string{"big", " red ", ". ", "^a$", "[x]", "\\", "@/*{}<>", "家", " "}).Draw(t, "text"))
		}
	}
	for len(open) > 0 {
		o := open[len(open)-1]
		open = open[:len(open)-1]
		s.tokens[o].mate = s.add(&b, token{kind: closing, mate: o})
	}
	s.text = b.String()
	return s
}

// What a pipeline that changes nothing gives back is the sentence, up to spaces and to where tags begin before a blank.
func TestStreamRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSegment(t)
		if !s.sound(s.text, s.text) {
			t.Fatalf("%q is not sound", s.text)
		}
		stream := encodeStream(s, s.text)
		if strings.ContainsRune(stream, 0) {
			t.Fatal("a NUL within")
		}
		got, ok := decodeStream(s, s.text, stream)
		if squeeze := func(x string) string { return strings.Join(strings.Fields(stripMarks(x)), "") }; !ok || squeeze(got) != squeeze(s.text) {
			t.Fatalf("%q\n%s\n%q %v", s.text, stream, got, ok)
		}
	})
}

func FuzzStream(f *testing.F) {
	f.Add(`La casa [[t:x:0]]roja[[/]] [[t:x:0]]grande[[/]] de [{2}] \$5.[]`)
	f.Fuzz(func(t *testing.T, stream string) {
		s := &segment{}
		var b strings.Builder
		o := s.add(&b, token{kind: opening})
		b.WriteString("big red")
		s.tokens[o].mate = s.add(&b, token{kind: closing, mate: o})
		s.add(&b, token{kind: word})
		if got, ok := decodeStream(s, b.String(), stream); ok && !s.sound(b.String(), got) {
			t.Fatalf("%q", got)
		}
	})
}

func TestSound(t *testing.T) {
	s := inline("**a** [b](c) `d`") // marks: ** 0 1, [ 2 3, ` 4
	m := func(i int) string { return string(mark(i)) }
	in := m(0) + "a" + m(1) + " " + m(2) + "b" + m(3) + " " + m(4)
	if in != s.text {
		t.Fatalf("%q", s.text)
	}
	for out, want := range map[string]bool{
		in:                                           true,
		m(2) + "x" + m(3) + m(4) + m(0) + m(1):       true,
		m(0) + "a" + m(1) + m(2) + "b" + m(3):        false, // one is missing
		in + m(4):                                    false, // one is twice
		m(0) + m(2) + m(1) + m(3) + m(4):             false, // tags cross
		m(0) + m(2) + "b" + m(3) + m(1) + m(4):       false, // a link came into bold
		m(1) + m(0) + m(2) + m(3) + m(4):             false,
		strings.ReplaceAll(in, "a", string(mark(9))): false,
	} {
		if s.sound(in, out) != want {
			t.Errorf("%q: want %v", out, want)
		}
	}
}

func TestApertium(t *testing.T) {
	e := newEngine(t)
	withApertium(t, e)
	for _, c := range []struct{ from, to, in, want, via string }{
		{"en", "es", "The house is big.", "La casa es grande.", ""},
		{"es", "en", "La casa es grande.", "The house is big.", ""},
		{"es", "ca", "La casa es grande.", "La casa és gran.", ""},
		{"en", "fr", "The house is big.", "La maison est grande.", "es"},
	} {
		got := first(t, post(t, e, "/v1/translate", map[string]any{"text": c.in, "source": c.from, "target": c.to}))
		if got["text"] != c.want || got["quality"] != qualityRules || got["engine"] != "apertium" || c.via != "" && got["via"] != c.via {
			t.Errorf("%s → %s: %v", c.from, c.to, got)
		}
	}
	got := first(t, post(t, e, "/v1/translate", map[string]any{"text": `<p>The <b>red</b> house of {name} is <a href="x">big</a>.</p>`, "format": "html", "source": "en", "target": "es", "glossary": map[string]string{"house": "CASA"}, "context": "x", "formality": "more"}))
	if want := `<p>La CASA <b>roja</b> de {name} es <a href="x">grande</a>.</p>`; !strings.Contains(got["text"].(string), "CASA") || !strings.Contains(got["text"].(string), "<b>roj") || !strings.Contains(got["text"].(string), `de {name} es <a href="x">grande</a>.</p>`) || len(got["ignored"].([]any)) != 2 {
		t.Errorf("%v, like %s", got, want)
	}
	doc := docxOf(`<w:p><w:r><w:t xml:space="preserve">The </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>red</w:t></w:r><w:r><w:t xml:space="preserve"> house</w:t></w:r></w:p>`)
	data, err := base64.StdEncoding.DecodeString(post(t, e, "/v1/translate", map[string]any{"document": doc, "format": "docx", "source": "en", "target": "es"})["document"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := partOf(t, data, "word/document.xml"), `La casa </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t xml:space="preserve">roja</w:t>`; !strings.Contains(got, want) {
		t.Errorf("%s, want %s", got, want)
	}
}

// Characters of Apertium's stream format, NULs and line breaks in a text do no harm to it or to the next one.
func TestApertiumSpecialCharacters(t *testing.T) {
	e := newEngine(t)
	withApertium(t, e)
	for _, in := range []string{`^a/b$ [c] {d} <e> @f \g *h #i ~j +k`, "a\x00b\x00", "a\u2028b\r\n\n\tc", strings.Repeat("[[t:x:1]]big[[/]] ", 20), strings.Repeat("a", 5000), "\U000F0000\U000FFFFD"} {
		post(t, e, "/v1/translate", map[string]any{"text": in, "source": "en", "target": "es"})
		if got := first(t, post(t, e, "/v1/translate", map[string]any{"text": "The house is big.", "source": "en", "target": "es"})); got["text"] != "La casa es grande." {
			t.Fatalf("after %q: %v", in, got)
		}
	}
}

func TestLanguages(t *testing.T) {
	e := newEngine(t)
	a := answer(t, e, "GET", "/v1/translate/languages", "", nil)
	found := false
	for _, p := range a["pairs"].([]any) {
		m := p.(map[string]any)
		found = found || m["source"] == "zh" && m["target"] == "en" && m["quality"] == qualityDictionary
	}
	if !found {
		t.Error("zh → en is missing")
	}
	for _, i := range e.Describe() {
		if i.Engine == "" || i.Licence == "" || !i.Ready && i.Need == "" {
			t.Errorf("%+v", i)
		}
	}
}

// Without Apertium, the answer says which package would help.
func TestApertiumMissing(t *testing.T) {
	dir := t.TempDir()
	e := newEngine(t)
	e.apt.modes = dir
	refused(t, e, "POST", "/v1/translate", "application/json", []byte(`{"text":"a","source":"en","target":"es"}`), "engine.missing")
	if got := post(t, e, "/v1/translate", map[string]any{"text": "Hello", "source": "en", "target": "zh"}); got["engine"] != "cc-cedict" {
		t.Errorf("%v", got)
	}
	if i := e.Describe(); i[len(i)-1].Ready || i[len(i)-1].Need == "" {
		t.Errorf("%+v", i)
	}
	var _ engine.Describer = e
}

func BenchmarkApertium(b *testing.B) {
	e := newEngine(b)
	withApertium(b, e)
	post(b, e, "/v1/translate", map[string]any{"text": "Hello.", "source": "en", "target": "es"})
	b.ReportAllocs()
	for b.Loop() {
		post(b, e, "/v1/translate", map[string]any{"text": "I do not know where my brother lives now.", "source": "en", "target": "es"})
	}
}

func BenchmarkApertiumPivot(b *testing.B) {
	e := newEngine(b)
	withApertium(b, e)
	post(b, e, "/v1/translate", map[string]any{"text": "Hello.", "source": "en", "target": "fr"})
	b.ReportAllocs()
	for b.Loop() {
		post(b, e, "/v1/translate", map[string]any{"text": "I do not know where my brother lives now.", "source": "en", "target": "fr"})
	}
}

func BenchmarkDictionary(b *testing.B) {
	e := newEngine(b)
	for name, body := range map[string]map[string]any{
		"en-zh": {"text": "I do not know where my brother lives now.", "source": "en", "target": "zh"},
		"zh-en": {"text": "我不知道我的兄弟现在住在哪里。", "source": "zh", "target": "en"},
	} {
		b.Run(name, func(b *testing.B) {
			post(b, e, "/v1/translate", body)
			b.ReportAllocs()
			for b.Loop() {
				post(b, e, "/v1/translate", body)
			}
		})
	}
}

func BenchmarkLoadDictionary(b *testing.B) {
	b.ReportAllocs()
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / 1e6
	}
	before := heap()
	var x *lexicon
	for b.Loop() {
		var err error
		if x, err = readLexicon(cedictData); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(heap()-before, "MB-kept")
	runtime.KeepAlive(x)
}

func BenchmarkHTML(b *testing.B) {
	page := []byte(strings.Repeat(`<p class="x">The <b>red</b> house of {name} is <a href="x">big</a>.</p>`, 500))
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		shout(b, formatHTML, page)
	}
}

// However many pairs are asked for, few have processes; and a caller that leaves does no harm to the next.
func TestApertiumBounds(t *testing.T) {
	e := newEngine(t)
	withApertium(t, e)
	n := 0
	for _, p := range e.apt.pairs() {
		if _, done, err := e.apt.take(p.model); err != nil {
			t.Fatal(err)
		} else {
			done()
		}
		if n++; len(e.apt.pools) > maxPipelines {
			t.Fatalf("%d pipelines", len(e.apt.pools))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	j := func() *job {
		return &job{source: "en", target: "es", format: formatText, docs: []*document{takeText("The house is big.")}}
	}
	p := e.routes.find("en", "es", "")[0]
	s := plainSegment("The house is big.")
	if _, err := e.apt.translate(ctx, p, []input{{&s, s.text}}, hints{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if all, err := e.run(t.Context(), j(), nil); err != nil || all[0].Text != "La casa es grande." {
		t.Errorf("%v %v", all, err)
	}
}

func TestPanicInAPipeline(t *testing.T) {
	var log strings.Builder
	a := newApertium("", slog.New(slog.NewTextHandler(&log, nil)))
	err := engine.Guard(a.log, "a test", func() error {
		_, err := converse(io.Discard, nil, []input{{nil, "text"}})
		return err
	})
	if err == nil || !strings.Contains(log.String(), "converse") {
		t.Errorf("%v, logged: %s", err, log.String())
	}
}
