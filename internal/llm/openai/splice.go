package openai

import "github.com/tollgate-io/tollgate/internal/llm/scan"

// Splice puts into parts the pieces of body, in order, with the model replaced by the upstream's
// name for it and, where askUsage is set on a stream that did not ask itself, with
// stream_options.include_usage set to true. It returns the total length, for Content-Length. Nothing
// of the body is copied or changed; the pieces alias it and the scan's buffer, and hold until the
// next use of s. Splice may be called again for another target.
func (s *Scan) Splice(parts *[4][]byte, body []byte, model string, askUsage bool) int {
	*parts = [4][]byte{}
	ask := askUsage && s.Stream && !s.IncludeUsage
	if !ask && string(s.Name) == model {
		parts[0] = body
		return len(body)
	}
	s.text = scan.AppendString(s.text[:0], model)
	before, after := Span{0, s.Model.Start - 1}, Span{s.Model.End + 1, len(body)}
	if !ask {
		parts[0], parts[1], parts[2] = before.Of(body), s.text, after.Of(body)
		return len(before.Of(body)) + len(s.text) + len(after.Of(body))
	}
	// The member stream_options goes where it was and comes back, completed, beside the model: so
	// four pieces do in every order of the members.
	s.text = append(s.text, `,"stream_options":`...)
	s.text = s.appendOptions(s.text, body)
	switch {
	case s.cut.Empty():
		parts[0], parts[1], parts[2] = before.Of(body), s.text, after.Of(body)
	case s.cut.Start < s.Model.Start:
		parts[0], parts[1] = body[:s.cut.Start], body[s.cut.End:before.End]
		parts[2], parts[3] = s.text, after.Of(body)
	default:
		parts[0], parts[1] = before.Of(body), s.text
		parts[2], parts[3] = body[after.Start:s.cut.Start], body[s.cut.End:]
	}
	return len(parts[0]) + len(parts[1]) + len(parts[2]) + len(parts[3])
}

// appendOptions appends the client's stream options with include_usage true.
func (s *Scan) appendOptions(dst, body []byte) []byte {
	if s.StreamOptions.Empty() {
		return append(dst, `{"include_usage":true}`...)
	}
	if !s.usage.Empty() {
		dst = append(dst, body[s.StreamOptions.Start:s.usage.Start]...)
		dst = append(dst, `true`...)
		return append(dst, body[s.usage.End:s.StreamOptions.End]...)
	}
	dst = append(dst, `{"include_usage":true`...)
	rest := scan.Space(body, s.StreamOptions.Start+1)
	if body[rest] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, body[rest:s.StreamOptions.End]...)
}
