package server

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/engine/recommend"
	"github.com/tollgate-io/tollgate/internal/job"
	"github.com/tollgate-io/tollgate/internal/plan"
)

// The catalogue's "you may also need" is the recommendation engine on the platform's own data: what is on sale, and who
// has subscribed to what.

// Where the platform keeps it: an owner that is no organisation, so that no caller can name it.
const (
	relatedOwner = "platform"
	relatedSpace = "catalogue"
	relatedEvery = 30 * time.Second
	relatedMost  = 4
	relatedTime  = 300 * time.Millisecond // a page does not wait longer
)

// followCatalogue brings the space up to date; it runs on the leader.
func (a *App) followCatalogue(ctx context.Context, _ job.Lease) (bool, error) {
	r := a.engines.recommend
	if err := r.Ensure(ctx, relatedOwner, relatedSpace, "shop"); err != nil {
		return false, err
	}
	var items []recommend.Item
	for _, s := range a.Book.OnSale() {
		items = append(items, itemOf(s.Product))
	}
	for ; len(items) > 0; items = items[min(500, len(items)):] {
		if err := r.Upsert(ctx, relatedOwner, relatedSpace, items[:min(500, len(items))]...); err != nil {
			return false, err
		}
	}
	return false, a.followSubscriptions(ctx)
}

// itemOf is a product as an item. Whatever a provider has written must do: one item that is refused would hold up all.
func itemOf(p *catalog.Product) recommend.Item {
	title := cmp.Or(strings.TrimSpace(p.Title.In("en")), p.Model)
	text := p.Title.Zh + " " + p.Description.En + " " + p.Description.Zh
	it := recommend.Item{ID: p.ID, Title: first(title, recommend.MaxTitle), Text: first(text, recommend.MaxText), Published: &p.Published}
	for _, c := range p.Capabilities {
		it.Tags = append(it.Tags, string(c))
	}
	if len(p.Capabilities) > 0 {
		it.Category = string(p.Capabilities[0])
	}
	return it
}

// first are the first n characters of s, at most.
func first(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// followSubscriptions records the subscriptions made since the last look; each counts once by its id.
func (a *App) followSubscriptions(ctx context.Context) error {
	for {
		page, more, err := a.Plans.Subscriptions(ctx, plan.SubscriptionFilter{}, a.seenSubscription, 500)
		if err != nil || len(page) == 0 {
			return err
		}
		events := make([]recommend.Event, len(page))
		for i, s := range page {
			events[i] = recommend.Event{ID: s.ID, User: s.OrgID, Item: s.ProductID, Type: "purchase", Time: &s.Started}
		}
		if _, err := a.engines.recommend.Record(ctx, relatedOwner, relatedSpace, events...); err != nil {
			return err
		}
		a.seenSubscription = page[len(page)-1].ID
		if !more {
			return nil
		}
	}
}

// related are the products that readers of a product's page may also need. A page does without where the engine has no
// answer at once.
func (a *App) related(ctx context.Context, product string) []string {
	ctx, cancel := context.WithTimeout(ctx, relatedTime)
	defer cancel()
	items, err := a.engines.recommend.Similar(ctx, relatedOwner, relatedSpace, product, "", relatedMost)
	if err != nil {
		a.Log.Debug("no related products", "product", product, "error", err)
		return nil
	}
	ids := make([]string, len(items))
	for i := range items {
		ids[i] = items[i].ID
	}
	return ids
}

// behind tells of the models that an upstream builtin://name has.
func (a *App) behind(name string) []engine.Info {
	if name == "vectors" {
		name = "text"
	}
	if d, ok := a.mounts[name].(engine.Describer); ok {
		return d.Describe()
	}
	return nil
}
