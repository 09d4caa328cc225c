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

> A marketplace for AI APIs. Models are called through one OpenAI-compatible API with one key; every call is metered by token class, priced by a published rate card and settled.

## Calling

- Base URL: %[1]s/v1
- Credential: Authorization: Bearer sk-tg-inf-… (an inference key; an organisation makes it with "tollgate key create" or the management API)
- Endpoints, OpenAI shape: POST /v1/chat/completions (streaming too), POST /v1/embeddings, GET /v1/models
- Record of a call: GET /v1/generations/{id}, where id is the x-request-id header of its answer
- Cost: usage.cost and usage.currency in the answer, header x-tollgate-cost when not streaming; with stream_options.include_usage in the last event
- Model names: the id below, or provider/model to name the seller
- Errors, OpenAI shape: 400 malformed, 401 key, 402 credit or budget exhausted (do not retry), 403 not subscribed, 404 unknown model, 429 with Retry-After, 502/503/504 upstream

## Managing

- [Management API, OpenAPI 3.1](%[1]s/api/openapi.json): organisations, keys, products, plans, subscriptions, wallet, usage; credential sk-tg-mgt-…
- [Catalogue as JSON](%[1]s/api/v1/catalogue)

## Models

`, s.PublicURL)
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

// oneLine keeps a provider's text from looking like more than one line of ours.
func oneLine(s string) string { return clip(strings.Join(strings.Fields(s), " "), 500) }
