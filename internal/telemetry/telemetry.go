// Package telemetry is what an operator sees of a running Tollgate: the log, the one line that each
// request leaves, the metrics at /metrics, and the traces sent by OTLP.
//
// An [Event] is filled by whoever knows a field while a request passes through the rooms. At its
// end, once, [Lines.Emit] writes it as one line, [Metrics.Observe] counts it, and [Span.End] closes
// its span. Nothing here knows prompts or answers, and no credential is ever a field.
//
// Invariants: neither Emit nor Observe blocks, allocates or starts a goroutine or timer; memory is
// bounded (lines that the writer cannot take are dropped and counted); the labels of every metric
// come from fixed or capped sets, with the value "other" beyond the cap.
//
// The package does not serve HTTP or decide who may read the metrics; it only makes the handler.
package telemetry

import (
	"io"
	"log/slog"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// NewLogger returns the logger of the process. level is debug, info, warn or error (default info),
// format is json or text (default json). Any other word is an Invalid problem.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if level != "" {
		if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
			return nil, problem.New(problem.Invalid, "telemetry.log_level",
				"log level %q is not one of debug, info, warn, error", level)
		}
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "", "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return nil, problem.New(problem.Invalid, "telemetry.log_format", "log format %q is not one of json, text", format)
}
