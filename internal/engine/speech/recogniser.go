package speech

import (
	"context"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/sherpa"
)

// recogniser gives the text of utterances. It is safe for concurrent use.
type recogniser interface {
	// hear recognises one utterance of at most maxUtterance.
	hear(ctx context.Context, pcm []int16) (heard, error)
	about() about
}

// about is what answers tell of a recogniser.
type about struct {
	engine, model string
	quality       string // "demo", or "" where it is not known
	language      string // of what it gives, ISO 639-1; "" where the sound decides
	width         int    // utterances at the same time
}

// heard is what was understood of an utterance. A text without words is one of whose words no times are known.
type heard struct {
	text     string
	language string // ISO 639-1, as the recogniser tells it, or ""
	words    []Word
}

const (
	sphinxEngine = "pocketsphinx"
	sherpaEngine = "sherpa-onnx"
)

func (s *sphinx) about() about { return about{sphinxEngine, sphinxModel, demo, "en", s.width} }

func (s *sphinx) hear(ctx context.Context, pcm []int16) (heard, error) {
	words, err := s.words(ctx, pcm)
	texts := make([]string, len(words))
	for i := range words {
		texts[i] = words[i].Word
	}
	return heard{text: strings.Join(texts, " "), words: words}, err
}

// own is a model of the operator's.
type own struct {
	run       *sherpa.Runtime
	model     sherpa.Model
	language  string // ISO 639-1; "": the model is to find out
	translate bool   // it gives English whatever it hears
}

func (o *own) about() about {
	a := about{engine: sherpaEngine, model: o.model.Name, language: o.language, width: o.run.Workers()}
	switch {
	case o.translate:
		a.language = "en"
	case o.language == "":
		a.language = o.model.Only()
	}
	return a
}

func (o *own) hear(ctx context.Context, pcm []int16) (heard, error) {
	if len(pcm) < minUtterance {
		return heard{}, nil
	}
	h, err := o.run.Decode(ctx, sherpa.Call{Model: &o.model, Language: o.language, Translate: o.translate, PCM: pcm})
	if err != nil {
		return heard{}, err
	}
	words := make([]Word, len(h.Words))
	for i, w := range h.Words {
		words[i] = Word{w.Text, w.Start, w.End, thousandths(w.Confidence)}
	}
	return heard{h.Text, h.Language, words}, nil
}

// owns are the operator's models that a product may use: the one that it names, or all that work and whose languages are known.
func (e *Engine) owns(name string) (all []sherpa.Model, named bool) {
	models := e.sherpa.Models()
	if i := slices.IndexFunc(models, func(m sherpa.Model) bool { return m.Name == name }); i >= 0 {
		return models[i : i+1], true
	}
	if name == sphinxEngine || !e.sherpa.Ready() {
		return nil, name == sphinxEngine
	}
	return slices.DeleteFunc(models, func(m sherpa.Model) bool { return m.Need != "" || len(m.Languages) == 0 }), false
}

// recogniser chooses what understands a language: the one that the product names; else a model of the operator's, of
// several the first by name; else PocketSphinx. Where nobody has named the language, "", a model that finds it out comes first,
// then what understands English. It refuses a language that is not understood here.
func (e *Engine) recogniser(name, tag string) (recogniser, error) {
	if !plainTag(tag) {
		return nil, engine.Invalid("language", "must be a language code such as en")
	}
	language := base(tag)
	models, named := e.owns(name)
	find := func(fits func(m *sherpa.Model) bool) *own {
		for i := range models {
			if fits(&models[i]) {
				return &own{run: e.sherpa, model: models[i], language: language}
			}
		}
		return nil
	}
	choices := []func(m *sherpa.Model) bool{func(m *sherpa.Model) bool { return m.Understands(language) }}
	if language == "" && !named {
		choices = []func(m *sherpa.Model) bool{(*sherpa.Model).Identifies, func(m *sherpa.Model) bool { return m.Understands("en") }}
	}
	for _, fits := range choices {
		if o := find(fits); o != nil {
			return o, nil
		}
	}
	if (!named || name == sphinxEngine) && e.sphinx != nil && (language == "" || language == "en") {
		return e.sphinx, nil
	}
	switch {
	case language == "" && len(models) > 0:
		return &own{run: e.sherpa, model: models[0]}, nil
	case e.sphinx == nil && (len(models) == 0 || name == sphinxEngine):
		return nil, engine.Missing("speech recognition (PocketSphinx)")
	}
	return nil, engine.NeedsUpstream("recognition of speech in the language " + tag)
}

// translator chooses what makes English of speech in a language, "" for one that nobody has named. direct: it gives
// English itself; else what it gives is to be translated.
func (e *Engine) translator(name, tag string) (r recogniser, direct bool, err error) {
	if !plainTag(tag) {
		return nil, false, engine.Invalid("language", "must be a language code such as en")
	}
	language := base(tag)
	if language == "en" {
		r, err = e.recogniser(name, tag)
		return r, true, err
	}
	models, _ := e.owns(name)
	for _, m := range models {
		if m.TranslatesFrom(language) {
			return &own{run: e.sherpa, model: m, language: language, translate: true}, true, nil
		}
	}
	if e.o.Translate != nil {
		for _, m := range models {
			if language == "" && m.Identifies() {
				return &own{run: e.sherpa, model: m}, false, nil
			}
		}
		if language != "" {
			r, err = e.recogniser(name, tag)
			return r, false, err
		}
	}
	// What it is spoken in would be a guess, and its recognition as English nonsense.
	return nil, false, engine.NeedsUpstream("translation of speech in a language that is not given as English by the field language")
}

// describeOwn tells of the operator's models.
func (e *Engine) describeOwn() []engine.Info {
	all := e.sherpa.Models()
	ready := e.sherpa.Ready()
	if len(all) == 0 {
		need := "put a model's folder into speech/models of the engines directory (docs/engines.md)"
		if !ready {
			need = "scripts/install-engines sherpa, then " + need
		}
		return []engine.Info{{Engine: sherpaEngine, Version: sherpa.Version, Need: need}}
	}
	var infos []engine.Info
	for _, m := range all {
		i := engine.Info{Engine: sherpaEngine, Model: m.Name, Version: sherpa.Version, Ready: ready && m.Need == "", Need: m.Need, Licence: m.Licence}
		switch {
		case !ready:
			i.Need = "scripts/install-engines sherpa"
		case m.Need == "" && len(m.Languages) == 0: // else it would hear nonsense in most
			i.Ready, i.Need = false, "its languages in a model.json, or a product that names the model, as they are unknown (docs/engines.md)"
		}
		infos = append(infos, i)
	}
	return infos
}

// glue is what stands between two pieces of text: a space, unless one is Chinese or Japanese.
func glue(a, b string) string {
	last, _ := utf8.DecodeLastRuneInString(a)
	first, _ := utf8.DecodeRuneInString(b)
	if a == "" || b == "" || sherpa.Unspaced(last) && sherpa.Unspaced(first) {
		return ""
	}
	return " "
}

// join puts pieces of text together.
func join(pieces []string) string {
	var b strings.Builder
	before := ""
	for _, p := range pieces {
		b.WriteString(glue(before, p))
		b.WriteString(p)
		if p != "" {
			before = p
		}
	}
	return b.String()
}
