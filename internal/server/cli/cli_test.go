package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/docs"
)

const token = "sk-tg-mgt-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG012345"

// result is what a command did.
type result struct {
	code           int
	stdout, stderr string
}

// runIn runs a command line with an environment and a standard input.
func runIn(t *testing.T, vars map[string]string, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	env := &Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Version: "1.2.3",
		Getenv: func(name string) string { return vars[name] }}
	code := Main(t.Context(), env, Commands(), args)
	return result{code, out.String(), errs.String()}
}

// fake is a management API that answers what a test says, and remembers what it was asked.
type fake struct {
	*httptest.Server
	status int
	answer string
	asked  []*http.Request
	bodies []string
}

func newFake(t *testing.T, status int, answer string) *fake {
	f := &fake{status: status, answer: answer}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		if _, err := b.ReadFrom(r.Body); err != nil {
			t.Error(err)
		}
		f.asked, f.bodies = append(f.asked, r), append(f.bodies, b.String())
		kind := "application/json"
		if f.status >= 400 {
			kind = "application/problem+json"
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(f.status)
		if _, err := w.Write([]byte(f.answer)); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) run(t *testing.T, args ...string) result {
	t.Helper()
	r := runIn(t, map[string]string{"TOLLGATE_URL": f.URL, "TOLLGATE_TOKEN": token, "LANG": "zh_CN.UTF-8"}, "", args...)
	if strings.Contains(r.stdout+r.stderr, token) {
		t.Errorf("%q prints the token", args)
	}
	return r
}

// each calls fn with every command that can be run.
func each(commands []Command, path []string, fn func(path []string, c *Command)) {
	for i := range commands {
		at := append(path[:len(path):len(path)], commands[i].Name)
		if commands[i].Sub != nil {
			each(commands[i].Sub, at, fn)
			continue
		}
		fn(at, &commands[i])
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	each(append(Commands(), completion(Commands())), nil, func(path []string, c *Command) {
		name := strings.Join(path, " ")
		r := runIn(t, nil, "", append(path, "-h")...)
		if r.code != OK || r.stderr != "" {
			t.Errorf("%s -h: %+v", name, r)
		}
		for _, part := range []string{"usage: tollgate " + name, c.About, "Exit codes: 0 ", "Example: "} {
			if c.About == "" || c.Example == "" || c.Summary == "" || !strings.Contains(r.stdout, part) {
				t.Errorf("%s -h has no %q:\n%s", name, part, r.stdout)
			}
		}
		if help := runIn(t, nil, "", append([]string{"help"}, path...)...); help != r {
			t.Errorf("help %s is not %s -h: %+v", name, name, help)
		}
		r = runIn(t, nil, "", append(path, "-nonsense")...)
		if r.code != Usage || r.stdout != "" || !strings.Contains(r.stderr, "-nonsense") || !strings.Contains(r.stderr, "usage: tollgate "+name) {
			t.Errorf("%s -nonsense: %+v", name, r)
		}
		r = runIn(t, nil, "", append(path, "one", "two", "three")...)
		if r.code != Usage || !strings.Contains(r.stderr, "too many") {
			t.Errorf("%s with too many arguments: %+v", name, r)
		}
		flags, _ := c.flags()
		flags.VisitAll(func(f *flag.Flag) {
			if kind, usage := flag.UnquoteUsage(f); usage == "" || kind == "string" || kind == "value" || kind == "int" {
				t.Errorf("%s -%s says %q, %q", name, f.Name, kind, usage)
			}
		})
	})
}

// The manual has to name every command, in both languages.
func TestManualNamesEveryCommand(t *testing.T) {
	for _, name := range []string{"en/commands.md", "zh/commands.md"} {
		text, err := fs.ReadFile(docs.Manual(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range append(Commands(), completion(Commands())) {
			if !strings.Contains(string(text), "`"+c.Name) {
				t.Errorf("%s does not name %s", name, c.Name)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		has  string
	}{
		{nil, Usage, "usage: tollgate COMMAND"},
		{[]string{"nonsense"}, Usage, `there is no command "nonsense"`},
		{[]string{"key"}, Usage, "usage: tollgate key COMMAND"},
		{[]string{"key", "nonsense"}, Usage, `there is no command "nonsense"`},
		{[]string{"key", "show"}, Usage, "it needs KEY"},
		{[]string{"key", "show", "--", "-x", "y"}, Usage, `too many: "y"`},
		{[]string{"key", "create", "-span", "day"}, Usage, "-span needs -budget"},
		{[]string{"key", "create", "-expires", "soon"}, Usage, `"soon" is no time`},
		{[]string{"apply"}, Usage, "-f FILE is needed"},
		{[]string{"rate", "-card", "x"}, Usage, "-card and -usage are needed"},
		{[]string{"rate", "-card", "-", "-usage", "-"}, Usage, "only one"},
		{[]string{"credit", "grant", "-org", "o"}, Usage, "-org and -amount are needed"},
		{[]string{"wallet", "-url", "127.0.0.1:8080", "-token", token}, Usage, "http or https URL"},
		{[]string{"completion", "csh"}, Usage, `"csh" is not`},
		{[]string{"wallet"}, Refused, "there is no token"},
		{[]string{"wallet", "-token", "two words"}, Refused, "characters that no key has"},
		{[]string{"key", "revoke", token}, Failed, "by its id"},
		{[]string{"wallet", "-url", "http://127.0.0.1:1", "-token", token}, Unreachable, "cannot be reached"},
		{[]string{"rate", "-card", "nowhere.yaml", "-usage", "nowhere.yaml"}, Failed, "there is no such file"},
	} {
		r := runIn(t, nil, "", c.args...)
		if r.code != c.code || r.stdout != "" || !strings.Contains(r.stderr, c.has) {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
}

func TestProblemsAreShown(t *testing.T) {
	for status, code := range map[int]int{400: Failed, 401: Refused, 402: Failed, 403: Refused, 404: Missing, 409: Conflicting, 410: Missing,
		412: Conflicting, 413: Failed, 422: Failed, 428: Conflicting, 429: Failed, 500: Failed, 502: Unreachable, 503: Unreachable, 504: Unreachable} {
		f := newFake(t, status, `{"title":"T","status":1,"detail":"It is so.\u001b[2J","code":"api.x","request_id":"req_1","errors":[{"path":"a.b","detail":"must not"}]}`)
		r := f.run(t, "wallet", "-org", "o")
		want := "tollgate: It is so.\uFFFD[2J\n  a.b: must not\n  (api.x, request req_1)\n"
		if r.code != code || r.stderr != want || r.stdout != "" {
			t.Errorf("%d: %+v", status, r)
		}
	}
	for _, c := range []struct {
		name   string
		status int
		answer string
		code   int
	}{
		{"no JSON", 200, "<html>", Unreachable}, {"page", 404, "<html>", Unreachable}, {"proxy", 502, "bad gateway", Unreachable}, {"redirect", 302, "", Unreachable},
	} {
		f := newFake(t, c.status, c.answer)
		r := f.run(t, "wallet", "-org", "o")
		if r.code != c.code || !strings.Contains(r.stderr, f.URL) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestRequests(t *testing.T) {
	f := newFake(t, 200, `{"organisation":{"id":"org_1","name":"acme"},"items":[{"available":"9.5","held":"0.5","currency":"USD"}]}`)
	r := f.run(t, "wallet", "-json")
	if r.code != OK {
		t.Fatal(r)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"available": "9.5", "held": "0.5", "currency": "USD"}, got); diff != "" {
		t.Error(diff)
	}
	last := f.asked[len(f.asked)-1]
	if last.URL.Path != "/api/v1/organisations/acme/wallet" || last.Header.Get("Authorization") != "Bearer "+token ||
		last.Header.Get("User-Agent") != "tollgate/1.2.3" || !strings.HasPrefix(last.Header.Get("Accept-Language"), "zh-CN") {
		t.Errorf("%s %v", last.URL, last.Header)
	}
	r = f.run(t, "key", "revoke", "key_1", "-org", "../x", "-reason", "it & leaked")
	if last = f.asked[len(f.asked)-1]; r.code != OK || last.Method != "DELETE" || last.RequestURI != "/api/v1/organisations/..%2Fx/keys/key_1?reason=it+%26+leaked" {
		t.Errorf("%+v %s", r, last.RequestURI)
	}
	r = f.run(t, "key", "create", "-org", "o", "-budget", "1.00", "-models", "a,b*", "-rpm", "60", "-json")
	want := `{"kind":"inf","name":"key","limits":{"models":["a","b*"],"requests_per_minute":60},"budget":{"amount":"1.00","currency":"USD"}}`
	if got := f.bodies[len(f.bodies)-1]; r.code != OK || got != want {
		t.Errorf("%+v %s", r, got)
	}
	f.answer = `{"ok":false,"faults":["one"]}`
	if r = f.run(t, "ledger", "verify"); r.code != Failed || !strings.Contains(r.stdout, "1 faults") || !strings.Contains(r.stdout, "one") {
		t.Errorf("%+v", r)
	}
	if r = f.run(t, "ledger", "verify", "-json"); r.code != Failed || !strings.Contains(r.stdout, `"ok": false`) {
		t.Errorf("%+v", r)
	}
}

// A grant whose answer was lost is asked for again under the same key, and what cannot be repeated is not.
func TestLostAnswers(t *testing.T) {
	var mu sync.Mutex
	var keys []string // guarded by mu
	take := func() (list []string) {
		mu.Lock()
		defer mu.Unlock()
		list, keys = keys, nil
		return list
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
		lost := len(keys) < 3
		mu.Unlock()
		if lost {
			panic(http.ErrAbortHandler)
		}
		w.Write([]byte(`{"id":"crg_1","amount":"10","currency":"USD"}`))
	}))
	defer srv.Close()
	vars := map[string]string{"TOLLGATE_URL": srv.URL, "TOLLGATE_TOKEN": token}
	r := runIn(t, vars, "", "credit", "grant", "-org", "o", "-amount", "10")
	if r.code != OK || r.stdout != "granted 10 USD to o (crg_1)\n" {
		t.Errorf("%+v", r)
	}
	if got := take(); len(got) != 3 || got[0] == "" || got[0] != got[1] || got[1] != got[2] {
		t.Errorf("keys %q", got)
	}
	r = runIn(t, vars, "", "key", "create", "-org", "o")
	if got := take(); r.code != Unreachable || len(got) != 1 {
		t.Errorf("%+v after %d requests", r, len(got))
	}
	r = runIn(t, vars, "", "credit", "grant", "-org", "o", "-amount", "10", "-once", "mine")
	if got := take(); r.code != OK || got[0] != "mine" {
		t.Errorf("%+v %q", r, got)
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	for text, want := range map[string][2]string{
		"24h":                       {"2026-02-28T12:00:00Z", "2026-03-02T12:00:00Z"},
		"2026-01-31":                {"2026-01-31T00:00:00Z", "2026-01-31T00:00:00Z"},
		"2026-01-31T09:30:00+08:00": {"2026-01-31T01:30:00Z", "2026-01-31T01:30:00Z"},
	} {
		since, err1 := parseTime(text, now)
		until, err2 := expiry(text, now)
		got := [2]string{since.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339)}
		if got != want || err1 != nil || err2 != nil {
			t.Errorf("%s: %v, want %v; %v %v", text, got, want, err1, err2)
		}
	}
}

func TestGrid(t *testing.T) {
	g := newGrid("NAME", ">AMOUNT", "")
	g.add("艾克米", "1.5", "USD")
	g.add("b\x1b[31m\n", "12", "EUR")
	g.add("c", "-0.000001", "")
	var b bytes.Buffer
	if err := g.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME        AMOUNT\n" +
		"艾克米    1.5       USD\n" +
		"b\uFFFD[31m   12         EUR\n" +
		"c        -0.000001\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestCompletion(t *testing.T) {
	scripts := map[string]string{}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := runIn(t, nil, "", "completion", shell)
		if r.code != OK || r.stderr != "" {
			t.Fatalf("%+v", r)
		}
		scripts[shell] = r.stdout
		each(Commands(), nil, func(path []string, c *Command) {
			flags, _ := c.flags()
			flags.VisitAll(func(f *flag.Flag) {
				name := "-" + f.Name
				if shell == "fish" {
					name = "'" + f.Name + "'"
				}
				if !strings.Contains(r.stdout, name) {
					t.Errorf("%s: %q has no -%s", shell, path, f.Name)
				}
			})
		})
	}
	for line, want := range map[string]string{
		"tollgate wal":                 "wallet",
		"tollgate key r":               "rotate revoke",
		"tollgate key list -st":        "-state",
		"tollgate usage sum -org x -g": "-group",
		"tollgate completion z":        "zsh",
	} {
		words := strings.Fields(line)
		script := scripts["bash"] + "\nCOMP_WORDS=(" + line + ")\nCOMP_CWORD=" + string(rune('0'+len(words)-1)) + "\n_tollgate\necho ${COMPREPLY[@]}\n"
		out, err := exec.Command("bash", "-c", script).CombinedOutput()
		got := strings.Fields(string(out))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s; %v", line, got, want, err)
		}
	}
}
