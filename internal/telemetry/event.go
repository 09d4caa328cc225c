package telemetry

import (
	"net/netip"
	"time"

	"github.com/tollgate-io/tollgate/internal/problem"
)

// Dialect is the API shape that a client spoke. The set is closed, so that it can be a label.
type Dialect uint8

// The dialects. NoDialect is for what was refused before its shape was known.
const (
	NoDialect Dialect = iota
	OpenAI
	Anthropic
	Gemini
	Service // /svc: an API that is forwarded as it is
	MCP
	nDialects
)

var dialectNames = [nDialects]string{"none", "openai", "anthropic", "gemini", "svc", "mcp"}

// String returns the label of d.
func (d Dialect) String() string {
	if d < nDialects {
		return dialectNames[d]
	}
	return dialectNames[NoDialect]
}

// Outcome classifies how a request, or one attempt at an upstream, ended. The zero value is OK.
type Outcome uint8

// The outcomes.
const (
	OK          Outcome = iota
	Refused             // the caller's fault: malformed, no credential, not subscribed, unknown
	Limited             // 429: a rate or concurrency limit
	Funds               // 402: wallet or budget exhausted
	ClientGone          // 499: the client left; what was delivered is charged
	Cut                 // a stream ended at its hold
	Upstream            // 502: the upstream refused, broke off or answered nonsense
	Timeout             // 504: the upstream was too slow
	Unavailable         // 503: nothing could take the request
	Failed              // 500: a fault of ours
	nOutcomes
)

var outcomeNames = [nOutcomes]string{"ok", "refused", "limited", "funds", "client_gone", "cut", "upstream", "timeout", "unavailable", "failed"}

// String returns the label of o.
func (o Outcome) String() string {
	if o < nOutcomes {
		return outcomeNames[o]
	}
	return outcomeNames[Failed]
}

// OutcomeOf returns the outcome of a request that ended with err.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OK
	}
	switch problem.As(err).Kind {
	case problem.TooMany:
		return Limited
	case problem.Funds:
		return Funds
	case problem.ClientGone:
		return ClientGone
	case problem.Upstream:
		return Upstream
	case problem.Timeout:
		return Timeout
	case problem.Unavailable:
		return Unavailable
	case problem.Internal:
		return Failed
	}
	return Refused
}

// Class is a token class; classes are disjoint. The order is that of llm.Usage and rating.Tokens.
type Class uint8

// The token classes.
const (
	Input Class = iota
	CachedInput
	CacheWrite
	Output
	Reasoning
	AudioInput
	AudioOutput
	NClasses
)

var classNames = [NClasses]string{"input", "cached_input", "cache_write", "output", "reasoning", "audio_input", "audio_output"}

// String returns the label of c.
func (c Class) String() string {
	if c < NClasses {
		return classNames[c]
	}
	return "other"
}

// Event is what is known of one request. It is meant to live inside a pooled request: assign
// Event{} to reuse it. Strings may point into pooled memory, since nothing keeps them after Emit,
// Observe and Span.End have returned. It is not safe for concurrent use.
type Event struct {
	Time   time.Time // when the request arrived
	ID     string    // request id = usage event id = x-request-id
	Method string
	Path   string
	Status int // what the client saw; 499 when it left

	Dialect  Dialect
	Stream   bool
	Outcome  Outcome
	Attempts int // upstream attempts made

	Org      string // consumer
	Key      string // key id, never the credential
	Product  string
	Model    string // as the client called it
	Upstream string // of the last attempt
	Target   string // of the last attempt
	RemoteIP netip.Addr

	Tokens     [NClasses]int64
	Meter      string // of a capability's call; "" for a language model's
	Units      int64  // thousandths of Meter's unit
	Estimated  bool   // the tokens were counted here, the upstream gave none
	ChargeNano int64  // in 1e-9 of Currency
	Currency   string

	TTFB     time.Duration // arrival to the first byte to the client; zero if there was none
	Duration time.Duration // arrival to the end
	BytesIn  int64         // request body
	BytesOut int64         // answer body

	Trace TraceContext // zero when not traced
	Err   error        // why it failed, with its cause; a *problem.Error gives its id
}
