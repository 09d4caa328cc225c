package task

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bounds of a picture, as the engines here have them.
const (
	maxImageBytes   = 10 << 20
	maxImagePixels  = 40_000_000
	maxTurnedPixels = 16_000_000 // of a picture that has to be turned upright, hence decoded
)

// picture is an image file that a larger model can read.
type picture struct {
	data          []byte // as the caller sent it
	format        string // png, jpeg, gif, webp
	width, height int    // upright
	orientation   int    // of a JPEG, 1 to 8 by EXIF
}

// base64 is the file as an upstream gets it: without what a camera has written into it, and upright.
func (p *picture) base64() string {
	return base64.StdEncoding.EncodeToString(p.clean())
}

// url is the same as a data: URL.
func (p *picture) url() string { return "data:image/" + p.format + ";base64," + p.base64() }

// readPicture reads base64 (of the standard or the URL alphabet) or a data: URL of it. Only the header is decoded.
func readPicture(field, text string) (*picture, error) {
	text = strings.TrimSpace(text)
	if len(text) >= 5 && strings.EqualFold(text[:5], "data:") {
		head, data, ok := strings.Cut(text, ",")
		if !ok || !strings.HasSuffix(strings.ToLower(head), ";base64") {
			return nil, invalid(field, "must be base64, or a data: URL of the form data:image/png;base64,…")
		}
		text = data
	}
	if text == "" {
		return nil, invalid(field, "must be an image in base64")
	}
	if len(text) > maxImageBytes/3*4+1<<16 {
		return nil, problem.New(problem.TooLarge, "llm.task_image_size", "an image may have %d bytes and %d pixels at most; make it smaller", maxImageBytes, maxImagePixels)
	}
	data, err := decode64(text)
	if err != nil {
		return nil, invalid(field, "is not valid base64")
	}
	p := &picture{data: data, orientation: 1}
	c, err := p.header()
	if err != nil || c.Width < 1 || c.Height < 1 {
		return nil, problem.New(problem.Unprocessable, "llm.task_image", "this is not an image that the model behind this product can read: send PNG, JPEG, GIF or WebP").Because(err)
	}
	most := maxImagePixels
	if p.format == "jpeg" {
		if p.orientation = orientation(data); p.orientation > 1 {
			most = maxTurnedPixels
		}
	}
	if len(data) > maxImageBytes || c.Width > most/c.Height {
		return nil, problem.New(problem.TooLarge, "llm.task_image_size", "an image may have %d bytes and %d pixels at most; make it smaller", maxImageBytes, most)
	}
	p.width, p.height = c.Width, c.Height
	if p.orientation > 4 {
		p.width, p.height = c.Height, c.Width
	}
	return p, nil
}

// decode64 reads base64 of either alphabet, padded or not, with white space.
func decode64(text string) ([]byte, error) {
	text = strings.NewReplacer("\r", "", "\n", "", "\t", "", " ", "", "-", "+", "_", "/").Replace(text)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}

// header finds out what kind of file it is, and reads the size of its picture.
func (p *picture) header() (c image.Config, err error) {
	r := bytes.NewReader(p.data)
	switch {
	case bytes.HasPrefix(p.data, []byte("\x89PNG\r\n\x1a\n")):
		p.format = "png"
		return png.DecodeConfig(r)
	case bytes.HasPrefix(p.data, []byte("\xff\xd8\xff")):
		p.format = "jpeg"
		return jpeg.DecodeConfig(r)
	case bytes.HasPrefix(p.data, []byte("GIF87a")), bytes.HasPrefix(p.data, []byte("GIF89a")):
		p.format = "gif"
		return gif.DecodeConfig(r)
	case len(p.data) >= 30 && string(p.data[:4]) == "RIFF" && string(p.data[8:12]) == "WEBP":
		p.format = "webp"
		return webpSize(p.data), nil
	}
	return c, image.ErrFormat
}

// webpSize is the size in the first chunk of a WebP file (RFC 9649), zero for what is none. data has 30 bytes at least.
func webpSize(data []byte) (c image.Config) {
	switch string(data[12:16]) {
	case "VP8 ":
		c.Width = int(binary.LittleEndian.Uint16(data[26:])) & 0x3fff
		c.Height = int(binary.LittleEndian.Uint16(data[28:])) & 0x3fff
	case "VP8L":
		bits := binary.LittleEndian.Uint32(data[21:])
		c.Width = int(bits&0x3fff) + 1
		c.Height = int(bits>>14&0x3fff) + 1
	case "VP8X":
		c.Width = 1 + (int(data[24]) | int(data[25])<<8 | int(data[26])<<16)
		c.Height = 1 + (int(data[27]) | int(data[28])<<8 | int(data[29])<<16)
	}
	return c
}
