package sandbox

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"strings"

	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Limits of an embeddings request.
const (
	DefaultDimensions = 256
	MaxDimensions     = 2048
	MaxInputs         = 2048
)

// embedRequest is a checked embeddings request.
type embedRequest struct {
	model      string
	inputs     []string
	dimensions int
	base64     bool
}

func parseEmbeddings(body []byte) (*embedRequest, error) {
	var s openai.Scan
	if err := openai.ScanEmbeddings(body, &s); err != nil {
		return nil, err
	}
	var b struct {
		Dimensions *int   `json:"dimensions"`
		Format     string `json:"encoding_format"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, wrongType(err)
	}
	r := &embedRequest{model: string(s.Name), dimensions: DefaultDimensions}
	input := s.Input.Of(body)
	var one string
	if json.Unmarshal(input, &one) == nil {
		r.inputs = []string{one}
	} else if json.Unmarshal(input, &r.inputs) != nil {
		return nil, problem.New(problem.Invalid, "sandbox.token_ids", "the sandbox embeds text, not token ids").
			WithField("input", "must be text")
	}
	if len(r.inputs) > MaxInputs {
		return nil, problem.New(problem.Invalid, "sandbox.inputs", "at most %d inputs can be embedded at once", MaxInputs).
			WithField("input", "at most %d", MaxInputs)
	}
	if b.Dimensions != nil {
		if r.dimensions = *b.Dimensions; r.dimensions < 1 || r.dimensions > MaxDimensions {
			return nil, problem.New(problem.Invalid, "sandbox.dimensions", "dimensions must be between 1 and %d", MaxDimensions).
				WithField("dimensions", "must be between 1 and %d", MaxDimensions)
		}
	}
	switch b.Format {
	case "", "float":
	case "base64":
		r.base64 = true
	default:
		return nil, problem.New(problem.Invalid, "sandbox.encoding", "encoding_format must be float or base64").
			WithField("encoding_format", "must be float or base64")
	}
	return r, nil
}

type embedding struct {
	Object    string `json:"object"`
	Index     int    `json:"index"`
	Embedding any    `json:"embedding"`
}

type embedAnswer struct {
	Object string      `json:"object"`
	Data   []embedding `json:"data"`
	Model  string      `json:"model"`
	Engine string      `json:"engine"`
	Usage  struct {
		Prompt int `json:"prompt_tokens"`
		Total  int `json:"total_tokens"`
	} `json:"usage"`
}

func (r *embedRequest) answer() *embedAnswer {
	a := &embedAnswer{Object: "list", Data: []embedding{}, Model: r.model, Engine: "tollgate-sandbox: hashed n-grams, no neural model"}
	for i, text := range r.inputs {
		v := Vector(text, r.dimensions)
		e := embedding{Object: "embedding", Index: i, Embedding: v}
		if r.base64 {
			e.Embedding = packed(v)
		}
		a.Data = append(a.Data, e)
		a.Usage.Prompt += len(Pieces(text))
	}
	a.Usage.Prompt = max(a.Usage.Prompt, 1)
	a.Usage.Total = a.Usage.Prompt
	return a
}

// Vector embeds a text by hashing: each search term and each run of three characters of it adds +1
// or -1 to one of the dimensions, both chosen by FNV-1a of the run, and the sum is scaled to length
// one. Texts that share words are near each other; it knows nothing of meaning. The same text always has
// the same vector, and the vector of an empty text is the first unit vector.
func Vector(text string, dimensions int) []float32 {
	v := make([]float32, dimensions)
	for _, t := range terms(text) {
		add(v, t)
		runes := []rune("^" + t + "$")
		for i := 0; i+3 <= len(runes); i++ {
			add(v, string(runes[i:i+3]))
		}
	}
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 {
		v[0] = 1
		return v
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

func add(v []float32, gram string) {
	h := fnv.New64a()
	h.Write([]byte(strings.ToLower(gram))) // a hash's Write never fails
	n := h.Sum64()
	if n>>63 == 0 {
		v[n%uint64(len(v))]++
	} else {
		v[n%uint64(len(v))]--
	}
}

// packed is a vector as the dialect packs it: little-endian float32 in base64.
func packed(v []float32) string {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(raw)
}
