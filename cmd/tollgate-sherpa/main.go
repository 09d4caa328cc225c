//go:build linux || darwin

// Command tollgate-sherpa is the child process in which Tollgate recognises speech with models of the operator's: it
// loads sherpa-onnx's shared library, reads requests on its standard input and answers on its standard output until
// that ends. It is started by the platform, not by people; it builds without a C compiler, like all of this tree:
//
//	CGO_ENABLED=0 go build ./cmd/tollgate-sherpa
package main

import (
	"os/signal"
	"syscall"

	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa/native"
)

func main() {
	// An exception of native code aborts. Without a trace of goroutines the last that is said is what was wrong.
	signal.Ignore(syscall.SIGABRT)
	child.Main("tollgate-sherpa", "libsherpa-onnx-c-api.so", native.Load)
}
