package task

import (
	"strings"
)

// texts are what most language operations work on: one text, or a batch.
type texts struct {
	Text  *string  `json:"text"`
	Texts []string `json:"texts"`

	all []string
}

// settle makes all out of either form.
func (t *texts) settle() error {
	switch {
	case t.Text != nil && t.Texts == nil:
		t.all = []string{*t.Text}
	case t.Text == nil && len(t.Texts) > 0:
		t.all = t.Texts
	default:
		return invalid("text", "give either text or texts")
	}
	for _, text := range t.all {
		if strings.TrimSpace(text) == "" {
			return invalid("text", "must not be empty")
		}
	}
	if len(t.all) > maxParts || runes(t.all...) > maxRunes {
		return tooLong(maxRunes)
	}
	return nil
}

// ask puts the texts into a prompt.
func (t *texts) ask(p *prompt) {
	p.texts(t.all)
	p.say(count(len(t.all), "item"))
	p.items = len(t.all)
}

// batch reports whether the caller sent a list, and gets one.
func (t *texts) batch() bool { return t.Texts != nil }
