// Package vision looks at pictures and makes them better: classes, things with their places, text, faces (with
// galleries of people who have consented), safety classes, enlargement, noise, sharpness, contrast, repair.
//
// Everything that makes a picture better, and the galleries' management, is Go alone. What recognises needs the
// engines directory: models on the ONNX Runtime, or Tesseract; without them the call says what is missing.
// Pictures from text are not made here: that needs an upstream. Nothing is fetched from addresses, and no
// picture is kept: a gallery has numbers that stand for faces, sealed.
//
// Invariants:
//   - a picture is refused by its header, before any pixel is allocated, if it is larger than [MaxPixels]; what
//     all calls hold at a time is bounded by Options.Memory;
//   - what is given back has no metadata of what was sent, and stands upright;
//   - a person enters a gallery only with a statement of consent, and one owner never sees another's;
//     a deleted person's vectors are gone when the answer is given.
package vision

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room: galleries of faces.
var Migrations = db.Migrations{Room: "vision", FS: migrations}

// Options of an Engine. Everything but ONNX and Dir may be left out; without DB and Sealer there are no galleries.
type Options struct {
	DB     *db.DB
	Sealer *secret.Sealer // seals what a gallery has of a person
	Dir    engine.Dir
	ONNX   *onnx.Runtime // the caller closes it
	Clock  clock.Clock
	Log    *slog.Logger
	Memory int64         // bytes that the pictures of all calls may take; default 1 GiB
	Time   time.Duration // of one call; default 60 s
}

// Engine answers the routes of [Routes]. It is safe for concurrent use.
type Engine struct {
	o        Options
	gate     *gate
	stopping context.Context
	stop     context.CancelFunc
	calls    sync.WaitGroup

	once      sync.Mutex // guards what follows, each read once
	ocrKeys   []string
	languages []string

	mu     sync.Mutex
	closed bool
}

const (
	defaultMemory = 1 << 30
	defaultTime   = 60 * time.Second
	maxQueue      = 24 // calls that wait, each with the files that it has
)

// New makes an engine. It loads nothing and starts nothing.
func New(o Options) (*Engine, error) {
	if (o.DB == nil) != (o.Sealer == nil) {
		return nil, errors.New("vision: galleries need a database and a sealer")
	}
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	if o.Time <= 0 {
		o.Time = defaultTime
	}
	e := &Engine{o: o, gate: newGate(o.Memory, runtime.GOMAXPROCS(0), maxQueue)}
	e.stopping, e.stop = context.WithCancel(context.Background())
	return e, nil
}

// Close ends the calls that run and waits for them, until ctx ends. Calls after it fail.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.stop()
	done := make(chan struct{})
	go func() {
		e.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) begin() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return closing()
	}
	e.calls.Add(1)
	return nil
}

// Serve answers one call.
func (e *Engine) Serve(ctx context.Context, r *engine.Request, w engine.Writer) error {
	if r.Route == nil {
		return errors.New("vision: a request without a route")
	}
	serve := e.handler(r.Route.Name)
	if serve == nil {
		return errors.New("vision: no route " + r.Route.Name)
	}
	if err := e.begin(); err != nil {
		return err
	}
	defer e.calls.Done()
	limited, cancel := context.WithTimeout(ctx, e.o.Time)
	defer cancel()
	stop := context.AfterFunc(e.stopping, cancel)
	defer stop()
	err := serve(limited, r, w)
	switch {
	case err == nil:
		return nil
	case e.stopping.Err() != nil && ctx.Err() == nil:
		return problem.As(closing()).Because(err)
	case limited.Err() != nil && ctx.Err() == nil && errors.Is(err, limited.Err()):
		return problem.New(problem.Timeout, "vision.slow", "the image took too long; send a smaller one, or ask for less").Because(err)
	}
	if p := problem.As(err); p.ID == "vision.bad_model" || strings.HasPrefix(p.ID, "vision.classifier_") {
		e.o.Log.Warn("a vision model does not work", "error", err)
	}
	return err
}

func closing() error {
	return problem.New(problem.Unavailable, "vision.closed", "the server is stopping; try again").After(time.Second)
}

type handler func(ctx context.Context, r *engine.Request, w engine.Writer) error

func (e *Engine) handler(route string) handler {
	switch strings.TrimPrefix(route, "vision.") {
	case "classify":
		return e.serveClassify
	case "detect":
		return e.serveDetect
	case "ocr":
		return e.serveOCR
	case "moderate":
		return e.serveModerate
	case "faces.detect":
		return e.serveFaces
	case "faces.verify":
		return e.serveVerify
	case "enhance":
		return e.serveEnhance
	case "denoise":
		return e.serveDenoise
	case "restore":
		return e.serveRestore
	case "engines":
		return e.serveEngines
	case "images.generations":
		return e.serveGenerate
	}
	if strings.HasPrefix(route, "vision.galleries.") {
		return e.gallery(route)
	}
	return nil
}

// Describe tells which models there are, installed or not.
func (e *Engine) Describe() []engine.Info {
	list := []engine.Info{
		{Engine: engineClassical, Model: "lanczos", Version: classicalVersion, Ready: true, Licence: "Apache-2.0"},
		{Engine: engineClassical, Model: "nlm", Version: classicalVersion, Ready: true, Licence: "Apache-2.0"},
		{Engine: engineClassical, Model: "telea", Version: classicalVersion, Ready: true, Licence: "Apache-2.0"},
	}
	neural := func(name, model, version, licence string, files ...string) {
		i := engine.Info{Engine: name, Model: model, Version: version, Licence: licence, Ready: e.installed(files...)}
		if !i.Ready {
			i.Need = "scripts/install-engines"
		}
		list = append(list, i)
	}
	neural(engineCenterNet, modelCOCO, "3.3.6", "MIT", fileDetect)
	neural(enginePaddle, modelPaddle, "1.4.2", "MIT", fileOCRDet, fileOCRRec, fileOCRKeys)
	neural(engineFaces, modelFaces, "0.0.1", "MIT", fileFaces, fileLandmarks, fileEmbed)
	neural(engineSafety, modelSafety, "4.3.0", "MIT", fileSafety)
	neural(engineESRGAN, modelESRGAN, "1.0.0", "MIT", fileESRGAN2, fileESRGAN4)
	t := engine.Info{Engine: engineTesseract, Model: modelTesseract, Licence: "Apache-2.0", Ready: tesseract() != ""}
	if !t.Ready {
		t.Need = "scripts/install-engines"
	}
	list = append(list, t)
	for _, c := range e.classifiers() {
		list = append(list, c.info(e.installed()))
	}
	return list
}

// The names of the engines and models that answers carry.
const (
	engineClassical  = "classical"
	classicalVersion = "1"
	engineCenterNet  = "centernet"
	modelCOCO        = "coco-80"
	enginePaddle     = "ppocr"
	modelPaddle      = "pp-ocrv4"
	engineTesseract  = "tesseract"
	modelTesseract   = "tesseract"
	engineFaces      = "faceplugin"
	modelFaces       = "faceplugin-0.0.1"
	engineSafety     = "nsfwjs"
	modelSafety      = "mobilenet-v2"
	engineESRGAN     = "esrgan"
	modelESRGAN      = "esrgan-slim"
	engineOwn        = "onnx"
)
