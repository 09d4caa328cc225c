package translate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// dictionaryForTests is loaded once for all of them.
var dictionaryForTests = &dictionary{}

func newEngine(t testing.TB, change ...func(*Options)) *Engine {
	t.Helper()
	return engineOn(t, dbtest.SQLite(t, []db.Migrations{Migrations}), change...)
}

func engineOn(t testing.TB, d *db.DB, change ...func(*Options)) *Engine {
	t.Helper()
	o := Options{DB: d, Sealer: sealer(t)}
	for _, c := range change {
		c(&o)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	e.dict = dictionaryForTests
	e.routes = routes{[]machine{e.dict, e.apt}}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// withApertium skips or fails a test where Apertium is not installed.
func withApertium(t testing.TB, e *Engine) {
	t.Helper()
	if e.routes.find("en", "es", "apertium") != nil {
		return
	}
	enginetest.Absent(t, "Apertium")
}

// do sends a request to the route that net/http would choose.
func do(e *Engine, owner, method, target, kind string, body []byte) (*enginetest.Answer, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	byPattern := map[string]operation{}
	for _, o := range operations() {
		mux.HandleFunc(o.Method+" "+o.Pattern, func(http.ResponseWriter, *http.Request) {})
		byPattern[o.Method+" "+o.Pattern] = o
	}
	hr := &http.Request{Method: method, URL: u, Host: "x"}
	_, pattern := mux.Handler(hr)
	o, ok := byPattern[pattern]
	if !ok {
		return nil, fmt.Errorf("no route %s %s", method, target)
	}
	params := map[string]string{}
	want, have := strings.Split(o.Pattern, "/"), strings.Split(u.Path, "/")
	for i, p := range want {
		if strings.HasPrefix(p, "{") {
			params[strings.Trim(p, "{}")] = have[i]
		}
	}
	r := &engine.Request{ID: "evt_1", Route: &o.Route, Path: u.Path, Params: params, Query: u.Query(), Type: kind,
		Header: func(string) string { return "" }, Language: "en", Body: body, Owner: owner}
	w := &enginetest.Answer{}
	bound := engine.Quantity(-1)
	if o.Measure != nil {
		if bound, err = o.Measure(r); err != nil {
			return w, err
		}
	}
	if err := e.Serve(context.Background(), r, w); err != nil {
		return w, err
	}
	if bound >= 0 && w.Total() > bound {
		return w, fmt.Errorf("%s used %d, more than %d", o.Name, w.Total(), bound)
	}
	return w, nil
}

// post sends JSON and reads JSON.
func post(t testing.TB, e *Engine, path string, body any) map[string]any {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return answer(t, e, "POST", path, "application/json", data)
}

func answer(t testing.TB, e *Engine, method, path, kind string, body []byte) map[string]any {
	t.Helper()
	w, err := do(e, "org_a", method, path, kind, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %s answers %q: %v", method, path, w.Body.String(), err)
	}
	return v
}

// refused expects an error of the id.
func refused(t testing.TB, e *Engine, method, path, kind string, body []byte, id string) {
	t.Helper()
	_, err := do(e, "org_a", method, path, kind, body)
	if err == nil || problem.As(err).ID != id {
		t.Errorf("%s %s: error %v, want %s", method, path, err, id)
	}
}

// upload makes a multipart form.
func upload(t testing.TB, name string, data []byte, fields ...string) (kind string, body []byte) {
	t.Helper()
	return enginetest.Form(t, fields, enginetest.File{Field: "file", Name: name, Data: data})
}
