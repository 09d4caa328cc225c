package org

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// User is a person. Users are never deleted: the audit record names them.
type User struct {
	ID      string    `json:"id"`
	Email   string    `json:"email"`
	Name    string    `json:"name"`
	Created time.Time `json:"-"`
	Updated time.Time `json:"-"`
	Version int64     `json:"-"`
}

// Member is a user's place in an organisation.
type Member struct {
	Org     string    `json:"org"`
	User    string    `json:"user"`
	Email   string    `json:"email"`
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Created time.Time `json:"-"`
	Updated time.Time `json:"-"`
	Version int64     `json:"-"`
}

// subaddressed are mail services that deliver user+anything@ to user@; the value tells whether they
// also ignore dots.
var subaddressed = map[string]bool{
	"gmail.com": true, "googlemail.com": true,
	"outlook.com": false, "hotmail.com": false, "live.com": false, "icloud.com": false, "me.com": false,
	"proton.me": false, "protonmail.com": false, "fastmail.com": false,
}

// NormalEmail checks an address and returns the form under which it is unique, and its domain: lower
// case, and for services known to ignore them without the tag after "+" and (Gmail) without dots.
func NormalEmail(email string) (key, domain string, err error) {
	bad := problem.New(problem.Unprocessable, "org.email", "%q is no e-mail address of the form name@example.com", clip(email))
	a, perr := mail.ParseAddress(email)
	if perr != nil || a.Address != email || len(email) > 254 {
		return "", "", bad
	}
	at := strings.LastIndexByte(email, '@')
	local, domain := strings.ToLower(email[:at]), strings.ToLower(email[at+1:])
	if !strings.Contains(domain, ".") || strings.HasSuffix(domain, ".") || strings.ContainsAny(local, "\" ") {
		return "", "", bad
	}
	for i := range len(domain) {
		if c := domain[i]; c != '.' && c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return "", "", bad // international domains are written in their xn-- form
		}
	}
	if dots, known := subaddressed[domain]; known {
		local, _, _ = strings.Cut(local, "+")
		if dots {
			local, domain = strings.ReplaceAll(local, ".", ""), "gmail.com"
		}
		if local == "" {
			return "", "", bad
		}
	}
	return local + "@" + domain, domain, nil
}

// CreateUserTx makes a user. Its normal e-mail must be new.
func CreateUserTx(tx *db.Tx, by audit.Actor, email, name string) (User, error) {
	key, _, err := NormalEmail(email)
	if err != nil {
		return User{}, err
	}
	if err := checkText("name", name, 120); err != nil {
		return User{}, err
	}
	now := tx.Now()
	u := User{ID: db.NewID("usr", now), Email: email, Name: name, Created: now, Updated: now, Version: 1}
	n, err := tx.Exec(`INSERT INTO org_user (id, email, email_key, name, created_at, updated_at, version)
		VALUES ($1, $2, $3, $4, $5, $6, 1) ON CONFLICT (email_key) DO NOTHING`,
		u.ID, u.Email, key, u.Name, db.Micros(now), db.Micros(now))
	if err != nil {
		return User{}, err
	}
	if n == 0 {
		return User{}, emailTaken()
	}
	return u, audit.Record(tx, audit.Entry{Actor: by, Org: by.Org, Action: "user.create", Object: u.ID, After: u})
}

func emailTaken() error {
	return problem.New(problem.Conflict, "org.email_taken", "there is already a user with this e-mail address")
}

const userColumns = `SELECT id, email, name, created_at, updated_at, version FROM org_user`

func scanUser(scan func(...any) error) (User, error) {
	var u User
	var created, updated int64
	err := scan(&u.ID, &u.Email, &u.Name, &created, &updated, &u.Version)
	u.Created, u.Updated = db.Time(created), db.Time(updated)
	return u, err
}

// GetUser returns a user by id.
func (s *Store) GetUser(ctx context.Context, id string) (u User, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error { u, err = GetUserTx(tx, id); return err })
	return u, err
}

// GetUserTx is [Store.GetUser] within tx.
func GetUserTx(tx *db.Tx, id string) (User, error) {
	u, err := scanUser(tx.QueryRow(userColumns+` WHERE id = $1`, id).Scan)
	return u, found(err, noUser(id))
}

// UserByEmailTx returns the user with the e-mail address, compared in its normal form.
func UserByEmailTx(tx *db.Tx, email string) (User, error) {
	key, _, err := NormalEmail(email)
	if err != nil {
		return User{}, err
	}
	u, err := scanUser(tx.QueryRow(userColumns+` WHERE email_key = $1`, key).Scan)
	return u, found(err, noUser(email))
}

func noUser(id string) error {
	return problem.New(problem.NotFound, "org.user_unknown", "there is no user %q", clip(id))
}

// ListUsers returns a page of all users.
func (s *Store) ListUsers(ctx context.Context, after string, limit int) (items []User, more bool, err error) {
	var w where
	if after != "" {
		w.and("id > ?", after)
	}
	query := userColumns + w.page("id", limit)
	err = s.db.View(ctx, func(tx *db.Tx) error {
		items, err = collect(tx, scanUser, query, w.args...)
		return err
	})
	items, more = cut(items, limit)
	return items, more, err
}

// UserEdit changes the fields that are not nil.
type UserEdit struct{ Email, Name *string }

// UpdateUser edits a user.
func (s *Store) UpdateUser(ctx context.Context, by audit.Actor, id string, e UserEdit, version int64) (u User, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		before, err := GetUserTx(tx, id)
		if err != nil {
			return err
		}
		if err := checkVersion(version, before.Version); err != nil {
			return err
		}
		u = before
		if e.Email != nil {
			u.Email = *e.Email
		}
		if e.Name != nil {
			u.Name = *e.Name
		}
		key, _, err := NormalEmail(u.Email)
		if err != nil {
			return err
		}
		if err := checkText("name", u.Name, 120); err != nil {
			return err
		}
		if other, err := UserByEmailTx(tx, u.Email); err == nil && other.ID != id {
			return emailTaken()
		} else if err != nil && !problem.Is(err, problem.NotFound) {
			return err
		}
		u.Version, u.Updated = before.Version+1, tx.Now()
		n, err := tx.Exec(`UPDATE org_user SET email = $1, email_key = $2, name = $3, updated_at = $4, version = $5
			WHERE id = $6 AND version = $7`, u.Email, key, u.Name, db.Micros(u.Updated), u.Version, id, before.Version)
		if db.IsUnique(err) { // someone took the address since it was looked up
			return emailTaken()
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return checkVersion(before.Version, before.Version+1)
		}
		return audit.Record(tx, audit.Entry{Actor: by, Org: by.Org, Action: "user.update", Object: id, Before: before, After: u})
	})
	return u, err
}

// Invite says who becomes a member: an existing user by id, or a person by e-mail address, who is
// made a user if there is none with it.
type Invite struct {
	User  string
	Email string
	Name  string // of a new user
	Role  Role
}

// AddMember makes a user a member.
func (s *Store) AddMember(ctx context.Context, by audit.Actor, orgID string, in Invite) (m Member, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error { m, err = AddMemberTx(tx, by, orgID, in); return err })
	return m, err
}

// AddMemberTx is [Store.AddMember] within tx.
func AddMemberTx(tx *db.Tx, by audit.Actor, orgID string, in Invite) (Member, error) {
	if _, err := ParseRole(string(in.Role)); err != nil {
		return Member{}, err
	}
	if err := lockOrg(tx, orgID); err != nil {
		return Member{}, err
	}
	var u User
	var err error
	if in.User != "" {
		u, err = GetUserTx(tx, in.User)
	} else if u, err = UserByEmailTx(tx, in.Email); problem.Is(err, problem.NotFound) {
		u, err = CreateUserTx(tx, by, in.Email, in.Name)
	}
	if err != nil {
		return Member{}, err
	}
	now := tx.Now()
	n, err := tx.Exec(`INSERT INTO org_member (org_id, user_id, role, created_at, updated_at, version)
		VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT DO NOTHING`, orgID, u.ID, in.Role, db.Micros(now), db.Micros(now))
	if err != nil {
		return Member{}, err
	}
	if n == 0 {
		return Member{}, problem.New(problem.Conflict, "org.member_exists", "%s is already a member of this organisation", u.Email)
	}
	m := Member{Org: orgID, User: u.ID, Email: u.Email, Name: u.Name, Role: in.Role, Created: now, Updated: now, Version: 1}
	return m, audit.Record(tx, audit.Entry{Actor: by, Org: orgID, Action: "member.add", Object: u.ID, After: m})
}

// lockOrg keeps other changes of the organisation's members waiting until tx ends.
func lockOrg(tx *db.Tx, orgID string) error {
	n, err := tx.Exec(`UPDATE org SET rev = rev WHERE id = $1`, orgID)
	if err == nil && n == 0 {
		return noOrg(orgID)
	}
	return err
}

const memberColumns = `SELECT m.org_id, m.user_id, u.email, u.name, m.role, m.created_at, m.updated_at, m.version
	FROM org_member m JOIN org_user u ON u.id = m.user_id`

func scanMember(scan func(...any) error) (Member, error) {
	var m Member
	var created, updated int64
	err := scan(&m.Org, &m.User, &m.Email, &m.Name, &m.Role, &created, &updated, &m.Version)
	m.Created, m.Updated = db.Time(created), db.Time(updated)
	return m, err
}

// GetMember returns a user's place in an organisation.
func (s *Store) GetMember(ctx context.Context, orgID, userID string) (m Member, err error) {
	err = s.db.View(ctx, func(tx *db.Tx) error { m, err = GetMemberTx(tx, orgID, userID); return err })
	return m, err
}

// GetMemberTx is [Store.GetMember] within tx.
func GetMemberTx(tx *db.Tx, orgID, userID string) (Member, error) {
	m, err := scanMember(tx.QueryRow(memberColumns+` WHERE m.org_id = $1 AND m.user_id = $2`, orgID, userID).Scan)
	return m, found(err, problem.New(problem.NotFound, "org.member_unknown", "%q is not a member of this organisation", clip(userID)))
}

// ListMembers returns a page of an organisation's members, ordered by user id.
func (s *Store) ListMembers(ctx context.Context, orgID, after string, limit int) (items []Member, more bool, err error) {
	var w where
	w.and("m.org_id = ?", orgID)
	if after != "" {
		w.and("m.user_id > ?", after)
	}
	query := memberColumns + w.page("m.user_id", limit)
	err = s.db.View(ctx, func(tx *db.Tx) error {
		items, err = collect(tx, scanMember, query, w.args...)
		return err
	})
	items, more = cut(items, limit)
	return items, more, err
}

// ChangeMemberTx gives a member another role. The room auth composes it with lowering the roles of
// the member's management keys: callers use that.
func ChangeMemberTx(tx *db.Tx, by audit.Actor, orgID, userID string, role Role, version int64) (Member, error) {
	if _, err := ParseRole(string(role)); err != nil {
		return Member{}, err
	}
	before, err := memberForEdit(tx, orgID, userID, version)
	if err != nil {
		return Member{}, err
	}
	m := before
	m.Role, m.Version, m.Updated = role, before.Version+1, tx.Now()
	if _, err := tx.Exec(`UPDATE org_member SET role = $1, updated_at = $2, version = $3 WHERE org_id = $4 AND user_id = $5`,
		m.Role, db.Micros(m.Updated), m.Version, orgID, userID); err != nil {
		return Member{}, err
	}
	if err := ownerLeft(tx, orgID); err != nil {
		return Member{}, err
	}
	return m, audit.Record(tx, audit.Entry{Actor: by, Org: orgID, Action: "member.change", Object: userID, Before: before, After: m})
}

// RemoveMemberTx ends a membership. The room auth composes it with revoking or handing over the keys
// that the member is responsible for: callers use that.
func RemoveMemberTx(tx *db.Tx, by audit.Actor, orgID, userID string, version int64) (Member, error) {
	before, err := memberForEdit(tx, orgID, userID, version)
	if err != nil {
		return Member{}, err
	}
	if _, err := tx.Exec(`DELETE FROM org_member WHERE org_id = $1 AND user_id = $2`, orgID, userID); err != nil {
		return Member{}, err
	}
	if err := ownerLeft(tx, orgID); err != nil {
		return Member{}, err
	}
	return before, audit.Record(tx, audit.Entry{Actor: by, Org: orgID, Action: "member.remove", Object: userID, Before: before})
}

func memberForEdit(tx *db.Tx, orgID, userID string, version int64) (Member, error) {
	if err := lockOrg(tx, orgID); err != nil {
		return Member{}, err
	}
	m, err := GetMemberTx(tx, orgID, userID)
	if err != nil {
		return m, err
	}
	return m, checkVersion(version, m.Version)
}

// ownerLeft fails when the organisation has no owner left. Call it under [lockOrg].
func ownerLeft(tx *db.Tx, orgID string) error {
	var one int64
	err := tx.QueryRow(`SELECT 1 FROM org_member WHERE org_id = $1 AND role = $2 LIMIT 1`, orgID, Owner).Scan(&one)
	if errors.Is(err, db.ErrNoRows) {
		return problem.New(problem.Conflict, "org.last_owner", "an organisation needs an owner: make another member owner first")
	}
	return err
}
