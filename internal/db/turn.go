package db

import (
	"context"
	"sync"
	"time"
)

// turnstile lets one writer through at a time, first come, first served, except that settlement
// takes at most every second turn while another writer waits.
type turnstile struct {
	mu      sync.Mutex
	busy    bool
	settled bool // the last turn was settlement's
	seq     uint64
	api     []*waiter
	settle  []*waiter
	closed  bool
}

type waiter struct {
	seq   uint64
	ready chan struct{} // closed when the turn is the waiter's, or there will be none
	err   error
}

// take waits for a turn, for at most limit unless that is zero. It returns errBusy or the context's
// error if there was none.
func (s *turnstile) take(ctx context.Context, c class, limit time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed
	}
	if !s.busy {
		s.busy, s.settled = true, c == settle
		s.mu.Unlock()
		return nil
	}
	s.seq++
	w := &waiter{seq: s.seq, ready: make(chan struct{})}
	if c == settle {
		s.settle = append(s.settle, w)
	} else {
		s.api = append(s.api, w)
	}
	s.mu.Unlock()

	var late <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
		s.leave(w)
		return ctx.Err()
	case <-late:
		s.leave(w)
		return errBusy
	}
}

// leave takes w out of the queue, or passes on the turn that it has just been given.
func (s *turnstile) leave(w *waiter) {
	s.mu.Lock()
	waiting := remove(&s.api, w) || remove(&s.settle, w) || s.closed
	s.mu.Unlock()
	if !waiting {
		s.give()
	}
}

// give ends the turn and lets the next waiter in.
func (s *turnstile) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := &s.api
	if len(s.api) == 0 || len(s.settle) > 0 && !s.settled && s.settle[0].seq < s.api[0].seq {
		q = &s.settle
	}
	if len(*q) == 0 {
		s.busy = false
		return
	}
	w := (*q)[0]
	*q = (*q)[1:]
	s.settled = q == &s.settle
	close(w.ready)
}

// close waits for its turn and never gives it up: whoever waits, or comes later, gets errClosed.
func (s *turnstile) close() {
	if s.take(context.Background(), settle, 0) != nil {
		return // closed before
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, w := range append(s.api, s.settle...) {
		w.err = errClosed
		close(w.ready)
	}
	s.api, s.settle = nil, nil
}

func remove(q *[]*waiter, w *waiter) bool {
	for i, x := range *q {
		if x == w {
			*q = append((*q)[:i], (*q)[i+1:]...)
			return true
		}
	}
	return false
}
