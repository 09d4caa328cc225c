package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

func TestProblems(t *testing.T) {
	b := newBench(t, dbtest.SQLite(t, tables)).applied()
	huge := `{"name":"` + strings.Repeat("x", maxBody) + `"}`
	for _, x := range []struct {
		name, key, method, path, body string
		headers                       []string
		status                        int
		code, field                   string
	}{
		{"no key", "", "GET", "/me", "", nil, 401, "auth.key_missing", ""},
		{"bad key", "sk-tg-mgt-nonsense", "GET", "/me", "", nil, 401, "auth.key_malformed", ""},
		{"no key, bad body", "", "POST", "/organisations", `{`, nil, 401, "auth.key_missing", ""},
		{"no path", b.operator, "GET", "/nothing", "", nil, 404, "api.no_path", ""},
		{"no method", b.operator, "DELETE", "/me", "", nil, 404, "api.no_path", ""},
		{"no JSON", b.operator, "POST", "/organisations", `{"name":`, nil, 400, "api.malformed", ""},
		{"no body", b.operator, "POST", "/organisations", "", nil, 400, "api.malformed", ""},
		{"form", b.operator, "POST", "/organisations", "name=x", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "api.media_type", ""},
		{"huge", b.operator, "POST", "/organisations", huge, nil, 413, "api.body_too_large", ""},
		{"huge with idempotency", b.operator, "POST", "/organisations", huge, []string{"Idempotency-Key: a"}, 413, "api.body_too_large", ""},
		{"unknown field", b.operator, "POST", "/organisations", `{"name":"x","colour":"red"}`, nil, 422, "api.invalid", "colour"},
		{"unknown nested field", b.operator, "POST", "/organisations", `{"name":"x","title":{"fr":"x"}}`, nil, 422, "api.invalid", "title.fr"},
		{"wrong type", b.operator, "POST", "/organisations", `{"name":7}`, nil, 422, "api.invalid", "name"},
		{"missing field", b.operator, "POST", "/organisations", `{}`, nil, 422, "api.invalid", "name"},
		{"two values", b.operator, "POST", "/organisations", `{"name":"x"}{"name":"y"}`, nil, 400, "api.malformed", ""},
		{"bad name", b.operator, "POST", "/organisations", `{"name":"No Spaces"}`, nil, 422, "org.name", ""},
		{"duplicate", b.operator, "POST", "/organisations", `{"name":"demo"}`, nil, 409, "org.name_taken", ""},
		{"bad part", b.operator, "POST", "/organisations", `{"name":"x","parts":["king"]}`, nil, 422, "org.parts", ""},
		{"unknown query", b.operator, "GET", "/organisations?colour=red", "", nil, 422, "api.invalid", "colour"},
		{"bad limit", b.operator, "GET", "/organisations?limit=0", "", nil, 422, "api.invalid", "limit"},
		{"limit no number", b.operator, "GET", "/organisations?limit=many", "", nil, 422, "api.invalid", "limit"},
		{"limit too large", b.operator, "GET", "/organisations?limit=501", "", nil, 422, "api.invalid", "limit"},
		{"unknown organisation", b.operator, "GET", "/organisations/nobody", "", nil, 404, "api.no_organisation", ""},
		{"hidden organisation", b.consumer, "GET", "/organisations/acme", "", nil, 404, "api.no_organisation", ""},
		{"not permitted", b.consumer, "POST", "/organisations", `{"name":"x"}`, nil, 403, "auth.forbidden", ""},
		{"negative price", b.operator, "POST", "/organisations/acme/products/chat/plans",
			`{"name":"x","card":{"currency":"USD","lines":[{"meter":"tokens","price":"-1"}]}}`, nil, 422, "plan.invalid", "card.lines[0].price"},
		{"price that is a float", b.operator, "POST", "/organisations/acme/products/chat/plans",
			`{"name":"x","card":{"currency":"USD","lines":[{"meter":"tokens","price":0.5}]}}`, nil, 422, "api.invalid", "card.lines[0].price"},
		{"unknown field in a card", b.operator, "POST", "/organisations/acme/products/chat/plans",
			`{"name":"x","card":{"currency":"USD","lines":[{"meter":"tokens","prize":"1"}]}}`, nil, 422, "api.invalid", "card.lines[0].prize"},
		{"no If-Match", b.operator, "PATCH", "/organisations/demo", `{"title":{"en":"x"}}`, nil, 412, "api.if_match", ""},
		{"bad If-Match", b.operator, "PATCH", "/organisations/demo", `{"title":{"en":"x"}}`, []string{`If-Match: "abc"`}, 412, "api.etag", ""},
		{"stale If-Match", b.operator, "PATCH", "/organisations/demo", `{"title":{"en":"x"}}`, []string{`If-Match: "99"`}, 412, "org.stale", ""},
		{"bad idempotency key", b.operator, "POST", "/organisations", `{"name":"x"}`, []string{"Idempotency-Key: ü"}, 400, "idem.key", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := *b
			b.t = t
			r := b.call(x.key, x.method, x.path, x.body, x.headers...).want(x.status, x.code)
			if ct := r.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("Content-Type %q", ct)
			}
			for _, field := range []string{"type", "title", "detail", "instance"} {
				if r.get(field) == "" {
					t.Errorf("no %s in %s", field, r.Text)
				}
			}
			if r.get("request_id") != r.Header.Get("X-Request-Id") {
				t.Error("request ids differ")
			}
			if r.get("errors.0.path") != x.field && x.field != "" {
				t.Errorf("field %q, want %q in %s", r.get("errors.0.path"), x.field, r.Text)
			}
			if x.status == 401 && r.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			zh := b.call(x.key, x.method, x.path, x.body, append(x.headers, "Accept-Language: zh-CN,zh;q=0.9,en;q=0.5")...)
			if zh.get("detail") == r.get("detail") || zh.get("title") == r.get("title") || zh.Status != r.Status {
				t.Errorf("not in Chinese: %s", zh.Text)
			}
			if x.field != "" && zh.get("errors.0.detail") == r.get("errors.0.detail") {
				t.Errorf("the field's fault is not in Chinese: %s", zh.Text)
			}
		})
	}
}

func TestLanguage(t *testing.T) {
	for accept, want := range map[string]string{
		"": "en", "zh": "zh", "zh-CN,en;q=0.8": "zh", "en-US,zh;q=0.9": "en", "zh;q=0.2, en;q=0.1": "zh", "fr": "en", "fr, zh;q=0.3": "zh", "zh;q=x": "en", "*": "en",
	} {
		if got := language(accept); got != want {
			t.Errorf("%q: %s", accept, got)
		}
	}
}

// TestWrongKeys: a key that calls products manages nothing, and one of a suspended organisation neither.
func TestWrongKeys(t *testing.T) {
	b := newBench(t, dbtest.SQLite(t, tables))
	inference := b.call(b.consumer, "POST", "/organisations/demo/keys", `{"name":"k"}`).want(201).get("key")
	b.call(inference, "GET", "/me", "").want(403, "auth.not_management")
	bound := b.call(b.consumer, "POST", "/organisations/demo/keys", `{"name":"k","kind":"mgt","limits":{"networks":["198.51.100.0/24"]}}`).want(201).get("key")
	b.call(bound, "GET", "/me", "").want(403, "auth.address")
	b.call(b.operator, "POST", "/organisations/demo/suspend", `{"reason":"unpaid"}`).want(200)
	b.call(b.consumer, "GET", "/me", "").want(403, "auth.org_suspended")
	b.call(b.operator, "POST", "/organisations/demo/resume", "").want(200)
	b.call(b.consumer, "GET", "/me", "").want(200)
}

func TestPanic(t *testing.T) {
	b := newBench(t, dbtest.SQLite(t, tables))
	o := b.o
	o.Remote, o.Doctor = nil, nil
	s, ok := New(o).(*server)
	if !ok {
		t.Fatal("not a server")
	}
	s.mux.HandleFunc("GET /api/v1/broken", func(http.ResponseWriter, *http.Request) { panic("oops") })
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/broken", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "oops") || !strings.Contains(w.Body.String(), "internal error") {
		t.Error(w.Code, w.Body)
	}
}

type broken struct{ n int }

// Read implements io.Reader: some bytes, then the connection breaks.
func (b *broken) Read(p []byte) (int, error) {
	if b.n++; b.n > 1 {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, `{"name":"half`), nil
}

func TestTruncatedBody(t *testing.T) {
	b := newBench(t, dbtest.SQLite(t, tables))
	for _, key := range []string{"", "once"} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/api/v1/organisations", &broken{})
		r.Header.Set("Authorization", "Bearer "+b.operator)
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "api.body_unread") {
			t.Error(w.Code, w.Body)
		}
	}
}

// deaf is a client that has left.
type deaf struct{ http.ResponseWriter }

func (deaf) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestClientGone(t *testing.T) {
	b := newBench(t, dbtest.SQLite(t, tables))
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Error("panic:", v)
		}
	}()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/me", nil)
	r.Header.Set("Authorization", "Bearer "+b.operator)
	b.handler.ServeHTTP(deaf{httptest.NewRecorder()}, r)
}

func TestIdempotency(t *testing.T) {
	both(t, func(t *testing.T, b *bench) {
		const path, body = "/organisations/demo/credits", `{"amount":"10","currency":"USD"}`
		first := b.call(b.operator, "POST", path, body, "Idempotency-Key: a").want(201)
		again := b.call(b.operator, "POST", path, body, "Idempotency-Key: a").want(201)
		if first.Text != again.Text || again.Header.Get("Idempotency-Replayed") != "true" || first.Header.Get("Idempotency-Replayed") != "" {
			t.Error(again.Text, again.Header)
		}
		b.call(b.operator, "POST", path, `{"amount":"11","currency":"USD"}`, "Idempotency-Key: a").want(409, "idem.mismatch")
		b.call(b.operator, "POST", "/organisations/acme/credits", body, "Idempotency-Key: a").want(409, "idem.mismatch")
		// A request that failed may be tried again with the same key.
		b.call(b.operator, "POST", path, `{"amount":"-1","currency":"USD"}`, "Idempotency-Key: b").want(422)
		b.call(b.operator, "POST", path, body, "Idempotency-Key: b").want(201)
		if got := b.call(b.consumer, "GET", "/organisations/demo/wallet", "").get("available"); got != "20" {
			t.Error(got)
		}
		// A secret that is shown once is shown again to the same request, with its headers.
		key := b.call(b.consumer, "POST", "/organisations/demo/keys", `{"name":"k"}`, "Idempotency-Key: k").want(201)
		same := b.call(b.consumer, "POST", "/organisations/demo/keys", `{"name":"k"}`, "Idempotency-Key: k").want(201)
		if key.Text != same.Text || key.Header.Get("ETag") != same.Header.Get("ETag") || key.Header.Get("Location") != same.Header.Get("Location") {
			t.Error(same.Text, same.Header)
		}
		if other := b.call(b.operator, "POST", "/organisations/demo/keys", `{"name":"k"}`, "Idempotency-Key: k").want(201); other.Text == key.Text {
			t.Error("another key's idempotency key is its own")
		}
	})
}
