// Package plan holds the terms of sale: plans and their immutable versions with a rate card each,
// the subscriptions of consumers, and [Book], which finds for a caller and a model name what was
// agreed.
//
// It rates nothing (rating does), moves no money, and enforces no limits: it says what they are. Who
// may write what is decided by the caller; each write is audited in its own transaction.
//
// Invariants:
//   - a published plan version never changes, and a subscription stays on the version that it
//     started with: a new price makes a new version, for new subscribers;
//   - an organisation has at most one subscription to a product that has not ended;
//   - a subscription's currency and billing anchor are fixed when it starts;
//   - a product is published only with a plan that prices every input and output token;
//   - every change of a subscription's state is kept with reason and actor;
//   - a new seller, a new plan or a later subscription never changes what a model name that works
//     for a caller means.
package plan

import (
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/rating"
)

// Prefixes of the ids that the room gives out.
const (
	PrefixPlan         = "pln"
	PrefixVersion      = "plv"
	PrefixSubscription = "sub"
)

// State is where a plan or a subscription stands.
type State = catalog.State

// The states; plans are catalog.Draft, Published, Suspended, Retired.
const (
	Active    = catalog.Active
	Suspended = catalog.Suspended
	Ended     = State("ended") // final
)

// Limits bound a subscription's use of the product, over all keys of the organisation. Zero is none.
type Limits struct {
	RPM         int64 `json:"rpm,omitempty"`         // requests a minute
	TPM         int64 `json:"tpm,omitempty"`         // tokens a minute
	Concurrency int64 `json:"concurrency,omitempty"` // requests at a time
}

// Hold says what is reserved before a call.
type Hold struct {
	// MaxOutput is how many output tokens are reserved for a request that states no limit of its
	// own; the answer is cut there. Zero takes the product's declared maximum.
	MaxOutput int64 `json:"max_output,omitempty"`
}

// Plan is a way to buy a product.
type Plan struct {
	UUID          db.UUID      `json:"-"`
	ProductUUID   db.UUID      `json:"-"`
	ID            string       `json:"id"`
	ProductID     string       `json:"product"`
	ProviderID    string       `json:"provider"`
	Name          string       `json:"name"` // unique in the product
	Title         catalog.Text `json:"title"`
	Description   catalog.Text `json:"description"`
	Public        bool         `json:"public"`         // anyone may see and take it
	AutoSubscribe bool         `json:"auto_subscribe"` // the first call subscribes; one plan of a product
	Card          *rating.Card `json:"card,omitempty"` // as it will be published next
	CommissionPPM *int64       `json:"commission_ppm"` // as agreed for this plan; nil: the operator's default when published
	Limits        Limits       `json:"limits"`
	Hold          Hold         `json:"hold"`
	Terms         string       `json:"terms"`
	Pin           string       `json:"pin,omitempty"` // name of the product's version that calls go to; empty: by the product's shares
	State         State        `json:"state"`         // draft, published, suspended, retired
	Reason        string       `json:"reason,omitempty"`
	Revision      int64        `json:"revision"` // counts edits; for If-Match
	Created       time.Time    `json:"created"`
	Updated       time.Time    `json:"updated"`
	Current       *Version     `json:"current,omitempty"` // the newest published version; nil before the first
}

// Version is a published version of a plan: what a subscription was agreed on. Immutable.
type Version struct {
	UUID          db.UUID          `json:"-"`
	PlanUUID      db.UUID          `json:"-"`
	ID            string           `json:"id"`
	PlanID        string           `json:"plan"`
	Number        int64            `json:"number"` // 1, 2, … in the plan
	Card          *rating.Card     `json:"card"`
	Compiled      *rating.Compiled `json:"-"`
	Currency      string           `json:"currency"`
	CommissionPPM int64            `json:"commission_ppm"` // the platform's part of each charge, in millionths
	Limits        Limits           `json:"limits"`
	Hold          Hold             `json:"hold"`
	Terms         string           `json:"terms,omitempty"`
	Pin           string           `json:"pin,omitempty"` // as of the plan
	Published     time.Time        `json:"published"`
}

// Subscription is a consumer on a plan version.
type Subscription struct {
	UUID          db.UUID   `json:"-"`
	ID            string    `json:"id"`
	OrgID         string    `json:"org"`
	ProductID     string    `json:"product"`
	PlanID        string    `json:"plan"`
	PlanVersionID string    `json:"plan_version"`
	Currency      string    `json:"currency"`
	State         State     `json:"state"` // active, suspended, ended
	Reason        string    `json:"reason,omitempty"`
	Auto          bool      `json:"auto"`   // made by the first call
	Anchor        time.Time `json:"anchor"` // billing periods begin on its day of the month and time of day, in Zone
	Zone          string    `json:"zone"`   // IANA name
	Started       time.Time `json:"started"`
	Ended         time.Time `json:"ended,omitzero"`
	Revision      int64     `json:"revision"` // counts edits; for If-Match
	Updated       time.Time `json:"updated"`
}

// Change is a step in a subscription's history.
type Change struct {
	At       time.Time `json:"at"`
	From     State     `json:"from,omitempty"` // empty: it began
	To       State     `json:"to"`
	Reason   string    `json:"reason,omitempty"`
	Actor    string    `json:"actor"` // key, else user, else part of the platform
	ActorOrg string    `json:"actor_org,omitempty"`
}

// Offer is what a call is made under: a subscription, what was agreed, and what serves it. Immutable,
// and valid for the call even if the catalogue changes meanwhile.
type Offer struct {
	// Ids in both forms; Consumer is the subscribed organisation, Provider the product's.
	SubscriptionID, PlanID, PlanVersionID, ProductID, ProviderID, ConsumerID string
	Subscription, Plan, PlanVersion, ProductUUID, Provider, Consumer         db.UUID

	ProviderName  string           // of the organisation
	Product       *catalog.Product // its Live versions are the ones to split traffic over; at least one
	Version       *catalog.Version // the one of them with the largest share, or the one that the plan pins
	Pinned        bool             // calls go to Version alone
	Card          *rating.Compiled
	Currency      string
	CommissionPPM int64
	Limits        Limits
	MaxOutput     int64 // tokens to hold for where the request states no limit: the plan's, else the product's

	Anchor time.Time
	Zone   *time.Location
}

// Period returns the billing period that contains at, start included, end excluded, in UTC.
func (o *Offer) Period(at time.Time) (start, end time.Time) { return Period(o.Anchor, o.Zone, at) }
