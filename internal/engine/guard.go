package engine

import (
	"log/slog"
	"runtime/debug"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Guard runs f in a goroutine of an engine's own, where no call stands above it: a panic becomes an error, is logged with its stack,
// and ends nothing else. where says what f does, for the log: "assist: erasing old sessions".
func Guard(log *slog.Logger, where string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("an engine panicked", "where", where, "panic", p, "stack", string(debug.Stack()))
			err = problem.New(problem.Internal, "engine.panicked", "the engine failed; try again, and tell the operator if it stays so")
		}
	}()
	return f()
}
