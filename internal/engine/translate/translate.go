// Package translate is the first-party translation engine: texts and documents from one language to another, by what
// works offline.
//
// Two machines do the work: a dictionary between Chinese and English (CC-CEDICT, inside the binary) and Apertium (Debian
// packages) for about forty languages, through a third language where no direct pair is installed. Around them stand
// glossaries and translation memories of each organisation, and readers of HTML, Markdown, JSON, subtitles and DOCX
// that change nothing but the text. The contracts are our own /v1/translate, the plain /translate, and those of DeepL
// and LibreTranslate.
//
// The package holds no neural model and calls no other service; a product that needs better quality is given an upstream
// by its provider, and the gateway then does not come here. It knows nothing of keys and prices.
//
// Invariants:
//   - what was translated is labelled with engine, model and quality; a dictionary's gloss is quality "dictionary";
//   - a hint that an engine cannot follow is listed as ignored;
//   - placeholders, tags and glossary terms are in the result exactly once, and tags nest as before;
//   - a call's Measure is what is charged: the code points of the text to translate, markup not counted;
//   - an owner sees only its own glossaries, memory and documents, and their texts are sealed at rest;
//   - nothing is loaded and no process started before it is needed.
package translate

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "translate", FS: migrations}

// Options say what the engine works with.
type Options struct {
	DB     *db.DB         // of glossaries and memories
	Sealer *secret.Sealer // seals glossaries, memories and documents that wait to be fetched; nil: none can be kept
	Dir    engine.Dir     // its apertium/modes, if it has them, stand in for Debian's
	Clock  clock.Clock    // nil: the machine's
	Log    *slog.Logger   // nil: none

	// Identify tells a text's language (ISO 639-1, "zh" for Chinese) and how sure it is, from 0 to 1. nil: by script and
	// frequent words.
	Identify func(text string) (language string, confidence float64)
	// Hear turns sound into text, and tells how long it is; Speak turns text into a WAV file. nil: not installed.
	Hear  func(ctx context.Context, audio []byte, language string) (Heard, error)
	Speak func(ctx context.Context, text, language string) (wav []byte, err error)
	// Usage tells how many characters an owner has used in its period, and how many it may, for DeepL's clients. nil: the
	// route says that it is not known here.
	Usage func(ctx context.Context, owner string) (characters, limit int64, err error)
}

// Heard is what was understood of a recording, and by what.
type Heard struct {
	Text       string  `json:"-"`
	Seconds    float64 `json:"-"` // of the recording
	Engine     string  `json:"engine"`
	Model      string  `json:"model,omitempty"`
	Quality    string  `json:"quality,omitempty"` // "demo", or "" where it is not known
	Confidence float64 `json:"confidence,omitempty"`
}

// Engine answers the contracts of translation. It is safe for concurrent use.
type Engine struct {
	o      Options
	dict   *dictionary
	apt    *apertium
	routes routes
	store  *store
	index  *fuzzyCache
	serves map[string]handler // by route
	turns  chan struct{}
	queued atomic.Int64
}

// maxQueued is how many calls may wait for their turn.
const maxQueued = 64

// New makes an engine. It loads nothing and starts nothing.
func New(o Options) (*Engine, error) {
	if o.DB == nil {
		return nil, errors.New("translate: no database")
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Identify == nil {
		o.Identify = guess
	}
	e := &Engine{o: o, dict: &dictionary{}, apt: newApertium(o.Dir.Path("apertium", "modes"), o.Log), store: &store{db: o.DB, sealer: o.Sealer, log: o.Log}}
	e.routes = routes{[]machine{e.dict, e.apt}}
	e.index = newFuzzyCache(e.store)
	e.serves = engine.Handlers(operations())
	e.turns = make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	return e, nil
}

// Close ends the processes.
func (e *Engine) Close(context.Context) error { return e.apt.close() }

func busy() error {
	return problem.New(problem.Unavailable, "translate.busy", "too many translations are waiting; try again in a moment").After(2 * time.Second)
}

// turn waits for the right to compute; done gives it back.
func (e *Engine) turn(ctx context.Context) (done func(), err error) {
	select {
	case e.turns <- struct{}{}:
		return func() { <-e.turns }, nil
	default:
	}
	if e.queued.Add(1) > maxQueued {
		e.queued.Add(-1)
		return nil, busy()
	}
	defer e.queued.Add(-1)
	select {
	case e.turns <- struct{}{}:
		return func() { <-e.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// handler answers one route.
type handler func(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error

// Serve implements engine.Engine.
func (e *Engine) Serve(ctx context.Context, r *engine.Request, w engine.Writer) error {
	ctx = withUpstream(ctx, r)
	if r.Route == nil {
		return errors.New("translate: a request without a route")
	}
	serve := e.serves[r.Route.Name]
	if serve == nil {
		return fmt.Errorf("translate: no route %q", r.Route.Name)
	}
	return serve(e, ctx, r, w)
}

// Describe implements engine.Describer: the dictionary, and Apertium's pairs that are installed or known.
func (e *Engine) Describe() []engine.Info {
	all := []engine.Info{{Engine: "cc-cedict", Model: "zh-en", Version: cedictVersion, Ready: true, Licence: "CC BY-SA 4.0"},
		{Engine: "cc-cedict", Model: "en-zh", Version: cedictVersion, Ready: true, Licence: "CC BY-SA 4.0"}}
	seen := map[string]bool{}
	for _, p := range e.apt.pairs() {
		if !seen[p.model] {
			seen[p.model] = true
			all = append(all, engine.Info{Engine: "apertium", Model: p.model, Version: "3.8", Ready: true, Licence: "GPL-2.0-or-later (a separate program)"})
		}
	}
	if len(seen) == 0 {
		all = append(all, engine.Info{Engine: "apertium", Model: "pairs", Version: "3.8", Need: "scripts/install-engines", Licence: "GPL-2.0-or-later (a separate program)"})
	}
	return all
}
