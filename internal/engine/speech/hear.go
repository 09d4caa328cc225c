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
	Language   string  // ISO 639-1
	Seconds    float64 // of the recording
	Segments   []Segment
	Confidence float64 // of the words, weighted by their length; 0 where there are none
	Engine     string
	Model      string
	Quality    string // "demo"
}

// Segment is what was said between two pauses, in seconds since the beginning.
type Segment struct {
	Start, End float64
	Text       string
	Words      []Word
	Confidence float64
}

// Hear gives the text of a recording in any format that is decoded here, and its seconds. language is an ISO 639
// code, or "" for the recogniser's own. A recording in which nobody speaks has no text.
func (e *Engine) Hear(ctx context.Context, audio []byte, language string) (text string, seconds float64, err error) {
	t, err := e.Recognise(ctx, audio, language)
	if err != nil {
		return "", 0, err
	}
	return t.Text, t.Seconds, nil
}

// Recognise is Hear with all that is known.
func (e *Engine) Recognise(ctx context.Context, audio []byte, language string) (*Transcript, error) {
	if err := e.hears(language); err != nil {
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
	return e.recognise(ctx, pcm, nil)
}

// hears refuses a language that is not understood here.
func (e *Engine) hears(language string) error {
	if !plainTag(language) {
		return engine.Invalid("language", "must be a language code such as en")
	}
	switch {
	case e.sphinx == nil:
		return engine.Missing("speech recognition (PocketSphinx)")
	case language != "" && base(language) != "en":
		return engine.NeedsUpstream("recognition of speech in the language " + language)
	}
	return nil
}

// recognise divides sound at its pauses and recognises the parts, several at a time. each, if not nil, gets them in
// their order as they come.
func (e *Engine) recognise(ctx context.Context, pcm []int16, each func(Segment) error) (*Transcript, error) {
	parts, err := e.stretches(ctx, e.judge(), pcm, Cut{Most: maxUtterance})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	type result struct {
		seg Segment
		err error
	}
	results := make([]chan result, len(parts))
	turn := make(chan struct{}, e.sphinx.width)
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
				words, err := e.sphinx.words(ctx, pcm[p.start:p.end])
				results[i] <- result{newSegment(words, p.start, p.end), err}
			})
		}
	})
	t := &Transcript{Language: "en", Seconds: seconds(len(pcm)), Engine: "pocketsphinx", Model: sphinxModel, Quality: demo}
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
	return t, nil
}

// newSegment moves the words of a stretch to where it stands in the sound.
func newSegment(words []Word, start, end int) Segment {
	s := Segment{Start: thousandths(seconds(start)), End: thousandths(seconds(end)), Words: words}
	texts := make([]string, len(words))
	for i := range words {
		w := &words[i]
		w.Start = thousandths(min(w.Start+s.Start, s.End))
		w.End = thousandths(min(w.End+s.Start, s.End))
		texts[i] = w.Word
	}
	s.Text = strings.Join(texts, " ")
	s.Confidence = confidence(words)
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
	t.Text = strings.Join(texts, " ")
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
