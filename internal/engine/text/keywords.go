package text

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Keyword is a word or phrase that a text is about.
type Keyword struct {
	Text  string  `json:"keyword"`
	Score float64 `json:"score"` // the first has 1
	Count int     `json:"count"`
}

const window = 4 // words that are near each other

// keywords ranks words by TextRank (Mihalcea and Tarau, 2004) weighted by how rare a word is, where the dictionary knows
// (Chinese), and joins neighbours into phrases.
func keywords(s, lang string, seg *Segmenter, top int) []Keyword {
	words := seg.Words(s)
	keys := make([]string, len(words)) // "" for what is no candidate
	for i, w := range words {
		if candidate(w, lang) {
			keys[i] = stem(strings.ToLower(w.Text), lang)
		}
	}
	ids, count, weight, shown := map[string]int{}, []int{}, []float64{}, []map[string]int{}
	for i, k := range keys {
		if k == "" {
			continue
		}
		id, ok := ids[k]
		if !ok {
			id = len(count)
			ids[k] = id
			count, weight, shown = append(count, 0), append(weight, rarity(words[i])), append(shown, map[string]int{})
		}
		count[id]++
		shown[id][words[i].Text]++
	}
	near := make([]map[int]float64, len(count))
	for i, k := range keys {
		if k == "" {
			continue
		}
		for j := i + 1; j < len(keys) && j <= i+window; j++ {
			if keys[j] == "" || keys[j] == k {
				continue
			}
			link2(near, ids[k], ids[keys[j]])
			link2(near, ids[keys[j]], ids[k])
		}
	}
	links := make([][]link, len(near))
	for i, m := range near {
		for to, x := range m {
			links[i] = append(links[i], link{to, x})
		}
		slices.SortFunc(links[i], func(a, b link) int { return cmp.Compare(a.to, b.to) })
	}
	rank := pageRank(links, weight)
	for i := range rank {
		rank[i] *= weight[i]
	}
	return phrases(s, words, keys, ids, rank, count, shown, top)
}

func link2(near []map[int]float64, a, b int) {
	if near[a] == nil {
		near[a] = map[int]float64{}
	}
	near[a][b]++
}

// candidate tells whether a word can be a keyword: in Chinese by its part of speech.
func candidate(w Word, lang string) bool {
	low := strings.ToLower(w.Text)
	if utf8.RuneCountInString(w.Text) < 2 || stopWords["en"][low] || stopWords[lang][low] || frequentIn(lang, low) || !strings.ContainsFunc(low, unicode.IsLetter) {
		return false
	}
	if unicode.Is(unicode.Han, last(w.Text)) {
		return w.POS == "" || strings.HasPrefix(w.POS, "n") || w.POS == "vn" || w.POS == "eng" || w.POS == "v" || w.POS == "an" || w.POS == "l" || w.POS == "j"
	}
	return true
}

// frequentIn tells whether w is among the frequent small words of a language.
func frequentIn(lang, w string) bool { return slices.Contains(frequentIndex()[w], lang) }

// rarity weighs a word by its frequency in Chinese at large, and verbs less than nouns.
func rarity(w Word) float64 {
	x := 1.0
	if w.LogP != 0 {
		x = math.Min(-w.LogP, 16) / 10
	}
	if w.POS == "v" {
		x *= 0.5
	}
	if r, _ := utf8.DecodeRuneInString(w.Text); unicode.IsUpper(r) {
		x *= 1.15
	}
	return x
}

// phrases joins candidates that stand side by side at least twice, or are as important together, and lists the best.
func phrases(s string, words []Word, keys []string, ids map[string]int, rank []float64, count []int, shown []map[string]int, top int) []Keyword {
	type phrase struct {
		text  string
		score float64
		count int
		parts []int
	}
	all := map[string]*phrase{}
	for k, id := range ids {
		all[k] = &phrase{commonest(shown[id]), rank[id] * (1 + math.Log(float64(count[id]))), count[id], []int{id}}
	}
	for i := range keys {
		for n := 2; n <= 3 && i+n <= len(keys); n++ {
			if !sideBySide(s, words[i:i+n], keys[i:i+n]) {
				break
			}
			k := strings.Join(keys[i:i+n], " ")
			p := all[k]
			if p == nil {
				p = &phrase{text: s[words[i].Start:words[i+n-1].End]}
				for _, w := range keys[i : i+n] {
					p.parts = append(p.parts, ids[w])
					p.score += rank[ids[w]]
				}
				p.score *= 0.62 // of two or three: a phrase must be used more than once to beat its words
				all[k] = p
			}
			p.count++
		}
	}
	within := map[int]int{} // how often a word stands in one phrase
	for _, p := range all {
		for _, id := range p.parts {
			if len(p.parts) > 1 && p.count > 1 {
				within[id] = max(within[id], p.count)
			}
		}
	}
	list := make([]*phrase, 0, len(all))
	for _, p := range all {
		if len(p.parts) == 1 && 2*within[p.parts[0]] >= p.count {
			continue // the phrase says more
		}
		if len(p.parts) > 1 {
			if p.count < 2 {
				continue
			}
			p.score *= 1 + math.Log(float64(p.count))
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *phrase) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.text, b.text))
	})
	out, used := []Keyword{}, map[int]int{}
	for _, p := range list {
		if len(out) == top {
			break
		}
		fresh := false
		for _, id := range p.parts {
			fresh = fresh || used[id] < count[id]-p.count && used[id] < 2 || used[id] == 0
		}
		if !fresh {
			continue
		}
		for _, id := range p.parts {
			used[id] += p.count
		}
		out = append(out, Keyword{p.text, p.score, p.count})
	}
	for i := len(out) - 1; i >= 0; i-- {
		out[i].Score = round3(out[i].Score / out[0].Score)
	}
	return out
}

// sideBySide tells whether nothing but a space or hyphen is between candidates.
func sideBySide(s string, words []Word, keys []string) bool {
	for i, k := range keys {
		if k == "" || i > 0 && (strings.Trim(s[words[i-1].End:words[i].Start], " -") != "" || keys[i-1] == k) {
			return false
		}
	}
	return true
}

func commonest(m map[string]int) (best string) {
	for w, n := range m {
		if b := m[best]; n > b || n == b && w < best {
			best = w
		}
	}
	return best
}
