package vision

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"math/rand/v2"
	"os"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// generated is a picture of known content for evaluations: slow shades, sharp edges, thin lines, texture.
// It is the same every time.
func generated(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			u, v := float64(x)/float64(w), float64(y)/float64(h)
			r, g, b := 60+120*u, 80+100*v, 150-60*u*v
			if math.Hypot(u-0.3, v-0.4) < 0.18 { // a disc
				r, g, b = 210, 120-60*v, 60
			}
			if u > 0.6 && u < 0.9 && v > 0.15 && v < 0.5 { // a chequered board
				if (int(u*40)+int(v*40))%2 == 0 {
					r, g, b = 230, 225, 210
				} else {
					r, g, b = 50, 45, 60
				}
			}
			if v > 0.65 { // waves, finer towards the bottom
				s := 25 * math.Sin(u*40*(1+2*(v-0.65)))
				r, g, b = r+s, g+s, b-s
			}
			if math.Abs(v-0.62-0.03*math.Sin(9*u)) < 0.004 { // a wire
				r, g, b = 20, 20, 25
			}
			m.SetNRGBA(x, y, color.NRGBA{clamp8(float32(r)), clamp8(float32(g)), clamp8(float32(b)), 255})
		}
	}
	return m
}

// grain adds Gaussian noise of the deviation sigma.
func grain(m *image.NRGBA, sigma float64) *image.NRGBA {
	rnd := rand.New(rand.NewPCG(1, 2))
	out := image.NewNRGBA(m.Rect)
	for i, v := range m.Pix {
		if out.Pix[i] = v; i%4 != 3 {
			out.Pix[i] = clamp8(float32(float64(v) + sigma*rnd.NormFloat64()))
		}
	}
	return out
}

// dotted sets a share of the pixels to black or white.
func dotted(m *image.NRGBA, share float64) *image.NRGBA {
	rnd := rand.New(rand.NewPCG(3, 4))
	out := image.NewNRGBA(m.Rect)
	copy(out.Pix, m.Pix)
	for i := 0; i < len(out.Pix); i += 4 {
		if rnd.Float64() < share {
			v := byte(255 * rnd.IntN(2))
			out.Pix[i], out.Pix[i+1], out.Pix[i+2] = v, v, v
		}
	}
	return out
}

// scratched paints lines over a picture and gives the mask of them, 255 where they are.
func scratched(m *image.NRGBA) (damaged *image.NRGBA, mask []byte) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	damaged, mask = image.NewNRGBA(m.Rect), make([]byte, w*h)
	copy(damaged.Pix, m.Pix)
	for y := range h {
		for x := range w {
			a, b := (x+y*2)%97, (3*x-y+4*h)%131
			if a < 6 || b < 7 {
				mask[y*w+x] = 255
				damaged.SetNRGBA(x, y, color.NRGBA{255, 255, 255, 255})
			}
		}
	}
	return damaged, mask
}

// psnr is the peak signal-to-noise ratio in dB of the colours, where mask, if any, is not 0.
func psnr(a, b *image.NRGBA, mask []byte) float64 {
	sum, n := 0.0, 0
	for i := range a.Pix {
		if i%4 == 3 || mask != nil && mask[i/4] == 0 {
			continue
		}
		d := float64(a.Pix[i]) - float64(b.Pix[i])
		sum += d * d
		n++
	}
	if sum == 0 {
		return math.Inf(1)
	}
	return 10 * math.Log10(255*255*float64(n)/sum)
}

// typeface reads a font file; "" is Go's own.
func typeface(path string) (*opentype.Font, error) {
	if path == "" {
		return opentype.Parse(goregular.TTF)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return opentype.Parse(data)
}

// typeset writes lines, dark on a light ground, into a picture.
func typeset(f *opentype.Font, size float64, lines []string) (*image.NRGBA, error) {
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72})
	if err != nil {
		return nil, err
	}
	defer face.Close()
	const margin = 20
	step := int(1.6 * size)
	width := 0
	for _, l := range lines {
		width = max(width, font.MeasureString(face, l).Ceil())
	}
	m := image.NewNRGBA(image.Rect(0, 0, width+2*margin, step*len(lines)+2*margin))
	draw.Draw(m, m.Rect, image.NewUniform(color.NRGBA{250, 249, 245, 255}), image.Point{}, draw.Src)
	d := font.Drawer{Dst: m, Src: image.NewUniform(color.NRGBA{25, 25, 40, 255}), Face: face}
	for i, l := range lines {
		d.Dot = fixed.P(margin, margin+step*i+int(size))
		d.DrawString(l)
	}
	return m, nil
}
