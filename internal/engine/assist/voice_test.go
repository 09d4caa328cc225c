package assist_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// line is a WebSocket as the gateway gives it.
type line struct {
	in   chan frame
	out  chan frame
	used engine.Quantity
	most engine.Quantity
}

type frame struct {
	text bool
	data []byte
}

func (l *line) Read(ctx context.Context) (bool, []byte, error) {
	select {
	case f, ok := <-l.in:
		if !ok {
			return false, nil, io.EOF
		}
		return f.text, f.data, nil
	case <-ctx.Done():
		return false, nil, ctx.Err()
	}
}

func (l *line) Write(ctx context.Context, text bool, data []byte) error {
	select {
	case l.out <- frame{text, append([]byte(nil), data...)}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) Used(q engine.Quantity) error {
	l.used = q
	if l.most > 0 && q > l.most {
		return problem.New(problem.Funds, "test.funds", "no more money")
	}
	return nil
}

// send gives the engine a message of the client.
func (l *line) send(v any) {
	if b, ok := v.([]byte); ok {
		l.in <- frame{false, b}
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	l.in <- frame{true, data}
}

// expect reads until an event of the type comes and returns it with the bytes of sound before it.
func (l *line) expect(t *testing.T, kind string) (object, int) {
	t.Helper()
	sound := 0
	for {
		select {
		case f := <-l.out:
			if !f.text {
				sound += len(f.data)
				continue
			}
			var o object
			if err := json.Unmarshal(f.data, &o); err != nil {
				t.Fatal(err)
			}
			if o.text("type") == kind {
				return o, sound
			}
			if o.text("type") == "error" {
				t.Fatalf("waiting for %s: %v", kind, o)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no event %s", kind)
		}
	}
}

// speech stands for the speech room: sound whose first byte is a letter of the script is what the script says.
func speech(script map[byte][]assist.Utterance) assist.Options {
	return assist.Options{
		NewRecogniser: func(context.Context, string) (*assist.Recogniser, error) {
			later := make(chan assist.Utterance, 1)
			return &assist.Recogniser{
				Feed: func(pcm []byte) ([]assist.Utterance, error) { return script[pcm[0]], nil },
				Flush: func() ([]assist.Utterance, error) {
					later <- assist.Utterance{Text: "understood later", Final: true}
					return nil, nil
				},
				Events: later,
				Close:  func() {},
			}, nil
		},
		Speak: func(_ context.Context, text, _, _ string) (assist.Sound, error) {
			return assist.Sound{PCM: make([]byte, 2*16000*len([]rune(text))/20), Rate: 16000, Engine: "test"}, nil // 20 characters a second
		},
		Hear: func(_ context.Context, audio []byte, _, lang string) (assist.Heard, error) {
			return assist.Heard{Text: string(audio), Language: lang, Seconds: 1, Confidence: 0.9, Engine: "test"}, nil
		},
	}
}

func (h *house) call(bot, query string) (*line, chan error) {
	l := &line{in: make(chan frame), out: make(chan frame, 1024)}
	done := make(chan error, 1)
	r := h.request("GET bots/"+bot+"/voice"+query, nil)
	go func() { done <- h.e.Talk(ctx, r, l) }()
	return l, done
}

func TestLiveVoice(t *testing.T) {
	h := small(t, speech(map[byte][]assist.Utterance{
		'q': {{Speaking: true}, {Text: "how long does"}, {Text: "how long does delivery take", Final: true, Confidence: 0.9}},
		'b': {{Speaking: true}},
	}))
	bot, _, _ := h.shop(nil)
	l, done := h.call(bot, "")
	l.send(object{"type": "start", "language": "en"})
	ready, _ := l.expect(t, "ready")
	if ready.text("session") == "" || ready.text("secret") == "" {
		t.Fatalf("ready: %v", ready)
	}
	if _, sound := l.expect(t, "audio_end"); sound == 0 {
		t.Error("no greeting was spoken")
	}
	ask := make([]byte, 3200)
	ask[0] = 'q'
	l.send(ask)
	if o, _ := l.expect(t, "partial"); o.text("text") != "how long does" {
		t.Errorf("partial: %v", o)
	}
	if o, _ := l.expect(t, "user"); o.text("text") != "how long does delivery take" {
		t.Errorf("user: %v", o)
	}
	if o, _ := l.expect(t, "bot"); !strings.Contains(o.text("message.text"), "three to five") {
		t.Errorf("bot: %v", o)
	}
	l.expect(t, "audio_start")
	began := time.Now()
	for n := 0; n < 3; { // the bot speaks for many seconds; after three pieces the visitor cuts in
		if f := <-l.out; !f.text {
			n++
		}
	}
	barge := make([]byte, 640)
	barge[0] = 'b'
	l.send(barge)
	if _, sound := l.expect(t, "interrupted"); sound > 16000 {
		t.Errorf("%d bytes of sound after the interruption", sound)
	}
	if wait := time.Since(began); wait > 2*time.Second {
		t.Errorf("interrupted after %v", wait)
	}
	l.send(object{"type": "flush"})
	if o, _ := l.expect(t, "user"); o.text("text") != "understood later" {
		t.Errorf("user: %v", o)
	}
	l.expect(t, "bot")
	l.send(object{"type": "text", "text": "human please"})
	if o, _ := l.expect(t, "status"); o.text("state") != "waiting" {
		t.Errorf("status: %v", o)
	}
	agent := h.do("POST agents", `{"name":"Ann","status":"online"}`).text("id")
	if o, _ := l.expect(t, "status"); o.text("event") != "assigned" || o.text("agent") != "Ann" {
		t.Errorf("status: %v", o)
	}
	h.do("POST desk/sessions/"+ready.text("session")+"/messages", object{"agent": agent, "text": "Hi."})
	if o, _ := l.expect(t, "agent"); o.text("message.text") != "Hi." {
		t.Errorf("agent: %v", o)
	}
	l.expect(t, "audio_end")
	l.send(object{"type": "end"})
	if err := <-done; err != nil {
		t.Error(err)
	}
	if l.used < 500 {
		t.Errorf("used %d", l.used)
	}
}

func TestLiveVoiceRefusals(t *testing.T) {
	h := small(t, speech(nil))
	bot, _, _ := h.shop(nil)
	for name, c := range map[string]struct {
		send  []any
		query string
		most  engine.Quantity
		id    string
	}{
		"no start":     {send: []any{object{"type": "text", "text": "x"}}, id: "assist.no_start"},
		"binary first": {send: []any{make([]byte, 2)}, id: "assist.no_start"},
		"odd":          {send: []any{object{"type": "start"}, make([]byte, 3)}, id: "assist.bad_frame"},
		"too large":    {send: []any{object{"type": "start"}, make([]byte, 2<<20)}, id: "assist.bad_frame"},
		"unknown":      {send: []any{object{"type": "start"}, object{"type": "dance"}}, id: "assist.bad_frame"},
		"bad secret":   {send: []any{object{"type": "start", "session": h.visit(bot, nil).id, "secret": "x"}}, id: "assist.not_found"},
		"too long":     {send: []any{object{"type": "start"}, make([]byte, 64000)}, query: "?max_seconds=1", id: "assist.voice_over"},
		"no money":     {send: []any{object{"type": "start"}, make([]byte, 64000)}, most: 1000, id: "test.funds"},
	} {
		t.Run(name, func(t *testing.T) {
			l, done := h.call(bot, c.query)
			l.most = c.most
			for _, m := range c.send {
				l.send(m)
			}
			err := <-done
			if p := new(problem.Error); !errors.As(err, &p) || p.ID != c.id {
				t.Errorf("%v, want %s", err, c.id)
			}
		})
	}
	bare := small(t, assist.Options{})
	bot, _, _ = bare.shop(nil)
	_, done := bare.call(bot, "")
	if err := <-done; problem.As(err).ID != "engine.missing" {
		t.Error(err)
	}
}

// TestHangUp: a client that leaves ends the session without an error.
func TestHangUp(t *testing.T) {
	h := small(t, speech(nil))
	bot, _, _ := h.shop(nil)
	l, done := h.call(bot, "")
	l.send(object{"type": "start"})
	l.expect(t, "ready")
	close(l.in)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestVoiceTurn(t *testing.T) {
	h := small(t, speech(nil))
	bot, _, _ := h.shop(nil)
	v := h.visit(bot, nil)
	turn := func(words, speak string) (object, engine.Quantity) {
		r := h.request(v.line("POST", "/voice"), nil)
		r.Type, r.Body = enginetest.Form(t, []string{"speak", speak}, enginetest.File{Field: "audio", Name: "a.wav", Type: "audio/wav", Data: []byte(words)})
		a := &enginetest.Answer{}
		if err := h.e.Serve(ctx, r, a); err != nil {
			t.Fatal(err)
		}
		var o object
		if err := json.Unmarshal(a.Body.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		if len(a.Reports) == 0 {
			t.Error("not reported what was used")
		}
		return o, a.Total()
	}
	o, used := turn("how long does delivery take", "true")
	if o.text("heard.text") != "how long does delivery take" || !strings.Contains(o.text("message.text"), "three to five") || o.text("audio.data") == "" || used != 1000 {
		t.Errorf("%v, used %d", o, used)
	}
	if o, used := turn("  ", ""); o.text("message.text") == "" || o.text("audio.data") != "" || used != 0 {
		t.Errorf("silence: %v, used %d", o, used)
	}
	if got := v.say("human"); got.text("state") != "waiting" {
		t.Errorf("not handed over: %v", got)
	}
	if o, used := turn("my parcel is broken", "true"); o.text("heard.text") != "my parcel is broken" || o.at("message") != nil || used != 0 {
		t.Errorf("to a person: %v, used %d", o, used)
	}
	for _, stream := range []string{"false", "true"} {
		a, err := h.try(v.line("POST", "/messages"), `{"text":"Is anybody there?","stream":`+stream+`}`)
		if err != nil || len(a.Reports) == 0 || a.Total() != 0 {
			t.Errorf("to a person: used %v, %v", a.Reports, err)
		}
	}
	bare := small(t, assist.Options{})
	bot, _, _ = bare.shop(nil)
	v = bare.visit(bot, nil)
	bare.refused("engine.missing", v.line("POST", "/voice"), "x")
}

// TestVoiceOfAnotherLanguage: a bot whose voice cannot say an answer says it with another.
func TestVoiceOfAnotherLanguage(t *testing.T) {
	o := speech(nil)
	say := o.Speak
	o.Speak = func(ctx context.Context, text, lang, voice string) (assist.Sound, error) {
		if voice == "latin" && lang == "zh" {
			return assist.Sound{}, engine.Invalid("voice", "reads Latin letters alone")
		}
		return say(ctx, text, lang, voice)
	}
	h := small(t, o)
	bot, _, _ := h.shop(object{"voice": "latin"})
	l, done := h.call(bot, "")
	l.send(object{"type": "start", "language": "zh"})
	l.expect(t, "ready")
	if _, sound := l.expect(t, "audio_end"); sound == 0 {
		t.Error("the greeting was not said")
	}
	close(l.in)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLivePanic: what panics behind a voice session ends that session with an error, and nothing else.
func TestLivePanic(t *testing.T) {
	o := speech(nil)
	o.Speak = func(context.Context, string, string, string) (assist.Sound, error) { panic("ouch") }
	h := small(t, o)
	bot, _, _ := h.shop(nil)
	l, done := h.call(bot, "")
	l.send(object{"type": "start", "language": "en"})
	l.expect(t, "ready")
	if o, _ := l.expect(t, "error"); o.text("code") != "engine.panicked" {
		t.Errorf("error: %v", o)
	}
	if err := <-done; problem.As(err).ID != "engine.panicked" {
		t.Error(err)
	}
	h.visit(bot, nil).say("How long does delivery take?")
}
