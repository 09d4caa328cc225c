package tokens

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"github.com/tollgate-io/tollgate/internal/llm/scan"
)

const (
	lowDetail   = 85       // tokens of an image at low detail, and the base of any other
	tile        = 170      // tokens of a tile of 512×512 pixels
	unknownSide = 1024     // pixels of an image whose size is not known
	audioToken  = 10       // tokens of a second of audio
	audioSecond = 16_000   // bytes of a second of audio whose header says nothing (128 kbit/s)
	fileToken   = 16       // bytes of a file for a token
	header      = 64 << 10 // bytes of an image that are looked at for its size
)

// imageTokens counts an image_url value: an object with url and detail, or the URL itself.
func imageTokens(v []byte) int64 {
	url := v
	if v[0] == '{' {
		if s, e, ok := scan.Member(v, 0, "detail"); ok && string(v[s:e]) == `"low"` {
			return lowDetail
		}
		s, e, ok := scan.Member(v, 0, "url")
		if !ok {
			return 0
		}
		url = v[s:e]
	}
	w, h := imageSize(url)
	return tiled(w, h)
}

func tiled(width, height int) int64 {
	w, h := int64(width), int64(height)
	if longer := max(w, h); longer > 2048 {
		w, h = w*2048/longer, h*2048/longer
	}
	if shorter := min(w, h); shorter > 768 {
		w, h = w*768/shorter, h*768/shorter
	}
	across, down := max(1, (w+511)/512), max(1, (h+511)/512)
	return lowDetail + tile*across*down
}

// imageSize reads the size of an image in a data URL (a quoted JSON string).
func imageSize(url []byte) (width, height int) {
	data := payload(url)
	for _, decode := range []func(io.Reader) (image.Config, error){png.DecodeConfig, jpeg.DecodeConfig, gif.DecodeConfig} {
		c, err := decode(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(data[:min(len(data), header)])))
		if err == nil && c.Width > 0 && c.Height > 0 && c.Width < 1<<20 && c.Height < 1<<20 {
			return c.Width, c.Height
		}
	}
	return unknownSide, unknownSide
}

// payload is the base64 text of a quoted data URL, or of a quoted string that is base64 itself.
func payload(quoted []byte) []byte {
	quoted = bytes.Trim(quoted, `"`)
	if i := bytes.Index(quoted[:min(len(quoted), 256)], []byte(";base64,")); i >= 0 {
		return quoted[i+len(";base64,"):]
	}
	return quoted
}

// audioTokens counts an input_audio value: an object with data and format.
func audioTokens(v []byte) int64 {
	s, e, ok := scan.Member(v, 0, "data")
	if !ok {
		return 0
	}
	data := payload(v[s:e])
	bytes, second := int64(len(data))*3/4, int64(audioSecond)
	var head [44]byte
	if n, _ := base64.StdEncoding.Decode(head[:], data[:min(len(data), 56)]); n >= 32 && string(head[:4]) == "RIFF" {
		// From 8 kHz ADPCM to 192 kHz stereo; a header that says anything else is not believed.
		if rate := int64(binary.LittleEndian.Uint32(head[28:])); rate >= 1000 && rate <= 2_000_000 {
			second = rate
		}
	}
	return (bytes*audioToken + second - 1) / second
}

// fileTokens counts a file value, by the data that it holds; a file by id has none here.
func fileTokens(v []byte) int64 {
	s, e, ok := scan.Member(v, 0, "file_data")
	if !ok {
		return 0
	}
	return int64(len(payload(v[s:e])))*3/4/fileToken + 1
}
