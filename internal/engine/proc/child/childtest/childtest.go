// Package childtest is what the tests of children with native libraries share.
package childtest

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// Message is a request or an answer.
type Message interface{ Frame() ([]byte, error) }

// Fuzz fuzzes what reads payloads: what can be read can be written, unless it is too large by then, and read again to the same.
// check, if not nil, compares a payload with that of what was written.
func Fuzz[M Message](f *testing.F, parse func([]byte) (M, error), check func(t *testing.T, payload, written []byte), seeds [][]byte) {
	f.Helper()
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := parse(payload)
		if err != nil {
			return
		}
		frame, err := m.Frame()
		if errors.Is(err, child.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parse(frame[4:]); err != nil || !cmp.Equal(m, again, cmpopts.EquateNaNs()) {
			t.Fatalf("%v\n%s", err, cmp.Diff(m, again, cmpopts.EquateNaNs()))
		}
		if check != nil {
			check(t, payload, frame[4:])
		}
	})
}

// Payloads are those of messages, and some that are none.
func Payloads(t testing.TB, none []string, messages ...Message) (all [][]byte) {
	t.Helper()
	for _, m := range messages {
		frame, err := m.Frame()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, frame[4:])
	}
	for _, s := range append(none, "") {
		all = append(all, []byte(s))
	}
	return all
}

// Refuses checks that a child ends with a message, not with a crash, when what it gets is no request or no library, and
// that it tells the version of the library.
func Refuses(t *testing.T, dir engine.Dir, program, library, called, version string) {
	t.Helper()
	path, lib := filepath.Join(string(dir), "bin", program), filepath.Join(string(dir), "lib", library)
	for name, c := range map[string]struct{ library, stdin, want string }{
		"not a request":   {lib, "\x02\x00\x00\x00hi", "malformed"},
		"endless request": {lib, "\xff\xff\xff\xff", "too large"},
		"half a request":  {lib, "\x02\x00", "EOF"},
		"no library":      {"/does/not/exist.so", "", "load " + called},
		"other library":   {"libc.so.6", "", "is not " + called},
	} {
		cmd := exec.Command(path, "-library", c.library)
		cmd.Stdin = strings.NewReader(c.stdin)
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	out, err := exec.Command(path, "-library", lib, "-check").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), version) {
		t.Errorf("-check: %v: %s", err, out)
	}
}
