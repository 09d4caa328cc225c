package catalog

import (
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "gpt-4.1_mini": true, "0": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "a.": false, "A": false, "a b": false, "a/b": false, "é": false, strings.Repeat("a", 64): false, ".": false,
	} {
		if ValidName(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
	for text, want := range map[string]string{
		"meta-llama/Llama-3.1 8B": "meta-llama-llama-3.1-8b", "///": "unnamed", "通义": "unnamed", "a/" + strings.Repeat("b", 100): "a-" + strings.Repeat("b", 61),
	} {
		if got := NameFor(text); got != want || !ValidName(got) {
			t.Errorf("%q gave %q", text, got)
		}
	}
}

func TestUpstreamURL(t *testing.T) {
	for _, c := range []struct {
		url, detail string // part of the refusal
	}{
		{"https://api.example.com/v1", ""},
		{"http://127.0.0.1:11434/v1/", ""},
		{"http://[::1]:8000", ""},
		{"https://a_b.internal./x", ""},
		{"builtin://sandbox", ""},
		{"builtin://", "built-in"},
		{"builtin://a/b", "built-in"},
		{"", "absolute"},
		{"api.example.com/v1", "absolute"},
		{"ftp://example.com", "absolute"},
		{"https:///v1", "absolute"},
		{"https:example.com", "absolute"},
		{"https://exa mple.com", "absolute"},
		{"https://例え.jp", "absolute"},
		{"https://a..b/", "absolute"},
		{"https://[fe80::1%25eth0]/", "absolute"},
		{"https://user:pass@example.com", "credential"},
		{"https://sk@example.com", "credential"},
		{"https://example.com/?key=1", "query"},
		{"https://example.com/#x", "query"},
		{"https://example.com/#", "query"},
		{"https://example.com:0/", "port"},
		{"https://example.com:70000/", "port"},
		{"https://example.com:/", "port"},
		{"https://" + strings.Repeat("a", 600), "absolute"},
	} {
		_, err := UpstreamInput{Name: "x", URL: c.url}.normal()
		if c.detail == "" {
			if err != nil {
				t.Errorf("%q: %v", c.url, err)
			}
			continue
		}
		e := refused(t, err, problem.Unprocessable, "catalog.upstream_invalid")
		if len(e.Fields) != 1 || e.Fields[0].Path != "url" || !strings.Contains(e.Fields[0].Detail, c.detail) {
			t.Errorf("%q: %v", c.url, e.Fields)
		}
	}
}

func TestBadInputNamesItsFields(t *testing.T) {
	first := func(_ any, err error) error { return err }
	for _, c := range []struct {
		name   string
		err    error
		fields string
	}{
		{"upstream", first(UpstreamInput{Name: "A", URL: "https://x.example", Dialect: "soap", Timeouts: Timeouts{Idle: -1, Total: 1e12}}.normal()),
			"name dialect timeouts.idle_ms timeouts.total_ms"},
		{"builtin with another dialect", first(UpstreamInput{Name: "a", URL: "builtin://x", Dialect: OpenAI}.normal()), "dialect"},
		{"builtin without its URL", first(UpstreamInput{Name: "a", URL: "https://x.example", Dialect: Builtin}.normal()), "dialect"},
		{"credential", first(CredentialInput{Name: "a/b", State: Suspended, Secret: secret.New("a\nb")}.normal()), "name state secret"},
		{"credential with a header in it", first(CredentialInput{Name: "a", Secret: secret.New("a\r\nHost: b")}.normal()), "secret"},
		{"product", first(ProductInput{Name: "x", Kind: "soap", Model: "a//b", Capabilities: []Capability{Chat, "fly", Chat}, Context: -1, MaxOutput: -1,
			Title: Text{En: "\xff"}}.normal()), "kind model title.en capabilities[1] capabilities[2] context max_output"},
		{"modalities", first(ProductInput{Name: "x", Input: []Modality{"smell"}, Output: []Modality{"file"}}.normal()), "input_modalities[0] output_modalities[0]"},
		{"definition", first(ProductInput{Name: "x", Definition: "{"}.normal()), "definition"},
		{"definition of version 2", first(ProductInput{Name: "x", Definition: `{"swagger":"2.0"}`}.normal()), "definition"},
		{"definition too long", first(ProductInput{Name: "x", Definition: strings.Repeat(" ", maxDefinition+1)}.normal()), "definition"},
		{"version", first(VersionInput{Name: "", Targets: []TargetInput{{}, {Upstream: "u", Priority: -1, Weight: 1001, UpstreamModel: "a\x00"}}}.normal("m")),
			"name targets[0].upstream targets[1].upstream_model targets[1].priority targets[1].weight"},
	} {
		if !problem.Is(c.err, problem.Unprocessable) {
			t.Errorf("%s: got %v", c.name, c.err)
			continue
		}
		var got []string
		for _, f := range problem.As(c.err).Fields {
			got = append(got, f.Path)
		}
		if strings.Join(got, " ") != c.fields {
			t.Errorf("%s: fields %v, want %s", c.name, got, c.fields)
		}
	}
}

func TestModelIDs(t *testing.T) {
	for id, want := range map[string]bool{
		"llama3.2:3b": true, "hf.co/x/y:Q4_K": true, "anthropic.claude-v1:0": true, "a@b+c": true,
		"": false, "/a": false, "a/": false, "a//b": false, "a b": false, `a"b`: false, `a\b`: false, "<a>": false, "模型": false, strings.Repeat("a", 201): false,
	} {
		if validModel(id) != want {
			t.Errorf("%q: want %v", id, want)
		}
	}
}
