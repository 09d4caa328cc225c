package server

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/job"
	"github.com/tollgate-io/tollgate/internal/plan"
)

// modelWatch looks at the upstreams' model lists and tells of changes; above all of a model that is
// gone though a product on sale is answered by it.
type modelWatch struct {
	book    *plan.Book
	catalog *catalog.Store
	http    *http.Client
	log     *slog.Logger
	missing atomic.Int64 // live targets whose model is gone

	mu     sync.Mutex
	failed map[string]bool // guarded by mu: upstreams whose list could not be read the last time, by id
}

const (
	modelsAtOnce = 8
	modelsWait   = 20 * time.Second // for one upstream's list
)

func newModelWatch(a *App) *modelWatch {
	w := &modelWatch{book: a.Book, catalog: a.Catalog, http: a.Egress.HTTP(), log: a.Log, failed: map[string]bool{}}
	a.Metrics.GaugeFunc("tollgate_targets_without_model", "Live targets whose upstream no longer lists the model that they call; known to the leading node.",
		func() float64 {
			if _, leads := a.Jobs.Leader(); !leads {
				return 0
			}
			return float64(w.missing.Load())
		})
	return w
}

// look asks each active upstream once.
func (w *modelWatch) look(ctx context.Context, _ job.Lease) (more bool, err error) {
	places := make(chan struct{}, modelsAtOnce)
	var wg sync.WaitGroup
	for _, u := range w.book.Snapshot().Catalog.Upstreams() {
		if u.State != catalog.Active || u.Dialect != catalog.OpenAI {
			continue
		}
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			w.ask(ctx, u)
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	missing, err := w.catalog.MissingModels(ctx)
	if err == nil {
		w.missing.Store(int64(len(missing)))
	}
	return false, err
}

func (w *modelWatch) ask(ctx context.Context, u *catalog.Upstream) {
	asking, cancel := context.WithTimeout(ctx, modelsWait)
	defer cancel()
	added, gone, err := w.catalog.RefreshModels(asking, w.http, u)
	w.mu.Lock()
	before := w.failed[u.ID]
	w.failed[u.ID] = err != nil
	w.mu.Unlock()
	if err != nil {
		if !before && ctx.Err() == nil {
			w.log.Info("an upstream's model list cannot be read; calls are not concerned", "upstream", u.Name, "error", err)
		}
		return
	}
	if len(added)+len(gone) == 0 {
		return
	}
	w.log.Info("an upstream's model list has changed", "upstream", u.Name, "added", added, "gone", gone)
	for _, m := range w.used(u.ID, gone) {
		w.log.Warn("a model on sale is gone from its upstream's list; change the target or suspend the product", "upstream", u.Name, "model", m.model, "product", m.product)
	}
}

type usedModel struct{ product, model string }

// used returns which of the upstream's models products on sale are answered by.
func (w *modelWatch) used(upstream string, models []string) (list []usedModel) {
	for _, p := range w.book.Snapshot().Catalog.Products() {
		if p.State != catalog.Published {
			continue
		}
		for _, v := range p.Live {
			for _, t := range v.Targets {
				if t.UpstreamID == upstream && slices.Contains(models, t.UpstreamModel) {
					list = append(list, usedModel{p.Name, t.UpstreamModel})
				}
			}
		}
	}
	return list
}
