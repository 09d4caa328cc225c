package text

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/engine"
)

func TestSentences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want []string
	}{
		{"Dr. Smith paid $3.50 for it. Was it worth it? Yes!", []string{"Dr. Smith paid $3.50 for it.", "Was it worth it?", "Yes!"}},
		{"The U.S. is big. J. R. Miller said so.", []string{"The U.S. is big.", "J. R. Miller said so."}},
		{"今天天气好。我们去玩吧！好", []string{"今天天气好。", "我们去玩吧！", "好"}},
		{"She said \"Go!\" Then we left.", []string{"She said \"Go!\"", "Then we left."}},
		{"A heading\n\nA line that goes\non here.", []string{"A heading", "A line that goes", "on here."}},
		{"…", nil},
		{"", nil},
	} {
		var got []string
		for _, sp := range sentences(c.text) {
			got = append(got, c.text[sp.start:sp.end])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q:\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestEntities(t *testing.T) {
	t.Parallel()
	seg := segmenter()
	for _, c := range []struct {
		text, lang string
		want       []string
	}{
		{"Dr. Jane Smith of Acme Corp paid $3,500.50 on 12 March 2024 at 3:30 pm.", "en",
			[]string{"person Jane Smith", "organisation Acme Corp", "money $3,500.50", "date 12 March 2024", "time 3:30 pm"}},
		{"Write to jane.smith@example.com or call +1 415 555 0132, see https://example.com/a?b=1.", "en",
			[]string{"email jane.smith@example.com", "phone +1 415 555 0132", "url https://example.com/a?b=1"}},
		{"Yesterday Barack Obama flew from New York to Berlin. The Bank of China rose 15%.", "en",
			[]string{"date Yesterday", "person Barack Obama", "location New York", "location Berlin", "organisation Bank of China", "percent 15%"}},
		{"Card 4111 1111 1111 1111, not 4111 1111 1111 1112; server 192.168.0.1, not 300.1.1.1.", "en",
			[]string{"card_number 4111 1111 1111 1111", "ip_address 192.168.0.1"}},
		{"王小明昨天在北京大学花了3000元，电话13812345678，2024年5月1日下午三点半见李娜女士。", "zh",
			[]string{"person 王小明", "date 昨天", "organisation 北京大学", "money 3000元", "phone 13812345678", "date 2024年5月1日", "time 下午三点半", "person 李娜"}},
		{"My order has not arrived.", "en", nil},
	} {
		var got []string
		for _, e := range entities(c.text, c.lang, seg) {
			got = append(got, e.Type+" "+e.Text)
			if rs := []rune(c.text); string(rs[e.Start:e.End]) != e.Text {
				t.Errorf("%q is not at %d:%d", e.Text, e.Start, e.End)
			}
		}
		if c.lang == "en" {
			got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, "name ") })
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestSegmenter(t *testing.T) {
	t.Parallel()
	seg := segmenter()
	for text, want := range map[string]string{
		"研究生命起源":                   "研究 生命 起源",
		"王小明买了一台5G手机。":             "王小明 买 了 一台 5G 手机",
		"Hello world's well-known": "Hello world's well-known",
		"":                         "",
	} {
		if got := strings.Join(seg.Cut(text), " "); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestWordTable looks words of the dictionary up as the segmenter does, a character more each time.
func TestWordTable(t *testing.T) {
	t.Parallel()
	var table wordTable
	if err := table.read(chineseWords); err != nil {
		t.Fatal(err)
	}
	n := len(table.logp)
	if n < 300_000 || len(table.tags) > 255 || table.rare >= slices.Min(table.logp) {
		t.Fatalf("%d words, %d tags, rare %f", n, len(table.tags), table.rare)
	}
	for i := 0; i < n; i += 97 {
		w, like, hit := table.word(i), stretch{0, n}, -1
		for j, r := range w {
			like, hit = table.narrow(like, w[:j+utf8.RuneLen(r)])
		}
		if hit != i || like.from != i {
			t.Errorf("%s is %d, not %d", w, i, hit)
		}
	}
	if like, hit := table.narrow(stretch{0, n}, "不是一个词"); hit >= 0 || like.from != like.to {
		t.Errorf("%v %d", like, hit)
	}
}

// TestLaws hold for any text: parts lie within it and in order, scores within their bounds, and nothing panics.
func TestLaws(t *testing.T) {
	t.Parallel()
	seg, lex, ids := segmenter(), &lexicons{}, NewIdentifier("")
	words := rapid.SampledFrom([]string{"good", "not", "bad", "very", "but", "电池", "很", "不好", "但是", "😍", ".", "!", "。", ",", "\n", "Berlin", "$5", "a@b.co", "x", "É", "\u0301", "é", "12:30"})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(rapid.OneOf(words, rapid.StringN(0, 8, 32)), 0, 30).Draw(t, "words"), rapid.SampledFrom([]string{"", " "}).Draw(t, "gap"))
		at := 0
		for _, sp := range sentences(s) {
			if sp.start < at || sp.end <= sp.start || sp.end > len(s) {
				t.Fatalf("sentence %v of %q", sp, s)
			}
			at = sp.end
		}
		at = 0
		for _, w := range seg.Words(s) {
			if w.Start < at || w.End <= w.Start || s[w.Start:w.End] != w.Text {
				t.Fatalf("word %+v of %q", w, s)
			}
			at = w.End
		}
		at = 0
		for _, e := range entities(s, "en", seg) {
			if e.Start < at || e.End > utf8.RuneCountInString(s) {
				t.Fatalf("entity %+v of %q", e, s)
			}
			at = e.End
		}
		for _, lang := range []string{"en", "zh"} {
			a := &analyst{lex: lex.of(lang), lang: lang, seg: seg}
			whole, _, cs := a.document(s)
			for _, x := range a.aspects(s, cs, nil) {
				if x.Score < -1 || x.Score > 1 {
					t.Fatalf("aspect %+v", x)
				}
			}
			if whole.Score < -1 || whole.Score > 1 || whole.Confidence < 0 || whole.Confidence > 1 {
				t.Fatalf("%+v for %q", whole, s)
			}
			picked, err := summarise(context.Background(), s, lang, "", seg, 3)
			if err != nil || len(picked) > 3 {
				t.Fatalf("summary %v, %v", picked, err)
			}
			if k := keywords(s, lang, seg, 5); len(k) > 5 {
				t.Fatalf("%d keywords", len(k))
			}
		}
		for _, c := range ids.Candidates(s, 5) {
			if c.Code == "" || !(c.Confidence >= 0 && c.Confidence <= 1) {
				t.Fatalf("%+v", c)
			}
		}
		for i, x := range hashed(s) {
			if x != x {
				t.Fatalf("number %d of the vector", i)
			}
		}
	})
}

func TestSummaryFollowsQuery(t *testing.T) {
	t.Parallel()
	text := "Solar power is growing quickly around the world. Many countries install solar panels every year. The price of panels has fallen. Storage remains a challenge, because the sun does not shine at night. Governments support solar power."
	p, err := summarise(context.Background(), text, "en", "storage at night", segmenter(), 1)
	if err != nil || len(p) != 1 || !strings.HasPrefix(p[0].Text, "Storage") {
		t.Errorf("%v %v", p, err)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{"text,label\nhi there,greeting\n\"a, b\",list\n", "[{hi there greeting} {a, b list}]"},
		{"\uFEFFcategory,text\ngreeting,hi\n", "[{hi greeting}]"},
		{"hi,greeting\nbye,farewell\n", "[{hi greeting} {bye farewell}]"},
		{"text\tlabel\nhi, you\tgreeting\n", "[{hi, you greeting}]"},
		{"内容;标签\n你好;问候\n", "[{你好 问候}]"},
		{"text,label\nonly one\n", ""},
		{"", "[]"},
	} {
		got, err := readCSV([]byte(c.body))
		if s := fmt.Sprint(got); err == nil && s != c.want || err != nil && c.want != "" {
			t.Errorf("%q: %s, %v", c.body, s, err)
		}
	}
}

// TestLarge: long texts of the worst kinds are done in a time that grows with their length alone.
func TestLarge(t *testing.T) {
	t.Parallel()
	seg, lex := segmenter(), &lexicons{}
	fill := func(s string) string { return cut(strings.Repeat(s, MaxText/10), MaxText/10) }
	for _, s := range []string{fill("GOOD "), fill("x. "), fill("a.a"), fill("long line without an end but with many words and commas,\n"), fill("Bad Name "), fill("电池很好，"), fill("好"),
		fill("1 "), fill("@"), fill("😍"), fill("https://"), fill("((((")} {
		for _, lang := range []string{"en", "zh"} {
			a := &analyst{lex: lex.of(lang), lang: lang, seg: seg}
			_, _, cs := a.document(s)
			a.aspects(s, cs, nil)
			keywords(s, lang, seg, 10)
		}
		entities(s, "en", seg)
		if _, err := summarise(context.Background(), s, "en", "", seg, 5); err != nil && !strings.Contains(err.Error(), "too_many_sentences") {
			t.Errorf("%.10q: %v", s, err)
		}
		NewIdentifier("").Identify(s)
		hashed(s)
	}
}

// TestMixed holds for the lexicons alone and with what is installed.
func TestMixed(t *testing.T) {
	t.Parallel()
	for _, dir := range []engine.Dir{"", enginesDir(t)} {
		e, err := New(Options{Dir: dir, Segmenter: segmenter()})
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range []string{"The delivery was late, but the support was wonderful.", "客服非常好，但是物流很慢"} {
			a, err := e.analyst("", x)
			if err != nil {
				t.Fatal(err)
			}
			s, _, all := a.document(x)
			if s.Label != "mixed" {
				t.Errorf("%s: %+v", x, s)
			}
			if found := a.aspects(x, all, nil); len(found) != 2 || found[0].Label == found[1].Label {
				t.Errorf("%s: %+v", x, found)
			}
		}
	}
}
