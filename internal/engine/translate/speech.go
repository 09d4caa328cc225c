package translate

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxSpeech bounds the sound of one call, in thousandths of a second.
const maxSpeech = 10 * 60 * 1000

// speech is a request of POST /v1/translate/speech.
type speech struct {
	audio  []byte
	answer string // text, audio, both
	j      *job
}

func readSpeech(r *engine.Request) (*speech, error) {
	f, err := engine.ParseForm(r.Type, r.Body)
	if err != nil {
		return nil, err
	}
	if len(f.Files["file"]) != 1 || len(f.Files["file"][0].Data) == 0 {
		return nil, engine.Invalid("file", "send one sound file")
	}
	s := &speech{audio: f.Files["file"][0].Data, answer: f.Value("answer")}
	switch s.answer {
	case "":
		s.answer = "text"
	case "text", "audio", "both":
	default:
		return nil, engine.Invalid("answer", "must be text, audio or both")
	}
	b := body{Source: f.Value("source"), Target: f.Value("target"), Formality: f.Value("formality"), Engine: f.Value("engine")}
	if g := f.Value("glossary"); g != "" {
		b.Glossary = quoted(g)
	}
	s.j, err = b.job(r.Owner)
	return s, err
}

// measureSpeech bounds the length of the sound, in thousandths of a second: exactly for WAV, by the lowest usual bit rate
// for what is compressed.
func measureSpeech(r *engine.Request) (engine.Quantity, error) {
	s, err := readSpeech(r)
	if err != nil {
		return 0, err
	}
	ms := soundLength(s.audio)
	if ms > maxSpeech && isWAV(s.audio) {
		return 0, problem.New(problem.TooLarge, "translate.speech_too_long", "at most %d minutes of sound are translated in one call", maxSpeech/60000)
	}
	return engine.Quantity(min(ms, maxSpeech)), nil
}

func isWAV(b []byte) bool {
	return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WAVE"
}

// soundLength is the length in milliseconds, or an upper bound of it.
func soundLength(b []byte) int64 {
	if isWAV(b) {
		rate := int64(0) // bytes a second, as a decoder reads it: the field that states it may say anything
		for at := 12; at+8 <= len(b); {
			size := int(binary.LittleEndian.Uint32(b[at+4:]))
			if id := string(b[at : at+4]); id == "fmt " && at+24 <= len(b) {
				channels, bits := int64(binary.LittleEndian.Uint16(b[at+10:])), int64(binary.LittleEndian.Uint16(b[at+22:]))
				rate = int64(binary.LittleEndian.Uint32(b[at+12:])) * channels * (bits / 8)
			} else if id == "data" && rate > 0 { // its size may say anything, too
				n := int64(len(b) - at - 8)
				return (n*1000 + rate - 1) / rate
			}
			if size > len(b)-at-8 {
				break
			}
			at += 8 + size + size&1
		}
	}
	const bytesPerSecond = 750 // 6 kbit/s, Opus at its lowest
	return (int64(len(b))*1000 + bytesPerSecond - 1) / bytesPerSecond
}

// serveSpeech hears, translates and, if asked, speaks.
func (e *Engine) serveSpeech(ctx context.Context, r *engine.Request, w engine.Writer) error {
	s, err := readSpeech(r)
	if err != nil {
		return err
	}
	if e.o.Hear == nil {
		return engine.Missing("speech recognition")
	}
	if s.answer != "text" && e.o.Speak == nil {
		return engine.Missing("speech synthesis")
	}
	if s.j.source != auto && s.j.source != s.j.target && e.way(ctx, s.j, s.j.source) == nil { // before the costly part
		return e.noRoute(s.j, s.j.source, false)
	}
	language := s.j.source
	if language == auto {
		language = ""
	}
	heard, err := e.o.Hear(ctx, s.audio, language)
	if err != nil {
		return err
	}
	if err := s.j.addTexts([]string{heard.Text}); err != nil {
		return err
	}
	all, err := e.run(ctx, s.j, nil)
	if err != nil {
		return err
	}
	t := all[0]
	var sound []byte
	if s.answer != "text" {
		if strings.TrimSpace(t.Text) == "" {
			return problem.New(problem.Unprocessable, "translate.no_speech", "no speech was heard in the sound, so there is nothing to speak; send a recording of speech")
		}
		if sound, err = e.o.Speak(ctx, t.Text, s.j.target); err != nil {
			return err
		}
	}
	bound, err := measureSpeech(r)
	if err != nil {
		return err
	}
	w.Used(min(bound, engine.Quantity(math.Ceil(heard.Seconds*1000))))
	if s.answer == "audio" {
		madeBy(w, &t)
		w.Start(200, "audio/wav")
		return w.Write(sound)
	}
	return engine.WriteJSON(w, 200, struct {
		Text       string  `json:"text"`
		Transcript string  `json:"transcript"`
		Source     string  `json:"source"`
		Target     string  `json:"target"`
		Engine     string  `json:"engine"`
		Model      string  `json:"model,omitempty"`
		Quality    string  `json:"quality"`
		Via        string  `json:"via,omitempty"`
		Seconds    float64 `json:"seconds"`
		Heard      Heard   `json:"recognition"`
		Audio      string  `json:"audio,omitempty"` // WAV in base64
	}{t.Text, heard.Text, t.Source, s.j.target, t.Engine, t.Model, t.Quality, t.Via, math.Round(heard.Seconds*1000) / 1000, heard, base64.StdEncoding.EncodeToString(sound)})
}
