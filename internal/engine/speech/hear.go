package speech

import (
	"context"
	"math"
	"strings"
	"sync"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// demo is the quality of what PocketSphinx hears: about one word in three is wrong.
const demo = "demo"

// Transcript is what was heard in a recording.
type Transcript struct {
	Text       string
	Language   string  // ISO 639-1; "" where it is not known
	Seconds    float64 // of the recording
	Segments   []Segment
	Confidence float64 // of the words, weighted by their length; 0 where there are none, or the recogniser gives none
	Engine     string
	Model      string
	Quality    string // "demo", "partial", or what its translation is of; "" where it is not known
}

// Segment is what was said between two pauses, in seconds since the beginning. One with a text has no words where the
// recogniser does not tell their times.
type Segment struct {
	Start, End float64
	Text       string
	Language   string // as the recogniser tells it, or ""
	Words      []Word
	Confidence float64

	untranslated bool // it was to be translated and could not
}

// Recognise gives what is said in a recording in any format that is decoded here. language is an ISO 639 code, or "" for the
// recogniser's own. A recording in which nobody speaks has no text.
func (e *Engine) Recognise(ctx context.Context, audio []byte, language string) (*Transcript, error) {
	return e.recogniseBy(ctx, audio, "", language)
}

// recogniseBy is Recognise by the recogniser that a product names; "" names none.
func (e *Engine) recogniseBy(ctx context.Context, audio []byte, name, language string) (*Transcript, error) {
	r, err := e.recogniser(name, language)
	if err != nil {
		return nil, err
	}
	leave, err := enter(ctx, e.heavy)
	if err != nil {
		return nil, err
	}
	defer leave()
	pcm, err := e.decode(ctx, audio)
	if err != nil {
		return nil, err
	}
	return e.recognise(ctx, r, pcm, nil)
}

// recognise divides sound at its pauses and recognises the parts, several at a time. each, if not nil, gets them in
// their order as they come.
func (e *Engine) recognise(ctx context.Context, by recogniser, pcm []int16, each func(Segment) error) (*Transcript, error) {
	parts, err := e.stretches(ctx, e.judge(), pcm, Cut{Most: maxUtterance})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	type result struct {
		seg Segment
		err error
	}
	about := by.about()
	results := make([]chan result, len(parts))
	turn := make(chan struct{}, about.width)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	for i := range parts {
		results[i] = make(chan result, 1)
	}
	workers.Go(func() {
		for i, p := range parts {
			select {
			case turn <- struct{}{}:
			case <-ctx.Done():
				return
			}
			workers.Go(func() {
				defer func() { <-turn }()
				var r result
				r.err = engine.Guard(e.log, "speech: recognition", func() error {
					h, err := by.hear(ctx, pcm[p.start:p.end])
					r.seg = newSegment(h, p.start, p.end)
					return err
				})
				results[i] <- r
			})
		}
	})
	t := &Transcript{Language: about.language, Seconds: seconds(len(pcm)), Engine: about.engine, Model: about.model, Quality: about.quality}
	for _, r := range results {
		select {
		case got := <-r:
			if got.err != nil {
				return nil, got.err
			}
			if got.seg.Text == "" {
				continue
			}
			t.Segments = append(t.Segments, got.seg)
			if each != nil {
				if err := each(got.seg); err != nil {
					return nil, err
				}
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	t.finish()
	if t.Language == "" {
		t.Language = e.spoken(t)
	}
	return t, nil
}

// spoken is the language that most of a recording is in, as the recogniser tells it, or else as its text tells.
func (e *Engine) spoken(t *Transcript) (language string) {
	times := map[string]float64{}
	for _, s := range t.Segments {
		if times[s.Language] += s.End - s.Start; s.Language != "" && times[s.Language] > times[language] {
			language = s.Language
		}
	}
	if language == "" && t.Text != "" && e.o.Identify != nil {
		language = e.o.Identify(t.Text)
	}
	return language
}

// newSegment moves the words of a stretch to where it stands in the sound.
func newSegment(h heard, start, end int) Segment {
	s := Segment{Start: thousandths(seconds(start)), End: thousandths(seconds(end)), Text: h.text, Language: h.language, Words: h.words}
	for i := range s.Words {
		w := &s.Words[i]
		w.Start = thousandths(min(w.Start+s.Start, s.End))
		w.End = thousandths(min(w.End+s.Start, s.End))
	}
	s.Confidence = confidence(s.Words)
	return s
}

// finish makes the whole from its segments.
func (t *Transcript) finish() {
	var texts []string
	var all []Word
	for _, s := range t.Segments {
		texts = append(texts, s.Text)
		all = append(all, s.Words...)
	}
	t.Text = join(texts)
	t.Confidence = confidence(all)
}

// confidence is the mean of the words', weighted by their time.
func confidence(words []Word) float64 {
	var sum, time float64
	for _, w := range words {
		d := max(w.End-w.Start, 0.01)
		sum += w.Confidence * d
		time += d
	}
	if time == 0 {
		return 0
	}
	return thousandths(sum / time)
}

func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }

// Stretch is a stretch of speech, in seconds since the beginning.
type Stretch struct {
	Start      float64 `json:"start"`
	End        float64 `json:"end"`
	Confidence float64 `json:"confidence"`
}

// Activity tells where somebody speaks in a recording.
type Activity struct {
	Seconds float64 // of the recording
	Speech  []Stretch
	Engine  string // "silero", or "energy" where that is not installed
	Model   string
	samples int
}

// Activity finds where somebody speaks in a recording of any format that is decoded here.
func (e *Engine) Activity(ctx context.Context, audio []byte, cut Cut) (*Activity, error) {
	leave, err := enter(ctx, e.heavy)
	if err != nil {
		return nil, err
	}
	defer leave()
	pcm, err := e.decode(ctx, audio)
	if err != nil {
		return nil, err
	}
	j := e.judge()
	parts, err := e.stretches(ctx, j, pcm, cut)
	if err != nil {
		return nil, err
	}
	a := &Activity{Seconds: thousandths(seconds(len(pcm))), samples: len(pcm), Speech: []Stretch{}}
	a.Engine, a.Model = j.name()
	for _, p := range parts {
		a.Speech = append(a.Speech, Stretch{thousandths(seconds(p.start)), thousandths(seconds(p.end)), thousandths(p.confidence)})
	}
	return a, nil
}

// base is the language of a tag: "en" of "en-US" and "english".
func base(tag string) string {
	tag = strings.ToLower(strings.TrimSpace(tag))
	if i := strings.IndexAny(tag, "-_"); i > 0 {
		tag = tag[:i]
	}
	switch tag {
	case "english", "eng":
		return "en"
	case "zho", "chi", "cmn", "chinese":
		return "zh"
	}
	return tag
}

// plainTag reports whether a language tag has nothing in it that a tag cannot have (RFC 5646); "" is one.
func plainTag(tag string) bool {
	if len(tag) > 35 {
		return false
	}
	for _, c := range []byte(tag) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
