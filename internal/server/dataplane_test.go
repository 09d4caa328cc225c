package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/ledger"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// nano per token of the demo's card.
const inPrice, cachedPrice, outPrice = 150, 75, 600

func TestAnswers(t *testing.T) {
	x := startApp(t, nil)
	t.Run("whole", func(t *testing.T) {
		a := x.chat("fake", "")
		var v struct {
			Usage struct {
				Prompt     int64       `json:"prompt_tokens"`
				Completion int64       `json:"completion_tokens"`
				Cost       json.Number `json:"cost"`
				Currency   string      `json:"currency"`
			} `json:"usage"`
		}
		if err := json.Unmarshal(a.body, &v); err != nil || a.status != 200 {
			t.Fatal(a.status, err, string(a.body))
		}
		e := x.event(a.id())
		want := v.Usage.Prompt*inPrice + v.Usage.Completion*outPrice
		if e.Charge != want || want == 0 {
			t.Errorf("charged %d, want %d", e.Charge, want)
		}
		if got := string(v.Usage.Cost) + " " + v.Usage.Currency; a.header.Get("X-Tollgate-Cost") != got {
			t.Errorf("header %q, usage says %q", a.header.Get("X-Tollgate-Cost"), got)
		}
		if e.Commission != (want+5)/10 {
			t.Errorf("commission %d of %d", e.Commission, want)
		}
		if e.Outcome != "completed" || e.Status != 200 || len(e.ResponseDigest) != 32 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("classes", func(t *testing.T) {
		e := x.event(x.chat("fake-classes", "").id())
		want := [meter.Classes]int64{450, 400, 100, 100, 80, 50, 20}
		if e.Usage != want {
			t.Errorf("usage %v, want %v", e.Usage, want)
		}
		if c := int64(450*inPrice + 400*cachedPrice + 100*inPrice + 100*outPrice + 80*outPrice + 50*inPrice + 20*outPrice); e.Charge != c {
			t.Errorf("charge %d, want %d", e.Charge, c)
		}
	})
	t.Run("stream hides the usage that was not asked for", func(t *testing.T) {
		a := x.chat("fake", `"stream":true,`)
		list := events(a.body)
		if len(list) == 0 {
			t.Fatal(a.status, a.header, a.err, string(a.body))
		}
		if a.err != nil || list[len(list)-1] != "[DONE]" || strings.Contains(string(a.body), `"usage":{`) {
			t.Fatalf("%v %s", a.err, a.body)
		}
		if e := x.event(a.id()); e.Charge == 0 || e.Flags&meter.FlagStream == 0 || e.Flags&meter.FlagEstimated != 0 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("stream tells the cost with the usage", func(t *testing.T) {
		a := x.chat("fake", `"stream":true,"stream_options":{"include_usage":true},`)
		list := events(a.body)
		if !strings.Contains(list[len(list)-2], `"cost":`) {
			t.Fatalf("%s", a.body)
		}
	})
	t.Run("usage is counted when the upstream gives none", func(t *testing.T) {
		for _, stream := range []string{"", `"stream":true,`} {
			e := x.event(x.chat("fake-no-usage", stream).id())
			if e.Flags&meter.FlagEstimated == 0 || e.Charge == 0 || e.Usage[3] == 0 {
				t.Errorf("stream %q: %+v", stream, e)
			}
		}
	})
	t.Run("embeddings", func(t *testing.T) {
		a := x.post("/v1/embeddings", x.key, `{"model":"fake","input":["one","two"]}`)
		if a.status != 200 {
			t.Fatal(string(a.body))
		}
		if e := x.event(a.id()); e.Charge == 0 || e.Usage[3] != 0 {
			t.Errorf("%+v", e)
		}
	})
	t.Run("models", func(t *testing.T) {
		a := x.get("/v1/models", x.key)
		if !strings.Contains(string(a.body), `"id":"fake/with/slashes:7b"`) {
			t.Fatal(string(a.body))
		}
		if a := x.get("/v1/models/fake/with/slashes:7b", x.key); a.status != 200 {
			t.Fatal(string(a.body))
		}
		for _, name := range []string{"fake/with/slashes:7b", "demo-provider/fake/with/slashes:7b"} {
			if a := x.chat(name, ""); a.status != 200 {
				t.Fatal(name, string(a.body))
			}
		}
	})
	t.Run("generation", func(t *testing.T) {
		id := x.chat("fake", "").id()
		a := x.get("/v1/generations/"+id, x.key)
		var v struct{ ID, Charge, Receipt, Outcome string }
		if err := json.Unmarshal(a.body, &v); err != nil || v.ID != id || v.Charge == "" || v.Outcome != "completed" {
			t.Fatal(err, string(a.body))
		}
		if a := x.get("/v1/generations/evt_00000000000000000000000000", x.key); a.status != 404 {
			t.Fatal(a.status)
		}
	})
}

func TestUpstreamFaults(t *testing.T) {
	x := startApp(t, nil)
	for _, c := range []struct {
		model, rest string
		status      int
		code        string
		outcome     string // of the event, empty for none
		charged     bool
	}{
		{"fake-400", "", 400, "", "failed", false},
		{"fake-401", "", 503, "gateway.upstream_busy", "failed", false},
		{"fake-404", "", 502, "gateway.upstream", "failed", false},
		{"fake-429", "", 503, "gateway.upstream_busy", "failed", false},
		{"fake-500", "", 502, "gateway.upstream", "failed", false},
		{"fake-html", "", 502, "gateway.upstream", "failed", false},
		{"fake-truncated", "", 502, "gateway.upstream", "failed", false},
		{"fake-huge", "", 502, "gateway.upstream", "failed", false},
	} {
		a := x.chat(c.model, c.rest)
		if a.status != c.status || c.code != "" && a.code() != c.code {
			t.Errorf("%s: %d %s %.300s", c.model, a.status, a.code(), a.body)
		}
		e := x.event(a.id())
		if e.Outcome != c.outcome || (e.Charge > 0) != c.charged || int(e.Status) != c.status {
			t.Errorf("%s: %+v", c.model, e)
		}
	}
	if a := x.chat("fake-429", ""); a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After while the credential cools down")
	}
}

func TestBrokenStreams(t *testing.T) {
	x := startApp(t, nil)
	for _, model := range []string{"fake-broken", "fake-error-event"} {
		a := x.chat(model, `"stream":true,`)
		if a.err == nil || !strings.Contains(string(a.body), `"code":"gateway.stream_broken"`) || strings.Contains(string(a.body), "[DONE]") {
			t.Errorf("%s: %v %s", model, a.err, a.body)
		}
		e := x.event(a.id())
		if e.Outcome != "upstream_lost" || e.Charge == 0 || e.Charge >= e.Hold || e.Flags&meter.FlagEstimated == 0 {
			t.Errorf("%s: %+v", model, e)
		}
	}
	a := x.chat("fake-no-done", `"stream":true,`)
	if e := x.event(a.id()); a.err != nil || e.Outcome != "completed" {
		t.Errorf("%v %+v", a.err, e)
	}
}

func TestClientLeaves(t *testing.T) {
	x := startApp(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "POST", x.url+"/v1/chat/completions", strings.NewReader(`{"model":"fake-long","stream":true,"messages":[{"role":"user","content":"hi"}]}`))
	r.Header.Set("Authorization", "Bearer "+x.key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	waitFor(t, "the upstream to be cancelled", func() bool { return x.fake.Stats().Cancelled == 1 })
	waitFor(t, "the call to close", func() bool { return x.Spool.Inflight() == 0 })
	e := x.event(resp.Header.Get("X-Request-Id"))
	if e.Outcome != "client_gone" || e.Charge == 0 || e.Usage[3] >= 2000 || e.Status != 499 {
		t.Errorf("%+v", e)
	}
}

func TestStreamIsCutAtItsHold(t *testing.T) {
	x := startApp(t, nil)
	if err := x.fake.Set("fake", "chunks=500&ignorelimit"); err != nil {
		t.Fatal(err)
	}
	a := x.chat("fake", `"stream":true,"max_tokens":40,`)
	if a.err == nil || !strings.Contains(string(a.body), `"code":"gateway.cut"`) {
		t.Fatalf("%v %s", a.err, a.body)
	}
	if e := x.event(a.id()); e.Outcome != "cut" || e.Charge > e.Hold || e.Charge == 0 {
		t.Errorf("%+v", e)
	}
	a = x.chat("fake", `"max_tokens":1,`)
	if e := x.event(a.id()); e.Charge != e.Hold || e.Excess == 0 || e.Flags&meter.FlagUncharged == 0 {
		t.Errorf("what cannot be cut is charged its hold: %+v", e)
	}
}

func TestFailoverToTheSecondTarget(t *testing.T) {
	x := startApp(t, nil)
	if err := x.fake.Set("fake", "fail=1&status=500"); err != nil { // the first request fails
		t.Fatal(err)
	}
	x.secondTarget("fake", "fake-50")
	a := x.chat("fake", "")
	if a.status != 200 {
		t.Fatal(string(a.body))
	}
	if e := x.event(a.id()); e.Attempts != 2 {
		t.Errorf("%+v", e)
	}
}

// secondTarget adds a target of lower priority to a product of the demo.
func (x *testApp) secondTarget(product, model string) {
	x.t.Helper()
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		p, err := x.Catalog.ProductNamedTx(tx, o.ID, product)
		if err != nil {
			return err
		}
		_, err = x.Catalog.SetTargetsTx(tx, demoActor, p.ID, p.Revision, "v1", twoTargets(product, model))
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	x := startApp(t, func(c *Config) { c.Limits.Body = 1 << 20 })
	ok := `{"model":"fake","messages":[{"role":"user","content":"x"}]}`
	mgt := x.env["TOLLGATE_CONSUMER_TOKEN"]
	for _, c := range []struct {
		name, key, path, body string
		status                int
		code                  string
	}{
		{"no key", "", "/v1/chat/completions", ok, 401, "invalid_api_key"},
		{"wrong key", "sk-tg-inf-" + strings.Repeat("0", 49), "/v1/chat/completions", ok, 401, "invalid_api_key"},
		{"management key", mgt, "/v1/chat/completions", ok, 403, "auth.not_inference"},
		{"unknown model", x.key, "/v1/chat/completions", `{"model":"nope","messages":[]}`, 404, "model_not_found"},
		{"no model", x.key, "/v1/chat/completions", `{"messages":[]}`, 400, ""},
		{"not JSON", x.key, "/v1/chat/completions", `{"model":`, 400, ""},
		{"stream is no bool", x.key, "/v1/chat/completions", `{"model":"fake","stream":"yes","messages":[]}`, 400, ""},
		{"max_tokens negative", x.key, "/v1/chat/completions", `{"model":"fake","max_tokens":-1,"messages":[]}`, 400, ""},
		{"model twice", x.key, "/v1/chat/completions", `{"model":"fake","model":"other","messages":[]}`, 400, ""},
		{"empty", x.key, "/v1/chat/completions", ``, 400, ""},
		{"too large", x.key, "/v1/chat/completions", `{"model":"fake","messages":[{"role":"user","content":"` + strings.Repeat("x", 2<<20) + `"}]}`, 413, "request_too_large"},
		{"unknown path", x.key, "/v1/frobnicate", ok, 404, "gateway.path_unknown"},
	} {
		before := x.fake.Stats().Requests
		a := x.post(c.path, c.key, c.body)
		if a.status != c.status || c.code != "" && a.code() != c.code {
			t.Errorf("%s: %d %q %s", c.name, a.status, a.code(), a.body)
		}
		if a.id() == "" || x.fake.Stats().Requests != before {
			t.Errorf("%s: no request id, or the upstream was called", c.name)
		}
	}
	zh := x.post("/v1/chat/completions", x.key, `{"model":"nope","messages":[]}`, func(r *http.Request) { r.Header.Set("Accept-Language", "zh-CN") })
	if !strings.Contains(string(zh.body), "没有") {
		t.Error(string(zh.body))
	}
}

// newKey makes an inference key of the demo's consumer.
func (x *testApp) newKeyWith(d auth.Draft) string {
	x.t.Helper()
	o, err := x.Orgs.ByName(x.t.Context(), demoConsumer)
	if err != nil {
		x.t.Fatal(err)
	}
	d.Kind, d.Org, d.Name = auth.Inference, o.ID, "test"
	_, sec, err := x.Keys.Create(x.t.Context(), demoActor, d)
	if err != nil {
		x.t.Fatal(err)
	}
	return sec.Reveal()
}

func TestRateLimitHeadersAndRefusal(t *testing.T) {
	x := startApp(t, nil)
	key := x.newKeyWith(auth.Draft{Limits: auth.Limits{Requests: 2}})
	body := `{"model":"fake","messages":[]}`
	for i := range 3 {
		a := x.post("/v1/chat/completions", key, body)
		if i < 2 {
			if a.status != 200 || a.header.Get("X-Ratelimit-Limit-Requests") != "2" || a.header.Get("X-Ratelimit-Remaining-Requests") != strconv.Itoa(1-i) {
				t.Fatal(a.status, a.header)
			}
			continue
		}
		if a.status != 429 || a.header.Get("Retry-After") == "" || a.code() != "rate_limit_exceeded" || a.header.Get("Ratelimit") == "" {
			t.Fatal(a.status, a.header, string(a.body))
		}
	}
}

func TestModelsOfAKey(t *testing.T) {
	x := startApp(t, nil)
	key := x.newKeyWith(auth.Draft{Limits: auth.Limits{Models: []string{"fake"}}})
	if a := x.post("/v1/chat/completions", key, `{"model":"fake-50","messages":[]}`); a.status != 403 {
		t.Fatal(a.status)
	}
	if a := x.get("/v1/models", key); strings.Contains(string(a.body), "fake-50") {
		t.Fatal(string(a.body))
	}
}

func TestFundsRunOut(t *testing.T) {
	x := startApp(t, nil)
	o, err := x.Orgs.Create(t.Context(), demoActor, org.Draft{Name: "poor", Parts: org.Consumer})
	if err != nil {
		t.Fatal(err)
	}
	_, sec, err := x.Keys.Create(t.Context(), demoActor, auth.Draft{Kind: auth.Inference, Org: o.ID, Name: "k"})
	if err != nil {
		t.Fatal(err)
	}
	body := `{"model":"fake","max_tokens":100,"messages":[]}`
	a := x.post("/v1/chat/completions", sec.Reveal(), body)
	if a.status != 402 || a.code() != "settle.wallet_exhausted" {
		t.Fatal(a.status, string(a.body))
	}
	err = x.DB.Update(t.Context(), func(tx *db.Tx) error {
		_, _, err := ledger.Post(tx, ledger.Transaction{Kind: "grant", Cause: "poor", Postings: []ledger.Posting{
			{Account: ledger.Account{Owner: o.ID, Purpose: ledger.Wallet, Currency: "USD"}, Amount: 1e9},
			{Account: ledger.Account{Owner: ledger.Platform, Purpose: ledger.Promotion, Currency: "USD"}, Amount: -1e9}}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the top-up to work", func() bool { return x.post("/v1/chat/completions", sec.Reveal(), body).status == 200 })
}

// TestProvisional sells on a card whose price depends on the period: the settler's figure is what counts.
func TestProvisional(t *testing.T) {
	x := startApp(t, nil)
	card, err := rating.ParseCard([]byte(`{"currency":"USD","lines":[{"name":"input","meter":"tokens","when":{"class":"input"},"pricing":"per_unit","price":"1","per":1000000,"allowance":"150"},
		{"name":"output","meter":"tokens","when":{"class":"output"},"pricing":"per_unit","price":"1","per":1000000}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := x.fake.Set("fake", "in=100&out=10"); err != nil {
		t.Fatal(err)
	}
	key := x.sell("allowance", card)
	var charges []int64
	for range 3 {
		a := x.post("/v1/chat/completions", key, `{"model":"`+demoProvider+`/allowance","messages":[]}`)
		if a.status != 200 || !strings.Contains(a.header.Get("X-Tollgate-Cost"), "provisional") {
			t.Fatal(a.status, a.header, string(a.body))
		}
		charges = append(charges, x.event(a.id()).Charge)
	}
	if charges[0] != 10*1000 || charges[1] != 60*1000 || charges[2] != 110*1000 {
		t.Fatal(charges)
	}
}

func TestQuietStreamGetsComments(t *testing.T) {
	x := startApp(t, func(c *Config) { c.Limits.KeepAlive = 30 * time.Millisecond })
	if err := x.fake.Set("fake", "chunks=3&delay=300ms"); err != nil {
		t.Fatal(err)
	}
	a := x.chat("fake", `"stream":true,`)
	if a.err != nil || !strings.Contains(string(a.body), ": keep-alive") {
		t.Fatalf("%v %s", a.err, a.body)
	}
}
