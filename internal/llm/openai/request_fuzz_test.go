package openai

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tollgate-io/tollgate/internal/llm/scan"
)

// FuzzScanRequest compares with a slow reading by encoding/json: a request is accepted if and only if
// that finds it right, says the same, and comes out of a splice with the model and usage asked for.
func FuzzScanRequest(f *testing.F) {
	for _, s := range []string{
		`{"model":"gpt-4o","messages":[{"role":"user","content":"hi \u4f60\n"}],"stream":true}`,
		`{"stream_options":{"include_usage":false,"x":[]},"model":"a\/b","stream":true,"messages":[],"n":2,"max_tokens":1}`,
		`{"messages":[],"stream_options":null,"max_completion_tokens":null,"stream":null,"model":"m","tools":[]}`,
		`{"model":"m","Model":"x","messages":[]}`, `{"model":"m","model":"x","messages":[]}`, `{"m\u006fdel":"m","messages":[]}`,
		`{"model":"m","messages":[],"n":1.5,"max_tokens":-1}`, `{"model":1,"messages":{}}`, `[]`, ` `, `{"a":1e5,"b":-0.1E+2,"c":[true,false,null,{}]}`,
		`{"model":"m","messages":[],"stream_options":{"Include_Usage":true}}`,
	} {
		f.Add([]byte(s), "up")
	}
	f.Fuzz(func(t *testing.T, body []byte, model string) {
		var s Scan
		err := ScanChat(body, &s)
		if err == nil && !json.Valid(body) {
			t.Fatalf("accepted: %q", body)
		}
		if !utf8.Valid(body) || deep(body) {
			return // read alike only as far as it is valid
		}
		want, ok := slowScan(body)
		if ok != (err == nil) {
			t.Fatalf("%q: %v, slowly %v", body, err, ok)
		}
		if !ok {
			return
		}
		got := slow{string(s.Name), s.Stream, s.IncludeUsage, s.MaxTokens, s.N}
		if got != want {
			t.Fatalf("%q: %+v, slowly %+v", body, got, want)
		}
		if utf8.ValidString(model) && model != "" && len(model) <= MaxModelLen {
			checkSplice(t, &s, string(body), model, true)
			checkSplice(t, &s, string(body), model, false)
		}
	})
}

type slow struct {
	model         string
	stream, usage bool
	max, n        int64
}

type member struct {
	key   string
	value json.RawMessage
}

// members reads an object keeping order and duplicates.
func members(body []byte) ([]member, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var out []member
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, false
		}
		m := member{key: k.(string)}
		if d.Decode(&m.value) != nil {
			return nil, false
		}
		out = append(out, m)
	}
	return out, true
}

func slowScan(body []byte) (slow, bool) {
	s := slow{max: -1, n: 1}
	if !json.Valid(body) {
		return s, false
	}
	all, ok := members(body)
	if !ok {
		return s, false
	}
	seen := map[string]bool{}
	for _, m := range all {
		null := string(m.value) == "null"
		for _, name := range fieldNames {
			if strings.EqualFold(name, m.key) && (name != m.key || seen[name]) {
				return s, false
			}
		}
		seen[m.key] = true
		good := true
		switch m.key {
		case "model":
			good = json.Unmarshal(m.value, &s.model) == nil && len(s.model) > 0 && len(s.model) <= MaxModelLen
		case "stream":
			good = json.Unmarshal(m.value, &s.stream) == nil
		case "max_tokens", "max_completion_tokens", "max_output_tokens":
			if !null {
				var n int64
				n, good = slowCount(m.value, MaxMaxTokens)
				s.max = max(s.max, n)
			}
		case "n":
			if !null {
				s.n, good = slowCount(m.value, MaxN)
			}
		case "messages":
			good = m.value[0] == '['
		case "tools":
			good = null || m.value[0] == '['
		case "stream_options":
			good = null || m.value[0] == '{' && slowOptions(m.value, &s)
		}
		if !good {
			return s, false
		}
	}
	return s, seen["model"] && seen["messages"]
}

func slowOptions(value json.RawMessage, s *slow) bool {
	all, ok := members(value)
	seen := false
	for _, m := range all {
		if !strings.EqualFold(m.key, "include_usage") {
			continue
		}
		if m.key != "include_usage" || seen || json.Unmarshal(m.value, &s.usage) != nil {
			return false
		}
		seen = true
	}
	return ok
}

func slowCount(value json.RawMessage, most int64) (int64, bool) {
	n, ok := new(big.Int).SetString(string(value), 10)
	if !ok || !n.IsInt64() || n.Int64() < 1 || n.Int64() > most {
		return 0, false
	}
	return n.Int64(), true
}

// deep reports nesting beyond what we allow and encoding/json does.
func deep(body []byte) bool {
	depth, most := 0, 0
	for _, c := range body {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth--
		}
	}
	return most > scan.MaxDepth
}
