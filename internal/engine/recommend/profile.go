package recommend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

// Profile is what is known of a user.
type Profile struct {
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes"`
	Categories []Interest        `json:"categories"`
	Tags       []Interest        `json:"tags"`
	Recent     []Touched         `json:"recent"`
	Items      int               `json:"items"` // that the user has touched, as far as they are kept in the model
	Engine     string            `json:"engine"`
	Model      string            `json:"model"`
}

// Interest is a category or tag with its part of the user's interest: all of a list add up to 1 at most.
type Interest struct {
	Name   string  `json:"name"`
	Weight float64 `json:"weight"`
}

// Touched is an item that the user did something with.
type Touched struct {
	Item     string    `json:"item"`
	Title    string    `json:"title,omitempty"`
	Types    []string  `json:"types"`
	Last     time.Time `json:"last"`
	Interest float64   `json:"interest"` // weight now
}

// Of a profile.
const (
	topInterests = 20
	topRecent    = 20
)

// readUser reads a user's attributes and number.
func readUser(tx *db.Tx, space int64, id string) (num int64, attributes map[string]string, err error) {
	var t string
	err = tx.QueryRow(`SELECT num, attributes FROM recommend_user WHERE space = $1 AND id = $2`, space, id).Scan(&num, &t)
	if errors.Is(err, db.ErrNoRows) {
		return 0, nil, noUser(id)
	}
	if err != nil {
		return 0, nil, err
	}
	attributes = map[string]string{}
	return num, attributes, stored(nil, "[]", &attributes, t)
}

func (e *Engine) profile(ctx context.Context, owner, name, id string) (*Profile, error) {
	s, err := e.open(ctx, owner, name)
	if err != nil {
		return nil, err
	}
	p := &Profile{ID: id, Engine: Name, Model: Hybrid}
	err = e.db.View(ctx, func(tx *db.Tx) (err error) { _, p.Attributes, err = readUser(tx, s.id, id); return err })
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, now := s.m, e.now()
	categories, tags := map[string]float64{}, map[string]float64{}
	p.Recent = []Touched{}
	if n, ok := m.byID.users[id]; ok {
		pairs := m.users[n].pairs
		p.Items = len(pairs)
		for i := len(pairs) - 1; i >= 0; i-- {
			x := &pairs[i]
			it := &m.items[x.item]
			w := float64(x.w * m.decay(x.at, now))
			if x.disliked() {
				w = 0
			}
			if len(p.Recent) < topRecent {
				p.Recent = append(p.Recent, Touched{it.id, it.title, kindsOf(x.flags), time.Unix(int64(x.at), 0).UTC(), w})
			}
			if it.category != "" {
				categories[it.category] += w
			}
			for _, t := range it.tags {
				tags[t] += w
			}
		}
	}
	p.Categories, p.Tags = interests(categories), interests(tags)
	return p, nil
}

func kindsOf(flags uint8) []string {
	out := []string{}
	for k := view; k < kinds; k++ {
		if flags&k.bit() != 0 {
			out = append(out, kindNames[k])
		}
	}
	return out
}

func interests(w map[string]float64) []Interest {
	sum := 0.0
	out := []Interest{}
	for name, x := range w {
		if x > 0 {
			sum += x
			out = append(out, Interest{name, x})
		}
	}
	slices.SortFunc(out, func(a, b Interest) int { return cmp.Or(cmp.Compare(b.Weight, a.Weight), cmp.Compare(a.Name, b.Name)) })
	out = out[:min(len(out), topInterests)]
	for i := range out {
		out[i].Weight = rounded(out[i].Weight / sum)
	}
	return out
}

// Export is all that is stored of a user, in pages of events.
type Export struct {
	ID         string            `json:"id"`
	Attributes map[string]string `json:"attributes"`
	Events     []StoredEvent     `json:"events"`
	Shown      []ShownTo         `json:"experiments,omitempty"` // on the first page
	HasMore    bool              `json:"has_more"`
	After      int64             `json:"after,omitempty"` // give it as ?after= for the next page
}

// StoredEvent is an event of an export.
type StoredEvent struct {
	ID      string    `json:"id,omitempty"`
	Item    string    `json:"item"`
	Type    string    `json:"type"`
	Value   float64   `json:"value,omitempty"`
	Time    time.Time `json:"time"`
	Request string    `json:"request_id,omitempty"`
}

// ShownTo is a recommendation that a user was shown under an experiment.
type ShownTo struct {
	Request    string    `json:"request_id"`
	Experiment string    `json:"experiment"`
	Arm        string    `json:"arm"`
	Time       time.Time `json:"time"`
}

const exportPage = 5000

func (e *Engine) export(ctx context.Context, owner, name, id string, after int64) (*Export, error) {
	if err := e.flush(ctx); err != nil {
		return nil, err
	}
	var x *Export
	err := e.db.View(ctx, func(tx *db.Tx) error {
		r, err := readSpace(tx, owner, name, "")
		if err != nil {
			return err
		}
		x = &Export{ID: id, Events: []StoredEvent{}}
		num, attributes, err := readUser(tx, r.id, id)
		if err != nil {
			return err
		}
		x.Attributes = attributes
		if after == 0 {
			if x.Shown, err = readShown(tx, r.id, num); err != nil {
				return err
			}
		}
		return x.read(tx, r.id, num, after)
	})
	return x, err
}

func (x *Export) read(tx *db.Tx, space, num, after int64) error {
	rows, err := tx.Query(`SELECT e.seq, COALESCE(e.id, ''), i.id, e.kind, e.value, e.at, e.request FROM recommend_event e
		JOIN recommend_item i ON i.space = e.space AND i.num = e.item
		WHERE e.space = $1 AND e.usr = $2 AND e.seq > $3 ORDER BY e.seq LIMIT $4`, space, num, after, exportPage+1)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var ev StoredEvent
		var seq, k, value, at int64
		if err := rows.Scan(&seq, &ev.ID, &ev.Item, &k, &value, &at, &ev.Request); err != nil {
			return err
		}
		if len(x.Events) == exportPage {
			x.HasMore = true
			break
		}
		ev.Type, ev.Value, ev.Time = kindNames[k], float64(value)/1000, time.Unix(at, 0).UTC()
		x.Events = append(x.Events, ev)
		x.After = seq
	}
	if !x.HasMore {
		x.After = 0
	}
	return rows.Err()
}

func readShown(tx *db.Tx, space, num int64) ([]ShownTo, error) {
	rows, err := tx.Query(`SELECT request, experiment, arm, at FROM recommend_exposure WHERE space = $1 AND usr = $2 ORDER BY request LIMIT $3`,
		space, num, 10_000)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ShownTo
	for rows.Next() {
		var s ShownTo
		var at int64
		if err := rows.Scan(&s.Request, &s.Experiment, &s.Arm, &at); err != nil {
			return nil, err
		}
		s.Time = time.Unix(at, 0).UTC()
		out = append(out, s)
	}
	return out, rows.Err()
}
