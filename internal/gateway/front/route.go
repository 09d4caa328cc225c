package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/gateway"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// routeBody is how large a body may be where its route states nothing.
const routeBody = 1 << 20

// route mounts one route of a contract.
func (f *Front) route(rt *engine.Route) {
	names := wildcards(rt.Pattern)
	f.mux.HandleFunc(rt.Method+" "+rt.Pattern, func(w http.ResponseWriter, r *http.Request) {
		in := &engine.Request{Query: r.URL.Query(), EscapedPath: r.URL.EscapedPath(), Type: r.Header.Get("Content-Type"), Accept: r.Header.Get("Accept"),
			Header: r.Header.Get}
		if len(names) > 0 {
			in.Params = make(map[string]string, len(names))
			for _, n := range names {
				in.Params[n] = r.PathValue(n)
			}
		}
		if rt.Socket && !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			f.run(w, r, rt, func(c *gateway.Call) { c.Refuse(errSocket) })
			return
		}
		if rt.Socket {
			protocolKey(r)
			f.run(w, r, rt, func(c *gateway.Call) { c.Session(in, func() (gateway.Socket, error) { return upgrade(w, r) }) })
			return
		}
		f.run(w, r, rt, func(c *gateway.Call) { c.Contract(in) })
	})
}

var errSocket = problem.New(problem.Invalid, "gateway.socket", "this path is a WebSocket session: connect with ws:// or wss:// (RFC 6455)")

// unknown answers what no route is for, in the style of the routes around it.
func (f *Front) unknown(w http.ResponseWriter, r *http.Request) {
	var near *engine.Route
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := *r
		other.Method = m
		if _, pattern := f.mux.Handler(&other); pattern != "/" {
			near, allow = f.patterns[pattern], append(allow, m)
		}
	}
	for i := range f.o.Routes {
		if rt := &f.o.Routes[i]; allow == nil && family(rt.Pattern) == family(r.URL.Path) {
			near = rt
			break
		}
	}
	f.run(w, r, near, func(c *gateway.Call) { c.Unknown(strings.Join(allow, ", ")) })
}

// family is what the paths of a contract begin with: "/v1/text", "/libre".
func family(path string) string {
	n := 2
	if strings.HasPrefix(path, "/v1/") {
		n = 3
	}
	parts := strings.SplitN(path, "/", n+1)
	return strings.Join(parts[:min(n, len(parts))], "/")
}

// wildcards are the names in a ServeMux pattern.
func wildcards(pattern string) (names []string) {
	for _, part := range strings.Split(pattern, "/") {
		if len(part) > 2 && part[0] == '{' && part != "{$}" {
			names = append(names, strings.TrimSuffix(strings.Trim(part, "{}"), "..."))
		}
	}
	return names
}

// shared lets web pages of other origins call: no cookie is ever read here, so that a page can do no more than the key
// that it has. It reports true for a preflight, which it has answered.
func shared(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, X-Tollgate-Cost, X-Tollgate-Units, Retry-After, Content-Disposition, X-Engine, X-Model, X-Quality, X-Voice, "+
		"X-Translate-Characters, X-Translate-Source, X-Translate-Via, X-Translate-Ignored")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); len(asked) < 1000 {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "86400")
	h.Set("Vary", "Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// deepKey reads the credential as DeepL's clients send it.
func deepKey(v string) string {
	if kind, key, ok := strings.Cut(v, " "); ok && strings.EqualFold(kind, "DeepL-Auth-Key") {
		return strings.TrimSpace(key)
	}
	return ""
}

// keyProtocol precedes a key among a socket's subprotocols: a browser cannot set headers on it.
const keyProtocol = "tollgate-key."

// protocolKey takes the key from the subprotocols where no header has one.
func protocolKey(r *http.Request) {
	if r.Header["Authorization"] != nil {
		return
	}
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(line, ",") {
			if key, ok := strings.CutPrefix(strings.TrimSpace(p), keyProtocol); ok {
				r.Header["Authorization"] = []string{"Bearer " + key}
			}
		}
	}
}

// Bounds of a session.
const (
	maxMessage = 1 << 20          // bytes
	closeTime  = 5 * time.Second  // for the client to take what is being written
	sendTime   = 30 * time.Second // for one message to be taken
)

func upgrade(w http.ResponseWriter, r *http.Request) (gateway.Socket, error) {
	// The origin needs no check: what a page may do is what its key allows, see shared.
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"tollgate"}})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(maxMessage)
	return &socket{c}, nil
}

// socket is a WebSocket connection as the gateway uses it.
type socket struct{ c *websocket.Conn }

func (s *socket) Read(ctx context.Context) (bool, []byte, error) {
	kind, message, err := s.c.Read(ctx)
	if err != nil {
		var closed websocket.CloseError
		if errors.As(err, &closed) || errors.Is(err, io.EOF) {
			err = io.EOF
		}
		return false, nil, err
	}
	return kind == websocket.MessageText, message, nil
}

func (s *socket) Write(ctx context.Context, text bool, message []byte) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	kind := websocket.MessageBinary
	if text {
		kind = websocket.MessageText
	}
	return s.c.Write(ctx, kind, message)
}

func (s *socket) Close(code int, reason string) error {
	defer time.AfterFunc(closeTime, func() { _ = s.c.CloseNow() }).Stop() // a client that does not answer the close has left
	return s.c.Close(websocket.StatusCode(code), reason)
}
