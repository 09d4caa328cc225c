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
