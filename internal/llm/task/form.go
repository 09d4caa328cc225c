package task

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxFormParts bounds the parts of a form.
const maxFormParts = 512

// formJSON makes the JSON object that a multipart form stands for: files in base64, values that are JSON numbers,
// booleans, lists or objects as such, all others as strings; several values of a name are a list.
func formJSON(contentType string, body []byte) ([]byte, error) {
	bad := func(err error) error {
		return problem.New(problem.Invalid, "llm.task_form", "the multipart body cannot be read; check its boundary and that it is complete").Because(err)
	}
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, bad(err)
	}
	fields := map[string][]json.RawMessage{}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for n := 0; ; n++ {
		p, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return marshal(fieldsOf(fields)), nil
		}
		if err != nil || n >= maxFormParts {
			return nil, bad(err)
		}
		data, err := io.ReadAll(p)
		if err != nil {
			return nil, bad(err)
		}
		value := marshal(string(data))
		switch {
		case p.FileName() != "":
			value = marshal(base64.StdEncoding.EncodeToString(data))
		case len(data) > 0 && bytes.IndexByte([]byte("-0123456789tf[{"), data[0]) >= 0 && json.Valid(data):
			value = data
		}
		fields[p.FormName()] = append(fields[p.FormName()], value)
	}
}

// fieldsOf has a list where a form has a field more than once.
func fieldsOf(fields map[string][]json.RawMessage) map[string]any {
	o := map[string]any{}
	for name, values := range fields {
		if o[name] = values; len(values) == 1 {
			o[name] = values[0]
		}
	}
	return o
}
