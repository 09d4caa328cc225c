// Package catalog holds what is on offer and how to reach it: upstreams with their credentials, API
// products with their release versions, and the targets a version is answered by.
//
// It keeps no prices and no subscriptions (the plan room does), chooses no target (route), and sends
// no call except to list an upstream's models. Who may write what is decided by the caller; each
// write is audited in its own transaction.
//
// Invariants:
//   - a name is unique within its owner and never changes; a product's public model id is unique
//     within its provider and fixed once the product has been published;
//   - the shares of a product's live versions sum to 100 at every commit;
//   - a target's upstream belongs to the product's provider;
//   - credentials are sealed at rest, each for its own row, and only [Snapshot] opens them;
//   - every change raises the change counter [Counter], by which the snapshots of all processes notice.
package catalog

import (
	"slices"
	"time"

	"github.com/tollgate-io/tollgate/internal/db"
	"github.com/tollgate-io/tollgate/internal/secret"
)

// Prefixes of the ids that the room gives out.
const (
	PrefixUpstream   = "ups"
	PrefixCredential = "crd"
	PrefixProduct    = "prd"
	PrefixVersion    = "ver"
	PrefixTarget     = "tgt"
)

// State is where an upstream, a credential or a product stands.
type State string

// The states. Retired is final.
const (
	Draft     State = "draft"     // product: being prepared, nobody sees or calls it
	Published State = "published" // product: on sale
	Active    State = "active"    // upstream, credential: in use
	Disabled  State = "disabled"  // credential: kept, not used
	Suspended State = "suspended" // upstream, product: switched off with a reason, may be resumed
	Retired   State = "retired"   // upstream, product: gone for good
)

// Dialect is the protocol an upstream speaks.
type Dialect string

// The dialects.
const (
	OpenAI  Dialect = "openai"  // any OpenAI-compatible server; the URL ends before /chat/completions
	Builtin Dialect = "builtin" // an engine in this process: builtin://name
	// Contract is a server that answers the very paths of the capability contracts; the URL ends before /translate and
	// the like, with or without the data plane's /v1.
	Contract Dialect = "contract"
	KServe   Dialect = "kserve" // open inference protocol v2, as of Triton; the URL ends before /v2
	Flask    Dialect = "flask"  // POST /translate {text, sourceLanguage, targetLanguage}
)

// dialects are all but builtin, which goes with its own kind of URL.
var dialects = []Dialect{OpenAI, Contract, KServe, Flask}

// Timeouts bound a call to an upstream, in milliseconds. In an input zero takes the default.
type Timeouts struct {
	Connect   int64 `json:"connect_ms"`    // until the connection stands, TLS included; default 5 s
	FirstByte int64 `json:"first_byte_ms"` // from the request sent to the answer's first byte; default 60 s
	Idle      int64 `json:"idle_ms"`       // between two reads of an answer; default 120 s
	Total     int64 `json:"total_ms"`      // for the whole call; default 30 min
}

// defaultTimeouts are taken where the provider states none.
var defaultTimeouts = Timeouts{Connect: 5_000, FirstByte: 60_000, Idle: 120_000, Total: 1_800_000}

// Text is a text for people in English and Simplified Chinese; either may be empty.
type Text struct {
	En string `json:"en,omitempty"`
	Zh string `json:"zh,omitempty"`
}

// In returns the text in lang ("zh" or else English), or the other language where that is empty.
func (t Text) In(lang string) string {
	if (lang == "zh" && t.Zh != "") || t.En == "" {
		return t.Zh
	}
	return t.En
}

// Upstream is an endpoint that a provider's products call.
type Upstream struct {
	UUID        db.UUID       `json:"-"`
	ID          string        `json:"id"`
	OrgID       string        `json:"org"`
	Name        string        `json:"name"`
	URL         string        `json:"url"` // base without trailing slash: https://api.example.com/v1
	Dialect     Dialect       `json:"dialect"`
	Timeouts    Timeouts      `json:"timeouts"`
	State       State         `json:"state"` // active, suspended, retired
	Reason      string        `json:"reason,omitempty"`
	Revision    int64         `json:"revision"` // counts edits, those of its credentials included; for If-Match
	Created     time.Time     `json:"created"`
	Updated     time.Time     `json:"updated"`
	Credentials []*Credential `json:"credentials"` // by name; in a Snapshot the active ones only
}

// InService reports whether calls may go to the upstream: it is active, and if it has credentials one
// of them is.
func (u *Upstream) InService() bool {
	if u.State != Active {
		return false
	}
	for _, c := range u.Credentials {
		if c.State == Active {
			return true
		}
	}
	return len(u.Credentials) == 0
}

// Credential is one of an upstream's keys. Several are used in turn: one that the upstream refuses
// or limits is left to cool down.
type Credential struct {
	UUID     db.UUID     `json:"-"`
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	State    State       `json:"state"` // active, disabled
	LastFour string      `json:"last_four,omitempty"`
	Created  time.Time   `json:"created"`
	Updated  time.Time   `json:"updated"`
	Secret   secret.Text `json:"-"` // in a Snapshot only
}

// Kind is what sort of API a product is.
type Kind string

// Model is a product called by its model id through the data plane's endpoints.
const Model Kind = "model"

// Capability is an operation, or a contract of several, that a model product answers.
type Capability string

// The capabilities of a model product. The paths of a contract are its routes in the engine's room.
const (
	Chat           Capability = "chat"       // /v1/chat/completions
	Embeddings     Capability = "embeddings" // /v1/embeddings
	Translate      Capability = "translate"  // /v1/translate and below
	TextCapability Capability = "text"       // /v1/text/…
	Transcribe     Capability = "transcribe" // /v1/audio/transcriptions and what else listens
	Speak          Capability = "speak"      // /v1/audio/speech
	Vision         Capability = "vision"     // /v1/vision/…
	Image          Capability = "image"      // /v1/images/generations
	Assist         Capability = "assist"     // /v1/assist/…
	Recommend      Capability = "recommend"  // /v1/recommend/…
)

// Capabilities are all there are.
var Capabilities = []Capability{Chat, Embeddings, Translate, TextCapability, Transcribe, Speak, Vision, Image, Assist, Recommend}

// Meter is the meter that a rate card must price for the capability; "" for tokens.
func (c Capability) Meter() string {
	switch c {
	case Translate, TextCapability, Speak:
		return "characters"
	case Transcribe:
		return "audio_seconds"
	case Vision, Image:
		return "images"
	case Assist:
		return "messages"
	case Recommend:
		return "requests"
	}
	return ""
}

// Modality is a form of content.
type Modality string

// The modalities.
const (
	TextModality  Modality = "text"
	ImageModality Modality = "image"
	AudioModality Modality = "audio"
	VideoModality Modality = "video"
	FileModality  Modality = "file"
)

// Product is an API that a provider offers.
type Product struct {
	UUID         db.UUID      `json:"-"`
	OrgUUID      db.UUID      `json:"-"`
	ID           string       `json:"id"`
	OrgID        string       `json:"org"` // the provider
	Name         string       `json:"name"`
	Kind         Kind         `json:"kind"`
	Title        Text         `json:"title"`
	Description  Text         `json:"description"`
	Model        string       `json:"model"` // public model id; may contain slashes
	Capabilities []Capability `json:"capabilities"`
	Input        []Modality   `json:"input_modalities"`
	Output       []Modality   `json:"output_modalities"`
	Context      int64        `json:"context"`    // tokens; 0: not stated
	MaxOutput    int64        `json:"max_output"` // tokens; bounds an answer where the request states no limit; 0 without Chat
	State        State        `json:"state"`      // draft, published, suspended, retired
	Reason       string       `json:"reason,omitempty"`
	Revision     int64        `json:"revision"` // counts edits, those of its versions and targets included; for If-Match
	Created      time.Time    `json:"created"`
	Updated      time.Time    `json:"updated"`
	Published    time.Time    `json:"published,omitzero"` // first time
	Versions     []*Version   `json:"versions,omitempty"` // by name

	// Live are the versions that take traffic now: a share above zero and a target in service.
	// Their shares need not sum to 100. In a Snapshot only.
	Live []*Version `json:"-"`

	definition string // as stated; only where the product was read by itself
}

// Meters lists what a rate card of the product must price, beside tokens.
func (p *Product) Meters() (meters []string, tokens bool) {
	for _, c := range p.Capabilities {
		m := c.Meter()
		tokens = tokens || m == ""
		if m != "" && !slices.Contains(meters, m) {
			meters = append(meters, m)
		}
	}
	return meters, tokens
}

// Can reports whether the product answers the operation.
func (p *Product) Can(c Capability) bool {
	for _, have := range p.Capabilities {
		if have == c {
			return true
		}
	}
	return false
}

// Release is the part a version plays in its product's traffic.
type Release string

// The releases. Their shares alone decide the split; the names say what the provider means by it.
const (
	Stable    Release = "stable"
	Canary    Release = "canary"
	Blue      Release = "blue"
	Green     Release = "green"
	Withdrawn Release = "retired" // takes no traffic, for good
)

// Version is a release line of a product.
type Version struct {
	UUID    db.UUID   `json:"-"`
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Release Release   `json:"release"`
	Share   int64     `json:"share"` // percent of the product's traffic
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	Targets []*Target `json:"targets"` // by priority, then id; in a Snapshot those in service only
}

// Target is one choice for a version's calls: a model of an upstream.
type Target struct {
	UUID          db.UUID `json:"-"`
	ID            string  `json:"id"`
	UpstreamID    string  `json:"upstream"`
	UpstreamModel string  `json:"upstream_model"`
	Priority      int64   `json:"priority"` // lower ones are tried first
	Weight        int64   `json:"weight"`   // share among those of equal priority

	Upstream *Upstream `json:"-"` // in a Snapshot only
}
