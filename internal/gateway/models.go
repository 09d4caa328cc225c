package gateway

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/meter"
	"github.com/tollgate-io/tollgate/internal/money"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// Models serves GET /v1/models: what the caller can call.
func (c *Call) Models() { c.answerList(c.models()) }

// Model serves GET /v1/models/{model}.
func (c *Call) Model(name string) {
	for _, m := range c.models() {
		if m.ID == name {
			c.out = openai.AppendModel(c.out[:0], &m)
			c.plain(c.out)
			return
		}
	}
	_ = c.fail(problem.New(problem.NotFound, "gateway.model_unknown", "there is no model %q: GET /v1/models lists those you can call", name))
}

func (c *Call) models() []openai.Model {
	var list []openai.Model
	for _, m := range c.g.o.Book.Models(c.who.OrgUUID) {
		if c.who.AllowsModel([]byte(m.ID)) && c.who.AllowsProduct(m.Product.ID) {
			can := make([]string, len(m.Product.Capabilities))
			for i, capability := range m.Product.Capabilities {
				can[i] = string(capability)
			}
			list = append(list, openai.Model{ID: m.ID, Created: m.Product.Created.Unix(), OwnedBy: m.Provider, Capabilities: can})
		}
	}
	return list
}

func (c *Call) answerList(list []openai.Model) {
	c.out = openai.AppendModels(c.out[:0], list)
	c.plain(c.out)
}

// plain sends a JSON answer that costs nothing.
func (c *Call) plain(body []byte) {
	c.ev.Status, c.ev.Outcome = 200, telemetry.OK
	c.headers("application/json")
	c.send(200, body)
}

// Unknown answers a path of the data plane that does not exist, or does for the methods of allow alone. The call's Route is
// one nearby, if there is any: it says in which style to tell so.
func (c *Call) Unknown(allow string) {
	if allow != "" {
		c.Out.SetHeader("Allow", allow)
		_ = c.fail(problem.New(problem.NotAllowed, "gateway.method", "%s is called with %s, not with %s", c.Path, allow, c.Method))
		return
	}
	_ = c.fail(problem.New(problem.NotFound, "gateway.path_unknown", "there is no %s %s; see the manual for the paths of this API", c.Method, c.Path))
}

// Generation serves GET /v1/generations/{id}: the record of a call of the caller's organisation. A call
// that has just ended may be a moment away from being settled; it is waited for.
func (c *Call) Generation(ctx context.Context, id string) {
	e, err := c.generation(ctx, id)
	if err != nil {
		_ = c.fail(err)
		return
	}
	body, err := json.Marshal(Generation(&e))
	if err != nil {
		_ = c.fail(err)
		return
	}
	c.plain(body)
}

func (c *Call) generation(ctx context.Context, id string) (meter.Event, error) {
	unknown := problem.New(problem.NotFound, "gateway.generation_unknown", "your organisation has made no call with the id %q; a call in flight is recorded when it ends", id)
	u, err := db.ParseID(id, "evt")
	if err != nil {
		return meter.Event{}, unknown
	}
	for wait := 25 * time.Millisecond; ; wait *= 2 {
		e, err := c.g.o.Meter.Get(ctx, id)
		if err == nil && e.Org != c.who.OrgID {
			return meter.Event{}, unknown
		}
		if err == nil || !problem.Is(err, problem.NotFound) {
			return e, err
		}
		if time.Since(u.Time()) > time.Hour || wait > 800*time.Millisecond {
			return meter.Event{}, unknown
		}
		select {
		case <-ctx.Done():
			return meter.Event{}, errClientGone
		case <-time.After(wait):
		}
	}
}

// GenerationView is a call's record as the API gives it.
type GenerationView struct {
	ID           string           `json:"id"`
	Object       string           `json:"object"`
	Created      time.Time        `json:"created"`
	Model        string           `json:"model"`
	Provider     string           `json:"provider"`
	Product      string           `json:"product"`
	Subscription string           `json:"subscription"`
	PlanVersion  string           `json:"plan_version"`
	Key          string           `json:"key"`
	Outcome      string           `json:"outcome"`
	Status       int64            `json:"status"`
	Stream       bool             `json:"stream"`
	Estimated    bool             `json:"estimated"`
	Usage        map[string]int64 `json:"usage"` // by token class; classes without tokens are left out
	Units        *UnitsView       `json:"units,omitempty"`
	Charge       string           `json:"charge"`
	Commission   string           `json:"commission"`
	Uncharged    string           `json:"uncharged,omitempty"` // worth beyond the hold, not charged
	Currency     string           `json:"currency"`
	Transaction  string           `json:"transaction"`
	DurationMS   int64            `json:"duration_ms"`
	FirstByteMS  int64            `json:"first_byte_ms"`
	Attempts     int64            `json:"attempts"`
	Receipt      string           `json:"receipt"` // "pending": receipts are signed by a later version
	Digests      struct {
		Request  string `json:"request"`
		Response string `json:"response"`
	} `json:"sha256"`
}

// UnitsView is what a call used that is not measured in tokens.
type UnitsView struct {
	Meter    string `json:"meter"`
	Quantity string `json:"quantity"` // with up to three decimals
}

// Generation is how the API shows an event.
func Generation(e *meter.Event) *GenerationView {
	v := &GenerationView{ID: e.ID, Object: "generation", Created: db.Time(e.At), Model: e.Model, Provider: e.Provider, Product: e.Product,
		Subscription: e.Subscription, PlanVersion: e.PlanVersion, Key: e.Key, Outcome: e.Outcome, Status: e.Status,
		Stream: e.Flags&meter.FlagStream != 0, Estimated: e.Flags&meter.FlagEstimated != 0, Usage: map[string]int64{},
		Charge: money.FormatNano(e.Charge), Commission: money.FormatNano(e.Commission), Currency: e.Currency, Transaction: e.Txn,
		DurationMS: e.Duration / 1000, FirstByteMS: e.FirstByte / 1000, Attempts: e.Attempts, Receipt: "pending"}
	if e.Excess > 0 {
		v.Uncharged = money.FormatNano(e.Excess)
	}
	for i, n := range e.Usage {
		if n != 0 {
			v.Usage[meter.ClassNames[i]] = n
		}
	}
	if e.Meter != "" {
		v.Units = &UnitsView{e.Meter, meter.Quantity(e.Units)}
	}
	v.Digests.Request, v.Digests.Response = hexOf(e.RequestDigest), hexOf(e.ResponseDigest)
	return v
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
