// Package openai is the codec of the OpenAI dialect: it reads from a request what routing and
// holds need, puts in the upstream's model name, watches an answer or a stream for usage, and
// renders errors and model lists.
//
// It works on bytes and leaves everything that it does not know untouched, so that a field invented
// tomorrow passes through today. It does no I/O, holds no lock, and prices nothing. In the steady
// state nothing here allocates: [Scan] and [Tap] are made to be pooled and keep their buffers.
package openai

import (
	"bytes"

	"github.com/tollgate-io/tollgate/internal/llm/scan"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Span is a range of bytes in a body; empty means absent.
type Span struct{ Start, End int }

// Empty reports whether the span holds nothing.
func (s Span) Empty() bool { return s.End <= s.Start }

// Of returns the bytes of the span in body.
func (s Span) Of(body []byte) []byte { return body[s.Start:s.End] }

// Limits of routed fields. A value beyond them is refused, not clamped.
const (
	MaxModelLen  = 512
	MaxMaxTokens = 1<<31 - 1
	MaxN         = 128
)

// Scan is what a request says about routing. It is filled by [ScanChat] or [ScanEmbeddings], refers
// to the scanned body, and keeps a buffer for reuse; it must not be copied after use.
type Scan struct {
	Name          []byte // the model asked for, decoded; aliases the body or the scan's buffer
	Model         Span   // the model's value between its quotes, as written
	Stream        bool
	IncludeUsage  bool  // the client asked for usage on its stream
	MaxTokens     int64 // largest of max_tokens, max_completion_tokens, max_output_tokens; -1 if none
	N             int64 // choices asked for, 1 if not given
	StreamOptions Span  // the object, empty if absent or null
	Messages      Span  // the array (chat)
	Input         Span  // the value (embeddings)
	Tools         Span  // the array (chat)

	seen  uint32
	usage Span // value of include_usage inside StreamOptions
	cut   Span // the member stream_options with one comma
	name  []byte
	text  []byte
}

// Routed fields. A body that has one twice is refused, since the upstream might read the other one.
const (
	fModel = iota
	fStream
	fMaxTokens
	fMaxCompletionTokens
	fMaxOutputTokens
	fN
	fStreamOptions
	fMessages
	fInput
	fTools
	fields
)

var fieldNames = [fields]string{"model", "stream", "max_tokens", "max_completion_tokens", "max_output_tokens",
	"n", "stream_options", "messages", "input", "tools"}

// ScanChat reads a chat completion request in one pass and without allocating. The body must be a
// JSON object with a model and messages; routed fields must have the type that the OpenAI API gives
// them and appear once. The error is a *problem.Error of kind Invalid that names position or field.
func ScanChat(body []byte, s *Scan) error {
	if err := s.object(body); err != nil {
		return err
	}
	if s.Messages.Empty() {
		return missing("messages")
	}
	return nil
}

// ScanEmbeddings reads an embeddings request as [ScanChat] does: model and input must be there, and
// the input must be a string, an array of strings, of token ids, or of arrays of token ids.
func ScanEmbeddings(body []byte, s *Scan) error {
	if err := s.object(body); err != nil {
		return err
	}
	if s.Input.Empty() {
		return missing("input")
	}
	if !embeddable(body, s.Input) {
		return problem.New(problem.Invalid, "llm.type_input", "input must be a string, an array of strings, or an array of token ids, and not empty").
			WithField("input", "must be a string, an array of strings, or token ids")
	}
	return nil
}

func (s *Scan) reset() {
	*s = Scan{MaxTokens: -1, N: 1, name: s.name[:0], text: s.text[:0]}
	if cap(s.text) > 64<<10 {
		s.text = nil
	}
}

// object walks over the members of the body.
func (s *Scan) object(b []byte) error {
	s.reset()
	i := scan.Space(b, 0)
	if i >= len(b) {
		return problem.New(problem.Invalid, "llm.body_empty", "the request body is empty; send a JSON object")
	}
	if b[i] != '{' {
		return problem.New(problem.Invalid, "llm.body_not_object", "the request body must be a JSON object")
	}
	i = scan.Space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return s.finish(b, i+1)
	}
	comma := -1 // the comma before the member at hand
	for {
		start := i
		if i >= len(b) {
			return notJSON(i, scan.End)
		}
		if b[i] != '"' {
			return notJSON(i, scan.Syntax)
		}
		e, escaped, f := scan.String(b, i)
		if f != scan.OK {
			return notJSON(e, f)
		}
		name := b[i+1 : e]
		i = scan.Space(b, e+1)
		if i >= len(b) {
			return notJSON(i, scan.End)
		}
		if b[i] != ':' {
			return notJSON(i, scan.Syntax)
		}
		i = scan.Space(b, i+1)
		end, f := scan.Value(b, i, 1)
		if f != scan.OK {
			return notJSON(end, f)
		}
		field, err := s.field(name, escaped)
		if err != nil {
			return err
		}
		if field >= 0 {
			if err := s.take(field, b, Span{i, end}); err != nil {
				return err
			}
		}
		i = scan.Space(b, end)
		if i >= len(b) {
			return notJSON(i, scan.End)
		}
		if field == fStreamOptions {
			s.cut = Span{comma, end}
			if comma < 0 {
				s.cut = Span{start, min(i+1, len(b))}
			}
		}
		if b[i] == '}' {
			return s.finish(b, i+1)
		}
		if b[i] != ',' {
			return notJSON(i, scan.Syntax)
		}
		comma = i
		i = scan.Space(b, i+1)
	}
}

func (s *Scan) finish(b []byte, i int) error {
	if i = scan.Space(b, i); i < len(b) {
		return notJSON(i, scan.Syntax)
	}
	if s.seen&(1<<fModel) == 0 {
		return missing("model")
	}
	return nil
}

// field tells which routed field a name is, -1 for none. A name that a lenient upstream would take
// for a routed field ("Model" is "model" to a decoder that folds case) is refused: it could say
// something else than what we route and charge by.
func (s *Scan) field(name []byte, escaped bool) (int, error) {
	if escaped {
		if len(name) > 6*32 {
			return -1, nil
		}
		s.text = scan.Unquote(s.text[:0], name)
		name = s.text
	}
	field := -1
	switch string(name) {
	case "model":
		field = fModel
	case "stream":
		field = fStream
	case "max_tokens":
		field = fMaxTokens
	case "max_completion_tokens":
		field = fMaxCompletionTokens
	case "max_output_tokens":
		field = fMaxOutputTokens
	case "n":
		field = fN
	case "stream_options":
		field = fStreamOptions
	case "messages":
		field = fMessages
	case "input":
		field = fInput
	case "tools":
		field = fTools
	default:
		return -1, ambiguous(name, fieldNames[:])
	}
	if s.seen&(1<<field) != 0 {
		return -1, problem.New(problem.Invalid, "llm.field_twice", "the field %q appears more than once", fieldNames[field]).
			WithField(fieldNames[field], "appears more than once")
	}
	s.seen |= 1 << field
	return field, nil
}

// ambiguous refuses a name that differs from one of names by case only.
func ambiguous(name []byte, names []string) error {
	lower := true
	for _, c := range name {
		lower = lower && c < 0x80 && (c < 'A' || c > 'Z')
	}
	if lower || len(name) > 32 {
		return nil
	}
	for _, n := range names {
		if bytes.EqualFold(name, []byte(n)) {
			return problem.New(problem.Invalid, "llm.field_case", "the field %q must be written %q", string(name), n).
				WithField(n, "is written in other letters")
		}
	}
	return nil
}

// take reads the value of a routed field.
func (s *Scan) take(field int, b []byte, v Span) (err error) {
	c, null := b[v.Start], b[v.Start] == 'n'
	switch field {
	case fModel:
		return s.takeModel(b, v)
	case fStream:
		if !null && c != 't' && c != 'f' {
			return notBool("stream")
		}
		s.Stream = c == 't'
	case fMaxTokens, fMaxCompletionTokens, fMaxOutputTokens:
		n := int64(-1)
		if !null {
			n, err = count(v.Of(b), fieldNames[field], MaxMaxTokens)
		}
		s.MaxTokens = max(s.MaxTokens, n)
	case fN:
		if !null {
			s.N, err = count(v.Of(b), "n", MaxN)
		}
	case fStreamOptions:
		if null {
			return nil
		}
		if c != '{' {
			return notObject("stream_options")
		}
		s.StreamOptions = v
		return s.takeOptions(b, v)
	case fMessages:
		if c != '[' {
			return notArray("messages")
		}
		s.Messages = v
	case fTools:
		if null {
			return nil
		}
		if c != '[' {
			return notArray("tools")
		}
		s.Tools = v
	case fInput:
		s.Input = v
	}
	return err
}

func (s *Scan) takeModel(b []byte, v Span) error {
	if b[v.Start] != '"' {
		return notString("model")
	}
	s.Model = Span{v.Start + 1, v.End - 1}
	s.Name = s.Model.Of(b)
	if bytes.IndexByte(s.Name, '\\') >= 0 && len(s.Name) <= 6*MaxModelLen {
		s.name = scan.Unquote(s.name[:0], s.Name)
		s.Name = s.name
	}
	if len(s.Name) == 0 || len(s.Name) > MaxModelLen {
		return problem.New(problem.Invalid, "llm.model_length", "the model must be a name of 1 to %d bytes", MaxModelLen).
			WithField("model", "must be a name of 1 to %d bytes", MaxModelLen)
	}
	return nil
}

func (s *Scan) takeOptions(b []byte, v Span) error {
	for o := scan.Open(b, v.Start); o.Next(); {
		name := o.Key
		if bytes.IndexByte(name, '\\') >= 0 && len(name) <= 6*32 {
			s.text = scan.Unquote(s.text[:0], name)
			name = s.text
		}
		if string(name) != "include_usage" {
			if err := ambiguous(name, optionNames); err != nil {
				return err
			}
			continue
		}
		if !s.usage.Empty() {
			return problem.New(problem.Invalid, "llm.field_twice", "the field %q appears more than once", "stream_options.include_usage").
				WithField("stream_options.include_usage", "appears more than once")
		}
		c := b[o.Start]
		if c != 't' && c != 'f' && c != 'n' {
			return notBool("stream_options.include_usage")
		}
		s.IncludeUsage = c == 't'
		s.usage = Span{o.Start, o.End}
	}
	return nil
}

var optionNames = []string{"include_usage"}

func count(b []byte, name string, most int64) (int64, error) {
	if c := b[0]; c != '-' && c-'0' > 9 {
		return 0, notWhole(name)
	}
	n, ok := scan.Int(b)
	if !ok && bytes.ContainsAny(b, ".eE") {
		return 0, notWhole(name)
	}
	if !ok || n < 1 || n > most {
		return 0, problem.New(problem.Invalid, "llm.field_range", "%s must be between 1 and %d", name, most).
			WithField(name, "must be between 1 and %d", most)
	}
	return n, nil
}

// embeddable checks the shape of an embeddings input.
func embeddable(b []byte, v Span) bool {
	if b[v.Start] == '"' {
		return true
	}
	if b[v.Start] != '[' {
		return false
	}
	first, items := byte(0), 0
	for o := scan.Open(b, v.Start); o.Next(); items++ {
		kind := b[o.Start]
		switch {
		case kind == '[':
			if !tokenIDs(b, o.Start) {
				return false
			}
		case kind-'0' <= 9:
			if _, ok := scan.Int(b[o.Start:o.End]); !ok {
				return false
			}
			kind = '0'
		case kind != '"':
			return false
		}
		if first == 0 {
			first = kind
		}
		if kind != first {
			return false
		}
	}
	return items > 0
}

func tokenIDs(b []byte, i int) bool {
	items := 0
	for o := scan.Open(b, i); o.Next(); items++ {
		if n, ok := scan.Int(b[o.Start:o.End]); !ok || n < 0 {
			return false
		}
	}
	return items > 0
}

// notJSON says where and, as far as it helps, why.
func notJSON(at int, f scan.Fault) error {
	switch f {
	case scan.End:
		return problem.New(problem.Invalid, "llm.json_cut", "the request body is not valid JSON: it ends too early, after %d bytes", at)
	case scan.Control:
		return problem.New(problem.Invalid, "llm.json_control", "the request body is not valid JSON: there is a control character (such as a line end) inside a string at byte %d", at)
	case scan.Depth:
		return problem.New(problem.Invalid, "llm.json_depth", "the request body is nested deeper than %d levels at byte %d", scan.MaxDepth, at)
	}
	return problem.New(problem.Invalid, "llm.not_json", "the request body is not valid JSON at byte %d", at)
}

func missing(name string) error {
	return problem.New(problem.Invalid, "llm.field_missing", "the field %q is required", name).WithField(name, "is required")
}

func notString(name string) error {
	return problem.New(problem.Invalid, "llm.type_string", "%s must be a string", name).WithField(name, "must be a string")
}

func notBool(name string) error {
	return problem.New(problem.Invalid, "llm.type_bool", "%s must be true or false", name).WithField(name, "must be true or false")
}

func notWhole(name string) error {
	return problem.New(problem.Invalid, "llm.type_whole", "%s must be a whole number, written without fraction or exponent", name).
		WithField(name, "must be a whole number")
}

func notArray(name string) error {
	return problem.New(problem.Invalid, "llm.type_array", "%s must be an array", name).WithField(name, "must be an array")
}

func notObject(name string) error {
	return problem.New(problem.Invalid, "llm.type_object", "%s must be an object", name).WithField(name, "must be an object")
}
