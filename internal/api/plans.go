package api

import (
	"context"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/rating"
)

type planView struct {
	ID         string `json:"id"`
	ProductID  string `json:"product_id"`
	ProviderID string `json:"provider_id"`
	Name       string `json:"name"`
	PlanTerms
	State   string        `json:"state" enum:"draft,published,suspended,retired"`
	Reason  string        `json:"reason,omitempty"`
	Pending bool          `json:"pending" doc:"It states something that its newest version does not say: publish it"`
	Current *plan.Version `json:"current,omitempty" doc:"The newest published version, which new subscribers get"`
	Created time.Time     `json:"created"`
	Updated time.Time     `json:"updated"`
}

func showPlan(x *plan.Plan) planView {
	return planView{ID: x.ID, ProductID: x.ProductID, ProviderID: x.ProviderID, Name: x.Name, PlanTerms: planTerms(x), State: string(x.State),
		Reason: x.Reason, Pending: x.Pending(), Current: x.Current, Created: x.Created, Updated: x.Updated}
}

func planObject(x *plan.Plan, err error) (*object[planView], error) {
	if err != nil {
		return nil, err
	}
	return single(x.Revision, showPlan(x)), nil
}

type planInput struct {
	Name string `json:"name" minLength:"1" maxLength:"63"`
	PlanTerms
}

type planEdit struct {
	Title         *catalog.Text `json:"title,omitempty"`
	Description   *catalog.Text `json:"description,omitempty"`
	Public        *bool         `json:"public,omitempty"`
	AutoSubscribe *bool         `json:"auto_subscribe,omitempty"`
	CommissionPPM *int64        `json:"commission_ppm,omitempty" minimum:"0" maximum:"1000000" doc:"Only the operator sets it"`
	Limits        *plan.Limits  `json:"limits,omitempty" doc:"Replaces all limits"`
	Hold          *plan.Hold    `json:"hold,omitempty"`
	Card          *rating.Card  `json:"card,omitempty" doc:"Replaces the whole card"`
	Terms         *string       `json:"terms,omitempty"`
	Pin           *string       `json:"pin,omitempty"`
}

func (e *planEdit) onto(in plan.Input) plan.Input {
	set(&in.Title, e.Title)
	set(&in.Description, e.Description)
	set(&in.Public, e.Public)
	set(&in.AutoSubscribe, e.AutoSubscribe)
	set(&in.Limits, e.Limits)
	set(&in.Hold, e.Hold)
	set(&in.Terms, e.Terms)
	set(&in.Pin, e.Pin)
	if e.Card != nil {
		in.Card = e.Card
	}
	if e.CommissionPPM != nil {
		in.CommissionPPM = e.CommissionPPM
	}
	return in
}

// InPlan is the input of an operation on a plan.
type InPlan struct {
	InProduct
	Plan string `path:"plan" maxLength:"63" doc:"Name or id of the plan"`
}

type stateOfPlan struct {
	InPlan
	IfMatch
	Body *reason
}

// planAt finds a plan that the caller may do the action to.
func (s *server) planAt(tx *db.Tx, c *call, in InPlan, action auth.Action) (*plan.Plan, error) {
	_, p, err := s.productAt(tx, c, in.InProduct, action)
	if err != nil {
		return nil, err
	}
	return s.Plans.PlanNamedTx(tx, p.ID, in.Plan)
}

func (s *server) plans() {
	const base = "/organisations/{org}/products/{product}/plans"
	read(s, route("list-plans", "GET "+base, "List a product's plans"), s.listPlans)
	change(s, route("create-plan", "POST "+base, "Create a plan, as a draft", tagged("plans"), created), s.createPlan)
	view(s, route("get-plan", "GET "+base+"/{plan}", "Get a plan", tagged("plans")),
		func(tx *db.Tx, c *call, in *InPlan) (*object[planView], error) {
			return planObject(s.planAt(tx, c, *in, "plan.read"))
		})
	change(s, route("update-plan", "PATCH "+base+"/{plan}", "Edit a plan", tagged("plans"),
		about("Card, commission, limits, hold and terms take effect when the plan is published again, for new subscribers.")),
		func(tx *db.Tx, c *call, in *struct {
			InPlan
			IfMatch
			Body planEdit
		}) (*object[planView], error) {
			x, err := s.planAt(tx, c, in.InPlan, "plan.update")
			if err != nil {
				return nil, err
			}
			rev, err := in.based(true)
			if err != nil {
				return nil, err
			}
			next := in.Body.onto(x.Stated())
			if !same(next.CommissionPPM, x.CommissionPPM) {
				if err := auth.Permit(c.principal, "settings.write", ""); err != nil {
					return nil, err
				}
			}
			return planObject(s.Plans.UpdatePlanTx(tx, c.actor, x.ID, rev, next))
		})
	change(s, route("publish-plan", "POST "+base+"/{plan}/publish", "Publish a plan: what it states becomes its next version", tagged("plans")),
		func(tx *db.Tx, c *call, in *stateOfPlan) (*object[planView], error) {
			x, err := s.planAt(tx, c, in.InPlan, "plan.publish")
			if err != nil {
				return nil, err
			}
			rev, err := in.based(false)
			if err != nil {
				return nil, err
			}
			ppm, err := org.DefaultCommissionTx(tx)
			if err != nil {
				return nil, err
			}
			return planObject(s.Plans.PublishPlanTx(tx, c.actor, x.ID, rev, ppm))
		})
	for _, x := range []struct {
		verb    string
		action  auth.Action
		to      catalog.State
		summary string
	}{
		{"suspend", "plan.publish", catalog.Suspended, "Suspend a plan: its subscribers' calls are refused"},
		{"resume", "plan.publish", catalog.Published, "End a plan's suspension"},
		{"retire", "plan.retire", catalog.Retired, "Retire a plan: nobody can subscribe any more, who is subscribed stays"},
	} {
		change(s, route(x.verb+"-plan", "POST "+base+"/{plan}/"+x.verb, x.summary, tagged("plans")),
			func(tx *db.Tx, c *call, in *stateOfPlan) (*object[planView], error) {
				p, err := s.planAt(tx, c, in.InPlan, x.action)
				if err != nil {
					return nil, err
				}
				rev, err := in.based(false)
				if err != nil {
					return nil, err
				}
				return planObject(s.Plans.SetPlanStateTx(tx, c.actor, p.ID, rev, x.to, in.Body.text()))
			})
	}
	read(s, route("list-plan-versions", "GET "+base+"/{plan}/versions", "List a plan's published versions, newest first", tagged("plans")),
		func(ctx context.Context, c *call, in *InPlan) (*listOutput[plan.Version], error) {
			var x *plan.Plan
			err := s.DB.View(ctx, func(tx *db.Tx) (err error) { x, err = s.planAt(tx, c, *in, "plan.read"); return err })
			if err != nil {
				return nil, err
			}
			items, err := s.Plans.Versions(ctx, x.ID)
			return page(items, false, func(v *plan.Version) string { return v.ID }, func(v *plan.Version) plan.Version { return *v }), err
		})
}

func (s *server) listPlans(ctx context.Context, c *call, in *struct {
	InProduct
	Page
	State string `query:"state" enum:"draft,published,suspended,retired"`
}) (*listOutput[planView], error) {
	var p *catalog.Product
	err := s.DB.View(ctx, func(tx *db.Tx) (err error) { _, p, err = s.productAt(tx, c, in.InProduct, "plan.read"); return err })
	if err != nil {
		return nil, err
	}
	items, more, err := s.Plans.Plans(ctx, plan.Filter{ProductID: p.ID, State: plan.State(in.State)}, in.After, in.Limit)
	return page(items, more, func(x *plan.Plan) string { return x.ID }, showPlan), err
}

func (s *server) createPlan(tx *db.Tx, c *call, in *struct {
	InProduct
	Body planInput
}) (*object[planView], error) {
	o, p, err := s.productAt(tx, c, in.InProduct, "plan.create")
	if err != nil {
		return nil, err
	}
	if in.Body.CommissionPPM != nil {
		if err := auth.Permit(c.principal, "settings.write", ""); err != nil {
			return nil, err
		}
	}
	x, err := s.Plans.CreatePlanTx(tx, c.actor, p.ID, in.Body.input(in.Body.Name))
	if err != nil {
		return nil, err
	}
	return made(x.Revision, "/organisations/"+o.Name+"/products/"+p.Name+"/plans/"+x.Name, showPlan(x)), nil
}
