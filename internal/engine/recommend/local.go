package recommend

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Recorded tells what became of a batch of events.
type Recorded struct {
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"` // known by their id
}

// Ensure makes the space if the owner has none of the name. An existing one is left as it is. kind is shop, news or video.
func (e *Engine) Ensure(ctx context.Context, owner, space, kind string) error {
	err := e.db.View(ctx, func(tx *db.Tx) error { _, err := readSpace(tx, owner, space, ""); return err })
	if err == nil || !isMissing(err) {
		return err
	}
	c, err := parseConfig([]byte(`{"kind":` + text(kind) + `}`))
	if err != nil {
		return err
	}
	_, err = e.putSpace(ctx, owner, space, c)
	return err
}

// Upsert writes from 1 to 1000 items, each whole.
func (e *Engine) Upsert(ctx context.Context, owner, space string, items ...Item) error {
	if err := checkItems(items); err != nil {
		return err
	}
	return e.change(ctx, owner, space, func(tx *db.Tx, r *spaceRow) error { return upsertItems(tx, r, items) })
}

// Remove takes items out of the answers and empties them. It gives how many there were.
func (e *Engine) Remove(ctx context.Context, owner, space string, ids ...string) (n int64, err error) {
	if err := checkNames("items", ids); err != nil {
		return 0, err
	}
	err = e.change(ctx, owner, space, func(tx *db.Tx, r *spaceRow) (err error) { n, err = deleteItems(tx, r, ids); return err })
	return n, err
}

// Record stores from 1 to 5000 events; when it returns, this node's answers know them. The batch is refused as a
// whole if an event is not valid. Users and items that are not known yet are noted; such an item is recommended once
// it has been given.
func (e *Engine) Record(ctx context.Context, owner, space string, events ...Event) (Recorded, error) {
	if err := checkEvents(events, e.clock.Now()); err != nil {
		return Recorded{}, err
	}
	n := 0
	err := e.change(ctx, owner, space, func(tx *db.Tx, r *spaceRow) (err error) { n, err = insertEvents(tx, r, events); return err })
	if err != nil {
		return Recorded{}, err
	}
	return Recorded{n, len(events) - n}, nil
}

// ForYou gives what a user may like, best first. An unknown user gets what is popular.
func (e *Engine) ForYou(ctx context.Context, owner, space, user string, limit int) ([]Item, error) {
	return e.items(ctx, owner, space, forYou, &Query{User: user, Limit: limit})
}

// Similar gives what goes with an item, best first. user, which may be "", is spared what he has.
func (e *Engine) Similar(ctx context.Context, owner, space, item, user string, limit int) ([]Item, error) {
	q := &Query{Items: []string{item}, User: user, Limit: limit}
	if user != "" {
		q.Exclude = []string{"purchased"}
	}
	return e.items(ctx, owner, space, similar, q)
}

// Popular gives what most users like.
func (e *Engine) Popular(ctx context.Context, owner, space string, limit int) ([]Item, error) {
	return e.items(ctx, owner, space, popular, &Query{Limit: limit})
}

func (e *Engine) items(ctx context.Context, owner, space, surface string, q *Query) ([]Item, error) {
	a, err := e.ask(ctx, owner, space, surface, "", "", q)
	if err != nil {
		return nil, err
	}
	return a.Items, nil
}

// Forget removes all that is stored of a user.
func (e *Engine) Forget(ctx context.Context, owner, space, user string) error {
	e.shown.forget(spaceKey{owner, space}, user)
	return e.change(ctx, owner, space, func(tx *db.Tx, r *spaceRow) error { return deleteUser(tx, r, user) })
}

// isMissing says that a space is not there.
func isMissing(err error) bool { return problem.Is(err, problem.NotFound) }
