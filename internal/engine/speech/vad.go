package speech

import (
	"context"
	"log/slog"
	"math"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
)

// frame is the samples that voice activity is decided over: 32 ms, what Silero was trained with.
const frame = 512

// judge tells of each frame of a stream how likely it is speech, from 0 to 1. It keeps what it has to remember of
// the stream and is for one goroutine.
type judge interface {
	// judge appends one number to out for each whole frame of pcm, whose length is a multiple of frame.
	judge(ctx context.Context, out []float32, pcm []int16) ([]float32, error)
	name() (engine, model string)
}

// energy judges by loudness above the noise, in the band of voices, and by periodicity, in Go alone.
type energy struct {
	recent [64]float64 // decibels of the last two seconds
	n      int
	before float64 // power of the frame before
	hum    float32 // what is below the band
	lows   [2]float32
}

const (
	quietest = -60.0 // dBFS; below is never speech
	loudest  = -45.0 // dBFS; noise of the first two seconds is taken to be no louder
	above    = 5.5   // dB above the noise where it is as likely speech as not
	// A voice has a pitch of 70 to 400 Hz.
	shortLag, longLag = rate / 400, rate / 70
)

func (e *energy) name() (string, string) { return "energy", "energy-vad" }

func (e *energy) judge(_ context.Context, out []float32, pcm []int16) ([]float32, error) {
	var x [frame]float32
	for ; len(pcm) >= frame; pcm = pcm[frame:] {
		toFloat(x[:], pcm[:frame])
		out = append(out, e.frame(&x))
	}
	return out, nil
}

// band keeps about 150 to 2500 Hz: poles of first order, one against rumble and two against hiss.
func (e *energy) band(x *[frame]float32) (power float64) {
	for i, v := range x {
		e.hum += 0.06 * (v - e.hum)
		e.lows[0] += 0.62 * (v - e.hum - e.lows[0])
		e.lows[1] += 0.62 * (e.lows[0] - e.lows[1])
		x[i] = e.lows[1]
		power += float64(x[i]) * float64(x[i])
	}
	return power / frame
}

func (e *energy) frame(x *[frame]float32) float32 {
	power := e.band(x)
	level := 10 * math.Log10((power+e.before)/2+1e-10)
	e.before = power
	e.recent[e.n%len(e.recent)] = level
	e.n++
	if level < quietest {
		return 0
	}
	floor := math.Inf(1)
	for _, v := range e.recent[:min(e.n, len(e.recent))] {
		floor = min(floor, v)
	}
	if e.n < len(e.recent) {
		floor = min(floor, loudest)
	}
	floor = max(floor, quietest)
	p := 1 / (1 + math.Exp(-(level-floor-above)/1.5))
	pitch := periodicity(x)
	if pitch > 0.9 && crest(x, power) < 3 {
		return 0 // a tone: its peaks are 3 dB above its power, those of a voice 6 and more
	}
	// What is loud without a pitch may be a consonant, or a door.
	pitch = min(1, pitch/0.5)
	return float32(p * (0.3 + 0.7*pitch*pitch))
}

// crest is how much the peak is above the power.
func crest(x *[frame]float32, power float64) float64 {
	var peak float32
	for _, v := range x {
		peak = max(peak, v*v)
	}
	return float64(peak) / (power + 1e-12)
}

// periodicity is the highest normalised autocorrelation at the lags of a voice.
func periodicity(x *[frame]float32) float64 {
	var most float64
	for lag := shortLag; lag <= longLag; lag++ {
		var xy, xx, yy float32
		for i := lag; i < frame; i++ {
			a, b := x[i], x[i-lag]
			xy += a * b
			xx += a * a
			yy += b * b
		}
		if xy > 0 {
			most = max(most, float64(xy)/math.Sqrt(float64(xx)*float64(yy)+1e-12))
		}
	}
	return most
}

// silero judges by the Silero model, version 5 (github.com/snakers4/silero-vad), on the ONNX Runtime. When that fails
// it goes on by energy.
type silero struct {
	run     *onnx.Runtime
	model   string
	log     *slog.Logger
	state   []float32
	context [64]float32 // the end of the frame before
	instead *energy     // once it has failed
}

func newSilero(run *onnx.Runtime, model string, log *slog.Logger) *silero {
	return &silero{run: run, model: model, log: log, state: make([]float32, 2*128)}
}

func (s *silero) name() (string, string) {
	if s.instead != nil {
		return s.instead.name()
	}
	return "silero", "silero-vad-v5"
}

// together is how many frames hold the runtime at once: a second or so of its time belongs to others too.
const together = 512

func (s *silero) judge(ctx context.Context, out []float32, pcm []int16) ([]float32, error) {
	for len(pcm) >= frame {
		if s.instead != nil {
			return s.instead.judge(ctx, out, pcm)
		}
		n := min(len(pcm)/frame, together) * frame
		all, err := s.session(ctx, out, pcm[:n])
		switch {
		case err == nil:
			out, pcm = all, pcm[n:]
		case ctx.Err() != nil:
			return nil, err
		default:
			s.log.Warn("voice activity goes on by energy", "error", err)
			s.instead = &energy{}
		}
	}
	return out, nil
}

func (s *silero) session(ctx context.Context, out []float32, pcm []int16) ([]float32, error) {
	err := s.run.Session(ctx, func(c *onnx.Session) error {
		for at := 0; at < len(pcm); at += frame {
			x := make([]float32, len(s.context)+frame)
			copy(x, s.context[:])
			toFloat(x[len(s.context):], pcm[at:at+frame])
			r, err := c.Run(s.model, map[string]onnx.Tensor{
				"input": {Shape: []int64{1, int64(len(x))}, F32: x},
				"state": {Shape: []int64{2, 1, 128}, F32: s.state},
				"sr":    {Shape: []int64{}, I64: []int64{rate}},
			}, "output", "stateN")
			if err != nil {
				return err
			}
			p, state := r["output"].F32, r["stateN"].F32
			if len(p) != 1 || len(state) != len(s.state) {
				return engine.Missing("a Silero model of version 5")
			}
			out = append(out, p[0])
			copy(s.state, state)
			copy(s.context[:], x[len(x)-len(s.context):])
		}
		return nil
	})
	return out, err
}

// Cut says what a stretch of speech is. The zero value has defaults.
type Cut struct {
	Threshold  float64 // from which likelihood a frame is speech; default 0.5
	MinSpeech  int     // ms: less is no speech; default 150
	MinSilence int     // ms: less does not end it; default 400
	Pad        int     // ms that are added on both sides; default 120
	Most       int     // ms: longer is divided where a pause is most likely; 0: never
}

func (c Cut) orDefault() Cut {
	if c.Threshold <= 0 {
		c.Threshold = 0.5
	}
	if c.MinSpeech <= 0 {
		c.MinSpeech = 150
	}
	if c.MinSilence <= 0 {
		c.MinSilence = 400
	}
	if c.Pad <= 0 {
		c.Pad = 120
	}
	return c
}

// stretch is speech from a sample to another, with how likely it is.
type stretch struct {
	start, end int
	confidence float64
}

// cutter finds stretches in the likelihoods of frames, one after the other. Stretches neither overlap nor leave the
// stream.
type cutter struct {
	cut    Cut
	low    float32 // below, a stretch may be over
	frames int     // so far
	first  int     // frame that the stretch at hand begins with, -1 for none
	quiet  int     // frame since which it is silent, -1 while it is not
	told   bool    // it has lasted for MinSpeech
	probs  []float32
	before int // sample up to which stretches have been given
}

func newCutter(c Cut) *cutter {
	c = c.orDefault()
	return &cutter{cut: c, low: float32(max(0.05, c.Threshold-0.15)), first: -1, quiet: -1}
}

func toFrames(ms int) int { return max(1, (ms*rate/1000+frame/2)/frame) }

// push takes a frame. began: a stretch is now known to be one, since the sample start. done is one that is over.
func (c *cutter) push(p float32) (began bool, done *stretch) {
	at := c.frames
	c.frames++
	switch {
	case c.first < 0 && float64(p) < c.cut.Threshold:
		return false, nil
	case c.first < 0:
		c.first, c.quiet, c.told, c.probs = at, -1, false, c.probs[:0]
	}
	c.probs = append(c.probs, p)
	switch {
	case p >= c.low:
		c.quiet = -1
	case c.quiet < 0:
		c.quiet = at
	}
	if !c.told {
		if c.quiet >= 0 && c.frames-c.quiet > toFrames(100) {
			c.first = -1 // a click
			return false, nil
		}
		if c.quiet < 0 && c.frames-c.first >= toFrames(c.cut.MinSpeech) {
			c.told, began = true, true
		}
	}
	switch {
	case c.quiet >= 0 && c.frames-c.quiet >= toFrames(c.cut.MinSilence):
		if c.told { // else it was too short
			done = c.end(c.quiet, c.cut.Pad)
		}
		c.first = -1
	case c.cut.Most > 0 && c.frames-c.first >= toFrames(c.cut.Most):
		done = c.divide()
	}
	return began, done
}

// start is the sample at which the stretch at hand begins.
func (c *cutter) start() int { return max(c.before, c.first*frame-c.cut.Pad*rate/1000) }

// endAt is the sample at which it ends if it does before a frame.
func (c *cutter) endAt(atFrame, pad int) int {
	return min(atFrame*frame+pad*rate/1000, c.frames*frame)
}

func (c *cutter) end(atFrame, pad int) *stretch {
	s := &stretch{start: c.start(), end: c.endAt(atFrame, pad)}
	var sum float64
	for _, p := range c.probs[:min(atFrame-c.first, len(c.probs))] {
		sum += float64(p)
	}
	s.confidence = sum / float64(max(1, atFrame-c.first))
	c.before = s.end
	return s
}

// divide ends the stretch at hand where it is least likely speech in its later half, and goes on behind.
func (c *cutter) divide() *stretch {
	at := len(c.probs) / 2
	for i := at; i < len(c.probs)-1; i++ {
		if c.probs[i] < c.probs[at] {
			at = i
		}
	}
	s := c.end(c.first+at+1, 0)
	c.first += at + 1
	c.probs = append(c.probs[:0], c.probs[at+1:]...)
	c.quiet = -1
	return s
}

// finish ends the stream, at a sample count that may lie within a frame.
func (c *cutter) finish(samples int) *stretch {
	if c.first < 0 || !c.told {
		return nil
	}
	last := c.frames
	if c.quiet >= 0 {
		last = c.quiet
	}
	s := c.end(last, c.cut.Pad)
	s.end = max(s.start, min(s.end, samples))
	c.first = -1
	return s
}

// judge makes what decides on voice activity here: Silero where it is installed.
func (e *Engine) judge() judge {
	if e.sileroModel != "" && e.o.ONNX.Ready() {
		return newSilero(e.o.ONNX, e.sileroModel, e.log)
	}
	return &energy{}
}

// stretches finds the speech in a recording.
func (e *Engine) stretches(ctx context.Context, j judge, pcm []int16, cut Cut) ([]stretch, error) {
	c := newCutter(cut)
	var found []stretch
	keep := func(s *stretch) {
		if s != nil && s.end > s.start {
			found = append(found, *s)
		}
	}
	var probs []float32
	var tail [frame]int16
	for at := 0; at < len(pcm); {
		piece := pcm[at:min(len(pcm), at+together*frame)]
		at += len(piece)
		if odd := len(piece) % frame; odd != 0 { // the last one: fill up with silence
			whole := len(piece) - odd
			copy(tail[:], piece[whole:])
			var err error
			if probs, err = j.judge(ctx, probs[:0], piece[:whole]); err == nil {
				probs, err = j.judge(ctx, probs, tail[:])
			}
			if err != nil {
				return nil, err
			}
		} else {
			var err error
			if probs, err = j.judge(ctx, probs[:0], piece); err != nil {
				return nil, err
			}
		}
		for _, p := range probs {
			_, done := c.push(p)
			keep(done)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	keep(c.finish(len(pcm)))
	for i := range found {
		found[i].end = min(found[i].end, len(pcm))
	}
	return found, nil
}
