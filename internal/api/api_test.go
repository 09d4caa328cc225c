package api

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/idem"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/record"
	"github.com/tollgate-io/tollgate/internal/secret"
	"github.com/tollgate-io/tollgate/internal/settle"

	"github.com/tollgate-io/tollgate/internal/clock"
)

var tables = []db.Migrations{audit.Migrations, org.Migrations, auth.Migrations, catalog.Migrations, plan.Migrations, ledger.Migrations,
	meter.Migrations, settle.Migrations, billing.Migrations, idem.Migrations, record.Migrations}

// bench is an API with an operator, a provider and a consumer, and an owner's key for each.
type bench struct {
	t       *testing.T
	db      *db.DB
	o       Options
	handler http.Handler

	operator, provider, consumer string // management keys of owners
}

func newBench(t *testing.T, d *db.DB) *bench {
	t.Helper()
	b := newFounded(t, d)
	by := audit.System("test")
	err := d.Update(t.Context(), func(tx *db.Tx) error {
		for _, x := range []struct {
			name  string
			parts org.Parts
			key   *string
		}{{"acme", org.Provider, &b.provider}, {"demo", org.Consumer, &b.consumer}} {
			o, err := b.o.Orgs.CreateTx(tx, by, org.Draft{Name: x.name, Parts: x.parts})
			if err != nil {
				return err
			}
			m, err := org.AddMemberTx(tx, by, o.ID, org.Invite{Email: "owner@" + x.name + ".example", Role: org.Owner})
			if err != nil {
				return err
			}
			_, sec, err := b.o.Keys.CreateTx(tx, by, auth.Draft{Kind: auth.Management, Org: o.ID, Name: "owner", Role: org.Owner, User: m.User})
			if err != nil {
				return err
			}
			*x.key = sec.Reveal()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newFounded is a bench with an operator alone.
func newFounded(t *testing.T, d *db.DB) *bench {
	t.Helper()
	b := newBare(t, d)
	err := d.Update(t.Context(), func(tx *db.Tx) error {
		f, err := b.o.Keys.FoundTx(tx, audit.System("test"), auth.Setup{Org: "platform", TitleEN: "Platform", Email: "op@platform.example", Name: "Op"})
		b.operator = f.Secret.Reveal()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newBare is a bench that has not been set up.
func newBare(t *testing.T, d *db.DB) *bench {
	t.Helper()
	ctx := t.Context()
	sealer, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	orgs := org.New(d)
	keys := auth.New(d, orgs)
	dir := auth.NewDirectory(d, orgs, keys, clock.System{}, nil)
	if err := dir.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dir.Stop)
	cat := catalog.New(d, sealer)
	plans := plan.New(d, cat)
	book, err := plan.NewBook(ctx, d, plans, orgs, plan.BookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: d}
	b.o = Options{DB: d, Orgs: orgs, Keys: keys, Directory: dir, Catalog: cat, Plans: plans, Book: book, Ledger: ledger.New(d, clock.System{}),
		Meter: meter.New(d), Audit: audit.New(d, nil), Idem: idem.NewStore(sealer), Recording: record.New(d, sealer), Version: "test", PublicURL: "http://tollgate.example",
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))}
	b.handler = New(b.o)
	return b
}

// both runs fn on a bench of each engine.
func both(t *testing.T, fn func(t *testing.T, b *bench)) {
	t.Helper()
	dbtest.Each(t, tables, func(t *testing.T, d *db.DB) { fn(t, newBench(t, d)) })
}

// reply is a response with its body decoded.
type reply struct {
	t      *testing.T
	Status int
	Header http.Header
	Text   string
	Body   map[string]any
}

// call makes a request. body is JSON text; headers are "Name: value".
func (b *bench) call(key, method, path, body string, headers ...string) *reply {
	b.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, "http://tollgate.example/api/v1"+path, in)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	out := &reply{t: b.t, Status: w.Code, Header: w.Header(), Text: w.Body.String()}
	if bytes.HasPrefix(w.Body.Bytes(), []byte("{")) {
		if err := json.Unmarshal(w.Body.Bytes(), &out.Body); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, path, err, out.Text)
		}
	}
	return out
}

// want fails unless the response has the status and, for an error, the code.
func (r *reply) want(status int, code ...string) *reply {
	r.t.Helper()
	if r.Status != status || len(code) > 0 && r.get("code") != code[0] {
		r.t.Fatalf("got %d %s, want %d %s", r.Status, r.Text, status, code)
	}
	if r.Header.Get("X-Request-Id") == "" {
		r.t.Fatal("no request id")
	}
	return r
}

// get returns the value at a path of names and indices, as text: numbers as JSON writes them.
func (r *reply) get(path string) string {
	r.t.Helper()
	var v any = r.Body
	for name := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i := 0
			if name != "0" {
				i = int(name[0] - '0')
			}
			if i >= len(x) {
				return ""
			}
			v = x[i]
		default:
			return ""
		}
	}
	if s, ok := v.(string); ok {
		return s
	}
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

const catalogueYAML = `
organisations:
  - {name: acme, title: {en: Acme AI, zh: 艾克米}, parts: [provider], members: [{email: owner@acme.example, role: owner}, {email: dev@acme.example, role: developer}]}
upstreams:
  - name: local
    organisation: acme
    url: http://127.0.0.1:11434/v1
    timeouts: {connect: 5s, first_byte: 60s, idle: 120s, total: 30m}
    credentials: [{name: main, secret: very-secret-upstream-key}]
products:
  - name: chat
    organisation: acme
    title: {en: Chat, zh: 聊天}
    model: meta/llama3
    capabilities: [chat]
    context: 8192
    max_output: 4096
    versions:
      - {name: v1, release: stable, share: 90, targets: [{upstream: local, model: "llama3:8b"}]}
      - {name: v2, release: canary, share: 10, targets: [{upstream: local, model: "llama3:70b", priority: 1, weight: 7}]}
    state: published
plans:
  - name: payg
    product: acme/chat
    title: {en: Pay as you go}
    public: true
    auto_subscribe: true
    limits: {rpm: 600}
    card:
      currency: USD
      lines:
        - {meter: tokens, when: {class: input}, price: "0.15", per: 1000000}
        - {meter: tokens, when: {class: output}, price: "0.60", per: 1000000}
    state: published
subscriptions:
  - {organisation: demo, plan: acme/chat/payg}
`

// applied applies the sample catalogue.
func (b *bench) applied() *bench {
	b.t.Helper()
	b.call(b.operator, "POST", "/apply", catalogueYAML, "Content-Type: application/yaml").want(200)
	return b
}
