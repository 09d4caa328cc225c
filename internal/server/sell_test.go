package server

import (
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/rating"
)

func twoTargets(first, second string) []catalog.TargetInput {
	return []catalog.TargetInput{{Upstream: "upstream", UpstreamModel: first}, {Upstream: "upstream", UpstreamModel: second, Priority: 1}}
}

// sell publishes a product of the given name and card, answered by the upstream's model "fake", and returns a
// key of the demo's consumer.
func (x *testApp) sell(name string, card *rating.Card) string {
	x.t.Helper()
	return x.sellAt(name, "upstream", "fake", card)
}

// sellAt is sell with a choice of the upstream and its model.
func (x *testApp) sellAt(name, upstream, model string, card *rating.Card) string {
	x.t.Helper()
	err := x.DB.Update(x.t.Context(), func(tx *db.Tx) error {
		o, err := org.ByNameTx(tx, demoProvider)
		if err != nil {
			return err
		}
		p, err := x.Catalog.CreateProductTx(tx, demoActor, o.ID, catalog.ProductInput{Name: name, Model: name, MaxOutput: 100})
		if err != nil {
			return err
		}
		if p, err = x.Catalog.CreateVersionTx(tx, demoActor, p.ID, p.Revision, catalog.VersionInput{Name: "v1", Targets: []catalog.TargetInput{{Upstream: upstream, UpstreamModel: model}}}); err != nil {
			return err
		}
		if p, err = x.Catalog.SetReleaseTx(tx, demoActor, p.ID, p.Revision, []catalog.ReleaseInput{{Version: "v1", Release: catalog.Stable, Share: 100}}); err != nil {
			return err
		}
		pl, err := x.Plans.CreatePlanTx(tx, demoActor, p.ID, plan.Input{Name: "payg", Public: true, AutoSubscribe: true, Card: card})
		if err != nil {
			return err
		}
		if _, err = x.Plans.PublishPlanTx(tx, demoActor, pl.ID, pl.Revision, demoCommissionPPM); err != nil {
			return err
		}
		_, err = x.Plans.PublishProductTx(tx, demoActor, p.ID, p.Revision)
		return err
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return x.newKeyWith(auth.Draft{})
}
