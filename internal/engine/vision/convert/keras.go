package main

import (
	"encoding/json"
	"errors"
	"fmt"
)

// layer is a layer of a Keras model.
type layer struct {
	Class   string                `json:"class_name"`
	Name    string                `json:"name"`
	Config  config                `json:"config"`
	Inbound [][][]json.RawMessage `json:"inbound_nodes"`
}

// config is what the layers that we know are configured by.
type config struct {
	Shape         []*int64        `json:"batch_input_shape"`
	Kernel        []int64         `json:"kernel_size"`
	Pool          []int64         `json:"pool_size"`
	Strides       []int64         `json:"strides"`
	Dilation      []int64         `json:"dilation_rate"`
	Padding       json.RawMessage `json:"padding"` // "same", or [[top, bottom], [left, right]]
	Activation    string          `json:"activation"`
	Bias          bool            `json:"use_bias"`
	Epsilon       float32         `json:"epsilon"`
	MaxValue      *float32        `json:"max_value"`
	Slope         float32         `json:"negative_slope"`
	Size          []int64         `json:"size"`
	Interpolation string          `json:"interpolation"`
	Format        string          `json:"data_format"`
	Axis          int             `json:"axis"`
}

// kerasGraph is the translation of a layers model.
type kerasGraph struct {
	g       *graph
	weights map[string]tensor
	done    map[string]string
	flat    map[string]bool // layers whose output is a vector
}

func (m *model) fromLayers() (*graph, error) {
	k := &kerasGraph{&graph{}, m.weights, map[string]string{}, map[string]bool{}}
	for i := range m.Topology.Keras.Config.Layers {
		l := &m.Topology.Keras.Config.Layers[i]
		in, err := k.inputs(l)
		if err == nil {
			k.done[l.Name], err = k.layer(l, in)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %q (%s): %w", l.Name, l.Class, err)
		}
	}
	for _, out := range m.Topology.Keras.Config.Outputs {
		name, err := first(out)
		if err != nil {
			return nil, err
		}
		v, ok := k.done[name]
		if !ok {
			return nil, fmt.Errorf("no layer %q to end at", name)
		}
		k.g.add("Identity", "output_"+name, nil, v)
		k.g.output("output_" + name)
	}
	return k.g, nil
}

// first is the layer's name in a reference [name, node, tensor, …].
func first(ref []json.RawMessage) (name string, err error) {
	if len(ref) == 0 {
		return "", errors.New("an empty reference")
	}
	return name, json.Unmarshal(ref[0], &name)
}

func (k *kerasGraph) inputs(l *layer) (in []string, err error) {
	if len(l.Inbound) > 1 {
		return nil, errors.New("a layer that is used twice")
	}
	for _, node := range l.Inbound {
		for _, ref := range node {
			name, err := first(ref)
			if err != nil {
				return nil, err
			}
			v, ok := k.done[name]
			if !ok {
				return nil, fmt.Errorf("no layer %q before it", name)
			}
			k.flat[l.Name] = k.flat[l.Name] || k.flat[name]
			in = append(in, v)
		}
	}
	if len(in) == 0 && l.Class != "InputLayer" {
		return nil, errors.New("it has no input")
	}
	return in, nil
}

func (k *kerasGraph) layer(l *layer, in []string) (string, error) {
	c := &l.Config
	if c.Format == "channels_first" {
		return "", errors.New("channels come first")
	}
	switch l.Class {
	case "InputLayer":
		return k.input(l)
	case "Conv2D":
		return k.conv(l, in, "kernel", false)
	case "DepthwiseConv2D":
		return k.conv(l, in, "depthwise_kernel", true)
	case "BatchNormalization":
		return k.normalise(l, in)
	case "ZeroPadding2D":
		var p [][]int64
		if json.Unmarshal(c.Padding, &p) != nil || len(p) != 2 || len(p[0]) != 2 || len(p[1]) != 2 {
			return "", fmt.Errorf("padding %s", c.Padding)
		}
		return k.g.add("Pad", "", attrs{"mode": "constant"}, in[0], k.g.ints(0, 0, p[0][0], p[1][0], 0, 0, p[0][1], p[1][1])), nil
	case "ReLU":
		switch {
		case c.Slope != 0:
			return "", errors.New("a leaky one")
		case c.MaxValue == nil:
			return k.g.activation("relu", "", in[0])
		}
		return k.g.add("Clip", "", nil, in[0], k.g.floats(nil, []float32{0}), k.g.floats(nil, []float32{*c.MaxValue})), nil
	case "Activation":
		return k.g.activation(c.Activation, "", in[0])
	case "Add":
		return k.sum(in)
	case "Concatenate":
		if c.Axis != 3 && c.Axis != -1 {
			return "", fmt.Errorf("along %d", c.Axis)
		}
		return k.g.add("Concat", "", attrs{"axis": int64(1)}, in...), nil
	case "AveragePooling2D", "MaxPooling2D":
		return k.pool(l, in)
	case "GlobalAveragePooling2D":
		k.flat[l.Name] = true
		return k.g.add("Flatten", "", nil, k.g.add("GlobalAveragePool", "", nil, in[0])), nil
	case "UpSampling2D":
		return k.enlarge(l, in)
	case "Flatten":
		if k.flat[l.Name] {
			return in[0], nil
		}
		k.flat[l.Name] = true
		return k.g.add("Flatten", "", nil, k.g.add("Transpose", "", attrs{"perm": []int64{0, 2, 3, 1}}, in[0])), nil
	case "Dense":
		return k.dense(l, in)
	case "Dropout":
		return in[0], nil
	}
	return "", errors.New("unknown")
}

func (k *kerasGraph) weight(l *layer, name string) (tensor, error) {
	w, ok := k.weights[l.Name+"/"+name]
	if !ok {
		return tensor{}, fmt.Errorf("no weights %q", name)
	}
	return w, nil
}

func (k *kerasGraph) input(l *layer) (string, error) {
	var shape []int64
	for _, d := range l.Config.Shape {
		if d == nil {
			shape = append(shape, -1)
			continue
		}
		shape = append(shape, *d)
	}
	if len(shape) != 4 {
		return "", fmt.Errorf("shape %v", shape)
	}
	k.g.input(l.Name, nchw(shape))
	return l.Name, nil
}

// finish adds a layer's activation.
func (k *kerasGraph) finish(l *layer, out string) (string, error) {
	if a := l.Config.Activation; a != "" && a != "linear" {
		if a == "softmax" && !k.flat[l.Name] {
			return "", errors.New("softmax over a picture")
		}
		return k.g.activation(a, "", out)
	}
	return out, nil
}

func pair(v []int64) []int64 {
	if len(v) != 2 {
		return []int64{1, 1}
	}
	return v
}

func (k *kerasGraph) pad(l *layer) (string, error) {
	var s string
	if err := json.Unmarshal(l.Config.Padding, &s); err != nil {
		return "", fmt.Errorf("padding %s", l.Config.Padding)
	}
	return padding(s)
}

func (k *kerasGraph) conv(l *layer, in []string, name string, depthwise bool) (string, error) {
	w, err := k.weight(l, name)
	if err != nil {
		return "", err
	}
	kernel, groups, err := k.g.kernel(w, depthwise)
	if err != nil {
		return "", err
	}
	pad, err := k.pad(l)
	if err != nil {
		return "", err
	}
	args := []string{in[0], kernel}
	if l.Config.Bias {
		b, err := k.weight(l, "bias")
		if err != nil {
			return "", err
		}
		args = append(args, k.g.floats(b.shape, b.v))
	}
	out := k.g.add("Conv", "", attrs{"strides": pair(l.Config.Strides), "dilations": pair(l.Config.Dilation), "auto_pad": pad, "group": groups}, args...)
	return k.finish(l, out)
}

func (k *kerasGraph) normalise(l *layer, in []string) (string, error) {
	args := []string{in[0]}
	for _, name := range []string{"gamma", "beta", "moving_mean", "moving_variance"} {
		w, err := k.weight(l, name)
		if err != nil {
			return "", err
		}
		args = append(args, k.g.floats(w.shape, w.v))
	}
	return k.g.add("BatchNormalization", "", attrs{"epsilon": l.Config.Epsilon}, args...), nil
}

func (k *kerasGraph) sum(in []string) (string, error) {
	out := in[0]
	for _, v := range in[1:] {
		out = k.g.add("Add", "", nil, out, v)
	}
	return out, nil
}

func (k *kerasGraph) pool(l *layer, in []string) (string, error) {
	pad, err := k.pad(l)
	if err != nil {
		return "", err
	}
	op := map[string]string{"AveragePooling2D": "AveragePool", "MaxPooling2D": "MaxPool"}[l.Class]
	strides := l.Config.Strides
	if len(strides) != 2 {
		strides = l.Config.Pool
	}
	return k.g.add(op, "", attrs{"kernel_shape": pair(l.Config.Pool), "strides": pair(strides), "auto_pad": pad}, in[0]), nil
}

func (k *kerasGraph) enlarge(l *layer, in []string) (string, error) {
	size := pair(l.Config.Size)
	a := attrs{"axes": []int64{2, 3}}
	switch l.Config.Interpolation {
	case "", "nearest":
		a["mode"], a["coordinate_transformation_mode"], a["nearest_mode"] = "nearest", "asymmetric", "floor"
	case "bilinear":
		a["mode"], a["coordinate_transformation_mode"] = "linear", "half_pixel"
	default:
		return "", fmt.Errorf("interpolation %q", l.Config.Interpolation)
	}
	return k.g.add("Resize", "", a, in[0], "", k.g.floats([]int64{2}, []float32{float32(size[0]), float32(size[1])})), nil
}

func (k *kerasGraph) dense(l *layer, in []string) (string, error) {
	if !k.flat[l.Name] {
		return "", errors.New("over a picture")
	}
	w, err := k.weight(l, "kernel")
	if err != nil {
		return "", err
	}
	out := k.g.add("MatMul", "", nil, in[0], k.g.floats(w.shape, w.v))
	if l.Config.Bias {
		b, err := k.weight(l, "bias")
		if err != nil {
			return "", err
		}
		out = k.g.add("Add", "", nil, out, k.g.floats(b.shape, b.v))
	}
	return k.finish(l, out)
}
