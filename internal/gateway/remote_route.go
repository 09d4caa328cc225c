package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tollgate-io/tollgate/internal/catalog"
	"github.com/tollgate-io/tollgate/internal/egress"
	"github.com/tollgate-io/tollgate/internal/engine"
	"github.com/tollgate-io/tollgate/internal/llm/scan"
	"github.com/tollgate-io/tollgate/internal/llm/task"
	"github.com/tollgate-io/tollgate/internal/problem"
	"github.com/tollgate-io/tollgate/internal/route"
	"github.com/tollgate-io/tollgate/internal/spool"
	"github.com/tollgate-io/tollgate/internal/telemetry"
)

// remoteRoute has a larger model answer a route: a server of the same contract gets the request as it is; any other is
// asked through a codec of the protocol that it speaks, by the platform's own engine where the route is more than the
// bare operation (a document to be kept intact, another vendor's shape).
func (c *Call) remoteRoute(x *target) (route.Outcome, time.Duration, error) {
	if c.keyIn { // it is the caller's, and no upstream's business
		return route.Gone, 0, errWrongUpstream
	}
	var p task.Protocol
	switch x.up.Dialect {
	case catalog.Contract:
		return c.forwardRoute(x)
	case catalog.OpenAI:
		if c.Route.Style == engine.OpenAI { // audio and images: an OpenAI-shaped server has the very route
			return c.forwardRoute(x)
		}
		p = task.Chat
	case catalog.KServe:
		p = task.KServe
	case catalog.Flask:
		p = task.Flask
	default:
		return route.Gone, 0, errWrongUpstream
	}
	if c.Route.Method == "POST" && strings.HasPrefix(c.Route.Pattern, "/v1/") && task.Supports(p, c.Route.Name) && !engine.IsMultipart(c.in.Type) && !c.in.Whole {
		return c.taskRoute(x, p)
	}
	e := c.g.o.Engines[c.Route.Capability]
	if e == nil {
		return route.Gone, 0, errWrongUpstream
	}
	var said refused // the engine tells what is wrong, this how the upstream is
	v, err := c.runEngine(x, e, func(ctx context.Context, operation string, body []byte) ([]byte, error) {
		answer, v, after, err := c.ask(x, p, operation, body)
		if err != nil {
			said = refused{v, after, err}
		}
		return answer, err
	})
	if v == route.Gone && said.err != nil {
		v = said.outcome
	}
	return v, said.after, err
}

// taskRoute answers a route by one exchange with the upstream.
func (c *Call) taskRoute(x *target, p task.Protocol) (route.Outcome, time.Duration, error) {
	answer, v, after, err := c.ask(x, p, c.Route.Name, c.in.Body)
	if err != nil {
		return v, after, err
	}
	v, err = c.answerRoute(200, "application/json", nil, answer)
	return v, 0, err
}

// ask puts one operation to the upstream.
func (c *Call) ask(x *target, p task.Protocol, operation string, body []byte) ([]byte, route.Outcome, time.Duration, error) {
	if !task.Supports(p, operation) {
		return nil, route.Gone, 0, errWrongUpstream
	}
	t := &task.Call{Operation: operation, Body: body, Model: x.UpstreamModel}
	path, request, err := task.Encode(p, t)
	if err != nil {
		return nil, route.Success, 0, &finalError{err}
	}
	v, after, err := c.exchange(x, "POST", path, "application/json", request)
	if err != nil {
		return nil, v, after, err
	}
	defer c.resp.Release()
	if s := c.resp.Status; callersFault(s) { // in the protocol's words, which the caller has not spoken
		return nil, route.Success, 0, &finalError{problem.New(problem.Invalid, "gateway.upstream_refused", "the model's upstream refused the request with status %d", s).Because(c.upstreamSaid())}
	}
	if err := c.passed(); err != nil {
		return nil, err.outcome, err.after, err.err
	}
	answer, err := c.whole()
	if err != nil {
		if problem.Is(err, problem.ClientGone) {
			return nil, route.Gone, 0, err
		}
		return nil, route.Failure, 0, failure(err)
	}
	out, _, err := task.Decode(p, t, answer)
	if err != nil {
		return nil, route.Failure, 0, errUpstream.Because(err)
	}
	return out, route.Success, 0, nil
}

// exchange sends a request to the upstream and reads the head of its answer.
func (c *Call) exchange(x *target, method, path, kind string, body []byte) (route.Outcome, time.Duration, error) {
	q := &c.req
	q.Method, q.Path, q.Cancel, q.RequestID = method, path, c.Cancel, stringBytes(c.ids)
	q.Parts = [4][]byte{body}
	head := []byte("Accept-Encoding: identity\r\nUser-Agent: tollgate\r\n")
	add := func(name, value string) {
		if value != "" {
			head, _ = egress.AppendHeader(head, name, value) // one that cannot be sent is left out
		}
	}
	add("Content-Type", kind)
	add("Accept", c.in.Accept)
	if i := c.tried.Credential(); i >= 0 && i < len(x.up.Credentials) {
		add("Authorization", "Bearer "+x.up.Credentials[i].Secret.Reveal())
	}
	if c.ev.Trace.Valid() {
		head = append(telemetry.AppendTraceparent(append(head, "Traceparent: "...), c.ev.Trace), '\r', '\n')
	}
	q.Head = head
	if err := x.up.endpoint.Do(q, &c.resp); err != nil {
		if problem.Is(err, problem.ClientGone) {
			return route.Gone, 0, err
		}
		return route.Failure, 0, failure(err)
	}
	return route.Success, 0, nil
}

// refused is what an upstream's status means when it is not a success.
type refused struct {
	outcome route.Outcome
	after   time.Duration
	err     error
}

// passed looks at the status of c.resp; nil is a success.
func (c *Call) passed() *refused {
	switch s := c.resp.Status; {
	case s >= 200 && s < 300:
		return nil
	case s == 401 || s == 402 || s == 403 || s == 407:
		return &refused{route.Denied, 0, errBusy.Because(c.upstreamSaid())}
	case s == 429:
		after := retryAfter(c.resp.Header("retry-after"))
		return &refused{route.Throttled, after, errBusy.After(max(after, time.Second)).Because(c.upstreamSaid())}
	case callersFault(s):
		return &refused{route.Success, 0, c.passError()}
	}
	return &refused{route.Failure, retryAfter(c.resp.Header("retry-after")), errUpstream.Because(c.upstreamSaid())}
}

// forwardRoute hands the request to a server of the same contract.
func (c *Call) forwardRoute(x *target) (route.Outcome, time.Duration, error) {
	if err := c.forwardable(); err != nil {
		return route.Success, 0, &finalError{err}
	}
	path := strings.TrimPrefix(c.in.EscapedPath, "/v1")
	path += renamedQuery(c.in.Query, x.UpstreamModel)
	kind, body, err := renamed(c.in.Type, c.in.Body, x.UpstreamModel)
	if err != nil {
		return route.Success, 0, &finalError{err}
	}
	if v, after, err := c.exchange(x, c.Route.Method, path, kind, body); err != nil {
		return v, after, err
	}
	defer c.resp.Release()
	if err := c.passed(); err != nil {
		return err.outcome, err.after, err.err
	}
	kind = string(c.resp.Header("content-type"))
	if strings.HasPrefix(kind, "text/event-stream") {
		return c.forwardStream()
	}
	answer, err := c.whole()
	if err != nil {
		if problem.Is(err, problem.ClientGone) {
			return route.Gone, 0, err
		}
		return route.Failure, 0, failure(err)
	}
	if err := answers(c.Route, c.in, kind, answer); err != nil {
		return route.Failure, 0, errUpstream.Because(err)
	}
	if n, ok := reported(c.Route.Meter, kind, answer); ok {
		c.units = n // of more than was held for, the event says what was not charged
	}
	v, err := c.answerRoute(c.resp.Status, kind, nil, answer)
	return v, 0, err
}

// forwardable refuses what the upstream might read otherwise than it was read here: a path that leaves the operation's, a
// field that is there twice, of which another was measured or named the model.
func (c *Call) forwardable() error {
	for _, v := range c.in.Params {
		if v == "." || v == ".." || strings.ContainsAny(v, "/\\") {
			return problem.New(problem.NotFound, "gateway.path_unknown", "there is no %s %s; see the manual for the paths of this API", c.Method, c.Path)
		}
	}
	if engine.IsMultipart(c.in.Type) {
		f, err := engine.ParseForm(c.in.Type, c.in.Body)
		if err == nil && c.Route.Meter == engine.AudioSeconds {
			n := 0
			for _, files := range f.Files {
				n += len(files)
			}
			if n > 1 {
				err = twice("file")
			}
		}
		return err
	}
	seen := map[string]bool{}
	for o := scan.Open(c.in.Body, scan.Space(c.in.Body, 0)); o.Next() && o.Key != nil; {
		raw := string(o.Key)
		name := strings.ToLower(strings.ToUpper(string(scan.Unquote(nil, o.Key)))) // as encoding/json folds names
		if seen[name] || name == "model" && raw != name {
			return twice(name)
		}
		seen[name] = true
	}
	return nil
}

func twice(name string) error {
	return problem.New(problem.Invalid, "gateway.field_twice", "the field %q appears more than once, or is not written plainly", name).WithField(name, "state it once")
}

// forwardStream hands a stream on as it comes. What it costs is known from the request.
func (c *Call) forwardStream() (route.Outcome, time.Duration, error) {
	measured := c.units
	w := &engineWriter{c: c}
	w.Start(200, "text/event-stream")
	for {
		b, err := c.resp.Next()
		if len(b) > 0 {
			c.used(engine.Quantity(measured)) // the first piece shows that the work is done
			err2 := w.Write(b)
			if err2 == nil && !c.resp.Ended() {
				err2 = w.Flush()
			}
			if err2 != nil {
				v, err := c.engineFailed(err2)
				return v, 0, err
			}
		}
		switch {
		case err == nil && !c.resp.Ended():
			continue
		case err == nil || errors.Is(err, io.EOF):
			v, err := c.endRouteStream(w)
			return v, 0, err
		case problem.Is(err, problem.ClientGone):
			return route.Gone, 0, c.cancelled()
		}
		if c.started {
			c.breakOff(errBroken.Because(err), spool.UpstreamLost)
		}
		return route.Failure, 0, failure(err)
	}
}

// answers looks whether what an upstream has sent as a success is an answer of the route at all: an error told with 200, a
// page of some proxy or a JSON of another form must be nobody's to pay.
func answers(rt *engine.Route, in *engine.Request, kind string, body []byte) error {
	if len(body) == 0 {
		if rt.Meter == "" {
			return nil
		}
		return errors.New("upstream answered with a success, and nothing")
	}
	if base, _, _ := strings.Cut(strings.ToLower(kind), ";"); otherMedia(rt, in, strings.TrimSpace(base)) {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil && (rt.Result != "" || !json.Valid(body)) {
		return fmt.Errorf("upstream answered with %.60q, not in JSON: %.200q", kind, body)
	}
	told := func(name string) bool { return object[name] != nil && string(object[name]) != "null" }
	switch {
	case told("error"):
		return fmt.Errorf("upstream told an error as a success: %.200q", body)
	case rt.Result != "" && !told(rt.Result), rt.Capability == engine.ImageGen && string(object[rt.Result]) == "[]":
		return fmt.Errorf("upstream answered without %q: %.200q", rt.Result, body)
	}
	return nil
}

// otherMedia reports whether the route answers such a request with this type, which is not JSON's.
func otherMedia(rt *engine.Route, in *engine.Request, kind string) bool {
	if kind == "application/json" {
		return false
	}
	return slices.ContainsFunc(rt.Media, func(m string) bool {
		written := strings.HasPrefix(m, "text/") || strings.HasPrefix(m, "application/")
		return strings.HasPrefix(kind, m) && (!written || rt.Meter == "" || engine.IsMultipart(in.Type))
	})
}

// renamed gives the body with its model replaced by the upstream's name for it.
func renamed(kind string, body []byte, model string) (string, []byte, error) {
	if engine.IsMultipart(kind) {
		return renamedForm(kind, body, model)
	}
	i := scan.Space(body, 0)
	if i >= len(body) || body[i] != '{' {
		return kind, body, nil
	}
	start, end, ok := scan.Member(body, i, "model")
	if !ok {
		return kind, body, nil
	}
	name, err := json.Marshal(model)
	if err != nil {
		return "", nil, err
	}
	return kind, bytes.Join([][]byte{body[:start], name, body[end:]}, nil), nil
}

// renamedQuery is the query with its "?", or nothing, where it names a model by the upstream's name for it.
func renamedQuery(q url.Values, model string) string {
	if len(q) == 0 {
		return ""
	}
	if q.Has("model") {
		q = maps.Clone(q)
		q.Set("model", model)
	}
	return "?" + q.Encode()
}

func renamedForm(kind string, body []byte, model string) (string, []byte, error) {
	f, err := engine.ParseForm(kind, body)
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	b.Grow(len(body) + len(model))
	w := multipart.NewWriter(&b)
	f.Values["model"] = []string{model}
	for name, values := range f.Values {
		for _, v := range values {
			if err := w.WriteField(name, v); err != nil {
				return "", nil, err
			}
		}
	}
	for name, files := range f.Files {
		for _, file := range files {
			h := textproto.MIMEHeader{"Content-Disposition": {multipart.FileContentDisposition(name, file.Name)}}
			if file.Type != "" {
				h.Set("Content-Type", file.Type)
			}
			p, err := w.CreatePart(h)
			if err == nil {
				_, err = p.Write(file.Data)
			}
			if err != nil {
				return "", nil, err
			}
		}
	}
	if err := w.Close(); err != nil {
		return "", nil, err
	}
	return w.FormDataContentType(), b.Bytes(), nil
}

// reported reads what an upstream says a call has used, in thousandths: usage.METER, and of sound usage.seconds or duration.
func reported(meter, kind string, answer []byte) (int64, bool) {
	if !strings.HasPrefix(kind, "application/json") {
		return 0, false
	}
	var v struct {
		Usage    map[string]json.RawMessage `json:"usage"`
		Duration json.RawMessage            `json:"duration"`
		Data     []json.RawMessage          `json:"data"` // images that were made
	}
	if json.Unmarshal(answer, &v) != nil {
		return 0, false
	}
	if meter == engine.Images && v.Usage[meter] == nil && len(v.Data) > 0 {
		return int64(engine.Units(len(v.Data))), true
	}
	raw := v.Usage[meter]
	if raw == nil && meter == engine.AudioSeconds {
		if raw = v.Usage["seconds"]; raw == nil {
			raw = v.Duration
		}
	}
	n, ok := parseThousandths(strings.Trim(string(raw), `"`))
	if meter != engine.AudioSeconds { // counts whole things
		n = (n + 999) / 1000 * 1000
	}
	return n, ok
}

// parseThousandths reads a plain decimal number, rounding up.
func parseThousandths(s string) (int64, bool) {
	whole, part, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 || n > 1<<40 || strings.Trim(part, "0123456789") != "" {
		return 0, false
	}
	digits := (part + "000")[:3]
	f, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, false
	}
	if len(part) > 3 && strings.Trim(part[3:], "0") != "" {
		f++
	}
	return n*1000 + f, true
}
