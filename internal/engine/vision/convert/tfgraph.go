package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// graphNode is a node of TensorFlow's GraphDef as JSON.
type graphNode struct {
	Name  string               `json:"name"`
	Op    string               `json:"op"`
	Input []string             `json:"input"`
	Attr  map[string]attribute `json:"attr"`
}

// attribute is an AttrValue. Strings are base64, integers are text.
type attribute struct {
	S    string `json:"s"`
	B    bool   `json:"b"`
	List struct {
		I []json.Number `json:"i"`
		S []string      `json:"s"`
	} `json:"list"`
	Shape struct {
		Dim []struct {
			Size json.Number `json:"size"`
		} `json:"dim"`
	} `json:"shape"`
}

func (n *graphNode) text(name string) string { return unbase64(n.Attr[name].S) }

func unbase64(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return s
	}
	return string(b)
}

// spatial is the two middle numbers of an attribute of four: strides, dilations.
func (n *graphNode) spatial(name string) ([]int64, error) {
	list := n.Attr[name].List.I
	if len(list) == 0 {
		return []int64{1, 1}, nil
	}
	if len(list) != 4 {
		return nil, fmt.Errorf("%s has %d numbers", name, len(list))
	}
	var out []int64
	for _, v := range list[1:3] {
		i, err := v.Int64()
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// tfGraph is the translation of a graph model.
type tfGraph struct {
	g       *graph
	nodes   map[string]*graphNode
	weights map[string]tensor
	done    map[string]string // TensorFlow's name → ours, of what is computed
	active  map[string]bool   // being translated: a cycle, if met again
}

func (m *model) fromGraph(outputs []string) (*graph, error) {
	if len(outputs) == 0 {
		return nil, errors.New("a graph model needs -outputs")
	}
	t := &tfGraph{&graph{}, map[string]*graphNode{}, m.weights, map[string]string{}, map[string]bool{}}
	for i := range m.Topology.Node {
		n := &m.Topology.Node[i]
		t.nodes[n.Name] = n
	}
	for _, name := range outputs {
		v, err := t.value(name)
		if err != nil {
			return nil, err
		}
		if v != name {
			t.g.add("Identity", name, nil, v)
		}
		t.g.output(name)
	}
	return t.g, nil
}

// value translates a node, and what it needs, once.
func (t *tfGraph) value(ref string) (string, error) {
	name := strings.TrimSuffix(ref, ":0")
	if v, ok := t.done[name]; ok {
		return v, nil
	}
	n := t.nodes[name]
	if n == nil || t.active[name] {
		return "", fmt.Errorf("no node %q, or it depends on itself", ref)
	}
	t.active[name] = true
	v, err := t.node(n)
	if err != nil {
		return "", fmt.Errorf("node %q (%s): %w", name, n.Op, err)
	}
	t.done[name] = v
	return v, nil
}

// constant is a node's value if it is a weight.
func (t *tfGraph) constant(n *graphNode, input int) (tensor, error) {
	if input >= len(n.Input) {
		return tensor{}, errors.New("an input is missing")
	}
	w, ok := t.weights[n.Input[input]]
	if c := t.nodes[n.Input[input]]; !ok || c == nil || c.Op != "Const" {
		return tensor{}, fmt.Errorf("input %q is not constant", n.Input[input])
	}
	return w, nil
}

func (t *tfGraph) inputs(n *graphNode, count int) (in []string, err error) {
	if len(n.Input) < count {
		return nil, errors.New("an input is missing")
	}
	for _, ref := range n.Input[:count] {
		v, err := t.value(ref)
		if err != nil {
			return nil, err
		}
		in = append(in, v)
	}
	return in, nil
}

func (t *tfGraph) node(n *graphNode) (string, error) {
	switch n.Op {
	case "Placeholder":
		return t.placeholder(n)
	case "Const":
		w, ok := t.weights[n.Name]
		if !ok {
			return "", errors.New("has no weights")
		}
		return t.g.channels(w)
	case "_FusedConv2D", "Conv2D":
		return t.conv(n, false)
	case "FusedDepthwiseConv2dNative", "DepthwiseConv2dNative":
		return t.conv(n, true)
	case "Mul", "Add", "AddV2", "Sub", "BiasAdd":
		in, err := t.inputs(n, 2)
		if err != nil {
			return "", err
		}
		return t.g.add(map[string]string{"Mul": "Mul", "Sub": "Sub"}[n.Op]+map[string]string{"Add": "Add", "AddV2": "Add", "BiasAdd": "Add"}[n.Op], n.Name, nil, in...), nil
	case "Identity":
		in, err := t.inputs(n, 1)
		if err != nil {
			return "", err
		}
		return t.g.add("Identity", n.Name, nil, in...), nil
	case "Mean":
		return t.mean(n)
	case "ResizeBilinear":
		return t.resize(n)
	case "ConcatV2":
		return t.concat(n)
	}
	in, err := t.inputs(n, 1)
	if err != nil {
		return "", err
	}
	return t.g.activation(n.Op, n.Name, in[0])
}

func (t *tfGraph) placeholder(n *graphNode) (string, error) {
	var shape []int64
	for _, d := range n.Attr["shape"].Shape.Dim {
		v, err := d.Size.Int64()
		if err != nil {
			return "", err
		}
		shape = append(shape, v)
	}
	t.g.input(n.Name, nchw(shape))
	return n.Name, nil
}

// channels adds a constant that is combined with a picture: what runs along the last axis, the channels, in
// TensorFlow, must run along the second in ONNX.
func (g *graph) channels(w tensor) (string, error) {
	switch len(w.shape) {
	case 0:
		return g.floats(nil, w.v), nil
	case 1:
		if w.shape[0] == 1 {
			return g.floats(nil, w.v), nil
		}
		return g.floats([]int64{w.shape[0], 1, 1}, w.v), nil
	case 4:
		if w.shape[0]*w.shape[1]*w.shape[2] == 1 {
			return g.floats(nchw(w.shape), w.v), nil
		}
	}
	return "", fmt.Errorf("a constant of shape %v", w.shape)
}

func (t *tfGraph) conv(n *graphNode, depthwise bool) (string, error) {
	in, err := t.inputs(n, 1)
	if err != nil {
		return "", err
	}
	w, err := t.constant(n, 1)
	if err != nil {
		return "", err
	}
	kernel, groups, err := t.g.kernel(w, depthwise)
	if err != nil {
		return "", err
	}
	strides, err := n.spatial("strides")
	if err != nil {
		return "", err
	}
	dilations, err := n.spatial("dilations")
	if err != nil {
		return "", err
	}
	pad, err := padding(n.text("padding"))
	if err != nil {
		return "", err
	}
	in = append(in, kernel)
	fused := n.Attr["fused_ops"].List.S
	if len(fused) > 0 {
		if unbase64(fused[0]) != "BiasAdd" {
			return "", fmt.Errorf("fused with %q", unbase64(fused[0]))
		}
		b, err := t.constant(n, 2)
		if err != nil {
			return "", err
		}
		in = append(in, t.g.floats([]int64{int64(len(b.v))}, b.v))
		fused = fused[1:]
	}
	name := n.Name
	if len(fused) > 0 {
		name = ""
	}
	out := t.g.add("Conv", name, attrs{"strides": strides, "dilations": dilations, "auto_pad": pad, "group": groups}, in...)
	for i, f := range fused {
		name := ""
		if i == len(fused)-1 {
			name = n.Name
		}
		if out, err = t.g.activation(unbase64(f), name, out); err != nil {
			return "", err
		}
	}
	return out, nil
}

func padding(s string) (string, error) {
	switch strings.ToLower(s) {
	case "same":
		return "SAME_UPPER", nil
	case "valid":
		return "VALID", nil
	}
	return "", fmt.Errorf("unknown padding %q", s)
}

func (t *tfGraph) mean(n *graphNode) (string, error) {
	axes, err := t.constant(n, 1)
	if err != nil {
		return "", err
	}
	if !slices.Equal(axes.v, []float32{1, 2}) || !n.Attr["keep_dims"].B {
		return "", fmt.Errorf("over the axes %v", axes.v)
	}
	in, err := t.inputs(n, 1)
	if err != nil {
		return "", err
	}
	return t.g.add("GlobalAveragePool", n.Name, nil, in...), nil
}

func (t *tfGraph) resize(n *graphNode) (string, error) {
	size, err := t.constant(n, 1)
	if err != nil {
		return "", err
	}
	if len(size.v) != 2 {
		return "", fmt.Errorf("to %v", size.v)
	}
	in, err := t.inputs(n, 1)
	if err != nil {
		return "", err
	}
	mode := "asymmetric"
	switch {
	case n.Attr["align_corners"].B:
		mode = "align_corners"
	case n.Attr["half_pixel_centers"].B:
		mode = "half_pixel"
	}
	return t.g.add("Resize", n.Name, attrs{"mode": "linear", "coordinate_transformation_mode": mode, "axes": []int64{2, 3}},
		in[0], "", "", t.g.ints(int64(size.v[0]), int64(size.v[1]))), nil
}

func (t *tfGraph) concat(n *graphNode) (string, error) {
	count := len(n.Input) - 1
	axis, err := t.constant(n, max(count, 0))
	if err != nil {
		return "", err
	}
	if len(axis.v) != 1 || axis.v[0] != 3 && axis.v[0] != -1 {
		return "", fmt.Errorf("along %v", axis.v)
	}
	in, err := t.inputs(n, count)
	if err != nil {
		return "", err
	}
	return t.g.add("Concat", n.Name, attrs{"axis": int64(1)}, in...), nil
}
