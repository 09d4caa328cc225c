package cli

import (
	"encoding/json"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/api"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const planYAML = `plans:
  - name: payg
    product: acme/chat
    card:
      currency: USD
      lines:
        - {meter: tokens, price: "0.15", per: 1000000}
`

func TestDocumentsAreRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", "organisations: [{name: acme, title: &t {en: Acme, zh: 艾克米}}, {name: other, title: *t}]\n---\nupstreams:\n  - name: up\n    credentials:\n      - {name: main, secret_env: KEY}\n      - {name: second, secret_file: s.txt}\n")
	write(t, dir, "b.yml", planYAML)
	write(t, dir, "c.json", `{"subscriptions":[{"organisation":"acme","anchor":"2026-01-31T00:00:00Z"}]}`)
	write(t, dir, "s.txt", "from a file\n")
	f := newFake(t, 200, `{"applied":true,"changed":1,"items":[{"object":"plan","name":"acme/chat/payg","action":"updated","changes":[{"field":"public","from":false,"to":true}]},{"object":"organisation","name":"acme","action":"unchanged"}]}`)
	r := runIn(t, map[string]string{"KEY": "from the environment"}, "organisations:\n  - name: third\n", "apply", "-f", dir, "-f", "-", "-url", f.URL, "-token", token)
	if want := "~ plan acme/chat/payg\n    public: false → true\n= organisation acme\n1 of 2 objects changed\n"; r.code != OK || r.stdout != want {
		t.Errorf("%+v", r)
	}
	var got any
	if err := json.Unmarshal([]byte(f.bodies[0]), &got); err != nil {
		t.Fatal(err)
	}
	title := map[string]any{"en": "Acme", "zh": "艾克米"}
	want := map[string]any{
		"organisations": []any{map[string]any{"name": "acme", "title": title}, map[string]any{"name": "other", "title": title}, map[string]any{"name": "third"}},
		"upstreams": []any{map[string]any{"name": "up", "credentials": []any{
			map[string]any{"name": "main", "secret": "from the environment"}, map[string]any{"name": "second", "secret": "from a file"}}}},
		"plans": []any{map[string]any{"name": "payg", "product": "acme/chat", "card": map[string]any{"currency": "USD",
			"lines": []any{map[string]any{"meter": "tokens", "price": "0.15", "per": 1e6}}}}},
		"subscriptions": []any{map[string]any{"organisation": "acme", "anchor": "2026-01-31T00:00:00Z"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if f.asked[0].URL.RawQuery != "" || f.asked[0].Header.Get("Idempotency-Key") == "" {
		t.Errorf("%s %v", f.asked[0].URL, f.asked[0].Header)
	}
	r = f.run(t, "diff", "-f", filepath.Join(dir, "b.yml"))
	if r.code != Failed || f.asked[1].URL.RawQuery != "dry_run=true" || f.asked[1].Header.Get("Idempotency-Key") != "" {
		t.Errorf("%+v %s", r, f.asked[1].URL)
	}
}

func TestBadDocumentsAreNotSent(t *testing.T) {
	deep := "organisations: [" + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "]"
	for _, c := range []struct{ name, text, want string }{
		{"unknown field", "plans:\n  - name: x\n    card_: 1\n", "x.yaml:3: plans[0].card_: 没有这个字段；可用的有：auto_subscribe,"},
		{"unknown nested field", "products:\n  - versions:\n      - targets:\n          - {upstrem: a}\n", "x.yaml:4: products[0].versions[0].targets[0].upstrem: 没有这个字段；可用的有：model, priority, upstream, weight"},
		{"unknown kind", "plan: []\n", "x.yaml:1: plan: 没有这个字段；可用的有：organisations,"},
		{"twice", "plans:\n  - name: x\n    name: y\n", "x.yaml:3: plans[0].name: 给出了两次，首次在第 2 行"},
		{"kind twice", "plans: []\nplans: []\n", "x.yaml:2: plans: 给出了两次，首次在第 1 行"},
		{"no list", "plans: {name: x}\n", "x.yaml:1: plans: 必须是列表"},
		{"no object", "- 1\n", "x.yaml:1: 必须是对象"},
		{"merge", "a: &a {}\nplans:\n  - <<: {name: x}\n", "plans[0].<<: 没有这个字段"},
		{"no YAML", "plans: [\n", "x.yaml 不是有效的 YAML：line 1:"},
		{"negative price", strings.Replace(planYAML, `"0.15"`, `"-0.15"`, 1), "x.yaml:7: plans[0].card.lines[0].price: "},
		{"inexact price", strings.Replace(planYAML, `"0.15"`, `0.15`, 1), "请写在引号中"},
		{"unknown field in a card", strings.Replace(planYAML, "per:", "pro:", 1), "x.yaml:7: plans[0].card.lines[0].pro: "},
		{"odd number", "products: [{context: 0x10}]", "x.yaml:1: products[0].context: 请以普通十进制书写数字"},
		{"binary", "products: [{name: !!binary aGk=}]", "这里不支持标签 !!binary"},
		{"deep", deep, "或嵌套过深"},
		{"bomb", "organisations:\n  - &a [x,x,x,x,x,x,x,x,x,x]\n  - &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n  - &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n  - &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n  - &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n  - [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n  - [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n", "内容过多"},
		{"no variable", "upstreams:\n  - credentials:\n      - {secret_env: NOWHERE}\n", "x.yaml:3: upstreams[0].credentials[0]: 环境变量 NOWHERE 未设置"},
		{"no file", "upstreams:\n  - credentials:\n      - {secret_file: nowhere}\n", "x.yaml:3: upstreams[0].credentials[0]: 没有这个文件"},
		{"two secrets", "upstreams:\n  - credentials:\n      - {secret: a, secret_file: b}\n", "只能给出其一"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, 200, `{}`)
			r := f.run(t, "apply", "-f", write(t, t.TempDir(), "x.yaml", c.text))
			if r.code != Failed || r.stdout != "" || !strings.Contains(r.stderr, c.want) || len(f.asked) > 0 {
				t.Errorf("%d requests, %+v", len(f.asked), r)
			}
		})
	}
	for _, args := range [][]string{{"-f", t.TempDir()}, {"-f", filepath.Join(t.TempDir(), "nowhere.yaml")}} {
		if r := runIn(t, nil, "", append([]string{"apply"}, args...)...); r.code != Failed || r.stderr == "" {
			t.Errorf("%q: %+v", args, r)
		}
	}
}

// What the server refuses is shown where it was written.
func TestServersFaultsHavePlaces(t *testing.T) {
	f := newFake(t, 422, `{"detail":"no","errors":[{"path":"plans[0].card.lines[0].price","detail":"too dear"},{"path":"plans[0].title.en","detail":"is missing"},{"path":"plans[7].x","detail":"odd"}]}`)
	r := f.run(t, "apply", "-f", write(t, t.TempDir(), "x.yaml", planYAML))
	for _, want := range []string{"x.yaml:7: plans[0].card.lines[0].price: too dear", "x.yaml:2: plans[0].title.en: is missing", "  plans[7].x: odd"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in\n%s", want, r.stderr)
		}
	}
}

// schema is as much of an OpenAPI schema as matters here.
type schema struct {
	Ref        string            `json:"$ref"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
}

// TestKindsAreTheAPIs holds the fields that are known here to those that the API takes.
func TestKindsAreTheAPIs(t *testing.T) {
	w := httptest.NewRecorder()
	api.New(api.Options{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/api/openapi.json", nil))
	var doc struct {
		Paths map[string]struct {
			Post struct {
				RequestBody struct {
					Content map[string]struct{ Schema schema }
				}
			}
		}
		Components struct{ Schemas map[string]schema }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	var fields func(s schema) shape
	fields = func(s schema) shape {
		if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
			s = doc.Components.Schemas[name]
		}
		if s.Items != nil {
			return fields(*s.Items)
		}
		if len(s.Properties) == 0 {
			return nil
		}
		out := shape{}
		for name, p := range s.Properties {
			if out[name] = fields(p); name == "card" {
				out[name] = nil // the rating room's
			}
		}
		return out
	}
	want := fields(doc.Paths["/api/v1/apply"].Post.RequestBody.Content["application/json"].Schema)
	delete(want, "$schema")
	got := shape(kinds())
	credentials := maps.Clone(got["upstreams"]["credentials"])
	delete(credentials, "secret_env")
	delete(credentials, "secret_file")
	got["upstreams"]["credentials"] = credentials
	if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("the API's fields (-) are not those here (+):\n%s%v", diff, slices.Sorted(maps.Keys(want)))
	}
}

// Whatever is written, reading it ends, and what was read can be sent.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(planYAML))
	f.Add([]byte("organisations: &a [{name: x, title: {en: 1}}, *a]\n---\nupstreams: [{credentials: [{secret_env: A}, 7]}]"))
	f.Add([]byte("products: [{context: 1e3, title: !!str 3, x: .inf, versions: [[{targets: {}}]]}]"))
	f.Add([]byte("&a ? *a : {<<: *a}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &documents{lists: map[string][]any{}, places: map[string]string{}, kinds: kinds(), getenv: func(string) string { return "x" }}
		if d.parse("x.yaml", t.TempDir(), text) != nil || len(d.faults) > 0 {
			return
		}
		if _, err := json.Marshal(d.lists); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
