package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	defaultQueue = 64
	defaultIdle  = 5 * time.Minute
	// A pool whose children die one after the other, with no use between that went well, starts the second at
	// once and each further one after twice the time.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// lastWords is how long a child that has closed its pipes may take to end.
	lastWords = 100 * time.Millisecond
)

// PoolOptions are the bounds of a Pool.
type PoolOptions struct {
	Spec   Spec
	Max    int           // processes; default 1
	Queue  int           // calls that may wait for one; default 64, negative for none
	Time   time.Duration // of one use, and of the wait for a process before it; default 30 s
	Idle   time.Duration // a child that is not used for so long is ended; default 5 min
	Output int64         // bytes that one use may read; default 64 MiB
	Log    *slog.Logger  // of children that die; may be nil
}

// Pool keeps up to Max children of one program, started when they are needed. It is safe for concurrent use.
type Pool struct {
	o    PoolOptions
	slot chan struct{} // one for each use that runs
	all  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	waiting  int
	children map[*Child]bool
	idle     []*Child // the last one was used last
	deaths   int      // since a use went well
	notUntil time.Time
}

// Child is a running program, in the hands of one use. What the use writes to In is the child's standard input,
// unbuffered; Out is its standard output.
type Child struct {
	In  io.Writer
	Out *bufio.Reader

	p     *process
	meter *meter
	files []*os.File
	timer *time.Timer // ends it when idle
}

// NewPool makes a pool. It starts nothing.
func NewPool(o PoolOptions) *Pool {
	o.Max = max(o.Max, 1)
	switch {
	case o.Queue == 0:
		o.Queue = defaultQueue
	case o.Queue < 0:
		o.Queue = 0
	}
	if o.Time <= 0 {
		o.Time = defaultTime
	}
	if o.Idle <= 0 {
		o.Idle = defaultIdle
	}
	if o.Output <= 0 {
		o.Output = defaultOutput
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Pool{o: o, slot: make(chan struct{}, o.Max), children: map[*Child]bool{}}
}

// Do gives use a warm child for its own until it returns. An error of use, the end of ctx or of the time of one
// use, or output that is left unread ends the child, since nobody knows in which state it is; a use that has a
// mere refusal to tell should keep it in a variable and return nil. The error is use's own if it is a
// *problem.Error, else one of this package's with it as the cause. A use that blocks elsewhere than on the
// child must watch its ctx itself.
func (p *Pool) Do(ctx context.Context, use func(c *Child) error) error {
	if err := p.enter(ctx); err != nil {
		return err
	}
	defer func() { <-p.slot }()
	// From here on: a use that has waited long would else be given a child only to have it killed.
	ctx, cancel := context.WithTimeout(ctx, p.o.Time)
	defer cancel()
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned { // use panics
			p.drop(c, errors.New("its use panicked"))
		}
	}()
	stop := context.AfterFunc(ctx, c.end)
	err = use(c)
	returned = true
	killed := !stop()
	switch {
	case err == nil && !killed && c.Out.Buffered() == 0:
		p.give(c)
		return nil
	case err == nil:
		p.well()
		p.drop(c, nil)
		return nil
	case killed:
		p.drop(c, nil)
		return ended(ctx, err)
	}
	return p.drop(c, err)
}

// enter waits for a slot.
func (p *Pool) enter(ctx context.Context) error {
	select {
	case p.slot <- struct{}{}:
		return nil
	default:
	}
	p.mu.Lock()
	if p.waiting >= p.o.Queue {
		p.mu.Unlock()
		return busy()
	}
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
	}()
	patience := time.NewTimer(p.o.Time)
	defer patience.Stop()
	select {
	case p.slot <- struct{}{}:
		return nil
	case <-patience.C:
		return busy()
	case <-ctx.Done():
		return ended(ctx, errors.New("while waiting for a process"))
	}
}

func busy() error {
	return problem.New(problem.Unavailable, "proc.busy", "the engine has too much to do; try again later").After(2 * time.Second)
}

// take gives a child that is alive.
func (p *Pool) take(ctx context.Context) (*Child, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, failed(errors.New("the pool is closed"))
		}
		if n := len(p.idle); n > 0 {
			c := p.idle[n-1]
			p.idle = p.idle[:n-1]
			c.timer.Stop()
			p.mu.Unlock()
			if c.alive() {
				c.meter.left = p.o.Output
				return c, nil
			}
			_ = p.drop(c, errors.New("it ended while nobody used it")) // logged there
			continue
		}
		pause := time.Until(p.notUntil)
		p.mu.Unlock()
		if pause <= 0 {
			return p.launch()
		}
		if pause > time.Second {
			return nil, failed(errors.New("it keeps dying and rests for a while")).After(pause.Round(time.Second))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ended(ctx, errors.New("while it rests after it died"))
		}
	}
}

func (p *Pool) launch() (*Child, error) {
	cmd := p.o.Spec.command()
	// Not cmd's own pipes: its Wait would close the output before it is read.
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, failed(err)
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, failed(err)
	}
	defer theirOut.Close()
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	p.mu.Lock()
	defer p.mu.Unlock()
	var proc *process
	if p.closed {
		err = errors.New("the pool is closed")
	} else if proc, err = start(cmd, p.o.Spec.Memory); err != nil {
		p.died()
	}
	if err != nil {
		in.Close()
		out.Close()
		return nil, failed(err)
	}
	m := &meter{r: out, left: p.o.Output}
	c := &Child{In: in, Out: bufio.NewReaderSize(m, 64<<10), p: proc, meter: m, files: []*os.File{in, out}}
	p.children[c] = true
	p.all.Add(1)
	go func() {
		defer p.all.Done()
		<-proc.done
	}()
	return c, nil
}

// give returns a child after a use that went well.
func (p *Pool) give(c *Child) {
	p.well()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return // Close has killed it
	}
	c.timer = time.AfterFunc(p.o.Idle, func() { p.retire(c) })
	p.idle = append(p.idle, c)
}

// retire ends a child that is idle.
func (p *Pool) retire(c *Child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.idle {
		if p.idle[i] == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			delete(p.children, c)
			c.end()
			return
		}
	}
}

// drop ends a child for good, waits for it, and tells why in the error that it returns. A nil cause is nobody's fault.
func (p *Pool) drop(c *Child, cause error) error {
	dead := errors.Is(cause, io.EOF) || errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, syscall.EPIPE)
	if dead { // let it end its own way: how it does tells why
		select {
		case <-c.p.done:
		case <-time.After(lastWords):
		}
	}
	dead = dead || !c.alive()
	c.end()
	<-c.p.done
	own := (*problem.Error)(nil)
	refused := errors.As(cause, &own)
	p.mu.Lock()
	delete(p.children, c)
	closed := p.closed
	if cause != nil && !refused && !closed {
		p.died()
	}
	p.mu.Unlock()
	if cause == nil || refused {
		return cause
	}
	why := fmt.Errorf("%s: %w%s", filepath.Base(p.o.Spec.Path), cause, c.p.stderr.text())
	if dead {
		why = fmt.Errorf("%w: %w", cause, c.p.failure())
	}
	if !closed {
		p.o.Log.Warn("an engine's process was ended", "program", filepath.Base(p.o.Spec.Path), "error", why)
	}
	return failed(why)
}

// died counts a death; p.mu is held.
func (p *Pool) died() {
	p.deaths++
	if p.deaths > 1 {
		pause := min(firstBackoff<<min(p.deaths-2, 10), maxBackoff)
		p.notUntil = time.Now().Add(pause)
	}
}

func (p *Pool) well() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaths, p.notUntil = 0, time.Time{}
}

func (c *Child) alive() bool {
	select {
	case <-c.p.done:
		return false
	default:
		return true
	}
}

// Kill kills the child with its group. The use it is in the hands of goes on, and fails.
func (c *Child) Kill() { c.p.kill() }

// end kills the child with its group and closes its pipes, so that nobody waits at them.
func (c *Child) end() {
	c.p.kill()
	for _, f := range c.files {
		_ = f.Close() // a second time fails, harmlessly
	}
}

// Close ends every child, also those in use, and waits until they are gone. Uses after it fail.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.children {
		if c.timer != nil {
			c.timer.Stop()
		}
		c.end()
	}
	p.idle = nil
	p.mu.Unlock()
	p.all.Wait()
	return nil
}
