package fakeupstream

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"net/http"
	"strings"
)

// heardText is what the server hears in any sound, in segments.
var heardText = []string{"The quick brown fox jumps over the lazy dog.", " Pack my box with five dozen liquor jugs."}

// transcribe answers like a Whisper server: POST /audio/transcriptions and /audio/translations as a form, the answer as
// json, verbose_json (with duration and segments), text, srt or vtt.
func (s *Server) transcribe(w http.ResponseWriter, r *http.Request) bool {
	if err := r.ParseMultipartForm(32 << 20); err != nil {
		fail(w, 400, "Could not parse multipart form", "")
		return r.Context().Err() == nil
	}
	defer r.MultipartForm.RemoveAll()
	model := r.FormValue("model")
	file, header, err := r.FormFile("file")
	if err != nil || model == "" {
		fail(w, 400, "you must provide a file and a model", "file")
		return true
	}
	defer file.Close()
	sound, err := io.ReadAll(file)
	if err != nil {
		return false
	}
	record, _ := json.Marshal(map[string]any{"form": r.MultipartForm.Value, "file": header.Filename, "bytes": len(sound)}) // strings and a number
	spec, done := s.begin(w, r, model, record, fail)
	if spec == nil {
		return done
	}
	if len(sound) == 0 {
		fail(w, 400, "The audio file could not be decoded or its format is not supported.", "file")
		return true
	}
	segments := heardText
	if spec.Say != "" {
		segments = []string{spec.Say}
	}
	seconds := spec.Seconds
	if seconds == 0 {
		seconds = wavSeconds(sound)
	}
	return writeTranscript(w, r.FormValue("response_format"), orElse(r.FormValue("language"), "en"), segments, seconds)
}

func writeTranscript(w http.ResponseWriter, format, language string, segments []string, seconds float64) bool {
	text := strings.Join(segments, "")
	each := seconds / float64(len(segments))
	var b strings.Builder
	switch format {
	case "", "json":
		reply(w, map[string]any{"text": text, "usage": map[string]any{"type": "duration", "seconds": math.Ceil(seconds)}})
		return true
	case "verbose_json":
		var list []map[string]any
		for i, t := range segments {
			list = append(list, map[string]any{"id": i, "seek": 0, "start": each * float64(i), "end": each * float64(i+1), "text": t,
				"tokens": []int{50364}, "temperature": 0, "avg_logprob": -0.25, "compression_ratio": 1.1, "no_speech_prob": 0.01})
		}
		reply(w, map[string]any{"task": "transcribe", "language": language, "duration": seconds, "text": text, "segments": list})
		return true
	case "text":
		b.WriteString(text + "\n")
	case "srt", "vtt":
		point := map[string]string{"srt": ",", "vtt": "."}[format]
		if format == "vtt" {
			b.WriteString("WEBVTT\n\n")
		}
		for i, t := range segments {
			if format == "srt" {
				fmt.Fprintln(&b, i+1)
			}
			fmt.Fprintf(&b, "%s --> %s\n%s\n\n", stamp(each*float64(i), point), stamp(each*float64(i+1), point), strings.TrimSpace(t))
		}
	default:
		fail(w, 400, "response_format must be json, text, srt, verbose_json or vtt", "response_format")
		return true
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, b.String())
	return err == nil
}

func stamp(seconds float64, point string) string {
	ms := int(math.Round(seconds * 1000))
	return fmt.Sprintf("%02d:%02d:%02d%s%03d", ms/3600000, ms/60000%60, ms/1000%60, point, ms%1000)
}

// wavSeconds is how long a WAV file is by its header; 1 for what is none.
func wavSeconds(b []byte) float64 {
	if len(b) < 44 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return 1
	}
	rate := 0.0
	for i := 12; i+8 <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[i+4:]))
		switch body := b[i+8:]; {
		case string(b[i:i+4]) == "fmt " && len(body) >= 12:
			rate = float64(binary.LittleEndian.Uint32(body[8:]))
		case string(b[i:i+4]) == "data" && rate > 0:
			return float64(min(n, len(body))) / rate
		}
		i += 8 + n + n&1
	}
	return 1
}

// speechRate is how many samples a second the server's voice has.
const speechRate = 16000

// speak answers POST /audio/speech with a tone, a tenth of a second for each character.
func (s *Server) speak(w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(r)
	if err != nil {
		return false
	}
	var in struct{ Model, Input, Voice, Format string }
	var raw map[string]any
	if json.Unmarshal(body, &raw) == nil {
		in.Model, _ = raw["model"].(string)
		in.Input, _ = raw["input"].(string)
		in.Voice, _ = raw["voice"].(string)
		in.Format, _ = raw["response_format"].(string)
	}
	if in.Model == "" || in.Input == "" || in.Voice == "" {
		fail(w, 400, "you must provide model, input and voice", "input")
		return true
	}
	spec, done := s.begin(w, r, in.Model, body, fail)
	if spec == nil {
		return done
	}
	sound := tone(min(len([]rune(in.Input)), 4096) * speechRate / 10)
	kind := map[string]string{"": "audio/mpeg", "mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "opus": "audio/opus", "aac": "audio/aac", "flac": "audio/flac"}[in.Format]
	if kind == "" {
		fail(w, 400, "response_format must be mp3, opus, aac, flac, wav or pcm", "response_format")
		return true
	}
	switch in.Format {
	case "pcm":
	case "wav":
		sound = append(wavHeader(len(sound)), sound...)
	default: // the server has no encoder; nobody listens
		sound = append([]byte("fake "+in.Format+" "), sound[:len(sound)/16]...)
	}
	w.Header().Set("Content-Type", orElse(spec.Type, kind))
	_, err = w.Write(sound)
	return err == nil
}

// tone is a sine of 440 Hz in 16 bits, mono.
func tone(samples int) []byte {
	b := make([]byte, 0, 2*samples)
	for i := range samples {
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(2*math.Pi*440*float64(i)/speechRate))))
	}
	return b
}

func wavHeader(n int) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(36+n))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	b = binary.LittleEndian.AppendUint32(b, speechRate)
	b = binary.LittleEndian.AppendUint32(b, 2*speechRate)
	b = append(b, "\x02\x00\x10\x00data"...)
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

// draw answers POST /images/generations with grey pictures of the size asked for, at most 2048 pixels wide and high.
func (s *Server) draw(w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(r)
	if err != nil {
		return false
	}
	var in struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
		N      int    `json:"n"`
		Size   string `json:"size"`
		Format string `json:"response_format"`
	}
	if json.Unmarshal(body, &in) != nil || in.Model == "" || in.Prompt == "" {
		fail(w, 400, "you must provide a model and a prompt", "prompt")
		return true
	}
	spec, done := s.begin(w, r, in.Model, body, fail)
	if spec == nil {
		return done
	}
	width, height := 1024, 1024
	if in.Size != "" && in.Size != "auto" {
		if n, err := fmt.Sscanf(in.Size, "%dx%d", &width, &height); err != nil || n != 2 || min(width, height) < 1 || max(width, height) > 2048 {
			fail(w, 400, "size must be WIDTHxHEIGHT", "size")
			return true
		}
	}
	var data []map[string]string
	for range min(max(in.N, 1), 10) {
		if in.Format == "url" {
			data = append(data, map[string]string{"url": "https://images.example.com/fake.png", "revised_prompt": in.Prompt})
		} else {
			data = append(data, map[string]string{"b64_json": base64.StdEncoding.EncodeToString(grey(width, height)), "revised_prompt": in.Prompt})
		}
	}
	reply(w, map[string]any{"created": created, "data": data})
	return true
}

func grey(width, height int) []byte {
	m := image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Gray{128}})
	var b bytes.Buffer
	_ = png.Encode(&b, m) // a buffer takes all
	return b.Bytes()
}
