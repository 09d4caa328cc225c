package idem

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func sealer(t *testing.T) *secret.Sealer {
	t.Helper()
	s, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func request(t *testing.T, key, body string) *Request {
	t.Helper()
	r, err := New("key_a", key, "POST", "/x?y=1", []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestKey(t *testing.T) {
	for _, bad := range []string{"", "ü", "a\n", strings.Repeat("x", 256)} {
		if _, err := New("p", bad, "POST", "/", nil); !problem.Is(err, problem.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	one := request(t, "k", "b")
	for _, other := range [][3]string{{"PUT", "/x?y=1", "b"}, {"POST", "/x?y=2", "b"}, {"POST", "/x?y=1", "c"}} {
		r, err := New("key_a", "k", other[0], other[1], []byte(other[2]))
		if err != nil || r.Digest == one.Digest {
			t.Errorf("%v has the same digest, or %v", other, err)
		}
	}
}

func TestDo(t *testing.T) {
	dbtest.Each(t, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		s := NewStore(sealer(t))
		runs := 0
		do := func(r *Request, fail error) (answer string, replayed bool, err error) {
			err = d.Update(t.Context(), func(tx *db.Tx) error {
				out, again, err := s.Do(tx, r, func() ([]byte, error) {
					runs++
					return fmt.Appendf(nil, "secret answer %d", runs), fail
				})
				answer, replayed = string(out), again
				return err
			})
			return answer, replayed, err
		}
		if _, _, err := do(request(t, "k", "b"), errors.New("no")); err == nil {
			t.Fatal("the failure is lost")
		}
		first, replayed, err := do(request(t, "k", "b"), nil)
		if err != nil || replayed || first != "secret answer 2" {
			t.Fatal(first, replayed, err)
		}
		if again, replayed, err := do(request(t, "k", "b"), nil); err != nil || !replayed || again != first {
			t.Fatal(again, replayed, err)
		}
		if _, _, err := do(request(t, "k", "other"), nil); !problem.Is(err, problem.Conflict) {
			t.Fatal(err)
		}
		other := request(t, "k", "b")
		other.Principal = "key_b"
		if _, replayed, err := do(other, nil); err != nil || replayed {
			t.Fatal("another principal's key is not its own:", replayed, err)
		}
		err = d.View(t.Context(), func(tx *db.Tx) error {
			var kept []byte
			err := tx.QueryRow(`SELECT answer FROM idempotency WHERE principal = $1`, "key_a").Scan(&kept)
			if strings.Contains(string(kept), "answer") {
				t.Error("the answer lies open")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	c := &clock.Manual{}
	c.Set(now)
	dbtest.EachWith(t, db.Options{Clock: c}, []db.Migrations{Migrations}, func(t *testing.T, d *db.DB) {
		c.Set(now)
		s := NewStore(sealer(t))
		do := func(key string) (replayed bool) {
			err := d.Update(t.Context(), func(tx *db.Tx) (err error) {
				_, replayed, err = s.Do(tx, request(t, key, ""), func() ([]byte, error) { return nil, nil })
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return replayed
		}
		do("k")
		do("l")
		c.Set(now.Add(TTL - time.Second))
		if !do("k") {
			t.Error("forgotten too early")
		}
		c.Set(now.Add(TTL + time.Second))
		if do("k") {
			t.Error("kept too long")
		}
		c.Set(now.Add(3 * TTL))
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			n, err := Sweep(tx)
			if n != 1 {
				t.Errorf("swept %d", n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestOnce sends one request from many at once: its effect happens once and all get its answer.
func TestOnce(t *testing.T) {
	sets := []db.Migrations{Migrations}
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s := NewStore(sealer(t))
		var fresh atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				var replayed bool
				var answer []byte
				err := d.Update(context.WithoutCancel(t.Context()), func(tx *db.Tx) (err error) {
					answer, replayed, err = s.Do(tx, request(t, "k", "b"), func() ([]byte, error) { return []byte("done"), nil })
					return err
				})
				if err != nil || string(answer) != "done" {
					t.Error(string(answer), err)
				}
				if !replayed {
					fresh.Add(1)
				}
			})
		}
		wg.Wait()
		if fresh.Load() != 1 {
			t.Errorf("it happened %d times", fresh.Load())
		}
	})
}
