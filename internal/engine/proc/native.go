package proc

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// NativeOptions are the program and the bounds of a Native.
type NativeOptions struct {
	Dir     engine.Dir
	Program string // in bin of the directory
	Library string // in lib of the directory
	Memory  int64  // bytes of a child's address space
	Frame   int    // the most bytes of a message's payload
	Workers int    // children; default 1
	Queue   int    // see PoolOptions
	Threads int    // of one child; default 2
	Time    time.Duration
	Idle    time.Duration // what is unused for so long is given up, models and children; default 5 min
	Log     *slog.Logger
}

// Native is a pool of children with a native library of the engines directory (package child). The library's faults end a
// child, and the platform's binary needs no C compiler.
type Native struct {
	*Pool
	Dir              engine.Dir // absolute, as a child runs elsewhere; "" for none
	program, library string
}

// NewNative makes a pool. It starts nothing, and is fine without an engines directory: see Ready.
func NewNative(o NativeOptions) *Native {
	dir, err := filepath.Abs(string(o.Dir))
	if o.Dir == "" || err != nil {
		dir = ""
	}
	program, library := filepath.Join("bin", o.Program), filepath.Join("lib", o.Library)
	return &Native{
		Dir: engine.Dir(dir), program: program, library: library,
		Pool: NewPool(PoolOptions{
			Spec: Spec{Path: filepath.Join(dir, program), Args: child.Args(filepath.Join(dir, library), o.Threads, o.Idle), Memory: o.Memory},
			Max:  o.Workers, Queue: o.Queue, Time: o.Time, Idle: o.Idle, Output: int64(2 * o.Frame), Log: o.Log,
		}),
	}
}

// Ready reports whether the program and the library are installed.
func (n *Native) Ready() bool { return n.Dir.Path(n.program) != "" && n.Dir.Path(n.library) != "" }
