package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/org"
)

func TestLookupRefuses(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.wants(nil, "auth.key_missing")
		w.wants([]byte("sk-proj-abc"), "auth.key_malformed")
		w.wants([]byte(generate("sk-tg-inf-").Reveal()), "auth.key_unknown")
		w.wants([]byte(generate(bootPrefix).Reveal()), "auth.key_malformed")
	})
}

// TestTwoNodes: what one node changes holds in it at once, and in the other after its next poll.
func TestTwoNodes(t *testing.T) {
	each(t, func(t *testing.T, a *world) {
		b := node(t, a.d, a.c)
		o := a.org("acme", org.Consumer)
		k, cred := a.key(Draft{Org: o.ID})
		k2, cred2 := a.key(Draft{Org: o.ID})
		a.wants(cred, "")
		b.wants(cred, "auth.key_unknown")
		b.refresh()
		b.wants(cred, "")

		_, err := a.orgs.Suspend(a.ctx, by, o.ID, "abuse", 0)
		a.ok(err)
		a.wants(cred, "auth.org_suspended")
		b.wants(cred, "")
		b.refresh()
		b.wants(cred, "auth.org_suspended")
		_, err = b.orgs.Resume(b.ctx, by, o.ID, "", 0)
		a.ok(err)
		b.wants(cred, "")
		a.refresh()
		a.wants(cred, "")

		_, err = b.keys.Revoke(b.ctx, by, k.ID, "", 0)
		a.ok(err)
		b.wants(cred, "auth.key_revoked")
		a.wants(cred, "")
		a.refresh()
		a.wants(cred, "auth.key_revoked")
		a.wants(cred2, "")

		_, sec, err := a.keys.Rotate(a.ctx, by, k2.ID, 0, 0)
		a.ok(err)
		b.refresh()
		b.wants(cred2, "auth.key_expired")
		b.wants([]byte(sec.Reveal()), "")

		// A node that starts later knows the same.
		c := node(t, a.d, a.c)
		c.wants(cred, "auth.key_revoked")
		c.wants(cred2, "auth.key_expired")
		if c.wants([]byte(sec.Reveal()), "").KeyID != k2.ID || c.dir.Len() != 3 {
			t.Fatal(c.dir.Len())
		}
		// After a month it does not remember what ended.
		a.c.Advance(remember + time.Hour)
		c = node(t, a.d, a.c)
		c.wants(cred, "auth.key_unknown")
		c.wants([]byte(sec.Reveal()), "")
	})
}

// TestPartsFollow: a part given to an organisation shows in principals that were handed out before.
func TestPartsFollow(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		_, cred := w.key(Draft{Org: o.ID, Kind: Management, Role: org.Owner})
		p := w.wants(cred, "")
		if Can(p, "product.create", o.ID) {
			t.Fatal("a consumer may create products")
		}
		_, err := w.orgs.Update(w.ctx, by, o.ID, org.Edit{Parts: ptr(org.Consumer | org.Provider)}, 0)
		w.ok(err)
		if !Can(p, "product.create", o.ID) {
			t.Fatal("the part did not reach the principal")
		}
	})
}

// TestNewsOutOfOrder: an older state of a key that arrives late does not undo a newer one.
func TestNewsOutOfOrder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		var late []liveKey
		defer w.keys.watch(func(k liveKey) { late = append(late, k) })()
		var lateOrg []org.State
		defer w.orgs.Watch(func(s org.State) { lateOrg = append(lateOrg, s) })()
		k, cred := w.key(Draft{Org: o.ID})
		_, err := w.keys.Revoke(w.ctx, by, k.ID, "", 0)
		w.ok(err)
		w.dir.keyChanged(late[0])
		w.wants(cred, "auth.key_revoked")

		_, cred = w.key(Draft{Org: o.ID})
		_, err = w.orgs.Update(w.ctx, by, o.ID, org.Edit{}, 0)
		w.ok(err)
		_, err = w.orgs.Suspend(w.ctx, by, o.ID, "x", 0)
		w.ok(err)
		w.dir.orgChanged(lateOrg[0])
		w.wants(cred, "auth.org_suspended")
	})
}

// TestFollow runs the background loop on a tick of the test.
func TestFollow(t *testing.T) {
	each(t, func(t *testing.T, a *world) {
		b := node(t, a.d, a.c)
		tick := make(chan time.Time)
		b.dir.done.Go(func() { b.dir.follow(tick) })
		o := a.org("acme", org.Consumer)
		k, cred := a.key(Draft{Org: o.ID})
		poll := func() { // the second tick is taken once the first is dealt with
			tick <- time.Time{}
			tick <- time.Time{}
		}
		poll()
		b.wants(cred, "")
		_, err := a.keys.Revoke(a.ctx, by, k.ID, "", 0)
		a.ok(err)
		poll()
		b.wants(cred, "auth.key_revoked")
		b.dir.Stop()
		b.dir.Stop()
		if !b.dir.Fresh().Equal(a.c.Now()) {
			t.Fatal(b.dir.Fresh())
		}
	})
	if pollEvery > time.Second {
		t.Fatal("a revocation has to hold everywhere within two seconds")
	}
}

// TestRevocationHoldsWithinTwoSeconds watches the real loop of a second node.
func TestRevocationHoldsWithinTwoSeconds(t *testing.T) {
	each(t, func(t *testing.T, a *world) {
		orgs := org.New(a.d)
		dir := NewDirectory(a.d, orgs, New(a.d, orgs), clock.System{}, nil)
		a.ok(dir.Start(a.ctx))
		defer dir.Stop()
		o := a.org("acme", org.Consumer)
		k, cred := a.key(Draft{Org: o.ID})
		until := func(want error) {
			ctx, cancel := context.WithTimeout(a.ctx, 2*time.Second)
			defer cancel()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				_, err := dir.Lookup(cred)
				if errors.Is(err, want) || err == nil && want == nil {
					return
				}
				select {
				case <-ctx.Done():
					t.Fatalf("still %v after two seconds, want %v", err, want)
				case <-tick.C:
				}
			}
		}
		until(nil)
		_, err := a.keys.Revoke(a.ctx, by, k.ID, "", 0)
		a.ok(err)
		until(errRevoked)
	})
}

func TestLastUse(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		k, cred := w.key(Draft{Org: o.ID})
		used := func() time.Time {
			w.ok(w.dir.flush(w.ctx))
			k, err := w.keys.Get(w.ctx, k.ID)
			w.ok(err)
			return k.LastUsed
		}
		if !used().IsZero() {
			t.Fatal("used before its first use")
		}
		for _, tc := range []struct{ at, want time.Duration }{{0, 0}, {time.Minute, 0}, {6 * time.Minute, 6 * time.Minute}, {7 * time.Minute, 6 * time.Minute}} {
			w.c.Set(t0.Add(tc.at))
			w.refresh()
			w.wants(cred, "")
			w.wants(cred, "")
			if got := used(); !got.Equal(t0.Add(tc.want)) {
				t.Fatalf("at %v: %v", tc.at, got)
			}
		}
		_, err := w.keys.Update(w.ctx, by, k.ID, Edit{Name: ptr("n")}, 0)
		w.ok(err)
		w.wants(cred, "")
		if n := len(w.dir.noted); n != 0 {
			t.Fatal("the edit forgot the last use")
		}
	})
}

// TestLookupsWhileChanging is for the race detector: lookups, edits and polls at once.
func TestLookupsWhileChanging(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		k, cred := w.key(Draft{Org: o.ID})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if p, err := w.dir.Lookup(cred); err != nil || p.KeyID != k.ID || p.Parts() == 0 {
							t.Error(p, err)
							return
						}
					}
				}
			})
		}
		for i := range 20 {
			_, err := w.keys.Update(w.ctx, by, k.ID, Edit{Limits: &Limits{Requests: int64(i)}}, 0)
			w.ok(err)
			w.key(Draft{Org: o.ID})
			w.refresh()
		}
		close(stop)
		wg.Wait()
		if p := w.wants(cred, ""); p.Limits.Requests != 19 {
			t.Fatal(p.Limits)
		}
	})
}

// TestDatabaseAway: lookups go on, and the failure is logged once.
func TestDatabaseAway(t *testing.T) {
	c := clock.NewManual(t0)
	d, err := db.Open(t.Context(), dbtest.SQLiteDSN(t), db.Options{Clock: c, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context(), sets...); err != nil {
		t.Fatal(err)
	}
	w := node(t, d, c)
	var out bytes.Buffer
	w.dir.log = slog.New(slog.NewTextHandler(&out, nil))
	o := w.org("acme", org.Consumer)
	_, cred := w.key(Draft{Org: o.ID})
	tick := make(chan time.Time)
	w.dir.done.Go(func() { w.dir.follow(tick) })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		tick <- time.Time{}
	}
	w.wants(cred, "")
	w.dir.Stop()
	if n := strings.Count(out.String(), "level=ERROR"); n != 1 {
		t.Fatalf("%d errors logged:\n%s", n, out.String())
	}
}

// TestKeyOfNewOrganisation: organisation, member and key made in one transaction work at once.
func TestKeyOfNewOrganisation(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		_, err := w.orgs.PutSetting(w.ctx, by, org.SettingSignUp, []byte(`{"enabled":true,"credit":"1","currency":"USD"}`), 0)
		w.ok(err)
		var cred string
		_, err = w.orgs.SignUp(w.ctx, by, org.SignUpRequest{Email: "a@example.com", Name: "A"}, func(tx *db.Tx, r org.SignUpResult) error {
			_, sec, err := w.keys.CreateTx(tx, audit.Actor{Org: r.Org.ID, User: r.User.ID}, Draft{Kind: Inference, Org: r.Org.ID, Name: "first"})
			cred = sec.Reveal()
			return err
		})
		w.ok(err)
		if p := w.wants([]byte(cred), ""); p.UserID == "" {
			t.Fatalf("%+v", p)
		}
	})
}

// BenchmarkLookup: the cost does not depend on how many keys there are, and nothing is allocated.
func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			dir, creds := filled(b, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := dir.Lookup(creds[i%len(creds)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// filled returns a directory of n keys without a database, and the credentials of some of them.
func filled(b testing.TB, n int) (*Directory, [][]byte) {
	c := clock.NewManual(t0)
	orgs := org.New(nil)
	dir := NewDirectory(nil, orgs, New(nil, orgs), c, nil)
	dir.coarse.Store(1)
	id := db.NewID("org", t0)
	if err := dir.setOrg(org.State{ID: id, Name: "o", Parts: org.Consumer, Rev: 1}); err != nil {
		b.Fatal(err)
	}
	var creds [][]byte
	bt := batch{d: dir}
	for i := range n {
		cred := []byte(generate("sk-tg-inf-").Reveal())
		if len(creds) < 1024 {
			creds = append(creds, cred)
		}
		k := &liveKey{id: db.NewID("key", t0), kind: Inference, org: id, rev: int64(i + 1), secrets: []liveSecret{{hash: hashOf(cred)}}}
		if err := bt.add(k); err != nil {
			b.Fatal(err)
		}
	}
	bt.publish()
	return dir, creds
}

func TestLookupDoesNotAllocate(t *testing.T) {
	dir, creds := filled(t, 10)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := dir.Lookup(creds[3]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
