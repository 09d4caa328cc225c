//go:build linux || darwin

package native

import (
	"fmt"
	"unsafe"

	"github.com/tollgate-io/tollgate/internal/engine/onnx/wire"
	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// elementType is ONNXTensorElementDataType.
type elementType int32

const (
	float32s elementType = 1
	uint8s   elementType = 2
	int8s    elementType = 3
	uint16s  elementType = 4
	int16s   elementType = 5
	int32s   elementType = 6
	int64s   elementType = 7
	bools    elementType = 9
	float64s elementType = 11
	uint32s  elementType = 12
	uint64s  elementType = 13
)

var typeNames = map[elementType]string{
	float32s: "float32", uint8s: "uint8", int8s: "int8", uint16s: "uint16", int16s: "int16", int32s: "int32", int64s: "int64",
	8: "string", bools: "bool", 10: "float16", float64s: "float64", uint32s: "uint32", uint64s: "uint64",
}

// value makes a value of t for a port, whose type of elements it gets where that loses nothing but what the
// port cannot hold. keep stays alive as long as the value is used.
func (a *api) value(p port, t wire.Tensor) (value unsafe.Pointer, keep any, err error) {
	kind, err := t.Check()
	if err != nil {
		return nil, nil, fmt.Errorf("input %q: %w", p.name, err)
	}
	switch {
	case kind == wire.F32 && p.kind == float32s:
		return make1(a, p.kind, t.Shape, t.F32)
	case kind == wire.F32 && p.kind == float64s:
		return make1(a, p.kind, t.Shape, convert[float64](t.F32))
	case kind == wire.I64 && p.kind == int64s:
		return make1(a, p.kind, t.Shape, t.I64)
	case kind == wire.I64 && p.kind == int32s:
		return make1(a, p.kind, t.Shape, convert[int32](t.I64))
	case kind == wire.U8 && (p.kind == uint8s || p.kind == bools):
		return make1(a, p.kind, t.Shape, t.U8)
	}
	return nil, nil, fmt.Errorf("input %q is of %s, which is not what was given", p.name, typeNames[p.kind])
}

func make1[T any](a *api, kind elementType, shape []int64, data []T) (unsafe.Pointer, any, error) {
	var zero T
	size := len(data) * int(unsafe.Sizeof(zero))
	if len(data) == 0 {
		data = make([]T, 1) // an address, of nothing
	}
	v, err := a.input(kind, shape, unsafe.Pointer(&data[0]), size)
	return v, data, err
}

// tensor copies a value.
func (a *api) tensor(value unsafe.Pointer) (t wire.Tensor, err error) {
	kind, shape, data, err := a.output(value)
	if err != nil {
		return t, err
	}
	n := 1
	for _, d := range shape {
		if d < 0 || n > 0 && int(d) > wire.MaxFrame/4/n {
			return t, child.ErrTooLarge
		}
		n *= int(d)
	}
	t.Shape = shape
	switch kind {
	case float32s:
		t.F32 = view[float32](data, n, float32(0))
	case float64s:
		t.F32 = view[float32](data, n, float64(0))
	case int64s:
		t.I64 = view[int64](data, n, int64(0))
	case int32s:
		t.I64 = view[int64](data, n, int32(0))
	case int16s:
		t.I64 = view[int64](data, n, int16(0))
	case int8s:
		t.I64 = view[int64](data, n, int8(0))
	case uint16s:
		t.I64 = view[int64](data, n, uint16(0))
	case uint32s:
		t.I64 = view[int64](data, n, uint32(0))
	case uint64s:
		t.I64 = view[int64](data, n, uint64(0))
	case uint8s, bools:
		t.U8 = view[uint8](data, n, uint8(0))
	default:
		return t, fmt.Errorf("an output is of %q, which is not supported", typeNames[kind])
	}
	return t, nil
}

type number interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// view copies n elements of From's type in the library's memory.
func view[To, From number](data unsafe.Pointer, n int, _ From) []To {
	if n == 0 {
		return []To{}
	}
	return convert[To](unsafe.Slice((*From)(data), n))
}

func convert[To, From number](from []From) []To {
	to := make([]To, len(from))
	for i, v := range from {
		to[i] = To(v)
	}
	return to
}
