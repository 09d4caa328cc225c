package org

import (
	"context"
	"strings"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Draft is an organisation to be created.
type Draft struct {
	Name    string
	TitleEN string // empty: the name
	TitleZH string
	Parts   Parts
}

// Create makes an organisation.
func (s *Store) Create(ctx context.Context, by audit.Actor, d Draft) (o Org, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { o, err = s.CreateTx(tx, by, d); return err })
	return o, err
}

// CreateTx is [Store.Create] within tx.
func (s *Store) CreateTx(tx *db.Tx, by audit.Actor, d Draft) (Org, error) {
	if d.TitleEN == "" {
		d.TitleEN = d.Name
	}
	if err := checkName(d.Name); err != nil {
		return Org{}, err
	}
	if err := checkTitles(d.TitleEN, d.TitleZH); err != nil {
		return Org{}, err
	}
	if d.Parts == 0 || d.Parts >= 1<<len(partNames) {
		return Org{}, problem.New(problem.Unprocessable, "org.no_parts", "an organisation needs at least one part of %s", strings.Join(partNames[:], ", "))
	}
	rev, err := db.Bump(tx, revision)
	if err != nil {
		return Org{}, err
	}
	now := tx.Now()
	o := Org{ID: db.NewID("org", now), Name: d.Name, TitleEN: d.TitleEN, TitleZH: d.TitleZH, Parts: d.Parts, State: Active,
		Created: now, Updated: now, Version: 1}
	n, err := tx.Exec(`INSERT INTO org (id, name, title_en, title_zh, parts, state, reason, created_at, updated_at, version, rev)
		VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8, 1, $9) ON CONFLICT (name) DO NOTHING`,
		o.ID, o.Name, o.TitleEN, o.TitleZH, o.Parts, o.State, db.Micros(now), db.Micros(now), rev)
	if err != nil {
		return Org{}, err
	}
	if n == 0 {
		return Org{}, problem.New(problem.Conflict, "org.name_taken", "there is already an organisation named %q", o.Name)
	}
	s.changed(tx, o, rev)
	return o, audit.Record(tx, audit.Entry{Actor: by, Org: o.ID, Action: "org.create", Object: o.ID, After: o})
}

func checkTitles(en, zh string) error {
	if err := checkText("title_en", en, 120); err != nil {
		return err
	}
	return checkText("title_zh", zh, 120)
}

const orgColumns = `SELECT id, name, title_en, title_zh, parts, state, reason, created_at, updated_at, version FROM org`

func scanOrg(scan func(...any) error) (Org, error) {
	var o Org
	var created, updated int64
	err := scan(&o.ID, &o.Name, &o.TitleEN, &o.TitleZH, &o.Parts, &o.State, &o.Reason, &created, &updated, &o.Version)
	o.Created, o.Updated = db.Time(created), db.Time(updated)
	return o, err
}

// Get returns an organisation by id.
func (s *Store) Get(ctx context.Context, id string) (o Org, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error { o, err = GetTx(tx, id); return err })
	return o, err
}

// GetTx is [Store.Get] within tx.
func GetTx(tx *db.Tx, id string) (Org, error) {
	o, err := scanOrg(tx.QueryRow(orgColumns+` WHERE id = $1`, id).Scan)
	return o, found(err, noOrg(id))
}

// ByName returns an organisation by its name.
func (s *Store) ByName(ctx context.Context, name string) (o Org, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error { o, err = ByNameTx(tx, name); return err })
	return o, err
}

// ByNameTx is [Store.ByName] within tx.
func ByNameTx(tx *db.Tx, name string) (Org, error) {
	o, err := scanOrg(tx.QueryRow(orgColumns+` WHERE name = $1`, name).Scan)
	return o, found(err, noOrg(name))
}

// Filter selects organisations; zero fields select all.
type Filter struct {
	Parts Parts  // plays at least these parts
	State string // Active or Suspended
	User  string // has this user as a member
}

// List returns a page of organisations.
func (s *Store) List(ctx context.Context, f Filter, after string, limit int) (items []Org, more bool, err error) {
	var w where
	if f.Parts != 0 {
		w.and("(parts | ?) = parts", f.Parts)
	}
	if f.State != "" {
		w.and("state = ?", f.State)
	}
	if f.User != "" {
		w.and("id IN (SELECT org_id FROM org_member WHERE user_id = ?)", f.User)
	}
	if after != "" {
		w.and("id > ?", after)
	}
	query := orgColumns + w.page("id", limit)
	err = s.db.View(ctx, func(tx *db.Tx) error {
		items, err = collect(tx, scanOrg, query, w.args...)
		return err
	})
	items, more = cut(items, limit)
	return items, more, err
}

// collect reads all rows of a query.
func collect[T any](tx *db.Tx, scan func(func(...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// Edit changes the fields that are not nil.
type Edit struct {
	TitleEN, TitleZH *string
	Parts            *Parts
}

// Update edits an organisation.
func (s *Store) Update(ctx context.Context, by audit.Actor, id string, e Edit, version int64) (o Org, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { o, err = s.UpdateTx(tx, by, id, e, version); return err })
	return o, err
}

// UpdateTx is [Store.Update] within tx.
func (s *Store) UpdateTx(tx *db.Tx, by audit.Actor, id string, e Edit, version int64) (Org, error) {
	return s.edit(tx, by, "org.update", id, version, "", func(o *Org) error {
		if e.TitleEN != nil {
			o.TitleEN = *e.TitleEN
		}
		if e.TitleZH != nil {
			o.TitleZH = *e.TitleZH
		}
		if e.Parts != nil {
			if o.Parts.Has(Operator) && !e.Parts.Has(Operator) {
				return problem.New(problem.Conflict, "org.operator_stays", "the operator organisation cannot lose its part")
			}
			o.Parts = *e.Parts
		}
		return checkTitles(o.TitleEN, o.TitleZH)
	})
}

// Suspend is the kill switch: every key of the organisation is refused from now on in this process,
// and within two seconds everywhere. A reason is required.
func (s *Store) Suspend(ctx context.Context, by audit.Actor, id, reason string, version int64) (o Org, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { o, err = s.SuspendTx(tx, by, id, reason, version); return err })
	return o, err
}

// SuspendTx is [Store.Suspend] within tx.
func (s *Store) SuspendTx(tx *db.Tx, by audit.Actor, id, reason string, version int64) (Org, error) {
	if strings.TrimSpace(reason) == "" {
		return Org{}, problem.New(problem.Unprocessable, "org.reason", "say why: the reason is recorded and shown to the organisation")
	}
	if err := checkText("reason", reason, 500); err != nil {
		return Org{}, err
	}
	return s.edit(tx, by, "org.suspend", id, version, reason, func(o *Org) error {
		if o.Parts.Has(Operator) {
			return problem.New(problem.Conflict, "org.operator_active", "the operator organisation cannot be suspended")
		}
		o.State, o.Reason = Suspended, reason
		return nil
	})
}

// Resume ends a suspension.
func (s *Store) Resume(ctx context.Context, by audit.Actor, id, reason string, version int64) (o Org, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { o, err = s.ResumeTx(tx, by, id, reason, version); return err })
	return o, err
}

// ResumeTx is [Store.Resume] within tx.
func (s *Store) ResumeTx(tx *db.Tx, by audit.Actor, id, reason string, version int64) (Org, error) {
	if err := checkText("reason", reason, 500); err != nil {
		return Org{}, err
	}
	return s.edit(tx, by, "org.resume", id, version, reason, func(o *Org) error {
		o.State, o.Reason = Active, ""
		return nil
	})
}

// edit reads an organisation, has change alter it, and writes and records it.
func (s *Store) edit(tx *db.Tx, by audit.Actor, action, id string, version int64, reason string, change func(*Org) error) (Org, error) {
	rev, err := db.Bump(tx, revision) // writers of organisations wait here: what is read below stays true
	if err != nil {
		return Org{}, err
	}
	before, err := GetTx(tx, id)
	if err != nil {
		return Org{}, err
	}
	if err := checkVersion(version, before.Version); err != nil {
		return Org{}, err
	}
	o := before
	if err := change(&o); err != nil {
		return Org{}, err
	}
	o.Version++
	o.Updated = tx.Now()
	if _, err := tx.Exec(`UPDATE org SET title_en = $1, title_zh = $2, parts = $3, state = $4, reason = $5, updated_at = $6,
		version = $7, rev = $8 WHERE id = $9`,
		o.TitleEN, o.TitleZH, o.Parts, o.State, o.Reason, db.Micros(o.Updated), o.Version, rev, id); err != nil {
		return Org{}, err
	}
	s.changed(tx, o, rev)
	return o, audit.Record(tx, audit.Entry{Actor: by, Org: id, Action: action, Object: id, Reason: reason, Before: before, After: o})
}

// HasOperator reports whether an operator organisation exists: whether the platform is set up. In a
// writing transaction it also keeps others from creating one until tx ends.
func HasOperator(tx *db.Tx, writing bool) (bool, error) {
	if writing {
		if _, err := db.Bump(tx, revision); err != nil {
			return false, err
		}
	}
	var n int64
	err := tx.QueryRow(`SELECT COUNT(*) FROM org WHERE parts & $1 <> 0`, Operator).Scan(&n)
	return n > 0, err
}
