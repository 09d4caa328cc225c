package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/settle"
)

// testApp is the whole product in this process, selling a fake upstream's models.
type testApp struct {
	*demo
	t    *testing.T
	fake *fakeupstream.Server
	url  string
	key  string
}

// startApp builds, seeds and serves the product on a loopback port until the test ends, when it checks the book. Only a
// language model is on sale: startDemo sells the capabilities, too.
func startApp(t *testing.T, change func(*Config)) *testApp {
	t.Helper()
	return start(t, change, func(d *demo) error { return errors.Join(d.parties(t.Context()), d.ready(t.Context())) })
}

// startDemo is startApp with all that the demo sells.
func startDemo(t *testing.T, change func(*Config)) *testApp {
	t.Helper()
	return start(t, change, func(d *demo) error { return d.seed(t.Context()) })
}

func start(t *testing.T, change func(*Config), seed func(*demo) error) *testApp {
	t.Helper()
	fake := &fakeupstream.Server{}
	up := httptest.NewServer(fake)
	t.Cleanup(up.Close)
	c := &Config{Data: t.TempDir(), UpstreamAllow: []string{"loopback"}, Log: Log{Level: "error"}, Engines: "none"}
	if change != nil {
		change(c)
	}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	a, err := New(ctx, c, testWriter{t}, testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	d := &demo{App: a, upstream: up.URL + "/v1"}
	if err := seed(d); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv, ln, err := a.httpServer(ln)
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	x := &testApp{demo: d, t: t, fake: fake, url: "http://" + ln.Addr().String(), key: d.env["TOLLGATE_KEY"]}
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := srv.Shutdown(stop); err != nil {
			t.Error(err)
		}
		x.flush()
		x.verify()
		if err := a.Stop(stop); err != nil {
			t.Error(err)
		}
		if err := a.Stop(stop); err != nil {
			t.Error("stopping twice:", err)
		}
	})
	return x
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (x *testApp) flush() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := x.Settler.Flush(ctx); err != nil {
		x.t.Fatal(err)
	}
}

func (x *testApp) verify() {
	x.t.Helper()
	r, err := settle.Verify(context.Background(), x.DB)
	if err != nil {
		x.t.Fatal(err)
	}
	if !r.OK {
		x.t.Errorf("the book does not add up: %v", r.Faults)
	}
	if n := x.Spool.Inflight(); n != 0 {
		x.t.Errorf("%d calls were never closed", n)
	}
}

// answer is what a call gave.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of reading the body: a stream that was aborted
}

func (a answer) id() string { return a.header.Get("X-Request-Id") }

// code is the error's code in the OpenAI dialect.
func (a answer) code() string {
	var v struct {
		Error struct{ Code, Message, Type string } `json:"error"`
	}
	json.Unmarshal(a.body, &v)
	return v.Error.Code
}

func (x *testApp) post(path, key, body string, change ...func(*http.Request)) answer {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), "POST", x.url+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	return x.do(r, key, change...)
}

func (x *testApp) get(path, key string, change ...func(*http.Request)) answer {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), "GET", x.url+path, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.do(r, key, change...)
}

func (x *testApp) do(r *http.Request, key string, change ...func(*http.Request)) answer {
	x.t.Helper()
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for _, f := range change {
		f(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body, err}
}

func (x *testApp) chat(model, rest string) answer {
	x.t.Helper()
	return x.post("/v1/chat/completions", x.key, `{"model":"`+model+`",`+rest+`"messages":[{"role":"user","content":"Say something."}]}`)
}

// event is the settled record of a call.
func (x *testApp) event(id string) meter.Event {
	x.t.Helper()
	x.flush()
	e, err := x.Meter.Get(x.t.Context(), id)
	if err != nil {
		x.t.Fatal(id, err)
	}
	return e
}

// events are the data lines of a stream.
func events(body []byte) []string {
	var list []string
	s := bufio.NewScanner(bytes.NewReader(body))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if v, ok := strings.CutPrefix(s.Text(), "data: "); ok {
			list = append(list, v)
		}
	}
	return list
}

// waitFor polls until ok, which something else makes true in a moment.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("waited in vain for: " + what)
		}
	}
}

func TestGoldenSchemaIsMigratedTwice(t *testing.T) {
	ctx := t.Context()
	d, err := db.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "x.db"), db.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 {
		if err := d.Migrate(ctx, migrations()...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	x := startApp(t, nil)
	_, err := New(t.Context(), x.Config, io.Discard, io.Discard)
	if !problem.Is(err, problem.Conflict) {
		t.Fatal(err)
	}
}
