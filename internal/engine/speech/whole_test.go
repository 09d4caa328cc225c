package speech

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/proc"

	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
)

const sentence = "the weather is very nice today"

// spoken is a sentence as a WAV file, by flite.
func spoken(t testing.TB, e *Engine, text string) []byte {
	t.Helper()
	wav, err := e.Speak(t.Context(), text, "", "flite/slt")
	if err != nil {
		t.Fatal(err)
	}
	return wav
}

// inDetail is a recording of one English sentence with the times of all words, which are in order and within the segment.
func inDetail(t *testing.T, e *Engine, wav []byte) (*enginetest.Answer, *verbose) {
	t.Helper()
	kind, body := form(t, wav, "response_format", "verbose_json", "timestamp_granularities[]", "word", "timestamp_granularities[]", "segment")
	w, err := call(t, e, "audio.transcriptions", kind, body)
	if err != nil {
		t.Fatal(err)
	}
	v := &verbose{}
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		t.Fatal(err)
	}
	if len(v.Segments) != 1 || len(v.Words) != len(strings.Fields(v.Text)) || v.Language != "english" || v.Task != "transcribe" {
		t.Fatalf("%s", w.Body.String())
	}
	before := v.Segments[0].Start
	for _, x := range v.Words {
		if x.Start < before || x.End < x.Start || x.End > min(v.Segments[0].End, v.Duration) {
			t.Errorf("%+v after %f", x, before)
		}
		before = x.Start
	}
	return w, v
}

func TestTranscriptionFormats(t *testing.T) {
	e := whole(t)
	wav := spoken(t, e, sentence)
	tests := []struct {
		name, kind string
		fields     []string
		want       *regexp.Regexp
	}{
		{"json", "application/json", nil, regexp.MustCompile(`^\{"text":"the weather is.*","usage":\{"type":"duration","seconds":2\.\d{1,3}\},"engine":"pocketsphinx","model":"en-us","quality":"demo","confidence":0\.\d+\}\n$`)},
		{"text", "text/plain; charset=utf-8", []string{"response_format", "text", "language", "en-GB"}, regexp.MustCompile(`^the weather is .*\n$`)},
		{"srt", "application/x-subrip", []string{"response_format", "srt"}, regexp.MustCompile(`^1\n00:00:00,\d{3} --> 00:00:0\d,\d{3}\nthe weather .*\n\n$`)},
		{"vtt", "text/vtt; charset=utf-8", []string{"response_format", "vtt"}, regexp.MustCompile(`^WEBVTT\n\n00:00:00\.\d{3} --> 00:00:0\d\.\d{3}\nthe weather .*\n\n$`)},
		{"stream", "text/event-stream", []string{"stream", "true"}, regexp.MustCompile(`(?s)^data: \{"delta":"the weather.*transcript.text.delta"\}\n\ndata: .*"transcript.text.done".*\n\n$`)},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			kind, body := form(t, wav, c.fields...)
			w, err := call(t, e, "audio.transcriptions", kind, body)
			if err != nil {
				t.Fatal(err)
			}
			if w.Type != c.kind || !c.want.MatchString(w.Body.String()) || w.Header["X-Engine"] != "pocketsphinx" || w.Header["X-Quality"] != "demo" {
				t.Errorf("%s %v\n%s", w.Type, w.Header, w.Body.String())
			}
			if w.Total() < 2000 || w.Total() > 3000 {
				t.Errorf("used %d", w.Total())
			}
		})
	}
	inDetail(t, e, wav)
	kind, body := form(t, wav, "language", "zh")
	if _, err := call(t, e, "audio.transcriptions", kind, body); idOf(err) != "engine.needs_upstream" {
		t.Errorf("Chinese: %v", err)
	}
	kind, body = form(t, wav, "language", "en", "response_format", "verbose_json")
	if w, err := call(t, e, "audio.translations", kind, body); err != nil || !strings.Contains(w.Body.String(), `"task":"translate"`) {
		t.Errorf("translation: %v %s", err, w.Body.String())
	}
}

// TestNobodySpeaks: what has no voice in it has no text, and nothing breaks.
func TestNobodySpeaks(t *testing.T) {
	e := whole(t)
	for name, pcm := range map[string][]int16{"silence": make([]int16, 3*rate), "one sample": {12}, "noise": hiss(3000, -30), "a click": append(make([]int16, rate), 32767)} {
		t.Run(name, func(t *testing.T) {
			kind, body := form(t, encodeWAV(pcm, rate))
			w, err := call(t, e, "audio.transcriptions", kind, body)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(w.Body.String(), `{"text":"",`) {
				t.Errorf("%s", w.Body.String())
			}
		})
	}
	text, s, err := hear(e, t.Context(), encodeWAV(make([]int16, rate), rate), "")
	if text != "" || s != 1 || err != nil {
		t.Errorf("%q %f %v", text, s, err)
	}
}

// TestLongRecording is divided at its pauses, and its parts come in order.
func TestLongRecording(t *testing.T) {
	e := whole(t)
	var pcm []int16
	for _, s := range sentences[:4] {
		w, err := parseWAV(spoken(t, e, s))
		if err != nil {
			t.Fatal(err)
		}
		pcm = append(append(pcm, w.pcm(rate)...), make([]int16, rate)...)
	}
	h, err := e.Recognise(t.Context(), encodeWAV(pcm, rate), "en")
	if err != nil {
		t.Fatal(err)
	}
	var w wordErrors
	w.add(strings.Join(sentences[:4], " "), h.Text)
	if len(h.Segments) != 4 || w.rate() > 0.3 || h.Quality != demo || h.Confidence <= 0 {
		t.Errorf("%d segments, %q", len(h.Segments), h.Text)
	}
}

func TestSpeechFormats(t *testing.T) {
	e := whole(t)
	for format, magic := range map[string]string{"wav": "RIFF", "mp3": "", "opus": "OggS", "flac": "fLaC", "aac": "\xff", "pcm": "", "": ""} {
		t.Run("format "+format, func(t *testing.T) {
			body, _ := json.Marshal(map[string]any{"model": "m", "input": "Good morning to all of you.", "voice": "alloy", "response_format": format})
			w, err := call(t, e, "audio.speech", "application/json", body)
			if err != nil {
				t.Fatal(err)
			}
			out := w.Body.Bytes()
			if !strings.HasPrefix(string(out), magic) || len(out) < 1000 || w.Total() != 27_000 || w.Header["X-Voice"] != "flite/slt" {
				t.Errorf("%d bytes, used %d, %v", len(out), w.Total(), w.Header)
			}
			if format == "pcm" {
				return
			}
			// What we make we can read, and it is no longer than its measure.
			kind, body := form(t, out)
			if w, err = call(t, e, "audio.activity", kind, body); err != nil || !strings.Contains(w.Body.String(), `"start"`) {
				t.Errorf("%v %s", err, w.Body.String())
			}
		})
	}
}

// TestOtherContainers are read whole: with the index behind the sound, and without a duration.
func TestOtherContainers(t *testing.T) {
	e := whole(t)
	wav := spoken(t, e, sentence)
	file := t.TempDir() + "/a.m4a"
	convert := func(args ...string) []byte {
		t.Helper()
		out, err := proc.Run(t.Context(), proc.Spec{Path: e.ffmpeg, Args: append([]string{"-loglevel", "error", "-i", "pipe:0"}, args...)}, wav, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	filed := func(file string, args ...string) []byte {
		t.Helper()
		convert(append(args, file)...)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m4a := filed(file, "-c:a", "aac")
	if all := boxes(m4a); find(all, "moov").start < find(all, "mdat").start {
		t.Fatal("the file is in order already")
	}
	for name, b := range map[string][]byte{
		"m4a":  m4a,
		"webm": convert("-c:a", "libopus", "-f", "webm", "pipe:1"),
		"aiff": filed(t.TempDir() + "/a.aiff"),
	} {
		if text, s, err := hear(e, t.Context(), b, ""); err != nil || !strings.Contains(text, "weather") || s < 2 || s > 2.5 {
			t.Errorf("%s: %q, %f s, %v", name, text, s, err)
		}
	}
	broken := append([]byte{}, m4a[:len(m4a)/2]...)
	if _, _, err := hear(e, t.Context(), broken, ""); idOf(err) != "speech.broken" {
		t.Errorf("half an m4a: %v", err)
	}
	if _, _, err := hear(e, t.Context(), append([]byte("fLaC"), make([]byte, 4000)...), ""); idOf(err) != "speech.broken" && idOf(err) != "speech.no_sound" {
		t.Errorf("zeros as FLAC: %v", err)
	}
	// A header that says little must not lead to more than was measured.
	flacFile := convert("-c:a", "flac", "-f", "flac", "pipe:1")
	copy(flacFile[21:], []byte{0xf0, 0, 0, 0x10, 0}) // total samples: 4096
	if _, _, err := hear(e, t.Context(), flacFile, ""); idOf(err) != "speech.longer_than_said" {
		t.Errorf("FLAC that says it is short: %v", err)
	}
}

func TestVoiceChoice(t *testing.T) {
	e := whole(t)
	e.o.Identify = func(text string) string {
		if strings.Contains(text, "Straße") {
			return "de"
		}
		return ""
	}
	tests := []struct{ voice, language, text, want, id string }{
		{"", "", "hello", "flite/slt", ""},
		{"onyx", "", "hello", "flite/kal16", ""},
		{"onyx", "", "你好，世界", "espeak-ng/cmn-latn-pinyin+m4", ""},
		{"", "", "こんにちは、世界", "espeak-ng/ja", ""},
		{"alloy", "zh-CN", "你好", "espeak-ng/cmn-latn-pinyin+f2", ""},
		{"alloy", "zh-HK", "你好", "espeak-ng/yue+f2", ""},
		{"", "", "Wo ist die nächste große Straße in dieser Stadt?", "espeak-ng/de", ""},
		{"de", "", "hallo", "espeak-ng/de", ""},
		{"fr-CA", "", "bonjour", "espeak-ng/fr-fr", ""},
		{"en-GB", "", "hello", "espeak-ng/en-gb", ""},
		{"espeak-ng/es-419", "", "hola", "espeak-ng/es-419", ""},
		{"flite/awb", "de", "hello", "flite/awb", ""},
		{"flite/slt", "", "a naïve café", "flite/slt", ""},
		{"flite/slt", "", "你好，世界", "", "engine.invalid"},
		{"flite/slt", "ru", "Well, привет", "", "engine.invalid"},
		{"flite/../../etc/passwd", "", "hello", "", "speech.no_voice"},
		{"flite/http://a.b/c", "", "hello", "", "speech.no_voice"},
		{"espeak-ng/xx", "", "hello", "", "speech.no_voice"},
		{"bob", "", "hello", "", "speech.no_voice"},
		{"alloy", "x;y", "hello", "", "engine.invalid"},
	}
	for _, c := range tests {
		got, err := e.choose(t.Context(), c.voice, c.language, c.text)
		if idOf(err) != c.id || err == nil && got.String() != c.want {
			t.Errorf("%s %s %q: %s, %v", c.voice, c.language, c.text, got, err)
		}
	}
	all, err := e.Voices(t.Context())
	if err != nil || len(all) < 100 {
		t.Errorf("%d voices, %v", len(all), err)
	}
	seen := map[string]bool{}
	for _, v := range all {
		if seen[v.ID] {
			t.Errorf("%s twice", v.ID)
		}
		seen[v.ID] = true
	}
}

// TestNothingToSay: what no voice can say is refused, and costs nothing.
func TestNothingToSay(t *testing.T) {
	e := whole(t)
	for _, voice := range []string{"flite/slt", "espeak-ng/en-us", "espeak-ng/cmn-latn-pinyin", "alloy"} {
		for _, text := range []string{"...", "?!", "\u2713", "- - -"} {
			w, err := call(t, e, "audio.speech", "application/json", fmt.Appendf(nil, `{"voice":%q,"input":%q,"response_format":"wav"}`, voice, text))
			if idOf(err) != "engine.invalid" || w.Status != 0 || w.Total() != 0 {
				t.Errorf("%s %q: %d %v, used %d", voice, text, w.Status, err, w.Total())
			}
		}
		for _, text := range []string{"I", "7", "+"} {
			if s, err := e.Say(t.Context(), Say{Text: text, Voice: voice}); err != nil || s.Seconds() < 0.2 {
				t.Errorf("%s %q: %v", voice, text, err)
			}
		}
	}
}

// TestTextIsNoCommand: what the synthesisers take as options or commands is read out.
func TestTextIsNoCommand(t *testing.T) {
	e := whole(t)
	for _, text := range []string{"--help", "-w /dev/null", "[[hello]]", "\x01100P loud", "$(reboot) `id` \"quoted\"", "<speak>one</speak>", "a\x00b"} {
		for _, voice := range []string{"flite/slt", "espeak-ng/en-us"} {
			s, err := e.Say(t.Context(), Say{Text: text, Voice: voice})
			if err != nil || s.Seconds() < 0.2 {
				t.Errorf("%s %q: %v", voice, text, err)
			}
		}
	}
}

func TestSpeed(t *testing.T) {
	e := whole(t)
	for _, voice := range []string{"flite/slt", "espeak-ng/en-us"} {
		var lengths []float64
		for _, speed := range []float64{0.5, 1, 2} {
			s, err := e.Say(t.Context(), Say{Text: sentence, Voice: voice, Speed: speed})
			if err != nil {
				t.Fatal(err)
			}
			lengths = append(lengths, s.Seconds())
		}
		if lengths[0] < 1.4*lengths[1] || lengths[1] < 1.4*lengths[2] {
			t.Errorf("%s: %v", voice, lengths)
		}
	}
}

// TestManyAtOnce share the recogniser without mixing up their results.
func TestManyAtOnce(t *testing.T) {
	e := whole(t)
	var all sync.WaitGroup
	for _, s := range []string{sentences[0], sentences[2], sentences[11]} {
		wav := spoken(t, e, s)
		all.Go(func() {
			text, _, err := hear(e, context.Background(), wav, "")
			var w wordErrors
			w.add(s, text)
			if err != nil || w.rate() > 0.4 {
				t.Errorf("%q heard as %q, %v", s, text, err)
			}
		})
	}
	all.Wait()
	left, err := os.ReadDir(e.dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v left, %v", left, err)
	}
}

func TestSileroAndEnergyAgree(t *testing.T) {
	e := whole(t)
	wav := spoken(t, e, sentence)
	a, err := e.Activity(t.Context(), wav, Cut{})
	if err != nil || a.Engine != "silero" {
		t.Fatal(a, err)
	}
	b, err := bare(t).Activity(t.Context(), wav, Cut{})
	if err != nil || b.Engine != "energy" {
		t.Fatal(b, err)
	}
	if len(a.Speech) != 1 || len(b.Speech) != 1 || math.Abs(a.Speech[0].Start-b.Speech[0].Start) > 0.2 || math.Abs(a.Speech[0].End-b.Speech[0].End) > 0.3 {
		t.Errorf("%v, %v", a.Speech, b.Speech)
	}
}

func BenchmarkHear(b *testing.B) {
	e := whole(b)
	wav := spoken(b, e, sentence)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := hear(e, b.Context(), wav, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSpeak(b *testing.B) {
	e := whole(b)
	for _, voice := range []string{"flite/slt", "espeak-ng/en-us"} {
		b.Run(voice, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Speak(b.Context(), sentence, "", voice); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSilero(b *testing.B) {
	e := whole(b)
	pcm := hum(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.stretches(b.Context(), e.judge(), pcm, Cut{}); err != nil {
			b.Fatal(err)
		}
	}
}

// hear gives what is said, and the seconds of the recording.
func hear(e *Engine, ctx context.Context, audio []byte, language string) (string, float64, error) {
	t, err := e.Recognise(ctx, audio, language)
	if err != nil {
		return "", 0, err
	}
	return t.Text, t.Seconds, nil
}
