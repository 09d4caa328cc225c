package child

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// What a child is started with unless it is told otherwise.
const (
	defaultThreads = 2
	defaultIdle    = 5 * time.Minute
)

// Server is a child with its library loaded.
type Server interface {
	Version() string // of the library
	Serve(in io.Reader, out io.Writer) error
}

// Args is the command line of a child: its library, the threads of one model, and the time after which an unused model
// is dropped. 0 is the default: 2, 5 min.
func Args(library string, threads int, idle time.Duration) []string {
	if threads <= 0 {
		threads = defaultThreads
	}
	if idle <= 0 {
		idle = defaultIdle
	}
	return []string{"-library", library, "-threads", strconv.Itoa(threads), "-idle", idle.String()}
}

// Main is the main function of a child: it reads the command line, loads the library, and serves standard input until
// that ends. An error ends the process, told on standard error.
func Main[S Server](name, library string, load func(library string, threads int, idle time.Duration) (S, error)) {
	path := flag.String("library", library, "path of the native library; what it needs lies beside it")
	threads := flag.Int("threads", defaultThreads, "threads of one model")
	idle := flag.Duration("idle", defaultIdle, "models unused for so long are dropped")
	check := flag.Bool("check", false, "load the library, print its version and end")
	flag.Parse()
	s, err := load(*path, *threads, *idle)
	if err == nil && *check {
		_, err = fmt.Println(s.Version())
	} else if err == nil {
		err = serve(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func serve(s Server) error {
	out, err := output()
	if err != nil {
		return err
	}
	return s.Serve(bufio.NewReaderSize(os.Stdin, 64<<10), out)
}
