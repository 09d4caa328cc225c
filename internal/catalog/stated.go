package catalog

import "slices"

// Stated returns what the provider states of the upstream, as it would be entered anew.
func (u *Upstream) Stated() UpstreamInput {
	return UpstreamInput{Name: u.Name, URL: u.URL, Dialect: u.Dialect, Timeouts: u.Timeouts}
}

// Stated returns what the provider states of the product, as it would be entered anew. The definition
// is there only where the product was read by itself.
func (p *Product) Stated() ProductInput {
	return ProductInput{Name: p.Name, Kind: p.Kind, Title: p.Title, Description: p.Description, Model: p.Model,
		Capabilities: slices.Clone(p.Capabilities), Input: slices.Clone(p.Input), Output: slices.Clone(p.Output),
		Context: p.Context, MaxOutput: p.MaxOutput, Definition: p.definition}
}
