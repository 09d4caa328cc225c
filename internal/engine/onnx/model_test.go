package onnx_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// A few lines of ONNX's protobuf schema (onnx.proto3), enough to write small models.
type message []byte

func (m *message) number(field int, v int64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3)
	*m = binary.AppendUvarint(*m, uint64(v))
}

func (m *message) bytes(field int, v []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2)
	*m = binary.AppendUvarint(*m, uint64(len(v)))
	*m = append(*m, v...)
}

type input struct {
	name  string
	kind  int64 // TensorProto.DataType: 1 float, 2 uint8, 6 int32, 7 int64, 9 bool, 11 double
	shape []int64
}

type node struct {
	op      string
	in, out []string
	numbers map[string]int64 // attributes
}

func valueInfo(v input) []byte {
	var shape, tensor, kind, info message
	for _, d := range v.shape {
		var dim message
		if d < 0 {
			dim.bytes(2, []byte("N"))
		} else {
			dim.number(1, d)
		}
		shape.bytes(1, dim)
	}
	tensor.number(1, v.kind)
	tensor.bytes(2, shape)
	kind.bytes(1, tensor)
	info.bytes(1, []byte(v.name))
	info.bytes(2, kind)
	return info
}

// writeModel writes a model and gives its path.
func writeModel(t testing.TB, dir string, nodes []node, weights map[string][]float32, inputs, outputs []input) string {
	t.Helper()
	var graph, model, opset message
	for _, n := range nodes {
		var m message
		for _, s := range n.in {
			m.bytes(1, []byte(s))
		}
		for _, s := range n.out {
			m.bytes(2, []byte(s))
		}
		m.bytes(4, []byte(n.op))
		for name, v := range n.numbers {
			var a message
			a.bytes(1, []byte(name))
			a.number(3, v)
			a.number(20, 2) // INT
			m.bytes(5, a)
		}
		graph.bytes(1, m)
	}
	graph.bytes(2, []byte("test"))
	for name, w := range weights { // square matrices
		var m message
		side := int64(math.Sqrt(float64(len(w))))
		m.number(1, side)
		m.number(1, side)
		m.number(2, 1)
		m.bytes(8, []byte(name))
		raw := make([]byte, 0, 4*len(w))
		for _, v := range w {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		m.bytes(9, raw)
		graph.bytes(5, m)
	}
	for _, v := range inputs {
		graph.bytes(11, valueInfo(v))
	}
	for _, v := range outputs {
		graph.bytes(12, valueInfo(v))
	}
	opset.number(2, 13)
	model.number(1, 8)
	model.bytes(7, graph)
	model.bytes(8, opset)
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, model, 0o600); err != nil {
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
