//go:build linux || darwin

// Package native calls the ONNX Runtime's C interface, without cgo: its shared library is loaded when the process
// runs. It is for the child process cmd/tollgate-onnx alone; a fault in native code ends the process.
//
// The runtime's functions are entries of a table whose order never changes: entries are only added at its end
// (onnxruntime_c_api.h, "struct OrtApi").
package native

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// apiVersion is the oldest table that has all that is used here; newer libraries still give it.
const apiVersion = 16

// Entries of OrtApi.
const (
	getErrorMessage                  = 2
	createEnv                        = 3
	disableTelemetryEvents           = 6
	createSession                    = 7
	run                              = 9
	createSessionOptions             = 10
	disableMemPattern                = 17
	setSessionGraphOptimizationLevel = 23
	setIntraOpNumThreads             = 24
	setInterOpNumThreads             = 25
	sessionGetInputCount             = 30
	sessionGetOutputCount            = 31
	sessionGetInputTypeInfo          = 33
	sessionGetOutputTypeInfo         = 34
	sessionGetInputName              = 36
	sessionGetOutputName             = 37
	createTensorWithData             = 49
	isTensor                         = 50
	getTensorMutableData             = 51
	castTypeInfoToTensorInfo         = 55
	getTensorElementType             = 60
	getDimensionsCount               = 61
	getDimensions                    = 62
	getTensorTypeAndShape            = 65
	createCPUMemoryInfo              = 69
	allocatorFree                    = 76
	getAllocatorWithDefaultOptions   = 78
	releaseStatus                    = 93
	releaseSession                   = 95
	releaseValue                     = 96
	releaseTypeInfo                  = 98
	releaseTensorTypeAndShapeInfo    = 99
	releaseSessionOptions            = 100
	addSessionConfigEntry            = 130

	tableSize = addSessionConfigEntry + 1
)

// api is the function table with what every call needs.
type api struct {
	table     *[tableSize]uintptr
	env       unsafe.Pointer
	allocator unsafe.Pointer
	cpu       unsafe.Pointer // OrtMemoryInfo
	version   string
}

// load loads the shared library at a path.
func load(path string) (*api, error) {
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load the ONNX Runtime: %w", err)
	}
	entry, err := purego.Dlsym(lib, "OrtGetApiBase")
	if err != nil {
		return nil, fmt.Errorf("%s is not the ONNX Runtime: %w", path, err)
	}
	r, _, _ := purego.SyscallN(entry)
	base := (*struct{ getAPI, getVersion uintptr })(pointer(r))
	version, _, _ := purego.SyscallN(base.getVersion)
	table, _, _ := purego.SyscallN(base.getAPI, apiVersion)
	if table == 0 {
		return nil, fmt.Errorf("ONNX Runtime %s is too old: it has no interface %d", text(pointer(version)), apiVersion)
	}
	a := &api{table: (*[tableSize]uintptr)(pointer(table)), version: text(pointer(version))}
	id := cstring("tollgate")
	const logErrors = 3
	err = errors.Join(
		a.call(createEnv, logErrors, uintptr(unsafe.Pointer(id)), uintptr(unsafe.Pointer(&a.env))),
		a.call(getAllocatorWithDefaultOptions, uintptr(unsafe.Pointer(&a.allocator))),
		a.call(createCPUMemoryInfo, 1, 0, uintptr(unsafe.Pointer(&a.cpu))),
	)
	if err != nil {
		return nil, err
	}
	return a, a.call(disableTelemetryEvents, uintptr(a.env))
}

// call calls an entry that returns a status.
//
//go:uintptrescapes
func (a *api) call(entry int, args ...uintptr) error {
	status, _, _ := purego.SyscallN(a.table[entry], args...)
	if status == 0 {
		return nil
	}
	message, _, _ := purego.SyscallN(a.table[getErrorMessage], status)
	err := errors.New(text(pointer(message)))
	a.release(releaseStatus, pointer(status))
	return err
}

// release calls an entry that gives something back; nil is fine.
func (a *api) release(entry int, what unsafe.Pointer) {
	if what != nil {
		_, _, _ = purego.SyscallN(a.table[entry], uintptr(what))
	}
}

// pointer is an address in the library's memory, which Go's collector knows nothing of.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// cstring is s with a zero byte at its end.
func cstring(s string) *byte {
	b := append([]byte(s), 0)
	return &b[0]
}

// text copies a C string of at most 64 KiB.
func text(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	var b []byte
	for i := range 64 << 10 {
		c := *(*byte)(unsafe.Add(p, i))
		if c == 0 {
			break
		}
		b = append(b, c)
	}
	return string(b)
}

// port tells of an input or output of a session.
type port struct {
	name  string
	kind  elementType
	shape []int64
}

// model is a session of the runtime.
type model struct {
	a               *api
	session         unsafe.Pointer
	inputs, outputs []port
}

// open loads the model at a path.
func (a *api) open(path string, threads int) (_ *model, err error) {
	var options unsafe.Pointer
	if err := a.call(createSessionOptions, uintptr(unsafe.Pointer(&options))); err != nil {
		return nil, err
	}
	defer a.release(releaseSessionOptions, options)
	const allOptimisations = 99
	key, off := cstring("session.intra_op.allow_spinning"), cstring("0")
	err = errors.Join(
		a.call(setIntraOpNumThreads, uintptr(options), uintptr(threads)),
		a.call(setInterOpNumThreads, uintptr(options), 1),
		a.call(setSessionGraphOptimizationLevel, uintptr(options), allOptimisations),
		a.call(disableMemPattern, uintptr(options)), // a plan for every shape that ever came
		// Threads that have nothing to do sleep: other programs need the cores.
		a.call(addSessionConfigEntry, uintptr(options), uintptr(unsafe.Pointer(key)), uintptr(unsafe.Pointer(off))),
	)
	if err != nil {
		return nil, err
	}
	m := &model{a: a}
	name := cstring(path)
	if err := a.call(createSession, uintptr(a.env), uintptr(unsafe.Pointer(name)), uintptr(options), uintptr(unsafe.Pointer(&m.session))); err != nil {
		return nil, err
	}
	if m.inputs, err = m.ports(sessionGetInputCount, sessionGetInputName, sessionGetInputTypeInfo); err == nil {
		m.outputs, err = m.ports(sessionGetOutputCount, sessionGetOutputName, sessionGetOutputTypeInfo)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *model) close() {
	m.a.release(releaseSession, m.session)
	m.session = nil
}

func (m *model) ports(count, name, info int) ([]port, error) {
	var n uintptr
	if err := m.a.call(count, uintptr(m.session), uintptr(unsafe.Pointer(&n))); err != nil {
		return nil, err
	}
	ports := make([]port, n)
	for i := range ports {
		var s, t unsafe.Pointer
		if err := m.a.call(name, uintptr(m.session), uintptr(i), uintptr(m.a.allocator), uintptr(unsafe.Pointer(&s))); err != nil {
			return nil, err
		}
		ports[i].name = text(s)
		if err := m.a.call(allocatorFree, uintptr(m.a.allocator), uintptr(s)); err != nil {
			return nil, err
		}
		if err := m.a.call(info, uintptr(m.session), uintptr(i), uintptr(unsafe.Pointer(&t))); err != nil {
			return nil, err
		}
		err := m.a.describe(t, &ports[i])
		m.a.release(releaseTypeInfo, t)
		if err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// describe reads the type of a port; one that is no tensor has none.
func (a *api) describe(info unsafe.Pointer, p *port) (err error) {
	var tensor unsafe.Pointer // belongs to info
	if err := a.call(castTypeInfoToTensorInfo, uintptr(info), uintptr(unsafe.Pointer(&tensor))); err != nil || tensor == nil {
		return err
	}
	p.kind, p.shape, err = a.typeAndShape(tensor)
	return err
}

func (a *api) typeAndShape(info unsafe.Pointer) (elementType, []int64, error) {
	var kind elementType
	var rank uintptr
	if err := a.call(getTensorElementType, uintptr(info), uintptr(unsafe.Pointer(&kind))); err != nil {
		return 0, nil, err
	}
	if err := a.call(getDimensionsCount, uintptr(info), uintptr(unsafe.Pointer(&rank))); err != nil || rank == 0 {
		return kind, nil, err
	}
	shape := make([]int64, rank)
	err := a.call(getDimensions, uintptr(info), uintptr(unsafe.Pointer(&shape[0])), rank)
	return kind, shape, err
}

// input makes a value of data, which must stay where it is while the value is used.
func (a *api) input(kind elementType, shape []int64, data unsafe.Pointer, size int) (unsafe.Pointer, error) {
	var value unsafe.Pointer
	dims := append(append(make([]int64, 0, len(shape)+1), shape...), 0) // one more: there is always a first
	err := a.call(createTensorWithData, uintptr(a.cpu), uintptr(data), uintptr(size),
		uintptr(unsafe.Pointer(&dims[0])), uintptr(len(shape)), uintptr(kind), uintptr(unsafe.Pointer(&value)))
	return value, err
}

// run runs the model on values by name and gives values, which the caller releases.
func (m *model) run(names []string, values []unsafe.Pointer, outputs []string) ([]unsafe.Pointer, error) {
	if len(outputs) == 0 {
		return nil, errors.New("the model has no output that is a tensor")
	}
	in, out := cstrings(names), cstrings(outputs)
	values = append(values, nil) // there is always a first
	results := make([]unsafe.Pointer, len(outputs))
	err := m.a.call(run, uintptr(m.session), 0,
		uintptr(unsafe.Pointer(&in[0])), uintptr(unsafe.Pointer(&values[0])), uintptr(len(names)),
		uintptr(unsafe.Pointer(&out[0])), uintptr(len(outputs)), uintptr(unsafe.Pointer(&results[0])))
	runtime.KeepAlive(in)
	runtime.KeepAlive(out)
	return results, err
}

func cstrings(names []string) []*byte {
	all := make([]*byte, len(names)+1)
	for i, name := range names {
		all[i] = cstring(name)
	}
	return all
}

// output reads a value: its elements' type, its shape and where its data is, as long as it is not released.
func (a *api) output(value unsafe.Pointer) (elementType, []int64, unsafe.Pointer, error) {
	var yes int32
	var info, data unsafe.Pointer
	if err := a.call(isTensor, uintptr(value), uintptr(unsafe.Pointer(&yes))); err != nil || yes == 0 {
		return 0, nil, nil, errors.Join(err, errNoTensor)
	}
	if err := a.call(getTensorTypeAndShape, uintptr(value), uintptr(unsafe.Pointer(&info))); err != nil {
		return 0, nil, nil, err
	}
	defer a.release(releaseTensorTypeAndShapeInfo, info)
	kind, shape, err := a.typeAndShape(info)
	if err == nil {
		err = a.call(getTensorMutableData, uintptr(value), uintptr(unsafe.Pointer(&data)))
	}
	return kind, shape, data, err
}

var errNoTensor = errors.New("an output is no tensor")
