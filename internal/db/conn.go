package db

import (
	"context"
	"database/sql"
)

// conn is a pinned connection. On SQLite it keeps the statements it has prepared; pgx keeps its own.
type conn struct {
	*sql.Conn
	stmts map[string]*sql.Stmt // nil: the driver caches
}

// maxStmts bounds the statements kept per connection. The tree has a few hundred texts; the bound is
// for texts that vary.
const maxStmts = 512

func (c *conn) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if c.stmts == nil {
		return c.ExecContext(ctx, query, args...)
	}
	s, err := c.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (c *conn) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if c.stmts == nil {
		return c.QueryContext(ctx, query, args...)
	}
	s, err := c.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// stmt returns the prepared statement of the text.
func (c *conn) stmt(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	if len(c.stmts) >= maxStmts {
		for q, s := range c.stmts { // any will do: the usual ones come back
			delete(c.stmts, q)
			if err := s.Close(); err != nil {
				return nil, err
			}
			break
		}
	}
	s, err := c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}
