package vision

import (
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/engine/onnx/onnxtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// averaging is a model whose three scores are the means of red, green and blue: of a picture of some size, or of any.
func averaging(channelsLast bool, side int64) []byte {
	shape, axes := []int64{1, 3, side, side}, []int64{2, 3}
	if channelsLast {
		shape, axes = []int64{1, side, side, 3}, []int64{1, 2}
	}
	return onnxtest.Model{
		Nodes:   []onnxtest.Node{{Op: "ReduceMean", In: []string{"x"}, Out: []string{"y"}, Ints: map[string]int64{"keepdims": 0}, Lists: map[string][]int64{"axes": axes}}},
		Inputs:  []onnxtest.Port{{Name: "x", Type: onnxtest.Float, Shape: shape}},
		Outputs: []onnxtest.Port{{Name: "y", Type: onnxtest.Float, Shape: []int64{1, 3}}},
	}.Bytes()
}

// operators is an engines directory with the runtime alone, and the given files in vision/classify.
func operators(t *testing.T, files map[string]string) engine.Dir {
	t.Helper()
	dir := enginetest.Own(t, enginetest.Dir(t, "the engines directory"), "bin", "lib")
	folder := filepath.Join(string(dir), "vision", "classify")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestOwnClassifier puts small models of the operator's into the engines directory, good ones and bad ones, and has pictures of
// one colour classified by the real runtime.
func TestOwnClassifier(t *testing.T) {
	planes, pixels := string(averaging(false, 8)), string(averaging(true, 8))
	dir := operators(t, map[string]string{
		"planes.onnx": planes, "planes.txt": "# 0..1\nred\ngreen\nblue\n",
		"pixels.onnx": pixels, "pixels.txt": "# -1..1\r\nred\r\ngreen\r\nblue\r\n",
		"any.onnx": string(averaging(false, -1)), "any.txt": "red\ngreen\nblue",
		"nonsense.onnx": "nonsense", "nonsense.txt": "a\n", "empty.onnx": "", "empty.txt": "",
		"two.onnx": planes, "two.txt": "a\nb\n", "nameless.onnx": planes, "vectors.onnx": string(averaging(false, 8))[:40], "vectors.txt": "a",
		"orphan.txt": "a\n",
	})
	r := enginetest.Closed(t, onnx.New(onnx.Options{Dir: dir}))
	e := newEngine(t, Options{Dir: dir, ONNX: r})
	pictures := map[string]string{
		"red":  b64(pngOf(t, uniform(30, 20, color.NRGBA{255, 0, 0, 255}))),
		"blue": b64(pngOf(t, uniform(1, 1, color.NRGBA{0, 0, 255, 255}))),
	}
	good := func() {
		t.Helper()
		for label, picture := range pictures {
			for _, name := range []string{"planes", "pixels", "any"} {
				byField := request(t, "vision.classify", map[string]any{"image": picture, "classifier": name})
				byProduct := request(t, "vision.classify", map[string]any{"image": picture, "top": 1})
				byProduct.Model = name
				for _, q := range []*engine.Request{byField, byProduct} {
					var got struct {
						Engine, Model, Labels string
						Confidence            float64
						Classes               []scored
					}
					if _, err := call(t, e, q, &got); err != nil || got.Engine != engineOwn || got.Model != name || got.Labels != name || got.Classes[0].Label != label || got.Confidence < 0.5 {
						t.Errorf("%s by %s: %+v, %v", label, name, got, err)
					}
				}
			}
		}
	}
	good()
	for name, id := range map[string]string{
		"nonsense": "vision.classifier_model", "empty": "vision.classifier_model", "vectors": "vision.classifier_model",
		"two": "vision.classifier_count", "nameless": "vision.classifier_labels",
	} {
		_, err := call(t, e, request(t, "vision.classify", map[string]any{"image": pictures["red"], "classifier": name}), nil)
		refused(t, err, problem.Unavailable, id)
	}
	_, err := call(t, e, request(t, "vision.classify", map[string]any{"image": pictures["red"], "classifier": "orphan"}), nil)
	refused(t, err, problem.Unprocessable, "vision.no_classifier")
	good() // the bad ones have broken nothing

	told := map[string]bool{}
	for _, i := range e.Describe() {
		if i.Engine == engineOwn {
			told[i.Model] = i.Ready
			if i.Ready != (i.Need == "") {
				t.Errorf("%+v", i)
			}
		}
	}
	if len(told) != 8 || !told["planes"] || told["nameless"] {
		t.Error(told)
	}
	// What an operator adds is there at once, without a restart.
	if err := os.WriteFile(filepath.Join(string(dir), "vision", "classify", "nameless.txt"), []byte("x\ny\nz\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(e.Describe(), func(i engine.Info) bool { return i.Model == "nameless" && i.Ready }) {
		t.Error("labels that were added are not seen")
	}
	if _, err := call(t, e, request(t, "vision.classify", map[string]any{"image": pictures["red"], "classifier": "nameless"}), nil); err != nil {
		t.Error(err)
	}
}
