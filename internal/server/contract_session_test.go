package server

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/meter"
)

// dial opens a session.
func (x *testApp) dial(path string) *websocket.Conn {
	x.t.Helper()
	c, _, err := websocket.Dial(x.t.Context(), x.url+path, &websocket.DialOptions{Subprotocols: []string{"tollgate", "tollgate-key." + x.key}})
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(1 << 20)
	return c
}

// send writes messages: strings as text, sound as binary.
func (x *testApp) send(c *websocket.Conn, messages ...any) {
	x.t.Helper()
	for _, m := range messages {
		var err error
		switch m := m.(type) {
		case string:
			err = c.Write(x.t.Context(), websocket.MessageText, []byte(m))
		case []byte:
			err = c.Write(x.t.Context(), websocket.MessageBinary, m)
		}
		if err != nil {
			x.t.Fatal(err)
		}
	}
}

// until reads until an event of the type, or to the end, whose status it gives.
func (x *testApp) until(c *websocket.Conn, kind string) (seen []string, end websocket.StatusCode) {
	x.t.Helper()
	for {
		typ, b, err := c.Read(x.t.Context())
		if err != nil {
			var closed websocket.CloseError
			if !errors.As(err, &closed) && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				x.t.Fatalf("after %s: %v", seen, err)
			}
			return seen, closed.Code
		}
		var v struct{ Type string }
		if typ != websocket.MessageText {
			continue
		}
		if err := json.Unmarshal(b, &v); err != nil {
			x.t.Fatal(err)
		}
		if seen = append(seen, string(b)); v.Type == kind {
			return seen, 0
		}
	}
}

// lastEvent is that of the call that was settled last.
func (x *testApp) lastEvent() meter.Event {
	x.t.Helper()
	waitFor(x.t, "the session to close", func() bool { return x.Spool.Inflight() == 0 })
	x.flush()
	list, _, err := x.Meter.List(x.t.Context(), meter.Filter{}, "", 1)
	if err != nil || len(list) != 1 {
		x.t.Fatal(err, len(list))
	}
	return list[0]
}

// needs skips a test without a program that scripts/install-engines installs, and fails where everything is required.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	if proc.Find(programs...) != "" {
		return
	}
	if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
		t.Fatalf("%s is not installed: scripts/install-engines", programs[0])
	}
	t.Skipf("%s is not installed: scripts/install-engines", programs[0])
}

// second is what a second of the demo's live recognition costs.
const second = 100_000

// TestSessionIsMeteredByTheSecond ends sessions in every way.
func TestSessionIsMeteredByTheSecond(t *testing.T) {
	needs(t, "pocketsphinx_batch")
	x := startDemo(t, nil)
	c := x.dial("/v1/audio/stream?model=speech&max_seconds=10")
	x.send(c, `{"type":"start","sample_rate":16000}`)
	for range 5 {
		x.send(c, pcm(0.5))
	}
	x.send(c, `{"type":"stop"}`)
	seen, end := x.until(c, "")
	if e := x.lastEvent(); end != websocket.StatusNormalClosure || e.Units != 2500 || e.Charge != second*5/2 || e.Charge > e.Hold || e.Outcome != "completed" || e.Meter != "audio_seconds" {
		t.Errorf("stopped: %d %s %+v", end, seen, e)
	}

	c = x.dial("/v1/audio/stream?model=speech&max_seconds=1")
	x.send(c, `{"type":"start","sample_rate":16000}`)
	for range 20 {
		if c.Write(t.Context(), websocket.MessageBinary, pcm(0.5)) != nil {
			break // cut
		}
	}
	seen, end = x.until(c, "")
	if e := x.lastEvent(); end != websocket.StatusPolicyViolation || e.Units != 1000 || e.Charge != second || e.Charge > e.Hold || e.Outcome != "cut" {
		t.Errorf("cut: %d %s %+v", end, seen, e)
	}

	c = x.dial("/v1/audio/stream?model=speech&max_seconds=10")
	x.send(c, `{"type":"start","sample_rate":16000}`, pcm(0.5), pcm(0.5))
	x.until(c, "ready")
	_ = c.CloseNow()
	if e := x.lastEvent(); e.Units > 1000 || e.Charge != e.Units*second/1000 || e.Charge > e.Hold {
		t.Errorf("gone: %+v", e)
	}

	c = x.dial("/v1/audio/stream?model=speech")
	x.send(c, `{"type":"nonsense"}`)
	seen, end = x.until(c, "")
	if e := x.lastEvent(); end != websocket.StatusPolicyViolation || e.Charge != 0 || e.Units != 0 {
		t.Errorf("nonsense: %d %s %+v", end, seen, e)
	}
	for _, path := range []string{"/v1/audio/stream?model=speech&max_seconds=nonsense", "/v1/audio/stream?model=nothing"} {
		if _, resp, err := websocket.Dial(t.Context(), x.url+path, &websocket.DialOptions{Subprotocols: []string{"tollgate", "tollgate-key." + x.key}}); err == nil || resp.StatusCode/100 != 4 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, resp, err := websocket.Dial(t.Context(), x.url+"/v1/audio/stream", nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("without a key: %v", err)
	}
}

// TestStopSettlesASession stops the server in the middle: the client is told to come back, and what was heard is charged.
func TestStopSettlesASession(t *testing.T) {
	needs(t, "pocketsphinx_batch")
	x := startDemo(t, nil)
	c := x.dial("/v1/audio/stream?model=speech&max_seconds=10")
	x.send(c, `{"type":"start","sample_rate":16000}`, pcm(0.5), pcm(0.5), `{"type":"flush"}`)
	stopped := make(chan error, 1)
	go func() { stopped <- x.Front.Break(t.Context()) }()
	seen, end := x.until(c, "")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if e := x.lastEvent(); end != websocket.StatusServiceRestart || e.Units > 1000 || e.Charge != e.Units*second/1000 || e.Outcome == "completed" {
		t.Errorf("%d %s %+v", end, seen, e)
	}
}

// TestVoiceOfABot talks to the demo's bot; where no voice is installed it says so, and costs nothing.
func TestVoiceOfABot(t *testing.T) {
	x := startDemo(t, nil)
	c := x.dial("/v1/assist/bots/" + x.env["TOLLGATE_BOT"] + "/voice?max_seconds=20")
	x.send(c, `{"type":"start","language":"en"}`)
	seen, end := x.until(c, "ready")
	if end != 0 {
		if e := x.lastEvent(); !strings.Contains(strings.Join(seen, ""), "engine.missing") || e.Charge != 0 {
			t.Errorf("%d %s %+v", end, seen, e)
		}
		return
	}
	x.send(c, `{"type":"text","text":"What is a hold?"}`)
	if seen, end = x.until(c, "bot"); end != 0 {
		t.Fatalf("%d %s", end, seen)
	}
	x.send(c, pcm(0.5), `{"type":"interrupt"}`, `{"type":"end"}`)
	seen, end = x.until(c, "")
	if e := x.lastEvent(); e.Units == 0 || e.Charge != e.Units*200 || e.Charge > e.Hold || e.Outcome != "completed" && e.Outcome != "cut" {
		t.Errorf("%d %s %+v", end, seen, e)
	}
}

// TestSessionOfADeadProcess finds the OPEN of a session without its CLOSE, as a killed process leaves it: what was reported
// is charged. The other process here is another that starts on a copy of the first's files.
func TestSessionOfADeadProcess(t *testing.T) {
	needs(t, "pocketsphinx_batch")
	x := startDemo(t, nil)
	c := x.dial("/v1/audio/stream?model=speech&max_seconds=10")
	x.send(c, `{"type":"start","sample_rate":16000}`, pcm(0.5), pcm(0.5))
	x.until(c, "ready")
	waitFor(t, "the report to be in the spool", func() bool {
		config := *x.Config
		config.Data = filepath.Join(t.TempDir(), "copy")
		config.Database = ""
		if err := os.CopyFS(config.Data, os.DirFS(x.Config.Data)); err != nil {
			t.Fatal(err)
		}
		if err := config.Complete(); err != nil {
			t.Fatal(err)
		}
		app, err := New(t.Context(), &config, io.Discard, io.Discard)
		if err != nil {
			t.Log(err)
			return false // the files were copied in the middle of a change
		}
		defer func() {
			if err := app.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if err := app.Settler.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, _, err := app.Meter.List(t.Context(), meter.Filter{}, "", 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 && (list[0].Charge != list[0].Units*second/1000 || list[0].Outcome == "completed") {
			t.Fatalf("%+v", list[0])
		}
		return len(list) == 1 && list[0].Units == 1000
	})
	x.send(c, `{"type":"stop"}`)
	x.until(c, "")
}
