// Package recommend is the recommendation engine: for an owner's data set (a space: a shop, a news site) it
// takes items, users and events, and answers what a user may like, what is similar, popular or trending.
//
// Seven rankers, all in Go and in memory, are blended by the weights of the space, of an experiment's arm or of the
// request (see [Weights]): item-item and user-user collaborative filtering computed from the users' histories
// when asked (so that they are never older than the last event), implicit matrix factorisation trained in the
// background with a user's vector folded in at each query, content (TF-IDF of texts, Chinese in bigrams, tags and
// attributes), popularity and trend with decay, and popularity among users of equal attributes for who is new. Business
// rules, filters and diversity are applied to the blend.
//
// What it does not do: it trains no deep model, keeps no session of a visitor beyond his events, and stores no
// model on disk. It knows nothing of keys and money.
//
// Semantics that a caller may rely on:
//   - Items, users and events are in the database before a write is answered, and in the next answer of this node
//     at once. Another node picks them up by polling the sequence of the space, within a second.
//   - An event with an id counts once, however often it is sent.
//   - A deleted user leaves no row: events, attributes, exposures. His share in the counts of the model goes at
//     once; item vectors that were trained with him are trained anew soon after. The database reuses the
//     freed pages; it does not overwrite them.
//   - The model of a space is loaded when first needed, and dropped when unused or when memory is short.
//   - Exposures of an experiment are written within a second; a crash loses at most that second of them.
//
// Time is in UTC seconds. Scores are for ordering one answer; they mean nothing across answers.
package recommend

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Version is the engine's, named in answers of Describe and in reports.
const Version = "1.0"

// Name is the engine's name in answers.
const Name = "recommend"

//go:embed migrations/*.sql
var files embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "recommend", FS: fs.FS(files)}

// Options are what an [Engine] needs.
type Options struct {
	DB     *db.DB
	Clock  clock.Clock   // nil: the machine's
	Log    *slog.Logger  // nil: none
	Procs  int           // threads of training; 0: half of the processors, at least one
	Memory int64         // bytes that loaded models may take, estimated; 0: 1 GiB
	Idle   time.Duration // after which an unused model is dropped; 0: 30 minutes
	Poll   time.Duration // how often other nodes' changes are looked for; 0: 500 ms
}

// Engine serves the contract. It is safe for concurrent use.
type Engine struct {
	db     *db.DB
	clock  clock.Clock
	log    *slog.Logger
	procs  int
	memory int64
	idle   time.Duration
	every  time.Duration

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	running bool // the background goroutines have been started
	closed  bool
	spaces  map[spaceKey]*space

	fits  chan *space   // spaces that want training
	heavy chan struct{} // one offline evaluation at a time
	load  chan struct{} // loads at the same time
	asks  chan struct{} // questions at the same time: each takes memory in proportion to the items
	queue atomic.Int64  // questions that wait
	shown exposures
}

// New makes an engine. It reads nothing and starts nothing.
func New(o Options) (*Engine, error) {
	e := &Engine{db: o.DB, clock: o.Clock, log: o.Log, procs: o.Procs, memory: o.Memory, idle: o.Idle, every: o.Poll,
		spaces: map[spaceKey]*space{}, fits: make(chan *space, 256), heavy: make(chan struct{}, 1), load: make(chan struct{}, 2),
		asks: make(chan struct{}, 4*runtime.GOMAXPROCS(0))}
	if e.clock == nil {
		e.clock = clock.System{}
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.procs <= 0 {
		e.procs = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if e.memory <= 0 {
		e.memory = 1 << 30
	}
	if e.idle <= 0 {
		e.idle = 30 * time.Minute
	}
	if e.every <= 0 {
		e.every = 500 * time.Millisecond
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// Close ends the background work, writes what exposures are left, and drops all models.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	e.mu.Unlock()
	e.stop()
	e.wg.Wait()
	err := e.flush(ctx)
	e.mu.Lock()
	e.spaces = map[spaceKey]*space{}
	e.mu.Unlock()
	return err
}

// Describe lists the rankers; all are part of this program.
func (e *Engine) Describe() []engine.Info {
	out := []engine.Info{{Engine: Name, Model: Hybrid, Version: Version, Ready: true, Licence: "Apache-2.0"}}
	for _, n := range rankerNames {
		out = append(out, engine.Info{Engine: Name, Model: n, Version: Version, Ready: true, Licence: "Apache-2.0"})
	}
	return out
}

// start runs the background goroutines, once. It is called with e.mu locked, as whatever begins goroutines is: none begins once
// Close waits for them.
func (e *Engine) start() error {
	if e.closed {
		return problem.New(problem.Unavailable, "recommend.closed", "the server is shutting down; try again shortly").After(time.Second)
	}
	if !e.running {
		e.running = true
		e.wg.Go(e.poller)
		e.wg.Go(e.fitter)
	}
	return nil
}
