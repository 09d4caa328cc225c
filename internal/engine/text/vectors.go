package text

import (
	"container/list"
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/problem"
)

// Vectors turns texts into unit vectors of [Dimensions] numbers; the nearer the meaning, the larger the dot product. With the
// engines directory that is the Universal Sentence Encoder Lite, for English; what its vocabulary does not know (Chinese,
// say) is hashed character n-grams in the same space, as everything is without the directory: they see common words,
// not meaning. A text has the same vector whatever stands beside it. The encoder (28 MB of heap) is loaded at first use. Safe for concurrent use.
type Vectors struct {
	dir  engine.Dir
	once sync.Once
	use  *encoder
	err  error

	slots chan struct{} // of those who compute

	mu     sync.Mutex
	recent list.List // of *kept, the latest first
	byText map[string]*list.Element
}

type kept struct {
	text string
	v    []float32
	part float64
}

// Limits of vectors.
const (
	MaxInputs      = 2048
	maxVectorRunes = 8192    // of one text that are read
	maxWindows     = 8       // of maxPieces pieces, of one text
	maxVectorTotal = 300_000 // characters of one call
	keepVectors    = 4096    // about 9 MB
	maxKeptText    = 1024    // bytes
)

// NewVectors returns Vectors that have read nothing yet.
func NewVectors(dir engine.Dir) *Vectors {
	return &Vectors{dir: dir, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0))), byText: map[string]*list.Element{}}
}

func (v *Vectors) load() *encoder {
	v.once.Do(func() {
		v.use, v.err = loadEncoder(v.dir)
		if v.err != nil {
			v.use = nil
		}
		if errors.Is(v.err, os.ErrNotExist) {
			v.err = nil
		}
	})
	return v.use
}

// What makes vectors.
var (
	byMeaning  = made{"use-lite", "universal-sentence-encoder-lite"}
	bySpelling = made{"hashed-ngrams", "hashed words and character n-grams, no neural model"}
	byBoth     = made{byMeaning.Engine + "+" + bySpelling.Engine, byMeaning.Model + " for English; " + bySpelling.Model + " for the rest"}
)

// Engine names what makes the vectors of English. It does not load it.
func (v *Vectors) Engine() (name, model string) {
	if v.dir.Path(append(useDir, "model.json")...) != "" {
		return byMeaning.Engine, byMeaning.Model
	}
	return bySpelling.Engine, bySpelling.Model
}

// Embed returns the texts' vectors. The caller does not change them.
func (v *Vectors) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	out, _, err := v.embed(ctx, texts)
	return out, err
}

// meant is which part of a text the encoder has to know, so that its vector is taken for the meaning.
const meant = 0.5

// compared returns vectors of texts that are compared with each other, and whether by their meaning: a text that the encoder does
// not know has all of them compared by spelling, since what two makers say does not rank in one list.
func (v *Vectors) compared(ctx context.Context, texts []string) (out [][]float32, meaning bool, err error) {
	out, parts, err := v.embed(ctx, texts)
	if err != nil {
		return nil, false, err
	}
	if slices.Min(parts) >= meant {
		return out, true, nil
	}
	for i, s := range texts {
		if parts[i] > 0 {
			out[i] = hashed(cut(s, maxVectorRunes))
		}
	}
	return out, false, ctx.Err()
}

// madeBy is what made vectors of which the encoder made the parts.
func madeBy(parts []float64) made {
	switch {
	case slices.Max(parts) == 0:
		return bySpelling
	case slices.Min(parts) < blended:
		return byBoth
	}
	return byMeaning
}

// embed returns the texts' vectors, and which part of each the encoder made, from 0 to 1.
func (v *Vectors) embed(ctx context.Context, texts []string) ([][]float32, []float64, error) {
	if len(texts) > MaxInputs {
		return nil, nil, problem.New(problem.TooLarge, "text.too_many_inputs", "at most %d texts can be embedded at once", MaxInputs)
	}
	total := 0
	for _, s := range texts {
		total += min(count(s), maxVectorRunes)
	}
	if total > maxVectorTotal {
		return nil, nil, problem.New(problem.TooLarge, "text.too_long_to_embed", "at most %d characters can be embedded at once; send several requests", maxVectorTotal)
	}
	select {
	case v.slots <- struct{}{}:
		defer func() { <-v.slots }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	use := v.load()
	out, parts := make([][]float32, len(texts)), make([]float64, len(texts))
	for i, s := range texts {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		s = strings.Clone(cut(s, maxVectorRunes))
		if use == nil {
			out[i] = hashed(s)
			continue
		}
		if out[i], parts[i] = v.known(s); out[i] == nil {
			out[i], parts[i] = use.text(s)
			v.keep(s, out[i], parts[i])
		}
	}
	return out, parts, nil
}

func (v *Vectors) known(s string) (vector []float32, part float64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := v.byText[s]
	if e == nil {
		return nil, 0
	}
	v.recent.MoveToFront(e)
	k := e.Value.(*kept)
	return k.v, k.part
}

func (v *Vectors) keep(s string, x []float32, part float64) {
	if len(s) > maxKeptText {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.byText[s] != nil {
		return
	}
	v.byText[s] = v.recent.PushFront(&kept{s, x, part})
	for v.recent.Len() > keepVectors {
		e := v.recent.Back()
		delete(v.byText, v.recent.Remove(e).(*kept).text)
	}
}

// Of a text of which the vocabulary knows less than the first part, the vector is hashed n-grams alone; of one of which it knows less
// than the second, it has some.
const (
	foreign = 0.2
	blended = 0.95
)

// text is the vector of a text of any length, and which part of it the vocabulary knows: the mean over windows, with hashed n-grams
// in place of the rest. Both parts are nearly at right angles, so that English and Chinese are not taken for similar.
func (e *encoder) text(s string) ([]float32, float64) {
	ids, known := e.pieces.encode(s)
	if len(ids) == 0 || known < foreign {
		return hashed(s), 0
	}
	out := make([]float32, Dimensions)
	for w := 0; w < maxWindows && len(ids) > 0; w++ {
		n := min(len(ids), maxPieces)
		for i, x := range e.encode(ids[:n]) {
			out[i] += x * float32(n)
		}
		ids = ids[n:]
	}
	normalise(out)
	if known < blended {
		for i, x := range hashed(s) {
			out[i] = float32(known)*out[i] + float32(1-known)*x
		}
		normalise(out)
	}
	return out, known
}

// hashed adds +1 or -1 to one dimension for each word, pair of words and run of characters, chosen by their hash.
func hashed(s string) []float32 {
	out := make([]float32, Dimensions)
	for f, n := range features(s) {
		f ^= f >> 29 // FNV's low bits alone are weak
		f *= 0xbf58476d1ce4e5b9
		f ^= f >> 32
		x := n
		if f>>63 == 1 {
			x = -n
		}
		out[f%Dimensions] += x
	}
	normalise(out)
	return out
}

// Similarity is the cosine of two unit vectors.
func Similarity(a, b []float32) float64 {
	return float64(dotProduct(a, b[:len(a)]))
}
