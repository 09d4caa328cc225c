package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

const (
	defaultURL = "http://127.0.0.1:8080"
	maxAnswer  = 256 << 20 // bytes
	patience   = 2 * time.Minute
)

// remote is how a platform is reached.
type remote struct{ url, token string }

// serverFlags adds the flags of every command that asks a server.
func serverFlags(fs *flag.FlagSet) *remote {
	r := &remote{}
	fs.StringVar(&r.url, "url", "", "`address` of the platform; default TOLLGATE_URL, else "+defaultURL)
	fs.StringVar(&r.token, "token", "", "management `token`; better in TOLLGATE_TOKEN, where other users of this machine do not see it")
	return r
}

// client asks the management API of one platform.
type client struct {
	http  *http.Client
	base  string
	token string
	agent string
	lang  string
	me    me
}

func (r *remote) client(env *Env) (*client, error) {
	c := &client{agent: "tollgate/" + env.Version, lang: "en"}
	if env.chinese() {
		c.lang = "zh-CN, zh;q=0.9, en;q=0.5"
	}
	c.base = strings.TrimRight(orElse(r.url, orElse(env.Getenv("TOLLGATE_URL"), defaultURL)), "/")
	u, err := url.Parse(c.base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError("the address of the platform must be an http or https URL such as " + defaultURL)
	}
	c.token = orElse(r.token, env.Getenv("TOLLGATE_TOKEN"))
	if c.token == "" {
		return nil, problem.New(problem.Unauthenticated, "cli.no_token", "there is no token: set TOLLGATE_TOKEN to a management key (sk-tg-mgt-…); the demo writes some to demo.env in its data directory")
	}
	if strings.ContainsFunc(c.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, problem.New(problem.Unauthenticated, "cli.bad_token", "the token has characters that no key has: was it copied completely?")
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext}
	c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

func orElse(v, other string) string {
	if v == "" {
		return other
	}
	return v
}

// ask is one request to the management API.
type ask struct {
	method string
	path   string // below /api/v1
	query  url.Values
	body   any    // sent as JSON
	accept string // default JSON
	once   string // Idempotency-Key: the request is repeated when its answer is lost
	slow   bool   // it may take very long
}

// do sends a request and decodes the answer into out, which may be a *[]byte for the answer as it is.
func (c *client) do(ctx context.Context, a ask, out any) error {
	var body []byte
	if a.body != nil {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			return err
		}
	}
	limit := patience
	if a.slow {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer, err := c.send(ctx, a, body)
	for try := 0; err != nil && a.once != "" && try < 2 && problem.Is(err, problem.Unavailable) && ctx.Err() == nil; try++ {
		answer, err = c.send(ctx, a, body) // with the same key it happens once, whatever became of the first
	}
	if err != nil || out == nil {
		return err
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = answer
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return c.strange("its answer is not the expected JSON").Because(err)
	}
	return nil
}

func (c *client) strange(what string) *problem.Error {
	return problem.New(problem.Upstream, "cli.no_tollgate", "%s does not answer like a Tollgate server: %s; is the address right?", c.base, what)
}

func (c *client) send(ctx context.Context, a ask, body []byte) ([]byte, error) {
	target := c.base + "/api/v1" + a.path
	if len(a.query) > 0 {
		target += "?" + a.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, a.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("User-Agent", c.agent)
	r.Header.Set("Accept-Language", c.lang)
	r.Header.Set("Accept", orElse(a.accept, "application/json"))
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if a.once != "" {
		r.Header.Set("Idempotency-Key", a.once)
	}
	if a.method == http.MethodPatch || a.method == http.MethodPut {
		r.Header.Set("If-Match", "*")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is in the message
		}
		return nil, problem.New(problem.Unavailable, "cli.unreachable", "%s cannot be reached", c.base).Because(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, problem.New(problem.Unavailable, "cli.answer_cut", "the answer of %s broke off", c.base).Because(err)
	}
	switch {
	case len(answer) > maxAnswer:
		return nil, c.strange("the answer is too long")
	case resp.StatusCode/100 == 3:
		return nil, c.strange("it redirects to " + resp.Header.Get("Location"))
	case resp.StatusCode/100 != 2:
		return nil, c.failure(resp, answer)
	}
	return answer, nil
}

// apiError is a problem as the server sent it.
type apiError struct {
	Status    int             `json:"status"`
	Title     string          `json:"title"`
	Detail    string          `json:"detail"`
	Code      string          `json:"code"`
	RequestID string          `json:"request_id"`
	Errors    []problem.Field `json:"errors"`
}

func (c *client) failure(resp *http.Response, answer []byte) error {
	e := &apiError{}
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") || json.Unmarshal(answer, e) != nil {
		if code := codeOf(resp.StatusCode); code == Unreachable {
			return problem.New(problem.Unavailable, "cli.away", "%s is not available: %s", c.base, resp.Status)
		}
		return c.strange("it answers with " + resp.Status)
	}
	e.Status = resp.StatusCode
	return e
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Detail) }

func (e *apiError) code() int { return codeOf(e.Status) }

func (e *apiError) print(env *Env) {
	fmt.Fprintf(env.Stderr, "tollgate: %s\n", plain(orElse(e.Detail, e.Title)))
	for _, f := range e.Errors {
		fmt.Fprintf(env.Stderr, "  %s: %s\n", plain(f.Path), plain(f.Detail))
	}
	fmt.Fprintf(env.Stderr, "  (%s, request %s)\n", plain(orElse(e.Code, e.Title)), plain(e.RequestID))
}

// me is who the token is.
type me struct {
	Key          string `json:"key"`
	Role         string `json:"role"`
	Organisation struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"organisation"`
}

// organisation is the one that a flag names, else the token's own.
func (c *client) organisation(ctx context.Context, flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	err := c.do(ctx, ask{method: "GET", path: "/me"}, &c.me)
	return c.me.Organisation.Name, err
}

// in is a path below an organisation's.
func in(org string, parts ...string) string {
	p := "/organisations/" + url.PathEscape(org)
	for _, s := range parts {
		p += "/" + url.PathEscape(s)
	}
	return p
}

// list is a page.
type list[T any] struct {
	Items   []T    `json:"items"`
	HasMore bool   `json:"has_more"`
	Next    string `json:"next,omitempty"`
}

// newKey makes an Idempotency-Key.
func newKey() string { return "cli-" + rand.Text() }
