package rating

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tollgate-io/tollgate/internal/problem"
)

var update = flag.Bool("update", false, "write the reports beside the examples anew")

// TestExamples rates every card of examples/cards and compares with the report beside it.
func TestExamples(t *testing.T) {
	cardFiles, err := filepath.Glob("../../examples/cards/*.card.yaml")
	if err != nil || len(cardFiles) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, name := range cardFiles {
		base := strings.TrimSuffix(name, ".card.yaml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			report, err := RunFiles(read(t, name), read(t, base+".usage.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			enc := json.NewEncoder(&got)
			enc.SetIndent("", "  ")
			if err := enc.Encode(report); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(base+".report.json", got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, base+".report.json")), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestManual runs the manual: each ```yaml block is a card, the ```rate block after it a script.
func TestManual(t *testing.T) {
	fence := regexp.MustCompile("(?s)```(yaml|rate)\n(.*?)```")
	var first []string
	for _, name := range []string{"../../docs/cards.md", "../../docs/cards.zh.md"} {
		var code []string
		var card string
		covered := map[Pricing]bool{}
		for _, m := range fence.FindAllStringSubmatch(string(read(t, name)), -1) {
			code = append(code, m[2])
			if m[1] == "yaml" {
				card = m[2]
				continue
			}
			parsed, err := ParseCard([]byte(card))
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, card)
			}
			for _, l := range parsed.Lines {
				covered[l.Pricing] = true
			}
			s := newScript(t, name, card)
			for _, text := range strings.Split(strings.TrimSpace(m[2]), "\n") {
				s.at = name + ": " + text
				s.run(text)
			}
			s.end()
		}
		for _, p := range pricings {
			if !covered[p] && !(p == PerUnit && covered[""]) {
				t.Errorf("%s has no example of %s", name, p)
			}
		}
		if first == nil {
			first = code
		} else if diff := cmp.Diff(stripComments(first), stripComments(code)); diff != "" {
			t.Errorf("the examples differ in the two languages: %s", diff)
		}
	}
}

func stripComments(blocks []string) (out []string) {
	comment := regexp.MustCompile(`(?m) *#.*$`)
	for _, b := range blocks {
		out = append(out, comment.ReplaceAllString(b, ""))
	}
	return out
}

// TestManualNamesEveryField: a field that a card may have is explained in both languages.
func TestManualNamesEveryField(t *testing.T) {
	_, err := ParseCard([]byte(`{"currency": "USD", "?": 1, "lines": [{"?": 1, "when": {"?": 1}, "tiers": [{"?": 1}], "discount": {"?": 1}, "commitment": {"?": 1}}]}`))
	quoted := regexp.MustCompile(`"([a-z_]+)"`)
	n := 0
	for _, fault := range faults(err) {
		_, known, _ := strings.Cut(fault, "is not a field here: ")
		for _, m := range quoted.FindAllStringSubmatch(known, -1) {
			n++
			for _, name := range []string{"../../docs/cards.md", "../../docs/cards.zh.md"} {
				if !strings.Contains(string(read(t, name)), "`"+m[1]+"`") {
					t.Errorf("%s does not explain %s", name, m[1])
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d fields found", n)
	}
}

func TestUsageFaults(t *testing.T) {
	card := read(t, "../../examples/cards/images.card.yaml")
	for _, tt := range []struct{ usage, want string }{
		{"", "is empty"},
		{"{}", "events: is missing"},
		{"events: []\nmore: 1", `more: is not a field here: ["events"]`},
		{"events: [{meter: images}]", "events[0].quantity: is missing"},
		{"events: [{quantity: 1}]", "events[0].meter: is missing: an event has a meter and a quantity, or tokens"},
		{"events: [{meter: images, quantity: -1}]", "events[0].quantity: -1 must not be negative"},
		{"events: [{meter: images, quantity: 1.5}]", `events[0].quantity: write it in quotes, so that it stays exact: "1.5"`},
		{"events: [{meter: images, quantity: 1000000000000000000}]", "events[0].quantity: 1000000000000000000 is too large"},
		{"events: [{meter: images, quantity: 1, time: yesterday}]", `events[0].time: "yesterday" is not a time like "2026-01-31T09:30:00Z"`},
		{"events: [{meter: images, quantity: 1, tokens: {input: 1}}]", "events[0].tokens: an event has tokens, or a meter and a quantity, not both"},
		{"events: [{tokens: {input: -1}}]", "events[0].tokens.input: must be a whole number of tokens"},
		{"events: [{tokens: {input: '1'}}]", "events[0].tokens.input: must be a whole number of tokens"},
		{"events: [{tokens: {words: 1}}]", "events[0].tokens.words: is not a field here"},
		{"events: [{meter: images, quantity: 1, dims: {colour: red}}]", "events[0].dims.colour: is not a field here"},
		{"events: [{meter: images, quantity: 1}, {meter: songs, quantity: 1}]", "events[1]: the rate card has no price for songs"},
		{"events: [{tokens: {input: 1}}]", "events[0]: the rate card has no price for tokens input"},
		{"events: [{meter: images, quantity: 999999999999999999}]", "events[0]: the amount is too large to be represented"},
	} {
		_, err := RunFiles(card, []byte(tt.usage))
		if err == nil || !strings.Contains(faults(err)[0], tt.want) {
			t.Errorf("%s: %v, want %s", tt.usage, err, tt.want)
		}
		if problem.As(err).Kind == problem.Internal {
			t.Errorf("%s: not fit for the author: %v", tt.usage, err)
		}
	}
	if _, err := RunFiles([]byte("currency: USD"), nil); err == nil {
		t.Error("a bad card was accepted")
	}
	if _, err := RunFiles(card, make([]byte, MaxUsageBytes+1)); !problem.Is(err, problem.TooLarge) {
		t.Errorf("a huge file: %v", err)
	}
}
