package recommend

import (
	"time"
)

// A model is trained anew when a twentieth of its events, and at least so many, are new.
const (
	fitLeast = 50
	fitPart  = 20
	// restTimes as long as a training took, none of the same space follows.
	restTimes = 5
)

// wantFit puts a space in line for training if enough has changed. The model must not be locked.
func (e *Engine) wantFit(s *space) {
	s.mu.RLock()
	due := s.m.gone != s.m.fittedGone || s.m.events-s.m.fitted >= max(fitLeast, s.m.fitted/fitPart)
	s.mu.RUnlock()
	if !due || time.Now().UnixNano() < s.rest.Load() || !s.fitting.CompareAndSwap(false, true) {
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
				e.fit(s)
			}
			s.fitting.Store(false)
			e.wantFit(s)
		}
	}
}

// fit trains a space: the vectors of the items, what groups of users like, and the lengths of the content's vectors.
func (e *Engine) fit(s *space) {
	began := time.Now()
	now := e.now()
	s.mu.RLock()
	events, items := s.m.events, len(s.m.items)
	matrix := s.m.matrix(now)
	before := s.m.fit
	gone := s.m.gone
	if gone != s.m.fittedGone {
		before = nil // what was learnt from who has gone must not live on
	}
	segments := s.m.segmentTops(now)
	pairs, keep, seq := s.m.pairs, s.m.cfg.KeepEvents, s.m.seq
	s.mu.RUnlock()
	var f *factors
	if pairs >= leastFit {
		var err error
		if f, err = train(e.ctx, matrix, items, before, e.procs, 1); err != nil {
			return // shutting down
		}
	}
	s.mu.Lock()
	if s.m.gone == gone {
		s.m.segTop = segments
	}
	s.m.fit, s.m.fitted, s.m.fittedGone = f, events, gone
	s.m.setNorms()
	s.mu.Unlock()
	s.rest.Store(time.Now().Add(restTimes * time.Since(began)).UnixNano())
	e.log.Debug("recommend: trained", "space", s.key.name, "pairs", pairs, "items", items, "took", time.Since(began))
	if err := e.prune(e.ctx, s.id, seq, keep); err != nil && e.ctx.Err() == nil {
		e.log.Warn("recommend: removing old events", "error", err)
	}
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
