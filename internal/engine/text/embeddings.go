package text

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"

	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Writer takes an answer in the form that an upstream would give it. Header comes first, once.
type Writer interface {
	Header(status int, contentType string)
	Write(p []byte) error
}

type embedRequest struct {
	model      string
	inputs     []string
	dimensions int
	base64     bool
}

func parseEmbeddings(body []byte) (*embedRequest, error) {
	var s openai.Scan
	if err := openai.ScanEmbeddings(body, &s); err != nil {
		return nil, err
	}
	var b struct {
		Dimensions *int   `json:"dimensions"`
		Format     string `json:"encoding_format"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, problem.New(problem.Invalid, "text.embed_type", "a field of the embeddings request has the wrong type").Because(err)
	}
	r := &embedRequest{model: string(s.Name), dimensions: Dimensions, base64: b.Format == "base64"}
	input := s.Input.Of(body)
	var one string
	if json.Unmarshal(input, &one) == nil {
		r.inputs = []string{one}
	} else if json.Unmarshal(input, &r.inputs) != nil {
		return nil, problem.New(problem.Invalid, "text.token_ids", "this model embeds text, not token ids").WithField("input", "must be text")
	}
	if len(r.inputs) > MaxInputs {
		return nil, problem.New(problem.Invalid, "text.too_many_inputs", "at most %d texts can be embedded at once", MaxInputs).WithField("input", "has too many texts")
	}
	if b.Dimensions != nil && *b.Dimensions != Dimensions {
		return nil, problem.New(problem.Invalid, "text.dimensions", "this model's vectors have %d dimensions; leave the field out", Dimensions).
			WithField("dimensions", "must be 512")
	}
	if b.Format != "" && b.Format != "float" && b.Format != "base64" {
		return nil, problem.New(problem.Invalid, "text.encoding", "encoding_format must be float or base64").WithField("encoding_format", "must be float or base64")
	}
	return r, nil
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
}

// ServeEmbeddings answers the body of an embeddings request of the OpenAI dialect. What the caller did wrong is answered with
// status and error object; the returned error is only for a caller that is gone.
func (e *Engine) ServeEmbeddings(ctx context.Context, body []byte, w Writer) error {
	answer, err := e.embeddings(ctx, body)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p := problem.As(err)
		w.Header(p.Kind.Status(), "application/json")
		return w.Write(openai.AppendError(nil, p, "en", ""))
	}
	w.Header(200, "application/json")
	return w.Write(answer)
}

func (e *Engine) embeddings(ctx context.Context, body []byte) ([]byte, error) {
	r, err := parseEmbeddings(body)
	if err != nil {
		return nil, err
	}
	done, err := e.work.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	vectors, err := e.vectors.Embed(ctx, r.inputs)
	if err != nil {
		return nil, err
	}
	name, model := e.vectors.Engine()
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
	a.Object, a.Model, a.Engine = "list", r.model, name+": "+model
	for i, v := range vectors {
		x := embedding{Object: "embedding", Index: i, Embedding: v}
		if r.base64 {
			x.Embedding = packed(v)
		}
		a.Data = append(a.Data, x)
		a.Usage.Prompt += e.vectors.Tokens(r.inputs[i])
	}
	a.Usage.Prompt = max(a.Usage.Prompt, 1)
	a.Usage.Total = a.Usage.Prompt
	return json.Marshal(a)
}

// Tokens counts the pieces of a text as the encoder sees them, or its words without the encoder: never more than its bytes.
func (v *Vectors) Tokens(s string) int {
	s = cut(s, maxVectorRunes)
	if use := v.load(); use != nil {
		ids, _ := use.pieces.encode(s)
		return min(len(ids), len(s))
	}
	return min(len(tokens(s)), len(s))
}

// packed is a vector as the dialect packs it: little-endian float32 in base64.
func packed(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
