package assist

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
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
			more, err := e.Sweep(e.ctx)
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

// sealedTables are where sealed values are, with the columns and the places they are sealed for.
var sealedTables = []string{"assist_document", "assist_session", "assist_message"}

// SealedTx counts sealed rows by the id of the key that sealed them.
func (e *Engine) SealedTx(tx *db.Tx) (map[string]int64, error) {
	out := map[string]int64{}
	for _, table := range sealedTables {
		err := each(tx, func(rows *db.Rows) error {
			var key string
			var n int64
			err := rows.Scan(&key, &n)
			out[key] += n
			return err
		}, `SELECT sealed_by, COUNT(*) FROM `+table+` WHERE sealed_by <> '' GROUP BY sealed_by`)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Reseal seals anew what an older key of the ring sealed, and returns how many rows that were.
func (e *Engine) Reseal(ctx context.Context) (total int, err error) {
	ids := e.o.Sealer.KeyIDs()
	for _, step := range []func(tx *db.Tx, key string, old []string) (int, error){e.resealDocuments, e.resealSessions, e.resealMessages} {
		for n := resealRows; n == resealRows; total += n {
			err := e.o.DB.Update(ctx, func(tx *db.Tx) error { n, err = step(tx, ids[0], ids[1:]); return err })
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

const resealRows = 20

type sealedRow struct {
	id  string
	seq int64
	b   [3][]byte
}

func (e *Engine) reseal(b []byte, place string) ([]byte, error) {
	out, err := e.o.Sealer.Reseal(b, place)
	if err != nil {
		return nil, problem.New(problem.Conflict, "assist.sealed", "what is stored here cannot be opened: the key that sealed it is not in the key ring any more").Because(err)
	}
	return out, nil
}

func (e *Engine) resealDocuments(tx *db.Tx, key string, old []string) (int, error) {
	var list []sealedRow
	err := each(tx, func(rows *db.Rows) error {
		var r sealedRow
		err := rows.Scan(&r.id, &r.b[0], &r.b[1], &r.b[2])
		list = append(list, r)
		return err
	}, `SELECT id, head, content, search FROM assist_document WHERE sealed_by`+tx.Dialect().In("$1")+` LIMIT $2`, old, int64(resealRows))
	for _, r := range list {
		if err != nil {
			break
		}
		for i, place := range []string{headPlace(r.id), contentPlace(r.id), searchPlace(r.id)} {
			if r.b[i], err = e.reseal(r.b[i], place); err != nil {
				return 0, err
			}
		}
		_, err = tx.Exec(`UPDATE assist_document SET sealed_by = $1, head = $2, content = $3, search = $4 WHERE id = $5`, key, r.b[0], r.b[1], r.b[2], r.id)
	}
	return len(list), err
}

func (e *Engine) resealSessions(tx *db.Tx, key string, old []string) (int, error) {
	var list []sealedRow
	err := each(tx, func(rows *db.Rows) error {
		var r sealedRow
		err := rows.Scan(&r.id, &r.b[0])
		list = append(list, r)
		return err
	}, `SELECT id, memory FROM assist_session WHERE sealed_by`+tx.Dialect().In("$1")+` LIMIT $2`+tx.Dialect().ForUpdate(), old, int64(resealRows))
	for _, r := range list {
		if err != nil {
			break
		}
		if r.b[0], err = e.reseal(r.b[0], memoryPlace(r.id)); err != nil {
			return 0, err
		}
		_, err = tx.Exec(`UPDATE assist_session SET sealed_by = $1, memory = $2, version = version + 1 WHERE id = $3`, key, r.b[0], r.id)
	}
	return len(list), err
}

func (e *Engine) resealMessages(tx *db.Tx, key string, old []string) (int, error) {
	var list []sealedRow
	err := each(tx, func(rows *db.Rows) error {
		var r sealedRow
		err := rows.Scan(&r.id, &r.seq, &r.b[0])
		list = append(list, r)
		return err
	}, `SELECT session, seq, body FROM assist_message WHERE sealed_by`+tx.Dialect().In("$1")+` LIMIT $2`, old, int64(resealRows))
	for _, r := range list {
		if err != nil {
			break
		}
		if r.b[0], err = e.reseal(r.b[0], bodyPlace(r.id, r.seq)); err != nil {
			return 0, err
		}
		_, err = tx.Exec(`UPDATE assist_message SET sealed_by = $1, body = $2 WHERE session = $3 AND seq = $4`, key, r.b[0], r.id, r.seq)
	}
	return len(list), err
}
