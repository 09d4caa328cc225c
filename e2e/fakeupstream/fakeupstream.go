// Package fakeupstream is a model server for tests and benchmarks, with usage figures and faults chosen by the
// caller. It speaks the OpenAI API (chat whole and streamed, tools, embeddings, the list of models, audio, images), the
// open inference protocol of KServe and Triton, the translation contract /v1/translate, and the bare POST /translate of
// a small Flask app. It knows nothing of Tollgate and does not use its code, so that a fault of the gateway's
// parser is not hidden by the same fault here.
//
// # Choosing a behaviour
//
// What a request gets is decided by a spec: options like "chunks=50&delay=2ms&usage=none". It is looked for
//
//  1. in what [Server.Set] (or PUT /control/models/NAME) has set for the model,
//  2. in the header X-Fake,
//  3. after a question mark in the model's name: "any?status=529",
//  4. under the model's name in [Presets],
//
// and a model without any gets the usual answer. See [Spec] for the options.
//
// What a chat answers can be written down: the option say is the text, and a script ([Server.Script], PUT /control/script)
// has an answer for each request that contains given texts.
//
// # Speed
//
// Answers are made once for each kind of request and kept, and of a request only the few fields that
// matter are looked at, so that a benchmark measures the gateway. Specs with echo or tools decode the request.
package fakeupstream

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Presets are the models that /v1/models lists, with their specs.
var Presets = []struct{ Model, Spec string }{
	{"fake", ""},
	{"fake-cached", "in=1000&cached=800"},
	{"fake-reasoning", "out=50&reasoning=30"},
	{"fake-classes", "in=1000&cached=400&cache_write=100&audio_in=50&out=200&reasoning=80&audio_out=20"},
	{"fake-no-usage", "usage=none"},
	{"fake-tools", "tools"},
	{"fake-echo", "echo"},
	{"fake-long", "chunks=2000&delay=5ms"},
	{"fake-50", "chunks=50"},
	{"fake/with/slashes:7b", ""},
	{"fake-400", "status=400"},
	{"fake-401", "status=401"},
	{"fake-404", "status=404"},
	{"fake-429", "status=429&retry=7"},
	{"fake-500", "status=500"},
	{"fake-529", "status=529"},
	{"fake-slow", "first=2s"},
	{"fake-stall", "chunks=20&stall=5"},
	{"fake-broken", "chunks=20&break=5"},
	{"fake-error-event", "chunks=20&error=5"},
	{"fake-no-done", "nodone"},
	{"fake-truncated", "truncate"},
	{"fake-html", "type=text/html"},
	{"fake-huge", "size=80000000"},
}

// Server is the fake; it is an http.Handler. The zero value works. Safe for concurrent use.
type Server struct {
	// Keys are the credentials that are accepted; none means that any is.
	Keys []string

	answers sync.Map // answerKey → *answer
	specs   sync.Map // spec text → *Spec

	script atomic.Pointer[[]Rule]

	mu   sync.RWMutex
	set  map[string]string // guarded by mu: model → spec
	last Request           // guarded by mu

	requests, completed, cancelled, active atomic.Int64
	failures                               sync.Map // model → *atomic.Int64: requests seen, for fail=N
}

// Request is the last model call that arrived, for tests of what is passed through.
type Request struct {
	Path   string          `json:"path"`
	Header http.Header     `json:"header"`
	Body   json.RawMessage `json:"body"`
}

// Stats count model calls.
type Stats struct {
	Requests  int64 `json:"requests"`
	Completed int64 `json:"completed"` // answered to the end, errors included
	Cancelled int64 `json:"cancelled"` // the caller hung up before the end
	Active    int64 `json:"active"`
}

// Set makes a model behave by the spec from now on; "-" returns it to its name's.
func (s *Server) Set(model, spec string) error {
	if spec != "-" {
		if _, err := ParseSpec(spec); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[string]string{}
	}
	if spec == "-" {
		delete(s.set, model)
	} else {
		s.set[model] = spec
	}
	s.failures.Delete(model)
	return nil
}

// Stats returns the counts until now.
func (s *Server) Stats() Stats {
	return Stats{s.requests.Load(), s.completed.Load(), s.cancelled.Load(), s.active.Load()}
}

// Last returns the last call of a model with echo or record in its spec.
func (s *Server) Last() Request {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.last
}

// spec finds what the request asks for.
func (s *Server) spec(model, header string) (*Spec, error) {
	s.mu.RLock()
	text, ok := s.set[model]
	s.mu.RUnlock()
	switch {
	case ok:
	case header != "":
		text = header
	default:
		var named bool
		if _, text, named = strings.Cut(model, "?"); !named {
			if i := slices.IndexFunc(Presets, func(p struct{ Model, Spec string }) bool { return p.Model == model }); i >= 0 {
				text = Presets[i].Spec
			}
		}
	}
	if v, ok := s.specs.Load(text); ok {
		return v.(*Spec), nil
	}
	spec, err := ParseSpec(text)
	if err == nil {
		s.specs.Store(text, spec)
	}
	return spec, err
}

// ServeHTTP serves the API below /v1 or at the root, and /control/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1")
	if strings.HasPrefix(path, "/control/") {
		s.control(w, r, path)
		return
	}
	if len(s.Keys) > 0 {
		key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !slices.Contains(s.Keys, key) {
			fail(w, 401, "Incorrect API key provided.", "")
			return
		}
	}
	switch {
	case r.Method == "GET" && path == "/models":
		s.models(w)
	case r.Method == "POST" && (path == "/chat/completions" || path == "/embeddings"):
		s.requests.Add(1)
		s.active.Add(1)
		defer s.active.Add(-1)
		if s.call(w, r, path) {
			s.completed.Add(1)
		} else {
			s.cancelled.Add(1)
		}
	case r.Method == "POST" && s.task(r.URL.Path) != nil:
		s.requests.Add(1)
		s.active.Add(1)
		defer s.active.Add(-1)
		if s.task(r.URL.Path)(w, r) {
			s.completed.Add(1)
		} else {
			s.cancelled.Add(1)
		}
	case r.Method == "GET" && strings.HasPrefix(path, "/v2/"):
		s.about(w, path)
	default:
		fail(w, 404, "Invalid URL ("+r.Method+" "+r.URL.Path+")", "")
	}
}

// control is the server's remote control: PUT /control/models/NAME with a spec as body, PUT /control/script with a list
// of rules, GET /control/stats and GET /control/last.
func (s *Server) control(w http.ResponseWriter, r *http.Request, path string) {
	switch name, _ := strings.CutPrefix(path, "/control/models/"); {
	case r.Method == "PUT" && name != path:
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err == nil {
			err = s.Set(name, strings.TrimSpace(string(body)))
		}
		if err != nil {
			fail(w, 400, err.Error(), "")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == "PUT" && path == "/control/script":
		var rules []Rule
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&rules); err != nil {
			fail(w, 400, err.Error(), "")
			return
		}
		s.Script(rules...)
		w.WriteHeader(http.StatusNoContent)
	case path == "/control/stats":
		reply(w, s.Stats())
	case path == "/control/last":
		reply(w, s.Last())
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) models(w http.ResponseWriter) {
	type model struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int    `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	list := struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{Object: "list"}
	for _, p := range Presets {
		list.Data = append(list.Data, model{p.Model, "model", created, "fake"})
	}
	reply(w, list)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller left
}

// failure answers with an error in the shape of a protocol.
type failure func(w http.ResponseWriter, status int, message, param string)

// fail answers with an error in OpenAI's shape.
func fail(w http.ResponseWriter, status int, message, param string) {
	types := map[int]string{400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error",
		429: "rate_limit_exceeded", 529: "overloaded_error"}
	codes := map[int]string{401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
	e := map[string]any{"message": message, "type": "server_error", "param": nil, "code": nil}
	if t := types[status]; t != "" {
		e["type"] = t
	}
	if c := codes[status]; c != "" {
		e["code"] = c
	}
	if param != "" {
		e["param"] = param
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": e}) // the caller left
}

// Spec is a behaviour. Options are written as in a URL's query; a flag stands alone or as flag=1.
type Spec struct {
	Chunks int           // chunks: events with text in a stream, and tokens of output; default 20
	Delay  time.Duration // delay: between events
	First  time.Duration // first: before anything is answered
	Burst  bool          // burst: the whole stream in one write instead of one for each event
	Size   int           // size: bytes of text in the answer instead of Chunks words

	// Usage as reported. In and Out are totals, as the dialect counts: cached, cache_write and audio_in
	// are among In, reasoning and audio_out among Out. Out defaults to the tokens written.
	In, Cached, CacheWrite, AudioIn, Out, Reasoning, AudioOut int64
	Usage                                                     string // usage: "" as asked for, none, always (in a stream though not asked for), every (in each event), zero

	Status      int    // status: refuse with it
	Retry       int    // retry: seconds of Retry-After with it
	Fail        int64  // fail: the first so many calls get status 500 (or Status), then it works
	Type        string // type: content type; text/html also makes the body a page
	Stall       int    // stall: hang after so many chunks until the caller leaves; -1 never
	Break       int    // break: cut the connection after so many chunks; -1 never
	Error       int    // error: an error event after so many chunks, then the end; -1 never
	NoDone      bool   // nodone: the stream ends without [DONE]
	Truncate    bool   // truncate: Content-Length promises more than is sent
	IgnoreLimit bool   // ignorelimit: max_tokens means nothing to this server

	Say     string  // say: the text of the answer: of a chat, of what was heard, of a translation
	Seconds float64 // seconds: how long the sound is that was heard; default what a WAV file's header says, else 1

	Tools  bool // tools: call the first tool of the request; answer with text once a tool's result is there
	Echo   bool // echo: the text is the request's body; implies record
	Record bool // record: remember the request for Last
	Dims   int  // dims: size of an embedding; default 8
}

// ParseSpec reads a spec.
func ParseSpec(text string) (*Spec, error) {
	s := &Spec{Chunks: 20, In: 10, Stall: -1, Break: -1, Error: -1, Dims: 8, Out: -1}
	q, err := url.ParseQuery(text)
	if err != nil {
		return nil, err
	}
	ints := map[string]*int{"chunks": &s.Chunks, "size": &s.Size, "status": &s.Status, "retry": &s.Retry,
		"stall": &s.Stall, "break": &s.Break, "error": &s.Error, "dims": &s.Dims}
	longs := map[string]*int64{"in": &s.In, "cached": &s.Cached, "cache_write": &s.CacheWrite, "audio_in": &s.AudioIn, "out": &s.Out,
		"reasoning": &s.Reasoning, "audio_out": &s.AudioOut, "fail": &s.Fail}
	flags := map[string]*bool{"burst": &s.Burst, "nodone": &s.NoDone, "truncate": &s.Truncate, "ignorelimit": &s.IgnoreLimit,
		"tools": &s.Tools, "echo": &s.Echo, "record": &s.Record}
	times := map[string]*time.Duration{"delay": &s.Delay, "first": &s.First}
	texts := map[string]*string{"usage": &s.Usage, "type": &s.Type, "say": &s.Say}
	for name, values := range q {
		v := values[len(values)-1]
		switch {
		case ints[name] != nil:
			*ints[name], err = strconv.Atoi(v)
		case longs[name] != nil:
			*longs[name], err = strconv.ParseInt(v, 10, 64)
		case times[name] != nil:
			*times[name], err = time.ParseDuration(v)
		case name == "seconds":
			s.Seconds, err = strconv.ParseFloat(v, 64)
		case texts[name] != nil:
			*texts[name] = v
		case flags[name] != nil:
			*flags[name] = v == "" || v == "1"
		default:
			err = &url.Error{Op: "option", URL: name, Err: errOption}
		}
		if err != nil {
			return nil, err
		}
	}
	s.Record = s.Record || s.Echo
	return s, nil
}
