package auth

import (
	"slices"

	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Action is something that the management API does, as recorded in the audit log.
type Action string

// roles is a set of roles.
type roles uint8

const (
	owner roles = 1 << iota
	admin
	developer
	billing
	viewer

	none  roles = 0
	heads       = owner | admin
	all         = owner | admin | developer | billing | viewer
)

func roleBit(r org.Role) roles {
	if i := slices.Index(org.Roles(), r); i >= 0 {
		return 1 << i
	}
	return 0
}

// rule says who may do an action: which roles in their own organisation, and which roles in an
// operator or regulator organisation on any organisation or on the platform.
type rule struct {
	own       roles
	operator  roles
	regulator roles
	part      org.Parts // that the own organisation has to play
}

// rules is the table of permissions. An action that is not in it is forbidden.
var rules = map[Action]rule{
	"org.read":    {own: all, operator: all, regulator: all},
	"org.list":    {operator: all, regulator: all},
	"org.create":  {operator: heads},
	"org.update":  {own: heads, operator: heads},
	"org.parts":   {operator: heads},
	"org.suspend": {operator: heads | developer},
	"org.resume":  {operator: heads},
	"user.read":   {operator: heads},
	"user.update": {operator: heads},

	"member.read":   {own: all, operator: heads, regulator: heads},
	"member.add":    {own: heads, operator: heads},
	"member.change": {own: heads, operator: heads},
	"member.remove": {own: heads, operator: heads},

	"key.read":   {own: all, operator: all},
	"key.create": {own: heads | developer, operator: heads},
	"key.update": {own: heads | developer, operator: heads},
	"key.rotate": {own: heads | developer, operator: heads},
	"key.revoke": {own: heads | developer, operator: heads | developer},

	"token.read":   {own: heads | developer, operator: heads},
	"token.create": {own: heads | developer, operator: heads},
	"token.update": {own: heads, operator: heads},
	"token.rotate": {own: heads | developer, operator: heads},
	"token.revoke": {own: heads | developer, operator: heads | developer},

	"upstream.read":    {own: heads | developer, operator: heads | developer, part: org.Provider},
	"upstream.create":  {own: heads | developer, operator: heads, part: org.Provider},
	"upstream.update":  {own: heads | developer, operator: heads, part: org.Provider},
	"upstream.suspend": {own: heads | developer, operator: heads | developer, part: org.Provider},
	"upstream.resume":  {own: heads | developer, operator: heads, part: org.Provider},
	"upstream.delete":  {own: heads, operator: heads, part: org.Provider},

	"product.read":    {own: all, operator: all, regulator: all},
	"product.create":  {own: heads | developer, operator: heads, part: org.Provider},
	"product.update":  {own: heads | developer, operator: heads, part: org.Provider},
	"product.publish": {own: heads, operator: heads, part: org.Provider},
	"product.release": {own: heads | developer, operator: heads, part: org.Provider},
	"product.suspend": {own: heads | developer, operator: heads | developer, part: org.Provider},
	"product.resume":  {own: heads | developer, operator: heads, part: org.Provider},
	"product.retire":  {own: heads, operator: heads, part: org.Provider},

	"plan.read":    {own: all, operator: all, regulator: all},
	"plan.create":  {own: heads | billing, operator: heads, part: org.Provider},
	"plan.update":  {own: heads | billing, operator: heads, part: org.Provider},
	"plan.publish": {own: heads, operator: heads, part: org.Provider},
	"plan.retire":  {own: heads, operator: heads, part: org.Provider},

	"subscription.read":    {own: all, operator: all, regulator: all},
	"subscription.create":  {own: heads | developer | billing, operator: heads},
	"subscription.suspend": {operator: heads},
	"subscription.resume":  {operator: heads},
	"subscription.end":     {own: heads | billing, operator: heads},

	"wallet.read":  {own: heads | developer | billing, operator: heads | billing, regulator: heads},
	"credit.grant": {operator: heads | billing},
	"budget.read":  {own: all, operator: all},
	"budget.write": {own: heads | billing, operator: heads},
	"usage.read":   {own: all, operator: all, regulator: all},

	// What was said in calls is the consumer's: nobody outside of the organisation can have it recorded.
	"recording.read":  {own: all, operator: all, regulator: heads},
	"recording.write": {own: heads},
	"prompts.read":    {own: heads, operator: owner},
	"prompts.delete":  {own: heads, operator: heads},

	"ledger.read": {own: heads | billing, operator: heads | billing, regulator: all},
	"audit.read":  {own: heads, operator: heads, regulator: all},

	"settings.read":  {operator: all, regulator: heads},
	"settings.write": {operator: heads},
	"doctor.read":    {operator: all},
	"sealer.reseal":  {operator: heads},
	"node.reclaim":   {operator: heads},
}

// Actions lists every action of the table, sorted.
func Actions() []Action {
	out := make([]Action, 0, len(rules))
	for a := range rules {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// Can reports whether the principal may do the action on an organisation, its own or another. An
// empty orgID is the platform itself. Only management keys can do anything.
func Can(p *Principal, a Action, orgID string) bool {
	r, ok := rules[a]
	if !ok || p.Kind != Management {
		return false
	}
	parts, role := p.Parts(), roleBit(p.Role)
	switch {
	case orgID != "" && orgID == p.OrgID && r.own&role != 0 && parts.Has(r.part):
		return true
	case parts.Has(org.Operator) && r.operator&role != 0:
		return true
	}
	return parts.Has(org.Regulator) && r.regulator&role != 0
}

// Permit is [Can] with the error to return: problem.Forbidden "auth.forbidden".
func Permit(p *Principal, a Action, orgID string) error {
	if err := p.Require(Management); err != nil {
		return err
	}
	if !Can(p, a, orgID) {
		return problem.New(problem.Forbidden, "auth.forbidden", "your role %q does not permit %s here", p.Role, a)
	}
	return nil
}

// covers lists for each role those that are no more than it.
var covers = map[org.Role]roles{
	org.Owner: all, org.Admin: all &^ owner, org.Developer: developer | viewer, org.Billing: billing | viewer, org.Viewer: viewer,
}

// Covers reports whether role b permits nothing that role a does not.
func Covers(a, b org.Role) bool { return covers[a]&roleBit(b) != 0 }

// PermitRole fails when the principal tries to give out a role beyond its own in the organisation.
// An operator's owner or admin may give any role elsewhere: it sets up organisations.
func PermitRole(p *Principal, r org.Role, orgID string) error {
	if p.OrgID != orgID && p.Parts().Has(org.Operator) && heads&roleBit(p.Role) != 0 || Covers(p.Role, r) && p.OrgID == orgID {
		return nil
	}
	return problem.New(problem.Forbidden, "auth.role_beyond", "your role %q cannot give the role %q", p.Role, r)
}
