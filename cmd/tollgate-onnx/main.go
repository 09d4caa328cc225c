//go:build linux || darwin

// Command tollgate-onnx is the child process in which Tollgate runs neural models: it loads the ONNX Runtime's
// shared library, reads requests on its standard input and answers on its standard output until that ends. It is
// started by the platform, not by people; it builds without a C compiler, like all of this tree:
//
//	CGO_ENABLED=0 go build ./cmd/tollgate-onnx
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/onnx/native"
)

func main() {
	library := flag.String("library", "libonnxruntime.so", "path of the ONNX Runtime's shared library")
	threads := flag.Int("threads", 2, "threads of one model")
	idle := flag.Duration("idle", 5*time.Minute, "models unused for so long are dropped")
	check := flag.Bool("check", false, "load the library, print its version and end")
	flag.Parse()
	if err := serve(*library, *threads, *idle, *check); err != nil {
		fmt.Fprintln(os.Stderr, "tollgate-onnx:", err)
		os.Exit(1)
	}
}

func serve(library string, threads int, idle time.Duration, check bool) error {
	r, err := native.Load(library, threads, idle)
	if err != nil {
		return err
	}
	if check {
		_, err := fmt.Println("ONNX Runtime", r.Version())
		return err
	}
	return r.Serve(bufio.NewReaderSize(os.Stdin, 64<<10), os.Stdout)
}
