package text

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// encoder is the Universal Sentence Encoder Lite (Cer et al., 2018; Apache-2.0): an embedding of word pieces, two
// transformer layers with four heads, the mean over the pieces, and a dense layer with tanh. The arithmetic follows the
// TensorFlow.js graph that carries the weights. It is read-only once loaded.
type encoder struct {
	pieces *pieces
	embed  []float32 // [pieces][256]
	times  []float32
	layers [2]layer
	final  dense
}

// layer is one transformer layer; fit carries the input's width to the layer's (nil in the second).
type layer struct {
	width, heads int
	scale        float32
	norm1, norm2 layerNorm
	qkv, out     dense
	fit          *dense
	up, down     dense
}

type layerNorm struct{ scale, bias []float32 }

// dense is y = x·w + b, with the weights of one output together. There is a multiple of four outputs.
type dense struct {
	in, out int
	w       []float32
	b       []float32
}

// The encoder's sizes.
const (
	Dimensions   = 512
	pieceWidth   = 256
	hiddenWidth  = 1536
	heads        = 4
	maxPieces    = 128 // beyond it the encoder does not look
	normEpsilon  = 1e-6
	maxWeights   = 64 << 20
	useFolder    = "use"
	weightsParts = 16
)

// useDir is the encoder below the engines directory: model.json, vocab.json and the weights it names.
var useDir = []string{"text", useFolder}

// loadEncoder reads the encoder, about 28 MB; it takes some 50 ms.
func loadEncoder(dir engine.Dir) (*encoder, error) {
	folder := dir.Path(useDir...)
	if folder == "" {
		return nil, os.ErrNotExist
	}
	vocab, err := os.ReadFile(filepath.Join(folder, "vocab.json"))
	if err != nil {
		return nil, err
	}
	ws, err := readWeights(folder)
	if err != nil {
		return nil, err
	}
	e := &encoder{}
	if e.pieces, err = readPieces(vocab); err != nil {
		return nil, err
	}
	e.take(ws)
	return e, ws.err
}

// weights are the named tensors of a TensorFlow.js model.
type weights struct {
	tensors map[string][]float32
	err     error
}

func readWeights(folder string) (*weights, error) {
	data, err := os.ReadFile(filepath.Join(folder, "model.json"))
	if err != nil {
		return nil, err
	}
	var model struct {
		Manifest []struct {
			Paths   []string `json:"paths"`
			Weights []struct {
				Name  string `json:"name"`
				Shape []int  `json:"shape"`
				Type  string `json:"dtype"`
			} `json:"weights"`
		} `json:"weightsManifest"`
	}
	if err := json.Unmarshal(data, &model); err != nil {
		return nil, err
	}
	w := &weights{tensors: map[string][]float32{}}
	for _, group := range model.Manifest {
		raw, err := readParts(folder, group.Paths)
		if err != nil {
			return nil, err
		}
		for _, t := range group.Weights {
			n := 1
			for _, s := range t.Shape {
				if s < 0 || s > maxWeights || n*s > maxWeights {
					return nil, fmt.Errorf("tensor %s is too large", t.Name)
				}
				n *= s
			}
			if 4*n > len(raw) {
				return nil, fmt.Errorf("the weights end within %s", t.Name)
			}
			if t.Type == "float32" {
				f := make([]float32, n)
				for i := range f {
					f[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
				}
				w.tensors[t.Name] = f
			}
			raw = raw[4*n:]
		}
	}
	return w, nil
}

func readParts(folder string, paths []string) ([]byte, error) {
	if len(paths) > weightsParts {
		return nil, errors.New("too many parts of weights")
	}
	var raw []byte
	for _, p := range paths {
		b, err := os.ReadFile(filepath.Join(folder, filepath.Base(p)))
		if err != nil {
			return nil, err
		}
		if raw = append(raw, b...); len(raw) > 4*maxWeights {
			return nil, errors.New("the weights are too large")
		}
	}
	return raw, nil
}

// get finds the one tensor whose name has all parts and that has n numbers, or at least -n if n is negative.
func (w *weights) get(n int, parts ...string) []float32 {
	var found []float32
	for name, t := range w.tensors {
		if (len(t) == n || n < 0 && len(t) >= -n) && !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(name, p) }) {
			if found != nil {
				w.fail("two tensors fit %s", parts)
			}
			found = t
		}
	}
	if found == nil {
		w.fail("no tensor fits %s", parts)
		return make([]float32, max(n, -n))
	}
	return found
}

func (w *weights) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

// dense takes a kernel [in][out] and turns it, so that an output's weights lie together.
func (w *weights) dense(in, out int, kernel, bias []float32) dense {
	d := dense{in: in, out: out, w: make([]float32, in*out), b: bias}
	for i := range in {
		for o := range out {
			d.w[o*in+i] = kernel[i*out+o]
		}
	}
	return d
}

func (e *encoder) take(w *weights) {
	e.embed = w.get(-len(e.pieces.scores)*pieceWidth, "Embeddings_en")
	e.times = w.get(pieceWidth/2, "TimingSignal/ExpandDims_1")
	for i := range e.layers {
		in, name := Dimensions, fmt.Sprintf("Layer_%d/", i)
		if i == 0 {
			in = pieceWidth
		}
		l := layer{width: in, heads: heads, scale: float32(1 / math.Sqrt(float64(in/heads)))}
		l.norm1 = layerNorm{w.get(in, name+"TransformerLayer/layer_prepostprocess", "norm_scale"), w.get(in, name+"TransformerLayer/layer_prepostprocess", "norm_bias")}
		l.norm2 = layerNorm{w.get(Dimensions, name+"TransformerLayer/FFN/layer_prepostprocess", "norm_scale"), w.get(Dimensions, name+"TransformerLayer/FFN/layer_prepostprocess", "norm_bias")}
		l.qkv = w.dense(in, 3*in, w.get(3*in*in, name, "qkv_transform_single/kernel"), w.get(3*in, name, "qkv_transform_single/bias"))
		l.out = w.dense(in, Dimensions, w.get(in*Dimensions, name, "output_transform_single/kernel"), w.get(Dimensions, name, "output_transform_single/bias"))
		if i == 0 {
			d := w.dense(in, Dimensions, w.get(in*Dimensions, name+"TransformerLayer/dense/kernel"), w.get(Dimensions, name+"TransformerLayer/dense/bias"))
			l.fit = &d
		}
		l.up = w.dense(Dimensions, hiddenWidth, w.get(Dimensions*hiddenWidth, name, "FFN/conv1/Tensordot"), w.get(hiddenWidth, name, "FFN/conv1/bias"))
		l.down = w.dense(hiddenWidth, Dimensions, w.get(Dimensions*hiddenWidth, name, "FFN/conv2/Tensordot"), w.get(Dimensions, name, "FFN/conv2/bias"))
		e.layers[i] = l
	}
	e.final = w.dense(Dimensions, Dimensions, w.get(Dimensions*Dimensions, "tanh_layer_0/weights"), w.get(Dimensions, "tanh_layer_0/bias"))
}

// encode gives the unit vector of at most maxPieces pieces.
func (e *encoder) encode(ids []int32) []float32 {
	t := len(ids)
	x := make([]float32, t*pieceWidth)
	for p, id := range ids {
		row := x[p*pieceWidth : (p+1)*pieceWidth]
		for i, v := range e.embed[int(id)*pieceWidth : int(id+1)*pieceWidth] {
			row[i] = 2 * v // the graph adds the embedding to itself with the signal of its place
		}
		for i, f := range e.times {
			sin, cos := math.Sincos(float64(float32(p) * f))
			row[i] += float32(sin)
			row[len(e.times)+i] += float32(cos)
		}
	}
	for i := range e.layers {
		x = e.layers[i].forward(x, t)
	}
	mean := make([]float32, Dimensions)
	for p := range t {
		for i, v := range x[p*Dimensions : (p+1)*Dimensions] {
			mean[i] += v / float32(t)
		}
	}
	out := e.final.apply(mean, 1)
	for i, v := range out {
		out[i] = float32(math.Tanh(float64(v)))
	}
	normalise(out)
	return out
}

// forward is pre-norm attention and a feed-forward network, each with its residual.
func (l *layer) forward(x []float32, t int) []float32 {
	y := l.out.apply(l.attend(l.qkv.apply(l.norm1.apply(x, t), t), t), t)
	if l.fit != nil {
		x = l.fit.apply(x, t)
	}
	add(y, x)
	h := l.up.apply(l.norm2.apply(y, t), t)
	for i, v := range h {
		h[i] = max(v, 0)
	}
	z := l.down.apply(h, t)
	add(z, y)
	return z
}

// attend is scaled dot-product attention of t places.
func (l *layer) attend(qkv []float32, t int) []float32 {
	w, d := l.width, l.width/l.heads
	out := make([]float32, t*w)
	p := make([]float64, t)
	for h := range l.heads {
		for i := range t {
			q := qkv[i*3*w+h*d : i*3*w+(h+1)*d]
			for j := range t {
				p[j] = float64(l.scale * dotProduct(q, qkv[j*3*w+w+h*d:j*3*w+w+(h+1)*d]))
			}
			softmax(p)
			o := out[i*w+h*d : i*w+(h+1)*d]
			for j := 0; j < t; j += 2 {
				v := qkv[j*3*w+2*w+h*d:][:d]
				v2, p2 := v, float32(0)
				if j+1 < t {
					v2, p2 = qkv[(j+1)*3*w+2*w+h*d:][:d], float32(p[j+1])
				}
				addTwice(o, v, float32(p[j]), v2, p2)
			}
		}
	}
	return out
}

func (n *layerNorm) apply(x []float32, t int) []float32 {
	w := len(n.scale)
	out := make([]float32, len(x))
	for p := range t {
		in, o := x[p*w:(p+1)*w], out[p*w:(p+1)*w]
		mean, square := 0.0, 0.0
		for _, v := range in {
			mean += float64(v)
		}
		mean /= float64(w)
		for _, v := range in {
			square += (float64(v) - mean) * (float64(v) - mean)
		}
		inverse := 1 / math.Sqrt(square/float64(w)+normEpsilon)
		for i, v := range in {
			o[i] = float32((float64(v)-mean)*inverse)*n.scale[i] + n.bias[i]
		}
	}
	return out
}

// apply multiplies t rows, two of them by four outputs at a time.
func (d *dense) apply(x []float32, t int) []float32 {
	y := make([]float32, t*d.out)
	var sums [8]float32
	for o := 0; o < d.out; o += 4 { // these weights stay in the cache for all rows
		w, bias := d.w[o*d.in:(o+4)*d.in], d.b[o:][:4]
		for p := 0; p < t; p += 2 {
			q := min(p+1, t-1)
			dots(&sums, x[p*d.in:(p+1)*d.in], x[q*d.in:(q+1)*d.in], w)
			yp, yq := y[p*d.out+o:][:4], y[q*d.out+o:][:4]
			for i, b := range bias {
				yp[i], yq[i] = sums[i]+b, sums[4+i]+b
			}
		}
	}
	return y
}

// dotsGo is dots in Go alone. Eight sums stay in registers.
func dotsGo(sums *[8]float32, a, b, w []float32) {
	n := len(a)
	b = b[:n]
	w0, w1, w2, w3 := w[:n], w[n:2*n], w[2*n:3*n], w[3*n:4*n]
	var a0, a1, a2, a3, b0, b1, b2, b3 float32
	for i, u := range a {
		v := b[i]
		c0, c1, c2, c3 := w0[i], w1[i], w2[i], w3[i]
		a0 += u * c0
		b0 += v * c0
		a1 += u * c1
		b1 += v * c1
		a2 += u * c2
		b2 += v * c2
		a3 += u * c3
		b3 += v * c3
	}
	*sums = [8]float32{a0, a1, a2, a3, b0, b1, b2, b3}
}

func dotProduct(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}

// addTwice adds a by x and b by y.
func addTwice(to, a []float32, x float32, b []float32, y float32) {
	a, b = a[:len(to)], b[:len(to)]
	for i := range to {
		to[i] += x*a[i] + y*b[i]
	}
}

func add(to, from []float32) {
	for i, v := range from {
		to[i] += v
	}
}

// normalise scales v to length one; a zero vector becomes the first unit vector.
func normalise(v []float32) {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		if len(v) > 0 {
			v[0] = 1
		}
		return
	}
	scale := 1 / math.Sqrt(sum)
	for i, x := range v {
		v[i] = float32(float64(x) * scale)
	}
}
