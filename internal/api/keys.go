package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/settle"
)

type keyLimits struct {
	Products    []string `json:"products,omitempty" maxItems:"1000" doc:"Ids of the only products that the key may call"`
	Models      []string `json:"models,omitempty" maxItems:"1000" doc:"The only models; a trailing * stands for any ending"`
	Networks    []string `json:"networks,omitempty" maxItems:"100" doc:"Addresses or CIDR ranges that requests may come from"`
	Referrers   []string `json:"referrers,omitempty" maxItems:"100" doc:"Hosts, or *.host, of the pages that may call"`
	Requests    int64    `json:"requests_per_minute,omitempty" minimum:"0"`
	Tokens      int64    `json:"tokens_per_minute,omitempty" minimum:"0"`
	Concurrency int64    `json:"concurrency,omitempty" minimum:"0" doc:"Requests at a time"`
}

func (l *keyLimits) parse() (auth.Limits, error) {
	out := auth.Limits{Products: l.Products, Models: l.Models, Referrers: l.Referrers, Requests: l.Requests, Tokens: l.Tokens, Concurrency: l.Concurrency}
	for _, text := range l.Networks {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, aerr := netip.ParseAddr(text)
			if aerr != nil || a.Zone() != "" {
				return out, problem.New(problem.Unprocessable, "api.network", "%q is no address and no CIDR range", clip(text)).
					WithField("limits.networks", "must be addresses or CIDR ranges")
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out.Networks = append(out.Networks, p)
	}
	return out, nil
}

func showLimits(l auth.Limits) keyLimits {
	out := keyLimits{Products: l.Products, Models: l.Models, Referrers: l.Referrers, Requests: l.Requests, Tokens: l.Tokens, Concurrency: l.Concurrency}
	for _, n := range l.Networks {
		out.Networks = append(out.Networks, n.String())
	}
	return out
}

// KeyView is a key as it is shown.
type KeyView struct {
	ID             string       `json:"id"`
	OrganisationID string       `json:"organisation_id"`
	Kind           string       `json:"kind" enum:"inf,mgt" doc:"inf calls products, mgt uses this API"`
	Name           string       `json:"name"`
	Role           string       `json:"role,omitempty" doc:"Of a management key"`
	User           string       `json:"user,omitempty" doc:"Id of the member responsible for it"`
	CreatedBy      string       `json:"created_by,omitempty"`
	Departed       bool         `json:"departed" doc:"A former member may know its secret: rotate or revoke it"`
	State          string       `json:"state" enum:"active,revoked"`
	Reason         string       `json:"reason,omitempty"`
	Limits         keyLimits    `json:"limits"`
	Budgets        []string     `json:"budgets" doc:"Ids of the budgets that its calls are charged to"`
	Expires        time.Time    `json:"expires,omitzero"`
	Revoked        time.Time    `json:"revoked,omitzero"`
	LastUsed       time.Time    `json:"last_used,omitzero" doc:"To five minutes"`
	Created        time.Time    `json:"created"`
	Updated        time.Time    `json:"updated"`
	Secrets        []secretView `json:"secrets" doc:"More than one during a rotation's overlap"`
}

type secretView struct {
	Prefix   string    `json:"prefix"`
	LastFour string    `json:"last_four"`
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
}

func showKey(k auth.Key) KeyView {
	v := KeyView{ID: k.ID, OrganisationID: k.Org, Kind: string(k.Kind), Name: k.Name, Role: string(k.Role), User: k.User, CreatedBy: k.CreatedBy,
		Departed: k.Departed, State: k.State, Reason: k.Reason, Limits: showLimits(k.Limits), Budgets: append([]string{}, k.Budgets...),
		Expires: k.Expires, Revoked: k.Revoked, LastUsed: k.LastUsed, Created: k.Created, Updated: k.Updated, Secrets: []secretView{}}
	for _, x := range k.Secrets {
		v.Secrets = append(v.Secrets, secretView{x.Prefix, x.LastFour, x.Created, x.Expires})
	}
	return v
}

// newKeyView is a key with its secret.
type newKeyView struct {
	KeyView
	Key string `json:"key" doc:"The key itself: shown this once"`
}

type keyInput struct {
	Kind    string       `json:"kind,omitempty" enum:"inf,mgt" doc:"Default inf"`
	Name    string       `json:"name" minLength:"1" maxLength:"120"`
	Role    string       `json:"role,omitempty" enum:"owner,admin,developer,billing,viewer" doc:"Of a management key; default viewer"`
	User    string       `json:"user,omitempty" maxLength:"60" doc:"Id of the member responsible; default: the caller, if a member"`
	Limits  keyLimits    `json:"limits,omitzero"`
	Budget  *BudgetTerms `json:"budget,omitempty" doc:"A new budget for this key alone"`
	Budgets []string     `json:"budgets,omitempty" maxItems:"16" doc:"Ids of existing budgets"`
	Expires time.Time    `json:"expires,omitzero"`
}

type keyEdit struct {
	Name    *string    `json:"name,omitempty" maxLength:"120"`
	Role    *string    `json:"role,omitempty" enum:"owner,admin,developer,billing,viewer"`
	User    *string    `json:"user,omitempty" maxLength:"60"`
	Limits  *keyLimits `json:"limits,omitempty" doc:"Replaces all limits"`
	Budgets *[]string  `json:"budgets,omitempty"`
	Expires *string    `json:"expires,omitempty" maxLength:"40" doc:"A time, or never"`
}

// InKey is the input of an operation on a key.
type InKey struct {
	InOrg
	Key string `path:"key" maxLength:"60" doc:"Id of the key"`
}

// actionOn names an action on a key of the kind in the table of permissions.
func actionOn(k auth.Kind, what string) auth.Action {
	if k == auth.Management {
		return auth.Action("token." + what)
	}
	return auth.Action("key." + what)
}

func (s *server) keys() {
	read(s, route("list-keys", "GET /organisations/{org}/keys", "List an organisation's keys"), s.listKeys)
	change(s, route("create-key", "POST /organisations/{org}/keys", "Create a key", tagged("keys"), created,
		about("The answer holds the key itself, this once.")), s.createKey)
	view(s, route("get-key", "GET /organisations/{org}/keys/{key}", "Get a key", tagged("keys")),
		func(tx *db.Tx, c *call, in *InKey) (*object[KeyView], error) {
			k, err := keyOf(tx, c, *in, "read")
			return single(k.Version, showKey(k)), err
		})
	change(s, route("update-key", "PATCH /organisations/{org}/keys/{key}", "Edit a key", tagged("keys")), s.updateKey)
	change(s, route("revoke-key", "DELETE /organisations/{org}/keys/{key}", "Revoke a key, for good", tagged("keys")),
		func(tx *db.Tx, c *call, in *struct {
			InKey
			IfMatch
			Reason string `query:"reason" maxLength:"500"`
		}) (*object[KeyView], error) {
			k, err := keyOf(tx, c, in.InKey, "revoke")
			if err != nil {
				return nil, err
			}
			rev, err := in.based(false)
			if err != nil {
				return nil, err
			}
			k, err = s.Keys.RevokeTx(tx, c.actor, k.ID, in.Reason, rev)
			return single(k.Version, showKey(k)), err
		})
	change(s, route("rotate-key", "POST /organisations/{org}/keys/{key}/rotate", "Give a key a new secret", tagged("keys"),
		about("The id stays, and with it limits, budgets and usage. The secrets before go on working for the overlap.")), s.rotateKey)
}

// keyOf finds a key that the caller may do something to.
func keyOf(tx *db.Tx, c *call, in InKey, what string) (auth.Key, error) {
	o, err := organisation(tx, c, in.Org, "org.read")
	if err != nil {
		return auth.Key{}, err
	}
	k, err := auth.GetTx(tx, in.Key)
	if err == nil && k.Org != o.ID || problem.Is(err, problem.NotFound) {
		return auth.Key{}, problem.New(problem.NotFound, "api.no_key", "the organisation %q has no key %q", o.Name, clip(in.Key))
	}
	if err != nil {
		return auth.Key{}, err
	}
	return k, auth.Permit(c.principal, actionOn(k.Kind, what), o.ID)
}

func (s *server) listKeys(ctx context.Context, c *call, in *struct {
	InOrg
	Page
	Kind     string `query:"kind" enum:"inf,mgt"`
	State    string `query:"state" enum:"active,revoked"`
	User     string `query:"user" maxLength:"60"`
	Departed bool   `query:"departed" doc:"Only keys whose secret a former member may know"`
}) (*listOutput[KeyView], error) {
	o, err := s.at(ctx, c, in.Org, "org.read")
	if err != nil {
		return nil, err
	}
	f := auth.Filter{Org: o.ID, Kind: auth.Kind(in.Kind), User: in.User, State: in.State, Departed: in.Departed}
	if f.Kind == "" && !auth.Can(c.principal, "token.read", o.ID) {
		f.Kind = auth.Inference
	}
	if err := auth.Permit(c.principal, actionOn(f.Kind, "read"), o.ID); err != nil {
		return nil, err
	}
	items, more, err := s.Keys.List(ctx, f, in.After, in.Limit)
	return page(items, more, func(k auth.Key) string { return k.ID }, showKey), err
}

func (s *server) createKey(tx *db.Tx, c *call, in *struct {
	InOrg
	Body keyInput
}) (*object[newKeyView], error) {
	d := auth.Draft{Kind: auth.Kind(in.Body.Kind), Name: in.Body.Name, Role: org.Role(in.Body.Role), User: in.Body.User, Budgets: in.Body.Budgets, Expires: in.Body.Expires}
	if d.Kind == "" {
		d.Kind = auth.Inference
	}
	if d.Kind == auth.Management && d.Role == "" {
		d.Role = org.Viewer
	}
	o, err := organisation(tx, c, in.Org, actionOn(d.Kind, "create"))
	if err != nil {
		return nil, err
	}
	d.Org = o.ID
	if d.Kind == auth.Management {
		if err := auth.PermitRole(c.principal, d.Role, o.ID); err != nil {
			return nil, err
		}
	}
	if d.Limits, err = in.Body.Limits.parse(); err != nil {
		return nil, err
	}
	if err := ownBudgets(tx, o.ID, d.Budgets); err != nil {
		return nil, err
	}
	if b := in.Body.Budget; b != nil {
		// Whoever may make a key may bound it.
		budget, err := b.create(tx, c, o.ID, "key "+d.Name)
		if err != nil {
			return nil, err
		}
		d.Budgets = append(d.Budgets, budget.ID)
	}
	k, sec, err := s.Keys.CreateTx(tx, c.actor, d)
	return made(k.Version, "/organisations/"+o.Name+"/keys/"+k.ID, newKeyView{showKey(k), sec.Reveal()}), err
}

func (s *server) updateKey(tx *db.Tx, c *call, in *struct {
	InKey
	IfMatch
	Body keyEdit
}) (*object[KeyView], error) {
	k, err := keyOf(tx, c, in.InKey, "update")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(true)
	if err != nil {
		return nil, err
	}
	if err := overKey(c, k); err != nil {
		return nil, err
	}
	e := auth.Edit{Name: in.Body.Name, User: in.Body.User, Budgets: in.Body.Budgets}
	if in.Body.Role != nil {
		role := org.Role(*in.Body.Role)
		if err := auth.PermitRole(c.principal, role, k.Org); err != nil {
			return nil, err
		}
		e.Role = &role
	}
	if in.Body.Limits != nil {
		limits, err := in.Body.Limits.parse()
		if err != nil {
			return nil, err
		}
		e.Limits = &limits
	}
	if in.Body.Budgets != nil {
		if err := ownBudgets(tx, k.Org, *in.Body.Budgets); err != nil {
			return nil, err
		}
	}
	if x := in.Body.Expires; x != nil {
		var at time.Time
		if *x != "never" {
			if at, err = time.Parse(time.RFC3339, *x); err != nil {
				return nil, problem.New(problem.Unprocessable, "api.expires", "expires must be a time like 2026-01-31T09:30:00Z, or never").
					WithField("expires", "must be an RFC 3339 time or never")
			}
		}
		e.Expires = &at
	}
	k, err = s.Keys.UpdateTx(tx, c.actor, k.ID, e, rev)
	return single(k.Version, showKey(k)), err
}

// overKey refuses to edit or rotate a management key that may do more than the caller.
func overKey(c *call, k auth.Key) error {
	if k.Kind != auth.Management {
		return nil
	}
	return auth.PermitRole(c.principal, k.Role, k.Org)
}

func (s *server) rotateKey(tx *db.Tx, c *call, in *struct {
	InKey
	IfMatch
	Body *struct {
		Overlap string `json:"overlap,omitempty" maxLength:"20" example:"24h" doc:"How long the secrets before go on working; default 0"`
	} `nameHint:"Rotation"`
}) (*object[newKeyView], error) {
	k, err := keyOf(tx, c, in.InKey, "rotate")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(false)
	if err != nil {
		return nil, err
	}
	if err := overKey(c, k); err != nil {
		return nil, err
	}
	var overlap time.Duration
	if in.Body != nil && in.Body.Overlap != "" {
		if overlap, err = time.ParseDuration(in.Body.Overlap); err != nil {
			return nil, problem.New(problem.Unprocessable, "api.duration", "%q is not a duration like 24h or 30m", clip(in.Body.Overlap)).
				WithField("overlap", "must be a duration like 24h")
		}
	}
	k, sec, err := s.Keys.RotateTx(tx, c.actor, k.ID, overlap, rev)
	return single(k.Version, newKeyView{showKey(k), sec.Reveal()}), err
}

// ownBudgets checks that budgets belong to the organisation.
func ownBudgets(tx *db.Tx, orgID string, ids []string) error {
	for _, id := range ids {
		b, err := settle.GetBudget(tx, id)
		if err == nil && b.Org != orgID || problem.Is(err, problem.NotFound) {
			return problem.New(problem.Unprocessable, "api.no_budget", "the organisation has no budget %q", clip(id)).WithField("budgets", "must be budgets of the organisation")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type budgetView struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Amount   string    `json:"amount" example:"10.00"`
	Currency string    `json:"currency"`
	Span     string    `json:"span" enum:"total,day,month"`
	Zone     string    `json:"zone" doc:"IANA name; days and months begin at its midnight"`
	Spent    string    `json:"spent" doc:"In the present period, settled"`
	Held     string    `json:"held" doc:"In the present period, reserved and not spent"`
	Created  time.Time `json:"created"`
}

func showBudget(b settle.Budget) budgetView {
	return budgetView{ID: b.ID, Name: b.Name, Amount: nano(b.Amount), Currency: b.Currency, Span: b.Span, Zone: b.Zone, Spent: nano(b.Spent),
		Held: nano(b.Held), Created: b.Created}
}

// BudgetTerms are what a budget allows.
type BudgetTerms struct {
	Amount   string `json:"amount" maxLength:"30" example:"10.00"`
	Currency string `json:"currency" maxLength:"3" example:"USD"`
	Span     string `json:"span,omitempty" enum:"total,day,month" doc:"Default total"`
	Zone     string `json:"zone,omitempty" maxLength:"60" doc:"IANA name; default UTC"`
}

func (t *BudgetTerms) create(tx *db.Tx, c *call, orgID, name string) (settle.Budget, error) {
	amount, err := amountIn(t.Amount, t.Currency)
	if err != nil {
		return settle.Budget{}, err
	}
	b := settle.Budget{Org: orgID, Name: name, Currency: t.Currency, Amount: amount, Span: t.Span, Zone: t.Zone}
	if err := settle.CreateBudget(tx, &b); err != nil {
		return b, err
	}
	return b, audit.Record(tx, audit.Entry{Actor: c.actor, Org: orgID, Action: "budget.write", Object: b.ID, After: stated(b)})
}

// stated is what a person states of a budget, for the record.
func stated(b settle.Budget) any {
	return map[string]string{"name": b.Name, "amount": nano(b.Amount), "currency": b.Currency, "span": b.Span, "zone": b.Zone}
}

// InBudget is the input of an operation on a budget.
type InBudget struct {
	InOrg
	Budget string `path:"budget" maxLength:"60" doc:"Id of the budget"`
}

func (s *server) budgets() {
	view(s, route("list-budgets", "GET /organisations/{org}/budgets", "List an organisation's budgets"),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Page
		}) (*listOutput[budgetView], error) {
			o, err := organisation(tx, c, in.Org, "budget.read")
			if err != nil {
				return nil, err
			}
			items, more, err := settle.ListBudgets(tx, o.ID, in.After, in.Limit)
			return page(items, more, func(b settle.Budget) string { return b.ID }, showBudget), err
		})
	change(s, route("create-budget", "POST /organisations/{org}/budgets", "Create a budget", tagged("budgets"), created),
		func(tx *db.Tx, c *call, in *struct {
			InOrg
			Body struct {
				Name string `json:"name" minLength:"1" maxLength:"120"`
				BudgetTerms
			} `nameHint:"BudgetInput"`
		}) (*object[budgetView], error) {
			o, err := organisation(tx, c, in.Org, "budget.write")
			if err != nil {
				return nil, err
			}
			b, err := in.Body.create(tx, c, o.ID, in.Body.Name)
			return made(b.Version, "/organisations/"+o.Name+"/budgets/"+b.ID, showBudget(b)), err
		})
	view(s, route("get-budget", "GET /organisations/{org}/budgets/{budget}", "Get a budget", tagged("budgets")),
		func(tx *db.Tx, c *call, in *InBudget) (*object[budgetView], error) {
			b, err := budgetOf(tx, c, *in, "budget.read")
			return single(b.Version, showBudget(b)), err
		})
	change(s, route("update-budget", "PATCH /organisations/{org}/budgets/{budget}", "Edit a budget", tagged("budgets")), s.updateBudget)
}

func budgetOf(tx *db.Tx, c *call, in InBudget, action auth.Action) (settle.Budget, error) {
	o, err := organisation(tx, c, in.Org, action)
	if err != nil {
		return settle.Budget{}, err
	}
	b, err := settle.GetBudget(tx, in.Budget)
	if err == nil && b.Org != o.ID {
		return b, problem.New(problem.NotFound, "api.budget_unknown", "the organisation %q has no budget %q", o.Name, clip(in.Budget))
	}
	return b, err
}

func (s *server) updateBudget(tx *db.Tx, c *call, in *struct {
	InBudget
	IfMatch
	Body struct {
		Name   *string `json:"name,omitempty" minLength:"1" maxLength:"120"`
		Amount *string `json:"amount,omitempty" maxLength:"30"`
	} `nameHint:"BudgetEdit"`
}) (*object[budgetView], error) {
	b, err := budgetOf(tx, c, in.InBudget, "budget.write")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(true)
	if err != nil {
		return nil, err
	}
	before := stated(b)
	if rev != 0 {
		b.Version = rev
	}
	if in.Body.Name != nil {
		b.Name = *in.Body.Name
	}
	if in.Body.Amount != nil {
		if b.Amount, err = amountIn(*in.Body.Amount, b.Currency); err != nil {
			return nil, err
		}
	}
	if err := settle.UpdateBudget(tx, &b); err != nil {
		return nil, err
	}
	err = audit.Record(tx, audit.Entry{Actor: c.actor, Org: b.Org, Action: "budget.write", Object: b.ID, Before: before, After: stated(b)})
	return single(b.Version, showBudget(b)), err
}
