package assist_test

import (
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/docs"
)

// TestHelp: the demo's bot answers from the manual, in both languages, and passes on what it cannot.
func TestHelp(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		first, err := h.e.SeedDemo(ctx, h.owner, docs.Manual())
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.e.SeedDemo(ctx, h.owner, docs.Manual())
		if err != nil || again != first {
			t.Fatal(again, first, err)
		}
		for more := true; more; {
			if more, err = h.e.Embed(ctx); err != nil {
				t.Fatal(err)
			}
		}
		for question, heading := range map[string]string{
			"How is a model name resolved?":         "How a model name is resolved",
			"Which endpoints are there?":            "Which endpoints there are",
			"模型名称是如何解析的？":                           "",
			"How do I make a backup of the server?": "",
		} {
			v := h.visit("help", nil)
			got := v.say(question)
			if got.text("message.model") != "retrieval" || !strings.Contains(got.text("message.citations.0.heading"), heading) {
				t.Errorf("%s: %v", question, got)
			}
		}
		v := h.visit("help", `{"language":"en"}`)
		if got := v.say("I was charged twice for one call"); got.text("state") != "human" || got.text("agent") != "Alex" {
			t.Errorf("%v", got)
		}
		v = h.visit("help", nil)
		if got := v.say("What is the capital of Mongolia and its population?"); got.text("message.model") != "dialogue" {
			t.Errorf("%v", got)
		}
	})
}
