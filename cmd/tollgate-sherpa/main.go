//go:build linux || darwin

// Command tollgate-sherpa is the child process in which Tollgate recognises speech with models of the operator's: it
// loads sherpa-onnx's shared library, reads requests on its standard input and answers on its standard output until
// that ends. It is started by the platform, not by people; it builds without a C compiler, like all of this tree:
//
//	CGO_ENABLED=0 go build ./cmd/tollgate-sherpa
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/sherpa/native"
)

func main() {
	library := flag.String("library", "libsherpa-onnx-c-api.so", "path of sherpa-onnx's shared library; libonnxruntime.so lies beside it")
	threads := flag.Int("threads", 2, "threads of one model")
	idle := flag.Duration("idle", 5*time.Minute, "models unused for so long are dropped")
	check := flag.Bool("check", false, "load the library, print its version and end")
	flag.Parse()
	if err := serve(*library, *threads, *idle, *check); err != nil {
		fmt.Fprintln(os.Stderr, "tollgate-sherpa:", err)
		os.Exit(1)
	}
}

func serve(library string, threads int, idle time.Duration, check bool) error {
	// An exception of native code aborts. Without a trace of goroutines the last that is said is what was wrong.
	signal.Ignore(syscall.SIGABRT)
	r, err := native.Load(library, threads, idle)
	if err != nil {
		return err
	}
	if check {
		v, runtime := r.Version()
		_, err := fmt.Println("sherpa-onnx", v, "with ONNX Runtime", runtime)
		return err
	}
	out, err := output()
	if err != nil {
		return err
	}
	return r.Serve(bufio.NewReaderSize(os.Stdin, 64<<10), out)
}
