package vision

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"image/draw"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// EvaluateOptions say what an evaluation looks at.
type EvaluateOptions struct {
	Engine *Engine
	// Data is a folder with the photographs that install-engines takes from npm packages; where it has none, those
	// in the engines directory are taken.
	Data string
	Font string // file of a font with Chinese characters; "": Debian's fonts-droid-fallback
	Date string // of the reports, 2006-01-02; "": today
	Runs int    // of which a time is the best, after one that loads the model; default 5, negative: that one alone
}

// droidFont is the file of Debian's fonts-droid-fallback. Without a font Chinese is left out.
const droidFont = "/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"

// Photographs that npm packages carry, as install-engines names them.
const (
	photoSamples = "samples.jpg"              // eight photographs in a row, and one large
	photoMatch   = "screenshot-facematch.jpg" // 6 × 18 faces; the first row is one man
	photoFaces   = "screenshot-facedetect.jpg"
	photoFlower  = "flower.png"
)

// Evaluate measures what is installed. What is not is left out.
func Evaluate(ctx context.Context, o EvaluateOptions) ([]engine.Report, error) {
	if _, err := os.Stat(filepath.Join(o.Data, photoSamples)); o.Data == "" || err != nil {
		o.Data = o.Engine.path("samples")
	}
	if _, err := os.Stat(droidFont); o.Font == "" && err == nil {
		o.Font = droidFont
	}
	if o.Date == "" {
		o.Date = o.Engine.o.Clock.Now().Format(time.DateOnly)
	}
	ev := &evaluation{ctx: ctx, e: o.Engine, o: o}
	steps := []func() error{ev.classical}
	if o.Engine.installed(fileOCRDet, fileOCRRec, fileOCRKeys) {
		steps = append(steps, ev.paddle)
	}
	if tesseract() != "" {
		steps = append(steps, ev.tesseract)
	}
	if o.Data != "" {
		if o.Engine.installed(fileFaces, fileLandmarks, fileEmbed) {
			steps = append(steps, ev.faces)
		}
		if o.Engine.installed(fileDetect) {
			steps = append(steps, ev.objects)
		}
		if o.Engine.installed(fileSafety) {
			steps = append(steps, ev.safety)
		}
	}
	if o.Data != "" && o.Engine.installed(fileESRGAN2) {
		steps = append(steps, ev.esrgan)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return ev.reports, nil
}

type evaluation struct {
	ctx     context.Context
	e       *Engine
	o       EvaluateOptions
	reports []engine.Report
}

func (v *evaluation) report(r engine.Report) {
	r.Family, r.Date = "vision", v.o.Date
	for i := range r.Figures {
		r.Figures[i].Value = math.Round(r.Figures[i].Value*1000) / 1000
	}
	v.reports = append(v.reports, r)
}

// timed is the best of some runs, in ms: what else the machine does counts least so.
func (v *evaluation) timed(fn func() error) (ms float64, err error) {
	best, runs := math.Inf(1), cmp.Or(v.o.Runs, 5)
	for i := range 1 + max(runs, 0) {
		start := time.Now()
		if err := fn(); err != nil {
			return 0, err
		}
		if took := float64(time.Since(start).Microseconds()) / 1000; i > 0 || runs < 0 {
			best = min(best, took)
		}
	}
	return best, nil
}

func speed(ms float64, of string) engine.Figure {
	return engine.Figure{Name: "time of " + of, Value: math.Round(ms*10) / 10, Unit: "ms"}
}

func (v *evaluation) photo(name string) (*image.NRGBA, error) {
	data, err := os.ReadFile(filepath.Join(v.o.Data, name))
	if err != nil {
		return nil, err
	}
	p, err := Decode(data)
	if err != nil {
		return nil, err
	}
	return p.NRGBA, nil
}

func crop(m *image.NRGBA, r image.Rectangle) *image.NRGBA {
	out := image.NewNRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	draw.Draw(out, out.Rect, m, r.Min, draw.Src)
	return out
}

// faces measures on one picture of 108 portraits: the 18 of the first row are one man; the last three rows, 54, show
// others.
func (v *evaluation) faces() error {
	sheet, err := v.photo(photoMatch)
	if err != nil {
		return err
	}
	const columns, rows = 18, 6
	found := 0
	var man, others [][]float32
	for i := range columns * rows {
		x, y := float64(i%columns)*106.67, 283+float64(i/columns)*112.7
		tile := crop(sheet, image.Rect(int(x), int(y), int(x)+105, int(y)+108))
		list, err := v.e.faces(v.ctx, tile, faceScore, 5)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			continue
		}
		found++
		vector, err := v.e.embed(v.ctx, tile, list[0])
		if err != nil {
			return err
		}
		switch {
		case i < columns:
			man = append(man, vector)
		case i >= 3*columns:
			others = append(others, vector)
		}
	}
	group, err := v.photo(photoFaces)
	if err != nil {
		return err
	}
	// Five portraits in a row: a man, who is left out here, and four women.
	portraits, women := 0, [][]float32{}
	for i := range 5 {
		tile := crop(group, image.Rect(6+157*i, 344, 6+157*i+152, 498))
		list, err := v.e.faces(v.ctx, tile, faceScore, 5)
		if err != nil {
			return err
		}
		if len(list) == 1 {
			portraits++
		}
		if i == 0 || len(list) == 0 {
			continue
		}
		vector, err := v.e.embed(v.ctx, tile, list[0])
		if err != nil {
			return err
		}
		women = append(women, vector)
	}
	var same, different []float64
	for i, a := range women {
		for _, b := range slices.Concat(women[i+1:], man) {
			different = append(different, cosine(a, b))
		}
	}
	for i, a := range man {
		for _, b := range man[i+1:] {
			same = append(same, cosine(a, b))
		}
		for _, b := range others {
			different = append(different, cosine(a, b))
		}
	}
	accepted := share(same, func(s float64) bool { return s >= sameFace })
	wrong := share(different, func(s float64) bool { return s >= sameFace })
	portrait := crop(sheet, image.Rect(0, 283, 105, 391))
	ms, err := v.timed(func() error { _, _, _, err := v.e.subject(v.ctx, portrait, ""); return err })
	if err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineFaces, Model: modelFaces, Version: "0.0.1", Task: "face verification", Samples: len(same) + len(different),
		Data: fmt.Sprintf("portraits in @vladmandic/human 3.3.6: %d found of 108; %d pairs of one man, %d pairs of two people", found, len(same), len(different)),
		Figures: []engine.Figure{
			{Name: "accuracy", Value: (accepted*float64(len(same)) + (1-wrong)*float64(len(different))) / float64(len(same)+len(different)), Floor: 0.97},
			{Name: "same person accepted", Value: accepted, Floor: 0.9}, {Name: "two people told apart", Value: 1 - wrong, Floor: 0.98},
			{Name: "mean score of one person", Value: mean(same)}, {Name: "mean score of two people", Value: mean(different)},
			{Name: "highest score of two people", Value: slices.Max(different)},
			speed(ms, "finding and embedding one face"),
		}, Note: fmt.Sprintf("two faces count as one person from a score of %g on; the portraits are small, and most of them dim", sameFace)})
	if ms, err = v.timed(func() error { _, err := v.e.faces(v.ctx, group, faceScore, 50); return err }); err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineFaces, Model: modelFaces, Version: "0.0.1", Task: "face detection", Samples: 113,
		Data:    "113 portraits of about 105 and 152 pixels a side in @vladmandic/human 3.3.6, each with one face",
		Figures: []engine.Figure{{Name: "recall", Value: float64(found+portraits) / 113, Floor: 0.95}, speed(ms, "a picture of 800 × 718")}})
	return nil
}

func share(list []float64, yes func(float64) bool) float64 {
	n := 0
	for _, v := range list {
		if yes(v) {
			n++
		}
	}
	return float64(n) / float64(max(len(list), 1))
}

func mean(list []float64) float64 {
	sum := 0.0
	for _, v := range list {
		sum += v
	}
	return sum / float64(max(len(list), 1))
}

// scenes are photographs with what a person sees in them, of COCO's classes.
func (v *evaluation) scenes() (pictures []*image.NRGBA, shows [][]string, err error) {
	samples, err := v.photo(photoSamples)
	if err != nil {
		return nil, nil, err
	}
	faces, err := v.photo(photoFaces)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range []struct {
		x0, y0, x1, y1 int
		shows          string
	}{
		{0, 0, 158, 158, "person"}, {166, 0, 317, 158, "person,chair"},
		{326, 0, 537, 158, "person,cup,wine glass,dining table,bowl,tie,fork,knife,chair,bottle"},
		{545, 0, 633, 158, "person,cell phone,bottle"}, {642, 0, 789, 158, "person"}, {797, 0, 903, 158, "person,chair,potted plant"},
		{911, 0, 1122, 158, "person,handbag,wine glass"}, {1130, 0, 1280, 158, "person,tie,handbag,chair,dining table"},
		{0, 196, 1280, 1158, "person,handbag,wine glass,cup,tie"},
	} {
		pictures, shows = append(pictures, crop(samples, image.Rect(s.x0, s.y0, s.x1, s.y1))), append(shows, strings.Split(s.shows, ","))
	}
	for i := range 5 {
		pictures, shows = append(pictures, crop(faces, image.Rect(8+157*i, 346, 8+157*i+148, 496))), append(shows, []string{"person", "tie"})
	}
	return pictures, shows, nil
}

func (v *evaluation) objects() error {
	pictures, shows, err := v.scenes()
	if err != nil {
		return err
	}
	people, right, all := 0, 0, 0
	first := 0
	for i, m := range pictures {
		list, err := v.e.detect(v.ctx, m, 0.3, 50)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(f found) bool { return f.class == 0 }) {
			people++
		}
		for _, f := range list {
			all++
			if slices.Contains(shows[i], cocoLabels()[f.class]) {
				right++
			}
		}
		scores, err := v.e.present(v.ctx, m)
		if err != nil {
			return err
		}
		if slices.Contains(shows[i], top(cocoLabels(), scores, 1)[0].Label) {
			first++
		}
	}
	n := float64(len(pictures))
	ms, err := v.timed(func() error { _, err := v.e.detect(v.ctx, pictures[len(pictures)-1], 0.3, 50); return err })
	if err != nil {
		return err
	}
	data := "14 photographs of people in @vladmandic/human 3.3.6, labelled by eye"
	note := "few photographs, and all of people: nothing was measured for the other 79 classes"
	v.report(engine.Report{Engine: engineCenterNet, Model: modelCOCO, Version: "3.3.6", Task: "object detection", Samples: len(pictures), Data: data, Note: note,
		Figures: []engine.Figure{
			{Name: "pictures in which a person is found", Value: float64(people) / n, Floor: 0.9},
			{Name: "things that are there, of those found", Value: float64(right) / float64(max(all, 1)), Floor: 0.9}, speed(ms, "one picture"),
		}})
	v.report(engine.Report{Engine: engineCenterNet, Model: modelCOCO, Version: "3.3.6", Task: "image classification", Samples: len(pictures), Data: data, Note: note,
		Figures: []engine.Figure{{Name: "first class is shown", Value: float64(first) / n, Floor: 0.9}, speed(ms, "one picture")}})
	return nil
}

func (v *evaluation) safety() error {
	pictures, _, err := v.scenes()
	if err != nil {
		return err
	}
	quiet := 0
	for _, m := range pictures {
		s, err := v.e.safety(v.ctx, m)
		if err != nil {
			return err
		}
		if s[1]+s[3] < 0.5 {
			quiet++
		}
	}
	ms, err := v.timed(func() error { _, err := v.e.safety(v.ctx, pictures[0]); return err })
	if err != nil {
		return err
	}
	v.report(engine.Report{Engine: engineSafety, Model: modelSafety, Version: "4.3.0", Task: "image safety", Samples: len(pictures),
		Data: "14 photographs of dressed people in @vladmandic/human 3.3.6", Note: "tells false alarms alone; how many unsafe pictures are found was not measured, for want of such pictures",
		Figures: []engine.Figure{{Name: "harmless pictures not flagged", Value: float64(quiet) / float64(len(pictures)), Floor: 0.9}, speed(ms, "one picture")}})
	return nil
}
