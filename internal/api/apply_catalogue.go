package api

import (
	"errors"
	"strings"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// upstream applies a document.
func (a *applier) upstream(d *upstreamDoc) error {
	o, err := a.owner(d.Organisation, "upstream.read")
	if err != nil {
		return err
	}
	in := catalog.UpstreamInput{Name: d.Name, URL: d.URL, Dialect: catalog.Dialect(d.Dialect)}
	if in.Timeouts, err = d.Timeouts.parse(); err != nil {
		return err
	}
	u, err := a.Catalog.UpstreamNamedTx(a.tx, o.ID, d.Name)
	var before any
	switch {
	case problem.Is(err, problem.NotFound):
		if err := a.permit(true, "upstream.create", o.ID); err != nil {
			return err
		}
		if err := mayMount(a.c, "", in.URL); err != nil {
			return err
		}
		u, err = a.Catalog.CreateUpstreamTx(a.tx, a.c.actor, o.ID, in)
	case err == nil:
		before = upstreamOf(o.Name, u)
		was := u.Revision
		if err := mayMount(a.c, u.URL, in.URL); err != nil {
			return err
		}
		if u, err = a.Catalog.UpdateUpstreamTx(a.tx, a.c.actor, u.ID, catalog.Any, in); err == nil {
			err = a.permit(u.Revision != was, "upstream.update", o.ID)
		}
	}
	if err != nil {
		return err
	}
	entered, err := a.credentials(u, d)
	if err != nil {
		return err
	}
	if d.State == "active" && u.State == catalog.Suspended {
		if u, err = a.setUpstream(u, catalog.Active, ""); err != nil {
			return err
		}
	}
	name := o.Name + "/" + d.Name
	r, err := a.result("upstream", name, before, upstreamOf(o.Name, u))
	if err != nil {
		return err
	}
	note := func() {
		for _, credential := range entered {
			r.Changes = append(r.Changes, changeView{Field: "credentials." + credential, From: redacted, To: redacted})
		}
		if len(entered) > 0 && r.Action == "unchanged" {
			r.Action = "updated"
		}
	}
	note()
	to := catalog.State(d.State)
	if to != catalog.Suspended && to != catalog.Retired || u.State == to && (u.Reason == d.Reason || to == catalog.Retired) {
		return nil
	}
	a.later(func() error {
		u, err := a.setUpstream(u, to, d.Reason)
		if err != nil {
			return err
		}
		err = r.update(before, upstreamOf(o.Name, u))
		note()
		return err
	})
	return nil
}

// redacted stands for a secret that changed.
var redacted = []byte(`"[redacted]"`)

// credentials enters the credentials of a document and returns the names of those that changed.
func (a *applier) credentials(u *catalog.Upstream, d *upstreamDoc) (changed []string, err error) {
	for _, c := range d.Credentials {
		now, err := a.Catalog.SetCredentialTx(a.tx, a.c.actor, u.ID, catalog.Any,
			catalog.CredentialInput{Name: c.Name, Secret: c.Secret, State: catalog.State(c.State)})
		if err != nil {
			return nil, err
		}
		if now.Revision != u.Revision {
			changed = append(changed, c.Name)
		}
		*u = *now
	}
	return changed, a.permit(len(changed) > 0, "upstream.update", u.OrgID)
}

func (a *applier) setUpstream(u *catalog.Upstream, to catalog.State, reason string) (*catalog.Upstream, error) {
	action := map[catalog.State]auth.Action{catalog.Active: "upstream.resume", catalog.Suspended: "upstream.suspend", catalog.Retired: "upstream.delete"}[to]
	if err := a.permit(true, action, u.OrgID); err != nil {
		return nil, err
	}
	return a.Catalog.SetUpstreamStateTx(a.tx, a.c.actor, u.ID, catalog.Any, to, reason)
}

// product applies what a document says of a product, but for its state.
func (a *applier) product(d *productDoc) error {
	o, err := a.owner(d.Organisation, "product.read")
	if err != nil {
		return err
	}
	p, err := a.Catalog.ProductNamedTx(a.tx, o.ID, d.Name)
	var before any
	switch {
	case problem.Is(err, problem.NotFound):
		if err := a.permit(true, "product.create", o.ID); err != nil {
			return err
		}
		p, err = a.Catalog.CreateProductTx(a.tx, a.c.actor, o.ID, d.input(d.Name))
	case err == nil:
		if before, err = a.showProduct(o, p); err != nil {
			return err
		}
		if p.State == catalog.Retired && d.State == "retired" {
			_, err := a.result("product", o.Name+"/"+d.Name, before, before) // it cannot change any more
			return err
		}
		was := p.Revision
		if p, err = a.Catalog.UpdateProductTx(a.tx, a.c.actor, p.ID, catalog.Any, d.input(d.Name)); err == nil {
			err = a.permit(p.Revision != was, "product.update", o.ID)
		}
	}
	if err != nil {
		return err
	}
	was := p.Revision
	if p, err = a.versions(p, d); err != nil {
		return err
	}
	if err := a.permit(p.Revision != was, "product.release", o.ID); err != nil {
		return err
	}
	after, err := a.showProduct(o, p)
	if err != nil {
		return err
	}
	r, err := a.result("product", o.Name+"/"+d.Name, before, after)
	r.before = before
	return err
}

// versions applies the versions of a product, their targets and the split of the traffic.
func (a *applier) versions(p *catalog.Product, d *productDoc) (*catalog.Product, error) {
	var release []catalog.ReleaseInput
	for i, v := range d.Versions {
		has := versionOf(p, v.Name)
		var err error
		switch {
		case has == nil:
			p, err = a.Catalog.CreateVersionTx(a.tx, a.c.actor, p.ID, catalog.Any, catalog.VersionInput{Name: v.Name, Targets: targetInputs(v.Targets)})
		case has.Release != catalog.Withdrawn:
			p, err = a.Catalog.SetTargetsTx(a.tx, a.c.actor, p.ID, catalog.Any, v.Name, targetInputs(v.Targets))
		}
		if err != nil {
			return nil, within(err, "versions[%d]", i)
		}
		if v.Release == "" && v.Share == nil {
			continue
		}
		is := versionOf(p, v.Name)
		in := catalog.ReleaseInput{Version: v.Name, Release: is.Release, Share: is.Share}
		if v.Release != "" {
			in.Release = catalog.Release(v.Release)
		}
		if v.Share != nil {
			in.Share = *v.Share
		}
		release = append(release, in)
	}
	if len(release) == 0 {
		return p, nil
	}
	return a.Catalog.SetReleaseTx(a.tx, a.c.actor, p.ID, catalog.Any, release)
}

func versionOf(p *catalog.Product, name string) *catalog.Version {
	for _, v := range p.Versions {
		if v.Name == name {
			return v
		}
	}
	return nil
}

// sell puts a product on sale, or notes that it is to be taken off.
func (a *applier) sell(d *productDoc) error {
	o, err := a.owner(d.Organisation, "product.read")
	if err != nil {
		return err
	}
	p, err := a.Catalog.ProductNamedTx(a.tx, o.ID, d.Name)
	if err != nil {
		return err
	}
	var r *applied
	for _, x := range a.results {
		if x.Object == "product" && x.Name == o.Name+"/"+d.Name {
			r = x
		}
	}
	note := func(p *catalog.Product) error {
		after, err := a.showProduct(o, p)
		return errors.Join(err, r.update(r.before, after))
	}
	to := catalog.State(d.State)
	switch {
	case to == "" || p.State == to && (to != catalog.Suspended || p.Reason == d.Reason):
		return nil
	case to == catalog.Draft:
		return problem.New(problem.Conflict, "api.draft", "%q is %s: it cannot become a draft again", d.Name, string(p.State)).WithField("state", "cannot become draft")
	case p.State == catalog.Draft && to != catalog.Retired:
		if err := a.permit(true, "product.publish", o.ID); err != nil {
			return err
		}
		p, err = a.Plans.PublishProductTx(a.tx, a.c.actor, p.ID, catalog.Any)
	case p.State == catalog.Suspended && to == catalog.Published:
		if err := a.permit(true, "product.resume", o.ID); err != nil {
			return err
		}
		p, err = a.Catalog.ResumeProductTx(a.tx, a.c.actor, p.ID, catalog.Any)
	}
	if err != nil {
		return err
	}
	if err := note(p); err != nil || to == catalog.Published && p.State == to {
		return err
	}
	a.later(func() error {
		p, err := a.takeOff(p, to, d.Reason)
		if err != nil {
			return err
		}
		return note(p)
	})
	return nil
}

func (a *applier) takeOff(p *catalog.Product, to catalog.State, reason string) (*catalog.Product, error) {
	if to == catalog.Suspended {
		if err := a.permit(true, "product.suspend", p.OrgID); err != nil {
			return nil, err
		}
		return a.Catalog.SuspendProductTx(a.tx, a.c.actor, p.ID, catalog.Any, reason)
	}
	if err := a.permit(true, "product.retire", p.OrgID); err != nil {
		return nil, err
	}
	return a.Catalog.RetireProductTx(a.tx, a.c.actor, p.ID, catalog.Any, reason)
}

// showProduct is a product's document.
func (a *applier) showProduct(o org.Org, p *catalog.Product) (*productDoc, error) {
	return productOf(o.Name, p, a.upstreamName(a.tx))
}

// plan applies a document.
func (a *applier) plan(d *planDoc) error {
	provider, product, ok := strings.Cut(d.Product, "/")
	if !ok {
		return problem.New(problem.Unprocessable, "api.reference", "%q must be of the form %s", clip(d.Product), "provider/product").WithField("product", "must be provider/product")
	}
	o, p, err := a.productNamed(provider, product)
	if err != nil {
		return err
	}
	in := d.input(d.Name)
	x, err := a.Plans.PlanNamedTx(a.tx, p.ID, d.Name)
	var before any
	switch {
	case problem.Is(err, problem.NotFound):
		if err := errors.Join(a.permit(true, "plan.create", o.ID), a.permit(in.CommissionPPM != nil, "settings.write", "")); err != nil {
			return err
		}
		x, err = a.Plans.CreatePlanTx(a.tx, a.c.actor, p.ID, in)
	case err == nil:
		before = planOf(d.Product, x)
		if in.CommissionPPM == nil {
			in.CommissionPPM = x.CommissionPPM
		}
		if err := a.permit(!same(in.CommissionPPM, x.CommissionPPM), "settings.write", ""); err != nil {
			return err
		}
		if x.State == catalog.Retired && d.State == "retired" {
			break
		}
		was := x.Revision
		if x, err = a.Plans.UpdatePlanTx(a.tx, a.c.actor, x.ID, catalog.Any, in); err == nil {
			err = a.permit(x.Revision != was, "plan.update", o.ID)
		}
	}
	if err != nil {
		return err
	}
	number := int64(0)
	if x.Current != nil {
		number = x.Current.Number
	}
	if x, err = a.offer(x, d); err != nil {
		return err
	}
	r, err := a.result("plan", d.Product+"/"+d.Name, before, planOf(d.Product, x))
	if err != nil {
		return err
	}
	if before != nil && x.Current != nil && x.Current.Number != number {
		r.Action = "published"
	}
	to := catalog.State(d.State)
	if to != catalog.Suspended && to != catalog.Retired || x.State == to && (x.Reason == d.Reason || to == catalog.Retired) {
		return nil
	}
	a.later(func() error {
		x, err := a.setPlan(x, to, d.Reason)
		if err != nil {
			return err
		}
		return r.update(before, planOf(d.Product, x))
	})
	return nil
}

func same(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// offer publishes a plan that is to be on sale, or to have been.
func (a *applier) offer(x *plan.Plan, d *planDoc) (*plan.Plan, error) {
	to := catalog.State(d.State)
	switch {
	case to == "":
		return x, nil
	case to == catalog.Draft && x.State != catalog.Draft:
		return nil, problem.New(problem.Conflict, "api.draft", "%q is %s: it cannot become a draft again", d.Name, string(x.State)).WithField("state", "cannot become draft")
	case to == catalog.Draft:
		return x, nil
	case x.State == catalog.Suspended && to == catalog.Published:
		var err error
		if x, err = a.setPlan(x, catalog.Published, ""); err != nil {
			return nil, err
		}
	}
	if x.State != catalog.Draft && (x.State != catalog.Published || d.UnpublishedEdit || !x.Pending()) {
		return x, nil
	}
	if err := a.permit(true, "plan.publish", x.ProviderID); err != nil {
		return nil, err
	}
	ppm, err := org.DefaultCommissionTx(a.tx)
	if err != nil {
		return nil, err
	}
	return a.Plans.PublishPlanTx(a.tx, a.c.actor, x.ID, catalog.Any, ppm)
}

func (a *applier) setPlan(x *plan.Plan, to catalog.State, reason string) (*plan.Plan, error) {
	action := auth.Action("plan.publish")
	if to == catalog.Retired {
		action = "plan.retire"
	}
	if err := a.permit(true, action, x.ProviderID); err != nil {
		return nil, err
	}
	return a.Plans.SetPlanStateTx(a.tx, a.c.actor, x.ID, catalog.Any, to, reason)
}

// productNamed finds a product by the names of its provider and its own.
func (a *applier) productNamed(provider, product string) (org.Org, *catalog.Product, error) {
	o, err := org.ByNameTx(a.tx, provider)
	if err == nil {
		var p *catalog.Product
		if p, err = a.Catalog.ProductNamedTx(a.tx, o.ID, product); err == nil {
			return o, p, auth.Permit(a.c.principal, "product.read", o.ID)
		}
	}
	if problem.Is(err, problem.NotFound) {
		err = problem.New(problem.NotFound, "api.no_product", "there is no product %q", clip(provider+"/"+product)).WithField("product", "there is none")
	}
	return o, nil, err
}

// subscription applies a document.
func (a *applier) subscription(d *subscriptionDoc) error {
	o, err := a.owner(d.Organisation, "subscription.read")
	if err != nil {
		return err
	}
	x, given, err := a.planRef(a.tx, a.c, d.Plan)
	if err != nil {
		return err
	}
	sub, err := a.Plans.CurrentTx(a.tx, o.ID, x.ProductID)
	var before any
	switch {
	case problem.Is(err, problem.NotFound) && d.State == "ended":
		return nil
	case problem.Is(err, problem.NotFound):
		if err := a.permit(true, "subscription.create", o.ID); err != nil {
			return err
		}
		sub, err = a.Plans.SubscribeTx(a.tx, a.c.actor, o.ID, plan.SubscribeInput{PlanID: x.ID, Zone: d.Zone, Anchor: d.Anchor, Given: given})
	case err == nil && sub.PlanID != x.ID:
		err = problem.New(problem.Conflict, "api.other_plan", "%q is subscribed to the product by another plan: end that subscription first", o.Name).WithField("plan", "another plan is subscribed to")
	case err == nil:
		before = subscriptionOf(o.Name, d.Plan, sub)
		if d.Zone != "" && d.Zone != sub.Zone || !d.Anchor.IsZero() && !d.Anchor.Equal(sub.Anchor) {
			err = problem.New(problem.Conflict, "api.fixed", "zone and anchor of a subscription are fixed when it starts").WithField("zone", "is fixed")
		}
	}
	if err != nil {
		return err
	}
	if d.State == "active" && sub.State == plan.Suspended {
		if sub, err = a.setSubscription(sub, plan.Active, "", given); err != nil {
			return err
		}
	}
	r, err := a.result("subscription", o.Name+" "+d.Plan, before, subscriptionOf(o.Name, d.Plan, sub))
	to := plan.State(d.State)
	if err != nil || to != plan.Suspended && to != plan.Ended || sub.State == to && sub.Reason == d.Reason {
		return err
	}
	a.later(func() error {
		sub, err := a.setSubscription(sub, to, d.Reason, given)
		if err != nil {
			return err
		}
		return r.update(before, subscriptionOf(o.Name, d.Plan, sub))
	})
	return nil
}

func (a *applier) setSubscription(sub *plan.Subscription, to plan.State, reason string, given bool) (*plan.Subscription, error) {
	action := map[plan.State]auth.Action{plan.Active: "subscription.resume", plan.Suspended: "subscription.suspend", plan.Ended: "subscription.end"}[to]
	if err := a.permit(true, action, sub.OrgID); err != nil {
		return nil, err
	}
	return a.Plans.SetSubscriptionStateTx(a.tx, a.c.actor, sub.ID, catalog.Any, to, reason, given)
}
