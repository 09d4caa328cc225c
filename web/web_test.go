package web

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// world is a catalogue on a fresh database, and the pages over it.
type world struct {
	testing.TB
	ctx   context.Context
	who   audit.Actor
	orgs  *org.Store
	goods *catalog.Store
	plans *plan.Store
	book  *plan.Book
	pages http.Handler
	ready bool // what SetUp says

	reports []engine.Report
	engines map[string][]engine.Info // by upstream
	related []string
}

const publicURL = "https://toll.example"

func newWorld(t *testing.T) *world {
	d := dbtest.SQLite(t, []db.Migrations{audit.Migrations, org.Migrations, catalog.Migrations, plan.Migrations})
	goods := catalog.New(d, must(secret.Parse(secret.Generate().Reveal())))
	w := &world{TB: t, ctx: t.Context(), who: audit.System("test"), orgs: org.New(d), goods: goods, plans: plan.New(d, goods), ready: true}
	w.book = must(plan.NewBook(w.ctx, d, w.plans, w.orgs, plan.BookOptions{}))
	w.pages = New(Options{Book: w.book, PublicURL: publicURL, Version: "9.9.9", Demo: true,
		Definition: w.definition, SetUp: w.setUp,
		Reports: func() []engine.Report { return w.reports },
		Engines: func(upstream string) []engine.Info { return w.engines[upstream] },
		Related: func(context.Context, string) []string { return w.related }})
	return w
}

func (w *world) definition(ctx context.Context, id string) (string, error) {
	text, _, err := w.goods.Definition(ctx, id)
	return text, err
}

func (w *world) setUp(context.Context) (bool, error) { return w.ready, nil }

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

const plainCard = `
currency: USD
lines:
  - {meter: tokens, when: {class: input}, price: "0.15", per: 1000000}
  - {meter: tokens, when: {class: cached_input}, price: "0.075", per: 1000000}
  - {meter: tokens, when: {class: output}, price: "0.60", per: 1000000}
`

func (w *world) provider(name string) string {
	return must(w.orgs.Create(w.ctx, w.who, org.Draft{Name: name, Parts: org.Provider})).ID
}

// sell publishes a product of a provider at the card.
func (w *world) sell(provider string, in catalog.ProductInput, card, upstream string) *catalog.Product {
	if _, err := w.goods.CreateUpstream(w.ctx, w.who, provider, catalog.UpstreamInput{Name: "main-" + in.Name, URL: upstream}); err != nil {
		w.Fatal(err)
	}
	p := must(w.goods.CreateProduct(w.ctx, w.who, provider, in))
	p = must(w.goods.CreateVersion(w.ctx, w.who, p.ID, p.Revision, catalog.VersionInput{Name: "v1", Targets: []catalog.TargetInput{{Upstream: "main-" + in.Name}}}))
	pl := must(w.plans.CreatePlan(w.ctx, w.who, p.ID, plan.Input{Name: "payg", Public: true, AutoSubscribe: true, Card: must(rating.ParseCard([]byte(card))),
		Title: catalog.Text{En: "Pay as you go", Zh: "按量付费"}, Limits: plan.Limits{RPM: 600}, Terms: "Be <kind>."}))
	must(w.plans.PublishPlan(w.ctx, w.who, pl.ID, catalog.Any, 50_000))
	return must(w.plans.PublishProduct(w.ctx, w.who, p.ID, catalog.Any))
}

const remote = "http://192.0.2.1/v1"

// demo sells what most tests look at.
func demo(t *testing.T) *world {
	w := newWorld(t)
	acme := w.provider("acme")
	w.sell(acme, catalog.ProductInput{Name: "chat", Model: "llama3", Context: 65536, Capabilities: []catalog.Capability{catalog.Chat},
		Title: catalog.Text{En: "Acme Chat", Zh: "艾克米对话"}, Description: catalog.Text{En: "Answers.", Zh: "作答。"}}, plainCard, remote)
	w.sell(acme, catalog.ProductInput{Name: "sandbox", Title: catalog.Text{En: "Sandbox"}}, plainCard, "builtin://sandbox")
	return w
}

// get asks for a path; headers are pairs.
func (w *world) get(path string, headers ...string) *httptest.ResponseRecorder {
	w.Helper()
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept", "text/html,*/*")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	w.pages.ServeHTTP(rec, r)
	return rec
}

// page is the HTML of a path, which must be 200.
func (w *world) page(path string, headers ...string) string {
	w.Helper()
	rec := w.get(path, headers...)
	if rec.Code != 200 {
		w.Fatalf("%s: %d %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// holds checks that a page says everything that is wanted.
func (w *world) holds(page string, want ...string) {
	w.Helper()
	for _, s := range want {
		if !strings.Contains(page, s) {
			w.Errorf("the page does not say %q", s)
		}
	}
}

func (w *world) lacks(page string, unwanted ...string) {
	w.Helper()
	for _, s := range unwanted {
		if strings.Contains(page, s) {
			w.Errorf("the page says %q", s)
		}
	}
}

func TestHome(t *testing.T) {
	w := demo(t)
	en := w.page("/")
	w.holds(en, `<html lang="en">`, "Acme Chat", "Answers.", "llama3", "by acme", "0.15", "0.075", "0.60", "USD per 1,000,000 tokens", "65,536 context",
		"Sandbox, no language model", "demo.env", `href="/products/acme/chat#definition"`, `client = OpenAI(`, "https://toll.example/v1/chat/completions", "2</b> products on sale")
	w.lacks(en, "艾克米", "#ZgotmplZ", "%!")
	zh := w.page("/", "Accept-Language", "zh-CN,zh;q=0.9,en;q=0.8")
	w.holds(zh, `<html lang="zh-CN">`, "艾克米对话", "作答。", "USD / 1,000,000 个词元", "沙盒，非语言模型", "在售产品")
	w.lacks(zh, "Acme Chat", "#ZgotmplZ", "%!")
}

func TestLanguage(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ path, accept, cookie, want string }{
		{"/", "", "", "en"},
		{"/", "fr", "", "en"},
		{"/", "zh-TW", "", "zh"},
		{"/", "en;q=0.4, zh;q=0.9", "", "zh"},
		{"/", "zh;q=0, en;q=0.1", "", "en"},
		{"/", "zh;q=x", "", "en"},
		{"/", "zh", "en", "en"},
		{"/?lang=zh", "en", "en", "zh"},
		{"/?lang=xx", "zh", "yy", "zh"},
	} {
		headers := []string{"Accept-Language", c.accept}
		if c.cookie != "" {
			headers = append(headers, "Cookie", "tollgate_lang="+c.cookie)
		}
		rec := w.get(c.path, headers...)
		if got := rec.Header().Get("Content-Language"); got != contentLanguage[c.want] {
			t.Errorf("%+v: %s", c, got)
		}
		if chosen := strings.Contains(c.path, "lang="+c.want); chosen != (rec.Header().Get("Set-Cookie") != "") {
			t.Errorf("%+v: cookie %q", c, rec.Header().Get("Set-Cookie"))
		}
	}
}

var nonces = regexp.MustCompile(`script-src 'nonce-([A-Za-z0-9+/=]{24})'`)

func TestPolicy(t *testing.T) {
	w := demo(t)
	seen := map[string]bool{}
	for _, path := range []string{"/", "/", "/products/acme/chat", "/bootstrap"} {
		rec := w.get(path)
		h := rec.Header()
		m := nonces.FindStringSubmatch(h.Get("Content-Security-Policy"))
		if m == nil || seen[m[1]] {
			t.Fatalf("%s: policy %q: no nonce of its own", path, h.Get("Content-Security-Policy"))
		}
		seen[m[1]] = true
		for _, part := range []string{"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			w.holds(h.Get("Content-Security-Policy"), part)
		}
		w.lacks(h.Get("Content-Security-Policy"), "unsafe", "http", "*")
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || !strings.Contains(h.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: headers %v", path, h)
		}
		scripts, inline := 0, 0
		for n := range must(html.Parse(rec.Body)).Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
					inline++
				}
				if (a.Key == "src" || a.Key == "href") && n.Data != "a" && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "?") {
					t.Errorf("%s: <%s> loads %s", path, n.Data, a.Val)
				}
				if n.Data == "script" && a.Key == "nonce" && a.Val == m[1] && n.FirstChild == nil {
					scripts++
				}
			}
			if n.Data == "style" {
				inline++
			}
		}
		if scripts != 1 || inline != 0 {
			t.Errorf("%s: %d scripts with the nonce, %d inline", path, scripts, inline)
		}
	}
}

const attack = `"'><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}` + "`"

// TestHostileTexts plants markup in everything that a provider writes.
func TestHostileTexts(t *testing.T) {
	w := newWorld(t)
	evil := w.provider("evil")
	w.sell(evil, catalog.ProductInput{Name: "bad", Model: "m{{.}}&lt;", Title: catalog.Text{En: attack, Zh: attack}, Description: catalog.Text{En: attack, Zh: attack},
		Definition: fmt.Sprintf(`{"openapi":"3.1.0","info":{"title":%[1]s,"description":%[1]s},"servers":[{"url":"javascript:alert(1)"}],"paths":{%[1]s:{"post":{"summary":%[1]s,
			"description":%[1]s,"parameters":[{"name":%[1]s,"in":%[1]s,"schema":{"type":%[1]s,"enum":[%[1]s]}}],"responses":{%[1]s:{"description":%[1]s,"content":{%[1]s:{}}}}}}}}`, quote(attack))},
		strings.Replace(plainCard, "lines:", "lines:\n  - {meter: images, price: '1', when: {region: '<i>r</i>'}}", 1), remote)
	for _, path := range []string{"/", "/products/evil/bad", "/?q=" + strings.ReplaceAll("<script>alert(1)</script>", "/", "%2F"), "/?lang=zh"} {
		body := w.page(path)
		w.lacks(body, "<script>", "<img src=x", "<b>x", "<i>")
		for n := range must(html.Parse(strings.NewReader(body))).Descendants() {
			for _, a := range n.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "href" && strings.HasPrefix(a.Val, "javascript") {
					t.Errorf("%s: <%s %s=%q>", path, n.Data, a.Key, a.Val)
				}
			}
			if n.Data == "script" && n.FirstChild != nil {
				t.Errorf("%s: inline script %q", path, n.FirstChild.Data)
			}
		}
	}
	rec := w.get("/products/evil/bad/definition")
	if ct := rec.Header().Get("Content-Type"); ct != "application/json" || rec.Header().Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("definition: %v", rec.Header())
	}
	w.holds(w.page("/llms.txt"), "### m{{.}}&lt;\n")
	if rec := w.get("/nothing/<script>alert(1)</script>"); rec.Code != 404 || strings.Contains(rec.Body.String(), "<script>") {
		t.Errorf("404 page: %d %s", rec.Code, rec.Body)
	}
}

func TestProduct(t *testing.T) {
	w := demo(t)
	page := w.page("/products/acme/chat")
	w.holds(page, "Acme Chat", "acme/llama3", "acme/chat/payg", "600", "Be &lt;kind&gt;.", "/v1/chat/completions", "messages[].role", "required", "402")
	w.holds(w.page("/products/acme/sandbox"), "This model is a sandbox")
	if rec := w.get("/products/acme/none"); rec.Code != 404 || !strings.Contains(rec.Body.String(), "/products/acme/none") {
		t.Errorf("unknown product: %d", rec.Code)
	}
	if rec := w.get("/products/acme/none/definition"); rec.Code != 404 {
		t.Errorf("unknown definition: %d", rec.Code)
	}
	w.holds(w.page("/products/acme/chat/definition"), `"openapi": "3.1.0"`)
}

func TestUnavailable(t *testing.T) {
	w := demo(t)
	p := w.book.OnSale()[0].Product
	u := must(w.goods.Upstream(w.ctx, p.Live[0].Targets[0].UpstreamID))
	must(w.goods.SetUpstreamState(w.ctx, w.who, u.ID, u.Revision, catalog.Suspended, "gone"))
	w.holds(w.page("/products/acme/"+p.Name), "Not available now")
	w.lacks(w.page("/products/acme/"+p.Name), `id="tryform"`)
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	a, b := w.provider("a"), w.provider("b")
	w.sell(a, catalog.ProductInput{Name: "one", Model: "shared"}, plainCard, remote)
	w.sell(b, catalog.ProductInput{Name: "one", Model: "shared"}, plainCard, remote)
	w.sell(b, catalog.ProductInput{Name: "two", Model: "a/odd"}, plainCard, remote)
	w.sell(b, catalog.ProductInput{Name: "three", Model: "Qwen/qwen3"}, plainCard, remote)
	var names []string
	st := (&shelf{}).get(w.book)
	for _, it := range st.items {
		names = append(names, it.Name)
	}
	if want := []string{"Qwen/qwen3", "a/shared", "b/a/odd", "b/shared"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	// The pages and the gateway must mean the same product by a name.
	consumer := must(w.orgs.Create(w.ctx, w.who, org.Draft{Name: "consumer", Parts: org.Consumer}))
	for _, it := range st.items {
		_, err := w.book.Resolve(must(db.ParseID(consumer.ID, "org")), []byte(it.Name))
		var needs *plan.NeedsSubscription
		if !errors.As(err, &needs) || needs.Product.ID != it.Product.ID {
			t.Errorf("%s: %v", it.Name, err)
		}
	}
}

func TestSearchAndPages(t *testing.T) {
	w := newWorld(t)
	acme := w.provider("acme")
	for i := range perPage + 3 {
		w.sell(acme, catalog.ProductInput{Name: fmt.Sprintf("p%02d", i), Model: fmt.Sprintf("model-%02d", i), Title: catalog.Text{En: fmt.Sprintf("Title %d", i), Zh: "模型"}}, plainCard, remote)
	}
	w.holds(w.page("/"), "Page 1 of 2", "?page=2#catalogue", "model-00")
	w.lacks(w.page("/"), "model-26")
	w.holds(w.page("/?page=2"), "model-26", "Page 2 of 2")
	w.holds(w.page("/?page=99999999999999999999"), "Page 2 of 2")
	w.holds(w.page("/?page=-1"), "Page 1 of 2")
	w.holds(w.page("/?page=x"), "Page 1 of 2")
	w.holds(w.page("/?q=TITLE+26"), "1 found", "model-26")
	w.holds(w.page("/?q=acme+模型&page=2"), "model-26", `href="?page=1&amp;q=acme&#43;`)
	w.holds(w.page("/?q=nowhere"), "Nothing on sale matches “nowhere”.")
}

func TestNothingOnSale(t *testing.T) {
	w := newWorld(t)
	w.holds(w.page("/"), "Nothing is on sale yet", "tollgate demo", "tollgate apply -f catalogue.yaml")
	w.ready = false
	w.holds(w.page("/"), "This installation has no operator yet")
	w.holds(w.page("/llms.txt"), "Nothing is on sale yet.")
}

func TestBootstrap(t *testing.T) {
	w := newWorld(t)
	w.holds(w.page("/bootstrap"), "has been set up")
	w.ready = false
	page := w.page("/bootstrap", "Accept-Language", "zh")
	w.holds(page, `id="setup"`, "设置平台", "<fieldset disabled>")
	w.lacks(page, "has been set up")
}

func TestForPrograms(t *testing.T) {
	w := demo(t)
	text := w.page("/llms.txt")
	w.holds(text, "Base URL: https://toll.example/v1", "### llama3\n", "- Context: 65536 tokens", "  - Input: 0.15 USD per 1,000,000 tokens\n", "https://toll.example/products/acme/chat/definition")
	w.holds(w.page("/robots.txt"), "Disallow: /api/")
	rec := w.get("/nowhere", "Accept", "*/*")
	if rec.Code != 404 || !strings.HasPrefix(rec.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("404 for a program: %d %v", rec.Code, rec.Header())
	}
	r := httptest.NewRequest("POST", "/", nil)
	post := httptest.NewRecorder()
	w.pages.ServeHTTP(post, r)
	if post.Code != 405 || post.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %d", post.Code)
	}
}

func TestAssets(t *testing.T) {
	w := newWorld(t)
	paths := regexp.MustCompile(`"(/assets/[^"]+)"`).FindAllStringSubmatch(w.page("/"), -1)
	if len(paths) < 3 {
		t.Fatalf("assets %q", paths)
	}
	for _, p := range paths {
		plain, zipped := w.get(p[1]), w.get(p[1], "Accept-Encoding", "br, gzip")
		if plain.Code != 200 || !strings.Contains(plain.Header().Get("Cache-Control"), "immutable") || plain.Header().Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %v", p[1], plain.Code, plain.Header())
		}
		if got := string(must(io.ReadAll(must(gzip.NewReader(zipped.Body))))); got != plain.Body.String() || zipped.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: another text when compressed", p[1])
		}
		if again := w.get(p[1], "If-None-Match", plain.Header().Get("ETag")); again.Code != 304 || again.Body.Len() > 0 {
			t.Errorf("%s: %d with its ETag", p[1], again.Code)
		}
	}
	if w.get("/assets/page.css").Code != 404 || w.get("/assets/../web.go").Code == 200 {
		t.Error("an asset without digest, or a file that is none, was served")
	}
	page := w.get("/", "Accept-Encoding", "gzip;q=1.0")
	w.holds(string(must(io.ReadAll(must(gzip.NewReader(page.Body))))), "</html>")
	for _, accept := range []string{"", "identity", "gzip;q=0", "x-gzip"} {
		if w.get("/", "Accept-Encoding", accept).Header().Get("Content-Encoding") != "" {
			t.Errorf("compressed for %q", accept)
		}
	}
}

// TestTexts checks that every text is there in both languages, with the same verbs, and used.
func TestTexts(t *testing.T) {
	var source strings.Builder
	for _, dir := range []fs.FS{pageFiles, assetFiles} {
		err := fs.WalkDir(dir, ".", func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				source.Write(must(fs.ReadFile(dir, path)))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id := range texts() {
		for _, lang := range languages {
			if texts()[id][lang] == "" {
				t.Errorf("%s has no text in %s", id, lang)
			}
		}
		if a, b := strings.Count(texts()[id]["en"], "%"), strings.Count(texts()[id]["zh"], "%"); a != b {
			t.Errorf("%s: %d verbs in English, %d in Chinese", id, a, b)
		}
	}
	for _, m := range regexp.MustCompile(`\b(?:t|rich) "([^"]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if texts()[m[1]] == nil {
			t.Errorf("there is no text %s", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\bsay\("([^"]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if texts()["js."+m[1]] == nil {
			t.Errorf("there is no text js.%s", m[1])
		}
	}
}
