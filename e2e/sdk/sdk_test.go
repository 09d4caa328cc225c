// Package sdk proves that the official clients of OpenAI and DeepL work against a running Tollgate with nothing but
// address and key changed: answers, streams, tools, embeddings, speech, translation, and errors as the client's own
// classes. The real binary runs the demo, in front of a fake upstream or with its own engines; go_test.go holds the
// tests of OpenAI's SDK for Go, node/ those of the clients for Node.
package sdk

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/e2e/demo"
	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
)

// world is a running demo whose models are a fake upstream's.
type world struct {
	*demo.Demo
	fake *fakeupstream.Server
	up   string // the fake's address
}

func TestOfficialSDKs(t *testing.T) {
	fake := &fakeupstream.Server{}
	up := httptest.NewServer(fake)
	t.Cleanup(func() {
		up.CloseClientConnections()
		up.Close()
	})
	w := &world{demo.Start(t, "-upstream", up.URL+"/v1"), fake, up.URL}
	w.keys(t)
	t.Run("Go", w.testGo)
	if t.Run("Node", func(t *testing.T) { w.testNode(t, "answers", "errors") }) {
		w.afterwards(t)
	}
}

// TestBuiltIn calls the model and the engines that a demo without an upstream has.
func TestBuiltIn(t *testing.T) {
	w := &world{Demo: demo.Start(t)}
	w.keys(t)
	t.Run("Go", func(t *testing.T) { goBuiltIn(t, newGoClient(t, w, w.Env["TOLLGATE_KEY"])) })
	t.Run("Node", func(t *testing.T) { w.testNode(t, "sandbox", "families", "deepl") })
}

// keys makes the keys that the tests need beside the demo's, and adds them to Env.
func (w *world) keys(t *testing.T) {
	t.Helper()
	operator, consumer := w.Env["TOLLGATE_OPERATOR_TOKEN"], w.Env["TOLLGATE_CONSUMER_TOKEN"]
	w.Call("POST", "/api/v1/organisations", operator, map[string]any{"name": "poor", "parts": []string{"consumer"}}, nil)
	type object = map[string]any
	for _, k := range []struct {
		env, token, org string
		body            object
	}{
		{"KEY_POOR", operator, "poor", object{}},
		{"KEY_SMALL_BUDGET", consumer, "demo-consumer", object{"budget": object{"amount": "0.000001", "currency": "USD"}}},
		{"KEY_ONE_MODEL", consumer, "demo-consumer", object{"limits": object{"models": []string{"fake"}}}},
		{"KEY_LIMITED_GO", consumer, "demo-consumer", object{"limits": object{"requests_per_minute": 30}}},
		{"KEY_LIMITED_NODE", consumer, "demo-consumer", object{"limits": object{"requests_per_minute": 30}}},
	} {
		k.body["kind"], k.body["name"] = "inf", k.env
		var made struct {
			Key string `json:"key"`
		}
		w.Call("POST", "/api/v1/organisations/"+k.org+"/keys", k.token, k.body, &made)
		if made.Key == "" {
			t.Fatal("no key in the answer")
		}
		w.Env[k.env] = made.Key
	}
}

// afterwards checks what is left when all clients have gone: calls that were given up before their answer are
// over, at the upstream too, and cost nothing; and the book adds up.
func (w *world) afterwards(t *testing.T) {
	t.Helper()
	const givenUp = 4 // two in Go, two in Node
	var calls struct {
		Items []struct{ ID, Outcome, Charge string }
	}
	eventually(t, "calls that were given up are over", func() bool {
		w.Call("GET", "/api/v1/organisations/demo-consumer/usage/events?model=fake-slow", w.Env["TOLLGATE_CONSUMER_TOKEN"], nil, &calls)
		return len(calls.Items) >= givenUp && w.fake.Stats().Active == 0
	})
	for _, c := range calls.Items {
		if c.Outcome != "client_gone" || c.Charge != "0" {
			t.Errorf("%+v", c)
		}
	}
	var book struct {
		OK     bool
		Events int
	}
	w.Call("GET", "/api/v1/ledger/verify", w.Env["TOLLGATE_OPERATOR_TOKEN"], nil, &book)
	if !book.OK || book.Events < 100 {
		t.Errorf("%+v", book)
	}
}

// eventually waits until ok, which something else makes true in a moment.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(15*time.Second), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("in vain was waited until " + what)
		}
	}
}

// testNode runs files of tests of node/, each test as one of ours.
func (w *world) testNode(t *testing.T, files ...string) {
	t.Helper()
	dir, err := filepath.Abs("node")
	if err != nil {
		t.Fatal(err)
	}
	if reason := missing(dir); reason != "" {
		if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	env := os.Environ()
	for name, value := range w.Env {
		env = append(env, name+"="+value)
	}
	env = append(env, "FAKE_URL="+w.up, "NO_COLOR=1")
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "node", "--test-reporter=tap", file+".test.mjs")
			cmd.Dir, cmd.Env = dir, env
			out, err := cmd.CombinedOutput()
			if n := report(t, out); n == 0 || err != nil && !t.Failed() {
				t.Fatalf("%d tests, %v\n%s", n, err, out)
			}
		})
	}
}

// missing says what the tests of node/ lack, if they lack something.
func missing(dir string) string {
	if _, err := exec.LookPath("node"); err != nil {
		return "node is not installed: scripts/node install"
	}
	for _, name := range []string{"openai", "deepl-node"} {
		if _, err := os.Stat(filepath.Join(dir, "node_modules", name)); err != nil {
			return "the packages of e2e/sdk/node are not installed: scripts/node install"
		}
	}
	return ""
}

// report turns output in the Test Anything Protocol into subtests and returns their number.
func report(t *testing.T, tap []byte) (n int) {
	var name, result string
	var text strings.Builder
	flush := func() {
		if name == "" {
			return
		}
		n++
		name, reason, skipped := strings.Cut(name, " # SKIP")
		t.Run(name, func(t *testing.T) {
			if skipped {
				t.Skip(reason)
			}
			if result != "ok" {
				t.Error(text.String())
			}
		})
		name = ""
	}
	lines := bufio.NewScanner(bytes.NewReader(tap))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		rest, ok := strings.CutPrefix(line, "ok ")
		if !ok {
			rest, ok = strings.CutPrefix(line, "not ok ")
		}
		if ok {
			flush()
			result, _, _ = strings.Cut(line, " ")
			text.Reset()
			_, name, _ = strings.Cut(rest, " - ")
		}
		fmt.Fprintln(&text, line)
	}
	flush()
	return n
}

func TestReport(t *testing.T) {
	// A failing subtest cannot be had in a test that passes; that it fails is seen in node's exit status too.
	tap := "TAP version 13\n# Subtest: a\nok 1 - a\n  ---\n  ...\n# Subtest: b, c\nok 2 - b, c\n1..2\n"
	if n := report(t, []byte(tap)); n != 2 {
		t.Errorf("%d tests, want 2", n)
	}
	if n := report(t, []byte("SyntaxError\n")); n != 0 {
		t.Errorf("%d tests in an error, want none", n)
	}
}
