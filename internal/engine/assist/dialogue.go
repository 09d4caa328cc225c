package assist

import (
	"context"
	"maps"
	"math"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// turn is one message of a visitor and what the bot makes of it. It changes its session's memory; the caller stores that.
type turn struct {
	e       *Engine
	ctx     context.Context
	bot     *Bot
	s       *session
	text    string
	now     time.Time
	history []Message
	caller  engine.Caller
	piece   func(string) error // gets the answer as it comes; may be nil
	pivot   string             // the text in the bot's first language, once it was needed
	streamd bool               // something has been sent
}

// reply is what the bot says.
type reply struct {
	Message
	answered bool
	handover string // why a person takes over, or ""
	queue    string
	priority int
}

const engineName = "tollgate-assist"

// language settles which language the visitor speaks: the one chosen, else what the text is in, if that is clear.
func (t *turn) language() {
	if t.s.memory.Fixed && t.s.language != "" {
		return
	}
	lang, sure := t.e.identifySure(t.text)
	enough := script(t.text) != "" || sure >= 0.7 && len([]rune(t.text)) >= 12
	switch {
	case lang != "" && enough:
		t.s.language = lang
	case t.s.language == "":
		t.s.language = t.bot.Languages[0]
	case script(t.text) == "" && otherScript[t.s.language] && len(strings.Fields(bare(t.text))) > 1:
		for _, l := range t.bot.Languages { // Latin letters after another script
			if !otherScript[l] {
				t.s.language = l
				break
			}
		}
	}
}

// otherScript are languages that are not written in Latin letters.
var otherScript = set("zh ja ko ru ar th el he hi uk bg fa ur")

// own is the text in the bot's first language.
func (t *turn) own() string {
	if t.pivot == "" {
		t.pivot = t.e.translate(t.ctx, t.text, t.s.language, t.bot.Languages[0]).text
	}
	return t.pivot
}

// vector embeds a text if that helps to understand it.
func (t *turn) vector(u *understanding, text, lang string) []float32 {
	if u == nil || len(u.examples) == 0 || u.examples[0].vector == nil {
		return nil
	}
	return t.e.vector(t.ctx, text, lang)
}

func (t *turn) sentence(key string) reply {
	r := reply{Message: t.e.sentence(t.ctx, t.bot, key, t.s.language).tell()}
	r.Model, r.Confidence = "dialogue", 1
	return r
}

func (t *turn) canHandOver() bool { return !t.bot.Handover.Off && len(t.bot.Queues) > 0 }

// answer decides what to say.
func (t *turn) answer() (reply, error) {
	t.language()
	m := &t.s.memory
	if wantsPerson(t.text, t.bot.Handover.Phrases) || t.own() != t.text && wantsPerson(t.own(), t.bot.Handover.Phrases) {
		return t.handOver("request", "", 0), nil
	}
	u, err := t.e.intents(t.ctx, t.bot)
	if err != nil {
		return reply{}, err
	}
	ranked := u.rank(t.text, t.vector(u, t.text, t.s.language))
	if own := t.own(); own != t.text {
		if other := u.rank(own, t.vector(u, own, t.bot.Languages[0])); len(other) > 0 && (len(ranked) == 0 || other[0].Confidence > ranked[0].Confidence) {
			ranked = other
		}
	}
	if pending := t.bot.intent(m.Pending); pending != nil {
		if r, ok := t.pending(pending, ranked); ok {
			return r, nil
		}
	}
	if key := smallTalk(t.text); key != "" {
		r := t.sentence(key)
		r.answered = true
		return r, nil
	}
	if len(ranked) > 0 {
		in := t.bot.intent(ranked[0].Label)
		least := in.Threshold
		if least == 0 {
			least = defaultIntent
		}
		if ranked[0].Confidence >= least {
			return t.intend(in, ranked[0].Confidence)
		}
	}
	return t.know("", 0)
}

func (t *turn) handOver(reason, queue string, priority int) reply {
	if !t.canHandOver() {
		r := t.sentence("nobody")
		r.Message.Confidence = 1
		return r
	}
	r := t.sentence("queued")
	r.handover, r.queue, r.priority = reason, queue, priority
	return r
}

// intend acts on a recognised intent.
func (t *turn) intend(in *Intent, sure float64) (reply, error) {
	m := &t.s.memory
	t.s.intent = in.Name
	t.fill(in, "")
	if ask := t.missing(in); ask != nil {
		m.Pending, m.Asking, m.Asked = in.Name, ask.Name, 1
		return t.prompt(in, ask, sure, false), nil
	}
	return t.complete(in, sure)
}

// complete does what an intent is for, all its slots being known.
func (t *turn) complete(in *Intent, sure float64) (reply, error) {
	m := &t.s.memory
	m.Pending, m.Asking, m.Asked, m.Low = "", "", 0, 0
	switch in.Action {
	case "handover":
		r := t.handOver("intent", in.Queue, in.Priority)
		r.Intent, r.Slots, r.Confidence = in.Name, t.slots(in), round(sure)
		return r, nil
	case "knowledge":
		return t.know(in.Name, sure)
	}
	text := t.e.local(t.ctx, in.Answer, t.s.language, t.bot.Languages[0]).with(func(s string) string {
		for name, value := range t.slots(in) {
			s = strings.ReplaceAll(s, "{"+name+"}", value)
		}
		return s
	})
	return t.intended(in, text, sure), nil
}

// intended says something of an intent.
func (t *turn) intended(in *Intent, text rendering, sure float64) reply {
	r := reply{answered: true, Message: text.tell()}
	r.Intent, r.Slots, r.Confidence, r.Model = in.Name, t.slots(in), round(sure), "intents"
	return r
}

// pending goes on with an intent whose slots are being asked for. ok is false where the visitor talks of something else.
func (t *turn) pending(in *Intent, ranked []Score) (reply, bool) {
	m := &t.s.memory
	drop := func() { m.Pending, m.Asking, m.Asked = "", "", 0 }
	if givesItUp(t.text) || givesItUp(t.own()) {
		drop()
		r := t.sentence("dropped")
		r.answered = true
		return r, true
	}
	if len(ranked) > 0 && ranked[0].Label != in.Name && ranked[0].Confidence >= 0.75 {
		drop()
		return reply{}, false
	}
	if t.fill(in, m.Asking) {
		m.Asked = 0
	}
	ask := t.missing(in)
	if ask == nil {
		r, err := t.complete(in, 1)
		return r, err == nil
	}
	if m.Asked++; m.Asked > 3 {
		drop()
		if t.canHandOver() {
			return t.handOver("slots", in.Queue, in.Priority), true
		}
		return reply{}, false
	}
	again := ask.Name == m.Asking && m.Asked > 1
	m.Asking = ask.Name
	return t.prompt(in, ask, 1, again), true
}

// fill takes the values of slots out of the text; it reports whether there was one. asked is the slot that the text answers.
func (t *turn) fill(in *Intent, asked string) (any bool) {
	m := &t.s.memory
	for i := range in.Slots {
		slot := &in.Slots[i]
		if _, known := m.Slots[slot.Name]; known && asked != "" && slot.Name != asked {
			continue // it was told before, and this text is about another
		}
		v, ok := slot.find(t.text, slot.Name == asked, t.now)
		if !ok && t.own() != t.text {
			v, ok = slot.find(t.own(), slot.Name == asked, t.now)
		}
		if !ok {
			continue
		}
		if m.Slots == nil {
			m.Slots = map[string]string{}
		}
		m.Slots[slot.Name] = v
		any = true
	}
	return any
}

func (t *turn) missing(in *Intent) *Slot {
	for i := range in.Slots {
		if _, ok := t.s.memory.Slots[in.Slots[i].Name]; !ok && !in.Slots[i].Optional {
			return &in.Slots[i]
		}
	}
	return nil
}

func (t *turn) slots(in *Intent) map[string]string {
	out := map[string]string{}
	for _, s := range in.Slots {
		if v, ok := t.s.memory.Slots[s.Name]; ok {
			out[s.Name] = v
		}
	}
	return out
}

// prompt asks for a slot.
func (t *turn) prompt(in *Intent, ask *Slot, sure float64, again bool) reply {
	text := t.e.local(t.ctx, ask.Prompt, t.s.language, t.bot.Languages[0])
	if text.text == "" {
		text = t.e.sentence(t.ctx, t.bot, "missing", t.s.language).with(func(s string) string {
			return strings.ReplaceAll(s, "{slot}", strings.ReplaceAll(ask.Name, "_", " "))
		})
	}
	if again {
		text = text.after(t.e.sentence(t.ctx, t.bot, "again", text.lang))
	}
	return t.intended(in, text, sure)
}

// know answers from the bot's knowledge.
func (t *turn) know(intent string, sure float64) (reply, error) {
	m := &t.s.memory
	topic := ""
	if leansBack(t.text) {
		topic = m.Topic
	}
	f, err := t.e.look(t.ctx, t.bot, t.text, t.s.language, topic)
	if err != nil {
		return reply{}, err
	}
	if topic != "" && f.confidence < t.bot.Threshold { // it may not lean back after all
		if g, err := t.e.look(t.ctx, t.bot, t.text, t.s.language, ""); err == nil && g.confidence > f.confidence {
			f, topic = g, ""
		}
	}
	var r reply
	ok := false
	if t.bot.Generate != nil && t.caller != nil && f.confidence >= t.bot.Threshold/2 {
		r, ok, err = t.generated(&f)
		if err != nil {
			return reply{}, err
		}
	} else if f.confidence >= t.bot.Threshold {
		r, ok = t.quoted(&f), true
	}
	r.Intent = intent
	if !ok {
		return t.unsure(f.confidence), nil
	}
	m.Low = 0
	if topic == "" {
		m.Topic = cutRunes(t.text, 300)
	}
	r.answered = true
	return r, nil
}

func (t *turn) quoted(f *found) reply {
	r := reply{Message: t.e.translate(t.ctx, f.quote(t.text), f.lang, t.s.language).tell()}
	r.Confidence, r.Citations, r.Model = round(f.confidence), f.citations(3), "retrieval"
	return r
}

// generated has the bot's model write the answer; if it cannot be reached the passage is quoted.
func (t *turn) generated(f *found) (reply, bool, error) {
	piece := t.piece
	if piece != nil {
		piece = func(s string) error { t.streamd = true; return t.piece(s) }
	}
	text, ok, err := generate(t.ctx, t.caller, t.bot, prompt(t.bot, f, t.history, t.text, t.s.language), piece)
	switch {
	case err == nil:
		return reply{Message: Message{Role: "bot", Text: text, Language: t.s.language, Confidence: round(f.confidence), Citations: f.citations(3),
			Engine: engineName, Model: t.bot.Generate.Model}}, ok, nil
	case t.ctx.Err() != nil || t.streamd:
		return reply{}, false, err
	}
	t.e.log.Warn("assist: the bot's model did not answer; quoting instead", "bot", t.bot.ID, "error", err)
	if f.confidence < t.bot.Threshold {
		return reply{}, false, nil
	}
	return t.quoted(f), true, nil
}

// unsure says that there is no answer, and hands over once that has happened often enough in a row.
func (t *turn) unsure(sure float64) reply {
	m := &t.s.memory
	m.Low++
	if m.Low >= t.bot.Handover.After && t.canHandOver() {
		r := t.handOver("low_confidence", "", 0)
		r.Confidence = round(sure)
		return r
	}
	key := "unsure"
	if t.canHandOver() {
		key = "unsureAsk"
	}
	r := t.sentence(key)
	r.Confidence = round(sure)
	return r
}

func round(x float64) float64 { return math.Round(x*1000) / 1000 }

// said is what the visitor said in the session, for classification.
func said(history []Message, last string) string {
	var b strings.Builder
	for _, m := range history {
		if m.Role == "user" {
			b.WriteString(m.Text + "\n")
		}
	}
	if b.Len() == 0 || !wantsPerson(last, nil) || longer(last, 60) { // the wish for a person alone tells nothing
		b.WriteString(last)
	}
	return b.String()
}

// cloneMemory keeps a turn that is tried again from seeing what the first try remembered.
func cloneMemory(m memory) memory {
	m.Slots, m.Metadata = maps.Clone(m.Slots), maps.Clone(m.Metadata)
	return m
}
