package task

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

// stored is a JPEG of 48 × 32 pixels, white at the beginning of its first row and grey at the end of it, else black, with
// EXIF that gives its orientation and a place.
func stored(t testing.TB, orientation int) []byte {
	m := image.NewGray(image.Rect(0, 0, 48, 32))
	for y := range 8 {
		for x := range 8 {
			m.SetGray(x, y, color.Gray{255})
			m.SetGray(40+x, y, color.Gray{128})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	tiff := []byte("II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00")
	tiff = binary.LittleEndian.AppendUint32(tiff, uint32(orientation))
	exif := append([]byte("Exif\x00\x00"), append(tiff, "52.5 north"...)...)
	out := append([]byte("\xff\xd8\xff\xe1"), byte(0), byte(len(exif)+2))
	out = append(out, exif...)
	out = append(out, "\xff\xfe\x00\x09comment"...)
	return append(out, b.Bytes()[2:]...)
}

func TestUpright(t *testing.T) {
	const topLeft, topRight, bottomRight, bottomLeft = 0, 1, 2, 3
	for orientation, want := range map[int][2]int{1: {topLeft, topRight}, 2: {topRight, topLeft}, 3: {bottomRight, bottomLeft}, 4: {bottomLeft, bottomRight},
		5: {topLeft, bottomLeft}, 6: {topRight, bottomRight}, 7: {bottomRight, topRight}, 8: {bottomLeft, topLeft}} {
		p, err := readPicture("image", base64.StdEncoding.EncodeToString(stored(t, orientation)))
		if err != nil {
			t.Fatal(err)
		}
		file := p.clean()
		for _, secret := range []string{"Exif", "north", "comment"} {
			if bytes.Contains(file, []byte(secret)) {
				t.Errorf("orientation %d: %q is sent", orientation, secret)
			}
		}
		m, err := jpeg.Decode(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		w, h := m.Bounds().Dx(), m.Bounds().Dy()
		if p.orientation != orientation || w != p.width || h != p.height || (w == 48) != (orientation < 5) {
			t.Errorf("orientation %d: %d × %d, said %d × %d", orientation, w, h, p.width, p.height)
		}
		corners := [4]image.Point{{4, 4}, {w - 5, 4}, {w - 5, h - 5}, {4, h - 5}}
		for i, level := range [2]int{255, 128} {
			at := corners[want[i]]
			r, _, _, _ := m.At(at.X, at.Y).RGBA()
			if got := int(r >> 8); got < level-20 || got > level+20 {
				t.Errorf("orientation %d: %d at %v, want %d", orientation, got, at, level)
			}
		}
	}
}

func TestCleanOthers(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 3, 2))); err != nil {
		t.Fatal(err)
	}
	chunk := binary.BigEndian.AppendUint32(nil, 12)
	chunk = append(chunk, "tEXtAuthor\x00Alice"...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	whole := b.Bytes()
	tagged := append(append(append([]byte(nil), whole[:33]...), chunk...), whole[33:]...)
	if got := cleanPNG(append(tagged, "trailer"...)); !bytes.Equal(got, whole) {
		t.Errorf("%q", got)
	}
	webp := "RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x0c\x00\x00\x00\x1f\x00\x00\x0f\x00\x00EXIF\x03\x00\x00\x00abc\x00VP8 \x02\x00\x00\x00xy"
	if got := cleanWebP([]byte(webp)); string(got) != "RIFF\x20\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x1f\x00\x00\x0f\x00\x00VP8 \x02\x00\x00\x00xy" {
		t.Errorf("%q", got)
	}
	if c := webpSize([]byte(webp)); c.Width != 32 || c.Height != 16 {
		t.Errorf("%+v", c)
	}
	b.Reset()
	if err := gif.Encode(&b, image.NewPaletted(image.Rect(0, 0, 5, 4), color.Palette{color.Black}), nil); err != nil {
		t.Fatal(err)
	}
	p, err := readPicture("image", base64.RawURLEncoding.EncodeToString(b.Bytes()))
	if err != nil || p.format != "gif" || p.width != 5 || !bytes.Equal(p.clean(), b.Bytes()) {
		t.Errorf("%+v %v", p, err)
	}
}

// FuzzPicture: whatever is taken for a picture is cleaned without a crash, and a cleaned file is as clean as it gets.
func FuzzPicture(f *testing.F) {
	f.Add(stored(f, 6))
	f.Add(stored(f, 1))
	png, _ := decode64(samplePNG(f))
	f.Add(png)
	f.Add([]byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x0c\x00\x00\x00\x1f\x00\x00\x0f\x00\x00EXIF\x03\x00\x00\x00abc\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := readPicture("image", base64.StdEncoding.EncodeToString(data))
		if err != nil || p.width*p.height > 1<<20 {
			return
		}
		once := p.clean()
		again := &picture{data: once, format: p.format, orientation: 1}
		if twice := again.clean(); !bytes.Equal(once, twice) {
			t.Fatalf("%d bytes, then %d", len(once), len(twice))
		}
	})
}

// BenchmarkUpright turns the photograph of a telephone, 12 megapixels.
func BenchmarkUpright(b *testing.B) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, image.NewYCbCr(image.Rect(0, 0, 4000, 3000), image.YCbCrSubsampleRatio420), nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := upright(buf.Bytes(), 6); err != nil {
			b.Fatal(err)
		}
	}
}
