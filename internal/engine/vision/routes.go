package vision

import (
	_ "embed"
	"encoding/json"
	"net/http"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Bodies: an image in base64 with what belongs to it; two; a person's.
const (
	oneImage   = 15 << 20
	twoImages  = 29 << 20
	manyImages = 40 << 20
)

// Routes are the operations of this engine.
func Routes() []engine.Route {
	image := func(name, path, result string, max int64, public bool) engine.Route {
		rt := engine.Route{Name: "vision." + name, Method: http.MethodPost, Pattern: "/v1/vision/" + path,
			Capability: engine.Vision, Meter: engine.Images, MaxBody: max, Public: public, Result: result}
		if result == "image" {
			rt.Media = []string{"image/"}
		}
		return rt
	}
	manage := func(name, method, path string) engine.Route {
		return engine.Route{Name: "vision.galleries." + name, Method: method, Pattern: "/v1/vision/galleries" + path, Capability: engine.Vision}
	}
	verify := image("faces.verify", "faces/verify", "same", twoImages, false)
	verify.Measure = func(*engine.Request) (engine.Quantity, error) { return engine.Units(2), nil }
	enrol := image("galleries.persons.create", "galleries/{gallery}/persons", "id", manyImages, false)
	enrol.Measure = measureEnrol
	return []engine.Route{
		image("classify", "classify", "classes", oneImage, true),
		image("detect", "detect", "objects", oneImage, true),
		image("ocr", "ocr", "text", oneImage, true),
		image("moderate", "moderate", "flagged", oneImage, true),
		image("enhance", "enhance", "image", oneImage, true),
		image("denoise", "denoise", "image", oneImage, true),
		image("restore", "restore", "image", twoImages, true),
		image("faces.detect", "faces/detect", "faces", oneImage, false),
		verify,
		manage("list", http.MethodGet, ""),
		manage("create", http.MethodPost, ""),
		manage("get", http.MethodGet, "/{gallery}"),
		manage("delete", http.MethodDelete, "/{gallery}"),
		enrol,
		manage("persons.list", http.MethodGet, "/{gallery}/persons"),
		manage("persons.get", http.MethodGet, "/{gallery}/persons/{person}"),
		manage("persons.delete", http.MethodDelete, "/{gallery}/persons/{person}"),
		image("galleries.search", "galleries/{gallery}/search", "matches", oneImage, false),
		{Name: "vision.engines", Method: http.MethodGet, Pattern: "/v1/vision/engines", Capability: engine.Vision, Public: true},
		{Name: "images.generations", Method: http.MethodPost, Pattern: "/v1/images/generations", Capability: engine.ImageGen,
			Meter: engine.Images, Measure: measureGenerate, Style: engine.OpenAI, Result: "data"},
	}
}

//go:embed contract.json
var contract []byte

// Contract is the OpenAPI 3.1 document of [Routes].
func Contract() []byte { return contract }

// measureEnrol counts a person's images.
func measureEnrol(r *engine.Request) (engine.Quantity, error) {
	in, err := read(r)
	if err != nil {
		return 0, err
	}
	return engine.Units(max(in.images(), 1)), nil
}

// images is how many images a person's body has, without decoding them.
func (in *input) images() int {
	if in.form != nil {
		return len(in.form.Files["image"]) + len(in.form.Files["images"])
	}
	var list []json.RawMessage
	if json.Unmarshal(in.json["images"], &list) != nil {
		list = nil
	}
	if in.has("image") {
		return len(list) + 1
	}
	return len(list)
}

// generation is what OpenAI's images/generations takes, as far as it is looked at here.
type generation struct {
	Prompt string `json:"prompt"`
	N      *int   `json:"n"`
}

const maxPrompt = 32_000

func readGeneration(r *engine.Request) (generation, error) {
	var g generation
	if err := engine.Decode(r.Body, &g); err != nil {
		return g, err
	}
	switch {
	case g.Prompt == "":
		return g, engine.Invalid("prompt", "is missing")
	case len(g.Prompt) > maxPrompt:
		return g, problem.New(problem.TooLarge, "vision.long_prompt", "the prompt is too long: at most %d bytes", maxPrompt)
	case g.N != nil && (*g.N < 1 || *g.N > 10):
		return g, engine.Invalid("n", "must be from 1 to 10")
	}
	return g, nil
}

func measureGenerate(r *engine.Request) (engine.Quantity, error) {
	g, err := readGeneration(r)
	if err != nil {
		return 0, err
	}
	if g.N != nil {
		return engine.Units(*g.N), nil
	}
	return engine.Units(1), nil
}
