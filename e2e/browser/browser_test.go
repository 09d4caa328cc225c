// Package browser tests the server-rendered pages of the running product in Debian's Chromium: that they are
// usable by everyone (axe finds no violation) in both languages, light and dark, on a desktop and a phone; the
// field to try a call and the set-up of a new installation; and that the code samples on them do what they say.
// browser.mjs holds what happens in the browser.
package browser

import (
	"bytes"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/e2e/demo"
	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
)

// TestPages is on the demo as a newcomer starts it.
func TestPages(t *testing.T) {
	chromium := ready(t)
	d := demo.Start(t)
	for _, scenario := range []string{"pages", "language", "call"} {
		t.Run(scenario, func(t *testing.T) { play(t, scenario, chromium, d.Env) })
	}
}

// TestCalls is on a demo in front of an upstream that misbehaves as told.
func TestCalls(t *testing.T) {
	chromium := ready(t)
	up := httptest.NewServer(&fakeupstream.Server{})
	t.Cleanup(func() { up.CloseClientConnections(); up.Close() })
	d := demo.Start(t, "-upstream", up.URL+"/v1")
	d.Env["KEY_POOR"] = key(d, map[string]any{"budget": map[string]any{"amount": "0.000000001", "currency": "USD"}})
	d.Env["KEY_LIMITED"] = key(d, map[string]any{"limits": map[string]any{"requests_per_minute": 1}})
	for _, scenario := range []string{"refusals", "interruptions", "keyboard", "scriptless"} {
		t.Run(scenario, func(t *testing.T) { play(t, scenario, chromium, d.Env) })
	}
	t.Run("samples", func(t *testing.T) { testSamples(t, d, "demo-provider/fake", "s", []string{"quick", "cost"}) })
}

// TestCapabilities is on the products of the platform's own engines.
func TestCapabilities(t *testing.T) {
	chromium := ready(t)
	d := demo.Start(t)
	for _, scenario := range []string{"capabilities", "translation", "language tasks", "images", "bots and shops"} {
		t.Run(scenario, func(t *testing.T) { play(t, scenario, chromium, d.Env) })
	}
	t.Run("voices", func(t *testing.T) {
		installed(t, "espeak-ng")
		installed(t, "pocketsphinx_batch")
		play(t, "voices", chromium, d.Env)
	})
	var bots struct {
		Data []struct{ ID string }
	}
	d.Call("GET", "/v1/assist/bots", d.Env["TOLLGATE_KEY"], nil, &bots)
	if len(bots.Data) == 0 {
		t.Fatal("the demo has no bot")
	}
	d.Env["BOT"] = bots.Data[0].ID
	for _, c := range []struct {
		page, set, program string // that the engine needs, if any
		want               []string
	}{
		{"tollgate/translate", "s", "", []string{"天气", "dictionary"}},
		{"tollgate/language", "s", "", []string{"mixed"}},
		{"tollgate/recommend", "s", "", nil},
		{"tollgate/assist", "s", "", []string{"hold"}},
		{"tollgate/vision", "s", "", nil},
		{"tollgate/speech", "s-speak", "espeak-ng", nil},
		{"tollgate/speech", "s", "pocketsphinx_batch", nil},
	} {
		t.Run(c.page+" "+c.set, func(t *testing.T) {
			if c.program != "" {
				installed(t, c.program)
			}
			testSamples(t, d, c.page, c.set, c.want)
		})
	}
}

// installed skips a test, or fails it where the run requires everything, without a program of the engines.
func installed(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
		t.Fatal(program + " is not installed: scripts/install-engines")
	}
	t.Skip(program + " is not installed")
}

// ready returns the path of Chromium, if everything is there that the tests need.
func ready(t *testing.T) string {
	t.Helper()
	reason := ""
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		reason = "Chromium is not installed: scripts/browser install"
	} else if _, err := exec.LookPath("node"); err != nil {
		reason = "Node.js is not installed: scripts/node install"
	} else if _, err := os.Stat("node_modules/playwright-core"); err != nil {
		reason = "the packages of e2e/browser are not installed: scripts/node install"
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

// key makes an inference key of the demo's consumer.
func key(d *demo.Demo, body map[string]any) string {
	body["kind"], body["name"] = "inf", "browser"
	var made struct {
		Key string `json:"key"`
	}
	d.Call("POST", "/api/v1/organisations/demo-consumer/keys", d.Env["TOLLGATE_CONSUMER_TOKEN"], body, &made)
	return made.Key
}

// play runs a scenario with what it needs in its environment.
func play(t *testing.T, scenario, chromium string, env map[string]string) {
	cmd := exec.CommandContext(t.Context(), "node", "browser.mjs", scenario)
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium, "SCREENSHOTS="+screenshots(t))
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestBootstrap sets up a new installation with the link that its first start prints.
func TestBootstrap(t *testing.T) {
	chromium := ready(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	var log buffer
	cmd := exec.Command(demo.Build(t), "serve", "-listen", addr, "-data", filepath.Join(t.TempDir(), "data"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("serve ended with %v\n%s", err, log.text())
		}
	})
	var link string
	for tick, end := time.Tick(50*time.Millisecond), time.After(time.Minute); link == ""; link = regexp.MustCompile(`http://\S+/bootstrap#\S+`).FindString(log.text()) {
		select {
		case <-tick:
		case <-end:
			t.Fatalf("no link\n%s", log.text())
		}
	}
	play(t, "bootstrap", chromium, map[string]string{"TOLLGATE_URL": "http://" + addr, "BOOTSTRAP": link})
	if token := link[strings.IndexByte(link, '#')+1:]; strings.Count(log.text(), token) != 1 {
		t.Error("the token was logged again")
	}
}

// buffer is what a process printed; it may be read while the process runs.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
