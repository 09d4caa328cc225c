package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tollgate-io/tollgate/internal/problem"
)

func sample() *Event {
	e := &Event{
		Time: time.Date(2026, 3, 4, 5, 6, 7, 89012345, time.UTC), ID: "evt_01", Method: "POST", Path: "/v1/chat/completions",
		Status: 200, Dialect: OpenAI, Stream: true, Attempts: 2, Org: "org_1", Key: "key_1", Product: "prd_1", Model: "vendor/big",
		Upstream: "acme", Target: "tgt_1", RemoteIP: netip.MustParseAddr("192.0.2.7"), ChargeNano: 123000, Currency: "USD",
		TTFB: 12345 * time.Microsecond, Duration: 2 * time.Second, BytesIn: 512, BytesOut: 4096,
	}
	e.Tokens[Input], e.Tokens[Output] = 100, 20
	e.Trace, _ = ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	return e
}

func TestLine(t *testing.T) {
	fail := sample()
	*fail = Event{Time: fail.Time, ID: "evt_02", Method: "POST", Path: "/v1/\"x\\\n\u2028é\xff", Status: 502, Outcome: Upstream,
		Err: problem.New(problem.Upstream, "upstream.broken", "the upstream broke off").Because(errors.New("read: reset"))}
	for _, c := range []struct {
		name string
		in   *Event
		want string
	}{
		{"full", sample(), `{"time":"2026-03-04T05:06:07.089012Z","level":"INFO","msg":"request","id":"evt_01",` +
			`"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","method":"POST","path":"/v1/chat/completions","status":200,` +
			`"outcome":"ok","dialect":"openai","stream":true,"organisation":"org_1","key":"key_1","product":"prd_1",` +
			`"model":"vendor/big","upstream":"acme","target":"tgt_1","attempts":2,"tokens":{"input":100,"output":20},` +
			`"charge":"0.000123","currency":"USD","ttfb_ms":12.345,"duration_ms":2000.000,"bytes_in":512,"bytes_out":4096,` +
			`"remote_ip":"192.0.2.7"}` + "\n"},
		{"failed", fail, `{"time":"2026-03-04T05:06:07.089012Z","level":"WARN","msg":"request","id":"evt_02","method":"POST",` +
			`"path":"/v1/\"x\\\u000a\u2028é` + "\ufffd" + `","status":502,"outcome":"upstream","dialect":"none","duration_ms":0.000,` +
			`"bytes_in":0,"bytes_out":0,"error_id":"upstream.broken","error":"upstream.broken: the upstream broke off: read: reset"}` + "\n"},
	} {
		got := string(AppendLine(nil, c.in))
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: not JSON", c.name)
		}
	}
}

// Whatever a client sends, the line is one line of JSON and stays within its bound.
func TestLineIsAlwaysJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := sample()
		e.Path = string(rapid.SliceOfN(rapid.Byte(), 0, 2*maxField).Draw(t, "path"))
		e.Model = rapid.String().Draw(t, "model")
		e.ChargeNano = rapid.Int64().Draw(t, "charge")
		e.Err = errors.New(string(rapid.SliceOfN(rapid.Byte(), 0, 2*maxField).Draw(t, "err")))
		for i := range e.Tokens {
			e.Tokens[i] = rapid.Int64().Draw(t, "tokens")
		}
		got := AppendLine(nil, e)
		if len(got) > lineBound(e) {
			t.Fatalf("%d bytes, bound %d", len(got), lineBound(e))
		}
		var back struct{ Path, Model string }
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		if !utf8.Valid(got) || bytes.Count(got, []byte("\n")) != 1 {
			t.Fatalf("not one line: %q", got)
		}
		if len(e.Model) <= maxField && back.Model != e.Model {
			t.Fatalf("model %q became %q", e.Model, back.Model)
		}
	})
}

func TestNano(t *testing.T) {
	for in, want := range map[int64]string{0: "0", 1: "0.000000001", -1: "-0.000000001", 1e9: "1", 1500000000: "1.5",
		-1 << 63: "-9223372036.854775808", 1<<63 - 1: "9223372036.854775807"} {
		if got := string(appendNano(nil, in)); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
}

func TestTraceparent(t *testing.T) {
	const good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	c, ok := ParseTraceparent(good)
	if !ok || !c.Sampled() || string(AppendTraceparent(nil, c)) != good {
		t.Fatal(c, ok)
	}
	for in, want := range map[string]bool{
		"": false, good[:54]: false, good + "-x": false, "cc" + good[2:] + "-x": true, "cc" + good[2:] + "x": false, "ff" + good[2:]: false,
		strings.ToUpper(good): false, "00-00000000000000000000000000000000-00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01": false, "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01": false,
		"00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01": false,
	} {
		if _, ok := ParseTraceparent([]byte(in)); ok != want {
			t.Errorf("%q: %v", in, ok)
		}
	}
}

func TestOutcomeOf(t *testing.T) {
	for kind, want := range map[problem.Kind]Outcome{problem.Invalid: Refused, problem.TooMany: Limited, problem.Funds: Funds,
		problem.ClientGone: ClientGone, problem.Internal: Failed, problem.Timeout: Timeout, problem.Unavailable: Unavailable} {
		if got := OutcomeOf(problem.New(kind, "x.y", "z")); got != want {
			t.Errorf("%v: %v", kind, got)
		}
	}
	if OutcomeOf(nil) != OK || OutcomeOf(io.EOF) != Failed {
		t.Error("nil or foreign error")
	}
}

func TestNewLogger(t *testing.T) {
	var b bytes.Buffer
	l, err := NewLogger(&b, "warn", "text")
	if err != nil {
		t.Fatal(err)
	}
	l.Info("hidden")
	l.Warn("shown")
	if s := b.String(); strings.Contains(s, "hidden") || !strings.Contains(s, "shown") {
		t.Error(s)
	}
	for _, c := range [][2]string{{"loud", "json"}, {"info", "xml"}} {
		if _, err := NewLogger(&b, c[0], c[1]); !problem.Is(err, problem.Invalid) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
