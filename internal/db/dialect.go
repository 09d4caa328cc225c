package db

import (
	"encoding/json"
	"fmt"
)

// Dialect gives the words in which the engines differ. It is meant for building constant texts;
// none of its arguments may come from a user.
type Dialect struct{ engine Engine }

// ForUpdate locks the rows that a SELECT reads, on PostgreSQL. SQLite's writers are alone anyway.
func (d Dialect) ForUpdate() string { return d.pick("", " FOR UPDATE") }

// ForShare keeps the rows that a SELECT reads as they are until the transaction ends, but lets others do the same.
func (d Dialect) ForShare() string { return d.pick("", " FOR SHARE") }

// SkipLocked is ForUpdate that passes over rows locked by others: for taking work from a table.
func (d Dialect) SkipLocked() string { return d.pick("", " FOR UPDATE SKIP LOCKED") }

// In is the comparison of a column with a list passed as []string or []int64: In("$2") gives the
// text that follows the column's name.
func (d Dialect) In(param string) string {
	return d.pick(" IN (SELECT value FROM json_each("+param+"))", " = ANY("+param+")")
}

// Greatest is the larger of expressions, none of which may be NULL.
func (d Dialect) Greatest(list string) string { return d.pick("MAX(", "GREATEST(") + list + ")" }

// Least is the smaller of expressions, none of which may be NULL.
func (d Dialect) Least(list string) string { return d.pick("MIN(", "LEAST(") + list + ")" }

func (d Dialect) pick(sqlite, postgres string) string {
	if d.engine == PostgreSQL {
		return postgres
	}
	return sqlite
}

// jsonList is the form in which SQLite takes a list.
func jsonList(a any) (string, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return "", fmt.Errorf("list: %w", err)
	}
	return string(b), nil
}
