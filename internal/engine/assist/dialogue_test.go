package assist_test

import (
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/assist"
)

func TestAnswers(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		bot, _, _ := h.shop(nil)
		v := h.visit(bot, nil)
		for _, step := range []struct{ say, want, model string }{
			{"Hello!", "Hello!", "dialogue"},
			{"How long does delivery of a parcel take?", "three to five working days", "retrieval"},
			{"and express?", "nine euros", "retrieval"}, // leans back on delivery
			{"When is the shop in Vienna open?", "from Monday to Friday", "retrieval"},
			{"怎么改收货地址", "修改地址", "retrieval"},
			{"Where is my order?", "What is the number of your order?", "intents"},
			{"I don't know", "What is the number", "intents"},
			{"it is #AB-12345", "Order AB-12345 is on its way.", "intents"},
			{"can you track my order", "Order AB-12345 is on its way.", "intents"}, // remembered
			{"我的订单到哪了？", "订单 AB-12345 正在派送", "intents"},
			{"thank you", "welcome", "dialogue"},
		} {
			got := v.say(step.say)
			if !strings.Contains(got.text("message.text"), step.want) || got.text("message.model") != step.model || got.text("state") != "bot" {
				t.Errorf("%s: %v", step.say, got)
			}
			if step.model == "retrieval" && (got.text("message.citations.0.document") == "" || got.number("message.confidence") == 0) {
				t.Errorf("%s: no citation: %v", step.say, got)
			}
		}
		all := h.do(v.line("GET", ""), nil)
		if n := len(all.at("messages").([]any)); n != 1+2*11 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestHandover(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		bot, general, billing := h.shop(nil)
		for _, c := range []struct {
			say           []string
			reason, queue string
		}{
			{[]string{"I want to talk to a human"}, "request", general},
			{[]string{"转人工"}, "request", general},
			{[]string{"I was charged twice and the invoice is wrong, human please"}, "request", billing},
			{[]string{"Do you sell unicorn saddles?", "What about quantum flux capacitors?"}, "low_confidence", general},
			{[]string{"please give me a refund"}, "intent", billing},
		} {
			v := h.visit(bot, nil)
			var last object
			for i, text := range c.say {
				last = v.say(text)
				if i < len(c.say)-1 && last.text("state") != "bot" {
					t.Fatalf("%s: %v", text, last)
				}
			}
			s := h.do("GET desk/sessions/"+v.id, nil)
			if last.text("state") != "waiting" || s.text("reason") != c.reason || s.text("queue") != c.queue {
				t.Errorf("%q: state %v, reason %v, queue %v", c.say, last.text("state"), s.text("reason"), s.text("queue"))
			}
			if last.number("queue.position") < 1 {
				t.Errorf("no position: %v", last)
			}
		}
		agent := h.do("POST agents", `{"name":"Ann","status":"online","capacity":1,"automatic":false,"skills":["billing"]}`).text("id")
		first := h.do("POST agents/"+agent+"/next", nil)
		if first.text("session.reason") != "intent" || first.number("session.priority") != 5 {
			t.Errorf("the refund was not first: %v", first)
		}
		h.refused("assist.agent_full", "POST agents/"+agent+"/next", nil)
	})
}

func TestDesk(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		bot, general, billing := h.shop(nil)
		ann := h.do("POST agents", `{"name":"Ann","status":"online","capacity":1}`).text("id")
		v := h.visit(bot, `{"name":"Visitor","metadata":{"page":"/cart"}}`)
		got := v.say("agent")
		if got.text("state") != "human" || got.text("agent") != "Ann" {
			t.Fatalf("not assigned: %v", got)
		}
		w := h.visit(bot, nil)
		if got := w.say("human please"); got.text("state") != "waiting" {
			t.Fatalf("assigned beyond capacity: %v", got)
		}
		if got := v.say("Are you there?"); got.text("state") != "human" || got.at("message") != nil {
			t.Errorf("the bot talks over the agent: %v", got)
		}
		h.refused("assist.other_agent", "POST desk/sessions/"+v.id+"/messages", object{"agent": "agt_other", "text": "x"})
		h.do("POST desk/sessions/"+v.id+"/messages", object{"agent": ann, "text": "Yes, I am."})
		h.do("POST desk/sessions/"+v.id+"/notes", object{"text": "friendly"})
		seen := h.do(v.line("GET", ""), nil)
		for _, m := range seen.at("messages").([]any) {
			if object(m.(map[string]any)).text("role") == "note" {
				t.Error("the visitor sees notes")
			}
		}
		desk := h.do("GET desk/sessions/"+v.id, nil)
		if desk.text("name") != "Visitor" || desk.text("metadata.page") != "/cart" {
			t.Errorf("desk: %v", desk)
		}
		ben := h.do("POST agents", `{"name":"Ben","status":"online","capacity":1,"skills":["billing"],"automatic":false}`).text("id")
		h.do("POST desk/sessions/"+v.id+"/transfer", object{"queue": billing, "misrouted": true, "note": "billing matter"})
		if got := h.do("GET desk/sessions/"+w.id, nil); got.text("agent") != ann {
			t.Errorf("the free agent got nothing: %v", got)
		}
		h.refused("assist.agent_unfit", "POST desk/sessions/"+v.id+"/accept", object{"agent": ann})
		if got := h.do("POST desk/sessions/"+v.id+"/accept", object{"agent": ben}); got.text("agent") != ben {
			t.Errorf("accept: %v", got)
		}
		h.refused("assist.not_waiting", "POST desk/sessions/"+v.id+"/accept", object{"agent": ben})
		h.do("POST desk/sessions/"+v.id+"/messages", object{"text": "Done."})
		h.do("POST desk/sessions/"+v.id+"/close", object{"resolution": "solved"})
		h.refused("assist.closed", v.line("POST", "/messages"), object{"text": "one more"})
		h.do(v.line("POST", "/rating"), object{"rating": 5, "comment": "很好"})
		h.do("POST desk/sessions/"+w.id+"/close", object{"resolution": "unsolved", "correct_queue": general})

		c := h.visit(bot, nil)
		c.say("How long does delivery take?")
		h.do(c.line("POST", "/close"), nil)
		x := h.do("GET bots/"+bot+"/analytics?from=2026-11-01&to=2026-12-01", nil)
		for path, want := range map[string]float64{"period.sessions": 3, "period.handed_over": 2, "period.contained": 1, "period.containment_rate": 0.333,
			"period.routing.routed": 2, "period.routing.corrected": 1, "period.routing.accuracy": 0.5, "period.satisfaction.ratings": 1, "period.satisfaction.mean": 5,
			"period.first_response.count": 1, "period.resolution.count": 3, "before.sessions": 0} {
			if got := x.number(path); got != want {
				t.Errorf("%s is %v, want %v", path, got, want)
			}
		}
	})
}

func TestSessionsAreSecret(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		bot, _, _ := h.shop(nil)
		v, w := h.visit(bot, nil), h.visit(bot, nil)
		stolen := &visitor{h, v.id, w.secret}
		for _, line := range []string{stolen.line("GET", ""), stolen.line("GET", "/events"), stolen.line("DELETE", ""), "GET sessions/" + v.id, "GET sessions/ses_none"} {
			h.refused("assist.not_found", line, nil)
		}
		h.refused("assist.not_found", stolen.line("POST", "/messages"), `{"text":"x"}`)
		h.refused("assist.not_found", stolen.line("POST", "/rating"), `{"rating":1}`)
		h.refused("assist.not_found", stolen.line("POST", "/close"), nil)
		h.refused("assist.not_found", stolen.line("POST", "/handover"), nil)

		other := &house{t, h.e, h.clock, "org_b"}
		for _, line := range []string{"GET bots/" + bot, "GET desk/sessions/" + v.id, "DELETE bots/" + bot, "GET bots/" + bot + "/analytics"} {
			other.refused("assist.not_found", line, nil)
		}
		other.refused("assist.not_found", "POST bots/"+bot+"/sessions", nil)
		other.refused("assist.not_found", v.line("POST", "/messages"), `{"text":"x"}`)

		h.do(v.line("DELETE", ""), nil)
		h.refused("assist.not_found", v.line("GET", ""), nil)
		h.refused("assist.not_found", "GET desk/sessions/"+v.id, nil)
	})
}

func TestRetention(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		bot, _, _ := h.shop(object{"retention_days": 7})
		v := h.visit(bot, nil)
		v.say("How long does delivery take?")
		h.clock.Advance(6 * 24 * 3600e9)
		v.say("When is the shop open?") // begins the days anew
		h.clock.Advance(6 * 24 * 3600e9)
		h.do(v.line("GET", ""), nil)
		h.clock.Advance(2 * 24 * 3600e9)
		h.refused("assist.not_found", v.line("GET", ""), nil)
		if more, err := h.e.Sweep(ctx); err != nil || more {
			t.Fatal(more, err)
		}
		x := h.do("GET bots/"+bot+"/analytics", nil)
		if x.number("period.sessions") != 1 || x.number("period.messages") != 2 {
			t.Errorf("figures are gone: %v", x)
		}
		h.clock.Advance(3 * 366 * 24 * 3600e9)
		if _, err := h.e.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

var _ = assist.Version
