package idem

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// SealedTx counts the answers that are kept by the id of the key that sealed them.
func SealedTx(tx *db.Tx) (map[string]int64, error) {
	rows, err := tx.Query(`SELECT substr(answer, 1, $1), COUNT(*) FROM idempotency GROUP BY 1`, int64(secret.KeyHead))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int64{}
	for rows.Next() {
		var head []byte
		var n int64
		if err := rows.Scan(&head, &n); err != nil {
			return nil, err
		}
		counts[secret.KeyID(head)] += n
	}
	return counts, rows.Err()
}

// resealRows is how many answers one transaction looks at.
const resealRows = 200

// Reseal seals all answers anew that an older key of the ring sealed, and returns how many those were.
// What no key of the ring opens stays as it is, until its time is over.
func (s *Store) Reseal(ctx context.Context, d *db.DB) (total int, err error) {
	last := Request{}
	for {
		var n int
		var rows []kept
		err := d.Update(ctx, func(tx *db.Tx) error {
			n = 0
			if rows, err = after(tx, last); err != nil {
				return err
			}
			for _, k := range rows {
				if !s.sealer.Stale(k.answer) {
					continue
				}
				fresh, err := s.sealer.Reseal(k.answer, k.context())
				if err != nil {
					continue
				}
				if _, err := tx.Exec(`UPDATE idempotency SET answer = $1 WHERE principal = $2 AND name = $3`, fresh, k.Principal, k.Key); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if total += n; err != nil || len(rows) < resealRows {
			return total, err
		}
		last = rows[len(rows)-1].Request
	}
}

type kept struct {
	Request
	answer []byte
}

// after reads answers behind the last one, by principal and key.
func after(tx *db.Tx, last Request) (list []kept, err error) {
	rows, err := tx.Query(`SELECT principal, name, answer FROM idempotency WHERE (principal, name) > ($1, $2) ORDER BY principal, name LIMIT $3`,
		last.Principal, last.Key, int64(resealRows))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var k kept
		if err := rows.Scan(&k.Principal, &k.Key, &k.answer); err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, rows.Err()
}
