package ledger_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/ledger"
)

// TestVerifyCatches plants each tampering and expects to be told.
func TestVerifyCatches(t *testing.T) {
	cases := []struct {
		name, want string
		sql        []string // $A is alice's account, $C carol's (folded), $T the second transaction, $L the last
	}{
		{"amount of a posting", "hash of its content", []string{`UPDATE ledger_posting SET amount = 3 WHERE txn = '$T' AND account = '$A'`}},
		{"amounts that still balance", "hash of its content", []string{
			`UPDATE ledger_posting SET amount = amount + 1 WHERE txn = '$T' AND account = '$A'`,
			`UPDATE ledger_posting SET amount = amount - 1 WHERE txn = '$T' AND account = '$C'`,
			`UPDATE ledger_account SET balance = balance + 1 WHERE id = '$A'`, `UPDATE ledger_account SET balance = balance - 1 WHERE id = '$C'`}},
		{"one-sided posting", "sum to", []string{`UPDATE ledger_posting SET amount = 9 WHERE txn = '$L' AND account = '$A'`}},
		{"removed posting", "sum to", []string{`DELETE FROM ledger_posting WHERE txn = '$L' AND account = '$A'`}},
		{"removed transaction", "number 3 follows 1", []string{`DELETE FROM ledger_posting WHERE txn = '$T'`, `DELETE FROM ledger_transaction WHERE id = '$T'`}},
		{"removed before it was sealed", "postings sum to", []string{`DELETE FROM ledger_posting WHERE txn = '$L'`, `DELETE FROM ledger_transaction WHERE id = '$L'`}},
		{"balance", "balance 7, postings sum to", []string{`UPDATE ledger_account SET balance = 7 WHERE id = '$A'`}},
		{"folded balance", "balance 7, postings sum to", []string{`UPDATE ledger_account SET balance = 7 WHERE id = '$C'`}},
		{"memo", "hash of its content", []string{`UPDATE ledger_transaction SET memo = 'gift' WHERE id = '$T'`}},
		{"cause", "hash of its content", []string{`UPDATE ledger_transaction SET cause = 'other' WHERE id = '$T'`}},
		{"owner", "does not have the id", []string{`UPDATE ledger_account SET owner = 'org_mallory' WHERE id = '$A'`}},
		{"currency", "does not have the id", []string{`UPDATE ledger_account SET currency = 'JPY' WHERE id = '$A'`}},
		{"hash", "hash of its content", []string{`UPDATE ledger_transaction SET hash = (SELECT hash FROM ledger_transaction WHERE seq = 1) WHERE id = '$T'`}},
		{"head", "the head says 2", []string{`UPDATE ledger_chain SET seq = 2`}},
		{"truncated chain", "ends at number 2", []string{
			`DELETE FROM ledger_posting WHERE txn = (SELECT id FROM ledger_transaction WHERE seq = 3)`, `DELETE FROM ledger_transaction WHERE seq = 3`}},
		{"reservation above the balance", "below its reservation", []string{
			`UPDATE ledger_account SET may_negative = 1 WHERE id = '$A'`, `UPDATE ledger_account SET reserved = 1000 WHERE id = '$A'`}},
	}
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		mustPost(t, d, line(alice, 10), line(gift, -10))
		second := mustPost(t, d, line(alice, -4), line(carol, 4))
		mustPost(t, d, line(bob, 5), line(gift, -5))
		seal(t, d)
		last := mustPost(t, d, line(alice, -2), line(carol, 2))
		fill := strings.NewReplacer("$A", alice.ID(), "$C", carol.ID(), "$T", second, "$L", last)
		for _, c := range cases {
			if r := verify(t, d); len(r.Faults) > 0 {
				t.Fatal(r.Faults)
			}
			undo := errors.New("undo")
			err := d.Update(ctx, func(tx *db.Tx) error {
				for _, text := range c.sql {
					if _, err := tx.Exec(fill.Replace(text)); err != nil {
						return err
					}
				}
				r, err := ledger.Verify(tx)
				if err == nil && !strings.Contains(strings.Join(r.Faults, "\n"), c.want) {
					t.Errorf("%s: want %q in %q", c.name, c.want, r.Faults)
				}
				return errors.Join(err, undo)
			})
			if !errors.Is(err, undo) || db.IsEngine(err) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}
