package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestMetricsAreGuarded(t *testing.T) {
	const other = "10.9.0.0/16"
	from := func(addr string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Forwarded-For", addr) }
	}
	bearer := func(token string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		call   []func(*http.Request)
		want   int
	}{
		{"default: loopback", func(*Config) {}, nil, 200},
		{"default, with somebody's key", func(*Config) {}, []func(*http.Request){bearer("sk-tg-inf-x")}, 200},
		{"another network", func(c *Config) { c.Metrics.Networks = []string{other} }, nil, 403},
		{"another network, claimed", func(c *Config) { c.Metrics.Networks = []string{other} }, []func(*http.Request){from("10.9.1.1")}, 403},
		{"another network, through a trusted proxy", func(c *Config) {
			c.Metrics.Networks, c.TrustedProxies = []string{other}, []string{"loopback"}
		}, []func(*http.Request){from("10.9.1.1")}, 200},
		{"elsewhere through a trusted proxy", func(c *Config) { c.TrustedProxies = []string{"loopback"} }, []func(*http.Request){from("8.8.8.8")}, 403},
		{"claimed through a trusted proxy", func(c *Config) { c.TrustedProxies = []string{"loopback"} }, []func(*http.Request){from("127.0.0.1, 8.8.8.8")}, 403},
		{"token", func(c *Config) { c.Metrics = Metrics{Networks: []string{other}, Token: "scrape-me"} }, []func(*http.Request){bearer("scrape-me")}, 200},
		{"wrong token", func(c *Config) { c.Metrics = Metrics{Networks: []string{other}, Token: "scrape-me"} }, []func(*http.Request){bearer("scrape-m")}, 403},
		{"empty token", func(c *Config) { c.Metrics = Metrics{Networks: []string{other}} }, []func(*http.Request){bearer("")}, 403},
		{"nobody", func(c *Config) { c.Metrics.Networks = []string{} }, nil, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := startApp(t, c.change)
			r, err := http.NewRequestWithContext(t.Context(), "GET", x.url+"/metrics", nil)
			if err != nil {
				t.Fatal(err)
			}
			a := x.do(r, "", c.call...)
			if a.status != c.want || (a.status == 200) != bytes.Contains(a.body, []byte("tollgate_requests_total")) {
				t.Errorf("%d %.200s", a.status, a.body)
			}
		})
	}
}

// TestMetricsDoNotGrow: what callers write never becomes a label.
func TestMetricsDoNotGrow(t *testing.T) {
	x := startApp(t, nil)
	series := func() (n int) {
		for line := range strings.Lines(string(x.get("/metrics", "").body)) {
			if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
				n++
			}
		}
		return n
	}
	call := func(i int) {
		x.chat(fmt.Sprintf("no-such-model-%d", i), "")
		x.post("/v1/chat/completions", fmt.Sprintf("sk-tg-inf-%d", i), `{}`)
		x.get(fmt.Sprintf("/v1/path-%d", i), x.key)
		x.chat("fake", fmt.Sprintf(`"user":"u%d",`, i))
	}
	call(0)
	x.flush()
	before := series()
	for i := range 50 {
		call(i + 1)
	}
	x.flush()
	if after := series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestProfilesAreForThisMachine(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:6060", ":6060", "192.0.2.1:6060", "localhost:6060", "[::]:6060", "6060"} {
		c := &Config{Data: t.TempDir(), Pprof: addr}
		if err := c.Complete(); !problem.Is(err, problem.Invalid) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	free := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	c := &Config{Listen: free(), Pprof: free(), Data: t.TempDir(), Log: Log{Level: "error", Requests: "off"}, Drain: time.Second}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	a, err := New(ctx, c, io.Discard, testWriter{t})
	if err != nil {
		t.Fatal(err)
	}
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- a.Run(ctx, func() error { close(ready); return nil }) }()
	<-ready
	status := func(url string) int {
		r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	waitFor(t, "the profiles", func() bool { return status("http://"+c.Pprof+"/debug/pprof/goroutine?debug=1") == 200 })
	if got := status("http://" + c.Listen + "/debug/pprof/"); got != 404 {
		t.Errorf("the public port answers %d", got)
	}
	if got := status("http://" + c.Pprof + "/metrics"); got != 404 {
		t.Errorf("the port of profiles answers %d for something else", got)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// receiver is an OTLP collector.
type receiver struct {
	mu    sync.Mutex
	spans []*tracev1.Span // guarded by mu
	from  []string        // guarded by mu: service.name of each
}

func (c *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(r.Body)
	}
	data, err := io.ReadAll(body)
	var m coltrace.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(data, &m) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, rs := range m.ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			c.spans = append(c.spans, ss.Spans...)
		}
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.name" {
				c.from = append(c.from, a.Value.GetStringValue())
			}
		}
	}
}

func attributes(s *tracev1.Span) map[string]string {
	m := map[string]string{}
	for _, a := range s.Attributes {
		v := a.Value.GetStringValue()
		if v == "" {
			v = fmt.Sprint(a.Value.GetIntValue())
		}
		m[a.Key] = v
	}
	return m
}

// TestTraces: a call continues its client's trace, tells the upstream, and its spans arrive at the receiver.
func TestTraces(t *testing.T) {
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	c := &receiver{}
	otlp := httptest.NewServer(c)
	t.Cleanup(otlp.Close) // after the product has stopped
	told := make(chan string, 10)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("Traceparent")
		io.WriteString(w, `{"id":"x","choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`)
	}))
	t.Cleanup(up.Close)
	var id string
	t.Run("product", func(t *testing.T) {
		x := startApp(t, func(cfg *Config) {
			cfg.Traces.Endpoint = otlp.URL + "/v1/traces"
			none := time.Duration(0)
			cfg.Upstream.WatchModels = &none
		})
		x.manage(201, "PROVIDER", "POST", "/organisations/demo-provider/upstreams", `{"name":"traced","url":"`+up.URL+`/v1"}`)
		price, err := card()
		if err != nil {
			t.Fatal(err)
		}
		key := x.sellAt("traced-product", "traced", "m", price)
		call := func(flags string) string {
			a := x.post("/v1/chat/completions", key, `{"model":"traced-product","messages":[]}`, func(r *http.Request) {
				r.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-"+flags)
			})
			if a.status != 200 {
				t.Fatal(a.status, string(a.body))
			}
			return a.id()
		}
		id = call("01")
		if got := <-told; !strings.HasPrefix(got, "00-"+trace+"-") || strings.Contains(got, parent) || !strings.HasSuffix(got, "-01") {
			t.Errorf("the upstream was told %q", got)
		}
		call("00") // not sampled by the client
		if got := <-told; !strings.HasPrefix(got, "00-"+trace+"-") || !strings.HasSuffix(got, "-00") {
			t.Errorf("the upstream was told %q", got)
		}
	}) // stopping sends what waits
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 2 || len(c.from) == 0 || c.from[0] != "tollgate" {
		t.Fatalf("%d spans from %v", len(c.spans), c.from)
	}
	var request, attempt *tracev1.Span
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) != trace {
			t.Errorf("a span of another trace: %x", s.TraceId)
		}
		if s.Kind == tracev1.Span_SPAN_KIND_SERVER {
			request = s
		} else {
			attempt = s
		}
	}
	if request == nil || attempt == nil || hex.EncodeToString(request.ParentSpanId) != parent || !bytes.Equal(attempt.ParentSpanId, request.SpanId) {
		t.Fatalf("%v", c.spans)
	}
	got := attributes(request)
	for k, want := range map[string]string{"tollgate.request_id": id, "gen_ai.request.model": "traced-product", "gen_ai.usage.input_tokens": "3",
		"gen_ai.usage.output_tokens": "2", "http.response.status_code": "200", "tollgate.currency": "USD"} {
		if got[k] != want {
			t.Errorf("%s is %q, want %q", k, got[k], want)
		}
	}
	if a := attributes(attempt); a["tollgate.upstream"] != "traced" {
		t.Errorf("%v", a)
	}
}

// TestReceiverIsAway: a receiver that does not answer costs calls nothing, nor much at the end.
func TestReceiverIsAway(t *testing.T) {
	release := make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); stuck.Close() })
	var ended time.Time
	t.Run("product", func(t *testing.T) {
		x := startApp(t, func(cfg *Config) { cfg.Traces.Endpoint = stuck.URL + "/v1/traces" })
		if a := x.chat("fake", ""); a.status != 200 {
			t.Fatal(a.status)
		}
		ended = time.Now()
	})
	if took := time.Since(ended); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// TestOneLineARequest: each request writes one line, whatever became of it.
func TestOneLineARequest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "requests.log")
	want := map[string]string{} // outcome by id
	t.Run("product", func(t *testing.T) {
		x := startApp(t, func(c *Config) { c.Log.Requests = path })
		want[x.chat("fake", "").id()] = "ok"
		want[x.chat("fake", `"stream":true,`).id()] = "ok"
		want[x.chat("none", "").id()] = "refused"
		want[x.chat("fake-500", "").id()] = "upstream_error"
		want[x.post("/v1/chat/completions", "", `{}`).id()] = "refused"
		want[x.get("/v1/models", x.key).id()] = "ok"
	})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(data)) {
		var v struct{ Msg, ID, Outcome, Path string }
		if err := json.Unmarshal([]byte(line), &v); err != nil || v.Msg != "request" || v.Path == "" {
			t.Errorf("%v in %s", err, line)
		}
		if _, twice := got[v.ID]; twice {
			t.Errorf("two lines for %s", v.ID)
		}
		got[v.ID] = v.Outcome
	}
	for id, outcome := range want {
		if got[id] != outcome && !(outcome == "upstream_error" && got[id] != "ok" && got[id] != "") {
			t.Errorf("%s: %q, want %q", id, got[id], outcome)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d lines for %d requests", len(got), len(want))
	}
	if strings.Contains(string(data), "Say something.") || strings.Contains(string(data), "sk-tg-inf-") {
		t.Errorf("a line has content or a credential: %s", data)
	}
}
