package catalog

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

var sets = []db.Migrations{audit.Migrations, Migrations}

// world is a store on a fresh database with one provider.
type world struct {
	*testing.T
	*Store
	d    *db.DB
	ctx  context.Context
	who  audit.Actor
	org  string
	keys *secret.Sealer
}

func each(t *testing.T, fn func(w *world)) {
	dbtest.Each(t, sets, func(t *testing.T, d *db.DB) { fn(newWorld(t, d)) })
}

func newWorld(t *testing.T, d *db.DB) *world {
	keys := must(secret.Parse(secret.Generate().Reveal()))
	return &world{T: t, Store: New(d, keys), d: d, ctx: t.Context(), who: audit.System("test"), org: db.NewID("org", time.Now()), keys: keys}
}

// must returns v; an error is a panic, which ends the test with its stack.
func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// refused checks that err is of the kind and id.
func refused(t testing.TB, err error, kind problem.Kind, id string) *problem.Error {
	t.Helper()
	if !problem.Is(err, kind) || problem.As(err).ID != id {
		t.Fatalf("got %v, want %s", err, id)
	}
	return problem.As(err)
}

func (w *world) upstream(name string) *Upstream {
	w.Helper()
	return must(w.CreateUpstream(w.ctx, w.who, w.org, UpstreamInput{Name: name, URL: "https://" + name + ".example.com/v1/"}))
}

func (w *world) snapshot(prev *Snapshot) *Snapshot {
	w.Helper()
	return must(view(w.ctx, w.Store, func(tx *db.Tx) (*Snapshot, error) { return w.Snapshot(tx, prev) }))
}

// publish publishes without asking for a price.
func (w *world) publish(id string) *Product {
	w.Helper()
	return must(write(w.ctx, w.Store, func(tx *db.Tx) (*Product, error) {
		return w.PublishProductTx(tx, w.who, id, Any, func(*db.Tx, *Product) error { return nil })
	}))
}

func TestUpstreamLife(t *testing.T) {
	each(t, func(w *world) {
		u := w.upstream("main")
		if u.URL != "https://main.example.com/v1" || u.Dialect != OpenAI || u.State != Active || u.Revision != 1 || u.Timeouts != defaultTimeouts {
			t.Fatalf("%+v", u)
		}
		_, err := w.CreateUpstream(w.ctx, w.who, w.org, UpstreamInput{Name: "main", URL: "http://other.example.com"})
		if e := refused(w, err, problem.Conflict, "catalog.taken"); len(e.Fields) != 1 || e.Fields[0].Path != "name" {
			w.Fatalf("fields %v", e.Fields)
		}
		u2 := must(w.UpdateUpstream(w.ctx, w.who, u.ID, 1, UpstreamInput{URL: "http://10.0.0.1:8000/v1", Timeouts: Timeouts{Idle: 7}}))
		if u2.Revision != 2 || u2.Timeouts.Idle != 7 || u2.Timeouts.Total != 1_800_000 {
			w.Fatalf("%+v", u2)
		}
		_, err = w.UpdateUpstream(w.ctx, w.who, u.ID, 1, UpstreamInput{URL: "http://10.0.0.2:8000/v1"})
		refused(w, err, problem.Precondition, "catalog.stale")
		_, err = w.UpdateUpstream(w.ctx, w.who, u.ID, 2, UpstreamInput{Name: "else", URL: "http://10.0.0.2:8000/v1"})
		refused(w, err, problem.Unprocessable, "catalog.rename")
		same := must(w.UpdateUpstream(w.ctx, w.who, u.ID, 2, UpstreamInput{URL: "http://10.0.0.1:8000/v1", Timeouts: Timeouts{Idle: 7}}))
		if diff := cmp.Diff(u2, same); diff != "" {
			w.Fatalf("an edit without a change changed:\n%s", diff)
		}
		_, err = w.Upstream(w.ctx, "ups_none")
		refused(w, err, problem.NotFound, "catalog.not_found")
		_, err = w.SetUpstreamState(w.ctx, w.who, u.ID, Any, Suspended, " ")
		refused(w, err, problem.Unprocessable, "catalog.reason")
		for _, step := range []struct {
			to     State
			reason string
		}{{Suspended, "leak"}, {Active, ""}, {Retired, "old"}} {
			got := must(w.SetUpstreamState(w.ctx, w.who, u.ID, Any, step.to, step.reason))
			if got.State != step.to || got.Reason != step.reason {
				w.Fatalf("%+v", got)
			}
		}
		_, err = w.SetUpstreamState(w.ctx, w.who, u.ID, Any, Active, "")
		refused(w, err, problem.Conflict, "catalog.state")
	})
}

func TestProductToSnapshot(t *testing.T) {
	each(t, func(w *world) {
		main, spare := w.upstream("main"), w.upstream("spare")
		must(w.SetCredential(w.ctx, w.who, main.ID, 1, CredentialInput{Name: "a", Secret: secret.New("sk-0123456789abcdef")}))
		p := must(w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "small", Model: "lab/small-1"}))
		if p.State != Draft || p.MaxOutput != 4096 || !p.Can(Chat) || p.Can(Embeddings) {
			w.Fatalf("%+v", p)
		}
		if s := w.snapshot(nil); s.Product(p.UUID) != nil {
			w.Fatal("a draft is in the snapshot")
		}
		p = must(w.CreateVersion(w.ctx, w.who, p.ID, p.Revision, VersionInput{Name: "v1", Targets: []TargetInput{
			{Upstream: "spare", Priority: 1}, {Upstream: "main", UpstreamModel: "gpt"}}}))
		p = must(w.CreateVersion(w.ctx, w.who, p.ID, p.Revision, VersionInput{Name: "v2", Targets: []TargetInput{{Upstream: "spare"}}}))
		p = w.publish(p.ID)
		s := w.snapshot(nil)
		if again := w.snapshot(s); again != s {
			w.Fatal("nothing changed, yet a new snapshot")
		}
		if s.Upstream(main.ID).Name != "main" || s.Upstream("ups_none") != nil {
			w.Fatal("upstreams by id")
		}
		got := s.ByOwner(p.OrgUUID, []byte("lab/small-1"))
		if got == nil || len(s.ByModel([]byte("lab/small-1"))) != 1 || len(got.Live) != 1 || got.Live[0].Share != 100 {
			w.Fatalf("%+v", got)
		}
		targets := got.Live[0].Targets
		if len(targets) != 2 || targets[0].UpstreamModel != "gpt" || targets[1].Upstream.Name != "spare" {
			w.Fatalf("%+v", targets)
		}
		if c := targets[0].Upstream.Credentials; len(c) != 1 || c[0].Secret.Reveal() != "sk-0123456789abcdef" || c[0].LastFour != "cdef" {
			w.Fatalf("%+v", c)
		}
		must(w.SetUpstreamState(w.ctx, w.who, main.ID, Any, Suspended, "kill"))
		s = w.snapshot(s)
		if live := s.Product(p.UUID).Live; len(live) != 1 || len(live[0].Targets) != 1 || live[0].Targets[0].UpstreamID != spare.ID {
			w.Fatalf("%+v", live)
		}
		must(w.SetUpstreamState(w.ctx, w.who, spare.ID, Any, Suspended, "kill"))
		if live := w.snapshot(s).Product(p.UUID).Live; len(live) != 0 {
			w.Fatalf("%+v", live)
		}
	})
}
