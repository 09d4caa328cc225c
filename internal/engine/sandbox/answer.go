package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/llm/sse"
)

// reply is an answer ready to be sent.
type reply struct {
	q       question
	id      string
	created int64
	pieces  []string
	finish  string
}

// compose looks the question up and cuts the answer to its limits.
func compose(ix *index, q question) *reply {
	r := &reply{q: q, id: "chatcmpl-" + strings.ToLower(rand.Text()), created: time.Now().Unix(), finish: "stop"}
	text := ix.answer(q.text, q.lang)
	for _, s := range q.stop {
		if i := strings.Index(text, s); s != "" && i >= 0 {
			text = text[:i]
		}
	}
	r.pieces = Pieces(text)
	if q.limit >= 0 && len(r.pieces) > q.limit {
		r.pieces, r.finish = r.pieces[:q.limit], "length"
	}
	return r
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

func (r *reply) usage() *usage {
	return &usage{r.q.input, len(r.pieces), r.q.input + len(r.pieces)}
}

type message struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

type choice struct {
	Index    int      `json:"index"`
	Message  *message `json:"message,omitempty"`
	Delta    *message `json:"delta,omitempty"`
	Logprobs *int     `json:"logprobs"`
	Finish   *string  `json:"finish_reason"`
}

// fingerprint says what answered, in the field that the dialect has for it.
const fingerprint = "tollgate-sandbox-retrieval"

type completion struct {
	ID          string   `json:"id"`
	Object      string   `json:"object"`
	Created     int64    `json:"created"`
	Model       string   `json:"model"`
	Fingerprint string   `json:"system_fingerprint"`
	Choices     []choice `json:"choices"`
	Usage       *usage   `json:"usage"`
}

// chunk is a completion whose usage may be left out.
type chunk struct {
	completion
	Usage *usage `json:"usage,omitempty"`
}

func (r *reply) completion(object string) completion {
	return completion{ID: r.id, Object: object, Created: r.created, Model: r.q.model, Fingerprint: fingerprint, Choices: []choice{}}
}

func (r *reply) whole(ctx context.Context, w Writer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	text := strings.Join(r.pieces, "")
	c := r.completion("chat.completion")
	c.Choices = append(c.Choices, choice{Message: &message{"assistant", &text}, Finish: &r.finish})
	c.Usage = r.usage()
	return answer(w, c)
}

func (r *reply) stream(ctx context.Context, w Writer) error {
	w.Header(200, "text/event-stream")
	empty := ""
	if err := r.event(ctx, w, &message{"assistant", &empty}, nil); err != nil {
		return err
	}
	for i := range r.pieces {
		if err := r.event(ctx, w, &message{Content: &r.pieces[i]}, nil); err != nil {
			return err
		}
	}
	if err := r.event(ctx, w, &message{}, &r.finish); err != nil {
		return err
	}
	if r.q.includeUsage {
		c := r.completion("chat.completion.chunk")
		if err := send(w, chunk{c, r.usage()}); err != nil {
			return err
		}
	}
	return w.Write([]byte("data: [DONE]\n\n"))
}

func (r *reply) event(ctx context.Context, w Writer, delta *message, finish *string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := r.completion("chat.completion.chunk")
	c.Choices = append(c.Choices, choice{Delta: delta, Finish: finish})
	return send(w, chunk{completion: c})
}

func send(w Writer, c chunk) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return w.Write(sse.AppendEvent(nil, data))
}
