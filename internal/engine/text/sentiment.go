package text

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sentiment is the polarity of a text or a part of it.
type Sentiment struct {
	Label      string  `json:"sentiment"`  // positive, negative, neutral or mixed
	Score      float64 `json:"score"`      // -1 to 1
	Confidence float64 `json:"confidence"` // how plainly the words say so; no measured rate
}

// SentenceSentiment is that of one sentence.
type SentenceSentiment struct {
	Text string `json:"text"`
	Sentiment
}

// AspectSentiment is what a text says of one subject.
type AspectSentiment struct {
	Aspect string `json:"aspect"`
	Sentiment
	Mentions []string `json:"mentions"` // the clauses that speak of it
}

// Words that change the polarity of what follows them.
var (
	negators = wordSet(`not no never none nobody nothing neither nor cannot can't won't don't doesn't didn't isn't aren't wasn't weren't haven't hasn't hadn't wouldn't
		shouldn't couldn't without hardly barely scarcely rarely ain't cant dont doesnt didnt isnt wasnt wont lacks lacking less nicht kein keine nie ne pas jamais
		no nunca sin non mai senza não nem niet geen не нет ни
		不 没 没有 无 别 不是 不会 不能 并不 并没有 毫无 从不 从未 未 不够 不太 不算 不怎么 没啥 没什么 谈不上 算不上 不再 不用 无须`)
	stronger = wordSet(`very extremely really so too super absolutely totally completely incredibly highly especially particularly truly most utterly sehr très muy
		muito molto zeer очень 很 非常 太 极 极其 超 超级 特别 十分 相当 挺 真 真的 好 更 最 尤其 格外 异常 实在 简直 完全 绝对 太过 蛮 巨 死`)
	weaker    = wordSet(`slightly somewhat fairly rather little bit almost kinda sorta partly marginally etwas un-peu un-poco 有点 有点儿 有些 稍微 略 略微 稍 还算 比较 一点`)
	turnWords = wordSet("but however although though yet nevertheless aber mais pero mas maar но 但 但是 不过 可是 然而 却 只是 只不过")
	solvers   = wordSet("solved solve solves fixed fix fixes resolved resolve resolves without 解决 解决了 修好 排除 处理好")
	troubles  = wordSet("problem problems issue issues error errors bug bugs trouble troubles fault faults concern concerns complaint complaints 问题 故障 毛病 麻烦 困难 投诉")
	blockers  = wordSet("refuse refused refuses fail failed fails stopped unable impossible lacked lack 拒绝 无法 难以")
	likers    = wordSet("i we you they to would really also don't didn't who people he she all do did will still not never can")
)

const (
	reach    = 4    // words before a polar word that may turn it
	flip     = -0.7 // a negated word says less than its opposite
	spread   = 12   // sums of this size square make half a full score or so
	decided  = 0.12 // below it a score is neutral
	capitals = 1.2
)

// polar is a word with its polarity, where it stands among a clause's words.
type polar struct {
	at    int
	score float64
}

// analyst scores texts of one language.
type analyst struct {
	lex  *lexicon
	lang string
	seg  *Segmenter
	calm bool // the text has small letters, so that capitals mean something
}

// clause is a part of a sentence.
type clause struct {
	span
	words []string
	hits  []polar
}

// words splits text for the lexicon; Chinese words of an adverb and what it stands before are taken apart.
func (a *analyst) words(s string) []string {
	if a.lang != "zh" {
		return spacedWords(s)
	}
	var out []string
	for _, w := range a.seg.Cut(s) {
		w = strings.ToLower(w)
		if _, ok := a.lex.words[w]; !ok && !negators[w] && !stronger[w] && !weaker[w] && !turnWords[w] {
			if r, n := utf8.DecodeRuneInString(w); unicode.Is(unicode.Han, r) && n < len(w) {
				if head := w[:n]; negators[head] || stronger[head] {
					out = append(out, head)
					w = w[n:]
				}
			}
			out = a.inner(out, w)
			continue
		}
		out = append(out, w)
	}
	for _, r := range s {
		if unicode.Is(unicode.So, r) {
			out = append(out, string(r))
		}
	}
	return out
}

// inner appends w, taken apart around the longest word of the lexicon within it: 态度恶劣 is one word of the dictionary.
func (a *analyst) inner(out []string, w string) []string {
	rs := []rune(w)
	for n := len(rs) - 1; n >= 2; n-- {
		for i := 0; i+n <= len(rs); i++ {
			if hit := string(rs[i : i+n]); a.lex.words[hit] != 0 {
				for _, part := range []string{string(rs[:i]), hit, string(rs[i+n:])} {
					if part != "" {
						out = append(out, part)
					}
				}
				return out
			}
		}
	}
	return append(out, w)
}

// spacedWords keeps the case, for words in capitals.
func spacedWords(s string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ReplaceAll(s, "’", "'"), func(r rune) bool {
		return !wordRune(r) && r != '\'' && r != '-' && !unicode.Is(unicode.So, r)
	}) {
		for len(w) > 0 { // emoji stand for themselves
			i := strings.IndexFunc(w, func(r rune) bool { return unicode.Is(unicode.So, r) })
			if i < 0 {
				out = append(out, w)
				break
			}
			if i > 0 {
				out = append(out, w[:i])
			}
			_, n := utf8.DecodeRuneInString(w[i:])
			out = append(out, w[i:i+n])
			w = w[i+n:]
		}
	}
	return out
}

// read finds the polar words of a clause and lets the words before them turn them.
func (a *analyst) read(s string, sp span) clause {
	c := clause{span: sp, words: a.words(s[sp.start:sp.end])}
	for i := 0; i < len(c.words); i++ {
		score, n := a.match(c.words, i)
		if n == 0 {
			continue
		}
		factor := 1.0
		for j := i - 1; j >= 0 && j >= i-reach; j-- {
			w := strings.ToLower(c.words[j])
			switch near := i-j <= 2; {
			case negators[w] || strings.HasSuffix(w, "n't"):
				factor *= flip
			case stronger[w] && near:
				factor *= 1.25
			case weaker[w] && near:
				factor *= 0.7
			}
			if _, k := a.match(c.words, j); k > 0 && !stronger[w] && !negators[w] { // beyond another polar word nothing reaches
				break
			}
		}
		if w := c.words[i]; len(w) > 2 && w == strings.ToUpper(w) && w != strings.ToLower(w) && a.calm {
			factor *= capitals
		}
		if before := strings.ToLower(strings.Join(c.words[max(0, i-3):i], " ")); score > 0 && factor > 0 && anyWord(before, blockers) {
			factor *= flip
		}
		c.hits = append(c.hits, polar{i, score * factor})
		i += n - 1
	}
	if anyWord(strings.ToLower(strings.Join(c.words, " ")), solvers) { // a problem that is solved is none
		c.hits = slices.DeleteFunc(c.hits, func(h polar) bool { return troubles[strings.ToLower(c.words[h.at])] })
	}
	return c
}

func anyWord(s string, set map[string]bool) bool {
	return slices.ContainsFunc(strings.Fields(s), func(w string) bool { return set[w] })
}

// match looks up the word at i, and in Chinese what it makes with the next two; n words were used, 0 for none.
func (a *analyst) match(words []string, i int) (score float64, n int) {
	if a.lang == "zh" {
		for n := min(3, len(words)-i); n > 1; n-- {
			if s, ok := a.lex.words[strings.Join(words[i:i+n], "")]; ok {
				return s, n
			}
		}
	}
	w := strings.ToLower(words[i])
	if negators[w] || stronger[w] && a.lang != "zh" || weaker[w] {
		return 0, 0
	}
	if stronger[w] && i+1 < len(words) && a.lang == "zh" { // 好 before an adjective is "very"
		if _, ok := a.lex.words[words[i+1]]; ok {
			return 0, 0
		}
	}
	if w == "like" && (i == 0 || !likers[strings.ToLower(words[i-1])]) { // "looks like"
		return 0, 0
	}
	if s, ok := a.lex.score(w, a.lang); ok {
		return s, 1
	}
	return 0, 0
}

// clauses splits a sentence at commas and at words that turn it.
func (a *analyst) clauses(s string, sp span) []clause {
	var out []clause
	start := sp.start
	flush := func(end int) {
		if strings.ContainsFunc(s[start:end], func(r rune) bool { return wordRune(r) || unicode.Is(unicode.So, r) }) {
			out = append(out, a.read(s, span{start, end}))
		}
		start = end
	}
	for i := sp.start; i < sp.end; {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case strings.ContainsRune(",，;；、:：()（）", r):
			flush(i + n)
		case i > start && turnsAt(s[:sp.end], i):
			flush(i)
		}
		i += n
	}
	flush(sp.end)
	return out
}

// turnsAt tells whether a word that turns a sentence, or joins two, begins at i.
func turnsAt(s string, i int) bool {
	prev, _ := utf8.DecodeLastRuneInString(s[:i])
	r, _ := utf8.DecodeRuneInString(s[i:])
	if unicode.Is(unicode.Han, r) {
		for _, n := range []int{9, 6, 3} {
			if i+n <= len(s) && turnWords[s[i:i+n]] {
				return true
			}
		}
		return false
	}
	if wordRune(prev) || !unicode.IsLetter(r) {
		return false
	}
	w := strings.ToLower(s[i:runEnd(s, i, wordRune)])
	return turnWords[w] || w == "and" || w == "while" || w == "und" || w == "et" || w == "y"
}

// sum adds the polarities; what follows a turn weighs more than what was before it.
func (a *analyst) sum(s string, cs []clause) (up, down float64) {
	turned := false
	for _, c := range cs {
		turned = turned || turnsAt(s, c.start) && !strings.HasPrefix(strings.ToLower(s[c.start:c.end]), "and")
	}
	weight := 1.0
	if turned {
		weight = 0.6
	}
	for _, c := range cs {
		if turned && turnsAt(s, c.start) && !strings.HasPrefix(strings.ToLower(s[c.start:c.end]), "and") {
			weight = 1.3
		}
		for _, h := range c.hits {
			if h.score > 0 {
				up += weight * h.score
			} else {
				down -= weight * h.score
			}
		}
	}
	return up, down
}

// judge turns sums into a label.
func judge(up, down float64) Sentiment {
	d := up - down
	score := d / math.Sqrt(d*d+spread)
	r := Sentiment{Score: round3(score), Confidence: round3(0.5 + 0.5*math.Abs(score))}
	switch small, large := min(up, down), max(up, down); {
	case large > 0 && small > 1 && small > 0.3*large:
		r.Label, r.Confidence = "mixed", round3(small/large)
	case score > decided:
		r.Label = "positive"
	case score < -decided:
		r.Label = "negative"
	default:
		r.Label, r.Confidence = "neutral", round3(1-math.Abs(score))
		if up == 0 && down == 0 {
			r.Confidence = 0.5 // no word that the lexicon knows
		}
	}
	return r
}

func round3(x float64) float64 { return math.Round(x*1000) / 1000 }

// document scores a text and its sentences.
func (a *analyst) document(s string) (whole Sentiment, parts []SentenceSentiment, all []clause) {
	var up, down float64
	a.calm = strings.ContainsFunc(s, unicode.IsLower)
	for _, sp := range sentences(s) {
		cs := a.clauses(s, sp)
		u, d := a.sum(s[:sp.end], cs)
		if strings.ContainsAny(s[sp.start:sp.end], "!！") {
			u, d = 1.15*u, 1.15*d
		}
		up, down = up+u, down+d
		parts = append(parts, SentenceSentiment{s[sp.start:sp.end], judge(u, d)})
		all = append(all, cs...)
	}
	if len(parts) == 0 { // an emoji alone
		c := a.read(s, span{0, len(s)})
		up, down = a.sum(s, []clause{c})
		all = append(all, c)
	}
	return judge(up, down), parts, all
}

// aspects scores what the clauses say of the subjects named; without names, of those it finds.
func (a *analyst) aspects(s string, cs []clause, names []string) []AspectSentiment {
	if len(names) == 0 {
		names = a.subjects(s, cs)
	}
	out := []AspectSentiment{}
	for _, name := range names {
		r := AspectSentiment{Aspect: name, Mentions: []string{}}
		var up, down float64
		for i, c := range cs {
			if !mentions(s[c.start:c.end], name) {
				continue
			}
			r.Mentions = append(r.Mentions, strings.Trim(s[c.start:c.end], " ,，;；、:："))
			hits := c.hits
			if len(hits) == 0 && i+1 < len(cs) && len(cs[i+1].hits) > 0 && cs[i+1].start-c.end < 3 { // "the battery and the screen are great"
				hits = cs[i+1].hits
			}
			for _, h := range hits {
				up, down = up+max(h.score, 0), down+max(-h.score, 0)
			}
		}
		r.Sentiment = judge(up, down)
		if len(r.Mentions) == 0 {
			r.Label, r.Confidence = "absent", 1
		}
		out = append(out, r)
	}
	return out
}

// mentions finds a name in a clause, at the borders of words where the script has them.
func mentions(clause, name string) bool {
	clause, name = strings.ToLower(clause), strings.ToLower(name)
	for from := 0; ; {
		i := strings.Index(clause[from:], name)
		if i < 0 {
			return false
		}
		i += from
		before, _ := utf8.DecodeLastRuneInString(clause[:i])
		after, _ := utf8.DecodeRuneInString(strings.TrimPrefix(clause[i+len(name):], "s"))
		han := unicode.Is(unicode.Han, last(name))
		if han || !(i > 0 && wordRune(before)) && !(i+len(name) < len(clause) && unicode.IsLetter(after)) {
			return true
		}
		from = i + len(name)
	}
}

const maxSubjects = 20

// subjects are the nouns that polar clauses speak of: in Chinese by part of speech, else the word before a verb of
// being or after a polar word.
func (a *analyst) subjects(s string, cs []clause) []string {
	count, first := map[string]int{}, map[string]int{}
	note := func(w string, at int) {
		w = strings.ToLower(w)
		if utf8.RuneCountInString(w) < 2 || stopWords[a.lang][w] || turnWords[w] || stronger[w] || weaker[w] {
			return
		}
		if _, ok := a.lex.score(w, a.lang); ok {
			return
		}
		if count[w]++; count[w] == 1 {
			first[w] = at
		}
	}
	for _, c := range cs {
		if len(c.hits) == 0 {
			continue
		}
		if a.lang == "zh" {
			for _, w := range a.seg.Words(s[c.start:c.end]) {
				if strings.HasPrefix(w.POS, "n") && w.POS != "nr" && w.POS != "ns" {
					note(w.Text, c.start+w.Start)
				}
			}
			continue
		}
		for i, w := range c.words {
			if being[strings.ToLower(w)] && i > 0 {
				note(c.words[i-1], c.start+i)
			}
		}
		for _, h := range c.hits {
			if h.at+1 < len(c.words) && !being[strings.ToLower(c.words[h.at+1])] {
				note(c.words[h.at+1], c.start+h.at)
			}
		}
	}
	names := make([]string, 0, len(count))
	for w := range count {
		names = append(names, w)
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(first[x], first[y]), cmp.Compare(x, y)) })
	return names[:min(len(names), maxSubjects)]
}

var being = wordSet("is was are were be been seems seem feels feel looks look works work tastes taste tasted felt looked seemed sounded smelled worked sounds sound smells ist war sind es son est sont era è sono")
