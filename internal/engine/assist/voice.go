package assist

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// heardView is what was understood of a recording.
type heardView struct {
	Text       string  `json:"text"`
	Language   string  `json:"language,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"`
	Confidence float64 `json:"confidence,omitempty"`
	Engine     string  `json:"engine,omitempty"`
}

// audioView is a spoken answer.
type audioView struct {
	Format string `json:"format"` // wav
	Rate   int    `json:"sample_rate"`
	Data   string `json:"data"` // base64
	Engine string `json:"engine,omitempty"`
}

// maxSpoken bounds the text of one spoken answer, in runes.
const maxSpoken = 1500

// sessionsVoice is a turn by voice: a recording in, text and perhaps a spoken answer out.
func (e *Engine) sessionsVoice(c *call) error {
	if e.o.Hear == nil {
		return engine.Missing("speech recognition")
	}
	form, err := engine.ParseForm(c.Type, c.Body)
	if err != nil {
		return err
	}
	files := append(form.Files["audio"], form.Files["file"]...)
	if len(files) != 1 || len(files[0].Data) == 0 {
		return engine.Invalid("audio", "must be one recording")
	}
	speak := form.Value("speak") == "true" || form.Value("speak") == "1"
	if speak && e.o.Speak == nil {
		return engine.Missing("speech synthesis")
	}
	var s *session
	var b *Bot
	err = e.o.DB.View(c.ctx, func(tx *db.Tx) (err error) {
		if s, err = e.visitor(tx, c, form.Value("secret"), ""); err != nil {
			return err
		}
		b, err = readBot(tx, s.owner, s.bot)
		return err
	})
	if err != nil {
		return err
	}
	lang := form.Value("language")
	if lang == "" {
		lang = s.language
	}
	if lang == "" {
		lang = b.Languages[0]
	}
	heard, err := e.o.Hear(c.ctx, files[0].Data, files[0].Type, primary(lang))
	if err != nil {
		return err
	}
	view := &sessionView{ID: s.id, State: s.state, Language: lang, Created: s.created, Expires: s.expires}
	if strings.TrimSpace(heard.Text) == "" {
		m := e.sentence(c.ctx, b, "unheard", primary(lang)).tell()
		m.At, m.Model = e.clock.Now(), "dialogue"
		view.Message = &m
	} else if view, err = e.converse(c.ctx, c, form.Value("secret"), cutRunes(heard.Text, maxMessageRunes), nil); err != nil {
		return err
	}
	view.Heard = &heardView{heard.Text, heard.Language, round(heard.Seconds), round(heard.Confidence), heard.Engine}
	if speak && view.Message != nil {
		sound, err := e.voiced(c.ctx, b, spoken(view.Message.Text), view.Message.Language)
		if err != nil {
			return err
		}
		view.Audio = &audioView{"wav", sound.Rate, base64.StdEncoding.EncodeToString(wav(sound)), sound.Engine}
	}
	c.w.Used(view.cost())
	return c.json(http.StatusOK, view)
}

// voiced says a text with the bot's voice, or the one of the text's language where that voice does not know the language.
func (e *Engine) voiced(ctx context.Context, b *Bot, text, lang string) (Sound, error) {
	s, err := e.o.Speak(ctx, text, lang, b.Voice)
	if b.Voice != "" && problem.Is(err, problem.Invalid) {
		return e.o.Speak(ctx, text, lang, "")
	}
	return s, err
}

// spoken is a text as it is said: without marks of Markdown and references.
func spoken(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimLeft(line, "#>-*| ")
		b.WriteString(strings.NewReplacer("**", "", "`", "", " | ", ", ").Replace(line))
	}
	return cutRunes(strings.TrimSpace(reference.ReplaceAllString(b.String(), "")), maxSpoken)
}

// wav puts a RIFF header before mono PCM16.
func wav(s Sound) []byte {
	out := make([]byte, 0, 44+len(s.PCM))
	le := binary.LittleEndian
	out = le.AppendUint32(append(out, "RIFF"...), uint32(36+len(s.PCM)))
	out = le.AppendUint32(append(out, "WAVEfmt "...), 16)
	out = le.AppendUint16(le.AppendUint16(out, 1), 1)
	out = le.AppendUint32(le.AppendUint32(out, uint32(s.Rate)), uint32(2*s.Rate))
	out = le.AppendUint16(le.AppendUint16(out, 2), 16)
	out = le.AppendUint32(append(out, "data"...), uint32(len(s.PCM)))
	return append(out, s.PCM...)
}

// Length of a live voice session in seconds of sound, both directions together.
const (
	voiceDefault = 300
	voiceMost    = 3600
)

func voiceLimit(r *engine.Request) (int, error) {
	s := r.Query.Get("max_seconds")
	if s == "" {
		return voiceDefault, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > voiceMost {
		return 0, engine.Invalid("max_seconds", "must be from 1 to "+strconv.Itoa(voiceMost))
	}
	return n, nil
}

// measureVoice: the session ends when max_seconds of sound have gone either way.
func measureVoice(r *engine.Request) (engine.Quantity, error) {
	n, err := voiceLimit(r)
	return engine.Units(n), err
}

// Talk implements [engine.Talker]: a live voice session.
//
// The client sends {"type":"start"} first, with session and secret to go on with a session, or language and name for a new
// one; then 16 kHz mono PCM16 as binary messages. It may send {"type":"text","text":…} instead of speaking, {"type":"interrupt"}
// to silence the bot, {"type":"flush"} where the visitor has stopped speaking, and {"type":"end"}. It gets JSON events: ready, partial, user, bot, agent, status, audio_start, audio_end,
// interrupted, error; and between audio_start and audio_end the bot's voice as binary messages of PCM16.
func (e *Engine) Talk(ctx context.Context, r *engine.Request, c engine.Conn) error {
	if e.o.NewRecogniser == nil {
		return engine.Missing("live speech recognition")
	}
	if e.o.Speak == nil {
		return engine.Missing("speech synthesis")
	}
	limit, err := voiceLimit(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	l := &live{e: e, base: ctx, ctx: ctx, r: r, conn: c, limit: engine.Units(limit)}
	err = l.run()
	if err == nil || errors.Is(err, errHangUp) {
		return nil
	}
	if p := new(problem.Error); errors.As(err, &p) && ctx.Err() == nil {
		_ = l.event(map[string]any{"type": "error", "code": p.ID, "detail": p.Text(r.Language)}) // the session ends anyway
	}
	return err
}
