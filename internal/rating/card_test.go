package rating

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// faults renders what is wrong with a card as "path: detail" lines.
func faults(err error) []string {
	var e *problem.Error
	if !errors.As(err, &e) {
		return []string{fmt.Sprint(err)}
	}
	if len(e.Fields) == 0 {
		return []string{e.Detail}
	}
	var out []string
	for _, f := range e.Fields {
		out = append(out, f.Path+": "+f.Detail)
	}
	return out
}

// TestFaults has a card for every fault, and what the author of the card is told. A line of the
// table is the card's lines, unless it begins with a letter: then it is the card.
func TestFaults(t *testing.T) {
	for _, tt := range []struct{ name, card, want string }{
		// Shape.
		{"nothing", "currency: USD", "lines: a card has 1 to 500 lines, not 0"},
		{"no card", `text`, ": must be a set of fields, not a text"},
		{"unknown field", `[{meter: a, price: "1", colour: red}]`, `lines[0].colour: is not a field here: ["allowance" `},
		{"misspelt field of a tier", `[{meter: a, pricing: volume, tiers: [{upto: 5, price: "1"}]}]`, `lines[0].tiers[0].upto: is not a field here: ["flat" "price" "up_to"]`},
		{"field twice", `[{meter: a, price: "1", price: "2"}]`, "lines[0].price: is given twice"},
		{"field without a value", `[{meter: a, price: }]`, "lines[0].price: has no value"},
		{"text for a list", `many`, "lines: must be a list, not a text"},
		{"list for a text", `[{meter: [a], price: "1"}]`, "lines[0].meter: must be a text, not a list"},
		{"text for a flag", `[{meter: a, free: "true"}]`, "lines[0].free: must be true or false, not a text"},
		{"anchor", `[&x {meter: a, price: "1"}, *x]`, "the rate card is not valid YAML or JSON: line 2: anchors and aliases are not allowed"},
		{"merge", "[{<<: {meter: a}, price: '1'}]", "the rate card is not valid YAML or JSON: line 2: a field's name must be a plain word"},
		{"tag", `[{meter: !!str 5, price: "1"}]`, "the rate card is not valid YAML or JSON: line 2: tags are not allowed"},
		{"two documents", "currency: USD\n---\ncurrency: USD", "the rate card is not valid YAML or JSON: has more than one YAML document"},
		{"depth", strings.Repeat("[", 50), "the rate card is not valid YAML or JSON: "},
		// Names.
		{"currency", "currency: usd\nlines: [{meter: a, price: '1'}]", `currency: "usd" is not an ISO 4217 currency code`},
		{"no meter", `[{price: "1"}]`, `lines[0].meter: "" is not a meter`},
		{"bad meter", `[{meter: A b, price: "1", name: x}]`, `lines[0].meter: "A b" is not a meter: use a-z, 0-9, _ and .`},
		{"bad name", `[{meter: a, name: "é", price: "1"}]`, `lines[0].name: "é" is not a name`},
		{"name twice", `[{meter: a, price: "1"}, {meter: a, price: "2"}]`, `lines[1].name: "a" is already the name of lines[0]: give each its own`},
		{"unknown pricing", `[{meter: a, pricing: cheap, price: "1"}]`, `lines[0].pricing: "cheap" is not one of per_unit, flat, graduated, volume, package, percentage, dynamic`},
		// Numbers.
		{"negative price", `[{meter: a, price: "-1"}]`, "lines[0].price: -1 must not be negative"},
		{"overflowing price", `[{meter: a, price: "9223372037"}]`, "lines[0].price: 9223372037 is too large"},
		{"enormous price", `[{meter: a, price: "` + strings.Repeat("9", 400) + `"}]`, "lines[0].price: " + strings.Repeat("9", 37) + "... is too large"},
		{"price with too many decimals", `[{meter: a, price: "0.0000000000000000001"}]`, "lines[0].price: 0.0000000000000000001 has more than 18 decimals"},
		{"price as a float", `[{meter: a, price: 0.15}]`, `lines[0].price: write it in quotes, so that it stays exact: "0.15"`},
		{"price as a word", `[{meter: a, price: "cheap"}]`, `lines[0].price: "cheap" is not a decimal number like "0.15"`},
		{"price with exponent", `[{meter: a, price: "1e3"}]`, `lines[0].price: "1e3" is not a decimal number like "0.15"`},
		{"infinite price", `[{meter: a, price: .inf}]`, `lines[0].price: write it in quotes, so that it stays exact: ".inf"`},
		{"empty price", `[{meter: a, price: ""}]`, "lines[0].price: is empty"},
		{"no price", `[{meter: a}]`, "lines[0].price: is missing: give it, or say free: true"},
		{"zero price", `[{meter: a, price: "0.00"}]`, "lines[0].price: is zero: say free: true instead"},
		{"free with a price", `[{meter: a, price: "1", free: true}]`, "lines[0].price: a free line has no price"},
		{"per zero", `[{meter: a, price: "1", per: 0}]`, "lines[0].per: 0 is not a whole number above zero"},
		{"per negative", `[{meter: a, price: "1", per: -5}]`, "lines[0].per: -5 is not from 1 to 1000000000000"},
		{"per too large", `[{meter: a, price: "1", per: 1000000000001}]`, "lines[0].per: 1000000000001 is not from 1 to 1000000000000"},
		{"per beyond int64", `[{meter: a, price: "1", per: 99999999999999999999}]`, "lines[0].per: 99999999999999999999 is not a whole number above zero"},
		{"per as hex", `[{meter: a, price: "1", per: 0x10}]`, "lines[0].per: 0x10 is not a whole number above zero"},
		{"fine allowance", `[{meter: a, price: "1", allowance: "0.0000000001"}]`, "lines[0].allowance: 0.0000000001 has more than 9 decimals"},
		{"fine minimum", `[{meter: a, price: "1", minimum: "0.0000000001"}]`, "lines[0].minimum: 0.0000000001 has more than 9 decimals"},
		{"overflowing minimum", `[{meter: a, price: "1", minimum: "9223372036.9"}]`, "lines[0].minimum: 9223372036.9 is too large"},
		{"overflowing flat price", `[{pricing: flat, price: "9223372036.854775808"}]`, "lines[0].price: 9223372036.854775808 is too large"},
		{"fine flat price", `[{pricing: flat, price: "0.0000000001"}]`, "lines[0].price: 0.0000000001 has more than 9 decimals"},
		// What each price model has.
		{"tiers of per unit", `[{meter: a, price: "1", tiers: [{price: "1"}]}]`, "lines[0].tiers: per_unit pricing has none"},
		{"price of tiers", `[{meter: a, pricing: volume, price: "1", tiers: [{price: "1"}]}]`, "lines[0].price: volume pricing has none"},
		{"percent of per unit", `[{meter: a, price: "1", percent: "1"}]`, "lines[0].percent: per_unit pricing has none"},
		{"per of percentage", `[{meter: a, pricing: percentage, percent: "1", per: 5}]`, "lines[0].per: percentage pricing has none"},
		{"percentage without percent", `[{meter: a, pricing: percentage}]`, "lines[0].percent: is missing: give it, or say free: true"},
		{"free dynamic", `[{meter: a, pricing: dynamic, free: true}]`, "lines[0].free: dynamic pricing has none"},
		{"price of dynamic", `[{meter: a, pricing: dynamic, price: "1"}]`, "lines[0].price: dynamic pricing has none"},
		{"usage percent of dynamic", `[{meter: a, pricing: dynamic, discount: {usage_percent: "1"}}]`, "lines[0].discount.usage_percent: dynamic pricing has none"},
		{"meter of flat", `[{meter: a, pricing: flat, price: "1"}]`, "lines[0].meter: a flat line has no meter and no conditions: its price does not depend on usage"},
		{"allowance of flat", `[{pricing: flat, price: "1", allowance: 5}]`, "lines[0].allowance: flat pricing has none"},
		{"usage in advance", `[{meter: a, price: "1", in_advance: true}]`, "lines[0].in_advance: only a flat line is due in advance"},
		// Tiers.
		{"no tiers", `[{meter: a, pricing: graduated}]`, "lines[0].tiers: a tiered line has 1 to 100 tiers, not 0"},
		{"bounded last tier", `[{meter: a, pricing: graduated, tiers: [{up_to: 5, price: "1"}]}]`, "lines[0].tiers[0].up_to: the last tier has no upper bound"},
		{"unbounded first tier", `[{meter: a, pricing: graduated, tiers: [{price: "1"}, {price: "2"}]}]`, "lines[0].tiers[0].up_to: is missing: only the last tier has no upper bound"},
		{"tiers out of order", `[{meter: a, pricing: graduated, tiers: [{up_to: 5, price: "1"}, {up_to: 5, price: "2"}, {price: "1"}]}]`, "lines[0].tiers[1].up_to: must be above 5, where the tier begins"},
		{"tier up to zero", `[{meter: a, pricing: graduated, tiers: [{up_to: 0, price: "1"}, {price: "1"}]}]`, "lines[0].tiers[0].up_to: must be above 0, where the tier begins"},
		{"tier without a price", `[{meter: a, pricing: graduated, tiers: [{up_to: 5}, {price: "1"}]}]`, "lines[0].tiers[0].price: is missing: a tier has a price, a flat fee or both"},
		{"tiers for nothing", `[{meter: a, pricing: graduated, tiers: [{up_to: 5, price: "0"}, {price: "0"}]}]`, "lines[0].tiers: every price is zero: use per_unit with free: true instead"},
		{"negative fee", `[{meter: a, pricing: graduated, tiers: [{price: "1", flat: "-2"}]}]`, "lines[0].tiers[0].flat: -2 must not be negative"},
		// Reductions, limits, commitments.
		{"empty discount", `[{meter: a, price: "1", discount: {}}]`, "lines[0].discount: is empty"},
		{"discount of everything", `[{meter: a, price: "1", discount: {percent: "100"}}]`, "lines[0].discount.percent: 100 is more than 99.9999"},
		{"fine discount", `[{meter: a, price: "1", discount: {percent: "0.00001"}}]`, "lines[0].discount.percent: 0.00001 has more than 4 decimals"},
		{"maximum below minimum", `[{meter: a, price: "1", minimum: "5", maximum: "4"}]`, "lines[0].maximum: is below the minimum"},
		{"card's maximum below minimum", "currency: USD\nminimum: '5'\nmaximum: '4'\nlines: [{meter: a, price: '1'}]", "maximum: is below the minimum"},
		{"commitment without amount", `[{meter: a, price: "1", commitment: {}}]`, "lines[0].commitment.amount: must be above zero"},
		{"overage beyond reason", `[{meter: a, price: "1", commitment: {amount: "1", overage_percent: "1001"}}]`, "lines[0].commitment.overage_percent: 1001 is more than 1000"},
		// Conditions.
		{"unknown class", `[{meter: tokens, when: {class: poetry}, price: "1"}]`, `lines[0].when.class: "poetry" is not a token class: input, cached_input, cache_write, output, reasoning, audio_input, audio_output`},
		{"class of another meter", `[{meter: a, when: {class: input}, price: "1"}]`, `lines[0].when.class: only the meter "tokens" has classes`},
		{"region twice", `[{meter: a, when: {region: [eu, eu]}, price: "1"}]`, `lines[0].when.region: "eu" is given twice`},
		{"too many regions", `[{meter: a, when: {region: [` + strings.Repeat("a, ", 100) + `b]}, price: "1"}]`, "lines[0].when.region: has more than 100 names"},
		{"empty region", `[{meter: a, when: {region: ""}, price: "1"}]`, `lines[0].when.region: "" is not a name`},
		{"no regions", `[{meter: a, when: {region: []}, price: "1"}]`, `lines[0].when.region: is empty`},
		{"hours", `[{meter: a, when: {hours: "8-10"}, price: "1"}]`, `lines[0].when.hours: "8-10" is not a window like "22:00-06:00"`},
		{"hours that are none", `[{meter: a, when: {hours: "08:00-08:00"}, price: "1"}]`, `lines[0].when.hours: "08:00-08:00" is not a window`},
		{"hours beyond the day", `[{meter: a, when: {hours: "24:00-25:00"}, price: "1"}]`, `lines[0].when.hours: "24:00-25:00" is not a window`},
		{"minutes", `[{meter: a, when: {hours: "08:60-09:00"}, price: "1"}]`, `lines[0].when.hours: "08:60-09:00" is not a window`},
		{"day", `[{meter: a, when: {days: [monday]}, price: "1"}]`, `lines[0].when.days: "monday" is not one of mon, tue, wed, thu, fri, sat, sun`},
		{"zone", `[{meter: a, when: {days: mon, zone: Mars/Base}, price: "1"}]`, `lines[0].when.zone: "Mars/Base" is not a time zone: use an IANA name like "Asia/Shanghai"`},
		{"the machine's zone", `[{meter: a, when: {days: mon, zone: Local}, price: "1"}]`, `lines[0].when.zone: "Local" is not a time zone`},
		{"zone alone", `[{meter: a, when: {zone: UTC}, price: "1"}]`, `lines[0].when.zone: needs hours or days`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			card := tt.card
			if strings.HasPrefix(card, "[") || card == "many" {
				card = "currency: USD\nlines: " + card
			}
			parsed, err := ParseCard([]byte(card))
			if err == nil {
				t.Fatalf("accepted: %+v", parsed)
			}
			got := faults(err)
			if len(got) != 1 || !strings.HasPrefix(got[0], tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if e := problem.As(err); e.Kind == problem.Internal || e.Text("zh") == e.Text("en") {
				t.Errorf("not fit for the author: %v", e)
			}
		})
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	_, err := ParseCard([]byte(`{"currency": "US", "lines": [{"meter": "a", "price": "-1"}, {"meter": "b", "price": "x", "per": -1}]}`))
	want := []string{
		`currency: "US" is not an ISO 4217 currency code`,
		`lines[0].price: -1 must not be negative`,
		`lines[1].per: -1 is not from 1 to 1000000000000`,
		`lines[1].price: "x" is not a decimal number like "0.15"`,
	}
	if diff := cmp.Diff(want, faults(err)); diff != "" {
		t.Error(diff)
	}
	lines := strings.Repeat(`{"meter": "a", "price": "-1"},`, 400)
	_, err = ParseCard([]byte(`{"currency": "USD", "lines": [` + lines[:len(lines)-1] + `]}`))
	if n := len(faults(err)); n != maxFaults {
		t.Errorf("%d faults told, want %d", n, maxFaults)
	}
}

func TestJSONFaults(t *testing.T) {
	for _, tt := range []struct{ card, want string }{
		{`{`, "ends in the middle"},
		{`{"currency": "USD"`, "ends in the middle"},
		{`{"currency": "USD"} x`, "has text after its end"},
		{`{"currency": "USD", "currency": "EUR", "lines": []}`, "currency: is given twice"},
		{`{"currency": 5}`, "currency: must be a text, not a number"},
		{`{"lines": [{"meter": "a", "price": 1.5}]}`, `lines[0].price: write it in quotes, so that it stays exact: "1.5"`},
		{`{"lines": [{"meter": "a", "price": null}]}`, "lines[0].price: has no value"},
		{`[]`, ": must be a set of fields, not a list"},
		{strings.Repeat(`[`, 100), "nested deeper than 20 levels"},
		{"{\"currency\": \"\xff\"}", "is not UTF-8"},
		{"", "is empty"},
	} {
		_, err := ParseCard([]byte(tt.card))
		if err == nil || !strings.Contains(faults(err)[0], tt.want) {
			t.Errorf("%s: %v, want %s", tt.card, err, tt.want)
		}
	}
	if _, err := ParseCard(make([]byte, MaxCardBytes+1)); !problem.Is(err, problem.TooLarge) {
		t.Errorf("a huge card: %v", err)
	}
}

const sample = `
currency: USD
commitment: {amount: "10"}
minimum: "1"
maximum: "100.5"
lines:
  - meter: tokens
    when: {class: [input, cached_input], model: acme/large, hours: "22:00-06:00", days: [sat, sun], zone: Asia/Shanghai}
    price: "0.150"
    per: 1000000
    allowance: 1000
    discount: {percent: "5"}
  - {meter: storage, pricing: graduated, tiers: [{up_to: 10, price: "1"}, {flat: "2"}]}
  - {pricing: flat, price: "5", in_advance: true}
`

func TestCardRoundTrip(t *testing.T) {
	card, err := ParseCard([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(card)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseCard(out)
	if diff := cmp.Diff(card, again); diff != "" || err != nil {
		t.Errorf("JSON: %v %s", err, diff)
	}
	if out, err = yaml.Marshal(card); err != nil {
		t.Fatal(err)
	}
	if again, err = ParseCard(out); err != nil || !cmp.Equal(card, again) {
		t.Errorf("YAML: %v %s\n%s", err, cmp.Diff(card, again), out)
	}
	var inJSON struct{ Card Card }
	if err := json.Unmarshal([]byte(`{"Card": {"currency": "USD", "colour": 1}}`), &inJSON); err == nil {
		t.Error("an unknown field inside a document was accepted")
	}
	var inYAML struct{ Card Card }
	if err := yaml.Unmarshal([]byte("card:"+strings.ReplaceAll(sample, "\n", "\n  ")), &inYAML); err != nil || !cmp.Equal(*card, inYAML.Card) {
		t.Errorf("card inside YAML: %v %s", err, cmp.Diff(*card, inYAML.Card))
	}
	if err := yaml.Unmarshal([]byte("card: {currency: USD, colour: 1}"), &inYAML); err == nil {
		t.Error("an unknown field inside YAML was accepted")
	}
}

func TestDrawnCardsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		card := cards(usual).Draw(t, "card")
		out, err := json.Marshal(card)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseCard(out)
		if diff := cmp.Diff(card, again); diff != "" || err != nil {
			t.Fatalf("%v %s", err, diff)
		}
	})
}

func TestNames(t *testing.T) {
	card, err := ParseCard([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	c := compiled(t, card)
	if diff := cmp.Diff([]string{"tokens", "storage", "flat"}, c.Lines()); diff != "" {
		t.Error(diff)
	}
	if c.Currency() != "USD" || ClassName(CacheWrite) != "cache_write" || ClassName(Requests) != "requests" {
		t.Error("names")
	}
}

func TestValidateForModel(t *testing.T) {
	const in, out = `{meter: tokens, when: {class: input}, price: "1"}, `, `{meter: tokens, when: {class: output}, price: "1"}`
	for _, tt := range []struct{ name, lines, want string }{
		{"both", in + out, ""},
		{"one for all", `{meter: tokens, price: "1"}`, ""},
		{"free by declaration", in + `{meter: tokens, when: {class: output}, free: true}`, ""},
		{"no output", in, "no line prices every output token"},
		{"no tokens at all", `{meter: requests, price: "1"}`, "no line prices every input token"},
		{"output only in the EU", in + `{meter: tokens, when: {class: output, region: eu}, price: "1"}`, "no line prices every output token"},
		{"output only at night", in + `{meter: tokens, when: {class: output, hours: "22:00-06:00"}, price: "1"}`, "no line prices every output token"},
		{"output at night and else", in + `{meter: tokens, name: night, when: {class: output, hours: "22:00-06:00"}, price: "1"}, ` + out, ""},
		{"dynamic", in + `{meter: tokens, when: {class: output}, pricing: dynamic}`, "dynamic cannot price tokens"},
		{"unbounded", in + `{meter: tokens, when: {class: output}, pricing: volume, tiers: [{up_to: 100000000000000000, price: "1"}, {price: "9000000000"}]}`, "could cost more than can be represented"},
	} {
		card, err := ParseCard([]byte("currency: USD\nlines: [" + strings.TrimSuffix(tt.lines, ", ") + "]"))
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		err = card.ValidateForModel()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if (&Card{}).ValidateForModel() == nil {
		t.Error("an empty card is valid")
	}
}
