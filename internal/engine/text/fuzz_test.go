package text

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/url"
	"testing"

	"github.com/tollgate-io/tollgate/internal/engine"
)

// tinyModel is a fastText model file of two words and three labels, without a bucket; quantised has product quantisation.
func tinyModel(quantised bool) []byte {
	var b bytes.Buffer
	i32 := func(v ...int32) { _ = binary.Write(&b, binary.LittleEndian, v) }
	i64 := func(v ...int64) { _ = binary.Write(&b, binary.LittleEndian, v) }
	i32(ftMagic, ftVersion)
	i32(2, 5, 5, 1, 5, 1, 1, 3, 8, 2, 3, 100) // dimensions, …, word n-grams, hierarchical softmax, supervised, 8 buckets, 2 to 3 characters
	_ = binary.Write(&b, binary.LittleEndian, math.Float64bits(1e-4))
	i32(5, 2, 3)
	i64(10, 1)
	for i, w := range []string{"hello", "</s>", "__label__en", "__label__de", "__label__fr"} {
		b.WriteString(w)
		b.WriteByte(0)
		i64(int64(10 - i))
		if i < 2 {
			b.WriteByte(0)
		} else {
			b.WriteByte(1)
		}
	}
	i32(3, 0)
	if quantised {
		b.Write([]byte{1, 0}) // quantised; no norms
		i64(3, 2)
		i32(3)
		b.Write([]byte{0, 1, 2})
		i32(2, 1, 2, 2)
		for i := range 2 * ksub {
			_ = binary.Write(&b, binary.LittleEndian, float32(i%7)-3)
		}
	} else {
		b.WriteByte(0)
		i64(3, 2)
		_ = binary.Write(&b, binary.LittleEndian, []float32{1, 2, 3, -4, 5, 6})
	}
	b.WriteByte(0)
	i64(3, 2)
	_ = binary.Write(&b, binary.LittleEndian, []float32{1, -1, 0.5, 0.25, 0, 1})
	return b.Bytes()
}

// FuzzFastText: no file crashes the reader, or the model that it reads.
func FuzzFastText(f *testing.F) {
	f.Add(tinyModel(false))
	f.Add(tinyModel(true))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readFastText(data)
		if err != nil {
			return
		}
		for _, g := range m.predict("hello wörld 你好", 1e-6) {
			_ = g.label
		}
	})
}

// TestTinyModel: both forms are read, and probabilities sum to one.
func TestTinyModel(t *testing.T) {
	t.Parallel()
	for _, quantised := range []bool{false, true} {
		m, err := readFastText(tinyModel(quantised))
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, g := range m.predict("hello hello", 0) {
			sum += g.p
		}
		if math.Abs(sum-1) > 1e-6 || len(m.labels) != 3 {
			t.Errorf("quantised %v: probabilities sum to %v", quantised, sum)
		}
	}
}

// FuzzTraining: no body of a training crashes what reads it.
func FuzzTraining(f *testing.F) {
	f.Add("application/json", []byte(`{"examples":[{"text":"a","label":"x"},{"text":"b","label":"y"}],"seed":1}`))
	f.Add("text/csv", []byte("text,label\n\"a\"\"b\",x\nc,y\n"))
	f.Add("text/csv", []byte("\uFEFFa;b\nc;d"))
	f.Add("multipart/form-data; boundary=b", []byte("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.csv\"\r\n\r\na,b\nc,d\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		r := &engine.Request{Type: kind, Body: body, Query: url.Values{}}
		in, err := parseTraining(r)
		if err == nil && len(in.Examples) < 2 {
			t.Errorf("%d examples were taken", len(in.Examples))
		}
	})
}

// FuzzStoredModel: no stored model crashes the reader, or the classifier that it reads.
func FuzzStoredModel(f *testing.F) {
	f.Add([]byte(modelMagic))
	c := &Classifier{labels: []string{"a", "b"}, vocab: &vocabulary{keys: []feature{1, 2}, idf: []float32{1, 2}}, linear: linear{classes: 2, weights: []float32{1, 2, 3, 4}, bias: []float32{0, 1}, heat: 1}}
	data, err := c.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ReadClassifier(data); err == nil {
			c.Predict("hello", 3)
		}
	})
}

// FuzzPieces: no vocabulary and no text crash the tokenizer.
func FuzzPieces(f *testing.F) {
	f.Add([]byte(`[["a",0],["b",0],["c",0],["d",0],["e",0],["f",0],["▁h",-1.5],["i",-2],["▁",null]]`), "hi there")
	f.Fuzz(func(t *testing.T, vocab []byte, s string) {
		p, err := readPieces(vocab)
		if err != nil {
			return
		}
		ids, known := p.encode(s)
		for _, id := range ids {
			if int(id) >= len(p.scores) {
				t.Fatalf("piece %d of %d", id, len(p.scores))
			}
		}
		if known < 0 || known > 1 {
			t.Fatalf("share %v", known)
		}
	})
}

// FuzzClassifyBody: no body crashes the reading of a classification.
func FuzzClassifyBody(f *testing.F) {
	f.Add([]byte(`{"text":"x","labels":["a",{"label":"b","examples":["c"]}],"examples":[{"text":"d","label":"a"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var in classifyInput
		if engine.Decode(body, &in) == nil && in.check() == nil && in.chars() < 1 {
			t.Error("nothing is measured")
		}
	})
}
