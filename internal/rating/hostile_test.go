package rating

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHostileCardsAreCheap: a large card that is made to cost time or space is answered, shortly. (The
// limit on time is for what grows with the square of the size; it is far from what is needed.)
func TestHostileCardsAreCheap(t *testing.T) {
	const size = MaxCardBytes / 4
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (size-len(head)-len(tail))/len(unit)) + tail
	}
	var tiers strings.Builder
	for i := range MaxTiers - 1 {
		fmt.Fprintf(&tiers, "{up_to: %d, price: '%d'}, ", i+1, i+1)
	}
	tiers.WriteString("{price: '1'}")
	var lines strings.Builder
	for i := 0; lines.Len() < size-3*tiers.Len(); i++ {
		fmt.Fprintf(&lines, "\n- {name: l%d, meter: tokens, when: {region: r%d}, pricing: volume, tiers: [%s]}", i, i, tiers.String())
	}
	for name, card := range map[string]string{
		"unknown and repeated fields": fill(fill("{\"currency\": \"USD\", ", `"a":1,`, "")[:size/2], `"lines":1,`, `"lines":1}`),
		"names":                       fill("currency: USD\nlines: [{meter: a, price: '1', when: {region: [", "a,", "a]}}]"),
		"lines":                       fill("currency: USD\nlines: [", "{},", "{}]"),
		"tiers":                       "currency: USD\nlines:" + lines.String(),
		"depth in JSON":               fill("", "[", ""),
		"depth in YAML":               fill("- ", "- ", ""),
		"a long number":               fill("currency: USD\nlines: [{meter: a, price: '", "9", "'}]"),
		"a long name":                 fill("currency: USD\nlines: [{meter: ", "a", "}]"),
	} {
		start := time.Now()
		card, err := ParseCard([]byte(card))
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if name != "tiers" && err == nil {
			t.Errorf("%s: accepted: %d lines", name, len(card.Lines))
		}
		if err != nil && len(err.Error()) > 30_000 {
			t.Errorf("%s: the answer has %d bytes", name, len(err.Error()))
		}
	}
}
