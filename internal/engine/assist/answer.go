package assist

import (
	"context"
	"slices"
	"strings"
)

// found is an answer from a knowledge base.
type found struct {
	ix         *index
	hits       []hit
	confidence float64
	lang       string // of the passages
}

// results is how many passages are looked at for an answer.
const results = 6

// confidence is how sure a hit is to answer, 0 to 1: how much of the question's weight it has and how prominently, and how near its
// vector is. A heading that is in the question makes it surer; a single word tells little, even if it is there. The constants
// were fitted to the questions of testdata/manual.tsv that are marked "tune", so that [defaultThreshold] parts those that
// the manual answers from those that it does not.
func (h hit) confidence(asked int) float64 {
	words := 1 - (1-h.cover)*(1-0.3*h.title*h.title*min(1, 2*h.cover))
	switch {
	case asked > 2 && h.found < 2:
		words *= 0.8
	case asked < 2 || h.found < 2:
		words *= 0.7 + 0.3*h.title*h.title
	}
	words = min(1, 0.87*words+0.17*h.strength)
	near := max(0, min(1, (h.near-0.4)/0.5))
	return 1 - (1-words)*(1-0.5*near)
}

// look searches the bot's knowledge for a text. topic is what was asked before, for a question that leans back on it.
func (e *Engine) look(ctx context.Context, b *Bot, text, lang, topic string) (best found, err error) {
	for _, id := range b.Knowledge {
		ix, err := e.index(ctx, b.owner, id)
		if err != nil {
			return best, err
		}
		if len(ix.places) == 0 {
			continue
		}
		f, err := e.ask(ctx, ix, text, lang, topic, results)
		if err != nil {
			return best, err
		}
		if len(f.hits) > 0 && (best.ix == nil || f.confidence > best.confidence) {
			best = f
		}
	}
	return best, nil
}

// ask searches one index, in the visitor's language where it has passages in it, else in its own by translation.
func (e *Engine) ask(ctx context.Context, ix *index, text, lang, topic string, most int) (found, error) {
	f := found{ix: ix, lang: lang}
	if ix.langs[lang] == 0 {
		f.lang = ix.language()
		question := e.translate(ctx, text, lang, f.lang)
		text, lang = question.text, question.lang
	}
	q := asQuery(text)
	asked := q.asked()
	if topic != "" {
		q.add(asQuery(topic), 0.4)
		asked = max(asked, 2)
	}
	q.lang = f.lang
	if e.o.Embed != nil && slices.Contains(e.o.EmbedLanguages, lang) {
		vectors, err := e.o.Embed(ctx, []string{cutRunes(strings.TrimSpace(topic+" "+text), 2000)})
		if err != nil && ctx.Err() != nil {
			return f, ctx.Err()
		}
		if err == nil && len(vectors) == 1 {
			q.vector = vectors[0]
		}
	}
	f.hits = ix.search(q, most)
	best := 0
	for i, h := range f.hits[:min(3, len(f.hits))] {
		if c := h.confidence(asked); c > f.confidence+0.05 {
			f.confidence, best = c, i
		}
	}
	if best > 0 { // a lower rank covers the question clearly better
		h := f.hits[best]
		f.hits = slices.Insert(slices.Delete(f.hits, best, best+1), 0, h)
	}
	return f, nil
}

// citations of the best hits, most at most.
func (f *found) citations(most int) []Citation {
	var out []Citation
	for _, h := range f.hits[:min(most, len(f.hits))] {
		out = append(out, f.cite(h))
	}
	return out
}

func (f *found) cite(h hit) Citation {
	doc, p, text := f.ix.passage(h)
	return Citation{Document: doc.id, Title: doc.title, Source: doc.source, Heading: p.Heading, Start: p.Start, End: p.End, Quote: cutRunes(unwrap(text), 200)}
}

// quoteRunes is how long a quoted answer may be.
const quoteRunes = 700

// quote is the part of the best passage that answers the question.
func (f *found) quote(question string) string {
	doc, p, text := f.ix.passage(f.hits[0])
	// A heading above a long section: the passage may be any part of it; the part found is the one to quote.
	if doc.kind != "faq" && longer(text, quoteRunes) {
		text = window(text, asQuery(question), f.ix)
	}
	text = unwrap(text)
	if doc.kind != "faq" && !longer(text, 60) && p.Heading != "" {
		text = p.Heading + ": " + text
	}
	return text
}

// window is the run of sentences, at most quoteRunes long, that has most of the question's weight.
func window(text string, q query, ix *index) string {
	var cuts []int
	for at := 0; at < len(text); {
		cuts = append(cuts, at)
		at = sentenceEnd(text, at)
	}
	cuts = append(cuts, len(text))
	weight := make([]float64, len(cuts)-1)
	asked := q.weights()
	for i := range weight {
		for _, t := range terms(text[cuts[i]:cuts[i+1]]) {
			weight[i] += asked[t] * ix.weight(t)
		}
	}
	best, from, to := -1.0, 0, 1
	for i := range weight {
		sum := 0.0
		for j := i; j < len(weight) && (j == i || !longer(text[cuts[i]:cuts[j+1]], quoteRunes)); j++ {
			sum += weight[j]
			if sum > best+1e-9 {
				best, from, to = sum, i, j+1
			}
		}
	}
	for to < len(weight) && !longer(text[cuts[from]:cuts[to+1]], quoteRunes) { // what follows explains
		to++
	}
	return cutRunes(strings.TrimSpace(text[cuts[from]:cuts[to]]), 2*quoteRunes)
}

func sentenceEnd(text string, from int) int {
	for i, r := range text[from:] {
		end := from + i + len(string(r))
		switch r {
		case '。', '！', '？', '；':
			return end
		case '.', '!', '?', '\n':
			if end >= len(text) || r == '\n' && text[end] == '\n' || r != '\n' && (text[end] == ' ' || text[end] == '\n') {
				return end
			}
		}
	}
	return len(text)
}

// unwrap joins the lines of paragraphs that were wrapped for a source file; lists, tables, quotations and code keep theirs.
func unwrap(text string) string {
	var b strings.Builder
	keep := true // the line break before this line
	fence := false
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		line = strings.TrimRight(line, " \t\r")
		own := fence || line == "" || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "\t") || strings.ContainsAny(line[:1], "-*|>#") || strings.HasPrefix(line, "```") || ordered(line)
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fence = !fence
		}
		switch {
		case b.Len() == 0:
		case keep || own:
			b.WriteByte('\n')
		case wide(lastRune(b.String())) || wide(firstRune(line)):
		default:
			b.WriteByte(' ')
		}
		b.WriteString(line)
		keep = line == "" || fence || strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "|") || strings.HasPrefix(line, "```")
	}
	return b.String()
}

func ordered(line string) bool {
	n := 0
	for n < len(line) && line[n] >= '0' && line[n] <= '9' {
		n++
	}
	return n > 0 && n < len(line) && (line[n] == '.' || line[n] == ')')
}
