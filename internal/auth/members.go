package auth

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
)

// reasonDeparted is the reason of keys revoked because their member left.
const reasonDeparted = "member departed"

// ChangeMember gives a member another role, and lowers to it the management keys that the member is
// responsible for and that would now go beyond it. It returns those keys.
func (s *Store) ChangeMember(ctx context.Context, by audit.Actor, orgID, userID string, role org.Role, version int64) (m org.Member, lowered []Key, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		m, lowered, err = s.ChangeMemberTx(tx, by, orgID, userID, role, version)
		return err
	})
	return m, lowered, err
}

// ChangeMemberTx is [Store.ChangeMember] within tx.
func (s *Store) ChangeMemberTx(tx *db.Tx, by audit.Actor, orgID, userID string, role org.Role, version int64) (org.Member, []Key, error) {
	m, err := org.ChangeMemberTx(tx, by, orgID, userID, role, version)
	if err != nil {
		return m, nil, err
	}
	lowered, err := s.eachOf(tx, orgID, userID, func(rev int64, k Key) (*Key, error) {
		if k.User != userID || k.Kind != Management || Covers(role, k.Role) {
			return nil, nil
		}
		k, err := s.editAt(tx, rev, by, "update", k.ID, "member's role changed", 0, func(k *Key) error { k.Role = role; return nil })
		return &k, err
	})
	return m, lowered, err
}

// RemoveMember ends a membership. The keys that the member is responsible for are revoked or, where
// handOver names another member, become that member's (management keys with at most that member's
// role). Every key of the organisation that the member made or was responsible for is marked
// [Key.Departed]. It returns the keys touched.
func (s *Store) RemoveMember(ctx context.Context, by audit.Actor, orgID, userID, handOver string, version int64) (touched []Key, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		touched, err = s.RemoveMemberTx(tx, by, orgID, userID, handOver, version)
		return err
	})
	return touched, err
}

// RemoveMemberTx is [Store.RemoveMember] within tx.
func (s *Store) RemoveMemberTx(tx *db.Tx, by audit.Actor, orgID, userID, handOver string, version int64) ([]Key, error) {
	if _, err := org.RemoveMemberTx(tx, by, orgID, userID, version); err != nil {
		return nil, err
	}
	var heir org.Member
	if handOver != "" {
		var err error
		if heir, err = org.GetMemberTx(tx, orgID, handOver); err != nil {
			return nil, err
		}
	}
	return s.eachOf(tx, orgID, userID, func(rev int64, k Key) (*Key, error) {
		what := "update"
		if k.User == userID && handOver == "" {
			what = "revoke"
		}
		k, err := s.editAt(tx, rev, by, what, k.ID, reasonDeparted, 0, func(k *Key) error {
			k.Departed = true
			switch {
			case k.User != userID:
			case handOver == "":
				revoke(tx, k, reasonDeparted)
			default:
				k.User = handOver
				if k.Kind == Management && !Covers(heir.Role, k.Role) {
					k.Role = heir.Role
				}
			}
			return nil
		})
		return &k, err
	})
}

// eachOf calls fn for every active key of the organisation that the user made or is responsible for,
// and returns the keys that fn returned.
func (s *Store) eachOf(tx *db.Tx, orgID, userID string, fn func(rev int64, k Key) (*Key, error)) ([]Key, error) {
	rev, err := db.Bump(tx, revision)
	if err != nil {
		return nil, err
	}
	rows, err := memberKeys(tx, orgID, userID)
	if err != nil {
		return nil, err
	}
	var out []Key
	for _, r := range rows {
		k, err := fn(rev, r.Key)
		if err != nil {
			return nil, err
		}
		if k != nil {
			out = append(out, *k)
		}
	}
	return out, nil
}

// MemberKeys lists the active keys that a removal of the member would touch.
func (s *Store) MemberKeys(ctx context.Context, orgID, userID string) (keys []Key, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error {
		rows, err := memberKeys(tx, orgID, userID)
		keys = make([]Key, 0, len(rows))
		for _, r := range rows {
			keys = append(keys, r.Key)
		}
		return err
	})
	return keys, err
}

func memberKeys(tx *db.Tx, orgID, userID string) ([]keyRow, error) {
	return readKeys(tx, `WHERE k.org_id = $1 AND (k.user_id = $2 OR k.created_by = $3) AND k.state = $4
		ORDER BY k.id, `+newestFirst, orgID, userID, userID, Active)
}
