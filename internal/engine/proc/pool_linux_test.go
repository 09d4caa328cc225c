package proc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func newPool(t *testing.T, o proc.PoolOptions) *proc.Pool {
	t.Helper()
	p := proc.NewPool(o)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// server answers each line with its process id and the line; "die" ends it, "hang" stops it.
const server = `while read -r line; do case $line in die) exit 7;; hang) sleep 1000;; flood) exec yes;; esac; echo "$$ $line"; done`

func echo(ctx context.Context, p *proc.Pool, line string) (answer string, err error) {
	err = p.Do(ctx, func(c *proc.Child) (err error) {
		answer, err = say(c, line)
		return err
	})
	return answer, err
}

func say(c *proc.Child, line string) (string, error) {
	if _, err := io.WriteString(c.In, line+"\n"); err != nil {
		return "", err
	}
	answer, err := c.Out.ReadString('\n')
	return strings.TrimSpace(answer), err
}

// pid is the id of the child that answers now.
func pid(t *testing.T, p *proc.Pool) int {
	t.Helper()
	answer, err := echo(t.Context(), p, "hello")
	if err != nil {
		t.Fatal(err)
	}
	id, line, _ := strings.Cut(answer, " ")
	if line != "hello" {
		t.Fatalf("%q", answer)
	}
	return atoi(t, id)
}

func TestPoolKeepsWarm(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh(server)})
	first := pid(t, p)
	for range 5 {
		if now := pid(t, p); now != first {
			t.Fatalf("another child: %d, %d", first, now)
		}
	}
}

// TestPoolReplaces: what leaves a child in a state that nobody knows ends it, and the next use has another.
func TestPoolReplaces(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	own := problem.New(problem.TooLarge, "x.y", "too large")
	for name, c := range map[string]struct {
		use  func(*proc.Child) error
		kind problem.Kind // Internal: no error
		want error        // in the chain
	}{
		"error":         {func(*proc.Child) error { return mine }, problem.Unavailable, mine},
		"own problem":   {func(*proc.Child) error { return own }, problem.TooLarge, own},
		"child dies":    {func(c *proc.Child) error { _, err := say(c, "die"); return err }, problem.Unavailable, io.EOF},
		"killed":        {func(c *proc.Child) error { c.Kill(); _, err := say(c, "x"); return err }, problem.Unavailable, nil},
		"hangs":         {func(c *proc.Child) error { _, err := say(c, "hang"); return err }, problem.Timeout, nil},
		"floods":        {func(c *proc.Child) error { _, err := say(c, "flood"); return all(c, err) }, problem.Unavailable, proc.ErrOutput},
		"output unread": {func(c *proc.Child) error { _, err := say(c, "one\ntwo\nthree"); return waitFor(c, err) }, problem.Internal, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, proc.PoolOptions{Spec: sh(server), Time: 2 * time.Second, Output: 1 << 20})
			before := pid(t, p)
			err := p.Do(t.Context(), c.use)
			switch {
			case c.kind == problem.Internal && err != nil:
				t.Error(err)
			case c.kind != problem.Internal && !problem.Is(err, c.kind), c.want != nil && !errors.Is(err, c.want):
				t.Errorf("%v", err)
			}
			awaitGone(t, before)
			if after := pid(t, p); after == before {
				t.Error("the same child")
			}
			if left := zombies(t); contains(left, before) {
				t.Errorf("zombie %d", before)
			}
		})
	}
}

func contains(all []int, one int) bool {
	for _, n := range all {
		if n == one {
			return true
		}
	}
	return false
}

// all reads on until there is an error.
func all(c *proc.Child, err error) error {
	if err == nil {
		_, err = io.Copy(io.Discard, c.Out)
	}
	return err
}

// waitFor waits until more output is there.
func waitFor(c *proc.Child, err error) error {
	if err == nil {
		_, err = c.Out.Peek(1)
	}
	return err
}

func TestPoolPanic(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh(server)})
	before := pid(t, p)
	func() {
		defer func() { _ = recover() }()
		_ = p.Do(t.Context(), func(*proc.Child) error { panic("a fault of ours") })
		t.Error("the panic was swallowed")
	}()
	awaitGone(t, before)
	pid(t, p)
}

// TestPoolKilledOutside: kill -9 while a child is idle, and while it is used.
func TestPoolKilledOutside(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh(server)})
	for range 3 {
		before := pid(t, p)
		if err := unix.Kill(before, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, before)
		// The pool may not have noticed yet: then this use fails, and the next one does not.
		if _, err := echo(t.Context(), p, "x"); err != nil && !problem.Is(err, problem.Unavailable) {
			t.Error(err)
		}
		if after := pid(t, p); after == before {
			t.Error("the same child")
		}
	}
	before := pid(t, p)
	time.AfterFunc(50*time.Millisecond, func() { _ = unix.Kill(before, unix.SIGKILL) })
	if _, err := echo(t.Context(), p, "hang"); !problem.Is(err, problem.Unavailable) {
		t.Errorf("killed in use: %v", err)
	}
	pid(t, p)
}

func TestPoolIdle(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh(server), Idle: 100 * time.Millisecond})
	before := pid(t, p)
	awaitGone(t, before)
	if pid(t, p) == before {
		t.Error("the same child")
	}
}

// TestPoolBounds: no more children than Max, no more callers than wait in the queue.
func TestPoolBounds(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh(server), Max: 2, Queue: 3})
	hold, inside := make(chan struct{}), make(chan struct{}, 10)
	var running, most, busy atomic.Int32
	var uses sync.WaitGroup
	use := func() {
		defer uses.Done()
		err := p.Do(t.Context(), func(c *proc.Child) error {
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			inside <- struct{}{}
			<-hold
			_, err := say(c, "x")
			return err
		})
		if err == nil {
			return
		}
		if e := problem.As(err); e.ID != "proc.busy" || e.RetryAfter <= 0 {
			t.Error(err)
		}
		busy.Add(1)
	}
	for range 2 {
		uses.Add(1)
		go use()
		<-inside
	}
	// Of eight more, three wait and five are refused.
	refused := make(chan struct{}, 8)
	for range 8 {
		uses.Add(1)
		go func() { use(); refused <- struct{}{} }()
	}
	for range 5 {
		<-refused
	}
	close(hold)
	uses.Wait()
	if most.Load() != 2 || busy.Load() != 5 {
		t.Errorf("%d at a time, %d refused; want 2 and 5", most.Load(), busy.Load())
	}
}

func TestPoolWaitsNoLongerThanItsCaller(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh(server)})
	err := p.Do(t.Context(), func(*proc.Child) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := echo(ctx, p, "x"); !problem.Is(err, problem.Timeout) {
			return fmt.Errorf("the second: %w", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestPoolTime: a use has its whole time, however long it has waited, and nobody waits longer than that.
func TestPoolTime(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	p := newPool(t, proc.PoolOptions{Spec: sh(server), Time: limit})
	before := pid(t, p)
	long := func(c *proc.Child) error {
		<-time.After(limit * 6 / 10)
		_, err := say(c, "x")
		return err
	}
	inside := make(chan struct{})
	var uses sync.WaitGroup
	uses.Go(func() {
		if err := p.Do(t.Context(), func(c *proc.Child) error { close(inside); return long(c) }); err != nil {
			t.Errorf("the first: %v", err)
		}
	})
	<-inside
	if err := p.Do(t.Context(), long); err != nil {
		t.Errorf("one that has waited: %v", err)
	}
	uses.Wait()
	if pid(t, p) != before {
		t.Error("another child")
	}
	var waited error
	_ = p.Do(t.Context(), func(*proc.Child) error { // it may have had its own time by then
		_, waited = echo(t.Context(), p, "x")
		return nil
	})
	if problem.As(waited).ID != "proc.busy" {
		t.Errorf("one that has waited for too long: %v", waited)
	}
}

// TestPoolBackoff: a program that dies at once is started ever more rarely, and one that works again as before.
func TestPoolBackoff(t *testing.T) {
	t.Parallel()
	works := t.TempDir() + "/works"
	p := newPool(t, proc.PoolOptions{Spec: sh("[ -e " + works + " ] || { echo no luck >&2; exit 7; }; " + server)})
	begin := time.Now()
	var rests *problem.Error
	tries := 0
	for ; tries < 20; tries++ {
		_, err := echo(t.Context(), p, "x")
		if rests = problem.As(err); !problem.Is(err, problem.Unavailable) {
			t.Fatal(err)
		}
		if strings.Contains(rests.Error(), "rests") {
			break
		}
		if !strings.Contains(rests.Error(), "exit status 7") || !strings.Contains(rests.Error(), "no luck") {
			t.Fatal(rests)
		}
	}
	took := time.Since(begin)
	if tries != 6 || took < 1500*time.Millisecond || rests.RetryAfter < time.Second || rests.RetryAfter > 5*time.Second {
		t.Errorf("%d starts in %v, then told to come again after %v", tries, took, rests.RetryAfter)
	}
	if _, err := proc.Run(t.Context(), proc.Spec{Path: "touch", Args: []string{works}}, nil, 0); err != nil {
		t.Fatal(err)
	}
	<-time.After(rests.RetryAfter)
	pid(t, p)
	pid(t, p)
}

func TestPoolNoProgram(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: proc.Spec{Path: "/does/not/exist"}})
	if _, err := echo(t.Context(), p, "x"); !problem.Is(err, problem.Unavailable) {
		t.Error(err)
	}
}

// TestPoolClose ends what is idle and what is in use.
func TestPoolClose(t *testing.T) {
	t.Parallel()
	p := proc.NewPool(proc.PoolOptions{Spec: sh(server), Max: 2})
	idle := pid(t, p)
	inside := make(chan int, 1)
	result := make(chan error, 1)
	go func() {
		result <- p.Do(t.Context(), func(c *proc.Child) error {
			other := make(chan error, 1)
			go func() { // the second child, so that the first is idle again
				other <- p.Do(t.Context(), func(*proc.Child) error { return nil })
			}()
			if err := <-other; err != nil {
				return err
			}
			inside <- 1
			_, err := say(c, "hang")
			return err
		})
	}()
	<-inside
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !problem.Is(err, problem.Unavailable) {
		t.Errorf("in use: %v", err)
	}
	awaitGone(t, idle)
	if _, err := echo(t.Context(), p, "x"); !problem.Is(err, problem.Unavailable) {
		t.Errorf("after it: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("again: %v", err)
	}
}

// TestPoolStorm uses a pool from many sides while its children are killed: nothing hangs, no child is left.
func TestPoolStorm(t *testing.T) {
	t.Parallel()
	p := proc.NewPool(proc.PoolOptions{Spec: sh(server), Max: 3, Queue: 100, Time: 5 * time.Second})
	var uses sync.WaitGroup
	var good atomic.Int32
	var mu sync.Mutex
	seen := map[int]bool{}
	for i := range 10 {
		uses.Go(func() {
			for j := range 20 {
				answer, err := echo(t.Context(), p, "x")
				if err != nil {
					if !problem.Is(err, problem.Unavailable) {
						t.Error(err)
					}
					continue
				}
				good.Add(1)
				id, _, _ := strings.Cut(answer, " ")
				mu.Lock()
				seen[atoi(t, id)] = true
				mu.Unlock()
				if (i+j)%7 == 0 {
					_ = unix.Kill(atoi(t, id), unix.SIGKILL)
				}
			}
		})
	}
	uses.Wait()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if good.Load() < 100 {
		t.Errorf("only %d of 200 uses went well", good.Load())
	}
	for id := range seen {
		if err := unix.Kill(id, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("process %d is still there: %v", id, err)
		}
	}
}
