package fakeupstream

import (
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

// task is the handler of a call that is neither a chat nor an embedding, nil for no such path.
func (s *Server) task(path string) func(http.ResponseWriter, *http.Request) (done bool) {
	switch path {
	case "/translate":
		return s.flask
	case "/v1/translate":
		return s.translate
	}
	switch strings.TrimPrefix(path, "/v1") {
	case "/audio/transcriptions", "/audio/translations":
		return s.transcribe
	case "/audio/speech":
		return s.speak
	case "/images/generations":
		return s.draw
	}
	if inferModel(path) != "" {
		return s.infer
	}
	return nil
}

// errorText answers with an error as Flask apps and inference servers do: {"error": "text"}.
func errorText(w http.ResponseWriter, status int, message, _ string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": message}) // the caller left
}

// errorProblem answers with an RFC 9457 problem.
func errorProblem(w http.ResponseWriter, status int, message, _ string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": message}) // the caller left
}

// inTongue is how the server translates: the text with the language before it, or what the spec says.
func inTongue(spec *Spec, target, text string) string {
	return orElse(spec.Say, "["+target+"] "+text)
}

// flask answers POST /translate {text, sourceLanguage, targetLanguage} with {translation}. Its behaviour is that of the
// model "flask".
func (s *Server) flask(w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(r)
	if err != nil {
		return false
	}
	spec, done := s.begin(w, r, "flask", body, errorText)
	if spec == nil {
		return done
	}
	var in struct{ Text, SourceLanguage, TargetLanguage *string }
	if json.Unmarshal(body, &in) != nil || in.Text == nil || in.SourceLanguage == nil || in.TargetLanguage == nil {
		errorText(w, 400, "text, sourceLanguage and targetLanguage are required", "")
		return true
	}
	reply(w, map[string]string{"translation": inTongue(spec, *in.TargetLanguage, *in.Text)})
	return true
}

// translate answers the contract POST /v1/translate: a text, or a batch of texts. Its behaviour is that of the model asked
// for, or of "translate".
func (s *Server) translate(w http.ResponseWriter, r *http.Request) bool {
	body, err := readBody(r)
	if err != nil {
		return false
	}
	var in struct {
		Model, Text, Source, Target string
		Texts                       []string
	}
	if json.Unmarshal(body, &in) != nil || in.Target == "" || in.Text == "" && len(in.Texts) == 0 {
		errorProblem(w, 400, "text or texts, and target, are required", "")
		return true
	}
	model := orElse(in.Model, "translate")
	spec, done := s.begin(w, r, model, body, errorProblem)
	if spec == nil {
		return done
	}
	if in.Texts == nil {
		in.Texts = []string{in.Text}
	}
	list, characters := make([]map[string]any, len(in.Texts)), 0
	for i, t := range in.Texts {
		characters += utf8.RuneCountInString(t)
		list[i] = map[string]any{"text": inTongue(spec, in.Target, t), "source": orElse(in.Source, "en"), "engine": "fake", "model": model, "quality": "rules"}
	}
	reply(w, map[string]any{"translations": list, "target": in.Target, "format": "text", "engine": "fake", "model": model, "quality": "rules", "characters": characters})
	return true
}
