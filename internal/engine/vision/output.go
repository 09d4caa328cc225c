package vision

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"mime"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxOutput is how many pixels a picture may have that is given back.
const maxOutput = 24_000_000

// target is how a picture is given back.
type target struct {
	format  string // png, jpeg
	quality int    // of JPEG
	raw     bool   // the image itself, not JSON
}

// targetOf reads how the caller wants the picture: the fields format and quality, and the Accept header.
func targetOf(r *engine.Request, in *input) (t target, err error) {
	accepted := accepts(r.Accept)
	t.raw = accepted != ""
	if t.format, err = in.choice("format", "", "png", "jpeg"); err != nil {
		return t, err
	}
	if t.format == "" {
		t.format = accepted
	}
	if t.format == "" {
		t.format = "png"
	}
	if t.raw && accepted != t.format {
		return t, engine.Invalid("format", "is not what the Accept header asks for")
	}
	t.quality, err = in.integer("quality", 1, 100, 90)
	return t, err
}

// accepts is the image type that the caller asks for, png or jpeg; "" if it takes JSON, too.
func accepts(header string) string {
	want := ""
	for part := range strings.SplitSeq(header, ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if q, e := strconv.ParseFloat(params["q"], 64); err != nil || e == nil && q == 0 {
			continue
		}
		switch kind {
		case "application/json", "*/*", "application/*":
			return ""
		case "image/png", "image/*":
			if want == "" {
				want = "png"
			}
		case "image/jpeg":
			if want == "" {
				want = "jpeg"
			}
		}
	}
	return want
}

// encode writes a picture as a file, with nothing but its pixels.
func (t target) encode(m *image.NRGBA) ([]byte, error) {
	var b bytes.Buffer
	if t.format == "jpeg" {
		flat := image.NewRGBA(m.Rect)
		draw.Draw(flat, flat.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(flat, flat.Rect, m, image.Point{}, draw.Over)
		err := jpeg.Encode(&b, flat, &jpeg.Options{Quality: t.quality})
		return b.Bytes(), err
	}
	enc := png.Encoder{CompressionLevel: png.DefaultCompression}
	if m.Rect.Dx()*m.Rect.Dy() > 2_000_000 {
		enc.CompressionLevel = png.BestSpeed
	}
	err := enc.Encode(&b, m)
	return b.Bytes(), err
}

// made tells of a picture that is given back.
type made struct {
	Engine     string   `json:"engine"`
	Model      string   `json:"model"`
	Operations []string `json:"operations"`
	Format     string   `json:"format"`
	Width      int      `json:"width"`
	Height     int      `json:"height"`
	Noise      *float64 `json:"noise,omitempty"` // estimated, before it was removed
}

// answer gives a picture back.
func (t target) answer(w engine.Writer, m *image.NRGBA, about made) error {
	data, err := t.encode(m)
	if err != nil {
		return err
	}
	about.Format, about.Width, about.Height = t.format, m.Rect.Dx(), m.Rect.Dy()
	if t.raw {
		w.SetHeader("X-Engine", about.Engine)
		w.SetHeader("X-Model", about.Model)
		w.Start(200, "image/"+t.format)
		return w.Write(data)
	}
	head, err := json.Marshal(about)
	if err != nil {
		return err
	}
	w.Start(200, "application/json")
	// In pieces, so that the base64 of a large picture never stands in memory whole.
	out := bufio.NewWriterSize(pieces{w}, 64<<10)
	if _, err := io.WriteString(out, string(head[:len(head)-1])+`,"image":"`); err != nil {
		return err
	}
	enc := base64.NewEncoder(base64.StdEncoding, out)
	if _, err := enc.Write(data); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	if _, err = io.WriteString(out, "\"}\n"); err != nil {
		return err
	}
	return out.Flush()
}

// pieces is an io.Writer on an engine.Writer.
type pieces struct{ w engine.Writer }

func (p pieces) Write(b []byte) (int, error) { return len(b), p.w.Write(b) }

// tooManyOut refuses a picture that would be too large to give back.
func tooManyOut(w, h int) error {
	if w*h > maxOutput {
		return problem.New(problem.Unprocessable, "vision.output_too_large", "the result would have %d × %d pixels; at most %d are made", w, h, maxOutput)
	}
	return nil
}
