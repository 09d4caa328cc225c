package problem

import (
	"cmp"
	"embed"
	"encoding/json"
	"io/fs"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Phrase returns an English phrase in lang: "zh" for Simplified Chinese where zh/phrases has it, else as it is. It is for
// what is data rather than a message: what an engine needs, what a report says. A text of several sentences is known if
// each of them is.
func Phrase(lang, s string) string {
	if lang != "zh" {
		return s
	}
	return translate("", s)
}

// FieldsIn returns the failing fields with their details in lang. The paths are the caller's and stay as they are.
func (e *Error) FieldsIn(lang string) []Field {
	if lang != "zh" || len(e.Fields) == 0 {
		return e.Fields
	}
	out := make([]Field, len(e.Fields))
	for i, f := range e.Fields {
		if out[i] = f; f.inner != nil {
			out[i].Detail = f.inner.Text(lang)
		} else {
			out[i].Detail = translate(room(e.ID), f.Detail)
		}
	}
	return out
}

// message is a Chinese message. Bit i of shown is set for an argument that is a part of the sentence (%s, %v); what is
// quoted (%q) are the caller's own words, or names, and stays as it is.
type message struct {
	text  string
	shown uint64
}

var verb = regexp.MustCompile(`%(?:\[(\d)\])?[-+# 0]*[\d.]*([a-zA-Z%])`)

func newMessage(text string) message {
	m, at := message{text: text}, 0
	for _, v := range verb.FindAllStringSubmatch(text, -1) {
		if v[2] == "%" {
			continue
		}
		if v[1] != "" {
			at = int(v[1][0] - '1')
		}
		if (v[2] == "s" || v[2] == "v") && at < 64 {
			m.shown |= 1 << at
		}
		at++
	}
	return m
}

// arguments are args with the phrases among them in Chinese.
func (m message) arguments(id string, args []any) []any {
	var out []any // a copy, once something differs
	for i, a := range args {
		s, ok := a.(string)
		if !ok || i >= 64 || m.shown&(1<<i) == 0 {
			continue
		}
		if zh := translate(room(id), s); zh != s {
			if out == nil {
				out = append(out, args...)
			}
			out[i] = zh
		}
	}
	if out == nil {
		return args
	}
	return out
}

// room is the room of a message id.
func room(id string) string {
	name, _, _ := strings.Cut(id, ".")
	return name
}

// A phrase of zh/phrases/*.json is written as the code has it, or with what varies left open: # for a number, "…" for
// something in double quotes, * for other words. They are put in the Chinese in the same order, what * stands for in
// Chinese if it is a phrase itself or a list of phrases. A single word ("key") is known in the messages of the room alone
// that its file is named after, as a caller's name may be the same; a phrase of several words is known everywhere.
type phrases struct {
	exact map[string]string
	open  []pattern // those with holes, what says more first
}

type pattern struct{ prefix, key, zh string } // prefix: of the key, before its first hole

// told is how much of the key comes before what any words may stand for.
func (p pattern) told() int {
	if at := strings.IndexByte(p.key, '*'); at >= 0 {
		return at
	}
	return math.MaxInt
}

// maxPhrase is the length, in bytes, beyond which nothing is a phrase.
const maxPhrase = 1000

//go:embed zh/phrases/*.json
var phraseFS embed.FS

var table = sync.OnceValue(func() *phrases {
	t := &phrases{exact: map[string]string{}}
	names, err := fs.Glob(phraseFS, "zh/phrases/*.json")
	if err != nil {
		panic(err)
	}
	for _, name := range names {
		data, err := phraseFS.ReadFile(name)
		if err != nil {
			panic(err)
		}
		var m map[string]string
		if err := json.Unmarshal(data, &m); err != nil {
			panic("problem: " + name + ": " + err.Error())
		}
		for en, zh := range m {
			t.add(strings.TrimSuffix(path.Base(name), ".json"), en, zh)
		}
	}
	slices.SortFunc(t.open, func(a, b pattern) int { // what says more goes first
		return cmp.Or(cmp.Compare(b.told(), a.told()), cmp.Compare(len(b.key), len(a.key)), strings.Compare(a.key, b.key))
	})
	return t
})

func (t *phrases) add(room, en, zh string) {
	key := en
	if !strings.Contains(en, " ") {
		key = room + "|" + en
	}
	if _, dup := t.exact[key]; dup {
		panic("problem: phrase twice: " + en)
	}
	t.exact[key] = zh
	if at, _ := nextHole(en); at < len(en) {
		t.open = append(t.open, pattern{en[:at], en, zh})
	}
}

const quoted = `"…"`

// nextHole is where the next hole of a key begins, or its length, and the hole.
func nextHole(key string) (at int, hole string) {
	for at = range key {
		if key[at] == '#' || key[at] == '*' {
			return at, key[at : at+1]
		}
		if strings.HasPrefix(key[at:], quoted) {
			return at, quoted
		}
	}
	return len(key), ""
}

// match appends what stands for the holes of key in s, if s is of that form.
func match(key, s string, values []string) ([]string, bool) {
	at, hole := nextHole(key)
	s, ok := strings.CutPrefix(s, key[:at])
	if !ok || hole == "" {
		return values, ok && s == ""
	}
	key = key[at+len(hole):]
	n := 0
	switch hole {
	case "#":
		n = number(s)
	case quoted:
		if strings.HasPrefix(s, `"`) {
			n = strings.IndexByte(s[1:], '"') + 2
		}
	default:
		next, _ := nextHole(key)
		for from := 1; from <= len(s); from++ {
			i := strings.Index(s[from:], key[:next])
			if i < 0 {
				return nil, false
			}
			if from += i; key == "" {
				from = len(s)
			}
			if all, ok := match(key, s[from:], append(values, s[:from])); ok {
				return all, true
			}
		}
		return nil, false
	}
	if n < 2 && hole == quoted || n == 0 {
		return nil, false
	}
	return match(key, s[n:], append(values, s[:n]))
}

// number is the length of the decimal number that s begins with.
func number(s string) int {
	digits := func(s string) int {
		if end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
			return end
		}
		return len(s)
	}
	n := digits(s)
	if n > 0 && n < len(s) && s[n] == '.' {
		if more := digits(s[n+1:]); more > 0 {
			n += 1 + more
		}
	}
	return n
}

// translate returns s in Chinese, as far as it is known to the room; else s.
func translate(room, s string) string {
	if zh, ok := table().find(room, s, 0); ok {
		return zh
	}
	return s
}

// find looks s up; depth is how many phrases it is within. The length and the depth bound the work, as s may be a caller's.
func (t *phrases) find(room, s string, depth int) (string, bool) {
	if len(s) > maxPhrase || depth > 2 {
		return "", false
	}
	key := s
	if !strings.Contains(s, " ") {
		key = room + "|" + s
	}
	if zh, ok := t.exact[key]; ok {
		return zh, true
	}
	var values [8]string
	for _, p := range t.open {
		if !strings.HasPrefix(s, p.prefix) {
			continue
		}
		if found, ok := match(p.key, s, values[:0]); ok {
			return t.fill(room, p, found, depth), true
		}
	}
	if depth > 0 {
		return "", false
	}
	return t.all(room, s, ". ", "", depth)
}

// all translates the parts of s, if each of them is known.
func (t *phrases) all(room, s, between, zhBetween string, depth int) (string, bool) {
	parts := strings.SplitAfter(s, between)
	if len(parts) < 2 {
		return "", false
	}
	for i, part := range parts {
		zh, ok := t.find(room, strings.TrimSuffix(strings.TrimSuffix(part, " "), ","), depth+1)
		if !ok {
			return "", false
		}
		parts[i] = zh
	}
	return strings.Join(parts, zhBetween), true
}

// fill puts the values of the holes of a pattern into those of its Chinese: the first # into the first #, and so on.
func (t *phrases) fill(room string, p pattern, values []string, depth int) string {
	byHole := map[string][]string{}
	for key := p.key; ; {
		at, hole := nextHole(key)
		if hole == "" {
			break
		}
		key = key[at+len(hole):]
		v := values[0]
		values = values[1:]
		if hole == "*" {
			if zh, ok := t.all(room, v, ", ", "、", depth); ok {
				v = zh
			} else if zh, ok := t.find(room, v, depth+1); ok {
				v = zh
			}
		}
		byHole[hole] = append(byHole[hole], v)
	}
	var b strings.Builder
	for zh := p.zh; ; {
		at, hole := nextHole(zh)
		b.WriteString(zh[:at])
		if hole == "" {
			return b.String()
		}
		zh = zh[at+len(hole):]
		if v := byHole[hole]; len(v) > 0 {
			b.WriteString(v[0])
			byHole[hole] = v[1:]
		}
	}
}
