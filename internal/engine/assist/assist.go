// Package assist is customer service: bots that answer from knowledge bases, recognise what visitors want, ask for what they
// need to know, and hand over to people, who work in queues at a desk.
//
// Answers are found by BM25 and sentence vectors together and quoted with their sources; a language model writes them only
// where a bot names one. Speech, translation, identification of languages, vectors and the trained classifier are functions
// given by whoever builds the engine: without them text in the knowledge's own language still works.
//
// Invariants:
//   - what visitors, agents and documents say is sealed at rest, and gone after the bot's days of retention; figures remain;
//   - a visitor reaches one session, by its secret, and no other: a key that all visitors of a page share tells nothing;
//   - routing gives a session to one agent, an agent no more sessions than its capacity, and serves a line by priority
//     and then first in, first out: all routing of an organisation happens under one lock;
//   - one owner never sees what is another's.
//
// It does not reach out to customers, place telephone calls, or know what anything costs.
package assist

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

//go:embed migrations/*.sql
var files embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "assist", FS: files}

// Options are what an [Engine] is made of. DB and Sealer are required; a nil function answers that it is not installed.
type Options struct {
	DB     *db.DB
	Sealer *secret.Sealer // seals transcripts and knowledge
	HTTP   *http.Client   // guarded egress, for documents by URL; nil: none can be fetched
	Clock  clock.Clock    // nil: the machine's
	Log    *slog.Logger   // nil: none

	// Voices reports whether Hear and Speak have an engine behind them; nil: they have. It is asked for each new session.
	Voices func() (hears, speaks bool)
	// Hear turns a recording of any usual format into text. lang may be "".
	Hear func(ctx context.Context, audio []byte, mediaType, lang string) (Heard, error)
	// Speak says a text. voice may be "".
	Speak func(ctx context.Context, text, lang, voice string) (Sound, error)
	// NewRecogniser begins to listen to 16 kHz mono PCM16 sound.
	NewRecogniser func(ctx context.Context, lang string) (*Recogniser, error)
	// Translate translates a text between languages named by ISO 639-1 codes.
	Translate func(ctx context.Context, text, from, to string) (Translated, error)
	// Identify names the language of a text by its ISO 639-1 code.
	Identify func(text string) (lang string, confidence float64)
	// Embed gives vectors of texts, all of one length, for the languages in EmbedLanguages. Vectors are stored: EmbedModel names what
	// makes them, and those of another model are left aside until their knowledge base is indexed anew. Vectors that are nothing
	// but hashed words are worse than none.
	Embed          func(ctx context.Context, texts []string) ([][]float32, error)
	EmbedModel     string
	EmbedLanguages []string // nil: English
	// Train trains a classifier with texts and their labels.
	Train func(ctx context.Context, texts, labels []string) (Classify, error)
}

// Heard is what was understood of a recording.
type Heard struct {
	Text       string
	Language   string  // "" where the recogniser does not tell
	Seconds    float64 // of the recording
	Confidence float64 // 0 where it does not tell
	Engine     string
}

// Translated is a translation, the engine that made it, and what kind it is: "dictionary" for a gloss.
type Translated struct{ Text, Engine, Quality string }

// Sound is mono PCM, 16 bits a sample, little endian.
type Sound struct {
	PCM    []byte
	Rate   int // samples a second
	Engine string
}

// Recogniser listens to one speaker. Its functions are called from one goroutine.
type Recogniser struct {
	// Feed takes more sound and tells what it made of it so far.
	Feed func(pcm []byte) ([]Utterance, error)
	// Flush ends the utterance at hand; nil where that cannot be done.
	Flush func() ([]Utterance, error)
	// Events has what is understood later than Feed returns; nil where there is nothing. It ends when the recogniser fails.
	Events <-chan Utterance
	Close  func()
}

// Utterance is news from a [Recogniser]. Speaking alone says that a voice was heard and nothing was understood yet.
type Utterance struct {
	Speaking   bool
	Final      bool
	Text       string
	Confidence float64
}

// Engine serves the contract of [Routes]. Safe for concurrent use.
type Engine struct {
	o       Options
	clock   clock.Clock
	log     *slog.Logger
	hub     *hub
	shelves *shelves
	minds   *minds
	turns   keyed         // one turn of a session at a time
	heavy   chan struct{} // places for ingestion
	ctx     context.Context
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu    sync.Mutex
	swept time.Time // guarded by mu: when old sessions were last looked for
	busy  bool      // guarded by mu: they are being looked for

	unembedded []unembedded // guarded by mu: what a start left for later
}

// Bounds of concurrent work in one process.
const (
	maxIngest  = 2    // documents read at once
	maxStreams = 4096 // event streams open at once
)

// New returns an Engine. It loads nothing and starts nothing.
func New(o Options) (*Engine, error) {
	if o.DB == nil || o.Sealer == nil {
		return nil, errors.New("assist: a database and a sealer are needed")
	}
	e := &Engine{o: o, clock: o.Clock, log: o.Log, hub: newHub(), heavy: make(chan struct{}, maxIngest)}
	if e.clock == nil {
		e.clock = clock.System{}
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.o.EmbedLanguages == nil {
		e.o.EmbedLanguages = []string{"en"}
	}
	e.shelves, e.minds = newShelves(), newMinds()
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// Close ends open streams and what runs behind calls, and waits for it.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.stop()
	e.mu.Unlock()
	done := make(chan struct{})
	go func() { e.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// behind runs f behind a call, unless the engine is closing: nothing begins once Close waits.
func (e *Engine) behind(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() == nil {
		e.work.Go(f)
	}
}

// Serve implements [engine.Engine].
func (e *Engine) Serve(ctx context.Context, r *engine.Request, w engine.Writer) error {
	h := handlers[r.Route.Name]
	if h == nil {
		return problem.New(problem.NotFound, "assist.no_operation", "customer service has no operation %q", r.Route.Name)
	}
	return h(e, &call{Request: r, ctx: ctx, w: w})
}

// Describe implements [engine.Describer].
func (e *Engine) Describe() []engine.Info {
	hears, speaks := e.voices()
	live := hears && speaks && e.o.NewRecogniser != nil
	need := func(missing bool, what string) string {
		if missing {
			return what
		}
		return ""
	}
	return []engine.Info{
		{Engine: "tollgate-assist", Model: "retrieval", Version: Version, Ready: true, Licence: "Apache-2.0"},
		{Engine: "tollgate-assist", Model: "voice", Version: Version, Ready: live, Licence: "Apache-2.0",
			Need: need(!live, "speech engines: scripts/install-engines")},
		{Engine: "tollgate-assist", Model: "translation", Version: Version, Ready: e.o.Translate != nil, Licence: "Apache-2.0",
			Need: need(e.o.Translate == nil, "translation engines: scripts/install-engines")},
		{Engine: "poppler", Model: "pdftotext", Ready: proc.Find("pdftotext") != "", Licence: "GPL-2.0-or-later",
			Need: need(proc.Find("pdftotext") == "", "PDF files in knowledge bases: scripts/install-engines")},
	}
}

// voices reports whether recordings are understood, and answers can be spoken.
func (e *Engine) voices() (hears, speaks bool) {
	hears, speaks = e.o.Hear != nil, e.o.Speak != nil
	if e.o.Voices != nil && (hears || speaks) {
		h, s := e.o.Voices()
		hears, speaks = hears && h, speaks && s
	}
	return hears, speaks
}

// Version of the retrieval and dialogue of this package; it changes when answers may.
const Version = "1"

// call is one call as handlers see it.
type call struct {
	*engine.Request
	ctx context.Context
	w   engine.Writer
}

// optional reads a body that may be left out.
func (c *call) optional(v any) error {
	if len(c.Body) == 0 {
		return nil
	}
	return engine.Decode(c.Body, v)
}

func (c *call) header(name string) string {
	if c.Header == nil {
		return ""
	}
	return c.Header(name)
}

// path is a wildcard of the call's pattern.
func (c *call) path(name string) string { return c.Params[name] }

// json answers with a JSON document.
func (c *call) json(status int, v any) error { return engine.WriteJSON(c.w, status, v) }

func notFound(what, id string) error {
	return problem.New(problem.NotFound, "assist.not_found", "there is no %s %q", what, cutRunes(id, 60))
}

// newSecret is 130 random bits in lower case.
func newSecret() string { return strings.ToLower(rand.Text()) }

// keyed is a set of locks by name.
type keyed struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	ch    chan struct{}
	users int
}

// lock waits for the named lock, at most as long as ctx allows.
func (k *keyed) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = map[string]*keyLock{}
	}
	l := k.held[name]
	if l == nil {
		l = &keyLock{ch: make(chan struct{}, 1)}
		k.held[name] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, name)
		}
	}
	select {
	case l.ch <- struct{}{}:
		return func() { <-l.ch; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
