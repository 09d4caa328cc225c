package assist_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/assist"
)

// TestEvaluate: the figures that the stored reports have by words alone are reached again.
func TestEvaluate(t *testing.T) {
	reports, err := assist.Evaluate(ctx, assist.EvaluateOptions{Now: monday})
	if err != nil || len(reports) < 3 {
		t.Fatal(len(reports), err)
	}
	for _, r := range reports {
		if below := r.Below(); below != nil || r.Date != "2026-11-23" || r.Samples == 0 {
			t.Errorf("%s: %v", r.Task, below)
		}
	}
}

// BenchmarkTurn is a question to a bot, answered from its knowledge and stored.
func BenchmarkTurn(b *testing.B) {
	h := small(b, assist.Options{})
	bot, _, _ := h.shop(nil)
	v := h.visit(bot, nil)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%900 == 899 { // a session is bounded
			b.StopTimer()
			v = h.visit(bot, nil)
			b.StartTimer()
		}
		v.say("How long does delivery of a parcel take?")
	}
}

// BenchmarkSearch looks among 2,000 passages.
func BenchmarkSearch(b *testing.B) {
	h := small(b, assist.Options{})
	kb := h.do("POST knowledge", `{"name":"k"}`).text("id")
	var text strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&text, "## Article %d\n\nThe article number %d is kept in hall %d and costs %d euros with delivery and returns.\n\n", i, i, i%17, i*3)
	}
	h.do("POST knowledge/"+kb+"/documents", object{"title": "big", "text": text.String()})
	h.do("POST knowledge/"+kb+"/search", object{"query": "warm"})
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		h.do("POST knowledge/"+kb+"/search", object{"query": fmt.Sprintf("in which hall is article %d", n%2000)})
	}
}

// BenchmarkIndex reads 2,000 passages and builds their index.
func BenchmarkIndex(b *testing.B) {
	h := small(b, assist.Options{})
	kb := h.do("POST knowledge", `{"name":"k"}`).text("id")
	text := strings.Repeat(shopText, 400)
	b.ReportAllocs()
	for b.Loop() {
		h.do("POST knowledge/"+kb+"/documents", object{"title": "big", "text": text})
		h.do("POST knowledge/"+kb+"/search", object{"query": "delivery"})
	}
}

// BenchmarkHandover passes a session on to an agent and closes it.
func BenchmarkHandover(b *testing.B) {
	h := small(b, assist.Options{})
	bot, _, _ := h.shop(nil)
	h.do("POST agents", `{"name":"Ann","status":"online"}`)
	b.ReportAllocs()
	for b.Loop() {
		v := h.visit(bot, nil)
		v.say("human please")
		h.do("POST desk/sessions/"+v.id+"/close", nil)
	}
}
