package catalog

import (
	"strconv"
	"strings"
	"testing"
)

// TestHugeDefinition has so many paths that comparing each with each would take minutes: the test's time-out.
func TestHugeDefinition(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"openapi":"3.1.0","info":{"title":"x"},"paths":{`)
	for i := range 60_000 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"/path/` + strconv.Itoa(i) + `":{}`)
	}
	b.WriteString("}}")
	if why := checkDefinition(b.String()); why != "" {
		t.Fatal(why)
	}
	for _, bad := range []string{"", "[]", "x", `{"openapi":"2.0"}`, `{"openapi":"3.1.0","info":"x"}`, `{"openapi":"3.1.0","info":{"title":"x"},"paths":[]}`, "a: [b"} {
		if checkDefinition(bad) == "" {
			t.Errorf("%q was accepted", bad)
		}
	}
}
