package api

import (
	"encoding/json"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Problem is an error as it is sent: RFC 9457 with the request id and the message id.
type Problem struct {
	Type      string  `json:"type" example:"about:blank" doc:"Always about:blank: code tells problems apart"`
	Title     string  `json:"title" example:"Not Found" doc:"The status in words, in the caller's language"`
	Status    int     `json:"status" example:"404"`
	Detail    string  `json:"detail" doc:"What is wrong and what to do, in the caller's language"`
	Instance  string  `json:"instance,omitempty" doc:"The path that was called"`
	RequestID string  `json:"request_id" example:"req_01jd3k…" doc:"Name it when asking for help"`
	Code      string  `json:"code" example:"auth.forbidden" doc:"Stable id of the message"`
	Errors    []Field `json:"errors,omitempty" doc:"What is wrong with which field of the input"`

	retryAfter int64 // seconds
}

// Field is a failure of one field of the input.
type Field struct {
	Path   string `json:"path" example:"card.lines[2].price"`
	Detail string `json:"detail"`
}

// Error implements error, so that huma sends it.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(p.retryAfter, 10))
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="tollgate"`)
	}
	return h
}

// problem renders an error for the call, and logs what the operator has to know.
func (s *server) problem(c *call, err error) *Problem {
	e := problem.As(err)
	if e.Kind == problem.Internal || e.Kind == problem.Unavailable {
		s.Log.Error("api: failed", "request", c.id, "path", c.path, "error", err)
	}
	return c.render(e, e.Kind.Status())
}

func (c *call) render(e *problem.Error, status int) *Problem {
	p := &Problem{Type: "about:blank", Title: problem.Title(status, c.lang), Status: status, Detail: e.Text(c.lang), Instance: c.path,
		RequestID: c.id, Code: e.ID, retryAfter: int64(math.Ceil(e.RetryAfter.Seconds()))}
	for _, f := range e.FieldsIn(c.lang) {
		p.Errors = append(p.Errors, Field{f.Path, translated(f.Detail, c.lang)})
	}
	return p
}

// write sends a problem outside of an operation.
func (s *server) write(w http.ResponseWriter, c *call, err error) {
	p := s.problem(c, err)
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// transform turns the errors that huma makes of bad input into problems.
func (s *server) transform(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	c := callOf(ctx.Context())
	e := problem.New(problem.Unprocessable, "api.invalid", "the request is not valid: see errors")
	switch m.Status {
	case http.StatusBadRequest:
		e = problem.New(problem.Invalid, "api.malformed", "the request body is missing or not valid JSON")
	case http.StatusUnsupportedMediaType:
		e = problem.New(problem.Invalid, "api.media_type", "send the request body as application/json")
	case http.StatusUnprocessableEntity:
	default:
		s.Log.Error("api: failed", "request", c.id, "path", c.path, "status", m.Status, "error", m.Detail)
		e = problem.As(m)
	}
	fields := make([]problem.Field, 0, len(m.Errors))
	for _, d := range m.Errors {
		fields = append(fields, problem.Field{Path: fieldPath(d), Detail: d.Message})
	}
	slices.SortStableFunc(fields, func(a, b problem.Field) int { return strings.Compare(a.Path, b.Path) }) // huma walks maps
	for _, f := range fields {
		e = e.WithField(f.Path, "%s", f.Detail)
	}
	return c.render(e, m.Status), nil
}

var required = regexp.MustCompile("^" + strings.Replace(regexp.QuoteMeta(validation.MsgExpectedRequiredProperty), "%s", "(.+)", 1) + "$")

// fieldPath is where a fault is, as the caller wrote it: without huma's word for the part of the
// request, and with the name of a missing field, which huma leaves to the message.
func fieldPath(d *huma.ErrorDetail) string {
	_, path, _ := strings.Cut(d.Location, ".")
	if m := required.FindStringSubmatch(d.Message); m != nil {
		return strings.TrimPrefix(path+"."+m[1], ".")
	}
	return path
}

// language is "zh" where the caller prefers Chinese to English.
func language(accept string) string {
	best, lang := 0.0, "en"
	for part := range strings.SplitSeq(accept, ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64) // 0 where it is none
		}
		tag, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		if (tag == "zh" || tag == "en") && q > best {
			best, lang = q, tag
		}
	}
	return lang
}

// rule is a message of huma's validation and its Chinese.
type rule struct {
	match *regexp.Regexp
	zh    string
}

// rules are the messages that the operations of this API can cause; $1 is the first value in them.
var rules = sync.OnceValue(func() []rule {
	var out []rule
	for _, r := range [][2]string{
		{validation.MsgUnexpectedProperty, "没有这个字段"},
		{validation.MsgExpectedRequiredProperty, "缺少必填字段 $1"},
		{validation.MsgExpectedBoolean, "应为布尔值"},
		{validation.MsgExpectedInteger, "应为整数"},
		{validation.MsgExpectedNumber, "应为数字"},
		{validation.MsgExpectedString, "应为字符串"},
		{validation.MsgExpectedArray, "应为数组"},
		{validation.MsgExpectedObject, "应为对象"},
		{validation.MsgExpectedOneOf, "应为以下之一：$1"},
		{validation.MsgExpectedMatchExactlyOneSchema, "类型不符"},
		{validation.MsgExpectedMinimumNumber, "应不小于 $1"},
		{validation.MsgExpectedMaximumNumber, "应不大于 $1"},
		{validation.MsgExpectedMinLength, "长度应不小于 $1"},
		{validation.MsgExpectedMaxLength, "长度应不大于 $1"},
		{validation.MsgExpectedMinItems, "元素个数应不少于 $1"},
		{validation.MsgExpectedMaxItems, "元素个数应不多于 $1"},
		{validation.MsgExpectedMatchPattern, "应符合格式 $1"},
		{validation.MsgExpectedArrayItemsUnique, "元素不能重复"},
		{validation.MsgExpectedRFC3339DateTime, "应为 RFC 3339 时间"},
		{"invalid integer", "应为整数"},
		{"invalid boolean", "应为布尔值"},
		{"invalid date/time for format %s", "应为 RFC 3339 时间"},
		{"unknown query parameter", "没有这个查询参数"},
		{"required %s parameter is missing", "缺少参数"},
	} {
		text := regexp.QuoteMeta(r[0])
		text = regexp.MustCompile(`%[vsd]`).ReplaceAllString(text, "(.+)")
		out = append(out, rule{regexp.MustCompile("^" + text + "$"), r[1]})
	}
	return out
})

// translated returns a field's detail in lang, as far as it is one of rules; the platform's own are in Chinese already.
func translated(detail, lang string) string {
	if lang != "zh" {
		return detail
	}
	for _, r := range rules() {
		if r.match.MatchString(detail) {
			return r.match.ReplaceAllString(detail, r.zh)
		}
	}
	return detail
}
