package web

import (
	"fmt"
	"net/http"
	"strings"
)

// maxTold is how many products /llms.txt tells of; the rest is found through the API.
const maxTold = 500

// llms serves /llms.txt: the platform described to programs that read.
func (s *site) llms(w http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	fmt.Fprintf(&b, `# Tollgate

> A marketplace for AI APIs: models, translation, language, speech, vision, customer service, recommendation. Everything is called with one key, models and speech in OpenAI's shape; every call is metered in its natural unit, priced by a published rate card and settled.

## Calling

- Base URL: %[1]s/v1
- Credential: Authorization: Bearer sk-tg-inf-… (an inference key; an organisation makes it with "tollgate key create" or the management API)
- Endpoints, OpenAI shape: POST /v1/chat/completions (streaming too), POST /v1/embeddings, GET /v1/models
- Record of a call: GET /v1/generations/{id}, where id is the x-request-id header of its answer
- Cost: usage.cost and usage.currency in the answer, header x-tollgate-cost when not streaming; with stream_options.include_usage in the last event
- Model names: the id below, or provider/model to name the seller
- Capabilities: the paths below, JSON (files as multipart/form-data); the field "model" (or ?model=) names the product and may be left out where only one answers; headers x-tollgate-units and x-tollgate-cost tell what was used and charged
- Errors, OpenAI shape, of capabilities application/problem+json: 400 malformed, 401 key, 402 credit or budget exhausted (do not retry), 403 not subscribed, 404 unknown model, 429 with Retry-After, 502/503/504 upstream (503 also where an engine is not installed or a larger model is needed; the text says which)

## Capabilities

%[2]s
## Managing

- [Management API, OpenAPI 3.1](%[1]s/api/openapi.json): organisations, keys, products, plans, subscriptions, wallet, usage; credential sk-tg-mgt-…
- [Catalogue as JSON](%[1]s/api/v1/catalogue)

## Products

`, s.PublicURL, capabilityLines())
	items := s.shelf.get(s.Book).items
	if len(items) == 0 {
		b.WriteString("Nothing is on sale yet.\n")
	}
	for _, it := range items[:min(len(items), maxTold)] {
		p := it.Product
		fmt.Fprintf(&b, "### %s\n\n- Title: %s\n- Provider: %s\n", oneLine(it.Name), oneLine(it.Title("en")), it.Provider)
		if d := p.Description.In("en"); d != "" {
			fmt.Fprintf(&b, "- Description: %s\n", oneLine(d))
		}
		if it.Sandbox {
			b.WriteString("- Sandbox: no language model; it quotes the manual\n")
		}
		if !it.Available {
			b.WriteString("- Not available now\n")
		}
		caps := make([]string, len(p.Capabilities))
		for i, c := range p.Capabilities {
			caps[i] = string(c)
		}
		fmt.Fprintf(&b, "- Capabilities: %s\n", strings.Join(caps, ", "))
		if p.Context > 0 {
			fmt.Fprintf(&b, "- Context: %d tokens\n", p.Context)
		}
		if p.MaxOutput > 0 {
			fmt.Fprintf(&b, "- Largest answer: %d tokens\n", p.MaxOutput)
		}
		for _, m := range s.measurements(it) {
			fmt.Fprintf(&b, "- Measured: %s\n", oneLine(m.line()))
		}
		for _, e := range s.engines(it) {
			if !e.Ready {
				fmt.Fprintf(&b, "- Not installed: %s\n", oneLine(strings.TrimSpace(e.Engine+" "+strings.Join(e.Models, ", "))))
			}
		}
		for _, pl := range it.Plans {
			fmt.Fprintf(&b, "- Price, plan %s/%s/%s:\n", it.Provider, p.Name, pl.Name)
			for _, line := range prices(pl.Current.Card, "en").lines("en") {
				fmt.Fprintf(&b, "  - %s\n", oneLine(line))
			}
		}
		fmt.Fprintf(&b, "- [OpenAPI definition](%s%s/definition)\n\n", s.PublicURL, it.Href())
	}
	if len(items) > maxTold {
		fmt.Fprintf(&b, "%d more: see the catalogue.\n", len(items)-maxTold)
	}
	plain(w, r, "text/plain; charset=utf-8", b.String())
}

// capabilityLines lists the main paths of each capability, and the unit that it is metered in.
func capabilityLines() string {
	var b strings.Builder
	for _, c := range told() {
		fmt.Fprintf(&b, "- %s (%s; metered in %s): %s\n", c, contracts[c].about, strings.ReplaceAll(c.Meter(), "_", " "), strings.Join(contracts[c].paths, ", "))
	}
	return b.String()
}

// line is a report for programs.
func (m *measured) line() string {
	var figures []string
	for _, f := range m.Figures {
		figures = append(figures, f.Name+" "+f.Value)
	}
	engine := m.Engine + " " + m.Version
	if m.Model != "" {
		engine += ", " + m.Model
	}
	if m.Gloss {
		engine += ", a dictionary gloss"
	}
	return fmt.Sprintf("%s: %s (%s; %s, %d samples, %s) %s", m.Task, strings.Join(figures, ", "), engine, m.Data, m.Samples, m.Date, m.Note)
}

// oneLine keeps a provider's text from looking like more than one line of ours.
func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " "), 500) }
