package vision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// tesseractMemory is the address space of one run.
const tesseractMemory = 4 << 30

// tesseract is the program, or "".
func tesseract() string { return proc.Find("tesseract") }

func tesseractRun(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	return proc.Run(ctx, proc.Spec{Path: tesseract(), Args: args, Env: []string{"OMP_THREAD_LIMIT=1"}, Memory: tesseractMemory}, stdin, 16<<20)
}

// tesseractLanguages are the languages whose data are installed.
func (e *Engine) tesseractLanguages(ctx context.Context) ([]string, error) {
	e.once.Lock()
	defer e.once.Unlock()
	if e.languages != nil {
		return e.languages, nil
	}
	out, err := tesseractRun(ctx, nil, "--list-langs")
	if err != nil {
		return nil, err
	}
	_, list, _ := strings.Cut(string(out), "\n") // the first line is a heading
	e.languages = strings.Fields(list)
	return e.languages, nil
}

// readTesseract reads text in a language that Tesseract knows by name ("fra").
func (e *Engine) readTesseract(ctx context.Context, m *image.NRGBA, language string) ([]textLine, error) {
	installed, err := e.tesseractLanguages(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(installed, language) {
		return nil, engine.Missing("Tesseract (" + language + ")")
	}
	out, err := tesseractRun(ctx, pnm(m), "stdin", "stdout", "-l", language, "--psm", "3", "tsv")
	if err != nil {
		return nil, err
	}
	lines, err := parseTSV(out)
	if err != nil {
		return nil, problem.New(problem.Unavailable, "vision.tesseract", "the text recogniser gave an answer that cannot be read").Because(err)
	}
	return lines, nil
}

// pnm writes a picture as a grey PGM, over white, with a white margin: Tesseract reads it without a decoder, and
// text at the very edge, too.
func pnm(m *image.NRGBA) []byte {
	const margin = tesseractMargin
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var b bytes.Buffer
	fmt.Fprintf(&b, "P5 %d %d 255\n", w+2*margin, h+2*margin)
	b.Write(bytes.Repeat([]byte{255}, (w+2*margin)*margin))
	line := bytes.Repeat([]byte{255}, w+2*margin)
	for y := range h {
		row := m.Pix[y*m.Stride:]
		for x := range w {
			p := row[4*x : 4*x+4]
			line[margin+x] = clamp8(0.299*float32(overWhite(p[0], p[3])) + 0.587*float32(overWhite(p[1], p[3])) + 0.114*float32(overWhite(p[2], p[3])))
		}
		b.Write(line)
	}
	b.Write(bytes.Repeat([]byte{255}, (w+2*margin)*margin))
	return b.Bytes()
}

const tesseractMargin = 10

// parseTSV reads Tesseract's table of words and joins them to lines.
func parseTSV(data []byte) ([]textLine, error) {
	var lines []textLine
	var words, last int
	heading := true
	for row := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimRight(row, "\r\n"), "\t", 12)
		if heading {
			heading = false
			if len(f) != 12 || f[0] != "level" {
				return nil, errors.New("no table of words")
			}
			continue
		}
		if len(f) != 12 {
			return nil, errors.New("a row with missing columns")
		}
		var n [10]int
		for i := range n {
			v, err := strconv.Atoi(f[i])
			if err != nil {
				return nil, err
			}
			n[i] = v
		}
		score, err := strconv.ParseFloat(f[10], 64)
		if err != nil {
			return nil, err
		}
		// Levels: 1 page, 2 block, 3 paragraph, 4 line, 5 word.
		if n[0] < 5 {
			last = 0
			continue
		}
		text := strings.TrimSpace(f[11])
		if text == "" {
			continue
		}
		x0, y0 := float64(n[6]-tesseractMargin), float64(n[7]-tesseractMargin)
		x1, y1 := x0+float64(n[8]), y0+float64(n[9])
		if last == 0 || len(lines) == 0 {
			if len(lines) == maxLines {
				break
			}
			lines = append(lines, textLine{text, score / 100, rectCorners(x0, y0, x1, y1)})
			words, last = 1, 1
			continue
		}
		l := &lines[len(lines)-1]
		l.score = (l.score*float64(words) + score/100) / float64(words+1)
		words++
		l.text += " " + text
		l.corners = rectCorners(min(l.corners[0].x, x0), min(l.corners[0].y, y0), max(l.corners[2].x, x1), max(l.corners[2].y, y1))
	}
	return lines, nil
}

func rectCorners(x0, y0, x1, y1 float64) [4]point {
	return [4]point{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}
}
