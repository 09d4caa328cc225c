package text

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Writer takes an answer in the form that an upstream would give it. Header comes first, once.
type Writer interface {
	Header(status int, contentType string)
	Write(p []byte) error
}

// ServeEmbeddings answers the body of an embeddings request of the OpenAI dialect. What the caller did wrong is the error, a
// *problem.Error, before anything is written.
func (e *Engine) ServeEmbeddings(ctx context.Context, body []byte, w Writer) error {
	answer, err := e.embeddings(ctx, body)
	if err != nil {
		return err
	}
	w.Header(200, "application/json")
	return w.Write(answer)
}

func (e *Engine) embeddings(ctx context.Context, body []byte) ([]byte, error) {
	r, err := openai.ParseEmbeddings(body)
	if err != nil {
		return nil, err
	}
	if r.Dimensions != 0 && r.Dimensions != Dimensions {
		return nil, problem.New(problem.Invalid, "text.dimensions", "this model's vectors have %d dimensions; leave the field out", Dimensions).
			WithField("dimensions", "must be %d", Dimensions)
	}
	done, err := e.work.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	vectors, parts, err := e.vectors.embed(ctx, r.Inputs)
	if err != nil {
		return nil, err
	}
	tokens := 0
	for _, s := range r.Inputs {
		tokens += e.vectors.Tokens(s)
	}
	by := madeBy(parts)
	return r.Answer(by.Engine+": "+by.Model, vectors, tokens)
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
