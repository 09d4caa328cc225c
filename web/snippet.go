package web

import (
	"embed"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/tollgate-io/tollgate/internal/catalog"
)

// sampleFiles hold a call of each capability in each language: samples/capability.language.txt, with «base» and «model» for
// the base URL and the model's name as strings, and «name» for the bare name within quotes of a shell.
//
//go:embed samples
var sampleFiles embed.FS

// sampleSet is a call in every language.
type sampleSet struct {
	Of      catalog.Capability
	Prefix  string // of the ids of its fields on the page
	Samples []sample
}

// sample is a call in a programming language.
type sample struct {
	ID   string // of the language: curl
	Name string
	Note string // what it needs, if anything
	Code string
}

// sampleLanguages are those of the samples, with what they need: for OpenAI's shapes, and for others.
var sampleLanguages = []struct{ id, name, openAI, other string }{
	{"curl", "curl", "", ""},
	{"python", "Python", "pip install openai", "pip install requests"},
	{"javascript", "JavaScript", "npm install openai", ""},
	{"go", "Go", "go get github.com/openai/openai-go/v3", ""},
}

// samples are calls of what a model can do. The key comes from the environment.
func samples(publicURL, model string, can ...catalog.Capability) (sets []sampleSet) {
	base := publicURL + "/v1"
	plain := strings.NewReplacer("«base»", quote(base), "«model»", quote(model))
	shell := strings.NewReplacer("«base»", shellSafe(base), "«model»", shellSafe(quote(model)), "«name»", shellSafe(model))
	for _, c := range can {
		set := sampleSet{Of: c, Prefix: "s"}
		for _, l := range sampleLanguages {
			code, err := sampleFiles.ReadFile("samples/" + string(c) + "." + l.id + ".txt")
			if err != nil {
				continue // a test finds what is missing
			}
			fill, note := plain, l.other
			if l.id == "curl" {
				fill = shell
			}
			if contracts[c].openAI {
				note = l.openAI
			}
			set.Samples = append(set.Samples, sample{l.id, l.name, note, fill.Replace(string(code))})
		}
		if len(sets) > 0 {
			set.Prefix += "-" + string(c)
		}
		sets = append(sets, set)
	}
	return sets
}

// quote makes a text a string of JSON, which is one of Python, JavaScript and Go too.
func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings encode
	}
	return strings.TrimSpace(b.String())
}

// shellSafe makes a text fit to stand between single quotes of a shell.
func shellSafe(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

// token is a piece of code of one colour: Class "s" string, "c" comment, "k" word of the language, or "".
type token struct{ Class, Text string }

// words are what the samples' languages have of their own, as far as the samples use it.
var words = regexp.MustCompile(`^(import|from|for|in|if|elif|print|await|async|const|new|of|package|func|function|return|throw|with|as|open|defer|type|struct|map|else|export|curl|range|var|True)\b`)

var tokens = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|(?m:(?:^|\s)(?:#|//) .*$)|\b[A-Za-z]+\b`)

// highlight splits code for colouring. Joined again the pieces are the code.
func highlight(code string) (out []token) {
	for code != "" {
		at := tokens.FindStringIndex(code)
		if at == nil {
			return append(out, token{"", code})
		}
		piece := code[at[0]:at[1]]
		class := ""
		switch {
		case strings.HasPrefix(piece, `"`):
			class = "s"
		case strings.HasPrefix(strings.TrimSpace(piece), "# ") || strings.HasPrefix(strings.TrimSpace(piece), "// "):
			class = "c"
		case words.MatchString(piece):
			class = "k"
		}
		out = append(out, token{"", code[:at[0]]}, token{class, piece})
		code = code[at[1]:]
	}
	return out
}
