package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/api"
	"github.com/tollgate-io/tollgate/internal/db"
)

// finding returns the findings of a name, in both languages, and checks that their texts are whole.
func (x *testApp) finding(name string) (en, zh []api.Finding) {
	x.t.Helper()
	for lang, to := range map[string]*[]api.Finding{"en": &en, "zh": &zh} {
		for _, f := range x.Doctor(x.t.Context(), lang) {
			if strings.Contains(f.Detail+f.Advice, "%!") || f.Detail == "" || f.State != api.Good && f.Advice == "" {
				x.t.Errorf("%s: %+v", lang, f)
			}
			if f.Name == name {
				*to = append(*to, f)
			}
		}
	}
	if len(en) != len(zh) {
		x.t.Errorf("%s: %d findings in English, %d in Chinese", name, len(en), len(zh))
	}
	return en, zh
}

// want checks the state of a part, and a word of what is said about it.
func (x *testApp) want(name, state, word string) {
	x.t.Helper()
	en, _ := x.finding(name)
	for _, f := range en {
		if f.State == state && strings.Contains(f.Detail, word) {
			return
		}
	}
	x.t.Errorf("%s should be %s with %q, got %+v", name, state, word, en)
}

func TestDoctor(t *testing.T) {
	engines(t, func(t *testing.T, change func(*Config)) {
		x := startApp(t, change)
		x.chat("fake", "")
		x.flush()
		for _, name := range []string{"process", "jobs", "database", "migrations", "suspense", "ledger", "audit", "sealer key", "nodes", "models", "spool", "settlement",
			"keys", "catalogue", "targets", "disk", "open files"} {
			en, zh := x.finding(name)
			if len(en) != 1 || en[0].State == api.Bad || en[0].Detail == zh[0].Detail && name != "models" {
				t.Errorf("%s: %+v %+v", name, en, zh)
			}
		}
		got := x.manage(200, "OPERATOR", "GET", "/doctor", "")
		if got["ok"] != true || len(got["findings"].([]any)) < 15 {
			t.Errorf("%v", got)
		}
		x.manage(403, "CONSUMER", "GET", "/doctor", "")
	})
}

func TestDoctorFindsFaults(t *testing.T) {
	x := startApp(t, nil)
	ctx := t.Context()
	exec := func(query string, args ...any) {
		t.Helper()
		if err := x.DB.Update(ctx, func(tx *db.Tx) error { _, err := tx.Exec(query, args...); return err }); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.fake.Set("fake", "status=503"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		x.chat("fake", "")
	}
	x.want("targets", api.Warning, "circuit is open")
	if err := x.fake.Set("fake", "-"); err != nil {
		t.Fatal(err)
	}

	x.manage(201, "PROVIDER", "POST", "/organisations/demo-provider/upstreams", `{"name":"limited","url":"`+x.upstream+`","credentials":[{"name":"main","secret":"upstream-key-0123"}]}`)
	price, err := card()
	if err != nil {
		t.Fatal(err)
	}
	if err := x.fake.Set("throttled", "status=429"); err != nil {
		t.Fatal(err)
	}
	x.post("/v1/chat/completions", x.sellAt("throttled", "limited", "throttled", price), `{"model":"throttled","messages":[]}`)
	x.want("credentials", api.Warning, "limited/main rests until")

	exec(`INSERT INTO settle_suspense (event, org, record, reason, at) VALUES ('evt_x', 'org_x', '{}', 'a test', 1)`)
	x.want("suspense", api.Warning, ": 1")
	exec(`DELETE FROM settle_suspense`)

	exec(`INSERT INTO node (spool, epoch, host, version, roles, state, started, seen) VALUES ('spl_dead', 3, 'dead-host', 'x', 'gateway', 'running', 1, 1)`)
	exec(`INSERT INTO spool_cursor (spool, epoch, segment, pos, updated) VALUES ('spl_dead', 3, 1, 1, 1)`)
	exec(`INSERT INTO credit_lease (id, spool, epoch, kind, org, currency, budget, start, granted, spent, state, created) VALUES ('lse_x', 'spl_dead', 3, 'budget', 'org_x', 'USD', 'b', 0, 10, 1, 'open', 1)`)
	x.want("nodes", api.Warning, "dead-host")
	exec(`DELETE FROM credit_lease WHERE id = 'lse_x'`)

	exec(`ALTER TABLE recommend_item RENAME TO hidden_item`)
	waitFor(t, "a job to fail twice", func() bool {
		x.Jobs.Wake("catalogue-recommend")
		list := x.Jobs.Failing()
		return len(list) == 1 && list[0].Times > 1
	})
	x.want("jobs", api.Warning, "catalogue-recommend, ")
	exec(`ALTER TABLE hidden_item RENAME TO recommend_item`)
	waitFor(t, "the job to succeed", func() bool {
		x.Jobs.Wake("catalogue-recommend")
		return len(x.Jobs.Failing()) == 0
	})
	x.want("jobs", api.Good, "well")

	exec(`INSERT INTO migration (room, number, name, checksum, applied) VALUES ('settle', 9999, 'x', 'x', 0)`)
	x.want("migrations", api.Bad, "settle/9999")
	exec(`DELETE FROM migration WHERE number = 9999`)

	exec(`INSERT INTO recorded_content (event, org, at, sealed_by, request, request_cut, answer, answer_cut) VALUES ('evt_y', 'org_x', 1, 'deadbeef', $1, 0, $2, 0)`, []byte("x"), []byte("x"))
	x.want("sealer key", api.Bad, ": 1 (")
	exec(`DELETE FROM recorded_content`)

	x.flush()
	x.vitals.mu.Lock()
	x.vitals.moved = time.Now().Add(-time.Minute)
	x.vitals.mu.Unlock()
	x.want("settlement", api.Good, "0 B") // nothing waits: standing still is no fault

	// The database goes away: what does not need it is still told.
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var names []string
	for _, f := range x.Doctor(gone, "en") {
		names = append(names, f.Name+" "+f.State)
	}
	if all := strings.Join(names, ","); !strings.Contains(all, "database failed") || !strings.Contains(all, "spool ok") || strings.Contains(all, "suspense") {
		t.Error(all)
	}
}

func TestDoctorLooksAtTheCertificate(t *testing.T) {
	cert, key, _ := selfSigned(t) // for an hour
	x := startApp(t, func(c *Config) { c.TLS.Cert, c.TLS.Key = cert, key })
	x.want("certificate", api.Bad, "0 days")
}

func TestGauges(t *testing.T) {
	x := startApp(t, nil)
	x.chat("fake", "")
	x.flush()
	var page string
	waitFor(t, "all to be settled", func() bool { // a lease that is renewed is written down, too
		page = string(x.get("/metrics", "").body)
		return strings.Contains(page, "\ntollgate_spool_unsettled_bytes 0\n")
	})
	for _, want := range []string{"\ntollgate_lease_remaining{currency=\"USD\"} 0.9", "\ntollgate_spool_open 0", "\ntollgate_holds_open 0",
		"\ntollgate_settle_lag_seconds 0", "\ntollgate_holds_refused_total 0", "\ntollgate_requests_in_flight 0"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
	for _, name := range []string{"tollgate_spool_bytes", "tollgate_spool_syncs_total", "tollgate_settle_events_total"} {
		if strings.Contains(page, "\n"+name+" 0\n") || !strings.Contains(page, "\n"+name+" ") {
			t.Errorf("%s is not set", name)
		}
	}
	key := x.manage(201, "CONSUMER", "POST", "/organisations/demo-consumer/keys", `{"name":"poor","budget":{"amount":"0.000000001","currency":"USD"}}`)["key"].(string)
	if a := x.post("/v1/chat/completions", key, `{"model":"fake","messages":[]}`); a.status != 402 {
		t.Fatal(a.status)
	}
	if page := string(x.get("/metrics", "").body); !strings.Contains(page, "\ntollgate_holds_refused_total 1") {
		t.Error("a refused hold is not counted")
	}
}
