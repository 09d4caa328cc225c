package server

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// sellRoute puts a product with one capability on sale, answered by a server that is up until the test ends.
func (x *testApp) sellRoute(name string, dialect catalog.Dialect, c catalog.Capability, meter string, answer http.HandlerFunc) {
	x.t.Helper()
	up := httptest.NewServer(answer)
	x.t.Cleanup(up.Close)
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		return x.offer(tx, o, catalog.UpstreamInput{Name: name, URL: up.URL + "/v1", Dialect: dialect}, secret.Text{},
			catalog.ProductInput{Name: name, Model: name, Capabilities: []catalog.Capability{c}}, "theirs", usd+unit(meter, "0.001", 1))
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

func asJSON(r *http.Request) { r.Header.Set("Content-Type", "application/json") }

// TestLargerModelBehindAnEngine has the platform's own engine ask an upstream.
func TestLargerModelBehindAnEngine(t *testing.T) {
	x := startDemo(t, nil)
	x.sellRoute("flask", catalog.Flask, catalog.Translate, rating.MeterCharacters, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(body), "refuse"):
			w.WriteHeader(422)
			io.WriteString(w, `{"detail":"no"}`)
		case strings.Contains(string(body), "dead"):
			w.WriteHeader(500)
		default: // in pieces
			io.WriteString(w, `{"translation":"guten `)
			w.(http.Flusher).Flush()
			io.WriteString(w, `Tag"}`)
		}
	})
	for _, path := range []string{"/v1/translate", "/libre/translate"} {
		body := func(text string) string {
			return `{"model":"flask","text":"` + text + `","q":"` + text + `","source":"en","target":"de"}`
		}
		a := x.post(path, x.key, body("hello"), asJSON)
		if a.status != 200 || strings.Contains(string(a.body), `"translation":`) || strings.Count(string(a.body), "guten Tag") != 1 {
			t.Fatalf("%s: %d %.200s", path, a.status, a.body)
		}
		if e := x.event(a.id()); e.Units != 5000 || e.Charge != 5e6 {
			t.Errorf("%s: %d units, %d", path, e.Units, e.Charge)
		}
		a = x.post(path, x.key, body("refuse"), asJSON)
		if a.status != 400 || !strings.Contains(string(a.body), "refused the request with status 422") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if e := x.event(a.id()); e.Charge != 0 || e.Status != 400 || e.Outcome != "failed" {
			t.Errorf("%s: %+v", path, e)
		}
	}
	for range 20 { // an engine in between does not hide that an upstream is ill
		x.post("/libre/translate", x.key, `{"model":"flask","q":"dead","source":"en","target":"de"}`, asJSON)
	}
	ill := false
	for _, s := range x.Gateway.States() {
		ill = ill || s.Circuit != "closed"
	}
	if !ill {
		t.Error("twenty failures, and the upstream is well")
	}
}

// TestForwardedRoute sends what an upstream might read otherwise than the gateway.
func TestForwardedRoute(t *testing.T) {
	x := startDemo(t, nil)
	asked := 0
	x.sellRoute("theirs", catalog.Contract, catalog.Translate, rating.MeterCharacters, func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "dear") {
			io.WriteString(w, `{"translations":[{"text":"x"}],"usage":{"characters":900}}`)
			return
		}
		if r.Method == "GET" {
			io.WriteString(w, strconv.Quote(r.URL.RawQuery))
			return
		}
		io.WriteString(w, `{"translations":[{"text":"x"}],"usage":{"characters":2.5}}`)
	})
	// One that claims more than was held for gets what was held, and the record says so.
	a := x.post("/v1/translate", x.key, `{"model":"theirs","text":"dear","target":"de"}`, asJSON)
	if e := x.event(a.id()); a.status != 200 || e.Units != 900_000 || e.Charge != e.Hold || e.Charge > 5e6 || e.Excess == 0 {
		t.Errorf("%d %s %+v", a.status, a.body, e)
	}
	if a := x.get("/v1/translate/languages?model=theirs&a=b", x.key); a.status != 200 || string(a.body) != `"a=b&model=theirs"` {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = x.post("/v1/translate", x.key, `{"model":"theirs","text":"hello","target":"de"}`, asJSON)
	if e := x.event(a.id()); a.status != 200 || e.Units != 3000 || e.Charge != 3e6 {
		t.Errorf("%d %s %+v", a.status, a.body, e)
	}
	before := asked
	for _, body := range []string{
		`{"model":"theirs","text":"a long text","Text":"x","target":"de"}`,
		`{"model":"theirs","text":"x","te\u0078t":"y","target":"de"}`,
		`{"model":"theirs","model":"dearer","text":"x","target":"de"}`,
		`{"model":"theirs","m\u006fdel":"dearer","text":"x","target":"de"}`,
	} {
		if a := x.post("/v1/translate", x.key, body, asJSON); a.status != 400 || !strings.Contains(string(a.body), "gateway.field_twice") {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	for _, id := range []string{"%2e%2e", "%2e%2e%2fadmin", `..%5cadmin`} {
		if a := x.get("/v1/translate/glossaries/"+id+"?model=theirs", x.key); a.status != 404 {
			t.Errorf("%s: %d %s", id, a.status, a.body)
		}
	}
	if asked != before {
		t.Errorf("the upstream was asked %d times", asked-before)
	}
}

// TestNoSuchRoute: what there is not is told in the style of what there is around it.
func TestNoSuchRoute(t *testing.T) {
	x := startDemo(t, nil)
	for _, c := range []struct {
		method, path, key, allow string
		status                   int
		body                     string // how it begins
	}{
		{"GET", "/v1/chat/completions", x.key, "POST", 405, `{"error":{"message":"/v1/chat/completions is called with POST, not with GET"`},
		{"GET", "/v1/nothing", x.key, "", 404, `{"error":{"message":"there is no GET /v1/nothing`},
		{"GET", "/v1/translate", x.key, "POST", 405, `{"type":"about:blank","title":"Method Not Allowed","status":405`},
		{"PUT", "/v1/translate/glossaries/x", x.key, "GET, PATCH, DELETE", 405, `{"type":`},
		{"POST", "/v1/text/nosuch", x.key, "", 404, `{"type":"about:blank","title":"Not Found"`},
		{"POST", "/libre/translate_file", x.key, "", 404, `{"error":"there is no`},
		{"GET", "/translate", "", "POST", 405, `{"error":"/translate is called with POST, not with GET"}`},
		{"GET", "/translate", "wrong", "", 401, `{"error":"`},
		{"GET", "/v2/translate", x.key, "POST", 405, `{"message":"`},
		{"GET", "/v1/audio/stream", x.key, "", 400, `{"error":{"message":"this path is a WebSocket session`},
		{"POST", "/v1/text/generate", x.key, "", 503, `{"type":"about:blank","title":"Service Unavailable"`}, // for ever: no Retry-After
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, x.url+c.path, strings.NewReader(`{"prompt":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		asJSON(r)
		if c.key != "" {
			r.Header.Set("Authorization", "Bearer "+c.key)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow || !strings.HasPrefix(string(body), c.body) || resp.Header.Get("Retry-After") != "" {
			t.Errorf("%s %s: %d %v %s %v", c.method, c.path, resp.StatusCode, resp.Header, body, err)
		}
	}
}

// TestWhatIsNoAnswer: what an upstream tells as a success, and is none, costs nothing and counts against it.
func TestWhatIsNoAnswer(t *testing.T) {
	x := startDemo(t, nil)
	kind, answer := "", ""
	upstream := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, answer)
	}
	x.sellRoute("words", catalog.Contract, catalog.Translate, rating.MeterCharacters, upstream)
	x.sellRoute("pictures", catalog.OpenAI, catalog.Image, rating.MeterImages, upstream)
	x.sellRoute("voice", catalog.OpenAI, catalog.Speak, rating.MeterCharacters, upstream)
	const js = "application/json"
	for _, c := range []struct {
		path, model, kind, answer string
		units                     int64 // 0: it is no answer
	}{
		{"/v1/translate", "words", js, `{"translations":[{"text":"x"}]}`, 5000},
		{"/v1/translate", "words", "text/plain", `{"translations":[{"text":"x"}]}`, 5000}, // badly labelled
		{"/v1/translate", "words", js, `{"foo":1}`, 0},
		{"/v1/translate", "words", js, `{"translations":null}`, 0},
		{"/v1/translate", "words", js, `{"translations":[],"error":{"message":"no"}}`, 0},
		{"/v1/translate", "words", js, `[1]`, 0},
		{"/v1/translate", "words", js, "", 0},
		{"/v1/translate", "words", "text/html", "<html>busy</html>", 0},
		{"/v1/translate", "words", "text/plain", "busy", 0},
		{"/v1/images/generations", "pictures", js, `{"created":1,"data":[{"url":"https://x/1"},{"url":"https://x/2"}]}`, 2000},
		{"/v1/images/generations", "pictures", js, `{"created":1,"data":[{"url":"https://x/1"}]}`, 1000}, // fewer than asked for
		{"/v1/images/generations", "pictures", js, `{"created":1,"data":[]}`, 0},
		{"/v1/images/generations", "pictures", js, `{"error":{"message":"policy"}}`, 0},
		{"/v1/audio/speech", "voice", "audio/mpeg", "ID3", 5000},
		{"/v1/audio/speech", "voice", js, `{"error":null}`, 0},
		{"/v1/audio/speech", "voice", "text/html", "<html>", 0},
	} {
		kind, answer = js, `{"translations":[],"data":[{}],"audio":""}`
		for range 3 { // a target that fails all the time is asked no more
			x.post(c.path, x.key, `{"model":"`+c.model+`","text":"hello","target":"de","prompt":"a cat","input":"hello","voice":"alloy"}`, asJSON)
		}
		kind, answer = c.kind, c.answer
		a := x.post(c.path, x.key, `{"model":"`+c.model+`","text":"hello","target":"de","prompt":"a cat","n":2,"input":"hello","voice":"alloy"}`, asJSON)
		e := x.event(a.id())
		if c.units != 0 && (a.status != 200 || e.Units != c.units || e.Charge != c.units*1e3) {
			t.Errorf("%s %s: %d %s, %d units, %d", c.path, c.answer, a.status, a.body, e.Units, e.Charge)
		}
		if c.units == 0 && (a.status != 502 || e.Charge != 0 || e.Outcome != "failed") {
			t.Errorf("%s %s %q: %d %s, %s, %d", c.path, c.kind, c.answer, a.status, a.body, e.Outcome, e.Charge)
		}
	}
}

// TestClientLeavesForwardedStream leaves in the middle of another server's stream.
func TestClientLeavesForwardedStream(t *testing.T) {
	x := startDemo(t, nil)
	left := make(chan struct{})
	x.sellRoute("streams", catalog.Contract, catalog.Translate, rating.MeterCharacters, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(left)
	})
	body := `{"model":"streams","text":"hello","target":"de","stream":true}`
	c := x.raw("POST /v1/translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer " + x.key + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	if _, err := resp.Body.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-left
	waitFor(t, "the call to end", func() bool { return x.Spool.Inflight() == 0 })
	if e := x.event(resp.Header.Get("X-Request-Id")); e.Outcome != "client_gone" || e.Charge != 5e6 {
		t.Errorf("%+v", e)
	}
}

// TestBrokenForwardedStream has another server's stream break off: the client is told so in the words of the route.
func TestBrokenForwardedStream(t *testing.T) {
	x := startDemo(t, nil)
	x.sellRoute("breaks", catalog.Contract, catalog.Translate, rating.MeterCharacters, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {}\n\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	a := x.post("/v1/translate", x.key, `{"model":"breaks","text":"hello","target":"de","stream":true}`, asJSON)
	_, told, ok := strings.Cut(string(a.body), "event: error\ndata: ")
	if a.err == nil || !ok || !strings.Contains(told, `"request_id":"`+a.id()) || !strings.Contains(told, `"status":502`) {
		t.Errorf("%v %s", a.err, a.body)
	}
	if e := x.event(a.id()); e.Outcome != "upstream_lost" || e.Charge != 5e6 {
		t.Errorf("%+v", e)
	}
}

// TestStopWaitsForSessions opens a session, and has the front wait until its client closes it.
func TestStopWaitsForSessions(t *testing.T) {
	x := startDemo(t, nil)
	c, _, err := websocket.Dial(t.Context(), x.url+"/v1/audio/stream?model=speech", &websocket.DialOptions{Subprotocols: []string{"tollgate", "tollgate-key." + x.key}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := x.Front.Idle(soon); err == nil {
		t.Error("idle with a session open")
	}
	go c.Close(websocket.StatusNormalClosure, "")
	if err := x.Front.Idle(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNoUpgradeNoCharge asks for a session in a version of WebSocket that there is not.
func TestNoUpgradeNoCharge(t *testing.T) {
	x := startDemo(t, nil)
	a := x.get("/v1/audio/stream?model=speech", x.key, func(r *http.Request) {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "12")
	})
	if a.status == 200 || a.status >= 500 {
		t.Fatal(a.status, string(a.body))
	}
	if !strings.HasPrefix(a.id(), "evt_") {
		t.Errorf("the refusal has no id: %v", a.header)
	}
	x.flush()
	list, _, err := x.Meter.List(t.Context(), meter.Filter{}, "", 1)
	if err != nil || len(list) != 1 || list[0].Charge != 0 || list[0].Units != 0 || list[0].Outcome != "failed" {
		t.Errorf("%v %+v", err, list)
	}
}

// TestFreeTierPaysNobodyElse names another provider's product without a key.
func TestFreeTierPaysNobodyElse(t *testing.T) {
	x := startDemo(t, nil)
	asked := false
	x.sellRoute("greedy", catalog.Flask, catalog.Translate, rating.MeterCharacters, func(w http.ResponseWriter, r *http.Request) {
		asked = true
		io.WriteString(w, `{"translation":"x"}`)
	})
	const rest = `"text":"good morning","sourceLanguage":"en","targetLanguage":"zh"}`
	if a := x.post("/translate", "", `{"model":"greedy",`+rest, asJSON); a.status != 403 || asked {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := x.post("/translate", "", `{`+rest, asJSON); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestStopTellsSessions stops the gateway while a session is open: its client is told to come back, not cut off.
func TestStopTellsSessions(t *testing.T) {
	x := startDemo(t, nil)
	c, _, err := websocket.Dial(t.Context(), x.url+"/v1/audio/stream?model=speech", &websocket.DialOptions{Subprotocols: []string{"tollgate", "tollgate-key." + x.key}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	stopped := make(chan error, 1)
	go func() { stopped <- x.Front.Break(t.Context()) }()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("the client saw %v", err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	x.flush()
	list, _, err := x.Meter.List(t.Context(), meter.Filter{}, "", 1)
	if err != nil || len(list) != 1 || list[0].Charge != 0 || list[0].Units != 0 {
		t.Errorf("%v %+v", err, list)
	}
}
