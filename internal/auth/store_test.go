package auth

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var (
	sets = []db.Migrations{audit.Migrations, org.Migrations, Migrations}
	by   = audit.System("test")
	t0   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// world is a node: its stores and directory on a database that it may share with others.
type world struct {
	*testing.T
	ctx  context.Context
	d    *db.DB
	c    *clock.Manual
	orgs *org.Store
	keys *Store
	dir  *Directory
}

func node(t *testing.T, d *db.DB, c *clock.Manual) *world {
	t.Helper()
	w := &world{T: t, ctx: t.Context(), d: d, c: c, orgs: org.New(d)}
	w.keys = New(d, w.orgs)
	w.dir = NewDirectory(d, w.orgs, w.keys, c, nil)
	w.refresh()
	return w
}

// each runs fn on a node on each engine.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	c := clock.NewManual(t0)
	dbtest.EachWith(t, db.Options{Clock: c}, sets, func(t *testing.T, d *db.DB) {
		c.Set(t0)
		fn(t, node(t, d, c))
	})
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) refresh() {
	w.Helper()
	w.ok(w.dir.Refresh(w.ctx))
}

func (w *world) org(name string, parts org.Parts) org.Org {
	w.Helper()
	o, err := w.orgs.Create(w.ctx, by, org.Draft{Name: name, Parts: parts})
	w.ok(err)
	return o
}

func (w *world) member(orgID, name string, role org.Role) org.Member {
	w.Helper()
	m, err := w.orgs.AddMember(w.ctx, by, orgID, org.Invite{Email: name + "@example.com", Name: name, Role: role})
	w.ok(err)
	return m
}

func (w *world) key(d Draft) (Key, []byte) {
	w.Helper()
	if d.Name == "" {
		d.Name = "k"
	}
	if d.Kind == "" {
		d.Kind = Inference
	}
	k, sec, err := w.keys.Create(w.ctx, by, d)
	w.ok(err)
	return k, []byte(sec.Reveal())
}

// wants looks the credential up: id is of the error, "" for success.
func (w *world) wants(cred []byte, id string) *Principal {
	w.Helper()
	p, err := w.dir.Lookup(cred)
	if id == "" {
		w.ok(err)
		return p
	}
	wantID(w.T, err, id)
	return nil
}

func TestKeyLife(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		limits := Limits{Models: []string{"gpt-*"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Requests: 60, Tokens: 1000, Concurrency: 4}
		k, cred := w.key(Draft{Org: o.ID, Name: "app", Limits: limits, Budgets: []string{"bud_1"}, Expires: t0.Add(time.Hour)})
		p := w.wants(cred, "")
		if p.KeyID != k.ID || p.OrgID != o.ID || p.OrgName != "acme" || p.Kind != Inference || p.KeyUUID.ID("key") != k.ID || p.OrgUUID.ID("org") != o.ID ||
			!p.Parts().Has(org.Consumer) || !cmp.Equal(p.Budgets, []string{"bud_1"}) {
			t.Fatalf("%+v", p)
		}
		if diff := cmp.Diff(&limits, p.Limits, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Fatal(diff)
		}
		got, err := w.keys.Get(w.ctx, k.ID)
		if diff := cmp.Diff(k, got, cmp.AllowUnexported(Secret{}), cmpopts.EquateComparable(netip.Prefix{})); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		text := string(cred)
		if s := k.Secrets[0]; s.Prefix != text[:14] || s.LastFour != text[len(text)-4:] || k.Version != 1 {
			t.Fatalf("%+v", k)
		}

		// An edit replaces the principal, and needs the present version where one is given.
		_, err = w.keys.Update(w.ctx, by, k.ID, Edit{Name: ptr("x")}, 7)
		wantID(t, err, "auth.stale")
		k, err = w.keys.Update(w.ctx, by, k.ID, Edit{Name: ptr("app2"), Limits: &Limits{}, Budgets: &[]string{}, Expires: &time.Time{}}, 1)
		w.ok(err)
		if k.Version != 2 || k.Name != "app2" || !k.Expires.IsZero() {
			t.Fatalf("%+v", k)
		}
		if q := w.wants(cred, ""); q == p || q.Limits != nil || q.Budgets != nil || p.Limits == nil {
			t.Fatal("the principal changed in place, or not at all")
		}

		// Rotation: both secrets for the overlap, one principal, then the new one alone.
		w.c.Advance(time.Minute)
		k, sec, err := w.keys.Rotate(w.ctx, by, k.ID, time.Hour, 0)
		w.ok(err)
		cred2 := []byte(sec.Reveal())
		if w.wants(cred, "") != w.wants(cred2, "") || len(k.Secrets) != 2 || k.Secrets[0].LastFour != string(cred2[len(cred2)-4:]) {
			t.Fatalf("%+v", k)
		}
		w.c.Advance(time.Hour - time.Microsecond)
		w.wants(cred, "")
		w.c.Advance(time.Microsecond)
		w.wants(cred, "auth.key_expired")
		w.wants(cred2, "")
		w.c.Advance(time.Minute)
		_, sec, err = w.keys.Rotate(w.ctx, by, k.ID, 0, 0)
		w.ok(err)
		w.wants(cred2, "auth.key_expired")
		cred3 := []byte(sec.Reveal())
		w.wants(cred3, "")
		_, _, err = w.keys.Rotate(w.ctx, by, k.ID, -1, 0)
		wantID(t, err, "auth.overlap")

		w.c.Advance(time.Minute)
		k, err = w.keys.Revoke(w.ctx, by, k.ID, "lost", k.Version+1)
		w.ok(err)
		if k.State != Revoked || k.Reason != "lost" || k.Revoked.IsZero() {
			t.Fatalf("%+v", k)
		}
		w.wants(cred3, "auth.key_revoked")
		_, err = w.keys.Revoke(w.ctx, by, k.ID, "", 0)
		wantID(t, err, "auth.already_revoked")
		_, err = w.keys.Get(w.ctx, "key_none")
		wantID(t, err, "auth.key_not_found")

		items, _, err := audit.New(w.d, nil).List(w.ctx, audit.Filter{Object: k.ID}, "", 20)
		w.ok(err)
		if len(items) != 5 || items[0].Action != "key.revoke" || items[0].Reason != "lost" {
			t.Fatalf("%+v", items)
		}
		for _, it := range items {
			for _, c := range it.Changes {
				if strings.Contains(string(c.To), "sk-tg") {
					t.Fatalf("secret in the audit record: %s", c.To)
				}
			}
		}
	})
}

func TestExpiry(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		k, cred := w.key(Draft{Org: o.ID, Expires: t0.Add(time.Minute)})
		w.wants(cred, "")
		w.c.Advance(time.Minute)
		w.wants(cred, "auth.key_expired")
		_, err := w.keys.Update(w.ctx, by, k.ID, Edit{Name: ptr("x")}, 0)
		wantID(t, err, "auth.expired")
		_, err = w.keys.Update(w.ctx, by, k.ID, Edit{Expires: ptr(w.c.Now().Add(time.Minute))}, 0)
		w.ok(err)
		w.wants(cred, "")
	})
}

func TestDraftsAreChecked(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		ann, bob := w.member(o.ID, "ann", org.Owner), w.member(o.ID, "bob", org.Developer)
		for _, tc := range []struct {
			id string
			d  Draft
		}{
			{"auth.key_invalid", Draft{Kind: "x", Name: "k"}},
			{"auth.key_invalid", Draft{Kind: Inference, Name: " "}},
			{"auth.key_invalid", Draft{Kind: Inference, Name: "a\nb"}},
			{"auth.key_invalid", Draft{Kind: Inference, Name: "k", Role: org.Owner}},
			{"auth.key_invalid", Draft{Kind: Inference, Name: "k", Expires: t0}},
			{"auth.key_invalid", Draft{Kind: Inference, Name: "k", Budgets: []string{"a", "a"}}},
			{"auth.limits", Draft{Kind: Inference, Name: "k", Limits: Limits{Requests: -1}}},
			{"org.role", Draft{Kind: Management, Name: "k"}},
			{"auth.key_role", Draft{Kind: Management, Name: "k", Role: org.Admin, User: bob.User}},
			{"org.member_unknown", Draft{Kind: Inference, Name: "k", User: "usr_none"}},
			{"org.unknown", Draft{Kind: Inference, Name: "k", Org: "org_none"}},
		} {
			if tc.d.Org == "" {
				tc.d.Org = o.ID
			}
			_, _, err := w.keys.Create(w.ctx, by, tc.d)
			wantID(t, err, tc.id)
		}
		// Who makes a key is responsible for it where a member, and never where not.
		k, _, err := w.keys.Create(w.ctx, audit.Actor{User: ann.User}, Draft{Kind: Management, Org: o.ID, Name: "k", Role: org.Owner})
		w.ok(err)
		if k.User != ann.User || k.CreatedBy != ann.User {
			t.Fatalf("%+v", k)
		}
		other := w.org("other", org.Consumer)
		k, _, err = w.keys.Create(w.ctx, audit.Actor{User: ann.User}, Draft{Kind: Inference, Org: other.ID, Name: "k"})
		w.ok(err)
		if k.User != "" || k.CreatedBy != ann.User {
			t.Fatalf("%+v", k)
		}
	})
}

func TestListKeys(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o, other := w.org("acme", org.Consumer), w.org("other", org.Consumer)
		w.key(Draft{Org: other.ID})
		var made []string
		for range 5 {
			w.c.Advance(time.Millisecond)
			k, _ := w.key(Draft{Org: o.ID})
			made = append(made, k.ID)
		}
		_, _, err := w.keys.Rotate(w.ctx, by, made[1], time.Hour, 0)
		w.ok(err)
		_, err = w.keys.Revoke(w.ctx, by, made[4], "", 0)
		w.ok(err)
		var got []string
		for after, more := "", true; more; {
			var items []Key
			items, more, err = w.keys.List(w.ctx, Filter{Org: o.ID, Kind: Inference}, after, 2)
			w.ok(err)
			for _, k := range items {
				got, after = append(got, k.ID), k.ID
			}
		}
		if diff := cmp.Diff(made, got); diff != "" {
			t.Fatal(diff)
		}
		items, _, err := w.keys.List(w.ctx, Filter{Org: o.ID, State: Active}, "", 100)
		w.ok(err)
		if len(items) != 4 || len(items[1].Secrets) != 2 {
			t.Fatalf("%+v", items)
		}
		if items, _, err = w.keys.List(w.ctx, Filter{}, "", 100); err != nil || len(items) != 6 {
			t.Fatal(len(items), err)
		}
	})
}

func TestMemberDeparts(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		ann, bob, eve := w.member(o.ID, "ann", org.Owner), w.member(o.ID, "bob", org.Developer), w.member(o.ID, "eve", org.Admin)
		as := audit.Actor{Org: o.ID, User: eve.User}
		mk := func(d Draft) (Key, []byte) {
			d.Org, d.Name = o.ID, "k"
			k, sec, err := w.keys.Create(w.ctx, as, d)
			w.ok(err)
			return k, []byte(sec.Reveal())
		}
		_, credOwn := mk(Draft{Kind: Inference})
		forAnn, credAnn := mk(Draft{Kind: Inference, User: ann.User})
		_, credMgt := mk(Draft{Kind: Management, Role: org.Admin})
		_, credBob := w.key(Draft{Org: o.ID, User: bob.User})

		keys, err := w.keys.MemberKeys(w.ctx, o.ID, eve.User)
		w.ok(err)
		if len(keys) != 3 {
			t.Fatal(keys)
		}
		_, err = w.keys.RemoveMember(w.ctx, by, o.ID, eve.User, eve.User, 0)
		wantID(t, err, "org.member_unknown")
		touched, err := w.keys.RemoveMember(w.ctx, by, o.ID, eve.User, "", 1)
		w.ok(err)
		if len(touched) != 3 {
			t.Fatal(touched)
		}
		w.wants(credOwn, "auth.key_revoked")
		w.wants(credMgt, "auth.key_revoked")
		w.wants(credAnn, "")
		w.wants(credBob, "")
		departed, _, err := w.keys.List(w.ctx, Filter{Org: o.ID, Departed: true}, "", 10)
		w.ok(err)
		if len(departed) != 3 {
			t.Fatal(departed)
		}
		k, _, err := w.keys.Rotate(w.ctx, by, forAnn.ID, 0, 0)
		w.ok(err)
		if k.Departed {
			t.Fatal("still departed after a rotation")
		}
	})
}

func TestMemberHandsOver(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		w.member(o.ID, "ann", org.Owner)
		bob, eve := w.member(o.ID, "bob", org.Developer), w.member(o.ID, "eve", org.Admin)
		_, cred := w.key(Draft{Org: o.ID, User: eve.User})
		_, mgt := w.key(Draft{Org: o.ID, Kind: Management, Role: org.Admin, User: eve.User})
		touched, err := w.keys.RemoveMember(w.ctx, by, o.ID, eve.User, bob.User, 0)
		w.ok(err)
		if len(touched) != 2 || !touched[0].Departed || touched[0].User != bob.User {
			t.Fatalf("%+v", touched)
		}
		if p := w.wants(cred, ""); p.UserID != bob.User {
			t.Fatalf("%+v", p)
		}
		if p := w.wants(mgt, ""); p.Role != org.Developer {
			t.Fatalf("%+v", p)
		}
	})
}

func TestMemberChangesRole(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		o := w.org("acme", org.Consumer)
		w.member(o.ID, "ann", org.Owner)
		eve := w.member(o.ID, "eve", org.Admin)
		_, cred := w.key(Draft{Org: o.ID, Kind: Management, Role: org.Admin, User: eve.User})
		_, low := w.key(Draft{Org: o.ID, Kind: Management, Role: org.Viewer, User: eve.User})
		m, lowered, err := w.keys.ChangeMember(w.ctx, by, o.ID, eve.User, org.Billing, 0)
		w.ok(err)
		if m.Role != org.Billing || len(lowered) != 1 || w.wants(cred, "").Role != org.Billing || w.wants(low, "").Role != org.Viewer {
			t.Fatal(m, lowered)
		}
	})
}

func TestBootstrap(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		in := Setup{Org: "house", TitleEN: "House", TitleZH: "平台", Email: "op@example.com", Name: "Op"}
		late, err := w.keys.NewBootstrap(w.ctx, time.Minute)
		w.ok(err)
		w.c.Advance(time.Minute)
		one, err := w.keys.NewBootstrap(w.ctx, time.Hour)
		w.ok(err)
		two, err := w.keys.NewBootstrap(w.ctx, time.Hour)
		w.ok(err)
		for _, bad := range []string{"", "tgboot-x", late.Reveal(), generate(bootPrefix).Reveal()} {
			_, err := w.keys.Bootstrap(w.ctx, by, []byte(bad), in)
			wantID(t, err, "auth.bootstrap_token")
		}
		_, err = w.keys.Bootstrap(w.ctx, by, []byte(one.Reveal()), Setup{Org: "house", Email: "no address"})
		wantID(t, err, "org.email") // and the token is not used up

		var wg sync.WaitGroup
		var made atomic.Int64
		var founding Founding
		for i := range 8 {
			wg.Go(func() {
				token := one
				if i%2 == 1 {
					token = two
				}
				f, err := w.keys.Bootstrap(context.Background(), by, []byte(token.Reveal()), in)
				if err == nil {
					made.Add(1)
					founding = f
				} else if !problem.Is(err, problem.Conflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Fatalf("%d operators", made.Load())
		}
		p := w.wants([]byte(founding.Secret.Reveal()), "")
		if p.Role != org.Owner || !p.Parts().Has(org.Operator) || p.UserID != founding.Member.User || !Can(p, "credit.grant", "org_x") {
			t.Fatalf("%+v", p)
		}
		_, err = w.keys.NewBootstrap(w.ctx, time.Hour)
		wantID(t, err, "auth.set_up")
	})
}
