package speech

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa/sherpatest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// withModels is an engine with the operator's models that plant puts into a folder.
func withModels(t testing.TB, plant func(root string)) *Engine {
	t.Helper()
	dir := enginetest.Own(t, enginesDir(t), "lib", "bin/tollgate-onnx", "speech/silero_vad_v5.onnx")
	enginetest.Build(t, dir, "tollgate-sherpa")
	root := filepath.Join(string(dir), "speech", "models")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	plant(root)
	e := engineAt(t, dir)
	if !e.sherpa.Ready() {
		t.Fatal("sherpa-onnx is not installed: scripts/install-engines sherpa")
	}
	return e
}

// TestOwnModel: a recording is recognised by the operator's model, in each format, and every answer says so.
func TestOwnModel(t *testing.T) {
	e := withModels(t, func(root string) { sherpatest.Offline(t, root, "zipformer-ctc-en") })
	wav := spoken(t, e, sentence)
	for format, want := range map[string]*regexp.Regexp{
		"json": regexp.MustCompile(`^\{"text":"(low|high)[ a-z]*","usage":\{"type":"duration","seconds":2\.\d{1,3}\},"engine":"sherpa-onnx","model":"zipformer-ctc-en"\}\n$`),
		"text": regexp.MustCompile(`^(low|high)[ a-z]*\n$`),
		"srt":  regexp.MustCompile(`^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\n(low|high)[ a-z]*\n\n$`),
		"vtt":  regexp.MustCompile(`^WEBVTT\n\n00:00:00\.\d{3} --> 00:00:0\d\.\d{3}\n(low|high)[ a-z]*\n\n$`),
	} {
		kind, body := form(t, wav, "response_format", format)
		w, err := call(t, e, "audio.transcriptions", kind, body)
		if err != nil {
			t.Fatal(err)
		}
		if _, said := w.Header["X-Quality"]; !want.MatchString(w.Body.String()) || w.Header["X-Engine"] != "sherpa-onnx" || w.Header["X-Model"] != "zipformer-ctc-en" || said {
			t.Errorf("%s: %v %s", format, w.Header, w.Body.String())
		}
		if w.Total() < 2000 || w.Total() > 3000 {
			t.Errorf("used %d", w.Total())
		}
	}
	w, v := inDetail(t, e, wav)
	if v.Confidence != nil || strings.Contains(w.Body.String(), "confidence") {
		t.Errorf("%s", w.Body.String())
	}
	kind, body := form(t, wav, "stream", "true")
	if w, err := call(t, e, "audio.transcriptions", kind, body); err != nil || !strings.Contains(w.Body.String(), `"type":"transcript.text.done"`) || !strings.Contains(w.Body.String(), `"engine":"sherpa-onnx"`) || strings.Contains(w.Body.String(), "demo") {
		t.Errorf("%v %s", err, w.Body.String())
	}
	kind, body = form(t, encodeWAV(make([]int16, rate), rate))
	if w, err := call(t, e, "audio.transcriptions", kind, body); err != nil || !strings.HasPrefix(w.Body.String(), `{"text":"",`) {
		t.Errorf("silence: %v %s", err, w.Body.String())
	}
}

// TestChoice: which recogniser hears which language.
func TestChoice(t *testing.T) {
	e := withModels(t, func(root string) {
		sherpatest.Offline(t, root, "a-zipformer-ctc-zh", "低", "高")
		sherpatest.Streaming(t, root, "b-streaming-zipformer-ctc-en")
		sherpatest.Offline(t, root, "c-zipformer-ctc-de-fr")
		sherpatest.Offline(t, root, "something")
		sherpatest.Offline(t, root, "a-zipformer-ctc-unknown")
		card := filepath.Join(sherpatest.Offline(t, root, "z-zipformer-ctc-any"), "model.json")
		if err := os.WriteFile(card, []byte(`{"languages":["es","ja"]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	for _, c := range []struct{ name, language, want, id string }{
		{"", "", "b-streaming-zipformer-ctc-en", ""},
		{"", "zh-CN", "a-zipformer-ctc-zh", ""},
		{"", "en", "b-streaming-zipformer-ctc-en", ""},
		{"demo-upstream", "fr", "c-zipformer-ctc-de-fr", ""},
		{"", "es", "z-zipformer-ctc-any", ""},
		{"", "ko", "", "engine.needs_upstream"},
		{"a-zipformer-ctc-unknown", "ko", "a-zipformer-ctc-unknown", ""},
		{"a-zipformer-ctc-unknown", "", "a-zipformer-ctc-unknown", ""},
		{"pocketsphinx", "en", "en-us", ""},
		{"pocketsphinx", "", "en-us", ""},
		{"pocketsphinx", "de", "", "engine.needs_upstream"},
		{"c-zipformer-ctc-de-fr", "", "c-zipformer-ctc-de-fr", ""},
		{"c-zipformer-ctc-de-fr", "en", "", "engine.needs_upstream"},
		{"", "../etc", "", "engine.invalid"},
	} {
		by, err := e.recogniser(c.name, c.language)
		if idOf(err) != c.id || err == nil && by.about().model != c.want {
			t.Errorf("%q %q: %+v %v", c.name, c.language, by, err)
		}
	}
	wav := spoken(t, e, sentence)
	few := withModels(t, func(root string) { sherpatest.Offline(t, root, "zipformer-ctc-zh") })
	if by, err := few.recogniser("", ""); err != nil || by.about().engine != "pocketsphinx" {
		t.Errorf("English is taken for granted: %+v %v", by, err)
	}
	few.sphinx = nil
	if by, err := few.recogniser("", ""); err != nil || by.about().model != "zipformer-ctc-zh" {
		t.Errorf("the only one: %+v %v", by, err)
	}
	h, err := e.Recognise(t.Context(), wav, "zh")
	if err != nil || h.Language != "zh" || h.Engine != "sherpa-onnx" || h.Text == "" || strings.ContainsAny(h.Text, " ") {
		t.Errorf("%+v %v", h, err)
	}
	if text := subtitles(h.Segments, false); !strings.Contains(text, h.Text) {
		t.Errorf("%s", text)
	}
	kind, body := form(t, wav)
	r := &engine.Request{Route: enginetest.Route(t, Routes(), "audio.transcriptions"), Type: kind, Body: body, Model: "something", Language: "en"}
	if err := e.Serve(t.Context(), r, &enginetest.Answer{}); idOf(err) != "speech.model_failed" || !strings.Contains(problem.As(err).Text("zh"), "something") {
		t.Errorf("a folder that is not understood: %v", err)
	}
	infos := map[string]engine.Info{}
	for _, i := range e.Describe() {
		if i.Engine == "sherpa-onnx" {
			infos[i.Model] = i
		}
	}
	if i := infos["a-zipformer-ctc-unknown"]; i.Ready || !strings.Contains(i.Need, "its languages in a model.json") {
		t.Errorf("%+v", i)
	}
	if len(infos) != 6 || !infos["c-zipformer-ctc-de-fr"].Ready || infos["something"].Ready || !strings.Contains(infos["something"].Need, "model.json") {
		t.Errorf("%+v", infos)
	}
}

// TestOwnTranslation: English from speech in another language, by the model itself or by translation.
func TestOwnTranslation(t *testing.T) {
	e := withModels(t, func(root string) { sherpatest.Offline(t, root, "zipformer-ctc-zh", "低", "高") })
	wav := spoken(t, e, sentence)
	kind, body := form(t, wav, "language", "zh")
	if _, err := call(t, e, "audio.translations", kind, body); idOf(err) != "engine.needs_upstream" {
		t.Errorf("without a translator: %v", err)
	}
	e.o.Translate = func(_ context.Context, _, text, from, to string) (string, string, error) {
		return from + " to " + to, "dictionary", nil
	}
	kind, body = form(t, wav, "language", "zh", "response_format", "verbose_json")
	w, err := call(t, e, "audio.translations", kind, body)
	if err != nil || !strings.Contains(w.Body.String(), `"text":"zh to en"`) || !strings.Contains(w.Body.String(), `"language":"english"`) || !strings.Contains(w.Body.String(), `"quality":"dictionary"`) {
		t.Errorf("%v %s", err, w.Body.String())
	}
	kind, body = form(t, wav)
	if _, err := call(t, e, "audio.translations", kind, body); idOf(err) != "engine.needs_upstream" {
		t.Errorf("no language: %v", err)
	}
	// Models that find out the language are chosen for it; these hear nothing, their files are empty of weights.
	folder := filepath.Join(string(e.o.Dir), "speech", "models")
	for name, files := range map[string]string{"sense-voice-zh-en": "model.onnx tokens.txt", "whisper-small": "small-encoder.onnx small-decoder.onnx small-tokens.txt"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range strings.Fields(files) {
			if err := os.WriteFile(filepath.Join(folder, name, f), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, language, want string
		direct, translate    bool
	}{
		{"", "", "whisper-small", true, true},
		{"", "de", "whisper-small", true, true},
		{"sense-voice-zh-en", "", "sense-voice-zh-en", false, false},
		{"zipformer-ctc-zh", "zh", "zipformer-ctc-zh", false, false},
		{"", "en", "sense-voice-zh-en", true, false},
	} {
		by, direct, err := e.translator(c.name, c.language)
		if err != nil || by.about().model != c.want || direct != c.direct || by.(*own).translate != c.translate {
			t.Errorf("%q %q: %+v %v %v", c.name, c.language, by, direct, err)
		}
	}
	if by, err := e.recogniser("", ""); err != nil || by.about().model != "sense-voice-zh-en" {
		t.Errorf("who finds out the language: %+v %v", by, err)
	}
}

// polyglot hears each utterance in the next of its languages, and after the last that it may until it is stopped.
type polyglot struct {
	mu        sync.Mutex
	languages []string
	heard     int
	most      int
}

func (p *polyglot) about() about { return about{engine: "polyglot", model: "polyglot", width: 1} }

func (p *polyglot) hear(ctx context.Context, _ []int16) (heard, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.heard == p.most {
		<-ctx.Done()
		return heard{}, ctx.Err()
	}
	l := p.languages[p.heard%len(p.languages)]
	p.heard++
	return heard{text: "said in " + l, language: l}, nil
}

// TestPartialTranslation: what has no translation stays as it was heard, and says so; where nothing has, it is soon refused.
func TestPartialTranslation(t *testing.T) {
	e := bare(t)
	e.o.Translate = func(_ context.Context, _, text, from, _ string) (string, string, error) {
		switch from {
		case "zh":
			return "in English", "dictionary", nil
		case "ja":
			return "", "", engine.NeedsUpstream("translation from Japanese to English")
		}
		return "", "", context.DeadlineExceeded
	}
	var pcm []int16
	for range 9 {
		pcm = append(append(pcm, hum(1500)...), hiss(1500, -70)...)
	}
	wav := encodeWAV(pcm, rate)
	translate := func(most int, languages ...string) (*enginetest.Answer, *verbose, error) {
		p, w, v := &polyglot{languages: languages, most: most}, &enginetest.Answer{}, &verbose{}
		each := e.translatable(t.Context(), "", "")
		err := e.transcribe(t.Context(), w, &transcription{audio: wav, format: "verbose_json", segments: true}, p, "translate", each,
			func(h *Transcript) error { return e.toEnglish(t.Context(), "", h) })
		if err == nil {
			if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
				t.Fatal(err)
			}
		}
		return w, v, err
	}
	w, v, err := translate(9, "zh", "ja", "en")
	if err != nil || v.Quality != "partial" || v.Language != "english" || len(v.Segments) != 9 || w.Total() == 0 {
		t.Fatalf("%v %s", err, w.Body.String())
	}
	for i, want := range []verboseSegment{{Text: "in English"}, {Text: "said in ja", Language: "ja"}, {Text: "said in en"}} {
		if got := v.Segments[i]; got.Text != want.Text || got.Language != want.Language {
			t.Errorf("%+v", got)
		}
	}
	for _, language := range []string{"ja", ""} {
		if w, _, err := translate(hopeless, language); idOf(err) != "engine.needs_upstream" || w.Total() != 0 {
			t.Errorf("no translation from %q: %v", language, err)
		}
	}
	if _, _, err := translate(9, "zh", "ja", "de"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a failure is no gap: %v", err)
	}
	h := &Transcript{Segments: []Segment{{Text: "你好", Language: "zh"}, {Text: "hm"}}}
	if err := e.toEnglish(t.Context(), "", h); err != nil || h.Text != "in English hm" || h.Segments[1].Language != "und" || h.Quality != "partial" {
		t.Errorf("%+v %v", h, err)
	}
}

// TestOwnLive: a live session by a streaming model of the operator's.
func TestOwnLive(t *testing.T) {
	e := withModels(t, func(root string) { sherpatest.Streaming(t, root, "streaming-zipformer-ctc-en") })
	l := &line{in: append(say(sound(t, e, sentence)), stop), wait: true}
	if err := talkTo(t, e, l, ""); err != nil {
		t.Fatal(err)
	}
	if k := l.kinds(); !strings.HasPrefix(k, "ready speech_started ") || !strings.HasSuffix(k, "speech_stopped final done") || l.text() == "" {
		t.Errorf("%s: %q", k, l.text())
	}
	for _, m := range l.out {
		switch m["type"] {
		case "ready", "partial", "final":
			if _, said := m["quality"]; m["engine"] != "sherpa-onnx" || m["model"] != "streaming-zipformer-ctc-en" || m["language"] != "en" || said {
				t.Errorf("%v", m)
			}
		}
	}
}

// TestBadOwnModel: a model that ends its process is told by name, and others go on.
func TestBadOwnModel(t *testing.T) {
	e := withModels(t, func(root string) {
		bad := sherpatest.Offline(t, root, "a-bad-zipformer-ctc-en")
		if err := os.WriteFile(filepath.Join(bad, "model.onnx"), []byte("no model"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	wav := spoken(t, e, sentence)
	_, err := e.Recognise(t.Context(), wav, "en")
	if p := problem.As(err); idOf(err) != "speech.model_failed" || !strings.Contains(p.Text("en"), "a-bad-zipformer-ctc-en") || !problem.Is(err, problem.Unavailable) {
		t.Errorf("%v", err)
	}
	// While it rests PocketSphinx hears English.
	if h, err := e.Recognise(t.Context(), wav, "en"); err != nil || h.Engine != "pocketsphinx" || !strings.Contains(h.Text, "weather") {
		t.Errorf("%+v %v", h, err)
	}
}

// faulty panics where native code or a decoder of ours might.
type faulty struct{}

func (faulty) about() about                                 { return about{"faulty", "faulty", "", "en", 2} }
func (faulty) hear(context.Context, []int16) (heard, error) { panic("planted") }

// TestPanics end the call, not the process, and are logged with their stack.
func TestPanics(t *testing.T) {
	e := bare(t)
	var log enginetest.Log
	e.log = slog.New(slog.NewTextHandler(&log, nil))
	pcm := append(hum(2000), hiss(2000, -60)...)
	if _, err := e.recognise(t.Context(), faulty{}, pcm, nil); idOf(err) != "engine.panicked" {
		t.Errorf("%v", err)
	}
	l, err := e.listenBy(t.Context(), faulty{}, Listen{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		if err := l.Feed(appendPCM(nil, pcm)); err != nil && idOf(err) != "engine.panicked" {
			t.Fatal(err)
		}
	}
	if err := l.Finish(); err != nil && idOf(err) != "engine.panicked" {
		t.Fatal(err)
	}
	for range l.Events() { // ends
	}
	if idOf(l.Err()) != "engine.panicked" {
		t.Errorf("%v", l.Err())
	}
	if said := log.String(); strings.Count(said, "planted") < 2 || !strings.Contains(said, "own_test.go") {
		t.Errorf("%s", said)
	}
}

// busy refuses until it is free, as a model that others use does.
type busy struct {
	free    atomic.Bool
	refused chan struct{}
}

func (b *busy) about() about { return about{"busy", "busy", "", "en", 1} }
func (b *busy) hear(context.Context, []int16) (heard, error) {
	if b.free.Load() {
		return heard{text: "hello"}, nil
	}
	select {
	case b.refused <- struct{}{}:
	default:
	}
	return heard{}, problem.New(problem.Unavailable, "proc.busy", "busy")
}

// TestBusyGuess: a partial text that cannot be had ends no session; a final one does.
func TestBusyGuess(t *testing.T) {
	for _, free := range []bool{true, false} {
		b := &busy{refused: make(chan struct{}, 1)}
		l, err := bare(t).listenBy(t.Context(), b, Listen{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Feed(appendPCM(nil, hum(3000))); err != nil {
			t.Fatal(err)
		}
		<-b.refused
		b.free.Store(free)
		all, err := l.Flush()
		if said := len(all) > 0 && all[len(all)-1].Text == "hello"; said != free || idOf(err) != map[bool]string{false: "proc.busy"}[free] {
			t.Errorf("%v: %+v %v", free, all, err)
		}
		l.Close()
	}
}

// TestDivided: each part of an utterance that is too long for one begins, ends and has its text.
func TestDivided(t *testing.T) {
	b := &busy{}
	b.free.Store(true)
	l, err := bare(t).listenBy(t.Context(), b, Listen{Quiet: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Feed(appendPCM(nil, hum(maxUtterance+5000))); err != nil {
		t.Fatal(err)
	}
	all, err := l.Flush()
	if err != nil {
		t.Fatal(err)
	}
	n, end := map[string]int{}, 0.0
	for _, ev := range all {
		n[ev.Type]++
		if ev.Type == SpeechStarted && ev.Start < end {
			t.Errorf("%+v begins before %g", ev, end)
		}
		if ev.Type == SpeechStopped {
			end = ev.End
		}
	}
	if diff := cmp.Diff(map[string]int{SpeechStarted: 2, SpeechStopped: 2, Final: 2}, n); diff != "" {
		t.Error(diff)
	}
}

// TestFolderOfClosed: an engine that was closed leaves no folder behind.
func TestFolderOfClosed(t *testing.T) {
	e := bare(t)
	dir, err := e.folder()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := e.folder(); idOf(err) != "speech.closed" {
		t.Errorf("%s %v", again, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s: %v", dir, err)
	}
}

func TestJoin(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
	}{{nil, ""}, {[]string{"a", "b"}, "a b"}, {[]string{"你好", "世界"}, "你好世界"}, {[]string{"你好。", "再见"}, "你好。再见"}, {[]string{"用", "Go", "写"}, "用 Go 写"}, {[]string{"a", "", "b"}, "a b"}} {
		if got := join(c.in); got != c.want {
			t.Errorf("%q: %q", c.in, got)
		}
	}
}
