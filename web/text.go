package web

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// languages are those of the pages; the first is for whoever asks for none of them.
var languages = []string{"en", "zh"}

var contentLanguage = map[string]string{"en": "en", "zh": "zh-CN"}

//go:embed texts.json
var textFile []byte

// texts are the texts of the pages by id and language.
var texts = sync.OnceValue(func() map[string]map[string]string {
	var all map[string]map[string]string
	if err := json.Unmarshal(textFile, &all); err != nil {
		panic("web: texts.json: " + err.Error())
	}
	return all
})

// text returns a text. One that does not exist shows its id; a test finds those.
func text(lang, id string, args ...any) string {
	t, ok := texts()[id][lang]
	if !ok {
		return id
	}
	if len(args) > 0 {
		return fmt.Sprintf(t, args...)
	}
	return t
}

func (s *site) text(r *http.Request, id string, args ...any) string {
	return text(language(nil, r), id, args...)
}

// named is the name of a thing that the pages may have a text for. Foreign: they have none, and it is English.
type named struct {
	Text    string
	Foreign bool
}

func nameOf(lang, prefix, name string) named {
	if t, ok := texts()[prefix+name][lang]; ok {
		return named{t, false}
	}
	if at := variant.FindStringIndex(name); at != nil { // "ranking, hybrid", "translation en → es"
		if t, ok := texts()[prefix+name[:at[0]]][lang]; ok {
			return named{t + strings.Replace(name[at[0]:], ", ", texts()["comma"][lang], 1), false}
		}
	}
	return named{name, lang != "en"}
}

// variant is the end of a name that is the same in every language.
var variant = regexp.MustCompile(`(, [\w/-]+| [\w-]+ → [\w-]+)$`)

// rich shows what stands between backticks as code. Everything in it is escaped.
func rich(s string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(s, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}

// textsJSON returns the texts whose ids begin with prefix, for the script, by the rest of the id.
func textsJSON(lang, prefix string) string {
	m := map[string]string{}
	for id, t := range texts() {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			m[rest] = t[lang]
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings encode
	}
	return string(b)
}

// language finds the reader's language: as chosen on the page, else as chosen before, else as the browser
// prefers. With w it remembers a choice.
func language(w http.ResponseWriter, r *http.Request) string {
	const cookie = "tollgate_lang"
	if lang := r.URL.Query().Get("lang"); known(lang) {
		if w != nil {
			http.SetCookie(w, &http.Cookie{Name: cookie, Value: lang, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true,
				SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil})
		}
		return lang
	}
	if c, err := r.Cookie(cookie); err == nil && known(c.Value) {
		return c.Value
	}
	best, lang := 0.0, languages[0]
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64) // 0 where it is none
		}
		tag, _, _ = strings.Cut(strings.ToLower(tag), "-")
		if known(tag) && q > best {
			best, lang = q, tag
		}
	}
	return lang
}

func known(lang string) bool { return contentLanguage[lang] != "" }

// grouped writes a whole number with separators: 65,536.
func grouped(n int64) string { return groupDigits(strconv.FormatInt(n, 10)) }

// groupDigits puts separators into the whole part of a decimal.
func groupDigits(s string) string {
	sign := ""
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		sign, s = "-", rest
	}
	whole, frac, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if point {
		whole += "." + frac
	}
	return sign + whole
}
