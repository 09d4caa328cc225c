package sandbox

import (
	"cmp"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
)

// BM25 with the usual parameters. The words of a heading count three times, and a section's score grows
// with the part of its heading that the question names, up to double.
const (
	k1            = 1.2
	b             = 0.75
	headingWeight = 3
	// enough is the part of a question's weight that a section must cover to be quoted. Below it the
	// sandbox says that it found nothing.
	enough = 0.3
)

// section is one second-level section of the manual.
type section struct {
	title, heading, text string
	headed               []string // terms of the heading
	count                map[string]int
	length               float64
}

// shelf holds the sections of one language.
type shelf struct {
	sections []section
	having   map[string]int // in how many sections a term is
	average  float64
}

type index struct{ shelves map[string]*shelf }

func readManual(manual fs.FS) (*index, error) {
	ix := &index{shelves: map[string]*shelf{}}
	for _, lang := range []string{english, chinese} {
		files, err := fs.Glob(manual, path.Join(lang, "*.md"))
		if err != nil {
			return nil, err
		}
		sh := &shelf{having: map[string]int{}}
		for _, name := range files {
			data, err := fs.ReadFile(manual, name)
			if err != nil {
				return nil, err
			}
			sh.add(string(data))
		}
		if len(sh.sections) == 0 {
			return nil, fmt.Errorf("sandbox: no manual in %s", lang)
		}
		sh.average /= float64(len(sh.sections))
		ix.shelves[lang] = sh
	}
	return ix, nil
}

// add reads one file.
func (sh *shelf) add(file string) {
	title := ""
	file = "\n" + strings.ReplaceAll(file, "\r\n", "\n")
	head, rest, _ := strings.Cut(file, "\n## ")
	if _, t, ok := strings.Cut(head, "\n# "); ok {
		title, _, _ = strings.Cut(t, "\n")
	}
	for part := range strings.SplitSeq(rest, "\n## ") {
		heading, text, _ := strings.Cut(part, "\n")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		s := section{title: title, heading: strings.TrimSpace(heading), text: text, count: map[string]int{}}
		s.headed = terms(heading)
		for _, t := range terms(text + "\n" + title + strings.Repeat("\n"+heading, headingWeight)) {
			if s.count[t]++; s.count[t] == 1 {
				sh.having[t]++
			}
			s.length++
		}
		sh.average += s.length
		sh.sections = append(sh.sections, s)
	}
}

func (sh *shelf) weight(term string) float64 {
	n := float64(sh.having[term])
	return math.Log(1 + (float64(len(sh.sections))-n+0.5)/(n+0.5))
}

// hit is a section with its score and the part of the question's weight that it covers.
type hit struct {
	*section
	score, cover float64
}

// search ranks the sections that have any term of the question.
func (sh *shelf) search(question string) []hit {
	asked := terms(question)
	slices.Sort(asked)
	asked = slices.Compact(asked)
	all := 0.0
	for _, t := range asked {
		all += sh.weight(t)
	}
	var hits []hit
	for i := range sh.sections {
		s := &sh.sections[i]
		h := hit{section: s}
		for _, t := range asked {
			if n := float64(s.count[t]); n > 0 {
				w := sh.weight(t)
				h.cover += w / all
				h.score += w * n * (k1 + 1) / (n + k1*(1-b+b*s.length/sh.average))
			}
		}
		named := 0.0
		for _, t := range s.headed {
			if _, ok := slices.BinarySearch(asked, t); ok {
				named++
			}
		}
		h.score *= 1 + named/max(1, float64(len(s.headed)))
		if h.score > 0 {
			hits = append(hits, h)
		}
	}
	slices.SortStableFunc(hits, func(x, y hit) int { return cmp.Compare(y.score, x.score) })
	return hits
}

// words of an answer, by language.
type phrases struct{ label, from, related, nothing, titles, quote, separator string }

var wording = map[string]phrases{
	english: {
		label:     "[Tollgate sandbox: this is no language model. It looks questions up in the product's manual and quotes it.]",
		from:      "From “%s”, section “%s”:",
		related:   "See also: %s.",
		nothing:   "The manual has no section that fits this question.",
		titles:    "It can answer questions about: %s.",
		quote:     "“%s”",
		separator: ", ",
	},
	chinese: {
		label:     "【Tollgate 沙盒：这不是大语言模型。它在产品手册中检索问题并引用原文。】",
		from:      "引自《%s》“%s”一节：",
		related:   "另见：%s。",
		nothing:   "手册中没有与该问题相符的章节。",
		titles:    "可以询问的主题：%s。",
		quote:     "“%s”",
		separator: "、",
	},
}

// answer is the text of the answer to a question.
func (ix *index) answer(question, lang string) string {
	sh, say := ix.shelves[lang], wording[lang]
	hits := sh.search(question)
	if len(hits) == 0 || hits[0].cover < enough {
		var titles []string
		for i := range sh.sections {
			if t := sh.sections[i].title; !slices.Contains(titles, t) {
				titles = append(titles, t)
			}
		}
		return say.label + "\n\n" + say.nothing + " " + fmt.Sprintf(say.titles, strings.Join(titles, say.separator))
	}
	out := say.label + "\n\n" + fmt.Sprintf(say.from, hits[0].title, hits[0].heading) + "\n\n" + hits[0].text
	var related []string
	for _, h := range hits[1:min(len(hits), 3)] {
		if h.cover >= enough {
			related = append(related, fmt.Sprintf(say.quote, h.heading))
		}
	}
	if len(related) > 0 {
		out += "\n\n" + fmt.Sprintf(say.related, strings.Join(related, say.separator))
	}
	return out
}
