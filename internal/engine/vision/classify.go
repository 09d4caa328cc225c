package vision

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// classifier is an operator's own model: NAME.onnx with NAME.txt, a label a line in the order of its output, in
// vision/classify of the engines directory. It takes one picture, 1 × 3 × side × side or 1 × side × side × 3,
// normalised by ImageNet's statistics unless the first line of the labels says "# 0..1", "# -1..1" or "# 0..255".
type classifier struct{ name, model, labels string }

// classifiers are those that are there, by name.
func (e *Engine) classifiers() (list []classifier) {
	dir := e.o.Dir.Path(folder, "classify")
	if dir == "" {
		return nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil {
		return nil
	}
	for _, f := range files {
		list = append(list, classifier{strings.TrimSuffix(filepath.Base(f), ".onnx"), f, strings.TrimSuffix(f, ".onnx") + ".txt"})
	}
	return list
}

// info describes the classifier. Whether its model does what it should is seen when it is used.
func (c classifier) info(runtime bool) engine.Info {
	i := engine.Info{Engine: engineOwn, Model: c.name, Ready: runtime}
	if _, err := os.Stat(c.labels); err != nil {
		i.Ready, i.Need = false, "its labels: "+filepath.Base(c.labels)+", a label a line, beside the model"
	} else if !runtime {
		i.Need = "scripts/install-engines"
	}
	return i
}

// The errors of an operator's classifier: the caller has done nothing wrong, and other classifiers are not concerned.

func (c classifier) noLabels(cause error) error {
	return problem.New(problem.Unavailable, "vision.classifier_labels", "the classifier %q has no labels file that can be read: its operator puts %s beside the model, a label a line",
		c.name, filepath.Base(c.labels)).Because(cause)
}

func (c classifier) notLoaded(ctx context.Context, err error) error {
	if errors.Is(err, onnx.ErrModel) && ctx.Err() == nil {
		return problem.New(problem.Unavailable, "vision.classifier_model", "the classifier %q does not work: the ONNX Runtime cannot load or run it; its operator must put another model in its place", c.name).Because(err)
	}
	return err
}

func (c classifier) misshapen() error {
	return problem.New(problem.Unavailable, "vision.classifier_shape",
		"the classifier %q is not of the expected form: it must take one image (1 × 3 × height × width, or 1 × height × width × 3) and give one list of scores; its operator must put another model in its place", c.name)
}

// maxLabels bounds an operator's labels file.
const maxLabels = 1 << 20

// readLabels gives the labels, and the picture's mean and deviation.
func readLabels(data []byte) (labels []string, mean, deviation [3]float32) {
	mean = [3]float32{0.485 * 255, 0.456 * 255, 0.406 * 255}
	deviation = [3]float32{0.229 * 255, 0.224 * 255, 0.225 * 255}
	s := bufio.NewScanner(bytes.NewReader(data))
	for first := true; s.Scan(); first = false {
		line := strings.TrimSpace(s.Text())
		if first && strings.HasPrefix(line, "#") {
			switch strings.TrimSpace(line[1:]) {
			case "0..1":
				mean, deviation = three(0), three(255)
			case "-1..1":
				mean, deviation = three(127.5), three(127.5)
			case "0..255":
				mean, deviation = three(0), three(1)
			}
			continue
		}
		if line != "" {
			labels = append(labels, line)
		}
	}
	return labels, mean, deviation
}

func (e *Engine) serveClassify(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	n, err := in.integer("top", 1, 100, 5)
	if err != nil {
		return err
	}
	name, err := in.text("classifier")
	if err != nil {
		return err
	}
	own := e.classifiers()
	asked := name != ""
	if !asked {
		name = r.Model
	}
	i := slices.IndexFunc(own, func(c classifier) bool { return c.name == name })
	switch {
	case i < 0 && asked && name != modelCOCO:
		return problem.New(problem.Unprocessable, "vision.no_classifier", "there is no classifier %q on this server", clip(name)).WithField("classifier", "does not exist")
	case i < 0:
		if err := e.need(nameDetector, fileDetect); err != nil {
			return err
		}
	case !e.installed():
		return engine.Missing("ONNX Runtime")
	}
	enough := looking
	if i >= 0 { // what its model sees in few pixels is the operator's business
		enough = func(Info) (int64, error) { return lookMemory, nil }
	}
	p, leave, err := e.picture(ctx, in, "image", enough)
	if err != nil {
		return err
	}
	defer leave()
	about := struct {
		Engine     string   `json:"engine"`
		Model      string   `json:"model"`
		Labels     string   `json:"labels"`
		Confidence float64  `json:"confidence"`
		Classes    []scored `json:"classes"`
		Image      size     `json:"image"`
	}{Engine: engineCenterNet, Model: modelCOCO, Labels: modelCOCO, Image: sizeOf(p)}
	if i < 0 {
		scores, err := e.present(ctx, p.NRGBA)
		if err != nil {
			return err
		}
		about.Classes = top(cocoLabels(), scores, n)
	} else {
		labels, scores, err := e.classify(ctx, own[i], p.NRGBA)
		if err != nil {
			return err
		}
		about.Engine, about.Model, about.Labels = engineOwn, own[i].name, own[i].name
		about.Classes = top(labels, scores, n)
	}
	if len(about.Classes) > 0 {
		about.Confidence = about.Classes[0].Confidence
	}
	return engine.WriteJSON(w, 200, about)
}

// classify runs an operator's model.
func (e *Engine) classify(ctx context.Context, c classifier, m *image.NRGBA) ([]string, []float32, error) {
	if info, err := os.Stat(c.labels); err == nil && info.Size() > maxLabels {
		return nil, nil, c.noLabels(fmt.Errorf("it has %d bytes", info.Size()))
	}
	data, err := os.ReadFile(c.labels)
	if err != nil {
		return nil, nil, c.noLabels(err)
	}
	labels, mean, deviation := readLabels(data)
	inputs, _, err := e.o.ONNX.Describe(ctx, c.model)
	if err != nil {
		return nil, nil, c.notLoaded(ctx, err)
	}
	if len(inputs) != 1 || len(inputs[0].Shape) != 4 {
		return nil, nil, c.misshapen()
	}
	shape := inputs[0].Shape
	last := shape[3] == 3 // NHWC
	h, w := shape[2], shape[3]
	if last {
		h, w = shape[1], shape[2]
	}
	if h <= 0 || w <= 0 { // free
		h, w = 224, 224
	}
	if h > 2048 || w > 2048 {
		return nil, nil, c.misshapen()
	}
	small, err := resize(ctx, m, int(w), int(h))
	if err != nil {
		return nil, nil, err
	}
	t := tensorOf(small, mean, deviation, rgb())
	if last {
		t = channelsLast(t)
	}
	out, err := e.o.ONNX.Run(ctx, c.model, map[string]onnx.Tensor{inputs[0].Name: t})
	if err != nil {
		return nil, nil, c.notLoaded(ctx, err)
	}
	scores, err := output(out, "", c.name, 2)
	if err != nil || len(scores.F32) == 0 {
		return nil, nil, c.misshapen()
	}
	if len(scores.F32) != len(labels) {
		return nil, nil, problem.New(problem.Unavailable, "vision.classifier_count", "the classifier %q gives %d scores and has %d labels: its operator must write one label for each, in their order", c.name, len(scores.F32), len(labels))
	}
	return labels, probabilities(scores.F32), nil
}

func channelsLast(t onnx.Tensor) onnx.Tensor {
	n := len(t.F32) / 3
	out := make([]float32, len(t.F32))
	for i := range n {
		for c := range 3 {
			out[3*i+c] = t.F32[c*n+i]
		}
	}
	return onnx.Tensor{Shape: []int64{1, t.Shape[2], t.Shape[3], 3}, F32: out}
}

// probabilities makes probabilities of what a model gives, unless they are.
func probabilities(v []float32) []float32 {
	sum, low := 0.0, float32(0)
	for _, x := range v {
		sum += float64(x)
		low = min(low, x)
	}
	if low >= 0 && math.Abs(sum-1) < 0.02 {
		return v
	}
	most := slices.Max(v)
	sum = 0
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(math.Exp(float64(x - most)))
		sum += float64(out[i])
	}
	for i := range out {
		out[i] = float32(float64(out[i]) / sum)
	}
	return out
}
