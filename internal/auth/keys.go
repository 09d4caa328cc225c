package auth

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// Draft is a key to be created.
type Draft struct {
	Kind    Kind
	Org     string
	Name    string
	Role    org.Role // of a management key; none for an inference key
	User    string   // the member responsible; "": the actor's user, if it is a member
	Limits  Limits
	Budgets []string
	Expires time.Time // zero: never
}

// MaxOverlap is the longest time for which a rotated secret may go on working.
const MaxOverlap = 90 * 24 * time.Hour

const maxBudgets = 5 // what one hold can take from beside the wallet (spool.MaxLeases)

// Create makes a key and returns its secret, which cannot be had again.
func (s *Store) Create(ctx context.Context, by audit.Actor, d Draft) (k Key, sec secret.Text, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { k, sec, err = s.CreateTx(tx, by, d); return err })
	return k, sec, err
}

// CreateTx is [Store.Create] within tx.
func (s *Store) CreateTx(tx *db.Tx, by audit.Actor, d Draft) (Key, secret.Text, error) {
	rev, err := db.Bump(tx, revision)
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	if _, err := org.GetTx(tx, d.Org); err != nil {
		return Key{}, secret.Text{}, err
	}
	now := tx.Now()
	k := Key{ID: db.NewID("key", now), Kind: d.Kind, Org: d.Org, Name: d.Name, Role: d.Role, User: d.User, CreatedBy: by.User,
		State: Active, Limits: d.Limits, Budgets: d.Budgets, Expires: d.Expires}
	if k.User == "" && by.User != "" {
		if _, err := org.GetMemberTx(tx, d.Org, by.User); err == nil {
			k.User = by.User
		} else if !problem.Is(err, problem.NotFound) {
			return Key{}, secret.Text{}, err
		}
	}
	if err := check(tx, &k); err != nil {
		return Key{}, secret.Text{}, err
	}
	if _, err := tx.Exec(`INSERT INTO auth_key (id, kind, org_id, name, role, user_id, created_by, departed, state, reason, limits,
		budgets, expires_at, revoked_at, created_at, updated_at, last_used_at, version, rev)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, '', '{}', '[]', 0, 0, $9, $10, 0, 0, $11)`,
		k.ID, k.Kind, k.Org, k.Name, k.Role, k.User, k.CreatedBy, k.State, db.Micros(now), db.Micros(now), rev); err != nil {
		return Key{}, secret.Text{}, err
	}
	if err := save(tx, &k, rev); err != nil {
		return Key{}, secret.Text{}, err
	}
	sec, err := addSecret(tx, k)
	if err != nil {
		return Key{}, secret.Text{}, err
	}
	if k, err = s.changed(tx, k.ID); err != nil {
		return Key{}, secret.Text{}, err
	}
	return k, sec, audit.Record(tx, audit.Entry{Actor: by, Org: k.Org, Action: verb(k.Kind, "create"), Object: k.ID, After: k})
}

// verb names an action on a key: management keys are "token" in the table of permissions.
func verb(k Kind, what string) string {
	if k == Management {
		return "token." + what
	}
	return "key." + what
}

func addSecret(tx *db.Tx, k Key) (secret.Text, error) {
	sec := generate("sk-tg-" + string(k.Kind) + "-")
	text := sec.Reveal()
	hash := hashOf([]byte(text))
	_, err := tx.Exec(`INSERT INTO auth_secret (hash, key_id, prefix, last_four, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, 0)`,
		hash[:], k.ID, text[:shownPrefix], text[len(text)-4:], db.Micros(tx.Now()))
	return sec, err
}

// check validates what a key may be set to.
func check(tx *db.Tx, k *Key) error {
	bad := problem.New(problem.Unprocessable, "auth.key_invalid", "the key is not valid")
	switch {
	case k.Kind != Inference && k.Kind != Management:
		return bad.WithField("kind", "inf or mgt")
	case k.Kind == Inference && k.Role != "":
		return bad.WithField("role", "an inference key has none")
	case strings.TrimSpace(k.Name) == "" || utf8.RuneCountInString(k.Name) > 120 || !utf8.ValidString(k.Name) || strings.ContainsFunc(k.Name, func(r rune) bool { return r < ' ' }):
		return bad.WithField("name", "1 to 120 characters on one line")
	case !k.Expires.IsZero() && !k.Expires.After(tx.Now()):
		return bad.WithField("expires", "must be in the future")
	case len(k.Budgets) > maxBudgets:
		return bad.WithField("budgets", "at most %d", maxBudgets)
	}
	for i, b := range k.Budgets {
		if b == "" || len(b) > 100 || slices.Contains(k.Budgets[:i], b) {
			return bad.WithField("budgets", "entry %d is empty or repeated", i+1)
		}
	}
	if k.Kind == Management {
		if _, err := org.ParseRole(string(k.Role)); err != nil {
			return err
		}
	}
	k.Limits = k.Limits.clone()
	if err := k.Limits.check(); err != nil {
		return err
	}
	if k.User == "" {
		return nil
	}
	m, err := org.GetMemberTx(tx, k.Org, k.User)
	if err != nil {
		return err
	}
	if k.Kind == Management && !Covers(m.Role, k.Role) {
		return problem.New(problem.Forbidden, "auth.key_role", "the key's role %q goes beyond that of the member responsible for it, %q", k.Role, m.Role)
	}
	return nil
}

// clone copies the lists, because check writes into them.
func (l Limits) clone() Limits {
	l.Products, l.Models = slices.Clone(l.Products), slices.Clone(l.Models)
	l.Networks, l.Referrers = slices.Clone(l.Networks), slices.Clone(l.Referrers)
	return l
}

// Get returns a key by id.
func (s *Store) Get(ctx context.Context, id string) (k Key, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error { k, err = GetTx(tx, id); return err })
	return k, err
}

// GetTx is [Store.Get] within tx.
func GetTx(tx *db.Tx, id string) (Key, error) {
	row, err := getRow(tx, id)
	return row.Key, err
}

// Filter selects keys; zero fields select all.
type Filter struct {
	Org      string
	Kind     Kind
	User     string // the member responsible
	State    string // Active or Revoked
	Departed bool   // only keys whose secret a former member may know
}

// List returns a page of keys, ordered by id.
func (s *Store) List(ctx context.Context, f Filter, after string, limit int) (items []Key, more bool, err error) {
	limit = min(max(limit, 1), MaxPage)
	var w where
	if f.Org != "" {
		w.and("org_id = ?", f.Org)
	}
	if f.Kind != "" {
		w.and("kind = ?", f.Kind)
	}
	if f.User != "" {
		w.and("user_id = ?", f.User)
	}
	if f.State != "" {
		w.and("state = ?", f.State)
	}
	if f.Departed {
		w.and("departed = ?", 1)
	}
	w.and("id > ?", after)
	tail := `WHERE k.id IN (SELECT id FROM auth_key WHERE ` + strings.Join(w.conds, " AND ") +
		` ORDER BY id LIMIT ` + w.param(limit+1) + `) ORDER BY k.id, ` + newestFirst
	err = s.db.View(ctx, func(tx *db.Tx) error {
		rows, err := readKeys(tx, tail, w.args...)
		items = make([]Key, 0, len(rows))
		for _, r := range rows {
			items = append(items, r.Key)
		}
		return err
	})
	if len(items) > limit {
		return items[:limit], true, err
	}
	return items, false, err
}

// edit reads a key, has change alter it, writes it and records it.
func (s *Store) edit(tx *db.Tx, by audit.Actor, what, id, reason string, version int64, change func(*Key) error) (Key, error) {
	rev, err := db.Bump(tx, revision) // writers of keys wait here: what is read below stays true
	if err != nil {
		return Key{}, err
	}
	return s.editAt(tx, rev, by, what, id, reason, version, change)
}

// editAt is edit under a revision that the caller has bumped.
func (s *Store) editAt(tx *db.Tx, rev int64, by audit.Actor, what, id, reason string, version int64, change func(*Key) error) (Key, error) {
	row, err := getRow(tx, id)
	if err != nil {
		return Key{}, err
	}
	before := row.Key
	if version != 0 && version != before.Version {
		return Key{}, problem.New(problem.Precondition, "auth.stale", "the key was changed since version %d: read it again (now version %d) and repeat the edit", version, before.Version)
	}
	if before.State == Revoked {
		return Key{}, problem.New(problem.Conflict, "auth.already_revoked", "the key is revoked: that is final, make a new one")
	}
	k := before
	if err := change(&k); err != nil {
		return Key{}, err
	}
	if err := save(tx, &k, rev); err != nil {
		return Key{}, err
	}
	if k, err = s.changed(tx, id); err != nil {
		return Key{}, err
	}
	return k, audit.Record(tx, audit.Entry{Actor: by, Org: k.Org, Action: verb(k.Kind, what), Object: id, Reason: reason, Before: before, After: k})
}

// Edit changes the fields that are not nil. Expires may point to a zero time: never.
type Edit struct {
	Name    *string
	Role    *org.Role
	User    *string
	Limits  *Limits
	Budgets *[]string
	Expires *time.Time
}

// Update edits a key.
func (s *Store) Update(ctx context.Context, by audit.Actor, id string, e Edit, version int64) (k Key, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { k, err = s.UpdateTx(tx, by, id, e, version); return err })
	return k, err
}

// UpdateTx is [Store.Update] within tx.
func (s *Store) UpdateTx(tx *db.Tx, by audit.Actor, id string, e Edit, version int64) (Key, error) {
	return s.edit(tx, by, "update", id, "", version, func(k *Key) error {
		set(&k.Name, e.Name)
		set(&k.Role, e.Role)
		set(&k.User, e.User)
		set(&k.Limits, e.Limits)
		set(&k.Budgets, e.Budgets)
		expires := k.Expires
		set(&k.Expires, e.Expires)
		if e.Expires == nil && !expires.IsZero() && !expires.After(tx.Now()) {
			return problem.New(problem.Conflict, "auth.expired", "the key has expired: give it a new expiry with the edit")
		}
		return check(tx, k)
	})
}

func set[T any](field *T, v *T) {
	if v != nil {
		*field = *v
	}
}

// Rotate gives the key a new secret. The ones before go on working for overlap, at most [MaxOverlap];
// with 0 they end at once.
func (s *Store) Rotate(ctx context.Context, by audit.Actor, id string, overlap time.Duration, version int64) (k Key, sec secret.Text, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { k, sec, err = s.RotateTx(tx, by, id, overlap, version); return err })
	return k, sec, err
}

// RotateTx is [Store.Rotate] within tx.
func (s *Store) RotateTx(tx *db.Tx, by audit.Actor, id string, overlap time.Duration, version int64) (Key, secret.Text, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, secret.Text{}, problem.New(problem.Unprocessable, "auth.overlap", "the overlap must be between 0 and %d days", int(MaxOverlap/(24*time.Hour)))
	}
	var sec secret.Text
	k, err := s.edit(tx, by, "rotate", id, "", version, func(k *Key) error {
		now := tx.Now()
		end := db.Micros(now.Add(overlap))
		if _, err := tx.Exec(`DELETE FROM auth_secret WHERE key_id = $1 AND expires_at <> 0 AND expires_at < $2`, id, db.Micros(now.Add(-remember))); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE auth_secret SET expires_at = $1 WHERE key_id = $2 AND (expires_at = 0 OR expires_at > $3)`, end, id, end); err != nil {
			return err
		}
		k.Departed = false // what the former member knew ends with the overlap
		var err error
		sec, err = addSecret(tx, *k)
		return err
	})
	return k, sec, err
}

// Revoke ends a key for good: at once in this process, within two seconds everywhere.
func (s *Store) Revoke(ctx context.Context, by audit.Actor, id, reason string, version int64) (k Key, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { k, err = s.RevokeTx(tx, by, id, reason, version); return err })
	return k, err
}

// RevokeTx is [Store.Revoke] within tx.
func (s *Store) RevokeTx(tx *db.Tx, by audit.Actor, id, reason string, version int64) (Key, error) {
	if len(reason) > 500 || !utf8.ValidString(reason) {
		return Key{}, problem.New(problem.Unprocessable, "auth.reason", "the reason must be at most 500 characters")
	}
	return s.edit(tx, by, "revoke", id, reason, version, func(k *Key) error { revoke(tx, k, reason); return nil })
}

func revoke(tx *db.Tx, k *Key, reason string) {
	k.State, k.Reason, k.Revoked = Revoked, reason, tx.Now()
}
