package text

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// fastText is a supervised fastText model, quantised (.ftz) or not (.bin), read-only. The format and the arithmetic
// follow facebookresearch/fastText v0.9.2 (MIT): fasttext.cc, dictionary.cc, productquantizer.cc, loss.cc.
type fastText struct {
	dim, minn, maxn int
	wordNgrams      int
	bucket          uint32
	words           map[string]int32
	nwords          int
	labels          []string
	prune           map[int32]int32 // bucket → row; nil: not pruned
	in              matrix
	out             matrix
	tree            []node // of the hierarchical softmax; nil: plain softmax
}

// matrix is a table of rows, dense or product-quantised.
type matrix struct {
	rows, cols int
	dense      []float32
	codes      []uint8
	pq         quantizer
	norms      []uint8 // one a row, or nil
	npq        quantizer
}

type quantizer struct {
	dim, nsubq, dsub, last int
	centroids              []float32
}

type node struct {
	left, right int32 // -1: a leaf
	count       int64
}

// Limits of a model file: what lid.176 and its like need, so that a broken file cannot ask for much memory.
const (
	ftMagic    = 793712314
	ftVersion  = 12
	maxModel   = 512 << 20
	maxEntries = 4 << 20
	maxWord    = 4096
	ftEOS      = "</s>"
	ksub       = 256
)

var errModel = errors.New("not a fastText model of version 12, or damaged")

// ftReader reads little-endian values and remembers the first error.
type ftReader struct {
	b   []byte
	err error
}

func (r *ftReader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.fail(io.ErrUnexpectedEOF)
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *ftReader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %w", errModel, err)
	}
}

func (r *ftReader) i32() int {
	if p := r.take(4); p != nil {
		return int(int32(binary.LittleEndian.Uint32(p)))
	}
	return 0
}

func (r *ftReader) i64() int64 {
	if p := r.take(8); p != nil {
		return int64(binary.LittleEndian.Uint64(p))
	}
	return 0
}

func (r *ftReader) u8() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

// size reads a count and checks it: not negative, not above most.
func (r *ftReader) size(n int64, most int) int {
	if n < 0 || n > int64(most) {
		r.fail(fmt.Errorf("a size of %d", n))
		return 0
	}
	return int(n)
}

func (r *ftReader) floats(n int) []float32 {
	p := r.take(4 * n)
	if p == nil {
		return nil
	}
	f := make([]float32, n)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
	}
	return f
}

func (r *ftReader) str() string {
	i := bytes.IndexByte(r.b, 0)
	if r.err != nil || i < 0 || i > maxWord {
		r.fail(io.ErrUnexpectedEOF)
		return ""
	}
	s := string(r.b[:i])
	r.b = r.b[i+1:]
	return s
}

// readFastText reads a model. It keeps nothing of b.
func readFastText(b []byte) (*fastText, error) {
	if len(b) > maxModel {
		return nil, errModel
	}
	r := &ftReader{b: b}
	if r.i32() != ftMagic || r.i32() != ftVersion {
		return nil, errModel
	}
	m := &fastText{words: map[string]int32{}}
	m.dim = r.size(int64(r.i32()), 4096)
	r.take(4 * 4) // window, epochs, minimal count, negatives
	m.wordNgrams = r.i32()
	loss := r.i32()
	r.take(4) // kind of model
	m.bucket = uint32(r.size(int64(r.i32()), 1<<30))
	m.minn = r.size(int64(r.i32()), 64)
	m.maxn = r.size(int64(r.i32()), 64)
	r.take(4 + 8) // learning rate's step, sampling threshold
	counts := m.dictionary(r)
	quantised := r.u8() == 1
	m.in = readMatrix(r, quantised)
	m.out = readMatrix(r, r.u8() == 1 && quantised)
	if r.err != nil {
		return nil, r.err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	const hierarchical = 1
	if loss == hierarchical {
		m.tree = huffman(counts)
	}
	return m, nil
}

// dictionary reads words and labels; it returns how often each label was seen.
func (m *fastText) dictionary(r *ftReader) (counts []int64) {
	size := r.size(int64(r.i32()), maxEntries)
	m.nwords = r.size(int64(r.i32()), maxEntries)
	labels := r.size(int64(r.i32()), maxEntries)
	r.take(8) // tokens seen
	pruned := r.i64()
	if size != m.nwords+labels || labels == 0 {
		r.fail(errors.New("no labels"))
	}
	for i := 0; i < size && r.err == nil; i++ {
		word, count, kind := r.str(), r.i64(), r.u8()
		switch {
		case kind == 0 && i < m.nwords:
			m.words[word] = int32(i)
		case kind == 1 && i >= m.nwords:
			m.labels = append(m.labels, strings.TrimPrefix(word, "__label__"))
			counts = append(counts, count)
		default:
			r.fail(errors.New("entries out of order"))
		}
	}
	if pruned >= 0 && r.err == nil {
		n := r.size(pruned, maxEntries)
		m.prune = make(map[int32]int32, min(n, len(r.b)/8))
		for i := 0; i < n && r.err == nil; i++ {
			from, to := r.i32(), r.i32()
			if to < 0 {
				r.fail(errors.New("a negative row"))
			}
			m.prune[int32(from)] = int32(to)
		}
	}
	return counts
}

func readMatrix(r *ftReader, quantised bool) (m matrix) {
	qnorm := quantised && r.u8() == 1
	m.rows = r.size(r.i64(), 1<<28)
	m.cols = r.size(r.i64(), 4096)
	if r.err != nil {
		return m
	}
	if !quantised {
		if m.rows*m.cols > len(r.b)/4 {
			r.fail(io.ErrUnexpectedEOF)
			return m
		}
		m.dense = r.floats(m.rows * m.cols)
		return m
	}
	m.codes = slices.Clone(r.take(r.size(int64(r.i32()), maxModel)))
	m.pq = readQuantizer(r)
	if qnorm {
		m.norms = slices.Clone(r.take(m.rows))
		m.npq = readQuantizer(r)
	}
	if r.err == nil && (m.pq.dim != m.cols || len(m.codes) != m.rows*m.pq.nsubq || qnorm && m.npq.dim != 1) {
		r.fail(errors.New("sizes do not fit"))
	}
	return m
}

func readQuantizer(r *ftReader) (q quantizer) {
	q.dim = r.size(int64(r.i32()), 4096)
	q.nsubq = r.size(int64(r.i32()), 4096)
	q.dsub = r.size(int64(r.i32()), 4096)
	q.last = r.size(int64(r.i32()), 4096)
	if r.err == nil && (q.nsubq < 1 || q.dsub < 1 || q.last < 1 || q.last > q.dsub || (q.nsubq-1)*q.dsub+q.last != q.dim) {
		r.fail(errors.New("bad quantiser"))
		return q
	}
	q.centroids = r.floats(q.dim * ksub)
	return q
}

func (m *fastText) check() error {
	rows := m.nwords + int(m.bucket)
	if m.prune != nil {
		rows = m.nwords + len(m.prune)
		for _, to := range m.prune {
			if m.nwords+int(to) >= m.in.rows {
				return errModel
			}
		}
	}
	switch {
	case m.dim < 1 || m.in.cols != m.dim || m.out.cols != m.dim:
	case m.in.rows < m.nwords || m.in.rows < rows && m.prune == nil && m.maxn > 0:
	case m.out.rows < len(m.labels):
	case m.wordNgrams > 1: // no model we know of; their hashes would have to be added
	case m.maxn > 0 && (m.minn < 1 || m.minn > m.maxn || m.bucket == 0):
	default:
		return nil
	}
	return errModel
}

// huffman is the tree of the hierarchical softmax. Leaves come first; counts are in falling order.
func huffman(counts []int64) []node {
	n := len(counts)
	tree := make([]node, 2*n-1)
	for i := range tree {
		tree[i] = node{-1, -1, 1e15}
		if i < n {
			tree[i].count = counts[i]
		}
	}
	leaf, inner := n-1, n
	for i := n; i < 2*n-1; i++ {
		var two [2]int32
		for j := range two {
			if leaf >= 0 && tree[leaf].count < tree[inner].count {
				two[j] = int32(leaf)
				leaf--
			} else {
				two[j] = int32(inner)
				inner++
			}
			if int(two[j]) >= i { // counts beyond the mark of an empty node: a damaged file
				return nil
			}
		}
		tree[i] = node{two[0], two[1], tree[two[0]].count + tree[two[1]].count}
	}
	return tree
}

// addRow adds a row to v.
func (m *matrix) addRow(v []float32, row int) {
	if m.dense != nil {
		for i, x := range m.dense[row*m.cols : (row+1)*m.cols] {
			v[i] += x
		}
		return
	}
	norm := m.norm(row)
	for s, at := 0, 0; s < m.pq.nsubq; s++ {
		c := m.pq.centroid(s, m.codes[row*m.pq.nsubq+s])
		for _, x := range c {
			v[at] += norm * x
			at++
		}
	}
}

func (m *matrix) dot(v []float32, row int) (sum float32) {
	if m.dense != nil {
		for i, x := range m.dense[row*m.cols : (row+1)*m.cols] {
			sum += v[i] * x
		}
		return sum
	}
	for s, at := 0, 0; s < m.pq.nsubq; s++ {
		for _, x := range m.pq.centroid(s, m.codes[row*m.pq.nsubq+s]) {
			sum += v[at] * x
			at++
		}
	}
	return sum * m.norm(row)
}

func (m *matrix) norm(row int) float32 {
	if m.norms == nil {
		return 1
	}
	return m.npq.centroid(0, m.norms[row])[0]
}

func (q *quantizer) centroid(sub int, code uint8) []float32 {
	if sub == q.nsubq-1 {
		at := sub*ksub*q.dsub + int(code)*q.last
		return q.centroids[at : at+q.last]
	}
	at := (sub*ksub + int(code)) * q.dsub
	return q.centroids[at : at+q.dsub]
}

// hash is FNV-1a as fastText computes it: over signed bytes.
func ftHash(s string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(int32(int8(s[i])))) * 16777619
	}
	return h
}

// subwords calls row for the rows of the character n-grams of "<word>".
func (m *fastText) subwords(word string, row func(int)) {
	if m.maxn == 0 {
		return
	}
	w := "<" + word + ">"
	for i := 0; i < len(w); i++ {
		if !utf8.RuneStart(w[i]) {
			continue
		}
		j := i
		for n := 1; j < len(w) && n <= m.maxn; n++ {
			j++
			for j < len(w) && !utf8.RuneStart(w[j]) {
				j++
			}
			if n < m.minn || n == 1 && (i == 0 || j == len(w)) {
				continue
			}
			id := int32(ftHash(w[i:j]) % m.bucket)
			if m.prune != nil {
				to, ok := m.prune[id]
				if !ok {
					continue
				}
				id = to
			}
			row(m.nwords + int(id))
		}
	}
}

// hidden is the mean of the rows of a line's words and of its end, or nil if it has none.
func (m *fastText) hidden(line string) []float32 {
	v, n := make([]float32, m.dim), 0
	add := func(row int) { m.in.addRow(v, row); n++ }
	token := func(w string) {
		if id, ok := m.words[w]; ok {
			add(int(id))
		}
		if w != ftEOS {
			m.subwords(w, add)
		}
	}
	words := strings.FieldsFunc(line, ftSpace)
	for _, w := range words {
		token(w)
	}
	token(ftEOS)
	if n == 0 || len(words) == 0 {
		return nil
	}
	for i := range v {
		v[i] /= float32(n)
	}
	return v
}

func ftSpace(r rune) bool {
	return r == ' ' || r == '\n' || r == '\r' || r == '\t' || r == '\v' || r == '\f' || r == 0
}

// guess is a label with its probability.
type guess struct {
	label string
	p     float64
}

// predict gives the labels of at least p, the likeliest first.
func (m *fastText) predict(line string, least float64) []guess {
	h := m.hidden(line)
	if h == nil {
		return nil
	}
	var all []guess
	if m.tree != nil {
		all = m.descend(h, least)
	} else {
		all = m.softmax(h, least)
	}
	slices.SortFunc(all, func(a, b guess) int {
		if a.p != b.p {
			return -compareFloat(a.p, b.p)
		}
		return strings.Compare(a.label, b.label)
	})
	return all
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// descend walks the tree where the probability stays above least.
func (m *fastText) descend(h []float32, least float64) (all []guess) {
	type step struct {
		node int32
		p    float64
	}
	n := len(m.labels)
	stack := []step{{int32(len(m.tree) - 1), 1}}
	for len(stack) > 0 {
		s := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if s.p < least {
			continue
		}
		t := m.tree[s.node]
		if t.left < 0 {
			all = append(all, guess{m.labels[s.node], s.p})
			continue
		}
		f := 1 / (1 + math.Exp(-float64(m.out.dot(h, int(s.node)-n))))
		stack = append(stack, step{t.left, s.p * (1 - f)}, step{t.right, s.p * f})
	}
	return all
}

func (m *fastText) softmax(h []float32, least float64) (all []guess) {
	scores := make([]float64, len(m.labels))
	for i := range scores {
		scores[i] = float64(m.out.dot(h, i))
	}
	softmax(scores)
	for i, p := range scores {
		if p >= least {
			all = append(all, guess{m.labels[i], p})
		}
	}
	return all
}

// softmax turns scores into probabilities, in place.
func softmax(s []float64) {
	if len(s) == 0 {
		return
	}
	top, sum := slices.Max(s), 0.0
	for i, x := range s {
		s[i] = math.Exp(x - top)
		sum += s[i]
	}
	for i := range s {
		s[i] /= sum
	}
}
