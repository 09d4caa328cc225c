// Package engine is the contract between the gateway and the first-party capability engines below it:
// what a call is, how an answer is written, in which unit a call is measured, and which routes exist.
//
// An engine knows nothing of keys, prices or wallets: it gets a call with the name of its owner and answers.
// A [Route] is a contract that any provider's product may serve; the engines here are one provider among
// others. The package does no input or output and keeps no state.
//
// Invariants: a quantity is an integer count of thousandths of its meter's unit; a route's Measure depends on
// the request alone and never falls below what the engine will report.
package engine

import (
	"context"
	"net/url"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// The meters of the contracts. A rate card prices them by these names.
const (
	Characters   = "characters"    // Unicode code points of text that is read, or spoken
	AudioSeconds = "audio_seconds" // of recorded or live sound
	Images       = "images"        // that are looked at or made
	Messages     = "messages"      // that a bot or an agent answers
	Requests     = "requests"      // calls
)

// Quantity is an amount of a meter in thousandths of its unit: 1500 audio seconds are one and a half.
type Quantity int64

// Units is n whole units.
func Units(n int) Quantity { return Quantity(n) * 1000 }

// The capabilities: what a product can do, hence which routes it answers.
const (
	Translate  = "translate"
	Text       = "text"
	Transcribe = "transcribe" // speech to text
	Speak      = "speak"      // text to speech
	Vision     = "vision"
	ImageGen   = "image"  // images made from text
	Assist     = "assist" // customer service
	Recommend  = "recommend"
	Embeddings = "embeddings"
)

// Style is how a route tells errors.
type Style int

// The styles.
const (
	Problem  Style = iota // RFC 9457, application/problem+json
	OpenAI                // {"error": {"message", "type", "code", "param"}}
	Plain                 // {"error": "text"}
	DeepLike              // {"message": "text"}
)

// Route is one operation of a contract.
type Route struct {
	Name       string // unique: "text.classify"
	Method     string
	Pattern    string // as in net/http's ServeMux: "/v1/assist/bots/{bot}"
	Capability string
	Meter      string // "" for what costs nothing and is not metered
	// Measure gives what the call will use at most, and uses if the engine reports nothing. A refusal is a
	// *problem.Error. Nil: one unit.
	Measure func(*Request) (Quantity, error)
	Style   Style
	MaxBody int64 // bytes; 0: 1 MiB
	// Public routes may be called with a key that is bound to web pages by its referrers; others may not.
	Public bool
	// KeyField names the field of a JSON or form body that may carry the key instead of a header.
	KeyField string
	// Anonymous routes may be called without a key where the operator has opened a free tier.
	Anonymous bool
	// Result names the member of a JSON answer that holds what was asked for: an upstream's answer without it is none. "" for
	// any JSON.
	Result string
	// Media are the types, or how they begin, of answers other than JSON. Those of text/ and application/ answer uploads, and
	// routes that cost nothing.
	Media []string
	// Socket routes are WebSocket sessions (RFC 6455): GET, served by [Talker].
	Socket bool
}

// Request is one call. The engine reads it and keeps nothing of it once it has returned.
type Request struct {
	ID    string // of the call: evt_…
	Route *Route
	Path  string
	// EscapedPath is Path as it was written.
	EscapedPath string
	Params      map[string]string // of the pattern's wildcards
	Query       url.Values
	Type        string // Content-Type
	Accept      string
	Header      func(name string) string // other headers, canonical names; never nil in a call from the gateway
	Language    string                   // "en" or "zh": of texts for people
	Body        []byte
	Owner       string // organisation that calls: whose glossaries, bots, galleries. Opaque.
	Model       string // which of the engine's models the product stands for; may be ""
	Caller      Caller // calls other products in the caller's name; may be nil
	// Whole is set for a request that the engine must see even where the larger model knows the operation: it asks for
	// documents, glossaries or a stream. A route's Measure may set it.
	Whole bool
	// Upstream asks the larger model that the product is connected to, nil for none: operation is the name of a
	// canonical route ("translate"), body its JSON request, the result its JSON answer.
	Upstream func(ctx context.Context, operation string, body []byte) ([]byte, error)
}

// Writer takes an answer. Start once, then Write as often as needed. A text/event-stream is sent on by Flush.
type Writer interface {
	SetHeader(name, value string) // before Start
	Start(status int, contentType string)
	Write(b []byte) error // an error: the client left; stop
	Flush() error
	// Used reports what the call has used so far, in thousandths of the route's unit; the last report counts.
	// A stream that breaks off is charged what was reported.
	Used(q Quantity)
}

// Engine answers calls. It is safe for concurrent use. An error before Start is told to the caller in the
// route's style (a *problem.Error, or else "internal error"); after Start the answer breaks off.
type Engine interface {
	Serve(ctx context.Context, r *Request, w Writer) error
}

// Talker is an Engine that also holds sessions. Talk returns when the session is over; nil closes it normally.
type Talker interface {
	Engine
	Talk(ctx context.Context, r *Request, c Conn) error
}

// Conn is a WebSocket session. Read and Write may be called from two goroutines, each from one.
type Conn interface {
	// Read gives the next message. io.EOF: the client has closed.
	Read(ctx context.Context) (text bool, message []byte, err error)
	Write(ctx context.Context, text bool, message []byte) error
	// Used reports what the session has used so far. An error (problem.Funds): what was reserved is used up;
	// tell the client and return.
	Used(q Quantity) error
}

// Caller makes calls on this platform in the name, and at the cost, of who made the present one.
type Caller interface {
	// Call calls route ("chat.completions", "embeddings", or a Route's name) with a JSON body that names the
	// model. piece, if not nil, gets the answer as it comes; otherwise it is returned whole.
	Call(ctx context.Context, route string, body []byte, piece func([]byte) error) (answer []byte, err error)
}

// Info tells of one model of an engine, for the catalogue and for people.
type Info struct {
	Engine  string `json:"engine"` // "apertium"
	Model   string `json:"model"`  // "spa-eng"
	Version string `json:"version,omitempty"`
	Ready   bool   `json:"ready"`
	Need    string `json:"need,omitempty"` // how to make it ready
	Licence string `json:"licence,omitempty"`
}

// Describer is an Engine that tells which models it has, installed or not. It must be fast: no process is started for it.
type Describer interface{ Describe() []Info }

// Missing is the error of an engine that is not installed. what names it for people.
func Missing(what string) error {
	return problem.New(problem.Unavailable, "engine.missing",
		"%s is not installed on this server; the operator can install it with scripts/install-engines", what).After(problem.Never)
}

// NeedsUpstream is the error of an operation that no offline engine can do.
func NeedsUpstream(what string) error {
	return problem.New(problem.Unavailable, "engine.needs_upstream",
		"%s needs a larger model, and none is connected to this product; choose another model, or ask its provider to add an upstream", what).After(problem.Never)
}
