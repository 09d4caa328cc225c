package text

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/abadojack/whatlanggo"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// Undetermined is the language of what has no letters (ISO 639-2).
const Undetermined = "und"

// Language is a guess at a text's language.
type Language struct {
	Code       string  `json:"language"`   // ISO 639-1 where it exists, else ISO 639-3
	Confidence float64 `json:"confidence"` // 0 to 1
}

// Identifier tells the language of a text: by script where a script tells it, by fastText's lid.176 model where the engines
// directory has it, and else by trigram profiles and frequent words, which know fewer languages and err more on short texts.
// It loads the model (about 4 MB of heap) at first use. Safe for concurrent use.
type Identifier struct {
	dir  engine.Dir
	once sync.Once
	lid  *fastText // nil: not installed, or unreadable
	err  error     // why it is unreadable
}

// NewIdentifier returns an Identifier that reads nothing yet.
func NewIdentifier(dir engine.Dir) *Identifier { return &Identifier{dir: dir} }

// lidFile is the model below the engines directory.
var lidFile = []string{"text", "lid.176.ftz"}

func (d *Identifier) load() *fastText {
	d.once.Do(func() {
		path := d.dir.Path(lidFile...)
		if path == "" {
			return
		}
		data, err := os.ReadFile(path)
		if err == nil {
			d.lid, err = readFastText(data)
		}
		d.err = err // profiles are used instead; Describe tells
	})
	return d.lid
}

// Engine names what identifies: "fasttext" with the model "lid.176", or "profiles".
func (d *Identifier) Engine() (name, model string) {
	if d.load() != nil {
		return "fasttext", "lid.176"
	}
	return "profiles", "trigrams and frequent words"
}

// Identify returns the likeliest language of s and how sure that is. A text without letters is [Undetermined] with
// confidence 0. At most the first 4,000 characters are read.
func (d *Identifier) Identify(s string) (lang string, confidence float64) {
	if c := d.Candidates(s, 1); len(c) > 0 {
		return c[0].Code, c[0].Confidence
	}
	return Undetermined, 0
}

// Candidates returns up to n languages, the likeliest first.
func (d *Identifier) Candidates(s string, n int) []Language {
	s, scripts := readable(s)
	if scripts.letters == 0 || n < 1 {
		return nil
	}
	if lang := scripts.tells(); lang != "" {
		return []Language{{lang, scripts.share(lang)}}
	}
	var all []Language
	if lid := d.load(); lid != nil {
		all = byModel(lid, s, scripts)
	} else {
		all = byProfiles(s, scripts)
	}
	return all[:min(n, len(all))]
}

const maxIdentify = 4000 // characters

// addresses are no language.
var addresses = regexp.MustCompile(`(?i)\b(?:https?://|www\.)\S+|\S+@\S+\.\S+`)

// readable is what of s says something of its language: words in one case if all is in capitals, no addresses.
func readable(s string) (string, *scripts) {
	s = cut(s, maxIdentify)
	if strings.ContainsAny(s, "@/.") {
		s = addresses.ReplaceAllString(s, " ")
	}
	c := &scripts{}
	upper, lower := 0, 0
	for _, r := range s {
		c.add(r)
		switch {
		case unicode.IsUpper(r):
			upper++
		case unicode.IsLower(r):
			lower++
		}
	}
	if upper > lower {
		s = strings.ToLower(s)
	}
	return strings.Join(strings.Fields(s), " "), c
}

// cut is the first n characters of s.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// scripts counts the letters of a text by script.
type scripts struct {
	letters                int
	han, kana, hangul      int
	alone                  map[string]int // scripts that one language alone uses
	latin, cyrillic, other int
}

// alone are scripts that tell the language.
var alone = []struct {
	table *unicode.RangeTable
	lang  string
}{
	{unicode.Greek, "el"}, {unicode.Thai, "th"}, {unicode.Georgian, "ka"}, {unicode.Armenian, "hy"}, {unicode.Tamil, "ta"},
	{unicode.Telugu, "te"}, {unicode.Kannada, "kn"}, {unicode.Malayalam, "ml"}, {unicode.Gujarati, "gu"}, {unicode.Gurmukhi, "pa"},
	{unicode.Sinhala, "si"}, {unicode.Khmer, "km"}, {unicode.Lao, "lo"}, {unicode.Myanmar, "my"}, {unicode.Oriya, "or"},
	{unicode.Thaana, "dv"}, {unicode.Hebrew, "he"},
}

func (c *scripts) add(r rune) {
	if !unicode.IsLetter(r) {
		return
	}
	c.letters++
	switch {
	case unicode.Is(unicode.Latin, r):
		c.latin++
	case unicode.Is(unicode.Han, r):
		c.han++
	case unicode.Is(unicode.Hiragana, r) || unicode.Is(unicode.Katakana, r):
		c.kana++
	case unicode.Is(unicode.Hangul, r):
		c.hangul++
	case unicode.Is(unicode.Cyrillic, r):
		c.cyrillic++
	default:
		for _, a := range alone {
			if unicode.Is(a.table, r) {
				if c.alone == nil {
					c.alone = map[string]int{}
				}
				c.alone[a.lang]++
				return
			}
		}
		c.other++
	}
}

// A character of these scripts is worth this many letters of an alphabet: it stands for a syllable or a word.
const perChar = 3

// weights are letters in comparable numbers: of Chinese, Japanese and Korean, and of all.
func (c *scripts) weights() (han, kana, hangul, all int) {
	han, kana, hangul = perChar*c.han, perChar*c.kana, perChar*c.hangul
	return han, kana, hangul, c.letters + (perChar-1)*(c.han+c.kana+c.hangul)
}

// tells is the language that the scripts alone prove, or "".
func (c *scripts) tells() string {
	han, kana, hangul, all := c.weights()
	switch {
	case 2*hangul > all:
		return "ko"
	case 2*(han+kana) > all && 8*kana >= han: // a Chinese text may hold a の, a Japanese one is full of kana
		return "ja"
	case 2*han > all:
		return "zh"
	}
	for lang, n := range c.alone {
		if 2*n > all {
			return lang
		}
	}
	return ""
}

// share is how much of the text the scripts of lang are.
func (c *scripts) share(lang string) float64 {
	han, kana, hangul, all := c.weights()
	n := c.alone[lang]
	switch lang {
	case "ko":
		n = hangul
	case "ja":
		n = han + kana
	case "zh":
		n = han
	}
	return min(float64(n)/float64(all), 0.999)
}

// same maps labels of the model onto the language that callers know them by.
var same = map[string]string{"arz": "ar", "yue": "zh", "wuu": "zh", "nb": "no", "als": "de", "bh": "hi"}

func byModel(m *fastText, s string, c *scripts) []Language {
	sums := map[string]float64{}
	for _, g := range m.predict(s, 1e-4) {
		code := g.label
		if to, ok := same[code]; ok {
			code = to
		}
		if code == "sh" { // Serbo-Croatian: the alphabet chooses
			code = "hr"
			if c.cyrillic > c.latin {
				code = "sr"
			}
		}
		sums[code] += g.p
	}
	all := ranked(sums)
	if len(all) == 0 || all[0].Confidence >= certain {
		return all
	}
	votes, _ := hints(s)
	sum := 0.0
	for _, v := range votes {
		sum += v
	}
	if sum == 0 {
		return all
	}
	for code := range sums {
		sums[code] *= 1 - hintWeight
	}
	for code, v := range votes {
		sums[code] += hintWeight * v / sum
	}
	return ranked(sums)
}

// Where the model is less than certain, frequent words and telling letters are heard, too.
const (
	certain    = 0.85
	hintWeight = 0.35
)

// hints are the votes of frequent words and telling letters.
func hints(s string) (votes map[string]float64, words int) {
	votes, words = frequent(s)
	for _, r := range strings.ToLower(s) {
		langs := tellingIndex()[r]
		for _, l := range langs {
			votes[l] += 0.8 / float64(len(langs))
		}
	}
	return votes, words
}

func ranked(sums map[string]float64) []Language {
	all := make([]Language, 0, len(sums))
	for code, p := range sums {
		all = append(all, Language{code, min(p, 1)})
	}
	slices.SortFunc(all, func(a, b Language) int {
		if a.Confidence != b.Confidence {
			return -compareFloat(a.Confidence, b.Confidence)
		}
		return strings.Compare(a.Code, b.Code)
	})
	return all
}

// telling are letters that few languages have; each such letter of a text is a vote for them.
var telling = []struct{ letters, langs string }{
	{"łąęśźż", "pl"}, {"řůě", "cs"}, {"ľŕĺ", "sk"}, {"őű", "hu"}, {"șțăţ", "ro"}, {"ğış", "tr"}, {"ãõ", "pt"}, {"ñ¿¡", "es"}, {"ß", "de"},
	{"øæ", "da no"}, {"å", "sv da no"}, {"äö", "de sv fi"}, {"ü", "de tr"}, {"œêùû", "fr"}, {"èà", "fr it ca"}, {"ç", "fr pt ca tr"}, {"ò", "it ca"},
	{"ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ", "vi"}, {"ĉĝĥĵŝŭ", "eo"}, {"čšž", "cs sk hr sl"}, {"ý", "cs sk"}, {"āēīūķļņģ", "lv"}, {"ėįųū", "lt"},
	{"ïóéíáú", "es ca hu"}, {"іїєґ", "uk"}, {"ыэё", "ru"}, {"ъ", "bg"}, {"ђјљњћџ", "sr"}, {"ў", "be"}, {"پچژگیک", "fa"}, {"ٹڈڑںےہھ", "ur"}, {"ةىأإ", "ar"},
}

var tellingIndex = sync.OnceValue(func() map[rune][]string {
	index := map[rune][]string{}
	for _, t := range telling {
		for _, r := range t.letters {
			index[r] = append(index[r], strings.Fields(t.langs)...)
		}
	}
	return index
})

// shortText has too few letters for trigrams to tell rare languages from common ones.
const shortText = 120

// byProfiles counts frequent words and telling letters, and asks the trigram profiles for the rest.
func byProfiles(s string, c *scripts) []Language {
	votes, words := hints(s)
	var o whatlanggo.Options
	if c.letters < shortText {
		o.Whitelist = common()
	}
	info := whatlanggo.DetectWithOptions(s, o)
	if code := isoOf(info.Lang); code != "" {
		votes[code] += 0.5 + 0.5*info.Confidence
	}
	sum := 0.0
	for _, v := range votes {
		sum += v
	}
	if sum == 0 {
		return nil
	}
	sure := min(1, 0.4+0.1*float64(words)) // few words prove little
	for code := range votes {
		votes[code] = votes[code] / sum * sure
	}
	return ranked(votes)
}

// common are the languages that short texts are taken for.
var common = sync.OnceValue(func() map[whatlanggo.Lang]bool {
	set := map[whatlanggo.Lang]bool{}
	for l := range whatlanggo.Zul + 1 {
		code := isoOf(l)
		if _, ok := frequentWords[code]; ok || code == "he" || code == "be" || code == "yi" {
			set[l] = true
		}
	}
	return set
})

func isoOf(l whatlanggo.Lang) string {
	if l < 0 {
		return ""
	}
	if code := l.Iso6391(); code != "" {
		if code == "nb" || code == "nn" {
			return "no"
		}
		return code
	}
	switch code := l.Iso6393(); code {
	case "pes", "prs":
		return "fa"
	case "arb":
		return "ar"
	case "cmn":
		return "zh"
	default:
		return code
	}
}
