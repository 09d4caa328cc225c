package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

var sets = []db.Migrations{Migrations}

func record(t *testing.T, d *db.DB, entries ...Entry) {
	t.Helper()
	for _, e := range entries {
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return Record(tx, e) }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDifference(t *testing.T) {
	type limits struct {
		RPM int64 `json:"rpm"`
	}
	type thing struct {
		Name     string   `json:"name"`
		Limits   limits   `json:"limits"`
		Models   []string `json:"models"`
		APIKey   string   `json:"api_key"`
		Amount   int64    `json:"amount"`
		Document string   `json:"document"`
	}
	const key = "sk-tg-inf-abcdefgh"
	long := strings.Repeat("x", maxValue)
	for _, tc := range []struct {
		name          string
		before, after any
		want          string
	}{
		{"nothing", nil, nil, `[]`},
		{"same", thing{Name: "a"}, thing{Name: "a"}, `[]`},
		{"created", nil, thing{Name: "a", Limits: limits{5}}, `[{"field":"amount","from":null,"to":0},{"field":"limits.rpm","from":null,"to":5},{"field":"name","from":null,"to":"a"}]`},
		{"removed", map[string]any{"b": true}, nil, `[{"field":"b","from":true,"to":null}]`},
		{"nested", thing{Limits: limits{5}}, thing{Limits: limits{6}}, `[{"field":"limits.rpm","from":5,"to":6}]`},
		{"list", thing{Models: []string{"a"}}, thing{Models: []string{"a", "b"}}, `[{"field":"models","from":["a"],"to":["a","b"]}]`},
		{"exact integers", thing{Amount: 9007199254740993}, thing{Amount: 9007199254740992}, `[{"field":"amount","from":9007199254740993,"to":9007199254740992}]`},
		{"secret by name", thing{APIKey: "one"}, thing{APIKey: "two"}, `[{"field":"api_key","from":"[redacted]","to":"[redacted]"}]`},
		{"secret by shape", thing{}, thing{Name: key}, `[{"field":"name","from":null,"to":"[redacted]"}]`},
		{"secret in a list", nil, map[string]any{"l": []string{key}}, `[{"field":"l","from":null,"to":"[redacted]"}]`},
		{"long", thing{}, thing{Document: long}, `[{"field":"document","from":null,"to":{"bytes":4098,"sha256":"` + "…" + `"}}]`},
	} {
		got, err := difference(tc.before, tc.after)
		if err != nil {
			t.Fatal(err)
		}
		s := string(got)
		if i := strings.Index(s, `"sha256":"`); i > 0 {
			s = s[:i+10] + "…" + s[i+74:]
		}
		if s != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, s, tc.want)
		}
	}
	if _, err := difference(nil, func() {}); err == nil {
		t.Error("a state that does not encode was taken")
	}
}

func TestRecordListVerify(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		l := New(d, nil)
		who := Actor{Org: "org_o", User: "usr_1", Key: "key_1", Request: "evt_9", Remote: netip.MustParseAddr("::ffff:192.0.2.7")}
		record(t, d,
			Entry{Actor: who, Org: "org_a", Action: "key.create", Object: "key_2", After: map[string]any{"name": "n"}},
			Entry{Actor: System("demo"), Org: "org_b", Action: "org.create", Object: "org_b"},
			Entry{Actor: who, Org: "org_a", Action: "key.revoke", Object: "key_2", Reason: "lost", Before: map[string]any{"state": "active"}, After: map[string]any{"state": "revoked"}},
			Entry{Actor: who, Action: "settings.write", Object: "signup"})
		rep, err := l.Verify(t.Context())
		if err != nil || !rep.OK || rep.Waiting != 4 || rep.Entries != 0 {
			t.Fatalf("%+v %v", rep, err)
		}
		if n, err := l.Seal(t.Context()); err != nil || n != 4 {
			t.Fatal(n, err)
		}
		if n, err := l.Seal(t.Context()); err != nil || n != 0 {
			t.Fatal(n, err)
		}
		rep, err = l.Verify(t.Context())
		if err != nil || !rep.OK || rep.Waiting != 0 || rep.Entries != 4 || len(rep.Head) != 64 {
			t.Fatalf("%+v %v", rep, err)
		}

		items, more, err := l.List(t.Context(), Filter{Org: "org_a", User: "usr_1", Action: "key.", Object: "key_2"}, "", 1)
		if err != nil || len(items) != 1 || !more {
			t.Fatalf("%v %v %v", items, more, err)
		}
		got := items[0]
		want := Item{ID: got.ID, At: got.At, Actor: who, Org: "org_a", Action: "key.revoke", Object: "key_2", Reason: "lost", Seq: got.Seq, Hash: got.Hash,
			Changes: []Change{{"state", json.RawMessage(`"active"`), json.RawMessage(`"revoked"`)}}}
		want.Actor.Remote = who.Remote.Unmap()
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatal(diff)
		}
		items, more, err = l.List(t.Context(), Filter{Org: "org_a"}, got.ID, 10)
		if err != nil || len(items) != 1 || more || items[0].Action != "key.create" {
			t.Fatalf("%v %v %v", items, more, err)
		}
		if items, _, err = l.List(t.Context(), Filter{Platform: true}, "", 10); err != nil || len(items) != 1 {
			t.Fatal(items, err)
		}
		if items, _, err = l.List(t.Context(), Filter{Action: "org.create"}, "", 10); err != nil || len(items) != 1 {
			t.Fatal(items, err)
		}
	})
}

func TestRolledBackChangeLeavesNoEntry(t *testing.T) {
	d := dbtest.SQLite(t, sets)
	boom := errors.New("boom")
	err := d.Update(t.Context(), func(tx *db.Tx) error {
		if err := Record(tx, Entry{Action: "a.b"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if items, _, err := New(d, nil).List(t.Context(), Filter{}, "", 10); err != nil || len(items) != 0 {
		t.Fatal(items, err)
	}
}

// TestConcurrentSealers: writers and sealers at once give one chain without a gap.
func TestConcurrentSealers(t *testing.T) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 10 {
					err := d.Update(context.Background(), func(tx *db.Tx) error {
						return Record(tx, Entry{Action: "a.b", Object: fmt.Sprint(w, "-", i)})
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		logs := []*Log{New(d, nil), New(d, nil)}
		for _, l := range logs {
			wg.Go(func() {
				for range 10 {
					if _, err := l.Seal(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if _, err := logs[0].Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		rep, err := logs[1].Verify(t.Context())
		if err != nil || !rep.OK || rep.Entries != 40 {
			t.Fatalf("%+v %v", rep, err)
		}
	})
}

func TestVerifyFindsTampering(t *testing.T) {
	for _, tc := range []struct{ name, sql, fault string }{
		{"altered", `UPDATE audit_entry SET reason = 'x' WHERE seq = 3`, "entry 3"},
		{"changes altered", `UPDATE audit_entry SET changes = '[ ]' WHERE seq = 2`, "entry 2"},
		{"removed", `DELETE FROM audit_entry WHERE seq = 3`, "entries 3 to 3 are missing"},
		{"first removed", `DELETE FROM audit_entry WHERE seq = 1`, "entries 1 to 1 are missing"},
		{"last removed", `DELETE FROM audit_entry WHERE seq = 5`, "the head says 5"},
		{"moved", `UPDATE audit_entry SET seq = CASE seq WHEN 2 THEN 9 ELSE seq END`, "entries 2 to 2"},
		{"head altered", `UPDATE audit_head SET hash = 'x'`, "the head's hash"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := dbtest.SQLite(t, sets)
			l := New(d, nil)
			for range 5 {
				record(t, d, Entry{Action: "a.b"})
			}
			if _, err := l.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := d.Update(t.Context(), func(tx *db.Tx) error { _, err := tx.Exec(tc.sql); return err }); err != nil {
				t.Fatal(err)
			}
			rep, err := l.Verify(t.Context())
			if err != nil || rep.OK || !strings.Contains(rep.Fault, tc.fault) {
				t.Fatalf("%+v %v", rep, err)
			}
		})
	}
}

func TestStartStop(t *testing.T) {
	d := dbtest.SQLite(t, sets)
	l := New(d, nil)
	l.Start()
	l.Stop()
	l.Stop()
	New(d, nil).Stop() // never started
}
