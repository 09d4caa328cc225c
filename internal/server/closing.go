package server

import (
	"context"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/settle"
)

// contracts pages through the subscriptions for the closing of their periods.
func (a *App) contracts(ctx context.Context, after string, limit int) (list []settle.Contract, more bool, err error) {
	subs, more, err := a.Plans.Subscriptions(ctx, plan.SubscriptionFilter{}, after, limit)
	if err != nil {
		return nil, false, err
	}
	providers := map[string]string{} // by plan
	for _, s := range subs {
		if providers[s.PlanID] == "" {
			p, err := a.Plans.Plan(ctx, s.PlanID)
			if err != nil {
				return nil, false, err
			}
			providers[s.PlanID] = p.ProviderID
		}
		version, err := db.ParseID(s.PlanVersionID, plan.PrefixVersion)
		if err != nil {
			return nil, false, err
		}
		zone, err := time.LoadLocation(s.Zone)
		if err != nil {
			return nil, false, err
		}
		list = append(list, settle.Contract{Subscription: s.ID, Org: s.OrgID, Provider: providers[s.PlanID], PlanVersion: version,
			Started: s.Started, Ended: s.Ended,
			Period: func(at time.Time) (time.Time, time.Time) { return plan.Period(s.Anchor, zone, at) }})
	}
	return list, more, nil
}
