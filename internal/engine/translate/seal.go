package translate

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
	"github.com/tollgate-io/tollgate/internal/secret/sealed"
)

// Texts that an organisation keeps are sealed at rest by a key of its own (envelope encryption): a rotation of the
// platform's keys seals that key anew and touches no text. Rows are found by a keyed hash of their source text, so that
// the tables tell neither the texts nor whether two organisations have the same one.

// ownerKey seals the texts of one owner.
type ownerKey struct {
	owner string
	seal  *secret.Sealer
	mac   []byte
}

func newOwnerKey(owner string, line secret.Text) (*ownerKey, error) {
	s, err := secret.Parse(line.Reveal())
	if err != nil {
		return nil, err
	}
	k := &ownerKey{owner: owner, seal: s}
	k.mac = k.sum([]byte(line.Reveal()), "translate source texts")
	return k, nil
}

func (k *ownerKey) sum(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text)) // a hash's Write never fails
	return h.Sum(nil)
}

// term names a term, unit the text of a unit: by its letters, white space apart.
func (k *ownerKey) term(source string) string { return hex.EncodeToString(k.sum(k.mac, source)[:16]) }
func (k *ownerKey) unit(source string) string {
	return hex.EncodeToString(k.sum(k.mac, strings.Join(strings.Fields(source), " "))[:16])
}

// place is what a pair of texts is sealed for: kind is "unit" or the glossary's id.
func (k *ownerKey) place(kind, source, target, hash string) string {
	return strings.Join([]string{"translate", k.owner, kind, source, target, hash}, " ")
}

func (k *ownerKey) close(place, source, target string) []byte {
	b := binary.AppendUvarint(make([]byte, 0, len(source)+len(target)+binary.MaxVarintLen64), uint64(len(source)))
	return k.seal.SealBytes(append(append(b, source...), target...), place)
}

func (k *ownerKey) open(data []byte, place string) (source, target string, err error) {
	plain, err := k.seal.OpenBytes(data, place)
	if err != nil {
		return "", "", notOpened(err)
	}
	n, head := binary.Uvarint(plain)
	if head <= 0 || n > uint64(len(plain)-head) {
		return "", "", notOpened(secret.ErrCorrupt)
	}
	text := string(plain[head:])
	return text[:n], text[n:], nil
}

// sealedID is that of what cannot be opened.
const sealedID = "translate.sealed"

// lost reports whether an error is that of what cannot be opened.
func lost(err error) bool { return err != nil && problem.As(err).ID == sealedID }

func notOpened(err error) error {
	return problem.New(problem.Conflict, sealedID, "what is stored here cannot be opened: the key that sealed it is not in the key ring any more; "+
		"the operator may have a copy of it, or delete your glossaries and your translation memory to begin anew").Because(err)
}

func notKept() error {
	return problem.New(problem.Unavailable, "translate.not_kept", "documents, glossaries and translation memories cannot be kept on this server: it has no key to seal them with")
}

func keyPlace(owner string) string { return "translate key of " + owner }

// key is the owner's, nil where there is none and none is to be made.
func (s *store) key(tx *db.Tx, owner string, create bool) (*ownerKey, error) {
	if s.sealer == nil {
		return nil, notKept()
	}
	for {
		var data []byte
		err := tx.QueryRow(`SELECT secret FROM translate_key WHERE owner = $1`, owner).Scan(&data)
		switch {
		case err == nil:
			line, err := s.sealer.Open(data, keyPlace(owner))
			if err == nil {
				return newOwnerKey(owner, line)
			}
			// A key that seals nothing any more may go: its owner has deleted all that is lost, and begins anew.
			cause := notOpened(err)
			if !create {
				return nil, cause
			}
			if idle, err := s.idle(tx, owner); err != nil || !idle {
				return nil, cmp.Or(err, error(cause))
			}
			if _, err := tx.Exec(`DELETE FROM translate_key WHERE owner = $1`, owner); err != nil {
				return nil, err
			}
		case !errors.Is(err, db.ErrNoRows):
			return nil, err
		case !create:
			return nil, nil
		}
		data = s.sealer.Seal(secret.Generate(), keyPlace(owner))
		if _, err := tx.Exec(`INSERT INTO translate_key (owner, secret, sealed_by) VALUES ($1, $2, $3) ON CONFLICT (owner) DO NOTHING`, owner, data, secret.KeyID(data)); err != nil {
			return nil, err
		}
	}
}

// idle reports whether the owner has stored nothing that its key seals, but for documents, which nobody can fetch.
func (s *store) idle(tx *db.Tx, owner string) (bool, error) {
	for _, table := range []string{"translate_sealed_term", "translate_sealed_unit"} {
		switch err := tx.QueryRow(`SELECT owner FROM `+table+` WHERE owner = $1 LIMIT 1`, owner).Scan(&owner); {
		case err == nil:
			return false, nil
		case !errors.Is(err, db.ErrNoRows):
			return false, err
		}
	}
	return true, nil
}

func sealedTables() []sealed.Table {
	return []sealed.Table{{Name: "translate_key", ID: "owner", Values: []string{"secret"}, Context: func(owner string, _ int64, _ string) string { return keyPlace(owner) }}}
}

// SealedTx counts the owners' keys by the id of the key that sealed them.
func (e *Engine) SealedTx(tx *db.Tx) (map[string]int64, error) {
	return sealed.CountTx(tx, sealedTables()...)
}

// Reseal seals anew what an older key of the ring sealed, and returns how many keys of owners that were. Documents that wait to
// be fetched are sealed by them, too.
func (e *Engine) Reseal(ctx context.Context) (int, error) {
	if err := e.store.sealPlain(ctx); err != nil {
		return 0, err
	}
	return sealed.Reseal(ctx, e.o.DB, e.o.Sealer, sealedTables()...)
}

// plainRows is how many rows one transaction seals and moves.
const plainRows = 500

// SealPlain seals and moves what versions before sealing stored. It is for the start of a server, before it answers; where there
// is nothing to move it costs two looks. Rows of an owner whose key cannot be opened stay where they are.
func (e *Engine) SealPlain(ctx context.Context) error { return e.store.sealPlain(ctx) }

func (s *store) sealPlain(ctx context.Context) error {
	if s.sealer == nil {
		return nil
	}
	for _, table := range []string{"translate_term", "translate_unit"} {
		var owners []string
		err := s.db.View(ctx, func(tx *db.Tx) (err error) {
			owners, err = column(tx, `SELECT DISTINCT owner FROM `+table)
			return err
		})
		if err != nil {
			return err
		}
		for _, owner := range owners {
			for n := plainRows; n == plainRows; {
				err := s.db.Update(ctx, func(tx *db.Tx) (err error) {
					n, err = s.sealSome(tx, table, owner)
					return err
				})
				if lost(err) {
					s.log.Warn("what an organisation stored for translation cannot be sealed: the key of its own does not open", "organisation", owner, "error", err)
					break
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

type plainRow struct {
	owner, glossary, from, to, hash, source, target string
}

func (s *store) sealSome(tx *db.Tx, table, owner string) (int, error) {
	query := `SELECT owner, glossary, source_lang, target_lang, '', source, target FROM translate_term WHERE owner = $1 LIMIT $2`
	if table == "translate_unit" {
		query = `SELECT owner, '', source_lang, target_lang, hash, source, target FROM translate_unit WHERE owner = $1 LIMIT $2`
	}
	var list []plainRow
	err := eachRow(tx, func(rows *db.Rows) error {
		var r plainRow
		err := rows.Scan(&r.owner, &r.glossary, &r.from, &r.to, &r.hash, &r.source, &r.target)
		list = append(list, r)
		return err
	}, query+tx.Dialect().ForUpdate(), owner, int64(plainRows))
	if err != nil {
		return 0, err
	}
	if len(list) == 0 {
		return 0, nil
	}
	k, err := s.key(tx, owner, true)
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if table == "translate_term" {
			if err = insertTerms(tx, k, r.glossary, Dictionary{Source: r.from, Target: r.to, Terms: []Term{{r.source, r.target}}}); err == nil {
				_, err = tx.Exec(`DELETE FROM translate_term WHERE glossary = $1 AND source_lang = $2 AND target_lang = $3 AND source = $4`, r.glossary, r.from, r.to, r.source)
			}
		} else if err = insertUnits(tx, k, []Unit{{r.source, r.target, r.from, r.to}}); err == nil {
			_, err = tx.Exec(`DELETE FROM translate_unit WHERE owner = $1 AND source_lang = $2 AND target_lang = $3 AND hash = $4`, r.owner, r.from, r.to, r.hash)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(list), nil
}
