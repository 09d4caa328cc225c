package assist

import (
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// The forms in which details are recognised, in English and Chinese.
var (
	isoDate    = regexp.MustCompile(`\b(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})\b`)
	zhDate     = regexp.MustCompile(`(?:(\d{4})\s*年)?\s*(\d{1,2})\s*月\s*(\d{1,2})\s*[日号]?`)
	dayMonth   = regexp.MustCompile(`(?i)\b(\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?(?:,?\s+(\d{4}))?`)
	monthDay   = regexp.MustCompile(`(?i)\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+(\d{1,2})(?:st|nd|rd|th)?(?:,?\s+(\d{4}))?\b`)
	inDays     = regexp.MustCompile(`(?i)\bin (\d{1,3}) days?\b|(\d{1,3})\s*天[之以]?后`)
	agoDays    = regexp.MustCompile(`(?i)\b(\d{1,3}) days? ago\b|(\d{1,3})\s*天[之以]?前`)
	weekday    = regexp.MustCompile(`(?i)\b(next |last |this )?(monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b`)
	zhWeekday  = regexp.MustCompile(`(下|上|这|本)?(?:个)?(?:周|星期|礼拜)([一二三四五六日天])`)
	number     = regexp.MustCompile(`[-−]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-−]?\d+(?:\.\d+)?`)
	zhNumber   = regexp.MustCompile(`[零〇一二两三四五六七八九十百千万]+`)
	orderID    = regexp.MustCompile(`(?i)#?\b([A-Z]{0,6}[-_]?\d[A-Z0-9]*(?:[-_][A-Z0-9]+)*)\b`)
	email      = regexp.MustCompile(`[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+`)
	phone      = regexp.MustCompile(`\+?\d[\d\s().\-]{5,18}\d`)
	relative   = map[string]int{"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1, "今天": 0, "今日": 0, "明天": 1, "明日": 1, "后天": 2, "昨天": -1, "昨日": -1, "前天": -2}
	relativeBy = []string{"day after tomorrow", "后天", "前天", "tomorrow", "yesterday", "today", "tonight", "今天", "今日", "明天", "明日", "昨天", "昨日"}
)

var englishNumbers = map[string]int{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
	"nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "twenty": 20, "thirty": 30, "hundred": 100}

// find looks for the slot's value in a text. asked tells that the bot has just asked for this very slot, so that the whole
// answer may be the value. now is when the visitor wrote it.
func (s *Slot) find(text string, asked bool, now time.Time) (string, bool) {
	if s.re != nil {
		return s.match(text)
	}
	switch s.Type {
	case "date":
		return findDate(text, now)
	case "number":
		return findNumber(text)
	case "order_id":
		return findOrder(text)
	case "email":
		m := email.FindString(text)
		return strings.ToLower(m), m != ""
	case "phone":
		m := phone.FindString(text)
		return digitsOf(m), m != ""
	case "enum":
		return s.choose(text)
	case "text":
		if t := strings.TrimSpace(text); asked && t != "" {
			return cutRunes(t, 500), true
		}
	}
	return "", false
}

func (s *Slot) match(text string) (string, bool) {
	m := s.re.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	if len(m) > 1 && m[1] != "" {
		return m[1], true
	}
	return m[0], m[0] != ""
}

// choose finds the longest name of a choice in the text.
func (s *Slot) choose(text string) (value string, ok bool) {
	lower, longest := strings.ToLower(text), 0
	for _, c := range s.Values {
		for _, name := range append([]string{c.Value}, c.Synonyms...) {
			if len(name) > longest && hasWord(lower, strings.ToLower(name)) {
				value, longest, ok = c.Value, len(name), true
			}
		}
	}
	return value, ok
}

// hasWord finds word in text where it is no part of a longer one; scripts without spaces have no such bounds.
func hasWord(text, word string) bool {
	for from := 0; word != ""; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		if boundary(text[:i], word, true) && boundary(text[i+len(word):], word, false) {
			return true
		}
		from = i + len(word)
	}
	return false
}

func boundary(rest, word string, before bool) bool {
	var next, edge rune
	if before {
		next, edge = lastRune(rest), firstRune(word)
	} else {
		next, edge = firstRune(rest), lastRune(word)
	}
	return next == 0 || wide(edge) || !wordly(next) || wide(next)
}

func firstRune(s string) rune {
	for _, r := range s {
		return r
	}
	return 0
}

func lastRune(s string) (last rune) {
	if len(s) > 4 {
		s = s[len(s)-4:]
	}
	for _, r := range s {
		last = r
	}
	return last
}

func digitsOf(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) || r == '+' {
			return r
		}
		return -1
	}, s)
}

func findOrder(text string) (string, bool) {
	best := ""
	for _, m := range orderID.FindAllStringSubmatch(text, 20) {
		if len(m[1]) > len(best) && len(m[1]) >= 4 && len(m[1]) <= 40 && !isoDate.MatchString(m[1]) {
			best = m[1]
		}
	}
	return strings.ToUpper(best), best != ""
}

func findNumber(text string) (string, bool) {
	if m := number.FindString(text); m != "" {
		return strings.ReplaceAll(strings.ReplaceAll(m, ",", ""), "−", "-"), true
	}
	if m := zhNumber.FindString(text); m != "" {
		if n, ok := chineseNumber(m); ok {
			return strconv.Itoa(n), true
		}
	}
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) }) {
		if n, ok := englishNumbers[w]; ok {
			return strconv.Itoa(n), true
		}
	}
	return "", false
}

var zhDigits = map[rune]int{'零': 0, '〇': 0, '一': 1, '二': 2, '两': 2, '三': 3, '四': 4, '五': 5, '六': 6, '七': 7, '八': 8, '九': 9}
var zhUnits = map[rune]int{'十': 10, '百': 100, '千': 1000, '万': 10000}

// chineseNumber reads numbers like 二十五 and 三万二千; what has no unit is read digit by digit.
func chineseNumber(s string) (int, bool) {
	total, sec, digit, units, n := 0, 0, 0, false, 0
	for _, r := range s {
		if n++; n > 12 {
			return 0, false
		}
		if d, ok := zhDigits[r]; ok {
			if !strings.ContainsAny(s, "十百千万") {
				total = total*10 + d
				continue
			}
			digit = d
			continue
		}
		u := zhUnits[r]
		units = true
		if u == 10000 {
			total += (sec + digit) * u
			sec, digit = 0, 0
			continue
		}
		if digit == 0 {
			digit = 1
		}
		sec += digit * u
		digit = 0
	}
	if units {
		total += sec + digit
	}
	return total, true
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// findDate gives a date as 2006-01-02. A date without a year is the nearest one that is not more than half a year ago.
func findDate(text string, now time.Time) (string, bool) {
	if m := isoDate.FindStringSubmatch(text); m != nil {
		return day(m[1], m[2], m[3], now)
	}
	if m := zhDate.FindStringSubmatch(text); m != nil {
		return day(m[1], m[2], m[3], now)
	}
	if m := dayMonth.FindStringSubmatch(text); m != nil {
		return day(m[3], monthNumber(m[2]), m[1], now)
	}
	if m := monthDay.FindStringSubmatch(text); m != nil {
		return day(m[3], monthNumber(m[1]), m[2], now)
	}
	lower := strings.ToLower(text)
	for _, w := range relativeBy {
		if strings.Contains(lower, w) {
			days := relative[w]
			if w == "day after tomorrow" {
				days = 2
			}
			return now.AddDate(0, 0, days).Format(time.DateOnly), true
		}
	}
	for re, sign := range map[*regexp.Regexp]int{inDays: 1, agoDays: -1} {
		if m := re.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1] + m[2]) // three digits at most
			return now.AddDate(0, 0, sign*n).Format(time.DateOnly), true
		}
	}
	return findWeekday(text, now)
}

func findWeekday(text string, now time.Time) (string, bool) {
	which, want := "", -1
	if m := weekday.FindStringSubmatch(text); m != nil {
		which = strings.TrimSpace(strings.ToLower(m[1]))
		for d := time.Sunday; d <= time.Saturday; d++ {
			if strings.EqualFold(d.String(), m[2]) {
				want = int(d)
			}
		}
	} else if m := zhWeekday.FindStringSubmatch(text); m != nil {
		which = map[string]string{"下": "next", "上": "last"}[m[1]]
		want = strings.Index("日一二三四五六", strings.Replace(m[2], "天", "日", 1)) / len("日")
		// 下周三 is the Wednesday of the week after this one, weeks beginning on Monday.
		if which != "" {
			monday := now.AddDate(0, 0, -(int(now.Weekday())+6)%7)
			shift := map[string]int{"next": 7, "last": -7}[which]
			return monday.AddDate(0, 0, shift+(want+6)%7).Format(time.DateOnly), true
		}
	}
	if want < 0 {
		return "", false
	}
	days := (want - int(now.Weekday()) + 7) % 7
	switch {
	case which == "last":
		days -= 7
	case which == "next" && days == 0:
		days = 7
	}
	return now.AddDate(0, 0, days).Format(time.DateOnly), true
}

func monthNumber(name string) string {
	for i, m := range months {
		if strings.EqualFold(m, name[:3]) {
			return strconv.Itoa(i + 1)
		}
	}
	return "0"
}

func day(year, month, dom string, now time.Time) (string, bool) {
	m, err1 := strconv.Atoi(month)
	d, err2 := strconv.Atoi(dom)
	y := now.Year()
	var err3 error
	if year != "" {
		y, err3 = strconv.Atoi(year)
	}
	if err1 != nil || err2 != nil || err3 != nil {
		return "", false
	}
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	if t.Day() != d || int(t.Month()) != m {
		return "", false // 31 February
	}
	if year == "" && t.Before(now.AddDate(0, -6, 0)) {
		t = time.Date(y+1, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	}
	return t.Format(time.DateOnly), true
}
