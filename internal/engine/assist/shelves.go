package assist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tollgate-io/tollgate/internal/db"
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
}

// minds keeps what the bots used last have learned.
type minds struct {
	learn keyed
	mu    sync.Mutex
	kept  []mind // guarded by mu; the one used last is last
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

// learned is what was learned of some examples, once for each version of them.
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
	count := 0
	for _, list := range examples {
		count += len(list)
	}
	embed := e.o.Embed
	later := embed != nil && count > embedAtOnce && few(count, len(labels))
	if later {
		embed = nil
	}
	u := learn(ctx, labels, examples, teacher{e.o.Train, embed})
	if err := ctx.Err(); err != nil {
		return nil, err // what was learned may lack a part
	}
	e.minds.put(mind{of, version, u})
	if later {
		e.work.Go(func() { e.deepen(of, version, labels, examples) })
	}
	return u, nil
}

// embedAtOnce is how many examples get their vectors while a visitor waits; vectors of more are made behind the turn.
const embedAtOnce = 100

// deepen learns once more, with vectors, and puts that in the place of what was learned without.
func (e *Engine) deepen(of string, version int64, labels []string, examples [][]string) {
	err := e.guard("vectors of examples", func() error {
		u := learn(e.ctx, labels, examples, teacher{e.o.Train, e.o.Embed})
		if e.ctx.Err() == nil && u.embedded && e.minds.get(of, version) != nil {
			e.minds.put(mind{of, version, u})
		}
		return nil
	})
	if err != nil {
		e.log.Warn("assist: a bot goes on without vectors of its examples", "of", of, "error", err)
	}
}

func (m *minds) put(k mind) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = slices.DeleteFunc(m.kept, func(old mind) bool { return old.of == k.of })
	m.kept = append(m.kept, k)
	if len(m.kept) > maxMinds {
		m.kept = slices.Delete(m.kept, 0, 1)
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
