package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// model is a model.json of TensorFlow.js.
type model struct {
	Topology struct {
		Node  []graphNode `json:"node"` // of a graph model
		Keras struct {
			Config struct {
				Layers  []layer             `json:"layers"`
				Outputs [][]json.RawMessage `json:"output_layers"`
			} `json:"config"`
		} `json:"model_config"`
	} `json:"modelTopology"`
	Manifest []struct {
		Paths   []string `json:"paths"`
		Weights []spec   `json:"weights"`
	} `json:"weightsManifest"`

	weights map[string]tensor
}

// spec says how one weight lies in the weights' file.
type spec struct {
	Name         string  `json:"name"`
	Shape        []int64 `json:"shape"`
	Type         string  `json:"dtype"`
	Quantization *struct {
		Type  string  `json:"dtype"`
		Min   float64 `json:"min"`
		Scale float64 `json:"scale"`
	} `json:"quantization"`
}

// tensor is a weight; integers are held as numbers, too.
type tensor struct {
	shape []int64
	v     []float32
}

const maxElements = 1 << 28

// load reads a model with its weights.
func load(path string) (*model, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	bundle := strings.HasSuffix(path, ".js")
	if bundle {
		if data, err = exported(data); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	m, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.weights = map[string]tensor{}
	for _, group := range m.Manifest {
		var all []byte
		for _, p := range group.Paths {
			part, err := readWeights(filepath.Join(filepath.Dir(path), filepath.Base(p)), bundle)
			if err != nil {
				return nil, err
			}
			all = append(all, part...)
		}
		if err := unpack(m.weights, group.Weights, all); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return m, nil
}

func readWeights(path string, bundle bool) ([]byte, error) {
	if !bundle {
		return os.ReadFile(path)
	}
	data, err := os.ReadFile(path + ".min.js")
	if err != nil {
		return nil, err
	}
	if data, err = exported(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return base64.StdEncoding.DecodeString(text)
}

func parse(data []byte) (*model, error) {
	var m model
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, err
	}
	if m.Topology.Node == nil && m.Topology.Keras.Config.Layers == nil {
		return nil, errors.New("neither a graph model nor a layers model")
	}
	return &m, nil
}

// unpack reads the weights that lie one after the other in data.
func unpack(into map[string]tensor, specs []spec, data []byte) error {
	for _, s := range specs {
		n := int64(1)
		for _, d := range s.Shape {
			if d < 0 || d > maxElements || n*d > maxElements {
				return fmt.Errorf("weight %q: shape %v", s.Name, s.Shape)
			}
			n *= d
		}
		stored := s.Type
		if s.Quantization != nil {
			stored = s.Quantization.Type
		}
		size, ok := map[string]int64{"float32": 4, "int32": 4, "float16": 2, "uint16": 2, "uint8": 1, "bool": 1}[stored]
		if !ok {
			return fmt.Errorf("weight %q: unknown type %q", s.Name, stored)
		}
		if int64(len(data)) < n*size {
			return fmt.Errorf("weight %q: the weights are cut off", s.Name)
		}
		t := tensor{s.Shape, make([]float32, n)}
		for i := range t.v {
			t.v[i] = number(stored, data[int64(i)*size:])
			if q := s.Quantization; q != nil && q.Type != "float16" {
				t.v[i] = float32(float64(t.v[i])*q.Scale + q.Min)
			}
		}
		into[s.Name] = t
		data = data[n*size:]
	}
	return nil
}

func number(kind string, b []byte) float32 {
	switch kind {
	case "float32":
		return math.Float32frombits(binary.LittleEndian.Uint32(b))
	case "int32":
		return float32(int32(binary.LittleEndian.Uint32(b)))
	case "float16":
		return half(binary.LittleEndian.Uint16(b))
	case "uint16":
		return float32(binary.LittleEndian.Uint16(b))
	}
	return float32(b[0])
}

// half reads IEEE 754's binary16.
func half(b uint16) float32 {
	sign, exp, frac := float64(1), int(b>>10&31), float64(b&1023)
	if b>>15 == 1 {
		sign = -1
	}
	switch exp {
	case 0:
		return float32(sign * math.Ldexp(frac, -24))
	case 31:
		if frac != 0 {
			return float32(math.NaN())
		}
		return float32(math.Inf(int(sign)))
	}
	return float32(sign * math.Ldexp(1024+frac, exp-25))
}
