// Package sherpatest plants models for tests of what recognises speech: a handful of weights that tell low sounds from high
// ones. They understand nothing and are no measure of quality.
package sherpatest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine/onnx/onnxtest"
)

const (
	features = 80 // mel bands of a frame
	stride   = 4  // frames of 10 ms for one of the output
)

// Tokens are what the planted models know, beside the blank: a sound in the band around 300 Hz, and one around 3 kHz.
var Tokens = []string{"▁low", "▁high"}

// Offline plants a model for whole utterances, of the type zipformer_ctc, into a folder below root.
func Offline(t testing.TB, root, name string, tokens ...string) (folder string) {
	t.Helper()
	m := onnxtest.Model{
		Nodes: append(graph(),
			onnxtest.Node{Op: "Add", In: []string{"x_lens", "three"}, Out: []string{"more"}},
			onnxtest.Node{Op: "Div", In: []string{"more", "four"}, Out: []string{"log_probs_len"}}),
		Weights: append(weights(),
			onnxtest.Tensor{Name: "three", Shape: []int64{1}, I64: []int64{stride - 1}},
			onnxtest.Tensor{Name: "four", Shape: []int64{1}, I64: []int64{stride}}),
		Inputs:   []onnxtest.Port{{Name: "x", Type: onnxtest.Float, Shape: []int64{-1, -1, features}}, {Name: "x_lens", Type: onnxtest.Int64, Shape: []int64{-1}}},
		Outputs:  []onnxtest.Port{{Name: "log_probs", Type: onnxtest.Float, Shape: []int64{-1, -1, 3}}, {Name: "log_probs_len", Type: onnxtest.Int64, Shape: []int64{-1}}},
		Metadata: map[string]string{"model_type": "zipformer2_ctc", "vocab_size": "3"},
	}
	return plant(t, root, name, "model.onnx", m, tokens)
}

// chunk is the frames that a streaming model takes at a time.
const chunk = 32

// Streaming plants a streaming model, of the type zipformer_ctc, with the states of one layer that remember nothing.
func Streaming(t testing.TB, root, name string, tokens ...string) (folder string) {
	t.Helper()
	const left, dim, kernel = 2, 4, 3
	m := onnxtest.Model{
		Nodes: graph(), Weights: weights(),
		Inputs:  []onnxtest.Port{{Name: "x", Type: onnxtest.Float, Shape: []int64{1, chunk, features}}},
		Outputs: []onnxtest.Port{{Name: "log_probs", Type: onnxtest.Float, Shape: []int64{1, chunk / stride, 3}}},
		Metadata: map[string]string{"model_type": "zipformer2", "T": fmt.Sprint(chunk), "decode_chunk_len": fmt.Sprint(chunk), "encoder_dims": fmt.Sprint(dim),
			"query_head_dims": "1", "value_head_dims": "1", "num_heads": "1", "num_encoder_layers": "1",
			"cnn_module_kernels": fmt.Sprint(kernel), "left_context_len": fmt.Sprint(left)},
	}
	for i, shape := range [][]int64{{left, 1, 1}, {1, 1, left, 3 * dim / 4}, {left, 1, 1}, {left, 1, 1}, {1, dim, kernel / 2}, {1, dim, kernel / 2}, {1, 128, 3, 19}, {1}} {
		in, out, kind := fmt.Sprintf("state%d", i), fmt.Sprintf("new_state%d", i), int64(onnxtest.Float)
		if len(shape) == 1 {
			kind = onnxtest.Int64
		}
		m.Inputs = append(m.Inputs, onnxtest.Port{Name: in, Type: kind, Shape: shape})
		m.Outputs = append(m.Outputs, onnxtest.Port{Name: out, Type: kind, Shape: shape})
		m.Nodes = append(m.Nodes, onnxtest.Node{Op: "Identity", In: []string{in}, Out: []string{out}})
	}
	return plant(t, root, name, "ctc-epoch-1-chunk-16.onnx", m, tokens)
}

// graph is every fourth frame of x through a matrix.
func graph() []onnxtest.Node {
	return []onnxtest.Node{
		{Op: "Slice", In: []string{"x", "start", "end", "axis", "step"}, Out: []string{"frames"}},
		{Op: "MatMul", In: []string{"frames", "w"}, Out: []string{"levels"}},
		{Op: "Add", In: []string{"levels", "bias"}, Out: []string{"logits"}},
		{Op: "LogSoftmax", In: []string{"logits"}, Out: []string{"log_probs"}, Ints: map[string]int64{"axis": -1}},
	}
}

// weights are the mean of the bands of a token, in logarithms of energy, and for the blank a level between sound and silence.
func weights() []onnxtest.Tensor {
	const level = -5
	bands := [][2]int{{0, 0}, {8, 14}, {53, 56}}
	w := make([]float32, features*len(bands))
	for token, band := range bands {
		for b := band[0]; b < band[1]; b++ {
			w[b*len(bands)+token] = 1 / float32(band[1]-band[0])
		}
	}
	one := []int64{1}
	return []onnxtest.Tensor{
		{Name: "w", Shape: []int64{features, int64(len(bands))}, F32: w},
		{Name: "bias", Shape: []int64{int64(len(bands))}, F32: []float32{level, 0, 0}},
		{Name: "start", Shape: one, I64: []int64{0}}, {Name: "end", Shape: one, I64: []int64{1 << 40}},
		{Name: "axis", Shape: one, I64: []int64{1}}, {Name: "step", Shape: one, I64: []int64{stride}},
	}
}

func plant(t testing.TB, root, name, file string, m onnxtest.Model, tokens []string) string {
	t.Helper()
	if tokens == nil {
		tokens = Tokens
	}
	folder := filepath.Join(root, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for i, token := range append([]string{"<blk>"}, tokens...) {
		fmt.Fprintf(&list, "%s %d\n", token, i)
	}
	for name, data := range map[string][]byte{file: m.Bytes(), "tokens.txt": []byte(list.String())} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
