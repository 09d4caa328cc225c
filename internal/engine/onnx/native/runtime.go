//go:build linux || darwin

package native

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"github.com/tollgate-io/tollgate/internal/engine/onnx/wire"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// maxModels bounds how many models are loaded at a time; the one unused for longest makes room.
const maxModels = 32

// Runtime has models loaded. It is for one goroutine.
type Runtime struct {
	a       *api
	threads int
	models  child.Cache[*model] // by path
}

// Load loads the ONNX Runtime's shared library at a path. Each model computes with so many threads, and is dropped
// when it was not used for the time idle.
func Load(library string, threads int, idle time.Duration) (*Runtime, error) {
	a, err := load(library)
	if err != nil {
		return nil, err
	}
	return &Runtime{a: a, threads: threads, models: child.Cache[*model]{Most: maxModels, Idle: idle, Close: (*model).close}}, nil
}

// Version is the library's.
func (r *Runtime) Version() string { return "ONNX Runtime " + r.a.version }

// Serve answers requests until in ends. An error means that this cannot go on.
func (r *Runtime) Serve(in io.Reader, out io.Writer) error {
	return child.Serve(in, out, wire.MaxFrame, wire.ParseRequest, r.answer, refuse)
}

func refuse(err error) *wire.Answer { return &wire.Answer{Refusal: err.Error()} }

func (r *Runtime) answer(q *wire.Request) *wire.Answer {
	m, err := r.models.Get(q.Model, []string{q.Model}, func() (*model, error) {
		m, err := r.a.open(q.Model, r.threads)
		if err != nil {
			return nil, fmt.Errorf("load: %w", err)
		}
		return m, nil
	})
	if err != nil {
		return refuse(err)
	}
	if q.Op == wire.Describe {
		return &wire.Answer{Inputs: describe(m.inputs), Outputs: describe(m.outputs)}
	}
	defer r.models.Touch(q.Model)
	tensors, err := m.compute(q.Tensors, q.Outputs)
	if err != nil {
		return refuse(err)
	}
	return &wire.Answer{Tensors: tensors}
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
