package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
)

// graph is an ONNX model being made.
type graph struct {
	nodes, weights, inputs, outputs message
	made                            int
}

// message is a protobuf message; the field numbers are those of onnx.proto3.
type message []byte

func (m *message) number(field int, v int64) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3)
	*m = binary.AppendUvarint(*m, uint64(v))
}

func (m *message) float(field int, v float32) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|5)
	*m = binary.LittleEndian.AppendUint32(*m, math.Float32bits(v))
}

func (m *message) bytes(field int, v []byte) {
	*m = binary.AppendUvarint(*m, uint64(field)<<3|2)
	*m = binary.AppendUvarint(*m, uint64(len(v)))
	*m = append(*m, v...)
}

func (m *message) text(field int, v string) { m.bytes(field, []byte(v)) }

// AttributeProto's types.
const (
	attrFloat  = 1
	attrInt    = 2
	attrString = 3
	attrInts   = 7
)

// attrs are the attributes of a node: float32, int64, string or []int64, by name.
type attrs map[string]any

// add adds a node and gives the name of its output, which is name, or a new one for "".
func (g *graph) add(op, name string, a attrs, in ...string) string {
	if name == "" {
		g.made++
		name = fmt.Sprintf("_%s_%d", op, g.made)
	}
	var n message
	for _, i := range in {
		n.text(1, i)
	}
	n.text(2, name)
	n.text(3, name)
	n.text(4, op)
	for _, k := range slices.Sorted(maps.Keys(a)) { // in order: the same model gives the same file
		v := a[k]
		var p message
		p.text(1, k)
		switch v := v.(type) {
		case float32:
			p.float(2, v)
			p.number(20, attrFloat)
		case int64:
			p.number(3, v)
			p.number(20, attrInt)
		case string:
			p.text(4, v)
			p.number(20, attrString)
		case []int64:
			for _, i := range v {
				p.number(8, i)
			}
			p.number(20, attrInts)
		}
		n.bytes(5, p)
	}
	g.nodes.bytes(1, n)
	return name
}

// floats adds a constant and gives its name.
func (g *graph) floats(shape []int64, v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return g.constant(1, shape, raw)
}

// ints adds a list of integers.
func (g *graph) ints(v ...int64) string {
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return g.constant(7, []int64{int64(len(v))}, raw)
}

func (g *graph) constant(kind int64, shape []int64, raw []byte) string {
	g.made++
	name := fmt.Sprintf("_c%d", g.made)
	var t message
	for _, d := range shape {
		t.number(1, d)
	}
	t.number(2, kind)
	t.text(8, name)
	t.bytes(9, raw)
	g.weights.bytes(5, t)
	return name
}

// port describes a float input or output; a negative dimension is free. Without dimensions the shape is left out.
func port(name string, shape []int64) message {
	var tensor, kind, info message
	tensor.number(1, 1)
	if shape != nil {
		var dims message
		for i, d := range shape {
			var dim message
			if d < 0 {
				dim.text(2, fmt.Sprintf("%s_%d", name, i))
			} else {
				dim.number(1, d)
			}
			dims.bytes(1, dim)
		}
		tensor.bytes(2, dims)
	}
	kind.bytes(1, tensor)
	info.text(1, name)
	info.bytes(2, kind)
	return info
}

func (g *graph) input(name string, shape []int64) { g.inputs.bytes(11, port(name, shape)) }
func (g *graph) output(name string)               { g.outputs.bytes(12, port(name, nil)) }

// opset is that of ONNX 1.13: Resize takes axes.
const opset = 18

func (g *graph) encode() []byte {
	var body message
	body = append(body, g.nodes...)
	body.text(2, "converted")
	body = append(append(append(body, g.weights...), g.inputs...), g.outputs...)
	var set, m message
	set.text(1, "")
	set.number(2, opset)
	m.number(1, 8) // IR version
	m.text(2, "tollgate convert")
	m.bytes(7, body)
	m.bytes(8, set)
	return m
}

// nchw is a shape NHWC as NCHW.
func nchw(s []int64) []int64 {
	if len(s) != 4 {
		return s
	}
	return []int64{s[0], s[3], s[1], s[2]}
}

// kernel adds the weights of a convolution, HWIO or, depthwise, HWIM, as OIHW.
func (g *graph) kernel(t tensor, depthwise bool) (name string, groups int64, err error) {
	if len(t.shape) != 4 || t.shape[0]*t.shape[1]*t.shape[2]*t.shape[3] != int64(len(t.v)) {
		return "", 0, fmt.Errorf("a kernel of shape %v", t.shape)
	}
	h, w, i, o := t.shape[0], t.shape[1], t.shape[2], t.shape[3]
	out := make([]float32, 0, len(t.v))
	at := func(y, x, c, f int64) float32 { return t.v[((y*w+x)*i+c)*o+f] }
	shape, groups := []int64{o, i, h, w}, int64(1)
	if depthwise {
		shape, groups = []int64{i * o, 1, h, w}, i
		for c := range i {
			for f := range o {
				for y := range h {
					for x := range w {
						out = append(out, at(y, x, c, f))
					}
				}
			}
		}
		return g.floats(shape, out), groups, nil
	}
	for f := range o {
		for c := range i {
			for y := range h {
				for x := range w {
					out = append(out, at(y, x, c, f))
				}
			}
		}
	}
	return g.floats(shape, out), groups, nil
}

// activation adds an activation by TensorFlow's or Keras' name.
func (g *graph) activation(kind, name, in string) (string, error) {
	switch kind {
	case "relu", "Relu":
		return g.add("Relu", name, nil, in), nil
	case "relu6", "Relu6":
		return g.add("Clip", name, nil, in, g.floats(nil, []float32{0}), g.floats(nil, []float32{6})), nil
	case "sigmoid", "Sigmoid":
		return g.add("Sigmoid", name, nil, in), nil
	case "tanh", "Tanh":
		return g.add("Tanh", name, nil, in), nil
	case "softmax", "Softmax":
		return g.add("Softmax", name, attrs{"axis": int64(-1)}, in), nil
	}
	return "", fmt.Errorf("unknown activation %q", kind)
}
