package speech

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// The kinds of an [Event].
const (
	SpeechStarted = "speech_started" // somebody has begun to speak
	Partial       = "partial"        // what is understood so far; the next one may differ
	SpeechStopped = "speech_stopped" // a pause ends it; its final text follows
	Final         = "final"          // what was understood, possibly nothing
)

// Event is news of live sound. Times are seconds since it began.
type Event struct {
	Type       string
	Start, End float64
	Text       string
	Language   string // ISO 639-1, where it is known
	Words      []Word
	Confidence float64 // 0 where the recogniser gives none
}

// Listen is how live sound is listened to.
type Listen struct {
	Model    string // of the product: PocketSphinx, or a model of the operator's; "" names none
	Language string // ISO 639 code; "" for the recogniser's own
	Rate     int    // Hz of the sound; default 16000
	Cut      Cut    // when an utterance ends; Cut.MinSilence is by default 500
	Quiet    bool   // without partial texts
}

// ErrClosed is the error of a Live that has been closed.
var ErrClosed = errors.New("speech: the live session is closed")

const (
	// firstPartial is how much speech there is before it is first decoded; a further time is after a growth of half,
	// so that all partial texts together cost no more than three times the final one.
	firstPartial = 900 * time.Millisecond
	// ahead is how much sound may wait, in pieces of at most a second: then Feed waits.
	ahead = 8
	// waiting is how many events may wait to be taken.
	waiting = 64
)

// Live recognises sound as it comes. Feed, Flush and Close are for one goroutine; Events and Poll for the same or
// another one. Whoever makes one takes its events, and ends it with Close or by its context.
type Live struct {
	e      *Engine
	by     recogniser
	ctx    context.Context
	stop   context.CancelFunc
	o      Listen
	in     chan input
	events chan Event
	jobs   chan job
	done   sync.WaitGroup
	closed bool

	resample *resampler
	judge    judge
	cut      *cutter
	pcm      []int16 // from sample base on: what is not judged yet and what may be speech
	base     int
	judged   int // samples
	probs    []float32
	partial  int // samples of the stretch at hand that were decoded last
	ending   int // the end with which it was decoded when it seemed to be over

	mu   sync.Mutex
	busy bool  // a partial text is being made
	over int   // sample up to which it is known that an utterance is over
	err  error // why it ended
}

// input is sound, or with flushed the wish to end the utterance at hand.
type input struct {
	pcm     []float32
	flushed chan struct{}
	last    bool
}

// job is an utterance to decode.
type job struct {
	pcm        []int16
	start, end int
	final      bool
	flushed    chan struct{} // nothing to decode: close it
}

// Listen begins to listen. It loads what is needed when the first sound comes.
func (e *Engine) Listen(ctx context.Context, o Listen) (*Live, error) {
	by, err := e.recogniser(o.Model, o.Language)
	if err != nil {
		return nil, err
	}
	return e.listenBy(ctx, by, o)
}

func (e *Engine) listenBy(ctx context.Context, by recogniser, o Listen) (*Live, error) {
	if o.Rate == 0 {
		o.Rate = rate
	}
	if o.Rate < minRate || o.Rate > maxRate {
		return nil, problem.New(problem.Invalid, "speech.rate", "the sample rate must be from %d to %d Hz", minRate, maxRate)
	}
	if o.Cut.MinSilence <= 0 {
		o.Cut.MinSilence = 500
	}
	o.Cut.Most = maxUtterance
	l := &Live{
		e: e, by: by, o: o, in: make(chan input, ahead), events: make(chan Event, waiting), jobs: make(chan job, 4),
		resample: newResampler(o.Rate, rate), judge: e.judge(), cut: newCutter(o.Cut),
	}
	l.ctx, l.stop = context.WithCancel(ctx)
	for _, work := range []func(){l.listen, l.decode} {
		l.done.Go(func() {
			if err := engine.Guard(e.log, "speech: live recognition", func() error { work(); return nil }); err != nil {
				l.fail(err)
			}
		})
	}
	go func() { // ends with the two, for which Close waits
		l.done.Wait()
		close(l.events)
	}()
	return l, nil
}

// Events are the news, in order. It is closed at the end; the reason is Err.
func (l *Live) Events() <-chan Event { return l.events }

// Err is why it ended, nil after Close.
func (l *Live) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Feed takes 16-bit little-endian mono PCM, whole samples. It waits while too much of it is waiting.
func (l *Live) Feed(pcm []byte) error {
	if len(pcm)%2 != 0 {
		return engine.Invalid("pcm", "has half a sample; send 16-bit PCM")
	}
	for len(pcm) > 0 {
		n := min(len(pcm), 2*l.o.Rate)
		x := make([]float32, n/2)
		toFloat(x, fromBytes(pcm[:n]))
		if err := l.send(input{pcm: x}); err != nil {
			return err
		}
		pcm = pcm[n:]
	}
	return nil
}

func (l *Live) send(in input) error {
	if l.closed {
		return ErrClosed
	}
	select {
	case l.in <- in:
		return nil
	case <-l.ctx.Done():
		if err := l.Err(); err != nil {
			return err
		}
		return l.ctx.Err()
	}
}

// Poll gives the events that are there, without waiting.
func (l *Live) Poll() (all []Event) {
	for {
		select {
		case ev, ok := <-l.events:
			if !ok {
				return all
			}
			all = append(all, ev)
		default:
			return all
		}
	}
}

// Flush ends the utterance at hand as a pause would, waits until all that was fed is decoded, and gives the events
// that nobody has taken.
func (l *Live) Flush() ([]Event, error) {
	flushed := make(chan struct{})
	if err := l.send(input{flushed: flushed}); err != nil {
		return nil, err
	}
	var all []Event
	for {
		select {
		case ev, ok := <-l.events:
			if !ok {
				return all, l.Err()
			}
			all = append(all, ev)
		case <-flushed:
			return append(all, l.Poll()...), nil
		}
	}
}

// Finish tells that no more sound comes: what was fed is decoded, then Events is closed.
func (l *Live) Finish() error {
	err := l.send(input{last: true})
	l.closed = true
	return err
}

// Close ends it at once and waits until it has ended.
func (l *Live) Close() {
	l.closed = true
	l.stop()
	l.done.Wait()
}

func (l *Live) fail(err error) {
	l.mu.Lock()
	if l.err == nil && !(l.closedBy(err)) {
		l.err = err
	}
	l.mu.Unlock()
	l.stop()
}

// closedBy reports whether an error is that of Close.
func (l *Live) closedBy(err error) bool {
	return errors.Is(err, context.Canceled) || problem.Is(err, problem.ClientGone)
}

func (l *Live) emit(ev Event) bool {
	select {
	case l.events <- ev:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// listen judges the sound and cuts it into utterances.
func (l *Live) listen() {
	defer close(l.jobs)
	for {
		select {
		case in := <-l.in:
			l.pcm = l.resample.push(l.pcm, in.pcm)
			if in.last || in.flushed != nil {
				l.rest(in)
			} else if err := l.hear(); err != nil {
				l.fail(err)
				return
			}
			if in.last {
				return
			}
		case <-l.ctx.Done():
			l.fail(l.ctx.Err())
			return
		}
	}
}

// rest ends the utterance at hand.
func (l *Live) rest(in input) {
	if in.last {
		l.pcm = l.resample.flush(l.pcm)
	}
	if err := l.hear(); err != nil {
		l.fail(err)
		return
	}
	if s := l.cut.finish(l.base + len(l.pcm)); s != nil {
		l.finalise(s)
	}
	l.cut.first = -1
	if in.flushed != nil {
		l.give(job{flushed: in.flushed})
	}
}

// hear judges the whole frames that are new.
func (l *Live) hear() error {
	n := (l.base + len(l.pcm) - l.judged) / frame * frame
	if n == 0 {
		return nil
	}
	from := l.judged - l.base
	var err error
	if l.probs, err = l.judge.judge(l.ctx, l.probs[:0], l.pcm[from:from+n]); err != nil {
		return err
	}
	for _, p := range l.probs {
		l.judged += frame
		began, done := l.cut.push(p)
		if began && !l.started() {
			return l.ctx.Err()
		}
		if done != nil {
			l.finalise(done)
			if l.cut.first >= 0 && !l.started() { // it was divided, and goes on
				return l.ctx.Err()
			}
		}
	}
	if l.cut.first >= 0 && l.cut.told {
		l.guess()
	}
	l.forget()
	return nil
}

// started tells that somebody has begun to speak.
func (l *Live) started() bool {
	return l.emit(Event{Type: SpeechStarted, Start: thousandths(seconds(l.cut.start()))})
}

// forget drops the sound that can no longer be part of an utterance.
func (l *Live) forget() {
	keep := l.judged - frame*toFrames(2*l.cut.cut.Pad+200)
	if l.cut.first >= 0 {
		keep = l.cut.start()
	}
	if drop := min(keep-l.base, len(l.pcm)); drop > rate { // seldom, in large pieces
		l.pcm = slices.Clone(l.pcm[drop:])
		l.base += drop
	}
}

// sound copies a stretch.
func (l *Live) sound(start, end int) []int16 {
	start, end = max(start-l.base, 0), min(end-l.base, len(l.pcm))
	if start >= end {
		return nil
	}
	return slices.Clone(l.pcm[start:end])
}

// guess has the utterance at hand decoded so far, if it has grown enough and nothing is being decoded. Half a pause
// before its end it is decoded as it will be then if nothing more is said, so that the final text is there at once.
func (l *Live) guess() {
	start, end := l.cut.start(), l.judged
	n := end - start
	ending := l.cut.quiet >= 0
	switch {
	case ending && 2*(l.cut.frames-l.cut.quiet) < toFrames(l.cut.cut.MinSilence):
		return
	case ending:
		if end = l.cut.endAt(l.cut.quiet, l.cut.cut.Pad); end == l.ending {
			return
		}
	case l.o.Quiet || n < max(int(firstPartial.Milliseconds())*rate/1000, l.partial+l.partial/2):
		return
	}
	if !l.begin() {
		return
	}
	select {
	case l.jobs <- job{pcm: l.sound(start, end), start: start, end: end}:
		if l.partial = n; ending {
			l.ending = end
		}
	default:
		l.idle()
	}
}

// begin claims the making of partial texts.
func (l *Live) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy {
		return false
	}
	l.busy = true
	return true
}

func (l *Live) idle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
}

func (l *Live) finalise(s *stretch) {
	l.partial = 0
	l.mu.Lock()
	l.over = s.end
	l.mu.Unlock()
	if l.emit(Event{Type: SpeechStopped, Start: thousandths(seconds(s.start)), End: thousandths(seconds(s.end))}) {
		l.give(job{pcm: l.sound(s.start, s.end), start: s.start, end: s.end, final: true})
	}
}

// hint tells a partial text, unless it is late or events are waiting to be taken.
func (l *Live) hint(j job, ev Event) {
	ev.Type = Partial
	l.mu.Lock()
	defer l.mu.Unlock()
	if j.start < l.over {
		return
	}
	select {
	case l.events <- ev:
	default:
	}
}

func (l *Live) give(j job) {
	select {
	case l.jobs <- j:
	case <-l.ctx.Done():
	}
}

// decode recognises utterances, one after the other.
func (l *Live) decode() {
	type guessed struct {
		start, end int
		heard
	}
	last := guessed{start: -1}
	for {
		var j job
		var ok bool
		select {
		case j, ok = <-l.jobs:
		case <-l.ctx.Done():
		}
		if !ok || l.ctx.Err() != nil {
			return
		}
		if j.flushed != nil {
			close(j.flushed)
			continue
		}
		// A partial text that is late already would only delay the final one.
		if !j.final && len(l.jobs) > 0 {
			l.idle()
			continue
		}
		if !j.final || j.start != last.start || j.end != last.end {
			h, err := l.by.hear(l.ctx, j.pcm)
			if !j.final {
				l.idle()
			}
			if err != nil && !j.final && problem.Is(err, problem.Unavailable) {
				continue // it matters for the final text alone
			}
			if err != nil {
				l.fail(err)
				return
			}
			last = guessed{j.start, j.end, h}
		}
		h := last.heard
		h.words = slices.Clone(h.words) // newSegment moves them
		s := newSegment(h, j.start, j.end)
		ev := Event{Type: Final, Start: s.Start, End: s.End, Text: s.Text, Language: s.Language, Words: s.Words, Confidence: s.Confidence}
		if ev.Language == "" {
			ev.Language = l.by.about().language
		}
		if !j.final {
			if s.Text != "" && !l.o.Quiet {
				l.hint(j, ev)
			}
			continue
		}
		if !l.emit(ev) {
			return
		}
	}
}
