package vision

import (
	"context"
	"image"
	"math"
)

// noiseOf estimates the standard deviation of Gaussian noise in the brightness, from 0 to 255, by what a
// mask that cancels planes and edges leaves (J. Immerkær, Computer Vision and Image Understanding 64 (1996) 300).
func noiseOf(y plane) float64 {
	if y.w < 3 || y.h < 3 {
		return 0
	}
	sum := 0.0
	for r := 1; r < y.h-1; r++ {
		a, b, c := y.v[(r-1)*y.w:][:y.w], y.v[r*y.w:][:y.w], y.v[(r+1)*y.w:][:y.w]
		for x := 1; x < y.w-1; x++ {
			d := a[x-1] - 2*a[x] + a[x+1] - 2*b[x-1] + 4*b[x] - 2*b[x+1] + c[x-1] - 2*c[x] + c[x+1]
			sum += math.Abs(float64(d))
		}
	}
	return sum * math.Sqrt(math.Pi/2) / (6 * float64(y.w-2) * float64(y.h-2))
}

// impulses is the share of pixels that are black or white dots: extreme, and far from all their neighbours.
func impulses(m *image.NRGBA) float64 {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w < 3 || h < 3 {
		return 0
	}
	n := 0
	for y := 1; y < h-1; y++ {
		for x := 1; x < w-1; x++ {
			for c := range 3 {
				if v := m.Pix[y*m.Stride+4*x+c]; (v <= 2 || v >= 253) && absDiff(v, median3(m, x, y, c)) > 48 {
					n++
					break
				}
			}
		}
	}
	return float64(n) / float64((w-2)*(h-2))
}

func absDiff(a, b byte) int {
	if a > b {
		return int(a - b)
	}
	return int(b - a)
}

// median3 is the median of channel c in the 3 × 3 pixels around x, y; edges are extended.
func median3(m *image.NRGBA, x, y, c int) byte {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var v [9]byte
	n := 0
	for yy := y - 1; yy <= y+1; yy++ {
		for xx := x - 1; xx <= x+1; xx++ {
			b := m.Pix[min(max(yy, 0), h-1)*m.Stride+4*min(max(xx, 0), w-1)+c]
			i := n
			for ; i > 0 && v[i-1] > b; i-- {
				v[i] = v[i-1]
			}
			v[i] = b
			n++
		}
	}
	return v[4]
}

// median takes single dots away: a channel that is extreme and far from its neighbours' median gets that
// median. What is not a dot is left alone.
func median(ctx context.Context, src *image.NRGBA) (*image.NRGBA, error) {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	err := bands(ctx, h, 32, func(from, to int) {
		for y := from; y < to; y++ {
			copy(dst.Pix[y*dst.Stride:][:4*w], src.Pix[y*src.Stride:][:4*w])
			for x := range w {
				for c := range 3 {
					v := src.Pix[y*src.Stride+4*x+c]
					if v > 5 && v < 250 {
						continue
					}
					if g := honest(src, x, y, c); absDiff(v, g) > 24 {
						dst.Pix[y*dst.Stride+4*x+c] = g
					}
				}
			}
		}
	})
	return dst, err
}

// honest is the median of those neighbours of a pixel that are not extreme themselves, in the smallest square
// that has three of them.
func honest(m *image.NRGBA, x, y, c int) byte {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var v [48]byte
	for r := 1; r <= 3; r++ {
		n := 0
		for yy := max(y-r, 0); yy <= min(y+r, h-1); yy++ {
			for xx := max(x-r, 0); xx <= min(x+r, w-1); xx++ {
				b := m.Pix[yy*m.Stride+4*xx+c]
				if b <= 5 || b >= 250 || xx == x && yy == y {
					continue
				}
				i := n
				for ; i > 0 && v[i-1] > b; i-- {
					v[i] = v[i-1]
				}
				v[i] = b
				n++
			}
		}
		if n >= 3 {
			return v[n/2]
		}
	}
	return median3(m, x, y, c)
}

// bilateral averages over near pixels of like colour (C. Tomasi, R. Manduchi, ICCV 1998). It is several times
// faster than nlm, and weaker.
func bilateral(ctx context.Context, src *image.NRGBA, sigma float64) (*image.NRGBA, error) {
	const radius = 3
	w, h := src.Rect.Dx(), src.Rect.Dy()
	var like [3*255 + 1]float32 // by the sum of the differences of three channels
	scale := 2 * sigma * 3
	for d := range like {
		like[d] = float32(math.Exp(-float64(d*d) / (2 * scale * scale)))
	}
	var near [2*radius + 1][2*radius + 1]float32
	for dy := range near {
		for dx := range near {
			near[dy][dx] = float32(math.Exp(-float64((dy-radius)*(dy-radius)+(dx-radius)*(dx-radius)) / (2 * 2 * 2)))
		}
	}
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	err := bands(ctx, h, 16, func(from, to int) {
		for y := from; y < to && ctx.Err() == nil; y++ {
			for x := range w {
				p := src.Pix[y*src.Stride+4*x:][:4]
				var r, g, b, sum float32
				for yy := max(y-radius, 0); yy <= min(y+radius, h-1); yy++ {
					weights := &near[yy-y+radius]
					for xx := max(x-radius, 0); xx <= min(x+radius, w-1); xx++ {
						q := src.Pix[yy*src.Stride+4*xx:][:4]
						f := weights[xx-x+radius] * like[absDiff(p[0], q[0])+absDiff(p[1], q[1])+absDiff(p[2], q[2])]
						r += f * float32(q[0])
						g += f * float32(q[1])
						b += f * float32(q[2])
						sum += f
					}
				}
				o := dst.Pix[y*dst.Stride+4*x:][:4]
				o[0], o[1], o[2], o[3] = clamp8(r/sum), clamp8(g/sum), clamp8(b/sum), p[3]
			}
		}
	})
	return dst, err
}

// Non-local means: the half sides of the patch that is compared, and of where its likes are looked for.
const (
	nlmPatch  = 2
	nlmSearch = 7
)

// nlm averages over pixels whose surroundings look alike (A. Buades, B. Coll, J.-M. Morel, CVPR 2005; with
// their estimate of the distance under noise, IPOL 2011). sigma is the noise, from 0 to 255.
func nlm(ctx context.Context, src *image.NRGBA, sigma float64) (*image.NRGBA, error) {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	weights := similarity(sigma)
	err := bands(ctx, h, 48, func(from, to int) {
		b := newNLMBand(src, from, to)
		for dy := -nlmSearch; dy <= nlmSearch; dy++ {
			for dx := -nlmSearch; dx <= nlmSearch; dx++ {
				if ctx.Err() != nil {
					return
				}
				b.add(dx, dy, weights)
			}
		}
		b.write(dst, src)
	})
	return dst, err
}

// simScale is how many entries the table of weights has for a mean squared difference of 2σ².
const simScale = 64

type simTable struct {
	perUnit float32
	w       []float32
}

// similarity tabulates exp(-max(d² - 2σ², 0)/h²) by d², the mean squared difference of two patches.
func similarity(sigma float64) simTable {
	k := 0.45 // of h in σ; the paper's values for colour go from 0.55 down
	if sigma > 25 {
		k = 0.4
	}
	v, hh := 2*sigma*sigma, (k*sigma)*(k*sigma)
	top := v + 7*hh
	t := simTable{perUnit: float32(simScale / v)}
	for i := 0; float64(i)*v/simScale < top; i++ {
		d := (float64(i) + 0.5) * v / simScale
		t.w = append(t.w, float32(math.Exp(-max(d-v, 0)/hh)))
	}
	t.w = append(t.w, 0)
	return t
}

// nlmBand computes the rows from y0 to y1.
type nlmBand struct {
	w, rows int
	y0      int
	pw      int       // width with margins
	px      []float32 // three channels, with margins, edges mirrored
	acc     []float32 // weighted sum of three channels, and the weights
	diff    []float32 // squared differences of one shift, with a margin of nlmPatch
	cols    []float32 // sums of columns of diff
}

const nlmMargin = nlmPatch + nlmSearch

func newNLMBand(src *image.NRGBA, y0, y1 int) *nlmBand {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	b := &nlmBand{w: w, rows: y1 - y0, y0: y0, pw: w + 2*nlmMargin}
	b.px = make([]float32, 3*b.pw*(b.rows+2*nlmMargin))
	for r := range b.rows + 2*nlmMargin {
		line := src.Pix[mirror(y0+r-nlmMargin, h)*src.Stride:]
		for x := range b.pw {
			copy3(b.px[3*(r*b.pw+x):], line[4*mirror(x-nlmMargin, w):])
		}
	}
	b.acc = make([]float32, 4*w*b.rows)
	b.diff = make([]float32, (w+2*nlmPatch)*(b.rows+2*nlmPatch))
	b.cols = make([]float32, w+2*nlmPatch)
	return b
}

func copy3(dst []float32, src []byte) {
	dst[0], dst[1], dst[2] = float32(src[0]), float32(src[1]), float32(src[2])
}

// mirror folds a position into 0…n-1.
func mirror(i, n int) int {
	for i < 0 || i >= n {
		if i < 0 {
			i = -i
		}
		if i >= n {
			i = 2*(n-1) - i
		}
		if n == 1 {
			return 0
		}
	}
	return i
}

// add adds to each pixel the one at the distance dx, dy from it.
func (b *nlmBand) add(dx, dy int, t simTable) {
	dw := b.w + 2*nlmPatch
	for r := range b.rows + 2*nlmPatch {
		p := b.px[3*((r+nlmSearch)*b.pw+nlmSearch):][:3*dw]
		q := b.px[3*((r+nlmSearch+dy)*b.pw+nlmSearch+dx):][:3*dw]
		out := b.diff[r*dw:][:dw]
		for x := range out {
			d0, d1, d2 := p[3*x]-q[3*x], p[3*x+1]-q[3*x+1], p[3*x+2]-q[3*x+2]
			out[x] = d0*d0 + d1*d1 + d2*d2
		}
	}
	const side = 2*nlmPatch + 1
	scale := t.perUnit / (3 * side * side)
	last := len(t.w) - 1
	for r := range b.rows {
		b.columns(r, dw)
		q := b.px[3*((r+nlmMargin+dy)*b.pw+nlmMargin+dx):][:3*b.w]
		acc := b.acc[4*r*b.w:][:4*b.w]
		sum := float32(0)
		for x := range 2 * nlmPatch {
			sum += b.cols[x]
		}
		for x := range b.w {
			sum += b.cols[x+2*nlmPatch]
			if i := int(max(sum, 0) * scale); i < last {
				f := t.w[i]
				a := acc[4*x : 4*x+4]
				a[0] += f * q[3*x]
				a[1] += f * q[3*x+1]
				a[2] += f * q[3*x+2]
				a[3] += f
			}
			sum -= b.cols[x]
		}
	}
}

// columns sums the differences over the height of a patch. Sums are made anew from time to time, as
// what is added and taken away again does not quite cancel.
func (b *nlmBand) columns(r, dw int) {
	if r%16 == 0 {
		clear(b.cols)
		for k := range 2*nlmPatch + 1 {
			for x, v := range b.diff[(r+k)*dw:][:dw] {
				b.cols[x] += v
			}
		}
		return
	}
	gone, come := b.diff[(r-1)*dw:][:dw], b.diff[(r+2*nlmPatch)*dw:][:dw]
	for x := range b.cols {
		b.cols[x] += come[x] - gone[x]
	}
}

func (b *nlmBand) write(dst, src *image.NRGBA) {
	for r := range b.rows {
		in, out := src.Pix[(b.y0+r)*src.Stride:], dst.Pix[(b.y0+r)*dst.Stride:]
		for x := range b.w {
			a := b.acc[4*(r*b.w+x):][:4]
			f := 1 / a[3] // the pixel itself has the weight 1
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = clamp8(a[0]*f), clamp8(a[1]*f), clamp8(a[2]*f), in[4*x+3]
		}
	}
}
