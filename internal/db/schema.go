package db

import (
	"context"
	"strings"
)

// Schema describes tables, columns, constraints and indexes in a canonical text: equal texts, equal
// schemas. It is for the golden test that shows a reviewer what a migration did.
func (d *DB) Schema(ctx context.Context) (string, error) {
	query := sqliteSchema
	if d.engine == PostgreSQL {
		query = pgSchema
	}
	var b strings.Builder
	err := d.View(ctx, func(tx *Tx) error {
		b.Reset()
		rows, err := tx.Query(query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			b.WriteString(line + "\n")
		}
		return rows.Err()
	})
	return b.String(), err
}

const sqliteSchema = `SELECT sql || ';' FROM sqlite_schema
	WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
	ORDER BY tbl_name, type = 'index', name`

// pgSchema lists, per table: its columns in order, its constraints, its other indexes.
const pgSchema = `
WITH t AS (
	SELECT oid, relname FROM pg_class
	WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace
), line AS (
	SELECT relname, 0 AS part, attnum::int AS pos, '' AS name,
		relname || '.' || attname || ' ' || format_type(atttypid, atttypmod)
		|| CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
		|| CASE WHEN attidentity <> '' THEN ' IDENTITY' ELSE '' END
		|| COALESCE(' DEFAULT ' || pg_get_expr(adbin, adrelid), '') AS text
	FROM t JOIN pg_attribute ON attrelid = t.oid
	LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	WHERE attnum > 0 AND NOT attisdropped
	UNION ALL
	SELECT relname, 1, 0, conname, relname || ' CONSTRAINT ' || conname || ' ' || pg_get_constraintdef(c.oid)
	FROM t JOIN pg_constraint c ON conrelid = t.oid WHERE contype <> 'n'
	UNION ALL
	SELECT relname, 2, 0, i.indexrelid::regclass::text,
		replace(pg_get_indexdef(i.indexrelid), ' ON ' || current_schema() || '.', ' ON ')
	FROM t JOIN pg_index i ON indrelid = t.oid
	WHERE NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)
)
SELECT text FROM line ORDER BY relname COLLATE "C", part, pos, name COLLATE "C"`
