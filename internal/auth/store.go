package auth

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// revision is the name of the change counter of keys.
const revision = "auth"

// The states of a key.
const (
	Active  = "active"
	Revoked = "revoked"
)

// Key is a key as the management API shows it. The secret itself is nowhere.
type Key struct {
	ID        string    `json:"id"`
	Kind      Kind      `json:"kind"`
	Org       string    `json:"org"`
	Name      string    `json:"name"`
	Role      org.Role  `json:"role"`       // of a management key
	User      string    `json:"user"`       // the member responsible for it; "" for none
	CreatedBy string    `json:"created_by"` // the user who made it; "" for none
	Departed  bool      `json:"departed"`   // a former member may know its secret: rotate or revoke it
	State     string    `json:"state"`
	Reason    string    `json:"reason"` // why it was revoked
	Limits    Limits    `json:"limits"`
	Budgets   []string  `json:"budgets"`
	Expires   time.Time `json:"expires,omitzero"` // zero: never
	Revoked   time.Time `json:"-"`
	Created   time.Time `json:"-"`
	Updated   time.Time `json:"-"`
	LastUsed  time.Time `json:"-"` // to five minutes; zero: never
	Version   int64     `json:"-"`
	Secrets   []Secret  `json:"secrets"` // newest first; more than one during a rotation's overlap
}

// Secret tells of one of a key's secrets.
type Secret struct {
	Prefix   string    `json:"-"` // the first 14 characters
	LastFour string    `json:"last_four"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // zero: with the key

	hash [32]byte
}

// Store keeps keys and bootstrap tokens. Safe for concurrent use. Conventions (Tx, version, pages)
// are those of the room org.
type Store struct {
	db   *db.DB
	orgs *org.Store

	mu       sync.Mutex
	watchers map[int]func(liveKey)
	next     int
}

// New returns the store on d.
func New(d *db.DB, orgs *org.Store) *Store {
	return &Store{db: d, orgs: orgs, watchers: map[int]func(liveKey){}}
}

// watch has fn called with each key that a committed change of this process touched.
func (s *Store) watch(fn func(liveKey)) (cancel func()) {
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

// keyRow is a key as stored.
type keyRow struct {
	Key
	rev int64
}

const keyColumns = `SELECT k.id, k.kind, k.org_id, k.name, k.role, k.user_id, k.created_by, k.departed, k.state, k.reason,
	k.limits, k.budgets, k.expires_at, k.revoked_at, k.created_at, k.updated_at, k.last_used_at, k.version, k.rev,
	s.hash, s.prefix, s.last_four, s.created_at, s.expires_at
	FROM auth_key k JOIN auth_secret s ON s.key_id = k.id `

// newestFirst orders the secrets of a key: the one that does not end by a rotation comes first.
const newestFirst = `CASE WHEN s.expires_at = 0 THEN 0 ELSE 1 END, s.created_at DESC, s.hash`

// readKeys reads keys; tail must end in an order that keeps the rows of one key together.
func readKeys(tx *db.Tx, tail string, args ...any) ([]keyRow, error) {
	rows, err := tx.Query(keyColumns+tail, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []keyRow
	for rows.Next() {
		row, err := scanKey(rows.Scan)
		if err != nil {
			return nil, err
		}
		if last := len(out) - 1; last >= 0 && out[last].ID == row.ID {
			out[last].Secrets = append(out[last].Secrets, row.Secrets...)
		} else {
			out = append(out, row)
		}
	}
	return out, rows.Err()
}

func scanKey(scan func(...any) error) (keyRow, error) {
	var k keyRow
	var sec Secret
	var limits, budgets string
	var departed, expires, revoked, created, updated, used, secCreated, secExpires int64
	var hash []byte
	err := scan(&k.ID, &k.Kind, &k.Org, &k.Name, &k.Role, &k.User, &k.CreatedBy, &departed, &k.State, &k.Reason,
		&limits, &budgets, &expires, &revoked, &created, &updated, &used, &k.Version, &k.rev,
		&hash, &sec.Prefix, &sec.LastFour, &secCreated, &secExpires)
	if err != nil {
		return k, err
	}
	if len(hash) != len(sec.hash) {
		return k, fmt.Errorf("key %s: stored hash has %d bytes", k.ID, len(hash))
	}
	copy(sec.hash[:], hash)
	if limits != "{}" {
		if err := json.Unmarshal([]byte(limits), &k.Limits); err != nil {
			return k, fmt.Errorf("key %s: stored limits: %w", k.ID, err)
		}
	}
	if budgets != "[]" {
		if err := json.Unmarshal([]byte(budgets), &k.Budgets); err != nil {
			return k, fmt.Errorf("key %s: stored budgets: %w", k.ID, err)
		}
	}
	k.Departed = departed != 0
	k.Expires, k.Revoked, k.LastUsed = when(expires), when(revoked), when(used)
	k.Created, k.Updated = db.Time(created), db.Time(updated)
	sec.Created, sec.Expires = db.Time(secCreated), when(secExpires)
	k.Secrets = []Secret{sec}
	return k, nil
}

// when and micros translate times of which zero stands for none.
func when(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return db.Time(us)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return db.Micros(t)
}

// getRow reads one key.
func getRow(tx *db.Tx, id string) (keyRow, error) {
	rows, err := readKeys(tx, `WHERE k.id = $1 ORDER BY `+newestFirst, id)
	if err != nil {
		return keyRow{}, err
	}
	if len(rows) == 0 {
		return keyRow{}, problem.New(problem.NotFound, "auth.key_not_found", "there is no key %q", clip(id))
	}
	return rows[0], nil
}

// changed reads the key back and, once tx is committed, tells the watchers.
func (s *Store) changed(tx *db.Tx, id string) (Key, error) {
	row, err := getRow(tx, id)
	if err != nil {
		return Key{}, err
	}
	live := row.live()
	tx.AfterCommit(func() {
		s.mu.Lock()
		fns := make([]func(liveKey), 0, len(s.watchers))
		for _, fn := range s.watchers {
			fns = append(fns, fn)
		}
		s.mu.Unlock()
		for _, fn := range fns {
			fn(live)
		}
	})
	return row.Key, nil
}

// save writes the fields of a key that can change, under a revision that the caller has bumped.
func save(tx *db.Tx, k *Key, rev int64) error {
	limits, budgets := []byte("{}"), []byte("[]")
	var err error
	if !k.Limits.empty() {
		if limits, err = json.Marshal(k.Limits); err != nil {
			return err
		}
	}
	if len(k.Budgets) > 0 {
		if budgets, err = json.Marshal(k.Budgets); err != nil {
			return err
		}
	}
	k.Version++
	k.Updated = tx.Now()
	_, err = tx.Exec(`UPDATE auth_key SET name = $1, role = $2, user_id = $3, departed = $4, state = $5, reason = $6, limits = $7,
		budgets = $8, expires_at = $9, revoked_at = $10, updated_at = $11, version = $12, rev = $13 WHERE id = $14`,
		k.Name, k.Role, k.User, db.Bool(k.Departed), k.State, k.Reason, string(limits),
		string(budgets), micros(k.Expires), micros(k.Revoked), db.Micros(k.Updated), k.Version, rev, k.ID)
	return err
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}

// where collects conditions with placeholders in ascending order.
type where struct {
	conds []string
	args  []any
}

// and adds a condition whose placeholder, written "?", stands for arg.
func (w *where) and(cond string, arg any) {
	w.conds = append(w.conds, strings.Replace(cond, "?", w.param(arg), 1))
}

func (w *where) param(arg any) string {
	w.args = append(w.args, arg)
	return "$" + strconv.Itoa(len(w.args))
}

// MaxPage is the largest page that a list returns.
const MaxPage = org.MaxPage
