//go:build linux || darwin

// Command tollgate-onnx is the child process in which Tollgate runs neural models: it loads the ONNX Runtime's
// shared library, reads requests on its standard input and answers on its standard output until that ends. It is
// started by the platform, not by people; it builds without a C compiler, like all of this tree:
//
//	CGO_ENABLED=0 go build ./cmd/tollgate-onnx
package main

import (
	"github.com/tollgate-io/tollgate/internal/engine/onnx/native"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

func main() {
	child.Main("tollgate-onnx", "libonnxruntime.so", native.Load)
}
