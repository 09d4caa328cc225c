//go:build linux || darwin

package native

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/tollgate-io/tollgate/internal/engine/onnx/wire"
)

// maxModels bounds how many models are loaded at a time; the one unused for longest makes room.
const maxModels = 32

// Runtime has models loaded. It is for one goroutine.
type Runtime struct {
	a       *api
	threads int
	idle    time.Duration
	models  map[string]*loaded
}

type loaded struct {
	*model
	file os.FileInfo
	used time.Time
}

// Load loads the ONNX Runtime's shared library at a path. Each model computes with so many threads, and is dropped
// when it was not used for the time idle.
func Load(library string, threads int, idle time.Duration) (*Runtime, error) {
	a, err := load(library)
	if err != nil {
		return nil, err
	}
	return &Runtime{a: a, threads: threads, idle: idle, models: map[string]*loaded{}}, nil
}

// Version is the version of the library.
func (r *Runtime) Version() string { return r.a.version }

// Serve answers requests until in ends. An error means that this cannot go on.
func (r *Runtime) Serve(in io.Reader, out io.Writer) error {
	for {
		payload, err := wire.Read(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := wire.ParseRequest(payload)
		if err != nil {
			return err
		}
		frame, err := r.answer(q).Frame()
		if err != nil {
			if frame, err = (&wire.Answer{Refusal: "the answer: " + err.Error()}).Frame(); err != nil {
				return err
			}
		}
		if _, err := out.Write(frame); err != nil {
			return err
		}
	}
}

func (r *Runtime) answer(q *wire.Request) *wire.Answer {
	refuse := func(err error) *wire.Answer { return &wire.Answer{Refusal: err.Error()} }
	m, err := r.get(q.Model)
	if err != nil {
		return refuse(err)
	}
	if q.Op == wire.Describe {
		return &wire.Answer{Inputs: describe(m.inputs), Outputs: describe(m.outputs)}
	}
	tensors, err := m.compute(q.Tensors, q.Outputs)
	m.used = time.Now()
	if err != nil {
		return refuse(err)
	}
	return &wire.Answer{Tensors: tensors}
}

// get gives the model at a path, loaded, and drops what was not used for long.
func (r *Runtime) get(path string) (*loaded, error) {
	now := time.Now()
	for p, m := range r.models {
		if p != path && now.Sub(m.used) > r.idle {
			r.drop(p)
		}
	}
	file, err := os.Stat(path)
	if err != nil {
		return nil, errors.New("the model's file cannot be read")
	}
	if m := r.models[path]; m != nil {
		if os.SameFile(m.file, file) && m.file.ModTime().Equal(file.ModTime()) && m.file.Size() == file.Size() {
			m.used = now
			return m, nil
		}
		r.drop(path)
	}
	if len(r.models) >= maxModels {
		oldest := ""
		for p, m := range r.models {
			if oldest == "" || m.used.Before(r.models[oldest].used) {
				oldest = p
			}
		}
		r.drop(oldest)
	}
	m, err := r.a.open(path, r.threads)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	r.models[path] = &loaded{m, file, now}
	return r.models[path], nil
}

func (r *Runtime) drop(path string) {
	r.models[path].close()
	delete(r.models, path)
}

func describe(ports []port) []wire.Port {
	all := make([]wire.Port, 0, len(ports))
	for _, p := range ports[:min(len(ports), wire.MaxTensors)] {
		all = append(all, wire.Port{Name: p.name, Type: typeNames[p.kind], Shape: p.shape[:min(len(p.shape), wire.MaxRank)]})
	}
	return all
}

// compute runs the model.
func (m *model) compute(in map[string]wire.Tensor, outputs []string) (map[string]wire.Tensor, error) {
	var names []string
	var values []unsafe.Pointer
	var keep []any
	defer func() {
		for _, v := range values {
			m.a.release(releaseValue, v)
		}
		runtime.KeepAlive(keep)
	}()
	for name, t := range in {
		i := slices.IndexFunc(m.inputs, func(p port) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no input %q", name)
		}
		v, k, err := m.a.value(m.inputs[i], t)
		if err != nil {
			return nil, err
		}
		names, values, keep = append(names, name), append(values, v), append(keep, k)
	}
	if len(outputs) == 0 {
		for _, p := range m.outputs {
			if p.kind != 0 {
				outputs = append(outputs, p.name)
			}
		}
	}
	if len(outputs) > wire.MaxTensors {
		return nil, errors.New("the model has too many outputs; name those that are wanted")
	}
	results, err := m.run(names, values, outputs)
	defer func() {
		for _, v := range results {
			m.a.release(releaseValue, v)
		}
	}()
	if err != nil {
		return nil, err
	}
	out := make(map[string]wire.Tensor, len(outputs))
	for i, name := range outputs {
		if out[name], err = m.a.tensor(results[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}
