package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// request is what a script's http command sends:
//
//	http [-token T] [-H 'Name: value'] [-fill N] [-leave TEXT] [-gone TIME] [-status N] [-F NAME=VALUE|NAME=@FILE] [-o FILE]
//	     METHOD PATH|URL [BODY|@FILE]
//
// The credential is $TOLLGATE_TOKEN for /api, else $TOLLGATE_KEY; -token - sends none. -F sends a form, -o writes the body
// of the answer to a file instead of standard output. In the body FILL stands for as many
// letters as -fill says, and {{NAME}} for a variable of the environment. -leave hangs up once the text has been read, -gone
// when nothing has come after a time. Standard output is the status line, the headers in order, and the body; "(broken
// off)" at its end says that it is not whole. The command fails for another status than 2xx, and for a body that is broken
// off; with -status N for another than N.
type request struct {
	method, url, token string
	headers            []string
	body               []byte
	leave              string
	fields             []string // of a form
	save               string
	gone               time.Duration
	status             int
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	broken bool
}

func (a *answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP %d\n", a.status)
	names := make([]string, 0, len(a.header))
	for name := range a.header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(a.header[name], ", "))
	}
	fmt.Fprintf(&b, "\n%s\n", a.body)
	if a.broken {
		b.WriteString("(broken off)\n")
	}
	return b.String()
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	r := parseHTTP(ts, args)
	a := r.send(ts)
	if r.save != "" {
		ts.Check(os.WriteFile(ts.MkAbs(r.save), a.body, 0o600))
		a.body = nil
	}
	_, err := io.WriteString(ts.Stdout(), a.String())
	ts.Check(err)
	good := a.status/100 == 2 && !a.broken
	if r.status != 0 {
		good = a.status == r.status
	}
	if r.gone > 0 {
		good = a.status == 0
	}
	if r.leave != "" {
		good = bytes.Contains(a.body, []byte(r.leave))
	}
	if good == neg {
		ts.Fatalf("http: status %d, broken off: %v", a.status, a.broken)
	}
}

func parseHTTP(ts *testscript.TestScript, args []string) *request {
	r := &request{token: "default"}
	fill := 0
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		v := args[1]
		switch args[0] {
		case "-token":
			r.token = v
		case "-H":
			r.headers = append(r.headers, v)
		case "-leave":
			r.leave = v
		case "-F":
			r.fields = append(r.fields, v)
		case "-o":
			r.save = v
		case "-gone":
			d, err := time.ParseDuration(v)
			ts.Check(err)
			r.gone = d
		case "-fill", "-status":
			n, err := strconv.Atoi(v)
			ts.Check(err)
			if args[0] == "-fill" {
				fill = n
			} else {
				r.status = n
			}
		default:
			ts.Fatalf("http has no %s", args[0])
		}
		args = args[2:]
	}
	if len(args) < 2 {
		ts.Fatalf("usage: http [flags] METHOD PATH [BODY]")
	}
	r.method, r.url = args[0], args[1]
	if strings.HasPrefix(r.url, "/") {
		r.url = "http://" + worldOf(ts).addr + r.url
	}
	if len(args) > 2 {
		text := args[2]
		if name, ok := strings.CutPrefix(text, "@"); ok {
			text = ts.ReadFile(name)
		}
		r.body = bytes.ReplaceAll([]byte(filled(ts, text)), []byte("FILL"), bytes.Repeat([]byte("x"), fill))
	}
	if len(r.fields) > 0 {
		var kind string
		kind, r.body = form(ts, r.fields)
		r.headers = append([]string{"Content-Type: " + kind}, r.headers...)
	}
	if r.token == "default" {
		if r.token = ts.Getenv("TOLLGATE_KEY"); strings.HasPrefix(args[1], "/api/") {
			r.token = ts.Getenv("TOLLGATE_TOKEN")
		}
	}
	return r
}

func (r *request) send(ts *testscript.TestScript) *answer {
	req, err := http.NewRequest(r.method, r.url, bytes.NewReader(r.body))
	ts.Check(err)
	if r.token != "-" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if len(r.body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range r.headers {
		name, v, _ := strings.Cut(h, ":")
		req.Header.Set(name, strings.TrimSpace(v))
	}
	// A connection of its own: it is closed after the answer.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: patience}, Timeout: patience}
	if r.gone > 0 {
		client.Timeout = r.gone
	}
	resp, err := client.Do(req)
	if r.gone > 0 && os.IsTimeout(err) {
		return &answer{}
	}
	ts.Check(err)
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		a.body = append(a.body, buf[:n]...)
		if err == io.EOF || r.leave != "" && bytes.Contains(a.body, []byte(r.leave)) {
			return a
		}
		if err != nil {
			a.broken = true
			return a
		}
	}
}

// cmdValue puts a field of the last standard output into the environment. What stands before the first brace, the head
// of an http answer say, is skipped.
func cmdValue(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: value NAME FIELD")
	}
	text := ts.ReadFile("stdout")
	var v any
	ts.Check(json.Unmarshal([]byte(text[max(strings.IndexByte(text, '{'), 0):]), &v))
	for _, part := range strings.Split(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[part]
		case []any:
			i, err := strconv.Atoi(part)
			ts.Check(err)
			v = x[i]
		default:
			ts.Fatalf("there is no %s in %s", args[1], text)
		}
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}
