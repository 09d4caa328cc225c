package crash

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/org"
)

// TestDemoKilled kills the demo while it makes its installation, and takes the file with its credentials away: the
// next start completes what is missing, and gives nothing twice.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	kills := 8
	if nightly() {
		kills = 60
	}
	dir := t.TempDir()
	w := &world{t: t, dir: dir, data: filepath.Join(dir, "data"), up: newUpstream(t)}
	w.dsn = "sqlite:" + filepath.Join(w.data, "tollgate.db")
	n := w.demo()
	for i := range kills {
		n.start()
		pause(context.Background(), time.Duration(rand.IntN(40*(i+1)))*time.Millisecond)
		n.kill()
	}
	n.start()
	n.up()
	n.stop()
	file := filepath.Join(w.data, "demo.env")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	n.start()
	n.up()
	env, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("demo.env: %v %v", info.Mode(), err)
	}
	if strings.Count(string(env), "sk-tg-") != 7 {
		t.Errorf("credentials are missing:\n%s", env)
	}
	w.readKey()
	l := newLoad(w.key, mixed)
	a := l.call("http://"+n.addr, &mixed[0])
	l.keep(a)
	if a.status != 200 {
		t.Errorf("the first call: %d %s", a.status, a.body)
	}
	n.stop()
	d := w.open()
	w.audit(l.all(), d)
	err = d.View(context.Background(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, consumer)
		if err != nil {
			return err
		}
		b, err := ledger.Balance(tx, ledger.Account{Owner: o.ID, Purpose: ledger.Wallet, Currency: "USD"})
		if b.Balance != 100e9-a.told {
			t.Errorf("the wallet has %d, want what the demo grants less what the call cost, %d", b.Balance, int64(100e9)-a.told)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
