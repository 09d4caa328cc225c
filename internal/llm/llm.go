// Package llm holds what the data plane knows about a model call independently of a provider's
// dialect: the usage by token class, what was delivered to the caller, and the bounds that holds
// are made of.
//
// It does not price (that is the rating room), does not do I/O and keeps no state. The codecs live
// below it: llm/openai for the dialect, llm/sse for framing of event streams, llm/scan for walking
// over JSON bytes, llm/tokens for counting tokens when an upstream gives no usage.
//
// Invariant: the classes of a [Usage] are disjoint. A token is in exactly one of them, so that each
// can have its own price and the sum is the number of tokens.
package llm

// Classes is the number of quantities of one call: seven token classes and the request itself.
const Classes = 8

// The index of each quantity in the array made by [Usage.Classes]. The rating room uses the same order.
const (
	Input       = iota // uncached text (and image) input
	CachedInput        // input read from the provider's cache
	CacheWrite         // input written to the provider's cache
	Output             // visible output
	Reasoning          // hidden or shown reasoning
	AudioInput
	AudioOutput
	Requests // always 1
)

// MaxCount is the largest believable number of tokens in one call. A larger figure from an upstream
// is an error of the upstream, and is ignored.
const MaxCount = 1_000_000_000

// Usage is what a call consumed, in tokens, by disjoint class.
type Usage struct {
	Input, CachedInput, CacheWrite, Output, Reasoning, AudioInput, AudioOutput int64

	Found     bool // the upstream reported it
	Estimated bool // counted by us, wholly or in part, because the upstream reported nothing usable
}

// Classes gives the quantities in the order of the constants, with one request.
func (u *Usage) Classes() [Classes]int64 {
	return [Classes]int64{u.Input, u.CachedInput, u.CacheWrite, u.Output, u.Reasoning, u.AudioInput, u.AudioOutput, 1}
}

// InputTotal is the number of tokens read, over all input classes.
func (u *Usage) InputTotal() int64 { return u.Input + u.CachedInput + u.CacheWrite + u.AudioInput }

// OutputTotal is the number of tokens made, over all output classes.
func (u *Usage) OutputTotal() int64 { return u.Output + u.Reasoning + u.AudioOutput }

// InputBound is an upper bound on the input tokens of a request body of n bytes: a byte-level BPE
// vocabulary has a token for every byte, so text never takes more tokens than bytes, and the JSON
// around each message is longer than the few tokens that a chat template adds for it. What the body
// only refers to (an image by URL, a stored file) is not in it; that excess is the one thing that a
// call can cost beyond its hold.
func InputBound(n int) int64 { return int64(n) }

// Delivered measures the output that was handed to the caller, for calls without reported usage and
// for streams that were cut short.
type Delivered struct {
	Text      []byte // decoded text, the first [TextKept] bytes of it; aliases the measurer's buffer
	Bytes     int64  // length of all decoded text: content, reasoning, refusals, tool names and arguments
	Reasoning int64  // of these, bytes of reasoning
	Chunks    int64  // events (or choices) that carried text
	Choices   int64  // events (or choices) at all, with text or without
}

// TextKept is how much of the delivered text is kept for the tokenizer; the rest is counted by its
// length in the proportion found in the kept part.
const TextKept = 16 << 10

// Estimate is a cheap running figure of the output tokens, without a tokenizer: the number of
// chunks where chunks are about as long as tokens (2 to 8 bytes each on average), else a token for
// four bytes. It is never zero once anything was delivered. Measured against the tokenizer: exact where
// a chunk is a token; else within 10 % for English and Chinese prose and 20 % below for code; at most
// 45 % off for the worst size of pieces.
func (d *Delivered) Estimate() int64 {
	if d.Bytes == 0 {
		return min(d.Choices, 1)
	}
	if d.Bytes >= 2*d.Chunks && d.Bytes <= 8*d.Chunks {
		return d.Chunks
	}
	return (d.Bytes + 3) / 4
}

// Floor is a figure that the true number of output tokens is very unlikely to be below: the basis
// for cutting a stream, where a figure too high would cut an answer that was within its limit. It is
// the number of chunks, or a token for six bytes where that is fewer (an upstream that cuts tokens
// into pieces), but at least a token for 32 bytes (an upstream that sends whole paragraphs).
func (d *Delivered) Floor() int64 {
	return max(min(d.Chunks, d.Bytes/6), d.Bytes/32)
}
