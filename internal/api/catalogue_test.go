package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestUpstreams(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path = "/organisations/acme/upstreams"
		r := b.call(b.provider, "POST", path, `{"name":"one","url":"https://api.example.com/v1/","timeouts":{"connect":"2s"},"credentials":[{"name":"main","secret":"the-secret-of-the-upstream"}]}`).want(201)
		if strings.Contains(r.Text, "the-secret") || r.get("timeouts.connect") != "2s" || r.get("timeouts.total") != "30m" || r.get("url") != "https://api.example.com/v1" || r.get("credentials.0.last_four") != "ream" {
			t.Error(r.Text)
		}
		for body, code := range map[string]string{
			`{"name":"two","url":"ftp://x"}`:                                               "catalog.upstream_invalid",
			`{"name":"two","url":"http://u:p@x/"}`:                                         "catalog.upstream_invalid",
			`{"name":"Two","url":"http://x/"}`:                                             "catalog.upstream_invalid",
			`{"name":"two","url":"http://x/","timeouts":{"idle":"soon"}}`:                  "api.timeouts",
			`{"name":"two","url":"http://x/","timeouts":{"idle":"-1s"}}`:                   "api.timeouts",
			`{"name":"two","url":"http://x/","credentials":[{"name":"n"}]}`:                "catalog.credential_empty",
			`{"name":"two","url":"http://x/","secret":"x"}`:                                "api.invalid",
			`{"name":"two","url":"http://x/","dialect":"anthropic"}`:                       "api.invalid",
			`{"name":"two","url":"http://x/","credentials":[{"name":"n","secret":"a b"}]}`: "catalog.credential_invalid",
		} {
			b.call(b.provider, "POST", path, body).want(422, code)
		}
		b.call(b.provider, "POST", path, `{"name":"two","url":"builtin://translate"}`).want(403, "api.builtin")
		b.call(b.provider, "PATCH", path+"/one", `{"url":" builtin://text"}`, "If-Match: *").want(403, "api.builtin")
		b.call(b.operator, "POST", path, `{"name":"two","url":"builtin://sandbox","dialect":"openai"}`).want(422, "catalog.upstream_invalid")
		b.call(b.provider, "POST", path, `{"name":"one","url":"http://x/"}`).want(409, "catalog.taken")
		b.call(b.consumer, "POST", "/organisations/demo/upstreams", `{"name":"one","url":"http://x/"}`).want(403, "auth.forbidden") // no provider
		b.call(b.consumer, "GET", path, "").want(404)

		tag := b.call(b.provider, "GET", path+"/one", "").want(200).Header.Get("ETag")
		b.call(b.provider, "PATCH", path+"/one", `{"url":"http://y/v1"}`).want(412, "api.if_match")
		r = b.call(b.provider, "PATCH", path+"/one", `{"url":"http://y/v1"}`, "If-Match: "+tag).want(200)
		if r.get("url") != "http://y/v1" || r.get("timeouts.connect") != "2s" {
			t.Error(r.Text)
		}
		b.call(b.provider, "PATCH", path+"/one", `{"url":"http://z/v1"}`, "If-Match: "+tag).want(412, "catalog.stale")
		b.call(b.provider, "PATCH", path+"/one", `{"name":"uno"}`, "If-Match: *").want(422, "api.invalid")

		tag = r.Header.Get("ETag")
		b.call(b.provider, "PUT", path+"/one/credentials/spare", `{"secret":"spare-secret-0123456"}`).want(412)
		r = b.call(b.provider, "PUT", path+"/one/credentials/spare", `{"secret":"spare-secret-0123456","state":"disabled"}`, "If-Match: "+tag).want(200)
		if r.get("credentials.1.name") != "spare" || r.get("credentials.1.state") != "disabled" || strings.Contains(r.Text, "spare-secret") {
			t.Error(r.Text)
		}
		b.call(b.provider, "DELETE", path+"/one/credentials/spare", "").want(200)
		b.call(b.provider, "DELETE", path+"/one/credentials/spare", "").want(404)

		b.call(b.provider, "POST", path+"/one/suspend", "").want(422, "catalog.reason")
		b.call(b.provider, "POST", path+"/one/suspend", `{"reason":"down"}`).want(200)
		if r = b.call(b.provider, "POST", path+"/one/resume", "").want(200); r.get("state") != "active" {
			t.Error(r.Text)
		}
		b.call(b.provider, "POST", path+"/one/retire", `{"reason":"moved"}`).want(200)
		b.call(b.provider, "POST", path+"/one/resume", "").want(409, "catalog.state")
		b.call(b.provider, "POST", path, `{"name":"three","url":"http://x/"}`).want(201)
		if got := b.paged(b.provider, path, "name"); len(got) != 2 {
			t.Error(got)
		}
		if got := b.paged(b.provider, path+"?state=active", "name"); len(got) != 1 || got[0] != "three" {
			t.Error(got)
		}
	})
}

func TestUpstreamModels(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		models := []string{"a", "b"}
		var sent string
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent = r.Header.Get("Authorization")
			list := []map[string]string{}
			for _, m := range models {
				list = append(list, map[string]string{"id": m})
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"data": list})
		}))
		defer up.Close()
		b.o.HTTP = up.Client()
		b.handler = New(b.o)
		const path = "/organisations/acme/upstreams/up"
		b.call(b.provider, "POST", "/organisations/acme/upstreams", `{"name":"up","url":"`+up.URL+`/v1","credentials":[{"name":"c","secret":"0123456789abcdef"}]}`).want(201)
		r := b.call(b.provider, "POST", path+"/refresh-models", "").want(200)
		if r.get("added") != `["a","b"]` || r.get("gone") != "[]" || r.get("items.1.model") != "b" || sent != "Bearer 0123456789abcdef" {
			t.Error(r.Text, sent)
		}
		models = []string{"b", "c"}
		if r = b.call(b.provider, "POST", path+"/refresh-models", "").want(200); r.get("added") != `["c"]` || r.get("gone") != `["a"]` {
			t.Error(r.Text)
		}
		if r = b.call(b.provider, "GET", path+"/models", "").want(200); r.get("items.0.gone") == "" || r.get("items.2.model") != "c" {
			t.Error(r.Text)
		}
		b.call(b.consumer, "POST", path+"/refresh-models", "").want(404)
		up.Close()
		b.call(b.provider, "POST", path+"/refresh-models", "").want(502, "catalog.models_failed")
	})
}

const card = `{"currency":"USD","lines":[{"meter":"tokens","price":"1","per":1000000}]}`

func TestProducts(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path = "/organisations/acme/products"
		b.call(b.provider, "POST", "/organisations/acme/upstreams", `{"name":"up","url":"http://x/v1"}`).want(201)
		r := b.call(b.provider, "POST", path, `{"name":"chat","title":{"en":"Chat"},"model":"big/chat"}`).want(201)
		if r.get("state") != "draft" || r.get("capabilities") != `["chat"]` || r.get("versions") != "[]" || r.Header.Get("Location") != "/api/v1"+path+"/chat" {
			t.Error(r.Text)
		}
		b.call(b.provider, "POST", path, `{"name":"chat"}`).want(409, "catalog.taken")
		b.call(b.provider, "POST", path, `{"name":"other","model":"big/chat"}`).want(409, "catalog.taken")
		b.call(b.provider, "POST", path, `{"name":"other","capabilities":["dance"]}`).want(422, "catalog.product_invalid")
		b.call(b.provider, "POST", path, `{"name":"other","max_output":-1}`).want(422, "api.invalid")
		b.call(b.consumer, "POST", "/organisations/demo/products", `{"name":"x"}`).want(403, "auth.forbidden")
		b.call(b.consumer, "GET", path+"/chat", "").want(404)

		tag := r.Header.Get("ETag")
		r = b.call(b.provider, "PATCH", path+"/chat", `{"context":8192,"description":{"zh":"聊天"}}`, "If-Match: "+tag).want(200)
		if r.get("context") != "8192" || r.get("title.en") != "Chat" || r.get("description.zh") != "聊天" || r.get("model") != "big/chat" {
			t.Error(r.Text)
		}
		b.call(b.provider, "PATCH", path+"/chat", `{"context":1}`, "If-Match: "+tag).want(412, "catalog.stale")

		b.call(b.provider, "POST", path+"/chat/versions", `{"name":"v1","targets":[{"upstream":"nowhere"}]}`).want(422)
		b.call(b.provider, "POST", path+"/chat/versions", `{"name":"v1"}`).want(201)
		r = b.call(b.provider, "POST", path+"/chat/versions", `{"name":"v2","targets":[{"upstream":"up","model":"m2"}]}`).want(201)
		if r.get("versions.0.share") != "100" || r.get("versions.1.share") != "0" || r.get("versions.1.targets.0.upstream") != "up" {
			t.Error(r.Text)
		}
		tag = r.Header.Get("ETag")
		b.call(b.provider, "PUT", path+"/chat/versions/v1/targets", `{"targets":[{"upstream":"up"}]}`).want(412)
		r = b.call(b.provider, "PUT", path+"/chat/versions/v1/targets", `{"targets":[{"upstream":"up","weight":3}]}`, "If-Match: "+tag).want(200)
		if r.get("versions.0.targets.0.model") != "big/chat" || r.get("versions.0.targets.0.weight") != "3" {
			t.Error(r.Text)
		}
		b.call(b.provider, "PUT", path+"/chat/release", `{"release":[{"version":"v2","release":"canary","share":10}]}`, "If-Match: *").want(422)
		r = b.call(b.provider, "PUT", path+"/chat/release", `{"release":[{"version":"v1","release":"stable","share":90},{"version":"v2","release":"canary","share":10}]}`, "If-Match: *").want(200)
		if r.get("versions.0.share") != "90" || r.get("versions.1.release") != "canary" {
			t.Error(r.Text)
		}

		b.call(b.provider, "POST", path+"/chat/publish", "").want(409, "plan.no_price")
		b.call(b.provider, "POST", path+"/chat/plans", `{"name":"payg","public":true,"card":`+card+`}`).want(201)
		b.call(b.provider, "POST", path+"/chat/plans/payg/publish", "").want(200)
		if r = b.call(b.provider, "POST", path+"/chat/publish", "").want(200); r.get("state") != "published" || r.get("published") == "" {
			t.Error(r.Text)
		}
		b.call(b.provider, "PATCH", path+"/chat", `{"model":"new"}`, "If-Match: *").want(409, "catalog.model_fixed")

		// What is on sale is everyone's to see, but not how it is made.
		got := b.call("", "GET", "/catalogue", "").want(200)
		if got.get("items.0.model") != "big/chat" || got.get("items.0.provider") != "acme" || got.get("items.0.plans.0.plan") != "acme/chat/payg" || got.get("items.0.plans.0.card.lines.0.price") != "1" ||
			strings.Contains(got.Text, "http://x") || strings.Contains(got.Text, "commission") {
			t.Error(got.Text)
		}
		def := b.call(b.consumer, "GET", path+"/chat/definition", "").want(200)
		if def.Header.Get("Content-Type") != "application/openapi+json" || !strings.HasPrefix(def.get("openapi"), "3.1") {
			t.Error(def.Header, def.Text)
		}

		b.call(b.provider, "POST", path+"/chat/suspend", `{}`).want(422, "catalog.reason")
		b.call(b.provider, "POST", path+"/chat/suspend", `{"reason":"broken"}`).want(200)
		if got := b.call("", "GET", "/catalogue", "").want(200); got.get("items") != "[]" {
			t.Error(got.Text)
		}
		b.call(b.consumer, "GET", path+"/chat/definition", "").want(404)
		b.call(b.provider, "POST", path+"/chat/resume", "").want(200)
		b.call(b.provider, "POST", path+"/chat/retire", `{"reason":"old"}`).want(200)
		b.call(b.provider, "POST", path+"/chat/publish", "").want(409, "catalog.state")
		b.call(b.provider, "POST", path, `{"name":"second"}`).want(201)
		if got := b.paged(b.provider, path, "name"); len(got) != 2 || got[0] != "chat" {
			t.Error(got)
		}
	})
}

func TestPlans(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.applied()
		const path = "/organisations/acme/products/chat/plans"
		r := b.call(b.provider, "POST", path, `{"name":"pro","title":{"zh":"专业"},"card":`+card+`,"limits":{"rpm":5}}`).want(201)
		if r.get("state") != "draft" || r.get("pending") != "true" || r.get("current") != "" {
			t.Error(r.Text)
		}
		b.call(b.provider, "POST", path, `{"name":"pro","card":`+card+`}`).want(409, "plan.taken")
		b.call(b.provider, "POST", path, `{"name":"auto","auto_subscribe":true,"card":`+card+`}`).want(422, "plan.invalid")
		b.call(b.provider, "POST", path, `{"name":"auto","public":true,"auto_subscribe":true,"card":`+card+`}`).want(409, "plan.auto_taken")
		b.call(b.provider, "POST", path, `{"name":"none"}`).want(422, "api.invalid")
		b.call(b.provider, "POST", path, `{"name":"half","card":{"currency":"USD","lines":[{"meter":"requests","price":"1"}]}}`).want(422, "plan.invalid")
		b.call(b.provider, "POST", path, `{"name":"cheap","commission_ppm":0,"card":`+card+`}`).want(403, "auth.forbidden")
		b.call(b.operator, "POST", path, `{"name":"cheap","commission_ppm":0,"card":`+card+`}`).want(201)

		b.call(b.operator, "PATCH", "/settings", `{"default_commission_ppm":50000}`, "If-Match: *").want(200)
		r = b.call(b.provider, "POST", path+"/pro/publish", "").want(200)
		if r.get("current.number") != "1" || r.get("current.commission_ppm") != "50000" || r.get("pending") != "false" {
			t.Error(r.Text)
		}
		tag := r.Header.Get("ETag")
		b.call(b.provider, "PATCH", path+"/pro", `{"commission_ppm":0}`, "If-Match: *").want(403, "auth.forbidden")
		r = b.call(b.provider, "PATCH", path+"/pro", `{"limits":{"rpm":9}}`, "If-Match: "+tag).want(200)
		if r.get("pending") != "true" || r.get("limits.rpm") != "9" || r.get("current.limits.rpm") != "5" || r.get("title.zh") != "专业" {
			t.Error(r.Text)
		}
		b.call(b.provider, "PATCH", path+"/pro", `{"limits":{"rpm":1}}`, "If-Match: "+tag).want(412, "plan.stale")
		b.call(b.provider, "PATCH", path+"/pro", `{"card":{"currency":"USD","lines":[{"price":"1","surprise":1}]}}`, "If-Match: *").want(422, "api.invalid")
		b.call(b.provider, "POST", path+"/pro/publish", "").want(200)
		if r = b.call(b.provider, "GET", path+"/pro/versions", "").want(200); r.get("items.0.number") != "2" || r.get("items.1.number") != "1" {
			t.Error(r.Text)
		}
		b.call(b.provider, "POST", path+"/pro/suspend", "").want(422, "plan.reason")
		b.call(b.provider, "POST", path+"/pro/suspend", `{"reason":"r"}`).want(200)
		b.call(b.provider, "POST", path+"/pro/resume", "").want(200)
		b.call(b.provider, "POST", path+"/pro/retire", `{"reason":"r"}`).want(200)
		b.call(b.consumer, "GET", path, "").want(404)
		b.call(b.provider, "GET", path+"/none", "").want(404)
		if got := b.paged(b.provider, path, "name"); len(got) != 3 {
			t.Error(got)
		}
	})
}

func TestSubscriptions(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.applied()
		const path = "/organisations/demo/subscriptions"
		first := b.call(b.consumer, "GET", path, "").want(200)
		id := first.get("items.0.id")
		if first.get("items.0.plan") != "acme/chat/payg" || first.get("items.0.terms") != "" {
			t.Error(first.Text)
		}
		one := b.call(b.consumer, "GET", path+"/"+id, "").want(200)
		if one.get("terms.card.lines.0.price") != "0.15" || one.get("terms.limits.rpm") != "600" || strings.Contains(one.Text, "commission") {
			t.Error(one.Text)
		}
		b.call(b.consumer, "POST", path, `{"plan":"acme/chat/payg"}`).want(409, "plan.subscribed")
		b.call(b.consumer, "POST", path, `{"plan":"acme/chat/none"}`).want(404, "api.no_plan")
		b.call(b.consumer, "POST", path, `{"plan":"nonsense"}`).want(404, "api.no_plan")
		b.call(b.provider, "POST", path, `{"plan":"acme/chat/payg"}`).want(404, "api.no_organisation")

		b.call(b.consumer, "POST", path+"/"+id+"/suspend", `{"reason":"x"}`).want(403, "auth.forbidden")
		b.call(b.operator, "POST", path+"/"+id+"/suspend", `{"reason":"unpaid"}`, `If-Match: "9"`).want(412, "plan.stale")
		b.call(b.operator, "POST", path+"/"+id+"/suspend", `{"reason":"unpaid"}`).want(200)
		b.call(b.consumer, "POST", path+"/"+id+"/end", `{"reason":"x"}`).want(403, "plan.end_suspended")
		b.call(b.operator, "POST", path+"/"+id+"/resume", "").want(200)
		b.call(b.consumer, "POST", path+"/"+id+"/end", "").want(422, "plan.reason")
		if r := b.call(b.consumer, "POST", path+"/"+id+"/end", `{"reason":"moved on"}`).want(200); r.get("state") != "ended" || r.get("ended") == "" {
			t.Error(r.Text)
		}
		if r := b.call(b.consumer, "GET", path+"/"+id+"/history", "").want(200); r.get("items.0.to") != "active" || r.get("items.3.to") != "ended" || r.get("items.1.reason") != "unpaid" {
			t.Error(r.Text)
		}

		again := b.call(b.consumer, "POST", path, `{"plan":"acme/chat/payg","zone":"Asia/Shanghai"}`, "Idempotency-Key: s").want(201)
		if again.get("zone") != "Asia/Shanghai" || again.Header.Get("Location") != "/api/v1"+path+"/"+again.get("id") {
			t.Error(again.Text)
		}
		if r := b.call(b.consumer, "POST", path, `{"plan":"acme/chat/payg","zone":"Asia/Shanghai"}`, "Idempotency-Key: s").want(201); r.Text != again.Text {
			t.Error(r.Text)
		}
		b.call(b.provider, "GET", "/organisations/acme/subscriptions/"+id, "").want(404, "api.no_subscription")
		if got := b.paged(b.consumer, path, "state"); len(got) != 2 {
			t.Error(got)
		}
		if got := b.paged(b.consumer, path+"?state=active", "id"); len(got) != 1 {
			t.Error(got)
		}

		// A private plan is the provider's or the operator's to give.
		b.call(b.provider, "POST", "/organisations/acme/products/chat/plans", `{"name":"private","card":`+card+`}`).want(201)
		b.call(b.provider, "POST", "/organisations/acme/products/chat/plans/private/publish", "").want(200)
		b.call(b.operator, "POST", path+"/"+again.get("id")+"/end", `{"reason":"x"}`).want(200)
		b.call(b.consumer, "POST", path, `{"plan":"acme/chat/private"}`).want(404, "api.no_plan")
		b.call(b.operator, "POST", path, `{"plan":"acme/chat/private"}`).want(201)
	})
}
