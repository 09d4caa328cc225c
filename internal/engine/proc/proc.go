// Package proc runs the programs behind engines: one shot by [Run], or kept warm and used by one caller at a
// time by [Pool].
//
// A child is the leader of its own process group and is ended with its group; every child is waited for, so
// that none stays a zombie; on Linux it dies with this process even when that is killed. Its environment has
// PATH, LANG and TMPDIR and what the Spec says, nothing of what the platform was started with. Its time, its
// output and, where the Spec says so, its address space are bounded; where memory or the processor is short, the platform
// comes first. The package knows nothing of what a child
// computes and does not isolate it from the file system or the network.
//
// Errors that a caller may see are *problem.Error (proc.busy, proc.slow, proc.failed); the reason, with the end
// of what the child wrote to its standard error, is their cause.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	defaultTime   = 30 * time.Second
	defaultOutput = 64 << 20
	tailSize      = 4 << 10
	// waitDelay is how long the pipes of a child that has ended may stay open in other hands.
	waitDelay = time.Second
	// niceness is a child's, so that the platform answers while its engines compute.
	niceness = 5
)

// ErrOutput is the cause of the failure of a child that wrote more than it may.
var ErrOutput = errors.New("the program wrote more than it may")

// Spec is a program to run.
type Spec struct {
	Path   string // with a slash, or a name on PATH
	Args   []string
	Env    []string // "NAME=value", beside PATH, LANG=C.UTF-8 and TMPDIR; the last one of a name counts
	Dir    string   // working directory; "": the temporary one
	Memory int64    // bytes of address space (Linux); 0: no limit
}

// Find is the path of the first of the programs that is on PATH, or "".
func Find(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// Run runs a program once with stdin as its standard input and returns what it wrote, at most maxOut bytes
// (0: 64 MiB). It ends with ctx; a ctx without a deadline has 30 s. The caller bounds how many run at once.
func Run(ctx context.Context, s Spec, stdin []byte, maxOut int64) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		c, cancel := context.WithTimeout(ctx, defaultTime)
		defer cancel()
		ctx = c
	}
	if err := ctx.Err(); err != nil {
		return nil, ended(ctx, err)
	}
	if maxOut <= 0 {
		maxOut = defaultOutput
	}
	cmd := s.command()
	in := &held{Reader: bytes.NewReader(stdin), bound: make(chan struct{})}
	cmd.Stdin = in
	out := &bounded{max: maxOut}
	cmd.Stdout = out
	p, err := start(cmd, s.Memory)
	close(in.bound)
	if err != nil {
		return nil, failed(err)
	}
	out.onFull(p.kill)
	stop := context.AfterFunc(ctx, p.kill)
	<-p.done
	stop()
	switch over, data := out.result(); {
	case over:
		return nil, failed(fmt.Errorf("%s: %w: %d bytes", filepath.Base(s.Path), ErrOutput, maxOut))
	case p.err == nil:
		return data, nil
	case ctx.Err() != nil:
		return nil, ended(ctx, p.err)
	default:
		return nil, failed(p.failure())
	}
}

// held is input that a program gets once its memory is bounded: with its input it may start others, which inherit the bound
// only if it is there already.
type held struct {
	io.Reader
	bound chan struct{}
}

func (h *held) Read(d []byte) (int, error) {
	<-h.bound
	return h.Reader.Read(d)
}

// ended is the error of what the end of its context has ended.
func ended(ctx context.Context, cause error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return problem.New(problem.Timeout, "proc.slow", "the engine took too long; send less at once, or try again").Because(cause)
	}
	return problem.New(problem.ClientGone, "proc.left", "the call was ended by its caller").Because(ctx.Err())
}

func failed(cause error) *problem.Error {
	return problem.New(problem.Unavailable, "proc.failed", "the engine failed; try again").After(time.Second).Because(cause)
}

// command is the exec.Cmd of s, without its pipes.
func (s Spec) command() *exec.Cmd {
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Dir = s.Dir
	if cmd.Dir == "" {
		cmd.Dir = os.TempDir()
	}
	for _, name := range []string{"PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	cmd.Env = append(append(cmd.Env, "LANG=C.UTF-8"), s.Env...)
	cmd.WaitDelay = waitDelay
	cmd.SysProcAttr = attributes()
	return cmd
}

// process is a started program that is being waited for.
type process struct {
	cmd    *exec.Cmd
	stderr tail
	done   chan struct{} // closed once it has been waited for
	err    error         // of Wait; read after done
	mu     sync.Mutex
	gone   bool // it has ended, or is about to be waited for: its id may soon be another's
}

// start starts cmd, whose standard error it takes, and waits for it in a goroutine.
func start(cmd *exec.Cmd, memory int64) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.Stderr = &p.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	yield(cmd.Process.Pid)
	if memory > 0 {
		if err := limitMemory(cmd.Process.Pid, memory); err != nil {
			defer p.kill()
			go p.wait()
			return nil, fmt.Errorf("limit the memory of %s: %w", filepath.Base(cmd.Path), err)
		}
	}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	defer close(p.done)
	if awaitEnd(p.cmd.Process.Pid) {
		p.mu.Lock()
		p.gone = true
		killGroup(p.cmd.Process) // what it has started; while it is not waited for its id is its own
		p.mu.Unlock()
	}
	p.err = p.cmd.Wait()
	p.mu.Lock()
	p.gone = true
	p.mu.Unlock()
	if errors.Is(p.err, exec.ErrWaitDelay) {
		p.err = nil // it ended well, something it had started held the pipe
	}
}

// kill ends the process with its group. It may be called at any time, by anyone.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		killGroup(p.cmd.Process)
	}
}

// failure tells how a process that is done has ended.
func (p *process) failure() error {
	err := p.err
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return fmt.Errorf("%s: %w%s", filepath.Base(p.cmd.Path), err, p.stderr.text())
}

// bounded keeps what is written until it is too much; then it calls full.
type bounded struct {
	mu   sync.Mutex
	data []byte
	max  int64
	over bool
	full func()
}

func (b *bounded) Write(d []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || int64(len(b.data)+len(d)) > b.max {
		b.over = true
		if b.full != nil {
			b.full()
		}
		return 0, ErrOutput
	}
	b.data = append(b.data, d...)
	return len(d), nil
}

func (b *bounded) onFull(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = f
	if b.over {
		f()
	}
}

func (b *bounded) result() (over bool, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.over, b.data
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(d []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, d[max(0, len(d)-tailSize):]...)
	if n := len(t.data) - tailSize; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(d), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := bytes.TrimSpace(t.data); len(text) > 0 {
		return ": " + string(bytes.ToValidUTF8(text, []byte("?")))
	}
	return ""
}

// meter bounds what may be read in one use.
type meter struct {
	r    io.Reader
	left int64
}

func (m *meter) Read(d []byte) (int, error) {
	if m.left <= 0 {
		return 0, ErrOutput
	}
	n, err := m.r.Read(d[:min(int64(len(d)), m.left)])
	m.left -= int64(n)
	return n, err
}
