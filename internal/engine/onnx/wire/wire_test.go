package wire

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child/childtest"
)

// drawTensor draws a tensor of any kind and shape.
func drawTensor(t *rapid.T) Tensor {
	shape := rapid.SliceOfN(rapid.Int64Range(0, 4), 0, 4).Draw(t, "shape")
	n := 1
	for _, d := range shape {
		n *= int(d)
	}
	if len(shape) == 0 {
		shape = nil
	}
	switch rapid.SampledFrom([]Kind{F32, I64, U8}).Draw(t, "kind") {
	case I64:
		return Tensor{Shape: shape, I64: rapid.SliceOfN(rapid.Int64(), n, n).Draw(t, "i64")}
	case U8:
		return Tensor{Shape: shape, U8: rapid.SliceOfN(rapid.Uint8(), n, n).Draw(t, "u8")}
	default:
		return Tensor{Shape: shape, F32: rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "f32")}
	}
}

// through sends a frame over a stream that gives one byte at a time and returns the payload.
func through(t *rapid.T, frame []byte, err error) []byte {
	if err != nil {
		t.Fatal(err)
	}
	r := iotest.OneByteReader(bytes.NewReader(frame))
	payload, err := child.ReadFrame(r, MaxFrame)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := child.ReadFrame(r, MaxFrame); !errors.Is(err, io.EOF) {
		t.Fatalf("after the frame: %v", err)
	}
	return payload
}

func TestRequestLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := &Request{
			Op: rapid.SampledFrom([]Op{Run, Describe}).Draw(t, "op"), Model: rapid.String().Draw(t, "model"),
			Outputs: rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "outputs"),
			Tensors: rapid.MapOfN(rapid.String(), rapid.Custom(drawTensor), 0, 5).Draw(t, "tensors"),
		}
		frame, err := want.Frame()
		got, err := ParseRequest(through(t, frame, err))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestAnswerLaw(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ports := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Port {
			return Port{rapid.String().Draw(t, "name"), rapid.String().Draw(t, "type"), rapid.SliceOfN(rapid.Int64Min(-1), 1, MaxRank).Draw(t, "shape")}
		}), 0, 5)
		want := rapid.SampledFrom([]*Answer{
			{Refusal: rapid.StringN(1, 100, -1).Draw(t, "refusal")},
			{Tensors: rapid.MapOfN(rapid.String(), rapid.Custom(drawTensor), 0, 5).Draw(t, "tensors")},
			{Inputs: ports.Draw(t, "in"), Outputs: ports.Draw(t, "out")},
		}).Draw(t, "answer")
		frame, err := want.Frame()
		got, err := ParseAnswer(through(t, frame, err))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestFrameRefuses(t *testing.T) {
	t.Parallel()
	tensors := map[string]Tensor{}
	for i := range MaxTensors + 1 {
		tensors[strings.Repeat("x", i)] = Tensor{F32: []float32{1}}
	}
	one := func(t Tensor) map[string]Tensor { return map[string]Tensor{"x": t} }
	for name, q := range map[string]*Request{
		"many tensors":   {Tensors: tensors},
		"many outputs":   {Outputs: make([]string, MaxTensors+1)},
		"long path":      {Model: strings.Repeat("x", maxText+1)},
		"two kinds":      {Tensors: one(Tensor{F32: []float32{1}, U8: []uint8{1}})},
		"too few":        {Tensors: one(Tensor{Shape: []int64{2}, F32: []float32{1}})},
		"too many":       {Tensors: one(Tensor{Shape: []int64{2, 0}, F32: []float32{1}})},
		"nothing":        {Tensors: one(Tensor{})},
		"negative":       {Tensors: one(Tensor{Shape: []int64{-1, -1}, F32: []float32{1}})},
		"overflow":       {Tensors: one(Tensor{Shape: []int64{1 << 20, 1 << 20, 1 << 24}, F32: []float32{}})},
		"high rank":      {Tensors: one(Tensor{Shape: []int64{1, 1, 1, 1, 1, 1, 1, 1, 1}, F32: []float32{1}})},
		"too many bytes": {Tensors: one(Tensor{Shape: []int64{MaxFrame/4 + 1}, F32: make([]float32, MaxFrame/4+1)})},
	} {
		if frame, err := q.Frame(); err == nil {
			t.Errorf("%s: %d bytes", name, len(frame))
		}
	}
}

// payloads are of every sort.
func payloads(f *testing.F) [][]byte {
	tensors := map[string]Tensor{"a": {Shape: []int64{1, 2}, F32: []float32{1, float32(math.NaN())}}}
	return childtest.Payloads(f, []string{"\x00\x01\x00\x00\x01\x08\xff\xff\xff\xff\xff\xff\xff\x7f"},
		&Request{Op: Run, Model: "/m.onnx", Outputs: []string{"y"}, Tensors: tensors},
		&Request{Op: Describe, Model: "/m.onnx"},
		&Answer{Tensors: map[string]Tensor{"b": {I64: []int64{1}}, "c": {Shape: []int64{0}, U8: []uint8{}}}},
		&Answer{Refusal: "no"},
		&Answer{Inputs: []Port{{"x", "float32", []int64{-1, 3}}}, Outputs: []Port{}})
}

// sameLength: nothing that was read is without meaning.
func sameLength(t *testing.T, payload, written []byte) {
	if len(written) != len(payload) {
		t.Fatalf("%d bytes became %d", len(payload), len(written))
	}
}

func FuzzRequest(f *testing.F) { childtest.Fuzz(f, ParseRequest, sameLength, payloads(f)) }

func FuzzAnswer(f *testing.F) { childtest.Fuzz(f, ParseAnswer, sameLength, payloads(f)) }

func BenchmarkFrame(b *testing.B) {
	q := &Request{Op: Run, Model: "m", Tensors: map[string]Tensor{"x": {Shape: []int64{3, 640, 640}, F32: make([]float32, 3*640*640)}}}
	b.SetBytes(3 * 640 * 640 * 4)
	b.ReportAllocs()
	for b.Loop() {
		frame, err := q.Frame()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ParseRequest(frame[4:]); err != nil {
			b.Fatal(err)
		}
	}
}
