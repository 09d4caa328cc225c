package onnx_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/onnx/onnxtest"
)

type input struct {
	name  string
	kind  int64
	shape []int64
}

type node struct {
	op      string
	in, out []string
	numbers map[string]int64 // attributes
}

// writeModel writes a model, whose weights are square matrices, and gives its path.
func writeModel(t testing.TB, dir string, nodes []node, weights map[string][]float32, inputs, outputs []input) string {
	t.Helper()
	var m onnxtest.Model
	for _, n := range nodes {
		m.Nodes = append(m.Nodes, onnxtest.Node{Op: n.op, In: n.in, Out: n.out, Ints: n.numbers})
	}
	for name, w := range weights {
		side := int64(math.Sqrt(float64(len(w))))
		m.Weights = append(m.Weights, onnxtest.Tensor{Name: name, Shape: []int64{side, side}, F32: w})
	}
	for _, p := range inputs {
		m.Inputs = append(m.Inputs, onnxtest.Port{Name: p.name, Type: p.kind, Shape: p.shape})
	}
	for _, p := range outputs {
		m.Outputs = append(m.Outputs, onnxtest.Port{Name: p.name, Type: p.kind, Shape: p.shape})
	}
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, m.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// matmul is a model y = x·w with w of side n and x of any number of rows.
func matmul(t testing.TB, n int64, w []float32) string {
	t.Helper()
	return writeModel(t, t.TempDir(), []node{{op: "MatMul", in: []string{"x", "w"}, out: []string{"y"}}},
		map[string][]float32{"w": w}, []input{{"x", 1, []int64{-1, n}}}, []input{{"y", 1, []int64{-1, n}}})
}
