package api

import (
	"context"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

type organisationView struct {
	ID      string       `json:"id" example:"org_01jd3k…"`
	Name    string       `json:"name" example:"acme" doc:"Unique, never changes"`
	Title   catalog.Text `json:"title"`
	Parts   []string     `json:"parts" doc:"provider, consumer, partner, operator, regulator"`
	State   string       `json:"state" enum:"active,suspended"`
	Reason  string       `json:"reason,omitempty" doc:"Why it is suspended"`
	Created time.Time    `json:"created"`
	Updated time.Time    `json:"updated"`
}

func showOrganisation(o org.Org) organisationView {
	return organisationView{ID: o.ID, Name: o.Name, Title: catalog.Text{En: o.TitleEN, Zh: o.TitleZH}, Parts: o.Parts.Names(), State: o.State,
		Reason: o.Reason, Created: o.Created, Updated: o.Updated}
}

type meView struct {
	Key          string           `json:"key" doc:"Id of the key"`
	Role         string           `json:"role"`
	User         string           `json:"user,omitempty" doc:"The member responsible for the key"`
	Organisation organisationView `json:"organisation"`
	Actions      []string         `json:"actions" doc:"What the key may do in its organisation"`
}

type organisationInput struct {
	Name  string       `json:"name" maxLength:"48" doc:"Lower-case letters, digits and inner hyphens"`
	Title catalog.Text `json:"title,omitzero"`
	Parts []string     `json:"parts,omitempty" maxItems:"5" doc:"Default: consumer"`
	Owner string       `json:"owner,omitempty" maxLength:"254" doc:"E-mail address of the first member, its owner"`
}

type organisationEdit struct {
	Title *catalog.Text `json:"title,omitempty"`
	Parts []string      `json:"parts,omitempty" maxItems:"5" doc:"Only the operator may change them"`
}

type editOrganisation struct {
	InOrg
	IfMatch
	Body organisationEdit
}

type stateOfOrganisation struct {
	InOrg
	IfMatch
	Body *reason
}

func (s *server) organisations() {
	read(s, route("get-me", "GET /me", "Who the key is", tagged("me")), s.me)
	read(s, route("list-organisations", "GET /organisations", "List organisations",
		about("All of them for the operator; for others their own.")), s.listOrganisations)
	change(s, route("create-organisation", "POST /organisations", "Create an organisation", tagged("organisations"), created),
		func(tx *db.Tx, c *call, in *struct{ Body organisationInput }) (*object[organisationView], error) {
			return s.createOrganisation(tx, c, in.Body)
		})
	view(s, route("get-organisation", "GET /organisations/{org}", "Get an organisation", tagged("organisations")),
		func(tx *db.Tx, c *call, in *InOrg) (*object[organisationView], error) {
			o, err := organisation(tx, c, in.Org, "org.read")
			return single(o.Version, showOrganisation(o)), err
		})
	change(s, route("update-organisation", "PATCH /organisations/{org}", "Edit an organisation", tagged("organisations")), s.updateOrganisation)
	change(s, route("suspend-organisation", "POST /organisations/{org}/suspend", "Suspend an organisation: its keys are refused", tagged("organisations")),
		func(tx *db.Tx, c *call, in *stateOfOrganisation) (*object[organisationView], error) {
			return setOrganisation(tx, c, in, "org.suspend", func(id string, rev int64) (org.Org, error) {
				return s.Orgs.SuspendTx(tx, c.actor, id, in.Body.text(), rev)
			})
		})
	change(s, route("resume-organisation", "POST /organisations/{org}/resume", "End an organisation's suspension", tagged("organisations")),
		func(tx *db.Tx, c *call, in *stateOfOrganisation) (*object[organisationView], error) {
			return setOrganisation(tx, c, in, "org.resume", func(id string, rev int64) (org.Org, error) {
				return s.Orgs.ResumeTx(tx, c.actor, id, in.Body.text(), rev)
			})
		})
}

func (s *server) me(ctx context.Context, c *call, _ *struct{}) (*struct{ Body meView }, error) {
	o, err := s.Orgs.Get(ctx, c.principal.OrgID)
	if err != nil {
		return nil, err
	}
	me := meView{Key: c.principal.KeyID, Role: string(c.principal.Role), User: c.principal.UserID, Organisation: showOrganisation(o), Actions: []string{}}
	for _, a := range auth.Actions() {
		if auth.Can(c.principal, a, o.ID) {
			me.Actions = append(me.Actions, string(a))
		}
	}
	return &struct{ Body meView }{me}, nil
}

func (s *server) listOrganisations(ctx context.Context, c *call, in *struct {
	Page
	Part  string `query:"part" enum:"provider,consumer,partner,operator,regulator"`
	State string `query:"state" enum:"active,suspended"`
}) (*listOutput[organisationView], error) {
	id := func(o org.Org) string { return o.ID }
	if !auth.Can(c.principal, "org.list", "") {
		own, err := s.Orgs.Get(ctx, c.principal.OrgID)
		if err != nil {
			return nil, err
		}
		return page([]org.Org{own}, false, id, showOrganisation), nil
	}
	f := org.Filter{State: in.State}
	if in.Part != "" {
		parts, err := org.ParseParts([]string{in.Part})
		if err != nil {
			return nil, err
		}
		f.Parts = parts
	}
	items, more, err := s.Orgs.List(ctx, f, in.After, in.Limit)
	return page(items, more, id, showOrganisation), err
}

func (s *server) createOrganisation(tx *db.Tx, c *call, in organisationInput) (*object[organisationView], error) {
	if err := auth.Permit(c.principal, "org.create", ""); err != nil {
		return nil, err
	}
	if len(in.Parts) == 0 {
		in.Parts = []string{"consumer"}
	}
	parts, err := org.ParseParts(in.Parts)
	if err != nil {
		return nil, err
	}
	o, err := s.Orgs.CreateTx(tx, c.actor, org.Draft{Name: in.Name, TitleEN: in.Title.En, TitleZH: in.Title.Zh, Parts: parts})
	if err != nil {
		return nil, err
	}
	if in.Owner != "" {
		if _, err := org.AddMemberTx(tx, c.actor, o.ID, org.Invite{Email: in.Owner, Role: org.Owner}); err != nil {
			return nil, err
		}
	}
	return made(o.Version, "/organisations/"+o.Name, showOrganisation(o)), nil
}

func (s *server) updateOrganisation(tx *db.Tx, c *call, in *editOrganisation) (*object[organisationView], error) {
	o, err := organisation(tx, c, in.Org, "org.update")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(true)
	if err != nil {
		return nil, err
	}
	var e org.Edit
	if t := in.Body.Title; t != nil {
		e.TitleEN, e.TitleZH = &t.En, &t.Zh
	}
	if len(in.Body.Parts) > 0 {
		if err := auth.Permit(c.principal, "org.parts", o.ID); err != nil {
			return nil, err
		}
		parts, err := org.ParseParts(in.Body.Parts)
		if err != nil {
			return nil, err
		}
		e.Parts = &parts
	}
	o, err = s.Orgs.UpdateTx(tx, c.actor, o.ID, e, rev)
	return single(o.Version, showOrganisation(o)), err
}

func setOrganisation(tx *db.Tx, c *call, in *stateOfOrganisation, action auth.Action, set func(id string, rev int64) (org.Org, error)) (*object[organisationView], error) {
	o, err := organisation(tx, c, in.Org, action)
	if err != nil {
		return nil, err
	}
	rev, err := in.based(false)
	if err != nil {
		return nil, err
	}
	o, err = set(o.ID, rev)
	return single(o.Version, showOrganisation(o)), err
}

type memberView struct {
	User    string    `json:"user" doc:"Id of the user"`
	Email   string    `json:"email"`
	Name    string    `json:"name"`
	Role    string    `json:"role" enum:"owner,admin,developer,billing,viewer"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

func showMember(m org.Member) memberView {
	return memberView{User: m.User, Email: m.Email, Name: m.Name, Role: string(m.Role), Created: m.Created, Updated: m.Updated}
}

type memberInput struct {
	User  string `json:"user,omitempty" maxLength:"60" doc:"Id of an existing user; else give email"`
	Email string `json:"email,omitempty" maxLength:"254" doc:"A person without a user becomes one"`
	Name  string `json:"name,omitempty" maxLength:"120" doc:"Of a new user"`
	Role  string `json:"role" enum:"owner,admin,developer,billing,viewer"`
}

// InMember is the input of an operation on a member.
type InMember struct {
	InOrg
	User string `path:"user" maxLength:"60" doc:"Id of the user"`
}

func (s *server) members() {
	read(s, route("list-members", "GET /organisations/{org}/members", "List an organisation's members"),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			Page
		}) (*listOutput[memberView], error) {
			o, err := s.at(ctx, c, in.Org, "member.read")
			if err != nil {
				return nil, err
			}
			items, more, err := s.Orgs.ListMembers(ctx, o.ID, in.After, in.Limit)
			return page(items, more, func(m org.Member) string { return m.User }, showMember), err
		})
	change(s, route("add-member", "POST /organisations/{org}/members", "Add a member", tagged("members"), created),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Body memberInput
		}) (*object[memberView], error) {
			o, err := organisation(tx, c, in.Org, "member.add")
			if err != nil {
				return nil, err
			}
			role := org.Role(in.Body.Role)
			if err := auth.PermitRole(c.principal, role, o.ID); err != nil {
				return nil, err
			}
			m, err := org.AddMemberTx(tx, c.actor, o.ID, org.Invite{User: in.Body.User, Email: in.Body.Email, Name: in.Body.Name, Role: role})
			return made(m.Version, "/organisations/"+o.Name+"/members/"+m.User, showMember(m)), err
		})
	view(s, route("get-member", "GET /organisations/{org}/members/{user}", "Get a member", tagged("members")),
		func(tx *db.Tx, c *call, in *InMember) (*object[memberView], error) {
			o, err := organisation(tx, c, in.Org, "member.read")
			if err != nil {
				return nil, err
			}
			m, err := org.GetMemberTx(tx, o.ID, in.User)
			return single(m.Version, showMember(m)), err
		})
	read(s, route("update-member", "PATCH /organisations/{org}/members/{user}", "Give a member another role", tagged("members"),
		about("Management keys that the member is responsible for are lowered to the role.")), s.updateMember)
	read(s, route("remove-member", "DELETE /organisations/{org}/members/{user}", "End a membership", tagged("members"),
		about("Returns the keys that were touched. Keys whose secret the member may know are marked departed.")), s.removeMember)
}

func (s *server) updateMember(ctx context.Context, c *call, in *struct {
	InMember
	IfMatch
	Body struct {
		Role string `json:"role" enum:"owner,admin,developer,billing,viewer"`
	} `nameHint:"MemberEdit"`
}) (*object[memberView], error) {
	o, err := s.overMember(ctx, c, in.InMember, "member.change")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(true)
	if err != nil {
		return nil, err
	}
	if err := auth.PermitRole(c.principal, org.Role(in.Body.Role), o.ID); err != nil {
		return nil, err
	}
	m, _, err := s.Keys.ChangeMember(ctx, c.actor, o.ID, in.User, org.Role(in.Body.Role), rev)
	return single(m.Version, showMember(m)), err
}

func (s *server) removeMember(ctx context.Context, c *call, in *struct {
	InMember
	IfMatch
	Keys string `query:"keys" maxLength:"80" default:"revoke" doc:"revoke, or handover:USER: what becomes of the keys that the member is responsible for"`
}) (*listOutput[KeyView], error) {
	o, err := s.overMember(ctx, c, in.InMember, "member.remove")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(false)
	if err != nil {
		return nil, err
	}
	heir, handOver := strings.CutPrefix(in.Keys, "handover:")
	if !handOver && in.Keys != "revoke" || handOver && heir == "" {
		return nil, problem.New(problem.Unprocessable, "api.keys_of_member", "keys must be revoke or handover:USER").WithField("keys", "must be revoke or handover:USER")
	}
	if !handOver {
		heir = ""
	}
	touched, err := s.Keys.RemoveMember(ctx, c.actor, o.ID, in.User, heir, rev)
	return page(touched, false, func(k auth.Key) string { return k.ID }, showKey), err
}

// overMember checks that the caller may do the action on a member with the role that the member has.
func (s *server) overMember(ctx context.Context, c *call, in InMember, action auth.Action) (org.Org, error) {
	o, err := s.at(ctx, c, in.Org, action)
	if err != nil {
		return o, err
	}
	m, err := s.Orgs.GetMember(ctx, o.ID, in.User)
	if err != nil {
		return o, err
	}
	return o, auth.PermitRole(c.principal, m.Role, o.ID)
}
