package vision

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// How many pixels the slow methods take, so that a call ends within its time.
const (
	maxESRGAN = 1_000_000
	maxDeblur = 12_000_000
	maxNLM    = 4_000_000
	maxSmooth = 16_000_000 // bilateral, median
	maxRepair = 12_000_000
	maxMasked = 2_000_000 // pixels that are to be filled
)

// enhancement is what is to be done to a picture.
type enhancement struct {
	scale                     int
	method                    string
	contrast, sharpen, deblur float64
}

func readEnhancement(r *engine.Request, in *input) (o enhancement, err error) {
	if o.scale, err = in.integer("scale", 1, 4, 1); err != nil {
		return o, err
	}
	if o.scale == 3 {
		return o, engine.Invalid("scale", "must be 1, 2 or 4")
	}
	standard := "auto"
	if r.Model == "lanczos" || r.Model == engineESRGAN {
		standard = r.Model
	}
	if o.method, err = in.choice("method", standard, "auto", "lanczos", "esrgan"); err != nil {
		return o, err
	}
	if o.contrast, err = in.number("contrast", 0, 1, 0); err != nil {
		return o, err
	}
	if o.sharpen, err = in.number("sharpen", 0, 3, 0); err != nil {
		return o, err
	}
	if o.deblur, err = in.number("deblur", 0, 5, 0); err != nil {
		return o, err
	}
	if o.deblur > 0 && o.deblur < 0.3 {
		return o, engine.Invalid("deblur", "must be 0, or from 0.3 to 5")
	}
	if o.scale == 1 && o.contrast == 0 && o.sharpen == 0 && o.deblur == 0 {
		return o, problem.New(problem.Invalid, "vision.nothing_to_do", "say what is to be enhanced: scale (2 or 4), contrast, sharpen or deblur")
	}
	return o, nil
}

func tooSlow(what string, most int) error {
	return problem.New(problem.Unprocessable, "vision.too_slow", "%s takes images of at most %d pixels; send a smaller one", what, most)
}

func (e *Engine) serveEnhance(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	o, err := readEnhancement(r, in)
	if err != nil {
		return err
	}
	t, err := targetOf(r, in)
	if err != nil {
		return err
	}
	if o.method == "esrgan" && o.scale > 1 {
		if err := e.need("ESRGAN-slim", fileESRGAN2, fileESRGAN4); err != nil {
			return err
		}
	}
	p, leave, err := e.picture(ctx, in, "image", func(i Info) (int64, error) {
		n := i.Width * i.Height
		switch {
		case o.deblur > 0 && n > maxDeblur:
			return 0, tooSlow("deblurring", maxDeblur)
		case o.method == "esrgan" && o.scale > 1 && n > maxESRGAN:
			return 0, tooSlow("enlargement by ESRGAN", maxESRGAN)
		}
		// Four planes of numbers before and after, the pictures, the file.
		big := int64(n) * int64(o.scale*o.scale)
		return 20*int64(n) + 28*big, tooManyOut(i.Width*o.scale, i.Height*o.scale)
	})
	if err != nil {
		return err
	}
	defer leave()
	m, about, err := e.enhance(ctx, p.NRGBA, o)
	if err != nil {
		return err
	}
	return t.answer(w, m, about)
}

// enhance does what is asked in the order in which it helps: what blurs is undone before pixels are made more,
// and contrast and sharpness come last.
func (e *Engine) enhance(ctx context.Context, m *image.NRGBA, o enhancement) (*image.NRGBA, made, error) {
	about := made{Engine: engineClassical}
	var err error
	step := func(name, model string, fn func() (*image.NRGBA, error)) {
		if err != nil {
			return
		}
		if m, err = fn(); err == nil {
			about.Operations, about.Model = append(about.Operations, name), model
		}
	}
	if o.deblur > 0 {
		step(fmt.Sprintf("deblur %g", o.deblur), "richardson-lucy", func() (*image.NRGBA, error) { return deblur(ctx, m, o.deblur) })
	}
	if o.contrast > 0 {
		step(fmt.Sprintf("contrast %g", o.contrast), "clahe", func() (*image.NRGBA, error) { return clahe(ctx, m, 1+3*o.contrast) })
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	switch {
	case o.scale > 1 && o.method == "esrgan": // "auto" is Lanczos: measured, it is the better one, and the faster
		step(fmt.Sprintf("enlarge %d esrgan", o.scale), modelESRGAN, func() (*image.NRGBA, error) { return e.esrgan(ctx, m, o.scale) })
		about.Engine = engineESRGAN
	case o.scale > 1:
		step(fmt.Sprintf("enlarge %d lanczos", o.scale), "lanczos", func() (*image.NRGBA, error) { return resize(ctx, m, w*o.scale, h*o.scale) })
	}
	if o.sharpen > 0 {
		model := about.Model
		if model == "" {
			model = "unsharp"
		}
		step(fmt.Sprintf("sharpen %g", o.sharpen), model, func() (*image.NRGBA, error) { return unsharp(ctx, m, o.sharpen) })
	}
	return m, about, err
}

func (e *Engine) serveDenoise(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	standard := "auto"
	if r.Model == "nlm" || r.Model == "bilateral" || r.Model == "median" {
		standard = r.Model
	}
	method, err := in.choice("method", standard, "auto", "nlm", "bilateral", "median")
	if err != nil {
		return err
	}
	strength, err := in.number("strength", 0, 100, 0)
	if err != nil {
		return err
	}
	t, err := targetOf(r, in)
	if err != nil {
		return err
	}
	p, leave, err := e.picture(ctx, in, "image", func(i Info) (int64, error) {
		n := i.Width * i.Height
		switch {
		case method == "nlm" && n > maxNLM:
			return 0, tooSlow("denoising by non-local means", maxNLM)
		case n > maxSmooth:
			return 0, tooSlow("denoising", maxSmooth)
		}
		return 16*int64(n) + 16<<20, nil
	})
	if err != nil {
		return err
	}
	defer leave()
	m, about, err := denoise(ctx, p.NRGBA, method, strength)
	if err != nil {
		return err
	}
	return t.answer(w, m, about)
}

// leastNoise is what is left alone: less than anyone sees.
const leastNoise = 0.8

// denoise removes noise. strength is its standard deviation from 0 to 255, 0 to estimate it. "auto" takes single
// dots away by the median first, if there are any, and grain by non-local means, or by the faster bilateral filter
// where the picture is large.
func denoise(ctx context.Context, m *image.NRGBA, method string, strength float64) (*image.NRGBA, made, error) {
	about := made{Engine: engineClassical, Operations: []string{}}
	var err error
	dots := method == "median" || method == "auto" && strength == 0 && impulses(m) > 0.01
	if dots {
		if m, err = median(ctx, m); err != nil {
			return nil, about, err
		}
		about.Model, about.Operations = "median", append(about.Operations, "median")
	}
	sigma := strength
	if sigma == 0 {
		sigma = noiseOf(luma(m))
		// Grain in single channels weighs less in the brightness: 0.299² + 0.587² + 0.114² = 0.447.
		sigma = math.Min(sigma/math.Sqrt(0.447), 100)
	}
	seen := math.Round(sigma*10) / 10
	about.Noise = &seen
	if method == "median" || sigma < leastNoise || dots && sigma < 8 {
		if about.Model == "" {
			about.Model = "none"
		}
		return m, about, nil
	}
	if method == "auto" {
		method = "nlm"
		if m.Rect.Dx()*m.Rect.Dy() > maxNLM/2 {
			method = "bilateral"
		}
	}
	about.Model, about.Operations = method, append(about.Operations, method)
	if method == "nlm" {
		m, err = nlm(ctx, m, sigma)
	} else {
		m, err = bilateral(ctx, m, sigma)
	}
	return m, about, err
}

func (e *Engine) serveRestore(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	radius, err := in.integer("radius", 1, 20, 5)
	if err != nil {
		return err
	}
	t, err := targetOf(r, in)
	if err != nil {
		return err
	}
	var files [][]byte
	var infos []Info
	for _, field := range []string{"image", "mask"} {
		data, ok, err := in.file(field)
		if err != nil {
			return err
		}
		if !ok {
			return missingImage(field)
		}
		info, err := Header(data)
		if err != nil {
			return err
		}
		if info.Width*info.Height > maxRepair {
			return tooSlow("repair", maxRepair)
		}
		files, infos = append(files, data), append(infos, info)
	}
	if infos[0].Width != infos[1].Width || infos[0].Height != infos[1].Height {
		return problem.New(problem.Unprocessable, "vision.mask_size", "the mask has %d × %d pixels and the image %d × %d: they must be of one size",
			infos[1].Width, infos[1].Height, infos[0].Width, infos[0].Height).WithField("mask", "is not of the image's size")
	}
	pictures, leave, err := e.pictures(ctx, files, func(i Info) (int64, error) { return 12 * int64(i.Width) * int64(i.Height), nil })
	if err != nil {
		return err
	}
	defer leave()
	m, mask := pictures[0].NRGBA, pictures[1].NRGBA
	if m.Rect != mask.Rect { // a GIF whose frame is smaller than it said
		return problem.New(problem.Unprocessable, "vision.mask_size", "the mask has %d × %d pixels and the image %d × %d: they must be of one size",
			mask.Rect.Dx(), mask.Rect.Dy(), m.Rect.Dx(), m.Rect.Dy()).WithField("mask", "is not of the image's size")
	}
	marks, n := marked(mask)
	switch {
	case n == 0:
		return problem.New(problem.Unprocessable, "vision.mask_empty", "the mask marks nothing: what is to be repaired must be white in it").WithField("mask", "is black all over")
	case n == len(marks):
		return problem.New(problem.Unprocessable, "vision.mask_full", "the mask marks everything: nothing is left to repair the image from").WithField("mask", "is white all over")
	case n > maxMasked:
		return problem.New(problem.Unprocessable, "vision.mask_large", "the mask marks %d pixels; at most %d are repaired", n, maxMasked).WithField("mask", "marks too much")
	}
	out, err := inpaint(ctx, m, marks, radius)
	if err != nil {
		return err
	}
	return t.answer(w, out, made{Engine: engineClassical, Model: "telea", Operations: []string{fmt.Sprintf("inpaint %d pixels", n)}})
}

// marked reads a mask: white, at least half as bright as can be, and opaque, is marked.
func marked(m *image.NRGBA) (marks []byte, n int) {
	y := luma(m)
	marks = make([]byte, len(y.v))
	for i, v := range y.v {
		if v >= 127.5 && m.Pix[i/y.w*m.Stride+i%y.w*4+3] >= 128 {
			marks[i] = 1
			n++
		}
	}
	return marks, n
}
