package vision

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// picture is an answer with a picture.
type pictureAnswer struct {
	made
	Image string `json:"image"`
}

func (p pictureAnswer) decode(t *testing.T) *Picture {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(p.Image)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEnhance(t *testing.T) {
	e := newEngine(t, Options{})
	data := pngOf(t, scene(40, 30))
	for _, c := range []struct {
		body  map[string]any
		w, h  int
		model string
		ops   int
	}{
		{map[string]any{"scale": 2}, 80, 60, "lanczos", 1},
		{map[string]any{"scale": 4, "method": "lanczos", "sharpen": 1.5}, 160, 120, "lanczos", 2},
		{map[string]any{"contrast": 0.7}, 40, 30, "clahe", 1},
		{map[string]any{"deblur": 1.5, "format": "jpeg", "quality": 70}, 40, 30, "richardson-lucy", 1},
		{map[string]any{"sharpen": 1, "contrast": 1, "deblur": 0.5, "scale": 2}, 80, 60, "lanczos", 4},
	} {
		c.body["image"] = "data:image/png;base64," + b64(data)
		var got pictureAnswer
		a, err := call(t, e, request(t, "vision.enhance", c.body), &got)
		if err != nil {
			t.Errorf("%v: %v", c.body, err)
			continue
		}
		m := got.decode(t)
		if a.Status != 200 || m.Rect.Dx() != c.w || m.Rect.Dy() != c.h || got.Width != c.w || got.Height != c.h || got.Engine != "classical" ||
			got.Model != c.model || len(got.Operations) != c.ops || got.Format != m.Info.Format {
			t.Errorf("%v: %+v", c.body, got.made)
		}
	}
}

func TestEnhanceRefuses(t *testing.T) {
	e := newEngine(t, Options{})
	small := b64(pngOf(t, scene(8, 8)))
	for _, c := range []struct {
		body map[string]any
		kind problem.Kind
		id   string
	}{
		{map[string]any{"image": small}, problem.Invalid, "vision.nothing_to_do"},
		{map[string]any{"scale": 2}, problem.Invalid, "vision.no_image"},
		{map[string]any{"image": small, "scale": 3}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "scale": 2.5}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "scale": "2"}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": 7, "scale": 2}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "scale": 2, "method": "magic"}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "scale": 2, "format": "gif"}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "scale": 2, "quality": 0}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "deblur": 0.1}, problem.Invalid, "engine.invalid"},
		{map[string]any{"image": small, "scale": 2, "method": "esrgan"}, problem.Unavailable, "engine.missing"},
		{map[string]any{"image": "http://example.com/cat.png", "scale": 2}, problem.Invalid, "vision.no_url"},
		{map[string]any{"image": "HTTPS://example.com/cat.png", "scale": 2}, problem.Invalid, "vision.no_url"},
		{map[string]any{"image": "file:///etc/passwd", "scale": 2}, problem.Invalid, "vision.no_url"},
		{map[string]any{"image": "data:image/png,abc", "scale": 2}, problem.Invalid, "vision.bad_data_url"},
		{map[string]any{"image": "data:" + strings.Repeat("x", 400), "scale": 2}, problem.Invalid, "vision.bad_data_url"},
		{map[string]any{"image": "§§§", "scale": 2}, problem.Invalid, "vision.bad_base64"},
		{map[string]any{"image": b64([]byte("not an image")), "scale": 2}, problem.Unprocessable, "vision.not_an_image"},
		{map[string]any{"image": b64(bombs(t)["png"]), "scale": 2}, problem.TooLarge, "vision.too_many_pixels"},
		{map[string]any{"image": b64(make([]byte, MaxBytes+100_000)), "scale": 2}, problem.TooLarge, "vision.too_many_bytes"},
		{map[string]any{"image": b64(pngOf(t, uniform(2000, 1000, color.NRGBA{1, 2, 3, 255}))), "scale": 4}, problem.Unprocessable, "vision.output_too_large"},
	} {
		_, err := call(t, e, request(t, "vision.enhance", c.body), nil)
		if p := problem.As(err); err == nil || p.Kind != c.kind || p.ID != c.id {
			t.Errorf("%.80v: %v, want %s", c.body, err, c.id)
		}
	}
	for body, id := range map[string]string{"": "engine.empty_body", "null": "vision.not_an_object", "[]": "engine.not_json", "{": "engine.not_json"} {
		r := request(t, "vision.enhance", nil)
		r.Body = []byte(body)
		_, err := call(t, e, r, nil)
		refused(t, err, problem.Invalid, id)
	}
	r := request(t, "vision.enhance", map[string]any{"image": small, "scale": 2, "format": "png"})
	r.Accept = "image/jpeg"
	_, err := call(t, e, r, nil)
	refused(t, err, problem.Invalid, "engine.invalid")
}

func TestOnePixel(t *testing.T) {
	e := newEngine(t, Options{})
	one := pngOf(t, uniform(1, 1, color.NRGBA{9, 99, 199, 200}))
	for name, body := range map[string]map[string]any{
		"vision.enhance": {"scale": 4, "contrast": 1, "sharpen": 3, "deblur": 5},
		"vision.denoise": {"method": "nlm", "strength": 20},
	} {
		body["image"] = b64(one)
		var got pictureAnswer
		if _, err := call(t, e, request(t, name, body), &got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p := got.decode(t).NRGBAAt(0, 0); absDiff(p.A, 200) > 1 {
			t.Errorf("%s: %v", name, p)
		}
	}
	for _, method := range []string{"auto", "bilateral", "median"} {
		if _, err := call(t, e, request(t, "vision.denoise", map[string]any{"image": b64(one), "method": method}), nil); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	_, err := call(t, e, request(t, "vision.restore", map[string]any{"image": b64(one), "mask": b64(pngOf(t, uniform(1, 1, color.NRGBA{255, 255, 255, 255})))}), nil)
	refused(t, err, problem.Unprocessable, "vision.mask_full")
}

func TestDenoise(t *testing.T) {
	e := newEngine(t, Options{})
	clean := scene(160, 120)
	for _, c := range []struct {
		name  string
		spoil *image.NRGBA
		body  map[string]any
		model string
		gain  float64 // in dB, at least
	}{
		{"grain", grain(clean, 15), map[string]any{}, "nlm", 5},
		{"grain, told", grain(clean, 15), map[string]any{"strength": 15, "method": "nlm"}, "nlm", 5},
		{"grain, fast", grain(clean, 15), map[string]any{"method": "bilateral"}, "bilateral", 2},
		{"dots", dotted(clean, 0.04), map[string]any{}, "median", 12},
		{"nothing", uniform(50, 50, color.NRGBA{80, 90, 100, 255}), map[string]any{}, "none", math.Inf(-1)},
	} {
		c.body["image"] = b64(pngOf(t, c.spoil))
		var got pictureAnswer
		if _, err := call(t, e, request(t, "vision.denoise", c.body), &got); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.Model != c.model || got.Noise == nil {
			t.Errorf("%s: %+v", c.name, got.made)
		}
		if c.name == "nothing" {
			continue
		}
		before, after := psnr(clean, c.spoil, nil), psnr(clean, got.decode(t).NRGBA, nil)
		if after < before+c.gain {
			t.Errorf("%s: %.1f dB, before %.1f", c.name, after, before)
		}
	}
}

func TestRestore(t *testing.T) {
	e := newEngine(t, Options{})
	clean := scene(120, 90)
	damaged, mask := scratched(clean)
	white := image.NewGray(image.Rect(0, 0, 120, 90))
	copy(white.Pix, mask)
	var got pictureAnswer
	r := form(t, "vision.restore", []string{"radius", "4"}, map[string][]byte{"image": pngOf(t, damaged), "mask": pngOf(t, white)})
	if _, err := call(t, e, r, &got); err != nil {
		t.Fatal(err)
	}
	m := got.decode(t)
	if before, after := psnr(clean, damaged, mask), psnr(clean, m.NRGBA, mask); after < before+8 {
		t.Errorf("%.1f dB, before %.1f", after, before)
	}
	for i, v := range m.Pix {
		if mask[i/4] == 0 && v != damaged.Pix[i] {
			t.Fatal("what is not marked has changed")
		}
	}
	picture := b64(pngOf(t, clean))
	for _, c := range []struct {
		mask image.Image
		id   string
	}{
		{uniform(120, 91, color.NRGBA{255, 255, 255, 255}), "vision.mask_size"},
		{uniform(90, 120, color.NRGBA{255, 255, 255, 255}), "vision.mask_size"},
		{uniform(120, 90, color.NRGBA{0, 0, 0, 255}), "vision.mask_empty"},
		{uniform(120, 90, color.NRGBA{255, 255, 255, 0}), "vision.mask_empty"},
		{uniform(120, 90, color.NRGBA{255, 255, 255, 255}), "vision.mask_full"},
	} {
		_, err := call(t, e, request(t, "vision.restore", map[string]any{"image": picture, "mask": b64(pngOf(t, c.mask))}), nil)
		refused(t, err, problem.Unprocessable, c.id)
	}
	_, err := call(t, e, request(t, "vision.restore", map[string]any{"image": picture}), nil)
	refused(t, err, problem.Invalid, "vision.no_image")
	_, err = call(t, e, request(t, "vision.restore", map[string]any{"image": picture, "mask": b64([]byte("GIF89a"))}), nil)
	refused(t, err, problem.Unprocessable, "vision.truncated")
}

// TestAccept checks which answer a caller gets.
func TestAccept(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "*/*": "", "application/json": "", "image/png": "png", "image/jpeg": "jpeg", "image/*": "png",
		"image/png, application/json": "", "image/webp, image/jpeg;q=0.5": "jpeg", "image/png;q=0": "", "nonsense;;": "", "image/png, */*;q=0.1": "",
	} {
		if got := accepts(header); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

// TestStops checks that work ends with its caller, and by itself when it takes too long.
func TestStops(t *testing.T) {
	m := grain(scene(600, 600), 20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, fn := range map[string]func() error{
		"nlm":     func() error { _, err := nlm(ctx, m, 20); return err },
		"resize":  func() error { _, err := resize(ctx, m, 1200, 1200); return err },
		"deblur":  func() error { _, err := deblur(ctx, m, 2); return err },
		"clahe":   func() error { _, err := clahe(ctx, m, 2); return err },
		"inpaint": func() error { _, err := inpaint(ctx, m, bytes.Repeat([]byte{0, 1}, 180_000), 5); return err },
	} {
		if err := fn(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := newEngine(t, Options{Time: time.Nanosecond})
	_, err := call(t, e, request(t, "vision.denoise", map[string]any{"image": b64(pngOf(t, m))}), nil)
	refused(t, err, problem.Timeout, "vision.slow")
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	_, err = call(t, e, request(t, "vision.denoise", map[string]any{}), nil)
	refused(t, err, problem.Unavailable, "vision.closed")
}

// TestResizeLaws: one colour stays that colour, and the taps of every size add up to one.
func TestResizeLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40)
		w, h, w2, h2 := size.Draw(t, "w"), size.Draw(t, "h"), size.Draw(t, "w2"), size.Draw(t, "h2")
		c := color.NRGBA{rapid.Byte().Draw(t, "r"), rapid.Byte().Draw(t, "g"), rapid.Byte().Draw(t, "b"), 255}
		m, err := resize(context.Background(), uniform(w, h, c), w2, h2)
		if err != nil || m.Rect.Dx() != w2 || m.Rect.Dy() != h2 {
			t.Fatal(m.Rect, err)
		}
		for i := 0; i < len(m.Pix); i += 4 {
			if got := (color.NRGBA{m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3]}); absDiff(got.R, c.R) > 1 || absDiff(got.G, c.G) > 1 || absDiff(got.B, c.B) > 1 || got.A != 255 {
				t.Fatalf("%v became %v", c, got)
			}
		}
		for _, tap := range lanczos(w, w2) {
			sum := float32(0)
			for _, v := range tap.weights {
				sum += v
			}
			if tap.first < 0 || tap.first+len(tap.weights) > w || sum < 0.999 || sum > 1.001 {
				t.Fatalf("%d to %d: %+v", w, w2, tap)
			}
		}
	})
}

// TestTurnLaws: each orientation can be undone.
func TestTurnLaws(t *testing.T) {
	undo := map[int]int{2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
	rapid.Check(t, func(t *rapid.T) {
		m := grain(uniform(rapid.IntRange(1, 9).Draw(t, "w"), rapid.IntRange(1, 9).Draw(t, "h"), color.NRGBA{128, 128, 128, 255}), 40)
		for o, back := range undo {
			if got := turn(turn(m, o), back); got.Rect != m.Rect || !bytes.Equal(got.Pix, m.Pix) {
				t.Fatalf("orientation %d", o)
			}
		}
	})
}

func BenchmarkImprove(b *testing.B) {
	m := grain(scene(1000, 1000), 10)
	_, mask := scratched(m)
	ctx := context.Background()
	for name, fn := range map[string]func() error{
		"enlarge 2":  func() error { _, err := resize(ctx, m, 2000, 2000); return err },
		"nlm":        func() error { _, err := nlm(ctx, m, 10); return err },
		"bilateral":  func() error { _, err := bilateral(ctx, m, 10); return err },
		"median":     func() error { _, err := median(ctx, m); return err },
		"deblur":     func() error { _, err := deblur(ctx, m, 1.5); return err },
		"contrast":   func() error { _, err := clahe(ctx, m, 3); return err },
		"sharpen":    func() error { _, err := unsharp(ctx, m, 1); return err },
		"inpaint":    func() error { _, err := inpaint(ctx, m, mask, 5); return err },
		"encode png": func() error { _, err := target{format: "png"}.encode(m); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(1000 * 1000)
			for b.Loop() {
				if err := fn(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
