package assist

import (
	"strings"
	"testing"
)

func TestStem(t *testing.T) {
	for _, list := range []string{"install installs installed installing installation", "charge charges charged charging", "translate translated translating translation",
		"refund refunds refunded", "policy policies", "hop hopped hopping", "agreed agree", "sky", "is", "café", "responsible responsibly"} {
		words := strings.Fields(list)
		for _, w := range words[1:] {
			if a, b := stem(words[0]), stem(w); a != b {
				t.Errorf("%s is %q, %s is %q", words[0], a, w, b)
			}
		}
	}
	if stem("café") != "café" || stem("number") == stem("numb") {
		t.Error("too much was taken off")
	}
}

// TestQuery: phrases that mean the same are one concept; fillers count little, or in Chinese not at all.
func TestQuery(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"top up", "add credit"}, {"money back", "refund"}, {"充值", "recharging"}, {"转人工", "hand over"}, {"rate limits", "throttled"},
	} {
		a, b := asQuery(c.a), asQuery(c.b)
		if len(a.concepts) != 1 || len(b.concepts) != 1 {
			t.Errorf("%v: %d and %d concepts", c, len(a.concepts), len(b.concepts))
			continue
		}
		ix := build(1, []indexed{{text: c.b, passages: []passage{{"", 0, len(c.b)}}}})
		if n := ix.counts(a.concepts[0], ""); len(n) != 1 {
			t.Errorf("%q is not found by %q", c.b, c.a)
		}
	}
	q := asQuery("How can I please get a refund immediately?")
	if q.asked() != 1 {
		t.Errorf("%d words say something: %v", q.asked(), q.concepts)
	}
	if q := asQuery("请问怎么退款呢？"); len(q.concepts) != 1 {
		t.Errorf("%v", q.concepts)
	}
	if q := asQuery(""); len(q.concepts) != 0 || len(build(1, nil).search(q, 3)) != 0 {
		t.Error("nothing asks something")
	}
}

// TestSamples: what is a sample of code in Markdown, and nothing else, is one; it answers no question by words that it alone has.
func TestSamples(t *testing.T) {
	const doc = "# A\n\nCall it:\n\n    curl -d \"delivery\"\n\n    more\n\ntext\n    wrapped\n\n- item\n\n    of the list\n\nend\n```sh\nfenced\n```\nlast\n"
	rest, out := without(doc, samples(doc), 0, len(doc))
	if out != "    curl -d \"delivery\"\n    more\n```sh\nfenced\n```\n" || strings.Contains(rest, "curl") || !strings.Contains(rest, "of the list") || !strings.Contains(rest, "wrapped") {
		t.Errorf("%q", out)
	}
	if rest, out := without(doc, samples(doc), 20, len(doc)-3); len(rest)+len(out) != len(doc)-23 {
		t.Errorf("%q %q", rest, out)
	}
	for _, text := range []string{"Plain\n\n    indented text\n", "", "\n\n", "    only"} {
		if s := samples(text); s != nil {
			t.Errorf("%q: %v", text, s)
		}
	}
	ix := build(1, []indexed{{text: doc, passages: split(doc)}})
	q := asQuery("How long does delivery take?")
	if hits := ix.search(q, 1); len(hits) != 1 || hits[0].confidence(q.asked()) >= defaultThreshold || hits[0].found != 0 {
		t.Errorf("%+v", hits)
	}
}
