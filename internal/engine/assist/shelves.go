package assist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
)

// Bounds of what is kept in memory.
const (
	maxIndexes    = 64
	maxIndexBytes = 256 << 20
	maxMinds      = 128
)

// shelves keeps the indexes used last. An index is built at the first question after its knowledge base has changed.
type shelves struct {
	build keyed // one at a time builds the same index
	mu    sync.Mutex
	kept  []shelf // guarded by mu; the one used last is last
	bytes int64   // guarded by mu
}

type shelf struct {
	id string
	ix *index
}

func newShelves() *shelves { return &shelves{} }

func (s *shelves) get(id string, revision int64) *index {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range s.kept {
		if k.id == id && k.ix.revision >= revision {
			s.kept = append(slices.Delete(s.kept, i, i+1), k)
			return k.ix
		}
	}
	return nil
}

func (s *shelves) put(id string, ix *index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(k shelf) bool { return k.id == id })
	s.kept = append(s.kept, shelf{id, ix})
	s.bytes = 0
	for _, k := range s.kept {
		s.bytes += k.ix.bytes
	}
	for len(s.kept) > 1 && (len(s.kept) > maxIndexes || s.bytes > maxIndexBytes) {
		s.bytes -= s.kept[0].ix.bytes
		s.kept = slices.Delete(s.kept, 0, 1)
	}
}

// index is the search structure of a knowledge base as it is now.
func (e *Engine) index(ctx context.Context, owner, knowledge string) (*index, error) {
	var revision int64
	read := func(tx *db.Tx) error {
		err := tx.QueryRow(`SELECT revision FROM assist_knowledge WHERE owner = $1 AND id = $2`, owner, knowledge).Scan(&revision)
		if errors.Is(err, db.ErrNoRows) {
			return notFound("knowledge base", knowledge)
		}
		return err
	}
	if err := e.o.DB.View(ctx, read); err != nil {
		return nil, err
	}
	if ix := e.shelves.get(knowledge, revision); ix != nil {
		return ix, nil
	}
	unlock, err := e.shelves.build.lock(ctx, knowledge)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if ix := e.shelves.get(knowledge, revision); ix != nil {
		return ix, nil
	}
	var docs []indexed
	err = e.o.DB.View(ctx, func(tx *db.Tx) error {
		if err := read(tx); err != nil {
			return err
		}
		docs, err = e.load(tx, owner, knowledge)
		return err
	})
	if err != nil {
		return nil, err
	}
	ix := build(revision, docs)
	e.shelves.put(knowledge, ix)
	return ix, nil
}

// mind is what was learned of examples: a bot's, or those of its queues.
type mind struct {
	of      string
	version int64
	what    *understanding
	later   []string // examples whose vectors are yet to be made
}

// minds keeps what the bots used last have learned. The work behind the turn is a part of it: what is displaced by a newer
// version, or by bots that are used more, is not worked on any more.
type minds struct {
	learn   keyed
	mu      sync.Mutex
	kept    []mind // guarded by mu; the one used last is last
	working bool   // guarded by mu: [Engine.deepen] runs
}

func newMinds() *minds { return &minds{} }

func (m *minds) get(of string, version int64) *understanding {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, k := range m.kept {
		if k.of == of && k.version == version {
			m.kept = append(slices.Delete(m.kept, i, i+1), k)
			return k.what
		}
	}
	return nil
}

// put keeps what was learned, unless something newer is there. It reports whether vectors are to be made that nobody makes yet; then
// the caller starts [Engine.deepen].
func (m *minds) put(k mind) (start bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.kept, func(old mind) bool { return old.of == k.of && old.version > k.version }) {
		return false
	}
	m.kept = append(slices.DeleteFunc(m.kept, func(old mind) bool { return old.of == k.of }), k)
	if len(m.kept) > maxMinds {
		m.kept = slices.Delete(m.kept, 0, 1)
	}
	start = k.later != nil && !m.working
	m.working = m.working || start
	return start
}

// next takes the work of the bot used last. Without any the worker is to end.
func (m *minds) next() (k mind, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.kept) - 1; i >= 0; i-- {
		if k = m.kept[i]; k.later != nil {
			m.kept[i].later = nil
			return k, true
		}
	}
	m.working = false
	return mind{}, false
}

// current reports whether a version is still kept; it counts as no use.
func (m *minds) current(of string, version int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.kept, func(k mind) bool { return k.of == of && k.version == version })
}

// deepened puts what has vectors in the place of the same version without.
func (m *minds) deepened(of string, version int64, u *understanding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.kept {
		if k := &m.kept[i]; k.of == of && k.version == version {
			k.what, k.later = u, nil
		}
	}
}

// intents is what the bot understands; it is learned at the first turn after the bot has changed.
func (e *Engine) intents(ctx context.Context, b *Bot) (*understanding, error) {
	if len(b.Intents) == 0 {
		return nil, nil
	}
	labels, examples := make([]string, len(b.Intents)), make([][]string, len(b.Intents))
	for i, in := range b.Intents {
		labels[i], examples[i] = in.Name, in.Examples
	}
	return e.learned(ctx, b.ID, b.Version, labels, examples)
}

// learned is what was learned of some examples, once for each version of them. A higher version is a newer one.
func (e *Engine) learned(ctx context.Context, of string, version int64, labels []string, examples [][]string) (*understanding, error) {
	if u := e.minds.get(of, version); u != nil {
		return u, nil
	}
	unlock, err := e.minds.learn.lock(ctx, of)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if u := e.minds.get(of, version); u != nil {
		return u, nil
	}
	k := mind{of: of, version: version}
	texts := slices.Concat(examples...)
	embed := e.o.Embed
	if embed != nil && len(texts) > embedAtOnce && few(len(texts), len(labels)) {
		embed, k.later = nil, texts
	}
	k.what = learn(ctx, labels, examples, teacher{e.o.Train, embed})
	if err := ctx.Err(); err != nil {
		return nil, err // what was learned may lack a part
	}
	if e.minds.put(k) {
		e.behind(e.deepen)
	}
	return k.what, nil
}

// embedAtOnce is how many examples get their vectors while a visitor waits; vectors of more are made behind the turn.
const embedAtOnce = 100

// deepen gives vectors to what was learned without, one bot after another, and ends when none is left.
func (e *Engine) deepen() {
	for {
		k, more := e.minds.next()
		if !more {
			return
		}
		err := engine.Guard(e.log, "assist: vectors of examples", func() error {
			wanted := func() bool { return e.ctx.Err() == nil && e.minds.current(k.of, k.version) }
			if u := k.what.embed(e.ctx, k.later, e.o.Embed, wanted); u != nil {
				e.minds.deepened(k.of, k.version, u)
			}
			return nil
		})
		if err != nil {
			e.log.Warn("assist: a bot goes on without vectors of its examples", "of", k.of, "error", err)
		}
	}
}

// vector embeds a text of a language that has vectors; nil where there is none.
func (e *Engine) vector(ctx context.Context, text, lang string) []float32 {
	if e.o.Embed == nil || !slices.Contains(e.o.EmbedLanguages, lang) || strings.TrimSpace(text) == "" {
		return nil
	}
	vectors, err := e.o.Embed(ctx, []string{cutRunes(text, 2000)})
	if err != nil || len(vectors) != 1 {
		e.log.Debug("assist: no vector", "error", err)
		return nil
	}
	return vectors[0]
}

// intent finds a bot's intent by name.
func (b *Bot) intent(name string) *Intent {
	for i := range b.Intents {
		if strings.EqualFold(b.Intents[i].Name, name) {
			return &b.Intents[i]
		}
	}
	return nil
}
