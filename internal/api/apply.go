package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// applier makes the platform what documents say, within one transaction. Objects are brought up in the
// order in which they need one another, and taken down (suspended, retired, ended) in the reverse one.
type applier struct {
	*server
	tx      *db.Tx
	c       *call
	results []*applied
	at      string         // where in the documents it is
	down    []func() error // what takes objects down, in the order of bringing up
}

// errDryRun rolls the transaction of a dry run back.
var errDryRun = errors.New("api: dry run")

type appliedOutput struct {
	Body struct {
		Applied bool       `json:"applied" doc:"False after a dry run"`
		Changed int        `json:"changed" doc:"How many objects are not unchanged"`
		Items   []*applied `json:"items"`
	} `nameHint:"AppliedList"`
}

type applyInput struct {
	DryRun bool `query:"dry_run" doc:"Say what would change, and change nothing"`
	Body   documents
}

// apply is all or nothing.
func (s *server) apply(ctx context.Context, c *call, in *applyInput) (*appliedOutput, error) {
	if err := in.Body.distinct(); err != nil {
		return nil, err
	}
	var out *appliedOutput
	err := s.DB.Update(ctx, func(tx *db.Tx) (err error) {
		out, err = once(s, tx, c, in, s.applyTx)
		if err == nil && in.DryRun {
			return errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	return out, nil
}

func (s *server) applyTx(tx *db.Tx, c *call, in *applyInput) (*appliedOutput, error) {
	// Appliers take turns, so that two that say the same do not meet while they create it.
	if _, err := db.Bump(tx, "apply"); err != nil {
		return nil, err
	}
	a := &applier{server: s, tx: tx, c: c}
	if err := a.all(&in.Body); err != nil {
		return nil, err
	}
	out := &appliedOutput{}
	out.Body.Applied, out.Body.Items = !in.DryRun, append([]*applied{}, a.results...)
	for _, r := range a.results {
		if r.Action != "unchanged" {
			out.Body.Changed++
		}
	}
	return out, nil
}

// distinct refuses documents that name an object twice.
func (d *documents) distinct() error {
	e := problem.New(problem.Unprocessable, "api.duplicate", "the documents name an object twice")
	bad := e
	see := func(seen map[string]bool, name, format string, args ...any) {
		if seen[name] {
			bad = bad.WithField(fmt.Sprintf(format, args...), "%q appears twice", name)
		}
		seen[name] = true
	}
	seen := map[string]bool{}
	for i, o := range d.Organisations {
		see(seen, o.Name, "organisations[%d].name", i)
		members := map[string]bool{}
		for j, m := range o.Members {
			see(members, strings.ToLower(m.Email), "organisations[%d].members[%d].email", i, j)
		}
	}
	clear(seen)
	for i, u := range d.Upstreams {
		see(seen, u.Organisation+"/"+u.Name, "upstreams[%d].name", i)
		credentials := map[string]bool{}
		for j, c := range u.Credentials {
			see(credentials, c.Name, "upstreams[%d].credentials[%d].name", i, j)
		}
	}
	clear(seen)
	for i, p := range d.Products {
		see(seen, p.Organisation+"/"+p.Name, "products[%d].name", i)
		versions := map[string]bool{}
		for j, v := range p.Versions {
			see(versions, v.Name, "products[%d].versions[%d].name", i, j)
		}
	}
	clear(seen)
	for i, p := range d.Plans {
		see(seen, p.Product+"/"+p.Name, "plans[%d].name", i)
	}
	clear(seen)
	for i, x := range d.Subscriptions {
		see(seen, x.Organisation+" "+x.Plan, "subscriptions[%d].plan", i)
	}
	if bad == e {
		return nil
	}
	return bad
}

// each applies the documents of a kind.
func each[T any](a *applier, kind string, docs []T, apply func(*T) error) error {
	for i := range docs {
		a.at = fmt.Sprintf("%s[%d]", kind, i)
		if err := apply(&docs[i]); err != nil {
			return within(err, "%s", a.at)
		}
	}
	return nil
}

// later has fn run once everything is brought up.
func (a *applier) later(fn func() error) {
	at := a.at
	a.down = append(a.down, func() error { return within(fn(), "%s", at) })
}

func (a *applier) all(d *documents) error {
	for _, step := range []func() error{
		func() error { return each(a, "organisations", d.Organisations, a.organisation) },
		func() error { return each(a, "upstreams", d.Upstreams, a.upstream) },
		func() error { return each(a, "products", d.Products, a.product) },
		func() error { return each(a, "plans", d.Plans, a.plan) },
		func() error { return each(a, "products", d.Products, a.sell) }, // only now: a product needs a plan
		func() error { return each(a, "subscriptions", d.Subscriptions, a.subscription) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, down := range slices.Backward(a.down) {
		if err := down(); err != nil {
			return err
		}
	}
	return nil
}

// within says where in the documents an error was.
func within(err error, format string, args ...any) error {
	var e *problem.Error
	if !errors.As(err, &e) || e.Kind == problem.Internal || e.Kind == problem.Unavailable {
		return err
	}
	at := fmt.Sprintf(format, args...)
	inner := e.Fields
	e = e.Because(err)
	e.Fields = nil
	if len(inner) == 0 {
		return e.Within(at, e)
	}
	for _, f := range inner {
		e = e.WithField(at+"."+f.Path, "%s", f.Detail)
	}
	return e
}

// result notes what became of an object whose documents before (nil for none) and after are given.
func (a *applier) result(object, name string, before, after any) (*applied, error) {
	r := &applied{Object: object, Name: name}
	a.results = append(a.results, r)
	return r, r.update(before, after)
}

// update sets what became of the object.
func (r *applied) update(before, after any) error {
	changes, err := audit.Changes(before, after)
	if err != nil {
		return err
	}
	r.Changes = []changeView{}
	for _, c := range changes {
		r.Changes = append(r.Changes, changeView{c.Field, c.From, c.To})
	}
	switch {
	case before == nil:
		r.Action = "created"
	case len(changes) == 0:
		r.Action = "unchanged"
	case len(changes) == 1 && changes[0].Field == "state" && bytes.Equal(changes[0].To, []byte(`"published"`)):
		r.Action = "published"
	default:
		r.Action = "updated"
	}
	return nil
}

// permit checks the caller where something changed: a document that says what is so already needs no
// more than the right to read it.
func (a *applier) permit(changed bool, action auth.Action, orgID string) error {
	if !changed {
		return nil
	}
	return auth.Permit(a.c.principal, action, orgID)
}

// owner finds an organisation that a document refers to.
func (a *applier) owner(ref string, action auth.Action) (org.Org, error) {
	o, err := organisation(a.tx, a.c, ref, action)
	if problem.Is(err, problem.NotFound) {
		return o, problem.As(err).WithField("organisation", "there is no organisation %q that your key may see", clip(ref))
	}
	return o, err
}

// organisation applies a document.
func (a *applier) organisation(d *organisationDoc) error {
	o, err := org.ByNameTx(a.tx, d.Name)
	if problem.Is(err, problem.NotFound) {
		return a.newOrganisation(d)
	}
	if err != nil {
		return err
	}
	if !auth.Can(a.c.principal, "org.read", o.ID) {
		return problem.New(problem.NotFound, "api.no_organisation", "there is no organisation %q that your key may see", clip(d.Name))
	}
	before, err := a.showOrganisation(o, d)
	if err != nil {
		return err
	}
	var e org.Edit
	if d.Title != nil && (d.Title.En != o.TitleEN || d.Title.Zh != o.TitleZH) {
		e.TitleEN, e.TitleZH = &d.Title.En, &d.Title.Zh
	}
	if len(d.Parts) > 0 {
		parts, err := org.ParseParts(d.Parts)
		if err != nil {
			return err
		}
		if parts != o.Parts {
			e.Parts = &parts
		}
	}
	if err := errors.Join(a.permit(e.Parts != nil, "org.parts", o.ID), a.permit(e.TitleEN != nil, "org.update", o.ID)); err != nil {
		return err
	}
	if e != (org.Edit{}) {
		if o, err = a.Orgs.UpdateTx(a.tx, a.c.actor, o.ID, e, 0); err != nil {
			return err
		}
	}
	return a.staff(d, o, before)
}

func (a *applier) newOrganisation(d *organisationDoc) error {
	if err := auth.Permit(a.c.principal, "org.create", ""); err != nil {
		return err
	}
	names := d.Parts
	if len(names) == 0 {
		names = []string{"consumer"}
	}
	parts, err := org.ParseParts(names)
	if err != nil {
		return err
	}
	draft := org.Draft{Name: d.Name, Parts: parts}
	if d.Title != nil {
		draft.TitleEN, draft.TitleZH = d.Title.En, d.Title.Zh
	}
	o, err := a.Orgs.CreateTx(a.tx, a.c.actor, draft)
	if err != nil {
		return err
	}
	return a.staff(d, o, nil)
}

// staff applies the members and the state of an organisation, and notes the result.
func (a *applier) staff(d *organisationDoc, o org.Org, before any) error {
	for i, m := range d.Members {
		if err := within(a.member(o.ID, m), "members[%d]", i); err != nil {
			return err
		}
	}
	var err error
	if d.State == "active" && o.State == org.Suspended {
		if err := a.permit(true, "org.resume", o.ID); err != nil {
			return err
		}
		if o, err = a.Orgs.ResumeTx(a.tx, a.c.actor, o.ID, d.Reason, 0); err != nil {
			return err
		}
	}
	after, err := a.showOrganisation(o, d)
	if err != nil {
		return err
	}
	r, err := a.result("organisation", d.Name, before, after)
	if err != nil || d.State != "suspended" || o.State == org.Suspended && o.Reason == d.Reason {
		return err
	}
	a.later(func() error {
		if err := a.permit(true, "org.suspend", o.ID); err != nil {
			return err
		}
		o, err := a.Orgs.SuspendTx(a.tx, a.c.actor, o.ID, d.Reason, 0)
		if err != nil {
			return err
		}
		after, err := a.showOrganisation(o, d)
		if err != nil {
			return err
		}
		return r.update(before, after)
	})
	return nil
}

// member makes a person a member with the role of the document.
func (a *applier) member(orgID string, d memberDoc) error {
	role := org.Role(d.Role)
	m, err := a.memberByEmail(orgID, d.Email)
	switch {
	case problem.Is(err, problem.NotFound):
		if err := errors.Join(a.permit(true, "member.add", orgID), auth.PermitRole(a.c.principal, role, orgID)); err != nil {
			return err
		}
		_, err = org.AddMemberTx(a.tx, a.c.actor, orgID, org.Invite{Email: d.Email, Name: d.Name, Role: role})
		return err
	case err != nil || m.Role == role:
		return err
	}
	if err := errors.Join(a.permit(true, "member.change", orgID), auth.PermitRole(a.c.principal, m.Role, orgID), auth.PermitRole(a.c.principal, role, orgID)); err != nil {
		return err
	}
	_, _, err = a.Keys.ChangeMemberTx(a.tx, a.c.actor, orgID, m.User, role, 0)
	return err
}

func (a *applier) memberByEmail(orgID, email string) (org.Member, error) {
	u, err := org.UserByEmailTx(a.tx, email)
	if err != nil {
		return org.Member{}, err
	}
	return org.GetMemberTx(a.tx, orgID, u.ID)
}

// showOrganisation is the document of an organisation with those members that d lists.
func (a *applier) showOrganisation(o org.Org, d *organisationDoc) (any, error) {
	doc := organisationOf(o)
	roles := map[string]string{}
	for _, m := range d.Members {
		is, err := a.memberByEmail(o.ID, m.Email)
		if problem.Is(err, problem.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		roles[m.Email] = string(is.Role)
	}
	return struct {
		*organisationDoc
		Members map[string]string `json:"members,omitempty"`
	}{doc, roles}, nil
}
