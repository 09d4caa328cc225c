package vision

import (
	"context"
	"image"
	"slices"
)

// cocoLabels are the 80 classes of COCO 2017, in the order of the detector's channels.
func cocoLabels() []string {
	return []string{
		"person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
		"fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
		"elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
		"skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
		"wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
		"broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
		"dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
		"toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
	}
}

// CenterNet's input and output: a picture of 512 pixels a side, a grid of 128.
const (
	detectSide = 512
	detectGrid = 128
	detectStep = detectSide / detectGrid
)

// heat runs the detector: keypoints is how likely the middle of a thing of a class is in a cell, sizes how far its
// box reaches from there, to the left, top, right and bottom, in pixels of 512.
func (e *Engine) heat(ctx context.Context, m *image.NRGBA) (keypoints, sizes []float32, err error) {
	small, _, err := letterbox(ctx, m, detectSide, detectSide)
	if err != nil {
		return nil, nil, err
	}
	in := tensorOf(small, three(0), three(1), rgb())
	out, err := e.run(ctx, fileDetect, "tower_0/images", in, "tower_0/keypoints", "tower_0/wh")
	if err != nil {
		return nil, nil, err
	}
	k, err := output(out, "tower_0/keypoints", fileDetect, 4)
	if err != nil {
		return nil, nil, err
	}
	s, err := output(out, "tower_0/wh", fileDetect, 4)
	if err != nil {
		return nil, nil, err
	}
	if len(k.F32) != len(cocoLabels())*detectGrid*detectGrid || len(s.F32) != 4*detectGrid*detectGrid {
		return nil, nil, unexpected(fileDetect)
	}
	return k.F32, s.F32, nil
}

// detect finds things in a picture, at most n, best first.
func (e *Engine) detect(ctx context.Context, m *image.NRGBA, least float64, n int) ([]found, error) {
	keypoints, sizes, err := e.heat(ctx, m)
	if err != nil {
		return nil, err
	}
	const cells = detectGrid * detectGrid
	w, h := m.Rect.Dx(), m.Rect.Dy()
	f := 1 / fit(w, h, detectSide, detectSide)
	var list []found
	for class := range len(keypoints) / cells {
		plane := keypoints[class*cells : (class+1)*cells]
		for i, v := range plane {
			if float64(v) < least || !peak(plane, i) {
				continue
			}
			x, y := float64(i%detectGrid*detectStep), float64(i/detectGrid*detectStep)
			b := box{(x - float64(sizes[i])) * f, (y - float64(sizes[cells+i])) * f, (x + float64(sizes[2*cells+i])) * f, (y + float64(sizes[3*cells+i])) * f}
			if b = b.clip(w, h); b.area() > 0 {
				list = append(list, found{class, float64(v), b})
			}
		}
	}
	return suppress(list, 0.5, n), nil
}

// peak reports whether no neighbour of cell i is above it.
func peak(plane []float32, i int) bool {
	x, y := i%detectGrid, i/detectGrid
	for yy := max(y-1, 0); yy <= min(y+1, detectGrid-1); yy++ {
		for xx := max(x-1, 0); xx <= min(x+1, detectGrid-1); xx++ {
			if plane[yy*detectGrid+xx] > plane[i] {
				return false
			}
		}
	}
	return true
}

// scored is a label with how sure it is.
type scored struct {
	Label      string  `json:"label"`
	Confidence float64 `json:"confidence"`
}

// top are the n best of scores, by their labels.
func top(labels []string, scores []float32, n int) []scored {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	list := []scored{}
	for _, i := range order[:min(n, len(order))] {
		if i < len(labels) {
			list = append(list, scored{labels[i], round3(float64(scores[i]))})
		}
	}
	return list
}

// present gives, for each of the detector's classes, how sure it is that the picture shows one.
func (e *Engine) present(ctx context.Context, m *image.NRGBA) ([]float32, error) {
	keypoints, _, err := e.heat(ctx, m)
	if err != nil {
		return nil, err
	}
	const cells = detectGrid * detectGrid
	best := make([]float32, len(keypoints)/cells)
	for class := range best {
		best[class] = slices.Max(keypoints[class*cells : (class+1)*cells])
	}
	return best, nil
}
