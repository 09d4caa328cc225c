package auth

import (
	"context"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// NewBootstrap makes a one-time token that, within ttl, sets up the platform: see [Store.Bootstrap].
// It fails with a conflict once an operator organisation exists. Several tokens may be open (each
// start of an unset platform shows one); using one ends them all.
func (s *Store) NewBootstrap(ctx context.Context, ttl time.Duration) (sec secret.Text, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		if err := notSetUp(tx); err != nil {
			return err
		}
		now := tx.Now()
		if _, err := tx.Exec(`DELETE FROM auth_bootstrap WHERE expires_at < $1`, db.Micros(now)); err != nil {
			return err
		}
		sec = generate(bootPrefix)
		hash := hashOf([]byte(sec.Reveal()))
		_, err := tx.Exec(`INSERT INTO auth_bootstrap (hash, created_at, expires_at, consumed_at) VALUES ($1, $2, $3, 0)`,
			hash[:], db.Micros(now), db.Micros(now.Add(ttl)))
		return err
	})
	return sec, err
}

// notSetUp fails when there is an operator. Until tx ends nobody else can make one.
func notSetUp(tx *db.Tx) error {
	has, err := org.HasOperator(tx, true)
	if err == nil && has {
		return problem.New(problem.Conflict, "auth.set_up", "this platform has been set up: there is an operator already")
	}
	return err
}

// Setup describes the operator that a bootstrap makes.
type Setup struct {
	Org     string // name of the operator organisation
	TitleEN string
	TitleZH string
	Email   string // of its owner
	Name    string
}

// Founding is what a bootstrap made. Secret is the owner's management key, shown this once.
type Founding struct {
	Org    org.Org
	Member org.Member
	Key    Key
	Secret secret.Text
}

// Bootstrap uses up a token to make the operator organisation, its owner and the owner's management
// key, all in one transaction.
func (s *Store) Bootstrap(ctx context.Context, by audit.Actor, token []byte, in Setup) (f Founding, err error) {
	err = s.db.Update(ctx, func(tx *db.Tx) error {
		if err := notSetUp(tx); err != nil {
			return err
		}
		hash := hashOf(token)
		now := db.Micros(tx.Now())
		n, err := tx.Exec(`UPDATE auth_bootstrap SET consumed_at = $1 WHERE hash = $2 AND consumed_at = 0 AND expires_at > $3`, now, hash[:], now)
		if err != nil {
			return err
		}
		if n == 0 {
			return problem.New(problem.Unauthenticated, "auth.bootstrap_token", "the bootstrap link is not valid, or has been used, or has expired: restart the server to get a new one")
		}
		f, err = s.FoundTx(tx, by, in)
		return err
	})
	return f, err
}

// FoundTx makes the operator without a token, for a local command that owns the database.
func (s *Store) FoundTx(tx *db.Tx, by audit.Actor, in Setup) (f Founding, err error) {
	f.Org, err = s.orgs.CreateTx(tx, by, org.Draft{Name: in.Org, TitleEN: in.TitleEN, TitleZH: in.TitleZH, Parts: org.Operator})
	if err != nil {
		return f, err
	}
	f.Member, err = org.AddMemberTx(tx, by, f.Org.ID, org.Invite{Email: in.Email, Name: in.Name, Role: org.Owner})
	if err != nil {
		return f, err
	}
	f.Key, f.Secret, err = s.CreateTx(tx, by, Draft{Kind: Management, Org: f.Org.ID, Name: "first key", Role: org.Owner, User: f.Member.User})
	return f, err
}
