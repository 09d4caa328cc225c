package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/api"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/engine/translate"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// TestKeyRotation rotates the sealer's key under a running server, as `tollgate sealer` does.
func TestKeyRotation(t *testing.T) {
	engines(t, func(t *testing.T, change func(*Config)) {
		ctx := t.Context()
		var refused atomic.Int64
		up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer upstream-key-0123" {
				refused.Add(1)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			io.WriteString(w, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
		}))
		defer up.Close()
		x := startApp(t, change)
		x.manage(201, "PROVIDER", "POST", "/organisations/demo-provider/upstreams", `{"name":"sealed","url":"`+up.URL+`/v1","credentials":[{"name":"main","secret":"upstream-key-0123"}]}`)
		price, err := card()
		if err != nil {
			t.Fatal(err)
		}
		key := x.sellAt("sealed-product", "sealed", "m", price)
		x.manage(200, "CONSUMER", "PUT", "/organisations/demo-consumer/recording", `{"enabled":true,"days":30}`)
		var consumer org.Org
		if err := x.DB.View(ctx, func(tx *db.Tx) (err error) { consumer, err = org.ByNameTx(tx, "demo-consumer"); return err }); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the switch to be seen", func() bool { return x.Recorder.Wants(consumer.ID) })
		call := func() answer {
			t.Helper()
			a := x.post("/v1/chat/completions", key, `{"model":"sealed-product","messages":[{"role":"user","content":"hi"}]}`)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			return a
		}
		recorded := "/organisations/demo-consumer/usage/events/" + call().id() + "/content"
		waitFor(t, "the content", func() bool {
			r, _ := http.NewRequestWithContext(ctx, "GET", x.url+"/api/v1"+recorded, nil)
			return x.do(r, x.env["TOLLGATE_CONSUMER_TOKEN"]).status == 200
		})
		x.post("/api/v1/organisations/demo-consumer/credits", x.env["TOLLGATE_OPERATOR_TOKEN"], `{"amount":"1","currency":"USD"}`,
			func(r *http.Request) {
				r.Header.Set("Idempotency-Key", "once")
				r.Header.Set("Content-Type", "application/json")
			})

		glossary := func(name, body string) string { // what the engines keep for their owners, in this organisation's name
			t.Helper()
			out, err := internalCall(ctx, x.engines.translate, translate.Routes(), name, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(glossary("translate.glossaries.create", `{"name":"ours","source":"en","target":"zh","terms":[{"source":"hold","target":"预占"}]}`)), &made); err != nil {
			t.Fatal(err)
		}
		v, done, err := OpenVault(ctx, x.Config)
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		status := func() api.Sealing {
			t.Helper()
			st, err := v.Status(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return st
		}
		if st := status(); len(st.Keys) != 1 || st.Keys[0].Credentials != 1 || st.Keys[0].Recorded != 1 || st.Keys[0].Answers != 1 || st.Keys[0].Engines != 1 || st.Old != 0 || st.Lost != 0 {
			t.Fatalf("%+v", st)
		}
		if err := v.Rotate(); err != nil {
			t.Fatal(err)
		}
		if st := status(); st.Old != 4 || st.Keys[0].State != api.KeySealing || st.Keys[1].State != api.KeyOpening {
			t.Fatalf("%+v", st)
		}
		if err := v.Drop(ctx); !problem.Is(err, problem.Conflict) {
			t.Fatal("a key that is needed was dropped:", err)
		}
		call()
		x.manage(403, "CONSUMER", "POST", "/sealer/reseal", "")
		x.manage(403, "PROVIDER", "GET", "/sealer", "")
		if got := x.manage(200, "OPERATOR", "POST", "/sealer/reseal", ""); got["resealed"].(float64) < 4 || got["old"] != 0.0 || got["lost"] != 0.0 {
			t.Errorf("%v", got)
		}
		if err := v.Drop(ctx); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the server to drop the old key", func() bool { return len(x.Sealer.KeyIDs()) == 1 })
		call()
		x.manage(200, "CONSUMER", "GET", recorded, "")
		if got := glossary("translate.text", `{"text":"hold","source":"en","target":"zh","glossary":"`+made.ID+`"}`); !strings.Contains(got, "预占") {
			t.Error(got)
		}
		if err := x.Book.Refresh(ctx); err != nil || len(x.Book.Snapshot().Catalog.Faults) != 0 || refused.Load() != 0 {
			t.Errorf("%v, faults %v, %d calls without the credential", err, x.Book.Snapshot().Catalog.Faults, refused.Load())
		}
	})
}

// logged keeps what is logged.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestLostKey: a start with another key file than the database was sealed with says what that means, and
// the old file put back repairs it without a restart.
func TestLostKey(t *testing.T) {
	ctx := t.Context()
	c := &Config{Data: t.TempDir(), UpstreamAllow: []string{"loopback"}, Log: Log{Level: "info", Format: "text"}}
	if err := c.Complete(); err != nil {
		t.Fatal(err)
	}
	start := func() (*App, *logged) {
		t.Helper()
		log := &logged{}
		a, err := New(ctx, c, io.Discard, log)
		if err != nil {
			t.Fatal(err)
		}
		return a, log
	}
	stop := func(a *App) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	a, log := start()
	stop(a)
	if strings.Contains(log.String(), "lost") {
		t.Errorf("a first start speaks of a loss: %s", log)
	}
	a, _ = start()
	u, err := a.Catalog.CreateUpstream(ctx, demoActor, db.NewID("org", time.Now()), catalog.UpstreamInput{Name: "main", URL: "http://127.0.0.1:1/v1"})
	if err == nil {
		_, err = a.Catalog.SetCredential(ctx, demoActor, u.ID, catalog.Any, catalog.CredentialInput{Name: "main", Secret: secret.New("upstream-key")})
	}
	if err != nil {
		t.Fatal(err)
	}
	stop(a)

	old, err := os.ReadFile(c.SealerKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(c.SealerKey); err != nil {
		t.Fatal(err)
	}
	a, log = start()
	if s := log.String(); !strings.Contains(s, "the sealer key was lost") || !strings.Contains(s, "values=1") {
		t.Errorf("it says: %s", s)
	}
	if n := len(a.Book.Snapshot().Catalog.Faults); n != 1 {
		t.Errorf("%d faults", n)
	}
	if err := os.WriteFile(c.SealerKey+".new", old, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.SealerKey+".new", c.SealerKey); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the file that was put back", func() bool { return len(a.Book.Snapshot().Catalog.Faults) == 0 })
	stop(a)
}
