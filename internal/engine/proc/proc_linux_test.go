package proc_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func sh(script string) proc.Spec { return proc.Spec{Path: "/bin/sh", Args: []string{"-c", script}} }

func TestRun(t *testing.T) {
	t.Setenv("TOLLGATE_SECRET", "the database's password")
	big := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		spec   proc.Spec
		in     string
		max    int64
		want   string
		failed string // in the error
	}{
		"echo":                     {spec: proc.Spec{Path: "cat"}, in: big, want: big},
		"arguments":                {spec: proc.Spec{Path: "printf", Args: []string{"%s,", "a b", "$HOME"}}, want: "a b,$HOME,"},
		"input that nobody reads":  {spec: sh("echo done"), in: big, want: "done\n"},
		"environment":              {spec: proc.Spec{Path: "/bin/sh", Args: []string{"-c", `echo "$LANG $TOLLGATE_SECRET $A"`}, Env: []string{"A=1"}}, want: "C.UTF-8  1\n"},
		"directory":                {spec: proc.Spec{Path: "pwd", Dir: "/"}, want: "/\n"},
		"exit status":              {spec: sh("echo it broke >&2; exit 3"), failed: "exit status 3: it broke"},
		"much on standard error":   {spec: sh("yes no | head -c 1000000 >&2; echo the end >&2; exit 1"), failed: "the end"},
		"output at the limit":      {spec: sh("printf 12345"), max: 5, want: "12345"},
		"output over the limit":    {spec: sh("printf 123456"), max: 5, failed: "more than it may"},
		"endless output":           {spec: sh("yes"), max: 1 << 20, failed: "more than it may"},
		"silent after the limit":   {spec: sh("printf 123456; exec sleep 1000"), max: 5, failed: "more than it may"},
		"no such program":          {spec: proc.Spec{Path: "no-such-program"}, failed: "not found"},
		"killed":                   {spec: sh("kill -9 $$"), failed: "killed"},
		"leaves a child behind":    {spec: sh("sleep 1000 & echo done"), want: "done\n"},
		"too much memory":          {spec: proc.Spec{Path: "/bin/sh", Args: []string{"-c", "read x; head -c 500000000 /dev/zero | sort >/dev/null; exit $?"}, Memory: 64 << 20}, in: "go\n", failed: "exit status"},
		"memory within its limits": {spec: proc.Spec{Path: "cat", Memory: 256 << 20}, in: "a", want: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := proc.Run(t.Context(), c.spec, []byte(c.in), c.max)
			if c.failed != "" {
				if !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), c.failed) {
					t.Fatalf("%v, want %q", err, c.failed)
				}
				if text := problem.As(err).Text("en"); strings.Contains(text, c.failed) {
					t.Errorf("the caller is told %q", text)
				}
				return
			}
			if err != nil || string(out) != c.want {
				t.Errorf("%.100q %v, want %.100q", out, err, c.want)
			}
		})
	}
}

// TestYields: when memory or the processor is short the platform comes first.
func TestYields(t *testing.T) {
	t.Parallel()
	p := newPool(t, proc.PoolOptions{Spec: sh("read x; echo $(cat /proc/self/oom_score_adj) $(nice)")})
	out, err := echo(t.Context(), p, "go")
	f := strings.Fields(out)
	if err != nil || len(f) != 2 {
		t.Fatal(out, err)
	}
	if f[0] != "500" || atoi(t, f[1]) < 5 {
		t.Errorf("oom_score_adj and niceness %v", f)
	}
}

// TestRunEnds: the end of the context ends the program and what it has started.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		context func() (context.Context, context.CancelFunc)
		kind    problem.Kind
	}{
		"time": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		}, problem.Timeout},
		"cancelled": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		}, problem.ClientGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pids := t.TempDir() + "/pids"
			ctx, cancel := c.context()
			defer cancel()
			_, err := proc.Run(ctx, sh("sleep 1000 & echo $! $$ >"+pids+"; while :; do sleep 1000; done"), nil, 0)
			if !problem.Is(err, c.kind) {
				t.Errorf("%v", err)
			}
			text, err := os.ReadFile(pids)
			if err != nil {
				return // it was ended before it had started anything
			}
			for _, pid := range strings.Fields(string(text)) {
				awaitGone(t, atoi(t, pid))
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proc.Run(ctx, sh("true"), nil, 0); !problem.Is(err, problem.ClientGone) {
		t.Errorf("cancelled before: %v", err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	if got := proc.Find("no-such-program", "sh"); !strings.HasSuffix(got, "/sh") {
		t.Errorf("%q", got)
	}
	if got := proc.Find("no-such-program"); got != "" {
		t.Errorf("%q", got)
	}
}

// TestDiesWithUs: children end with this process, however it ends.
func TestDiesWithUs(t *testing.T) {
	t.Parallel()
	if os.Getenv("PROC_PARENT") == "1" {
		pool := proc.NewPool(proc.PoolOptions{Spec: sh("echo $$; exec sleep 1000")})
		_ = pool.Do(context.Background(), func(c *proc.Child) error {
			line, err := c.Out.ReadString('\n')
			if err == nil {
				_, err = os.Stdout.WriteString("child " + line)
			}
			if err != nil {
				return err
			}
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		})
		select {}
	}
	self := exec.Command(os.Args[0], "-test.run=^TestDiesWithUs$")
	self.Env = append(os.Environ(), "PROC_PARENT=1")
	var out bytes.Buffer
	self.Stdout = &out
	if err := self.Run(); err == nil {
		t.Fatal("it was not killed")
	}
	_, line, ok := strings.Cut(out.String(), "child ")
	pid, _, ok2 := strings.Cut(line, "\n")
	if !ok || !ok2 {
		t.Fatalf("no pid: %q", &out)
	}
	awaitGone(t, atoi(t, pid))
}

// awaitGone fails the test unless the process ends, and is waited for if it was ours.
func awaitGone(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n != 1 || err != nil {
			t.Errorf("process %d lives: %v", pid, err)
		}
		return
	}
}

// zombies lists our children that have ended and were not waited for.
func zombies(t *testing.T) (pids []int) {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		stat, err := os.ReadFile("/proc/" + d.Name() + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[0] == "Z" && f[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, atoi(t, d.Name()))
		}
	}
	return pids
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func BenchmarkRun(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proc.Run(b.Context(), proc.Spec{Path: "/bin/true"}, nil, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPool(b *testing.B) {
	p := proc.NewPool(proc.PoolOptions{Spec: proc.Spec{Path: "cat"}})
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := echo(b.Context(), p, "a line"); err != nil {
			b.Fatal(err)
		}
	}
}
