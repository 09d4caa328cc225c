package vision

import (
	"cmp"
	"context"
	"image"
	"math"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine/onnx"
)

// textLine is a line that was read. Its corners start at its upper left and go clockwise.
type textLine struct {
	text    string
	score   float64
	corners [4]point
}

// PP-OCRv4's settings, those of PaddleOCR's own tools.
const (
	ocrSide     = 960  // the longer side that the detector sees, at most
	ocrSmall    = 64   // the shorter side, at least, before which small pictures are enlarged
	ocrPixel    = 0.3  // from which a pixel is text
	ocrBox      = 0.6  // mean from which an area is
	ocrUnclip   = 1.6  // how far the area grows back: the detector gives it shrunk
	ocrLine     = 0.5  // confidence from which a line is kept
	ocrHeight   = 48   // of a line that the recogniser sees
	ocrMaxWidth = 3200 // of it
	maxLines    = 1000
)

// readPaddle reads the text of a picture by PP-OCRv4: Chinese, English, digits.
func (e *Engine) readPaddle(ctx context.Context, m *image.NRGBA) ([]textLine, error) {
	keys, err := e.keys()
	if err != nil {
		return nil, err
	}
	var lines []textLine
	err = e.o.ONNX.Session(ctx, func(s *onnx.Session) error {
		boxes, err := e.textBoxes(ctx, s, m)
		if err != nil {
			return err
		}
		for _, corners := range boxes {
			text, score, err := e.recognise(ctx, s, m, corners, keys)
			if err != nil {
				return err
			}
			if score >= ocrLine && text != "" {
				lines = append(lines, textLine{text, score, corners})
			}
		}
		return nil
	})
	return lines, modelError(ctx, fileOCRRec, err)
}

// keys are the characters of the recogniser's outputs after the first, which is "none".
func (e *Engine) keys() ([]string, error) {
	e.once.Lock()
	defer e.once.Unlock()
	if e.ocrKeys != nil {
		return e.ocrKeys, nil
	}
	data, err := os.ReadFile(e.path(fileOCRKeys))
	if err != nil {
		return nil, err
	}
	e.ocrKeys = append(strings.Split(strings.TrimRight(strings.ReplaceAll(string(data), "\r", ""), "\n"), "\n"), " ")
	return e.ocrKeys, nil
}

// textBoxes finds the lines of text, in reading order.
func (e *Engine) textBoxes(ctx context.Context, s *onnx.Session, m *image.NRGBA) ([][4]point, error) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	scale := min(1, ocrSide/float64(max(w, h)))
	if short := float64(min(w, h)); short*scale < ocrSmall {
		scale = min(ocrSmall/short, ocrSide/float64(max(w, h)))
	}
	tw, th := multiple(float64(w)*scale), multiple(float64(h)*scale)
	small, err := resize(ctx, m, tw, th)
	if err != nil {
		return nil, err
	}
	// ImageNet's statistics, applied to blue, green, red as the training did.
	mean := [3]float32{0.485 * 255, 0.456 * 255, 0.406 * 255}
	deviation := [3]float32{0.229 * 255, 0.224 * 255, 0.225 * 255}
	out, err := s.Run(e.path(fileOCRDet), map[string]onnx.Tensor{"x": tensorOf(small, mean, deviation, bgr())})
	if err != nil {
		return nil, err
	}
	t, err := output(out, "", fileOCRDet, 4)
	if err != nil {
		return nil, err
	}
	if len(t.F32) != tw*th {
		return nil, unexpected(fileOCRDet)
	}
	fx, fy := float64(w)/float64(tw), float64(h)/float64(th)
	var boxes [][4]point
	for _, r := range regions(t.F32, tw, th) {
		var c [4]point
		for i, p := range r {
			c[i] = point{min(max(p.x*fx, 0), float64(w)), min(max(p.y*fy, 0), float64(h))}
		}
		boxes = append(boxes, c)
	}
	readingOrder(boxes)
	return boxes, nil
}

// multiple rounds to what the detector takes.
func multiple(v float64) int { return max(int(math.Round(v/32)), 1) * 32 }

// regions are the areas of text in a map of probabilities, as rectangles in any direction, grown to what was
// shrunk for training (M. Liao et al., Real-time scene text detection with differentiable binarization, 2019).
func regions(v []float32, w, h int) (list [][4]point) {
	seen := make([]bool, len(v))
	var queue []int32
	for start := range v {
		if seen[start] || v[start] <= ocrPixel {
			continue
		}
		queue = append(queue[:0], int32(start))
		seen[start] = true
		sum := 0.0
		for n := 0; n < len(queue); n++ { // all of the area, over the sides and corners of pixels
			i := int(queue[n])
			sum += float64(v[i])
			x, y := i%w, i/w
			for yy := max(y-1, 0); yy <= min(y+1, h-1); yy++ {
				for xx := max(x-1, 0); xx <= min(x+1, w-1); xx++ {
					if j := yy*w + xx; !seen[j] && v[j] > ocrPixel {
						seen[j] = true
						queue = append(queue, int32(j))
					}
				}
			}
		}
		if sum/float64(len(queue)) < ocrBox || len(list) == maxLines {
			continue
		}
		if r, ok := rectangle(queue, w); ok {
			list = append(list, r)
		}
	}
	return list
}

// rectangle is the smallest around the pixels, grown; false: too small for text.
func rectangle(pixels []int32, w int) ([4]point, bool) {
	centre, axis, long, short := smallest(hull(pixels, w))
	if short < 3 {
		return [4]point{}, false
	}
	grow := long * short * ocrUnclip / (2 * (long + short))
	long, short = long+2*grow, short+2*grow
	if short < 5 {
		return [4]point{}, false
	}
	// Turned so that "across" points to the right; a column keeps its length downwards.
	ux, uy := axis.x, axis.y
	if math.Abs(uy) > math.Abs(ux) {
		ux, uy, long, short = uy, -ux, short, long
	}
	if ux < 0 {
		ux, uy = -ux, -uy
	}
	a, b := point{ux * long / 2, uy * long / 2}, point{-uy * short / 2, ux * short / 2}
	return [4]point{
		{centre.x - a.x - b.x, centre.y - a.y - b.y}, {centre.x + a.x - b.x, centre.y + a.y - b.y},
		{centre.x + a.x + b.x, centre.y + a.y + b.y}, {centre.x - a.x + b.x, centre.y - a.y + b.y},
	}, true
}

// hull is the convex hull of the pixels' corners, by Andrew's monotone chain.
func hull(pixels []int32, w int) []point {
	rows := map[int][2]int{}
	for _, p := range pixels {
		x, y := int(p)%w, int(p)/w
		r, ok := rows[y]
		if !ok {
			r = [2]int{x, x}
		}
		rows[y] = [2]int{min(r[0], x), max(r[1], x)}
	}
	var all []point
	for y, r := range rows {
		for _, x := range []int{r[0], r[1] + 1} {
			all = append(all, point{float64(x), float64(y)}, point{float64(x), float64(y + 1)})
		}
	}
	slices.SortFunc(all, func(a, b point) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	all = slices.Compact(all)
	chain := func(points []point) (out []point) {
		for _, p := range points {
			for len(out) >= 2 && cross(out[len(out)-2], out[len(out)-1], p) <= 0 {
				out = out[:len(out)-1]
			}
			out = append(out, p)
		}
		return out[:len(out)-1]
	}
	lower := chain(all)
	slices.Reverse(all)
	return append(lower, chain(all)...)
}

func cross(o, a, b point) float64 { return (a.x-o.x)*(b.y-o.y) - (a.y-o.y)*(b.x-o.x) }

// smallest is the rectangle of least area around a convex polygon: one of its sides lies on a side of the polygon.
func smallest(poly []point) (centre, axis point, long, short float64) {
	least := math.Inf(1)
	for i, p := range poly {
		q := poly[(i+1)%len(poly)]
		n := math.Hypot(q.x-p.x, q.y-p.y)
		u := point{(q.x - p.x) / n, (q.y - p.y) / n}
		u0, u1, v0, v1 := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
		for _, r := range poly {
			a, b := r.x*u.x+r.y*u.y, -r.x*u.y+r.y*u.x
			u0, u1, v0, v1 = min(u0, a), max(u1, a), min(v0, b), max(v1, b)
		}
		if area := (u1 - u0) * (v1 - v0); area < least {
			least = area
			a, b := (u0+u1)/2, (v0+v1)/2
			centre = point{a*u.x - b*u.y, a*u.y + b*u.x}
			axis, long, short = u, u1-u0, v1-v0
			if short > long {
				axis, long, short = point{-u.y, u.x}, short, long
			}
		}
	}
	return centre, axis, long, short
}

// readingOrder sorts from top to bottom, and what stands on one line from left to right.
func readingOrder(boxes [][4]point) {
	middle := func(b [4]point) (y, height float64) {
		return (b[0].y + b[3].y) / 2, math.Hypot(b[3].x-b[0].x, b[3].y-b[0].y)
	}
	slices.SortStableFunc(boxes, func(a, b [4]point) int {
		ya, _ := middle(a)
		yb, _ := middle(b)
		return cmp.Compare(ya, yb)
	})
	for from := 0; from < len(boxes); {
		y, height := middle(boxes[from])
		to := from + 1
		for ; to < len(boxes); to++ {
			if next, h := middle(boxes[to]); next-y > min(height, h)/2 {
				break
			}
		}
		slices.SortStableFunc(boxes[from:to], func(a, b [4]point) int { return cmp.Compare(a[0].x, b[0].x) })
		from = to
	}
}

// recognise reads one line.
func (e *Engine) recognise(ctx context.Context, s *onnx.Session, m *image.NRGBA, c [4]point, keys []string) (string, float64, error) {
	if err := ctx.Err(); err != nil {
		return "", 0, err
	}
	t := tensorOf(strip(m, c), three(127.5), three(127.5), bgr())
	out, err := s.Run(e.path(fileOCRRec), map[string]onnx.Tensor{"x": t})
	if err != nil {
		return "", 0, err
	}
	p, err := output(out, "", fileOCRRec, 3)
	if err != nil {
		return "", 0, err
	}
	if p.Shape[2] != int64(len(keys)+1) {
		return "", 0, unexpected(fileOCRRec)
	}
	text, score := spell(p.F32, keys)
	return text, score, nil
}

// strip cuts a line out, upright, of the height that the recogniser wants. A column of text is laid on its side,
// as the training did.
func strip(m *image.NRGBA, c [4]point) *image.NRGBA {
	across := point{c[1].x - c[0].x, c[1].y - c[0].y}
	down := point{c[3].x - c[0].x, c[3].y - c[0].y}
	origin := c[0]
	wide, high := math.Hypot(across.x, across.y), math.Hypot(down.x, down.y)
	if high >= 1.5*wide {
		origin = c[1]
		across, down, wide, high = down, point{-across.x, -across.y}, high, wide
	}
	w := min(max(int(math.Ceil(ocrHeight*wide/max(high, 1))), 16), ocrMaxWidth)
	return affine(m, [6]float64{
		across.x / float64(w), down.x / ocrHeight, origin.x,
		across.y / float64(w), down.y / ocrHeight, origin.y,
	}, w, ocrHeight)
}

// gapSpace is how likely a space must be, anywhere between two letters, to stand there: the recogniser, trained
// on Chinese, sees most spaces of Latin text without preferring them.
const gapSpace = 0.02

// spell reads the best path of a CTC output: repetitions are one, "none" is between. keys end with the space.
func spell(p []float32, keys []string) (string, float64) {
	var b strings.Builder
	n, sum, last, count := len(keys)+1, 0.0, 0, 0
	gap, before := float32(0), "" // the likeliest space since the character before
	for i := 0; i+n <= len(p); i += n {
		best := 0
		for k, v := range p[i : i+n] {
			if v > p[i+best] {
				best = k
			}
		}
		if best != 0 && best != last {
			char := keys[best-1]
			if gap > gapSpace && spaced(before) && spaced(char) {
				b.WriteByte(' ')
			}
			b.WriteString(char)
			sum += float64(p[i+best])
			count++
			gap, before = 0, char
		} else {
			gap = max(gap, p[i+n-1])
		}
		last = best
	}
	if count == 0 {
		return "", 0
	}
	return strings.TrimSpace(b.String()), sum / float64(count)
}

// spaced reports whether a character is of a writing that sets spaces between words.
func spaced(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r) && r < 0x2e80 || unicode.IsDigit(r) || strings.ContainsRune(".,;:!?)&", r)
}

// joined is all text, and how sure it is, by characters.
func joined(lines []textLine) (string, float64) {
	var texts []string
	sum, n := 0.0, 0
	for i, l := range lines {
		// What stands beside the one before goes on its line.
		if i > 0 && beside(lines[i-1], l) {
			texts[len(texts)-1] += " " + l.text
		} else {
			texts = append(texts, l.text)
		}
		k := utf8.RuneCountInString(l.text)
		sum += l.score * float64(k)
		n += k
	}
	if n == 0 {
		return "", 0
	}
	return strings.Join(texts, "\n"), sum / float64(n)
}

func beside(a, b textLine) bool {
	ya, yb := (a.corners[0].y+a.corners[3].y)/2, (b.corners[0].y+b.corners[3].y)/2
	ha, hb := a.corners[3].y-a.corners[0].y, b.corners[3].y-b.corners[0].y
	return math.Abs(ya-yb) < min(ha, hb)/2 && b.corners[0].x >= a.corners[0].x
}
