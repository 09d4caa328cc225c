package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/settle"
)

// upstream is the fake model server, which remembers the calls that reached it.
type upstream struct {
	fakeupstream.Server
	server *httptest.Server

	mu   sync.Mutex
	seen map[string]bool // guarded by mu; by request id
}

func newUpstream(t *testing.T) *upstream {
	u := &upstream{seen: map[string]bool{}}
	u.server = httptest.NewServer(u)
	t.Cleanup(func() {
		u.server.CloseClientConnections()
		u.server.Close()
	})
	for model, spec := range map[string]string{
		"fake-long": "chunks=40&delay=5ms",
		"fake-slow": "first=300ms",
	} {
		if err := u.Set(model, spec); err != nil {
			t.Fatal(err)
		}
	}
	return u
}

// ServeHTTP notes the request's id, then answers.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		u.mu.Lock()
		u.seen[id] = true
		u.mu.Unlock()
	}
	u.Server.ServeHTTP(w, r)
}

// ids are the calls that arrived so far.
func (u *upstream) ids() map[string]bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := make(map[string]bool, len(u.seen))
	for id := range u.seen {
		ids[id] = true
	}
	return ids
}

// world is an installation: a database, a data directory, an upstream whose models are on sale, and a consumer
// with credit.
type world struct {
	t     *testing.T
	dir   string // for logs and configurations
	data  string
	dsn   string
	up    *upstream
	key   string // the consumer's
	nodes atomic.Int64
}

// engines runs the test on SQLite and on PostgreSQL.
func engines(t *testing.T, fn func(t *testing.T, engine string)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			fn(t, engine)
		})
	}
}

// newWorld makes an installation on the engine.
func newWorld(t *testing.T, engine string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, dir: dir, data: filepath.Join(dir, "data"), up: newUpstream(t)}
	switch engine {
	case "sqlite":
		w.dsn = "sqlite:" + filepath.Join(w.data, "tollgate.db")
	case "postgres":
		w.dsn = newDatabase(t)
	default:
		w.dsn = engine
	}
	w.seed()
	return w
}

// newDatabase makes a database of the test's own.
func newDatabase(t *testing.T) string {
	t.Helper()
	const name = "TOLLGATE_TEST_POSTGRES"
	dsn := os.Getenv(name)
	if dsn == "" {
		if required() {
			t.Fatal(name + " is not set: run make test, or eval $(scripts/engines env)")
		}
		t.Skip(name + " is not set")
	}
	own := fmt.Sprintf("crash_%016x", rand.Uint64())
	admin := func(sql string) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(ctx)
		if _, err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	admin("CREATE DATABASE " + own)
	t.Cleanup(func() { admin("DROP DATABASE " + own + " WITH (FORCE)") })
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + own
	return u.String()
}

// demo is a node that makes the demo's installation.
func (w *world) demo() *node {
	n := &node{t: w.t, addr: freeAddr(w.t), log: filepath.Join(w.dir, "demo.log")}
	n.args = []string{binary, "demo", "-data", w.data, "-listen", n.addr, "-database", w.dsn, "-upstream", w.up.server.URL + "/v1", "-requests", "off"}
	w.t.Cleanup(n.kill)
	return n
}

func (w *world) seed() {
	w.t.Helper()
	n := w.demo()
	n.start()
	n.up()
	w.readKey()
	n.stop()
}

// readKey takes the consumer's key from what the demo wrote.
func (w *world) readKey() {
	w.t.Helper()
	env, err := os.ReadFile(filepath.Join(w.data, "demo.env"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.key = ""
	for line := range strings.Lines(string(env)) {
		if v, ok := strings.CutPrefix(strings.TrimPrefix(line, "export "), "TOLLGATE_KEY="); ok {
			w.key = strings.Trim(v, "'\"\n")
		}
	}
	if w.key == "" {
		w.t.Fatalf("no key in demo.env: %s", env)
	}
}

// open opens the installation's database beside its nodes, until the test ends.
func (w *world) open() *db.DB {
	w.t.Helper()
	d, err := db.Open(context.Background(), w.dsn, db.Options{MaxConns: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return d
}

var actor = audit.System("crash")

const consumer = "demo-consumer"

// stores are the rooms that the tests use directly.
type stores struct {
	*db.DB
	orgs *org.Store
	keys *auth.Store
}

func newStores(d *db.DB) *stores {
	orgs := org.New(d)
	return &stores{d, orgs, auth.New(d, orgs)}
}

// budgetKey makes a key of the consumer with a budget of its own.
func (s *stores) budgetKey(t *testing.T, nano int64) (key auth.Key, credential, budget string) {
	t.Helper()
	err := s.Update(context.Background(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, consumer)
		if err != nil {
			return err
		}
		b := settle.Budget{Org: o.ID, Name: "crash", Currency: "USD", Amount: nano}
		if err := settle.CreateBudget(tx, &b); err != nil {
			return err
		}
		k, secret, err := s.keys.CreateTx(tx, actor, auth.Draft{Kind: auth.Inference, Org: o.ID, Name: "crash", Budgets: []string{b.ID}})
		key, credential, budget = k, secret.Reveal(), b.ID
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return key, credential, budget
}

// spent is what a budget has settled and holds.
func (s *stores) spent(t *testing.T, budget string) (spent, held int64) {
	t.Helper()
	err := s.View(context.Background(), func(tx *db.Tx) error {
		b, err := settle.GetBudget(tx, budget)
		spent, held = b.Spent, b.Held
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return spent, held
}
