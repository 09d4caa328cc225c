package speech

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// enginesDir is the engines directory; without one the test fails where it must not be missing, and is else left out.
func enginesDir(t testing.TB) engine.Dir {
	t.Helper()
	return enginetest.Dir(t, "Silero", "speech", "silero_vad_v5.onnx")
}

// shipped is the engines directory without models of the operator's.
func shipped(t testing.TB) engine.Dir {
	t.Helper()
	return enginetest.Own(t, enginesDir(t), "lib", "bin", "speech/silero_vad_v5.onnx")
}

// whole is an engine with everything that is shipped.
func whole(t testing.TB) *Engine {
	t.Helper()
	e := engineAt(t, shipped(t))
	if e.sphinx == nil || e.espeak == "" || e.flite == "" || e.ffmpeg == "" {
		t.Fatal("the Debian packages of scripts/engines.d/speech are not installed")
	}
	return e
}

// engineAt is an engine with what a directory has, and the programs on PATH.
func engineAt(t testing.TB, dir engine.Dir) *Engine {
	t.Helper()
	run := enginetest.Closed(t, onnx.New(onnx.Options{Dir: dir}))
	e, err := New(Options{Dir: dir, ONNX: run})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// bare is an engine with Go alone.
func bare(t testing.TB) *Engine {
	t.Helper()
	e, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	e.ffmpeg, e.sox, e.espeak, e.flite, e.sphinx = "", "", "", "", nil
	return e
}

// call measures and serves a request, as the gateway does, and checks that no more is used than was measured.
func call(t testing.TB, e *Engine, name, kind string, body []byte) (*enginetest.Answer, error) {
	t.Helper()
	r := &engine.Request{Route: enginetest.Route(t, Routes(), name), Type: kind, Body: body, Query: url.Values{}, Language: "en", Owner: "org_1"}
	w := &enginetest.Answer{}
	var most engine.Quantity
	if r.Route.Measure != nil {
		var err error
		if most, err = r.Route.Measure(r); err != nil {
			return w, err
		}
	}
	err := e.Serve(t.Context(), r, w)
	if w.Total() > most {
		t.Errorf("%s used %d, measured %d", name, w.Total(), most)
	}
	return w, err
}

// form makes a multipart body of a file and fields: name, value, ….
func form(t testing.TB, file []byte, fields ...string) (kind string, body []byte) {
	t.Helper()
	if file == nil {
		return enginetest.Form(t, fields)
	}
	return enginetest.Form(t, fields, enginetest.File{Field: "file", Name: "a.bin", Data: file})
}

// idOf is the id of a refusal.
func idOf(err error) string {
	if err == nil {
		return ""
	}
	return problem.As(err).ID
}

// hiss is noise of a level in dBFS.
func hiss(ms int, level float64) []int16 {
	g := rand.New(rand.NewPCG(1, 2))
	out := make([]int16, ms*rate/1000)
	amp := math.Pow(10, level/20) * math.Sqrt(3)
	for i := range out {
		out[i] = toPCM(float32((2*g.Float64() - 1) * amp))
	}
	return out
}

func TestGoAlone(t *testing.T) {
	e := bare(t)
	wav := encodeWAV(append(append(hiss(1000, -60), hum(1500)...), hiss(1000, -60)...), rate)
	kind, body := form(t, wav)
	if _, err := call(t, e, "audio.transcriptions", kind, body); idOf(err) != "engine.missing" {
		t.Errorf("transcription: %v", err)
	}
	if _, err := call(t, e, "audio.speech", "application/json", []byte(`{"input":"hello","voice":"alloy","response_format":"wav"}`)); idOf(err) != "engine.missing" {
		t.Errorf("speech: %v", err)
	}
	if _, err := call(t, e, "audio.voices", "", nil); idOf(err) != "engine.missing" {
		t.Errorf("voices: %v", err)
	}
	w, err := call(t, e, "audio.activity", kind, body)
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Duration float64
		Speech   float64 `json:"speech_seconds"`
		Segments []Stretch
		Engine   string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	if a.Engine != "energy" || a.Duration != 3.5 || len(a.Segments) != 1 || math.Abs(a.Segments[0].Start-0.9) > 0.15 || math.Abs(a.Segments[0].End-2.6) > 0.2 {
		t.Errorf("activity: %s", w.Body.String())
	}
	if w.Total() != 3500 {
		t.Errorf("used %d", w.Total())
	}
	if _, err := call(t, e, "audio.activity", "audio/mpeg", []byte("ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x90\x00")); idOf(err) != "speech.no_decoder" {
		t.Errorf("mp3: %v", err)
	}
}

func TestBadSound(t *testing.T) {
	e := bare(t)
	good := encodeWAV(hum(500), rate)
	cut := func(n int) []byte { return good[:n] }
	with := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	tests := []struct {
		name string
		in   []byte
		id   string
	}{
		{"empty", []byte{}, "speech.no_sound"},
		{"text", []byte("hello, this is no sound"), "speech.format"},
		{"header alone", cut(12), "speech.wav_broken"},
		{"half a format", cut(30), "speech.wav_broken"},
		{"no samples", encodeWAV(nil, rate), "speech.no_sound"},
		{"truncated", cut(len(good) / 2), "speech.wav_truncated"},
		{"0 Hz", with(24, 0, 0, 0, 0), "speech.wav_rate"},
		{"4 GHz", with(24, 0xff, 0xff, 0xff, 0xff), "speech.wav_rate"},
		{"no channels", with(22, 0, 0), "speech.wav_broken"},
		{"65535 channels", with(22, 0xff, 0xff), "speech.wav_broken"},
		{"12 bits", with(34, 12, 0), "speech.wav_format"},
		{"unknown codec", with(20, 0x55, 0), "speech.wav_format"},
		{"huge format chunk", with(16, 0xff, 0xff, 0xff, 0x7f), "speech.wav_broken"},
		{"size of a writer that could not seek", with(40, 0xff, 0xff, 0xff, 0xff), ""},
		{"size of espeak-ng", with(40, 0x00, 0xf0, 0xff, 0x7f), ""},
		{"size beyond the file", with(40, 0xff, 0xff, 0xff, 0x00), "speech.wav_truncated"},
		{"too long", encodeWAV(make([]int16, 31*60*8000), 8000), "speech.too_long"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if _, err := call(t, e, "audio.activity", "audio/wav", c.in); idOf(err) != c.id {
				t.Errorf("%v, want %s", err, c.id)
			}
		})
	}
}

func TestForms(t *testing.T) {
	e := bare(t)
	wav := encodeWAV(hum(300), rate)
	tests := []struct {
		name   string
		file   []byte
		fields []string
		id     string
	}{
		{"no file", nil, nil, "engine.invalid"},
		{"empty file", []byte{}, nil, "engine.invalid"},
		{"format", wav, []string{"response_format", "xml"}, "engine.invalid"},
		{"granularity", wav, []string{"timestamp_granularities[]", "letter"}, "engine.invalid"},
		{"words without verbose", wav, []string{"timestamp_granularities[]", "word"}, "engine.invalid"},
		{"stream of subtitles", wav, []string{"stream", "true", "response_format", "srt"}, "engine.invalid"},
		{"language", wav, []string{"language", "../etc"}, "engine.invalid"},
		{"good", wav, nil, "engine.missing"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			kind, body := form(t, c.file, c.fields...)
			if _, err := call(t, e, "audio.transcriptions", kind, body); idOf(err) != c.id {
				t.Errorf("%v, want %s", err, c.id)
			}
		})
	}
	if _, err := call(t, e, "audio.transcriptions", "application/json", []byte("{}")); idOf(err) != "engine.not_multipart" {
		t.Error(err)
	}
	kind, body := form(t, wav)
	if _, err := call(t, e, "audio.translations", kind, body); idOf(err) != "engine.needs_upstream" {
		t.Error(err)
	}
}

func TestSpeechRequests(t *testing.T) {
	e := bare(t)
	tests := []struct{ name, body, id string }{
		{"nothing", ``, "engine.empty_body"},
		{"no input", `{"voice":"alloy"}`, "engine.invalid"},
		{"too long", `{"input":"` + strings.Repeat("语", maxInput+1) + `"}`, "engine.invalid"},
		{"format", `{"input":"a","response_format":"exe"}`, "engine.invalid"},
		{"speed", `{"input":"a","speed":9}`, "engine.invalid"},
		{"no encoder", `{"input":"a","response_format":"opus"}`, "speech.no_encoder"},
		{"spaces", `{"input":" \u0001 ","response_format":"wav"}`, "engine.invalid"},
		{"voice is a number", `{"input":"a","voice":7}`, "engine.not_json engine.bad_field"},
		{"not installed", `{"input":"a"}`, "engine.missing"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if _, err := call(t, e, "audio.speech", "application/json", []byte(c.body)); !strings.Contains(c.id, idOf(err)) || err == nil {
				t.Errorf("%v, want %s", err, c.id)
			}
		})
	}
}

// TestEvaluateGoAlone: the evaluation works with what there is, and the energy detector reaches its floor.
func TestEvaluateGoAlone(t *testing.T) {
	reports, err := bare(t).evaluateActivity(t.Context())
	if err != nil || len(reports) != 1 || reports[0].Engine != "energy" {
		t.Fatal(reports, err)
	}
	if below := reports[0].Below(); below != nil {
		t.Error(below)
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		said, heard string
		wrong       int
	}{{"a b c", "a b c", 0}, {"a b c", "", 3}, {"", "a b", 2}, {"a b c", "a x c d", 2}, {"It's, OK!", "it's ok", 0}} {
		var w wordErrors
		if w.add(c.said, c.heard); w.wrong != c.wrong {
			t.Errorf("%q heard as %q: %d wrong", c.said, c.heard, w.wrong)
		}
	}
}
