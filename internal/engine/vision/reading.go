package vision

import (
	"context"
	"image"
	"math"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxTesseract is how many pixels Tesseract is given; more are made fewer.
const maxTesseract = 12_000_000

// lineAnswer is a line as an answer has it.
type lineAnswer struct {
	Text       string  `json:"text"`
	Confidence float64 `json:"confidence"`
	Box        Box     `json:"box"`
	Polygon    [4]xyz  `json:"polygon"`
}

func (l textLine) public() lineAnswer {
	b := box{math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)}
	a := lineAnswer{Text: l.text, Confidence: round3(l.score)}
	for i, c := range l.corners {
		b = box{min(b.x0, c.x), min(b.y0, c.y), max(b.x1, c.x), max(b.y1, c.y)}
		a.Polygon[i] = xyz{int(math.Round(c.x)), int(math.Round(c.y))}
	}
	a.Box = b.public()
	return a
}

func (e *Engine) serveOCR(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	name, language, err := e.reader(r, in)
	if err != nil {
		return err
	}
	p, leave, err := e.picture(ctx, in, "image", func(i Info) (int64, error) {
		// Tesseract works in its own process, on about this much a pixel.
		return lookMemory + 8*int64(min(i.Width*i.Height, maxTesseract)), i.atLeast(leastRead)
	})
	if err != nil {
		return err
	}
	defer leave()
	lines, model, err := e.readText(ctx, p.NRGBA, name, language)
	if err != nil {
		return err
	}
	text, confidence := joined(lines)
	answers := []lineAnswer{}
	for _, l := range lines {
		answers = append(answers, l.public())
	}
	return engine.WriteJSON(w, 200, struct {
		Engine     string       `json:"engine"`
		Model      string       `json:"model"`
		Text       string       `json:"text"`
		Confidence float64      `json:"confidence"`
		Lines      []lineAnswer `json:"lines"`
		Image      size         `json:"image"`
	}{name, model, text, round3(confidence), answers, sizeOf(p)})
}

// reader chooses who reads: as the caller or the product says, else by the language. language is Tesseract's name.
func (e *Engine) reader(r *engine.Request, in *input) (name, language string, err error) {
	if name, err = in.choice("engine", "", enginePaddle, engineTesseract); err != nil {
		return "", "", err
	}
	if name == "" && (r.Model == enginePaddle || r.Model == engineTesseract || r.Model == modelPaddle) {
		name = map[string]string{engineTesseract: engineTesseract}[r.Model]
		if name == "" {
			name = enginePaddle
		}
	}
	tag, err := in.text("language")
	if err != nil {
		return "", "", err
	}
	primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
	paddle := primary == "" || primary == "zh" || primary == "en"
	language = tesseractLanguage(primary)
	if primary == "" {
		language = "eng"
	}
	if !paddle && language == "" || name == enginePaddle && !paddle || name == engineTesseract && language == "" {
		return "", "", problem.New(problem.Unprocessable, "vision.ocr_language", "text in the language %q cannot be read: there are Chinese and English (ppocr), and languages with Latin letters (tesseract)", clip(tag)).
			WithField("language", "is not supported")
	}
	paddleReady := e.installed(fileOCRDet, fileOCRRec, fileOCRKeys)
	switch {
	case name == "" && paddle && (paddleReady || primary == "zh" || tesseract() == ""):
		name = enginePaddle
	case name == "":
		name = engineTesseract
	}
	if name == enginePaddle && !paddleReady {
		return "", "", engine.Missing("PP-OCRv4")
	}
	if name == engineTesseract && tesseract() == "" {
		return "", "", engine.Missing("Tesseract")
	}
	return name, language, nil
}

func (e *Engine) readText(ctx context.Context, m *image.NRGBA, name, language string) (lines []textLine, model string, err error) {
	if name == enginePaddle {
		lines, err = e.readPaddle(ctx, m)
		return lines, modelPaddle, err
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	scale := 1.0
	if w*h > maxTesseract {
		scale = math.Sqrt(float64(maxTesseract) / float64(w*h))
		if m, err = resize(ctx, m, max(int(float64(w)*scale), 1), max(int(float64(h)*scale), 1)); err != nil {
			return nil, "", err
		}
	}
	lines, err = e.readTesseract(ctx, m, language)
	for i := range lines {
		for k := range lines[i].corners {
			c := &lines[i].corners[k]
			c.x, c.y = min(max(c.x/scale, 0), float64(w)), min(max(c.y/scale, 0), float64(h))
		}
	}
	return lines, language, err
}
