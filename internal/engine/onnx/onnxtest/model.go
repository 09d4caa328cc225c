// Package onnxtest writes small ONNX models for tests. It knows a few lines of ONNX's protobuf schema (onnx.proto3).
package onnxtest

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"
)

// Types of elements: TensorProto.DataType.
const (
	Float  = 1
	Uint8  = 2
	Int32  = 6
	Int64  = 7
	String = 8
	Bool   = 9
	Double = 11
)

// Node is an operation. Its attributes are integers and lists of them.
type Node struct {
	Op      string
	In, Out []string
	Ints    map[string]int64
	Lists   map[string][]int64
}

// Tensor is a constant: one of F32 and I64 has its elements.
type Tensor struct {
	Name  string
	Shape []int64
	F32   []float32
	I64   []int64
}

// Port is an input or output. A dimension below zero is free.
type Port struct {
	Name  string
	Type  int64
	Shape []int64
}

// Model is a graph with what is said about it.
type Model struct {
	Nodes           []Node
	Weights         []Tensor
	Inputs, Outputs []Port
	Metadata        map[string]string
}

// message is a protobuf message in the making.
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

func (m *message) text(field int, s string) { m.bytes(field, []byte(s)) }

// Bytes is the model as a file has it.
func (m Model) Bytes() []byte {
	var graph, model, opset message
	for _, n := range m.Nodes {
		graph.bytes(1, n.message())
	}
	graph.text(2, "test")
	for _, w := range m.Weights {
		graph.bytes(5, w.message())
	}
	for _, p := range m.Inputs {
		graph.bytes(11, p.message())
	}
	for _, p := range m.Outputs {
		graph.bytes(12, p.message())
	}
	opset.number(2, 13)
	model.number(1, 8)
	model.bytes(7, graph)
	model.bytes(8, opset)
	for _, key := range slices.Sorted(maps.Keys(m.Metadata)) {
		var entry message
		entry.text(1, key)
		entry.text(2, m.Metadata[key])
		model.bytes(14, entry)
	}
	return model
}

func (n Node) message() (m message) {
	for _, s := range n.In {
		m.text(1, s)
	}
	for _, s := range n.Out {
		m.text(2, s)
	}
	m.text(4, n.Op)
	for name, v := range n.Ints {
		var a message
		a.text(1, name)
		a.number(3, v)
		a.number(20, 2) // INT
		m.bytes(5, a)
	}
	for name, list := range n.Lists {
		var a message
		a.text(1, name)
		for _, v := range list {
			a.number(8, v)
		}
		a.number(20, 7) // INTS
		m.bytes(5, a)
	}
	return m
}

func (t Tensor) message() (m message) {
	for _, d := range t.Shape {
		m.number(1, d)
	}
	kind, raw := int64(Float), make([]byte, 0, 4*len(t.F32)+8*len(t.I64))
	for _, v := range t.F32 {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	for _, v := range t.I64 {
		kind, raw = Int64, binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	m.number(2, kind)
	m.text(8, t.Name)
	m.bytes(9, raw)
	return m
}

func (p Port) message() []byte {
	var shape, tensor, kind, info message
	for _, d := range p.Shape {
		var dim message
		if d < 0 {
			dim.text(2, "N")
		} else {
			dim.number(1, d)
		}
		shape.bytes(1, dim)
	}
	tensor.number(1, p.Type)
	tensor.bytes(2, shape)
	kind.bytes(1, tensor)
	info.text(1, p.Name)
	info.bytes(2, kind)
	return info
}
