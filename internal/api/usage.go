package api

import (
	"context"
	"strconv"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/problem"
)

type tokensView struct {
	Input       int64 `json:"input"`
	CachedInput int64 `json:"cached_input"`
	CacheWrite  int64 `json:"cache_write"`
	Output      int64 `json:"output"`
	Reasoning   int64 `json:"reasoning"`
	AudioInput  int64 `json:"audio_input"`
	AudioOutput int64 `json:"audio_output"`
}

func showTokens(u [meter.Classes]int64) tokensView {
	return tokensView{u[0], u[1], u[2], u[3], u[4], u[5], u[6]}
}

type unitsView struct {
	Meter    string `json:"meter" example:"characters"`
	Quantity string `json:"quantity" example:"1250" doc:"With up to three decimals"`
}

func showUnits(list ...meter.Units) []unitsView {
	var out []unitsView
	for _, u := range list {
		if u.Meter != "" {
			out = append(out, unitsView{u.Meter, meter.Quantity(u.Thousandths)})
		}
	}
	return out
}

type sumView struct {
	Group      string      `json:"group,omitempty" doc:"Value of the grouping; of hour and day its start"`
	Events     int64       `json:"events" doc:"Calls"`
	Failures   int64       `json:"failures" doc:"Calls without a usable answer"`
	Charge     string      `json:"charge" example:"0.25"`
	Commission string      `json:"commission,omitempty" doc:"The platform's part; in the provider's view"`
	Currency   string      `json:"currency" example:"USD"`
	Tokens     tokensView  `json:"tokens" doc:"By class; the classes are disjoint"`
	Units      []unitsView `json:"units,omitempty" doc:"Of calls that are not measured in tokens, by meter"`
	Duration   int64       `json:"duration_ms" doc:"Added up"`
}

type sumOutput struct {
	Body struct {
		Events   *int64    `json:"events,omitempty" doc:"Of all items, where they have one currency"`
		Charge   string    `json:"charge,omitempty" doc:"Of all items, where they have one currency"`
		Currency string    `json:"currency,omitempty"`
		Items    []sumView `json:"items" doc:"One for each group and currency"`
	} `nameHint:"UsageSum"`
}

type eventView struct {
	ID             string      `json:"id" doc:"Also the request id of the call"`
	At             time.Time   `json:"at"`
	OrganisationID string      `json:"organisation_id" doc:"The consumer"`
	Key            string      `json:"key,omitempty" doc:"In the consumer's view"`
	ProviderID     string      `json:"provider_id"`
	ProductID      string      `json:"product_id"`
	VersionID      string      `json:"version_id,omitempty"`
	UpstreamID     string      `json:"upstream_id,omitempty" doc:"In the provider's view"`
	Subscription   string      `json:"subscription"`
	PlanVersion    string      `json:"plan_version" doc:"Whose prices hold"`
	Model          string      `json:"model"`
	Outcome        string      `json:"outcome"`
	Status         int64       `json:"status" doc:"HTTP status of the answer"`
	Stream         bool        `json:"stream"`
	Estimated      bool        `json:"estimated" doc:"Tokens were counted here: the upstream gave no usage"`
	Provisional    bool        `json:"provisional" doc:"The answer could only say a provisional cost"`
	Attempts       int64       `json:"attempts"`
	Charge         string      `json:"charge"`
	Currency       string      `json:"currency"`
	Commission     string      `json:"commission,omitempty" doc:"In the provider's view"`
	Hold           string      `json:"hold" doc:"Reserved before the call"`
	Uncharged      string      `json:"uncharged,omitempty" doc:"Worth above the hold, and not charged"`
	Tokens         tokensView  `json:"tokens"`
	Units          []unitsView `json:"units,omitempty" doc:"Of a call that is not measured in tokens"`
	BytesIn        int64       `json:"bytes_in"`
	BytesOut       int64       `json:"bytes_out"`
	Duration       int64       `json:"duration_ms"`
	FirstByte      int64       `json:"first_byte_ms"`
	Transaction    string      `json:"transaction" doc:"Id of the ledger's transaction"`
}

func showEvent(e *meter.Event, asProvider bool) eventView {
	v := eventView{ID: e.ID, At: db.Time(e.At), OrganisationID: e.Org, ProviderID: e.Provider, ProductID: e.Product, VersionID: e.Version,
		Subscription: e.Subscription, PlanVersion: e.PlanVersion, Model: e.Model, Outcome: e.Outcome, Status: e.Status,
		Stream: e.Flags&meter.FlagStream != 0, Estimated: e.Flags&meter.FlagEstimated != 0, Provisional: e.Flags&meter.FlagProvisional != 0,
		Attempts: e.Attempts, Charge: nano(e.Charge), Currency: e.Currency, Hold: nano(e.Hold), Tokens: showTokens(e.Usage), Units: showUnits(meter.Units{Meter: e.Meter, Thousandths: e.Units}),
		BytesIn: e.BytesIn, BytesOut: e.BytesOut, Duration: e.Duration / 1000, FirstByte: e.FirstByte / 1000, Transaction: e.Txn}
	if e.Flags&meter.FlagUncharged != 0 {
		v.Uncharged = nano(e.Excess)
	}
	if asProvider {
		v.UpstreamID, v.Commission = e.Upstream, nano(e.Commission)
	} else {
		v.Key = e.Key
	}
	return v
}

// UsageQuery is the input of questions about usage.
type UsageQuery struct {
	InOrg
	From    time.Time `query:"from" doc:"Inclusive; sums are cut at full hours"`
	To      time.Time `query:"to" doc:"Exclusive"`
	Key     string    `query:"key" maxLength:"60" doc:"Id of a key; in the consumer's view"`
	Product string    `query:"product" maxLength:"60" doc:"Id of a product"`
	Model   string    `query:"model" maxLength:"200"`
	As      string    `query:"as" enum:"consumer,provider" default:"consumer" doc:"The view: calls made, or calls of the organisation's products"`
}

// filter checks the caller and gives the filter.
func (s *server) filter(ctx context.Context, c *call, in UsageQuery) (meter.Filter, error) {
	o, err := s.at(ctx, c, in.Org, "usage.read")
	if err != nil {
		return meter.Filter{}, err
	}
	f := meter.Filter{Org: o.ID, Key: in.Key, Product: in.Product, Model: in.Model, From: in.From, To: in.To}
	if in.As == "provider" {
		f.Org, f.Key, f.Provider = "", "", o.ID
	}
	return f, nil
}

func (s *server) usage() {
	read(s, route("sum-usage", "GET /organisations/{org}/usage/sum", "Add up usage", tagged("usage")), s.sumUsage)
	read(s, route("list-usage", "GET /organisations/{org}/usage/events", "List calls, newest first", tagged("usage")),
		func(ctx context.Context, c *call, in *struct {
			UsageQuery
			Page
		}) (*listOutput[eventView], error) {
			f, err := s.filter(ctx, c, in.UsageQuery)
			if err != nil {
				return nil, err
			}
			items, more, err := s.Meter.List(ctx, f, in.After, in.Limit)
			return page(items, more, func(e meter.Event) string { return e.ID },
				func(e meter.Event) eventView { return showEvent(&e, in.As == "provider") }), err
		})
	read(s, route("get-usage-event", "GET /organisations/{org}/usage/events/{event}", "Get a call", tagged("usage")),
		func(ctx context.Context, c *call, in *struct {
			InOrg
			Event string `path:"event" maxLength:"60"`
		}) (*struct{ Body eventView }, error) {
			o, err := s.at(ctx, c, in.Org, "usage.read")
			if err != nil {
				return nil, err
			}
			e, err := s.Meter.Get(ctx, in.Event)
			if err == nil && e.Org != o.ID && e.Provider != o.ID {
				return nil, problem.New(problem.NotFound, "api.no_event", "the organisation %q has no call %q", o.Name, clip(in.Event))
			}
			if err != nil {
				return nil, err
			}
			return &struct{ Body eventView }{showEvent(&e, e.Org != o.ID)}, nil
		})
}

func (s *server) sumUsage(ctx context.Context, c *call, in *struct {
	UsageQuery
	Group string `query:"group" enum:"key,provider,product,model,hour,day,org" doc:"org is the consumer; in the provider's view"`
}) (*sumOutput, error) {
	f, err := s.filter(ctx, c, in.UsageQuery)
	if err != nil {
		return nil, err
	}
	if in.As == "provider" && in.Group == "key" {
		return nil, problem.New(problem.Unprocessable, "api.group_key", "keys are the consumer's: the provider's view cannot be grouped by them")
	}
	sums, err := s.Meter.Sum(ctx, f, in.Group)
	if err != nil {
		return nil, err
	}
	out := &sumOutput{}
	out.Body.Items = []sumView{}
	var events, charge int64
	one := true
	currency := ""
	for _, x := range sums {
		v := sumView{Group: x.Group, Events: x.Events, Failures: x.Failures, Charge: nano(x.Charge), Currency: x.Currency, Tokens: showTokens(x.Usage), Units: showUnits(x.Units...), Duration: x.Duration / 1000}
		if in.As == "provider" {
			v.Commission = nano(x.Commission)
		}
		if in.Group == "hour" || in.Group == "day" {
			if us, err := strconv.ParseInt(x.Group, 10, 64); err == nil {
				v.Group = db.Time(us).Format(time.RFC3339)
			}
		}
		out.Body.Items = append(out.Body.Items, v)
		one = one && (currency == "" || currency == x.Currency)
		currency = x.Currency
		events += x.Events
		charge += x.Charge
	}
	if len(sums) == 0 {
		if currency, err = s.currencyOf(ctx, f.Org); err != nil {
			return nil, err
		}
	}
	if one {
		out.Body.Events, out.Body.Charge, out.Body.Currency = &events, nano(charge), currency
	}
	return out, nil
}

// currencyOf is the currency of an organisation without usage: that of its wallet.
func (s *server) currencyOf(ctx context.Context, orgID string) (string, error) {
	if orgID == "" {
		return defaultCurrency, nil
	}
	wallets, err := s.wallets(ctx, orgID)
	if err != nil || len(wallets) == 0 {
		return defaultCurrency, err
	}
	return wallets[0].Currency, nil
}
