package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/db/dbtest"
)

// engines runs fn with a configuration for each engine.
func engines(t *testing.T, fn func(t *testing.T, change func(*Config))) {
	t.Run("sqlite", func(t *testing.T) { fn(t, func(*Config) {}) })
	t.Run("postgres", func(t *testing.T) {
		dsn := dbtest.PostgresDSN(t)
		fn(t, func(c *Config) { c.Database = dsn })
	})
}

// manage calls the management API with one of demo.env's tokens ("OPERATOR", "CONSUMER", "PROVIDER") and wants the
// status. Edits overwrite whatever is there.
func (x *testApp) manage(status int, who, method, path, body string) map[string]any {
	x.t.Helper()
	r, err := http.NewRequestWithContext(x.t.Context(), method, x.url+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	a := x.do(r, x.env["TOLLGATE_"+who+"_TOKEN"], func(r *http.Request) {
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		if method == "PUT" || method == "PATCH" {
			r.Header.Set("If-Match", "*")
		}
	})
	if a.status != status {
		x.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	var v map[string]any
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &v); err != nil {
			x.t.Fatalf("%s %s: %v in %s", method, path, err, a.body)
		}
	}
	return v
}

func TestRecording(t *testing.T) {
	engines(t, func(t *testing.T, change func(*Config)) {
		x := startApp(t, change)
		const recording = "/organisations/demo-consumer/recording"
		content := func(id string) string { return "/organisations/demo-consumer/usage/events/" + id + "/content" }
		org := x.manage(200, "CONSUMER", "GET", "/me", "")["organisation"].(map[string]any)["id"].(string)
		set := func(body string, want bool) {
			t.Helper()
			x.manage(200, "CONSUMER", "PUT", recording, body)
			waitFor(t, "the gateway to follow the switch", func() bool { return x.Recorder.Wants(org) == want })
		}
		before := x.chat("fake", "").id()
		x.manage(403, "OPERATOR", "PUT", recording, `{"enabled":true,"days":30}`)
		set(`{"enabled":true,"days":30}`, true)
		whole, stream := x.chat("fake", `"user":"marker-1",`), x.chat("fake", `"stream":true,`)
		failed := x.chat("no-such-model", "")
		var got map[string]any
		for _, a := range []answer{whole, stream} {
			waitFor(t, "content to be written", func() bool {
				r, _ := http.NewRequestWithContext(t.Context(), "GET", x.url+"/api/v1"+content(a.id()), nil)
				return x.do(r, x.env["TOLLGATE_CONSUMER_TOKEN"]).status == 200
			})
			got = x.manage(200, "CONSUMER", "GET", content(a.id()), "")
			if got["answer"] != string(a.body) || !strings.Contains(got["request"].(string), "Say something.") {
				t.Errorf("recorded %v", got)
			}
		}
		set(`{"enabled":false,"days":30}`, false)
		after := x.chat("fake", "").id()
		x.manage(404, "PROVIDER", "GET", content(whole.id()), "")
		for _, id := range []string{before, failed.id(), after} {
			x.manage(404, "CONSUMER", "GET", content(id), "")
		}
		x.manage(200, "CONSUMER", "DELETE", recording+"/content", "")
		x.manage(404, "CONSUMER", "GET", content(whole.id()), "")
		if m := x.get("/metrics", ""); !strings.Contains(string(m.body), "tollgate_recordings_dropped_total 0") {
			t.Error("the metric of dropped recordings is missing")
		}
	})
}

func TestModelListIsWatched(t *testing.T) {
	var list atomic.Pointer[string]
	set := func(s string) { list.Store(&s) }
	set(`{"data":[{"id":"kept"},{"id":"leaving"}]}`)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" && r.Header.Get("Authorization") == "Bearer upstream-key" {
			io.WriteString(w, *list.Load())
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer up.Close()
	every := time.Second
	x := startApp(t, func(c *Config) { c.Upstream.WatchModels = &every })
	x.manage(201, "PROVIDER", "POST", "/organisations/demo-provider/upstreams", `{"name":"watched","url":"`+up.URL+`/v1","credentials":[{"name":"main","secret":"upstream-key"}]}`)
	price, err := card()
	if err != nil {
		t.Fatal(err)
	}
	x.sellAt("watched-product", "watched", "leaving", price)
	models := func() []any {
		return x.manage(200, "PROVIDER", "GET", "/organisations/demo-provider/upstreams/watched/models", "")["items"].([]any)
	}
	waitFor(t, "the list to be read", func() bool { return len(models()) == 2 })
	gauge := func(v string) func() bool {
		return func() bool {
			return strings.Contains(string(x.get("/metrics", "").body), "\ntollgate_targets_without_model "+v+"\n")
		}
	}
	set(`{"data":[{"id":"kept"},{"id":"new"}]}`)
	waitFor(t, "the loss to be seen", gauge("1"))
	if got := models(); len(got) != 3 || got[1].(map[string]any)["model"] != "leaving" || got[1].(map[string]any)["gone"] == nil {
		t.Errorf("%v", got)
	}
	set(`not a list`)
	waitFor(t, "a list that cannot be read", func() bool {
		x.App.models.mu.Lock()
		defer x.App.models.mu.Unlock()
		for _, failed := range x.App.models.failed {
			if failed {
				return true
			}
		}
		return false
	})
	set(`{"data":[{"id":"leaving"}]}`)
	waitFor(t, "the model to come back", gauge("0"))
}

// TestSettingsTakeEffect: what the operator sets holds for calls within two seconds, without a restart.
func TestSettingsTakeEffect(t *testing.T) {
	x := startApp(t, nil)
	price, err := card()
	if err != nil {
		t.Fatal(err)
	}
	x.sell("first", price)
	key := x.sell("second", price)
	call := func(model string) int {
		return x.post("/v1/chat/completions", key, `{"model":"`+model+`","messages":[]}`).status
	}
	set := func(on string) {
		x.manage(200, "OPERATOR", "PATCH", "/settings", `{"auto_subscribe":`+on+`}`)
	}
	set("false")
	within := time.Now().Add(2 * time.Second)
	waitFor(t, "first calls to be refused", func() bool { return call("first") == 403 })
	set("true")
	waitFor(t, "first calls to subscribe", func() bool { return call("second") == 200 })
	if late := time.Since(within); late > 2*time.Second {
		t.Errorf("the settings took effect %v late", late)
	}
	if got := call("first"); got != 200 {
		t.Errorf("%d", got)
	}
}
