package fakeupstream

import (
	"encoding/json"
	"strings"
)

// Rule is a line of a script: a chat request whose messages contain all the texts gets the answer.
type Rule struct {
	Contains []string `json:"contains"` // none: every request
	Answer   string   `json:"answer"`
}

// Script makes chat completions answer by the rules from now on, the first that fits; a request that none fits gets
// its usual answer. No rules: as before.
func (s *Server) Script(rules ...Rule) {
	if len(rules) == 0 {
		s.script.Store(nil)
		return
	}
	s.script.Store(&rules)
}

// said is the text of an answer that a rule or the spec has.
func (s *Server) said(spec *Spec, body []byte) (text string, ok bool) {
	if rules := s.script.Load(); rules != nil {
		prompt := prompt(body)
	rules:
		for _, r := range *rules {
			for _, c := range r.Contains {
				if !strings.Contains(prompt, c) {
					continue rules
				}
			}
			return r.Answer, true
		}
	}
	return spec.Say, spec.Say != ""
}

// prompt is the text of a request's messages, with the addresses of its images, a line each.
func prompt(body []byte) string {
	var r struct {
		Messages []struct {
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if json.Unmarshal(body, &r) != nil {
		return ""
	}
	var b strings.Builder
	for _, m := range r.Messages {
		var text string
		if json.Unmarshal(m.Content, &text) == nil {
			b.WriteString(text + "\n")
			continue
		}
		var parts []struct {
			Text  string `json:"text"`
			Image struct {
				URL string `json:"url"`
			} `json:"image_url"`
		}
		_ = json.Unmarshal(m.Content, &parts) // neither: it has no text
		for _, p := range parts {
			b.WriteString(p.Text + p.Image.URL + "\n")
		}
	}
	return b.String()
}

// pieces cuts a text into what a stream sends one by one: words with the space before them.
func pieces(text string) (all []string) {
	for text != "" {
		n := strings.IndexByte(text[1:], ' ') + 1
		if n == 0 {
			n = len(text)
		}
		all = append(all, text[:n])
		text = text[n:]
	}
	return all
}
