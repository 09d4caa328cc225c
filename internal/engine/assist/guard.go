package assist

import (
	"runtime/debug"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// guard runs f where no call stands above it: a panic becomes an error, is logged with its stack, and ends nothing else.
func (e *Engine) guard(where string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			e.log.Error("the customer service engine panicked", "where", where, "panic", p, "stack", string(debug.Stack()))
			err = problem.New(problem.Internal, "assist.panicked", "customer service failed; try again, and tell the operator if it stays so")
		}
	}()
	return f()
}
