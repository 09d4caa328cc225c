package gateway

import (
	"encoding/json"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// errorType is the media type of this call's errors.
func (c *Call) errorType() string {
	if c.Route != nil && c.Route.Style == engine.Problem {
		return "application/problem+json"
	}
	return "application/json"
}

// appendError renders an error in the style of the route, or of the model endpoints.
func (c *Call) appendError(dst []byte, e *problem.Error) []byte {
	if c.Route == nil {
		return openai.AppendError(dst, e, c.Language, c.ids)
	}
	switch c.Route.Style {
	case engine.OpenAI:
		return openai.AppendError(dst, e, c.Language, c.ids)
	case engine.Plain:
		dst = append(dst, `{"error":`...)
		return append(scan.AppendString(dst, e.Text(c.Language)), '}')
	case engine.DeepLike:
		dst = append(dst, `{"message":`...)
		return append(scan.AppendString(dst, e.Text(c.Language)), '}')
	}
	body, err := json.Marshal(problemView{Type: "about:blank", Title: problem.Title(e.Kind.Status(), c.Language), Status: e.Kind.Status(), Detail: e.Text(c.Language), Code: e.ID,
		RequestID: c.ids, Errors: e.FieldsIn(c.Language)})
	if err != nil {
		return openai.AppendError(dst, e, c.Language, c.ids)
	}
	return append(dst, body...)
}

// appendErrorEvent renders an error that ends a stream. An event of the routes is named, as their streams have events of
// other kinds.
func (c *Call) appendErrorEvent(dst []byte, e *problem.Error) []byte {
	if c.Route == nil || c.Route.Style == engine.OpenAI {
		return openai.AppendErrorEvent(dst, e, c.Language, c.ids)
	}
	dst = append(dst, "event: error\ndata: "...)
	return append(c.appendError(dst, e), "\n\n"...)
}

// status is an error's status. DeepL's clients know a bad key by 403, and the end of what may be used by 456.
func (c *Call) status(e *problem.Error) int {
	if c.Route != nil && c.Route.Style == engine.DeepLike {
		switch e.Kind {
		case problem.Unauthenticated:
			return 403
		case problem.Funds:
			return 456
		}
	}
	return e.Kind.Status()
}

// problemView is an error by RFC 9457.
type problemView struct {
	Type      string          `json:"type"`
	Title     string          `json:"title"`
	Status    int             `json:"status"`
	Detail    string          `json:"detail"`
	Code      string          `json:"code,omitempty"`
	RequestID string          `json:"request_id"`
	Errors    []problem.Field `json:"errors,omitempty"`
}
