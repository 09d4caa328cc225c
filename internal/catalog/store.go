package catalog

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "catalog", FS: migrations}

// Counter names the change counter that every write of this room raises; see [db.Bump].
const Counter = "catalog"

// Store reads and writes the catalogue. Methods whose name ends in Tx work in the caller's
// transaction, the others open one. Safe for concurrent use.
type Store struct {
	db     *db.DB
	sealer *secret.Sealer

	mu      sync.Mutex
	changed []func()
}

// New returns a Store that seals credentials with sealer.
func New(d *db.DB, sealer *secret.Sealer) *Store { return &Store{db: d, sealer: sealer} }

// OnChange has fn run after each committed write of this process, on the writer's goroutine: when
// the write returns, fn has run. Call it before the store is in use.
func (s *Store) OnChange(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = append(s.changed, fn)
}

// touch raises the change counter and has the listeners run after the commit.
func (s *Store) touch(tx *db.Tx) error {
	if _, err := db.Bump(tx, Counter); err != nil {
		return err
	}
	tx.AfterCommit(func() {
		s.mu.Lock()
		fns := s.changed
		s.mu.Unlock()
		for _, fn := range fns {
			fn()
		}
	})
	return nil
}

// write runs fn in a transaction and returns its result.
func write[T any](ctx context.Context, s *Store, fn func(*db.Tx) (T, error)) (out T, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) (err error) { out, err = fn(tx); return err })
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// view runs fn in a read-only transaction and returns its result.
func view[T any](ctx context.Context, s *Store, fn func(*db.Tx) (T, error)) (out T, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) (err error) { out, err = fn(tx); return err })
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// Any, given as the revision an edit is based on, edits whatever is there.
const Any int64 = 0

// edited is what every edit sets; the time of the edit is its first argument.
const edited = `edits = edits + 1, updated_at = $1`

// basedOn refuses an edit that is based on another revision than the present one.
func basedOn(based, is int64) error {
	if based == Any || based == is {
		return nil
	}
	return problem.New(problem.Precondition, "catalog.stale",
		"it has been changed meanwhile: your edit is based on revision %d, it is at %d; read it again", based, is)
}

func notFound(what, id string) error {
	return problem.New(problem.NotFound, "catalog.not_found", "there is no %s %q", what, id)
}

func taken(field, value string) error {
	return problem.New(problem.Conflict, "catalog.taken", "the %s %q is taken", field, value).WithField(field, "is taken")
}

func wrongState(what string, is State, verb string) error {
	return problem.New(problem.Conflict, "catalog.state", "the %s is %s: it cannot be %s", what, string(is), verb)
}

// reasonOf checks the reason that a suspension or retirement needs.
func reasonOf(reason string) error {
	if strings.TrimSpace(reason) == "" || len(reason) > 500 {
		return problem.New(problem.Unprocessable, "catalog.reason", "a reason of at most 500 bytes is needed").
			WithField("reason", "is required, at most 500 bytes")
	}
	return nil
}

// record writes the audit entry of an edit.
func record(tx *db.Tx, a audit.Actor, org, action, object, reason string, before, after any) error {
	return audit.Record(tx, audit.Entry{Actor: a, Org: org, Action: action, Object: object, Reason: reason, Before: before, After: after})
}

// uuid parses an id that came from a table.
func uuid(id, prefix string) (db.UUID, error) {
	u, err := db.ParseID(id, prefix)
	if err != nil {
		return u, fmt.Errorf("catalog: stored id %q: %w", id, err)
	}
	return u, nil
}

// list is a set of words as a column holds it.
func list[T ~string](v []T) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings encode
	}
	return string(b)
}

// words reads what list wrote.
func words[T ~string](s string) ([]T, error) {
	var v []T
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return nil, fmt.Errorf("catalog: stored list %q: %w", s, err)
	}
	return v, nil
}

// page cuts the row that was read beyond the limit.
func page[T any](items []T, limit int) ([]T, bool) {
	if len(items) > limit {
		return items[:limit], true
	}
	return items, false
}

// Filter selects objects of a list; empty fields select all.
type Filter struct {
	OrgID string
	State State
	Name  string
}

// where turns the filter into SQL behind the column after, with its arguments.
func (f Filter) where(after string, limit int) (string, []any) {
	conds, args := []string{"id > $1"}, []any{after}
	for _, c := range []struct{ column, value string }{{"org_id", f.OrgID}, {"state", string(f.State)}, {"name", f.Name}} {
		if c.value != "" {
			args = append(args, c.value)
			conds = append(conds, fmt.Sprintf("%s = $%d", c.column, len(args)))
		}
	}
	args = append(args, limit+1)
	return fmt.Sprintf("WHERE %s ORDER BY id LIMIT $%d", strings.Join(conds, " AND "), len(args)), args
}

// sameName refuses to rename: names are identities.
func sameName(to, is string) error {
	if to == is {
		return nil
	}
	return problem.New(problem.Unprocessable, "catalog.rename", "the name %q cannot be changed", is).WithField("name", "cannot be changed")
}

// ownerUUID checks the id of an organisation.
func ownerUUID(orgID string) (db.UUID, error) {
	u, err := db.ParseID(orgID, "org")
	if err != nil {
		return u, notFound("organisation", orgID)
	}
	return u, nil
}

// ignoreNoRows takes the absence of a row as success.
func ignoreNoRows(err error) error {
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	return err
}
