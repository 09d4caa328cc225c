package fakeupstream

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
)

// created is when every answer says it was made.
const created = 1_750_000_000

// words are the text of an answer, each one token in the usual vocabularies.
var words = []string{"The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", "."}

// answer is a prepared answer: the body, and for a stream its events.
type answer struct {
	whole  []byte
	events [][]byte
	text   int // index of the first event with text
}

// answerKey is what an answer depends on, beside the request's text.
type answerKey struct {
	spec          *Spec
	model         string
	stream, usage bool
	tokens, n     int
	said          bool // the text is say, of a script or the spec
	say           string
}

// answer makes the answer to a request, or takes the one made before.
func (s *Server) answer(spec *Spec, f *fields, body []byte) *answer {
	k := answerKey{spec: spec, model: f.model, stream: f.stream, usage: f.usage, tokens: spec.Chunks, n: max(f.n, 1)}
	if k.say, k.said = s.said(spec, body); k.said {
		k.tokens = len(pieces(k.say))
	}
	if f.limit >= 0 && !spec.IgnoreLimit {
		k.tokens = min(k.tokens, f.limit)
	}
	if spec.Echo || spec.Tools || k.said {
		return makeAnswer(&k, body)
	}
	if a, ok := s.answers.Load(k); ok {
		return a.(*answer)
	}
	a := makeAnswer(&k, nil)
	s.answers.Store(k, a)
	return a
}

// part is what one choice says: pieces of text, or a call of a tool.
type part struct {
	pieces []string
	tool   string
	finish string
}

func makeAnswer(k *answerKey, body []byte) *answer {
	p := part{finish: "stop"}
	switch tool := firstTool(body); {
	case k.spec.Tools && tool != "":
		p.tool, p.finish = tool, "tool_calls"
	case k.spec.Echo:
		p.pieces = []string{string(body)}
	case k.said:
		all := pieces(k.say)
		p.pieces = all[:k.tokens]
		if k.tokens < len(all) {
			p.finish = "length"
		}
	case k.spec.Size > 0:
		p.pieces = []string{strings.Repeat("0123456789abcdef", k.spec.Size/16+1)[:k.spec.Size]}
	default:
		for i := range k.tokens {
			p.pieces = append(p.pieces, words[i%len(words)])
		}
		if k.tokens < k.spec.Chunks {
			p.finish = "length"
		}
	}
	if k.stream {
		return makeStream(k, &p)
	}
	return makeWhole(k, &p)
}

// toolArguments are the arguments of every tool call.
const toolArguments = `{"location":"Paris","unit":"celsius"}`

func makeWhole(k *answerKey, p *part) *answer {
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"id":"chatcmpl-fake","object":"chat.completion","created":%d,"model":%s,"choices":[`, created, quote(k.model))
	for i := range k.n {
		if i > 0 {
			b.WriteByte(',')
		}
		message := `"content":` + quote(strings.Join(p.pieces, ""))
		if p.tool != "" {
			message = `"content":null,"tool_calls":[{"id":"call_fake","type":"function","function":{"name":` + quote(p.tool) + `,"arguments":` + quote(toolArguments) + `}}]`
		}
		fmt.Fprintf(&b, `{"index":%d,"message":{"role":"assistant",%s,"refusal":null},"logprobs":null,"finish_reason":%s}`, i, message, quote(p.finish))
	}
	b.WriteByte(']')
	if u := usage(k, p); u != "" {
		b.WriteString(`,"usage":` + u)
	}
	b.WriteString(`,"system_fingerprint":"fp_fake"}`)
	return &answer{whole: b.Bytes()}
}

func makeStream(k *answerKey, p *part) *answer {
	u := usage(k, p)
	a := &answer{}
	event := func(choices, usage string) {
		e := fmt.Sprintf(`data: {"id":"chatcmpl-fake","object":"chat.completion.chunk","created":%d,"model":%s,"system_fingerprint":"fp_fake","choices":[%s]`, created, quote(k.model), choices)
		switch {
		case usage != "":
			e += `,"usage":` + usage
		case k.usage:
			e += `,"usage":null`
		}
		a.events = append(a.events, []byte(e+"}\n\n"))
	}
	each := ""
	if k.spec.Usage == "every" {
		each = u
	}
	for i := range k.n {
		event(fmt.Sprintf(`{"index":%d,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}`, i), each)
	}
	a.text = len(a.events)
	for i := range k.n {
		if p.tool != "" {
			event(fmt.Sprintf(`{"index":%d,"delta":{"tool_calls":[{"index":0,"id":"call_fake","type":"function","function":{"name":%s,"arguments":""}}]},"finish_reason":null}`, i, quote(p.tool)), each)
			for j := 0; j < len(toolArguments); j += 8 {
				event(fmt.Sprintf(`{"index":%d,"delta":{"tool_calls":[{"index":0,"function":{"arguments":%s}}]},"finish_reason":null}`, i, quote(toolArguments[j:min(j+8, len(toolArguments))])), each)
			}
		}
		for _, piece := range p.pieces {
			event(fmt.Sprintf(`{"index":%d,"delta":{"content":%s},"logprobs":null,"finish_reason":null}`, i, quote(piece)), each)
		}
	}
	for i := range k.n {
		event(fmt.Sprintf(`{"index":%d,"delta":{},"logprobs":null,"finish_reason":%s}`, i, quote(p.finish)), each)
	}
	if k.spec.Usage != "none" && (k.usage || k.spec.Usage == "always") {
		event("", u)
	}
	if !k.spec.NoDone {
		a.events = append(a.events, []byte("data: [DONE]\n\n"))
	}
	a.whole = bytes.Join(a.events, nil)
	return a
}

// usage is the usage object, "" for none.
func usage(k *answerKey, p *part) string {
	s := k.spec
	out := s.Out
	if out < 0 {
		out = int64(k.tokens * k.n)
		if p.tool != "" {
			out = 15
		}
	}
	switch s.Usage {
	case "none":
		return ""
	case "zero":
		return `{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`
	}
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d,"cache_write_tokens":%d,"audio_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d,"audio_tokens":%d}}`,
		s.In, out, s.In+out, s.Cached, s.CacheWrite, s.AudioIn, s.Reasoning, s.AudioOut)
}

// firstTool is the name of the first tool that a request offers; "" once it brings a tool's result, or offers none.
func firstTool(body []byte) string {
	var r struct {
		Messages []struct {
			Role string `json:"role"`
		} `json:"messages"`
		Tools []struct {
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		} `json:"tools"`
	}
	if json.Unmarshal(body, &r) != nil || len(r.Tools) == 0 {
		return ""
	}
	if n := len(r.Messages); n > 0 && r.Messages[n-1].Role == "tool" {
		return ""
	}
	return r.Tools[0].Function.Name
}

func quote(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

// vector is a unit vector that depends on the text.
func vector(text []byte, dims int, asBase64 bool) any {
	v := make([]float32, dims)
	var sum float64
	for i := range v {
		h := fnv.New32a()
		h.Write(text)
		h.Write([]byte{byte(i), byte(i >> 8)})
		v[i] = float32(h.Sum32()%2001)/1000 - 1
		sum += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(max(sum, 1e-9)))
	}
	if !asBase64 {
		return v
	}
	raw := make([]byte, 0, 4*dims)
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
