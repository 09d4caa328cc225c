package task

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// sampling is how text is generated.
type sampling struct {
	MaxTokens   int      `json:"max_tokens"`
	Temperature *float64 `json:"temperature"`
	TopP        *float64 `json:"top_p"`
	Stop        stops    `json:"stop"`
	Stream      bool     `json:"stream"`
}

// stops are texts at which generation ends: one, or a list.
type stops []string

// UnmarshalJSON reads a string or a list.
func (s *stops) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		if one != "" {
			*s = stops{one}
		}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(s))
}

// tokensGenerated is what is generated where the caller sets no limit.
const tokensGenerated = 1024

func (s *sampling) check() error {
	switch {
	case s.Stream:
		return notHere("stream", "is not possible with the model behind this product; leave it out")
	case s.MaxTokens < 0 || s.MaxTokens > tokensMost:
		return invalid("max_tokens", "must be from 1 to 16384")
	case s.Temperature != nil && !(*s.Temperature >= 0 && *s.Temperature <= 2):
		return invalid("temperature", "must be from 0 to 2")
	case s.TopP != nil && !(*s.TopP > 0 && *s.TopP <= 1):
		return invalid("top_p", "must be above 0, and 1 at most")
	case len(s.Stop) > 4 || slices.ContainsFunc(s.Stop, func(t string) bool { return t == "" || runes(t) > 200 }):
		return invalid("stop", "must be at most 4 short texts")
	}
	if s.MaxTokens == 0 {
		s.MaxTokens = tokensGenerated
	}
	return nil
}

// apply puts the options into a prompt. What is written freely has no reason for temperature 0: the upstream's default
// holds, unless the caller has another.
func (s *sampling) apply(p *prompt) {
	p.limit, p.topP, p.stop, p.temperature = s.MaxTokens, s.TopP, s.Stop, s.Temperature
	p.free = true
}

func (s *sampling) parameters() map[string]any {
	params := map[string]any{"max_tokens": s.MaxTokens}
	if s.Temperature != nil {
		params["temperature"] = *s.Temperature
	}
	if s.TopP != nil {
		params["top_p"] = *s.TopP
	}
	if len(s.Stop) > 0 {
		params["stop"] = string(marshal(s.Stop))
	}
	return params
}

// generate is text.generate. The prompt is the caller's instruction: nothing is fenced, since nothing is ours.
type generate struct {
	sampling
	Prompt string `json:"prompt"`
	System string `json:"system"`
}

func readGenerate(c *Call) (operation, error) {
	o := &generate{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if strings.TrimSpace(o.Prompt) == "" {
		return nil, invalid("prompt", "must not be empty")
	}
	if runes(o.Prompt, o.System) > maxRunes {
		return nil, tooLong(maxRunes)
	}
	return o, o.check()
}

func (o *generate) ask(p *prompt) {
	if o.System != "" {
		p.turns = append(p.turns, turn{"system", o.System})
	}
	p.turns = append(p.turns, turn{"user", o.Prompt})
	o.apply(p)
}

func (o *generate) hear(text string) (any, error) {
	return written{text}, nil
}

func (o *generate) infer() ([]tensor, map[string]any) {
	params := o.parameters()
	if o.System != "" {
		params["system"] = o.System
	}
	return column("text", []string{o.Prompt}), params
}

func (o *generate) inferred(out *outputs) (any, error) {
	list, err := out.texts(1, "text")
	if err != nil {
		return nil, err
	}
	return written{list[0]}, nil
}

// dialogue is text.dialogue: the next turn of a conversation.
type dialogue struct {
	sampling
	Messages []message `json:"messages"`
	System   string    `json:"system"`
}

// message is a turn of the caller's conversation.
type message struct {
	Role    string `json:"role"`
	Text    string `json:"text"`
	Content string `json:"content,omitempty"` // instead of text, as chats have it
}

// maxTurns bounds a conversation.
const maxTurns = 500

func readDialogue(c *Call) (operation, error) {
	o := &dialogue{}
	if err := c.body(o); err != nil {
		return nil, err
	}
	if len(o.Messages) == 0 || len(o.Messages) > maxTurns {
		return nil, invalid("messages", "must be a list of 1 to 500 messages")
	}
	size := runes(o.System)
	for i, m := range o.Messages {
		if m.Text == "" {
			m.Text = m.Content
		}
		if !slices.Contains([]string{"system", "user", "assistant"}, m.Role) || m.Text == "" {
			return nil, invalid("messages", "must have roles system, user or assistant, and text")
		}
		o.Messages[i] = message{Role: m.Role, Text: m.Text}
		size += runes(m.Text)
	}
	if o.Messages[len(o.Messages)-1].Role != "user" {
		return nil, invalid("messages", "must end with a message of the role user")
	}
	if size > maxRunes {
		return nil, tooLong(maxRunes)
	}
	return o, o.check()
}

func (o *dialogue) ask(p *prompt) {
	if o.System != "" {
		p.turns = append(p.turns, turn{"system", o.System})
	}
	for _, m := range o.Messages {
		p.turns = append(p.turns, turn{m.Role, m.Text})
	}
	o.apply(p)
}

func (o *dialogue) hear(text string) (any, error) { return written{text}, nil }

func (o *dialogue) infer() ([]tensor, map[string]any) {
	params := o.parameters()
	if o.System != "" {
		params["system"] = o.System
	}
	return column("text", []string{string(marshal(o.Messages))}), params
}

func (o *dialogue) inferred(out *outputs) (any, error) {
	list, err := out.texts(1, "text")
	if err != nil {
		return nil, err
	}
	return written{list[0]}, nil
}

// tooLong is the refusal of more text than an upstream is sent.
func tooLong(most int) error {
	return problem.New(problem.TooLarge, "llm.task_size", "this model takes at most %d pieces of text and %d characters in one call; send several calls", maxParts, most)
}
