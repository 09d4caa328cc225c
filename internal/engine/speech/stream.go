package speech

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	// maxSession and usualSession are the seconds of sound that a session may send.
	maxSession, usualSession = 3600, 300
	// maxMessage is the largest message of sound, some seconds of it.
	maxMessage = 1 << 20
	// silence is how long a session may send nothing.
	silence = time.Minute
)

// sessionSeconds is the sound that a session may send, of its query parameter max_seconds.
func sessionSeconds(r *engine.Request) (int, error) {
	s := r.Query.Get("max_seconds")
	if s == "" {
		return usualSession, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxSession {
		return 0, engine.Invalid("max_seconds", "must be from 1 to "+strconv.Itoa(maxSession))
	}
	return n, nil
}

func measureStream(r *engine.Request) (engine.Quantity, error) {
	n, err := sessionSeconds(r)
	return engine.Units(n), err
}

// control is a text message of the client.
type control struct {
	Type     string `json:"type"` // start, flush, stop
	Rate     int    `json:"sample_rate"`
	Language string `json:"language"`
	Encoding string `json:"encoding"`
	Silence  int    `json:"min_silence_ms"`
	Partials *bool  `json:"partials"`
}

// encodings of live sound: bytes of a sample, and the sample.
var liveEncodings = map[string]struct {
	width int
	read  func([]byte) int16
}{
	"pcm16": {2, func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) }},
	"mulaw": {1, func(b []byte) int16 { return muLaw(b[0]) }},
	"alaw":  {1, func(b []byte) int16 { return aLaw(b[0]) }},
	"float32": {4, func(b []byte) int16 {
		return toPCM(tame(float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))))
	}},
}

// parseControl reads a text message.
func parseControl(message []byte) (*control, error) {
	c := &control{}
	if err := engine.Decode(message, c); err != nil {
		return nil, err
	}
	switch c.Type {
	case "stop", "flush":
		return c, nil
	case "start":
	default:
		return nil, problem.New(problem.Invalid, "speech.message", "a text message must be JSON with a type of start, flush or stop")
	}
	if c.Encoding == "" {
		c.Encoding = "pcm16"
	}
	if c.Rate == 0 {
		c.Rate = rate
	}
	switch _, ok := liveEncodings[c.Encoding]; {
	case !ok:
		return nil, engine.Invalid("encoding", "must be pcm16, mulaw, alaw or float32")
	case c.Rate < minRate || c.Rate > maxRate:
		return nil, problem.New(problem.Invalid, "speech.rate", "the sample rate must be from %d to %d Hz", minRate, maxRate)
	case c.Silence < 0 || c.Silence > 10_000:
		return nil, engine.Invalid("min_silence_ms", "must be milliseconds up to 10000")
	case !plainTag(c.Language):
		return nil, engine.Invalid("language", "must be a language code such as en")
	}
	return c, nil
}

// talk is a session of live recognition.
type talk struct {
	e     *Engine
	r     *engine.Request
	c     engine.Conn
	start *control
	live  *Live
	most  int // samples
	heard int // samples

	mu sync.Mutex // of writing
}

// Talk holds a session of live recognition: see the contract.
func (e *Engine) Talk(ctx context.Context, r *engine.Request, c engine.Conn) error {
	t := &talk{e: e, r: r, c: c}
	err := t.run(ctx)
	if p := (*problem.Error)(nil); errors.As(err, &p) && ctx.Err() == nil {
		_ = t.write(ctx, map[string]any{"type": "error", "error": map[string]any{"code": p.ID, "message": p.Text(r.Language)}}) // it may have left
	}
	return err
}

func (t *talk) run(ctx context.Context) error {
	n, err := sessionSeconds(t.r)
	if err != nil {
		return err
	}
	start, err := parseControl([]byte(`{"type":"start"}`))
	if err != nil {
		return err
	}
	start.Language = t.r.Query.Get("language")
	text, message, err := t.read(ctx)
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	case text:
		if start, err = parseControl(message); err != nil {
			return err
		}
		if start.Type != "start" {
			return problem.New(problem.Invalid, "speech.not_started", "send a message of type start, or sound, first")
		}
		message = nil
	}
	t.start, t.most = start, n*start.Rate
	t.live, err = t.e.Listen(ctx, Listen{Model: t.r.Model, Language: start.Language, Rate: start.Rate,
		Cut: Cut{MinSilence: start.Silence}, Quiet: start.Partials != nil && !*start.Partials})
	if err != nil {
		return err
	}
	defer t.live.Close()
	a := t.live.by.about()
	if err := t.write(ctx, news{Type: "ready", Engine: a.engine, Model: a.model, Quality: a.quality, Language: a.language,
		Rate: start.Rate, Encoding: start.Encoding, Most: n}); err != nil {
		return err
	}
	listening, deaf := context.WithCancel(ctx)
	defer deaf()
	told := make(chan error, 1)
	go func() {
		told <- engine.Guard(t.e.log, "speech: a live session", func() error { return t.tell(ctx) })
		deaf() // nobody listens any more
	}()
	return t.end(ctx, t.listen(listening, message), told)
}

// end ends the session for a reason, nil if the client asked for it.
func (t *talk) end(ctx context.Context, why error, told <-chan error) error {
	used := problem.Is(why, problem.Funds) || problem.Is(why, problem.TooLarge)
	if why == nil || used { // what was heard so far is paid for
		if err := t.live.Finish(); err != nil && why == nil {
			why = err
		}
	} else {
		t.live.Close()
	}
	said := <-told
	switch {
	case errors.Is(why, io.EOF):
		return nil
	case why != nil && !errors.Is(why, context.Canceled):
		return why
	case said != nil:
		return said
	case why != nil:
		return why
	}
	return t.write(ctx, map[string]any{"type": "done", "duration": t.seconds()})
}

func (t *talk) seconds() float64 { return thousandths(float64(t.heard) / float64(t.start.Rate)) }

// read reads a message of a client that is not silent for too long.
func (t *talk) read(ctx context.Context) (text bool, message []byte, err error) {
	limited, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	text, message, err = t.c.Read(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = problem.New(problem.Timeout, "speech.silence", "nothing came for a minute; the session is over").Because(err)
	}
	return text, message, err
}

// listen passes sound on until the client stops it, then nil.
func (t *talk) listen(ctx context.Context, message []byte) error {
	for first := message != nil; ; first = false {
		text := false
		if !first {
			var err error
			if text, message, err = t.read(ctx); err != nil {
				return err
			}
		}
		if text {
			c, err := parseControl(message)
			switch {
			case err != nil:
				return err
			case c.Type == "stop":
				return nil
			case c.Type == "start":
				return problem.New(problem.Invalid, "speech.started", "the session has started already")
			}
			if err := t.live.send(input{flushed: make(chan struct{})}); err != nil {
				return err
			}
			continue
		}
		if err := t.sound(message); err != nil {
			return err
		}
	}
}

// sound takes a binary message.
func (t *talk) sound(message []byte) error {
	enc := liveEncodings[t.start.Encoding]
	n := len(message) / enc.width
	switch {
	case len(message) > maxMessage:
		return problem.New(problem.TooLarge, "speech.big_message", "a message of sound may have at most %d bytes", maxMessage)
	case len(message)%enc.width != 0:
		return problem.New(problem.Invalid, "speech.half_sample", "a message of sound must have whole samples of %d bytes", enc.width)
	case t.heard+n > t.most:
		return problem.New(problem.TooLarge, "speech.session_over", "the session has had the sound that max_seconds allows; open another")
	}
	t.heard += n
	pcm := make([]byte, 0, 2*n)
	for at := 0; at < len(message); at += enc.width {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(enc.read(message[at:])))
	}
	if err := t.live.Feed(pcm); err != nil {
		return err
	}
	return t.c.Used(engine.Quantity(ratio(uint64(t.heard), uint64(t.start.Rate))))
}

// news is what a client is told: of an event, or that the session is ready.
type news struct {
	Type       string   `json:"type"`
	Start      *float64 `json:"start,omitempty"`
	End        *float64 `json:"end,omitempty"`
	Text       *string  `json:"text,omitempty"`
	Words      []Word   `json:"words,omitempty"`
	Confidence *float64 `json:"confidence,omitempty"`
	Engine     string   `json:"engine,omitempty"`
	Model      string   `json:"model,omitempty"`
	Quality    string   `json:"quality,omitempty"`
	Language   string   `json:"language,omitempty"`
	Rate       int      `json:"sample_rate,omitempty"`
	Encoding   string   `json:"encoding,omitempty"`
	Most       int      `json:"max_seconds,omitempty"`
}

// tell passes events on until there are no more. If the client cannot be told, the session ends.
func (t *talk) tell(ctx context.Context) error {
	var failed error
	a := t.live.by.about()
	for ev := range t.live.Events() {
		m := news{Type: ev.Type, Start: &ev.Start}
		if ev.Type != SpeechStarted {
			m.End = &ev.End
		}
		if ev.Type == Partial || ev.Type == Final {
			m.Text, m.Engine, m.Model, m.Quality, m.Language = &ev.Text, a.engine, a.model, a.quality, ev.Language
		}
		if ev.Type == Final {
			m.Words, m.Confidence = ev.Words, known(ev.Text, ev.Confidence)
		}
		if failed == nil {
			if failed = t.write(ctx, m); failed != nil {
				t.live.stop()
			}
		}
	}
	return errors.Join(failed, t.live.Err())
}

func (t *talk) write(ctx context.Context, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.c.Write(ctx, true, data)
}
