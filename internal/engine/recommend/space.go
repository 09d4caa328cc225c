package recommend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

type spaceKey struct{ owner, name string }

// space is a loaded data set. Queries hold mu for reading; what is read from the database is applied by one at a
// time, with mu for writing.
type space struct {
	key  spaceKey
	id   int64
	used atomic.Int64 // when last asked, Unix seconds

	ready chan struct{} // closed when loading has ended
	err   error         // why it failed

	sync   sync.Mutex // who reads changes
	polled time.Time  // when changes were last read; guarded by sync
	gone   atomic.Bool

	mu    sync.RWMutex
	m     *model
	tests []experiment // the running ones

	failed  atomic.Bool  // the last training did
	fitting atomic.Bool  // waits for training, or is in it
	rest    atomic.Int64 // no training before; Unix nanoseconds
}

// loadTime bounds the loading of a space.
const loadTime = 2 * time.Minute

// open gives the space, loaded. Who comes while it is loading waits; loading goes on when he leaves.
func (e *Engine) open(ctx context.Context, owner, name string) (*space, error) {
	key := spaceKey{owner, name}
	e.mu.Lock()
	if err := e.start(); err != nil {
		e.mu.Unlock()
		return nil, err
	}
	s := e.spaces[key]
	if s == nil {
		s = &space{key: key, ready: make(chan struct{})}
		e.spaces[key] = s
		e.wg.Go(func() {
			defer close(s.ready)
			if err := engine.Guard(e.log, "recommend: loading", func() error { return e.loadSpace(s) }); err != nil {
				s.err = err
				e.forget(s)
			}
		})
	}
	s.used.Store(e.clock.Now().Unix()) // before anybody sheds what is not used
	e.mu.Unlock()
	select {
	case <-s.ready:
		return s, s.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// loaded is the space if it is in memory, or nil. If it is being loaded, loaded waits.
func (e *Engine) loaded(ctx context.Context, owner, name string) *space {
	e.mu.Lock()
	s := e.spaces[spaceKey{owner, name}]
	e.mu.Unlock()
	if s == nil {
		return nil
	}
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil
	}
	if s.err != nil {
		return nil
	}
	return s
}

// drop forgets a space's model.
func (e *Engine) drop(owner, name string) {
	e.mu.Lock()
	s := e.spaces[spaceKey{owner, name}]
	delete(e.spaces, spaceKey{owner, name})
	e.mu.Unlock()
	if s != nil {
		s.gone.Store(true)
	}
}

// forget drops s, unless another has taken its place.
func (e *Engine) forget(s *space) {
	s.gone.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.spaces[s.key] == s {
		delete(e.spaces, s.key)
	}
}

// loadSpace reads a space's model; nobody else has s before it is ready.
func (e *Engine) loadSpace(s *space) error {
	ctx, cancel := context.WithTimeout(e.ctx, loadTime)
	defer cancel()
	// Whether there is such a space is found out before waiting for another's loading.
	err := e.db.View(ctx, func(tx *db.Tx) error { _, err := readSpace(tx, s.key.owner, s.key.name, ""); return err })
	if err != nil {
		return err
	}
	select {
	case e.load <- struct{}{}:
		defer func() { <-e.load }()
	case <-ctx.Done():
		return busy()
	}
	var m *model
	var tests []experiment
	now := e.now()
	err = e.db.View(ctx, func(tx *db.Tx) error {
		r, err := readSpace(tx, s.key.owner, s.key.name, "")
		if err != nil {
			return err
		}
		c, err := storedConfig(r.config)
		if err != nil {
			return err
		}
		s.id = r.id
		m = newModel(c, now)
		if tests, err = readExperiments(tx, r.id, true); err != nil {
			return err
		}
		return readChanges(tx, r, m, -1)
	})
	if err != nil {
		return err
	}
	m.setNorms()
	s.m, s.tests, s.polled = m, tests, e.clock.Now()
	e.wantFit(s)
	e.shed(s)
	return nil
}

func busy() error {
	return problem.New(problem.Unavailable, "recommend.loading", "the data set is being loaded; try again shortly").After(2 * time.Second)
}

// storedConfig reads a configuration that was checked when it was stored.
func storedConfig(config string) (*Config, error) {
	var c Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return nil, fmt.Errorf("recommend: stored configuration: %w", err)
	}
	c.complete()
	return &c, nil
}

func (e *Engine) now() uint32 { return uint32(e.clock.Now().Unix()) }

// refreshTime bounds bringing a model up to date after a write.
const refreshTime = 10 * time.Second

// refresh brings the model of a space, if it is loaded, up to what has just been written. It does so although the
// caller may have left; if it fails, the poller will do it.
func (e *Engine) refresh(ctx context.Context, owner, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTime)
	defer cancel()
	s := e.loaded(ctx, owner, name)
	if s == nil {
		return
	}
	if err := e.catchUp(ctx, s); err != nil {
		e.log.Warn("recommend: reading changes", "error", err)
	}
}

// catchUp reads and applies what has changed since the model's sequence: this node's writes and others' alike. A model
// that cannot follow is dropped, to be loaded anew.
func (e *Engine) catchUp(ctx context.Context, s *space) error {
	s.sync.Lock()
	defer s.sync.Unlock()
	if s.gone.Load() {
		return nil
	}
	if e.clock.Now().Sub(s.polled) > goneAfter/2 { // word of deleted users may be lost
		e.forget(s)
		return nil
	}
	var d *delta
	err := e.db.View(ctx, func(tx *db.Tx) error {
		d = nil
		r, err := readSpace(tx, s.key.owner, s.key.name, "")
		if err != nil {
			return err
		}
		if r.id != s.id {
			return noSpace(s.key.name)
		}
		if r.seq == s.m.seq { // only who holds s.sync changes it
			return nil
		}
		d, err = readDelta(tx, r, s.m.seq)
		return err
	})
	if isMissing(err) {
		e.forget(s)
		return nil
	}
	if err != nil {
		return err
	}
	s.polled = e.clock.Now()
	if d == nil {
		return nil
	}
	if !sameShape(d.cfg, s.m.cfg) { // what was counted under the old configuration does not serve
		e.forget(s)
		return nil
	}
	if err := engine.Guard(e.log, "recommend: applying changes", func() error { return s.apply(d, e.now()) }); err != nil {
		e.forget(s) // half of them may be in it
		return err
	}
	e.wantFit(s)
	return nil
}

// apply takes changes into the model.
func (s *space) apply(d *delta, now uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m.cfg, s.tests = d.cfg, d.tests
	s.m.renew(now)
	d.apply(s.m)
	return nil
}

// sameShape says that two configurations count alike: the model serves both.
func sameShape(a, b *Config) bool {
	return a.InterestDays == b.InterestDays && a.PopularDays == b.PopularDays && a.TrendHours == b.TrendHours &&
		a.Similarity == b.Similarity && text(a.SegmentBy) == text(b.SegmentBy) && a.kindWeights == b.kindWeights
}

// poller looks for other nodes' changes, writes exposures, and drops what is not used.
func (e *Engine) poller() {
	t := time.NewTicker(e.every)
	defer t.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-t.C:
			if err := engine.Guard(e.log, "recommend: reading changes", func() error { return e.poll(e.ctx) }); err != nil && e.ctx.Err() == nil {
				e.log.Warn("recommend: reading changes", "error", err)
			}
		}
	}
}

// poll is one round of the poller.
func (e *Engine) poll(ctx context.Context) error {
	all := e.all()
	ids := make([]int64, 0, len(all))
	for _, s := range all {
		ids = append(ids, s.id)
	}
	errs := []error{e.flush(ctx)}
	if len(ids) > 0 {
		seqs, err := e.sequences(ctx, ids)
		errs = append(errs, err)
		for _, s := range all {
			if seq, ok := seqs[s.id]; err == nil && (!ok || seq != s.sequence()) {
				errs = append(errs, e.catchUp(ctx, s))
			} else if err == nil {
				s.sync.Lock()
				s.polled = e.clock.Now()
				s.sync.Unlock()
				e.wantFit(s)
			}
		}
	}
	e.shed(nil)
	return errors.Join(errs...)
}

func (s *space) sequence() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m.seq
}

// all lists the loaded spaces.
func (e *Engine) all() []*space {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*space
	for _, s := range e.spaces {
		select {
		case <-s.ready:
			if s.err == nil {
				out = append(out, s)
			}
		default:
		}
	}
	return out
}

func (e *Engine) sequences(ctx context.Context, ids []int64) (map[int64]int64, error) {
	out := make(map[int64]int64, len(ids))
	err := e.db.View(ctx, func(tx *db.Tx) error {
		clear(out)
		rows, err := tx.Query(`SELECT id, seq FROM recommend_space WHERE id`+tx.Dialect().In("$1"), ids)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id, seq int64
			if err := rows.Scan(&id, &seq); err != nil {
				return err
			}
			out[id] = seq
		}
		return rows.Err()
	})
	return out, err
}

// shed drops models that have not been used for long, and the least recently used ones while all take too much memory.
// keep, which has just been loaded and nobody has yet, stays.
func (e *Engine) shed(keep *space) {
	now := e.clock.Now()
	all := e.all()
	total, least := int64(0), 1 // the last one stays
	if keep != nil {
		keep.mu.RLock() // it may be in training already
		total, least = keep.m.size(), 0
		keep.mu.RUnlock()
	}
	size := make(map[*space]int64, len(all))
	for _, s := range all {
		if s == keep {
			continue
		}
		if now.Sub(time.Unix(s.used.Load(), 0)) > e.idle {
			e.forget(s)
			continue
		}
		s.mu.RLock()
		size[s] = s.m.size()
		s.mu.RUnlock()
		total += size[s]
	}
	for total > e.memory && len(size) > least {
		var oldest *space
		for s := range size {
			if oldest == nil || s.used.Load() < oldest.used.Load() {
				oldest = s
			}
		}
		total -= size[oldest]
		delete(size, oldest)
		e.forget(oldest)
	}
}
