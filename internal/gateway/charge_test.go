package gateway

import (
	"log/slog"
	"testing"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// TestNothingDeliveredCostsNothing reuses a Call whose last stream had reported its usage: a client that leaves before
// its own answer began must not be charged for that.
func TestNothingDeliveredCostsNothing(t *testing.T) {
	c := newCall(&Gateway{})
	c.tap.Reset(false, "USD")
	if _, err := c.tap.Feed([]byte("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":500,\"completion_tokens\":9}}\n\n")); err != nil || !c.tap.Usage().Found {
		t.Fatal(err, c.tap.Usage())
	}
	c.opened = true
	c.usageOfDelivered()
	if c.usage != (llm.Usage{}) || c.charge != 0 {
		t.Errorf("%+v costs %d", c.usage, c.charge)
	}
}

func TestMentionsAudio(t *testing.T) {
	for body, want := range map[string]bool{
		`{"messages":[{"role":"user","content":"audio, please; \u00e9 and \u003c"}]}`:   false,
		`{"modalities":["text","audio"]}`:                                               true,
		`{"messages":[{"content":[{"type":"input_audio","input_audio":{"data":""}}]}]}`: true,
		`{"modalities":["text","\u0061udio"]}`:                                          true,
		`{"modalities":["\u00e9","a\u0075dio"]}`:                                        true,
		`{"messages":[{"content":[{"type":"input\u005Faudio"}]}]}`:                      true,
	} {
		if got := mentionsAudio([]byte(body)); got != want {
			t.Errorf("%s: %t", body, got)
		}
	}
}

// TestUncountableIsChargedByEstimate has the counting itself panic: the call must still end, and not for nothing.
func TestUncountableIsChargedByEstimate(t *testing.T) {
	card, err := rating.ParseCard([]byte(`{"currency":"USD","lines":[{"name":"in","meter":"tokens","when":{"class":"input"},"pricing":"per_unit","price":"1","per":1000000},
		{"name":"out","meter":"tokens","when":{"class":"output"},"pricing":"per_unit","price":"1","per":1000000}]}`))
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := rating.Compile(card)
	if err != nil {
		t.Fatal(err)
	}
	c := newCall(&Gateway{o: Options{Log: slog.New(slog.DiscardHandler)}})
	c.tap.Reset(false, "USD")
	if _, err := c.tap.Feed([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"some text that was delivered\"}}]}\n\n")); err != nil {
		t.Fatal(err)
	}
	c.offer = &plan.Offer{Card: compiled, Currency: "USD", Product: &catalog.Product{Model: "m"}}
	c.opened, c.started, c.rec.Hold = true, true, 1e9
	c.scan.Messages = openai.Span{Start: 0, End: 1 << 20} // beyond the body
	c.countDelivered()
	if !c.usage.Estimated || c.usage.Output == 0 || c.charge == 0 {
		t.Errorf("%+v costs %d", c.usage, c.charge)
	}
}
