package assist_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/db/dbtest"
	"github.com/tollgate-io/tollgate/internal/engine/assist"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/secret"
)

func TestKnowledge(t *testing.T) {
	page := "<title>Shipping</title><h1>Shipping</h1><p>Parcels to Norway take nine days."
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, page)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	h := small(t, assist.Options{HTTP: srv.Client()})
	kb := h.do("POST knowledge", `{"name":"k"}`).text("id")
	docs := "knowledge/" + kb + "/documents"
	first := h.do("POST "+docs, object{"url": srv.URL + "/page"})
	if first.text("data.0.title") != "Shipping" || first.text("data.0.kind") != "url" || first.text("data.0.language") != "en" {
		t.Errorf("%v", first)
	}
	h.refused("assist.fetch_status", "POST "+docs, object{"url": srv.URL + "/none"})
	h.refused("assist.not_fetched", "POST "+docs, object{"url": srv.URL + "/loop"})
	h.refused("engine.invalid", "POST "+docs, object{"url": "file:///etc/passwd"})
	h.refused("engine.invalid", "POST "+docs, object{"url": "https://user:pw@example.com"})
	h.refused("assist.no_document", "POST "+docs, object{})
	h.refused("engine.invalid", "POST "+docs, object{"faq": []object{{"question": "", "answer": "x"}}})

	search := func(q string) object { return h.do("POST knowledge/"+kb+"/search", object{"query": q}) }
	if got := search("Norway"); !strings.Contains(got.text("results.0.text"), "nine days") || got.text("results.0.heading") != "Shipping" {
		t.Errorf("%v", got)
	}
	page = strings.Replace(page, "nine", "eleven", 1)
	if got := h.do("POST knowledge/"+kb+"/reindex", nil); got.number("documents") != 1 {
		t.Errorf("%v", got)
	}
	if got := search("Norway"); !strings.Contains(got.text("results.0.text"), "eleven days") {
		t.Errorf("%v", got)
	}
	r := h.request("POST "+docs, nil)
	r.Type, r.Body = enginetest.Form(t, nil, enginetest.File{Field: "file", Name: "../evil/faq.csv", Type: "text/csv", Data: []byte("question,answer\nCan I pay by card?,\"Yes, by any.\"\n怎么付款？,支持支付宝。\n")})
	a := &enginetest.Answer{}
	if err := h.e.Serve(ctx, r, a); err != nil || a.Status != 201 {
		t.Fatal(err, a.Status)
	}
	list := h.do("GET "+docs+"?limit=2", nil)
	if len(list.at("data").([]any)) != 2 || list.at("has_more") != true {
		t.Errorf("%v", list)
	}
	rest := h.do("GET "+docs+"?after="+list.text("data.1.id"), nil)
	if len(rest.at("data").([]any)) != 1 || rest.at("has_more") != false {
		t.Errorf("%v", rest)
	}
	if got := search("怎么付款"); !strings.Contains(got.text("results.0.text"), "支付宝") || got.text("language") != "zh" {
		t.Errorf("%v", got)
	}
	if err := h.e.Serve(ctx, r, &enginetest.Answer{}); err != nil { // the same again replaces
		t.Fatal(err)
	}
	if got := h.do("GET knowledge/"+kb, nil); got.number("documents") != 3 {
		t.Errorf("%v", got)
	}
	doc := h.do("GET "+docs+"/"+list.text("data.0.id"), nil)
	if doc.text("text") == "" {
		t.Errorf("%v", doc)
	}
	h.do("DELETE "+docs+"/"+first.text("data.0.id"), nil)
	if got := search("Norway"); len(got.at("results").([]any)) != 0 {
		t.Errorf("%v", got)
	}
	bot := h.do("POST bots", object{"name": "b", "knowledge": []string{kb}}).text("id")
	h.do("DELETE knowledge/"+kb, nil)
	if got := h.do("GET bots/"+bot, nil); len(got.at("knowledge").([]any)) != 0 {
		t.Errorf("%v", got)
	}
	bare := small(t, assist.Options{})
	kb = bare.do("POST knowledge", `{"name":"k"}`).text("id")
	bare.refused("engine.missing", "POST knowledge/"+kb+"/documents", object{"url": "https://example.com/"})
}

// TestVectors: what no word finds, a vector does.
func TestVectors(t *testing.T) {
	h := small(t, assist.Options{Embed: func(_ context.Context, texts []string) ([][]float32, error) {
		out := make([][]float32, len(texts))
		for i, s := range texts {
			v := make([]float32, 16)
			v[0] = 1
			if strings.Contains(s, "automobile") || strings.Contains(s, "car") {
				v[1] = 9
			}
			out[i] = v
		}
		return out, nil
	}})
	kb := h.do("POST knowledge", `{"name":"k","language":"en"}`).text("id")
	h.do("POST knowledge/"+kb+"/documents", object{"title": "x", "text": "# x\n\n## One\n\nAutomobile automobile insurance.\n\n## Two\n\nBread and butter."})
	got := h.do("POST knowledge/"+kb+"/search", object{"query": "protect my car", "language": "en"})
	if !strings.Contains(got.text("results.0.text"), "automobile") {
		t.Errorf("%v", got)
	}
}

// TestVectorsOfSome: a document without vectors is found beside many that have them.
func TestVectorsOfSome(t *testing.T) {
	h := small(t, assist.Options{Embed: func(_ context.Context, texts []string) ([][]float32, error) {
		if strings.Contains(texts[0], "two seconds") {
			return nil, errors.New("not now")
		}
		out := make([][]float32, len(texts))
		for i := range texts {
			out[i] = []float32{1, 1}
		}
		return out, nil
	}})
	kb := h.do("POST knowledge", `{"name":"k","language":"en"}`).text("id")
	for i := range 8 {
		h.do("POST knowledge/"+kb+"/documents", object{"title": fmt.Sprint("d", i), "text": fmt.Sprintf("# Key %d\n\nHow a key %d is made, and what a key does.", i, i)})
	}
	h.do("POST knowledge/"+kb+"/documents", object{"title": "x", "text": "# Revoke\n\nIt holds after two seconds when you revoke a key."})
	got := h.do("POST knowledge/"+kb+"/search", object{"query": "How do I revoke a key?", "language": "en"})
	if !strings.Contains(got.text("results.0.text"), "two seconds") {
		t.Errorf("%v", got)
	}
}

func TestReseal(t *testing.T) {
	old, now := secret.Generate().Reveal(), secret.Generate().Reveal()
	s, err := secret.Parse(old)
	if err != nil {
		t.Fatal(err)
	}
	d := dbtest.Open(t, dbtest.SQLiteDSN(t), db.Options{}, sets)
	h := newHouse(t, d, nil, assist.Options{Sealer: s})
	bot, _, _ := h.shop(nil)
	for range 15 {
		v := h.visit(bot, nil)
		v.say("How long does delivery take?")
	}
	var plain int64
	err = d.View(ctx, func(tx *db.Tx) error {
		return tx.QueryRow(`SELECT COUNT(*) FROM assist_message WHERE instr(body, 'delivery') > 0`).Scan(&plain)
	})
	if err != nil || plain != 0 {
		t.Fatalf("%d messages can be read in the database: %v", plain, err)
	}
	both, err := secret.Parse(now + "\n" + old)
	if err != nil {
		t.Fatal(err)
	}
	s.Replace(both)
	if n, err := h.e.Reseal(ctx); err != nil || n < 45 {
		t.Fatal(n, err)
	}
	err = d.View(ctx, func(tx *db.Tx) error {
		counts, err := h.e.SealedTx(tx)
		if len(counts) != 1 || counts[s.KeyIDs()[0]] == 0 {
			t.Errorf("sealed by %v", counts)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := secret.Parse(now)
	if err != nil {
		t.Fatal(err)
	}
	s.Replace(alone)
	v := h.visit(bot, nil)
	if got := v.say("How long does delivery take?"); !strings.Contains(got.text("message.text"), "three to five") {
		t.Errorf("%v", got)
	}
}

// TestSmallKnowledge: a knowledge base of a few passages answers what they answer, in words of its visitors, and nothing else.
func TestSmallKnowledge(t *testing.T) {
	h := small(t, assist.Options{})
	kb := h.do("POST knowledge", `{"name":"k"}`).text("id")
	h.do("POST knowledge/"+kb+"/documents", object{"title": "Returns", "text": "# Returns\n\nCustomers may send articles back within forty days. The refund goes to the card that paid.\n\n# Opening hours\n\nOur shop is open from nine to six."})
	h.do("POST knowledge/"+kb+"/documents", object{"title": "退货政策", "text": "# 退货政策\n\n顾客可以在四十天之内退货。退款会退回到付款的银行卡，运费由我们承担。\n\n# 营业时间\n\n门店每天九点到六点营业。"})
	bot := h.do("POST bots", object{"name": "b", "languages": []string{"en", "zh"}, "knowledge": []string{kb}}).text("id")
	for question, want := range map[string]string{"How many days do I have to return something?": "forty days", "退货几天之内可以办理？": "四十天", "你们几点开门？": "九点",
		"When does your shop open?": "nine to six", "What is the capital of Mongolia?": "", "明天北京天气怎么样？": ""} {
		got := h.visit(bot, nil).say(question)
		if answered := got.text("message.model") == "retrieval"; answered != (want != "") || !strings.Contains(got.text("message.text"), want) {
			t.Errorf("%s: %v", question, got.at("message"))
		}
	}
}

// TestSameSourceTogether: one document that is sent twice at the same time is there once, and can be opened.
func TestSameSourceTogether(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		kb := h.do("POST knowledge", `{"name":"k"}`).text("id")
		const documents = 20
		for i := range documents {
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() {
					if _, err := h.try("POST knowledge/"+kb+"/documents", object{"title": fmt.Sprint("paper ", i), "text": "Parcels to Norway take nine days."}); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
		}
		if got := h.do("GET knowledge/"+kb, nil); got.number("documents") != documents {
			t.Errorf("%v", got)
		}
		if got := h.do("POST knowledge/"+kb+"/search", object{"query": "Norway"}); !strings.Contains(got.text("results.0.text"), "nine days") {
			t.Errorf("%v", got)
		}
	})
}
