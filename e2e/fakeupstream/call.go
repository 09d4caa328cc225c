package fakeupstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var errOption = errors.New("is not an option of a fake model")

// call answers one model call and reports whether it came to its end.
func (s *Server) call(w http.ResponseWriter, r *http.Request, path string) (done bool) {
	body, err := readBody(r)
	if err != nil {
		return false
	}
	f, ok := scan(body)
	if !ok || f.model == "" {
		fail(w, 400, "you must provide a model parameter", "model")
		return true
	}
	spec, done := s.begin(w, r, f.model, body, fail)
	if spec == nil {
		return done
	}
	if path == "/embeddings" {
		return s.embed(w, spec, f.model, body)
	}
	return s.chat(w, r, spec, &f, body)
}

// begin does what every call begins with: it finds the spec, remembers the request and answers with the fault that the
// spec asks for. A nil spec: the call is answered, or the caller has left (done false).
func (s *Server) begin(w http.ResponseWriter, r *http.Request, model string, body []byte, fail failure) (spec *Spec, done bool) {
	spec, err := s.spec(model, r.Header.Get("X-Fake"))
	if err != nil {
		fail(w, 404, "The model `"+model+"` does not exist: "+err.Error(), "model")
		return nil, true
	}
	if spec.Record {
		s.mu.Lock()
		s.last = Request{r.URL.Path, r.Header.Clone(), json.RawMessage(body)}
		s.mu.Unlock()
	}
	if spec.First > 0 && !wait(r.Context(), spec.First) {
		return nil, false
	}
	if s.refuse(w, spec, model, fail) {
		return nil, true
	}
	if strings.HasPrefix(spec.Type, "text/html") {
		w.Header().Set("Content-Type", spec.Type)
		_, err := io.WriteString(w, "<!doctype html><title>Sign in</title><p>This is not the page you are looking for.")
		return nil, err == nil
	}
	return spec, false
}

// refuse answers with the spec's error, if it has one now.
func (s *Server) refuse(w http.ResponseWriter, spec *Spec, model string, fail failure) bool {
	status := spec.Status
	if spec.Fail > 0 {
		n, _ := s.failures.LoadOrStore(model, new(atomic.Int64))
		if n.(*atomic.Int64).Add(1) > spec.Fail {
			return false
		}
		if status == 0 {
			status = 500
		}
	}
	if status == 0 {
		return false
	}
	if spec.Retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(spec.Retry))
	}
	fail(w, status, "This is a fake error with status "+strconv.Itoa(status)+".", "")
	return true
}

func readBody(r *http.Request) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n < 64<<20 {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(r.Body)
}

// wait waits, and reports whether the caller is still there.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request, spec *Spec, f *fields, body []byte) bool {
	a := s.answer(spec, f, body)
	if !f.stream {
		h := w.Header()
		h.Set("Content-Type", orElse(spec.Type, "application/json"))
		n := len(a.whole)
		if spec.Truncate {
			n += 1000
		}
		h.Set("Content-Length", strconv.Itoa(n))
		_, err := w.Write(a.whole)
		return err == nil
	}
	h := w.Header()
	h.Set("Content-Type", orElse(spec.Type, "text/event-stream"))
	h.Set("Cache-Control", "no-cache")
	if spec.Burst && spec.Stall < 0 && spec.Break < 0 && spec.Error < 0 {
		_, err := w.Write(a.whole)
		return err == nil
	}
	return s.stream(w, r, spec, a)
}

// stream sends the events one by one, up to the spec's fault.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, spec *Spec, a *answer) bool {
	flusher, _ := w.(http.Flusher)
	for i, event := range a.events {
		switch n := i - a.text; {
		case n < 0: // the event that only names the role
		case n == spec.Break:
			panic(http.ErrAbortHandler)
		case n == spec.Stall:
			<-r.Context().Done()
			return false
		case n == spec.Error:
			_, err := io.WriteString(w, `data: {"error":{"message":"The server had an error while processing your request.","type":"server_error","param":null,"code":null}}`+"\n\n")
			return err == nil
		}
		if spec.Delay > 0 && i > 0 && !wait(r.Context(), spec.Delay) {
			return false
		}
		if _, err := w.Write(event); err != nil {
			return false
		}
		flusher.Flush()
		if r.Context().Err() != nil {
			return false
		}
	}
	return true
}

func orElse(v, other string) string {
	if v == "" {
		return other
	}
	return v
}

// embed answers with vectors that depend on the text, as floats or base64 as asked for.
func (s *Server) embed(w http.ResponseWriter, spec *Spec, model string, body []byte) bool {
	var in struct {
		Input    json.RawMessage `json:"input"`
		Encoding string          `json:"encoding_format"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		fail(w, 400, "We could not parse the JSON body of your request.", "")
		return true
	}
	inputs := []json.RawMessage{in.Input}
	if bytes.HasPrefix(in.Input, []byte("[")) {
		var list []json.RawMessage
		if json.Unmarshal(in.Input, &list) == nil && len(list) > 0 && list[0][0] != '-' && (list[0][0] < '0' || list[0][0] > '9') {
			inputs = list
		}
	}
	type item struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	out := struct {
		Object string           `json:"object"`
		Data   []item           `json:"data"`
		Model  string           `json:"model"`
		Usage  map[string]int64 `json:"usage,omitempty"`
	}{Object: "list", Model: model}
	for i, text := range inputs {
		out.Data = append(out.Data, item{"embedding", i, vector(text, spec.Dims, in.Encoding == "base64")})
	}
	if spec.Usage != "none" {
		n := spec.In * int64(len(inputs))
		out.Usage = map[string]int64{"prompt_tokens": n, "total_tokens": n}
	}
	reply(w, out)
	return true
}
