package sandbox

import (
	"hash/fnv"
	"math"
	"strings"

	"github.com/tollgate-io/tollgate/internal/llm/openai"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Dimensions of the sandbox's vectors.
const (
	DefaultDimensions = 256
	MaxDimensions     = 2048
)

func embeddings(body []byte) ([]byte, error) {
	r, err := openai.ParseEmbeddings(body)
	if err != nil {
		return nil, err
	}
	dimensions := DefaultDimensions
	if r.Dimensions != 0 {
		if dimensions = r.Dimensions; dimensions > MaxDimensions {
			return nil, problem.New(problem.Invalid, "sandbox.dimensions", "dimensions must be between 1 and %d", MaxDimensions).
				WithField("dimensions", "must be between 1 and %d", MaxDimensions)
		}
	}
	tokens, vectors := 0, make([][]float32, len(r.Inputs))
	for i, text := range r.Inputs {
		tokens += len(Pieces(text))
		vectors[i] = Vector(text, dimensions)
	}
	return r.Answer("tollgate-sandbox: hashed n-grams, no neural model", vectors, tokens)
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
