package vision

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// size tells an answer's picture: the places in the answer are in its pixels.
type size struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Format string `json:"format"`
}

func sizeOf(p *Picture) size { return size{p.Info.Width, p.Info.Height, p.Info.Format} }

// lookMemory is what a model's call holds beside the picture: its inputs and outputs.
const lookMemory = 48 << 20

// picture reads the image in a field and waits for room for it; extra is what the call needs beside it, by the
// size of the picture. leave must be called when the call is done with it.
func (e *Engine) picture(ctx context.Context, in *input, field string, extra func(Info) (int64, error)) (p *Picture, leave func(), err error) {
	data, ok, err := in.file(field)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return nil, nil, missingImage(field)
	}
	list, leave, err := e.pictures(ctx, [][]byte{data}, extra)
	if err != nil {
		return nil, nil, err
	}
	return list[0], leave, nil
}

func missingImage(field string) error {
	return problem.New(problem.Invalid, "vision.no_image", "the field %q is missing: send the image as base64 or a data: URL in JSON, or as a file of a multipart form", field).
		WithField(field, "is missing")
}

// pictures reads several images.
func (e *Engine) pictures(ctx context.Context, files [][]byte, extra func(Info) (int64, error)) (list []*Picture, leave func(), err error) {
	memory := int64(0)
	for _, data := range files {
		info, err := Header(data)
		if err != nil {
			return nil, nil, err
		}
		more, err := extra(info)
		if err != nil {
			return nil, nil, err
		}
		memory += info.memory + more
	}
	leave, err = e.gate.enter(ctx, memory)
	if err != nil {
		return nil, nil, err
	}
	for _, data := range files {
		p, err := Decode(data)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			leave()
			return nil, nil, err
		}
		list = append(list, p)
	}
	return list, leave, nil
}

// The least sides of a picture, in pixels, of which a model can say anything: below, it names what is not there. Text is read
// line by line, and a line may be low.
const (
	leastSeen = 16
	leastRead = 8
)

func (i Info) atLeast(side int) error {
	if i.Width >= side && i.Height >= side {
		return nil
	}
	return problem.New(problem.Unprocessable, "vision.too_small", "the image has %d × %d pixels; with fewer than %d on a side nothing can be seen in it", i.Width, i.Height, side)
}

func looking(i Info) (int64, error) { return lookMemory, i.atLeast(leastSeen) }

func (e *Engine) serveDetect(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	least, err := in.number("min_confidence", 0.05, 1, 0.3)
	if err != nil {
		return err
	}
	most, err := in.integer("max", 1, 100, 50)
	if err != nil {
		return err
	}
	labels, err := in.list("labels")
	if err != nil {
		return err
	}
	for _, l := range labels {
		if !slices.Contains(cocoLabels(), l) {
			return problem.New(problem.Unprocessable, "vision.unknown_label", "the detector has no class %q; it knows the 80 classes of COCO", clip(l)).WithField("labels", "is not a class of COCO")
		}
	}
	if err := e.need(nameDetector, fileDetect); err != nil {
		return err
	}
	p, leave, err := e.picture(ctx, in, "image", looking)
	if err != nil {
		return err
	}
	defer leave()
	list, err := e.detect(ctx, p.NRGBA, least, 100)
	if err != nil {
		return err
	}
	type object struct {
		scored
		Box Box `json:"box"`
	}
	objects := []object{}
	for _, f := range list {
		label := cocoLabels()[f.class]
		if len(objects) < most && (len(labels) == 0 || slices.Contains(labels, label)) {
			objects = append(objects, object{scored{label, round3(f.score)}, f.box.public()})
		}
	}
	return engine.WriteJSON(w, 200, struct {
		Engine  string   `json:"engine"`
		Model   string   `json:"model"`
		Labels  string   `json:"labels"`
		Objects []object `json:"objects"`
		Image   size     `json:"image"`
	}{engineCenterNet, modelCOCO, modelCOCO, objects, sizeOf(p)})
}

// clip keeps a caller's text short in an answer.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func (e *Engine) serveModerate(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	least, err := in.number("threshold", 0.05, 1, 0.5)
	if err != nil {
		return err
	}
	if err := e.need("nsfwjs", fileSafety); err != nil {
		return err
	}
	p, leave, err := e.picture(ctx, in, "image", looking)
	if err != nil {
		return err
	}
	defer leave()
	scores, err := e.safety(ctx, p.NRGBA)
	if err != nil {
		return err
	}
	classes := top(safetyLabels(), scores, len(scores))
	unsafe := float64(scores[1] + scores[3]) // hentai, porn
	return engine.WriteJSON(w, 200, struct {
		Engine     string   `json:"engine"`
		Model      string   `json:"model"`
		Flagged    bool     `json:"flagged"`
		Unsafe     float64  `json:"unsafe"`
		Confidence float64  `json:"confidence"`
		Classes    []scored `json:"classes"`
		Image      size     `json:"image"`
	}{engineSafety, modelSafety, unsafe >= least, round3(unsafe), classes[0].Confidence, classes, sizeOf(p)})
}

// faceAnswer is a face as an answer has it.
type faceAnswer struct {
	Box        Box            `json:"box"`
	Confidence float64        `json:"confidence"`
	Landmarks  map[string]xyz `json:"landmarks"`
}

type xyz struct {
	X int `json:"x"`
	Y int `json:"y"`
}

func (f face) public() faceAnswer {
	names := [5]string{"left_eye", "right_eye", "nose", "mouth_left", "mouth_right"}
	a := faceAnswer{f.box.public(), round3(f.score), map[string]xyz{}}
	for i, p := range f.points {
		a.Landmarks[names[i]] = xyz{int(math.Round(p.x)), int(math.Round(p.y))}
	}
	return a
}

// faceScore is the detector's score from which something is a face, unless the caller asks for another.
const faceScore = 0.65

func (e *Engine) needFaces() error {
	return e.need("faceplugin", fileFaces, fileLandmarks, fileEmbed)
}

func (e *Engine) serveFaces(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	least, err := in.number("min_confidence", 0.3, 1, faceScore)
	if err != nil {
		return err
	}
	most, err := in.integer("max", 1, 100, 50)
	if err != nil {
		return err
	}
	if err := e.needFaces(); err != nil {
		return err
	}
	p, leave, err := e.picture(ctx, in, "image", looking)
	if err != nil {
		return err
	}
	defer leave()
	list, err := e.faces(ctx, p.NRGBA, least, most)
	if err != nil {
		return err
	}
	faces := []faceAnswer{}
	for _, f := range list {
		faces = append(faces, f.public())
	}
	return engine.WriteJSON(w, 200, struct {
		Engine string       `json:"engine"`
		Model  string       `json:"model"`
		Faces  []faceAnswer `json:"faces"`
		Image  size         `json:"image"`
	}{engineFaces, modelFaces, faces, sizeOf(p)})
}

// minFace is the least side of a face, in pixels, by which people can be told apart: what the embedder looks at is 112, and
// faces of 25 have been seen to be taken for others.
const minFace = 32

// subject is the largest face of a picture with its vector, and how many faces there are.
func (e *Engine) subject(ctx context.Context, m *image.NRGBA, field string) (face, []float32, int, error) {
	list, err := e.faces(ctx, m, faceScore, 50)
	if err != nil {
		return face{}, nil, 0, err
	}
	if len(list) == 0 {
		return face{}, nil, 0, problem.New(problem.Unprocessable, "vision.no_face", "no face is found in the image %q", field).WithField(field, "shows no face")
	}
	best := slices.MaxFunc(list, func(a, b face) int { return cmp.Compare(a.box.area(), b.box.area()) })
	if side := int(min(best.box.x1-best.box.x0, best.box.y1-best.box.y0)); side < minFace {
		return face{}, nil, 0, problem.New(problem.Unprocessable, "vision.small_face", "the largest face in the image %q has %d pixels a side; to tell people apart it must have %d: send a closer or larger image",
			field, side, minFace).WithField(field, "shows too small a face")
	}
	v, err := e.embed(ctx, m, best)
	return best, v, len(list), err
}

func (e *Engine) serveVerify(ctx context.Context, r *engine.Request, w engine.Writer) error {
	in, err := read(r)
	if err != nil {
		return err
	}
	threshold, err := in.number("threshold", 0, 1, sameFace)
	if err != nil {
		return err
	}
	var files [][]byte
	for _, field := range []string{"image", "reference"} {
		data, ok, err := in.file(field)
		if err != nil {
			return err
		}
		if !ok {
			return missingImage(field)
		}
		files = append(files, data)
	}
	if err := e.needFaces(); err != nil {
		return err
	}
	pictures, leave, err := e.pictures(ctx, files, looking)
	if err != nil {
		return err
	}
	defer leave()
	var faces [2]faceAnswer
	var vectors [2][]float32
	for i, field := range []string{"image", "reference"} {
		f, v, _, err := e.subject(ctx, pictures[i].NRGBA, field)
		if err != nil {
			return err
		}
		faces[i], vectors[i] = f.public(), v
	}
	score := cosine(vectors[0], vectors[1])
	return engine.WriteJSON(w, 200, struct {
		Engine     string     `json:"engine"`
		Model      string     `json:"model"`
		Same       bool       `json:"same"`
		Score      float64    `json:"score"`
		Threshold  float64    `json:"threshold"`
		Confidence float64    `json:"confidence"`
		Image      faceAnswer `json:"image"`
		Reference  faceAnswer `json:"reference"`
	}{engineFaces, modelFaces, score >= threshold, round3(score), threshold, round3(certainty(score - threshold + sameFace)), faces[0], faces[1]})
}

func (e *Engine) serveEngines(_ context.Context, _ *engine.Request, w engine.Writer) error {
	return engine.WriteJSON(w, 200, struct {
		Engines []engine.Info `json:"engines"`
	}{e.Describe()})
}

func (e *Engine) serveGenerate(_ context.Context, r *engine.Request, _ engine.Writer) error {
	if _, err := readGeneration(r); err != nil {
		return err
	}
	return engine.NeedsUpstream("making images from text")
}
