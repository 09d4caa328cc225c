package vision

import (
	"fmt"
	"image"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// likeness explains the figures of what makes pictures better.
const likeness = "PSNR tells how near a picture is to the undamaged one: higher is better, and beyond about 35 dB the difference is hard to see"

// classical measures what is made better on a picture whose clean state is known.
func (v *evaluation) classical() error {
	const w, h = 768, 512
	clean := generated(w, h)
	figure := func(name string, value, floor float64) engine.Figure {
		return engine.Figure{Name: name, Value: value, Floor: floor, Unit: "dB"}
	}
	noisy, dots := grain(clean, 20), dotted(clean, 0.05)
	var quiet, cleared *image.NRGBA
	ms, err := v.timed(func() (err error) { quiet, _, err = denoise(v.ctx, noisy, "nlm", 0); return err })
	if err != nil {
		return err
	}
	if cleared, _, err = denoise(v.ctx, dots, "auto", 0); err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineClassical, Model: "nlm", Version: classicalVersion, Task: "noise removal", Samples: 2,
		Note: likeness,
		Data: "a generated picture of 768 × 512 with Gaussian noise of deviation 20, and with 5 % black and white dots",
		Figures: []engine.Figure{
			figure("PSNR with grain, before", psnr(clean, noisy, nil), 0), figure("PSNR with grain, after", psnr(clean, quiet, nil), 30),
			figure("PSNR with dots, before", psnr(clean, dots, nil), 0), figure("PSNR with dots, after", psnr(clean, cleared, nil), 32),
			speed(ms, "non-local means"),
		}})

	damaged, mask := scratched(clean)
	var whole *image.NRGBA
	if ms, err = v.timed(func() (err error) { whole, err = inpaint(v.ctx, damaged, mask, 5); return err }); err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineClassical, Model: "telea", Version: classicalVersion, Task: "repair", Samples: 1,
		Note: likeness,
		Data: "a generated picture of 768 × 512 with scratches of 6 pixels over an eighth of it; measured on the scratches alone",
		Figures: []engine.Figure{
			figure("PSNR of the scratches, before", psnr(clean, damaged, mask), 0), figure("PSNR of the scratches, after", psnr(clean, whole, mask), 20),
			speed(ms, "one picture"),
		}})

	// Small by the mean of 2 × 2 pixels: not by the kernel that is measured.
	small := halved(clean)
	var large *image.NRGBA
	if ms, err = v.timed(func() (err error) { large, err = resize(v.ctx, small, w, h); return err }); err != nil {
		return err
	}
	soft := newPlane(w, h)
	y := luma(clean)
	if err := blur(v.ctx, soft, y, newPlane(w, h), gaussian(1.5)); err != nil {
		return err
	}
	blurred := relight(clean, y, soft)
	sharp, err := deblur(v.ctx, blurred, 1.5)
	if err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineClassical, Model: "lanczos", Version: classicalVersion, Task: "enlargement and sharpening", Samples: 2,
		Note: likeness,
		Data: "a generated picture of 768 × 512, halved, and blurred by 1.5 pixels",
		Figures: []engine.Figure{
			figure("PSNR enlarged twice", psnr(clean, large, nil), 22), figure("PSNR blurred, before", psnr(clean, blurred, nil), 0),
			figure("PSNR blurred, after", psnr(clean, sharp, nil), 22), speed(ms, "enlargement"),
		}})
	return nil
}

// halved is the mean of each 2 × 2 pixels.
func halved(m *image.NRGBA) *image.NRGBA {
	w, h := m.Rect.Dx()/2, m.Rect.Dy()/2
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			for c := range 4 {
				i := 2*y*m.Stride + 8*x + c
				out.Pix[y*out.Stride+4*x+c] = byte((int(m.Pix[i]) + int(m.Pix[i+4]) + int(m.Pix[i+m.Stride]) + int(m.Pix[i+m.Stride+4]) + 2) / 4)
			}
		}
	}
	return out
}

// esrgan enlarges photographs that were halved.
func (v *evaluation) esrgan() error {
	flower, err := v.photo(photoFlower)
	if err != nil {
		return err
	}
	group, err := v.photo(photoFaces)
	if err != nil {
		return err
	}
	photos := []*image.NRGBA{flower}
	for i := range 5 {
		photos = append(photos, crop(group, image.Rect(8+157*i, 348, 8+157*i+144, 348+144)))
	}
	figures := []engine.Figure{}
	for _, scale := range []int{2, 4} {
		var neural, plain []float64
		for _, clean := range photos {
			small := halved(clean)
			if scale == 4 {
				small = halved(small)
			}
			large, err := v.e.esrgan(v.ctx, small, scale)
			if err != nil {
				return err
			}
			soft, err := resize(v.ctx, small, clean.Rect.Dx(), clean.Rect.Dy())
			if err != nil {
				return err
			}
			neural, plain = append(neural, psnr(clean, large, nil)), append(plain, psnr(clean, soft, nil))
		}
		figures = append(figures, engine.Figure{Name: fmt.Sprintf("PSNR, %d times", scale), Value: mean(neural), Floor: map[int]float64{2: 33, 4: 27}[scale], Unit: "dB"},
			engine.Figure{Name: fmt.Sprintf("PSNR of Lanczos, %d times", scale), Value: mean(plain), Unit: "dB"})
	}
	ms, err := v.timed(func() error { _, err := v.e.esrgan(v.ctx, halved(flower), 4); return err })
	if err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineESRGAN, Model: modelESRGAN, Version: "1.0.0", Task: "enlargement", Samples: len(photos),
		Data:    "a flower in @upscalerjs/esrgan-slim 1.0.0 and five portraits in @vladmandic/human 3.3.6, made smaller, and enlarged again",
		Figures: append(figures, speed(ms, "64 × 64 pixels enlarged four times")),
		Note:    "by this measure Lanczos is better, so enlargement takes Lanczos unless ESRGAN is asked for"})
	return nil
}
