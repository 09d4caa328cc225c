package idem

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func TestReseal(t *testing.T) {
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		old, lost := secret.Generate().Reveal(), sealer(t)
		ring, err := secret.Parse(old)
		if err != nil {
			t.Fatal(err)
		}
		const n = resealRows + 3
		do := func(s *Store, key string) (answer []byte, replayed bool) {
			t.Helper()
			err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
				answer, replayed, err = s.Do(tx, request(t, key, "b"), func() ([]byte, error) { return []byte("answer to " + key), nil })
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return answer, replayed
		}
		for i := range n {
			do(NewStore(ring), fmt.Sprint("k", i))
		}
		do(NewStore(lost), "lost")
		next, err := secret.Parse(secret.Generate().Reveal() + "\n" + old)
		if err != nil {
			t.Fatal(err)
		}
		s := NewStore(next)
		if got, err := s.Reseal(t.Context(), d); got != n || err != nil {
			t.Fatal(got, err)
		}
		var counts map[string]int64
		if err := d.View(t.Context(), func(tx *db.Tx) (err error) { counts, err = SealedTx(tx); return err }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]int64{next.KeyIDs()[0]: n, lost.KeyIDs()[0]: 1}, counts); diff != "" {
			t.Error(diff)
		}
		if got, again := do(s, "k7"); string(got) != "answer to k7" || !again {
			t.Errorf("%s %v", got, again)
		}
		if got, err := s.Reseal(t.Context(), d); got != 0 || err != nil {
			t.Error(got, err)
		}
	})
}
