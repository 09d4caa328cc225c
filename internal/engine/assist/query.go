package assist

import (
	_ "embed"
	"slices"
	"strings"
	"sync"
)

// query is what is looked for: concepts, and perhaps a vector.
type query struct {
	concepts []concept
	runs     []run // of wide characters that are no phrase of the lexicon
	vector   []float32
	lang     string // only passages of this language; "" for all
}

// run is a piece of a script without spaces: some words, of which nobody says where they end.
type run struct {
	text   []rune
	weight float64
}

// concept is one thing that a question names, in all the ways that it can be said. It is found where any of them is, and counts as
// one word: as often as they are there together, and as rare as all of them are.
type concept struct {
	said   []way
	parts  []way // single words of what was said, for where no passage says it in any way
	weight float64
	pair   bool // two neighbouring characters of a script without spaces: perhaps no word
}

// way is one way to say a concept: terms that must all be there.
type way struct {
	terms  []string
	weight float64
}

// synonymWeight is what another word for what was said counts.
const synonymWeight = 0.7

// partWeight is what a single word of a phrase counts.
const partWeight = 0.5

// fillerWeight is what a word counts that says little about what is asked.
const fillerWeight = 0.25

//go:embed lexicon/synonyms.txt
var synonymFile string

//go:embed lexicon/fillers.txt
var fillerFile string

//go:embed lexicon/fillers_zh.txt
var fillerFileZH string

// lexicon is the embedded word lists, read at the first question.
type lexicon struct {
	groups  [][]way          // by group
	phrases map[string][]int // "top up" of stems, or wide characters as they are, to its groups
	longest int              // words of a phrase
	wide    int              // characters of a wide phrase
	fillers map[string]bool
	silent  []string // wide fillers, in the order of the file
}

var words = sync.OnceValue(func() *lexicon {
	l := &lexicon{phrases: map[string][]int{}, fillers: map[string]bool{}}
	for line := range lexiconLines(synonymFile) {
		var group []way
		for phrase := range strings.SplitSeq(line, ",") {
			phrase = strings.TrimSpace(phrase)
			key := phraseKey(phrase)
			if !slices.Contains(l.phrases[key], len(l.groups)) {
				l.phrases[key] = append(l.phrases[key], len(l.groups))
			}
			if wide(firstRune(phrase)) {
				l.wide = max(l.wide, len([]rune(phrase)))
			} else {
				l.longest = max(l.longest, len(strings.Fields(phrase)))
			}
			if t := terms(phrase); len(t) > 0 {
				group = append(group, way{t, synonymWeight})
			}
		}
		l.groups = append(l.groups, group)
	}
	for line := range lexiconLines(fillerFile) {
		for _, w := range strings.Fields(line) {
			l.fillers[w], l.fillers[stem(w)] = true, true
		}
	}
	for line := range lexiconLines(fillerFileZH) {
		l.silent = append(l.silent, strings.Fields(line)...)
	}
	return l
})

func lexiconLines(file string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(file) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !yield(line) {
				return
			}
		}
	}
}

// phraseKey is how a phrase is found in a question, whatever its inflection.
func phraseKey(phrase string) string {
	if wide(firstRune(phrase)) {
		return phrase
	}
	list := strings.Fields(strings.ToLower(phrase))
	for i, w := range list {
		list[i] = stem(w)
	}
	return strings.Join(list, " ")
}

// group gives the other ways to say a phrase; ok is false for a phrase that is in no group.
func (l *lexicon) group(key string) (others []way, ok bool) {
	for _, g := range l.phrases[key] {
		others = append(others, l.groups[g]...)
	}
	return others, len(l.phrases[key]) > 0
}

// asQuery takes a question apart into its concepts.
func asQuery(text string) query {
	var q query
	l := words()
	var run []token
	flush := func() {
		q.concepts = append(q.concepts, l.wordConcepts(run)...)
		run = nil
	}
	for _, t := range tokens(text) {
		if !t.wide {
			run = append(run, t)
			continue
		}
		flush()
		concepts, runs := l.wideConcepts(t.text)
		q.concepts, q.runs = append(q.concepts, concepts...), append(q.runs, runs...)
	}
	flush()
	q.concepts = merged(q.concepts)
	return q
}

// wordConcepts finds the longest phrases of the lexicon among words, and makes a concept of every other word.
func (l *lexicon) wordConcepts(run []token) (out []concept) {
	stems := make([]string, len(run))
	for i, t := range run {
		stems[i] = stem(t.text)
	}
next:
	for i := 0; i < len(run); i++ {
		for n := min(l.longest, len(run)-i); n > 0; n-- {
			others, ok := l.group(strings.Join(stems[i:i+n], " "))
			if !ok || n == 1 && stopWords[run[i].text] {
				continue
			}
			c := concept{said: others, weight: 1}
			var own []string
			for _, t := range run[i : i+n] {
				if !stopWords[t.text] {
					own = append(own, stem(t.text))
				}
			}
			if len(own) > 0 {
				c.said = append([]way{{own, 1}}, others...)
			}
			if len(own) > 1 { // it may be no idiom here
				for _, t := range own {
					c.parts = append(c.parts, way{[]string{t}, partWeight})
				}
			}
			if n == 1 && l.fillers[run[i].text] { // goods are not good
				c.weight = fillerWeight
			}
			out = append(out, c)
			i += n - 1
			continue next
		}
		if stopWords[run[i].text] {
			continue
		}
		c := concept{said: []way{{[]string{stems[i]}, 1}}, weight: 1}
		if l.fillers[stems[i]] {
			c.weight = fillerWeight
		}
		out = append(out, c)
	}
	return out
}

// wideConcepts finds the longest phrases of the lexicon in a run of wide characters, and makes concepts of the pairs of the rest.
func (l *lexicon) wideConcepts(text string) (out []concept, runs []run) {
	rest := []rune(text)
	var open []rune
	flush := func() {
		for _, t := range terms(string(open)) {
			out = append(out, concept{said: []way{{[]string{t}, 1}}, weight: 1, pair: true})
		}
		if len(open) > 0 {
			runs = append(runs, run{slices.Clone(open), 1})
		}
		open = open[:0]
	}
next:
	for len(rest) > 0 {
		for n := min(l.wide, len(rest)); n > 0; n-- {
			others, ok := l.group(string(rest[:n]))
			if !ok {
				continue
			}
			flush()
			out = append(out, concept{said: append([]way{{terms(string(rest[:n])), 1}}, others...), weight: 1})
			rest = rest[n:]
			continue next
		}
		head := string(rest[:min(len(rest), 8)])
		for _, s := range l.silent {
			if strings.HasPrefix(head, s) {
				flush()
				rest = rest[len([]rune(s)):]
				continue next
			}
		}
		open = append(open, rest[0])
		rest = rest[1:]
	}
	flush()
	return out, runs
}

// merged leaves every concept out that is there before.
func merged(list []concept) []concept {
	seen := map[string]bool{}
	out := list[:0]
	for _, c := range list {
		key := strings.Join(c.said[0].terms, " ")
		if !seen[key] {
			seen[key] = true
			out = append(out, c)
		}
	}
	return out
}

// add adds what was asked before, as far as it is not asked again, with a lower weight.
func (q *query) add(topic query, weight float64) {
	for _, c := range topic.concepts {
		c.weight *= weight
		q.concepts = append(q.concepts, c)
	}
	for _, r := range topic.runs {
		r.weight *= weight
		q.runs = append(q.runs, r)
	}
	q.concepts = merged(q.concepts)
}

// asked is how many words the question has that say something.
func (q *query) asked() (n int) {
	for _, c := range q.concepts {
		if c.weight >= fillerWeight*2 && !c.pair {
			n++
		}
	}
	for _, r := range q.runs {
		if r.weight >= fillerWeight*2 {
			n += (len(r.text) + 1) / 2
		}
	}
	return n
}

// weights are the terms of all concepts with their weights.
func (q *query) weights() map[string]float64 {
	out := map[string]float64{}
	for _, c := range q.concepts {
		for _, w := range c.said {
			for _, t := range w.terms {
				out[t] = max(out[t], c.weight*w.weight/float64(len(w.terms)))
			}
		}
	}
	return out
}
