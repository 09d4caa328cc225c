package recommend

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// A model is trained anew when a twentieth of its events, and at least so many, are new.
const (
	fitLeast = 50
	fitPart  = 20
	// restTimes as long as a training took, none of the same space follows.
	restTimes = 5
	// retryFit is how long a training that failed is not tried again.
	retryFit = 5 * time.Minute
)

// wantFit puts a space in line for training if enough has changed, or the last training failed. The poller asks for every loaded
// space, so what failed is tried again when its rest is over, events or none; what was dropped is trained no more. The model must not be
// locked.
func (e *Engine) wantFit(s *space) {
	s.mu.RLock()
	due := s.failed.Load() || s.m.gone != s.m.fittedGone || s.m.events-s.m.fitted >= max(fitLeast, s.m.fitted/fitPart)
	s.mu.RUnlock()
	if !due || s.gone.Load() || time.Now().UnixNano() < s.rest.Load() || !s.fitting.CompareAndSwap(false, true) {
		return
	}
	select {
	case e.fits <- s:
	default: // a later change asks again
		s.fitting.Store(false)
	}
}

// fitter trains one space at a time.
func (e *Engine) fitter() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case s := <-e.fits:
			if !s.gone.Load() {
				e.tryFit(s)
			}
			s.fitting.Store(false)
			e.wantFit(s)
		}
	}
}

// tryFit trains a space. What was learnt before serves on where that fails; it is tried again after [retryFit], and the space tells so.
func (e *Engine) tryFit(s *space) {
	err := engine.Guard(e.log, "recommend: training", func() error { return e.fit(s) })
	s.failed.Store(err != nil && e.ctx.Err() == nil)
	if err != nil {
		s.rest.Store(time.Now().Add(retryFit).UnixNano())
		if e.ctx.Err() == nil {
			e.log.Warn("recommend: training failed", "space", s.key.name, "error", err)
		}
	}
}

// fit trains a space: the vectors of the items, what groups of users like, and the lengths of the content's vectors.
func (e *Engine) fit(s *space) error {
	began := time.Now()
	now := e.now()
	c := s.snapshot()
	before := c.fit
	if c.gone != c.fittedGone {
		before = nil // what was learnt from who has gone must not live on
	}
	var f *factors
	if c.pairs >= leastFit {
		var err error
		if f, err = train(e.ctx, c.matrix(now), len(c.items), before, e.procs, 1); err != nil {
			return err
		}
	}
	segments, norms := c.segmentTops(now), c.norms()
	s.learnt(c, f, segments, norms)
	s.rest.Store(time.Now().Add(restTimes * time.Since(began)).UnixNano())
	e.log.Debug("recommend: trained", "space", s.key.name, "pairs", c.pairs, "items", len(c.items), "took", time.Since(began))
	if err := e.prune(e.ctx, s.id, c.seq, c.cfg.KeepEvents); err != nil && e.ctx.Err() == nil {
		e.log.Warn("recommend: removing old events", "error", err)
	}
	return nil
}

// learnt takes what was learnt from the copy c into the model.
func (s *space) learnt(c *model, f *factors, segments [][]scored, norms []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m.gone == c.gone { // else someone has gone meanwhile: it is trained again
		s.m.segTop = segments
	}
	s.m.fit, s.m.fitted, s.m.fittedGone = f, c.events, c.gone
	for n := range norms {
		if it := &s.m.items[n]; len(it.terms) == len(c.items[n].terms) {
			it.norm = norms[n]
		}
	}
}

// copied is how many users or items are copied before others may have their turn.
const copied = 4096

// snapshot copies what training and evaluation read: items without their users, users with their pairs. It does so in
// pieces, so that nobody waits long; what changes in between is in the copy or is not.
func (s *space) snapshot() *model {
	s.mu.RLock()
	m := s.m
	c := newModel(m.cfg, m.landmark)
	c.seq, c.pairs, c.events, c.listed, c.firstSeen = m.seq, m.pairs, m.events, m.listed, m.firstSeen
	c.fit, c.fitted, c.gone, c.fittedGone = m.fit, m.fitted, m.gone, m.fittedGone
	c.segments, c.newness = maps.Clone(m.segments), slices.Clone(m.newness)
	items, users := len(m.items), len(m.users)
	s.mu.RUnlock()
	c.items, c.users = make([]item, items), make([]user, users)
	for from := 0; from < items; from += copied {
		s.mu.RLock()
		for n := from; n < min(from+copied, items); n++ {
			c.items[n] = m.items[n]
			c.items[n].users = nil
		}
		s.mu.RUnlock()
	}
	for from := 0; from < users; from += copied {
		s.mu.RLock()
		for n := from; n < min(from+copied, users); n++ {
			u := &m.users[n]
			c.users[n] = user{id: u.id, pairs: slices.Clone(u.pairs), segs: u.segs}
		}
		s.mu.RUnlock()
	}
	// Pairs of items that came in between would have none to belong to.
	for n := range c.users {
		c.users[n].pairs = slices.DeleteFunc(c.users[n].pairs, func(p pair) bool { return int(p.item) >= items })
	}
	return c
}

// norms computes the lengths of the vectors of a copy, which has no postings.
func (m *model) norms() []float32 {
	df := map[uint32]int{}
	for i := range m.items {
		for _, t := range m.items[i].terms {
			df[t.hash]++
		}
	}
	out := make([]float32, len(m.items))
	for i := range m.items {
		sum := float32(0)
		for _, t := range m.items[i].terms {
			w := t.tf * idf(len(m.items), df[t.hash])
			sum += w * w
		}
		out[i] = float32(math.Sqrt(float64(sum)))
	}
	return out
}

// segmentKeep is how many items of a group of users are kept.
const segmentKeep = 200

// segmentTops counts what the users of each group like.
func (m *model) segmentTops(now uint32) [][]scored {
	if len(m.segments) == 0 {
		return nil
	}
	sums := make([]map[int32]float32, len(m.segments))
	for i := range m.users {
		u := &m.users[i]
		for _, g := range u.segs {
			if sums[g] == nil {
				sums[g] = map[int32]float32{}
			}
			for k := range u.pairs {
				if p := &u.pairs[k]; !p.disliked() && p.w > 0 {
					sums[g][p.item] += min(p.w, fullWeight) * m.decay(p.at, now)
				}
			}
		}
	}
	out := make([][]scored, len(sums))
	for g, sum := range sums {
		list := make([]scored, 0, len(sum))
		for n, w := range sum {
			list = append(list, scored{n, w})
		}
		out[g] = top(list, segmentKeep)
	}
	return out
}
