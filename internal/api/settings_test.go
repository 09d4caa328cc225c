package api

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func TestSettings(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		r := b.call(b.operator, "GET", "/settings", "").want(200)
		tag := r.Header.Get("ETag")
		if r.get("auto_subscribe") != "true" || r.get("default_commission_ppm") != "100000" || r.get("signup.enabled") != "false" || tag != `"1"` {
			t.Error(r.Text, tag)
		}
		b.call(b.operator, "PATCH", "/settings", `{"auto_subscribe":false}`).want(412, "api.if_match")
		r = b.call(b.operator, "PATCH", "/settings", `{"auto_subscribe":false}`, "If-Match: "+tag).want(200)
		if r.get("auto_subscribe") != "false" || r.Header.Get("ETag") != `"2"` {
			t.Error(r.Text)
		}
		b.call(b.operator, "PATCH", "/settings", `{"auto_subscribe":true}`, "If-Match: "+tag).want(412, "api.settings_stale")
		b.call(b.operator, "PATCH", "/settings", `{"default_commission_ppm":1000001}`, "If-Match: *").want(422)
		b.call(b.operator, "PATCH", "/settings", `{"colour":"red"}`, "If-Match: *").want(422, "api.invalid")
		b.call(b.operator, "PATCH", "/settings", strings.Replace(signUpOpen, "USD", "QQQ", 1), "If-Match: *").want(422, "api.currency")
		b.call(b.consumer, "GET", "/settings", "").want(403, "auth.forbidden")
		b.call(b.provider, "PATCH", "/settings", `{"auto_subscribe":true}`, "If-Match: *").want(403, "auth.forbidden")
	})
}

const signUpOpen = `{"signup":{"enabled":true,"credit":"2.50","currency":"USD","per_ip_per_day":2,"per_email_domain_per_day":20,"per_day":100,"public_domains":["gmail.com"]}}`

func TestSignUp(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const person = `{"email":"new@person.example","name":"New Person","organisation":"newcomer"}`
		b.call("", "POST", "/signup", person).want(403, "org.signup_off")
		b.call(b.operator, "PATCH", "/settings", signUpOpen, "If-Match: *").want(200)
		r := b.call("", "POST", "/signup", person).want(201)
		if r.get("organisation.name") != "newcomer" || r.get("credit.amount") != "2.5" || !strings.HasPrefix(r.get("key"), "sk-tg-inf-") || !strings.HasPrefix(r.get("token"), "sk-tg-mgt-") {
			t.Error(r.Text)
		}
		if w := b.call(r.get("token"), "GET", "/organisations/newcomer/wallet", "").want(200); w.get("available") != "2.5" {
			t.Error(w.Text)
		}
		if me := b.call(r.get("token"), "GET", "/me", "").want(200); me.get("role") != "owner" || me.get("user") != r.get("user") {
			t.Error(me.Text)
		}
		b.call("", "POST", "/signup", `{"email":"new@person.example"}`).want(409, "org.email_taken")
		b.call("", "POST", "/signup", `{"email":"nonsense"}`).want(422, "org.email")
		b.call("", "POST", "/signup", `{"email":"a@b.example","parts":["operator"]}`).want(422, "api.invalid")
		b.call("", "POST", "/signup", `{"email":"second@person.example"}`).want(201)
		limited := b.call("", "POST", "/signup", `{"email":"third@person.example"}`).want(429, "org.signup_limited")
		if limited.Header.Get("Retry-After") == "" {
			t.Error(limited.Header)
		}
		if v := b.call(b.operator, "GET", "/ledger/verify", ""); v.get("ok") != "true" {
			t.Error(v.Text)
		}
	})
}

func TestBootstrap(t *testing.T) {
	dbtest.Each(t, tables, func(t *testing.T, d *db.DB) {
		b := newBare(t, d)
		token, err := b.o.Keys.NewBootstrap(t.Context(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		body := `{"token":"` + token.Reveal() + `","organisation":"platform","title":{"en":"The Platform"},"email":"op@platform.example"}`
		b.call("", "POST", "/bootstrap", strings.Replace(body, token.Reveal(), secret.Generate().Reveal(), 1)).want(401, "auth.bootstrap_token")
		r := b.call("", "POST", "/bootstrap", body).want(201)
		if r.get("organisation.parts") != `["operator"]` || r.get("organisation.title.en") != "The Platform" {
			t.Error(r.Text)
		}
		b.call(r.get("token"), "GET", "/settings", "").want(200)
		b.call("", "POST", "/bootstrap", body).want(409, "auth.set_up")
	})
}

func TestDoctor(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		state := Good
		b.o.Doctor = func(_ context.Context, lang string) []Finding { return []Finding{{"disk", state, lang, "free some"}} }
		b.handler = New(b.o)
		if r := b.call(b.operator, "GET", "/doctor", "").want(200); r.get("ok") != "true" || r.get("version") != "test" || r.get("findings.0.detail") != "en" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "GET", "/doctor", "").want(403, "auth.forbidden")
		state = Bad
		if r := b.call(b.operator, "GET", "/doctor", "", "Accept-Language: zh-CN").want(200); r.get("ok") != "false" || r.get("findings.0.detail") != "zh" || r.get("findings.0.advice") != "free some" {
			t.Error(r.Text)
		}
	})
}

// TestRemote: the address that the server worked out is the one that counts, and is recorded.
func TestRemote(t *testing.T) {
	b := newBench(t, dbtest.SQLite(t, tables))
	b.o.Remote = func(*http.Request) netip.Addr { return netip.MustParseAddr("198.51.100.7") }
	b.handler = New(b.o)
	key := b.call(b.consumer, "POST", "/organisations/demo/keys", `{"name":"k","kind":"mgt","limits":{"networks":["198.51.100.0/24"]}}`).want(201).get("key")
	b.call(key, "GET", "/me", "").want(200)
	if r := b.call(b.consumer, "GET", "/organisations/demo/audit", "").want(200); r.get("items.0.actor.remote") != "198.51.100.7" {
		t.Error(r.Text)
	}
}
