package recommend

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawModel makes a small space of items with categories, tags, attributes and prices, and users with histories.
func drawModel(t *rapid.T) *model {
	cfg, err := parseConfig([]byte(`{"segment_by":["country"]}`))
	if err != nil {
		t.Fatal(err)
	}
	now := uint32(noon.Unix())
	m := newModel(cfg, now)
	word := rapid.SampledFrom([]string{"red", "blue", "green", "茶", "咖啡"})
	for i := range rapid.IntRange(1, 40).Draw(t, "items") {
		tags := rapid.SliceOfNDistinct(word, 0, 3, rapid.ID[string]).Draw(t, "tags")
		category := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "category")
		attrs := []attr{{"size", rapid.SampledFrom([]string{"s", "l"}).Draw(t, "size")}}
		title := word.Draw(t, "title")
		it := item{id: fmt.Sprintf("i%d", i), title: title, category: category, tags: tags, attrs: attrs,
			price: int64(rapid.IntRange(0, 9).Draw(t, "price")) * 1e6, priced: rapid.Bool().Draw(t, "priced"),
			listed: rapid.IntRange(0, 9).Draw(t, "listed") > 0, available: rapid.IntRange(0, 9).Draw(t, "available") > 0,
			published: now - 5 + uint32(rapid.IntRange(0, 6).Draw(t, "published"))}
		if it.listed {
			it.terms = termsOf(title, "", category, tags, attrs)
		} else {
			it = item{id: it.id}
		}
		m.setItem(int32(i), it)
	}
	for u := range rapid.IntRange(1, 15).Draw(t, "users") {
		m.setUser(int32(u), fmt.Sprintf("u%d", u), map[string]string{"country": rapid.SampledFrom([]string{"x", "y"}).Draw(t, "country")})
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			m.apply(event{usr: int32(u), item: int32(rapid.IntRange(0, len(m.items)-1).Draw(t, "item")), kind: kind(rapid.IntRange(1, 7).Draw(t, "kind")),
				value: int32(rapid.IntRange(1, 5).Draw(t, "value")) * 1000, at: now - uint32(rapid.IntRange(0, 90*day).Draw(t, "age"))})
		}
	}
	m.setNorms()
	m.segTop = m.segmentTops(now)
	if m.pairs > 0 && rapid.Bool().Draw(t, "trained") {
		f, err := train(t.Context(), m.matrix(now), len(m.items), nil, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		m.fit = f
	}
	return m
}

func drawMatch(t *rapid.T, m *model) Match {
	var f Match
	switch rapid.IntRange(0, 4).Draw(t, "match") {
	case 0:
		for range rapid.IntRange(1, 3).Draw(t, "ids") {
			f.IDs = append(f.IDs, fmt.Sprintf("i%d", rapid.IntRange(0, len(m.items)).Draw(t, "id")))
		}
	case 1:
		f.Tags = []string{"red", "茶"}[:rapid.IntRange(1, 2).Draw(t, "tags")]
	case 2:
		f.Categories = []string{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "category")}
	case 3:
		f.Attributes = map[string]string{"size": "s"}
	case 4:
		f.Tags, f.Categories = []string{"blue"}, []string{"c"}
	}
	return f
}

func drawRules(t *rapid.T, m *model) []Rule {
	var out []Rule
	for range rapid.IntRange(0, 5).Draw(t, "rules") {
		r := Rule{Type: rapid.SampledFrom([]string{rulePin, ruleBoost, ruleBury, ruleExclude, ruleMax}).Draw(t, "type"), Match: drawMatch(t, m)}
		switch r.Type {
		case rulePin:
			r.Match = Match{IDs: []string{fmt.Sprintf("i%d", rapid.IntRange(0, len(m.items)).Draw(t, "pin"))}}
			r.Position = rapid.IntRange(1, 8).Draw(t, "position")
		case ruleBoost:
			r.Factor = rapid.SampledFrom([]float64{0.01, 0.5, 3, 100}).Draw(t, "factor")
		case ruleMax:
			r.Max = rapid.IntRange(1, 3).Draw(t, "max")
			r.Match = Match{Categories: r.Match.Categories}
		}
		if err := r.check("rule"); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func drawQuery(t *rapid.T, m *model) *query {
	q := &query{user: int32(rapid.IntRange(-1, len(m.users)-1).Draw(t, "user")), limit: rapid.IntRange(1, 12).Draw(t, "limit"), now: uint32(noon.Unix()),
		rules: drawRules(t, m), lambda: rapid.SampledFrom([]float32{0, 0.3, 1}).Draw(t, "diversity"),
		perCat: rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "per category"), skip: rapid.SampledFrom([]uint8{0, 255, purchase.bit()}).Draw(t, "skip")}
	switch rapid.IntRange(0, 4).Draw(t, "surface") {
	case 0:
		q.w = similarWeights
		if n := int32(rapid.IntRange(0, len(m.items)-1).Draw(t, "anchor")); m.items[n].listed {
			q.items = []int32{n}
		}
	case 1:
		q.w = weights{byTrending: 1}
	case 2:
		q.w = weights{byPopular: 1}
	case 3:
		q.w[rapid.IntRange(0, rankers-1).Draw(t, "ranker")] = 1
	default:
		q.w = forYouWeights
	}
	if rapid.Bool().Draw(t, "filtered") {
		least := Price(2e6)
		q.filter = rapid.SampledFrom([]*Filter{{Match: drawMatch(t, m)}, {MinPrice: &least}, {ExcludeTags: []string{"red"}}, {AllTags: []string{"blue"}},
			{ExcludeIDs: []string{"i0", "i1"}}}).Draw(t, "filter")
	}
	return q
}

// TestRulesAlwaysHold: whatever the space, the question and the rules.
func TestRulesAlwaysHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		q := drawQuery(t, m)
		out := m.rank(q)
		if len(out) > q.limit {
			t.Fatalf("%d of %d", len(out), q.limit)
		}
		seen, perCategory := map[int32]bool{}, map[string]int{}
		var buriedAt, pinned []int
		for i, r := range out {
			it := &m.items[r.item]
			if seen[r.item] {
				t.Fatalf("%s twice", it.id)
			}
			seen[r.item] = true
			perCategory[it.category]++
			if !it.listed || !it.available || it.published > q.now || slices.Contains(q.items, r.item) {
				t.Fatalf("%+v must not be there", it)
			}
			if q.filter != nil && !q.filter.fits(it) {
				t.Fatalf("%s does not meet the filter", it.id)
			}
			if q.user >= 0 {
				if p := pairOf(m.users[q.user].pairs, r.item); p != nil && (p.disliked() || p.flags&q.skip != 0) {
					t.Fatalf("%s: the user has it", it.id)
				}
			}
			for _, rule := range q.rules {
				if rule.Type == ruleExclude && rule.Match.fits(it) {
					t.Fatalf("%s is excluded", it.id)
				}
			}
			if r.pinned {
				pinned = append(pinned, i)
			} else if buried(q.rules, it) {
				buriedAt = append(buriedAt, i)
			} else if len(buriedAt) > 0 {
				t.Fatalf("%s follows a buried item", it.id)
			}
			if i > 0 && !r.pinned && !out[i-1].pinned && q.lambda == 0 && len(buriedAt) == 0 && out[i-1].score < r.score {
				t.Fatal("not sorted")
			}
		}
		checkCounts(t, q, perCategory)
		checkPins(t, m, q, out, pinned)
	})
}

func checkCounts(t *rapid.T, q *query, perCategory map[string]int) {
	for c, n := range perCategory {
		if q.perCat > 0 && n > q.perCat {
			t.Fatalf("%d of category %q", n, c)
		}
		for _, r := range q.rules {
			if r.Type == ruleMax && n > r.Max && r.Match.fits(&item{category: c}) {
				t.Fatalf("%d of category %q, rule %d", n, c, r.Max)
			}
		}
	}
}

// checkPins: a single pin of an item that may be shown is at its position, or at the end of a shorter answer.
func checkPins(t *rapid.T, m *model, q *query, out []ranked, pinned []int) {
	var pins []Rule
	for _, r := range q.rules {
		if r.Type == rulePin {
			pins = append(pins, r)
		}
	}
	if len(pins) != 1 || pins[0].Position > q.limit {
		return
	}
	n, ok := m.byID.items[pins[0].Match.IDs[0]]
	if !ok || !m.eligible(q, n) || slices.Contains(q.items, n) {
		return
	}
	if q.user >= 0 {
		if p := pairOf(m.users[q.user].pairs, n); p != nil && (p.disliked() || p.flags&q.skip != 0) {
			return
		}
	}
	if want := min(pins[0].Position-1, len(out)-1); len(pinned) != 1 || pinned[0] != want || out[want].item != n {
		t.Fatalf("pin of %s at %v, not at %d", m.items[n].id, pinned, want)
	}
}

// TestRemovingAUserLeavesNothing: the counts are as if he had never been, and he is in nobody's list.
func TestRemovingAUserLeavesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		n := int32(rapid.IntRange(0, len(m.users)-1).Draw(t, "gone"))
		id := m.users[n].id
		m.rank(&query{user: n, w: forYouWeights, limit: 5, now: uint32(noon.Unix())}) // fills the cache
		m.removeUser(n)
		pairs := 0
		for i := range m.items {
			if slices.Contains(m.items[i].users, n) {
				t.Fatalf("still among the users of %s", m.items[i].id)
			}
			pairs += len(m.items[i].users)
			if m.long[i] < 0 || m.short[i] < 0 {
				t.Fatalf("counts of %s: %v %v", m.items[i].id, m.long[i], m.short[i])
			}
		}
		if _, ok := m.byID.users[id]; ok || m.users[n].id != "" || len(m.users[n].pairs) > 0 || pairs != m.pairs || len(m.nbrs) > 0 {
			t.Fatalf("%+v, %d pairs, counted %d", m.users[n], pairs, m.pairs)
		}
		m.apply(event{usr: n, item: 0, kind: view, at: uint32(noon.Unix())}) // late news of him
		if len(m.users[n].pairs) > 0 {
			t.Fatal("came back")
		}
	})
}

// TestPairsAreKeptInOrder: by time, each item once, at most maxPairs, in agreement with the items' lists.
func TestPairsAreKeptInOrder(t *testing.T) {
	cfg, err := parseConfig([]byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(cfg, uint32(noon.Unix()))
		for i := range maxPairs + 20 {
			m.setItem(int32(i), item{id: fmt.Sprintf("i%d", i), listed: true, available: true})
		}
		m.setUser(0, "u", nil)
		for range rapid.IntRange(0, 3).Draw(t, "rounds") {
			from, step := rapid.IntRange(0, len(m.items)-1).Draw(t, "from"), rapid.IntRange(1, 40).Draw(t, "step")
			at := uint32(noon.Unix()) - uint32(rapid.IntRange(0, 100*day).Draw(t, "age"))
			for k := range rapid.IntRange(1, 330).Draw(t, "events") {
				m.apply(event{item: int32((from + k*step) % len(m.items)), kind: kind(1 + k%7), value: 4000, at: at + uint32(k)})
			}
		}
		u := &m.users[0]
		if len(u.pairs) > maxPairs || len(u.pairs) != m.pairs || !slices.IsSortedFunc(u.pairs, func(a, b pair) int { return int(int64(a.at) - int64(b.at)) }) {
			t.Fatalf("%d pairs, %d counted", len(u.pairs), m.pairs)
		}
		for _, p := range u.pairs {
			if !slices.Equal(m.items[p.item].users, []int32{0}) || p.w < 0 {
				t.Fatalf("%+v: %v", p, m.items[p.item].users)
			}
		}
	})
}
