package record

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/secret/sealed"
)

// sealedTable is where recorded calls are.
func sealedTable() sealed.Table {
	return sealed.Table{Name: "recorded_content", ID: "event", Values: []string{"request", "answer"},
		Context: func(event string, _ int64, side string) string { return sealContext(event, side) }}
}

// SealedTx counts recorded calls by the id of the key that sealed them.
func (s *Store) SealedTx(tx *db.Tx) (map[string]int64, error) {
	return sealed.CountTx(tx, sealedTable())
}

// Reseal seals all content anew that an older key of the ring sealed, and returns how many calls that
// were. What no key of the ring opens stays as it is, until its days are over.
func (s *Store) Reseal(ctx context.Context) (total int, err error) {
	return sealed.Reseal(ctx, s.db, s.sealer, sealedTable())
}
