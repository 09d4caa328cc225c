package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// withVersions makes a product with versions v1, v2, v3 on one upstream.
func (w *world) withVersions() *Product {
	w.upstream("main")
	p := must(w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "small"}))
	for _, v := range []string{"v1", "v2", "v3"} {
		p = must(w.CreateVersion(w.ctx, w.who, p.ID, p.Revision, VersionInput{Name: v, Targets: []TargetInput{{Upstream: "main"}}}))
	}
	return p
}

func (p *Product) split() string {
	var out []string
	for _, v := range p.Versions {
		out = append(out, v.Name+" "+string(v.Release)+" "+string(rune('0'+v.Share/10)))
	}
	return strings.Join(out, ", ")
}

func TestRelease(t *testing.T) {
	each(t, func(w *world) {
		p := w.withVersions()
		if got := p.split(); got != "v1 stable :, v2 canary 0, v3 canary 0" { // ':' is ten tenths
			w.Fatal(got)
		}
		_, err := w.CreateVersion(w.ctx, w.who, p.ID, Any, VersionInput{Name: "v1"})
		refused(w, err, problem.Conflict, "catalog.taken")
		p = w.publish(p.ID)
		set := func(in ...ReleaseInput) error {
			next, err := w.SetRelease(w.ctx, w.who, p.ID, p.Revision, in)
			if err == nil {
				p = next
			}
			return err
		}
		for _, c := range []struct {
			name string
			in   []ReleaseInput
			want string // split, or the failing field
		}{
			{"canary", []ReleaseInput{{"v1", Stable, 90}, {"v2", Canary, 10}}, "v1 stable 9, v2 canary 1, v3 canary 0"},
			{"too much", []ReleaseInput{{"v2", Canary, 20}}, "release"},
			{"too little", []ReleaseInput{{"v2", Canary, 0}}, "release"},
			{"unknown", []ReleaseInput{{"v9", Canary, 10}}, "release[0].version"},
			{"twice", []ReleaseInput{{"v2", Canary, 10}, {"v2", Canary, 10}}, "release[1].version"},
			{"word", []ReleaseInput{{"v2", "purple", 10}}, "release[0].release"},
			{"negative", []ReleaseInput{{"v1", Stable, 110}, {"v2", Canary, -10}}, "release[0].share release[1].share"},
			{"retired with traffic", []ReleaseInput{{"v2", Withdrawn, 10}}, "release[0].share"},
			{"blue green", []ReleaseInput{{"v1", Blue, 0}, {"v2", Withdrawn, 0}, {"v3", Green, 100}}, "v1 blue 0, v2 retired 0, v3 green :"},
			{"retired comes back", []ReleaseInput{{"v2", Stable, 0}}, "release[0].release"},
			{"none", []ReleaseInput{{"v1", Withdrawn, 0}, {"v3", Withdrawn, 0}}, "release"},
			{"back", []ReleaseInput{{"v1", Blue, 100}, {"v3", Green, 0}}, "v1 blue :, v2 retired 0, v3 green 0"},
		} {
			err := set(c.in...)
			if err == nil {
				if p.split() != c.want {
					w.Fatalf("%s: %s", c.name, p.split())
				}
				continue
			}
			var fields []string
			for _, f := range refused(w, err, problem.Unprocessable, "catalog.release_invalid").Fields {
				fields = append(fields, f.Path)
			}
			if strings.Join(fields, " ") != c.want {
				w.Fatalf("%s: fields %v", c.name, fields)
			}
		}
		before := p.Revision
		if err := set(ReleaseInput{"v1", Blue, 100}); err != nil || p.Revision != before {
			w.Fatalf("a release that changes nothing: %v, revision %d → %d", err, before, p.Revision)
		}
		_, err = w.SetRelease(w.ctx, w.who, p.ID, 1, nil)
		refused(w, err, problem.Precondition, "catalog.stale")
	})
}

func TestTargets(t *testing.T) {
	each(t, func(w *world) {
		p := w.withVersions()
		spare := w.upstream("spare")
		kept := p.version("v1").Targets[0]
		p = must(w.SetTargets(w.ctx, w.who, p.ID, p.Revision, "v1", []TargetInput{
			{Upstream: "main", Priority: 1, Weight: 7}, {Upstream: spare.ID}, {Upstream: "spare", UpstreamModel: "b"}}))
		ts := p.version("v1").Targets
		if len(ts) != 3 || ts[2].ID != kept.ID || ts[2].Weight != 7 || ts[0].UpstreamID != spare.ID {
			w.Fatalf("%+v", ts)
		}
		same := must(w.SetTargets(w.ctx, w.who, p.ID, p.Revision, "v1", []TargetInput{
			{Upstream: "spare", UpstreamModel: "b"}, {Upstream: "spare"}, {Upstream: "main", Priority: 1, Weight: 7}}))
		if same.Revision != p.Revision {
			w.Fatal("the same targets are an edit")
		}
		_, err := w.SetTargets(w.ctx, w.who, p.ID, Any, "v1", []TargetInput{{Upstream: "main"}, {Upstream: "main"}, {Upstream: "nowhere"}})
		e := refused(w, err, problem.Unprocessable, "catalog.version_invalid")
		if len(e.Fields) != 2 || e.Fields[0].Path != "targets[1]" || e.Fields[1].Path != "targets[2].upstream" {
			w.Fatalf("%v", e.Fields)
		}
		if now := must(w.Product(w.ctx, p.ID)); len(now.version("v1").Targets) != 3 {
			w.Fatal("a refused edit changed the targets")
		}
		// Another provider's upstream is none.
		other := must(w.CreateUpstream(w.ctx, w.who, db.NewID("org", start), UpstreamInput{Name: "theirs", URL: "https://theirs.example.com"}))
		_, err = w.SetTargets(w.ctx, w.who, p.ID, Any, "v1", []TargetInput{{Upstream: other.ID}})
		refused(w, err, problem.Unprocessable, "catalog.version_invalid")

		p = w.publish(p.ID)
		_, err = w.SetTargets(w.ctx, w.who, p.ID, Any, "v1", nil)
		refused(w, err, problem.Conflict, "catalog.version_live")
		_, err = w.SetUpstreamState(w.ctx, w.who, spare.ID, Any, Retired, "gone")
		refused(w, err, problem.Conflict, "catalog.upstream_used")
		must(w.SetTargets(w.ctx, w.who, p.ID, Any, "v1", []TargetInput{{Upstream: "main"}}))
		must(w.SetUpstreamState(w.ctx, w.who, spare.ID, Any, Retired, "gone"))
		_, err = w.SetTargets(w.ctx, w.who, p.ID, Any, "v2", []TargetInput{{Upstream: "spare"}})
		refused(w, err, problem.Unprocessable, "catalog.version_invalid")
	})
}

func TestProductLife(t *testing.T) {
	each(t, func(w *world) {
		p := must(w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "small", Model: "m/1", Capabilities: []Capability{Embeddings}}))
		if p.MaxOutput != 0 {
			w.Fatalf("max_output %d of a product that writes nothing", p.MaxOutput)
		}
		_, err := w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "small", Model: "m/2"})
		if e := refused(w, err, problem.Conflict, "catalog.taken"); e.Fields[0].Path != "name" {
			w.Fatal(e.Fields)
		}
		_, err = w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: "large", Model: "m/1"})
		if e := refused(w, err, problem.Conflict, "catalog.taken"); e.Fields[0].Path != "model" {
			w.Fatal(e.Fields)
		}
		must(w.CreateProduct(w.ctx, w.who, db.NewID("org", start), ProductInput{Name: "small", Model: "m/1"}))
		none := func(*db.Tx, *Product) error { return nil }
		publish := func() error {
			return w.d.Update(w.ctx, func(tx *db.Tx) error { _, err := w.PublishProductTx(tx, w.who, p.ID, Any, none); return err })
		}
		refused(w, publish(), problem.Conflict, "catalog.no_target")
		w.upstream("main")
		must(w.CreateVersion(w.ctx, w.who, p.ID, Any, VersionInput{Name: "v1", Targets: []TargetInput{{Upstream: "main"}}}))
		unpriced := problem.New(problem.Conflict, "catalog.no_target", "no price")
		err = w.d.Update(w.ctx, func(tx *db.Tx) error {
			_, err := w.PublishProductTx(tx, w.who, p.ID, Any, func(*db.Tx, *Product) error { return unpriced })
			return err
		})
		refused(w, err, problem.Conflict, "catalog.no_target")
		_, err = w.SuspendProduct(w.ctx, w.who, p.ID, Any, "why")
		refused(w, err, problem.Conflict, "catalog.state")
		p = must(w.UpdateProduct(w.ctx, w.who, p.ID, Any, ProductInput{Model: "m/3", Title: Text{Zh: "小"}, Capabilities: []Capability{Chat, Embeddings}}))
		if p.Model != "m/3" || p.Title.In("en") != "小" || p.MaxOutput != 4096 || !p.Can(Embeddings) {
			w.Fatalf("%+v", p)
		}
		p = w.publish(p.ID)
		if p.Published.IsZero() || w.publish(p.ID).Revision != p.Revision {
			w.Fatal("publishing twice is an edit")
		}
		_, err = w.UpdateProduct(w.ctx, w.who, p.ID, Any, ProductInput{Model: "m/4"})
		refused(w, err, problem.Conflict, "catalog.model_fixed")
		must(w.SuspendProduct(w.ctx, w.who, p.ID, Any, "why"))
		p = must(w.SuspendProduct(w.ctx, w.who, p.ID, Any, "another reason"))
		if p.Reason != "another reason" {
			w.Fatalf("%+v", p)
		}
		refused(w, publish(), problem.Conflict, "catalog.state")
		if p = must(w.ResumeProduct(w.ctx, w.who, p.ID, p.Revision)); p.State != Published || p.Reason != "" {
			w.Fatalf("%+v", p)
		}
		must(w.RetireProduct(w.ctx, w.who, p.ID, Any, "old"))
		_, err = w.ResumeProduct(w.ctx, w.who, p.ID, Any)
		refused(w, err, problem.Conflict, "catalog.state")
		_, err = w.UpdateProduct(w.ctx, w.who, p.ID, Any, ProductInput{})
		refused(w, err, problem.Conflict, "catalog.state")
	})
}

func TestListsByPage(t *testing.T) {
	each(t, func(w *world) {
		var want, got []string
		for _, n := range []string{"a", "b", "c", "d", "e"} {
			want = append(want, must(w.CreateProduct(w.ctx, w.who, w.org, ProductInput{Name: n})).ID)
			w.upstream(n)
		}
		slices.Sort(want)
		for after, more := "", true; more; {
			var page []*Product
			var err error
			page, more, err = w.Products(w.ctx, Filter{OrgID: w.org, State: Draft}, after, 2)
			for _, p := range must(page, err) {
				got = append(got, p.ID)
			}
			after = got[len(got)-1]
		}
		if !slices.Equal(got, want) {
			w.Fatalf("%v, want %v", got, want)
		}
		us, more, err := w.Upstreams(w.ctx, Filter{Name: "c"}, "", 10)
		if len(must(us, err)) != 1 || more {
			w.Fatalf("%v %v", us, more)
		}
		us, more, err = w.Upstreams(w.ctx, Filter{State: Retired}, "", 10)
		if len(must(us, err)) != 0 || more {
			w.Fatalf("%v %v", us, more)
		}
	})
}
