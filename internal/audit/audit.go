// Package audit keeps the record of who changed what, field by field, in a hash chain.
//
// [Record] writes an entry in the transaction of the change itself: a change without its entry, or
// an entry without its change, cannot be committed. The chain is closed behind it: [Log] gives each
// committed entry a sequence number and a hash over its content and the hash before, at most a
// second later, so that writers never wait for one another. [Log.Verify] recomputes it. The chain
// shows an entry that was altered, removed or put in between; that the newest entries were cut off
// shows only against a head that was noted elsewhere ([Report.Head]).
//
// The package does not decide who may read entries, and does not record reads. Secrets are never in
// an entry: values of fields named like one, and anything shaped like a Tollgate credential, are
// replaced before they are stored.
package audit

import (
	"embed"
	"net/netip"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "audit", FS: migrations}

// Actor is who did it. Either the credential fields are set or System is.
type Actor struct {
	Org     string     // the organisation that the credential belongs to
	User    string     // the user responsible for the credential, if any
	Key     string     // the credential's id
	System  string     // what part of the platform or which local command acted: "demo", "settle"
	Request string     // request id
	Remote  netip.Addr // where the request came from; may be invalid for none
}

// System is the actor for what no credential asked for.
func System(name string) Actor { return Actor{System: name} }

// Entry is a change to be recorded.
type Entry struct {
	Actor  Actor
	Org    string // the organisation concerned, which may read the entry; "" is the platform
	Action string // as in the permission table: "key.revoke"
	Object string // id of what was changed
	Reason string // as given by the actor, if the action takes one

	// Before and After are the object's state as it would be shown by the management API: anything
	// that encodes to a JSON object. Before is nil for a creation, After for a removal.
	Before, After any
}

// Record writes the entry as part of tx. It fails only if a state does not encode or the
// transaction does.
func Record(tx *db.Tx, e Entry) error {
	changes, err := difference(e.Before, e.After)
	if err != nil {
		return err
	}
	remote := ""
	if e.Actor.Remote.IsValid() {
		remote = e.Actor.Remote.Unmap().String()
	}
	now := tx.Now()
	_, err = tx.Exec(`INSERT INTO audit_entry (id, at, actor_org, actor_user, actor_key, actor_system, request_id,
		remote, org_id, action, object, reason, changes)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		db.NewID("aud", now), db.Micros(now), e.Actor.Org, e.Actor.User, e.Actor.Key, e.Actor.System, e.Actor.Request,
		remote, e.Org, e.Action, e.Object, e.Reason, string(changes))
	return err
}

// Item is a recorded entry.
type Item struct {
	ID      string
	At      time.Time
	Actor   Actor
	Org     string
	Action  string
	Object  string
	Reason  string
	Changes []Change
	Seq     int64  // place in the chain; 0 while not sealed
	Hash    string // hexadecimal SHA-256; "" while not sealed
}
