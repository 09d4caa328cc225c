package sandbox

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

const maxStops = 4 // as in the OpenAI API

// question is what a chat request asks for.
type question struct {
	model        string
	text         string // the last user message
	lang         string
	input        int // tokens of all messages
	limit        int // of output tokens, -1 for none
	stop         []string
	stream       bool
	includeUsage bool
}

// chatBody is the part of a request that is read beyond what [openai.Scan] reads.
type chatBody struct {
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stop           json.RawMessage `json:"stop"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	ResponseFormat *struct {
		Type string `json:"type"`
	} `json:"response_format"`
}

// parseChat reads and checks a request. The question's language is set also when an error is returned.
func parseChat(body []byte) (question, error) {
	q := question{lang: english}
	var s openai.Scan
	if err := openai.ScanChat(body, &s); err != nil {
		return q, err
	}
	var b chatBody
	if err := json.Unmarshal(body, &b); err != nil {
		return q, openai.WrongType(err)
	}
	q.model, q.stream, q.includeUsage, q.limit = string(s.Name), s.Stream, s.IncludeUsage, int(s.MaxTokens)
	for _, m := range b.Messages {
		text, err := contentText(m.Content)
		if err != nil {
			return q, err
		}
		q.input += len(Pieces(text))
		if m.Role == "user" {
			q.text = text
		}
	}
	q.lang = language(q.text)
	if strings.TrimSpace(q.text) == "" {
		return q, problem.New(problem.Invalid, "sandbox.no_question", "the messages contain no text of a user").
			WithField("messages", "no text of a user")
	}
	if s.N != 1 {
		return q, problem.New(problem.Invalid, "sandbox.n", "the sandbox gives one choice: n must be 1").
			WithField("n", "must be 1")
	}
	if err := b.unavailable(); err != nil {
		return q, err
	}
	var err error
	q.stop, err = stops(b.Stop)
	return q, err
}

// unavailable refuses what the sandbox cannot do and must not pretend to.
func (b *chatBody) unavailable() error {
	if c := bytes.TrimSpace(b.ToolChoice); len(c) > 0 {
		switch string(c) {
		case `"auto"`, `"none"`, `null`:
		default:
			return problem.New(problem.Invalid, "sandbox.tools", "the sandbox cannot call tools; leave tool_choice at auto or none").
				WithField("tool_choice", "must be auto or none")
		}
	}
	if f := b.ResponseFormat; f != nil && f.Type != "" && f.Type != "text" {
		return problem.New(problem.Invalid, "sandbox.format", "the sandbox answers in text only; response_format %q is not available", f.Type).
			WithField("response_format", "must be text")
	}
	return nil
}

// contentText is the text of a message: a string, or the text parts of an array.
func contentText(raw json.RawMessage) (string, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] == 'n' {
		return "", nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, nil
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return "", problem.New(problem.Invalid, "sandbox.content", "content must be a string or an array of parts").
			WithField("messages", "content must be a string or an array of parts")
	}
	var all []string
	for _, p := range parts {
		if p.Type != "text" {
			return "", problem.New(problem.Invalid, "sandbox.part", "the sandbox reads text only; a part of type %q is not available", p.Type).
				WithField("messages", "text only")
		}
		all = append(all, p.Text)
	}
	return strings.Join(all, "\n"), nil
}

func stops(raw json.RawMessage) ([]string, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] == 'n' {
		return nil, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil || len(many) > maxStops {
		return nil, problem.New(problem.Invalid, "sandbox.stop", "stop must be a string or up to %d strings", maxStops).
			WithField("stop", "must be a string or up to %d strings", maxStops)
	}
	return many, nil
}
