package assist_test

import (
	_ "embed"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/docs"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/text"
)

// manualQuestions are questions as users ask them, with the pages of the manual that answer ("-": none). Those marked "held" were
// not looked at while retrieval was tuned.
//
//go:embed testdata/manual.tsv
var manualQuestions string

// TestManualQuestions: the help bot answers what users ask from the right page of the manual, and declines what has nothing to
// do with it, by words alone.
func TestManualQuestions(t *testing.T) { askManual(t, assist.Options{}, "") }

// TestManualQuestionsVectors asks those kept aside, with sentence vectors, which the race detector makes slow.
func TestManualQuestionsVectors(t *testing.T) {
	v := text.NewVectors(enginetest.Dir(t, "the text engine", "text", "use"))
	_, model := v.Engine()
	askManual(t, assist.Options{Embed: v.Embed, EmbedModel: model}, "held")
}

func askManual(t *testing.T, o assist.Options, only string) {
	h := small(t, o)
	if _, err := h.e.SeedDemo(ctx, h.owner, docs.Manual()); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		var err error
		if more, err = h.e.Embed(ctx); err != nil {
			t.Fatal(err)
		}
	}
	type sum struct{ right, n int }
	good, bad := map[string]*sum{}, map[string]*sum{}
	for line := range strings.Lines(manualQuestions) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		part, lang, pages, question := f[0], f[1], strings.Split(f[2], "|"), f[3]
		if only != "" && part != only {
			continue
		}
		got := h.visit("help", object{"language": lang}).say(question)
		var cited []string
		for i := range 3 {
			page := strings.TrimSuffix(strings.TrimPrefix(got.text("message.citations."+string(rune('0'+i))+".source"), lang+"/"), ".md")
			cited = append(cited, page)
		}
		answered := got.text("message.model") == "retrieval"
		table, right := good, answered && slices.ContainsFunc(cited, func(p string) bool { return slices.Contains(pages, p) })
		if f[2] == "-" {
			table, right = bad, !answered
		}
		key := part + " " + lang
		if table[key] == nil {
			table[key] = &sum{}
		}
		table[key].n++
		if right {
			table[key].right++
		} else if part == "tune" || os.Getenv("SHOW_HELD") != "" {
			t.Logf("%s: %s: %s %.2f %v, want %v", key, question, got.text("message.model"), got.number("message.confidence"), cited, pages)
		}
	}
	for key, s := range good {
		t.Logf("%s: %d of %d answered from the right page, %d of %d without an answer declined", key, s.right, s.n, bad[key].right, bad[key].n)
		// Words alone do not tell a shop's order from the order of things: some of a shop's questions find a passage.
		if 10*s.right < 9*s.n || 20*bad[key].right < 17*bad[key].n {
			t.Errorf("%s: too few", key)
		}
	}
}
