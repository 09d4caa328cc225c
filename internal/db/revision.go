package db

import "errors"

// Bump raises the named change counter and returns its new value. The counter's row stays locked
// until the transaction ends, so that writers of one name commit in the order of their revisions:
// who has read up to revision n will never see a row of a revision below n appear later.
func Bump(tx *Tx, name string) (int64, error) {
	var rev int64
	err := tx.QueryRow(`INSERT INTO revision (name, rev) VALUES ($1, 1)
		ON CONFLICT (name) DO UPDATE SET rev = revision.rev + 1 RETURNING rev`, name).Scan(&rev)
	return rev, err
}

// Revision reads the named change counter: 0 before the first [Bump].
func Revision(tx *Tx, name string) (int64, error) {
	var rev int64
	err := tx.QueryRow(`SELECT rev FROM revision WHERE name = $1`, name).Scan(&rev)
	if errors.Is(err, ErrNoRows) {
		return 0, nil
	}
	return rev, err
}
