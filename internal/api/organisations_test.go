package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/audit"
)

func TestOrganisations(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		r := b.call(b.operator, "POST", "/organisations", `{"name":"beta","title":{"en":"Beta","zh":"贝塔"},"parts":["consumer","partner"],"owner":"o@beta.example"}`).want(201)
		if r.get("title.zh") != "贝塔" || r.get("parts") != `["consumer","partner"]` || r.Header.Get("Location") != "/api/v1/organisations/beta" || r.Header.Get("ETag") != `"1"` {
			t.Error(r.Text, r.Header)
		}
		id := r.get("id")
		for _, ref := range []string{"beta", id} {
			b.call(b.operator, "GET", "/organisations/"+ref, "").want(200)
		}
		if got := b.call(b.operator, "GET", "/organisations/beta/members", "").want(200); got.get("items.0.role") != "owner" || got.get("items.0.email") != "o@beta.example" {
			t.Error(got.Text)
		}
		r = b.call(b.operator, "PATCH", "/organisations/beta", `{"title":{"en":"Beta two"}}`, `If-Match: "1"`).want(200)
		if r.get("title.en") != "Beta two" || r.Header.Get("ETag") != `"2"` {
			t.Error(r.Text)
		}
		b.call(b.operator, "PATCH", "/organisations/beta", `{"title":{"en":"x"}}`, `If-Match: "1"`).want(412, "org.stale")
		b.call(b.operator, "PATCH", "/organisations/beta", `{"parts":["provider"]}`, `If-Match: *`).want(200)
		b.call(b.consumer, "PATCH", "/organisations/demo", `{"parts":["provider"]}`, `If-Match: *`).want(403, "auth.forbidden")
		b.call(b.consumer, "PATCH", "/organisations/demo", `{"title":{"en":"Demo Ltd"}}`, `If-Match: *`).want(200)

		b.call(b.operator, "POST", "/organisations/beta/suspend", "").want(422, "org.reason")
		if r = b.call(b.operator, "POST", "/organisations/beta/suspend", `{"reason":"fraud"}`).want(200); r.get("state") != "suspended" || r.get("reason") != "fraud" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "POST", "/organisations/demo/suspend", `{"reason":"x"}`).want(403, "auth.forbidden")
		b.call(b.operator, "POST", "/organisations/platform/suspend", `{"reason":"x"}`).want(409, "org.operator_active")

		if r = b.call(b.consumer, "GET", "/organisations", "").want(200); r.get("items.0.name") != "demo" || r.get("items.1.name") != "" || r.get("has_more") != "false" {
			t.Error("a consumer sees", r.Text)
		}
		if r = b.call(b.operator, "GET", "/organisations?state=suspended", "").want(200); r.get("items.0.name") != "beta" || r.get("items.1.name") != "" {
			t.Error(r.Text)
		}
		if got := b.paged(b.operator, "/organisations", "name"); len(got) != 4 {
			t.Error(got)
		}
	})
}

// paged reads a list in pages of one, and returns what the items have under a name.
func (b *bench) paged(key, path, name string) (out []string) {
	b.t.Helper()
	join := "?"
	if strings.Contains(path, "?") {
		join = "&"
	}
	after := ""
	for range 50 {
		r := b.call(key, "GET", path+join+"limit=1&after="+after, "").want(200)
		items, _ := r.Body["items"].([]any)
		if len(items) > 1 {
			b.t.Fatalf("%d items", len(items))
		}
		if len(items) == 1 {
			out = append(out, r.get("items.0."+name))
		}
		if r.get("has_more") != "true" {
			if r.get("next") != "" {
				b.t.Error("next, but no more")
			}
			return out
		}
		if after = r.get("next"); after == "" {
			b.t.Fatal("more, but no next")
		}
	}
	b.t.Fatal("the list does not end")
	return nil
}

func TestMembers(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		r := b.call(b.consumer, "POST", "/organisations/demo/members", `{"email":"dev@demo.example","name":"Dev","role":"developer"}`).want(201)
		user := r.get("user")
		path := "/organisations/demo/members/" + user
		if r.Header.Get("Location") != "/api/v1"+path {
			t.Error(r.Header)
		}
		b.call(b.consumer, "POST", "/organisations/demo/members", `{"email":"dev@demo.example","role":"viewer"}`).want(409)
		b.call(b.consumer, "POST", "/organisations/demo/members", `{"email":"nonsense","role":"viewer"}`).want(422, "org.email")
		b.call(b.consumer, "POST", "/organisations/demo/members", `{"email":"x@demo.example","role":"king"}`).want(422, "api.invalid")
		b.call(b.provider, "POST", "/organisations/demo/members", `{"email":"x@demo.example","role":"viewer"}`).want(404)

		admin := b.call(b.consumer, "POST", "/organisations/demo/keys", `{"kind":"mgt","role":"admin","name":"admin"}`).want(201).get("key")
		dev := b.call(b.consumer, "POST", "/organisations/demo/keys", fmt.Sprintf(`{"kind":"mgt","role":"developer","name":"dev","user":%q}`, user)).want(201).get("key")
		b.call(dev, "POST", "/organisations/demo/members", `{"email":"y@demo.example","role":"viewer"}`).want(403, "auth.forbidden")
		b.call(admin, "POST", "/organisations/demo/members", `{"email":"y@demo.example","role":"owner"}`).want(403, "auth.role_beyond")
		owner := b.call(b.consumer, "GET", "/me", "").get("user")
		b.call(admin, "PATCH", "/organisations/demo/members/"+owner, `{"role":"viewer"}`, "If-Match: *").want(403, "auth.role_beyond")
		b.call(admin, "DELETE", "/organisations/demo/members/"+owner, "").want(403, "auth.role_beyond")
		b.call(b.consumer, "DELETE", "/organisations/demo/members/"+owner, "").want(409) // the last owner

		b.call(b.consumer, "PATCH", path, `{"role":"viewer"}`).want(412, "api.if_match")
		tag := b.call(b.consumer, "GET", path, "").want(200).Header.Get("ETag")
		b.call(b.consumer, "PATCH", path, `{"role":"viewer"}`, "If-Match: "+tag).want(200)
		b.call(b.consumer, "PATCH", path, `{"role":"admin"}`, "If-Match: "+tag).want(412, "org.stale")
		if got := b.call(dev, "GET", "/me", "").want(200).get("role"); got != "viewer" {
			t.Error("the key's role is still", got)
		}

		b.call(b.consumer, "DELETE", path+"?keys=keep", "").want(422, "api.keys_of_member")
		b.call(b.consumer, "DELETE", path+"?keys=handover:usr_nobody", "").want(404)
		touched := b.call(b.consumer, "DELETE", path+"?keys=handover:"+owner, "").want(200)
		if touched.get("items.0.user") != owner || touched.get("items.0.departed") != "true" {
			t.Error(touched.Text)
		}
		b.call(dev, "GET", "/me", "").want(200)
		b.call(b.consumer, "GET", path, "").want(404)

		gone := b.call(b.consumer, "POST", "/organisations/demo/members", `{"email":"z@demo.example","role":"developer"}`).want(201).get("user")
		key := b.call(b.consumer, "POST", "/organisations/demo/keys", fmt.Sprintf(`{"kind":"mgt","role":"viewer","name":"z","user":%q}`, gone)).want(201).get("key")
		b.call(b.consumer, "DELETE", "/organisations/demo/members/"+gone, "").want(200)
		b.call(key, "GET", "/me", "").want(401, "auth.key_revoked")
	})
}

// TestAudited: every write of the API names the key and the request in the audit record.
func TestAudited(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.applied()
		before, _, err := b.o.Audit.List(t.Context(), audit.Filter{}, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		me := b.call(b.operator, "GET", "/me", "")
		tag := func(path string) string { return "If-Match: " + b.call(b.operator, "GET", path, "").Header.Get("ETag") }
		wants := map[string]string{} // request id → action
		do := func(action, method, path, body string, headers ...string) *reply {
			r := b.call(b.operator, method, path, body, headers...)
			if r.Status >= 300 {
				t.Fatal(action, r.Text)
			}
			wants[r.Header.Get("X-Request-Id")] = action
			return r
		}
		do("org.create", "POST", "/organisations", `{"name":"gamma"}`)
		do("org.update", "PATCH", "/organisations/gamma", `{"title":{"en":"G"}}`, tag("/organisations/gamma"))
		do("member.add", "POST", "/organisations/gamma/members", `{"email":"g@gamma.example","role":"owner"}`)
		key := do("key.create", "POST", "/organisations/gamma/keys", `{"name":"k"}`).get("id")
		do("key.update", "PATCH", "/organisations/gamma/keys/"+key, `{"name":"l"}`, tag("/organisations/gamma/keys/"+key))
		do("key.rotate", "POST", "/organisations/gamma/keys/"+key+"/rotate", "")
		do("key.revoke", "DELETE", "/organisations/gamma/keys/"+key+"?reason=leaked", "")
		do("credit.grant", "POST", "/organisations/gamma/credits", `{"amount":"1","currency":"USD","reason":"hello"}`)
		budget := do("budget.write", "POST", "/organisations/gamma/budgets", `{"name":"b","amount":"1","currency":"USD"}`).get("id")
		do("budget.write", "PATCH", "/organisations/gamma/budgets/"+budget, `{"amount":"2"}`, tag("/organisations/gamma/budgets/"+budget))
		do("upstream.update", "PATCH", "/organisations/acme/upstreams/local", `{"url":"http://127.0.0.1:1/v1"}`, tag("/organisations/acme/upstreams/local"))
		do("upstream.credential_set", "PUT", "/organisations/acme/upstreams/local/credentials/main", `{"secret":"another-secret-of-the-upstream"}`, tag("/organisations/acme/upstreams/local"))
		do("product.suspend", "POST", "/organisations/acme/products/chat/suspend", `{"reason":"r"}`)
		do("product.resume", "POST", "/organisations/acme/products/chat/resume", "")
		do("plan.update", "PATCH", "/organisations/acme/products/chat/plans/payg", `{"limits":{"rpm":1}}`, tag("/organisations/acme/products/chat/plans/payg"))
		do("plan.publish", "POST", "/organisations/acme/products/chat/plans/payg/publish", "")
		sub := do("subscription.start", "POST", "/organisations/gamma/subscriptions", `{"plan":"acme/chat/payg"}`).get("id")
		do("subscription.end", "POST", "/organisations/gamma/subscriptions/"+sub+"/end", `{"reason":"r"}`)
		do("settings.write", "PATCH", "/settings", `{"auto_subscribe":false}`, tag("/settings"))
		do("org.suspend", "POST", "/organisations/gamma/suspend", `{"reason":"r"}`)

		all, _, err := b.o.Audit.List(t.Context(), audit.Filter{}, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range all[:len(all)-len(before)] {
			if wants[e.Actor.Request] == e.Action {
				delete(wants, e.Actor.Request)
			}
			if e.Actor.Key != me.get("key") || e.Actor.User != me.get("user") || e.Actor.Org != me.get("organisation.id") || !e.Actor.Remote.IsValid() {
				t.Errorf("%s is not by the caller: %+v", e.Action, e.Actor)
			}
		}
		for _, action := range wants {
			t.Errorf("%s is not in the record", action)
		}
		text := b.call(b.operator, "GET", "/audit?limit=500", "").want(200).Text
		for _, secret := range []string{"another-secret", "very-secret", "sk-tg-mgt-", "sk-tg-inf-"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q is in the record", secret)
			}
		}
		r := b.call(b.operator, "GET", "/organisations/gamma/audit?action=credit.grant", "").want(200)
		if r.get("items.0.reason") != "hello" || r.get("items.1.id") != "" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "GET", "/audit", "").want(403, "auth.forbidden")
		b.call(b.consumer, "GET", "/organisations/gamma/audit", "").want(404)
		b.call(b.consumer, "GET", "/organisations/demo/audit", "").want(200)
		if r = b.call(b.operator, "GET", "/audit/verify", "").want(200); r.get("ok") != "true" {
			t.Error(r.Text)
		}
		if got := b.paged(b.operator, "/organisations/gamma/audit", "action"); len(got) < 10 {
			t.Error(got)
		}
	})
}
