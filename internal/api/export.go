package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
)

type exportOutput struct {
	ContentType string `header:"Content-Type"`
	Body        documents
}

func (s *server) documents() {
	apply := route("apply-documents", "POST /apply", "Make the platform what documents say", tagged("documents"),
		about("All or nothing, and idempotent: objects that already are what the documents say stay untouched. Names are identities; what is not named stays. "+
			"Organisations first, then upstreams, products, plans and subscriptions."))
	apply.Parameters = append(apply.Parameters, &huma.Param{Ref: "#/components/parameters/IdempotencyKey"})
	read(s, apply, s.apply)
	read(s, route("export-documents", "GET /export", "Give the documents that describe the platform", tagged("documents"),
		about("YAML, or JSON by Accept. No secrets; nothing that is retired or ended, but retired plans, because they may have subscribers.")), s.export)
	for _, item := range s.huma.OpenAPI().Paths {
		switch {
		case item.Post != nil && item.Post.OperationID == "apply-documents":
			item.Post.RequestBody.Content[mediaYAML] = item.Post.RequestBody.Content["application/json"]
		case item.Get != nil && item.Get.OperationID == "export-documents":
			item.Get.Responses["200"].Content[mediaYAML] = item.Get.Responses["200"].Content["application/json"]
		}
	}
}

// export reads the parts one after the other: what changes meanwhile may be in one and not in another.
func (s *server) export(ctx context.Context, c *call, in *struct {
	Organisation string `query:"organisation" maxLength:"60" doc:"Only what belongs to it; default: all that the key may see"`
}) (*exportOutput, error) {
	orgs, err := s.exported(ctx, c, in.Organisation)
	if err != nil {
		return nil, err
	}
	x := exporter{server: s, ctx: ctx, c: c}
	for _, o := range orgs {
		if err := x.organisation(o); err != nil {
			return nil, err
		}
	}
	x.docs.sort()
	out := &exportOutput{ContentType: mediaYAML, Body: x.docs}
	if strings.Contains(c.accept, "json") {
		out.ContentType = "application/json"
	}
	return out, nil
}

// sort orders documents by name, so that two exports compare.
func (d *documents) sort() {
	slices.SortFunc(d.Organisations, func(a, b organisationDoc) int { return strings.Compare(a.Name, b.Name) })
	for _, o := range d.Organisations {
		slices.SortFunc(o.Members, func(a, b memberDoc) int { return strings.Compare(a.Email, b.Email) })
	}
	slices.SortFunc(d.Upstreams, func(a, b upstreamDoc) int {
		return strings.Compare(a.Organisation+"/"+a.Name, b.Organisation+"/"+b.Name)
	})
	slices.SortFunc(d.Products, func(a, b productDoc) int {
		return strings.Compare(a.Organisation+"/"+a.Name, b.Organisation+"/"+b.Name)
	})
	slices.SortFunc(d.Plans, func(a, b planDoc) int { return strings.Compare(a.Product+"/"+a.Name, b.Product+"/"+b.Name) })
	slices.SortFunc(d.Subscriptions, func(a, b subscriptionDoc) int {
		return strings.Compare(a.Organisation+" "+a.Plan, b.Organisation+" "+b.Plan)
	})
}

// exported lists the organisations to export.
func (s *server) exported(ctx context.Context, c *call, ref string) ([]org.Org, error) {
	if ref == "" && !auth.Can(c.principal, "org.list", "") {
		ref = c.principal.OrgID
	}
	if ref != "" {
		o, err := s.at(ctx, c, ref, "org.read")
		return []org.Org{o}, err
	}
	return every(func(after string) ([]org.Org, bool, error) {
		return s.Orgs.List(ctx, org.Filter{}, after, org.MaxPage)
	}, func(o org.Org) string { return o.ID })
}

// every reads all pages of a list.
func every[T any](list func(after string) ([]T, bool, error), id func(T) string) (all []T, err error) {
	for after, more := "", true; more; {
		var items []T
		if items, more, err = list(after); err != nil {
			return nil, err
		}
		if all = append(all, items...); len(all) > 0 {
			after = id(all[len(all)-1])
		}
	}
	return all, nil
}

// exporter gathers documents.
type exporter struct {
	*server
	ctx  context.Context
	c    *call
	docs documents
}

// organisation adds the documents of what belongs to an organisation, as far as the caller may read it.
func (x *exporter) organisation(o org.Org) error {
	doc := organisationOf(o)
	if auth.Can(x.c.principal, "member.read", o.ID) {
		members, err := every(func(after string) ([]org.Member, bool, error) {
			return x.Orgs.ListMembers(x.ctx, o.ID, after, org.MaxPage)
		}, func(m org.Member) string { return m.User })
		if err != nil {
			return err
		}
		for _, m := range members {
			doc.Members = append(doc.Members, memberDoc{Email: m.Email, Name: m.Name, Role: string(m.Role)})
		}
	}
	x.docs.Organisations = append(x.docs.Organisations, *doc)
	for _, step := range []struct {
		action auth.Action
		add    func(org.Org) error
	}{{"upstream.read", x.upstreams}, {"product.read", x.products}, {"subscription.read", x.subscriptions}} {
		if auth.Can(x.c.principal, step.action, o.ID) {
			if err := step.add(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exporter) upstreams(o org.Org) error {
	us, err := every(func(after string) ([]*catalog.Upstream, bool, error) {
		return x.Catalog.Upstreams(x.ctx, catalog.Filter{OrgID: o.ID}, after, 500)
	}, func(u *catalog.Upstream) string { return u.ID })
	for _, u := range us {
		if u.State != catalog.Retired {
			x.docs.Upstreams = append(x.docs.Upstreams, *upstreamOf(o.Name, u))
		}
	}
	return err
}

func (x *exporter) products(o org.Org) error {
	ps, err := every(func(after string) ([]*catalog.Product, bool, error) {
		return x.Catalog.Products(x.ctx, catalog.Filter{OrgID: o.ID}, after, 500)
	}, func(p *catalog.Product) string { return p.ID })
	if err != nil {
		return err
	}
	for _, p := range ps {
		if p.State == catalog.Retired {
			continue
		}
		err := x.DB.View(x.ctx, func(tx *db.Tx) error {
			p, err := x.Catalog.ProductTx(tx, p.ID) // with its definition
			if err != nil {
				return err
			}
			doc, err := productOf(o.Name, p, x.upstreamName(tx))
			if err == nil {
				x.docs.Products = append(x.docs.Products, *doc)
			}
			return err
		})
		if err != nil {
			return err
		}
		plans, err := every(func(after string) ([]*plan.Plan, bool, error) {
			return x.Plans.Plans(x.ctx, plan.Filter{ProductID: p.ID}, after, 500)
		}, func(p *plan.Plan) string { return p.ID })
		if err != nil {
			return err
		}
		for _, v := range plans {
			x.docs.Plans = append(x.docs.Plans, *planOf(o.Name+"/"+p.Name, v))
		}
	}
	return nil
}

func (x *exporter) subscriptions(o org.Org) error {
	subs, err := every(func(after string) ([]*plan.Subscription, bool, error) {
		return x.Plans.Subscriptions(x.ctx, plan.SubscriptionFilter{OrgID: o.ID}, after, 500)
	}, func(v *plan.Subscription) string { return v.ID })
	if err != nil {
		return err
	}
	return x.DB.View(x.ctx, func(tx *db.Tx) error {
		for _, v := range subs {
			if v.State == plan.Ended {
				continue
			}
			p, err := x.Catalog.ProductTx(tx, v.ProductID)
			if err != nil {
				return err
			}
			ref, err := x.reference(tx, v.PlanID)
			if err != nil {
				return err
			}
			if p.State != catalog.Retired {
				x.docs.Subscriptions = append(x.docs.Subscriptions, *subscriptionOf(o.Name, ref, v))
			}
		}
		return nil
	})
}

// upstreamName returns a function that gives an upstream's name by its id.
func (s *server) upstreamName(tx *db.Tx) func(id string) (string, error) {
	return func(id string) (string, error) {
		u, err := s.Catalog.UpstreamTx(tx, id)
		if err != nil {
			return "", err
		}
		return u.Name, nil
	}
}

// reference gives a plan's name as provider/product/plan.
func (s *server) reference(tx *db.Tx, planID string) (string, error) {
	x, err := s.Plans.PlanTx(tx, planID)
	if err != nil {
		return "", err
	}
	p, err := s.Catalog.ProductTx(tx, x.ProductID)
	if err != nil {
		return "", err
	}
	o, err := org.GetTx(tx, p.OrgID)
	return o.Name + "/" + p.Name + "/" + x.Name, err
}

// planRef finds a plan by provider/product/plan or its id, and tells whether the caller may give it to
// others. One that is neither public nor the caller's to give is not found.
func (s *server) planRef(tx *db.Tx, c *call, ref string) (x *plan.Plan, given bool, err error) {
	none := problem.New(problem.NotFound, "api.no_plan", "there is no plan %q: name it as provider/product/plan", clip(ref)).WithField("plan", "there is none")
	if x, err = s.findPlan(tx, ref); err != nil {
		if problem.Is(err, problem.NotFound) {
			err = none
		}
		return nil, false, err
	}
	given = auth.Can(c.principal, "plan.update", x.ProviderID)
	if !x.Public && !given {
		return nil, false, none
	}
	return x, given, nil
}

func (s *server) findPlan(tx *db.Tx, ref string) (*plan.Plan, error) {
	names := strings.Split(ref, "/")
	if len(names) != 3 {
		return s.Plans.PlanTx(tx, ref)
	}
	o, err := org.ByNameTx(tx, names[0])
	if err != nil {
		return nil, err
	}
	p, err := s.Catalog.ProductNamedTx(tx, o.ID, names[1])
	if err != nil {
		return nil, err
	}
	return s.Plans.PlanNamedTx(tx, p.ID, names[2])
}

func organisationOf(o org.Org) *organisationDoc {
	return &organisationDoc{Name: o.Name, Title: &catalog.Text{En: o.TitleEN, Zh: o.TitleZH}, Parts: o.Parts.Names(), State: o.State, Reason: o.Reason}
}

func upstreamOf(orgName string, u *catalog.Upstream) *upstreamDoc {
	return &upstreamDoc{Name: u.Name, Organisation: orgName, URL: u.URL, Dialect: string(u.Dialect), Timeouts: showTimeouts(u.Timeouts),
		State: string(u.State), Reason: u.Reason}
}

// productOf is a product's document; name gives the names of upstreams. Withdrawn versions are left out.
func productOf(orgName string, p *catalog.Product, name func(id string) (string, error)) (*productDoc, error) {
	in := p.Stated()
	d := &productDoc{Name: p.Name, Organisation: orgName, State: string(p.State), Reason: p.Reason, ProductTerms: ProductTerms{
		Kind: string(p.Kind), Title: p.Title, Description: p.Description, Model: p.Model,
		Capabilities: words[string](in.Capabilities), Input: words[string](in.Input), Output: words[string](in.Output), Context: p.Context,
		MaxOutput: p.MaxOutput, Definition: in.Definition}}
	for _, v := range p.Versions {
		if v.Release == catalog.Withdrawn {
			continue
		}
		share := v.Share
		version := versionDoc{Name: v.Name, Release: string(v.Release), Share: &share}
		for _, t := range v.Targets {
			upstream, err := name(t.UpstreamID)
			if err != nil {
				return nil, err
			}
			version.Targets = append(version.Targets, targetDoc{Upstream: upstream, Model: t.UpstreamModel, Priority: t.Priority, Weight: t.Weight})
		}
		d.Versions = append(d.Versions, version)
	}
	return d, nil
}

func planOf(product string, x *plan.Plan) *planDoc {
	return &planDoc{Name: x.Name, Product: product, PlanTerms: planTerms(x), UnpublishedEdit: x.State == catalog.Published && x.Pending(),
		State: string(x.State), Reason: x.Reason}
}

func planTerms(x *plan.Plan) PlanTerms {
	return PlanTerms{Title: x.Title, Description: x.Description, Public: x.Public, AutoSubscribe: x.AutoSubscribe,
		CommissionPPM: x.CommissionPPM, Limits: x.Limits, Hold: x.Hold, Card: x.Card, Terms: x.Terms, Pin: x.Pin}
}

func subscriptionOf(orgName, ref string, v *plan.Subscription) *subscriptionDoc {
	return &subscriptionDoc{Organisation: orgName, Plan: ref, Zone: v.Zone, Anchor: v.Anchor.UTC().Truncate(time.Microsecond), State: string(v.State), Reason: v.Reason}
}
