package server

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/gateway/front"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/web"
)

// Handler serves everything that the process's roles say.
func (a *App) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, map[string]any{"status": "ok", "version": Version})
	})
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", a.guardMetrics(a.Metrics.Handler()))
	if a.Config.Has("gateway") {
		mux.Handle("/v1/", a.Front)
		for _, prefix := range outside(a.routes) {
			mux.Handle(prefix, a.Front)
		}
		mux.HandleFunc("GET /assist/widget.js", widget)
	}
	if a.Config.Has("api") {
		mux.Handle("/api/", a.API)
		mux.Handle("/", a.pages())
	}
	return mux
}

// outside lists where the routes are that do not begin with /v1/: other vendors' shapes, and the free tier's.
func outside(routes []engine.Route) (prefixes []string) {
	for _, rt := range routes {
		first, rest, deeper := strings.Cut(strings.TrimPrefix(rt.Pattern, "/"), "/")
		prefix := "/" + first
		if deeper && rest != "" {
			prefix += "/"
		}
		if first != "v1" && !slices.Contains(prefixes, prefix) {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes
}

// pages are what a browser sees.
func (a *App) pages() http.Handler {
	_, err := os.Stat(filepath.Join(a.Config.Data, "demo.env"))
	return web.New(web.Options{Book: a.Book, PublicURL: a.Config.PublicURL, Version: Version, Demo: err == nil, Log: a.Log,
		Reports: a.reports, Engines: a.behind, Related: a.related,
		Definition: func(ctx context.Context, product string) (string, error) {
			text, _, err := a.Catalog.Definition(ctx, product)
			return text, err
		},
		SetUp: func(ctx context.Context) (set bool, err error) {
			err = a.DB.View(ctx, func(tx *db.Tx) error { set, err = org.HasOperator(tx, false); return err })
			return set, err
		}})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client left: nothing to do
}

// ready tells whether calls can be served: the spool writes, and the database answers or at least leases last.
func (a *App) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	checks := map[string]string{"spool": "ok", "database": "ok"}
	status := http.StatusOK
	if err := a.Spool.Err(); err != nil {
		checks["spool"], status = "failing", http.StatusServiceUnavailable
	}
	if err := a.DB.View(ctx, func(tx *db.Tx) error { return tx.QueryRow(`SELECT 1`).Scan(new(int64)) }); err != nil {
		checks["database"] = "away" // calls go on while the leases last
	}
	reply(w, status, map[string]any{"ready": status == http.StatusOK, "checks": checks})
}

// guardMetrics admits the networks and the token of the configuration.
func (a *App) guardMetrics(next http.Handler) http.Handler {
	nets, _ := prefixes(a.Config.Metrics.Networks) // checked by Complete
	trusted, _ := prefixes(a.Config.TrustedProxies)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ok := false
		ip := front.ClientIP(r, trusted)
		for _, n := range nets {
			ok = ok || n.Contains(ip)
		}
		if t := a.Config.Metrics.Token; !ok && t != "" {
			got, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
			ok = subtle.ConstantTimeCompare([]byte(got), []byte(t)) == 1
		}
		if !ok {
			reply(w, http.StatusForbidden, map[string]string{"error": "metrics may be read from metrics.networks, or with metrics.token"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
