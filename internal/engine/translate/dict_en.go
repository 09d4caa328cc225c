package translate

import (
	"math"
	"strings"
	"unicode"
)

// fixedChinese are English words and phrases whose Chinese is not a matter of the dictionary: English, part of speech,
// Chinese. "-" is left out.
const fixedChinese = `
i r 我|me r 我|my r 我的|mine r 我的|myself r 我自己|you r 你|your r 你的|yours r 你的|he r 他|him r 他|his r 他的|she r 她|her r 她|hers r 她的|it r 它|its r 它的|
we r 我们|us r 我们|our r 我们的|they r 他们|them r 他们|their r 他们的|himself r 他自己|herself r 她自己|themselves r 他们自己|ourselves r 我们自己|yourself r 你自己|
this r 这|that r 那|these r 这些|those r 那些|here r 这里|there r 那里|what r 什么|who r 谁|whom r 谁|whose r 谁的|which r 哪个|when r 什么时候|where r 哪里|why r 为什么|how r 怎么|
how many r 多少|how much r 多少|how old r 多大|how long r 多久|how often r 多久一次|everyone r 每个人|everybody r 每个人|someone r 有人|somebody r 有人|nobody r 没有人|no one r 没有人|something r 某事|anything r 任何事|nothing r 什么也没有|everything r 一切|
a x -|an x -|the x -|to x -|of x 的|be v 是|am v 是|is v 是|are v 是|was v 是|were v 是|been v 是|being v 是|there is v 有|there are v 有|there was v 有|there were v 有|
do x -|does x -|did x -|don't d 不|doesn't d 不|didn't d 没有|do not d 不|does not d 不|did not d 没有|isn't v 不是|aren't v 不是|wasn't v 不是|weren't v 不是|not d 不|never d 从不|can't v 不能|cannot v 不能|couldn't v 不能|won't v 不会|wouldn't v 不会|shouldn't v 不应该|mustn't v 不能|
haven't d 没有|hasn't d 没有|hadn't d 没有|don't have v 没有|doesn't have v 没有|didn't have v 没有|have to v 必须|has to v 必须|had to v 不得不|have v 有|has v 有|had v 有|having v 有|
can z 能|could z 可以|may z 可以|might z 可能|must z 必须|should z 应该|ought to z 应该|will z 会|would z 会|shall z 会|'ll z 会|going to z 要|used to z 以前|would like v 想|would like to v 想|want v 想要|want to v 想|wants to v 想|wanted to v 想|let's v 让我们|let us v 让我们|let v 让|please d 请|
and c 和|or c 或|but c 但是|because c 因为|so c 所以|if c 如果|though c 虽然|although c 虽然|than p 比|as p 作为|while c 当|until p 直到|since p 自从|before p 之前|after p 之后|
in p 在|on p 在|at p 在|by p 通过|for p 为|from p 从|with p 和|without p 没有|about p 关于|into p 到|onto p 到|under p 在下|over p 在上|between p 在之间|against p 反对|during p 在期间|through p 通过|like p 像|
not x 不|no d 没有|yes d 是的|very d 很|too d 太|so much d 这么多|so many d 这么多|much a 很多|many a 许多|a lot of a 很多|lots of a 很多|a lot d 很多|some a 一些|any a 任何|all a 所有|both d 两个都|every a 每个|each a 每个|more d 更多|most d 大多数|only d 只|also d 也|already d 已经|still d 还|yet d 还|again d 再|always d 总是|often d 经常|usually d 通常|sometimes d 有时|now t 现在|just d 刚刚|really d 真的|together d 一起|well d 好|maybe d 也许|perhaps d 也许|ever d 曾经|even d 甚至|
today t 今天|tomorrow t 明天|yesterday t 昨天|tonight t 今晚|last night t 昨晚|this morning t 今天早上|every day t 每天|last year t 去年|next year t 明年|last week t 上周|next week t 下周|in the morning t 早上|in the evening t 晚上|at night t 晚上|
one m 一|two m 两|three m 三|four m 四|five m 五|six m 六|seven m 七|eight m 八|nine m 九|ten m 十|hundred m 百|thousand m 千|million m 百万|first m 第一|second m 第二|
good a 好|big a 大|small a 小|new a 新|old a 老|young a 年轻|beautiful a 美丽|happy a 高兴|busy a 忙|tired a 累|right a 对|wrong a 错|late a 晚|hot a 热|cold a 冷|tall a 高|high a 高|long a 长|
go v 去|come v 来|know v 知道|think v 认为|say v 说|tell v 告诉|speak v 说|talk v 说话|ask v 问|see v 看|look v 看|look at v 看|watch v 看|read v 读|write v 写|eat v 吃|drink v 喝|buy v 买|sell v 卖|give v 给|take v 带|make v 做|like v 喜欢|love v 爱|need v 需要|live v 住|work v 工作|study v 学习|learn v 学习|use v 用|help v 帮助|get v 得到|find v 找到|leave v 离开|wait v 等|play v 玩|run v 跑|sleep v 睡觉|understand v 明白|believe v 相信|remember v 记得|forget v 忘记|feel v 觉得|try v 试|call v 叫|stop v 停止|open v 打开|close v 关|hear v 听到|listen v 听|
man n 男人|woman n 女人|people n 人|person n 人|child n 孩子|friend n 朋友|house n 房子|home n 家|book n 书|car n 车|water n 水|time n 时间|day n 天|year n 年|school n 学校|money n 钱|thing n 东西|job n 工作|room n 房间|dog n 狗|cat n 猫|
tom n 汤姆|mary n 玛丽|john n 约翰|boston n 波士顿|australia n 澳大利亚|french n 法语|english n 英语|chinese n 中文|mother n 母亲|father n 父亲|brother n 兄弟|sister n 姐妹|
thank you d 谢谢你|thanks d 谢谢|good morning d 早上好|good night d 晚安|hello d 你好|hi d 你好|sorry a 对不起|excuse me d 对不起|of course d 当然|at least d 至少|at home p 在家|
how are you r 你好吗|what time p 几点|a little d 一点|had better z 最好|be able to z 能|each other r 互相|one another r 互相|next n 下一个|last a 上一个|right now t 现在|soon d 很快|early d 早|afternoon n 下午|morning n 早上|evening n 晚上|night n 晚上|this year t 今年|these days t 最近|a few a 几个|other a 其他|another a 另一个|same a 同样|better a 更好|best a 最好|more than p 超过|wife n 妻子|husband n 丈夫|son n 儿子|daughter n 女儿|parents n 父母|teacher n 老师|student n 学生|station n 车站|train n 火车|bus n 公共汽车|letter n 信|question n 问题|problem n 问题|answer v 回答|party n 派对|fun a 有趣|old man n 老人|become v 成为|find out v 发现|look for v 寻找|look like v 看起来像|get up v 起床|go to bed v 睡觉|arrive v 到达|steal v 偷|meet v 见|put v 放|keep v 保持|start v 开始|begin v 开始|finish v 完成|bring v 带来|send v 送|turn v 转|walk v 走|sit v 坐|stand v 站|die v 死|happen v 发生|change v 改变|show v 给|enjoy v 喜欢|hope v 希望|agree v 同意|decide v 决定|worry v 担心|smile v 笑|laugh v 笑|cry v 哭|
dollar n 美元|euro n 欧元|minute n 分钟|seconds n 秒|hour n 小时|week n 星期|month n 月|times n 次|word n 词|eye n 眼睛|orders n 订单|price n 价格|result n 结果|paper n 纸|number n 数字|shoe n 鞋|clothes n 衣服|glasses n 眼镜|stairs n 楼梯|goods n 货物|years old a 岁|within p 在|
`

// gloss is a piece of an English sentence on its way to Chinese.
type gloss struct {
	en, pos, zh string
	form        string // plural, past, ing, …
	mark        bool
	entry       *entry
}

func enWords() map[string]gloss {
	all := map[string]gloss{}
	for row := range strings.SplitSeq(strings.ReplaceAll(fixedChinese, "\n", ""), "|") {
		f := strings.Fields(row)
		if len(f) < 3 {
			continue
		}
		key := strings.Join(f[:len(f)-2], " ")
		if _, have := all[key]; !have {
			all[key] = gloss{en: key, pos: f[len(f)-2], zh: f[len(f)-1]}
		}
	}
	return all
}

// wordsOf cuts English into words, punctuation and marks; white space is dropped.
func wordsOf(text string) (words []string) {
	start := -1
	flush := func(end int) {
		if start >= 0 {
			words = append(words, text[start:end])
			start = -1
		}
	}
	for i, r := range text {
		switch {
		case wordRune(r), start >= 0 && (r == '\'' || r == '’' || r == '-' || (r == '.' || r == ',') && unicode.IsDigit(lastRune(text[start:i]))) && i+len(string(r)) < len(text) && wordRune(firstRune(text[i+len(string(r)):])):
			if start < 0 {
				start = i
			}
		case unicode.IsSpace(r):
			flush(i)
		default:
			flush(i)
			words = append(words, string(r))
		}
	}
	flush(len(text))
	return words
}

// contractions are what stands behind an apostrophe.
var contractions = map[string]string{"ll": "will", "re": "are", "ve": "have", "m": "am", "d": "would"}

// expand takes contractions apart: "it'll" is "it will". A possessive stays.
func expand(words []string) []string {
	out := make([]string, 0, len(words)+4)
	for _, w := range words {
		head, tail, ok := strings.Cut(w, "'")
		full := contractions[strings.ToLower(tail)]
		switch l := strings.ToLower(head); {
		case ok && full != "":
			out = append(out, head, full)
		case ok && strings.EqualFold(tail, "s") && among(" it he she that what who where there how here ", l):
			out = append(out, head, "is")
		default:
			out = append(out, w)
		}
	}
	return out
}

// maxPhrase is how many English words are looked up as one.
const maxPhrase = 6

// toChinese translates one English sentence.
func (d *dictionary) toChinese(x *lexicon, text string, h hints) (string, []gloss) {
	words := expand(wordsOf(strings.ReplaceAll(text, "’", "'")))
	lower := make([]string, len(words))
	around := map[string]float64{} // what a word is worth for choosing a sense; what the caller says is the context, most
	for i, w := range words {
		lower[i] = strings.ToLower(w)
		around[lower[i]] = 1.5
	}
	for _, w := range wordsOf(strings.ToLower(h.context)) {
		around[w] = 4
	}
	var out []gloss
	for i := 0; i < len(words); {
		g, n := d.phrase(x, words, lower, i, around, out)
		g.en = strings.Join(lower[i:i+n], " ")
		out = append(out, g)
		i += n
	}
	out = d.enRules(out, h)
	return joinChinese(out), out
}

// phrase finds the longest phrase at i.
func (d *dictionary) phrase(x *lexicon, words, lower []string, i int, around map[string]float64, before []gloss) (gloss, int) {
	if r := firstRune(words[i]); isMark(r) {
		return gloss{zh: words[i], mark: true}, 1
	} else if !wordRune(r) {
		return gloss{zh: words[i], pos: "w"}, 1
	}
	longest := min(maxPhrase, len(words)-i)
	if longest > 1 && d.enFixed()[lower[i]].pos == "m" && d.isCounted(lower[i+1]) {
		longest = 1 // ten years are no set of books, though a word says so
	}
	for n := longest; n > 0; n-- {
		key := strings.Join(lower[i:i+n], " ")
		if g, ok := d.enFixed()[key]; ok {
			return g, n
		}
		first, rest, _ := strings.Cut(key, " ")
		bases, form := d.eng().bases(strings.TrimSuffix(first, "'s"))
		// The dictionary has glosses of plurals that are of rare words: the memos of a meeting for minutes, scrap for seconds.
		bent := n == 1 && (d.eng().base[first] != "" || form == "plural" && !ownPlural(first))
		if !bent {
			if g, ok := d.lookUp(x, key, "", around, before); ok {
				return g, n
			}
		}
		if rest != "" {
			rest = " " + rest
		}
		for _, b := range bases {
			if g, ok := d.enFixed()[b+rest]; ok {
				g.form = form
				return g, n
			}
		}
		for _, b := range bases {
			if g, ok := d.lookUp(x, b+rest, form, around, before); ok {
				return g, n
			}
		}
		if bent {
			if g, ok := d.lookUp(x, key, "", around, before); ok {
				return g, n
			}
		}
		if n > 1 { // "coffee shops"
			at := strings.LastIndexByte(key, ' ')
			bases, form := d.eng().bases(key[at+1:])
			for _, b := range bases {
				if g, ok := d.lookUp(x, key[:at+1]+b, form, around, before); ok {
					return g, n
				}
			}
		}
		if rest, ok := strings.CutSuffix(lower[i], "'s"); n == 1 && ok {
			g, _ := d.phrase(x, []string{words[i][:len(rest)]}, []string{rest}, 0, around, before)
			g.zh += "的"
			return g, 1
		}
	}
	return gloss{zh: words[i], pos: "n"}, 1
}

// ownPlurals are words whose plural means something of its own, or that only look like one.
const ownPlurals = " arms barracks basics belongings besides blues braces brains briefs cheers chess clothes contents customs damages darts diabetes draughts earnings " +
	"fireworks fries gallows genetics glasses goods grounds headphones headquarters jeans lens manners means measles mumps news odds outskirts " +
	"overalls overseas pajamas pants premises proceeds pyjamas rabies rapids refreshments regards remains riches savings scales scissors series shorts " +
	"species spectacles spirits sports stairs surroundings sweets thanks tights tropics trousers tweezers valuables whereabouts woods "

// ownPlural reports whether a word in s is not the plural, or a form, of what is left without it.
func ownPlural(w string) bool {
	return strings.HasSuffix(w, "ics") || strings.HasSuffix(w, "'s") || among(ownPlurals, w)
}

// lookUp chooses among the Chinese words for an English one: a gloss that stands early among few, a frequent word, the part
// of speech that fits, and other glosses that occur in the text around (Lesk).
func (d *dictionary) lookUp(x *lexicon, key, form string, around map[string]float64, before []gloss) (gloss, bool) {
	var best *entry
	most := math.Inf(-1)
	verbWanted := form == "past" || form == "ing" || form == "participle"
	nounWanted, adjWanted := false, false
	if n := len(before); n > 0 {
		switch p := before[n-1]; {
		case p.zh == "是" || p.pos == "d":
			adjWanted = true
		case p.en == "to" || p.pos == "z" || p.pos == "r" && p.form == "" && !strings.HasSuffix(p.zh, "的") && p.pos != "a":
			verbWanted = true
		case p.en == "the" || p.en == "a" || p.en == "an" || strings.HasSuffix(p.zh, "的") || p.pos == "a" || p.pos == "m":
			nounWanted = true
		}
	}
	for _, v := range x.en.get(key) {
		c := unpack(v)
		e := x.entry(c.entry)
		score := math.Log(float64(e.freq)+2) - 0.9*float64(c.rank) - 1.2*math.Log(float64(len(e.glosses)))
		if c.bare {
			score += 1
		}
		if isName(&e) {
			score -= 4
		}
		if n := len([]rune(e.simp)); n == 1 {
			score -= 2.5
		} else if n > 3 {
			score -= float64(n - 3)
		}
		if verbWanted && c.verb {
			score += 2.5
		}
		if adjWanted && strings.HasPrefix(e.pos, "a") {
			score += 2.5
		}
		if nounWanted && c.verb {
			score -= 2.5
		}
		for i, g := range e.glosses {
			if i == c.rank {
				continue
			}
			for f := range strings.FieldsFuncSeq(strings.ToLower(g), func(r rune) bool { return !unicode.IsLetter(r) }) {
				if len(f) > 3 && f != key {
					score += around[f]
				}
			}
		}
		if strings.IndexFunc(e.simp, func(r rune) bool { return !unicode.Is(unicode.Han, r) }) >= 0 {
			score -= 3
		}
		if score > most {
			best, most = &e, score
		}
	}
	if best == nil || strings.Contains(key, " ") && best.freq < 30 && !isName(best) {
		return gloss{}, false
	}
	pos := "n"
	if best.pos != "" {
		pos = best.pos[:1]
	}
	return gloss{en: key, pos: pos, zh: best.simp, form: form, entry: best}, true
}

// enRules puts Chinese glosses in English order somewhat right: particles, measure words, 很 before an adjective, "of",
// questions, politeness. It is no grammar.
func (d *dictionary) enRules(in []gloss, h hints) []gloss {
	in = swapOf(in)
	in = prepose(in)
	var out []gloss
	last := func() gloss {
		for i := len(out) - 1; i >= 0; i-- {
			if !out[i].mark {
				return out[i]
			}
		}
		return gloss{}
	}
	question := len(in) > 0 && isQuestion(in)
	for i, g := range in {
		next, nextWord := gloss{}, gloss{}
		if i+1 < len(in) {
			next = in[i+1]
			for _, n := range in[i+1:] {
				if n.pos != "x" {
					nextWord = n
					break
				}
			}
		}
		if h.formality == "more" && strings.HasPrefix(g.zh, "你") && g.pos == "r" {
			g.zh = strings.Replace(g.zh, "你", "您", 1)
		}
		switch {
		case g.pos == "w" || g.mark:
		case g.en == "her" && (next.pos == "n" || next.pos == "a"):
			g.zh = "她的"
		case g.zh == "是" && (nextWord.pos == "a" || nextWord.pos == "d" && nextWord.zh != "不"):
			if nextWord.pos == "d" || question {
				continue
			}
			g.zh = "很"
		case g.zh == "是" && (nextWord.form == "past" || nextWord.form == "participle") && nextWord.pos == "v":
			g.zh = "被"
		case g.zh == "是" && (nextWord.form == "ing" || nextWord.pos == "p" || nextWord.zh == "不"):
			if nextWord.form != "ing" {
				continue
			}
			g.zh = "正在"
		case g.zh == "有" && g.en != "have" && (nextWord.form == "past" || nextWord.form == "participle"):
			g.zh = "已经"
		case g.pos == "v" && (g.form == "past" || g.form == "participle") && last().zh != "没有" && !strings.HasSuffix(g.zh, "了"):
			g.zh += "了"
		case g.pos == "m" && next.pos == "n" && g.zh != "第一" && g.zh != "第二" && !among(counted, next.zh):
			if next.entry != nil && next.entry.measure != "" {
				g.zh += next.entry.measure
			} else {
				g.zh += "个"
			}
		case g.zh == "-" || g.pos == "x" && g.zh == "":
			continue
		}
		if g.zh == "-" {
			continue
		}
		out = append(out, g)
	}
	if question {
		out = ask(out)
	}
	return out
}

// counted are words that a number stands before without a measure word.
const counted = " 年 天 分钟 秒 次 岁 美元 欧元 英镑 日元 元 公里 米 厘米 毫米 公斤 克 吨 英里 英尺 度 磅 加仑 升 周 倍 "

// isCounted reports whether an English word is one of counted, or its plural.
func (d *dictionary) isCounted(w string) bool {
	bases, _ := d.eng().bases(w)
	for _, b := range append(bases, w) {
		if g, ok := d.enFixed()[b]; ok && among(counted, g.zh) {
			return true
		}
	}
	return false
}

// swapOf turns "A of B" into "B 的 A" for single glosses.
func swapOf(in []gloss) []gloss {
	out := append([]gloss(nil), in...)
	for i := 1; i+1 < len(out); i++ {
		if out[i].en != "of" || out[i-1].mark || out[i-1].pos == "w" {
			continue
		}
		j := i + 1
		for j < len(out) && out[j].pos == "x" && out[j].zh == "-" {
			j++
		}
		if j < len(out) && !out[j].mark && out[j].pos != "w" {
			out[i-1], out[j] = out[j], out[i-1]
		}
	}
	return out
}

// prepose moves what says when and where before the verb, as Chinese has it: "we eat in a café today" → 我们今天在咖啡店吃.
func prepose(in []gloss) []gloss {
	verb := -1
	for i := 0; i < len(in); i++ {
		switch g := in[i]; {
		case g.mark || g.pos == "w" || g.pos == "c":
			verb = -1
		case verb < 0 && (g.pos == "v" || g.pos == "z") && g.zh != "有" && !isQuestionWord(g.en):
			verb = i
			if i > 0 && in[i-1].pos == "d" {
				verb = i - 1
			}
		case verb > 0 && g.pos == "t":
			in = moved(in, i, i+1, verb)
			verb++
		case verb > 0 && g.pos == "p" && among(" 在 和 为 从 通过 关于 ", g.zh) && in[verb].zh != "是":
			end := i + 1
			for end < len(in) && !in[end].mark && in[end].pos != "w" && in[end].pos != "c" && in[end].pos != "p" && in[end].pos != "t" && in[end].pos != "z" {
				end++
			}
			if end > i+1 {
				at := verb
				if in[at].pos == "z" || in[at].pos == "d" {
					at++
				}
				in = moved(in, i, end, at)
				verb += end - i
				i = end - 1
			}
		}
	}
	return in
}

// moved puts in[from:to] before in[at].
func moved(in []gloss, from, to, at int) []gloss {
	out := make([]gloss, 0, len(in))
	out = append(out, in[:at]...)
	out = append(out, in[from:to]...)
	out = append(out, in[at:from]...)
	return append(out, in[to:]...)
}

func isQuestionWord(en string) bool {
	return strings.HasPrefix(en, "wh") || strings.HasPrefix(en, "how")
}

func isQuestion(in []gloss) bool {
	if in[len(in)-1].zh != "?" {
		return false
	}
	for _, g := range in {
		switch g.en {
		case "what", "who", "whom", "whose", "which", "when", "where", "why", "how", "how many", "how much", "how old", "how long", "how often", "what's", "who's", "where's", "or":
			return false
		}
	}
	return true
}

// ask ends a question that has no question word with 吗.
func ask(out []gloss) []gloss {
	if len(out) > 2 && (out[0].zh == "是" || out[0].pos == "z" || out[0].zh == "有") && out[1].pos == "r" {
		out[0], out[1] = out[1], out[0]
	}
	n := len(out)
	return append(out[:n-1:n-1], gloss{zh: "吗", pos: "y"}, out[n-1])
}

var toWide = strings.NewReplacer(",", "，", ".", "。", "!", "！", "?", "？", ";", "；", ":", "：", "(", "（", ")", "）")

// joinChinese writes the glosses without spaces but between Latin words.
func joinChinese(all []gloss) string {
	var b strings.Builder
	prev := rune(0)
	for i, g := range all {
		t := g.zh
		if g.pos == "w" {
			if t == "." && i+1 < len(all) && all[i+1].pos != "w" && !all[i+1].mark {
				t = ". "
			} else {
				t = toWide.Replace(t)
			}
		}
		if f := firstRune(t); prev != 0 && wordRune(prev) && wordRune(f) {
			b.WriteByte(' ')
		}
		b.WriteString(t)
		prev = lastRune(t)
	}
	return b.String()
}
