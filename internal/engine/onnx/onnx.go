// Package onnx runs neural models in the ONNX format for the engines.
//
// The ONNX Runtime is native code. It lives in a supervised child process, bin/tollgate-onnx of the engines
// directory, which loads lib/libonnxruntime.so from there; so the platform's own binary needs no C compiler and
// outlives a crash of native code. The package starts nothing until it is first used, knows nothing of what a
// model computes, and reads no model itself.
//
// Invariants: a child serves one call at a time; at most Workers of them run; a call that is too slow, or that
// crashes its child, costs that child alone.
package onnx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx/wire"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// Options of a Runtime.
type Options struct {
	Dir     engine.Dir
	Workers int           // child processes; default 1
	Threads int           // of one child; default 2
	Time    time.Duration // of one Run or Session, loading the model included; default 1 min
	Idle    time.Duration // what is unused for so long is given up, models and processes; default 5 min
	Log     *slog.Logger  // may be nil
}

// Tensor is a dense array in row-major order: one of F32, I64 and U8 has its elements, as many as the product of
// Shape. A model that wants float64, int32 or bool gets them from these, and gives them as these.
type Tensor = wire.Tensor

// Port is an input or an output of a model. A dimension that is not fixed is -1.
type Port = wire.Port

// ErrModel is in the chain of an error that the runtime has with a model or with what it was given: it cannot be
// read, it has no such output, a shape does not fit. The child is as good as before.
var ErrModel = errors.New("onnx: the model failed")

const (
	defaultTime = time.Minute
	queue       = 32
	// memory is a child's address space: far above what the models here take, below what harms the machine.
	memory = 8 << 30
)

// Runtime runs models. It is safe for concurrent use.
type Runtime struct{ children *proc.Native }

// New makes a runtime. It starts nothing, and is fine without an engines directory: see Ready.
func New(o Options) *Runtime {
	if o.Time <= 0 {
		o.Time = defaultTime
	}
	return &Runtime{proc.NewNative(proc.NativeOptions{
		Dir: o.Dir, Program: "tollgate-onnx", Library: "libonnxruntime.so", Memory: memory, Frame: wire.MaxFrame,
		Workers: o.Workers, Queue: queue, Threads: o.Threads, Time: o.Time, Idle: o.Idle, Log: o.Log,
	})}
}

// Ready reports whether the runtime is installed.
func (r *Runtime) Ready() bool { return r.children.Ready() }

// Close ends the children. Calls after it fail.
func (r *Runtime) Close() error { return r.children.Close() }

// Run runs the model at a path on the inputs, all by name, and gives the outputs named, or all. The model is
// loaded when it is first used, and again when its file has changed.
func (r *Runtime) Run(ctx context.Context, model string, in map[string]Tensor, outputs ...string) (map[string]Tensor, error) {
	var out map[string]Tensor
	err := r.Session(ctx, func(s *Session) (err error) {
		out, err = s.Run(model, in, outputs...)
		return err
	})
	return out, err
}

// Describe tells the inputs and outputs of the model at a path, and so whether it can be loaded.
func (r *Runtime) Describe(ctx context.Context, model string) (inputs, outputs []Port, err error) {
	err = r.Session(ctx, func(s *Session) (err error) {
		a, err := s.call(&wire.Request{Op: wire.Describe, Model: model})
		if err == nil {
			inputs, outputs = a.Inputs, a.Outputs
		}
		return err
	})
	return inputs, outputs, err
}

// Session is a child in the hands of one caller.
type Session struct {
	c    *proc.Child
	lost error
}

// Session gives use a child for several runs without waiting in between; the time limit is on all of them.
// It is not for a conversation that waits for people: the child serves nobody else meanwhile.
func (r *Runtime) Session(ctx context.Context, use func(s *Session) error) error {
	if !r.Ready() {
		return engine.Missing("the ONNX Runtime")
	}
	var result error
	err := r.children.Do(ctx, func(c *proc.Child) error {
		s := &Session{c: c}
		result = use(s)
		return s.lost
	})
	if err != nil {
		return err
	}
	return result
}

// Run is like Runtime.Run.
func (s *Session) Run(model string, in map[string]Tensor, outputs ...string) (map[string]Tensor, error) {
	a, err := s.call(&wire.Request{Op: wire.Run, Model: model, Tensors: in, Outputs: outputs})
	if err != nil {
		return nil, err
	}
	for _, name := range outputs {
		if _, ok := a.Tensors[name]; !ok {
			return nil, fmt.Errorf("%w: no output %q", ErrModel, name)
		}
	}
	return a.Tensors, nil
}

// call sends a request and reads its answer. After a failure to do so the child is lost.
func (s *Session) call(q *wire.Request) (*wire.Answer, error) {
	if s.lost != nil {
		return nil, s.lost
	}
	path, err := filepath.Abs(q.Model)
	if err != nil {
		return nil, err
	}
	q.Model = path
	frame, err := q.Frame()
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: %w", filepath.Base(q.Model), err)
	}
	answer, err := child.Ask(s.c.In, s.c.Out, frame, wire.MaxFrame, wire.ParseAnswer)
	if err != nil {
		s.lost = fmt.Errorf("onnx: %w", err)
		return nil, s.lost
	}
	if answer.Refusal != "" {
		return nil, fmt.Errorf("%w: %s: %s", ErrModel, filepath.Base(q.Model), answer.Refusal)
	}
	return answer, nil
}
