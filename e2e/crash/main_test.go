// Package crash proves on the real binary what the spool and the settlement promise: whatever dies or is
// away, a call that was answered is charged exactly once, at the price that its caller was told.
//
// A [world] is a seeded installation with a fake upstream, a [node] a process of it, a [load] the callers,
// who note what they received, and [check] compares their notes with the database. The same check must
// catch a settlement that is deliberately wrong: control_test.go.
//
// With TOLLGATE_NIGHTLY=1 there are more kills, and the product is built with the race detector. Everything runs on loopback and is stopped at the end.
package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// binary is the product under test.
var binary string

// controlVar makes this test binary the process of the negative control.
const controlVar = "TOLLGATE_CRASH_CONTROL"

func TestMain(m *testing.M) {
	if os.Getenv(controlVar) != "" {
		os.Exit(controlMain())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tollgate-crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "tollgate")
	build := exec.Command("go", "build", "-o", binary, "github.com/tollgate-io/tollgate/cmd/tollgate")
	if nightly() { // slower, and it sees more: see node.look
		build.Args = slices.Insert(build.Args, 2, "-race")
	}
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "the product does not build:", err)
		return 1
	}
	return m.Run()
}

// required says that nothing may be skipped.
func required() bool { return os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" }

func nightly() bool { return os.Getenv("TOLLGATE_NIGHTLY") == "1" }

// eventually waits until ok holds; what says what is missing.
func eventually(t *testing.T, most time.Duration, ok func() (bool, string)) {
	t.Helper()
	deadline, tick := time.NewTimer(most), time.NewTicker(20*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for {
		good, what := ok()
		if good {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after %v: %s", most, what)
		}
	}
}

// pause lets the load go on for a while; it ends early with ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// tail is the end of a log file, for a failure's message.
func tail(path string, n int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}
