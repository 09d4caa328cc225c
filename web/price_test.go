package web

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/rating"
)

func TestPrices(t *testing.T) {
	for _, c := range []struct{ name, card, want string }{
		{"plain", plainCard, `
			Input: 0.15 USD per 1,000,000 tokens
			Cached input: 0.075 USD per 1,000,000 tokens
			Output: 0.60 USD per 1,000,000 tokens`},
		{"scaled to a million", "currency: USD\nlines: [{meter: tokens, price: '0.000000150'}]", "All tokens: 0.15 USD per 1,000,000 tokens"},
		{"no finite decimal for a million", "currency: USD\nlines: [{meter: tokens, price: '2', per: 3000}]", "All tokens: 2.00 USD per 3,000 tokens"},
		{"to the last digit", "currency: USD\nlines: [{meter: tokens, price: '0.000000000000000001', per: 7812500}]", "All tokens: 0.000000000000000000128 USD per 1,000,000 tokens"},
		{"free and others", "currency: EUR\nlines: [{name: out, meter: tokens, when: {class: [output, reasoning]}, free: true}, {meter: tokens, price: '3', per: 1000}, {meter: requests, price: '0.01', per: 1000}]", `
			Output, Reasoning: free
			Other tokens: 3000.00 EUR per 1,000,000 tokens
			Requests: 0.01 EUR per 1,000 requests`},
		{"flat", "currency: CNY\nlines: [{name: base, pricing: flat, price: '99'}, {name: support, pricing: flat, price: '20.505', in_advance: true}]", `
			base: 99.00 CNY a billing period
			support: 20.505 CNY a billing period; due when the period opens`},
		{"graduated", "currency: USD\nlines: [{meter: tokens, pricing: graduated, tiers: [{up_to: 1000000, price: '0.5', flat: '5'}, {up_to: 2000000.5, price: '0.25'}, {flat: '1'}]}]", ""},
		{"graduated tokens", "currency: USD\nlines: [{meter: tokens, pricing: graduated, tiers: [{up_to: 1000000, price: '0.0000005', flat: '5'}, {up_to: 20000000, price: '0.00000025'}, {price: '0.0000001'}]}]",
			"All tokens: up to 1,000,000 0.50 USD per 1,000,000 tokens + 5.00 once reached; above 1,000,000, up to 20,000,000 0.25 USD per 1,000,000 tokens; above 20,000,000 0.10 USD per 1,000,000 tokens; Each tier's price is for the units within that tier."},
		{"volume", "currency: USD\nlines: [{meter: images, pricing: volume, tiers: [{up_to: 100, price: '0.10'}, {price: '0.05'}]}]",
			"Images: up to 100 0.10 USD per image; above 100 0.05 USD per image; All units of a period cost what the tier says that their total reaches."},
		{"package", "currency: USD\nlines: [{meter: images, pricing: package, price: '2', per: 1000, allowance: 50}]", "Images: 2.00 USD per started package of 1,000; 50 units of each period are free"},
		{"percentage, dynamic", "currency: USD\nlines: [{meter: sales, pricing: percentage, percent: '2.9'}, {meter: gpu_minutes, pricing: dynamic, per: 60}]", `
			sales: 2.9 % of the amount
			gpu_minutes: price of the event per 60`},
		{"units of capabilities", "currency: USD\nlines: [{meter: characters, price: '0.000005'}, {meter: audio_seconds, price: '0.006', per: 60}, {meter: images, price: '1', per: 1000}, {meter: messages, price: '0.002'}, {meter: requests, price: '0.00005'}]", `
			Characters: 5.00 USD per 1,000,000 characters
			Audio: 0.006 USD per minute of audio
			Images: 1.00 USD per 1,000 images
			Messages: 0.002 USD per message
			Requests: 0.00005 USD per request`},
		{"sound by the second", "currency: USD\nlines: [{meter: audio_seconds, price: '0.36', per: 3600, allowance: 7200, discount: {usage: 30}}]",
			"Audio: 0.0001 USD per second of audio; 30 seconds of each period are taken off; 7,200 seconds of each period are free"},
		{"no finite decimal for a second", "currency: USD\nlines: [{meter: audio_seconds, price: '1', per: 3600}]", "Audio: 1.00 USD per 3,600 seconds of audio"},
		{"sound in tiers", "currency: USD\nlines: [{meter: audio_seconds, pricing: graduated, tiers: [{up_to: 3600, price: '0.0002'}, {price: '0.0001'}]}]",
			"Audio: up to 3,600 s 0.0002 USD per second of audio; above 3,600 s 0.0001 USD per second of audio; Each tier's price is for the units within that tier."},
		{"sound in packages", "currency: USD\nlines: [{meter: audio_seconds, pricing: package, price: '1', per: 3600}]", "Audio: 1.00 USD per started package of 3,600 s"},
		{"no finite decimal for a million characters", "currency: USD\nlines: [{meter: characters, price: '2', per: 3000}, {name: eu, meter: characters, when: {region: eu}, free: true}]", `
			Characters: 2.00 USD per 3,000 characters
			Characters [in eu]: free`},
		{"conditions", "currency: USD\nlines: [{name: night, meter: images, when: {model: [a/b, c], resolution: 4k, region: eu, hours: '22:00-06:00', days: [sat, sun], zone: Asia/Shanghai}, price: '0.1'}, {name: week, meter: images, when: {days: mon}, price: '1'}]", `
			Images [for a/b, c · at 4k · in eu · Sat, Sun 22:00–06:00 (Asia/Shanghai)]: 0.10 USD per image
			Images [Mon (UTC)]: 1.00 USD per image`},
		{"reductions", "currency: USD\nminimum: '10'\nmaximum: '5000'\ncommitment: {amount: '100', overage_percent: '80', no_true_up: true}\nlines: [{meter: m, price: '0.10', allowance: 2000, discount: {usage_percent: '10', usage: 100, amount: '10', percent: '20'}, minimum: '1', maximum: '2'}]", `
			m: 0.10 USD each; 10 % of the units are not charged; 100 units of each period are taken off; 2,000 units of each period are free; 10 off in each period; 20 % off the price; at least 1.00 USD in each period; at most 2.00 USD in each period
			All together: 100.00 USD committed for each period
			All together: beyond the commitment 80 % of the price
			All together: what is not used of the commitment is not charged
			All together: at least 10.00 USD in each period
			All together: at most 5,000.00 USD in each period`},
	} {
		t.Run(c.name, func(t *testing.T) {
			card, err := rating.ParseCard([]byte(c.card))
			if c.want == "" {
				if err == nil {
					t.Fatal("the card should be refused: the test is not what it seems")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(strings.TrimSpace(c.want)) {
				want = append(want, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(want, prices(card, "en").lines("en")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPricesOfExamples shows every card of the examples in both languages: nothing is missing a text.
func TestPricesOfExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/cards/*.card.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cards: %v", err)
	}
	for _, f := range files {
		card := must(rating.ParseCard(must(os.ReadFile(f))))
		for _, lang := range languages {
			l := prices(card, lang)
			for _, line := range l.lines(lang) {
				if strings.Contains(line, "price.") || strings.Contains(line, "%!") {
					t.Errorf("%s: %s", f, line)
				}
			}
			if l.Left() > 0 && len(l.Short().Rows) != onCard {
				t.Errorf("%s: %d rows on a card", f, len(l.Short().Rows))
			}
		}
	}
}

// TestNamedTexts checks the texts whose ids are made of values.
func TestNamedTexts(t *testing.T) {
	var ids []string
	for i := range rating.Requests {
		ids = append(ids, "price.class."+rating.ClassName(i))
	}
	for _, d := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		ids = append(ids, "price.day."+d)
	}
	for _, m := range []string{"text", "image", "audio", "video", "file", "vector"} {
		ids = append(ids, "modality."+m)
	}
	for _, c := range catalog.Capabilities {
		ids = append(ids, "capability."+string(c))
		if m := c.Meter(); m != "" {
			ids = append(ids, "price.meter."+m)
		}
	}
	for _, l := range translated {
		ids = append(ids, "language."+l)
	}
	for meter, u := range units {
		ids = append(ids, "price."+u[0], "price."+u[1])
		if meter != rating.MeterTokens {
			ids = append(ids, "price.meter."+meter)
		}
	}
	for _, r := range ruleKeys {
		ids = append(ids, "rule."+r)
	}
	for _, id := range ids {
		if texts()[id] == nil {
			t.Errorf("there is no text %s", id)
		}
	}
}

func TestGroupDigits(t *testing.T) {
	for in, want := range map[string]string{"0": "0", "999": "999", "1000": "1,000", "1234567.8901": "1,234,567.8901", "-1000": "-1,000", "": ""} {
		if got := groupDigits(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
