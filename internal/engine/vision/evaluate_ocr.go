package vision

import (
	"fmt"
	"image"
	"runtime"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// Texts that are set and read.
func englishLines() []string {
	return strings.Split(`The quick brown fox jumps over the lazy dog.
Invoice No. 2026-1123, total: $1,234.56
Tollgate sells API calls by the unit.
Please reply to support@example.com before Friday.
Opening hours: 9:00 to 17:30, closed on Sundays
Flight CA981 departs from gate B12 at 06:45
Keep out of reach of children.
Battery level 87 %, signal strong`, "\n")
}

func frenchLines() []string {
	return strings.Split(`Les élèves ont déjà mangé à la cantine.
Où se trouve la gare, s'il vous plaît ?
La forêt est fermée jusqu'à août prochain.
Garçon, une bière et un café crème !`, "\n")
}

func chineseLines() []string {
	return strings.Split(`欢迎使用开放平台的图像识别接口
今天天气很好，我们去公园散步吧。
请在星期五之前回复本邮件
电池电量充足，信号良好
本产品由人民医院提供，保质期三年
中华人民共和国居民身份证
南京市长江大桥于去年重新开放
请勿将药品放在儿童可以接触的地方`, "\n")
}

// reading sets lines in several sizes and compares what is read; right is the share of characters that need no edit.
func (v *evaluation) reading(font string, lines []string, read func(*image.NRGBA) ([]textLine, error)) (right, lineShare, ms float64, err error) {
	f, err := typeface(font)
	if err != nil {
		return 0, 0, 0, err
	}
	edits, chars, whole, all := 0, 0, 0, 0
	for _, size := range []float64{16, 24, 40} {
		m, err := typeset(f, size, lines)
		if err != nil {
			return 0, 0, 0, err
		}
		got, err := read(m)
		if err != nil {
			return 0, 0, 0, err
		}
		text, _ := joined(got)
		have := strings.Split(text, "\n")
		for i, want := range lines {
			line := ""
			if i < len(have) {
				line = have[i]
			}
			chars += len([]rune(want))
			d := engine.Distance([]rune(line), []rune(want))
			edits += min(d, len([]rune(want)))
			if all++; d == 0 {
				whole++
			}
		}
	}
	five, err := typeset(f, 24, lines[:min(5, len(lines))])
	if err != nil {
		return 0, 0, 0, err
	}
	ms, err = v.timed(func() error { _, err := read(five); return err })
	return 1 - float64(edits)/float64(chars), float64(whole) / float64(all), ms, err
}

func (v *evaluation) readReport(name, model, version, language, font, fontName string, lines []string, floor float64, read func(*image.NRGBA) ([]textLine, error)) error {
	right, whole, ms, err := v.reading(font, lines, read)
	if err != nil {
		return err
	}
	v.report(engine.Report{Engine: name, Model: model, Version: version, Task: "text recognition, " + language, Samples: 3 * len(lines),
		Data: fmt.Sprintf("%d lines set in %s, in 16, 24 and 40 pixels", len(lines), fontName),
		Figures: []engine.Figure{
			{Name: "characters right", Value: right, Floor: floor}, {Name: "lines without a fault", Value: whole},
			speed(ms, fmt.Sprintf("%d lines", min(5, len(lines)))),
		}, Note: fmt.Sprintf("clean print: photographs of text are read less well; on %d processors", runtime.GOMAXPROCS(0))})
	return nil
}

func (v *evaluation) paddle() error {
	read := func(m *image.NRGBA) ([]textLine, error) { return v.e.readPaddle(v.ctx, m) }
	if err := v.readReport(enginePaddle, modelPaddle, "1.4.2", "English", "", "Go Regular", englishLines(), 0.95, read); err != nil {
		return err
	}
	if v.o.Font == "" {
		return nil
	}
	return v.readReport(enginePaddle, modelPaddle, "1.4.2", "Chinese", v.o.Font, "Droid Sans Fallback", chineseLines(), 0.95, read)
}

func (v *evaluation) tesseract() error {
	for _, l := range []struct {
		name, code string
		lines      []string
	}{{"English", "eng", englishLines()}, {"French", "fra", frenchLines()}} {
		installed, err := v.e.tesseractLanguages(v.ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(installed, l.code) {
			continue
		}
		read := func(m *image.NRGBA) ([]textLine, error) { return v.e.readTesseract(v.ctx, m, l.code) }
		if err := v.readReport(engineTesseract, l.code, "5", l.name, "", "Go Regular", l.lines, 0.95, read); err != nil {
			return err
		}
	}
	return nil
}
