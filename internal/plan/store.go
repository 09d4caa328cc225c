package plan

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "plan", FS: migrations}

// Counters name the change counters of this room; see [db.Bump]. Subscriptions have their own,
// because they change one by one.
const (
	Counter             = "plan"
	SubscriptionCounter = "subscription"
)

// Store reads and writes plans and subscriptions. Methods whose name ends in Tx work in the caller's
// transaction, the others open one. Safe for concurrent use.
type Store struct {
	db      *db.DB
	catalog *catalog.Store

	mu      sync.Mutex
	changed []func()
}

// New returns a Store that sells the products of the catalogue.
func New(d *db.DB, c *catalog.Store) *Store { return &Store{db: d, catalog: c} }

// onChange has fn run after each committed write of this process, before the write returns.
func (s *Store) onChange(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = append(s.changed, fn)
}

// touch raises a change counter, has the listeners run after the commit, and returns the counter.
func (s *Store) touch(tx *db.Tx, counter string) (int64, error) {
	rev, err := db.Bump(tx, counter)
	if err != nil {
		return 0, err
	}
	tx.AfterCommit(func() {
		s.mu.Lock()
		fns := s.changed
		s.mu.Unlock()
		for _, fn := range fns {
			fn()
		}
	})
	return rev, nil
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

// edited is what every edit sets; the time of the edit is its first argument.
const edited = `edits = edits + 1, updated_at = $1`

// basedOn refuses an edit that is based on another revision than the present one.
func basedOn(based, is int64) error {
	if based == catalog.Any || based == is {
		return nil
	}
	return problem.New(problem.Precondition, "plan.stale",
		"it has been changed meanwhile: your edit is based on revision %d, it is at %d; read it again", based, is)
}

func notFound(what, id string) error {
	return problem.New(problem.NotFound, "plan.not_found", "there is no %s %q", what, clip([]byte(id)))
}

func wrongState(what string, is, to State) error {
	return problem.New(problem.Conflict, "plan.state", "the %s is %s: it cannot become %s", what, string(is), string(to))
}

// reasonOf checks the reason that a suspension, an end or a retirement needs.
func reasonOf(reason string) error {
	if strings.TrimSpace(reason) == "" || len(reason) > 500 {
		return problem.New(problem.Unprocessable, "plan.reason", "a reason of at most 500 bytes is needed").
			WithField("reason", "is required, at most 500 bytes")
	}
	return nil
}

// ignoreNoRows takes the absence of a row as success.
func ignoreNoRows(err error) error {
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	return err
}

// uuid parses an id that came from a table.
func uuid(id, prefix string) (db.UUID, error) {
	u, err := db.ParseID(id, prefix)
	if err != nil {
		return u, fmt.Errorf("plan: stored id %q: %w", id, err)
	}
	return u, nil
}

// page cuts the row that was read beyond the limit.
func page[T any](items []T, limit int) ([]T, bool) {
	if len(items) > limit {
		return items[:limit], true
	}
	return items, false
}

// condition is a column that a filter compares; an empty value is left out.
type condition struct{ column, value string }

// where turns conditions into SQL behind the id after, with its arguments.
func where(after string, limit int, conds ...condition) (string, []any) {
	parts, args := []string{"id > $1"}, []any{after}
	for _, c := range conds {
		if c.value != "" {
			args = append(args, c.value)
			parts = append(parts, fmt.Sprintf("%s = $%d", c.column, len(args)))
		}
	}
	args = append(args, limit+1)
	return fmt.Sprintf("WHERE %s ORDER BY id LIMIT $%d", strings.Join(parts, " AND "), len(args)), args
}

// record writes the audit entry of an edit. org is whose object it is.
func record(tx *db.Tx, a audit.Actor, org, action, object, reason string, before, after any) error {
	return audit.Record(tx, audit.Entry{Actor: a, Org: org, Action: action, Object: object, Reason: reason, Before: before, After: after})
}

// PublishProduct puts a draft product on sale. It needs a version with traffic and a target, and a
// published plan: a model without a price is not sold.
func (s *Store) PublishProduct(ctx context.Context, a audit.Actor, productID string, based int64) (*catalog.Product, error) {
	return write(ctx, s, func(tx *db.Tx) (*catalog.Product, error) { return s.PublishProductTx(tx, a, productID, based) })
}

// PublishProductTx is [Store.PublishProduct] within tx.
func (s *Store) PublishProductTx(tx *db.Tx, a audit.Actor, productID string, based int64) (*catalog.Product, error) {
	return s.catalog.PublishProductTx(tx, a, productID, based, priced)
}

// priced refuses a product that has no published plan with a valid card.
func priced(tx *db.Tx, p *catalog.Product) error {
	plans, err := readPlans(tx, "WHERE product_id = $1 AND state = 'published' ORDER BY id", p.ID)
	if err != nil {
		return err
	}
	for _, plan := range plans {
		if plan.Current != nil && validCard(plan.Current.Card, p) == nil {
			return nil
		}
	}
	return problem.New(problem.Conflict, "plan.no_price", "the product %q cannot be published without a price: publish a plan for it first", p.Name)
}

// validCard checks that the card prices all that a call of the product can use.
func validCard(card *rating.Card, p *catalog.Product) error {
	meters, tokens := p.Meters()
	if tokens {
		if err := card.ValidateForModel(); err != nil {
			return err
		}
	}
	return card.ValidateForUnits(meters...)
}
