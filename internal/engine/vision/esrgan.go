package vision

import (
	"context"
	"image"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine/onnx"
)

// ESRGAN-slim works on tiles; what it makes at their margin lacks surroundings, and is left out.
const (
	esrganTile   = 160
	esrganMargin = 12
)

// esrgan enlarges a picture 2 or 4 times. Opacity is enlarged by Lanczos' kernel.
func (e *Engine) esrgan(ctx context.Context, m *image.NRGBA, scale int) (*image.NRGBA, error) {
	file := fileESRGAN2
	if scale == 4 {
		file = fileESRGAN4
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w*scale, h*scale))
	if opaque := m.Opaque(); !opaque {
		soft, err := resize(ctx, m, w*scale, h*scale)
		if err != nil {
			return nil, err
		}
		out = soft
	} else {
		for i := 3; i < len(out.Pix); i += 4 {
			out.Pix[i] = 255
		}
	}
	err := e.o.ONNX.Session(ctx, func(s *onnx.Session) error {
		const step = esrganTile - 2*esrganMargin
		for y := 0; y < h; y += step {
			for x := 0; x < w; x += step {
				if err := e.esrganTile(ctx, s, file, m, out, image.Rect(x, y, min(x+step, w), min(y+step, h)), scale); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return out, modelError(ctx, file, err)
}

// esrganTile enlarges the part of m into its place in out.
func (e *Engine) esrganTile(ctx context.Context, s *onnx.Session, file string, m, out *image.NRGBA, part image.Rectangle, scale int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wide := part.Inset(-esrganMargin).Intersect(m.Rect)
	sub := m.SubImage(wide).(*image.NRGBA)
	t := tensorOf(&image.NRGBA{Pix: sub.Pix, Stride: sub.Stride, Rect: image.Rect(0, 0, wide.Dx(), wide.Dy())}, three(0), three(1), rgb())
	r, err := s.Run(e.path(file), map[string]onnx.Tensor{esrganInput: t})
	if err != nil {
		return err
	}
	big, err := output(r, "", file, 4)
	if err != nil {
		return err
	}
	bw, bh := wide.Dx()*scale, wide.Dy()*scale
	if len(big.F32) != 3*bw*bh {
		return unexpected(file)
	}
	dx, dy := (part.Min.X-wide.Min.X)*scale, (part.Min.Y-wide.Min.Y)*scale
	for y := range part.Dy() * scale {
		row := out.Pix[(part.Min.Y*scale+y)*out.Stride+4*part.Min.X*scale:]
		for x := range part.Dx() * scale {
			for c := range 3 {
				row[4*x+c] = clamp8(big.F32[(c*bh+dy+y)*bw+dx+x])
			}
		}
	}
	return nil
}

const esrganInput = "LR"

// safetyLabels are the classes of nsfwjs, in the order of its output.
func safetyLabels() []string { return []string{"drawing", "hentai", "neutral", "porn", "sexy"} }

// safety gives the probability of each of safetyLabels.
func (e *Engine) safety(ctx context.Context, m *image.NRGBA) ([]float32, error) {
	const side = 224
	small, err := resize(ctx, m, side, side)
	if err != nil {
		return nil, err
	}
	out, err := e.run(ctx, fileSafety, "input_1", tensorOf(small, three(0), three(255), rgb()))
	if err != nil {
		return nil, err
	}
	t, err := output(out, "", fileSafety, 2)
	if err != nil {
		return nil, err
	}
	if len(t.F32) != len(safetyLabels()) {
		return nil, unexpected(fileSafety)
	}
	return t.F32, nil
}

// languages of Tesseract by their BCP 47 tags, as far as their alphabet is Latin.
func tesseractLanguage(tag string) string {
	primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
	return map[string]string{
		"en": "eng", "fr": "fra", "de": "deu", "es": "spa", "it": "ita", "pt": "por", "ca": "cat", "nl": "nld", "eo": "epo",
		"da": "dan", "sv": "swe", "nb": "nor", "no": "nor", "fi": "fin", "pl": "pol", "cs": "ces", "sk": "slk", "sl": "slv",
		"hr": "hrv", "hu": "hun", "ro": "ron", "tr": "tur", "vi": "vie", "id": "ind", "ms": "msa", "la": "lat", "ga": "gle",
		"cy": "cym", "eu": "eus", "gl": "glg", "oc": "oci", "et": "est", "lv": "lav", "lt": "lit", "is": "isl", "sq": "sqi",
	}[primary]
}
