package engine

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Form is a multipart/form-data or application/x-www-form-urlencoded body.
type Form struct {
	Values map[string][]string
	Files  map[string][]File
}

// File is a part of a form with a file name. Data is good while the request is.
type File struct {
	Name string
	Type string
	Data []byte
}

// Value is the first value of a field, or "".
func (f *Form) Value(name string) string {
	if v := f.Values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// maxParts bounds the parts of a form.
const maxParts = 256

// ParseForm reads a multipart body, which the gateway has bounded in size.
func ParseForm(contentType string, body []byte) (*Form, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, problem.New(problem.Invalid, "engine.not_multipart", "send the file as multipart/form-data")
	}
	f := &Form{map[string][]string{}, map[string][]File{}}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return f, nil
		}
		if err != nil || n >= maxParts {
			return nil, problem.New(problem.Invalid, "engine.bad_multipart", "the multipart body cannot be read; check its boundary and that it is complete").Because(err)
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return nil, problem.New(problem.Invalid, "engine.bad_multipart", "the multipart body cannot be read; check its boundary and that it is complete").Because(err)
		}
		if p.FileName() != "" {
			f.Files[p.FormName()] = append(f.Files[p.FormName()], File{p.FileName(), p.Header.Get("Content-Type"), data})
		} else {
			f.Values[p.FormName()] = append(f.Values[p.FormName()], string(data))
		}
	}
}

// IsMultipart reports whether the content type is multipart/form-data.
func IsMultipart(contentType string) bool {
	return len(contentType) >= 10 && strings.EqualFold(contentType[:10], "multipart/")
}

// maxDepth bounds the nesting of a JSON body.
const maxDepth = 64

// Decode reads a JSON body into v. Unknown fields are ignored, as clients of several vendors' shapes send them; what is
// not JSON, not UTF-8, or nested too deep is refused.
func Decode(body []byte, v any) error {
	switch {
	case len(bytes.TrimSpace(body)) == 0:
		return problem.New(problem.Invalid, "engine.empty_body", "the request has no body; send JSON")
	case !utf8.Valid(body):
		return problem.New(problem.Invalid, "engine.not_utf8", "the request body is not UTF-8")
	case depth(body) > maxDepth:
		return problem.New(problem.Invalid, "engine.too_deep", "the request body is nested too deeply")
	}
	if err := json.Unmarshal(body, v); err != nil {
		var t *json.UnmarshalTypeError
		if errors.As(err, &t) && t.Field != "" {
			field := written(reflect.TypeOf(v), t.Field)
			return problem.New(problem.Invalid, "engine.bad_field", "the field %q cannot be a JSON %s", field, t.Value).WithField(field, "has the wrong type")
		}
		return problem.New(problem.Invalid, "engine.not_json", "the request body is not valid JSON").Because(err)
	}
	return nil
}

// written is the path of a field as it is written in JSON: encoding/json names the embedded structs of Go on the way, too.
func written(t reflect.Type, path string) string {
	var out []string
	for name := range strings.SplitSeq(path, ".") {
		for t != nil && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map) {
			t = t.Elem()
		}
		if t == nil || t.Kind() != reflect.Struct {
			out, t = append(out, name), nil
			continue
		}
		var next reflect.Type
		for i := range t.NumField() {
			f := t.Field(i)
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if cmp.Or(tag, f.Name) != name {
				continue
			}
			if next = f.Type; f.Anonymous && tag == "" {
				name = ""
			}
			break
		}
		if t = next; name != "" {
			out = append(out, name)
		}
	}
	return strings.Join(out, ".")
}

// DecodeStrict is Decode for what is stored rather than answered: a field that the operation does not know is refused, since it would be
// lost without a word.
func DecodeStrict(body []byte, v any) error {
	if err := Decode(body, v); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var field string
	if err := d.Decode(reflect.New(reflect.TypeOf(v).Elem()).Interface()); err != nil {
		if _, quoted, ok := strings.Cut(err.Error(), "unknown field "); ok {
			field = strings.Trim(quoted, `"`)
		}
	}
	if field == "" {
		return nil
	}
	return Invalid(field, "is not a field of this operation; its API reference lists them")
}

// depth is how deep brackets nest outside strings.
func depth(b []byte) (most int) {
	n, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			n++
			most = max(most, n)
		case c == '}' || c == ']':
			n--
		}
	}
	return most
}

// WriteJSON answers with v.
func WriteJSON(w Writer, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Start(status, "application/json")
	return w.Write(append(data, '\n'))
}

// Invalid is a caller's fault in a field.
func Invalid(field, why string) error {
	return problem.New(problem.Invalid, "engine.invalid", "%q: %s", field, why).WithField(field, "%s", why)
}
