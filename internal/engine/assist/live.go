package assist

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var reference = regexp.MustCompile(`\s?\[\d{1,2}\]`)

var errHangUp = errors.New("the client has ended the session")

// Times and sizes of live voice.
const (
	listenRate  = 16000
	bytesASec   = 2 * listenRate
	chunkTime   = 100 * time.Millisecond // of sound in one message
	ahead       = 400 * time.Millisecond // how far sound is sent before it is to be heard
	silentFor   = 90 * time.Second       // without any message the line is given up
	startWithin = 15 * time.Second
	maxFrame    = 1 << 20
	maxWaiting  = 8 // utterances that wait for their turn
)

// inbound is a message of the client, or the end of them.
type inbound struct {
	text bool
	data []byte
	err  error
}

// outbound is something to be sent, in the order it is made. gen is the number of the speech it belongs to.
type outbound struct {
	gen   int
	event map[string]any
	sound []byte
	rate  int
}

// live is one voice session. run's goroutine owns everything but what the turns' goroutine is given.
type live struct {
	e     *Engine
	base  context.Context // of the connection
	ctx   context.Context // ends with run
	r     *engine.Request
	conn  engine.Conn
	limit engine.Quantity

	id, secret, lang string
	bot              *Bot
	greeting         *Message // of a session that begins with the call
	ear              *Recogniser
	used, reported   engine.Quantity
	out              chan outbound
	broken           chan error  // why a goroutine of the session cannot go on
	said             chan string // utterances for the turns' goroutine

	mu      sync.Mutex
	gen     int                // guarded by mu: number of the present speech; older sound is not sent
	silence context.CancelFunc // guarded by mu: ends the present speech
	playing time.Time          // when what was sent has been heard; run's goroutine only
}

type liveMessage struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Session  string `json:"session"`
	Secret   string `json:"secret"`
	Language string `json:"language"`
	Name     string `json:"name"`
}

func (l *live) event(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.conn.Write(l.base, true, data)
}

func badFrame() error {
	return problem.New(problem.Invalid, "assist.bad_frame", "a message of the voice session must be JSON with a type, or binary PCM16 of at most %d bytes", maxFrame)
}

// parseLive reads a client's text message.
func parseLive(data []byte) (liveMessage, error) {
	var m liveMessage
	if len(data) > 64<<10 {
		return m, badFrame()
	}
	if err := engine.Decode(data, &m); err != nil || m.Type == "" {
		return m, badFrame()
	}
	return m, nil
}

func (l *live) run() error {
	in := make(chan inbound)
	ctx, cancel := context.WithCancel(l.ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	l.ctx, l.broken = ctx, make(chan error, 3)
	work.Go(func() { l.guard("reading a voice session", func() { l.read(in) }) })
	if err := l.start(in); err != nil {
		return err
	}
	defer l.ear.Close()
	l.out, l.said = make(chan outbound), make(chan string, maxWaiting)
	work.Go(func() { l.guard("the turns of a voice session", l.turns) })
	news, stop, ok := l.e.hub.listen(l.id)
	if !ok {
		return problem.New(problem.TooMany, "assist.too_many_streams", "too many event streams are open; close some").After(30 * time.Second)
	}
	defer stop()
	work.Go(func() { l.guard("the agents of a voice session", func() { l.agents(news) }) })
	idle := time.NewTimer(silentFor)
	defer idle.Stop()
	for {
		select {
		case m := <-in:
			idle.Reset(silentFor)
			if m.err != nil {
				return m.err
			}
			if err := l.take(m); err != nil {
				return err
			}
		case o := <-l.out:
			if err := l.send(o); err != nil {
				return err
			}
		case u, ok := <-l.ear.Events:
			if !ok {
				return problem.New(problem.Unavailable, "assist.deaf", "speech recognition has broken off; begin another voice session")
			}
			if err := l.heard([]Utterance{u}); err != nil {
				return err
			}
		case err := <-l.broken:
			return err
		case <-idle.C:
			return errHangUp
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
}

// guard runs a goroutine of the session; a panic there ends the session with an error that the client is told.
func (l *live) guard(where string, f func()) {
	if err := engine.Guard(l.e.log, "assist: "+where, func() error { f(); return nil }); err != nil {
		l.broken <- err
	}
}

// read passes the client's messages on.
func (l *live) read(in chan<- inbound) {
	for {
		text, data, err := l.conn.Read(l.ctx)
		if errors.Is(err, io.EOF) {
			err = errHangUp
		}
		select {
		case in <- inbound{text, data, err}:
		case <-l.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// start waits for the first message and finds or makes the session.
func (l *live) start(in <-chan inbound) error {
	timeout := time.NewTimer(startWithin)
	defer timeout.Stop()
	var first inbound
	select {
	case first = <-in:
	case err := <-l.broken:
		return err
	case <-timeout.C:
		return problem.New(problem.Timeout, "assist.no_start", "the voice session must begin with a message of type start")
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
	if first.err != nil {
		return first.err
	}
	m, err := parseLive(first.data)
	if err != nil || !first.text || m.Type != "start" {
		return problem.New(problem.Invalid, "assist.no_start", "the voice session must begin with a message of type start")
	}
	ready := map[string]any{"type": "ready", "listen": map[string]any{"encoding": "pcm16", "sample_rate": listenRate, "channels": 1}}
	if m.Session != "" {
		if err := l.resume(m); err != nil {
			return err
		}
	} else if err := l.begin(m, ready); err != nil {
		return err
	}
	ready["session"], ready["language"], ready["bot"] = l.id, l.lang, l.e.face(l.bot)
	if l.ear, err = l.e.o.NewRecogniser(l.ctx, l.lang); err != nil {
		return err
	}
	if err := l.event(ready); err != nil {
		l.ear.Close()
		return err
	}
	return nil
}

func (l *live) resume(m liveMessage) error {
	return l.e.o.DB.View(l.ctx, func(tx *db.Tx) error {
		s, err := l.e.readSession(tx, l.r.Owner, m.Session, "")
		if err != nil {
			return err
		}
		if err := s.admit(m.Secret); err != nil {
			return err
		}
		if l.bot, err = readBot(tx, s.owner, l.r.Params["bot"]); err != nil {
			return err
		}
		if s.bot != l.bot.ID {
			return notFound("session", m.Session)
		}
		l.id, l.secret, l.lang = s.id, m.Secret, s.language
		if l.lang == "" {
			l.lang = l.bot.Languages[0]
		}
		return nil
	})
}

func (l *live) begin(m liveMessage, ready map[string]any) error {
	in := createSession{Language: m.Language, Name: m.Name, Channel: "voice"}
	if err := in.check(); err != nil {
		return err
	}
	v, b, err := l.e.begin(l.ctx, l.r.Owner, l.r.Params["bot"], in)
	if err != nil {
		return err
	}
	l.id, l.secret, l.bot, l.lang = v.ID, v.Secret, b, in.Language
	if l.lang == "" {
		l.lang = b.Languages[0]
	}
	ready["secret"], ready["message"], l.greeting = v.Secret, v.Message, v.Message
	return nil
}

// take handles one message of the client.
func (l *live) take(m inbound) error {
	if !m.text {
		if len(m.data) > maxFrame || len(m.data)%2 != 0 {
			return badFrame()
		}
		if err := l.use(engine.Quantity(len(m.data)) * 1000 / bytesASec); err != nil {
			return err
		}
		heard, err := l.ear.Feed(m.data)
		if err != nil {
			return err
		}
		return l.heard(heard)
	}
	msg, err := parseLive(m.data)
	if err != nil {
		return err
	}
	switch msg.Type {
	case "text":
		if err := badMessage(msg.Text); err != nil {
			return err
		}
		if err := l.interrupt(); err != nil {
			return err
		}
		return l.utter(msg.Text)
	case "interrupt":
		return l.interrupt()
	case "flush":
		if l.ear.Flush == nil {
			return nil
		}
		heard, err := l.ear.Flush()
		if err != nil {
			return err
		}
		return l.heard(heard)
	case "end":
		return errHangUp
	}
	return badFrame()
}

// heard acts on what the recogniser made of the sound: a voice silences the bot at once.
func (l *live) heard(list []Utterance) error {
	for _, u := range list {
		if u.Speaking || strings.TrimSpace(u.Text) != "" {
			if err := l.interrupt(); err != nil {
				return err
			}
		}
		text := strings.TrimSpace(u.Text)
		if text == "" {
			continue
		}
		if !u.Final {
			if err := l.event(map[string]any{"type": "partial", "text": text}); err != nil {
				return err
			}
			continue
		}
		if err := l.utter(cutRunes(text, maxMessageRunes)); err != nil {
			return err
		}
	}
	return nil
}

// utter hands what the visitor said to the turns.
func (l *live) utter(text string) error {
	if err := l.event(map[string]any{"type": "user", "text": text}); err != nil {
		return err
	}
	select {
	case l.said <- text:
		return nil
	default:
		return problem.New(problem.TooMany, "assist.too_fast", "more was said than can be answered; wait for the answers")
	}
}

// interrupt silences the bot if it speaks.
func (l *live) interrupt() error {
	l.mu.Lock()
	speaking := l.silence != nil || time.Now().Before(l.playing)
	if l.silence != nil {
		l.silence()
		l.silence = nil
	}
	l.gen++
	l.mu.Unlock()
	if !speaking {
		return nil
	}
	l.playing = time.Time{}
	return l.event(map[string]any{"type": "interrupted"})
}

// use adds to what the session has used; it ends the session when that is all it may.
func (l *live) use(q engine.Quantity) error {
	l.used += q
	if l.used > l.limit {
		l.used = l.limit
		if err := l.conn.Used(l.used); err != nil {
			return err
		}
		return problem.New(problem.TooLarge, "assist.voice_over", "the voice session has reached its length; begin another one, or set max_seconds")
	}
	if l.used-l.reported < engine.Units(1)/2 {
		return nil
	}
	l.reported = l.used
	return l.conn.Used(l.used)
}

// send writes what a turn made, unless the visitor has interrupted it.
func (l *live) send(o outbound) error {
	l.mu.Lock()
	stale := o.gen != 0 && o.gen != l.gen
	l.mu.Unlock()
	if stale {
		return nil
	}
	if o.event != nil {
		return l.event(o.event)
	}
	length := time.Duration(len(o.sound)/2) * time.Second / time.Duration(o.rate)
	if err := l.use(engine.Quantity(length / time.Millisecond)); err != nil {
		return err
	}
	if now := time.Now(); l.playing.Before(now) {
		l.playing = now
	}
	l.playing = l.playing.Add(length)
	return l.conn.Write(l.ctx, false, o.sound)
}

// turns answers what was said, one after the other, and speaks the answers. It runs on its own goroutine.
func (l *live) turns() {
	if l.greeting != nil {
		l.speak(l.greeting.Text, l.greeting.Language)
	}
	for {
		select {
		case text := <-l.said:
			l.turn(text)
		case <-l.ctx.Done():
			return
		}
	}
}

// pass gives something to run's goroutine to send.
func (l *live) pass(ctx context.Context, o outbound) bool {
	select {
	case l.out <- o:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *live) turn(text string) {
	c := &call{Request: &engine.Request{Owner: l.r.Owner, Params: map[string]string{"session": l.id}, Caller: l.r.Caller, Language: l.r.Language}}
	v, err := l.e.converse(l.ctx, c, l.secret, text, nil)
	if err != nil {
		p := problem.As(err)
		l.pass(l.ctx, outbound{event: map[string]any{"type": "error", "code": p.ID, "detail": p.Text(l.r.Language)}})
		return
	}
	if v.State != withBot {
		l.pass(l.ctx, outbound{event: map[string]any{"type": "status", "state": v.State, "queue": v.Queue, "agent": v.Agent}})
	}
	if v.Message == nil {
		return
	}
	if l.pass(l.ctx, outbound{event: map[string]any{"type": "bot", "message": v.Message}}) {
		l.speak(v.Message.Text, v.Message.Language)
	}
}

// speak says a text sentence by sentence, no further ahead of the listener than can be taken back.
func (l *live) speak(text, lang string) {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.mu.Lock()
	l.gen++
	gen := l.gen
	l.silence = cancel
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.gen == gen {
			l.silence = nil
		}
	}()
	started, heardAt := 0, time.Now()
	for rest := spoken(text); strings.TrimSpace(rest) != ""; {
		end := sentenceEnd(rest, 0)
		var part string
		part, rest = rest[:end], rest[end:]
		if !strings.ContainsFunc(part, wordly) {
			continue
		}
		sound, err := l.e.voiced(ctx, l.bot, strings.TrimSpace(part), lang)
		if ctx.Err() != nil {
			return
		}
		if err != nil || sound.Rate <= 0 {
			l.e.log.Warn("assist: not spoken", "language", lang, "error", err)
			p := problem.As(err)
			l.pass(ctx, outbound{gen: gen, event: map[string]any{"type": "unspoken", "detail": p.Text(l.r.Language)}})
			break
		}
		if started != sound.Rate {
			started = sound.Rate
			if !l.pass(ctx, outbound{gen: gen, event: map[string]any{"type": "audio_start", "encoding": "pcm16", "sample_rate": sound.Rate}}) {
				return
			}
		}
		if heardAt.Before(time.Now()) {
			heardAt = time.Now()
		}
		if heardAt = l.play(ctx, gen, sound, heardAt); heardAt.IsZero() {
			return
		}
	}
	if started > 0 {
		l.pass(ctx, outbound{gen: gen, event: map[string]any{"type": "audio_end"}})
	}
}

// play sends sound in small pieces; it returns when the last of it will have been heard, or zero when it was silenced.
func (l *live) play(ctx context.Context, gen int, s Sound, heardAt time.Time) time.Time {
	size := 2 * int(time.Duration(s.Rate)*chunkTime/time.Second)
	for from := 0; from < len(s.PCM); from += size {
		chunk := s.PCM[from:min(from+size, len(s.PCM))]
		if wait := time.Until(heardAt) - ahead; wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return time.Time{}
			}
		}
		if !l.pass(ctx, outbound{gen: gen, sound: chunk, rate: s.Rate}) {
			return time.Time{}
		}
		heardAt = heardAt.Add(time.Duration(len(chunk)/2) * time.Second / time.Duration(s.Rate))
	}
	return heardAt
}

// agents passes on what a person writes while the visitor is on the line. It runs on its own goroutine.
func (l *live) agents(news <-chan struct{}) {
	poll := time.NewTicker(streamPoll)
	defer poll.Stop()
	after := int64(-1)
	for {
		var list []Message
		err := l.e.o.DB.View(l.ctx, func(tx *db.Tx) error {
			s, err := l.e.readSession(tx, l.r.Owner, l.id, "")
			if err != nil || s.seq <= after {
				return err
			}
			if after < 0 {
				after = s.seq
				return nil
			}
			list, err = l.e.messages(tx, l.id, after, 100, false)
			after = s.seq
			return err
		})
		if err != nil {
			return // the session is gone, or the line
		}
		for _, m := range list {
			switch {
			case m.Role == "agent":
				if !l.pass(l.ctx, outbound{event: map[string]any{"type": "agent", "message": m}}) {
					return
				}
				l.speak(m.Text, m.Language)
			case m.Role == "event" && m.Event != "queued":
				if !l.pass(l.ctx, outbound{event: map[string]any{"type": "status", "event": m.Event, "agent": m.Agent}}) {
					return
				}
			}
		}
		select {
		case <-news:
		case <-poll.C:
		case <-l.ctx.Done():
			return
		}
	}
}
