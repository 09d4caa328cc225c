package db

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnOrder queues writers behind a busy one and writes down who gets the turn.
func TestTurnOrder(t *testing.T) {
	for _, c := range []struct{ name, first, queue, want string }{
		{"first in, first out", "a", "aaaa", "a1 a2 a3 a4"},
		{"settlement in its order", "a", "asa", "a1 s2 a3"},
		{"settlement at most every second turn", "a", "sssaa", "s1 a4 s2 a5 s3"},
		{"settlement waits after settlement", "s", "ssa", "a3 s1 s2"},
		{"settlement alone takes every turn", "s", "sss", "s1 s2 s3"},
		{"a flood does not starve settlement", "a", "aaasaaa", "a1 a2 a3 s4 a5 a6 a7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s turnstile
				classes := map[rune]class{'a': write, 's': settle}
				if err := s.take(t.Context(), classes[rune(c.first[0])], 0); err != nil {
					t.Fatal(err)
				}
				var order []string
				for i, r := range c.queue {
					go func() {
						if err := s.take(t.Context(), classes[r], time.Hour); err != nil {
							t.Error(err)
						}
						order = append(order, string(r)+string(rune('1'+i)))
						s.give()
					}()
					synctest.Wait()
				}
				s.give()
				synctest.Wait()
				if got := strings.Join(order, " "); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
				if s.busy {
					t.Error("the turn was not given up")
				}
			})
		})
	}
}

func TestTurnWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s turnstile
		if err := s.take(t.Context(), write, 0); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := s.take(t.Context(), write, 5*time.Second); !errors.Is(err, errBusy) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.take(ctx, settle, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("settlement: %v", err)
		}
		if len(s.api)+len(s.settle) > 0 {
			t.Error("those who left are still queued")
		}
		s.give()
		if err := s.take(ctx, write, 0); !errors.Is(err, context.DeadlineExceeded) || s.busy {
			t.Errorf("an ended context took a turn: %v", err)
		}
	})
}

// TestTurnGivenToOneWhoLeaves: the turn arrives at the moment in which the waiter gives up. Whatever
// the waiter answers, the turn is not lost.
func TestTurnGivenToOneWhoLeaves(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			var s turnstile
			if err := s.take(t.Context(), write, 0); err != nil {
				t.Fatal(err)
			}
			go func() {
				if s.take(t.Context(), write, time.Second) == nil {
					s.give()
				}
			}()
			<-time.After(time.Second)
			s.give()
			synctest.Wait()
			if s.busy {
				t.Error("the turn was lost")
			}
		})
	}
}

func TestTurnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s turnstile
		if err := s.take(t.Context(), write, 0); err != nil {
			t.Fatal(err)
		}
		closed := false
		go func() { s.close(); closed = true }()
		synctest.Wait()
		errs := make(chan error, 2)
		for _, c := range []class{write, settle} {
			go func() { errs <- s.take(t.Context(), c, 0) }()
			synctest.Wait()
		}
		if closed {
			t.Error("closed under a writer")
		}
		s.give()
		synctest.Wait()
		if !closed {
			t.Error("not closed")
		}
		// The writer that came after close was asked for still had its turn or was refused; both end.
		for range 2 {
			if err := <-errs; err != nil && !errors.Is(err, errClosed) {
				t.Error(err)
			}
		}
		if err := s.take(t.Context(), write, 0); !errors.Is(err, errClosed) {
			t.Errorf("after close: %v", err)
		}
		s.close()
	})
}
