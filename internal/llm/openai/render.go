package openai

import (
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/llm/scan"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// AppendError renders e as this dialect does, in the caller's language ("en" or "zh"):
//
//	{"error":{"message":…,"type":…,"param":…,"code":…,"request_id":…}}
//
// The status is e.Kind.Status(); the official SDKs choose their error class by it (401
// AuthenticationError, 403 PermissionDeniedError, 404 NotFoundError, 429 RateLimitError, and so on),
// and retry 408, 409, 429 and 5xx. 402, for funds, is retried by none of them.
func AppendError(dst []byte, e *problem.Error, lang, requestID string) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = scan.AppendString(dst, e.Text(lang))
	dst = append(dst, `,"type":"`...)
	dst = append(dst, errorType(e.Kind)...)
	dst = append(dst, `","param":`...)
	if len(e.Fields) > 0 {
		dst = scan.AppendString(dst, e.Fields[0].Path)
	} else {
		dst = append(dst, `null`...)
	}
	dst = append(dst, `,"code":`...)
	dst = scan.AppendString(dst, errorCode(e))
	if requestID != "" {
		dst = append(dst, `,"request_id":`...)
		dst = scan.AppendString(dst, requestID)
	}
	return append(dst, `}}`...)
}

// AppendErrorEvent renders e as the event that ends a stream which has already begun. Every official
// SDK raises its API error on it. No [DONE] follows; the connection is aborted.
func AppendErrorEvent(dst []byte, e *problem.Error, lang, requestID string) []byte {
	dst = append(dst, "data: "...)
	dst = AppendError(dst, e, lang, requestID)
	return append(dst, "\n\n"...)
}

func errorType(k problem.Kind) string {
	switch k {
	case problem.Unauthenticated:
		return "authentication_error"
	case problem.Funds:
		return "payment_required"
	case problem.Forbidden, problem.Legal:
		return "permission_error"
	case problem.TooMany:
		return "rate_limit_error"
	case problem.Internal, problem.Upstream, problem.Unavailable, problem.Timeout:
		return "server_error"
	}
	return "invalid_request_error"
}

// errorCode is the message id, but for the four codes that programs written for this API look for.
func errorCode(e *problem.Error) string {
	switch {
	case e.Kind == problem.Unauthenticated:
		return "invalid_api_key"
	case e.Kind == problem.TooMany:
		return "rate_limit_exceeded"
	case e.Kind == problem.TooLarge:
		return "request_too_large"
	case e.Kind == problem.NotFound && strings.HasSuffix(e.ID, ".model_unknown"): // by a call, or by GET /v1/models/{model}
		return "model_not_found"
	}
	return e.ID
}

// Model is an entry of the model list.
type Model struct {
	ID      string
	Created int64 // seconds since 1970
	OwnedBy string
	// Capabilities are what the model can do, in the catalogue's words; a field of the platform's own.
	Capabilities []string
}

// AppendModels renders GET /v1/models.
func AppendModels(dst []byte, models []Model) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i := range models {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendModel(dst, &models[i])
	}
	return append(dst, `]}`...)
}

// AppendModel renders GET /v1/models/{model}.
func AppendModel(dst []byte, m *Model) []byte {
	dst = append(dst, `{"id":`...)
	dst = scan.AppendString(dst, m.ID)
	dst = append(dst, `,"object":"model","created":`...)
	dst = strconv.AppendInt(dst, m.Created, 10)
	dst = append(dst, `,"owned_by":`...)
	dst = scan.AppendString(dst, m.OwnedBy)
	for i, c := range m.Capabilities {
		if i == 0 {
			dst = append(dst, `,"capabilities":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = scan.AppendString(dst, c)
	}
	if len(m.Capabilities) > 0 {
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
