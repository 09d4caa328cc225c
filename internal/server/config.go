// Package server puts the rooms together by hand: configuration, construction, listening and a graceful
// stop. It holds no rules of its own. Subcommands that talk to a running server live in server/cli.
package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Version is the version of the binary.
const Version = "0.1.0"

// Config is what `tollgate serve -config FILE` reads. Every field has a working default. Values of
// Database, Redis, Metrics.Token and FreeTier.Key may be "env:NAME" or "file:PATH", so that secrets stay out of the file.
type Config struct {
	Listen    string   `yaml:"listen"`     // address; default 127.0.0.1:8080
	PublicURL string   `yaml:"public_url"` // how users reach this platform; default from listen
	Data      string   `yaml:"data"`       // folder for spool, sealer key and SQLite; default ./tollgate-data
	Database  string   `yaml:"database"`   // sqlite:PATH or postgres://…; default SQLite in data
	Redis     string   `yaml:"redis"`      // redis://…; optional: shared rate limits
	Roles     []string `yaml:"roles"`      // gateway, api, worker; default all
	TLS       TLS      `yaml:"tls"`

	TrustedProxies []string `yaml:"trusted_proxies"` // networks whose X-Forwarded-For is believed
	UpstreamAllow  []string `yaml:"upstream_allow"`  // private networks that upstreams may be in; "loopback" for this machine
	SealerKey      string   `yaml:"sealer_key"`      // file; default DATA/sealer.key

	Durability string        `yaml:"durability"` // standard or strict: whether a call waits for the disk; default standard
	Upstream   Upstream      `yaml:"upstream"`
	Lease      Lease         `yaml:"lease"`
	Settle     Settle        `yaml:"settle"`
	Log        Log           `yaml:"log"`
	Metrics    Metrics       `yaml:"metrics"`
	Traces     Traces        `yaml:"traces"`
	Pprof      string        `yaml:"pprof"` // loopback address; off by default
	Limits     Limits        `yaml:"limits"`
	Engines    string        `yaml:"engines"` // folder that scripts/install-engines filled; default TOLLGATE_ENGINES, or ./tollgate-engines
	FreeTier   FreeTier      `yaml:"free_tier"`
	Drain      time.Duration `yaml:"drain"` // how long calls in flight may take at a stop; default 30 s
}

// TLS says how TLS is served: with files, or with certificates that an ACME authority issues.
type TLS struct {
	Cert      string   `yaml:"cert"`
	Key       string   `yaml:"key"`
	Domains   []string `yaml:"domains"`   // ACME: for which names
	Email     string   `yaml:"email"`     // ACME: contact
	Directory string   `yaml:"directory"` // ACME: the authority's URL; default Let's Encrypt
}

// Upstream says how upstreams are looked after.
type Upstream struct {
	WatchModels *time.Duration `yaml:"watch_models"` // between looks at their model lists; 0 for none; default 10 min
}

// Lease tunes the credit that a node borrows.
type Lease struct {
	Cover time.Duration `yaml:"cover"` // how long a lease should last: how long the database may be away; default 60 s
}

// Settle tunes settlement behind the calls.
type Settle struct {
	Every time.Duration `yaml:"every"` // how long calls may wait for others to be settled with; default 50 ms
}

// Log says what is logged: a line for each request, and what operators should know.
type Log struct {
	Level    string `yaml:"level"`    // debug, info, warn, error; default info
	Format   string `yaml:"format"`   // json or text; default json
	Requests string `yaml:"requests"` // file for the request lines; default standard output, "off" for none
}

// Metrics says who may read /metrics: requests from these networks, or with this bearer token.
type Metrics struct {
	Networks []string `yaml:"networks"` // default loopback
	Token    string   `yaml:"token"`
}

// Traces says where spans go; OTEL_EXPORTER_OTLP_* of the environment work too.
type Traces struct {
	Endpoint string  `yaml:"endpoint"`
	Ratio    float64 `yaml:"ratio"`
}

// FreeTier opens the routes that can do without a key to callers who have none.
type FreeTier struct {
	Key       string `yaml:"key"`        // inference key of an organisation of the operator, which pays; empty: closed
	PerMinute int64  `yaml:"per_minute"` // calls of one address; default 20
}

// Limits bound requests.
type Limits struct {
	Body      int64         `yaml:"body"`       // bytes of a data-plane request body; default 32 MiB
	KeepAlive time.Duration `yaml:"keep_alive"` // comment on a quiet stream after; default 15 s
}

// LoadConfig reads and completes the file; path "" gives the defaults. data, where given, overrides its data directory.
func LoadConfig(path, data string) (*Config, error) { return loadWith(path, "", data, "", "") }

// readConfig reads the file, which may not have unknown or duplicate fields.
func readConfig(path string) (*Config, error) {
	c := &Config{}
	if path == "" {
		return c, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, problem.New(problem.Invalid, "server.config_unreadable", "cannot read the configuration: %s", err.Error())
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return nil, problem.New(problem.Invalid, "server.config_invalid", "%s: %s", path, readable(err))
	}
	return c, nil
}

// readable is an error of the YAML reader without what only programmers want to know.
func readable(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		line, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "yaml: "), " in type ")
		if line != "unmarshal errors:" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// roles are the parts that a process can play.
var roles = []string{"gateway", "api", "worker"}

// Complete fills in defaults, resolves env: and file:, and checks the rest.
func (c *Config) Complete() error {
	def := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	def(&c.Listen, "127.0.0.1:8080")
	def(&c.Data, "tollgate-data")
	def(&c.SealerKey, filepath.Join(c.Data, "sealer.key"))
	def(&c.Durability, "standard")
	def(&c.Log.Level, "info")
	def(&c.Log.Format, "json")
	if len(c.Roles) == 0 {
		c.Roles = roles
	}
	def(&c.Engines, cmp.Or(os.Getenv("TOLLGATE_ENGINES"), "tollgate-engines"))
	if c.FreeTier.PerMinute == 0 {
		c.FreeTier.PerMinute = 20
	}
	if c.Drain == 0 {
		c.Drain = 30 * time.Second
	}
	if c.Upstream.WatchModels == nil {
		d := 10 * time.Minute
		c.Upstream.WatchModels = &d
	}
	if c.Metrics.Networks == nil {
		c.Metrics.Networks = []string{"loopback"}
	}
	for _, p := range []*string{&c.Database, &c.Redis, &c.Metrics.Token, &c.FreeTier.Key} {
		if err := resolve(p); err != nil {
			return err
		}
	}
	def(&c.Database, "sqlite:"+filepath.Join(c.Data, "tollgate.db"))
	if c.PublicURL == "" {
		scheme := "http"
		if c.TLS.Cert != "" || len(c.TLS.Domains) > 0 {
			scheme = "https"
		}
		c.PublicURL = scheme + "://" + c.Listen
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	return c.check()
}

// resolve replaces env:NAME and file:PATH by what they stand for.
func resolve(p *string) error {
	if name, ok := strings.CutPrefix(*p, "env:"); ok {
		v, set := os.LookupEnv(name)
		if !set {
			return invalid("the environment variable %s, which the configuration names, is not set", name)
		}
		*p = v
	} else if path, ok := strings.CutPrefix(*p, "file:"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return invalid("a file that the configuration names cannot be read: %v", err)
		}
		*p = strings.TrimSpace(string(data))
	}
	return nil
}

func invalid(format string, args ...any) error {
	return problem.New(problem.Invalid, "server.config", "configuration: %s", fmt.Sprintf(format, args...))
}

func (c *Config) check() error {
	for _, r := range c.Roles {
		if !slices.Contains(roles, r) {
			return invalid("role %q is not one of gateway, api, worker", r)
		}
	}
	if c.Durability != "standard" && c.Durability != "strict" {
		return invalid("durability must be standard or strict, not %q", c.Durability)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return invalid("tls.cert and tls.key go together")
	}
	if c.TLS.Cert != "" && len(c.TLS.Domains) > 0 {
		return invalid("tls takes files or domains, not both")
	}
	if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return invalid("public_url must be an http or https URL, not %q", c.PublicURL)
	}
	if d := *c.Upstream.WatchModels; d != 0 && d < time.Second {
		return invalid("upstream.watch_models must be 0 or at least one second")
	}
	if c.Pprof != "" {
		ap, err := netip.ParseAddrPort(c.Pprof)
		if err != nil || !ap.Addr().IsLoopback() {
			return invalid("pprof must be a loopback address with a port, such as 127.0.0.1:6060")
		}
	}
	for name, list := range map[string][]string{"trusted_proxies": c.TrustedProxies, "upstream_allow": c.UpstreamAllow, "metrics.networks": c.Metrics.Networks} {
		if _, err := prefixes(list); err != nil {
			return invalid("%s: %v", name, err)
		}
	}
	return nil
}

// prefixes reads networks; "loopback" stands for this machine.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		if s == "loopback" {
			out = append(out, egress.Loopback()...)
			continue
		}
		p, err := egress.ParsePrefixes([]string{s})
		if err != nil {
			return nil, err
		}
		out = append(out, p...)
	}
	return out, nil
}

// Has reports whether the process plays the role.
func (c *Config) Has(role string) bool { return slices.Contains(c.Roles, role) }
