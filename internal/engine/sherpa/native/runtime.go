//go:build linux || darwin

package native

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

// maxModels bounds how many models are loaded at a time; the one unused for longest makes room.
const maxModels = 3

// Runtime has models loaded. It is for one goroutine.
type Runtime struct {
	a       *api
	threads int
	idle    time.Duration
	models  map[string]*loaded // by configuration
}

type loaded struct {
	*recogniser
	files map[string]os.FileInfo
	used  time.Time
}

// Load loads sherpa-onnx's shared library at a path, and libonnxruntime.so beside it. Each model computes with so many
// threads, and is dropped when it was not used for the time idle.
func Load(library string, threads int, idle time.Duration) (*Runtime, error) {
	a, err := load(library)
	if err != nil {
		return nil, err
	}
	return &Runtime{a: a, threads: threads, idle: idle, models: map[string]*loaded{}}, nil
}

// Version is the version of the library and of the ONNX Runtime that it uses.
func (r *Runtime) Version() (library, onnxRuntime string) {
	return version, r.a.text(r.a.runtimeVersionText)
}

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
	m, err := r.get(&q.Model)
	if err != nil {
		return &wire.Answer{Refusal: err.Error()}
	}
	defer func() { m.used = time.Now() }()
	if len(q.PCM) == 0 {
		return &wire.Answer{}
	}
	samples := make([]float32, len(q.PCM), len(q.PCM)+tail)
	for i, v := range q.PCM {
		samples[i] = float32(v) / 32768
	}
	a, err := m.recognise(samples, task{q.Language, q.Translate})
	if err != nil {
		return &wire.Answer{Refusal: err.Error()}
	}
	return a
}

// get gives a model, loaded, and drops what was not used for long.
func (r *Runtime) get(w *wire.Model) (*loaded, error) {
	key, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	id, now := string(key), time.Now()
	for k, m := range r.models {
		if k != id && now.Sub(m.used) > r.idle {
			r.drop(k)
		}
	}
	if m := r.models[id]; m != nil {
		if m.current() {
			m.used = now
			return m, nil
		}
		r.drop(id)
	}
	for len(r.models) >= maxModels {
		oldest := ""
		for k, m := range r.models {
			if oldest == "" || m.used.Before(r.models[oldest].used) {
				oldest = k
			}
		}
		r.drop(oldest)
	}
	l := &loaded{files: map[string]os.FileInfo{}, used: now}
	for _, path := range w.Files {
		if l.files[path], err = os.Stat(path); err != nil {
			return nil, errors.New("the model's files cannot be read")
		}
	}
	if l.recogniser, err = r.a.open(w, r.threads); err != nil {
		return nil, err
	}
	r.models[id] = l
	return l, nil
}

// current reports whether the model's files are those that were loaded.
func (l *loaded) current() bool {
	for path, was := range l.files {
		now, err := os.Stat(path)
		if err != nil || !os.SameFile(was, now) || now.Size() != was.Size() || !now.ModTime().Equal(was.ModTime()) {
			return false
		}
	}
	return true
}

func (r *Runtime) drop(key string) {
	r.models[key].close()
	delete(r.models, key)
}
