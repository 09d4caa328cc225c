package assist

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/secret/sealed"
)

const (
	sweepEvery = 10 * time.Minute
	sweepRows  = 100
	keptYears  = 2 // of figures
)

// sweepBehind looks for sessions whose time is over, behind a call, now and then.
func (e *Engine) sweepBehind() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.busy || e.clock.Now().Sub(e.swept) < sweepEvery || e.ctx.Err() != nil {
		return
	}
	e.busy, e.swept = true, e.clock.Now()
	e.work.Go(func() {
		for {
			var more bool
			err := engine.Guard(e.log, "assist: erasing old sessions", func() (err error) { more, err = e.Sweep(e.ctx); return err })
			if err != nil && e.ctx.Err() == nil {
				e.log.Warn("assist: old sessions were not erased", "error", err)
			}
			if err != nil || !more {
				break
			}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.busy = false
	})
}

// Sweep erases sessions whose days of retention are over, a hundred at most, and reports whether there are more. It also deletes
// figures that are older than two years. The engine sweeps by itself while sessions begin; a scheduler may call it, too.
func (e *Engine) Sweep(ctx context.Context) (more bool, err error) {
	type old struct{ owner, id string }
	var list []old
	err = e.o.DB.View(ctx, func(tx *db.Tx) error {
		return each(tx, func(rows *db.Rows) error {
			var o old
			err := rows.Scan(&o.owner, &o.id)
			list = append(list, o)
			return err
		}, `SELECT owner, id FROM assist_session WHERE state <> 'erased' AND expires_at <= $1 ORDER BY expires_at LIMIT $2`, db.Micros(tx.Now()), int64(sweepRows))
	})
	if err != nil {
		return false, err
	}
	for _, o := range list {
		err := e.o.DB.Update(ctx, func(tx *db.Tx) error {
			if err := lockRouting(tx, o.owner); err != nil {
				return err
			}
			var expires int64
			err := tx.QueryRow(`SELECT expires_at FROM assist_session WHERE id = $1`, o.id).Scan(&expires)
			if errors.Is(err, db.ErrNoRows) || err == nil && expires > db.Micros(tx.Now()) {
				return nil // somebody spoke meanwhile
			}
			if err != nil {
				return err
			}
			if err := erase(tx, o.id); err != nil {
				return err
			}
			return e.refill(tx, o.owner)
		})
		if err != nil {
			return false, err
		}
	}
	err = e.o.DB.Update(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(`DELETE FROM assist_session WHERE id IN (SELECT id FROM assist_session WHERE state = 'erased' AND expires_at < $1 LIMIT $2)`,
			db.Micros(tx.Now().AddDate(-keptYears, 0, 0)), int64(sweepRows))
		return err
	})
	return len(list) == sweepRows, err
}

// sealedTables are where sealed values are, and what they are sealed for.
func sealedTables() []sealed.Table {
	return []sealed.Table{
		{Name: "assist_document", ID: "id", Values: []string{"head", "content", "search"}, Context: func(id string, _ int64, column string) string {
			return map[string]func(string) string{"head": headPlace, "content": contentPlace, "search": searchPlace}[column](id)
		}},
		{Name: "assist_session", ID: "id", Values: []string{"memory"}, Set: "version = version + 1", Context: func(id string, _ int64, _ string) string { return memoryPlace(id) }},
		{Name: "assist_message", ID: "session", N: "seq", Values: []string{"body"}, Context: func(session string, seq int64, _ string) string { return bodyPlace(session, seq) }},
	}
}

// SealedTx counts sealed rows by the id of the key that sealed them.
func (e *Engine) SealedTx(tx *db.Tx) (map[string]int64, error) {
	return sealed.CountTx(tx, sealedTables()...)
}

// Reseal seals anew what an older key of the ring sealed, and returns how many rows that were.
func (e *Engine) Reseal(ctx context.Context) (total int, err error) {
	return sealed.Reseal(ctx, e.o.DB, e.o.Sealer, sealedTables()...)
}
