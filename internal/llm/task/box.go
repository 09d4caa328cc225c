package task

import "math"

// area is a rectangle in parts of a picture's width and height, from its upper left corner.
type area struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// box is a rectangle of a picture, in pixels from its upper left corner.
type box struct {
	X      int `json:"x"`
	Y      int `json:"y"`
	Width  int `json:"width"`
	Height int `json:"height"`
}

// corners are those of the box from the upper left, clockwise.
func (b box) corners() []point {
	right, bottom := b.X+b.Width, b.Y+b.Height
	return []point{{b.X, b.Y}, {right, b.Y}, {right, bottom}, {b.X, bottom}}
}

// slack is how far outside of the picture an area may reach before it is taken for nonsense; it is cut at the edge.
const slack = 0.02

// pixels turns an area into pixels of the upright picture.
func (p *picture) pixels(a area) (b box, ok bool) {
	for _, v := range []float64{a.X, a.Y, a.X + a.Width, a.Y + a.Height} {
		if !(v >= -slack && v <= 1+slack) {
			return b, false
		}
	}
	if a.Width <= 0 || a.Height <= 0 {
		return b, false
	}
	at := func(v float64, n int) int { return int(math.Round(min(max(v, 0), 1) * float64(n))) }
	b = box{X: min(at(a.X, p.width), p.width-1), Y: min(at(a.Y, p.height), p.height-1)}
	b.Width, b.Height = max(at(a.X+a.Width, p.width)-b.X, 1), max(at(a.Y+a.Height, p.height)-b.Y, 1)
	return b, true
}
