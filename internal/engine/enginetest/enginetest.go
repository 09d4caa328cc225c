// Package enginetest is what the tests of engines share: the engines directory, a child built from this tree, and the calls and
// answers that the gateway deals in.
package enginetest

import (
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// Absent leaves a test out for want of what scripts/install-engines brings. Where TOLLGATE_TEST_REQUIRE=1 says that all of it
// must be there, the test fails.
func Absent(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("TOLLGATE_TEST_REQUIRE") == "1" {
		t.Fatal(what + " is not installed: scripts/install-engines, and TOLLGATE_ENGINES")
	}
	t.Skip(what + " is not installed")
}

// Dir is the engines directory that TOLLGATE_ENGINES names, absolute, if it has a file; what names that for people.
func Dir(t testing.TB, what string, file ...string) engine.Dir {
	t.Helper()
	dir := engine.Dir(os.Getenv("TOLLGATE_ENGINES"))
	if dir.Path(file...) == "" {
		Absent(t, what)
	}
	abs, err := filepath.Abs(string(dir))
	if err != nil {
		t.Fatal(err)
	}
	return engine.Dir(abs)
}

// Own is an engines directory of the test's own with some files, or folders, of an installed one.
func Own(t testing.TB, installed engine.Dir, files ...string) engine.Dir {
	t.Helper()
	dir := t.TempDir()
	for _, name := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(string(installed), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return engine.Dir(dir)
}

// Build builds a child process of this tree, a folder of cmd, into an engines directory.
func Build(t testing.TB, dir engine.Dir, name string) {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the sources are not known")
	}
	build := exec.Command("go", "build", "-o", filepath.Join(string(dir), "bin", name), "./cmd/"+name)
	build.Dir, build.Env = filepath.Join(filepath.Dir(here), "../../.."), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the child: %v\n%s", err, out)
	}
}

// Child is an engines directory of the test's own with installed libraries and a child that is built from this tree.
func Child(t testing.TB, what, name string, libraries ...string) engine.Dir {
	t.Helper()
	dir := Own(t, Dir(t, what, libraries[0]), libraries...)
	Build(t, dir, name)
	return dir
}

// Closed is c, which the end of the test closes.
func Closed[C io.Closer](t testing.TB, c C) C {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Answer is an engine.Writer that keeps what an engine writes.
type Answer struct {
	Status  int
	Type    string
	Header  map[string]string
	Body    bytes.Buffer
	Flushes int
	Reports []engine.Quantity // of what was used, in order
	// Piece, if not nil, is told each piece; its error is that of a client that left.
	Piece func([]byte) error
}

// SetHeader and the other methods are those of engine.Writer.
func (a *Answer) SetHeader(name, value string) {
	if a.Header == nil {
		a.Header = map[string]string{}
	}
	a.Header[name] = value
}

func (a *Answer) Start(status int, contentType string) { a.Status, a.Type = status, contentType }

func (a *Answer) Write(b []byte) error {
	a.Body.Write(b)
	if a.Piece != nil {
		return a.Piece(b)
	}
	return nil
}

func (a *Answer) Flush() error { a.Flushes++; return nil }

func (a *Answer) Used(q engine.Quantity) { a.Reports = append(a.Reports, q) }

// Total is what the call is charged for: the last report counts.
func (a *Answer) Total() engine.Quantity {
	if len(a.Reports) == 0 {
		return 0
	}
	return a.Reports[len(a.Reports)-1]
}

// Route is the route of a name.
func Route(t testing.TB, routes []engine.Route, name string) *engine.Route {
	t.Helper()
	for i := range routes {
		if routes[i].Name == name {
			return &routes[i]
		}
	}
	t.Fatalf("no route %s", name)
	return nil
}

// Operation is one of an OpenAPI document, as far as tests look at it.
type Operation struct {
	Method                            string `json:"-"` // in small letters
	OperationID, Summary, Description string
	Parameters                        []Parameter
	RequestBody                       *struct {
		Content map[string]struct{ Example json.RawMessage }
	}
	Responses map[string]any
}

// Parameter is one of an operation.
type Parameter struct{ Name, In string }

// Contract checks that an OpenAPI document describes the routes, all of them and no others, and refers to nothing that it lacks.
func Contract(t *testing.T, document []byte, routes []engine.Route) (all []Operation) {
	t.Helper()
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]json.RawMessage
		Components map[string]map[string]any
	}
	read := func(data []byte, v any) {
		t.Helper()
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatal(err)
		}
	}
	read(document, &doc)
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	var served, described []string
	for _, r := range routes {
		served = append(served, r.Method+" "+r.Pattern+" "+r.Name)
	}
	for path, item := range doc.Paths {
		var common []Parameter
		if data := item["parameters"]; data != nil {
			read(data, &common)
			delete(item, "parameters")
		}
		want := regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1)
		slices.Sort(want)
		for method, data := range item {
			op := Operation{Method: method}
			read(data, &op)
			all = append(all, op)
			described = append(described, strings.ToUpper(method)+" "+path+" "+op.OperationID)
			if op.Summary == "" || len(op.Responses) == 0 {
				t.Errorf("%s lacks a summary or responses", op.OperationID)
			}
			var have []string
			for _, p := range append(op.Parameters, common...) {
				if p.In == "path" {
					have = append(have, "{"+p.Name+"}")
				}
			}
			if slices.Sort(have); !slices.Equal(have, want) {
				t.Errorf("%s: parameters %v in the path %s", op.OperationID, have, path)
			}
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("the contract differs from the routes (-routes +contract):\n%s", diff)
	}
	for _, m := range regexp.MustCompile(`"#/components/(\w+)/(\w+)"`).FindAllSubmatch(document, -1) {
		if doc.Components[string(m[1])][string(m[2])] == nil {
			t.Errorf("there is no %s", m[0])
		}
	}
	return all
}

// File is one of a multipart form.
type File struct {
	Field, Name string
	Type        string // "": application/octet-stream
	Data        []byte
}

// Form is a multipart body of fields (name, value, …) and files.
func Form(t testing.TB, fields []string, files ...File) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		head := textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition(f.Field, f.Name)}, "Content-Type": {"application/octet-stream"}}
		if f.Type != "" {
			head.Set("Content-Type", f.Type)
		}
		part, err := w.CreatePart(head)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(f.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// Log is where a logger may write from several goroutines.
type Log struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *Log) Write(d []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(d)
}

// String is what was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
