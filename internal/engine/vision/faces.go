package vision

import (
	"context"
	"image"
	"image/draw"
	"math"

	"github.com/tollgate-io/tollgate/internal/engine/onnx"
)

// The face detector sees 320 × 240 pixels, and gives a score and a box, relative to that, for each of its anchors.
const (
	faceWidth  = 320
	faceHeight = 240
)

// maxFaces bounds the images of one person in a gallery.
const maxFaces = 10

// point is a position in pixels.
type point struct{ x, y float64 }

// face is a face with the five points by which it is brought upright: eyes, tip of the nose, corners of the mouth,
// each left before right as the picture shows them.
type face struct {
	found
	points [5]point
}

// tiles are the parts of a picture in which faces are looked for: the whole, and, where it is large, overlapping
// parts, since the detector sees few pixels.
func tiles(w, h int) []image.Rectangle {
	list := []image.Rectangle{image.Rect(0, 0, w, h)}
	if w <= 2*faceWidth && h <= 2*faceHeight {
		return list
	}
	// Up to five parts a side, each of about 480 × 360 pixels or more, overlapping by a quarter.
	across, down := parts(w, 480), parts(h, 360)
	for _, y := range down {
		for _, x := range across {
			list = append(list, image.Rect(x[0], y[0], x[1], y[1]))
		}
	}
	return list
}

func parts(n, size int) (list [][2]int) {
	const most = 5
	k := min(int(math.Ceil(float64(n)/(0.75*float64(size)))), most)
	if k <= 1 {
		return [][2]int{{0, n}}
	}
	length := int(math.Ceil(float64(n) / (0.75*float64(k-1) + 1)))
	for i := range k {
		from := (n - length) * i / (k - 1)
		list = append(list, [2]int{from, from + length})
	}
	return list
}

// faces finds the faces in a picture, with their points, best first.
func (e *Engine) faces(ctx context.Context, m *image.NRGBA, least float64, n int) ([]face, error) {
	var list []found
	var out []face
	err := e.o.ONNX.Session(ctx, func(s *onnx.Session) error {
		for _, t := range tiles(m.Rect.Dx(), m.Rect.Dy()) {
			some, err := e.facesIn(ctx, s, m, t, 0, least)
			if err != nil {
				return err
			}
			list = append(list, some...)
		}
		if len(list) == 0 { // a face that fills the picture is found with something around it
			some, err := e.facesIn(ctx, s, m, m.Rect, 0.25, least)
			if err != nil {
				return err
			}
			list = some
		}
		for _, f := range suppress(list, 0.4, n) {
			points, err := e.landmarks(ctx, s, m, f.box)
			if err != nil {
				return err
			}
			out = append(out, face{f, points})
		}
		return nil
	})
	return out, modelError(ctx, fileFaces, err)
}

// facesIn looks at one part of the picture. margin is the share of the detector's picture that is left grey on each
// side.
func (e *Engine) facesIn(ctx context.Context, s *onnx.Session, m *image.NRGBA, part image.Rectangle, margin, least float64) ([]found, error) {
	left, up := int(margin*faceWidth), int(margin*faceHeight)
	sub := m.SubImage(part).(*image.NRGBA)
	canvas, scale, err := letterbox(ctx, &image.NRGBA{Pix: sub.Pix, Stride: sub.Stride, Rect: image.Rect(0, 0, part.Dx(), part.Dy())}, faceWidth-2*left, faceHeight-2*up)
	if err != nil {
		return nil, err
	}
	if margin > 0 {
		wide := uniformGrey(faceWidth, faceHeight)
		draw.Draw(wide, image.Rect(left, up, faceWidth-left, faceHeight-up), canvas, image.Point{}, draw.Src)
		canvas = wide
	}
	out, err := s.Run(e.path(fileFaces), map[string]onnx.Tensor{"input": tensorOf(canvas, three(127), three(128), rgb())}, "scores", "boxes")
	if err != nil {
		return nil, err
	}
	scores, err := output(out, "scores", fileFaces, 3)
	if err != nil {
		return nil, err
	}
	boxes, err := output(out, "boxes", fileFaces, 3)
	if err != nil {
		return nil, err
	}
	if scores.Shape[2] != 2 || boxes.Shape[2] != 4 || scores.Shape[1] != boxes.Shape[1] {
		return nil, unexpected(fileFaces)
	}
	var list []found
	for i := range int(scores.Shape[1]) {
		v, b := float64(scores.F32[2*i+1]), boxes.F32[4*i:4*i+4]
		if v < least {
			continue
		}
		x := func(v float32) float64 { return (float64(v)*faceWidth-float64(left))/scale + float64(part.Min.X) }
		y := func(v float32) float64 { return (float64(v)*faceHeight-float64(up))/scale + float64(part.Min.Y) }
		found := found{0, v, box{x(b[0]), y(b[1]), x(b[2]), y(b[3])}}
		found.box = found.box.clip(m.Rect.Dx(), m.Rect.Dy())
		if found.box.x1-found.box.x0 >= 8 && found.box.y1-found.box.y0 >= 8 {
			list = append(list, found)
		}
	}
	return list, nil
}

// landmarks finds the five points of a face, of the 68 that the model gives.
func (e *Engine) landmarks(ctx context.Context, s *onnx.Session, m *image.NRGBA, b box) (points [5]point, err error) {
	// The model wants a square around the face as high as the box.
	side := b.y1 - b.y0
	x0, y0 := (b.x0+b.x1)/2-side/2, b.y0
	const size = 64
	crop := affine(m, [6]float64{side / size, 0, x0, 0, side / size, y0}, size, size)
	t := onnx.Tensor{Shape: []int64{1, 1, size, size}, F32: make([]float32, size*size)}
	for i, v := range luma(crop).v {
		t.F32[i] = v / 256
	}
	out, err := s.Run(e.path(fileLandmarks), map[string]onnx.Tensor{"input": t}, "output")
	if err != nil {
		return points, err
	}
	var v []float32
	if v = out["output"].F32; len(v) != 136 {
		return points, unexpected(fileLandmarks)
	}
	for i, of := range [5][]int{{37, 38, 40, 41}, {43, 44, 46, 47}, {30}, {48, 60}, {54, 64}} {
		for _, k := range of {
			points[i].x += (x0 + side*float64(v[2*k])) / float64(len(of))
			points[i].y += (y0 + side*float64(v[2*k+1])) / float64(len(of))
		}
	}
	return points, ctx.Err()
}

// affine makes a picture of w × h whose pixel (x, y) is that of m at (a[0]x + a[1]y + a[2], a[3]x + a[4]y + a[5]),
// by linear interpolation where the two have like scales, and over an area where m is finer. Beyond m's edges
// is its edge.
func affine(m *image.NRGBA, a [6]float64, w, h int) *image.NRGBA {
	mw, mh := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	// Samples a side of each pixel, against aliasing.
	n := min(max(int(math.Ceil(math.Hypot(a[0], a[3])/1.5)), 1), 8)
	for y := range h {
		for x := range w {
			var sum [4]float64
			for k := range n * n {
				fx := float64(x) + (float64(k%n)+0.5)/float64(n)
				fy := float64(y) + (float64(k/n)+0.5)/float64(n)
				sample(m, mw, mh, a[0]*fx+a[1]*fy+a[2]-0.5, a[3]*fx+a[4]*fy+a[5]-0.5, &sum)
			}
			o := out.Pix[y*out.Stride+4*x:][:4]
			for c := range o {
				o[c] = clamp8(float32(sum[c] / float64(n*n)))
			}
		}
	}
	return out
}

// sample adds the picture's value at a position.
func sample(m *image.NRGBA, w, h int, x, y float64, sum *[4]float64) {
	x, y = min(max(x, 0), float64(w-1)), min(max(y, 0), float64(h-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, w-1), min(y0+1, h-1)
	fx, fy := x-float64(x0), y-float64(y0)
	p00, p10 := m.Pix[y0*m.Stride+4*x0:][:4], m.Pix[y0*m.Stride+4*x1:][:4]
	p01, p11 := m.Pix[y1*m.Stride+4*x0:][:4], m.Pix[y1*m.Stride+4*x1:][:4]
	for c := range sum {
		sum[c] += (float64(p00[c])*(1-fx)+float64(p10[c])*fx)*(1-fy) + (float64(p01[c])*(1-fx)+float64(p11[c])*fx)*fy
	}
}

// facePoints are where the five points of an upright face are in the 112 × 112 pixels that the embedder was trained on.
func facePoints() [5]point {
	return [5]point{{38.2946, 51.6963}, {73.5318, 51.5014}, {56.0252, 71.7366}, {41.5493, 92.3655}, {70.7299, 92.2041}}
}

// similar is the map from to's points to from's that turns, scales and moves alone, with the least squared error.
func similar(from, to [5]point) [6]float64 {
	var mf, mt point
	for i := range from {
		mf.x += from[i].x / 5
		mf.y += from[i].y / 5
		mt.x += to[i].x / 5
		mt.y += to[i].y / 5
	}
	var re, im, norm float64
	for i := range from {
		fx, fy, tx, ty := from[i].x-mf.x, from[i].y-mf.y, to[i].x-mt.x, to[i].y-mt.y
		re += tx*fx + ty*fy
		im += tx*fy - ty*fx
		norm += tx*tx + ty*ty
	}
	a, b := re/norm, im/norm
	return [6]float64{a, -b, mf.x - a*mt.x + b*mt.y, b, a, mf.y - b*mt.x - a*mt.y}
}

// embed gives the vector of a face, of length 1.
func (e *Engine) embed(ctx context.Context, m *image.NRGBA, f face) ([]float32, error) {
	const size = 112
	crop := affine(m, similar(f.points, facePoints()), size, size)
	out, err := e.run(ctx, fileEmbed, "input", tensorOf(crop, three(127), three(128), rgb()))
	if err != nil {
		return nil, err
	}
	t, err := output(out, "", fileEmbed, 2)
	if err != nil {
		return nil, err
	}
	norm := 0.0
	for _, v := range t.F32 {
		norm += float64(v) * float64(v)
	}
	if norm = math.Sqrt(norm); norm == 0 || math.IsNaN(norm) || math.IsInf(norm, 0) {
		return nil, unexpected(fileEmbed)
	}
	for i := range t.F32 {
		t.F32[i] = float32(float64(t.F32[i]) / norm)
	}
	return t.F32, nil
}

// cosine is the likeness of two vectors of length 1, from -1 to 1; of vectors of different sizes it is -1.
func cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		return -1
	}
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// sameFace is the likeness from which two faces are held to be of one person. On photographs, pairs of one person
// have 0.63 in the mean, and one in fourteen has less than this; of pairs of two, women of about one age come up to 0.44. See
// the evaluation.
const sameFace = 0.45

// certainty is how clear a decision at sameFace is: 0.5 at the threshold, towards 1 away from it.
func certainty(score float64) float64 {
	return 1 / (1 + math.Exp(-12*math.Abs(score-sameFace)))
}
