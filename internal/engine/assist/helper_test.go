package assist_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tollgate-io/tollgate/internal/clock"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

var ctx = context.Background()

var sets = []db.Migrations{assist.Migrations}

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// house is an engine with what a test needs around it.
type house struct {
	testing.TB
	e     *assist.Engine
	clock *clock.Manual
	owner string
}

func each(t *testing.T, fn func(t *testing.T, h *house)) {
	t.Helper()
	c := clock.NewManual(monday)
	dbtest.EachWith(t, db.Options{Clock: c}, sets, func(t *testing.T, d *db.DB) {
		c.Set(monday)
		fn(t, newHouse(t, d, c, assist.Options{}))
	})
}

func sealer(t testing.TB) *secret.Sealer {
	t.Helper()
	s, err := secret.Parse(secret.Generate().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newHouse(t testing.TB, d *db.DB, c *clock.Manual, o assist.Options) *house {
	t.Helper()
	if o.DB = d; c != nil {
		o.Clock = c
	}
	if o.Sealer == nil {
		o.Sealer = sealer(t)
	}
	e, err := assist.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return &house{t, e, c, "org_a"}
}

// small is a house on SQLite.
func small(t testing.TB, o assist.Options) *house {
	t.Helper()
	c := clock.NewManual(monday)
	return newHouse(t, dbtest.Open(t, dbtest.SQLiteDSN(t), db.Options{Clock: c}, sets), c, o)
}

// request finds the route of "METHOD path?query" as net/http would.
func (h *house) request(line string, body []byte) *engine.Request {
	h.Helper()
	method, rest, _ := strings.Cut(line, " ")
	u, err := url.Parse("/v1/assist/" + rest)
	if err != nil {
		h.Fatal(err)
	}
	var found *engine.Request
	mux := http.NewServeMux()
	for _, r := range assist.Routes() {
		mux.HandleFunc(r.Method+" "+r.Pattern, func(_ http.ResponseWriter, req *http.Request) {
			found = &engine.Request{Route: &r, Path: u.Path, Params: map[string]string{}, Query: u.Query(), Owner: h.owner, Language: "en", Body: body}
			for _, part := range strings.Split(r.Pattern, "/") {
				if strings.HasPrefix(part, "{") {
					name := strings.Trim(part, "{}")
					found.Params[name] = req.PathValue(name)
				}
			}
		})
	}
	req, err := http.NewRequest(method, u.Path, nil)
	if err != nil {
		h.Fatal(err)
	}
	mux.ServeHTTP(nil, req)
	if found == nil {
		h.Fatalf("no route for %s", line)
	}
	headers := map[string]string{}
	found.Header = func(name string) string { return headers[name] }
	for _, name := range []string{assist.SecretHeader, "Last-Event-ID"} {
		if v := u.Query().Get(name); v != "" {
			headers[name] = v
		}
	}
	return found
}

// try makes a call; body is a JSON text, []byte or anything that marshals.
func (h *house) try(line string, body any) (*enginetest.Answer, error) {
	h.Helper()
	var data []byte
	switch b := body.(type) {
	case nil:
	case string:
		data = []byte(b)
	case []byte:
		data = b
	default:
		var err error
		if data, err = json.Marshal(b); err != nil {
			h.Fatal(err)
		}
	}
	a := &enginetest.Answer{}
	return a, h.e.Serve(ctx, h.request(line, data), a)
}

type object map[string]any

// do makes a call that must succeed.
func (h *house) do(line string, body any) object {
	h.Helper()
	a, err := h.try(line, body)
	if err != nil {
		h.Fatalf("%s: %v", line, err)
	}
	var v object
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		h.Fatalf("%s: %v: %s", line, err, a.Body.Bytes())
	}
	return v
}

// refused makes a call that must fail with a message id.
func (h *house) refused(id, line string, body any) {
	h.Helper()
	_, err := h.try(line, body)
	if err == nil {
		h.Errorf("%s: no error, want %s", line, id)
	} else if got := problem.As(err).ID; got != id {
		h.Errorf("%s: %v, want %s", line, err, id)
	}
}

// at reads a path like "message.text" or "data.0.id".
func (o object) at(path string) any {
	var v any = map[string]any(o)
	for _, name := range strings.Split(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(x) {
				return nil
			}
			v = x[i]
		default:
			return nil
		}
	}
	return v
}

func (o object) text(path string) string {
	s, _ := o.at(path).(string)
	return s
}

func (o object) number(path string) float64 {
	n, _ := o.at(path).(float64)
	return n
}

// visitor is a person with a session.
type visitor struct {
	*house
	id, secret string
}

func (h *house) visit(bot string, body any) *visitor {
	h.Helper()
	v := h.do("POST bots/"+bot+"/sessions", body)
	return &visitor{h, v.text("id"), v.text("secret")}
}

func (v *visitor) line(method, rest string) string {
	return method + " sessions/" + v.id + rest + "?" + assist.SecretHeader + "=" + v.secret
}

func (v *visitor) say(text string) object {
	v.Helper()
	return v.do(v.line("POST", "/messages"), object{"text": text})
}

// shop makes a bot with knowledge, two queues and intents; it returns the bot's, the general and the billing queue's ids.
func (h *house) shop(more object) (bot, general, billing string) {
	h.Helper()
	kb := h.do("POST knowledge", `{"name":"shop"}`).text("id")
	h.do("POST knowledge/"+kb+"/documents", object{"title": "Shop", "text": shopText})
	h.do("POST knowledge/"+kb+"/documents", object{"title": "问答", "faq": []object{
		{"question": "怎么修改收货地址？", "answer": "在“我的订单”里点“修改地址”，发货前都可以修改。"},
		{"question": "可以开发票吗？", "answer": "可以，下单时填写抬头和税号，电子发票三天内发到邮箱。"}}})
	general = h.do("POST queues", `{"name":"General"}`).text("id")
	billing = h.do("POST queues", `{"name":"Billing","skills":["billing"],"priority":2,"examples":["I was charged twice","refund my money","wrong invoice"]}`).text("id")
	b := object{"name": "Shop", "languages": []string{"en", "zh"}, "greeting": object{"en": "Welcome to the shop.", "zh": "欢迎光临。"},
		"knowledge": []string{kb}, "queues": []string{general, billing},
		"intents": []object{
			{"name": "order_status", "examples": []string{"where is my order", "track my order", "has my parcel been sent", "我的订单到哪了", "查一下物流"},
				"slots":  []object{{"name": "order", "type": "order_id", "prompt": object{"en": "What is the number of your order?", "zh": "请提供订单号。"}}},
				"answer": object{"en": "Order {order} is on its way.", "zh": "订单 {order} 正在派送。"}},
			{"name": "refund", "examples": []string{"I want my money back", "refund please", "give me a refund", "我要退款"}, "action": "handover", "queue": billing, "priority": 5},
		}}
	for k, v := range more {
		b[k] = v
	}
	return h.do("POST bots", b).text("id"), general, billing
}

const shopText = `# Shop

## Delivery

We deliver to the whole of Europe. A parcel takes three to five working days; express parcels arrive the next day
and cost nine euros.

## Returns

You can send back any article within thirty days. The label for it is in the parcel. We refund the price
within a week after the parcel has come back.

## Opening hours

Our shop in Vienna is open from Monday to Friday between nine and six, on Saturdays until two.

## Gift cards

Gift cards are valid for five years. The balance of a gift card is printed on every receipt.
`
