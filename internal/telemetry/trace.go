package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// TraceOptions says where spans go. The standard variables OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER,
// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES fill what is left empty.
type TraceOptions struct {
	Endpoint string            // URL of an OTLP/HTTP receiver, "http://collector:4318/v1/traces"; empty: as the environment says
	Headers  map[string]string // sent along, for the receiver's credentials
	Ratio    float64           // share of the traces begun here that are recorded; zero means all
	Version  string            // of Tollgate
	Getenv   func(string) string
	Log      *slog.Logger // told, at most once a minute, that spans were lost
}

// Tracer records a span for each sampled request and sends them behind the requests. Safe for
// concurrent use; a nil *Tracer records nothing and costs nothing.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// NewTracer returns nil when no receiver is configured, or OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER
// switches traces off. A protocol other than OTLP over HTTP is an Invalid problem.
func NewTracer(ctx context.Context, o TraceOptions) (*Tracer, error) {
	env := func(names ...string) string {
		for _, n := range names {
			if v := o.Getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	if o.Endpoint == "" && env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") == "" ||
		env("OTEL_SDK_DISABLED") == "true" || env("OTEL_TRACES_EXPORTER") == "none" {
		return nil, nil
	}
	if p := env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" {
		return nil, problem.New(problem.Invalid, "telemetry.otlp_protocol",
			"OTLP protocol %q is not supported, use http/protobuf", p)
	}
	var eo []otlptracehttp.Option
	if o.Endpoint != "" {
		eo = append(eo, otlptracehttp.WithEndpointURL(o.Endpoint))
	}
	if len(o.Headers) > 0 {
		eo = append(eo, otlptracehttp.WithHeaders(o.Headers))
	}
	exporter, err := otlptracehttp.New(ctx, eo...)
	if err != nil {
		return nil, problem.New(problem.Invalid, "telemetry.otlp", "OTLP exporter: %s", err.Error()).Because(err)
	}
	res, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(attribute.String("service.name", "tollgate"), attribute.String("service.version", o.Version)),
		resource.WithFromEnv())
	if err != nil {
		return nil, problem.New(problem.Invalid, "telemetry.otlp", "OTLP exporter: %s", err.Error()).Because(err)
	}
	po := []sdk.TracerProviderOption{sdk.WithResource(res), sdk.WithBatcher(&quiet{SpanExporter: exporter, log: o.Log})}
	if env("OTEL_TRACES_SAMPLER") == "" {
		ratio := o.Ratio
		if ratio == 0 {
			ratio = 1
		}
		po = append(po, sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(ratio))))
	}
	p := sdk.NewTracerProvider(po...)
	return &Tracer{provider: p, tracer: p.Tracer("tollgate")}, nil
}

// Close sends what waits, within ctx.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Span is the span of one request; its zero value records nothing.
type Span struct {
	ctx  context.Context
	span trace.Span
}

// Start opens the span of e under parent (invalid: a new trace) and puts into e.Trace the context
// that upstreams are to be told. Without a tracer that is parent itself, so that a client's trace
// still joins its own ends and the request's line names it.
func (t *Tracer) Start(e *Event, parent TraceContext) Span {
	if t == nil {
		e.Trace = parent
		return Span{}
	}
	ctx := context.Background()
	if parent.Valid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: parent.TraceID, SpanID: parent.SpanID, TraceFlags: trace.TraceFlags(parent.Flags), Remote: true}))
	}
	ctx, span := t.tracer.Start(ctx, e.Method+" "+e.Dialect.String(),
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(e.Time))
	sc := span.SpanContext()
	e.Trace = TraceContext{TraceID: sc.TraceID(), SpanID: sc.SpanID(), Flags: byte(sc.TraceFlags())}
	if !span.IsRecording() {
		return Span{}
	}
	return Span{ctx, span}
}

// Attempt records one finished attempt at an upstream as a child.
func (s Span) Attempt(upstream, target string, o Outcome, start, end time.Time) {
	if s.span == nil {
		return
	}
	_, a := s.span.TracerProvider().Tracer("tollgate").Start(s.ctx, "attempt", trace.WithTimestamp(start),
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
			attribute.String("tollgate.upstream", upstream), attribute.String("tollgate.target", target),
			attribute.String("tollgate.outcome", o.String())))
	if o != OK && o != ClientGone {
		a.SetStatus(codes.Error, o.String())
	}
	a.End(trace.WithTimestamp(end))
}

// End closes the span with what e has come to know.
func (s Span) End(e *Event) {
	if s.span == nil {
		return
	}
	in := e.Tokens[Input] + e.Tokens[CachedInput] + e.Tokens[CacheWrite] + e.Tokens[AudioInput]
	out := e.Tokens[Output] + e.Tokens[Reasoning] + e.Tokens[AudioOutput]
	s.span.SetAttributes(
		attribute.String("http.request.method", e.Method), attribute.String("url.path", e.Path),
		attribute.Int("http.response.status_code", e.Status),
		attribute.String("gen_ai.request.model", e.Model),
		attribute.Int64("gen_ai.usage.input_tokens", in), attribute.Int64("gen_ai.usage.output_tokens", out),
		attribute.Int64("gen_ai.usage.cache_read.input_tokens", e.Tokens[CachedInput]),
		attribute.String("tollgate.request_id", e.ID), attribute.String("tollgate.organisation", e.Org),
		attribute.String("tollgate.product", e.Product), attribute.String("tollgate.outcome", e.Outcome.String()),
		attribute.Bool("tollgate.stream", e.Stream), attribute.Int("tollgate.attempts", e.Attempts),
		attribute.String("tollgate.charge", string(appendNano(nil, e.ChargeNano))),
		attribute.String("tollgate.currency", e.Currency))
	if e.Status >= 500 {
		s.span.SetStatus(codes.Error, e.Outcome.String())
	}
	s.span.End(trace.WithTimestamp(e.Time.Add(e.Duration)))
}

// quiet keeps export failures from the SDK's global error handler and tells the logger instead.
type quiet struct {
	sdk.SpanExporter
	log  *slog.Logger
	last atomic.Int64
}

// ExportSpans implements sdk.SpanExporter. Lost spans are not an error of the request.
func (q *quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil || q.log == nil {
		return nil
	}
	now := time.Now().Unix()
	if last := q.last.Load(); now-last >= 60 && q.last.CompareAndSwap(last, now) {
		q.log.Warn("traces lost", "spans", len(spans), "error", err)
	}
	return nil
}
