package assist_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// model answers as a chat model does.
type model struct {
	text string
	err  error
	got  string
}

func (m *model) Call(_ context.Context, route string, body []byte, piece func([]byte) error) ([]byte, error) {
	m.got = route + " " + string(body)
	if m.err != nil {
		return nil, m.err
	}
	if piece == nil {
		return json.Marshal(object{"choices": []object{{"message": object{"role": "assistant", "content": m.text}}}})
	}
	for _, word := range strings.SplitAfter(m.text, " ") {
		data, err := json.Marshal(object{"choices": []object{{"delta": object{"content": word}}}})
		if err != nil {
			return nil, err
		}
		event := []byte("data: " + string(data) + "\n\n")
		for _, part := range [][]byte{event[:len(event)/2], event[len(event)/2:]} { // split anywhere
			if err := piece(part); err != nil {
				return nil, err
			}
		}
	}
	return nil, piece([]byte("data: [DONE]\n\n"))
}

// ask makes a turn with a caller; it returns the events, or the one answer as the last.
func (v *visitor) ask(c engine.Caller, body object) (events []object, err error) {
	v.Helper()
	data, jerr := json.Marshal(body)
	if jerr != nil {
		v.Fatal(jerr)
	}
	r := v.request(v.line("POST", "/messages"), data)
	r.Caller = c
	a := &enginetest.Answer{}
	err = v.e.Serve(ctx, r, a)
	for block := range strings.SplitSeq(strings.TrimSpace(a.Body.String()), "\n\n") {
		var o object
		if jerr := json.Unmarshal([]byte(strings.TrimPrefix(block, "data: ")), &o); jerr == nil {
			events = append(events, o)
		}
	}
	if err == nil && a.Total() != 1000 {
		v.Errorf("used %d", a.Total())
	}
	return events, err
}

func TestGenerated(t *testing.T) {
	h := small(t, assist.Options{})
	bot, _, _ := h.shop(object{"generate": object{"model": "big", "instructions": "Be kind."}})
	v := h.visit(bot, nil)
	m := &model{text: "It takes three to five days [1]."}
	events, err := v.ask(m, object{"text": "How long does delivery take?"})
	if err != nil || events[0].text("message.text") != m.text || events[0].text("message.model") != "big" || events[0].text("message.citations.0.heading") == "" {
		t.Errorf("%v %v", events, err)
	}
	for _, want := range []string{"chat.completions", "Be kind.", "three to five working days", `"model":"big"`} {
		if !strings.Contains(m.got, want) {
			t.Errorf("the model was not told %q: %s", want, m.got)
		}
	}
	events, err = v.ask(m, object{"text": "How long does express delivery take?", "stream": true})
	text := ""
	for _, e := range events {
		text += e.text("text")
	}
	if last := events[len(events)-1]; err != nil || text != m.text || last.text("type") != "message" || last.text("message.text") != m.text || len(events) < 4 {
		t.Errorf("%v %v", events, err)
	}
	if !strings.Contains(m.got, "How long does delivery take?") {
		t.Error("the model is not told what was said before")
	}

	m.text = "NO_ANSWER"
	events, err = v.ask(m, object{"text": "Is delivery of parcels to Mars possible?", "stream": true})
	if last := events[len(events)-1]; err != nil || strings.Contains(last.text("message.text"), "NO_ANSWER") || last.text("message.model") != "dialogue" {
		t.Errorf("%v %v", events, err)
	}
	for _, e := range events {
		if strings.Contains(e.text("text"), "NO_") {
			t.Errorf("streamed %v", e)
		}
	}
	m.err = errors.New("away")
	events, err = v.ask(m, object{"text": "How long does delivery take?"})
	if err != nil || events[0].text("message.model") != "retrieval" {
		t.Errorf("no passage is quoted instead: %v %v", events, err)
	}
}

func TestStream(t *testing.T) {
	h := small(t, assist.Options{})
	bot, _, _ := h.shop(nil)
	v := h.visit(bot, nil)
	events, err := v.ask(nil, object{"text": "How long does delivery take?", "stream": true})
	text := ""
	for _, e := range events[:len(events)-1] {
		text += e.text("text")
	}
	if last := events[len(events)-1]; err != nil || text != last.text("message.text") || text == "" {
		t.Errorf("%q %v %v", text, events, err)
	}
}

func TestTranslated(t *testing.T) {
	h := small(t, assist.Options{
		Identify: func(text string) (string, float64) {
			if strings.Contains(text, "entrega") || strings.Contains(text, "pedido") || strings.Contains(text, "persona") {
				return "es", 0.99
			}
			return "en", 0.5
		},
		Translate: func(_ context.Context, text, from, to string) (assist.Translated, error) {
			if from == "es" && to == "en" {
				return assist.Translated{Text: map[string]string{"¿Cuánto tarda la entrega del paquete?": "How long does delivery of the parcel take?", "¿Dónde está mi pedido?": "Where is my order?",
					"Quiero hablar con una persona": "I want to talk to a person"}[text]}, nil
			}
			return assist.Translated{Text: to + ":" + text, Engine: "pocket", Quality: "dictionary"}, nil
		},
	})
	bot, _, _ := h.shop(nil)
	v := h.visit(bot, nil)
	got := v.say("¿Cuánto tarda la entrega del paquete?")
	if !strings.HasPrefix(got.text("message.text"), "es:") || got.text("message.language") != "es" || !strings.Contains(got.text("message.original"), "three to five") ||
		got.text("message.quality") != "dictionary" || got.text("message.translator") != "pocket" || got.text("message.engine") != "tollgate-assist" {
		t.Errorf("%v", got)
	}
	if got := v.say("¿Dónde está mi pedido?"); got.text("message.text") != "es:What is the number of your order?" || got.text("message.intent") != "order_status" ||
		got.text("message.quality") != "dictionary" || got.text("message.original") != "What is the number of your order?" {
		t.Errorf("%v", got)
	}
	if got := v.say("no sé"); got.text("message.text") != "es:I did not understand that. es:What is the number of your order?" || got.text("message.quality") != "dictionary" ||
		got.text("message.original") != "I did not understand that. What is the number of your order?" {
		t.Errorf("%v", got)
	}
	if got := v.say("Quiero hablar con una persona"); got.text("state") != "waiting" {
		t.Errorf("%v", got)
	}
	agent := h.do("POST agents", `{"name":"Ann","status":"online"}`).text("id")
	desk := h.do("POST desk/sessions/"+v.id+"/messages", object{"agent": agent, "text": "Hello there", "language": "en"})
	last := desk.at("messages").([]any)
	if m := object(last[len(last)-1].(map[string]any)); m.text("text") != "es:Hello there" || m.text("original") != "Hello there" || m.text("quality") != "dictionary" || m.text("translator") != "pocket" {
		t.Errorf("%v", m)
	}
	for _, m := range h.do(v.line("GET", ""), nil).at("messages").([]any) { // as the visitor sees them again
		m := object(m.(map[string]any))
		if told := m.text("role") == "bot" || m.text("role") == "agent"; told && (m.text("quality") == "dictionary") != strings.HasPrefix(m.text("text"), "es:") {
			t.Errorf("%v", m)
		}
	}
	if greeting := h.do("POST bots/"+bot+"/sessions", object{"language": "fr"}); greeting.text("message.quality") != "dictionary" || greeting.text("message.language") != "fr" {
		t.Errorf("%v", greeting)
	}
	if greeting := h.do("POST bots/"+bot+"/sessions", object{"language": "en"}); greeting.text("message.quality") != "" || greeting.text("message.translator") != "" {
		t.Errorf("%v", greeting)
	}
}

// TestEvents: what an agent writes reaches the visitor's stream, each message once, from where it left off.
func TestEvents(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		bot, _, _ := h.shop(nil)
		v := h.visit(bot, nil)
		v.say("human")
		agent := h.do("POST agents", `{"name":"Ann","status":"online"}`).text("id")
		var mu strings.Builder
		got := make(chan string, 64)
		r := h.request(v.line("GET", "/events")+"&Last-Event-ID=3", nil)
		a := &enginetest.Answer{Piece: func(b []byte) error { got <- string(b); return nil }}
		done := make(chan error, 1)
		go func() { done <- h.e.Serve(ctx, r, a) }()
		wait := func(want string) {
			t.Helper()
			for s := range got {
				mu.WriteString(s)
				if strings.Contains(s, want) {
					return
				}
			}
		}
		wait("assigned")
		h.do("POST desk/sessions/"+v.id+"/notes", object{"text": "secret remark"})
		h.do("POST desk/sessions/"+v.id+"/messages", object{"agent": agent, "text": "I am here."})
		wait("I am here.")
		h.do("POST desk/sessions/"+v.id+"/close", nil)
		wait("closed")
		if err := <-done; err != nil {
			t.Error(err)
		}
		all := mu.String()
		if strings.Contains(all, "secret remark") || strings.Count(all, "I am here.") != 1 || strings.Contains(all, `"seq":3,`) || !strings.Contains(all, "id: ") {
			t.Errorf("stream: %s", all)
		}
	})
}

func TestInput(t *testing.T) {
	h := small(t, assist.Options{})
	bot, general, _ := h.shop(nil)
	v := h.visit(bot, nil)
	for _, c := range []struct {
		id, line string
		body     any
	}{
		{"engine.invalid", v.line("POST", "/messages"), `{"text":"  "}`},
		{"engine.invalid", v.line("POST", "/messages"), object{"text": strings.Repeat("x", 5000)}},
		{"engine.not_json", v.line("POST", "/messages"), `{`},
		{"engine.not_utf8", v.line("POST", "/messages"), "{\"text\":\"\xff\"}"},
		{"engine.empty_body", v.line("POST", "/messages"), nil},
		{"engine.invalid", v.line("POST", "/rating"), `{"rating":6}`},
		{"engine.invalid", "POST bots/" + bot + "/sessions", `{"language":"klingon"}`},
		{"engine.invalid", "POST bots", `{"name":""}`},
		{"engine.invalid", "POST bots", `{"name":"x","threshold":7}`},
		{"engine.invalid", "POST bots", `{"name":"x","intents":[{"name":"i"}]}`},
		{"engine.invalid", "POST bots", `{"name":"x","intents":[{"name":"i","examples":["a"],"slots":[{"name":"s","type":"text","pattern":"("}]}]}`},
		{"engine.bad_field", "POST bots", `{"name":7}`},
		{"engine.bad_field", "POST bots", `{"name":"x","greeting":7}`},
		{"assist.not_found", "POST bots", `{"name":"x","knowledge":["kno_none"]}`},
		{"assist.taken", "POST bots", `{"name":"Shop"}`},
		{"engine.invalid", "POST queues", `{"name":"x","priority":12}`},
		{"assist.not_found", "DELETE queues/que_none", nil},
		{"engine.invalid", "POST agents", `{"name":"x","status":"asleep"}`},
		{"engine.invalid", "GET bots/" + bot + "/analytics?from=yesterday", nil},
		{"engine.invalid", "GET desk/sessions?state=odd", nil},
		{"engine.invalid", "GET desk/sessions?limit=0", nil},
		{"assist.not_found", "POST agents/agt_none/next", nil},
		{"assist.not_found", "POST knowledge/kno_none/search", `{"query":"x"}`},
		{"assist.not_assigned", "POST desk/sessions/" + v.id + "/messages", `{"text":"x"}`},
	} {
		h.refused(c.id, c.line, c.body)
	}
	b := h.do("GET bots/"+bot, nil)
	b["version"] = 77
	h.refused("assist.stale", "PUT bots/"+bot, b)
	delete(b, "version")
	if got := h.do("PUT bots/"+bot, b); got.number("version") != 2 {
		t.Errorf("%v", got)
	}
	v.say("human")
	h.refused("assist.queue_used", "DELETE queues/"+general, nil)
	h.do(v.line("POST", "/close"), nil)
	h.do("DELETE queues/"+general, nil)
	if got := h.do("GET bots/"+bot, nil); len(got.at("queues").([]any)) != 1 {
		t.Errorf("the bot still has the queue: %v", got)
	}
	h.do("DELETE bots/"+bot, nil)
	h.refused("assist.not_found", v.line("GET", ""), nil)
	if _, err := assist.New(assist.Options{}); err == nil {
		t.Error("made without a database")
	}
	_ = problem.Internal
}
