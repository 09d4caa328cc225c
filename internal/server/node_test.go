package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/settle"
)

func TestNodesAreListed(t *testing.T) {
	x := startApp(t, nil)
	if a := x.chat("fake", ""); a.status != 200 {
		t.Fatal(string(a.body))
	}
	items := x.manage(200, "OPERATOR", "GET", "/nodes", "")["items"].([]any)
	n := items[0].(map[string]any)
	if len(items) != 1 || n["spool"] != x.Spool.ID() || n["state"] != "running" || n["host"] == "" || n["seen"] == nil || len(n["leases"].([]any)) == 0 {
		t.Errorf("%v", items)
	}
	x.manage(403, "CONSUMER", "GET", "/nodes", "")
	reclaim := "/nodes/" + x.Spool.ID() + "/reclaim"
	x.manage(403, "PROVIDER", "POST", reclaim, `{"confirm":"`+x.Spool.ID()+`","reason":"x"}`)
	x.manage(422, "OPERATOR", "POST", reclaim, `{"confirm":"yes","reason":"x"}`)
	x.manage(409, "OPERATOR", "POST", reclaim, `{"confirm":"`+x.Spool.ID()+`","reason":"x"}`)
}

// TestReclaimedNodeEnds: a node that was taken for dead and is not ends, so that its supervisor starts it
// again; then everything is in order.
func TestReclaimedNodeEnds(t *testing.T) {
	engines(t, func(t *testing.T, change func(*Config)) {
		ctx := t.Context()
		c := &Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Log: Log{Level: "error"}}
		change(c)
		if err := c.Complete(); err != nil {
			t.Fatal(err)
		}
		a, err := New(ctx, c, io.Discard, testWriter{t})
		if err != nil {
			t.Fatal(err)
		}
		d := &demo{App: a}
		if err := d.seed(ctx); err != nil {
			t.Fatal(err)
		}
		call := func(a *App) int {
			r := httptest.NewRequestWithContext(ctx, "POST", "/v1/chat/completions", strings.NewReader(`{"model":"sandbox","messages":[{"role":"user","content":"What is a hold?"}]}`))
			r.Header.Set("Authorization", "Bearer "+d.env["TOLLGATE_KEY"])
			w := httptest.NewRecorder()
			a.Handler().ServeHTTP(w, r)
			return w.Code
		}
		if got := call(a); got != http.StatusOK {
			t.Fatal(got)
		}
		flush, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		if err := a.Settler.Flush(flush); err != nil {
			t.Fatal(err)
		}
		var sums []settle.LeaseSum
		err = a.DB.Update(ctx, func(tx *db.Tx) error { // as if it had been silent
			if _, err := tx.Exec(`UPDATE node SET seen = 1`); err != nil {
				return err
			}
			sums, err = settle.Reclaim(tx, a.Spool.ID())
			return err
		})
		if err != nil || len(sums) == 0 {
			t.Fatal(sums, err)
		}
		a.Jobs.Wake("node-beat")
		if err := a.Run(ctx, func() error { return nil }); !errors.Is(err, settle.ErrReclaimed) {
			t.Fatal("it went on:", err)
		}

		if a, err = New(ctx, c, io.Discard, testWriter{t}); err != nil {
			t.Fatal(err)
		}
		if got := call(a); got != http.StatusOK {
			t.Error(got)
		}
		if err := a.Settler.Flush(flush); err != nil {
			t.Fatal(err)
		}
		if r, err := settle.Verify(ctx, a.DB); err != nil || !r.OK || r.Events != 2 {
			t.Errorf("%v %+v", err, r)
		}
		if err := a.Stop(flush); err != nil {
			t.Error(err)
		}
	})
}
