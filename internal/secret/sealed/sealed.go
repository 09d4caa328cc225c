// Package sealed looks after tables with sealed values: it counts by which key they are sealed, and seals them
// anew after the sealer's keys were rotated.
//
// It neither seals a new value nor opens one for a reader; the rooms do, by [secret.Sealer]. Invariants: a table has
// a column sealed_by with the id of the key that sealed all sealed values of the row, as [secret.KeyID] tells it; a
// row is sealed anew as a whole, while nobody else changes it.
package sealed

import (
	"context"
	"strconv"
	"strings"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// Table is a table with sealed values. Its names are parts of SQL: constants of the room that owns it.
type Table struct {
	Name   string
	ID     string   // the column of texts that tells a row
	N      string   // a second one of whole numbers, where a row needs two; ""
	Values []string // the sealed columns
	Set    string   // what else an update sets, such as "version = version + 1"; ""
	// Context is what the value in a column was sealed for. n is 0 without N.
	Context func(id string, n int64, column string) string
}

// CountTx counts the rows of tables by the id of the key that sealed them. Rows where nothing is sealed have the id "" and
// are left out.
func CountTx(tx *db.Tx, tables ...Table) (map[string]int64, error) {
	counts := map[string]int64{}
	for i := range tables {
		if err := tables[i].count(tx, counts); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

func (t *Table) count(tx *db.Tx, into map[string]int64) error {
	rows, err := tx.Query(`SELECT sealed_by, COUNT(*) FROM ` + t.Name + ` WHERE sealed_by <> '' GROUP BY sealed_by`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		var n int64
		if err := rows.Scan(&key, &n); err != nil {
			return err
		}
		into[key] += n
	}
	return rows.Err()
}

// perTurn is how many rows one transaction seals anew. A value may have 512 KiB.
const perTurn = 20

// Reseal seals with the first key of the ring all rows that an older key of it sealed, in transactions of a few rows, and
// returns how many rows that were. What no key of the ring opens stays as it is; a value of a known key that does not
// open is a [problem.Conflict], which names its row.
func Reseal(ctx context.Context, d *db.DB, s *secret.Sealer, tables ...Table) (total int, err error) {
	for i := range tables {
		for n := perTurn; n == perTurn; total += n {
			old := s.KeyIDs()[1:]
			if len(old) == 0 {
				return total, nil
			}
			if err := d.Update(ctx, func(tx *db.Tx) error { n, err = tables[i].reseal(tx, s, old); return err }); err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

type row struct {
	id     string
	n      int64
	values [][]byte
}

func (t *Table) reseal(tx *db.Tx, s *secret.Sealer, old []string) (int, error) {
	list, err := t.stale(tx, old)
	if err != nil {
		return 0, err
	}
	update := t.update()
	for _, r := range list {
		args := make([]any, 1, len(r.values)+3)
		for i, v := range r.values {
			fresh, err := s.Reseal(v, t.Context(r.id, r.n, t.Values[i]))
			if err != nil {
				return 0, problem.New(problem.Conflict, "secret.reseal", "the sealed row %s of %s cannot be opened", r.id, t.Name).Because(err)
			}
			if i == 0 { // if the ring changes now, the row is sealed anew once more
				args[0] = secret.KeyID(fresh)
			}
			args = append(args, fresh)
		}
		args = append(args, r.id)
		if t.N != "" {
			args = append(args, r.n)
		}
		if _, err := tx.Exec(update, args...); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// stale reads some rows that old keys sealed, and holds them.
func (t *Table) stale(tx *db.Tx, old []string) (list []row, err error) {
	columns := append([]string{t.ID}, t.Values...)
	if t.N != "" {
		columns = append(columns, t.N)
	}
	rows, err := tx.Query(`SELECT `+strings.Join(columns, ", ")+` FROM `+t.Name+` WHERE sealed_by`+tx.Dialect().In("$1")+` LIMIT $2`+tx.Dialect().ForUpdate(),
		old, int64(perTurn))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		r := row{values: make([][]byte, len(t.Values))}
		into := []any{&r.id}
		for i := range r.values {
			into = append(into, &r.values[i])
		}
		if t.N != "" {
			into = append(into, &r.n)
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func (t *Table) update() string {
	b := strings.Builder{}
	b.WriteString(`UPDATE ` + t.Name + ` SET sealed_by = $1`)
	at := 1
	param := func(s string) {
		at++
		b.WriteString(s + ` = $` + strconv.Itoa(at))
	}
	for _, c := range t.Values {
		param(`, ` + c)
	}
	if t.Set != "" {
		b.WriteString(`, ` + t.Set)
	}
	param(` WHERE ` + t.ID)
	if t.N != "" {
		param(` AND ` + t.N)
	}
	return b.String()
}
