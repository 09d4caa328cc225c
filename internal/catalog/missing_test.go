package catalog

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func TestMissingModels(t *testing.T) {
	each(t, func(w *world) {
		u := w.upstream("main")
		p := must(w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "small"}))
		p = must(w.CreateVersion(w.ctx, w.who, p.ID, Any, VersionInput{Name: "v1", Targets: []TargetInput{{Upstream: "main", UpstreamModel: "a"}, {Upstream: "main", UpstreamModel: "unlisted"}}}))
		must(w.CreateVersion(w.ctx, w.who, p.ID, Any, VersionInput{Name: "v2", Targets: []TargetInput{{Upstream: "main", UpstreamModel: "b"}}}))
		record := func(models ...string) {
			_, _, err := w.RecordModels(w.ctx, u.ID, models)
			must(0, err)
		}
		want := func(want string) {
			t.Helper()
			var got []string
			for _, m := range must(w.MissingModels(w.ctx)) {
				got = append(got, m.Upstream+" "+m.Product+" "+m.Version+" "+m.Model)
				if m.Since.IsZero() || m.OrgID != w.org {
					t.Errorf("%+v", m)
				}
			}
			if s := strings.Join(got, ", "); s != want {
				t.Fatalf("got %q, want %q", s, want)
			}
		}
		record("a", "b")
		record()
		want("") // not on sale
		w.publish(p.ID)
		want("main small v1 a") // v2 takes no traffic
		must(w.SetRelease(w.ctx, w.who, p.ID, Any, []ReleaseInput{{"v1", Stable, 50}, {"v2", Canary, 50}}))
		want("main small v1 a, main small v2 b")
		record("a")
		want("main small v2 b")
		must(w.SetUpstreamState(w.ctx, w.who, u.ID, Any, Suspended, "gone"))
		want("")
	})
}

func TestRefreshModelsTriesCredentials(t *testing.T) {
	each(t, func(w *world) {
		var asked []string
		status := http.StatusUnauthorized
		srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked = append(asked, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			if asked[len(asked)-1] != "good" {
				rw.WriteHeader(status)
				return
			}
			_, _ = rw.Write([]byte(`{"data":[{"id":"m"}]}`))
		}))
		defer srv.Close()
		u := must(w.CreateUpstream(w.ctx, w.who, w.org, UpstreamInput{Name: "main", URL: srv.URL + "/v1"}))
		for _, name := range []string{"bad", "good", "never"} {
			u = must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: name, Secret: secret.New(name)}))
		}
		added, gone, err := w.RefreshModels(w.ctx, srv.Client(), w.snapshot(nil).Upstream(u.ID))
		if err != nil || strings.Join(added, ",") != "m" || gone != nil || strings.Join(asked, ",") != "bad,good" {
			t.Errorf("%v %v %v, asked with %v", added, gone, err, asked)
		}
		u = must(w.SetCredential(w.ctx, w.who, u.ID, Any, CredentialInput{Name: "good", State: Disabled}))
		if _, _, err = w.RefreshModels(w.ctx, srv.Client(), w.snapshot(nil).Upstream(u.ID)); !problem.Is(err, problem.Upstream) {
			t.Error(err)
		}
		if seen := must(w.SeenModels(w.ctx, u.ID)); len(seen) != 1 || !seen[0].Gone.IsZero() {
			t.Errorf("a list that could not be read changed what is known: %+v", seen)
		}
	})
}
