package translate

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// Bounds of what an organisation keeps.
const (
	maxGlossaries = 200
	maxTerms      = 10_000 // of a glossary
	maxTermRunes  = 500
	maxUnits      = 100_000
	maxUnitRunes  = 4000
)

// store is the room's SQL. Every statement names the owner.
type store struct {
	db     *db.DB
	sealer *secret.Sealer // nil: nothing can be kept
	log    *slog.Logger
}

// Glossary is a list of terms. A term belongs to a pair of languages.
type Glossary struct {
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Dictionaries []Dictionary `json:"dictionaries"`
	Created      time.Time    `json:"created"`
	Updated      time.Time    `json:"updated"`
}

// Dictionary is a glossary's part for a pair of languages.
type Dictionary struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Terms  []Term `json:"terms,omitempty"`
	Count  int64  `json:"count"`
}

func noGlossary(id string) error {
	if len(id) > 60 {
		id = id[:60]
	}
	return problem.New(problem.NotFound, "translate.no_glossary", "there is no glossary %q; GET /v1/translate/glossaries lists yours", id)
}

func tooManyTerms() error {
	return problem.New(problem.TooLarge, "translate.too_many_terms", "a glossary has at most %d terms for a pair of languages", maxTerms)
}

// bounded refuses a glossary as it would be stored: several dictionaries may be of one pair, or add to one.
func (g *Glossary) bounded() error {
	for _, d := range g.Dictionaries {
		if d.Count > maxTerms {
			return tooManyTerms()
		}
	}
	return nil
}

func checkDictionary(d *Dictionary) error {
	if len(d.Terms) > maxTerms {
		return tooManyTerms()
	}
	for _, t := range d.Terms {
		if strings.TrimSpace(t.Source) == "" || strings.TrimSpace(t.Target) == "" ||
			utf8.RuneCountInString(t.Source) > maxTermRunes || utf8.RuneCountInString(t.Target) > maxTermRunes || strings.ContainsAny(t.Source+t.Target, "\x00\n\t") {
			return problem.New(problem.Unprocessable, "translate.bad_term", "every term needs a source and a target of at most %d characters, without tabs and line breaks", maxTermRunes)
		}
	}
	var err error
	if d.Source, err = concrete("source", d.Source); err != nil {
		return err
	}
	d.Target, err = concrete("target", d.Target)
	return err
}

// createGlossary stores a new glossary.
func (s *store) createGlossary(ctx context.Context, owner, name string, dicts []Dictionary) (*Glossary, error) {
	var g *Glossary
	err := s.db.Update(ctx, func(tx *db.Tx) error {
		var n int64
		if err := tx.QueryRow(`SELECT COUNT(*) FROM translate_glossary WHERE owner = $1`, owner).Scan(&n); err != nil {
			return err
		}
		if n >= maxGlossaries {
			return problem.New(problem.Conflict, "translate.too_many_glossaries", "an organisation has at most %d glossaries; delete one first", maxGlossaries)
		}
		id, now := db.NewID("gls", tx.Now()), db.Micros(tx.Now())
		if _, err := tx.Exec(`INSERT INTO translate_glossary (id, owner, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $5)`, id, owner, name, now, now); err != nil {
			return err
		}
		k, err := s.key(tx, owner, true)
		if err != nil {
			return err
		}
		for _, d := range dicts {
			if err := insertTerms(tx, k, id, d); err != nil {
				return err
			}
		}
		if g, err = readGlossary(tx, owner, id); err != nil {
			return err
		}
		return g.bounded()
	})
	return g, err
}

func insertTerms(tx *db.Tx, k *ownerKey, id string, d Dictionary) error {
	cols := make([][]string, 5)
	var values [][]byte
	at := map[string]int{}
	for _, t := range d.Terms {
		src, target := strings.TrimSpace(t.Source), strings.TrimSpace(t.Target)
		hash := k.term(src)
		value := k.close(k.place(id, d.Source, d.Target, hash), src, target)
		if i, twice := at[src]; twice {
			values[i] = value
			continue
		}
		at[src], values = len(values), append(values, value)
		for i, v := range []string{k.owner, id, d.Source, d.Target, hash} {
			cols[i] = append(cols[i], v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	_, _, err := tx.InsertRows("translate_sealed_term", []string{"owner", "glossary", "source_lang", "target_lang", "hash", "sealed"},
		[]any{cols[0], cols[1], cols[2], cols[3], cols[4], values},
		"ON CONFLICT (glossary, source_lang, target_lang, hash) DO UPDATE SET sealed = excluded.sealed")
	return err
}

func readGlossary(tx *db.Tx, owner, id string) (*Glossary, error) {
	g := &Glossary{ID: id, Dictionaries: []Dictionary{}}
	var created, updated int64
	err := tx.QueryRow(`SELECT name, created_at, updated_at FROM translate_glossary WHERE id = $1 AND owner = $2`, id, owner).Scan(&g.Name, &created, &updated)
	if errors.Is(err, db.ErrNoRows) {
		return nil, noGlossary(id)
	}
	if err != nil {
		return nil, err
	}
	g.Created, g.Updated = db.Time(created), db.Time(updated)
	rows, err := tx.Query(`SELECT source_lang, target_lang, COUNT(*) FROM translate_sealed_term WHERE glossary = $1 AND owner = $2
		GROUP BY source_lang, target_lang ORDER BY source_lang, target_lang`, id, owner)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var d Dictionary
		if err := rows.Scan(&d.Source, &d.Target, &d.Count); err != nil {
			return nil, err
		}
		g.Dictionaries = append(g.Dictionaries, d)
	}
	return g, rows.Err()
}

// glossary reads one without its terms.
func (s *store) glossary(ctx context.Context, owner, id string) (g *Glossary, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		g, err = readGlossary(tx, owner, id)
		return err
	})
	return g, err
}

// glossaries lists an owner's.
func (s *store) glossaries(ctx context.Context, owner string) (all []Glossary, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		all = []Glossary{}
		ids, err := column(tx, `SELECT id FROM translate_glossary WHERE owner = $1 ORDER BY id`, owner)
		if err != nil {
			return err
		}
		for _, id := range ids {
			g, err := readGlossary(tx, owner, id)
			if err != nil {
				return err
			}
			all = append(all, *g)
		}
		return nil
	})
	return all, err
}

func column(tx *db.Tx, query string, args ...any) (list []string, err error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rows.Err()
}

// changeGlossary renames a glossary (name not "") and replaces (or, with merge, adds to) the terms of the pairs given.
func (s *store) changeGlossary(ctx context.Context, owner, id, name string, dicts []Dictionary, merge bool) (g *Glossary, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		n, err := tx.Exec(`UPDATE translate_glossary SET name = CASE WHEN $1 = '' THEN name ELSE $2 END, updated_at = $3 WHERE id = $4 AND owner = $5`,
			name, name, db.Micros(tx.Now()), id, owner)
		if err != nil {
			return err
		}
		if n == 0 {
			return noGlossary(id)
		}
		for _, d := range dicts {
			if !merge {
				if _, err := deleteTerms(tx, owner, id, d.Source, d.Target); err != nil {
					return err
				}
			}
			k, err := s.key(tx, owner, true)
			if err != nil {
				return err
			}
			if err := insertTerms(tx, k, id, d); err != nil {
				return err
			}
		}
		if g, err = readGlossary(tx, owner, id); err != nil {
			return err
		}
		return g.bounded()
	})
	return g, err
}

func deleteTerms(tx *db.Tx, owner, id, source, target string) (int64, error) {
	return tx.Exec(`DELETE FROM translate_sealed_term WHERE owner = $1 AND glossary = $2 AND source_lang = $3 AND target_lang = $4`, owner, id, source, target)
}

// deleteDictionary deletes a glossary's terms of a pair.
func (s *store) deleteDictionary(ctx context.Context, owner, id, source, target string) error {
	return s.db.Update(ctx, func(tx *db.Tx) error {
		n, err := deleteTerms(tx, owner, id, source, target)
		if err == nil && n == 0 {
			return noGlossary(id)
		}
		return err
	})
}

// deleteGlossary deletes a glossary with its terms.
func (s *store) deleteGlossary(ctx context.Context, owner, id string) error {
	return s.db.Update(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(`DELETE FROM translate_sealed_term WHERE owner = $1 AND glossary = $2`, owner, id); err != nil {
			return err
		}
		n, err := tx.Exec(`DELETE FROM translate_glossary WHERE id = $1 AND owner = $2`, id, owner)
		if err == nil && n == 0 {
			return noGlossary(id)
		}
		return err
	})
}

// terms reads a glossary's terms for a pair of languages as they were stored.
func (s *store) terms(ctx context.Context, owner, id, source, target string) ([]Term, error) {
	return s.termsOf(ctx, owner, id, source, target, source, target)
}

// serving reads the terms of a glossary that serve a pair of languages: those for a language serve its regions, too. Of terms with
// the same source those for the region come first.
func (s *store) serving(ctx context.Context, owner, id, source, target string) ([]Term, error) {
	sb, _, _ := strings.Cut(source, "-")
	tb, _, _ := strings.Cut(target, "-")
	return s.termsOf(ctx, owner, id, source, target, sb, tb)
}

// termsOf reads the terms between each of two names of the source and of the target.
func (s *store) termsOf(ctx context.Context, owner, id, source, target, sourceToo, targetToo string) (all []Term, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		all = nil
		var n int64
		if err := tx.QueryRow(`SELECT COUNT(*) FROM translate_glossary WHERE id = $1 AND owner = $2`, id, owner).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return noGlossary(id)
		}
		k, err := s.key(tx, owner, false)
		if err != nil || k == nil {
			return err
		}
		return eachRow(tx, func(rows *db.Rows) error {
			var from, to, hash string
			var value []byte
			if err := rows.Scan(&from, &to, &hash, &value); err != nil {
				return err
			}
			src, tgt, err := k.open(value, k.place(id, from, to, hash))
			all = append(all, Term{src, tgt})
			return err
		}, `SELECT source_lang, target_lang, hash, sealed FROM translate_sealed_term WHERE owner = $1 AND glossary = $2 AND source_lang IN ($3, $4) AND target_lang IN ($5, $6)
			ORDER BY LENGTH(source_lang) + LENGTH(target_lang) DESC, source_lang, target_lang`, owner, id, source, sourceToo, target, targetToo)
	})
	slices.SortStableFunc(all, func(a, b Term) int { return strings.Compare(a.Source, b.Source) })
	return all, err
}

// eachRow runs scan on every row of a query.
func eachRow(tx *db.Tx, scan func(*db.Rows) error, query string, args ...any) error {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Unit is a text and its approved translation.
type Unit struct {
	Source     string `json:"source_text"`
	Target     string `json:"target_text"`
	SourceLang string `json:"source"`
	TargetLang string `json:"target"`
}

// touchMemory counts an owner's units anew after a change, and refuses more than there may be.
func touchMemory(tx *db.Tx, owner string) error {
	var n int64
	if err := tx.QueryRow(`SELECT COUNT(*) FROM translate_sealed_unit WHERE owner = $1`, owner).Scan(&n); err != nil {
		return err
	}
	if n > maxUnits {
		return problem.New(problem.TooLarge, "translate.memory_full", "a translation memory holds at most %d units; delete some first", maxUnits)
	}
	_, err := tx.Exec(`INSERT INTO translate_memory (owner, units, revision) VALUES ($1, $2, 1)
		ON CONFLICT (owner) DO UPDATE SET units = excluded.units, revision = translate_memory.revision + 1`, owner, n)
	return err
}

// addUnits stores units; one with a source that is there already replaces it.
func (s *store) addUnits(ctx context.Context, owner string, units []Unit) error {
	if len(units) == 0 {
		return nil
	}
	return s.db.Update(ctx, func(tx *db.Tx) error {
		k, err := s.key(tx, owner, true)
		if err != nil {
			return err
		}
		if err := insertUnits(tx, k, units); err != nil {
			return err
		}
		return touchMemory(tx, owner)
	})
}

func insertUnits(tx *db.Tx, k *ownerKey, units []Unit) error {
	cols := make([][]string, 4)
	var values [][]byte
	var times []int64
	at := map[string]int{}
	for _, u := range units {
		hash := k.unit(u.Source)
		place := k.place("unit", u.SourceLang, u.TargetLang, hash)
		value := k.close(place, u.Source, u.Target)
		if i, twice := at[place]; twice {
			values[i] = value
			continue
		}
		at[place], values, times = len(values), append(values, value), append(times, db.Micros(tx.Now()))
		for i, v := range []string{k.owner, u.SourceLang, u.TargetLang, hash} {
			cols[i] = append(cols[i], v)
		}
	}
	_, _, err := tx.InsertRows("translate_sealed_unit", []string{"owner", "source_lang", "target_lang", "hash", "sealed", "updated_at"},
		[]any{cols[0], cols[1], cols[2], cols[3], values, times},
		"ON CONFLICT (owner, source_lang, target_lang, hash) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at")
	return err
}

// units reads an owner's units of a pair ("" for any language), in a stable order, after the one of the cursor.
func (s *store) units(ctx context.Context, owner, source, target, after string, limit int) (all []Unit, next string, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		all, next, err = s.readUnits(tx, owner, source, target, after, limit)
		return err
	})
	return all, next, err
}

func (s *store) readUnits(tx *db.Tx, owner, source, target, after string, limit int) (all []Unit, next string, err error) {
	all = []Unit{}
	k, err := s.key(tx, owner, false)
	if err != nil || k == nil {
		return all, "", err
	}
	more, last := false, ""
	from := strings.SplitN(after+"..", ".", 3)
	from[2] = strings.TrimRight(from[2], ".")
	err = eachRow(tx, func(rows *db.Rows) error {
		if more = len(all) == limit; more {
			return nil
		}
		var u Unit
		var hash string
		var value []byte
		if err := rows.Scan(&u.SourceLang, &u.TargetLang, &hash, &value); err != nil {
			return err
		}
		last = u.SourceLang + "." + u.TargetLang + "." + hash
		u.Source, u.Target, err = k.open(value, k.place("unit", u.SourceLang, u.TargetLang, hash))
		all = append(all, u)
		return err
	}, `SELECT source_lang, target_lang, hash, sealed FROM translate_sealed_unit
		WHERE owner = $1 AND ($2 = '' OR source_lang = $3) AND ($4 = '' OR target_lang = $5) AND (source_lang, target_lang, hash) > ($6, $7, $8)
		ORDER BY source_lang, target_lang, hash LIMIT $9`, owner, source, source, target, target, from[0], from[1], from[2], int64(limit+1))
	if more {
		next = last
	}
	return all, next, err
}

// deleteUnits deletes an owner's units: one by its source text, or all of a pair, or all.
func (s *store) deleteUnits(ctx context.Context, owner, source, target, text string) (n int64, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		hash := ""
		if text != "" {
			k, err := s.key(tx, owner, false)
			if err != nil || k == nil {
				return err
			}
			hash = k.unit(text)
		}
		if n, err = tx.Exec(`DELETE FROM translate_sealed_unit WHERE owner = $1 AND ($2 = '' OR source_lang = $3) AND ($4 = '' OR target_lang = $5) AND ($6 = '' OR hash = $7)`,
			owner, source, source, target, target, hash, hash); err != nil {
			return err
		}
		return touchMemory(tx, owner)
	})
	return n, err
}

// exact finds the units of the source texts.
func (s *store) exact(ctx context.Context, owner, source, target string, texts []string) (found map[string]string, revision int64, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		found = map[string]string{}
		err := tx.QueryRow(`SELECT revision FROM translate_memory WHERE owner = $1 AND units > 0`, owner).Scan(&revision)
		if errors.Is(err, db.ErrNoRows) {
			revision = 0
			return nil
		}
		if err != nil {
			return err
		}
		k, err := s.key(tx, owner, false)
		if err != nil || k == nil {
			return err
		}
		byHash := map[string][]string{}
		var hashes []string
		for _, t := range texts {
			h := k.unit(t)
			byHash[h] = append(byHash[h], t)
			hashes = append(hashes, h)
		}
		return eachRow(tx, func(rows *db.Rows) error {
			var h string
			var value []byte
			if err := rows.Scan(&h, &value); err != nil {
				return err
			}
			_, t, err := k.open(value, k.place("unit", source, target, h))
			for _, text := range byHash[h] {
				found[text] = t
			}
			return err
		}, `SELECT hash, sealed FROM translate_sealed_unit WHERE owner = $1 AND source_lang = $2 AND target_lang = $3 AND hash `+tx.Dialect().In("$4"), owner, source, target, hashes)
	})
	return found, revision, err
}
