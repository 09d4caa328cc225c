// Package browser tests the server-rendered pages of the running product in Debian's Chromium: that they are
// usable by everyone (axe finds no violation) in both languages, light and dark, on a desktop and a phone; the
// field to try a call and the set-up of a new installation; and that the code samples on them do what they say.
// browser.mjs holds what happens in the browser.
package browser

import (
	"bytes"
	"net"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/e2e/chromium"
	"github.com/tollgate-io/tollgate/e2e/demo"
	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
)

// TestPages is on the demo as a newcomer starts it.
func TestPages(t *testing.T) {
	path := chromium.Ready(t)
	d := demo.Start(t)
	for _, scenario := range []string{"pages", "language", "call"} {
		t.Run(scenario, func(t *testing.T) { chromium.Play(t, "browser.mjs", scenario, path, d.Env) })
	}
}

// TestCalls is on a demo in front of an upstream that misbehaves as told.
func TestCalls(t *testing.T) {
	path := chromium.Ready(t)
	up := httptest.NewServer(&fakeupstream.Server{})
	t.Cleanup(func() { up.CloseClientConnections(); up.Close() })
	d := demo.Start(t, "-upstream", up.URL+"/v1")
	d.Env["KEY_POOR"] = key(d, map[string]any{"budget": map[string]any{"amount": "0.000000001", "currency": "USD"}})
	d.Env["KEY_LIMITED"] = key(d, map[string]any{"limits": map[string]any{"requests_per_minute": 1}})
	for _, scenario := range []string{"refusals", "interruptions", "keyboard", "scriptless"} {
		t.Run(scenario, func(t *testing.T) { chromium.Play(t, "browser.mjs", scenario, path, d.Env) })
	}
	t.Run("samples", func(t *testing.T) { testSamples(t, d, "demo-provider/fake", "s", []string{"quick", "cost"}) })
}

// TestCapabilities is on the products of the platform's own engines.
func TestCapabilities(t *testing.T) {
	path := chromium.Ready(t)
	d := demo.Start(t)
	for _, scenario := range []string{"capabilities", "translation", "language tasks", "images", "bots and shops"} {
		t.Run(scenario, func(t *testing.T) { chromium.Play(t, "browser.mjs", scenario, path, d.Env) })
	}
	t.Run("voices", func(t *testing.T) {
		chromium.Installed(t, "espeak-ng")
		chromium.Installed(t, "pocketsphinx_batch")
		chromium.Play(t, "browser.mjs", "voices", path, d.Env)
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
				chromium.Installed(t, c.program)
			}
			testSamples(t, d, c.page, c.set, c.want)
		})
	}
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

// TestBootstrap sets up a new installation with the link that its first start prints.
func TestBootstrap(t *testing.T) {
	path := chromium.Ready(t)
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
	chromium.Play(t, "browser.mjs", "bootstrap", path, map[string]string{"TOLLGATE_URL": "http://" + addr, "BOOTSTRAP": link})
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
