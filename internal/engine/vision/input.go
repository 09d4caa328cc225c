package vision

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// input is the body of a call: a JSON object, or a multipart form of the same fields.
type input struct {
	json map[string]json.RawMessage
	form *engine.Form
}

func read(r *engine.Request) (*input, error) {
	if engine.IsMultipart(r.Type) {
		f, err := engine.ParseForm(r.Type, r.Body)
		return &input{form: f}, err
	}
	in := &input{}
	if err := engine.Decode(r.Body, &in.json); err != nil {
		return nil, err
	}
	if in.json == nil {
		return nil, problem.New(problem.Invalid, "vision.not_an_object", "the request body must be a JSON object")
	}
	return in, nil
}

// file gives the bytes of the image in a field; ok is false where there is none.
func (in *input) file(name string) (data []byte, ok bool, err error) {
	if in.form != nil {
		if f := in.form.Files[name]; len(f) > 0 {
			return f[0].Data, true, nil
		}
		v := in.form.Value(name)
		if v == "" {
			return nil, false, nil
		}
		data, err = unbase64(name, v)
		return data, true, err
	}
	raw, ok := in.json[name]
	if !ok || string(raw) == "null" {
		return nil, false, nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return nil, true, engine.Invalid(name, "must be a string: base64 or a data: URL")
	}
	data, err = unbase64(name, text)
	return data, true, err
}

// files gives the images of a list: the field name, or each of a form's files of that name.
func (in *input) files(name string) (list [][]byte, err error) {
	if in.form != nil {
		for _, f := range in.form.Files[name] {
			list = append(list, f.Data)
		}
		return list, nil
	}
	raw, ok := in.json[name]
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	var texts []string
	if json.Unmarshal(raw, &texts) != nil {
		return nil, engine.Invalid(name, "must be a list of strings: base64 or data: URLs")
	}
	if len(texts) > maxFaces {
		return nil, engine.Invalid(name, "has too many images: at most "+strconv.Itoa(maxFaces))
	}
	for _, t := range texts {
		data, err := unbase64(name, t)
		if err != nil {
			return nil, err
		}
		list = append(list, data)
	}
	return list, nil
}

// unbase64 reads base64 (standard or URL alphabet, padded or not) or a data: URL of it. An address is
// refused: the server fetches nothing on behalf of a caller.
func unbase64(field, text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if len(text) > 5 && strings.EqualFold(text[:5], "data:") {
		comma := strings.IndexByte(text[:min(len(text), 256)], ',')
		if comma < 0 || !strings.HasSuffix(strings.ToLower(text[:comma]), ";base64") {
			return nil, problem.New(problem.Invalid, "vision.bad_data_url", "the data: URL must be of the form data:image/png;base64,…").WithField(field, "is not base64")
		}
		text = text[comma+1:]
	} else if i := strings.Index(text[:min(len(text), 32)], ":"); i > 0 {
		return nil, problem.New(problem.Invalid, "vision.no_url", "images are not fetched from addresses: send the image itself, as base64, as a data: URL, or as a file of a multipart form").
			WithField(field, "must not be an address")
	}
	if len(text) > MaxBytes/3*4+4<<10 {
		return nil, problem.New(problem.TooLarge, "vision.too_many_bytes", "the image has %d bytes; at most %d are read", len(text)/4*3, MaxBytes)
	}
	if strings.ContainsAny(text, "\r\n\t ") {
		text = strings.NewReplacer("\r", "", "\n", "", "\t", "", " ", "").Replace(text)
	}
	text = strings.TrimRight(text, "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	data, err := enc.DecodeString(text)
	if err != nil {
		return nil, problem.New(problem.Invalid, "vision.bad_base64", "the image is not valid base64").WithField(field, "is not valid base64").Because(err)
	}
	return data, nil
}

// has reports whether a parameter is given.
func (in *input) has(name string) bool {
	if in.form != nil {
		return in.form.Value(name) != ""
	}
	raw, ok := in.json[name]
	return ok && string(raw) != "null"
}

// text is a parameter; "" where it is missing.
func (in *input) text(name string) (s string, err error) {
	if in.form != nil {
		return in.form.Value(name), nil
	}
	if in.has(name) && json.Unmarshal(in.json[name], &s) != nil {
		return "", engine.Invalid(name, "must be a string")
	}
	return s, nil
}

// choice is a parameter that is one of the given words, of which the first is what holds without one.
func (in *input) choice(name string, words ...string) (string, error) {
	s, err := in.text(name)
	if err != nil || s == "" {
		return words[0], err
	}
	for _, w := range words {
		if s == w {
			return w, nil
		}
	}
	if words[0] == "" { // which is to leave it out
		words = words[1:]
	}
	return "", engine.Invalid(name, "must be one of "+strings.Join(words, ", "))
}

// number is a parameter from low to high.
func (in *input) number(name string, low, high, missing float64) (v float64, err error) {
	if !in.has(name) {
		return missing, nil
	}
	if in.form != nil {
		v, err = strconv.ParseFloat(in.form.Value(name), 64)
	} else {
		err = json.Unmarshal(in.json[name], &v)
	}
	// A NaN, which a form may have, fails the comparison.
	if err != nil || !(v >= low && v <= high) {
		return 0, engine.Invalid(name, "must be a number from "+strconv.FormatFloat(low, 'g', -1, 64)+" to "+strconv.FormatFloat(high, 'g', -1, 64))
	}
	return v, nil
}

// integer is a whole number from low to high.
func (in *input) integer(name string, low, high, missing int) (int, error) {
	v, err := in.number(name, float64(low), float64(high), float64(missing))
	if err == nil && v != math.Trunc(v) {
		return 0, engine.Invalid(name, "must be a whole number")
	}
	return int(v), err
}

// list is a parameter of several words; a form has them with commas between.
func (in *input) list(name string) (words []string, err error) {
	if in.form != nil {
		for w := range strings.SplitSeq(in.form.Value(name), ",") {
			if w = strings.TrimSpace(w); w != "" {
				words = append(words, w)
			}
		}
		return words, nil
	}
	if in.has(name) && json.Unmarshal(in.json[name], &words) != nil {
		return nil, engine.Invalid(name, "must be a list of strings")
	}
	return words, nil
}

// object reads a parameter of several fields into v; a form has it as JSON.
func (in *input) object(name string, v any) error {
	if !in.has(name) {
		return nil
	}
	raw := in.json[name]
	if in.form != nil {
		raw = []byte(in.form.Value(name))
	}
	if json.Unmarshal(raw, v) != nil {
		return engine.Invalid(name, "must be an object as the documentation shows it")
	}
	return nil
}
