// Package org keeps organisations, users, their membership with a role, and the operator's settings.
//
// It knows no credentials (room auth) and moves no money: a sign-up's credit is posted by the
// caller inside the same transaction. Invariants: an organisation with members keeps at least one
// owner; an operator organisation can be neither suspended nor stripped of its part; every write
// records who did it.
//
// Methods of [Store] open their own transaction; those ending in Tx are for composition with other
// rooms. A version argument is the If-Match of an edit: 0 means unconditional, any other value must
// be the object's present version. Lists are ordered by id; after is the last id of the page before.
package org

import (
	"embed"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "org", FS: migrations}

// revision is the name of the change counter of organisations.
const revision = "org"

// Parts is the set of parts that an organisation plays.
type Parts uint8

// The parts.
const (
	Provider Parts = 1 << iota
	Consumer
	Partner
	Operator
	Regulator
)

var partNames = [...]string{"provider", "consumer", "partner", "operator", "regulator"}

// ParseParts reads the names of parts. An empty list, an unknown and a repeated name are refused.
func ParseParts(names []string) (Parts, error) {
	var p Parts
	for _, name := range names {
		i := slices.Index(partNames[:], name)
		if i < 0 || p&(1<<i) != 0 {
			return 0, problem.New(problem.Unprocessable, "org.parts", "unknown or repeated part %q: parts are %s", name, strings.Join(partNames[:], ", "))
		}
		p |= 1 << i
	}
	if p == 0 {
		return 0, problem.New(problem.Unprocessable, "org.no_parts", "an organisation needs at least one part of %s", strings.Join(partNames[:], ", "))
	}
	return p, nil
}

// Has reports whether p contains every part of q.
func (p Parts) Has(q Parts) bool { return p&q == q }

// Names returns the parts' names in the order of the constants.
func (p Parts) Names() []string {
	var out []string
	for i, name := range partNames {
		if p&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// MarshalJSON gives the list of names.
func (p Parts) MarshalJSON() ([]byte, error) { return json.Marshal(p.Names()) }

// Role is what a member may do in its organisation; the actions are a table of the auth room.
type Role string

// The roles.
const (
	Owner     Role = "owner"
	Admin     Role = "admin"
	Developer Role = "developer"
	Billing   Role = "billing"
	Viewer    Role = "viewer"
)

// Roles lists the roles.
func Roles() []Role { return []Role{Owner, Admin, Developer, Billing, Viewer} }

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", problem.New(problem.Unprocessable, "org.role", "unknown role %q: roles are owner, admin, developer, billing, viewer", s)
}

// The states of an organisation.
const (
	Active    = "active"
	Suspended = "suspended"
)

// Org is an organisation.
type Org struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"` // unique, never changes: it is in model ids and addresses
	TitleEN string    `json:"title_en"`
	TitleZH string    `json:"title_zh"`
	Parts   Parts     `json:"parts"`
	State   string    `json:"state"`
	Reason  string    `json:"reason"` // why it is suspended
	Created time.Time `json:"-"`
	Updated time.Time `json:"-"`
	Version int64     `json:"-"`
}

// State is what the hot path has to know of an organisation.
type State struct {
	ID        string
	Name      string
	Parts     Parts
	Suspended bool
	Rev       int64 // of the change; grows in commit order
}

// Store keeps the room's tables. Safe for concurrent use.
type Store struct {
	db *db.DB

	mu       sync.Mutex
	watchers map[int]func(State)
	next     int
}

// New returns the store on d.
func New(d *db.DB) *Store { return &Store{db: d, watchers: map[int]func(State){}} }

// Watch has fn called after every change of an organisation that this process commits, before the
// write's method returns. Other processes' changes are found by [StatesSince]. Calls may arrive out
// of order: compare State.Rev.
func (s *Store) Watch(fn func(State)) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.next
	s.next++
	s.watchers[id] = fn
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, id)
	}
}

// changed tells the watchers once tx is committed.
func (s *Store) changed(tx *db.Tx, o Org, rev int64) {
	st := State{ID: o.ID, Name: o.Name, Parts: o.Parts, Suspended: o.State == Suspended, Rev: rev}
	tx.AfterCommit(func() {
		s.mu.Lock()
		fns := make([]func(State), 0, len(s.watchers))
		for _, fn := range s.watchers {
			fns = append(fns, fn)
		}
		s.mu.Unlock()
		for _, fn := range fns {
			fn(st)
		}
	})
}

// StatesSince returns the organisations that changed after rev, in the order of change.
func StatesSince(tx *db.Tx, rev int64, limit int) ([]State, error) {
	rows, err := tx.Query(`SELECT id, name, parts, state, rev FROM org WHERE rev > $1 ORDER BY rev LIMIT $2`, rev, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []State
	for rows.Next() {
		var st State
		var state string
		if err := rows.Scan(&st.ID, &st.Name, &st.Parts, &state, &st.Rev); err != nil {
			return nil, err
		}
		st.Suspended = state == Suspended
		out = append(out, st)
	}
	return out, rows.Err()
}

var nameShape = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$`)

func checkName(name string) error {
	if !nameShape.MatchString(name) {
		return problem.New(problem.Unprocessable, "org.name", "the name %q must be 1 to 48 lower-case letters, digits and inner hyphens", clip(name))
	}
	return nil
}

// checkText bounds a text for people: valid UTF-8 without control characters.
func checkText(field, s string, most int) error {
	bad := !utf8.ValidString(s) || utf8.RuneCountInString(s) > most
	for _, r := range s {
		bad = bad || r < ' ' || r == 0x7f
	}
	if bad {
		return problem.New(problem.Unprocessable, "org.text", "%s must be at most %d characters on one line", field, most)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

func noOrg(id string) error {
	return problem.New(problem.NotFound, "org.unknown", "there is no organisation %q", clip(id))
}

// checkVersion compares an edit's If-Match with what is stored.
func checkVersion(want, have int64) error {
	if want != 0 && want != have {
		return problem.New(problem.Precondition, "org.stale", "it was changed since version %d: read it again (now version %d) and repeat the edit", want, have)
	}
	return nil
}

// found turns the failure to find a row into the caller's error.
func found(err, missing error) error {
	if errors.Is(err, db.ErrNoRows) {
		return missing
	}
	return err
}

// where collects conditions with placeholders in ascending order.
type where struct {
	conds []string
	args  []any
}

// and adds a condition whose placeholder, written "?", stands for arg.
func (w *where) and(cond string, arg any) {
	w.args = append(w.args, arg)
	w.conds = append(w.conds, strings.Replace(cond, "?", "$"+strconv.Itoa(len(w.args)), 1))
}

// page returns the clause that selects one page and one row more.
func (w *where) page(order string, limit int) string {
	tail := ""
	if len(w.conds) > 0 {
		tail = " WHERE " + strings.Join(w.conds, " AND ")
	}
	w.args = append(w.args, pageSize(limit)+1)
	return tail + " ORDER BY " + order + " LIMIT $" + strconv.Itoa(len(w.args))
}

// MaxPage is the largest page that a list returns.
const MaxPage = 500

func pageSize(limit int) int { return min(max(limit, 1), MaxPage) }

// cut takes the row that only shows that there is more off a page.
func cut[T any](items []T, limit int) ([]T, bool) {
	if n := pageSize(limit); len(items) > n {
		return items[:n], true
	}
	return items, false
}
