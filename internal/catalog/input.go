package catalog

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// UpstreamInput is what a provider states of an upstream.
type UpstreamInput struct {
	Name     string   `json:"name"`
	URL      string   `json:"url"`
	Dialect  Dialect  `json:"dialect,omitempty"` // default: by the URL
	Timeouts Timeouts `json:"timeouts,omitzero"`
}

// CredentialInput is a credential for an upstream. Where one of that name exists an empty Secret
// leaves its secret as it is.
type CredentialInput struct {
	Name   string      `json:"name"`
	Secret secret.Text `json:"secret"`
	State  State       `json:"state,omitempty"` // active (default) or disabled
}

// ProductInput is what a provider states of a product.
type ProductInput struct {
	Name         string       `json:"name"`
	Kind         Kind         `json:"kind,omitempty"` // default model
	Title        Text         `json:"title,omitzero"`
	Description  Text         `json:"description,omitzero"`
	Model        string       `json:"model,omitempty"`            // default: the name
	Capabilities []Capability `json:"capabilities,omitempty"`     // default chat
	Input        []Modality   `json:"input_modalities,omitempty"` // default text
	Output       []Modality   `json:"output_modalities,omitempty"`
	Context      int64        `json:"context,omitempty"`
	MaxOutput    int64        `json:"max_output,omitempty"` // default 4096 for a product with chat
	Definition   string       `json:"definition,omitempty"` // OpenAPI document, JSON or YAML; default: made from the rest
}

// VersionInput is a release version with its targets.
type VersionInput struct {
	Name    string        `json:"name"`
	Targets []TargetInput `json:"targets"`
}

// TargetInput is a choice for a version's calls. An upstream and its model appear once in a version.
type TargetInput struct {
	Upstream      string `json:"upstream"`                 // name or id of one of the provider's upstreams
	UpstreamModel string `json:"upstream_model,omitempty"` // default: the product's model
	Priority      int64  `json:"priority,omitempty"`       // 0 to 1000
	Weight        int64  `json:"weight,omitempty"`         // 1 (default) to 1000
}

// ReleaseInput is the part that a version is to play.
type ReleaseInput struct {
	Version string  `json:"version"` // name or id
	Release Release `json:"release"`
	Share   int64   `json:"share"`
}

const (
	maxName       = 63
	maxText       = 20_000
	maxDefinition = 2 << 20
	maxTokens     = 100_000_000
	maxTimeout    = 24 * 3600 * 1000 // ms
	defaultOutput = 4096
)

// Check gathers what is wrong with the fields of an input. Its zero value is ready.
type Check struct{ fields []problem.Field }

// That notes a failure of the field at path unless ok holds.
func (c *Check) That(ok bool, path, format string, args ...any) {
	if !ok {
		c.fields = append(c.fields, problem.Field{Path: path, Detail: fmt.Sprintf(format, args...)})
	}
}

// Name checks a name, which is an identity within its owner.
func (c *Check) Name(path, name string) {
	c.That(ValidName(name), path, "must be 1 to %d lower-case letters, digits, '.', '_' or '-', beginning and ending with a letter or digit", maxName)
}

// Text checks a text for people.
func (c *Check) Text(path string, t Text) {
	c.one(path+".en", t.En)
	c.one(path+".zh", t.Zh)
}

func (c *Check) one(path, s string) {
	c.That(len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsRune(s, 0), path, "must be UTF-8 text of at most %d bytes", maxText)
}

// Range checks a whole number.
func (c *Check) Range(path string, v, least, most int64) {
	c.That(v >= least && v <= most, path, "must be from %d to %d", least, most)
}

// Err returns e with the failing fields, or nil if there are none.
func (c *Check) Err(e *problem.Error) error {
	if len(c.fields) == 0 {
		return nil
	}
	for _, f := range c.fields {
		e = e.WithField(f.Path, "%s", f.Detail)
	}
	return e
}

// ValidName reports whether name may name an upstream, product, version or plan.
func ValidName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !alnum(c) && (i == 0 || i == len(name)-1 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func alnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// NameFor makes a valid name of any text, such as an upstream's model id. Different texts may give
// the same name.
func NameFor(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r < utf8.RuneSelf && alnum(byte(r)), r == '.', r == '_':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
		if b.Len() == maxName {
			break
		}
	}
	name := strings.Trim(b.String(), "._-")
	if name == "" {
		return "unnamed"
	}
	return name
}

// validModel reports whether id may be a model id: printable ASCII without blanks, quotes, angle
// brackets and backslashes, no empty path segments.
func validModel(id string) bool {
	if id == "" || len(id) > 200 || strings.Contains(id, "//") || id[0] == '/' || id[len(id)-1] == '/' {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || strings.IndexByte("\"'`<>\\", c) >= 0 {
			return false
		}
	}
	return true
}

// validUpstreamModel is wider: the upstream makes these ids.
func validUpstreamModel(id string) bool {
	return id != "" && len(id) <= 300 && utf8.ValidString(id) &&
		strings.IndexFunc(id, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }) < 0
}

// normal checks the input and returns it with the defaults filled in.
func (in UpstreamInput) normal() (UpstreamInput, error) {
	var c Check
	c.Name("name", in.Name)
	in.URL = strings.TrimRight(strings.TrimSpace(in.URL), "/")
	detail, builtin := checkURL(in.URL)
	c.That(detail == "", "url", "%s", detail)
	if in.Dialect == "" {
		in.Dialect = OpenAI
		if builtin {
			in.Dialect = Builtin
		}
	}
	c.That(in.Dialect == Builtin || slices.Contains(dialects, in.Dialect), "dialect", "must be openai, contract, kserve, flask or builtin")
	c.That(detail != "" || builtin == (in.Dialect == Builtin), "dialect", "builtin goes with a builtin:// URL, and only with one")
	t := &in.Timeouts
	for _, f := range []struct {
		path  string
		v     *int64
		deflt int64
	}{
		{"timeouts.connect_ms", &t.Connect, defaultTimeouts.Connect},
		{"timeouts.first_byte_ms", &t.FirstByte, defaultTimeouts.FirstByte},
		{"timeouts.idle_ms", &t.Idle, defaultTimeouts.Idle},
		{"timeouts.total_ms", &t.Total, defaultTimeouts.Total},
	} {
		if *f.v == 0 {
			*f.v = f.deflt
		}
		c.Range(f.path, *f.v, 1, maxTimeout)
	}
	return in, c.Err(problem.New(problem.Unprocessable, "catalog.upstream_invalid", "the upstream is not valid"))
}

// checkURL says what is wrong with an upstream's URL, and whether it names a built-in engine. That
// the address may be called is decided when it is dialled.
func checkURL(s string) (detail string, builtin bool) {
	const shape = "must be an absolute URL: http://host/…, https://host/… or builtin://name"
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 500 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return shape, false
	case u.User != nil:
		return "must not contain a credential: add it as one of the upstream's credentials", false
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(s, "#"):
		return "must not contain a query or a fragment", false
	case u.Scheme == "builtin":
		if !ValidName(u.Host) || u.Path != "" {
			return "must name a built-in engine: builtin://name", true
		}
		return "", true
	case u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || !validHost(u.Hostname()):
		return shape, false
	}
	if strings.Contains(u.Host, ":") && !strings.HasSuffix(u.Host, "]") {
		if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
			return "has a port that is none", false
		}
	}
	return "", false
}

func validHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// normal checks the input and returns it with the defaults filled in.
func (in CredentialInput) normal() (CredentialInput, error) {
	var c Check
	c.Name("name", in.Name)
	if in.State == "" {
		in.State = Active
	}
	c.That(in.State == Active || in.State == Disabled, "state", "must be active or disabled")
	s := in.Secret.Reveal()
	c.That(len(s) <= 8192 && printable(s), "secret",
		"must be printable ASCII without blanks, at most 8192 bytes")
	return in, c.Err(problem.New(problem.Unprocessable, "catalog.credential_invalid", "the credential is not valid"))
}

// printable guards the header line that a credential becomes part of.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// normal checks the input and returns it with the defaults filled in.
func (in ProductInput) normal() (ProductInput, error) {
	if in.Kind == "" {
		in.Kind = Model
	}
	if in.Model == "" {
		in.Model = in.Name
	}
	if len(in.Capabilities) == 0 {
		in.Capabilities = []Capability{Chat}
	}
	if len(in.Input) == 0 {
		in.Input = []Modality{TextModality}
	}
	if len(in.Output) == 0 {
		in.Output = []Modality{TextModality}
	}
	if in.MaxOutput == 0 && slices.Contains(in.Capabilities, Chat) {
		in.MaxOutput = defaultOutput
	}
	var c Check
	c.Name("name", in.Name)
	c.That(in.Kind == Model, "kind", "must be model")
	c.That(validModel(in.Model), "model", "must be 1 to 200 printable ASCII characters without blanks and quotes; segments between slashes must not be empty")
	c.Text("title", in.Title)
	c.Text("description", in.Description)
	set(&c, "capabilities", in.Capabilities, Capabilities...)
	set(&c, "input_modalities", in.Input, TextModality, ImageModality, AudioModality, VideoModality, FileModality)
	set(&c, "output_modalities", in.Output, TextModality, ImageModality, AudioModality, VideoModality)
	c.Range("context", in.Context, 0, maxTokens)
	c.Range("max_output", in.MaxOutput, 0, maxTokens)
	c.That(len(in.Definition) <= maxDefinition, "definition", "must be at most %d bytes", maxDefinition)
	if in.Definition != "" && len(in.Definition) <= maxDefinition {
		detail := checkDefinition(in.Definition)
		c.That(detail == "", "definition", "%s", detail)
	}
	return in, c.Err(problem.New(problem.Unprocessable, "catalog.product_invalid", "the product is not valid"))
}

// set checks a list that is a set of known words.
func set[T ~string](c *Check, path string, have []T, known ...T) {
	for i, v := range have {
		at := fmt.Sprintf("%s[%d]", path, i)
		c.That(slices.Contains(known, v), at, "must be one of %v", known)
		c.That(!slices.Contains(have[:i], v), at, "appears twice")
	}
}

// normal checks the input and returns it with the defaults filled in, model being the product's.
func (in VersionInput) normal(model string) (VersionInput, error) {
	var c Check
	c.Name("name", in.Name)
	c.That(len(in.Targets) <= 64, "targets", "must be at most 64")
	in.Targets = slices.Clone(in.Targets)
	for i := range in.Targets {
		t := &in.Targets[i]
		if t.UpstreamModel == "" {
			t.UpstreamModel = model
		}
		if t.Weight == 0 {
			t.Weight = 1
		}
		at := fmt.Sprintf("targets[%d].", i)
		c.That(t.Upstream != "", at+"upstream", "is required")
		c.That(validUpstreamModel(t.UpstreamModel), at+"upstream_model", "must be 1 to 300 bytes of text without control characters")
		c.Range(at+"priority", t.Priority, 0, 1000)
		c.Range(at+"weight", t.Weight, 1, 1000)
	}
	return in, c.Err(problem.New(problem.Unprocessable, "catalog.version_invalid", "the version is not valid"))
}
