package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of a request for vectors, as in the OpenAI API.
const (
	MaxInputs     = 2048
	maxDimensions = 1 << 16
)

// Embeddings is a request for vectors of texts, for a server that makes them itself.
type Embeddings struct {
	Model      string
	Inputs     []string
	Dimensions int // asked for; 0 for none
	Base64     bool
}

// ParseEmbeddings reads and checks a request. The error is a *problem.Error of kind Invalid.
func ParseEmbeddings(body []byte) (*Embeddings, error) {
	var s Scan
	if err := ScanEmbeddings(body, &s); err != nil {
		return nil, err
	}
	var b struct {
		Dimensions *int   `json:"dimensions"`
		Format     string `json:"encoding_format"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, WrongType(err)
	}
	e := &Embeddings{Model: string(s.Name)}
	input := s.Input.Of(body)
	var one string
	if json.Unmarshal(input, &one) == nil {
		e.Inputs = []string{one}
	} else if json.Unmarshal(input, &e.Inputs) != nil {
		return nil, problem.New(problem.Invalid, "llm.token_ids", "this model embeds texts, not token ids").WithField("input", "must be text")
	}
	if len(e.Inputs) > MaxInputs {
		return nil, problem.New(problem.Invalid, "llm.too_many_inputs", "at most %d texts can be embedded at once", MaxInputs).
			WithField("input", "at most %d", MaxInputs)
	}
	for i, s := range e.Inputs {
		if strings.TrimSpace(s) == "" {
			return nil, problem.New(problem.Invalid, "llm.empty_input", "the input is empty, or one of its texts is: number %d; send what is to be embedded", i+1).WithField("input", "is empty")
		}
	}
	if b.Dimensions != nil {
		if e.Dimensions = *b.Dimensions; e.Dimensions < 1 || e.Dimensions > maxDimensions {
			return nil, problem.New(problem.Invalid, "llm.field_range", "%s must be between 1 and %d", "dimensions", maxDimensions).
				WithField("dimensions", "must be between 1 and %d", maxDimensions)
		}
	}
	switch b.Format {
	case "", "float":
	case "base64":
		e.Base64 = true
	default:
		return nil, problem.New(problem.Invalid, "llm.encoding_format", "encoding_format must be float or base64").
			WithField("encoding_format", "must be float or base64")
	}
	return e, nil
}

// WrongType is the refusal of a body of which json.Unmarshal told err: it names the field that did not fit.
func WrongType(err error) error {
	field := "?"
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) && t.Field != "" {
		field = t.Field
	}
	return problem.New(problem.Invalid, "llm.type_field", "the field %q has the wrong type", field).WithField(field, "has the wrong type").Because(err)
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
}

// Answer renders the vectors of the request's inputs, in their order. engine names what made them; tokens is the usage.
func (e *Embeddings) Answer(engine string, vectors [][]float32, tokens int) ([]byte, error) {
	var a struct {
		Object string      `json:"object"`
		Data   []embedding `json:"data"`
		Model  string      `json:"model"`
		Engine string      `json:"engine"`
		Usage  struct {
			Prompt int `json:"prompt_tokens"`
			Total  int `json:"total_tokens"`
		} `json:"usage"`
	}
	a.Object, a.Model, a.Engine, a.Data = "list", e.Model, engine, make([]embedding, len(vectors))
	for i, v := range vectors {
		a.Data[i] = embedding{Object: "embedding", Index: i, Embedding: v}
		if e.Base64 {
			a.Data[i].Embedding = packed(v)
		}
	}
	a.Usage.Prompt = max(tokens, 1)
	a.Usage.Total = a.Usage.Prompt
	return json.Marshal(a)
}

// packed is a vector as the dialect packs it: little-endian float32 in base64.
func packed(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
