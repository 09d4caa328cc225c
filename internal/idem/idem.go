// Package idem makes a request that is sent twice happen once: it keeps the answer of a request under
// the Idempotency-Key that it carried and returns it when the request comes again.
//
// Key and effect are one transaction: a request whose transaction is lost has left no key behind, and
// a key that is there tells of an effect that is. A second request that comes while the first is under
// way waits for its transaction and then gets its answer; nothing is ever left half done.
//
// The package knows neither HTTP nor what an answer means. Answers may hold a secret that is shown
// once, and are sealed. A request that failed is not kept: it may be tried again.
package idem

import (
	"crypto/sha256"
	"embed"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the tables of this room.
var Migrations = db.Migrations{Room: "idem", FS: migrations}

// TTL is how long an answer is kept.
const TTL = 24 * time.Hour

// maxKey is the longest key, in bytes.
const maxKey = 255

// Request is a request that may come again.
type Request struct {
	Principal string // whose key it is: keys of different principals have nothing to do with each other
	Key       string
	Digest    [sha256.Size]byte // of method, target and body
}

// New returns the request, or an error if the key is not 1 to 255 printable ASCII characters.
func New(principal, key, method, target string, body []byte) (*Request, error) {
	ok := key != "" && len(key) <= maxKey
	for i := range len(key) {
		ok = ok && key[i] >= ' ' && key[i] <= '~'
	}
	if !ok {
		return nil, problem.New(problem.Invalid, "idem.key", "the Idempotency-Key must be 1 to %d printable ASCII characters", maxKey)
	}
	h := sha256.New()
	h.Write([]byte(method + " " + target + "\n"))
	h.Write(body)
	return &Request{principal, key, [sha256.Size]byte(h.Sum(nil))}, nil
}

// Store keeps answers. Safe for concurrent use.
type Store struct{ sealer *secret.Sealer }

// NewStore returns a store that seals answers with sealer.
func NewStore(sealer *secret.Sealer) *Store { return &Store{sealer} }

// Do runs effect within tx and keeps its answer, or returns the answer that was kept when the request
// came before. A key that belongs to another request is problem.Conflict "idem.mismatch".
func (s *Store) Do(tx *db.Tx, r *Request, effect func() (answer []byte, err error)) (answer []byte, replayed bool, err error) {
	now := db.Micros(tx.Now())
	if _, err := tx.Exec(`DELETE FROM idempotency WHERE principal = $1 AND expires_at < $2`, r.Principal, now); err != nil {
		return nil, false, err
	}
	// On PostgreSQL the insert waits for another request with the same key; on SQLite writers take turns.
	n, err := tx.Exec(`INSERT INTO idempotency (principal, name, digest, answer, expires_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		r.Principal, r.Key, r.Digest[:], []byte{}, now+TTL.Microseconds())
	if err != nil {
		return nil, false, err
	}
	if n == 0 {
		answer, err = s.kept(tx, r)
		return answer, true, err
	}
	if answer, err = effect(); err != nil {
		return nil, false, err
	}
	_, err = tx.Exec(`UPDATE idempotency SET answer = $1 WHERE principal = $2 AND name = $3`,
		s.sealer.SealBytes(answer, r.context()), r.Principal, r.Key)
	return answer, false, err
}

func (s *Store) kept(tx *db.Tx, r *Request) ([]byte, error) {
	var digest, sealed []byte
	err := tx.QueryRow(`SELECT digest, answer FROM idempotency WHERE principal = $1 AND name = $2`, r.Principal, r.Key).Scan(&digest, &sealed)
	if err != nil {
		return nil, err
	}
	if string(digest) != string(r.Digest[:]) {
		return nil, problem.New(problem.Conflict, "idem.mismatch", "this Idempotency-Key was used for another request: use a new one")
	}
	return s.sealer.OpenBytes(sealed, r.context())
}

// context ties a sealed answer to its row.
func (r *Request) context() string { return "idempotency " + r.Principal + " " + r.Key }

// Sweep deletes answers whose time is over, of all principals, and returns how many.
func Sweep(tx *db.Tx) (int64, error) {
	return tx.Exec(`DELETE FROM idempotency WHERE expires_at < $1`, db.Micros(tx.Now()))
}
