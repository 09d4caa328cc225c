package recommend

import (
	"fmt"
	"slices"
	"strings"
)

// sentences by code of reason and language. The first verb is the title of an item, or what is shared.
var sentences = map[string][2]string{
	"pinned":        {"chosen by the shop", "商家精选"},
	"bought":        {"because you bought “%s”", "因为您购买过“%s”"},
	"viewed":        {"because you viewed “%s”", "因为您看过“%s”"},
	"liked":         {"because you liked “%s”", "因为您喜欢“%s”"},
	"similar":       {"often chosen together with “%s”", "常与“%s”一起被选择"},
	"similar_users": {"people with similar interests chose it", "兴趣相近的人选择了它"},
	"taste":         {"matches what you have chosen, such as “%s”", "符合您的偏好，例如“%s”"},
	"content":       {"is about the same as “%s”: %s", "与“%s”内容相近：%s"},
	"popular":       {"popular now", "热门"},
	"popular_in":    {"popular in %s", "“%s”类热门"},
	"trending":      {"trending now", "正在流行"},
	"segment":       {"popular with people like you", "与您相似的人中热门"},
}

// explain names the ranker that gave most for an item, with the item of the history that had most to do with it.
func (m *model) explain(q *query, x *ranked, lang string) *Reason {
	if x.pinned {
		return reason("pinned", lang, "")
	}
	best := byPopular
	for r := range rankers {
		if x.s[r] > x.s[best] {
			best = r
		}
	}
	switch best {
	case byItemCF:
		if x.from != none {
			return m.because(q, x.from, lang)
		}
		return reason("similar_users", lang, "")
	case byUserCF:
		return reason("similar_users", lang, "")
	case byFactors:
		if n := m.closest(q, func(n int32) float32 { return m.angle(n, x.item) }); n != none {
			return reason("taste", lang, m.items[n].id, m.items[n].title)
		}
		return reason("similar_users", lang, "")
	case byContent:
		v := m.vector(x.item)
		if n := m.closest(q, func(n int32) float32 { return cosine(v, m.vector(n)) }); n != none {
			return reason("content", lang, m.items[n].id, m.items[n].title, m.shared(n, x.item))
		}
	case byTrending:
		return reason("trending", lang, "")
	case bySegment:
		return reason("segment", lang, "")
	}
	if c := m.items[x.item].category; c != "" {
		return reason("popular_in", lang, "", c)
	}
	return reason("popular", lang, "")
}

func reason(code, lang, item string, args ...any) *Reason {
	s := sentences[code][0]
	if strings.HasPrefix(lang, "zh") {
		s = sentences[code][1]
	}
	if len(args) > 0 {
		s = fmt.Sprintf(s, args...)
	}
	code, _, _ = strings.Cut(code, "_in")
	return &Reason{Code: code, Item: item, Text: s}
}

// because says what the user did with the item that led to another.
func (m *model) because(q *query, n int32, lang string) *Reason {
	code := "similar"
	if len(q.items) == 0 && q.user >= 0 {
		code = "viewed"
		if p := pairOf(m.users[q.user].pairs, n); p != nil {
			switch {
			case p.flags&purchase.bit() != 0:
				code = "bought"
			case p.flags&(like.bit()|rating.bit()) != 0:
				code = "liked"
			}
		}
	}
	it := &m.items[n]
	title := it.title
	if title == "" {
		title = it.id
	}
	return reason(code, lang, it.id, title)
}

// closest is the item of the history, or of the question, that scores highest above zero and is still listed.
func (m *model) closest(q *query, score func(int32) float32) int32 {
	from := q.items
	if len(from) == 0 {
		for _, h := range m.history(q.user, q.now) {
			from = append(from, h.item)
		}
	}
	best, most := int32(none), float32(0)
	for _, n := range from {
		if !m.items[n].listed {
			continue
		}
		if w := score(n); w > most {
			best, most = n, w
		}
	}
	return best
}

// angle is the cosine of two items' trained vectors.
func (m *model) angle(a, b int32) float32 {
	x, y := m.fit.of(a), m.fit.of(b)
	if x == nil || y == nil {
		return 0
	}
	return dot(x, y) * m.fit.turn[a] * m.fit.turn[b]
}

// shared names what two items have in common, for people.
func (m *model) shared(a, b int32) string {
	x, y := &m.items[a], &m.items[b]
	var out []string
	for _, t := range x.tags {
		if slices.Contains(y.tags, t) && len(out) < 3 {
			out = append(out, t)
		}
	}
	if len(out) == 0 && x.category == y.category {
		return x.category
	}
	return strings.Join(out, ", ")
}
