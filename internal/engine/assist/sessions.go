package assist

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm/sse"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of a conversation.
const (
	maxMessageRunes = 4000
	maxMessages     = 2000 // of one session
	remembered      = 12   // messages that a language model is told
	maxMetadata     = 20
)

func badMessage(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return engine.Invalid("text", "must not be empty")
	case longer(text, maxMessageRunes):
		return engine.Invalid("text", "must have at most "+strconv.Itoa(maxMessageRunes)+" characters")
	}
	return nil
}

// secret is what the visitor's call carries: in the header, the query, or the field of a body.
func (c *call) secret(field string) string {
	if s := c.header(SecretHeader); s != "" {
		return s
	}
	if field != "" {
		return field
	}
	return c.Query.Get("secret")
}

// sessionView is a session as its visitor sees it.
type sessionView struct {
	ID       string     `json:"id"`
	Secret   string     `json:"secret,omitempty"`
	Bot      *botFace   `json:"bot,omitempty"`
	State    string     `json:"state"`
	Language string     `json:"language,omitempty"`
	Agent    string     `json:"agent,omitempty"` // name of the person
	Queue    *place1    `json:"queue,omitempty"`
	Rating   int64      `json:"rating,omitempty"`
	Created  time.Time  `json:"created_at"`
	Expires  time.Time  `json:"expires_at"`
	Message  *Message   `json:"message,omitempty"`
	Messages []Message  `json:"messages,omitempty"`
	Heard    *heardView `json:"heard,omitempty"`
	Audio    *audioView `json:"audio,omitempty"`
}

// cost is what a turn costs: nothing where the bot has answered nothing, for a person has the session or there was no voice in
// a recording, which is in no transcript.
func (v *sessionView) cost() engine.Quantity {
	if v.Message == nil || v.Message.Seq == 0 {
		return 0
	}
	return engine.Units(1)
}

type botFace struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Languages []string `json:"languages"`
	Voice     bool     `json:"voice"` // live voice can be had
	Hears     bool     `json:"hears"` // recordings are understood
	Speaks    bool     `json:"speaks"`
	Person    bool     `json:"person"`
}

type place1 struct {
	Name     string `json:"name"`
	Position int64  `json:"position,omitempty"`
}

func (e *Engine) face(b *Bot) *botFace {
	hears, speaks := e.voices()
	return &botFace{b.ID, b.Name, b.Languages, e.o.NewRecogniser != nil && hears && speaks, hears, speaks, !b.Handover.Off && len(b.Queues) > 0}
}

// visitorView is what a visitor may know of a session.
func (e *Engine) visitorView(tx *db.Tx, s *session) (*sessionView, error) {
	v := &sessionView{ID: s.id, State: s.state, Language: s.language, Rating: s.rating, Created: s.created, Expires: s.expires}
	if s.state == waiting {
		q, err := readQueue(tx, s.owner, s.queue)
		if err != nil && !problem.Is(err, problem.NotFound) {
			return nil, err
		}
		n, err := position(tx, s)
		if err != nil {
			return nil, err
		}
		v.Queue = &place1{Position: n}
		if q != nil {
			v.Queue.Name = q.Name
		}
	}
	if s.state == human {
		a, err := readAgent(tx, s.owner, s.agent)
		if err != nil && !problem.Is(err, problem.NotFound) {
			return nil, err
		}
		if a != nil {
			v.Agent = a.Name
		}
	}
	return v, nil
}

type createSession struct {
	Language string            `json:"language"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
	Channel  string            `json:"channel"`
}

func (in *createSession) check() error {
	if in.Language != "" {
		langs, err := cleanLanguages("language", []string{in.Language})
		if err != nil {
			return err
		}
		in.Language = langs[0]
	}
	if longer(in.Name, 100) {
		return engine.Invalid("name", "must have at most 100 characters")
	}
	if len(in.Metadata) > maxMetadata {
		return engine.Invalid("metadata", "must have at most "+strconv.Itoa(maxMetadata)+" entries")
	}
	for k, v := range in.Metadata {
		if len(k) > 60 || longer(v, 500) {
			return engine.Invalid("metadata", "has a key or a value that is too long")
		}
	}
	switch in.Channel {
	case "":
		in.Channel = "text"
	case "text", "voice":
	default:
		return engine.Invalid("channel", "must be text or voice")
	}
	return nil
}

func (e *Engine) sessionsCreate(c *call) error {
	var in createSession
	if err := c.optional(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	v, _, err := e.begin(c.ctx, c.Owner, c.path("bot"), in)
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, v)
}

// begin makes a session, with the bot's greeting as its first message.
func (e *Engine) begin(ctx context.Context, owner, bot string, in createSession) (*sessionView, *Bot, error) {
	var b *Bot
	err := e.o.DB.View(ctx, func(tx *db.Tx) (err error) { b, err = readBot(tx, owner, bot); return err })
	if err != nil {
		return nil, nil, err
	}
	lang := in.Language
	if lang == "" {
		lang = b.Languages[0]
	}
	greeting := b.Greeting
	if len(greeting) == 0 {
		greeting = sentences["greeting"]
	}
	hello := e.local(ctx, greeting, lang, b.Languages[0]).tell()
	hello.Model = "dialogue"
	secret := newSecret()
	var v *sessionView
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error {
		s := &session{id: db.NewID("ses", tx.Now()), owner: owner, bot: b.ID, secret: digest(secret), state: withBot, language: in.Language, channel: in.Channel,
			created: tx.Now(), active: tx.Now(), expires: tx.Now().AddDate(0, 0, b.Days),
			memory: memory{Fixed: in.Language != "", Name: oneLine(in.Name, 100), Metadata: in.Metadata}}
		m := hello
		if err := e.say(tx, s, &m); err != nil {
			return err
		}
		if err := e.insertSession(tx, s); err != nil {
			return err
		}
		v, err = e.visitorView(tx, s)
		v.Secret, v.Bot, v.Message = secret, e.face(b), &m
		return err
	})
	e.sweepBehind()
	return v, b, err
}

// visitor reads the session of a visitor's call.
func (e *Engine) visitor(tx *db.Tx, c *call, field, lock string) (*session, error) {
	s, err := e.readSession(tx, c.Owner, c.path("session"), lock)
	if err != nil {
		return nil, err
	}
	return s, s.admit(c.secret(field))
}

func (e *Engine) sessionsGet(c *call) error {
	after, err := sequence(c.Query.Get("after"))
	if err != nil {
		return err
	}
	return view(e, c, func(tx *db.Tx) (*sessionView, error) {
		s, err := e.visitor(tx, c, "", "")
		if err != nil {
			return nil, err
		}
		v, err := e.visitorView(tx, s)
		if err != nil {
			return nil, err
		}
		v.Messages, err = e.messages(tx, s.id, after, maxMessages, false)
		return v, err
	})
}

func sequence(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, engine.Invalid("after", "must be the number of a message")
	}
	return n, nil
}

type messageBody struct {
	Text   string `json:"text"`
	Stream bool   `json:"stream"`
	Secret string `json:"secret"`
}

func (e *Engine) sessionsMessage(c *call) error {
	var in messageBody
	if err := engine.Decode(c.Body, &in); err != nil {
		return err
	}
	if err := badMessage(in.Text); err != nil {
		return err
	}
	if !in.Stream {
		v, err := e.converse(c.ctx, c, in.Secret, in.Text, nil)
		if err != nil {
			return err
		}
		c.w.Used(v.cost())
		return c.json(http.StatusOK, v)
	}
	out := &eventWriter{w: c.w}
	v, err := e.converse(c.ctx, c, in.Secret, in.Text, func(piece string) error {
		return out.send(map[string]string{"type": "delta", "text": piece})
	})
	if err != nil {
		if out.started && c.ctx.Err() == nil {
			p := problem.As(err)
			if sent := out.send(map[string]string{"type": "error", "code": p.ID, "detail": p.Text(c.Language)}); sent != nil {
				return sent
			}
		}
		return err
	}
	c.w.Used(v.cost())
	if v.Message != nil && !out.started {
		for _, piece := range pieces(v.Message.Text) {
			if err := out.send(map[string]string{"type": "delta", "text": piece}); err != nil {
				return err
			}
		}
	}
	return out.send(struct {
		Type string `json:"type"`
		*sessionView
	}{"message", v})
}

// pieces cuts a text that is there at once into what a stream would bring.
func pieces(text string) []string {
	var out []string
	for text != "" {
		p := cutRunes(text, 24)
		if i := strings.LastIndexByte(p, ' '); i > 0 && len(p) < len(text) {
			p = p[:i+1]
		}
		out = append(out, p)
		text = text[len(p):]
	}
	return out
}

// eventWriter writes an event stream.
type eventWriter struct {
	w       engine.Writer
	started bool
	buf     []byte
}

func (o *eventWriter) start() {
	if !o.started {
		o.started = true
		o.w.SetHeader("Cache-Control", "no-store")
		o.w.Start(http.StatusOK, "text/event-stream")
	}
}

func (o *eventWriter) send(v any) error { return o.sendID("", v) }

func (o *eventWriter) sendID(id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	o.start()
	o.buf = o.buf[:0]
	if id != "" {
		o.buf = append(append(append(o.buf, "id: "...), id...), '\n')
	}
	if err := o.w.Write(sse.AppendEvent(o.buf, data)); err != nil {
		return err
	}
	return o.w.Flush()
}

func (o *eventWriter) comment(text string) error {
	o.start()
	if err := o.w.Write([]byte(": " + text + "\n\n")); err != nil {
		return err
	}
	return o.w.Flush()
}

// converse is one turn: the visitor's text, the bot's answer, and what follows from it, all stored at once. A turn that meets
// a change by somebody else is done again.
func (e *Engine) converse(ctx context.Context, c *call, secret, text string, piece func(string) error) (*sessionView, error) {
	unlock, err := e.turns.lock(ctx, c.path("session"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	text = strings.TrimSpace(normalise(text))
	if err := badMessage(text); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		v, err := e.converseOnce(ctx, c, secret, text, piece)
		if err == nil || try == 3 || problem.As(err).ID != "assist.session_busy" {
			return v, err
		}
		piece = nil // what was streamed before is not taken back
	}
}

func (e *Engine) converseOnce(ctx context.Context, c *call, secret, text string, piece func(string) error) (*sessionView, error) {
	var s *session
	var b *Bot
	var history []Message
	err := e.o.DB.View(ctx, func(tx *db.Tx) (err error) {
		if s, err = e.visitor(tx, c, secret, ""); err != nil {
			return err
		}
		if b, err = readBot(tx, s.owner, s.bot); err != nil {
			return err
		}
		history, err = e.messages(tx, s.id, max(0, s.seq-remembered), remembered, false)
		return err
	})
	if err != nil {
		return nil, err
	}
	switch {
	case s.state == closed:
		return nil, problem.New(problem.Conflict, "assist.closed", "the conversation is closed; begin another one")
	case s.seq >= maxMessages:
		return nil, problem.New(problem.Conflict, "assist.session_full", "a conversation may have %d messages; begin another one", maxMessages)
	case s.state == waiting || s.state == human:
		return e.tellAgent(ctx, s.owner, s.id, b, text)
	}
	s.memory = cloneMemory(s.memory)
	t := &turn{e: e, ctx: ctx, bot: b, s: s, text: text, now: e.clock.Now(), history: history, caller: c.Caller, piece: piece}
	r, err := t.answer()
	if err != nil {
		return nil, err
	}
	if r.handover != "" {
		if r.queue, err = e.classify(ctx, b, s.owner, r.queue, s.language, said(history, text)); err != nil {
			return nil, err
		}
	}
	var v *sessionView
	commit := context.WithoutCancel(ctx) // the answer was made and perhaps heard: it belongs to the transcript
	err = e.o.DB.Update(commit, func(tx *db.Tx) error {
		n := *s // the function may run again
		n.memory = cloneMemory(s.memory)
		v, err = e.commit(tx, &n, b, text, r)
		return err
	})
	return v, err
}

// commit stores a turn.
func (e *Engine) commit(tx *db.Tx, s *session, b *Bot, text string, r reply) (*sessionView, error) {
	s.turns++
	if r.answered {
		s.answered++
	}
	s.active, s.expires = tx.Now(), tx.Now().AddDate(0, 0, b.Days)
	if err := e.say(tx, s, &Message{Role: "user", Text: text, Language: s.language, Intent: r.Intent}); err != nil {
		return nil, err
	}
	m := r.Message
	if err := e.say(tx, s, &m); err != nil {
		return nil, err
	}
	if r.handover != "" {
		if err := e.queueUp(tx, s, b, r.handover, r.queue, r.priority); err != nil {
			return nil, err
		}
	}
	if err := e.updateSession(tx, s); err != nil {
		return nil, err
	}
	v, err := e.visitorView(tx, s)
	if err == nil {
		v.Message = &m
	}
	return v, err
}

// tellAgent stores what a visitor says to the person who has, or will have, the session.
func (e *Engine) tellAgent(ctx context.Context, owner, id string, b *Bot, text string) (*sessionView, error) {
	lang, _ := e.identifySure(text)
	var v *sessionView
	err := e.o.DB.Update(ctx, func(tx *db.Tx) error {
		s, err := e.readSession(tx, owner, id, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		if s.state != waiting && s.state != human {
			return changedMeanwhile()
		}
		s.turns++
		s.active, s.expires = tx.Now(), tx.Now().AddDate(0, 0, b.Days)
		if err := e.say(tx, s, &Message{Role: "user", Text: text, Language: lang}); err != nil {
			return err
		}
		if err := e.updateSession(tx, s); err != nil {
			return err
		}
		v, err = e.visitorView(tx, s)
		return err
	})
	return v, err
}
