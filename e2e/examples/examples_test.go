// Package examples runs the examples in Debian's Chromium against the demo, each as its README says: the translation
// form is built by Vite, the pages get a key that is bound to them. examples.mjs holds what happens in the browser.
package examples

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/e2e/demo"
)

const root = "../.."

func TestExamples(t *testing.T) {
	chromium := ready(t)
	d := demo.Start(t)
	for _, example := range []struct {
		name  string
		serve func(*testing.T, *demo.Demo) string
	}{{"translate-react", built}, {"support-bot", asItsReadmeSays}, {"recommend", asItsReadmeSays}} {
		t.Run(example.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "node", "examples.mjs", example.name)
			cmd.Env = append(environ(d), "CHROMIUM="+chromium, "SCREENSHOTS="+screenshots(t), "PAGE="+example.serve(t, d))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// ready returns the path of Chromium, if everything is there that the tests need.
func ready(t *testing.T) string {
	t.Helper()
	reason := ""
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		reason = "Chromium is not installed: scripts/browser install"
	} else if _, err := exec.LookPath("npm"); err != nil {
		reason = "Node.js with npm is not installed: scripts/node install"
	}
	for _, dir := range []string{"e2e/browser/node_modules/playwright-core", "examples/translate-react/node_modules/vite"} {
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil && reason == "" {
			reason = dir + " is not installed: scripts/node install"
		}
	}
	if reason == "" {
		return chromium
	}
	if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
	return ""
}

// screenshots is where pictures go: TOLLGATE_SCREENSHOTS, else a folder that goes with the test.
func screenshots(t *testing.T) string {
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

func environ(d *demo.Demo) []string {
	env := os.Environ()
	for name, value := range d.Env {
		env = append(env, name+"="+value)
	}
	return env
}

// built builds the translation form for the demo, and returns where it is served: on another origin than the demo.
func built(t *testing.T, d *demo.Demo) string {
	dir := filepath.Join(t.TempDir(), "dist")
	cmd := exec.CommandContext(t.Context(), "npm", "run", "build", "--", "--outDir", dir, "--emptyOutDir")
	cmd.Dir, cmd.Env = filepath.Join(root, "examples", "translate-react"), environ(d)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL
}

// asItsReadmeSays runs the commands of an example's README until the page is served, and returns its address.
func asItsReadmeSays(t *testing.T, d *demo.Demo) string {
	name := filepath.Base(t.Name())
	readme, err := os.ReadFile(filepath.Join(root, "examples", name, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(string(readme))
	if block == nil {
		t.Fatal("the README has no commands")
	}
	script := "set -e\n" + strings.NewReplacer(
		"tollgate-data", d.Dir,
		"go run ./cmd/tollgate", d.Binary,
		"node examples/serve.mjs examples/"+name, "exec node examples/serve.mjs examples/"+name+" 0",
	).Replace(block[1])
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // an error: it has ended
	t.Cleanup(func() {
		kill()
		_ = cmd.Wait() // it was killed
	})
	timer := time.AfterFunc(time.Minute, kill) // ends the reading below
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "http://") {
			return lines.Text()
		}
	}
	t.Fatal("the page is not served")
	return ""
}
