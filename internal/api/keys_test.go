package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/money"
)

func TestKeys(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path = "/organisations/demo/keys"
		r := b.call(b.consumer, "POST", path, `{"name":"app","limits":{"models":["meta/*"],"networks":["10.0.0.0/8","192.0.2.1"],"requests_per_minute":60},
			"budget":{"amount":"1.50","currency":"USD","span":"month","zone":"Asia/Shanghai"},"expires":"2099-01-01T00:00:00Z"}`).want(201)
		key, id := r.get("key"), r.get("id")
		if !strings.HasPrefix(key, "sk-tg-inf-") || r.get("limits.networks") != `["10.0.0.0/8","192.0.2.1/32"]` || r.get("expires") != "2099-01-01T00:00:00Z" || r.get("kind") != "inf" {
			t.Error(r.Text)
		}
		budget := b.call(b.consumer, "GET", "/organisations/demo/budgets/"+r.get("budgets.0"), "").want(200)
		if budget.get("amount") != "1.5" || budget.get("span") != "month" || budget.get("zone") != "Asia/Shanghai" || budget.get("spent") != "0" {
			t.Error(budget.Text)
		}
		got := b.call(b.consumer, "GET", path+"/"+id, "").want(200)
		if strings.Contains(got.Text, key) || got.get("secrets.0.last_four") != key[len(key)-4:] {
			t.Error("shown again, or not at all:", got.Text)
		}
		if _, err := b.o.Directory.Lookup([]byte(key)); err != nil {
			t.Error(err)
		}
		// Other organisations' keys and budgets are not there.
		b.call(b.provider, "GET", path+"/"+id, "").want(404, "api.no_organisation")
		b.call(b.provider, "GET", "/organisations/acme/keys/"+id, "").want(404, "api.no_key")
		b.call(b.provider, "POST", "/organisations/acme/keys", fmt.Sprintf(`{"name":"x","budgets":[%q]}`, r.get("budgets.0"))).want(422, "api.no_budget")
		b.call(b.provider, "GET", "/organisations/acme/budgets/"+r.get("budgets.0"), "").want(404, "api.budget_unknown")

		for body, code := range map[string]string{
			`{"name":""}`:                                                       "api.invalid",
			`{"name":"x","kind":"root"}`:                                        "api.invalid",
			`{"name":"x","role":"owner"}`:                                       "auth.key_invalid",
			`{"name":"x","surprise":true}`:                                      "api.invalid",
			`{"name":"x","limits":{"networks":["anywhere"]}}`:                   "api.network",
			`{"name":"x","limits":{"requests_per_minute":-1}}`:                  "api.invalid",
			`{"name":"x","expires":"2001-01-01T00:00:00Z"}`:                     "auth.key_invalid",
			`{"name":"x","expires":"soon"}`:                                     "api.invalid",
			`{"name":"x","budget":{"amount":"-1","currency":"USD"}}`:            "api.amount",
			`{"name":"x","budget":{"amount":"1","currency":"ZZZ"}}`:             "api.amount",
			`{"name":"x","budget":{"amount":"1e3","currency":"USD"}}`:           "api.amount",
			`{"name":"x","budget":{"amount":"99999999999","currency":"USD"}}`:   "api.amount",
			`{"name":"x","budget":{"amount":"1","currency":"USD","zone":"No"}}`: "settle.budget_invalid",
		} {
			b.call(b.consumer, "POST", path, body).want(422, code)
		}

		tag := got.Header.Get("ETag")
		b.call(b.consumer, "PATCH", path+"/"+id, `{"name":"new"}`).want(412, "api.if_match")
		r = b.call(b.consumer, "PATCH", path+"/"+id, `{"name":"new","expires":"never","limits":{},"budgets":[]}`, "If-Match: "+tag).want(200)
		if r.get("name") != "new" || r.get("expires") != "" || r.get("limits") != "{}" || r.get("budgets") != "[]" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "PATCH", path+"/"+id, `{"name":"late"}`, "If-Match: "+tag).want(412, "auth.stale")
		b.call(b.consumer, "PATCH", path+"/"+id, `{"expires":"tomorrow"}`, "If-Match: *").want(422, "api.expires")

		b.call(b.consumer, "POST", path+"/"+id+"/rotate", `{"overlap":"soon"}`).want(422, "api.duration")
		b.call(b.consumer, "POST", path+"/"+id+"/rotate", `{"overlap":"9999h"}`).want(422, "auth.overlap")
		fresh := b.call(b.consumer, "POST", path+"/"+id+"/rotate", `{"overlap":"1h"}`).want(200)
		for _, k := range []string{key, fresh.get("key")} {
			if p, err := b.o.Directory.Lookup([]byte(k)); err != nil || p.KeyID != id {
				t.Error(p, err)
			}
		}
		b.call(b.consumer, "DELETE", path+"/"+id, "", `If-Match: "1"`).want(412, "auth.stale")
		if r = b.call(b.consumer, "DELETE", path+"/"+id+"?reason=leaked", "").want(200); r.get("state") != "revoked" || r.get("reason") != "leaked" {
			t.Error(r.Text)
		}
		if _, err := b.o.Directory.Lookup([]byte(key)); err == nil {
			t.Error("a revoked key works")
		}
		b.call(b.consumer, "DELETE", path+"/"+id, "").want(409, "auth.already_revoked")

		for range 3 {
			b.call(b.consumer, "POST", path, `{"name":"n"}`).want(201)
		}
		if got := b.paged(b.consumer, path, "id"); len(got) != 5 {
			t.Error(len(got), "keys")
		}
		if got := b.paged(b.consumer, path+"?state=active&kind=inf", "id"); len(got) != 3 {
			t.Error(len(got), "active keys")
		}
	})
}

// TestKeyRoles: nobody makes, edits or renews a management key that may do more than their own, and
// who may not see management keys does not.
func TestKeyRoles(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path = "/organisations/demo/keys"
		keys := map[string]string{}
		for _, role := range []string{"admin", "developer", "billing", "viewer"} {
			keys[role] = b.call(b.consumer, "POST", path, fmt.Sprintf(`{"kind":"mgt","role":%q,"name":"x"}`, role)).want(201).get("key")
		}
		owner := b.call(b.consumer, "GET", "/me", "").get("key")
		b.call(keys["admin"], "POST", path, `{"kind":"mgt","role":"owner","name":"x"}`).want(403, "auth.role_beyond")
		b.call(keys["admin"], "POST", path+"/"+owner+"/rotate", "").want(403, "auth.role_beyond")
		b.call(keys["admin"], "PATCH", path+"/"+owner, `{"role":"viewer"}`, "If-Match: *").want(403, "auth.role_beyond")
		b.call(keys["developer"], "POST", path+"/"+owner+"/rotate", "").want(403, "auth.role_beyond")
		own := b.call(keys["developer"], "GET", "/me", "").get("key")
		b.call(keys["developer"], "PATCH", path+"/"+own, `{"role":"owner"}`, "If-Match: *").want(403)
		b.call(keys["viewer"], "POST", path, `{"name":"x"}`).want(403, "auth.forbidden")
		b.call(keys["viewer"], "GET", path+"/"+owner, "").want(403, "auth.forbidden")
		if r := b.call(keys["viewer"], "GET", path, "").want(200); strings.Contains(r.Text, `"mgt"`) {
			t.Error("a viewer sees management keys")
		}
		b.call(keys["viewer"], "GET", path+"?kind=mgt", "").want(403, "auth.forbidden")
		b.call(keys["billing"], "GET", "/organisations/demo/wallet", "").want(200)
		b.call(keys["viewer"], "GET", "/organisations/demo/wallet", "").want(403, "auth.forbidden")
	})
}

func TestBudgets(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path = "/organisations/demo/budgets"
		r := b.call(b.consumer, "POST", path, `{"name":"team","amount":"10","currency":"EUR","span":"day"}`).want(201)
		id := r.get("id")
		tag := b.call(b.consumer, "GET", path+"/"+id, "").want(200).Header.Get("ETag")
		r = b.call(b.consumer, "PATCH", path+"/"+id, `{"amount":"12.5"}`, "If-Match: "+tag).want(200)
		if r.get("amount") != "12.5" || r.get("name") != "team" || r.get("currency") != "EUR" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "PATCH", path+"/"+id, `{"amount":"1"}`, "If-Match: "+tag).want(412, "settle.budget_stale")
		b.call(b.consumer, "PATCH", path+"/"+id, `{"amount":"1"}`).want(412, "api.if_match")
		b.call(b.consumer, "PATCH", path+"/"+id, `{"amount":"many"}`, "If-Match: *").want(422, "api.amount")
		b.call(b.consumer, "PATCH", path+"/"+id, `{"currency":"USD"}`, "If-Match: *").want(422, "api.invalid")
		b.call(b.provider, "GET", path, "").want(404)
		b.call(b.consumer, "GET", path+"/bud_none", "").want(404)
		b.call(b.consumer, "POST", path, `{"name":"x","amount":"10","currency":"EUR","span":"year"}`).want(422, "api.invalid")
		b.call(b.consumer, "POST", path, `{"name":"second","amount":"0","currency":"EUR"}`).want(201)
		if got := b.paged(b.consumer, path, "name"); len(got) != 2 || got[0] != "team" {
			t.Error(got)
		}
	})
}

func TestMoney(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path = "/organisations/demo/credits"
		empty := b.call(b.consumer, "GET", "/organisations/demo/wallet", "").want(200)
		if empty.get("available") != "0" || empty.get("held") != "0" || empty.get("currency") != "USD" {
			t.Error(empty.Text)
		}
		b.call(b.consumer, "POST", path, `{"amount":"10","currency":"USD"}`).want(403, "auth.forbidden")
		b.call(b.provider, "POST", path, `{"amount":"10","currency":"USD"}`).want(404)
		for body, code := range map[string]string{
			`{"amount":"0","currency":"USD"}`:               "billing.grant_invalid",
			`{"amount":"-5","currency":"USD"}`:              "api.amount",
			`{"amount":"5","currency":"XXQ"}`:               "api.amount",
			`{"amount":"5.0000000001","currency":"USD"}`:    "api.amount",
			`{"amount":"999999999999","currency":"USD"}`:    "api.amount",
			`{"amount":"10000001","currency":"USD"}`:        "billing.grant_invalid",
			`{"amount":5,"currency":"USD"}`:                 "api.invalid",
			`{"amount":"5"}`:                                "api.invalid",
			`{"amount":"5","currency":"USD","to":"myself"}`: "api.invalid",
		} {
			b.call(b.operator, "POST", path, body).want(422, code)
		}
		r := b.call(b.operator, "POST", path, `{"amount":"10.00","currency":"USD","reason":"welcome"}`).want(201)
		if r.get("amount") != "10" || r.get("transaction") == "" {
			t.Error(r.Text)
		}
		org := b.call(b.consumer, "GET", "/me", "").get("organisation.id")
		err := b.db.Update(t.Context(), func(tx *db.Tx) error {
			_, err := ledger.ReserveFunds(tx, ledger.Account{Owner: org, Purpose: ledger.Wallet, Currency: "USD"}, money.Nano, money.Nano)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if w := b.call(b.consumer, "GET", "/organisations/demo/wallet", ""); w.get("available") != "9" || w.get("held") != "1" || w.get("items.0.available") != "9" {
			t.Error(w.Text)
		}
		b.call(b.operator, "POST", path, `{"amount":"3","currency":"EUR"}`).want(201)
		if w := b.call(b.consumer, "GET", "/organisations/demo/wallet", ""); w.get("available") != "" || w.get("items.0.currency") != "EUR" || w.get("items.1.currency") != "USD" {
			t.Error("two wallets:", w.Text)
		}
		if w := b.call(b.consumer, "GET", "/organisations/demo/wallet?currency=EUR", ""); w.get("available") != "3" {
			t.Error(w.Text)
		}
		b.call(b.consumer, "GET", "/organisations/demo/wallet?currency=QQQ", "").want(422, "api.currency")

		if got := b.paged(b.consumer, path, "amount"); len(got) != 2 || got[0] != "3" || got[1] != "10" {
			t.Error(got)
		}
		if got := b.paged(b.consumer, "/organisations/demo/ledger/transactions", "kind"); len(got) != 2 || got[0] != "grant" {
			t.Error(got)
		}
		lines := b.call(b.consumer, "GET", "/organisations/demo/ledger/transactions", "").get("items.0.lines")
		if strings.Contains(lines, "promotion") || !strings.Contains(lines, `"amount":"3"`) {
			t.Error("a consumer sees", lines)
		}
		if got := b.paged(b.consumer, "/organisations/demo/ledger/accounts", "purpose"); len(got) != 2 {
			t.Error(got)
		}
		b.call(b.consumer, "GET", "/organisations/platform/ledger/accounts", "").want(404)
		b.call(b.consumer, "GET", "/ledger/verify", "").want(403)
		b.call(b.consumer, "GET", "/ledger/suspense", "").want(403)
		if r := b.call(b.operator, "GET", "/ledger/suspense", "").want(200); r.get("items") != "[]" {
			t.Error(r.Text)
		}
		// The reservation above belongs to no lease: the proof finds it.
		if r := b.call(b.operator, "GET", "/ledger/verify", "").want(200); r.get("ok") != "false" || r.get("faults") == "" {
			t.Error(r.Text)
		}
	})
}

func TestUsage(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		demo := b.call(b.consumer, "GET", "/me", "").get("organisation.id")
		acme := b.call(b.provider, "GET", "/me", "").get("organisation.id")
		hour := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
		var events []meter.Event
		for i := range 3 {
			at := hour.Add(time.Duration(i) * time.Hour)
			events = append(events, meter.Event{ID: db.NewID("evt", at), At: db.Micros(at), Org: demo, Key: "key_1", Provider: acme, Product: "prd_1", Version: "ver_1",
				Upstream: "ups_1", Subscription: "sub_1", PlanVersion: "plv_1", Model: "llama3", Outcome: "ok", Status: 200, Flags: meter.FlagStream, Attempts: 1,
				Currency: "USD", Charge: 250_000_000, Commission: 25_000_000, Hold: 300_000_000, Usage: [meter.Classes]int64{10, 0, 0, 5}, Duration: 1_500_000,
				RequestDigest: []byte{}, ResponseDigest: []byte{}, Txn: "txn_1"})
		}
		events[2].Model, events[2].Flags, events[2].Excess = "other", meter.FlagUncharged|meter.FlagEstimated, 7
		if err := b.db.Update(t.Context(), func(tx *db.Tx) error { return meter.Insert(tx, events) }); err != nil {
			t.Fatal(err)
		}
		const sum = "/organisations/demo/usage/sum"
		if r := b.call(b.consumer, "GET", sum, "").want(200); r.get("events") != "3" || r.get("charge") != "0.75" || r.get("currency") != "USD" || r.get("items.0.tokens.input") != "30" || r.get("items.0.commission") != "" {
			t.Error(r.Text)
		}
		if r := b.call(b.consumer, "GET", sum+"?group=model", "").want(200); r.get("events") != "3" || r.get("items.0.group") != "llama3" || r.get("items.0.events") != "2" || r.get("items.1.charge") != "0.25" {
			t.Error(r.Text)
		}
		if r := b.call(b.consumer, "GET", sum+"?group=hour&from=2026-03-01T11:00:00Z&to=2026-03-01T12:00:00Z", "").want(200); r.get("events") != "1" || r.get("items.0.group") != "2026-03-01T11:00:00Z" {
			t.Error(r.Text)
		}
		if r := b.call(b.consumer, "GET", sum+"?key=key_2", "").want(200); r.get("events") != "0" || r.get("charge") != "0" || r.get("currency") != "USD" || r.get("items") != "[]" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "GET", sum+"?group=colour", "").want(422, "api.invalid")
		b.call(b.consumer, "GET", sum+"?from=yesterday", "").want(422, "api.invalid")
		b.call(b.provider, "GET", sum, "").want(404)

		if r := b.call(b.provider, "GET", "/organisations/acme/usage/sum?as=provider&group=org", "").want(200); r.get("items.0.group") != demo || r.get("items.0.commission") != "0.075" {
			t.Error(r.Text)
		}
		b.call(b.provider, "GET", "/organisations/acme/usage/sum?as=provider&group=key", "").want(422, "api.group_key")
		if r := b.call(b.provider, "GET", "/organisations/acme/usage/sum", "").want(200); r.get("events") != "0" {
			t.Error("as a consumer acme called nothing:", r.Text)
		}

		const list = "/organisations/demo/usage/events"
		if got := b.paged(b.consumer, list, "id"); len(got) != 3 || got[0] != events[2].ID || got[2] != events[0].ID {
			t.Error(got)
		}
		if r := b.call(b.consumer, "GET", list, "").want(200); r.get("items.0.key") != "key_1" || r.get("items.0.upstream_id") != "" || r.get("items.0.estimated") != "true" ||
			r.get("items.0.uncharged") != "0.000000007" || r.get("items.1.stream") != "true" || r.get("items.1.duration_ms") != "1500" {
			t.Error(r.Text)
		}
		if r := b.call(b.provider, "GET", "/organisations/acme/usage/events?as=provider", "").want(200); r.get("items.0.key") != "" || r.get("items.0.upstream_id") != "ups_1" {
			t.Error("the provider sees", r.Text)
		}
		if r := b.call(b.consumer, "GET", list+"/"+events[0].ID, "").want(200); r.get("charge") != "0.25" || r.get("at") != "2026-03-01T10:00:00Z" {
			t.Error(r.Text)
		}
		if r := b.call(b.provider, "GET", "/organisations/acme/usage/events/"+events[0].ID, "").want(200); r.get("key") != "" {
			t.Error(r.Text)
		}
		b.call(b.operator, "GET", "/organisations/platform/usage/events/"+events[0].ID, "").want(404, "api.no_event")
		b.call(b.consumer, "GET", list+"/evt_none", "").want(404)
	})
}
