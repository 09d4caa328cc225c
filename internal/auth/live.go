package auth

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
)

// liveKey is what the hot path has to know of a key. A directory reads a million of them at its
// start, so they are read without the rest.
type liveKey struct {
	id, org, user string
	kind          Kind
	role          org.Role
	revoked       bool
	limits        *Limits
	budgets       []string
	expires       int64 // UTC microseconds, 0: never
	used          int64 // likewise
	rev           int64
	secrets       []liveSecret
}

type liveSecret struct {
	hash    [32]byte
	expires int64
}

func (k *keyRow) live() liveKey {
	l := liveKey{id: k.ID, org: k.Org, user: k.User, kind: k.Kind, role: k.Role, revoked: k.State == Revoked, budgets: k.Budgets,
		expires: micros(k.Expires), used: micros(k.LastUsed), rev: k.rev}
	if !k.Limits.empty() {
		limits := k.Limits.clone()
		l.limits = &limits
	}
	for _, s := range k.Secrets {
		l.secrets = append(l.secrets, liveSecret{s.hash, micros(s.Expires)})
	}
	return l
}

// eachLive calls fn for every key changed after rev, in the order of change. Revoked keys and ended
// secrets are left out if that was before oldest. fn must not keep the slice of secrets, nor use tx.
func eachLive(tx *db.Tx, rev int64, oldest time.Time, fn func(*liveKey) error) error {
	cutoff := int64(-1)
	if !oldest.IsZero() {
		cutoff = db.Micros(oldest)
	}
	rows, err := tx.Query(`SELECT k.id, k.kind, k.org_id, k.role, k.user_id, k.state, k.limits, k.budgets, k.expires_at,
		k.last_used_at, k.rev, s.hash, s.expires_at FROM auth_key k JOIN auth_secret s ON s.key_id = k.id
		WHERE k.rev > $1 AND (k.state = $2 OR k.revoked_at > $3) AND (s.expires_at = 0 OR s.expires_at > $4)
		ORDER BY k.rev, k.id`, rev, Active, cutoff, cutoff)
	if err != nil {
		return err
	}
	defer rows.Close()
	var cur liveKey
	var id, kind, orgID, role, user, state, limits, budgets, hash sql.RawBytes
	orgs := map[string]string{} // so that the keys of one organisation share its id
	for rows.Next() {
		next := liveKey{}
		var sec liveSecret
		if err := rows.Scan(&id, &kind, &orgID, &role, &user, &state, &limits, &budgets, &next.expires, &next.used, &next.rev, &hash, &sec.expires); err != nil {
			return err
		}
		if len(hash) != len(sec.hash) {
			return fmt.Errorf("key %s: stored hash has %d bytes", id, len(hash))
		}
		copy(sec.hash[:], hash)
		if string(id) == cur.id {
			cur.secrets = append(cur.secrets, sec)
			continue
		}
		if cur.id != "" {
			if err := fn(&cur); err != nil {
				return err
			}
		}
		next.id, next.user, next.secrets = string(id), string(user), append(cur.secrets[:0], sec)
		next.revoked = string(state) == Revoked
		next.kind, next.role = Kind(kind), org.Role(role)
		if next.kind == Inference {
			next.kind = Inference // the constant: all share it
		}
		var seen bool
		if next.org, seen = orgs[string(orgID)]; !seen {
			next.org = string(orgID)
			orgs[next.org] = next.org
		}
		if string(limits) != "{}" {
			next.limits = new(Limits)
			if err := json.Unmarshal(limits, next.limits); err != nil {
				return fmt.Errorf("key %s: stored limits: %w", id, err)
			}
		}
		if string(budgets) != "[]" {
			if err := json.Unmarshal(budgets, &next.budgets); err != nil {
				return fmt.Errorf("key %s: stored budgets: %w", id, err)
			}
		}
		cur = next
	}
	if err := rows.Err(); err != nil || cur.id == "" {
		return err
	}
	return fn(&cur)
}
