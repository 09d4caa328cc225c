package vision

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"net/url"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func newEngine(t testing.TB, o Options) *Engine {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

// neural is an engine with the models of the engines directory.
func neural(t testing.TB, o Options) *Engine {
	t.Helper()
	o.Dir = enginetest.Dir(t, "the engines directory")
	o.ONNX = enginetest.Closed(t, onnx.New(onnx.Options{Dir: o.Dir}))
	return newEngine(t, o)
}

// withGalleries adds what galleries need.
func withGalleries(d *db.DB) Options {
	sealer, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		panic(err)
	}
	return Options{DB: d, Sealer: sealer, Clock: clock.System{}}
}

// request makes a JSON call.
func request(t testing.TB, name string, body any) *engine.Request {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return &engine.Request{Route: enginetest.Route(t, Routes(), name), Type: "application/json", Body: data, Owner: "org_a", Query: url.Values{}, Params: map[string]string{},
		Header: func(string) string { return "" }}
}

// form makes a multipart call of fields (name, value, …) and pictures by name.
func form(t testing.TB, name string, fields []string, pictures map[string][]byte) *engine.Request {
	t.Helper()
	var files []enginetest.File
	for k, v := range pictures {
		files = append(files, enginetest.File{Field: k, Name: k + ".png", Data: v})
	}
	r := request(t, name, nil)
	r.Type, r.Body = enginetest.Form(t, fields, files...)
	return r
}

// call serves a request; v, if not nil, gets the JSON answer.
func call(t testing.TB, e *Engine, r *engine.Request, v any) (*enginetest.Answer, error) {
	t.Helper()
	a := &enginetest.Answer{}
	err := e.Serve(t.Context(), r, a)
	if err == nil && v != nil {
		if err := json.Unmarshal(a.Body.Bytes(), v); err != nil {
			t.Fatalf("%s: %v", a.Body.String(), err)
		}
	}
	return a, err
}

// refused checks that an error is a problem of the kind and id.
func refused(t testing.TB, err error, kind problem.Kind, id string) {
	t.Helper()
	if p := problem.As(err); err == nil || p.Kind != kind || p.ID != id {
		t.Errorf("got %v, want %s", err, id)
	}
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

// scene is a picture of w × h with smooth parts, edges and texture.
func scene(w, h int) *image.NRGBA { return generated(w, h) }

// uniform is a picture of one colour.
func uniform(w, h int, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = c.R, c.G, c.B, c.A
	}
	return m
}
