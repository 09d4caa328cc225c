package vision

import (
	"context"
	"image"
	"math"
)

// States of a pixel in the fast marching method.
const (
	known  = iota
	narrow // on the front
	unknown
)

// inpaint fills the masked pixels from their surroundings, from the rim of each hole inwards, by A. Telea's
// method (J. Graphics Tools 9 (2004) 23): fast marching, and weights by direction, distance and level within
// radius. It continues edges into scratches and small holes; it cannot invent what a large hole hid.
// mask has one byte a pixel, not 0 where the picture is to be filled; it must leave something.
func inpaint(ctx context.Context, src *image.NRGBA, mask []byte, radius int) (*image.NRGBA, error) {
	w, h := src.Rect.Dx(), src.Rect.Dy()
	f := &march{w: w, h: h, pix: make([]byte, 4*w*h), state: make([]uint8, w*h), dist: make([]float32, w*h), radius: radius}
	for y := range h {
		copy(f.pix[4*y*w:][:4*w], src.Pix[y*src.Stride:][:4*w])
	}
	for i, m := range mask {
		if m != 0 {
			f.state[i], f.dist[i] = unknown, math.MaxFloat32
		}
	}
	for i, s := range f.state {
		if s == known && f.touches(i, unknown) {
			f.push(front{int32(i), 0})
		}
	}
	for n := 0; len(f.heap) > 0; n++ {
		if n&0xfff == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p := f.pop()
		f.state[p.at] = known
		f.around(int(p.at), func(q int) {
			if f.state[q] != unknown {
				return
			}
			f.dist[q] = f.eikonal(q)
			f.fill(q)
			f.state[q] = narrow
			f.push(front{int32(q), f.dist[q]})
		})
	}
	return &image.NRGBA{Pix: f.pix, Stride: 4 * w, Rect: image.Rect(0, 0, w, h)}, nil
}

type front struct {
	at   int32
	dist float32
}

type march struct {
	w, h   int
	pix    []byte
	state  []uint8
	dist   []float32 // from the rim of the hole
	radius int
	heap   []front
}

// around calls fn with the four neighbours of pixel i.
func (f *march) around(i int, fn func(int)) {
	x, y := i%f.w, i/f.w
	if x > 0 {
		fn(i - 1)
	}
	if x+1 < f.w {
		fn(i + 1)
	}
	if y > 0 {
		fn(i - f.w)
	}
	if y+1 < f.h {
		fn(i + f.w)
	}
}

func (f *march) touches(i int, state uint8) (yes bool) {
	f.around(i, func(q int) { yes = yes || f.state[q] == state })
	return yes
}

// eikonal is the distance of i from the rim by |∇T| = 1 and its known neighbours.
func (f *march) eikonal(i int) float32 {
	x, y := i%f.w, i/f.w
	a := min(f.distance(x-1, y), f.distance(x+1, y))
	b := min(f.distance(x, y-1), f.distance(x, y+1))
	if d := a - b; a < math.MaxFloat32 && b < math.MaxFloat32 && d > -1 && d < 1 {
		return (a + b + float32(math.Sqrt(float64(2-d*d)))) / 2
	}
	return 1 + min(a, b)
}

// distance is that of a pixel which has one already.
func (f *march) distance(x, y int) float32 {
	if x < 0 || y < 0 || x >= f.w || y >= f.h || f.state[y*f.w+x] == unknown {
		return math.MaxFloat32
	}
	return f.dist[y*f.w+x]
}

// slope is the gradient of the distance at a pixel, by what is known on both sides.
func (f *march) slope(x, y int) (dx, dy float32) {
	here := f.dist[y*f.w+x]
	side := func(a, b float32) float32 {
		switch {
		case a < math.MaxFloat32 && b < math.MaxFloat32:
			return (b - a) / 2
		case b < math.MaxFloat32:
			return b - here
		case a < math.MaxFloat32:
			return here - a
		}
		return 0
	}
	return side(f.distance(x-1, y), f.distance(x+1, y)), side(f.distance(x, y-1), f.distance(x, y+1))
}

// fill gives pixel i a colour: the mean of the known ones within the radius, each as it continues to here.
func (f *march) fill(i int) {
	px, py := i%f.w, i/f.w
	nx, ny := f.slope(px, py)
	var sum [4]float32
	var weights float32
	for y := max(py-f.radius, 0); y <= min(py+f.radius, f.h-1); y++ {
		for x := max(px-f.radius, 0); x <= min(px+f.radius, f.w-1); x++ {
			j := y*f.w + x
			rx, ry := float32(px-x), float32(py-y)
			d2 := rx*rx + ry*ry
			if f.state[j] == unknown || d2 == 0 || d2 > float32(f.radius*f.radius) {
				continue
			}
			dir := float32(math.Abs(float64(rx*nx+ry*ny))) / float32(math.Sqrt(float64(d2)))
			weight := max(dir, 1e-3) / d2 / (1 + float32(math.Abs(float64(f.dist[j]-f.dist[i]))))
			for c := range sum {
				gx, gy := f.colourSlope(x, y, c)
				sum[c] += weight * (float32(f.pix[4*j+c]) + 0.5*(gx*rx+gy*ry))
			}
			weights += weight
		}
	}
	if weights == 0 {
		return
	}
	for c := range sum {
		f.pix[4*i+c] = clamp8(sum[c] / weights)
	}
}

// colourSlope is the gradient of a channel at a pixel, where both sides are known, and limited, as a wild one
// would streak.
func (f *march) colourSlope(x, y, c int) (gx, gy float32) {
	at := 4*(y*f.w+x) + c
	if x > 0 && x+1 < f.w && f.state[y*f.w+x-1] == known && f.state[y*f.w+x+1] == known {
		gx = (float32(f.pix[at+4]) - float32(f.pix[at-4])) / 2
	}
	if y > 0 && y+1 < f.h && f.state[(y-1)*f.w+x] == known && f.state[(y+1)*f.w+x] == known {
		gy = (float32(f.pix[at+4*f.w]) - float32(f.pix[at-4*f.w])) / 2
	}
	const most = 8
	return min(max(gx, -most), most), min(max(gy, -most), most)
}

// push and pop keep a binary heap by distance.
func (f *march) push(p front) {
	f.heap = append(f.heap, p)
	for i := len(f.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if f.heap[up].dist <= f.heap[i].dist {
			return
		}
		f.heap[up], f.heap[i] = f.heap[i], f.heap[up]
		i = up
	}
}

func (f *march) pop() front {
	top, last := f.heap[0], len(f.heap)-1
	f.heap[0] = f.heap[last]
	f.heap = f.heap[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			return top
		}
		if c+1 < last && f.heap[c+1].dist < f.heap[c].dist {
			c++
		}
		if f.heap[i].dist <= f.heap[c].dist {
			return top
		}
		f.heap[i], f.heap[c] = f.heap[c], f.heap[i]
		i = c
	}
}
