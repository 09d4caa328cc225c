package translate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// qualityModel is a translation by a larger model, whose quality is that model's.
const qualityModel = "model"

// upstreamKey finds the larger model in a call's context.
type upstreamKey struct{}

// withUpstream has the call translated by the larger model that its product is connected to. What surrounds the
// translation stays here: documents, glossary, memory.
func withUpstream(ctx context.Context, r *engine.Request) context.Context {
	if r.Upstream == nil {
		return ctx
	}
	return context.WithValue(ctx, upstreamKey{}, &upstream{r.Upstream, r.Model})
}

// upstreamOf is the larger model of the call, or nil.
func upstreamOf(ctx context.Context) *upstream {
	u, _ := ctx.Value(upstreamKey{}).(*upstream)
	return u
}

// upstream is the machine behind a product that is connected to a larger model.
type upstream struct {
	ask   func(ctx context.Context, operation string, body []byte) ([]byte, error)
	model string
}

func (u *upstream) name() string                  { return "upstream" }
func (u *upstream) pairs() []pair                 { return nil }
func (u *upstream) honours(p pair, h string) bool { return true }
func (u *upstream) route(from, to string) route   { return route{{from, to, u.model, qualityModel, u}} }

// Bounds of one request to the upstream.
const (
	upstreamTexts      = 50
	upstreamCharacters = 8000
)

func (u *upstream) translate(ctx context.Context, p pair, in []input, h hints) ([]string, error) {
	out := make([]string, 0, len(in))
	for len(in) > 0 {
		n, size := 0, 0
		texts := make([]string, 0, upstreamTexts)
		for n < len(in) && n < upstreamTexts && (n == 0 || size+utf8.RuneCountInString(in[n].text) <= upstreamCharacters) {
			size += utf8.RuneCountInString(in[n].text)
			texts = append(texts, in[n].text)
			n++
		}
		got, err := u.some(ctx, p, texts, h)
		if err != nil {
			return nil, err
		}
		out, in = append(out, got...), in[n:]
	}
	return out, nil
}

func (u *upstream) some(ctx context.Context, p pair, texts []string, h hints) ([]string, error) {
	ask := map[string]any{"texts": texts, "source": p.from, "target": p.to}
	if h.context != "" {
		ask["context"] = h.context
	}
	if h.formality != "" {
		ask["formality"] = h.formality
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	answer, err := u.ask(ctx, "translate", body)
	if err != nil {
		return nil, err
	}
	var a struct {
		Translations []struct {
			Text string `json:"text"`
		} `json:"translations"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("translate: the upstream's answer: %w", err)
	}
	if len(a.Translations) != len(texts) {
		return nil, errors.New("translate: the upstream left texts out")
	}
	out := make([]string, len(texts))
	for i, t := range a.Translations {
		out[i] = t.Text
	}
	return out, nil
}
