package catalog

import (
	"context"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// CreateUpstream adds an upstream to a provider. It is active at once.
func (s *Store) CreateUpstream(ctx context.Context, a audit.Actor, orgID string, in UpstreamInput) (*Upstream, error) {
	return write(ctx, s, func(tx *db.Tx) (*Upstream, error) { return s.CreateUpstreamTx(tx, a, orgID, in) })
}

// CreateUpstreamTx is [Store.CreateUpstream] within tx.
func (s *Store) CreateUpstreamTx(tx *db.Tx, a audit.Actor, orgID string, in UpstreamInput) (*Upstream, error) {
	in, err := in.normal()
	if err != nil {
		return nil, err
	}
	if _, err := ownerUUID(orgID); err != nil {
		return nil, err
	}
	id, now := db.NewID(PrefixUpstream, tx.Now()), db.Micros(tx.Now())
	n, err := tx.Exec(`INSERT INTO upstream (id, org_id, name, url, dialect, connect_ms, first_byte_ms, idle_ms, total_ms,
		state, reason, edits, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', 1, $11, $12) ON CONFLICT DO NOTHING`,
		id, orgID, in.Name, in.URL, in.Dialect, in.Timeouts.Connect, in.Timeouts.FirstByte, in.Timeouts.Idle, in.Timeouts.Total,
		Active, now, now)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, taken("name", in.Name)
	}
	return s.savedUpstream(tx, a, "upstream.create", "", nil, id)
}

// UpdateUpstream replaces what the provider states of an upstream; its credentials stay. based is
// the revision that the edit is based on, or [Any].
func (s *Store) UpdateUpstream(ctx context.Context, a audit.Actor, id string, based int64, in UpstreamInput) (*Upstream, error) {
	return write(ctx, s, func(tx *db.Tx) (*Upstream, error) { return s.UpdateUpstreamTx(tx, a, id, based, in) })
}

// UpdateUpstreamTx is [Store.UpdateUpstream] within tx.
func (s *Store) UpdateUpstreamTx(tx *db.Tx, a audit.Actor, id string, based int64, in UpstreamInput) (*Upstream, error) {
	u, err := s.lockUpstream(tx, id, based)
	if err != nil {
		return nil, err
	}
	if in.Name == "" {
		in.Name = u.Name
	}
	if in, err = in.normal(); err != nil {
		return nil, err
	}
	if err := sameName(in.Name, u.Name); err != nil {
		return nil, err
	}
	if u.URL == in.URL && u.Dialect == in.Dialect && u.Timeouts == in.Timeouts {
		return u, nil
	}
	_, err = tx.Exec(`UPDATE upstream SET `+edited+`, url = $2, dialect = $3, connect_ms = $4, first_byte_ms = $5, idle_ms = $6,
		total_ms = $7 WHERE id = $8`, db.Micros(tx.Now()), in.URL, in.Dialect, in.Timeouts.Connect, in.Timeouts.FirstByte,
		in.Timeouts.Idle, in.Timeouts.Total, id)
	if err != nil {
		return nil, err
	}
	return s.savedUpstream(tx, a, "upstream.update", "", u, id)
}

// SetUpstreamState suspends an active upstream, resumes a suspended one (Active), or retires one
// that no live version needs. Suspending is the kill switch: no call goes there any more. Suspending
// and retiring need a reason.
func (s *Store) SetUpstreamState(ctx context.Context, a audit.Actor, id string, based int64, to State, reason string) (*Upstream, error) {
	return write(ctx, s, func(tx *db.Tx) (*Upstream, error) { return s.SetUpstreamStateTx(tx, a, id, based, to, reason) })
}

// SetUpstreamStateTx is [Store.SetUpstreamState] within tx.
func (s *Store) SetUpstreamStateTx(tx *db.Tx, a audit.Actor, id string, based int64, to State, reason string) (*Upstream, error) {
	u, err := s.lockUpstream(tx, id, based)
	if err != nil {
		return nil, err
	}
	action := map[State]string{Active: "resume", Suspended: "suspend", Retired: "retire"}[to]
	if action == "" || u.State == Retired {
		return nil, wrongState("upstream", u.State, string(to))
	}
	if to != Active {
		if err := reasonOf(reason); err != nil {
			return nil, err
		}
	}
	if u.State == to && u.Reason == reason {
		return u, nil
	}
	if to == Retired {
		if err := unused(tx, u); err != nil {
			return nil, err
		}
	}
	stored := reason
	if to == Active {
		stored = ""
	}
	_, err = tx.Exec(`UPDATE upstream SET `+edited+`, state = $2, reason = $3 WHERE id = $4`, db.Micros(tx.Now()), to, stored, id)
	if err != nil {
		return nil, err
	}
	return s.savedUpstream(tx, a, "upstream."+action, reason, u, id)
}

// unused refuses while a live version of a product that is not retired has a target at the upstream.
func unused(tx *db.Tx, u *Upstream) error {
	var product string
	err := tx.QueryRow(`SELECT p.name FROM product_target t JOIN product_version v ON v.id = t.version_id
		JOIN product p ON p.id = v.product_id
		WHERE t.upstream_id = $1 AND v.part <> 'retired' AND p.state <> 'retired' ORDER BY p.name LIMIT 1`, u.ID).Scan(&product)
	if err == nil {
		return problem.New(problem.Conflict, "catalog.upstream_used",
			"the upstream is a target of the product %q: take it out there first, or suspend it", product)
	}
	return ignoreNoRows(err)
}

// SetCredential adds a credential to an upstream, or changes the one of that name.
func (s *Store) SetCredential(ctx context.Context, a audit.Actor, upstreamID string, based int64, in CredentialInput) (*Upstream, error) {
	return write(ctx, s, func(tx *db.Tx) (*Upstream, error) { return s.SetCredentialTx(tx, a, upstreamID, based, in) })
}

// SetCredentialTx is [Store.SetCredential] within tx.
func (s *Store) SetCredentialTx(tx *db.Tx, a audit.Actor, upstreamID string, based int64, in CredentialInput) (*Upstream, error) {
	in, err := in.normal()
	if err != nil {
		return nil, err
	}
	u, err := s.lockUpstream(tx, upstreamID, based)
	if err != nil {
		return nil, err
	}
	var had *Credential
	for _, c := range u.Credentials {
		if c.Name == in.Name {
			had = c
		}
	}
	now := db.Micros(tx.Now())
	switch {
	case had == nil && in.Secret.IsZero():
		return nil, problem.New(problem.Unprocessable, "catalog.credential_empty", "a new credential needs a secret").WithField("secret", "is required")
	case had == nil && len(u.Credentials) >= 100:
		return nil, problem.New(problem.Conflict, "catalog.credential_many", "an upstream has at most %d credentials", 100)
	case had == nil:
		id := db.NewID(PrefixCredential, tx.Now())
		_, err = tx.Exec(`INSERT INTO upstream_credential (id, upstream_id, name, sealed, last_four, state, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, id, u.ID, in.Name, s.sealer.Seal(in.Secret, sealContext(id)),
			lastFour(in.Secret), in.State, now, now)
	case in.Secret.IsZero() && in.State == had.State:
		return u, nil
	case in.Secret.IsZero():
		_, err = tx.Exec(`UPDATE upstream_credential SET state = $1, updated_at = $2 WHERE id = $3`, in.State, now, had.ID)
	default:
		var same bool
		if same, err = s.sameSecret(tx, had, in); err == nil && same {
			return u, nil
		}
		if err == nil {
			_, err = tx.Exec(`UPDATE upstream_credential SET state = $1, sealed = $2, last_four = $3, updated_at = $4 WHERE id = $5`,
				in.State, s.sealer.Seal(in.Secret, sealContext(had.ID)), lastFour(in.Secret), now, had.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	return s.savedCredentials(tx, a, "upstream.credential_set", u)
}

// sameSecret reports whether the credential already is what the input says. One that cannot be
// opened is not: entering it again is how it is repaired.
func (s *Store) sameSecret(tx *db.Tx, had *Credential, in CredentialInput) (bool, error) {
	var sealed []byte
	if err := tx.QueryRow(`SELECT sealed FROM upstream_credential WHERE id = $1`, had.ID).Scan(&sealed); err != nil {
		return false, err
	}
	is, err := s.sealer.Open(sealed, sealContext(had.ID))
	return err == nil && is.Equal(in.Secret) && had.State == in.State, nil
}

// RemoveCredential deletes a credential by its name or id.
func (s *Store) RemoveCredential(ctx context.Context, a audit.Actor, upstreamID string, based int64, credential string) (*Upstream, error) {
	return write(ctx, s, func(tx *db.Tx) (*Upstream, error) {
		return s.RemoveCredentialTx(tx, a, upstreamID, based, credential)
	})
}

// RemoveCredentialTx is [Store.RemoveCredential] within tx.
func (s *Store) RemoveCredentialTx(tx *db.Tx, a audit.Actor, upstreamID string, based int64, credential string) (*Upstream, error) {
	u, err := s.lockUpstream(tx, upstreamID, based)
	if err != nil {
		return nil, err
	}
	n, err := tx.Exec(`DELETE FROM upstream_credential WHERE upstream_id = $1 AND (name = $2 OR id = $3)`, u.ID, credential, credential)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, notFound("credential", credential)
	}
	return s.savedCredentials(tx, a, "upstream.credential_remove", u)
}

func (s *Store) savedCredentials(tx *db.Tx, a audit.Actor, action string, before *Upstream) (*Upstream, error) {
	if _, err := tx.Exec(`UPDATE upstream SET `+edited+` WHERE id = $2`, db.Micros(tx.Now()), before.ID); err != nil {
		return nil, err
	}
	return s.savedUpstream(tx, a, action, "", before, before.ID)
}

// Upstream returns an upstream by its id.
func (s *Store) Upstream(ctx context.Context, id string) (*Upstream, error) {
	return view(ctx, s, func(tx *db.Tx) (*Upstream, error) { return s.UpstreamTx(tx, id) })
}

// UpstreamTx is [Store.Upstream] within tx.
func (s *Store) UpstreamTx(tx *db.Tx, id string) (*Upstream, error) {
	us, err := readUpstreams(tx, "WHERE id = $1", id)
	if err == nil && len(us) == 0 {
		return nil, notFound("upstream", id)
	}
	if err != nil {
		return nil, err
	}
	return us[0], nil
}

// UpstreamNamedTx returns a provider's upstream by its name or id.
func (s *Store) UpstreamNamedTx(tx *db.Tx, orgID, name string) (*Upstream, error) {
	us, err := readUpstreams(tx, "WHERE org_id = $1 AND (name = $2 OR id = $3)", orgID, name, name)
	if err == nil && len(us) == 0 {
		return nil, notFound("upstream", name)
	}
	if err != nil {
		return nil, err
	}
	return us[0], nil
}

// Upstreams returns upstreams by id, those behind the id after.
func (s *Store) Upstreams(ctx context.Context, f Filter, after string, limit int) (items []*Upstream, more bool, err error) {
	where, args := f.where(after, limit)
	items, err = view(ctx, s, func(tx *db.Tx) ([]*Upstream, error) { return readUpstreams(tx, where, args...) })
	items, more = page(items, limit)
	return items, more, err
}

// Reseal seals every credential anew that is not sealed by the sealer's first key, and returns how
// many it sealed. Run it after adding a key; then the old key may go. It fails on one that cannot be
// opened.
func (s *Store) Reseal(ctx context.Context) (int, error) {
	return write(ctx, s, func(tx *db.Tx) (int, error) {
		sealed, err := readSealed(tx)
		if err != nil {
			return 0, err
		}
		n := 0
		for id, old := range sealed {
			if !s.sealer.Stale(old) {
				continue
			}
			fresh, err := s.sealer.Reseal(old, sealContext(id))
			if err != nil {
				return 0, problem.New(problem.Conflict, "catalog.reseal", "the credential %s cannot be opened: enter it again, or remove it", id).Because(err)
			}
			if _, err := tx.Exec(`UPDATE upstream_credential SET sealed = $1 WHERE id = $2`, fresh, id); err != nil {
				return 0, err
			}
			n++
		}
		return n, nil
	})
}

// SealedTx counts credentials by the id of the key that sealed them.
func (s *Store) SealedTx(tx *db.Tx) (map[string]int64, error) {
	sealed, err := readSealed(tx)
	counts := map[string]int64{}
	for _, b := range sealed {
		counts[secret.KeyID(b)]++
	}
	return counts, err
}

// Reread has every process read the catalogue again, and with it open the credentials: for a change of
// the sealer's keys, which no row shows.
func (s *Store) Reread(ctx context.Context) error { return s.db.Update(ctx, s.touch) }

// sealContext ties a sealed secret to its row.
func sealContext(credentialID string) string { return "upstream credential " + credentialID }

// lastFour is what may be shown of a secret: nothing of a short one.
func lastFour(t secret.Text) string {
	if s := t.Reveal(); len(s) >= 16 {
		return s[len(s)-4:]
	}
	return ""
}

// lockUpstream reads the upstream for an edit based on a revision; on PostgreSQL it holds its row.
func (s *Store) lockUpstream(tx *db.Tx, id string, based int64) (*Upstream, error) {
	us, err := readUpstreams(tx, "WHERE id = $1"+tx.Dialect().ForUpdate(), id)
	if err != nil {
		return nil, err
	}
	if len(us) == 0 {
		return nil, notFound("upstream", id)
	}
	return us[0], basedOn(based, us[0].Revision)
}

// savedUpstream ends a write: it reads what became of the upstream and records the difference.
func (s *Store) savedUpstream(tx *db.Tx, a audit.Actor, action, reason string, before *Upstream, id string) (*Upstream, error) {
	u, err := s.UpstreamTx(tx, id)
	if err != nil {
		return nil, err
	}
	var was any
	if before != nil {
		was = before
	}
	if err := record(tx, a, u.OrgID, action, id, reason, was, u); err != nil {
		return nil, err
	}
	return u, s.touch(tx)
}

func readUpstreams(tx *db.Tx, where string, args ...any) ([]*Upstream, error) {
	rows, err := tx.Query(`SELECT id, org_id, name, url, dialect, connect_ms, first_byte_ms, idle_ms, total_ms, state, reason,
		edits, created_at, updated_at FROM upstream `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Upstream
	byID := map[string]*Upstream{}
	ids := []string{}
	for rows.Next() {
		u := &Upstream{Credentials: []*Credential{}}
		var created, updated int64
		if err := rows.Scan(&u.ID, &u.OrgID, &u.Name, &u.URL, &u.Dialect, &u.Timeouts.Connect, &u.Timeouts.FirstByte,
			&u.Timeouts.Idle, &u.Timeouts.Total, &u.State, &u.Reason, &u.Revision, &created, &updated); err != nil {
			return nil, err
		}
		u.Created, u.Updated = db.Time(created), db.Time(updated)
		if u.UUID, err = uuid(u.ID, PrefixUpstream); err != nil {
			return nil, err
		}
		out, ids, byID[u.ID] = append(out, u), append(ids, u.ID), u
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return out, readCredentials(tx, ids, byID)
}

func readCredentials(tx *db.Tx, ids []string, upstreams map[string]*Upstream) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := tx.Query(`SELECT id, upstream_id, name, last_four, state, created_at, updated_at FROM upstream_credential
		WHERE upstream_id`+tx.Dialect().In("$1")+` ORDER BY upstream_id, name`, ids)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c Credential
		var of string
		var created, updated int64
		if err := rows.Scan(&c.ID, &of, &c.Name, &c.LastFour, &c.State, &created, &updated); err != nil {
			return err
		}
		c.Created, c.Updated = db.Time(created), db.Time(updated)
		if c.UUID, err = uuid(c.ID, PrefixCredential); err != nil {
			return err
		}
		upstreams[of].Credentials = append(upstreams[of].Credentials, &c)
	}
	return rows.Err()
}

// readSealed returns all sealed secrets by credential id.
func readSealed(tx *db.Tx) (map[string][]byte, error) {
	rows, err := tx.Query(`SELECT id, sealed FROM upstream_credential`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string][]byte{}
	for rows.Next() {
		var id string
		var sealed []byte
		if err := rows.Scan(&id, &sealed); err != nil {
			return nil, err
		}
		out[id] = sealed
	}
	return out, rows.Err()
}
