package api

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/plan"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/rating"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// documents is what apply takes and export gives. Names are identities.
type documents struct {
	Organisations []organisationDoc `json:"organisations,omitempty" maxItems:"10000"`
	Upstreams     []upstreamDoc     `json:"upstreams,omitempty" maxItems:"10000"`
	Products      []productDoc      `json:"products,omitempty" maxItems:"10000"`
	Plans         []planDoc         `json:"plans,omitempty" maxItems:"10000"`
	Subscriptions []subscriptionDoc `json:"subscriptions,omitempty" maxItems:"10000"`
}

type organisationDoc struct {
	Name    string        `json:"name" minLength:"1" maxLength:"48"`
	Title   *catalog.Text `json:"title,omitempty" doc:"Left as it is where not given"`
	Parts   []string      `json:"parts,omitempty" maxItems:"5" doc:"Of a new organisation, default consumer"`
	Members []memberDoc   `json:"members,omitempty" maxItems:"10000" doc:"Members that are not listed stay"`
	State   string        `json:"state,omitempty" enum:"active,suspended" doc:"Left as it is where not given"`
	Reason  string        `json:"reason,omitempty" maxLength:"500" doc:"Of a suspension"`
}

type memberDoc struct {
	Email string `json:"email" minLength:"3" maxLength:"254"`
	Name  string `json:"name,omitempty" maxLength:"120" doc:"Of a new user"`
	Role  string `json:"role" enum:"owner,admin,developer,billing,viewer"`
}

// timeouts are those of an upstream, as durations.
type timeouts struct {
	Connect   string `json:"connect,omitempty" maxLength:"20" example:"5s"`
	FirstByte string `json:"first_byte,omitempty" maxLength:"20" example:"1m"`
	Idle      string `json:"idle,omitempty" maxLength:"20" example:"2m"`
	Total     string `json:"total,omitempty" maxLength:"20" example:"30m"`
}

func (t timeouts) parse() (out catalog.Timeouts, err error) {
	bad := problem.New(problem.Unprocessable, "api.timeouts", "the timeouts are not valid")
	for _, f := range []struct {
		name, text string
		to         *int64
	}{{"connect", t.Connect, &out.Connect}, {"first_byte", t.FirstByte, &out.FirstByte}, {"idle", t.Idle, &out.Idle}, {"total", t.Total, &out.Total}} {
		if f.text == "" {
			continue
		}
		d, err := time.ParseDuration(f.text)
		if err != nil || d < time.Millisecond || d%time.Millisecond != 0 {
			return out, bad.WithField("timeouts."+f.name, "must be a duration like 5s, 1m or 500ms")
		}
		*f.to = d.Milliseconds()
	}
	return out, nil
}

func showTimeouts(t catalog.Timeouts) timeouts {
	return timeouts{duration(t.Connect), duration(t.FirstByte), duration(t.Idle), duration(t.Total)}
}

// duration writes milliseconds the short way: 30m, not 30m0s.
func duration(ms int64) string {
	s := (time.Duration(ms) * time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

type credentialDoc struct {
	Name   string      `json:"name" minLength:"1" maxLength:"63"`
	Secret secret.Text `json:"secret,omitzero" doc:"Never shown again; left as it is where not given"`
	State  string      `json:"state,omitempty" enum:"active,disabled" doc:"Default active"`
}

type upstreamDoc struct {
	Name         string          `json:"name" minLength:"1" maxLength:"63"`
	Organisation string          `json:"organisation" minLength:"1" maxLength:"60"`
	URL          string          `json:"url" maxLength:"500"`
	Dialect      string          `json:"dialect,omitempty" enum:"openai,builtin,contract,kserve,flask"`
	Timeouts     timeouts        `json:"timeouts,omitzero"`
	Credentials  []credentialDoc `json:"credentials,omitempty" maxItems:"100" doc:"Credentials that are not listed stay; export gives none"`
	State        string          `json:"state,omitempty" enum:"active,suspended,retired" doc:"Left as it is where not given"`
	Reason       string          `json:"reason,omitempty" maxLength:"500" doc:"Of a suspension or retirement"`
}

type targetDoc struct {
	Upstream string `json:"upstream" minLength:"1" maxLength:"63" doc:"Name of one of the provider's upstreams"`
	Model    string `json:"model,omitempty" maxLength:"300" doc:"The upstream's id for it; default: the product's model"`
	Priority int64  `json:"priority,omitempty" minimum:"0" maximum:"1000" doc:"Lower ones are tried first"`
	Weight   int64  `json:"weight,omitempty" minimum:"0" maximum:"1000" doc:"Share among those of equal priority; default 1"`
}

func targetInputs(in []targetDoc) []catalog.TargetInput {
	out := make([]catalog.TargetInput, 0, len(in))
	for _, t := range in {
		out = append(out, catalog.TargetInput{Upstream: t.Upstream, UpstreamModel: t.Model, Priority: t.Priority, Weight: t.Weight})
	}
	return out
}

type versionDoc struct {
	Name    string      `json:"name" minLength:"1" maxLength:"63"`
	Release string      `json:"release,omitempty" enum:"stable,canary,blue,green,retired"`
	Share   *int64      `json:"share,omitempty" minimum:"0" maximum:"100" doc:"Percent of the product's traffic"`
	Targets []targetDoc `json:"targets,omitempty" maxItems:"64"`
}

// ProductTerms are what a provider states of a product beside its name.
type ProductTerms struct {
	Kind         string       `json:"kind,omitempty" enum:"model"`
	Title        catalog.Text `json:"title,omitzero"`
	Description  catalog.Text `json:"description,omitzero"`
	Model        string       `json:"model,omitempty" maxLength:"200" doc:"Public model id; default: the name"`
	Capabilities []string     `json:"capabilities,omitempty" maxItems:"10" doc:"chat, embeddings, translate, text, transcribe, speak, vision, image, assist, recommend; default chat"`
	Input        []string     `json:"input_modalities,omitempty" maxItems:"10" doc:"Default text"`
	Output       []string     `json:"output_modalities,omitempty" maxItems:"10" doc:"Default text"`
	Context      int64        `json:"context,omitempty" minimum:"0" doc:"Tokens"`
	MaxOutput    int64        `json:"max_output,omitempty" minimum:"0" doc:"Tokens"`
	Definition   string       `json:"definition,omitempty" doc:"OpenAPI document; default: made from the rest"`
}

func (t *ProductTerms) input(name string) catalog.ProductInput {
	return catalog.ProductInput{Name: name, Kind: catalog.Kind(t.Kind), Title: t.Title, Description: t.Description, Model: t.Model,
		Capabilities: words[catalog.Capability](t.Capabilities), Input: words[catalog.Modality](t.Input), Output: words[catalog.Modality](t.Output),
		Context: t.Context, MaxOutput: t.MaxOutput, Definition: t.Definition}
}

type productDoc struct {
	Name         string `json:"name" minLength:"1" maxLength:"63"`
	Organisation string `json:"organisation" minLength:"1" maxLength:"60" doc:"The provider"`
	ProductTerms
	Versions []versionDoc `json:"versions,omitempty" maxItems:"200" doc:"Versions that are not listed stay"`
	State    string       `json:"state,omitempty" enum:"draft,published,suspended,retired" doc:"Left as it is where not given"`
	Reason   string       `json:"reason,omitempty" maxLength:"500" doc:"Of a suspension or retirement"`
}

// words converts between lists of strings of different types.
func words[T, S ~string](in []S) []T {
	out := make([]T, 0, len(in))
	for _, w := range in {
		out = append(out, T(w))
	}
	return out
}

// PlanTerms are what a provider states of a plan beside its name.
type PlanTerms struct {
	Title         catalog.Text `json:"title,omitzero"`
	Description   catalog.Text `json:"description,omitzero"`
	Public        bool         `json:"public,omitempty" doc:"Anyone may see and take it"`
	AutoSubscribe bool         `json:"auto_subscribe,omitempty" doc:"The first call subscribes; needs public"`
	CommissionPPM *int64       `json:"commission_ppm,omitempty" minimum:"0" maximum:"1000000" doc:"The platform's part in millionths; only the operator sets it; left as it is where not given"`
	Limits        plan.Limits  `json:"limits,omitzero"`
	Hold          plan.Hold    `json:"hold,omitzero"`
	Card          *rating.Card `json:"card" doc:"The rate card"`
	Terms         string       `json:"terms,omitempty"`
	Pin           string       `json:"pin,omitempty" doc:"Name of the product's version that calls go to, whatever its share: a larger upstream, say"`
}

func (t *PlanTerms) input(name string) plan.Input {
	return plan.Input{Name: name, Title: t.Title, Description: t.Description, Public: t.Public, AutoSubscribe: t.AutoSubscribe, Card: t.Card,
		CommissionPPM: t.CommissionPPM, Limits: t.Limits, Hold: t.Hold, Terms: t.Terms, Pin: t.Pin}
}

type planDoc struct {
	Name    string `json:"name" minLength:"1" maxLength:"63"`
	Product string `json:"product" minLength:"3" maxLength:"120" example:"acme/chat" doc:"provider/product"`
	PlanTerms
	UnpublishedEdit bool   `json:"unpublished_edit,omitempty" doc:"What is stated is not to be published yet, where an earlier version is"`
	State           string `json:"state,omitempty" enum:"draft,published,suspended,retired" doc:"Left as it is where not given"`
	Reason          string `json:"reason,omitempty" maxLength:"500" doc:"Of a suspension or retirement"`
}

type subscriptionDoc struct {
	Organisation string    `json:"organisation" minLength:"1" maxLength:"60" doc:"The consumer"`
	Plan         string    `json:"plan" minLength:"5" maxLength:"200" example:"acme/chat/payg" doc:"provider/product/plan"`
	Zone         string    `json:"zone,omitempty" maxLength:"60" doc:"IANA name that billing periods follow; of a new subscription"`
	Anchor       time.Time `json:"anchor,omitzero" doc:"Where billing periods begin; of a new subscription"`
	State        string    `json:"state,omitempty" enum:"active,suspended,ended" doc:"Left as it is where not given"`
	Reason       string    `json:"reason,omitempty" maxLength:"500" doc:"Of a suspension or end"`
}

// changeView is what happened to one field.
type changeView struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from" doc:"Null for what was not there"`
	To    json.RawMessage `json:"to" doc:"Null for what is no longer"`
}

// applied is what apply did with an object.
type applied struct {
	Object  string       `json:"object" enum:"organisation,upstream,product,plan,subscription"`
	Name    string       `json:"name" example:"acme/chat/payg"`
	Action  string       `json:"action" enum:"created,updated,published,unchanged"`
	Changes []changeView `json:"changes"`

	before any // the document before, for a product that is published later
}
