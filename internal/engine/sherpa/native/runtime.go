//go:build linux || darwin

package native

import (
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

// maxModels bounds how many models are loaded at a time; the one unused for longest makes room.
const maxModels = 3

// Runtime has models loaded. It is for one goroutine.
type Runtime struct {
	a       *api
	threads int
	models  child.Cache[*recogniser] // by configuration
}

// Load loads sherpa-onnx's shared library at a path, and libonnxruntime.so beside it. Each model computes with so many
// threads, and is dropped when it was not used for the time idle.
func Load(library string, threads int, idle time.Duration) (*Runtime, error) {
	a, err := load(library)
	if err != nil {
		return nil, err
	}
	return &Runtime{a: a, threads: threads, models: child.Cache[*recogniser]{Most: maxModels, Idle: idle, Close: (*recogniser).close}}, nil
}

// Version is the library's, and that of the ONNX Runtime that it uses.
func (r *Runtime) Version() string {
	return "sherpa-onnx " + version + " with ONNX Runtime " + r.a.text(r.a.runtimeVersionText)
}

// Serve answers requests until in ends. An error means that this cannot go on.
func (r *Runtime) Serve(in io.Reader, out io.Writer) error {
	return child.Serve(in, out, wire.MaxFrame, wire.ParseRequest, r.answer, refuse)
}

func refuse(err error) *wire.Answer { return &wire.Answer{Refusal: err.Error()} }

func (r *Runtime) answer(q *wire.Request) *wire.Answer {
	key, err := json.Marshal(&q.Model)
	if err != nil {
		return refuse(err)
	}
	files := slices.Sorted(maps.Values(q.Model.Files))
	m, err := r.models.Get(string(key), files, func() (*recogniser, error) { return r.a.open(&q.Model, r.threads) })
	if err != nil {
		return refuse(err)
	}
	defer r.models.Touch(string(key))
	if len(q.PCM) == 0 {
		return &wire.Answer{}
	}
	samples := make([]float32, len(q.PCM), len(q.PCM)+tail)
	for i, v := range q.PCM {
		samples[i] = float32(v) / 32768
	}
	a, err := m.recognise(samples, task{q.Language, q.Translate})
	if err != nil {
		return refuse(err)
	}
	return a
}
