// Package chromium runs the scripts of the end-to-end tests in Debian's Chromium. What they share in the browser is
// e2e/browser/chromium.mjs; this is what they share outside: what must be installed, and the environment of a run.
package chromium

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Root is the root of the tree.
func Root(t testing.TB) string {
	t.Helper()
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no source path")
	}
	return filepath.Join(filepath.Dir(self), "..", "..")
}

// Ready returns the path of Chromium if everything is there that the tests need: Node.js and the packages of e2e/browser, and of
// the other folders of the tree that are named. Otherwise the test is skipped, or fails where the run requires everything.
func Ready(t testing.TB, packages ...string) string {
	t.Helper()
	reason := ""
	path, err := exec.LookPath("chromium")
	if err != nil {
		reason = "Chromium is not installed: scripts/browser install"
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil && reason == "" {
			reason = "Node.js with npm is not installed: scripts/node install"
		}
	}
	for _, dir := range append([]string{"e2e/browser/node_modules/playwright-core"}, packages...) {
		if _, err := os.Stat(filepath.Join(Root(t), dir)); err != nil && reason == "" {
			reason = dir + " is not installed: scripts/node install"
		}
	}
	Need(t, reason)
	return path
}

// Installed skips a test, or fails it where the run requires everything, without a program of the engines.
func Installed(t testing.TB, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		Need(t, program+" is not installed: scripts/install-engines")
	}
}

// Need skips a test for a reason, or fails it where the run requires everything; "" is no reason.
func Need(t testing.TB, reason string) {
	t.Helper()
	switch {
	case reason == "":
	case os.Getenv("TOLLGATE_TEST_REQUIRE") == "1":
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}

// Play runs a scenario of a script in the working directory, with the environment given beside the test's own. Pictures go to
// TOLLGATE_SCREENSHOTS, else to a folder that goes with the test.
func Play(t testing.TB, script, scenario, path string, env map[string]string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", script, scenario)
	cmd.Env = append(Environ(env), "CHROMIUM="+path, "SCREENSHOTS="+screenshots(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Environ is the test's environment with more in it.
func Environ(env map[string]string) []string {
	out := os.Environ()
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	return out
}

func screenshots(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("TOLLGATE_SCREENSHOTS")
	if dir == "" {
		return t.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
