package speech

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	// maxInput is the most characters of one call, as OpenAI has it.
	maxInput = 4096
	// pcmRate is the sample rate of response_format pcm, as OpenAI has it.
	pcmRate = 24000
	// maxSpoken bounds what a synthesiser writes for one call: 4096 characters are some four minutes at normal speed.
	maxSpoken    = 128 << 20
	speakTime    = time.Minute
	speakMemory  = 2 << 30
	wordsAMinute = 175 // espeak-ng's normal speed
)

// Say is a text to be spoken.
type Say struct {
	Text     string
	Voice    string  // an id or alias of [Voice], or ""
	Language string  // "" for the voice's, or that of the text
	Speed    float64 // 1 is normal; 0.25 to 4; espeak-ng is never slower than 0.46
}

// Spoken is a text that was spoken: mono PCM.
type Spoken struct {
	PCM    []int16
	Rate   int // Hz
	Engine string
	Voice  string
}

// WAV is the sound as a file.
func (s *Spoken) WAV() []byte { return encodeWAV(s.PCM, s.Rate) }

// Seconds is how long it lasts.
func (s *Spoken) Seconds() float64 { return float64(len(s.PCM)) / float64(s.Rate) }

// Bytes is the sound as 16-bit little-endian PCM.
func (s *Spoken) Bytes() []byte { return appendPCM(make([]byte, 0, 2*len(s.PCM)), s.PCM) }

// Speak gives a text as a WAV file. language and voice may be "".
func (e *Engine) Speak(ctx context.Context, text, language, voice string) (wav []byte, err error) {
	s, err := e.Say(ctx, Say{Text: text, Voice: voice, Language: language})
	if err != nil {
		return nil, err
	}
	return s.WAV(), nil
}

// Say speaks a text.
func (e *Engine) Say(ctx context.Context, s Say) (*Spoken, error) {
	text := speakable(s.Text)
	switch n := utf8.RuneCountInString(s.Text); {
	case strings.TrimSpace(text) == "":
		return nil, engine.Invalid("input", "has nothing that can be spoken")
	case n > maxInput:
		return nil, engine.Invalid("input", "has more than "+strconv.Itoa(maxInput)+" characters; send it in parts")
	}
	if s.Speed == 0 {
		s.Speed = 1
	}
	if !(s.Speed >= 0.25 && s.Speed <= 4) {
		return nil, engine.Invalid("speed", "must be from 0.25 to 4")
	}
	v, err := e.choose(ctx, s.Voice, s.Language, text)
	if err != nil {
		return nil, err
	}
	leave, err := enter(ctx, e.synths)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, speakTime)
	defer cancel()
	var wav []byte
	if v.engine == "flite" {
		wav, err = e.runFlite(ctx, v, text, s.Speed)
	} else {
		wav, err = e.runEspeak(ctx, v, text, s.Speed)
	}
	if err != nil {
		return nil, err
	}
	w, err := parseWAV(wav)
	if err != nil {
		return nil, problem.New(problem.Unavailable, "speech.silent", "the voice said nothing; try another voice").Because(err)
	}
	spoken := &Spoken{PCM: w.pcm(w.rate), Rate: w.rate, Engine: v.engine, Voice: v.String()}
	if spoken.silent() {
		return nil, engine.Invalid("input", "has nothing that this voice can say")
	}
	return spoken, nil
}

// audible is the least amplitude of something said, 1 % of the greatest. A voice that finds nothing to say gives the noise of
// its recordings, if anything: a quarter of that.
const audible = 328

// silent reports whether nothing was said.
func (s *Spoken) silent() bool {
	return !slices.ContainsFunc(s.PCM, func(x int16) bool { return x >= audible || x <= -audible })
}

// speakable is a text without what the synthesisers take as commands: control characters, and espeak-ng's "[[".
func speakable(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case c == utf8.RuneError || unicode.IsControl(c):
			return ' '
		}
		return c
	}, text)
	for strings.Contains(text, "[[") {
		text = strings.ReplaceAll(text, "[[", "[ [")
	}
	return text
}

func (e *Engine) runEspeak(ctx context.Context, v chosen, text string, speed float64) ([]byte, error) {
	voice := v.name
	if v.variant != "" {
		voice += "+" + v.variant
	}
	pace := strconv.Itoa(max(80, int(wordsAMinute*speed+0.5)))
	return proc.Run(ctx, proc.Spec{Path: e.espeak, Memory: speakMemory,
		Args: []string{"-v", voice, "-s", pace, "-b", "1", "--stdin", "--stdout"}}, []byte(text), maxSpoken)
}

// marks are those that flite would spell out or skip, and letters that are no others with an accent.
var marks = strings.NewReplacer("ß", "ss", "æ", "ae", "Æ", "Ae", "œ", "oe", "Œ", "Oe", "ø", "o", "Ø", "O", "ł", "l", "Ł", "L", "đ", "d", "Đ", "D", "ð", "d", "Ð", "D", "þ", "th", "Þ", "Th", "ı", "i",
	"‘", "'", "’", "'", "“", `"`, "”", `"`, "–", " - ", "—", " - ", "…", "...", "\u00a0", " ")

// ascii is a text as flite reads it, which skips all else: letters without their accents.
func ascii(text string) string {
	return strings.Map(func(c rune) rune {
		if unicode.Is(unicode.Mn, c) {
			return -1
		}
		return c
	}, norm.NFKD.String(marks.Replace(text)))
}

// runFlite goes through a file, since flite seeks in what it writes.
func (e *Engine) runFlite(ctx context.Context, v chosen, text string, speed float64) ([]byte, error) {
	dir, err := e.folder()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, rand.Text()+".wav")
	defer os.Remove(file)
	stretch := "duration_stretch=" + strconv.FormatFloat(1/speed, 'f', 3, 64)
	if _, err = proc.Run(ctx, proc.Spec{Path: e.flite, Memory: speakMemory,
		Args: []string{"-voice", v.name, "--setf", stretch, "-o", file, "-f", "/dev/stdin"}}, []byte(ascii(text)), 1<<20); err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() > maxSpoken {
		return nil, problem.New(problem.Unavailable, "speech.silent", "the voice said nothing; try another voice").Because(err)
	}
	return os.ReadFile(file)
}

// encoding is a response_format.
type encoding struct {
	kind string   // media type
	args []string // of FFmpeg, after its input
	sox  []string // of SoX, its output; nil where it cannot
}

var encodings = map[string]encoding{
	"wav":  {kind: "audio/wav"},
	"pcm":  {kind: "audio/pcm"},
	"mp3":  {"audio/mpeg", []string{"-c:a", "libmp3lame", "-q:a", "4", "-f", "mp3"}, []string{"-t", "mp3", "-"}},
	"opus": {"audio/ogg", []string{"-c:a", "libopus", "-b:a", "24k", "-f", "ogg"}, nil},
	"aac":  {"audio/aac", []string{"-c:a", "aac", "-f", "adts"}, nil},
	"flac": {"audio/flac", []string{"-c:a", "flac", "-f", "flac"}, []string{"-t", "flac", "-"}},
}

// encode makes the file of a response_format.
func (e *Engine) encode(ctx context.Context, s *Spoken, format string) ([]byte, error) {
	switch format {
	case "wav":
		return s.WAV(), nil
	case "pcm":
		return appendPCM(nil, resample(s.PCM, s.Rate, pcmRate)), nil
	}
	enc := encodings[format]
	spec := proc.Spec{Memory: decodeMemory}
	switch {
	case e.ffmpeg != "":
		spec.Path = e.ffmpeg
		spec.Args = append([]string{"-hide_banner", "-nostdin", "-loglevel", "error", "-threads", "1", "-protocol_whitelist", "pipe",
			"-f", "wav", "-i", "pipe:0", "-map_metadata", "-1"}, append(slices.Clone(enc.args), "pipe:1")...)
	case e.sox != "" && enc.sox != nil:
		spec.Path = e.sox
		spec.Args = append([]string{"-V1", "-t", "wav", "-"}, enc.sox...)
	default:
		return nil, problem.New(problem.Invalid, "speech.no_encoder",
			"this server has no encoder for %s; ask for wav or pcm, or ask the operator to install FFmpeg with scripts/install-engines", format).
			WithField("response_format", "is not installed")
	}
	return proc.Run(ctx, spec, s.WAV(), maxSpoken)
}

// canEncode reports whether encode knows how.
func (e *Engine) canEncode(format string) bool {
	enc := encodings[format]
	return enc.args == nil || e.ffmpeg != "" || e.sox != "" && enc.sox != nil
}

// speechRequest is what OpenAI's speech endpoint takes, and a language. instructions is taken and has no effect.
type speechRequest struct {
	Input    string    `json:"input"`
	Voice    voiceName `json:"voice"`
	Language string    `json:"language"`
	Format   string    `json:"response_format"`
	Speed    float64   `json:"speed"`
	Stream   string    `json:"stream_format"`
}

// voiceName is a name, or as OpenAI has it for own voices {"id": "…"}.
type voiceName string

// UnmarshalJSON reads either form.
func (v *voiceName) UnmarshalJSON(data []byte) error {
	var own struct {
		ID string `json:"id"`
	}
	if bytes.HasPrefix(data, []byte("{")) {
		err := json.Unmarshal(data, &own)
		*v = voiceName(own.ID)
		return err
	}
	return json.Unmarshal(data, (*string)(v))
}

func readSpeech(r *engine.Request) (*speechRequest, error) {
	s := &speechRequest{Speed: 1}
	if err := engine.Decode(r.Body, s); err != nil {
		return nil, err
	}
	_, known := encodings[s.Format]
	switch {
	case s.Input == "":
		return nil, engine.Invalid("input", "is missing")
	case utf8.RuneCountInString(s.Input) > maxInput:
		return nil, engine.Invalid("input", "has more than "+strconv.Itoa(maxInput)+" characters; send it in parts")
	case s.Format != "" && !known:
		return nil, engine.Invalid("response_format", "must be one of mp3, opus, aac, flac, wav, pcm")
	case !(s.Speed >= 0.25 && s.Speed <= 4):
		return nil, engine.Invalid("speed", "must be from 0.25 to 4")
	case s.Stream != "" && s.Stream != "audio" && s.Stream != "sse":
		return nil, engine.Invalid("stream_format", "must be audio or sse")
	case len(s.Voice) > 64:
		return nil, noVoice()
	}
	return s, nil
}

// measureSpeech counts the characters of the input.
func measureSpeech(r *engine.Request) (engine.Quantity, error) {
	s, err := readSpeech(r)
	if err != nil {
		return 0, err
	}
	return engine.Units(utf8.RuneCountInString(s.Input)), nil
}

// serveSpeech speaks.
func (e *Engine) serveSpeech(ctx context.Context, r *engine.Request, w engine.Writer) error {
	s, err := readSpeech(r)
	if err != nil {
		return err
	}
	if s.Format == "" { // OpenAI's default, where it can be had
		if s.Format = "mp3"; !e.canEncode("mp3") {
			s.Format = "wav"
		}
	}
	if !e.canEncode(s.Format) {
		_, err := e.encode(ctx, &Spoken{Rate: rate}, s.Format)
		return err
	}
	if s.Voice == "" && (r.Model == "flite" || r.Model == "espeak-ng") {
		s.Voice = voiceName(defaultVoice(r.Model, s.Language))
	}
	spoken, err := e.Say(ctx, Say{Text: s.Input, Voice: string(s.Voice), Language: s.Language, Speed: s.Speed})
	if err != nil {
		return err
	}
	data, err := e.encode(ctx, spoken, s.Format)
	if err != nil {
		return err
	}
	label(w, spoken.Engine, spoken.Engine, "")
	w.SetHeader("X-Voice", spoken.Voice)
	n := utf8.RuneCountInString(s.Input)
	w.Used(engine.Units(n))
	if s.Stream == "sse" {
		return speechEvents(w, data, n)
	}
	w.Start(200, encodings[s.Format].kind)
	for piece := range slices.Chunk(data, 64<<10) {
		if err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// defaultVoice is the voice of a product that stands for one synthesiser.
func defaultVoice(model, language string) string {
	switch {
	case model == "flite":
		return "flite/slt"
	case language != "":
		return "espeak-ng/" + language
	}
	return ""
}

// speechEvents sends OpenAI's events of stream_format sse.
func speechEvents(w engine.Writer, data []byte, characters int) error {
	w.Start(200, "text/event-stream")
	for piece := range slices.Chunk(data, 24<<10) {
		if err := event(w, map[string]string{"type": "speech.audio.delta", "audio": base64.StdEncoding.EncodeToString(piece)}); err != nil {
			return err
		}
	}
	return event(w, map[string]any{"type": "speech.audio.done", "usage": map[string]any{"type": "characters", "characters": characters}})
}
