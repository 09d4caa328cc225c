// Package examples runs the examples in Debian's Chromium against the demo, each as its README says: the translation
// form is built by Vite, the pages get a key that is bound to them. examples.mjs holds what happens in the browser.
package examples

import (
	"bufio"
	"maps"
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

	"github.com/tollgate-io/tollgate/e2e/chromium"
	"github.com/tollgate-io/tollgate/e2e/demo"
)

const root = "../.."

func TestExamples(t *testing.T) {
	path := chromium.Ready(t, "examples/translate-react/node_modules/vite")
	d := demo.Start(t)
	for _, example := range []struct {
		name  string
		serve func(*testing.T, *demo.Demo) string
	}{{"translate-react", built}, {"support-bot", asItsReadmeSays}, {"recommend", asItsReadmeSays}} {
		t.Run(example.name, func(t *testing.T) {
			play(t, d, example.name, path, map[string]string{"PAGE": example.serve(t, d)})
		})
	}
}

// TestVoice speaks to the support bot: a synthetic voice is the browser's microphone.
func TestVoice(t *testing.T) {
	path := chromium.Ready(t)
	chromium.Installed(t, "flite")
	chromium.Installed(t, "pocketsphinx_batch")
	voice := filepath.Join(t.TempDir(), "voice.wav")
	if out, err := exec.CommandContext(t.Context(), "flite", "-t", "how do I revoke a key", "-o", voice).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d := demo.Start(t)
	page := served(t, d, "support-bot")
	play(t, d, "voice", path, map[string]string{"PAGE": page, "VOICE": voice})
}

// play runs a scenario with the demo's environment.
func play(t *testing.T, d *demo.Demo, scenario, path string, more map[string]string) {
	env := maps.Clone(d.Env)
	maps.Copy(env, more)
	chromium.Play(t, "examples.mjs", scenario, path, env)
}

// built builds the translation form for the demo, and returns where it is served: on another origin than the demo.
func built(t *testing.T, d *demo.Demo) string {
	dir := filepath.Join(t.TempDir(), "dist")
	cmd := exec.CommandContext(t.Context(), "npm", "run", "build", "--", "--outDir", dir, "--emptyOutDir")
	cmd.Dir, cmd.Env = filepath.Join(root, "examples", "translate-react"), chromium.Environ(d.Env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(s.Close)
	return s.URL
}

// asItsReadmeSays runs the commands of an example's README until the page is served, and returns its address.
func asItsReadmeSays(t *testing.T, d *demo.Demo) string { return served(t, d, filepath.Base(t.Name())) }

func served(t *testing.T, d *demo.Demo, name string) string {
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
