package translate

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// structureRuns is how many documents of each format are generated.
const structureRuns = 100

// evaluateStructure translates generated documents of every format and counts how many have the same structure
// afterwards: tags, keys, times, code, placeholders.
func (e *Engine) evaluateStructure(ctx context.Context) ([]engine.Report, error) {
	var reports []engine.Report
	for _, to := range []string{"zh", "es"} {
		r := e.routes.find("en", to, "")
		if r == nil {
			continue
		}
		rng := rand.New(rand.NewPCG(1, 2))
		rep := engine.Report{Engine: r.engine(), Model: r.model(), Version: e.version(r), Task: "structure of documents en → " + to,
			Data: "generated documents", Note: "share of documents in which every tag, key, time and placeholder is where it was"}
		for _, f := range []string{formatHTML, formatMarkdown, formatJSON, formatSRT, formatVTT, formatDOCX} {
			kept := 0
			for range structureRuns {
				doc := generate(f, rng)
				d, err := takeApart(f, doc)
				if err != nil {
					return nil, err
				}
				t, err := e.run(ctx, &job{source: "en", target: to, format: f, docs: []*document{d}}, nil)
				if err != nil {
					return nil, err
				}
				if slices.Equal(skeleton(f, doc), skeleton(f, t[0].data)) {
					kept++
				}
			}
			rep.Samples += structureRuns
			rep.Figures = append(rep.Figures, engine.Figure{Name: f + " kept", Value: float64(kept) / structureRuns, Floor: 1})
		}
		reports = append(reports, rep)
	}
	return reports, nil
}

var evaluationWords = strings.Fields("the a house dog red big we you they like see book car water friend in with is not school new old city street read write good day")

func prose(rng *rand.Rand, n int) string {
	w := make([]string, 1+rng.IntN(n))
	for i := range w {
		w[i] = evaluationWords[rng.IntN(len(evaluationWords))]
	}
	return upperFirst(strings.Join(w, " "))
}

// generate makes a document with what each format can hold.
func generate(format string, rng *rand.Rand) []byte {
	var b strings.Builder
	line := func(f string, a ...any) { fmt.Fprintf(&b, f+"\n", a...) }
	n := 2 + rng.IntN(4)
	switch format {
	case formatHTML:
		line("<!DOCTYPE html><html><head><title>%s</title><style>p{color:red}</style></head><body>", prose(rng, 4))
		for range n {
			line(`<p class="x" id='i%d'>%s <b>%s <i>%s</i></b>, {name} <a href="/u?a=1&amp;b=2">%s</a>.<br/>%s &lt;3</p>`, rng.IntN(9), prose(rng, 5), prose(rng, 3), prose(rng, 2), prose(rng, 3), prose(rng, 4))
			line(`<ul><li>%s<li>%s <code>x := the(dog)</code></ul><img src="a.png" alt="%s"><script>if (a < b) { the("dog") }</script>`, prose(rng, 3), prose(rng, 3), prose(rng, 3))
			line(`<!-- the dog --><div translate="no">the <span>dog</span></div><table><tr><td>%s</td><td>12</td></tr></table>`, prose(rng, 3))
		}
		line("</body></html>")
	case formatMarkdown:
		line("---\ntitle: the dog\n---\n\n# %s\n", prose(rng, 4))
		for range n {
			line("%s **%s** and [%s](http://x.org/a_b) with `the dog` {{name}}.\n", prose(rng, 5), prose(rng, 2), prose(rng, 2))
			line("- %s\n- [x] %s\n  1. %s\n\n> %s\n", prose(rng, 4), prose(rng, 4), prose(rng, 4), prose(rng, 4))
			line("```go\nthe := dog // a dog\n```\n\n| %s | %s |\n|---|:--:|\n| %s | `a` |\n", prose(rng, 2), prose(rng, 2), prose(rng, 2))
		}
		line("![%s](a.png \"t\")\n\n[1]: http://x.org", prose(rng, 2))
	case formatJSON:
		line("{")
		for i := range n {
			line(`  "key %d": {"title": "%s, {name}! %%s", "n": %d.50, "id": "the_dog", "list": ["%s", null, true, "https://x.org/the"]},`, i, prose(rng, 5), rng.IntN(99), prose(rng, 4))
		}
		line(`  "last": "%s \"%s\" \u00e9\n"%s}`, prose(rng, 3), prose(rng, 2), "\n")
	case formatSRT, formatVTT:
		sep := ","
		if format == formatVTT {
			sep = "."
			line("WEBVTT\n\nNOTE the dog\n\nSTYLE\n::cue { color: red }\n")
		}
		for i := range n {
			line("%d\n00:00:0%d%s000 --> 00:00:0%d%s500\n%s\n<i>%s</i>\n", i+1, i, sep, i, sep, prose(rng, 6), prose(rng, 4))
			line("%d\n00:01:0%d%s000 --> 00:01:0%d%s500\n- %s\n- %s {\\an8}\n", i+100, i, sep, i, sep, prose(rng, 3), prose(rng, 3))
		}
	case formatDOCX:
		return generateDOCX(rng, n)
	}
	return []byte(b.String())
}

func generateDOCX(rng *rand.Rand, n int) []byte {
	var x strings.Builder
	x.WriteString(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>`)
	for range n {
		fmt.Fprintf(&x, `<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>%s</w:t></w:r></w:p>`, prose(rng, 4))
		fmt.Fprintf(&x, `<w:p><w:r><w:t xml:space="preserve">%s </w:t></w:r><w:r><w:rPr><w:b/></w:rPr><w:t>%s</w:t></w:r><w:r><w:tab/><w:t xml:space="preserve"> %s &amp; </w:t></w:r><w:hyperlink w:anchor="a"><w:r><w:t>%s</w:t></w:r></w:hyperlink></w:p>`,
			prose(rng, 5), prose(rng, 2), prose(rng, 4), prose(rng, 3))
		fmt.Fprintf(&x, `<w:tbl><w:tr><w:tc><w:p><w:r><w:t>%s</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>12</w:t></w:r></w:p></w:tc></w:tr></w:tbl>`, prose(rng, 3))
	}
	x.WriteString(`<w:sectPr/></w:body></w:document>`)
	return zipped(map[string]string{"[Content_Types].xml": `<Types/>`, "word/document.xml": x.String(),
		"word/header1.xml": `<w:hdr xmlns:w="x"><w:p><w:r><w:t>` + prose(rng, 3) + `</w:t></w:r></w:p></w:hdr>`, "word/media/image1.png": "\x89PNG the dog"})
}

// zipped packs files, in the order of their names.
func zipped(files map[string]string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if f, err := z.Create(n); err == nil { // a buffer takes everything
			_, _ = f.Write([]byte(files[n]))
		}
	}
	_ = z.Close()
	return b.Bytes()
}

var (
	mdSkeleton  = regexp.MustCompile("(?m)^[ >]*(#+|[-*+] (?:\\[[ xX]\\] )?|\\d+\\. )|```[^`]*```|`[^`\n]+`|\\]\\([^)]*\\)|!?\\[|\\*\\*|\\||\\{\\{\\w+\\}\\}|^---[\\s\\S]*?\n---$|^\\[\\d\\]:.*")
	cueSkeleton = regexp.MustCompile(`(?m)^\d+$|.*-->.*|^WEBVTT.*|^NOTE.*|^STYLE\n.*|</?i>|\{\\an8\}|^- `)
	textOfRun   = regexp.MustCompile(`<w:t[^>]*>[^<]*</w:t>`)
	wholeRun    = regexp.MustCompile(`<w:r>.*?</w:r>`)
	placeholder = regexp.MustCompile(`\{name\}|%s|\{\{name\}\}`)
)

// skeleton is what a translation must not change.
func skeleton(format string, data []byte) (s []string) {
	switch format {
	case formatHTML:
		z := html.NewTokenizer(bytes.NewReader(data))
		for z.Next() != html.ErrorToken {
			if t := z.Token(); t.Type != html.TextToken {
				for i := range t.Attr {
					if t.Attr[i].Key == "alt" {
						t.Attr[i].Val = ""
					}
				}
				s = append(s, t.String())
			}
		}
		slices.Sort(s) // inline tags may change places with their words
	case formatMarkdown:
		s = mdSkeleton.FindAllString(string(data), -1)
		slices.Sort(s)
	case formatJSON:
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			return []string{err.Error()}
		}
		return append(jsonSkeleton("", v), placeholder.FindAllString(string(data), -1)...)
	case formatSRT, formatVTT:
		s = cueSkeleton.FindAllString(string(data), -1)
		slices.Sort(s)
	case formatDOCX:
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return []string{err.Error()}
		}
		for _, f := range z.File {
			body, err := readPart(f)
			if err != nil {
				return []string{err.Error()}
			}
			text := textOfRun.ReplaceAllString(string(body), "<w:t/>")
			runs := wholeRun.FindAllString(text, -1) // a look may go where its words go
			runs = slices.DeleteFunc(runs, func(r string) bool { return !strings.Contains(r, "<w:t/>") && !strings.Contains(r, "<w:tab/>") })
			slices.Sort(runs)
			s = append(append(s, f.Name, wholeRun.ReplaceAllString(text, "")), slices.Compact(runs)...)
		}
		return s
	}
	return append(s, placeholder.FindAllString(string(data), -1)...)
}

func jsonSkeleton(path string, v any) (s []string) {
	switch t := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(t))
		for k := range t {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			s = append(s, jsonSkeleton(path+"/"+k, t[k])...)
		}
	case []any:
		for i := range t {
			s = append(s, jsonSkeleton(fmt.Sprintf("%s/%d", path, i), t[i])...)
		}
	case string:
		if isProse(t) {
			t = ""
		}
		s = append(s, path+"="+t)
	default:
		s = append(s, fmt.Sprintf("%s=%v", path, t))
	}
	return s
}
