package task

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// maxAnswer bounds what is read of an upstream's answer.
const maxAnswer = 16 << 20

// unusable is the error of an answer that is not what was asked for. why is for the operator's log.
func unusable(why string) error {
	return problem.New(problem.Upstream, "llm.task_answer", "the model behind this product gave an answer that cannot be used; try again, or choose another model").Because(errors.New(why))
}

// chatText takes the text and the usage out of a chat completion.
func chatText(answer []byte) (text string, usage map[string]int64, err error) {
	var a struct {
		Choices []struct {
			Message struct {
				Content json.RawMessage `json:"content"`
				Refusal string          `json:"refusal"`
			} `json:"message"`
			Finish string `json:"finish_reason"`
		} `json:"choices"`
		Usage map[string]json.RawMessage `json:"usage"`
		Error json.RawMessage            `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return "", nil, unusable("not a chat completion: " + err.Error())
	}
	usage = counts(a.Usage)
	switch {
	case len(a.Error) > 0 && string(a.Error) != "null":
		return "", usage, unusable("an error with status 200")
	case len(a.Choices) == 0:
		return "", usage, unusable("no choices")
	case a.Choices[0].Message.Refusal != "":
		return "", usage, unusable("the model refused")
	}
	text = content(a.Choices[0].Message.Content)
	switch f := a.Choices[0].Finish; {
	case f == "length":
		return text, usage, errCut
	case f == "content_filter":
		return "", usage, unusable("the answer was withheld by a content filter")
	case strings.TrimSpace(text) == "":
		return "", usage, unusable("an empty answer")
	}
	return withoutThought(text), usage, nil
}

// errCut is the error of an answer that reached its bound of tokens.
var errCut = errors.New("the answer was cut at its limit of tokens")

// content is the text of a message: a string, or a list of parts.
func content(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	_ = json.Unmarshal(raw, &parts) // neither: there is no text
	var b strings.Builder
	for _, p := range parts {
		if p.Type == "text" || p.Type == "output_text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}

// withoutThought cuts off the thoughts that some servers leave in front of an answer.
func withoutThought(text string) string {
	t := strings.TrimSpace(text)
	if strings.HasPrefix(t, "<think>") {
		if _, rest, ok := strings.Cut(t, "</think>"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return text
}

// counts are the token figures of a usage object that can be believed.
func counts(raw map[string]json.RawMessage) map[string]int64 {
	usage := map[string]int64{}
	for _, name := range []string{"prompt_tokens", "completion_tokens", "total_tokens"} {
		var n int64
		if v, ok := raw[name]; ok && json.Unmarshal(v, &n) == nil && n >= 0 && n <= llm.MaxCount {
			usage[name] = n
		}
	}
	return usage
}

// maxTries is how many places of an answer are tried as the beginning of its JSON.
const maxTries = 32

// maxText bounds the text of an answer, well above what [tokensMost] tokens can be.
const maxText = 1 << 20

// findJSON gives each JSON object or list in the text to accept, in order, until one is accepted: models put words and
// code fences around it, and some show an example first.
func findJSON(text string, accept func(value []byte) error) error {
	if len(text) > maxText {
		return unusable("an answer longer than its limit of tokens")
	}
	fault := errors.New("no JSON in the answer")
	b := []byte(text)
	for tries := 0; tries < maxTries; tries++ {
		i := bytes.IndexAny(b, "{[")
		if i < 0 {
			break
		}
		b = b[i:]
		var v json.RawMessage
		d := json.NewDecoder(bytes.NewReader(b))
		if d.Decode(&v) != nil {
			b = b[1:]
			continue
		}
		err := accept(v)
		if err == nil {
			return nil
		}
		fault = err
		b = b[len(v):]
	}
	return unusable(fault.Error())
}
