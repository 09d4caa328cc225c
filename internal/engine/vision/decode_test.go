package vision

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// files are one picture of 3 × 2 pixels in the formats that can be written here, and a WebP made elsewhere.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	for i, c := range []color.NRGBA{{255, 0, 0, 255}, {0, 255, 0, 255}, {0, 0, 255, 255}, {255, 255, 255, 255}, {0, 0, 0, 255}, {128, 128, 128, 255}} {
		m.SetNRGBA(i%3, i/3, c)
	}
	out := map[string][]byte{"png": pngOf(t, m)}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"jpeg": func(b *bytes.Buffer) error { return jpeg.Encode(b, m, &jpeg.Options{Quality: 100}) },
		"gif":  func(b *bytes.Buffer) error { return gif.Encode(b, m, nil) },
		"bmp":  func(b *bytes.Buffer) error { return bmp.Encode(b, m) },
		"tiff": func(b *bytes.Buffer) error { return tiff.Encode(b, m, nil) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		out[name] = b.Bytes()
	}
	out["webp"] = webpOf(3, 2)
	return out
}

// webpOf is a lossless WebP of one colour (RFC 9649, 3): no transform, no cache, and five codes of one symbol each.
func webpOf(w, h int) []byte {
	var bits []byte
	n := 0
	put := func(v uint32, count int) {
		for i := range count {
			if n%8 == 0 {
				bits = append(bits, 0)
			}
			bits[n/8] |= byte(v>>i&1) << (n % 8)
			n++
		}
	}
	put(0x2f, 8)
	put(uint32(w-1), 14)
	put(uint32(h-1), 14)
	put(0, 1+3)                                            // no alpha, version
	put(0, 1)                                              // no transform
	put(0, 1)                                              // no colour cache
	put(0, 1)                                              // one group of codes
	for _, symbol := range []uint32{200, 10, 20, 255, 0} { // green, red, blue, alpha, distance
		put(1, 1) // simple
		put(0, 1) // of one symbol
		put(1, 1) // of 8 bits
		put(symbol, 8)
	}
	if len(bits)%2 == 1 {
		bits = append(bits, 0)
	}
	chunk := append([]byte("VP8L"), binary.LittleEndian.AppendUint32(nil, uint32(len(bits)))...)
	chunk = append(chunk, bits...)
	return riff(chunk)
}

func riff(chunks ...[]byte) []byte {
	body := []byte("WEBP")
	for _, c := range chunks {
		body = append(body, c...)
	}
	return append(append([]byte("RIFF"), binary.LittleEndian.AppendUint32(nil, uint32(len(body)))...), body...)
}

func TestDecodeFormats(t *testing.T) {
	for name, data := range files(t) {
		p, err := Decode(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.Info.Format != name || p.Rect != image.Rect(0, 0, 3, 2) || p.Info.Width != 3 || p.Info.Height != 2 || p.Stride != 12 {
			t.Errorf("%s: %+v %v", name, p.Info, p.Rect)
		}
		want := color.NRGBA{255, 0, 0, 255}
		if name == "webp" {
			want = color.NRGBA{10, 200, 20, 255}
		}
		if name == "jpeg" { // so small a picture has no colours of its own there
			continue
		}
		if got := p.NRGBAAt(0, 0); absDiff(got.R, want.R) > 90 || absDiff(got.G, want.G) > 90 || absDiff(got.B, want.B) > 90 || got.A != 255 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestDecodeModels reads every kind of pixel that PNG has, 1 × 1.
func TestDecodeModels(t *testing.T) {
	r := image.Rect(0, 0, 1, 1)
	half := color.NRGBA{200, 100, 50, 128}
	set := func(m interface {
		image.Image
		Set(x, y int, c color.Color)
	}) image.Image {
		m.Set(0, 0, half)
		return m
	}
	for _, m := range []image.Image{
		set(image.NewNRGBA(r)), set(image.NewRGBA(r)), set(image.NewNRGBA64(r)), set(image.NewRGBA64(r)),
		set(image.NewPaletted(r, color.Palette{half})),
	} {
		p, err := Decode(pngOf(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.NRGBAAt(0, 0); absDiff(got.R, 200) > 2 || absDiff(got.G, 100) > 2 || absDiff(got.B, 50) > 2 || got.A != 128 {
			t.Errorf("%T: %v", m, got)
		}
	}
	for _, m := range []image.Image{set(image.NewGray(r)), set(image.NewGray16(r))} {
		p, err := Decode(pngOf(t, m))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.NRGBAAt(0, 0); got.R != got.G || got.A != 255 {
			t.Errorf("%T: %v", m, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := files(t)
	_, err := Decode(nil)
	refused(t, err, problem.Invalid, "vision.empty")
	_, err = Decode(make([]byte, MaxBytes+1))
	refused(t, err, problem.TooLarge, "vision.too_many_bytes")
	for _, text := range []string{"hello, world", "RIFF0000WAVE", "\x00\x00\x00\x18ftypisom", "ftyp"} {
		_, err = Decode([]byte(text))
		refused(t, err, problem.Unprocessable, "vision.not_an_image")
	}
	for text, name := range map[string]string{
		"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>": "SVG", "%PDF-1.7": "PDF", "\xff\x0a\xfa\x1f": "JPEG XL",
		"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic": "HEIC", "\x00\x00\x00\x18ftypmif1": "HEIC", "\x00\x00\x00\x1cftypavif": "AVIF",
	} {
		_, err = Decode([]byte(text))
		refused(t, err, problem.Unprocessable, "vision.unsupported_format")
		if !strings.HasPrefix(problem.As(err).Text("en"), name) {
			t.Errorf("%q is told as %v", text, err)
		}
	}
	for name, data := range good {
		// Cut off anywhere, a file is refused or, where only padding is lost, read.
		for n := 12; n < len(data)-1; n++ {
			if _, err := Decode(data[:n]); err != nil && problem.As(err).Kind != problem.Unprocessable {
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
		}
		if _, err := Decode(data[:len(data)/2]); err == nil {
			t.Errorf("%s cut in half is read", name)
		}
	}
	big := pngOf(t, generated(64, 64))
	_, err = Decode(big[:len(big)/2])
	refused(t, err, problem.Unprocessable, "vision.truncated")
	spoilt := bytes.Clone(big)
	spoilt[len(big)/2] ^= 0xff
	_, err = Decode(spoilt)
	refused(t, err, problem.Unprocessable, "vision.corrupt")
}

// bombs are small files whose headers promise huge pictures.
func bombs(t testing.TB) map[string][]byte {
	t.Helper()
	good := files(t)
	patch := func(name string, at int, b ...byte) []byte {
		data := bytes.Clone(good[name])
		copy(data[at:], b)
		return data
	}
	p := patch("png", 16, 0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60) // 60000 × 60000
	binary.BigEndian.PutUint32(p[29:], crc32.ChecksumIEEE(p[12:29]))
	sof := bytes.Index(good["jpeg"], []byte{0xff, 0xc0})
	var tall bytes.Buffer
	if err := tiff.Encode(&tall, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
		t.Fatal(err)
	}
	tif := tall.Bytes()
	ifd := binary.LittleEndian.Uint32(tif[4:])
	for at := int(ifd) + 2; at+12 <= len(tif); at += 12 {
		switch binary.LittleEndian.Uint16(tif[at:]) {
		case 0x100, 0x101: // width, height
			binary.LittleEndian.PutUint16(tif[at+2:], 4)
			binary.LittleEndian.PutUint32(tif[at+8:], 50_000)
		}
	}
	vp8x := append([]byte("VP8X\x0a\x00\x00\x00"), 0, 0, 0, 0, 0x3f, 0x9c, 0, 0x3f, 0x9c, 0)
	return map[string][]byte{
		"png": p, "jpeg": patch("jpeg", sof+5, 0xff, 0xff, 0xff, 0xff), "gif": patch("gif", 6, 0xff, 0xff, 0xff, 0xff),
		"bmp": patch("bmp", 18, 0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0), "tiff": tif, "webp": riff(vp8x, webpOf(3, 2)[12:]), "webp lossless": webpOf(16384, 16384),
	}
}

func TestBombs(t *testing.T) {
	for name, data := range bombs(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data)
		runtime.ReadMemStats(&after)
		refused(t, err, problem.TooLarge, "vision.too_many_pixels")
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, got)
		}
	}
}

// TestLies are files whose parts contradict one another.
func TestLies(t *testing.T) {
	// A canvas of one pixel around a picture of 16384 × 16384.
	vp8x := append([]byte("VP8X\x0a\x00\x00\x00"), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	_, err := Decode(riff(vp8x, webpOf(16384, 16384)[12:]))
	refused(t, err, problem.Unprocessable, "vision.corrupt")
	// Tiles that cover far more than the picture.
	for _, size := range [][2]uint32{{1024, 1024}, {8, 1 << 30}, {1 << 31, 16}} {
		if m := (meta{tileWidth: size[0], tileHeight: size[1]}); !m.wasteful(1_000_000, 8) {
			t.Errorf("tiles %v are not wasteful", size)
		}
	}
	if m := (meta{tileWidth: 256, tileHeight: 256}); m.wasteful(1000, 700) || m.wasteful(1, 1) {
		t.Error("usual tiles are wasteful")
	}
}

// exif is a TIFF structure with an orientation.
func exif(orientation byte, big bool) []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	b := []byte("II")
	if big {
		order, b = binary.BigEndian, []byte("MM")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, tagOrientation)
	b = order.AppendUint16(b, 3)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint16(b, uint16(orientation))
	return order.AppendUint32(append(b, 0, 0), 0)
}

// oriented puts an orientation into a file.
func oriented(t testing.TB, format string, data []byte, o byte) []byte {
	t.Helper()
	switch format {
	case "jpeg":
		body := append([]byte("Exif\x00\x00"), exif(o, true)...)
		seg := binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2))
		return bytes.Join([][]byte{data[:2], seg, body, data[2:]}, nil)
	case "png":
		body := append([]byte("eXIf"), exif(o, false)...)
		chunk := binary.BigEndian.AppendUint32(nil, uint32(len(body)-4))
		chunk = binary.BigEndian.AppendUint32(append(chunk, body...), crc32.ChecksumIEEE(body))
		return bytes.Join([][]byte{data[:33], chunk, data[33:]}, nil)
	case "webp":
		body := append([]byte("Exif\x00\x00"), exif(o, false)...)
		return append(bytes.Clone(data), append(binary.LittleEndian.AppendUint32([]byte("EXIF"), uint32(len(body))), body...)...)
	}
	t.Fatal(format)
	return nil
}

func TestOrientation(t *testing.T) {
	// The corners of a 3 × 2 picture after each orientation, from the upper left clockwise; a, b, c above d, e, f.
	want := map[byte]string{1: "acfd", 2: "cadf", 3: "fdac", 4: "dfca", 5: "adfc", 6: "dacf", 7: "fcad", 8: "cfda"}
	m := image.NewNRGBA(image.Rect(0, 0, 3, 2))
	names := map[color.NRGBA]byte{}
	for i := range 6 {
		c := color.NRGBA{byte(40 * i), byte(200 - 30*i), byte(i), 255}
		names[c] = byte('a' + i)
		m.SetNRGBA(i%3, i/3, c)
	}
	plain := pngOf(t, m)
	for o, corners := range want {
		p, err := Decode(oriented(t, "png", plain, o))
		if err != nil {
			t.Fatal(err)
		}
		w, h := p.Rect.Dx(), p.Rect.Dy()
		got := ""
		for _, at := range []image.Point{{0, 0}, {w - 1, 0}, {w - 1, h - 1}, {0, h - 1}} {
			got += string(names[p.NRGBAAt(at.X, at.Y)])
		}
		if got != corners || p.Info.Orientation != int(o) || p.Info.Width != w || p.Info.Height != h {
			t.Errorf("orientation %d: %s, want %s; %+v", o, got, corners, p.Info)
		}
	}
	good := files(t)
	for _, format := range []string{"jpeg", "webp", "png"} {
		info, err := Header(oriented(t, format, good[format], 6))
		if err != nil || info.Width != 2 || info.Height != 3 {
			t.Errorf("%s: %+v, %v", format, info, err)
		}
	}
	for _, o := range []byte{0, 9, 255} {
		if p, err := Decode(oriented(t, "png", plain, o)); err != nil || p.Info.Orientation != 1 {
			t.Errorf("orientation %d: %v", o, err)
		}
	}
}

// TestStripped checks that nothing of a file's metadata comes back.
func TestStripped(t *testing.T) {
	e := newEngine(t, Options{})
	data := oriented(t, "jpeg", files(t)["jpeg"], 6)
	for _, accept := range []string{"image/png", "image/jpeg"} {
		r := request(t, "vision.enhance", map[string]any{"image": b64(data), "scale": 2})
		r.Accept = accept
		a, err := call(t, e, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Type != accept || bytes.Contains(a.Body.Bytes(), []byte("Exif")) || bytes.Contains(a.Body.Bytes(), []byte("eXIf")) {
			t.Errorf("%s: type %s, or metadata", accept, a.Type)
		}
		if c, _, err := image.DecodeConfig(&a.Body); err != nil || c.Width != 4 || c.Height != 6 {
			t.Errorf("%s: %v, %v", accept, c, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range files(f) {
		f.Add(data)
	}
	for _, data := range bombs(f) {
		f.Add(data)
	}
	f.Add(oriented(f, "jpeg", files(f)["jpeg"], 5))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := Header(data)
		if err != nil {
			if strings.HasPrefix(problem.As(err).ID, "internal") {
				t.Fatal(err)
			}
			return
		}
		if info.Width*info.Height > 1<<20 { // bounded elsewhere; here only slow
			return
		}
		p, err := Decode(data)
		if err != nil {
			if problem.As(err).Kind == problem.Internal {
				t.Fatal(err)
			}
			return
		}
		if p.Rect.Dx() > max(info.Width, info.Height) || len(p.Pix) != 4*p.Rect.Dx()*p.Rect.Dy() || p.Stride != 4*p.Rect.Dx() {
			t.Fatalf("%+v, %v", info, p.Rect)
		}
		if _, err := (target{format: "png"}).encode(p.NRGBA); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzMeta(f *testing.F) {
	for name, data := range files(f) {
		f.Add(name, data)
	}
	f.Add("jpeg", oriented(f, "jpeg", files(f)["jpeg"], 3))
	f.Add("tiff", exif(7, true))
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		if m := readMeta(format, data); m.orientation < 1 || m.orientation > 8 {
			t.Fatal(m)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, generated(1280, 960), nil); err != nil {
		b.Fatal(err)
	}
	for name, data := range map[string][]byte{"jpeg": buf.Bytes(), "png": pngOf(b, generated(1280, 960))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
