package task

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/draw"
	"image/jpeg"
)

// An upstream is another company. It is sent the picture, not where and by whom it was taken: metadata are cut out of the
// file. A JPEG that EXIF says to turn is turned, so that an upstream that ignores EXIF sees it upright too.

// clean is the file without metadata, upright. A file that cannot be taken apart is sent as it is.
func (p *picture) clean() []byte {
	switch p.format {
	case "jpeg":
		if p.orientation > 1 {
			if turned, err := upright(p.data, p.orientation); err == nil {
				return turned
			}
		}
		return cleanJPEG(p.data)
	case "png":
		return cleanPNG(p.data)
	case "webp":
		return cleanWebP(p.data)
	}
	return p.data
}

// jpegSegments calls each for the segments before the picture's data, with their marker and whole bytes, and gives where
// these begin; ok is false for what is no JPEG.
func jpegSegments(data []byte, each func(marker byte, whole []byte)) (rest int, ok bool) {
	for i := 2; i+4 <= len(data); {
		if data[i] != 0xff {
			return 0, false
		}
		if data[i+1] == 0xff { // fill
			i++
			continue
		}
		marker, n := data[i+1], int(binary.BigEndian.Uint16(data[i+2:]))
		if marker == 0xda { // start of scan
			return i, true
		}
		if n < 2 || i+2+n > len(data) || marker == 0x01 || marker >= 0xd0 && marker <= 0xd9 {
			return 0, false
		}
		each(marker, data[i:i+2+n])
		i += 2 + n
	}
	return 0, false
}

// cleanJPEG leaves out comments and application segments but JFIF's, ICC's and Adobe's, which say how colours are
// stored.
func cleanJPEG(data []byte) []byte {
	out := append(make([]byte, 0, len(data)), data[:2]...)
	rest, ok := jpegSegments(data, func(marker byte, whole []byte) {
		app := marker >= 0xe0 && marker <= 0xef
		colours := marker == 0xe0 || marker == 0xe2 && bytes.HasPrefix(whole[4:], []byte("ICC_PROFILE\x00")) || marker == 0xee
		if marker != 0xfe && (!app || colours) {
			out = append(out, whole...)
		}
	})
	if !ok {
		return data
	}
	return append(out, data[rest:]...)
}

// orientation is what EXIF (CIPA DC-008, tag 0x0112) says of how a JPEG is to be seen; 1, as it is, if it says nothing.
func orientation(data []byte) int {
	found := 1
	jpegSegments(data, func(marker byte, whole []byte) {
		if marker != 0xe1 || !bytes.HasPrefix(whole[4:], []byte("Exif\x00\x00")) {
			return
		}
		tiff := whole[10:]
		var order binary.ByteOrder = binary.BigEndian
		switch {
		case len(tiff) < 8:
			return
		case string(tiff[:2]) == "II":
			order = binary.LittleEndian
		}
		at := int(order.Uint32(tiff[4:]))
		if at < 8 || at+2 > len(tiff) {
			return
		}
		n := int(order.Uint16(tiff[at:]))
		for e := at + 2; n > 0 && e+12 <= len(tiff); n, e = n-1, e+12 {
			if v := int(order.Uint16(tiff[e+8:])); order.Uint16(tiff[e:]) == 0x0112 && v >= 1 && v <= 8 {
				found = v
			}
		}
	})
	return found
}

// upright decodes a JPEG and writes it anew the way it is to be seen.
func upright(data []byte, orientation int) ([]byte, error) {
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	in := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(in, in.Rect, m, m.Bounds().Min, draw.Src)
	// Where the pixel (x, y) goes: from the corner of the upright picture where the stored one begins, so many
	// bytes for each x and each y.
	size := image.Rect(0, 0, w, h)
	if orientation > 4 {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewRGBA(size)
	column, row := 4, out.Stride
	right, down := out.PixOffset(size.Max.X-1, 0), out.PixOffset(0, size.Max.Y-1)
	way := [9]struct{ from, x, y int }{2: {right, -column, row}, 3: {right + down, -column, -row}, 4: {down, column, -row},
		5: {0, row, column}, 6: {right, row, -column}, 7: {right + down, -row, -column}, 8: {down, -row, column}}[orientation]
	for y := range h {
		to := way.from + y*way.y
		for x := range w {
			copy(out.Pix[to:to+4], in.Pix[y*in.Stride+4*x:])
			to += way.x
		}
	}
	var b bytes.Buffer
	err = jpeg.Encode(&b, out, &jpeg.Options{Quality: 92})
	return b.Bytes(), err
}

// cleanPNG leaves out the chunks that tell of the picture: texts, times and EXIF.
func cleanPNG(data []byte) []byte {
	out := append(make([]byte, 0, len(data)), data[:8]...)
	for i := 8; i < len(data); {
		if i+12 > len(data) {
			return data
		}
		n := int(binary.BigEndian.Uint32(data[i:]))
		if n < 0 || n > len(data)-i-12 {
			return data
		}
		switch kind := string(data[i+4 : i+8]); kind {
		case "tEXt", "zTXt", "iTXt", "tIME", "eXIf":
		default:
			out = append(out, data[i:i+12+n]...)
			if kind == "IEND" {
				return out
			}
		}
		i += 12 + n
	}
	return data
}

// cleanWebP leaves out the chunks EXIF and XMP (RFC 9649) and takes back the flags that promise them.
func cleanWebP(data []byte) []byte {
	out := append(make([]byte, 0, len(data)), data[:12]...)
	for i := 12; i < len(data); {
		if i+8 > len(data) {
			return data
		}
		n := int(binary.LittleEndian.Uint32(data[i+4:]))
		end := i + 8 + n + n&1
		if n < 0 || end > len(data) || end < i {
			return data
		}
		switch kind := string(data[i : i+4]); kind {
		case "EXIF", "XMP ":
		default:
			at := len(out)
			if out = append(out, data[i:end]...); kind == "VP8X" && n >= 10 {
				out[at+8] &^= 0x0c
			}
		}
		i = end
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}
