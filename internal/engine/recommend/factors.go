package recommend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Implicit matrix factorisation by alternating least squares (Hu, Koren, Volinsky 2008), each row solved by a few steps
// of conjugate gradients (Takács, Pilászy, Tikk 2011). Constants by search on generated data.
const (
	rank      = 32
	sweeps    = 8
	alpha     = 8.0
	lambda    = 0.08
	stepsFit  = 3
	stepsFold = 8
	leastFit  = 50 // pairs below which nothing is trained
)

// factors are the vectors of the items; users have none: theirs are computed when needed, from their history.
type factors struct {
	items []float32 // rank for each item number; zero for items without users
	gram  []float32 // YᵀY
	turn  []float32 // one over the length of each item's vector
}

func newFactors(y []float32) *factors {
	f := &factors{items: y, gram: gram(y), turn: make([]float32, len(y)/rank)}
	for i := range f.turn {
		if v := y[i*rank : i*rank+rank]; v[0] != 0 {
			f.turn[i] = 1 / (float32(math.Sqrt(float64(dot(v, v)))) + 1e-9)
		}
	}
	return f
}

// csr is a sparse matrix by rows.
type csr struct {
	start []int32
	col   []int32
	val   []float32 // confidence above one
}

// row gives the columns and values of a row.
func (c *csr) row(i int) ([]int32, []float32) {
	a, b := c.start[i], c.start[i+1]
	return c.col[a:b], c.val[a:b]
}

// matrix copies the pairs of users with at least two, as they weigh now. The rows are compact: user numbers do not matter.
func (m *model) matrix(now uint32) *csr {
	c := &csr{start: []int32{0}, col: make([]int32, 0, m.pairs), val: make([]float32, 0, m.pairs)}
	for i := range m.users {
		pairs := m.users[i].pairs
		if len(pairs) < 2 {
			continue
		}
		for k := range pairs {
			if w := m.confidence(&pairs[k], now); w > 0 && m.items[pairs[k].item].listed {
				c.col, c.val = append(c.col, pairs[k].item), append(c.val, w)
			}
		}
		c.start = append(c.start, int32(len(c.col)))
	}
	return c
}

// confidence is by how much more a pair counts than one that never was.
func (m *model) confidence(p *pair, now uint32) float32 {
	if p.disliked() || p.w <= 0 {
		return 0
	}
	w := p.w * (0.25 + 0.75*m.decay(p.at, now))
	return alpha * float32(math.Log1p(float64(w)))
}

func (c *csr) transpose(cols int) *csr {
	t := &csr{start: make([]int32, cols+1), col: make([]int32, len(c.col)), val: make([]float32, len(c.val))}
	for _, j := range c.col {
		t.start[j+1]++
	}
	for j := range cols {
		t.start[j+1] += t.start[j]
	}
	at := append([]int32(nil), t.start...)
	for i := range len(c.start) - 1 {
		cols, vals := c.row(i)
		for k, j := range cols {
			t.col[at[j]], t.val[at[j]] = int32(i), vals[k]
			at[j]++
		}
	}
	return t
}

// train fits item vectors to the matrix with so many threads, from the vectors before if there are any.
func train(ctx context.Context, byUser *csr, items int, before *factors, threads int, seed uint64) (*factors, error) {
	byItem := byUser.transpose(items)
	users := len(byUser.start) - 1
	x, y := make([]float32, users*rank), make([]float32, items*rank)
	if before != nil {
		copy(y, before.items)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range items {
		v := y[i*rank : i*rank+rank]
		if cols, _ := byItem.row(i); len(cols) == 0 {
			clear(v)
		} else if v[0] == 0 {
			for k := range v {
				v[k] = float32(rng.NormFloat64()) * 0.1
			}
		}
	}
	n := sweeps
	if before != nil {
		n = sweeps / 2
	}
	for range n {
		if err := solveAll(ctx, byUser, y, x, gram(y), threads); err != nil {
			return nil, err
		}
		if err := solveAll(ctx, byItem, x, y, gram(x), threads); err != nil {
			return nil, err
		}
	}
	return newFactors(y), nil
}

// chunk of rows that a thread takes at a time.
const chunk = 256

// solveAll solves every row of out against the fixed vectors.
func solveAll(ctx context.Context, c *csr, fixed, out, g []float32, threads int) error {
	rows := len(c.start) - 1
	var next atomic.Int64
	var wg sync.WaitGroup
	var panicked atomic.Pointer[string]
	for range max(1, threads) {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					what := fmt.Sprintf("%v\n%s", p, debug.Stack())
					panicked.Store(&what)
				}
			}()
			var s solver
			for ctx.Err() == nil {
				from := int(next.Add(chunk)) - chunk
				if from >= rows {
					return
				}
				for i := from; i < min(from+chunk, rows); i++ {
					if cols, vals := c.row(i); len(cols) > 0 {
						s.solve(out[i*rank:i*rank+rank], cols, vals, fixed, g, stepsFit)
					}
				}
			}
		})
	}
	wg.Wait()
	if p := panicked.Load(); p != nil {
		return errors.New("recommend: training panicked: " + *p)
	}
	return ctx.Err()
}

// gram is VᵀV + λI of the vectors.
func gram(v []float32) []float32 {
	var sum [rank * rank]float64
	for i := 0; i+rank <= len(v); i += rank {
		r := v[i : i+rank]
		if r[0] == 0 {
			continue
		}
		for a, x := range r {
			row := sum[a*rank : a*rank+a+1]
			for b := range row {
				row[b] += float64(x * r[b])
			}
		}
	}
	g := make([]float32, rank*rank)
	for a := range rank {
		for b := range a + 1 {
			g[a*rank+b] = float32(sum[a*rank+b])
			g[b*rank+a] = g[a*rank+b]
		}
	}
	n := float64(len(v) / rank)
	for a := range rank {
		g[a*rank+a] += float32(lambda * (1 + math.Sqrt(n)))
	}
	return g
}

// solver holds the vectors of conjugate gradients.
type solver struct{ r, p, ap [rank]float32 }

// solve improves x towards (G + Σ c·yyᵀ) x = Σ (1+c)·y over the row's columns.
func (s *solver) solve(x []float32, cols []int32, vals, fixed, g []float32, steps int) {
	x = x[:rank]
	r, p, ap := s.r[:], s.p[:], s.ap[:]
	s.times(g, x, r)
	for i := range r {
		r[i] = -r[i]
	}
	for k, j := range cols {
		y := fixed[int(j)*rank : int(j)*rank+rank]
		add(r, y, 1+vals[k]-vals[k]*dot(x, y))
	}
	copy(p, r)
	rr := dot(r, r)
	for range steps {
		if rr < 1e-10 {
			return
		}
		s.times(g, p, ap)
		for k, j := range cols {
			y := fixed[int(j)*rank : int(j)*rank+rank]
			add(ap, y, vals[k]*dot(p, y))
		}
		a := rr / dot(p, ap)
		add(x, p, a)
		add(r, ap, -a)
		next := dot(r, r)
		b := next / rr
		rr = next
		for i := range p {
			p[i] = r[i] + b*p[i]
		}
	}
}

func (s *solver) times(g, x, out []float32) {
	for i := range rank {
		out[i] = dot(g[i*rank:i*rank+rank], x)
	}
}

// dot works on arrays, so that no bounds are checked, with four sums, so that additions need not wait for each other.
func dot(x, y []float32) float32 {
	a, b := (*[rank]float32)(x), (*[rank]float32)(y)
	var s0, s1, s2, s3 float32
	for i := 0; i < rank; i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	return s0 + s1 + s2 + s3
}

func add(to, v []float32, f float32) {
	a, b := (*[rank]float32)(to), (*[rank]float32)(v)
	for i := range a {
		a[i] += f * b[i]
	}
}

// fold computes the vector of a history. nil: nothing in it has been trained.
func (f *factors) fold(from []scored) []float32 {
	cols, vals := make([]int32, 0, len(from)), make([]float32, 0, len(from))
	for _, h := range from {
		if int(h.item)*rank < len(f.items) && f.items[int(h.item)*rank] != 0 {
			cols, vals = append(cols, h.item), append(vals, alpha*float32(math.Log1p(float64(h.score))))
		}
	}
	if len(cols) == 0 {
		return nil
	}
	var s solver
	x := make([]float32, rank)
	s.solve(x, cols, vals, f.items, f.gram, stepsFold)
	return x
}

// of is the vector of an item, or nil.
func (f *factors) of(n int32) []float32 {
	if f == nil || int(n)*rank >= len(f.items) || f.items[int(n)*rank] == 0 {
		return nil
	}
	return f.items[int(n)*rank : int(n)*rank+rank]
}
