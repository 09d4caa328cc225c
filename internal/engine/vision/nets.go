package vision

import (
	"context"
	"errors"
	"image"
	"math"
	"slices"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// The folder of our files in the engines directory, and the names of the models in it.
const (
	folder        = "vision"
	fileDetect    = "centernet.onnx"
	fileFaces     = "face-detect.onnx"
	fileLandmarks = "face-landmark.onnx"
	fileEmbed     = "face-embed.onnx"
	fileOCRDet    = "ppocr-det.onnx"
	fileOCRRec    = "ppocr-rec.onnx"
	fileOCRKeys   = "ppocr-keys.txt"
	fileSafety    = "nsfwjs.onnx"
	fileESRGAN2   = "esrgan-slim-x2.onnx"
	fileESRGAN4   = "esrgan-slim-x4.onnx"
)

// installed reports whether the runtime and the files are there.
func (e *Engine) installed(files ...string) bool {
	if e.o.ONNX == nil || !e.o.ONNX.Ready() {
		return false
	}
	return !slices.ContainsFunc(files, func(f string) bool { return e.path(f) == "" })
}

func (e *Engine) path(file string) string { return e.o.Dir.Path(folder, file) }

// nameDetector is what the detector is called where it is missing. Such names are the same in all languages.
const nameDetector = "CenterNet"

// need is engine.Missing unless everything is installed; name is the model's own.
func (e *Engine) need(name string, files ...string) error {
	if e.installed(files...) {
		return nil
	}
	return engine.Missing(name)
}

// tensorOf makes the input of a network, 1 × 3 × h × w, of a picture of that size: (v - mean) / deviation for each
// of red, green and blue, in the order of channels. What is transparent is white.
func tensorOf(m *image.NRGBA, mean, deviation [3]float32, order [3]int) onnx.Tensor {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	v := make([]float32, 3*w*h)
	var table [3][256]float32
	for c := range table {
		for i := range table[c] {
			table[c][i] = (float32(i) - mean[c]) / deviation[c]
		}
	}
	for y := range h {
		row := m.Pix[y*m.Stride : y*m.Stride+4*w]
		for x := range w {
			p := row[4*x : 4*x+4]
			for c, from := range order {
				v[(c*h+y)*w+x] = table[c][overWhite(p[from], p[3])]
			}
		}
	}
	return onnx.Tensor{Shape: []int64{1, 3, int64(h), int64(w)}, F32: v}
}

// fit is the scale at which a picture of w × h fits into one of maxW × maxH.
func fit(w, h, maxW, maxH int) float64 {
	return min(float64(maxW)/float64(w), float64(maxH)/float64(h))
}

// letterbox fits a picture into the upper left of a grey one of w × h, so that what it shows keeps its shape.
func letterbox(ctx context.Context, m *image.NRGBA, w, h int) (canvas *image.NRGBA, scale float64, err error) {
	scale = fit(m.Rect.Dx(), m.Rect.Dy(), w, h)
	small, err := resize(ctx, m, min(max(int(float64(m.Rect.Dx())*scale), 1), w), min(max(int(float64(m.Rect.Dy())*scale), 1), h))
	if err != nil {
		return nil, 0, err
	}
	canvas = uniformGrey(w, h)
	for y := range small.Rect.Dy() {
		copy(canvas.Pix[y*canvas.Stride:], small.Pix[y*small.Stride:][:4*small.Rect.Dx()])
	}
	return canvas, scale, nil
}

func uniformGrey(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range m.Pix {
		m.Pix[i] = 128
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	return m
}

// Orders of channels.
func rgb() [3]int { return [3]int{0, 1, 2} }
func bgr() [3]int { return [3]int{2, 1, 0} }

func three(v float32) [3]float32 { return [3]float32{v, v, v} }

func overWhite(v, alpha byte) byte {
	if alpha == 255 {
		return v
	}
	return byte((int(v)*int(alpha) + 255*(255-int(alpha)) + 127) / 255)
}

// unexpected is the error of a model file that does not do what it is for.
func unexpected(model string) error {
	return problem.New(problem.Unavailable, "vision.bad_model", "the model %s on this server does not give what is expected of it; the operator can install it again with scripts/install-engines", model)
}

// output takes one output of a model, and checks that it has as many numbers as its shape says and at
// least n dimensions.
func output(out map[string]onnx.Tensor, name, model string, dims int) (onnx.Tensor, error) {
	t, ok := out[name]
	if !ok && name == "" && len(out) == 1 {
		for _, v := range out {
			t, ok = v, true
		}
	}
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	if !ok || len(t.Shape) != dims || n != int64(len(t.F32)) {
		return t, unexpected(model)
	}
	return t, nil
}

// box is a rectangle in pixels of the upright picture.
type box struct{ x0, y0, x1, y1 float64 }

func (b box) area() float64 { return max(b.x1-b.x0, 0) * max(b.y1-b.y0, 0) }

// overlap is the area that two boxes share, by the area of both together.
func (b box) overlap(c box) float64 {
	in := box{max(b.x0, c.x0), max(b.y0, c.y0), min(b.x1, c.x1), min(b.y1, c.y1)}.area()
	if in == 0 {
		return 0
	}
	return in / (b.area() + c.area() - in)
}

// clip keeps the box within a picture.
func (b box) clip(w, h int) box {
	in := func(v float64, most int) float64 { return min(max(v, 0), float64(most)) }
	return box{in(b.x0, w), in(b.y0, h), in(b.x1, w), in(b.y1, h)}
}

// Box is a rectangle as an answer has it: whole pixels from the upper left corner.
type Box struct {
	X      int `json:"x"`
	Y      int `json:"y"`
	Width  int `json:"width"`
	Height int `json:"height"`
}

func (b box) public() Box {
	x, y := int(math.Round(b.x0)), int(math.Round(b.y0))
	return Box{x, y, int(math.Round(b.x1)) - x, int(math.Round(b.y1)) - y}
}

// found is one thing that a detector has found.
type found struct {
	class int
	score float64
	box   box
}

// suppress keeps, best first, what does not overlap a better one of its class by more than the limit, and at
// most n.
func suppress(list []found, limit float64, n int) []found {
	slices.SortStableFunc(list, func(a, b found) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	var kept []found
	for _, f := range list {
		if len(kept) == n {
			break
		}
		if !slices.ContainsFunc(kept, func(k found) bool { return k.class == f.class && k.box.overlap(f.box) > limit }) {
			kept = append(kept, f)
		}
	}
	return kept
}

// round3 keeps three digits of a score.
func round3(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return math.Round(v*1000) / 1000
}

// modelError makes an error of the runtime with one of our models an "unavailable": the caller has done nothing wrong.
func modelError(ctx context.Context, model string, err error) error {
	if errors.Is(err, onnx.ErrModel) && ctx.Err() == nil {
		return problem.As(unexpected(model)).Because(err)
	}
	return err
}

// run runs one model on one input.
func (e *Engine) run(ctx context.Context, file, input string, t onnx.Tensor, outputs ...string) (map[string]onnx.Tensor, error) {
	out, err := e.o.ONNX.Run(ctx, e.path(file), map[string]onnx.Tensor{input: t}, outputs...)
	return out, modelError(ctx, file, err)
}
