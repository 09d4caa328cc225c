package speech

import (
	"context"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/proc"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Voice is one that speaks.
type Voice struct {
	ID       string   `json:"id"` // "espeak-ng/de", "flite/slt"
	Name     string   `json:"name"`
	Language string   `json:"language"` // IETF tag
	Gender   string   `json:"gender,omitempty"`
	Engine   string   `json:"engine"`
	Quality  string   `json:"quality"`
	Aliases  []string `json:"aliases,omitempty"` // OpenAI's names that stand for it, in English
}

// role is what one of OpenAI's names stands for here: a voice of flite in English, and a variant of espeak-ng's voice
// in any other language.
type role struct{ flite, variant string }

// roles are OpenAI's names. Clients send them whatever they talk to, so each must speak.
var roles = map[string]role{
	"alloy": {"slt", "f2"}, "ash": {"rms", "m3"}, "ballad": {"awb", "m1"}, "cedar": {"rms", "m7"}, "coral": {"slt", "f3"},
	"echo": {"rms", "m1"}, "fable": {"awb", "m2"}, "marin": {"slt", "f5"}, "nova": {"slt", "f4"}, "onyx": {"kal16", "m4"},
	"sage": {"slt", "f1"}, "shimmer": {"slt", "f5"}, "verse": {"rms", "m5"},
}

// fliteVoices are those built into Debian's flite. Its voice option takes paths and addresses too, so nothing
// else may get there.
var fliteVoices = []Voice{
	{ID: "flite/slt", Name: "Slt", Language: "en-us", Gender: "female", Engine: "flite"},
	{ID: "flite/rms", Name: "Rms", Language: "en-us", Gender: "male", Engine: "flite"},
	{ID: "flite/awb", Name: "Awb", Language: "en-gb-scotland", Gender: "male", Engine: "flite"},
	{ID: "flite/kal16", Name: "Kal", Language: "en-us", Gender: "male", Engine: "flite"},
}

// voices are espeak-ng's, read once.
type voices struct {
	mu   sync.Mutex
	list []Voice
}

// espeakVoices lists espeak-ng's voices.
func (e *Engine) espeakVoices(ctx context.Context) ([]Voice, error) {
	if e.espeak == "" {
		return nil, nil
	}
	e.voices.mu.Lock()
	defer e.voices.mu.Unlock()
	if e.voices.list == nil {
		out, err := proc.Run(ctx, proc.Spec{Path: e.espeak, Args: []string{"--voices"}}, nil, 1<<20)
		if err != nil {
			return nil, err
		}
		e.voices.list = parseVoices(string(out))
	}
	return e.voices.list, nil
}

// parseVoices reads the table of espeak-ng --voices: priority, language, age/gender, name, file, others.
func parseVoices(table string) (list []Voice) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 5 || f[0] == "Pty" || !plainTag(f[1]) {
			continue
		}
		v := Voice{ID: "espeak-ng/" + f[1], Name: strings.ReplaceAll(f[3], "_", " "), Language: f[1], Engine: "espeak-ng", Quality: "formant"}
		switch {
		case strings.HasSuffix(f[2], "/M"):
			v.Gender = "male"
		case strings.HasSuffix(f[2], "/F"):
			v.Gender = "female"
		}
		// The voice "cmn" reads the pinyin that it makes of Chinese characters as English; the other one is meant for
		// Chinese text.
		if f[1] == "cmn" || slices.ContainsFunc(list, func(o Voice) bool { return o.ID == v.ID }) {
			continue
		}
		list = append(list, v)
	}
	return list
}

// Voices lists who can speak here.
func (e *Engine) Voices(ctx context.Context) ([]Voice, error) {
	var all []Voice
	if e.flite != "" {
		for _, v := range fliteVoices {
			v.Quality = "concatenative"
			for name, r := range roles {
				if "flite/"+r.flite == v.ID {
					v.Aliases = append(v.Aliases, name)
				}
			}
			slices.Sort(v.Aliases)
			all = append(all, v)
		}
	}
	more, err := e.espeakVoices(ctx)
	return append(all, more...), err
}

// chosen is a voice that was settled on.
type chosen struct {
	engine, name, variant string
}

// espeakFor names the voice of espeak-ng for a language tag, where its own resolution would not find the best.
var espeakFor = map[string]string{
	"zh": "cmn-latn-pinyin", "zh-cn": "cmn-latn-pinyin", "zh-hans": "cmn-latn-pinyin", "zh-tw": "cmn-latn-pinyin", "zh-hant": "cmn-latn-pinyin",
	"cmn": "cmn-latn-pinyin", "zh-hk": "yue", "zh-yue": "yue", "en": "en-us", "no": "nb", "fr": "fr-fr", "tl": "en-us",
}

// choose settles on a voice: one named by its id or by a language, or one of OpenAI's names or none, with the
// language given or that of the text.
func (e *Engine) choose(ctx context.Context, voice, language, text string) (chosen, error) {
	if e.espeak == "" && e.flite == "" {
		return chosen{}, engine.Missing("text to speech (espeak-ng)")
	}
	voice = strings.ToLower(strings.TrimSpace(voice))
	if !plainTag(language) {
		return chosen{}, engine.Invalid("language", "must be a language code such as en")
	}
	if name, ok := strings.CutPrefix(voice, "flite/"); ok {
		if e.flite == "" {
			return chosen{}, engine.Missing("flite")
		}
		switch {
		case !slices.ContainsFunc(fliteVoices, func(v Voice) bool { return v.ID == voice }):
			return chosen{}, noVoice()
		case !pronounceable(ascii(text)):
			return chosen{}, engine.Invalid("voice", "reads Latin letters alone; choose a voice of the text's language, GET /v1/audio/voices lists them")
		}
		return chosen{"flite", name, ""}, nil
	}
	r, isRole := roles[voice]
	switch {
	case strings.HasPrefix(voice, "espeak-ng/"):
		language = strings.TrimPrefix(voice, "espeak-ng/")
	case isRole, voice == "", voice == "default":
	default:
		language = voice
	}
	if language == "" {
		language = e.languageOf(text)
	}
	if r.flite == "" {
		r = roles["alloy"]
	}
	if explicit := strings.HasPrefix(voice, "espeak-ng/"); e.flite != "" && !explicit && (base(language) == "en" && (isRole || voice == "" || voice == "default") && pronounceable(text)) {
		return chosen{"flite", r.flite, ""}, nil
	}
	return e.chooseEspeak(ctx, language, r.variant, isRole)
}

func (e *Engine) chooseEspeak(ctx context.Context, language, variant string, isRole bool) (chosen, error) {
	if e.espeak == "" {
		return chosen{}, engine.Missing("text to speech in the language " + language + " (espeak-ng)")
	}
	list, err := e.espeakVoices(ctx)
	if err != nil {
		return chosen{}, err
	}
	tag := strings.ReplaceAll(strings.ToLower(language), "_", "-")
	known := func(id string) bool { return slices.ContainsFunc(list, func(v Voice) bool { return v.Language == id }) }
	for _, try := range []string{espeakFor[tag], tag, espeakFor[base(tag)], base(tag)} {
		if try == "" || !known(try) {
			continue
		}
		c := chosen{engine: "espeak-ng", name: try}
		if isRole {
			c.variant = variant
		}
		return c, nil
	}
	return chosen{}, noVoice()
}

func noVoice() error {
	return problem.New(problem.Invalid, "speech.no_voice", "there is no such voice; GET /v1/audio/voices lists them").WithField("voice", "is not known")
}

func (c chosen) String() string {
	s := c.engine + "/" + c.name
	if c.variant != "" {
		s += "+" + c.variant
	}
	return s
}

// pronounceable reports whether flite, which knows ASCII alone, can read a text.
func pronounceable(text string) bool {
	for _, c := range text {
		if c > unicode.MaxASCII && unicode.IsLetter(c) {
			return false
		}
	}
	return true
}

// scripts are those that one language stands for, where nothing else is known of a text.
var scripts = []struct {
	table    *unicode.RangeTable
	language string
}{
	{unicode.Hiragana, "ja"}, {unicode.Katakana, "ja"}, {unicode.Hangul, "ko"}, {unicode.Han, "zh"}, {unicode.Cyrillic, "ru"},
	{unicode.Arabic, "ar"}, {unicode.Greek, "el"}, {unicode.Hebrew, "he"}, {unicode.Devanagari, "hi"}, {unicode.Thai, "th"},
	{unicode.Bengali, "bn"}, {unicode.Tamil, "ta"}, {unicode.Telugu, "te"}, {unicode.Georgian, "ka"}, {unicode.Armenian, "hy"},
	{unicode.Ethiopic, "am"}, {unicode.Gujarati, "gu"}, {unicode.Gurmukhi, "pa"}, {unicode.Kannada, "kn"}, {unicode.Malayalam, "ml"},
	{unicode.Myanmar, "my"}, {unicode.Sinhala, "si"},
}

// languageOf guesses the language of a text that is to be spoken: by its script, or where that is Latin by Identify.
func (e *Engine) languageOf(text string) string {
	letters := 0
	seen := make([]int, len(scripts))
	for _, c := range text {
		if !unicode.IsLetter(c) {
			continue
		}
		letters++
		if c > unicode.MaxASCII {
			for i, s := range scripts {
				if unicode.Is(s.table, c) {
					seen[i]++
				}
			}
		}
	}
	if kana := seen[0] + seen[1]; kana > 0 && (kana+seen[3])*3 >= letters {
		return "ja"
	}
	most := 0
	for i, n := range seen {
		if n > seen[most] {
			most = i
		}
	}
	if n := seen[most]; n > 0 && n*3 >= letters {
		return scripts[most].language
	}
	// A few words are too little to tell a language by, and most are English.
	if e.o.Identify != nil && letters >= 20 {
		if l := e.o.Identify(text); l != "" {
			return l
		}
	}
	return "en"
}

// serveVoices lists the voices.
func (e *Engine) serveVoices(ctx context.Context, _ *engine.Request, w engine.Writer) error {
	all, err := e.Voices(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return engine.Missing("text to speech (espeak-ng)")
	}
	return engine.WriteJSON(w, 200, map[string]any{"object": "list", "data": all})
}
