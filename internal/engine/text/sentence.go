package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// span is a part of a text, in bytes.
type span struct{ start, end int }

// abbreviations end with a full stop that ends no sentence.
var abbreviations = wordSet(`mr mrs ms dr prof st sr jr vs etc e.g i.e no fig vol al inc ltd co corp dept est approx jan feb mar apr jun jul aug sep sept
	oct nov dec u.s u.k a.m p.m gen col sen rep gov capt lt bzw ca d.h z.b usw m mme mlle sra dra`)

func wordSet(list string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(list) {
		set[w] = true
	}
	return set
}

// sentences splits s at full stops, question and exclamation marks of the world's scripts, and at line ends that close a
// paragraph or an item.
func sentences(s string) []span {
	var out []span
	start := 0
	flush := func(end int) {
		a, b := start, end
		for a < b {
			r, n := utf8.DecodeRuneInString(s[a:b])
			if !unicode.IsSpace(r) {
				break
			}
			a += n
		}
		b = a + len(strings.TrimRightFunc(s[a:b], unicode.IsSpace))
		if strings.ContainsFunc(s[a:b], wordRune) {
			out = append(out, span{a, b})
		} else if a < b && len(out) > 0 {
			out[len(out)-1].end = b // marks alone belong to what is before them
		}
		start = end
	}
	for i, r := range s {
		if i < start {
			continue
		}
		switch r {
		case '。', '！', '？', '…', '｡', '।', '؟', '۔', '!', '?', '；':
			flush(closing(s, i+utf8.RuneLen(r)))
		case '.':
			if end := closing(s, i+1); endsSentence(s, start, i, end) {
				flush(end)
			}
		case '\n':
			if lineEnds(s, start, i) {
				flush(i + 1)
			}
		}
	}
	flush(len(s))
	return out
}

// closing is where the marks, quotes and brackets after a sentence end.
func closing(s string, i int) int {
	return runEnd(s, i, func(r rune) bool { return strings.ContainsRune(`.。！？…!?"'”’」』)）]】`, r) })
}

// endsSentence tells whether the full stop at dot ends a sentence.
func endsSentence(s string, start, dot, end int) bool {
	if end == len(s) {
		return true
	}
	next, _ := utf8.DecodeRuneInString(s[end:])
	if !unicode.IsSpace(next) {
		return unicode.Is(unicode.Han, next)
	}
	word := s[start:dot]
	if i := strings.LastIndexFunc(word, unicode.IsSpace); i >= 0 {
		word = word[i+1:]
	}
	word = strings.ToLower(strings.TrimLeft(word, `("'“`))
	if abbreviations[word] || utf8.RuneCountInString(word) == 1 && word >= "a" && word <= "z" && word != "i" {
		return false
	}
	rest := strings.TrimLeftFunc(s[end:], unicode.IsSpace)
	r, _ := utf8.DecodeRuneInString(rest)
	return !unicode.IsLower(r)
}

// lineEnds tells whether a line end closes what began at start: an empty line or an item follows, or the line is short
// as headings are.
func lineEnds(s string, start, i int) bool {
	rest := strings.TrimLeft(s[i+1:], " \t\r")
	if rest == "" || rest[0] == '\n' || strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "* ") || strings.HasPrefix(rest, "#") || strings.HasPrefix(rest, "•") {
		return true
	}
	if i-start > 200 {
		return unicode.Is(unicode.Han, last(s[:i]))
	}
	line := strings.TrimSpace(s[start:i])
	return utf8.RuneCountInString(line) < 40 || unicode.Is(unicode.Han, last(line))
}

func last(s string) rune {
	r, _ := utf8.DecodeLastRuneInString(s)
	return r
}

// stopWords are words that say nothing of a text's subject.
var stopWords = map[string]map[string]bool{
	"en": wordSet(`a about above after again against all also am an and any are aren't as at be because been before being below between both but by
	can can't cannot could couldn't did didn't do does doesn't doing don't down during each even every few for from further get got had hadn't has hasn't
	have haven't having he her here hers herself him himself his how however i i'd i'll i'm i've if in into is isn't it it's its itself just let like
	made make many may me might more most much must my myself no nor not now of off on once one only or other ought our ours ourselves out over
	own said same say says she should shouldn't so some such than that that's the their theirs them themselves then there these they they're this
	those through to too two under until up upon us use used using very via was wasn't we well were weren't what what's when where which while who
	whom why will with within without won't would wouldn't yet you you're you've your yours yourself yourselves`),
	"zh": wordSet(`的 了 在 是 我 有 和 就 不 人 都 一 一个 上 也 很 到 说 要 去 你 会 着 没有 看 好 自己 这 那 他 她 它 我们 你们 他们 她们 它们 这个 那个 这些 那些 之 与
	及 或 而 但 但是 因为 所以 如果 虽然 可以 能 能够 可能 应该 把 被 让 给 对 对于 关于 从 向 以 为 为了 由 于 其 其中 各 每 某 该 等 等等 还 又 再 才 只 已 已经 正在 将 将要 曾 曾经 更
	最 太 非常 十分 比较 怎么 什么 哪 哪里 谁 吗 呢 吧 啊 呀 哦 嗯 地 得 过 来 里 中 下 后 前 时 时候 现在 今天 昨天 明天 一些 一样 一种 一直 不是 不会 不能 不要 就是 还是 只是 而且 并且 并 然后
	因此 通过 进行 使用 需要 认为 表示 以及 同时 由于 此 此外 另外 其他 之后 之前 以上 以下 没 个 们 年 月 日 次 种 位 名 多 大 小 两 三 第一 目前 近日 左右 方面 情况 作为 成为 具有`),
}
