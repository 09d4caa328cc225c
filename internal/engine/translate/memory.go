package translate

import (
	"container/list"
	"context"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"unicode"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// match is what a translation memory gave for a text.
type match struct {
	source, target string
	score          float64
}

// fuzzyCache keeps indexes of translation memories, by owner and pair, for search by likeness. An index is made when it
// is first asked for and again after the memory has changed.
type fuzzyCache struct {
	s  *store
	mu sync.Mutex
	at map[string]*list.Element
	lr *list.List // of *fuzzyIndex, the latest used first
	n  int        // units in all
}

// maxIndexed bounds the units in memory, of all owners.
const maxIndexed = 300_000

func newFuzzyCache(s *store) *fuzzyCache {
	return &fuzzyCache{s: s, at: map[string]*list.Element{}, lr: list.New()}
}

// lookUp finds the translations of texts: the exact ones and, if fuzzy is not 0, the likest with at least that score.
func (c *fuzzyCache) lookUp(ctx context.Context, owner, source, target string, texts []string, fuzzy float64) (map[string]match, error) {
	exact, revision, err := c.s.exact(ctx, owner, source, target, texts)
	if err != nil {
		return nil, err
	}
	found := map[string]match{}
	for t, tr := range exact {
		found[t] = match{t, tr, 1}
	}
	if fuzzy == 0 || revision == 0 || len(found) == len(texts) {
		return found, nil
	}
	x, err := c.index(ctx, owner, source, target, revision)
	if err != nil {
		return nil, err
	}
	for _, t := range texts {
		if _, ok := found[t]; ok {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m, ok := x.likest(t, fuzzy); ok {
			found[t] = m
		}
	}
	return found, nil
}

func (c *fuzzyCache) index(ctx context.Context, owner, source, target string, revision int64) (*fuzzyIndex, error) {
	key := owner + "\t" + source + "\t" + target
	c.mu.Lock()
	if e := c.at[key]; e != nil && e.Value.(*fuzzyIndex).revision == revision {
		c.lr.MoveToFront(e)
		c.mu.Unlock()
		return e.Value.(*fuzzyIndex), nil
	}
	c.mu.Unlock()
	x := &fuzzyIndex{key: key, revision: revision, grams: map[uint32][]int32{}}
	for after := ""; ; {
		units, next, err := c.s.units(ctx, owner, source, target, after, 5000)
		if err != nil {
			return nil, err
		}
		for _, u := range units {
			x.add(u)
		}
		if after = next; after == "" {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.at[key]; e != nil {
		c.drop(e)
	}
	c.at[key] = c.lr.PushFront(x)
	c.n += len(x.units)
	for c.n > maxIndexed && c.lr.Len() > 1 {
		c.drop(c.lr.Back())
	}
	return x, nil
}

func (c *fuzzyCache) drop(e *list.Element) {
	x := c.lr.Remove(e).(*fuzzyIndex)
	delete(c.at, x.key)
	c.n -= len(x.units)
}

// fuzzyIndex finds texts that are like one: by shared trigrams of characters, then by edit distance.
type fuzzyIndex struct {
	key      string
	revision int64
	units    []Unit
	grams    map[uint32][]int32
}

func (x *fuzzyIndex) add(u Unit) {
	i := int32(len(x.units))
	x.units = append(x.units, u)
	for _, g := range trigrams(masked(u.Source)) {
		x.grams[g] = append(x.grams[g], i)
	}
}

// trigrams are hashes of the distinct runs of three characters.
func trigrams(s string) []uint32 {
	r := []rune(" " + s + " ")
	seen := make([]uint32, 0, len(r))
	for i := 0; i+2 < len(r); i++ {
		seen = append(seen, (uint32(r[i])*31+uint32(r[i+1]))*131+uint32(r[i+2]))
	}
	slices.Sort(seen)
	return slices.Compact(seen)
}

var number = regexp.MustCompile(`\d+(?:[.,]\d+)*`)

// masked is a text for comparing: in lower case, with every number alike.
func masked(s string) string {
	return number.ReplaceAllString(strings.ToLower(strings.Join(strings.Fields(s), " ")), "0")
}

// maxLikely is how many units are compared letter by letter.
const maxLikely = 24

func (x *fuzzyIndex) likest(text string, least float64) (match, bool) {
	want := masked(text)
	grams := trigrams(want)
	count := map[int32]int{}
	for _, g := range grams {
		if list := x.grams[g]; len(list) < 1000+len(x.units)/20 {
			for _, i := range list {
				count[i]++
			}
		}
	}
	likely := make([]int32, 0, len(count))
	for i := range count {
		likely = append(likely, i)
	}
	sort.Slice(likely, func(a, b int) bool {
		if count[likely[a]] != count[likely[b]] {
			return count[likely[a]] > count[likely[b]]
		}
		return likely[a] < likely[b]
	})
	best := match{}
	for _, i := range likely[:min(len(likely), maxLikely)] {
		u := x.units[i]
		m := match{u.Source, u.Target, likeness(want, masked(u.Source))}
		if m.score == 1 { // differs in numbers or capitals at most
			ok := false
			if m.target, ok = moveNumbers(u, text); !ok {
				m.target, m.score = u.Target, 0.9
			} else {
				m.score = 0.99
			}
		}
		if m.score > best.score {
			best = m
		}
	}
	return best, best.score >= least && best.score > 0
}

// moveNumbers puts the numbers of text into the unit's translation, where each of the unit's stands there once.
func moveNumbers(u Unit, text string) (string, bool) {
	old, new := number.FindAllString(u.Source, -1), number.FindAllString(text, -1)
	if len(old) != len(new) {
		return "", false
	}
	spots := number.FindAllStringIndex(u.Target, -1)
	if len(spots) != len(old) {
		return u.Target, slices.Equal(old, new)
	}
	used := make([]bool, len(old))
	var b strings.Builder
	at := 0
	for _, s := range spots {
		hit := -1
		for i, o := range old {
			if !used[i] && o == u.Target[s[0]:s[1]] {
				hit = i
				break
			}
		}
		if hit < 0 {
			return "", false
		}
		used[hit] = true
		b.WriteString(u.Target[at:s[0]])
		b.WriteString(new[hit])
		at = s[1]
	}
	b.WriteString(u.Target[at:])
	return b.String(), true
}

// likeness is one less the edit distance by the length of the longer text: of words, or characters where there are no
// spaces.
func likeness(a, b string) float64 {
	x, y := symbols(a), symbols(b)
	longer := max(len(x), len(y))
	if longer == 0 {
		return 1
	}
	return 1 - float64(engine.Distance(x, y))/float64(longer)
}

func symbols(s string) (all []string) {
	start := -1
	for i, r := range s {
		if wordRune(r) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			all = append(all, s[start:i])
			start = -1
		}
		if !unicode.IsSpace(r) {
			all = append(all, string(r))
		}
	}
	if start >= 0 {
		all = append(all, s[start:])
	}
	if len(all) > 1000 {
		all = all[:1000]
	}
	return all
}
