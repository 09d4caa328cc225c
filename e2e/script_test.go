package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tollgate-io/tollgate/e2e/demo"
	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
)

// The scripts in testdata drive the real binary: those in script run on SQLite and on PostgreSQL, those in offline
// need no server. Beside the commands of testscript they have those of commands in this file and in http_test.go:
//
//	demo ARGS         start `tollgate demo` on a free port with its data in $WORK/data, wait until it is ready, and put
//	                  demo.env into the environment
//	serve ARGS        start `tollgate serve` the same way
//	down              stop it with SIGTERM; it must exit with 0, and its book must be right
//	kill9             kill it
//	upstream [NAME]   start a fake upstream; its address is $NAME, by default $UPSTREAM
//	fake SPEC         what `go doc ./e2e/fakeupstream` says, for a model: fake MODEL SPEC [NAME]
//	as WHO            consumer, provider or operator: whose token is $TOLLGATE_TOKEN
//	http …            see http_test.go
//	engines FOLDER…   the servers started from now on have these folders of the engines directory; else they have none
//	make …            make a file to send, see files_test.go
//	settled …         hold the last answer against the book, see settled_test.go
//	exits CODE PROGRAM ARGS   run a program that must end with the code
//	until REGEXP PROGRAM ARGS run a program, or http, again and again until its standard output matches
//	value NAME FIELD  put a field of the last standard output, JSON, into the environment
//	match NAME REGEXP [FILE]  put what the first group matches in it, or in a file, into the environment
//	fill FILE         put variables of the environment into a file: {{NAME}}
//	mode FILE MODE    the file has this mode
//	sql STATEMENT     run a statement on the database of a server that is down
//
// The server's output is in server.log.

var update = flag.Bool("update", false, "write what the scripts' cmp commands compare with anew")

// patience is how long anything may take that a script waits for.
const patience = 30 * time.Second

func TestScripts(t *testing.T) {
	bin := filepath.Dir(demo.Build(t))
	t.Run("offline", func(t *testing.T) { runScripts(t, bin, "offline", nil) })
	t.Run("sqlite", func(t *testing.T) { runScripts(t, bin, "script", func() string { return "" }) })
	t.Run("postgres", func(t *testing.T) {
		dbtest.PostgresDSN(t) // fails or skips without a server
		runScripts(t, bin, "script", func() string { return dbtest.PostgresDSN(t) })
	})
}

// runScripts runs a folder's scripts; dsn gives each a fresh database, "" for the one in the data directory.
func runScripts(t *testing.T, bin, folder string, dsn func() string) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", folder),
		RequireExplicitExec: true,
		Condition:           enginesCondition,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			w := &world{dir: filepath.Join(e.WorkDir, "data"), log: filepath.Join(e.WorkDir, "server.log"), fakes: map[string]*fakeupstream.Server{}}
			if dsn != nil {
				w.dsn = dsn()
			}
			e.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			e.Setenv("LANG", "C.UTF-8")
			e.Setenv("DSN", w.database())
			e.Values[worldKey{}] = w
			e.Defer(w.end)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"demo": cmdDemo, "serve": cmdServe, "down": cmdDown, "kill9": cmdKill, "upstream": cmdUpstream, "fake": cmdFake, "as": cmdAs,
			"http": cmdHTTP, "exits": cmdExits, "until": cmdUntil, "value": cmdValue, "match": cmdMatch, "fill": cmdFill,
			"mode": cmdMode, "sql": cmdSQL, "make": cmdMake, "engines": cmdEngines, "settled": cmdSettled,
		},
	})
}

// enginesCondition tells whether something that scripts/install-engines installs is there: [engines:FILE], a file of the
// engines directory. Programs have testscript's own [exec:NAME].
func enginesCondition(cond string) (bool, error) {
	file, ok := strings.CutPrefix(cond, "engines:")
	if !ok {
		return false, fmt.Errorf("there is no condition %s", cond)
	}
	return engine.Dir(os.Getenv("TOLLGATE_ENGINES")).Path(filepath.FromSlash(file)) != "", nil
}

type worldKey struct{}

// world is what a script has started.
type world struct {
	dir, dsn, log string
	addr          string // the server's: the same again after a restart
	cmd           *exec.Cmd
	ended         chan error
	fakes         map[string]*fakeupstream.Server
	ups           []*httptest.Server
	sum           *big.Rat // of what the answers that `settled` looked at cost
}

func worldOf(ts *testscript.TestScript) *world {
	w, ok := ts.Value(worldKey{}).(*world)
	if !ok {
		ts.Fatalf("there is no world")
	}
	return w
}

func (w *world) database() string {
	if w.dsn != "" {
		return w.dsn
	}
	return "sqlite:" + filepath.Join(w.dir, "tollgate.db")
}

// end stops what a script that failed left running.
func (w *world) end() {
	if w.cmd != nil {
		_ = w.cmd.Process.Kill() // it has ended
		<-w.ended
	}
	for _, up := range w.ups {
		up.CloseClientConnections()
		up.Close()
	}
}

func cmdDemo(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	w.start(ts, "demo", args)
	for line := range strings.Lines(ts.ReadFile(filepath.Join(w.dir, "demo.env"))) {
		if name, v, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "="); ok {
			ts.Setenv(name, strings.Trim(v, "'"))
		}
	}
}

func cmdEngines(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs("engines")
	ts.Check(os.Mkdir(dir, 0o700))
	for _, name := range args {
		from, err := filepath.Abs(engine.Dir(os.Getenv("TOLLGATE_ENGINES")).Path(name))
		ts.Check(err)
		ts.Check(os.Symlink(from, filepath.Join(dir, name)))
	}
	ts.Setenv("TOLLGATE_ENGINES", dir)
}

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts).start(ts, "serve", args)
}

// start runs a server and waits until it is ready.
func (w *world) start(ts *testscript.TestScript, command string, args []string) {
	if w.cmd != nil {
		ts.Fatalf("a server is running")
	}
	if w.addr == "" {
		w.addr = freeAddr(ts)
	}
	ts.Setenv("ADDR", w.addr)
	ts.Setenv("TOLLGATE_URL", "http://"+w.addr)
	all := []string{command, "-data", w.dir, "-listen", w.addr}
	if w.dsn != "" {
		all = append(all, "-database", w.dsn)
	}
	out, err := os.OpenFile(w.log, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	ts.Check(err)
	defer out.Close()
	w.cmd = exec.Command("tollgate", append(all, args...)...)
	if w.cmd.Err != nil { // the script's PATH, not this process's
		w.cmd = exec.Command(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "tollgate"), append(all, args...)...)
	}
	w.cmd.Env = append(os.Environ(), "TOLLGATE_ENGINES="+ts.Getenv("TOLLGATE_ENGINES"))
	w.cmd.Dir, w.cmd.Stdout, w.cmd.Stderr = ts.Getenv("WORK"), out, out
	w.cmd.SysProcAttr = endWithTest()
	ts.Check(w.cmd.Start())
	w.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(w.cmd, w.ended)
	w.ready(ts)
}

func freeAddr(ts *testscript.TestScript) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer ln.Close()
	return ln.Addr().String()
}

// ready waits until the server serves.
func (w *world) ready(ts *testscript.TestScript) {
	tick, limit := time.NewTicker(20*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for {
		if resp, err := http.Get("http://" + w.addr + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case err := <-w.ended:
			w.cmd = nil
			ts.Fatalf("the server ended: %v\n%s", err, ts.ReadFile(w.log))
		case <-limit.C:
			ts.Fatalf("the server is not ready\n%s", ts.ReadFile(w.log))
		case <-tick.C:
		}
	}
}

func cmdDown(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if token := ts.Getenv("TOLLGATE_OPERATOR_TOKEN"); token != "" {
		if a := parseHTTP(ts, []string{"-token", token, "GET", "/api/v1/ledger/verify"}).send(ts); a.status != 200 || !bytes.Contains(a.body, []byte(`"ok":true`)) {
			ts.Fatalf("the book: %s", a)
		}
	}
	w.stop(ts, syscall.SIGTERM)
}

func cmdKill(ts *testscript.TestScript, neg bool, args []string) {
	worldOf(ts).stop(ts, syscall.SIGKILL)
}

// stop sends the signal and waits. Unless it is killed the server must end well.
func (w *world) stop(ts *testscript.TestScript, sig syscall.Signal) {
	if w.cmd == nil {
		ts.Fatalf("no server is running")
	}
	ts.Check(w.cmd.Process.Signal(sig))
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case err := <-w.ended:
		w.cmd = nil
		if err != nil && sig != syscall.SIGKILL {
			ts.Fatalf("the server ended with %v\n%s", err, ts.ReadFile(w.log))
		}
	case <-limit.C:
		_ = w.cmd.Process.Signal(syscall.SIGQUIT) // what it waits for stands in the log
		<-w.ended
		w.cmd = nil
		ts.Fatalf("the server does not stop\n%s", ts.ReadFile(w.log))
	}
}

func cmdUpstream(ts *testscript.TestScript, neg bool, args []string) {
	w, name := worldOf(ts), "UPSTREAM"
	if len(args) > 0 {
		name = args[0]
	}
	fake := &fakeupstream.Server{}
	up := httptest.NewServer(fake)
	w.fakes[name], w.ups = fake, append(w.ups, up)
	ts.Setenv(name, up.URL+"/v1")
}

func cmdFake(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: fake MODEL SPEC [NAME]")
	}
	name := "UPSTREAM"
	if len(args) > 2 {
		name = args[2]
	}
	ts.Check(worldOf(ts).fakes[name].Set(args[0], args[1]))
}

func cmdAs(ts *testscript.TestScript, neg bool, args []string) {
	token := ts.Getenv("TOLLGATE_" + strings.ToUpper(args[0]) + "_TOKEN")
	if token == "" {
		ts.Fatalf("there is no token of a %s", args[0])
	}
	ts.Setenv("TOLLGATE_TOKEN", token)
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code = fmt.Sprint(failed.ExitCode())
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

func cmdUntil(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARGS")
	}
	pattern := compile(ts, args[0])
	tick, limit := time.NewTicker(50*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for {
		var err error
		text := ""
		if args[1] == "http" {
			text = parseHTTP(ts, args[2:]).send(ts).String()
		} else if err = ts.Exec(args[1], args[2:]...); err == nil {
			text = ts.ReadFile("stdout")
		}
		if pattern.MatchString(text) {
			return
		}
		select {
		case <-limit.C:
			ts.Fatalf("it never printed %q; at last\n%s%v", args[0], text, err)
		case <-tick.C:
		}
	}
}

func cmdMatch(ts *testscript.TestScript, neg bool, args []string) {
	file := "stdout"
	if len(args) > 2 {
		file = args[2]
	}
	m := compile(ts, args[1]).FindStringSubmatch(ts.ReadFile(file))
	if len(m) < 2 {
		ts.Fatalf("%s does not match %q", file, args[1])
	}
	ts.Setenv(args[0], m[1])
}

func cmdFill(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(filled(ts, ts.ReadFile(args[0]))), 0o600))
}

// filled puts variables of the environment into a text.
func filled(ts *testscript.TestScript, text string) string {
	return regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(text, func(m string) string { return ts.Getenv(strings.Trim(m, "{}")) })
}

func compile(ts *testscript.TestScript, pattern string) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + pattern)
	ts.Check(err)
	return re
}

func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%#o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

func cmdSQL(ts *testscript.TestScript, neg bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d, err := db.Open(ctx, worldOf(ts).database(), db.Options{})
	ts.Check(err)
	defer d.Close()
	ts.Check(d.Update(ctx, func(tx *db.Tx) error {
		_, err := tx.Exec(args[0])
		return err
	}))
}
