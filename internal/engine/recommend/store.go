package recommend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of an owner and of a space.
const (
	maxSpaces      = 50
	maxSpaceItems  = 500_000 // numbers ever given
	maxSpaceUsers  = 2_000_000
	maxExperiments = 20
)

// spaceRow is a space as it is stored.
type spaceRow struct {
	id                int64
	owner, name       string
	config            string
	seq, items, users int64
	created, updated  int64
}

const spaceCols = `id, owner, name, config, seq, items, users, created, updated`

func (r *spaceRow) scan(scan func(...any) error) error {
	return scan(&r.id, &r.owner, &r.name, &r.config, &r.seq, &r.items, &r.users, &r.created, &r.updated)
}

func noSpace(name string) error {
	return problem.New(problem.NotFound, "recommend.no_space", "there is no space %q; create it with PUT /v1/recommend/spaces/{space}", name)
}

// readSpace reads a space of the owner.
func readSpace(tx *db.Tx, owner, name, lock string) (*spaceRow, error) {
	var r spaceRow
	err := r.scan(tx.QueryRow(`SELECT `+spaceCols+` FROM recommend_space WHERE owner = $1 AND name = $2`+lock, owner, name).Scan)
	if errors.Is(err, db.ErrNoRows) {
		return nil, noSpace(name)
	}
	return &r, err
}

// change runs fn with the lock of the space, and stores the counters that fn has raised. Afterwards this node's model
// is brought up to date.
func (e *Engine) change(ctx context.Context, owner, name string, fn func(*db.Tx, *spaceRow) error) error {
	err := e.db.Update(ctx, func(tx *db.Tx) error {
		r, err := readSpace(tx, owner, name, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		if err := fn(tx, r); err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE recommend_space SET config = $1, seq = $2, items = $3, users = $4, updated = $5 WHERE id = $6`,
			r.config, r.seq, r.items, r.users, db.Micros(tx.Now()), r.id)
		return err
	})
	if err != nil {
		return err
	}
	e.refresh(ctx, owner, name)
	return nil
}

// putSpace makes a space or gives it another configuration.
func (e *Engine) putSpace(ctx context.Context, owner, name string, c *Config) (made bool, err error) {
	config := text(c)
	err = e.db.Update(ctx, func(tx *db.Tx) error {
		made = false
		var n int64
		if err := tx.QueryRow(`SELECT COUNT(*) FROM recommend_space WHERE owner = $1`, owner).Scan(&n); err != nil {
			return err
		}
		now := db.Micros(tx.Now())
		changed, err := tx.Exec(`UPDATE recommend_space SET config = $1, seq = seq + 1, updated = $2 WHERE owner = $3 AND name = $4`, config, now, owner, name)
		if err != nil || changed > 0 {
			return err
		}
		if n >= maxSpaces {
			return problem.New(problem.Conflict, "recommend.too_many", "there can be at most %d %s; delete one first", maxSpaces, "spaces")
		}
		made = true
		_, err = tx.Exec(`INSERT INTO recommend_space (owner, name, config, seq, items, users, created, updated)
			VALUES ($1, $2, $3, 0, 0, 0, $4, $5) ON CONFLICT DO NOTHING`, owner, name, config, now, now)
		return err
	})
	if err != nil {
		return false, err
	}
	e.refresh(ctx, owner, name)
	return made, nil
}

// deleteSpace removes a space with all that is in it, in pieces that let other writers through.
func (e *Engine) deleteSpace(ctx context.Context, owner, name string) error {
	e.drop(owner, name)
	var r *spaceRow
	err := e.db.View(ctx, func(tx *db.Tx) (err error) { r, err = readSpace(tx, owner, name, ""); return err })
	if err != nil {
		return err
	}
	for from := int64(0); from <= r.seq; from += 50_000 {
		if err := e.deleteEvents(ctx, r.id, from, from+50_000); err != nil {
			return err
		}
	}
	err = e.db.Update(ctx, func(tx *db.Tx) error {
		if _, err := readSpace(tx, owner, name, tx.Dialect().ForUpdate()); err != nil {
			return err
		}
		for _, table := range []string{"event", "exposure", "gone", "experiment", "user", "item"} {
			if _, err := tx.Exec(`DELETE FROM recommend_`+table+` WHERE space = $1`, r.id); err != nil {
				return err
			}
		}
		_, err := tx.Exec(`DELETE FROM recommend_space WHERE id = $1`, r.id)
		return err
	})
	e.drop(owner, name)
	return err
}

func (e *Engine) deleteEvents(ctx context.Context, space, from, to int64) error {
	return e.db.Update(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM recommend_event WHERE space = $1 AND seq > $2 AND seq <= $3`, space, from, to)
		return err
	})
}

// numbers finds the numbers of ids in recommend_item or recommend_user.
func numbers(tx *db.Tx, table string, space int64, ids []string) (map[string]int64, error) {
	rows, err := tx.Query(`SELECT id, num FROM recommend_`+table+` WHERE space = $1 AND id`+tx.Dialect().In("$2"), space, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := make(map[string]int64, len(ids))
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		out[id] = n
	}
	return out, rows.Err()
}

// column collects rows for [db.Tx.InsertRows].
type columns struct {
	names []string
	data  []any
}

func (c *columns) texts(name string, v []string) {
	c.names, c.data = append(c.names, name), append(c.data, v)
}
func (c *columns) ints(name string, v []int64) {
	c.names, c.data = append(c.names, name), append(c.data, v)
}
func (c *columns) some(name string, v any) {
	c.names, c.data = append(c.names, name), append(c.data, v)
}

// repeat is a column of one value.
func repeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// each is a column made from a list.
func each[T, V any](list []T, f func(*T) V) []V {
	out := make([]V, len(list))
	for i := range list {
		out[i] = f(&list[i])
	}
	return out
}

// upsertItems writes items whole.
func upsertItems(tx *db.Tx, r *spaceRow, list []Item) error {
	ids := each(list, func(it *Item) string { return it.ID })
	known, err := numbers(tx, "item", r.id, ids)
	if err != nil {
		return err
	}
	nums, seqs := make([]int64, len(list)), make([]int64, len(list))
	for i, id := range ids {
		n, ok := known[id]
		if !ok {
			if n = r.items; n >= maxSpaceItems {
				return problem.New(problem.Conflict, "recommend.too_many", "there can be at most %d %s; delete one first", maxSpaceItems, "items")
			}
			r.items++
		}
		r.seq++
		nums[i], seqs[i] = n, r.seq
	}
	now := tx.Now()
	var c columns
	c.ints("space", repeat(r.id, len(list)))
	c.ints("num", nums)
	c.texts("owner", repeat(r.owner, len(list)))
	c.texts("id", ids)
	c.ints("seq", seqs)
	c.ints("listed", repeat(int64(1), len(list)))
	c.ints("available", each(list, func(it *Item) int64 { return db.Bool(it.Available == nil || *it.Available) }))
	c.texts("title", each(list, func(it *Item) string { return it.Title }))
	c.texts("body", each(list, func(it *Item) string { return it.Text }))
	c.texts("category", each(list, func(it *Item) string { return it.Category }))
	c.texts("tags", each(list, func(it *Item) string { return text(append([]string{}, it.Tags...)) }))
	c.some("price", each(list, func(it *Item) *int64 { return (*int64)(it.Price) }))
	c.texts("currency", each(list, func(it *Item) string { return it.Currency }))
	c.texts("attributes", each(list, func(it *Item) string { return attributesText(it.Attributes) }))
	c.ints("published", each(list, func(it *Item) int64 {
		if it.Published == nil {
			return now.Unix()
		}
		return it.Published.Unix()
	}))
	c.ints("updated", repeat(db.Micros(now), len(list)))
	_, _, err = tx.InsertRows("recommend_item", c.names, c.data, `ON CONFLICT (space, num) DO UPDATE SET seq = excluded.seq, listed = 1,
		available = excluded.available, title = excluded.title, body = excluded.body, category = excluded.category, tags = excluded.tags,
		price = excluded.price, currency = excluded.currency, attributes = excluded.attributes, published = excluded.published,
		updated = excluded.updated`)
	return err
}

func attributesText(m map[string]string) string {
	if len(m) == 0 {
		return "{}"
	}
	return text(m)
}

// deleteItems unlists items and empties what is told of them.
func deleteItems(tx *db.Tx, r *spaceRow, ids []string) (int64, error) {
	r.seq++
	return tx.Exec(`UPDATE recommend_item SET seq = $1, listed = 0, title = '', body = '', category = '', tags = '[]', price = NULL, currency = '',
		attributes = '{}', updated = $2 WHERE space = $3 AND listed = 1 AND id`+tx.Dialect().In("$4"), r.seq, db.Micros(tx.Now()), r.id, ids)
}

// upsertUsers writes users with their attributes; with stub, known ones are left alone. It gives their numbers.
func upsertUsers(tx *db.Tx, r *spaceRow, list []User, stub bool) (map[string]int64, error) {
	known, err := numbers(tx, "user", r.id, each(list, func(u *User) string { return u.ID }))
	if err != nil {
		return nil, err
	}
	var write []User
	var nums, seqs []int64
	for _, u := range list {
		n, ok := known[u.ID]
		if ok && stub {
			continue
		}
		if !ok {
			if n = r.users; n >= maxSpaceUsers {
				return nil, problem.New(problem.Conflict, "recommend.too_many", "there can be at most %d %s; delete one first", maxSpaceUsers, "users")
			}
			r.users++
			known[u.ID] = n
		}
		r.seq++
		write, nums, seqs = append(write, u), append(nums, n), append(seqs, r.seq)
	}
	var c columns
	c.ints("space", repeat(r.id, len(write)))
	c.ints("num", nums)
	c.texts("owner", repeat(r.owner, len(write)))
	c.texts("id", each(write, func(u *User) string { return u.ID }))
	c.ints("seq", seqs)
	c.texts("attributes", each(write, func(u *User) string { return attributesText(u.Attributes) }))
	c.ints("created", repeat(db.Micros(tx.Now()), len(write)))
	_, _, err = tx.InsertRows("recommend_user", c.names, c.data, `ON CONFLICT (space, num) DO UPDATE SET seq = excluded.seq, attributes = excluded.attributes`)
	return known, err
}

// stubItems makes rows for items that are named before they are known. It gives the numbers of all.
func stubItems(tx *db.Tx, r *spaceRow, ids []string) (map[string]int64, error) {
	known, err := numbers(tx, "item", r.id, ids)
	if err != nil {
		return nil, err
	}
	var fresh []string
	var nums, seqs []int64
	for _, id := range ids {
		if _, ok := known[id]; ok {
			continue
		}
		if r.items >= maxSpaceItems {
			return nil, problem.New(problem.Conflict, "recommend.too_many", "there can be at most %d %s; delete one first", maxSpaceItems, "items")
		}
		r.seq++
		fresh, nums, seqs = append(fresh, id), append(nums, r.items), append(seqs, r.seq)
		known[id] = r.items
		r.items++
	}
	n := len(fresh)
	var c columns
	c.ints("space", repeat(r.id, n))
	c.ints("num", nums)
	c.texts("owner", repeat(r.owner, n))
	c.texts("id", fresh)
	c.ints("seq", seqs)
	for _, name := range []string{"listed", "available", "published"} {
		c.ints(name, repeat(int64(0), n))
	}
	for _, name := range []string{"title", "body", "category", "currency"} {
		c.texts(name, repeat("", n))
	}
	c.texts("tags", repeat("[]", n))
	c.texts("attributes", repeat("{}", n))
	c.ints("updated", repeat(db.Micros(tx.Now()), n))
	_, _, err = tx.InsertRows("recommend_item", c.names, c.data, "")
	return known, err
}

// unique lists the values of f once each, in order.
func unique[T any](list []T, f func(*T) string) []string {
	seen := make(map[string]bool, len(list))
	var out []string
	for i := range list {
		if v := f(&list[i]); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// insertEvents writes the events whose ids are new, and tells how many.
func insertEvents(tx *db.Tx, r *spaceRow, list []Event) (int, error) {
	list, err := newEvents(tx, r.id, list)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	names := unique(list, func(e *Event) string { return e.User })
	users, err := upsertUsers(tx, r, each(names, func(id *string) User { return User{ID: *id} }), true)
	if err != nil {
		return 0, err
	}
	items, err := stubItems(tx, r, unique(list, func(e *Event) string { return e.Item }))
	if err != nil {
		return 0, err
	}
	now := tx.Now().Unix()
	var c columns
	c.ints("space", repeat(r.id, len(list)))
	c.ints("seq", each(list, func(*Event) int64 { r.seq++; return r.seq }))
	c.some("id", each(list, func(e *Event) *string {
		if e.ID == "" {
			return nil
		}
		return &e.ID
	}))
	c.ints("usr", each(list, func(e *Event) int64 { return users[e.User] }))
	c.ints("item", each(list, func(e *Event) int64 { return items[e.Item] }))
	c.ints("kind", each(list, func(e *Event) int64 { return int64(kindOf(e.Type)) }))
	c.ints("value", each(list, func(e *Event) int64 {
		if e.Type != kindNames[rating] {
			return 0
		}
		return int64(e.Value*1000 + 0.5)
	}))
	c.ints("at", each(list, func(e *Event) int64 {
		if e.Time == nil {
			return now
		}
		return e.Time.Unix()
	}))
	c.texts("request", each(list, func(e *Event) string { return e.Request }))
	_, _, err = tx.InsertRows("recommend_event", c.names, c.data, "")
	return len(list), err
}

// newEvents leaves out the events whose id is known, or comes twice.
func newEvents(tx *db.Tx, space int64, list []Event) ([]Event, error) {
	var ids []string
	for _, e := range list {
		if e.ID != "" {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return list, nil
	}
	known := map[string]bool{}
	rows, err := tx.Query(`SELECT id FROM recommend_event WHERE space = $1 AND id`+tx.Dialect().In("$2"), space, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		known[id] = true
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	out := make([]Event, 0, len(list))
	for _, e := range list {
		if e.ID == "" || !known[e.ID] {
			out = append(out, e)
			known[e.ID] = true
		}
	}
	return out, nil
}

// deleteUser removes a user's rows, and leaves word to the other nodes.
func deleteUser(tx *db.Tx, r *spaceRow, id string) error {
	found, err := numbers(tx, "user", r.id, []string{id})
	if err != nil {
		return err
	}
	n, ok := found[id]
	if !ok {
		return noUser(id)
	}
	for _, text := range []string{
		`DELETE FROM recommend_event WHERE space = $1 AND usr = $2`,
		`DELETE FROM recommend_exposure WHERE space = $1 AND usr = $2`,
		`DELETE FROM recommend_user WHERE space = $1 AND num = $2`,
	} {
		if _, err := tx.Exec(text, r.id, n); err != nil {
			return err
		}
	}
	r.seq++
	_, err = tx.Exec(`INSERT INTO recommend_gone (space, seq, usr, at) VALUES ($1, $2, $3, $4)`, r.id, r.seq, n, db.Micros(tx.Now()))
	return err
}

func noUser(id string) error {
	return problem.New(problem.NotFound, "recommend.no_user", "there is no user %q in this space", id)
}

func noItem(id string) error {
	return problem.New(problem.NotFound, "recommend.no_item", "there is no item %q in this space", id)
}

// prune removes the events beyond what the space keeps, and old word of deleted users. The times of nodes may differ;
// what is kept is far longer than any poll.
func (e *Engine) prune(ctx context.Context, space, seq, keep int64) error {
	return e.db.Update(ctx, func(tx *db.Tx) error {
		if _, err := tx.Exec(`DELETE FROM recommend_gone WHERE space = $1 AND at < $2`, space, db.Micros(tx.Now().Add(-goneAfter))); err != nil {
			return err
		}
		if seq <= keep {
			return nil
		}
		var first int64
		err := tx.QueryRow(`SELECT COALESCE(MIN(seq), 0) FROM recommend_event WHERE space = $1`, space).Scan(&first)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`DELETE FROM recommend_event WHERE space = $1 AND seq <= $2`, space, min(seq-keep, first+20_000))
		return err
	})
}

// goneAfter is how long word of a deleted user is kept. A node that has not polled for half of it loads anew.
const goneAfter = 2 * time.Hour

// readItem reads an item as it was given.
func readItem(tx *db.Tx, space int64, id string) (*Item, error) {
	var it Item
	var price *int64
	var tags, attributes string
	var available, published int64
	err := tx.QueryRow(`SELECT id, title, body, category, tags, price, currency, attributes, available, published FROM recommend_item
		WHERE space = $1 AND id = $2 AND listed = 1`, space, id).
		Scan(&it.ID, &it.Title, &it.Text, &it.Category, &tags, &price, &it.Currency, &attributes, &available, &published)
	if errors.Is(err, db.ErrNoRows) {
		return nil, noItem(id)
	}
	if err != nil {
		return nil, err
	}
	if err := stored(&it.Tags, tags, &it.Attributes, attributes); err != nil {
		return nil, err
	}
	is, at := available == 1, time.Unix(published, 0).UTC()
	it.Price, it.Available, it.Published = (*Price)(price), &is, &at
	return &it, nil
}

// stored reads the JSON of columns.
func stored(tags *[]string, tagsText string, attributes *map[string]string, attributesText string) error {
	if tagsText != "[]" {
		if err := json.Unmarshal([]byte(tagsText), tags); err != nil {
			return fmt.Errorf("recommend: stored tags: %w", err)
		}
	}
	if attributesText != "{}" {
		if err := json.Unmarshal([]byte(attributesText), attributes); err != nil {
			return fmt.Errorf("recommend: stored attributes: %w", err)
		}
	}
	return nil
}
