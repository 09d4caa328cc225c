package vision

import (
	"context"
	"image"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// bands runs work on the rows from 0 to n in bands, on all processors, until ctx ends. Bands do not depend on
// one another.
func bands(ctx context.Context, n, height int, work func(from, to int)) error {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+height-1)/height) {
		all.Go(func() {
			for ctx.Err() == nil {
				from := int(next.Add(int64(height))) - height
				if from >= n {
					return
				}
				work(from, min(from+height, n))
			}
		})
	}
	all.Wait()
	return ctx.Err()
}

// taps are the source samples that one sample is made of: from first on, with weights whose sum is 1.
type taps struct {
	first   int
	weights []float32
}

// lanczos gives, for each of n samples that are made of m, its taps, by the kernel sinc(x)·sinc(x/3). When
// samples become fewer the kernel is widened, so that nothing aliases.
func lanczos(m, n int) []taps {
	const lobes = 3
	scale := float64(m) / float64(n)
	wide := max(scale, 1)
	out := make([]taps, n)
	for i := range out {
		centre := (float64(i)+0.5)*scale - 0.5
		from := max(int(math.Ceil(centre-lobes*wide)), 0)
		to := min(int(math.Floor(centre+lobes*wide)), m-1)
		if from > to {
			from = min(max(int(math.Round(centre)), 0), m-1)
			to = from
		}
		w := make([]float32, to-from+1)
		sum := 0.0
		for k := range w {
			v := sinc((float64(from+k)-centre)/wide) * sinc((float64(from+k)-centre)/wide/lobes)
			w[k] = float32(v)
			sum += v
		}
		for k := range w {
			w[k] = float32(float64(w[k]) / sum)
		}
		out[i] = taps{from, w}
	}
	return out
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// resize makes a picture of w × h by Lanczos' kernel. Colours are weighted by their opacity.
func resize(ctx context.Context, src *image.NRGBA, w, h int) (*image.NRGBA, error) {
	sw, sh := src.Rect.Dx(), src.Rect.Dy()
	if sw == w && sh == h {
		return src, ctx.Err()
	}
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	across, down := lanczos(sw, w), lanczos(sh, h)
	err := bands(ctx, h, 64, func(from, to int) {
		cache := rowCache{src: src, across: across, line: make([]float32, 4*sw)}
		acc := make([]float32, 4*w)
		for y := from; y < to && ctx.Err() == nil; y++ {
			clear(acc)
			t := down[y]
			cache.forget(t.first)
			for k, weight := range t.weights {
				for i, v := range cache.row(t.first + k) {
					acc[i] += weight * v
				}
			}
			store(dst.Pix[y*dst.Stride:], acc)
		}
	})
	return dst, err
}

// rowCache keeps the source rows, already resampled across, that the next rows need again.
type rowCache struct {
	src    *image.NRGBA
	across []taps
	line   []float32
	first  int
	rows   [][]float32 // of first and what follows; nil: not made yet
	spare  [][]float32
}

func (c *rowCache) forget(before int) {
	for len(c.rows) > 0 && c.first < before {
		if c.rows[0] != nil {
			c.spare = append(c.spare, c.rows[0])
		}
		c.rows = c.rows[1:]
		c.first++
	}
	if len(c.rows) == 0 {
		c.first = before
	}
}

func (c *rowCache) row(y int) []float32 {
	for len(c.rows) <= y-c.first {
		c.rows = append(c.rows, nil)
	}
	if r := c.rows[y-c.first]; r != nil {
		return r
	}
	var r []float32
	if n := len(c.spare); n > 0 {
		r, c.spare = c.spare[n-1], c.spare[:n-1]
	} else {
		r = make([]float32, 4*len(c.across))
	}
	c.rows[y-c.first] = r
	premultiplied(c.line, c.src.Pix[y*c.src.Stride:])
	for x, t := range c.across {
		var s0, s1, s2, s3 float32
		line := c.line[4*t.first:]
		for k, weight := range t.weights {
			p := line[4*k : 4*k+4]
			s0 += weight * p[0]
			s1 += weight * p[1]
			s2 += weight * p[2]
			s3 += weight * p[3]
		}
		o := r[4*x : 4*x+4]
		o[0], o[1], o[2], o[3] = s0, s1, s2, s3
	}
	return r
}

// premultiplied writes len(dst)/4 pixels: colours times opacity, from 0 to 255.
func premultiplied(dst []float32, pix []byte) {
	for i := 0; i+3 < len(dst); i += 4 {
		p := pix[i : i+4]
		a := float32(p[3])
		if p[3] == 255 {
			dst[i], dst[i+1], dst[i+2], dst[i+3] = float32(p[0]), float32(p[1]), float32(p[2]), a
			continue
		}
		f := a / 255
		dst[i], dst[i+1], dst[i+2], dst[i+3] = float32(p[0])*f, float32(p[1])*f, float32(p[2])*f, a
	}
}

// store writes premultiplied pixels back.
func store(pix []byte, acc []float32) {
	for i := 0; i+3 < len(acc); i += 4 {
		a := acc[i+3]
		f := float32(1)
		if a < 254.5 {
			if a < 0.5 {
				pix[i], pix[i+1], pix[i+2], pix[i+3] = 0, 0, 0, 0
				continue
			}
			f = 255 / a
		}
		pix[i], pix[i+1], pix[i+2], pix[i+3] = clamp8(acc[i]*f), clamp8(acc[i+1]*f), clamp8(acc[i+2]*f), clamp8(a)
	}
}

// clamp8 rounds to a byte.
func clamp8(v float32) byte {
	switch {
	case v <= 0:
		return 0
	case v >= 255:
		return 255
	}
	return byte(v + 0.5)
}
