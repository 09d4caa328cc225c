package fakeupstream

import (
	"encoding/json"
	"net/http"
	"strings"
)

// tensor is a tensor of the open inference protocol, in JSON.
type tensor struct {
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Datatype string `json:"datatype"`
	Data     []any  `json:"data"`
}

// inferModel is the model in /v2/models/MODEL/infer, "" for another path.
func inferModel(path string) string {
	rest, ok := strings.CutPrefix(path, "/v2/models/")
	model, ok2 := strings.CutSuffix(rest, "/infer")
	if !ok || !ok2 || strings.Contains(model, "/") {
		return ""
	}
	return model
}

// about answers the questions that an inference server must answer: is it alive and ready, and what a model is.
func (s *Server) about(w http.ResponseWriter, path string) {
	switch name, isModel := strings.CutPrefix(path, "/v2/models/"); {
	case path == "/v2/health/live", path == "/v2/health/ready", isModel && strings.HasSuffix(name, "/ready"):
		w.WriteHeader(http.StatusOK)
	case isModel && !strings.Contains(name, "/"):
		reply(w, map[string]any{"name": name, "versions": []string{"1"}, "platform": "fake",
			"inputs": []any{map[string]any{"name": "text", "datatype": "BYTES", "shape": []int{-1, 1}}}, "outputs": []any{}})
	default:
		errorText(w, 404, "not found", "")
	}
}

// infer answers POST /v2/models/MODEL/infer. The parameter "operation" says what is asked of the model; the elements
// of the first input are what it is asked for.
func (s *Server) infer(w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(r)
	if err != nil {
		return false
	}
	model := inferModel(r.URL.Path)
	spec, done := s.begin(w, r, model, body, errorText)
	if spec == nil {
		return done
	}
	var in struct {
		ID         string         `json:"id"`
		Parameters map[string]any `json:"parameters"`
		Inputs     []tensor       `json:"inputs"`
	}
	if err := json.Unmarshal(body, &in); err != nil || len(in.Inputs) == 0 {
		errorText(w, 400, "inputs are required", "")
		return true
	}
	var texts []string
	size := 1
	for _, n := range in.Inputs[0].Shape {
		size *= n
	}
	for _, e := range in.Inputs[0].Data {
		if t, ok := e.(string); ok {
			texts = append(texts, t)
		}
	}
	if in.Inputs[0].Datatype != "BYTES" || len(texts) != size || len(in.Inputs[0].Data) != size {
		errorText(w, 400, "input '"+in.Inputs[0].Name+"' must have as many BYTES elements as its shape says", "")
		return true
	}
	param := func(name string) string { p, _ := in.Parameters[name].(string); return p }
	reply(w, map[string]any{"model_name": model, "model_version": "1", "id": in.ID, "outputs": outputs(spec, param, texts)})
	return true
}

// outputs are the tensors that answer an operation.
func outputs(spec *Spec, param func(string) string, texts []string) []tensor {
	n := len(texts)
	bytes := func(name string, f func(text string) string) tensor {
		t := tensor{name, []int{n, 1}, "BYTES", nil}
		for _, text := range texts {
			t.Data = append(t.Data, f(text))
		}
		return t
	}
	var labels []string
	_ = json.Unmarshal([]byte(param("labels")), &labels) // none: the model's own
	if len(labels) == 0 {
		labels = []string{"positive", "neutral", "negative"}
	}
	switch op := param("operation"); op {
	case "translate":
		return []tensor{bytes("translation", func(t string) string { return inTongue(spec, param("target"), t) })}
	case "text.classify", "text.sentiment", "vision.classify":
		scores := tensor{"scores", []int{n, len(labels)}, "FP32", nil}
		for range texts {
			for i := range labels {
				scores.Data = append(scores.Data, map[bool]float64{true: 0.9, false: 0.1 / float64(max(len(labels)-1, 1))}[i == 0])
			}
		}
		names := tensor{"labels", []int{len(labels)}, "BYTES", nil}
		for _, l := range labels {
			names.Data = append(names.Data, l)
		}
		return []tensor{scores, names}
	case "text.language":
		return []tensor{bytes("label", func(string) string { return orElse(spec.Say, "en") }), {"confidence", []int{n, 1}, "FP32", repeat(0.97, n)}}
	case "vision.detect":
		return []tensor{{"boxes", []int{1, 4}, "FP32", []any{0.1, 0.2, 0.5, 0.6}}, {"label", []int{1}, "BYTES", []any{"cat"}}, {"confidence", []int{1}, "FP32", []any{0.88}}}
	default: // one text for each: a summary, what is written in a picture, JSON
		return []tensor{bytes("text", func(t string) string { return orElse(spec.Say, t) })}
	}
}

func repeat(v any, n int) []any {
	all := make([]any, n)
	for i := range all {
		all[i] = v
	}
	return all
}
