package recommend

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/enginetest"
	"github.com/tollgate-io/tollgate/internal/problem"
)

func TestBadInput(t *testing.T) {
	r := small(t)
	r.fill(`{}`)
	long := strings.Repeat("x", 129)
	tests := []struct{ id, route, body string }{
		{"engine.empty_body", "for_you", ``},
		{"engine.not_json", "for_you", `{`},
		{"engine.bad_field", "for_you", `{"limit":"ten"}`},
		{"engine.not_utf8", "for_you", "{\"user\":\"\xff\"}"},
		{"engine.invalid", "for_you", `{}`},
		{"engine.invalid", "for_you", `{"user":"u","limit":101}`},
		{"engine.invalid", "for_you", `{"user":"u","limit":-1}`},
		{"engine.invalid", "for_you", `{"user":"` + long + `"}`},
		{"engine.invalid", "for_you", `{"user":"u","algorithm":"magic"}`},
		{"engine.invalid", "for_you", `{"user":"u","weights":{"magic":1}}`},
		{"engine.invalid", "for_you", `{"user":"u","weights":{"popular":-1}}`},
		{"engine.invalid", "for_you", `{"user":"u","weights":{"popular":0}}`},
		{"engine.invalid", "for_you", `{"user":"u","diversity":1.5}`},
		{"engine.invalid", "for_you", `{"user":"u","exclude":["everything"]}`},
		{"recommend.bad_value", "for_you", `{"user":"u","filter":{"max_price":-3}}`},
		{"recommend.bad_value", "for_you", `{"user":"u","filter":{"max_price":"1e3"}}`},
		{"engine.invalid", "similar", `{}`},
		{"engine.invalid", "similar", `{"items":[` + strings.Repeat(`"a",`, 20) + `"a"]}`},
		{"recommend.no_item", "similar", `{"item":"nothing"}`},
		{"recommend.batch_size", "items.put", `{}`},
		{"recommend.batch_size", "items.put", `{"items":[` + strings.Repeat(`{"id":"a"},`, 1000) + `{"id":"a"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a","title":"A"},{"id":"a","title":"A"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":" a","title":"A"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a\u0000","title":"A"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a","title":"A\u0000"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a","title":"A","text":"` + strings.Repeat("茶", 10_001) + `"}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a","title":"A","tags":[""]}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a","title":"A","attributes":{"":"x"}}]}`},
		{"recommend.bad_batch", "items.put", `{"items":[{"id":"a","title":"A","published_at":"2300-01-01T00:00:00Z"}]}`},
		{"recommend.bad_value", "items.put", `{"items":[{"id":"a","title":"A","published_at":"yesterday"}]}`},
		{"engine.bad_field", "items.put", `{"items":[{"id":1}]}`},
		{"recommend.batch_size", "items.delete", `{"items":[]}`},
		{"recommend.bad_batch", "items.delete", `{"items":[""]}`},
		{"recommend.batch_size", "users.put", `{"users":[]}`},
		{"recommend.bad_batch", "users.put", `{"users":[{"id":""}]}`},
		{"recommend.batch_size", "events.put", `{"events":[]}`},
		{"recommend.bad_batch", "events.put", `{"events":[{"user":"u","item":"i","type":"stare"}]}`},
		{"recommend.bad_batch", "events.put", `{"events":[{"user":"u","item":"i","type":"rating"}]}`},
		{"recommend.bad_batch", "events.put", `{"events":[{"user":"u","item":"i","type":"rating","value":6}]}`},
		{"recommend.bad_batch", "events.put", `{"events":[{"user":"u","item":"","type":"view"}]}`},
		{"recommend.bad_batch", "events.put", `{"events":[{"user":"u","item":"i","type":"view","time":"2027-01-01T00:00:00Z"}]}`},
		{"recommend.bad_value", "events.put", `{"events":[{"user":"u","item":"i","type":"view","time":"2027"}]}`},
		{"engine.invalid", "spaces.put", `{"kind":"zoo"}`},
		{"engine.invalid", "spaces.put", `{"similarity":"smell"}`},
		{"engine.invalid", "spaces.put", `{"interest_days":-1}`},
		{"engine.invalid", "spaces.put", `{"popular_days":1e9}`},
		{"engine.invalid", "spaces.put", `{"segment_by":["a","b","c","d"]}`},
		{"engine.invalid", "spaces.put", `{"event_weights":{"dislike":1}}`},
		{"engine.invalid", "spaces.put", `{"rules":[{"type":"shout"}]}`},
		{"engine.invalid", "spaces.put", `{"rules":[{"type":"pin","position":1}]}`},
		{"engine.invalid", "spaces.put", `{"rules":[{"type":"boost","factor":2}]}`},
		{"engine.invalid", "spaces.put", `{"rules":[{"type":"exclude"}]}`},
		{"engine.invalid", "spaces.put", `{"rules":[{"type":"max_per_category","max":1,"match":{"tags":["x"]}}]}`},
		{"engine.invalid", "spaces.put", `{"rules":[` + strings.Repeat(`{"type":"bury","match":{"tags":["x"]}},`, 50) + `{"type":"bury","match":{"tags":["x"]}}]}`},
		{"engine.invalid", "evaluate", `{"users":5}`},
		{"engine.invalid", "evaluate", `{"k":0}`},
	}
	for _, tt := range tests {
		r.fails(tt.id, tt.route, tt.body, "shop")
	}
	r.fails("engine.invalid", "experiments.put", `{"arms":[{"name":"a","share":50}]}`, "shop", "x")
	r.fails("engine.invalid", "experiments.put", `{"arms":[{"name":"a","share":50},{"name":"a","share":50}]}`, "shop", "x")
	r.fails("engine.invalid", "experiments.put", `{"arms":[{"name":"a","share":50},{"name":"b","share":40}]}`, "shop", "x")
	r.fails("engine.invalid", "experiments.put", `{"arms":[{"name":"a","share":50},{"name":"b","share":50,"strategy":{"algorithm":"x"}}]}`, "shop", "x")
	r.fails("engine.invalid", "spaces.put", `{}`, "a b")
	r.fails("engine.invalid", "items.list", nil, "shop", "limit=0")
	r.fails("engine.invalid", "users.export", nil, "shop", "t1", "after=x")
	r.fails("recommend.no_space", "for_you", `{"user":"u"}`, "nowhere")
	r.fails("recommend.no_space", "spaces.delete", nil, "nowhere")
	r.fails("recommend.no_item", "items.get", nil, "shop", "nothing")
	r.must(nil, "spaces.put", `{}`, "empty")
	r.fails("recommend.too_little", "evaluate", `{}`, "empty")
	for i := range maxSpaces {
		if _, err := r.call("spaces.put", `{}`, fmt.Sprintf("s%d", i)); i == maxSpaces-1 && problem.As(err).ID != "recommend.too_many" {
			t.Errorf("space %d: %v", i, err)
		}
	}
}

// TestABatchIsRefusedWhole: nothing of a batch with a fault is written, and the faults are told.
func TestABatchIsRefusedWhole(t *testing.T) {
	r := small(t)
	r.must(nil, "spaces.put", `{}`, "shop")
	_, err := r.call("items.put", `{"items":[{"id":"good","title":"G"},{"id":"bad"}]}`, "shop")
	p := problem.As(err)
	if p.Kind.Status() != 422 || len(p.Fields) != 1 || p.Fields[0].Path != "items[1].title" {
		t.Errorf("%+v", p)
	}
	r.fails("recommend.no_item", "items.get", nil, "shop", "good")
}

func TestItemsComeBackAsGiven(t *testing.T) {
	r := small(t)
	r.must(nil, "spaces.put", `{"kind":"news"}`, "shop")
	in := `{"id":"a/b 茶","title":"Tea","text":"About tea.","category":"c","tags":["x","y"],"price":19.9,"currency":"EUR","attributes":{"k":"v"},"available":false,"published_at":"2026-11-01T08:00:00Z"}`
	r.must(nil, "items.put", `{"items":[`+in+`,{"id":"z","title":"Z","price":"5"}]}`, "shop")
	s, err := r.call("items.get", nil, "shop", "a/b 茶")
	if err != nil || strings.TrimSpace(s.Body.String()) != in {
		t.Errorf("%v %s", err, s.Body.String())
	}
	var page struct {
		Items   []string
		HasMore bool `json:"has_more"`
	}
	if r.must(&page, "items.list", nil, "shop", "limit=1"); len(page.Items) != 1 || !page.HasMore {
		t.Errorf("%+v", page)
	}
	if r.must(&page, "items.list", nil, "shop", "after="+page.Items[0]); len(page.Items) != 1 || page.HasMore {
		t.Errorf("%+v", page)
	}
	if a := r.ask("popular", map[string]any{}); len(a.Items) != 1 || a.Items[0].ID != "z" {
		t.Errorf("what is not available was shown: %v", ids(a))
	}
	r.must(nil, "items.delete", `{"items":["z"]}`, "shop")
	r.fails("recommend.no_item", "items.get", nil, "shop", "z")
	r.fails("recommend.no_item", "similar", `{"item":"z"}`, "shop")
	r.must(nil, "items.put", `{"items":[{"id":"z","title":"Z again"}]}`, "shop")
	if a := r.ask("popular", map[string]any{}); len(a.Items) != 1 || a.Items[0].Title != "Z again" {
		t.Errorf("%+v", a)
	}
}

func TestPrice(t *testing.T) {
	for in, want := range map[string]string{`0`: "0", `19`: "19", `19.90`: "19.9", `"0.000001"`: "0.000001", `1000000000000`: "1000000000000",
		`-1`: "", `1e3`: "", `1.0000001`: "", `"x"`: "", `1.`: "", `""`: "", `"+1"`: "", `"1.-5"`: "", `true`: "", `2000000000000`: ""} {
		var p Price
		err := p.UnmarshalJSON([]byte(in))
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", in, err)
		} else if want != "" && text(p) != want {
			t.Errorf("%s: %s", in, text(p))
		}
	}
}

// FuzzBodies: no body makes the engine fail in a way that is not the caller's fault, or answer what is not JSON.
func FuzzBodies(f *testing.F) {
	for i, s := range []string{
		`{"kind":"news","rules":[{"type":"pin","position":1,"match":{"ids":["tea-1"]}}],"weights":{"item_cf":1},"segment_by":["c"]}`,
		`{"items":[{"id":"a","title":"A 茶","price":1.5,"tags":["x"],"attributes":{"a":"b"},"published_at":"2026-01-01T00:00:00Z"}]}`,
		`{"items":["tea-1"]}`, `{"users":[{"id":"u","attributes":{"c":"x"}}]}`,
		`{"events":[{"id":"1","user":"t1","item":"tea-1","type":"rating","value":4.5,"time":"2026-01-01T00:00:00Z","request_id":"r"}]}`,
		`{"user":"t1","limit":3,"filter":{"tags":["x"],"min_price":1,"exclude_ids":["a"]},"explain":true,"weights":{"content":1},"diversity":0.5,"context":{"c":"x"}}`,
		`{"item":"tea-1","user":"t1","explain":true}`, `{"arms":[{"name":"a","share":50},{"name":"b","share":50}]}`,
	} {
		f.Add(byte(i), s)
	}
	r := small(f)
	r.fill(`{"segment_by":["c"]}`)
	var routes []engine.Route
	for _, route := range Routes() {
		if route.Name != "recommend.evaluate" && route.Method != "DELETE" && route.Method != "GET" {
			routes = append(routes, route)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body string) {
		route := routes[int(which)%len(routes)]
		req := &engine.Request{Route: &route, Params: map[string]string{"space": "shop", "item": "tea-1", "user": "t1", "experiment": "x"},
			Query: url.Values{}, Owner: r.owner, Body: []byte(body)}
		var s enginetest.Answer
		err := r.e.Serve(t.Context(), req, &s)
		if err != nil {
			if p := problem.As(err); p.Kind == problem.Internal || p.Kind.Status() >= 500 {
				t.Fatalf("%s %q: %v", route.Name, body, err)
			}
			return
		}
		if !json.Valid(s.Body.Bytes()) || s.Status < 200 || s.Status > 201 {
			t.Fatalf("%s %q: %d %s", route.Name, body, s.Status, s.Body.Bytes())
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("Longjing green teas 龙井绿茶, the stories\x00\xff é́ 1 a")
	f.Fuzz(func(t *testing.T, s string) {
		terms := termsOf(s, s, s, []string{s}, []attr{{s, s}})
		if len(terms) > maxTerms {
			t.Fatal(len(terms))
		}
		for i, x := range terms {
			if x.tf < 1 || i > 0 && terms[i-1].hash >= x.hash {
				t.Fatalf("%v", terms)
			}
		}
	})
}

func TestWords(t *testing.T) {
	for in, want := range map[string]string{
		"Green teas, and the Stories of glass":   "green tea story glass",
		"龙井绿茶 tea":                               "龙井 井绿 绿茶 tea",
		"茶 5 x":                                  "茶 5",
		"Wireless-headphones v2.0; it's the bus": "wireless headphone v2 0 bus",
	} {
		var got []string
		words(in, func(w string) { got = append(got, w) })
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
