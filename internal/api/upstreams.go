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
	"github.com/tollgate-io/tollgate/internal/secret"
)

type upstreamView struct {
	ID             string           `json:"id"`
	OrganisationID string           `json:"organisation_id"`
	Name           string           `json:"name"`
	URL            string           `json:"url"`
	Dialect        string           `json:"dialect" enum:"openai,builtin,contract,kserve,flask"`
	Timeouts       timeouts         `json:"timeouts"`
	State          string           `json:"state" enum:"active,suspended,retired"`
	Reason         string           `json:"reason,omitempty"`
	Credentials    []credentialView `json:"credentials"`
	Created        time.Time        `json:"created"`
	Updated        time.Time        `json:"updated"`
}

type credentialView struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	State    string    `json:"state" enum:"active,disabled"`
	LastFour string    `json:"last_four,omitempty"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
}

func showUpstream(u *catalog.Upstream) upstreamView {
	v := upstreamView{ID: u.ID, OrganisationID: u.OrgID, Name: u.Name, URL: u.URL, Dialect: string(u.Dialect), Timeouts: showTimeouts(u.Timeouts),
		State: string(u.State), Reason: u.Reason, Credentials: []credentialView{}, Created: u.Created, Updated: u.Updated}
	for _, c := range u.Credentials {
		v.Credentials = append(v.Credentials, credentialView{c.ID, c.Name, string(c.State), c.LastFour, c.Created, c.Updated})
	}
	return v
}

func upstreamObject(u *catalog.Upstream, err error) (*object[upstreamView], error) {
	if err != nil {
		return nil, err
	}
	return single(u.Revision, showUpstream(u)), nil
}

type upstreamInput struct {
	Name        string          `json:"name" minLength:"1" maxLength:"63"`
	URL         string          `json:"url" maxLength:"500" example:"https://api.example.com/v1" doc:"Ends before /chat/completions; or builtin://name"`
	Dialect     string          `json:"dialect,omitempty" enum:"openai,builtin,contract,kserve,flask" doc:"Default: by the URL"`
	Timeouts    timeouts        `json:"timeouts,omitzero"`
	Credentials []credentialDoc `json:"credentials,omitempty" maxItems:"100"`
}

type upstreamEdit struct {
	URL      *string   `json:"url,omitempty" maxLength:"500"`
	Dialect  *string   `json:"dialect,omitempty" enum:"openai,builtin,contract,kserve,flask"`
	Timeouts *timeouts `json:"timeouts,omitempty" doc:"Replaces all timeouts"`
}

// InUpstream is the input of an operation on an upstream.
type InUpstream struct {
	InOrg
	Upstream string `path:"upstream" maxLength:"63" doc:"Name or id of the upstream"`
}

type stateOfUpstream struct {
	InUpstream
	IfMatch
	Body *reason
}

// upstreamAt finds an upstream that the caller may do the action to.
func (s *server) upstreamAt(tx *db.Tx, c *call, in InUpstream, action auth.Action) (org.Org, *catalog.Upstream, error) {
	o, err := organisation(tx, c, in.Org, action)
	if err != nil {
		return o, nil, err
	}
	u, err := s.Catalog.UpstreamNamedTx(tx, o.ID, in.Upstream)
	return o, u, err
}

func (s *server) upstreams() {
	read(s, route("list-upstreams", "GET /organisations/{org}/upstreams", "List an organisation's upstreams"),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			Page
			State string `query:"state" enum:"active,suspended,retired"`
		}) (*listOutput[upstreamView], error) {
			o, err := s.at(ctx, c, in.Org, "upstream.read")
			if err != nil {
				return nil, err
			}
			items, more, err := s.Catalog.Upstreams(ctx, catalog.Filter{OrgID: o.ID, State: catalog.State(in.State)}, in.After, in.Limit)
			return page(items, more, func(u *catalog.Upstream) string { return u.ID }, showUpstream), err
		})
	change(s, route("create-upstream", "POST /organisations/{org}/upstreams", "Create an upstream", tagged("upstreams"), created), s.createUpstream)
	view(s, route("get-upstream", "GET /organisations/{org}/upstreams/{upstream}", "Get an upstream", tagged("upstreams")),
		func(tx *db.Tx, c *call, in *InUpstream) (*object[upstreamView], error) {
			_, u, err := s.upstreamAt(tx, c, *in, "upstream.read")
			return upstreamObject(u, err)
		})
	change(s, route("update-upstream", "PATCH /organisations/{org}/upstreams/{upstream}", "Edit an upstream", tagged("upstreams")), s.updateUpstream)
	for _, x := range []struct {
		verb    string
		to      catalog.State
		action  auth.Action
		summary string
	}{
		{"suspend", catalog.Suspended, "upstream.suspend", "Suspend an upstream: no call goes there any more"},
		{"resume", catalog.Active, "upstream.resume", "End an upstream's suspension"},
		{"retire", catalog.Retired, "upstream.delete", "Retire an upstream that no product needs, for good"},
	} {
		change(s, route(x.verb+"-upstream", "POST /organisations/{org}/upstreams/{upstream}/"+x.verb, x.summary, tagged("upstreams")),
			func(tx *db.Tx, c *call, in *stateOfUpstream) (*object[upstreamView], error) {
				_, u, err := s.upstreamAt(tx, c, in.InUpstream, x.action)
				if err != nil {
					return nil, err
				}
				rev, err := in.based(false)
				if err != nil {
					return nil, err
				}
				return upstreamObject(s.Catalog.SetUpstreamStateTx(tx, c.actor, u.ID, rev, x.to, in.Body.text()))
			})
	}
	s.upstreamCredentials()
	s.upstreamModels()
}

func (s *server) createUpstream(tx *db.Tx, c *call, in *struct {
	InOrg
	Body upstreamInput
}) (*object[upstreamView], error) {
	o, err := organisation(tx, c, in.Org, "upstream.create")
	if err != nil {
		return nil, err
	}
	limits, err := in.Body.Timeouts.parse()
	if err != nil {
		return nil, err
	}
	if err := mayMount(c, "", in.Body.URL); err != nil {
		return nil, err
	}
	u, err := s.Catalog.CreateUpstreamTx(tx, c.actor, o.ID, catalog.UpstreamInput{Name: in.Body.Name, URL: in.Body.URL, Dialect: catalog.Dialect(in.Body.Dialect), Timeouts: limits})
	if err != nil {
		return nil, err
	}
	for i, x := range in.Body.Credentials {
		u, err = s.Catalog.SetCredentialTx(tx, c.actor, u.ID, catalog.Any, catalog.CredentialInput{Name: x.Name, Secret: x.Secret, State: catalog.State(x.State)})
		if err != nil {
			return nil, within(err, "credentials[%d]", i)
		}
	}
	return made(u.Revision, "/organisations/"+o.Name+"/upstreams/"+u.Name, showUpstream(u)), nil
}

// mayMount refuses an engine of the platform to all but its operator: what it answers passes for the platform's own. The
// sandbox model is for everyone to try.
func mayMount(c *call, was, url string) error {
	name, builtin := strings.CutPrefix(strings.TrimSpace(url), "builtin://")
	if !builtin || url == was || strings.TrimRight(name, "/") == "sandbox" || c.principal.Parts().Has(org.Operator) {
		return nil
	}
	return problem.New(problem.Forbidden, "api.builtin", "only the operator may mount an engine of the platform (builtin://); give the address of your own server")
}

func (s *server) updateUpstream(tx *db.Tx, c *call, in *struct {
	InUpstream
	IfMatch
	Body upstreamEdit
}) (*object[upstreamView], error) {
	_, u, err := s.upstreamAt(tx, c, in.InUpstream, "upstream.update")
	if err != nil {
		return nil, err
	}
	rev, err := in.based(true)
	if err != nil {
		return nil, err
	}
	next := u.Stated()
	if in.Body.URL != nil {
		if err := mayMount(c, next.URL, *in.Body.URL); err != nil {
			return nil, err
		}
		next.URL, next.Dialect = *in.Body.URL, ""
	}
	if in.Body.Dialect != nil {
		next.Dialect = catalog.Dialect(*in.Body.Dialect)
	}
	if in.Body.Timeouts != nil {
		if next.Timeouts, err = in.Body.Timeouts.parse(); err != nil {
			return nil, err
		}
	}
	return upstreamObject(s.Catalog.UpdateUpstreamTx(tx, c.actor, u.ID, rev, next))
}

// InCredential is the input of an operation on an upstream's credential.
type InCredential struct {
	InUpstream
	Credential string `path:"credential" maxLength:"63" doc:"Name of the credential"`
}

func (s *server) upstreamCredentials() {
	change(s, route("set-upstream-credential", "PUT /organisations/{org}/upstreams/{upstream}/credentials/{credential}", "Enter a credential of an upstream", tagged("upstreams"),
		about("Several credentials are used in turn. The secret is sealed, and never shown again. If-Match and ETag are the upstream's.")),
		func(tx *db.Tx, c *call, in *struct {
			InCredential
			IfMatch
			Body struct {
				Secret secret.Text `json:"secret,omitzero" doc:"Left as it is where not given"`
				State  string      `json:"state,omitempty" enum:"active,disabled" doc:"Default active"`
			} `nameHint:"CredentialInput"`
		}) (*object[upstreamView], error) {
			_, u, err := s.upstreamAt(tx, c, in.InUpstream, "upstream.update")
			if err != nil {
				return nil, err
			}
			rev, err := in.based(true)
			if err != nil {
				return nil, err
			}
			return upstreamObject(s.Catalog.SetCredentialTx(tx, c.actor, u.ID, rev,
				catalog.CredentialInput{Name: in.Credential, Secret: in.Body.Secret, State: catalog.State(in.Body.State)}))
		})
	change(s, route("remove-upstream-credential", "DELETE /organisations/{org}/upstreams/{upstream}/credentials/{credential}", "Remove a credential of an upstream", tagged("upstreams")),
		func(tx *db.Tx, c *call, in *struct {
			InCredential
			IfMatch
		}) (*object[upstreamView], error) {
			_, u, err := s.upstreamAt(tx, c, in.InUpstream, "upstream.update")
			if err != nil {
				return nil, err
			}
			rev, err := in.based(false)
			if err != nil {
				return nil, err
			}
			return upstreamObject(s.Catalog.RemoveCredentialTx(tx, c.actor, u.ID, rev, in.Credential))
		})
}

type modelsOutput struct {
	Body struct {
		Added []string            `json:"added" doc:"New since the list was read before"`
		Gone  []string            `json:"gone" doc:"No longer listed; targets that use them stay"`
		Items []catalog.SeenModel `json:"items"`
	} `nameHint:"UpstreamModels"`
}

func (s *server) upstreamModels() {
	read(s, route("list-upstream-models", "GET /organisations/{org}/upstreams/{upstream}/models", "List the models that an upstream lists, or has listed", tagged("upstreams")),
		func(ctx context.Context, c *call, in *InUpstream) (*modelsOutput, error) {
			var u *catalog.Upstream
			err := s.DB.View(ctx, func(tx *db.Tx) (err error) { _, u, err = s.upstreamAt(tx, c, *in, "upstream.read"); return err })
			if err != nil {
				return nil, err
			}
			return s.seen(ctx, u.ID, nil, nil)
		})
	read(s, route("refresh-upstream-models", "POST /organisations/{org}/upstreams/{upstream}/refresh-models", "Ask an upstream for its models", tagged("upstreams")),
		func(ctx context.Context, c *call, in *InUpstream) (*modelsOutput, error) {
			var u *catalog.Upstream
			err := s.DB.View(ctx, func(tx *db.Tx) (err error) { _, u, err = s.upstreamAt(tx, c, *in, "upstream.update"); return err })
			if err != nil {
				return nil, err
			}
			return s.refreshModels(ctx, u)
		})
}

func (s *server) refreshModels(ctx context.Context, u *catalog.Upstream) (*modelsOutput, error) {
	if s.HTTP == nil {
		return nil, problem.New(problem.Unavailable, "api.no_egress", "this process does not call upstreams")
	}
	var credential secret.Text
	for _, open := range s.Book.Snapshot().Catalog.Upstreams() { // credentials are open there
		if open.UUID == u.UUID && len(open.Credentials) > 0 {
			credential = open.Credentials[0].Secret
		}
	}
	models, err := catalog.FetchModels(ctx, s.HTTP, u, credential)
	if err != nil {
		return nil, err
	}
	added, gone, err := s.Catalog.RecordModels(ctx, u.ID, models)
	if err != nil {
		return nil, err
	}
	return s.seen(ctx, u.ID, added, gone)
}

func (s *server) seen(ctx context.Context, upstreamID string, added, gone []string) (*modelsOutput, error) {
	items, err := s.Catalog.SeenModels(ctx, upstreamID)
	out := &modelsOutput{}
	out.Body.Added, out.Body.Gone, out.Body.Items = append([]string{}, added...), append([]string{}, gone...), append([]catalog.SeenModel{}, items...)
	return out, err
}
