package org

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

var (
	sets = []db.Migrations{audit.Migrations, Migrations}
	by   = audit.System("test")
)

func ptr[T any](v T) *T { return &v }

// wantID fails unless err is the problem of the id.
func wantID(t *testing.T, err error, id string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.ID != id {
		t.Fatalf("got %v, want %s", err, id)
	}
}

func create(t *testing.T, s *Store, name string, parts Parts) Org {
	t.Helper()
	o, err := s.Create(t.Context(), by, Draft{Name: name, TitleEN: "Acme", TitleZH: "顶点", Parts: parts})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func actions(t *testing.T, d *db.DB, object string) (out []string) {
	t.Helper()
	items, _, err := audit.New(d, nil).List(t.Context(), audit.Filter{Object: object}, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, it := range items {
		out = append(out, it.Action)
	}
	return out
}

func TestOrganisations(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC))
	dbtest.EachWith(t, db.Options{Clock: c}, sets, func(t *testing.T, d *db.DB) {
		s, ctx := New(d), t.Context()
		var seen []State
		defer s.Watch(func(st State) { seen = append(seen, st) })()
		o := create(t, s, "acme", Provider|Consumer)
		c.Advance(time.Second)
		_, err := s.Create(ctx, by, Draft{Name: "acme", Parts: Consumer})
		wantID(t, err, "org.name_taken")

		got, err := s.Get(ctx, o.ID)
		if diff := cmp.Diff(o, got); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		if got, err = s.ByName(ctx, "acme"); err != nil || got.ID != o.ID {
			t.Fatal(got, err)
		}
		_, err = s.Get(ctx, "org_x")
		wantID(t, err, "org.unknown")

		o2, err := s.Update(ctx, by, o.ID, Edit{TitleEN: ptr("Acme Ltd")}, o.Version)
		if err != nil || o2.TitleEN != "Acme Ltd" || o2.TitleZH != "顶点" || o2.Version != 2 || !o2.Updated.After(o.Updated) {
			t.Fatalf("%+v %v", o2, err)
		}
		_, err = s.Update(ctx, by, o.ID, Edit{TitleEN: ptr("x")}, o.Version)
		wantID(t, err, "org.stale")
		if !problem.Is(err, problem.Precondition) {
			t.Fatal(err)
		}
		_, err = s.Update(ctx, by, o.ID, Edit{TitleEN: ptr("a\nb")}, 0)
		wantID(t, err, "org.text")

		_, err = s.Suspend(ctx, by, o.ID, " ", 0)
		wantID(t, err, "org.reason")
		sus, err := s.Suspend(ctx, by, o.ID, "abuse", 0)
		if err != nil || sus.State != Suspended || sus.Reason != "abuse" {
			t.Fatalf("%+v %v", sus, err)
		}
		if items, _, err := s.List(ctx, Filter{State: Suspended}, "", 10); err != nil || len(items) != 1 {
			t.Fatal(items, err)
		}
		if res, err := s.Resume(ctx, by, o.ID, "sorted out", 0); err != nil || res.State != Active || res.Reason != "" {
			t.Fatalf("%+v %v", res, err)
		}
		if len(seen) != 4 || !seen[2].Suspended || seen[3].Suspended || seen[3].Rev <= seen[2].Rev {
			t.Fatalf("%+v", seen)
		}
		var since []State
		err = d.View(ctx, func(tx *db.Tx) (err error) { since, err = StatesSince(tx, 0, 10); return err })
		if diff := cmp.Diff(seen[3:], since); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
		if got := actions(t, d, o.ID); len(got) != 4 {
			t.Fatal(got)
		}
	})
}

func TestOperatorIsProtected(t *testing.T) {
	d := dbtest.SQLite(t, sets)
	s := New(d)
	has := func() (ok bool) {
		if err := d.Update(t.Context(), func(tx *db.Tx) (err error) { ok, err = HasOperator(tx, true); return err }); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if has() {
		t.Fatal("no operator yet")
	}
	o := create(t, s, "house", Operator|Consumer)
	if !has() {
		t.Fatal("operator not seen")
	}
	_, err := s.Suspend(t.Context(), by, o.ID, "x", 0)
	wantID(t, err, "org.operator_active")
	_, err = s.Update(t.Context(), by, o.ID, Edit{Parts: ptr(Consumer)}, 0)
	wantID(t, err, "org.operator_stays")
}

func TestListPages(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s := New(d)
		for i := range 5 {
			create(t, s, fmt.Sprintf("p%d", i), Provider|Consumer)
			create(t, s, fmt.Sprintf("c%d", i), Consumer)
		}
		var names []string
		for after, more := "", true; more; {
			var items []Org
			var err error
			if items, more, err = s.List(t.Context(), Filter{Parts: Provider, State: Active}, after, 2); err != nil {
				t.Fatal(err)
			}
			for _, o := range items {
				names, after = append(names, o.Name), o.ID
			}
		}
		if len(names) != 5 {
			t.Fatal(names)
		}
	})
}

func TestBadInput(t *testing.T) {
	d := dbtest.SQLite(t, sets)
	s := New(d)
	for _, name := range []string{"", "A", "a_b", "-a", "a-", "a b", "é", string(make([]byte, 70))} {
		_, err := s.Create(t.Context(), by, Draft{Name: name, Parts: Consumer})
		wantID(t, err, "org.name")
	}
	for _, p := range []Parts{0, 1 << 7} {
		_, err := s.Create(t.Context(), by, Draft{Name: "a", Parts: p})
		wantID(t, err, "org.no_parts")
	}
	for _, names := range [][]string{{"vendor"}, {"provider", "provider"}} {
		_, err := ParseParts(names)
		wantID(t, err, "org.parts")
	}
	if p, err := ParseParts([]string{"consumer", "provider"}); err != nil || p != Provider|Consumer {
		t.Fatal(p, err)
	}
	o := create(t, s, "a", Consumer)
	_, err := s.AddMember(t.Context(), by, o.ID, Invite{Email: "a@b.example", Role: "boss"})
	wantID(t, err, "org.role")
	_, err = s.AddMember(t.Context(), by, "org_none", Invite{Email: "a@b.example", Role: Owner})
	wantID(t, err, "org.unknown")
	_, err = s.AddMember(t.Context(), by, o.ID, Invite{User: "usr_none", Role: Owner})
	wantID(t, err, "org.user_unknown")
}

func TestNormalEmail(t *testing.T) {
	for in, want := range map[string]string{
		"Ann@Example.COM": "ann@example.com", "a.b+x@example.com": "a.b+x@example.com",
		"A.n.n+spam@gmail.com": "ann@gmail.com", "ann@googlemail.com": "ann@gmail.com",
		"a.n+x@outlook.com": "a.n@outlook.com", "小明@example.cn": "小明@example.cn",
		"": "", "a": "", "a@b": "", "@b.c": "", "a b@c.de": "", "Ann <ann@example.com>": "", "a@b.c\n": "", "+x@gmail.com": "",
		"a@例子.cn": "", "a@b.": "", `"a b"@c.de`: "", "a@[1.2.3.4]": "",
	} {
		got, _, err := NormalEmail(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v, want %q", in, got, err, want)
		}
	}
}

func TestMembers(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s, ctx := New(d), t.Context()
		o := create(t, s, "acme", Consumer)
		ann, err := s.AddMember(ctx, by, o.ID, Invite{Email: "ann@example.com", Name: "Ann", Role: Owner})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.AddMember(ctx, by, o.ID, Invite{Email: "Ann@example.com", Role: Viewer})
		wantID(t, err, "org.member_exists")
		bob, err := s.AddMember(ctx, by, o.ID, Invite{Email: "bob@example.com", Name: "Bob", Role: Developer})
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.GetMember(ctx, o.ID, bob.User)
		got.Created, got.Updated, bob.Created, bob.Updated = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if diff := cmp.Diff(bob, got); err != nil || diff != "" {
			t.Fatal(err, diff)
		}

		change := func(user string, role Role, version int64) error {
			return d.Update(ctx, func(tx *db.Tx) error { _, err := ChangeMemberTx(tx, by, o.ID, user, role, version); return err })
		}
		remove := func(user string, version int64) error {
			return d.Update(ctx, func(tx *db.Tx) error { _, err := RemoveMemberTx(tx, by, o.ID, user, version); return err })
		}
		wantID(t, change(ann.User, Admin, 0), "org.last_owner")
		wantID(t, remove(ann.User, 0), "org.last_owner")
		wantID(t, change(bob.User, Admin, 7), "org.stale")
		wantID(t, remove(bob.User, 7), "org.stale")
		wantID(t, remove("usr_none", 0), "org.member_unknown")
		if err := change(bob.User, Owner, 1); err != nil {
			t.Fatal(err)
		}
		if items, more, err := s.ListMembers(ctx, o.ID, "", 1); err != nil || len(items) != 1 || !more {
			t.Fatal(items, more, err)
		}
		if items, _, err := s.List(ctx, Filter{User: bob.User}, "", 10); err != nil || len(items) != 1 {
			t.Fatal(items, err)
		}

		// Two owners leave at once: one of them stays.
		var wg sync.WaitGroup
		var left atomic.Int64
		for _, user := range []string{ann.User, bob.User} {
			wg.Go(func() {
				if err := remove(user, 0); err == nil {
					left.Add(1)
				}
			})
		}
		wg.Wait()
		if left.Load() != 1 {
			t.Fatalf("%d left", left.Load())
		}
	})
}

func TestUsers(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s, ctx := New(d), t.Context()
		var ann, bob User
		err := d.Update(ctx, func(tx *db.Tx) (err error) {
			if ann, err = CreateUserTx(tx, by, "ann@gmail.com", "Ann"); err == nil {
				bob, err = CreateUserTx(tx, by, "bob@example.com", "Bob")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Update(ctx, func(tx *db.Tx) error { _, err := CreateUserTx(tx, by, "a.n.n+1@googlemail.com", "x"); return err })
		wantID(t, err, "org.email_taken")
		_, err = s.UpdateUser(ctx, by, bob.ID, UserEdit{Email: ptr("A.nn@gmail.com")}, 0)
		wantID(t, err, "org.email_taken")
		_, err = s.UpdateUser(ctx, by, bob.ID, UserEdit{Name: ptr("Rob")}, 3)
		wantID(t, err, "org.stale")
		u, err := s.UpdateUser(ctx, by, ann.ID, UserEdit{Email: ptr("a.nn@gmail.com"), Name: ptr("Anne")}, 1)
		if err != nil || u.Version != 2 {
			t.Fatal(u, err)
		}
		if got, err := s.GetUser(ctx, ann.ID); err != nil || got.Email != "a.nn@gmail.com" || got.Name != "Anne" {
			t.Fatal(got, err)
		}
		items, more, err := s.ListUsers(ctx, "", 1)
		if err != nil || len(items) != 1 || !more {
			t.Fatal(items, more, err)
		}
		if items, more, err = s.ListUsers(ctx, items[0].ID, 1); err != nil || len(items) != 1 || more {
			t.Fatal(items, more, err)
		}
	})
}

func TestSettings(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s, ctx := New(d), t.Context()
		auto := func() (on bool, err error) {
			err = d.View(ctx, func(tx *db.Tx) error { on, err = AutoSubscribeTx(tx); return err })
			return on, err
		}
		if on, err := auto(); err != nil || !on {
			t.Fatal(on, err)
		}
		st, err := s.PutSetting(ctx, by, SettingAutoSubscribe, []byte(" false "), 0)
		if err != nil || st.Version != 1 {
			t.Fatal(st, err)
		}
		if on, err := auto(); err != nil || on {
			t.Fatal(on, err)
		}
		_, err = s.PutSetting(ctx, by, SettingAutoSubscribe, []byte("true"), 9)
		wantID(t, err, "org.stale")
		for _, bad := range []string{"1", `"x"`, "true false", "{", ""} {
			_, err = s.PutSetting(ctx, by, SettingAutoSubscribe, []byte(bad), 0)
			wantID(t, err, "org.setting_value")
		}
		for bad, id := range map[string]string{
			`{"enabled":true,"credit":"-1","currency":"USD"}`:                    "org.signup_credit",
			`{"enabled":true,"credit":"1","currency":"usd"}`:                     "org.signup_credit",
			`{"enabled":true,"credit":"1","currency":"USD","per_ip_per_day":-1}`: "org.signup_limit",
			`{"enabled":true,"creditt":"1"}`:                                     "org.setting_value",
		} {
			_, err = s.PutSetting(ctx, by, SettingSignUp, []byte(bad), 0)
			wantID(t, err, id)
		}
		_, err = s.PutSetting(ctx, by, SettingCommission, []byte("1000001"), 0)
		wantID(t, err, "org.commission")
		_, err = s.PutSetting(ctx, by, "nope", []byte("1"), 0)
		wantID(t, err, "org.setting_unknown")
		all, err := s.ListSettings(ctx)
		if err != nil || len(all) != 3 || all[0].Name != SettingAutoSubscribe || all[1].Version != 0 {
			t.Fatal(all, err)
		}
		err = d.Update(ctx, func(tx *db.Tx) error {
			if v, err := NoteTx(tx, "n"); err != nil || v != "" {
				t.Error(v, err)
			}
			for _, v := range []string{"a", "b"} {
				if err := SetNoteTx(tx, "n", v); err != nil {
					return err
				}
			}
			v, err := NoteTx(tx, "n")
			if v != "b" {
				t.Error(v)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func openSignUp(t *testing.T, s *Store, policy string) {
	t.Helper()
	if _, err := s.PutSetting(t.Context(), by, SettingSignUp, []byte(policy), 0); err != nil {
		t.Fatal(err)
	}
}

func TestSignUpLimits(t *testing.T) {
	start := time.Date(2026, 1, 2, 23, 0, 0, 0, time.UTC)
	c := clock.NewManual(start)
	dbtest.EachWith(t, db.Options{Clock: c}, sets, func(t *testing.T, d *db.DB) {
		c.Set(start)
		s, ctx := New(d), t.Context()
		up := func(email, ip string) (SignUpResult, error) {
			return s.SignUp(ctx, by, SignUpRequest{Email: email, Name: "N", Remote: netip.MustParseAddr(ip)}, nil)
		}
		_, err := up("a@a.example", "192.0.2.1")
		wantID(t, err, "org.signup_off")
		openSignUp(t, s, `{"enabled":true,"credit":"5.00","currency":"USD","per_ip_per_day":2,"per_email_domain_per_day":3,"per_day":6,"public_domains":["gmail.com"]}`)

		res, err := up("a@a.example", "192.0.2.1")
		if err != nil || res.Policy.Credit != "5.00" || res.Member.Role != Owner || res.Org.Parts != Consumer {
			t.Fatalf("%+v %v", res, err)
		}
		_, err = up("A@a.example", "192.0.2.1")
		wantID(t, err, "org.email_taken") // and does not count
		if _, err = up("b@a.example", "::ffff:192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		_, err = up("c@b.example", "192.0.2.1")
		wantID(t, err, "org.signup_limited")
		if p := problem.As(err); p.RetryAfter != time.Hour {
			t.Fatal(p.RetryAfter)
		}
		if _, err = up("c@a.example", "2001:db8::1"); err != nil {
			t.Fatal(err)
		}
		_, err = up("d@a.example", "2001:db8::2")
		wantID(t, err, "org.signup_limited") // the domain
		if _, err = up("d@gmail.com", "2001:db8::2"); err != nil {
			t.Fatal(err)
		}
		_, err = up("e@gmail.com", "2001:db8::ffff")
		wantID(t, err, "org.signup_limited") // the /64
		for i, ip := range []string{"192.0.2.2", "192.0.2.3"} {
			if _, err = up(fmt.Sprintf("f%d@gmail.com", i), ip); err != nil {
				t.Fatal(err)
			}
		}
		_, err = up("g@gmail.com", "192.0.2.4")
		wantID(t, err, "org.signup_limited") // all of the day
		c.Advance(time.Hour)
		if _, err = up("g@gmail.com", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		var salts int64
		err = d.View(ctx, func(tx *db.Tx) error { return tx.QueryRow(`SELECT COUNT(*) FROM org_signup_salt`).Scan(&salts) })
		if err != nil || salts != 1 {
			t.Fatal(salts, err)
		}
	})
}

// TestSignUpAtOnce: many sign-ups from one address get exactly what the limit allows.
func TestSignUpAtOnce(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		s := New(d)
		openSignUp(t, s, `{"enabled":true,"credit":"5","currency":"USD","per_ip_per_day":5,"per_email_domain_per_day":0,"per_day":0,"public_domains":[]}`)
		var wg sync.WaitGroup
		var made, granted atomic.Int64
		for i := range 24 {
			wg.Go(func() {
				_, err := s.SignUp(context.Background(), by, SignUpRequest{Email: fmt.Sprintf("u%d@x.example", i), Name: "N",
					Remote: netip.MustParseAddr("192.0.2.1")}, func(tx *db.Tx, r SignUpResult) error {
					tx.AfterCommit(func() { granted.Add(1) })
					return nil
				})
				if err == nil {
					made.Add(1)
				} else if !problem.Is(err, problem.TooMany) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made.Load() != 5 || granted.Load() != 5 {
			t.Fatalf("%d made, %d granted", made.Load(), granted.Load())
		}
	})
}

func TestSignUpFailsWithItsGrant(t *testing.T) {
	d := dbtest.SQLite(t, sets)
	s := New(d)
	openSignUp(t, s, `{"enabled":true,"credit":"5","currency":"USD","per_ip_per_day":1,"per_email_domain_per_day":1,"per_day":1,"public_domains":[]}`)
	r := SignUpRequest{Email: "a@x.example", Name: "N", OrgName: "anns", Title: "Ann's", Remote: netip.MustParseAddr("192.0.2.1")}
	boom := errors.New("no money")
	if _, err := s.SignUp(t.Context(), by, r, func(*db.Tx, SignUpResult) error { return boom }); !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if items, _, _ := s.ListUsers(t.Context(), "", 10); len(items) != 0 {
		t.Fatal("the user stayed")
	}
	if res, err := s.SignUp(t.Context(), by, r, nil); err != nil || res.Org.Name != "anns" || res.Org.TitleEN != "Ann's" {
		t.Fatal(res, err)
	}
}
