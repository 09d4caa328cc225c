// Package problem is the one error type that a caller of Tollgate may see.
//
// A [*Error] says what kind of failure it is (which fixes the HTTP status), names its message by a
// stable id, and carries a detail that is safe to show to the caller in English or Simplified
// Chinese. The cause, for the operator, is wrapped and never rendered. Any error that is not a
// *Error is internal: the caller is told "internal error" and the request id, nothing more.
//
// The package does not render: the gateway renders in the caller's dialect, the api room as
// RFC 9457. It does not log either.
package problem

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"
)

// Kind classifies a failure. The zero value is Internal.
type Kind uint8

// The kinds, each with the HTTP status that [Kind.Status] maps it to.
const (
	Internal        Kind = iota // 500
	Invalid                     // 400 malformed input
	Unauthenticated             // 401 no credential, or a bad one
	Funds                       // 402 funds or budget exhausted
	Forbidden                   // 403 not subscribed, not permitted, blocked by policy
	NotFound                    // 404
	Conflict                    // 409 a duplicate, a stale edit, an idempotency conflict
	Gone                        // 410 retired
	Precondition                // 412 If-Match does not hold
	TooLarge                    // 413
	Unprocessable               // 422 well-formed, but fails the schema or a rule
	TooMany                     // 429 with RetryAfter
	Legal                       // 451 blocked for compliance
	ClientGone                  // 499 the client left; log only
	Upstream                    // 502
	Unavailable                 // 503
	Timeout                     // 504
	NotAllowed                  // 405 the path exists, for other methods
)

var statuses = [...]int{500, 400, 401, 402, 403, 404, 409, 410, 412, 413, 422, 429, 451, 499, 502, 503, 504, 405}

// Status returns the HTTP status of the kind.
func (k Kind) Status() int {
	if int(k) < len(statuses) {
		return statuses[k]
	}
	return 500
}

// Field is a failure of one field of the input. Path is a JSON pointer or a dotted path as the
// caller wrote it ("plans[0].card.lines[2].price").
type Field struct {
	Path   string `json:"path"`
	Detail string `json:"detail"`
	inner  *Error // whose detail it is, if it is an error's
}

// Error is a failure fit to be shown to the caller. Treat it as immutable once returned.
type Error struct {
	Kind       Kind
	ID         string        // message id: "key.expired"; stable, documented, also the error code on the wire
	Detail     string        // English, says what to do
	RetryAfter time.Duration // for TooMany and Unavailable; zero means not given, [Never] that it will be the same later
	Fields     []Field       // which fields of the input are wrong, if that is the failure
	args       []any
	cause      error
}

// New returns an Error with the English text made from format and args. The Chinese text is looked
// up by id in zh/*.json of this package; its verbs take the same args (use %[n]v to reorder).
func New(kind Kind, id, format string, args ...any) *Error {
	detail := format
	if len(args) > 0 {
		detail = fmt.Sprintf(format, args...)
	}
	return &Error{Kind: kind, ID: id, Detail: detail, args: args}
}

// Because returns a copy of e that wraps cause. The cause is for logs; it is never shown.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Never says, as RetryAfter, that trying again is of no use.
const Never time.Duration = -1

// After returns a copy of e that tells the caller when to try again.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// WithField returns a copy of e with one more failing field.
func (e *Error) WithField(path, format string, args ...any) *Error {
	c := *e
	c.Fields = append(append([]Field(nil), e.Fields...), Field{Path: path, Detail: fmt.Sprintf(format, args...)})
	return &c
}

// Within returns a copy of e with one more failing field, which is wrong as inner says.
func (e *Error) Within(path string, inner *Error) *Error {
	c := *e
	c.Fields = append(append([]Field(nil), e.Fields...), Field{path, inner.Detail, inner})
	return &c
}

// Error gives the id, the English detail and the cause, for logs.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.ID)
	b.WriteString(": ")
	b.WriteString(e.Detail)
	for _, f := range e.Fields {
		b.WriteString("; " + f.Path + ": " + f.Detail)
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Text returns the detail in lang: "zh" for Simplified Chinese where a translation exists, else English. Arguments that are
// phrases of zh/phrases and that the message does not quote are in Chinese too.
func (e *Error) Text(lang string) string {
	if lang == "zh" {
		if m, ok := chinese()[e.ID]; ok {
			if len(e.args) == 0 {
				return m.text
			}
			return fmt.Sprintf(m.text, m.arguments(e.ID, e.args)...)
		}
	}
	return e.Detail
}

// As returns err as a *Error. An error of any other type becomes Internal, wrapping it.
func As(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return New(Internal, "internal", "internal error").Because(err)
}

// Is reports whether err is a *Error of the kind.
func Is(err error, kind Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == kind
}

//go:embed zh/*.json
var zhFS embed.FS

// chinese is the catalogue of Chinese messages by id, one file per room.
var chinese = sync.OnceValue(func() map[string]message {
	all := map[string]message{}
	files, err := fs.Glob(zhFS, "zh/*.json")
	if err != nil {
		panic(err)
	}
	for _, name := range files {
		data, err := zhFS.ReadFile(name)
		if err != nil {
			panic(err)
		}
		var m map[string]string
		if err := json.Unmarshal(data, &m); err != nil {
			panic("problem: " + name + ": " + err.Error())
		}
		for id, text := range m {
			if _, dup := all[id]; dup {
				panic("problem: message id twice: " + id)
			}
			all[id] = newMessage(text)
		}
	}
	return all
})
