// Package wire is what Tollgate and its child with the ONNX Runtime say to each other on the child's standard
// input and output: one request, one answer, in turn.
//
// Each is the payload of a frame of package child, all little-endian. A request is an operation, a model's path,
// names of outputs and tensors; an answer is a status, and then tensors, ports or a text. The package does no
// input or output.
//
// Invariants: whatever the bytes, reading never panics and never takes more memory than a small multiple of
// what was read; a tensor that was read has as many elements as its shape says.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/tollgate-io/tollgate/internal/engine/proc/child"
)

// The bounds of a message.
const (
	MaxFrame   = 256 << 20 // bytes
	MaxTensors = 64        // in a message
	MaxRank    = 8
	maxText    = 4096 // bytes of a path or a name
)

// Tensor is a dense array in row-major order. One of F32, I64 and U8 has its elements, as many as the product of
// Shape; no Shape is one element.
type Tensor struct {
	Shape []int64
	F32   []float32
	I64   []int64
	U8    []uint8
}

// Kind is the type of a tensor's elements.
type Kind byte

// The kinds.
const (
	F32 Kind = iota + 1
	I64
	U8
)

// Check says what the kind of t is, and what is wrong with it.
func (t *Tensor) Check() (Kind, error) {
	n, ok := elements(t.Shape)
	if !ok {
		return 0, fmt.Errorf("the shape %v is not possible", t.Shape)
	}
	kind, have, kinds := F32, 0, 0
	for k, l := range map[Kind]int{F32: len(t.F32), I64: len(t.I64), U8: len(t.U8)} {
		if l > 0 {
			kind, have, kinds = k, l, kinds+1
		}
	}
	if kinds == 0 { // an empty tensor: its kind is of the slice that is there
		switch {
		case t.I64 != nil:
			kind = I64
		case t.U8 != nil:
			kind = U8
		}
	}
	if kinds > 1 || int64(have) != n {
		return 0, fmt.Errorf("the shape %v does not fit its %d elements", t.Shape, have)
	}
	return kind, nil
}

// elements is the product of a shape; false if it cannot be.
func elements(shape []int64) (int64, bool) {
	if len(shape) > MaxRank {
		return 0, false
	}
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > MaxFrame || n*d > MaxFrame {
			return 0, false
		}
		n *= d
	}
	return n, true
}

// Op is what a request asks for.
type Op byte

// The operations.
const (
	Run      Op = iota + 1 // run the model on the tensors
	Describe               // tell the model's inputs and outputs
)

// Request is what Tollgate asks. An empty Outputs means all.
type Request struct {
	Op      Op
	Model   string // path
	Outputs []string
	Tensors map[string]Tensor
}

// Port is an input or output of a model. A dimension that is not fixed is -1.
type Port struct {
	Name  string
	Type  string // "float32", "int64", … as ONNX has it
	Shape []int64
}

// Answer is what the child says. A Refusal means that the request failed and the child is as good as before.
type Answer struct {
	Refusal         string
	Tensors         map[string]Tensor
	Inputs, Outputs []Port
}

const (
	statusTensors = iota
	statusPorts
	statusRefusal
)

var errBad = errors.New("the message is malformed")

// Frame encodes a request, with its length.
func (q *Request) Frame() ([]byte, error) {
	e := newEncoder(q.Tensors)
	e.byte(byte(q.Op))
	e.text(q.Model)
	e.byte(byte(len(q.Outputs)))
	for _, name := range q.Outputs {
		e.text(name)
	}
	if len(q.Outputs) > MaxTensors {
		return nil, child.ErrTooLarge
	}
	e.tensors(q.Tensors)
	return e.frame()
}

// Frame encodes an answer, with its length.
func (a *Answer) Frame() ([]byte, error) {
	e := newEncoder(a.Tensors)
	switch {
	case a.Refusal != "":
		e.byte(statusRefusal)
		e.text(a.Refusal[:min(len(a.Refusal), maxText)])
	case a.Inputs != nil || a.Outputs != nil:
		e.byte(statusPorts)
		e.ports(a.Inputs)
		e.ports(a.Outputs)
	default:
		e.byte(statusTensors)
		e.tensors(a.Tensors)
	}
	return e.frame()
}

// ParseRequest decodes the payload of a request.
func ParseRequest(payload []byte) (*Request, error) {
	d := decoder{b: payload}
	q := &Request{Op: Op(d.byte()), Model: d.text()}
	for n := d.count(); n > 0 && !d.bad; n-- {
		q.Outputs = append(q.Outputs, d.text())
	}
	q.Tensors = d.tensors()
	if q.Op != Run && q.Op != Describe || !d.end() {
		return nil, errBad
	}
	return q, nil
}

// ParseAnswer decodes the payload of an answer.
func ParseAnswer(payload []byte) (*Answer, error) {
	d := decoder{b: payload}
	a := &Answer{}
	switch d.byte() {
	case statusTensors:
		a.Tensors = d.tensors()
	case statusPorts:
		a.Inputs, a.Outputs = d.ports(), d.ports()
	case statusRefusal:
		if a.Refusal = d.text(); a.Refusal == "" {
			d.bad = true
		}
	default:
		d.bad = true
	}
	if !d.end() {
		return nil, errBad
	}
	return a, nil
}

type encoder struct {
	b   []byte
	err error
}

func newEncoder(tensors map[string]Tensor) *encoder {
	size := 1024
	for name, t := range tensors {
		size += len(name) + 80 + 4*len(t.F32) + 8*len(t.I64) + len(t.U8)
	}
	if size > MaxFrame+1024 {
		return &encoder{b: make([]byte, 4), err: child.ErrTooLarge}
	}
	return &encoder{b: make([]byte, 4, size)}
}

// frame gives what was encoded, with its length.
func (e *encoder) frame() ([]byte, error) {
	if e.err != nil {
		return nil, e.err
	}
	return child.Seal(e.b, MaxFrame)
}

func (e *encoder) byte(v byte) { e.b = append(e.b, v) }

func (e *encoder) text(s string) {
	if len(s) > maxText {
		e.err = child.ErrTooLarge
		return
	}
	e.b = append(binary.LittleEndian.AppendUint16(e.b, uint16(len(s))), s...)
}

func (e *encoder) shape(shape []int64) {
	e.byte(byte(len(shape)))
	for _, d := range shape {
		e.b = binary.LittleEndian.AppendUint64(e.b, uint64(d))
	}
}

func (e *encoder) tensors(tensors map[string]Tensor) {
	if e.err != nil {
		return
	}
	if len(tensors) > MaxTensors {
		e.err = child.ErrTooLarge
		return
	}
	e.byte(byte(len(tensors)))
	for name, t := range tensors {
		kind, err := t.Check()
		if err != nil {
			e.err = fmt.Errorf("%q: %w", name, err)
			return
		}
		e.text(name)
		e.byte(byte(kind))
		e.shape(t.Shape)
		switch kind {
		case F32:
			for _, v := range t.F32 {
				e.b = binary.LittleEndian.AppendUint32(e.b, math.Float32bits(v))
			}
		case I64:
			for _, v := range t.I64 {
				e.b = binary.LittleEndian.AppendUint64(e.b, uint64(v))
			}
		case U8:
			e.b = append(e.b, t.U8...)
		}
	}
}

func (e *encoder) ports(ports []Port) {
	if len(ports) > MaxTensors {
		e.err = child.ErrTooLarge
		return
	}
	e.byte(byte(len(ports)))
	for _, p := range ports {
		if len(p.Shape) > MaxRank {
			e.err = child.ErrTooLarge
			return
		}
		e.text(p.Name)
		e.text(p.Type)
		e.shape(p.Shape)
	}
}

// decoder reads b; once it is bad everything it gives is empty.
type decoder struct {
	b   []byte
	bad bool
}

// take gives the next n bytes, or nil.
func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) end() bool { return !d.bad && len(d.b) == 0 }

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *decoder) count() int {
	n := int(d.byte())
	if n > MaxTensors {
		d.bad = true
	}
	return n
}

func (d *decoder) text() string {
	v := d.take(2)
	if v == nil {
		return ""
	}
	n := int(binary.LittleEndian.Uint16(v))
	if n > maxText {
		d.bad = true
	}
	return string(d.take(n))
}

func (d *decoder) shape() []int64 {
	n := int(d.byte())
	if n > MaxRank {
		d.bad = true
	}
	v := d.take(8 * n)
	if len(v) == 0 {
		return nil
	}
	shape := make([]int64, n)
	for i := range shape {
		shape[i] = int64(binary.LittleEndian.Uint64(v[8*i:]))
	}
	return shape
}

func (d *decoder) tensors() map[string]Tensor {
	n := d.count()
	all := make(map[string]Tensor, min(n, MaxTensors))
	for ; n > 0 && !d.bad; n-- {
		name := d.text()
		if _, twice := all[name]; twice {
			d.bad = true
		}
		all[name] = d.tensor()
	}
	if d.bad {
		return nil
	}
	return all
}

func (d *decoder) tensor() (t Tensor) {
	kind := Kind(d.byte())
	t.Shape = d.shape()
	count, ok := elements(t.Shape)
	size := map[Kind]int64{F32: 4, I64: 8, U8: 1}[kind]
	if d.bad || !ok || size == 0 || count*size > int64(len(d.b)) {
		d.bad = true
		return Tensor{}
	}
	v := d.take(int(count * size))
	switch kind {
	case F32:
		t.F32 = make([]float32, count)
		for i := range t.F32 {
			t.F32[i] = math.Float32frombits(binary.LittleEndian.Uint32(v[4*i:]))
		}
	case I64:
		t.I64 = make([]int64, count)
		for i := range t.I64 {
			t.I64[i] = int64(binary.LittleEndian.Uint64(v[8*i:]))
		}
	case U8:
		t.U8 = append(make([]uint8, 0, count), v...)
	}
	return t
}

func (d *decoder) ports() []Port {
	n := d.count()
	ports := make([]Port, 0, min(n, MaxTensors))
	for ; n > 0 && !d.bad; n-- {
		ports = append(ports, Port{d.text(), d.text(), d.shape()})
	}
	return ports
}
