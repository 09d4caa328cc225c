package gateway

import (
	"testing"

	"github.com/tollgate-io/tollgate/internal/llm"
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
