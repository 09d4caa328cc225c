package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

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
