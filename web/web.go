// Package web is what a browser sees of the platform: server-rendered pages in English and Simplified
// Chinese with what is on sale, at what price, how it is called and by which definition, how well the engines
// behind it were measured to work, a field to try a call, and the page that sets up a new installation; and
// the same for programs at /llms.txt.
//
// It holds no rules, asks for no credential and keeps no session: everything on its pages is public. The
// field to try a call talks to the data plane from the browser; a key that is typed there never reaches
// this package.
//
// Invariants: whatever providers wrote is text, never markup; a page runs one script, which is ours, by
// a nonce of its own response; nothing is loaded from elsewhere.
package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Options are what the pages are made of.
type Options struct {
	Book      *plan.Book
	PublicURL string // how users reach the platform, without trailing slash
	Version   string // of the binary

	// Definition returns a product's OpenAPI document, JSON or YAML.
	Definition func(ctx context.Context, productID string) (string, error)
	// SetUp reports whether the platform has an operator.
	SetUp func(ctx context.Context) (bool, error)

	// Reports returns the stored evaluations of the platform's own engines; nil: none.
	Reports func() []engine.Report
	// Engines tells of the models behind the upstream builtin://name, installed or not. It must be fast; nil: nothing is told.
	Engines func(upstream string) []engine.Info
	// Related returns the ids of products that readers of a product's page may also need, best first; nil: none.
	Related func(ctx context.Context, productID string) []string

	Demo bool         // the pages tell where the demo's key is
	Log  *slog.Logger // nil: nowhere
}

//go:embed pages
var pageFiles embed.FS

// site is the handler.
type site struct {
	Options
	mux     *http.ServeMux
	assets  map[string]*asset
	pages   map[string]*template.Template // by language
	shelf   shelf
	defined definitions
}

// New returns the handler of everything that is not below another handler's path.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &site{Options: o, mux: http.NewServeMux(), assets: loadAssets(), pages: map[string]*template.Template{}}
	for _, lang := range languages {
		s.pages[lang] = s.parse(lang)
	}
	s.mux.HandleFunc("GET /{$}", s.home)
	s.mux.HandleFunc("GET /products/{provider}/{name}", s.product)
	s.mux.HandleFunc("GET /products/{provider}/{name}/definition", s.definition)
	s.mux.HandleFunc("GET /bootstrap", s.bootstrap)
	s.mux.HandleFunc("GET /assets/{name}", s.asset)
	s.mux.HandleFunc("GET /favicon.ico", s.icon)
	s.mux.HandleFunc("GET /llms.txt", s.llms)
	s.mux.HandleFunc("GET /robots.txt", s.robots)
	s.mux.HandleFunc("/", s.missing)
	return s
}

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // keys may be restricted by referrer: the field to try a call sends it
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(self), payment=()")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	s.mux.ServeHTTP(w, r)
}

// policy is the content security policy of a page: our files only, of scripts only the one that carries the
// nonce, and pictures and sound that this script got from the data plane.
func policy(nonce string) string {
	return "default-src 'self'; script-src 'nonce-" + nonce + "'; style-src 'self'; img-src 'self' blob:; media-src blob:; connect-src 'self'; " +
		"object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
}

// page is what every template gets.
type page struct {
	Lang    string
	Nonce   string
	Title   string // of the document, without the platform's name
	About   string // for search engines
	Switch  []languageLink
	Origin  string // how users reach the platform
	Base    string // of the data plane: …/v1
	Index   bool   // search engines may list it
	Version string
	Body    any
}

type languageLink struct {
	Lang, Href string
	Current    bool
}

// show renders a page and sends it.
func (s *site) show(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	p.Lang = language(w, r)
	p.Nonce = nonce()
	p.Origin, p.Base, p.Version = s.PublicURL, s.PublicURL+"/v1", s.Version
	for _, lang := range languages {
		q := url.Values{"lang": {lang}}
		for _, keep := range []string{"q", "can", "page"} {
			if v := r.URL.Query().Get(keep); v != "" && status == http.StatusOK {
				q.Set(keep, v)
			}
		}
		p.Switch = append(p.Switch, languageLink{lang, "?" + q.Encode(), lang == p.Lang})
	}
	var b bytes.Buffer
	if err := s.pages[p.Lang].ExecuteTemplate(&b, name, p); err != nil {
		s.Log.Error("a page does not render", "page", name, "path", r.URL.Path, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", contentLanguage[p.Lang])
	h.Set("Content-Security-Policy", policy(p.Nonce))
	h.Set("Cache-Control", "private, no-store")
	h.Add("Vary", "Accept-Language, Cookie")
	send(w, r, status, b.Bytes())
}

func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

// plain sends a text for programs.
func plain(w http.ResponseWriter, r *http.Request, contentType, text string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "public, max-age=60")
	send(w, r, http.StatusOK, []byte(text))
}

// missing answers every path that nobody serves.
func (s *site) missing(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "there is nothing here to "+r.Method, http.StatusMethodNotAllowed)
		return
	}
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Error(w, "there is nothing at "+clip(r.URL.Path, 200)+"; see "+s.PublicURL+"/llms.txt", http.StatusNotFound)
		return
	}
	s.show(w, r, http.StatusNotFound, "missing", page{Title: s.text(r, "missing.title"), Body: clip(r.URL.Path, 200)})
}

func (s *site) robots(w http.ResponseWriter, r *http.Request) {
	plain(w, r, "text/plain; charset=utf-8", "User-agent: *\nDisallow: /api/\nDisallow: /v1/\nDisallow: /bootstrap\nAllow: /\n")
}

// bootstrap serves the page that sets up a new installation. The one-time token is in the fragment of its
// address, which browsers do not send.
func (s *site) bootstrap(w http.ResponseWriter, r *http.Request) {
	done, err := s.SetUp(r.Context())
	if err != nil {
		s.Log.Error("cannot tell whether the platform is set up", "error", err)
		s.show(w, r, http.StatusServiceUnavailable, "away", page{Title: s.text(r, "away.title")})
		return
	}
	s.show(w, r, http.StatusOK, "bootstrap", page{Title: s.text(r, "bootstrap.title"), Body: done})
}

// parse reads the templates with the functions of a language.
func (s *site) parse(lang string) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"t":     func(id string, args ...any) string { return text(lang, id, args...) },
		"named": func(prefix, name string) named { return nameOf(lang, prefix, name) },
		"phrase": func(s string) named {
			t := problem.Phrase(lang, s)
			return named{t, lang != "en" && t == s}
		},
		"rich":  func(id string, args ...any) template.HTML { return rich(text(lang, id, args...)) },
		"asset": func(name string) string { return s.assets[name].path },
		"count": func(n any) string { return groupDigits(fmt.Sprint(n)) },
		"price": func(p *plan.Plan) *priceList { return prices(p.Current.Card, lang) },
		"texts": func(prefix string) string { return textsJSON(lang, prefix) },
		"code":  highlight,
	}).ParseFS(pageFiles, "pages/*.html"))
}

// clip shortens a text to n characters.
func clip(s string, n int) string {
	for i := range s {
		if n == 0 {
			return strings.ToValidUTF8(s[:i], "�") + "…"
		}
		n--
	}
	return strings.ToValidUTF8(s, "�")
}
