// Package record keeps prompts and answers, for organisations that switched it on. By default nothing
// is kept.
//
// [Store] holds the switch of each organisation and what was recorded; [Recorder] is the data plane's
// side: it knows in memory who wants recording and writes behind the calls. Who may switch and who may
// read is decided by the caller; each switch, reading and deletion is in the audit record.
//
// Invariants:
//   - content is sealed at rest, each piece for its own call and side;
//   - once a switch to off, or an erasure, is committed, no content of a call before it is written, by
//     any process;
//   - content older than its organisation's days is never shown, and is deleted within minutes;
//   - recording never makes a call wait or fail: what cannot be kept is dropped and counted.
package record

import (
	"context"
	"embed"
	"errors"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "record", FS: migrations}

// counter names the change counter that every change of a switch raises; see [db.Bump].
const counter = "recording"

// Limits of retention, in days, and what holds where nobody said otherwise.
const (
	MaxDays     = 365
	defaultDays = 30
)

// Limit is how much is kept of a request and of an answer, in bytes each.
const Limit = 256 << 10

// Switch says whether an organisation's prompts and answers are kept.
type Switch struct {
	Org     string    `json:"organisation_id"`
	Enabled bool      `json:"enabled"`
	Days    int64     `json:"days"`                 // retention; it holds for what is kept already, too
	By      string    `json:"changed_by,omitempty"` // user, key or part of the platform that changed it last
	Erased  time.Time `json:"erased,omitzero"`      // what was recorded until then was deleted
	Updated time.Time `json:"-"`
	Version int64     `json:"-"` // 1 before the first change
}

// Content is what was said in one call.
type Content struct {
	Event                 string
	At                    time.Time
	Request               []byte // at most Limit
	Answer                []byte // at most Limit; of a stream, its events as they were sent
	RequestCut, AnswerCut bool   // it was longer
	Expires               time.Time
}

// Store reads and writes switches and content. Safe for concurrent use.
type Store struct {
	db     *db.DB
	sealer *secret.Sealer

	mu      sync.Mutex
	changed []func() // guarded by mu
}

// New returns a Store that seals content with sealer.
func New(d *db.DB, sealer *secret.Sealer) *Store { return &Store{db: d, sealer: sealer} }

// onChange has fn run after each committed change of a switch in this process.
func (s *Store) onChange(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = append(s.changed, fn)
}

func (s *Store) touch(tx *db.Tx) error {
	if _, err := db.Bump(tx, counter); err != nil {
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

// SwitchTx returns an organisation's switch.
func (s *Store) SwitchTx(tx *db.Tx, org string) (Switch, error) { return read(tx, org, "") }

func read(tx *db.Tx, org, lock string) (Switch, error) {
	sw := Switch{Org: org, Days: defaultDays, Version: 1}
	var enabled, erased, updated int64
	err := tx.QueryRow(`SELECT enabled, days, erased, changed_by, updated_at, version FROM recording WHERE org = $1`+lock, org).
		Scan(&enabled, &sw.Days, &erased, &sw.By, &updated, &sw.Version)
	if errors.Is(err, db.ErrNoRows) {
		return sw, nil
	}
	sw.Enabled, sw.Updated = enabled == 1, db.Time(updated)
	if erased > 0 {
		sw.Erased = db.Time(erased)
	}
	return sw, err
}

// SetTx switches an organisation's recording. version is what the change is based on, 0 for whatever is there.
func (s *Store) SetTx(tx *db.Tx, by audit.Actor, org string, enabled bool, days, version int64) (Switch, error) {
	if days < 1 || days > MaxDays {
		return Switch{}, problem.New(problem.Unprocessable, "record.days", "recorded content is kept from 1 to %d days", int64(MaxDays)).
			WithField("days", "must be from 1 to 365")
	}
	return s.edit(tx, by, org, "recording.write", version, func(sw *Switch) { sw.Enabled, sw.Days = enabled, days })
}

// EraseTx makes everything void that was recorded of the organisation until now, calls that still run
// included. It can no longer be read, and is deleted within minutes.
func (s *Store) EraseTx(tx *db.Tx, by audit.Actor, org string) (Switch, error) {
	return s.edit(tx, by, org, "prompts.delete", 0, func(sw *Switch) { sw.Erased = tx.Now() })
}

func (s *Store) edit(tx *db.Tx, by audit.Actor, org, action string, version int64, change func(*Switch)) (Switch, error) {
	before, err := read(tx, org, tx.Dialect().ForUpdate())
	if err != nil {
		return Switch{}, err
	}
	stale := problem.New(problem.Precondition, "record.stale", "it has been changed meanwhile: read it again")
	if version != 0 && version != before.Version {
		return Switch{}, stale
	}
	sw := before
	change(&sw)
	sw.By, sw.Updated, sw.Version = who(by), tx.Now(), before.Version+1
	var erased int64
	if !sw.Erased.IsZero() {
		erased = db.Micros(sw.Erased)
	}
	n, err := tx.Exec(`INSERT INTO recording (org, enabled, days, erased, changed_by, updated_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (org) DO UPDATE SET enabled = excluded.enabled, days = excluded.days, erased = excluded.erased,
		changed_by = excluded.changed_by, updated_at = excluded.updated_at, version = excluded.version WHERE recording.version = $8`,
		org, db.Bool(sw.Enabled), sw.Days, erased, sw.By, db.Micros(sw.Updated), sw.Version, before.Version)
	if err != nil {
		return Switch{}, err
	}
	if n == 0 {
		return Switch{}, stale // two first changes at once
	}
	if err := audit.Record(tx, audit.Entry{Actor: by, Org: org, Action: action, Object: org, Before: before, After: sw}); err != nil {
		return Switch{}, err
	}
	return sw, s.touch(tx)
}

// who names the actor as briefly as can be.
func who(a audit.Actor) string {
	switch {
	case a.User != "":
		return a.User
	case a.Key != "":
		return a.Key
	}
	return a.System
}

// OpenTx returns what was said in a call of the organisation, and records in the audit log that it was
// read and by whom.
func (s *Store) OpenTx(tx *db.Tx, by audit.Actor, org, event string) (Content, error) {
	c := Content{Event: event}
	sw, err := read(tx, org, "")
	if err != nil {
		return c, err
	}
	var at, requestCut, answerCut int64
	var request, answer []byte
	err = tx.QueryRow(`SELECT at, request, request_cut, answer, answer_cut FROM recorded_content WHERE org = $1 AND event = $2`, org, event).
		Scan(&at, &request, &requestCut, &answer, &answerCut)
	if errors.Is(err, db.ErrNoRows) || err == nil && at <= sw.void(tx.Now()) {
		return c, notKept(event)
	}
	if err != nil {
		return c, err
	}
	c.RequestCut, c.AnswerCut = requestCut == 1, answerCut == 1
	c.At, c.Expires = db.Time(at), db.Time(at).AddDate(0, 0, int(sw.Days))
	if c.Request, err = s.open(request, event, "request"); err != nil {
		return c, err
	}
	if c.Answer, err = s.open(answer, event, "answer"); err != nil {
		return c, err
	}
	return c, audit.Record(tx, audit.Entry{Actor: by, Org: org, Action: "prompts.read", Object: event})
}

func (s *Store) open(sealed []byte, event, side string) ([]byte, error) {
	plain, err := s.sealer.OpenBytes(sealed, sealContext(event, side))
	if err != nil {
		return nil, problem.New(problem.Conflict, "record.sealed", "the recorded content cannot be opened: the key that sealed it is not in the key ring any more").Because(err)
	}
	return plain, nil
}

// DeleteTx deletes what was said in a call of the organisation.
func (s *Store) DeleteTx(tx *db.Tx, by audit.Actor, org, event string) error {
	n, err := tx.Exec(`DELETE FROM recorded_content WHERE org = $1 AND event = $2`, org, event)
	if err != nil {
		return err
	}
	if n == 0 {
		return notKept(event)
	}
	return audit.Record(tx, audit.Entry{Actor: by, Org: org, Action: "prompts.delete", Object: event})
}

func notKept(event string) error {
	if len(event) > 60 {
		event = event[:60]
	}
	return problem.New(problem.NotFound, "record.not_kept", "no content of the call %q is kept: recording was off, it was deleted, its days are over, or the call ended only now", event)
}

// void is the time, in microseconds, of the youngest content that must not be shown any more.
func (sw Switch) void(now time.Time) int64 {
	old := db.Micros(now.AddDate(0, 0, -int(sw.Days)))
	if sw.Erased.IsZero() {
		return old
	}
	return max(old, db.Micros(sw.Erased))
}

// sealContext ties a piece of content to its call and side.
func sealContext(event, side string) string { return "recorded " + side + " of " + event }

// sweepRows is how many rows one transaction deletes.
const sweepRows = 200

// Sweep deletes content whose time is over, a few hundred rows at most, and reports whether there is more.
func (s *Store) Sweep(ctx context.Context) (more bool, err error) {
	var all []Switch
	err = s.db.View(ctx, func(tx *db.Tx) error { all, err = switches(tx, ""); return err })
	if err != nil {
		return false, err
	}
	for _, sw := range all {
		var n int64
		err := s.db.Update(ctx, func(tx *db.Tx) error {
			n, err = tx.Exec(`DELETE FROM recorded_content WHERE event IN (SELECT event FROM recorded_content WHERE org = $1 AND at <= $2 ORDER BY at LIMIT $3)`,
				sw.Org, sw.void(tx.Now()), int64(sweepRows))
			return err
		})
		if err != nil {
			return false, err
		}
		more = more || n == sweepRows
	}
	return more, nil
}

// switches reads all switches that were ever changed.
func switches(tx *db.Tx, where string) ([]Switch, error) {
	rows, err := tx.Query(`SELECT org, enabled, days, erased FROM recording ` + where)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Switch
	for rows.Next() {
		var sw Switch
		var enabled, erased int64
		if err := rows.Scan(&sw.Org, &enabled, &sw.Days, &erased); err != nil {
			return nil, err
		}
		sw.Enabled = enabled == 1
		if erased > 0 {
			sw.Erased = db.Time(erased)
		}
		all = append(all, sw)
	}
	return all, rows.Err()
}
