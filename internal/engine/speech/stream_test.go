package speech

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// sent is a message of the client.
type sent struct {
	text bool
	data []byte
}

// line is a session with a client that sends its messages and then leaves, or waits.
type line struct {
	in   []sent
	wait bool // after the last message, until the session ends

	mu    sync.Mutex
	out   []map[string]any
	used  engine.Quantity
	most  engine.Quantity
	broke bool // writing fails
}

func (l *line) Read(ctx context.Context) (bool, []byte, error) {
	if len(l.in) == 0 {
		if l.wait {
			<-ctx.Done()
			return false, nil, ctx.Err()
		}
		return false, nil, io.EOF
	}
	m := l.in[0]
	l.in = l.in[1:]
	return m.text, m.data, nil
}

func (l *line) Write(_ context.Context, _ bool, message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broke {
		return io.ErrClosedPipe
	}
	var m map[string]any
	if err := json.Unmarshal(message, &m); err != nil {
		return err
	}
	l.out = append(l.out, m)
	return nil
}

func (l *line) Used(q engine.Quantity) error {
	l.used = q
	if l.most > 0 && q >= l.most {
		return problem.New(problem.Funds, "gateway.session_cut", "used up")
	}
	return nil
}

// kinds are the types of what the client was told, without repetitions.
func (l *line) kinds() string {
	var all []string
	for _, m := range l.out {
		all = append(all, m["type"].(string))
	}
	return strings.Join(slices.Compact(all), " ")
}

func (l *line) text() string {
	var all []string
	for _, m := range l.out {
		if m["type"] == "final" && m["text"] != "" {
			all = append(all, m["text"].(string))
		}
	}
	return strings.Join(all, " ")
}

// say is sound in messages of 100 ms.
func say(pcm []int16) (all []sent) {
	for piece := range slices.Chunk(pcm, rate/10) {
		all = append(all, sent{false, appendPCM(nil, piece)})
	}
	return all
}

func talkTo(t testing.TB, e *Engine, l *line, query string) error {
	t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return e.Talk(ctx, &engine.Request{Route: enginetest.Route(t, Routes(), "audio.stream"), Query: q, Language: "en"}, l)
}

func tell(s string) sent { return sent{true, []byte(s)} }

var stop = tell(`{"type":"stop"}`)

func sound(t testing.TB, e *Engine, text string) []int16 {
	t.Helper()
	w, err := parseWAV(spoken(t, e, text))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(make([]int16, rate/2), w.pcm(rate), make([]int16, rate))
}

func TestTalk(t *testing.T) {
	e := whole(t)
	pcm := append(sound(t, e, sentences[0]), sound(t, e, sentences[2])...)
	l := &line{in: append(say(pcm), stop), wait: true}
	if err := talkTo(t, e, l, ""); err != nil {
		t.Fatal(err)
	}
	var w wordErrors
	w.add(sentences[0]+" "+sentences[2], l.text())
	if k := l.kinds(); w.rate() > 0.3 || !strings.HasPrefix(k, "ready speech_started ") || !strings.HasSuffix(k, "final done") || strings.Count(k, "speech_stopped") != 2 {
		t.Errorf("%s: %q", k, l.text())
	}
	if want := engine.Quantity(millis(len(pcm))); l.used != want {
		t.Errorf("used %d, want %d", l.used, want)
	}
	last := 0.0
	for _, m := range l.out {
		if m["type"] != "final" {
			continue
		}
		if m["quality"] != "demo" || m["start"].(float64) < last || m["end"].(float64) <= m["start"].(float64) {
			t.Errorf("%v", m)
		}
		last = m["end"].(float64)
	}
}

// TestTalkEncodings: telephone sound is understood too.
func TestTalkEncodings(t *testing.T) {
	e := whole(t)
	pcm := resample(sound(t, e, sentence), rate, 8000)
	var law []byte
	for _, v := range pcm {
		law = append(law, encodeMuLaw(v))
	}
	l := &line{in: []sent{tell(`{"type":"start","sample_rate":8000,"encoding":"mulaw","partials":false}`), {false, law}, tell(`{"type":"flush"}`), stop}}
	if err := talkTo(t, e, l, ""); err != nil {
		t.Fatal(err)
	}
	if k := l.kinds(); k != "ready speech_started speech_stopped final done" || !strings.Contains(l.text(), "the") {
		t.Errorf("%s: %q", k, l.text())
	}
	if math.Abs(float64(l.used)-float64(len(pcm))/8) > 1 {
		t.Errorf("used %d of %d", l.used, len(pcm)/8)
	}
}

// encodeMuLaw finds the nearest code.
func encodeMuLaw(v int16) byte {
	best := 0
	for c := range 256 {
		if math.Abs(float64(muLaw(byte(c)))-float64(v)) < math.Abs(float64(muLaw(byte(best)))-float64(v)) {
			best = c
		}
	}
	return byte(best)
}

func TestTalkFaults(t *testing.T) {
	e := whole(t)
	second := sent{false, make([]byte, 2*rate)}
	tests := []struct {
		name  string
		in    []sent
		query string
		id    string
		kinds string
	}{
		{"leaves at once", nil, "", "", ""},
		{"leaves in the middle", []sent{second}, "", "", "ready"},
		{"stops at once", []sent{stop}, "", "speech.not_started", "error"},
		{"no JSON", []sent{tell("hello")}, "", "engine.not_json", "error"},
		{"no type", []sent{tell("{}")}, "", "speech.message", "error"},
		{"starts twice", []sent{tell(`{"type":"start"}`), tell(`{"type":"start"}`)}, "", "speech.started", "ready error"},
		{"rate", []sent{tell(`{"type":"start","sample_rate":1}`)}, "", "speech.rate", "error"},
		{"encoding", []sent{tell(`{"type":"start","encoding":"mp3"}`)}, "", "engine.invalid", "error"},
		{"language", []sent{tell(`{"type":"start","language":"fr"}`)}, "", "engine.needs_upstream", "error"},
		{"language in the query", []sent{second}, "language=fr", "engine.needs_upstream", "error"},
		{"half a sample", []sent{{false, make([]byte, 321)}}, "", "speech.half_sample", "ready error"},
		{"large message", []sent{{false, make([]byte, maxMessage+2)}}, "", "speech.big_message", "ready error"},
		{"more than reserved", []sent{second, second, second}, "max_seconds=2", "speech.session_over", "ready error"},
		{"absurd reservation", []sent{second}, "max_seconds=99999999", "engine.invalid", "error"},
		{"silence", []sent{second, {false, nil}, stop}, "", "", "ready done"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			l := &line{in: c.in}
			if err := talkTo(t, e, l, c.query); idOf(err) != c.id || l.kinds() != c.kinds {
				t.Errorf("%v, told %q", err, l.kinds())
			}
		})
	}
}

// TestTalkFunds: what was paid for is recognised before the session is cut.
func TestTalkFunds(t *testing.T) {
	e := whole(t)
	pcm := sound(t, e, sentence)
	l := &line{in: say(append(pcm, make([]int16, 2*rate)...)), most: engine.Quantity(millis(len(pcm))), wait: true}
	err := talkTo(t, e, l, "")
	if !problem.Is(err, problem.Funds) || !strings.HasSuffix(l.kinds(), "final error") || !strings.Contains(l.text(), "weather") {
		t.Errorf("%v: %s %q", err, l.kinds(), l.text())
	}
}

// TestTalkDeafClient: a client that cannot be told anything ends the session though it goes on sending.
func TestTalkDeafClient(t *testing.T) {
	e := whole(t)
	l := &line{in: say(sound(t, e, sentence)), wait: true}
	r := &engine.Request{Route: enginetest.Route(t, Routes(), "audio.stream"), Query: url.Values{}, Language: "en"}
	l.broke = true
	if err := e.Talk(t.Context(), r, l); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func TestLiveFlushAndPoll(t *testing.T) {
	e := whole(t)
	l, err := e.Listen(t.Context(), Listen{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	pcm := sound(t, e, sentence)
	pcm = pcm[:len(pcm)-rate] // no pause at its end
	var all []Event
	for piece := range slices.Chunk(pcm, rate/10) {
		if err := l.Feed(appendPCM(nil, piece)); err != nil {
			t.Fatal(err)
		}
		all = append(all, l.Poll()...)
	}
	more, err := l.Flush()
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, more...)
	if last := all[len(all)-1]; last.Type != Final || !strings.Contains(last.Text, "weather") || all[0].Type != SpeechStarted {
		t.Errorf("%+v", all)
	}
	if err := l.Feed([]byte{1}); idOf(err) != "engine.invalid" {
		t.Error(err)
	}
	l.Close()
	if err := l.Feed(make([]byte, 2)); !errors.Is(err, ErrClosed) || l.Err() != nil {
		t.Error(err, l.Err())
	}
}

// TestLiveForgets: hours of silence take no memory.
func TestLiveForgets(t *testing.T) {
	e := whole(t)
	e.sileroModel = ""
	l, err := e.Listen(t.Context(), Listen{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	minute := make([]byte, 2*60*rate)
	for range 10 {
		if err := l.Feed(minute); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if len(l.pcm) > 4*rate || cap(l.pcm) > 16*rate {
		t.Errorf("%d samples kept, %d", len(l.pcm), cap(l.pcm))
	}
}

func FuzzControl(f *testing.F) {
	f.Add([]byte(`{"type":"start","sample_rate":8000,"encoding":"mulaw","language":"en","min_silence_ms":300,"partials":false}`))
	f.Add([]byte(`{"type":"stop"}`))
	f.Add([]byte(`{"type":"start","sample_rate":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseControl(b)
		if err != nil {
			if problem.As(err).Kind == problem.Internal {
				t.Fatal(err)
			}
			return
		}
		if c.Type == "start" && (c.Rate < minRate || c.Rate > maxRate || liveEncodings[c.Encoding].width == 0) {
			t.Fatalf("%+v", c)
		}
	})
}

func FuzzLog(f *testing.F) {
	f.Add("INFO: x\nword start end pprob ascr lscr lback\n<s> 0 14 1.000 -1 0 1\nthe(2) 15 26 0.9 -1 -1 2\nu done ---\n")
	f.Add("ERROR: \"batch.c\", line 389: no\n")
	f.Fuzz(func(t *testing.T, log string) {
		words, err := readWords(bufio.NewReader(strings.NewReader(log)), "u")
		if err == nil && !strings.Contains(log, "u") {
			t.Fatal("no end")
		}
		for _, w := range words {
			if w.Word == "" || w.End < w.Start || w.Confidence < 0 || w.Confidence > 1 {
				t.Fatalf("%+v", w)
			}
		}
	})
}
