// Package tokens counts tokens where an upstream does not report usage.
//
// The figures are estimates and are marked so wherever they appear. The vocabulary is o200k_base
// (GPT-4o and later), which is embedded and used for every model: other vocabularies split ordinary
// text within about a fifth of it. A figure is never zero for something that is not empty.
//
// Cost is bounded. Of a request's text at most [Exact] bytes go through the tokenizer; text beyond is
// counted by its length, in the proportion found before, kept between a token for six bytes and one
// for two. Of delivered text the first [llm.TextKept] bytes are counted likewise.
//
// Rules for what is not text, by the providers' published tables:
//   - each message takes 3 tokens beside its role and content, a name one more, and the answer's
//     opening 3 (OpenAI cookbook, "How to count tokens with tiktoken");
//   - tool definitions count as their JSON text;
//   - an image of low detail takes 85 tokens; any other 85 and 170 for each tile of 512 pixels,
//     after scaling into 2048×2048 and the shorter side to 768 (OpenAI, "Images and vision"). Of an
//     image by URL, or in a format whose size we do not read, the size is taken as 1024×1024: 765;
//   - audio takes a token for each 100 ms (OpenAI, "Managing costs" of the realtime API), its length
//     read from the WAV header, else taken as 16,000 bytes a second;
//   - of a file nothing is published: a token for 16 bytes.
package tokens

import (
	"sync"

	"github.com/tiktoken-go/tokenizer/codec"

	"github.com/tollgate-io/tollgate/internal/llm"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
)

// Exact is how many bytes of a request's text go through the tokenizer at most (3 to 8 ms of CPU).
const Exact = 32 << 10

// Counter counts tokens. The zero value is ready, and safe for concurrent use. The vocabulary is
// loaded on first use (about 20 ms and 12 MB), so that a process that never estimates never pays.
type Counter struct {
	once  sync.Once
	codec *codec.Codec
}

// Text counts the tokens of s exactly, whatever its length.
func (c *Counter) Text(s string) int64 {
	if s == "" {
		return 0
	}
	c.once.Do(func() { c.codec = codec.NewO200kBase() })
	n, err := c.codec.Count(s)
	if err != nil || n == 0 { // the splitting expression gave up
		return int64(len(s)+3) / 4
	}
	return int64(n)
}

// Output splits what was delivered into tokens of output and of reasoning. It is never zero in sum
// once anything was delivered.
func (c *Counter) Output(d *llm.Delivered) (output, reasoning int64) {
	if d.Bytes == 0 {
		return min(d.Choices, 1), 0
	}
	t := tally{count: c.Text, left: len(d.Text)}
	t.text(string(d.Text))
	t.skipped += d.Bytes - int64(len(d.Text))
	total := max(1, t.total())
	reasoning = total * d.Reasoning / d.Bytes
	return total - reasoning, reasoning
}

// Chat counts the input of a chat request, from the raw JSON of its messages and tools (which may be
// empty): tokens of text and images, and tokens of audio.
func (c *Counter) Chat(messages, tools []byte) (input, audio int64) {
	t := tally{count: c.Text, left: Exact, fixed: 3}
	for m := scan.Open(messages, 0); m.Next(); {
		t.fixed += 3
		for o := scan.Open(messages, m.Start); o.Next(); {
			t.member(string(o.Key), messages[o.Start:o.End])
		}
	}
	t.text(string(tools))
	return t.total(), t.audio
}

// Embeddings counts the input of an embeddings request from its raw JSON: texts, or token ids, which
// are counted as they are.
func (c *Counter) Embeddings(input []byte) int64 {
	t := tally{count: c.Text, left: Exact}
	t.embed(input)
	return max(1, t.total())
}

// tally adds up one request.
type tally struct {
	count   func(string) int64
	left    int   // bytes that may still go through the tokenizer
	counted int64 // bytes that did
	tokens  int64 // and what they came to
	skipped int64 // bytes that did not
	fixed   int64 // tokens by rule
	audio   int64
}

func (t *tally) total() int64 {
	rest := t.skipped / 4
	if t.counted > 0 {
		rest = min(max(t.skipped*t.tokens/t.counted, t.skipped/6), t.skipped/2)
	}
	return t.tokens + t.fixed + rest
}

func (t *tally) text(s string) {
	n := min(len(s), t.left)
	t.left -= n
	t.tokens += t.count(s[:n])
	t.counted += int64(n)
	t.skipped += int64(len(s) - n)
}

// value adds a JSON string.
func (t *tally) value(v []byte) {
	if len(v) < 3 || v[0] != '"' {
		return
	}
	raw := v[1 : len(v)-1]
	// No more is decoded than can be counted; an escape cut in two is a byte or so of error.
	head := raw[:min(len(raw), 6*t.left)]
	t.text(string(scan.Unquote(nil, head)))
	t.skipped += int64(scan.TextLen(raw[len(head):]))
}

func (t *tally) member(key string, v []byte) {
	switch key {
	case "role", "refusal", "reasoning_content", "reasoning":
		t.value(v)
	case "name":
		t.fixed++
		t.value(v)
	case "content":
		if v[0] == '"' {
			t.value(v)
			return
		}
		for p := scan.Open(v, 0); p.Next(); {
			t.part(v[p.Start:p.End])
		}
	case "tool_calls":
		for p := scan.Open(v, 0); p.Next(); {
			if s, _, ok := scan.Member(v, p.Start, "function"); ok {
				t.function(v, s)
			}
		}
	case "function_call":
		t.function(v, 0)
	}
}

func (t *tally) function(b []byte, i int) {
	for o := scan.Open(b, i); o.Next(); {
		t.value(b[o.Start:o.End])
	}
}

// part adds a content part. What a part is, its payload says; its type is not asked.
func (t *tally) part(p []byte) {
	for o := scan.Open(p, 0); o.Next(); {
		v := p[o.Start:o.End]
		switch string(o.Key) {
		case "text", "refusal":
			t.value(v)
		case "image_url":
			t.fixed += imageTokens(v)
		case "input_audio":
			t.audio += audioTokens(v)
		case "file":
			t.fixed += fileTokens(v)
		}
	}
}

func (t *tally) embed(v []byte) {
	switch {
	case len(v) == 0:
	case v[0] == '"':
		t.value(v)
	case v[0] == '[':
		for o := scan.Open(v, 0); o.Next(); {
			t.embed(v[o.Start:o.End])
		}
	default:
		t.fixed++
	}
}
