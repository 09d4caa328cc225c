// Package sherpa recognises speech with models of the operator's own, by sherpa-onnx.
//
// sherpa-onnx is native code that ends its process on a model that it does not like. It lives in a supervised child process,
// bin/tollgate-sherpa of the engines directory, which loads lib/libsherpa-onnx-c-api.so from there; the platform's own binary
// needs no C compiler and outlives it. The models lie in speech/models of that directory, a folder each, and are recognised by
// the names of their files. The package brings no model, starts nothing until it is first used, and neither divides
// recordings nor judges whether anybody speaks.
//
// Invariants: a child serves one call at a time; at most Workers of them run; a model that ends the child while it is being
// loaded is left alone for a while, so that the other ones can be used.
package sherpa

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Options of a Runtime.
type Options struct {
	Dir     engine.Dir
	Workers int           // child processes; default 1
	Threads int           // of one child; default 2
	Time    time.Duration // of one Decode, loading the model included; default 3 min
	Idle    time.Duration // what is unused for so long is given up, models and processes; default 5 min
	Clock   clock.Clock   // may be nil
	Log     *slog.Logger  // may be nil
}

const (
	// Version is that of the library, whose structures the child knows.
	Version = "1.13.8"
	// Rate is the sample rate of what is recognised, in Hz.
	Rate = wire.Rate
	// MaxSamples is the longest utterance.
	MaxSamples = wire.MaxSamples

	defaultTime = 3 * time.Minute
	queue       = 64
	// memory is a child's address space: far above what models take, below what harms the machine.
	memory = 12 << 30
	// rest is how long a model that ended the child is left alone.
	rest = 30 * time.Second
)

// Runtime recognises utterances. It is safe for concurrent use.
type Runtime struct {
	children *proc.Native
	workers  int
	clock    clock.Clock
	log      *slog.Logger

	mu     sync.Mutex
	broken map[string]time.Time // names of models that ended the child, and when they may try again
}

// New makes a runtime. It starts nothing, and is fine without an engines directory: see Ready.
func New(o Options) *Runtime {
	if o.Workers <= 0 {
		o.Workers = 1
	}
	if o.Time <= 0 {
		o.Time = defaultTime
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Runtime{workers: o.Workers, clock: o.Clock, log: o.Log, broken: map[string]time.Time{}, children: proc.NewNative(proc.NativeOptions{
		Dir: o.Dir, Program: "tollgate-sherpa", Library: "libsherpa-onnx-c-api.so", Memory: memory, Frame: wire.MaxFrame,
		Workers: o.Workers, Queue: queue, Threads: o.Threads, Time: o.Time, Idle: o.Idle, Log: o.Log,
	})}
}

// Ready reports whether the library is installed.
func (r *Runtime) Ready() bool { return r.children.Ready() }

// Workers is how many utterances are recognised at the same time.
func (r *Runtime) Workers() int { return r.workers }

// Models are the operator's models by name, also those that cannot be used: these have a Need.
func (r *Runtime) Models() []Model {
	all := Models(r.children.Dir)
	for i := range all {
		if m := &all[i]; m.Need == "" && r.resting(m.Name) > 0 {
			m.Need = "to be mended: sherpa-onnx could not load it, the log says why"
		}
	}
	return all
}

// Close ends the children. Calls after it fail.
func (r *Runtime) Close() error { return r.children.Close() }

// Call is an utterance to be recognised.
type Call struct {
	Model     *Model
	Language  string // ISO 639-1; "" where the model is to find out
	Translate bool   // into English: see Model.TranslatesFrom
	PCM       []int16
}

// Heard is what was understood. A text without Words is one of whose words the model tells no times.
type Heard struct {
	Text     string
	Language string // ISO 639-1, as the model tells it; "" where it does not
	Words    []Word
}

// Word is a word of a text, in seconds since the utterance began.
type Word struct {
	Text       string
	Start, End float64
	Confidence float64 // the geometric mean of its tokens' probabilities; 0 where the model gives none
}

// Decode recognises an utterance of at most MaxSamples. A model that cannot be used is Unavailable, with the cause in the
// log; it does not harm the others.
func (r *Runtime) Decode(ctx context.Context, c Call) (*Heard, error) {
	switch wait := r.resting(c.Model.Name); {
	case !r.Ready():
		return nil, engine.Missing("sherpa-onnx")
	case c.Model.Need != "" && wait == 0:
		return nil, unusable(c.Model.Name, fmt.Errorf("it needs %s", c.Model.Need))
	case wait > 0:
		return nil, unusable(c.Model.Name, errors.New("it ended the process when it was loaded last")).After(wait)
	case len(c.PCM) == 0:
		return &Heard{}, nil
	case len(c.PCM) > MaxSamples:
		return nil, fmt.Errorf("sherpa: an utterance of %d samples: %w", len(c.PCM), child.ErrTooLarge)
	}
	// What cannot be sent is no fault of the child's.
	load, err := (&wire.Request{Model: c.Model.wire}).Frame()
	if err != nil {
		return nil, fmt.Errorf("sherpa: %w", err)
	}
	utterance, err := (&wire.Request{Model: c.Model.wire, Language: c.Language, Translate: c.Translate, PCM: c.PCM}).Frame()
	if err != nil {
		return nil, fmt.Errorf("sherpa: %w", err)
	}
	var answer *wire.Answer
	began, loaded := false, false
	err = r.children.Do(ctx, func(p *proc.Child) (err error) {
		began = true
		if answer, err = exchange(p, load); err != nil || answer.Refusal != "" {
			return err
		}
		loaded = true
		answer, err = exchange(p, utterance)
		return err
	})
	switch {
	case err != nil && began && ctx.Err() == nil && problem.As(err).ID == "proc.failed":
		if !loaded {
			r.lay(c.Model.Name, err)
		}
		return nil, unusable(c.Model.Name, err).After(time.Second)
	case err != nil:
		return nil, err
	case answer.Refusal != "":
		r.log.Warn("sherpa-onnx refuses a model", "model", c.Model.Name, "error", answer.Refusal)
		return nil, unusable(c.Model.Name, errors.New(answer.Refusal))
	}
	h := &Heard{Text: strings.TrimSpace(answer.Text), Language: languageOf(answer.Language)}
	h.Words = words(h.Text, answer, float64(len(c.PCM))/Rate)
	return h, nil
}

// exchange sends a request and reads its answer.
func exchange(p *proc.Child, frame []byte) (*wire.Answer, error) {
	answer, err := child.Ask(p.In, p.Out, frame, wire.MaxFrame, wire.ParseAnswer)
	if err != nil {
		return nil, fmt.Errorf("sherpa: %w", err)
	}
	return answer, nil
}

func unusable(model string, cause error) *problem.Error {
	return problem.New(problem.Unavailable, "speech.model_failed",
		"the speech model %q could not be used; the operator finds the cause in the server's log", model).Because(cause)
}

// lay lets a model rest that ended the child.
func (r *Runtime) lay(model string, cause error) {
	r.mu.Lock()
	r.broken[model] = r.clock.Now().Add(rest)
	r.mu.Unlock()
	r.log.Warn("a speech model ends its process when it is loaded", "model", model, "error", cause)
}

// resting is how long a model is to be left alone.
func (r *Runtime) resting(model string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	until, ok := r.broken[model]
	if !ok {
		return 0
	}
	if wait := until.Sub(r.clock.Now()); wait > 0 {
		return wait
	}
	delete(r.broken, model)
	return 0
}

// languageOf is the code in what a model says: "zh", or "<|zh|>".
func languageOf(said string) string {
	said = strings.ToLower(strings.Trim(said, "<|> "))
	if len(said) < 2 || len(said) > 3 {
		return ""
	}
	return said
}

// least is the least probability of a word: it is rounded to thousandths, and none is not known.
const least = 0.001

// mean is the geometric mean of probabilities of which the sum of the logarithms is given.
func mean(logs float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return max(least, min(1, math.Exp(logs/float64(n))))
}
