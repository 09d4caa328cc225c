package translate

import (
	"strings"
	"unicode"
)

// fixedEnglish are frequent Chinese words whose first gloss is not what they mostly mean in a sentence: word, part of
// speech, English. Parts: r pronoun, v verb, a adjective, d adverb, n noun, t time, p preposition, c conjunction, m
// number, f place after a noun, x dropped. "-" is no English word.
const fixedEnglish = `
我 r I|你 r you|您 r you|他 r he|她 r she|它 r it|我们 r we|你们 r you|他们 r they|她们 r they|它们 r they|咱们 r we|大家 r everyone|自己 r oneself|
这 r this|那 r that|这个 r this|那个 r that|这些 r these|那些 r those|这里 r here|那里 r there|这儿 r here|那儿 r there|哪里 r where|哪儿 r where|什么 r what|谁 r who|怎么 r how|
怎么样 r how|为什么 r why|什么时候 r when|多少 r how many|几 m how many|哪 r which|哪个 r which|这么 d so|那么 d so|这样 d like this|那样 d like that|
是 v be|有 v have|没有 v not have|没 d not|不 d not|别 d don't|要 v want|想 v want|会 z will|能 z can|可以 z can|应该 z should|必须 z must|得 x -|可能 z may|将 z will|需要 v need|
了 x -|着 x -|过 x -|吧 x -|呢 x -|啊 x -|呀 x -|嘛 x -|啦 x -|吗 x -|的 u -|地 x -|所 x -|把 x -|被 x -|给 v give|
在 p in|从 p from|到 p to|请 d please|不会 z will not|不能 z cannot|不想 v not want|不要 d don't|很多 a many|许多 a many|一些 a some|有点 d a little|一点 n a little|所有 a all|每 r every|每个 r every|另一个 a another|其他 a other|问题 n question|事 n thing|事情 n thing|东西 n thing|孩子 n child|老师 n teacher|朋友 n friend|学校 n school|工作 n work|时间 n time|今年 t this year|刚刚 t just now|生日 n birthday|看见 v see|看到 v see|听 v listen|听到 v hear|告诉 v tell|写 v write|读 v read|学 v learn|学习 v study|等 v wait|找 v look for|找到 v find|帮 v help|帮助 v help|用 v use|拿 v take|带 v bring|坐 v sit|站 v stand|跑 v run|睡觉 v sleep|玩 v play|认为 v think|希望 v hope|开始 v begin|结束 v end|回家 v go home|喜 v like|饿 a hungry|累 a tired|热 a hot|冷 a cold|贵 a expensive|便宜 a cheap|漂亮 a beautiful|高兴 a happy|难 a difficult|容易 a easy|重要 a important|快 a fast|慢 a slow|早 a early|晚 a late|旧 a old|老 a old|年轻 a young|红 a red|白 a white|黑 a black|跟 p with|和 c and|与 c and|或 c or|或者 c or|还是 c or|但 c but|但是 c but|可是 c but|因为 c because|所以 c so|如果 c if|虽然 c although|对 p to|为 p for|为了 p for|比 p than|
很 d very|太 d too|非常 d very|真 d really|都 d all|也 d also|还 d still|就 x -|才 d only|又 d again|再 d again|已经 d already|正在 x -|一起 d together|一直 d always|常常 d often|经常 d often|总是 d always|从来 d ever|刚 d just|刚才 t just now|马上 d at once|一定 d certainly|最 d most|更 d more|只 d only|
今天 t today|明天 t tomorrow|昨天 t yesterday|现在 t now|以前 t before|以后 t later|时候 n time|每天 t every day|今晚 t tonight|昨晚 t last night|早上 t in the morning|晚上 t in the evening|去年 t last year|明年 t next year|
上 f on|里 f in|下 f under|中 f in|外 f outside|后 f after|前 f before|
人 n person|说 v say|看 v look|去 v go|来 v come|做 v do|吃 v eat|喝 v drink|知道 v know|觉得 v think|喜欢 v like|爱 v love|让 v let|叫 v call|买 v buy|走 v walk|住 v live|开 v open|好 a good|大 a big|小 a small|多 a many|少 a few|新 a new|高 a tall|长 a long|家 n home|书 n book|水 n water|钱 n money|天 n day|年 n year|点 n o'clock|
一 m one|二 m two|两 m two|三 m three|四 m four|五 m five|六 m six|七 m seven|八 m eight|九 m nine|十 m ten|百 m hundred|千 m thousand|万 m ten thousand|零 m zero|半 m half|
汤姆 n Tom|玛丽 n Mary|妈妈 n mother|爸爸 n father|个 q -|本 q -|张 q -|只 q -|次 n time|些 q some|位 q -|条 q -|件 q -|辆 q -|把 q -|杯 q cup of|双 q pair of|块 q piece of
`

// bound are words of a Chinese sentence on their way to English.
type bound struct {
	zh, pos, en string
	token       bool   // a mark
	glue        int    // of a tag: 1 stands close to what follows, −1 to what precedes, 2 to both
	base        string // of a verb that was bent
	name        bool
}

// zhWords are the fixed words, read once per dictionary.
func zhWords() map[string]bound {
	all := map[string]bound{}
	for row := range strings.SplitSeq(strings.ReplaceAll(fixedEnglish, "\n", ""), "|") {
		if f := strings.SplitN(strings.TrimSpace(row), " ", 3); len(f) == 3 {
			if _, have := all[f[0]]; !have {
				all[f[0]] = bound{zh: f[0], pos: f[1], en: f[2]}
			}
		}
	}
	return all
}

// punctuation of Chinese and what English has for it.
var toASCII = strings.NewReplacer("，", ", ", "。", ". ", "！", "! ", "？", "? ", "；", "; ", "：", ": ", "、", ", ", "（", " (", "）", ") ", "“", " “", "”", "” ",
	"《", " “", "》", "” ", "「", " “", "」", "” ", "『", " “", "』", "” ", "…", "… ", "\u3000", " ", "—", " — ")

// toEnglish translates one Chinese sentence.
func (d *dictionary) toEnglish(x *lexicon, s *segment, text string, h hints) string {
	around := x.meanings(h.context, text)
	var words []bound
	for _, w := range x.segment(x.simplified(text)) {
		words = append(words, d.boundWord(x, s, w, around))
	}
	words = d.zhRules(words)
	return spaced(words)
}

// meanings collects the English words of the glosses of what stands around a word, to choose between its senses: the
// sense that shares most of them (Lesk, 1986).
func (x *lexicon) meanings(texts ...string) map[string]int {
	all := map[string]int{}
	for _, t := range texts {
		for _, w := range x.segment(x.simplified(t)) {
			if e := x.best(w); e != nil && !isName(e) && len([]rune(w)) > 1 {
				seen := map[string]bool{}
				for _, g := range e.glosses {
					for f := range strings.FieldsFuncSeq(strings.ToLower(g), func(r rune) bool { return !unicode.IsLetter(r) }) {
						if len(f) > 3 && !seen[f] {
							seen[f] = true
							all[f]++
						}
					}
				}
			}
		}
	}
	return all
}

func (d *dictionary) boundWord(x *lexicon, s *segment, w string, around map[string]int) bound {
	r := firstRune(w)
	switch {
	case isMark(r):
		return bound{zh: w, en: w, token: true, glue: s.glue(r)}
	case !spaceless(r):
		return bound{zh: w, pos: "w", en: toASCII.Replace(w)}
	}
	if f, ok := d.zhFixed()[w]; ok {
		return f
	}
	e := x.best(w)
	if e == nil {
		return bound{zh: w, pos: "n", en: w}
	}
	pos := e.pos
	if pos == "" {
		pos = "n"
	}
	b := bound{zh: w, pos: pos[:1], name: isName(e)}
	b.en = chooseGloss(e, around)
	if strings.HasPrefix(b.en, "to ") {
		b.en = b.en[3:]
		if b.pos == "n" || b.pos == "d" || b.pos == "a" {
			b.pos = "v"
		}
	}
	if b.name {
		b.pos = "n"
	}
	return b
}

// chooseGloss takes the first gloss that is a translation, or a later one that fits what stands around.
func chooseGloss(e *entry, around map[string]int) string {
	best, most := "", -1.0
	for i, g := range e.glosses {
		if i > 7 {
			break
		}
		clean := strings.TrimSpace(unbracketed(g))
		for _, p := range []string{"lit. ", "fig. "} {
			clean = strings.TrimPrefix(clean, p)
		}
		if clean == "" || strings.HasPrefix(clean, "classifier for") {
			continue
		}
		if name, ok := strings.CutPrefix(clean, "surname "); ok {
			clean = name
		}
		if isName(e) {
			clean, _, _ = strings.Cut(clean, ",")
		}
		clean = strings.TrimSpace(strings.NewReplacer(" sth", "", " sb", "", " to sb", "").Replace(strings.TrimRight(clean, "?!. ")))
		score := -0.6 * float64(i)
		if len(clean) > 25 {
			score -= float64(len(clean)-25) / 10
		}
		for f := range strings.FieldsFuncSeq(strings.ToLower(clean), func(r rune) bool { return !unicode.IsLetter(r) }) {
			if n := around[f]; len(f) > 3 && n > 1 { // once is the word itself
				score += 0.7 * float64(min(n-1, 2))
			}
		}
		if best == "" || score > most {
			best, most = clean, score
		}
	}
	if best == "" {
		return e.simp
	}
	return best
}

var possessive = map[string]string{"I": "my", "you": "your", "he": "his", "she": "her", "it": "its", "we": "our", "they": "their", "who": "whose", "oneself": "one's own", "everyone": "everyone's"}
var objective = map[string]string{"I": "me", "he": "him", "she": "her", "we": "us", "they": "them"}

// zhRules turns glosses in Chinese order into something nearer to English: possessives, measure words, the copula,
// negation, questions, tense. It is no grammar.
func (d *dictionary) zhRules(in []bound) []bound {
	var out []bound
	last := func() *bound {
		if len(out) == 0 {
			return &bound{}
		}
		return &out[len(out)-1]
	}
	question := false
	for i, w := range in {
		next := bound{}
		if i+1 < len(in) {
			next = in[i+1]
		}
		switch {
		case w.zh == "吗":
			question = true
			continue
		case w.zh == "的":
			switch p := last(); {
			case p.pos == "r" && possessive[p.en] != "":
				p.en = possessive[p.en]
				p.pos = "a"
			case p.pos == "n" && next.pos == "n":
				p.en += "'s"
			}
			continue
		case w.zh == "了" || w.zh == "过":
			for j := len(out) - 1; j >= 0 && j >= len(out)-3; j-- {
				if out[j].pos == "v" && out[j].en != "be" {
					if out[j].base != "" {
						out[j].en = out[j].base
					}
					out[j].en, out[j].pos = d.eng().pastOf(out[j].en), "V"
					break
				}
			}
			continue
		case strings.Contains(measures, w.zh) && (last().pos == "m" || strings.Contains("这那哪每", last().zh) && last().zh != "") && (next.pos == "n" || next.pos == "a"):
			if last().en == "one" {
				last().en = "a"
			}
			continue
		case w.zh == "还是" && in[len(in)-1].zh != "吗" && (len(in) < 2 || in[len(in)-2].zh != "吗"):
			w.en = "or"
		case w.zh == "还是":
			w.en, w.pos = "still", "d"
		case w.pos == "q" && (last().pos == "m" || last().pos == "r") && (w.en == "-" || next.pos == "n" || next.pos == "a"):
			if w.en == "-" || !strings.HasSuffix(w.en, " of") && w.en != "some" {
				if last().en == "one" {
					last().en = "a"
				}
				continue
			}
		case w.en == "be" && w.pos == "v":
			w.en, w.pos = copula(*last()), "b"
		case w.zh == "没有" && next.pos == "v", w.zh == "没" && next.pos == "v" && next.zh != "有":
			w.en = "did not"
		case w.zh == "没有":
			w.en = auxiliary(*last()) + " not have"
		case w.zh == "不" && next.en == "be":
			in[i+1].en, in[i+1].pos = copula(*last())+" not", "b"
			continue
		case w.zh == "不" && next.pos == "v":
			w.en = auxiliary(*last()) + " not"
		case w.zh == "很" && (next.pos == "a" || next.pos == "z"):
			w.en = copula(*last()) + " very"
		case w.pos == "v" && last().pos == "r" && (last().en == "he" || last().en == "she" || last().en == "it"):
			w.base, w.en = w.en, d.eng().thirdOf(w.en)
		case w.pos == "r" && objective[w.en] != "" && (last().pos == "v" || last().pos == "V" || last().pos == "p") && next.zh != "的" && next.pos != "v":
			w.en = objective[w.en]
		case w.pos == "n" && last().pos == "m" && last().en != "one" && last().en != "a" && !strings.Contains(w.en, " "):
			w.en = plural(w.en)
		case w.pos == "x" || w.en == "-":
			continue
		}
		if w.zh == "们" {
			continue
		}
		out = append(out, w)
	}
	out = postpose(articles(out))
	if question && len(out) > 1 {
		out = askEnglish(out)
	}
	return out
}

// articles puts "the" before nouns that nothing determines.
func articles(in []bound) []bound {
	out := make([]bound, 0, len(in)+4)
	for i, w := range in {
		bare := i == 0 || in[i-1].pos != "m" && in[i-1].pos != "r" && in[i-1].pos != "a" && in[i-1].pos != "n" && in[i-1].pos != "q" && !in[i-1].token && in[i-1].en != "a"
		if bare && w.pos == "n" && !w.name && !w.token && w.en != "" && !strings.HasPrefix(w.en, "the ") && firstRune(w.en) >= 'a' && firstRune(w.en) <= 'z' && !uncountable(w.en) {
			out = append(out, bound{en: "the", pos: "a"})
		}
		out = append(out, w)
	}
	return out
}

func uncountable(en string) bool {
	return among(" home people water money time music tennis work school lunch dinner breakfast everyone mother father ", en)
}

// postpose moves what says where and with whom behind the verb, as English has it, and turns 在…上 into "on …".
func postpose(in []bound) []bound {
	for i := 0; i < len(in); i++ {
		if in[i].pos != "p" || in[i].token {
			continue
		}
		verb, end := -1, len(in)
		for j := i + 1; j < len(in); j++ {
			if in[j].pos == "w" || in[j].token || in[j].pos == "c" {
				end = j
				break
			}
			if in[j].zh != "" && in[j].pos == "f" && verb < 0 && in[i].zh == "在" {
				in[i].en = in[j].en
				in[j].en = ""
			}
			if verb < 0 && j > i+1 && (in[j].pos == "v" || in[j].pos == "V" || in[j].pos == "z") {
				verb = j
			}
		}
		if verb < 0 || in[i].zh == "比" || in[i].zh == "到" {
			continue
		}
		out := append([]bound(nil), in[:i]...)
		out = append(out, in[verb:end]...)
		out = append(out, in[i:verb]...)
		in = append(out, in[end:]...)
		i = end - 1
	}
	return in
}

// measures are classifiers that have other meanings, too.
const measures = "家栋封条所位名部台间首句场套顶朵架棵颗幅群个本张只件辆把份支根"

func copula(subject bound) string {
	switch subject.en {
	case "I":
		return "am"
	case "you", "we", "they", "these", "those":
		return "are"
	}
	return "is"
}

func auxiliary(subject bound) string {
	switch subject.en {
	case "I", "you", "we", "they", "":
		return "do"
	}
	return "does"
}

// askEnglish makes a question of a statement.
func askEnglish(w []bound) []bound {
	if w[0].pos != "r" || len(w) < 2 {
		return w
	}
	switch {
	case w[1].pos == "b" || w[1].pos == "z":
		w[0], w[1] = w[1], w[0]
	case w[1].pos == "v":
		w = append([]bound{{en: auxiliary(w[0]), pos: "z"}}, w...)
	case w[1].pos == "V":
		w = append([]bound{{en: "did", pos: "z"}}, w...)
	}
	return w
}

// glue tells how a mark stands to its neighbours.
func (s *segment) glue(r rune) int {
	if i := int(r - firstMark); i < len(s.tokens) {
		switch s.tokens[i].kind {
		case opening:
			return 1
		case closing:
			return -1
		case atom:
			return 2
		}
	}
	return 0
}

// spaced writes the words as an English sentence.
func spaced(words []bound) string {
	var b strings.Builder
	first, close := true, true // close: no space before the next word
	for _, w := range words {
		t := w.en
		if t == "" {
			continue
		}
		if first && !w.token && strings.IndexFunc(t, unicode.IsLetter) >= 0 {
			t, first = upperFirst(t), false
		}
		if !close && w.glue != -1 && w.glue != 2 && !strings.ContainsRune(",.!?;:)”… ", firstRune(t)) {
			b.WriteByte(' ')
		}
		b.WriteString(t)
		close = w.glue > 0 || strings.ContainsRune("(“ ", lastRune(t)) || close && w.glue == -1
	}
	s := strings.Join(strings.Fields(b.String()), " ")
	for _, p := range []string{",", ".", "!", "?", ";", ":"} {
		s = strings.ReplaceAll(s, " "+p, p)
	}
	return s
}
