package vision

import (
	"image"
	"image/color"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/onnx"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// TestMissing checks that what is not installed says so, and what is asked for wrongly is told first.
func TestMissing(t *testing.T) {
	dir := engine.Dir(t.TempDir())
	r := onnx.New(onnx.Options{Dir: dir})
	defer r.Close()
	for _, e := range []*Engine{newEngine(t, Options{}), newEngine(t, Options{Dir: dir, ONNX: r})} {
		body := map[string]any{"image": b64(pngOf(t, scene(20, 20))), "reference": b64(pngOf(t, scene(20, 20)))}
		for _, name := range []string{"classify", "detect", "moderate", "faces.detect", "faces.verify"} {
			_, err := call(t, e, request(t, "vision."+name, body), nil)
			refused(t, err, problem.Unavailable, "engine.missing")
		}
		body["language"] = "zh"
		_, err := call(t, e, request(t, "vision.ocr", body), nil)
		refused(t, err, problem.Unavailable, "engine.missing")
		body["language"] = "fr"
		body["engine"] = "ppocr"
		_, err = call(t, e, request(t, "vision.ocr", body), nil)
		refused(t, err, problem.Unprocessable, "vision.ocr_language")
		body["language"], body["engine"] = "ja", ""
		_, err = call(t, e, request(t, "vision.ocr", body), nil)
		refused(t, err, problem.Unprocessable, "vision.ocr_language")
		body["engine"] = "abbyy"
		_, err = call(t, e, request(t, "vision.ocr", body), nil)
		refused(t, err, problem.Invalid, "engine.invalid")
		if !strings.Contains(problem.As(err).Text("en"), "must be one of ppocr, tesseract") {
			t.Error(err)
		}
		var got struct{ Engines []engine.Info }
		if _, err := call(t, e, request(t, "vision.engines", nil), &got); err != nil || len(got.Engines) < 9 {
			t.Errorf("%+v, %v", got, err)
		}
		for _, i := range got.Engines {
			if i.Ready != (i.Need == "") || i.Ready && i.Engine != engineClassical && i.Engine != engineTesseract {
				t.Errorf("%+v", i)
			}
		}
	}
}

func TestGenerate(t *testing.T) {
	e := newEngine(t, Options{})
	_, err := call(t, e, request(t, "images.generations", map[string]any{"prompt": "a cat", "n": 2}), nil)
	refused(t, err, problem.Unavailable, "engine.needs_upstream")
	_, err = call(t, e, request(t, "images.generations", map[string]any{"prompt": strings.Repeat("x", maxPrompt+1)}), nil)
	refused(t, err, problem.TooLarge, "vision.long_prompt")
}

// TestLook serves each operation that looks at a picture.
func TestLook(t *testing.T) {
	e := neural(t, Options{})
	ev := &evaluation{ctx: t.Context(), e: e, o: EvaluateOptions{Data: e.path("samples")}}
	group, err := ev.photo(photoFaces)
	if err != nil {
		t.Fatal(err)
	}
	portrait := b64(pngOf(t, crop(group, image.Rect(6, 344, 158, 498))))
	other := b64(pngOf(t, crop(group, image.Rect(163, 344, 315, 498))))

	t.Run("detect", func(t *testing.T) {
		var got struct {
			Engine, Labels string
			Objects        []struct {
				Label      string
				Confidence float64
				Box        Box
			}
			Image size
		}
		if _, err := call(t, e, request(t, "vision.detect", map[string]any{"image": portrait}), &got); err != nil {
			t.Fatal(err)
		}
		if got.Engine != engineCenterNet || got.Labels != "coco-80" || len(got.Objects) == 0 || got.Objects[0].Label != "person" || got.Objects[0].Box.Width < 100 || got.Image != (size{152, 154, "png"}) {
			t.Errorf("%+v", got)
		}
		got.Objects = nil
		r := form(t, "vision.detect", []string{"labels", "dog, cat"}, map[string][]byte{"image": pngOf(t, group)})
		if _, err := call(t, e, r, &got); err != nil || len(got.Objects) != 0 {
			t.Errorf("%+v, %v", got.Objects, err)
		}
		_, err := call(t, e, request(t, "vision.detect", map[string]any{"image": portrait, "labels": []string{"unicorn"}}), nil)
		refused(t, err, problem.Unprocessable, "vision.unknown_label")
	})
	t.Run("classify", func(t *testing.T) {
		var got struct {
			Labels  string
			Classes []scored
		}
		if _, err := call(t, e, request(t, "vision.classify", map[string]any{"image": portrait, "top": 3}), &got); err != nil || got.Labels != "coco-80" || len(got.Classes) != 3 || got.Classes[0].Label != "person" {
			t.Errorf("%+v, %v", got, err)
		}
		_, err := call(t, e, request(t, "vision.classify", map[string]any{"image": portrait, "classifier": "mine"}), nil)
		refused(t, err, problem.Unprocessable, "vision.no_classifier")
	})
	t.Run("moderate", func(t *testing.T) {
		var got struct {
			Flagged bool
			Classes []scored
		}
		if _, err := call(t, e, request(t, "vision.moderate", map[string]any{"image": portrait}), &got); err != nil || got.Flagged || len(got.Classes) != 5 || got.Classes[0].Label != "neutral" {
			t.Errorf("%+v, %v", got, err)
		}
	})
	t.Run("verify", func(t *testing.T) {
		var got struct {
			Same       bool
			Score      float64
			Confidence float64
		}
		if _, err := call(t, e, request(t, "vision.faces.verify", map[string]any{"image": portrait, "reference": portrait}), &got); err != nil || !got.Same || got.Score < 0.99 || got.Confidence < 0.9 {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := call(t, e, request(t, "vision.faces.verify", map[string]any{"image": portrait, "reference": other}), &got); err != nil || got.Same || got.Score > 0.3 {
			t.Errorf("%+v, %v", got, err)
		}
		_, err := call(t, e, request(t, "vision.faces.verify", map[string]any{"image": portrait, "reference": b64(pngOf(t, scene(64, 64)))}), nil)
		refused(t, err, problem.Unprocessable, "vision.no_face")
	})
	t.Run("faces", func(t *testing.T) {
		var got struct{ Faces []faceAnswer }
		if _, err := call(t, e, request(t, "vision.faces.detect", map[string]any{"image": b64(pngOf(t, group))}), &got); err != nil || len(got.Faces) < 8 || len(got.Faces[0].Landmarks) != 5 {
			t.Errorf("%d faces, %v", len(got.Faces), err)
		}
	})
	t.Run("small", func(t *testing.T) { // one pixel, one row, and the least that is looked at
		for _, m := range []image.Image{uniform(1, 1, color.NRGBA{1, 2, 3, 255}), uniform(3000, 7, color.NRGBA{200, 2, 3, 255}), uniform(15, 20, color.NRGBA{1, 2, 3, 255}),
			uniform(16, 16, color.NRGBA{1, 2, 3, 255}), uniform(3000, 16, color.NRGBA{200, 2, 3, 255}), uniform(16, 2000, color.NRGBA{1, 2, 3, 0})} {
			for _, name := range []string{"classify", "detect", "ocr", "moderate", "faces.detect"} {
				least := leastSeen
				if name == "ocr" {
					least = leastRead
				}
				_, err := call(t, e, request(t, "vision."+name, map[string]any{"image": b64(pngOf(t, m))}), nil)
				if size := m.Bounds().Size(); min(size.X, size.Y) >= least {
					if err != nil {
						t.Errorf("%s of %v: %v", name, size, err)
					}
					continue
				}
				refused(t, err, problem.Unprocessable, "vision.too_small")
			}
		}
	})
	t.Run("esrgan", func(t *testing.T) {
		m := crop(group, image.Rect(6, 344, 200, 400))
		m.Pix[3] = 100 // something transparent
		for _, scale := range []int{2, 4} {
			var got pictureAnswer
			if _, err := call(t, e, request(t, "vision.enhance", map[string]any{"image": b64(pngOf(t, m)), "scale": scale, "method": "esrgan"}), &got); err != nil {
				t.Fatal(err)
			}
			big := got.decode(t)
			soft, err := resize(t.Context(), m, 194*scale, 56*scale)
			if err != nil {
				t.Fatal(err)
			}
			if big.Rect != soft.Rect || got.Engine != engineESRGAN || psnr(big.NRGBA, soft, nil) < 28 {
				t.Errorf("%v %+v, %.1f dB from Lanczos", big.Rect, got.made, psnr(big.NRGBA, soft, nil))
			}
		}
	})
}

// TestESRGANReference compares with what the model's own package made of the same picture by TensorFlow.js: it
// holds for the converter, the tiles and the scale of numbers.
func TestESRGANReference(t *testing.T) {
	e := neural(t, Options{})
	ev := &evaluation{ctx: t.Context(), e: e, o: EvaluateOptions{Data: e.path("samples")}}
	flower, err := ev.photo(photoFlower)
	if err != nil {
		t.Fatal(err)
	}
	for scale, name := range map[int]string{2: "flower-x2.png", 4: "flower-x4.png"} {
		want, err := ev.photo(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.esrgan(t.Context(), flower, scale)
		if err != nil {
			t.Fatal(err)
		}
		if got.Rect != want.Rect || psnr(got, want, nil) < 60 {
			t.Errorf("%d times: %v, %.1f dB from the reference", scale, got.Rect, psnr(got, want, nil))
		}
	}
}

func TestReading(t *testing.T) {
	e := neural(t, Options{})
	f, err := typeface("")
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{"Tollgate opens at 9:30", "Invoice 2026-1123"}
	m, err := typeset(f, 28, lines)
	if err != nil {
		t.Fatal(err)
	}
	type reading struct {
		Engine, Model, Text string
		Lines               []lineAnswer
		Confidence          float64
	}
	for _, body := range []map[string]any{{}, {"language": "en-GB", "engine": "tesseract"}, {"language": "zh-CN"}, {"language": "de"}} {
		body["image"] = b64(pngOf(t, m))
		var got reading
		if _, err := call(t, e, request(t, "vision.ocr", body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Text != strings.Join(lines, "\n") || len(got.Lines) != 2 || got.Confidence < 0.7 || got.Lines[1].Box.Y < got.Lines[0].Box.Y+20 {
			t.Errorf("%+v", got)
		}
	}
	// A photograph taken sideways, as its EXIF data say; and text on its side without such.
	turned := turn(m, 8)
	var got reading
	if _, err := call(t, e, request(t, "vision.ocr", map[string]any{"image": b64(oriented(t, "png", pngOf(t, turned), 6))}), &got); err != nil || got.Text != strings.Join(lines, "\n") {
		t.Errorf("%+v, %v", got, err)
	}
	got = reading{}
	if _, err := call(t, e, request(t, "vision.ocr", map[string]any{"image": b64(pngOf(t, uniform(300, 200, color.NRGBA{255, 255, 255, 255})))}), &got); err != nil || got.Text != "" || len(got.Lines) != 0 {
		t.Errorf("an empty page: %+v, %v", got, err)
	}
}

func TestProbabilities(t *testing.T) {
	same := []float32{0.25, 0.75}
	if diff := cmp.Diff(same, probabilities(same)); diff != "" {
		t.Error(diff)
	}
	got := probabilities([]float32{1000, 1000, -1000})
	if math.Abs(float64(got[0])-0.5) > 1e-6 || got[2] != 0 {
		t.Error(got)
	}
}

func TestParseTSV(t *testing.T) {
	head := "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
	got, err := parseTSV([]byte(head +
		"1\t1\t0\t0\t0\t0\t0\t0\t100\t50\t-1\t\n4\t1\t1\t1\t1\t0\t10\t10\t80\t20\t-1\t\n" +
		"5\t1\t1\t1\t1\t1\t20\t12\t30\t15\t90.5\tHello\n5\t1\t1\t1\t1\t2\t60\t10\t30\t20\t80.5\tthere\n" +
		"4\t1\t1\t1\t2\t0\t10\t10\t80\t20\t-1\t\n5\t1\t1\t1\t2\t1\t20\t40\t30\t15\t70\t \n"))
	want := []textLine{{"Hello there", 0.855, rectCorners(10, 0, 80, 20)}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(textLine{}, point{}), cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, bad := range []string{"", "x", head + "5\t1\n", head + strings.Repeat("x\t", 11) + "x\n"} {
		if lines, err := parseTSV([]byte(bad)); err == nil && len(lines) > 0 || bad != "" && err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

func FuzzTSV(f *testing.F) {
	f.Add([]byte("level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n5\t1\t1\t1\t1\t1\t20\t12\t30\t15\t90.5\tHello\n"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseTSV(data) })
}

// TestRectangle: the rectangle around the pixels of a turned bar is that bar.
func TestRectangle(t *testing.T) {
	for _, degrees := range []float64{0, 10, -25, 45, 90, 80} {
		const w, h = 300, 300
		v := make([]float32, w*h)
		s, c := math.Sincos(degrees * math.Pi / 180)
		for y := range h {
			for x := range w {
				dx, dy := float64(x)-150, float64(y)-150
				if math.Abs(dx*c+dy*s) < 90 && math.Abs(-dx*s+dy*c) < 12 {
					v[y*w+x] = 0.9
				}
			}
		}
		got := regions(v, w, h)
		if len(got) != 1 {
			t.Fatalf("%g°: %d regions", degrees, len(got))
		}
		r := got[0]
		a, b := math.Hypot(r[1].x-r[0].x, r[1].y-r[0].y), math.Hypot(r[3].x-r[0].x, r[3].y-r[0].y)
		grow := 180.0 * 24 * ocrUnclip / (2 * (180 + 24)) * 2
		if math.Abs(max(a, b)-180-grow) > 4 || math.Abs(min(a, b)-24-grow) > 4 {
			t.Errorf("%g°: %g × %g", degrees, a, b)
		}
		if r[0].y > r[3].y || r[0].x > r[1].x+1e-9 {
			t.Errorf("%g°: corners %v", degrees, r)
		}
	}
}

// TestHullLaws: all pixels lie within the smallest rectangle.
func TestHullLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const w = 20
		pixels := rapid.SliceOfNDistinct(rapid.Int32Range(0, w*w-1), 1, 60, rapid.ID[int32]).Draw(t, "pixels")
		centre, u, long, short := smallest(hull(pixels, w))
		if long < short || short < 1-1e-9 {
			t.Fatalf("%g × %g", long, short)
		}
		for _, p := range pixels {
			dx, dy := float64(p%w)+0.5-centre.x, float64(p/w)+0.5-centre.y
			if math.Abs(dx*u.x+dy*u.y) > long/2 || math.Abs(-dx*u.y+dy*u.x) > short/2 {
				t.Fatalf("pixel %d is outside", p)
			}
		}
	})
}

// TestSimilarLaws: the map that was applied to the points is found.
func TestSimilarLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		angle, scale := rapid.Float64Range(-3, 3).Draw(t, "angle"), rapid.Float64Range(0.1, 10).Draw(t, "scale")
		dx, dy := rapid.Float64Range(-100, 100).Draw(t, "dx"), rapid.Float64Range(-100, 100).Draw(t, "dy")
		s, c := math.Sincos(angle)
		var from [5]point
		for i, p := range facePoints() {
			from[i] = point{scale*(c*p.x-s*p.y) + dx, scale*(s*p.x+c*p.y) + dy}
		}
		a := similar(from, facePoints())
		for i, p := range facePoints() {
			x, y := a[0]*p.x+a[1]*p.y+a[2], a[3]*p.x+a[4]*p.y+a[5]
			if math.Hypot(x-from[i].x, y-from[i].y) > 1e-6*max(1, scale*100) {
				t.Fatalf("point %d: %g, %g, want %v", i, x, y, from[i])
			}
		}
	})
}

func TestTiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 9000).Draw(t, "w"), rapid.IntRange(1, 9000).Draw(t, "h")
		list := tiles(w, h)
		if len(list) > 26 {
			t.Fatal(len(list))
		}
		covered := image.Rectangle{}
		for _, r := range list {
			if !r.In(image.Rect(0, 0, w, h)) || r.Empty() {
				t.Fatalf("%v of %d × %d", r, w, h)
			}
			covered = covered.Union(r)
		}
		if covered != image.Rect(0, 0, w, h) {
			t.Fatal(covered)
		}
	})
}

func BenchmarkLook(b *testing.B) {
	e := neural(b, Options{})
	ctx := b.Context()
	m := scene(800, 600)
	f, err := typeface("")
	if err != nil {
		b.Fatal(err)
	}
	page, err := typeset(f, 24, englishLines()[:5])
	if err != nil {
		b.Fatal(err)
	}
	for name, fn := range map[string]func() error{
		"detect":         func() error { _, err := e.detect(ctx, m, 0.3, 50); return err },
		"faces":          func() error { _, err := e.faces(ctx, m, faceScore, 50); return err },
		"safety":         func() error { _, err := e.safety(ctx, m); return err },
		"ocr ppocr":      func() error { _, err := e.readPaddle(ctx, page); return err },
		"ocr tesseract":  func() error { _, err := e.readTesseract(ctx, page, "eng"); return err },
		"esrgan 2, 150²": func() error { _, err := e.esrgan(ctx, crop(m, image.Rect(0, 0, 150, 150)), 2); return err },
	} {
		b.Run(name, func(b *testing.B) {
			if err := fn(); err != nil { // loads the model
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := fn(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
