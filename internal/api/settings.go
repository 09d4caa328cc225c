package api

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/tollgate-io/tollgate/internal/audit"
	"github.com/tollgate-io/tollgate/internal/auth"
	"github.com/tollgate-io/tollgate/internal/billing"
	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/org"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/secret"
)

type settingsView struct {
	AutoSubscribe bool             `json:"auto_subscribe" doc:"The first call to a public plan with auto_subscribe subscribes"`
	Commission    int64            `json:"default_commission_ppm" doc:"The platform's part of each charge, in millionths, of a plan that states none"`
	SignUp        org.SignUpPolicy `json:"signup"`
}

type settingsEdit struct {
	AutoSubscribe *bool             `json:"auto_subscribe,omitempty"`
	Commission    *int64            `json:"default_commission_ppm,omitempty" minimum:"0" maximum:"1000000"`
	SignUp        *org.SignUpPolicy `json:"signup,omitempty" doc:"Replaces the whole policy"`
}

// readSettings reads all settings. Their revision is one more than how often any was set.
func readSettings(tx *db.Tx) (v settingsView, rev int64, err error) {
	rev = 1
	for name, to := range map[string]any{org.SettingAutoSubscribe: &v.AutoSubscribe, org.SettingCommission: &v.Commission, org.SettingSignUp: &v.SignUp} {
		st, err := org.GetSettingTx(tx, name)
		if err != nil {
			return v, 0, err
		}
		if err := json.Unmarshal(st.Value, to); err != nil {
			return v, 0, err
		}
		rev += st.Version
	}
	return v, rev, nil
}

func (s *server) settings() {
	view(s, route("get-settings", "GET /settings", "Get the operator's settings", tagged("settings")),
		func(tx *db.Tx, c *call, _ *struct{}) (*object[settingsView], error) {
			if err := auth.Permit(c.principal, "settings.read", ""); err != nil {
				return nil, err
			}
			v, rev, err := readSettings(tx)
			return single(rev, v), err
		})
	change(s, route("update-settings", "PATCH /settings", "Edit the operator's settings", tagged("settings")),
		func(tx *db.Tx, c *call, in *struct {
			IfMatch
			Body settingsEdit
		}) (*object[settingsView], error) {
			if err := auth.Permit(c.principal, "settings.write", ""); err != nil {
				return nil, err
			}
			based, err := in.based(true)
			if err != nil {
				return nil, err
			}
			_, rev, err := readSettings(tx)
			if err != nil {
				return nil, err
			}
			if based != 0 && based != rev {
				return nil, problem.New(problem.Precondition, "api.settings_stale", "the settings were changed meanwhile: read them again, then repeat the edit")
			}
			if err := putSettings(tx, c, in.Body); err != nil {
				return nil, err
			}
			v, rev, err := readSettings(tx)
			return single(rev, v), err
		})
}

func putSettings(tx *db.Tx, c *call, e settingsEdit) error {
	if e.SignUp != nil {
		if _, ok := money.Currency(e.SignUp.Currency); !ok {
			return problem.New(problem.Unprocessable, "api.currency", "%q is no currency", clip(e.SignUp.Currency)).WithField("signup.currency", "must be an ISO 4217 code like USD")
		}
	}
	for _, x := range []struct {
		name  string
		given bool
		value any
	}{{org.SettingAutoSubscribe, e.AutoSubscribe != nil, e.AutoSubscribe}, {org.SettingCommission, e.Commission != nil, e.Commission}, {org.SettingSignUp, e.SignUp != nil, e.SignUp}} {
		if !x.given {
			continue
		}
		text, err := json.Marshal(x.value)
		if err != nil {
			return err
		}
		if _, err := org.PutSettingTx(tx, c.actor, x.name, text, 0); err != nil {
			return err
		}
	}
	return nil
}

type signUpInput struct {
	Email        string `json:"email" minLength:"3" maxLength:"254"`
	Name         string `json:"name,omitempty" maxLength:"120" doc:"Of the person"`
	Organisation string `json:"organisation,omitempty" maxLength:"48" doc:"Name of the new organisation; default: one is made up"`
	Title        string `json:"title,omitempty" maxLength:"120" doc:"Of the new organisation; default: the person's name"`
}

type signUpOutput struct {
	Body struct {
		Organisation organisationView `json:"organisation"`
		User         string           `json:"user" doc:"Id of the user"`
		Key          string           `json:"key" doc:"An inference key: shown this once"`
		Token        string           `json:"token" doc:"A management key: shown this once"`
		Credit       *creditView      `json:"credit,omitempty" doc:"Granted for signing up"`
	} `nameHint:"SignUp"`
}

type bootstrapInput struct {
	Token        string       `json:"token" minLength:"1" maxLength:"200" doc:"From the one-time link that the first start printed"`
	Organisation string       `json:"organisation" minLength:"1" maxLength:"48" doc:"Name of the operator organisation"`
	Title        catalog.Text `json:"title,omitzero"`
	Email        string       `json:"email" minLength:"3" maxLength:"254" doc:"Of its owner"`
	Name         string       `json:"name,omitempty" maxLength:"120" doc:"Of its owner"`
}

type bootstrapOutput struct {
	Body struct {
		Organisation organisationView `json:"organisation"`
		User         string           `json:"user" doc:"Id of the owner"`
		Token        string           `json:"token" doc:"The owner's management key: shown this once"`
	} `nameHint:"Bootstrapped"`
}

// joining registers the operations for those who have no key yet.
func (s *server) joining() {
	read(s, route("sign-up", "POST /signup", "Sign up", tagged("signup"), public, created,
		about("Where the operator allows it, and within limits by address and e-mail domain.")), s.signUp)
	read(s, route("bootstrap", "POST /bootstrap", "Set up the platform", tagged("signup"), public, created,
		about("Once: makes the operator organisation, its owner and the owner's management key.")),
		func(ctx context.Context, c *call, in *struct{ Body bootstrapInput }) (*bootstrapOutput, error) {
			c.actor.System = "bootstrap"
			f, err := s.Keys.Bootstrap(ctx, c.actor, []byte(in.Body.Token), auth.Setup{Org: in.Body.Organisation, TitleEN: in.Body.Title.En,
				TitleZH: in.Body.Title.Zh, Email: in.Body.Email, Name: in.Body.Name})
			if err != nil {
				return nil, err
			}
			out := &bootstrapOutput{}
			out.Body.Organisation, out.Body.User, out.Body.Token = showOrganisation(f.Org), f.Member.User, f.Secret.Reveal()
			return out, nil
		})
}

func (s *server) signUp(ctx context.Context, c *call, in *struct{ Body signUpInput }) (*signUpOutput, error) {
	if !c.remote.IsValid() {
		c.remote = netip.IPv6Unspecified() // counted together
	}
	c.actor.System = "sign-up"
	var out *signUpOutput
	_, err := s.Orgs.SignUp(ctx, c.actor, org.SignUpRequest{Email: in.Body.Email, Name: in.Body.Name, OrgName: in.Body.Organisation, Title: in.Body.Title, Remote: c.remote},
		func(tx *db.Tx, r org.SignUpResult) (err error) {
			out = &signUpOutput{}
			out.Body.Organisation, out.Body.User = showOrganisation(r.Org), r.User.ID
			out.Body.Credit, err = welcome(tx, c.actor, r)
			if err != nil {
				return err
			}
			for _, k := range []struct {
				draft auth.Draft
				to    *string
			}{{auth.Draft{Kind: auth.Inference, Name: "first key"}, &out.Body.Key}, {auth.Draft{Kind: auth.Management, Role: org.Owner, Name: "first token"}, &out.Body.Token}} {
				k.draft.Org, k.draft.User = r.Org.ID, r.User.ID
				var sec secret.Text
				if _, sec, err = s.Keys.CreateTx(tx, c.actor, k.draft); err != nil {
					return err
				}
				*k.to = sec.Reveal()
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// welcome grants the credit for signing up, if there is one.
func welcome(tx *db.Tx, by audit.Actor, r org.SignUpResult) (*creditView, error) {
	amount, err := money.ParseNano(r.Policy.Credit)
	if err != nil || amount == 0 {
		return nil, err
	}
	g, err := billing.GrantCredit(tx, by, billing.GrantInput{Org: r.Org.ID, Amount: amount, Currency: r.Policy.Currency, Reason: "sign-up"})
	if err != nil {
		return nil, err
	}
	v := showCredit(g)
	return &v, nil
}

type auditView struct {
	ID             string       `json:"id"`
	At             time.Time    `json:"at"`
	Actor          actorView    `json:"actor"`
	OrganisationID string       `json:"organisation_id,omitempty" doc:"The organisation concerned; none: the platform"`
	Action         string       `json:"action" example:"key.revoke"`
	Object         string       `json:"object" doc:"Id of what was changed"`
	Reason         string       `json:"reason,omitempty"`
	Changes        []changeView `json:"changes"`
	Seq            int64        `json:"seq" doc:"Place in the hash chain; 0 until sealed"`
	Hash           string       `json:"hash,omitempty"`
}

type actorView struct {
	OrganisationID string `json:"organisation_id,omitempty"`
	User           string `json:"user,omitempty"`
	Key            string `json:"key,omitempty"`
	System         string `json:"system,omitempty" doc:"What part of the platform acted"`
	Request        string `json:"request,omitempty"`
	Remote         string `json:"remote,omitempty"`
}

func showEntry(e audit.Item) auditView {
	v := auditView{ID: e.ID, At: e.At, OrganisationID: e.Org, Action: e.Action, Object: e.Object, Reason: e.Reason, Changes: []changeView{}, Seq: e.Seq, Hash: e.Hash,
		Actor: actorView{e.Actor.Org, e.Actor.User, e.Actor.Key, e.Actor.System, e.Actor.Request, ""}}
	if e.Actor.Remote.IsValid() {
		v.Actor.Remote = e.Actor.Remote.String()
	}
	for _, x := range e.Changes {
		v.Changes = append(v.Changes, changeView{x.Field, x.From, x.To})
	}
	return v
}

// AuditQuery is the input of a list of audit entries.
type AuditQuery struct {
	Page
	Action string `query:"action" maxLength:"60" doc:"One action, or a family: key."`
	User   string `query:"user" maxLength:"60" doc:"Id of the user who acted"`
	Object string `query:"object" maxLength:"60" doc:"Id of what was changed"`
}

func (s *server) entries(ctx context.Context, in AuditQuery, orgID string) (*listOutput[auditView], error) {
	items, more, err := s.Audit.List(ctx, audit.Filter{Org: orgID, Action: in.Action, User: in.User, Object: in.Object}, in.After, in.Limit)
	return page(items, more, func(e audit.Item) string { return e.ID }, showEntry), err
}

func (s *server) audits() {
	read(s, route("list-audit", "GET /audit", "List the audit record of the platform, newest first", tagged("audit")),
		func(ctx context.Context, c *call, in *AuditQuery) (*listOutput[auditView], error) {
			if err := auth.Permit(c.principal, "audit.read", ""); err != nil {
				return nil, err
			}
			return s.entries(ctx, *in, "")
		})
	read(s, route("list-organisation-audit", "GET /organisations/{org}/audit", "List the audit record of an organisation, newest first", tagged("audit")),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			AuditQuery
		}) (*listOutput[auditView], error) {
			o, err := s.at(ctx, c, in.Org, "audit.read")
			if err != nil {
				return nil, err
			}
			return s.entries(ctx, in.AuditQuery, o.ID)
		})
	read(s, route("verify-audit", "GET /audit/verify", "Recompute the hash chain of the audit record", tagged("audit")),
		func(ctx context.Context, c *call, _ *struct{}) (*struct{ Body audit.Report }, error) {
			if err := auth.Permit(c.principal, "audit.read", ""); err != nil {
				return nil, err
			}
			r, err := s.Audit.Verify(ctx)
			return &struct{ Body audit.Report }{r}, err
		})
}
