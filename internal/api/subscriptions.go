package api

import (
	"context"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
)

type subscriptionView struct {
	ID             string     `json:"id"`
	OrganisationID string     `json:"organisation_id" doc:"The consumer"`
	Plan           string     `json:"plan" example:"acme/chat/payg"`
	PlanID         string     `json:"plan_id"`
	PlanVersionID  string     `json:"plan_version_id" doc:"Whose prices and terms hold"`
	ProductID      string     `json:"product_id"`
	Currency       string     `json:"currency"`
	State          string     `json:"state" enum:"active,suspended,ended"`
	Reason         string     `json:"reason,omitempty"`
	Auto           bool       `json:"auto" doc:"Made by the first call"`
	Zone           string     `json:"zone" doc:"IANA name that billing periods follow"`
	Anchor         time.Time  `json:"anchor" doc:"Billing periods begin on its day of the month and time of day"`
	Started        time.Time  `json:"started"`
	Ended          time.Time  `json:"ended,omitzero"`
	Updated        time.Time  `json:"updated"`
	Terms          *Agreement `json:"terms,omitempty" doc:"What was agreed; not in lists"`
}

// Agreement is a plan version as its consumer sees it.
type Agreement struct {
	Number   int64        `json:"number"`
	Currency string       `json:"currency"`
	Card     *rating.Card `json:"card"`
	Limits   plan.Limits  `json:"limits"`
	Terms    string       `json:"terms,omitempty"`
}

func showTerms(v *plan.Version) *Agreement {
	return &Agreement{Number: v.Number, Currency: v.Currency, Card: v.Card, Limits: v.Limits, Terms: v.Terms}
}

func (s *server) showSubscription(tx *db.Tx, x *plan.Subscription) (subscriptionView, error) {
	ref, err := s.reference(tx, x.PlanID)
	return subscriptionView{ID: x.ID, OrganisationID: x.OrgID, Plan: ref, PlanID: x.PlanID, PlanVersionID: x.PlanVersionID, ProductID: x.ProductID,
		Currency: x.Currency, State: string(x.State), Reason: x.Reason, Auto: x.Auto, Zone: x.Zone, Anchor: x.Anchor, Started: x.Started, Ended: x.Ended, Updated: x.Updated}, err
}

func (s *server) subscriptionObject(tx *db.Tx, x *plan.Subscription, err error) (*object[subscriptionView], error) {
	if err != nil {
		return nil, err
	}
	v, err := s.showSubscription(tx, x)
	if err != nil {
		return nil, err
	}
	version, err := s.Plans.VersionTx(tx, x.PlanVersionID)
	if err != nil {
		return nil, err
	}
	v.Terms = showTerms(version)
	return single(x.Revision, v), nil
}

type subscriptionInput struct {
	Plan   string    `json:"plan" minLength:"1" maxLength:"200" example:"acme/chat/payg" doc:"provider/product/plan, or the plan's id"`
	Zone   string    `json:"zone,omitempty" maxLength:"60" doc:"IANA name that billing periods follow; default UTC"`
	Anchor time.Time `json:"anchor,omitzero" doc:"Where billing periods begin; default now"`
}

// InSubscription is the input of an operation on a subscription.
type InSubscription struct {
	InOrg
	Subscription string `path:"subscription" maxLength:"60" doc:"Id of the subscription"`
}

type stateOfSubscription struct {
	InSubscription
	IfMatch
	Body *reason
}

// subscriptionAt finds a subscription that the caller may do the action to.
func (s *server) subscriptionAt(tx *db.Tx, c *call, in InSubscription, action auth.Action) (*plan.Subscription, error) {
	o, err := organisation(tx, c, in.Org, action)
	if err != nil {
		return nil, err
	}
	x, err := s.Plans.SubscriptionTx(tx, in.Subscription)
	if err == nil && x.OrgID != o.ID || problem.Is(err, problem.NotFound) {
		return nil, problem.New(problem.NotFound, "api.no_subscription", "the organisation %q has no subscription %q", o.Name, clip(in.Subscription))
	}
	return x, err
}

func (s *server) subscriptions() {
	const base = "/organisations/{org}/subscriptions"
	read(s, route("list-subscriptions", "GET "+base, "List an organisation's subscriptions"), s.listSubscriptions)
	change(s, route("create-subscription", "POST "+base, "Subscribe to a plan", tagged("subscriptions"), created),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Body subscriptionInput
		}) (*object[subscriptionView], error) {
			o, err := organisation(tx, c, in.Org, "subscription.create")
			if err != nil {
				return nil, err
			}
			p, given, err := s.planRef(tx, c, in.Body.Plan)
			if err != nil {
				return nil, err
			}
			x, err := s.Plans.SubscribeTx(tx, c.actor, o.ID, plan.SubscribeInput{PlanID: p.ID, Zone: in.Body.Zone, Anchor: in.Body.Anchor, Given: given})
			out, err := s.subscriptionObject(tx, x, err)
			if err != nil {
				return nil, err
			}
			out.Location = prefix + "/organisations/" + o.Name + "/subscriptions/" + x.ID
			return out, nil
		})
	view(s, route("get-subscription", "GET "+base+"/{subscription}", "Get a subscription", tagged("subscriptions")),
		func(tx *db.Tx, c *call, in *InSubscription) (*object[subscriptionView], error) {
			x, err := s.subscriptionAt(tx, c, *in, "subscription.read")
			return s.subscriptionObject(tx, x, err)
		})
	for _, v := range []struct {
		verb    string
		to      plan.State
		action  auth.Action
		summary string
	}{
		{"suspend", plan.Suspended, "subscription.suspend", "Suspend a subscription: its calls are refused"},
		{"resume", plan.Active, "subscription.resume", "End a subscription's suspension"},
		{"end", plan.Ended, "subscription.end", "End a subscription, for good"},
	} {
		change(s, route(v.verb+"-subscription", "POST "+base+"/{subscription}/"+v.verb, v.summary, tagged("subscriptions")),
			func(tx *db.Tx, c *call, in *stateOfSubscription) (*object[subscriptionView], error) {
				x, err := s.subscriptionAt(tx, c, in.InSubscription, v.action)
				if err != nil {
					return nil, err
				}
				rev, err := in.based(false)
				if err != nil {
					return nil, err
				}
				given := auth.Can(c.principal, "subscription.suspend", x.OrgID)
				x, err = s.Plans.SetSubscriptionStateTx(tx, c.actor, x.ID, rev, v.to, in.Body.text(), given)
				return s.subscriptionObject(tx, x, err)
			})
	}
	read(s, route("list-subscription-history", "GET "+base+"/{subscription}/history", "List the changes of a subscription's state, oldest first", tagged("subscriptions")),
		func(ctx context.Context, c *call, in *InSubscription) (*listOutput[plan.Change], error) {
			var x *plan.Subscription
			err := s.DB.View(ctx, func(tx *db.Tx) (err error) { x, err = s.subscriptionAt(tx, c, *in, "subscription.read"); return err })
			if err != nil {
				return nil, err
			}
			items, err := s.Plans.History(ctx, x.ID)
			return page(items, false, func(plan.Change) string { return "" }, func(v plan.Change) plan.Change { return v }), err
		})
}

func (s *server) listSubscriptions(ctx context.Context, c *call, in *struct {
	InOrg
	Page
	State string `query:"state" enum:"active,suspended,ended"`
}) (*listOutput[subscriptionView], error) {
	o, err := s.at(ctx, c, in.Org, "subscription.read")
	if err != nil {
		return nil, err
	}
	items, more, err := s.Plans.Subscriptions(ctx, plan.SubscriptionFilter{OrgID: o.ID, State: plan.State(in.State)}, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	out := page(items, more, func(x *plan.Subscription) string { return x.ID }, func(*plan.Subscription) subscriptionView { return subscriptionView{} })
	err = s.DB.View(ctx, func(tx *db.Tx) (err error) {
		for i, x := range items {
			if out.Body.Items[i], err = s.showSubscription(tx, x); err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

type saleView struct {
	Provider     string       `json:"provider" doc:"Name of the organisation"`
	Product      string       `json:"product" doc:"Name of the product"`
	ProductID    string       `json:"product_id"`
	Model        string       `json:"model" doc:"Call it by this id, or as provider/model where several sell one of that id"`
	Title        catalog.Text `json:"title"`
	Description  catalog.Text `json:"description"`
	Capabilities []string     `json:"capabilities"`
	Input        []string     `json:"input_modalities"`
	Output       []string     `json:"output_modalities"`
	Context      int64        `json:"context"`
	MaxOutput    int64        `json:"max_output"`
	Plans        []offerView  `json:"plans"`
}

type offerView struct {
	Plan          string       `json:"plan" example:"acme/chat/payg" doc:"What to subscribe to"`
	Title         catalog.Text `json:"title"`
	Description   catalog.Text `json:"description"`
	AutoSubscribe bool         `json:"auto_subscribe" doc:"The first call subscribes, where the operator allows it"`
	Agreement
}

type catalogueOutput struct {
	Body struct {
		Items []saleView `json:"items"`
	} `nameHint:"Catalogue"`
}

func (s *server) catalogue() {
	read(s, route("get-catalogue", "GET /catalogue", "What is on sale, at what price", tagged("catalogue"), public),
		func(_ context.Context, _ *call, _ *struct{}) (*catalogueOutput, error) {
			out := &catalogueOutput{}
			out.Body.Items = []saleView{}
			for _, x := range s.Book.OnSale() {
				p := x.Product
				v := saleView{Provider: x.Provider, Product: p.Name, ProductID: p.ID, Model: p.Model, Title: p.Title, Description: p.Description,
					Capabilities: words[string](p.Capabilities), Input: words[string](p.Input), Output: words[string](p.Output), Context: p.Context,
					MaxOutput: p.MaxOutput, Plans: []offerView{}}
				for _, plan := range x.Plans {
					v.Plans = append(v.Plans, offerView{Plan: x.Provider + "/" + p.Name + "/" + plan.Name, Title: plan.Title, Description: plan.Description,
						AutoSubscribe: plan.AutoSubscribe, Agreement: *showTerms(plan.Current)})
				}
				out.Body.Items = append(out.Body.Items, v)
			}
			return out, nil
		})
}
