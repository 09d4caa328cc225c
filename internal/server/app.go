package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/docs"
	"github.com/tollgate-io/tollgate/internal/api"
	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/recommend"
	"github.com/tollgate-io/tollgate/internal/engine/sandbox"
	language "github.com/tollgate-io/tollgate/internal/engine/text"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/engine/vision"
	"github.com/tollgate-io/tollgate/internal/gateway"
	"github.com/tollgate-io/tollgate/internal/gateway/front"
	"github.com/tollgate-io/tollgate/internal/idem"
	"github.com/tollgate-io/tollgate/internal/job"
	"github.com/tollgate-io/tollgate/internal/kv"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/quota"
	"github.com/tollgate-io/tollgate/internal/record"
	"github.com/tollgate-io/tollgate/internal/secret"
	"github.com/tollgate-io/tollgate/internal/settle"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// App is the whole product in one process. New builds it, Start makes it ready, Stop ends it.
type App struct {
	Config *Config
	Log    *slog.Logger

	DB       *db.DB
	Sealer   *secret.Sealer
	Orgs     *org.Store
	Keys     *auth.Store
	Catalog  *catalog.Store
	Plans    *plan.Store
	Ledger   *ledger.Store
	Meter    *meter.Store
	Audit    *audit.Log
	Idem     *idem.Store
	Record   *record.Store
	Vault    *Vault
	Book     *plan.Book
	Dir      *auth.Directory
	Egress   *egress.Client
	Limiter  *quota.Limiter
	KV       kv.Store // nil without Redis
	Spool    *spool.Spool
	Bank     *settle.Bank
	Settler  *settle.Settler
	Recorder *record.Recorder
	Gateway  *gateway.Gateway
	Front    *front.Front
	API      http.Handler
	Jobs     *job.Runner
	Metrics  *telemetry.Metrics
	Lines    *telemetry.Lines
	Tracer   *telemetry.Tracer
	models   *modelWatch
	engines  engineSet
	routes   []engine.Route
	mounts   map[string]engine.Engine // by the name after builtin://

	seenSubscription string     // the newest that the catalogue's recommendations know; of the leader's loop alone
	failed           chan error // what ends Run; see fail
	vitals           vitals
	cert             atomic.Pointer[reloader] // nil without TLS files
	began            time.Time
	requests         io.Closer

	stopBook context.CancelFunc
	bookDone chan struct{}
	closers  []func(context.Context) error // run in reverse by Stop
}

// migrations lists the tables of all rooms, in the order in which they are made.
func migrations() []db.Migrations {
	return []db.Migrations{job.Migrations, audit.Migrations, org.Migrations, auth.Migrations, catalog.Migrations,
		plan.Migrations, ledger.Migrations, meter.Migrations, settle.Migrations, billing.Migrations, idem.Migrations, record.Migrations,
		language.Migrations, translate.Migrations, vision.Migrations, assist.Migrations, recommend.Migrations}
}

// New builds the product: it opens and migrates the database, opens the spool and settles what an earlier
// run left behind. After an error nothing is left open.
func New(ctx context.Context, c *Config, stdout, stderr io.Writer) (_ *App, err error) {
	a := &App{Config: c, failed: make(chan error, 1), began: time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close(context.WithoutCancel(ctx)))
		}
	}()
	if a.Log, err = telemetry.NewLogger(stderr, c.Log.Level, c.Log.Format); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, err
	}
	// The spool first: its lock tells whether another process uses the folder.
	if a.Spool, err = spool.Open(spool.Options{Dir: filepath.Join(c.Data, "spool"), Strict: c.Durability == "strict"}); err != nil {
		return nil, err
	}
	a.defers(func(context.Context) error { return a.Spool.Close() })
	if err := a.openStores(ctx); err != nil {
		return nil, err
	}
	if err := a.openTelemetry(ctx, stdout); err != nil {
		return nil, err
	}
	if err := a.openMoney(ctx); err != nil {
		return nil, err
	}
	return a, a.openGateway(ctx)
}

func (a *App) defers(f func(context.Context) error) { a.closers = append(a.closers, f) }

func (a *App) openStores(ctx context.Context) (err error) {
	c := a.Config
	if a.DB, err = db.Open(ctx, c.Database, db.Options{}); err != nil {
		return err
	}
	a.defers(func(context.Context) error { return a.DB.Close() })
	if err := a.DB.Migrate(ctx, migrations()...); err != nil {
		return err
	}
	var created bool
	if a.Sealer, created, err = secret.LoadOrCreate(c.SealerKey); err != nil {
		return err
	}
	if created {
		a.Log.Info("a new sealer key was made; keep a copy of it apart from the database's backups", "file", c.SealerKey)
	}
	a.Orgs = org.New(a.DB)
	a.Keys = auth.New(a.DB, a.Orgs)
	a.Catalog = catalog.New(a.DB, a.Sealer)
	a.Plans = plan.New(a.DB, a.Catalog)
	a.Ledger = ledger.New(a.DB, clock.System{})
	a.Meter = meter.New(a.DB)
	a.Audit = audit.New(a.DB, a.Log)
	a.Idem = idem.NewStore(a.Sealer)
	a.Record = record.New(a.DB, a.Sealer)
	if a.Vault, err = newVault(c.SealerKey, a.DB, a.Sealer, a.Catalog, a.Idem, a.Record); err != nil {
		return err
	}
	if err := a.warnLost(ctx); err != nil {
		return err
	}
	if a.Book, err = plan.NewBook(ctx, a.DB, a.Plans, a.Orgs, plan.BookOptions{}); err != nil {
		return err
	}
	a.Dir = auth.NewDirectory(a.DB, a.Orgs, a.Keys, clock.System{}, a.Log)
	if err := a.Dir.Start(ctx); err != nil {
		return err
	}
	a.defers(func(context.Context) error { a.Dir.Stop(); return nil })
	bookCtx, stop := context.WithCancel(context.Background())
	a.stopBook, a.bookDone = stop, make(chan struct{})
	go func() { defer close(a.bookDone); a.Book.Run(bookCtx) }()
	a.defers(func(context.Context) error { stop(); <-a.bookDone; return nil })
	return nil
}

// tracesTime is how long a stop waits for the receiver of traces to take what waits.
const tracesTime = 3 * time.Second

func (a *App) openTelemetry(ctx context.Context, stdout io.Writer) (err error) {
	c := a.Config
	a.Metrics = telemetry.NewMetrics(Version)
	switch c.Log.Requests {
	case "off":
	case "":
		a.Lines = telemetry.NewLines(stdout)
	default:
		f, err := os.OpenFile(c.Log.Requests, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		a.defers(func(context.Context) error { return f.Close() })
		a.Lines = telemetry.NewLines(f)
	}
	a.defers(func(context.Context) error { a.Lines.Close(); return nil })
	a.Metrics.Watch(a.Lines)
	a.Tracer, err = telemetry.NewTracer(ctx, telemetry.TraceOptions{Endpoint: c.Traces.Endpoint, Ratio: c.Traces.Ratio, Version: Version, Log: a.Log, Getenv: os.Getenv})
	if err != nil {
		return err
	}
	a.defers(func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tracesTime)
		defer cancel()
		if err := a.Tracer.Close(ctx); err != nil {
			a.Log.Warn("traces that waited were lost", "error", err)
		}
		return nil
	})
	return nil
}

func (a *App) openMoney(ctx context.Context) error {
	a.Bank = settle.NewBank(a.DB, settle.BankOptions{Spool: a.Spool.ID(), Epoch: a.Spool.Epoch(), Cover: a.Config.Lease.Cover})
	a.Settler = settle.New(a.DB, a.Spool, a.Bank, settle.Options{Platform: ledger.Platform, Terms: a.terms, Metrics: a.Metrics, Every: a.Config.Settle.Every,
		Warn: func(msg string, args ...any) { a.Log.Warn(msg, args...) }})
	if err := a.beat(ctx, settle.NodeRunning); err != nil {
		return err
	}
	if err := a.Settler.Recover(ctx); err != nil {
		return err
	}
	a.Bank.Start()
	a.Settler.Start()
	a.defers(func(ctx context.Context) error {
		if err := errors.Join(a.Settler.Stop(ctx), a.Bank.Stop(ctx)); err != nil {
			return err // what is left is settled at the next start
		}
		return a.beat(ctx, settle.NodeStopped)
	})
	return nil
}

// beat tells the database that this node is there.
func (a *App) beat(ctx context.Context, state string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return a.Settler.Beat(ctx, settle.NodeInfo{Host: host, Version: Version, Roles: strings.Join(a.Config.Roles, " ")}, state)
}

// terms tells the settler what a plan version says about money.
func (a *App) terms(ctx context.Context, id db.UUID) (settle.Terms, error) {
	v, err := a.Book.Version(ctx, id)
	if err != nil {
		return settle.Terms{}, err
	}
	return settle.Terms{Card: v.Compiled, Currency: v.Currency, CommissionPPM: v.CommissionPPM,
		Start: func(subscription string, at time.Time) (time.Time, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return a.Book.PeriodStart(ctx, subscription, at)
		}}, nil
}

func (a *App) openGateway(ctx context.Context) (err error) {
	c := a.Config
	allow, err := prefixes(c.UpstreamAllow)
	if err != nil {
		return err
	}
	trusted, err := prefixes(c.TrustedProxies)
	if err != nil {
		return err
	}
	a.Egress = egress.New(egress.Options{Guard: egress.Guard{Allow: allow}, UserAgent: "tollgate/" + Version})
	a.defers(func(context.Context) error { a.Egress.Close(); return nil })
	a.Limiter = quota.NewLimiter()
	if c.Redis != "" {
		if a.KV, err = kv.Open(ctx, c.Redis, clock.System{}); err != nil {
			return err
		}
		a.defers(func(context.Context) error { return a.KV.Close() })
		a.Limiter = quota.NewShared(a.KV, a.Log)
	}
	a.defers(func(context.Context) error { a.Limiter.Close(); return nil })
	manual, err := sandbox.New(docs.Manual())
	if err != nil {
		return err
	}
	if err := a.openEngines(ctx); err != nil {
		return err
	}
	a.mounts, a.routes = a.engines.mounts(), contractRoutes()
	a.Recorder = record.NewRecorder(a.Record, record.RecorderOptions{Log: a.Log})
	if err := a.Recorder.Start(ctx); err != nil {
		return err
	}
	a.defers(func(ctx context.Context) error { a.Recorder.Stop(ctx); return nil })
	a.Metrics.CounterFunc("tollgate_recordings_dropped_total", "Calls whose content was to be recorded and was not, because the database was too slow or refused it.",
		func() float64 { return float64(a.Recorder.Dropped()) })
	a.Gateway = gateway.New(gateway.Options{Keys: a.Dir, Book: a.Book, Limiter: a.Limiter, Bank: a.Bank, Spool: a.Spool, Egress: a.Egress,
		Meter: a.Meter, Metrics: a.Metrics, Lines: a.Lines, Tracer: a.Tracer, Log: a.Log, MaxBody: c.Limits.Body, KeepAlive: c.Limits.KeepAlive, Recorder: a.Recorder,
		Builtins: map[string]gateway.Builtin{"sandbox": sandboxEngine{manual}, "vectors": vectors{a.engines.text}},
		Engines:  a.mounts, Routes: a.routes, Free: gateway.Free{Key: secret.New(c.FreeTier.Key), PerMinute: c.FreeTier.PerMinute}})
	a.Gateway.Start()
	a.defers(func(context.Context) error { a.Gateway.Stop(); return nil })
	a.Front = front.New(front.Options{Gateway: a.Gateway, Egress: a.Egress, Routes: a.routes, Trusted: trusted})
	a.defers(func(context.Context) error { a.Front.Close(); return nil })
	a.API = api.New(api.Options{DB: a.DB, Orgs: a.Orgs, Keys: a.Keys, Directory: a.Dir, Catalog: a.Catalog, Plans: a.Plans, Book: a.Book,
		Ledger: a.Ledger, Meter: a.Meter, Audit: a.Audit, Idem: a.Idem, Recording: a.Record, HTTP: a.Egress.HTTP(),
		Remote:  func(r *http.Request) netip.Addr { return front.ClientIP(r, trusted) },
		Doctor:  a.Doctor,
		Sealing: a.Vault.Status,
		Reseal: func(ctx context.Context) (int, error) {
			if err := a.Vault.Reload(ctx, a.Log); err != nil {
				return 0, err
			}
			return a.Vault.Reseal(ctx)
		},
		Log: a.Log, PublicURL: c.PublicURL, Version: Version})
	a.models = newModelWatch(a)
	a.Metrics.OnScrape(a.gauges)
	a.Jobs = job.New(a.DB, clock.System{}, a.Log)
	a.addJobs()
	a.Audit.Start()
	a.defers(func(context.Context) error { a.Audit.Stop(); return nil })
	a.Jobs.Start()
	a.defers(func(context.Context) error { a.Jobs.Stop(); return nil })
	return nil
}

// closingEvery is how often periods that begin or end are looked for.
const closingEvery = 5 * time.Minute

// addJobs registers what runs behind the requests.
func (a *App) addJobs() {
	a.Jobs.Add(job.Loop{Name: "vitals", Every: 5 * time.Second, Run: func(context.Context, job.Lease) (bool, error) {
		a.vitals.stalled(a.Spool.Stats())
		return false, nil
	}})
	a.Jobs.Add(job.Loop{Name: "node-beat", Every: settle.NodeBeat, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		err := a.beat(ctx, settle.NodeRunning)
		if errors.Is(err, settle.ErrReclaimed) {
			a.fail(err)
		}
		return false, err
	}})
	a.Jobs.Add(job.Loop{Name: "sealer-keys", Every: keyFileEvery, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		return false, a.Vault.Reload(ctx, a.Log)
	}})
	if !a.Config.Has("worker") {
		return
	}
	a.Jobs.Add(job.Loop{Name: "ledger-seal", Every: time.Second, Leader: true, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		n, err := a.Ledger.Seal(ctx)
		return n > 0, err
	}})
	if every := *a.Config.Upstream.WatchModels; every > 0 {
		a.Jobs.Add(job.Loop{Name: "upstream-models", Every: every, Leader: true, Run: a.models.look})
	}
	a.Jobs.Add(job.Loop{Name: "catalogue-recommend", Every: relatedEvery, Leader: true, Run: a.followCatalogue})
	a.Jobs.Add(job.Loop{Name: "assist-vectors", Every: 5 * time.Second, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		return a.engines.assist.Embed(ctx)
	}})
	a.Jobs.Add(job.Loop{Name: "assist-sessions", Every: time.Minute, Leader: true, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		return a.engines.assist.Sweep(ctx)
	}})
	a.Jobs.Add(job.Loop{Name: "recorded-content", Every: time.Minute, Leader: true, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		return a.Record.Sweep(ctx)
	}})
	closer := settle.NewCloser(a.DB, settle.CloserOptions{Platform: ledger.Platform, Terms: a.terms, Contracts: a.contracts})
	a.Jobs.Add(job.Loop{Name: "period-closing", Every: closingEvery, Leader: true, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		_, err := closer.Run(ctx)
		return false, err
	}})
	a.Jobs.Add(job.Loop{Name: "idempotency", Every: time.Hour, Leader: true, Run: func(ctx context.Context, _ job.Lease) (bool, error) {
		return false, a.DB.Update(ctx, func(tx *db.Tx) error { _, err := idem.Sweep(tx); return err })
	}})
}

// close runs the closers in reverse.
func (a *App) close(ctx context.Context) error {
	var errs []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		errs = append(errs, a.closers[i](ctx))
	}
	a.closers = nil
	return errors.Join(errs...)
}

// fail has Run end with the error: the process cannot go on and has to be started again.
func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default: // it is ending already
	}
}

// Stop ends everything: what is spooled is settled, leases are returned. Calls in flight must have ended. Twice is fine.
func (a *App) Stop(ctx context.Context) error { return a.close(ctx) }

// sandboxEngine mounts the sandbox model.
type sandboxEngine struct{ e *sandbox.Engine }

func (s sandboxEngine) Serve(ctx context.Context, operation string, body []byte, w gateway.BuiltinWriter) error {
	if operation == "embeddings" {
		return s.e.ServeEmbeddings(ctx, body, w)
	}
	return s.e.ServeChat(ctx, body, w)
}
