package record

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/db"
)

// SealedTx counts recorded calls by the id of the key that sealed them.
func (s *Store) SealedTx(tx *db.Tx) (map[string]int64, error) {
	rows, err := tx.Query(`SELECT sealed_by, COUNT(*) FROM recorded_content GROUP BY sealed_by`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int64{}
	for rows.Next() {
		var key string
		var n int64
		if err := rows.Scan(&key, &n); err != nil {
			return nil, err
		}
		counts[key] = n
	}
	return counts, rows.Err()
}

// resealRows is how many calls one transaction seals anew.
const resealRows = 20

// Reseal seals all content anew that an older key of the ring sealed, and returns how many calls that
// were. What no key of the ring opens stays as it is, until its days are over.
func (s *Store) Reseal(ctx context.Context) (total int, err error) {
	ids := s.sealer.KeyIDs()
	for {
		n := 0
		err := s.db.Update(ctx, func(tx *db.Tx) error { n, err = s.resealTx(tx, ids[0], ids[1:]); return err })
		if total += n; err != nil || n < resealRows {
			return total, err
		}
	}
}

func (s *Store) resealTx(tx *db.Tx, key string, old []string) (int, error) {
	type row struct {
		event           string
		request, answer []byte
	}
	rows, err := tx.Query(`SELECT event, request, answer FROM recorded_content WHERE sealed_by`+tx.Dialect().In("$1")+` LIMIT $2`, old, int64(resealRows))
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var list []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.event, &r.request, &r.answer); err != nil {
			return 0, err
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	for _, r := range list {
		request, err := s.sealer.Reseal(r.request, sealContext(r.event, "request"))
		if err != nil {
			return 0, err
		}
		answer, err := s.sealer.Reseal(r.answer, sealContext(r.event, "answer"))
		if err != nil {
			return 0, err
		}
		if _, err := tx.Exec(`UPDATE recorded_content SET sealed_by = $1, request = $2, answer = $3 WHERE event = $4`, key, request, answer, r.event); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}
