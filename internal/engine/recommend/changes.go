package recommend

import (
	"github.com/tollgate-io/tollgate/internal/db"
)

// delta is what has changed in a space, as read from the database.
type delta struct {
	seq    int64
	cfg    *Config
	tests  []experiment
	nums   []int32 // of items
	items  []item
	users  []changedUser
	gone   []int32
	events []event
}

type changedUser struct {
	num        int32
	id         string
	attributes map[string]string
}

// readDelta reads what came after the sequence.
func readDelta(tx *db.Tx, r *spaceRow, after int64) (*delta, error) {
	d := &delta{seq: r.seq}
	var err error
	if d.cfg, err = storedConfig(r.config); err != nil {
		return nil, err
	}
	if d.tests, err = readExperiments(tx, r.id, true); err != nil {
		return nil, err
	}
	err = readItems(tx, r.id, after, func(n int32, it item) { d.nums, d.items = append(d.nums, n), append(d.items, it) })
	if err != nil {
		return nil, err
	}
	if err := readUsers(tx, r.id, after, func(u changedUser) { d.users = append(d.users, u) }); err != nil {
		return nil, err
	}
	if err := readGone(tx, r.id, after, func(n int32) { d.gone = append(d.gone, n) }); err != nil {
		return nil, err
	}
	return d, readEvents(tx, r.id, after, func(e event) { d.events = append(d.events, e) })
}

// apply brings a model to the sequence of the delta. Numbers are never used again, so that deleted users go last.
func (d *delta) apply(m *model) {
	for i, n := range d.nums {
		if d.items[i].listed {
			m.setItem(n, d.items[i])
		} else {
			m.growItems(n)
			m.setItem(n, item{id: d.items[i].id})
		}
	}
	for _, u := range d.users {
		m.setUser(u.num, u.id, u.attributes)
	}
	for _, e := range d.events {
		m.apply(e)
	}
	for _, n := range d.gone {
		m.removeUser(n)
	}
	m.seq = d.seq
}

// readChanges reads a whole space into a model that nobody else has yet.
func readChanges(tx *db.Tx, r *spaceRow, m *model, after int64) error {
	if err := readItems(tx, r.id, after, m.setItem); err != nil {
		return err
	}
	if err := readUsers(tx, r.id, after, func(u changedUser) { m.setUser(u.num, u.id, u.attributes) }); err != nil {
		return err
	}
	if err := readEvents(tx, r.id, max(after, r.seq-m.cfg.KeepEvents), m.apply); err != nil {
		return err
	}
	m.seq = r.seq
	return nil
}

func readItems(tx *db.Tx, space, after int64, yield func(int32, item)) error {
	rows, err := tx.Query(`SELECT num, id, listed, available, title, body, category, tags, price, currency, attributes, published
		FROM recommend_item WHERE space = $1 AND seq > $2 ORDER BY num`, space, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var num, listed, available, published int64
		var body, tags, attributes string
		var price *int64
		var it item
		if err := rows.Scan(&num, &it.id, &listed, &available, &it.title, &body, &it.category, &tags, &price, &it.currency, &attributes, &published); err != nil {
			return err
		}
		var named map[string]string
		if err := stored(&it.tags, tags, &named, attributes); err != nil {
			return err
		}
		it.attrs = sortedAttrs(named)
		it.listed, it.available, it.published = listed == 1, available == 1, uint32(published)
		if price != nil {
			it.price, it.priced = *price, true
		}
		if it.listed {
			it.terms = termsOf(it.title, body, it.category, it.tags, it.attrs)
		}
		yield(int32(num), it)
	}
	return rows.Err()
}

func readUsers(tx *db.Tx, space, after int64, yield func(changedUser)) error {
	rows, err := tx.Query(`SELECT num, id, attributes FROM recommend_user WHERE space = $1 AND seq > $2 ORDER BY num`, space, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var num int64
		var attributes string
		var u changedUser
		if err := rows.Scan(&num, &u.id, &attributes); err != nil {
			return err
		}
		if err := stored(nil, "[]", &u.attributes, attributes); err != nil {
			return err
		}
		u.num = int32(num)
		yield(u)
	}
	return rows.Err()
}

func readGone(tx *db.Tx, space, after int64, yield func(int32)) error {
	rows, err := tx.Query(`SELECT usr FROM recommend_gone WHERE space = $1 AND seq > $2 ORDER BY seq`, space, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return err
		}
		yield(int32(n))
	}
	return rows.Err()
}

func readEvents(tx *db.Tx, space, after int64, yield func(event)) error {
	rows, err := tx.Query(`SELECT usr, item, kind, value, at FROM recommend_event WHERE space = $1 AND seq > $2 ORDER BY seq`, space, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var usr, item, k, value, at int64
		if err := rows.Scan(&usr, &item, &k, &value, &at); err != nil {
			return err
		}
		yield(event{int32(usr), int32(item), kind(k), int32(value), uint32(at)})
	}
	return rows.Err()
}
