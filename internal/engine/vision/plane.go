package vision

import (
	"context"
	"image"
	"math"
)

// plane is one channel as numbers from 0 to 255.
type plane struct {
	w, h int
	v    []float32
}

func newPlane(w, h int) plane { return plane{w, h, make([]float32, w*h)} }

// luma is the brightness of each pixel by ITU-R BT.601, on the stored (not linear) values, as JPEG has it.
func luma(m *image.NRGBA) plane {
	p := newPlane(m.Rect.Dx(), m.Rect.Dy())
	for y := range p.h {
		row := m.Pix[y*m.Stride : y*m.Stride+4*p.w]
		out := p.v[y*p.w:][:p.w]
		for x := range out {
			out[x] = 0.299*float32(row[4*x]) + 0.587*float32(row[4*x+1]) + 0.114*float32(row[4*x+2])
		}
	}
	return p
}

// relight returns src with its brightness changed from before to after, its hue and opacity kept.
func relight(src *image.NRGBA, before, after plane) *image.NRGBA {
	dst := image.NewNRGBA(image.Rect(0, 0, before.w, before.h))
	for y := range before.h {
		in, out := src.Pix[y*src.Stride:], dst.Pix[y*dst.Stride:]
		for x := range before.w {
			d := after.v[y*before.w+x] - before.v[y*before.w+x]
			for c := range 3 {
				out[4*x+c] = clamp8(float32(in[4*x+c]) + d)
			}
			out[4*x+3] = in[4*x+3]
		}
	}
	return dst
}

// gaussian is one half of a Gaussian kernel, its middle first; the whole has the sum 1.
func gaussian(sigma float64) []float32 {
	n := int(math.Ceil(3 * sigma))
	k := make([]float32, n+1)
	sum := 0.0
	for i := range k {
		v := math.Exp(-float64(i*i) / (2 * sigma * sigma))
		k[i] = float32(v)
		if sum += v; i > 0 {
			sum += v
		}
	}
	for i := range k {
		k[i] = float32(float64(k[i]) / sum)
	}
	return k
}

// blur convolves src with the kernel in both directions into dst; tmp is room for it. Edges are extended.
func blur(ctx context.Context, dst, src, tmp plane, kernel []float32) error {
	w, h := src.w, src.h
	err := bands(ctx, h, 64, func(from, to int) {
		for y := from; y < to; y++ {
			blurRow(tmp.v[y*w:][:w], src.v[y*w:][:w], kernel)
		}
	})
	if err != nil {
		return err
	}
	return bands(ctx, h, 64, func(from, to int) {
		for y := from; y < to; y++ {
			out, mid := dst.v[y*w:][:w], tmp.v[y*w:][:w]
			for x, v := range mid {
				out[x] = kernel[0] * v
			}
			for k := 1; k < len(kernel); k++ {
				up, down := tmp.v[max(y-k, 0)*w:][:w], tmp.v[min(y+k, h-1)*w:][:w]
				f := kernel[k]
				for x := range out {
					out[x] += f * (up[x] + down[x])
				}
			}
		}
	})
}

func blurRow(out, in, kernel []float32) {
	w := len(in)
	for x, v := range in {
		out[x] = kernel[0] * v
	}
	for k := 1; k < len(kernel); k++ {
		f := kernel[k]
		for x := range out {
			if x >= k && x+k < w {
				out[x] += f * (in[x-k] + in[x+k])
			} else {
				out[x] += f * (in[max(x-k, 0)] + in[min(x+k, w-1)])
			}
		}
	}
}

// unsharp raises what a slight blur takes away. amount is from 0 (nothing) to 3.
func unsharp(ctx context.Context, src *image.NRGBA, amount float64) (*image.NRGBA, error) {
	y := luma(src)
	soft, tmp := newPlane(y.w, y.h), newPlane(y.w, y.h)
	if err := blur(ctx, soft, y, tmp, gaussian(1)); err != nil {
		return nil, err
	}
	for i, v := range y.v {
		soft.v[i] = v + float32(amount)*(v-soft.v[i])
	}
	return relight(src, y, soft), nil
}

// lucySteps is where the restoration of an 8-bit picture is about best: fewer leave it soft, more raise its
// noise and ring.
const lucySteps = 15

// deblur undoes a blur by a Gaussian of sigma pixels, by Richardson and Lucy's iteration (J. Opt. Soc. Am. 62
// (1972) 55; Astron. J. 79 (1974) 745) on the brightness.
func deblur(ctx context.Context, src *image.NRGBA, sigma float64) (*image.NRGBA, error) {
	y := luma(src)
	est, ratio, tmp := newPlane(y.w, y.h), newPlane(y.w, y.h), newPlane(y.w, y.h)
	kernel := gaussian(sigma)
	for i, v := range y.v {
		est.v[i] = v + 1 // the iteration divides
	}
	for range lucySteps {
		if err := blur(ctx, ratio, est, tmp, kernel); err != nil {
			return nil, err
		}
		for i, v := range y.v {
			ratio.v[i] = (v + 1) / max(ratio.v[i], 1e-3)
		}
		if err := blur(ctx, ratio, ratio, tmp, kernel); err != nil {
			return nil, err
		}
		for i, v := range ratio.v {
			est.v[i] = min(est.v[i]*v, 256)
		}
	}
	for i := range est.v {
		est.v[i]--
	}
	return relight(src, y, est), nil
}

// clahe equalises the brightness in tiles (contrast-limited adaptive histogram equalisation; K. Zuiderveld,
// Graphics Gems IV, 1994). clip is how many times its even share a grey level may have, from 1 on.
func clahe(ctx context.Context, src *image.NRGBA, clip float64) (*image.NRGBA, error) {
	y := luma(src)
	nx, ny := min(8, (y.w+7)/8), min(8, (y.h+7)/8)
	maps := make([][256]float32, nx*ny)
	err := bands(ctx, ny, 1, func(from, to int) {
		for ty := from; ty < to; ty++ {
			for tx := range nx {
				maps[ty*nx+tx] = equalise(y, tx*y.w/nx, (tx+1)*y.w/nx, ty*y.h/ny, (ty+1)*y.h/ny, clip)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	out := newPlane(y.w, y.h)
	err = bands(ctx, y.h, 64, func(from, to int) {
		for r := from; r < to; r++ {
			y0, y1, fy := between(r, y.h, ny)
			for x := range y.w {
				x0, x1, fx := between(x, y.w, nx)
				g := clamp8(y.v[r*y.w+x])
				top := maps[y0*nx+x0][g]*(1-fx) + maps[y0*nx+x1][g]*fx
				bottom := maps[y1*nx+x0][g]*(1-fx) + maps[y1*nx+x1][g]*fx
				out.v[r*y.w+x] = top*(1-fy) + bottom*fy
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return relight(src, y, out), nil
}

// between gives the tiles whose middles are on both sides of position i of n, and how near the second is.
func between(i, n, tiles int) (a, b int, f float32) {
	p := (float32(i)+0.5)*float32(tiles)/float32(n) - 0.5
	if p <= 0 {
		return 0, 0, 0
	}
	a = min(int(p), tiles-1)
	return a, min(a+1, tiles-1), p - float32(a)
}

// equalise is the map of grey levels of one tile.
func equalise(y plane, x0, x1, y0, y1 int, clip float64) (out [256]float32) {
	var n [256]int
	for r := y0; r < y1; r++ {
		for _, v := range y.v[r*y.w+x0 : r*y.w+x1] {
			n[clamp8(v)]++
		}
	}
	total := (x1 - x0) * (y1 - y0)
	limit := max(int(clip*float64(total)/256), 1)
	excess := 0
	for i := range n {
		if n[i] > limit {
			excess += n[i] - limit
			n[i] = limit
		}
	}
	sum, share := float32(0), float32(excess)/256
	for i := range n {
		// Half of the level's own count, so that a tile of one colour keeps it about.
		here := float32(n[i]) + share
		out[i] = (sum + here/2) * 255 / float32(max(total, 1))
		sum += here
	}
	return out
}
