package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

var start = time.Date(2026, 1, 31, 10, 0, 0, 0, time.UTC)

const key = "sk-0123456789abcdef"

func TestCredentials(t *testing.T) {
	each(t, func(w *world) {
		u := w.upstream("main")
		_, err := w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "a"})
		refused(w, err, problem.Unprocessable, "catalog.credential_empty")
		u = must(w.SetCredential(w.ctx, w.who, u.ID, u.Revision, CredentialInput{Name: "a", Secret: secret.New(key)}))
		u = must(w.SetCredential(w.ctx, w.who, u.ID, u.Revision, CredentialInput{Name: "b", Secret: secret.New("short")}))
		if c := u.Credentials; len(c) != 2 || c[0].LastFour != "cdef" || c[1].LastFour != "" || !c[0].Secret.IsZero() {
			w.Fatalf("%+v", c)
		}
		for _, same := range []CredentialInput{{Name: "a"}, {Name: "a", Secret: secret.New(key)}} {
			if again := must(w.SetCredential(w.ctx, w.who, u.ID, u.Revision, same)); again.Revision != u.Revision {
				w.Fatal("the same credential is an edit")
			}
		}
		_, err = w.SetCredential(w.ctx, w.who, u.ID, 1, CredentialInput{Name: "a", State: Disabled})
		refused(w, err, problem.Precondition, "catalog.stale")
		u = must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "a", State: Disabled}))
		if !u.InService() {
			w.Fatal("b is active")
		}
		active := w.snapshot(nil).Upstreams()[0].Credentials
		if len(active) != 1 || active[0].Name != "b" || active[0].Secret.Reveal() != "short" {
			w.Fatalf("%+v", active)
		}
		u = must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "b", State: Disabled}))
		if u.InService() {
			w.Fatal("all credentials are disabled")
		}
		u = must(w.RemoveCredential(w.ctx, w.who, u.ID, Any, "b"))
		_, err = w.RemoveCredential(w.ctx, w.who, u.ID, Any, "b")
		refused(w, err, problem.NotFound, "catalog.not_found")
		if len(u.Credentials) != 1 {
			w.Fatalf("%+v", u.Credentials)
		}
	})
}

// TestSecretsStaySecret looks for the secret in everything that is stored or shown.
func TestSecretsStaySecret(t *testing.T) {
	each(t, func(w *world) {
		u := w.upstream("main")
		u = must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "a", Secret: secret.New(key)}))
		must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "a", Secret: secret.New(key + "2")}))
		var shown []any
		shown = append(shown, u, w.snapshot(nil).Upstreams()[0], CredentialInput{Name: "a", Secret: secret.New(key)})
		items, _, err := audit.New(w.d, nil).List(w.ctx, audit.Filter{}, "", 100)
		shown = append(shown, must(items, err))
		text := must(json.Marshal(shown))
		if bytes.Contains(text, []byte(key)) {
			w.Fatalf("%s", text)
		}
		if len(items) != 3 || items[0].Action != "upstream.credential_set" || items[2].Action != "upstream.create" || items[0].Org != w.org {
			w.Fatalf("%+v", items)
		}
		var sealed []byte
		err = w.d.View(w.ctx, func(tx *db.Tx) error { return tx.QueryRow(`SELECT sealed FROM upstream_credential`).Scan(&sealed) })
		if bytes.Contains(must(sealed, err), []byte(key)) {
			w.Fatal("stored in the clear")
		}
	})
}

func TestSealerKeys(t *testing.T) {
	each(t, func(w *world) {
		u := w.upstream("main")
		must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "a", Secret: secret.New(key)}))
		old, fresh := secret.Generate().Reveal(), secret.Generate().Reveal()
		w.Store = New(w.d, must(secret.Parse(old)))
		s := w.snapshot(nil)
		if len(s.Faults) != 1 || !errors.Is(s.Faults[0].Err, secret.ErrKeyMissing) || len(s.Upstreams()[0].Credentials) != 0 {
			w.Fatalf("%+v", s.Faults)
		}
		_, err := w.Reseal(w.ctx)
		refused(w, err, problem.Conflict, "catalog.reseal")
		// Entering it again repairs it.
		must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "a", Secret: secret.New(key)}))
		w.Store = New(w.d, must(secret.Parse(fresh+"\n"+old)))
		if n := must(w.Reseal(w.ctx)); n != 1 {
			w.Fatalf("%d sealed anew", n)
		}
		if n := must(w.Reseal(w.ctx)); n != 0 {
			w.Fatalf("%d sealed anew again", n)
		}
		w.Store = New(w.d, must(secret.Parse(fresh)))
		if got := w.snapshot(nil).Upstreams()[0].Credentials[0].Secret.Reveal(); got != key {
			w.Fatal("lost by rotation")
		}
	})
}

func TestModelList(t *testing.T) {
	each(t, func(w *world) {
		u := w.upstream("main")
		record := func(models ...string) string {
			added, gone, err := w.RecordModels(w.ctx, u.ID, models)
			must(0, err)
			return "+" + strings.Join(added, ",") + " -" + strings.Join(gone, ",")
		}
		for _, c := range []struct {
			models []string
			want   string
		}{
			{[]string{"b", "a", "a"}, "+a,b -"}, {[]string{"a", "b"}, "+ -"}, {[]string{"c", "b"}, "+c -a"},
			{[]string{"b", "c"}, "+ -"}, {[]string{"a", "b"}, "+a -c"}, {nil, "+ -a,b"},
		} {
			if got := record(c.models...); got != c.want {
				w.Fatalf("%v: %s, want %s", c.models, got, c.want)
			}
		}
		seen := must(w.SeenModels(w.ctx, u.ID))
		if len(seen) != 3 || seen[0].Gone.IsZero() || seen[0].LastSeen.Before(seen[0].FirstSeen) {
			w.Fatalf("%+v", seen)
		}
		_, _, err := w.RecordModels(w.ctx, "ups_none", nil)
		refused(w, err, problem.NotFound, "catalog.not_found")
	})
}

func TestFetchModels(t *testing.T) {
	answer, status, sent := "", 200, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.URL.Path + " " + r.Header.Get("Authorization")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	u := &Upstream{Name: "main", URL: server.URL + "/v1", Dialect: OpenAI, Timeouts: defaultTimeouts}
	for _, c := range []struct {
		answer string
		status int
		want   []string
		id     string
	}{
		{`{"object":"list","data":[{"id":"b"},{"id":"a","x":1},{"id":"b"},{"id":""},{"id":"a\u0000"}]}`, 200, []string{"a", "b"}, ""},
		{`{"data":[]}`, 200, []string{}, ""},
		{`{"data":[]}`, 401, nil, "catalog.models_status"},
		{`{"models":[]}`, 200, nil, "catalog.models_shape"},
		{`<html>`, 200, nil, "catalog.models_shape"},
		{`{"data":[` + strings.Repeat(`{"id":"x"},`, maxModels) + `{"id":"x"}]}`, 200, nil, "catalog.models_shape"},
	} {
		answer, status = c.answer, c.status
		got, err := FetchModels(t.Context(), server.Client(), u, secret.New("k"))
		if c.id != "" {
			refused(t, err, problem.Upstream, c.id)
		} else if diff := cmp.Diff(c.want, must(got, err)); diff != "" {
			t.Error(diff)
		}
		if sent != "/v1/models Bearer k" {
			t.Errorf("sent %q", sent)
		}
	}
	server.Close()
	_, err := FetchModels(t.Context(), server.Client(), u, secret.Text{})
	refused(t, err, problem.Upstream, "catalog.models_failed")
	_, err = FetchModels(t.Context(), server.Client(), &Upstream{Dialect: Builtin}, secret.Text{})
	refused(t, err, problem.Conflict, "catalog.models_builtin")
}

func TestDefinition(t *testing.T) {
	each(t, func(w *world) {
		p := must(w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "both", Capabilities: []Capability{Chat, Embeddings}}))
		text, stated, err := w.Definition(w.ctx, p.ID)
		if err != nil || stated || checkDefinition(text) != "" {
			w.Fatalf("%v %v %s", err, stated, text)
		}
		var doc struct {
			Paths      map[string]any
			Components struct{ Schemas map[string]any }
		}
		must(0, yaml.Unmarshal([]byte(text), &doc))
		if len(doc.Paths) != 2 || len(doc.Components.Schemas) != 6 {
			w.Fatalf("%+v", doc)
		}
		for name := range doc.Components.Schemas {
			if !strings.Contains(text, `"#/components/schemas/`+name+`"`) {
				w.Errorf("schema %s is not used", name)
			}
		}
		own := "openapi: 3.0.3\ninfo: {title: mine}\npaths: {/x: {}}\n"
		p = must(w.UpdateProduct(w.ctx, w.who, p.ID, p.Revision, ProductInput{Definition: own}))
		text, stated, err = w.Definition(w.ctx, p.ID)
		if err != nil || !stated || text != own {
			w.Fatalf("%v %v %s", err, stated, text)
		}
		if again := must(w.UpdateProduct(w.ctx, w.who, p.ID, p.Revision, ProductInput{Definition: own})); again.Revision != p.Revision {
			w.Fatal("the same definition is an edit")
		}
		items, _, err := audit.New(w.d, nil).List(w.ctx, audit.Filter{Action: "product.update"}, "", 100)
		if got := string(must(json.Marshal(must(items, err)))); !strings.Contains(got, `"field":"definition"`) {
			w.Fatal(got)
		}
	})
}
