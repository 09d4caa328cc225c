package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func env(kv map[string]string) func(string) string { return func(k string) string { return kv[k] } }

func TestTracerIsOptIn(t *testing.T) {
	for name, kv := range map[string]map[string]string{
		"not configured": {},
		"disabled":       {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
		"no exporter":    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
	} {
		if tr, err := NewTracer(t.Context(), TraceOptions{Getenv: env(kv)}); tr != nil || err != nil {
			t.Errorf("%s: %v %v", name, tr, err)
		}
	}
	_, err := NewTracer(t.Context(), TraceOptions{Endpoint: "http://127.0.0.1:1",
		Getenv: env(map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})})
	if !problem.Is(err, problem.Invalid) {
		t.Error(err)
	}
}

func TestNilTracerPassesTheTraceOn(t *testing.T) {
	var tr *Tracer
	parent := sample().Trace
	var e Event
	s := tr.Start(&e, parent)
	s.Attempt("acme", "tgt_1", OK, time.Time{}, time.Time{})
	s.End(&e)
	if e.Trace != parent || tr.Close(t.Context()) != nil {
		t.Fatal(e.Trace)
	}
}

// A sampled parent is continued over OTLP/HTTP, an unsampled one is not recorded but still named.
func TestSpansArriveByOTLP(t *testing.T) {
	got := make(chan *coltrace.ExportTraceServiceRequest, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var req coltrace.ExportTraceServiceRequest
		if r.URL.Path != "/v1/traces" || r.Header.Get("x-token") != "t" || proto.Unmarshal(body, &req) != nil {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		got <- &req
	}))
	defer srv.Close()
	tr, err := NewTracer(t.Context(), TraceOptions{Endpoint: srv.URL + "/v1/traces", Headers: map[string]string{"x-token": "t"},
		Version: "1", Getenv: env(nil)})
	if err != nil {
		t.Fatal(err)
	}
	parent := sample().Trace
	unsampled := parent
	unsampled.Flags = 0
	e := sample()
	tr.Start(e, unsampled).End(e)
	if e.Trace.TraceID != parent.TraceID || e.Trace.SpanID == parent.SpanID || e.Trace.Sampled() {
		t.Fatalf("unsampled: %+v", e.Trace)
	}
	e = sample()
	s := tr.Start(e, parent)
	s.Attempt("acme", "tgt_0", Timeout, e.Time, e.Time.Add(time.Second))
	s.End(e)
	if err := tr.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	spans := (<-got).ResourceSpans[0].ScopeSpans[0].Spans
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	attempt, root := spans[0], spans[1]
	if root.Name != "POST openai" || [16]byte(root.TraceId) != parent.TraceID || [8]byte(root.ParentSpanId) != parent.SpanID ||
		[8]byte(attempt.ParentSpanId) != e.Trace.SpanID || [8]byte(root.SpanId) != e.Trace.SpanID {
		t.Errorf("%v", spans)
	}
	if d := root.EndTimeUnixNano - root.StartTimeUnixNano; d != uint64(e.Duration) {
		t.Errorf("duration %d", d)
	}
	found := false
	for _, a := range root.Attributes {
		found = found || a.Key == "gen_ai.usage.input_tokens" && a.Value.GetIntValue() == 100
	}
	if !found {
		t.Error("no token usage")
	}
}
