package onnx_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child/childtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// enginesDir is an engines directory with the installed library and a child built from this tree.
func enginesDir(t testing.TB) engine.Dir {
	t.Helper()
	return enginetest.Child(t, "the ONNX Runtime", "tollgate-onnx", "lib/libonnxruntime.so")
}

func newRuntime(t testing.TB, o onnx.Options) *onnx.Runtime {
	t.Helper()
	o.Dir = enginesDir(t)
	return enginetest.Closed(t, onnx.New(o))
}

func TestMissing(t *testing.T) {
	t.Parallel()
	for _, dir := range []engine.Dir{"", engine.Dir(t.TempDir()), "/does/not/exist"} {
		r := enginetest.Closed(t, onnx.New(onnx.Options{Dir: dir}))
		if r.Ready() {
			t.Errorf("%q: ready", dir)
		}
		_, err := r.Run(t.Context(), "model.onnx", nil)
		if !problem.Is(err, problem.Unavailable) || problem.As(err).ID != "engine.missing" {
			t.Errorf("%q: %v", dir, err)
		}
	}
}

// TestRuntime runs small models on one child.
func TestRuntime(t *testing.T) {
	t.Parallel()
	r := newRuntime(t, onnx.Options{})
	if !r.Ready() {
		t.Fatal("not ready")
	}
	t.Run("run", func(t *testing.T) { testRun(t, r) })
	t.Run("describe", func(t *testing.T) { testDescribe(t, r) })
	t.Run("types", func(t *testing.T) { testTypes(t, r) })
	t.Run("refusals", func(t *testing.T) { testRefusals(t, r) })
	t.Run("a model that changes", func(t *testing.T) { testReload(t, r) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, r) })
	t.Run("many models", func(t *testing.T) { testManyModels(t, r) })
	t.Run("too large", func(t *testing.T) { testTooLarge(t, r) })
	t.Run("killed", func(t *testing.T) { testKilled(t, r) })
}

func testRun(t *testing.T, r *onnx.Runtime) {
	model := matmul(t, 2, []float32{1, 2, 3, 4})
	for _, x := range []onnx.Tensor{
		{Shape: []int64{1, 2}, F32: []float32{1, 1}},
		{Shape: []int64{3, 2}, F32: []float32{1, 0, 0, 1, 2, 2}},
		{Shape: []int64{0, 2}, F32: []float32{}},
	} {
		want := onnx.Tensor{Shape: x.Shape, F32: []float32{}}
		for i := 0; i < len(x.F32); i += 2 {
			a, b := x.F32[i], x.F32[i+1]
			want.F32 = append(want.F32, a+3*b, 2*a+4*b)
		}
		for _, outputs := range [][]string{{"y"}, nil} {
			got, err := r.Run(t.Context(), model, map[string]onnx.Tensor{"x": x}, outputs...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]onnx.Tensor{"y": want}, got); diff != "" {
				t.Errorf("shape %v (-want +got):\n%s", x.Shape, diff)
			}
		}
	}
}

func testDescribe(t *testing.T, r *onnx.Runtime) {
	in, out, err := r.Describe(t.Context(), matmul(t, 2, []float32{1, 2, 3, 4}))
	if err != nil {
		t.Fatal(err)
	}
	want := []onnx.Port{{Name: "x", Type: "float32", Shape: []int64{-1, 2}}}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Error(diff)
	}
	if len(out) != 1 || out[0].Name != "y" {
		t.Errorf("outputs %v", out)
	}
}

// testTypes sends each type through a model that casts it to every type.
func testTypes(t *testing.T, r *onnx.Runtime) {
	types := map[string]int64{"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float64": 11, "uint32": 12, "uint64": 13}
	given := map[string]onnx.Tensor{
		"float32": {F32: []float32{0, 1}}, "float64": {F32: []float32{0, 1}}, "int64": {I64: []int64{0, 1}}, "int32": {I64: []int64{0, 1}},
		"uint8": {U8: []uint8{0, 1}}, "bool": {U8: []uint8{0, 1}},
	}
	for from, x := range given {
		var nodes []node
		var outputs []input
		for to, kind := range types {
			nodes = append(nodes, node{op: "Cast", in: []string{"x"}, out: []string{to}, numbers: map[string]int64{"to": kind}})
			outputs = append(outputs, input{to, kind, []int64{2}})
		}
		model := writeModel(t, t.TempDir(), nodes, nil, []input{{"x", types[from], []int64{2}}}, outputs)
		x.Shape = []int64{2}
		got, err := r.Run(t.Context(), model, map[string]onnx.Tensor{"x": x})
		if err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		for to := range types {
			want := onnx.Tensor{Shape: []int64{2}}
			switch to {
			case "float32", "float64":
				want.F32 = []float32{0, 1}
			case "uint8", "bool":
				want.U8 = []uint8{0, 1}
			default:
				want.I64 = []int64{0, 1}
			}
			if diff := cmp.Diff(want, got[to]); diff != "" {
				t.Errorf("%s to %s (-want +got):\n%s", from, to, diff)
			}
		}
	}
}

func testRefusals(t *testing.T, r *onnx.Runtime) {
	good := matmul(t, 2, []float32{1, 2, 3, 4})
	bad := filepath.Join(t.TempDir(), "bad.onnx")
	if err := os.WriteFile(bad, []byte("this is not a model"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := writeModel(t, t.TempDir(), []node{{op: "Identity", in: []string{"x"}, out: []string{"y"}}}, nil, []input{{"x", 8, []int64{1}}}, []input{{"y", 8, []int64{1}}})
	x := onnx.Tensor{Shape: []int64{1, 2}, F32: []float32{1, 1}}
	for name, c := range map[string]struct {
		model  string
		in     map[string]onnx.Tensor
		output string
		want   string
	}{
		"no file":        {"/does/not/exist.onnx", nil, "y", "cannot be read"},
		"no model":       {bad, nil, "y", "load"},
		"no input":       {good, nil, "y", "x"},
		"unknown input":  {good, map[string]onnx.Tensor{"z": x}, "y", `no input "z"`},
		"unknown output": {good, map[string]onnx.Tensor{"x": x}, "z", "z"},
		"wrong type":     {good, map[string]onnx.Tensor{"x": {Shape: []int64{1, 2}, I64: []int64{1, 1}}}, "y", "float32"},
		"wrong shape":    {good, map[string]onnx.Tensor{"x": {Shape: []int64{1, 3}, F32: []float32{1, 1, 1}}}, "y", "dim"},
		"texts":          {text, map[string]onnx.Tensor{"x": x}, "y", "string"},
	} {
		_, err := r.Run(t.Context(), c.model, c.in, c.output)
		if !errors.Is(err, onnx.ErrModel) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bent := onnx.Tensor{Shape: []int64{2, 2}, F32: []float32{1, 1}}
	if _, err := r.Run(t.Context(), good, map[string]onnx.Tensor{"x": bent}, "y"); err == nil {
		t.Error("a shape that does not fit was accepted")
	}
	if _, err := r.Run(t.Context(), good, map[string]onnx.Tensor{"x": x}, "y"); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

func testReload(t *testing.T, r *onnx.Runtime) {
	path := matmul(t, 1, []float32{2})
	x := map[string]onnx.Tensor{"x": {Shape: []int64{1, 1}, F32: []float32{3}}}
	for i, want := range []float32{6, 15} {
		if i == 1 {
			newer := matmul(t, 1, []float32{5})
			if err := os.Rename(newer, path); err != nil {
				t.Fatal(err)
			}
		}
		out, err := r.Run(t.Context(), path, x, "y")
		if err != nil || out["y"].F32[0] != want {
			t.Errorf("%v %v, want %v", out, err, want)
		}
	}
}

func testConcurrent(t *testing.T, r *onnx.Runtime) {
	model := matmul(t, 1, []float32{2})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			out, err := r.Run(t.Context(), model, map[string]onnx.Tensor{"x": {Shape: []int64{1, 1}, F32: []float32{float32(i)}}}, "y")
			if err != nil || out["y"].F32[0] != float32(2*i) {
				t.Errorf("%d: %v %v", i, out, err)
			}
		})
	}
	all.Wait()
}

// testManyModels uses more models than are kept at a time.
func testManyModels(t *testing.T, r *onnx.Runtime) {
	err := r.Session(t.Context(), func(s *onnx.Session) error {
		for i := range 40 {
			out, err := s.Run(matmul(t, 1, []float32{float32(i)}), map[string]onnx.Tensor{"x": {Shape: []int64{1, 1}, F32: []float32{2}}}, "y")
			if err != nil {
				return err
			}
			if got := out["y"].F32[0]; got != float32(2*i) {
				t.Errorf("%d: %v", i, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// testTooLarge: what does not fit into a message, or into memory, fails alone.
func testTooLarge(t *testing.T, r *onnx.Runtime) {
	outer := writeModel(t, t.TempDir(), []node{{op: "MatMul", in: []string{"a", "b"}, out: []string{"y"}}}, nil,
		[]input{{"a", 1, []int64{-1, 1}}, {"b", 1, []int64{1, -1}}}, []input{{"y", 1, []int64{-1, -1}}})
	for _, n := range []int64{9000, 60000} { // 324 MB, and 14 GB
		in := map[string]onnx.Tensor{"a": {Shape: []int64{n, 1}, F32: make([]float32, n)}, "b": {Shape: []int64{1, n}, F32: make([]float32, n)}}
		if _, err := r.Run(t.Context(), outer, in, "y"); !errors.Is(err, onnx.ErrModel) && !problem.Is(err, problem.Unavailable) {
			t.Errorf("%d: %v", n, err)
		}
	}
	big := onnx.Tensor{Shape: []int64{1 << 27}, F32: make([]float32, 1<<27)}
	if _, err := r.Run(t.Context(), outer, map[string]onnx.Tensor{"a": big}, "y"); !errors.Is(err, child.ErrTooLarge) {
		t.Errorf("a large input: %v", err)
	}
	in := map[string]onnx.Tensor{"a": {Shape: []int64{1, 1}, F32: []float32{2}}, "b": {Shape: []int64{1, 1}, F32: []float32{3}}}
	if out, err := r.Run(t.Context(), outer, in, "y"); err != nil || out["y"].F32[0] != 6 {
		t.Errorf("after it: %v %v", out, err)
	}
}

func TestChildRefuses(t *testing.T) {
	t.Parallel()
	childtest.Refuses(t, enginesDir(t), "tollgate-onnx", "libonnxruntime.so", "the ONNX Runtime", "ONNX Runtime 1.")
}

// testKilled kills the child while it is used: that call fails, the next one does not.
func testKilled(t *testing.T, r *onnx.Runtime) {
	model := matmul(t, 1, []float32{2})
	x := map[string]onnx.Tensor{"x": {Shape: []int64{1, 1}, F32: []float32{3}}}
	err := r.Session(t.Context(), func(s *onnx.Session) error {
		s.Kill()
		_, err := s.Run(model, x, "y")
		if _, again := s.Run(model, x, "y"); again == nil {
			t.Error("the session goes on")
		}
		return err
	})
	if !problem.Is(err, problem.Unavailable) {
		t.Errorf("%v", err)
	}
	if _, err := r.Run(t.Context(), model, x, "y"); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// TestLimits: a call that is too slow ends, and so do models and children that nobody uses.
func TestLimits(t *testing.T) {
	t.Parallel()
	r := newRuntime(t, onnx.Options{Time: 2 * time.Second})
	side := int64(64)
	model := writeModel(t, t.TempDir(), slowNodes(4000), map[string][]float32{"w": make([]float32, side*side)}, []input{{"x", 1, []int64{-1, side}}}, []input{{"y", 1, []int64{-1, side}}})
	x := onnx.Tensor{Shape: []int64{20000, side}, F32: make([]float32, 20000*side)}
	_, err := r.Run(t.Context(), model, map[string]onnx.Tensor{"x": x}, "y")
	if !problem.Is(err, problem.Timeout) {
		t.Errorf("slow: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Run(ctx, model, nil); !problem.Is(err, problem.ClientGone) {
		t.Errorf("cancelled: %v", err)
	}
}

// slowNodes is a chain of n multiplications from x to y.
func slowNodes(n int) []node {
	var nodes []node
	last := "x"
	for i := range n {
		next := "y"
		if i < n-1 {
			next = "h" + string(rune('0'+i%10)) + strings.Repeat("h", i/10%50) + strings.Repeat("i", i/500)
		}
		nodes = append(nodes, node{op: "MatMul", in: []string{last, "w"}, out: []string{next}})
		last = next
	}
	return nodes
}

func BenchmarkRun(b *testing.B) {
	r := newRuntime(b, onnx.Options{})
	for name, size := range map[string]int64{"small": 1, "1MiB": 4096} {
		model := matmul(b, 64, make([]float32, 64*64))
		x := map[string]onnx.Tensor{"x": {Shape: []int64{size, 64}, F32: make([]float32, 64*size)}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Run(b.Context(), model, x, "y"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
