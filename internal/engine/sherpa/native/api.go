//go:build linux || darwin

// Package native calls sherpa-onnx's C interface, without cgo: its shared library is loaded when the process runs. It is
// for the child process cmd/tollgate-sherpa alone. sherpa-onnx ends the process on a model that it does not like, and an
// exception of the ONNX Runtime aborts it; whoever started the process has to live with that.
//
// The structures are those of one version of the library, which [Load] insists on.
package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/tollgate-io/tollgate/internal/engine/sherpa/wire"
)

// version is the one whose structures are in this package.
const version = "1.13.8"

// api is the functions that are used here.
type api struct {
	createOffline, destroyOffline, configureOffline                 uintptr
	createOfflineStream, destroyOfflineStream                       uintptr
	acceptOffline, decodeOffline, offlineResult, freeOfflineResult  uintptr
	createOnline, destroyOnline                                     uintptr
	createOnlineStream, destroyOnlineStream                         uintptr
	acceptOnline, finishOnline, onlineReady, decodeOnline           uintptr
	onlineResult, freeOnlineResult, versionText, runtimeVersionText uintptr
}

func (a *api) names() map[string]*uintptr {
	return map[string]*uintptr{
		"CreateOfflineRecognizer": &a.createOffline, "DestroyOfflineRecognizer": &a.destroyOffline, "OfflineRecognizerSetConfig": &a.configureOffline,
		"CreateOfflineStream": &a.createOfflineStream, "DestroyOfflineStream": &a.destroyOfflineStream,
		"AcceptWaveformOffline": &a.acceptOffline, "DecodeOfflineStream": &a.decodeOffline,
		"GetOfflineStreamResult": &a.offlineResult, "DestroyOfflineRecognizerResult": &a.freeOfflineResult,
		"CreateOnlineRecognizer": &a.createOnline, "DestroyOnlineRecognizer": &a.destroyOnline,
		"CreateOnlineStream": &a.createOnlineStream, "DestroyOnlineStream": &a.destroyOnlineStream,
		"OnlineStreamAcceptWaveform": &a.acceptOnline, "OnlineStreamInputFinished": &a.finishOnline,
		"IsOnlineStreamReady": &a.onlineReady, "DecodeOnlineStream": &a.decodeOnline,
		"GetOnlineStreamResult": &a.onlineResult, "DestroyOnlineRecognizerResult": &a.freeOnlineResult,
		"GetVersionStr": &a.versionText, "GetOnnxruntimeVersionStr": &a.runtimeVersionText,
	}
}

// load loads the shared library at a path, and the ONNX Runtime that lies beside it.
func load(path string) (*api, error) {
	beside := filepath.Join(filepath.Dir(path), "libonnxruntime.so")
	if _, err := os.Stat(beside); err == nil {
		if _, err := purego.Dlopen(beside, purego.RTLD_NOW|purego.RTLD_GLOBAL); err != nil {
			return nil, fmt.Errorf("load the ONNX Runtime: %w", err)
		}
	}
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load sherpa-onnx: %w", err)
	}
	a := &api{}
	for name, entry := range a.names() {
		if *entry, err = purego.Dlsym(lib, "SherpaOnnx"+name); err != nil {
			return nil, fmt.Errorf("%s is not sherpa-onnx: %w", path, err)
		}
	}
	if got := a.text(a.versionText); got != version {
		return nil, fmt.Errorf("%s is sherpa-onnx %s; this program needs %s", path, got, version)
	}
	return a, nil
}

// text calls an entry that gives a constant text.
func (a *api) text(entry uintptr) string {
	r, _, _ := purego.SyscallN(entry)
	return text((*byte)(pointer(r)))
}

// recogniser is a model that is loaded.
type recogniser struct {
	a      *api
	online bool
	handle uintptr
	// language and translate are what an offline one is configured with.
	config *offlineConfig
	set    func(c *offlineConfig, language string, translate bool)
	as     task
}

type task struct {
	language  string
	translate bool
}

func (r *recogniser) close() {
	entry := r.a.destroyOffline
	if r.online {
		entry = r.a.destroyOnline
	}
	_, _, _ = purego.SyscallN(entry, r.handle)
}

var errRefused = errors.New("sherpa-onnx refuses the model's configuration; what it said is in the log")

// open loads a model. On some faults sherpa-onnx ends the process instead.
func (a *api) open(m *wire.Model, threads int) (*recogniser, error) {
	r := &recogniser{a: a, online: m.Streaming}
	if m.Streaming {
		c, err := online(m, threads)
		if err != nil {
			return nil, err
		}
		r.handle, _, _ = purego.SyscallN(a.createOnline, uintptr(unsafe.Pointer(c)))
		runtime.KeepAlive(c)
	} else {
		c, set, err := offline(m, threads)
		if err != nil {
			return nil, err
		}
		r.config, r.set = c, set
		r.handle, _, _ = purego.SyscallN(a.createOffline, uintptr(unsafe.Pointer(c)))
		runtime.KeepAlive(c)
	}
	if r.handle == 0 {
		return nil, errRefused
	}
	return r, nil
}

// recognise recognises an utterance.
func (r *recogniser) recognise(samples []float32, t task) (*wire.Answer, error) {
	if r.online {
		return r.stream(samples)
	}
	if t != r.as && r.set != nil {
		r.set(r.config, t.language, t.translate)
		_, _, _ = purego.SyscallN(r.a.configureOffline, r.handle, uintptr(unsafe.Pointer(r.config)))
		r.as = t
	}
	s, _, _ := purego.SyscallN(r.a.createOfflineStream, r.handle)
	if s == 0 {
		return nil, errors.New("sherpa-onnx gives no stream")
	}
	defer purego.SyscallN(r.a.destroyOfflineStream, s)
	_, _, _ = purego.SyscallN(r.a.acceptOffline, s, wire.Rate, uintptr(unsafe.Pointer(&samples[0])), uintptr(len(samples)))
	_, _, _ = purego.SyscallN(r.a.decodeOffline, r.handle, s)
	p, _, _ := purego.SyscallN(r.a.offlineResult, s)
	if p == 0 {
		return &wire.Answer{}, nil
	}
	defer purego.SyscallN(r.a.freeOfflineResult, p)
	res := (*offlineResult)(pointer(p))
	n := tokens(res.count)
	return &wire.Answer{Text: text(res.text), Language: text(res.lang), Tokens: texts(res.tokensArr, n),
		Starts: numbers(res.timestamps, n), Durations: numbers(res.durations, n), LogProbs: numbers(res.ysLogProbs, n)}, nil
}

// tail is the silence after an utterance that a streaming model needs to tell its end: it decodes whole chunks and
// looks ahead by as much as some tenths of a second.
const tail = wire.Rate * 8 / 10

// stream feeds a whole utterance to a streaming model.
func (r *recogniser) stream(samples []float32) (*wire.Answer, error) {
	s, _, _ := purego.SyscallN(r.a.createOnlineStream, r.handle)
	if s == 0 {
		return nil, errors.New("sherpa-onnx gives no stream")
	}
	defer purego.SyscallN(r.a.destroyOnlineStream, s)
	padded := append(samples, make([]float32, tail)...)
	_, _, _ = purego.SyscallN(r.a.acceptOnline, s, wire.Rate, uintptr(unsafe.Pointer(&padded[0])), uintptr(len(padded)))
	_, _, _ = purego.SyscallN(r.a.finishOnline, s)
	for {
		if ready, _, _ := purego.SyscallN(r.a.onlineReady, r.handle, s); int32(ready) == 0 {
			break
		}
		_, _, _ = purego.SyscallN(r.a.decodeOnline, r.handle, s)
	}
	p, _, _ := purego.SyscallN(r.a.onlineResult, r.handle, s)
	if p == 0 {
		return &wire.Answer{}, nil
	}
	defer purego.SyscallN(r.a.freeOnlineResult, p)
	res := (*onlineResult)(pointer(p))
	n := tokens(res.count)
	a := &wire.Answer{Text: text(res.text), Tokens: texts(res.tokensArr, n), Starts: numbers(res.timestamps, n)}
	// The probabilities are in its JSON alone.
	var more struct {
		LogProbs []float32 `json:"ys_probs"`
	}
	if json.Unmarshal([]byte(text(res.json)), &more) == nil && len(more.LogProbs) == n {
		a.LogProbs = more.LogProbs
	}
	return a, nil
}

// tokens bounds a number of tokens.
func tokens(count int32) int { return int(max(0, min(count, wire.MaxTokens))) }

// pointer is an address in the library's memory, which Go's collector knows nothing of.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// maxText bounds a text of the library.
const maxText = 256 << 10

// text copies a C string.
func text(p *byte) string {
	if p == nil {
		return ""
	}
	n := 0
	for n < maxText && *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return strings.ToValidUTF8(string(unsafe.Slice(p, n)), "\uFFFD")
}

func texts(p **byte, n int) []string {
	if p == nil || n == 0 {
		return nil
	}
	all := make([]string, n)
	for i, s := range unsafe.Slice(p, n) {
		all[i] = text(s)
	}
	return all
}

// numbers copies numbers; nil where there are none, or one that is no number.
func numbers(p *float32, n int) []float32 {
	if p == nil || n == 0 {
		return nil
	}
	all := append([]float32(nil), unsafe.Slice(p, n)...)
	for _, v := range all {
		if v != v || v > 1e6 || v < -1e6 {
			return nil
		}
	}
	return all
}

// cstring is s with a zero byte at its end; nil for nothing.
func cstring(s string) *byte {
	if s == "" {
		return nil
	}
	b := append([]byte(s), 0)
	return &b[0]
}
