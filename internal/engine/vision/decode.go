package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"slices"
	"strings"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// The bounds of an image that is read.
const (
	MaxBytes  = 10 << 20   // of the file
	MaxPixels = 40_000_000 // of the picture, by its header
	maxSide   = 65_535
)

// Info is what the header of an image file says.
type Info struct {
	Format        string // "png", "jpeg", "gif", "webp", "bmp", "tiff"
	Width, Height int    // as it is to be seen: after Orientation
	Orientation   int    // of EXIF, 1 to 8; 1: as stored
	memory        int64  // bytes that decoding takes at its peak
}

// Picture is a decoded image: upright, 8 bits a channel, not premultiplied, without any metadata.
type Picture struct {
	*image.NRGBA
	Info Info
}

// format is one file format.
type format struct {
	name   string
	magic  func(data []byte) bool
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

func prefix(magics ...string) func([]byte) bool {
	return func(data []byte) bool {
		for _, m := range magics {
			if len(data) >= len(m) && string(data[:len(m)]) == m {
				return true
			}
		}
		return false
	}
}

func formats() []format {
	return []format{
		{"png", prefix("\x89PNG\r\n\x1a\n"), png.DecodeConfig, png.Decode},
		{"jpeg", prefix("\xff\xd8"), jpeg.DecodeConfig, jpeg.Decode},
		{"gif", prefix("GIF87a", "GIF89a"), gif.DecodeConfig, gif.Decode}, // Decode reads the first frame alone
		{"webp", func(d []byte) bool { return len(d) >= 12 && string(d[:4]) == "RIFF" && string(d[8:12]) == "WEBP" }, webp.DecodeConfig, webp.Decode},
		{"bmp", prefix("BM"), bmp.DecodeConfig, bmp.Decode},
		{"tiff", prefix("II*\x00", "MM\x00*"), tiff.DecodeConfig, tiff.Decode},
	}
}

func formatOf(data []byte) (format, error) {
	for _, f := range formats() {
		if f.magic(data) {
			return f, nil
		}
	}
	if name := foreign(data); name != "" {
		return format{}, problem.New(problem.Unprocessable, "vision.unsupported_format", "%s files are not read: convert the image first, and send PNG, JPEG, GIF, WebP, BMP or TIFF", name)
	}
	return format{}, problem.New(problem.Unprocessable, "vision.not_an_image", "this is not an image that can be read: send PNG, JPEG, GIF, WebP, BMP or TIFF")
}

// foreign names a format that callers send and that is not read; "" for what is none of them.
func foreign(data []byte) string {
	if len(data) >= 12 && string(data[4:8]) == "ftyp" { // ISO base media file: ISO/IEC 23008-12, annex B
		switch brand := string(data[8:12]); {
		case brand == "avif", brand == "avis":
			return "AVIF"
		case slices.Contains([]string{"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}, brand):
			return "HEIC"
		}
	}
	head := bytes.TrimSpace(data[:min(len(data), 512)])
	switch {
	case bytes.HasPrefix(data, []byte("\xff\x0a")), bytes.HasPrefix(data, []byte("\x00\x00\x00\x0cJXL \r\n\x87\n")):
		return "JPEG XL"
	case bytes.HasPrefix(head, []byte("%PDF-")):
		return "PDF"
	case bytes.Contains(head, []byte("<svg")):
		return "SVG"
	}
	return ""
}

// Header reads the header of an image file and checks it against the bounds, before any pixel is
// allocated. The error is a *problem.Error.
func Header(data []byte) (Info, error) {
	_, info, err := header(data)
	return info, err
}

func header(data []byte) (format, Info, error) {
	switch {
	case len(data) == 0:
		return format{}, Info{}, problem.New(problem.Invalid, "vision.empty", "the image is empty")
	case len(data) > MaxBytes:
		return format{}, Info{}, problem.New(problem.TooLarge, "vision.too_many_bytes", "the image has %d bytes; at most %d are read", len(data), MaxBytes)
	}
	f, err := formatOf(data)
	if err != nil {
		return f, Info{}, err
	}
	c, err := f.config(bytes.NewReader(data))
	if err != nil {
		return f, Info{}, unreadable(f.name, data, err)
	}
	if c.Width < 1 || c.Height < 1 {
		return f, Info{}, unreadable(f.name, data, fmt.Errorf("%d × %d pixels", c.Width, c.Height))
	}
	// The sides come first, so that their product cannot overflow.
	if c.Width > maxSide || c.Height > maxSide || c.Width*c.Height > MaxPixels {
		return f, Info{}, problem.New(problem.TooLarge, "vision.too_many_pixels",
			"the image has %d × %d pixels; at most %d pixels, and %d on a side, are read", c.Width, c.Height, MaxPixels, maxSide)
	}
	m := readMeta(f.name, data)
	if f.name == "tiff" && m.wasteful(c.Width, c.Height) {
		return f, Info{}, unreadable(f.name, data, errors.New("tiles far larger than the picture"))
	}
	info := Info{f.name, c.Width, c.Height, m.orientation, 0}
	if m.orientation >= 5 {
		info.Width, info.Height = c.Height, c.Width
	}
	info.memory = int64(c.Width) * int64(c.Height) * bytesPerPixel(f.name, c.ColorModel, m)
	return f, info, nil
}

// bytesPerPixel is what decoding takes at its peak: what the decoder makes, our copy, and one more where
// it must be turned.
func bytesPerPixel(format string, model color.Model, m meta) int64 {
	n := int64(4 + 4)
	switch model {
	case color.NRGBA64Model, color.RGBA64Model:
		n += 8
	case color.Gray16Model:
		n += 2
	case color.CMYKModel:
		n += 8
	}
	if m.progressive { // coefficients are held as 32-bit integers
		n += 12
	}
	if m.orientation > 1 {
		n += 4
	}
	switch format {
	case "webp":
		n += 4
	case "tiff": // a strip may be the whole picture
		n += 8
	}
	return n
}

// Decode reads an image file: bounded by [MaxBytes] and [MaxPixels], turned upright as its EXIF data say,
// with nothing kept of its metadata. Of an animation it is the first frame. The error is a *problem.Error.
// It bounds the memory of one image; how many are decoded at a time is for the caller to bound.
func Decode(data []byte) (*Picture, error) {
	f, info, err := header(data)
	if err != nil {
		return nil, err
	}
	m, err := safely(f, data)
	if err != nil {
		return nil, unreadable(f.name, data, err)
	}
	b := m.Bounds()
	w, h := info.Width, info.Height
	if info.Orientation >= 5 {
		w, h = h, w
	}
	// A frame of a GIF may be smaller than the picture; nothing may be larger than what the header said.
	if b.Dx() < 1 || b.Dy() < 1 || b.Dx() > w || b.Dy() > h {
		return nil, unreadable(f.name, data, fmt.Errorf("%v does not fit %d × %d", b, w, h))
	}
	p := nrgba(m)
	info.Width, info.Height = p.Rect.Dx(), p.Rect.Dy()
	if info.Orientation >= 2 {
		p = turn(p, info.Orientation)
		info.Width, info.Height = p.Rect.Dx(), p.Rect.Dy()
	}
	return &Picture{p, info}, nil
}

// safely decodes; a decoder that panics over a malformed file has only failed to read it.
func safely(f format, data []byte) (m image.Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder: %v", r)
		}
	}()
	return f.decode(bytes.NewReader(data))
}

// cutOff reports whether a file lacks what its format ends with.
func cutOff(format string, data []byte) bool {
	switch format {
	case "png":
		return !bytes.Contains(data, []byte("IEND"))
	case "jpeg":
		return !bytes.Contains(data, []byte{0xff, 0xd9})
	case "webp":
		return uint64(binary.LittleEndian.Uint32(data[4:]))+8 > uint64(len(data))
	}
	return false
}

// unreadable says whether a file is cut off or damaged.
func unreadable(format string, data []byte, cause error) error {
	// Some decoders tell the end of the file in words alone.
	if errors.Is(cause, io.ErrUnexpectedEOF) || errors.Is(cause, io.EOF) || strings.HasSuffix(cause.Error(), "EOF") || cutOff(format, data) {
		return problem.New(problem.Unprocessable, "vision.truncated", "the %s image is cut off: its end is missing", format).Because(cause)
	}
	return problem.New(problem.Unprocessable, "vision.corrupt", "the %s image is damaged, or of a kind that is not supported", format).Because(cause)
}

// nrgba brings a decoded image into the one form that we work with. It may share memory with m.
func nrgba(m image.Image) *image.NRGBA {
	b := m.Bounds()
	switch s := m.(type) {
	case *image.NRGBA:
		if b.Min == (image.Point{}) && s.Stride == 4*b.Dx() {
			return s
		}
	case *image.RGBA:
		if b.Min == (image.Point{}) && s.Stride == 4*b.Dx() && s.Opaque() {
			return &image.NRGBA{Pix: s.Pix, Stride: s.Stride, Rect: s.Rect}
		}
	case *image.YCbCr, *image.Gray, *image.CMYK: // opaque: the two forms are the same bytes, and draw is fast
		dst := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
		draw.Draw(dst, dst.Rect, m, b.Min, draw.Src)
		return &image.NRGBA{Pix: dst.Pix, Stride: dst.Stride, Rect: dst.Rect}
	case *image.Paletted:
		return paletted(s)
	case *image.NYCbCrA:
		return translucent(s)
	}
	dst := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			c := color.NRGBAModel.Convert(m.At(b.Min.X+x, b.Min.Y+y)).(color.NRGBA)
			i := y*dst.Stride + 4*x
			dst.Pix[i], dst.Pix[i+1], dst.Pix[i+2], dst.Pix[i+3] = c.R, c.G, c.B, c.A
		}
	}
	return dst
}

func paletted(s *image.Paletted) *image.NRGBA {
	var table [256]color.NRGBA // an index beyond the palette is transparent black
	for i, c := range s.Palette {
		if i < len(table) {
			table[i] = color.NRGBAModel.Convert(c).(color.NRGBA)
		}
	}
	dst := image.NewNRGBA(image.Rect(0, 0, s.Rect.Dx(), s.Rect.Dy()))
	for y := range s.Rect.Dy() {
		row := s.Pix[y*s.Stride : y*s.Stride+s.Rect.Dx()]
		out := dst.Pix[y*dst.Stride:]
		for x, v := range row {
			c := table[v]
			out[4*x], out[4*x+1], out[4*x+2], out[4*x+3] = c.R, c.G, c.B, c.A
		}
	}
	return dst
}

func translucent(s *image.NYCbCrA) *image.NRGBA {
	b := s.Rect
	opaque := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(opaque, opaque.Rect, &s.YCbCr, b.Min, draw.Src)
	for y := range b.Dy() {
		row := opaque.Pix[y*opaque.Stride:]
		for x := range b.Dx() {
			row[4*x+3] = s.A[s.AOffset(b.Min.X+x, b.Min.Y+y)]
		}
	}
	return &image.NRGBA{Pix: opaque.Pix, Stride: opaque.Stride, Rect: opaque.Rect}
}

// turn applies an EXIF orientation (CIPA DC-008, 4.6.5.1.6), from 2 to 8.
func turn(p *image.NRGBA, orientation int) *image.NRGBA {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	ow, oh := w, h
	if orientation >= 5 {
		ow, oh = h, w
	}
	out := image.NewNRGBA(image.Rect(0, 0, ow, oh))
	for y := range oh {
		for x := range ow {
			var sx, sy int
			switch orientation {
			case 2: // mirrored left to right
				sx, sy = w-1-x, y
			case 3: // upside down
				sx, sy = w-1-x, h-1-y
			case 4: // mirrored top to bottom
				sx, sy = x, h-1-y
			case 5: // mirrored along the main diagonal
				sx, sy = y, x
			case 6: // to be turned clockwise
				sx, sy = y, h-1-x
			case 7: // mirrored along the other diagonal
				sx, sy = w-1-y, h-1-x
			case 8: // to be turned counter-clockwise
				sx, sy = w-1-y, x
			}
			copy(out.Pix[y*out.Stride+4*x:][:4], p.Pix[sy*p.Stride+4*sx:][:4])
		}
	}
	return out
}
