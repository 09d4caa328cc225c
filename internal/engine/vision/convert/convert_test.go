package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
)

// runtime is the ONNX Runtime of the engines directory.
func runtime(t *testing.T) *onnx.Runtime {
	t.Helper()
	return enginetest.Closed(t, onnx.New(onnx.Options{Dir: enginetest.Dir(t, "the ONNX Runtime", "lib", "libonnxruntime.so")}))
}

// weights are named arrays, in the order in which they lie in the file.
type weights []struct {
	name  string
	shape []int64
	v     []float32
}

// write writes a model as TensorFlow.js does and gives its path.
func write(t *testing.T, topology string, w weights) string {
	t.Helper()
	dir := t.TempDir()
	var specs []map[string]any
	var data []byte
	for _, x := range w {
		specs = append(specs, map[string]any{"name": x.name, "shape": x.shape, "dtype": "float32"})
		for _, v := range x.v {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	manifest, err := json.Marshal([]map[string]any{{"paths": []string{"a.bin", "b.bin"}, "weights": specs}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"model.json": fmt.Sprintf(`{"modelTopology":%s,"weightsManifest":%s}`, topology, manifest),
		"a.bin":      string(data[:len(data)/2]), "b.bin": string(data[len(data)/2:]), // shards cut where it happens
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "model.json")
}

// run converts a model and runs it on one input.
func run(t *testing.T, path, input, output string, outputs []string, x onnx.Tensor) onnx.Tensor {
	t.Helper()
	to := filepath.Join(t.TempDir(), "deep", "model.onnx")
	if err := convert(path, to, outputs); err != nil {
		t.Fatal(err)
	}
	got, err := runtime(t).Run(t.Context(), to, map[string]onnx.Tensor{input: x}, output)
	if err != nil {
		t.Fatal(err)
	}
	return got[output]
}

func close6(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-4 }

const zeros = `"strides":[1,1],"dilation_rate":[1,1],"data_format":"channels_last"`

func inbound(names ...string) string {
	var refs []string
	for _, n := range names {
		refs = append(refs, fmt.Sprintf(`["%s",0,0,{}]`, n))
	}
	return `"inbound_nodes":[[` + strings.Join(refs, ",") + `]]`
}

// TestLayers checks a network of all layers by hand: 1 × 2 × 2 pixels of two channels.
func TestLayers(t *testing.T) {
	topology := `{"model_config":{"config":{"layers":[
	 {"name":"in","class_name":"InputLayer","config":{"batch_input_shape":[null,2,2,2]},"inbound_nodes":[]},
	 {"name":"pad","class_name":"ZeroPadding2D","config":{"padding":[[0,1],[1,0]]},` + inbound("in") + `},
	 {"name":"conv","class_name":"Conv2D","config":{"padding":"valid","use_bias":true,"activation":"relu",` + zeros + `},` + inbound("pad") + `},
	 {"name":"deep","class_name":"DepthwiseConv2D","config":{"padding":"same","use_bias":false,"activation":"linear",` + zeros + `},` + inbound("in") + `},
	 {"name":"bn","class_name":"BatchNormalization","config":{"epsilon":0},` + inbound("deep") + `},
	 {"name":"six","class_name":"ReLU","config":{"max_value":6},` + inbound("bn") + `},
	 {"name":"both","class_name":"Concatenate","config":{"axis":3},` + inbound("conv", "six") + `},
	 {"name":"twice","class_name":"Add","config":{},` + inbound("both", "both") + `},
	 {"name":"up","class_name":"UpSampling2D","config":{"size":[2,2],"interpolation":"nearest"},` + inbound("twice") + `},
	 {"name":"mean","class_name":"AveragePooling2D","config":{"pool_size":[2,2],"padding":"valid"},` + inbound("up") + `},
	 {"name":"drop","class_name":"Dropout","config":{},` + inbound("mean") + `},
	 {"name":"flat","class_name":"Flatten","config":{},` + inbound("drop") + `},
	 {"name":"dense","class_name":"Dense","config":{"use_bias":true,"activation":"linear"},` + inbound("flat") + `}
	],"output_layers":[["dense",0,0]]}}}`
	var eye []float32 // the dense layer keeps the first eight, plus one
	for i := range 12 {
		for j := range 8 {
			eye = append(eye, map[bool]float32{true: 1}[i == j])
		}
	}
	ones := func(n int) []float32 { return bytesOf(n, 1) }
	path := write(t, topology, weights{
		// 2 × 2 kernel to one channel: what stands at the lower left, first channel minus second.
		{"conv/kernel", []int64{2, 2, 2, 1}, []float32{0, 0, 0, 0, 1, -1, 0, 0}},
		{"conv/bias", []int64{1}, []float32{0.5}},
		{"deep/depthwise_kernel", []int64{1, 1, 2, 1}, []float32{2, 3}},
		{"bn/gamma", []int64{2}, ones(2)}, {"bn/beta", []int64{2}, []float32{0, -1}}, {"bn/moving_mean", []int64{2}, []float32{1, 0}}, {"bn/moving_variance", []int64{2}, []float32{4, 1}},
		{"dense/kernel", []int64{12, 8}, eye}, {"dense/bias", []int64{8}, ones(8)},
	})
	// NCHW: the first channel 1 2 / 3 4, the second 0 1 / 0 5.
	x := onnx.Tensor{Shape: []int64{1, 2, 2, 2}, F32: []float32{1, 2, 3, 4, 0, 1, 0, 5}}
	got := run(t, path, "in", "output_dense", nil, x)
	// conv at (y, x): relu(first - second at (y+1, x-1) + 0.5), nothing beyond the edge.
	// deep and bn: (2a - 1)/2 and 3b - 1, cut to 0…6. In the order of NHWC, doubled, plus one.
	pixel := func(conv, a, b float32) []float32 { return []float32{2*conv + 1, 2*a + 1, 2*b + 1} }
	want := append(pixel(0.5, 0.5, 0), pixel(3.5, 1.5, 2)...)
	want = append(want, pixel(0.5, 2.5, 0)...)[:8]
	if diff := cmp.Diff(want, got.F32, cmp.Comparer(close6)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func bytesOf(n int, v float32) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestGraph checks a graph of all operators.
func TestGraph(t *testing.T) {
	node := func(name, op, inputs, attr string) string {
		return fmt.Sprintf(`{"name":%q,"op":%q,"input":[%s],"attr":{%s}}`, name, op, inputs, attr)
	}
	conv := `"strides":{"list":{"i":["1","1","1","1"]}},"padding":{"s":"` + b64("SAME") + `"}`
	fused := conv + `,"fused_ops":{"list":{"s":["` + b64("BiasAdd") + `","` + b64("Relu") + `"]}}`
	nodes := []string{
		node("x", "Placeholder", "", `"shape":{"shape":{"dim":[{"size":"1"},{"size":"2"},{"size":"2"},{"size":"1"}]}}`),
		node("k", "Const", "", ""), node("b", "Const", "", ""), node("dk", "Const", "", ""), node("two", "Const", "", ""),
		node("per", "Const", "", ""), node("axes", "Const", "", ""), node("size", "Const", "", ""), node("axis", "Const", "", ""),
		node("conv", "_FusedConv2D", `"x","k","b"`, fused),
		node("deep", "DepthwiseConv2dNative", `"conv","dk"`, conv),
		node("mul", "Mul", `"deep:0","two"`, ""),
		node("add", "AddV2", `"mul","per"`, ""),
		node("mean", "Mean", `"add","axes"`, `"keep_dims":{"b":true}`),
		node("sig", "Sigmoid", `"mean"`, ""),
		node("big", "ResizeBilinear", `"add","size"`, `"align_corners":{"b":false},"half_pixel_centers":{"b":false}`),
		node("cat", "ConcatV2", `"big","big","axis"`, ""),
		node("sum", "Sub", `"cat","cat2"`, ""), node("cat2", "ConcatV2", `"big","big","axis"`, ""),
		node("out", "Identity", `"cat"`, ""),
		node("loop", "Relu", `"loop"`, ""), node("odd", "Softplus", `"x"`, ""),
	}
	w := weights{
		{"k", []int64{1, 1, 1, 2}, []float32{1, -1}}, {"b", []int64{2}, []float32{0, 3}}, {"dk", []int64{1, 1, 2, 1}, []float32{1, 10}},
		{"two", []int64{}, []float32{2}}, {"per", []int64{2}, []float32{100, 200}},
		{"axes", []int64{2}, []float32{1, 2}}, {"size", []int64{2}, []float32{4, 4}}, {"axis", []int64{}, []float32{3}},
	}
	path := write(t, `{"node":[`+strings.Join(nodes, ",")+`]}`, w)
	x := onnx.Tensor{Shape: []int64{1, 1, 2, 2}, F32: []float32{1, 2, 3, 4}}
	// conv: relu(x) and relu(3 - x); deep: ×1, ×10; mul, add: 2v + 100, 2v + 200.
	got := run(t, path, "x", "add", []string{"add"}, x)
	if diff := cmp.Diff([]float32{102, 104, 106, 108, 240, 220, 200, 200}, got.F32, cmp.Comparer(close6)); diff != "" {
		t.Errorf("add (-want +got):\n%s", diff)
	}
	got = run(t, path, "x", "out", []string{"out"}, x)
	want := []float32{102, 103, 104, 104, 104, 105, 106, 106, 106, 107, 108, 108, 106, 107, 108, 108}
	if diff := cmp.Diff(want, got.F32[:16], cmp.Comparer(close6)); diff != "" || len(got.F32) != 64 {
		t.Errorf("out (-want +got):\n%s", diff)
	}
	got = run(t, path, "x", "sig", []string{"sig", "out"}, x)
	if len(got.F32) != 2 || !close6(got.F32[0], 1) {
		t.Errorf("sig: %v", got)
	}
	for name, why := range map[string]string{"loop": "depends on itself", "odd": "Softplus", "nowhere": "no node"} {
		if err := convert(path, filepath.Join(t.TempDir(), "x"), []string{name}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := convert(path, filepath.Join(t.TempDir(), "x"), nil); err == nil {
		t.Error("no outputs")
	}
}

func TestUnpack(t *testing.T) {
	var s []spec
	err := json.Unmarshal([]byte(`[
	 {"name":"q8","shape":[2],"dtype":"float32","quantization":{"dtype":"uint8","min":-1,"scale":0.5}},
	 {"name":"q16","shape":[1],"dtype":"float32","quantization":{"dtype":"uint16","min":1,"scale":2}},
	 {"name":"h","shape":[5],"dtype":"float32","quantization":{"dtype":"float16"}},
	 {"name":"i","shape":[],"dtype":"int32"},{"name":"f","shape":[1,1],"dtype":"float32"}]`), &s)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte{0, 4, 0x00, 0x01, 0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0x00, 0x7c, 0x55, 0x35, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x80, 0x3f}
	got := map[string]tensor{}
	if err := unpack(got, s, data); err != nil {
		t.Fatal(err)
	}
	want := map[string][]float32{"q8": {-1, 1}, "q16": {513}, "h": {1, -2, float32(math.Ldexp(1, -24)), float32(math.Inf(1)), 0.33325195}, "i": {-1}, "f": {1}}
	for name, v := range want {
		if diff := cmp.Diff(v, got[name].v); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	for _, bad := range []spec{{Name: "a", Shape: []int64{9}, Type: "float32"}, {Name: "a", Shape: []int64{-1}, Type: "float32"}, {Name: "a", Shape: []int64{1 << 40, 1 << 40}, Type: "uint8"}, {Name: "a", Type: "complex64"}} {
		if err := unpack(got, []spec{bad}, make([]byte, 8)); err == nil {
			t.Errorf("%+v is read", bad)
		}
	}
}

func TestLiteral(t *testing.T) {
	for in, want := range map[string]string{
		`var x;y.exports={a:1,"b":[!0,!1,null,void 0,],'c':'it\'s "x"',$d_1:-.5,e:1e-3,f:.25,g:{}};rest`: `{"a":1,"b":[true,false,null,null],"c":"it's \"x\"","$d_1":-0.5,"e":0.001,"f":0.25,"g":{}}`,
		`module.exports=e();n.exports="AAEC"`: `"AAEC"`,
		`a.exports=[]`:                        `[]`,
	} {
		got, err := exported([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "x.exports=", "x.exports={", `x.exports={a}`, `x.exports={a:f()}`, `x.exports="abc`, `x.exports=[1 2]`, `x.exports={a:1e999}`, `x.exports="\x41"`, "x.exports=" + strings.Repeat("[", 1000)} {
		if got, err := exported([]byte(bad)); err == nil {
			t.Errorf("%.40s: %s", bad, got)
		}
	}
}

// TestSame checks that a model gives the same file each time.
func TestSame(t *testing.T) {
	topology := `{"model_config":{"config":{"layers":[{"name":"in","class_name":"InputLayer","config":{"batch_input_shape":[null,null,null,3]},"inbound_nodes":[]},
	 {"name":"up","class_name":"UpSampling2D","config":{"size":[2,2],"interpolation":"bilinear"},` + inbound("in") + `}],"output_layers":[["up",0,0]]}}}`
	path := write(t, topology, nil)
	var files [][]byte
	for range 5 {
		to := filepath.Join(t.TempDir(), "m.onnx")
		if err := convert(path, to, nil); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, data)
	}
	for _, f := range files {
		if !bytes.Equal(f, files[0]) {
			t.Fatal("another file")
		}
	}
}

func FuzzModel(f *testing.F) {
	f.Add([]byte(`{"modelTopology":{"model_config":{"config":{"layers":[{"name":"in","class_name":"InputLayer","config":{"batch_input_shape":[null,2,2,3]},"inbound_nodes":[]}],"output_layers":[["in",0,0]]}}}}`), []byte{})
	f.Add([]byte(`{"modelTopology":{"model_config":{"config":{"layers":[{"name":"in","class_name":"InputLayer","config":{"batch_input_shape":[1,1,1,1]},"inbound_nodes":[]},{"name":"c","class_name":"Conv2D","config":{"padding":"same","use_bias":true},`+inbound("in")+`}],"output_layers":[["c"]]}}},"weightsManifest":[{"weights":[{"name":"c/kernel","shape":[1,1,1,1],"dtype":"uint8"},{"name":"c/bias","shape":[1],"dtype":"uint8"}]}]}`), []byte{1, 2})
	f.Add([]byte(`{"modelTopology":{"node":[{"name":"k","op":"Const"},{"name":"x","op":"Placeholder"},{"name":"out","op":"Conv2D","input":["x","k"],"attr":{"padding":{"s":"VALID"}}}]},"weightsManifest":[{"weights":[{"name":"k","shape":[1,1,1,1],"dtype":"uint8"}]}]}`), []byte{3})
	f.Add([]byte(`{"modelTopology":{"node":[{"name":"out","op":"ConcatV2"}]}}`), []byte{})
	f.Fuzz(func(t *testing.T, data, w []byte) {
		m, err := parse(data)
		if err != nil {
			return
		}
		m.weights = map[string]tensor{}
		for _, g := range m.Manifest {
			if unpack(m.weights, g.Weights, w) != nil {
				return
			}
		}
		if g, err := m.onnx([]string{"out"}); err == nil && len(g.encode()) == 0 {
			t.Fatal("an empty model")
		}
	})
}

func FuzzLiteral(f *testing.F) {
	f.Add([]byte(`x.exports={a:[1,-.5,!0,"b\"",'c'],d:{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := exported(data); err == nil && !json.Valid(out) {
			t.Fatalf("%q gives %q", data, out)
		}
	})
}
