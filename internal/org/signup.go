package org

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// SignUpRequest is a person who signs up with an organisation of their own.
type SignUpRequest struct {
	Email   string
	Name    string
	OrgName string // empty: one is made up
	Title   string // empty: the person's name
	Remote  netip.Addr
}

// SignUpResult is what a sign-up made, and the credit that the caller is to post.
type SignUpResult struct {
	Org    Org
	User   User
	Member Member
	Policy SignUpPolicy
}

// SignUp creates a user and a consumer organisation that it owns, within the limits of
// [SignUpPolicy]. grant is called in the same transaction to post the credit and to make a first
// key: if it fails, nothing has happened. The e-mail address is not verified here.
//
// Limits are counters raised by conditional updates, so that concurrent sign-ups cannot pass them
// together. An IPv6 address counts by its /64. Days are UTC. Addresses are kept only as hashes under
// a salt that is deleted the day after.
func (s *Store) SignUp(ctx context.Context, by audit.Actor, r SignUpRequest, grant func(*db.Tx, SignUpResult) error) (res SignUpResult, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		res = SignUpResult{}
		if res.Policy, err = SignUpPolicyTx(tx); err != nil {
			return err
		}
		if !res.Policy.Enabled {
			return problem.New(problem.Forbidden, "org.signup_off", "sign-up is closed: ask the operator for an account")
		}
		_, domain, err := NormalEmail(r.Email)
		if err != nil {
			return err
		}
		day, ip, err := countSignUp(tx, res.Policy, r.Remote, domain)
		if err != nil {
			return err
		}
		if res.User, err = CreateUserTx(tx, by, r.Email, r.Name); err != nil {
			return err
		}
		d := Draft{Name: r.OrgName, TitleEN: r.Title, Parts: Consumer}
		if d.TitleEN == "" {
			d.TitleEN = r.Name
		}
		if d.Name == "" {
			d.Name = "org-" + res.User.ID[len(res.User.ID)-12:]
		}
		if res.Org, err = s.CreateTx(tx, by, d); err != nil {
			return err
		}
		if res.Member, err = AddMemberTx(tx, by, res.Org.ID, Invite{User: res.User.ID, Role: Owner}); err != nil {
			return err
		}
		if _, err = tx.Exec(`INSERT INTO org_signup (org_id, user_id, day, ip_hash, domain, credit, currency)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			res.Org.ID, res.User.ID, day, ip, domain, res.Policy.Credit, res.Policy.Currency); err != nil {
			return err
		}
		if grant == nil {
			return nil
		}
		return grant(tx, res)
	})
	return res, err
}

// countSignUp raises the day's counters, always in the same order, and fails where one is at its limit.
func countSignUp(tx *db.Tx, p SignUpPolicy, remote netip.Addr, domain string) (day int64, ip string, err error) {
	now := tx.Now()
	day = now.Unix() / 86400
	for _, q := range []string{`DELETE FROM org_signup_salt WHERE day < $1`, `DELETE FROM org_signup_count WHERE day < $1`} {
		if _, err := tx.Exec(q, day); err != nil {
			return 0, "", err
		}
	}
	if ip, err = hashAddr(tx, day, remote); err != nil {
		return 0, "", err
	}
	domainLimit := p.PerDomain
	if slices.Contains(p.PublicDomains, domain) {
		domainLimit = 0
	}
	for _, c := range []struct {
		kind, value string
		limit       int64
	}{{"ip", ip, p.PerIPPerDay}, {"domain", domain, domainLimit}, {"all", "", p.PerDay}} {
		if c.limit == 0 {
			continue
		}
		n, err := tx.Exec(`INSERT INTO org_signup_count (day, kind, value, n) VALUES ($1, $2, $3, 1)
			ON CONFLICT (day, kind, value) DO UPDATE SET n = org_signup_count.n + 1 WHERE org_signup_count.n < $4`,
			day, c.kind, c.value, c.limit)
		if err != nil {
			return 0, "", err
		}
		if n == 0 {
			tomorrow := time.Unix((day+1)*86400, 0)
			return 0, "", problem.New(problem.TooMany, "org.signup_limited", "too many sign-ups from here today: try again tomorrow").After(tomorrow.Sub(now))
		}
	}
	return day, ip, nil
}

// hashAddr hashes the address, or its /64, under the day's salt.
func hashAddr(tx *db.Tx, day int64, a netip.Addr) (string, error) {
	var fresh [16]byte
	_, _ = rand.Read(fresh[:]) // never fails
	if _, err := tx.Exec(`INSERT INTO org_signup_salt (day, salt) VALUES ($1, $2) ON CONFLICT DO NOTHING`, day, hex.EncodeToString(fresh[:])); err != nil {
		return "", err
	}
	var salt string
	if err := tx.QueryRow(`SELECT salt FROM org_signup_salt WHERE day = $1`, day).Scan(&salt); err != nil {
		return "", err
	}
	a = a.Unmap().WithZone("")
	text := a.String()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			text = p.String()
		}
	}
	mac := hmac.New(sha256.New, []byte(salt))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil)[:16]), nil
}
