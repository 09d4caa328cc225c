package task

import (
	"strconv"
	"strings"
)

// texts are what the language operations work on: one text, or a batch.
type texts struct {
	Text     *string  `json:"text"`
	Texts    []string `json:"texts"`
	Language string   `json:"language"` // of the texts; "" is to be found out

	all []string
}

// maxTexts bounds a batch.
const maxTexts = 256

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
	if len(t.all) > maxTexts || runes(t.all...) > maxRunes {
		return tooLong(maxRunes)
	}
	var ok bool
	if t.Language, ok = tidy(t.Language); !ok {
		return invalid("language", "must be a code such as en or zh")
	}
	return nil
}

// ask puts the texts into a prompt.
func (t *texts) ask(p *prompt) {
	p.texts(t.all)
	p.say(count(len(t.all), "item"))
	p.items = len(t.all)
}

// askLanguage asks which language each text is in, where the caller did not say; the shape has a place for it after "n".
func (t *texts) askLanguage(p *prompt) {
	if t.Language == "" {
		p.say("Say with each item in which language the text is (BCP 47 code).")
		p.shape = strings.Replace(p.shape, `"n":1,`, `"n":1,"language":"en",`, 1)
	}
}

// undetermined is the code of no language.
const undetermined = "und"

// languageOf is the language that the caller said, or else a model.
func (t *texts) languageOf(said string) string {
	if t.Language != "" {
		return t.Language
	}
	if code, ok := tidy(said); ok && code != "" {
		return code
	}
	return undetermined
}

// parameters are the options that all language operations have.
func (t *texts) parameters() map[string]any {
	params := map[string]any{}
	if t.Language != "" {
		params["language"] = t.Language
	}
	return params
}

// languagesOf are the codes in an output "language", or none.
func (t *texts) languagesOf(o *outputs) ([]string, error) {
	if _, ok := o.named("language"); !ok {
		return make([]string, len(t.all)), nil
	}
	return o.texts(len(t.all), "language")
}

// itoa is for texts of prompts and errors.
func itoa(n int) string { return strconv.Itoa(n) }
