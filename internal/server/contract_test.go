package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/e2e/fakeupstream"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// connect makes a product of one capability that the fake upstream answers in the dialect, at a thousandth for each unit.
func (x *testApp) connect(name string, dialect catalog.Dialect, model string, c catalog.Capability, meter string) {
	x.t.Helper()
	url := x.upstream
	if dialect == catalog.Flask || dialect == catalog.KServe {
		url = strings.TrimSuffix(url, "/v1")
	}
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		return x.offer(tx, o, catalog.UpstreamInput{Name: name, URL: url, Dialect: dialect}, secret.Text{},
			catalog.ProductInput{Name: name, Model: name, Capabilities: []catalog.Capability{c}}, model, usd+unit(meter, "0.001", 1))
	})
	if err == nil {
		err = x.Book.Refresh(x.t.Context())
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// settled checks an answer against its event: units × a thousandth, within the hold, told in the headers.
func (x *testApp) settled(a answer, units int64) meter.Event {
	x.t.Helper()
	if a.status/100 != 2 {
		x.t.Fatalf("%d %.400s", a.status, a.body)
	}
	e := x.event(a.id())
	if e.Units != units || e.Charge != units*1000 || e.Charge > e.Hold || e.Outcome != "completed" {
		x.t.Errorf("settled %d thousandths, %d of a hold of %d, %s; want %d", e.Units, e.Charge, e.Hold, e.Outcome, units)
	}
	if got, want := a.header.Get("X-Tollgate-Cost"), strconv.FormatFloat(float64(e.Charge)/1e9, 'f', -1, 64)+" USD"; got != want {
		x.t.Errorf("the answer tells a cost of %q, settled is %s", got, want)
	}
	return e
}

// TestUpgradeSlot has larger upstreams of every dialect serve the contracts.
func TestUpgradeSlot(t *testing.T) {
	x := startDemo(t, nil)
	x.fake.Script(fakeupstream.Rule{Contains: []string{"good morning"}, Answer: `{"translations":[{"n":1,"text":"bonjour"}]}`},
		fakeupstream.Rule{Contains: []string{"wonderful"}, Answer: `{"items":[{"n":1,"sentiment":"positive","score":0.9,"confidence":0.8}]}`})
	x.connect("chat-translate", catalog.OpenAI, "fake", catalog.Translate, rating.MeterCharacters)
	x.connect("contract-translate", catalog.Contract, "fake", catalog.Translate, rating.MeterCharacters)
	x.connect("kserve-translate", catalog.KServe, "nmt", catalog.Translate, rating.MeterCharacters)
	x.connect("flask-translate", catalog.Flask, "flask", catalog.Translate, rating.MeterCharacters)
	for product, want := range map[string]string{"chat-translate": "bonjour", "contract-translate": "[fr] good morning", "kserve-translate": "[fr] good morning", "flask-translate": "[fr] good morning"} {
		a := x.post("/v1/translate", x.key, `{"model":"`+product+`","text":"good morning","source":"en","target":"fr"}`)
		if !strings.Contains(string(a.body), want) {
			t.Errorf("%s: %s", product, a.body)
		}
		x.settled(a, 12_000)
		// The source's own shape, whichever upstream does the work.
		a = x.post("/translate", x.key, `{"model":"`+product+`","text":"good morning","sourceLanguage":"en","targetLanguage":"fr"}`)
		if product != "contract-translate" && !strings.Contains(string(a.body), `"translation":"`+want) {
			t.Errorf("%s: %d %s", product, a.status, a.body)
		}
	}
	x.connect("chat-text", catalog.OpenAI, "fake", catalog.TextCapability, rating.MeterCharacters)
	x.connect("kserve-text", catalog.KServe, "moods", catalog.TextCapability, rating.MeterCharacters)
	for _, product := range []string{"chat-text", "kserve-text"} {
		a := x.post("/v1/text/sentiment", x.key, `{"model":"`+product+`","text":"wonderful"}`)
		if !strings.Contains(string(a.body), `"sentiment":"positive"`) || !strings.Contains(string(a.body), `"engine":"upstream"`) {
			t.Errorf("%s: %s", product, a.body)
		}
		x.settled(a, 9000)
	}
	x.connect("painter", catalog.OpenAI, "fake", catalog.Image, rating.MeterImages)
	a := x.post("/v1/images/generations", x.key, `{"model":"painter","prompt":"a cat","n":2,"response_format":"b64_json"}`)
	if strings.Count(string(a.body), `"b64_json"`) != 2 {
		t.Errorf("%.300s", a.body)
	}
	x.settled(a, 2000)
}

// pcm is so much silence at 16 kHz.
func pcm(seconds float64) []byte { return make([]byte, 2*int(16000*seconds)) }

// wav is the same as a WAV file.
func wav(seconds float64) []byte {
	data := pcm(seconds)
	b := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(36+len(data)))
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data"...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}

// upload posts a form with a file.
func (x *testApp) upload(path, key string, file []byte, fields map[string]string) answer {
	x.t.Helper()
	return x.uploadAs("file", path, key, file, fields)
}

func (x *testApp) uploadAs(name, path, key string, file []byte, fields map[string]string) answer {
	x.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		w.WriteField(k, v)
	}
	p, err := w.CreateFormFile(name, "a.wav")
	if err != nil {
		x.t.Fatal(err)
	}
	p.Write(file)
	w.Close()
	return x.post(path, key, b.String(), func(r *http.Request) { r.Header.Set("Content-Type", w.FormDataContentType()) })
}

// TestWhisperShapedUpstream meters a recording by what it lasts, as the upstream reports it and never above the hold.
func TestWhisperShapedUpstream(t *testing.T) {
	x := startDemo(t, nil)
	x.connect("whisper", catalog.OpenAI, "whisper-1", catalog.Transcribe, rating.MeterAudioSeconds)
	form := map[string]string{"model": "whisper", "response_format": "verbose_json"}
	a := x.upload("/v1/audio/transcriptions", x.key, wav(2.5), form)
	if !strings.Contains(string(a.body), `"segments"`) {
		t.Errorf("%s", a.body)
	}
	x.settled(a, 2500)
	form["response_format"] = "srt" // which cannot report: what was measured
	x.settled(x.upload("/v1/audio/transcriptions", x.key, wav(2.5), form), 2500)
	if err := x.fake.Set("whisper-1", "seconds=1.25"); err != nil { // silence was cut out
		t.Fatal(err)
	}
	form["response_format"] = "verbose_json"
	x.settled(x.upload("/v1/audio/transcriptions", x.key, wav(2.5), form), 1250)
	if err := x.fake.Set("whisper-1", "seconds=600"); err != nil {
		t.Fatal(err)
	}
	a = x.upload("/v1/audio/transcriptions", x.key, wav(2.5), form)
	if e := x.event(a.id()); a.status != 200 || e.Charge != e.Hold || e.Charge > 3_100_000 || e.Excess == 0 || e.Flags&meter.FlagUncharged == 0 {
		t.Errorf("charged %d of a hold of %d for 2.5 s", e.Charge, e.Hold)
	}
	if err := x.fake.Set("whisper-1", "status=500"); err != nil {
		t.Fatal(err)
	}
	a = x.upload("/v1/audio/transcriptions", x.key, wav(2.5), form)
	if e := x.event(a.id()); a.status != 502 || e.Charge != 0 || e.Units != 0 {
		t.Errorf("%d %+v", a.status, e)
	}
}

// consumer makes an organisation with credit and a key.
func (x *testApp) consumer(name string) (o org.Org, key string) {
	x.t.Helper()
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) (err error) {
		if o, err = x.Orgs.CreateTx(tx, demoActor, org.Draft{Name: name, Parts: org.Consumer}); err != nil {
			return err
		}
		_, sec, err := x.Keys.CreateTx(tx, demoActor, auth.Draft{Kind: auth.Inference, Org: o.ID, Name: "k"})
		if err != nil {
			return err
		}
		key = sec.Reveal()
		_, err = billing.GrantCredit(tx, demoActor, billing.GrantInput{Org: o.ID, Amount: 1e9, Currency: "USD", Reason: "test"})
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	waitFor(x.t, "the key to be known", func() bool { return x.get("/v1/models", key).status == http.StatusOK })
	return o, key
}

// TestPlanPinsTheLargerUpstream sells one product by two plans: offline, and by a larger model.
func TestPlanPinsTheLargerUpstream(t *testing.T) {
	x := startDemo(t, nil)
	x.fake.Script(fakeupstream.Rule{Contains: []string{"good morning"}, Answer: `{"translations":[{"n":1,"text":"一日之计在于晨"}]}`})
	keys := map[string]string{} // by the version that the plan pins
	err := x.DB.Update(t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoEngines)
		if err != nil {
			return err
		}
		up, err := x.Catalog.CreateUpstreamTx(tx, demoActor, o.ID, catalog.UpstreamInput{Name: "larger", URL: x.upstream})
		if err != nil {
			return err
		}
		p, err := x.Catalog.ProductNamedTx(tx, o.ID, "translate")
		if err != nil {
			return err
		}
		if p, err = x.Catalog.CreateVersionTx(tx, demoActor, p.ID, p.Revision, catalog.VersionInput{Name: "v2", Targets: []catalog.TargetInput{{Upstream: up.ID, UpstreamModel: "fake"}}}); err != nil {
			return err
		}
		_, err = x.Catalog.SetReleaseTx(tx, demoActor, p.ID, p.Revision, []catalog.ReleaseInput{{Version: "v1", Release: catalog.Stable, Share: 100}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for version, price := range map[string]string{"v1": "0.001", "v2": "0.002"} {
		consumer, key := x.consumer("of-" + version)
		keys[version] = key
		x.plan("translate", plan.Input{Name: "pins-" + version, Public: true, Pin: version}, usd+unit("characters", price, 1)+unit("audio_seconds", "1", 1), consumer)
	}
	for range 4 { // whatever the shares
		const body = `{"model":"translate","text":"good morning","source":"en","target":"zh"}`
		a := x.post("/v1/translate", keys["v2"], body)
		large := x.event(a.id())
		if !strings.Contains(string(a.body), "一日之计在于晨") || !strings.Contains(string(a.body), `"engine":"upstream"`) || large.Charge != 12*2_000_000 {
			t.Errorf("the larger model: %s %+v", a.body, large)
		}
		a = x.post("/v1/translate", keys["v1"], body)
		if !strings.Contains(string(a.body), `"quality":"dictionary"`) {
			t.Errorf("offline: %s", a.body)
		}
		if e := x.settled(a, 12_000); e.Version == large.Version || e.Product != large.Product {
			t.Errorf("%+v", e)
		}
	}
}

// plan publishes a plan of one of the demo's capabilities and subscribes an organisation to it.
func (x *testApp) plan(product string, in plan.Input, card string, consumer org.Org) {
	x.t.Helper()
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoEngines)
		if err != nil {
			return err
		}
		p, err := x.Catalog.ProductNamedTx(tx, o.ID, product)
		if err != nil {
			return err
		}
		if in.Card, err = rating.ParseCard([]byte(card)); err != nil {
			return err
		}
		pl, err := x.Plans.CreatePlanTx(tx, demoActor, p.ID, in)
		if err != nil {
			return err
		}
		if pl, err = x.Plans.PublishPlanTx(tx, demoActor, pl.ID, pl.Revision, demoCommissionPPM); err != nil {
			return err
		}
		_, err = x.Plans.SubscribeTx(tx, demoActor, consumer.ID, plan.SubscribeInput{PlanID: pl.ID})
		return err
	})
	if err == nil {
		err = x.Book.Refresh(x.t.Context())
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

// TestFailoverFromAMissingEngine goes on to the larger upstream where the engine of this server is not installed.
func TestFailoverFromAMissingEngine(t *testing.T) {
	x := startDemo(t, func(c *Config) { c.Engines = t.TempDir() })
	const image = `"image":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"}`
	a := x.post("/v1/vision/detect", x.key, `{"model":"vision",`+image)
	if a.status != 503 || !strings.Contains(string(a.body), "engine.missing") || x.event(a.id()).Charge != 0 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	err := x.DB.Update(t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoEngines)
		if err != nil {
			return err
		}
		up, err := x.Catalog.CreateUpstreamTx(tx, demoActor, o.ID, catalog.UpstreamInput{Name: "triton", URL: strings.TrimSuffix(x.upstream, "/v1"), Dialect: catalog.KServe})
		if err != nil {
			return err
		}
		p, err := x.Catalog.ProductNamedTx(tx, o.ID, "vision")
		if err != nil {
			return err
		}
		own, err := x.Catalog.UpstreamNamedTx(tx, o.ID, "vision")
		if err != nil {
			return err
		}
		_, err = x.Catalog.SetTargetsTx(tx, demoActor, p.ID, p.Revision, "v1", []catalog.TargetInput{{Upstream: own.ID, UpstreamModel: "vision"}, {Upstream: up.ID, UpstreamModel: "yolo", Priority: 1}})
		return err
	})
	if err == nil {
		err = x.Book.Refresh(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 8 { // again and again: an engine that lacks a part is not ill, and the upstream not the worse for it
		a = x.post("/v1/vision/detect", x.key, `{"model":"vision",`+image)
		if !strings.Contains(string(a.body), `"cat"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if e := x.settled(a, 1000); e.Attempts != 2 {
			t.Errorf("%+v", e)
		}
	}
	// What the engine can do it still does itself.
	a = x.post("/v1/vision/denoise", x.key, `{"model":"vision",`+image)
	if e := x.settled(a, 1000); e.Attempts != 1 {
		t.Errorf("%+v", e)
	}
}

// postJSON posts JSON and reads the answer.
func (x *testApp) postJSON(status int, path, body string, v any) answer {
	x.t.Helper()
	a := x.post(path, x.key, body)
	if a.status != status {
		x.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	if v != nil {
		if err := json.Unmarshal(a.body, v); err != nil {
			x.t.Fatal(err)
		}
	}
	return a
}

// TestBotThatGenerates makes two calls of one: the bot's message and the model's, both in the caller's name.
func TestBotThatGenerates(t *testing.T) {
	x := startDemo(t, nil)
	if err := x.fake.Set("fake", "say=Tea+ships+on+Mondays."); err != nil {
		t.Fatal(err)
	}
	var made struct{ ID, Secret string }
	x.postJSON(201, "/v1/assist/knowledge", `{"name":"shop"}`, &made)
	knowledge := made.ID
	x.postJSON(201, "/v1/assist/knowledge/"+knowledge+"/documents", `{"title":"Shipping","text":"Orders of tea are shipped on Mondays and arrive within three days."}`, nil)
	x.postJSON(201, "/v1/assist/bots", `{"name":"shop","languages":["en"],"knowledge":["`+knowledge+`"],"generate":{"model":"fake","max_tokens":50}}`, &made)
	x.postJSON(201, "/v1/assist/bots/"+made.ID+"/sessions", `{"language":"en"}`, &made)
	a := x.postJSON(200, "/v1/assist/sessions/"+made.ID+"/messages", `{"text":"When are orders of tea shipped?","secret":"`+made.Secret+`"}`, nil)
	if !strings.Contains(string(a.body), "Tea ships on Mondays.") || !strings.Contains(string(a.body), `"citations":[{`) {
		t.Fatalf("%s", a.body)
	}
	outer := x.event(a.id())
	list, _, err := x.Meter.List(t.Context(), meter.Filter{Org: outer.Org}, "", 10)
	if err != nil || len(list) != 2 {
		t.Fatal(err, len(list))
	}
	for _, e := range list {
		switch e.Model {
		case "assist":
			if e.Charge != 2_000_000 || e.Units != 1000 || e.Meter != "messages" {
				t.Errorf("%+v", e)
			}
		case "fake":
			if e.Charge == 0 || e.Usage[3] == 0 || e.Org != outer.Org || e.Key != outer.Key {
				t.Errorf("%+v", e)
			}
		default:
			t.Errorf("a call of %s", e.Model)
		}
	}
}

// TestFreeTierIsBilledToItsOwnOrganisation calls without a key.
func TestFreeTierIsBilledToItsOwnOrganisation(t *testing.T) {
	x := startDemo(t, nil)
	a := x.post("/translate", "", `{"text":"good morning","sourceLanguage":"en","targetLanguage":"zh"}`)
	if a.status != 200 {
		t.Fatal(string(a.body))
	}
	free, err := x.Orgs.ByName(t.Context(), demoFree)
	if err != nil {
		t.Fatal(err)
	}
	if e := x.event(a.id()); e.Org != free.ID || e.Charge != 12*5000 {
		t.Errorf("%+v", e)
	}
	if a := x.post("/translate", "", `{"text":"good morning","sourceLanguage":"en","targetLanguage":"zh"}`, func(r *http.Request) { r.Header.Set("Authorization", "Bearer wrong") }); a.status != 401 {
		t.Errorf("a wrong key became none: %d", a.status)
	}
}

// TestKeyOfAPage reaches what a page may call, and nothing else.
func TestKeyOfAPage(t *testing.T) {
	x := startDemo(t, nil)
	key := x.newKeyWith(auth.Draft{Limits: auth.Limits{Referrers: []string{"shop.example"}}})
	from := func(page string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Referer", page) }
	}
	waitFor(t, "the key to be known", func() bool {
		return x.post("/v1/text/language", key, `{"text":"hello"}`, from("https://shop.example/")).status != 401
	})
	for _, c := range []struct {
		path, body, page string
		status           int
	}{
		{"/v1/text/language", `{"text":"Where is the station?"}`, "https://shop.example/a", 200},
		{"/translate", `{"text":"good morning","sourceLanguage":"en","targetLanguage":"zh"}`, "https://shop.example/a", 200},
		{"/v1/recommend/spaces/shop/for-you", `{"user":"u"}`, "https://shop.example/a", 200},
		{"/v1/assist/bots/" + x.env["TOLLGATE_BOT"] + "/sessions", `{}`, "https://shop.example/a", 201},
		{"/v1/text/language", `{"text":"Where is the station?"}`, "https://evil.example/", 403},
		{"/v1/recommend/spaces/shop/items", `{"items":[]}`, "https://shop.example/a", 403},
		{"/v1/assist/bots", `{"name":"x"}`, "https://shop.example/a", 403},
		{"/v1/text/classifiers", `{"name":"x"}`, "https://shop.example/a", 403},
		{"/v1/translate", `{"text":"good morning","source":"en","target":"zh"}`, "https://shop.example/a", 403},
	} {
		if a := x.post(c.path, key, c.body, from(c.page)); a.status != c.status {
			t.Errorf("%s from %s: %d %s", c.path, c.page, a.status, a.body)
		}
	}
}

// TestStreamedTranslation is closed and charged before its end is told.
func TestStreamedTranslation(t *testing.T) {
	x := startDemo(t, nil)
	a := x.post("/v1/translate", x.key, `{"texts":["Good morning","Thank you"],"source":"en","target":"zh","stream":true}`)
	list := events(a.body)
	if a.err != nil || len(list) < 4 || !strings.Contains(list[len(list)-2], `"type":"done"`) ||
		list[len(list)-1] != `{"type":"usage","cost":0.000105,"currency":"USD","units":21,"meter":"characters"}` || a.header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v %s", a.err, a.body)
	}
	if n := x.Spool.Inflight(); n != 0 {
		t.Errorf("%d calls are open after the end of the stream", n)
	}
	if e := x.event(a.id()); e.Outcome != "completed" || e.Units != 21_000 || e.Charge != 21*5000 || e.Charge > e.Hold || e.Flags&meter.FlagStream == 0 {
		t.Errorf("%+v", e)
	}
	// One who leaves in the middle pays for no more than was delivered.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	texts := strings.Repeat(`"The weather is fine today, and we go for a walk.",`, 250)
	r, err := http.NewRequestWithContext(ctx, "POST", x.url+"/v1/translate", strings.NewReader(`{"texts":[`+texts+`"Thank you"],"source":"en","target":"zh","stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+x.key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	cancel()
	waitFor(t, "the call to close", func() bool { return x.Spool.Inflight() == 0 })
	if e := x.event(resp.Header.Get("X-Request-Id")); e.Charge > e.Hold || e.Charge != e.Units*5 {
		t.Errorf("%+v", e)
	}
}

// TestErrorsInChinese: what is wrong with a field is told in Chinese, and the field is named as the caller names it.
func TestErrorsInChinese(t *testing.T) {
	x := startDemo(t, nil)
	chinese := func(r *http.Request) { r.Header.Set("Accept-Language", "zh") }
	for _, c := range []struct{ path, body, want string }{
		{"/v1/text/keywords", `{}`, `"errors":[{"path":"text","detail":"缺失；请发送 text，或文本列表 texts"}]`},
		{"/v1/text/summarise", `{"text":"One. Two.","sentences":999}`, `"detail":"\"sentences\"：必须在 1 到 200 之间"`},
		{"/v1/text/generate", `{"prompt":"x"}`, `"detail":"写作：需要更大的模型`},
		{"/v1/translate", `{"text":"Guten Tag","source":"de","target":"ko"}`, `"detail":"从德语到韩语的翻译：`},
		{"/v1/audio/speech", `{"model":"speech","voice":"alloy","input":"x","speed":9}`, `"message":"\"speed\"：必须在 0.25 到 4 之间"`},
		{"/v1/images/generations", `{"prompt":"x"}`, `都不提供图像生成（image）`},
	} {
		if a := x.post(c.path, x.key, c.body, chinese, asJSON); a.status < 400 || !strings.Contains(string(a.body), c.want) {
			t.Errorf("%s %s: %d %s", c.path, c.body, a.status, a.body)
		}
	}
}

// TestEnginePanic has an engine fail in a way that nobody foresaw: the call costs nothing, and the next one works.
func TestEnginePanic(t *testing.T) {
	x := startDemo(t, nil)
	speech := x.engines.speech
	x.engines.speech = nil // which the voice of a bot needs
	var s struct{ ID, Secret string }
	x.postJSON(201, "/v1/assist/bots/"+x.env["TOLLGATE_BOT"]+"/sessions", `{}`, &s)
	a := x.uploadAs("audio", "/v1/assist/sessions/"+s.ID+"/voice", x.key, wav(1), map[string]string{"secret": s.Secret})
	if a.status != 500 || a.header.Get("Content-Type") != "application/problem+json" || strings.Contains(string(a.body), "nil pointer") || a.header.Get("X-Tollgate-Cost") != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if e := x.event(a.id()); e.Charge != 0 || e.Units != 0 || e.Outcome != "failed" || e.Status != 500 {
		t.Errorf("%+v", e)
	}
	x.engines.speech = speech
	a = x.postJSON(200, "/v1/assist/sessions/"+s.ID+"/messages", `{"text":"What is a hold?","secret":"`+s.Secret+`"}`, nil)
	if e := x.event(a.id()); e.Charge != 2_000_000 || e.Units != 1000 {
		t.Errorf("%+v", e)
	}
}
