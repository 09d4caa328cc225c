package text

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// The stored form of a classifier: a magic, then deflated: labels, heat, biases, and for each feature its key, weight,
// scale and one signed byte a label. Rounding weights to 255 steps a row costs no accuracy that could be measured.
const (
	modelMagic    = "tgc1"
	maxModelBytes = 64 << 20 // inflated
)

var errClassifier = errors.New("not a stored classifier, or damaged")

// MarshalBinary gives the stored form, at most a few megabytes.
func (c *Classifier) MarshalBinary() ([]byte, error) {
	var raw []byte
	k := len(c.labels)
	raw = binary.AppendUvarint(raw, uint64(k))
	for _, l := range c.labels {
		raw = binary.AppendUvarint(raw, uint64(len(l)))
		raw = append(raw, l...)
	}
	raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(c.linear.heat))
	for _, b := range c.linear.bias {
		raw = appendFloat(raw, b)
	}
	raw = binary.AppendUvarint(raw, uint64(len(c.vocab.keys)))
	for i, key := range c.vocab.keys {
		raw = binary.LittleEndian.AppendUint64(raw, key)
		raw = appendFloat(raw, c.vocab.idf[i])
		row := c.linear.weights[i*k : (i+1)*k]
		most := float32(0)
		for _, w := range row {
			most = max(most, w, -w)
		}
		scale := most / 127
		raw = appendFloat(raw, scale)
		for _, w := range row {
			q := int8(0)
			if scale > 0 {
				q = int8(math.Round(float64(w / scale)))
			}
			raw = append(raw, byte(q))
		}
	}
	var out bytes.Buffer
	out.WriteString(modelMagic)
	z, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(raw); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func appendFloat(b []byte, x float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
}

// ReadClassifier reads what MarshalBinary wrote.
func ReadClassifier(data []byte) (*Classifier, error) {
	if len(data) < len(modelMagic) || string(data[:len(modelMagic)]) != modelMagic {
		return nil, errClassifier
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data[len(modelMagic):])), maxModelBytes+1))
	if err != nil || len(raw) > maxModelBytes {
		return nil, errClassifier
	}
	r := &modelReader{ftReader{b: raw}}
	k := r.count(MaxLabels)
	c := &Classifier{vocab: &vocabulary{}}
	for range k {
		c.labels = append(c.labels, string(r.take(r.count(maxLabel))))
	}
	heat := math.Float64frombits(uint64(r.i64()))
	c.linear = linear{classes: k, heat: heat, bias: r.floats(k)}
	n := r.count(maxRows)
	if r.err != nil || k < 1 || !(heat > 0) || n*k > maxCells || len(r.b) != n*(16+k) {
		return nil, errClassifier
	}
	c.linear.weights = make([]float32, 0, n*k)
	for range n {
		c.vocab.keys = append(c.vocab.keys, uint64(r.i64()))
		f := r.floats(2)
		c.vocab.idf = append(c.vocab.idf, f[0])
		for _, q := range r.take(k) {
			c.linear.weights = append(c.linear.weights, f[1]*float32(int8(q)))
		}
	}
	c.vocab.index()
	return c, nil
}

type modelReader struct{ ftReader }

// count reads a count that is at most most.
func (r *modelReader) count(most int) int {
	n, size := binary.Uvarint(r.b)
	if r.err != nil || size <= 0 || n > uint64(most) {
		r.fail(errClassifier)
		return 0
	}
	r.b = r.b[size:]
	return int(n)
}

// cells is how much memory the model takes, in weights.
func (c *Classifier) cells() int { return len(c.linear.weights) + 8*len(c.vocab.keys) }
