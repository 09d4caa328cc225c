package openai

import (
	"errors"

	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
)

// ErrNoUsage means that an answer has no usable usage object: none, null, all zero, or with figures
// that no call can have.
var ErrNoUsage = errors.New("openai: no usable usage in the answer")

// UsageFromJSON reads the usage of a whole (not streamed) answer into u, for chat, responses and
// embeddings alike, without decoding the rest. The span is that of the usage object in body, empty
// when there is none; it is given even when the figures are not usable, as are those that know of no
// output in an answer that has text. On ErrNoUsage u is zero.
func UsageFromJSON(body []byte, u *llm.Usage) (Span, error) {
	*u = llm.Usage{}
	start, end, ok := scan.Member(body, scan.Space(body, 0), "usage")
	if !ok || body[start] != '{' {
		return Span{}, ErrNoUsage
	}
	if !readUsage(body[start:end], u) || u.OutputTotal() == 0 && hasText(body) {
		*u = llm.Usage{}
		return Span{start, end}, ErrNoUsage
	}
	return Span{start, end}, nil
}

// hasText reports whether a chat answer has text; embeddings never have.
func hasText(body []byte) bool {
	var d llm.Delivered
	MeasureAnswer(&d, body)
	return d.Bytes > 0
}

// ErrorInJSON returns the error in an answer that is none: some servers send status 200 with
// {"error":…} and no choices or data. It is nil for an answer.
func ErrorInJSON(body []byte) []byte {
	var failure []byte
	for o := scan.Open(body, scan.Space(body, 0)); o.Next(); {
		switch string(o.Key) {
		case "error":
			if body[o.Start] != 'n' {
				failure = body[o.Start:o.End]
			}
		case "choices", "data", "output":
			if !emptyArray(body, Span{o.Start, o.End}) {
				return nil
			}
		}
	}
	return failure
}

// counts are the figures of a usage object under the names that the providers of this dialect use.
type counts struct {
	prompt, completion, total   int64
	cached, write, audioIn      int64
	reasoning, audioOut         int64
	hasPrompt, hasOut, hasTotal bool
	bad                         bool
}

// readUsage splits a usage object into disjoint classes and reports whether it is usable. If not, u
// is left as it was.
//
// The dialect counts cached and audio tokens inside prompt_tokens, and reasoning and audio tokens
// inside completion_tokens. Two families deviate and are recognised by their total: xAI counts
// reasoning beside completion_tokens (total = prompt + completion + reasoning), and Gemini's
// compatible endpoint counts thinking in the total alone. Sources: the API references of OpenAI
// (chat and responses), DeepSeek (prompt_cache_hit_tokens), OpenRouter (cache_write_tokens),
// LiteLLM's proxy (cache_creation_input_tokens), xAI and Google.
func readUsage(b []byte, u *llm.Usage) bool {
	var c counts
	c.object(b)
	if c.bad || !c.hasPrompt && !c.hasOut || c.prompt+c.completion == 0 {
		return false
	}
	r := llm.Usage{Found: true}
	left := c.prompt
	r.CachedInput = part(&left, c.cached)
	r.CacheWrite = part(&left, c.write)
	r.AudioInput = part(&left, c.audioIn)
	r.Input = left
	out := c.completion
	beyond := int64(0) // output that the total knows of and completion_tokens does not
	if c.hasTotal {
		beyond = max(0, c.total-c.prompt-c.completion)
	} else if c.reasoning > c.completion {
		beyond = c.reasoning
	}
	if beyond > 0 && (c.reasoning == 0 || c.reasoning == beyond) {
		r.Reasoning = beyond
	} else {
		r.Reasoning = part(&out, c.reasoning)
	}
	r.AudioOutput = part(&out, c.audioOut)
	r.Output = out
	*u = r
	return true
}

// part takes up to n out of left.
func part(left *int64, n int64) int64 {
	n = min(n, *left)
	*left -= n
	return n
}

func (c *counts) object(b []byte) {
	for o := scan.Open(b, 0); o.Next(); {
		v := b[o.Start:o.End]
		switch string(o.Key) {
		case "prompt_tokens", "input_tokens":
			c.hasPrompt = c.set(&c.prompt, v) || c.hasPrompt
		case "completion_tokens", "output_tokens":
			c.hasOut = c.set(&c.completion, v) || c.hasOut
		case "total_tokens":
			c.hasTotal = c.set(&c.total, v)
		case "prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens":
			c.set(&c.cached, v)
		case "cache_creation_input_tokens":
			c.set(&c.write, v)
		case "prompt_tokens_details", "input_tokens_details":
			c.inputDetails(v)
		case "completion_tokens_details", "output_tokens_details":
			c.outputDetails(v)
		}
	}
}

func (c *counts) inputDetails(b []byte) {
	for o := scan.Open(b, 0); o.Next(); {
		v := b[o.Start:o.End]
		switch string(o.Key) {
		case "cached_tokens":
			c.set(&c.cached, v)
		case "cache_write_tokens", "cache_creation_tokens":
			c.set(&c.write, v)
		case "audio_tokens":
			c.set(&c.audioIn, v)
		}
	}
}

func (c *counts) outputDetails(b []byte) {
	for o := scan.Open(b, 0); o.Next(); {
		v := b[o.Start:o.End]
		switch string(o.Key) {
		case "reasoning_tokens":
			c.set(&c.reasoning, v)
		case "audio_tokens":
			c.set(&c.audioOut, v)
		}
	}
}

// set reads a figure; the largest wins where two names mean the same. null is as good as absent. A
// figure that no call can have spoils the whole object.
func (c *counts) set(to *int64, v []byte) bool {
	if v[0] == 'n' {
		return false
	}
	n, ok := scan.Int(v)
	if !ok || n < 0 || n > llm.MaxCount {
		c.bad = true
		return false
	}
	*to = max(*to, n)
	return true
}

// AppendCost appends body to dst with the call's cost put into its usage object: `"cost":0.000123`
// and the currency. cost is a JSON number, made by the caller without going through a float. usage is
// the span that [UsageFromJSON] gave. An answer without a usage object gets one that has just these
// members, at its start; a body that is no object is appended as it is.
func AppendCost(dst, body []byte, usage Span, cost []byte, currency string) []byte {
	if !usage.Empty() {
		dst = append(dst, body[:usage.Start+1]...)
		dst = appendCostMembers(dst, body, usage, cost, currency)
		return append(dst, body[usage.Start+1:]...)
	}
	i := scan.Space(body, 0)
	if i >= len(body) || body[i] != '{' {
		return append(dst, body...)
	}
	if start, end, ok := scan.Member(body, i, "usage"); ok { // "usage":null
		dst = append(dst, body[:start]...)
		dst = append(dst, '{')
		dst = appendCostMembers(dst, nil, Span{}, cost, currency)
		dst = append(dst, '}')
		return append(dst, body[end:]...)
	}
	dst = append(dst, body[:i+1]...)
	dst = append(dst, `"usage":{`...)
	dst = appendCostMembers(dst, nil, Span{}, cost, currency)
	dst = append(dst, '}')
	if rest := scan.Space(body, i+1); rest < len(body) && body[rest] != '}' {
		dst = append(dst, ',')
	}
	return append(dst, body[i+1:]...)
}

// appendCostMembers appends the members that go right behind the opening brace of a usage object.
func appendCostMembers(dst, body []byte, usage Span, cost []byte, currency string) []byte {
	dst = append(dst, `"cost":`...)
	dst = append(dst, cost...)
	dst = append(dst, `,"currency":"`...)
	dst = append(dst, currency...)
	dst = append(dst, '"')
	if !usage.Empty() && body[scan.Space(body, usage.Start+1)] != '}' {
		dst = append(dst, ',')
	}
	return dst
}
