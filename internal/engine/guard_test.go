package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestGuard(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	broken := errors.New("broken")
	if err := Guard(log, "a test", func() error { return broken }); err != broken || out.Len() > 0 {
		t.Errorf("%v, logged %q", err, out.String())
	}
	err := Guard(log, "a test", func() error { panic("beyond repair") })
	if problem.As(err).ID != "engine.panicked" || !strings.Contains(out.String(), "beyond repair") || !strings.Contains(out.String(), "guard_test.go") {
		t.Errorf("%v, logged %q", err, out.String())
	}
}
