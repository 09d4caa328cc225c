package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/tollgate-io/tollgate/internal/db"
)

// sealBatch is how many transactions one Seal takes; it bounds the writer's turn.
const sealBatch = 200

// genesis is the hash before the first transaction.
var genesis = sha256.Sum256([]byte("tollgate ledger"))

// Seal gives the transactions that have none their place in the hash chain, oldest first, and folds
// their postings into the balances of folded accounts. It returns how many it sealed; call it again
// while that is not zero. Two callers at once do no harm: the head moves by compare-and-set.
func (s *Store) Seal(ctx context.Context) (sealed int, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		sealed = 0
		seq, head, err := chainHead(tx)
		if err != nil {
			return err
		}
		from := seq
		entries, err := unsealed(tx)
		if err != nil || len(entries) == 0 {
			return err
		}
		fold := map[string]int64{}
		var ids []string
		var seqs []int64
		var hashes [][]byte
		for i := range entries {
			e := &entries[i]
			head = e.digest(head)
			seq++
			ids, seqs, hashes = append(ids, e.id), append(seqs, seq), append(hashes, bytes.Clone(head[:]))
			for _, p := range e.postings {
				if p.folded {
					var ok bool
					if fold[p.account], ok = add(fold[p.account], p.amount); !ok {
						return errOverflow
					}
				}
			}
		}
		if _, err := tx.UpdateRows("ledger_transaction", []string{"id"}, []string{"seq", "hash"}, []any{ids, seqs, hashes}); err != nil {
			return err
		}
		for _, id := range sortedKeys(fold) {
			if _, err := tx.Exec(`UPDATE ledger_account SET balance = balance + $1 WHERE id = $2`, fold[id], id); err != nil {
				return err
			}
		}
		n, err := tx.Exec(`UPDATE ledger_chain SET seq = $1, hash = $2 WHERE id = 1 AND seq = $3`, seq, head[:], from)
		if err == nil && n != 1 {
			err = errors.New("ledger: another leader seals the chain")
		}
		sealed = len(entries)
		return err
	})
	if err != nil {
		return 0, err
	}
	return sealed, nil
}

func chainHead(tx *db.Tx) (seq int64, head [32]byte, err error) {
	if _, err := tx.Exec(`INSERT INTO ledger_chain (id, seq, hash) VALUES (1, 0, $1) ON CONFLICT DO NOTHING`, genesis[:]); err != nil {
		return 0, head, err
	}
	return readHead(tx)
}

func readHead(tx *db.Tx) (seq int64, head [32]byte, err error) {
	var h []byte
	err = tx.QueryRow(`SELECT seq, hash FROM ledger_chain WHERE id = 1`).Scan(&seq, &h)
	if errors.Is(err, db.ErrNoRows) {
		return 0, genesis, nil
	}
	copy(head[:], h)
	return seq, head, err
}

type entry struct {
	id, kind, cause, memo, actor, second string
	at                                   int64
	seq                                  int64
	hash                                 []byte
	postings                             []postingRow
}

const selectEntry = `SELECT id, kind, cause, memo, actor, second, at, COALESCE(seq, 0), hash FROM ledger_transaction `

func unsealed(tx *db.Tx) ([]entry, error) {
	return entries(tx, selectEntry+`WHERE seq IS NULL ORDER BY at, id LIMIT $1`, int64(sealBatch))
}

// entries reads transactions with their postings.
func entries(tx *db.Tx, query string, args ...any) ([]entry, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []entry
	at := map[string]int{}
	var ids []string
	for rows.Next() {
		var e entry
		if err := rows.Scan(&e.id, &e.kind, &e.cause, &e.memo, &e.actor, &e.second, &e.at, &e.seq, &e.hash); err != nil {
			return nil, err
		}
		at[e.id] = len(list)
		ids = append(ids, e.id)
		list = append(list, e)
	}
	if err := rows.Err(); err != nil || len(list) == 0 {
		return nil, err
	}
	rows, err = tx.Query(`SELECT p.txn, p.account, p.amount, a.folded FROM ledger_posting p JOIN ledger_account a ON a.id = p.account
		WHERE p.txn`+tx.Dialect().In("$1")+` ORDER BY p.txn, p.line`, ids)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var txn string
		var p postingRow
		var folded int64
		if err := rows.Scan(&txn, &p.account, &p.amount, &folded); err != nil {
			return nil, err
		}
		p.folded = folded == 1
		e := &list[at[txn]]
		e.postings = append(e.postings, p)
	}
	return list, rows.Err()
}

type postingRow struct {
	account string
	amount  int64
	folded  bool
}

// digest is SHA-256 over the head of the chain before the entry and every field of it, each with its length
// before it: the new head.
func (e *entry) digest(head [32]byte) [32]byte {
	h := sha256.New()
	h.Write(head[:])
	for _, f := range []string{e.id, e.kind, e.cause, e.memo, e.actor, e.second} {
		writeField(h, f)
	}
	writeInt(h, e.at)
	for _, p := range e.postings {
		writeField(h, p.account)
		writeInt(h, p.amount)
	}
	return [32]byte(h.Sum(nil))
}

func writeField(h hash.Hash, s string) {
	writeInt(h, int64(len(s)))
	h.Write([]byte(s))
}

func writeInt(h hash.Hash, n int64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}

// Report is what Verify found.
type Report struct {
	Accounts     int64    `json:"accounts"`
	Transactions int64    `json:"transactions"`
	Postings     int64    `json:"postings"`
	Sealed       int64    `json:"sealed"` // transactions in the chain
	Head         string   `json:"head"`   // hash of the last one, hexadecimal
	Faults       []string `json:"faults,omitempty"`
}

// Faultf adds a fault.
func (r *Report) Faultf(format string, args ...any) {
	if len(r.Faults) < 100 {
		r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
	}
}

// Verify proves the book within tx: zero sums, projection = replay, chain intact. It reads everything.
func Verify(tx *db.Tx) (*Report, error) {
	r := &Report{}
	err := tx.QueryRow(`SELECT (SELECT COUNT(*) FROM ledger_account), (SELECT COUNT(*) FROM ledger_transaction), (SELECT COUNT(*) FROM ledger_posting)`).
		Scan(&r.Accounts, &r.Transactions, &r.Postings)
	if err != nil {
		return nil, err
	}
	for _, check := range []func(*db.Tx, *Report) error{verifySums, verifyBalances, verifyChain} {
		if err := check(tx, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func verifySums(tx *db.Tx, r *Report) error {
	rows, err := tx.Query(`SELECT p.txn, a.currency, CAST(SUM(p.amount) AS BIGINT) FROM ledger_posting p JOIN ledger_account a ON a.id = p.account
		GROUP BY p.txn, a.currency HAVING SUM(p.amount) <> 0`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var txn, cur string
		var sum int64
		if err := rows.Scan(&txn, &cur, &sum); err != nil {
			return err
		}
		r.Faultf("transaction %s: postings in %s sum to %d, not zero", txn, cur, sum)
	}
	return rows.Err()
}

// verifyBalances replays the postings: a folded account's balance holds the sealed ones alone.
func verifyBalances(tx *db.Tx, r *Report) error {
	rows, err := tx.Query(`SELECT a.id, a.owner, a.purpose, a.currency, a.balance, a.reserved, CAST(COALESCE(s.total, 0) AS BIGINT) FROM ledger_account a LEFT JOIN
		(SELECT p.account AS account, SUM(CASE WHEN b.folded = 1 AND t.seq IS NULL THEN 0 ELSE p.amount END) AS total
		 FROM ledger_posting p JOIN ledger_transaction t ON t.id = p.txn JOIN ledger_account b ON b.id = p.account GROUP BY p.account) s ON s.account = a.id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, owner, purpose, cur string
		var balance, reserved, replay int64
		if err := rows.Scan(&id, &owner, &purpose, &cur, &balance, &reserved, &replay); err != nil {
			return err
		}
		if a := (Account{owner, Purpose(purpose), cur}); id != a.ID() {
			r.Faultf("account %s does not have the id of %s of %s in %s", id, purpose, owner, cur)
		}
		if balance != replay {
			r.Faultf("account %s (%s of %s, %s): balance %d, postings sum to %d", id, purpose, owner, cur, balance, replay)
		}
		if !rules[Purpose(purpose)].mayNegative && balance < reserved {
			r.Faultf("account %s (%s of %s, %s): balance %d is below its reservation %d", id, purpose, owner, cur, balance, reserved)
		}
	}
	return rows.Err()
}

func verifyChain(tx *db.Tx, r *Report) error {
	last, want, err := readHead(tx)
	if err != nil {
		return err
	}
	head := genesis
	for seq := int64(0); ; {
		list, err := entries(tx, selectEntry+`WHERE seq > $1 ORDER BY seq LIMIT $2`, seq, int64(sealBatch))
		if err != nil {
			return err
		}
		for i := range list {
			e := &list[i]
			if e.seq != seq+1 {
				r.Faultf("chain: number %d follows %d", e.seq, seq)
			}
			seq = e.seq
			head = e.digest(head)
			if !bytes.Equal(head[:], e.hash) {
				r.Faultf("chain: transaction %s (number %d) does not have the hash of its content", e.id, e.seq)
				copy(head[:], e.hash) // report each break once
			}
		}
		if len(list) == 0 {
			if seq != last || head != want {
				r.Faultf("chain: ends at number %d, the head says %d", seq, last)
			}
			r.Sealed, r.Head = seq, fmt.Sprintf("%x", head)
			return nil
		}
	}
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
