// Package sandbox is the model that the demo answers with when no other upstream is given: it finds
// the section of the product's own manual that fits a question, in English or Chinese, and quotes
// it. It is no language model, and every answer says so and names the section.
//
// It speaks the OpenAI dialect on bytes, without HTTP, and is reached in process as the upstream
// builtin://sandbox. What a caller did wrong is answered as an upstream would, with status and error
// object; the returned error is only for a caller that is gone.
//
// Semantics that a caller may rely on:
//   - Retrieval is BM25 over the manual's sections; Chinese is segmented into bigrams. The same
//     question always gets the same answer.
//   - Usage follows its own rule, see [Pieces]. max_tokens, stop and stream_options work as documented
//     by OpenAI; n must be 1.
//   - Tools are never called: a request that leaves the choice to the model is answered in text, one
//     that demands a call is refused. So are response formats other than text, and image, audio or file
//     parts, since an answer that ignored them would be a pretence.
//   - Embeddings are hashed n-grams (see [Vector]), labelled as such in the answer.
//
// An Engine is safe for concurrent use and holds nothing between calls.
package sandbox

import (
	"context"
	"encoding/json"
	"io/fs"
	"sync"

	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Writer takes an answer. Header comes first, once; each Write is to reach the reader at once.
type Writer interface {
	Header(status int, contentType string)
	Write(p []byte) error
}

// Engine answers from a manual.
type Engine struct {
	index func() (*index, error) // built on first use
}

// New makes an engine that answers from the Markdown files of manual: one folder for each of the
// languages "en" and "zh". The files are read on the first question.
func New(manual fs.FS) (*Engine, error) {
	for _, lang := range []string{english, chinese} {
		if _, err := fs.ReadDir(manual, lang); err != nil {
			return nil, err
		}
	}
	return &Engine{index: sync.OnceValues(func() (*index, error) { return readManual(manual) })}, nil
}

// ServeChat answers the body of a chat completion request.
func (e *Engine) ServeChat(ctx context.Context, body []byte, w Writer) error {
	q, err := parseChat(body)
	if err != nil {
		return refuse(w, err, q.lang)
	}
	ix, err := e.index()
	if err != nil {
		return refuse(w, err, q.lang)
	}
	a := compose(ix, q)
	if q.stream {
		return a.stream(ctx, w)
	}
	return a.whole(ctx, w)
}

// ServeEmbeddings answers the body of an embeddings request.
func (e *Engine) ServeEmbeddings(ctx context.Context, body []byte, w Writer) error {
	data, err := embeddings(body)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return sendJSON(w, data)
}

func answer(w Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return sendJSON(w, data)
}

func sendJSON(w Writer, data []byte) error {
	w.Header(200, "application/json")
	return w.Write(data)
}

func refuse(w Writer, err error, lang string) error {
	e := problem.As(err)
	w.Header(e.Kind.Status(), "application/json")
	return w.Write(openai.AppendError(nil, e, lang, ""))
}
