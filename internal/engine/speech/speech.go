// Package speech is the first-party engine of the speech contract: speech to text, text to speech, voice activity,
// and recognition of live sound over a WebSocket, in OpenAI's shape where OpenAI has one.
//
// Recognition is by models of the operator's on sherpa-onnx, or else by PocketSphinx, English alone and of demo grade, which
// every answer says; speech is made by espeak-ng (a hundred languages) and flite (English); voice activity is told by Silero on the ONNX Runtime, or by energy in Go
// alone. FFmpeg or SoX decode and encode what is not WAV. What is not installed is answered with how to install it. The package does
// not identify languages and does not translate; both can be injected. It keeps nothing of what it hears: sound that a
// program needs as a file lies in a private temporary folder while it is worked on.
//
// Invariants: a recording is never charged for more than its Measure, and never decoded beyond it; sound in which
// nobody speaks gives an empty text; programs get text on their standard input, never as an argument, and no shell
// sees any of it.
package speech

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Options are what an [Engine] is made of. All may be zero.
type Options struct {
	Dir  engine.Dir
	ONNX *onnx.Runtime // nil: voice activity is told by energy
	Log  *slog.Logger
	// Recognisers is how many recordings are recognised at the same time; default: half the processors, at least one.
	Recognisers int
	// Translate translates text between languages named by ISO 639-1 codes. nil: not installed.
	// quality is "dictionary" for a gloss.
	Translate func(ctx context.Context, owner, text, from, to string) (translation, quality string, err error)
	// Identify names the language of a text by its ISO 639-1 code, "" where it does not know. nil: by script alone.
	Identify func(text string) string
}

// Engine answers the calls of [Routes]. It is safe for concurrent use.
type Engine struct {
	o           Options
	log         *slog.Logger
	ffmpeg, sox string
	espeak      string
	flite       string
	sileroModel string
	sphinx      *sphinx // nil where it is not installed
	sherpa      *sherpa.Runtime
	heavy       chan struct{} // recordings held decoded
	synths      chan struct{} // synthesisers and encoders at work
	voices      voices

	mu     sync.Mutex
	dir    string // private temporary folder, made when first needed
	closed bool
}

const (
	// atOnce bounds the recordings that are held decoded at the same time, and the texts that are spoken.
	atOnce = 4
	// patience is how long a call waits for its turn.
	patience = 10 * time.Second
)

// New makes an engine. It looks which programs are there and starts none.
func New(o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Recognisers <= 0 {
		o.Recognisers = max(1, runtime.NumCPU()/2)
	}
	e := &Engine{
		o: o, log: o.Log,
		ffmpeg: proc.Find("ffmpeg"), sox: proc.Find("sox"),
		espeak: proc.Find("espeak-ng"), flite: proc.Find("flite"),
		heavy: make(chan struct{}, atOnce), synths: make(chan struct{}, atOnce),
	}
	if o.ONNX != nil {
		e.sileroModel = o.Dir.Path("speech", "silero_vad_v5.onnx")
	}
	e.sphinx = newSphinx(e.folder, o.Recognisers, o.Log)
	e.sherpa = sherpa.New(sherpa.Options{Dir: o.Dir, Threads: min(runtime.NumCPU(), 4), Log: o.Log})
	return e, nil
}

// Close ends the processes. Calls after it fail.
func (e *Engine) Close(context.Context) error {
	err := e.sherpa.Close()
	if e.sphinx != nil {
		err = errors.Join(err, e.sphinx.pool.Close())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.dir != "" {
		if rm := os.RemoveAll(e.dir); err == nil {
			err = rm
		}
		e.dir = ""
	}
	return err
}

// folder is the private temporary folder.
func (e *Engine) folder() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed { // nobody would remove it
		return "", problem.New(problem.Unavailable, "speech.closed", "the server is stopping; try again").After(time.Second)
	}
	if e.dir == "" {
		dir, err := os.MkdirTemp("", "tollgate-speech-")
		if err != nil {
			return "", err
		}
		e.dir = dir
	}
	return e.dir, nil
}

// enter waits for one of the turns; leave gives it back.
func enter(ctx context.Context, turns chan struct{}) (leave func(), err error) {
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-t.C:
		return nil, problem.New(problem.Unavailable, "speech.busy", "the speech engine has too much to do; try again later").After(5 * time.Second)
	}
}

// Describe tells which models are installed.
func (e *Engine) Describe() []engine.Info {
	const need = "scripts/install-engines speech"
	info := func(ready bool, name, model, version, licence string) engine.Info {
		i := engine.Info{Engine: name, Model: model, Version: version, Ready: ready, Licence: licence}
		if !ready {
			i.Need = need
		}
		return i
	}
	return append([]engine.Info{
		info(e.sphinx != nil, "pocketsphinx", sphinxModel, "5prealpha", "BSD-2-Clause"),
		info(e.espeak != "", "espeak-ng", "espeak-ng", "", "GPL-3.0-or-later"),
		info(e.flite != "", "flite", "flite", "2.2", "BSD-4-Clause-UC"),
		info(e.sileroModel != "" && e.o.ONNX.Ready(), "silero", "silero-vad-v5", "5", "MIT"),
		info(true, "energy", "energy-vad", "1", "Apache-2.0"),
		info(e.ffmpeg != "" || e.sox != "", "ffmpeg", "codecs", "", "GPL-2.0-or-later"),
	}, e.describeOwn()...)
}

// Able reports whether anything is installed that recognises speech, and anything that speaks. It is fast.
func (e *Engine) Able() (hears, speaks bool) {
	own, _ := e.owns("")
	return e.sphinx != nil || len(own) > 0, e.espeak != "" || e.flite != ""
}

// Serve answers a call.
func (e *Engine) Serve(ctx context.Context, r *engine.Request, w engine.Writer) error {
	h := handlers[r.Route.Name]
	if h == nil {
		return problem.New(problem.NotFound, "speech.no_operation", "this product has no such operation")
	}
	return h(e, ctx, r, w)
}
