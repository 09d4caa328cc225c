package recommend

import (
	"math"
	"slices"
	"sync"
)

// kind is what a user did with an item. Values are stored: never renumber.
type kind uint8

const (
	view kind = iota + 1
	click
	cart
	purchase
	like
	dislike
	rating
	kinds
)

var kindNames = [kinds]string{"", "view", "click", "cart", "purchase", "like", "dislike", "rating"}

func kindOf(name string) kind {
	for k := view; k < kinds; k++ {
		if kindNames[k] == name {
			return k
		}
	}
	return 0
}

func (k kind) bit() uint8 { return 1 << (k - 1) }

// Bounds of the model. Older pairs of a user are dropped beyond maxPairs.
const (
	maxPairs = 300
	none     = -1
)

// item is one of the catalogue, by its number. The zero value is a hole.
type item struct {
	id, title, category string
	tags                []string
	attrs               []attr // sorted by key
	price               int64  // millionths
	priced              bool
	currency            string
	available, listed   bool
	published           uint32
	terms               []term // sorted by hash
	norm                float32
	users               []int32 // who touched it, in order of the first time; each once
}

type attr struct{ key, value string }

// user is one of the space's users, by his number.
type user struct {
	id    string
	pairs []pair // by time, the newest last; each item once
	segs  []int32
}

// pair is all that a user did with an item: w is the weight, decayed to at.
type pair struct {
	item  int32
	at    uint32
	w     float32
	flags uint8 // bits of the kinds
}

func (p *pair) disliked() bool { return p.flags&dislike.bit() != 0 }

// event is one act as it is stored.
type event struct {
	usr, item int32
	kind      kind
	value     int32 // thousandths of a rating
	at        uint32
}

// model is a space in memory. Reads hold mu for reading; only methods named so change it.
type model struct {
	cfg   *Config
	seq   int64
	items []item
	users []user
	byID  struct{ items, users map[string]int32 }

	posts map[uint32][]posting // content: which items have a term
	words map[string]string    // interned words

	landmark  uint32    // the time at which the counters below weigh one
	long      []float64 // popularity of an item, as if at the landmark
	short     []float64 // the same with the trend's half-life
	newness   []float32 // of an item: a little that puts the newer ahead where counts are equal
	sumLong   float64
	sumShort  float64
	firstSeen uint32 // time of the first event

	decays   []float32 // 2^(-age/H) by age/(H/16)
	pairs    int
	events   int // applied so far
	listed   int
	segments map[string]int32 // "country=de" → number
	segTop   [][]scored       // by segment: what its users like; made by training

	nbrMu sync.Mutex // guards the two below among readers
	nbrs  map[int32]*neighbours
	dirty []int32 // of an item: touches of its users since its neighbours were computed

	fit        *factors
	fitted     int // events that the last training had seen
	gone       int // users deleted so far
	fittedGone int // of these, before the last training
	scratch    sync.Pool
}

type scored struct {
	item  int32
	score float32
}

const day = 86400

func newModel(cfg *Config, now uint32) *model {
	m := &model{cfg: cfg, posts: map[uint32][]posting{}, words: map[string]string{}, segments: map[string]int32{},
		nbrs: map[int32]*neighbours{}, landmark: now}
	m.byID.items, m.byID.users = map[string]int32{}, map[string]int32{}
	m.decays = make([]float32, 16*16)
	for i := range m.decays {
		m.decays[i] = float32(math.Exp2(-float64(i) / 16))
	}
	m.scratch.New = func() any { return new(scratch) }
	return m
}

// decay is 2^(-age/H) of the interests' half-life, in sixteenths of it.
func (m *model) decay(at, now uint32) float32 {
	if at >= now {
		return 1
	}
	i := int(float64(now-at) * 16 / (m.cfg.InterestDays * day))
	if i >= len(m.decays) {
		return 0
	}
	return m.decays[i]
}

func (m *model) word(s string) string {
	if w, ok := m.words[s]; ok {
		return w
	}
	m.words[s] = s
	return s
}

// growItems makes room for the number n.
func (m *model) growItems(n int32) {
	for int(n) >= len(m.items) {
		m.items = append(m.items, item{})
		m.long, m.short, m.newness, m.dirty = append(m.long, 0), append(m.short, 0), append(m.newness, 0), append(m.dirty, 0)
	}
}

func (m *model) growUsers(n int32) {
	for int(n) >= len(m.users) {
		m.users = append(m.users, user{})
	}
}

// setItem puts an item in place of what its number held, and keeps its history.
func (m *model) setItem(n int32, it item) {
	m.growItems(n)
	old := &m.items[n]
	if old.id == "" {
		m.byID.items[it.id] = n
	}
	if old.listed {
		m.listed--
	}
	if it.listed {
		m.listed++
	}
	m.repost(n, old.terms, it.terms)
	it.users = old.users
	it.category = m.word(it.category)
	for i, t := range it.tags {
		it.tags[i] = m.word(t)
	}
	for i, a := range it.attrs {
		it.attrs[i] = attr{m.word(a.key), m.word(a.value)}
	}
	*old = it
	m.newness[n] = 1e-6 * float32(it.published) / math.MaxUint32
	m.setNorm(old)
}

// setUser puts a user's attributes in place.
func (m *model) setUser(n int32, id string, attributes map[string]string) {
	m.growUsers(n)
	u := &m.users[n]
	u.id = id
	m.byID.users[id] = n
	u.segs = m.segsOf(attributes)
}

// maxSegments bounds the groups of users whose popularity is kept apart.
const maxSegments = 1000

// segsOf are the groups that attributes put a user into.
func (m *model) segsOf(attributes map[string]string) []int32 {
	var out []int32
	for _, key := range m.cfg.SegmentBy {
		v, ok := attributes[key]
		if !ok {
			continue
		}
		name := key + "=" + v
		n, ok := m.segments[name]
		if !ok {
			if len(m.segments) >= maxSegments {
				continue
			}
			n = int32(len(m.segments))
			m.segments[name] = n
		}
		out = append(out, n)
	}
	return out
}

// apply takes an event in. Events of unknown users or items are dropped: their user has been deleted.
func (m *model) apply(e event) {
	if int(e.usr) >= len(m.users) || m.users[e.usr].id == "" || int(e.item) >= len(m.items) || m.items[e.item].id == "" {
		return
	}
	m.events++
	w := m.cfg.weightOf(e.kind, e.value)
	if w > 0 {
		m.count(e.item, float64(w), e.at)
	}
	if m.firstSeen == 0 || e.at < m.firstSeen {
		m.firstSeen = e.at
	}
	u := &m.users[e.usr]
	p, at := pair{item: e.item, at: e.at}, none
	for i := len(u.pairs) - 1; i >= 0; i-- {
		if u.pairs[i].item == e.item {
			p, at = u.pairs[i], i
			break
		}
	}
	if e.at >= p.at {
		p.w = p.w*m.decay(p.at, e.at) + w
		p.at = e.at
	} else {
		p.w += w * m.decay(e.at, p.at)
	}
	p.flags = mark(p.flags, e)
	if at == none {
		m.join(e.item, e.usr)
		if len(u.pairs) >= maxPairs {
			m.leave(u.pairs[0].item, e.usr)
			at = 0
		}
	}
	u.pairs = insertPair(u.pairs, at, p)
	m.touch(u)
}

// mark adds what an event says to the flags; the last opinion counts.
func mark(flags uint8, e event) uint8 {
	switch {
	case e.kind == dislike, e.kind == rating && e.value <= 2000:
		flags = flags&^like.bit() | dislike.bit()
	case e.kind == like, e.kind == rating:
		flags &^= dislike.bit()
	}
	return flags | e.kind.bit()
}

// insertPair puts p at its place by time, instead of pairs[old] unless that is none.
func insertPair(pairs []pair, old int, p pair) []pair {
	if old >= 0 {
		pairs = slices.Delete(pairs, old, old+1)
	}
	i := len(pairs)
	for i > 0 && pairs[i-1].at > p.at {
		i--
	}
	return slices.Insert(pairs, i, p)
}

// recent is how many of a user's newest items an event makes look at their neighbours again.
const recent = 20

// touch notes that the neighbours of a user's recent items may have changed.
func (m *model) touch(u *user) {
	for i := max(0, len(u.pairs)-recent); i < len(u.pairs); i++ {
		m.dirty[u.pairs[i].item]++
	}
}

func (m *model) join(item, usr int32) {
	m.items[item].users = append(m.items[item].users, usr)
	m.pairs++
}

func (m *model) leave(item, usr int32) {
	list := m.items[item].users
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == usr {
			m.items[item].users = slices.Delete(list, i, i+1)
			m.pairs--
			return
		}
	}
}

// count adds w at the time to the popularity of an item; counters decay forward: they are kept as they would
// weigh at the landmark, so that nothing has to be touched as time goes by.
func (m *model) count(n int32, w float64, at uint32) {
	age := float64(int64(at) - int64(m.landmark))
	l, s := w*math.Exp2(age/(m.cfg.PopularDays*day)), w*math.Exp2(age/(m.cfg.TrendHours*3600))
	l, s = max(l, -m.long[n]), max(s, -m.short[n])
	m.long[n] += l
	m.short[n] += s
	m.sumLong += l
	m.sumShort += s
}

// renew moves the landmark to now once the counters would grow out of proportion.
func (m *model) renew(now uint32) {
	age := float64(int64(now) - int64(m.landmark))
	if age < 100*m.cfg.TrendHours*3600 {
		return
	}
	l, s := math.Exp2(-age/(m.cfg.PopularDays*day)), math.Exp2(-age/(m.cfg.TrendHours*3600))
	for i := range m.long {
		m.long[i] *= l
		m.short[i] *= s
	}
	m.sumLong *= l
	m.sumShort *= s
	m.landmark = now
}

// removeUser takes a user and his weight in all counts out.
func (m *model) removeUser(n int32) {
	if int(n) >= len(m.users) || m.users[n].id == "" {
		return
	}
	u := &m.users[n]
	for _, p := range u.pairs {
		m.leave(p.item, n)
		m.count(p.item, -float64(p.w), p.at)
	}
	delete(m.byID.users, u.id)
	*u = user{}
	m.nbrMu.Lock()
	clear(m.nbrs)
	m.nbrMu.Unlock()
	m.segTop = nil
	m.gone++
}

// size estimates the bytes that the model takes.
func (m *model) size() int64 {
	n := int64(cap(m.items))*280 + int64(cap(m.users))*120 + int64(m.pairs)*40
	for i := range m.items {
		n += int64(len(m.items[i].terms)) * 24
	}
	if m.fit != nil {
		n += int64(len(m.fit.items)) * 4
	}
	return n
}
