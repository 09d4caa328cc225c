package api

import (
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

const asYAML = "Content-Type: application/yaml"

// actions gives what apply did as "object name: action", one a line, without what is unchanged.
func (r *reply) actions() string {
	var out strings.Builder
	items, _ := r.Body["items"].([]any)
	for _, it := range items {
		m, _ := it.(map[string]any)
		if m["action"] != "unchanged" {
			for _, k := range []string{"object", "name", "action"} {
				s, _ := m[k].(string)
				out.WriteString(s + " ")
			}
			out.WriteString("\n")
		}
	}
	return strings.ReplaceAll(out.String(), " \n", "\n")
}

func TestApply(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		dry := b.call(b.operator, "POST", "/apply?dry_run=true", catalogueYAML, asYAML).want(200)
		if dry.get("applied") != "false" || dry.get("changed") != "5" {
			t.Error(dry.Text)
		}
		b.call(b.operator, "GET", "/organisations/acme/upstreams/local", "").want(404)

		done := b.call(b.operator, "POST", "/apply", catalogueYAML, asYAML).want(200)
		if done.actions() != dry.actions() || done.get("applied") != "true" {
			t.Error(cmp.Diff(dry.actions(), done.actions()))
		}
		want := "organisation acme updated\nupstream acme/local created\nproduct acme/chat created\nplan acme/chat/payg created\nsubscription demo acme/chat/payg created\n"
		if diff := cmp.Diff(want, done.actions()); diff != "" {
			t.Error(diff)
		}
		if r := b.call("", "GET", "/catalogue", "").want(200); r.get("items.0.model") != "meta/llama3" {
			t.Error(r.Text)
		}
		for _, r := range []*reply{done, b.call(b.operator, "GET", "/export", ""), b.call(b.operator, "GET", "/audit?limit=500", "")} {
			if strings.Contains(r.Text, "very-secret") {
				t.Error("the secret is in", r.Text)
			}
		}
		again := b.call(b.operator, "POST", "/apply", catalogueYAML, asYAML).want(200)
		if again.get("changed") != "0" || again.actions() != "" {
			t.Error(again.Text)
		}
		// The provider may say the same, though it may neither subscribe others nor change their parts.
		own := catalogueYAML[:strings.Index(catalogueYAML, "subscriptions:")]
		if r := b.call(b.provider, "POST", "/apply", own, asYAML).want(200); r.get("changed") != "0" {
			t.Error(r.Text)
		}

		changed := strings.NewReplacer(`"0.60"`, `"0.70"`, "very-secret", "more-secret", "share: 90", "share: 80", "share: 10", "share: 20", "role: developer", "role: billing").Replace(own)
		r := b.call(b.provider, "POST", "/apply", changed, asYAML).want(200)
		want = "organisation acme updated\nupstream acme/local updated\nproduct acme/chat updated\nplan acme/chat/payg published\n"
		if diff := cmp.Diff(want, r.actions()); diff != "" {
			t.Error(diff)
		}
		if got := b.call(b.provider, "GET", "/organisations/acme/products/chat/plans/payg", ""); got.get("current.number") != "2" {
			t.Error(got.Text)
		}
		if got := b.call(b.consumer, "GET", "/organisations/demo/subscriptions", ""); got.get("items.0.plan_version_id") == "" {
			t.Error("the subscriber stays on the version that it agreed to:", got.Text)
		}
	})
}

func TestApplyRefused(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		own := catalogueYAML[:strings.Index(catalogueYAML, "subscriptions:")]
		plan := "plans: [{name: p, product: acme/chat, card: {currency: USD, lines: [{meter: tokens, price: '1'}]}}]"
		for _, x := range []struct {
			name, key, body string
			status          int
			code, path      string
		}{
			{"not YAML", b.operator, "a: [", 400, "api.malformed", ""},
			{"key twice", b.operator, "plans: []\nplans: []", 400, "api.malformed", ""},
			{"two documents", b.operator, "plans: []\n---\nplans: []", 400, "api.malformed", ""},
			{"a list", b.operator, "- a", 422, "api.invalid", ""},
			{"unknown kind", b.operator, "planes: []", 422, "api.invalid", "planes"},
			{"unknown field", b.operator, "plans: [{name: p, product: acme/chat, colour: red, card: {currency: USD, lines: []}}]", 422, "api.invalid", "plans[0].colour"},
			{"environment", b.operator, "upstreams: [{name: u, organisation: acme, url: 'http://x/', credentials: [{name: c, secret_env: X}]}]", 422, "api.invalid", "upstreams[0].credentials[0].secret_env"},
			{"unknown field of a card", b.operator, "plans: [{name: p, product: acme/chat, card: {currency: USD, lines: [{meter: tokens, prize: '1'}]}}]", 422, "api.invalid", "plans[0].card.lines[0].prize"},
			{"inexact price", b.operator, strings.Replace(plan, "'1'", "0.5", 1), 422, "api.invalid", "plans[0].card.lines[0].price"},
			{"negative price", b.operator, strings.Replace(own, `"0.60"`, `"-0.60"`, 1), 422, "plan.invalid", "plans[0].card.lines[1].price"},
			{"overflowing price", b.operator, strings.Replace(own, `"0.60"`, `"99999999999999999999"`, 1), 422, "plan.invalid", "plans[0].card.lines[1].price"},
			{"no price", b.operator, strings.Replace(own, `{class: output}`, `{class: audio_output}`, 1), 422, "plan.invalid", "plans[0].card.lines"},
			{"duplicate organisation", b.operator, "organisations: [{name: x}, {name: x}]", 422, "api.duplicate", "organisations[1].name"},
			{"duplicate member", b.operator, "organisations: [{name: x, members: [{email: A@x.example, role: owner}, {email: a@x.example, role: owner}]}]", 422, "api.duplicate", "organisations[0].members[1].email"},
			{"duplicate plan", b.operator, plan + "\n", 404, "api.no_product", "plans[0].product"},
			{"duplicate version", b.operator, "products: [{name: c, organisation: acme, versions: [{name: v}, {name: v}]}]", 422, "api.duplicate", "products[0].versions[1].name"},
			{"unknown organisation", b.operator, "upstreams: [{name: u, organisation: nobody, url: 'http://x/'}]", 404, "api.no_organisation", "upstreams[0].organisation"},
			{"bad URL", b.operator, "upstreams: [{name: u, organisation: acme, url: 'nonsense'}]", 422, "catalog.upstream_invalid", "upstreams[0].url"},
			{"bad timeout", b.operator, "upstreams: [{name: u, organisation: acme, url: 'http://x/', timeouts: {idle: soon}}]", 422, "api.timeouts", "upstreams[0].timeouts.idle"},
			{"no secret", b.operator, "upstreams: [{name: u, organisation: acme, url: 'http://x/', credentials: [{name: c}]}]", 422, "catalog.credential_empty", "upstreams[0].secret"},
			{"unknown upstream", b.operator, strings.Replace(own, "targets: [{upstream: local", "targets: [{upstream: other", 1), 422, "catalog.version_invalid", "products[0].versions[0].targets[0].upstream"},
			{"bad shares", b.operator, strings.Replace(own, "share: 90", "share: 95", 1), 422, "catalog.release_invalid", "products[0].release"},
			{"plan of no product", b.operator, strings.Replace(plan, "acme/chat", "acme-chat", 1), 422, "api.reference", "plans[0].product"},
			{"no plan", b.operator, "subscriptions: [{organisation: demo, plan: acme/chat/none}]", 404, "api.no_plan", "subscriptions[0].plan"},
			{"no price to sell", b.operator, strings.Replace(own, "          - {meter: tokens, when: {class: output}", "        - {meter: tokens, when: {class: output}", 0) + "---", 400, "api.malformed", ""},
			{"suspended for no reason", b.operator, "organisations: [{name: demo, state: suspended}]", 422, "org.reason", "organisations[0]"},
			{"another's organisation", b.provider, "organisations: [{name: demo, title: {en: X}}]", 404, "api.no_organisation", "organisations[0]"},
			{"a new organisation", b.provider, "organisations: [{name: mine}]", 403, "auth.forbidden", "organisations[0]"},
			{"another part", b.provider, "organisations: [{name: acme, parts: [provider, operator]}]", 403, "auth.forbidden", "organisations[0]"},
			{"another's upstream", b.provider, "upstreams: [{name: u, organisation: platform, url: 'http://x/'}]", 404, "api.no_organisation", "upstreams[0].organisation"},
			{"own commission", b.provider, strings.Replace(own, "    public: true\n", "    public: true\n    commission_ppm: 0\n", 1), 403, "auth.forbidden", "plans[0]"},
			{"upstream of a consumer", b.consumer, "upstreams: [{name: u, organisation: demo, url: 'http://x/'}]", 403, "auth.forbidden", "upstreams[0]"},
		} {
			r := b.call(x.key, "POST", "/apply", x.body, asYAML)
			if r.Status != x.status || r.get("code") != x.code || x.path != "" && r.get("errors.0.path") != x.path {
				t.Errorf("%s: %d %s", x.name, r.Status, r.Text)
			}
		}
		// Nothing of what was refused is there: all or nothing.
		if got := b.call(b.operator, "GET", "/export", "").want(200).Text; strings.Contains(got, "upstreams") || strings.Contains(got, "products") || strings.Contains(got, "Acme AI") {
			t.Error(got)
		}
		b.call("", "POST", "/apply", "plans: []", asYAML).want(401)
	})
}

// TestApplyStates takes objects up and down.
func TestApplyStates(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.applied()
		apply := func(body string) *reply {
			t.Helper()
			return b.call(b.operator, "POST", "/apply", body, asYAML).want(200)
		}
		down := strings.NewReplacer("    state: published", "    state: suspended\n    reason: maintenance",
			"payg}", "payg, state: suspended, reason: unpaid}", "timeouts:", "state: suspended\n    reason: down\n    timeouts:").Replace(catalogueYAML) +
			"\n"
		if got := apply(down).actions(); strings.Count(got, "updated") != 4 {
			t.Error(got)
		}
		if got := apply(down).actions(); got != "" {
			t.Error("not idempotent:", got)
		}
		for path, want := range map[string]string{"/organisations/acme/products/chat": "suspended", "/organisations/acme/products/chat/plans/payg": "suspended", "/organisations/acme/upstreams/local": "suspended"} {
			if got := b.call(b.operator, "GET", path, ""); got.get("state") != want {
				t.Error(path, got.get("state"))
			}
		}
		up := strings.NewReplacer("payg}", "payg, state: active}", "timeouts:", "state: active\n    timeouts:").Replace(catalogueYAML)
		if got := apply(up).actions(); strings.Count(got, "\n") != 4 {
			t.Error(got)
		}
		if got := apply(up).actions(); got != "" {
			t.Error("not idempotent:", got)
		}
		b.call(b.operator, "POST", "/apply", strings.Replace(catalogueYAML, "    state: published", "    state: draft", 1), asYAML).want(409, "api.draft")
		apply("organisations: [{name: demo, state: suspended, reason: fraud}]")
		b.call(b.consumer, "GET", "/me", "").want(403)
		apply("organisations: [{name: demo, state: active}]")
		b.call(b.consumer, "GET", "/me", "").want(200)
		gone := strings.NewReplacer("    state: published", "    state: retired\n    reason: old", "payg}", "payg, state: ended, reason: old}").Replace(catalogueYAML)
		apply(gone)
		if got := apply(gone).actions(); got != "" {
			t.Error("not idempotent:", got)
		}
	})
}

// rich is an installation with an object in every state that export tells of.
const rich = `
organisations:
  - {name: acme, title: {en: Acme AI, zh: 艾克米}, members: [{email: dev@acme.example, role: developer, name: Dev}]}
  - {name: shut, parts: [consumer, partner], state: suspended, reason: "unpaid: twice"}
upstreams:
  - {name: local, organisation: acme, url: "http://127.0.0.1:11434/v1", timeouts: {connect: 1500ms, total: 1h}}
  - {name: spare, organisation: acme, url: "https://api.example.com/v1", state: suspended, reason: broken}
products:
  - name: chat
    organisation: acme
    title: {en: "Yes: chat", zh: 聊天}
    description: {en: "two\nlines"}
    model: meta/llama3
    capabilities: [chat, embeddings]
    input_modalities: [text, image]
    context: 8192
    max_output: 100
    definition: |
      openapi: 3.1.0
      info: {title: Chat, version: "1"}
      paths: {/v1/chat/completions: {post: {responses: {"200": {description: An answer}}}}}
    versions:
      - {name: v1, release: blue, share: 70, targets: [{upstream: local, model: "llama3:8b", priority: 2, weight: 9}, {upstream: spare}]}
      - {name: v2, release: green, share: 30, targets: [{upstream: local, model: "null"}]}
    state: published
  - {name: paused, organisation: acme, model: other, versions: [{name: v1, targets: [{upstream: local}]}], state: suspended, reason: maintenance}
  - {name: idea, organisation: acme}
plans:
  - name: payg
    product: acme/chat
    public: true
    auto_subscribe: true
    commission_ppm: 123456
    limits: {rpm: 600, tpm: 7, concurrency: 3}
    hold: {max_output: 50}
    terms: be nice
    card: {currency: USD, lines: [{name: in, meter: tokens, when: {class: [input, cached_input], hours: "08:00-20:00"}, price: "0.15", per: 1000000}, {meter: tokens, pricing: graduated, tiers: [{up_to: 1000, price: "1"}, {price: "0.5"}]}]}
    state: published
  - {name: old, product: acme/chat, card: {currency: EUR, lines: [{meter: tokens, free: true}]}, state: retired, reason: dear}
  - {name: off, product: acme/chat, card: {currency: EUR, lines: [{meter: tokens, price: "1"}]}, state: suspended, reason: wrong}
  - {name: next, product: acme/chat, card: {currency: EUR, lines: [{meter: tokens, price: "2"}]}}
  - {name: p, product: acme/paused, public: true, card: {currency: USD, lines: [{meter: tokens, price: 1}]}, state: published}
subscriptions:
  - {organisation: demo, plan: acme/chat/old, zone: Asia/Shanghai, anchor: 2026-01-31T09:30:00Z}
  - {organisation: acme, plan: acme/chat/payg, state: suspended, reason: test}
`

// TestExport: what export gives changes nothing where it came from, and makes an empty installation
// the same, whose export is then the same text.
func TestExport(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		b.call(b.operator, "POST", "/apply", rich, asYAML).want(200)
		// An edit that is not published yet.
		b.call(b.provider, "PATCH", "/organisations/acme/products/chat/plans/payg", `{"limits":{"rpm":1}}`, "If-Match: *").want(200)
		b.call(b.operator, "PATCH", "/settings", `{"default_commission_ppm":1}`, "If-Match: *").want(200)
		r := b.call(b.operator, "GET", "/export", "").want(200)
		if r.Header.Get("Content-Type") != "application/yaml" {
			t.Error(r.Header)
		}
		same := b.call(b.operator, "POST", "/apply", r.Text, asYAML).want(200)
		if same.get("changed") != "0" {
			t.Error("export is not what is there:", same.actions())
		}
		asJSON := b.call(b.operator, "GET", "/export", "", "Accept: application/json").want(200)
		if same = b.call(b.operator, "POST", "/apply", asJSON.Text).want(200); same.get("changed") != "0" {
			t.Error("export as JSON is not what is there:", same.actions())
		}
		var d2 *db.DB
		if b.db.Engine() == db.SQLite {
			d2 = dbtest.SQLite(t, tables)
		} else {
			d2 = dbtest.Open(t, dbtest.PostgresDSN(t), db.Options{}, tables)
		}
		empty := newFounded(t, d2)
		empty.call(empty.operator, "POST", "/apply", r.Text, asYAML).want(200)
		copied := empty.call(empty.operator, "GET", "/export", "").want(200)
		// The edit has been published there: it is part of the plan's first version.
		want := strings.Replace(r.Text, "    unpublished_edit: true\n", "", 1)
		if want == r.Text {
			t.Error("the pending edit is not exported")
		}
		if diff := cmp.Diff(want, copied.Text); diff != "" {
			t.Error(diff)
		}
		if same = empty.call(empty.operator, "POST", "/apply", r.Text, asYAML).want(200); same.get("changed") != "0" {
			t.Error(same.actions())
		}

		mine := b.call(b.provider, "GET", "/export", "").want(200)
		if !strings.Contains(mine.Text, "name: acme") || strings.Contains(mine.Text, "name: demo") {
			t.Error(mine.Text)
		}
		if same = b.call(b.provider, "POST", "/apply", mine.Text, asYAML).want(200); same.get("changed") != "0" {
			t.Error(same.actions())
		}
		b.call(b.consumer, "GET", "/export?organisation=acme", "").want(404)
		if one := b.call(b.operator, "GET", "/export?organisation=demo", "").want(200); strings.Contains(one.Text, "name: acme") || !strings.Contains(one.Text, "acme/chat/old") {
			t.Error(one.Text)
		}
		// A catalogue without its secrets is one without its credentials.
		if strings.Contains(r.Text, "credentials") {
			t.Error(r.Text)
		}
	})
}

// TestExample applies the catalogue of the examples as the command does: with its secrets filled in.
func TestExample(t *testing.T) {
	text, err := os.ReadFile("../../examples/catalogue.yaml")
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Replace(string(text), "secret_env: OPENAI_API_KEY", "secret: a-secret-for-the-test", 1)
	both(t, func(t *testing.T, b *bench) {
		r := b.call(b.operator, "POST", "/apply", body, asYAML).want(200)
		if r.get("changed") != "8" {
			t.Error(r.actions())
		}
		if r = b.call(b.operator, "POST", "/apply", body, asYAML).want(200); r.get("changed") != "0" {
			t.Error(r.actions())
		}
		if r = b.call("", "GET", "/catalogue", "").want(200); r.get("items.0.model") != "acme-chat" || r.get("items.0.plans.1.plan") != "" {
			t.Error(r.Text)
		}
	})
}

// TestApplyTogether: of several who apply the same at once, one creates and the others find it there.
func TestApplyTogether(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		var wg sync.WaitGroup
		var made atomic.Int64
		for range 4 {
			wg.Go(func() {
				r := b.call(b.operator, "POST", "/apply", catalogueYAML, asYAML)
				if r.Status != 200 {
					t.Error(r.Text)
				}
				made.Add(int64(strings.Count(r.Text, `"created"`)))
			})
		}
		wg.Wait()
		if made.Load() != 4 {
			t.Errorf("%d objects were created", made.Load())
		}
	})
}
