// Package wire is what Tollgate and its child with sherpa-onnx say to each other on the child's standard input and
// output: one request, one answer, in turn.
//
// Each is the payload of a frame of package child: the length of its head in four bytes, the head in JSON, and then sound,
// 16 bits a sample; all little-endian. A request's head is a model's configuration, a language and a task; an answer's is a text with
// its tokens, or a refusal, and it has no sound. The package does no input or output.
//
// Invariants: whatever the bytes, reading never panics and never takes more memory than a small multiple of what was
// read; what was read is within the bounds.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// The bounds of a message.
const (
	Rate       = 16000     // Hz of the sound
	MaxSamples = 60 * Rate // of one utterance
	MaxHead    = 1 << 20   // bytes
	MaxFrame   = 4 + MaxHead + 2*MaxSamples
	MaxTokens  = 8192
	maxFiles   = 16
	maxText    = 4096 // bytes of a path or a name
	maxRefusal = 8192
)

// Model is how a model is loaded.
type Model struct {
	Type      string            `json:"type"` // as sherpa-onnx's configuration calls it: transducer, whisper, sense_voice, …
	Streaming bool              `json:"streaming,omitempty"`
	Files     map[string]string `json:"files"` // paths by what they are: encoder, decoder, joiner, model, tokens, …
	Rate      int               `json:"rate,omitempty"`
	Features  int               `json:"features,omitempty"` // dimensions of a frame; 0: the type's usual ones
}

// Request is what Tollgate asks: to load a model, and to recognise an utterance with it if there is sound.
type Request struct {
	Model     Model   `json:"model"`
	Language  string  `json:"language,omitempty"` // "" where the model is to find out
	Translate bool    `json:"translate,omitempty"`
	PCM       []int16 `json:"-"`
}

// Answer is what the child says. A Refusal means that the request failed and the child is as good as before. Starts,
// Durations and LogProbs have as many elements as Tokens, or none where the model does not tell.
type Answer struct {
	Refusal   string    `json:"refusal,omitempty"`
	Text      string    `json:"text,omitempty"`
	Language  string    `json:"language,omitempty"`
	Tokens    []string  `json:"tokens,omitempty"`
	Starts    []float32 `json:"starts,omitempty"`    // seconds since the utterance began
	Durations []float32 `json:"durations,omitempty"` // seconds
	LogProbs  []float32 `json:"log_probs,omitempty"` // natural logarithms
}

var errBad = errors.New("the message is malformed")

// frame encodes a head and sound, with the length.
func frame(head any, pcm []int16) ([]byte, error) {
	data, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	if len(data) > MaxHead || len(pcm) > MaxSamples {
		return nil, child.ErrTooLarge
	}
	b := make([]byte, 8, 8+len(data)+2*len(pcm))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(data)))
	b = append(b, data...)
	for _, v := range pcm {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return child.Seal(b, MaxFrame)
}

// parse decodes a payload's head into v and gives its sound.
func parse(payload []byte, v any) ([]int16, error) {
	if len(payload) < 4 {
		return nil, errBad
	}
	n := binary.LittleEndian.Uint32(payload)
	payload = payload[4:]
	if n > MaxHead || int64(n) > int64(len(payload)) {
		return nil, errBad
	}
	head, sound := payload[:n], payload[n:]
	if len(sound)%2 != 0 || len(sound) > 2*MaxSamples {
		return nil, errBad
	}
	if err := json.Unmarshal(head, v); err != nil {
		return nil, fmt.Errorf("%w: %w", errBad, err)
	}
	if len(sound) == 0 {
		return nil, nil
	}
	pcm := make([]int16, len(sound)/2)
	for i := range pcm {
		pcm[i] = int16(binary.LittleEndian.Uint16(sound[2*i:]))
	}
	return pcm, nil
}

// Frame encodes a request, with its length.
func (q *Request) Frame() ([]byte, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	return frame(q, q.PCM)
}

// ParseRequest decodes the payload of a request.
func ParseRequest(payload []byte) (*Request, error) {
	q := &Request{}
	var err error
	if q.PCM, err = parse(payload, q); err != nil {
		return nil, err
	}
	return q, q.check()
}

func (q *Request) check() error {
	m := &q.Model
	if len(m.Files) > maxFiles || m.Rate < 0 || m.Rate > 192_000 || m.Features < 0 || m.Features > 1024 {
		return errBad
	}
	for role, path := range m.Files {
		if !plain(role) || !plain(path) {
			return errBad
		}
	}
	if !plain(m.Type) || !plain(q.Language) {
		return errBad
	}
	return nil
}

// plain reports whether a string can be one of C's, and is no longer than a path.
func plain(s string) bool {
	return len(s) <= maxText && !strings.ContainsRune(s, 0) && utf8.ValidString(s)
}

// Frame encodes an answer, with its length.
func (a *Answer) Frame() ([]byte, error) {
	if len(a.Refusal) > maxRefusal {
		a.Refusal = strings.ToValidUTF8(a.Refusal[:maxRefusal], "")
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return frame(a, nil)
}

// ParseAnswer decodes the payload of an answer.
func ParseAnswer(payload []byte) (*Answer, error) {
	a := &Answer{}
	if pcm, err := parse(payload, a); err != nil || pcm != nil {
		return nil, errors.Join(err, errBad)
	}
	return a, a.check()
}

func (a *Answer) check() error {
	n := len(a.Tokens)
	if n > MaxTokens {
		return child.ErrTooLarge
	}
	if slices.ContainsFunc([]int{len(a.Starts), len(a.Durations), len(a.LogProbs)}, func(m int) bool { return m != 0 && m != n }) {
		return errBad
	}
	return nil
}
