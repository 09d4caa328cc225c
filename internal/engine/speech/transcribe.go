package speech

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// transcription is what OpenAI's transcriptions and translations take, as far as it is of use here. prompt,
// temperature, include and chunking_strategy are taken and have no effect.
type transcription struct {
	audio    []byte
	language string
	format   string
	words    bool
	segments bool
	stream   bool
}

var transcriptFormats = []string{"json", "text", "srt", "verbose_json", "vtt"}

func readTranscription(r *engine.Request) (*transcription, error) {
	f, err := engine.ParseForm(r.Type, r.Body)
	if err != nil {
		return nil, err
	}
	t := &transcription{language: f.Value("language"), format: f.Value("response_format"), stream: f.Value("stream") == "true"}
	if t.audio, err = oneFile(f); err != nil {
		return nil, err
	}
	if t.format == "" {
		t.format = "json"
	}
	for _, g := range append(f.Values["timestamp_granularities[]"], f.Values["timestamp_granularities"]...) {
		switch g {
		case "word":
			t.words = true
		case "segment":
			t.segments = true
		default:
			return nil, engine.Invalid("timestamp_granularities", "must be word or segment")
		}
	}
	t.segments = t.segments || !t.words
	switch {
	case !plainTag(t.language):
		return nil, engine.Invalid("language", "must be a language code such as en")
	case !slices.Contains(transcriptFormats, t.format):
		return nil, engine.Invalid("response_format", "must be one of "+strings.Join(transcriptFormats, ", "))
	case t.words && t.format != "verbose_json":
		return nil, engine.Invalid("timestamp_granularities", "word times need response_format verbose_json")
	case t.stream && t.format != "json" && t.format != "text":
		return nil, engine.Invalid("stream", "needs response_format json or text")
	}
	return t, nil
}

// oneFile is the recording of a form.
func oneFile(f *engine.Form) ([]byte, error) {
	switch files := f.Files["file"]; {
	case len(files) != 1:
		return nil, engine.Invalid("file", "send one sound file as this part of the form")
	case len(files[0].Data) == 0:
		return nil, engine.Invalid("file", "is empty")
	default:
		return files[0].Data, nil
	}
}

// measureForm measures the recording of a form.
func measureForm(r *engine.Request) (engine.Quantity, error) {
	f, err := engine.ParseForm(r.Type, r.Body)
	if err != nil {
		return 0, err
	}
	audio, err := oneFile(f)
	if err != nil {
		return 0, err
	}
	ms, err := plays(audio)
	return engine.Quantity(ms), err
}

func (e *Engine) serveTranscription(ctx context.Context, r *engine.Request, w engine.Writer) error {
	t, err := readTranscription(r)
	if err != nil {
		return err
	}
	by, err := e.recogniser(r.Model, t.language)
	if err != nil {
		return err
	}
	return e.transcribe(ctx, w, t, by, "transcribe", nil, nil)
}

func (e *Engine) serveTranslation(ctx context.Context, r *engine.Request, w engine.Writer) error {
	t, err := readTranscription(r)
	switch {
	case err != nil:
		return err
	case t.stream:
		return engine.Invalid("stream", "translations are not streamed")
	}
	by, direct, err := e.translator(r.Model, t.language)
	if err != nil {
		return err
	}
	if direct {
		return e.transcribe(ctx, w, t, by, "translate", nil, nil)
	}
	return e.transcribe(ctx, w, t, by, "translate", e.translatable(ctx, r.Owner, by.about().language),
		func(heard *Transcript) error { return e.toEnglish(ctx, r.Owner, heard) })
}

// partial is the quality of a translation of which some segments are left as they were heard.
const partial = "partial"

// hopeless is how many segments are heard before a translation of which none is possible is given up.
const hopeless = 5

// translatable is told each segment as it is heard, and ends what will be refused before all of it is recognised.
func (e *Engine) translatable(ctx context.Context, owner, language string) func(Segment) error {
	first := &Transcript{Language: language}
	return func(s Segment) error {
		if first.Segments = append(first.Segments, s); len(first.Segments) != hopeless {
			return nil
		}
		if first.finish(); language == "" {
			first.Language = e.spoken(first)
		}
		return e.toEnglish(ctx, owner, first)
	}
}

// toEnglish translates what was heard, by segments. One of a language that nobody knows or translates stays as it was heard,
// and is marked; where all are such it is an error.
func (e *Engine) toEnglish(ctx context.Context, owner string, heard *Transcript) error {
	var why error
	left := 0
	for i := range heard.Segments {
		s := &heard.Segments[i]
		s.Language = cmp.Or(s.Language, heard.Language)
		if s.Language == "en" {
			continue
		}
		text, quality, err := e.english(ctx, owner, s)
		switch {
		case err != nil && !untranslatable(err):
			return err
		case err != nil:
			s.Language, s.untranslated = cmp.Or(s.Language, "und"), true // ISO 639-2 for undetermined
			why = cmp.Or(why, err)
			left++
			continue
		case quality != "":
			heard.Quality = quality
		}
		s.Text, s.Words = text, nil // they are of another language
	}
	if left > 0 && left == len(heard.Segments) {
		return why
	}
	if left > 0 {
		heard.Quality = partial
	}
	heard.Language = "en"
	heard.finish()
	return nil
}

func (e *Engine) english(ctx context.Context, owner string, s *Segment) (text, quality string, err error) {
	if s.Language == "" {
		return "", "", engine.NeedsUpstream("translation of speech in a language that is not recognised")
	}
	return e.o.Translate(ctx, owner, s.Text, s.Language, "en")
}

// untranslatable reports whether an error of translation is of the language, and not of the moment.
func untranslatable(err error) bool {
	p := problem.As(err)
	return problem.Is(err, problem.Invalid) || p.ID == "engine.needs_upstream" || p.ID == "engine.missing"
}

// transcribe recognises and answers. each, if not nil, is told every segment, and change works on what was heard.
func (e *Engine) transcribe(ctx context.Context, w engine.Writer, t *transcription, by recogniser, task string, each func(Segment) error, change func(*Transcript) error) error {
	leave, err := enter(ctx, e.heavy)
	if err != nil {
		return err
	}
	defer leave()
	most, err := plays(t.audio)
	if err != nil {
		return err
	}
	pcm, err := e.decode(ctx, t.audio)
	if err != nil {
		return err
	}
	used := engine.Quantity(min(most, millis(len(pcm))))
	if t.stream {
		return e.streamTranscript(ctx, w, by, pcm, used)
	}
	heard, err := e.recognise(ctx, by, pcm, each)
	if err == nil && change != nil {
		err = change(heard)
	}
	if err != nil {
		return err
	}
	w.Used(used)
	return t.answer(w, heard, task, used)
}

// label tells in headers what made an answer that is no JSON.
func label(w engine.Writer, name, model, quality string) {
	w.SetHeader("X-Engine", name)
	w.SetHeader("X-Model", model)
	if quality != "" {
		w.SetHeader("X-Quality", quality)
	}
}

type usage struct {
	Type    string  `json:"type"`
	Seconds float64 `json:"seconds"`
}

// duration tells what is charged.
func duration(used engine.Quantity) usage { return usage{"duration", float64(used) / 1000} }

// plain is the answer of response_format json, and the base of verbose_json.
type plain struct {
	Text       string   `json:"text"`
	Usage      usage    `json:"usage"`
	Engine     string   `json:"engine"`
	Model      string   `json:"model"`
	Quality    string   `json:"quality,omitempty"`
	Confidence *float64 `json:"confidence,omitempty"`
}

// known is the confidence in a text, nil where the recogniser gives none.
func known(text string, confidence float64) *float64 {
	if text != "" && confidence == 0 {
		return nil
	}
	return &confidence
}

type verbose struct {
	Task     string  `json:"task"`
	Language string  `json:"language"`
	Duration float64 `json:"duration"`
	plain
	Segments []verboseSegment `json:"segments,omitempty"`
	Words    []Word           `json:"words,omitempty"`
}

// verboseSegment has OpenAI's fields; those that describe how Whisper decodes are constant.
type verboseSegment struct {
	ID               int     `json:"id"`
	Seek             int     `json:"seek"`
	Start            float64 `json:"start"`
	End              float64 `json:"end"`
	Text             string  `json:"text"`
	Tokens           []int   `json:"tokens"`
	Temperature      float64 `json:"temperature"`
	AvgLogprob       float64 `json:"avg_logprob"`
	CompressionRatio float64 `json:"compression_ratio"`
	NoSpeechProb     float64 `json:"no_speech_prob"`
	Confidence       float64 `json:"confidence,omitempty"`
	Language         string  `json:"language,omitempty"` // of one that could not be translated
}

func (t *transcription) answer(w engine.Writer, h *Transcript, task string, used engine.Quantity) error {
	label(w, h.Engine, h.Model, h.Quality)
	p := plain{h.Text, duration(used), h.Engine, h.Model, h.Quality, known(h.Text, h.Confidence)}
	switch t.format {
	case "json":
		return engine.WriteJSON(w, 200, p)
	case "verbose_json":
		return engine.WriteJSON(w, 200, t.verbose(p, h, task))
	case "srt":
		return text(w, "application/x-subrip", subtitles(h.Segments, false))
	case "vtt":
		return text(w, "text/vtt; charset=utf-8", subtitles(h.Segments, true))
	}
	return text(w, "text/plain; charset=utf-8", h.Text+"\n")
}

func text(w engine.Writer, contentType, s string) error {
	w.Start(200, contentType)
	return w.Write([]byte(s))
}

func (t *transcription) verbose(p plain, h *Transcript, task string) verbose {
	v := verbose{Task: task, Language: languageName(h.Language), Duration: thousandths(h.Seconds), plain: p}
	for i, s := range h.Segments {
		if t.segments {
			out := verboseSegment{ID: i, Start: s.Start, End: s.End, Text: s.Text, Tokens: []int{},
				AvgLogprob: meanLog(s.Words), CompressionRatio: 1, Confidence: s.Confidence}
			if s.untranslated {
				out.Language = s.Language
			}
			v.Segments = append(v.Segments, out)
		}
		if t.words {
			v.Words = append(v.Words, s.Words...)
		}
	}
	return v
}

// languageNames are the languages as Whisper, and so OpenAI, names them.
var languageNames = map[string]string{"ar": "arabic", "bg": "bulgarian", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek", "en": "english",
	"es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french", "he": "hebrew", "hi": "hindi", "hr": "croatian", "hu": "hungarian", "id": "indonesian",
	"it": "italian", "ja": "japanese", "ko": "korean", "ms": "malay", "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese", "ro": "romanian",
	"ru": "russian", "sk": "slovak", "sl": "slovenian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "th": "thai", "tr": "turkish", "uk": "ukrainian",
	"ur": "urdu", "vi": "vietnamese", "yue": "cantonese", "zh": "chinese"}

// languageName is a language's name, or else its code.
func languageName(code string) string {
	if name := languageNames[code]; name != "" {
		return name
	}
	return code
}

// meanLog is the mean of the natural logarithms of the words' probabilities, 0 where there are none.
func meanLog(words []Word) float64 {
	sum, n := 0.0, 0
	for _, w := range words {
		if w.Confidence > 0 {
			sum += math.Log(w.Confidence)
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return thousandths(sum / float64(n))
}

// cue is one subtitle.
type cue struct {
	start, end float64
	text       string
}

// A subtitle has two lines of 42 characters at most, and 7 seconds (BBC Subtitle Guidelines).
const (
	cueText    = 84
	cueSeconds = 7.0
)

// cues divides a segment into subtitles.
func (s Segment) cues() []cue {
	if len(s.Words) == 0 {
		return []cue{{s.Start, s.End, s.Text}}
	}
	var all []cue
	var c *cue
	for _, w := range s.Words {
		if c == nil || utf8.RuneCountInString(c.text)+1+utf8.RuneCountInString(w.Word) > cueText || w.End-c.start > cueSeconds {
			all = append(all, cue{w.Start, w.End, w.Word})
			c = &all[len(all)-1]
			continue
		}
		c.text, c.end = c.text+glue(c.text, w.Word)+w.Word, w.End
	}
	return all
}

// subtitles is a file of WebVTT, or of SRT.
func subtitles(all []Segment, vtt bool) string {
	var b strings.Builder
	point, plain := ",", strings.NewReplacer("-->", "→")
	if vtt {
		point, plain = ".", strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
		b.WriteString("WEBVTT\n\n")
	}
	n := 0
	for _, s := range all {
		for _, c := range s.cues() {
			if n++; !vtt {
				b.WriteString(strconv.Itoa(n) + "\n")
			}
			// An empty line would end the subtitle.
			fmt.Fprintf(&b, "%s --> %s\n%s\n\n", stamp(c.start, point), stamp(c.end, point), plain.Replace(strings.Join(strings.Fields(c.text), " ")))
		}
	}
	return b.String()
}

func stamp(s float64, point string) string {
	ms := int64(math.Round(s * 1000))
	return fmt.Sprintf("%02d:%02d:%02d%s%03d", ms/3600000, ms/60000%60, ms/1000%60, point, ms%1000)
}

// streamTranscript answers with OpenAI's events, one delta for each segment as it is recognised. Whoever leaves in
// the middle is charged up to the last segment sent.
func (e *Engine) streamTranscript(ctx context.Context, w engine.Writer, by recogniser, pcm []int16, most engine.Quantity) error {
	a := by.about()
	label(w, a.engine, a.model, a.quality)
	w.Start(200, "text/event-stream")
	before := ""
	h, err := e.recognise(ctx, by, pcm, func(s Segment) error {
		delta := glue(before, s.Text) + s.Text
		before = s.Text
		w.Used(min(most, engine.Quantity(math.Ceil(s.End*1000))))
		return event(w, map[string]any{"type": "transcript.text.delta", "delta": delta, "start": s.Start, "end": s.End})
	})
	if err != nil {
		return err
	}
	w.Used(most)
	return event(w, struct {
		Type string `json:"type"`
		plain
	}{"transcript.text.done", plain{h.Text, duration(most), h.Engine, h.Model, h.Quality, known(h.Text, h.Confidence)}})
}

// event sends a server-sent event.
func event(w engine.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := w.Write(append(append([]byte("data: "), data...), "\n\n"...)); err != nil {
		return err
	}
	return w.Flush()
}

// measureSound measures a recording that is the whole body, or the file of a form.
func measureSound(r *engine.Request) (engine.Quantity, error) {
	if engine.IsMultipart(r.Type) {
		return measureForm(r)
	}
	ms, err := plays(r.Body)
	return engine.Quantity(ms), err
}

// serveActivity answers where somebody speaks.
func (e *Engine) serveActivity(ctx context.Context, r *engine.Request, w engine.Writer) error {
	audio, value := r.Body, r.Query.Get
	if engine.IsMultipart(r.Type) {
		f, err := engine.ParseForm(r.Type, r.Body)
		if err == nil {
			audio, err = oneFile(f)
		}
		if err != nil {
			return err
		}
		value = f.Value
	}
	cut, err := readCut(value)
	if err != nil {
		return err
	}
	most, err := plays(audio)
	if err != nil {
		return err
	}
	a, err := e.Activity(ctx, audio, cut)
	if err != nil {
		return err
	}
	var speech float64
	for _, s := range a.Speech {
		speech += s.End - s.Start
	}
	w.Used(engine.Quantity(min(most, millis(a.samples))))
	return engine.WriteJSON(w, 200, map[string]any{"object": "audio.activity", "duration": a.Seconds,
		"speech_seconds": thousandths(speech), "segments": a.Speech, "engine": a.Engine, "model": a.Model})
}

// readCut reads how speech is to be cut out.
func readCut(value func(string) string) (Cut, error) {
	var c Cut
	if s := value("threshold"); s != "" {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= 0.05 && v <= 0.95) {
			return c, engine.Invalid("threshold", "must be a number from 0.05 to 0.95")
		}
		c.Threshold = v
	}
	for _, f := range []struct {
		name string
		to   *int
	}{{"min_speech_ms", &c.MinSpeech}, {"min_silence_ms", &c.MinSilence}, {"pad_ms", &c.Pad}} {
		if s := value(f.name); s != "" {
			v, err := strconv.Atoi(s)
			if err != nil || v < 1 || v > 10_000 {
				return c, engine.Invalid(f.name, "must be milliseconds from 1 to 10000")
			}
			*f.to = v
		}
	}
	return c, nil
}
