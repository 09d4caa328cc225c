package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// server is a PostgreSQL of the test's own.
type server struct {
	t      *testing.T
	dir    string
	script string
}

// newServer starts it and returns its address.
func newServer(t *testing.T) (*server, string) {
	t.Helper()
	if os.Getenv("TOLLGATE_TEST_POSTGRES") == "" && !required() {
		t.Skip("TOLLGATE_TEST_POSTGRES is not set: PostgreSQL may not be installed here")
	}
	dir, err := os.MkdirTemp("", "tollgate-crash-pg-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // PostgreSQL's user must reach its data
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../scripts/engines")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t, filepath.Join(dir, "engines"), script}
	t.Cleanup(func() {
		s.run("stop")
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for line := range strings.Lines(s.run("env")) {
		if v, ok := strings.CutPrefix(line, "export TOLLGATE_TEST_POSTGRES='"); ok {
			return s, strings.TrimRight(v, "'\n")
		}
	}
	t.Fatal("scripts/engines printed no address")
	return nil, ""
}

// run runs scripts/engines on the server's folder.
func (s *server) run(command ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.script, append(command, s.dir)...)
	// The engines that it starts keep its output open: a pipe would never end.
	out, err := os.CreateTemp(s.t.TempDir(), "engines")
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	text, _ := os.ReadFile(out.Name()) // what it said is for the message
	if err != nil {
		s.t.Fatalf("scripts/engines %v: %v\n%s", command, err, text)
	}
	return string(text)
}

// TestPostgresAway takes PostgreSQL away for twenty seconds under load. Calls go on from the lease, which covers a
// minute at the rate at which money is spent; what they cost is settled when it is back.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	pg, dsn := newServer(t)
	w := newWorld(t, dsn)
	d := w.open()
	s := newStores(d)
	_, known, _ := s.budgetKey(t, 1000e9)
	_, unknown, _ := s.budgetKey(t, 1000e9)
	// A call costs about 0.0025 USD, so that the least lease of 1 USD would not last.
	if err := w.up.Set("fake", "out=4000"); err != nil {
		t.Fatal(err)
	}
	if err := w.up.Set("fake-50", "out=4000&delay=2ms"); err != nil {
		t.Fatal(err)
	}
	kinds := []kind{
		{name: "json", weight: 1, path: chatPath, body: chat("fake", 4096, "")},
		{name: "stream", weight: 4, path: chatPath, body: chat("fake-50", 4096, withUsage)},
		{name: "stream of a key with a budget", weight: 4, path: chatPath, body: chat("fake-50", 4096, withUsage), key: known},
	}
	n := w.node(config{})
	n.start()
	n.up()
	l := newLoad(w.key, kinds)
	l.to(n.addr)
	l.start(8)
	defer l.end()
	ctx := context.Background()
	pause(ctx, 8*time.Second) // the rate becomes known

	away := time.Now()
	pg.run("pg", "kill")
	// A budget that this node has not used is not known while the database is away: that is no lack of money.
	l2 := newLoad(unknown, kinds[:1])
	first := l2.call("http://"+n.addr, &kinds[0])
	others := []note{first}
	if first.status != 503 || time.Since(first.began) > 5*time.Second {
		t.Errorf("first call of a key with a budget, with the database away: %d after %v, want 503 within 5 s: %s", first.status, time.Since(first.began), first.body)
	}
	if status, body := n.get("/readyz", ""); status != 200 || !strings.Contains(body, "away") {
		t.Errorf("readyz with the database away: %d %s", status, body)
	}
	pause(ctx, time.Until(away.Add(20*time.Second)))
	pg.run("pg", "start")
	back := time.Now()
	before := l.answered.Load()
	eventually(t, 30*time.Second, func() (bool, string) {
		later := l2.call("http://"+n.addr, &kinds[0])
		others = append(others, later)
		return later.status == 200, fmt.Sprintf("calls of that key do not work with the database back: %d %s", later.status, later.body)
	})
	eventually(t, 30*time.Second, func() (bool, string) {
		got := l.answered.Load() - before
		return got > 100, fmt.Sprintf("%d calls after it was back", got)
	})
	l.end()
	returned(t, d)
	n.stop()

	notes := l.all()
	meanwhile, spent := 0, int64(0)
	for i := range notes {
		k := &notes[i]
		if !k.whole || k.status != 200 {
			t.Errorf("%s failed %v after the database went away: %d %s", k.kind.name, k.began.Sub(away), k.status, k.body)
		}
		if k.began.After(away) && k.began.Before(back) {
			meanwhile++
			spent += k.told
		}
	}
	t.Logf("%d calls for %d.%03d USD while the database was away for %v", meanwhile, spent/1e9, spent/1e6%1000, back.Sub(away))
	if spent < 1_200_000_000 {
		t.Errorf("%d nano-units were spent meanwhile: the least lease covers that, so this shows nothing", spent)
	}
	w.audit(append(notes, others...), d)
}

// TestPostgresFlaps kills PostgreSQL again and again at moments that nobody chose, also between a commit and its
// answer, and at last the node while the database is away.
func TestPostgresFlaps(t *testing.T) {
	t.Parallel()
	flaps := 5
	if nightly() {
		flaps = 40
	}
	pg, dsn := newServer(t)
	w := newWorld(t, dsn)
	d := w.open()
	s := newStores(d)
	_, known, _ := s.budgetKey(t, 50e9)
	kinds := append([]kind{{name: "json of a key with a budget", weight: 30, path: chatPath, body: chat("fake", 64, ""), key: known}}, mixed...)
	n := w.node(config{})
	n.start()
	n.up()
	l := newLoad(w.key, kinds)
	l.to(n.addr)
	l.start(16)
	defer l.end()
	ctx := context.Background()
	eventually(t, time.Minute, func() (bool, string) { return l.answered.Load() > 300, "no calls" })
	for range flaps {
		pause(ctx, time.Duration(200+rand.IntN(800))*time.Millisecond)
		pg.run("pg", "kill")
		pause(ctx, time.Duration(rand.IntN(500))*time.Millisecond)
		pg.run("pg", "start")
	}
	before := l.answered.Load()
	eventually(t, time.Minute, func() (bool, string) { return l.answered.Load()-before > 100, "no calls with the database back" })
	for _, a := range l.all() {
		k := a.kind
		if !k.breaks && !k.refuse && k.leave == 0 && k.chunks == 0 && !strings.HasPrefix(k.name, "upstream") && (!a.whole || a.status != 200) {
			t.Errorf("%s failed while the database came and went: %d %s", k.name, a.status, a.body)
		}
	}

	pg.run("pg", "kill")
	pause(ctx, 300*time.Millisecond)
	n.kill()
	l.hold()
	l.end()
	n.start()
	if said := n.fails(exitUnavailable, time.Minute); !strings.Contains(said, "database") {
		t.Errorf("started without its database it says:\n%s", said)
	}
	pg.run("pg", "start")
	n.start()
	n.up()
	returned(t, d)
	n.stop()
	w.audit(l.all(), d)
}
