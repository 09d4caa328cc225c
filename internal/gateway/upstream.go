package gateway

import (
	"net/url"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// upstream is a catalogue upstream made ready to be called. Immutable.
type upstream struct {
	*catalog.Upstream
	endpoint *egress.Endpoint // nil for a builtin
	builtin  Builtin          // answers the model endpoints
	engine   engine.Engine    // answers a contract's routes
	heads    [][]byte         // header lines by credential; one for none
	metrics  *telemetry.Upstreams
}

func (u *upstream) close() {
	if u.endpoint != nil {
		u.endpoint.Close()
	}
}

// target is what route hands back: one choice of a product's version.
type target struct {
	*catalog.Target
	version *catalog.Version
	up      *upstream
}

// follow rebuilds upstreams and routes for a new catalogue snapshot.
func (g *Gateway) follow(snap *catalog.Snapshot) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.upstreams
	g.upstreams = make(map[string]*upstream, len(old))
	for _, u := range snap.Upstreams() {
		have := old[u.ID]
		if have != nil && have.Revision == u.Revision {
			g.upstreams[u.ID] = have
			continue
		}
		ready, err := g.prepare(u)
		if err != nil {
			g.o.Log.Error("an upstream cannot be used; correct its address", "upstream", u.ID, "name", u.Name, "error", err)
			continue
		}
		g.upstreams[u.ID] = ready
	}
	products := map[string][]route.Release{}
	for _, p := range snap.Products() {
		if r := g.releases(p); len(r) > 0 {
			products[p.ID] = r
		}
		for _, v := range p.Versions { // a plan may pin any of them
			if r, ok := g.release(v); ok {
				r.Share = 100
				products[pinTable(p.ID, v)] = []route.Release{r}
			}
		}
	}
	if err := g.router.Rebuild(products); err != nil {
		g.o.Log.Error("routes cannot be built; the former ones stay", "error", err)
	}
	for id, u := range old {
		if g.upstreams[id] != u {
			u.close() // connections in use stay until their answer ends
		}
	}
}

func (g *Gateway) prepare(u *catalog.Upstream) (*upstream, error) {
	ready := &upstream{Upstream: u, metrics: g.o.Metrics.Upstream(u.Name)}
	if name, ok := strings.CutPrefix(u.URL, "builtin://"); ok {
		name = strings.TrimRight(name, "/")
		ready.builtin, ready.engine = g.o.Builtins[name], g.o.Engines[name]
		if ready.builtin == nil && ready.engine == nil {
			return nil, &url.Error{Op: "mount", URL: u.URL, Err: errNoBuiltin}
		}
		return ready, nil
	}
	t := u.Timeouts
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	var err error
	ready.endpoint, err = g.o.Egress.Endpoint(u.URL, egress.EndpointOptions{
		Timeouts: egress.Timeouts{Connect: ms(t.Connect), FirstByte: ms(t.FirstByte), Idle: ms(t.Idle), Total: ms(t.Total)}})
	if err != nil {
		return nil, err
	}
	for _, c := range u.Credentials {
		ready.heads = append(ready.heads, head(c.Secret.Reveal()))
	}
	if len(ready.heads) == 0 {
		ready.heads = [][]byte{head("")}
	}
	return ready, nil
}

// head makes the constant header lines of a request to an upstream.
func head(key string) []byte {
	b := []byte("Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nAccept-Encoding: identity\r\nUser-Agent: tollgate\r\n")
	if key != "" {
		if with, ok := egress.AppendHeader(b, "Authorization", "Bearer "+key); ok {
			return with
		}
	}
	return b
}

// pinTable names the routes of one version of a product.
func pinTable(product string, v *catalog.Version) string { return product + "/" + v.ID }

// releases turns a product's live versions into routes.
func (g *Gateway) releases(p *catalog.Product) []route.Release {
	var list []route.Release
	for _, v := range p.Live {
		if r, ok := g.release(v); ok {
			list = append(list, r)
		}
	}
	return list
}

func (g *Gateway) release(v *catalog.Version) (route.Release, bool) {
	r := route.Release{Name: v.ID, Share: int(v.Share)}
	for _, t := range v.Targets {
		up := g.upstreams[t.UpstreamID]
		if up == nil {
			continue
		}
		rt := route.Target{ID: t.ID, Priority: int(t.Priority), Weight: int(t.Weight), Data: &target{t, v, up}}
		for _, c := range up.Credentials {
			rt.Credentials = append(rt.Credentials, c.ID)
		}
		r.Targets = append(r.Targets, rt)
	}
	return r, len(r.Targets) > 0
}
