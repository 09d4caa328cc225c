package egress

import (
	"errors"
	"fmt"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Causes that callers distinguish with errors.Is. Errors of [Endpoint.Do] and [Response.Next] are
// *problem.Error of kind Upstream, Timeout, Unavailable or ClientGone that wrap at most two of them.
var (
	ErrNotSent          = errors.New("nothing was sent to the upstream") // safe to try elsewhere
	ErrCanceled         = errors.New("canceled by the caller")
	ErrTimeoutConnect   = errors.New("connect time-out")
	ErrTimeoutFirstByte = errors.New("first-byte time-out")
	ErrTimeoutIdle      = errors.New("idle time-out between bytes")
	ErrTimeoutTotal     = errors.New("total time-out")
	ErrProtocol         = errors.New("not a valid HTTP/1.1 response")
	ErrRefusedAddress   = errors.New("address refused") // by the Guard
	errClosed           = errors.New("client closed")
)

// protocol wraps a description of what was wrong with a response.
func protocol(what string) error { return fmt.Errorf("%w: %s", ErrProtocol, what) }

// notSent marks err as one before which nothing was sent.
func notSent(err error) error { return fmt.Errorf("%w: %w", ErrNotSent, err) }

func failProtocol(cause error) error {
	return problem.New(problem.Upstream, "egress.protocol", "the upstream's answer is not valid HTTP").Because(cause)
}

func failBroken(cause error) error {
	return problem.New(problem.Upstream, "egress.broken", "the connection to the upstream broke").Because(cause)
}

func failConnect(cause error) error {
	switch {
	case errors.Is(cause, ErrRefusedAddress):
		return problem.New(problem.Upstream, "egress.address_refused", "the upstream's address is not allowed").Because(notSent(cause))
	case errors.Is(cause, ErrTimeoutConnect):
		return problem.New(problem.Timeout, "egress.timeout_connect", "connecting to the upstream took too long").Because(notSent(cause))
	}
	return problem.New(problem.Upstream, "egress.connect", "could not connect to the upstream").Because(notSent(cause))
}

func failBusy() error {
	return problem.New(problem.Unavailable, "egress.busy", "too many connections to the upstream").Because(ErrNotSent)
}

func failCanceled() error {
	return problem.New(problem.ClientGone, "egress.canceled", "the caller left").Because(ErrCanceled)
}

func failRequest(what string) error {
	return problem.New(problem.Invalid, "egress.request", "the request cannot be sent").Because(notSent(errors.New(what)))
}

// failCut renders why a connection was cut.
func failCut(r reason) error {
	switch r {
	case cutCanceled:
		return failCanceled()
	case cutFirst:
		return problem.New(problem.Timeout, "egress.timeout_first_byte", "the upstream did not begin to answer in time").Because(ErrTimeoutFirstByte)
	case cutIdle:
		return problem.New(problem.Timeout, "egress.timeout_idle", "the upstream stopped answering").Because(ErrTimeoutIdle)
	case cutTotal:
		return problem.New(problem.Timeout, "egress.timeout_total", "the upstream's answer took too long").Because(ErrTimeoutTotal)
	}
	return failBroken(errClosed)
}
