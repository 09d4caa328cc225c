package vision

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"mime/multipart"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// answer collects what an engine writes.
type answer struct {
	status int
	kind   string
	header map[string]string
	body   bytes.Buffer
	used   engine.Quantity
}

func (a *answer) SetHeader(name, value string) {
	if a.header == nil {
		a.header = map[string]string{}
	}
	a.header[name] = value
}
func (a *answer) Start(status int, kind string) { a.status, a.kind = status, kind }
func (a *answer) Write(b []byte) error          { a.body.Write(b); return nil }
func (a *answer) Flush() error                  { return nil }
func (a *answer) Used(q engine.Quantity)        { a.used = q }

// enginesDir is the engines directory; without one the test is skipped, or fails where the run requires it.
func enginesDir(t testing.TB) engine.Dir {
	t.Helper()
	dir := os.Getenv("TOLLGATE_ENGINES")
	if dir == "" {
		if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
			t.Fatal("TOLLGATE_ENGINES is not set: run scripts/install-engines")
		}
		t.Skip("TOLLGATE_ENGINES is not set")
	}
	return engine.Dir(dir)
}

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
	o.Dir = enginesDir(t)
	o.ONNX = onnx.New(onnx.Options{Dir: o.Dir})
	t.Cleanup(func() {
		if err := o.ONNX.Close(); err != nil {
			t.Error(err)
		}
	})
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

func route(t testing.TB, name string) *engine.Route {
	t.Helper()
	for _, r := range Routes() {
		if r.Name == name {
			return &r
		}
	}
	t.Fatalf("no route %s", name)
	return nil
}

// request makes a JSON call.
func request(t testing.TB, name string, body any) *engine.Request {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return &engine.Request{Route: route(t, name), Type: "application/json", Body: data, Owner: "org_a", Query: url.Values{}, Params: map[string]string{},
		Header: func(string) string { return "" }}
}

// form makes a multipart call.
func form(t testing.TB, name string, values map[string]string, files map[string][]byte) *engine.Request {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range values {
		if err := w.WriteField(k, v); err != nil {
			t.Fatal(err)
		}
	}
	for k, v := range files {
		part, err := w.CreateFormFile(k, k+".png")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r := request(t, name, nil)
	r.Type, r.Body = w.FormDataContentType(), b.Bytes()
	return r
}

// call serves a request; v, if not nil, gets the JSON answer.
func call(t testing.TB, e *Engine, r *engine.Request, v any) (*answer, error) {
	t.Helper()
	a := &answer{}
	err := e.Serve(t.Context(), r, a)
	if err == nil && v != nil {
		if err := json.Unmarshal(a.body.Bytes(), v); err != nil {
			t.Fatalf("%s: %v", a.body.String(), err)
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
