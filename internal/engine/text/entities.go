package text

import (
	"cmp"
	"embed"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Entity is a name, an amount or an address in a text.
type Entity struct {
	Type       string  `json:"type"`
	Text       string  `json:"text"`
	Start      int     `json:"start"` // characters from the beginning, the first is 0
	End        int     `json:"end"`   // behind the last
	Confidence float64 `json:"confidence"`
	Source     string  `json:"source"` // rule, list, part_of_speech or capitals: how it was found
}

// The types of entities. A name that nothing tells more of is a "name".
const (
	typeEmail, typeURL, typePhone   = "email", "url", "phone"
	typeDate, typeTime, typeMoney   = "date", "time", "money"
	typePercent, typeAmount, typeIP = "percent", "quantity", "ip_address"
	typeCard, typeHandle            = "card_number", "handle"
	typePerson, typeOrg, typePlace  = "person", "organisation", "location"
	typeName                        = "name"
)

//go:embed gazetteer/places.txt
var gazetteerFile embed.FS

// places are countries and large cities by their English names.
var places = sync.OnceValue(func() map[string]bool {
	data, err := gazetteerFile.ReadFile("gazetteer/places.txt")
	if err != nil {
		panic(err) // it is embedded
	}
	set := map[string]bool{}
	for _, w := range strings.Fields(string(data)) {
		set[strings.ReplaceAll(w, "_", " ")] = true
	}
	return set
})

const months = `(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?|Aug(?:ust|\.)?|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)`

// rule finds one type by a regular expression. RE2 has no backtracking, so that no text can stall it.
type rule struct {
	kind string
	re   *regexp.Regexp
	sure float64
	ok   func(string) bool // nil: always
}

// rules are in the order of precedence: what an earlier one took, no later one gets.
var rules = sync.OnceValue(func() []rule {
	must := regexp.MustCompile
	return []rule{
		{typeEmail, must(`[\w.%+-]+@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}`), 0.99, nil},
		{typeURL, must(`(?i)\b(?:https?://|www\.)[^\s<>"'，。；！？、）】》]+[^\s<>"'，。；！？、）】》.,;:!?)\]]`), 0.99, nil},
		{typeIP, must(`\b(?:\d{1,3}\.){3}\d{1,3}\b`), 0.95, isIPv4},
		{typeDate, must(`\b\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:T\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?)?`), 0.98, nil},
		{typeDate, must(`(?:\d{4}|[〇零一二三四五六七八九]{4})年(?:(?:\d{1,2}|[一二三四五六七八九十]{1,3})月(?:(?:\d{1,2}|[一二三四五六七八九十]{1,3})[日号])?)?|(?:\d{1,2}|[一二三四五六七八九十]{1,3})月(?:\d{1,2}|[一二三四五六七八九十]{1,3})[日号]?`), 0.95, nil},
		{typeDate, must(`(?i)\b(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day,?\s+)?\d{1,2}(?:st|nd|rd|th)?\s+(?:of\s+)?` + months + `(?:,?\s+\d{4})?\b`), 0.95, nil},
		{typeDate, must(`(?i)\b` + months + `\s+\d{1,2}(?:st|nd|rd|th)?\b(?:,?\s+\d{4}\b)?`), 0.95, nil},
		{typeDate, must(`\b(?:January|February|March|April|June|July|August|September|October|November|December)(?:\s+\d{4})?\b`), 0.85, nil},
		{typeDate, must(`\b(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|1[0-2])[./](?:19|20)\d{2}\b|\b(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])/(?:19|20)\d{2}\b|\b(?:19|20)\d{2}/(?:0?[1-9]|1[0-2])/(?:0?[1-9]|[12]\d|3[01])\b`), 0.9, nil},
		{typeDate, must(`(?i)\b(?:today|tomorrow|yesterday|tonight|(?:next|last|this)\s+(?:week|month|year|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)\b`), 0.85, nil},
		{typeDate, must(`今天|明天|后天|昨天|前天|今晚|(?:这|本|上|下)(?:个)?(?:周|星期|礼拜|月)(?:[一二三四五六日天末])?|(?:周|星期|礼拜)[一二三四五六日天]|今年|明年|去年`), 0.85, nil},
		{typeTime, must(`(?i)\b(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?:\s?(?:[ap]m\b|[ap]\.m\.))?|\b(?:1[0-2]|[1-9])\s?(?:[ap]m\b|[ap]\.m\.)`), 0.92, nil},
		{typeTime, must(`(?:凌晨|早上|上午|中午|下午|晚上|傍晚)?(?:\d{1,2}|[一二三四五六七八九十]{1,3})(?:点(?:半|一刻|钟|\d{1,2}分|[一二三四五六七八九十]{1,3}分)?|时\d{1,2}分)`), 0.85, nil},
		{typeMoney, must(`(?i)(?:US\$|A\$|C\$|HK\$|[$€£¥￥₹₽₩])\s?\d[\d,]*(?:\.\d+)?(?:\s?(?:k|m|bn|million|billion|thousand)\b|[万亿])?|\b\d[\d,]*(?:\.\d+)?\s?(?:million |billion |thousand )?(?:USD|EUR|GBP|CNY|RMB|JPY|CHF|CAD|AUD|INR|dollars?|euros?|pounds?|yuan|yen|cents?)\b|\b(?:USD|EUR|GBP|CNY|RMB|JPY|CHF|CAD|AUD|INR)\s?\d[\d,]*(?:\.\d+)?`), 0.95, nil},
		{typeMoney, must(`(?:\d[\d,]*(?:\.\d+)?|[零一二三四五六七八九十百千两]+)(?:[万亿千百]+)?(?:多)?(?:元|块钱|块|人民币|美元|欧元|英镑|日元|港币|港元)`), 0.93, nil},
		{typePercent, must(`\d+(?:\.\d+)?\s?[%％‰]|(?i:\b\d+(?:\.\d+)?\s?per\s?cent\b)|百分之(?:\d+(?:\.\d+)?|[零一二三四五六七八九十百点]+)`), 0.97, nil},
		{typeCard, must(`\b(?:\d[ -]?){12,18}\d\b`), 0.9, luhn},
		{typePhone, must(`\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){5,12}\b`), 0.95, nil},
		{typePhone, must(`\b1[3-9]\d[ -]?\d{4}[ -]?\d{4}\b`), 0.93, nil},
		{typePhone, must(`\(\d{2,4}\)[ .-]?\d{3,4}[ .-]?\d{3,4}\b|\b0\d{2,4}[ -]\d{3,4}[ -]?\d{3,5}\b|\b\d{3}[.-]\d{3}[.-]\d{4}\b|\b[48]00[ -]?\d{3}[ -]?\d{4}\b`), 0.85, nil},
		{typeHandle, must(`(?:^|\s)[@#][\p{L}\w]{2,50}`), 0.8, nil},
		{typeAmount, must(`(?i)\b\d[\d,]*(?:\.\d+)?\s?(?:kg|km/h|km|cm|mm|mg|ml|GB|MB|TB|kWh|kW|MHz|GHz|mph|lbs?|oz|miles?|metres?|meters?|litres?|liters?|inch(?:es)?|hours?|minutes?|seconds?|days?|weeks?|months?|years?)\b`), 0.85, nil},
		{typeAmount, must(`(?:\d+(?:\.\d+)?|[一二三四五六七八九十百千万两半]+)(?:公斤|千克|公里|千米|厘米|毫米|毫升|平方米|小时|分钟|秒|天|周|个月|年|升|斤|吨|米|克)`), 0.8, nil},
	}
})

func isIPv4(s string) bool {
	for _, p := range strings.Split(s, ".") {
		if len(p) > 3 || len(p) == 3 && p > "255" {
			return false
		}
	}
	return true
}

// luhn is the check digit of payment cards (ISO/IEC 7812-1).
func luhn(s string) bool {
	sum, n := 0, 0
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] < '0' || s[i] > '9' {
			continue
		}
		d := int(s[i] - '0')
		if n%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		n++
	}
	return sum%10 == 0 && n >= 13
}

// found is an entity in bytes.
type found struct {
	span
	kind, source string
	sure         float64
}

// Entities finds them in the order of the text; none overlaps another. They are found by rules, lists, parts of speech and
// capital letters: no model of names was trained, and the confidences are how good each rule is.
func entities(s, lang string, seg *Segmenter) []Entity {
	var all []found
	taken := make([]bool, len(s)+1)
	take := func(f found) {
		for i := f.start; i < f.end; i++ {
			if taken[i] {
				return
			}
		}
		for i := f.start; i < f.end; i++ {
			taken[i] = true
		}
		all = append(all, f)
	}
	for _, r := range rules() {
		for _, m := range r.re.FindAllStringIndex(s, -1) {
			a, b := m[0], m[1]
			for a < b && unicode.IsSpace(rune(s[a])) {
				a++
			}
			if b > a && (r.ok == nil || r.ok(s[a:b])) {
				take(found{span{a, b}, r.kind, "rule", r.sure})
			}
		}
	}
	words := slices.DeleteFunc(seg.Words(s), func(w Word) bool { return taken[w.Start] })
	chineseNames(s, words, take)
	if lang != "de" { // German writes every noun with a capital
		capitalNames(s, words, take)
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.start, b.start) })
	out := make([]Entity, 0, len(all))
	at, runes := 0, 0
	for _, f := range all {
		runes += utf8.RuneCountInString(s[at:f.start])
		n := utf8.RuneCountInString(s[f.start:f.end])
		out = append(out, Entity{f.kind, s[f.start:f.end], runes, runes + n, f.sure, f.source})
		runes += n
		at = f.end
	}
	return out
}

// surnames are the commonest of China, which begin most names.
const surnames = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范石廖贾韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"

// titles follow a person's name.
var titles = wordSet("先生 女士 小姐 老师 教授 博士 医生 经理 总 董事长 总裁 主任 部长 局长 市长 同学 总统 主席 总理 校长 律师 记者")

// chineseNames takes words that the dictionary calls names, and a surname before one or two single characters.
func chineseNames(s string, words []Word, take func(found)) {
	for i, w := range words {
		size := utf8.RuneCountInString(w.Text)
		switch {
		case w.POS == "nr" && size >= 2 && strings.ContainsRune(surnames, first(w.Text)):
			take(found{span{w.Start, w.End}, typePerson, "part_of_speech", 0.75})
		case w.POS == "nt" && size > 2:
			take(found{span{w.Start, extend(words, i)}, typeOrg, "part_of_speech", 0.8})
		case w.POS == "ns" && size >= 2:
			take(found{span{w.Start, w.End}, typePlace, "part_of_speech", 0.8})
		case size == 1 && strings.ContainsRune(surnames, first(w.Text)) && i+1 < len(words) && words[i+1].Start == w.End:
			end, next := words[i+1].End, words[i+1]
			if titles[next.Text] {
				take(found{span{w.Start, w.End}, typePerson, "rule", 0.8})
				continue
			}
			if utf8.RuneCountInString(next.Text) != 1 || next.POS == "x" || strings.ContainsAny(next.POS, "pudcr") || !unicode.Is(unicode.Han, first(next.Text)) {
				continue
			}
			if i+2 < len(words) && words[i+2].Start == end && utf8.RuneCountInString(words[i+2].Text) == 1 && unicode.Is(unicode.Han, first(words[i+2].Text)) && !strings.ContainsAny(words[i+2].POS, "pudcrv") {
				end = words[i+2].End
			}
			take(found{span{w.Start, end}, typePerson, "rule", 0.5})
		case orgEnd(w.Text) && i > 0 && words[i-1].End == w.Start && (words[i-1].POS == "ns" || words[i-1].POS == "nz" || words[i-1].POS == "nr"):
			take(found{span{words[i-1].Start, w.End}, typeOrg, "rule", 0.7})
		}
	}
}

// orgEnd tells whether a word ends an organisation's name.
func orgEnd(w string) bool {
	for _, e := range []string{"公司", "集团", "大学", "银行", "医院", "委员会", "研究院", "研究所", "协会", "法院", "政府", "学院"} {
		if strings.HasSuffix(w, e) {
			return true
		}
	}
	return false
}

func extend(words []Word, i int) int {
	if i+1 < len(words) && words[i+1].Start == words[i].End && orgEnd(words[i+1].Text) {
		return words[i+1].End
	}
	return words[i].End
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// What stands before or after a name and tells what it is.
var (
	honorifics = wordSet("Mr Mrs Ms Miss Dr Prof Professor Sir Lady Lord President Senator Captain Judge King Queen Prince Princess Herr Frau Señor Señora Monsieur Madame Signor Signora")
	orgWords   = wordSet("Inc Corp Corporation Ltd LLC GmbH AG SA Company Co Group Holdings University College Institute Bank Foundation Association Agency Ministry Department Committee Council Airlines Hospital Museum Union Party Press Times Court Commission Organization Organisation Labs Technologies Systems Software")
	placeWords = wordSet("Street Avenue Road Lane Square River Lake Mountain Mount Island Islands Bay Ocean Sea Valley Park Airport Station County Province City Bridge Desert Peninsula")
	inWords    = wordSet("in at from near to towards across")
	joiners    = wordSet("de la von van der du di da del")
	notNames   = wordSet("I I'm I'd I'll I've OK Monday Tuesday Wednesday Thursday Friday Saturday Sunday English French German Spanish Chinese Japanese Russian Italian American British European Indian")
)

// capitalNames takes runs of words with capitals, other than a sentence's first where nothing else speaks for it.
func capitalNames(s string, words []Word, take func(found)) {
	for i := 0; i < len(words); i++ {
		if !capital(words[i].Text) || notNames[words[i].Text] {
			continue
		}
		j := i + 1
		for j < len(words) && gapless(s, words[j-1], words[j]) && (capital(words[j].Text) && !notNames[words[j].Text] ||
			j+1 < len(words) && joins(words[j-1].Text, words[j].Text) && gapless(s, words[j], words[j+1]) && capital(words[j+1].Text)) {
			j++
		}
		i = nameRun(s, words, i, j, take) - 1
	}
}

// nameRun takes words[i:j] as one name or says no; it returns where to go on.
func nameRun(s string, words []Word, i, j int, take func(found)) int {
	begins := startsSentence(s, words[i].Start)
	if begins && j-i > 1 && (stopWords["en"][strings.ToLower(words[i].Text)] || honorifics[words[i].Text]) || honorifics[words[i].Text] && j-i > 1 {
		if honorifics[words[i].Text] {
			take(found{span{words[i+1].Start, words[j-1].End}, typePerson, "rule", 0.85})
			return j
		}
		i, begins = i+1, false
	}
	text := s[words[i].Start:words[j-1].End]
	f := found{span{words[i].Start, words[j-1].End}, typeName, "capitals", 0.4}
	_, common := frequentIndex()[strings.ToLower(words[i].Text)]
	switch prev := i - 1; {
	case places()[text]:
		f.kind, f.source, f.sure = typePlace, "list", 0.85
	case orgWords[words[j-1].Text] || j-i > 1 && orgWords[words[i].Text]:
		f.kind, f.source, f.sure = typeOrg, "rule", 0.8
	case j-i > 1 && placeWords[words[j-1].Text]:
		f.kind, f.source, f.sure = typePlace, "rule", 0.75
	case j-i == 1 && (begins || stopWords["en"][strings.ToLower(text)] || common):
		return j // any word has a capital there
	case j-i == 2 && prev >= 0 && inWords[strings.ToLower(words[prev].Text)]:
		f.sure = 0.45
	case j-i == 2 && !begins && text != strings.ToUpper(text):
		f.kind, f.sure = typePerson, 0.5 // two capitalised words are most often a first and a last name
	}
	take(f)
	return j
}

// joins tells whether a small word after prev belongs to a name: "Bank of China", "Ursula von der Leyen".
func joins(prev, w string) bool { return joiners[w] || w == "of" && orgWords[prev] }

func capital(w string) bool {
	r, n := utf8.DecodeRuneInString(w)
	return unicode.IsUpper(r) && (n < len(w) || w != "I" && w != "A")
}

// gapless tells whether only spaces or the point of an abbreviation stand between two words.
func gapless(s string, a, b Word) bool {
	gap := s[a.End:b.Start]
	return gap == " " || gap == " & " || gap == ". " && utf8.RuneCountInString(a.Text) < 4
}

// startsSentence tells whether nothing or the end of a sentence is before i.
func startsSentence(s string, i int) bool {
	before := strings.TrimRight(s[:i], " \t\"'“‘«(")
	return before == "" || strings.ContainsRune(".!?:\n。！？•-", last(before))
}
