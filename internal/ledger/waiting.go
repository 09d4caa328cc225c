package ledger

import (
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

// Waiting tells of transactions that have no place in the chain yet.
type Waiting struct {
	Sealed int64     // transactions in the chain
	Count  int64     // that wait
	Oldest time.Time // of those; zero when none waits
}

// Unsealed counts the transactions that wait for their place in the chain.
func Unsealed(tx *db.Tx) (w Waiting, err error) {
	var oldest int64
	err = tx.QueryRow(`SELECT COUNT(*), COALESCE(MIN(at), 0) FROM ledger_transaction WHERE seq IS NULL`).Scan(&w.Count, &oldest)
	if err != nil {
		return w, err
	}
	if w.Count > 0 {
		w.Oldest = db.Time(oldest)
	}
	err = tx.QueryRow(`SELECT COALESCE(MAX(seq), 0) FROM ledger_chain`).Scan(&w.Sealed)
	return w, err
}
